"""Steps of seldom forms, compiled: the program's numbers and gradients are the unroll's, in the first call and in the next, with other numbers."""
import os
import types
import warnings

import numpy as np
import pytest

import minigrad as mg
from minigrad.compile import NotCompiled, scan
from minigrad.graph import Graph, replay
from minigrad.nested import flatten

rng = np.random.default_rng(6)
W, U, V = (mg.parameter(0.5 * rng.standard_normal(shape), name=name) for name, shape in (("W", (3, 4)), ("U", (4, 4)), ("2V", (4, 300))))
b, rows = mg.parameter(rng.standard_normal(4)), mg.parameter(rng.standard_normal((2, 1)))
J = mg.parameter(rng.standard_normal((4, 4)))
MIX = np.array([2, 0, 3, 1])


def of(step):
    """A cell whose output and next state are what step(x, h) gives."""
    def cell(x, h):
        h = step(x, h)
        return h, h
    return cell


def trade(x, s):
    a, c = s
    return np.tanh(x @ W + a), (c, a)


def trade_views(x, s):
    a, c = s
    return np.tanh(x @ W + a) * c, (c[..., ::-1], a)


FORMS = {
    "a constant beside the input": of(lambda x, h: np.tanh(np.concatenate([x, rows * np.ones((2, 1))], -1) @ J + h @ U)),
    "states that trade places": trade, "views that trade places": trade_views, "less": of(lambda x, h: np.tanh(-(h @ U) - x @ W - b)),
    "nothing added": of(lambda x, h: np.tanh(x @ W + h + 0)), "times one": of(lambda x, h: np.tanh((x @ W) * 1 + h * 1.0)), "one number": of(lambda x, h: np.tanh(h * -1 + x @ W)),
    "minus nothing": of(lambda x, h: 0 - (h * 0.5) - np.tanh(x @ W)), "transposed weights": of(lambda x, h: np.tanh(x @ W + h @ (U + U.T) * 0.5)),
    "transposed values": of(lambda x, h: np.tanh(x @ W + (h.T * 0.5).T)), "a mixed sum of rows": of(lambda x, h: np.tanh((x @ W + b).T.T + h @ U)),
    "a mixed index": of(lambda x, h: np.tanh(x @ W + h[..., MIX])), "a name that begins with a digit": of(lambda x, h: np.tanh(x @ W + (h @ V)[..., :4] * 0.1)),
    "part of a parameter": of(lambda x, h: np.tanh(x @ W + h @ U[:, ::-1] + U[0])), "sign": of(lambda x, h: np.tanh(x @ W + h) * np.sign(h)),
}


def outcome(how, cell, xs, state):
    found = flatten(list(how(cell, xs, state)))
    loss = sum((t * np.cos(np.arange(t.size).reshape(t.shape))).sum() for t in found)
    return [t.data for t in found] + [g.data for g in mg.grad(loss, [W, U, V, b, rows, J, xs, *flatten(state)])]


def same(cell, state, T):
    xs = mg.parameter(rng.standard_normal((T, 2, 3)))
    for a, c in zip(outcome(scan, cell, xs, state), outcome(mg.unroll, cell, xs, state), strict=True):
        np.testing.assert_allclose(a, c, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", FORMS)
def test_the_numbers_are_the_unrolls(name):
    pair = name.endswith("trade places")
    with warnings.catch_warnings():
        warnings.simplefilter("error", NotCompiled)
        for T in (5, 1, 5, 3):
            parts = [mg.parameter(0.5 * rng.standard_normal((2, 4))) for _ in range(1 + pair)]
            same(FORMS[name], tuple(parts) if pair else parts[0], T)


def test_sequences_of_many_lengths_use_one_program():
    cell = of(lambda x, h: np.tanh(x @ W + h @ U))
    for T in (1, 2, 3, 4, 5, 6, 7, 1, 2):
        same(cell, mg.parameter(np.zeros((2, 4))), T)


def test_a_loss_of_many_classes():
    def cell(x, h):
        h = np.tanh(h @ U + b)
        return mg.softmax_cross_entropy(h @ V, x, reduction="none"), h
    classes, h_0 = rng.integers(300, size=(4, 2)), mg.parameter(np.zeros((2, 4)))
    losses = [how(cell, classes, h_0)[0].sum() for how in (scan, mg.unroll)]
    np.testing.assert_allclose(losses[0].item(), losses[1].item(), rtol=1e-13)
    for a, c in zip(*(mg.grad(loss, [U, V, b]) for loss in losses)):
        np.testing.assert_allclose(a.data, c.data, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_graph_of_all_states_is_the_unrolls(reverse):
    """For a reader, a compiled scan is the steps that it stands for."""
    xs, h_0, found = rng.standard_normal((4, 2, 3)), mg.parameter(np.zeros((2, 4))), []
    for how in (scan, mg.unroll):
        states = how(of(lambda x, h: np.tanh(x @ W + h @ U)), xs, h_0, states=True, reverse=reverse)[2]
        total = sum((k + 1) * s.sum() for k, s in enumerate(states))
        graph = Graph.of(total)
        again = replay(graph, {next(n.id for n in graph.nodes if n.tensor is h_0): h_0.data})            # everything afresh
        np.testing.assert_allclose(again[graph.outputs[0]], total.item(), rtol=1e-13)
        found.append({n.step: n.value for n in graph.nodes if n.op is not None and n.op.name == "tanh"})
    assert found[0].keys() == found[1].keys() == {1, 2, 3, 4}
    for step, value in found[0].items():
        np.testing.assert_allclose(value, found[1][step], rtol=1e-13)


def test_a_module_that_a_function_finds_by_its_name():
    """What the function reads of the module may change."""
    helpers = types.ModuleType("helpers")
    helpers.rate = 0.5
    space = {"np": np, "W": W, "helpers": helpers}
    exec("def cell(x, h):\n    h = np.tanh(x @ W + h * helpers.rate)\n    return h, h", space)
    for rate in (0.5, 0.25, -1.0):
        helpers.rate = rate
        same(space["cell"], mg.parameter(0.5 * np.ones((2, 4))), 4)


def test_a_name_that_has_no_value_yet():
    def make():
        def cell(x, h):
            h = np.tanh(x @ W + h) if len(x) < 100 else unknown
            return h, h
        return cell
        unknown = None
    same(make(), mg.parameter(np.zeros((2, 4))), 3)


def test_an_array_that_is_another_in_every_run_is_not_compiled():
    def cell(x, h):
        h = np.tanh(x @ W + h) * (np.frombuffer(os.urandom(4), np.uint8) / 255)
        return h, h
    with pytest.warns(NotCompiled, match="differs|changed in between"):
        scan(cell, rng.standard_normal((3, 2, 3)), mg.parameter(np.zeros((2, 4))))


@pytest.mark.parametrize("returns, said", [
    (lambda x, h: (h, h, h), r"returned a tuple of 3.* at t=1; expected a pair"), (lambda x, h: h, "returned .* at t=1; expected a pair"),
    (lambda x, h: (h, (h, h)), "changed its state at t=1"), (lambda x, h: (h, h[:1]), "changed its state at t=1"),
    (lambda x, h: (f"{h.sum():.2f}", h), "str")])
def test_what_is_no_cell_is_said_as_the_unroll_says_it(returns, said):
    xs, h_0, errors = rng.standard_normal((3, 2, 3)), mg.Tensor(np.zeros((2, 4))), []
    for how in (scan, mg.unroll):
        with pytest.raises((TypeError, ValueError)) as raised:
            how(returns, xs, h_0)
        errors.append(str(raised.value))
    assert errors[0] == errors[1]
