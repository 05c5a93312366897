"""NumPy's functions of elements, and reductions, as compositions of the table's ops: their gradients follow, no rule is needed.

The first line of a docstring says what the function is made of, or what of NumPy's is not taken; docs/numpy.md shows it.
"""
from __future__ import annotations

import math
from typing import Sequence

import numpy as np

from ..ops.calls import Array, Axis, axes_from_end, axis_from_start
from .composition import composition


def floating(x: Array) -> Array:
    """Integers as floats: their negatives, squares and products overflow without a word."""
    return x * 1.0 if x.dtype.kind in "biu" else x


# ---- elements -------------------------------------------------------------------------------------------------------
@composition("positive", "copy")
def positive(x: Array) -> Array:
    """x · 1"""
    return x * 1


@composition("astype")
def astype(x: Array, dtype: type | np.dtype | str) -> Array:
    """x.astype(dtype)"""
    return x.astype(dtype)


@composition("fabs")
def fabs(x: Array) -> Array:
    """absolute"""
    return np.abs(floating(x))


@composition("reciprocal")
def reciprocal(x: Array) -> Array:
    """1 / x"""
    return 1 / x


@composition("deg2rad", "radians")
def radians(x: Array) -> Array:
    """x · π / 180"""
    return x * (np.pi / 180)


@composition("rad2deg", "degrees")
def degrees(x: Array) -> Array:
    """x · 180 / π"""
    return x * (180 / np.pi)


@composition("exp2")
def exp2(x: Array) -> Array:
    """2^x"""
    return 2 ** x


@composition("log2")
def log2(x: Array) -> Array:
    """log(x) / log 2"""
    return np.log(x) / np.log(2)


@composition("log10")
def log10(x: Array) -> Array:
    """log(x) / log 10"""
    return np.log(x) / np.log(10)


@composition("logaddexp")
def logaddexp(a: Array, b: Array) -> Array:
    """max(a, b) + log(1 + exp(-|a - b|))"""
    same = np.equal(a, b)                               # ∞ - ∞ would be NaN
    apart = np.where(same, 0, a) - np.where(same, 0, b)
    return np.maximum(a, b) + np.log1p(np.exp(-np.abs(apart)))


@composition("tan")
def tan(x: Array) -> Array:
    """sin x / cos x"""
    return np.sin(x) / np.cos(x)


@composition("sinh")
def sinh(x: Array) -> Array:
    """(expm1(x) - expm1(-x)) / 2, exact also near 0"""
    x = floating(x)
    return (np.expm1(x) - np.expm1(-x)) * 0.5


@composition("cosh")
def cosh(x: Array) -> Array:
    """(exp x + exp(-x)) / 2"""
    x = floating(x)
    return (np.exp(x) + np.exp(-x)) * 0.5


@composition("arctanh")
def arctanh(x: Array) -> Array:
    """(log1p(x) - log1p(-x)) / 2, exact also near 0"""
    return (np.log1p(x) - np.log1p(-x)) * 0.5


@composition("clip")
def clip(x: Array, a_min: Array | None = None, a_max: Array | None = None, *, min: Array | None = None, max: Array | None = None) -> Array:
    """maximum, then minimum"""
    low, high = a_min if min is None else min, a_max if max is None else max
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


@composition("real")
def real(x: Array) -> Array:
    """x itself; complex numbers occur in checks only, where a plain array is meant"""
    return np.real(x.data) if x.dtype.kind == "c" else x


@composition("nan_to_num")
def nan_to_num(x: Array, *, nan: Array = 0.0, posinf: Array | None = None, neginf: Array | None = None) -> Array:
    """where; the slope is 0 where a number was put in"""
    x = np.where(np.isnan(x), nan, x)
    for infinity, put in ((np.inf, posinf), (-np.inf, neginf)):
        x = np.where(x == infinity, np.copysign(np.finfo(x.dtype).max, infinity) if put is None else put, x)
    return x


@composition("select")
def select(conditions: Sequence[Array], choices: Sequence[Array], default: Array = 0) -> Array:
    """where, the last condition first"""
    if any(getattr(c, "dtype", None) != bool for c in conditions):
        raise TypeError("select takes conditions that are arrays of bools, as comparisons give them")
    for condition, choice in list(zip(conditions, choices, strict=True))[::-1]:
        default = np.where(condition, choice, default)
    return default


@composition("polyval")
def polyval(p: Array, x: Array) -> Array:
    """Horner's rule"""
    if np.ndim(p) != 1:
        raise ValueError(f"polyval got coefficients of shape {np.shape(p)}; expected a vector")
    y = np.zeros(np.shape(x))
    for i in range(len(p)):
        y = y * x + p[i]
    return y


@composition("linspace")
def linspace(start: Array, stop: Array, num: int = 50, endpoint: bool = True) -> Array:
    """(1 - t) · start + t · stop"""
    t = np.reshape(np.linspace(0, 1, num, endpoint), (num,) + (1,) * max(np.ndim(start), np.ndim(stop)))
    return (1 - t) * start + t * stop


