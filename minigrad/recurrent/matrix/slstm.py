"""The scalar LSTM of xLSTM, with exponential gates: Beck et al. (2024), arXiv:2405.04517, section 2.2 and appendix A.

    ĩ_t, f̃_t, z̃_t, õ_t = x_t W_x + h_{t-1} W_h + b
    m_t = max(ĩ_t, log σ(f̃_t) + m_{t-1})                     stabiliser: the largest exponent so far
    i_t = exp(ĩ_t - m_t)                                     input gate
    f_t = exp(log σ(f̃_t) + m_{t-1} - m_t)                    forget gate
    c_t = f_t ⊙ c_{t-1} + i_t ⊙ tanh(z̃_t)
    n_t = f_t ⊙ n_{t-1} + i_t                                normaliser
    h_t = σ(õ_t) ⊙ c_t / n_t

m divides c and n by the same number, so h does not depend on it: with m = 0 throughout, these are the equations i = exp(ĩ),
f = σ(f̃). It starts at -∞ (-1e30), hence m_1 = ĩ_1 and n ≥ 1 forever: nothing overflows and nothing is divided by 0.
The paper allows f = exp(f̃) too; its programs use σ, as here. One head: W_h is full.
Row vectors; packed in the order i, f, z, o: W_x (D, 4H), W_h (H, 4H), b (4H,). The state is (h, c, n, m).
"""
from __future__ import annotations

import numpy as np

from ...module import Module
from ...ops import logsigmoid, sigmoid
from ...tensor import Tensor
from ..initial import DType, Rng, check_sizes, uniform, zeros

LOG_ZERO = -1e30      # exp of it is 0; finite, so that differences of it are no NaN


class SLSTMCell(Module):
    """sLSTM (Beck et al. 2024, arXiv:2405.04517): output h, state the tuple (h, c, n, m), each (B, H).

    W_x starts uniform in ±1/√D, W_h in ±1/√H; the biases at 0 but the forget gate's, which rise from 3 to 6 over the
    units (an option of the authors' program).

    >>> from minigrad.recurrent import unroll
    >>> cell = SLSTMCell(3, 4, rng=np.random.default_rng(0))
    >>> ys, (h, c, n, m) = unroll(cell, np.ones((5, 2, 3)))
    >>> ys.shape, c.shape
    ((5, 2, 4), (2, 4))
    """

    def __init__(self, input_size: int, hidden_size: int, *, rng: Rng = None, dtype: DType = float) -> None:
        check_sizes("SLSTMCell", input_size=input_size, hidden_size=hidden_size)
        D, H = input_size, hidden_size
        rng = np.random.default_rng(0) if rng is None else rng
        self.hidden_size = H
        self.W_x, = uniform(rng, D ** -0.5, dtype, (D, 4 * H))
        self.W_h, self.b = uniform(rng, H ** -0.5, dtype, (H, 4 * H), (4 * H,))
        self.b.data[:] = 0
        self.b.data[H:2 * H] = np.linspace(3, 6, H)

    def initial_state(self, batch_size: int | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        h, c, n = (zeros(batch_size, self.hidden_size, self.W_h.dtype) for _ in "hcn")
        return h, c, n, Tensor(np.full(h.shape, LOG_ZERO, h.dtype))

    def __call__(self, x: Tensor, state: tuple[Tensor, Tensor, Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
        h, c, n, before = state
        H = self.hidden_size
        a = x @ self.W_x + h @ self.W_h + self.b
        log_i, log_f = a[..., :H], logsigmoid(a[..., H:2 * H]) + before
        z, o = np.tanh(a[..., 2 * H:3 * H]), sigmoid(a[..., 3 * H:])
        m = np.maximum(log_i, log_f)
        i, f = np.exp(log_i - m), np.exp(log_f - m)
        c = f * c + i * z
        n = f * n + i
        h = o * c / n
        return h, (h, c, n, m)
