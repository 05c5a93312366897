"""Weights of ``torch.nn.RNN``, ``GRU`` and ``LSTM``, both ways: gate order, transposes, and the two biases.

PyTorch keeps ``weight_ih_l0`` (gates·H, D), ``weight_hh_l0`` (gates·H, H) and two biases a layer, in the gate orders i f g o (LSTM)
and r z n (GRU); ours are the transposes in the same orders. Where a cell has one bias, theirs add up to it; ours goes into the
first and the second becomes 0.
"""
import numpy as np

from ..recurrent import GRUCell, LSTMCell, RNNCell
from ..recurrent.state import called


def _layers(cell):
    layers = getattr(cell, "cells", [cell])
    for layer in layers:
        if type(layer) not in (RNNCell, GRUCell, LSTMCell) or getattr(layer, "reset", "after") != "after" or hasattr(layer, "peephole"):
            raise ValueError(f"{called(layer)} has no counterpart in torch.nn; there are RNNCell, LSTMCell and GRUCell (reset='after'), "
                             "also stacked. Other cells: minigrad.lower.to_torch")
    return layers


def to_torch_weights(cell):
    """The state_dict that ``torch.nn.RNN``, ``GRU`` or ``LSTM`` takes, as NumPy arrays; of ``stacked`` cells, all layers.

    >>> import minigrad as mg
    >>> {name: array.shape for name, array in to_torch_weights(mg.LSTMCell(3, 4)).items()}
    {'weight_ih_l0': (16, 3), 'weight_hh_l0': (16, 4), 'bias_ih_l0': (16,), 'bias_hh_l0': (16,)}
    """
    found = {}
    for k, layer in enumerate(_layers(cell)):
        first, second = (layer.b_x.data, layer.b_h.data) if isinstance(layer, GRUCell) else (layer.b.data, np.zeros_like(layer.b.data))
        for name, array in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), (layer.W_x.data.T, layer.W_h.data.T, first, second)):
            found[f"{name}_l{k}"] = np.ascontiguousarray(array)
    return found


def from_torch_weights(cell, weights):
    """Take the weights of ``torch.nn.RNN``, ``GRU`` or ``LSTM`` over: its ``state_dict()``, or arrays by the same names. Returns the cell.

    Errors: a missing name, a wrong shape, a second direction or a projection (ValueError); the cell is left as it was then.
    """
    arrays = {name: np.asarray(getattr(w, "detach", lambda w=w: w)()) for name, w in weights.items()}
    layers, new = _layers(cell), []
    for k, layer in enumerate(layers):
        w_x, w_h, b_x, b_h = (arrays.pop(f"{name}_l{k}", None) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        if w_x is None or w_h is None:
            raise ValueError(f"there is no weight_{'ih' if w_x is None else 'hh'}_l{k} among {', '.join(weights)}")
        b_x, b_h = (np.zeros(len(w_x)) if b is None else b for b in (b_x, b_h))             # bias=False
        pairs = [(layer.W_x, w_x.T), (layer.W_h, w_h.T)]
        pairs += [(layer.b_x, b_x), (layer.b_h, b_h)] if isinstance(layer, GRUCell) else [(layer.b, b_x + b_h)]
        for parameter, array in pairs:
            if parameter.shape != array.shape:
                raise ValueError(f"layer {k}: got an array of shape {array.shape} for a parameter of shape {parameter.shape}; are the "
                                 "sizes, and the kind of cell, the same?")
        new += pairs
    if arrays:
        raise ValueError(f"{', '.join(arrays)}: more than {len(layers)} layer{'s' * (len(layers) > 1)} in one direction; stack as many "
                         "cells, and take each direction's weights by itself")
    for parameter, array in new:
        parameter.data = np.array(array, parameter.dtype)
    return cell
