"""The closed-form continuous-time network of Hasani et al. (2022): the solution of a differential equation, without a solver.

The last column of x is not an input but Δ_t, the time that has passed since the step before: steps may be irregular. With the other columns
as u_t,

    v_t = φ(u_t W_x + h_{t-1} W_h + b)                     the backbone; φ(a) = 1.7159 tanh(.666 a)
    g_t = tanh(v_t W_g + b_g)                              where h stands early
    k_t = tanh(v_t W_k + b_k)                              and where it goes
    s_t = σ((v_t W_f + b_f) Δ_t + v_t W_c + b_c)           how far it has come after Δ_t
    h_t = (1 - s_t) ⊙ g_t + s_t ⊙ k_t                      or, without a gate, g_t + s_t ⊙ k_t

The paper's equation 10 is h_t = σ(-f Δ_t) ⊙ g + (1 - σ(-f Δ_t)) ⊙ h, its h our k: the same, but for the shift c of the authors' code.
Row vectors: W_x (D - 1, M), W_h (H, M), b (M,); the four heads packed in the order g, k, f, c: W_v (M, 4H), b_v (4H,).
"""
from __future__ import annotations

import numpy as np

from ...tensor import Tensor
from ...module import Module
from ...ops import sigmoid
from ..initial import DType, Rng, check_sizes, uniform, zeros


class CfCCell(Module):
    """Closed-form continuous-time cell (Hasani et al. 2022, arXiv:2106.13898); output and state h.

    input_size     D, the columns of x **with the elapsed time Δ_t, which is the last one**; in the unit of time you like
    backbone_size  M, units of the layer that all four heads read; default H
    gate           True; False: h_t = g_t + s_t ⊙ k_t ("no_gate" in the authors' code)
    The authors' weights: uniform in ±√(6 / (rows + columns)) (Glorot), [W_x; W_h] as one matrix and each head as one; biases in ±1/√rows.

    >>> import minigrad as mg
    >>> rng = np.random.default_rng(0)
    >>> times = np.cumsum(rng.exponential(size=(5, 2, 1)), axis=0)            # when each of 5 measurements was made
    >>> elapsed = np.diff(times, axis=0, prepend=0)
    >>> xs = np.concatenate([rng.standard_normal((5, 2, 2)), elapsed], axis=-1)
    >>> mg.unroll(CfCCell(3, 4, rng=rng), xs)[0].shape
    (5, 2, 4)
    """

    def __init__(self, input_size: int, hidden_size: int, *, backbone_size: int | None = None, gate: bool = True,
                 rng: Rng = None, dtype: DType = float) -> None:
        D, H, M = input_size, hidden_size, hidden_size if backbone_size is None else backbone_size
        check_sizes("CfCCell", input_size=D, hidden_size=H, backbone_size=M)
        if D == 1:
            raise ValueError("CfCCell got input_size=1; expected at least 2: the inputs and, as the last column, the elapsed time")
        self.input_size, self.hidden_size, self.gate = D, H, gate
        rng = np.random.default_rng(0) if rng is None else rng
        rows = D - 1 + H
        self.W_x, self.W_h = uniform(rng, (6 / (rows + M)) ** 0.5, dtype, (D - 1, M), (H, M))
        self.b, = uniform(rng, rows ** -0.5, dtype, (M,))
        self.W_v, = uniform(rng, (6 / (M + H)) ** 0.5, dtype, (M, 4 * H))
        self.b_v, = uniform(rng, M ** -0.5, dtype, (4 * H,))

    def initial_state(self, batch_size: int | None = None) -> Tensor:
        return zeros(batch_size, self.hidden_size, self.W_h.dtype)

    def __call__(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        H = self.hidden_size
        u, elapsed = x[..., :-1], x[..., -1:]
        v = 1.7159 * np.tanh(0.666 * (u @ self.W_x + h @ self.W_h + self.b))
        a = v @ self.W_v + self.b_v
        g, k = np.tanh(a[..., :H]), np.tanh(a[..., H:2 * H])
        s = sigmoid(a[..., 2 * H:3 * H] * elapsed + a[..., 3 * H:])
        h = (1 - s) * g + s * k if self.gate else g + s * k
        return h, h
