"""gradcheck from inside and out: what it projects on, how it moves values, what it says, and where it draws its lines."""
import warnings

import numpy as np
import pytest

import minigrad as mg
from minigrad.check import gradcheck
from minigrad.check.checked import Function, arguments, moved
from minigrad.check.entries import EXTENDED, Entries
from minigrad.check.gradcheck import sampled
from minigrad.ops import FUNCTIONS, TABLE, op

rng = np.random.default_rng(0)
X = rng.standard_normal((3, 4))


def detached(x):
    return mg.Tensor(x.data)


def test_other_roundings_are_an_ulp_or_so_both_ways():
    for dtype in (np.float64, np.float32):
        x = np.ones(10_000, dtype)
        y = moved(x, np.random.default_rng(0))
        ulps = (y - x) / np.finfo(dtype).eps
        down = -ulps[ulps < 0]                                           # below 1 numbers lie closer: halves of it
        assert y.dtype == dtype and .45 < len(down) / len(x) < .55 and .5 <= np.abs(ulps).min() and np.abs(ulps).max() <= 2
        assert 1.2 < down.mean() < 1.3 and {.5, 1., 1.5, 2.} == set(down.tolist())
    assert np.array_equal(moved(np.arange(3), rng), np.arange(3))


@pytest.mark.parametrize("n", [1, 2])
def test_outputs_are_projected_on_directions_that_drop_no_entry(n):
    """The gradient of a projected identity is the direction: signs of both kinds, sizes from a half to one and a half."""
    f = Function(lambda tensors: tuple(1.0 * x for x in tensors), list(range(n)))
    for direction in f.gradients([np.ones(2000)] * n)[0]:
        sizes = np.abs(direction)
        assert .5 <= sizes.min() < .51 and 1.49 < sizes.max() <= 1.5 and .45 < np.mean(direction > 0) < .55
    assert Function(lambda tensors: tensors[0] * 1, [0]).scalar([mg.Tensor(np.ones(3, np.float32))]).dtype == np.float32
    one, = Function(lambda tensors: tensors[0].sum(), [0]).gradients([np.ones(5)])[0]
    assert np.array_equal(one, np.ones(5))                               # a number is what it is


def test_random_directions_overlook_no_entry():
    direction = Entries(Function(lambda tensors: tensors[0], [0]), [np.zeros((50, 40))], 0, 0, None, 30).direction()
    sizes = np.abs(direction)
    assert np.linalg.norm(direction) == pytest.approx(1) and 2.9 < sizes.max() / sizes.min() <= 3 and .45 < np.mean(direction > 0) < .55


def test_the_scale_of_a_function_is_its_largest_output():
    f = Function(lambda tensors: (tensors[0] * 3.0, tensors[0][0] - 7.0), [0])
    f.gradients([np.array([1.0, -2.0])])
    assert f.magnitude == 6.0
    _, samples, (scale, largest) = sampled(f, [np.array([1.0, -2.0])], 0)
    small = Function(lambda tensors: tensors[0] * .25, [0])
    small.gradients([np.array([1.0, -2.0])])
    assert small.magnitude == .5
    assert largest == 6.0 and len(samples[0]) == 5 and 1 < scale < 100 and all(0 <= s.max() < 1e-14 for s in samples[0])


def test_inputs_are_called_by_their_names():
    assert arguments(None, {"a": X, "b": X})[1] == ["a", "b"]
    assert arguments(None, [mg.Tensor(X, name="W"), X])[1] == ["W", "1"] and arguments(None, X)[1] == ["0"]
    half = arguments(None, np.ones(2, np.float16))[2][0]
    assert half.dtype == np.float32
    copy = arguments(None, X)[2][0]
    copy[0, 0] = 9
    assert X[0, 0] != 9


# ---- both sides of each line that is drawn ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("off, ok", [(1e-15, True), (3e-13, False)])
def test_rounding_is_allowed_and_what_is_more_is_not(off, ok):
    assert gradcheck(lambda x: np.tanh(x) * 2 + off * x - off * detached(x), X).ok == ok


