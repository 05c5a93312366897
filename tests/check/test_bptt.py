"""bptt: every term is the gradient with respect to an untied copy, and all of them add up to the gradient."""
import sys

import numpy as np
import pytest

import minigrad as mg
from minigrad.check.bptt import bptt
from minigrad.nested import flatten
from tests.recurrent.test_every_cell import B, D, T, Probe, every_cell, floats


def close(a, b, tolerance=1e-12):
    assert np.shape(a) == np.shape(b)
    assert np.max(np.abs(a - b), initial=0.0) <= tolerance * max(np.max(np.abs(b), initial=0.0), 1e-3)


def per_step(ys):
    """One loss of each step, in which every entry counts."""
    ys = list(ys)
    weights = np.random.default_rng(5).uniform(0.5, 1.5, ys[0].shape)
    return [(y * y * weights).sum() for y in ys]


def untied(cell, name, xs, state):
    """(losses, copies): the cell run by hand, with a copy of one parameter for each step: the definition of a term."""
    original = cell.parameters()[name]
    *path, attribute = name.split(".")
    owner = cell
    for part in path:
        owner = owner[int(part)] if part.isdigit() else getattr(owner, part) if not isinstance(owner, dict) else owner[part]
    copies, ys = [mg.parameter(original.data) for _ in range(len(xs))], []
    for copy, x in zip(copies, xs):
        setattr(owner, attribute, copy)
        y, state = cell(x, state)
        ys.append(y)
    setattr(owner, attribute, original)
    return per_step(ys), copies


# ---- exact, for every cell ------------------------------------------------------------------------------------------------

@every_cell
def test_terms_are_the_gradients_of_untied_copies(cls, options):
    probe = Probe(cls, options)
    ys, _, states = mg.unroll(probe.cell, probe.xs, probe.state, states=True)
    losses = per_step(ys)
    for name, p in probe.cell.parameters().items():
        double = bptt(losses, states, p)
        apart, copies = untied(probe.cell, name, probe.xs, probe.state)
        for t, loss in enumerate(apart):
            for k, (copy, g) in enumerate(zip(copies, mg.grad(loss, copies))):
                close(double.terms[t, k], g.data)
                assert np.isclose(double.norms[t, k], np.linalg.norm(g.data), rtol=1e-11, atol=1e-15)
        total, = mg.grad(sum(losses), p)
        close(double.gradient, total.data)
        assert double.error <= 1e-12 and double.name == name.split(".")[-1]


def floating(state):
    """The parts of the state that have gradients; a clock has none."""
    return [s for s in flatten(state) if s.dtype.kind in "fc"]


@every_cell
def test_the_initial_state_and_the_inputs_are_parameters_too(cls, options):
    probe = Probe(cls, options)
    ys, _, states = mg.unroll(probe.cell, probe.xs, probe.state, states=True)
    losses = per_step(ys)
    for p in [probe.xs, *floating(probe.state)]:
        double = bptt(losses, states, p)
        close(double.gradient, mg.grad(sum(losses), p)[0].data)
    inputs = bptt(losses, states, probe.xs)
    for k in range(T):                                              # x_k is used at step k and at no other
        assert not np.delete(inputs.terms[:, k], k, axis=1).any() and inputs.norms[k, k] > 0


