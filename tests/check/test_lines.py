"""Lines of a derivation as functions: by what names they get what, at every step."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.check import compare, diagnose

from networks import B, H, T, elman

LOSS, VALUES, _ = elman()
DO = {t: (np.exp(VALUES["o"][t]) / np.exp(VALUES["o"][t]).sum(1, keepdims=True) - VALUES["y"][t]) / B for t in range(1, T + 1)}
DA, DH, CARRY = {}, {}, {T: np.zeros((B, H))}
for t in range(T, 0, -1):
    DH[t] = DO[t] @ VALUES["W_y"][None].T + CARRY[t]
    DA[t] = DH[t] * (1 - VALUES["h"][t] ** 2)
    CARRY[t - 1] = DA[t] @ VALUES["W_h"][None].T
ZERO = np.zeros((B, H))


@pytest.mark.parametrize("name, expected", [
    ("h", lambda t: VALUES["h"][t]), ("h_prev", lambda t: VALUES["h"][t - 1]), ("h_next", lambda t: VALUES["h"].get(t + 1, ZERO)),
    ("x", lambda t: VALUES["x"][t]), ("a", lambda t: VALUES["a"][t]), ("W_h", lambda t: VALUES["W_h"][None]), ("h_0", lambda t: VALUES["h"][0]),
    ("b_h", lambda t: VALUES["b_h"][None]), ("da", lambda t: DA[t]), ("dh", lambda t: DH[t]), ("da_next", lambda t: DA.get(t + 1, ZERO)),
    ("carry_h", lambda t: CARRY[t]), ("t", lambda t: t), ("T", lambda t: T), ("constant", lambda t: 2.5), ("series", lambda t: t * np.ones(2)),
    ("alias", lambda t: VALUES["h"][t - 1]), ("carry_h_prev", lambda t: CARRY[t - 1]),
])
def test_what_an_argument_stands_for(name, expected):
    """Also beyond the ends: nothing arrives from step T + 1, and before step 1 is the initial state."""
    got = []
    exec(f"def line(dh, h, {name if name not in ('dh', 'h') else 'W_x'}):\n    got.append({name})\n    return dh * (1 - h ** 2)", scope := {"got": got})
    given = {"constant": 2.5, "series": [t * np.ones(2) for t in range(1, T + 1)]}
    report = compare({"da": scope["line"]}, LOSS, given=given, names={"alias": "h_prev"})
    assert report.ok, report
    for t, value in zip(range(T, 0, -1), got, strict=True):
        np.testing.assert_allclose(value, expected(t), rtol=1e-12, atol=1e-14, err_msg=f"t={t}")


RIGHT = {"do": lambda o, y: (np.exp(o) / np.exp(o).sum(1, keepdims=True) - y) / B, "dh": lambda do, W_y, da_next, W_h: do @ W_y.T + da_next @ W_h.T,
         "da": lambda dh, h: dh * (1 - h ** 2), "dW_h": lambda h_prev, da: h_prev.T @ da, "dW_x": lambda x, da: x.T @ da,
         "db_h": lambda da: da.sum(0), "dW_y": lambda h, do: h.T @ do, "db_y": lambda do: do.sum(0), "carry_h": lambda da, W_h: da @ W_h.T,
         "dh_prev": lambda da, W_h, do_prev, W_y: da @ W_h.T + do_prev @ W_y.T}
GIVEN = {"y": [VALUES["y"][t] for t in range(1, T + 1)]}


def test_every_line_may_be_given():
    right = {name: line for name, line in RIGHT.items() if name != "dh_prev"}
    assert compare(right, LOSS, given=GIVEN).ok and diagnose(right, LOSS, given=GIVEN).ok


@pytest.mark.parametrize("name", [n for n in RIGHT if n != "dh_prev"])
def test_a_line_that_is_off_by_a_hair_differs_and_by_rounding_agrees(name):
    line = RIGHT[name]
    arguments = line.__code__.co_varnames[:line.__code__.co_argcount]
    for factor, ok in ((1 + 1e-14, True), (1 + 1e-10, False)):
        exec(f"def scaled({', '.join(arguments)}): return factor * line({', '.join(arguments)})", scope := {"factor": factor, "line": line})
        report = compare({name: scope["scaled"]}, LOSS, given=GIVEN)
        assert report.ok == ok and list(report.steps) == [name] and list(report.steps[name]) == [4, 3, 2, 1]
        if not ok:
            assert all(e == pytest.approx(1e-10, rel=.9) or e < 1e-10 for e, _ in report.steps[name].values()) and report.rows[0].error == pytest.approx(1e-10, rel=1e-3)
    assert compare({name: scope["scaled"]}, LOSS, given=GIVEN, tolerance=1e-9).ok


def test_the_numbers_of_a_row_are_those_of_the_worst_step():
    report = compare({"da": lambda dh, h, t: dh * (1 - h ** 2) + (t == 2) * (np.arange(18).reshape(3, 6) == 7)}, LOSS)
    row, = report.rows
    assert row.index == (1, 1) and row.yours == pytest.approx(row.reference + 1) and row.reference == pytest.approx(DA[2][1, 1])
    scale = max(np.abs(g).max() for g in DA.values())
    assert row.error == pytest.approx(1 / scale) and row.note == "wrong on reference inputs at t=2"
    mine, right = (np.concatenate([np.ravel(d) for d in ds]) for ds in ([DA[t] + (t == 2) * (np.arange(18).reshape(3, 6) == 7) for t in DA], DA.values()))
    assert row.cosine == pytest.approx(mine @ right / np.linalg.norm(mine) / np.linalg.norm(right))
    assert [(t, ok) for t, (_, ok) in report.steps["da"].items()] == [(4, True), (3, True), (2, False), (1, True)]


def test_a_line_with_values_of_its_own():
    scale = 1.0
    assert diagnose({"da": lambda dh, h, power=2: scale * dh * (1 - h ** power)}, LOSS).ok


def test_an_infinite_gradient_agrees_with_nothing():
    """sqrt at 0: no finite line of yours can be the reference's, and none may be called right."""
    h, loss = mg.parameter(np.zeros((2, 3)), name="h"), 0
    with np.errstate(divide="ignore"):
        for x in mg.steps(np.ones((2, 2, 3))):
            a = h + x * 0
            h = np.sqrt(a)
            loss = loss + h.sum()
        report = compare({"da": lambda dh: np.ones_like(dh)}, loss)
    assert not report.ok and report.rows[0].note == "the reference has NaN or infinity at t=2, first at [0, 0]"


