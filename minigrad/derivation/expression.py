"""Expressions: what stands in a line of a derivation. How they are simplified while they are built is algebra.py's business.

An expression is an op, its arguments and what else is needed to write it (``extra``); equal expressions are one object.
Nothing is computed here, and nothing is known about gradients: how ops are differentiated stands in the op table alone.
"""
from __future__ import annotations

import weakref
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

Shape = tuple[int, ...]


class Reference:
    """A name that stands for a value: a variable of the cell, a parameter, a gradient.

    kind        "value", "parameter", "constant", "target", or that of a Gradient
    name        "" as long as it has none; named: a person would give it a line of its own
    once        True: the same in every time step
    e           the name as an expression; definition: what it stands for, which is the name itself where the step does not compute it
    index       where in the step's graph it is
    """
    __slots__ = ("kind", "name", "shape", "once", "definition", "named", "e", "index")

    def __init__(self, kind: str, name: str, shape: Sequence[int], *, once: bool = False, definition: Expression | None = None,
                 named: bool = False, index: int = -1) -> None:
        self.kind, self.name, self.shape, self.once, self.named, self.index = kind, name, tuple(shape), once, named, index
        self.e: Expression = make("ref", (), (self, 0), shape)
        self.definition: Expression = self.e if definition is None else definition

    @property
    def computed(self) -> bool:
        """Does the step compute it?"""
        return self.definition is not self.e

    def at(self, lag: int) -> Expression:
        """The same, ``lag`` steps later."""
        return self.e if self.once or not lag else make("ref", (), (self, lag), self.shape)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}>"


class Helper(NamedTuple):
    """The name of a gradient that is not called ∂L/∂…: δ, with the value that it stands in front of, or None."""
    letter: str
    near: Reference | None


class Gradient(Reference):
    """A name that stands for the gradient of ``of``.

    kind    "gradient" (computed), "given" (from outside), "carry" (from step t+1)
    helper  its name, unless it is called after ``of``
    """
    __slots__ = ("of", "helper")

    def __init__(self, kind: str, of: Reference, *, once: bool = False, definition: Expression | None = None, named: bool = True,
                 index: int = -1, helper: Helper | None = None) -> None:
        super().__init__(kind, of.name, of.shape, once=once, definition=definition, named=named, index=index)
        self.of, self.helper = of, helper


class Expression:
    """op, args (expressions), extra (hashable), shape. Made by ``build``, which simplifies, or by ``make``, which does not."""
    __slots__ = ("op", "args", "extra", "shape", "__weakref__")
    op: str
    args: tuple[Expression, ...]
    extra: Any
    shape: Shape

    def __repr__(self) -> str:
        return f"{self.op}({', '.join(map(repr, self.args))}{f'; {self.extra}' if self.extra is not None else ''})"


_known: weakref.WeakValueDictionary[tuple[Any, ...], Expression] = weakref.WeakValueDictionary()


class Static:
    """An argument that is no expression (an index, an array), hashable by its content."""
    __slots__ = ("value", "key")

    def __init__(self, value: Any) -> None:
        self.value, self.key = value, _frozen(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Static) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return repr(self.value)


def _frozen(x: Any) -> Hashable:
    if isinstance(x, (tuple, list)):
        return tuple(_frozen(v) for v in x)
    if isinstance(x, slice):
        return "slice", x.start, x.stop, x.step
    if isinstance(x, np.ndarray):
        return x.shape, x.dtype.str, x.tobytes()
    return x


def make(op: str, args: tuple[Expression, ...] = (), extra: Any = None, shape: Sequence[int] = ()) -> Expression:
    """The one expression that is this."""
    key = op, args, extra
    e = _known.get(key)
    if e is None:
        e = Expression()
        e.op, e.args, e.extra, e.shape = op, args, extra, tuple(shape)
        _known[key] = e
    return e


def number(x: float | np.ndarray | np.generic) -> Expression:
    x = x.item() if isinstance(x, (np.ndarray, np.generic)) else x
    return make("number", (), int(x) if isinstance(x, (bool, int)) or float(x).is_integer() and abs(x) < 1e15 else float(x))


def zeros(shape: Sequence[int]) -> Expression:
    return make("zeros", (), tuple(shape), shape)


def references(e: Expression) -> list[tuple[Reference, int]]:
    """Every (reference, lag) in e, each as often as it stands there."""
    found, stack = [], [e]
    while stack:
        e = stack.pop()
        if e.op == "ref":
            found.append(e.extra)
        stack.extend(e.args)
    return found


def size(e: Expression) -> int:
    """How many signs e has, about: leaves count 1, and every op between them 1."""
    if not e.args:
        return 1
    if e.op in ("T", "index", "reshape", "broadcast", "scatter", "sum_t"):
        return size(e.args[0])
    negative = e.op == "mul" and equals(e.args[0], -1)                 # a - b has as many signs as a + b
    return sum(map(size, e.args)) + max(1, len(e.args) - 1) - 2 * negative


def equals(e: Expression, value: float) -> bool:
    return e.op == "number" and e.extra == value


def broadcast(parts: Iterable[Expression]) -> Shape:
    return np.broadcast_shapes(*(p.shape for p in parts))


def split_number(e: Expression) -> tuple[float, Expression | None]:
    """(coefficient, rest) of a product."""
    if e.op == "number":
        return e.extra, None
    if e.op == "mul" and e.args[0].op == "number":
        rest = e.args[1:]
        return e.args[0].extra, rest[0] if len(rest) == 1 else make("mul", rest, None, broadcast(rest))
    return 1, e


def is_gradient(e: Expression) -> bool:
    return e.op == "ref" and isinstance(e.extra[0], Gradient)


def only_moves(index: tuple[Any, ...], shape: Shape) -> bool:
    """Does the index take everything? x[..., None], or x[..., 0] where that axis has one entry."""
    taken = [i for i in index if i is not None and i is not Ellipsis]
    return all(i == slice(None) if isinstance(i, slice) else not isinstance(i, np.ndarray) and n == 1
               for i, n in zip(taken, shape[len(shape) - len(taken):]))


def has_new_axes(index: tuple[Any, ...]) -> bool:
    """Does it put axes in, besides what it takes?"""
    return any(i is None for i in index) and not any(isinstance(i, np.ndarray) for i in index)


def without_new_axes(index: tuple[Any, ...], shape: Shape) -> tuple[tuple[Any, ...], Shape]:
    """The index that only takes, and the shape of what it takes; shape is that with the new axes."""
    left = [i for i in index if i is None or isinstance(i, slice)]
    old = [n for n, i in zip(shape[len(shape) - len(left):], left) if i is not None]
    return tuple(i for i in index if i is not None), (*shape[:len(shape) - len(left)], *old)


def last_slice(index: tuple[Any, ...]) -> slice | None:
    """The slice of the last axis, if the index takes nothing else; else None."""
    *others, last = index
    whole = all(i is Ellipsis or i == slice(None) for i in others if not isinstance(i, np.ndarray))
    if any(isinstance(i, np.ndarray) for i in index) or not whole or not isinstance(last, slice) or last.step not in (None, 1):
        return None
    return last