@every_cell
def test_jacobians_of_the_whole_state_multiply(cls, options):
    probe = Probe(cls, options)
    ys, _, states = mg.unroll(probe.cell, probe.xs, probe.state, states=True)
    double = bptt(per_step(ys), states, next(iter(probe.cell.parameters().values())))
    steps = [double.jacobian(t, t - 1) for t in range(1, T + 1)]
    close(double.jacobian(T, 0), np.linalg.multi_dot(steps[::-1]))
    start = np.concatenate([s.data.ravel() for s in floating(probe.state)])
    by_column = np.empty((start.size, start.size))
    sizes = np.cumsum([s.size for s in floating(probe.state)])[:-1]
    for j in range(start.size):                                     # by the complex step, independent of every rule
        moved = np.split(start + 1e-30j * (np.arange(start.size) == j), sizes)
        parts = iter([mg.Tensor(m.reshape(s.shape)) for m, s in zip(moved, floating(probe.state))])
        _, after = probe.cell(probe.xs.data[0], floats(probe.state, lambda _: next(parts)))
        by_column[:, j] = np.concatenate([s.data.ravel().imag / 1e-30 for s in floating(after)])
    close(steps[0], by_column, 1e-11)
    assert np.array_equal(double.jacobian(2, 2), np.eye(start.size))
    own = np.concatenate([np.arange(s.size).reshape(B, -1)[1] + offset for s, offset in zip(floating(probe.state), [0, *sizes])])
    close(double.jacobian(2, 1, row=1), double.jacobian(2, 1)[own][:, own])
    assert np.array_equal(double.jacobian(2, 1, row=-1), double.jacobian(2, 1, row=B - 1))


# ---- an Elman network against the formula of the notes ------------------------------------------------------------------------

def elman(T=4, seed=0):
    """h_t = tanh(x_t W_x + h_{t-1} W_h + b), L_t = ½ |h_t − y_t|², in NumPy: values, and Π J · imm written out for one row."""
    rng = np.random.default_rng(seed)
    p = {"W_x": rng.standard_normal((5, 6)), "W_h": 0.7 * rng.standard_normal((6, 6)), "b": rng.standard_normal(6)}
    xs, h_0, y = rng.standard_normal((T, 5)), rng.standard_normal(6), rng.standard_normal((T, 6))
    hs = [h_0]
    for x in xs:
        hs.append(np.tanh(x @ p["W_x"] + hs[-1] @ p["W_h"] + p["b"]))
    J = [None] + [np.diag(1 - h * h) @ p["W_h"].T for h in hs[1:]]      # ∂h_t/∂h_{t-1}

    def term(t, k, name):                                               # ∂L_t/∂h_t · J_t ⋯ J_{k+1} · imm_k
        row = hs[t] - y[t - 1]
        for j in range(t, k, -1):
            row = row @ J[j]
        da = row * (1 - hs[k] ** 2)
        return {"W_x": np.outer(xs[k - 1], da), "W_h": np.outer(hs[k - 1], da), "b": da}[name]
    return p, xs, h_0, y, hs, J, term


def by_hand(T=4):
    """The same network as a loop over mg.steps."""
    p, xs, h_0, y, hs, J, term = elman(T)
    W_x, W_h, b = (mg.parameter(p[n], name=n) for n in p)
    h = mg.parameter(h_0, name="h_0")
    states, losses = [h], []
    for x, target in mg.steps(xs, y):
        h = np.tanh(x @ W_x + h @ W_h + b)
        states.append(h)
        losses.append(((h - target) ** 2).sum() / 2)
    return losses, states, {"W_x": W_x, "W_h": W_h, "b": b, "h_0": states[0]}


def test_the_formula_of_the_notes_in_a_hand_written_loop():
    *_, J, term = elman()
    losses, states, p = by_hand()
    for name in ("W_x", "W_h", "b"):
        double = bptt(losses, states, p[name])
        for t in range(1, 5):
            for k in range(1, 5):
                close(double.terms[t - 1, k - 1], term(t, k, name) if k <= t else 0 * p[name].data)
    close(double.jacobian(4, 1), J[4] @ J[3] @ J[2])
    close(double.singular_values(4, 1), np.linalg.svd(J[4] @ J[3] @ J[2])[1])


