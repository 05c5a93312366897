"""The algebra of a derivation: simplifying changes no value, and what comes out is what a person would write."""
import numpy as np
import pytest

from minigrad.derivation.algebra import build, shifted
from minigrad.derivation.derive import contains
from minigrad.derivation.expression import Gradient, Reference, Static, make, number, zeros
from minigrad.ops import scatter_add as scatter

T, SHAPES = 3, [(), (4,), (3, 4), (4, 4), (1, 4), (2, 3, 4)]


class Random:
    """Random expressions, each with the function of time that it stands for, which was computed without simplifying anything."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.names = {}

    def choice(self, items):
        return items[self.rng.integers(len(items))]

    def leaf(self, shape):
        kind = self.rng.integers(8)
        if kind == 0:
            return zeros(shape), lambda t: np.zeros(shape)
        if kind < 3 and shape == ():
            n = self.choice([-2, -1, 0, 0.5, 1, 3])
            return number(n), lambda t: np.asarray(n)
        return self.named(shape)

    def named(self, shape):
        """A name, at a step: a value, a gradient or a parameter; its numbers are positive."""
        name = shape, int(self.rng.integers(2)), self.choice(["value", "value", "gradient", "parameter"])
        if name not in self.names:
            once = name[2] == "parameter"
            numbers = self.rng.uniform(0.5, 2, (1 if once else T + 4, *shape))
            r = Reference("value" if name[2] == "gradient" else name[2], f"r{len(self.names)}", shape, once=once)
            self.names[name] = Gradient("gradient", r) if name[2] == "gradient" else r, np.broadcast_to(numbers, (T + 4, *shape))
        (r, numbers), lag = self.names[name], int(self.rng.integers(-1, 2)) if name[2] != "parameter" else 0
        return r.at(lag), lambda t: numbers[t + lag + 1]

    def pair(self, shape, depth):
        """Two operands that broadcast to the shape."""
        (a, f), (b, g) = self.expression(shape, depth), self.expression(self.choice([s for s in SHAPES if _fits(s, shape)]), depth)
        return ((a, f), (b, g)) if self.rng.integers(2) else ((b, g), (a, f))

    def expression(self, shape, depth):
        if depth == 0:
            return self.leaf(shape)
        ops = ["add", "add", "mul", "mul", "mul", "divide", "quotient", "negative", "power", "reshape", "broadcast", "sum", "sum_t"]
        if shape:
            ops += ["index", "scatter", "concatenate", "piece"]
        if len(shape) > 1:
            ops += ["matmul", "T", "T", "product"]
        return getattr(self, "_" + self.choice(ops))(shape, depth - 1)

    def _add(self, shape, depth):
        (a, f), (b, g) = self.pair(shape, depth)
        return build("add", (a, b), None, shape), lambda t: f(t) + g(t)

    def _mul(self, shape, depth):
        (a, f), (b, g) = self.pair(shape, depth)
        return build("mul", (a, b), None, shape), lambda t: f(t) * g(t)

    def _divide(self, shape, depth):
        (a, f), (b, g) = self.pair(shape, depth)
        below = build("add", (number(1), build("power", (b, number(2)), None, b.shape)), None, b.shape)
        return build("divide", (a, below), None, shape), lambda t: f(t) / (1 + g(t) ** 2)

    def _quotient(self, shape, depth):
        """By a name or a number, which is not 0."""
        a, f = self.expression(shape, depth)
        b, g = self.choice([self.named(shape), self.named(()), (number(1), lambda t: 1), (number(4), lambda t: 4)])
        return build("divide", (a, b), None, shape), lambda t: f(t) / g(t)

    def _negative(self, shape, depth):
        (a, f), (b, g) = self.pair(shape, depth)
        less = build("add", (a, build("mul", (number(-1), b), None, b.shape)), None, shape)
        return build("mul", (number(-1), less), None, shape), lambda t: -(f(t) - g(t))

    def _power(self, shape, depth):
        (a, f), (b, g) = self.expression(shape, depth), self.named(shape)
        n, m = self.choice([1, 2, 3]), self.choice([-2, -1, 0, 1, 2])
        power = build("mul", (build("power", (b, number(m)), None, shape), b), None, shape)
        return (build("mul", (build("power", (a, number(n)), None, shape), power), None, shape), lambda t: f(t) ** n * g(t) ** (m + 1))

    def _matmul(self, shape, depth):
        (a, f), (b, g) = self.expression((*shape[:-1], 4), depth), self.expression((4, shape[-1]), depth)
        return build("matmul", (a, b), None, shape), lambda t: f(t) @ g(t)

    def _product(self, shape, depth):
        """A product of transposes, transposed."""
        a, f = self._T((*shape[:-2], 4, shape[-2]), depth)
        b, g = self.expression((shape[-1], 4), depth)
        e = build("matmul", (b, a), None, (*shape[:-2], shape[-1], shape[-2]))
        return build("T", (e,), None, shape), lambda t: (g(t) @ f(t)).mT

    def _T(self, shape, depth):
        a, f = self.expression((*shape[:-2], shape[-1], shape[-2]), depth)
        return build("T", (a,), None, shape), lambda t: f(t).mT

    def _index(self, shape, depth):
        kind = self.rng.integers(4)
        if kind == 0:               # all of it
            return self._indexed(shape, shape, (Ellipsis, slice(None)), depth)
        if kind == 1:               # all of it, by its length
            return self._indexed(shape, shape, (Ellipsis, slice(0, shape[-1])), depth)
        if kind == 2:               # a new axis
            return self._indexed((1, *shape), (4, *shape), (Ellipsis, 0, *[slice(None)] * len(shape)), depth)
        return self._indexed(shape, (*shape[:-1], shape[-1] + 2), (Ellipsis, slice(1, shape[-1] + 1)), depth)

    def _indexed(self, shape, of, index, depth):
        a, f = self.expression(of, depth)
        return build("index", (a,), Static(index), f(1)[index].shape), lambda t: f(t)[index]

    def _scatter(self, shape, depth):
        """One slice's gradient, or two, side by side or apart."""
        start, stop = sorted(self.rng.choice(shape[-1] + 1, 2, replace=False).tolist())
        index = (Ellipsis, slice(None) if (start, stop) == (0, shape[-1]) else slice(start, stop))
        a, f = self.expression((*shape[:-1], stop - start), depth)
        e = build("scatter", (a,), Static((index, shape)), shape)
        if stop == shape[-1] or self.rng.integers(2):
            return e, lambda t: scatter(f(t), index, shape)
        rest = (Ellipsis, slice(stop, shape[-1]))
        b, g = self.expression((*shape[:-1], shape[-1] - stop), depth)
        e = build("add", (e, build("scatter", (b,), Static((rest, shape)), shape)), None, shape)
        return e, lambda t: scatter(f(t), index, shape) + scatter(g(t), rest, shape)

    def _concatenate(self, shape, depth):
        if shape[-1] < 2:
            return self.expression(shape, depth)
        (a, f), (b, g) = self.expression((*shape[:-1], 1), depth), self.expression((*shape[:-1], shape[-1] - 1), depth)
        return build("concatenate", (a, b), -1, shape), lambda t: np.concatenate([f(t), g(t)], -1)

    def _piece(self, shape, depth):
        """A piece of what was put together; one of the parts, or across."""
        a, f = self._concatenate((*shape[:-1], shape[-1] + 1), depth)
        start = int(self.rng.integers(2))
        index = (Ellipsis, slice(start, start + shape[-1]))
        return build("index", (a,), Static(index), shape), lambda t: f(t)[index]

    def _reshape(self, shape, depth):
        of = self.choice([shape, (1, *shape), (int(np.prod(shape)),) if shape else (1, 1)])
        a, f = self.expression(of, depth)
        return build("reshape", (a,), shape, shape), lambda t: f(t).reshape(shape)

    def _broadcast(self, shape, depth):
        a, f = self.expression(self.choice([s for s in SHAPES if _fits(s, shape)]), depth)
        return build("broadcast", (a,), shape, shape), lambda t: np.broadcast_to(f(t), shape)

    def _sum(self, shape, depth):
        n, keepdims = self.choice([1, 3]), bool(self.rng.integers(2)) and bool(shape) and shape[0] == 1
        a, f = self.expression((n, *shape[1:]) if keepdims else (n, *shape), depth)
        axis = (-len(a.shape),)
        return build("sum", (a,), (axis, keepdims), shape), lambda t: f(t).sum(axis, keepdims=keepdims)

    def _sum_t(self, shape, depth):
        a, f = self.expression(shape, depth)
        e = build("sum_t", (a,), None, shape)
        if self.rng.integers(2):
            b, g = self.expression(shape, depth)
            return (build("add", (e, build("sum_t", (b,), None, shape)), None, shape),
                    lambda t: sum(f(s) + g(s) for s in range(1, T + 1)))
        return e, lambda t: sum(f(s) for s in range(1, T + 1))


