"""Random cells: expressions of one to three states, for holding the compiled scan against the unroll.

    python -m tests.property.cells 2000 0       2000 cells from number 0 on: what is wrong, and what was not compiled and why

A cell follows from its number. Its states are rows, one number a row, matrices, or counters; its lines are gates that are slices of
one product, masks, constants, products, sums, and values that several lines use; xs are floats, or floats with classes and a mask.
The sizes from which on the compiler does one thing or the other are drawn too. Each cell is run three times: at its T; with other
numbers and another T, by the program that is there already; and without gradients. Every third is differentiated twice as well. Scan and unroll may differ by c · eps · condition,
the condition measured by moving everything by one unit in the last place.
"""
import collections
import sys
import time
import types
import warnings
from unittest import mock

import numpy as np

import minigrad as mg
from minigrad.compile import NotCompiled, scan, sizes, value
from minigrad.nested import flatten

LARGE = 30              # no value of the first step is larger
Pair = collections.namedtuple("Pair", "first second")


# ---- forms: what one line of a cell can be ---------------------------------------------------------------------------------
# A form gets the cell that is being made and the shapes of its operands, and gives a function of them; None if they do not fit.

def _rows(cell, *shapes):
    return all(len(a) == cell.lead + 1 for a in shapes)


def _matrices(cell, *shapes):
    return all(len(a) == cell.lead + 2 for a in shapes)


def _linear(cell, a):
    if not _rows(cell, a):
        return None
    n = cell.width()
    W, V, b = cell.parameter(a[-1], n), cell.parameter(n, a[-1]), cell.parameter(n)
    return cell.one_of(lambda a: a @ W, lambda a: a @ W + b, lambda a: a @ V.T, lambda a: np.dot(a, W), lambda a: (a @ V.T) @ (V @ W))


def _gated(cell, a):
    if not _rows(cell, a):
        return None
    n = cell.width()
    W, b = cell.parameter(a[-1], 2 * n), cell.parameter(2 * n)

    def gate(a):
        z = a @ W + b
        return np.tanh(z[..., :n]) * mg.sigmoid(z[..., n:])
    return gate


def _four_gates(cell, a, b):
    if not _rows(cell, a, b):
        return None
    n = b[-1]
    W, U, c, split = cell.parameter(a[-1], 4 * n), cell.parameter(n, 4 * n), cell.parameter(4 * n), cell.rng.integers(2)

    def gates(a, b):
        z = a @ W + b @ U + c
        i, f, g, o = np.split(z, 4, axis=-1) if split else (z[..., k * n:(k + 1) * n] for k in range(4))
        return mg.sigmoid(o) * np.tanh(mg.sigmoid(f) * b + mg.sigmoid(i) * np.tanh(g))
    return gates


def _three_gates(cell, a, h):
    """A GRU's: one product of h is used in slices, one behind a gate."""
    if not _rows(cell, a, h):
        return None
    n = h[-1]
    W, U, b = cell.parameter(a[-1], 3 * n), cell.parameter(n, 3 * n), cell.parameter(3 * n)

    def gates(a, h):
        s, u = a @ W, h @ U + b
        r, z = mg.sigmoid(s[..., :n] + u[..., :n]), mg.sigmoid(s[..., n:2 * n] + u[..., n:2 * n])
        return (1 - z) * np.tanh(s[..., 2 * n:] + r * u[..., 2 * n:]) + z * h
    return gates


def _joined(cell, a, b):
    if not _rows(cell, a, b):
        return None
    W = cell.parameter(a[-1] + b[-1], cell.width())
    return cell.one_of(lambda a, b: np.concatenate([a, b], axis=-1) @ W, lambda a, b: np.concatenate([b, a, b], axis=-1)[..., :-b.shape[-1]] @ W)


