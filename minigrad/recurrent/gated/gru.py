"""The gated recurrent unit of Cho et al. (2014), in the two variants that are in use.

    r_t = σ(x_t W_xr + h_{t-1} W_hr + b_r)           reset gate
    z_t = σ(x_t W_xz + h_{t-1} W_hz + b_z)           update gate
    n_t = tanh(x_t W_xn + b_xn + r_t ⊙ (h_{t-1} W_hn + b_hn))      reset="after": cuDNN and PyTorch
    n_t = tanh(x_t W_xn + (r_t ⊙ h_{t-1}) W_hn + b_n)              reset="before": the paper (arXiv:1406.1078, v3)
    h_t = (1 - z_t) ⊙ n_t + z_t ⊙ h_{t-1}

Row vectors; gates packed in the order r, z, n: W_x (D, 3H), W_h (H, 3H), biases (3H,).
"""
from __future__ import annotations

import numpy as np

from ...tensor import Tensor
from ...module import Module
from ...ops import sigmoid
from ..initial import DType, Rng, check_sizes, uniform, zeros


class GRUCell(Module):
    """Gated recurrent unit (Cho et al. 2014, arXiv:1406.1078); output and state h.

    reset  "after" (default, as PyTorch: parameters W_x, W_h, b_x, b_h) or "before" (the paper: W_x, W_h, b)
    All parameters start uniform in ±1/√H.

    >>> import minigrad as mg
    >>> cell = mg.GRUCell(3, 4, rng=np.random.default_rng(0))
    >>> mg.unroll(cell, np.ones((5, 2, 3)))[0].shape
    (5, 2, 4)
    """

    def __init__(self, input_size: int, hidden_size: int, *, reset: str = "after", rng: Rng = None, dtype: DType = float) -> None:
        check_sizes("GRUCell", input_size=input_size, hidden_size=hidden_size)
        if reset not in ("after", "before"):
            raise ValueError(f"GRUCell got reset={reset!r}; expected 'after' (PyTorch's variant) or 'before' (the paper's)")
        D, H = input_size, hidden_size
        self.hidden_size, self.reset = H, reset
        draw = uniform(rng, H ** -0.5, dtype, (D, 3 * H), (H, 3 * H), (3 * H,), *([(3 * H,)] if reset == "after" else []))
        if reset == "after":
            self.W_x, self.W_h, self.b_x, self.b_h = draw
        else:
            self.W_x, self.W_h, self.b = draw

    def initial_state(self, batch_size: int | None = None) -> Tensor:
        return zeros(batch_size, self.hidden_size, self.W_h.dtype)

    def __call__(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        H = self.hidden_size
        if self.reset == "after":
            a, u = x @ self.W_x + self.b_x, h @ self.W_h + self.b_h
            rz = sigmoid(a[..., :2 * H] + u[..., :2 * H])
            r, z = rz[..., :H], rz[..., H:]
            n = np.tanh(a[..., 2 * H:] + r * u[..., 2 * H:])
        else:
            a = x @ self.W_x + self.b
            rz = sigmoid(a[..., :2 * H] + h @ self.W_h[:, :2 * H])
            r, z = rz[..., :H], rz[..., H:]
            n = np.tanh(a[..., 2 * H:] + (r * h) @ self.W_h[:, 2 * H:])
        h = n + z * (h - n)
        return h, h
