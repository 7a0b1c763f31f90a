"""Groups, owners, tags and links that assets, jobs and sensors share.

Belongs here: groups, owners, tags, links, and the pool. Does not belong: a single asset's words.
"""

import dagster as dg

CENTREPOINT = "centrepoint"
PUBLISHING = "analysts"
OWNERS = ["team:data-management"]
TAGS = {"domain": "actigraphy"}
# One slot for all that write the warehouse; see ``cli.dagster_home``.
POOL = "warehouse"
VENDOR_PAGE = {
    "api_page": dg.MetadataValue.url(
        "https://github.com/actigraph/CentrePoint3APIDocumentation/blob/HEAD/sections/"
        "data_set_files.md"
    )
}
