"""NumPy functions that are compositions of the table's ops: their gradients follow, no rule is needed.

Everything is written in NumPy's own functions and operators, so what runs on arrays runs on Tensors.
"""
import numpy as np

from .calls import axis_from_start, indexed
from .record import composition


# ---- calls that have no normal form of their own --------------------------------------------------------------------
def matmul(a, b):
    """Vectors become matrices of one row or one column."""
    left, right = a.ndim == 1, b.ndim == 1
    if not (left or right):
        return NotImplemented
    inner = a.shape[-1], b.shape[0 if right else -2] if b.ndim else 0
    if a.ndim and b.ndim and inner[0] != inner[1]:
        raise ValueError(f"matmul got {a.shape} @ {b.shape}: the inner sizes {inner[0]} and {inner[1]} must be equal")
    y = np.matmul(a[None, :] if left else a, b[:, None] if right else b)
    return y.reshape(y.shape[:-2] + (() if left else y.shape[-2:-1]) + (() if right else y.shape[-1:]))


def solve(a, b):
    """A vector becomes a matrix of one column."""
    return np.linalg.solve(a, np.reshape(b, (-1, 1)))[..., 0] if np.ndim(b) == 1 else NotImplemented


def where(condition, *choices):
    """Without choices NumPy says where the condition holds: indices, which have no gradient."""
    return NotImplemented if choices else np.nonzero(condition)


def cumsum(x, axis=None):
    """Without an axis NumPy takes the elements in a row."""
    return np.cumsum(np.ravel(x), axis=0) if axis is None and np.ndim(x) != 1 else NotImplemented


def concatenate(arrays, axis=0):
    """Without an axis NumPy joins the elements of all."""
    return np.concatenate([np.ravel(a) for a in arrays], axis=0) if axis is None else NotImplemented


