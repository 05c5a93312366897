"""The cells of gated/: the authors' equations in plain NumPy, identities between cells, and independent references."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.recurrent.gated import GRUCell, JANETCell, LayerNormLSTMCell, LSTMCell, MGUCell
from minigrad.recurrent.simple import RNNCell
from tests.recurrent.against import assert_agrees, committed, compare, needs_torch
from tests.references import make_cells

T, B, D, H = 6, 3, 4, 5
XS = np.random.default_rng(5).standard_normal((T, B, D))
ALWAYS = 100.0                                     # a bias at which a gate is open: σ(100) is 1 to the last digit


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def drawn(cls, seed=3, **options):
    """A cell with all of its parameters away from their initial values; and these values."""
    rng = np.random.default_rng(seed)
    cell = cls(D, H, rng=rng, **options)
    for p in cell.parameters().values():
        p.data = p.data + 0.7 * rng.standard_normal(p.shape)
    return cell, cell.state_dict()


def state(*, of=1, seed=4):
    parts = tuple(mg.Tensor(s) for s in 0.7 * np.random.default_rng(seed).standard_normal((of, B, H)))
    return parts if of > 1 else parts[0]


def columns(p, gates):
    """The packed parameters of one gate after the other: [(W_x, W_h, b), …]."""
    return list(zip(*(np.split(p[name], gates, axis=-1) for name in ("W_x", "W_h", "b"))))


def same(cell, other, begin, other_begin=None, tolerance=1e-14):
    """Two cells make the same outputs."""
    ys, _ = mg.unroll(cell, XS, begin)
    want, _ = mg.unroll(other, XS, begin if other_begin is None else other_begin)
    assert_agrees("ys", ys.data, want.data, tolerance)


# ---- the authors' equations, one step -----------------------------------------------------------------------------

def test_peephole_lstm_is_its_equation():
    cell, p = drawn(LSTMCell, peepholes=True)
    h, c = state(of=2)
    (Xi, Hi, bi), (Xf, Hf, bf), (Xg, Hg, bg), (Xo, Ho, bo) = columns(p, 4)
    p_i, p_f, p_o = np.split(p["p"], 3)
    x = XS[0]
    y, (_, new) = cell(x, (h, c))
    h, c = h.data, c.data
    i, f = sigmoid(x @ Xi + h @ Hi + bi + p_i * c), sigmoid(x @ Xf + h @ Hf + bf + p_f * c)
    c = f * c + i * np.tanh(x @ Xg + h @ Hg + bg)
    o = sigmoid(x @ Xo + h @ Ho + bo + p_o * c)                     # the new c
    assert_agrees("c", new.data, c)
    assert_agrees("h", y.data, o * np.tanh(c))


def test_mgu_is_its_equation():
    cell, p = drawn(MGUCell)
    h = state()
    (Xf, Hf, bf), (Xn, Hn, bn) = columns(p, 2)
    y, _ = cell(XS[0], h)
    f = sigmoid(XS[0] @ Xf + h.data @ Hf + bf)
    assert_agrees("h", y.data, (1 - f) * h.data + f * np.tanh(XS[0] @ Xn + (f * h.data) @ Hn + bn))


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.5])
def test_janet_is_its_equation(beta):
    cell, p = drawn(JANETCell, beta=beta)
    h = state()
    (Xf, Hf, bf), (Xn, Hn, bn) = columns(p, 2)
    y, _ = cell(XS[0], h)
    s = XS[0] @ Xf + h.data @ Hf + bf
    assert_agrees("h", y.data, sigmoid(s) * h.data + (1 - sigmoid(s - beta)) * np.tanh(XS[0] @ Xn + h.data @ Hn + bn))


@pytest.mark.parametrize("norm_c", [True, False])
def test_layer_norm_lstm_is_its_equation(norm_c):
    cell, p = drawn(LayerNormLSTMCell, norm_c=norm_c)
    h, c = state(of=2)

    def norm(v):
        return (v - v.mean(-1, keepdims=True)) / np.sqrt(v.var(-1, keepdims=True) + 1e-5)
    y, (_, new) = cell(XS[0], (h, c))
    i, f, g, o = np.split(p["gain_x"] * norm(XS[0] @ p["W_x"]) + p["gain_h"] * norm(h.data @ p["W_h"]) + p["b"], 4, axis=-1)
    c = sigmoid(f) * c.data + sigmoid(i) * np.tanh(g)
    assert_agrees("c", new.data, c)
    assert_agrees("h", y.data, sigmoid(o) * np.tanh(p["gain_c"] * norm(c) + p["b_c"] if norm_c else c))


# ---- identities -----------------------------------------------------------------------------------------------------

def test_peepholes_of_zero_are_none():
    cell, p = drawn(LSTMCell, peepholes=True)
    plain = LSTMCell(D, H)
    plain.load_state_dict({name: value for name, value in p.items() if name != "p"})
    cell.p.data = np.zeros(3 * H)
    same(cell, plain, state(of=2), tolerance=0)


def test_peepholes_leave_the_other_parameters_as_they_were_drawn():
    with_p, without = (LSTMCell(D, H, peepholes=p, rng=np.random.default_rng(1)).state_dict() for p in (True, False))
    assert with_p.keys() - without.keys() == {"p"}
    assert all(np.array_equal(with_p[name], value) for name, value in without.items())


def test_mgu_with_an_open_gate_is_elman():
    cell, p = drawn(MGUCell)
    cell.b.data[:H] = ALWAYS
    elman = RNNCell(D, H)
    elman.load_state_dict(dict(zip(("W_x", "W_h", "b"), columns(p, 2)[1])))
    same(cell, elman, state())


def test_mgu_is_a_gru_with_one_gate():
    """r = f and z = 1 - f = σ(-a_f)."""
    cell, p = drawn(MGUCell)
    f, n = columns(p, 2)
    gru = GRUCell(D, H, reset="before")
    gru.load_state_dict({name: np.concatenate([f[k], -f[k], n[k]], axis=-1) for k, name in enumerate(("W_x", "W_h", "b"))})
    same(cell, gru, state())


def test_janet_without_beta_is_a_gru_that_never_resets():
    cell, p = drawn(JANETCell, beta=0.0)
    f, n = columns(p, 2)
    gru = GRUCell(D, H, reset="before")
    gru.load_state_dict({name: np.concatenate([np.zeros_like(f[k]), f[k], n[k]], axis=-1) for k, name in enumerate(("W_x", "W_h", "b"))})
    gru.b.data[:H] = ALWAYS
    same(cell, gru, state())


def test_janet_that_forgets_is_elman_and_with_a_large_beta_it_only_adds():
    cell, p = drawn(JANETCell)
    elman = RNNCell(D, H)
    elman.load_state_dict(dict(zip(("W_x", "W_h", "b"), columns(p, 2)[1])))
    cell.b.data[:H] = -ALWAYS
    same(cell, elman, state())
    cell, p = drawn(JANETCell, beta=2 * ALWAYS)                   # σ(s - β) = 0, σ(s) = 1
    cell.b.data[:H] = ALWAYS
    h = state()
    y, _ = cell(XS[0], h)
    assert_agrees("h", y.data, h.data + elman(XS[0], h)[0].data)


def test_layer_norm_lstm_does_not_see_the_scale_of_its_products():
    """LN(αv) = LN(v), but for the 1e-5 under the root."""
    cell, _ = drawn(LayerNormLSTMCell)
    other, p = drawn(LayerNormLSTMCell)
    for scaled in ("W_x", "W_h"):
        other.load_state_dict({name: 1000 * value if name == scaled else value for name, value in p.items()})
        same(cell, other, state(of=2), tolerance=1e-3)


def test_layer_norm_lstm_with_gains_of_zero_depends_on_its_biases_only():
    cell, p = drawn(LayerNormLSTMCell)
    cell.load_state_dict({name: 0 * value if name.startswith("gain") else value for name, value in p.items()})
    i, f, g, o = np.split(p["b"], 4)
    ys, (_, c) = mg.unroll(cell, XS, state(of=2))
    assert_agrees("h", ys.data, np.broadcast_to(sigmoid(o) * np.tanh(p["b_c"]), ys.shape))
    assert_agrees("c", c.data, sigmoid(f) ** T * state(of=2)[1].data
                  + sigmoid(i) * np.tanh(g) * (1 - sigmoid(f) ** T) / (1 - sigmoid(f)))


# ---- initial values -------------------------------------------------------------------------------------------------

def test_where_the_biases_start():
    assert np.all(MGUCell(D, H).b.data[:H] == 1) and np.all(MGUCell(D, H, forget_bias=-2.0).b.data[:H] == -2)
    assert np.all(JANETCell(D, H).b.data[:H] == 1)
    assert LayerNormLSTMCell(D, H).b.data.tolist() == [0] * H + [1] * H + [0] * 2 * H
    times = np.exp(JANETCell(1, 300, t_max=101).b.data)          # chrono: uniform in 1 … 100
    assert 1 <= times[:300].min() < 3 and 98 < times[:300].max() <= 100 and abs(times[:300].mean() - 50.5) < 5
    assert np.all(times[300:] == 1)


@pytest.mark.parametrize("t_max", [1, 0.5, -3, "long", float("nan")])
def test_janet_says_what_t_max_is(t_max):
    with pytest.raises(ValueError, match=f"JANETCell got t_max={t_max!r}; expected a number of steps, at least 2"):
        JANETCell(2, 3, t_max=t_max)


# ---- references -----------------------------------------------------------------------------------------------------

def in_columns(*names):
    """The reference's matrices by gate, W x, as our packed ones, x W."""
    return lambda a: {"W_x": np.concatenate([a[f"W_{n}"].T for n in names], 1), "W_h": np.concatenate([a[f"U_{n}"].T for n in names], 1),
                      "b": np.concatenate([a[f"b_{n}"] for n in names])}


