"""What is wrong with a derivation: which line, at which step, and why.

The recorded graph's reverse walk is run again with one generic slip in it after the other (``slips.py``), and the gradients that follow
are held against yours. What reproduces your numbers *explains* them; that is all that numbers can say. Where you give the lines of your
derivation as functions, each is evaluated on reference inputs, so that one mistake does not hide the next.
"""

import inspect
from dataclasses import dataclass, field, replace

import numpy as np

from ..tensor import Tensor
from .compare import Report, align, compare, tolerance_of
from .perturb import Reverse
from .probe import undecided
from .slips import Slip, Slips


@dataclass
class Explanation:
    """One mistake that would explain the numbers.

    says      the mistake in a sentence        kind   its short name
    line      the wrong line as it would read  fix    the line as it should be      why   from which equation that follows
    where     steps, columns or parameters     residual  max |yours − explained|, relative to each gradient's largest entry
    """

    says: str
    kind: str
    line: str = ""
    fix: str = ""
    why: str = ""
    where: str = ""
    residual: float = 0.0
    yours: str = ""  # the name of your line, where lines were given
    slip: object = None
    parts: list = field(default_factory=list)  # (slip, names of the pieces it explains or None for all)
    same: list = field(default_factory=list)

    def __str__(self):
        where = f"   ({self.where})" if self.where else ""
        rows = [f"{self.yours + ': ' if self.yours else ''}{self.says}{where}"]
        rows += [f"  wrong    {self.line}"] if self.line and self.line != self.says else []
        rows += [f"  FIX      {self.fix}"] if self.fix else []
        rows += [f"  WHY      {self.why}"] if self.why else []
        rows += [f"  or       {other}: the same numbers on this probe" for other in self.same[:3]]
        return "\n".join(rows)


@dataclass
class Diagnosis:
    """What ``diagnose`` found: ``ok``, ``explanations`` (all needed together, each an Explanation), ``str()``, ``html()``, ``data()``.

    residual   of the explanations together       next_best   the residual of the best other explanation, and what it says
    report     the table of ``compare``           time_map    dict parameter -> weights m[t, k] of the terms, or None
    """

    report: object
    explanations: list = field(default_factory=list)
    residual: float = float("nan")
    exact: bool = False
    next_best: tuple = (float("inf"), "")
    time_map: dict = field(default_factory=dict)
    undecided: list = field(default_factory=list)

    @property
    def ok(self):
        return self.report.ok

    @property
    def exit_status(self):
        """For scripts: 0 agrees, 1 differs."""
        return 0 if self.ok else 1

    def __bool__(self):
        return self.ok

    def data(self):
        """Everything as plain Python values, ready for JSON."""
        one = [
            dict(kind=e.kind, says=e.says, line=e.line, fix=e.fix, why=e.why, where=e.where, yours=e.yours, residual=_number(e.residual))
            for e in self.explanations
        ]
        return dict(
            ok=self.ok,
            explanations=one,
            exact=self.exact,
            residual=_number(self.residual),
            next_best=_number(self.next_best[0]),
            next_says=self.next_best[1],
            report=self.report.data(),
            undecided=self.undecided,
            time_map={k: [[_number(x) for x in row] for row in m] for k, m in self.time_map.items()},
        )

    def html(self):
        """The same as a piece of HTML: the table and the explanation, no scripts."""
        from html import escape

        parts = [self.report.html()]
        for e in self.explanations:
            parts.append(
                f"<h4>{escape(e.says)}</h4><dl>"
                + "".join(
                    f"<dt>{t}</dt><dd><code>{escape(v)}</code></dd>"
                    for t, v in (("wrong", e.line), ("right", e.fix), ("why", e.why), ("where", e.where))
                    if v
                )
                + "</dl>"
            )
        parts.append(f"<p>{escape(self._how_well())}</p>")
        return "\n".join(parts)

    _repr_html_ = html

    def elsewhere(self, context):
        """The gradients that the explanations, carried out on another probe of the same network, give there: dict name -> array."""
        g = context.right.copy()
        for e in self.explanations:
            for slip, pieces in e.parts:
                v = _on(slip, context, g)
                for p, (_, at) in enumerate(context.pieces):
                    if pieces is None or p in pieces:
                        g[at] = v[at]
        return {n: g[s].reshape(context.reverse.value(context.reverse.leaves[n]).shape) for n, s in context.slips.spans.items()}

    def _how_well(self):
        if self.ok or all(row.ok or row.note == "not derived" for row in self.report.rows) and not self.explanations:
            return "nothing to explain" if self.ok else "what you derived agrees; the rest is not derived"
        if not self.explanations:
            return "no slip explains your numbers"
        how = (
            f"explains your numbers to {self.residual:.0e}"
            if self.exact
            else f"comes closest, but leaves {self.residual:.1e}: not an explanation"
        )
        what = "the next best" + (f" ({self.next_best[1]})" if self.next_best[1] else "")
        return how + (f"; {what} leaves {self.next_best[0]:.1e}" if np.isfinite(self.next_best[0]) else "")

    def __str__(self):
        rows = [str(self.report)]
        if self.ok:
            return rows[0]
        title = "LIKELY" if self.exact else "CLOSEST"
        for i, e in enumerate(self.explanations):
            label = f"{title}{f' {i + 1}' if len(self.explanations) > 1 else ''}"
            rows.append(f"{label:<9}" + str(e).replace("\n", "\n" + " " * 7))
        rows.append(f"{'':9}{self._how_well()}")
        for name, m in self.time_map.items():
            rows.append(f"TIME MAP {name}: the weight of each term, loss t through the use at step k (right: all 1)")
            rows += [
                f"{'':9}t={t + 1}  " + " ".join("   ·  " if not np.isfinite(x) else f"{x:6.3g}" for x in row) for t, row in enumerate(m)
            ]
        rows += [f"COULD NOT DECIDE  {u}" for u in self.undecided]
        return "\n".join(rows)

    __repr__ = __str__


