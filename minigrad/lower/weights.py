"""Weights of ``torch.nn.RNN``, ``GRU`` and ``LSTM``, both ways: gate order, transposes, and the two biases.

PyTorch keeps ``weight_ih_l0`` (gates·H, D), ``weight_hh_l0`` (gates·H, H) and two biases a layer, in the gate orders i f g o (LSTM)
and r z n (GRU); ours are the transposes in the same orders. Where a cell has one bias, theirs add up to it; ours goes into the
first and the second becomes 0.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ..recurrent import GRUCell, LSTMCell, RNNCell
from ..recurrent.state import called

NAMES = "weight_ih", "weight_hh", "bias_ih", "bias_hh"


def _layers(net: Any) -> dict[str, Any]:
    """{what PyTorch puts behind the names of a layer: its cell}"""
    if hasattr(net, "backward") and hasattr(net, "forward"):
        found = {"l0": net.forward, "l0_reverse": net.backward}
    else:
        found = {f"l{k}": cell for k, cell in enumerate(getattr(net, "cells", [net]))}
    for cell in found.values():
        peepholes = getattr(cell, "p", None) is not None
        if type(cell) not in (RNNCell, GRUCell, LSTMCell) or getattr(cell, "reset", "after") != "after" or peepholes:
            raise ValueError(f"{called(cell)} has no counterpart in torch.nn; there are RNNCell, LSTMCell (without peepholes) and GRUCell "
                             "(reset='after'), also stacked or bidirectional. Other cells: minigrad.lower.to_torch")
    return found


def to_torch_weights(net: Any) -> dict[str, np.ndarray]:
    """The state_dict that ``torch.nn.RNN``, ``GRU`` or ``LSTM`` takes, as NumPy arrays; of stacked cells all layers, of two directions both
    (``bidirectional`` of one layer).

    >>> import minigrad as mg
    >>> {name: array.shape for name, array in to_torch_weights(mg.LSTMCell(3, 4)).items()}
    {'weight_ih_l0': (16, 3), 'weight_hh_l0': (16, 4), 'bias_ih_l0': (16,), 'bias_hh_l0': (16,)}
    """
    found = {}
    for layer, cell in _layers(net).items():
        first, second = (cell.b_x.data, cell.b_h.data) if isinstance(cell, GRUCell) else (cell.b.data, np.zeros_like(cell.b.data))
        for name, array in zip(NAMES, (cell.W_x.data.T, cell.W_h.data.T, first, second)):
            found[f"{name}_{layer}"] = np.array(array, order="C")
    return found


def from_torch_weights(net: Any, weights: dict[str, Any]) -> Any:
    """Take the weights of ``torch.nn.RNN``, ``GRU`` or ``LSTM`` over: its ``state_dict()``, or arrays by the same names. Returns the net.

    Errors: a missing name, a wrong shape, more layers or a projection (ValueError); the net is left as it was then.
    """
    arrays = {name: np.asarray(w.detach().cpu() if hasattr(w, "detach") else w) for name, w in weights.items()}
    layers, new = _layers(net), []
    for layer, cell in layers.items():
        w_x, w_h, b_x, b_h = (arrays.pop(f"{name}_{layer}", None) for name in NAMES)
        if w_x is None or w_h is None:
            raise ValueError(f"there is no {NAMES[w_x is not None]}_{layer} among {', '.join(weights)}")
        b_x, b_h = (np.zeros(len(w_x)) if b is None else b for b in (b_x, b_h))             # bias=False
        pairs = [(cell.W_x, w_x.T), (cell.W_h, w_h.T)]
        pairs += [(cell.b_x, b_x), (cell.b_h, b_h)] if isinstance(cell, GRUCell) else [(cell.b, b_x + b_h)]
        for parameter, array in pairs:
            if parameter.shape != array.shape:
                raise ValueError(f"layer {layer}: got an array of shape {array.shape} for a parameter of shape {parameter.shape}; are the "
                                 "sizes, and the kind of cell, the same?")
        new += pairs
    if arrays:
        raise ValueError(f"{', '.join(arrays)}: there is no such layer in this net of {', '.join(layers)}; stack as many cells as there "
                         "are layers, and take one layer of two directions by mg.bidirectional")
    for parameter, array in new:
        parameter.data = np.array(array, parameter.dtype)
    return net
