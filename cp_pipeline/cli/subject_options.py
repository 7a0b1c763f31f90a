"""Naming subjects on the command line: by number, or by identifier.

Belongs here: the options, and finding the subject. Does not belong: what a command does with it.
"""

from collections.abc import Callable, Collection
from typing import Any, TypeVar

import click

from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.domain.study_details import SubjectName
from cp_pipeline.warehouse import Warehouse, study_names

Command = TypeVar("Command", bound=Callable[..., Any])
_SHOWN = 5


class UnknownSubject(PipelineError):
    """An identifier names no subject, or several."""


def subject_identifier_option(*, multiple: bool = False) -> Callable[[Command], Command]:
    """Return the option ``--subject-identifier``, for the parameter of the same name."""
    return click.option(
        "--subject-identifier",
        "identifiers" if multiple else "identifier",
        multiple=multiple,
        metavar="TEXT",
        help="The subject's identifier, such as 0042 or 101-0042 (needs CP_STUDY_DETAILS).",
    )


def subjects_named(warehouse: Warehouse, identifiers: Collection[str]) -> tuple[int, ...]:
    """Return the subjects with these identifiers, with or without that of the site before it.

    Args:
        warehouse: the warehouse, or the published file.
        identifiers: as a person gave them.

    Raises:
        UnknownSubject: an identifier names no subject, or several.
        WarehouseError: the warehouse cannot be read.
    """
    if not identifiers:
        return ()
    with warehouse:
        known = study_names(warehouse).subjects
    return tuple(_subject(identifier, known.values()) for identifier in identifiers)


def _subject(identifier: str, known: Collection[SubjectName]) -> int:
    found = [each for each in known if each.is_named(identifier)]
    if len(found) == 1:
        return found[0].subject_id
    if found:
        named = "; ".join(
            f"{each.subject_id} ({each.label}, study {each.study_id}{_at(each)})"
            for each in sorted(found, key=lambda each: each.subject_id)[:_SHOWN]
        )
        raise UnknownSubject(
            f"{len(found)} subjects have the identifier {identifier}: {named}.",
            "Give the identifier with that of the site before it, such as 101-0042, or the "
            "subject's number with --subject.",
        )
    if not known:
        raise UnknownSubject(
            f"No subject's identifier is known, so {identifier} cannot be looked up.",
            "Set CP_STUDY_DETAILS=1 and run cp-pipeline sync, or give the subject's number with "
            "--subject.",
        )
    raise UnknownSubject(
        f"No subject of the study has the identifier {identifier}.",
        '`cp-pipeline query --warehouse "FROM study.subjects"` lists them. A subject that is new '
        "is known after the next sync.",
    )


def _at(name: SubjectName) -> str:
    return f", {name.site}" if name.site else ""
