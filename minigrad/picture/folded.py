"""The folded form: one step of the loop, and each state's way back through `delay 1`."""

from __future__ import annotations

from typing import Any

from . import scene as scenes
from . import text, theme
from .block import Style, Unit
from .layout import Layout
from .story import Story
from .scene import Arrow, Point, Scene, Shape, Words


def lay_out(story: Story, style: Style, graph: Any, *, values: bool, shapes: bool, title: str | None) -> Scene:
    """The scene of one step per loop; without time it is the ordinary picture."""
    if not story.loops:
        return Layout(story, style, shapes=shapes, title=title).scene
    return _Folded(story, style, shapes=shapes, title=title).scene


class _Folded(Layout):
    """Columns reduced to the last step, which has every state, prediction and loss, with t for its number."""

    def __init__(self, story: Story, style: Style, *, shapes: bool, title: str | None) -> None:
        inner = style.describe
        folded = Style(lambda mark, step: inner(mark, "t" if step is not None else None), style.backwards)
        last = max(story.shown)
        self.steps, self.ways = story.length, story.forward
        story.shown = [last]
        self._relative(story)
        story.columns = {place: column for place, column in story.columns.items()
                         if place[1] == min(last, story.length[place[0]])}
        story.columns = {(loop, last): column for (loop, _), column in story.columns.items()}
        for rail in story.rails:
            step = max(rail.terms, default=None)
            rail.terms = {last: rail.terms[step]} if step is not None else {}
        story.length = {loop: last for loop in story.loops}
        story.forward = {loop: 1 for loop in story.loops}
        story.picked = {place: {last: parts[max(parts)]} for place, parts in story.picked.items()}
        super().__init__(story, folded, shapes=shapes, title=title)

    def _relative(self, story: Story) -> None:
        """What a step reads from farther back is called h_{t-2}, and what it reads in every step from another loop h_t."""
        lags: dict[tuple[Any, int], set[int]] = {}
        found = [(loop, step - node.step, mark, node) for (loop, step), column in story.columns.items() for mark in column.marks
                 if mark.op == "elsewhere" for node in [story.graph.nodes[mark.nodes[0]]] if node.step is not None]
        for loop, lag, mark, _ in found:
            lags.setdefault((loop, mark.key), set()).add(lag)
        for loop, lag, mark, node in found:
            if self.ways[loop] > 0 and node.loop == loop or len(lags[loop, mark.key]) == 1 and not lag:
                mark.words = text.name_label(node.name or "s", f"t−{lag}" if lag else "t")

    def _across(self) -> None:
        """The panel is as wide as its caption, twice that where an arrow comes up beside it."""
        super()._across()
        step, = self.story.shown
        for loop in self.story.loops:
            beside = bool(self._below(loop, step)) or any(place[0] == loop for place in self.story.picked)
            wide = text.width(text.label(f"t = 1 … {self.steps[loop]:,}"), theme.SIZE) + 16
            more = max(0.0, wide * (1 + beside) - self.width)
            self.width, self.right = self.width + more, self.right + more

    def room_below(self, loop: Any) -> float:
        """Room for the way back of every state, and for its caption."""
        return 52.0 + 30 * len(self.blocks[loop].entry)

    def _columns(self) -> None:
        super()._columns()
        captions = {text.label(f"t = {step}") for _, step in self.story.columns}
        count = {loop: n for loop, n in self.steps.items()}
        loops = iter(self.story.loops)
        for words in self.scene.texts:
            if words.words in captions:
                words.words = text.label(f"t = 1 … {count[next(loops)]:,}")
                words.x = max(words.x, min(self.left.values()) + 8 + text.width(words.words, words.size) / 2)

    def _recurrent(self) -> None:
        """From every state out of the panel, under it, through the delay and in again on the left."""
        story = self.story
        for (loop, step), column in story.columns.items():
            block, index = self.blocks[loop], self.index[loop, step]
            left, right = self.left[step], self.left[step] + self.width
            number = 0
            for slot in sorted(block.entry):
                keys = story.states[loop].get(slot, [])
                source = next((block.value(m) for m in column.marks if m.key in keys), None)
                entry: Unit = block.entry[slot]
                if source is None or entry not in index or source not in index:
                    continue
                out, into = self._edge(index[source], 1), self._edge(index[entry], -1)
                reach, low = 20.0 + 18 * number, self.foot[loop] - 24 - 30 * number
                words = text.label("delay 1")
                width = text.width(words, theme.SIZE) + 16
                middle = (left + right) / 2
                for x in self._from_below(loop, step):   # an input that comes up from below passes beside the box
                    if abs(middle - x) < width / 2 + 8:
                        middle = x + (width / 2 + 12) * (1 if middle >= x else -1)
                fill, rim, rim_width, dash = theme.ROLES["delay"]
                name = story.state_names[loop].get(slot) or "state"
                first = story.initial[loop].get(slot)
                shape = len(self.scene.shapes)
                self.scene.shapes.append(Shape(
                    middle, low, width, theme.BOX_HEIGHT, "box", [(words, theme.SIZE)], fill, rim, rim_width, dash,
                    tooltip=f"{text.plain(name)} of the step before; before the first step "
                            f"{'its initial value' if first is not None else 'nothing'}", role="delay"))
                east, west = max(right + reach, middle + width / 2 + 18), min(left - reach, middle - width / 2 - 18)
                self._loop([out, (east, out[1]), (east, low), (middle + width / 2, low)], (index[source], shape))
                self._loop([(middle - width / 2, low), (west, low), (west, into[1]), into], (shape, index[entry]))
                number += 1
            self.right = max(self.right, right + 10 + 18 * number)   # what follows turns beside the loops
            order = "" if self.ways[loop] > 0 else ", last to first"
            shift, middle = 24 + 30 * number, (left + right) / 2
            for x in self._from_below(loop, step):
                middle = x + 34 if abs(middle - x) < 34 else middle
            self.scene.texts.append(Words(middle, self.foot[loop] - shift + 4,
                                          text.label(f"× {self.steps[loop]:,} steps{order}"), theme.SMALL))

    def _from_below(self, loop: Any, step: int) -> list[float]:
        """The x of inputs that are joined to a sequence below the panel, and of what comes up from the loop there."""
        story, column = self.story, self.story.columns[loop, step]
        return [*(self.place(loop, step, self.blocks[loop].value(column.marks[column.where[parts[step]]]))[0]
                  for place, parts in story.picked.items() if place[0] == loop),
                *(self.place(lower, step, ("exit", -1 - above))[0]
                  for lower in story.loops for above, found in self._links(lower) if story.loops[above] == loop and step in found)]

    def _loop(self, corners: list[Point], ends: tuple[int, int]) -> None:
        """A path along these corners, rounded."""
        colour, width = theme.ARROWS["recurrent"]
        size = scenes.head_length(width)
        path = list(corners)
        tip = path[0] if self.back else path[-1]
        if self.back:
            path[0] = _towards(path[0], path[1], size)
        else:
            path[-1] = _towards(path[-1], path[-2], size)
        points = [path[0]]
        at = path[0]
        for before, corner, after in zip(path, path[1:], path[2:]):
            radius = min(12.0, _distance(before, corner) / 2, _distance(corner, after) / 2)
            a, b = _towards(corner, before, radius), _towards(corner, after, radius)
            points += scenes.line(at, a)
            points += [_towards(corner, a, radius * 0.45), _towards(corner, b, radius * 0.45), b]
            at = b
        points += scenes.line(at, path[-1])
        self.scene.arrows.append(Arrow(points, tip, self.back, colour, width, ends))

    def _initial(self) -> None:
        self.initial_shapes: dict[int, int] = {}
        self.margin = min([self.left[s] for s in self.story.shown]) - 40

    def _fold(self) -> None:
        return


def _distance(a: Point, b: Point) -> float:
    return ((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) ** 0.5


def _towards(a: Point, b: Point, far: float) -> Point:
    length = _distance(a, b) or 1.0
    return a[0] + (b[0] - a[0]) * far / length, a[1] + (b[1] - a[1]) * far / length
