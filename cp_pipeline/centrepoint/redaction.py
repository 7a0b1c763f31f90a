"""Remove signatures, tokens and passwords from messages and logs.

Belongs here: one function that redacts a text, and the filter that redacts the HTTP library's log,
which contains complete URLs when it retries. Does not belong: anything else; no other module may
print a URL.
"""

import logging
import re

_QUERY = re.compile(r"\?[^\s'\"<>)]*")
# Up to the last @ of the word: a password that is not URL-encoded may contain / and @.
_PASSWORD = re.compile(r"//[^\s'\"<>]+@")
_BEARER = re.compile(r"(?i)(bearer\s+)[\w.~+/=-]+")
_FORM_SECRET = re.compile(r"(?i)(client_secret|access_token|sig)(=|\"\s*:\s*\")[^&\s\"]+")


def redact(text: str) -> str:
    """Return ``text`` without query strings, passwords in addresses, bearer tokens and secrets."""
    text = _QUERY.sub("?…", text)
    text = _PASSWORD.sub("//…@", text)
    text = _BEARER.sub(r"\1…", text)
    return _FORM_SECRET.sub(r"\1\2…", text)


def _redacted(record: logging.LogRecord) -> bool:
    record.msg, record.args = redact(record.getMessage()), ()
    return True


def redact_http_log() -> None:
    """Redact urllib3's log, which contains the complete URL of a retried request."""
    for name in ("urllib3.connectionpool", "urllib3.util.retry", "requests", "urllib3"):
        logging.getLogger(name).addFilter(_redacted)
