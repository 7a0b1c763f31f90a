"""An alert: one message for all problems that are new, posted to a webhook as JSON.

Belongs here: the text, and sending it. Does not belong: finding problems (``defs.problems``), the
settings (``notify_settings``).
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import requests

from cp_pipeline.centrepoint import redact
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.domain.texts import count
from cp_pipeline.notify_settings import NotifySettings

_NAMED = 20
_LONGEST = 500
_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a person should know.

    ``key``: the same as long as the same problem lasts. ``link``: a page of the Dagster UI.
    """

    key: str
    words: str
    link: str = ""


class AlertNotDelivered(PipelineError):
    """The webhook did not take the alert."""


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


def send_alert(settings: NotifySettings, problems: Sequence[Problem]) -> None:
    """Post one alert.

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


def new_problems(problems: Sequence[Problem], told: Collection[str]) -> list[Problem]:
    """Return the problems that were not told yet."""
    return [each for each in problems if each.key not in told]


def _filled(template: Any, text: str) -> Any:  # noqa: ANN401  (any JSON)
    if isinstance(template, str):
        return template.replace("$text", text)
    if isinstance(template, list):
        return [_filled(each, text) for each in template]
    if isinstance(template, dict):
        return {name: _filled(each, text) for name, each in template.items()}
    return template
