"""The AntisymmetricRNN of Chang et al. (2019): a recurrent network whose memory neither fades nor grows.

    A   = W_h - W_hᵀ - γ I                            antisymmetric but for γ: eigenvalues -γ ± iω
    h_t = h_{t-1} + ε tanh(x_t W_x + h_{t-1} A + b)                          equation 12

and with a gate, which shares A:

    z_t = σ(x_t W_xz + h_{t-1} A + b_z)                                      equation 13
    h_t = h_{t-1} + ε z_t ⊙ tanh(x_t W_xn + h_{t-1} A + b_n)

One step of Euler's method for h' = tanh(x W_x + h A + b). Where a circle is meant Euler steps outwards, and the diffusion γ pulls back.
Row vectors: W_x (D, H), W_h (H, H), b (H,); gated and packed in the order n, z: W_x (D, 2H), b (2H,). The paper's W_h is the transpose of
this one.
"""
from __future__ import annotations

import numpy as np

from ...tensor import Tensor
from ...module import Module
from ...ops import sigmoid
from ...tensor import parameter
from ..initial import DType, Rng, check_sizes, uniform, zeros
from .checks import check_positive


class AntisymmetricRNNCell(Module):
    """``h_t = h_{t-1} + ε tanh(x_t W_x + h_{t-1} (W_h - W_hᵀ - γI) + b)``; output and state h (Chang et al., arXiv:1902.09689).

    gated    False; True: the step is scaled by an input gate (the paper's equation 13)
    epsilon  the step size ε; the paper tries .01, .1 and 1
    gamma    the diffusion γ; from about ε ω² / 2 on, ω the highest frequency, small states do not grow
    W_x and W_h start uniform with the paper's variances, 1/D and 1/H; b starts at zero. Only W_h - W_hᵀ matters, so half of W_h is
    redundant.

    >>> import minigrad as mg
    >>> cell = AntisymmetricRNNCell(3, 4, rng=np.random.default_rng(0))
    >>> mg.unroll(cell, np.ones((5, 2, 3)))[0].shape
    (5, 2, 4)
    """

    def __init__(self, input_size: int, hidden_size: int, *, gated: bool = False, epsilon: float = 0.1,
                 gamma: float = 0.01, rng: Rng = None, dtype: DType = float) -> None:
        check_sizes("AntisymmetricRNNCell", input_size=input_size, hidden_size=hidden_size)
        check_positive("AntisymmetricRNNCell", epsilon=epsilon)
        D, H = input_size, hidden_size
        width = 2 * H if gated else H
        self.gated, self.epsilon, self.gamma = gated, epsilon, gamma
        rng = np.random.default_rng(0) if rng is None else rng
        self.W_x, = uniform(rng, (3 / D) ** 0.5, dtype, (D, width))
        self.W_h, = uniform(rng, (3 / H) ** 0.5, dtype, (H, H))
        self.b = parameter(np.zeros(width, dtype))

    def initial_state(self, batch_size: int | None = None) -> Tensor:
        return zeros(batch_size, len(self.W_h), self.W_h.dtype)

    def __call__(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        turn = h @ (self.W_h - self.W_h.mT) - self.gamma * h
        a = x @ self.W_x + self.b
        if self.gated:
            H = len(self.W_h)
            step = sigmoid(a[..., H:] + turn) * np.tanh(a[..., :H] + turn)
        else:
            step = np.tanh(a + turn)
        h = h + self.epsilon * step
        return h, h
