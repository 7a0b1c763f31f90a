"""The root of every error that this project raises on purpose.

Belongs here: the one base class, so that a caller can catch "ours". Each room draws its own tree in
its own ``errors`` module.
"""


class PipelineError(Exception):
    """Something that a person can understand and do something about.

    ``passing``: it may be over by itself in a minute, so trying again is worth it.

    Args:
        what: what happened, and to which study, subject, data set and file. Never holds a secret.
        remedy: what the reader can do about it; empty if there is nothing to be done.

    ``str(error)`` is ``what`` and ``remedy``, each a sentence or more.
    """

    passing = False

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what if not remedy else f"{what} {remedy}")
        self.what = what
        self.remedy = remedy
