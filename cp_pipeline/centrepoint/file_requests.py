"""How often one file may be asked for.

Belongs here: the count that all who ask for a file take from. Does not belong: who asks, and why.
"""

from cp_pipeline.domain.exports import ExportFile

REQUESTS_FOR_A_FILE = 4


class FileRequests:
    """The requests that one file may cost in one load attempt, whatever each of them is for.

    One thread's at a time. Give the same one to ``CentrePoint.fetch`` where a second copy of the
    file is wanted.

    Args:
        most: how many.
    """

    def __init__(self, most: int = REQUESTS_FOR_A_FILE) -> None:
        self._most = most
        self.spent = 0
        # The item as it was listed again, which is done once; its link is the one to use.
        self.listed_again: ExportFile | None = None

    @property
    def left(self) -> int:
        """How many there may still be."""
        return self._most - self.spent

    def spend(self) -> None:
        """Count one request."""
        self.spent += 1
