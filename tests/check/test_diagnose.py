"""diagnose: each mistake of the catalogue is named, by what was written, not by what it does to the numbers."""
import json

import numpy as np
import pytest

import minigrad as mg
from minigrad.check.diagnose import diagnose
from minigrad.check.perturb import Reverse

from wrong_bptt import MISTAKES, B, T, bptt, probe

PARAMETERS, XS, YS = probe()

NAMED = {                                            # mistake -> what the explanations must be: (kind, part of the sentence)
    "A1": ("terms", "nothing is carried back"), "A2": ("terms", "reach back 1 step"), "A3": ("missing", "do @ W_y.T"),
    "A4": ("terms", "only the last step's loss"), "A5": ("overwritten", "= for +="), "A6": ("terms", "first step k = 1"),
    "A12": ("order", "runs forward"), "A15": ("terms", "explicit terms"), "B1": ("no derivative", "1 - h**2 is missing in da"),
    "B2": ("wrong adjoint", "dh instead of da"), "B3": ("wrong adjoint", "dh instead of da"), "B4": ("wrong derivative", "from a, before tanh"),
    "B5": ("wrong derivative", "not 1 - tanh(h)**2"), "B8": ("wrong derivative", "not h * (1 - h)"), "B9": ("wrong derivative", "not (1 - h)**2"),
    "B10": ("squared", "1 - h**2"), "B11": ("wrong adjoint", "db_h is computed from dh"), "B12": ("no derivative on one path", "do @ W_y.T"),
    "C1": ("not transposed", "W_h is used where W_h.T"), "C2": ("transposed", "dW_h"), "C3": ("extra factor", "1 - h**2"),
    "D1": ("wrong step", "too late"), "D3": ("wrong step", "x is taken one step too early"), "D4": ("wrong step", "h is taken one step too early"),
    "D5": ("targets", "step t+1"), "D6": ("missing", "h[t-1].T @ da"), "D7": ("wrong adjoint", "carried into step 1"), "E1": ("scale", "the sign"),
    "E2": ("diagonal softmax", "only the diagonal"), "E3": ("no softmax", "-y/ŷ"), "E5": ("no target", "- y is missing"), "E6": ("wrong class", "off by one"),
    "F1": ("no derivative", "1 / 3"), "F2": ("scale", "1/T"), "F3": ("scale", "factor 2"), "F4": ("scale", "-0.01"), "F5": ("clipped", "±0.1"),
    "F6": ("mean", "averaged"), "F9": ("scaled", "do @ W_y.T is off by the factor 0.9"), "F10": ("decay", "λ = 0.01"), "F11": ("zero", "db_h"),
}


def recorded():
    p = {name: mg.parameter(array, name=name) for name, array in PARAMETERS.items()}
    h, total = p["h_0"], 0.0
    for x, y in mg.steps(XS, YS):
        a = x @ p["W_x"] + h @ p["W_h"] + p["b_h"]
        h = np.tanh(a)
        o = h @ p["W_y"] + p["b_y"]
        total = total + mg.softmax_cross_entropy(o, y.data, reduction="sum") / B
    return total


@pytest.fixture(scope="module")
def loss():
    return recorded()


@pytest.fixture(scope="module")
def context(loss):
    return diagnose.context(loss)


