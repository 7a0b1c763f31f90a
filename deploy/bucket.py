"""Copy the bucket of compose.yaml into a tar file, and back into an empty one.

Belongs here: the objects of the landing and of the lake (docs/deployment.md).
Does not belong: the catalog, which ``pg_dump`` copies, before the bucket.

    bucket.py save > bucket.tar
    bucket.py restore < bucket.tar
"""

import os
import sys
import tarfile
from collections.abc import Iterator
from typing import IO, cast

import obstore
from dotenv import load_dotenv
from obstore.store import S3Store

BUCKET = "study"
AT_ONCE = 8 << 20


def save(store: S3Store) -> int:
    """Write all objects to the standard output; return how many."""
    count = 0
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
        for some in store.list():
            for each in some:
                member = tarfile.TarInfo(each["path"])
                member.size, member.mode = each["size"], 0o600
                member.mtime = int(each["last_modified"].timestamp())
                # An object that is gone ends the copy: `compact` or `erase` runs, so do it again.
                archive.addfile(member, cast("IO[bytes]", obstore.open_reader(store, each["path"])))
                count += 1
    return count


def restore(store: S3Store) -> int:
    """Create all objects of the standard input; return how many."""
    if any(store.list()):
        raise SystemExit(f"The bucket {BUCKET} is not empty: a restore belongs into a new one.")
    count = 0
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
        for member in archive:
            if (content := archive.extractfile(member)) is None:
                raise SystemExit(f"{member.name} is no file: this is no copy of a bucket.")
            small = member.size <= AT_ONCE
            obstore.put(store, member.name, content.read() if small else parts(content))
            count += 1
    return count


def parts(content: IO[bytes]) -> Iterator[bytes]:
    """Yield a file in parts, so that a large one is never whole in memory."""
    while part := content.read(AT_ONCE):
        yield part


if __name__ == "__main__":
    load_dotenv(".env", interpolate=False)
    # Its address and credentials are in the store's own variables.
    bucket = S3Store(BUCKET, client_options={"allow_http": bool(os.environ.get("AWS_ALLOW_HTTP"))})
    done = {"save": save, "restore": restore}[sys.argv[1]](bucket)
    sys.stderr.write(f"{done} objects.\n")