def _mixed(cell, a, b):
    """Operands that broadcast: (B, H) with (B, 1), or of one shape."""
    if () not in (a, b) and (len(a) != len(b) or a[:-1] != b[:-1] or a[-1] != b[-1] and 1 not in (a[-1], b[-1])):
        return None
    return cell.one_of(lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a / (2 + b * b), lambda a, b: np.logaddexp(a, b),
                       lambda a, b: (1 - mg.sigmoid(a)) * b + mg.sigmoid(a) * a, lambda a, b: np.where(a > b, a, b * 0.3),
                       lambda a, b: np.maximum(a, b), lambda a, b: np.stack([a + b, a - b], axis=-1).sum(axis=-1), lambda a, b: a * b - b * a + a)


def _constant(cell, a):
    k, C = float(np.round(cell.rng.standard_normal(), 1)), cell.draw(*a[cell.lead:])
    scalar, row, half = mg.Tensor(cell.draw()), mg.Tensor(C), np.asarray(0.5, cell.dtype)
    return cell.one_of(lambda a: a + k, lambda a: k - a, lambda a: a * C, lambda a: a * scalar, lambda a: a + row, lambda a: 0.5 * (a - C),
                       lambda a: a * np.full(C.shape, 0.5, C.dtype) + np.full(C.shape, 0.25, C.dtype), lambda a: a * 1.0 + 0 * a,
                       lambda a: half[()] * a, lambda a: half * a)


def _scaled(cell, a):
    p, q = cell.parameter(*a[cell.lead:]), cell.parameter()
    return cell.one_of(lambda a: np.tanh(a) * p, lambda a: np.sin(a) * q, lambda a: a + p * p, lambda a: a / (2 + p * p) + q * p)


def _masked(cell, mask, a, b):
    if not _rows(cell, a, b) or a != b:
        return None
    return cell.one_of(lambda m, a, b: np.where(m[..., None] > 0, a, b), lambda m, a, b: np.where(m[..., None] == 1, a, 0.5 * b), lambda m, a, b: np.where(m[..., None], a, b),
                       lambda m, a, b: np.where((m == 1)[..., None], a * 0.5, 0.0) + b, lambda m, a, b: np.where((m > 0)[..., None], np.tanh(a), 0.1) + b)


def _fixed_mask(cell, a, b):
    if a != b:
        return None
    mask = cell.rng.random(a[cell.lead:]) < 0.5
    keep = mask.astype(cell.dtype)
    return cell.one_of(lambda a, b: np.where(mask, a, b), lambda a, b: a * keep + b * (1 - keep))


def _reduced(cell, a):
    if not _rows(cell, a):
        return None
    along = dict(axis=-1, keepdims=True)
    return cell.one_of(lambda a: a - a.mean(**along), lambda a: np.sum(a * a, **along), lambda a: a * np.max(a, **along),
                       lambda a: a / np.sqrt(1 + np.sum(np.square(a), **along)), lambda a: mg.logsumexp(a, **along),
                       lambda a: a / np.sqrt(np.var(a, **along) + 1), lambda a: np.linalg.norm(1 + a * a, axis=-1)[..., None] * a,
                       lambda a: mg.softmax(a), lambda a: mg.log_softmax(a), lambda a: np.cumsum(a, axis=-1), lambda a: mg.layer_norm(a, eps=0.1))


def _sliced(cell, a):
    if not a or a[-1] < 2:
        return None
    n = a[-1]
    picked = cell.rng.integers(0, n, n)
    return cell.one_of(lambda a: a[..., 1:], lambda a: a[..., ::2], lambda a: a[..., :1] * a, lambda a: a[..., ::-1], lambda a: a[..., picked],
                       lambda a: np.concatenate([a[..., 1:], a[..., :1]], axis=-1), lambda a: np.roll(a, 1, axis=-1), lambda a: a[..., 0][..., None],
                       lambda a: np.concatenate([a[..., :1], a[..., :1] * a[..., 1:]], axis=-1))


def _outer(cell, a, b):
    if not _rows(cell, a, b) or a[-1] != b[-1]:
        return None
    return cell.one_of(lambda a, b: np.tanh(a)[..., :, None] * b[..., None, :], lambda a, b: np.einsum("...i,...j->...ij", a, np.tanh(b)))


