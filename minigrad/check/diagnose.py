"""What is wrong with a derivation: which line, at which step, and why.

The recorded graph's reverse walk is run again with one generic slip in it after the other (``slips/``), and the gradients that follow
are held against yours (``explain/``). What reproduces your numbers *explains* them; that is all that numbers can say. Where you give the
lines of your derivation as functions, each is evaluated on reference inputs, so that one mistake does not hide the next.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from ..tensor import Tensor
from .compare import align, compare, gradients_only
from .explain import Explanation
from .explain.context import Context
from .explain.gradients import explain
from .explain.lines import explain_lines, explain_steps
from .lines import Names
from .page import framed
from .probe import undecided
from .rows import Report


@dataclass
class Diagnosis:
    """What ``diagnose`` found: ``ok``, ``explanations`` (all needed together, each an Explanation), ``str()``, ``html()``, ``data()``.

    residual   of the explanations together       next_best   the residual of the best other explanation, and what it says
    exact      they give your numbers             time_map    dict parameter -> weights m[t, k] of the terms, where these explain
    report     the table of ``compare``           undecided   what this probe cannot show
    """
    report: Report
    explanations: list[Explanation] = field(default_factory=list)
    residual: float = float("nan")
    exact: bool = False
    next_best: tuple[float, str] = (float("inf"), "")
    time_map: dict[str, np.ndarray] = field(default_factory=dict)
    undecided: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return self.report.ok

    @property
    def exit_status(self) -> int:
        """For scripts: 0 agrees, 1 differs."""
        return 0 if self.ok else 1

    def __bool__(self) -> bool:
        return self.ok

    def data(self) -> dict[str, Any]:
        """Everything as plain Python values, ready for JSON."""
        one = [dict(kind=e.kind, says=e.says, line=e.line, fix=e.fix, why=e.why, where=e.where, yours=e.yours,
                    residual=_plain(e.residual)) for e in self.explanations]
        return dict(ok=self.ok, explanations=one, exact=self.exact, residual=_plain(self.residual), next_best=_plain(self.next_best[0]),
                    next_says=self.next_best[1], report=self.report.data(), undecided=self.undecided,
                    time_map={k: [[_plain(x) for x in row] for row in m] for k, m in self.time_map.items()})

    def html(self) -> str:
        """The same as a piece of HTML: the table and the explanation, no scripts."""
        parts = self.report.parts()
        for title, e in zip(self._titles(), self.explanations):
            rows = [("wrong", e.line if e.line != e.says else ""), ("right", e.fix), ("why", e.why), ("where", e.where)]
            rows += [("or", f"{other}: the same numbers on this probe") for other in e.same[:3]]
            parts.append(f"<h4>{title}: {escape(f'{e.yours}: ' if e.yours else '')}{escape(e.says)}</h4><dl>"
                         + "".join(f"<dt>{t}</dt><dd><code>{escape(v)}</code></dd>" for t, v in rows if v) + "</dl>")
        for name, m in self.time_map.items():
            parts.append(f"<p>{escape(self._about_map(name))}</p><pre>{escape(chr(10).join(_weights(m)))}</pre>")
        if not self.ok:
            parts.append(f"<p>{escape(self._how_well())}</p>")
        parts += [f"<p>could not decide: {escape(u)}</p>" for u in self.undecided]
        return framed(*parts)

    _repr_html_ = html

    def elsewhere(self, context: Context) -> dict[str, np.ndarray]:
        """The gradients that the explanations, carried out on another probe of the same network, give there: dict name -> array."""
        g = context.right.copy()
        for e in self.explanations:
            for slip, pieces in e.parts:
                v = context.of(slip, g)
                for p, (_, at) in enumerate(context.pieces):
                    if pieces is None or p in pieces:
                        g[at] = v[at]
        return {n: g[s].reshape(context.reverse.value(context.reverse.leaves[n]).shape) for n, s in context.slips.spans.items()}

    def _titles(self) -> list[str]:
        title, n = "LIKELY" if self.exact else "CLOSEST", len(self.explanations)
        return [f"{title} {i + 1}" if n > 1 else title for i in range(n)]

    def _how_well(self) -> str:
        if not self.explanations:
            unusable = any(not row.ok and row.note != "not derived" for row in self.report.rows)
            return "no explanation before all of yours can be compared" if unusable else "what you derived agrees; the rest is not derived"
        how = (f"explains your numbers to {f'{self.residual:.0e}' if self.residual else 'the last digit'}" if self.exact else
               f"comes closest, but leaves {self.residual:.1e}: not an explanation")
        what = "the next best" + (f" ({self.next_best[1]})" if self.next_best[1] else "")
        return how + (f"; {what} leaves {self.next_best[0]:.1e}" if np.isfinite(self.next_best[0]) else "")

    @staticmethod
    def _about_map(name: str) -> str:
        return f"TIME MAP {name}: the weight of each term, loss t through the use at step k (right: all 1)"

    def __str__(self) -> str:
        rows = [str(self.report)]
        rows += [f"{title:<8} " + str(e).replace("\n", "\n" + " " * 7) for title, e in zip(self._titles(), self.explanations)]
        rows += [] if self.ok else [f"{'':9}{self._how_well()}"]
        for name, m in self.time_map.items():
            rows += [self._about_map(name), *(f"{'':9}{line}" for line in _weights(m))]
        return "\n".join([*rows, *(f"COULD NOT DECIDE  {u}" for u in self.undecided)])

    __repr__ = __str__


def _weights(m: np.ndarray) -> list[str]:
    return [f"t={t}  " + " ".join("   ·  " if not np.isfinite(x) else f"{x:6.3g}" for x in row) for t, row in enumerate(m, 1)]


def _plain(x: float) -> float | None:
    return float(x) if np.isfinite(x) else None


def diagnose(derived: dict[str, Any], reference: Tensor, *, names: Names = None, convention: str = "row", tolerance: float | None = None,
             given: dict[str, Any] | None = None, context: Context | None = None) -> Diagnosis:
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
    convention  "row" (x @ W, ours) or "column" (W x): then your arrays are the transposes of ours, and explanations are written so
    tolerance   as in ``compare``
    given       more values for lines, dict name -> array; where its first axis is as long as time, step t gets its own
    context     what ``diagnose.context(loss, convention)`` returned, to diagnose many derivations of one loss quickly

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
    if not derived:
        raise ValueError("diagnose: nothing was derived; give a dict name -> array or function")
    if convention not in ("row", "column"):
        raise ValueError(f"convention is {convention!r}, expected 'row' (x @ W) or 'column' (W x)")
    if not isinstance(reference, Tensor):
        raise TypeError(f"diagnose: reference is a {type(reference).__name__}, expected the loss, a Tensor: its recorded graph is what the "
                        "hypotheses are made from (compare takes arrays)")
    context = context or Context(reference, convention)
    r, found = context.reverse, Diagnosis(Report(title="derivation check"))
    right = {n: context.right[s].reshape(r.value(r.leaves[n]).shape) for n, s in context.slips.spans.items()}
    lines = {name: v for name, v in derived.items() if callable(v) and not hasattr(v, "__array__")}
    arrays = {name: v for name, v in derived.items() if name not in lines}
    if lines:
        explain_lines(found, lines, context, names, convention, tolerance, given)
    unknown = [n for n in names or () if n not in derived]
    if unknown and not lines:                                 # with lines, names are also those of their arguments
        raise ValueError(f"names maps {unknown[0]!r}, which is not among what was derived ({', '.join(map(str, derived))})")
    gradients = gradients_only(arrays, right, names)
    steps = {name: v for name, v in arrays.items() if name not in gradients}
    if steps:
        explain_steps(found, steps, context, names, convention, tolerance)
    if gradients:
        names = {n: to for n, to in (names or {}).items() if n in gradients}
        aligned = align(gradients, right, names, convention)
        report = compare(gradients, {n: g for n, g in right.items() if n in aligned or not lines and not steps}, tolerance=tolerance,
                         names=names, convention=convention)
        found.report.rows += report.rows
        usable = all(n in right and a.shape == right[n].shape and a.dtype.kind in "biuf" and np.isfinite(a).all()
                     for n, a in aligned.items())
        differs = any(not row.ok for row in report.rows if row.name in aligned)
        if differs and usable and not found.explanations:
            explain(found, aligned, context, tolerance)
    found.undecided = undecided(r)
    return found


diagnose.context = Context  # type: ignore[attr-defined]
