"""Gated DeltaNet: Yang, Kautz and Hatamizadeh (2024), "Gated delta networks", arXiv:2412.06464, section 3.

    q_t = normed(silu(x_t W_q)),  k_t = normed(silu(x_t W_k)),  v_t = silu(x_t W_v)      normed(x) = x / √(|x|² + 1e-6)
    g_t = -A softplus(x_t W_g + b)                           logarithm of the decay, one number per head
    β_t = σ(x_t W_β)                                         writing strength, one number per head
    S = exp(g_t) S_{t-1}                                     the memory fades: a (d, d) matrix for each head
    S_t = S + β_t k_tᵀ (v_t - k_t S)                         what stands under k_t is moved towards v_t: the delta rule
    y_t = q_t S_t

With g = 0 a step is one of gradient descent, of length β, on ½|k S - v|². The paper's block has more around the cell:
a short convolution in front of silu, the norm of y and an output gate; programs divide q by √d, which that norm undoes.
Row vectors, so S is the transposed of the paper's; packed in the order q, k, v, g, β: W_x (D, 3H + 2 heads), b (heads,),
log_A (heads,).
"""
from __future__ import annotations

import numpy as np

from ...tensor import Tensor
from ...module import Module
from ...ops import sigmoid, silu, softplus
from ...tensor import parameter
from ..initial import DType, Rng, check_sizes, uniform
from .heads import check_heads, empty, join, split


def normed(_x: Tensor) -> Tensor:
    """Rows of length 1; the 1e-6 keeps a row of zeros one."""
    return _x / np.sqrt((_x * _x).sum(axis=-1, keepdims=True) + 1e-6)


class GatedDeltaNetCell(Module):
    """Gated delta rule (Yang et al. 2024, arXiv:2412.06464): output y (B, H), state S (B, heads, d, d) with d = H / heads.

    heads  how many memories share the hidden units (default 1); divides hidden_size
    W_x starts uniform in ±1/√D; A uniform in 0.01 … 16 (the authors' 0 … 16, but for logarithms of 0) and b so that softplus(b) is
    log-uniform in 0.001 … 0.1, as in the authors' program.

    >>> from minigrad.recurrent import unroll
    >>> cell = GatedDeltaNetCell(3, 4, heads=2, rng=np.random.default_rng(0))
    >>> ys, S = unroll(cell, np.ones((5, 6, 3)))
    >>> ys.shape, S.shape
    ((5, 6, 4), (6, 2, 2, 2))
    """

    def __init__(self, input_size: int, hidden_size: int, *, heads: int = 1, rng: Rng = None, dtype: DType = float) -> None:
        check_sizes("GatedDeltaNetCell", input_size=input_size, hidden_size=hidden_size)
        check_heads("GatedDeltaNetCell", hidden_size, heads)
        D, H = input_size, hidden_size
        rng = np.random.default_rng(0) if rng is None else rng
        self.hidden_size, self.heads = H, heads
        self.W_x, = uniform(rng, D ** -0.5, dtype, (D, 3 * H + 2 * heads))
        rate = np.exp(rng.uniform(np.log(0.001), np.log(0.1), heads))
        self.b = parameter(np.log(np.expm1(rate)).astype(dtype))                # softplus(b) = rate
        self.log_A = parameter(np.log(rng.uniform(0.01, 16, heads)).astype(dtype))

    def initial_state(self, batch_size: int | None = None) -> Tensor:
        d = self.hidden_size // self.heads
        return empty(batch_size, self.W_x.dtype, self.heads, d, d)

    def __call__(self, x: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
        H, N = self.hidden_size, self.heads
        a = x @ self.W_x
        q, k = normed(silu(split(a[..., :H], N))), normed(silu(split(a[..., H:2 * H], N)))
        v = silu(split(a[..., 2 * H:3 * H], N))
        g = split(-np.exp(self.log_A) * softplus(a[..., 3 * H:3 * H + N] + self.b), N)
        beta = split(sigmoid(a[..., 3 * H + N:]), N)
        S = np.exp(g) * S           # type: ignore[assignment]      # of Tensors it is a Tensor
        S = S + k.mT @ (beta * (v - k @ S))
        return join(q @ S), S
