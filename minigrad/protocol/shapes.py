"""NumPy's functions that move elements about, as compositions of reshape, transpose, concatenate and indexing.

The first line of a docstring says what the function is made of, or what of NumPy's is not taken; docs/numpy.md shows it.
"""
from __future__ import annotations

import operator
from typing import Any, Callable, Iterable, Sequence

import numpy as np

from ..ops.calls import Array, Shape, axes_from_end, axis_from_start
from .composition import composition

Axes = int | tuple[int, ...] | list[int] | range        # one or several
Parts = int | Sequence[int]                             # how many, or where to cut


def _axes(axis: Axes) -> tuple[int, ...]:
    return tuple(axis) if isinstance(axis, (tuple, list, range, np.ndarray)) else (axis,)


def _at(x: Array, axis: int, index: Any) -> Array:
    """x[…, index, …] with ``index`` at ``axis``."""
    return x[(slice(None),) * axis_from_start(axis, np.ndim(x)) + (index,)]


def _arrays(given: Iterable[Array]) -> list[Array]:
    """Lists, numbers and what else may stand beside a Tensor, as arrays."""
    return [x if hasattr(type(x), "__array_function__") else np.asarray(x) for x in given]


# ---- the same elements in another shape ------------------------------------------------------------------------------
@composition("swapaxes")
def swapaxes(x: Array, a: int, b: int) -> Array:
    """a transpose"""
    n = np.ndim(x)
    axes, a, b = list(range(n)), axis_from_start(a, n), axis_from_start(b, n)
    axes[a], axes[b] = b, a
    return np.transpose(x, axes)


@composition("moveaxis")
def moveaxis(x: Array, source: Axes, destination: Axes) -> Array:
    """a transpose"""
    n = np.ndim(x)
    source, destination = ([axis_from_start(a, n) for a in _axes(axes)] for axes in (source, destination))
    if len(set(source)) != len(source) or len(set(destination)) != len(destination) or len(source) != len(destination):
        raise ValueError(f"moveaxis got source={source} and destination={destination}; expected as many different axes in both")
    rest = iter(a for a in range(n) if a not in source)
    place = dict(zip(destination, source))
    return np.transpose(x, [place[i] if i in place else next(rest) for i in range(n)])


@composition("rollaxis")
def rollaxis(x: Array, axis: int, start: int = 0) -> Array:
    """a transpose"""
    n = np.ndim(x)
    axis, start = axis_from_start(axis, n), start + n if start < 0 else start
    return np.moveaxis(x, axis, start - (axis < start))


@composition("matrix_transpose", "linalg.matrix_transpose")
def matrix_transpose(x: Array) -> Array:
    """the last two axes swapped, as x.mT"""
    return np.swapaxes(x, -1, -2)


@composition("expand_dims")
def expand_dims(x: Array, axis: Axes) -> Array:
    """a reshape"""
    axes = _axes(axis)
    n = np.ndim(x) + len(axes)
    new, old = axes_from_end(axes, n), iter(np.shape(x))
    return np.reshape(x, tuple(1 if i in new else next(old) for i in range(-n, 0)))


@composition("squeeze")
def squeeze(x: Array, axis: Axes | None = None) -> Array:
    """a reshape"""
    n, shape = np.ndim(x), np.shape(x)
    axes = [i for i in range(-n, 0) if shape[i] == 1] if axis is None else axes_from_end(_axes(axis), n)
    if any(shape[a] != 1 for a in axes):
        raise ValueError(f"squeeze got axis {axis} of shape {shape}; only axes of length 1 can go")
    return np.reshape(x, tuple(shape[i] for i in range(-n, 0) if i not in axes))


@composition("ravel")
def ravel(x: Array) -> Array:
    """a reshape, in C order"""
    return np.reshape(x, (-1,))


@composition("atleast_1d")
def atleast_1d(*arrays: Array) -> Array | tuple[Array, ...]:
    """a reshape of numbers"""
    arrays = tuple(np.reshape(x, (1,)) if np.ndim(x) == 0 else x for x in _arrays(arrays))
    return arrays[0] if len(arrays) == 1 else arrays


@composition("atleast_2d")
def atleast_2d(*arrays: Array) -> Array | tuple[Array, ...]:
    """a reshape of numbers and vectors, to one row"""
    arrays = tuple(np.reshape(x, (1, np.size(x))) if np.ndim(x) < 2 else x for x in _arrays(arrays))
    return arrays[0] if len(arrays) == 1 else arrays


@composition("atleast_3d")
def atleast_3d(*arrays: Array) -> Array | tuple[Array, ...]:
    """a reshape of what has less than three axes"""
    arrays = tuple(x if np.ndim(x) > 2 else np.reshape(x, (*np.shape(x), 1) if np.ndim(x) == 2 else (1, np.size(x), 1))
                   for x in _arrays(arrays))
    return arrays[0] if len(arrays) == 1 else arrays