def test_the_reverse_walk_taken_apart_is_the_engines(loss, context):
    r = context.reverse
    mine = r.run({}, first=True).gradients()
    for name, g in zip(mine, mg.grad(loss, [r.nodes[i].tensor for i in r.leaves.values()])):
        np.testing.assert_allclose(mine[name], g.data, rtol=1e-13, atol=1e-15)
    total = sum(r.terms().values()) + r.outside
    np.testing.assert_allclose(total, r.run({}).flat(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_every_mistake_of_the_catalogue_is_named_from_gradients_alone(loss, context, mistake):
    found = diagnose(bptt(PARAMETERS, XS, YS, mistake), loss, context=context)
    kind, says = NAMED[mistake]
    assert found.exact and found.residual < 1e-9 and not found.ok and found.exit_status == 1
    assert found.explanations[0].kind.startswith(kind), found
    assert any(says in e.says for e in found.explanations), found
    assert found.next_best[0] > 1e-6, "another explanation fits as well"


def test_the_right_derivation_has_nothing_to_explain(loss, context):
    found = diagnose(bptt(PARAMETERS, XS, YS), loss, context=context)
    assert found.ok and found.exit_status == 0 and not found.explanations and "AGREES" in str(found) and not found.undecided


def test_the_line_the_fix_and_the_reason(loss, context):
    text = str(diagnose(bptt(PARAMETERS, XS, YS, "C1"), loss, context=context))
    for part in ("DIFFERENT: 4 of 6", "wrong    dh[t-1] += da @ W_h\n", "FIX      dh[t-1] += da @ W_h.T", "WHY      h[t-1] @ W_h  ⇒", "explains your numbers to",
                 "the next best"):
        assert part in text, text


def test_names_survive_rounding(loss, context):
    """Numbers copied from paper: nothing explains them exactly, and the report says so, but the name is still the nearest."""
    rounded = {n: np.round(g, 2) for n, g in bptt(PARAMETERS, XS, YS, "C1").items()}
    found = diagnose(rounded, loss, context=context)
    assert not found.exact and found.explanations[0].kind == "not transposed" and "not an explanation" in str(found)


def test_float32_columns_and_other_names(loss, context):
    wrong = bptt(PARAMETERS, XS, YS, "B1")
    theirs = {("U" if n == "W_h" else n): (g.T if g.ndim == 2 else g[:, None]).astype(np.float32) for n, g in wrong.items()}
    found = diagnose(theirs, loss, names={"U": "W_h"}, convention="column", context=context)
    assert found.exact and found.explanations[0].kind == "no derivative"


def test_time_map_for_what_no_slip_says(loss, context):
    """Any weights of the terms: least squares finds them, and says that the local derivatives are right."""
    r = context.reverse
    weights = {(t, k): 1 + .25 * t * k + .1 * k * k for t, k in r.terms() if k <= t}
    flat = r.outside + sum(w * r.terms()[p] for p, w in weights.items())
    spans = context.slips.spans
    found = diagnose({"W_h": flat[spans["W_h"]].reshape(6, 6)}, loss, context=context)
    assert found.exact and "which terms are added" in found.explanations[0].says
    m = found.time_map["W_h"]
    np.testing.assert_allclose([m[t - 1, k - 1] for t, k in weights if k], [w for (t, k), w in weights.items() if k], rtol=1e-5)
    assert "TIME MAP W_h" in str(found)


def test_two_at_once_where_they_do_not_meet(loss, context):
    """The output layer's line and the recurrence's: both are named from gradients alone."""
    first, second = (bptt(PARAMETERS, XS, YS, m) for m in ("C1", "D4"))
    found = diagnose({**first, "W_y": second["W_y"]}, loss, context=context)
    assert found.exact and {e.kind for e in found.explanations} == {"not transposed", "wrong step"}


LINES = {"dh": lambda do, W_y, carry_h: do @ W_y.T + carry_h,
         "da": lambda dh, h: dh * (1 - h ** 2),
         "dW_h": lambda h_prev, da: h_prev.T @ da,
         "dW_x": lambda x, da: x.T @ da,
         "db_h": lambda da: da.sum(0),
         "carry_h": lambda da, W_h: da @ W_h.T}


def test_lines_are_checked_one_by_one(loss, context):
    assert diagnose(LINES, loss, context=context).ok


@pytest.mark.parametrize("name, wrong, kind, steps", [
    ("da", lambda dh, h: dh, "no derivative", "every step"),
    ("da", lambda dh, h_prev: dh * (1 - h_prev ** 2), "wrong step", "every step"),
    ("carry_h", lambda da, W_h: da @ W_h, "not transposed", "every step"),
    ("carry_h", lambda dh, W_h: dh @ W_h.T, "no derivative", "every step"),
    ("dW_h", lambda h, da: h.T @ da, "wrong step", "every step"),
    ("dW_x", lambda x, da: -(x.T @ da), "scale", "every step"),
    ("dh", lambda do, W_y: do @ W_y.T, "missing", "t=3, 2, 1"),
    ("dh", lambda do, W_y, carry_h: do @ W_y.T - carry_h, "sign", "t=3, 2, 1"),
    ("db_h", lambda da: da.mean(0), "scale", "every step"),
])
def test_a_wrong_line_is_named(loss, context, name, wrong, kind, steps):
    found = diagnose({**LINES, name: wrong}, loss, context=context)
    assert [e.yours for e in found.explanations] == [name] and found.exact, found
    assert found.explanations[0].kind == kind or kind == "missing" and "missing" in found.explanations[0].says, found
    assert found.explanations[0].fix
    wrong_row, = [r for r in found.report.rows if not r.ok]
    assert wrong_row.note.endswith(steps)


def test_two_wrong_lines_and_two_slips_in_one(loss, context):
    found = diagnose({**LINES, "da": lambda dh, h: dh * (1 - h), "carry_h": lambda da, W_h: da @ W_h}, loss, context=context)
    assert {(e.yours, e.kind) for e in found.explanations} == {("da", "wrong derivative"), ("carry_h", "not transposed")}


def test_what_no_slip_explains_is_said(loss, context):
    found = diagnose({**LINES, "da": lambda dh, h: np.cbrt(dh) + h}, loss, context=context)
    assert not found.exact and found.explanations[0].says.startswith("no slip explains it") and found.explanations[0].fix == "da = dh * (1 - h**2)"


@pytest.mark.parametrize("line, message", [
    ({"da": lambda dh, W_h: dh @ W_h[:3]}, "raises ValueError at t=4"),
    ({"da": lambda dh, h: (dh * (1 - h ** 2)).T}, "returns shape (6, 3) at t=4, expected (3, 6): transposed"),
    ({"da": lambda dh, h: np.multiply(dh, 1 - h ** 2, out=dh)}, "changes its argument 'dh'"),
    ({"da": lambda dh, gate: dh}, "takes 'gate', which is no variable"),
    ({"dq": lambda dh: dh}, "has nothing that 'dq' could be"),
    ({"da": lambda dh: dh * np.nan}, "returns NaN or infinity at t=4"),
    ({"da": [np.zeros((3, 6))] * 3}, "has 3 steps, the network 4"),
    ({"da": [np.zeros((3, 5))] * 4}, "has shape (3, 5) at t=4, expected (3, 6)"),
])
def test_one_clear_message_each(loss, context, line, message):
    found = diagnose(line, loss, context=context)
    assert not found.ok and message in str(found), found


def test_arguments_of_the_wrong_kind(loss, context):
    with pytest.raises(TypeError, match="derived is a list"):
        diagnose([], loss)
    with pytest.raises(TypeError, match="expected the loss, a Tensor"):
        diagnose({"W": 1.0}, {"W": 1.0})
    with pytest.raises(ValueError, match="needs a scalar loss, got shape"):
        diagnose({"W": 1.0}, mg.parameter(np.ones(3), name="W") * 2)
    with pytest.raises(ValueError, match="names maps 'U', which is not among what was derived"):
        diagnose({"W_h": PARAMETERS["W_h"]}, loss, names={"U": "W_h"}, context=context)


def test_a_cell_nobody_has_seen():
    """Hypotheses come from the recorded graph: an invented cell with the author's names is diagnosed by them."""
    rng = np.random.default_rng(3)
    W, V = mg.parameter(.7 * rng.standard_normal((5, 6)), name="W"), mg.parameter(.7 * rng.standard_normal((6, 6)), name="V")
    m = m_0 = mg.parameter(rng.standard_normal((3, 6)), name="m_0")
    kept = []
    for x in mg.steps(rng.standard_normal((T, 3, 5))):
        u = x @ W + (m * m) @ V
        k = mg.sigmoid(u)
        m = k * m + np.sin(u)
        kept.append((x.data, u.data, k.data, m.data))
    loss = (m * m).sum() / 2
    g = {"W": 0, "V": 0}
    dm = m.data
    for t in range(T - 1, -1, -1):
        x, u, k, _ = kept[t]
        before = kept[t - 1][3] if t else m_0.data
        du = dm * before * k + dm * np.cos(u)                       # sigmoid' is k (1 - k)
        g["W"], g["V"] = g["W"] + x.T @ du, g["V"] + (before ** 2).T @ du
        dm = dm * k + (du @ V.data.T) * 2 * before
    found = diagnose({**g, "m_0": dm}, loss)
    assert found.exact and found.explanations[0].says == "the derivative of sigmoid is k * (1 - k), not k", found


def test_a_packed_cell_is_diagnosed_gate_by_gate():
    p = mg.check.probe(mg.GRUCell)
    r = Reverse(p.loss)
    context = diagnose.context(p.loss)
    slip = next(s for s in context.list if s.kind == "not transposed" and s.where == "for n")
    found = diagnose(r.run({e: f for e, f in zip(r.lines[slip.edge.line].values(), slip.changes.values())}).gradients(), p.loss, context=context)
    assert found.exact and found.explanations[0].where == "for n" and "W_h for n" in found.explanations[0].says


def test_adjoints_of_every_step(loss, context):
    r = context.reverse
    slip = next(s for s in context.list if s.kind == "not transposed")
    run = r.run(slip.changes)
    dh = [run.g[next(i for (s, _), i in r.by_step.items() if s == t and r.phrases.name(i) == "h")] for t in range(1, T + 1)]
    found = diagnose({"dh": dh}, loss, context=context)
    assert found.exact and found.explanations[0].kind == "not transposed"
    assert found.report.first == ("dh", T - 1) and "differs at t=3, 2, 1" in str(found)


def test_data_and_html(loss, context):
    found = diagnose(bptt(PARAMETERS, XS, YS, "B1"), loss, context=context)
    data = json.loads(json.dumps(found.data()))
    assert data["exact"] and data["explanations"][0]["kind"] == "no derivative" and len(data["report"]["rows"]) == 6
    assert "<table>" in found.html() and "1 - h**2 is missing in da" in found.html() and "<script" not in found.html()


@pytest.mark.parametrize("rows, steps, zero, says", [(1, 4, False, "one row"), (3, 1, False, "one time step"), (3, 4, True, "initial state"),
                                                     (3, 2, False, "two time steps")])
def test_what_the_probe_cannot_show_is_said(rows, steps, zero, says):
    rng = np.random.default_rng(0)
    cell = mg.RNNCell(5, 6)
    state = mg.Tensor(np.zeros((rows, 6)) if zero else rng.standard_normal((rows, 6)))
    ys, _ = mg.unroll(cell, rng.standard_normal((steps, rows, 5)), state)
    loss = (ys * ys).sum()
    gradients = {n: g.data for n, g in zip(cell.parameters(), mg.grad(loss, list(cell.parameters().values())))}
    assert says in str(diagnose(gradients, loss).undecided)


@pytest.mark.parametrize("cell", [mg.GatedDeltaNetCell, mg.OrthogonalRNNCell])
def test_other_cells_are_diagnosed_too(cell):
    """Scalar gates, parameters that are used outside of time, slips whose numbers run away: the sign of one line is still found."""
    p = mg.check.probe(cell)
    context = diagnose.context(p.loss)
    gradients = context.reverse.run({}).gradients()
    name = next(iter(gradients))
    assert diagnose(gradients, p.loss, context=context).ok
    found = diagnose({**gradients, name: -gradients[name]}, p.loss, context=context)
    assert found.exact and found.explanations[0].kind in ("sign", "scale") and name in str(found)


def test_a_plain_loop_is_diagnosed_without_time():
    rng = np.random.default_rng(0)
    W, h = mg.parameter(rng.standard_normal((4, 4)), name="W"), mg.parameter(rng.standard_normal((3, 4)), name="h_0")
    first = h
    for _ in range(3):
        h = np.tanh(h @ W)
    loss = h.sum()
    dW, dh = (g.data for g in mg.grad(loss, [W, first]))
    found = diagnose({"W": dW.T, "h_0": dh}, loss)
    assert found.exact and found.explanations[0].kind == "transposed" and "no time steps were recorded" in str(found)


def test_what_is_not_derived_is_no_mistake_in_the_rest(loss, context):
    right = bptt(PARAMETERS, XS, YS)
    found = diagnose({"W_h": right["W_h"], "b_h": right["b_h"]}, loss, context=context)
    assert not found.ok and not found.explanations and "what you derived agrees" in str(found)
    wrong = diagnose({"W_h": right["W_h"], "b_h": 2 * right["b_h"]}, loss, context=context)
    assert wrong.exact and "factor 2" in wrong.explanations[0].says


H_ = lambda h: np.diagflat(1 - h**2)                                                    # noqa: E731
COLUMNS = {  # the lines of source 003, in column vectors as it writes them, and near misses of three
    "do": lambda o, y: np.exp(o) / np.exp(o).sum() - y, "da": lambda h, dh: H_(h) @ dh, "dh": lambda V, do, carry_h: carry_h + V.T @ do,
    "carry_h": lambda W, h, dh: W.T @ H_(h) @ dh, "dW": lambda da, h_prev: da @ h_prev.T, "db": lambda da: da,
    "dU": lambda da, x: da @ x.T, "dV": lambda do, h: do @ h.T, "dc": lambda do: do}


@pytest.mark.parametrize("name, wrong, kind, fix", [
    ("carry_h", lambda W, h, dh: W @ H_(h) @ dh, "not transposed", "dh[t-1] += W.T @ da"),
    ("carry_h", lambda W, h, dh: H_(h) @ W.T @ dh, "misplaced derivative", "dh[t-1] += W.T @ da"),
    ("carry_h", lambda W, h_prev, dh: W.T @ H_(h_prev) @ dh, "wrong step", "da = dh * (1 - h**2)"),
    ("da", lambda h, dh: np.diagflat((1 - h)**2) @ dh, "wrong derivative", "da = dh * (1 - h**2)"),
    ("dW", lambda da, h: da @ h.T, "wrong step", "dW += da @ h[t-1].T"),
    ("dh", lambda V, o, carry_h, y: carry_h + V.T @ (np.exp(o) / np.exp(o).sum()), "", ""),
    ("dW", lambda da, h_prev: h_prev @ da.T, "transposed", "dW += da @ h[t-1].T")])
def test_a_network_of_column_vectors(name, wrong, kind, fix):
    rng = np.random.default_rng(0)
    p = {n: mg.parameter(0.7 * rng.standard_normal(s), name=n) for n, s in dict(U=(6, 5), W=(6, 6), V=(7, 6), b=(6, 1), c=(7, 1), h_0=(6, 1)).items()}
    h, loss = p["h_0"], 0.0
    for x, y in mg.steps(rng.standard_normal((4, 5, 1)), np.eye(7)[rng.integers(7, size=4)][:, :, None]):
        a = p["b"] + p["W"] @ h + p["U"] @ x
        h = np.tanh(a)
        o = p["c"] + p["V"] @ h
        loss = loss - (y * mg.log_softmax(o, axis=0)).sum()
    assert diagnose(COLUMNS, loss).ok
    found = diagnose({**COLUMNS, name: wrong}, loss)
    assert not found.ok and [e.yours for e in found.explanations] == [name]
    if kind:
        assert (found.explanations[0].kind, found.explanations[0].fix) == (kind, fix) and found.exact


@pytest.mark.parametrize("other", [mg.relu, mg.sigmoid, lambda a: a])
def test_a_step_with_another_function_is_no_obstacle(other):
    """One step that is unlike the others: a mistake in the recurrence is found all the same."""
    rng = np.random.default_rng(3)
    W, h = (mg.parameter(0.7 * rng.standard_normal(shape), name=name) for name, shape in (("W", (6, 6)), ("h_0", (3, 6))))
    hs, slopes, loss = [h.data], [], 0.0
    for t, x in enumerate(mg.steps(rng.standard_normal((4, 3, 6))), 1):
        a = x + h @ W
        h = np.tanh(a) if t != 2 else other(a)
        hs.append(h.data)
        slopes.append(1 - h.data ** 2 if t != 2 else mg.grad(other(p := mg.parameter(a.data)).sum(), [p])[0].data)
        loss = loss + (h * h).sum()
    dh, dW = 0, 0
    for t in (4, 3, 2, 1):
        da = (2 * hs[t] + dh) * slopes[t - 1]
        dW, dh = dW + hs[t - 1].T @ da, da @ W.data              # W, where W.T is needed
    found = mg.check.diagnose({"W": dW, "h_0": dh}, loss)
    assert found.exact and found.explanations[0].kind == "not transposed"


def test_what_comes_closest_is_numbered_and_named():
    """Two wrong lines, one of which nothing explains: the title, its number and the line's name are words of their own."""
    total = recorded()
    found = diagnose({"da": lambda dh, h: dh * (1 + h ** 2), "carry_h": lambda da, W_h: np.cos(3 * da) @ np.sin(W_h)}, total)
    titles = [line.split(":")[0] for line in str(found).splitlines() if line.startswith(("LIKELY", "CLOSEST"))]
    assert titles == ["CLOSEST 1 da", "CLOSEST 2 carry_h"]
