"""Our cells against PyTorch's: outputs and every gradient to 1e-12.

The references are the committed files of tests/references (made by make_torch.py there, which says what they hold);
where torch is installed the same comparison also runs live. torch stacks the gates in the rows of (gates H, D) matrices
and multiplies by their transposes; we pack them, in the same order, in the columns of (D, gates H).
"""
import importlib.util

import numpy as np
import pytest

import minigrad as mg
from tests.references import make_torch

CELLS: dict[str, tuple] = {
    "rnn_tanh": (mg.RNNCell, {}), "rnn_relu": (mg.RNNCell, {"nonlinearity": "relu"}),
    "gru_after": (mg.GRUCell, {"reset": "after"}), "gru_before": (mg.GRUCell, {"reset": "before"}),
    "lstm": (mg.LSTMCell, {}), "lstm_lengths": (mg.LSTMCell, {}), "gru_bidirectional_lengths": (mg.GRUCell, {})}
HAS_TORCH = importlib.util.find_spec("torch") is not None


def committed(case):
    with np.load(make_torch.FOLDER / f"{case}.npz", allow_pickle=False) as file:
        return dict(file)


def assert_agrees(name, ours, reference):
    assert ours is not None, f"{name}: no gradient reached it"
    assert ours.shape == reference.shape, f"{name}: shape {ours.shape}, the reference has {reference.shape}"
    error = np.abs(ours - reference).max() / np.abs(reference).max()
    assert error <= 1e-12, f"{name}: relative error {error:.1e}, at most 1e-12 is allowed"


def cell_from_torch(case, a, suffix=""):
    """Our cell with torch's weights. A cell with one bias gets the sum of torch's two."""
    make, options = CELLS[case]
    cell = make(make_torch.D, make_torch.H, rng=np.random.default_rng(0), **options)
    weights = {"W_x": a["weight_ih" + suffix].T, "W_h": a["weight_hh" + suffix].T}
    if case.startswith("gru") and case != "gru_before":
        weights.update(b_x=a["bias_ih" + suffix], b_h=a["bias_hh" + suffix])
    else:
        weights["b"] = a["bias_ih" + suffix] + a.get("bias_hh" + suffix, 0)
    cell.load_state_dict(weights)
    return cell


def assert_gradients_agree(cell, a, suffix=""):
    """Every gradient of the cell's parameters, in torch's layout, against torch's."""
    g = {name: parameter.grad for name, parameter in cell.parameters().items()}
    assert_agrees("W_x", g["W_x"].T, a["d_weight_ih" + suffix])
    assert_agrees("W_h", g["W_h"].T, a["d_weight_hh" + suffix])
    assert_agrees("bias", g["b_x"] if "b_x" in g else g["b"], a["d_bias_ih" + suffix])
    if "bias_hh" + suffix in a:
        assert_agrees("second bias", g["b_h"] if "b_h" in g else g["b"], a["d_bias_hh" + suffix])


def compare(case, a):
    """Run ``case`` through mg.unroll on the inputs in ``a`` and compare everything with the outputs in ``a``."""
    lengths = make_torch.LENGTHS if case.endswith("lengths") else None
    leaves = {name: mg.parameter(array) for name, array in a.items() if name == "X" or name.startswith(("h0", "c0"))}
    directions, pieces, total = ("", "_reverse") if "bidirectional" in case else ("",), [], 0
    cells = {suffix: cell_from_torch(case, a, suffix) for suffix in directions}
    for suffix, cell in cells.items():
        state = leaves["h0" + suffix]
        if case.startswith("lstm"):
            state = state, leaves["c0"]
        ys, state = mg.unroll(cell, leaves["X"], state, lengths=lengths, reverse=suffix == "_reverse")
        last = dict(zip("hc", state)) if case.startswith("lstm") else {"h" + suffix: state}
        for name, value in last.items():
            assert_agrees("last " + name, value.data, a[name])
            total = total + (a["G_" + name] * value).sum()
        pieces.append(ys)
    ys = np.concatenate(pieces, axis=-1)
    assert_agrees("outputs", ys.data, a["ys"])
    total = total + (a["G_ys"] * ys).sum()
    total.backward()
    for suffix, cell in cells.items():
        assert_gradients_agree(cell, a, suffix)
    for name, leaf in leaves.items():
        assert_agrees(name, leaf.grad, a["d_" + name])


@pytest.mark.parametrize("case", CELLS)
def test_committed_reference(case):
    compare(case, committed(case))


@pytest.mark.skipif(not HAS_TORCH, reason="torch is not installed (extra 'peers'); the committed references stand in")
@pytest.mark.parametrize("case", CELLS)
def test_live(case):
    compare(case, make_torch.reference(case))


@pytest.mark.skipif(not HAS_TORCH, reason="torch is not installed (extra 'peers')")
@pytest.mark.parametrize("case", CELLS)
def test_committed_files_are_what_the_script_makes(case):
    stored, made = committed(case), make_torch.reference(case)
    assert stored.keys() == made.keys() | {"versions"}
    for name, array in made.items():
        assert_agrees(name, stored[name], array)


@pytest.mark.parametrize("case", CELLS)
def test_a_reference_says_what_made_it(case):
    assert "torch" in str(committed(case)["versions"])


def test_the_comparison_notices_a_wrong_weight():
    arrays = committed("lstm")
    arrays["d_weight_hh"] = arrays["d_weight_hh"] * (1 + 1e-9)
    with pytest.raises(AssertionError, match="W_h: relative error 1.0e-09"):
        compare("lstm", arrays)
