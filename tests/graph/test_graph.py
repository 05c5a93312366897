"""The recorded graph as data: trace, replay, adjoint, normal form, places and names."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.graph import Graph, adjoint, normal_form, replay, trace

rng = np.random.default_rng(3)


def network(T=3):
    cell = mg.stacked(mg.LSTMCell(3, 4, rng=rng), mg.RNNCell(4, 4, rng=rng))
    ys, _ = mg.unroll(cell, rng.standard_normal((T, 2, 3)))
    return cell, ys


def test_nodes_are_in_order_and_operands_keep_order_and_multiplicity():
    x = mg.parameter([2., 3.], name="x")
    graph = Graph.of((x * x - 1.).sum())
    assert [n.op.name if n.op else n.kind for n in graph.nodes] == ["parameter", "multiply", "constant", "subtract", "sum"]
    assert graph.nodes[1].inputs == (0, 0) and graph.nodes[3].inputs == (1, 2)
    assert all(i < n.id for n in graph.nodes for i in n.inputs)
    assert graph.users()[0] == [(1, 0), (1, 1)]


def test_places_and_names_of_an_unrolled_cell():
    _, ys = network()
    graph = Graph.of((ys[1] * ys[1]).sum())
    by = {(n.name, n.step): n for n in graph.nodes if n.name}
    for t in (1, 2):
        for name in ("x", "a", "i", "f", "g", "o", "c", "h"):
            assert (name, t) in by, (name, t)
    assert ("h", 0) in by and ("c", 0) in by
    assert graph.nodes[-1].step == 2          # outside the loop, of step 2's values only


def test_a_hand_written_loop_is_named_and_placed_like_unroll():
    cell = mg.RNNCell(3, 4, rng=rng)
    xs = rng.standard_normal((3, 2, 3))
    W_x, W_h, b = cell.W_x, cell.W_h, cell.b
    h = mg.Tensor(np.zeros((2, 4)))
    for x in mg.steps(xs):
        h = np.tanh(x @ W_x + h @ W_h + b)
    by_hand = Graph.of(h)
    unrolled = Graph.of(mg.unroll(cell, xs, states=True)[2][-1])
    show = [[(n.op.name if n.op else n.kind, n.name, n.step, n.inputs) for n in g.nodes if n.kind != "parameter"] for g in (by_hand, unrolled)]
    assert show[0] == show[1]


def test_names_of_helper_functions_and_of_the_caller():
    W = mg.parameter(np.ones((3, 3)))

    def gate(z):
        s = mg.sigmoid(z)
        return s

    def cell(x, h):
        update = gate(x @ W)
        h = h + update * (x - h)
        return h, h
    ys, last = mg.unroll(cell, np.ones((2, 1, 3)), mg.Tensor(np.zeros((1, 3))))
    names = {(n.name, n.step) for n in Graph.of(last).nodes}
    assert {("update", 1), ("update", 2), ("h", 0), ("h", 1), ("W", None)} <= names and ("s", 1) not in names
    logits = last @ W
    assert Graph.of(logits).nodes[-1].name == "logits"


def test_naming_leaves_no_trace_function_and_survives_a_cell_that_cannot_run_twice():
    import sys
    before, calls = sys.gettrace(), []

    def once(x, h):
        calls.append(1)
        if len(calls) > 2:
            raise RuntimeError("ran again")
        return np.tanh(x + h), np.tanh(x + h)
    _, h = mg.unroll(once, np.ones((2, 1, 3)), mg.parameter(np.ones((1, 3))))
    assert len(Graph.of(h)) > 4 and sys.gettrace() is before


def test_through_draws_ys_t_back_to_its_step():
    _, ys = network()
    graph = Graph.of(ys[2].sum())
    getitem = next(n for n in graph.nodes if n.op and n.op.name == "getitem" and n.loop is not None and n.step == 3 and
                   graph.nodes[n.inputs[0]].op.name == "stack")
    assert graph.nodes[graph.through(getitem.id)].tensor is ys.inputs[2]


def test_replay_gives_the_same_numbers_and_takes_replacements():
    graph = trace(lambda a, b: (np.tanh(a) * b).sum(), rng.standard_normal(3), rng.standard_normal(3))
    values = replay(graph)
    assert all(np.array_equal(v, n.value) for v, n in zip(values, graph.nodes))
    a, b = np.ones(3), np.full(3, 2.)
    assert np.isclose(replay(graph, inputs=[a, b])[graph.outputs[0]], 6 * np.tanh(1))
    tanh, product = (next(n.id for n in graph.nodes if n.op and n.op.name == name) for name in ("tanh", "multiply"))
    assert np.isclose(replay(graph, {tanh: lambda v: 0 * v})[graph.outputs[0]], 0)
    assert np.isclose(replay(graph, edges={(product, 0): np.ones(3)})[graph.outputs[0]], graph.nodes[graph.inputs[1]].value.sum())
    with pytest.raises(ValueError, match="node 99"):
        replay(graph, {99: 1})
    with pytest.raises(ValueError, match="1 inputs for a graph of 2"):
        replay(graph, inputs=[a])


def test_replay_with_tensors_records():
    graph = trace(lambda a: (a * a).sum(), np.array([1., 2.]))
    x = mg.parameter([3., 4.])
    replay(graph, inputs=[x])[graph.outputs[0]].backward()
    assert x.grad.tolist() == [6, 8]


def test_adjoint_is_a_graph_of_the_gradients():
    W, h = rng.standard_normal((3, 3)), rng.standard_normal((2, 3))

    def loss(W, h):
        for _ in range(3):
            h = np.tanh(h @ W)
        return (h * h).sum()
    graph = trace(loss, W, h)
    back = adjoint(graph)
    leaves = [mg.parameter(W), mg.parameter(h)]
    other = [rng.standard_normal(W.shape), rng.standard_normal(h.shape)]
    for values in ([W, h], other):
        leaves = [mg.parameter(v) for v in values]
        out = replay(back, inputs=values)
        want = mg.grad(loss(*leaves), leaves)
        for i, w in zip(back.outputs[1:], want):
            assert np.allclose(out[i], w.data, rtol=1e-13, atol=1e-15)
    again = adjoint(Graph(back.nodes, [back.outputs[1]], back.inputs), cotangent=np.ones(W.shape))
    assert again.nodes[again.outputs[1]].value.shape == W.shape


def test_normal_form_keeps_values_and_merges_ways_of_writing():
    def one(x, y):
        return ((x + y) - 2. * x * 3. + y * x).sum()

    def other(x, y):
        return (y - 6. * x + (x * y + x)).sum()
    x, y = rng.standard_normal(4), rng.standard_normal(4)
    forms = [normal_form(trace(f, x, y)) for f in (one, other)]
    shapes = [sorted((n.op.name if n.op else n.kind, len(n.inputs)) for n in f.nodes) for f in forms]
    assert shapes[0] == shapes[1]
    new = [rng.standard_normal(4), rng.standard_normal(4)]
    for f, form in zip((one, other), forms):
        assert np.allclose(replay(form, inputs=new)[form.outputs[0]], f(*map(mg.Tensor, new)).data, rtol=1e-14)


def test_normal_form_folds_constants_and_equal_values():
    graph = normal_form(trace(lambda x: np.tanh(x) * np.tanh(x) * 1. + np.exp(np.ones(3)) * 2., np.arange(3.)))
    assert sum(n.op is not None and n.op.name == "tanh" for n in graph.nodes) == 1
    assert not any(n.op is not None and n.op.name == "exp" for n in graph.nodes)
    with pytest.raises(TypeError, match="expected Tensors"):
        trace(lambda x: x.data, np.ones(2))


def test_normal_form_of_an_adjoint_agrees():
    graph = trace(lambda W, h: (np.tanh(h @ W - 1.) * mg.sigmoid(h)).sum(), rng.standard_normal((3, 3)), rng.standard_normal((2, 3)))
    back = adjoint(graph)
    form = normal_form(back)
    assert len(form) <= len(back)
    new = [rng.standard_normal((3, 3)), rng.standard_normal((2, 3))]
    for a, b in zip([replay(back, inputs=new)[i] for i in back.outputs], [replay(form, inputs=new)[i] for i in form.outputs]):
        assert np.allclose(a, b, rtol=1e-13, atol=1e-15)


def test_ops_on_constants_are_drawn_in_their_step_and_keep_no_history():
    W = mg.parameter(rng.standard_normal((5, 2)))

    def cell(x, h):
        h = np.tanh(np.concatenate([x, h], axis=-1) @ W)
        return h, h
    ys, h = mg.unroll(cell, np.ones((3, 1, 3)), mg.Tensor(np.zeros((1, 2))))
    graph = Graph.of(h)
    assert [n.step for n in graph.nodes if n.op is not None and n.op.name == "concatenate"] == [1, 2, 3]
    frozen = mg.unroll(lambda x, h: (np.tanh(x + h), np.tanh(x + h)), np.ones((50, 1, 3)), mg.Tensor(np.zeros((1, 3))))[1]
    assert not frozen.requires_grad and len(Graph.of(frozen)) < 8
