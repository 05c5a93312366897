"""gradcheck: right functions pass to the last digits, wrong ones do not; a weaker reference is named."""
import warnings

import numpy as np
import pytest

import minigrad as mg
from minigrad.check import gradcheck
from minigrad.check.slopes import slope
from minigrad.ops import FUNCTIONS, TABLE, op

from wrong_bptt import MISTAKES, bptt, probe

rng = np.random.default_rng(0)
X, W = rng.standard_normal((3, 4)), rng.standard_normal((4, 5))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("fn, inputs", [
    (lambda x: mg.tanh(x), X),
    (lambda x: mg.exp(x) * x, [X]),
    (lambda x, w: mg.tanh(x @ w) @ w.T, {"x": X, "w": W}),
    (lambda x, w: (mg.sigmoid(x @ w), (x * x).sum()), [X, W]),
    (lambda x: mg.softmax(x), X),
    (lambda x: mg.softmax_cross_entropy(x, np.array([0, 3, 1])), X),
    (lambda x: x[1:, ::2] * x[:2, 1::2], X),
    (lambda x: x.sum() ** 3, mg.Tensor(X, name="x")),
    (lambda x: x ** 3, np.array(2.0)),
])
def test_right_functions_agree(fn, inputs, order):
    report = gradcheck(fn, inputs, order)
    assert report.ok, report
    assert all(r.error <= 1e-12 and r.note == "" for r in report.rows)


def test_an_unrolled_cell():
    cell = mg.RNNCell(3, 4, rng=rng)
    xs, h = rng.standard_normal((5, 2, 3)), rng.standard_normal((2, 4))
    assert gradcheck(lambda xs, h: mg.unroll(cell, xs, h)[0], {"xs": xs, "h": h}).ok


def test_a_module_is_checked_by_its_parameters_and_left_as_it_was():
    cell = mg.GRUCell(3, 4, rng=rng)
    xs, before = rng.standard_normal((5, 2, 3)), cell.state_dict()
    report = gradcheck(lambda: mg.unroll(cell, xs)[0], cell)
    assert report.ok and [r.name for r in report.rows] == list(cell.parameters())
    assert all(np.array_equal(before[k], v) and v.dtype == before[k].dtype for k, v in cell.state_dict().items())


def detached(x):
    return mg.Tensor(x.data)


