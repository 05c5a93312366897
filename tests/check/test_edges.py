"""The reverse walk taken apart into edges is the engine's on any graph; and what is odd about a graph does not trouble the diagnosis."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.check import compare, diagnose
from minigrad.check.edges import Edges
from minigrad.check.perturb import Reverse

rng = np.random.default_rng(0)


def parameters(**shapes):
    return {name: mg.parameter(.7 * rng.standard_normal(shape), name=name) for name, shape in shapes.items()}


def fancy():
    """Rows of an embedding by their numbers, in and out of time."""
    p = parameters(E=(7, 4), W=(4, 4), h_0=(3, 4))
    h, total = p["h_0"], (p["E"][np.array([0, 0, 3])] ** 2).sum()
    for ids in mg.steps(rng.integers(0, 7, (4, 3))):
        h = np.tanh(p["E"][ids.data] + h @ p["W"])
        total = total + h.sum()
    return total


def outside():
    """What is computed after the loop, twice from the same step; a parameter that is only used there, and one before."""
    p = parameters(W=(4, 4), V=(4, 4), U=(4, 4), h_0=(3, 4))
    a, h, hs, total = rng.standard_normal((4, 3, 4)) @ p["U"], p["h_0"], [], 0.0
    for x in mg.steps(a):
        h = np.tanh(x + h @ p["W"])
        hs.append(h)
    o = np.stack(hs) @ p["V"]
    for t in range(4):
        total = total + (o[t] * o[t]).sum() + (hs[t] * hs[t]).sum() + (hs[t] * hs[t]).sum()
    return total


def sometimes():
    """A value that only every second step has, packed, its parts without a name; the state of the step before used twice."""
    p = parameters(W=(4, 8), U=(4, 4), h_0=(3, 4), b=(8,))
    h, total = p["h_0"], 0.0
    for t, x in enumerate(mg.steps(rng.standard_normal((4, 3, 4)))):
        if t % 2 == 0:
            k = x @ p["W"] + p["b"]
            h = np.tanh(k[..., :4]) * h + mg.sigmoid(k[..., 4:]) * (h + (x - h) * (x + h))
        h = np.sin(h @ p["U"])
        total = total + (h * h).sum() / 2
    return total


def without_recurrence():
    p = parameters(W=(4, 5), b=(5,))
    total = 0.0
    for x in mg.steps(rng.standard_normal((4, 3, 4))):
        total = total + (np.exp(x @ p["W"]) / (1 + p["b"] * p["b"])).sum()
    return total


def projected():
    """An activation on a layer of another width than the state's."""
    p = parameters(W=(4, 4), R=(4, 6), h_0=(3, 4))
    h, total = p["h_0"], 0.0
    for x in mg.steps(rng.standard_normal((4, 3, 4))):
        h = np.tanh(x + h @ p["W"])
        total = total + np.tanh(h @ p["R"]).sum()
    return total


def same_in_every_step():
    """Nothing tells one step's term from another's: least squares cannot weigh them."""
    p, x0 = parameters(W=(4, 5)), rng.standard_normal((3, 4))
    total = 0.0
    for x in mg.steps(np.stack([x0] * 3)):
        total = total + (np.tanh(x @ p["W"]) ** 2).sum()
    return total


def two_layers():
    cell = mg.stacked(mg.LSTMCell(4, 4), mg.GRUCell(4, 3))
    for p in cell.parameters().values():
        p.data = .7 * rng.standard_normal(p.shape)
    ys, state = mg.unroll(cell, rng.standard_normal((4, 3, 4)))
    return (ys * ys).sum() / 2


def both_ways():
    net = mg.bidirectional(mg.RNNCell(4, 4), mg.RNNCell(4, 3))
    ys, _ = net(rng.standard_normal((4, 3, 4)))
    return (ys * ys).mean()


def lengths():
    cell = mg.GRUCell(4, 3)
    ys, _ = mg.unroll(cell, rng.standard_normal((4, 3, 4)), lengths=[4, 2, 3])
    return (ys * ys).sum()