def test_explicit_implicit_and_cumulative_parts():
    *_, term = elman()
    losses, states, p = by_hand()
    double = bptt(losses, states, p["W_h"])
    for i in range(4):
        row = [term(i + 1, k, "W_h") for k in range(1, i + 2)]
        close(double.explicit(i), row[-1])
        close(double.implicit(i), sum(row[:-1]) if i else np.zeros((6, 6)))
        close(double.explicit(i) + double.implicit(i), mg.grad(losses[i], p["W_h"])[0].data)
        sums = double.cumulative(i)
        for j in range(i + 1):
            close(sums[j], sum(row[j:]))
        np.testing.assert_allclose(double.cumulative_norms[i], [np.linalg.norm(s) for s in sums], rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(double.explicit_norms[i], np.linalg.norm(row[-1]), rtol=1e-12)
        np.testing.assert_allclose(double.implicit_norms[i], np.linalg.norm(sum(row[:-1])) if i else 0, rtol=1e-12, atol=1e-15)


def test_adjoints_and_growth():
    p, xs, h_0, y, hs, J, term = elman()
    losses, states, tensors = by_hand()
    double = bptt(losses, states, tensors["b"])
    norms = np.zeros((4, 5))
    for t in range(1, 5):
        row = hs[t] - y[t - 1]
        for k in range(t, -1, -1):
            norms[t - 1, k] = np.linalg.norm(row)
            row = row @ J[k] if k else row
    np.testing.assert_allclose(double.adjoints, norms, rtol=1e-12)
    for k in range(1, 5):
        np.testing.assert_allclose(double.growth[k - 1], np.exp(np.mean(np.log(norms[k - 1:, k - 1] / norms[k - 1:, k]))))


def test_a_constant_initial_state_has_no_adjoint():
    ys, _, states = mg.unroll(mg.RNNCell(D, 4), np.ones((3, B, D)), states=True)
    double = bptt(per_step(ys), states, states[1])           # by an intermediate result, as mg.grad does
    assert np.isnan(double.adjoints[:, 0]).all() and np.isnan(double.growth[0]) and np.isfinite(double.growth[1:]).all()
    with pytest.raises(ValueError, match=r"jacobian\(2, 0\): state 0 takes no gradients; make the initial state with mg.parameter"):
        double.jacobian(2, 0)


# ---- wherever the parameter is used -------------------------------------------------------------------------------------------

def graph_of(build, seed=0):
    """An Elman loop on shared numbers; ``build`` says what is computed outside of time."""
    rng = np.random.default_rng(seed)
    xs = rng.standard_normal((4, B, 5))
    p = {n: mg.parameter(0.7 * rng.standard_normal(s), name=n) for n, s in {"W_x": (5, 6), "W_h": (6, 6), "W_y": (6, 6)}.items()}
    h = mg.parameter(rng.standard_normal((B, 6)), name="h_0")
    return build(xs, p, h)


def outside_of_time(xs, p, h):
    """Inputs projected at once, a weight made from another before the loop, outputs projected at once after it."""
    a, W, states = xs @ p["W_x"], np.tanh(p["W_h"]) * 0.9 + p["W_h"] * 0.1, [h]
    for a_t in mg.steps(a):
        h = np.tanh(a_t + h @ W)
        states.append(h)
    o = np.stack(states[1:]) @ p["W_y"]
    return [(o[t] ** 2).sum() for t in range(len(xs))], states, p


def inside(xs, p, h):
    """The same numbers with everything in the step."""
    states, losses = [h], []
    for x in mg.steps(xs):
        h = np.tanh(x @ p["W_x"] + h @ (np.tanh(p["W_h"]) * 0.9 + p["W_h"] * 0.1))
        states.append(h)
        losses.append(((h @ p["W_y"]) ** 2).sum())
    return losses, states, p


@pytest.mark.parametrize("name", ["W_x", "W_h"])
def test_what_is_computed_from_the_parameter_before_the_loop_counts_where_it_enters_a_step(name):
    a, b = (bptt(losses, states, p[name]) for losses, states, p in map(graph_of, (outside_of_time, inside)))
    close(np.asarray(a.terms), np.asarray(b.terms))
    assert not a.outside_norms.any()


def test_uses_that_enter_no_step_are_told_apart():
    losses, states, p = graph_of(outside_of_time)
    double = bptt(losses, states, p["W_y"])
    assert not double.norms.any() and (double.outside_norms > 0).all()
    for i, loss in enumerate(losses):
        close(double.outside(i), mg.grad(loss, p["W_y"])[0].data)
    close(double.gradient, mg.grad(sum(losses), p["W_y"])[0].data)
    assert "outside" in str(double)


def test_an_output_layer_within_the_step_is_explicit_only():
    losses, states, p = graph_of(inside)
    double = bptt(losses, states, p["W_y"])
    assert (double.norms > 0).tolist() == np.eye(4, dtype=bool).tolist() and not double.implicit_norms.any()


def test_a_parameter_inside_and_outside_of_time():
    """Tied weights: W_h recurs, projects the inputs before the loop, and the outputs after it."""
    rng = np.random.default_rng(1)
    W, xs, h = mg.parameter(0.5 * rng.standard_normal((6, 6)), name="W"), rng.standard_normal((4, B, 6)), mg.parameter(np.ones((B, 6)))
    states = [h]
    for a in mg.steps(xs @ W):
        h = np.tanh(a + h @ W)
        states.append(h)
    o = np.stack(states[1:]) @ W
    double = bptt((o * o).sum(axis=(1, 2)), states, W)                         # losses as one Tensor
    assert double.norms.shape == (4, 4) and double.outside_norms.all() and double.own_steps == [1, 2, 3, 4]
    for i in range(4):
        whole, = mg.grad((o * o).sum(axis=(1, 2))[i], W)
        close(double.explicit(i) + double.implicit(i) + double.outside(i), whole.data)
    assert double.error <= 1e-12


def test_losses_that_were_computed_outside_the_loop_belong_to_their_step():
    cell, rng = mg.LSTMCell(D, 4), np.random.default_rng(0)
    W_y = mg.parameter(rng.standard_normal((4, 3)), name="W_y")
    ys, _, states = mg.unroll(cell, rng.standard_normal((5, B, D)), states=True)
    losses = [mg.softmax_cross_entropy(ys[t] @ W_y, np.array([0, 2])) for t in range(5)]
    double = bptt(losses, states, cell.W_h)
    assert double.own_steps == [1, 2, 3, 4, 5]
    assert np.array_equal(double.norms > 0, np.tri(5, dtype=bool) & (np.arange(5) > 0))         # h_0 = 0: nothing through step 1
    assert (np.diag(bptt(losses, states, W_y).norms) > 0).all()


def test_a_loss_at_the_end_only_and_a_loss_of_everything():
    losses, states, p = by_hand()
    last = bptt([losses[-1]], states, p["W_h"])
    every = bptt(losses, states, p["W_h"])
    close(np.asarray(last.terms)[0], every.terms[3])
    total = bptt(sum(losses), states, p["W_h"])                                # one number: a row of column sums
    close(np.asarray(total.terms)[0], np.asarray(every.terms).sum(axis=0))
    close(total.gradient, every.gradient)


def test_a_loop_within_a_step():
    """Words of letters: the letters' loop runs inside each step of the words' loop, and uses count for the words' steps."""
    letters, words, rng = mg.RNNCell(D, 4), mg.GRUCell(4, 4), np.random.default_rng(0)
    state = mg.parameter(np.ones((B, 4)))
    states, losses, apart = [state], [], []
    for word in mg.steps(rng.standard_normal((3, 5, B, D))):
        _, meaning = mg.unroll(letters, word)
        apart.append(meaning)
        y, state = words(meaning, state)
        states.append(state)
        losses.append((y * y).sum())
    double = bptt(losses, states, letters.W_x)
    assert double.norms.shape == (3, 3) and double.own_steps == [1, 2, 3] and not np.triu(double.norms, 1).any()
    for i, loss in enumerate(losses):
        for k, meaning in enumerate(apart):
            g, = mg.grad(meaning, letters.W_x, cotangent=mg.grad(loss, meaning)[0])       # through the letters of word k only
            close(double.terms[i, k], g.data)


# ---- other ways to run a cell ---------------------------------------------------------------------------------------------------

RUNS = {
    "reverse": (mg.GRUCell(D, 4), {"reverse": True}),
    "lengths": (mg.LSTMCell(D, 4), {"lengths": [4, 2]}),
    "stacked": (mg.stacked(mg.LSTMCell(D, 4), mg.GRUCell(4, 3)), {}),
    "checkpoint": (mg.checkpoint(mg.GRUCell(D, 4)), {}),
    "float32": (mg.GRUCell(D, 4, dtype=np.float32), {}),
}


@pytest.mark.parametrize("how", RUNS)
def test_terms_add_up_however_the_cell_is_run(how):
    cell, options = RUNS[how]
    dtype = np.float32 if how == "float32" else float
    xs = np.random.default_rng(0).standard_normal((4, B, D)).astype(dtype)
    ys, _, states = mg.unroll(cell, xs, states=True, **options)
    losses = [(y * y).sum() for y in ys]
    module = getattr(cell, "__wrapped__", cell)
    for p in module.parameters().values():
        double = bptt(losses, states, p)
        assert double.terms[0, 0].dtype == dtype
        close(double.gradient, mg.grad(sum(losses), p)[0].data, 1e-12 if dtype is float else 1e-5)
        close(np.asarray(double.terms).sum(axis=(0, 1)), double.gradient, 1e-12 if dtype is float else 1e-5)
        upper = double.norms.T if how == "reverse" else double.norms
        assert not np.triu(upper, 1).any() and upper.any()
        sums = [double.cumulative(i)[-1 if how == "reverse" else 0] for i in range(4)]
        close(sum(sums), double.gradient, 1e-12 if dtype is float else 1e-5)


def test_outputs_that_are_the_states_may_be_given_as_such():
    cell, xs = mg.RNNCell(D, 4), np.random.default_rng(0).standard_normal((4, B, D))
    ys, _, states = mg.unroll(cell, xs, states=True)
    losses = per_step(ys)
    a, b = bptt(losses, states, cell.W_h), bptt(losses, [states[0], *ys], cell.W_h)
    close(a.adjoints[:, 1:], b.adjoints[:, 1:])
    close(a.jacobian(4, 2), b.jacobian(4, 2))


def test_a_compiled_scan_is_read_as_its_steps():
    cell, xs, h = mg.GRUCell(D, 4), np.random.default_rng(0).standard_normal((4, B, D)), mg.parameter(np.ones((B, 4)))
    found = []
    for run in (mg.unroll, mg.scan):
        ys, _, states = run(cell, xs, h, states=True)
        found.append(bptt(per_step(ys), states, cell.W_h))
    close(found[1].norms, found[0].norms)
    close(found[1].gradient, found[0].gradient)
    close(found[1].jacobian(3, 0), found[0].jacobian(3, 0))


def test_reverse_counts_steps_in_the_order_of_time():
    cell, xs = mg.GRUCell(D, 4), np.random.default_rng(0).standard_normal((4, B, D))
    ys, _, states = mg.unroll(cell, xs, states=True, reverse=True)
    double = bptt(per_step(ys), states, cell.W_x)
    flipped, _, states = mg.unroll(cell, xs[::-1], states=True)
    forward = bptt(per_step(flipped), states, cell.W_x)
    close(double.norms, forward.norms[::-1, ::-1])
    close(double.explicit(1), forward.explicit(2))
    np.testing.assert_allclose(double.growth[:3], forward.growth[::-1][:3], rtol=1e-12)


def test_many_losses_need_several_walks_and_give_the_same(monkeypatch):
    losses, states, p = by_hand(T=7)
    once = bptt(losses, states, p["W_h"])
    monkeypatch.setattr(sys.modules["minigrad.check.bptt"], "BYTES", 1)
    each = bptt(losses, states, p["W_h"])
    monkeypatch.setattr(sys.modules["minigrad.check.bptt"], "BYTES", 8 * 1200)
    some = bptt(losses, states, p["W_h"])
    assert (once._at_once, each._at_once) == (32, 1) and 1 < some._at_once < 7
    for other in (each, some):
        close(once.norms, other.norms)
        close(once.gradient, other.gradient)
        close(np.asarray(once.terms), np.asarray(other.terms))


def test_terms_are_indexed_like_an_array():
    losses, states, p = by_hand()
    double = bptt(losses, states, p["W_x"])
    full = np.asarray(double.terms)
    assert double.terms.shape == full.shape == (4, 4, 5, 6) and len(double.terms) == 4
    for key in [(2, 1), 3, (slice(None), 2), (slice(1, 3), slice(0, 2)), (-1, -1), ([0, 2], 1)]:
        close(double.terms[key], full[key])
    with pytest.raises(IndexError):
        double.terms[4, 0]
    with pytest.raises(IndexError, match=r"loss 4 of 4: the index is 0 … 3"):
        double.explicit(4)


def test_a_parameter_that_is_one_number():
    w, states, losses = mg.parameter(0.5, name="w"), [mg.parameter(1.)], []
    for x in mg.steps(np.array([1., 2.])):
        states.append(np.tanh(w * states[-1] + x))
        losses.append(states[-1] * states[-1])
    double = bptt(losses, states, w)
    h1, h2 = (float(s.data) for s in states[1:])
    later = 2 * h2 * (1 - h2 * h2)
    assert double.explicit(1) == pytest.approx(later * h1) and double.terms[1, 0] == pytest.approx(later * 0.5 * (1 - h1 * h1))


def test_gradients_that_vanish_keep_their_norm():
    """Squares of 1e-200 would be 0."""
    h, states, losses = mg.parameter(np.ones(2)), [], []
    w = mg.parameter(np.full(2, 1e-60), name="w")
    states.append(h)
    for x in mg.steps(np.ones(5)):
        h = h * w
        states.append(h)
        losses.append(h.sum() * 1e60)
    norms = bptt(losses, states, w).norms
    np.testing.assert_allclose(norms[4], 1e-180 * 2 ** 0.5, rtol=1e-12)


# ---- for people -------------------------------------------------------------------------------------------------------------------

def test_the_table():
    losses, states, p = by_hand()
    double = bptt(losses, states, p["W_h"])
    lines = str(double).splitlines()
    assert lines[0].startswith("W_h (6, 6)") and lines[1].split() == ["k=1", "k=2", "k=3", "k=4", "explicit", "implicit"]
    for i in range(4):
        label, *cells = lines[2 + i].split()
        assert label == f"L_{i + 1}"
        values = [*double.norms[i], double.explicit_norms[i], double.implicit_norms[i]]
        assert cells == ["·" if v == 0 else f"{v:.1e}" for v in values]
    assert "one step back multiplies the gradient by" in lines[-2]
    assert lines[-1] == f"all terms add up to a gradient of norm {np.linalg.norm(double.gradient):.4g}, which is the engine's"
    for error, says in ((1e-12, "which is the engine's"), (1e-9, "OFF BY 1e-09 from the engine's"), (0.1, "OFF BY 1e-01 from the engine's")):
        double.error = error
        assert str(double).endswith(says)
    double.parameter = mg.Tensor(np.ones(3, np.float32))
    for error, says in ((1e-6, "which is the engine's"), (1e-4, "OFF BY 1e-04 from the engine's")):
        double.error = error
        assert str(double).endswith(says)
    losses, states, p = by_hand(T=30)
    long = str(bptt(losses, states, p["b"])).splitlines()
    assert len(long) < 20 and max(map(len, long)) < 150 and "…" in long[1] and "L_30" in str(long)


def test_the_heat_map(tmp_path):
    pytest.importorskip("matplotlib", reason="the heat map needs matplotlib (the extra plots)")
    losses, states, p = by_hand()
    bptt(losses, states, p["W_h"]).plot(tmp_path / "heat.png")
    bptt([losses[0] * 0], states, p["W_h"]).plot(tmp_path / "zero.svg", title="nothing")        # nothing to see is no reason to fail
    assert (tmp_path / "heat.png").stat().st_size > 5000 and "<svg" in (tmp_path / "zero.svg").read_text(encoding="utf-8")
    assert sorted(f.name for f in tmp_path.iterdir()) == ["heat.png", "zero.svg"]


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    import builtins
    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", lambda name, *a, **k: (_ for _ in ()).throw(ImportError()) if name.startswith(
        "matplotlib") else real(name, *a, **k))
    losses, states, p = by_hand()
    with pytest.raises(ImportError, match=r"the heat map needs matplotlib: pip install 'minigrad\[plots\]'"):
        bptt(losses, states, p["W_h"]).plot("never.png")


