"""The simple recurrent network of Elman (1990).

    h_t = tanh(x_t W_x + h_{t-1} W_h + b)          (or relu)

Row vectors: x (B, D), h (B, H), W_x (D, H), W_h (H, H), b (H,).
"""
from __future__ import annotations

import numpy as np

from ...tensor import Tensor
from ...module import Module
from ...ops import relu
from ..initial import DType, Rng, check_sizes, uniform, zeros

_FUNCTIONS = {"tanh": np.tanh, "relu": relu}


class RNNCell(Module):
    """Elman cell: ``h_t = tanh(x_t W_x + h_{t-1} W_h + b)``, output and state h (Elman 1990, "Finding structure in time").

    input_size D, hidden_size H; nonlinearity "tanh" or "relu"; rng a numpy.random.Generator (default seed 0).
    All parameters start uniform in ±1/√H, as in PyTorch.

    >>> import minigrad as mg
    >>> cell = mg.RNNCell(3, 4, rng=np.random.default_rng(0))
    >>> ys, h = mg.unroll(cell, np.ones((5, 2, 3)))
    >>> ys.shape, h.shape
    ((5, 2, 4), (2, 4))
    """

    def __init__(self, input_size: int, hidden_size: int, *, nonlinearity: str = "tanh", rng: Rng = None, dtype: DType = float) -> None:
        check_sizes(type(self).__name__, input_size=input_size, hidden_size=hidden_size)
        if nonlinearity not in _FUNCTIONS:
            raise ValueError(f"RNNCell got nonlinearity={nonlinearity!r}; expected one of {', '.join(map(repr, _FUNCTIONS))}")
        self.nonlinearity = nonlinearity
        self.W_x, self.W_h, self.b = uniform(rng, hidden_size ** -0.5, dtype, (input_size, hidden_size),
                                             (hidden_size, hidden_size), (hidden_size,))

    def initial_state(self, batch_size: int | None = None) -> Tensor:
        return zeros(batch_size, self.W_h.shape[0], self.W_h.dtype)

    def __call__(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = _FUNCTIONS[self.nonlinearity](x @ self.W_x + h @ self.W_h + self.b)
        return h, h
