"""What stands on top of a picture: a derivation marked right and wrong, the terms of a gradient, heat of one number, hatching, cuts."""
from types import SimpleNamespace

import numpy as np
import pytest
from picture_overlaps import faults

import minigrad as mg
from minigrad.picture import bars as barring
from minigrad.picture import judged, theme

B, T, D, H = 3, 4, 5, 6


def network(cut=(), T=T, lengths=None):
    """(parameters, losses, states, total) of an Elman network in a loop; the state is detached before the steps `cut`."""
    rng = np.random.default_rng(0)
    p = {n: mg.parameter(0.7 * rng.standard_normal(s), name=n) for n, s in dict(W_x=(D, H), W_h=(H, H), h_0=(B, H)).items()}
    h, total, losses, states = p["h_0"], 0.0, [], [p["h_0"]]
    for t, x in enumerate(mg.steps(rng.standard_normal((T, B, D))), 1):
        if t in cut:
            h = mg.detach(h)
        a = x @ p["W_x"] + h @ p["W_h"]
        h = np.tanh(a)
        loss = (h * h).sum() / 2
        total = total + loss
        losses.append(loss)
        states.append(h)
    return p, losses, states, total


def label(shape):
    return "".join("_" + r if sub else r for r, sub in shape.lines[0][0]) if shape.lines else ""


def wrong(drawing):
    return sorted(label(s) for s in drawing.scene.shapes if s.fill == judged.WRONG)


def signs(drawing, sign):
    return sum(t.words == ((sign, False),) for t in drawing.scene.texts)


def words(drawing):
    return ["".join(r for r, _ in t.words) for t in drawing.scene.texts]


# ---- marks -----------------------------------------------------------------------------------------------------------

def lines(spoilt=()):
    right = {"da": lambda dh, h: dh * (1 - h ** 2), "dW_h": lambda h_prev, da: h_prev.T @ da, "carry_h": lambda da, W_h: da @ W_h.T}
    bad = {"da": lambda dh, h: dh * (1 - h), "dW_h": lambda h, da: h.T @ da, "carry_h": lambda da, W_h: da @ W_h}
    return {n: bad[n] if n in spoilt else right[n] for n in right}


def test_a_derivation_that_is_right_has_ticks_only():
    total = network()[3]
    drawing = mg.draw(total, marks=mg.check.compare(lines(), total))
    assert not wrong(drawing) and signs(drawing, "✗") == 0 and signs(drawing, "✓") == 3 * T and faults(drawing.scene) == []
    assert not any("first wrong" in w for w in words(drawing)) and all(p.rim_width == 1 for p in drawing.scene.panels)


@pytest.mark.parametrize("report", ["compare", "diagnose"])
def test_the_wrong_line_is_marked_where_it_is(report):
    total = network()[3]
    drawing = mg.draw(total, marks=getattr(mg.check, report)(lines(["da"]), total))
    assert wrong(drawing) == [f"a_{t} = +" for t in (1, 2, 3, 4)] and faults(drawing.scene) == []
    assert signs(drawing, "✗") == T and signs(drawing, "✓") == 2 * T
    outlined = [p.step for p in drawing.scene.panels if p.rim == theme.RED]
    assert outlined == [4] and any(w.startswith("first wrong on the way back: da at t = 4") for w in words(drawing))


def test_what_a_step_adds_to_a_parameter_and_what_it_hands_on():
    total = network()[3]
    drawing = mg.draw(total, marks=mg.check.compare(lines(["dW_h"]), total))
    assert wrong(drawing) == ["@ W_h"] * T
    drawing = mg.draw(total, marks=mg.check.compare(lines(["carry_h"]), total))
    red = [a for a in drawing.scene.arrows if a.colour == theme.RED]
    assert wrong(drawing) == [] and len(red) == T
    assert [label(drawing.scene.shapes[a.ends[0]]) for a in red] == ["h_1", "h_2", "h_3", "h_0"]