class _Context:
    """What one loss's slips and their gradients are, computed once: ``diagnose(…, context=…)`` for many derivations of one loss."""

    def __init__(self, loss):
        self.reverse, self.lines = Reverse(loss), {}
        self.slips = Slips(self.reverse)
        r = self.reverse
        with np.errstate(all="ignore"):
            vectors = [_tried(s, r) for s in self.slips]
        keep = [i for i, v in enumerate(vectors) if np.isfinite(v).all()]
        self.list = [self.slips.found[i] for i in keep]
        self.vectors = np.array([vectors[i] for i in keep])
        self.direction = np.array([s.direction for s in self.list], bool)
        self.cost = np.array([s.cost for s in self.list])
        self.right = np.asarray(self.slips.right, float)
        self.pieces = self._pieces()
        largest = np.max(np.abs(self.right), initial=0.0)
        self.sizes = np.array([max(np.max(np.abs(self.right[i]), initial=0.0), 1e-3 * largest) for _, i in self.pieces])
        for i in np.flatnonzero(~self.direction):  # a slip that changes nothing here explains nothing
            if np.max(np.abs(self.vectors[i] - self.right), initial=0.0) <= 1e-12 * largest:
                self.cost[i] = np.inf

    def _pieces(self):
        """(name, indices into the flat vector): every leaf, taken apart by columns where it is packed."""
        r, found = self.reverse, []
        for name, i in r.leaves.items():
            span, shape = self.slips.spans[name], r.value(i).shape
            flat = np.arange(span.start, span.stop).reshape(shape)
            cuts = {c for e in r.incoming[i] for c in r.blocks.get(e.source, ()) if shape and r.value(e.source).shape[-1:] == shape[-1:]}
            ends = (0, *sorted(cuts), shape[-1]) if cuts else ()
            if not ends:
                found.append((name, flat.ravel()))
            found += [(name, flat[..., a:b].ravel()) for a, b in zip(ends, ends[1:])]
        return found

    def residuals(self, vectors, u):
        """(how many vectors, how many pieces): the largest difference in each piece, relative to the piece."""
        with np.errstate(all="ignore"):
            return np.stack(
                [
                    np.max(np.abs(vectors[:, i] - u[i]), axis=1, initial=0.0) / max(s, np.max(np.abs(u[i]), initial=0.0))
                    for (_, i), s in zip(self.pieces, self.sizes)
                ],
                1,
            )


