"""The Legendre memory unit of Voelker et al. (2019): a linear system that remembers a window of time, and a network that reads it.

    u_t = x_t e_x + h_{t-1} e_h + m_{t-1} e_m               one number is written
    m_t = m_{t-1} A + u_t B                                 d numbers are remembered
    h_t = tanh(x_t W_x + h_{t-1} W_h + m_t W_m)             with the new m

A and B are not learned. They are those of θ m' = m A + u B whose m holds the last θ steps of u, in Legendre polynomials P_i:

    A_ji = (2i + 1) (-1 if i < j else (-1)^(i-j+1))         B_i = (2i + 1) (-1)^i              i, j = 0 … d-1
    u(t - τ) ≈ Σ_i m_i(t) P_i(2τ/θ - 1)                     0 ≤ τ ≤ θ

solved exactly for inputs that are constant during a step (zero-order hold). All of this is section 2 of the paper. A held input
stands for the middle of its step: what m_t gives back at τ is u at time t + ½ - τ.
Row vectors: e_x (D, 1), e_h (H, 1), e_m (d, 1), W_x (D, H), W_h (H, H), W_m (d, H); A (d, d), B (1, d). The state is (h, m).
"""
from __future__ import annotations

import numpy as np

from ...module import Module
from ...ops import matrix_exp
from ...tensor import Tensor, parameter
from ..initial import DType, Rng, check_sizes, uniform, zeros
from .checks import check_positive


def legendre_system(order: int) -> tuple[np.ndarray, np.ndarray]:
    """The paper's A (d, d) and B (1, d), as arrays in row form: θ m' = m A + u B."""
    i, j = np.arange(order), np.arange(order)[:, None]
    return (2 * i + 1) * np.where(i < j, -1.0, (-1.0) ** (i - j + 1)), ((2 * i + 1) * (-1.0) ** i)[None]


def legendre_delay(order: int, theta: float) -> tuple[np.ndarray, np.ndarray]:
    """A (d, d) and B (1, d) of one step m A + u B of length 1, as arrays: zero-order hold of the system above.

    >>> A, B = legendre_delay(3, theta=10.0)
    >>> (np.array([1., 0., 0.]) @ A + B).round(12) + 0.                       # a constant input is remembered as the constant P_0
    array([[1., 0., 0.]])
    """
    A, B = legendre_system(order)
    step = matrix_exp(np.block([[A, np.zeros((order, 1))], [B, np.zeros((1, 1))]]) / theta)     # a held input is a state that stays
    return step[:order, :order], step[order:, :order]


class LMUCell(Module):
    """Legendre memory unit (Voelker, Kajić & Eliasmith 2019, NeurIPS): output h, state the tuple (h, m).

    order  d, how many Legendre polynomials describe the window: details of about θ/d steps are kept
    theta  θ, the length of the window in steps
    e_x and e_h start uniform in ±√(3/rows) (LeCun), e_m at zero, W_x, W_h and W_m uniform in ±√(6 / (rows + columns)) (Glorot; the paper
    draws them normal, with the same variance). A and B are constants, neither trained nor saved.

    >>> import minigrad as mg
    >>> cell = LMUCell(3, 4, order=6, theta=20, rng=np.random.default_rng(0))
    >>> ys, (h, m) = mg.unroll(cell, np.ones((5, 2, 3)))
    >>> ys.shape, m.shape
    ((5, 2, 4), (2, 6))
    """

    def __init__(self, input_size: int, hidden_size: int, *, order: int = 8, theta: float = 32.0, rng: Rng = None,
                 dtype: DType = float) -> None:
        check_sizes("LMUCell", input_size=input_size, hidden_size=hidden_size, order=order)
        check_positive("LMUCell", theta=theta)
        D, H, d = input_size, hidden_size, order
        self.theta = theta
        rng = np.random.default_rng(0) if rng is None else rng
        self.e_x, = uniform(rng, (3 / D) ** 0.5, dtype, (D, 1))
        self.e_h, = uniform(rng, (3 / H) ** 0.5, dtype, (H, 1))
        self.A, self.B = (Tensor(a.astype(dtype), name=name) for a, name in zip(legendre_delay(order, theta), "AB"))
        self.e_m = parameter(np.zeros((d, 1), dtype))
        self.W_x, self.W_h, self.W_m = (uniform(rng, (6 / (rows + H)) ** 0.5, dtype, (rows, H))[0] for rows in (D, H, d))

    def initial_state(self, batch_size: int | None = None) -> tuple[Tensor, Tensor]:
        d, H = self.W_m.shape
        return zeros(batch_size, H, self.W_h.dtype), zeros(batch_size, d, self.W_h.dtype)

    def __call__(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        h, m = state
        u = x @ self.e_x + h @ self.e_h + m @ self.e_m
        m = m @ self.A + u @ self.B
        h = np.tanh(x @ self.W_x + h @ self.W_h + m @ self.W_m)
        return h, (h, m)
