"""How people call NumPy's functions: methods and keywords of ufuncs, and keywords that change nothing, said as a Tensor answers them."""
from __future__ import annotations

from typing import Any

import numpy as np

from ..ops import FUNCTIONS, Op, logsumexp
from .refused import KEYWORDS, no_rule

_REDUCTIONS = {np.add: np.sum, np.multiply: np.prod, np.maximum: np.max, np.minimum: np.min, np.logaddexp: logsumexp}
_DEFAULTS = {"out": None, "dtype": None, "where": True}         # what these keywords are when they change nothing


def rephrased(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """(function, arguments, keywords) that say the same as ``ufunc.method(*inputs, **kwargs)``; TypeError with what to write instead."""
    kwargs = {k: v for k, v in kwargs.items() if v is not _DEFAULTS.get(k)}
    if any(x is not None for x in kwargs.pop("out", ())):
        raise TypeError(f"np.{ufunc.__name__} was asked to write a Tensor into an array (out=, or an in-place operator such as "
                        "a += t), which would cut it from the graph; write a = a + t")
    op = FUNCTIONS.get(ufunc)
    if method == "reduce" and ufunc in _REDUCTIONS:
        return _REDUCTIONS[ufunc], inputs, {"axis": 0, **kwargs}
    if method == "accumulate" and ufunc is np.add:
        return np.cumsum, inputs, {"axis": 0, **kwargs}
    if method == "__call__" and op is not None and type(op) is not Op:
        return op, inputs, kwargs                               # a composition may know them
    if not kwargs and method in ("__call__", "outer") and op is not None:
        a, *others = inputs
        return ufunc, (a if method == "__call__" else np.reshape(a, np.shape(a) + (1,) * np.ndim(others[0])), *others), {}
    raise TypeError(no_rule(ufunc, method, kwargs))


def fitting(name: str, kwargs: dict[str, Any], error: TypeError) -> dict[str, Any]:
    """kwargs without the one that the call of ``name`` does not know, if it changes nothing; else TypeError with what to write instead."""
    extra = [k for k in kwargs if f"'{k}'" in str(error)]
    if extra and extra[0] in _DEFAULTS and kwargs[extra[0]] is _DEFAULTS[extra[0]]:
        return {k: v for k, v in kwargs.items() if k != extra[0]}
    numpys = " (on Tensors minigrad takes NumPy's main arguments only)" * hasattr(np, name)
    raise TypeError(f"{name}: {str(error).split('() ')[-1]}{numpys}"
                    + "".join(f"; {k}=: {KEYWORDS[k]}" for k in extra if k in KEYWORDS)) from None
