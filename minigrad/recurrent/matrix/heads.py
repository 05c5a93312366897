"""Heads: a vector cut into equal parts, each with a matrix memory of its own.

An argument called ``_x`` does not lend its name to the values of a cell in a picture: private names are left out.
"""
from __future__ import annotations

import numpy as np

from ...tensor import Tensor
from ..initial import DType


def check_heads(cell: str, hidden_size: int, heads: int) -> None:
    if not isinstance(heads, (int, np.integer)) or heads < 1 or hidden_size % heads:
        raise ValueError(f"{cell} got heads={heads!r} for hidden_size={hidden_size}; expected a positive integer that divides "
                         "the hidden size: each head has hidden_size / heads rows")


def split(_x: Tensor, heads: int) -> Tensor:
    """(…, heads · d) -> (…, heads, 1, d): one row vector per head, so that ``@`` works head by head."""
    return _x.reshape((*_x.shape[:-1], heads, 1, _x.shape[-1] // heads))


def join(_x: Tensor) -> Tensor:
    """(…, heads, 1, d) -> (…, heads · d)"""
    return _x.reshape((*_x.shape[:-3], _x.shape[-3] * _x.shape[-1]))


def empty(batch_size: int | None, dtype: DType, *shape: int) -> Tensor:
    """A memory of zeros with ``shape``, for each row of the batch (or without one)."""
    return Tensor(np.zeros(shape if batch_size is None else (batch_size, *shape), dtype))
