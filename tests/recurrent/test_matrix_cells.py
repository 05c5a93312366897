"""sLSTM, mLSTM and Gated DeltaNet: the papers' equations, parallel forms, what a memory must do, other people's programs, gradients."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.graph import replay, trace
from minigrad.recurrent.matrix import GatedDeltaNetCell, MLSTMCell, SLSTMCell
from tests.references import make_linear_matrix as references

CELLS = {"slstm": (SLSTMCell, {}), "mlstm": (MLSTMCell, {"heads": 2}), "gated_deltanet": (GatedDeltaNetCell, {"heads": 2})}
B, T, D, H, N = 3, 4, 5, 6, 2
d = H // N


def probe(case, steps=T):
    """A cell with parameters 0.7 randn, inputs (T, B, D) and a state that is not zero."""
    rng = np.random.default_rng(7)
    make, options = CELLS[case]
    cell = make(D, H, rng=rng, **options)
    for p in cell.parameters().values():
        p.data = 0.7 * rng.standard_normal(p.shape)
    state = cell.initial_state(B)
    state = [0.7 * rng.standard_normal(s.shape) for s in (state if isinstance(state, tuple) else (state,))]
    if case == "slstm":
        state[2] = 0.5 + abs(state[2])                # n is a sum of positive numbers
    return cell, rng.standard_normal((steps, B, D)), state


def tensors(state):
    """The arrays as the state that the cell expects."""
    state = tuple(x if isinstance(x, mg.Tensor) else mg.Tensor(x) for x in state)
    return state if len(state) > 1 else state[0]


def leaves(state):
    return [x.data for x in (state if isinstance(state, tuple) else (state,))]


def error(ours, theirs):
    ours = ours.data if isinstance(ours, mg.Tensor) else ours
    return abs(ours - theirs).max() / abs(theirs).max()


def logistic(x):
    return 1 / (1 + np.exp(-x))


def silu(x):
    return x * logistic(x)


# ---- the papers' equations in plain NumPy, one row and one head at a time, column vectors as the papers have them ---------

def slstm(p, X, state):
    """Section 2.2 without a stabiliser: i = exp(ĩ), f = σ(f̃)."""
    h, c, n, m = state
    c, n, ys = c * np.exp(m), n * np.exp(m), []
    for x in X:
        i, f, z, o = np.split(x @ p["W_x"] + h @ p["W_h"] + p["b"], 4, axis=-1)
        c = logistic(f) * c + np.exp(i) * np.tanh(z)
        n = logistic(f) * n + np.exp(i)
        h = logistic(o) * c / n
        ys.append(h)
    return np.stack(ys), [h, c, n]


def mlstm(p, X, state):
    """Section 2.3 without a stabiliser: C = f C + i v kᵀ, h̃ = C q / max(|nᵀq|, 1)."""
    ys, C_last, n_last = np.zeros((len(X), B, H)), np.zeros((B, N, d, d)), np.zeros((B, N, 1, d))
    for row in range(B):
        for j in range(N):
            part = slice(j * d, (j + 1) * d)
            m = state[2][row, j, 0, 0]
            C, n = state[0][row, j].T * np.exp(m), state[1][row, j, 0] * np.exp(m)
            for t, x in enumerate(X[:, row]):
                q, k, v, o = (a[part] for a in np.split((x @ p["W_x"] + p["b"])[:4 * H], 4))
                i, f = (x @ p["W_x"] + p["b"])[4 * H:].reshape(2, N)[:, j]
                k = k / np.sqrt(d)
                C = logistic(f) * C + np.exp(i) * np.outer(v, k)
                n = logistic(f) * n + np.exp(i) * k
                ys[t, row, part] = logistic(o) * (C @ q) / max(abs(n @ q), 1)
            C_last[row, j], n_last[row, j, 0] = C.T, n
    return ys, [C_last, n_last]


def projections(p, X):
    """q, k, v (T, B, N, d), log-decay g and strength β (T, B, N) of Gated DeltaNet."""
    q, k, v, g, beta = np.split(X @ p["W_x"], [H, 2 * H, 3 * H, 3 * H + N], axis=-1)
    q, k, v = (silu(a).reshape(*a.shape[:-1], N, d) for a in (q, k, v))
    q, k = (a / np.sqrt((a * a).sum(-1, keepdims=True) + 1e-6) for a in (q, k))
    return q, k, v, -np.exp(p["log_A"]) * np.log1p(np.exp(g + p["b"])), logistic(beta)


def gated_deltanet(p, X, state):
    """The gated delta rule: S_t = S_{t-1} (α_t (I - β_t k_t k_tᵀ)) + β_t v_t k_tᵀ, o_t = S_t q_t."""
    q, k, v, g, beta = projections(p, X)
    ys, last = np.zeros((len(X), B, N, d)), np.zeros((B, N, d, d))
    for row in range(B):
        for j in range(N):
            S = state[0][row, j].T
            for t in range(len(X)):
                key, b = k[t, row, j], beta[t, row, j]
                S = S @ (np.exp(g[t, row, j]) * (np.eye(d) - b * np.outer(key, key))) + b * np.outer(v[t, row, j], key)
                ys[t, row, j] = S @ q[t, row, j]
            last[row, j] = S.T
    return ys.reshape(len(X), B, H), [last]


EQUATIONS = {"slstm": slstm, "mlstm": mlstm, "gated_deltanet": gated_deltanet}


@pytest.mark.parametrize("case", CELLS)
def test_the_papers_equations(case):
    """For the xLSTM cells also: stabilised = unstabilised, and c, n, C are the unstabilised ones divided by exp(m)."""
    cell, X, state = probe(case)
    ys, last = mg.unroll(cell, X, tensors(state))
    expected, expected_last = EQUATIONS[case](cell.state_dict(), X, state)
    assert error(ys, expected) <= 1e-13
    last = leaves(last)
    scaled = {"slstm": (1, 2), "mlstm": (0, 1), "gated_deltanet": ()}[case]
    for i, array in enumerate(expected_last):
        assert error(last[i] * np.exp(last[-1]) if i in scaled else last[i], array) <= 1e-13, i


@pytest.mark.parametrize("case", ["slstm", "mlstm"])
def test_the_stabiliser_does_not_change_the_output(case):
    """A start at m + 5 with c, n (or C, n) divided by e⁵ is the same start."""
    cell, X, state = probe(case)
    moved = [*state[:-3], state[-3] * np.exp(-5), state[-2] * np.exp(-5), state[-1] + 5]
    assert error(mg.unroll(cell, X, tensors(moved))[0], mg.unroll(cell, X, tensors(state))[0].data) <= 1e-13


def test_slstm_from_its_own_start_is_the_plain_recurrence_from_zero():
    cell, X, _ = probe("slstm", steps=9)
    ys, _ = mg.unroll(cell, X)
    assert error(ys, slstm(cell.state_dict(), X, np.zeros((4, B, H)))[0]) <= 1e-13


@pytest.mark.parametrize("dtype", [float, np.float32])
@pytest.mark.parametrize("size", [-3000., 3000.])
def test_slstm_with_gates_far_beyond_the_range_of_exp(size, dtype):
    """n ≥ 1 forever; a first input gate of e^-3000 stores its input like any other."""
    cell = SLSTMCell(D, H, dtype=dtype)
    cell.b.data[:H] = size
    X = 10 * np.random.default_rng(0).standard_normal((30, B, D)).astype(dtype)
    ys, (h, c, n, m) = mg.unroll(cell, X)
    ys.sum().backward()
    assert (n.data >= 1).all() and (abs(ys.data) < 1).all() and (ys.data[0] != 0).all()
    assert all(np.isfinite(p.grad).all() for p in cell.parameters().values())


@pytest.mark.parametrize("heads", [1, 3])
def test_mlstm_recurrent_is_parallel(heads):
    """Appendix A: attention with the gates' products as weights, D_ts = exp(ĩ_s + Σ_{s<r≤t} log σ(f̃_r))."""
    steps, rng = 12, np.random.default_rng(3)
    cell = MLSTMCell(D, H, heads=heads)
    for p in cell.parameters().values():
        p.data = 0.7 * rng.standard_normal(p.shape)
    X = rng.standard_normal((steps, B, D))
    a = X @ cell.W_x.data + cell.b.data
    q, k, v, o = (part.reshape(steps, B, heads, -1) for part in np.split(a[..., :4 * H], 4, axis=-1))
    i, f = a[..., 4 * H:4 * H + heads], np.cumsum(np.log(logistic(a[..., 4 * H + heads:])), axis=0)
    D_ts = np.tril(np.exp(f[:, None] - f[None] + i[None]).transpose(2, 3, 0, 1))              # (B, heads, T, T)
    weights = np.einsum("tbhd,sbhd->bhts", q, k) / np.sqrt(H / heads) * D_ts
    y = np.einsum("bhts,sbhd->tbhd", weights, v) / np.maximum(abs(weights.sum(-1)), 1).transpose(2, 0, 1)[..., None]
    ys, _ = mg.unroll(cell, X)
    assert error(ys, (logistic(o) * y).reshape(steps, B, H)) <= 1e-12


