"""A derivation given line by line: each line is a function, called on reference inputs at every step and held against the reverse walk.

Because every line starts from right values, a mistake in one does not reach the next: several mistakes are each found where they are.
"""

import inspect

import numpy as np

from .compare import Row, tolerance_of
from .perturb import Reverse
from .slips import Slip

SUFFIXES = {"_prev": -1, "_next": 1}


class Values:
    """What a line's arguments and results stand for: values and adjoints of a ``Reverse``, by the author's names and step."""

    def __init__(self, reverse, names=None, convention="row", given=None):
        self.r, self.names, self.given = reverse, dict(names or {}), dict(given or {})
        self.column = convention == "column"
        r = reverse
        self.known, self.order = {}, {}  # (name, step) -> node id: the last of that name in the step
        for n in r.nodes:
            if n.kind == "constant" or n.step is None:
                continue
            name = r.phrases.name(n.id)
            self.known[name, n.step] = n.id
        self.carried = {}  # (name of a state, step) -> edges that hand something to it from the step after
        for line in r.crossings():
            for e in r.lines[line].values():
                state = r.state(line, e.step)
                if state is not None:
                    self.carried.setdefault((r.phrases.name(state), e.step - 1), []).append(e)
        self.states = {name for name, _ in self.carried}

    def node(self, name, step):
        """The id of a variable at a step, or None."""
        if (name, step) in self.known:
            return self.known[name, step]
        if step == 0:  # the initial state
            return next((e.target for e in self.carried.get((name, 0), ())), self.known.get((name, 0)))
        return None

    def _apart(self, name, step):
        """``h_prev`` -> (h, step - 1); a variable that is really called so wins."""
        if (name, step) not in self.known:
            for suffix, d in SUFFIXES.items():
                if name.endswith(suffix):
                    return name.removesuffix(suffix), step + d
        return name, step

    def carry(self, name, step):
        """What a state's adjoint gets from the step after."""
        edges = self.carried.get((name, step), ())
        if edges:
            return sum(self.r.parts[e] for e in edges)
        id = self.node(name, step)
        return None if id is None else np.zeros_like(self.r.value(id))

    def argument(self, name, step):
        """The reference value of an argument; KeyError if nothing has that name."""
        name = self.names.get(name, name)
        if name in self.given:
            value = np.asarray(self.given[name])
            return value[step - 1] if value.ndim and len(value) == self.r.T else value
        if name in ("t", "T"):
            return step if name == "t" else self.r.T
        if name in self.r.leaves:
            return self.r.value(self.r.leaves[name])
        base, at = self._apart(name, step)
        if (id := self.node(base, at)) is not None:
            return self.r.value(id)
        if base.startswith("carry_") and (value := self.carry(base.removeprefix("carry_"), at)) is not None:
            return value
        if base.startswith("d"):
            id = self.node(base[1:], at)
            if id is not None and self.r.g[id] is not None:
                return self.r.g[id]
            like = self.node(base[1:], step)
            if at > self.r.T and like is not None:  # beyond the last step: nothing arrives
                return np.zeros_like(self.r.value(like))
        like = self.node(base, step)
        if at > self.r.T and like is not None:
            return np.zeros_like(self.r.value(like))
        raise KeyError(name)

    def pins(self, name, step):
        """What is taken as given when a line is evaluated: node ids, and edges, whose adjoints its argument ``name`` supplies."""
        name = self.names.get(name, name)
        base, at = self._apart(name, step)
        if base.startswith("carry_") and base.removeprefix("carry_") in self.states:
            return [], list(self.carried.get((base.removeprefix("carry_"), at), ()))
        if base.startswith("d") and name not in self.r.leaves and (id := self.node(base[1:], at)) is not None:
            return [id], []
        return [], []

    def result(self, name, step):
        """A function of a Run: what the line ``name`` computes at a step; None if the step has no such line, KeyError if no step has."""
        name = self.names.get(name, name)
        if name.startswith("carry_"):
            state = name.removeprefix("carry_")
            if state not in self.states:
                raise KeyError(name)
            edges = self.carried.get((state, step - 1), ())
            return lambda run: sum(run.parts.get(e, self.r.parts[e]) for e in edges)
        variable = name[1:] if name.startswith("d") else name
        if variable in self.r.leaves:
            edges = [e for e in self.r.incoming[self.r.leaves[variable]] if e.step == step]
            if not edges:
                if not any(e.step for e in self.r.incoming[self.r.leaves[variable]]):
                    raise KeyError(name)
                return None
            return lambda run: sum(run.parts.get(e, self.r.parts[e]) for e in edges)
        variable, at = self._apart(variable, step)
        id = self.node(variable, at)
        if id is None:
            if any(n == variable for n, _ in self.known):
                return None
            raise KeyError(name)
        return lambda run: run.g[id]

    def theirs(self, array):
        return array.T if self.column and np.ndim(array) == 2 else array

    def names_known(self):
        return sorted({n for n, _ in self.known} | set(self.r.leaves))