def _tried(slip, reverse):
    """A slip's gradients; NaN where it cannot be computed, such as the exponential of a matrix that has grown without bound."""
    try:
        return np.asarray(slip.gradients(reverse), float)
    except (OverflowError, FloatingPointError, np.linalg.LinAlgError):
        return np.full(sum(reverse.value(i).size for i in reverse.leaves.values()), np.nan)


def diagnose(derived, reference, *, names=None, convention="row", tolerance=None, given=None, context=None):
    """Say what is wrong with a derivation. Returns a Diagnosis.

    derived     dict name -> what you derived:
                an array, the gradient of the parameter of that name;
                a list of T arrays, the adjoint of a variable in every step: ``"dh"``, ``"da"``, …;
                a function, one line of your derivation: ``"da": lambda dh, h: dh * (1 - h**2)``. It is called once per step on
                reference values, by the names of its arguments: a variable of the cell (``h``), of the step before (``h_prev``), an
                adjoint (``dh``, ``dh_next``), a parameter, what arrives from the step after (``carry_h``), or what is in ``given``.
                A line's own name says what it computes: ``dX`` the adjoint, ``dW`` one step's part of a parameter's gradient,
                ``carry_h`` what the step hands to the h before it
    reference   the loss, a scalar Tensor that was computed with ``mg.unroll`` or in a loop over ``mg.steps``
    names       {your name: ours} where they differ
    convention  "row" (x @ W, ours) or "column" (W x): then your arrays are the transposes of ours
    tolerance   as in ``compare``
    given       more values for lines, dict name -> array; where its first axis is as long as time, step t gets its own
    context     what ``diagnose.context(loss)`` returned, to diagnose many derivations of one loss quickly

    The hypotheses are generic changes of the recorded reverse walk, so custom cells are diagnosed like the built-in ones.

    >>> import minigrad as mg
    >>> rng = np.random.default_rng(0)
    >>> h, W = mg.parameter(rng.standard_normal((2, 3)), name="h_0"), mg.parameter(rng.standard_normal((3, 3)), name="W")
    >>> hs, As = [h.data], []
    >>> for x in mg.steps(rng.standard_normal((4, 2, 3))):
    ...     a = x + h @ W
    ...     h = np.tanh(a)
    ...     hs.append(h.data)
    >>> loss = h.sum()
    >>> dh, dW = np.ones((2, 3)), 0
    >>> for t in (4, 3, 2, 1):
    ...     da = dh * (1 - hs[t] ** 2)
    ...     dW, dh = dW + hs[t - 1].T @ da, da @ W.data              # W, where W.T is needed
    >>> found = diagnose({"W": dW, "h_0": dh}, loss)
    >>> found.explanations[0].kind, found.explanations[0].fix
    ('not transposed', 'dh[t-1] = da @ W.T')
    """
    if not isinstance(derived, dict):
        raise TypeError(f"derived is a {type(derived).__name__}, expected a dict name -> array or function")
    if not isinstance(reference, Tensor):
        raise TypeError(
            f"diagnose: reference is a {type(reference).__name__}, expected the loss, a Tensor: its recorded graph is what the "
            "hypotheses are made from (compare takes arrays)"
        )
    context = context or _Context(reference)
    r = context.reverse
    if not r.leaves:
        raise ValueError("diagnose: no named parameter in this loss's graph; name them, mg.parameter(..., name='W')")
    functions = {k: v for k, v in derived.items() if callable(v) and not hasattr(v, "__array__")}
    arrays = {k: v for k, v in derived.items() if k not in functions}
    right = {n: context.right[s].reshape(r.value(r.leaves[n]).shape) for n, s in context.slips.spans.items()}
    found = Diagnosis(Report(title="derivation check"))
    if functions:
        from .lines import diagnose_lines

        diagnose_lines(found, functions, context, names, convention, tolerance, given)
    from .compare import _gradients_only

    unknown = [n for n in names or () if n not in derived]
    if unknown and not functions:                             # with lines, names are also those of their arguments
        raise ValueError(f"names maps {unknown[0]!r}, which is not among what was derived ({', '.join(map(str, derived))})")
    usual = _gradients_only(arrays, right, names)
    steps = {n: v for n, v in arrays.items() if n not in usual}
    if steps:
        from .lines import diagnose_steps

        diagnose_steps(found, steps, context, names, convention, tolerance)
    arrays, names = usual, {n: to for n, to in (names or {}).items() if n in usual}
    if arrays:
        aligned = align(arrays, right, names, convention)
        report = compare(aligned, {n: g for n, g in right.items() if n in aligned or not functions and not steps}, tolerance=tolerance)
        found.report.rows += report.rows
        shaped = all(n in right and np.shape(a) == right[n].shape and np.all(np.isfinite(a)) for n, a in aligned.items())
        differs = any(not row.ok for row in report.rows if row.name in aligned)
        if differs and not functions and shaped and not found.exact:
            _explain(found, aligned, context, tolerance)
    found.undecided = undecided(r)
    return found


