"""How a function of NumPy's becomes a composition of the table's ops."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ..ops import FUNCTIONS

Composition = TypeVar("Composition", bound=Callable[..., Any])


def composition(*names: str) -> Callable[[Composition], Composition]:
    """Decorator: NumPy's functions of these names, called on Tensors, run this composition of ops; a gradient of its own is not needed."""
    def enter(function: Composition) -> Composition:
        FUNCTIONS.update((known, function) for known in map(numpys, names) if known)
        return function
    return enter


def numpys(name: str) -> Callable[..., Any] | None:
    """``linalg.norm`` -> np.linalg.norm; None if this NumPy has no such function."""
    room, _, name = name.rpartition(".")
    return getattr(getattr(np, room) if room else np, name, None)