def test_gradients_are_marked_on_parameters_and_single_steps_in_their_columns():
    p, _, _, total = network()
    exact = dict(zip(p, (g.data for g in mg.grad(total, list(p.values())))))
    drawing = mg.draw(total, marks=mg.check.compare({**exact, "W_h": exact["W_h"].T}, total))
    assert wrong(drawing) == ["W_h (6×6)"] and signs(drawing, "✓") == 2
    drawing = mg.draw(total, marks={("dh", 2): False, ("dh", 3): True, "W_x": True})
    assert wrong(drawing) == ["h_2"] and signs(drawing, "✓") == 2 and [p.step for p in drawing.scene.panels if p.rim == theme.RED] == [2]


def test_marks_go_with_every_zoom_and_with_heat():
    total = network(T=30)[3]
    marks = {("dh", t): t < 20 for t in range(1, 31)}
    for options in ({}, {"cells": True}, {"heat": True}, {"style": "print"}, {"folded": True}, {"step": 30}):
        assert faults(mg.draw(total, marks=marks, **options).scene) == [], options
    assert any("da at t = 15 (not shown)" in w for w in words(mg.draw(total, marks={("da", 15): False, ("da", 30): True})))
    assert wrong(mg.draw(total, marks=marks, folded=True)) == ["h_t"]
    assert wrong(mg.draw(total, marks=marks, cells=True)) == ["h_28", "h_29", "h_30"]


def test_two_layers_and_slices_of_a_packed_parameter():
    rng = np.random.default_rng(0)
    ys, _ = mg.unroll(mg.LSTMCell(3, 4, rng=rng), rng.standard_normal((3, 2, 3)))
    drawing = mg.draw((ys * ys).sum(), marks={("dc", 2): False, ("dW_x", 1): False, ("dh", 3): True})
    assert wrong(drawing) == ["@ W_x", "c_2"] and faults(drawing.scene) == []


@pytest.mark.parametrize("marks, error, message", [
    ({"dU": True}, ValueError, "nothing on this picture belongs to dU; what has a name is W_x, W_h"),
    (3.0, TypeError, "got a float: expected what mg.check.compare or mg.check.diagnose returned"),
    ({3: True}, TypeError, r"the key 3: expected a name, or \(name, step\)")])
def test_marks_that_belong_to_nothing(marks, error, message):
    with pytest.raises(error, match=message):
        mg.draw(network()[3], marks=marks)


# ---- bars ------------------------------------------------------------------------------------------------------------

def heights(drawing, fills):
    return [(p.left + p.right, p.high - p.low) for p in drawing.scene.panels if p.fill in fills]


def test_bars_stand_under_their_columns_and_add_up():
    p, losses, states, total = network()
    double = mg.check.bptt(losses, states, p["W_h"])
    drawing = mg.draw(total, bars=double)
    columns = [q.left + q.right for q in drawing.scene.panels if q.step]
    norms = heights(drawing, [barring.PALE])
    along = heights(drawing, [barring.DARK, barring.AGAINST])
    assert [x for x, _ in norms] == pytest.approx(columns) and [x for x, _ in along] == pytest.approx(columns)
    terms = np.asarray(double.terms).sum(axis=0)
    size = np.linalg.norm(terms, axis=(1, 2))
    assert [h for _, h in norms] == pytest.approx(barring.HEIGHT * size / size.max())
    total_norm = np.linalg.norm(mg.grad(total, [p["W_h"]])[0].data)
    signed = [h if q.fill == barring.DARK else -h for q, (_, h) in zip([q for q in drawing.scene.panels if q.fill in (barring.DARK, barring.AGAINST)], along)]
    assert sum(signed) * size.max() / barring.HEIGHT == pytest.approx(total_norm)
    assert f"= {total_norm:.3g}" in words(drawing) and faults(drawing.scene) == []


