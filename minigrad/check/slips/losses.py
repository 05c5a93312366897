"""Slips in a loss's derivative: softmax with cross-entropy, σ with binary cross-entropy, squared error. Other people's, collected."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ops import softmax, values
from ..edges import Edge, Steps
from ..perturb import Run

if TYPE_CHECKING:
    from . import Slips

Wrong = Callable[[np.ndarray, np.ndarray], Any]             # of two arrays, the wrong derivative
Form = tuple[str, Wrong, str, str]                          # kind, derivative, how it is written, what is wrong
sigmoid = values.sigmoid

SOFTMAX: list[Form] = [                           # of p = softmax(z) and y one-hot
    ("no target", lambda p, y: p, "{p}", "the - y is missing"),
    ("diagonal softmax", lambda p, y: -y * (1 - p), "-y * (1 - {p})", "only the diagonal of the softmax Jacobian is used"),
    ("no softmax", lambda p, y: -y / p, "-y / {p}", "the derivative stops at ∂L/∂ŷ = -y/ŷ: the softmax Jacobian is missing"),
    ("softmax twice", lambda p, y: p * ((p - y) - np.sum(p * (p - y), -1, keepdims=True)), "J_softmax ({p} - y)",
     "the softmax Jacobian is applied twice: ŷ - y contains it already"),
    ("diagonal softmax", lambda p, y: (p - y) * p * (1 - p), "({p} - y) * {p} * (1 - {p})",
     "the slope of the softmax multiplied once more: ŷ - y contains it already"),
    ("diagonal softmax", lambda p, y: p * (1 - p), "{p} * (1 - {p})", "the diagonal of the softmax Jacobian in place of ŷ - y"),
    ("only the target", lambda p, y: y * (p - y), "y * ({p} - y)", "only the entry of the right class is kept"),
    ("sign", lambda p, y: y - p, "y - {p}", "the sign of the loss's derivative is wrong: ŷ - y, not y - ŷ"),
    ("no target", lambda p, y: -y, "-y", "the ŷ is missing in ŷ - y"),
    ("sum", lambda p, y: p + y, "{p} + y", "ŷ + y in place of ŷ - y"),
    ("loss value", lambda p, y: -y * np.log(p), "-y * log({p})", "the loss itself in place of its derivative"),
    ("squared", lambda p, y: 2 * (p - y), "2 * ({p} - y)", "a factor 2 as if the loss were a squared error"),
]

BINARY: list[Form] = [                            # the same of logits z and targets y; p = σ(z)
    ("slope kept", lambda z, y: (sigmoid(z) - y) * sigmoid(z) * (1 - sigmoid(z)), "({p} - y) * {p} * (1 - {p})",
     "σ′ is kept although it has cancelled"),
    ("no derivative", lambda z, y: (sigmoid(z) - y) / (sigmoid(z) * (1 - sigmoid(z))), "({p} - y) / ({p} * (1 - {p}))",
     "σ′ is missing: the derivative stops at ∂L/∂ŷ"),
    ("no target", lambda z, y: sigmoid(z), "{p}", "the - y is missing"),
    ("sign", lambda z, y: y - sigmoid(z), "y - {p}", "the sign is wrong"),
    ("no softmax", lambda z, y: -y / sigmoid(z), "-y / {p}", "only the term of y is differentiated, and without σ′"),
    ("logits", lambda z, y: z - y, "{z} - y", "σ is missing in ŷ - y"),
]

SQUARED: list[Form] = [                           # the same of predictions z and targets y
    ("no factor 2", lambda z, y: z - y, "{z} - y", "the 2 of the square is missing"),
    ("sign", lambda z, y: 2 * (y - z), "2 * (y - {z})", "the sign is wrong"),
    ("no target", lambda z, y: 2 * z, "2 * {z}", "the - y is missing"),
    ("loss value", lambda z, y: (z - y) ** 2, "({z} - y)**2", "the loss itself"),
    ("sign only", lambda z, y: np.sign(z - y), "sign({z} - y)", "the derivative of |ŷ - y|"),
]


def loss(slips: Slips, steps: Steps, e: Edge) -> None:
    """All of them for one loss."""
    LOSSES[e.node.op.name](_Line(slips, steps, e))


class _Line:
    """∂L/∂z of one loss, and the entering of slips in it."""

    def __init__(self, slips: Slips, steps: Steps, e: Edge) -> None:
        self.slips, self.steps, self.e, self.r, self.z = slips, steps, e, slips.r, slips.say.name(e.target)
        self.front = slips.say.adjoint(e.target, e.step)

    def put(self, kind: str, wrong: Callable[[np.ndarray, np.ndarray, Edge], Any], wrote: str,
            says: str, cost: float, single: bool = True) -> None:
        """``wrong``: function (z, y, edge) -> the derivative by z, before the loss is averaged; ``single``: also at one step alone."""
        def part(run: Run, edge: Edge, g: np.ndarray) -> np.ndarray:
            z, y = (self.r.value(i) for i in edge.node.inputs[:2])
            reduction, rank = edge.node.attributes["reduction"], edge.node.attributes["rank"]
            classes = edge.node.op.name == "softmax_cross_entropy"
            return wrong(z, np.asarray(y), edge) * (values.weight(g, z, reduction, rank, None, extra=1) if classes else
                                                    values.weight(g, z, reduction, rank))

        wrote = f"{self.front} = {self.slips.say.weighted(self.e, wrote)}"
        self.slips.enter(kind, self.e, "", wrote, says, cost, self.steps, part)
        for t in self.steps if len(self.steps) > 1 and single else ():
            self.slips.enter(kind, self.e, f"at t={t}", wrote, says, cost + 1, {t: self.steps[t]}, part)

    def listed(self, forms: Sequence[Form], p: str,
               given: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] = lambda z, y: (z, y)) -> None:
        """Those of a list; ``p`` is how the prediction is written, ``given`` makes of z and y what the list's functions take."""
        def of(z: np.ndarray, y: np.ndarray, edge: Edge, wrong: Wrong) -> Any:
            return wrong(*given(z, y))

        for k, (kind, wrong, wrote, says) in enumerate(forms):
            self.put(kind, partial(of, wrong=wrong), wrote.format(p=p, z=self.z), says, 0.3 + 0.01 * k)

    def of_another_step(self, right: Wrong, wrote: str, borders: Sequence[str] = ("clamp",)) -> None:
        """The targets of a step before or after: ``right`` is a function of (z, y)."""
        def moved(z: np.ndarray, y: np.ndarray, edge: Edge, d: int, border: str) -> Any:
            return right(z, self._moved(y, edge, d, border))

        for d in (-1, 1):
            for k, border in enumerate(borders):
                self.put("targets of another step", partial(moved, d=d, border=border),
                         wrote.format(f"y[t{d:+d}]"), f"the targets of step t{d:+d} are used", 0.5 + 0.05 * k, single=False)

    def _moved(self, y: np.ndarray, edge: Edge, d: int, border: str) -> np.ndarray:
        if edge.step is None:                     # one loss of all steps
            return np.roll(y, -d, 0) if border == "wrap" else y[np.clip(np.arange(len(y)) + d, 0, len(y) - 1)]
        times = sorted(self.steps)
        k = times.index(edge.step) + d
        k = k % len(times) if border == "wrap" else min(max(k, 0), len(times) - 1)
        return np.asarray(self.r.value(self.steps[times[k]].node.inputs[1]))


