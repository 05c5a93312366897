"""Python source for another engine: statements from a table of expressions, and what is written around them."""
from __future__ import annotations

import os
import re
import textwrap
from types import ModuleType
from typing import Any, Iterable, Sequence

import numpy as np

from ..files import write as write_file
from .step import Step, Value, missing

Entry = Any        # (operand texts, Value) -> expression; what ``entry`` says of it are its attributes
SHORT = 70         # of what is written inside another expression


class Source:
    """A file for another engine. ``text`` is the source, which runs alone; ``weights`` {name: array} what belongs to it.

    ``save(path)`` writes the file, ``load()`` runs it and returns its module (needs the engine).
    """

    def __init__(self, target: str, text: str, step: Step) -> None:
        self.target, self.text, self.step = target, text, step

    @property
    def weights(self) -> dict[str, np.ndarray]:
        return {name: p.data for name, p in self.step.parameters.items()}

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<{self.step.title} for {self.target}: {len(self.text.splitlines())} lines>"

    def save(self, path: str | os.PathLike[str]) -> str | os.PathLike[str]:
        """Write the source into a file, whole or not at all; returns the path."""
        write_file(path, self.text)
        return path

    def load(self) -> ModuleType:
        """The source as a module that has been run."""
        import types
        module = types.ModuleType(f"{self.step.title}_{self.target}")
        exec(compile(self.text, f"<{self.step.title} for {self.target}>", "exec"), module.__dict__)
        return module


def function(step: Step, table: dict[str, Entry], target: str, values: list[Value], results: list[Value],
             unpacked: Iterable[str] = (), of: str = "{}",
             returns: str = "return {}") -> list[str]:
    """The lines of a function: names ``unpacked`` from ``of``, a statement for each of the values that results need, ``returns``.

    A value that has no name in the cell and is used once is written where it is used: ``a = x @ W_x + h @ W_h + b``.
    """
    missing(step, table, target, values)
    uses: dict[str, Any] = {}
    for v in results:
        uses[v.name] = uses.get(v.name, 0) + 1
    kept: list[Any] = []
    for v in reversed(values):
        if v.name in uses:
            kept.insert(0, v)
            for i in v.inputs:
                uses[i.name] = uses.get(i.name, 0) + (2 if getattr(table[v.op.name], "repeats", False) else 1)
    texts: dict[str, tuple[str, float]] = {}
    lines = []
    for v in kept:
        write = table[v.op.name]
        needs = (0,) * len(v.inputs) if write.needs is CALL else write.needs
        written = [texts.get(i.name) or (i.name, 0 if i.name[:1] == "-" else 3) for i in v.inputs]
        text = write([t if tight >= need else f"({t})" for (t, tight), need in zip(written, needs)], v)
        if not v.named and uses[v.name] == 1 and len(text) < SHORT:
            texts[v.name] = text, write.tight
        else:
            lines.append(f"{v.name} = {text}")
    names = [n for n in unpacked if n in uses]
    first = [", ".join(part) + " = " + ", ".join(of.format(n) for n in part) for part in (names[i:i + 6] for i in range(0, len(names), 6))]
    return [*first, *lines, returns.format(*(texts.get(v.name, (v.name,))[0] for v in results))]


HEAVY = {"matmul", "einsum", "solve", "inv", "matrix_exp"}


def fixed(step: Step) -> list[Value]:
    """The values of parameters alone that the steps use, if it is worth computing them once for all steps; else none."""
    used = {i.name for v in step.every for i in v.inputs} | {v.name for v in (step.y, *step.new)}
    return [v for v in step.once if v.name in used] if HEAVY & {v.op.name for v in step.once} else []


def numbered(text: str, step: Step) -> str:
    """Temporary names numbered as they occur: v1, v2, …"""
    found = dict.fromkeys(re.findall(r"\b_t\d+\b", text))
    names = dict(zip(found, (n for n in map("v{}".format, range(1, 10 ** 6)) if n not in step.taken)))
    return re.sub(r"\b_t\d+\b", lambda m: names[m[0]], text)


# ---- entries of a table: functions (operand texts, Value) -> expression ----------------------------------------------------

CALL = object()         # operands stand between commas, and need no parentheses


def entry(write: Entry, needs: Any = CALL, tight: float = 3, repeats: bool = False) -> Entry:
    """Say of a function how tightly its operands have to hold together (1 a sum, 2 a product, 3 a name), how tightly the result does,
    and whether it writes an operand more than once."""
    write.needs, write.tight, write.repeats = needs, tight, repeats
    return write


