"""Taps: named values of every step, read from the graph after the fact."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.graph import Graph
from minigrad.queries import taps
from minigrad.recurrent.wrappers import dropout, zoneout

T, B, D, H = 5, 2, 3, 4
XS = np.random.default_rng(0).standard_normal((T, B, D))


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def lstm(p, xs, h, c):
    """The LSTM's equations step by step: what the taps should hold."""
    found = {name: [] for name in "ifgoch"}
    for x in xs:
        i, f, g, o = np.split(x @ p["W_x"] + h @ p["W_h"] + p["b"], 4, axis=-1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        c = f * c + i * g
        h = o * np.tanh(c)
        for name, value in zip("ifgoch", (i, f, g, o, c, h)):
            found[name].append(value)
    return found


@pytest.mark.parametrize("reverse", [False, True])
def test_the_gates_of_an_lstm_are_its_equations(reverse):
    cell = mg.LSTMCell(D, H, rng=np.random.default_rng(1))
    ys, _ = mg.unroll(cell, XS, reverse=reverse)
    want = lstm(cell.state_dict(), XS[::-1] if reverse else XS, np.zeros((B, H)), np.zeros((B, H)))
    kept = taps(ys, *"ifgoch")
    assert list(kept) == list("ifgoch")
    for name, values in kept.items():
        assert np.allclose([v.data for v in values], want[name][::-1] if reverse else want[name], rtol=1e-13)
        assert [v.place.step for v in values] == [1, 2, 3, 4, 5]


def test_they_are_the_steps_own_nodes():
    """∂loss/∂c_t by the recursion of Hochreiter & Schmidhuber, derived by hand for a loss on every h_t."""
    cell, G = mg.LSTMCell(D, H, rng=np.random.default_rng(1)), np.random.default_rng(3).standard_normal((T, B, H))
    ys, _, states = mg.unroll(cell, XS, states=True)
    kept = taps(ys, "c", "h")
    assert all(c is s[1] and h is s[0] for c, h, s in zip(kept["c"], kept["h"], states[1:]))
    loss = (ys * G).sum()
    v, dh, dc, want = lstm(cell.state_dict(), XS, np.zeros((B, H)), np.zeros((B, H))), 0, 0, []
    for t in reversed(range(T)):
        i, f, g, o, c = (v[n][t] for n in "ifgoc")
        before = v["c"][t - 1] if t else 0
        dh = dh + G[t]
        dc = dc + dh * o * (1 - np.tanh(c) ** 2)
        want.append(dc)
        inner = np.concatenate([dc * g * i * (1 - i), dc * before * f * (1 - f), dc * i * (1 - g * g), dh * np.tanh(c) * o * (1 - o)], -1)
        dh, dc = inner @ cell.W_h.data.T, dc * f
    assert all(np.allclose(got.data, w, rtol=1e-12, atol=1e-15) for got, w in zip(mg.grad(loss, kept["c"]), want[::-1]))


def test_all_names_there_are():
    ys, _ = mg.unroll(mg.LSTMCell(D, H), XS)
    assert {name: len(values) for name, values in taps(ys).items()} == dict.fromkeys("xaifgoch", T)


def test_layers_directions_and_helpers_are_numbered():
    deep = mg.stacked(mg.LSTMCell(D, H), mg.LSTMCell(H, H))
    ys, (one, two) = mg.unroll(deep, XS)
    kept = taps(ys, "1.h", "2.h", "2.c")
    assert kept["1.h"][-1] is one[0] and kept["2.h"][-1] is two[0] and kept["2.c"][-1] is two[1]
    ys, ((_, left), (_, right)) = mg.bidirectional(mg.LSTMCell(D, H), mg.LSTMCell(D, H))(XS)
    kept = taps(ys, "1.c", "2.c")
    assert kept["1.c"][-1] is left and kept["2.c"][0] is right
    W = mg.parameter(np.ones((D, D)))

    def gate(z):
        inner = z @ W
        return np.tanh(inner)

    def cell(x, h):
        first, second = gate(x), gate(h)
        h = first + second
        h = 0.5 * h
        return h, h
    ys, last = mg.unroll(cell, XS, mg.Tensor(np.zeros((B, D))))
    kept = taps(ys, "1.inner", "2.inner", "first", "h")
    assert np.allclose(kept["1.inner"][3].data, XS[3] @ W.data) and kept["h"][-1] is last       # assigned twice: the last value
    with pytest.raises(ValueError, match=r"found 'inner' in several functions of a step: 1.inner, 2.inner; say which"):
        taps(ys, "inner")


def test_loops_written_by_hand():
    W, h, kept = mg.parameter(np.eye(D)), mg.Tensor(np.zeros((B, D))), []
    for x in mg.steps(XS):
        z = mg.sigmoid(x @ W)
        h = np.tanh(h @ W) * z + x
        kept.append(z)
    assert all(a is b for a, b in zip(taps(h, "z")["z"], kept))


def test_wrappers_are_looked_through():
    for wrap in (lambda c: zoneout(c, 0.3), lambda c: dropout(c, 0.3, on="state", per="sequence"), mg.stacked):
        ys, state = mg.unroll(wrap(mg.LSTMCell(D, H)), XS)
        assert set("ifgoch") <= set(taps((ys, state)))


def test_several_roots_reach_what_one_does_not():
    ys, (h, c) = mg.unroll(mg.LSTMCell(D, H), XS)
    with pytest.raises(ValueError, match="found no 'o' at t=5: what it got does not depend on it there"):
        taps(c, "o")
    assert len(taps((c, [h]), "o")["o"]) == T and "o" not in taps(c)


def branching(x, state):
    h, k = state
    if k.item() % 2:
        new = np.tanh(x + h)
        h = new * h
    else:
        gate = mg.sigmoid(x) * h
        h = gate + h
    return h, (h, k + 1)


def test_steps_that_go_another_way_than_the_first_have_no_wrong_names():
    ys, _ = mg.unroll(branching, XS, (mg.parameter(np.ones((B, D))), mg.Tensor(0)))
    assert {n.op.name for n in Graph.of(ys).nodes if n.name == "gate"} == {"multiply"}
    with pytest.raises(ValueError, match=r"no 'gate' at t=2: .* or the cell went another way .* name the value in the cell: gate.name = 'gate'"):
        taps(ys, "gate")


def test_a_value_that_the_cell_names_itself():
    def cell(x, state):
        h, state = branching(x, state)
        shown = h * 2
        shown.name = "shown"
        return shown, (h, state[1])
    ys, _ = mg.unroll(cell, XS, (mg.parameter(np.ones((B, D))), mg.Tensor(0)))
    assert [v.place.step for v in taps(ys, "shown")["shown"]] == [1, 2, 3, 4, 5]


def test_unknown_names_and_graphs_without_steps():
    cell = mg.GRUCell(D, H)
    ys, _ = mg.unroll(cell, XS)
    with pytest.raises(ValueError, match="taps\\(\\) found no 'c'; there are: x, a, u, rz, r, z, n, h"):
        taps(ys, "c")
    with pytest.raises(ValueError, match="found no time steps: what it got was not computed by mg.unroll or a loop over mg.steps"):
        taps(mg.parameter(1.0) * 2, "c")
    with mg.no_grad(), pytest.raises(ValueError, match=r"or under mg.no_grad\(\), which records nothing"):
        taps(mg.unroll(cell, XS)[0], "z")
    with pytest.raises(ValueError, match=r"found no time steps: unroll\(…, checkpoint_every=…\) does not keep them; run it without"):
        taps(mg.unroll(cell, XS, checkpoint_every=2)[0], "z")
    with pytest.raises(TypeError, match="needs Tensors, got str"):
        taps("c", ys)