def test_mlstm_with_gates_far_beyond_the_range_of_exp():
    """One input gate of e^2000: from then on the memory is that pair alone, h = σ(õ) v · sign(q kᵀ)."""
    cell = MLSTMCell(D, H, rng=np.random.default_rng(1))
    cell.W_x.data[0, 4 * H] = 2000.
    X = np.random.default_rng(0).standard_normal((5, B, D))
    X[:, :, 0] = 0
    X[2, :, 0] = 1
    ys, _ = mg.unroll(cell, X)
    ys.sum().backward()
    q, k, v, o = np.split((X @ cell.W_x.data + cell.b.data)[..., :4 * H], 4, axis=-1)
    expected = logistic(o[4]) * v[2] * np.sign((q[4] * k[2]).sum(-1, keepdims=True))
    assert error(ys[4], expected) <= 1e-12
    assert all(np.isfinite(p.grad).all() for p in cell.parameters().values())


def test_gated_deltanet_recurrent_is_parallel():
    """The triangular solve of the delta rule: u = (I + strictly lower(β K Kᵀ Γ))⁻¹ β V and y = lower(Q Kᵀ Γ) u, Γ_ts the decay."""
    steps = 12
    cell, X, _ = probe("gated_deltanet", steps=steps)
    q, k, v, g, beta = (a.swapaxes(0, 1).swapaxes(1, 2) for a in projections(cell.state_dict(), X))     # (B, N, T, …)
    G = np.cumsum(g, axis=-1)
    decay = np.exp(np.minimum(G[..., :, None] - G[..., None, :], 0))
    inner = np.tril(beta[..., None] * (k @ k.mT) * decay, -1)
    u = np.linalg.solve(np.eye(steps) + inner, beta[..., None] * v)
    y = np.tril(q @ k.mT * decay) @ u
    ys, _ = mg.unroll(cell, X)
    assert error(ys, y.transpose(2, 0, 1, 3).reshape(steps, B, H)) <= 1e-12