# ---- reductions -----------------------------------------------------------------------------------------------------
def root(s: Array) -> Array:
    """√s for a sum of squares. At s = 0 it has no slope; 0 is taken, as of |x| at 0, and not the 0 · ∞ = NaN of the chain rule."""
    nothing = s == 0
    if isinstance(nothing, (np.ndarray, np.bool)) and not nothing.any():
        return np.sqrt(s)
    return np.where(nothing, 0, np.sqrt(np.where(nothing, 1, s)))


@composition("std")
def std(x: Array, axis: Axis = None, ddof: float = 0, keepdims: bool = False) -> Array:
    """√var; the slope is 0 where it is 0"""
    return root(np.var(x, axis=axis, ddof=ddof, keepdims=keepdims))


@composition("ptp")
def ptp(x: Array, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """max - min"""
    return np.max(x, axis=axis, keepdims=keepdims) - np.min(x, axis=axis, keepdims=keepdims)


@composition("average")
def average(x: Array, axis: Axis = None, weights: Array | None = None, *, keepdims: bool = False) -> Array:
    """mean, or Σ w x / Σ w with weights of x's shape"""
    if weights is None:
        return np.mean(x, axis=axis, keepdims=keepdims)
    weights = (np.asarray(weights) if isinstance(weights, (list, tuple)) else weights) * 1.0      # products of integers overflow
    if np.shape(weights) != np.shape(x):
        if not isinstance(axis, (int, np.integer)) or np.shape(weights) != (np.shape(x)[axis_from_start(axis, np.ndim(x))],):
            raise ValueError(f"average got weights of shape {np.shape(weights)} for shape {np.shape(x)}, axis {axis!r}; expected equal "
                             "shapes, or one weight for each position of one axis")
        weights = np.reshape(weights, np.shape(weights) + (1,) * (np.ndim(x) - 1 - axis_from_start(axis, np.ndim(x))))
    total = np.sum(weights * np.ones(np.shape(x)), axis=axis, keepdims=keepdims)
    if np.any(total == 0):
        raise ValueError(f"average got weights of shape {np.shape(weights)} whose sum is zero")
    return np.sum(x * weights, axis=axis, keepdims=keepdims) / total


@composition("nansum")
def nansum(x: Array, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """sum of where"""
    return np.sum(np.where(np.isnan(x), 0, x), axis=axis, keepdims=keepdims)


@composition("cumulative_sum")
def cumulative_sum(x: Array, /, *, axis: int | None = None) -> Array:
    """cumsum"""
    if axis is None and np.ndim(x) != 1:
        raise ValueError(f"cumulative_sum of shape {np.shape(x)} needs an axis")
    return np.cumsum(x, axis=0 if axis is None else axis)


@composition("diff")
def diff(x: Array, n: int = 1, axis: int = -1) -> Array:
    """slices, subtracted"""
    if n < 0:
        raise ValueError(f"diff got n={n}; expected 0 or more")
    lead = (slice(None),) * axis_from_start(axis, np.ndim(x))
    for _ in range(n):
        x = x[(*lead, slice(1, None))] - x[(*lead, slice(None, -1))]
    return x


@composition("trapezoid")
def trapezoid(y: Array, x: Array | None = None, dx: Array = 1.0, axis: int = -1) -> Array:
    """½ Σ (y_i + y_(i+1)) (x_(i+1) - x_i)"""
    y = np.moveaxis(y, axis, -1)
    dx = dx if x is None else np.diff(x if np.ndim(x) == 1 else np.moveaxis(x, axis, -1))
    return np.sum((y[..., 1:] + y[..., :-1]) * dx * 0.5, axis=-1)


@composition("sort")
def sort(x: Array, axis: int | None = -1) -> Array:
    """take_along_axis of argsort"""
    x, axis = (np.ravel(x), 0) if axis is None else (x, axis)
    return np.take_along_axis(x, np.argsort(x, axis=axis, kind="stable"), axis=axis)


@composition("median")
def median(x: Array, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """the mean of the one or two in the middle of sort"""
    shape, axes = np.shape(x), axes_from_end(axis, np.ndim(x))
    n = math.prod(shape[a] for a in axes)
    if n == 0:
        raise ValueError(f"median of shape {shape} has nothing to take")
    rows = np.moveaxis(x, axes, range(-len(axes), 0))
    rows = np.sort(np.reshape(rows, (*np.shape(rows)[:len(shape) - len(axes)], n)), axis=-1)
    y, last = np.mean(rows[..., (n - 1) // 2:n // 2 + 1], axis=-1), rows[..., -1]
    y = np.where(np.isnan(last), last, y)               # NaN is sorted behind all numbers
    return np.expand_dims(y, axes) if keepdims else y
