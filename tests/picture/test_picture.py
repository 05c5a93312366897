"""What a picture shows: columns, states, rails, parameters, folded steps; that nothing overlaps."""

import numpy as np
import pytest
from picture_overlaps import faults

import minigrad as mg


def rng():
    return np.random.default_rng(0)


def xs(T, width=3):
    return rng().normal(size=(T, 2, width))


def sequence(cell, T, **options):
    ys, _ = mg.unroll(cell, xs(T))
    W_y = mg.parameter(rng().normal(size=(ys.shape[-1], 2)), name="W_y")
    return mg.draw(mg.softmax_cross_entropy(ys @ W_y, np.zeros((T, 2), int)), **options)


def by_hand(T, **options):
    W_x, W_h, b, W_y = (mg.parameter(rng().normal(size=s) * .5, name=n) for n, s in
                        dict(W_x=(3, 4), W_h=(4, 4), b=(4,), W_y=(4, 2)).items())
    h, loss = mg.Tensor(np.zeros((1, 4))), 0.
    for x in mg.steps(rng().normal(size=(T, 1, 3))):
        h = np.tanh(x @ W_x + h @ W_h + b)
        y_hat = h @ W_y
        loss = loss + mg.softmax_cross_entropy(y_hat, np.array([1]))
    return mg.draw(loss, **options)


def words(drawing):
    """Every label on the picture, subscripts after an underscore."""
    lines = [label for s in drawing.scene.shapes for label, _ in s.lines] + [t.words for t in drawing.scene.texts]
    return ["".join("_" + run if sub else run for run, sub in label) for label in lines]


def shapes(drawing, role):
    return [s for s in drawing.scene.shapes if s.role == role]


CELLS = {
    "elman": lambda: mg.RNNCell(3, 4, rng=rng()),
    "gru": lambda: mg.GRUCell(3, 4, rng=rng()),
    "gru reset before": lambda: mg.GRUCell(3, 4, reset="before", rng=rng()),
    "lstm": lambda: mg.LSTMCell(3, 4, rng=rng()),
    "stacked": lambda: mg.stacked(mg.RNNCell(3, 4, rng=rng()), mg.GRUCell(4, 4, rng=rng())),
}


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("options", [{}, {"heat": True}, {"values": True}, {"folded": True}, {"shapes": False},
                                     {"heat": True, "folded": True}, {"cells": True}, {"cells": True, "heat": True},
                                     {"cells": True, "folded": True}, {"step": 2}, {"step": 1, "cells": True},
                                     {"step": 3, "heat": True}], ids=str)
def test_no_cell_overlaps(name, options):
    assert faults(sequence(CELLS[name](), 3, **options).scene) == []


@pytest.mark.parametrize("T, steps", [(1, 12), (2, 12), (12, 12), (13, 12), (40, 12), (5, 1), (5, 2), (9, 4)])
@pytest.mark.parametrize("heat", [False, True])
def test_any_number_of_steps_is_drawn_without_overlaps(T, steps, heat):
    assert faults(by_hand(T, steps=steps, heat=heat).scene) == []


def test_elman_by_hand_shows_the_vocabulary():
    drawing = by_hand(5)
    found = words(drawing)
    for expected in ("x_1", "h_5", "ŷ_3", "@ W_x", "@ W_h", "+ b", "tanh", "t = 4", "loss = Σ", "shared parameters",
                     "h_0", "W_x (3×4)", "b (4)", "×5 uses"):
        assert expected in found, expected
    assert found.count("W_h (4×4)") == 1
    assert len(shapes(drawing, "state")) == len(shapes(drawing, "prediction")) == len(shapes(drawing, "input")) == 5
    assert len(shapes(drawing, "loss")) == len(shapes(drawing, "rail")) == 5
    assert len(shapes(drawing, "initial")) == 1
    green = [a for a in drawing.scene.arrows if a.width == 2.2]
    assert len(green) == 5 and not any(a.backwards for a in green)


