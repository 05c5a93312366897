"""Calls of the table's ops that have no normal form of their own, composed of calls that have one.

Everything is written in NumPy's own functions and operators, so what runs on arrays runs on Tensors.
"""
from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from .calls import Array, Axis, _index, axes_from_end, cross_entropy, indexed
from .record import TABLE


def matmul(a: Array, b: Array) -> Array:
    """Vectors become matrices of one row or one column."""
    a, b = a if hasattr(a, "ndim") else np.asarray(a), b if hasattr(b, "ndim") else np.asarray(b)
    left, right = a.ndim == 1, b.ndim == 1
    if not (left or right) or not (a.ndim and b.ndim):
        return NotImplemented
    inner = a.shape[-1], b.shape[0 if right else -2]
    if inner[0] != inner[1]:
        raise ValueError(f"matmul got {a.shape} @ {b.shape}: the inner sizes {inner[0]} and {inner[1]} must be equal")
    y = np.matmul(a[None, :] if left else a, b[:, None] if right else b)
    return y.reshape(y.shape[:-2] + (() if left else y.shape[-2:-1]) + (() if right else y.shape[-1:]))


def solve(a: Array, b: Array) -> Array:
    """A vector becomes a matrix of one column."""
    return np.linalg.solve(a, np.reshape(b, (-1, 1)))[..., 0] if np.ndim(b) == 1 else NotImplemented


def softmax_cross_entropy(logits: Array, targets: Array, *, mask: Array | None = None, reduction: str = "mean") -> Array:
    """A single row is a batch of one: its class and its mask would be numbers, not arrays."""
    if getattr(logits, "ndim", 0) != 1:
        return NotImplemented
    cross_entropy(logits, targets, mask=mask, reduction=reduction)      # complains in the shapes that were given
    y = TABLE["softmax_cross_entropy"].function(logits[None], np.expand_dims(targets, 0), reduction=reduction,
                                                mask=mask if mask is None else np.reshape(mask, 1))
    return y[0] if reduction == "none" else y


def where(condition: Array, *choices: Array) -> Any:
    """Without choices NumPy says where the condition holds: indices, which have no gradient."""
    return NotImplemented if choices else np.nonzero(condition)


def cumsum(x: Array, axis: int | None = None) -> Array:
    """Without an axis NumPy takes the elements in a row."""
    return np.cumsum(np.ravel(x), axis=0) if axis is None and np.ndim(x) != 1 else NotImplemented


def concatenate(arrays: Sequence[Array], axis: int | None = 0) -> Array:
    """Without an axis NumPy joins the elements of all."""
    return np.concatenate([np.ravel(a) for a in arrays], axis=0) if axis is None else NotImplemented


def pad(x: Array, pad_width: Any, mode: str = "constant", constant_values: Array = 0) -> Array:
    """Several numbers to fill with are added to zeros; along axes that are not padded one row of them is enough."""
    if mode != "constant" or not np.ndim(constant_values):
        return NotImplemented
    pads = np.broadcast_to(pad_width, (np.ndim(x), 2))
    edges = np.pad(np.zeros([n if p.any() else 1 for n, p in zip(np.shape(x), pads)], x.dtype), pads, constant_values=constant_values)
    return np.pad(x, pads) + edges


def prod(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Several axes, one after the other."""
    n = np.ndim(x)
    axes = axes_from_end(axis, n)
    if len(axes) == 1:
        return NotImplemented
    for a in reversed(axes):
        x = np.prod(x, axis=a + n, keepdims=keepdims)
    return x


def getitem(x: Array, index: Any) -> Array:
    """Basic indices first when arrays are mixed in; arrays that stand apart are brought together in front.

    That is where NumPy has the axes of arrays between which a slice, a new axis or ``...`` stands, of length 0 too; leading axes of
    gradients belong there, so the array is transposed and only then indexed.
    """
    if not isinstance(index, tuple):
        return NotImplemented
    parts = [_index(i) for i in index]
    arrays = [n for n, i in enumerate(parts) if isinstance(i, (np.ndarray, int))]       # integers count as arrays beside arrays
    whole = all([isinstance(i, np.ndarray) or i is Ellipsis or i == slice(None) for i in parts])
    if all([isinstance(parts[n], int) for n in arrays]) or whole and arrays[-1] - arrays[0] < len(arrays):
        return NotImplemented
    full = indexed(x, tuple(parts))[1]["index"][1:]
    if not whole:
        x = x[tuple([slice(None) if isinstance(i, np.ndarray) else i for i in full])]
    rest = [i if isinstance(i, np.ndarray) else slice(None) for i in full if not isinstance(i, int)]
    order = sorted(range(len(rest)), key=lambda n: isinstance(rest[n], slice))
    if arrays[-1] - arrays[0] >= len(arrays) and order != sorted(order):
        x, rest = np.transpose(x, order), [rest[n] for n in order]
    return x[tuple(rest)]
