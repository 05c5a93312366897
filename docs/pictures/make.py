"""Draws the pictures of the documentation.

    python docs/pictures/make.py [FOLDER]          (default: where this file is)
"""
import sys
from pathlib import Path

import numpy as np

import minigrad as mg

SYMBOLS = 3                                                        # a tiny alphabet


def diamond():
    """h reaches y along two arms."""
    x = mg.parameter(0.5, name="x")
    h = np.tanh(x)
    s = np.sin(h)
    y = s * h
    return mg.draw(y)


def network(T, **how):
    """The summed loss of an Elman network that reads T symbols and predicts the next one each time."""
    rng = np.random.default_rng(0)
    W_x, W_h, W_y = (mg.parameter(0.5 * rng.standard_normal(shape), name=name)
                     for name, shape in (("W_x", (SYMBOLS, 4)), ("W_h", (4, 4)), ("W_y", (4, SYMBOLS))))
    b, h, loss = mg.parameter(np.zeros(4), name="b"), mg.Tensor(np.zeros((1, 4))), 0.
    symbols = np.arange(T + 1) % SYMBOLS
    for t, x in enumerate(mg.steps(np.eye(SYMBOLS)[symbols[:-1], None])):
        h = np.tanh(x @ W_x + h @ W_h + b)
        o = h @ W_y
        loss = loss + mg.softmax_cross_entropy(o, symbols[t + 1, None])
    return mg.draw(loss, **how)


def vanishing():
    """A loss at the end only, and small weights: the gradient fades on its way back."""
    rng = np.random.default_rng(0)
    W_x, W_h = (mg.parameter(0.25 * rng.standard_normal((n, 4)), name=name) for name, n in (("W_x", SYMBOLS), ("W_h", 4)))
    h = mg.parameter(np.zeros((1, 4)))
    for x in mg.steps(np.eye(SYMBOLS)[np.arange(6) % SYMBOLS, None]):
        h = np.tanh(x @ W_x + h @ W_h)
    loss = (h * h).sum()
    return mg.draw(loss, heat=True)


def lstm():
    """The names in the columns are those of the cell's own source."""
    ys, state = mg.unroll(mg.LSTMCell(SYMBOLS, 4, rng=np.random.default_rng(0)), np.ones((2, 1, SYMBOLS)))
    return mg.draw(state)


def gated():
    """The cell of write-a-cell.md."""
    rng = np.random.default_rng(0)
    W_xf, W_hf, W_xn, W_hn = (mg.parameter(0.4 * rng.standard_normal((n, 5)), name=name)
                              for name, n in (("W_xf", 3), ("W_hf", 5), ("W_xn", 3), ("W_hn", 5)))

    def cell(x, h):
        forget = mg.sigmoid(x @ W_xf + h @ W_hf)
        new = np.tanh(x @ W_xn + (forget * h) @ W_hn)
        h = (1 - forget) * h + forget * new
        return h, h

    ys, h = mg.unroll(cell, np.ones((3, 2, 3)), mg.Tensor(np.zeros((2, 5))))
    return mg.draw(h)


def bidirectional():
    """Two loops that walk in opposite directions."""
    rng = np.random.default_rng(0)
    ys, states = mg.bidirectional(mg.RNNCell(SYMBOLS, 4, rng=rng), mg.RNNCell(SYMBOLS, 4, rng=rng))(np.ones((3, 1, SYMBOLS)))
    return mg.draw(ys)


def trained(T=4, cut=()):
    """An Elman network with a loss in every step: (parameters, losses, states, total); the state is detached before the steps `cut`."""
    rng = np.random.default_rng(0)
    p = {name: mg.parameter(0.7 * rng.standard_normal(shape), name=name) for name, shape in (("W_x", (SYMBOLS, 4)), ("W_h", (4, 4)))}
    h, total, losses, states = mg.parameter(np.zeros((2, 4)), name="h_0"), 0.0, [], []
    states.append(h)
    for t, x in enumerate(mg.steps(rng.standard_normal((T, 2, SYMBOLS))), 1):
        if t in cut:
            h = mg.detach(h)
        a = x @ p["W_x"] + h @ p["W_h"]
        h = np.tanh(a)
        loss = (h * h).sum() / 2
        total = total + loss
        losses.append(loss)
        states.append(h)
    return p, losses, states, total


def marked():
    """A derivation in which one line is wrong."""
    total = trained()[3]
    return mg.draw(total, marks=mg.check.diagnose({
        "da": lambda dh, h: dh * (1 - h ** 2),
        "dW_h": lambda h_prev, da: h_prev.T @ da,
        "carry_h": lambda da, W_h: da @ W_h}, total))


def summed():
    """Heat of the third loss of four, and what each step adds to its gradient."""
    p, losses, states, total = trained()
    return mg.draw(total, heat=losses[2], bars=mg.check.bptt([losses[2]], states, p["W_h"]))


def cut():
    """Truncated back-propagation: two chunks of two steps."""
    rng = np.random.default_rng(0)
    cell, xs = mg.RNNCell(SYMBOLS, 4, rng=rng), rng.standard_normal((4, 1, SYMBOLS))
    ys, h = mg.unroll(cell, xs[:2])
    more, _ = mg.unroll(cell, xs[2:], mg.detach(h))
    return mg.draw((ys * ys).sum() + (more * more).sum(), heat=True)


def frame(folder, number):
    """One slide of the backward pass."""
    import tempfile
    from minigrad.files import write
    with tempfile.TemporaryDirectory() as slides:
        paths = mg.draw(trained(3)[3]).frames(Path(slides) / "slides")
        write(Path(folder) / "frame.svg", paths[number].read_bytes())
    return Path(folder) / "frame.svg"


def make(folder):
    """Write all pictures into folder; returns their paths."""
    pictures = {"diamond": diamond(), "columns": network(4), "elided": network(1000), "folded": network(4, folded=True),
                "cells": network(4, cells=True), "step": network(4, step=3),
                "values": network(2, values=True), "heat": vanishing(), "lstm": lstm(), "gated": gated(),
                "bidirectional": bidirectional(), "marked": marked(), "summed": summed(), "cut": cut(),
                "print": mg.draw(trained(3)[3], style="print")}
    return [frame(folder, 9)] + [drawing.save(Path(folder) / f"{name}.svg") for name, drawing in pictures.items()]


if __name__ == "__main__":
    for path in make(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent):
        print(path)