@pytest.mark.parametrize("tolerance, off, ok", [(1e-6, .9e-6, True), (1e-6, 1.1e-6, False), (1e-2, .9e-2, True), (1e-2, 1.1e-2, False)])
def test_a_tolerance_is_relative_to_the_largest_entry(tolerance, off, ok):
    x = np.array([1.0, 100.0])
    assert gradcheck(lambda x: 50 * x * x, x, derived=None, tolerance=tolerance).ok
    assert gradcheck(lambda x: (50 * x * x).sum(), x, tolerance=tolerance, derived=lambda x: 100 * x + off * 1e4 * np.array([1, 0])).ok == ok


@pytest.mark.parametrize("off, ok", [(.9e-12, True), (4e-12, False)])
def test_a_derivation_may_be_off_by_its_own_roundings(off, ok):
    report = gradcheck(lambda x: (x * x).sum(), np.array([1.0, 2.0]), derived=lambda x: 2 * x + 4 * off * np.array([1, 0]))
    assert report.ok == ok


@pytest.mark.parametrize("off, ok", [(0, True), (1e-7, False)])
def test_a_derivation_may_be_off_by_what_its_inputs_roundings_make_of_it(off, ok):
    """The phase of a fast wave is off by many ulps however it is computed: by hand it need not come out as in fn."""
    x, fast = np.random.default_rng(0).standard_normal(50), 1e6 / 3
    by_hand = fast * np.cos(x / 7 * fast * 7)
    assert np.abs(by_hand - fast * np.cos(x * fast)).max() > 1e-11 * fast
    assert gradcheck(lambda x: np.sin(x * fast).sum(), x, derived=lambda x: fast * np.cos(x / 7 * fast * 7) * (1 + off), entries=50).ok == ok


@pytest.mark.skipif(not EXTENDED, reason="nothing beyond double here")
@pytest.mark.parametrize("off, ok", [(0, True), (2e-11, False)])
def test_it_may_be_the_reference_that_is_off(off, ok):
    """fn cancels, so its complex step is off by 1e-11: in extended precision it is not."""
    def fn(x):
        return (x * (1e6 / 3) + x - x * (1e6 / 3)).sum()
    x = np.random.default_rng(0).standard_normal(6)
    assert np.abs(np.imag(fn(x * (1 + 1e-100j))) / 1e-100 - x.sum()) > 1e-12
    report = gradcheck(fn, x, derived=lambda x: np.ones(6) + off)
    assert report.ok == ok and all(row.reference == pytest.approx(1, rel=1e-13) for row in report.rows)


@pytest.mark.parametrize("slope, ok", [(-1.01, False), (-1.0, True), (0.99, True), (1.01, False)])
def test_at_a_kink_every_slope_between_the_sides_is_right(slope, ok):
    report = gradcheck(lambda x: mg.relu(x).sum() + mg.relu(-x).sum(), np.zeros(2), derived=lambda x: np.array([slope, 0.0]))
    assert report.ok == ok
    assert "kink at [0]: slope -1 from the left, 1 from the right (and 1 more)" in report.rows[0].note


@pytest.mark.parametrize("entries, note", [(12, ""), (11, "12 entries, along 4 random directions")])
def test_up_to_so_many_entries_are_looked_at_one_by_one(entries, note):
    report = gradcheck(np.tanh, X, entries=entries)
    assert report.ok and report.rows[0].note == note


def test_along_directions_the_tolerance_and_the_wrong_entry():
    off = np.zeros((3, 4))
    off[2, 1] = 1e-3

    def fn(x):
        return (np.tanh(x) + off * x - off * detached(x)).sum()
    report = gradcheck(fn, X, entries=5)
    row, = report.rows
    assert not report.ok and row.index == (2, 1) and row.note == "12 entries; this one found by halving, there may be more"
    assert row.reference == pytest.approx(1 - np.tanh(X[2, 1]) ** 2, rel=1e-9) and row.yours == pytest.approx(row.reference + 1e-3, rel=1e-9)
    assert 1e-5 < row.error < 1e-2 and .99 < row.cosine <= 1
    assert gradcheck(fn, X, entries=5, tolerance=1e-2).ok and not gradcheck(fn, X, entries=5, tolerance=1e-5).ok


