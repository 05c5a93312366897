"""The loops of a program for Numba: the statements of loop.py, each as a loop over its elements, in one function that is compiled.

A new statement's form is one entry of ``FORMS``. A statement without one leaves the whole program to NumPy: ``NoForm`` says which.
One loop for each statement, as NumPy has it: compilers find vectors in short loops, and lose them in long ones. A product with a
matrix goes through it row by row, ``UNROLL`` rows at a time, and so through memory as it lies there.
"""
import itertools
import math

import numpy as np

from .lines import Line, indented, listed, page

UNROLL = 8
HEAD = '''fused = njit(cache=True, fastmath={"contract"}, error_model="numpy")      # a * b + c in one rounding; nothing else is moved'''
TANH = '''@fused
def tanh_{kind}(x):
    """Lambert's continued fraction of tanh at x / 4, and its angle doubled twice: no branch and one division, so it is vectorised."""
    x = {limit} if x > {limit} else -{limit} if x < -{limit} else x
    x = x * {quarter}
    z = x * x
    p = x * ((((z + {n3}) * z + {n2}) * z + {n1}) * z + {n0})
    q = ((({d4} * z + {d3}) * z + {d2}) * z + {d1}) * z + {n0}
    p, q = {two} * p * q, p * p + q * q
    y = {two} * p * q / (p * p + q * q)
    return {one} if y > {one} else -{one} if y < -{one} else y'''
NUMBERS = {"quarter": 0.25, "one": 1, "two": 2, "n0": 34459425, "n1": 4729725, "n2": 135135, "n3": 990,
           "d1": 16216200, "d2": 945945, "d3": 13860, "d4": 45}
SYMBOLS = {"add": "{} + {}", "subtract": "{} - {}", "multiply": "{} * {}", "divide": "{} / {}", "negative": "-{}", "copy": "{}",
           "square": "{0} * {0}", "greater": "{} > {}", "less": "{} < {}", "greater_equal": "{} >= {}", "less_equal": "{} <= {}",
           "equal": "{} == {}", "not_equal": "{} != {}"}
START = {"add": 0.0, "maximum": -math.inf, "minimum": math.inf}


class NoForm(Exception):
    """A statement that has no form here; the message says which."""

    def __init__(self, what):
        super().__init__(f"Numba's have no form for {what}")