def _fits(s, shape):
    try:
        return np.broadcast_shapes(s, shape) == shape
    except ValueError:
        return False


def value(e, names, t):
    """What an expression stands for, at step t."""
    args = [value(a, names, t) for a in e.args] if e.op != "sum_t" else []
    if e.op == "ref":
        r, lag = e.extra
        numbers = next(numbers for other, numbers in names.values() if other is r)
        return numbers[t + lag + 1]
    return {
        "number": lambda: np.asarray(e.extra), "zeros": lambda: np.zeros(e.extra), "add": lambda: sum(args[1:], args[0]),
        "mul": lambda: np.prod(np.broadcast_arrays(*args), axis=0), "divide": lambda: args[0] / args[1], "power": lambda: args[0] ** args[1],
        "matmul": lambda: args[0] @ args[1], "T": lambda: args[0].mT, "index": lambda: args[0][e.extra.value],
        "scatter": lambda: scatter(args[0], *e.extra.value), "concatenate": lambda: np.concatenate(args, e.extra),
        "reshape": lambda: args[0].reshape(e.shape), "broadcast": lambda: np.broadcast_to(args[0], e.shape),
        "sum": lambda: args[0].sum(e.extra[0], keepdims=e.extra[1]),
        "sum_t": lambda: sum(value(e.args[0], names, s) for s in range(1, T + 1))}[e.op]()


