"""Every form that a compiled step may take gives the unroll's numbers and gradients: sums, products, views, tables, joints."""
import warnings

import numpy as np
import pytest

import minigrad as mg

T, B, D, H = 5, 2, 4, 6
rng = np.random.default_rng(0)
W_x, W_h, b = (mg.parameter(rng.standard_normal(s) / 2, name=n) for n, s in (("W_x", (D, H)), ("W_h", (H, H)), ("b", (H,))))
V = mg.parameter(rng.standard_normal((2, 3, 3)) / 2, name="V")
u = mg.parameter(rng.standard_normal((B, 2)) / 2, name="u")
XS, H0 = rng.standard_normal((T, B, D)), rng.standard_normal((B, H)) / 2


def heads(h):
    return np.reshape(h, (B, 2, 3))


def parts(*which):
    return lambda x, h: np.tanh(np.concatenate([*(p(x, h) for p in which)], axis=-1))


FORMS = {
    "one minus a product": lambda x, h: 1 - np.tanh(x @ W_x) * h,
    "minus a product": lambda x, h: -(np.tanh(h @ W_h) * h) + x @ W_x,
    "a number minus products": lambda x, h: 2 - np.tanh(x @ W_x) * h - np.tanh(h @ W_h) * b,
    "numbers alone and signs": lambda x, h: -h * 3 - 2 * (x @ W_x) + 0.5,
    "a product of many": lambda x, h: np.tanh(h) * np.tanh(x @ W_x) * b * 2 * h,
    "a product minus itself": lambda x, h: np.tanh(h * b - b * h + x @ W_x),
    "squares and quotients": lambda x, h: (x @ W_x) ** 2 / (2 + h * h),
    "einsum": lambda x, h: np.tanh(np.einsum("bnk,nkj->bnj", heads(h), V).reshape(B, H) + x @ W_x),
    "matrices of heads": lambda x, h: np.tanh((heads(h)[:, :, None] @ V).reshape(B, H) * .5 + x @ W_x),
    "axes in another order": lambda x, h: np.tanh(np.transpose(heads(h), (0, 2, 1)).reshape(B, H) + x @ W_x),
    "rows as columns": lambda x, h: np.tanh((W_h.T @ h.T).T + x @ W_x),
    "a table of positions": lambda x, h: np.tanh(h[:, [5, 0, 1, 2, 3, 4]] + x[:, [0, 0, 1, 1, 2, 2]] * b),
    "positions in order": lambda x, h: np.tanh(h[:, np.arange(6)] + x[:, np.arange(4)] @ W_x),
    "one position": lambda x, h: np.tanh(h[:, np.zeros(6, int)] + x @ W_x),
    "steps and reversals": lambda x, h: np.tanh(h[:, ::-1] + np.repeat(x[:, ::2], 3, axis=1)),
    "broadcast": lambda x, h: np.tanh(np.broadcast_to(x[:, :1], (B, H)) * b + h @ W_h),
    "joined": parts(lambda x, h: x @ W_x[:, :2], lambda x, h: u, lambda x, h: h[:, :2] @ W_h[:2, :2]),
    "stacked": lambda x, h: np.tanh(np.stack([x @ W_x[:, :3], h[:, 3:] + 0], axis=1).reshape(B, H)),
    "sums over axes": lambda x, h: np.tanh(h - h.mean(axis=-1, keepdims=True)) + x.sum(axis=1, keepdims=True) * b,
    "softmax": lambda x, h: mg.softmax(x @ W_x + h @ W_h) * 3,
    "gates of one product": lambda x, h: mg.sigmoid((a := h @ W_h + x @ W_x)[:, :3]).sum(axis=1, keepdims=True) * np.tanh(a) + b,
    "only some gates": lambda x, h: np.concatenate([mg.sigmoid((a := h @ W_h + x @ W_x)[:, :2]), np.tanh(a[:, 3:]), u[:, :1]], axis=1),
    "choices": lambda x, h: np.where(h > 0, np.tanh(x @ W_x), h) + np.maximum(h, .1) - abs(h) + np.clip(h, -.3, .3),
    "conditions joined": lambda x, h: np.where(((a := x @ W_x) > .1) & ~(h < .2) | (np.arange(H) < 2) ^ (h < .2) | (a <= 0) & (u[0, 0].data > 9), np.tanh(a), h),
    "in another type for a while": lambda x, h: np.tanh(h + (x @ W_x).astype(np.float32).astype(float)),
}


def run(way, step, **more):
    """Outputs, last state and the gradients of everything."""
    def cell(x, h):
        h = step(x, h)
        return h * 2, h
    xs, h0 = mg.parameter(XS), mg.parameter(H0)
    ys, h = way(cell, xs, h0, **more)[:2]
    weights = np.random.default_rng(1).standard_normal(ys.shape)
    return [ys.data, h.data, *(g.data for g in mg.grad((ys * weights).sum() + (h * h).sum(), [W_x, W_h, b, V, u, xs, h0]))]


@pytest.mark.parametrize("more", [{}, {"lengths": np.array([3, 5])}, {"reverse": True}], ids=["plain", "lengths", "reverse"])
@pytest.mark.parametrize("form", FORMS)
def test_a_form_gives_the_unrolls_numbers(form, more):
    with warnings.catch_warnings():
        warnings.simplefilter("error")                  # it is compiled, not unrolled
        ours = run(mg.scan, FORMS[form], **more)
    for a, reference in zip(ours, run(mg.unroll, FORMS[form], **more)):
        np.testing.assert_allclose(a, reference, rtol=1e-6 if "type" in form else 1e-11, atol=1e-6 if "type" in form else 1e-12)
    assert any(np.abs(g).max() > 1e-3 for g in ours[2:])
