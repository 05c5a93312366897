"""The values of a plan, and the ops that only plans have: putting pieces together, gates of one product."""
from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..graph.normal import PRODUCT, SUM
from ..ops import Op

X, STATE, CARRY = 1, 2, 4           # what a value depends on, besides parameters
VIEWS = ("getitem", "transpose", "broadcast_to", "stop_gradient", "apart")


class Value:
    """One value of the plan: op, inputs and attributes; shape and dtype of one step; what it depends on.

    ``kind`` is that of the tape's node; ``number`` the constant itself; ``position`` which x, state, … a leaf is.
    """
    __slots__ = ("id", "kind", "op", "inputs", "attributes", "shape", "dtype", "depends", "position", "number", "name")

    def __init__(self, kind: str, op: Any, inputs: Iterable[Value], attributes: dict[str, Any], shape: Iterable[int],
                 dtype: Any, depends: int, position: Any = None, number: Any = None, name: str | None = None) -> None:
        self.kind, self.op, self.inputs, self.attributes = kind, op, tuple(inputs), attributes
        self.shape, self.dtype, self.depends = tuple(shape), np.dtype(dtype), depends
        self.id, self.position, self.number, self.name = -1, position, number, name

    def __repr__(self) -> str:
        return f"<{self.id} {self.op.name if self.op else self.kind} {[v.id for v in self.inputs]} {self.shape}>"

    @property
    def is_view(self) -> bool:
        """Whether NumPy computes nothing for it: another look at its input."""
        return self.is_op(*VIEWS) and not any(
            isinstance(i, np.ndarray) for i in self.attributes.get("index", ()))

    def is_op(self, *names: str) -> bool:
        return self.op is not None and self.op.name in names

    @property
    def is_elementwise(self) -> bool:
        return self.op in (SUM, PRODUCT) or self.op.name == "sigmoid" or isinstance(self.op.value, np.ufunc) and not self.attributes

    @property
    def size(self) -> int:
        """Numbers of one step."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of one step."""
        return self.size * self.dtype.itemsize


def slices_last(index: tuple[Any, ...]) -> bool:
    """Whether an index is a slice of the last axis alone."""
    return isinstance(index[-1], slice) and index[-1].step in (None, 1) and all(
        i is Ellipsis or isinstance(i, slice) and i == slice(None) for i in index[:-1])


def _assemble(*pieces: np.ndarray, slices: tuple[slice, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Pieces put together along the last axis; zero where there is none."""
    out = np.zeros(pieces[0].shape[:-1] + shape[-1:], np.result_type(*pieces))
    for piece, s in zip(pieces, slices):
        out[..., s] = piece
    return out


def _gates(x: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """σ where scale and shift are ½, tanh where they are 1 and 0."""
    return np.tanh(x * scale) * scale + shift


def _blocks(W: np.ndarray, size: int, transposed: bool = False, gates: int = 0) -> np.ndarray:
    """(D, n·size), or the transpose of W that is it, as n blocks of (D, size), each contiguous; those of each gate together."""
    blocks = np.ascontiguousarray(_apart(W.T if transposed else W, size))
    return blocks.reshape(gates, -1, *blocks.shape[1:]) if gates else blocks


def _apart(x: np.ndarray, size: int) -> np.ndarray:
    """The same as a view."""
    return x.reshape(x.shape[:-1] + (-1, size)).swapaxes(-2, -3)


def _op(name: str, value: Callable[..., Any], reads: str, variadic: bool = False) -> Op:
    return Op(name, value, (None,), reads, variadic=variadic)


ASSEMBLE = _op("assemble", _assemble, "[{*}]", variadic=True)
GATES = _op("gates", _gates, "gates({0})")
BLOCKS = _op("blocks", _blocks, "{0}")
APART = _op("apart", _apart, "{0}")
