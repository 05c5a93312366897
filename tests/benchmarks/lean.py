"""The least that recording costs: a graph of values, rules and creation order, and nothing that minigrad checks or keeps.

    python -m tests.benchmarks.lean      Elman + cross-entropy and LSTM, µs per time step: plain NumPy, these two, minigrad's loop

*lean* has no ``requires_grad``, places, names, stamps, checks of dtypes or targets; no constants that are copied because their owner may
change them. *asked* is the same with what minigrad's contracts ask of every op and nothing else: no table of ops, rules for one step of
the sequence alone, none that can be differentiated again.
"""
from tests.benchmarks.measure import difference, interleaved, versions      # first: it sets the threads

import itertools

import numpy as np

from minigrad.tensor import mode
from tests.benchmarks import eager, reference


class Value:
    """An array, what it was computed from, and the rule that gives the gradients of those."""
    __slots__ = ("array", "inputs", "rule", "arguments", "index")

    def __init__(self, array, inputs=(), rule=None, arguments=()):
        self.array, self.inputs, self.rule, self.arguments, self.index = array, inputs, rule, arguments, _clock()

    def __matmul__(self, other):
        return Value(self.array.dot(other.array), (self, other), _of_product, (self.array, other.array))

    def __add__(self, other):
        if type(other) is Value:
            return Value(self.array + other.array, (self, other), _of_sum)
        return Value(self.array + other, (self,), _of_shifted)

    __radd__ = __add__

    def __mul__(self, other):
        return Value(self.array * other.array, (self, other), _of_multiple, (self.array, other.array))

    def __getitem__(self, index):
        return Value(self.array[index], (self,), _of_part, (index, self.array))

    def sum(self):
        return Value(np.add.reduce(self.array, None), (self,), _of_total, (self.array,))

    def sigmoid(self):
        y = _sigmoid(self.array)
        return Value(y, (self,), _of_sigmoid, (y,))

    def __array_ufunc__(self, ufunc, method, *inputs):
        if ufunc is np.tanh:
            y = np.tanh(self.array)
            return Value(y, (self,), _of_tanh, (y,))
        x, W = inputs                                               # an array and a Value
        if ufunc is np.multiply:
            return Value(x * W.array, (W,), _of_scaled, (x,))
        return Value(x.dot(W.array), (W,), _of_matrix, (x,))


class Part:
    """A gradient at an index of a larger array."""
    __slots__ = ("index", "g", "shape")

    def __init__(self, index, g, shape):
        self.index, self.g, self.shape = index, g, shape


def _sigmoid(x):
    y = np.tanh(x * 0.5)
    y *= 0.5
    y += 0.5
    return y


_of_multiple, _of_scaled, _of_sigmoid = lambda g, a, b: (g * b, g * a), lambda g, x: (g * x,), lambda g, y: (g * (y * (1 - y)),)
_of_part, _of_total = lambda g, index, x: (Part(index, g, x.shape),), lambda g, x: (np.full(x.shape, g),)
_of_product, _of_matrix = lambda g, a, b: (g.dot(b.T), a.T.dot(g)), lambda g, x: (x.T.dot(g),)
_of_sum, _of_shifted, _of_tanh = lambda g: (g, g), lambda g: (g,), lambda g, y: (g * (1 - y * y),)
_clock = itertools.count().__next__


class Asked(Value):
    """With all that a Tensor keeps; constants are copied, targets looked at, errors explained, and who watches is told."""
    __slots__ = ("requires_grad", "place", "name", "grad", "attributes", "op")

    def __init__(self, array, inputs=(), rule=None, arguments=()):
        self.array, self.inputs, self.rule, self.arguments, self.index = array, inputs, rule, arguments, _clock()
        self.grad = self.name = self.attributes = self.op = None
        now = mode.__dict__
        self.place, wanted = now["place"], not inputs
        for x in inputs:
            if x.requires_grad:
                wanted = True
        self.requires_grad = wanted and now["recording"]
        if wanted and now["watch"] is not None:
            now["watch"](self)

    def _computed(self, value, *inputs):
        try:
            return value(*[x.array for x in inputs])
        except Exception as error:
            raise type(error)(f"at {self.place}: {error}") from error

    def __matmul__(self, other):
        return Asked(self._computed(np.dot, self, other), (self, other), _of_product, (self.array, other.array))

    def __add__(self, other):
        if type(other) is Asked:
            return Asked(self._computed(np.add, self, other), (self, other), _of_sum)
        return Asked(self.array + other, (self,), _of_shifted)

    __radd__ = __add__

    def __mul__(self, other):
        return Asked(self._computed(np.multiply, self, other), (self, other), _of_multiple, (self.array, other.array))

    def __getitem__(self, index):
        return Asked(self.array[index], (self,), _of_part, (index, self.array))

    def sum(self):
        return Asked(np.add.reduce(self.array, None), (self,), _of_total, (self.array,))

    def sigmoid(self):
        y = self._computed(_sigmoid, self)
        return Asked(y, (self,), _of_sigmoid, (y,))

    def __array_ufunc__(self, ufunc, method, *inputs):
        if ufunc is np.tanh:
            y = self._computed(np.tanh, self)
            return Asked(y, (self,), _of_tanh, (y,))
        x, W = inputs
        x = x.copy()
        if ufunc is np.multiply:
            return Asked(x * W.array, (W,), _of_scaled, (x,))
        return Asked(x.dot(W.array), (W,), _of_matrix, (x,))


