"""What a graph costs: its parameters, and the floating-point operations (FLOPs) of its ops, read off their shapes.

Nothing is computed or timed. The convention, for every op of the table and for ops of your own:

    matmul (m, k) @ (k, n)     2 m n k: a multiplication and an addition for each term of a sum; einsum likewise
    solve, inv                 ⅔ n³ + 2 n² for each right-hand side, 2 n³: by elimination
    matrix_exp                 20 products of (n, n) matrices; how many it takes depends on the matrix
    moving and choosing        0: reshape, transpose, indexing, concatenate, stack, broadcast_to, pad, where, …
    all others                 1 for each element of the result, or of the largest argument if that has more: tanh and σ too
"""
from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

from ..graph import Graph, Node, trace
from ..graph.normal import PRODUCT, SUM
from ..nested import Nested, flatten, rebuild
from ..ops import TABLE
from ..tensor import Tensor

MOVES = {"astype", "broadcast_to", "concatenate", "flip", "getitem", "pad", "reshape", "scatter_add", "stack", "transpose", "tril", "triu",
         "where"}


class Cost(NamedTuple):
    """What ``cost`` found."""
    parameters: int
    flops: int
    by_op: dict[str, int]      # op name -> FLOPs, the most expensive first; ops that cost nothing are left out


def cost(what: Any, x: Any = None, state: Nested = None) -> Cost:
    """Parameters and FLOPs of a cell's step, of a Tensor, or of a Graph. Returns (parameters, flops, by_op).

    what   a cell, a callable ``y, state = cell(x, state)``: one step of it on x (D,), or (B, D) for B rows at once;
           a Tensor: all it was computed from; a Graph: all of it, so ``cost(adjoint(graph))`` counts gradients, too
    state  where the cell's step begins; default ``cell.initial_state``

    What is counted as what is said in the file's first lines. Parameters are those that the graph reaches; of a Module, all it has.

    >>> import numpy as np
    >>> import minigrad as mg
    >>> cost(mg.RNNCell(3, 4), np.zeros(3))      # products: 2·3·4 + 2·4·4; + + tanh: 4 each
    Cost(parameters=32, flops=68, by_op={'matmul': 56, 'add': 8, 'tanh': 4})
    """
    if isinstance(what, (Graph, Tensor)):
        graph = what if isinstance(what, Graph) else Graph.of(what, names=False)
    elif callable(what) and not isinstance(what, type):
        graph = _step(what, x, state)
    else:
        got = f"the class {what.__name__}" if isinstance(what, type) else f"a {type(what).__name__}"
        raise TypeError(f"cost() got {got}; expected a cell and x, a Tensor or a Graph")
    owned = what.parameters().values() if hasattr(what, "parameters") else [
        node.value for node in graph.nodes if node.kind == "parameter" and node.id not in graph.inputs]
    by_op: dict[str, int] = {}
    for node in graph.nodes:
        if node.op is not None:
            by_op[node.op.name] = by_op.get(node.op.name, 0) + flops(node, [graph.nodes[i].value.shape for i in node.inputs])
    by_op = {name: n for name, n in sorted(by_op.items(), key=lambda item: -item[1]) if n}
    return Cost(sum(p.size for p in owned), sum(by_op.values()), by_op)


def _step(cell: Any, x: Any, state: Nested) -> Graph:
    """The graph of one step; x and the state are its inputs."""
    name = getattr(cell, "__name__", type(cell).__name__)
    if x is None:
        raise TypeError(f"cost() of the cell {name} needs x, the input of one step: cost(cell, np.zeros(D)), or (B, D) for a batch")
    x = x if isinstance(x, Tensor) else Tensor(x)
    if state is None:
        if not hasattr(cell, "initial_state"):
            raise TypeError(f"cost(): {name} has no initial_state(batch_size); pass state=, where the step begins")
        state = cell.initial_state(x.shape[0] if x.ndim > 1 or x.dtype.kind in "biu" and x.ndim else None)
    return trace(lambda x, *parts: flatten(cell(x, rebuild(state, parts))), x, *flatten(state), names=False)


def flops(node: Node, shapes: list[tuple[int, ...]]) -> int:
    """The FLOPs of one node, whose inputs have these shapes."""
    name, size = node.op.name, node.value.size
    if node.op in (SUM, PRODUCT):
        return size * (len(shapes) - 1)
    if TABLE.get(name) is not node.op:
        raise ValueError(f"cost(): the graph has a node {name!r}, which hides what it computes; count the function without {name}")
    if name in MOVES:
        return 0
    if name == "matmul":
        return 2 * size * shapes[0][-1]
    if name == "einsum":
        terms, out = node.attributes["terms"], node.attributes["out"]
        lengths = {letter: n for term, shape in zip(terms, shapes) for letter, n in zip(term[::-1], shape[::-1])}
        summed = [letter for letter in lengths if letter not in out]
        return size * prod(lengths[letter] for letter in summed) * (len(terms) - 1 + bool(summed))
    if name in ("solve", "inv", "matrix_exp"):
        n, matrices = shapes[0][-1], prod(shapes[0][:-2])
        cubes = {"solve": 2 / 3, "inv": 2, "matrix_exp": 40}[name]
        return round(cubes * n ** 3) * matrices + (2 * n * size if name == "solve" else 0)
    return max(size, *map(prod, shapes))
