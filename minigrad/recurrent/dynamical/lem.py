"""Long expressive memory of Rusch et al. (2022): every unit chooses its own step size, at every step.

    Δ_t = Δt σ(x_t W_xΔ + y_{t-1} W_yΔ + b_Δ)            step size of z
    Γ_t = Δt σ(x_t W_xΓ + y_{t-1} W_yΓ + b_Γ)            step size of y
    z_t = (1 - Δ_t) ⊙ z_{t-1} + Δ_t ⊙ tanh(x_t W_xz + y_{t-1} W_yz + b_z)
    y_t = (1 - Γ_t) ⊙ y_{t-1} + Γ_t ⊙ tanh(x_t W_xy + z_t W_z + b_y)         with the new z

Equation 3 of the paper, where Γ is written Δ with a bar, and W_z, the one matrix that multiplies z, is W_y.
Row vectors; packed in the order Δ, Γ, z, y: W_x (D, 4H), b (4H,); Δ, Γ, z: W_y (H, 3H); W_z (H, H). The state is (y, z).
"""
from __future__ import annotations

import numpy as np

from ...tensor import Tensor
from ...module import Module
from ...ops import sigmoid
from ..initial import DType, Rng, check_sizes, uniform, zeros
from .checks import check_positive


class LEMCell(Module):
    """Long expressive memory (Rusch, Mishra, Erichson & Mahoney 2022, arXiv:2110.04744): output y, state the tuple (y, z).

    dt  the largest step size Δt, default 1, as in the authors' code
    All parameters start uniform in ±1/√H, as in the authors' code.

    >>> import minigrad as mg
    >>> cell = LEMCell(3, 4, rng=np.random.default_rng(0))
    >>> ys, (y, z) = mg.unroll(cell, np.ones((5, 2, 3)))
    >>> ys.shape, z.shape
    ((5, 2, 4), (2, 4))
    """

    def __init__(self, input_size: int, hidden_size: int, *, dt: float = 1.0, rng: Rng = None, dtype: DType = float) -> None:
        check_sizes("LEMCell", input_size=input_size, hidden_size=hidden_size)
        check_positive("LEMCell", dt=dt)
        D, H = input_size, hidden_size
        self.dt = dt
        self.W_x, self.W_y, self.W_z, self.b = uniform(rng, H ** -0.5, dtype, (D, 4 * H), (H, 3 * H), (H, H), (4 * H,))

    def initial_state(self, batch_size: int | None = None) -> tuple[Tensor, Tensor]:
        y, z = (zeros(batch_size, len(self.W_z), self.W_z.dtype) for _ in "yz")
        return y, z

    def __call__(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        y, z = state
        H = len(self.W_z)
        a, u = x @ self.W_x + self.b, y @ self.W_y
        steps = self.dt * sigmoid(a[..., :2 * H] + u[..., :2 * H])
        delta, gamma = steps[..., :H], steps[..., H:]
        z = (1 - delta) * z + delta * np.tanh(a[..., 2 * H:3 * H] + u[..., 2 * H:])
        y = (1 - gamma) * y + gamma * np.tanh(a[..., 3 * H:] + z @ self.W_z)
        return y, (y, z)
