"""From gradients alone: one slip, a few together, the weights of the terms, a slip and a factor, and if nothing fits, the closest."""
from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..rows import tolerance_of
from ..slips import Slip
from . import Explanation, rough, short, worded
from .context import Context
from .cover import cover

if TYPE_CHECKING:
    from ..diagnose import Diagnosis


class Case:
    """Someone's numbers beside every hypothesis.

    u           the gradients as one vector; where none was derived, the right ones     mask    where one was derived
    names       of those that were derived          exact   up to which residual a hypothesis explains the numbers
    slips, vectors, cost  the hypotheses: the context's, those with an unknown factor fitted, and scale and clipping
    pieces      those that were derived             wrong   which of them differ        at  their numbers in the context
    R, whole    residuals: of each hypothesis in each piece, and its largest
    """

    def __init__(self, arrays: dict[str, np.ndarray], context: Context, tolerance: float | None) -> None:
        self.context, right = context, context.right
        self.names = [n for n in context.reverse.leaves if n in arrays]
        self.u = right.copy()
        for n in self.names:
            self.u[context.slips.spans[n]] = np.ravel(np.asarray(arrays[n], float))
        self.at = [p for p, (n, _) in enumerate(context.pieces) if n in self.names]
        self.pieces = [context.pieces[p] for p in self.at]
        self.mask = np.zeros(len(right), bool)
        for _, i in self.pieces:
            self.mask[i] = True
        agrees = max(tolerance_of(a) for a in arrays.values()) if tolerance is None else tolerance
        self.exact = max(1e-9, 100 * agrees) if agrees < 1e-4 else agrees
        self._hypotheses()
        self.R = self.residuals(self.vectors)
        self.whole, self.finite = self.R.max(axis=1), np.flatnonzero(np.isfinite(self.cost)).tolist()
        off = self.residuals(right[None])[0]
        self.off, self.wrong = off.max(), off > max(1e-3 * self.exact, agrees)
        if not self.wrong.any():                  # agrees within the tolerance of one entry, by a hair
            self.wrong = off > 0

    def residuals(self, vectors: np.ndarray) -> np.ndarray:
        return self.context.residuals(vectors, self.u)[:, self.at]

    def _hypotheses(self) -> None:
        context, right, u, mask = self.context, self.context.right, self.u, self.mask
        self.vectors, self.slips, cost = context.vectors.copy(), list(context.list), list(context.cost)
        for i in np.flatnonzero(context.direction):
            d = context.vectors[i]
            size = d[mask] @ d[mask]
            c = (u - right)[mask] @ d[mask] / size if size else 0.0
            self.vectors[i] = right + c * d
            says, old = _of_factor(self.slips[i], c, context), self.slips[i]
            self.slips[i] = replace(old, factor=float(c), says=says, wrote=says if old.wrote == old.says else old.wrote)
            if abs(c) <= 1e-13 or old.kind in ("scaled", "scale") and abs(1 + c) <= 1e-9:        # nothing, and all of it
                cost[i] = np.inf
        c = right[mask] @ u[mask] / (right[mask] @ right[mask] or 1.0)
        top = np.max(np.abs(u[mask]), initial=0.0)
        self.slips += [Slip("scale", None, "", "", _of_scale(c, context), 0.05, factor=float(c)),
                       Slip("clipped", None, "", "", f"all gradients are clipped at ±{top:.4g}", 0.3, factor=float(top))]
        self.vectors = np.concatenate([self.vectors, [c * right, np.clip(right, -top, top)]])
        self.cost = np.array([*cost, 0.05, 0.3])


def explain(found: Diagnosis, arrays: dict[str, np.ndarray], context: Context, tolerance: float | None) -> None:
    """Fill in a Diagnosis: explanations, residual, exact, next_best, time_map."""
    case = Case(arrays, context, tolerance)
    for way in (_one, _several, _terms, _scaled):
        found.explanations = way(found, case)
        if found.explanations:
            found.exact = True
            break
    else:
        found.explanations = [_closest(case)]
    found.residual = max(e.residual for e in found.explanations)
    beyond = case.exact if found.exact else found.residual * (1 + 1e-9)
    rest = [i for i in case.finite if case.whole[i] > beyond]
    for i in sorted(rest, key=lambda i: (rough(case.whole[i]), case.cost[i]))[:1]:
        found.next_best = float(case.whole[i]), short(case.slips[i])


def _one(found: Diagnosis, case: Case) -> list[Explanation]:
    fits = sorted((i for i in case.finite if case.whole[i] <= case.exact), key=lambda i: case.cost[i])
    return [worded(case.context, case.slips[fits[0]], case.whole[fits[0]], [case.slips[i] for i in fits])] if fits else []


def _several(found: Diagnosis, case: Case) -> list[Explanation]:
    return [worded(case.context, slip, residual) for slip, residual in cover(case)]


