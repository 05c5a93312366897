"""Slopes without any rule: extrapolated differences, their own account of their error, and which of them is believed."""
import numpy as np
import pytest

from minigrad.check import slopes
from minigrad.check.slopes import Extrapolated, slope

H = slopes.WIDTHS


@pytest.mark.parametrize("power, degrees", [(1, (1, 2, 3, 4)), (2, (2, 4, 6, 8))])
@pytest.mark.parametrize("terms", [1, 2, 3, 4])
def test_a_polynomial_error_is_extrapolated_away(power, degrees, terms):
    """Four terms of the error can be told apart by five differences, one by two."""
    table, exact = Extrapolated(power), 3.7
    for n, h in enumerate(H[:6]):
        table.add(exact + sum((k + 1) * h ** d for k, d in enumerate(degrees[:terms])), 0.0)
        if n >= terms:
            assert table.last[terms] == pytest.approx(exact, abs=1e-14)
    assert table.best()[0] == pytest.approx(exact, abs=1e-12) and len(table.found) == 5 == len(table.last) and (H[0], H[-1]) == (1e-2, 1e-11)


@pytest.mark.parametrize("f, x, truth", [(np.exp, 0.3, np.exp(.3)), (np.sin, 1., np.cos(1)), (np.tanh, -.7, 1 - np.tanh(.7) ** 2),
                                         (lambda z: 1 / z, .5, -4.), (lambda z: z ** 9, 1.1, 9 * 1.1 ** 8), (np.log, 2., .5)])
@pytest.mark.parametrize("options", [{"real": True}, {}])
def test_a_smooth_function_has_its_slope_to_many_digits_and_knows_how_many(f, x, truth, options):
    found = slope(lambda z: f(x + z), noise=2e-16 * max(1, abs(f(x))), **options)
    assert abs(found.value - truth) <= (1e-10 if options else 1e-14) * abs(truth) and found.kink is None
    assert abs(found.value - truth) <= found.error + 1e-15 * abs(truth) and found.error <= 1e-7 * abs(truth)
    assert found.doubtful == bool(options) and found.method == ("extrapolated five-point differences" if options else "complex step")


def test_noise_is_part_of_the_error():
    rough, fine = Extrapolated(2), Extrapolated(2)
    for table, noise in ((rough, 1e-3), (fine, 0.0)):
        for h in H[:3]:
            table.add(1 + h * h, noise)
    assert [a for a, _ in rough.found] == [a for a, _ in fine.found]
    np.testing.assert_allclose([e for _, e in rough.found], [e + 1e-3 for _, e in fine.found])


def test_an_estimate_that_a_finer_one_contradicts_is_not_believed():
    table = Extrapolated(1)
    assert table.best() == (pytest.approx(np.nan, nan_ok=True), np.inf)
    table.found = [(1.0, 1e-6), (2.0, 1e-3), (2.0005, 1e-4)]
    assert table.best() == (2.0005, 1e-4)                        # the first has the smallest error, by its own account
    table.found = [(1.0, 1e-6), (1.0 + 2e-3, 1e-3)]
    assert table.best() == (1.0, 1e-6)                           # within three times both errors
    table.found = [(1.0, 1e-6), (1.0 + 4e-3, 1e-3)]
    assert table.best() == (1.0 + 4e-3, 1e-3)


def test_a_gap_begins_the_table_again():
    """Where the function is not finite there is no difference, and none is extrapolated across."""
    table = Extrapolated(2)
    table.add(5.0, 0.0)
    table.interrupt()
    table.add(1.0, 0.0)
    assert not table.found
    table.add(1.0, 0.0)
    assert table.best() == (1.0, 0.0)


def step_at(distance, height=1.0):
    return lambda z: np.where(np.real(z) < distance, np.sin(z), np.sin(z) + height)


@pytest.mark.parametrize("distance", [1e-3, 1e-6, 1e-9])
def test_a_step_nearby_does_not_disturb(distance):
    found = slope(step_at(distance), noise=1e-16)
    assert found.value == 1 and not found.doubtful


@pytest.mark.parametrize("kink", [(0., 1.), (-1., 1.), (1., 1.1), (2., -3.), (1., 1.00001)])
def test_a_kink_has_both_slopes_in_their_order(kink):
    left, right = kink
    found = slope(lambda z: np.where(np.real(z) < 0, left * z, right * z) + z * z, noise=1e-16)
    assert found.kink == pytest.approx(kink, abs=1e-9) and found.doubtful and found.kink[0] < found.kink[1] or left > right
    assert found.error < 1e-6
    assert slope(lambda z: np.where(np.real(z) < 0, 1 * z, (1 + 1e-8) * z), noise=1e-16).kink is None        # rounding, as good as none


def test_a_kink_where_complex_numbers_do_not_pass_has_the_slope_between():
    found = slope(lambda z: abs(float(z)) * 2 + float(z), noise=1e-16)
    assert found.kink == pytest.approx((-1, 3)) and found.value == pytest.approx(1)


def test_the_function_may_refuse_to_go_far():
    def log(z):
        if np.real(z) <= -1e-4:
            raise ValueError("no logarithm of what is negative")
        return np.log(1e-4 + z)
    found = slope(log, noise=1e-18, width=1.0)
    assert found.value == pytest.approx(1e4, rel=1e-9) and found.kink is None


def test_no_value_nearby():
    assert slope(lambda z: float(z) * np.nan, noise=0).method == "no finite value nearby"


def test_what_was_confirmed_along_a_direction_is_believed_without_differences():
    calls = []

    def phi(z):
        calls.append(z)
        return np.exp(z)
    assert slope(phi, believed=True).value == 1 and len(calls) == 1
    assert slope(phi, noise=1e-16).value == 1 and 3 < len(calls) < 12      # a few differences that agree are enough
    lies = slope(lambda z: np.exp(np.real(z)) + 0j, noise=1e-16, believed=False)
    assert lies.value == pytest.approx(1, abs=1e-9) and "differences" in lies.method


@pytest.mark.parametrize("lie", [.5, .999, 1.00001, 1.0000001, -1., 0.])
def test_a_complex_step_is_overruled_however_small_its_lie(lie):
    found = slope(lambda z: np.exp(np.real(z)) + 1j * lie * np.imag(z) * np.exp(np.real(z)), noise=1e-16)
    assert "differences" in found.method and abs(found.value - 1) <= found.error + 1e-12 and found.error < 1e-9


@pytest.mark.parametrize("size", [1, 1e-3, 1e3])
@pytest.mark.parametrize("lie, believed", [(.9e-8, True), (1.5e-8, False)])
def test_two_methods_must_agree_to_eight_digits(lie, believed, size):
    found = slope(lambda z: size * (np.real(z) + 1j * (1 + lie) * np.imag(z)), noise=1e-17 * size)
    assert (found.value == pytest.approx(size * (1 + lie), rel=1e-12)) == believed == (found.method == "complex step")


def test_differences_too_small_to_count_do_not_overrule():
    """A slope that is 1e-9 of what slopes of φ are like: the complex step is right, and differences cannot say otherwise."""
    found = slope(lambda z: 1e9 + 1e-3 * z, noise=1e-7, size=1.0)
    assert found.value == pytest.approx(1e-3) and not found.doubtful


def test_the_width_is_that_of_the_function():
    wide = slope(lambda z: np.sin(1e-6 * float(z)), noise=1e-22, width=1e6)
    narrow = slope(lambda z: np.sin(1e6 * float(z)), noise=1e-16, width=1e-6)
    assert wide.value == pytest.approx(1e-6, rel=1e-10) and narrow.value == pytest.approx(1e6, rel=1e-8)
