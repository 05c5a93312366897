"""minigrad: reverse-mode automatic differentiation for recurrent networks, on NumPy.

Write a forward pass with NumPy; ``mg.unroll`` it over time; ``loss.backward()`` is back-propagation through time;
``mg.draw(loss)`` is its picture; ``mg.check.compare`` holds it against gradients derived by hand.
"""
from typing import Any as _Any

import numpy as _np

from .autodiff import grad, jacobian
from .checkpoint import checkpoint
from .modes import debug, no_grad
from .module import Module, load, save
from .ops import (binary_cross_entropy, gelu, layer_norm, log_softmax, logsigmoid, logsumexp, matrix_exp, relu, scatter_add,
                  sigmoid, silu, softmax, softmax_cross_entropy, softplus, squared_error)
from .recurrent import (AntisymmetricRNNCell, CfCCell, ClockworkRNNCell, CoRNNCell, GatedDeltaNetCell, GRUCell, IRNNCell, JANETCell,
                        LayerNormLSTMCell, LEMCell, LMUCell, LSTMCell, MGUCell, MinGRUCell, MinLSTMCell, MLSTMCell, OrthogonalRNNCell,
                        RGLRUCell, RNNCell, SLSTMCell, bidirectional, detach, dropout, learned_start, masked, normalized, projected,
                        residual, stacked, steps, unroll, zoneout)
from .tensor import Tensor, parameter

__version__ = "0.1.0"

# NumPy's own functions answer Tensors; they are here too, so that `mg.` finds every op by the name NumPy gives it.
(abs, absolute, add, broadcast_to, clip, concatenate, cos, cumsum, divide, einsum, exp, expand_dims, expm1, flip, log, log1p, matmul, max,
 maximum, mean, min, minimum, moveaxis, multiply, negative, outer, pad, power, prod, reshape, sin, split, sqrt, square, squeeze, stack, std,
 subtract, sum, swapaxes, take, tanh, transpose, tril, triu, var, where) = (
    getattr(_np, name) for name in """abs absolute add broadcast_to clip concatenate cos cumsum divide einsum exp expand_dims expm1 flip
    log log1p matmul max maximum mean min minimum moveaxis multiply negative outer pad power prod reshape sin split sqrt square squeeze
    stack std subtract sum swapaxes take tanh transpose tril triu var where""".split())
inv, solve, norm = _np.linalg.inv, _np.linalg.solve, _np.linalg.norm


def stop_gradient(x: _Any) -> _Any:
    """The values of x as a constant: nothing flows back through it.

    >>> x = parameter(3.)
    >>> (x * stop_gradient(x)).backward()
    >>> x.grad
    array(3.)
    """
    return x.detach() if isinstance(x, Tensor) else x


_LATER = {"draw": ("picture", "draw"), "Drawing": ("picture", "Drawing"), "check": ("check", None), "train": ("train", None),
          "graph": ("graph", None), "taps": ("queries", "taps"), "scan": ("compile", "scan"), "derive": ("derivation", "derive"),
          "tableau": ("derivation", "tableau"), "lower": ("lower", None), "explore": ("picture", "explore"),
          "custom_gradient": ("custom", "custom_gradient")}


def __getattr__(name: str) -> _Any:
    """Readers of the graph, and what they depend on, are imported when first used."""
    if name in _LATER:
        import importlib
        room, member = _LATER[name]
        module = importlib.import_module(f"{__name__}.{room}")
        value = module if member is None else getattr(module, member)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'minigrad' has no attribute {name!r}")


__all__ = ["AntisymmetricRNNCell", "CfCCell", "ClockworkRNNCell", "CoRNNCell", "GRUCell", "GatedDeltaNetCell", "IRNNCell", "JANETCell",
           "LEMCell", "LMUCell", "LSTMCell", "LayerNormLSTMCell", "MGUCell", "MLSTMCell", "MinGRUCell", "MinLSTMCell", "Module",
           "OrthogonalRNNCell", "RGLRUCell", "RNNCell", "SLSTMCell", "Tensor", "bidirectional", "check", "checkpoint", "custom_gradient",
           "debug", "derive", "detach", "draw", "dropout", "explore", "grad", "jacobian", "learned_start", "load", "masked", "no_grad",
           "normalized", "parameter", "projected", "residual", "save", "scan", "stacked", "steps", "stop_gradient", "tableau", "taps",
           "train", "unroll", "zoneout", "binary_cross_entropy", "gelu", "layer_norm", "log_softmax", "logsigmoid", "logsumexp",
           "matrix_exp", "relu", "scatter_add", "sigmoid", "silu", "softmax", "softmax_cross_entropy", "softplus", "squared_error"]
