"""What NumPy's functions do with a Tensor when the op table and the compositions do not know them.

    PLAIN     passes through: the answer is a plain array or number and has no gradient anywhere
    INSTEAD   raises, and says what to write instead

Everything else raises too, with a general message. docs/numpy.md is made of these and of FUNCTIONS; functions are listed by
name, since not every NumPy has all of them.
"""
from __future__ import annotations

import operator
from typing import Any, Callable, Iterable

import numpy as np

from .composition import numpys

PLAIN = {
    "what it is": """shape ndim size result_type common_type can_cast min_scalar_type iscomplexobj isrealobj may_share_memory shares_memory
        einsum_path broadcast_shapes array2string array_repr array_str""",
    "comparisons and tests": """less less_equal greater greater_equal equal not_equal allclose isclose array_equal array_equiv any all isin
        isfinite isnan isinf isneginf isposinf isreal iscomplex signbit logical_and logical_or logical_not logical_xor""",
    "positions and counts": """argmax argmin argsort argpartition lexsort nanargmax nanargmin nonzero flatnonzero argwhere count_nonzero
        searchsorted digitize diag_indices_from tril_indices_from triu_indices_from""",
    "steps, whose slope is 0 wherever there is one": "sign floor ceil trunc rint round around fix floor_divide",
    "new arrays of a shape": "zeros_like ones_like empty_like",
}

_OWN = "enter it as an op of your own, one record with its rule (docs/write-an-op.md)"
_SET = "take the values by their positions: x[np.unique(x.data, return_index=True)[1]]"
_NAN = "leave them out first: x = x[~np.isnan(x)]"
_INTEGERS = "of integers, which have no gradient: take .data"
_WRITES = "a Tensor is not written into; choose with np.where(…), join with np.stack(…), add at positions with mg.scatter_add(…)"
_FILE = "save .data, or a Module's parameters with mg.save(path, module)"
_COUNTS = "counts have no gradient: take .data; weighted counts: mg.scatter_add(weights, (..., index), (size,))"
_EIGEN = f"{_OWN}; the eigenvalues of .data have no gradient"

INSTEAD = {
    "arctan atan": f"{_OWN}; its derivative is 1 / (1 + x²)",
    "arctan2 atan2": f"{_OWN}; its derivatives are b / (a² + b²) and -a / (a² + b²)",
    "arcsin asin": f"{_OWN}; its derivative is 1 / √(1 - x²)",
    "arccos acos": f"{_OWN}; its derivative is -1 / √(1 - x²)",
    "arcsinh asinh": f"{_OWN}; its derivative is 1 / √(1 + x²)",
    "arccosh acosh": f"{_OWN}; its derivative is 1 / √(x² - 1)",
    "cbrt": "np.sign(x) * np.abs(x) ** (1 / 3)",
    "hypot": "np.sqrt(a * a + b * b)",
    "float_power": "a ** b, or x.astype(float) ** b",
    "fmod": "a - b * np.trunc(a.data / b.data)",
    "remainder mod": "a - b * np.floor_divide(a, b)",
    "divmod": "q = np.floor_divide(a, b) and a - b * q",
    "modf": "np.trunc(x) and x - np.trunc(x)",
    "frexp ldexp": "x * 2.0 ** n",
    "fmax": "np.where(np.isnan(a), b, np.where(np.isnan(b), a, np.maximum(a, b)))",
    "fmin": "np.where(np.isnan(a), b, np.where(np.isnan(b), a, np.minimum(a, b)))",
    "copysign": "np.abs(a) * np.sign(b)",
    "heaviside": "np.where(x > 0, 1.0, np.where(x == 0, at_zero, 0.0))",
    "logaddexp2": "np.logaddexp(a * np.log(2), b * np.log(2)) / np.log(2)",
    "nextafter spacing": "take .data",
    "conjugate conj angle imag real_if_close isnat": "a Tensor is real; complex numbers pass through it for checks only: take .data",
    "sinc": "np.sin(np.pi * x) / (np.pi * x)", "i0 unwrap": "take .data if no gradient is meant to flow, else " + _OWN,
    "bitwise_and bitwise_or bitwise_xor bitwise_invert bitwise_not invert bitwise_count bitwise_left_shift bitwise_right_shift left_shift "
    "right_shift gcd lcm packbits unpackbits ix_ unravel_index ravel_multi_index": _INTEGERS,
    "cumprod cumulative_prod": "np.exp(np.cumsum(np.log(x), axis)) for positive x, or a loop with np.stack",
    "nanmax": "np.max(np.where(np.isnan(x), -np.inf, x))", "nanmin": "np.min(np.where(np.isnan(x), np.inf, x))",
    "nanmean": "np.nansum(x, axis) / np.sum(~np.isnan(x), axis)", "nanprod": "np.prod(np.where(np.isnan(x), 1, x))",
    "nancumsum": "np.cumsum(np.where(np.isnan(x), 0, x))", "nanmedian nanstd nanvar nancumprod nanpercentile nanquantile": _NAN,
    "percentile quantile": "x = np.sort(x), then interpolate between two of its elements",
    "partition sort_complex": "np.sort(x)",
    "corrcoef cov": "d = x - np.mean(x, axis=1, keepdims=True), then d @ d.T / (n - 1)",
    "unique unique_all unique_counts unique_inverse unique_values union1d intersect1d setdiff1d setxor1d": _SET,
    "histogram histogram2d histogramdd histogram_bin_edges bincount": _COUNTS,
    "copyto put place putmask put_along_axis fill_diagonal": _WRITES,
    "insert delete trim_zeros resize": "np.concatenate([…]) of slices, or x[positions to keep]",
    "block": "np.concatenate(…) of rows that are np.concatenate(…)",
    "meshgrid": "new axes, which broadcast: x[:, None], y[None, :]",
    "choose piecewise": "np.where(condition, a, b)",
    "diagflat": "np.diag(np.ravel(x))",
    "ediff1d": "np.diff(np.ravel(x))",
    "gradient": "(x[2:] - x[:-2]) / 2 in the middle, np.diff at the ends",
    "geomspace": "np.exp(np.linspace(np.log(a), np.log(b), n))", "logspace": "10 ** np.linspace(a, b, n)",
    "vander": "np.stack([x ** i for i in range(n)], axis=-1)",
    "convolve correlate": "a sum of shifted products: sum(kernel[i] * x[i:i + n] for i in range(len(kernel)))",
    "interp": "a + (b - a) * t of the two neighbours, found by np.searchsorted",
    "apply_along_axis apply_over_axes": "the function on all at once, or a loop with np.stack",
    "polyadd polysub polymul polyder polydiv polyint polyfit poly roots": "arithmetic on the coefficients, which are a Tensor",
    "save savez savez_compressed savetxt": _FILE,
    "busday_count busday_offset is_busday datetime_as_string": "dates are no Tensors: take .data",
    "linalg.det": f"{_OWN}; its derivative is det(x) inv(x)ᵀ",
    "linalg.slogdet": f"{_OWN}; the derivative of the logarithm is inv(x)ᵀ",
    "linalg.cholesky linalg.qr linalg.svd linalg.svdvals": f"{_OWN}; for a linear system np.linalg.solve is differentiated",
    "linalg.eig linalg.eigh linalg.eigvals linalg.eigvalsh": _EIGEN,
    "linalg.cond linalg.matrix_rank": "take .data: a measure of the matrix, not of the loss",
    "linalg.lstsq linalg.tensorsolve": "np.linalg.solve(a.mT @ a, a.mT @ b), for full column rank",
    "linalg.pinv linalg.tensorinv": "np.linalg.inv(x.mT @ x) @ x.mT, for full column rank",
}

