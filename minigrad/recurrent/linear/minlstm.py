"""The minimal LSTM of Feng et al. (2024), "Were RNNs all we needed?" (arXiv:2410.01201, appendix B).

    f_t = σ(x_t W_f),  i_t = σ(x_t W_i)         forget and input gate
    n_t = g(x_t W_n)                            candidate; g(a) = a + ½ where a ≥ 0, σ(a) below: positive
    f′_t = f_t / (f_t + i_t),  i′_t = i_t / (f_t + i_t) = 1 - f′_t
    h_t = f′_t ⊙ h_{t-1} + i′_t ⊙ n_t

No gate sees h_{t-1}, so a whole sequence has a closed form: with A_t = Σ_{s≤t} log f′_s,

    h_t = exp(A_t) ⊙ h_0 + Σ_{s≤t} exp(A_t - A_s) ⊙ i′_s ⊙ n_s

The paper's program passes h_0 through g as well, so that its zero is ½; here h_0 is the state itself. Row vectors; packed
in the order f, i, n: W_x (D, 3H), no bias.
"""
from __future__ import annotations

from ...tensor import Tensor
from ...module import Module
from ...ops import logsigmoid, sigmoid
from ..initial import DType, Rng, check_sizes, uniform, zeros
from .mingru import g


class MinLSTMCell(Module):
    """minLSTM (Feng et al. 2024, arXiv:2410.01201); output and state h.

    Parameters W_x (D, 3H), uniform in ±1/√D as PyTorch's Linear.

    >>> import numpy as np
    >>> from minigrad.recurrent import unroll
    >>> cell = MinLSTMCell(3, 4, rng=np.random.default_rng(0))
    >>> ys, h = unroll(cell, np.ones((5, 2, 3)))
    >>> ys.shape, h.shape
    ((5, 2, 4), (2, 4))
    """

    def __init__(self, input_size: int, hidden_size: int, *, rng: Rng = None, dtype: DType = float) -> None:
        check_sizes("MinLSTMCell", input_size=input_size, hidden_size=hidden_size)
        self.hidden_size = hidden_size
        self.W_x, = uniform(rng, input_size ** -0.5, dtype, (input_size, 3 * hidden_size))

    def initial_state(self, batch_size: int | None = None) -> Tensor:
        return zeros(batch_size, self.hidden_size, self.W_x.dtype)

    def __call__(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        H = self.hidden_size
        a = x @ self.W_x
        f = sigmoid(logsigmoid(a[..., :H]) - logsigmoid(a[..., H:2 * H]))       # f / (f + i), also where both are 0
        n = g(a[..., 2 * H:])
        h = f * h + (1 - f) * n
        return h, h
