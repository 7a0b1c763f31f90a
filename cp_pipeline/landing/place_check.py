"""Whether an object store can be used: write, read, list and remove an object.

Belongs here: trying it. Does not belong: the words on the screen (``cli.doctor``).
"""

from dataclasses import dataclass
from uuid import uuid4

from cp_pipeline.landing.errors import LandingUnusable
from cp_pipeline.landing.object_store import ObjectStore

_CONTENT = b"cp-pipeline doctor\n"


@dataclass(frozen=True, slots=True)
class PlaceChecked:
    """A usable object store. ``keeps_versions``: removed objects stay as older versions."""

    where: str
    keeps_versions: bool


def check_place(files: ObjectStore, *, overwrites: bool = False) -> PlaceChecked:
    """Try every operation on an object store; nothing of it stays.

    Args:
        files: the object store.
        overwrites: whether objects are to be overwritten there, unlike those of the landing.

    Raises:
        LandingUnusable: one of them is refused, or the store overwrites what is only created.
    """
    name = f".doctor/{uuid4().hex}.txt"
    keeps_versions = files.create_versioned(name, _CONTENT)
    try:
        if files.read(name) != _CONTENT or name not in files.below(".doctor"):
            raise LandingUnusable(
                f"The object store of {files.named} does not return what was written."
            )
        if not overwrites:
            _refuse_overwriting(files, name)
    finally:
        files.remove(name)
    if files.exists(name):
        raise LandingUnusable(f"A file was removed from {files.named}, but is still there.")
    return PlaceChecked(str(files), keeps_versions=keeps_versions)


def _refuse_overwriting(files: ObjectStore, name: str) -> None:
    try:
        files.create(name, b"overwritten\n")
    except FileExistsError:
        return
    raise LandingUnusable(
        f"The object store of {files.named} overwrites an object that was only to be "
        "created: it does not know the condition If-None-Match. Hosts could overwrite each other's "
        "files.",
        "Use a store that knows it, such as Amazon S3, Azure, MinIO or SeaweedFS.",
    )
