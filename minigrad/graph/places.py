"""Places in time of what was recorded outside the steps."""
from __future__ import annotations

from .data import Graph


def place_nodes(graph: Graph) -> None:
    """An op outside a step takes the place of its inputs if they share one; taking a step out of a stack takes that step's."""
    nodes = graph.nodes
    for node in nodes:
        if node.op is None or node.step is not None or node.tensor is None or node.tensor.place is not None:
            continue
        source = graph.through(node.id)
        if source != node.id:
            node.step, node.loop = nodes[source].step, nodes[source].loop
            continue
        places = {(nodes[i].step, nodes[i].loop) for i in node.inputs if nodes[i].kind not in ("parameter", "constant")}
        if len(places) == 1:
            (node.step, node.loop), = places
        if node.step == 0:
            node.step = node.loop = None