def reordered(order):
    """Columns of four gates in another order."""
    return lambda v: np.concatenate([np.split(v, 4, axis=-1)[k] for k in order], axis=-1)


def layer_norm(a):
    ours = reordered([1, 0, 3, 2])                                # theirs: f, i, o, g
    packed = {"W_x": ours(a["W_x"].T), "W_h": ours(a["W_h"].T), "gain_x": ours(a["alpha_2"]), "gain_h": ours(a["alpha_1"]), "b": ours(a["b"])}
    return packed | ({"gain_c": a["alpha_3"], "b_c": a["beta_3"]} if "alpha_3" in a else {})


def onnx(a):
    ours = reordered([0, 2, 3, 1])                                # theirs: i, o, f, c
    i, o, f = np.split(a["P"][0], 3)
    return {"W_x": ours(a["W"][0].T), "W_h": ours(a["R"][0].T), "b": ours(sum(np.split(a["B"][0], 2))), "p": np.concatenate([i, f, o])}


REFERENCES: dict[str, tuple] = {
    "mgu": (MGUCell, {}, in_columns("f", "h")), "janet": (JANETCell, {}, in_columns("f", "c")),
    "layer_norm_lstm": (LayerNormLSTMCell, {}, layer_norm), "layer_norm_lstm_plain": (LayerNormLSTMCell, {"norm_c": False}, layer_norm),
    "onnx_peepholes": (LSTMCell, {"peepholes": True}, onnx)}


def against(case, a):
    cls, options, packed = REFERENCES[case]
    compare(a, cls(make_cells.D, make_cells.H, **options), packed)


@pytest.mark.parametrize("case", REFERENCES)
def test_committed_reference(case):
    against(case, committed(case))


@needs_torch
@pytest.mark.parametrize("case", [case for case in REFERENCES if "onnx" not in case])
def test_live(case):
    against(case, make_cells.reference(case))