def prod(x, axis=None, keepdims=False):
    """Several axes, one after the other."""
    n = np.ndim(x)
    axes = tuple(range(n)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    if len(axes) == 1:
        return NotImplemented
    for a in sorted(axis_from_start(a, n) for a in axes)[::-1]:
        x = np.prod(x, axis=a, keepdims=keepdims)
    return x


def getitem(x, index):
    """Basic indices first when arrays are mixed in; arrays that stand apart are brought together first.

    NumPy moves the axes of separated index arrays to the very front, where leading axes belong: so the axes are brought
    together, indexed, and the result moved to where NumPy has it.
    """
    index = index if isinstance(index, tuple) else (index,)
    if all(i is None or i is Ellipsis or isinstance(i, (int, slice, np.integer)) for i in index):
        return NotImplemented
    full = indexed(x, index)[1]["index"][1:]
    arrays = [i for i in full if isinstance(i, np.ndarray)]
    if len(arrays) == 0 or all(isinstance(i, np.ndarray) or i == slice(None) for i in full):
        where = [n for n, i in enumerate(full) if isinstance(i, np.ndarray)]
        if not where or where[-1] - where[0] == len(where) - 1:
            return NotImplemented
        order = where + [n for n in range(len(full)) if n not in where]
        return np.transpose(x, order)[tuple(full[n] for n in where)]
    together = [n for n, i in enumerate(full) if isinstance(i, (np.ndarray, int))]
    apart = together[-1] - together[0] != len(together) - 1
    x = x[tuple(slice(None) if isinstance(i, np.ndarray) else i for i in full)]
    rest = [i if isinstance(i, np.ndarray) else slice(None) for i in full if not isinstance(i, int)]
    y = x[tuple(rest)]
    if apart and sum(isinstance(i, np.ndarray) for i in rest) and isinstance(rest[0], slice):
        where = [n for n, i in enumerate(rest) if isinstance(i, np.ndarray)]
        if where[-1] - where[0] == len(where) - 1:      # integers kept the arrays apart: NumPy puts their axes first
            depth = np.broadcast(*arrays).ndim
            y = np.moveaxis(y, range(where[0], where[0] + depth), range(depth))
    return y


# ---- shapes ---------------------------------------------------------------------------------------------------------
@composition(np.swapaxes)
def swapaxes(x, a, b):
    n = np.ndim(x)
    axes, a, b = list(range(n)), axis_from_start(a, n), axis_from_start(b, n)
    axes[a], axes[b] = b, a
    return np.transpose(x, axes)


@composition(np.moveaxis)
def moveaxis(x, source, destination):
    order = np.moveaxis(np.empty((1,) * 0 + tuple(range(1, np.ndim(x) + 1)), bool), source, destination).shape
    return np.transpose(x, [n - 1 for n in order])


@composition(np.matrix_transpose)
def matrix_transpose(x):
    return np.swapaxes(x, -1, -2)


@composition(np.expand_dims)
def expand_dims(x, axis):
    axes = axis if isinstance(axis, tuple) else (axis,)
    n = np.ndim(x) + len(axes)
    axes = {axis_from_start(a, n) for a in axes}
    old = iter(np.shape(x))
    return np.reshape(x, tuple(1 if i in axes else next(old) for i in range(n)))


@composition(np.squeeze)
def squeeze(x, axis=None):
    n, shape = np.ndim(x), np.shape(x)
    axes = [i for i in range(n) if shape[i] == 1] if axis is None else [
        axis_from_start(a, n) for a in (axis if isinstance(axis, tuple) else (axis,))]
    if any(shape[a] != 1 for a in axes):
        raise ValueError(f"squeeze got axis {axis} of shape {shape}; only axes of length 1 can go")
    return np.reshape(x, tuple(m for i, m in enumerate(shape) if i not in axes))


@composition(np.ravel)
def ravel(x):
    return np.reshape(x, (-1,))


@composition(np.split)
def split(x, parts, axis=0):
    lead = (slice(None),) * axis_from_start(axis, np.ndim(x))
    n = np.shape(x)[axis]
    if isinstance(parts, (int, np.integer)):
        if n % parts:
            raise ValueError(f"split cannot cut an axis of length {n} into {parts} equal parts")
        stops = [n // parts * i for i in range(1, parts)]
    else:
        stops = list(parts)
    return [x[(*lead, slice(a, b))] for a, b in zip([0, *stops], [*stops, n])]


@composition(np.take)
def take(x, indices, axis=None):
    if axis is None:
        return np.reshape(x, (-1,))[np.asarray(indices)]
    return x[(slice(None),) * axis_from_start(axis, np.ndim(x)) + (np.asarray(indices),)]


@composition(np.hstack)
def hstack(arrays):
    return np.concatenate(arrays, axis=0 if np.ndim(arrays[0]) == 1 else 1)


@composition(np.vstack)
def vstack(arrays):
    return np.concatenate([a[None] if np.ndim(a) == 1 else a for a in arrays], axis=0)


@composition(np.roll)
def roll(x, shift, axis=None):
    if axis is None:
        return np.reshape(np.roll(np.ravel(x), shift, 0), np.shape(x))
    if not isinstance(axis, (int, np.integer)):
        raise ValueError(f"roll of a Tensor takes one axis, got {axis!r}; roll one after the other")
    shift %= np.shape(x)[axis]
    return np.concatenate(np.split(x, [np.shape(x)[axis] - shift], axis=axis)[::-1], axis=axis)


# ---- arithmetic -----------------------------------------------------------------------------------------------------
@composition(np.outer)
def outer(a, b):
    return np.ravel(a)[:, None] * np.ravel(b)[None, :]


@composition(np.dot)
def dot(a, b):
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return a * b
    if np.ndim(b) > 2:
        raise ValueError("dot of more than two dimensions is not recorded; use matmul or einsum")
    return np.matmul(a, b)


@composition(np.vdot)
def vdot(a, b):
    return np.sum(np.ravel(a) * np.ravel(b))


@composition(np.clip)
def clip(x, a_min=None, a_max=None, *, min=None, max=None):
    low, high = a_min if min is None else min, a_max if max is None else max
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


@composition(np.std)
def std(x, axis=None, ddof=0, keepdims=False):
    return np.sqrt(np.var(x, axis=axis, ddof=ddof, keepdims=keepdims))


@composition(np.linalg.norm)
def norm(x, ord=None, axis=None, keepdims=False):
    of_matrices = np.ndim(x) == 2 if axis is None else isinstance(axis, tuple) and len(axis) == 2
    if ord not in (None, "fro" if of_matrices else 2):
        raise ValueError(f"norm of a Tensor knows ord=None, 2 (vectors) and 'fro' (matrices), got {ord!r} for shape "
                         f"{np.shape(x)}; write others with np.sum and np.abs")
    return np.sqrt(np.sum(np.square(x), axis=axis, keepdims=keepdims))


@composition(np.reciprocal)
def reciprocal(x):
    return 1 / x


@composition(np.real)
def real(x):
    """x itself; complex numbers occur in checks only, where a plain array is meant."""
    return np.real(x.data) if x.dtype.kind == "c" else x


@composition(np.positive)
def positive(x):
    return x * 1


@composition(np.logaddexp)
def logaddexp(a, b):
    """max(a, b) + log(1 + exp(-|a - b|))"""
    return np.maximum(a, b) + np.log1p(np.exp(-np.abs(a - b)))


@composition(np.tan)
def tan(x):
    return np.sin(x) / np.cos(x)


@composition(np.sinh)
def sinh(x):
    return (np.expm1(x) - np.expm1(-x)) * 0.5        # exact also near 0


@composition(np.cosh)
def cosh(x):
    return (np.exp(x) + np.exp(-x)) * 0.5
