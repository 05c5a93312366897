"""The matrix LSTM of xLSTM: Beck et al. (2024), arXiv:2405.04517, section 2.3 and appendix A.

    q_t, k_t, v_t, õ_t, ĩ_t, f̃_t = x_t W_x + b,  k_t divided by √d      query, key, value; ĩ and f̃ one number per head
    m_t = max(ĩ_t, log σ(f̃_t) + m_{t-1})                     stabiliser: the largest exponent so far
    i_t = exp(ĩ_t - m_t)                                     input gate
    f_t = exp(log σ(f̃_t) + m_{t-1} - m_t)                    forget gate
    C_t = f_t C_{t-1} + i_t k_tᵀ v_t                         memory: a (d, d) matrix for each head
    n_t = f_t n_{t-1} + i_t k_t                              normaliser
    h_t = σ(õ_t) ⊙ q_t C_t / max(|q_t n_tᵀ|, exp(-m_t))

Nothing sees h_{t-1}, so a whole sequence has the form of attention: with Ĩ_ts = ĩ_s + Σ_{s<r≤t} log σ(f̃_r) and from C_0 = 0,

    h_t = σ(õ_t) ⊙ Σ_{s≤t} w_ts v_s / max(|Σ_{s≤t} w_ts|, 1),    w_ts = exp(Ĩ_ts) q_t k_sᵀ

m does not change h: with m = 0 throughout these are the equations i = exp(ĩ), f = σ(f̃). The paper allows f = exp(f̃) too;
its programs use σ, as here, and divide the bias of k by √d as well. Row vectors, so C is the transposed of the paper's;
packed in the order q, k, v, o, i, f: W_x (D, 4H + 2 heads), b (4H + 2 heads,). The state is (C, n, m).
"""
from __future__ import annotations

import numpy as np

from ...tensor import Tensor
from ...module import Module
from ...ops import logsigmoid, sigmoid
from ..initial import DType, Rng, check_sizes, uniform
from .heads import check_heads, empty, join, split


class MLSTMCell(Module):
    """mLSTM (Beck et al. 2024, arXiv:2405.04517): output h (B, H); state (C, n, m) of shapes (B, heads, d, d),
    (B, heads, 1, d), (B, heads, 1, 1) with d = H / heads.

    heads  how many memories share the hidden units (default 1); divides hidden_size
    W_x starts uniform with variance 2/(5D), as the authors have it, but the two gates' at 0; b starts at 0 but the forget
    gates', which rise from 3 to 6 over the heads.

    >>> from minigrad.recurrent import unroll
    >>> cell = MLSTMCell(3, 4, heads=2, rng=np.random.default_rng(0))
    >>> ys, (C, n, m) = unroll(cell, np.ones((5, 6, 3)))
    >>> ys.shape, C.shape
    ((5, 6, 4), (6, 2, 2, 2))
    """

    def __init__(self, input_size: int, hidden_size: int, *, heads: int = 1, rng: Rng = None, dtype: DType = float) -> None:
        check_sizes("MLSTMCell", input_size=input_size, hidden_size=hidden_size)
        check_heads("MLSTMCell", hidden_size, heads)
        D, H = input_size, hidden_size
        self.hidden_size, self.heads = H, heads
        self.W_x, self.b = uniform(rng, (6 / (5 * D)) ** 0.5, dtype, (D, 4 * H + 2 * heads), (4 * H + 2 * heads,))
        self.W_x.data[:, 4 * H:] = 0
        self.b.data[:] = 0
        self.b.data[4 * H + heads:] = np.linspace(3, 6, heads)

    def initial_state(self, batch_size: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        N, d, dtype = self.heads, self.hidden_size // self.heads, self.W_x.dtype
        return empty(batch_size, dtype, N, d, d), empty(batch_size, dtype, N, 1, d), empty(batch_size, dtype, N, 1, 1)

    def __call__(self, x: Tensor, state: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        C, n, before = state
        H, N = self.hidden_size, self.heads
        a = x @ self.W_x + self.b
        q, k, v = split(a[..., :H], N), split(a[..., H:2 * H], N) * (H // N) ** -0.5, split(a[..., 2 * H:3 * H], N)
        o = sigmoid(a[..., 3 * H:4 * H])
        log_i, log_f = split(a[..., 4 * H:4 * H + N], N), logsigmoid(split(a[..., 4 * H + N:], N)) + before
        m = np.maximum(log_i, log_f)
        i, f = np.exp(log_i - m), np.exp(log_f - m)
        C = f * C + i * (k.mT @ v)
        n = f * n + i * k
        h = o * join(q @ C / np.maximum(np.abs(q @ n.mT), np.exp(-m)))
        return h, (C, n, m)
