"""The limit of requests for one file.

Belongs here: the count that all requests for a file share. Does not belong: sending the requests.
"""

from cp_pipeline.domain.exports import ExportFile

REQUESTS_FOR_A_FILE = 4


class FileRequests:
    """Counts the requests for one file in one load attempt, for any purpose.

    Not thread-safe. To download a second copy of the file, pass the same object to
    ``CentrePoint.fetch``.

    Args:
        most: the limit.
    """

    def __init__(self, most: int = REQUESTS_FOR_A_FILE) -> None:
        self._most = most
        self.spent = 0
        # The item with a new link, from the one repeated listing; if set, use its link.
        self.listed_again: ExportFile | None = None

    @property
    def left(self) -> int:
        """The number of requests that may still be sent."""
        return self._most - self.spent

    def spend(self) -> None:
        """Count one request."""
        self.spent += 1