GRAPHS = [fancy, outside, projected, sometimes, without_recurrence, same_in_every_step, two_layers, both_ways, lengths]


@pytest.mark.parametrize("graph", GRAPHS)
def test_edge_by_edge_the_gradients_are_the_engines(graph):
    loss = graph()
    r = Reverse(loss)
    for again in (r.run({}, first=True), r.run({e: lambda run, edge, g: r.part(edge, g) for e in r.edges})):
        for (name, mine), g in zip(again.gradients().items(), mg.grad(loss, [r.nodes[i].tensor for i in r.leaves.values()])):
            np.testing.assert_allclose(mine, g.data, rtol=1e-11, atol=1e-13, err_msg=name)
    if r.T > 1:
        np.testing.assert_allclose(sum(r.terms().values()) + r.outside, r.run({}).flat(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_sign_and_a_factor_are_found_in_any_graph(graph):
    loss = graph()
    context = diagnose.context(loss)
    right = context.reverse.run({}).gradients()
    assert diagnose(right, loss, context=context).ok
    for name in right:
        for c in (-1, 1.25):
            found = diagnose({**right, name: c * right[name]}, loss, context=context)
            assert found.exact and not found.ok and (len(right) == 1 or name in str(found.explanations[0])), found


@pytest.mark.parametrize("graph", [fancy, outside, sometimes])
def test_a_line_that_is_left_out_is_found_in_any_graph(graph):
    loss = graph()
    context = diagnose.context(loss)
    r, found = context.reverse, 0
    for slip in context.list:
        if slip.kind == "missing" and not slip.where and len(r.lines[slip.edge.line]) > 1 and np.isfinite(context.cost[slip.number]):
            wrong = r.run(slip.changes).gradients()
            if max(np.abs(wrong[n] - g).max() / np.abs(g).max() for n, g in r.run({}).gradients().items()) > 1e-3:
                said = diagnose(wrong, loss, context=context)
                assert said.exact, slip.says
                found += slip.says == said.explanations[0].says or any(slip.says in other for other in said.explanations[0].same)
    assert found > 3


def test_columns_without_a_name_are_called_by_their_numbers():
    slips = diagnose.context(sometimes()).slips
    assert {s.where for s in slips if s.where.startswith("for ")} == {"for columns 0:4", "for columns 4:8"}


def test_terms_that_nothing_tells_apart_are_not_weighed():
    loss = same_in_every_step()
    g, = diagnose.context(loss).reverse.run({}).gradients().values()
    found = diagnose({"W": g * np.linspace(.5, 1.5, 20).reshape(4, 5)}, loss)
    assert not found.exact and not found.time_map


def test_a_value_that_some_steps_do_not_have():
    loss = sometimes()
    r = Reverse(loss)
    lines = {"dk": lambda dk: dk, "dW": lambda x, dk: x.T @ dk, "db": lambda dk: dk.sum(0)}
    report = compare(lines, loss)
    assert report.ok and {name: list(steps) for name, steps in report.steps.items()} == {name: [3, 1] for name in lines}
    found = diagnose({"dW": lambda x, dk: -x.T @ dk, "db": lambda dk: 2 * dk.sum(0)}, loss)
    assert found.exact and {e.yours for e in found.explanations} == {"dW", "db"} and r.steps == [1, 2, 3, 4]


def test_a_parameter_outside_of_time_has_no_line():
    note = compare({"dV": lambda dh: dh}, outside()).rows[0].note
    assert note.startswith("the recorded network has nothing that 'dV' could be: ")


def test_what_is_packed_and_where_it_is_cut():
    e = Edges(sometimes())
    k = next(n.id for n in e.nodes if n.name == "k")
    assert e.blocks[k] == (4,)
    assert e.blocks_of(next(x for x in e.edges if x.source == k)) == (slice(0, 4), slice(4, 8))


def test_a_path_of_modules_may_begin_with_d():
    W = mg.parameter(rng.standard_normal((3, 3)), name="W")
    loss = (np.ones((2, 3)) @ W).sum()
    assert compare({"decoder.W": mg.grad(loss, [W])[0].data}, loss).ok
