"""From a story to a scene: columns of time, rails above them, parameters and initial states on the left."""

from __future__ import annotations

from typing import Any

from . import marks as marking
from . import scene, text, theme
from .block import Block, Style, Unit
from .reading import Story
from .scene import Arrow, Panel, Point, Scene, Shape, Words

FOLD = 132.0  # the width of the place where steps are folded away


class Layout:
    """One picture in the making; `scene` is the result."""

    def __init__(self, story: Story, style: Style, *, shapes: bool = True, title: str | None = None) -> None:
        self.story, self.style, self.shapes, self.title = story, style, shapes, title
        self.scene = Scene()
        self.back = style.backwards
        if story.loops:
            self._blocks()
            self._across()
            self._bands()
            self._columns()
            self._fold()
            self._recurrent()
            self._link()
            self._initial()
            self._rails()
            self._after()
            self._before()
        else:
            self._timeless()
        self._parameters()
        if title:
            left, _, _, high = self.scene.bounds()
            words = text.label(title)
            self.scene.texts.append(Words(left + text.width(words, 14) / 2, high + 20, words, 14, theme.INK))

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
                for step, node in story.rails[number].terms.items():
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
        story, above = self.story, self.story.loops.index(loop) + 1
        if above == len(story.loops):
            return []
        found: dict[int, int] = {}
        for step in story.shown:
            lower, upper = story.columns.get((loop, step)), story.columns.get((story.loops[above], step))
            if lower and upper:
                found.update({step: node for node in upper.elsewhere
                              if node in lower.where and story.graph.nodes[node].step == step})
        return [(above, found)] if found else []

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
            self.foot[loop] = y
            y += theme.CAPTION + theme.PADDING + self.blocks[loop].height + theme.PADDING
            self.head[loop] = y
            for i, number in enumerate(self.rails[loop]):
                self.rail_y[number] = y + theme.RAIL_GAP * (i + 0.9)
            y += theme.RAIL_GAP * len(self.rails[loop]) + 30
        self.top = y - 30

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
        for (loop, step), column in self.story.columns.items():
            left = self.left[step]
            self.scene.panels.append(Panel(left, self.foot[loop], left + self.width, self.head[loop]))
            words = text.label(f"t = {step}")
            # Where an arrow comes in from below the caption makes room.
            linked = bool(self._below(loop, step)) or any(place[0] == loop for place in self.story.picked)
            middle = left + (8 + text.width(words, theme.SIZE) / 2 if linked else self.width / 2)
            self.scene.texts.append(Words(middle, self.foot[loop] + theme.CAPTION / 2 + 1, words))
            self.index[loop, step] = self.blocks[loop].stamp(self.scene, column.marks, step, *self.at(loop, step))

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

    def _through_fold(self, loop: Any, step: int, slot: int, goal: Point, target: int) -> None:
        story, middle, way = self.story, sum(self.gap or (0, 0)) / 2, self.story.forward[loop]
        last = max((s for s in story.shown if way * s < way * step), key=lambda s: way * s, default=None)
        keys = story.states[loop].get(slot, [])
        y = goal[1]
        column = story.columns.get((loop, last)) if last is not None else None
        if column is not None and last is not None:
            unit = next((self.blocks[loop].value(m) for m in column.marks if m.key in keys), None)
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
            for step, node in sorted(rail.terms.items()):
                column = self.story.columns[loop, step]
                if node not in column.where or ("exit", number) not in block.units:
                    continue
                mark = column.marks[column.where[node]]
                x, _ = self.place(loop, step, ("exit", number))
                sign = rail.adds and rail.count > 1
                size = 18.0 if sign else theme.DOT_SIZE
                shape = len(self.scene.shapes)
                fill, rim, rim_width, _ = theme.ROLES["rail"]
                self.scene.shapes.append(Shape(
                    x, y, size, size, "circle" if sign else "dot", [(text.label("+"), 10.0)] if sign else [],
                    fill if sign else theme.ORANGE, rim, rim_width, nodes=(rail.owner,) if sign else mark.nodes[-1:],
                    role="rail",
                    tooltip="sum over time" if sign else "gathered over time"))
                self._rise(block, block.value(mark), number, self.index[loop, step], self.at(loop, step), shape)
                if previous is not None:
                    self._rail_piece(previous, (step, shape))
                elif self.gap is not None and step > self.story.shown[0] and rail.count > len(rail.terms):
                    self._rail_from_fold(shape)
                previous = (step, shape)
            if previous is not None:
                self.rail_end[number] = (self._edge(previous[1], 1), previous[1])
            elif self.gap is not None:
                self.rail_end[number] = ((sum(self.gap) / 2 + 14, y), -1)

    def _rail_from_fold(self, shape: int) -> None:
        goal, middle = self._edge(shape, -1), sum(self.gap or (0, 0)) / 2
        if goal[0] > middle + 30:
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

    # --- before and after -------------------------------------------------------------------------------------------

    def _after(self) -> None:
        """What follows the loops, read from left to right."""
        story = self.story
        if not story.after:
            return
        block = Block([(None, story.after)], self.style, sideways=True)
        inlets: list[tuple[Unit, Point, int, str]] = []
        for mark in story.after:
            for kind, n in mark.sources:
                if kind == "rail":
                    for number, rail in enumerate(story.rails):
                        if rail.owner == n and number in self.rail_end:
                            inlets.append((("in", -1 - n), *self.rail_end[number], "rail"))
                elif kind == "step":
                    loop, node = story.after_inputs[n]
                    column = story.columns[loop, story.end(loop)]
                    shape = self.index[loop, column.step][block.value(column.marks[column.where[node]])]
                    inlets.append((("in", n), self._final(loop, shape), shape, "recurrent"))
        block.face([(unit, start[1]) for unit, start, _, _ in inlets])
        left = self.right + theme.GUTTER
        # The first value that comes in arrives on a straight line.
        straight = next((i for i in inlets if i[3] == "rail"), inlets[0] if inlets else None)
        dy = straight[1][1] - block.centre(straight[0])[1] if straight else (self.top - block.height) / 2
        index = block.stamp(self.scene, story.after, None, left, dy)
        arrived = set()
        for mark in story.after:
            first = block.parts(mark)[0]
            for kind, n in mark.sources:
                unit: Unit = ("in", n if kind == "step" else -1 - n)
                if kind not in ("rail", "step") or (unit, first) in arrived:
                    continue
                arrived.add((unit, first))
                for entry, start, shape, style in inlets:
                    if entry == unit:
                        self._inlet(block, unit, first, start, shape, style, index, (left, dy))

    def _inlet(self, block: Block, unit: Unit, first: Unit, start: Point, shape: int, style: str,
               index: dict[Unit, int], offset: Point) -> None:
        colour, width = theme.ARROWS[style]
        size = scene.head_length(width)
        points, tip = block.route(unit, first, width)
        points = [(x + offset[0], y + offset[1]) for x, y in points]
        begin = points[0]
        if self.back:
            begin = (begin[0] - size, begin[1])   # the head is at the other end of the whole path
            points[0] = begin
        lead_in = [(start[0] + (size if self.back else 0.0), start[1])]
        turn = max(self.right, lead_in[0][0])
        if turn > lead_in[0][0] + 0.01:
            lead_in += scene.line(lead_in[0], (turn, start[1]))
        lead_in += scene.bend_across((turn, start[1]), begin)
        goal = start if self.back else (tip[0] + offset[0], tip[1] + offset[1]) if tip else None
        self.scene.arrows.append(Arrow(lead_in + points[1:], goal, self.back, colour, width, (shape, index[first])))

    def _final(self, loop: Any, shape: int) -> Point:
        """Where a final state leaves to the right."""
        return self._edge(shape, 1)

    def _initial(self) -> None:
        """Initial states beside the first step, as high as the state that they begin."""
        story = self.story
        self.initial_shapes: dict[int, int] = {}
        self.margin = 0.0
        taken: list[Point] = []
        for loop in story.loops:
            block, way = self.blocks[loop], story.forward[loop]
            index = self.index.get((loop, story.begin(loop)), {})
            for slot, node in sorted(story.initial[loop].items()):
                entry = block.entry.get(slot)
                if entry is None or entry not in index:
                    continue
                keys = story.states[loop].get(slot, [])
                unit = next((block.value(m) for k, m in block.marks.items() if k in keys), entry)
                y = self.place(loop, story.begin(loop), unit)[1]
                lines = self._initial_lines(loop, slot, node)
                size = max(theme.CIRCLE, round(max(text.width(w, s) for w, s in lines) + 10))
                edge = self.side(loop, story.begin(loop), -way)
                x = edge - way * (theme.GUTTER + size / 2)
                while any(abs(y - v) < theme.CIRCLE + 8 and abs(x - u) < size + 8 for u, v in taken):
                    y += 6
                taken.append((x, y))
                recorded = story.graph.nodes[node]
                fill, rim, rim_width, dash = theme.ROLES["initial"]
                if recorded.kind == "parameter":
                    rim = theme.GOLD
                if recorded.step and recorded.loop != loop:
                    fill, rim, rim_width, dash = theme.ROLES["elsewhere"]
                self.margin = min(self.margin, x - size / 2)
                self.right = max(self.right, x + size / 2)
                shape = self.initial_shapes[node] = len(self.scene.shapes)
                self.scene.shapes.append(Shape(
                    x, y, size, theme.CIRCLE, "circle", lines, fill, rim, rim_width, dash,
                    tooltip=f"initial state  shape {recorded.value.shape}", nodes=(node,), role="initial"))
                start = (x + way * size / 2, y)
                self._side(start, self._edge(index[entry], -way), (start[0], edge), "recurrent", (shape, index[entry]))

    def _initial_lines(self, loop: Any, slot: int, node: int) -> list[tuple[text.Label, float]]:
        """h with subscript 0 and its shape, or the author's own name for the initial state."""
        recorded = self.story.graph.nodes[node]
        state = self.story.state_names[loop].get(slot)
        own = recorded.name
        if recorded.step and recorded.loop != loop:   # another loop's state
            words = text.name_label(own or state or "s", recorded.step)
        elif own and state and text.plain(own).rstrip("0_") != text.plain(state) and recorded.step != 0:
            words = text.name_label(own)
        else:
            start = 0 if self.story.forward[loop] > 0 else self.story.length[loop] + 1
            words = text.name_label(state or (text.plain(own).rstrip("0_") if own else "") or "s", start)
        lines = [(words, theme.SIZE)]
        if self.shapes and recorded.value.ndim:
            lines.append((text.label(marking.shape_text(recorded.value.shape)), theme.TINY))
        return lines

    def _before(self) -> None:
        """What the initial states are computed from, read from left to right."""
        story = self.story
        if not story.before:
            return
        block = Block([(None, story.before)], self.style, sideways=True)
        left = self.margin - theme.GUTTER - block.width
        low = self.foot[story.loops[0]] + theme.CAPTION
        reached = [(n, s) for n, s in self.initial_shapes.items() if n in story.before_where]
        if reached:
            mark = story.before[story.before_where[reached[0][0]]]
            low = self.scene.shapes[reached[0][1]].y - block.centre(block.value(mark))[1]
        index = block.stamp(self.scene, story.before, None, left, low)
        for node, shape in reached:
            unit = block.value(story.before[story.before_where[node]])
            start = self._edge(index[unit], 1)
            self._side(start, self._edge(shape, -1), (left + block.width, self.margin), "flow", (index[unit], shape))
        for (loop, source), parts in story.picked.items():
            if source in story.before_where:
                self._picked(loop, parts, index[block.value(story.before[story.before_where[source]])])
        self.margin = left

    def _picked(self, loop: Any, parts: dict[int, int], source: int) -> None:
        """A line below the columns from a whole sequence to every step's part of it."""
        y, size = self.foot[loop] - 18, theme.DOT_SIZE
        colour, width = theme.ARROWS["flow"]
        before, steps = source, sorted(parts)
        for step in steps:
            column = self.story.columns[loop, step]
            mark = column.marks[column.where[parts[step]]]
            shape = self.index[loop, step][self.blocks[loop].value(mark)]
            target, dot = self.scene.shapes[shape], len(self.scene.shapes)
            self.scene.shapes.append(Shape(target.x, y, size, size, "dot", fill=colour, rim=colour, role="part",
                                           nodes=mark.nodes, tooltip="one part for every step"))
            start = self._edge(before, 1)
            self._side(start, self._edge(dot, -1), (start[0], self.margin if before == source else target.x), "flow",
                       (before, dot), head=False)
            head = scene.head_length(width)
            foot, top = (target.x, y + size / 2), (target.x, target.y - target.height / 2)
            ends = ((foot[0], foot[1] + head), top) if self.back else (foot, (top[0], top[1] - head))
            self.scene.arrows.append(Arrow([ends[0]] + scene.line(*ends), foot if self.back else top, self.back, colour,
                                           width, (dot, shape)))
            before = dot

    def _parameters(self) -> None:
        """Every parameter once, in a dashed panel on the left."""
        parameters = self.story.parameters
        if not parameters:
            return
        lines = []
        for parameter in parameters:
            shape = f" ({','.join(map(str, parameter.shape))})" if len(parameter.shape) < 2 else \
                f" ({'×'.join(map(str, parameter.shape))})"
            name = text.join(parameter.words, shape if self.shapes and parameter.shape else "")
            uses = f"×{parameter.uses:,} use{'s' * (parameter.uses != 1)}"
            lines.append([(name, 10.0), (text.label(uses), theme.SMALL)])
        width = max(text.width(words, size) for pair in lines for words, size in pair) + 16
        left, low, _, high = self.scene.bounds()
        caption = text.label("shared parameters" if self.story.loops else "parameters")
        rows = max(1, int((high - low - 30) // 46))
        files = -(-len(lines) // rows)
        rows = -(-len(lines) // files)
        inner = max(files * width + (files - 1) * 12, text.width(caption, theme.SIZE))
        right = left - theme.GUTTER
        panel_left = right - inner - 28
        tall = rows * 46 + 30
        foot = (low + high - tall) / 2 if tall < high - low else low
        self.scene.panels.append(Panel(panel_left, foot, right, foot + tall, "none", theme.GOLD, "5,4"))
        self.scene.texts.append(Words((panel_left + right) / 2, foot + 14, caption, theme.SIZE, "#7A5C00"))
        fill, rim, rim_width, dash = theme.ROLES["parameter"]
        start = (panel_left + right) / 2 - (files * width + (files - 1) * 12) / 2
        for number, (parameter, pair) in enumerate(zip(parameters, lines)):
            file, row = divmod(number, rows)
            self.scene.shapes.append(Shape(
                start + file * (width + 12) + width / 2, foot + 28 + 46 * row + 20, width, 35, "plate", pair, fill, rim,
                rim_width, dash, tooltip=parameter.tooltip, nodes=(parameter.node,), role="parameter"))

    # --- graphs without time ----------------------------------------------------------------------------------------

    def _timeless(self) -> None:
        column = self.story.columns[None, 0]
        block = Block([(None, column.marks)], self.style, balanced=True)
        block.stamp(self.scene, column.marks, None, 0.0, 0.0)
