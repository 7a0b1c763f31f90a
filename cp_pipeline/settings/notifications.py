"""The settings of alerts: where to send them, and what counts as too long without an answer.

Belongs here: names, defaults, invalid values. Does not belong: sending (``alerts``), what is a
problem (``defs.problems``).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self

from cp_pipeline.settings.reader import Reader

_TEXT = '{"text": "$text"}'
_UI = "http://127.0.0.1:3000"
# A sync a night, with two hours to spare.
ANSWER_HOURS = 26.0
_SMTP = ("SSL", "STARTTLS")


@dataclass(frozen=True, slots=True)
class NotifySettings:
    """Where alerts go: nowhere, unless ``webhook`` or ``email_to`` is set.

    ``webhook`` is a secret: whoever knows it can write to the channel. ``template``: the JSON to
    post; ``$text`` in it is replaced. ``longest_silence``: how long ago CentrePoint may have
    answered.
    """

    webhook: str = field(repr=False)
    template: str
    ui_url: str
    email_to: tuple[str, ...]
    email_from: str
    smtp_host: str
    smtp_port: int
    smtp_type: str
    smtp_user: str
    smtp_password: str = field(repr=False)
    longest_silence: timedelta = timedelta(hours=ANSWER_HOURS)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read the ``CP_NOTIFY_`` variables; all have defaults.

        Raises:
            SettingsError: variables are invalid; the message names all of them.
        """
        read = Reader(environment)
        webhook = read.text("CP_NOTIFY_WEBHOOK")
        if webhook and not webhook.startswith(("https://", "http://127.0.0.1:")):
            # Without its value, which is a secret.
            read.complaints.append("CP_NOTIFY_WEBHOOK is not an https:// address.")
        template = read.text("CP_NOTIFY_WEBHOOK_JSON", _TEXT)
        try:
            json.loads(template)
        except ValueError:
            read.complaints.append("CP_NOTIFY_WEBHOOK_JSON is not JSON.")
        email_to = tuple(
            each.strip() for each in read.text("CP_NOTIFY_EMAIL_TO").split(",") if each.strip()
        )
        smtp_type = read.text("CP_NOTIFY_SMTP_TYPE", "SSL").upper()
        if smtp_type not in _SMTP:
            read.complaints.append(
                f"CP_NOTIFY_SMTP_TYPE is {smtp_type!r}, but must be SSL or STARTTLS."
            )
        settings = cls(
            webhook=webhook,
            template=template,
            ui_url=read.text("CP_NOTIFY_UI_URL", _UI).rstrip("/"),
            email_to=email_to,
            email_from=read.text("CP_NOTIFY_EMAIL_FROM", email_to[0] if email_to else ""),
            smtp_host=read.text("CP_NOTIFY_SMTP_HOST", "localhost"),
            smtp_port=read.positive("CP_NOTIFY_SMTP_PORT", 465),
            smtp_type=smtp_type,
            smtp_user=read.text("CP_NOTIFY_SMTP_USER", email_to[0] if email_to else ""),
            smtp_password=read.text("CP_NOTIFY_SMTP_PASSWORD"),
            longest_silence=timedelta(hours=read.positive_number("CP_ANSWER_HOURS", ANSWER_HOURS)),
        )
        read.finish()
        return settings
