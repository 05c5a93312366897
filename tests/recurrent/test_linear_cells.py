"""minGRU, minLSTM and RG-LRU: the papers' equations, the closed forms of a whole sequence, other people's programs, gradients."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.graph import replay, trace
from minigrad.recurrent.linear import MinGRUCell, MinLSTMCell, RGLRUCell
from minigrad.recurrent.linear.mingru import g
from tests.references import make_linear_matrix as references

CELLS = {"mingru": MinGRUCell, "minlstm": MinLSTMCell, "rglru": RGLRUCell}
B, T, D, H = 3, 4, 5, 6


def probe(case, steps=T):
    """A cell with parameters 0.7 randn, inputs (T, B, D) and a positive state (B, H)."""
    rng = np.random.default_rng(7)
    cell = CELLS[case](D, H, rng=rng)
    for p in cell.parameters().values():
        p.data = 0.7 * rng.standard_normal(p.shape)
    return cell, rng.standard_normal((steps, B, D)), 0.2 + rng.random((B, H))


def error(ours, theirs):
    ours = ours.data if isinstance(ours, mg.Tensor) else ours
    return abs(ours - theirs).max() / abs(theirs).max()


# ---- the papers' equations in plain NumPy: a_t and b_t of h_t = a_t ⊙ h_{t-1} + b_t -------------------------------------

def logistic(x):
    return 1 / (1 + np.exp(-x))


def positive(x):
    return np.where(x >= 0, x + 0.5, logistic(x))


def mingru(p, X):
    W_z, W_n = p["W_x"][:, :H], p["W_x"][:, H:]
    z = logistic(X @ W_z)
    return 1 - z, z * positive(X @ W_n)


def minlstm(p, X):
    W_f, W_i, W_n = p["W_x"][:, :H], p["W_x"][:, H:2 * H], p["W_x"][:, 2 * H:]
    f, i = logistic(X @ W_f), logistic(X @ W_i)
    return f / (f + i), i / (f + i) * positive(X @ W_n)


def rglru(p, X):
    """With a = σ(-Λ) raised to the power 8r, as the paper defines it."""
    u = X @ p["W_x"]
    r, i = logistic(u @ p["W_u"][:, :H] + p["b"][:H]), logistic(u @ p["W_u"][:, H:] + p["b"][H:])
    a = logistic(-p["Lambda"]) ** (8 * r)
    return a, np.sqrt(1 - a ** 2) * (i * u)


EQUATIONS = {"mingru": mingru, "minlstm": minlstm, "rglru": rglru}


@pytest.mark.parametrize("case", CELLS)
def test_the_papers_equations(case):
    cell, X, h = probe(case)
    a, b = EQUATIONS[case](cell.state_dict(), X)
    ys, last = mg.unroll(cell, X, mg.Tensor(h))
    expected = []
    for t in range(T):
        h = a[t] * h + b[t]
        expected.append(h)
    assert error(ys, np.stack(expected)) <= 1e-13
    assert error(last, h) <= 1e-13


@pytest.mark.parametrize("case", CELLS)
@pytest.mark.parametrize("start", ["zero", "given"])
def test_stepwise_is_the_closed_form_of_the_whole_sequence(case, start):
    """h_t = exp(A_t) h_0 + Σ_{s≤t} exp(A_t - A_s) b_s, A the running sum of log a."""
    cell, X, h = probe(case, steps=12)
    state = None if start == "zero" else mg.Tensor(h)
    h = np.zeros_like(h) if state is None else h
    ys, _ = mg.unroll(cell, X, state)
    a, b = EQUATIONS[case](cell.state_dict(), X)
    A = np.cumsum(np.log(a), axis=0)
    past = np.tril(np.ones((12, 12)))[..., None, None]
    decay = np.exp(np.where(past, A[:, None] - A[None], -np.inf))
    assert error(ys, np.exp(A) * h + (decay * b[None]).sum(axis=1)) <= 1e-13


@pytest.mark.parametrize("case", CELLS)
def test_stepwise_is_a_scan_of_cumulative_products(case):
    """With P the running product of a: h_t = P_t (h_0 + Σ_{s≤t} b_s / P_s)."""
    cell, X, h = probe(case, steps=5)
    a, b = EQUATIONS[case](cell.state_dict(), X)
    P = np.cumprod(a, axis=0)
    assert error(mg.unroll(cell, X, mg.Tensor(h))[0], P * (h + np.cumsum(b / P, axis=0))) <= 1e-13


@pytest.mark.parametrize("case", ["mingru", "minlstm"])
def test_the_papers_scan_in_logarithms(case):
    """Appendix B: everything is positive, so log h_t = A_t + logsumexp_{s≤t}(log b_s - A_s)."""
    cell, X, h = probe(case, steps=12)
    a, b = EQUATIONS[case](cell.state_dict(), X)
    A = np.cumsum(np.log(a), axis=0)
    terms = np.concatenate([np.log(h)[None], np.log(b) - A])
    ys, _ = mg.unroll(cell, X, mg.Tensor(h))
    assert error(ys, np.exp(A + np.logaddexp.accumulate(terms)[1:])) <= 1e-13


def test_rglru_with_an_identity_in_front_is_the_bare_unit():
    """h keeps the variance of its input: a² + (1 - a²) = 1, from the paper's choice of √(1 - a²)."""
    cell = RGLRUCell(H, H)
    cell.W_x.data, cell.W_u.data = np.eye(H), np.zeros((H, 2 * H))
    cell.b.data = np.concatenate([np.zeros(H), np.full(H, 40.)])               # i = 1, r = ½
    X = np.random.default_rng(0).standard_normal((1, 20_000, H))
    h = np.random.default_rng(1).standard_normal((20_000, H))
    _, new = mg.unroll(cell, X, mg.Tensor(h))
    a = logistic(-cell.Lambda.data) ** 4
    assert error(new, a * h + np.sqrt(1 - a * a) * X[0]) <= 1e-13
    assert abs(new.data.var(axis=0) - 1).max() < 0.05


