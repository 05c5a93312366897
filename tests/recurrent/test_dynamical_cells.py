"""The cells of recurrent/dynamical/: against their papers' equations, against PyTorch, and against what must hold of each.

The committed reference tests/references/dynamical.npz is made by make_dynamical.py there, which has the equations a second time, in column
vectors and with the papers' names; where torch and scipy are installed the same comparison also runs live.
"""
import functools
import importlib.util

import numpy as np
import pytest

import minigrad as mg
from minigrad.nested import flatten
from minigrad.recurrent.dynamical import AntisymmetricRNNCell, CfCCell, CoRNNCell, LEMCell, LMUCell
from minigrad.recurrent.dynamical.lmu import legendre_delay, legendre_system
from tests.references import make_dynamical as made

D, H, M, ORDER = made.D, made.H, made.M, made.ORDER
CELLS = {
    "antisymmetric": lambda **o: AntisymmetricRNNCell(D, H, epsilon=made.EPSILON, gamma=made.GAMMA, **o),
    "antisymmetric_gated": lambda **o: AntisymmetricRNNCell(D, H, gated=True, epsilon=made.EPSILON, gamma=made.GAMMA, **o),
    "cornn": lambda **o: CoRNNCell(D, H, dt=made.DT, gamma=made.STIFFNESS, epsilon=made.DAMPING, **o),
    "lem": lambda **o: LEMCell(D, H, dt=made.LARGEST_STEP, **o),
    "cfc": lambda **o: CfCCell(D, H, backbone_size=M, **o),
    "cfc_no_gate": lambda **o: CfCCell(D, H, backbone_size=M, gate=False, **o),
    "lmu": lambda **o: LMUCell(D, H, order=ORDER, theta=made.THETA, **o),
}
HAS_PEERS = all(importlib.util.find_spec(name) for name in ("torch", "scipy"))
NEEDS_PEERS = pytest.mark.skipif(not HAS_PEERS, reason="torch or scipy is not installed (extra 'peers'); the committed file stands in")


def error(ours, reference):
    assert np.shape(ours) == np.shape(reference)
    return np.abs(ours - reference).max() / np.abs(reference).max()


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def probe(case):
    """The cell of a case and arrays for it: xs (T, B, D) and a state, neither of them zero; weights 0.7 randn."""
    rng = np.random.default_rng(5)
    cell = CELLS[case](rng=rng)
    for p in cell.parameters().values():
        p.data = 0.7 * rng.standard_normal(p.shape)
    xs = rng.standard_normal((made.T, made.B, D))
    if case.startswith("cfc"):
        xs[..., -1] = 0.5 * rng.exponential(size=(made.T, made.B))
    sizes = (H, ORDER) if case == "lmu" else (H, H) if case in made.STATES else (H,)
    state = tuple(0.7 * rng.standard_normal((made.B, n)) for n in sizes)
    return cell, xs, state if len(state) > 1 else state[0]


def as_tensors(state):
    return tuple(map(mg.Tensor, state)) if isinstance(state, tuple) else mg.Tensor(state)


