"""``cp-pipeline demo``: each step once, with a synthetic study.

Belongs here: the order of the steps, and the example queries. Does not belong: the steps
themselves.
"""

import os
import sys

import click

from cp_pipeline.cli.publish import run_publish
from cp_pipeline.cli.query import print_answer
from cp_pipeline.cli.screen import answers
from cp_pipeline.cli.sync import run_sync
from cp_pipeline.cli.waiting import say_waiting
from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline.settings import StorageSettings

_QUESTIONS = {
    "Steps and sleep of each subject, from the latest execution of each program": """
        SELECT _subject_id AS subject, count(*) AS days, sum(STEPS)::BIGINT AS steps,
            round(avg(SLEEPMINUTES) / 60, 1) AS hours_asleep
        FROM exports."ActivityDaily8" GROUP BY ALL ORDER BY subject LIMIT 5""",
    "Steps by site and subject": """
        SELECT coalesce(sites.site_identifier || ' ', '') || sites.site_name AS site,
            subjects.subject_identifier AS subject, subjects.timezone,
            sum(daily.STEPS)::BIGINT AS steps
        FROM exports."ActivityDaily8" AS daily
        INNER JOIN study.subjects AS subjects ON subjects.id = daily._subject_id
        LEFT JOIN study.sites AS sites ON sites.id = subjects.site_id
        GROUP BY ALL ORDER BY site, subject LIMIT 20""",
    "Steps in each hour of the day, from the epochs": """
        SELECT hour(TIMESTAMPUTC) AS hour, sum(STEPS)::BIGINT AS steps
        FROM exports."ActivityEpochs10" GROUP BY ALL ORDER BY hour LIMIT 24""",
    "Which program executions the rows came from": """
        SELECT dataset_name, count(*) AS loads, sum(row_count)::BIGINT AS rows,
            max(program_execution) AS newest_execution
        FROM lineage.loads GROUP BY ALL ORDER BY dataset_name""",
    "Before and after a program was executed again (as_of)": """
        SELECT 'before' AS executed, _program_execution, sum(STEPS)::BIGINT AS steps
        FROM as_of('ActivityDaily8', (SELECT min(program_executed_at) FROM lineage.loads
            WHERE subject_id = 10821 AND dataset_name = 'ActivityDaily8'))
        WHERE _subject_id = 10821 GROUP BY ALL
        UNION ALL
        SELECT 'now', _program_execution, sum(STEPS)::BIGINT
        FROM exports."ActivityDaily8" WHERE _subject_id = 10821 GROUP BY ALL
        ORDER BY executed""",
}


@click.command()
@click.option("--subjects", type=click.IntRange(1), default=12, show_default=True)
@click.option("--days", type=click.IntRange(1), default=3, show_default=True)
def demo(subjects: int, days: int) -> None:
    """Sync a sandbox study, and print a few query results. The files stay in data/."""
    study = SandboxStudy.synthetic(study_id=4711, subjects=subjects, days=days, seed=1)
    # Somebody who was just enrolled, somebody who is not processed yet, and somebody with news.
    newest = max(study.subject_ids)
    study.enrol(newest + 1)
    study.upload(newest + 2)
    study.upload(newest)
    with Sandbox(study) as service:
        os.environ.update(service.environment, CP_STUDY_DETAILS="1")
        answers.print("The sandbox serves a synthetic study. Syncing it:")
        code = run_sync()
        answers.print("\nOne program was executed again for one subject. Syncing again:")
        service.execute_again(subject_id=10821, data_set_name="ActivityDaily8")
        code = max(code, run_sync())
    if code:
        sys.exit(code)
    answers.print("\nBuilding the models, and publishing a file for analysts:")
    code = run_publish()
    if code:
        sys.exit(code)
    storage = StorageSettings.from_environment()
    for question, sql in _QUESTIONS.items():
        answers.print(f"\n{question}")
        # The published file has no as_of.
        print_answer(storage.warehouse if "as_of(" in sql else str(storage.published), sql)
    answers.print("\nWho waits for what (cp-pipeline status --waiting)")
    say_waiting(storage)
    answers.print(
        f"\nThe file for analysts is {storage.published}. The warehouse is {storage.warehouse}. "
        "Open them with DuckDB.\nTo see the data in Dagster: "
        "cp-pipeline sandbox -- cp-pipeline ui, then http://127.0.0.1:3000"
    )
