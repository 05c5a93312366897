"""From a story to a scene: columns of time, and beside them what comes before and after, initial states, parameters."""

from __future__ import annotations

from typing import Any

from . import marks as marking
from . import scene, text, theme
from .block import Block, Style, Unit
from .columns import Columns
from .scene import Arrow, Panel, Point, Shape, Words
from .story import Story


class Layout(Columns):
    """One picture in the making; `scene` is the result."""

    def __init__(self, story: Story, style: Style, *, shapes: bool = True, title: str | None = None) -> None:
        super().__init__(story, style)
        self.shapes = shapes
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
                beside = [self.scene.shapes[other].y for other in self.initial_shapes.values()]
                while any(abs(y - other) < theme.CIRCLE for other in beside):      # of several that begin one state
                    y -= theme.CIRCLE + 8
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
                if node in story.columns[loop, story.begin(loop)].cuts:
                    self._cut()

    def _initial_lines(self, loop: Any, slot: int, node: int) -> list[tuple[text.Label, float]]:
        """h with subscript 0 and its shape, or the author's own name for the initial state."""
        recorded = self.story.graph.nodes[node]
        state = self.story.state_names[loop].get(slot)
        own = recorded.name
        if recorded.step:                             # another loop's state, or that of the step before
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
        y, size = self.foot[loop] - self.room_below(loop) - 4, theme.DOT_SIZE
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
