"""The page ``commands.md``: the help of every command, from the commands themselves.

Belongs here: reading click's commands, and the page's Markdown. Does not belong: their words
(``cp_pipeline/cli``).
"""

import inspect
import re
from collections.abc import Iterator
from html import escape
from typing import cast

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from cp_pipeline.cli import commands

_PROGRAM = "cp-pipeline"
_INTRODUCTION = """\
# Commands

Generated from `cp-pipeline COMMAND --help`. The exit codes, and what `--json` prints, are in
[For programs](machines.md). Every command also has these options:
"""


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the page."""
    files.append(File.generated(config, "commands.md", content=page()))
    return files


def page() -> str:
    """Return the page's Markdown."""
    found = dict(_every_command(click.Context(commands, info_name=_PROGRAM)))
    everywhere = set.intersection(*(set(_options(each)) for each in found.values()))
    shared = [row for row in _options(next(iter(found.values()))) if row in everywhere]
    parts = [_INTRODUCTION, _table(shared)]
    for name, context in found.items():
        parts += [f"## {name}", *_about(context)]
        if own := [row for row in _options(context) if row not in everywhere]:
            parts.append(_table(own))
    return "\n\n".join(parts) + "\n"


def _every_command(parent: click.Context, name: str = "") -> Iterator[tuple[str, click.Context]]:
    group = cast("click.Group", parent.command)
    for each in group.list_commands(parent):
        command = group.get_command(parent, each)
        if command is None or command.hidden:
            continue
        context = click.Context(command, info_name=each, parent=parent)
        if isinstance(command, click.Group):
            yield from _every_command(context, f"{name}{each} ")
        else:
            yield f"{name}{each}", context


def _about(context: click.Context) -> Iterator[str]:
    command = context.command
    yield f"```\n{context.command_path} {' '.join(command.collect_usage_pieces(context))}\n```"
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(command.help or "")):
        if paragraph.startswith("    "):
            yield f"```\n{inspect.cleandoc(paragraph)}\n```"
        else:
            yield _plain(paragraph)


def _options(context: click.Context) -> list[tuple[str, str]]:
    records = (each.get_help_record(context) for each in context.command.get_params(context))
    return [each for each in records if each]


def _table(rows: list[tuple[str, str]]) -> str:
    cells = (f"| `{option}` | {_plain(words)} |" for option, words in rows)
    return "\n".join(["| option | |", "|---|---|", *cells])


def _plain(text: str) -> str:
    """Return a paragraph on one line, in which nothing but code between backticks is markup."""
    parts = " ".join(text.split()).split("`")
    parts[::2] = (re.sub(r"([*_|])", r"\\\1", escape(part)) for part in parts[::2])
    return "`".join(parts)
