"""With lines: each wrong one explained by the slips between its arguments and its result. With adjoints: by those that give all of them."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..edges import Edge, Line
from ..lines import Names, Values, arguments_of, evaluate, intermediates, judged
from ..perturb import Change, Run
from ..slips import Slip
from . import Explanation, rough, short, worded
from .context import Context

if TYPE_CHECKING:
    from ..diagnose import Diagnosis

Tried = tuple[float, float, Slip]       # residual, cost


def explain_lines(found: Diagnosis, functions: dict[str, Callable[..., Any]], context: Context, names: Names, convention: str,
                  tolerance: float | None, given: dict[str, Any] | None) -> None:
    """Hold every line against the reference, and explain the wrong ones: rows in ``found.report``, ``found.explanations``."""
    values = Values(context.reverse, names, convention, given)
    limits: list[float] = []
    for name, function in functions.items():
        compared = evaluate(function, name, values)
        outcome = judged(found.report, name, compared, tolerance, "wrong on reference inputs at ")
        if outcome is None or not outcome[0]:
            continue
        _, scale, bound = outcome
        mine, right, steps, _ = compared
        limits.append(max(1e-9, 100 * bound))
        explanation, following = _Line(name, function, values, context, steps).explain(mine, right, scale, limits[-1])
        found.explanations.append(explanation)
        found.next_best = min(found.next_best, following, key=lambda best: best[0])
    if found.explanations:
        found.residual = max(e.residual for e in found.explanations)
        found.exact = all(e.residual <= limit for e, limit in zip(found.explanations, limits))


class _Line:
    """One line, given as a function, and what it would compute with each slip that lies between its arguments and its result."""

    def __init__(self, name: str, function: Callable[..., Any], values: Values, context: Context, steps: list[int]) -> None:
        self.name, self.values, self.context, self.steps = name, values, context, steps
        self.arguments = arguments_of(function)

    def explain(self, mine: list[np.ndarray], right: list[np.ndarray], scale: float,
                limit: float) -> tuple[Explanation, tuple[float, str]]:
        """(Explanation, (residual of the next best, what it says))."""
        context, name = self.context, self.name
        u, g = _rows(mine), _rows(right)
        scale = max(scale, float(np.max(np.abs(u))))
        tried = [(s, v) for s, v in self.hypotheses() if np.all(np.isfinite(v)) and np.max(np.abs(v - g)) > 1e-12 * scale]
        ours = self.values.names.get(name, name)
        edge = next((e for e in context.slips.last.values() if context.reverse.phrases.adjoint(e.target, e.step) == ours), None)
        c = float(np.vdot(g, u) / (np.vdot(g, g) or 1.0))
        tried.append((Slip("scale", edge, "", f"{c:.6g} * (…)", f"{name} is off by the factor {c:.6g}", 0.1, factor=c), c * g))
        if all(m.ndim == 2 and m.shape[0] == m.shape[1] for m in right):
            tried.append((Slip("transposed", edge, "", "", f"{name} is transposed", 0.1), _rows([m.T for m in right])))
        best = [(float(np.max(np.abs(u - v))) / scale, s.cost, s) for s, v in tried]
        fits, rest = _ranked(best, limit)
        fits = fits or self._two(u, g, tried, scale, limit)
        if fits:
            explanation = worded(context, fits[0][2], fits[0][0], [b[2] for b in fits])
        else:
            (residual, _, slip), rest = rest[0], rest[1:]
            close = worded(context, slip, residual)
            explanation = Explanation(f"no slip explains it; closest: {close.says}", "unknown", close.line, close.fix, close.why,
                                      close.where, residual, slip=slip)
        if not explanation.fix and edge is not None:
            explanation.fix, explanation.why = context.reverse.phrases.line(edge), context.reverse.phrases.why(edge)
        explanation.yours = name
        return explanation, (rest[0][0], short(rest[0][2])) if rest else (float("inf"), "")

    def hypotheses(self) -> list[tuple[Slip, np.ndarray]]:
        """[(slip, what the line gives with it as a matrix of steps)]; computed once for all lines of this name and these arguments."""
        name, values, context, steps = self.name, self.values, self.context, self.steps
        pinning = tuple(a for a in self.arguments if any(any(values.pins(a, t)) for t in (steps[0], steps[-1])))
        key = name, pinning, tuple(steps)
        if key not in context.lines:
            lines = self._between()
            found: list[tuple[Slip, np.ndarray]] = []
            near = [s for s in context.list if s.changes and all(e.line in lines for e in s.changes)]
            for slip in sorted(near, key=lambda s: min(lines[e.line] for e in s.changes)):        # the nearest to the result first
                with np.errstate(all="ignore"):
                    found.append((slip, _rows(predicted(slip.changes, name, self.arguments, values, steps))))
            for a in pinning:
                for c, kind, says in ((0, "missing", f"{a} is missing in {name}"), (-1, "sign", f"the sign of {a} is wrong in {name}"),
                                      (2, "twice", f"{a} is counted twice in {name}")):
                    slip = Slip(kind, None, "", "", says, 0.25 + 0.1 * abs(c), factor={a: c})
                    found.append((slip, _rows(predicted({}, name, self.arguments, values, steps, {a: c}))))
            context.lines[key] = found
        return context.lines[key]

    def _between(self) -> dict[Line, int]:
        """The lines of the reverse walk between the arguments and the result: line -> how far from the result."""
        values, r = self.values, self.context.reverse
        lines: dict[Line, int] = {}
        for t in r.steps:
            nodes, edges = (set().union(*(values.pins(a, t)[k] for a in self.arguments)) for k in (0, 1))
            if values.result(self.name, t) is None:
                continue
            queue = [(e, 0) for e in values.edges(self.name, t) if e not in edges]
            seen: set[Edge] = set()
            for e, far in queue:
                if e not in seen:
                    seen.add(e)
                    lines[e.line] = min(far, lines.get(e.line, far))
                    if e.source not in nodes:
                        queue += [(i, far + 1) for i in r.incoming[e.source] if i not in edges]
        return lines

    def _two(self, u: np.ndarray, g: np.ndarray, tried: list[tuple[Slip, np.ndarray]], scale: float, limit: float) -> list[Tried]:
        """Two slips in parallel terms of one line: their effects add up."""
        some = [(s, v - g) for s, v in tried if s.where == "" and (s.changes or isinstance(s.factor, dict))]
        for i, (first, a) in enumerate(some):
            for second, b in some[:i]:
                residual = float(np.max(np.abs(u - g - a - b))) / scale
                if residual > limit or set(first.changes) & set(second.changes):
                    continue
                factors = {a: c for s in (first, second) if isinstance(s.factor, dict) for a, c in s.factor.items()}
                both = Slip(f"{second.kind} + {first.kind}", second.edge or first.edge, "", second.wrote,
                            f"{second.says}; and {first.says}", 2, changes={**first.changes, **second.changes},
                            together=[first, second], factor=factors)
                v = _rows(predicted(both.changes, self.name, self.arguments, self.values, self.steps, factors))
                if np.max(np.abs(u - v)) / scale <= limit:
                    return [(residual, both.cost, both)]
        return []


def predicted(changes: Mapping[Edge, Change], name: str, arguments: Sequence[str], values: Values, steps: Sequence[int],
              factors: Mapping[str, float] | None = None) -> list[np.ndarray]:
    """What a line gives at each step with these changes and right arguments, or with arguments times ``factors[argument]``."""
    r, found = values.r, []

    def scaled(run: Run, edge: Edge, g: np.ndarray, c: float) -> np.ndarray:
        return c * r.parts[edge]

    for t in steps:
        pinned: dict[int, np.ndarray] = {}
        changed = dict(changes)
        for a in arguments:
            nodes, edges = values.pins(a, t)
            c = (factors or {}).get(a, 1)
            pinned.update({i: c * r.g[i] for i in nodes})
            changed.update({e: partial(scaled, c=c) for e in edges})
        found.append(np.asarray(values.computes(name, t)(r.run(changed, pinned=pinned))))
    return found


def carried_out(slip: Slip, name: str, arguments: Sequence[str], values: Values, context: Context,
                steps: Sequence[int]) -> list[np.ndarray]:
    """What a line gives with an explanation's slip on another probe of the same network."""
    if slip.number is None and slip.kind == "scale":
        return [slip.factor * g for g in predicted({}, name, arguments, values, steps)]
    if slip.number is None and slip.kind == "transposed":
        return [g.T for g in predicted({}, name, arguments, values, steps)]
    changes: dict[Edge, Change] = {}
    for one in slip.together or [slip]:
        if one.number is not None:
            changes.update(context.slips.found[one.number].changes)
    return predicted(changes, name, arguments, values, steps, slip.factor if isinstance(slip.factor, dict) else None)


