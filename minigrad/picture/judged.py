"""Your derivation on the picture: what is right has a tick, what is wrong a red rim, the first wrong step a red panel.

What `mg.check.compare` and `mg.check.diagnose` return is read as plain data. `W_h` is the gradient of a parameter, `dh` in a
step the adjoint of the variable h there, `dW_h` in a step what that step adds to the parameter, `carry_h` what the step hands
to the h before it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from . import text, theme
from .scene import Scene, Shape, Words

WRONG = "#FBD9D3"


@dataclass
class Verdict:
    """What was said about which name: `whole` {name: right?} and `steps` {name: {step: right?}}."""
    whole: dict[str, bool] = field(default_factory=dict)
    steps: dict[str, dict[int, bool]] = field(default_factory=dict)
    first: tuple[str, int] | None = None        # the first wrong line on the way back, and its step
    says: str = ""


def read(marks: Any) -> Verdict:
    """A report, a diagnosis, or a dict {name or (name, step): right?}."""
    if isinstance(marks, dict):
        verdict = Verdict()
        for key, right in marks.items():
            if isinstance(key, tuple) and len(key) == 2:
                verdict.steps.setdefault(str(key[0]), {})[int(key[1])] = bool(right)
            elif isinstance(key, str):
                verdict.whole[key] = bool(right)
            else:
                raise TypeError(f"draw(marks=...) has the key {key!r}: expected a name, or (name, step)")
        wrong = [(step, name) for name, steps in verdict.steps.items() for step, right in steps.items() if not right]
        verdict.first = (max(wrong)[1], max(wrong)[0]) if wrong else None
        return verdict
    report = getattr(marks, "report", marks)
    if not hasattr(report, "rows") or not hasattr(report, "steps"):
        raise TypeError(f"draw(marks=...) got a {type(marks).__name__}: expected what mg.check.compare or mg.check.diagnose returned, "
                        "or a dict {name or (name, step): right?}")
    steps = {name: {t: bool(ok) for t, (_, ok) in found.items()} for name, found in report.steps.items()}
    explained = getattr(marks, "explanations", None) or []
    says = f"{explained[0].says}" + (f"      {explained[0].fix}" if explained[0].fix else "") if explained else ""
    return Verdict({row.name: bool(row.ok) for row in report.rows if row.name not in steps}, steps, report.first, says)


def mark(scene: Scene, graph: Any, marks: Any, anywhere: bool = False) -> None:
    """Put the verdict on a finished scene; `anywhere`: a shape stands for all steps, and is wrong if one of them is."""
    verdict, used = read(marks), _uses(graph)
    shown: dict[tuple[int, ...], int] = {}               # the value's shape is the last of those for the same nodes
    for index, shape in enumerate(scene.shapes):
        if shape.nodes and shape.role not in ("port", "rail", "part", "legend", "delay"):
            shown[shape.nodes] = index
    found = 0
    for nodes, index in shown.items():
        said = [right for number in nodes for right in _said(verdict, graph.nodes[number], used.get(number, ()), anywhere)]
        if said:
            found += 1
            _badge(scene, scene.shapes[index], all(said))
    found += _carried(scene, graph, verdict, anywhere)
    if not found and (verdict.whole or verdict.steps):
        names = ", ".join([*verdict.whole, *verdict.steps][:8])
        known = ", ".join(dict.fromkeys(node.name for node in graph.nodes if node.name))
        raise ValueError(f"draw(marks=...): nothing on this picture belongs to {names}; what has a name is {text.shorten(known, 200)}")
    _first(scene, verdict)


def _said(verdict: Verdict, node: Any, parameters: Any, anywhere: bool) -> list[bool]:
    """All that was said about a node: its gradient, its adjoint in its step, what its step adds to a parameter."""
    said: list[bool] = []
    if node.op is None and node.name:
        said += [verdict.whole[name] for name in (node.name, f"d{node.name}") if name in verdict.whole]
    lines = [node.name, f"d{node.name}"] if node.name and node.op is not None else []
    for line in lines + [f"d{name}" for name in parameters]:
        steps = verdict.steps.get(line, {})
        if anywhere and steps and node.step:
            said.append(all(steps.values()))
        elif node.step in steps:
            said.append(steps[node.step])
    return said


def _uses(graph: Any) -> dict[int, tuple[str, ...]]:
    """Op -> names of the parameters that it uses, as they are or cut and turned."""
    made_of: dict[int, tuple[str, ...]] = {}             # of parameters and constants alone
    used: dict[int, tuple[str, ...]] = {}
    for node in graph.nodes:
        if node.kind == "parameter" and node.step != 0:                        # a trained initial state is a state
            made_of[node.id] = (node.name,) if node.name else ()
        elif node.kind == "constant":
            made_of[node.id] = ()
        elif node.op is not None:
            names = tuple(name for i in node.inputs for name in made_of.get(i, ()))
            if all(i in made_of for i in node.inputs):
                made_of[node.id] = names
            elif names:
                used[node.id] = names
    return used


def _badge(scene: Scene, shape: Shape, right: bool) -> None:
    if not right:
        shape.fill, shape.rim, shape.rim_width, shape.dash, shape.ink = WRONG, theme.RED, 3.2, "", theme.INK
    _sign(scene, shape.x + shape.width / 2 + 7, shape.y + shape.height / 2 + 4, right)


def _sign(scene: Scene, x: float, y: float, right: bool) -> None:
    scene.texts.append(Words(x, y, text.label("✓" if right else "✗"), 11.0, theme.GREEN if right else theme.RED))


def _carried(scene: Scene, graph: Any, verdict: Verdict, anywhere: bool) -> int:
    """What a step hands back to the state before it: the arrow from that state."""
    count = 0
    for arrow in scene.arrows:
        ends = [scene.shapes[i] if i >= 0 and scene.shapes[i].nodes else None for i in arrow.ends]
        if ends[0] is None or ends[0].role not in ("state", "initial") or (ends[1] is not None and ends[1].role != "port" and (
                graph.nodes[ends[1].nodes[-1]].step == graph.nodes[ends[0].nodes[-1]].step)):
            continue
        state = graph.nodes[ends[0].nodes[-1]]
        if ends[1] is not None and ends[1].role == "port" and ends[1].nodes[-1:] != ends[0].nodes[-1:]:
            continue
        name = state.name if state.step else ends[0].lines[0][0][0][0]              # h_0 is an h
        steps = verdict.steps.get(f"carry_{name}", {})
        right = all(steps.values()) if anywhere and steps else steps.get((state.step or 0) + 1)
        if right is not None:
            count += 1
            x, y = arrow.points[0] if arrow.backwards else arrow.points[-1]
            _sign(scene, x - 9, y - 9, right)
            if not right:
                arrow.colour, arrow.width = theme.RED, max(arrow.width, 3.0)
    return count


def _first(scene: Scene, verdict: Verdict) -> None:
    """The first wrong step outlined, and in words below."""
    says = verdict.says
    if verdict.first is not None:
        line, step = verdict.first
        panels = [panel for panel in scene.panels if panel.step == step]
        for panel in panels:
            panel.rim, panel.rim_width = theme.RED, 3.0
        hidden = "" if panels else " (not shown)"
        says = f"first wrong on the way back: {line} at t = {step}{hidden}" + (f":   {says}" if says else "")
    if says:
        left, low, right, _ = scene.bounds()
        words = text.label(text.shorten(says, 160))
        wide = text.width(words, 12)
        scene.texts.append(Words(max((left + right) / 2, left + wide / 2), low - 20, words, 12, theme.RED))
