"""Expressions: what stands in a line of a derivation. How they are simplified while they are built is algebra.py's business.

An expression is an op, its arguments and what else is needed to write it (``extra``); equal expressions are one object.
Nothing is computed here, and nothing is known about gradients: how ops are differentiated stands in the op table alone.
"""
import weakref

import numpy as np

GRADIENTS = ("gradient", "carry", "given")      # kinds of references that stand for a gradient


class Reference:
    """A name that stands for a value: a variable of the cell, a parameter, a gradient.

    kind        "value", "parameter", "constant", or a gradient: "gradient" (of ``of``), "given" (from outside), "carry" (from step t+1)
    once        True: the same in every time step
    definition  its expression, or None for what is given
    """
    __slots__ = ("kind", "name", "shape", "once", "of", "definition", "named", "e", "index")

    def __init__(self, kind, name, shape, *, once=False, of=None, definition=None, named=False, index=None):
        self.kind, self.name, self.shape, self.once, self.of = kind, name, tuple(shape), once, of
        self.definition, self.named, self.index = definition, named, index
        self.e = make("ref", (), (self, 0), shape)

    def at(self, lag):
        """The same, ``lag`` steps later."""
        return self.e if self.once or not lag else make("ref", (), (self, lag), self.shape)

    def __repr__(self):
        return f"<{self.kind} {self.name}>"


class Expression:
    """op, args (expressions), extra (hashable), shape. Made by ``build``, which simplifies, or by ``make``, which does not."""
    __slots__ = ("op", "args", "extra", "shape", "__weakref__")

    def __repr__(self):
        return f"{self.op}({', '.join(map(repr, self.args))}{f'; {self.extra}' if self.extra is not None else ''})"


_known: "weakref.WeakValueDictionary[tuple, Expression]" = weakref.WeakValueDictionary()


class Static:
    """An argument that is no expression (an index, an array), hashable by its content."""
    __slots__ = ("value", "key")

    def __init__(self, value):
        self.value, self.key = value, _frozen(value)

    def __eq__(self, other):
        return isinstance(other, Static) and self.key == other.key

    def __hash__(self):
        return hash(self.key)

    def __repr__(self):
        return repr(self.value)


def _frozen(x):
    if isinstance(x, (tuple, list)):
        return tuple(_frozen(v) for v in x)
    if isinstance(x, slice):
        return "slice", x.start, x.stop, x.step
    if isinstance(x, np.ndarray):
        return x.shape, x.dtype.str, x.tobytes()
    return x


def make(op, args=(), extra=None, shape=()):
    """The one expression that is this."""
    key = op, args, extra
    e = _known.get(key)
    if e is None:
        e = Expression()
        e.op, e.args, e.extra, e.shape = op, args, extra, tuple(shape)
        _known[key] = e
    return e


def number(x):
    x = x.item() if isinstance(x, (np.ndarray, np.generic)) else x
    return make("number", (), int(x) if isinstance(x, (bool, int)) or float(x).is_integer() and abs(x) < 1e15 else float(x))


def zeros(shape):
    return make("zeros", (), tuple(shape), shape)


def references(e):
    """Every (reference, lag) in e, each as often as it stands there."""
    found, stack = [], [e]
    while stack:
        e = stack.pop()
        if e.op == "ref":
            found.append(e.extra)
        stack.extend(e.args)
    return found


def size(e):
    """How many signs e has, about: leaves count 1, and every op between them 1."""
    if not e.args:
        return 1
    if e.op in ("T", "index", "reshape", "broadcast", "scatter", "sum_t"):
        return size(e.args[0])
    negative = e.op == "mul" and equals(e.args[0], -1)                 # a - b has as many signs as a + b
    return sum(map(size, e.args)) + max(1, len(e.args) - 1) - 2 * negative


def equals(e, value):
    return e.op == "number" and e.extra == value


def broadcast(parts):
    return np.broadcast_shapes(*(p.shape for p in parts))


def split_number(e):
    """(coefficient, rest) of a product."""
    if e.op == "number":
        return e.extra, None
    if e.op == "mul" and e.args[0].op == "number":
        rest = e.args[1:]
        return e.args[0].extra, rest[0] if len(rest) == 1 else make("mul", rest, None, broadcast(rest))
    return 1, e


def is_gradient(e):
    return e.op == "ref" and e.extra[0].kind in GRADIENTS


def last_slice(index):
    """The slice of the last axis, if the index takes nothing else; else None."""
    *others, last = index
    whole = all(i is Ellipsis or i == slice(None) for i in others if not isinstance(i, np.ndarray))
    if any(isinstance(i, np.ndarray) for i in index) or not whole or not isinstance(last, slice) or last.step not in (None, 1):
        return None
    return last
