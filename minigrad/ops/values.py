"""Values that NumPy has no function for, and two helpers of their rules. Arrays in, arrays out; stable, and analytic
wherever complex step will look (a branch looks at the real part)."""
import functools
import math

import numpy as np

HALF = 0.5
HALVES = {np.dtype(t): np.array(HALF, t) for t in "fdFD"}      # a 0-d array of the same dtype costs half of a Python number


def absolute(x: np.ndarray) -> np.ndarray:
    return np.where(x.real < 0, -x, x) if np.iscomplexobj(x) else np.absolute(x)


def maximum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(np.real(a) >= np.real(b), a, b) if np.iscomplexobj(a) or np.iscomplexobj(b) else np.maximum(a, b)


def minimum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(np.real(a) <= np.real(b), a, b) if np.iscomplexobj(a) or np.iscomplexobj(b) else np.minimum(a, b)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), as ½ tanh(½x) + ½: never overflows, and NumPy's tanh is fast."""
    half = HALVES.get(x.dtype, HALF) if type(x) is np.ndarray and x.ndim else HALF
    y = np.tanh(x * half)
    y *= half
    y += half
    return y


def softplus(x: np.ndarray) -> np.ndarray:
    """log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)): never overflows."""
    return np.where(np.real(x) >= 0, x, 0 * x) + np.log1p(np.exp(-absolute(np.asarray(x))))


def logsigmoid(x: np.ndarray) -> np.ndarray:
    """log σ(x) = -softplus(-x)."""
    return -softplus(-x)


def relu(x: np.ndarray) -> np.ndarray:
    """max(x, 0); the slope at 0 is 0."""
    return np.where(x.real > 0, x, 0 * x) if np.iscomplexobj(x) else np.maximum(x, 0)


def silu(x: np.ndarray) -> np.ndarray:
    """x σ(x) (Hendrycks & Gimpel 2016; Elfwing et al. 2017)."""
    return x * sigmoid(x)


GELU = (2 / np.pi) ** 0.5


def gelu(x: np.ndarray) -> np.ndarray:
    """½ x (1 + tanh(√(2/π) (x + 0.044715 x³))), the tanh form of Hendrycks & Gimpel (2016)."""
    return x * HALF * (1 + np.tanh(GELU * (x + 0.044715 * x * x * x)))


KEPT = 4096     # arrays of so many numbers are kept for the next call; nobody writes into them


@functools.lru_cache(64)
def _ones(n: int, dtype: np.dtype) -> np.ndarray:
    return np.ones((n, 1), dtype)


@functools.lru_cache(64)
def _counting(n: int, step: int) -> np.ndarray:
    return np.arange(0, n * step, step)


def sum_columns(x: np.ndarray) -> np.ndarray:
    """Σ over the last axis, kept; for a matrix as a product with ones, for which BLAS takes a third of a reduction's time."""
    return x.dot(_ones(x.shape[1], x.dtype)) if x.ndim == 2 else np.add.reduce(x, -1, keepdims=True)


def sum_rows(x: np.ndarray) -> np.ndarray:
    """Σ over the first axis, for a matrix likewise."""
    if x.ndim != 2:
        return np.add.reduce(x)
    n = len(x)
    return (_ones(n, x.dtype).T if n <= KEPT else np.ones((1, n), x.dtype)).dot(x)[0]


def sum(x: np.ndarray, axis: tuple[int, ...], keepdims: bool = False) -> np.ndarray:
    return np.add.reduce(x, axis=axis, keepdims=True) if keepdims else np.add.reduce(x, axis=axis)


def var(x: np.ndarray, axis: tuple[int, ...], keepdims: bool, ddof: float) -> np.ndarray:
    d = x - np.mean(x, axis=axis, keepdims=True)
    return np.sum(d * d, axis=axis, keepdims=keepdims) / (size(x, axis) - ddof)


def size(x: np.ndarray, axes: tuple[int, ...] | range) -> int:
    """How many elements a reduction over ``axes`` gathers."""
    return math.prod([x.shape[a] for a in axes])


def _top(x: np.ndarray, axis: tuple[int, ...]) -> np.ndarray | float:
    """The maximum, kept, of the real part; 0 of nothing."""
    return np.max(x.real, axis=axis, keepdims=True) if x.size else 0.0


def logsumexp(x: np.ndarray, axis: tuple[int, ...], keepdims: bool = False) -> np.ndarray:
    """log Σ exp(x) over ``axis``, the maximum taken out first."""
    m = _top(x, axis)
    m = np.where(np.isfinite(m), m, 0)
    with np.errstate(divide="ignore"):          # log 0 = -inf is the answer for nothing, and for nothing but -inf
        y = np.log(np.sum(np.exp(x - m), axis=axis, keepdims=True)) + m
    return y if keepdims else np.squeeze(y, axis=axis)


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """exp(x) / Σ exp(x) along ``axis``, the maximum taken out first."""
    e = np.exp(x - _top(x, (axis,)))
    return e / np.add.reduce(e, axis=axis, keepdims=True)


def log_softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """x - logsumexp(x) along ``axis``."""
    return x - logsumexp(x, (axis,), True)