# ---- other people's programs ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("case", CELLS)
def test_committed_reference(case):
    references.assert_same(case, references.committed(case), CELLS[case](D, H))


@pytest.mark.parametrize("case", CELLS)
def test_live_reference(case):
    if not references.installed(case):
        pytest.skip(f"torch and {references.PACKAGES[case]} are not installed; the committed reference stands in")
    references.assert_same(case, references.reference(case), CELLS[case](D, H))


# ---- gradients ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("case", CELLS)
@pytest.mark.parametrize("order", [1, 2])
def test_gradients_against_the_complex_step(case, order):
    """A report without notes: the complex step was the reference throughout, not differences."""
    cell, X, h = probe(case)
    reports = [mg.check.gradcheck(lambda: mg.unroll(cell, X, mg.Tensor(h))[0], cell, order=order),
               mg.check.gradcheck(lambda X, h: mg.unroll(cell, X, h)[0], {"X": X, "h": h}, order=order)]
    for report in reports:
        assert report.ok and not any(row.note for row in report.rows), report


def test_g_is_continuous_and_its_slope_at_the_corner_lies_between_the_two():
    x = np.array([-800., -3., -1e-9, 0., 1e-9, 2., 800.])
    with np.errstate(over="ignore"):
        expected = positive(x)
    a = mg.parameter(x)
    g(a).sum().backward()
    assert abs(g(x) - expected).max() <= 1e-15
    slopes = np.array([0, logistic(-3) * logistic(3), 0.25, 0.625, 1, 1, 1])
    assert abs(a.grad - slopes).max() <= 1e-9


# ---- edges ----------------------------------------------------------------------------------------------------------

def test_minlstm_where_both_gates_underflow():
    """f / (f + i) at f̃ = -800, ĩ = -801 is 1 / (1 + e⁻¹), where σ of each is 0."""
    cell = MinLSTMCell(1, 1)
    cell.W_x.data = np.array([[-800., -801., 3.]])
    h = mg.parameter([[2.]])
    y, _ = cell(mg.Tensor([[1.]]), h)
    f = 1 / (1 + np.exp(-1))
    assert abs(y.item() - (f * 2 + (1 - f) * 3.5)) <= 1e-13
    y.backward()
    assert abs(h.grad.item() - f) <= 1e-13 and np.isfinite(cell.W_x.grad).all()


