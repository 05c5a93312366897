"""Validation between steps, and early stopping: the best weights so far, and whether to go on (Prechelt 1998)."""
from __future__ import annotations

import contextlib
import math
import numbers
from typing import Any, Iterator

import numpy as np

from ..modes import no_grad
from ..module import Module
from ..tensor import Tensor


class Validation:
    """``validate()`` gives one number, lower is better. With ``patience``, so many in a row without a new best end the run."""

    def __init__(self, validate: Any, patience: float | None, model: Any, parameters: dict[str, Tensor]) -> None:
        self.validate, self.patience, self.model, self.parameters = validate, patience, model, parameters
        self.best, self.step, self.waited = math.inf, 0, 0
        self.weights: dict[str, np.ndarray] = {}                                       # name -> array: the parameters at the best step
        self.seen = 0                                           # the step that was validated last

    def __call__(self, step: int) -> float:
        """Validate, note whether it is the best so far, and return the number."""
        value = self._number(step)
        self.seen = step
        if self.patience is not None:
            if value < self.best:
                self.best, self.step, self.waited = value, step, 0
                self.weights = {name: p.data.copy() for name, p in self.parameters.items()}
            else:
                self.waited += 1
        return value

    def _number(self, step: int) -> float:
        with _evaluating(self.model), no_grad():
            value = self.validate()
        value = value.item() if isinstance(value, Tensor) or getattr(value, "ndim", None) == 0 else value
        if not isinstance(value, numbers.Real):
            raise TypeError(f"validate() returned a {type(value).__name__} at step {step}, expected one number, lower is better")
        if not math.isfinite(value):
            raise FloatingPointError(f"validate() returned {value} at step {step}, expected a finite number, lower is better")
        return float(value)

    @property
    def over(self) -> bool:
        return self.patience is not None and self.waited >= self.patience

    def restore_best(self) -> None:
        for name, array in self.weights.items():
            self.parameters[name].data = array


@contextlib.contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """The Module in eval mode; afterwards each part of it is in the mode it was in."""
    if not isinstance(model, Module):
        yield
        return
    modes = [(part, part.training) for _, part in model._parts() if isinstance(part, Module)]
    model.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