def test_gated_deltanet_without_decay_is_gradient_descent_on_the_error_of_recall():
    """With g = 0: S_t = S_{t-1} - β ∂/∂S ½|k S - v|², the delta rule."""
    cell, X, (S,) = probe("gated_deltanet", steps=1)
    cell.log_A.data = np.full(N, -np.inf)                                                     # A = 0
    _, k, v, g, beta = (a[0] for a in projections(cell.state_dict(), X))
    assert not g.any()
    memory = mg.parameter(S)
    loss = mg.squared_error(k[..., None, :] @ memory, v[..., None, :], reduction="sum") / 2
    slope, = mg.grad(loss, memory)
    assert error(mg.unroll(cell, X, mg.Tensor(S))[1], S - beta[..., None, None] * slope.data) <= 1e-13


def a_memory(commands):
    """A Gated DeltaNet of one head that is told (key, value, query) at each step: β = 1, g = 0, keys and queries normed."""
    cell = GatedDeltaNetCell(len(commands), H)
    rows = [np.concatenate([1e8 * query, 1e8 * key, value, [-1e4, 1e4]]) for key, value, query in commands]
    cell.W_x.data = np.stack(rows)
    ys, S = mg.unroll(cell, np.eye(len(commands)))
    return ys.data, S.data[0]


