"""The terms of bptt's double sum as an array that is computed where it is looked at."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .bptt import DoubleSum


class Terms:
    """The terms C[i, j] as an array that is computed where it is looked at."""

    def __init__(self, double: DoubleSum, shape: tuple[int, ...]) -> None:
        self.double, self.shape = double, shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        i, j = (*key, slice(None))[:2] if isinstance(key, tuple) else (key, slice(None))
        rows, steps = np.arange(self.shape[0])[i], np.arange(1, self.shape[1] + 1)[j]
        out = np.zeros((rows.size, steps.size, *self.shape[2:]), self.double.parameter.dtype)
        for some in chunks(range(rows.size), self.double._at_once):
            for step, term in self.double._terms(rows.ravel()[list(some)].tolist(), steps.ravel().tolist()):
                out[some.start:some.stop, steps.ravel() == step] = term[:, None]
        return out.reshape((*rows.shape, *steps.shape, *self.shape[2:]))

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self[:, :].astype(dtype or self.double.parameter.dtype)

    def __repr__(self) -> str:
        return f"<terms of shape {self.shape}, computed when indexed>"


def chunks(rows: range, size: int) -> list[range]:
    return [rows[a:a + size] for a in range(0, len(rows), size)]


def norms_of(x: np.ndarray) -> np.ndarray:
    """The norm of each x[n]; scaled where squares would vanish or overflow."""
    x = x.reshape(len(x), -1)
    with np.errstate(over="ignore", under="ignore"):
        squares = np.einsum("ij,ij->i", x, x, dtype=float)
    result = np.sqrt(squares)
    for n in np.flatnonzero((squares < 1e-200) | ~np.isfinite(squares)):
        largest = np.max(np.abs(x[n]), initial=0.0)
        result[n] = float(largest) * np.linalg.norm(x[n] / largest) if largest > 0 and np.isfinite(largest) else largest
    return result