def _one_hot(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    return values.one_hot(y, z) if y.dtype.kind in "iu" else y


def _softmax(line: _Line) -> None:
    p = f"softmax({line.z})"
    line.listed(SOFTMAX, p, lambda z, y: (softmax(z), _one_hot(z, y)))
    line.put("logits", lambda z, y, edge: z - _one_hot(z, y), f"{line.z} - y", f"{line.z} - y: the softmax is missing in ŷ", 0.5)

    def rolled(z: np.ndarray, y: np.ndarray, edge: Edge, d: int) -> np.ndarray:
        return softmax(z) - np.roll(_one_hot(z, y), d, -1)

    for d in (-1, 1):
        line.put("wrong class", partial(rolled, d=d), f"{p} - roll(y, {d}, -1)",
                 f"classes are off by one ({'too high' if d > 0 else 'too low'})", 0.5)
    line.of_another_step(lambda z, y: softmax(z) - _one_hot(z, y), p + " - {}", ("clamp", "wrap"))


def _binary(line: _Line) -> None:
    line.listed(BINARY, f"sigmoid({line.z})")
    line.of_another_step(lambda z, y: sigmoid(z) - y, f"sigmoid({line.z}) - {{}}")


def _squared(line: _Line) -> None:
    line.listed(SQUARED, line.z)
    line.of_another_step(lambda z, y: 2 * (z - y), f"2 * ({line.z} - {{}})")


LOSSES = {"softmax_cross_entropy": _softmax, "binary_cross_entropy": _binary, "squared_error": _squared}
