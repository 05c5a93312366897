"""A block: marks laid out once and stamped wherever they occur, as a column of time or lying on its side.

All columns of a loop share one block, the union of their marks, so that equal operations stand at equal heights and a
difference between two columns is a difference between two steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Iterable

from . import layered, scene, text, theme
from .marks import Mark
from .scene import Arrow, Point, Shape

Unit = tuple[str, int]  # ("box" | "circle", mark key) | ("port", slot) | ("exit", rail) | ("in", source number)


@dataclass
class Style:
    """What is written into the shapes, and whether arrows run backwards (gradients)."""
    describe: Callable[[Mark, Any], tuple[list[tuple[text.Label, float]], list[tuple[text.Label, float]], str]]
    backwards: bool = False


class Block:
    """The layout of the union of several lists of marks (each with the step it is for)."""

    def __init__(self, stamps: list[tuple[Any, list[Mark]]], style: Style, *, slots: Iterable[int] = (),
                 exits: dict[int, set[int]] | None = None, sideways: bool = False,
                 balanced: bool = False, forward: int = 1) -> None:
        self.style, self.sideways, self.upside_down = style, sideways, False
        self.units: dict[Unit, int] = {}
        self._described: dict[tuple[int, Any], Any] = {}
        self._routes: dict[tuple[Unit, Unit, float, bool], tuple[list[Point], Point | None]] = {}
        self.sizes: list[tuple[float, float]] = []
        self.marks: dict[int, Mark] = {}
        edges: dict[tuple[Unit, Unit], int] = {}
        users: dict[int, list[Unit]] = {}
        for step, marks in stamps:
            for mark in marks:
                self.marks.setdefault(mark.key, mark)
                for unit, lines in zip(self.parts(mark), self.lines(mark, step)):
                    self._grow(unit, lines)
                first = self.parts(mark)[0]
                if len(self.parts(mark)) == 2:
                    edges[first, self.parts(mark)[1]] = 6
                for number, (kind, n) in enumerate(mark.sources):
                    if kind == "mark":
                        edges.setdefault((self.value(marks[n]), first), 1 if number or balanced else 2)
                    elif kind == "past":
                        if first not in users.setdefault(n, []):
                            users[n].append(first)
                    elif kind in ("rail", "step"):
                        source = ("in", n if kind == "step" else -1 - n)
                        self._add(source, (0.0, 0.0))
                        edges.setdefault((source, first), 2)
        # A past state used once goes straight to its user; used more often it enters by a port of its own.
        self.entry: dict[int, Unit] = {}
        pinned: list[tuple[int, int]] = []
        for slot in slots:
            into = users.get(slot, [])
            if len(into) == 1 and into[0] not in self.entry.values():
                self.entry[slot] = into[0]
            elif into:
                port = self.entry[slot] = ("port", slot)
                self._add(port, (theme.DOT_SIZE, theme.DOT_SIZE))
                for unit in into:
                    edges[port, unit] = 1
            if slot in self.entry:
                pinned.append((self.units[self.entry[slot]], -forward))
        tops = set()
        for rail, keys in (exits or {}).items():
            self._add(("exit", rail), (theme.DOT_SIZE, 0.0))
            tops.add(self.units["exit", rail])
            for key in sorted(keys):
                edges[self.value(self.marks[key]), ("exit", rail)] = 1
        bottoms = {n for unit, n in self.units.items() if unit[0] == "in"}
        for mark in self.marks.values():
            unit = self.value(mark)
            if mark.role == "state":
                pinned.append((self.units[unit], forward))
            if mark.role in ("input", "elsewhere") and not mark.boxed and mark.op != "elsewhere" or (
                    mark.op == "elsewhere" and not sideways):
                bottoms.add(self.units[unit])
        flat = {(self.units[u], self.units[v]): weight for (u, v), weight in edges.items()}
        sizes = [(h, w) for w, h in self.sizes] if sideways else self.sizes
        inlets = {n for unit, n in self.units.items() if unit[0] == "in"}
        self.placed = layered.arrange(sizes, list(flat), pinned=pinned if not sideways else [],
                                      bottom=bottoms if not sideways else inlets, top=tops, heavy=flat,
                                      row_gap=24 if sideways else layered.ROW_GAP,
                                      balanced=balanced)
        self.arrange_sizes = sizes
        self._ports(list(flat))
        self.width, self.height = self.placed.width, self.placed.height
        if tops:
            self.height -= 14   # the topmost row holds nothing but arrows on their way out
        if sideways:
            self.width, self.height = self.height, self.width

    # --- units ------------------------------------------------------------------------------------------------------

    @staticmethod
    def parts(mark: Mark) -> list[Unit]:
        """The shapes of a mark: the operation's box, the value's circle, or both."""
        boxes: list[Unit] = [("box", mark.key)] if mark.boxed else []
        return boxes + ([("circle", mark.key)] if mark.circle else [])

    @classmethod
    def value(cls, mark: Mark) -> Unit:
        """The shape that the mark's arrows leave from."""
        return cls.parts(mark)[-1]

    def lines(self, mark: Mark, step: Any) -> list[list[tuple[text.Label, float]]]:
        """What stands in each of the mark's shapes."""
        box, circle, _ = self.described(mark, step)
        return [box if unit[0] == "box" else circle for unit in self.parts(mark)]

    def described(self, mark: Mark, step: Any) -> Any:
        """What the style says of a mark: asked for twice, for its size and when it is stamped."""
        if (id(mark), step) not in self._described:
            self._described[id(mark), step] = self.style.describe(mark, step)
        return self._described[id(mark), step]

    def _add(self, unit: Unit, size: tuple[float, float]) -> int:
        if unit not in self.units:
            self.units[unit] = len(self.sizes)
            self.sizes.append(size)
        return self.units[unit]

    def _grow(self, unit: Unit, lines: list[tuple[text.Label, float]]) -> None:
        number = self._add(unit, (0.0, 0.0))
        wide = max((text.width(words, size) for words, size in lines), default=0.0)
        tall = sum(size for _, size in lines) * scene.LEADING
        if unit[0] == "circle":
            width = max(theme.CIRCLE, round(wide * (1.0 if len(lines) == 1 else 1.12) + 10))
            height = max(theme.CIRCLE, round(tall + 10))
            if width < 46:
                width = height = max(width, height)
        else:
            width, height = max(34.0, round(wide + 14)), max(theme.BOX_HEIGHT, round(tall + 8))
        old = self.sizes[number]
        self.sizes[number] = (max(old[0], width), max(old[1], height))

    # --- routes -----------------------------------------------------------------------------------------------------

    def _ports(self, edges: list[tuple[int, int]]) -> None:
        """Where along a shape's foot its arrows arrive: straight ones in the middle, the others to their side."""
        self.offset: dict[tuple[int, int], float] = {}
        x = self.placed.x
        arriving: dict[int, list[tuple[float, int]]] = {}
        for u, v in edges:
            lanes = self.placed.lanes.get((u, v), [])
            arriving.setdefault(v, []).append(((lanes[-1] if lanes else x[u]) - x[v], u))
        for v, sources in arriving.items():
            for side in (-1, 1):
                group = sorted((abs(d), u) for d, u in sources if d * side > 0.5)
                room = max(0.0, self.arrange_sizes[v][0] / 2 - 5)
                for i, (_, u) in enumerate(group):
                    self.offset[u, v] = side * min(9.0 * (i + 1), room * (i + 1) / len(group))

    def point(self, x: float, y: float) -> Point:
        """From the layout's coordinates to the block's own (sideways blocks read left to right, first row on top)."""
        return (y, x if self.upside_down else self.placed.width - x) if self.sideways else (x, y)

    def face(self, inlets: list[tuple[Unit, float]]) -> None:
        """Turn a sideways block over if that untangles what comes in at the given heights."""
        places = [(self.centre(unit)[1], y) for unit, y in inlets]
        tangled = sum((a[0] - b[0]) * (a[1] - b[1]) < 0 for i, a in enumerate(places) for b in places[:i])
        if 4 * tangled > len(places) * (len(places) - 1):
            self.upside_down = not self.upside_down

    def centre(self, unit: Unit) -> Point:
        """The unit's centre in the block."""
        n = self.units[unit]
        return self.point(self.placed.x[n], self.placed.y[n])

    def _reach(self, n: int, off: float) -> float:
        """Half the height of shape n at a distance from its middle."""
        width, height = self.arrange_sizes[n]
        if width and self._round(n):
            return height / 2 * max(0.0, 1 - (2 * off / width) ** 2) ** 0.5
        return height / 2

    def _round(self, n: int) -> bool:
        if not hasattr(self, "_circles"):
            self._circles = {number for unit, number in self.units.items() if unit[0] in ("circle", "port")}
        return n in self._circles

    def route(self, source: Unit, target: Unit, width: float, head: bool = True) -> tuple[list[Point], Point | None]:
        """The path of an arrow between two units, and its head's tip; the same in every step."""
        key = source, target, width, head
        if key not in self._routes:
            self._routes[key] = self._route(*key)
        return self._routes[key]

    def _route(self, source: Unit, target: Unit, width: float, head: bool) -> tuple[list[Point], Point | None]:
        u, v = self.units[source], self.units[target]
        placed, off = self.placed, self.offset.get((self.units[source], self.units[target]), 0.0)
        back, size = self.style.backwards, scene.head_length(width) if head else 0.0
        start = (placed.x[u], placed.y[u] + self._reach(u, 0.0))
        goal = (placed.x[v] + off, placed.y[v] - self._reach(v, off))
        first = (start[0], start[1] + (size if back else 0.0))
        last = (goal[0], goal[1] - (0.0 if back else size))
        points, at = [first], first
        rank = placed.rank[u]
        for x in list(placed.lanes.get((u, v), [])) + [last[0]]:
            leave = (at[0], max(at[1], placed.strip[rank][1]))
            rank += 1
            arrive = (x, placed.strip[rank][0]) if rank < placed.rank[v] else (x, min(last[1], placed.strip[rank][0]))
            if leave[1] > at[1] + 0.01:
                points += scene.line(at, leave)
            points += scene.bend_up(leave, arrive)
            at = arrive
        if last[1] > at[1] + 0.01:
            points += scene.line(at, last)
        tip = start if back else goal
        points = [self.point(*p) for p in points]
        return points, (self.point(*tip) if head else None)

    # --- stamping ---------------------------------------------------------------------------------------------------

    def stamp(self, into: scene.Scene, marks: list[Mark], step: Any, dx: float, dy: float) -> dict[Unit, int]:
        """Add the shapes and inner arrows of these marks at an offset; returns the index of each unit's shape."""
        index: dict[Unit, int] = {}
        for mark in marks:
            tooltip = self.described(mark, step)[2]
            for unit, lines in zip(self.parts(mark), self.lines(mark, step)):
                index[unit] = self._shape(into, unit, mark, lines, tooltip, dx, dy)
        slots = {n for mark in marks for kind, n in mark.sources if kind == "past"}
        for slot in sorted(slots):
            unit = self.entry[slot]
            if unit[0] == "port":
                x, y = self.centre(unit)
                index[unit] = len(into.shapes)
                into.shapes.append(Shape(x + dx, y + dy, theme.DOT_SIZE, theme.DOT_SIZE, "dot", fill=theme.GREEN,
                                         rim=theme.GREEN, role="port"))
        for mark in marks:
            parts = self.parts(mark)
            if len(parts) == 2:
                self._arrow(into, parts[0], parts[1], index, "flow", dx, dy)
            done = set()
            for kind, n in mark.sources:
                if kind == "mark":
                    source = self.value(marks[n])
                elif kind == "past" and self.entry[n][0] == "port":
                    source = self.entry[n]
                else:
                    continue
                if source not in done:
                    done.add(source)
                    self._arrow(into, source, parts[0], index, "recurrent" if kind == "past" else "flow", dx, dy)
        return index

    def _shape(self, into: scene.Scene, unit: Unit, mark: Mark, lines: list[tuple[text.Label, float]], tooltip: str,
               dx: float, dy: float) -> int:
        x, y = self.centre(unit)
        width, height = self.sizes[self.units[unit]]
        # The box of a state or a prediction is an operation like any other; its circle carries the role.
        role = "op" if unit[0] == "box" and mark.circle else mark.role
        fill, rim, rim_width, dash = theme.ROLES[role]
        into.shapes.append(Shape(x + dx, y + dy, width, height, unit[0], lines, fill, rim, rim_width, dash,
                                 tooltip=tooltip, nodes=mark.nodes, role=role))
        return len(into.shapes) - 1

    def _arrow(self, into: scene.Scene, source: Unit, target: Unit, index: dict[Unit, int], kind: str, dx: float,
               dy: float) -> None:
        colour, width = theme.ARROWS[kind]
        points, tip = self.route(source, target, width)
        into.arrows.append(Arrow([(x + dx, y + dy) for x, y in points], (tip[0] + dx, tip[1] + dy) if tip else None,
                                 self.style.backwards, colour, width, (index[source], index[target])))
