"""Parameters and FLOPs: against what one counts by hand."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.graph import Graph, adjoint, normal_form, trace
from minigrad.queries import cost

D, H = 5, 7


@pytest.mark.parametrize("cell, parameters, flops", [
    # two products, two sums and tanh
    (mg.RNNCell(D, H), D * H + H * H + H, 2 * D * H + 2 * H * H + 3 * H),
    # two products and two sums of 4H; four gates; c: two products, a sum; h: tanh, a product
    (mg.LSTMCell(D, H), 4 * (D * H + H * H + H), 8 * D * H + 8 * H * H + 8 * H + 4 * H + 3 * H + 2 * H),
    # peepholes: a product and a sum for each of three gates
    (mg.LSTMCell(D, H, peepholes=True), 4 * (D * H + H * H + H) + 3 * H, 8 * D * H + 8 * H * H + 17 * H + 6 * H),
    # two products, two sums of 3H; r, z: a sum and σ; n: a product, a sum, tanh; h: difference, product, sum
    (mg.GRUCell(D, H), 3 * (D * H + H * H + 2 * H), 6 * D * H + 6 * H * H + 6 * H + 4 * H + 3 * H + 3 * H),
], ids=["RNN", "LSTM", "LSTM peepholes", "GRU"])
def test_a_step_counted_by_hand(cell, parameters, flops):
    found = cost(cell, np.zeros(D))
    assert found.parameters == parameters and found.flops == flops == sum(found.by_op.values())
    rows = cost(cell, np.zeros((3, D)))
    assert (rows.parameters, rows.flops) == (parameters, 3 * flops)
    ys, _ = mg.unroll(cell, np.ones((4, 3, D)))
    assert cost(ys)[:2] == (parameters, 4 * 3 * flops)


def test_by_op():
    assert cost(mg.RNNCell(D, H), np.zeros(D)).by_op == {"matmul": 2 * D * H + 2 * H * H, "add": 2 * H, "tanh": H}


n = np.random.default_rng(0).standard_normal


@pytest.mark.parametrize("fn, shapes, flops", [
    (lambda a, b: a @ b, [(3, 4), (4, 5)], 2 * 3 * 4 * 5),
    (lambda a, b: a @ b, [(2, 3, 4), (4, 5)], 2 * 2 * 3 * 4 * 5),
    (lambda a, b: a @ b, [(4,), (4, 5)], 2 * 4 * 5),
    (lambda a, b: np.einsum("bij,bjk->bik", a, b), [(2, 3, 4), (2, 4, 5)], 2 * 2 * 3 * 4 * 5),
    (lambda a, b: np.einsum("...i,...j->...ij", a, b), [(2, 3), (2, 4)], 2 * 3 * 4),
    (lambda a: np.einsum("ij->i", a), [(3, 4)], 3 * 4),
    (lambda a, b, c: np.einsum("i,ij,j->", a, b, c), [(3,), (3, 4), (4,)], 3 * 3 * 4),
    (lambda a, b: np.linalg.solve(a + 5 * np.eye(3), b), [(3, 3), (3, 4)], 9 + 18 + 2 * 9 * 4),
    (lambda a, b: np.linalg.solve(a + 5 * np.eye(3), b), [(2, 3, 3), (2, 3, 1)], 2 * (9 + 18 + 2 * 9)),
    (lambda a: np.linalg.inv(a + 5 * np.eye(3)), [(3, 3)], 9 + 2 * 27),
    (mg.matrix_exp, [(3, 3)], 20 * 2 * 27),
    (lambda a: a.sum(axis=0), [(3, 4)], 12), (mg.softmax, [(3, 4)], 12), (mg.layer_norm, [(3, 4)], 12), (mg.sigmoid, [(3, 4)], 12),
    (lambda a, b: a + b, [(3, 1), (4,)], 12),
    (lambda a: np.where(np.eye(3) > 0, np.stack([a.T, a.mT])[0][..., ::-1].reshape(3, 3), np.concatenate([a, a])[:3]), [(3, 3)], 0),
])
def test_ops_counted_by_hand(fn, shapes, flops):
    assert cost(trace(fn, *(n(shape) for shape in shapes))).flops == flops


def test_gradients_cost_what_their_graph_costs():
    """Of a product, two more of the same size."""
    graph = trace(lambda x, W: x @ W, n((3, 4)), n((4, 5)))
    found = cost(adjoint(graph))
    assert found.by_op["matmul"] == 3 * cost(graph).flops
    assert found.parameters == 0                                   # x and W are the graph's inputs here


def test_the_normal_form_has_sums_of_many():
    graph = normal_form(trace(lambda a, b, c, d: a + b + c * d * a, *(n((3, 4)) for _ in "abcd")))
    assert cost(graph) == (0, 4 * 12, {"sum_of": 24, "product_of": 24})


def test_what_counts_as_a_parameter():
    W, x = mg.parameter(n((4, 5))), mg.Tensor(n((3, 4)))
    assert cost((x @ W + W[0]).sum()).parameters == 20             # once
    assert cost(Graph.of(x @ W)).parameters == 20
    assert cost(lambda x, h: (x @ W,) * 2, n(4), mg.Tensor(np.zeros(5))).parameters == 20

    class Primed(mg.RNNCell):
        def __init__(self):
            super().__init__(D, H)
            self.h_0 = mg.parameter(np.zeros(H))

        def initial_state(self, batch_size=None):
            return self.h_0
    assert cost(Primed(), np.zeros(D)).parameters == mg.RNNCell(D, H).W_h.size + D * H + H + H


def test_a_cell_that_looks_things_up():
    """Integers (B,) are a batch."""
    class Lookup(mg.Module):
        def __init__(self):
            self.table = mg.parameter(n((10, 4)))

        def initial_state(self, batch_size):
            return mg.Tensor(np.zeros((batch_size, 4)))

        def __call__(self, word, h):
            h = np.tanh(self.table[word] + h)
            return h, h
    assert cost(Lookup(), np.array([3, 1])) == (40, 16, {"add": 8, "tanh": 8})


def test_stacked_cells_add_up():
    deep = mg.stacked(mg.LSTMCell(D, H), mg.GRUCell(H, D))
    one, two = cost(mg.LSTMCell(D, H), np.zeros(D)), cost(mg.GRUCell(H, D), np.zeros(H))
    assert cost(deep, np.zeros(D))[:2] == (one.parameters + two.parameters, one.flops + two.flops)


def test_reading_a_cell_leaves_no_gradients():
    cell = mg.RNNCell(D, H)
    before = cell.state_dict()
    cost(cell, np.zeros(D))
    assert cell.W_h.grad is None and all(np.array_equal(before[k], v) for k, v in cell.state_dict().items())


@pytest.mark.parametrize("call, kind, message", [
    (lambda: cost(mg.RNNCell(D, H)), TypeError, r"cost\(\) of the cell RNNCell needs x, the input of one step: cost\(cell, np.zeros\(D\)\)"),
    (lambda: cost(mg.RNNCell, np.zeros(3)), TypeError, r"cost\(\) got the class RNNCell; expected a cell and x"),
    (lambda: cost(mg.RNNCell, np.zeros(3)), TypeError, r"cost\(\) got the class RNNCell; expected a cell and x"),
    (lambda: cost(lambda x, h: (h, h), np.zeros(3)), TypeError, r"<lambda> has no initial_state\(batch_size\); pass state="),
    (lambda: cost(3.0), TypeError, r"cost\(\) got a float; expected a cell and x, a Tensor or a Graph"),
    (lambda: cost(mg.checkpoint(np.tanh)(mg.parameter(np.ones(3)))), ValueError,
     "the graph has a node 'checkpoint', which hides what it computes; count the function without checkpoint"),
])
def test_messages(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
