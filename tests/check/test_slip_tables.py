"""The lists of wrong derivatives: what is written is what is computed, and each is named when somebody makes it."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.check.slips.losses import BINARY, SOFTMAX, SQUARED
from minigrad.check.slips.slopes import SLOPES

rng = np.random.default_rng(0)
B, D, K = 5, 3, 4
X, W, BIAS = rng.standard_normal((B, D)), rng.standard_normal((D, K)), rng.standard_normal(K)


def sigma(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    return np.exp(z) / np.exp(z).sum(-1, keepdims=True)


CLASSES = np.eye(K)[rng.integers(K, size=B)]
BITS = rng.integers(2, size=(B, K)).astype(float)
NUMBERS = rng.standard_normal((B, K))
LOSSES = {  # name -> (loss, its wrong derivatives, targets, ŷ, the right derivative, what the loss is averaged over, what a function gets)
    "softmax_cross_entropy": (mg.softmax_cross_entropy, SOFTMAX, CLASSES, softmax, lambda p, y: p - y, B, softmax),
    "binary_cross_entropy": (mg.binary_cross_entropy, BINARY, BITS, sigma, lambda p, y: p - y, B * K, lambda z: z),
    "squared_error": (mg.squared_error, SQUARED, NUMBERS, lambda z: z, lambda p, y: 2 * (p - y), B * K, lambda z: z)}
LISTED = [(name, k) for name, its in LOSSES.items() for k in range(len(its[1]))]


def as_written(text, p, y, z):
    """The value of a line of a derivation."""
    if text.startswith("J_softmax"):                    # diag(ŷ) - ŷ ŷᵀ, row by row
        J = np.stack([np.diag(row) - np.outer(row, row) for row in p])
        return np.einsum("bij,bj->bi", J, p - y)
    return eval(text.format(p="ŷ", z="z"), {"ŷ": p, "y": y, "z": z, "log": np.log, "sign": np.sign})


@pytest.mark.parametrize("name, k", LISTED)
def test_a_wrong_derivative_of_a_loss_is_what_it_says(name, k):
    _, listed, y, hat, right, _, given = LOSSES[name]
    _, wrong, text, _ = listed[k]
    z = X @ W + BIAS
    ours, reference = wrong(given(z), y), as_written(text, hat(z), y, z)
    np.testing.assert_allclose(ours, reference, rtol=1e-12, atol=1e-14)
    assert np.abs(ours - right(hat(z), y)).max() > 1e-3


@pytest.mark.parametrize("name, k", LISTED)
def test_who_makes_it_is_told(name, k):
    loss, listed, y, _, _, count, given = LOSSES[name]
    W_y, b_y = mg.parameter(W, name="W_y"), mg.parameter(BIAS, name="b_y")
    dz = listed[k][1](given(X @ W + BIAS), y) / count
    found = mg.check.diagnose({"W_y": X.T @ dz, "b_y": dz.sum(axis=0)}, loss(X @ W_y + b_y, y))
    assert listed[k][3] in str(found)


@pytest.mark.parametrize("name, k", [(name, k) for name, listed in SLOPES.items() for k in range(len(listed))])
def test_a_wrong_slope_is_what_it_says(name, k):
    x = rng.standard_normal((6, 5)) + .1
    f = {"tanh": np.tanh, "sigmoid": sigma}[name]
    y = f(x)
    text, wrong = SLOPES[name][k]
    written = eval(text.format(x="x", y="y"), {"x": x, "y": y, "tanh": np.tanh, "σ": sigma})
    np.testing.assert_allclose(wrong(y, x), written, rtol=1e-12)
    assert np.abs(written - (f(x + 1e-6) - f(x - 1e-6)) / 2e-6).max() > 1e-3


@pytest.mark.parametrize("name, k", [(name, k) for name, listed in SLOPES.items() for k in range(len(listed))])
def test_who_takes_a_wrong_slope_is_told(name, k):
    f, ours = {"tanh": (np.tanh, np.tanh), "sigmoid": (sigma, mg.sigmoid)}[name]
    V = np.random.default_rng(1).standard_normal((K, 2))
    p = {n: mg.parameter(a, name=n) for n, a in (("W", W), ("b", BIAS), ("V", V))}
    a = X @ p["W"] + p["b"]
    h = ours(a)
    y = np.random.default_rng(2).standard_normal((B, 2))
    loss = mg.squared_error(h @ p["V"], y, reduction="sum")
    wrong, x_, y_ = SLOPES[name][k][1], X @ W + BIAS, f(X @ W + BIAS)
    do = 2 * (y_ @ V - y)
    da = do @ V.T * wrong(y_, x_)
    found = str(mg.check.diagnose({"W": X.T @ da, "b": da.sum(axis=0), "V": y_.T @ do}, loss))
    same = [text.format(x="a", y="h") for text, w in SLOPES[name] if np.allclose(w(y_, x_), wrong(y_, x_))]     # 1 - h and 1 - tanh(a)
    assert any(f"not {text}" in found for text in same), found
