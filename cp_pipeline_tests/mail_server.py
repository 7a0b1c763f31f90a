"""A local mail server over TLS, with a certificate of its own, that keeps what it is sent.

Belongs here: the few commands of SMTP that ``smtplib`` sends. Does not belong: who sends, and what.
"""

import email
import email.policy
import shutil
import ssl
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread

import pytest

from cp_pipeline_tests.certificates import certificate_in


class MailServer(ThreadingTCPServer):
    """Keeps each e-mail. ``starttls``: begins without TLS. ``refuses``: answers 550 to each."""

    daemon_threads = True

    def __init__(self, certificate: Path, key: Path) -> None:
        super().__init__(("localhost", 0), _Talking)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.starttls = self.refuses = False
        self.taken: list[EmailMessage] = []
        self.logins: list[str] = []

    def messages(self) -> list[str]:
        """Return what came since the last call, each as its subject and its text."""
        texts = [f"{each['Subject']}\n{_text(each)}" for each in self.taken]
        self.taken.clear()
        return texts


def _text(message: EmailMessage) -> str:
    body = message.get_body(("plain", "html"))
    assert body is not None
    return str(body.get_content())


class _Talking(StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        if not self.server.starttls:
            self._encrypt()
        self._say("220 localhost")
        while line := self.rfile.readline():
            command = line[:8].decode().split()[0].upper()
            if command == "QUIT":
                self._say("221 bye")
                return
            if command == "EHLO":
                self._say("250-localhost\r\n250-STARTTLS\r\n250 AUTH PLAIN")
            elif command == "STARTTLS":
                self._say("220 go on")
                self._encrypt()
            elif command == "AUTH":
                self.server.logins.append(line.decode())
                self._say("235 in")
            elif command == "DATA":
                self._take()
            else:
                self._say("250 yes")

    def _encrypt(self) -> None:
        self.connection = self.server.context.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")

    def _take(self) -> None:
        self._say("354 go on")
        lines = []
        while (line := self.rfile.readline()).strip() != b".":
            lines.append(line)
        if self.server.refuses:
            self._say("550 no")
            return
        message = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        self.server.taken.append(message)
        self._say("250 taken")

    def _say(self, words: str) -> None:
        self.wfile.write(f"{words}\r\n".encode())
        self.wfile.flush()


@pytest.fixture
def mail_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MailServer]:
    """Serve, with the settings that send to it."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not there")
    certificate, key = certificate_in(tmp_path)
    with MailServer(certificate, key) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        for name, value in {
            "CP_NOTIFY_EMAIL_TO": "a@example.org, b@example.org",
            "CP_NOTIFY_SMTP_HOST": "localhost",
            "CP_NOTIFY_SMTP_PORT": str(server.server_address[1]),
            "CP_NOTIFY_SMTP_PASSWORD": "hush",
            "CP_NOTIFY_UI_URL": "https://dagster.example.org",
            "SSL_CERT_FILE": str(certificate),
        }.items():
            monkeypatch.setenv(name, value)
        yield server
        server.shutdown()