diagnose.context = _Context  # type: ignore[attr-defined]


def _explain(found, arrays, context, tolerance):
    """Fill in explanations from gradients alone."""
    r, right = context.reverse, context.right
    have = [n for n in r.leaves if n in arrays]
    u = right.copy()
    for n in have:
        u[context.slips.spans[n]] = np.ravel(np.asarray(arrays[n], float))
    judged = np.array([n in have for n, _ in context.pieces])
    dtype = max(tolerance_of(np.asarray(a)) for a in arrays.values()) if tolerance is None else tolerance
    exact = max(1e-9, 100 * dtype) if dtype < 1e-4 else dtype
    vectors, list_, cost, says = _candidates(context, u, judged)
    R = context.residuals(vectors, u)[:, judged]
    pieces = [p for p, j in zip(context.pieces, judged) if j]
    whole = R.max(axis=1)
    wrong = context.residuals(right[None], u)[0, judged] > max(1e-3 * exact, dtype)
    if not wrong.any():  # agrees within the tolerance of one entry, by a hair
        wrong = context.residuals(right[None], u)[0, judged] > 0
    fits = np.flatnonzero((whole <= exact) & np.isfinite(cost))
    finite = np.flatnonzero(np.isfinite(cost))
    found.time_map = {}
    masks = _mask_regression(context, u, have)
    if len(fits):
        best = min(fits, key=lambda i: (cost[i], whole[i]))
        found.explanations, found.residual, found.exact = [_worded(context, list_[best], whole[best], says[best])], float(whole[best]), True
        found.explanations[0].same = [
            _short(list_[i], says[i])
            for i in sorted(fits, key=lambda i: cost[i])
            if i != best and _short(list_[i], says[i]) != _short(list_[best], says[best])
        ]
        _next_best(found, finite, whole, exact, list_, says)
        return
    several = _cover(R, wrong, exact, cost, list_, pieces, context, u, judged)
    if several:
        found.explanations = [_worded(context, s, res, text) for s, res, text in several]
        found.residual, found.exact = max(e.residual for e in found.explanations), True
        _next_best(found, finite, whole, exact, list_, says)
        return
    for n, (m, residual) in masks.items():
        if residual <= exact:
            found.time_map[n] = m
    wrong_names = list(dict.fromkeys(p[0] for p, w in zip(pieces, wrong) if w))
    if wrong_names and all(n in found.time_map for n in wrong_names):
        for n in wrong_names:
            text = f"the local derivatives in d{n} are right, but not which terms are added: see the time map"
            at = {p for p, (name, _) in enumerate(context.pieces) if name == n}
            found.explanations.append(
                Explanation(
                    text,
                    "terms",
                    where=f"in d{n}",
                    residual=float(masks[n][1]),
                    parts=[(Slip("weights", None, "", "", "", 0, factor=masks[n][0]), at)],
                )
            )
        found.residual, found.exact = max(e.residual for e in found.explanations), True
        _next_best(found, finite, whole, exact, list_, says)
        return
    scaled = _scaled(vectors[finite], u, context, judged, exact)
    if scaled is not None:
        i, c, residual = scaled
        i = finite[i]
        found.explanations = [
            _worded(context, list_[i], residual, says[i]),
            Explanation(_of_scale(c, context), "scale", residual=residual, parts=[(Slip("scale", None, "", "", "", 0, factor=c), None)]),
        ]
        found.residual, found.exact = residual, True
        _next_best(found, finite, whole, exact, list_, says)
        return
    order = finite[np.argsort(whole[finite] + 1e-6 * cost[finite])]
    best = order[0]
    found.explanations, found.residual = [_worded(context, list_[best], whole[best], says[best])], float(whole[best])
    _next_best(found, finite, whole, whole[best] * (1 + 1e-9), list_, says)