def asked_cross_entropy(logits, classes):
    unsigned = classes.astype(np.uintp)
    if classes.shape != logits.array.shape[:-1] or unsigned.item(unsigned.argmax()) >= logits.array.shape[-1]:
        raise ValueError("targets")
    return cross_entropy(logits, classes, Asked)


def cross_entropy(logits, classes, kind=Value):
    rows, z = np.arange(len(classes)), logits.array
    z = z - np.maximum.reduce(z, 1, None, None, True)
    e = np.exp(z)
    s = np.add.reduce(e, 1, None, None, True)
    return kind(np.add.reduce(np.log(s[:, 0]) - z[rows, classes]), (logits,), _minus_targets, (e, s, rows, classes))


def _minus_targets(g, e, s, rows, classes):
    p = e * (g / s)
    p[rows, classes] -= g
    return p,


def gradients(root):
    """index -> gradient, of everything that root was computed from."""
    nodes, stack, seen = [], [root], {root.index}
    while stack:
        node = stack.pop()
        if node.rule is not None:
            nodes.append(node)
            for x in node.inputs:
                if x.index not in seen:
                    seen.add(x.index)
                    stack.append(x)
    nodes.sort(key=lambda node: node.index, reverse=True)
    sums, own = {root.index: np.ones_like(root.array)}, set()
    for node in nodes:
        for x, part in zip(node.inputs, node.rule(sums.pop(node.index), *node.arguments)):
            if x.index > node.index:
                raise RuntimeError("changed after it was used")
            if type(part) is Part:
                if x.index not in sums:
                    sums[x.index] = np.zeros(part.shape, part.g.dtype)
                    own.add(x.index)
                sums[x.index][part.index] += part.g
                continue
            if part.shape != x.array.shape:
                part = np.add.reduce(part)
            if x.index not in sums:
                sums[x.index] = part
            elif x.index in own:
                sums[x.index] += part
            else:
                sums[x.index] = sums[x.index] + part
                own.add(x.index)
    return sums


def elman(X, Y, P, kind=Value, loss_of=cross_entropy):
    p = {name: kind(array) for name, array in P.items()}
    Wx, Wh, bh, Wy, by = p.values()
    h0 = np.zeros((X.shape[1], len(P["Wh"])), X.dtype)

    def step():
        h, loss = kind(h0), 0.0
        for x, y in zip(X, Y):
            h = np.tanh(x @ Wx + h @ Wh + bh)
            loss = loss + loss_of(h @ Wy + by, y)
        found = gradients(loss)
        return loss, {name: found[v.index] for name, v in p.items()}
    return step


def lstm(X, G, P, kind=Value):
    p = {name: kind(array) for name, array in P.items()}
    Wx, Wh, b = p.values()
    H = len(P["Wh"])
    zero = np.zeros((X.shape[1], H), X.dtype)

    def step():
        h, c, loss = kind(zero), kind(zero), 0.0
        for x, g in zip(X, G):
            z = x @ Wx + h @ Wh + b
            i, f, o = z[:, :H].sigmoid(), z[:, H:2 * H].sigmoid(), z[:, 3 * H:].sigmoid()
            c = f * c + i * np.tanh(z[:, 2 * H:3 * H])
            h = o * np.tanh(c)
            loss = loss + (g * h).sum()
        found = gradients(loss)
        return loss, {name: found[v.index] for name, v in p.items()}
    return step


def rows():
    """(what, T, dtype, name -> step)"""
    for V, H, T, B, dtype in eager.ELMAN:
        arrays = reference.elman_inputs(V, H, T, B, dtype)
        yield f"Elman {V},{H},{T},{B}", T, dtype, {
            "plain": reference.elman_plain(*arrays), "lean": elman(*arrays), "asked": elman(*arrays, Asked, asked_cross_entropy),
            "minigrad": eager.elman_minigrad(*arrays)}
    for D, H, T, B, dtype in eager.LSTM:
        arrays = reference.lstm_inputs(D, H, T, B, dtype)
        yield f"LSTM {D},{H},{T},{B}", T, dtype, {
            "plain": reference.lstm_plain(*arrays), "lean": lstm(*arrays), "asked": lstm(*arrays, Asked), "minigrad": eager.lstm_minigrad(*arrays)}


def main():
    print(versions())
    for what, T, dtype, steps in rows():
        for name in ("lean", "asked"):
            assert difference(steps[name]()[1], steps["plain"]()[1]) <= eager.AGREES[dtype]
        micro = {name: seconds / T * 1e6 for name, seconds in interleaved(steps).items()}
        print(f"{what} {dtype:8}" + "".join(f"  {name} {value:.1f} ({value / micro['plain']:.2f})" for name, value in micro.items()),
              flush=True)


if __name__ == "__main__":
    main()
