"""The values that all packages share: program execution, export file, version, partition.

Belongs here: immutable values that can be parsed and compared, without other behaviour.
Does not belong: how an export is listed (``centrepoint``), stored (``landing``) or loaded
(``warehouse``).
"""

import hashlib
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple, Self

TICKS_PER_SECOND = 10_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?"
    r"(?:([Zz])|([+-])(\d{2}):?([0-5]\d))",
    re.ASCII,
)
_GUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Instant:
    """A timestamp of CentrePoint: the text as written (``verbatim``), and its value (``ticks``).

    CentrePoint's timestamps have up to seven fractional digits (docs/api.md, "An item"), one more
    than Python's ``datetime`` holds. Therefore ``ticks`` counts 100-nanosecond ticks since 1970
    (UTC). Two instants are equal if they are the same moment, even with different texts.
    """

    verbatim: str = field(compare=False)
    ticks: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an ISO 8601 timestamp with an offset or ``Z``.

        Raises:
            ValueError: the text is not such a timestamp, has no offset, or is finer than 100
                nanoseconds.
        """
        match = _INSTANT.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not an ISO 8601 timestamp with an offset")
        day, clock, fraction, _zulu, sign, hours, minutes = match.groups()
        digits = (fraction or "").ljust(9, "0")
        if digits[7:] != "00":
            raise ValueError(f"{text!r} is finer than 100 nanoseconds")
        offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
        try:
            zone = timezone(-offset if sign == "-" else offset)
            whole = datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=zone) - _EPOCH
        except ValueError as error:
            raise ValueError(f"{text!r} is not a timestamp: {error}") from None
        seconds = whole.days * 86_400 + whole.seconds
        return cls(text, seconds * TICKS_PER_SECOND + int(digits[:7]))

    @property
    def nanoseconds(self) -> int:
        """Nanoseconds since 1970-01-01T00:00:00 UTC."""
        return self.ticks * 100

    def __str__(self) -> str:
        return self.verbatim


def canonical_program(study_program_id: str) -> str:
    """Return the lower-case form of a GUID, whose case has no meaning (docs/api.md, "An item")."""
    return study_program_id.lower() if _GUID.fullmatch(study_program_id) else study_program_id


class ExportKey(NamedTuple):
    """The identity of an export; the file name is not part of it (docs/api.md, "An item")."""

    study_id: int
    subject_id: int
    study_program_id: str
    dataset_name: str

    @property
    def digest(self) -> int:
        """A signed number of 64 bits that stands for this key; the same in every process."""
        return digest_of(self)


def digest_of(value: object) -> int:
    """Return a signed number of 64 bits for a value, from its ``repr``."""
    hashed = hashlib.blake2b(repr(value).encode(), digest_size=8)
    return int.from_bytes(hashed.digest(), "big", signed=True)


class Version(NamedTuple):
    """One version of an export (docs/api.md, "Which version of an export an item is").

    ``executed`` and ``modified``: nanoseconds since 1970 (UTC); ``modified`` is None if the service
    sends no such time.
    """

    executed: int
    modified: int | None
    file_name: str

    def covers(self, listed: "Version") -> bool:
        """Whether this version is the same as ``listed``, or newer.

        For the same execution, the file that was modified later is newer. If one of these times is
        unknown, or both are equal, a different file name means a different file.
        """
        if self.executed != listed.executed:
            return self.executed > listed.executed
        if None not in (self.modified, listed.modified) and self.modified != listed.modified:
            return (self.modified or 0) > (listed.modified or 0)
        return self.file_name == listed.file_name


class Partition(NamedTuple):
    """One subject and one data set: all exports that the API lists for that pair."""

    subject_id: int
    dataset_name: str

    def __str__(self) -> str:
        return f"subject {self.subject_id}, data set {self.dataset_name}"


@dataclass(frozen=True, slots=True)
class InvalidItem:
    """An invalid item of a listing: its readable fields, and why it breaks the contract.

    ``reason`` never contains a link. A field that is missing, or of another type, is None.
    """

    study_id: int | None
    subject_id: int | None
    study_program_id: str | None
    dataset_name: str | None
    file_name: str | None
    program_execution: str | None
    reason: str

    @property
    def digest(self) -> int:
        """See ``digest_of``; without the study, which the item of a study's listing may lack."""
        return digest_of(replace(self, study_id=None))

    @property
    def key(self) -> ExportKey | None:
        """The export that this item belongs to; None if a field of the key is unknown."""
        if self.study_id is None or self.subject_id is None:
            return None
        if self.study_program_id is None or self.dataset_name is None:
            return None
        return ExportKey(self.study_id, self.subject_id, self.study_program_id, self.dataset_name)

    def __str__(self) -> str:
        named = {
            "Study": self.study_id,
            "subject": self.subject_id,
            "data set": self.dataset_name,
            "study program": self.study_program_id,
            "file": self.file_name,
        }
        words = [f"{name} {'(none)' if value is None else value}" for name, value in named.items()]
        return f"{', '.join(words)}: {self.reason}"


@dataclass(frozen=True, slots=True)
class ExportFile:
    """One item of a listing (docs/api.md, "An item").

    ``study_program_id`` is spelled as ``canonical_program`` returns it. ``modified`` is None if the
    service sends no time, or "never". ``url`` is signed: it is never shown, stored or compared.
    ``study_version`` is None if the dialect does not have it.
    """

    study_id: int
    subject_id: int
    study_program_id: str
    dataset_name: str
    file_name: str
    file_format: str
    modified: Instant | None
    execution: Instant
    url: str = field(repr=False, compare=False)
    study_version: int | None = field(default=None, compare=False)

    @property
    def key(self) -> ExportKey:
        """The export that this file belongs to."""
        return ExportKey(self.study_id, self.subject_id, self.study_program_id, self.dataset_name)

    @property
    def partition(self) -> Partition:
        """The subject and data set that this file belongs to."""
        return Partition(self.subject_id, self.dataset_name)

    @property
    def version(self) -> Version:
        """The version that the link leads to."""
        modified = None if self.modified is None else self.modified.nanoseconds
        return Version(self.execution.nanoseconds, modified, self.file_name)

    @property
    def is_pending(self) -> bool:
        """Whether the link still leads to the file of an earlier execution than the listed one.

        A program writes its files after its execution (docs/api.md, "Which version of an export an
        item is").
        """
        return self.modified is not None and self.modified < self.execution

    def __str__(self) -> str:
        return (
            f"study {self.study_id}, subject {self.subject_id}, data set {self.dataset_name}, "
            f"study program {self.study_program_id}, file {self.file_name}"
        )


@dataclass(frozen=True, slots=True)
class StudyListing:
    """The listing of one study, for one set of filters.

    ``items``: files that can be loaded. ``invalid``: items that break the contract.
    ``never_executed``: exports of programs that never ran for the subject. ``other_formats``: each
    item that is not CSV, by its export and format (in lower case); the export may also be listed as
    CSV. ``missing``: the number of items that the service counts but did not list; 0 for a complete
    listing.
    """

    items: tuple[ExportFile, ...] = ()
    invalid: tuple[InvalidItem, ...] = ()
    never_executed: tuple[ExportKey, ...] = ()
    other_formats: tuple[tuple[ExportKey, str], ...] = ()
    missing: int = 0
