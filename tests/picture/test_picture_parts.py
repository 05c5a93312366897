"""The parts below the picture: network simplex, layered layout, names as labels; graphs never recorded."""

import random

import handmade_graphs as fakes
import numpy as np
import pytest
from picture_overlaps import faults

from minigrad.picture import describe, layered, marks, simplex, text
from minigrad.picture.folded import lay_out
from minigrad.picture.layout import Layout
from minigrad.picture.reading import Reader


def brute(count, constraints, reach=5):
    """The least cost over all small integer positions."""
    best, stack = None, [()]
    while stack:
        p = stack.pop()
        if len(p) == count:
            if all(p[v] - p[u] >= d for u, v, d, _ in constraints):
                cost = sum(w * (p[v] - p[u]) for u, v, _, w in constraints)
                best = cost if best is None else min(best, cost)
            continue
        stack += [p + (i,) for i in range(reach)]
    return best


@pytest.mark.parametrize("seed", range(20))
def test_network_simplex_finds_the_least_cost(seed):
    rng = random.Random(seed)
    edges = [(u, v, rng.randint(0, 1), rng.randint(0, 3)) for v in range(1, 5) for u in range(v) if rng.random() < .6]
    p = simplex.solve(5, edges)
    assert min(p) == 0 and all(p[v] - p[u] >= d for u, v, d, _ in edges)
    assert sum(w * (p[v] - p[u]) for u, v, _, w in edges) == brute(5, edges)


def test_network_simplex_refuses_cycles():
    with pytest.raises(ValueError, match="cycle"):
        simplex.solve(2, [(0, 1, 1, 1), (1, 0, 1, 1)])
    assert simplex.solve(0, []) == []


@pytest.mark.parametrize("count, seed", [(1, 0), (6, 1), (20, 2), (60, 3), (900, 4)])
def test_layers_keep_order_and_distance(count, seed):
    rng = random.Random(seed)
    edges = [(rng.randrange(max(0, v - 6), v), v) for v in range(1, count) for _ in range(2)]
    sizes = [(rng.choice([20, 60]), 22) for _ in range(count)]
    placed = layered.arrange(sizes, edges)
    assert all(placed.rank[u] < placed.rank[v] and placed.y[u] < placed.y[v] for u, v in edges)
    rows = {}
    for n in range(count):
        rows.setdefault(placed.rank[n], []).append(n)
    for row in rows.values():
        row.sort(key=lambda n: placed.x[n])
        for a, b in zip(row, row[1:]):
            assert placed.x[b] - placed.x[a] >= (sizes[a][0] + sizes[b][0]) / 2 + layered.SIDE_GAP - 1
    assert layered.arrange([], []).width == 0


@pytest.mark.parametrize("name, step, expected", [
    ("h", 1, (("h", False), ("1", True))),
    ("W_h", None, (("W", False), ("h", True))),
    ("z_r", 3, (("z", False), ("r,3", True))),
    ("y_hat", 2, (("ŷ", False), ("2", True))),
    ("dropout_mask", None, (("dropout_mask", False),)),
    ("cell.W_hn", None, (("cell.W", False), ("hn", True))),
    ("W_<b>", None, (("W_<b>", False),)),
])
def test_names_become_labels(name, step, expected):
    assert text.name_label(name, step) == expected


@pytest.mark.parametrize("value, expected", [
    (np.array(0.5), "0.5"), (np.array([1., -2.]), "[1, −2]"), (np.zeros((2, 3)), "0 ± 0"), (np.zeros(0), "empty"),
    (np.array("text"), "<U4"), (np.array([1 + 1j] * 4), "1.41 ± 0"),
])
def test_values_are_summed_up(value, expected):
    assert describe.summary(value) == expected


def test_nodes_that_want_the_same_end_of_a_row_get_rows_of_their_own():
    sizes = [(30, 20)] * 6
    placed = layered.arrange(sizes, [(0, 1), (2, 3), (4, 5), (3, 5)], pinned=[(1, 1), (3, 1), (5, 1), (0, -1), (2, -1), (4, -1)])
    assert len({placed.rank[n] for n in (1, 3, 5)}) == len({placed.rank[n] for n in (0, 2, 4)}) == 3


def test_constants_and_indices_are_short():
    graph = fakes.FakeGraph()
    assert marks.index_text((Ellipsis, slice(0, 4), 2, None)) == "[0:4, 2, new]"
    assert marks.index_text((Ellipsis, slice(None, None, -1))) == "[::-1]"
    node = graph.nodes[graph.leaf(kind="constant", value=[[1., 2.]])]
    assert marks.constant_label(node) == (("(1×2)", False),)
    assert marks.number(-0.123456) == "−0.1235" and marks.shape_text(()) == "scalar"


HANDMADE = {"elman": fakes.elman, "gru": fakes.gru, "lstm": fakes.lstm, "diamond": fakes.diamond,
            "hostile": lambda: fakes.elman(60, hostile="<b>&")}


@pytest.mark.parametrize("graph", HANDMADE.values(), ids=HANDMADE)
@pytest.mark.parametrize("values", [False, True])
@pytest.mark.parametrize("folded", [False, True])
def test_graphs_written_by_hand_are_drawn(graph, values, folded):
    graph = graph()
    story = Reader(graph, 12).read()
    style = describe.style(graph, values=values, shapes=True, gradients=None)
    scene = (lay_out(story, style, graph, values=values, shapes=True, title=None) if folded
             else Layout(story, style).scene)
    assert faults(scene) == []