def test_columns_are_one_template_moved():
    states = shapes(by_hand(5), "state")
    assert len({s.y for s in states}) == 1
    assert len({round(b.x - a.x, 6) for a, b in zip(states, states[1:])}) == 1


def test_long_sequences_are_folded_in_the_middle():
    drawing = by_hand(100)
    found = words(drawing)
    assert "94 steps folded" in found and "t = 4 … 97" in found and "t = 98" in found and "t = 50" not in found
    assert "×100 uses" in found and len(drawing.scene.panels) == 7


def test_lstm_has_two_states_and_a_stack():
    drawing = sequence(mg.LSTMCell(3, 4, rng=rng()), 4)
    assert len(shapes(drawing, "state")) == 8 and len(shapes(drawing, "initial")) == 2
    found = words(drawing)
    assert {"c_2", "h_0", "c_0", "g_1 = tanh", "f_1 = σ", "a_1 = Σ + b"} <= set(found)
    assert any("stack" in w for w in found)


def test_a_vector_taken_from_the_stack_is_drawn_through():
    ys, _ = mg.unroll(mg.RNNCell(3, 4, rng=rng()), xs(3))
    W = mg.parameter(np.ones((4, 2)), name="W_y")
    drawing = mg.draw(sum(mg.softmax_cross_entropy(ys[t] @ W, np.zeros(2, int)) for t in range(3)) / 3)
    found = words(drawing)
    assert "stack" not in " ".join(found) and found.count("@ W_y") == 3 and "÷ 3" in found
    assert faults(drawing.scene) == []


def test_column_vectors_read_from_the_left():
    W, h, loss = mg.parameter(np.ones((2, 2)), name="W"), mg.Tensor(np.zeros((2, 1))), 0.
    for x in mg.steps(np.ones((3, 2, 1))):
        h = np.tanh(W @ h + x)
        loss = loss + (h * h).sum()
    assert "W @" in words(mg.draw(loss))


W = mg.parameter(np.full((2, 2), 0.5), name="W")


def remembering(x, state):
    """A memory that is read for the address and written, and an h that only h itself reads."""
    h, M, read = state
    h = np.tanh(x[..., :2] + h @ W + read)
    w = mg.softmax((M * h[..., None]).sum(axis=-1))
    M = M * (1 - w[..., None]) + w[..., None] * h[..., None, :]
    read = (w[..., None] * M).sum(axis=-2)
    return read, (h, M, read)


def delayed(x, past):
    """A delay line: the state of three steps ago is read."""
    total = x[..., :2]
    for h in past:
        total = total + W * h
    h = np.tanh(total)
    return h, [h, *past[:-1]]


def reading(x, state):
    """What is shown is read before anything is written."""
    h, key, S = state
    out = (key[..., None] * S).sum(axis=-2)
    h = np.tanh(x[..., :2] + h @ W + out)
    key = mg.softmax(h @ W)
    return out, (h, key, 0.9 * S + key[..., None] * h[..., None, :])


OWN = {"reading": (reading, (np.zeros((2, 2)), np.zeros((2, 2)), np.zeros((2, 2, 2)))),
       "remembering": (remembering, (np.zeros((2, 2)), np.zeros((2, 2, 2)), np.zeros((2, 2)))), "delayed": (delayed, [np.zeros((2, 2))] * 3)}


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("options", [{}, {"cells": True}, {"folded": True}, {"cells": True, "folded": True}, {"step": 2, "cells": True}], ids=str)
def test_no_cell_of_ones_own_overlaps(name, options):
    """What is both a state and the only reader of one has its row to itself; and of several initial states each has a place."""
    cell, start = OWN[name]
    ys, _ = mg.unroll(cell, xs(4), type(start)(mg.Tensor(s + 0.1 * i) for i, s in enumerate(start)))
    for loss in ((ys * ys).sum(), sum((y * y).sum() for y in ys)):
        assert faults(mg.draw(loss, **options).scene) == []


