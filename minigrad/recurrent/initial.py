"""Initial values: parameters from a generator, states of zeros in the parameters' dtype."""
from __future__ import annotations

from typing import TypeAlias, Union

import numpy as np

from ..tensor import Tensor, parameter

DType = Union[type, np.dtype, str]          # what NumPy takes for a dtype
Rng: TypeAlias = "np.random.Generator | None"      # None: seed 0; in quotes, since NumPy loads its generators when they are first used


def uniform(rng: Rng, bound: float, dtype: DType, *shapes: tuple[int, ...]) -> list[Tensor]:
    """Parameters uniform in ±bound, drawn in order."""
    rng = np.random.default_rng(0) if rng is None else rng
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy.random.Generator, got {type(rng).__name__}; use np.random.default_rng(seed)")
    try:
        dtype = np.dtype(dtype)
    except (TypeError, ValueError) as error:
        raise TypeError(f"parameters got dtype={dtype!r}: {error}") from None
    if dtype.kind not in "fc":
        raise TypeError(f"parameters got dtype={dtype}; expected floats, np.float64 or np.float32: smaller than 1, their values "
                        "would all be 0 as integers")
    return [parameter(rng.uniform(-bound, bound, shape).astype(dtype)) for shape in shapes]


def zeros(batch_size: int | None, hidden_size: int, dtype: DType) -> Tensor:
    """A state of zeros: (B, H), or (H,) without a batch."""
    return Tensor(np.zeros((hidden_size,) if batch_size is None else (batch_size, hidden_size), dtype))


def check_sizes(cell: str, **sizes: int) -> None:
    for name, n in sizes.items():
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or not 1 <= n < 2 ** 31:
            raise ValueError(f"{cell} got {name}={n!r}; expected a positive integer, below 2**31")
