"""The op table: everything minigrad can compute and how it is differentiated. One op, one record, one place.

    name = op(value, rule for argument 0, rule for argument 1, …, reads=formula)

A rule receives ``g`` (the gradient of the output), ``y`` (the output), the arguments and the static attributes, and
returns the gradient of its argument. Rules are plain NumPy: on arrays they compute, on Tensors they make a graph, and
that is the whole mechanism of gradients of gradients. Broadcasting is undone once, by the walk; so ``add`` says ``g``.
"""
import numpy as np

from . import calls, composed, values
from .later import At, Rows, scatter
from .record import op, real, spread
from .values import matmul as product

# ---- arithmetic -----------------------------------------------------------------------------------------------------
add        = op(np.add,            lambda g, y, a, b: g,                      lambda g, y, a, b: g,             reads="{0} + {1}")
subtract   = op(np.subtract,       lambda g, y, a, b: g,                      lambda g, y, a, b: -g,            reads="{0} - {1}")
multiply   = op(np.multiply,       lambda g, y, a, b: g * b,                  lambda g, y, a, b: g * a,         reads="{0} * {1}")
divide     = op(np.divide,         lambda g, y, a, b: g / b,                  lambda g, y, a, b: -g * y / b,    reads="{0} / {1}")
power      = op(np.power,          lambda g, y, a, b: g * b * below(a, b),    lambda g, y, a, b: g * y * ln(a), reads="{0}^{1}")
negative   = op(np.negative,       lambda g, y, x: -g,                                                          reads="-{0}")
square     = op(np.square,         lambda g, y, x: g * (2 * x),                                                 reads="{0}^2")
sqrt       = op(np.sqrt,           lambda g, y, x: g * 0.5 / y,                                                 reads="sqrt({0})")
absolute   = op(values.absolute,   lambda g, y, x: g * np.sign(real(x)),          serves=(np.absolute,),        reads="|{0}|")

# ---- elementwise functions ------------------------------------------------------------------------------------------
exp        = op(np.exp,            lambda g, y, x: g * y,                                                       reads="exp({0})")
expm1      = op(np.expm1,          lambda g, y, x: g * (y + 1),                                                 reads="expm1({0})")
log        = op(np.log,            lambda g, y, x: g / x,                                                       reads="log({0})")
log1p      = op(np.log1p,          lambda g, y, x: g / (1 + x),                                                 reads="log1p({0})")
sin        = op(np.sin,            lambda g, y, x: g * np.cos(x),                                               reads="sin({0})")
cos        = op(np.cos,            lambda g, y, x: -g * np.sin(x),                                              reads="cos({0})")
tanh       = op(np.tanh,           lambda g, y, x: g * (1 - y * y),                                             reads="tanh({0})")
sigmoid    = op(values.sigmoid,    lambda g, y, x: g * (y * (1 - y)),                                           reads="σ({0})")
softplus   = op(values.softplus,   lambda g, y, x: g * sigmoid(x),                                              reads="softplus({0})")
logsigmoid = op(values.logsigmoid, lambda g, y, x: g * sigmoid(-x),                                             reads="log σ({0})")
relu       = op(values.relu,       lambda g, y, x: g * (real(x) > 0),                                           reads="relu({0})")
silu       = op(values.silu,       lambda g, y, x: g * (y + sigmoid(x) * (1 - y)),                              reads="silu({0})")
gelu       = op(values.gelu,       lambda g, y, x: g * gelu_slope(x),                                           reads="gelu({0})")


