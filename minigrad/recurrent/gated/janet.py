"""JANET ("just another network") of van der Westhuizen & Lasenby (2018): of the LSTM's gates only the forget gate.

    s_t = x_t W_xf + h_{t-1} W_hf + b_f
    n_t = tanh(x_t W_xn + h_{t-1} W_hn + b_n)                        candidate
    h_t = σ(s_t) ⊙ h_{t-1} + (1 - σ(s_t - β)) ⊙ n_t

With β = 0 what is kept and what is written add up to one; β = 1 writes more. The paper's c_t is h_t.
Row vectors; packed in the order f, n: W_x (D, 2H), W_h (H, 2H), b (2H,).
"""
from __future__ import annotations

import numbers

from ...tensor import Tensor

import numpy as np

from ...module import Module
from ...ops import sigmoid
from ..initial import DType, Rng, check_sizes, uniform, zeros


class JANETCell(Module):
    """JANET, the forget-gate-only LSTM (van der Westhuizen & Lasenby 2018, arXiv:1804.04849); output and state h.

    beta   β, default 1 as in the paper
    t_max  the longest time that matters: b_f starts as log of numbers uniform in 1 … t_max - 1 ("chrono", Tallec & Ollivier 2018,
           arXiv:1804.11188), b_n at 0, as in the paper; default None: b_f starts at 1
    The other parameters start uniform in ±1/√H.

    >>> import minigrad as mg
    >>> cell = JANETCell(3, 4, t_max=100, rng=np.random.default_rng(0))
    >>> mg.unroll(cell, np.ones((5, 2, 3)))[0].shape
    (5, 2, 4)
    """

    def __init__(self, input_size: int, hidden_size: int, *, beta: float = 1.0, t_max: float | None = None,
                 rng: Rng = None, dtype: DType = float) -> None:
        check_sizes("JANETCell", input_size=input_size, hidden_size=hidden_size)
        if t_max is not None and not (isinstance(t_max, numbers.Real) and t_max >= 2):
            raise ValueError(f"JANETCell got t_max={t_max!r}; expected a number of steps, at least 2")
        D, H = input_size, hidden_size
        self.beta = beta
        rng = np.random.default_rng(0) if rng is None else rng
        self.W_x, self.W_h, self.b = uniform(rng, H ** -0.5, dtype, (D, 2 * H), (H, 2 * H), (2 * H,))
        if t_max is None:
            self.b.data[:H] = 1
        else:
            self.b.data[:] = np.concatenate([np.log(rng.uniform(1, t_max - 1, H)), np.zeros(H)])

    def initial_state(self, batch_size: int | None = None) -> Tensor:
        return zeros(batch_size, len(self.W_h), self.W_h.dtype)

    def __call__(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        H = len(self.W_h)
        a = x @ self.W_x + h @ self.W_h + self.b
        s, n = a[..., :H], np.tanh(a[..., H:])
        keep, write = sigmoid(s), 1 - sigmoid(s - self.beta)
        h = keep * h + write * n
        return h, h
