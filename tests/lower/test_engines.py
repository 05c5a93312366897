"""Every cell, every op and every way of writing a step gives the same numbers in PyTorch, JAX and ONNX: values and gradients of every step.

What is compared, and how closely, is the port kit's own test (minigrad/lower/parity.py): 1e-12 in float64, 1e-5 in float32.
"""
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad.lower import gaps, port_kit, to_jax
from minigrad.lower.kit import golden
from minigrad.lower.step import Step
from minigrad.ops import TABLE
from tests.lower import steps
from tests.recurrent.test_every_cell import every_cell

engines = pytest.mark.parametrize("target", steps.ENGINES)
ENTRIES = dict(zip(steps.ENGINES, gaps.ENGINES.values()))              # target -> (table, gaps)


@engines
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@every_cell
def test_every_cell(cls, options, dtype, target, tmp_path):
    steps.needs(target)
    rng = np.random.default_rng(1)
    cell = cls(3, 4, rng=rng, dtype=dtype, **options)
    for p in cell.parameters().values():                                # away from zeros and ones
        p.data = (p.data + 0.4 * rng.standard_normal(p.shape)).astype(dtype)
    steps.same_numbers(cell, target, tmp_path)


@engines
@pytest.mark.parametrize("name", [*TABLE, *steps.WITHOUT_GRADIENT])
def test_every_op(name, target, tmp_path):
    """An op has an entry that gives the same numbers, or a reason why there is none, and is refused by its name."""
    table, lacks = ENTRIES[target]
    cases = steps.OPS[name] if name in steps.OPS else [steps.WITHOUT_GRADIENT[name]]
    assert (name in table) != (name in lacks) or name in steps.WITHOUT_GRADIENT, f"{name} needs an entry for {target}, or a reason among GAPS"
    for case in cases:
        assert name in Step(steps.Of(case), steps.ONES).ops
    if name not in table:
        if steps.here(target):
            with pytest.raises(ValueError, match=f"Of uses .*{name}.*no entry for {target}.*to_{target}.py"):
                port_kit(steps.Of(cases[0]), tmp_path, target, steps.ONES)
    elif steps.here(target) and name != "astype":                       # through float32: not to 1e-12
        steps.same_numbers(steps.Of(*cases), target, tmp_path, steps.ONES)


@engines
@pytest.mark.parametrize("name", [*steps.WAYS, *steps.WRAPPED])
def test_ways_of_writing_a_step(name, target, tmp_path):
    steps.needs(target)
    cell = steps.WAYS[name] if name in steps.WAYS else steps.WRAPPED[name](np.random.default_rng(0))
    steps.same_numbers(cell, target, tmp_path, steps.ONES)


@engines
def test_without_a_batch_axis_and_with_a_given_state(target, tmp_path):
    steps.needs(target)
    steps.same_numbers(mg.LSTMCell(6, 4), target, tmp_path / "row", np.ones(6))

    def leaky(x, h):
        h = 0.9 * h + 0.1 * np.tanh(x @ steps.W)
        return h, h
    steps.same_numbers(leaky, target, tmp_path / "given", steps.ONES, mg.Tensor(steps.ONES))


@engines
def test_a_kit_sees_a_wrong_port(target, tmp_path):
    steps.needs(target)
    port_kit(mg.GRUCell(3, 4), tmp_path, target)
    with np.load(tmp_path / "golden.npz") as file:
        numbers = dict(file)
    for name in ("ys", "states_0") if target == "onnx" else ("ys", "states_0", "dW_h", "dxs", "dstate_0", "start_0"):
        wrong = {**numbers, name: numbers[name] + 1e-3}
        np.savez(tmp_path / "golden.npz", **wrong)
        with pytest.raises(AssertionError, match=name.replace("states", "last" if target == "onnx" else "states")):
            steps.parity(tmp_path)


@engines
def test_a_kit_runs_without_minigrad(target, tmp_path):
    steps.needs(target)
    paths = port_kit(mg.ClockworkRNNCell(5, 8, dtype=np.float32), tmp_path, target)
    assert sorted(Path(p).name for p in paths) == sorted(p.name for p in tmp_path.iterdir())
    program = "import sys; sys.path.insert(0, '.'); import test_parity as t; t.test_parity(); assert 'minigrad' not in sys.modules"
    done = subprocess.run([sys.executable, "-I", "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1500:]


def test_golden_numbers_are_those_of_an_unroll():
    """Gradients by differences, for one entry each; named values are there too."""
    step = Step(mg.LSTMCell(3, 4))
    numbers = golden(step, T=5, B=2, seed=3)

    def total(**changed):
        given = {**numbers, **changed}
        ys, last = mg.unroll(step.cell, given["xs"], tuple(mg.Tensor(given[f"state_{k}"]) for k in range(2)))
        assert changed or np.array_equal(ys.data, numbers["ys"]) and np.array_equal(last[1].data, numbers["states_1"][-1])
        return float((ys.data * given["dys"]).sum() + sum((s.data * given[f"dlast_{k}"]).sum() for k, s in enumerate(last)))

    total()
    for name in ("xs", "state_0", "state_1"):
        eps = np.zeros_like(numbers[name])
        eps.flat[1] = 1e-6
        slope = (total(**{name: numbers[name] + eps}) - total(**{name: numbers[name] - eps})) / 2e-6
        assert abs(slope - numbers[f"d{name}"].flat[1]) <= 1e-8
    assert {"steps/i", "steps/f", "steps/g", "steps/o"} <= numbers.keys() and numbers["dsteps/f"].shape == (5, 2, 4)
    assert np.array_equal(numbers["dstates_1"], numbers["dsteps/c"]) and np.abs(numbers["dstates_0"][-1] - numbers["dys"][-1] - numbers["dlast_0"]).max() < 1e-15


def test_jax_maps_and_compiles(tmp_path):
    """vmap over sequences without a batch is the batch; any T and B will do."""
    jax = pytest.importorskip("jax", reason="pip install 'minigrad[peers]'")
    jax.config.update("jax_enable_x64", True)
    source = to_jax(mg.GRUCell(3, 4))
    cell, xs = source.load(), np.random.default_rng(0).standard_normal((6, 5, 3))
    ys, _ = jax.jit(cell.scan)(source.weights, xs)
    mapped = jax.vmap(lambda x: cell.scan(source.weights, x[:, None])[0][:, 0], 1, 1)(xs)
    assert np.abs(ys - mapped).max() <= 1e-15
    assert np.abs(ys - mg.unroll(source.step.cell, xs)[0].data).max() <= 1e-15


def test_eight_devices_train_like_one():
    pytest.importorskip("jax", reason="pip install 'minigrad[peers]'")
    page = Path(__file__).parents[2] / "docs" / "take-it-elsewhere.md"
    block = next(part.partition("```")[0] for part in page.read_text(encoding="utf-8").split("```python\n") if "jax.sharding" in part)
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, cwd=page.parents[1])
    assert done.returncode == 0, done.stderr[-1500:]
    assert "8 devices" in done.stdout
