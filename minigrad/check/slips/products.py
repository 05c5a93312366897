"""Slips in a matrix product's two rules: y = a @ b gives da = dy @ b.T and db = a.T @ dy.

One of the two carries the adjoint *through* a weight to a signal (dh += da @ W.T, or W.T @ da for column vectors), the other is the
*outer* product that a weight's gradient is made of (dW += h.T @ da, or da @ h.T). Each has its own ways to go wrong, whichever side
it stands on.
"""
from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ...formulas import atom
from ..edges import Edge, Steps
from ..perturb import Run
from . import near

if TYPE_CHECKING:
    from . import Slips


def product(slips: Slips, steps: Steps, e: Edge) -> None:
    """All of them for one edge."""
    r, left = slips.r, e.kind == "left"
    other = near.other_operand(e)
    here, there = r.nodes[e.target].step, r.nodes[other].step
    through = left if (here is None) == (there is None) or e.step is None else there is None
    (_through if through else _outer)(slips, steps, e, other, left)


def _through(slips: Slips, steps: Steps, e: Edge, other: int, left: bool) -> None:
    r, say = slips.r, slips.say
    g, target, W = say.adjoint(e.source), say.adjoint(e.target, e.step), atom(say.name(other, e.step))
    front = f"{target} {'+=' if len(r.incoming[e.target]) > 1 else '='} "
    wrong = front + say.times(left, g, W)
    rows, columns = r.value(other).shape[-2:]
    blocks = r.blocks_of(e) if left else ()
    if rows == columns:
        slips.add("not transposed", e, lambda run, edge, g: r.part(edge, g, a=r.value(near.other_operand(edge)).mT), wrong,
                  f"{W} is used where {W}.T is needed", 0, steps=steps, scope="one", blocks=False)
    for block in blocks:
        if block.stop - block.start == rows:

            def flipped(run: Run, edge: Edge, g: np.ndarray, block: slice = block) -> np.ndarray:
                W = r.value(near.other_operand(edge)).copy()
                W[:, block] = W[:, block].T
                return r.part(edge, g, a=W)

            name = slips.block_name(e.source, block)
            slips.enter("not transposed", e, f"for {name}", wrong, f"the block of {W} for {name} is used where its transpose is needed",
                        0.1, steps, flipped)

    def with_other(run: Run, edge: Edge, g: np.ndarray, i: int) -> np.ndarray:
        return r.part(edge, g, a=r.value(i))

    for i, name in near.parameters(r, other):
        slips.add("wrong value", e, partial(with_other, i=i), front + say.times(left, g, f"{name}.T"),
                  f"{name} in place of {W}", 1, steps=steps, blocks=False)
    for p in blocks:
        for q in blocks:
            if p != q and p.stop - p.start == q.stop - q.start:

                def swapped(run: Run, edge: Edge, g: np.ndarray, p: slice = p, q: slice = q) -> np.ndarray:
                    W = r.value(near.other_operand(edge)).copy()
                    W[:, p] = W[:, q]
                    return r.part(edge, g, a=W)

                u, v = slips.block_name(e.source, p), slips.block_name(e.source, q)
                slips.enter("wrong value", e, f"for {u}", front + say.times(left, g, f"({W} of {v}).T"),
                            f"the columns of {W} for {v} in place of those for {u}", 1, steps, swapped)
    activation = near.activation_above(r, e.source)
    if activation is not None:
        _misplaced(slips, steps, e, activation, W, left)

    def without() -> np.ndarray:
        return r.run(dict.fromkeys(steps.values(), lambda run, edge, g: np.zeros_like(r.parts[edge]))).flat()

    right = say.times(left, g, f"{W}.T")
    slips.put("scaled", e, "", f"{front}c * {right}", f"{right} is off by a factor", 1.3, direction=True,
              compute=lambda: slips.right - without())
    if r.nodes[other].kind == "parameter":
        def updated(run: Run, edge: Edge, g: np.ndarray) -> np.ndarray:
            return r.part(edge, g, a=r.slope[near.other_operand(edge)])

        slips.put("updated weights", e, "", front + say.times(left, g, f"({W} - η d{W}).T"),
                  f"{W} has been updated already when {target} is computed", 1.2, direction=True,
                  compute=lambda: r.run(dict.fromkeys(steps.values(), updated)).flat() - without())


