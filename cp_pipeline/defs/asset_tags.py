"""Groups, owners, tags and links that assets, jobs and sensors share.

Belongs here: groups, owners, tags, links. Does not belong: the description of a single asset
(``assets``).
"""

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
