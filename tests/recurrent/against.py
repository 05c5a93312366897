"""A cell held against the references of tests/references/make_cells.py: outputs, last states and every gradient to 1e-12."""
import importlib.util

import numpy as np
import pytest

import minigrad as mg
from minigrad.nested import flatten, rebuild
from tests.references import make_cells

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None,
                                 reason="torch is not installed (extra 'peers'); the committed references stand in")


def committed(case):
    with np.load(make_cells.FOLDER / f"{case}.npz", allow_pickle=False) as file:
        return dict(file)


def assert_agrees(name, ours, reference, tolerance=1e-12):
    assert ours.shape == reference.shape, f"{name}: shape {ours.shape}, the reference has {reference.shape}"
    error = np.abs(ours - reference).max() / np.abs(reference).max()
    assert error <= tolerance, f"{name}: relative error {error:.1e}, at most {tolerance:.0e} is allowed"


def compare(a, cell, packed, gradients=None):
    """Unroll ``cell`` on the inputs in ``a`` and compare with the outputs in ``a``.

    packed     the reference's dict of parameters -> ours: how its matrices stand in our packed ones
    gradients  the same for gradients; default: packed, which moves numbers and does nothing else
    """
    cell.load_state_dict(packed(a))
    xs, initial = mg.parameter(a["X"]), cell.initial_state(len(a["h0"]))
    starts = [mg.parameter(a[name]) if name in a else part for name, part in zip(["h0", "c0"], flatten(initial))]
    ys, state = mg.unroll(cell, xs, rebuild(initial, starts))
    outputs = {name: output for name, output in zip(["ys", "h", "c"], [ys, *flatten(state)]) if name in a}
    for name, output in outputs.items():
        assert_agrees(name, output.data, a[name])
    if "G_ys" not in a:                  # a reference without gradients
        return
    sum((a["G_" + name] * output).sum() for name, output in outputs.items()).backward()
    for name, leaf in zip(["X", "h0", "c0"], [xs, *starts]):
        if name in a:
            assert_agrees("d_" + name, leaf.grad, a["d_" + name])
    wanted = (gradients or packed)({name[2:]: value for name, value in a.items() if name.startswith("d_")})
    assert wanted.keys() == cell.parameters().keys()
    for name, p in cell.parameters().items():
        assert_agrees("d_" + name, p.grad, wanted[name])
