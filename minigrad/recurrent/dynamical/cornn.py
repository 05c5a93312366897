"""The coupled oscillators of Rusch & Mishra (2021): every unit is a damped spring, driven by the input and by the others.

    h'' = tanh(x W_x + h' W_z + h W_h + b) - γ h - ε h'                      equation 1

as a system of first order, z = h', with the velocity first, so that the position moves with the new one:

    z_t = z_{t-1} + Δt (tanh(x_t W_x + z_{t-1} W_z + h_{t-1} W_h + b) - γ h_{t-1} - ε z_{t-1})
    h_t = h_{t-1} + Δt z_t                                                   equation 3

Row vectors: W_x (D, H), W_z (H, H), W_h (H, H), b (H,). The state is (h, z). The paper calls the position y.
"""
from __future__ import annotations

import numpy as np

from ...tensor import Tensor
from ...module import Module
from ..initial import DType, Rng, check_sizes, uniform, zeros
from .checks import check_positive


class CoRNNCell(Module):
    """Coupled oscillatory RNN (Rusch & Mishra 2021, arXiv:2010.00951): output h, the positions; state the tuple (h, z).

    dt       the step size Δt
    gamma    the springs' stiffness γ: a lone unit swings with frequency √γ
    epsilon  the damping ε, on the old velocity as in the authors' code (the paper also has it on the new one)
    The defaults are those of the authors' code for MNIST by pixels; they depend on the task.
    All parameters start uniform in ±1/√(D + 2H), as the authors' one linear layer over [x, z, h] does.

    >>> import minigrad as mg
    >>> cell = CoRNNCell(3, 4, rng=np.random.default_rng(0))
    >>> ys, (h, z) = mg.unroll(cell, np.ones((5, 2, 3)))
    >>> ys.shape, z.shape
    ((5, 2, 4), (2, 4))
    """

    def __init__(self, input_size: int, hidden_size: int, *, dt: float = 0.042, gamma: float = 2.7, epsilon: float = 4.7,
                 rng: Rng = None, dtype: DType = float) -> None:
        check_sizes("CoRNNCell", input_size=input_size, hidden_size=hidden_size)
        check_positive("CoRNNCell", dt=dt)
        D, H = input_size, hidden_size
        self.dt, self.gamma, self.epsilon = dt, gamma, epsilon
        self.W_x, self.W_z, self.W_h, self.b = uniform(rng, (D + 2 * H) ** -0.5, dtype, (D, H), (H, H), (H, H), (H,))

    def initial_state(self, batch_size: int | None = None) -> tuple[Tensor, Tensor]:
        h, z = (zeros(batch_size, len(self.W_h), self.W_h.dtype) for _ in "hz")
        return h, z

    def __call__(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        h, z = state
        force = np.tanh(x @ self.W_x + z @ self.W_z + h @ self.W_h + self.b)
        z = z + self.dt * (force - self.gamma * h - self.epsilon * z)
        h = h + self.dt * z
        return h, (h, z)
