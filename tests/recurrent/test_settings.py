"""Settings of cells: their defaults, those of the papers where these name one; the smallest and largest that are taken; what is refused."""
import inspect

import numpy as np
import pytest

import minigrad as mg
from minigrad import recurrent

DEFAULTS = {  # of every cell with settings of its own; where they come from
    "AntisymmetricRNNCell": {"gated": False, "epsilon": 0.1, "gamma": 0.01}, "CfCCell": {"backbone_size": None, "gate": True},
    "ClockworkRNNCell": {"periods": (1, 2, 4, 8)}, "CoRNNCell": {"dt": 0.042, "gamma": 2.7, "epsilon": 4.7},         # psMNIST, the authors' code
    "GRUCell": {"reset": "after"}, "GatedDeltaNetCell": {"heads": 1}, "IRNNCell": {"scale": 1.0}, "JANETCell": {"beta": 1.0, "t_max": None},
    "LEMCell": {"dt": 1.0}, "LMUCell": {"order": 8, "theta": 32.0}, "LSTMCell": {"forget_bias": 1.0, "peepholes": False},
    "LayerNormLSTMCell": {"norm_c": True, "forget_bias": 1.0}, "MGUCell": {"forget_bias": 1.0}, "MLSTMCell": {"heads": 1},
    "OrthogonalRNNCell": {"method": "exp"}, "RNNCell": {"nonlinearity": "tanh"}, "dropout": {"on": "output", "per": "step", "size": None},
    "unroll": {"state": None, "lengths": None, "reverse": False, "states": False, "checkpoint_every": None}, "steps": {"reverse": False}}
CELLS = [name for name in recurrent.__all__ if name.endswith("Cell")]


@pytest.mark.parametrize("name", sorted({*CELLS, *DEFAULTS}))
def test_defaults(name):
    parameters = inspect.signature(getattr(recurrent, name)).parameters.values()
    found = {p.name: p.default for p in parameters if p.default is not p.empty and p.name not in ("rng", "dtype")}
    assert found == DEFAULTS.get(name, {})


@pytest.mark.parametrize("name", CELLS)
def test_without_a_generator_the_seed_is_0(name):
    cls, sizes = getattr(mg, name), (3, 8)
    cells = [cls(*sizes), cls(*sizes, rng=np.random.default_rng(0)), cls(*sizes, rng=np.random.default_rng(1))]
    first, same, other = ([p.data for p in cell.parameters().values()] for cell in cells)
    assert all(map(np.array_equal, first, same)) and not all(map(np.array_equal, first, other))
    assert {p.dtype for p in first} == {np.dtype(float)}


@pytest.mark.parametrize("name", CELLS)
def test_of_one_unit_and_one_input(name):
    """CfC takes the elapsed time as its last input, so it has two."""
    more = {"periods": [1]} if name == "ClockworkRNNCell" else {}
    D = 2 if name == "CfCCell" else 1
    cell = getattr(mg, name)(D, 1, **more)
    ys, _ = mg.unroll(cell, np.ones((2, 3, D)))
    assert ys.shape == (2, 3, 1) and np.isfinite(ys.data).all()
    ys.sum().backward()


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("sizes, said", [((0, 4), "input_size=0"), ((3, 0), "hidden_size=0"), ((3, -1), "hidden_size=-1"), ((3.0, 4), "input_size=3.0"),
                                         ((3, True), "hidden_size=True"), ((3, 2 ** 31), "hidden_size=2147483648")])
def test_sizes_that_are_none(name, sizes, said):
    with pytest.raises(ValueError, match=f"{name} got {said}; expected a positive integer, below 2\\*\\*31"):
        getattr(mg, name)(*sizes)


CELL = mg.RNNCell(3, 4)


@pytest.mark.parametrize("make", [
    lambda: mg.JANETCell(2, 3, t_max=2), lambda: mg.MLSTMCell(2, 6, heads=6), lambda: mg.GatedDeltaNetCell(2, 6, heads=np.int64(3)),
    lambda: mg.ClockworkRNNCell(2, 4, periods=[1, 2 ** 15 - 1]), lambda: mg.LMUCell(2, 3, order=1), lambda: mg.CfCCell(2, 3, backbone_size=1),
    lambda: mg.dropout(CELL, 0), lambda: mg.dropout(CELL, 0.999), lambda: mg.dropout(CELL, (0.5,), on="state"), lambda: mg.zoneout(CELL, 0), lambda: mg.zoneout(CELL, 1),
    lambda: mg.normalized(CELL, 1), lambda: mg.dropout(CELL, 0.5, on="input", per="sequence", size=1)])
