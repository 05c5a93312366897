"""The IRNN of Le, Jaitly & Hinton (2015): Elman's network with relu, which begins as a sum over its inputs.

    h_t = relu(x_t W_x + h_{t-1} W_h + b)          W_h = I, b = 0, W_x ~ N(0, 0.001²) at the start

With W_h = I and positive inputs, h_t = h_0 + Σ x_s W_x: nothing is forgotten, and gradients come back as they were sent.
Row vectors: x (B, D), h (B, H), W_x (D, H), W_h (H, H), b (H,).
"""
from __future__ import annotations

import numpy as np

from ..initial import DType, Rng
from .elman import RNNCell


class IRNNCell(RNNCell):
    """``h_t = relu(x_t W_x + h_{t-1} W_h + b)``, output and state h (Le, Jaitly & Hinton 2015, arXiv:1504.00941).

    scale  W_h starts as this multiple of the identity, default 1; the paper takes 0.01 where little is to be remembered (speech)
    b starts at zero, W_x normal with standard deviation 0.001.

    >>> import minigrad as mg
    >>> cell = IRNNCell(3, 4, rng=np.random.default_rng(0))
    >>> cell.W_h.data[0]
    array([1., 0., 0., 0.])
    >>> mg.unroll(cell, np.ones((5, 2, 3)))[0].shape
    (5, 2, 4)
    """

    def __init__(self, input_size: int, hidden_size: int, *, scale: float = 1.0, rng: Rng = None, dtype: DType = float) -> None:
        rng = np.random.default_rng(0) if rng is None else rng
        super().__init__(input_size, hidden_size, nonlinearity="relu", rng=rng, dtype=dtype)
        self.W_x.data = 0.001 * rng.standard_normal((input_size, hidden_size))
        self.W_h.data = scale * np.eye(hidden_size)
        self.b.data = np.zeros(hidden_size)