def test_values_of_earlier_steps_are_no_inputs():
    """They stand at the foot of the step that reads them, under their own names; folded, under how long ago they were."""
    ys, _ = mg.unroll(delayed, xs(4), [mg.Tensor(np.full((2, 2), 0.1 * i)) for i in range(3)])
    drawing = mg.draw((ys * ys).sum())
    assert {w[0] for w in words(drawing) if w in ("h", "s")} == set() and sum(w == "h_0" for w in words(drawing)) == 3 + 2 + 1
    assert {"".join(run for run, _ in s.lines[0][0]) for s in shapes(drawing, "elsewhere")} == {"h0", "h1", "h2"}
    assert {"".join(run for run, _ in s.lines[0][0]) for s in shapes(drawing, "input")} == {"x1", "x2", "x3", "x4"}
    folded = mg.draw((ys * ys).sum(), folded=True)
    assert {"".join(run for run, _ in s.lines[0][0]) for s in shapes(folded, "elsewhere")} == {"ht−2", "ht−3"}


@pytest.mark.parametrize("make", [mg.Tensor, lambda a: mg.parameter(a, name="s_0")])
def test_parts_of_the_initial_state_are_no_inputs(make):
    """A state that is packed into one array and taken apart in the step: the first column is like all others."""
    def packed(x, s):
        h, c = s[..., :2], s[..., 2:]
        c = np.tanh(x[..., :2] @ W) * c + h
        return h, np.concatenate([np.tanh(c), c], axis=-1)
    ys, s = mg.unroll(packed, xs(3), make(np.zeros((2, 4))))
    drawing = mg.draw((ys * ys).sum() + s.sum())
    assert faults(drawing.scene) == [] and [w for w in words(drawing) if w.startswith("x")] == ["x_1", "x_2", "x_3"]
    assert len(shapes(drawing, "input")) == 3 and {"s_0", "s_1", "s_2", "s_3"} <= set(words(drawing))


def test_bidirectional_walks_both_ways():
    ys, _ = mg.bidirectional(mg.RNNCell(3, 4, rng=rng()), mg.RNNCell(3, 4, rng=rng()))(xs(4))
    drawing = mg.draw((ys * ys).sum())
    assert faults(drawing.scene) == [] and {"h_0", "h_5"} <= set(words(drawing))
    ways = [a.tip[0] > a.points[0][0] for a in drawing.scene.arrows if a.width == 2.2]
    assert ways.count(True) == ways.count(False) == 4


def test_two_loops_stand_above_each_other_and_are_joined():
    first, _ = mg.unroll(mg.RNNCell(3, 4, rng=rng()), xs(3))
    second, _ = mg.unroll(mg.RNNCell(4, 4, rng=rng()), first)
    drawing = mg.draw((second * second).sum())
    assert faults(drawing.scene) == [] and len(shapes(drawing, "elsewhere")) == 3
    joined = {a.ends[1] for a in drawing.scene.arrows}
    assert all(i in joined for i, s in enumerate(drawing.scene.shapes) if s.role == "elsewhere")


@pytest.mark.parametrize("upper", [mg.RNNCell, mg.GRUCell, mg.LSTMCell])
@pytest.mark.parametrize("cells", [False, True])
def test_folded_what_comes_from_the_loop_below_passes_beside_the_delays(upper, cells):
    first, _ = mg.unroll(mg.RNNCell(3, 4, rng=rng()), xs(3))
    second, _ = mg.unroll(upper(4, 4, rng=rng()), first)
    drawing = mg.draw((second * second).sum(), folded=True, cells=cells)
    below = shapes(drawing, "elsewhere")
    assert faults(drawing.scene) == [] and [["".join(run for run, _ in label) for label, _ in s.lines][0] for s in below] == ["ht"]


def encoder_decoder():
    _, h = mg.unroll(mg.RNNCell(3, 4, rng=rng()), xs(3))
    return mg.unroll(mg.RNNCell(3, 4, rng=rng()), xs(3), h)[1].sum()