def test_nothing_to_compare():
    report = gradcheck(lambda x, y: x.sum() + y.sum(), [np.zeros((0, 3)), X])
    assert report.ok and report.rows[0].note == "empty" and (report.rows[0].error, report.rows[0].cosine) == (0, 1)
    assert not report.remarks                                          # of nothing it is no news that all is zero


def test_what_is_wrong_where_all_should_be_zero():
    report = gradcheck(lambda x: (detached(x) ** 2).sum() * 0 + (x * 1e-3 - detached(x) * 1e-3).sum(), X)
    row, = report.rows
    assert not report.ok and row.reference == 0 and row.error == np.inf and row.cosine == 0


def test_a_report_reads():
    report = gradcheck(lambda a, b: (a * b).sum(), {"a": np.array([1.0, 2.0]), "b": np.array([3.0, 4.0])},
                       derived=lambda a, b: {"a": b, "b": a * np.array([1, 1.5])})
    assert str(report).splitlines() == [
        "gradcheck, order 1: DIFFERENT: 1 of 2",
        "gradient        rel.err   cosine  worst entry           yours      reference",
        "a               0.0e+00  +1.0000  ok                        3              3",
        "b               5.0e-01  +0.9899  [1]                       3              2"]
    assert report.title == "gradcheck, order 1" and gradcheck(np.tanh, X, 2).title == "gradcheck, order 2"


# ---- derived by hand ------------------------------------------------------------------------------------------------------------------

def test_derivations_come_in_any_form_with_or_without_what_has_no_gradient():
    i = np.array([0, 2])

    def loss(x, i):
        return (x[i] * x[i]).sum()
    right = np.zeros((3, 4))
    right[i] = 2 * X[i]
    for derived in (lambda x, i: right, lambda x, i: [right], lambda x, i: (right, None), lambda x, i: {"0": right, "what": 1},
                    lambda x, i: [mg.Tensor(right)], lambda x, i: right.tolist() and np.asarray(right)):
        assert gradcheck(loss, [X, i], derived=derived).ok
    assert gradcheck(lambda x: mg.Tensor(x).sum() if isinstance(x, np.ndarray) and x.dtype == float else x.sum(), X, derived=lambda x: np.ones((3, 4))).ok
    report = gradcheck(loss, [X, i], derived=lambda x, i: {"1": right})
    assert [r.note for r in report.rows] == ["not derived"]
    report = gradcheck(loss, [X, i], derived=lambda x, i: np.where(right == right[2, 1], np.inf, right))
    row, = report.rows
    assert row.note == "yours has NaN or infinity in 1 of 12 entries" and row.index == (2, 1) and row.yours == np.inf


def test_a_derivation_that_fails_on_moved_inputs_is_still_checked():
    seen = []

    def derived(x):
        seen.append(x)
        if not np.array_equal(x, X):
            raise ValueError("only there")
        return 2 * x
    assert gradcheck(lambda x: (x * x).sum(), X, derived=derived).ok and len(seen) == 6


def test_what_is_not_derived_or_of_another_shape_is_not_right():
    report = gradcheck(lambda a, b, c: (a * b * c).sum(), dict(a=X, b=X, c=X), derived=lambda a, b, c: {"a": b * c, "c": (a * b).sum(0)})
    assert [(row.ok, row.note) for row in report.rows] == [(True, ""), (False, "not derived"), (False, "shape (4,), expected (3, 4)")]


def test_a_derivation_that_raises_at_once_raises():
    def derived(x):
        raise KeyError("W")
    with pytest.raises(KeyError):
        gradcheck(lambda x: x.sum(), X, derived=derived)