def layer_norm(x: np.ndarray, eps: float = 1e-5) -> np.ndarray:
    """(x - mean) / √(var + eps) over the last axis (Ba, Kiros, Hinton 2016, eq. 4, gain and bias left to the caller)."""
    d = x - np.mean(x, axis=-1, keepdims=True)
    return d / np.sqrt(np.mean(d * d, axis=-1, keepdims=True) + eps)


def matrix_exp(a: np.ndarray) -> np.ndarray:
    """exp of square matrices: scaling and squaring with a Taylor series (Higham 2008, ch. 10; order 18, norm ≤ ½)."""
    norm = np.max(np.sum(np.abs(a), axis=-1), initial=0.0)
    squarings = max(0, int(np.ceil(np.log2(norm))) + 1) if 0 < norm < np.inf else 0
    a = a / 2.0 ** squarings
    y = term = np.broadcast_to(np.eye(a.shape[-1], dtype=a.dtype), a.shape)
    for k in range(1, 19):
        term = term @ a / k
        y = y + term
    for _ in range(squarings):
        y = y @ y
    return y


def times_transposed(g: np.ndarray, b: np.ndarray) -> np.ndarray:
    """g @ b.mT. With a large b BLAS takes up to a half longer on that than on (b @ g.mT).mT, which is copied back into rows."""
    if type(g) is not np.ndarray or type(b) is not np.ndarray or b.ndim > 2:
        return g @ b.mT
    if g.ndim > 2 or len(g) == 1 or b.size < 8192:
        return matmul(g, b.T)
    return np.ascontiguousarray(b.dot(g.T).T)


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b; any number of rows with one matrix by np.dot, which gives BLAS a single product, also one row or column."""
    if type(a) is np.ndarray and type(b) is np.ndarray and b.ndim == 2:
        if a.ndim == 2:
            return a.dot(b)
        return a.reshape(math.prod(a.shape[:-1]), a.shape[-1]).dot(b).reshape(a.shape[:-1] + b.shape[1:])
    return a @ b


# ---- shapes in normal form -----------------------------------------------------------------------------------------

def reshape(x: np.ndarray, shape: tuple[int, ...], rank: int) -> np.ndarray:
    return np.reshape(x, np.shape(x)[:np.ndim(x) - rank] + shape)


def permutation(ndim: int, axes: tuple[int, ...]) -> tuple[int, ...]:
    """Full axes for an array with ``ndim - len(axes)`` leading ones in front."""
    lead = ndim - len(axes)
    return tuple(range(lead)) + tuple(a + ndim for a in axes)


def transpose(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return np.transpose(x, permutation(np.ndim(x), axes))


def inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple([i - len(axes) for i in sorted(range(len(axes)), key=axes.__getitem__)])


def pad(x: np.ndarray, pads: tuple[tuple[int, int], ...], fill: complex = 0) -> np.ndarray:
    return np.pad(x, ((0, 0),) * (np.ndim(x) - len(pads)) + pads, constant_values=fill)


def unpad(pads: tuple[tuple[int, int], ...]) -> tuple[object, ...]:
    return (Ellipsis, *(slice(a, -b if b else None) for a, b in pads))


def stack(*arrays: np.ndarray, axis: int) -> np.ndarray:
    """np.stack; along a new first axis by np.array, which takes half of the time."""
    if axis == -1 - np.ndim(arrays[0]) and len({np.shape(a) for a in arrays}) == 1:
        return np.array(arrays)
    return np.stack(arrays, axis)


def einsum(*operands: np.ndarray, terms: tuple[str, ...], out: str) -> np.ndarray:
    return np.einsum(",".join("..." + t for t in terms) + "->..." + out, *operands)


def einsum_rule(i: int, g: np.ndarray, y: np.ndarray, operands: tuple[np.ndarray, ...], terms: tuple[str, ...], out: str) -> np.ndarray:
    """The gradient of operand i is the einsum of g with all the others; an index it summed alone is stretched by ones."""
    others = [(t, x) for j, (t, x) in enumerate(zip(terms, operands)) if j != i]
    present = set(out).union(*(t for t, _ in others)) if others else set(out)
    alone = "".join(c for c in terms[i] if c not in present)
    if alone:
        shape = np.shape(operands[i])
        ones = np.ones(tuple(shape[terms[i].index(c) - len(terms[i])] for c in alone))
        others.append((alone, ones.astype(operands[i].dtype)))
    letters = ["..." + t for t in (out, *(t for t, _ in others))]
    return np.einsum(",".join(letters) + "->..." + terms[i], g, *(x for _, x in others))


# ---- losses --------------------------------------------------------------------------------------------------------

def reduced(rows: np.ndarray, reduction: str, rank: int, mask: np.ndarray | None = None) -> np.ndarray:
    """Sum or mean over the last ``rank`` axes, a mean over what is not masked; leading axes stay."""
    if reduction == "none":
        return rows
    axes = -1 if rank == 1 else tuple(range(-rank, 0))
    total = np.add.reduce(rows, axes)
    if reduction == "mean":
        total = total / (size(rows, range(-rank, 0)) if mask is None else np.add.reduce(mask, axes, rows.dtype))
    return total


def weight(g: np.ndarray, x: np.ndarray, reduction: str, rank: int, mask: np.ndarray | None = None, extra: int = 0) -> np.ndarray:
    """What each element of a loss is multiplied by: g spread over ``rank`` axes (and ``extra`` ones); 1/n for a mean; 0 where masked."""
    mask = mask if mask is None else mask.astype(g.dtype)
    if reduction == "mean":
        g = g / (size(x, range(-rank - extra, -extra)) if mask is None else np.sum(mask, axis=tuple(range(-rank, 0))))
    if reduction == "none":
        rank = 0
    if g.ndim and rank + extra:
        g = g.reshape(g.shape + (1,) * (rank + extra))
    return g if mask is None else g * mask.reshape(mask.shape + (1,) * extra)


def positions(classes: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Where each row's class stands among the elements of x, counted in a row."""
    n, step = x.size // x.shape[-1], x.shape[-1]
    first = _counting(n, step) if n <= KEPT else np.arange(0, n * step, step)
    return classes.astype(np.intp, copy=False) + (first if x.ndim == 2 else first.reshape(x.shape[:-1]))