def _applied(cell, M, a):
    if not _matrices(cell, M) or not _rows(cell, a) or M[-1] != a[-1]:
        return None
    return cell.one_of(lambda M, a: (M @ a[..., None])[..., 0], lambda M, a: np.einsum("...ij,...j->...i", M, a),
                       lambda M, a: (a[..., None, :] @ M)[..., 0, :])


def _matrix(cell, M, N):
    if not _matrices(cell, M) or M != N:
        return None
    W = cell.parameter(M[-1], M[-1])
    return cell.one_of(lambda M, N: np.tanh(M @ N.mT), lambda M, N: np.tanh(M @ N), lambda M, N: M.mT + N, lambda M, N: M @ W, lambda M, N: W @ N,
                       lambda M, N: M.sum(axis=-1), lambda M, N: np.tanh(M).reshape(M.shape[:-2] + (-1,)), lambda M, N: M - 0.1 * N @ M)


def _over_rows(cell, a):
    if cell.lengths is not None or not cell.lead:
        return None
    n = a[0]
    W = cell.parameter(a[-1], a[-1])
    return cell.one_of(
        lambda a: a - a.mean(axis=0), lambda a: a + a[:1], lambda a: a * np.tanh(a.sum()), lambda a: np.broadcast_to(a[-1], a.shape) * a,
        lambda a: a * np.tanh(a[0] @ W) if a.ndim == 2 else a[0] @ W + a, lambda a: np.roll(a, 1, axis=0) * 0.5, lambda a: np.cumsum(a, axis=0) / n,
        lambda a: a * mg.softmax(a, axis=0), lambda a: a - np.max(a, axis=0), lambda a: np.concatenate([a[1:], a[:1]], axis=0),
        lambda a: np.stack([a, a * a], axis=0).mean(axis=0), lambda a: a[::-1] * a, lambda a: a / (1 + np.sum(a * a)), lambda a: a.mT.mT + a.sum() / 9)


def _with_gram(cell, a, M):
    """Values without rows that depend on the step: a matrix or a vector made of all rows."""
    if not _rows(cell, a) or cell.lengths is not None or not cell.lead:
        return None
    if _matrices(cell, M):
        return None if M[-1] != a[-1] else cell.one_of(lambda a, M: M @ np.tanh(a.mT @ a), lambda a, M: np.tanh(a.mT @ a) @ M, lambda a, M: M * a.mean(axis=0),
                                                       lambda a, M: M @ np.tanh(a.sum(axis=0)), lambda a, M: np.einsum("bij,cj->bi", M, np.tanh(a)),
                                                       lambda a, M: np.linalg.solve(np.eye(M.shape[-1]).astype(M.dtype) * 4 + np.tanh(a.mT @ a), M))
    return cell.one_of(lambda a, M: a @ np.tanh(a.mT @ a), lambda a, M: np.tanh(a @ a.mT) @ a, lambda a, M: np.einsum("bi,bj->ij", a, a)[:1] + a,
                       lambda a, M: (a @ np.tanh(a.sum(axis=0)))[:, None] * a, lambda a, M: np.outer(np.tanh(a.sum(axis=0)), a[0])[0] * a)


def _of_parameters(cell, a):
    if not _rows(cell, a):
        return None
    A = cell.parameter(a[-1], a[-1])
    return cell.one_of(lambda a: a @ (A - A.T), lambda a: a @ np.tanh(A), lambda a: a * np.sum(A * A), lambda a: a @ A @ A)


