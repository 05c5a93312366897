"""NumPy's products and norms as compositions of the table's ops: their gradients follow, no rule is needed.

The first line of a docstring says what the function is made of, or what of NumPy's is not taken; docs/numpy.md shows it.
"""
from __future__ import annotations

import functools
import math
from typing import Literal, Sequence

import numpy as np

from ..ops.calls import Array, Axis, axis_from_start
from .composition import composition
from .arithmetic import floating, root


def _least(name: str, *needed: tuple[Array, int]) -> None:
    """ValueError unless every array has as many axes as it needs."""
    if any(np.ndim(x) < n for x, n in needed):
        raise ValueError(f"{name} got shapes {', '.join(str(np.shape(x)) for x, _ in needed)}; expected at least "
                         f"{' and '.join(str(n) for _, n in needed)} axes")


@composition("linalg.outer")
def outer_of_vectors(a: Array, b: Array) -> Array:
    """as outer, of two vectors"""
    if np.ndim(a) != 1 or np.ndim(b) != 1:
        raise ValueError(f"linalg.outer got shapes {np.shape(a)} and {np.shape(b)}; expected two vectors")
    return np.outer(a, b)


@composition("outer")
def outer(a: Array, b: Array) -> Array:
    """the product of a column and a row"""
    return np.ravel(a)[:, None] * np.ravel(b)[None, :]


@composition("linalg.matmul")
def product(a: Array, b: Array) -> Array:
    """matmul"""
    return np.matmul(a, b)


@composition("dot")
def dot(a: Array, b: Array) -> Array:
    """a product of numbers, matmul of others; of at most two dimensions on the right"""
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return a * b
    if np.ndim(b) > 2:
        raise ValueError("dot of more than two dimensions is not recorded; use matmul or einsum")
    return np.matmul(a, b)


@composition("vdot")
def vdot(a: Array, b: Array) -> Array:
    """Σ a b over all elements"""
    if np.size(a) != np.size(b):
        raise ValueError(f"vdot got shapes {np.shape(a)} and {np.shape(b)}; expected as many elements in both")
    return np.sum(np.ravel(a) * np.ravel(b))


@composition("vecdot", "linalg.vecdot")
def vecdot(a: Array, b: Array, *, axis: int = -1) -> Array:
    """Σ a b along an axis"""
    _least("vecdot", (a, 1), (b, 1))
    if np.shape(a)[axis] != np.shape(b)[axis]:
        raise ValueError(f"vecdot got shapes {np.shape(a)} and {np.shape(b)}; expected equal lengths along axis {axis}")
    return np.sum(a * b, axis=axis)


@composition("matvec")
def matvec(a: Array, b: Array) -> Array:
    """matmul with a column"""
    _least("matvec", (a, 2), (b, 1))
    return np.squeeze(np.matmul(a, np.expand_dims(b, -1)), -1)


@composition("vecmat")
def vecmat(a: Array, b: Array) -> Array:
    """matmul with a row"""
    _least("vecmat", (a, 1), (b, 2))
    return np.squeeze(np.matmul(np.expand_dims(a, -2), b), -2)


@composition("inner")
def inner(a: Array, b: Array) -> Array:
    """a product of numbers, tensordot over the last axes of others"""
    return a * b if np.ndim(a) == 0 or np.ndim(b) == 0 else np.tensordot(a, b, (-1, -1))


@composition("tensordot", "linalg.tensordot")
def tensordot(a: Array, b: Array, axes: int | Sequence[int | Sequence[int]] = 2) -> Array:
    """transposes and reshapes around matmul"""
    m, n = np.ndim(a), np.ndim(b)
    if isinstance(axes, (int, np.integer)):
        left, right = list(range(m - axes, m)), list(range(axes))
    else:
        left, right = ([i] if isinstance(i, (int, np.integer)) else list(i) for i in axes)
    left, right = [axis_from_start(i, m) for i in left], [axis_from_start(i, n) for i in right]
    if [np.shape(a)[i] for i in left] != [np.shape(b)[i] for i in right]:
        raise ValueError(f"tensordot got shapes {np.shape(a)} and {np.shape(b)}, axes {axes}; the axes summed over must have equal lengths")
    kept_left, kept_right = [i for i in range(m) if i not in left], [i for i in range(n) if i not in right]
    shape = [np.shape(a)[i] for i in kept_left] + [np.shape(b)[i] for i in kept_right]
    size = math.prod(np.shape(a)[i] for i in left)
    rows, columns = math.prod(shape[:len(kept_left)]), math.prod(shape[len(kept_left):])
    a, b = np.transpose(a, kept_left + left), np.transpose(b, right + kept_right)
    return np.reshape(np.matmul(np.reshape(a, (rows, size)), np.reshape(b, (size, columns))), shape)