class Fused:
    """One loop as a function of its arrays: ``definition``, and the line that calls it."""

    def __init__(self, loop, name):
        self.loop, self.name = loop, name
        self.words, self.layout, self.room = loop.words, loop.layout, loop.room
        self.arguments, self.helpers, self.imports = {}, {}, set()              # arguments: name -> rank, as they are met
        self.index = [self.words.unique(n, ()) for n in "ijlm"]
        self.inner = self.words.unique("k", ())
        body = [line for place, lines in itertools.groupby(loop.body, self._together) for line in self.statements(place, [*lines])]
        steps = "range(T - 1, -1, -1)" if loop.back else "range(T)"
        self.definition = ["@fused", *listed(f"def {name}(", ["T", *self.arguments], "):"), f"    for t in {steps}:",
                           *indented(indented(page(body)))] if body else []

    def call(self):
        """What comes from outside need not lie in memory as the function wants it."""
        own = self.room.buffers
        given = [n if n in own else f"{self.words.numpy('ascontiguousarray' if rank else 'asarray')}({n})"
                 for n, rank in self.arguments.items()]
        return listed(f"{self.name}(", ["T", *given], ")") if self.definition else []

    # ---- elements -----------------------------------------------------------------------------------------------------------
    def shape(self, text):
        return self.loop.places[text].shape if text in self.loop.places else ()

    def dtype(self, text):
        return self.loop.places[text].dtype

    def element(self, text, at, like):
        """The element of an operand, or of a place, at indices that may be more than it has axes; a number in ``like``'s dtype."""
        v = self.loop.places.get(text)
        if v is None:
            if text not in self.words.numbers and not text.isdigit():
                raise NoForm(text)
            return self.number(self.words.numbers[text] if text in self.words.numbers else int(text), like)
        if v.kind == "number" and not v.number.ndim:
            return self.number(v.number.item(), like)
        return self.of(v, [i if n > 1 else "0" for i, n in zip(at[len(at) - len(v.shape):], v.shape)])

    def of(self, v, at):
        """The element of a value, in the array where it lives."""
        if v.kind == "place":
            return self.array(v.name, [v.at, *at] if v.at else at)
        if v.kind == "number":
            return self.array(self.words.table(v.number), at)
        if not v.depends:
            return self.array(self.words.of(v), at)
        if v.is_view and v.id not in self.layout.slot:
            if v.op.name not in VIEWS:
                raise NoForm(v.op.name)
            return self.of(v.inputs[0], VIEWS[v.op.name](v, at))
        if v.id in self.layout.piece:
            whole, s = self.layout.piece[v.id]
            return self.of(whole, _moved(at, -1, s.start or 0))
        if v.kind == "carry":
            return self.array(self.words.carry(self.layout.states[v.position]), at)
        if v.id in self.layout.slot:
            return self.array(self.words.of(v), ["t + 1", *at])
        return self.array(self.words.of(v), at if self.loop.is_overwritten(v) else ["t", *at])

    def array(self, name, at):
        buffer = self.room.buffers.get(name)
        while buffer is not None and buffer.other is not None:          # by its first name: two names would be taken for two arrays
            buffer = buffer.other
        name = name if buffer is None else buffer.name
        self.arguments.setdefault(name, len(at))
        return f"{name}[{', '.join(at) or '()'}]"

    def number(self, number, dtype):
        text = repr(number) if math.isfinite(number) else f"np.{number}" if number > 0 or number != number else "-np.inf"
        if dtype.kind != "f" or dtype.itemsize == 8:
            return text
        return f"{self.cast(dtype)}({text})"

    def cast(self, dtype):
        self.imports.add(dtype.name)
        return dtype.name

    # ---- statements -------------------------------------------------------------------------------------------------------
    @staticmethod
    def _together(line):
        """Statements in a row that compute their elements in one place are one loop."""
        return line.out if line.elementwise else id(line)

    def statements(self, place, lines):
        """The lines of statements with one place; the comment of the first is behind the first."""
        for line in lines:
            if not line.how or line.how[0] not in FORMS or line.out not in self.loop.places:
                raise NoForm(line.text)
        if lines[0].elementwise:
            texts = self.over(self.shape(place), lambda at: [_elementwise(self, line, at) for line in lines])
        else:
            texts = FORMS[lines[0].how[0]](self, *lines, *lines[0].how[1:])
        written = [Line(text) for text in texts]
        written[0].comment = lines[0].comment
        return written

    def over(self, shape, write, skip=()):
        """``write(indices)`` within loops over a shape; an axis of one needs no loop."""
        if len(shape) > len(self.index):
            raise NoForm(f"arrays of {len(shape)} axes")
        at = [i if n > 1 else "0" for i, n in zip(self.index, shape)]
        lines = write(at)
        for axis in reversed(range(len(shape))):
            if shape[axis] != 1 and axis not in skip:
                lines = [f"for {at[axis]} in range({shape[axis]}):", *indented(lines)]
        return lines

    def meets(self, line):
        """The dtype in which the numbers of a line meet what is no number."""
        arrays = [self.dtype(text) for text in line.reads if text in self.loop.places and self.loop.places[text].kind != "number"]
        return np.result_type(*arrays) if arrays else self.dtype(line.out)


def _elementwise(fused, line, at):
    like = fused.dtype(line.out)
    if like.kind != "f":
        like = fused.meets(line)
    name, operands = line.how[1], [fused.element(text, at, like) for text in line.reads]
    if name == "tanh" and like.kind == "f" and like.itemsize in (4, 8):
        value = f"{_tanh(fused, like)}({operands[0]})"
    elif name in SYMBOLS:
        value = SYMBOLS[name].format(*operands)
    else:
        value = f"np.{name}({', '.join(operands)})"
    return f"{fused.element(line.out, at, like)} = {value}"