WRONG = {
    "half of 2x": lambda x: x * detached(x),
    "nothing of x": lambda x: detached(x) + 0 * x,
    "a factor": lambda x: 1.001 * mg.tanh(x) - 0.001 * mg.tanh(detached(x)),
    "a wrong sign": lambda x: 2 * mg.tanh(detached(x)) - mg.tanh(x),
    "one row of four": lambda x: mg.stack([x[0] ** 2, detached(x)[1] ** 2, x[2] ** 2]),
    "-77 for 2": lambda x: -38.5 * x * x + 39.5 * detached(x) * detached(x),
    "the carry dropped": lambda x: mg.tanh(x[1] + detached(mg.tanh(x[0])) * 0.5) + x[2] * x[0],
    "a tiny part": lambda x: (x ** 2).sum() + 1e-9 * (detached(x) ** 3).sum(),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_gradients_are_seen(name):
    report = gradcheck(WRONG[name], X)
    assert not report.ok, report
    assert "DIFFERENT" in str(report)


def test_a_gradient_that_is_cut_off_altogether_is_wrong_and_that_of_a_constant_is_not():
    assert not gradcheck(detached, X).ok
    assert gradcheck(lambda x: mg.Tensor(1.0), X).ok
    assert gradcheck(lambda x: 3 * x.sum(), X, order=2).ok         # no second derivative


def test_a_second_derivative_that_is_wrong_while_the_first_is_right():
    def fn(x):                                                   # value 0 and slope 0, but a false curvature
        y = x - detached(x)
        return (y * y).sum() + (x * x).sum()
    assert gradcheck(fn, X, 1).ok is False or gradcheck(fn, X, 2).ok is False


def test_a_wrong_row_does_not_hide_behind_a_right_one():
    report = gradcheck(lambda a, b: a * a + b * detached(b), {"a": X, "b": X})
    assert [(r.name, r.ok) for r in report.rows] == [("a", True), ("b", False)]
    worst = report.rows[1]
    np.testing.assert_allclose(worst.yours * 2, worst.reference)
    np.testing.assert_allclose(worst.error, 0.5)


@pytest.mark.parametrize("fn", [
    lambda x: x * (x.data.real > 0),                                # a comparison: analytic on each side
    lambda x: mg.maximum(x, 0.1),
    lambda x: np.abs(x),
    lambda x: mg.relu(x),
])
def test_kinks_that_are_not_hit_do_not_disturb(fn):
    assert gradcheck(fn, X).ok


def test_where_complex_numbers_do_not_pass_differences_are_the_reference():
    def fn(x):
        if x.dtype.kind == "c":
            raise TypeError("no complex numbers here")
        return mg.tanh(x)
    report = gradcheck(fn, X)
    assert report.ok and "five-point differences" in report.rows[0].note and report.rows[0].error < 1e-9
    assert not gradcheck(lambda x: fn(x) + 1e-8 * detached(x), X).ok


def test_a_complex_step_that_lies_is_found_out():
    def fn(x):                                                   # drops the imaginary part: complex step sees slope 0 …
        return mg.Tensor(np.asarray(x.data.real, float)) * 3.0 + 0.0 * x
    report = gradcheck(fn, X)                                    # … and so does the rule, but the differences do not
    assert not report.ok and "five-point" in report.rows[0].note


def test_float32_is_held_to_float32():
    report = gradcheck(lambda x, w: mg.tanh(x @ w), [X.astype(np.float32), W.astype(np.float32)])
    assert report.ok and 1e-10 < max(r.error for r in report.rows) < 1e-5
    assert not gradcheck(lambda x: mg.tanh(x) + 1e-3 * detached(x), X.astype(np.float32)).ok


def test_integers_pass_through():
    report = gradcheck(lambda x, i: x[i.data], [X, np.array([2, 0])])
    assert report.ok and [r.name for r in report.rows] == ["0"]


def test_tolerance():
    assert gradcheck(lambda x: x + 1e-8 * detached(x), X, tolerance=1e-6).ok
    assert not gradcheck(lambda x: x + 1e-8 * detached(x), X).ok


@pytest.mark.parametrize("arguments, error, words", [
    ((lambda x: x, X, 3), ValueError, "order is 3, expected 1 or 2"),
    ((lambda x: x, np.array([1, 2])), TypeError, "nothing to differentiate: the inputs have dtypes"),
    ((lambda x: 1.0, X), TypeError, "fn returned a float, expected a Tensor"),
])
def test_unusable_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        gradcheck(*arguments)


# ---- the true slope: complex step, differences, kinks ---------------------------------------------------------------------

@pytest.mark.parametrize("name, phi, expected", [
    ("curved", lambda z: np.sin(1e6 * z), 1e6),                      # at h = 1e-3 no difference means anything
    ("curved and far", lambda z: np.tanh(3000 * z + 1), 3000 / np.cosh(1) ** 2),
    ("beside a kink", lambda z: np.where(np.real(z) > -1e-7, z + 1e-7, -z - 1e-7), 1.0),
    ("beside a step", lambda z: np.where(np.real(z) > -1e-7, z, -z), 1.0),
    ("nearer to a kink than 1e-9", lambda z: np.where(np.real(z) < 3e-10, z, 5 * z - 12e-10), 1.0),
    ("tiny", lambda z: 1e-12 * np.exp(z), 1e-12),
    ("too small for any difference", lambda z: 1 + 1e-20 * z, 1e-20),
])
def test_a_right_complex_step_is_believed(name, phi, expected):
    found = slope(phi, noise=1e-16)
    assert not found.doubtful and found.value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name, phi, expected", [
    ("the imaginary part dropped", lambda z: np.sin(np.real(z) + 1), np.cos(1)),
    ("half of it dropped", lambda z: np.sin(z) + np.real(z) ** 3 + 1e-4 * np.real(z), 1.0001),
    ("no complex numbers", lambda z: np.exp(float(z)), 1.0),
    ("the norm of a complex vector", lambda z: np.linalg.norm(np.array([3 + z, 4.0])), 0.6),
])
def test_a_complex_step_that_lies_is_overruled_by_differences(name, phi, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
        found = slope(phi, noise=1e-16)
    assert "differences" in found.method and abs(found.value - expected) <= found.error + 1e-11
    assert found.error < 1e-8


@pytest.mark.parametrize("phi, kink", [
    (lambda z: np.where(np.real(z) < 0, -z, z), (-1, 1)),
    (lambda z: np.where(np.real(z) > 0, z, 0 * z) + np.sin(3 * z), (3, 4)),
    (lambda z: np.where(np.real(z) > 1e-14, z, 0 * z), (0, 1)),       # no difference can tell this from a kink at 0
])
def test_a_kink_is_reported_with_the_slopes_of_both_sides(phi, kink):
    found = slope(phi, noise=1e-16)
    assert found.kink == pytest.approx(kink, abs=1e-3) and found.doubtful


def test_differences_that_do_not_settle_overrule_nothing():
    found = slope(lambda z: np.tanh(1e14 * (z + 1e-14)), noise=1e-16)
    assert "no difference could confirm" in found.method and found.value == pytest.approx(1e14 / np.cosh(1) ** 2)


def test_a_kink_in_a_report():
    report = gradcheck(lambda x: np.abs(x) * 2, np.array([1.0, 0.0, -2.0]))
    note = report.rows[0].note
    assert report.ok and note.startswith("kink at [1]: slope ") and " from the left, " in note and " from the right" in note
    beyond = gradcheck(lambda x: np.abs(x) * 2 + 3 * x - 3 * detached(x), np.array([1.0, 0.0, -2.0]))
    assert not beyond.ok and beyond.rows[0].index in ((0,), (2,))             # the smooth entries are still held to all digits

    def absolute(slope):
        return gradcheck(lambda x: mg.relu(x).sum() + mg.relu(-x).sum(), np.zeros(1), derived=lambda x: np.full(1, slope))
    assert absolute(-0.3).ok and absolute(1.0).ok and not absolute(1.5).ok and "kink at [0]" in absolute(1.5).rows[0].note


# ---- what rounding can do: the worst conditioned right gradients ----------------------------------------------------------

def hilbert(n):
    return 1 / (np.arange(n)[:, None] + np.arange(n) + 1.0)


def chaotic(W, x, h):
    for _ in range(40):
        h = np.tanh(h @ W + x)
    return h


def logistic(x):
    for _ in range(40):
        x = 3.9 * x * (1 - x)
    return x


def normal(*shape, seed=3):
    return np.random.default_rng(seed).standard_normal(shape)


WORST = {
    "a chaotic network": (chaotic, {"W": 1.5 * normal(4, 4), "x": normal(2, 4), "h": normal(2, 4)}),
    "the logistic map, forty times": (logistic, np.array([0.3, 0.7, 0.123])),
    "the inverse of a Hilbert matrix": (np.linalg.inv, hilbert(8)),
    "solving with a Hilbert matrix": (np.linalg.solve, [hilbert(7), normal(7, 1)]),
    "a square minus a square": (lambda x: (1e8 + x) ** 2 - 1e16, normal(4)),
    "a² - b² of nearly equal": (lambda a, b: a * a - b * b, [np.full(3, 1e7), np.full(3, 1e7) + 1e-6 * normal(3)]),
    "the variance of nearly equal": (np.var, 1e6 + 1e-3 * normal(7)),
    "layer_norm of a nearly constant row": (mg.layer_norm, 5 + 1e-6 * normal(2, 6)),
    "softmax, saturated": (mg.softmax, np.array([[800.0, 0, -800, 799.9]])),
    "cross-entropy, sure": (lambda x: mg.softmax_cross_entropy(x, np.array([1, 0])), np.array([[50.0, -50, 0], [40, -30, 0]])),
    "σ, saturated": (mg.sigmoid, np.array([40.0, -40, -700, 36])),
    "softplus, far out and at 0": (mg.softplus, np.array([500.0, -500, 0, 1e-9])),
    "log near 0": (np.log, np.array([1e-60, 1e-12, 1e-3, 1])),
    "sqrt near 0": (np.sqrt, np.array([1e-16, 1e-8, 1])),
    "1/x near 0": (lambda x: 1 / x, np.array([1e-8, 1e-3, -1e-5])),
    "sin(1e6 x)": (lambda x: np.sin(1e6 * x), normal(5)),
    "exp(±600)": (np.exp, np.array([600.0, 1, -600])),
    "Wilkinson's polynomial": (lambda x: np.prod(x[:, None] - np.arange(1.0, 21), axis=1), np.array([10.1, 19.9, 15.5])),
    "exp of a matrix of norm 30": (mg.matrix_exp, 6 * normal(5, 5)),
    "relu beside its kink": (lambda x: 3 * mg.relu(x) + np.tanh(x), np.array([1e-9, -1e-9, 1e-6, 0.5])),
    "relu, |x| and max on their kinks": (lambda x: mg.relu(x) + np.abs(x) + np.max(x), np.array([0.0, 1, 1, -1])),
    "a maximum nearly tied": (np.maximum, [np.array([1.0, 2, 3]), np.array([1 + 1e-15, 5, 3 - 1e-10])]),
    "a sum that is always 1": (lambda x: mg.softmax(x).sum(), normal(6)),
    "a norm near 0": (lambda x: np.sqrt((x * x).sum()), 1e-9 * normal(4)),
    "(exp(x) - 1) / x": (lambda x: (np.exp(x) - 1) / x, np.array([1e-10, 1e-5, -1e-8])),
    "the cosine of nearly parallel": (lambda a, b: (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()), [np.ones(5), 1 + 1e-7 * normal(5)]),
    "log(x - √(x² - 1))": (lambda x: np.log(x - np.sqrt(x * x - 1)), np.array([1e6, 1.0000001, 50])),
    "24 orders of magnitude in one array": (lambda x: np.tanh(x * np.array([1e12, 1, 1e-12])), np.array([1e-12, 1, 1e12])),
    "a difference of large factors": (lambda x: x * 100000000.1 - x * 99999999.9, normal(6)),       # only the backward pass cancels
    "a variance in float32": (np.var, (1e3 + 0.1 * normal(7)).astype(np.float32)),
}


@pytest.mark.parametrize("name", WORST)
def test_no_false_alarm_where_the_condition_is_worst(name):
    fn, inputs = WORST[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)               # some of these functions overflow, as NumPy does
        for seed in (0, 1):
            report = gradcheck(fn, inputs, seed=seed)
            assert report.ok, f"{name}, seed {seed}:\n{report}"


DECIDABLE = [name for name in WORST if name not in {
    "a sum that is always 1",                                        # the gradient is zero
    "σ, saturated",                                                  # and here nothing but rounding
    "relu, |x| and max on their kinks",                              # on a kink many values are right
    "a variance in float32",                                         # rounding alone: 4e-3
}]


@pytest.mark.parametrize("name", DECIDABLE)
def test_and_what_is_wrong_by_a_hundredth_is_still_seen_there(name):
    fn, inputs = WORST[name]

    def wrong(*x, **named):
        constant = fn(*map(detached, x), **{k: detached(v) for k, v in named.items()})
        return 1.01 * fn(*x, **named) - 0.01 * constant
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        assert not gradcheck(wrong, inputs).ok


def test_where_nothing_can_be_decided_the_report_says_so():
    report = gradcheck(np.var, WORST["a variance in float32"][1])
    assert report.ok and "could not decide: in float32 rounding alone moves an entry by" in report.rows[0].note
    if np.finfo(np.longdouble).eps < 1e-18:
        deep = gradcheck(lambda x: (1e9 + x * x) - 1e9 + 0 * x, 1e-5 * normal(3) + 2e-5)
        assert deep.ok


def test_entries_of_all_sizes_are_each_looked_at_closely():
    report = gradcheck(*WORST["24 orders of magnitude in one array"])
    assert report.ok and report.rows[0].note == ""                   # the complex step was confirmed in all of them


@pytest.mark.skipif(bool(np.finfo(np.longdouble).eps > 1e-18), reason="np.longdouble is no longer than float64 here")
def test_differences_are_taken_in_extended_precision_where_it_passes():
    def fn(x):
        if x.dtype.kind == "c":
            raise TypeError("no complex numbers here")
        return mg.tanh(x)
    report = gradcheck(fn, X)
    assert report.ok and report.rows[0].note.endswith("in extended precision") and report.rows[0].error < 1e-14
    coarse = gradcheck(lambda x: fn(x.data.astype(float) + 0 * x) if x.dtype == np.longdouble else fn(x), X)
    assert coarse.ok and "five-point" in coarse.rows[0].note


def test_one_tiny_entry_is_held_to_its_own_size():
    scales = np.array([1.0, 1e-6, 1e3])
    assert gradcheck(lambda x: np.tanh(x) * scales, normal(3)).ok
    off = np.array([0, 1e-3, 0])                                      # a thousandth of an entry that is 1e-9 of the largest
    report = gradcheck(lambda x: np.tanh(x) * scales * (1 + off) - np.tanh(detached(x)) * scales * off, normal(3))
    assert not report.ok and report.rows[0].index == (1,)


# ---- where the mistake is ---------------------------------------------------------------------------------------------------

@pytest.fixture
def new_ops():
    table, functions = dict(TABLE), dict(FUNCTIONS)
    yield
    for registry, before in ((TABLE, table), (FUNCTIONS, functions)):
        registry.clear()
        registry.update(before)


def test_a_report_names_the_op_its_argument_and_the_entry(new_ops):
    product = op(lambda a, b: a * b, lambda g, y, a, b: g * b, lambda g, y, a, b: g * np.abs(a), name="lost_sign", reads="{0} × {1}")

    def net(x, W):
        h = np.zeros((3, 4))
        for x_t in mg.steps(x):
            h = np.tanh(product(x_t, h @ W + 1.0))
        return h
    report = gradcheck(net, {"x": normal(4, 3, 4), "W": normal(4, 4)})
    assert not report.ok
    assert "the gradient rule of lost_sign at t=1 for argument 1 is wrong, entry [" in str(report) and len(report.remarks) == 1


def test_a_rule_that_cannot_be_differentiated_again_is_named_by_order_2(new_ops):
    cube = op(lambda x: x ** 3, lambda g, y, x: g * (3 * getattr(x, "data", x) ** 2 if isinstance(x, mg.Tensor) else 3 * x ** 2),
              name="cube", reads="{0}³")
    assert gradcheck(cube, X).ok
    assert "the gradient of the gradient rule of cube for argument 0 is wrong" in str(gradcheck(cube, X, 2))


def test_a_cut_is_named_with_its_place():
    def net(x, W):
        h = mg.Tensor(np.zeros((3, 4)))
        for x_t in mg.steps(x):
            h = np.tanh(x_t + detached(h) @ W)
        return h
    report = gradcheck(net, {"x": normal(4, 3, 4), "W": normal(4, 4)})
    assert "argument 0 of matmul at t=4, a constant of shape (3, 4), moves with the inputs: it was cut" in str(report)
    assert "nothing that fn returns leads back to the inputs" in str(gradcheck(detached, X))


def test_a_gradient_that_is_not_finite_is_traced_to_its_op():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        report = gradcheck(lambda x: np.sqrt(x * x), np.array([0.0, 1.0]))
    assert not report.ok and "NaN or infinity in 1 of 2" in str(report) and "the gradient of sqrt for argument 0 is not finite" in str(report)


# ---- large arrays ------------------------------------------------------------------------------------------------------------

def test_a_large_array_goes_by_directions_and_the_wrong_entry_is_found():
    W, calls = normal(60, 50), []

    def fn(W, off=0.0):
        calls.append(1)
        return np.tanh(np.ones((2, 60)) @ W / 8) + (off * W - off * detached(W)).sum()
    report = gradcheck(fn, {"W": W})
    assert report.ok and report.rows[0].note == "3000 entries, along 4 random directions" and len(calls) < 60
    off = np.zeros((60, 50))
    off[37, 21] = 1e-7
    report = gradcheck(lambda W: fn(W, off), {"W": W})
    assert not report.ok and report.rows[0].index == (37, 21)
    assert abs(report.rows[0].yours - report.rows[0].reference) > 1e-8
    assert gradcheck(fn, {"W": W[:, :2]}, entries=120).rows[0].note == ""


def test_a_large_array_with_a_kink():
    x = normal(2000)
    x[17] = 0
    report = gradcheck(mg.relu, x)
    assert report.ok and "a kink here" in report.rows[0].note
    assert not gradcheck(lambda x: mg.relu(x) + 1e-3 * x - 1e-3 * detached(x), x).ok


# ---- cells, derivations, tests -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("cell", [mg.RNNCell, mg.ClockworkRNNCell, mg.GRUCell(3, 4), mg.GRUCell(3, 4, dtype=np.float32)],
                         ids=["class", "class with a size of its own", "object", "float32"])
