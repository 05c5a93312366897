"""The cells of simple/: the authors' equations in plain NumPy, identities, and independent references."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.recurrent.simple import ClockworkRNNCell, IRNNCell, OrthogonalRNNCell, RNNCell
from minigrad.recurrent.simple.orthogonal import modrelu
from tests.recurrent.against import assert_agrees, committed, compare, needs_torch
from tests.references import make_cells

T, B, D, H = 9, 3, 4, 6
XS = np.random.default_rng(5).standard_normal((T, B, D))
BEGIN = 0.7 * np.random.default_rng(6).standard_normal((B, H))


def drawn(cls, seed=3, **options):
    """A cell with all of its parameters away from their initial values; and these values."""
    rng = np.random.default_rng(seed)
    cell = cls(D, H, rng=rng, **options)
    for p in cell.parameters().values():
        p.data = p.data + 0.7 * rng.standard_normal(p.shape)
    return cell, cell.state_dict()


# ---- IRNN -----------------------------------------------------------------------------------------------------------

def test_irnn_is_its_equation():
    cell, p = drawn(IRNNCell)
    y, h = cell(XS[0], mg.Tensor(BEGIN))
    assert_agrees("h", y.data, np.maximum(XS[0] @ p["W_x"] + BEGIN @ p["W_h"] + p["b"], 0))


def test_irnn_begins_as_a_sum_over_its_inputs():
    """Positive inputs and weights: h_T = h_0 + Σ x_t W_x, and dh_T/dh_0 is the identity."""
    cell = IRNNCell(D, H, rng=np.random.default_rng(1))
    cell.W_x.data = np.abs(cell.W_x.data)
    h_0 = mg.parameter(np.abs(BEGIN))
    _, h = mg.unroll(cell, np.abs(XS), h_0)
    assert_agrees("h", h.data, h_0.data + np.abs(XS).sum(0) @ cell.W_x.data)
    assert np.array_equal(mg.jacobian(h, h_0).data.reshape(B * H, B * H), np.eye(B * H))


def test_where_the_irnn_starts():
    cell = IRNNCell(100, 100, rng=np.random.default_rng(1))
    assert np.array_equal(cell.W_h.data, np.eye(100)) and not cell.b.data.any()
    assert abs(cell.W_x.data.std() - 0.001) < 3e-5 and abs(cell.W_x.data.mean()) < 3e-5
    assert np.array_equal(IRNNCell(3, 4, scale=0.01).W_h.data, 0.01 * np.eye(4))
    assert IRNNCell(3, 4, dtype=np.float32).W_x.dtype == np.float32


# ---- orthogonal -----------------------------------------------------------------------------------------------------

both = pytest.mark.parametrize("method", ["exp", "cayley"])


@both
def test_orthogonal_is_its_equation(method):
    cell, p = drawn(OrthogonalRNNCell, method=method)
    S = p["A"] - p["A"].T
    w, V = np.linalg.eig(S)                                        # another way to a function of a matrix: by its eigenvalues
    U = (V * (np.exp(w) if method == "exp" else (1 + w / 2) / (1 - w / 2)) @ np.linalg.inv(V)).real
    z = XS[0] @ p["W_x"] + BEGIN @ U
    y, _ = cell(XS[0], mg.Tensor(BEGIN))
    assert_agrees("U", cell.rotation().data, U)
    assert_agrees("h", y.data, np.sign(z) * np.maximum(np.abs(z) + p["b"], 0))


@both
def test_rotations_keep_every_length(method):
    """U is orthogonal of determinant 1; where modReLU changes nothing (b = 0) and nothing comes in, |h| stays, and so do gradients."""
    cell, _ = drawn(OrthogonalRNNCell, method=method)
    U = cell.rotation().data
    assert_agrees("U Uᵀ", U @ U.T, np.eye(H), 1e-14)
    assert np.linalg.det(U) == pytest.approx(1, rel=1e-13)
    cell.b.data = np.zeros(H)
    h_0 = mg.parameter(BEGIN)
    _, h = mg.unroll(cell, np.zeros((100, B, D)), h_0)
    assert_agrees("|h|", np.linalg.norm(h.data, axis=1), np.linalg.norm(BEGIN, axis=1))
    g, = mg.grad(h, h_0, cotangent=np.ones((B, H)))
    assert_agrees("|dh/dh_0|", np.linalg.norm(g.data, axis=1), np.full(B, H ** 0.5))


def test_cayley_is_the_exponential_to_second_order():
    """cayley(S) - exp(S) = S³/12 + …"""
    for scale in (1e-2, 1e-3):
        exp, cayley = OrthogonalRNNCell(D, H), OrthogonalRNNCell(D, H, method="cayley")
        exp.A.data = cayley.A.data = scale * np.random.default_rng(2).standard_normal((H, H))
        S = exp.A.data - exp.A.data.T
        assert_agrees("difference", cayley.rotation().data - exp.rotation().data, S @ S @ S / 12, 10 * scale)


@pytest.mark.parametrize("method, lowest, highest", [("exp", -np.pi, np.pi), ("cayley", 0, np.pi / 2)])
def test_a_rotation_starts_in_planes_by_uniform_angles(method, lowest, highest):
    U = OrthogonalRNNCell(3, 401, method=method, rng=np.random.default_rng(1)).rotation().data
    first = np.arange(0, 400, 2)
    angles = np.arctan2(U[first, first + 1], U[first, first])
    assert_agrees("blocks", U[first + 1, first], -U[first, first + 1], 1e-12)
    assert U[400, 400] == pytest.approx(1)
    width = highest - lowest
    assert lowest <= angles.min() < lowest + width / 20 and highest - width / 20 < angles.max() <= highest
    assert abs(angles.mean() - (lowest + highest) / 2) < width / 20


def test_modrelu_at_zero_and_with_either_sign_of_b():
    z = np.array([-2.0, -0.5, 0.0, 0.5, 2.0])
    for b in (-1.0, 0.0, 1.0):
        p = mg.parameter(z)
        y = modrelu(p, b)
        assert np.array_equal(y.data, np.sign(z) * np.maximum(np.abs(z) + b, 0))
        assert np.array_equal(modrelu(z, b), y.data)
        slope, = mg.grad(y.sum(), p)
        assert np.array_equal(slope.data, np.where(z == 0, 0, np.abs(z) + b > 0))        # at the jump as in PyTorch: 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_modrelu_of_large_and_small_numbers(dtype):
    z = np.array([1e6, -1e6, 1e-6, -1e-6], dtype)
    y = modrelu(mg.parameter(z), dtype(0.25))
    assert y.dtype == dtype and np.array_equal(y.data, np.sign(z) * (np.abs(z) + dtype(0.25)))


def test_orthogonal_says_which_methods_there_are():
    with pytest.raises(ValueError, match="OrthogonalRNNCell got method='qr'; expected 'exp' or 'cayley'"):
        OrthogonalRNNCell(3, 4, method="qr")


# ---- clockwork ------------------------------------------------------------------------------------------------------

def clockwork_by_hand(p, periods, h):
    """t from 0; module i steps when t mod T_i = 0, and hears the modules whose period is not shorter than its own."""
    ys, n = [], H // len(periods)
    for t, x in enumerate(XS):
        new = h.copy()
        for i, period in enumerate(periods):
            mine = slice(i * n, (i + 1) * n)
            if t % period == 0:
                a = x @ p["W_x"][:, mine] + p["b"][mine]
                for j, other in enumerate(periods):
                    if other >= period:
                        a = a + h[:, j * n:(j + 1) * n] @ p["W_h"][j * n:(j + 1) * n, mine]
                new[:, mine] = np.tanh(a)
        ys.append(h := new)
    return np.stack(ys)


@pytest.mark.parametrize("periods", [(1, 2, 4), (3, 1), (2, 5, 3), (1,), (7, 7, 2)])
def test_clockwork_is_its_equation(periods):
    cell, p = drawn(ClockworkRNNCell, periods=periods)
    ys, _ = mg.unroll(cell, XS, (mg.Tensor(BEGIN), mg.Tensor(np.zeros((B, H)))))
    assert_agrees("ys", ys.data, clockwork_by_hand(p, periods, BEGIN))


def test_clockwork_with_one_clock_is_elman():
    cell, p = drawn(ClockworkRNNCell, periods=(1, 1, 1))
    elman = RNNCell(D, H)
    elman.load_state_dict(p)
    ys, _ = mg.unroll(cell, XS)
    assert_agrees("ys", ys.data, mg.unroll(elman, XS)[0].data)


def test_all_groups_step_at_first_as_elman_with_a_block_triangular_matrix():
    cell, p = drawn(ClockworkRNNCell, periods=(1, 2, 4))
    elman = RNNCell(D, H)
    blocks = np.kron(np.tril(np.ones((3, 3))), np.ones((2, 2)))       # from slower (rows) to faster (columns); the paper's is its transpose
    elman.load_state_dict(p | {"W_h": p["W_h"] * blocks})
    y, _ = cell(XS[0], (mg.Tensor(BEGIN), mg.Tensor(np.zeros((B, H)))))
    assert_agrees("h", y.data, elman(XS[0], mg.Tensor(BEGIN))[0].data)


def test_the_slowest_group_alone_is_elman_on_every_p_th_input():
    cell, p = drawn(ClockworkRNNCell, periods=(1, 3))
    slow, elman = slice(3, 6), RNNCell(D, 3)
    elman.load_state_dict({"W_x": p["W_x"][:, slow], "W_h": p["W_h"][slow, slow], "b": p["b"][slow]})
    ys, _ = mg.unroll(cell, XS)
    assert_agrees("ys", ys.data[::3, :, slow], mg.unroll(elman, XS[::3])[0].data)
    assert np.array_equal(ys.data[0:3, :, slow], np.broadcast_to(ys.data[0, :, slow], (3, B, 3)))


def test_rows_of_a_batch_may_stand_at_different_times():
    """The clock is part of the state: a row that ended keeps its time and goes on from there."""
    cell, _ = drawn(ClockworkRNNCell, periods=(2, 3))
    whole, _ = mg.unroll(cell, XS)
    _, state = mg.unroll(cell, XS, lengths=[4, 5, 6])
    rest, _ = mg.unroll(cell, np.stack([XS[4:7, 0], XS[5:8, 1], XS[6:9, 2]], axis=1), state)
    assert_agrees("rest", rest.data, np.stack([whole.data[4:7, 0], whole.data[5:8, 1], whole.data[6:9, 2]], axis=1))


@pytest.mark.parametrize("wrap", [
    lambda cell: mg.zoneout(cell, 0.5).eval(), lambda cell: mg.zoneout(cell, 0.5), lambda cell: mg.dropout(cell, 0.5, on="state"),
    lambda cell: mg.dropout(cell, 0.5, on="state", per="sequence"), mg.learned_start], ids="eval zoneout dropout variational start".split())
def test_no_wrapper_touches_the_clock(wrap):
    """The count-down is an integer: nothing is blended, dropped or trained, and groups stand still when they did without the wrapper."""
    cell = wrap(ClockworkRNNCell(D, H, periods=(1, 3)))
    assert [name for name in cell.parameters() if name.startswith("start")] in ([], ["start.0"])
    _, state = mg.unroll(cell, XS)
    h, c = state if len(state) == 2 and isinstance(state[0], mg.Tensor) else state[0]
    assert np.array_equal(c.data, mg.unroll(ClockworkRNNCell(D, H, periods=(1, 3)), XS)[1][1].data) and c.dtype.kind == "i"


def test_weights_from_faster_to_slower_units_are_never_used():
    cell, _ = drawn(ClockworkRNNCell, periods=(1, 2, 4))
    mg.unroll(cell, XS)[0].sum().backward()
    used = np.kron(np.tril(np.ones((3, 3))), np.ones((2, 2))) == 1
    assert not cell.W_h.grad[~used].any() and cell.W_h.grad[used].all()


@pytest.mark.parametrize("periods, message", [
    ((), r"got periods=\(\); expected positive integers, one for each group"), ((1, 0), r"got periods=\(1, 0\)"),
    ((1, 10 ** 5), r"got periods=\(1, 100000\)"), ((1, 2.5), r"got periods=\(1, 2.5\)"), (4, "got periods=4; expected positive integers, one for each group of units"),
    ((1, 2, 3, 4), r"got hidden_size=6 for 4 periods \(1, 2, 3, 4\); expected a multiple of 4")])
def test_clockwork_says_what_periods_are(periods, message):
    with pytest.raises(ValueError, match=f"ClockworkRNNCell {message}"):
        ClockworkRNNCell(3, 6, periods=periods)


# ---- references -----------------------------------------------------------------------------------------------------

def orthogonal_gradients(a):
    """torch reads one triangle, L; we read A - Aᵀ: the gradient in A is what L's was, and its negative on the other side."""
    return orthogonal(a) | {"A": a["L"].T - a["L"]}


def orthogonal(a):
    return {"W_x": a["T"].T, "A": np.tril(a["L"], -1).T, "b": a["b"]}


def clockwork(a):
    return {"W_x": a["W_I"].T, "W_h": a["W_H"].T, "b": a["b"]}


REFERENCES: dict[str, tuple] = {
    "orthogonal_exp": (OrthogonalRNNCell, {}, orthogonal, orthogonal_gradients),
    "orthogonal_cayley": (OrthogonalRNNCell, {"method": "cayley"}, orthogonal, orthogonal_gradients),
    "clockwork": (ClockworkRNNCell, {"periods": make_cells.PERIODS}, clockwork, None)}


def against(case, a):
    cls, options, packed, gradients = REFERENCES[case]
    compare(a, cls(make_cells.D, make_cells.H, **options), packed, gradients)


@pytest.mark.parametrize("case", REFERENCES)
def test_committed_reference(case):
    against(case, committed(case))


@needs_torch
@pytest.mark.parametrize("case", REFERENCES)
def test_live(case):
    against(case, make_cells.reference(case))