def test_gated_deltanet_stores_and_retrieves_exactly():
    """Orthonormal keys, β = 1, no decay: every pair comes back as it was stored, also a sum of keys; a new value replaces the old."""
    rng, keys = np.random.default_rng(4), np.eye(H)[[3, 0, 5, 1, 4, 2]]
    raw = rng.standard_normal((H, H))
    nothing = np.zeros(H)
    write = [(key, value, key) for key, value in zip(keys, raw)]
    read = [(nothing, nothing, key) for key in keys] + [(nothing, nothing, keys[1] + keys[4])]
    ys, S = a_memory(write + read)
    values = silu(raw)
    assert abs(ys[:H] - values).max() <= 1e-15 and abs(ys[H:2 * H] - values).max() <= 1e-15
    assert abs(ys[-1] - (values[1] + values[4]) / np.sqrt(2)).max() <= 1e-15
    assert abs(S - keys.T @ values).max() <= 1e-15
    ys, _ = a_memory([*write, (keys[2], raw[0], keys[2]), *read])
    assert abs(ys[H + 1:-1] - values[[0, 1, 0, 3, 4, 5]]).max() <= 1e-15


# ---- other people's programs ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("case", CELLS)
def test_committed_reference(case):
    make, options = CELLS[case]
    references.assert_same(case, references.committed(case), make(D, H, **options))


@pytest.mark.parametrize("case", CELLS)
def test_live_reference(case):
    if not references.installed(case):
        pytest.skip(f"torch and {references.PACKAGES[case]} are not installed; the committed reference stands in")
    make, options = CELLS[case]
    references.assert_same(case, references.reference(case), make(D, H, **options))


# ---- gradients ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("case", CELLS)
@pytest.mark.parametrize("order", [1, 2])
def test_gradients_against_the_complex_step(case, order):
    """A report without notes: the complex step was the reference throughout, not differences."""
    make, options = CELLS[case]
    rng, cell = np.random.default_rng(2), make(3, 4, **options)          # no kink of max or |.| is near
    for p in cell.parameters().values():
        p.data = 0.7 * rng.standard_normal(p.shape)
    X = rng.standard_normal((3, 5, 3))
    state = [0.5 + rng.random(s.shape) for s in leaves(cell.initial_state(5))]

    def of_inputs(X, **start):
        ys, last = mg.unroll(cell, X, tensors(start.values()))
        return (ys, *(last if isinstance(last, tuple) else (last,)))
    reports = [mg.check.gradcheck(lambda: mg.unroll(cell, X, tensors(state))[0], cell, order=order)]
    if order == 1:
        reports.append(mg.check.gradcheck(of_inputs, {"X": X, **{f"state_{i}": s for i, s in enumerate(state)}}))
    for report in reports:
        assert report.ok and not any(row.note for row in report.rows), report


# ---- edges ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("case", CELLS)
def test_float32_stays_float32(case):
    make, options = CELLS[case]
    cell, X, _ = probe(case)
    small = make(D, H, dtype=np.float32, **options)
    small.load_state_dict(cell.state_dict())
    ys, last = mg.unroll(small, X.astype(np.float32))
    ys.sum().backward()
    assert ys.dtype == np.float32 and all(s.dtype == np.float32 for s in leaves(last))
    assert all(p.grad.dtype == np.float32 for p in small.parameters().values())
    assert error(ys, mg.unroll(cell, X)[0].data) <= 1e-4