@composition("kron")
def kron(a: Array, b: Array) -> Array:
    """an outer product, reshaped"""
    n = max(np.ndim(a), np.ndim(b))
    one, two = ((1,) * (n - np.ndim(x)) + np.shape(x) for x in (a, b))
    left = np.reshape(a, [k for i in one for k in (i, 1)])
    right = np.reshape(b, [k for i in two for k in (1, i)])
    return np.reshape(left * right, [i * j for i, j in zip(one, two)])


@composition("cross", "linalg.cross")
def cross(a: Array, b: Array, *, axis: int = -1) -> Array:
    """of vectors of three: two products, subtracted"""
    a, b = (np.moveaxis(x, axis, -1) if axis != -1 else x for x in (a, b))
    if np.shape(a)[-1:] != (3,) or np.shape(b)[-1:] != (3,):
        raise ValueError(f"cross of Tensors takes vectors of 3, got shapes {np.shape(a)} and {np.shape(b)}")
    after, before = np.array([1, 2, 0]), np.array([2, 0, 1])
    y = a[..., after] * b[..., before] - a[..., before] * b[..., after]
    return np.moveaxis(y, -1, axis) if axis != -1 else y


@composition("trace", "linalg.trace")
def trace(x: Array, offset: int = 0) -> Array:
    """the sum of the diagonal; of a matrix (for stacks: np.linalg.diagonal(x).sum(-1))"""
    if np.ndim(x) != 2:
        raise ValueError(f"trace of a Tensor takes a matrix, got shape {np.shape(x)}; of a stack write np.linalg.diagonal(x).sum(-1)")
    return np.sum(np.diagonal(x, offset))


@composition("linalg.norm")
def norm(x: Array, ord: Literal[2, "fro"] | None = None, axis: Axis = None, keepdims: bool = False) -> Array:
    """√ of the sum of squares, ord=None, 2 (vectors) or 'fro' (matrices); the slope is 0 where it is 0"""
    of_matrices = np.ndim(x) == 2 if axis is None else isinstance(axis, tuple) and len(axis) == 2
    if ord not in (None, "fro" if of_matrices else 2):
        raise ValueError(f"norm of a Tensor knows ord=None, 2 (vectors) and 'fro' (matrices), got {ord!r} for shape "
                         f"{np.shape(x)}; write others with np.sum and np.abs")
    if ord is not None and (np.ndim(x) == 0 or axis is None and np.ndim(x) > 2):
        raise ValueError(f"norm with ord={ord!r} and no axis takes a vector or a matrix, got shape {np.shape(x)}")
    return vector_norm(x, axis=axis, keepdims=keepdims)


@composition("linalg.vector_norm")
def vector_norm(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """as norm, ord 2"""
    return root(np.sum(np.square(floating(x)), axis=axis, keepdims=keepdims))


@composition("linalg.matrix_norm")
def matrix_norm(x: Array, *, keepdims: bool = False) -> Array:
    """as norm, ord 'fro'"""
    return vector_norm(x, axis=(-2, -1), keepdims=keepdims)


@composition("linalg.matrix_power")
def matrix_power(x: Array, n: int) -> Array:
    """matmul, and inv for a negative power"""
    if not isinstance(n, (int, np.integer)):
        raise TypeError(f"matrix_power got n={n!r}; expected an integer")
    if np.ndim(x) < 2 or np.shape(x)[-1] != np.shape(x)[-2]:
        raise ValueError(f"matrix_power got shape {np.shape(x)}; expected square matrices")
    if n < 0:
        return np.linalg.matrix_power(np.linalg.inv(x), -n)
    y = None
    while n:
        y, x, n = (x if y is None else np.matmul(y, x)) if n % 2 else y, np.matmul(x, x) if n > 1 else x, n // 2
    return np.where(np.zeros(np.shape(x), bool), x, np.eye(np.shape(x)[-1])) if y is None else y


@composition("linalg.multi_dot")
def multi_dot(arrays: Sequence[Array]) -> Array:
    """matmul from left to right"""
    if len(arrays) < 2:
        raise ValueError(f"multi_dot got {len(arrays)} arrays; expected at least two")
    if any(np.ndim(x) != 2 for x in arrays[1:-1]) or not {np.ndim(arrays[0]), np.ndim(arrays[-1])} <= {1, 2}:
        raise ValueError(f"multi_dot got shapes {[np.shape(x) for x in arrays]}; expected matrices, the first and the last may be vectors")
    return functools.reduce(np.matmul, arrays)