@composition("broadcast_arrays")
def broadcast_arrays(*arrays: Array) -> tuple[Array, ...]:
    """each by broadcast_to"""
    shape = np.broadcast_shapes(*(np.shape(x) for x in arrays))
    return tuple(np.broadcast_to(x, shape) for x in arrays)


@composition("fliplr")
def fliplr(x: Array) -> Array:
    """flip along axis 1"""
    return np.flip(x, 1)


@composition("flipud")
def flipud(x: Array) -> Array:
    """flip along axis 0"""
    return np.flip(x, 0)


@composition("rot90")
def rot90(x: Array, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Array:
    """flips and a transpose"""
    first, second = (axis_from_start(a, np.ndim(x)) for a in axes)
    if first == second:
        raise ValueError(f"rot90 got axes {axes}; expected two different ones")
    for _ in range(k % 4):
        x = np.flip(np.swapaxes(x, first, second), first)
    return x


@composition("roll")
def roll(x: Array, shift: int, axis: int | None = None) -> Array:
    """two slices, concatenated; along one axis"""
    if axis is None:
        return np.reshape(np.roll(np.ravel(x), shift, 0), np.shape(x))
    if not isinstance(axis, (int, np.integer)) or not isinstance(shift, (int, np.integer)):
        raise ValueError(f"roll of a Tensor takes one axis, got {axis!r}; roll one after the other")
    n = np.shape(x)[axis_from_start(axis, np.ndim(x))]
    return np.concatenate(np.split(x, [n - shift % n], axis=axis)[::-1], axis=axis) if n else x


# ---- parts ----------------------------------------------------------------------------------------------------------
@composition("take")
def take(x: Array, indices: Array, axis: int | None = None) -> Array:
    """indexing"""
    if axis is None:
        return np.ravel(x)[np.asarray(indices)]
    return _at(x, axis, np.asarray(indices))


@composition("take_along_axis")
def take_along_axis(x: Array, indices: Array, axis: int | None = -1) -> Array:
    """indexing"""
    indices = np.asarray(indices)
    if axis is None:
        x, axis = np.ravel(x), 0
    if indices.ndim != np.ndim(x):
        raise ValueError(f"take_along_axis got indices of shape {indices.shape} for shape {np.shape(x)}; expected as many axes")
    grid = list(np.ix_(*(np.arange(n) for n in indices.shape)))
    grid = [g if g.shape[i] == n or n != 1 else np.zeros_like(g) for i, (g, n) in enumerate(zip(grid, np.shape(x)))]
    grid[axis_from_start(axis, indices.ndim)] = indices
    return x[tuple(grid)]


@composition("compress")
def compress(condition: Array, x: Array, axis: int | None = None) -> Array:
    """indexing with the positions where the condition holds"""
    if np.ndim(condition) != 1:
        raise ValueError(f"compress got a condition of shape {np.shape(condition)}; expected one entry for each position of the axis")
    return np.take(x, np.flatnonzero(condition), axis=axis)


@composition("extract")
def extract(condition: Array, x: Array) -> Array:
    """indexing with the positions where the condition holds"""
    return np.ravel(x)[np.flatnonzero(condition)]


def _diagonal(first: int, second: int) -> Callable[..., Array]:
    def diagonal(x: Array, offset: int = 0, axis1: int = first, axis2: int = second) -> Array:
        """indexing"""
        if np.ndim(x) < 2:
            raise ValueError(f"diagonal needs two axes, got shape {np.shape(x)}")
        x = np.moveaxis(x, (axis1, axis2), (-2, -1))
        rows, columns = np.shape(x)[-2:]
        i = np.arange(max(0, min(rows, columns - offset) if offset > 0 else min(rows + offset, columns)))
        return x[..., i + max(0, -offset), i + max(0, offset)]
    return diagonal


composition("diagonal")(_diagonal(0, 1))
composition("linalg.diagonal")(_diagonal(-2, -1))


@composition("split")
def split(x: Array, parts: Parts, axis: int = 0) -> list[Array]:
    """slices"""
    n = np.shape(x)[axis_from_start(axis, np.ndim(x))]
    if isinstance(parts, (int, np.integer)) and (parts < 1 or n % parts):
        raise ValueError(f"split cannot cut an axis of length {n} into {parts} equal parts")
    return np.array_split(x, parts, axis)


@composition("array_split")
def array_split(x: Array, parts: Parts, axis: int = 0) -> list[Array]:
    """slices"""
    n = np.shape(x)[axis_from_start(axis, np.ndim(x))]
    if isinstance(parts, (int, np.integer)):
        if parts < 1:
            raise ValueError(f"array_split got {parts} parts; expected at least one")
        longer = n % parts
        stops = [n // parts * i + min(i, longer) for i in range(1, parts)]
    else:
        stops = list(parts)
    return [_at(x, axis, slice(a, b)) for a, b in zip([0, *stops], [*stops, n])]


@composition("hsplit")
def hsplit(x: Array, parts: Parts) -> list[Array]:
    """slices along axis 1 (of a vector along 0)"""
    return np.split(x, parts, axis=0 if np.ndim(x) == 1 else 1)


@composition("vsplit")
def vsplit(x: Array, parts: Parts) -> list[Array]:
    """slices along axis 0"""
    if np.ndim(x) < 2:
        raise ValueError(f"vsplit got shape {np.shape(x)}; expected at least two axes")
    return np.split(x, parts, axis=0)


@composition("dsplit")
def dsplit(x: Array, parts: Parts) -> list[Array]:
    """slices along axis 2"""
    return np.split(x, parts, axis=2)


@composition("unstack")
def unstack(x: Array, *, axis: int = 0) -> tuple[Array, ...]:
    """indexing, part by part"""
    n = np.shape(x)[axis_from_start(axis, np.ndim(x))]
    return tuple(_at(x, axis, i) for i in range(n))


# ---- joined and repeated ----------------------------------------------------------------------------------------------
@composition("hstack")
def hstack(arrays: Sequence[Array]) -> Array:
    """concatenate along axis 1 (of vectors along 0)"""
    arrays = [np.atleast_1d(a) for a in arrays]
    return np.concatenate(arrays, axis=0 if not arrays or np.ndim(arrays[0]) == 1 else 1)


@composition("vstack")
def vstack(arrays: Sequence[Array]) -> Array:
    """concatenate along axis 0, vectors as rows"""
    return np.concatenate([np.atleast_2d(a) for a in arrays], axis=0)


@composition("dstack")
def dstack(arrays: Sequence[Array]) -> Array:
    """concatenate along axis 2"""
    return np.concatenate([np.atleast_3d(a) for a in arrays], axis=2)


@composition("column_stack")
def column_stack(arrays: Sequence[Array]) -> Array:
    """concatenate along axis 1, vectors as columns"""
    return np.concatenate([np.reshape(a, (np.size(a), 1)) if np.ndim(a) < 2 else a for a in arrays], axis=1)


@composition("append")
def append(x: Array, values: Array, axis: int | None = None) -> Array:
    """concatenate"""
    return np.concatenate([np.ravel(x), np.ravel(values)] if axis is None else [x, values], axis=0 if axis is None else axis)


@composition("repeat")
def repeat(x: Array, repeats: Array, axis: int | None = None) -> Array:
    """indexing with every position as often as it is repeated"""
    repeats = np.asarray(repeats)
    if repeats.dtype.kind not in "biu":
        raise TypeError(f"repeat got repeats of dtype {repeats.dtype}; expected integers")
    x, axis = (np.ravel(x), 0) if axis is None else (x, axis_from_start(axis, np.ndim(x)))
    return np.take(x, np.repeat(np.arange(np.shape(x)[axis]), repeats), axis=axis)


@composition("tile")
def tile(x: Array, reps: Axes) -> Array:
    """concatenate, axis by axis"""
    reps = [operator.index(n) for n in _axes(reps)]
    x = np.reshape(x, (1,) * (len(reps) - np.ndim(x)) + np.shape(x))
    for axis, n in zip(range(-len(reps), 0), reps):
        x = np.take(x, np.tile(np.arange(np.shape(x)[axis]), n), axis=axis)
    return x


@composition("diag")
def diag(x: Array, k: int = 0) -> Array:
    """indexing of a matrix; where around a vector"""
    if np.ndim(x) == 2:
        return np.diagonal(x, k)
    if np.ndim(x) != 1:
        raise ValueError(f"diag needs a vector or a matrix, got shape {np.shape(x)}")
    n = np.size(x) + abs(k)
    return np.where(np.eye(n, k=k, dtype=bool), np.take(x, np.clip(np.arange(n) + min(k, 0), 0, np.size(x) - 1))[:, None], 0)


@composition("full_like")
def full_like(x: Array, fill_value: Array, shape: int | Shape | None = None) -> Array:
    """broadcast_to of the fill; nothing flows into x"""
    shape = np.shape(x) if shape is None else shape
    if not hasattr(fill_value, "requires_grad"):
        return np.full(shape, fill_value, x.dtype)
    if x.dtype.kind in "biu" and fill_value.requires_grad:
        raise TypeError(f"full_like of a Tensor of dtype {x.dtype} would cut the fill from the graph; use np.broadcast_to(fill, shape)")
    return np.broadcast_to(fill_value, shape).astype(x.dtype)
