"""Long short-term memory of Hochreiter & Schmidhuber (1997), with the forget gate of Gers et al. (2000).

    i_t = σ(x_t W_xi + h_{t-1} W_hi + b_i)           input gate
    f_t = σ(x_t W_xf + h_{t-1} W_hf + b_f)           forget gate
    g_t = tanh(x_t W_xg + h_{t-1} W_hg + b_g)        candidate
    o_t = σ(x_t W_xo + h_{t-1} W_ho + b_o)           output gate
    c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
    h_t = o_t ⊙ tanh(c_t)

With peepholes (Gers & Schmidhuber 2000) the gates also see the memory, unit by unit, the output gate the new one:

    i_t = σ(… + p_i ⊙ c_{t-1})       f_t = σ(… + p_f ⊙ c_{t-1})       o_t = σ(… + p_o ⊙ c_t)

Row vectors; gates packed in the order i, f, g, o: W_x (D, 4H), W_h (H, 4H), b (4H,); i, f, o: p (3H,). The state is (h, c).
"""
from __future__ import annotations

import numpy as np

from ...tensor import Tensor
from ...module import Module
from ...ops import sigmoid
from ..initial import DType, Rng, check_sizes, uniform, zeros


class LSTMCell(Module):
    """LSTM (Hochreiter & Schmidhuber 1997; Gers et al. 2000): output h, state the tuple (h, c).

    peepholes  True: a parameter p more, through which the gates see c (Gers, Schraudolph & Schmidhuber 2002, JMLR 3)
    Parameters start uniform in ±1/√H; the forget gate's bias starts at ``forget_bias`` (default 1, Jozefowicz et al. 2015).

    >>> import minigrad as mg
    >>> cell = mg.LSTMCell(3, 4, rng=np.random.default_rng(0))
    >>> ys, (h, c) = mg.unroll(cell, np.ones((5, 2, 3)))
    >>> ys.shape, c.shape
    ((5, 2, 4), (2, 4))
    """

    def __init__(self, input_size: int, hidden_size: int, *, forget_bias: float = 1.0, peepholes: bool = False,
                 rng: Rng = None, dtype: DType = float) -> None:
        check_sizes("LSTMCell", input_size=input_size, hidden_size=hidden_size)
        D, H = input_size, hidden_size
        self.hidden_size = H
        self.W_x, self.W_h, self.b, *p = uniform(rng, H ** -0.5, dtype, (D, 4 * H), (H, 4 * H), (4 * H,),
                                                 *([(3 * H,)] if peepholes else []))
        self.b.data[H:2 * H] = forget_bias
        self.p = p[0] if peepholes else None

    def initial_state(self, batch_size: int | None = None) -> tuple[Tensor, Tensor]:
        return zeros(batch_size, self.hidden_size, self.W_h.dtype), zeros(batch_size, self.hidden_size, self.W_h.dtype)

    def __call__(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        h, c = state
        H = self.hidden_size
        a = x @ self.W_x + h @ self.W_h + self.b
        if self.p is None:
            i, f, g, o = sigmoid(a[..., :H]), sigmoid(a[..., H:2 * H]), np.tanh(a[..., 2 * H:3 * H]), sigmoid(a[..., 3 * H:])
            c = f * c + i * g
        else:
            p_i, p_f, p_o = np.split(self.p, 3)
            i, f, g = sigmoid(a[..., :H] + p_i * c), sigmoid(a[..., H:2 * H] + p_f * c), np.tanh(a[..., 2 * H:3 * H])
            c = f * c + i * g
            o = sigmoid(a[..., 3 * H:] + p_o * c)
        h = o * np.tanh(c)
        return h, (h, c)
