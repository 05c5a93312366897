"""Recorded graphs that are drawn seldom: no label is lost, nothing overlaps, and what is on the page can be read back."""
import gc
import json

import numpy as np
import pytest
from picture_overlaps import faults

import minigrad as mg
from minigrad.graph import Graph
from minigrad.picture import marks
from minigrad.picture.explorer import content

W, U = (mg.parameter(np.eye(3) * 0.5 + 0.1, name=name) for name in "WU")
X = np.linspace(-1, 1, 4 * 2 * 3).reshape(4, 2, 3)


def labels(drawing):
    return ["".join(("_" if sub else "") + part for part, sub in words) for shape in drawing.scene.shapes for words, _ in shape.lines]


def texts(drawing):
    return ["".join(part for part, _ in words.words) for words in drawing.scene.texts]


def unread(x, s):
    """One part of the state is written and never read."""
    h = np.tanh(x @ W + s[0] @ U)
    return h, (h, h * 2)


@pytest.mark.parametrize("options", [{}, {"folded": True}, {"cells": True}, {"heat": True}, {"step": 2}, {"steps": 2}], ids=str)
def test_a_state_that_is_never_read(options):
    ys, (h, twice) = mg.unroll(unread, X, (mg.parameter(np.zeros((2, 3))), mg.parameter(np.zeros((2, 3)))))
    assert faults(mg.draw((ys * ys).sum() + twice.sum(), **options).scene) == []


@pytest.mark.parametrize("options", [{}, {"folded": True}, {"cells": True}, {"heat": True}, {"steps": 3}], ids=str)
@pytest.mark.parametrize("shorter", [0, 1])
def test_two_loops_of_different_lengths(shorter, options):
    """The upper one reads the lower one's outputs where there are any; the other way round its first ones only."""
    T = (2, 4) if shorter else (4, 2)
    lower, _ = mg.unroll(mg.RNNCell(3, 3, rng=np.random.default_rng(0)), X[:T[0]])
    h = mg.parameter(np.zeros((2, 3)), name="h_0")
    for x, t in mg.steps(X[:T[1]], range(T[1])):
        h = np.tanh(x @ W + h @ U + (lower[t] if t < T[0] else 0))
    assert faults(mg.draw((h * h).sum(), **options).scene) == []


def test_a_loss_of_steps_that_are_folded_away():
    xs = np.ones((20, 1, 3))
    ys, _ = mg.unroll(mg.RNNCell(3, 3, rng=np.random.default_rng(0)), xs)
    for part in (ys[9:11].sum(), sum((ys[t] * ys[t]).sum() for t in (9, 10)), sum((ys[t] * ys[t]).sum() for t in (2, 3, 18))):
        drawing = mg.draw(part, steps=4)
        assert faults(drawing.scene) == [] and "⋯" in texts(drawing)


def test_the_first_step_may_go_another_way_and_a_loss_may_count_a_step_twice():
    h, total = mg.parameter(np.zeros((2, 3)), name="h_0"), 0.0
    for x, t in mg.steps(X, range(4)):
        h = np.tanh(x @ W + h @ U) if t else mg.sigmoid(h) * np.exp(x @ W)
        loss = (h * h).sum()
        total = total + loss + (loss if t == 2 else 0)
    for options in ({}, {"folded": True}, {"heat": True}):
        assert faults(mg.draw(total, **options).scene) == []


def test_what_is_made_of_parameters_is_written_as_a_formula():
    weights, h, total = [mg.parameter(np.eye(3))], mg.parameter(np.zeros((2, 3)), name="h_0"), 0.0
    for x in mg.steps(X):
        h = np.tanh(x @ weights[0].T + h @ np.exp(np.sin(np.cos(np.tanh(np.square(W))))) @ (W - W.T))
        total = total + h.sum()
    drawing = mg.draw(total)
    found = labels(drawing)
    assert found.count("@ 3×3.T") == found.count("@ exp(sin(cos(tanh(…))))") == found.count("@ (W − W.T)") == 4
    assert faults(drawing.scene) == [] and faults(mg.draw(W * U).scene) == []


def test_drawing_leaves_the_garbage_collector_as_it_was():
    gc.disable()
    try:
        mg.draw((W * U).sum())
        assert not gc.isenabled()
    finally:
        gc.enable()
    mg.draw((W * U).sum())
    assert gc.isenabled()


def test_heat_of_a_number_takes_the_graph_too():
    total = (W * U).sum()
    assert mg.draw(Graph.of(total), heat=total).svg() == mg.draw(total, heat=total).svg()


def test_tiny_gradients_are_said_in_powers_of_ten():
    drawing = mg.draw(((W * 1e-200) * 1e-105).sum(), heat=True)
    assert any("1e−30" in words for words in texts(drawing)), texts(drawing)


def test_arrays_without_numbers_have_no_summary():
    empty = mg.parameter(np.zeros((0, 3)), name="E")
    nodes = {node["name"]: node for node in content(Graph.of((empty * 2).sum()), "", 9)["nodes"]}
    assert nodes["E"]["value"] == {} and nodes["E"]["shape"] == [0, 3]
    json.dumps(nodes, allow_nan=False)


def test_a_rule_that_only_stretches_is_told_as_a_derivative():
    total = np.sum(np.square(W))
    nodes = content(Graph.of(total), "", 9)["nodes"]
    assert [rule for node in nodes for rule in node.get("rules", ())] == ["dW += d(square(W)) * 2 * W", "d(square(W)) += dtotal · ∂sum/∂square(W)"]


def test_an_index_is_shown_as_it_was_written():
    assert [marks.index_text(i) for i in ((1, 2), (slice(0, 4, 2),), (Ellipsis, slice(None)), 3, (np.array([1, 2]), None))] == [
        "[1, 2]", "[0:4:2]", "[…]", "[3]", "[·, new]"]
