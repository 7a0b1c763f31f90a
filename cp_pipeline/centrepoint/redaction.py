"""Keeps signatures, tokens and passwords out of everything that is written down.

Belongs here: one function that cleans a text, and the filter that cleans the HTTP library's log,
which names whole URLs when it retries. Nothing else may print a URL.
"""

import logging
import re

_QUERY = re.compile(r"\?[^\s'\"<>)]*")
# To the last @ of the word: a password that nobody has encoded may hold / and @ itself.
_PASSWORD = re.compile(r"//[^\s'\"<>]+@")
_BEARER = re.compile(r"(?i)(bearer\s+)[\w.~+/=-]+")
_FORM_SECRET = re.compile(r"(?i)(client_secret|access_token|sig)(=|\"\s*:\s*\")[^&\s\"]+")


def redact(text: str) -> str:
    """``text`` without query strings, passwords in addresses, bearer tokens and secrets."""
    text = _QUERY.sub("?…", text)
    text = _PASSWORD.sub("//…@", text)
    text = _BEARER.sub(r"\1…", text)
    return _FORM_SECRET.sub(r"\1\2…", text)


class _RedactingFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = redact(record.getMessage())
        record.args = ()
        return True


_FILTER = _RedactingFilter()


def redact_http_log() -> None:
    """Clean what urllib3 logs (it names the whole URL of a request it retries)."""
    for name in ("urllib3.connectionpool", "urllib3.util.retry", "requests", "urllib3"):
        logging.getLogger(name).addFilter(_FILTER)
