"""The minimal gated recurrent unit of Feng et al. (2024), "Were RNNs all we needed?" (arXiv:2410.01201, appendix B).

    z_t = σ(x_t W_z)                            update gate
    n_t = g(x_t W_n)                            candidate; g(a) = a + ½ where a ≥ 0, σ(a) below: positive
    h_t = (1 - z_t) ⊙ h_{t-1} + z_t ⊙ n_t

Neither gate nor candidate sees h_{t-1}, so a whole sequence has a closed form: with A_t = Σ_{s≤t} log(1 - z_s),

    h_t = exp(A_t) ⊙ h_0 + Σ_{s≤t} exp(A_t - A_s) ⊙ z_s ⊙ n_s

The paper's program writes it with log g in logarithms, and passes h_0 through g as well, so that its zero is ½. Here h_0
is the state itself. Row vectors; packed in the order z, n: W_x (D, 2H), no bias.
"""
from __future__ import annotations

import numpy as np

from ...tensor import Tensor
from ...module import Module
from ...ops import sigmoid
from ..initial import DType, Rng, check_sizes, uniform, zeros


def g(_a: Tensor) -> Tensor:
    """a + ½ where a ≥ 0, σ(a) below: in both cases the larger of the two. (A private name stays out of pictures.)"""
    return np.maximum(_a + 0.5, sigmoid(_a))


class MinGRUCell(Module):
    """minGRU (Feng et al. 2024, arXiv:2410.01201); output and state h.

    Parameters W_x (D, 2H), uniform in ±1/√D as PyTorch's Linear.

    >>> from minigrad.recurrent import unroll
    >>> cell = MinGRUCell(3, 4, rng=np.random.default_rng(0))
    >>> ys, h = unroll(cell, np.ones((5, 2, 3)))
    >>> ys.shape, h.shape
    ((5, 2, 4), (2, 4))
    """

    def __init__(self, input_size: int, hidden_size: int, *, rng: Rng = None, dtype: DType = float) -> None:
        check_sizes("MinGRUCell", input_size=input_size, hidden_size=hidden_size)
        self.hidden_size = hidden_size
        self.W_x, = uniform(rng, input_size ** -0.5, dtype, (input_size, 2 * hidden_size))

    def initial_state(self, batch_size: int | None = None) -> Tensor:
        return zeros(batch_size, self.hidden_size, self.W_x.dtype)

    def __call__(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        H = self.hidden_size
        a = x @ self.W_x
        z, n = sigmoid(a[..., :H]), g(a[..., H:])
        h = (1 - z) * h + z * n
        return h, h
