"""The names of the environment variables, as the settings ask for them."""

from contextlib import suppress

from cp_pipeline.settings.centrepoint import CentrePointSettings
from cp_pipeline.settings.reader import SettingsError
from cp_pipeline.settings.storage import StorageSettings


class _Names(dict[str, str]):
    """An environment without variables, which notes their names."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def get(self, key: str, default: str | None = None) -> str:  # type: ignore[override]
        self.asked.append(key)
        return default or ""


def variable_names() -> list[str]:
    """Return the names of the variables that access and storage are read from; no values."""
    names = _Names()
    with suppress(SettingsError):
        StorageSettings.from_environment(names)
    with suppress(SettingsError):
        CentrePointSettings.from_environment(names)
    return sorted(set(names.asked))
