"""Which tests run on both engines: each test file is marked, or listed with its reason.

Belongs here: comparing the marks with the list in CONTRIBUTING.md. Does not belong: the tests
themselves; they have the mark ``both_engines``.
"""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
ROOMS = ("ingest", "models", "reliability", "warehouse")
MARK = "both_engines"
LISTED = re.compile(r"`((?:\w+/)?test_\w+\.py)`")


def _has_mark(node: ast.AST) -> bool:
    return any(isinstance(each, ast.Attribute) and each.attr == MARK for each in ast.walk(node))


def _marks(path: Path) -> tuple[bool, bool]:
    """Whether the whole module is marked, and whether some of its tests are."""
    tree = ast.parse(path.read_text())
    whole = any(
        _has_mark(each.value)
        for each in tree.body
        if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "pytestmark"
    )
    some = any(
        _has_mark(decorator)
        for each in tree.body
        if isinstance(each, ast.FunctionDef)
        for decorator in each.decorator_list
    )
    return whole, some


def _of_rooms() -> dict[str, tuple[bool, bool]]:
    return {
        f"{room}/{path.name}": _marks(path)
        for room in ROOMS
        for path in sorted((TESTS / room).glob("test_*.py"))
    }


def _rows() -> list[tuple[str, list[str]]]:
    """The rows of the list: a reason, and the files."""
    text = (TESTS.parent / "CONTRIBUTING.md").read_text()
    section = text.split("### Tests on both engines")[1].split("\n## ")[0]
    cells = [line.strip("| ").split(" | ") for line in section.splitlines() if "test_" in line]
    return [(row[0], LISTED.findall(row[1])) for row in cells if len(row) == 2]


def test_every_test_file_runs_on_both_engines_or_is_listed_with_a_reason() -> None:
    found = _of_rooms()
    listed = [file for reason, files in _rows() for file in files if len(reason) > 10]
    assert len(listed) == len(set(listed))
    assert set(listed) == {file for file, (whole, _) in found.items() if not whole}


def test_a_file_of_which_some_tests_run_is_listed_as_such() -> None:
    found = _of_rooms()
    in_part = {file for reason, files in _rows() for file in files if reason.startswith("in part")}
    assert in_part == {file for file, (whole, some) in found.items() if some and not whole}
    assert in_part