@pytest.mark.parametrize("name, value, says", [
    ("da", 3.0, "is no list of 4 arrays, one a step"), ("da", {}, "is no list of 4 arrays, one a step"), ("da", [ZERO], "has 1 steps, the network 4"),
    ("dq", [ZERO] * 4, "is neither a parameter's gradient nor the adjoint of a variable: there are"),
    ("da", np.full((4, B, H), np.nan), "has NaN or infinity at t=4, first at [0, 0]"),
    ("da", [ZERO, ZERO, ZERO, None], "has a NoneType at t=4, expected an array of shape (3, 6)"),
    ("carry_q", lambda dh: dh, "the recorded network has nothing that 'carry_q' could be: did you mean 'carry_h'?"),
    ("dW_q", lambda dh: dh, "the recorded network has nothing that 'dW_q' could be: did you mean 'dW_"),
    ("da", lambda dh, **more: dh, "takes *more: an argument's name says what it gets"),
    ("da", lambda dh, h: dh @ h, "raises ValueError at t=4: a matrix product does not conform (it got dh (3, 6), h (3, 6); the result should have shape (3, 6))"),
    ("da", lambda dh, h: 1 / 0, "raises ZeroDivisionError at t=4: division by zero (it got"),
])
def test_what_cannot_be_compared_is_said(name, value, says):
    report = compare({name: value}, LOSS)
    assert says in report.rows[0].note and not report.ok and not report.steps