def evaluate(function, name, values):
    """Call a line at every step: (its results, the reference's, steps, what went wrong in words or "")."""
    r, mine, right, steps = values.r, [], [], []
    arguments = [p.name for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    reference = r.run({})
    for t in sorted(r.steps, reverse=True):
        try:
            want = values.result(name, t)
        except KeyError:
            return (
                [],
                [],
                [],
                f"the recorded network has nothing that {name!r} could be; it has {', '.join(values.names_known())}, their "
                "adjoints d…, and "
                f"carry_… of {', '.join(sorted(values.states)) or 'nothing'}",
            )
        if want is None or want(reference) is None:
            continue
        given = {}
        for a in arguments:
            try:
                given[a] = np.array(values.theirs(values.argument(a, t)))
            except KeyError:
                return (
                    [],
                    [],
                    [],
                    f"takes {a!r}, which is no variable of the step; there are {', '.join(values.names_known())}; "
                    "d…, …_prev, …_next and carry_… "
                    "go with them, everything else by given={…}",
                )
        before = {a: np.array(v) for a, v in given.items()}
        try:
            got = function(**given)
        except Exception as error:
            shapes = ", ".join(f"{a} {np.shape(v)}" for a, v in given.items())
            says = "a matrix product does not conform" if "core dimension" in str(error) else error
            return (
                [],
                [],
                [],
                f"raises {type(error).__name__} at t={t}: {says} (it got {shapes}; "
                f"the result should have shape {np.shape(values.theirs(want(reference)))})",
            )
        changed = next((a for a in given if not np.array_equal(before[a], given[a], equal_nan=given[a].dtype.kind == "f")), None)
        if changed:
            return [], [], [], f"changes its argument {changed!r}: a line must leave its inputs as they are (write a = a * b for a *= b)"
        got = np.asarray(getattr(got, "data", got) if not isinstance(got, np.ndarray) else got)
        expected = np.asarray(want(reference))
        got = values.theirs(got)
        if got.shape != expected.shape:
            return (
                [],
                [],
                [],
                f"returns shape {got.shape} at t={t}, expected {expected.shape}"
                + (": transposed" if got.shape == expected.shape[::-1] else ""),
            )
        if not np.all(np.isfinite(got)):
            return [], [], [], f"returns NaN or infinity at t={t}"
        mine.append(got)
        right.append(expected)
        steps.append(t)
    return mine, right, steps, ""


def intermediates(name, value, values):
    """An adjoint of every step as you have it: the same four as ``evaluate``."""
    r, mine, right, steps = values.r, [], [], []
    reference = r.run({})
    if len(value) != r.T:
        return [], [], [], f"has {len(value)} steps, the network {r.T}"
    for t in sorted(r.steps, reverse=True):
        try:
            want = values.result(name, t)
        except KeyError:
            return (
                [],
                [],
                [],
                "is neither a parameter's gradient nor the adjoint of a variable; there are d… and carry_… of "
                f"{', '.join(values.names_known())}",
            )
        got = values.theirs(
            np.asarray(getattr(value[t - 1], "data", value[t - 1]) if not isinstance(value[t - 1], np.ndarray) else value[t - 1])
        )
        if want is None or want(reference) is None:
            continue
        expected = np.asarray(want(reference))
        if got.shape != expected.shape:
            return [], [], [], f"has shape {got.shape} at t={t}, expected {expected.shape}"
        if not np.all(np.isfinite(got)):
            return [], [], [], f"has NaN or infinity at t={t}"
        mine.append(got)
        right.append(expected)
        steps.append(t)
    return mine, right, steps, ""


def judged(report, name, mine, right, steps, trouble, tolerance, note):
    """Enter one line into a report: (errors by step, the bound), or None if it could not be compared."""
    if trouble or not mine:
        report.rows.append(Row(name, False, note=trouble or "no step has this line"))
        return None
    scale = max(np.max(np.abs(g), initial=0.0) for g in right) or 1.0
    bound = tolerance if tolerance is not None else tolerance_of(*mine)
    errors = [float(np.max(np.abs(a - b), initial=0.0)) / scale for a, b in zip(mine, right)]
    wrong = [t for t, e in zip(steps, errors) if e > bound]
    k = int(np.argmax(errors))
    index = tuple(map(int, np.unravel_index(np.argmax(np.abs(mine[k] - right[k])), right[k].shape)))
    a, b = np.stack(mine).ravel(), np.stack(right).ravel()
    cosine = float(a @ b / ((np.linalg.norm(a) * np.linalg.norm(b)) or 1.0)) if b.any() or a.any() else 1.0
    at = "every step" if len(wrong) == len(steps) > 1 else "t=" + ", ".join(map(str, wrong))
    report.rows.append(
        Row(name, not wrong, max(errors), cosine, index, mine[k][index].item(), right[k][index].item(), f"{note}{at}" if wrong else "")
    )
    report.steps[name] = {t: (e, e <= bound) for t, e in zip(steps, errors)}
    return wrong, scale, bound


def compare_steps(report, derived, loss, names, convention, tolerance, given, reverse=None):
    """Lines as functions, and adjoints of every step, held against the reverse walk: rows and steps of ``report``."""
    values = Values(reverse or Reverse(loss), names, convention, given)
    for name, value in derived.items():
        line = callable(value) and not hasattr(value, "__array__")
        four = evaluate(value, name, values) if line else intermediates(name, value, values)
        judged(report, name, *four, tolerance, "wrong on reference inputs at " if line else "differs at ")


def diagnose_lines(found, functions, context, names, convention, tolerance, given):
    """Hold every line against the reference, and explain the wrong ones: rows in ``found.report``, ``found.explanations``."""
    values = Values(context.reverse, names, convention, given)
    residuals, exact = [], True
    for name, function in functions.items():
        mine, right, steps, trouble = evaluate(function, name, values)
        outcome = judged(found.report, name, mine, right, steps, trouble, tolerance, "wrong on reference inputs at ")
        if outcome is None or not outcome[0]:
            continue
        _, scale, bound = outcome
        explanation, following = _explain_line(name, function, values, context, mine, right, steps, scale, bound)
        found.explanations.append(explanation)
        residuals.append(explanation.residual)
        exact = exact and explanation.residual <= max(1e-9, 100 * bound)
        if following[0] < found.next_best[0]:
            found.next_best = following
    if residuals:
        found.residual, found.exact = max(residuals), exact


def relevant(name, arguments, values):
    """The lines of the reverse walk between a line's arguments and its result."""
    r, lines = values.r, set()
    for t in r.steps:
        pinned_nodes, pinned_edges, start = set(), set(), []
        for a in arguments:
            nodes, edges = values.pins(a, t)
            pinned_nodes |= set(nodes)
            pinned_edges |= set(edges)
        name_ = values.names.get(name, name)
        try:
            if values.result(name, t) is None:
                continue
        except KeyError:
            return lines
        if name_.startswith("carry_"):
            edges = list(values.carried.get((name_.removeprefix("carry_"), t - 1), ()))
        elif name_[1:] in r.leaves:
            edges = [e for e in r.incoming[r.leaves[name_[1:]]] if e.step == t]
        else:
            base, at = values._apart(name_[1:], t)
            edges = list(r.incoming[values.node(base, at)])
        start = [e for e in edges if e not in pinned_edges]
        seen = set()
        while start:
            e = start.pop()
            if e in seen:
                continue
            seen.add(e)
            lines.add(e.line)
            if e.source not in pinned_nodes:
                start += [i for i in r.incoming[e.source] if i not in pinned_edges]
    return lines


def predicted(slip, name, arguments, values, steps, factors=None):
    """What a line gives at each step if it has this slip and its arguments are right, or times ``factors[argument]``."""
    r, found, factors = values.r, [], factors or {}
    for t in steps:
        pinned, changes = {}, dict(slip.changes if slip else {})
        for a in arguments:
            nodes, edges = values.pins(a, t)
            c = factors.get(a, 1)
            pinned.update({i: c * r.g[i] for i in nodes})
            changes.update({e: (lambda run, edge, g, c=c: c * r.parts[edge]) for e in edges})
        found.append(np.asarray(values.result(name, t)(r.run(changes, pinned=pinned))))
    return found


def hypotheses(name, arguments, values, context, steps):
    """(slip, what the line gives with it as a matrix of steps): every slip that lies between the line's arguments and its result."""
    pinning = tuple(
        a
        for a in arguments
        if any(values.pins(a, steps[0])[0] + values.pins(a, steps[0])[1])
        or any(values.pins(a, steps[-1])[0] + values.pins(a, steps[-1])[1])
    )
    key = name, pinning, tuple(steps)
    if key not in context.lines:
        lines, found = relevant(name, arguments, values), []
        for slip in context.list:
            if slip.changes and np.isfinite(slip.cost) and all(e.line in lines for e in slip.changes):
                with np.errstate(all="ignore"):
                    found.append((slip, _rows(predicted(slip, name, arguments, values, steps))))
        for a in pinning:
            rule = {0: f"{a} is missing in {name}", -1: f"the sign of {a} is wrong in {name}", 2: f"{a} is counted twice in {name}"}
            for c, says in rule.items():
                slip = Slip({0: "missing", -1: "sign", 2: "twice"}[c], None, "", "", says, 0.25 + 0.1 * abs(c), factor={a: c})
                found.append((slip, _rows(predicted(None, name, arguments, values, steps, {a: c}))))
        context.lines[key] = found
    return context.lines[key]


def _rows(arrays):
    return np.stack([np.ravel(a) for a in arrays])


def _explain_line(name, function, values, context, mine, right, steps, scale, bound):
    from .diagnose import Explanation, _short, _worded

    arguments = [p.name for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    u, g = _rows(mine), _rows(right)
    scale = max(scale, float(np.max(np.abs(u))))
    limit = max(1e-9, 100 * bound)
    tried = [
        (s, v)
        for s, v in hypotheses(name, arguments, values, context, steps)
        if np.all(np.isfinite(v)) and np.max(np.abs(v - g)) > 1e-12 * scale
    ]
    ours = values.names.get(name, name)
    edge = next((e for e in context.slips.last.values() if context.reverse.phrases.adjoint(e.target, e.step) == ours), None)
    c = float(np.vdot(g, u) / (np.vdot(g, g) or 1.0))
    tried.append((Slip("scale", edge, "", f"{c:.6g} * (…)", f"{name} is off by the factor {c:.6g}", 0.1, factor=c), c * g))
    if all(m.ndim == 2 and m.shape[0] == m.shape[1] for m in right):
        tried.append((Slip("transposed", edge, "", "", f"{name} is transposed", 0.1), _rows([m.T for m in right])))
    best = [(float(np.max(np.abs(u - v))) / scale, s.cost, s) for s, v in tried]
    fits = sorted((b for b in best if b[0] <= limit), key=lambda b: (b[1], b[0]))
    if not fits:  # two terms of one line
        fits = _two_at_once(name, arguments, values, u, g, tried, steps, scale, limit)
    rest = sorted((b for b in best if b[0] > limit), key=lambda b: b[:2])
    if fits:
        explanation = _worded(context, fits[0][2], fits[0][0])
        explanation.same = [_short(b[2]) for b in fits[1:4]]
    else:
        (residual, _, slip), rest = rest[0], rest[1:]
        closest = _worded(context, slip, residual)
        explanation = Explanation(
            f"no slip explains it; closest: {closest.says}",
            "unknown",
            closest.line,
            closest.fix,
            closest.why,
            closest.where,
            residual,
            slip=slip,
        )
    if not explanation.fix and edge is not None:
        explanation.fix, explanation.why = context.reverse.phrases.line(edge), context.reverse.phrases.why(edge)
    explanation.yours = name
    return explanation, (rest[0][0], _short(rest[0][2])) if rest else (float("inf"), "")


def _two_at_once(name, arguments, values, u, g, tried, steps, scale, limit):
    """Two slips in parallel terms of one line: their effects add up."""
    some = [(s, v - g) for s, v in tried if s.where == "" and (s.changes or isinstance(s.factor, dict))]
    for i, (first, a) in enumerate(some):
        for second, b in some[:i]:
            residual = float(np.max(np.abs(u - g - a - b))) / scale
            if residual <= limit and not set(first.changes) & set(second.changes):
                both = Slip(
                    f"{second.kind} + {first.kind}",
                    second.edge or first.edge,
                    "",
                    second.wrote,
                    f"{second.says}; and {first.says}",
                    2,
                    changes={**first.changes, **second.changes},
                    parts=[first, second],
                    factor={
                        **(first.factor if isinstance(first.factor, dict) else {}),
                        **(second.factor if isinstance(second.factor, dict) else {}),
                    },
                )
                v = _rows(predicted(both, name, arguments, values, steps, both.factor))
                if np.max(np.abs(u - v)) / scale <= limit:
                    return [(residual, 2, both)]
    return []


def carried_out(slip, name, arguments, values, context, steps):
    """What a line gives with an explanation's slip on another probe of the same network."""
    if slip.number is None and slip.kind == "scale":
        return [slip.factor * g for g in predicted(None, name, arguments, values, steps)]
    if slip.number is None and slip.kind == "transposed":
        return [g.T for g in predicted(None, name, arguments, values, steps)]
    changes = {}
    for one in slip.parts or [slip]:
        if one.number is not None:
            changes.update(context.slips.found[one.number].changes)
    both = Slip("", None, "", "", "", 0, changes=changes)
    return predicted(both, name, arguments, values, steps, slip.factor if isinstance(slip.factor, dict) else None)


def diagnose_steps(found, derived, context, names, convention, tolerance):
    """Adjoints of every step: compared, and explained by the slips that give all of them."""
    from .diagnose import _short, _worded

    values, u, g, scales = Values(context.reverse, names, convention), [], [], []
    wanted, bound = [], 0.0
    for name, value in derived.items():
        four = intermediates(name, value, values)
        outcome = judged(found.report, name, *four, tolerance, "differs at ")
        if outcome is not None:
            _, scale, bound = outcome
            for a, b, t in zip(*four[:3]):
                u.append(np.ravel(a))
                g.append(np.ravel(b))
                scales.append(np.full(a.size, scale))
                wanted.append(values.result(name, t))
    if not u or found.report.ok:
        return
    u, g, scales = (np.concatenate(x) for x in (u, g, scales))
    tried = []
    for slip in context.list:
        if slip.changes and np.isfinite(slip.cost):
            with np.errstate(all="ignore"):
                run = context.reverse.run(slip.changes)
                v = np.concatenate([np.ravel(want(run)) for want in wanted])
            if np.all(np.isfinite(v)) and np.any(np.abs(v - g) > 1e-12 * scales):
                tried.append((float(np.max(np.abs(u - v) / np.maximum(scales, np.abs(u)))), slip.cost, slip))
    limit = max(1e-9, 100 * bound)
    fits = sorted((x for x in tried if x[0] <= limit), key=lambda x: (x[1], x[0]))
    best = fits or sorted(tried, key=lambda x: x[:2])
    if best:
        found.explanations.append(_worded(context, best[0][2], best[0][0]))
        found.explanations[0].same = [_short(x[2]) for x in fits[1:4]]
        found.residual, found.exact = best[0][0], bool(fits)
        rest = sorted((x for x in tried if x[0] > limit and x is not best[0]), key=lambda x: x[:2])
        if rest:
            found.next_best = rest[0][0], _short(rest[0][2])
