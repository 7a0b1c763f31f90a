"""Groups, owners, tags, links and freshness that assets, jobs and sensors share.

Belongs here: groups, owners, tags, links, freshness. Does not belong: the description of a single
asset (``assets``).
"""

from datetime import timedelta

import dagster as dg

CENTREPOINT = "centrepoint"
PUBLISHING = "analysts"
OWNERS = ["team:data-management"]
TAGS = {"domain": "actigraphy"}
VENDOR_PAGE = {
    "api_page": dg.MetadataValue.url(
        "https://github.com/actigraph/CentrePoint3APIDocumentation/blob/HEAD/sections/"
        "data_set_files.md"
    )
}
# The study is listed whole once a day, and the file is published at least once a day.
FRESH = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(hours=49), warn_window=timedelta(hours=26)
)
