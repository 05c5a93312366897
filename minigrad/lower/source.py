"""Python source for another engine: statements from a table of expressions, and what is written around them."""
from typing import Any

import numpy as np

from ..files import replacing
from .step import missing

SHORT = 70         # of what is written inside another expression


class Source:
    """A file for another engine. ``text`` is the source, which runs alone; ``weights`` {name: array} what belongs to it.

    ``save(path)`` writes the file, ``load()`` runs it and returns its module (needs the engine).
    """

    def __init__(self, target, text, step):
        self.target, self.text, self.step = target, text, step

    @property
    def weights(self):
        return {name: p.data for name, p in self.step.parameters.items()}

    def __str__(self):
        return self.text

    def __repr__(self):
        return f"<{self.step.title} for {self.target}: {len(self.text.splitlines())} lines>"

    def save(self, path):
        """Write the source into a file, whole or not at all; returns the path."""
        with replacing(path) as beside, open(beside, "w", encoding="utf-8") as file:
            file.write(self.text)
        return path

    def load(self):
        """The source as a module that has been run."""
        import types
        module = types.ModuleType(f"{self.step.title}_{self.target}")
        exec(compile(self.text, f"<{self.step.title} for {self.target}>", "exec"), module.__dict__)
        return module


def statements(step, table, target, values):
    """Lines like ``a = x @ W_x + h @ W_h + b``: a value that has no name in the cell and is used once is written where it is used."""
    missing(step, table, target, values)
    uses: dict = {}
    for v in (*step.once, *step.every):
        for i in v.inputs:
            uses[i.name] = uses.get(i.name, 0) + 1
    leaving, texts, lines = {v.name for v in (step.y, *step.new)}, {}, []
    for v in values:
        write = table[v.op.name]
        needs = getattr(write, "needs", (3,) * len(v.inputs))
        needs = (0,) * len(v.inputs) if needs is CALL else needs
        written = [texts.get(i.name) or (i.name, 0 if i.name[:1] == "-" else 3) for i in v.inputs]
        operands = [text if tight >= need else f"({text})" for (text, tight), need in zip(written, needs)]
        text = write(operands, v)
        if not v.named and uses.get(v.name) == 1 and v.name not in leaving and len(text) < SHORT:
            texts[v.name] = text, getattr(write, "tight", 3)
        else:
            lines.append(f"{v.name} = {text}")
    return lines


# ---- entries of a table: functions (operand texts, Value) -> expression ----------------------------------------------------

CALL = object()         # operands stand between commas, and need no parentheses


def infix(sign):
    """``a + b``. ``needs``: how tightly each operand has to hold together, 1 a sum, 2 a product, 3 a name; ``tight``: the result."""
    def write(a, v):
        return f"{a[0]} {sign} {a[1]}"
    write.tight = {"+": 1, "-": 1, "*": 2, "/": 2, "@": 2}.get(sign, 0)
    write.needs = {"+": (1, 1), "-": (1, 2), "*": (2, 3), "/": (2, 3), "@": (2, 3)}.get(sign, (3, 3))
    return write


def calls(function, **renamed):
    """``function(a, b, axis=-1)``; attributes under other names on request, None to leave one out."""
    def write(a, v):
        said = []
        for name, value in v.attributes.items():
            name = renamed.get(name, name)
            if name is not None:
                said.append(f"{name}={static(value)}")
        return f"{function}({', '.join([*a, *said])})"
    write.needs = CALL
    return write


def static(value: Any) -> str:
    """A static argument as Python text."""
    if isinstance(value, tuple):
        return f"({', '.join(map(static, value))}{',' * (len(value) == 1)})"
    if isinstance(value, np.generic):
        return repr(value.item())
    if isinstance(value, np.dtype):
        return repr(str(value))
    return repr(value)


def index(value):
    """An index as it is written between brackets."""
    def one(i):
        if isinstance(i, slice):
            return ":".join("" if p is None else str(p) for p in ((i.start, i.stop) if i.step is None else (i.start, i.stop, i.step)))
        if isinstance(i, np.ndarray):
            return repr(i.tolist())
        return "..." if i is Ellipsis else repr(i.item() if isinstance(i, np.generic) else i)
    return ", ".join(map(one, value))


def permutation(v):
    """The full permutation of a transpose, whose axes are counted from the end."""
    rank, axes = v.sample.ndim, v.attributes["axes"]
    return tuple(range(rank - len(axes))) + tuple(a + rank for a in axes)


def reshaped(a, v):
    """The leading axes stay as they are, so any batch size fits."""
    lead = v.inputs[0].sample.ndim - v.attributes["rank"]
    shape = "".join(f", {n}" for n in v.attributes["shape"])
    batch = f"*{a[0]}.shape[:{lead}]" if lead else ""
    return f"{a[0]}.reshape({(batch + shape).removeprefix(', ')})"


def einsum(function):
    def write(a, v):
        subscripts = ",".join("..." + term for term in v.attributes["terms"]) + "->..." + v.attributes["out"]
        return f"{function}({subscripts!r}, {', '.join(a)})"
    write.needs = CALL
    return write


def taken_apart(names):
    """The left side that takes a tuple apart: ``h,`` or ``h, c``."""
    return ", ".join(names) + "," * (len(names) == 1)


def put_together(step):
    """What a step returns: its output, and the tuple of the new state."""
    return f"return {step.y.name}, ({taken_apart([s.name for s in step.new])})"