def test_a_cell_gets_a_probe_on_which_mistakes_show(cell):
    before = {} if isinstance(cell, type) else cell.state_dict()
    report = gradcheck(cell)
    assert report.ok and {"cell.W_x", "cell.W_h", "xs", "state"} <= {r.name.removesuffix(".0") for r in report.rows}
    assert not report.remarks and not any(r.note for r in report.rows)
    if before:
        assert all(np.array_equal(before[k], v) for k, v in cell.state_dict().items())


def test_a_wrong_cell_fails_on_its_probe_although_its_initial_values_hide_it():
    class Leaky(mg.RNNCell):
        def __call__(self, x, h):
            h = np.tanh(x @ self.W_x + h @ self.W_h + self.b)
            return h, h + self.b * detached(self.b)                   # exact as long as the bias is 0
    cell = Leaky(3, 4)
    cell.b.data = np.zeros(4)
    xs = normal(4, 3, 3)
    assert gradcheck(lambda: mg.unroll(cell, xs)[0], cell).ok
    assert [r.name for r in gradcheck(cell).rows if not r.ok] == ["cell.b"]


def test_zeros_are_remarked():
    report = gradcheck(lambda x, h: x * np.tanh(h), {"x": normal(3), "h": np.zeros(3)})
    assert report.ok and report.remarks == ["COULD NOT DECIDE  what only shows where h is not zero; draw it at random"]