# ---- the equations of the docstrings, in plain NumPy ------------------------------------------------------------------
def step_by_hand(case, p, x, state):
    if case == "antisymmetric":
        h = state + made.EPSILON * np.tanh(x @ p["W_x"] + state @ (p["W_h"] - p["W_h"].T - made.GAMMA * np.eye(H)) + p["b"])
        return h, h
    if case == "antisymmetric_gated":
        A = p["W_h"] - p["W_h"].T - made.GAMMA * np.eye(H)
        (W_xn, W_xz), (b_n, b_z) = np.split(p["W_x"], 2, 1), np.split(p["b"], 2)
        h = state + made.EPSILON * sigmoid(x @ W_xz + state @ A + b_z) * np.tanh(x @ W_xn + state @ A + b_n)
        return h, h
    if case == "cornn":
        h, z = state
        W = np.concatenate([p["W_x"], p["W_z"], p["W_h"]])
        z = z + made.DT * (np.tanh(np.concatenate([x, z, h], axis=1) @ W + p["b"]) - made.STIFFNESS * h - made.DAMPING * z)
        h = h + made.DT * z
        return h, (h, z)
    if case == "lem":
        y, z = state
        (xd, xg, xz, xy), (yd, yg, yz), (bd, bg, bz, by) = np.split(p["W_x"], 4, 1), np.split(p["W_y"], 3, 1), np.split(p["b"], 4)
        delta = made.LARGEST_STEP * sigmoid(x @ xd + y @ yd + bd)
        gamma = made.LARGEST_STEP * sigmoid(x @ xg + y @ yg + bg)
        new_z = (1 - delta) * z + delta * np.tanh(x @ xz + y @ yz + bz)
        y = (1 - gamma) * y + gamma * np.tanh(x @ xy + new_z @ p["W_z"] + by)
        return y, (y, new_z)
    if case.startswith("cfc"):
        v = 1.7159 * np.tanh(0.666 * (np.concatenate([x[:, :-1], state], axis=1) @ np.concatenate([p["W_x"], p["W_h"]]) + p["b"]))
        g, k, f, c = (v @ W + b for W, b in zip(np.split(p["W_v"], 4, 1), np.split(p["b_v"], 4)))
        s = sigmoid(f * x[:, -1:] + c)
        h = (1 - s if case == "cfc" else 1) * np.tanh(g) + s * np.tanh(k)
        return h, h
    h, m = state
    A, B = legendre_delay(ORDER, made.THETA)
    u = np.sum(x * p["e_x"].T, 1) + np.sum(h * p["e_h"].T, 1) + np.sum(m * p["e_m"].T, 1)
    m = m @ A + np.outer(u, B)
    h = np.tanh(x @ p["W_x"] + h @ p["W_h"] + m @ p["W_m"])
    return h, (h, m)


@pytest.mark.parametrize("case", CELLS)
def test_a_step_is_the_equation_of_the_docstring(case):
    cell, xs, state = probe(case)
    want, got = step_by_hand(case, cell.state_dict(), xs[0], state), cell(mg.Tensor(xs[0]), as_tensors(state))
    for a, b in zip(flatten(want), flatten(got)):
        assert error(b.data, a) <= 1e-14


@pytest.mark.parametrize("case", CELLS)
def test_one_row_without_a_batch(case):
    cell, xs, state = probe(case)
    row = tuple(s[1] for s in state) if isinstance(state, tuple) else state[1]
    ys, last = mg.unroll(cell, xs, as_tensors(state))
    y, alone = mg.unroll(cell, xs[:, 1], as_tensors(row))
    assert error(y.data, ys.data[:, 1]) <= 1e-14
    assert all(error(a.data, b.data[1]) <= 1e-14 for a, b in zip(flatten(alone), flatten(last)))


# ---- PyTorch ----------------------------------------------------------------------------------------------------------
def packed(case, a, prefix=""):
    """The paper's matrices as our cell holds them; with prefix "d_" their gradients, which pack in the same way."""
    a = {name: a[prefix + name] for name in made.SHAPES[case]}
    if case == "antisymmetric":
        return {"W_x": a["V_h"].T, "W_h": a["W_h"].T, "b": a["b_h"]}
    if case == "antisymmetric_gated":
        return {"W_x": np.concatenate([a["V_h"].T, a["V_z"].T], 1), "W_h": a["W_h"].T, "b": np.concatenate([a["b_h"], a["b_z"]])}
    if case == "cornn":
        return {"W_x": a["V"].T, "W_z": a["Wz"].T, "W_h": a["W"].T, "b": a["b"]}
    if case == "lem":
        return {"W_x": np.concatenate([a["V_" + k].T for k in "12zy"], 1), "b": np.concatenate([a["b_" + k] for k in "12zy"]),
                "W_y": np.concatenate([a["W_" + k].T for k in "12z"], 1), "W_z": a["W_y"].T}
    if case.startswith("cfc"):
        return {"W_x": a["W"].T[:D - 1], "W_h": a["W"].T[D - 1:], "b": a["b"],
                "W_v": np.concatenate([a["W_" + k].T for k in "ghab"], 1), "b_v": np.concatenate([a["b_" + k] for k in "ghab"])}
    return {name: value[:, None] if name.startswith("e") else value.T for name, value in a.items()}


def assert_agrees_with_torch(case, a):
    cell, xs = CELLS[case](), mg.parameter(a["X"])
    cell.load_state_dict(packed(case, a))
    names = made.STATES.get(case, ("h0",))
    initial = [mg.parameter(a[name]) for name in names]
    ys, last = mg.unroll(cell, xs, tuple(initial) if len(initial) > 1 else initial[0])
    total = 0
    for name, value in zip(("ys", *(name[0] for name in names)), (ys, *flatten(last))):
        assert error(value.data, a[name]) <= 1e-12, name
        total = total + (a["G_" + name] * value).sum()
    total.backward()
    references = {**packed(case, a, "d_"), "X": a["d_X"], **{name: a["d_" + name] for name in names}}
    found = {**{name: p.grad for name, p in cell.parameters().items()}, "X": xs.grad, **{n: s.grad for n, s in zip(names, initial)}}
    assert references.keys() == found.keys()
    for name, reference in references.items():
        assert error(found[name], reference) <= 1e-12, name


