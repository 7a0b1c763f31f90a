"""Reading environment variables, so that a person can correct all errors at once.

Belongs here: kinds of values (a number, an address, a path) and what is wrong with one.
Does not belong: which variables there are.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from cp_pipeline.domain.errors import PipelineError

# What a path must not contain: of each pattern, what it finds, and why that is refused.
Refused = tuple[tuple[re.Pattern[str], str, str], ...]
_OBJECTS = re.compile(r"(s3|az)://[A-Za-z0-9.-]+(/[A-Za-z0-9._-]+)*/?")
_SWITCHES = frozenset({"0", "1", "true", "false", "yes", "no", "on", "off"})
_HOST = re.compile(r"[\w.-]+|\[?[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f.:]*\]?")


class SettingsError(PipelineError):
    """Environment variables are missing or invalid; the message names all of them."""


class Reader:
    """Reads variables, and collects what is wrong with them in ``complaints``.

    Every method returns a value of the right type even of an invalid variable; ``finish`` raises.
    """

    def __init__(self, environment: Mapping[str, str] | None) -> None:
        self._environment = os.environ if environment is None else environment
        self.complaints: list[str] = []

    def text(self, name: str, default: str = "") -> str:
        """Return the value without spaces around it; the default if it is empty."""
        return self._environment.get(name, "").strip() or default

    def required(self, name: str, meaning: str) -> str:
        """Return the value; complain if it is empty."""
        value = self.text(name)
        if not value:
            self.complaints.append(f"{name} is not set ({meaning}).")
        return value

    def positive(self, name: str, default: int) -> int:
        """Return a whole number above 0."""
        value = self.text(name, str(default))
        if value.isdecimal() and int(value) > 0:
            return int(value)
        self.complaints.append(f"{name} is {value!r}, but must be a whole number above 0.")
        return default

    def positive_number(self, name: str, default: float) -> float:
        """Return a number above 0."""
        value = self.text(name, str(default))
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) and float(value) > 0:
            return float(value)
        self.complaints.append(f"{name} is {value!r}, but must be a number above 0.")
        return default

    def switch(self, name: str) -> bool:
        """Return whether it is on (1, true, yes, on)."""
        value = self.text(name, "0").lower()
        if value not in _SWITCHES:
            self.complaints.append(f"{name} is {value!r}, but must be 1 or 0.")
        return value in {"1", "true", "yes", "on"}

    def url(self, name: str, default: str, insecure_allowed: bool) -> str:
        """Return an https address without a last slash; http only if it is allowed."""
        value = self.text(name, default).rstrip("/")
        try:
            scheme, host = urlsplit(value)[:2]
        except ValueError:
            scheme, host = "", ""
        if scheme == "http" and not insecure_allowed:
            self.complaints.append(
                f"{name} is not HTTPS. Set CP_ALLOW_INSECURE_HTTP=1 only for a sandbox."
            )
        elif scheme not in {"http", "https"} or not host:
            self.complaints.append(f"{name} is not an https:// address.")
        return value

    def hosts(self, name: str) -> tuple[str, ...]:
        """Return the hosts of a list with commas, each once."""
        value = self.text(name)
        hosts = [host.strip() for host in value.split(",") if host.strip()]
        # An IPv6 address has colons, with or without brackets; no host has a scheme or a port.
        wrong = [host for host in hosts if not _HOST.fullmatch(host) or host.lower() in _SWITCHES]
        if wrong:
            self.complaints.append(
                f"{name} contains {wrong[0]!r}, but must be hosts as written in links, without "
                "https:// and port, separated by commas."
            )
        return tuple(dict.fromkeys(hosts))

    def object_store(self, name: str, *, or_folder: bool = False) -> str:
        """Return the location in an object store; empty without one, or if it is a folder.

        The value is not repeated in a complaint: it may have credentials, which do not belong here.
        """
        value = self.text(name)
        if not value or (or_folder and "://" not in value):
            return ""
        if not _OBJECTS.fullmatch(value):
            self.complaints.append(
                f"{name} must be {'a folder, ' if or_folder else ''}s3://bucket/prefix or "
                "az://container/prefix, without credentials and in the letters a-z, A-Z, 0-9, '.', "
                "'_' and '-'. The credentials belong in the store's own variables (AWS_…, AZURE_…)."
            )
            return ""
        return value.rstrip("/")

    def timezone(self, name: str) -> str:
        """Return a name of the time zone database, or nothing."""
        value = self.text(name)
        if value and value not in available_timezones():
            self.complaints.append(
                f"{name} is {value!r}, but must be a name of the time zone database, such as "
                "Europe/Berlin."
            )
        return value

    def path(self, name: str, default: Path, refused: Refused) -> Path:
        """Return an absolute path; refuse characters that DuckDB, dbt or Dagster misread."""
        value = self.text(name)
        # Make it absolute: Dagster may start its processes in another folder than the person's.
        path = Path(value).expanduser().absolute() if value else default
        # Check the target of a symbolic link too: it is opened by its own name.
        for opened in dict.fromkeys((str(path), os.path.realpath(path))):
            shown = opened.encode(errors="backslashreplace").decode()
            self.complaints += [
                f"{name if value else 'CP_DATA_DIR'} leads to {shown}, but this path must not "
                f"contain {what}: {why}."
                for pattern, what, why in refused
                if pattern.search(opened)
            ]
        return path

    def finish(self) -> None:
        """Raise a ``SettingsError`` that says all complaints, if there are any."""
        if self.complaints:
            raise SettingsError(
                " ".join(self.complaints),
                "Set it in the environment or in the file .env (.env.example lists all settings).",
            )