def by_hand(mistake=""):
    parameters, xs, ys = probe()

    def loss(W_x, W_h, b_h, W_y, b_y, h_0):
        h, total = h_0, 0.0
        for x, y in zip(xs, ys):
            h = np.tanh(x @ W_x + h @ W_h + b_h)
            o = h @ W_y + b_y
            total = total + np.sum(np.log(np.sum(np.exp(o), axis=1)) - o[np.arange(3), y]) / 3
        return total
    return gradcheck(loss, parameters, derived=lambda **p: bptt(p, xs, ys, mistake))


def test_a_derivation_by_hand_is_held_against_the_complex_step_of_its_loss():
    report = by_hand()
    assert report.ok and len(report.rows) == 6 and max(r.error for r in report.rows) < 1e-14


@pytest.mark.parametrize("mistake", MISTAKES[::6])
def test_a_wrong_derivation_is_rejected(mistake):
    assert not by_hand(mistake).ok


def test_derived_may_be_a_list_and_its_mistakes_are_rows():
    def loss(a, b):
        return ((a @ b) ** 2).sum()
    a, b = normal(3, 4), normal(4, 5)
    assert gradcheck(loss, [a, b], derived=lambda a, b: (2 * (a @ b) @ b.T, 2 * a.T @ (a @ b))).ok
    report = gradcheck(loss, {"a": a, "b": b}, derived=lambda a, b: {"a": (2 * (a @ b) @ b.T).T})
    assert [r.note for r in report.rows] == ["shape (4, 3), expected (3, 4)", "not derived"]