@functools.cache
def committed():
    with np.load(made.PATH, allow_pickle=False) as file:
        return dict(file)


def of_case(case):
    return {name.removeprefix(case + "."): array for name, array in committed().items() if name.startswith(case + ".")}


@pytest.mark.parametrize("case", CELLS)
def test_committed_reference(case):
    assert_agrees_with_torch(case, of_case(case))


@NEEDS_PEERS
@pytest.mark.parametrize("case", CELLS)
def test_live(case):
    assert_agrees_with_torch(case, made.reference(case))


@NEEDS_PEERS
def test_the_committed_file_is_what_the_script_makes():
    for case in CELLS:
        stored = of_case(case)
        for name, array in made.reference(case).items():
            assert error(stored[name], array) <= 1e-12, f"{case}.{name}"


def test_the_comparison_notices_a_wrong_weight():
    a = of_case("lem")
    a["d_W_y"] = a["d_W_y"] * (1 + 1e-9)
    with pytest.raises(AssertionError, match="W_z"):
        assert_agrees_with_torch("lem", a)


def test_the_file_says_what_made_it():
    assert "torch" in str(committed()["versions"]) and "scipy" in str(committed()["versions"])


# ---- gradients and dtypes ---------------------------------------------------------------------------------------------
class Everything(mg.Module):
    """A cell, its inputs and its initial state: all that can be differentiated."""

    def __init__(self, case, steps):
        self.cell, xs, state = probe(case)
        self.xs = mg.parameter(xs[:steps])
        self.state = tuple(map(mg.parameter, state)) if isinstance(state, tuple) else mg.parameter(state)

    def __call__(self):
        ys, state = mg.unroll(self.cell, self.xs, self.state)
        return (ys, *flatten(state))


@pytest.mark.parametrize("order, steps", [(1, made.T), (2, 2)])
@pytest.mark.parametrize("case", CELLS)
def test_gradients_against_complex_step(case, order, steps):
    everything = Everything(case, steps)
    report = mg.check.gradcheck(everything, everything, order)
    assert report.ok and all(row.note == "" and row.error <= 1e-12 for row in report.rows), str(report)


@pytest.mark.parametrize("case", CELLS)
def test_float32_stays_float32(case):
    _, xs, _ = probe(case)
    exact, cell = CELLS[case](), CELLS[case](dtype=np.float32)
    ys, state = mg.unroll(cell, xs.astype(np.float32))
    (ys * ys).sum().backward()
    assert {x.dtype for x in (ys, *flatten(state), *cell.parameters().values())} == {np.dtype(np.float32)}
    assert {p.grad.dtype for p in cell.parameters().values()} == {np.dtype(np.float32)}
    assert 0 < error(ys.data, mg.unroll(exact, xs)[0].data) <= 1e-5


# ---- antisymmetric ----------------------------------------------------------------------------------------------------
def eigenvalues(cell, x, h):
    """Of the differential equation behind a step: (∂h_t/∂h_{t-1} - I) / ε."""
    h = mg.parameter(h)
    return np.linalg.eigvals((mg.jacobian(cell(mg.Tensor(x), h)[0], h).data - np.eye(len(h))) / cell.epsilon)


@pytest.mark.parametrize("gated, height", [(False, 1.0), (True, 0.5)])
@pytest.mark.parametrize("gamma", [0.0, 0.3])
def test_at_rest_the_eigenvalues_lie_on_a_vertical_line(gamma, gated, height):
    """At h = 0, x = 0 every tanh has slope 1 and every gate is ½: A itself is seen, with eigenvalues -γ ± iω."""
    cell = AntisymmetricRNNCell(3, H, gated=gated, gamma=gamma, rng=np.random.default_rng(2))
    found = eigenvalues(cell, np.zeros(3), np.zeros(H))
    assert np.abs(found.real + height * gamma).max() <= 1e-13 and np.abs(found.imag).max() > 0.3


