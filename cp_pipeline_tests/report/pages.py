"""A page of HTML, as tests read it: its tables, headings, texts and what it links to.

Belongs here: reading. Does not belong: what a page should say.
"""

from dataclasses import dataclass, field
from html.parser import HTMLParser

_ALONE = {"meta", "link", "br", "img", "input", "hr", "rect", "path"}


@dataclass
class Table:
    """A table; ``is_folded``: whether it stands in a list that is closed at first."""

    is_folded: bool
    caption: str = ""
    rows: list[list[str]] = field(default_factory=list)

    def row(self, name: str) -> list[str]:
        (found,) = [row for row in self.rows if row[0] == name]
        return found


class Page(HTMLParser):
    """A page that was read; an element that is not closed is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[Table] = []
        self.headings: list[tuple[str, str]] = []
        self.links: list[str] = []
        self.elements: set[str] = set()
        self.labels: list[str] = []
        self.title = ""
        self.text = ""
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        given = dict(attrs)
        self.links += [str(given[name]) for name in ("href", "src") if name in given]
        self.labels += [str(given["aria-label"])] if "aria-label" in given else []
        if tag in _ALONE:
            return
        if tag == "table":
            folded = any(each == "details" and "open" not in its for each, its in self._open)
            self.tables.append(Table(folded))
        elif tag == "tr":
            self.tables[-1].rows.append([])
        elif tag in {"td", "th"}:
            self.tables[-1].rows[-1].append("")
        elif tag in {"h1", "h2", "h3"}:
            self.headings.append((tag, ""))
        self._open.append((tag, given))

    def handle_endtag(self, tag: str) -> None:
        if tag in _ALONE:
            return
        opened, _ = self._open.pop()
        assert opened == tag

    def handle_data(self, data: str) -> None:
        within = [tag for tag, _ in self._open]
        if "style" in within:
            return
        self.text += data
        if within and within[-1] == "title":
            self.title += data
        if within and within[-1] in {"h1", "h2", "h3"}:
            level, words = self.headings[-1]
            self.headings[-1] = (level, words + data)
        if "caption" in within:
            self.tables[-1].caption += data
        elif "td" in within or "th" in within:
            self.tables[-1].rows[-1][-1] += data

    def table(self, caption: str) -> Table:
        """The table whose caption begins so."""
        (found,) = [each for each in self.tables if each.caption.startswith(caption)]
        return found
