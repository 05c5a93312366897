from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad.train import clip_by_global_norm


def parameters(*gradients, dtype=float):
    made = {}
    for name, g in zip("abc", gradients):
        made[name] = mg.parameter(np.zeros(np.shape(g), dtype), name=name)
        made[name].grad = None if g is None else np.array(g, dtype)
    return made


def test_long_gradients_are_scaled_together():
    ps = parameters([3.0, 0.0], [[4.0]])
    assert clip_by_global_norm(ps, 1.0) == 5.0
    np.testing.assert_allclose(ps["a"].grad, [0.6, 0.0])
    np.testing.assert_allclose(ps["b"].grad, [[0.8]])


def test_short_gradients_and_absent_ones_stay():
    ps = parameters([3.0, 4.0])
    ps["unreached"] = mg.parameter(1.0)
    assert clip_by_global_norm(ps, 6.0) == 5.0
    assert ps["a"].grad.tolist() == [3.0, 4.0] and ps["unreached"].grad is None
    assert clip_by_global_norm([ps["unreached"]], 1.0) == 0.0


def test_a_tensor_listed_twice_counts_once():
    ps = parameters([3.0, 4.0])
    assert clip_by_global_norm({"x": ps["a"], "y": ps["a"]}, 1.0) == 5.0
    np.testing.assert_allclose(ps["a"].grad, [0.6, 0.8])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_and_tiny_gradients_do_not_overflow_and_keep_their_dtype(dtype):
    size = float(np.sqrt(np.finfo(dtype).max)) * 100
    ps = parameters([3 * size, 4 * size], dtype=dtype)
    np.testing.assert_allclose(clip_by_global_norm(ps, 1.0), 5 * size, rtol=1e-6)
    np.testing.assert_allclose(ps["a"].grad, [0.6, 0.8], rtol=1e-6)
    assert ps["a"].grad.dtype == dtype


def test_a_scalar_gradient():
    ps = parameters(-10.0)
    assert clip_by_global_norm(ps, 2.0) == 10.0 and ps["a"].grad == -2.0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_name_the_parameter(bad):
    with pytest.raises(FloatingPointError, match="gradient of 'b' holds NaN or infinity"):
        clip_by_global_norm(parameters([1.0], [bad]), 1.0)


@pytest.mark.parametrize("max_norm", [0, -1.0, float("nan"), "1"])
def test_max_norm_must_be_positive(max_norm):
    with pytest.raises(ValueError, match="max_norm"):
        clip_by_global_norm(parameters([1.0]), max_norm)


def test_against_torchs_numbers():
    with np.load(Path(__file__).parents[1] / "references" / "optimizers.npz", allow_pickle=False) as torch:
        ps = parameters(torch["clip_gradient"])
        np.testing.assert_allclose(clip_by_global_norm(ps, 0.5), torch["clip_norm"], rtol=1e-13)
        np.testing.assert_allclose(ps["a"].grad, torch["clip_clipped"], rtol=1e-5)    # torch divides by norm + 1e-6
