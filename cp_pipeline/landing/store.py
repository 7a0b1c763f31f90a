"""The landing: every export is stored unchanged before anything parses it.

Belongs here: keeping a file with its checksum and description, finding it again, the quarantine.
Does not belong: where the files are (``folder``, ``object_store``), reading one (``csv_text``),
HTTP to CentrePoint, DuckDB.

A file is at ``{study}/{subject}/{data set}/{program}_{execution}_{checksum}.export``. A ``.json``
file beside it describes it, so that the warehouse can be rebuilt from the landing alone. We choose
all names: a server's file name never becomes a path (docs/design.md).
"""

import hashlib
import itertools
import re
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from cp_pipeline.domain.exports import ExportFile
from cp_pipeline.landing.folder import Folder, write_all, written
from cp_pipeline.landing.landed_file import (
    IncompleteFile,
    LandedFile,
    beginning_of,
    described_by,
    description_of,
    folder_of,
    named,
)
from cp_pipeline.landing.object_store import ObjectStore
from cp_pipeline.locks.scratch_folders import any_locked, remove_abandoned, scratch_folder
from cp_pipeline.settings import StorageSettings

# A place for files, safe to use from many threads, processes and hosts. Both have the same methods:
# - A name is relative to the place, with '/' between its parts. We choose all names.
# - A missing file is a FileNotFoundError; one that ``create`` finds, a FileExistsError. An object
#   store that cannot be used is a LandingUnusable; a folder, another OSError.
# - What ``put`` and ``replace`` write is whole as soon as it is visible.
# - ``put`` is given a name with a checksum of the bytes. So a file of the same name has the same
#   bytes, or is damaged: then it is replaced. The file it is given is gone afterwards.
Files = Folder | ObjectStore
# Study, subject, data set, file: the quarantine of an object store has one folder more.
_LANDED = re.compile(r"[0-9]+/[0-9]+/[^/]+/[^/]+\.export")
# Names for files in folders that only this process writes to.
_serial = itertools.count()


