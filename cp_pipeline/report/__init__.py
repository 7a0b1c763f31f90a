"""The study report: one HTML file for people who look at a study, with no need of a network.

Belongs here: the page, its words and its style. Does not belong: the numbers
(``warehouse.report_numbers``), drawing charts (``charts``), Dagster.
"""

from cp_pipeline.report.study_report import Report as Report, write_report as write_report
