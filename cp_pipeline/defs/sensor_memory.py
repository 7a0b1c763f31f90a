"""What one tick of the sensor tells the next, and how long it waits.

Belongs here: the cursor, growing pauses. Does not belong: when to ask (``sensors``).
"""

import json
from dataclasses import asdict, dataclass
from datetime import timedelta

_LONGEST_PAUSE = timedelta(hours=1)


@dataclass(slots=True)
class Memory:
    """What one tick tells the next, as JSON in Dagster's cursor.

    ``not_before``: seconds since 1970; no look earlier. ``troubles``: ticks in a row that could not
    ask CentrePoint. ``asked``: a digest of what was last requested, and ``times`` how often, which
    grows only where a run for it changed nothing. ``at``: when this was written; a clock that has
    gone back since may have been wrong by years. ``study`` and ``offset``: where the look goes on.
    ``uploads_at``: when the times of uploads were last recorded.
    """

    not_before: float = 0.0
    troubles: int = 0
    asked: str = ""
    times: int = 0
    at: float = 0.0
    study: int = 0
    offset: int = 0
    uploads_at: float = 0.0

    @classmethod
    def read(cls, cursor: str | None) -> "Memory":
        """What the last tick said; nothing, if another version of cp-pipeline wrote it."""
        try:
            said = json.loads(cursor or "{}")
            # Up to 0.1.0.
            said.pop("looked_after", None)
            return cls(**said)
        except (ValueError, TypeError, AttributeError):
            return cls()

    def write(self) -> str:
        """For the next tick."""
        return json.dumps(asdict(self))


def growing(seconds: int, times: int) -> timedelta:
    """Return a pause that doubles each time, from ``seconds`` to an hour."""
    return min(timedelta(seconds=seconds * float(2 ** min(times, 12))), _LONGEST_PAUSE)