METHODS = {"at": _WRITES, "reduceat": "np.add.reduce of slices, joined with np.stack",
           "accumulate": "np.cumsum for sums; for others a loop with np.stack", "outer": "f(a[:, None], b)",
           "reduce": "np.sum, np.prod, np.max, np.min, mg.logsumexp, or a loop"}
KEYWORDS = {"out": "a Tensor is not written into an array, which would cut it from the graph: write y = f(x)",
            "where": "choose with np.where(mask, …, …) before or after",
            "dtype": "convert with x.astype(dtype)", "initial": "combine the result with the number afterwards",
            "casting": "convert with x.astype(dtype)", "order": "a Tensor's elements stand in C order", "subok": "leave it out",
            "axes": "move the axes with np.moveaxis", "axis": "move the axis with np.moveaxis",
            "mode": "build the indices yourself", "method": "leave it out",
            "optimize": "leave it out", "like": "leave it out", "device": "leave it out", "copy": "leave it out"}


def _names(lists: Iterable[str]) -> list[str]:
    return [name for names in lists for name in names.split()]


PLAIN_FUNCTIONS = {numpys(name) for name in _names(PLAIN.values())} - {None}
OF_THE_REAL_PART = {np.less, np.less_equal, np.greater, np.greater_equal, operator.lt, operator.le, operator.gt, operator.ge,
                    np.sign, np.floor, np.ceil, np.trunc, np.rint, np.floor_divide}
_INSTEAD = {numpys(name): text for names, text in INSTEAD.items() for name in names.split() if numpys(name)}


def called(function: Callable[..., Any]) -> str:
    """A function as people write it: np.tanh, np.linalg.inv."""
    room = getattr(function, "__module__", None)        # ufuncs have none, be they NumPy's or SciPy's
    if not room:
        return f"np.{function.__name__}" if hasattr(np, function.__name__) else function.__name__
    return f"{room.replace('numpy', 'np')}.{function.__name__}"


def no_rule(function: Callable[..., Any], method: str = "__call__", keywords: Iterable[str] = ()) -> str:
    """The message for a call that would cut a Tensor from the graph: what it was, and what to write instead."""
    what = called(function) + ("" if method == "__call__" else f".{method}")
    if keywords:
        remedies = [f"{k}=: {KEYWORDS[k]}" for k in keywords if k in KEYWORDS]
        what += f" with {', '.join(f'{k}=' for k in keywords)}"
        return f"{what} has no gradient rule in minigrad; {'; '.join(remedies) or 'leave it out'}"
    remedy = METHODS.get(method) or _INSTEAD.get(function)
    remedy = f"write instead: {remedy}" if remedy else (
        "use one of the ops in minigrad/ops/table.py, write it with them, or take .data if no gradient is meant to flow")
    return f"{what} has no gradient rule in minigrad; {remedy}"
