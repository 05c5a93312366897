"""With lines: each wrong one explained by the slips between its arguments and its result. With adjoints: by those that give all of them."""
import numpy as np

from ..lines import Values, arguments_of, evaluate, intermediates, judged
from ..slips import Slip
from . import Explanation, rough, short, worded


def explain_lines(found, functions, context, names, convention, tolerance, given):
    """Hold every line against the reference, and explain the wrong ones: rows in ``found.report``, ``found.explanations``."""
    values = Values(context.reverse, names, convention, given)
    limits = []
    for name, function in functions.items():
        mine, right, steps, trouble = evaluate(function, name, values)
        outcome = judged(found.report, name, mine, right, steps, trouble, tolerance, "wrong on reference inputs at ")
        if outcome is None or not outcome[0]:
            continue
        _, scale, bound = outcome
        limits.append(max(1e-9, 100 * bound))
        explanation, following = _Line(name, function, values, context, steps).explain(mine, right, scale, limits[-1])
        found.explanations.append(explanation)
        found.next_best = min(found.next_best, following, key=lambda best: best[0])
    if found.explanations:
        found.residual = max(e.residual for e in found.explanations)
        found.exact = all(e.residual <= limit for e, limit in zip(found.explanations, limits))


class _Line:
    """One line, given as a function, and what it would compute with each slip that lies between its arguments and its result."""

    def __init__(self, name, function, values, context, steps):
        self.name, self.values, self.context, self.steps = name, values, context, steps
        self.arguments = arguments_of(function)

    def explain(self, mine, right, scale, limit):
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

    def hypotheses(self):
        """[(slip, what the line gives with it as a matrix of steps)]; computed once for all lines of this name and these arguments."""
        name, values, context, steps = self.name, self.values, self.context, self.steps
        pinning = tuple(a for a in self.arguments if any(any(values.pins(a, t)) for t in (steps[0], steps[-1])))
        key = name, pinning, tuple(steps)
        if key not in context.lines:
            lines, found = self._between(), []
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

    def _between(self):
        """The lines of the reverse walk between the arguments and the result: line -> how far from the result."""
        values, r, lines = self.values, self.context.reverse, {}
        for t in r.steps:
            nodes, edges = (set().union(*(values.pins(a, t)[k] for a in self.arguments)) for k in (0, 1))
            if values.result(self.name, t) is None:
                continue
            queue, seen = [(e, 0) for e in values.edges(self.name, t) if e not in edges], set()
            for e, far in queue:
                if e not in seen:
                    seen.add(e)
                    lines[e.line] = min(far, lines.get(e.line, far))
                    if e.source not in nodes:
                        queue += [(i, far + 1) for i in r.incoming[e.source] if i not in edges]
        return lines

    def _two(self, u, g, tried, scale, limit):
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
                            parts=[first, second], factor=factors)
                v = _rows(predicted(both.changes, self.name, self.arguments, self.values, self.steps, factors))
                if np.max(np.abs(u - v)) / scale <= limit:
                    return [(residual, 2, both)]
        return []


def predicted(changes, name, arguments, values, steps, factors=None):
    """What a line gives at each step with these changes and right arguments, or with arguments times ``factors[argument]``."""
    r, found = values.r, []
    for t in steps:
        pinned, changed = {}, dict(changes)
        for a in arguments:
            nodes, edges = values.pins(a, t)
            c = (factors or {}).get(a, 1)
            pinned.update({i: c * r.g[i] for i in nodes})
            changed.update({e: (lambda run, edge, g, c=c: c * r.parts[edge]) for e in edges})
        found.append(np.asarray(values.result(name, t)(r.run(changed, pinned=pinned))))
    return found


def carried_out(slip, name, arguments, values, context, steps):
    """What a line gives with an explanation's slip on another probe of the same network."""
    if slip.number is None and slip.kind == "scale":
        return [slip.factor * g for g in predicted({}, name, arguments, values, steps)]
    if slip.number is None and slip.kind == "transposed":
        return [g.T for g in predicted({}, name, arguments, values, steps)]
    changes = {}
    for one in slip.parts or [slip]:
        if one.number is not None:
            changes.update(context.slips.found[one.number].changes)
    return predicted(changes, name, arguments, values, steps, slip.factor if isinstance(slip.factor, dict) else None)


def explain_steps(found, derived, context, names, convention, tolerance):
    """Adjoints of every step: compared, and explained by the slips that give all of them."""
    values, u, g, scales, wanted, bounds, differs = Values(context.reverse, names, convention), [], [], [], [], [], False
    for name, value in derived.items():
        four = intermediates(name, value, values)
        outcome = judged(found.report, name, *four, tolerance, "differs at ")
        if outcome is not None:
            differs = differs or bool(outcome[0])
            bounds.append(outcome[2])
            for a, b, t in zip(*four[:3]):
                u.append(np.ravel(a))
                g.append(np.ravel(b))
                scales.append(np.full(a.size, outcome[1]))
                wanted.append(values.result(name, t))
    if not differs:
        return
    u, g, scales = map(np.concatenate, (u, g, scales))
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


def _ranked(tried, limit):
    """Of (residual, cost, slip): those that fit, the likeliest first; the others, the closest first."""
    return (sorted((x for x in tried if x[0] <= limit), key=lambda x: x[1]),
            sorted((x for x in tried if x[0] > limit), key=lambda x: (rough(x[0]), x[1])))


def _rows(arrays):
    return np.stack([np.ravel(a) for a in arrays])
