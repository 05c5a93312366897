"""All hypotheses about one loss, and the gradients that follow from each."""
from __future__ import annotations

import numpy as np

from ...tensor import Tensor
from ..perturb import Reverse
from ..slips import Slip, Slips

LineKey = tuple[str, tuple[str, ...], tuple[int, ...]]          # a line's name, the adjoints among its arguments, steps
Piece = tuple[str, np.ndarray]          # a leaf's name, indices into the flat vector of all gradients


class Context:
    """What one loss's slips and their gradients are, computed once: ``diagnose(…, context=…)`` for many derivations of one loss.
    ``convention`` is that of the explanations' words.

    list, vectors, cost   the slips whose gradients are finite, these as flat vectors (one a row), and how far-fetched each is
    pieces, sizes         of every leaf, taken apart by columns where it is packed; their scales
    """

    def __init__(self, loss: Tensor, convention: str = "row") -> None:
        self.reverse = Reverse(loss, convention == "column")
        self.lines: dict[LineKey, list[tuple[Slip, np.ndarray]]] = {}       # what explain/lines.py has computed
        if not self.reverse.leaves:
            raise ValueError("diagnose: nothing in this loss's graph requires gradients; make parameters, mg.parameter(..., name='W'), "
                             "and compute the loss outside mg.no_grad()")
        self.slips = Slips(self.reverse)
        with np.errstate(all="ignore"):
            vectors = [_tried(s, self.reverse) for s in self.slips]
        keep = [i for i, v in enumerate(vectors) if np.isfinite(v).all()]
        self.list = [self.slips.found[i] for i in keep]
        self.vectors = np.array([vectors[i] for i in keep])
        self.direction = np.array([s.direction for s in self.list], bool)
        self.cost = np.array([s.cost for s in self.list])
        self.right = np.asarray(self.slips.right, float)
        self.pieces = self._pieces()
        largest = np.max(np.abs(self.right), initial=0.0)
        self.sizes = np.array([max(np.max(np.abs(self.right[i]), initial=0.0), 1e-3 * largest) for _, i in self.pieces])
        changed = np.max(np.abs(self.vectors - self.right), axis=1, initial=0.0)
        self.cost[~self.direction & (changed <= 1e-12 * largest)] = np.inf    # a slip that changes nothing here explains nothing

    def _pieces(self) -> list[Piece]:
        r = self.reverse
        found: list[Piece] = []
        for name, i in r.leaves.items():
            span, shape = self.slips.spans[name], r.value(i).shape
            flat = np.arange(span.start, span.stop).reshape(shape)
            cuts = {c for e in r.incoming[i] for c in r.blocks.get(e.source, ()) if r.value(e.source).shape[-1:] == shape[-1:]}
            ends = (0, *sorted(cuts), shape[-1]) if cuts else ()
            found += [(name, flat[..., a:b].ravel()) for a, b in zip(ends, ends[1:])] or [(name, flat.ravel())]
        return found

    def residuals(self, vectors: np.ndarray, u: np.ndarray) -> np.ndarray:
        """(how many vectors, how many pieces): the largest difference in each piece, relative to the piece."""
        with np.errstate(all="ignore"):
            return np.stack([np.max(np.abs(vectors[:, i] - u[i]), axis=1, initial=0.0) / max(s, np.max(np.abs(u[i]), initial=0.0))
                             for (_, i), s in zip(self.pieces, self.sizes)], 1)

    def of(self, slip: Slip | tuple[Slip, Slip], g: np.ndarray) -> np.ndarray:
        """The gradients with a slip, which may have been found on another probe; ``g`` those that it is to change where it comes last."""
        r = self.reverse
        if isinstance(slip, tuple):               # several together
            return r.run({e: change for one in slip if one.number is not None
                          for e, change in self.slips.found[one.number].changes.items()}).flat()
        if slip.kind == "weights":
            C, m = r.terms(), slip.factor
            return r.outside + sum((m[t - 1, k - 1] if k else 1) * c for (t, k), c in C.items() if not k or np.isfinite(m[t - 1, k - 1]))
        if slip.number is None:
            return slip.factor * g if slip.kind == "scale" else np.clip(g, -slip.factor, slip.factor)
        v = np.asarray(self.slips.found[slip.number].gradients(r), float)
        return self.right + slip.factor * v if slip.direction else v


def _tried(slip: Slip, reverse: Reverse) -> np.ndarray:
    """A slip's gradients; NaN where it cannot be computed, such as the exponential of a matrix that has grown without bound."""
    try:
        return np.asarray(slip.gradients(reverse), float)
    except (OverflowError, FloatingPointError, np.linalg.LinAlgError):
        return np.full(sum(reverse.value(i).size for i in reverse.leaves.values()), np.nan)