def embedding():
    E = mg.parameter(rng().normal(size=(7, 3)), name="E")
    ys, _ = mg.unroll(mg.RNNCell(3, 4, rng=rng()), E[rng().integers(0, 7, size=(3, 2))])
    return ys.sum()


def masked():
    return mg.unroll(mg.RNNCell(3, 4, rng=rng()), xs(4), lengths=[2, 4])[0].sum()


def computed_start():
    A, h_0 = mg.parameter(np.ones((3, 4)), name="A"), mg.parameter(np.zeros((1, 4)), name="h_0")
    context = mg.Tensor(np.ones((2, 3)), name="context")
    return mg.unroll(mg.GRUCell(3, 4, rng=rng()), xs(3), np.tanh(context @ A) + h_0)[1].sum()


def attention():
    ys, _ = mg.unroll(mg.RNNCell(3, 4, rng=rng()), xs(3))
    q = mg.parameter(np.ones((4, 1)), name="q")
    return (mg.softmax(ys @ q, axis=0) * ys).sum()


def two_bidirectional_layers():
    ys, _ = mg.bidirectional(mg.RNNCell(3, 4, rng=rng()), mg.RNNCell(3, 4, rng=rng()))(xs(3))
    return mg.bidirectional(mg.RNNCell(8, 4, rng=rng()), mg.RNNCell(8, 4, rng=rng()))(ys)[0].sum()


def antisymmetric():
    A, V = mg.parameter(rng().normal(size=(4, 4)), name="A"), mg.parameter(rng().normal(size=(3, 4)), name="V")
    h, W = mg.Tensor(np.zeros((1, 4))), A - A.T
    for x in mg.steps(rng().normal(size=(3, 1, 3))):
        h = h + 0.1 * np.tanh(h @ W + x @ V)
    return (h * h).sum()


def gradient_of_the_input():
    x = mg.parameter(xs(3), name="x")
    return mg.unroll(mg.RNNCell(3, 4, rng=rng()), x)[1].sum()


def two_terms_per_step():
    W, h, loss = mg.parameter(np.ones((2, 2)), name="W"), mg.Tensor(np.zeros((1, 2))), 0.
    for x in mg.steps(np.ones((3, 1, 2))):
        h = np.tanh(x + h @ W)
        loss = loss + (h * h).sum() + h.mean()
    return loss + 0.1 * (W * W).sum()


def late_losses():
    W, h, loss = mg.parameter(np.ones((2, 2)), name="W"), mg.Tensor(np.zeros((1, 2))), 0.
    for t, x in enumerate(mg.steps(np.ones((60, 1, 2)))):
        h = np.tanh(x + h @ W)
        if t > 20:
            loss = loss + h.sum()
    return loss


def losses_in_the_middle():
    W, h, loss = mg.parameter(np.ones((2, 2)), name="W"), mg.Tensor(np.zeros((1, 2))), 0.
    for t, x in enumerate(mg.steps(np.ones((60, 1, 2)))):
        h = np.tanh(x + h @ W)
        if 20 < t < 40:
            loss = loss + h.sum()
    return loss + h.mean()


def two_independent_states():
    W, V = mg.parameter(np.ones((2, 2)), name="W"), mg.parameter(np.ones((2, 2)), name="V")
    h, g = mg.parameter(np.zeros((1, 2)), name="h"), mg.parameter(np.zeros((1, 2)), name="start")
    for x in mg.steps(np.ones((4, 1, 2))):
        h, g = np.tanh(x + h @ W), np.tanh(x + g @ V)
    return (h * g).sum()


def different_layers():
    first, _ = mg.unroll(mg.LSTMCell(3, 4, rng=rng()), xs(3))
    second, _ = mg.unroll(mg.RNNCell(4, 4, rng=rng()), first)
    return second.sum()


