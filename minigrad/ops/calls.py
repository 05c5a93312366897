"""How a call, written as NumPy has it, becomes inputs and static attributes in normal form.

Normal form: axes counted from the end, shapes as trailing shapes, an index that starts with ``...``, einsum with ``...``.
A rule written for one time step then also holds with the whole sequence stacked in front.
"""
from __future__ import annotations

import itertools
import math
import operator
from typing import Any, Callable, Iterable, Sequence, SupportsIndex

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

Array = Any                                         # an ndarray or a Tensor, often a number: NumPy's functions take all alike
Shape = tuple[int, ...]
Axis = SupportsIndex | tuple[SupportsIndex, ...] | None     # one, several or all
Call = tuple[tuple[Array, ...], dict[str, Any]]     # inputs, static attributes in normal form


def numbers(x: Any, what: str = "") -> np.ndarray:
    """What ops take besides Tensors, as an array; ``what`` says in errors who asks."""
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise ValueError(f"{what}expected a rectangular array of numbers, not {type(x).__name__} {repr(x)[:40]}: {error}") from None
    if array.dtype.kind not in "biufc":
        raise TypeError(f"{what}expected a Tensor, an array or a number, not {type(x).__name__} {repr(x)[:40]}")
    return array


def axis_from_start(axis: SupportsIndex, ndim: int) -> int:
    if isinstance(axis, bool):
        raise TypeError(f"axis must be an integer, not {axis}")
    return normalize_axis_index(operator.index(axis), ndim)


def axis_from_end(axis: SupportsIndex, ndim: int) -> int:
    return axis_from_start(axis, ndim) - ndim


def axes_from_end(axis: Axis, ndim: int) -> tuple[int, ...]:
    """None, an int or a tuple -> a sorted tuple of negative axes."""
    if isinstance(axis, tuple):
        return tuple(sorted([a - ndim for a in normalize_axis_tuple([axis_from_start(a, ndim) for a in axis], ndim)]))
    return tuple(range(-ndim, 0)) if axis is None else (axis_from_end(axis, ndim),)


def reduction(x: Array, axis: Axis = None, *, keepdims: bool = False) -> Call:
    return (x,), {"axis": axes_from_end(axis, x.ndim), "keepdims": bool(keepdims)}


def variance(x: Array, axis: Axis = None, ddof: float = 0, keepdims: bool = False) -> Call:
    axes = axes_from_end(axis, x.ndim)
    n = math.prod([x.shape[a] for a in axes])
    if n <= ddof:
        raise ValueError(f"var of {n} elements with ddof={ddof} does not exist")
    return (x,), {"axis": axes, "keepdims": bool(keepdims), "ddof": ddof}


def along(x: Array, axis: int = -1) -> Call:
    return (x,), dict(axis=axis_from_end(axis, np.ndim(x)))


def flipped(x: Array, axis: Axis = None) -> Call:
    return (x,), dict(axis=axes_from_end(axis, np.ndim(x)))


def reshaped(x: Array, shape: int | Sequence[int]) -> Call:
    old = np.shape(x)
    return (x,), dict(shape=np.empty(old, bool).reshape(shape).shape, rank=len(old))


def transposed(x: Array, axes: Sequence[int] | None = None) -> Call:
    n = np.ndim(x)
    axes = tuple(range(n))[::-1] if axes is None else normalize_axis_tuple([axis_from_start(a, n) for a in axes], n)
    if len(axes) != n:
        raise ValueError(f"transpose got axes {axes} for an array of {n} dimensions; each axis is needed once")
    return (x,), dict(axes=tuple([a - n for a in axes]))


def broadcasted(x: Array, shape: int | Sequence[int]) -> Call:
    return (x,), dict(shape=(shape,) if isinstance(shape, int) else tuple(shape))


def joined(arrays: Iterable[Array], axis: int = 0) -> Call:
    arrays = tuple(arrays)
    shapes = [np.shape(a) for a in arrays]
    if len({len(s) for s in shapes}) != 1:
        raise ValueError(f"concatenate got arrays of shapes {shapes[:6]}; expected a list of at least one, all with as many dimensions")
    axis = axis_from_end(axis, len(shapes[0]))
    return arrays, dict(axis=axis, starts=(0, *itertools.accumulate([s[axis] for s in shapes])))


