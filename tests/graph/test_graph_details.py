"""Corners of the graph as data: how it presents itself, elements of stacks, sums and products in normal form."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.graph import Graph, Node, adjoint, normal_form, replay, trace
from minigrad.graph.evaluate import through
from minigrad.ops import TABLE

rng = np.random.default_rng(23)


def test_how_graphs_and_nodes_present_themselves():
    h = mg.parameter([1.0], name="h")
    for x in mg.steps([[2.0]]):
        y = x * h
    graph = Graph.of(y)
    assert repr(graph) == "<Graph of 3 nodes, 1 outputs>" and len(graph) == 3
    assert [repr(n) for n in graph.nodes] == ["<0 parameter h>", "<1 input x t=1>", "<2 multiply y t=1>"]
    assert [n.name for n in Graph.of(y, names=False).nodes] == ["h", None, None]
    with pytest.raises(TypeError, match=r"Graph.of\(\) needs Tensors, got ndarray"):
        Graph.of(y.data)


def test_through_stops_at_what_is_no_single_element():
    a, b = mg.parameter([1.0, 2.0]), mg.parameter([3.0, 4.0])
    stack = np.stack([a * 1.0, b * 1.0])
    for y, same in ((stack[1], False), (stack[0:1], True), (stack[1, 0], True), (np.stack([a, b], axis=1)[1], True),
                    (a[0], True)):
        graph = Graph.of(y)
        last = graph.outputs[0]
        assert (graph.through(last) == last) is same
    graph = Graph.of(stack[1])
    assert graph.nodes[graph.through(graph.outputs[0])].op.name == "multiply"


def test_ops_outside_time_take_the_place_their_inputs_share():
    xs = np.ones((2, 2))
    hs = [np.tanh(x * mg.parameter(1.0)) for x in mg.steps(xs)]
    one, two = hs[0] * 2.0, hs[0] + hs[1]
    graph = Graph.of(one, two)
    assert [graph.nodes[i].step for i in graph.outputs] == [1, None]
    cell = mg.RNNCell(2, 2)
    start = mg.Tensor(np.ones((1, 2)))
    ys, last = mg.unroll(cell, np.ones((2, 1, 2)), start)
    outside = start * mg.parameter(3.0)                       # of an initial state only: outside time
    graph = Graph.of(outside, last)
    assert graph.nodes[graph.outputs[0]].step is None


def test_looking_at_a_graph_changes_no_generator():
    noise = np.random.default_rng(0)

    def cell(x, h):
        h = np.tanh(x + h) * noise.standard_normal(2)
        return h, h
    _, h = mg.unroll(cell, np.ones((3, 1, 2)), mg.parameter(np.ones((1, 2))))
    before = noise.bit_generator.state
    assert {"h", "x"} <= {n.name for n in Graph.of(h).nodes}
    assert noise.bit_generator.state == before


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_replay_keeps_the_dtype(dtype):
    a = rng.standard_normal(3).astype(dtype)
    graph = trace(lambda a: (np.maximum(a * 2.0 + 1, 0.5) / 3).sum(), a)
    assert all(v.dtype == n.value.dtype for v, n in zip(replay(graph, inputs=[a])[1:], graph.nodes[1:]) if n.op)


def test_replay_takes_functions_of_nodes_and_of_edges():
    graph = trace(lambda a: a * a, np.array([2.0, 3.0]))
    product = graph.outputs[0]
    assert replay(graph, edges={(product, 1): lambda v: v + 1})[product].tolist() == [6, 12]
    assert replay(graph, nodes={product: lambda v: -v})[product].tolist() == [-4, -9]
    assert replay(graph, nodes={product: np.zeros(2)})[product].tolist() == [0, 0]
    constants = trace(lambda a, k: a[k], np.array([2.0, 3.0]), np.array([1]))        # integers stay constants
    assert not constants.nodes[constants.inputs[1]].requires_grad


def test_the_adjoint_of_parameters_and_of_chosen_nodes():
    w, a = mg.parameter([1.0, 2.0]), mg.Tensor([3.0, 4.0])
    graph = Graph.of((w * a).sum())
    back = adjoint(graph)
    assert back.nodes[back.outputs[1]].value.tolist() == [3, 4]
    scalar = adjoint(trace(lambda a: a * a, np.array(3.0)))         # the cotangent, 1, is a constant of it
    assert [n.kind for n in scalar.nodes if n.op is None].count("constant") == 1
    assert [replay(scalar, inputs=[np.array(5.0)])[i].item() for i in scalar.outputs] == [25, 10]
    middle = next(n.id for n in graph.nodes if n.op and n.op.name == "multiply")
    back = adjoint(graph, wanted=[middle])
    assert back.nodes[back.outputs[1]].value.tolist() == [1, 1]


FORMS = {
    "sums": lambda x, y: x + (y - 2.0) + (x - y), "negatives": lambda x, y: -(x * y) - (-x), "ones": lambda x,
    y: 1.0 * x + y * 1.0 * y,
    "numbers": lambda x, y: (2.0 * x) * (0.5 * y) * 3.0, "scalars": lambda x, y: x.sum() * 2.0 - 1.0,
    "an array of constants": lambda x, y: np.ones(3) * x * 2.0,
    "a shared sum": lambda x, y: (x + y) * (x + y) + (x + y), "indices": lambda x,
    y: x[[0, 2]] * x[[0, 2]] + y[1:] * x[..., 1:],
    "slots": lambda x, y: np.concatenate([x, y])[2:5] + np.sum(x * np.array([1.0, 2.0, 3.0])),
}


@pytest.mark.parametrize("name", FORMS)
def test_normal_form_keeps_values_and_gradients(name):
    f, new = FORMS[name], [rng.standard_normal(3) for _ in range(2)]
    graph = trace(f, rng.standard_normal(3), rng.standard_normal(3))
    form = normal_form(graph)
    assert np.allclose(replay(form, inputs=new)[form.outputs[0]], f(*map(mg.Tensor, new)).data, rtol=1e-13)
    leaves, again = [mg.parameter(a) for a in new], [mg.parameter(a) for a in new]
    want = mg.grad(f(*leaves).sum(), leaves)
    got = mg.grad(replay(form, inputs=again)[form.outputs[0]].sum(), again,
                  create_graph=True)       # sums and products of many are ops
    assert all(np.allclose(a.data, b.data, rtol=1e-13) for a, b in zip(want, got))


def test_normal_form_folds_ops_of_constants():
    two, three = (Node(i, None, (), {}, np.array(v), "constant") for i, v in enumerate((2.0, 3.0)))
    form = normal_form(Graph([two, three, Node(2, TABLE["add"], (0, 1), {}, np.array(5.0), "op")], [2]))
    assert [(n.kind, n.value.item()) for n in form.nodes] == [("constant", 5)]


def test_normal_form_merges_what_is_equal():
    def ops(f):
        form = normal_form(trace(f, np.ones(3), np.ones(3)))
        return sorted(n.op.name for n in form.nodes if n.op)
    assert ops(lambda x, y: x * 1.0) == [] and ops(lambda x, y: -(-x)) == []
    assert ops(lambda x, y: x[[0, 2]] + x[[0, 2]]) == ["getitem", "sum_of"]
    assert ops(lambda x, y: x[1:] * x[1:]) == ["getitem", "product_of"]
    assert ops(lambda x, y: x - y + x) == ["product_of", "sum_of"]


def test_numpys_own_variables_name_nothing():
    """Regression: the product in ``(x @ W).reshape(…)`` was called ``a``, as the argument of np.reshape is."""
    W = mg.parameter(np.ones((3, 4)), name="W")

    def cell(x, h):
        h = np.tanh((x @ W).reshape((2, 4)) + h)
        return h, h
    ys, _ = mg.unroll(cell, np.ones((2, 2, 3)), mg.Tensor(np.zeros((2, 4))))
    assert "a" not in {n.name for n in Graph.of(ys.sum()).nodes}


def test_a_step_that_goes_another_way_gets_no_wrong_names():
    cell = mg.RNNCell(3, 4)
    h, total = cell.initial_state(2), 0.0
    for t, x in enumerate(mg.steps(np.random.default_rng(0).standard_normal((4, 2, 3)))):
        if t == 2:
            h = mg.detach(h) * 1.0                                  # one value more: all that follow are shifted
        _, h = cell(x, h)
        y = h * h
        total = total + y.sum()
    named = {(n.step, n.name): n.op.name for n in Graph.of(total).nodes if n.op and n.name}
    assert named[1, "h"] == named[4, "h"] == "tanh" and named[2, "y"] == named[4, "y"] == "multiply"
    assert all((name, op) in {("h", "tanh"), ("y", "multiply"), ("total", "add")} for (_, name), op in named.items())


def test_nothing_goes_through_an_argument_without_a_rule():
    chosen = np.where(np.array([True, False]), mg.parameter([1.0, 2.0]), 0.0)
    assert through(chosen, 0, np.ones(2)) is None
    assert through(chosen, 1, np.ones(2)).tolist() == [1.0, 0.0]


def test_names_are_identifiers():
    """pytest keeps parts of an assert in variables such as @py_assert1; a name is what an author could have written."""
    exec("import minigrad as mg; globals()['@py_assert1'] = x = mg.parameter(2.); from minigrad.graph import Graph\n"
         "names = [n.name for n in Graph.of(x * x).nodes]", scope := {})
    assert scope["names"] == ["x", None]


def test_rows_chosen_from_one_step_of_a_sequence_stand_in_that_step():
    ys, _ = mg.unroll(mg.RNNCell(3, 4, rng=np.random.default_rng(0)), np.ones((3, 2, 3)))
    for chosen in (ys[1, [0, 1]], ys[1, :, [0, 2]], ys[1, [0, 0], [1, 3]]):
        graph = Graph.of(chosen.sum())
        assert [n.step for n in graph.nodes if n.op and n.op.name in ("getitem", "sum")][-3:] == [2, 2, 2]
