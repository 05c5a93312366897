"""Time: unroll against the plain loop for every cell; lengths, reversal, states, steps; a recursion derived by hand."""
from typing import NamedTuple

import weakref

import numpy as np
import pytest

import minigrad as mg
from minigrad.nested import flatten

T, B, D, H = 5, 3, 2, 4


def make_rng():
    return np.random.default_rng(17)


CELLS = {
    "tanh": lambda rng: mg.RNNCell(D, H, rng=rng), "relu": lambda rng: mg.RNNCell(D, H, nonlinearity="relu", rng=rng),
    "gru after": lambda rng: mg.GRUCell(D, H, rng=rng),
    "gru before": lambda rng: mg.GRUCell(D, H, reset="before", rng=rng),
    "lstm": lambda rng: mg.LSTMCell(D, H, rng=rng),
    "stacked": lambda rng: mg.stacked(mg.LSTMCell(D, 3, rng=rng), mg.GRUCell(3, H, rng=rng)),
}
XS = make_rng().standard_normal((T, B, D))
WEIGHTS = make_rng().standard_normal((T, B, H))


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def step_by_hand(name, p, x, state):
    """The equations of each cell's docstring in plain NumPy, gate by gate."""
    if name in ("tanh", "relu"):
        a = x @ p["W_x"] + state @ p["W_h"] + p["b"]
        h = np.tanh(a) if name == "tanh" else np.maximum(a, 0)
        return h, h
    if name.startswith("gru"):
        (Xr, Xz, Xn), (Hr, Hz, Hn) = np.split(p["W_x"], 3, 1), np.split(p["W_h"], 3, 1)
        if name == "gru after":
            (br, bz, bn), (cr, cz, cn) = np.split(p["b_x"], 3), np.split(p["b_h"], 3)
            r, z = sigmoid(x @ Xr + br + state @ Hr + cr), sigmoid(x @ Xz + bz + state @ Hz + cz)
            n = np.tanh(x @ Xn + bn + r * (state @ Hn + cn))
        else:
            br, bz, bn = np.split(p["b"], 3)
            r, z = sigmoid(x @ Xr + br + state @ Hr), sigmoid(x @ Xz + bz + state @ Hz)
            n = np.tanh(x @ Xn + bn + (r * state) @ Hn)
        h = (1 - z) * n + z * state
        return h, h
    h, c = state
    i, f, g, o = np.split(x @ p["W_x"] + h @ p["W_h"] + p["b"], 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    return h, (h, c)


@pytest.mark.parametrize("name", [n for n in CELLS if n != "stacked"])
def test_a_step_is_the_equation_of_the_docstring(name):
    rng = make_rng()
    cell = CELLS[name](rng)
    state = tuple(rng.standard_normal((B, H)) for _ in range(2)) if name == "lstm" else rng.standard_normal((B, H))
    given = tuple(map(mg.Tensor, state)) if name == "lstm" else mg.Tensor(state)
    want, got = step_by_hand(name, cell.state_dict(), XS[0], state), cell(mg.Tensor(XS[0]), given)
    assert all(np.allclose(a, b.data, rtol=1e-13) for a, b in zip(flatten(want), flatten(got)))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_unroll_is_the_plain_loop(name, reverse):
    """The same outputs, states and gradients, bit by bit."""
    found = []
    for by_hand in (True, False):
        cell, xs = CELLS[name](make_rng()), mg.parameter(XS)
        if by_hand:
            state, ys = cell.initial_state(B), [None] * T
            for t in reversed(range(T)) if reverse else range(T):
                ys[t], state = cell(xs[t], state)
            ys = np.stack(ys)
        else:
            ys, state = mg.unroll(cell, xs, reverse=reverse)
        loss = (ys * WEIGHTS).sum() + sum((s * s).sum() for s in flatten(state))
        loss.backward()
        found.append([ys.data, *(s.data for s in flatten(state)), xs.grad,
                      *(p.grad for p in cell.parameters().values())])
    assert all(np.array_equal(a, b) for a, b in zip(*found))


@pytest.mark.parametrize("name", CELLS)
def test_lengths_keep_the_old_state_and_give_zero_output(name):
    cell, lengths = CELLS[name](make_rng()), np.array([5, 2, 0])
    ys, state, states = mg.unroll(cell, XS, lengths=lengths, states=True)
    full, _ = mg.unroll(cell, XS)
    for row, n in enumerate(lengths):
        assert np.allclose(ys.data[:n, row], full.data[:n, row], rtol=1e-15) and not ys.data[n:, row].any()
        for last, at_n in zip(flatten(state), flatten(states[n])):
            assert np.array_equal(last.data[row], at_n.data[row])


@pytest.mark.parametrize("name", CELLS)
def test_reverse_within_lengths_is_reversing_each_row_by_hand(name):
    cell, lengths = CELLS[name](make_rng()), [5, 2, 3]
    flipped = XS.copy()
    for row, n in enumerate(lengths):
        flipped[:n, row] = XS[:n, row][::-1]
    ys, state = mg.unroll(cell, XS, lengths=mg.Tensor(lengths), reverse=True)
    want, want_state = mg.unroll(cell, flipped, lengths=lengths)
    for row, n in enumerate(lengths):
        assert np.allclose(ys.data[:n, row], want.data[:n, row][::-1], rtol=1e-14) and not ys.data[n:, row].any()
    for a, b in zip(flatten(state), flatten(want_state)):
        assert np.allclose(a.data, b.data, rtol=1e-14)


def test_the_list_of_states_are_the_steps_own_nodes():
    cell = mg.RNNCell(D, H)
    ys, last, states = mg.unroll(cell, XS, states=True)
    assert len(states) == T + 1 and states[-1] is last and states[0].op is None
    assert [s.place.step for s in states[1:]] == [1, 2, 3, 4, 5]
    ys.sum().backward(keep=True)
    assert all(s.grad is not None for s in states[1:])
    _, first, backwards = mg.unroll(cell, XS, reverse=True, states=True)
    assert [s.place.step for s in backwards[1:]] == [5, 4, 3, 2, 1] and backwards[-1] is first


@pytest.mark.parametrize("lengths", [None, [5, 2, 3]])
def test_bidirectional_is_two_unrolls_side_by_side(lengths):
    rng = make_rng()
    left, right = mg.LSTMCell(D, 3, rng=rng), mg.RNNCell(D, H, rng=rng)
    net = mg.bidirectional(left, right)
    start = (tuple(mg.Tensor(rng.standard_normal((B, 3))) for _ in range(2)), mg.Tensor(rng.standard_normal((B, H))))
    for state in (None, start):
        ys, (a, b) = net(XS, state, lengths=lengths)
        one, a_alone = mg.unroll(left, XS, state and state[0], lengths=lengths)
        two, b_alone = mg.unroll(right, XS, state and state[1], lengths=lengths, reverse=True)
        assert np.array_equal(ys.data, np.concatenate([one.data, two.data], -1))
        assert all(np.array_equal(p.data, q.data) for p, q in zip(flatten((a, b)), flatten((a_alone, b_alone))))
    assert list(net.parameters()) == ["forward.W_x", "forward.W_h", "forward.b", "backward.W_x", "backward.W_h",
                                      "backward.b"]


# ---- kinds of sequences, cells and states ----------------------------------------------------------------------------
def test_sequences_of_every_kind_give_the_same():
    cell = mg.RNNCell(D, H, rng=make_rng())
    want = mg.unroll(cell, XS)[0].data
    leaf, parts = mg.parameter(XS), [mg.parameter(x) for x in XS]
    for xs in (leaf, mg.Tensor(XS), XS.tolist(), list(XS), parts, [*parts[:2], *XS[2:]]):
        assert np.array_equal(mg.unroll(cell, xs)[0].data, want)
    mg.unroll(cell, parts)[0].sum().backward()
    mg.unroll(cell, leaf)[0].sum().backward()
    assert all(np.array_equal(p.grad, g) for p, g in zip(parts, leaf.grad))


def test_the_sequence_is_copied():
    cell, xs = mg.RNNCell(D, H, rng=make_rng()), XS.copy()
    ys, _ = mg.unroll(cell, xs)
    xs[...] = 0
    ys.sum().backward()
    want = [p.grad.copy() for p in cell.parameters().values()]
    for p in cell.parameters().values():
        p.grad = None
    mg.unroll(cell, XS)[0].sum().backward()
    assert all(np.array_equal(p.grad, w) for p, w in zip(cell.parameters().values(), want))


@pytest.mark.parametrize("name", CELLS)
def test_without_a_batch(name):
    cell = CELLS[name](make_rng())
    ys, state = mg.unroll(cell, XS[:, 1])
    want, want_state = mg.unroll(cell, XS)
    assert ys.shape == (T, H) and np.allclose(ys.data, want.data[:, 1], rtol=1e-13)
    assert all(np.allclose(a.data, b.data[1], rtol=1e-13) for a, b in zip(flatten(state), flatten(want_state)))


@pytest.mark.parametrize("make", [mg.RNNCell, mg.GRUCell, mg.LSTMCell])
def test_float32_stays_float32(make):
    cell = make(D, H, dtype=np.float32)
    ys, state = mg.unroll(cell, XS.astype(np.float32), lengths=[5, 2, 3])
    ys.sum().backward()
    assert all(a.dtype == np.float32 for a in (ys, *flatten(state), *(p.grad for p in cell.parameters().values())))


class State(NamedTuple):
    h: mg.Tensor
    memory: dict


def test_nested_states_keep_their_nesting():
    W = mg.parameter(make_rng().standard_normal((D, D)))

    def cell(x, state):
        h = np.tanh(x @ W + state.h)
        return h, State(h, {"sum": state.memory["sum"] + h, "previous": [state.h], "nothing": None})
    zero = np.zeros((B, D))
    start = State(mg.parameter(zero), {"sum": mg.Tensor(zero), "previous": [zero], "nothing": None})
    for lengths in (None, [5, 2, 1]):
        ys, state = mg.unroll(cell, XS, start, lengths=lengths)
        assert type(state) is State and list(state.memory) == ["sum", "previous",
                                                               "nothing"] and type(state.memory["previous"]) is list
        assert np.allclose(state.memory["sum"].data, ys.data.sum(0))
    state.memory["previous"][0].sum().backward()
    assert start.h.grad is not None
    cut = mg.detach(state)
    assert type(cut) is State and not any(leaf.requires_grad for leaf in flatten(cut)) and cut.memory["nothing"] is None


def test_a_trainable_initial_state():
    cell, h0 = mg.RNNCell(D, H, rng=make_rng()), mg.parameter(np.zeros(H), name="h0")
    ys, _ = mg.unroll(cell, XS, h0 + np.zeros((B, H)))
    (ys * WEIGHTS).sum().backward()
    step, slope = np.eye(H), np.zeros(H)
    for i in range(H):
        up, down = (mg.unroll(cell, XS, mg.Tensor(s * 1e-6 * step[i] + np.zeros((B, H))))[0].data for s in (1, -1))
        slope[i] = ((up - down) * WEIGHTS).sum() / 2e-6
    assert np.allclose(h0.grad, slope, rtol=1e-7)


def test_functions_are_cells_and_outputs_may_be_constants():
    ys, total = mg.unroll(lambda x, s: (s * 2, s + x), [1.0, 2.0, 3.0], mg.Tensor(0.0))
    assert ys.data.tolist() == [0, 2, 6] and total.item() == 6
    ys, _ = mg.unroll(lambda x, s: (x.data * 2, s), XS, ())
    assert type(ys) is mg.Tensor and np.array_equal(ys.data, XS * 2)
    rows = mg.parameter(np.eye(4))
    ys, _ = mg.unroll(lambda k, s: (rows[k], s), np.array([[0, 1], [3, 2]]), ())       # integers: (T, B) is a batch
    assert ys.shape == (2, 2, 4)


def test_truncated_bptt_stops_at_detach():
    cell, xs = mg.RNNCell(D, H, rng=make_rng()), mg.parameter(XS)
    _, state = mg.unroll(cell, xs[:3])
    ys, _ = mg.unroll(cell, xs[3:], mg.detach(state))
    (ys * ys).sum().backward()
    assert not xs.grad[:3].any() and xs.grad[3:].all()
    chunk = {n: p.grad for n, p in cell.parameters().items()}
    alone = mg.RNNCell(D, H, rng=make_rng())
    ys, _ = mg.unroll(alone, XS[3:], mg.Tensor(state.data))
    (ys * ys).sum().backward()
    assert all(np.array_equal(p.grad, chunk[n]) for n, p in alone.parameters().items())


def test_complex_step_goes_through_a_real_state():
    cell = mg.RNNCell(D, H, rng=make_rng())
    xs = mg.parameter(XS)
    (mg.unroll(cell, xs)[0] * WEIGHTS).sum().backward()
    bumped = XS.astype(complex)
    bumped[1, 2, 0] += 1e-30j
    slope = (mg.unroll(cell, mg.Tensor(bumped))[0].data * WEIGHTS).sum().imag / 1e-30
    assert np.isclose(slope, xs.grad[1, 2, 0], rtol=1e-13)


# ---- steps -----------------------------------------------------------------------------------------------------------
def test_steps_mark_time_and_nothing_outside():
    h, seen = mg.parameter(np.zeros((B, D))), []
    for x in mg.steps(XS):
        assert isinstance(x, mg.Tensor)
        h = np.tanh(x + h)
        seen.append((x.place.step, h.place.step, repr(h.place)))
    assert seen == [(t, t, f"t={t}") for t in range(1, T + 1)] and (h * 2).place is None
    for x in mg.steps(XS):
        break
    assert (h * 2).place is None                # also after leaving early


def test_steps_over_several_sequences_and_backwards():
    leaf, words = mg.parameter(XS), [3, 1, 4, 1, 5]
    total, order = 0.0, []
    for x, word, y in mg.steps(leaf, words, [mg.Tensor(v) for v in XS], reverse=True):
        total = total + (x * y).sum() * word
        order.append((x.place.step, word.item()))
    assert order == [(5, 5), (4, 1), (3, 4), (2, 1), (1, 3)]
    total.backward()
    assert np.allclose(leaf.grad, XS * np.array(words)[:, None, None])


def test_steps_within_steps():
    places = []
    for row in mg.steps(np.ones((2, 3))):
        for x in mg.steps(row):
            y = x * mg.parameter(1.0)
            places.append((y.place.step, y.place.outer.step))
        places.append((row * mg.parameter(1.0)).place.step)
    assert places == [(1, 1), (2, 1), (3, 1), 1, (1, 2), (2, 2), (3, 2), 2]


# ---- the recursion derived by hand, for long -------------------------------------------------------------------------
def elman_bptt(p, X, targets, V):
    """Gradients of h_t = tanh(x_t W_x + h_{t-1} W_h + b), softmax cross-entropy of h_t V, by the reverse recursion:

        δ_t = (ŷ_t - y_t) Vᵀ + (δ_{t+1} ⊙ (1 - h_{t+1}²)) W_hᵀ
        a_t = δ_t ⊙ (1 - h_t²),  dW_h = Σ h_{t-1}ᵀ a_t,  dW_x = Σ x_tᵀ a_t,  db = Σ a_t,  dV = Σ h_tᵀ (ŷ_t - y_t)
    """
    T, B, _ = X.shape
    hs = [np.zeros((B, p["W_h"].shape[0]))]
    for x in X:
        hs.append(np.tanh(x @ p["W_x"] + hs[-1] @ p["W_h"] + p["b"]))
    g = {n: np.zeros_like(a) for n, a in p.items()} | {"V": np.zeros_like(V)}
    later = np.zeros_like(hs[0])
    for t in reversed(range(T)):
        z = np.exp(hs[t + 1] @ V)
        error = z / z.sum(-1, keepdims=True)
        error[np.arange(B), targets[t]] -= 1
        error /= T * B
        g["V"] += hs[t + 1].T @ error
        inner = (error @ V.T + later) * (1 - hs[t + 1] ** 2)
        g["W_h"] += hs[t].T @ inner
        g["W_x"] += X[t].T @ inner
        g["b"] += inner.sum(0)
        later = inner @ p["W_h"].T
    return g


@pytest.mark.parametrize("T", [3, 2_000])
def test_elman_against_the_recursion_derived_by_hand(T):
    rng = make_rng()
    cell, V = mg.RNNCell(3, 8, rng=rng), mg.parameter(rng.standard_normal((8, 5)))
    X, targets = rng.standard_normal((T, 4, 3)), rng.integers(5, size=(T, 4))
    ys, _ = mg.unroll(cell, X)
    mg.softmax_cross_entropy(ys @ V, targets).backward()
    for name, want in elman_bptt(cell.state_dict(), X, targets, V.data).items():
        got = V.grad if name == "V" else cell.parameters()[name].grad
        assert np.abs(got - want).max() <= 1e-12 * np.abs(want).max(), name


def test_nan_in_the_padding_reaches_nothing():
    cell, xs = mg.RNNCell(3, 4, rng=np.random.default_rng(0)), np.random.default_rng(1).standard_normal((4, 2, 3))
    padded = xs.copy()
    padded[2:, 0] = np.nan
    grads = []
    for data in (xs, padded):
        cell.W_x.grad = None
        ys, h = mg.unroll(cell, data, lengths=[2, 4])
        (ys.sum() + h.sum()).backward()
        grads.append(cell.W_x.grad)
    assert np.array_equal(*grads)


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_training_loop_keeps_no_old_graph_alive(by_hand):
    cell, xs = mg.RNNCell(3, 4, rng=np.random.default_rng(0)), np.ones((3, 2, 3))
    h, alive = mg.Tensor(np.zeros((2, 4))), []
    for _ in range(4):
        if by_hand:
            h = mg.detach(h)
            for x in mg.steps(xs):
                y, h = cell(x, h)
        else:
            y, h = mg.unroll(cell, xs, mg.detach(h))
        loss = (y * y).sum()
        loss.backward()
        alive.append(weakref.ref(loss))
    assert [r() is not None for r in alive] == [False, False, False, True]


# ---- several sequences side by side -------------------------------------------------------------------------------------
@pytest.mark.parametrize("options", [{}, {"reverse": True}, {"lengths": np.array([4, 2])}, {"checkpoint_every": 2}], ids=str)
@pytest.mark.parametrize("make", [lambda a, b: (a, b), lambda a, b: {"x": a, "gain": b}, lambda a, b: ({"x": a}, b)],
                         ids=["tuple", "dict", "nested"])
def test_several_sequences_side_by_side(make, options):
    """A tuple or dict of sequences gives tuples or dicts of elements: as if they stood in one array."""
    rng = np.random.default_rng(0)
    cell, a, b = mg.RNNCell(3, 4), mg.parameter(rng.standard_normal((4, 2, 3))), rng.standard_normal((4, 2, 3))

    def both(parts, h):
        x, gain = flatten(parts)
        return cell(x * gain, h)
    h0 = cell.initial_state(2)
    ys, h = mg.unroll(both, make(a, b), h0, **options)
    expected, last = mg.unroll(cell, a * b, h0, **options)
    assert np.array_equal(ys.data, expected.data) and np.array_equal(h.data, last.data)
    for ours, theirs in zip(mg.grad((ys * ys).sum(), [a, cell.W_x]), mg.grad((expected * expected).sum(), [a, cell.W_x])):
        assert np.allclose(ours.data, theirs.data, rtol=1e-13, atol=1e-15)


def test_sequences_of_different_lengths():
    with pytest.raises(ValueError, match=r"lengths \[4, 5\].*a tuple or dict is several"):
        mg.unroll(lambda x, h: (h, h), (np.ones((4, 2)), np.ones((5, 2))), np.zeros(2))


def test_a_list_of_one_step():
    """A list of Tensors is a sequence, of one step too; whole numbers have no axis of features."""
    cell, x = mg.RNNCell(2, 4), np.random.default_rng(0).standard_normal((3, 2))
    ys, h = mg.unroll(cell, [mg.Tensor(x)])
    assert np.array_equal(ys.data, mg.unroll(cell, x[None])[0].data) and h.shape == (3, 4)

    class Words(mg.Module):
        initial_state = cell.initial_state

        def __call__(self, x, h):
            return cell(np.eye(2)[x.data], h)
    ys, h = mg.unroll(Words(), [mg.Tensor(np.array([0, 1, 1]))])
    assert ys.shape == (1, 3, 4) and h.shape == (3, 4)