# ---- bad input ----------------------------------------------------------------------------------------------------------------------

def bad(case):
    losses, states, p = by_hand()
    again, others, q = by_hand()
    stranger = mg.parameter(np.ones(6), name="V")
    return {
        "other parameter": (losses, states, stranger),
        "same name": (losses, states, q["W_h"]),
        "cut": ([(states[-1].detach() * stranger).sum()], states, p["W_h"]),
        "constant": ([mg.Tensor(1.0)], states, p["W_h"]),
        "other states": (losses, others, p["W_h"]),
        "no gradient": (losses, states, mg.Tensor(np.ones(3), name="y")),
        "no places": (losses, [mg.parameter(1.0), mg.Tensor(2.0)], p["W_h"]),
        "states are one": (losses, states[-1], p["W_h"]),
        "not a loss": ([1.0], states, p["W_h"]),
        "not scalar": ([states[-1]], states, p["W_h"]),
        "none": ([], states, p["W_h"]),
        "a name": (losses, states, "W_h"),
    }[case]


@pytest.mark.parametrize("case, error, words", [
    ("other parameter", ValueError, r"parameter 'V' is not in the graph of these losses; in it are W_x, W_h, b, h_0"),
    ("same name", ValueError, r"'W_h' is not in the graph of these losses.*another Tensor of this name: was it replaced after"),
    ("cut", ValueError, r"the losses do not depend on parameter 'W_h', though the states do: is there a .detach\(\)"),
    ("constant", ValueError, r"the losses depend on nothing that requires gradients"),
    ("other states", ValueError, r"do not depend on any of these states: they are of another graph; take losses and states from"),
    ("no gradient", ValueError, r"tensor 'y'.* does not require gradients|does not require gradients; make it with mg.parameter"),
    ("no places", ValueError, r"these states have no place in time; walk over the sequence with `for x in mg.steps\(xs\):`"),
    ("states are one", TypeError, r"got a Tensor as states; expected the list of them, the initial one first"),
    ("not a loss", TypeError, r"got a float as losses\[0\]; expected a scalar Tensor"),
    ("not scalar", ValueError, r"got losses\[0\] of shape \(6,\); a loss is one number: take its .sum\(\) or .mean\(\)"),
    ("none", TypeError, r"got an empty list as losses"),
    ("a name", TypeError, r"got a str as parameter; expected a Tensor \(argument order: losses, states, parameter\)"),
])
def test_unusable_input(case, error, words):
    with pytest.raises(error, match=words):
        bptt(*bad(case))