def test_bars_of_one_loss_do_not_reach_later_steps():
    p, losses, states, total = network()
    drawing = mg.draw(total, bars=mg.check.bptt([losses[1]], states, p["W_h"]), heat=losses[1])
    reached = [h > 0 for _, h in heights(drawing, [barring.PALE])]
    assert reached == [True, True, False, False] and faults(drawing.scene) == []
    grey = {label(s) for s in drawing.scene.shapes if s.fill == theme.ODD["missing"][0] and s.role == "state"}
    assert grey == {"h_3", "h_4"} and label(next(s for s in drawing.scene.shapes if s.rim == theme.RED)) == "loss_2 = ÷ 2"


def test_bars_of_a_folded_sequence_and_of_parts_against_the_gradient():
    total = network(T=40)[3]
    parts = np.ones((40, 2))
    parts[1] = -0.5
    drawing = mg.draw(total, bars=parts)
    assert len(heights(drawing, [barring.DARK])) == 5 and len(heights(drawing, [barring.AGAINST])) == 1
    assert "+48" in words(drawing)                                              # 34 of them, each √2
    W_y = mg.parameter(np.eye(H), name="W_y")
    _, losses, states, _ = network()
    outside = mg.check.bptt([loss + (W_y * W_y).sum() + (s @ W_y).sum() for loss, s in zip(losses, states[1:])], states, W_y)
    assert any("outside the steps" in w for w in words(mg.draw(losses[3], bars=outside)))


@pytest.mark.parametrize("bars, options, error, message", [
    (np.ones(3), {}, ValueError, "the contributions are those of 3 steps, and the picture has step 4"),
    ("W_h", {}, TypeError, "got a str: expected what mg.check.bptt returned, or an array"),
    (np.ones(4), {"folded": True}, ValueError, r"draw\(folded=True, bars=\.\.\.\): bars stand under the columns")])
def test_bars_that_do_not_fit(bars, options, error, message):
    with pytest.raises(error, match=message):
        mg.draw(network()[3], bars=bars, **options)
    with pytest.raises(ValueError, match="the picture has no steps"):
        mg.draw(mg.parameter([1.0]) * 2, bars=np.ones(3))


# ---- heat of one number ----------------------------------------------------------------------------------------------

def test_heat_of_one_entry_of_a_state():
    p, _, states, total = network()
    entry = states[3][0, 1]
    drawing = mg.draw(total, heat=entry)
    tips = {label(s): s.tooltip for s in drawing.scene.shapes}
    expected = np.linalg.norm(mg.grad(states[3][0, 1], [states[1]])[0].data)
    assert f"|gradient| = {expected:.3g}" in tips["h_1"] and "no gradient" in tips["h_4"] and p["W_h"].grad is None
    dashed = [a for a in drawing.scene.arrows if a.dash == "3,3"]
    assert dashed and faults(drawing.scene) == []


def test_heat_of_a_number_in_a_compiled_scan():
    ys, h = mg.scan(mg.RNNCell(2, 3, rng=np.random.default_rng(0)), np.ones((4, 1, 2)))
    total = (ys * ys).sum()
    drawing = mg.draw(total, heat=ys[1].sum())
    states = [s for s in drawing.scene.shapes if s.role == "state"]
    assert [s.dash == theme.ODD["zero"][2] for s in states] == [False, False, True, True]           # the stack of all has zeros for them


@pytest.mark.parametrize("heat, error, message", [
    (lambda: "loss", TypeError, "got a str: expected True, or the Tensor of one number"),
    (lambda: mg.parameter([1.0, 2.0]) * 2, ValueError, r"this number has shape \(2,\).*or one entry, h\[0, 2\]"),
    (lambda: mg.Tensor([1.0]).sum(), ValueError, "this number does not depend on anything that requires gradients"),
    (lambda: mg.parameter(1.0) * 2, ValueError, "nothing in this picture leads to the number")])
def test_heat_of_what_is_no_number_of_this_graph(heat, error, message):
    with pytest.raises(error, match=message):
        mg.draw(network()[3], heat=heat())


