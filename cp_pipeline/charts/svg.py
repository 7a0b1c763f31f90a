"""The sheet that pictures are drawn on.

Belongs here: SVG's elements, and putting a picture into Markdown. Does not belong: what is drawn.

A picture is SVG because that is small and sharp at any size. The Dagster UI shows images of
``data:`` addresses in Markdown, and what is shorter than 1,000 characters without a click
(measured on dagster-webserver 1.13.27), so a curve is written to fit into that.
"""

from collections.abc import Sequence
from html import escape

INK, FAINT, PAPER, SIZE = "#222", "#888", "#fff", 11
# Markdown reads entities and closes at brackets, and an address takes neither # nor %.
_IN_ADDRESS = str.maketrans({sign: f"%{ord(sign):02X}" for sign in "%<>#&\\\n"})


class Sheet:
    """A white sheet, its size in pixels; elements lie over each other as they come."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self._elements: list[str] = []

    def box(self, left: float, top: float, width: float, height: float, colour: str) -> None:
        """A filled rectangle."""
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
        """Words on a base line; ``turned`` by degrees around their anchor."""
        looks = "" if anchor == "start" else f" text-anchor='{anchor}'"
        looks += "" if size == SIZE else f" font-size='{size}'"
        looks += "" if colour == INK else f" fill='{colour}'"
        looks += f" transform='rotate({turned} {left:g} {base:g})'" if turned else ""
        self._elements.append(f"<text x='{left:g}' y='{base:g}'{looks}>{escape(words)}</text>")

    def lines(
        self, lines: Sequence[Sequence[tuple[int, int]]], colour: str, width: int = 1
    ) -> None:
        """Lines through points; one of a single point is a dot."""
        if not lines:
            return
        path = "".join(map(_path, lines))
        looks = "" if width == 1 else f" stroke-width='{width}'"
        self._elements.append(
            f"<path d='{path}' fill='none' stroke='{colour}'{looks} stroke-linecap='round'/>"
        )

    def drawn(self) -> str:
        """The picture as SVG."""
        return (
            f"<svg xmlns='http://www.w3.org/2000/svg' width='{self.width:g}'"
            f" height='{self.height:g}' font-family='sans-serif' font-size='{SIZE}' fill='{INK}'>"
            f"<rect width='100%' height='100%' fill='{PAPER}'/>"
            + "".join(self._elements)
            + "</svg>"
        )


def in_markdown(picture: str, words: str) -> str:
    """A picture as Markdown shows it; ``words`` for those who cannot see it (no brackets)."""
    return f"![{words}](<data:image/svg+xml,{picture.translate(_IN_ADDRESS)}>)"


def _path(points: Sequence[tuple[int, int]]) -> str:
    """SVG's path through points, each told by its distance from the one before: four letters."""
    (left, top), *rest = points
    moves = []
    for next_left, next_top in rest or [(left, top)]:
        across, down = next_left - left, next_top - top
        moves.append(f"{across}{down}" if down < 0 else f"{across} {down}")
        left, top = next_left, next_top
    return f"M{points[0][0]} {points[0][1]}l" + " ".join(moves)
