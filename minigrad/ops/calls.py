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

Array = Any                                         # an ndarray or a Tensor, often a number: NumPy's functions take all alike
Shape = tuple[int, ...]
Axis = int | tuple[int, ...] | None                 # one, several or all
Call = tuple[tuple[Array, ...], dict[str, Any]]     # inputs, static attributes in normal form


def axes_from_end(axis: Axis, ndim: int) -> tuple[int, ...]:
    """None, an int or a tuple -> a sorted tuple of negative axes."""
    if axis is None:
        return tuple(range(-ndim, 0))
    if isinstance(axis, (int, np.integer)):
        return (axis_from_end(axis, ndim),)
    if not isinstance(axis, tuple):
        raise TypeError(f"axis must be an integer or a tuple of integers, not {axis!r}")
    axes = tuple([axis_from_end(a, ndim) for a in axis])
    if len(set(axes)) != len(axes):
        raise ValueError(f"axis {axis} names the same axis twice")
    return tuple(sorted(axes))


def axis_from_end(axis: SupportsIndex, ndim: int) -> int:
    if isinstance(axis, bool):
        raise TypeError(f"axis must be an integer, not {axis}")
    a = operator.index(axis)
    if not -ndim <= a < ndim:
        raise ValueError(f"axis {a} is out of range for an array of {ndim} dimensions"
                         + (f"; expected {-ndim} … {ndim - 1}" if ndim else ""))
    return a if a < 0 else a - ndim


def axis_from_start(axis: SupportsIndex, ndim: int) -> int:
    return axis_from_end(axis, ndim) + ndim


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


