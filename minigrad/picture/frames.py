"""The backward pass as slides: one picture per op that is drawn, in the order in which the reverse walk takes them.

The op that is taken has a thick red rim; what it hands back runs along the red arrows; what has all of its gradient is
filled by its norm. The numbers are those of `heat`, the rules those of the explorer's cards.
"""

from __future__ import annotations

from copy import copy
from typing import Any, Callable, Iterator

from . import heat as heating, marks as marking, text, theme
from .words import Words as Rules
from .heat import Gradients
from .scene import Scene, Words


def frames(graph: Any, found: Gradients, lay_out: Callable[[bool], Scene]) -> Iterator[Scene]:
    """The picture as it was computed, then one scene per op; `lay_out(backwards)` draws it with arrows that way round."""
    forward, backward = lay_out(False), lay_out(True)
    where: dict[int, list[int]] = {}                     # node -> the shapes that show it
    for index, shape in enumerate(forward.shapes):
        for node in shape.nodes if shape.role != "port" else ():
            where.setdefault(node, []).append(index)
    arriving: dict[int, list[int]] = {}                  # shape -> arrows that end at it
    for index, arrow in enumerate(forward.arrows):
        arriving.setdefault(arrow.ends[1], []).append(index)
    order = [n.id for n in reversed(graph.nodes) if n.op is not None and n.id in where and found.get(n.id) is not None]
    order = list({tuple(where[n]): n for n in reversed(order)}.values())[::-1]      # a sum of sums is one box and one op
    first_user = _first_users(graph, found)
    logs = {n: heating.kind(found.get(n)) for n in where}
    scale = heating.Scale([log for odd, log in logs.values() if not odd])
    rules = Rules(graph)
    yield _captioned(_faded(forward), f"forwards; then {len(order)} ops backwards")
    played: set[int] = set()
    for number, node in enumerate(order, 1):
        lit = _lit(forward, where[node], arriving, found)
        played |= lit
        scene = _faded(forward)
        for index in played:
            arrow = scene.arrows[index] = copy(backward.arrows[index])
            arrow.colour, arrow.dash = (theme.RED, "") if index in lit else ("#E3A89B", "")
            arrow.width = max(arrow.width, 2.0) if index in lit else arrow.width
        operands = set(graph.nodes[node].inputs)
        for at, shapes in where.items():
            complete = at == graph.outputs[0] or first_user.get(at, -1) >= node
            for index in shapes:
                shape = scene.shapes[index]
                if complete and found.get(at) is not None and index in where.get(shape.nodes[-1], ()) and at == shape.nodes[-1]:
                    heating.paint_shape(shape, *logs[at], scale)
                if index in where[node]:
                    shape.rim, shape.rim_width, shape.dash = theme.RED, 3.2, ""
                elif at in operands and shape.role == "parameter" and graph.nodes[at].requires_grad:
                    shape.rim, shape.rim_width = theme.RED, 2.4
        yield _captioned(scene, f"{number} of {len(order)}:  {_says(graph, node, rules)}")


def _says(graph: Any, number: int, rules: Rules) -> str:
    """What the op does to its operands' gradients, as a line of code."""
    node = graph.nodes[number]
    place = f"t = {node.step}   " if node.step else ""
    said = list(dict.fromkeys(rule for rule in rules.rules(node) if rule))
    return place + (";   ".join(said) if said and len(said) < 4 else marking.op_name(node))


def _first_users(graph: Any, found: Gradients) -> dict[int, int]:
    """Node -> the op that the reverse walk takes last among those that use it and have a gradient."""
    first: dict[int, int] = {}
    for node in graph.nodes:
        if found.get(node.id) is not None:
            for operand in node.inputs:
                first.setdefault(operand, node.id)
    return first


def _lit(scene: Scene, shapes: list[int], arriving: dict[int, list[int]], found: Gradients) -> set[int]:
    """Arrows along which this op hands something back, on to the next shapes that stand for a value."""
    lit: set[int] = set()
    open_ = list(shapes)
    while open_:
        for index in arriving.get(open_.pop(), ()):
            source = scene.arrows[index].ends[0]
            nodes = scene.shapes[source].nodes if source >= 0 else ()
            if index not in lit and not scene.arrows[index].cut and not (nodes and found.get(nodes[-1]) is None):
                lit.add(index)
                if source >= 0 and scene.shapes[source].form == "dot":      # a port, or a value on its way to a rail
                    open_.append(source)
    return lit


def _faded(scene: Scene) -> Scene:
    """A copy whose shapes may be painted; fills pale, so that what is played stands out."""
    shapes = [copy(shape) for shape in scene.shapes]
    for shape in shapes:
        if shape.form != "dot":
            shape.fill = theme.WHITE
    arrows = [copy(arrow) for arrow in scene.arrows]
    for arrow in arrows:
        arrow.colour = "#B9BDC4"
    return Scene(shapes, arrows, list(scene.panels), list(scene.texts))


def _captioned(scene: Scene, says: str) -> Scene:
    left, low, right, _ = scene.bounds()
    words = text.label(text.shorten(says, 160))
    scene.texts.append(Words(max((left + right) / 2, left + text.width(words, 13) / 2), low - 22, words, 13, theme.INK))
    return scene
