"""Where a wrong gradient comes from: the recorded op whose rule is wrong, or the place where the graph is cut."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..graph import Graph, Node
from ..tensor import Tensor, record
from .checked import Function
from .rows import Report

MOST = 3                                          # remarks of a kind; the rest mostly follows from these


def where(checked: Function, arrays: list[np.ndarray], seed: int, report: Callable[..., Report]) -> list[str]:
    """Remarks, a list of lines. ``report(checked, names, arrays, …)`` is gradcheck's own: it checks each op alone."""
    if type(checked) is not Function:             # derived by hand: no recorded rules
        return []
    once = Function(checked.call, checked.free, 1, seed, checked.own)         # fn itself, also for order 2
    root = once.scalar(once.tensors(arrays))
    if not root.requires_grad:
        return ["WHERE  nothing that fn returns leads back to the inputs: the graph is cut (by .data, .item(), detach or stop_gradient?)"]
    return list(_wrong_rules(Graph.of(root), checked.order, seed, report)) or list(_cuts(once, arrays))


def _wrong_rules(graph: Graph, order: int, seed: int, report: Callable[..., Report]) -> Iterator[str]:
    """Ops whose rule is wrong for the values that they had here."""
    blamed: set[str] = set()
    entries = 100 if len(graph) < 50 else 0
    for node in graph.nodes[:2000]:
        if node.op is None or not node.requires_grad or node.op.name in blamed or len(blamed) == MOST:
            continue
        operands = [graph.nodes[i] for i in node.inputs]
        free = [k for k, x in enumerate(operands) if x.requires_grad and node.op.rule(k) is not None]
        numbers = {k for k, x in enumerate(operands) if x.tensor is None and x.value.ndim == 0}

        def alone(tensors: list[Tensor], op: Any = node.op, attributes: dict[str, Any] | None = node.attributes or None,
                  numbers: set[int] = numbers) -> Any:
            return record(op, tuple(t.data.item() if k in numbers else t for k, t in enumerate(tensors)), attributes)
        names = [f"argument {k}" + (f" ({x.name})" if x.name else "") for k, x in enumerate(operands)]
        for n in range(1, order + 1):
            try:
                found = report(Function(alone, free, n, seed), names, [np.array(x.value) for x in operands], None, seed, entries, "",
                               explain=False)
            except (TypeError, ValueError, ArithmeticError):      # such an op is not to be had alone
                break
            wrong = next((row for row in found.rows if not row.ok), None)
            if wrong is None:
                continue
            blamed.add(node.op.name)
            if wrong.index is not None and not np.isfinite(np.array([wrong.yours, wrong.reference])).all():
                yield (f"WHERE  the gradient of {node.op.name}{_at(node)} for {wrong.name} is not finite, entry {list(wrong.index)}: "
                       f"{wrong.yours:.7g}")
            else:
                how = f": {wrong.note}" if wrong.index is None else \
                    f", entry {list(wrong.index)}: {wrong.yours:.7g}, expected {wrong.reference:.7g}"
                rule = "gradient rule" if n == 1 else "gradient of the gradient rule"
                yield f"WHERE  the {rule} of {node.op.name}{_at(node)} for {wrong.name} is wrong{how}"
            break


def _cuts(checked: Function, arrays: list[np.ndarray]) -> Iterator[str]:
    """Values that move with the inputs although nothing recorded leads to them."""
    rng, graphs = np.random.default_rng(0), []
    for step in (0.0, 1e-3):
        tensors = checked.tensors([np.asarray(a + step * rng.standard_normal(a.shape), a.dtype) if i in checked.free else a
                                   for i, a in enumerate(arrays)])
        graphs.append((Graph.of(checked.scalar(tensors)), {id(t) for t in tensors}))
    (graph, own), (other, _) = graphs
    users, found = graph.users(), 0
    for node, again in zip(graph.nodes, other.nodes if len(other) == len(graph) else ()):
        still = node.value.shape != again.value.shape or np.array_equal(node.value, again.value, equal_nan=True)
        if not node.requires_grad and node.op is None and id(node.tensor) not in own and not still and found < MOST:
            i, position = users[node.id][0]
            user, found = graph.nodes[i], found + 1
            yield (f"WHERE  argument {position} of {user.op.name}{_at(user)}, a constant of shape {node.value.shape}, moves with the "
                   "inputs: it was cut from the graph (by .data, .item(), detach or stop_gradient?)")


def _at(node: Node) -> str:
    return "" if node.step is None else f" at t={node.step}"