def _candidates(context, u, judged):
    """All slips' vectors for these numbers: those with an unknown factor are fitted, and scale and clipping are added."""
    right = context.right
    mask = np.zeros(len(u), bool)
    for (_, i), j in zip(context.pieces, judged):
        mask[i] = j
    vectors, slips, cost, says = context.vectors.copy(), list(context.list), list(context.cost), [""] * len(context.list)
    for i in np.flatnonzero(context.direction):
        d = context.vectors[i]
        size = d[mask] @ d[mask]
        c = (u - right)[mask] @ d[mask] / size if size else 0.0
        vectors[i] = right + c * d
        slips[i] = replace(slips[i], factor=float(c))
        says[i] = _of_factor(slips[i], c, context)
        if abs(c) <= 1e-13:
            cost[i] = np.inf
    c = right[mask] @ u[mask] / (right[mask] @ right[mask] or 1.0)
    more = [c * right]
    slips.append(Slip("scale", None, "", "", _of_scale(c, context), 0.05, factor=float(c)))
    top = np.max(np.abs(u[mask]), initial=0.0)
    more.append(np.clip(right, -top, top))
    slips.append(Slip("clipped", None, "", "", f"all gradients are clipped at ±{top:.4g}", 0.3, factor=float(top)))
    says += ["", ""]
    cost += [0.05, 0.3]
    return np.concatenate([vectors, more]), slips, np.array(cost), says


def _of_scale(c, context):
    """A factor in words, with what it could come from."""
    r = context.reverse
    batch = next((n.value.shape[0] for n in r.nodes if n.step and n.op is not None and n.value.ndim == 2), 0)
    known = {-1.0: "the sign: the derivative of -L", 2.0: "a factor 2", 0.5: "a factor 1/2"}
    if r.T > 1:
        known.update(
            {
                1 / r.T: f"1/T, T = {r.T} steps: a mean over time that the loss does not have",
                float(r.T): f"T = {r.T}: the mean over time is missing",
            }
        )
    if batch > 1:
        known.update(
            {
                1 / batch: f"1/B, B = {batch} rows: a mean over the batch that the loss does not have",
                float(batch): f"B = {batch}: the mean over the batch is missing, a sum stands in its place",
            }
        )
    for value, text in known.items():
        if abs(c - value) <= 1e-4 * abs(value):
            return f"everything is off by the factor {c:.6g}, {text}"
    return f"everything is off by the factor {c:.6g}" + (" (an update -η·gradient in place of the gradient?)" if -1 < c < 0 else "")


