"""The LSTM with layer normalisation, as Ba, Kiros & Hinton (2016) wrote it in their supplement (equations 20 to 22).

    a_t = γ_x ⊙ LN(x_t W_x) + γ_h ⊙ LN(h_{t-1} W_h) + b         LN(v) = (v - mean(v)) / √(var(v) + 1e-5), over all 4H together
    i_t, f_t, g_t, o_t = σ(a_i), σ(a_f), tanh(a_g), σ(a_o)
    c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
    h_t = o_t ⊙ tanh(γ_c ⊙ LN(c_t) + b_c)                       norm_c=False: h_t = o_t ⊙ tanh(c_t)

The memory c itself is never normalised, only what is shown of it. The paper's three biases of a are one here: only their sum matters.
Variants elsewhere differ: some normalise each gate apart, some the sum x W_x + h W_h, some keep the normalised c as the state.
Row vectors; gates packed in the order i, f, g, o: W_x (D, 4H), W_h (H, 4H), γ_x, γ_h, b (4H,), γ_c, b_c (H,). The state is (h, c).
"""
from __future__ import annotations

import numpy as np

from ...tensor import Tensor
from ...module import Module
from ...ops import layer_norm, sigmoid
from ...tensor import parameter
from ..initial import DType, Rng, check_sizes, uniform, zeros


class LayerNormLSTMCell(Module):
    """LSTM with layer normalisation (Ba, Kiros & Hinton 2016, arXiv:1607.06450): output h, state the tuple (h, c).

    norm_c  True (the paper): tanh gets γ_c ⊙ LN(c_t) + b_c; False: c_t, and there are no gain_c and b_c
    W_x and W_h start uniform in ±1/√H, gains γ (gain_x, gain_h, gain_c) at 1, biases at 0 but the forget gate's, at ``forget_bias``.

    >>> import minigrad as mg
    >>> cell = LayerNormLSTMCell(3, 4, rng=np.random.default_rng(0))
    >>> ys, (h, c) = mg.unroll(cell, np.ones((5, 2, 3)))
    >>> ys.shape, c.shape
    ((5, 2, 4), (2, 4))
    """

    def __init__(self, input_size: int, hidden_size: int, *, norm_c: bool = True, forget_bias: float = 1.0,
                 rng: Rng = None, dtype: DType = float) -> None:
        check_sizes("LayerNormLSTMCell", input_size=input_size, hidden_size=hidden_size)
        D, H = input_size, hidden_size
        self.norm_c = norm_c
        self.W_x, self.W_h = uniform(rng, H ** -0.5, dtype, (D, 4 * H), (H, 4 * H))
        self.gain_x, self.gain_h, self.b = (parameter(np.full(4 * H, value, dtype)) for value in (1, 1, 0))
        self.b.data[H:2 * H] = forget_bias
        if norm_c:
            self.gain_c, self.b_c = (parameter(np.full(H, value, dtype)) for value in (1, 0))

    def initial_state(self, batch_size: int | None = None) -> tuple[Tensor, Tensor]:
        h, c = (zeros(batch_size, len(self.W_h), self.W_h.dtype) for _ in "hc")
        return h, c

    def __call__(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        h, c = state
        H = len(self.W_h)
        a = self.gain_x * layer_norm(x @ self.W_x) + self.gain_h * layer_norm(h @ self.W_h) + self.b
        i, f, g, o = sigmoid(a[..., :H]), sigmoid(a[..., H:2 * H]), np.tanh(a[..., 2 * H:3 * H]), sigmoid(a[..., 3 * H:])
        c = f * c + i * g
        shown = self.gain_c * layer_norm(c) + self.b_c if self.norm_c else c
        h = o * np.tanh(shown)
        return h, (h, c)