# ---- where ------------------------------------------------------------------------------------------------------------------------------

@pytest.fixture
def new_ops():
    kept = [(registry, dict(registry)) for registry in (TABLE, FUNCTIONS)]
    yield
    for registry, before in kept:
        registry.clear()
        registry.update(before)


def test_the_first_three_wrong_rules_are_named_each_once(new_ops):
    wrong = [op(lambda x, k=k: x + k / 10, lambda g, y, x: 2 * g, name=f"wrong{k}", reads="{0}") for k in range(5)]

    def net(x):
        for f in (*wrong, *wrong):
            x = np.tanh(f(x))
        return x
    report = gradcheck(net, X)
    assert [r.partition(" of ")[2].split()[0] for r in report.remarks] == ["wrong0", "wrong1", "wrong2"]
    assert all("for argument 0 is wrong, entry [" in r and ": -2.08725, expected -1.043625" in r for r in report.remarks), report.remarks


def test_numbers_keep_their_place_among_the_arguments_and_names_are_told(new_ops):
    scaled = op(lambda x, a, b: x * a - b, lambda g, y, x, a, b: g * a, None, lambda g, y, x, a, b: g, name="scaled", reads="{0}")

    def net(x, b):
        shifted = b + 1.0
        shifted.name = "b + 1"
        return scaled(x, 3.0, shifted)
    report = gradcheck(net, {"x": X, "b": X})
    remark, = report.remarks
    assert "the gradient rule of scaled for argument 2 (b + 1) is wrong" in remark and not report.rows[1].ok and report.rows[0].ok


def test_several_cuts_are_each_named_up_to_three():
    def net(x):
        return sum((detached(np.tanh(k * x)) * x for k in range(1, 6)), 0.0)
    report = gradcheck(net, X)
    cuts = [r for r in report.remarks if "a constant of shape (3, 4), moves with the inputs" in r]
    assert len(cuts) == len(report.remarks) == 3 and all("argument 0 of multiply," in r for r in cuts)


def test_a_constant_that_does_not_move_is_no_cut():
    report = gradcheck(lambda x: np.arange(12.).reshape(3, 4) * x + 5 * x * detached(x), X)
    remark, = report.remarks
    assert remark.startswith("WHERE  argument 1 of multiply, a constant of shape (3, 4)")


def test_a_constant_with_gaps_that_does_not_move_is_no_cut():
    positive, gaps = X > 0, np.where(X > 0, 1.0, np.nan)
    remark, = gradcheck(lambda x: np.where(positive, gaps, x) + x * detached(x), X).remarks
    assert remark.startswith("WHERE  argument 1 of multiply, a constant of shape (3, 4)")


