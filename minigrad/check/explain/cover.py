"""Several slips at once, found from gradients: each explains some pieces of them, or two meet in the recurrence."""
from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..slips import Part, Slip

if TYPE_CHECKING:
    from .gradients import Case

Member = tuple[float, int, frozenset[int]]      # cost, number of the slip, the wrong pieces that it explains
Group = tuple[list[Member], frozenset[int], float]          # members, the wrong pieces they explain, cost
MOST = 3                                          # slips together, at most


def cover(case: Case) -> list[tuple[Slip, float]]:
    """The fewest slips that together explain every wrong piece, [(slip, residual)]: the same slip in several parameters' lines is one."""
    left: set[int] = set(np.flatnonzero(case.wrong).tolist())
    chosen: list[tuple[list[Member], frozenset[int]]] = []
    options = _groups(case)
    while left and options:
        members, covered, cost = max(options, key=lambda o: (len(o[1] & left), -o[2]))
        if not covered & left:
            break
        chosen.append((members, covered & left))
        left -= covered
    if not left and len(chosen) <= MOST:
        return [_merged(case, members, set(got)) for members, got in chosen]
    return _in_recurrence(case)


def _groups(case: Case) -> list[Group]:
    """A slip may explain a piece only if it is right in every other piece that it changes."""
    groups: dict[Hashable, list[Member]] = {}
    wrong_at = np.flatnonzero(case.wrong).tolist()
    for i in case.finite:
        slip = case.slips[i]
        covered = frozenset(p for p in wrong_at if case.R[i, p] <= case.exact)
        if not covered:
            continue
        members, cost = groups.setdefault(slip.group if slip.group is not None else ("one", i), []), case.cost[i]
        if any(case.R[i, p] > case.exact for p in _changed(case, i)):
            if not slip.kind.startswith("terms"):
                continue
            cost += 0.8                           # a sum over steps can be wrong in one parameter's line only, but that is rarer
        members.append((cost, i, covered))
    return [(sorted(members, key=lambda m: m[:2]), frozenset().union(*(m[2] for m in members)), min(m[0] for m in members))
            for members in groups.values() if members]


def _changed(case: Case, i: int) -> Iterable[int]:
    """The pieces that a slip changes."""
    context = case.context
    if i >= len(context.vectors):                 # scale and clipping
        return range(len(case.pieces))
    v = context.vectors[i] - (0 if case.slips[i].direction else context.right)
    return [p for p, (_, at) in enumerate(case.pieces) if np.max(np.abs(v[at]), initial=0.0) > 0]


def _merged(case: Case, members: list[Member], need: set[int]) -> tuple[Slip, float]:
    """One slip for a group's, with what each of them explains."""
    used = []
    for member in members:
        if member[2] & need:
            used.append(member)
            need -= member[2]
    slips = [case.slips[i] for _, i, _ in used]
    lines = dict.fromkeys(case.context.reverse.phrases.adjoint(s.edge.target) for s in slips if s.edge is not None)
    says = slips[0].says if len(lines) < 2 else f"in {', '.join(lines)}: {slips[0].says}"
    if slips[0].direction:                        # each has a factor of its own
        says = "; ".join(s.says for s in slips)
    parts: list[Part] = [(case.slips[i], {case.at[p] for p in covered}) for _, i, covered in used]
    where = slips[0].where
    if where.startswith("in d"):
        where = "in " + ", ".join(dict.fromkeys(s.where.removeprefix("in ") for s in slips))
    return replace(slips[0], says=says, parts=parts, where=where), max(case.R[i, p] for _, i, covered in used for p in covered)


def _in_recurrence(case: Case) -> list[tuple[Slip, float]]:
    """A slip in the recurrence, and another in the line of a parameter that it reaches."""
    r = case.context.reverse
    order = [(sum(case.R[i, p] <= case.exact for p in np.flatnonzero(case.wrong)), -case.cost[i], i) for i in case.finite
             if case.slips[i].changes]
    for explained, _, i in sorted(order, reverse=True)[:4]:
        first = case.slips[i]
        targets = {r.leaves[name] for p, (name, _) in enumerate(case.pieces) if case.R[i, p] > case.exact}
        if not explained or len(targets) > 1:
            continue
        for second in case.slips:
            if second.changes and second.edge is not None and second.edge.leaf and second.edge.target in targets:
                residual = case.residuals(r.run({**first.changes, **second.changes}).flat()[None]).max()
                if residual <= case.exact:
                    both: list[Part] = [((first, second), None)]
                    return [(replace(first, parts=both), residual), (replace(second, parts=both), residual)]
    return []
