"""The reverse walk taken apart into edges is the engine's on any graph; and what is odd about a graph does not trouble the diagnosis."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.check import compare, diagnose
from minigrad.check.edges import Edges
from minigrad.check.perturb import Reverse

from graphs import GRAPHS, afterwards, fancy, five_gates, outside, same_in_every_step, sometimes, two_packed


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


@pytest.mark.parametrize("size, weighed", [(10, False), (11, True)])
def test_terms_are_weighed_where_there_are_more_numbers_than_terms(size, weighed):
    """Four steps have ten terms: ten numbers can be had from them, whatever they are."""
    rng, b, total = np.random.default_rng(0), mg.parameter(np.full(size, .1), name="b"), 0.0
    W, h = rng.standard_normal((size, size)), rng.standard_normal((2, size))
    for x in mg.steps(rng.standard_normal((4, 2, size))):
        h = np.tanh(x + h @ W + b)
        total = total + h.sum()
    C = diagnose.context(total).reverse.terms()
    found = diagnose({"b": sum((t + k / 7) * c for (t, k), c in C.items())}, total)
    assert found.exact == weighed == ("b" in found.time_map), found


def test_a_value_that_some_steps_do_not_have():
    loss = sometimes()
    r = Reverse(loss)
    lines = {"dk": lambda dk: dk, "dW": lambda x, dk: x.T @ dk, "db": lambda dk: dk.sum(0)}
    report = compare(lines, loss)
    assert report.ok and {name: list(steps) for name, steps in report.steps.items()} == {name: [3, 1] for name in lines}
    found = diagnose({"dW": lambda x, dk: -x.T @ dk, "db": lambda dk: 2 * dk.sum(0)}, loss)
    assert found.exact and {e.yours for e in found.explanations} == {"dW", "db"} and r.steps == [1, 2, 3, 4]
    assert [row.note for row in found.report.rows] == ["wrong on reference inputs at every step"] * 2


def test_a_parameter_outside_of_time_has_no_line():
    note = compare({"dV": lambda dh: dh}, outside()).rows[0].note
    assert note.startswith("the recorded network has nothing that 'dV' could be: ")


def test_what_a_line_may_be_is_told_without_constants():
    assert compare({"dq": lambda dh: dh}, afterwards()).rows[0].note == ("the recorded network has nothing that 'dq' could be: there are "
                                                                         "V, W, a_1, a_2, a_3, c, h_0, x; their adjoints d…, and carry_… of tanh(a_1)")


@pytest.mark.parametrize("graph, name, width, gates", [(sometimes, "k", 4, ["columns 0:4", "columns 4:8"]), (two_packed, "u", 4, ["r", "n"]),
                                                       (five_gates, "a", 2, ["i", "f", "o", "c", "h"])])
def test_what_is_packed_and_where_it_is_cut(graph, name, width, gates):
    """By a[..., :4] and by a[:, :4]; each part is called by what it becomes."""
    e = Edges(graph())
    k = next(n.id for n in e.nodes if n.name == name and n.step)
    cuts = [width * i for i in range(len(gates) + 1)]
    assert e.blocks[k] == tuple(cuts[1:-1])
    edge = next(x for x in e.edges if x.source == k)
    assert e.blocks_of(edge) == tuple(map(slice, cuts, cuts[1:]))
    slips = diagnose.context(graph()).slips
    assert [slips.block_name(k, block) for block in e.blocks_of(edge)] == gates


def test_lines_are_written_in_rows_unless_columns_are_wanted():
    for options, line in (((), "dW += x.T @ da"), ((True,), "dW += da @ x.T")):
        e = Edges(one_layer(), *options)
        assert [e.phrases.line(x) for x in e.incoming[e.leaves["W"]]] == [line] * 4


def one_layer():
    W, total = mg.parameter(np.ones((4, 5)), name="W"), 0.0
    for x in mg.steps(np.ones((4, 3, 4))):
        a = x @ W
        h = np.tanh(a)
        total = total + h.sum()
    return total


@pytest.mark.parametrize("tolerance, ok", [(.5, True), (.49, False)])
@pytest.mark.parametrize("dh", [lambda W: np.full((3, 5), 1.5), np.full((4, 3, 5), 1.5)])
def test_what_is_off_by_the_tolerance_itself_agrees(dh, tolerance, ok):
    report = compare({"dh": dh}, one_layer(), tolerance=tolerance)
    assert report.ok == ok and [right for _, right in report.steps["dh"].values()] == [ok] * 4


def test_parameters_without_a_name_are_numbered():
    p = [mg.parameter(x, name="c" if k == 1 else None) for k, x in enumerate(np.random.default_rng(0).standard_normal((3, 2, 2)))]
    loss = (mg.Tensor(np.ones((2, 2))) @ p[0] @ p[1] @ p[2]).sum()
    assert list(Edges(loss).leaves) == ["parameter 1", "c", "parameter 2"]


def test_a_path_of_modules_may_begin_with_d():
    W = mg.parameter(np.random.default_rng(0).standard_normal((3, 3)), name="W")
    loss = (np.ones((2, 3)) @ W).sum()
    assert compare({"decoder.W": mg.grad(loss, [W])[0].data}, loss).ok