def _terms(found: Diagnosis, case: Case) -> list[Explanation]:
    """The terms C[t, k] with weights that least squares finds: the local calculus is right, the bookkeeping is not."""
    masks = _mask_regression(case)
    wrong = list(dict.fromkeys(name for (name, _), w in zip(case.pieces, case.wrong) if w))
    found.time_map = {n: masks[n][0] for n in wrong if n in masks and masks[n][1] <= case.exact}
    if not wrong or not all(n in found.time_map for n in wrong):
        return []
    explanations = []
    for n in wrong:
        m, residual = masks[n]
        pieces = {p for p, (name, _) in enumerate(case.context.pieces) if name == n}
        weights = Slip("weights", None, "", "", "", 0, factor=m)
        explanations.append(Explanation(f"the local derivatives in d{n} are right, but not which terms are added: see the time map",
                                        "terms", where=f"in d{n}", residual=residual, parts=[(weights, pieces)]))
    return explanations


def _mask_regression(case: Case) -> dict[str, tuple[np.ndarray, float]]:
    """Least squares of each gradient on its terms C[t, k]: name -> (m, residual) where there are more numbers than terms."""
    context, r, u = case.context, case.context.reverse, case.u
    found: dict[str, tuple[np.ndarray, float]] = {}
    C = r.terms()
    for name in case.names:
        span = context.slips.spans[name]
        at = [(t, k) for (t, k), c in C.items() if k and np.any(c[span])]
        if len(at) < 2 or span.stop - span.start <= len(at):
            continue
        A = np.stack([C[p][span] for p in at], 1)
        y = u[span] - r.outside[span] - sum(c[span] for (t, k), c in C.items() if not k)
        scale = np.max(np.abs(context.right[span])) or 1.0
        with np.errstate(all="ignore"):
            m, _, rank, s = np.linalg.lstsq(A, y, rcond=None)
        if rank < len(at) or s[0] > 1e8 * s[-1]:
            continue
        table = np.full((r.T, r.T), np.nan)
        for (t, k), w in zip(at, m):
            table[t - 1, k - 1] = round(float(w), 6) + 0.0
        found[name] = table, float(np.max(np.abs(A @ m - y)) / scale)
    return found


def _scaled(found: Diagnosis, case: Case) -> list[Explanation]:
    """Two at once: a slip, and everything off by a factor."""
    vectors, mask = case.vectors[case.finite], case.mask
    norms = np.einsum("ij,ij->i", vectors[:, mask], vectors[:, mask])
    c = vectors[:, mask] @ case.u[mask] / np.where(norms, norms, 1)
    residual = case.residuals(c[:, None] * vectors).max(axis=1)
    k = int(np.argmin(residual))
    if residual[k] > case.exact:
        return []
    factor = Slip("scale", None, "", "", "", 0, factor=float(c[k]))
    return [worded(case.context, case.slips[case.finite[k]], residual[k]),
            Explanation(_of_scale(c[k], case.context), "scale", residual=float(residual[k]), parts=[(factor, None)])]


def _closest(case: Case) -> Explanation:
    best = min(case.finite, key=lambda i: (rough(case.whole[i]), case.cost[i]))
    if case.off <= 1e-3 and case.whole[best] > case.off / 2:
        return Explanation(f"no slip is so small: yours are the right gradients up to {case.off:.0e}, as from finite differences, float32 "
                           "on the way, a rounded constant or an added ε", "small", residual=float(case.off))
    return worded(case.context, case.slips[best], case.whole[best])


def _of_scale(c: float, context: Context) -> str:
    """A factor in words, with what it could come from."""
    r = context.reverse
    B = next((n.value.shape[0] for n in r.nodes if n.step and n.op is not None and n.value.ndim == 2), 0)
    known = {-1.0: "the sign: the derivative of -L", 2.0: "a factor 2", 0.5: "a factor 1/2"}
    if r.T > 1:
        known.update({1 / r.T: f"1/T, T = {r.T} steps: a mean over time that the loss does not have",
                      float(r.T): f"T = {r.T}: the mean over time is missing"})
    if B > 1:
        known.update({1 / B: f"1/B, B = {B} rows: a mean over the batch that the loss does not have",
                      float(B): f"B = {B}: the mean over the batch is missing, a sum stands in its place"})
    for value, text in known.items():
        if abs(c - value) <= 1e-4 * abs(value):
            return f"everything is off by the factor {c:.6g}, {text}"
    return f"everything is off by the factor {c:.6g}" + (" (an update -η·gradient in place of the gradient?)" if -1 < c < 0 else "")


def _of_factor(slip: Slip, c: float, context: Context) -> str:
    if slip.kind == "scaled":
        return f"{slip.says.removesuffix('a factor')}the factor {1 + c:.6g}"
    if slip.kind == "scale":
        return _of_scale(1 + c, context).replace("everything", slip.where.removeprefix("in "))
    if slip.kind == "decay":
        return f"{slip.says}: λ = {c:.4g}"
    return f"{slip.says}, with η = {-c:.4g}"
