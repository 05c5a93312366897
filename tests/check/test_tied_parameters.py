"""A parameter that a step uses twice: its gradient has two terms for each step, and a slip in one of the lines is still named."""
import numpy as np
import pytest

import minigrad as mg

T, B, D, H = 4, 3, 2, 5
rng = np.random.default_rng(0)
XS, Y = rng.standard_normal((T, B, D)), rng.standard_normal((B, H))
START = {
    "h_0": np.full((B, H), .3), "W_x": rng.standard_normal((D, H)), "W_h": rng.standard_normal((H, H)) / 2, "b": rng.standard_normal(H)}


def loss():
    """h_t = tanh(x_t W_x + k_t W_h + b),  k_t = tanh(h_{t-1} W_h): the same matrix twice."""
    p = {name: mg.parameter(value, name=name) for name, value in START.items()}

    def cell(x, h):
        k = np.tanh(h @ p["W_h"])
        a = x @ p["W_x"] + k @ p["W_h"] + p["b"]
        h = np.tanh(a)
        return h, h
    ys, h = mg.unroll(cell, XS, p["h_0"])
    return mg.squared_error(h, Y, reduction="sum") + ((ys[:-1] - .1) ** 2).sum() / 2


def by_hand(slip=None):
    h_0, W_x, W_h, b = START.values()
    h, ks, hs = h_0, [], [h_0]
    for x in XS:
        ks.append(np.tanh(h @ W_h))
        h = np.tanh(x @ W_x + ks[-1] @ W_h + b)
        hs.append(h)
    carry = np.zeros((B, H)) if slip != "not reset" else by_hand("carry")
    dW_x, dW_h, db = 0 * W_x, 0 * W_h, 0 * b
    for t in range(T) if slip == "forward" else reversed(range(T)):
        dh = carry + (2 * (h - Y) if t == T - 1 else hs[t + 1] - .1)
        da = dh * (1 - hs[t + 1] ** 2)
        dk = da @ (W_h if slip == "not transposed" else W_h.T)
        du = dk * (1 if slip == "no derivative" else 1 - ks[t] ** 2)
        dW_x, db = dW_x + XS[t].T @ da, db + da.sum(axis=0)
        dW_h = dW_h + ks[t].T @ da + (0 if slip == "one use" else hs[t].T @ du)
        carry = du @ W_h.T
    if slip == "carry":
        return carry
    return {"h_0": carry, "W_x": dW_x, "W_h": dW_h, "b": db}


def test_both_uses_add_up():
    assert mg.check.compare(by_hand(), loss()).ok


@pytest.mark.parametrize("slip, says", [
    ("no derivative", "the factor 1 - k**2 is missing"), ("not transposed", "W_h is used where W_h.T is needed"), ("one use", ".T @ d"),
    ("forward", "the backward loop runs forward in time"), ("not reset", "the carry is not reset to 0")])
def test_a_slip_in_one_of_them_is_named(slip, says):
    found = str(mg.check.diagnose(by_hand(slip), loss()))
    assert says in found and "explains your numbers to the last digit" in found
