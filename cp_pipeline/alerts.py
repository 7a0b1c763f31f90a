"""An alert: one message for all problems that are new, to a webhook as JSON and by e-mail.

Belongs here: the text, and sending it. Does not belong: finding problems (``defs.problems``), the
settings (``settings.notifications``).
"""

import json
import smtplib
import ssl
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from functools import partial
from typing import Any

import requests

from cp_pipeline.centrepoint import redact
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.domain.texts import count
from cp_pipeline.settings.notifications import NotifySettings

_NAMED = 20
_LONGEST = 500
_LONGEST_SUBJECT = 120
_SECONDS = 15
WEBHOOK, EMAIL = "webhook", "e-mail"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a person should know.

    ``key``: the same as long as the same problem lasts. ``link``: a page of the Dagster UI.
    ``by_run``: a run that failed has it; Dagster's own sensor sends an e-mail for each such run.
    """

    key: str
    words: str
    link: str = ""
    by_run: bool = False


class AlertNotDelivered(PipelineError):
    """The webhook or the mail server did not take the alert."""


def channels(settings: NotifySettings) -> Mapping[str, Callable[[Sequence[Problem]], None]]:
    """Return, for each channel that is set, the function that sends one alert.

    The functions raise ``AlertNotDelivered``.
    """
    found: dict[str, Callable[[Sequence[Problem]], None]] = {}
    if settings.webhook:
        found[WEBHOOK] = partial(post_alert, settings)
    if settings.email_to:
        found[EMAIL] = partial(mail_alert, settings)
    return found


def alert_text(problems: Sequence[Problem]) -> str:
    """Return one text for several problems, the first ones by name."""
    lines = [f"cp-pipeline: {count(len(problems), 'new problem')}"]
    lines += [
        # The link is ours: it has no secret, and must not be cut.
        f"• {redact(each.words)[:_LONGEST]}{f' {each.link}' if each.link else ''}"
        for each in problems[:_NAMED]
    ]
    if len(problems) > _NAMED:
        lines.append(f"• and {len(problems) - _NAMED:,} more")
    return "\n".join(lines)


def post_alert(settings: NotifySettings, problems: Sequence[Problem]) -> None:
    """Post one alert to the webhook.

    Raises:
        AlertNotDelivered: no answer, or an answer that is no success; without the address.
    """
    document = _filled(json.loads(settings.template), alert_text(problems))
    reason = ""
    try:
        answer = requests.post(
            settings.webhook, json=document, timeout=_SECONDS, allow_redirects=False
        )
        if not requests.codes.ok <= answer.status_code < requests.codes.multiple_choices:
            reason = f"it answered HTTP {answer.status_code}"
    except requests.RequestException as error:
        reason = type(error).__name__
    # Outside the handler: its error has the address, which is a secret, and would be the context.
    if reason:
        raise AlertNotDelivered(
            f"The webhook of CP_NOTIFY_WEBHOOK did not take an alert: {reason}.",
            "Check its address. The next tick tries again.",
        )


def mail_alert(settings: NotifySettings, problems: Sequence[Problem]) -> None:
    """Send one alert by e-mail, over TLS.

    Raises:
        AlertNotDelivered: the mail server cannot be used, or refused the message.
    """
    message = EmailMessage()
    message["From"], message["To"] = settings.email_from, ", ".join(settings.email_to)
    message["Subject"] = _email_subject(problems)
    message.set_content(alert_text(problems))
    context, reason = ssl.create_default_context(), ""
    try:
        with _mail_server(settings, context) as server:
            if settings.smtp_type == "STARTTLS":
                server.starttls(context=context)
            if settings.smtp_password:
                server.login(settings.smtp_user, settings.smtp_password)
            server.send_message(message)
    except (smtplib.SMTPException, OSError) as error:
        code = getattr(error, "smtp_code", None)
        reason = f"{type(error).__name__}{f' {code}' if code else ''}"
    # Outside the handler, as above: what a server says may repeat what it was sent.
    if reason:
        raise AlertNotDelivered(
            f"The mail server {settings.smtp_host}, port {settings.smtp_port}, did not take an "
            f"alert: {reason}.",
            "Check the variables CP_NOTIFY_SMTP_… . The next tick tries again.",
        )


def _mail_server(settings: NotifySettings, context: ssl.SSLContext) -> smtplib.SMTP:
    host, port = settings.smtp_host, settings.smtp_port
    if settings.smtp_type == "SSL":
        return smtplib.SMTP_SSL(host, port, timeout=_SECONDS, context=context)
    return smtplib.SMTP(host, port, timeout=_SECONDS)


def _email_subject(problems: Sequence[Problem]) -> str:
    (first, *others) = problems
    words = f"{count(len(problems), 'new problem')}" if others else redact(first.words)
    return " ".join(f"cp-pipeline: {words}".split())[:_LONGEST_SUBJECT]


def new_problems(
    problems: Sequence[Problem], told: Collection[str], channel: str = WEBHOOK
) -> list[Problem]:
    """Return the problems that were not told yet, and that this channel tells."""
    return [
        each for each in problems if each.key not in told and not (channel == EMAIL and each.by_run)
    ]


def _filled(template: Any, text: str) -> Any:  # noqa: ANN401  (any JSON)
    if isinstance(template, str):
        return template.replace("$text", text)
    if isinstance(template, list):
        return [_filled(each, text) for each in template]
    if isinstance(template, dict):
        return {name: _filled(each, text) for name, each in template.items()}
    return template
