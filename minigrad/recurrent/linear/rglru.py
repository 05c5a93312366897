"""The real-gated linear recurrent unit of Griffin: De et al. (2024), arXiv:2402.19427, section 2.4.

    u_t = x_t W_x                               the layer in front of the unit
    r_t = σ(u_t W_ur + b_r)                     recurrence gate
    i_t = σ(u_t W_ui + b_i)                     input gate
    a_t = a^(8 r_t),  a = σ(-Λ)                 computed as log a_t = -8 r_t softplus(Λ)
    h_t = a_t ⊙ h_{t-1} + √(1 - a_t²) ⊙ (i_t ⊙ u_t)

Nothing but the last line sees h_{t-1}, so a whole sequence has a closed form: with A_t = Σ_{s≤t} log a_s,

    h_t = exp(A_t) ⊙ h_0 + Σ_{s≤t} exp(A_t - A_s) ⊙ √(1 - a_s²) ⊙ i_s ⊙ u_s

The paper writes a = σ(Λ); the sign of Λ here is that of the authors' program, which has softplus(Λ). That program also
leaves √(1 - a²) out at the first position of a document; a cell knows no positions.
Row vectors; gates packed in the order r, i: W_x (D, H), W_u (H, 2H), b (2H,), Lambda (H,).
"""
from __future__ import annotations

import numpy as np

from ...tensor import Tensor
from ...module import Module
from ...ops import sigmoid, softplus
from ...tensor import parameter
from ..initial import DType, Rng, check_sizes, uniform, zeros

TINY = 1e-30      # √ has no slope at 0, which 1 - a² reaches where r underflows


class RGLRUCell(Module):
    """RG-LRU (De et al. 2024, arXiv:2402.19427); output and state h.

    W_x and W_u start uniform with variance 1/D and 1/H, b at 0; Lambda so that a⁸, the decay at r = 1, is uniform in
    0.9 … 0.999, as the paper has it (the authors' program draws a itself, a² being uniform). W_x = I gives the bare unit.

    >>> from minigrad.recurrent import unroll
    >>> cell = RGLRUCell(3, 4, rng=np.random.default_rng(0))
    >>> ys, h = unroll(cell, np.ones((5, 2, 3)))
    >>> ys.shape, h.shape
    ((5, 2, 4), (2, 4))
    """

    def __init__(self, input_size: int, hidden_size: int, *, rng: Rng = None, dtype: DType = float) -> None:
        check_sizes("RGLRUCell", input_size=input_size, hidden_size=hidden_size)
        D, H = input_size, hidden_size
        rng = np.random.default_rng(0) if rng is None else rng
        self.hidden_size = H
        self.W_x, = uniform(rng, (3 / D) ** 0.5, dtype, (D, H))
        self.W_u, = uniform(rng, (3 / H) ** 0.5, dtype, (H, 2 * H))
        self.b = parameter(np.zeros(2 * H, dtype))
        a = rng.uniform(0.9, 0.999, H) ** (1 / 8)
        self.Lambda = parameter(np.log(1 / a - 1).astype(dtype))                # log a = -softplus(Λ)

    def initial_state(self, batch_size: int | None = None) -> Tensor:
        return zeros(batch_size, self.hidden_size, self.W_x.dtype)

    def __call__(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        H = self.hidden_size
        u = x @ self.W_x
        gates = sigmoid(u @ self.W_u + self.b)
        r, i = gates[..., :H], gates[..., H:]
        log_a = -8 * r * softplus(self.Lambda)
        scale = np.sqrt(np.maximum(-np.expm1(2 * log_a), TINY))                 # √(1 - a²), exact near a = 1
        h = np.exp(log_a) * h + scale * (i * u)
        return h, h