def _tanh(fused, dtype):
    kind = "single" if dtype.itemsize == 4 else "double"
    fused.helpers[kind] = TANH.format(kind=kind, **{k: fused.number(n, dtype) for k, n in NUMBERS.items()},
                                      limit=fused.number(10 if kind == "single" else 20, dtype))
    return f"tanh_{kind}"


def _copy_where(fused, line):
    value, condition = line.reads
    dtype = fused.dtype(line.out)
    return fused.over(fused.shape(line.out), lambda at: [
        f"if {fused.element(condition, at, dtype)}:", f"    {fused.element(line.out, at, dtype)} = {fused.element(value, at, dtype)}"])


def _copy_part(fused, line, start):
    value, dtype = line.reads[0], fused.dtype(line.out)
    return fused.over(fused.shape(value), lambda at: [
        f"{fused.element(line.out, _moved(at, -1, start), dtype)} = {fused.element(value, at, dtype)}"])


def _matmul(fused, line):
    a, b = line.reads
    shape, K, k, dtype = fused.shape(line.out), fused.shape(a)[-1], fused.inner, fused.dtype(line.out)
    row, column = len(fused.shape(a)) == 1, len(fused.shape(b)) == 1        # vectors

    def write(at):
        out = fused.element(line.out, at, dtype)

        def term(n):
            left = [n] if row else [*(at if column else at[:-1]), n]
            right = [n] if column else [*(at[:-1] if row else at[:-2]), n, at[-1]]
            return f"{fused.element(a, left, dtype)} * {fused.element(b, right, dtype)}"

        def across(lines):
            return lines if not along or shape[-1] == 1 else [f"for {at[-1]} in range({shape[-1]}):", *indented(lines)]
        first, whole = min(K, UNROLL), K - K % UNROLL
        lines = across(_total(f"{out} =", [term(str(n)) for n in range(first)]))
        if whole > UNROLL:
            lines += [f"for {k} in range({UNROLL}, {whole}, {UNROLL}):",
                      *indented(across(_total(f"{out} +=", [term(_shifted(k, n)) for n in range(UNROLL)])))]
        if K > UNROLL and K > whole:
            lines += across(_total(f"{out} +=", [term(str(n)) for n in range(whole, K)]))
        return lines
    along = not column                                                      # the columns of the matrix: the inner loop is along them
    return fused.over(shape, write, skip=(len(shape) - 1,) if along else ())


def _total(start, terms):
    """A sum of many terms, some on each line."""
    lines = [" + ".join(terms[n:n + 4]) for n in range(0, len(terms), 4)]
    if len(lines) == 1:
        return [f"{start} {lines[0]}"]
    indent = " " * (len(start) + 2)
    return [f"{start} ({lines[0]}", *(f"{indent}+ {line}" for line in lines[1:-1]), f"{indent}+ {lines[-1]})"]


def _reshape(fused, line, attributes):
    x, dtype = line.reads[0], fused.dtype(line.out)

    def source(at):
        """The element of the same number; where only axes of one come or go, that is the same but for these."""
        ours = [(i, n) for i, n in zip(at, fused.shape(line.out)) if n > 1]
        theirs = [n for n in fused.shape(x) if n > 1]
        if [n for _, n in ours] == theirs:
            indices = iter([i for i, _ in ours])
            return [next(indices) if n > 1 else "0" for n in fused.shape(x)]
        number = "0"
        for i, n in ours:
            number = i if number == "0" else f"({number}) * {n} + {i}"
        found = []
        for n in reversed(fused.shape(x)):
            found.append(f"({number}) % {n}")
            number = f"({number}) // {n}"
        return found[::-1]
    return fused.over(fused.shape(line.out), lambda at: [
        f"{fused.element(line.out, at, dtype)} = {fused.element(x, source(at), dtype)}"])


