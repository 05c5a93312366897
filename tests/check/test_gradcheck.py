"""gradcheck: right functions pass to the last digits, wrong ones do not; a weaker reference is named."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.check import gradcheck

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
    assert report.ok and report.rows[0].note == "by five-point differences" and report.rows[0].error < 1e-9
    assert not gradcheck(lambda x: fn(x) + 1e-6 * detached(x), X).ok


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