def test_a_parameter_that_was_changed_after_its_use():
    losses, states, p = by_hand()
    p["W_h"].data = 2 * p["W_h"].data
    with pytest.raises(RuntimeError, match="parameter 'W_h' was changed after matmul"):
        bptt(losses, states, p["W_h"])


def test_a_state_that_was_not_given():
    losses, states, p = by_hand()
    with pytest.raises(ValueError, match="there is no state t=5; the states given are those of steps 0 … 4"):
        bptt(losses, states, p["W_h"]).jacobian(5, 1)
    late = bptt(losses, states[1:], p["W_h"])                                   # the initial one may be left out
    assert np.isnan(late.adjoints[:, 0]).all()
    close(late.norms, bptt(losses, states, p["W_h"]).norms)


@pytest.mark.parametrize("dtype, off, agrees", [(float, .9e-12, True), (float, 2e-12, False), (np.float32, .9e-5, True), (np.float32, 2e-5, False)])
def test_whether_it_is_the_engines_gradient_is_a_matter_of_the_dtype(dtype, off, agrees):
    W, states, losses = mg.parameter(np.ones(3, dtype), name="W"), [], []
    for x in mg.steps(np.ones((3, 3), dtype)):
        states.append(x * W)
        losses.append(states[-1].sum())
    double = bptt(losses, states, W)
    double.error = off
    last = str(double).splitlines()[-1]
    assert last.endswith("which is the engine's" if agrees else f"OFF BY {off:.0e} from the engine's")