@pytest.mark.parametrize("case", CELLS)
def test_without_a_batch(case):
    cell, X, _ = probe(case)
    whole, last = mg.unroll(cell, X)
    alone, own = mg.unroll(cell, X[:, 1])
    assert alone.shape == (T, H) and error(alone, whole.data[:, 1]) <= 1e-13
    for a, b in zip(leaves(own), leaves(last)):
        assert a.shape == b.shape[1:] and error(a, b[1]) <= 1e-13


@pytest.mark.parametrize("case", CELLS)
def test_a_step_is_a_pure_function(case):
    """The graph of one step, evaluated on other inputs, is the cell: no value of the first inputs is frozen in it."""
    cell, X, state = probe(case)

    def step(x, *state):
        y, new = cell(x, tensors(state))
        return (y, *(new if isinstance(new, tuple) else (new,)))
    graph = trace(step, X[0], *state)
    other = [-2 * X[1], *(1.5 * s for s in state)]
    values = replay(graph, inputs=other)
    for node, expected in zip(graph.outputs, step(mg.Tensor(other[0]), *other[1:])):
        assert error(values[node], expected.data) <= 1e-15


@pytest.mark.parametrize("case", ["mlstm", "gated_deltanet"])
def test_heads_do_not_mix(case):
    """Two heads are two cells of half the size, side by side."""
    make, _ = CELLS[case]
    cell, X, _ = probe(case)
    ys, _ = mg.unroll(cell, X)
    vectors = 4 if case == "mlstm" else 3
    for j in range(N):
        columns = [np.arange(i * H + j * d, i * H + (j + 1) * d) for i in range(vectors)]
        columns = np.concatenate([*columns, [vectors * H + j, vectors * H + N + j]])
        single = make(D, d)
        weights = cell.state_dict()
        per_head = {"b": weights["b"][columns if case == "mlstm" else [j]]}
        single.load_state_dict({"W_x": weights["W_x"][:, columns], **per_head,
                                **({} if case == "mlstm" else {"log_A": weights["log_A"][[j]]})})
        assert error(mg.unroll(single, X)[0], ys.data[..., j * d:(j + 1) * d]) <= 1e-13


def test_initial_values():
    rng = np.random.default_rng(0)
    cell = SLSTMCell(50, 40, rng=rng)
    assert np.array_equal(cell.b.data, np.concatenate([np.zeros(40), np.linspace(3, 6, 40), np.zeros(80)]))
    cell = MLSTMCell(50, 40, heads=4, rng=rng)
    assert abs(cell.W_x.data[:, :160].var() * 50 - 0.4) < 0.02 and not cell.W_x.data[:, 160:].any()
    assert np.array_equal(cell.b.data, [*np.zeros(164), 3, 4, 5, 6])
    cell = GatedDeltaNetCell(50, 400, heads=400, rng=rng)
    A, rate = np.exp(cell.log_A.data), np.log1p(np.exp(cell.b.data))
    assert 0.01 <= A.min() < 0.2 and 15.8 < A.max() <= 16
    assert 0.000999 <= rate.min() < 0.00105 and 0.095 < rate.max() <= 0.1001 and abs(np.log10(rate).mean() + 2) < 0.1


@pytest.mark.parametrize("case", CELLS)
def test_what_is_wrong_is_said(case):
    make, options = CELLS[case]
    with pytest.raises(ValueError, match=f"{make.__name__} got input_size=0; expected a positive integer"):
        make(0, 4)
    with pytest.raises(TypeError, match="rng must be a numpy.random.Generator, got int"):
        make(3, 4, rng=5)
    if options:
        with pytest.raises(ValueError, match=f"{make.__name__} got heads=3 for hidden_size=4; expected a positive integer that divides "
                                             "the hidden size"):
            make(3, 4, heads=3)