def _elementwise(cell, a):
    return cell.one_of(
        np.tanh, mg.sigmoid, np.sin, np.cos, mg.relu, mg.softplus, mg.silu, mg.gelu, np.square, np.negative, np.tanh, mg.sigmoid,
        lambda a: np.exp(-a * a), lambda a: a ** 3 * 0.1, lambda a: 1 / (1 + a * a), lambda a: np.sqrt(1 + a * a), lambda a: np.abs(a) - a,
        lambda a: np.clip(a, -0.7, 0.9), lambda a: np.log1p(a * a), lambda a: np.maximum(a, 0.1), lambda a: np.minimum(a, 0.5 * a),
        lambda a: np.where(a > 0, a, 0.3 * a), lambda a: a * (a > 0), lambda a: np.sign(a) * a, lambda a: 2 * mg.sigmoid(2 * a) - 1,
        lambda a: np.tanh(a.detach()) + a, lambda a: a * 0.5 + a * 0.5, lambda a: -(-a) * 2 / 2)


FORMS = [("a", _linear), ("a", _gated), ("ab", _four_gates), ("ab", _three_gates), ("ab", _joined), ("ab", _mixed), ("ab", _mixed), ("ab", _mixed),
         ("a", _constant), ("a", _constant), ("a", _scaled), ("mab", _masked), ("mab", _masked), ("ab", _fixed_mask), ("a", _reduced),
         ("a", _reduced), ("a", _sliced), ("a", _sliced), ("ab", _outer), ("Ma", _applied), ("Ma", _applied), ("MM", _matrix), ("MM", _matrix),
         ("a", _over_rows), ("a", _over_rows), ("ab", _with_gram), ("aM", _with_gram), ("a", _of_parameters), ("a", _elementwise), ("a", _elementwise), ("a", _elementwise)]


# ---- a cell ------------------------------------------------------------------------------------------------------------------
def nested(how, states):
    """States as a cell has them: one, a dict, nested in pairs, or a tuple."""
    if how == 0 and len(states) == 1:
        return states[0]
    if how == 1:
        return {f"s{k}": s for k, s in enumerate(states)}
    return (None, Pair(states[0], {"rest": list(states[1:])})) if how == 2 else tuple(states)