def test_without_diffusion_the_eigenvalues_are_imaginary_everywhere():
    """diag(tanh′) A is similar to an antisymmetric matrix, whatever h and x are."""
    cell, xs, state = probe("antisymmetric")
    cell.gamma = 0.0
    for x, h in zip(xs[0], state):
        found = eigenvalues(cell, x, h)
        assert np.abs(found.real).max() <= 1e-12 and np.abs(found.imag).max() > 0.1


def test_the_diffusion_that_keeps_eulers_steps_stable():
    """|1 + ε (-γ ± iω)| is above 1 for γ well below ε ω² / 2 and not above it for γ well above."""
    cell = AntisymmetricRNNCell(3, H, rng=np.random.default_rng(2))
    frequency = np.abs(eigenvalues(cell, np.zeros(3), np.zeros(H)).imag).max()
    for share, stable in ((0.8, False), (1.2, True)):
        cell.gamma = share * cell.epsilon * frequency ** 2 / 2
        growth = np.abs(1 + cell.epsilon * eigenvalues(cell, np.zeros(3), np.zeros(H)))
        assert (growth.max() <= 1) == stable


# ---- coRNN ------------------------------------------------------------------------------------------------------------
def lone_oscillators(**options):
    """No input, no coupling: every weight is zero."""
    cell = CoRNNCell(D, H, **options)
    for p in cell.parameters().values():
        p.data = 0 * p.data
    return cell


def test_without_forces_oscillators_drift():
    _, _, (h, z) = probe("cornn")
    xs, cell = np.ones((50, made.B, D)), lone_oscillators(dt=0.25, gamma=0.0, epsilon=0.0)
    ys, (_, last) = mg.unroll(cell, xs, (mg.Tensor(h), mg.Tensor(z)))
    t = np.arange(1, 51)[:, None, None]
    assert np.array_equal(last.data, z) and error(ys.data, h + 0.25 * t * z) <= 1e-14


def test_without_damping_an_energy_is_conserved():
    """The new velocity moves the position: symplectic Euler, which keeps z² + γh² - Δt γ h z, and does not spiral outwards."""
    _, _, (h, z) = probe("cornn")
    dt, gamma = 0.3, 2.7
    _, _, states = mg.unroll(lone_oscillators(dt=dt, gamma=gamma, epsilon=0.0), np.zeros((1000, made.B, D)),
                             (mg.Tensor(h), mg.Tensor(z)), states=True)
    energy = np.array([z.data ** 2 + gamma * h.data ** 2 - dt * gamma * h.data * z.data for h, z in states])
    assert np.abs(energy / energy[0] - 1).max() <= 1e-12


def test_damping_takes_its_share_of_the_velocity():
    _, _, (h, z) = probe("cornn")
    _, (_, last) = lone_oscillators(dt=0.1, gamma=0.0, epsilon=3.0)(mg.Tensor(np.ones((made.B, D))), (mg.Tensor(h), mg.Tensor(z)))
    assert error(last.data, 0.7 * z) <= 1e-15


# ---- LEM --------------------------------------------------------------------------------------------------------------
def lem_with_steps(bias_z, bias_y):
    """Step sizes that do not depend on anything: 1 for a bias of 40, 0 for one of -800."""
    cell, xs, state = probe("lem")
    cell.dt, W_x, W_y, b = 1.0, cell.W_x.data.copy(), cell.W_y.data.copy(), cell.b.data.copy()
    W_x[:, :2 * H], W_y[:, :2 * H], b[:H], b[H:2 * H] = 0, 0, bias_z, bias_y
    cell.W_x.data, cell.W_y.data, cell.b.data = W_x, W_y, b
    return cell, xs[0], state, W_x[:, 2 * H:], W_y[:, 2 * H:], b[2 * H:]


def test_full_steps_forget_everything_but_y():
    """Δ = Γ = 1: z is an Elman cell's hidden layer and y a second one on top of the *new* z."""
    cell, x, (y, z), W_x, W_y, b = lem_with_steps(40, 40)
    new_y, (_, new_z) = cell(mg.Tensor(x), (mg.Tensor(y), mg.Tensor(z)))
    hidden = np.tanh(x @ W_x[:, :H] + y @ W_y + b[:H])
    assert error(new_z.data, hidden) <= 1e-14
    assert error(new_y.data, np.tanh(x @ W_x[:, H:] + hidden @ cell.W_z.data + b[H:])) <= 1e-14
    assert error(new_y.data, np.tanh(x @ W_x[:, H:] + z @ cell.W_z.data + b[H:])) > 0.1


