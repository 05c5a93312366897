"""How expressions are written as NumPy: one method for each kind. Row or column vectors."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .expression import Expression, Gradient, Reference, last_slice, split_number
from .functions import ELEMENTWISE, HELPERS, NUMPY, OURS, REDUCTIONS, SYMBOLS
from .identifiers import Identifiers
from .notation import ADD, ATOM, MATMUL, NEGATIVE, POSTFIX, TIMES, Text, Time, Written
from .step import Step


class Code(Text):
    """Writes expressions as NumPy. With ``flip`` every array has its last two axes swapped: rows are columns, vectors (n, 1).

    names  of everything; sums: {a sum over time: the variable that it is summed in}
    used   which lengths (H, B) and functions of ours the lines so far need; stubs: {a function that nobody has: its source}
    """
    times = " * "

    def __init__(self, step: Step, flip: bool) -> None:
        super().__init__(flip=flip, width=step.width, rows=step.rows)
        self.step, self.names = step, Identifiers(step)
        self.used: dict[str, bool] = {}
        self.stubs: dict[str, str] = {}
        self.sums: dict[Expression, str] = {}

    # ---- names ----------------------------------------------------------------------------------------------------------
    def name(self, r: Reference, lag: int = 0, t: Time = "t") -> str:
        if r is self.step.x:
            return "x"
        if r.kind == "target":
            return "y"
        if r.kind == "given":
            return self.names.ends.get(r, "dys[t - 1]")
        if r.kind == "carry":
            return self.names.carries[r]
        name = self.names[r]
        if isinstance(r, Gradient) or r.once:
            return name
        return f"{name}[t{f' - {-lag}' if lag < 0 else f' + {lag}' if lag else ''}]"

    def number(self, x: float) -> str:
        return repr(x).replace("inf", "np.inf")

    def amount(self, n: Any) -> str:
        text = super().amount(n)
        if text.endswith("H"):
            self.used["H"] = True
            return "H" if text == "H" else f"{text[:-1]} * H"
        return text

    def length(self, n: int) -> str:
        if self.rows is not None and n == self.rows:
            self.used["B"] = True
            return "B"
        return self.amount(n)

    def shape(self, shape: Sequence[int]) -> str:
        return "(" + ", ".join(map(self.length, shape)) + ("," if len(shape) == 1 else "") + ")"

    # ---- expressions ----------------------------------------------------------------------------------------------------
    def _ref(self, e: Expression, t: Time) -> Written:
        return self.name(*e.extra), ATOM

    def _zeros(self, e: Expression, t: Time) -> Written:
        shape = (*e.shape[:-2], *e.shape[:-3:-1]) if self.flip and len(e.shape) > 1 else (*e.shape, 1) if self.flip else e.shape
        return f"np.zeros({self.shape(shape)}, {self.dtype()})", ATOM

    def dtype(self) -> str:
        return f"{next(iter(self.names.starts.values()), 'xs')}.dtype"

    def _array(self, e: Expression, t: Time) -> Written:
        array = e.extra.value
        n = array.shape[-1]
        if array.ndim == 2 and np.array_equal(array, np.eye(n)):
            text = f"np.eye({n}{', dtype=bool' if array.dtype == bool else ''})"
        elif array.ndim == 1 and np.array_equal(array, np.arange(n)):
            text = f"np.arange({n})"
        elif (array == array.flat[0]).all():
            text = f"np.full({self.shape(array.shape)}, {array.flat[0].item()!r})"
        else:
            text = f"np.array({array.tolist()!r})"
        return self.flipped(text, array.ndim), ATOM

    def _size(self, e: Expression, t: Time) -> Written:
        factor, letters = e.extra
        self.used.update(dict.fromkeys(letters, True))
        return " * ".join([str(factor)] * (factor != 1) + list(letters)), TIMES if factor != 1 or len(letters) > 1 else ATOM

    def _mul(self, e: Expression, t: Time) -> Written:
        c, _ = split_number(e)
        factors = [a for a in e.args if a.op != "number"]
        factors.sort(key=lambda a: bool(a.shape))
        pieces = [self.number(abs(c))] if abs(c) != 1 else []
        for a in factors:               # @ and * bind alike, from the left
            pieces.append(self.write(a, t, POSTFIX if pieces else TIMES))
        return ("-" if c < 0 else "") + " * ".join(pieces), NEGATIVE if c < 0 else TIMES

    def _divide(self, e: Expression, t: Time) -> Written:
        a, b = e.args
        return f"{self.write(a, t, TIMES)} / {self.write(b, t, POSTFIX)}", TIMES

    def _power(self, e: Expression, t: Time) -> Written:
        return f"{self.write(e.args[0], t, ATOM)} ** {self.write(e.args[1], t, ATOM)}", POSTFIX

    def _matmul(self, e: Expression, t: Time) -> Written:
        a, b = reversed(e.args) if self.flip else e.args
        if not self.flip and _vector(a, -1) and b.op == "T" and _vector(b.args[0], -1):
            return f"np.outer({self.write(a.args[0], t)}, {self.write(b.args[0].args[0], t)})", ATOM
        right = self.write(b, t, POSTFIX)
        return f"{self.write(a, t, MATMUL)} @ {right}", MATMUL

    def _T(self, e: Expression, t: Time) -> Written:
        return f"{self.write(e.args[0], t, ATOM)}.{'T' if len(e.shape) == 2 else 'mT'}", ATOM

    def _sum_t(self, e: Expression, t: Time) -> Written:
        if e not in self.sums:
            self.sums[e] = self.names.free(f"sum{len(self.sums) + 1}")
        return self.sums[e], ATOM

    def _index(self, e: Expression, t: Time) -> Written:
        a, index = e.args[0], e.extra.value
        at = last_slice(index)
        if at is None:
            where = _indices(index, lambda s: self.span(s) + (f":{s.step}" if s.step else ""))
            return self.outside(e, t, lambda texts: f"{texts[0]}[{where}]")
        span, n = self.span(at), len(a.shape)
        if self.flip:
            where = span if n < 3 else f"..., {span}, :"
        else:
            where = span if n == 1 else f":, {span}" if n == 2 else f"..., {span}"
        return f"{self.write(a, t, ATOM)}[{where}]", ATOM

    def _scatter(self, e: Expression, t: Time) -> Written:
        index, shape = e.extra.value
        self.used["place"] = True
        where = _indices(index, lambda s: f"slice({s.start}, {s.stop}, {s.step})")
        return self.outside(e, t, lambda texts: f"place({texts[0]}, ({where},), {self.shape(shape)})")

    def axis(self, axis: int, n: int) -> int:
        """An axis from the end, of an array of n dimensions, where the last two are swapped."""
        if not self.flip or axis < -2:
            return axis
        return -2 if n == 1 or axis == -1 else -1

    def _concatenate(self, e: Expression, t: Time) -> Written:
        return f"np.concatenate([{', '.join(self.write(a, t) for a in e.args)}], axis={self.axis(e.extra, len(e.shape))})", ATOM

    def _stack(self, e: Expression, t: Time) -> Written:
        return self.outside(e, t, lambda texts: f"np.stack([{', '.join(texts)}], axis={e.extra})")

    def _reshape(self, e: Expression, t: Time) -> Written:
        a = e.args[0]
        if not self.flip and a.op == "matmul" and len(e.shape) == 1:        # vectors that were made matrices for the product
            left, right = a.args
            if _vector(right, -1):
                return f"{self.write(left, t, MATMUL)} @ {self.write(right.args[0], t, POSTFIX)}", MATMUL
            if _vector(left, -2):
                return f"{self.write(left.args[0], t, MATMUL)} @ {self.write(right, t, POSTFIX)}", MATMUL
        if not a.shape:
            return self.outside(e, t, lambda texts: f"np.full({self.shape(e.shape)}, {texts[0]})")
        return self.outside(e, t, lambda texts: f"{texts[0]}.reshape({self.shape(e.shape)})")

    def _broadcast(self, e: Expression, t: Time) -> Written:
        return self.outside(e, t, lambda texts: f"np.broadcast_to({texts[0]}, {self.shape(e.shape)})")

    def _transpose(self, e: Expression, t: Time) -> Written:
        n = len(e.shape)
        return self.outside(e, t, lambda texts: f"{texts[0]}.transpose({', '.join(str(a % n) for a in e.extra)})")

    def _sum(self, e: Expression, t: Time) -> Written:
        a = e.args[0]
        axis, keepdims, *more = e.extra
        n = len(a.shape)
        options = "".join(f", {k}={v!r}" for k, v in more)
        own = f"np.{e.op}" if e.op not in HELPERS else e.op
        self.used[e.op] = e.op in HELPERS

        def call(text: str, axes: tuple[int, ...], keepdims: bool) -> str:
            return f"{own}({text}, axis={axes[0] if len(axes) == 1 else axes}{', keepdims=True' if keepdims else ''}{options})"
        direct = keepdims or n == 2 and axis in ((-2,), (0,)) or not self.flip
        if not direct:
            return self.outside(e, t, lambda texts: call(texts[0], axis, keepdims))
        axes = tuple(self.axis(i, n) for i in axis)
        axes = (0,) if axes == (-2,) and n == 2 else (1,) if axes == (-1,) and n == 2 else axes
        return call(self.write(a, t), axes, keepdims or self.flip), ATOM

    def _solve(self, e: Expression, t: Time) -> Written:
        return self.outside(e, t, lambda texts: f"np.linalg.solve({', '.join(texts)})")

    def _inv(self, e: Expression, t: Time) -> Written:
        return f"np.linalg.inv({self.write(e.args[0], t)})", ATOM

    def _softmax_cross_entropy(self, e: Expression, t: Time) -> Written:
        self.used["log_softmax"] = True
        z, y = self.write(e.args[0], t), self.write(e.args[1], t, TIMES)
        axis = self.axis(-1, len(e.args[0].shape))
        loss = f"-np.sum({y} * log_softmax({z}{f', axis={axis}' if axis != -1 else ''})"
        how = dict(e.extra.value)["reduction"]
        if how == "none":
            return self.flipped(f"({loss}, axis={axis}))", len(e.shape)), ATOM
        if how == "sum":
            return f"{loss})", NEGATIVE
        return f"{loss}) / ({' * '.join(map(self.length, e.args[0].shape[:-1]))})", TIMES

    def _binary_cross_entropy(self, e: Expression, t: Time) -> Written:
        self.used["softplus"] = True
        z = self.write(e.args[0], t, ATOM)
        return self.reduced(f"softplus({z}) - {z} * {self.write(e.args[1], t, POSTFIX)}", e), ATOM

    def _squared_error(self, e: Expression, t: Time) -> Written:
        return self.reduced(f"({self.write(e.args[0], t, ADD)} - {self.write(e.args[1], t, MATMUL)}) ** 2", e), ATOM

    def reduced(self, text: str, e: Expression) -> str:
        """The elements of a loss, put together as it says."""
        how = dict(e.extra.value)["reduction"]
        return f"({text})" if how == "none" else f"np.{how}({text})"

    def _pullback(self, e: Expression, t: Time) -> Written:
        op, i = e.extra.value
        name = f"{op.name}_pullback_{i + 1}"
        self.stubs[name] = f"def {name}(g, *arguments):\n    raise NotImplementedError('gradient of argument {i + 1} of {op.name}')"
        return f"{name}({', '.join(self.write(a, t) for a in e.args)})", ATOM

    def _onehot(self, e: Expression, t: Time) -> Written:
        return "y", ATOM

    def _einsum(self, e: Expression, t: Time) -> Written:
        return self.outside(e, t, lambda texts: f"np.einsum({e.extra!r}, {', '.join(texts)})")

    def _softmax(self, e: Expression, t: Time) -> Written:
        self.used[e.op] = True
        axis = self.axis(e.extra, len(e.shape))
        return f"{e.op}({self.write(e.args[0], t)}{f', axis={axis}' if axis != -1 else ''})", ATOM

    _log_softmax = _softmax

    def _layer_norm(self, e: Expression, t: Time) -> Written:
        self.used["layer_norm"] = True
        return f"layer_norm({self.write(e.args[0], t)}, {e.extra!r}{', axis=-2' if self.flip else ''})", ATOM

    def _cumsum(self, e: Expression, t: Time) -> Written:
        return self.outside(e, t, lambda texts: f"np.cumsum({texts[0]}, axis={e.extra})")

    def _triu(self, e: Expression, t: Time) -> Written:
        return self.outside(e, t, lambda texts: f"np.{e.op}({texts[0]}, {e.extra})")

    _flip = _tril = _triu

    def _pad(self, e: Expression, t: Time) -> Written:
        options = dict(e.extra.value)
        pads = ", ".join(f"({a}, {b})" for a, b in options["pads"])
        return self.outside(e, t, lambda texts: f"np.pad({texts[0]}, ({pads},), constant_values={self.number(options['fill'])})")

    def outside(self, e: Expression, t: Time, write: Callable[[list[str]], str]) -> Written:
        """A function that means rows: where columns are written its arguments are turned round, and its result."""
        texts = [self.write(a, t, ATOM) for a in e.args]
        if not self.flip:
            return write(texts), ATOM
        texts = [text if not a.shape else f"{text}.mT" if len(a.shape) > 1 else f"{text}[:, 0]" for text, a in zip(texts, e.args)]
        return self.flipped(write(texts), len(e.shape)), ATOM

    def flipped(self, text: str, n: int) -> str:
        return text if not self.flip or n == 0 else f"{text}.mT" if n > 1 else f"{text}[:, None]"

    def _function(self, e: Expression, t: Time) -> Written:
        if e.op in SYMBOLS:
            a, b = (self.write(x, t, MATMUL) for x in e.args)
            return f"({a} {SYMBOLS[e.op]} {b})", ATOM
        if e.op in REDUCTIONS:
            return self._sum(e, t)
        value = e.extra.value if e.extra is not None and hasattr(e.extra, "value") else None
        if value is not None and not isinstance(value, tuple):              # an op that is not in the table
            self.stubs[e.op] = f"def {e.op}(*arguments):\n    raise NotImplementedError('the value of {e.op}')"
            name = e.op
        elif e.op in OURS:
            self.used[e.op] = True
            name = e.op
        else:
            name = f"np.{NUMPY.get(e.op, e.op)}"
            if not hasattr(np, name[3:].split(".")[0]):
                self.stubs[e.op] = f"def {e.op}(*arguments, **options):\n    raise NotImplementedError('the value of {e.op}')"
                name = e.op
        options = "".join(f", {k}={v!r}" for k, v in value) if isinstance(value, tuple) else ""
        if e.op in ELEMENTWISE or e.op == "matrix_exp":
            return f"{name}({', '.join(self.write(a, t) for a in e.args)}{options})", ATOM
        return self.outside(e, t, lambda texts: f"{name}({', '.join(texts)}{options})")

    _sqrt = _wins = _function


def _indices(index: tuple[Any, ...], written: Callable[[slice], str]) -> str:
    return ", ".join("..." if i is Ellipsis else written(i) if isinstance(i, slice) else f"np.array({i.tolist()!r})"
                     if isinstance(i, np.ndarray) else str(i) for i in index)


def _vector(e: Expression, axis: int) -> bool:
    """A vector that was made a matrix of one column (-1) or row (-2)."""
    return e.op == "reshape" and len(e.args[0].shape) == 1 and len(e.shape) == 2 and e.shape[axis] == 1
