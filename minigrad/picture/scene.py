"""A picture as plain data: placed shapes in points, y upwards.  The writers (svg, dot) read it and decide nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from . import theme
from .text import Label

Point = tuple[float, float]
LEADING = 1.3  # from line to line, in font sizes
HATCH = "#AAAAAA"


@dataclass
class Shape:
    """A circle, box or dot around (x, y)."""
    x: float
    y: float
    width: float
    height: float
    form: str                       # "circle" | "box" | "dot"
    lines: list[tuple[Label, float]] = field(default_factory=list)  # (label, font size), from the top
    fill: str = theme.WHITE
    rim: str = theme.GREY
    rim_width: float = 1.1
    dash: str = ""
    ink: str = theme.INK
    tooltip: str = ""
    nodes: tuple[int, ...] = ()     # the graph nodes that it stands for
    role: str = "op"
    hatched: bool = False           # takes no gradients

    def placed_lines(self) -> list["Words"]:
        """The lines as texts of their own, one below the other around the centre."""
        at = self.y + sum(size for _, size in self.lines) * LEADING / 2
        placed = []
        for words, size in self.lines:
            soft = "#555555" if size < theme.SMALL and self.ink != theme.WHITE else self.ink
            placed.append(Words(self.x, at - size * LEADING / 2, words, size, soft))
            at -= size * LEADING
        return placed


@dataclass
class Arrow:
    """A path of cubic curves: points[0], then three points per curve; the head's tip is beyond that end."""
    points: list[Point]
    tip: Point | None               # None: a line without a head
    backwards: bool = False         # the head is at points[0]
    colour: str = theme.GREY
    width: float = 1.1
    ends: tuple[int, int] = (-1, -1)  # shapes (from, to), whatever side the head is on
    tooltip: str = ""
    dash: str = ""
    cut: bool = False               # the value goes on, its history does not: no gradient comes back

    def head(self) -> list[Point]:
        """The corners of the arrowhead, the tip first; none for a line."""
        if self.tip is None:
            return []
        foot = self.points[0] if self.backwards else self.points[-1]
        dx, dy = self.tip[0] - foot[0], self.tip[1] - foot[1]
        length = max((dx * dx + dy * dy) ** 0.5, 1e-9)
        half = head_length(self.width) * 0.42
        across = (-dy / length * half, dx / length * half)
        return [self.tip, (foot[0] + across[0], foot[1] + across[1]), (foot[0] - across[0], foot[1] - across[1])]


@dataclass
class Panel:
    """A rectangle behind the shapes."""
    left: float
    low: float
    right: float
    high: float
    fill: str = theme.PALE
    rim: str = theme.RULE
    dash: str = ""
    rounded: bool = True
    rim_width: float = 1.0
    step: int | None = None         # the time step that it shows


@dataclass
class Words:
    """Text centred at (x, y)."""
    x: float
    y: float
    words: Label
    size: float = theme.SIZE
    ink: str = theme.GREY


@dataclass
class Scene:
    """Everything on the picture."""
    shapes: list[Shape] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)
    texts: list[Words] = field(default_factory=list)

    def bounds(self) -> tuple[float, float, float, float]:
        """(left, low, right, high) around all that is drawn."""
        from .text import width
        xs, ys = [], []
        for shape in self.shapes:
            xs += [shape.x - shape.width / 2, shape.x + shape.width / 2]
            ys += [shape.y - shape.height / 2, shape.y + shape.height / 2]
        for arrow in self.arrows:
            xs += [p[0] for p in arrow.points]
            ys += [p[1] for p in arrow.points]
        for panel in self.panels:
            xs += [panel.left, panel.right]
            ys += [panel.low, panel.high]
        for text in self.texts:
            half = width(text.words, text.size) / 2
            xs += [text.x - half, text.x + half]
            ys += [text.y - text.size * 0.7, text.y + text.size * 0.7]
        return min(xs, default=0), min(ys, default=0), max(xs, default=1), max(ys, default=1)


# --- paths ----------------------------------------------------------------------------------------------------------

def line(a: Point, b: Point) -> list[Point]:
    """A straight piece as a cubic curve, without its first point."""
    return [(a[0] + (b[0] - a[0]) / 3, a[1] + (b[1] - a[1]) / 3),
            (a[0] + (b[0] - a[0]) * 2 / 3, a[1] + (b[1] - a[1]) * 2 / 3), b]


def bend_up(a: Point, b: Point) -> list[Point]:
    """From a to b, vertical at both ends and never outside their strip; straight if they are above each other."""
    if abs(a[0] - b[0]) < 0.01:
        return line(a, b)
    middle = (a[1] + b[1]) / 2
    return [(a[0], middle), (b[0], middle), b]


def bend_across(a: Point, b: Point) -> list[Point]:
    """From a to b, horizontal at both ends."""
    if abs(a[1] - b[1]) < 0.01:
        return line(a, b)
    middle = (a[0] + b[0]) / 2
    return [(middle, a[1]), (middle, b[1]), b]


def head_length(width: float) -> float:
    """Length of the arrowhead on a line of this width."""
    return theme.HEAD + 1.4 * (width - 1.1)