def stacked(arrays: Iterable[Array], axis: int = 0) -> Call:
    arrays = tuple(arrays)
    return arrays, dict(axis=axis_from_end(axis, np.ndim(arrays[0]) + 1))


def padded(x: Array, pad_width: Any, mode: str = "constant", constant_values: Array = 0) -> Call:
    if mode != "constant":
        raise ValueError(f"pad of a Tensor knows mode='constant' only, got {mode!r}; build other paddings with np.concatenate")
    n = np.ndim(x)
    pads = tuple((operator.index(a), operator.index(b)) for a, b in np.broadcast_to(pad_width, (n, 2)))
    return (x,), dict(pads=pads, fill=numbers(constant_values, "pad: constant_values: ").item())


def triangle(x: Array, k: int = 0) -> Call:
    return (x,), dict(k=operator.index(k))


def normalised(x: Array, eps: float = 1e-5) -> Call:
    return (x,), dict(eps=float(eps))


def indexed(x: Array, index: Any) -> Call:
    """Full index tuple with ``...`` first; boolean masks become integer arrays."""
    shape, plain = np.shape(x), tuple([_index(i) for i in (index if isinstance(index, tuple) else (index,))])
    np.empty(shape, bool)[plain]        # NumPy's own errors
    full: list[Any] = []
    for i in plain:
        if isinstance(i, np.ndarray) and i.dtype == bool:
            full.extend(np.nonzero(i))
        else:
            full.append(i.copy() if isinstance(i, np.ndarray) else i)       # the caller's array may change
    used = sum(i is not None and i is not Ellipsis for i in full)
    at = next((n for n, i in enumerate(full) if i is Ellipsis), len(full))
    full[at:at + 1] = [slice(None)] * (len(shape) - used)
    return (x,), dict(index=(Ellipsis, *full))


def _index(i: Any) -> Any:
    """One part of an index: an array, a Python integer, a slice, None or ``...``."""
    if hasattr(type(i), "__array_function__") and not isinstance(i, np.ndarray):
        i = i.data
    elif isinstance(i, (list, tuple, range)):
        i = np.asarray(i, None if len(i) else int)
    if isinstance(i, (bool, np.bool_)):
        raise TypeError("indexing with a single bool is not supported; use np.where")
    return operator.index(i.item()) if isinstance(i, (np.ndarray, np.integer)) and not i.ndim and i.dtype != bool else i


def scattered(g: Array, index: Any, shape: Iterable[int]) -> Call:
    shape = tuple(shape)
    if not (type(index) is tuple and index and index[0] is Ellipsis):       # not yet in normal form
        index = indexed(np.broadcast_to(False, shape), index)[1]["index"]
    return (g,), dict(index=index, shape=shape)


def einsum_normal(subscripts: str, *operands: Array) -> Call:
    """Explicit output, the reader's own ``...`` spelled out in letters, then ``...`` in front of every term."""
    if not isinstance(subscripts, str):
        raise TypeError("einsum of Tensors takes the subscripts as one string, for example np.einsum('bi,ij->bj', x, W)")
    text = subscripts.replace(" ", "")
    names, arrow, out = text.partition("->")
    terms = names.split(",")
    if len(terms) != len(operands):
        raise ValueError(f"einsum '{subscripts}' names {len(terms)} operands, got {len(operands)}")
    hidden = [np.ndim(x) - len(t.replace("...", "")) if "..." in t else 0 for t, x in zip(terms, operands)]
    if any(hidden) and arrow and "..." not in out:
        raise ValueError(f"einsum '{subscripts}' has axes under ... that its result leaves out; write ... there, or letters to sum")
    free = "".join([c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in text][:max(hidden)])
    terms = [t.replace("...", free[len(free) - n:]) for t, n in zip(terms, hidden)]
    for term, x in zip(terms, operands):
        if len(term) != np.ndim(x):
            raise ValueError(f"einsum '{subscripts}' names {len(term)} axes of an operand of shape {np.shape(x)}; "
                             "write ... for those that stay")
        if len(set(term)) != len(term):
            raise ValueError(f"einsum '{subscripts}' repeats an index within one operand; "
                             "take the diagonal by indexing first: x[..., i, i] with i = np.arange(n)")
    once = [c for c in sorted({*"".join(terms)} - {*free}) if "".join(terms).count(c) == 1]
    return operands, dict(terms=tuple(terms), out=out.replace("...", free) if arrow else free + "".join(once))