def _outer(slips: Slips, steps: Steps, e: Edge, other: int, left: bool) -> None:
    r, say = slips.r, slips.say
    g, target, A = say.adjoint(e.source), say.adjoint(e.target, e.step), say.name(other, e.step)

    def wrote(a: str) -> str:
        return f"{target} += " + say.times(left, g, f"{a}.T")

    def moved(run: Run, edge: Edge, g: np.ndarray, d: int, border: str) -> np.ndarray:
        return r.part(edge, g, a=near.operand(r, edge, d, border))

    for d in (-1, 1) if e.step is not None else ():
        known = all(r.beside(near.other_operand(x), d) is not None for x in steps.values())
        for border in ("drop", "clamp", "wrap") if not known else ("drop",):
            slips.add("wrong step", e, partial(moved, d=d, border=border), wrote(atom(at(A, d))),
                      f"{A} is taken one step too {'early' if d < 0 else 'late'}", 0.5 + 0.1 * (border != "drop"),
                      steps=steps, group=d)
    for key, name in near.values(r, e, r.value(other).shape):
        if name == atom(A):
            continue

        def replaced(run: Run, edge: Edge, g: np.ndarray, key: near.Key = key) -> np.ndarray:
            a = near.value(r, edge, key, None)
            return r.part(edge, g) if a is None else r.part(edge, g, a=a)

        slips.add("wrong value", e, replaced, wrote(name), f"{name} in place of {A}", 1.4, steps=steps, group=name)
    shape = r.value(e.target).shape
    turned_text = f"{target} += " + say.times(not left, f"{g}.T", atom(A))
    if shape[-1] == shape[-2]:
        slips.add("transposed", e, lambda run, edge, g: r.part(edge, g).mT, turned_text, f"{target} is transposed", 0.3, steps=steps,
                  blocks=False)
    for block in () if left else r.blocks_of(e):
        if block.stop - block.start == shape[-2]:

            def turned(run: Run, edge: Edge, g: np.ndarray, block: slice = block) -> np.ndarray:
                part = np.array(r.part(edge, g))
                part[:, block] = part[:, block].T.copy()
                return part

            slips.enter("transposed", e, f"for {slips.block_name(e.source, block)}", turned_text, f"{target} is transposed", 0.4, steps,
                        turned)


def _misplaced(slips: Slips, steps: Steps, e: Edge, activation: Edge, W: str, left: bool) -> None:
    """The slope of the activation applied after the matrix product: (dh @ W.T) * slope."""
    r, say = slips.r, slips.say
    D = say.coefficient(activation).text
    g, target = say.adjoint(activation.source), say.adjoint(e.target, e.step)
    by_step = r.lines[activation.line]
    if r.value(e.target).shape != r.value(activation.source).shape:
        return

    def extra(run: Run, edge: Edge, g: np.ndarray) -> np.ndarray:
        slope = near.shifted(r, by_step[edge.step], -1) if edge.step in by_step else None
        return r.part(edge, g) * (1 if slope is None else slope)

    slips.add("extra factor", e, extra, f"{say.line(e)} * ({D} at t-1)",
              f"the factor {D} of step t-1 is applied to {target}, and once more in the step before", 0.9, steps=steps, scope="one",
              blocks=False)
    for d in (0, -1):

        def after(run: Run, edge: Edge, g: np.ndarray, d: int = d) -> np.ndarray:
            act = by_step.get(edge.step)
            if act is None:                       # a step with another function
                return r.part(edge, g)
            slope = act.D if d == 0 else near.shifted(r, act, -1)
            part = r.part(edge, run.g[act.source])
            return part * (slope if slope is not None else 1)

        slips.enter("misplaced derivative", e, "", f"{target} += ({say.times(left, g, f'{W}.T')}) * ({D}{' at t-1' if d else ''})",
                    f"the factor {D} stands after the matrix product instead of before it", 0.6 + 0.2 * (d != 0), steps, after)


def at(name: str, d: int) -> str:
    """The name of a value at a neighbouring step: x -> x[t-1], h[t-1] -> h."""
    if name.endswith("[t-1]"):
        return name.removesuffix("[t-1]") if d > 0 else name.removesuffix("[t-1]") + "[t-2]"
    return f"{atom(name)}[t{d:+d}]"
