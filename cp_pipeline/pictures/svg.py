"""The sheet that pictures are drawn on.

Belongs here: SVG's elements, and putting a picture into Markdown. Does not belong: what is drawn.

A picture is SVG because that is small (a curve takes 1 kB in Dagster's event log, a PNG ten) and
sharp at any size. The Dagster UI shows images of ``data:`` addresses in Markdown.
"""

import base64
from html import escape

INK, FAINT, PAPER = "#24292f", "#8b949e", "#ffffff"
_FONT = "font-family='Inter,Helvetica,Arial,sans-serif'"


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
        size: int = 11,
        colour: str = INK,
        turned: int = 0,
    ) -> None:
        """Words on a base line; ``turned`` by degrees around their anchor."""
        turn = f" transform='rotate({turned} {left:g} {base:g})'" if turned else ""
        self._elements.append(
            f"<text x='{left:g}' y='{base:g}' font-size='{size}' fill='{colour}'"
            f" text-anchor='{anchor}'{turn}>{escape(words)}</text>"
        )

    def line(self, points: list[tuple[float, float]], colour: str) -> None:
        """A line through points; a single one is a dot."""
        if len(points) == 1:
            ((left, top),) = points
            self._elements.append(f"<circle cx='{left:g}' cy='{top:g}' r='1.6' fill='{colour}'/>")
            return
        path = " ".join(f"{left:g},{top:g}" for left, top in points)
        self._elements.append(
            f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='1.4'/>"
        )

    def drawn(self) -> str:
        """The picture as SVG."""
        return (
            f"<svg xmlns='http://www.w3.org/2000/svg' width='{self.width:g}'"
            f" height='{self.height:g}' viewBox='0 0 {self.width:g} {self.height:g}' {_FONT}>"
            f"<rect width='100%' height='100%' rx='4' fill='{PAPER}'/>"
            + "".join(self._elements)
            + "</svg>"
        )


def in_markdown(picture: str, words: str) -> str:
    """A picture as Markdown shows it; ``words`` for whoever cannot see it (no brackets)."""
    encoded = base64.b64encode(picture.encode()).decode()
    return f"![{words}](data:image/svg+xml;base64,{encoded})"