def test_a_parameter_without_a_name_is_called_by_its_variable():
    weights, states, losses = mg.parameter(np.ones(3)), [], []
    for x in mg.steps(np.ones((3, 3))):
        h = x * weights
        states.append(h)
        losses.append(h.sum())
    assert bptt(losses, states, weights).name == "weights"


def test_a_page():
    cell = mg.RNNCell(3, 4, rng=np.random.default_rng(0))
    ys, _, states = mg.unroll(cell, np.ones((5, 2, 3)), states=True)
    page = bptt([(y * y).mean() for y in ys], states, cell.W_h).html()
    assert page.count("<rect") == 1 + 10 and "L_5, use at step 4: " in page and "k=1" in page and "all terms add up" in page and page.count("<p>") == 3   # none of the initial state 0
    assert "<script" not in page


# ---- odd cases ------------------------------------------------------------------------------------------------------------------------

def test_terms_say_what_they_are():
    losses, states, p = by_hand()
    assert repr(bptt(losses, states, p["b"]).terms) == "<terms of shape (4, 4, 6), computed when indexed>"


def test_one_step_from_a_constant_has_no_growth():
    ys, _, states = mg.unroll(mg.RNNCell(D, 4), np.ones((1, B, D)), states=True)
    double = bptt(per_step(ys), states, states[1])
    assert "multiplies the gradient" not in str(double) and str(double).splitlines()[2].startswith("L ")