_REDUCTIONS = frozenset(("mean", "sum", "none"))


def _loss(name: str, x: Array, targets: Array, reduction: str) -> tuple[Array, Array, bool]:
    """(x, targets, whether the targets' numbers are not known now: who runs the program that is traced looks at them)."""
    x = x if hasattr(x, "shape") else np.asarray(x)
    if reduction not in _REDUCTIONS:
        raise ValueError(f"{name} got reduction={reduction!r}; expected 'mean', 'sum' or 'none'")
    if reduction == "mean" and 0 in x.shape:
        raise ValueError(f"{name} got nothing, shape {x.shape}, whose mean does not exist: use reduction='sum'")
    if type(targets) is np.ndarray:
        return x, targets, False
    targets = targets if hasattr(type(targets), "__array_function__") else np.asarray(targets)
    return x, targets, getattr(type(targets), "traced", False)


def cross_entropy(logits: Array, targets: Array, *, mask: Array | None = None, reduction: str = "mean") -> Call:
    name = "softmax_cross_entropy"
    logits, targets, traced = _loss(name, logits, targets, reduction)
    shape, rows, kind = logits.shape, targets.shape, targets.dtype.kind
    if not shape:
        raise ValueError(f"{name} got logits without a class axis; expected shape (…, classes)")
    classes = rows == shape[:-1] and kind in "iu"
    if not classes and (rows != shape or kind not in "iufcb"):
        hint = "; integer classes must have an integer dtype: targets.astype(int)" if kind == "f" and rows == shape[:-1] else (
            "; were the arguments swapped? logits come first" if rows[:-1] == shape else "")
        raise ValueError(f"{name} got logits of shape {shape} and targets of shape {rows}, dtype {targets.dtype}; expected "
                         f"integer classes of shape {shape[:-1]} or probabilities of shape {shape}{hint}")
    if mask is not None:
        if type(mask) is np.ndarray or not hasattr(type(mask), "__array_function__"):
            mask = numbers(mask, f"{name}: mask: ")
        if mask.shape != shape[:-1]:
            raise ValueError(f"{name} got a mask of shape {mask.shape}; expected {shape[:-1]}, one entry per row of logits")
        if getattr(mask, "requires_grad", False):
            raise TypeError(f"{name} got a mask that requires gradients; a mask is a constant: pass mask.data, or multiply "
                            "the losses of reduction='none' by it")
        if reduction == "mean" and not np.any(mask):
            raise ValueError(f"{name} got a mask without a single unmasked element; their mean does not exist: use reduction='sum'")
    if classes:
        if not traced and targets.size:
            if mask is not None:
                targets = np.where(np.asarray(mask), targets, 0)        # what stands in a masked row does not matter
            given = np.asarray(targets)
            unsigned = given.astype(np.uintp)                      # a negative one wraps to a huge one
            if unsigned.item(unsigned.argmax()) >= shape[-1]:
                where = tuple(map(int, np.argwhere((given < 0) | (given >= shape[-1]))[0]))
                raise ValueError(f"{name} got target {given[where]} at {where} for logits of shape {shape}; "
                                 f"expected class numbers 0 … {shape[-1] - 1}")
    elif not traced and not getattr(targets, "requires_grad", False):
        targets = np.asarray(targets).astype(logits.dtype if logits.dtype.kind in "fc" else float, copy=False)    # float32 stays float32
    return (logits, targets) if mask is None else (logits, targets, mask), {"reduction": reduction, "rank": len(shape) - 1}


def elementwise_loss(name: str) -> Callable[..., Call]:
    def call(x: Array, targets: Array, *, reduction: str = "mean") -> Call:
        x, targets, _ = _loss(name, x, targets, reduction)
        if type(targets) is np.ndarray and x.dtype.kind == "f":
            targets = targets.astype(x.dtype, copy=False)       # constants take the predictions' dtype: float32 stays float32
        if targets.shape != x.shape:
            raise ValueError(f"{name} got predictions of shape {x.shape} and targets of shape {targets.shape}; expected equal shapes: "
                             "reshape one of them")
        return (x, targets), dict(reduction=reduction, rank=x.ndim)
    return call