@pytest.mark.parametrize("seed", range(40))
def test_simplifying_changes_no_value(seed):
    """50 random expressions each: shape and value, at a step and, shifted, at the next."""
    random = Random(seed)
    for _ in range(50):
        shape = random.choice(SHAPES)
        e, f = random.expression(shape, int(random.rng.integers(1, 5)))
        assert e.shape == shape == np.shape(f(1))
        later = () if contains(e, "sum_t") else ((shifted(e, 1), f(2)),)            # a sum over time has no next step
        for found, want in ((e, f(1)), *later):
            got = value(found, random.names, 1)
            assert got.shape == shape and np.abs(got - want).max() <= 1e-11 * max(np.abs(want).max(), 1), found


A, B, S = (Reference("value", name, shape).e for name, shape in (("A", (4, 4)), ("B", (4, 4)), ("s", ())))
G = Gradient("gradient", Reference("value", "G", (4, 4))).e


def plus(*terms):
    return build("add", terms, None, np.broadcast_shapes(*(e.shape for e in terms)))


def times(*factors):
    factors = [number(f) if isinstance(f, (int, float)) else f for f in factors]
    return build("mul", factors, None, np.broadcast_shapes(*(e.shape for e in factors)))


def over(a, b):
    return build("divide", (a, b), None, np.broadcast_shapes(a.shape, b.shape))


def to(a, n):
    return build("power", (a, number(n)), None, a.shape)


def product(a, b):
    return build("matmul", (a, b), None, (4, 4))


def turned(a):
    return build("T", (a,), None, (4, 4))


def piece(a, start, stop):
    return build("index", (a,), Static((Ellipsis, slice(start, stop))), (*a.shape[:-1], stop - start))


def side_by_side(a, b):
    return build("concatenate", (a, b), -1, (*a.shape[:-1], a.shape[-1] + b.shape[-1]))


def compare(op, a, b):
    return build(op, (a, b), None, (4, 4))


@pytest.mark.parametrize("written, simple", [
    (plus(A, A), times(2, A)), (plus(A, times(-1, A)), zeros((4, 4))), (plus(S, times(-1, S)), number(0)), (plus(A, zeros((4, 4))), A),
    (times(1, A), A), (times(0, A), zeros((4, 4))), (times(2, times(3, A)), times(6, A)), (times(A, A), to(A, 2)), (times(A, to(A, 2)), to(A, 3)),
    (times(-1, plus(A, times(-1, B))), plus(B, times(-1, A))), (times(to(S, -1), S), number(1)), (plus(G, times(-1, G, A)), times(G, plus(number(1), times(-1, A)))),
    (to(A, 1), A), (to(S, 0), number(1)), (over(A, number(1)), A), (over(number(1), number(4)), number(0.25)), (over(zeros((4, 4)), A), zeros((4, 4))),
    (over(over(A, B), S), over(A, times(B, S))), (times(over(A, B), S), over(times(A, S), B)), (over(times(2, A), B), times(2, over(A, B))),
    (times(over(S, A), S), over(to(S, 2), A)), (product(zeros((4, 4)), A), zeros((4, 4))), (product(times(2, A), times(3, B)), times(6, product(A, B))),
    (turned(turned(A)), A), (turned(zeros((4, 4))), zeros((4, 4))), (turned(times(2, A)), times(2, turned(A))), (turned(product(A, turned(B))), product(B, turned(A))),
    (piece(side_by_side(A, B), 4, 8), B), (piece(A, 0, 4), A), (build("sum_t", (zeros((4,)),), None, (4,)), zeros((4,))),
    (plus(compare("greater", A, B), times(0.5, compare("equal", A, B))), compare("wins", A, B)),
    (plus(compare("less", A, B), times(0.5, compare("equal", B, A))), compare("wins", B, A)),
    (plus(compare("greater", A, B), times(0.25, compare("equal", A, B))), make("add", (compare("greater", A, B), times(0.25, compare("equal", A, B))), None, (4, 4))),
], ids=lambda e: "")
def test_what_a_person_would_write(written, simple):
    """Equal expressions are one object."""
    assert written is simple
