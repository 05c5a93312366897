"""Gradients that a rule leaves to the walk: at an index of a larger array, or those of a matrix that many rows were multiplied with."""
from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, Sequence

import numpy as np

from .calls import Array, Shape
from .record import TABLE


class Later:
    """A gradient that a rule leaves to the walk to compute: ``dense()`` is the array; ``add`` sums several of one kind at once."""
    __slots__ = ()
    dense: Callable[[], Array]
    add: Callable[..., np.ndarray]    # (parts, total, lead)


class At(Later):
    """A gradient that lives at ``index`` only: added into a buffer that the walk owns, instead of a dense array each."""
    __slots__ = ("index", "g", "shape")

    def __init__(self, index: tuple[Any, ...], g: Array, shape: Shape) -> None:
        self.index, self.g, self.shape = index, g, shape

    def add_into(self, buffer: np.ndarray) -> None:
        if any([type(i) is np.ndarray for i in self.index]):
            np.add.at(buffer, self.index, self.g)       # an index may occur twice
        else:
            part = buffer[self.index]
            part += self.g

    def dense(self) -> Array:
        return TABLE["scatter_add"].function(self.g, self.index, self.shape)

    @staticmethod
    def add(parts: Sequence[At], total: np.ndarray | None, lead: int) -> np.ndarray:
        """total (None, or an array to write into) plus all parts; ``lead`` axes in front of the gradients are several walks."""
        first = parts[0]
        if total is None:
            total = np.zeros(first.g.shape[:lead] + first.shape, first.g.dtype)
            if first.g.nbytes > 2048 and _apart(parts):
                for part in parts:
                    total[part.index] = part.g      # where nothing is yet: half the time of adding
                return total
        for part in parts:
            part.add_into(total)
        return total


def _apart(parts: Sequence[At]) -> bool:
    """Whether no two parts meet: their slices of the last axis follow each other, as the gates of one packed array do."""
    last = [part.index[-1] for part in parts]
    if any([type(i) is not slice or i.step is not None for i in last]) or len({part.g.dtype for part in parts}) > 1 or \
            any([type(i) is np.ndarray for part in parts for i in part.index]):
        return False
    spans = sorted([i.indices(parts[0].shape[-1]) for i in last])
    return all([one[1] <= other[0] for one, other in itertools.pairwise(spans)])


class Rows(Later):
    """The gradient aᵀ g of a matrix that many rows were multiplied with: those of several steps are one product."""
    __slots__ = ("a", "g")

    def __init__(self, a: np.ndarray, g: np.ndarray) -> None:
        self.a, self.g = a, g

    def dense(self) -> np.ndarray:
        return np.matmul(self.a.mT, self.g)

    @staticmethod
    def add(parts: Sequence[Rows], total: np.ndarray | None, lead: int) -> np.ndarray:
        if lead:        # one by one, since a need not have these axes
            each = [np.add.reduce(d, axis=tuple(range(lead, d.ndim - 2))) for d in (part.dense() for part in parts)]
            new = functools.reduce(np.add, each)
        else:
            a, g = ([_rows(x) for x in xs] for xs in zip(*((p.a, p.g) for p in parts)))
            new = a[0].T.dot(g[0]) if len(a) == 1 else np.concatenate(a).T.dot(np.concatenate(g))
        return new if total is None else np.add(total, new, out=total)


def _rows(x: np.ndarray) -> np.ndarray:
    """A stack of matrices as one."""
    return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def scatter(g: np.ndarray, index: tuple[Any, ...], shape: Shape) -> np.ndarray:
    """Zeros of ``shape`` (leading axes of g in front) with g added at ``index``: the transpose of indexing."""
    g = np.asarray(g)
    return At.add([At(index, g, shape)], None, g.ndim - np.empty(shape, bool)[index].ndim)