def test_steps_of_zero_keep_everything():
    cell, x, (y, z), *_ = lem_with_steps(-800, -800)
    _, (new_y, new_z) = cell(mg.Tensor(x), (mg.Tensor(y), mg.Tensor(z)))
    assert np.array_equal(new_y.data, y) and np.array_equal(new_z.data, z)


def test_the_two_step_sizes_are_not_confused():
    cell, x, (y, z), *_ = lem_with_steps(-800, 40)
    _, (new_y, new_z) = cell(mg.Tensor(x), (mg.Tensor(y), mg.Tensor(z)))
    assert np.array_equal(new_z.data, z) and error(new_y.data, y) > 0.1


# ---- CfC --------------------------------------------------------------------------------------------------------------
def cfc_with(f=None, c=None):
    """The probe, with the heads f and c changed: each a function of an array of its columns."""
    cell, xs, h = probe("cfc")
    for p in (cell.W_v, cell.b_v):
        value = p.data.copy()
        for change, head in ((f, 2), (c, 3)):
            if change is not None:
                columns = slice(head * H, (head + 1) * H)
                value[..., columns] = change(value[..., columns])
        p.data = value
    return cell, xs, h


def test_another_unit_of_time_is_another_scale_of_f():
    cell, xs, h = probe("cfc")
    minutes, _, _ = cfc_with(f=lambda a: 60 * a)
    seconds = xs * np.where(np.arange(D) == D - 1, 60, 1)
    assert error(mg.unroll(minutes, xs, mg.Tensor(h))[0].data, mg.unroll(cell, seconds, mg.Tensor(h))[0].data) <= 1e-13


def test_it_is_the_papers_equation():
    """Without the shift: x(t) = σ(-f t) ⊙ g + [1 - σ(-f t)] ⊙ h."""
    cell, xs, h = cfc_with(c=np.zeros_like)
    p, x = cell.state_dict(), xs[0]
    v = 1.7159 * np.tanh(0.666 * (x[:, :-1] @ p["W_x"] + h @ p["W_h"] + p["b"]))
    g, k, f, _ = np.split(v @ p["W_v"] + p["b_v"], 4, axis=1)
    t = x[:, -1:]
    assert error(cell(mg.Tensor(x), mg.Tensor(h))[0].data, sigmoid(-f * t) * np.tanh(g) + (1 - sigmoid(-f * t)) * np.tanh(k)) <= 1e-14


def test_time_goes_from_the_middle_to_one_of_two_ends():
    """Without the shift, at once: the mean of g and k. After a long time: k where f > 0, g where f < 0."""
    cell, xs, h = cfc_with(c=np.zeros_like)

    def after(elapsed):
        x = xs[0].copy()
        x[:, -1] = elapsed
        return cell(mg.Tensor(x), mg.Tensor(h))[0].data
    p = cell.state_dict()
    v = 1.7159 * np.tanh(0.666 * (xs[0][:, :-1] @ p["W_x"] + h @ p["W_h"] + p["b"]))
    g, k, f, _ = np.split(v @ p["W_v"] + p["b_v"], 4, axis=1)
    g, k = np.tanh(g), np.tanh(k)
    assert error(after(0.0), (g + k) / 2) <= 1e-14 and error(after(1e6), np.where(f > 0, k, g)) <= 1e-14


def test_the_elapsed_time_is_no_input_of_the_backbone():
    cell, _, _ = probe("cfc")
    assert cell.input_size == D and cell.W_x.shape == (D - 1, M)


# ---- LMU --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("order, theta", made.WINDOWS)
def test_zero_order_hold_is_that_of_scipy(order, theta):
    """A and B in our row vectors, against scipy.signal.cont2discrete of the paper's matrices."""
    A, B = legendre_delay(order, theta)
    file = committed()
    assert error(A, file[f"zoh.{order}.{theta:g}.A"].T) <= 1e-13 and error(B, file[f"zoh.{order}.{theta:g}.B"].T) <= 1e-13


@NEEDS_PEERS
@pytest.mark.parametrize("order, theta", [(5, 3.0), (64, 100.0), (256, 784.0)])
def test_zero_order_hold_live(order, theta):
    A, B = legendre_delay(order, theta)
    a, b = made.legendre(order, theta)
    assert error(A, a.T) <= 1e-12 and error(B, b.T) <= 1e-12


