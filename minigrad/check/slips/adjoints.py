"""Slips in the adjoint that a line takes: from before the activation, of another value, of another step."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...graph import Node
from ..edges import Edge, Steps
from ..perturb import Reverse, Run
from ..phrases import renamed
from . import near
from .changes import Of, nothing

if TYPE_CHECKING:
    from . import Slips


def adjoint(slips: Slips, steps: Steps, e: Edge) -> None:
    """All of them for one edge."""
    y = slips.r.nodes[e.source]
    if y.step and y.value.ndim and e.kind != "op":
        _other_value(slips, steps, e)
        for block in slips.r.blocks_of(e):
            _other_block(slips, steps, e, block)
        _other_step(slips, steps, e)


def _could_be(r: Reverse, e: Edge) -> list[Node]:
    """The other values of the step that have an adjoint; for what goes on to other lines, only those whose adjoint is known by then."""
    return [node for node in r.nodes if node.step == e.step and r.g[node.id] is not None and node.op is not None
            and (e.leaf or node.id > e.source)]


def _other_value(slips: Slips, steps: Steps, e: Edge) -> None:
    r, say = slips.r, slips.say
    target, old, rule = say.adjoint(e.target, e.step), say.adjoint(e.source), say.line(e)
    seen = {old}
    for node in _could_be(r, e):
        name = say.adjoint(node.id)
        if node.value.shape == r.value(e.source).shape and name not in seen:
            seen.add(name)

            def other(run: Run, edge: Edge, id: int = node.id) -> np.ndarray:
                i = id if edge.step == e.step else r.at(id, edge.step)
                return run.g[edge.source] if i is None or run.g[i] is None else run.g[i]

            above = node.id > e.source and near.is_above(r, node.id, e.source)
            slips.add("wrong adjoint", e, Of(other), renamed(rule, old, name), f"{target} is computed from {name} instead of {old}",
                      0.5 if above else 1.3, steps=steps, group=(old, name))


def _other_block(slips: Slips, steps: Steps, e: Edge, block: slice) -> None:
    """For one gate of a packed value."""
    r, say = slips.r, slips.say
    target, old = say.adjoint(e.target, e.step), say.adjoint(e.source)
    wide, part = r.value(e.source).shape[:-1] + (block.stop - block.start,), slips.block_name(e.source, block)
    for node in _could_be(r, e):
        cuts = r.blocks.get(node.id, ())
        ends = (0, *cuts, node.value.shape[-1] if node.value.ndim else 0)
        for inner in (slice(p, q) for p, q in zip(ends, ends[1:])):
            if node.value.shape[:-1] + (inner.stop - inner.start,) != wide or cuts and slips.block_name(node.id, inner) != part:
                continue
            name = say.adjoint(node.id)
            if name == old:
                continue

            def mixed(run: Run, edge: Edge, g: np.ndarray, id: int = node.id, inner: slice = inner) -> np.ndarray:
                i = id if edge.step == e.step else r.at(id, edge.step)
                g = np.array(g)
                if i is not None and run.g[i] is not None:
                    g[..., block] = run.g[i][..., inner]
                return r.part(edge, g)

            slips.enter("wrong adjoint", e, f"for {part}", renamed(say.line(e), old, name), f"{target} for {part} is computed from {name}",
                        0.6 if name == f"d{part}" else 1.4, steps, mixed, group=("wrong adjoint", part, name) if e.leaf else None)


def _other_step(slips: Slips, steps: Steps, e: Edge) -> None:
    r, say = slips.r, slips.say
    target, old = say.adjoint(e.target, e.step), say.adjoint(e.source)
    for d in (-1, 1) if e.leaf else (1,):

        def beside(run: Run, edge: Edge, g: np.ndarray, d: int = d) -> np.ndarray:
            i = r.beside(edge.source, d)
            return nothing(run, edge, g) if i is None or run.g[i] is None else r.part(edge, run.g[i])

        slips.add("wrong step of the adjoint", e, beside, f"{say.line(e)}, with {old} of t{d:+d}",
                  f"{old} of t{d:+d} goes into {target}", 1, steps=steps, blocks=False, group=d)