class Cell:
    """Number ``seed``: its parameters, inputs, initial states, loss and settings; ``step`` is the cell."""

    def __init__(self, seed):
        self.seed, self.rng = seed, np.random.default_rng(seed)
        rng = self.rng
        self.dtype = np.dtype([np.float64, np.float64, np.float32][rng.integers(3)])
        self.lead, self.H, self.other = int(rng.integers(8) > 0), int(rng.integers(1, 5)), int(rng.integers(1, 5))
        self.B, self.T, self.D = (int(rng.integers(1, n)) for n in (5, 7, 4))
        self.parameters: list = []
        self.options = {"reverse": True} if rng.integers(4) == 0 else {}
        self.lengths = rng.integers(0, self.T + 1, self.B) if self.lead and rng.integers(4) == 0 else None
        if rng.integers(6) == 0:
            self.options["checkpoint_every"] = int(rng.integers(1, self.T + 1))
        elif rng.integers(5) == 0:
            self.options["states"] = True
        self.kinds = [str(rng.choice(["rows", "rows", "rows", "number", "matrix", "whole"])) for _ in range(rng.integers(1, 4))]
        if self.lengths is not None:                        # then everything has rows
            self.kinds = ["number" if k == "whole" else k for k in self.kinds]
        if rng.integers(6) == 0:
            self.kinds.append("counter" if rng.integers(2) or self.lengths is not None else "clock")
        self.sequences = ["floats"] + [k for k in ("classes", "mask") if rng.integers(4) == 0 and (self.lead or k == "mask")]
        self.keyed, self.wraps = bool(rng.integers(2)), int(rng.integers(4))
        self.x_wanted, self.states_wanted = (bool(rng.integers(2)) for _ in range(2))
        self.through = bool(rng.integers(3) == 0)           # xs and states come from a graph outside
        self.shown = int(rng.integers(4))                   # what the loss reads: outputs, states, both
        self._write()

    def one_of(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def draw(self, *shape):
        return np.asarray(self.rng.standard_normal(shape)).astype(self.dtype)

    def width(self):
        return self.other if self.rng.integers(4) == 0 else self.H

    def parameter(self, *shape):
        self.parameters.append(mg.parameter((0.7 * self.draw(*shape)).astype(self.dtype)))
        return self.parameters[-1]

    # ---- inputs --------------------------------------------------------------------------------------------------------------
    def inputs(self, rng, T):
        """xs and states as arrays, flat."""
        rows = (self.B,) * self.lead
        make = {"floats": lambda: rng.standard_normal((T, *rows, self.D)).astype(self.dtype), "classes": lambda: rng.integers(0, 2, (T, *rows)),
                "mask": lambda: rng.random((T, *rows)) < 0.6}
        draw = {k: lambda shape=rows + shape: np.asarray(0.5 * rng.standard_normal(shape)).astype(self.dtype)
                for k, shape in (("rows", (self.H,)), ("number", (1,)), ("matrix", (self.H, self.H)))}
        draw |= {"whole": lambda: np.asarray(0.5 * rng.standard_normal()).astype(self.dtype), "counter": lambda: rng.integers(0, 3, rows),
                 "clock": lambda: rng.integers(0, 3, ())}
        states = [draw[k]() for k in self.kinds]
        return [make[k]() for k in self.sequences], states

    def nested_x(self, xs):
        return xs[0] if len(xs) == 1 else dict(zip(self.sequences, xs)) if self.keyed else tuple(xs)

    # ---- the cell ------------------------------------------------------------------------------------------------------------
    def _write(self):
        """Its lines, one after the other: each a function, and which values it is of."""
        rng = self.rng
        xs, states = self.inputs(rng, 1)
        values = [mg.Tensor(a) for a in [x[0] for x in xs] + states]
        lines = []
        with mg.no_grad(), np.errstate(all="ignore"):
            def add(form, chosen):
                try:
                    function = form(self, *(values[i].shape for i in chosen))
                    y = function and function(*(values[i] for i in chosen))
                except (ValueError, IndexError):            # shapes that do not go together
                    return None
                if y is None or y.dtype != self.dtype or y.size > 200 or not np.abs(y.data).max(initial=0) < LARGE:
                    return None
                lines.append((function, chosen))
                values.append(y)
                return len(values) - 1

            def choose(what):
                fits = [i for i, v in enumerate(values) if (v.dtype.kind in "biu") == (what == "m") and (what != "M" or _matrices(self, v.shape))]
                fits = fits[-4:] if rng.integers(2) else fits
                return fits[rng.integers(len(fits))] if fits else None
            for _ in range(rng.integers(3, 14)):
                for _ in range(30):
                    what, form = FORMS[rng.integers(len(FORMS))]
                    chosen = [choose(k) for k in what]
                    if None not in chosen and add(form, chosen) is not None:
                        break
            new, first = [], len(xs)
            for k, kind in enumerate(self.kinds):
                old = first + k
                if kind in ("counter", "clock"):
                    new.append((lambda c: np.where(c > 0, c - 1, 2), [old]) if kind == "counter" else (lambda t: t + 1, [old]))
                    continue
                if kind == "whole":
                    i = next(n for n in rng.permutation(len(values)) if values[n].dtype == self.dtype)
                    new.append(self.one_of((lambda s, a: 0.9 * s + 0.1 * np.tanh(a.mean()), [old, i]), (lambda s: s, [old]), (lambda s: s * 0.5 + 0.1, [old]),
                                           (lambda a: np.tanh(a.sum()), [i])))
                    continue
                fits = [i for i, v in enumerate(values) if v.shape == values[old].shape and v.dtype == self.dtype]
                i, j = fits[rng.integers(len(fits))], fits[rng.integers(len(fits))]
                if kind == "rows" and rng.integers(2):
                    found = add(_to_rows, [next(n for n in rng.permutation(len(values)) if values[n].dtype == self.dtype and _rows(self, values[n].shape))])
                    i = i if found is None else found
                new.append(self.one_of((lambda a: a, [i]), (np.tanh, [i]), (np.tanh, [i]), (lambda a, b: 0.5 * np.tanh(a) + 0.5 * b, [i, old]),
                                       (lambda a, b: mg.sigmoid(a) * b, [i, j])))
            shown = [i for i, v in enumerate(values) if v.dtype == self.dtype and (i >= first or rng.integers(3) == 0)]
            at, y = shown[rng.integers(len(shown))], None
            if "classes" in self.sequences and _rows(self, values[at].shape) and values[at].shape[-1] > 1:
                reduction = "none" if self.lengths is not None else self.one_of("none", "mean", "sum")
                y = (lambda a, c: mg.softmax_cross_entropy(a, c, reduction=reduction)), [at, self.sequences.index("classes")]
            elif self.lengths is None:
                y = self.one_of((lambda a: np.sum(a * a), [at]), (lambda a: a.mean(axis=-1) if a.ndim else a, [at]), (lambda a: a, [at]), (lambda a: a * 2, [at]))
        self.step = self._step(lines, new, y or (lambda a: a, [at]))

    def _step(self, lines, new, y):
        """The cell as a function whose code is its own: cells are known by their code."""
        n, how, single = len(self.sequences), self.wraps, len(self.sequences) == 1

        def step(x, state):
            values = [*([x] if single else flatten(x)), *flatten(state)]
            assert len(values) == n + len(new)
            for function, of in lines:
                values.append(function(*[values[i] for i in of]))
            out, *after = [function(*[values[i] for i in of]) for function, of in (y, *new)]
            return out, nested(how, after)
        return types.FunctionType(step.__code__.replace(co_name=f"cell_{self.seed}"), step.__globals__, None, None, step.__closure__)

    # ---- running it ------------------------------------------------------------------------------------------------------------
    def run(self, how, numbers, nudge=None, order=1):
        """Outputs and last states, and every gradient, of order 2 those of the recorded gradients' squares too: two lists of arrays."""
        rng, weights = (np.random.default_rng([self.seed, n]) for n in (numbers, 10 + numbers))
        T, eps = (self.T, self.T % 4 + 2)[numbers], np.finfo(self.dtype).eps
        move = np.random.default_rng(nudge)

        def moved(a):
            return a if nudge is None or a.dtype != self.dtype else (a * (1 + eps * move.choice([-1, 1], a.shape))).astype(self.dtype)

        def leaf(a, wanted):
            return mg.Tensor(moved(a), requires_grad=wanted and a.dtype == self.dtype)
        xs, states = self.inputs(rng, T)
        xs, states = [leaf(a, self.x_wanted) for a in xs], [leaf(a, self.states_wanted) for a in states]
        before = [p.data for p in self.parameters]
        for p in self.parameters:
            p.data = leaf(p.data * (1, 0.8)[numbers], False).data
        inputs = [*self.parameters, *(t for t in (*xs, *states) if t.requires_grad)]
        options = dict(self.options) if self.lengths is None else {**self.options, "lengths": np.minimum(self.lengths, T)}
        if self.through:
            xs, states = ([np.tanh(t) * 1.5 if t.requires_grad else t for t in ts] for ts in (xs, states))
        try:
            ys, *last = how(self.step, self.nested_x(xs), nested(self.wraps, states), **options)
            parts = [[ys], flatten(last), [ys, *flatten(last)], [ys * ys]][self.shown]
            loss = sum(((t * moved(weights.standard_normal(t.shape).astype(self.dtype))).sum() for t in parts if t.dtype == self.dtype), 0.0)
            found = mg.grad(loss, inputs, create_graph=order == 2) if isinstance(loss, mg.Tensor) and loss.requires_grad and inputs else ()
            if order == 2:
                squares = sum(((g * g).sum() for g in found if g.requires_grad), 0.0)
                found += mg.grad(squares, inputs) if isinstance(squares, mg.Tensor) else tuple(mg.Tensor(0 * g.data) for g in found)
        finally:
            for p, data in zip(self.parameters, before):
                p.data = data
        return [t.data for t in (ys, *flatten(last))], [g.data for g in found]

    def wrong(self):
        """None, or what differs between scan and unroll by more than rounding explains: c · eps · condition."""
        with np.errstate(all="ignore"):
            for numbers in (0, 1):
                if trouble := self._apart(numbers):
                    return trouble + ("" if numbers == 0 else ", by a program made for other numbers")
            if self.seed % 3 == 0 and (trouble := self._apart(0, order=2)):
                return trouble + ", in two orders"
            with mg.no_grad():
                trouble = self._apart(0)
                return trouble and trouble + ", without gradients"

    def _apart(self, numbers, order=1):
        moved: list = []
        ours, theirs = (self.run(how, numbers, order=order) for how in (scan, mg.unroll))

        def condition(kind, n, b):
            """How far this array moves with its inputs: the largest of nine tries."""
            if not moved:
                moved.extend(self.run(mg.unroll, numbers, nudge, order) for nudge in range(9))
            return max(np.abs(m[kind][n] - b).max(initial=0.0) for m in moved)
        eps = np.finfo(self.dtype).eps
        for kind, what in enumerate(("value", "gradient")):
            if not theirs[kind] and not any(map(np.any, ours[kind])):          # that nothing is reached, the unroll knows and a program does not
                continue
            if len(ours[kind]) != len(theirs[kind]):
                return f"{len(ours[kind])} {what}s for {len(theirs[kind])}"
            largest = np.max([np.abs(b).max(initial=0.0) for b in theirs[kind] if b.dtype.kind == "f"], initial=0.0)      # nan if there is one
            if not np.isfinite(largest):
                return None
            for n, (a, b) in enumerate(zip(ours[kind], theirs[kind])):
                if a.shape != b.shape or a.dtype != b.dtype:
                    return f"{what} {n} is {a.dtype} {a.shape} for {b.dtype} {b.shape}"
                if a.dtype.kind != "f":
                    if not np.array_equal(a, b):
                        return f"{what} {n} of whole numbers differs"
                    continue
                apart, allowed = np.abs(a - b).max(initial=0.0), 100 * eps * np.abs(b).max(initial=0.0) + 10 * eps * max(largest, 1.0)
                if not apart <= allowed and not apart <= allowed + 100 * condition(kind, n, b):
                    return f"{what} {n} differs by {apart:.1e} of {np.abs(b).max():.1e}, allowed {allowed + 100 * condition(kind, n, b):.1e}"
        return None


def thresholds(seed):
    """From which size on the compiler does what: for some cells what is meant for large ones is done at once, or never."""
    rng = np.random.default_rng([seed, 3])
    return {name: [size, size, 0, 40, 10 ** 9][rng.integers(5)] for name, size in vars(sizes).items()
            if name.isupper() and type(size) is int and name not in vars(value)}


def tried(seeds):
    """(seed, what is wrong or None, why it was not compiled or None) of each cell."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", NotCompiled)
        for seed in seeds:
            trouble = reason = None
            try:
                with mock.patch.multiple(sizes, **thresholds(seed)):
                    trouble = Cell(seed).wrong()
            except NotCompiled as warning:
                reason = str(warning).partition("unroll: ")[2]
            except Exception as error:
                trouble = f"{type(error).__name__}: {error}"
            yield seed, trouble, reason


def main(arguments):
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    n, first = int(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 0
    start, wrong, reasons = time.time(), 0, collections.Counter()
    for seed, trouble, reason in tried(range(first, first + n)):
        if trouble:
            wrong += 1
            print(f"cell {seed} WRONG: {trouble}", flush=True)
        elif reason:
            reasons[reason] += 1
            print(f"cell {seed} not compiled: {reason}", flush=True)
    print(f"{n} cells from {first}: {wrong} wrong, {sum(reasons.values())} not compiled, {time.time() - start:.0f} s, NumPy {np.__version__}")
    for reason, count in reasons.most_common():
        print(f"  {count} not compiled: {reason}")
    return int(wrong > 0)


def _to_rows(cell, a):
    W = cell.parameter(a[-1], cell.H)
    return lambda a: a @ W


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