def _of_factor(slip, c, context):
    if slip.kind == "scaled":
        return f"{slip.says.removesuffix('a factor')}the factor {1 + c:.6g}"
    if slip.kind == "scale":
        return _of_scale(1 + c, context).replace("everything", slip.where.removeprefix("in "))
    if slip.kind == "decay":
        return f"{slip.says}: λ = {c:.4g}"
    return f"{slip.says}, with η = {-c:.4g}"


def _next_best(found, finite, whole, exact, list_, says):
    rest = [i for i in finite if whole[i] > exact]
    if rest:
        i = min(rest, key=lambda i: whole[i])
        found.next_best = float(whole[i]), _short(list_[i], says[i])


def _short(slip, text=""):
    return (text or slip.says) + (f", {slip.where}" if slip.where and slip.where not in (text or slip.says) else "")


def _worded(context, slip, residual, text=""):
    e, say = slip.edge, context.reverse.phrases
    return Explanation(
        text or slip.says,
        slip.kind,
        slip.wrote,
        say.line(e) if e is not None else "",
        say.why(e) if e is not None else "",
        slip.where,
        float(residual),
        slip=slip,
        parts=(slip.parts if slip.number is not None or not slip.changes else []) or [(slip, None)],
    )


def _cover(R, wrong, exact, cost, list_, pieces, context, u, judged):
    """The fewest slips that together explain every wrong piece: the same slip in several parameters' lines counts once."""
    r = context.reverse
    wrong_at = np.flatnonzero(wrong)
    groups = {}
    for i, slip in enumerate(list_):
        if not np.isfinite(cost[i]):
            continue
        covered = frozenset(p for p in wrong_at if R[i, p] <= exact)
        if covered:
            local = _touches(context, i, slip, pieces)
            inconsistent = sum(1 for p in range(len(pieces)) if R[i, p] > exact and p not in covered and p in local)
            more = 0.0
            if inconsistent and slip.kind.startswith("terms"):         # a sum over steps can be wrong in one parameter's line only,
                inconsistent, more = 0, 0.8                            # but that is rarer
            key = slip.group if slip.group is not None else ("one", i)
            groups.setdefault(key, []).append((inconsistent, cost[i] + more, i, covered))
    # one group that covers all
    options = []
    for key, members in groups.items():
        members = sorted(m for m in members if m[0] == 0 or len(m[3]) > 0)
        clean = [m for m in members if m[0] == 0]
        covered = frozenset().union(*(m[3] for m in clean)) if clean else frozenset()
        if covered:
            options.append((len(covered), -min(m[1] for m in clean), key, clean, covered))
    left, chosen = set(wrong_at), []
    while left and len(chosen) < 4:
        best = max(options, key=lambda o: (len(o[4] & left), o[1]), default=None)
        if best is None or not best[4] & left:
            break
        chosen.append((best, best[4] & left))
        left -= best[4]
    result = []
    if not left and chosen:
        for (_, _, key, members, _), got in chosen:
            used, need = [], set(got)
            for m in members:
                if m[3] & need:
                    used.append(m)
                    need -= m[3]
            slips = [list_[m[2]] for m in used]
            residual = max(R[m[2], p] for m in used for p in m[3])
            first = slips[0]
            others = [context.reverse.phrases.adjoint(s.edge.target) for s in slips if s.edge is not None]
            text = first.says
            if len(dict.fromkeys(others)) > 1:
                text = f"in {', '.join(dict.fromkeys(others))}: {first.says}"
            merged = replace(first, says=text, parts=[(list_[m[2]], m[3]) for m in used])
            result.append((merged, residual, ""))
        if len(result) <= 2 or all(len(c[1]) > 0 for c in chosen) and len(result) <= 3:
            return result
    # a slip in the recurrence, and another in the line of a parameter that it reaches
    recurrent = [
        (len([p for p in wrong_at if R[i, p] <= exact]), -cost[i], i) for i, s in enumerate(list_) if s.changes and np.isfinite(cost[i])
    ]
    recurrent = sorted((x for x in recurrent if x[0]), reverse=True)[:4]
    for _, _, i in recurrent:
        rest = [p for p in range(len(pieces)) if R[i, p] > exact]
        targets = {r.leaves[pieces[p][0]] for p in rest}
        if len(targets) > 1:
            continue
        for j, slip in enumerate(list_):
            if slip.changes and slip.edge is not None and slip.edge.leaf and slip.edge.target in targets:
                v = r.run({**list_[i].changes, **slip.changes}).flat()
                residual = context.residuals(v[None], u)[0, judged].max()
                if residual <= exact:
                    return [
                        (replace(list_[i], parts=[((list_[i], slip), None)]), residual, ""),
                        (replace(slip, parts=[((list_[i], slip), None)]), residual, ""),
                    ]
    return []


