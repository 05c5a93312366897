"""What tasks are trained on and judged by: losses of Tensors, measures of arrays, and numbers that somebody reached."""
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

import minigrad as mg

from .data import Batch


def counted(batch: Batch, shape: tuple[int, ...]) -> np.ndarray:
    """Which outputs count, as booleans of this shape: the mask's, else those before each row's end, else all."""
    mask = batch.mask
    if mask is None and batch.lengths is not None and len(shape) > 1:
        mask = np.arange(shape[0])[:, None] < batch.lengths
    return np.ones(shape, bool) if mask is None else np.asarray(mask, bool)


def cross_entropy(outputs: mg.Tensor, batch: Batch) -> mg.Tensor:
    """Softmax cross-entropy with integer targets, the mean over what counts."""
    return mg.softmax_cross_entropy(outputs, batch.targets, mask=counted(batch, batch.targets.shape))


def _mean(losses: mg.Tensor, batch: Batch) -> mg.Tensor:
    mask = counted(batch, losses.shape[:-1])
    return (losses * mask[..., None].astype(losses.dtype)).sum() / (mask.sum() * losses.shape[-1])


def binary_cross_entropy(outputs: mg.Tensor, batch: Batch) -> mg.Tensor:
    """Cross-entropy of independent yes-or-no answers, targets 0 or 1 of the outputs' shape."""
    targets = batch.targets.astype(outputs.dtype)
    return _mean(mg.binary_cross_entropy(outputs, targets, reduction="none"), batch)


def squared_error(outputs: mg.Tensor, batch: Batch) -> mg.Tensor:
    """The mean of (o − y)² over what counts, targets of the outputs' shape."""
    difference = outputs - batch.targets.astype(outputs.dtype)
    return _mean(difference * difference, batch)


class Measure(NamedTuple):
    """What a task is judged by. ``parts(outputs, batch) -> (total, count)`` on arrays; batches add up; then
    ``finish(total / count)``."""

    name: str
    unit: str
    higher_is_better: bool
    parts: Callable[[np.ndarray, Batch], tuple[float, float]]
    finish: Callable[[float], float] = float

    def of(self, outputs: Sequence[np.ndarray], batches: Sequence[Batch]) -> float:
        """The measure of several batches together."""
        total, count = np.sum([self.parts(o, b) for o, b in zip(outputs, batches)], axis=0)
        return float(self.finish(total / count))


def _right(outputs: np.ndarray, batch: Batch) -> tuple[float, float]:
    mask = counted(batch, batch.targets.shape)
    return np.sum((outputs.argmax(axis=-1) == batch.targets) & mask), mask.sum()


def _squares(outputs: np.ndarray, batch: Batch) -> tuple[float, float]:
    mask = counted(batch, outputs.shape[:-1])
    return np.sum(((outputs - batch.targets) ** 2)[mask], dtype=float), mask.sum() * outputs.shape[-1]


def _bits(outputs: np.ndarray, batch: Batch) -> tuple[float, float]:
    mask = counted(batch, batch.targets.shape)
    nats = mg.softmax_cross_entropy(outputs.astype(float), batch.targets, mask=mask, reduction="sum")
    return float(nats) / math.log(2), mask.sum()


def percent(share: float) -> float:
    return 100 * share


ACCURACY = Measure("accuracy", "%", True, _right, percent)
BITS = Measure("bits", "bits", False, _bits)
RMSE = Measure("RMSE", "", False, _squares, math.sqrt)


class Reference(NamedTuple):
    """A number that somebody reached, and who and where."""

    name: str
    value: float
    source: str = ""
