"""Every generic way to get one line of a derivation wrong: the perturbations that ``diagnose`` tries and ``exercise`` puts in.

Nothing here knows a cell. A slip says which line of the reverse walk it is in, at which steps, what was written instead, and computes
the gradients that follow from it. Here stand the Slip and the list of all; each file beside has those of one kind of line:

sums      what adds up to an adjoint        slopes  the local derivative    products  matrix products
adjoints  the adjoint that a line takes     losses  the loss's derivative   leaves    a parameter's gradient as a whole
terms     which terms C[t, k] are there     near    what a value could be confused with
order     in what order they are gone       changes what an edge makes of an adjoint, changed
"""
from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..edges import Edge, Steps
from ..perturb import Change, Reverse
from . import adjoints, leaves, losses, order, products, slopes, sums, terms
from .changes import only


@dataclass
class Slip:
    """One way to be wrong.

    kind    a short name of the mistake: "missing", "no derivative", "not transposed", …
    edge    the line it is in (its last step's edge); None for mistakes of the whole
    where   in words: "", "at t=2", "in dW_h only"
    wrote   the line as it would be written with the slip
    says    the slip in a sentence
    cost    how far-fetched: of several that fit equally well, the smallest comes first
    group   slips in different parameters' lines that are the same mistake share it
    factor  the c that was found; of "weights" the matrix of them; of mistakes in a line's arguments {argument: c}
    """
    kind: str
    edge: Edge | None
    where: str
    wrote: str
    says: str
    cost: float
    vector: np.ndarray | None = None
    changes: dict[Edge, Change] = field(default_factory=dict)
    compute: Callable[[], np.ndarray] | None = None
    group: Hashable = None
    direction: bool = False                       # gradients = right + c * vector, for one unknown c
    number: int | None = None                     # its place in the list, the same for every probe of one network
    factor: Any = 0.0
    parts: list[Part] = field(default_factory=list)         # of a mistake in several places
    together: list[Slip] = field(default_factory=list)      # of a mistake that is two

    def gradients(self, reverse: Reverse) -> np.ndarray:
        if self.vector is None:
            self.vector = self.compute() if self.compute else reverse.run(self.changes).flat()
        return self.vector


Part = tuple[Slip | tuple[Slip, Slip], set[int] | None]     # a slip, or two; and the pieces of the gradients that it explains, None: all


class Slips:
    """All slips of one ``Reverse``: ``list(Slips(reverse))``.

    last   line -> its edge in the last step        spans  name of a leaf -> its slice of the flat gradients        right  these
    """

    def __init__(self, reverse: Reverse) -> None:
        self.r, self.say = reverse, reverse.phrases
        self.found: list[Slip] = []
        self.spans: dict[str, slice] = {}
        r, start = reverse, 0
        for name, i in r.leaves.items():
            self.spans[name] = slice(start, start + r.value(i).size)
            start += r.value(i).size
        self.right = r.run({}).flat()
        self.last = {line: steps[max(steps, key=lambda s: s or 0)] for line, steps in r.lines.items()}
        for line, steps in r.lines.items():
            e = self.last[line]
            if self._passes(e):
                continue
            sums.one(self, steps, e)
            if e.kind == "scale":
                slopes.slope(self, steps, e)
            elif e.kind in ("left", "right"):
                products.product(self, steps, e)
            elif e.node.op.name in losses.LOSSES:
                losses.loss(self, steps, e)
            adjoints.adjoint(self, steps, e)
        sums.several(self)
        if r.T > 1 and r.crossings():
            terms.terms(self)
            order.order(self)
        leaves.leaves(self)
        for number, slip in enumerate(self.found):
            slip.number = number

    def __iter__(self) -> Iterator[Slip]:
        return iter(self.found)

    def _passes(self, e: Edge) -> bool:
        """A mere name for the same adjoint: the sum's adjoint that a matrix product in it receives."""
        r = self.r
        x, y = r.nodes[e.target], r.nodes[e.source]
        return (e.kind == "scale" and not e.leaf and len(e.paths) == 1 and not e.paths[0] and not r.crossing(e)
                and x.value.shape == y.value.shape and len(r.incoming[e.target]) == 1
                and x.op is not None and x.op.name in ("matmul", "getitem"))

    def put(self, *what: Any, **more: Any) -> None:
        """One slip, as it is."""
        self.found.append(Slip(*what, **more))

    def enter(self, kind: str, e: Edge, where: str, wrote: str, says: str, cost: float, steps: Steps, change: Change,
              **more: Any) -> None:
        """One slip that makes ``change(run, edge, g)`` of the line's adjoint, at all of these steps."""
        self.put(kind, e, where, wrote, says, cost, changes=dict.fromkeys(steps.values(), change), **more)

    def add(self, kind: str, e: Edge, change: Change, wrote: str, says: str, cost: float, *, steps: Steps, scope: str = "all",
            blocks: bool = True, group: Hashable = None) -> None:
        """The same at every step; for ``scope`` "one" also at one, for "but" at all but one; and for one block of a packed value."""
        times = sorted(t for t in steps if t is not None)
        scopes: list[tuple[str, Steps, float]] = [("", steps, 0)]
        if scope != "all" and len(times) > 1:
            scopes += [(f"at t={t}", {t: steps[t]}, 1) for t in times]
            if scope == "but":
                scopes += [(f"except at t={t}", {s: steps[s] for s in times if s != t}, 1.5) for t in times]
            if scope == "one" and self.r.crossing(e) and 1 in steps:
                scopes.append(("except at t=1", {t: steps[t] for t in times if t != 1}, 0.5))
        for where, some, more in scopes:
            self.enter(kind, e, where, wrote, says, cost + more, some, change, group=(kind, where, group) if e.leaf else None)
        for block in self.r.blocks_of(e) if blocks else ():
            name = self.block_name(e.source, block)
            self.enter(kind, e, f"for {name}", wrote, says, cost + 0.5, steps, only(change, block),
                       group=(kind, name, group) if e.leaf else None)

    def block_name(self, id: int, block: slice) -> str:
        """What the author calls these columns of a packed value."""
        r, stack = self.r, [(id, block)]
        seen: set[tuple[int, int]] = set()
        while stack:
            i, b = stack.pop(0)
            if (i, b.start) in seen:
                continue
            seen.add((i, b.start))
            node = r.nodes[i]
            width = node.value.shape[-1]
            if node.name and b.start == 0 and b.stop == width and i != id:
                return node.name
            for j, _ in r.users[i]:
                user = r.nodes[j]
                if user.op.name == "getitem" and isinstance(user.attributes["index"][-1], slice):
                    start, stop, _ = user.attributes["index"][-1].indices(width)
                    if start <= b.start and b.stop <= stop:
                        stack.append((j, slice(b.start - start, b.stop - start)))
                elif user.value.shape == node.value.shape and user.op.call is None and user.op.name != "matmul":
                    stack.append((j, b))
        return f"columns {block.start}:{block.stop}"
