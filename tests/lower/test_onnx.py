"""ONNX: the model of a Scan and ONNX's own ops against minigrad, by onnx's reference and by onnxruntime; any T and B."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.lower import to_onnx
from minigrad.lower.kit import golden
from minigrad.lower.step import Step
from tests.lower import steps

CELLS = {"rnn": lambda **k: mg.RNNCell(3, 4, **k), "gru": lambda **k: mg.GRUCell(3, 4, **k), "gru before": lambda **k: mg.GRUCell(3, 4, reset="before", **k),
         "lstm": lambda **k: mg.LSTMCell(3, 4, **k), "peepholes": lambda **k: mg.LSTMCell(3, 4, peepholes=True, **k),
         "stack": lambda **k: mg.stacked(mg.LSTMCell(3, 4, **k), mg.GRUCell(4, 5, **k), mg.RNNCell(5, 2, **k)),
         "relu": lambda **k: mg.RNNCell(3, 4, nonlinearity="relu", **k)}


def made(name, dtype):
    cell, rng = CELLS[name](dtype=dtype), np.random.default_rng(0)
    for p in cell.parameters().values():
        p.data = (p.data + rng.standard_normal(p.shape)).astype(dtype)
    return cell


def run(model, numbers, runtime):
    feed = {n: a for n, a in numbers.items() if n == "xs" or n.startswith("state_")}
    if runtime == "reference":
        from onnx.reference import ReferenceEvaluator
        return ReferenceEvaluator(model).run(None, feed)
    import onnxruntime
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, feed)


def compare(model, cell, runtime, T, B, bound):
    numbers = golden(Step(cell), T, B)
    for k, out in enumerate(run(model, numbers, runtime)):
        expected = numbers["ys"] if k == 0 else numbers[f"states_{k - 1}"][-1]
        assert out.shape == expected.shape and out.dtype == expected.dtype
        assert np.abs(out - expected).max() <= bound * np.abs(expected).max()


@pytest.mark.parametrize("name, dtype, runtime", [
    *((n, np.float64, "reference") for n in CELLS if n != "relu"),      # the reference has no relu in RNN
    *((n, np.float32, "onnxruntime") for n in CELLS)])                  # onnxruntime has these ops in float32 only
def test_own_ops_of_onnx(name, dtype, runtime):
    steps.needs("onnx")
    cell = made(name, dtype)
    model = to_onnx(cell, scan=False)
    assert "Scan" not in {n.op_type for n in model.graph.node}
    for T, B in ((5, 2), (1, 1), (9, 4)):
        compare(model, cell, runtime, T, B, 1e-12 if dtype == np.float64 else 1e-5)


@pytest.mark.parametrize("runtime", ["reference", "onnxruntime"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_scan_has_free_sizes_in_both_runtimes(dtype, runtime):
    steps.needs("onnx")
    cell = made("lstm", dtype)
    model = to_onnx(cell, scan=True)
    assert [n.op_type for n in model.graph.node] == ["Scan"]
    for T, B in ((5, 2), (1, 1), (9, 4)):
        compare(model, cell, runtime, T, B, 1e-12 if dtype == np.float64 else 1e-5)


def test_which_form_is_the_default_and_files(tmp_path):
    steps.needs("onnx")
    assert [n.op_type for n in to_onnx(mg.LSTMCell(3, 4)).graph.node] == ["Scan"]
    assert "LSTM" in {n.op_type for n in to_onnx(mg.LSTMCell(3, 4, dtype=np.float32), tmp_path / "lstm.onnx").graph.node}
    import onnx
    assert onnx.load(tmp_path / "lstm.onnx").graph.name == "LSTMCell"
    with pytest.raises(ValueError, match="MGUCell is no op of ONNX's own; there are RNN, GRU and LSTM"):
        to_onnx(mg.MGUCell(3, 4), scan=False)
    with pytest.raises(ValueError, match="an index with several arrays has no entry for onnx"):
        to_onnx(steps.Of(lambda x: steps.sq(x)[..., [0, 1], [1, 2]].sum(-1, keepdims=True) * x), x=steps.ONES)
    with pytest.raises(ValueError, match="a variance over the rows with ddof has no entry for onnx"):
        to_onnx(steps.Of(lambda x: x - np.var(x, axis=0, ddof=1)), x=steps.ONES)


def test_without_onnx_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'minigrad\[onnx\]'"):
        to_onnx(mg.RNNCell(3, 4))