def test_what_cannot_be_had_alone_is_passed_over(new_ops):
    """An op that only works on what it gets here, and one behind it whose rule is wrong."""
    def picky(x):
        if np.any(np.real(x) > 1):
            raise ValueError("only up to 1")
        return x * 1
    first = op(picky, lambda g, y, x: g, name="picky", reads="{0}")
    second = op(lambda x: x * x, lambda g, y, x: g * x, name="half", reads="{0}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        report = gradcheck(lambda x: second(first(x)), np.array([.5, -.5]))
    assert "the gradient rule of half" in str(report)


def test_a_wrong_rule_of_an_op_with_settings_is_told(new_ops):
    scaled = op(lambda x, *, power: x ** power, lambda g, y, x, *, power: g * y, name="powered", reads="{0}", call=lambda x, power: ((x,), {"power": power}))
    remark, = gradcheck(lambda x: scaled(np.sin(x), 3), X).remarks
    assert remark.startswith("WHERE  the gradient rule of powered for argument 0 is wrong, entry [")


def test_the_order_of_a_wrong_rule_is_told(new_ops):
    def rule(g, y, x):
        return 2 * g * (detached(x) if isinstance(x, mg.Tensor) else x)
    square = op(lambda x: x * x, rule, name="sq", reads="{0}²")
    assert gradcheck(square, X).ok
    remark, = gradcheck(square, X, 2).remarks
    assert remark.startswith("WHERE  the gradient of the gradient rule of sq for argument 0 is wrong, entry [")


class Called(mg.Module):
    """Nothing in it is called W_x."""

    def __init__(self, input_size, hidden_size):
        rng = np.random.default_rng(0)
        self.U, self.V = (mg.parameter(rng.standard_normal((n, hidden_size))) for n in (input_size, hidden_size))

    def initial_state(self, batch_size):
        return mg.Tensor(np.zeros((batch_size, len(self.V))))

    def __call__(self, x, h):
        h = np.tanh(x @ self.U + h @ self.V)
        return h, h


class Split(Called):
    """W_x has fewer rows than x has numbers: the last is the time that has passed."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W_x = mg.parameter(np.random.default_rng(1).standard_normal((input_size - 1, hidden_size)))

    def __call__(self, x, h):
        h = np.tanh(x[..., :-1] @ self.W_x + h @ self.V) * x[..., -1:]
        return h, h


def test_a_cell_that_shows_no_input_size_is_told_what_to_do():
    class Odd(mg.Module):
        def __init__(self):
            self.U = mg.parameter(np.ones((3, 3)))

        def __call__(self, x, h):
            return x @ self.U, h
    with pytest.raises(ValueError, match="gradcheck cannot see the input size of this Odd: give it an attribute input_size"):
        gradcheck(Odd())
    for cls in (Called, Split):                     # the class says it: it is made with the size
        assert gradcheck(cls).ok
    with pytest.raises(TypeError, match="expected a function of the inputs, or a cell"):
        gradcheck(3)


def test_nan_among_the_inputs_of_a_derivation_is_no_change_in_place():
    x = np.array([1.0, np.nan])
    report = gradcheck(lambda x: float(x[0]) ** 2 if not np.iscomplexobj(x) else x[0] ** 2, x, derived=lambda x: np.array([2 * x[0], 0.0]))
    assert report.rows[0].name == "0"


def test_an_op_that_is_wrong_in_another_order_is_not_blamed(new_ops):
    square = op(lambda x: x * x, lambda g, y, x: 2 * g * (detached(x) if isinstance(x, mg.Tensor) else x), name="sq", reads="{0}²")
    remark, = gradcheck(lambda x: square(x) * 1.0 + x * detached(x), X).remarks
    assert "was cut from the graph" in remark and "sq" not in remark


def test_what_float64_cannot_decide_is_decided_in_extended_precision():
    if not np.finfo(np.longdouble).eps < 1e-18:
        pytest.skip("np.longdouble is no longer than float64 here")

    def logistic(x):
        for _ in range(52):
            x = 3.9 * x * (1 - x)
        return x
    row, = gradcheck(logistic, np.array([.3])).rows
    assert row.ok and row.note.endswith("in extended precision"), row

    def short(x):
        if x.dtype in (np.longdouble, np.clongdouble):
            raise TypeError("float64 only")
        return logistic(x)
    row, = gradcheck(short, np.array([.3])).rows
    assert row.ok and "could not decide: in float64 rounding alone moves an entry by" in row.note, row


def test_a_function_that_takes_no_other_values_is_checked_by_the_complex_step_alone():
    def fn(x):
        if not np.array_equal(np.real(x.data), X):
            raise ValueError("only these")
        return np.tanh(x)
    row, = gradcheck(fn, X).rows
    assert row.ok and row.note == "complex step, which no difference could confirm"


def test_an_op_without_a_value_of_its_own_here_is_not_blamed(new_ops):
    """log of 0, which is not chosen, has no finite value alone; the wrong rule behind it is found."""
    half = op(lambda x: x * x, lambda g, y, x: g * x, name="half", reads="{0}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        report = gradcheck(lambda x: half(mg.where(np.array([True, True]), x, np.log(0 * x))), np.array([.5, 2.]))
    assert not report.ok and "half" in str(report) and "log" not in str(report)