def infix(sign: str) -> Entry:
    """``a + b``"""
    return entry(lambda a, v: f"{a[0]} {sign} {a[1]}", tight={"+": 1, "-": 1, "*": 2, "/": 2, "@": 2, "**": 2.5}.get(sign, 0),
                 needs={"+": (1, 1), "-": (1, 2), "*": (2, 3), "/": (2, 3), "@": (3, 3)}.get(sign, (3, 3)))


def prefix(sign: str) -> Entry:
    return entry(lambda a, v: f"{sign}{a[0]}", needs=(3,), tight=1 if sign == "-" else 0)


INFIX = {**dict(add="+", subtract="-", multiply="*", divide="/", power="**", matmul="@"),
         **dict(less="<", less_equal="<=", greater=">", greater_equal=">=", equal="==", not_equal="!=")}


def calls(function: str, **renamed: str | None) -> Entry:
    """``function(a, b, axis=-1)``; attributes under other names on request, None to leave one out."""
    def write(a: list[str], v: Value) -> str:
        said = [f"{renamed.get(k, k)}={static(value)}" for k, value in v.attributes.items() if renamed.get(k, k) is not None]
        return f"{function}({', '.join([*a, *said])})"
    return entry(write)


def static(value: Any) -> str:
    """A static argument as Python text."""
    if isinstance(value, tuple):
        return f"({', '.join(map(static, value))}{',' * (len(value) == 1)})"
    if isinstance(value, np.generic):
        return static(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return f"float('{value}')"
    return repr(str(value)) if isinstance(value, np.dtype) else repr(value)


def array(a: np.ndarray, full: str, make: str, kind: str) -> str:
    """An array, by the function ``full`` if all its numbers are the same, else by ``make``."""
    if a.size and (a == a.flat[0]).all():
        return f"{full}({static(a.shape)}, {static(a.flat[0])}, {kind})"
    numbers = re.sub(r"\b(inf|nan)\b", r"float('\1')", repr(a.tolist()))
    return f"{make}({numbers}, {kind})"


def wrapped(line: str) -> str:
    """A line over as many lines as it takes."""
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    return line if len(line) < 120 else textwrap.fill(line, 116, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def sizes(a: list[str], v: Value) -> str:
    """A shape in which the number of rows, the last operand, may occur."""
    return f"({', '.join(a[-1] if n is None else str(n) for n in v.attributes['shape'])}{',' * (len(v.attributes['shape']) == 1)})"


def index(value: Sequence[Any]) -> str:
    """An index as it is written between brackets."""
    def one(i: Any) -> str:
        if isinstance(i, slice):
            return ":".join("" if p is None else str(p) for p in ((i.start, i.stop) if i.step is None else (i.start, i.stop, i.step)))
        if isinstance(i, np.ndarray):
            return repr(i.tolist())
        return "..." if i is Ellipsis else repr(i.item() if isinstance(i, np.generic) else i)
    return ", ".join(map(one, value))


def permutation(v: Value) -> tuple[int, ...]:
    """The full permutation of a transpose, whose axes are counted from the end."""
    rank, axes = v.sample.ndim, v.attributes["axes"]
    return tuple(range(rank - len(axes))) + tuple(a + rank for a in axes)


def _reshape(a: list[str], v: Value) -> str:
    """The leading axes stay as they are, so any batch size fits."""
    lead = v.inputs[0].sample.ndim - v.attributes["rank"]
    shape = "".join(f", {n}" for n in v.attributes["shape"])
    batch = f"*{a[0]}.shape[:{lead}]" if lead else ""
    return f"{a[0]}.reshape({(batch + shape).removeprefix(', ')})"


reshape = entry(_reshape, needs=(3,), repeats=True)


def einsum(function: str) -> Entry:
    def write(a: list[str], v: Value) -> str:
        subscripts = ",".join("..." + term for term in v.attributes["terms"]) + "->..." + v.attributes["out"]
        return f"{function}({subscripts!r}, {', '.join(a)})"
    return entry(write)


def tuple_of(values: list[Value]) -> str:
    """A tuple of names: ``h,`` or ``h, c``."""
    return ", ".join(v.name for v in values) + "," * (len(values) == 1)


def fields(n: int) -> str:
    """The same, to be filled in."""
    return ", ".join(["{}"] * n) + "," * (n == 1)