def test_what_is_just_taken(make):
    assert callable(make())


@pytest.mark.parametrize("make, error, message", [
    (lambda: mg.JANETCell(2, 3, t_max=1.9), ValueError, r"JANETCell got t_max=1.9; expected a number of steps, at least 2$"),
    (lambda: mg.MLSTMCell(2, 6, heads=4), ValueError, "MLSTMCell got heads=4 for hidden_size=6; expected a positive integer that divides the hidden size"),
    (lambda: mg.MLSTMCell(2, 6, heads=0), ValueError, "got heads=0"), (lambda: mg.GatedDeltaNetCell(2, 6, heads=2.0), ValueError, "GatedDeltaNetCell got heads=2.0"),
    (lambda: mg.ClockworkRNNCell(2, 4, periods=[1, 2 ** 15]), ValueError, r"got periods=\[1, 32768\]; expected positive integers"),
    (lambda: mg.ClockworkRNNCell(2, 4, periods=[0, 1]), ValueError, r"got periods=\[0, 1\]"), (lambda: mg.ClockworkRNNCell(2, 4, periods=[]), ValueError, r"periods=\[\]"),
    (lambda: mg.ClockworkRNNCell(2, 5, periods=[1, 2]), ValueError, r"got hidden_size=5 for 2 periods \(1, 2\); expected a multiple of 2, so that all"),
    (lambda: mg.LMUCell(2, 3, order=0), ValueError, "LMUCell got order=0"), (lambda: mg.LMUCell(2, 3, theta=0), ValueError, "theta=0; expected a positive number"),
    (lambda: mg.LEMCell(2, 3, dt=float("inf")), ValueError, "LEMCell got dt=inf; expected a positive number"), (lambda: mg.CoRNNCell(2, 3, dt=True), ValueError, "dt=True"),
    (lambda: mg.CfCCell(2, 3, backbone_size=0), ValueError, "CfCCell got backbone_size=0"), (lambda: mg.CfCCell(1, 3), ValueError, "input_size=1; expected at least 2"),
    (lambda: mg.OrthogonalRNNCell(2, 3, method="qr"), ValueError, "got method='qr'; expected 'exp' or 'cayley'"),
    (lambda: mg.dropout(CELL, 1), ValueError, "dropout got p=1 on the output; expected a probability below 1$"),
    (lambda: mg.dropout(CELL, 1, on="state"), ValueError, "dropout got p=1 on the state; expected a probability below 1, or one for each part of the state$"),
    (lambda: mg.dropout(CELL, (0.5,)), ValueError, r"dropout got p=\(0.5,\) on the output; expected a probability below 1$"),
    (lambda: mg.dropout(CELL, -0.1), ValueError, "dropout got p=-0.1; expected a probability, 0 … 1"), (lambda: mg.zoneout(CELL, 1.1), ValueError, "zoneout got p=1.1"),
    (lambda: mg.zoneout(CELL, True), ValueError, "zoneout got p=True"), (lambda: mg.zoneout(CELL, "0.1"), ValueError, "zoneout got p='0.1'"),
    (lambda: mg.dropout(CELL, 0.5, on="gate"), ValueError, "dropout got on='gate', per='step'; expected on='input', 'output' or 'state'"),
    (lambda: mg.dropout(CELL, 0.5, per="batch"), ValueError, "dropout got on='output', per='batch'"), (lambda: mg.dropout(CELL, 0.5, on=1), ValueError, "on=1"),
    (lambda: mg.dropout(CELL, 0.5, per="sequence"), TypeError, "dropout on the output with one mask per sequence needs size=, the last axis of the output"),
    (lambda: mg.dropout(CELL, 0.5, per="sequence", size=0), ValueError, "dropout got size=0"),
    (lambda: mg.normalized(CELL, 0), ValueError, "normalized got size=0; expected a positive integer"), (lambda: mg.projected(CELL, 4, 0), ValueError, "projected got .*=0"),
    (lambda: mg.zoneout(CELL, 0.5, rng=3), TypeError, "rng must be a numpy.random.Generator, got int"),
    (lambda: mg.RNNCell(2, 3, dtype=int), TypeError, "parameters got dtype=int64; expected floats"), (lambda: mg.RNNCell(2, 3, dtype="f9"), TypeError, "parameters got dtype='f9'"),
])
def test_what_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