class Landing:
    """The landed files, and the quarantine. Safe to use from many threads and processes.

    Args:
        root: a folder on this machine, for scratch folders; by default the files are in it, too.
        files: where the files are.
        refused: where the quarantine is.
    """

    def __init__(
        self, root: Path, files: Files | None = None, refused: Files | None = None
    ) -> None:
        self.root = root
        self.files = files or Folder(root)
        self.refused = refused or Folder(root.with_name("quarantine"))
        # Cache: folders of subjects by study. A folder that another process created later may be
        # missing; then a file is downloaded that was already there.
        self._subjects: dict[int, set[str]] = {}

    @classmethod
    def of(cls, storage: StorageSettings) -> "Landing":
        """Return the landing of the settings: a folder, or an object store.

        Raises:
            LandingUnusable: the object store's own variables are missing, or its package is.
        """
        if not storage.landing_url:
            return cls(storage.landing)
        url = storage.landing_url
        return cls(storage.landing, ObjectStore.at(url), ObjectStore.at(f"{url}/quarantine"))

    def keep(
        self,
        export_file: ExportFile,
        chunks: Iterator[bytes],
        scratch: Path,
        incomplete: IncompleteFile | None = None,
    ) -> LandedFile:
        """Write the bytes to a scratch folder, checksum them, and put the file into the landing.

        Args:
            export_file: the item of the bytes.
            chunks: the bytes as sent. If the iterator raises, the error passes through and no file
                stays.
            scratch: a folder of ``scratch_folder``.
            incomplete: receives the partial file if ``chunks`` raises.
        """
        checksum, byte_count = hashlib.sha256(), 0
        part = scratch / f"{next(_serial)}.part"
        try:
            with written(part) as file:
                for chunk in chunks:
                    checksum.update(chunk)
                    byte_count += len(chunk)
                    write_all(file, chunk)
            landed = named(export_file, checksum.hexdigest(), byte_count)
            # Write the description first, so that every file in place has one.
            self._describe(landed, scratch)
            self.files.put(landed.path, part)
        except BaseException:
            if incomplete is not None and byte_count:
                part.replace(incomplete.path)
                incomplete.landed = named(export_file, checksum.hexdigest(), byte_count)
            part.unlink(missing_ok=True)
            raise
        self._landed_subjects(landed.study_id).add(str(landed.subject_id))
        return landed

    def _describe(self, landed: LandedFile, scratch: Path) -> None:
        """Write the description of a file, unless the same description already exists."""
        try:
            self.files.create(description_of(landed.path), landed.described())
        except FileExistsError:
            # The same bytes were landed before, or a killed process left an incomplete description.
            if self.described(landed.path) != landed:
                self.files.replace(description_of(landed.path), landed.described(), scratch)

    def find(self, export_file: ExportFile) -> LandedFile | None:
        """Return the newest landed file of exactly this version whose bytes are unchanged."""
        key = export_file.key
        # Checking the cached subjects is faster than looking for each file.
        if str(key.subject_id) not in self._landed_subjects(key.study_id):
            return None
        for name in self.files.newest(folder_of(key), beginning_of(export_file)):
            if not name.endswith(".export"):
                continue
            landed = self.described(name)
            if (
                landed is not None
                and landed.version == export_file.version
                and self.is_intact(landed)
            ):
                return landed
        return None

    def _landed_subjects(self, study_id: int) -> set[str]:
        if study_id not in self._subjects:
            there = self.files.subfolders(str(study_id))
            return self._subjects.setdefault(study_id, there)
        return self._subjects[study_id]

    def described(self, path: str) -> LandedFile | None:
        """Return the landed file by its description; None if there is no valid one."""
        try:
            return described_by(self.files.read(description_of(path)))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def is_intact(self, landed: LandedFile) -> bool:
        """Whether the file exists and still has the checksum of its download."""
        try:
            return self.files.checksum(landed.path) == landed.sha256
        except OSError:
            return False

    def missing(self, paths: Collection[str]) -> set[str]:
        """Return those of the paths where no file is."""
        answers = self.files.each(self.files.exists, list(paths))
        return {path for path, exists in answers if not exists}

    def quarantine(self, landed: LandedFile, reason: str, scratch: Path) -> None:
        """Move a refused file into the quarantine, with the reason."""
        self.refused.replace(description_of(landed.path), landed.described(reason), scratch)
        try:
            with self.files.local(landed.path, scratch) as source:
                self.refused.put(landed.path, source)
        except FileNotFoundError:
            # Another process may have moved the same file a moment ago.
            if not self.refused.exists(landed.path):
                raise
        self.files.remove(landed.path)
        self.files.remove(description_of(landed.path))

    def quarantine_incomplete(
        self, incomplete: IncompleteFile, reason: str, scratch: Path
    ) -> LandedFile | None:
        """Keep the partial file of a failed download in quarantine; None if no byte arrived."""
        if incomplete.landed is None:
            return None
        landed = incomplete.landed
        self.refused.replace(description_of(landed.path), landed.described(reason), scratch)
        self.refused.put(landed.path, incomplete.path)
        return landed

    def all(self) -> Iterator[LandedFile]:
        """Yield every landed file that has a description, ordered by path."""
        for study in sorted(self.files.subfolders("")):
            if not study.isdecimal():
                continue
            paths = [path for path in self.files.below(study) if _LANDED.fullmatch(path)]
            for path, landed in self.files.each(self.described, paths):
                if landed is not None:
                    # The current path: the description is outdated if the folder was moved.
                    yield replace(landed, path=path)

    @property
    def is_in_use(self) -> bool:
        """Whether a process on this machine is downloading or loading: it has a scratch folder."""
        return any_locked(self.root / ".aside")

    def scratch_folder(self) -> AbstractContextManager[Path]:
        """Provide a scratch folder of this process, on this machine's disk; gone at the end."""
        return scratch_folder(self.root / ".aside")

    def tidy(self) -> None:
        """Remove the scratch folders of killed processes."""
        remove_abandoned(self.root / ".aside")
