"""Slips in what adds up to an adjoint: a term is missing, there twice, of the wrong sign, or overwrites those before it."""
from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from ..edges import Edge, Line, Steps
from ..perturb import Change, Reverse, Run
from .changes import nothing, times, without

if TYPE_CHECKING:
    from . import Slips


def one(slips: Slips, steps: Steps, e: Edge) -> None:
    """One term."""
    r, say = slips.r, slips.say
    if e.source == r.root and len(steps) == 1:
        return
    left, _, rule = say.line(e).partition("= ")
    target = say.adjoint(e.target, e.step)
    term = "the loss" if rule == "1" else rule    # in the sum of the losses
    if len(r.incoming[e.target]) > 1:
        wrote, says = f"{target} without {rule}", f"the term {rule} is missing in {target}"
    else:
        wrote, says = f"{left}= 0", f"{term if term != rule else f'{target} = {rule}'} is missing"
    slips.add("missing", e, nothing, wrote, says, 0.2, steps=steps, scope="but")
    slips.add("twice", e, times(2), f"{left}= 2 * ({rule})", f"{term} is counted twice in {target}", 1, steps=steps, scope="one")
    slips.add("sign", e, times(-1), f"{left}= -({rule})", f"the sign of {term} is wrong", 0.7, steps=steps, scope="one")
    for t in (min(steps), max(steps)) if e.leaf and len(steps) > 1 else ():
        loop = "from the last step to the first" if t == min(steps) else "from the first step to the last"
        slips.enter("overwritten", e, f"only t={t} is left", f"{target} = {rule}",
                    f"{target} is overwritten where it should be added to (= for +=, in a loop {loop})", 0.6,
                    {s: steps[s] for s in steps if s != t}, nothing, group=("overwritten", t))
    x, y = r.value(e.target), r.value(e.source)
    if e.leaf and x.shape != y.shape and e.kind == "scale":
        slips.add("mean", e, times(1 / (y.size // max(x.size, 1))),
                  f"{left}= mean over the batch of {rule.partition('of ')[2]}",
                  f"the rows of {target} are averaged where they add up", 0.6, steps=steps, group="bias")
        slips.add("one row", e, _first, f"{left}= the first row", f"only the first row of the batch counts in {target}", 1, steps=steps,
                  group="bias", blocks=False)


def _first(run: Run, edge: Edge, g: np.ndarray) -> np.ndarray:
    """Of what is summed because it was broadcast, the first alone."""
    x = run.reverse.value(edge.target)
    shape = (1,) * (g.ndim - x.ndim) + x.shape
    return (g * edge.D)[tuple(slice(n) for n in shape)].reshape(x.shape)


def several(slips: Slips) -> None:
    """Several terms at once: all that adds up to an adjoint, all that is carried to it, any two or more."""
    for lines in _arriving(slips.r).values():
        _all(slips, lines)
        _some(slips, lines)


def _arriving(r: Reverse) -> dict[Any, dict[Line, int]]:
    """What a value is called in every step -> {line: node} of the lines that arrive there."""
    found: dict[Any, dict[Line, int]] = {}
    for line, steps in r.lines.items():
        for e in steps.values():
            if e.step and (not e.leaf or r.crossing(e)):
                at = r.state(line, e.step) if r.crossing(e) else e.target
                if at is not None and r.nodes[at].step:
                    found.setdefault(r.keys[at], {}).setdefault(line, at)
    return found


def _all(slips: Slips, lines: dict[Line, int]) -> None:
    r, say = slips.r, slips.say
    target = say.adjoint(next(iter(lines.values())))
    carried = [line for line in lines if any(r.crossing(e) for e in r.lines[line].values())]
    for some, carry in ((list(lines), False), (carried, True)):
        if not (len(some) > 1 or some and carry and len(lines) > 1):
            continue
        text = " + ".join(say.line(slips.last[line]).partition("= ")[2] for line in some)
        for initial in (True, False) if carried else (True,):
            edges = {e: e for line in some for t, e in r.lines[line].items() if not (r.crossing(e) and t == 1) or initial and carry}
            for c, kind, says in ((0, "missing", f"all of {text} is missing in {target}"),
                                  (2, "twice", f"all of {text} is counted twice in {target}"),
                                  (-1, "sign", f"the sign of all of {text} is wrong")):
                if c or carry:
                    slips.enter(kind, slips.last[some[0]], "" if initial else "and not in the initial state's",
                                f"{target} = {c} * ({text})" if c else f"{target} without {text}", says, 0.75 + 0.1 * (not initial), edges,
                                times(c) if c else nothing)


def _some(slips: Slips, lines: dict[Line, int]) -> None:
    r, say = slips.r, slips.say
    target = say.adjoint(next(iter(lines.values())))
    blocks = {line: r.blocks_of(slips.last[line]) if slips.last[line].kind == "left" else () for line in lines}
    terms = [(line, b) for line in lines for b in blocks[line] or (None,)]
    for n in range(2, len(terms)) if 3 <= len(terms) <= 7 else ():
        for some in itertools.combinations(terms, n):
            changes: dict[Edge, Change] = {}
            names = []
            for line in dict.fromkeys(line for line, _ in some):
                left_out = [b for other, b in some if other == line]        # None: all of it
                changes.update(dict.fromkeys(r.lines[line].values(), without(left_out)))
            for line, b in some:
                e = slips.last[line]
                names.append(say.line(e).partition("= ")[2] + (f" for {slips.block_name(e.source, b)}" if b else ""))
            text = " and ".join(names)
            slips.put("missing", slips.last[some[0][0]], "", f"{target} without {text}", f"the terms {text} are missing in {target}",
                      0.8 + 0.1 * n, changes=changes)
