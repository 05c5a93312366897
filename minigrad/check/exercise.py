"""Exercises: a derivation with one slip in it, to be found; made from the recorded graph with diagnose's own perturbations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..recurrent import GRUCell, LSTMCell, MGUCell, RNNCell
from ..tensor import Tensor
from .perturb import Reverse
from .probe import probe
from .slips import Slip, Slips

CELLS = (RNNCell, GRUCell, LSTMCell, MGUCell)
KINDS = {
    "no derivative",
    "squared",
    "not transposed",
    "transposed",
    "wrong step",
    "sign",
    "wrong derivative",
    "wrong adjoint",
    "factor missing",
    "mean",
    "wrong value",
    "inverted",
    "diagonal softmax",
    "no softmax",
}


@dataclass(repr=False)
class Exercise:
    """A derivation with one slip: ``text`` (also ``str()``) is the task, ``solution`` the answer, apart.

    lines      the derivation's lines, one of them wrong      wrong  its number, from 1
    gradients  what the wrong derivation gives on the probe   loss   the probe's loss, for ``mg.check.diagnose(gradients, loss)``
    """

    text: str
    solution: str
    lines: list[str]
    wrong: int
    gradients: dict[str, np.ndarray]
    loss: Tensor

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__


def exercise(seed: int = 0, cell: Any = None) -> Exercise:
    """A derivation of back-propagation through time with one slip put in. Returns an Exercise.

    seed  which one: every number is another exercise, and always the same
    cell  a class or object; default: one of the project's, by the seed

    >>> task = exercise(seed=7)
    >>> "One line is wrong" in task.text, task.solution.startswith(f"Line {task.wrong}")
    (True, True)
    """
    rng = np.random.default_rng(seed)
    cell = CELLS[rng.integers(len(CELLS))] if cell is None else cell
    drawn = probe(cell, seed=seed)
    r = Reverse(drawn.loss)
    slips, say = Slips(r), r.phrases
    edges = [
        e for e in slips.last.values() if not slips._passes(e) and e.source != r.root and (e.kind != "op" or "entropy" in e.node.op.name)
    ]
    right = [say.line(e) for e in edges]
    possible: dict[str, list[Slip]] = {}
    for s in slips:  # first a kind, then one of its slips: the frequent kinds do not win
        if (
            s.kind in KINDS
            and s.edge in edges
            and s.where == ""
            and s.wrote not in right
            and " with " not in s.wrote
            and " at t" not in s.wrote
            and s.cost < 1.3
            and _differs(s, r, slips.right)
        ):
            possible.setdefault(s.kind, []).append(s)
    kind = sorted(possible)[rng.integers(len(possible))]
    slip = possible[kind][rng.integers(len(possible[kind]))]
    at = next(i for i, e in enumerate(edges) if e is slip.edge)
    lines = [*right[:at], slip.wrote, *right[at + 1:]]
    gradients = r.run(slip.changes).gradients()
    errors = [
        (n, float(np.max(np.abs(g - r.slope[i]))) / (float(np.max(np.abs(r.slope[i]))) or 1.0))
        for (n, i), g in zip(r.leaves.items(), gradients.values())
    ]
    name = cell.__name__ if isinstance(cell, type) else type(cell).__name__
    text = [f"Exercise {seed}: {name}", "", "One step forward:", ""]
    text += [f"    {line}" for line in _forward(r)]
    text += [
        "",
        "L is the mean over the rows, and the sum over the steps, of the cross-entropy of softmax(logits) with the targets y.",
        "Row vectors. dX is ∂L/∂X of the step; += adds to what is there; [t-1] is the step before. "
        "Backwards, from the last step to the first:",
        "",
    ]
    text += [f"  {i:3}  {line}" for i, line in enumerate(lines, 1)]
    text += [
        "",
        "One line is wrong. Which, and what should it be? Held against the true gradients, the derivation is off by "
        "(relative to the largest entry):",
        "",
        *(f"    d{n:<8} {'exact' if e <= 1e-12 else f'{e:.2g}'}" for n, e in errors),
    ]
    solution = [
        f"Line {at + 1}: {slip.says}.",
        "",
        f"    wrong   {slip.wrote}",
        f"    right   {right[at]}",
        f"    why     {say.why(edges[at])}",
    ]
    return Exercise("\n".join(text), "\n".join(solution), lines, at + 1, gradients, drawn.loss)


def _differs(slip: Slip, r: Reverse, right: np.ndarray) -> bool:
    with np.errstate(all="ignore"):
        v = r.run(slip.changes).flat()
    return bool(np.all(np.isfinite(v)) and np.max(np.abs(v - right)) > 1e-2 * np.max(np.abs(right)))


def _forward(r: Reverse) -> list[str]:
    """The forward equations of a step, from the values that the lines name."""
    last, found = r.T, []
    for n in r.nodes:
        if n.step == last and n.op is not None and r.anchor[n.id] and n.op.name not in ("matmul", "getitem"):
            left, right = r.phrases.name(n.id), r.phrases.formula(n.id)
            if left != right:
                found.append(f"{left} = {right}")
        elif n.step == last and n.op is not None and n.op.name == "getitem" and (n.name or n.id in r.phrases.arguments):
            found.append(f"{r.phrases.name(n.id)} = {r.phrases.formula(n.id)}")
    return found