@pytest.mark.parametrize("dtype", [float, np.float32])
def test_rglru_gates_that_are_shut_keep_the_state_and_give_finite_gradients(dtype):
    """r underflows to 0: a = 1, and √(1 - a²) has no slope at 0."""
    cell = RGLRUCell(D, H, dtype=dtype)
    cell.b.data = np.concatenate([np.full(H, -1000.), np.zeros(H)])
    X = np.random.default_rng(2).standard_normal((T, B, D)).astype(dtype)
    h = mg.parameter(np.ones((B, H), dtype))
    ys, last = mg.unroll(cell, X, h)
    ys.sum().backward()
    assert abs(last.data - 1).max() <= 1e-14
    assert all(np.isfinite(p.grad).all() for p in (h, *cell.parameters().values()))


def test_rglru_is_exact_where_the_decay_is_near_one():
    """1 - a² at log a = -1e-17·8 is 1.6e-16: as 1 - a * a it would be 0."""
    cell = RGLRUCell(1, 1)
    cell.W_x.data, cell.W_u.data, cell.b.data = np.ones((1, 1)), np.zeros((1, 2)), np.array([40., 40.])
    cell.Lambda.data = np.log(np.expm1(np.array([1e-17])))
    y, _ = cell(mg.Tensor([[1.]]), mg.Tensor([[0.]]))
    assert abs(y.item() / np.sqrt(1.6e-16) - 1) <= 1e-10


@pytest.mark.parametrize("case", CELLS)
def test_float32_stays_float32(case):
    cell, X, h = probe(case)
    small = CELLS[case](D, H, dtype=np.float32)
    small.load_state_dict(cell.state_dict())
    ys, last = mg.unroll(small, X.astype(np.float32))
    ys.sum().backward()
    assert ys.dtype == last.dtype == np.float32
    assert all(p.grad.dtype == np.float32 for p in small.parameters().values())
    assert error(ys, mg.unroll(cell, X)[0].data) <= 1e-5


@pytest.mark.parametrize("case", CELLS)
def test_without_a_batch(case):
    cell, X, h = probe(case)
    whole, _ = mg.unroll(cell, X)
    alone, _ = mg.unroll(cell, X[:, 1])
    assert alone.shape == (T, H) and error(alone, whole.data[:, 1]) <= 1e-14


@pytest.mark.parametrize("case", CELLS)
def test_a_step_is_a_pure_function(case):
    """The graph of one step, evaluated on other inputs, is the cell: no value of the first inputs is frozen in it."""
    cell, X, h = probe(case)
    graph = trace(lambda x, h: cell(x, h)[0], X[0], h)
    assert error(replay(graph, inputs=[-2 * X[1], -h])[graph.outputs[0]], cell(mg.Tensor(-2 * X[1]), mg.Tensor(-h))[0].data) <= 1e-15


def test_initial_values():
    cell = RGLRUCell(50, 400, rng=np.random.default_rng(0))
    decay = logistic(-cell.Lambda.data) ** 8
    assert 0.9 <= decay.min() < 0.901 and 0.998 < decay.max() <= 0.999 and abs(decay.mean() - 0.9495) < 0.005
    assert not cell.b.data.any() and abs(cell.W_x.data.var() * 50 - 1) < 0.05 and abs(cell.W_u.data.var() * 400 - 1) < 0.05
    for kind, gates in ((MinGRUCell, 2), (MinLSTMCell, 3)):
        W = kind(50, 400, rng=np.random.default_rng(0)).W_x.data
        assert W.shape == (50, gates * 400) and 0.99 < abs(W).max() * 50 ** 0.5 <= 1


@pytest.mark.parametrize("kind", CELLS.values())
def test_what_is_wrong_is_said(kind):
    with pytest.raises(ValueError, match=f"{kind.__name__} got hidden_size=0; expected a positive integer"):
        kind(3, 0)
    with pytest.raises(TypeError, match="rng must be a numpy.random.Generator, got int"):
        kind(3, 4, rng=5)
