"""The sheet that charts are drawn on.

Belongs here: SVG elements, and embedding a picture in Markdown. Does not belong: what is drawn.

Charts are SVG because SVG is small and sharp at any size. The Dagster UI shows images from
``data:`` addresses in Markdown. It shows Markdown of less than 1,000 characters without a click
(measured on dagster-webserver 1.13.27), so a curve must be shorter than that.
"""

from collections.abc import Sequence
from html import escape

INK, FAINT, PAPER, SIZE = "#222", "#888", "#fff", 11
# Markdown decodes entities and ends an address at a bracket; an address must not contain # or %.
_IN_ADDRESS = str.maketrans({sign: f"%{ord(sign):02X}" for sign in "%<>#&\\\n"})


class Sheet:
    """A white sheet, with its size in pixels; later elements cover earlier ones."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self._elements: list[str] = []

    def box(self, left: float, top: float, width: float, height: float, colour: str) -> None:
        """Draw a filled rectangle."""
        self._elements.append(
            f"<rect x='{left:g}' y='{top:g}' width='{width:g}' height='{height:g}'"
            f" fill='{colour}'/>"
        )

    def text(
        self,
        left: float,
        base: float,
        words: str,
        *,
        anchor: str = "start",
        size: int = SIZE,
        colour: str = INK,
        turned: int = 0,
    ) -> None:
        """Draw text on a base line; ``turned``: degrees of rotation around its anchor."""
        looks = "" if anchor == "start" else f" text-anchor='{anchor}'"
        looks += "" if size == SIZE else f" font-size='{size}'"
        looks += "" if colour == INK else f" fill='{colour}'"
        looks += f" transform='rotate({turned} {left:g} {base:g})'" if turned else ""
        self._elements.append(f"<text x='{left:g}' y='{base:g}'{looks}>{_written(words)}</text>")

    def lines(
        self, lines: Sequence[Sequence[tuple[int, int]]], colour: str, width: int = 1
    ) -> None:
        """Draw lines through points; a line with a single point is a dot."""
        if not lines:
            return
        path = "".join(map(_path, lines))
        looks = "" if width == 1 else f" stroke-width='{width}'"
        self._elements.append(
            f"<path d='{path}' fill='none' stroke='{colour}'{looks} stroke-linecap='round'/>"
        )

    def drawn(self) -> str:
        """Return the picture as SVG."""
        return (
            f"<svg xmlns='http://www.w3.org/2000/svg' width='{self.width:g}'"
            f" height='{self.height:g}' font-family='sans-serif' font-size='{SIZE}' fill='{INK}'>"
            f"<rect width='100%' height='100%' fill='{PAPER}'/>"
            + "".join(self._elements)
            + "</svg>"
        )


def _written(words: str) -> str:
    """Return words as SVG has them; XML cannot have control characters."""
    return escape("".join(each if each.isprintable() else "?" for each in words))


def label_in_markdown(words: str) -> str:
    """Return words as they are in a picture in Markdown, from the end of their tag to the next."""
    return f">{_written(words)}</text".translate(_IN_ADDRESS)


def in_markdown(picture: str, words: str) -> str:
    """Return a picture as Markdown; ``words`` is the alternative text (without brackets)."""
    return f"![{words}](<data:image/svg+xml,{picture.translate(_IN_ADDRESS)}>)"


def _path(points: Sequence[tuple[int, int]]) -> str:
    """Return an SVG path; each point is relative to the previous one, to save characters."""
    (left, top), *rest = points
    moves = []
    for next_left, next_top in rest or [(left, top)]:
        across, down = next_left - left, next_top - top
        moves.append(f"{across}{down}" if down < 0 else f"{across} {down}")
        left, top = next_left, next_top
    return f"M{points[0][0]} {points[0][1]}l" + " ".join(moves)
