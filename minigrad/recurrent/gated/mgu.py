"""The minimal gated unit of Zhou et al. (2016): one gate says what to forget, what to look at and what to write.

    f_t = σ(x_t W_xf + h_{t-1} W_hf + b_f)                  gate
    n_t = tanh(x_t W_xn + (f_t ⊙ h_{t-1}) W_hn + b_n)       candidate
    h_t = (1 - f_t) ⊙ h_{t-1} + f_t ⊙ n_t

A GRU (reset="before") whose gates are one: r = f, z = 1 - f. Note that f = 1 writes, and f = 0 keeps.
Row vectors; packed in the order f, n: W_x (D, 2H), W_h (H, 2H), b (2H,).
"""
from __future__ import annotations

import numpy as np

from ...tensor import Tensor
from ...module import Module
from ...ops import sigmoid
from ..initial import DType, Rng, check_sizes, uniform, zeros


class MGUCell(Module):
    """Minimal gated unit (Zhou, Wu, Zhang & Zhou 2016, arXiv:1603.09420); output and state h.

    Parameters start uniform in ±1/√H; the gate's bias starts at ``forget_bias``, default 1.

    >>> import minigrad as mg
    >>> cell = MGUCell(3, 4, rng=np.random.default_rng(0))
    >>> mg.unroll(cell, np.ones((5, 2, 3)))[0].shape
    (5, 2, 4)
    """

    def __init__(self, input_size: int, hidden_size: int, *, forget_bias: float = 1.0, rng: Rng = None, dtype: DType = float) -> None:
        check_sizes("MGUCell", input_size=input_size, hidden_size=hidden_size)
        D, H = input_size, hidden_size
        self.W_x, self.W_h, self.b = uniform(rng, H ** -0.5, dtype, (D, 2 * H), (H, 2 * H), (2 * H,))
        self.b.data[:H] = forget_bias

    def initial_state(self, batch_size: int | None = None) -> Tensor:
        return zeros(batch_size, len(self.W_h), self.W_h.dtype)

    def __call__(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        H = len(self.W_h)
        a = x @ self.W_x + self.b
        f = sigmoid(a[..., :H] + h @ self.W_h[:, :H])
        n = np.tanh(a[..., H:] + (f * h) @ self.W_h[:, H:])
        h = h + f * (n - h)
        return h, h
