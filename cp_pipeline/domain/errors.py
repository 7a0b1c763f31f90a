"""The base class of every error that this project raises on purpose.

Belongs here: only the base class, so that a caller can catch all errors of this project. Does not
belong: other errors; each package has its own tree in its own ``errors`` module.
"""


class PipelineError(Exception):
    """An error that a person can understand and act on.

    ``passing``: the error may disappear by itself within a minute, so a retry makes sense.

    Args:
        what: what happened, and to which study, subject, data set and file. Never contains a
            secret.
        remedy: what the reader can do; empty if nothing can be done.

    ``str(error)`` is ``what`` and ``remedy``, each a sentence or more.
    """

    passing = False

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what if not remedy else f"{what} {remedy}")
        self.what = what
        self.remedy = remedy