def test_roundings_inside_a_derivation_are_allowed_for():
    """They cannot be moved from outside, as recorded ones can: 1e-12 of the largest entry is granted, as compare does."""
    assert gradcheck(lambda x: (x * x).sum(), normal(5), derived=lambda x: (2 * x + 1000) - 1000).ok
    assert not gradcheck(lambda x: (x * x).sum(), normal(5), derived=lambda x: (2 * x + 1e6) - 1e6).ok


def test_assert_ok_raises_the_whole_report_or_returns_it():
    assert gradcheck(mg.tanh, X).assert_ok().ok
    with pytest.raises(AssertionError, match="(?s)gradcheck, order 1: DIFFERENT: 1 of 1.*WHERE"):
        gradcheck(detached, X).assert_ok()


def in_place(x):
    x *= 2
    return [x]


@pytest.mark.parametrize("call, error, words", [
    (lambda: gradcheck(lambda x: x.sum(), X, derived=in_place), ValueError, "derived changed its input '0' in place"),
    (lambda: gradcheck(lambda x: x, X, derived=lambda x: x), ValueError, r"fn returned an array of shape \(3, 4\)"),
    (lambda: gradcheck(lambda x: x.sum(), X, 2, derived=lambda x: x), ValueError, "derived= needs order 1"),
    (lambda: gradcheck(lambda x, y: x.sum() + y.sum(), [X, X], derived=lambda x, y: [x]), ValueError, "derived returned 1 arrays for 2 inputs"),
    (lambda: gradcheck(lambda x: x * rng.standard_normal(), X), ValueError, "fn gave .* and then .* for the same inputs"),
    (lambda: gradcheck(np.tanh), TypeError, "gradcheck without inputs needs a cell with parameters"),
    (lambda: gradcheck(mg.CoRNNCell(3, 4), order=3), ValueError, "order is 3"),
])
def test_one_clear_message_each(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_where_a_function_is_not_finite_it_has_no_gradient():
    with pytest.raises(ValueError, match="fn gives nan at these inputs, so it has no gradient to check there"):
        gradcheck(np.log, np.array([-1.0, 2.0]))
