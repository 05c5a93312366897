"""Every cell starts as its docstring says: parameters uniform in ±bound, the bound from the sizes; what starts otherwise is listed."""
import numpy as np
import pytest

import minigrad as mg

D, H, M = 64, 96, 80


def one(rows):
    return rows ** -.5


def lecun(rows):
    return (3 / rows) ** .5           # variance 1 / rows


def glorot(rows, columns):
    return (6 / (rows + columns)) ** .5


# name -> (how it is made, parameter -> bound of what starts uniform, or (bound, columns) of a part of it); the others have tests beside their cells
CELLS = {
    "elman": (lambda: mg.RNNCell(D, H), dict.fromkeys(["W_x", "W_h", "b"], one(H))),
    "clockwork": (lambda: mg.ClockworkRNNCell(D, H), dict.fromkeys(["W_x", "W_h", "b"], one(H))),
    "orthogonal": (lambda: mg.OrthogonalRNNCell(D, H), {"W_x": one(H), "b": .01}),
    "gru": (lambda: mg.GRUCell(D, H), dict.fromkeys(["W_x", "W_h", "b_x", "b_h"], one(H))),
    "gru before": (lambda: mg.GRUCell(D, H, reset="before"), dict.fromkeys(["W_x", "W_h"], one(H))),
    "lstm": (lambda: mg.LSTMCell(D, H), {"W_x": one(H), "W_h": one(H), "b": (one(H), slice(0, H)), "b ": (one(H), slice(2 * H, None))}),
    "layer norm lstm": (lambda: mg.LayerNormLSTMCell(D, H), dict.fromkeys(["W_x", "W_h"], one(H))),
    "janet": (lambda: mg.JANETCell(D, H), {"W_x": one(H), "W_h": one(H), "b": (one(H), slice(H, None))}),
    "mgu": (lambda: mg.MGUCell(D, H), {"W_x": one(H), "W_h": one(H), "b": (one(H), slice(H, None))}),
    "antisymmetric": (lambda: mg.AntisymmetricRNNCell(D, H), {"W_x": lecun(D), "W_h": lecun(H)}),
    "cfc": (lambda: mg.CfCCell(D + 1, H, backbone_size=M), {
        "W_x": glorot(D + H, M), "W_h": glorot(D + H, M), "b": one(D + H), "W_v": glorot(M, H), "b_v": one(M)}),
    "cornn": (lambda: mg.CoRNNCell(D, H), dict.fromkeys(["W_x", "W_z", "W_h", "b"], one(D + 2 * H))),
    "lem": (lambda: mg.LEMCell(D, H), dict.fromkeys(["W_x", "W_y", "W_z", "b"], one(H))),
    "lmu": (lambda: mg.LMUCell(D, H, order=50, theta=100.), {
        "e_x": lecun(D), "e_h": lecun(H), "W_x": glorot(D, H), "W_h": glorot(H, H), "W_m": glorot(50, H)}),
    "mingru": (lambda: mg.MinGRUCell(D, H), {"W_x": one(D)}),
    "minlstm": (lambda: mg.MinLSTMCell(D, H), {"W_x": one(D)}),
    "rglru": (lambda: mg.RGLRUCell(D, H), {"W_x": lecun(D), "W_u": lecun(H)}),
    "gated deltanet": (lambda: mg.GatedDeltaNetCell(D, H), {"W_x": one(D)}),
    "slstm": (lambda: mg.SLSTMCell(D, H), {"W_x": one(D), "W_h": one(H)}),
    "mlstm": (lambda: mg.MLSTMCell(D, H), {"W_x": ((6 / (5 * D)) ** .5, slice(0, 4 * H))}),
    "projected": (lambda: mg.projected(mg.LSTMCell(D, M), M, H), {"W_p": one(M)}),
}


@pytest.mark.parametrize("name", CELLS)
def test_uniform_in_its_bound(name):
    make, bounds = CELLS[name]
    parameters = make().parameters()
    for parameter, bound in bounds.items():
        bound, columns = bound if isinstance(bound, tuple) else (bound, slice(None))
        w = parameters[parameter.strip()].data[..., columns].ravel()
        assert abs(w).max() <= bound, (parameter, abs(w).max() / bound)
        assert w.max() > (1 - 8 / w.size) * bound and w.min() < (8 / w.size - 1) * bound, (parameter, abs(w).max() / bound)
        assert abs(w.mean()) < 4 * bound / (3 * w.size) ** .5 and abs(w.var() * 3 / bound ** 2 - 1) < 4 / w.size ** .5, parameter


def test_the_forget_gates_bias_is_what_was_asked_for():
    for bias in (1., 2.):
        asked = {} if bias == 1 else {"forget_bias": bias}
        assert np.array_equal(mg.LSTMCell(2, 3, **asked).b.data[3:6], [bias] * 3)
        assert np.array_equal(mg.MGUCell(2, 3, **asked).b.data[:3], [bias] * 3)
    assert np.array_equal(mg.JANETCell(2, 3).b.data[:3], [1.] * 3)