def _concatenate(fused, line, attributes):
    lines, start, dtype = [], 0, fused.dtype(line.out)
    for x in line.reads:
        axis = attributes["axis"] % len(fused.shape(x))
        lines += fused.over(fused.shape(x), lambda at: [f"{fused.element(line.out, _moved(at, axis, start), dtype)} = "
                                                        f"{fused.element(x, at, dtype)}"])
        start += fused.shape(x)[axis]
    return lines


def _reduce(fused, line, name, axis, keepdims):
    x, dtype = line.reads[0], fused.dtype(line.out)
    shape = fused.shape(x)
    axes = range(len(shape)) if axis is None else [a % len(shape) for a in (axis if isinstance(axis, tuple) else (axis,))]
    if dtype.kind != "f":
        raise NoForm(line.text)

    def out(at):
        return fused.element(line.out, ["0" if n in axes else i for n, i in enumerate(at) if keepdims or n not in axes], dtype)

    def write(at):
        inner = [SYMBOLS[name].format(out(at), fused.element(x, at, dtype)) if name in SYMBOLS else
                 f"np.{name}({out(at)}, {fused.element(x, at, dtype)})"]
        inner = [f"{out(at)} = {inner[0]}"]
        for axis in reversed(axes):
            if shape[axis] > 1:
                inner = [f"for {at[axis]} in range({shape[axis]}):", *indented(inner)]
        return [f"{out(at)} = {fused.number(START[name], dtype)}", *inner]
    return fused.over(shape, write, skip=axes)


def _stack(fused, line, attributes):
    lines, dtype, axis = [], fused.dtype(line.out), attributes["axis"] % len(fused.shape(line.out))
    for n, x in enumerate(line.reads):
        lines += fused.over(fused.shape(x), lambda at: [f"{fused.element(line.out, [*at[:axis], str(n), *at[axis:]], dtype)} = "
                                                        f"{fused.element(x, at, dtype)}"])
    return lines


def _mean(fused, line, attributes):
    out, dtype = fused.shape(line.out), fused.dtype(line.out)
    n = math.prod(fused.shape(line.reads[0])) // math.prod(out)
    return [*_reduce(fused, line, "add", attributes["axis"], attributes["keepdims"]),
            *fused.over(out, lambda at: [f"{fused.element(line.out, at, dtype)} /= {fused.number(n, dtype)}"])]


FORMS = {"ufunc": None, "copy where": _copy_where, "copy part": _copy_part, "matmul": _matmul, "reduce": _reduce,
         "reshape": _reshape, "concatenate": _concatenate, "stack": _stack, "mean": _mean}


# ---- views: where their elements are in what they look at --------------------------------------------------------------------
def _shifted(index, by):
    """``index + by``."""
    if not by:
        return index
    return str(int(index) + by) if index.isdigit() else f"{index} + {by}"


def _moved(at, axis, by):
    at = list(at)
    at[axis] = _shifted(at[axis], by)
    return at


def _getitem(v, at):
    index, shape = v.attributes["index"], v.inputs[0].shape
    n = sum(i is not None and i is not Ellipsis for i in index)
    here = next((k for k, i in enumerate(index) if i is Ellipsis), len(index))
    index = [*index[:here], *[slice(None)] * (len(shape) - n), *index[here + 1:]]
    at, found = iter(at), []
    for i in index:
        if i is None:
            next(at)
        elif isinstance(i, slice):
            start, _, step = i.indices(shape[len(found)])
            one = next(at)
            found.append(_shifted(one, start) if step == 1 else f"{start} + {step} * ({one})")
        else:
            found.append(str(int(i) % shape[len(found)]))
    return found


def _transpose(v, at):
    axes, found = v.attributes["axes"], list(at)
    for n, axis in enumerate(axes):
        found[axis] = at[len(at) - len(axes) + n]
    return found


def _broadcast(v, at):
    shape = v.inputs[0].shape
    return [i if n > 1 else "0" for i, n in zip(at[len(at) - len(shape):], shape)]


VIEWS = {"getitem": _getitem, "transpose": _transpose, "broadcast_to": _broadcast, "stop_gradient": lambda v, at: at}