def reshaped(x: Array, shape: int | Sequence[int], *more: int) -> Call:
    if isinstance(shape, (dict, set, str)):
        raise TypeError(f"reshape got shape {shape!r}; expected integers")
    shape = (shape, *more) if isinstance(shape, (int, np.integer)) else tuple(shape)
    old = np.shape(x)
    size, asked = math.prod(old), math.prod(shape)
    if -1 in shape and asked < 0 and shape.count(-1) == 1 and size % asked == 0:
        shape, asked = tuple([-size // asked if n == -1 else int(n) for n in shape]), size
    if asked != size:
        raise ValueError(f"reshape cannot turn shape {old} ({size} elements) into {shape}")
    return (x,), dict(shape=shape, rank=len(old))


def transposed(x: Array, axes: Sequence[int] | None = None) -> Call:
    n = np.ndim(x)
    axes = tuple(range(n))[::-1] if axes is None else tuple(axis_from_start(a, n) for a in axes)
    if len(set(axes)) != n:
        raise ValueError(f"transpose got axes {axes} for an array of {n} dimensions; each axis is needed once")
    return (x,), dict(axes=tuple(a - n for a in axes))


def broadcasted(x: Array, shape: int | Sequence[int]) -> Call:
    return (x,), dict(shape=(shape,) if isinstance(shape, int) else tuple(shape))


def joined(arrays: Iterable[Array], axis: int = 0) -> Call:
    arrays = tuple(arrays)
    if not arrays:
        raise ValueError("concatenate got no arrays; at least one is needed")
    shapes = [np.shape(a) for a in arrays]
    if len({len(s) for s in shapes}) > 1:
        raise ValueError(f"concatenate got arrays of shapes {shapes[:6]}; all need the same number of dimensions")
    axis = axis_from_end(axis, len(shapes[0]))
    return arrays, dict(axis=axis, starts=(0, *itertools.accumulate(s[axis] for s in shapes)))


def stacked(arrays: Iterable[Array], axis: int = 0) -> Call:
    arrays = tuple(arrays)
    if not arrays:
        raise ValueError("stack got no arrays; at least one is needed")
    return arrays, dict(axis=axis_from_end(axis, np.ndim(arrays[0]) + 1))


def padded(x: Array, pad_width: Any, mode: str = "constant", constant_values: complex = 0) -> Call:
    if mode != "constant":
        raise ValueError(f"pad of a Tensor knows mode='constant' only, got {mode!r}; build other paddings with np.concatenate")
    n = np.ndim(x)
    pads = tuple((operator.index(a), operator.index(b)) for a, b in np.broadcast_to(pad_width, (n, 2)))
    return (x,), dict(pads=pads, fill=constant_values)


def triangle(x: Array, k: int = 0) -> Call:
    return (x,), dict(k=int(k))


def normalised(x: Array, eps: float = 1e-5) -> Call:
    return (x,), dict(eps=float(eps))


def indexed(x: Array, index: Any) -> Call:
    """Full index tuple with ``...`` first; boolean masks become integer arrays."""
    index = index if isinstance(index, tuple) else (index,)
    shape = np.shape(x)
    full: list[Any] = []
    for i in index:
        i = getattr(i, "data", i) if hasattr(type(i), "__array_function__") and not isinstance(i, np.ndarray) else i
        i = np.asarray(i, None if len(i) else int) if isinstance(i, (list, tuple, range)) else i
        if isinstance(i, (bool, np.bool_)):
            raise TypeError("indexing with a single bool is not supported; use np.where")
        if isinstance(i, np.ndarray) and i.dtype == bool:
            full.extend(np.nonzero(i))
        elif isinstance(i, np.ndarray) and i.ndim == 0:
            full.append(operator.index(i[()]))
        else:
            # an array is copied: the caller's may change
            full.append(int(i) if isinstance(i, np.integer) else i.copy() if isinstance(i, np.ndarray) else i)
    if any(isinstance(i, np.ndarray) and i.dtype == bool or isinstance(i, list) for i in index):
        plain = tuple(i.data if hasattr(type(i), "__array_function__") and not isinstance(i, np.ndarray) else i for i in index)
        np.broadcast_to(np.False_, shape)[plain]       # NumPy's own check of a mask's shape
    used = sum(i is not None and i is not Ellipsis for i in full)
    if used > len(shape):
        raise IndexError(f"{used} indices for an array of shape {shape}")
    rest = [slice(None)] * (len(shape) - used)
    at = next((n for n, i in enumerate(full) if i is Ellipsis), len(full))
    full = full[:at] + rest + full[at + 1:]
    return (x,), dict(index=(Ellipsis, *full))


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
    spare = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in text]
    depth = max(np.ndim(x) - len(t.replace("...", "")) if "..." in t else 0 for t, x in zip(terms, operands))
    free = "".join(spare[:depth])

    def spell(term: str, n: int) -> str:
        return term.replace("...", free[len(free) - n:])
    terms = [spell(t, np.ndim(x) - len(t.replace("...", "")) if "..." in t else 0) for t, x in zip(terms, operands)]
    for term, x in zip(terms, operands):
        if len(term) != np.ndim(x):
            raise ValueError(f"einsum '{subscripts}' names {len(term)} axes of an operand of shape {np.shape(x)}; "
                             "write ... for those that stay")
        if len(set(term)) != len(term):
            raise ValueError(f"einsum '{subscripts}' repeats an index within one operand; "
                             "take the diagonal by indexing first: x[..., i, i] with i = np.arange(n)")
    if arrow:
        out = spell(out, depth)
    else:
        letters = "".join(terms)
        out = free + "".join(sorted(c for c in set(letters) - set(free) if letters.count(c) == 1))
    return operands, dict(terms=tuple(terms), out=out)


_REDUCTIONS = frozenset(("mean", "sum", "none"))


def _targets(name: str, x: Array, targets: Array, mask: Array | None, reduction: str) -> tuple[Shape, Array, Shape]:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{name} got reduction={reduction!r}; expected 'mean', 'sum' or 'none'")
    x = x if hasattr(x, "shape") else np.asarray(x)
    if type(targets) is not np.ndarray and not hasattr(type(targets), "__array_function__"):
        targets = np.asarray(targets)
    return x.shape, targets, targets.shape


def _not_empty(name: str, shape: Shape, reduction: str) -> None:
    if reduction == "mean" and 0 in shape:
        raise ValueError(f"{name} got nothing, shape {shape}, whose mean does not exist: use reduction='sum'")


def cross_entropy(logits: Array, targets: Array, *, mask: Array | None = None, reduction: str = "mean") -> Call:
    if mask is None and type(targets) is np.ndarray and targets.dtype.kind in "iu" and targets.size and reduction in _REDUCTIONS:
        shape, unsigned = np.shape(logits) if type(logits) is list else logits.shape, targets.astype(np.uintp)
        if targets.shape == shape[:-1] and unsigned.item(unsigned.argmax()) < shape[-1]:    # a negative one wraps to a huge one
            return (logits, targets), {"reduction": reduction, "rank": len(shape) - 1}      # nothing wrong: the usual, fast way
    name = "softmax_cross_entropy"
    if mask is None and getattr(type(targets), "traced", False) and reduction in _REDUCTIONS and targets.dtype.kind in "iu" and \
            targets.shape == logits.shape[:-1]:
        return (logits, targets), {"reduction": reduction, "rank": len(targets.shape)}
    if getattr(mask, "requires_grad", False):
        raise TypeError(f"{name} got a mask that requires gradients; a mask is a constant: pass mask.data, or multiply "
                        "the losses of reduction='none' by it")
    shape, targets, tshape = _targets(name, logits, targets, mask, reduction)
    if not shape:
        raise ValueError(f"{name} got logits without a class axis; expected shape (…, classes)")
    kind = targets.dtype.kind
    if getattr(type(targets), "traced", False):         # its numbers are not known now; who runs the program looks at them
        pass
    elif kind in "iu" and tshape == shape[:-1]:
        array = targets if type(targets) is np.ndarray else np.asarray(targets)
        if mask is not None and np.shape(mask) == tshape:      # what stands in a masked row does not matter
            array = targets = np.where(np.asarray(mask), array, 0)
        if array.size and np.maximum.reduce(array.astype(np.uintp), axis=None) >= shape[-1]:     # a negative one wraps to a huge one
            where = np.argwhere((array < 0) | (array >= shape[-1]))[0]
            raise ValueError(f"{name} got target {array[tuple(where)]} at {tuple(map(int, where))} for logits of shape {shape}; "
                             f"expected class numbers 0 … {shape[-1] - 1}")
    elif tshape != shape or kind not in "iufcb":
        hint = "; integer classes must have an integer dtype: targets.astype(int)" if (
            kind == "f" and tshape == shape[:-1]) else "; were the arguments swapped? logits come first" if (
            tshape[:-1] == shape) else ""
        raise ValueError(f"{name} got logits of shape {shape} and targets of shape {tshape}, dtype {targets.dtype}; expected "
                         f"integer classes of shape {shape[:-1]} or probabilities of shape {shape}{hint}")
    if tshape == shape and not getattr(targets, "requires_grad", False) and not getattr(type(targets), "traced", False):
        targets = np.asarray(getattr(targets, "data", targets) if not isinstance(targets, np.ndarray) else targets)
        dtype = getattr(logits, "dtype", targets.dtype)     # constants take the logits' dtype: float32 stays float32
        targets = targets.astype(dtype if dtype.kind in "fc" else float, copy=False)
    inputs: tuple[Array, ...] = (logits, targets)
    _not_empty(name, shape, reduction)
    if mask is not None:
        mask = mask if hasattr(type(mask), "__array_function__") else np.asarray(mask)
        if np.shape(mask) != shape[:-1]:
            raise ValueError(f"{name} got a mask of shape {np.shape(mask)}; expected {shape[:-1]}, one entry per row of logits")
        if reduction == "mean" and not np.any(getattr(mask, "data", mask) if not isinstance(mask, np.ndarray) else mask):
            raise ValueError(f"{name} got a mask without a single unmasked element; their mean does not exist: use reduction='sum'")
        inputs += (mask,)
    return inputs, {"reduction": reduction, "rank": len(shape) - 1}


def elementwise_loss(name: str) -> Callable[..., Call]:
    def call(x: Array, targets: Array, *, reduction: str = "mean") -> Call:
        shape, targets, tshape = _targets(name, x, targets, None, reduction)
        if type(targets) is np.ndarray and targets.dtype != getattr(x, "dtype", targets.dtype) and x.dtype.kind == "f":
            targets = targets.astype(x.dtype)       # constants take the predictions' dtype: float32 stays float32
        if tshape != shape:
            raise ValueError(f"{name} got predictions of shape {shape} and targets of shape {tshape}; expected equal shapes: "
                             "reshape one of them")
        _not_empty(name, shape, reduction)
        return (x, targets), dict(reduction=reduction, rank=len(shape))
    return call