@pytest.mark.parametrize("order, theta", made.WINDOWS)
def test_a_constant_is_remembered_as_a_constant(order, theta):
    """P_0 = 1: the state (1, 0, …, 0) reproduces itself under the input 1; and two steps at θ are one at θ/2."""
    A, B = legendre_delay(order, theta)
    constant = np.eye(order)[:1]
    assert np.abs(constant @ A + B - constant).max() <= 1e-12
    twice, once = legendre_delay(order, theta / 2)
    assert error(A @ A, twice) <= 1e-12 and error(B @ A + B, once) <= 1e-12


@pytest.mark.parametrize("order", [1, 2, 3, 6])
def test_the_system_is_pades_approximant_of_a_delay(order):
    """What is decoded at τ = θ has the transfer function 1 (s - A)⁻¹ B = e^{-s} up to s^(2d-1): the paper's start."""
    A, B = legendre_system(order)
    moment, factorial = B, 1.0
    for k in range(2 * order):
        moment, factorial = np.linalg.solve(A.T, moment.T).T, factorial * max(k, 1)
        assert abs(-moment.sum() * factorial - (-1) ** k) <= 1e-10, f"coefficient of s^{k}"
    moment = np.linalg.solve(A.T, moment.T).T
    assert abs(-moment.sum() * factorial * 2 * order - 1) > 1e-3                 # and no further


def test_the_memory_gives_back_a_delayed_input():
    """A slow signal goes in; Legendre polynomials at 2τ/θ - 1 give back what it was τ steps ago, anywhere in the window."""
    order, theta, now = 16, 200.0, np.arange(600)
    cell = LMUCell(1, 1, order=order, theta=theta)
    cell.e_x.data, cell.e_h.data = np.ones((1, 1)), np.zeros((1, 1))

    def signal(t):
        return np.sin(2 * np.pi * t / 160) + 0.5 * np.cos(2 * np.pi * t / 114)
    with mg.no_grad():
        _, _, states = mg.unroll(cell, signal(now)[:, None, None], states=True)
    m = np.array([m.data[0] for _, m in states[1:]])
    filled = now >= 450
    for tau, tolerance in ((0.0, 1e-2), (20.0, 4e-4), (66.6, 4e-4), (100.0, 4e-4), (180.0, 4e-4), (200.0, 4e-4)):
        decoded = m @ np.polynomial.legendre.legvander([2 * tau / theta - 1], order - 1)[0]
        assert np.abs(decoded - signal(now + 0.5 - tau))[filled].max() <= tolerance


# ---- bad input --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("make, message", [
    (lambda: AntisymmetricRNNCell(3, 4, epsilon=0), r"AntisymmetricRNNCell got epsilon=0; expected a positive number"),
    (lambda: AntisymmetricRNNCell(0, 4), r"AntisymmetricRNNCell got input_size=0; expected a positive integer"),
    (lambda: CoRNNCell(3, 4, dt=-0.1), r"CoRNNCell got dt=-0.1; expected a positive number"),
    (lambda: CoRNNCell(3, 4.0), r"CoRNNCell got hidden_size=4.0; expected a positive integer"),
    (lambda: LEMCell(3, 4, dt="1"), r"LEMCell got dt='1'; expected a positive number"),
    (lambda: CfCCell(1, 4), r"CfCCell got input_size=1; expected at least 2: the inputs and, as the last column, the elapsed time"),
    (lambda: CfCCell(3, 4, backbone_size=0), r"CfCCell got backbone_size=0; expected a positive integer"),
    (lambda: LMUCell(3, 4, order=2.5), r"LMUCell got order=2.5; expected a positive integer"),
    (lambda: LMUCell(3, 4, theta=float("nan")), r"LMUCell got theta=nan; expected a positive number"),
])
def test_making_a_cell(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make", [AntisymmetricRNNCell, CoRNNCell, LEMCell, CfCCell, LMUCell])
def test_rng(make):
    with pytest.raises(TypeError, match=r"rng must be a numpy.random.Generator, got int; use np.random.default_rng\(seed\)"):
        make(3, 4, rng=1)
    for a, b in zip(make(3, 4).parameters().values(), make(3, 4, rng=np.random.default_rng(0)).parameters().values()):
        assert np.array_equal(a.data, b.data)
    drawn = [p.data.ravel() for p in make(3, 4).parameters().values() if p.data.any()]
    assert len(np.unique(np.concatenate(drawn))) == sum(map(len, drawn))         # no stream of random numbers is used twice
