"""How a recorded graph reads as a derivation: the line for every argument, whatever the forward pass is made of."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.check.perturb import Reverse

ONES = np.ones((2, 3))


def reverse(fn, column=False, **shapes):
    rng = np.random.default_rng(0)
    p = {name: mg.parameter(0.5 + np.abs(rng.standard_normal(shape)), name=name) for name, shape in shapes.items()}
    y = fn(**p)
    return Reverse(y if y.size == 1 else (y * y).sum(), column)


def lines(r):
    """Leaf -> its line and the reason."""
    return {name: (r.phrases.line(e), r.phrases.why(e)) for name, i in r.leaves.items() for e in r.incoming[i]}


AB = dict(A=(2, 3), B=(2, 3))
LINES = [  # the forward pass, shapes, the lines of the derivation
    (lambda A: np.tanh(A), dict(A=(2, 3)), "dA = dy * (1 - y**2)"),
    (lambda A: np.exp(A), dict(A=(2, 3)), "dA = dy * y"),
    (lambda A: np.log(A), dict(A=(2, 3)), "dA = dy * 1 / A"),
    (lambda A, B: A / B, AB, "dA = dy * 1 / B", "dB = dy * -1 * y / B"),
    (lambda A, B: A - (B - A), AB, "dA = dy * 2", "dB = dy * -1"),
    (lambda A, B: -A * B, AB, "dA = dy * -B", "dB = dy * -A"),
    (lambda A, B: A * A - B * A, AB, "dA = dy * (2 * A - B)", "dB = dy * -A"),
    (lambda A, B: B - A * (B - A), AB, "dA = dy * (-(B - A) + A)", "dB = dy * (1 - A)"),
    (lambda A, B: 2 * A * (A + B), AB, "dA = dy * ((A + B) * 2 + 2 * A)", "dB = dy * 2 * A"),
    (lambda A, B: A @ B, dict(A=(2, 3), B=(3, 4)), "dA = dy @ B.T", "dB = A.T @ dy"),
    (lambda A, B, c: (A + c) @ B, dict(A=(2, 3), B=(3, 4), c=(3,)), "dA = d(A + c)", "dB = (A + c).T @ dy", "dc = sum over the batch of d(A + c)"),
    (lambda A, s: A * s, dict(A=(2, 3), s=()), "dA = dy * s", "ds = sum of dy * A"),
    (lambda A: A[0], dict(A=(2, 3)), "dA = dy, at [0, :]"),
    (lambda A: A[..., 1:], dict(A=(2, 3)), "dA = dy, at [..., 1:]"),
    (lambda A: A[1:, :2], dict(A=(2, 3)), "dA = dy, at [1:, :2]"),
    (lambda A: A[np.array([0, 1, 1])], dict(A=(2, 3)), "dA = dy, at […, :]"),
    (lambda A, B: np.stack([A, B]), AB, "dA = dy[..., 0, :, :]", "dB = dy[..., 1, :, :]"),
    (lambda A, B: np.concatenate([A, B], axis=-1), AB, "dA = dy[..., :3]", "dB = dy[..., 3:]"),
    (lambda A, B: np.concatenate([A, B], axis=0) * 2, AB, "dA = d(concatenate([A, B]))[..., :2, :]", "dB = d(concatenate([A, B]))[..., 2:, :]"),
    (lambda A, B: np.einsum("ij,kj->ik", A, B), AB, "dA = einsum('ik,kj->ij', dy, B)", "dB = einsum('ik,ij->kj', dy, A)"),
    (lambda A: A.reshape(3, 2), dict(A=(2, 3)), "dA = dy, reshaped"),
    (lambda A: A.T, dict(A=(2, 3)), "dA = dy, transposed"),
    (lambda A: A.sum(axis=0), dict(A=(2, 3)), "dA = dy, in every entry"),
    (lambda A: A.mean(axis=0), dict(A=(2, 3)), "dA = dy / 2, in every entry"),
    (lambda A: A.sum(), dict(A=(2, 3)), "dA = 1, in every entry"),
    (lambda A, B: np.maximum(A, B), AB, "dA = dy * ((A > B) + 0)", "dB = dy * ((B > A) + 0)"),
    (lambda A: mg.relu(A), dict(A=(2, 3)), "dA = dy * (A > 0)"),
    (lambda A: mg.softmax(A), dict(A=(2, 3)), "dA = y * (dy - sum(dy * y, axis=-1, keepdims=True))"),
    (lambda A: np.linalg.inv(A), dict(A=(3, 3)), "dA = (-y.T) @ dy @ y.T"),
    (lambda A: mg.softmax_cross_entropy(A, np.array([0, 2])), dict(A=(2, 3)), "dA = (softmax(A) - y) / 2"),
    (lambda A: mg.softmax_cross_entropy(A, np.array([0, 2]), reduction="sum"), dict(A=(2, 3)), "dA = softmax(A) - y"),
    (lambda A: mg.softmax_cross_entropy(A, np.array([0, 2]), reduction="sum") / 3, dict(A=(2, 3)), "dA = (softmax(A) - y) / 3"),
    (lambda A: mg.softmax_cross_entropy(A, np.array([0, 2])) * 3, dict(A=(2, 3)), "dA = (softmax(A) - y) / 2 * 3"),
    (lambda A: mg.binary_cross_entropy(A, ONES, reduction="sum") * 3, dict(A=(2, 3)), "dA = (sigmoid(A) - y) * 3"),
    (lambda A: mg.binary_cross_entropy(A, ONES), dict(A=(2, 3)), "dA = (sigmoid(A) - y) / 6"),
    (lambda A: mg.squared_error(A, ONES, reduction="sum") / 2, dict(A=(2, 3)), "dA = (2 * (A - y)) / 2"),
    (lambda A, b: mg.squared_error(A + b, ONES), dict(A=(2, 3), b=(3,)), "dA = d(A + b)", "db = sum over the batch of d(A + b)"),
]


@pytest.mark.parametrize("fn, shapes, expected", [(fn, shapes, expected) for fn, shapes, *expected in LINES], ids=lambda x: "")
def test_the_line_of_an_argument(fn, shapes, expected):
    assert [line for line, _ in lines(reverse(fn, **shapes)).values()] == expected


def test_what_a_person_would_call_the_adjoint_of_a_mere_sum():
    """x @ W + b has one adjoint, that of the sum: nobody writes another one for the product."""
    r = reverse(lambda x, W, b: np.tanh(x @ W + b), x=(2, 3), W=(3, 4), b=(4,))
    assert {line for line, _ in lines(r).values()} == {"dx = da @ W.T", "dW = x.T @ da", "db = sum over the batch of da"}


WHY = [  # the reason, in rows and in columns
    (lambda A, B: np.tanh(A) * B, AB, False, {"B": "y = tanh(A) * B  ⇒  ∂y/∂B = tanh(A), entry by entry"}),
    (lambda A, b: A + b, dict(A=(2, 3), b=(3,)), False, {"b": "y = A + b  ⇒  ∂y/∂b = 1, entry by entry; it serves every row, so the rows add up"}),
    (lambda A, B: A @ B, dict(A=(2, 3), B=(3, 4)), False, {
        "A": "y = A @ B  ⇒  ∂/∂A multiplies by B.T from the right; every step and row adds its part",
        "B": "y = A @ B  ⇒  ∂/∂B multiplies by A.T from the left; every step and row adds its part"}),
    (lambda A, B: A @ B, dict(A=(2, 3), B=(3, 4)), True, {
        "A": "y = B @ A  ⇒  ∂/∂A multiplies by B.T from the left; every step and row adds its part",
        "B": "y = B @ A  ⇒  ∂/∂B multiplies by A.T from the right; every step and row adds its part"}),
    (lambda A: A.sum(), dict(A=(2, 3)), False, {"A": "y = sum(A)"}),
]


@pytest.mark.parametrize("fn, shapes, column, expected", WHY, ids=lambda x: "")
def test_the_reason(fn, shapes, column, expected):
    found = lines(reverse(fn, column, **shapes))
    assert {name: found[name][1] for name in expected} == expected


def test_the_values_of_two_layers_are_told_apart_by_a_number():
    xs = np.random.default_rng(0).standard_normal((3, 2, 4))
    ys, _ = mg.unroll(mg.stacked(mg.RNNCell(4, 4), mg.RNNCell(4, 4)), xs)
    r = Reverse((ys * ys).sum())
    names = {r.phrases.name(n.id) for n in r.nodes if n.step == 2 and n.op is not None}
    assert {"1.h", "2.h", "a_1.h", "a_2.h"} <= names and not {"h", "a"} & names
    texts = {r.phrases.line(e) for e in r.edges if e.step == 2}
    assert "da_2.h = d2.h * (1 - 2.h**2)" in texts and "d2.W_h += 2.h[t-1].T @ da_2.h" in texts, texts


def test_the_forward_pass_of_a_step():
    r = reverse(lambda A, B: np.tanh(np.stack([A @ B, B @ A])[0] - 2 * A / B[..., :1] + mg.softmax(A)[..., :1]), A=(3, 3), B=(3, 3))
    formulas = {r.phrases.formula(n.id) for n in r.nodes if n.op is not None}
    assert {"tanh(a)", "stack([A @ B, B @ A])[0, :, :] - 2 * A / B[..., :1] + softmax(A)[..., :1]", "A @ B", "B @ A", "stack([A @ B, B @ A])"} <= formulas, formulas
