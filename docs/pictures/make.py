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


def make(folder):
    """Write all pictures into folder; returns their paths."""
    pictures = {"diamond": diamond(), "columns": network(4), "elided": network(1000), "folded": network(4, folded=True),
                "cells": network(4, cells=True), "step": network(4, step=3),
                "values": network(2, values=True), "heat": vanishing(), "lstm": lstm(), "gated": gated(),
                "bidirectional": bidirectional()}
    return [drawing.save(Path(folder) / f"{name}.svg") for name, drawing in pictures.items()]


if __name__ == "__main__":
    for path in make(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent):
        print(path)