@pytest.mark.parametrize("factor, says", [(1.0, "it neither grows nor decays"), (.5, "multiplies the gradient by 0.5 (0.5 … 0.5): it halves in 1 steps"),
                                          (2.0, "multiplies the gradient by 2 (2 … 2): it doubles in 1 steps"),
                                          (1.00001, "it neither grows nor decays"), (.999, "it halves in 693 steps")])
def test_growth_in_words(factor, says):
    h, W = mg.parameter(np.ones(2), name="h_0"), mg.parameter(np.full(2, factor), name="w")
    states = [h]
    for x in mg.steps(np.zeros((4, 2))):
        h = h * W + x
        states.append(h)
    assert says in str(bptt([h.sum()], states, W))


def test_a_parameter_that_the_losses_see_but_give_no_gradient():
    """An op may have no rule for an argument."""
    from minigrad.ops import FUNCTIONS, TABLE, op
    kept = [(registry, dict(registry)) for registry in (TABLE, FUNCTIONS)]
    masked = op(lambda x, m: x * m, lambda g, y, x, m: g * m, None, name="masked", reads="{0}")
    for registry, before in kept:
        registry.clear()
        registry.update(before)
    losses, states, p = by_hand()
    V = mg.parameter(np.ones(6), name="V")
    with pytest.raises(ValueError, match=r"^bptt\(\): the losses do not depend on parameter 'V'$"):
        bptt([masked(states[-1], V).sum()], states, V)


def test_a_loss_with_one_step_has_an_implicit_part_of_zeros():
    cell = mg.RNNCell(3, 4)
    ys, _, states = mg.unroll(cell, np.ones((1, 2, 3)), mg.parameter(np.ones((2, 4))), states=True)
    double = mg.check.bptt([(ys * ys).sum()], states, cell.W_h)
    assert double.implicit(0).shape == (4, 4) and not double.implicit(0).any()