def explain_steps(found: Diagnosis, derived: dict[str, Any], context: Context, names: Names, convention: str,
                  tolerance: float | None) -> None:
    """Adjoints of every step: compared, and explained by the slips that give all of them."""
    values, differs = Values(context.reverse, names, convention), False
    mine, right, sizes, wanted, bounds = [], [], [], [], []
    for name, value in derived.items():
        compared = intermediates(name, value, values)
        outcome = judged(found.report, name, compared, tolerance, "differs at ")
        if outcome is not None:
            wrong, scale, bound = outcome
            differs = differs or bool(wrong)
            bounds.append(bound)
            for a, b, t in zip(*compared[:3]):
                mine.append(np.ravel(a))
                right.append(np.ravel(b))
                sizes.append(np.full(a.size, scale))
                wanted.append(values.computes(name, t))
    if not differs:
        return
    u, g, scales = np.concatenate(mine), np.concatenate(right), np.concatenate(sizes)
    tried, limit = [], max(1e-9, 100 * max(bounds))
    for slip in context.list:
        if slip.changes:
            with np.errstate(all="ignore"):
                run = context.reverse.run(slip.changes)
                v = np.concatenate([np.ravel(want(run)) for want in wanted])
            if np.all(np.isfinite(v)) and np.any(np.abs(v - g) > 1e-12 * scales):
                tried.append((float(np.max(np.abs(u - v) / np.maximum(scales, np.abs(u)))), slip.cost, slip))
    fits, rest = _ranked(tried, limit)
    best, rest = (fits[0], rest) if fits else (rest[0], rest[1:])
    found.exact = bool(fits) and (found.exact or not found.explanations)
    found.explanations.append(worded(context, best[2], best[0], [x[2] for x in fits]))
    found.residual = max(e.residual for e in found.explanations)
    if rest and rest[0][0] < found.next_best[0]:
        found.next_best = rest[0][0], short(rest[0][2])


def _ranked(tried: list[Tried], limit: float) -> tuple[list[Tried], list[Tried]]:
    """Of (residual, cost, slip): those that fit, the likeliest first; the others, the closest first."""
    return (sorted((x for x in tried if x[0] <= limit), key=lambda x: x[1]),
            sorted((x for x in tried if x[0] > limit), key=lambda x: (rough(x[0]), x[1])))


def _rows(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack([np.ravel(a) for a in arrays])