Saved = tuple[np.ndarray, np.ndarray, np.ndarray | None]        # exp(x - max), its sum, and where the targets are


def softmax_cross_entropy(x: np.ndarray, targets: np.ndarray, mask: np.ndarray | None = None, *, reduction: str,
                          rank: int) -> tuple[np.ndarray, Saved]:
    """Softmax cross-entropy ``-Σ_k y_k log softmax(logits)_k``, stable for logits of any size.

    logits     (…, K)
    targets    (…) integers, class numbers 0 … K-1; or (…, K), one-hot or probabilities
    mask       (…) bools or weights of the rows: a row of 0 counts neither in the value nor in the gradient; default all
    reduction  "mean" (default, over unmasked rows), "sum" or "none"

    ValueError for a target that is no class, for shapes that do not fit, and for a mask without an unmasked row.

    >>> import minigrad as mg
    >>> mg.softmax_cross_entropy(mg.Tensor([[2., 0.], [0., 0.]]), [0, 1], reduction="none").data.round(4)
    array([0.1269, 0.6931])
    """
    z = x - np.maximum.reduce(x if x.dtype.kind == "f" else x.real, -1, keepdims=True)
    e = np.exp(z)
    s = sum_columns(e)
    rows, at = np.log(s[..., 0]), None
    if targets.dtype.kind in "iu":
        at = positions(targets, z)
        rows = rows - z.take(at)
    else:
        rows = rows * np.add.reduce(targets, axis=-1) - np.add.reduce(targets * z, axis=-1)
    if mask is not None:
        rows = np.where(mask, rows, 0) * mask.astype(rows.dtype)
    return reduced(rows, reduction, rank, mask), (e, s, at)


def softmax_minus_target(w: np.ndarray, saved: Saved, targets: np.ndarray) -> np.ndarray:
    """w (ŷ - y) of each row (w (ŷ Σy - y) for soft targets), from what the forward pass saved."""
    e, s, at = saved
    if at is None:
        return (e / s * np.add.reduce(targets, axis=-1, keepdims=True) - targets) * w
    error = np.multiply(e, w / s, order="C")
    in_a_row = error.reshape(error.shape[:error.ndim - e.ndim] + (e.size,))
    if error.ndim > e.ndim:                             # leading axes of g alone
        in_a_row[..., at] -= w[..., 0] if w.ndim else w
    else:
        in_a_row[at] -= w[..., 0] if w.ndim else w      # error was made here: nobody else holds it
    return error


def one_hot(targets: np.ndarray, x: np.ndarray) -> np.ndarray:
    targets = targets if isinstance(targets, np.ndarray) else targets.data
    return (targets[..., None] == np.arange(x.shape[-1])).astype(x.dtype)


def binary_cross_entropy(z: np.ndarray, y: np.ndarray, *, reduction: str, rank: int) -> np.ndarray:
    """Binary cross-entropy ``-y log σ(z) - (1-y) log(1-σ(z)) = softplus(z) - z y`` on logits z, stable for logits of any size.

    z, y       logits and targets in 0 … 1, of one shape
    reduction  "mean" (default), "sum" or "none"

    >>> import minigrad as mg
    >>> mg.binary_cross_entropy(mg.Tensor([0., 100.]), np.array([1., 1.]), reduction="none").data.round(4)
    array([0.6931, 0.    ])
    """
    return reduced(softplus(z) - z * y, reduction, rank)


def squared_error(a: np.ndarray, b: np.ndarray, *, reduction: str, rank: int) -> np.ndarray:
    """Squared error ``(a - b)²`` of predictions a and targets b of one shape; reduction "mean" (default), "sum" or "none".

    >>> import minigrad as mg
    >>> mg.squared_error(mg.Tensor([1., 2.]), np.array([0., 0.])).item()
    2.5
    """
    d = a - b
    return reduced(d * d, reduction, rank)
