"""Recorded graphs written down by hand, so that the picture is tested apart from the engine."""

from types import SimpleNamespace

import numpy as np


class FakeGraph:
    """A graph under construction with the interface that the picture reads: nodes, outputs, through."""

    def __init__(self):
        self.nodes, self.outputs = [], []

    def leaf(self, name=None, kind="input", shape=(1, 4), step=None, loop=None, value=None):
        value = np.zeros(shape) if value is None else np.asarray(value)
        return self._add(None, (), kind, name, step, loop, value, {})

    def op(self, op, *inputs, name=None, step=None, loop=None, shape=(1, 4), **attributes):
        inputs = tuple(i if isinstance(i, int) else self.leaf(kind="constant", value=i) for i in inputs)
        return self._add(SimpleNamespace(name=op), inputs, "op", name, step, loop, np.full(shape, 0.5), attributes)

    def _add(self, op, inputs, kind, name, step, loop, value, attributes):
        number = len(self.nodes)
        tensor = None if kind == "constant" else SimpleNamespace(index=number)
        self.nodes.append(SimpleNamespace(
            id=number, op=op, inputs=inputs, attributes=attributes, value=value, kind=kind, name=name, step=step,
            loop=loop if step is not None else None, tensor=tensor, requires_grad=True))
        return number

    def through(self, number):
        node = self.nodes[number]
        while node.op is not None and node.op.name == "getitem":
            source, index = self.nodes[node.inputs[0]], node.attributes["index"]
            if source.op is None or source.op.name != "stack" or not isinstance(index[1], int):
                break
            node = self.nodes[source.inputs[index[1]]]
        return node.id

    def done(self, *outputs):
        self.outputs = list(outputs)
        return self


def elman(T=5, loop=1, hostile=None):
    """Elman cell with an output and a loss in every step, the losses summed up after the loop."""
    g = FakeGraph()
    W_x, W_h = g.leaf("W_x", "parameter", (3, 4)), g.leaf("W_h", "parameter", (4, 4))
    b, W_y = g.leaf("b", "parameter", (4,)), g.leaf("W_y", "parameter", (4, 2))
    h = g.leaf(None, "input", (1, 4), step=0, loop=loop)
    losses = []
    for t in range(1, T + 1):
        at = dict(step=t, loop=loop)
        x = g.leaf(hostile or "x", "input", (1, 3), **at)
        a = g.op("matmul", x, W_x, **at)
        r = g.op("matmul", h, W_h, **at)
        s = g.op("add", g.op("add", a, r, **at), b, **at)
        h = g.op("tanh", s, name=hostile or "h", **at)
        y = g.op("matmul", h, W_y, name="y_hat", shape=(1, 2), **at)
        losses.append(g.op("softmax_cross_entropy", y, np.array([1]), name="loss", shape=(), **at))
    total = losses[0]
    for loss in losses[1:]:
        total = g.op("add", total, loss, shape=())
    g.nodes[total].name = "L"
    return g.done(total)


def gru(T=4):
    """GRU, reset after, with separate gates."""
    g = FakeGraph()
    P = {n: g.leaf(n, "parameter", (3 if n[2] == "x" else 4, 4) if n[0] == "W" else (4,)) for n in
         ("W_xr", "W_xz", "W_xn", "W_hr", "W_hz", "W_hn", "b_r", "b_z", "b_n", "c_n")}
    h = g.leaf("h0", "input", (1, 4))
    for t in range(1, T + 1):
        at = dict(step=t, loop=1)
        x = g.leaf("x", "input", (1, 3), **at)

        def gate(n, op):
            s = g.op("add", g.op("matmul", x, P["W_x" + n], **at), g.op("matmul", h, P["W_h" + n], **at), **at)
            return g.op(op, g.op("add", s, P["b_" + n], **at), name=n, **at)
        r, z = gate("r", "sigmoid"), gate("z", "sigmoid")
        inner = g.op("add", g.op("matmul", h, P["W_hn"], **at), P["c_n"], **at)
        s = g.op("add", g.op("add", g.op("matmul", x, P["W_xn"], **at), P["b_n"], **at),
                 g.op("multiply", r, inner, **at), **at)
        n = g.op("tanh", s, name="n", **at)
        h = g.op("add", g.op("multiply", g.op("subtract", 1.0, z, **at), n, **at), g.op("multiply", z, h, **at),
                 name="h", **at)
    loss = g.op("softmax_cross_entropy", g.op("matmul", h, g.leaf("W_y", "parameter", (4, 2)), name="o"),
                np.array([1]), name="loss", shape=())
    return g.done(loss)


def lstm(T=4):
    """LSTM with packed gates, outputs stacked, logits for the whole sequence."""
    g = FakeGraph()
    W_x, W_h, b = (g.leaf("W_x", "parameter", (3, 16)), g.leaf("W_h", "parameter", (4, 16)),
                   g.leaf("b", "parameter", (16,)))
    W_y, b_y = g.leaf("W_y", "parameter", (4, 2)), g.leaf("b_y", "parameter", (2,))
    h, c = g.leaf("h", "input", step=0, loop=1), g.leaf("c", "input", step=0, loop=1)
    hs = []
    for t in range(1, T + 1):
        at = dict(step=t, loop=1)
        x = g.leaf("x", "input", (1, 3), **at)
        s = g.op("add", g.op("add", g.op("matmul", x, W_x, **at), g.op("matmul", h, W_h, **at), **at), b, name="gates",
                 **at)
        i, f, o, u = (g.op("tanh" if n == "g" else "sigmoid",
                           g.op("getitem", s, index=(Ellipsis, slice(4 * k, 4 * k + 4)), **at), name=n, **at)
                      for k, n in enumerate("ifog"))
        c = g.op("add", g.op("multiply", f, c, **at), g.op("multiply", i, u, **at), name="c", **at)
        h = g.op("multiply", o, g.op("tanh", c, **at), name="h", **at)
        hs.append(h)
    ys = g.op("stack", *hs, name="ys", shape=(T, 1, 4))
    logits = g.op("add", g.op("matmul", ys, W_y, shape=(T, 1, 2)), b_y, name="logits", shape=(T, 1, 2))
    loss = g.op("softmax_cross_entropy", logits, np.zeros((T, 1), int), name="loss", shape=())
    return g.done(loss)


def diamond():
    """a -> (b, c) -> d: why an order is needed."""
    g = FakeGraph()
    x = g.leaf("x", "parameter", ())
    a = g.op("square", x, name="a", shape=())
    b, c = g.op("sin", a, name="b", shape=()), g.op("exp", a, name="c", shape=())
    return g.done(g.op("multiply", b, c, name="d", shape=()))