def _touches(context, i, slip, pieces):
    """The pieces that a slip changes."""
    if i >= len(context.vectors):
        return set(range(len(pieces)))
    v = context.vectors[i] if slip.direction else context.vectors[i] - context.right
    return {p for p, (_, at) in enumerate(pieces) if np.max(np.abs(v[at]), initial=0.0) > 0}


def _scaled(vectors, u, context, judged, exact):
    """Two at once: a slip, and everything off by a factor."""
    mask = np.zeros(len(u), bool)
    for (_, i), j in zip(context.pieces, judged):
        mask[i] = j
    norms = np.einsum("ij,ij->i", vectors[:, mask], vectors[:, mask])
    c = vectors[:, mask] @ u[mask] / np.where(norms, norms, 1)
    residual = context.residuals(c[:, None] * vectors, u)[:, judged].max(axis=1)
    i = int(np.argmin(residual))
    return (i, float(c[i]), float(residual[i])) if residual[i] <= exact else None


def _mask_regression(context, u, have):
    """Least squares of each gradient on its terms C[t, k]: name -> (m, residual) where there are more numbers than terms."""
    r, found = context.reverse, {}
    C = r.terms() if r.T > 1 else {}
    for name in have:
        span = context.slips.spans[name]
        at = [(t, k) for (t, k), c in C.items() if k and np.any(c[span])]
        if len(at) < 2 or span.stop - span.start <= len(at):
            continue
        A = np.stack([C[p][span] for p in at], 1)
        y = u[span] - r.outside[span] - sum(c[span] for (t, k), c in C.items() if not k)
        scale = np.max(np.abs(context.right[span]), initial=0.0) or 1.0
        with np.errstate(all="ignore"):
            m, _, rank, s = np.linalg.lstsq(A, y, rcond=None)
        if rank < len(at) or s[0] > 1e8 * s[-1]:
            continue
        table = np.full((r.T, r.T), np.nan)
        for (t, k), w in zip(at, m):
            table[t - 1, k - 1] = round(float(w), 6) + 0.0
        found[name] = table, float(np.max(np.abs(A @ m - y)) / scale)
    return found


def _on(slip, context, g):
    """The gradients with a slip, on a context's probe; ``g`` those that it is to change where it comes last."""
    if isinstance(slip, tuple):  # several together
        changes = {}
        for one in slip:
            changes.update(context.slips.found[one.number].changes)
        return context.reverse.run(changes).flat()
    if slip.kind == "weights":
        C = context.reverse.terms()
        return context.reverse.outside + sum(
            (slip.factor[t - 1, k - 1] if k else 1) * c for (t, k), c in C.items() if not k or np.isfinite(slip.factor[t - 1, k - 1])
        )
    if slip.number is None:
        return slip.factor * g if slip.kind == "scale" else np.clip(g, -slip.factor, slip.factor)
    same = context.slips.found[slip.number]
    v = np.asarray(same.gradients(context.reverse), float)
    return context.right + slip.factor * v if slip.direction else v


def _number(x):
    x = float(x)
    return x if np.isfinite(x) else None


def arguments(function):
    """The names of a function's arguments."""
    return [p.name for p in inspect.signature(function).parameters.values() if p.default is p.empty]
