"""The buffers of a program, and its lists of their rows: made once for T steps, used at every call."""
import re

from .words import literal


class Buffer:
    """An array of the program. ``used`` says in which parts of the program; ``other`` is the buffer it really is, if not itself."""

    def __init__(self, name, definition):
        self.name, self.definition, self.used, self.other = name, definition, set(), None
        self.over_time = definition.startswith("empty((T,")


class Room:
    """What a program keeps between calls, as lines that make it."""

    def __init__(self, words):
        self.words, self.buffers, self.part = words, {}, None       # part: of the program, that is being written
        self.kept = {}                                              # loss -> the arrays that its gradient finds again
        self._views, self._rows = [], {}                            # lines; expression -> name of the list

    def buffer(self, name, v, steps="T", fill=False, shape=None):
        """An array for v: over all steps, or for one (``steps=None``)."""
        return self.add(name, self.new(v, steps, fill, shape))

    @staticmethod
    def new(v, steps="T", fill=False, shape=None):
        return f"{'zeros' if fill else 'empty'}({_shape(steps, v.shape if shape is None else shape)}, {literal(v.dtype)})"

    def add(self, name, definition):
        self.buffers[name] = Buffer(name, definition)
        self.use(name)
        return name

    def define(self, name, definition):
        self._views.append(f"{name} = {definition}")
        return name

    def use(self, name):
        if name in self.buffers:
            self.buffers[name].used.add(self.part)

    def rows(self, name, expression, back):
        """The T rows of a part of an array, as a list; those of a buffer are made once."""
        text = expression + ("[::-1]" if back else "")
        if name not in self.buffers:
            return f"rows({text})"
        if text not in self._rows:
            part = {f"{name}[:-1]": "before", f"{name}[1:]": "after"}.get(expression) or re.sub(
                r"\W+", "_", expression.removeprefix(name)).strip("_")
            self._rows[text] = self.words.unique("_".join(w for w in (name, part, "back" if back else "rows") if w))
        return self._rows[text]

    def lines(self):
        own = [b for b in self.buffers.values() if b.other is None]
        order = {b.name: n for n, b in enumerate(sorted(self.buffers.values(), key=lambda b: b.other is not None))}
        shared = sorted((b for b in self.buffers.values() if b.other is not None), key=lambda b: order[b.other.name])
        return [*(f"{b.name} = {b.definition}" for b in own), *(f"{b.name} = {b.other.name}" for b in shared), *self._views,
                *(f"{name} = rows({text})" for text, name in self._rows.items())]


def _shape(steps, shape):
    sizes = [*([steps] if steps else []), *map(str, shape)]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
