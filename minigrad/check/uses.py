"""Where the losses are and where a parameter enters the steps: the recorded graph, read for bptt."""
from __future__ import annotations

from typing import Any

from ..graph import Graph, Node
from ..graph.unfold import unfolded
from ..nested import flatten
from ..place import Loop
from ..tensor import Tensor

Losses = list[tuple[Tensor, int]]                       # a Tensor, and which of its entries
States = list[tuple[int, list[Tensor]]]                 # a step, and the Tensors of its state
Uses = dict[int, list[tuple[Tensor, Tensor, int]]]      # step -> (what is used, what is made of it, as which operand)


def losses_of(losses: Any) -> Losses:
    if isinstance(losses, Tensor):
        return [(losses, entry) for entry in range(losses.size)]
    if not isinstance(losses, (list, tuple)) or not losses:
        got = f"{'an empty ' if isinstance(losses, (list, tuple)) else ''}{type(losses).__name__}"
        raise TypeError(f"bptt() got {got} as losses; expected a list of scalar Tensors, or one Tensor whose entries are the losses")
    for i, loss in enumerate(losses):
        if not isinstance(loss, Tensor):
            raise TypeError(f"bptt() got a {type(loss).__name__} as losses[{i}]; expected a scalar Tensor")
        if loss.size != 1:
            raise ValueError(f"bptt() got losses[{i}] of shape {loss.shape}; a loss is one number: take its .sum() or .mean()")
    return [(loss, 0) for loss in losses]


def leaves_of(states: Any) -> list[list[Tensor]]:
    """The Tensors of each state."""
    if not isinstance(states, (list, tuple)):
        raise TypeError(f"bptt() got a {type(states).__name__} as states; expected the list of them, the initial one first, as the third "
                        "result of mg.unroll(cell, xs, states=True)")
    return [[x for x in flatten(s) if isinstance(x, Tensor) and x.dtype.kind in "fc"] for s in states]


def unfold(losses: Losses, states: list[list[Tensor]]) -> tuple[Losses, list[list[Tensor]]]:
    """The same losses and states in a graph where a compiled scan is replaced by its steps, and ys[t] by the step's own node."""
    tensors, _ = unfolded(*(loss for loss, _ in losses), *(x for leaves in states for x in leaves))
    graph = Graph.of(*tensors[len(losses):], names=False)
    own = iter([graph.nodes[graph.through(i)].tensor for i in graph.outputs])
    return [(loss, entry) for loss, (_, entry) in zip(tensors, losses)], [[next(own) for _ in leaves] for leaves in states]


def in_time(leaves: list[list[Tensor]]) -> tuple[States, Loop]:
    """([(step, leaves)] in the order they were made, their loop)."""
    loop = next((x.place.loop for found in reversed(leaves) for x in found if x.place is not None and x.op is not None), None)
    if loop is None:
        raise ValueError("bptt(): these states have no place in time; walk over the sequence with `for x in mg.steps(xs):`, or take the "
                         "states from mg.unroll(cell, xs, states=True)")
    result = []
    for n, found in enumerate(leaves):
        steps = [x.place.step for x in found if x.place is not None and x.place.loop is loop]
        result.append((max(steps) if steps else n, found))
    return result, loop


def step_of(node: Node, loop: Loop) -> int | None:
    """The step of the states' loop that a node belongs to, else of the loop it is in; None outside of time."""
    place = node.tensor.place
    while place is not None:
        if place.loop is loop:
            return place.step
        place = place.outer
    return node.step or None


def uses_of(graph: Graph, parameter: Tensor, loop: Loop) -> tuple[Uses, set[int], set[int]]:
    """Where the parameter enters the steps: by step; and what is computed from it before that.

    A source is the parameter, or what was computed from it outside of time: a carrier. Every path from a loss back to the parameter
    has one last edge that leaves a step, which is the use it counts for; paths along carriers alone enter no step.
    Returns the uses, the carriers' indices, and where a walk along carriers stops.
    """
    uses: Uses = {}
    carriers, stops = {parameter.index}, {parameter.index}
    for node in graph.nodes:
        if node.op is None or not node.requires_grad or node.tensor is parameter:
            continue
        entered = [(p, x) for p, x in enumerate(node.tensor.inputs)
                   if type(x) is Tensor and x.index in carriers and node.op.rule(p) is not None]
        if not entered:
            continue
        step = step_of(node, loop)
        if step is not None:
            uses.setdefault(step, []).extend((x, node.tensor, p) for p, x in entered)
        else:
            carriers.add(node.tensor.index)
            stops.update(x.index for x in node.tensor.inputs if type(x) is Tensor and x.index not in carriers)
    return uses, carriers, stops


def check_graph(graph: Graph, nodes: dict[int, Node], states: States, parameter: Tensor) -> None:
    roots = [graph.nodes[i].tensor for i in graph.outputs]
    if not any(root.requires_grad for root in roots):
        raise ValueError("bptt(): the losses depend on nothing that requires gradients; make parameters with mg.parameter(…), and compute "
                         "the losses outside mg.no_grad()")
    if not parameter.requires_grad:
        raise ValueError(f"bptt(): {parameter.label()} does not require gradients; make it with mg.parameter(…)")
    if id(parameter) not in nodes:
        own = [x for _, leaves in states for x in leaves]
        if any(node.tensor is parameter for node in Graph.of(*own, names=False).nodes):
            raise ValueError(independent(parameter) + ", though the states do: is there a .detach(), .data or mg.no_grad() between?")
        known = [node.name or f"one of shape {node.value.shape}" for node in graph.nodes if node.kind == "parameter"]
        again = "; that is another Tensor of this name: was it replaced after the forward pass?" if parameter.name in known else ""
        raise ValueError(f"bptt(): {parameter.label()} is not in the graph of these losses; in it are {', '.join(known)}{again}")
    if not any(id(x) in nodes for _, leaves in states for x in leaves if x.op is not None):
        raise ValueError("bptt(): the losses do not depend on any of these states: they are of another "
                         "graph; take losses and states from the same forward pass")


def independent(parameter: Tensor) -> str:
    return f"bptt(): the losses do not depend on {parameter.label()}"