def test_columns():
    """For someone who writes columns; biases as columns too."""
    lines = {"da": lambda dh, h, b_h: dh * (1 - h * h) + 0 * b_h, "db_h": lambda da: da.sum(1, keepdims=True), "dW_h": lambda da, h_prev: da @ h_prev.T}
    assert compare(lines, LOSS, convention="column").ok
    note = compare({"da": lambda dh: dh.T}, LOSS, convention="column").rows[0].note
    assert note == "returns shape (3, 6) at t=4, expected (6, 3): transposed"
    assert compare({"da": [DA[t].T for t in range(1, T + 1)]}, LOSS, convention="column").ok


class Listed(mg.Module):
    """Parameters in a list, and an initial state that is not trained."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.W = [mg.parameter(rng.standard_normal(s)) for s in ((3, H), (H, H))]

    def initial_state(self, batch_size):
        return mg.Tensor(np.random.default_rng(1).standard_normal((batch_size, H)))

    def __call__(self, x, h):
        a = x @ self.W[0] + h @ self.W[1]
        h = np.tanh(a)
        return h, h


def test_parameters_of_a_list_and_an_initial_state_that_is_not_trained():
    """W.1 is no name that an argument can have: it is W_1 there; and step 1 hands nothing back that could be compared."""
    ys, _ = mg.unroll(Listed(), np.random.default_rng(2).standard_normal((T, B, 3)))
    loss = (ys * ys).sum()
    right = {"da": lambda dh, h: dh * (1 - h ** 2), "dW_0": lambda x, da: x.T @ da, "dW.1": lambda h_prev, da: h_prev.T @ da,
             "carry_h": lambda da, W_1: da @ W_1.T}
    report = compare(right, loss)
    assert report.ok, report
    assert list(report.steps["carry_h"]) == list(range(T, 1, -1)) and list(report.steps["dW.1"]) == list(range(T, 0, -1))
    found = diagnose({**right, "carry_h": lambda da, W_1: da @ W_1}, loss)
    assert [(e.yours, e.kind) for e in found.explanations] == [("carry_h", "not transposed")]
    wrong = compare({"carry_h": lambda da, W1: da @ W1}, loss)
    assert "did you mean 'W_1'? there are W_0, W_1, a, h, x" in wrong.rows[0].note


def test_parameters_of_layers_have_the_layers_number_behind_them():
    ys, _ = mg.unroll(mg.stacked(mg.RNNCell(3, H), mg.RNNCell(H, H)), np.random.default_rng(2).standard_normal((T, B, 3)))
    note = compare({"dnothing": lambda: 0}, (ys * ys).sum()).rows[0].note
    assert "W_h_1, W_h_2, W_x_1, W_x_2" in note


def test_a_name_that_two_parameters_would_have_is_neithers():
    class Both(mg.Module):
        def __init__(self):
            self.layers = mg.stacked(mg.RNNCell(3, H), mg.RNNCell(H, H))
            self.W_h = [mg.parameter(np.eye(H)), mg.parameter(np.eye(H))]
            self.initial_state = self.layers.initial_state

        def __call__(self, x, state):
            y, state = self.layers(x, state)
            a = y @ self.W_h[0]
            out = a @ self.W_h[1]
            return out, state
    ys, _ = mg.unroll(Both(), np.random.default_rng(2).standard_normal((T, B, 3)))
    rows = compare({"da": lambda dout, W_h_1: dout @ W_h_1.T, "dW_h_0": lambda y, da: y.T @ da}, (ys * ys).sum()).rows
    assert [row.ok for row in rows] == [False, True] and "W_h_1" in rows[0].note