def output_fed_back():
    cell, W_y = mg.GRUCell(3, 4, rng=rng()), mg.parameter(np.ones((4, 3)), name="W_y")
    h, y, loss = cell.initial_state(1), mg.Tensor(np.zeros((1, 3))), 0.
    for target in mg.steps(np.ones((4, 1, 3))):
        h, _ = cell(y, h)
        y = mg.sigmoid(h @ W_y)
        loss = loss + ((y - target) ** 2).sum()
    return loss


def a_state_from_two_steps_ago():
    W, a, b = mg.parameter(np.ones((2, 2)), name="W"), mg.Tensor(np.zeros((1, 2))), mg.Tensor(np.zeros((1, 2)))
    for x in mg.steps(np.ones((5, 1, 2))):
        a, b = np.tanh(x + a @ W + 0.5 * b), a
    return a.sum()


def scaled_penalty():
    W, h, loss = mg.parameter(np.ones((2, 2)), name="W"), mg.Tensor(np.zeros((1, 2))), 0.
    for x in mg.steps(np.ones((3, 1, 2))):
        h = np.tanh(x + h @ W)
        loss = loss + h.sum() + (W * W).sum()
    return loss / 3


MODELS = [late_losses, losses_in_the_middle, two_independent_states, different_layers, output_fed_back,
          a_state_from_two_steps_ago, scaled_penalty, encoder_decoder, embedding, masked, computed_start, attention,
          two_bidirectional_layers, antisymmetric, gradient_of_the_input, two_terms_per_step]


@pytest.mark.parametrize("heat", [False, True])
@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
def test_no_model_overlaps(model, heat, folded):
    assert faults(mg.draw(model(), heat=heat, folded=folded).scene) == []


def test_a_diamond_is_symmetric():
    x = mg.parameter(2., name="x")
    a = x * x
    drawing = mg.draw(np.sin(a) * np.exp(a))
    place = {"".join(r for label, _ in s.lines for r, _ in label).split(" = ")[-1]: s for s in drawing.scene.shapes}
    assert faults(drawing.scene) == []
    assert abs(place["sin"].x + place["exp"].x - 2 * place["x"].x) <= 2 and place["sin"].y == place["exp"].y


def test_a_layered_network_has_its_parameters_inline():
    x = mg.Tensor(np.ones((5, 3)), name="x")
    W_1, b_1 = mg.parameter(np.ones((3, 4)), name="W_1"), mg.parameter(np.zeros(4), name="b_1")
    drawing = mg.draw(mg.relu(x @ W_1 + b_1).sum())
    assert {"@ W_1", "+ b_1", "W_1 (3×4)", "x"} <= set(words(drawing)) and faults(drawing.scene) == []


def test_large_graphs_without_time_say_what_is_left_out():
    y = mg.parameter(1., name="x")
    for _ in range(1500):
        y = y * y
    drawing = mg.draw(y)
    assert any("earlier nodes" in w for w in words(drawing))


def test_folded_form_has_a_delay_per_state():
    drawing = sequence(mg.LSTMCell(3, 4, rng=rng()), 50, folded=True)
    found = words(drawing)
    assert found.count("delay 1") == 2 and {"h_t", "c_t", "x_t", "t = 1 … 50", "× 50 steps"} <= set(found)


def test_several_roots_a_graph_and_a_title():
    _, _, states = mg.unroll(mg.RNNCell(3, 4, rng=rng()), xs(3), states=True)
    drawing = mg.draw((states[1], states[3]), title="states <1> & 3")
    assert "states <1> & 3" in words(drawing) and "states &lt;1&gt; &amp; 3" in drawing.svg()
    from minigrad.graph import Graph
    assert mg.draw(Graph.of(states[3])).svg() == mg.draw(states[3]).svg()


def test_values_are_written_into_the_shapes():
    found = words(by_hand(2, values=True))
    assert any("±" in w for w in found) and any(w.startswith("[") for w in found)


