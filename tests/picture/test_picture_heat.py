"""Gradient heat: scale, arrows, and the marks for zero, NaN, infinity and no gradient."""

import numpy as np
import pytest

import minigrad as mg
from minigrad.picture import heat, theme


def test_kinds_of_gradients():
    assert heat.kind(None)[0] == "missing"
    assert heat.kind(np.zeros(3))[0] == "zero"
    assert heat.kind(np.array([1., np.nan]))[0] == "nan"
    assert heat.kind(np.array([1., -np.inf]))[0] == "inf"
    assert heat.kind(np.array([3., 4.])) == ("", pytest.approx(np.log10(5)))
    assert heat.kind(np.array([3e-200, 4e-200])) == ("", pytest.approx(np.log10(5e-200)))


def test_fill_follows_the_logarithm_and_arrows_run_backwards():
    x = mg.parameter(1., name="x")
    y = x * 10.
    z = y * 10.
    drawing = mg.draw(z * 1., heat=True)
    fill = {s.nodes[-1]: s.fill for s in drawing.scene.shapes if s.nodes}
    assert fill[min(fill)] == theme.HEAT[-1] and fill[max(fill)] == theme.HEAT[0]
    assert all(a.backwards for a in drawing.scene.arrows)
    widths = [a.width for a in drawing.scene.arrows]
    assert max(widths) > min(widths)
    assert "gradient norm" in drawing.svg()


def test_an_arrow_is_as_wide_as_what_flows_along_it():
    x = mg.parameter(1., name="x")
    a = x * 1.
    small, large = a * 1e-6, a * 1e3
    drawing = mg.draw(small + large, heat=True)
    shape = {"".join(r for label, _ in s.lines for r, _ in label).split(" = ")[-1]: i
             for i, s in enumerate(drawing.scene.shapes)}
    width = {arrow.ends: arrow.width for arrow in drawing.scene.arrows}
    low = next(w for e, w in width.items() if e[1] == shape["⊙ 1e−06"])
    high = next(w for e, w in width.items() if e[1] == shape["⊙ 1000"])
    assert low < high


@pytest.mark.filterwarnings("ignore")
def test_odd_gradients_have_their_own_marks():
    x, y = mg.parameter(0., name="x"), mg.parameter(2., name="y")
    zero, infinite = y * 0., np.sqrt(x)
    outside = mg.Tensor(np.ones((2, 2)), name="data")
    drawing = mg.draw((outside * (zero + infinite)).sum(), heat=True)
    looks = {theme.ODD[k][4] for k in ("zero", "inf", "missing")}
    text = drawing.svg()
    assert all(meaning in text for meaning in looks) and ">inf<" in text
    nan = mg.draw(np.sqrt(x) * np.sqrt(x) * 1., heat=True)
    assert "not a number" in nan.svg() and ">NaN<" in nan.svg()


def test_heat_leaves_no_gradients_behind():
    x = mg.parameter(3., name="x")
    mg.draw(x * x, heat=True)
    assert x.grad is None


@pytest.mark.parametrize("root, message", [
    (lambda: mg.Tensor(np.ones(3)).sum(), "does not depend on anything that requires gradients"),
    (lambda: mg.parameter(np.ones(3)) * 2, r"shape \(3,\)"),
    (lambda: (mg.parameter(1.) * 2, mg.parameter(1.) * 2), "2 roots"),
])
def test_heat_needs_one_number_with_gradients(root, message):
    with pytest.raises(ValueError, match=message):
        mg.draw(root(), heat=True)