# ---- what takes no gradients -----------------------------------------------------------------------------------------

def test_what_asks_for_no_gradient_is_hatched_and_what_gets_none_is_not():
    p, losses, _, total = network()
    drawing = mg.draw(total, heat=losses[0])
    hatched = {label(s) for s in drawing.scene.shapes if s.hatched and s.role != "legend"}
    assert hatched == {"x_1", "x_2", "x_3", "x_4"}
    assert "no gradient asked for" in drawing.svg() and 'fill="url(#hatch)"' in drawing.svg() and "#E4E4E4" in drawing.dot
    assert "hatch" not in mg.draw(total).svg()


def test_a_frozen_parameter_is_hatched():
    rng = np.random.default_rng(0)
    W, V = mg.Tensor(rng.standard_normal((2, 2)), name="W"), mg.parameter(rng.standard_normal((2, 2)), name="V")
    drawing = mg.draw(np.tanh(np.ones((1, 2)) @ V @ W).sum(), heat=True)
    assert [label(s) for s in drawing.scene.shapes if s.hatched and s.role != "legend"] == ["W"]


# ---- cuts ------------------------------------------------------------------------------------------------------------

def cuts(drawing):
    return [a for a in drawing.scene.arrows if a.cut and a.ends != (-1, -1)]


@pytest.mark.parametrize("heat", [False, True])
def test_truncated_back_propagation_is_a_cut_arrow(heat):
    total = network(cut=[3])[3]
    drawing = mg.draw(total, heat=heat)
    arrow, = cuts(drawing)
    assert label(drawing.scene.shapes[arrow.ends[0]]) == "h_2" and faults(drawing.scene) == []
    assert (arrow.dash == "3,3") == heat
    assert sum(a.cut and a.ends == (-1, -1) for a in drawing.scene.arrows) == 2             # the two strokes
    states = [s for s in drawing.scene.shapes if s.role == "state"]
    assert len({s.y for s in states}) == 1 and len([s for s in drawing.scene.shapes if s.role == "input"]) == T
    assert not cuts(mg.draw(network()[3]))


def test_chunks_are_cut_where_one_takes_over_from_the_other():
    rng = np.random.default_rng(0)
    cell, xs = mg.LSTMCell(3, 4, rng=rng), rng.standard_normal((6, 1, 3))
    ys, state = mg.unroll(cell, xs[:3])
    more, _ = mg.unroll(cell, xs[3:], mg.detach(state))
    drawing = mg.draw((ys * ys).sum() + (more * more).sum(), heat=True)
    assert [label(drawing.scene.shapes[a.ends[0]]) for a in cuts(drawing) if drawing.scene.shapes[a.ends[1]].role != "port"] == ["h_3", "c_3"] \
        and faults(drawing.scene) == []


def test_equal_inputs_are_no_cut():
    """Constants, repeated inputs and zeros are often equal to the last bit without one being the other."""
    W = mg.parameter(np.eye(2), name="W")
    h, total, x = mg.Tensor(np.zeros((1, 2))), 0.0, np.array([[0.5, -1.0]])
    for _ in mg.steps(np.ones((3, 1, 2))):
        h = np.maximum(mg.Tensor(x) @ W + 0 * h, 0 * h)
        total = total + h.sum()
    assert not cuts(mg.draw(total))


def test_a_report_is_read_as_plain_data():
    row = SimpleNamespace(name="W_h", ok=False)
    verdict = judged.read(SimpleNamespace(report=SimpleNamespace(rows=[row], steps={"dh": {3: (0.5, False), 2: (0.0, True)}}, first=("dh", 3)),
                                          explanations=[SimpleNamespace(says="too large", fix="dh = 1")]))
    assert verdict == judged.Verdict({"W_h": False}, {"dh": {3: False, 2: True}}, ("dh", 3), "too large      dh = 1")