def test_very_long_sequences_are_drawn():
    W, h, loss = mg.parameter(np.full((2, 2), .1), name="W"), np.zeros((1, 2)), 0.
    for x in mg.steps(np.ones((20_000, 1, 2))):
        h = np.tanh(x + h @ W)
        loss = loss + h.sum()
    drawing = mg.draw(loss, heat=True)
    assert "19,994 steps folded" in words(drawing) and len(drawing.scene.shapes) < 100


def test_what_follows_a_sum_over_time_stands_after_the_loop():
    drawing = mg.draw(scaled_penalty())
    after = next(s for s in drawing.scene.shapes if any(label == (("÷ 3", False),) for label, _ in s.lines))
    assert after.x > max(p.right for p in drawing.scene.panels if not p.dash)
    assert "loss = Σ + Σ(W ⊙ W)" in words(drawing) and not shapes(drawing, "elsewhere")


def test_targets_of_the_steps_carry_their_step():
    W, h, loss = mg.parameter(np.ones((2, 2)), name="W"), mg.Tensor(np.zeros((1, 2))), 0.
    targets = [mg.Tensor(np.ones((1, 2)), name="y") for _ in range(3)]
    for x, y in zip(mg.steps(np.ones((3, 1, 2))), targets):
        h = np.tanh(x + h @ W)
        loss = loss - 1 * (y * np.log(h * h)).sum()
    assert {"y_1", "y_3"} <= set(words(mg.draw(loss))) and faults(mg.draw(loss).scene) == []


def test_zooms_show_the_same_nodes():
    whole = {n for s in by_hand(4).scene.shapes for n in s.nodes}
    cells, step = by_hand(4, cells=True), by_hand(4, step=3)
    for drawing in (cells, step, by_hand(4, cells=True, folded=True)):
        assert {n for s in drawing.scene.shapes for n in s.nodes} < whole
    assert not [s for s in cells.scene.shapes if s.role == "op" and not s.lines[0][0][0][0].startswith("loss")]
    found = words(cells)
    assert {"h_0", "h_1", "h_4", "x_2", "ŷ_3"} <= set(found) and "tanh" not in found and "@ W_x" not in found
    found = words(step)
    assert {"h_2", "h_3", "x_3", "tanh", "@ W_x", "t = 3"} <= set(found) and "h_1" not in found and "x_2" not in found
    assert [len(shapes(step, role)) for role in ("state", "initial")] == [1, 1]


def test_cells_lead_arrows_through_what_they_leave_out():
    scene = by_hand(2, cells=True).scene
    names = ["".join(run for run, _ in s.lines[0][0]) if s.lines else "" for s in scene.shapes]
    pairs = {(names[a.ends[0]], names[a.ends[1]]) for a in scene.arrows if min(a.ends) >= 0}
    assert {("x1", "h1"), ("h1", "h2"), ("x2", "h2"), ("h2", "ŷ2"), ("h0", "h1")} <= pairs and ("x1", "ŷ1") not in pairs


@pytest.mark.parametrize("options, error, message", [
    (dict(step=9), ValueError, r"draw\(step=9\): the graph has the steps 1 … 3"), (dict(step=0), ValueError, "steps 1 … 3"),
    (dict(step="2"), TypeError, "the number of a step, counted from 1"), (dict(step=1, folded=True), ValueError, "one of them out")])
def test_steps_that_there_are_not(options, error, message):
    with pytest.raises(error, match=message):
        by_hand(3, **options)
    with pytest.raises(ValueError, match="no steps"):
        mg.draw(mg.parameter([1.0]) * 2, step=1)


def test_cells_contract_where_rows_end_early_too():
    ys, _ = mg.unroll(CELLS["gru"](), xs(4), lengths=[4, 2])
    marks = [len([s for s in mg.draw((ys * ys).sum(), cells=True, step=t).scene.shapes if s.role == "op"]) for t in (2, 4)]
    assert max(marks) <= 3
