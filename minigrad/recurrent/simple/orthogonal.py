"""A recurrent network whose matrix is a rotation: what is in h neither fades nor grows, whatever has been learned.

    S   = A - Aᵀ                                        skew-symmetric, for any A
    U   = exp(S)                                        method="exp": Lezcano-Casado & Martínez-Rubio (2019)
    U   = (I - S/2)⁻¹ (I + S/2)                         method="cayley": Helfrich, Willmott & Ye (2018), without their matrix D of ±1
    h_t = modReLU(x_t W_x + h_{t-1} U)                  modReLU(z) = sign(z) relu(|z| + b) of Arjovsky, Shah & Bengio (2016)

Both maps give orthogonal U of determinant 1; ½ S makes the second a rational approximation of the first. exp reaches every rotation,
Cayley every one without the eigenvalue -1. Row vectors: x (B, D), h (B, H), W_x (D, H), A (H, H), b (H,).
"""
from __future__ import annotations

import numpy as np

from ...tensor import Tensor
from ...module import Module
from ...ops import matrix_exp, relu
from ...tensor import parameter
from ..initial import DType, Rng, check_sizes, uniform, zeros


def modrelu(z: Tensor, b: Tensor) -> Tensor:
    """``sign(z) relu(|z| + b)``: what b is negative for is cut to zero, the sign stays (Arjovsky, Shah & Bengio 2016, arXiv:1511.06464).

    >>> modrelu(np.array([-3., -1., 0., 2.]), -1.5)
    array([-1.5, -0. ,  0. ,  0.5])
    """
    size = np.abs(z)
    sign = np.clip(z * size * float(np.finfo(z.dtype).max) ** 0.5, -1, 1)       # from ops like any other; its slope is 0, also at z = 0
    return sign * relu(size + b)


class OrthogonalRNNCell(Module):
    """``h_t = modReLU(x_t W_x + h_{t-1} U)``, U a rotation; output and state h (arXiv:1901.08428, 2019; Cayley: arXiv:1707.09520, 2018).

    method  "exp" (default): U = exp(A - Aᵀ); "cayley": U = (I - S/2)⁻¹ (I + S/2), S = A - Aᵀ, cheaper
    At the start U turns pairs of units, by angles uniform in ±π (exp) or 0 … π/2 (cayley), the authors' choices; W_x is uniform in ±1/√H,
    b in ±0.01. Only A - Aᵀ matters, so half of A is redundant. ``cell.rotation()`` is U.

    >>> import minigrad as mg
    >>> cell = OrthogonalRNNCell(3, 4, rng=np.random.default_rng(0))
    >>> U = cell.rotation().data
    >>> np.allclose(U @ U.T, np.eye(4))
    True
    >>> mg.unroll(cell, np.ones((5, 2, 3)))[0].shape
    (5, 2, 4)
    """

    def __init__(self, input_size: int, hidden_size: int, *, method: str = "exp", rng: Rng = None, dtype: DType = float) -> None:
        check_sizes("OrthogonalRNNCell", input_size=input_size, hidden_size=hidden_size)
        if method not in ("exp", "cayley"):
            raise ValueError(f"OrthogonalRNNCell got method={method!r}; expected 'exp' or 'cayley'")
        D, H = input_size, hidden_size
        self.method = method
        rng = np.random.default_rng(0) if rng is None else rng
        self.W_x, = uniform(rng, H ** -0.5, dtype, (D, H))
        A, first = np.zeros((H, H)), np.arange(0, H - 1, 2)
        if method == "exp":
            A[first, first + 1] = rng.uniform(-np.pi, np.pi, H // 2)
        else:
            A[first, first + 1] = 2 * np.tan(rng.uniform(0, np.pi / 2, H // 2) / 2)
        self.A = parameter(A.astype(dtype))
        self.b, = uniform(rng, 0.01, dtype, (H,))

    def initial_state(self, batch_size: int | None = None) -> Tensor:
        return zeros(batch_size, len(self.b), self.b.dtype)

    def rotation(self) -> Tensor:
        """U (H, H), orthogonal: a Tensor that depends on A."""
        S = self.A - self.A.mT
        if self.method == "exp":
            return matrix_exp(S)
        eye = np.eye(len(self.b), dtype=self.b.dtype)
        return np.linalg.solve(eye - 0.5 * S, eye + 0.5 * S)        # type: ignore[return-value]    # of Tensors it is a Tensor

    def __call__(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        U = self.rotation()
        h = modrelu(x @ self.W_x + h @ U, self.b)
        return h, h