def below(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a^(b-1); the slope of a^0 is 0, also at a = 0."""
    b = b * 1 if getattr(b, "dtype", None) == bool else b
    return a ** (b - (real(b) != 0))


def ln(a: np.ndarray) -> np.ndarray:
    """log a; 0 at a = 0, where a^b does not depend on b."""
    return np.log(np.where(real(a) == 0, 1, a))


def gelu_slope(x: np.ndarray) -> np.ndarray:
    u = np.tanh(values.GELU * (x + 0.044715 * x * x * x))
    return 0.5 * (1 + u) + 0.5 * x * (1 - u * u) * (values.GELU * (1 + 3 * 0.044715 * x * x))


# ---- choices: equal candidates share the gradient --------------------------------------------------------------------
def won(g: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return g * ((real(a) > real(b)) + 0.5 * (real(a) == real(b))).astype(g.dtype)


maximum = op(values.maximum, lambda g, y, a, b: won(g, a, b), lambda g, y, a, b: won(g, b, a), reads="max({0}, {1})", serves=(np.maximum,))
minimum = op(values.minimum, lambda g, y, a, b: won(g, b, a), lambda g, y, a, b: won(g, a, b), reads="min({0}, {1})", serves=(np.minimum,))
where = op(np.where,     None, lambda g, y, c, a, b: np.where(c, g, 0), lambda g, y, c, a, b: np.where(c, 0, g),
           reads="where({0}, {1}, {2})", serves=(np.where,), compose=composed.where)


# ---- reductions -----------------------------------------------------------------------------------------------------
def _kept(g: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> np.ndarray:
    """g with the reduced axes back, each of length one."""
    if keepdims or not axis:
        return g
    if axis[0] == -len(axis):                   # the last axes: five times as fast
        return g[(Ellipsis, *[None] * len(axis))]
    return np.expand_dims(g, axis)


def _share(g: np.ndarray, y: np.ndarray, x: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> np.ndarray:
    """The gradient of a maximum goes to the elements that attain it, in equal parts."""
    best = (real(x) == real(_kept(y, axis, keepdims)))
    return _kept(g, axis, keepdims) * (best / best.sum(axis=axis, keepdims=True)).astype(g.dtype)


sum = op(values.sum,       lambda g, y, x, axis, keepdims: spread(_kept(g, axis, keepdims), x),
         reads="Σ {0}", call=calls.reduction, serves=(np.sum,))
mean = op(np.mean,       lambda g, y, x, axis, keepdims: spread(_kept(g, axis, keepdims) / values.size(x, axis), x),
          reads="mean({0})", call=calls.reduction, serves=(np.mean,))
var = op(values.var,     lambda g, y, x, axis, keepdims, ddof:
         _kept(g, axis, keepdims) * (x - np.mean(x, axis=axis, keepdims=True)) * (2 / (values.size(x, axis) - ddof)),
         reads="var({0})", call=calls.variance, serves=(np.var,))
max = op(np.max,         _share, reads="max({0})", name="max", call=calls.reduction, serves=(np.max, np.amax))
min = op(np.min,         _share, reads="min({0})", name="min", call=calls.reduction, serves=(np.min, np.amin))
logsumexp = op(values.logsumexp, lambda g, y, x, axis, keepdims: _kept(g, axis, keepdims) * np.exp(x - _kept(y, axis, keepdims)),
               reads="logsumexp({0})", call=calls.reduction)
softmax = op(values.softmax, lambda g, y, x, axis: y * (g - np.sum(g * y, axis=axis, keepdims=True)),
             reads="softmax({0})", call=calls.along)
log_softmax = op(values.log_softmax, lambda g, y, x, axis: g - np.exp(y) * np.sum(g, axis=axis, keepdims=True),
                 reads="log softmax({0})", call=calls.along)
cumsum = op(np.cumsum,   lambda g, y, x, axis: np.flip(np.cumsum(np.flip(g, axis), axis), axis),
            reads="cumsum({0})", call=calls.along, serves=(np.cumsum,), compose=composed.cumsum)
layer_norm = op(values.layer_norm, lambda g, y, x, eps:
                (g - np.mean(g, axis=-1, keepdims=True) - y * np.mean(g * y, axis=-1, keepdims=True))
                / np.sqrt(np.mean(np.square(x - np.mean(x, axis=-1, keepdims=True)), axis=-1, keepdims=True) + eps),
                reads="layer_norm({0})", call=calls.normalised)


def _all_but_one(g: np.ndarray, y: np.ndarray, x: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> np.ndarray:
    """d prod / dx_i is the product of all the others: computed without dividing, so zeros are no special case."""
    x = np.swapaxes(x, axis[0], -1)
    n = x.shape[-1]
    others = np.prod(np.where(np.eye(n, dtype=bool), 1, np.expand_dims(x, -2)), axis=-1)
    return _kept(g, axis, keepdims) * np.swapaxes(others, axis[0], -1)


prod = op(np.prod,       _all_but_one, reads="Π {0}", call=calls.reduction, serves=(np.prod,), compose=composed.prod)


# ---- linear algebra (vectors are made matrices when the call is recorded) -----------------------------------------------
def _of_matrix(g: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray | Rows:
    """aᵀ g: left to the walk where several steps' are cheaper as one product: for a large matrix b and few rows, or a stack of rows."""
    if type(g) is np.ndarray and b.ndim == 2 and (g.ndim > 2 or b.size >= 1024 * len(g)):
        return Rows(a, g)
    return product(a.mT, g)


matmul = op(product,     lambda g, y, a, b: values.times_transposed(g, b), _of_matrix, reads="{0} @ {1}",
            serves=(np.matmul,), compose=composed.matmul)
einsum = op(values.einsum, values.einsum_rule, variadic=True, reads="einsum({*})", call=calls.einsum_normal, serves=(np.einsum,))
solve = op(np.linalg.solve, lambda g, y, a, b: -np.linalg.solve(a.mT, g) @ y.mT, lambda g, y, a, b: np.linalg.solve(a.mT, g),
           reads="solve({0}, {1})", serves=(np.linalg.solve,), compose=composed.solve)
inv = op(np.linalg.inv,  lambda g, y, a: -y.mT @ g @ y.mT, reads="inv({0})", serves=(np.linalg.inv,))


def _matrix_exp_rule(g: np.ndarray, y: np.ndarray, a: np.ndarray) -> np.ndarray:
    """The upper right block of exp([[aᵀ, g], [0, aᵀ]]) (Van Loan 1978)."""
    n = a.shape[-1]
    g = g + np.zeros_like(real(a))
    a = a + np.zeros_like(real(g))
    top = np.concatenate([a.mT, g], axis=-1)
    low = np.concatenate([np.zeros_like(real(a)), a.mT], axis=-1)
    return matrix_exp(np.concatenate([top, low], axis=-2))[..., :n, n:]


matrix_exp = op(values.matrix_exp, _matrix_exp_rule, reads="exp({0})")
triu = op(np.triu,       lambda g, y, x, k: np.triu(g, k), reads="triu({0})", call=calls.triangle, serves=(np.triu,))
tril = op(np.tril,       lambda g, y, x, k: np.tril(g, k), reads="tril({0})", call=calls.triangle, serves=(np.tril,))


# ---- shapes ---------------------------------------------------------------------------------------------------------
reshape = op(values.reshape, lambda g, y, x, shape, rank: values.reshape(g, np.shape(x)[np.ndim(x) - rank:], len(shape)),
             reads="reshape({0})", call=calls.reshaped, serves=(np.reshape,))
transpose = op(values.transpose, lambda g, y, x, axes: np.transpose(g, values.permutation(np.ndim(g), values.inverse(axes))),
               reads="{0}ᵀ", call=calls.transposed, serves=(np.transpose,))
broadcast_to = op(np.broadcast_to, lambda g, y, x, shape: g, reads="{0}", call=calls.broadcasted, serves=(np.broadcast_to,))
concatenate = op(lambda *arrays, axis, starts: np.concatenate(arrays, axis),
                 lambda i, g, y, arrays, axis, starts: g[(Ellipsis, slice(*starts[i:i + 2])) + (slice(None),) * (-axis - 1)],
                 variadic=True, name="concatenate", reads="[{*}]", call=calls.joined, serves=(np.concatenate,),
                 compose=composed.concatenate)
stack = op(values.stack, lambda i, g, y, arrays, axis: g[(Ellipsis, i) + (slice(None),) * (-axis - 1)], variadic=True,
           name="stack", reads="stack({*})", call=calls.stacked, serves=(np.stack,))
flip = op(np.flip,       lambda g, y, x, axis: np.flip(g, axis), reads="flip({0})", call=calls.flipped, serves=(np.flip,))
pad = op(values.pad,     lambda g, y, x, pads, fill: g[values.unpad(pads)], reads="pad({0})", call=calls.padded, serves=(np.pad,),
         compose=composed.pad)
getitem = op(lambda x, index: x[index], lambda g, y, x, index: At(index, g, np.shape(x)), reads="{0}[{index}]", call=calls.indexed,
             compose=composed.getitem, name="getitem")
scatter_add = op(scatter, lambda g, y, x, index, shape: g[index], name="scatter_add", reads="scatter({0})",
                 call=calls.scattered)


# ---- losses: fused, so that they stay stable and cheap ------------------------------------------------------------------
def _cross_entropy_rule(g: np.ndarray, y: np.ndarray, x: np.ndarray, targets: np.ndarray, mask: np.ndarray | None = None, *,
                        reduction: str, rank: int, saved: values.Saved | None = None) -> np.ndarray:
    w = values.weight(g, x, reduction, rank, mask, extra=1)
    error = values.softmax_minus_target(w, saved, targets) if saved is not None else _softmax_minus_target(x, targets) * w
    return error if mask is None else np.where(mask[..., None], error, 0)       # 0 · NaN would be NaN


def _softmax_minus_target(x: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """ŷ - y on Tensors, where the gradient itself is to be differentiated."""
    if targets.dtype.kind in "iu":
        return softmax(x) - values.one_hot(targets, x)
    return softmax(x) * np.sum(targets, axis=-1, keepdims=True) - targets


def _soft_targets_rule(g: np.ndarray, y: np.ndarray, x: np.ndarray, targets: np.ndarray, mask: np.ndarray | None = None, *,
                       reduction: str, rank: int, saved: values.Saved | None = None) -> np.ndarray:
    return -log_softmax(x) * values.weight(g, x, reduction, rank, mask, extra=1)


softmax_cross_entropy = op(values.softmax_cross_entropy, _cross_entropy_rule, _soft_targets_rule, saves=True,
                           reads="CE({0}, {1})", call=calls.cross_entropy, compose=composed.softmax_cross_entropy)
binary_cross_entropy = op(values.binary_cross_entropy,
                          lambda g, y, z, t, reduction, rank: values.weight(g, z, reduction, rank) * (sigmoid(z) - t),
                          lambda g, y, z, t, reduction, rank: values.weight(g, z, reduction, rank) * -z,
                          reads="BCE({0}, {1})", call=calls.elementwise_loss("binary_cross_entropy"))
squared_error = op(values.squared_error,
                   lambda g, y, a, b, reduction, rank: values.weight(g, a, reduction, rank) * (2 * (a - b)),
                   lambda g, y, a, b, reduction, rank: values.weight(g, a, reduction, rank) * (2 * (b - a)),
                   reads="({0} - {1})^2", call=calls.elementwise_loss("squared_error"))
astype = op(lambda x, dtype: x.astype(dtype), lambda g, y, x, dtype: g.astype(x.dtype), name="astype", reads="{0}",
            call=lambda x, dtype: ((x,), dict(dtype=np.dtype(dtype))))
