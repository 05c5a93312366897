"""Columns of time: panels, the arrows between them, the rails above them.  What stands beside them is in `layout`."""

from __future__ import annotations

from typing import Any

from . import scene, text, theme
from .block import Block, Style, Unit
from .scene import Arrow, Panel, Point, Scene, Shape, Words
from .story import Story

FOLD = 132.0  # the width of the place where steps are folded away


class Columns:
    """The loops of a story on a scene; `index` finds the shape of every unit of every step."""

    def __init__(self, story: Story, style: Style) -> None:
        self.story, self.style, self.back = story, style, style.backwards
        self.scene = Scene()
        self._linked: dict[Any, list[tuple[int, dict[int, int]]]] = {}

    # --- the loops --------------------------------------------------------------------------------------------------

    def _blocks(self) -> None:
        """One block per loop; `exits` are the lanes to the rails above it."""
        story = self.story
        self.rails: dict[Any, list[int]] = {loop: [] for loop in story.loops}
        self.blocks: dict[Any, Block] = {}
        for number, rail in enumerate(story.rails):
            self.rails[rail.loop].append(number)
        for loop in story.loops:
            columns = [column for place, column in story.columns.items() if place[0] == loop]
            exits: dict[int, set[int]] = {}
            for number in self.rails[loop]:
                for step, node in [(step, n) for step, terms in story.rails[number].terms.items() for n in terms]:
                    column = story.columns[loop, step]
                    if node in column.where:
                        exits.setdefault(number, set()).add(column.marks[column.where[node]].key)
            for other, link in self._links(loop):
                for step, node in link.items():
                    column = story.columns[loop, step]
                    exits.setdefault(-1 - other, set()).add(column.marks[column.where[node]].key)
            slots = sorted({n for c in columns for mark in c.marks for kind, n in mark.sources if kind == "past"})
            self.blocks[loop] = Block([(c.step, c.marks) for c in columns], self.style, slots=slots, exits=exits,
                                      forward=story.forward[loop])

    def _links(self, loop: Any) -> list[tuple[int, dict[int, int]]]:
        """What the loop right above this one reads from it in the same step: [(place of that loop, step -> node)]."""
        if loop in self._linked:
            return self._linked[loop]
        story, above = self.story, self.story.loops.index(loop) + 1
        if above == len(story.loops):
            return []
        found: dict[int, int] = {}
        for step in story.shown:
            lower, upper = story.columns.get((loop, step)), story.columns.get((story.loops[above], step))
            if lower and upper:
                found.update({step: node for node in upper.elsewhere
                              if node in lower.where and story.graph.nodes[node].step == step})
        self._linked[loop] = [(above, found)] if found else []
        return self._linked[loop]

    def _link(self) -> None:
        """Arrows from a lower loop's column into the same column of the loop above."""
        story = self.story
        for loop in story.loops:
            for above, found in self._links(loop):
                upper = story.loops[above]
                for step, node in found.items():
                    column, block = story.columns[loop, step], self.blocks[loop]
                    source = block.value(column.marks[column.where[node]])
                    target = story.columns[upper, step]
                    mark = target.marks[target.elsewhere[node]]
                    shape = self.index[upper, step][self.blocks[upper].value(mark)]
                    self._rise(block, source, -1 - above, self.index[loop, step], self.at(loop, step), shape)

    def _across(self) -> None:
        """The left edge of every shown step's panel."""
        story = self.story
        self.width = max(block.width for block in self.blocks.values()) + 2 * theme.PADDING
        self.left: dict[int, float] = {}
        self.gap: tuple[float, float] | None = None   # (left, right) of the folded part
        x, previous = 0.0, 0
        for step in story.shown:
            if previous and step != previous + 1:
                self.gap = (x - theme.GUTTER, x - theme.GUTTER + FOLD)
                x += FOLD - theme.GUTTER
            self.left[step] = x
            x += self.width + theme.GUTTER
            previous = step
        self.right = x - theme.GUTTER

    def _bands(self) -> None:
        """The foot of every loop's panels and the height of its rails."""
        y = 0.0
        self.foot: dict[Any, float] = {}
        self.head: dict[Any, float] = {}
        self.rail_y: dict[int, float] = {}
        for loop in self.story.loops:
            y += self.room_below(loop)
            self.foot[loop] = y
            y += theme.CAPTION + theme.PADDING + self.blocks[loop].height + theme.PADDING
            self.head[loop] = y
            for i, number in enumerate(self.rails[loop]):
                self.rail_y[number] = y + theme.RAIL_GAP * (i + 0.9)
            y += theme.RAIL_GAP * len(self.rails[loop]) + 30
        self.top = y - 30

    def room_below(self, loop: Any) -> float:
        """Room below the loop's panels for what runs along under them."""
        return 14.0 if any(place[0] == loop for place in self.story.picked) else 0.0

    def at(self, loop: Any, step: int) -> Point:
        """Where the block of this step begins."""
        inside = (self.width - self.blocks[loop].width) / 2
        return self.left[step] + inside, self.foot[loop] + theme.CAPTION + theme.PADDING

    def place(self, loop: Any, step: int, unit: Unit) -> Point:
        """The centre of a unit on the picture."""
        (x, y), (dx, dy) = self.blocks[loop].centre(unit), self.at(loop, step)
        return x + dx, y + dy

    def _columns(self) -> None:
        self.index: dict[tuple[Any, int], dict[Unit, int]] = {}
        self.inner: dict[tuple[Any, int], list[Arrow]] = {}
        for (loop, step), column in self.story.columns.items():
            left = self.left[step]
            self.scene.panels.append(Panel(left, self.foot[loop], left + self.width, self.head[loop], step=step))
            words = text.label(f"t = {step}")
            # Where an arrow comes in from below the caption makes room.
            linked = bool(self._below(loop, step)) or any(place[0] == loop for place in self.story.picked)
            middle = left + (8 + text.width(words, theme.SIZE) / 2 if linked else self.width / 2)
            self.scene.texts.append(Words(middle, self.foot[loop] + theme.CAPTION / 2 + 1, words))
            before = len(self.scene.arrows)
            self.index[loop, step] = self.blocks[loop].stamp(self.scene, column.marks, step, *self.at(loop, step))
            self.inner[loop, step] = self.scene.arrows[before:]

    def _below(self, loop: Any, step: int) -> list[tuple[Any, int]]:
        """The column of the loop below, if this column reads from it."""
        number = self.story.loops.index(loop)
        if not number:
            return []
        lower = self.story.loops[number - 1]
        return [(lower, step) for _, found in self._links(lower) if step in found]

    def _fold(self) -> None:
        """Say how many steps are folded away, and which."""
        if self.gap is None:
            return
        story, middle = self.story, sum(self.gap) / 2
        hidden = [s for a, b in zip(story.shown, story.shown[1:]) if b != a + 1 for s in (a + 1, b - 1)]
        count = hidden[1] - hidden[0] + 1
        for loop in story.loops:
            y = self.foot[loop] + theme.CAPTION / 2 + 1
            words = f"t = {hidden[0]:,} … {hidden[1]:,}" if count > 1 else f"t = {hidden[0]:,}"
            self.scene.texts += [Words(middle, y, text.label(words), theme.SMALL),
                                 Words(middle, y + 13, text.label(f"{count:,} step{'s' * (count > 1)} folded"),
                                       theme.SMALL)]

    # --- arrows between columns -------------------------------------------------------------------------------------

    def _side(self, start: Point, goal: Point, bend: tuple[float, float], kind: str, ends: tuple[int, int],
              head: bool = True) -> None:
        """An arrow sideways that changes its height only between the two x of `bend`, given from start to goal."""
        colour, width = theme.ARROWS[kind]
        size = scene.head_length(width) if head else 0.0
        way = 1 if goal[0] >= start[0] else -1
        first = (start[0] + (way * size if self.back else 0.0), start[1])
        last = (goal[0] - (0.0 if self.back else way * size), goal[1])
        near, far = way * max(way * bend[0], way * first[0]), way * min(way * bend[1], way * last[0])
        points = [first]
        if abs(near - first[0]) > 0.01:
            points += scene.line(first, (near, first[1]))
        points += scene.bend_across((near, first[1]), (far, last[1]))
        if abs(last[0] - far) > 0.01:
            points += scene.line((far, last[1]), last)
        tip = (start if self.back else goal) if head else None
        self.scene.arrows.append(Arrow(points, tip, self.back, colour, width, ends))

    def _cut(self) -> None:
        """Two strokes across the last arrow: the value goes on, its history does not."""
        arrow = self.scene.arrows[-1]
        arrow.cut = True
        bend = max(range(0, len(arrow.points) - 3, 3), key=lambda i: abs(arrow.points[i + 3][0] - arrow.points[i][0])
                   + abs(arrow.points[i + 3][1] - arrow.points[i][1]))
        a, b, c, d = arrow.points[bend:bend + 4]
        x, y = (a[0] + 3 * b[0] + 3 * c[0] + d[0]) / 8, (a[1] + 3 * b[1] + 3 * c[1] + d[1]) / 8
        dx, dy = d[0] + c[0] - b[0] - a[0], d[1] + c[1] - b[1] - a[1]              # where the curve goes, in its middle
        length = (dx * dx + dy * dy) ** 0.5 or 1.0
        dx, dy = dx / length, dy / length
        for along in (-2.2, 2.2):
            cx, cy = x + along * dx, y + along * dy
            start, end = (cx - 7 * dy - 2 * dx, cy + 7 * dx - 2 * dy), (cx + 7 * dy + 2 * dx, cy - 7 * dx + 2 * dy)
            self.scene.arrows.append(Arrow([start, *scene.line(start, end)], None, False, theme.INK, 1.8,
                                           tooltip="cut: no gradient comes back", cut=True))

    def side(self, loop: Any, step: int, way: int) -> float:
        """The x of a panel's edge: the right one for way = 1, the left one for way = -1."""
        return self.left[step] + (self.width if way > 0 else 0.0)

    def _edge(self, shape: int, side: int) -> Point:
        """The middle of a shape's left (-1) or right (+1) side."""
        it = self.scene.shapes[shape]
        return it.x + side * it.width / 2, it.y

    def _recurrent(self) -> None:
        """Green arrows from every state to the next column, through the folded part too."""
        story = self.story
        for (loop, step), column in story.columns.items():
            block, index, way = self.blocks[loop], self.index[loop, step], story.forward[loop]
            for slot, node in enumerate(column.pasts):
                entry = block.entry.get(slot)
                if entry is not None and entry[0] == "port" and entry in index:
                    self.scene.shapes[index[entry]].nodes = (node,)
                    for arrow in self.inner[loop, step] if node in column.cuts else ():
                        arrow.cut = arrow.cut or arrow.ends[0] == index[entry]
                if step == story.begin(loop) or entry is None or entry not in index:
                    continue
                goal = self._edge(index[entry], -way)
                before = story.columns.get((loop, step - way))
                if before is not None and node in before.where:
                    unit = block.value(before.marks[before.where[node]])
                    shape = self.index[loop, step - way][unit]
                    bend = (self.side(loop, step - way, way), self.side(loop, step, -way))
                    self._side(self._edge(shape, way), goal, bend, "recurrent", (shape, index[entry]))
                elif before is None and self.gap is not None:
                    self._through_fold(loop, step, slot, goal, index[entry])
                if node in column.cuts:
                    self._cut()

    def _through_fold(self, loop: Any, step: int, slot: int, goal: Point, target: int) -> None:
        story, middle, way = self.story, sum(self.gap or (0, 0)) / 2, self.story.forward[loop]
        last = max((s for s in story.shown if way * s < way * step), key=lambda s: way * s)
        keys, y = story.states[loop].get(slot, []), goal[1]
        unit = next((self.blocks[loop].value(m) for m in story.columns[loop, last].marks if m.key in keys), None)
        if unit is not None:
            shape = self.index[loop, last][unit]
            start = self._edge(shape, way)
            y = start[1]
            self._side(start, (middle - way * 14, y), (start[0], middle - way * 14), "recurrent", (shape, -1))
        self.scene.texts.append(Words(middle, y, text.label("⋯"), 18, theme.GREY))
        self._side((middle + way * 14, y), goal, (middle + way * 14, self.side(loop, step, -way)), "recurrent",
                   (-1, target))

    def _rails(self) -> None:
        """A rail above the columns for every value that is gathered from all steps."""
        self.rail_end: dict[int, tuple[Point, int]] = {}
        for number, rail in enumerate(self.story.rails):
            y, loop, block = self.rail_y[number], rail.loop, self.blocks[rail.loop]
            previous: tuple[int, int] | None = None   # (step, shape)
            for step, terms in sorted(rail.terms.items()):
                column = self.story.columns[loop, step]
                marks = [column.marks[column.where[node]] for node in terms if node in column.where]
                if not marks:
                    continue
                x, _ = self.place(loop, step, ("exit", number))
                sign = rail.adds and rail.count > 1
                size = 18.0 if sign else theme.DOT_SIZE
                shape = len(self.scene.shapes)
                fill, rim, rim_width, _ = theme.ROLES["rail"]
                self.scene.shapes.append(Shape(
                    x, y, size, size, "circle" if sign else "dot", [(text.label("+"), 10.0)] if sign else [],
                    fill if sign else theme.ORANGE, rim, rim_width, role="rail",
                    nodes=(rail.owner,) if sign else marks[0].nodes[-1:],
                    tooltip="sum over time" if sign else "gathered over time"))
                for mark in marks:
                    self._rise(block, block.value(mark), number, self.index[loop, step], self.at(loop, step), shape)
                if previous is not None:
                    self._rail_piece(previous, (step, shape))
                elif self.gap is not None and x > self.gap[1] and rail.count > len(rail.terms):
                    self._rail_from_fold(shape)   # the first terms are folded away
                previous = (step, shape)
            if previous is not None:
                self.rail_end[number] = (self._edge(previous[1], 1), previous[1])
            elif self.gap is not None:
                self.rail_end[number] = ((sum(self.gap) / 2 + 14, y), -1)

    def _rail_from_fold(self, shape: int) -> None:
        goal, middle = self._edge(shape, -1), sum(self.gap or (0, 0)) / 2
        self.scene.texts.append(Words(middle, goal[1], text.label("⋯"), 18, theme.GREY))
        self._side((middle + 14, goal[1]), goal, (middle, goal[0]), "rail", (-1, shape))

    def _rail_piece(self, a: tuple[int, int], b: tuple[int, int]) -> None:
        """The rail from one column to the next one, by way of the folded steps where there are some."""
        start, goal = self._edge(a[1], 1), self._edge(b[1], -1)
        folded = self.gap is not None and start[0] < self.gap[0] < goal[0]
        if not folded:
            self._side(start, goal, (start[0], goal[0]), "rail", (a[1], b[1]))
            return
        middle = sum(self.gap or (0, 0)) / 2
        self._side(start, (middle - 14, start[1]), (start[0], middle - 14), "rail", (a[1], -1))
        self.scene.texts.append(Words(middle, start[1], text.label("⋯"), 18, theme.GREY))
        self._side((middle + 14, start[1]), goal, (middle + 14, goal[0]), "rail", (-1, b[1]))

    def _rise(self, block: Block, source: Unit, number: int, index: dict[Unit, int], offset: Point,
              shape: int) -> None:
        """From a mark inside a column up to its rail."""
        colour, width = theme.ARROWS["flow"]
        size = scene.head_length(width)
        points, tip = block.route(source, ("exit", number), width, head=self.back)
        points = [(x + offset[0], y + offset[1]) for x, y in points]
        target = self.scene.shapes[shape]
        goal = (target.x, target.y - target.height / 2)
        last = (goal[0], goal[1] - (0 if self.back else size))
        if abs(goal[0] - points[-1][0]) > 0.01:   # a column of another loop, a little to the side
            turn = (points[-1][0], last[1] - theme.CAPTION - theme.PADDING - 22)
            points += scene.line(points[-1], turn) + scene.bend_up(turn, last)
        else:
            points += scene.line(points[-1], last)
        if self.back and tip is not None:
            goal = (tip[0] + offset[0], tip[1] + offset[1])
        self.scene.arrows.append(Arrow(points, goal, self.back, colour, width, (index[source], shape)))
