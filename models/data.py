"""Data for tasks: batches of sequences, an epoch of them, and packages that may be missing. No model and no measure."""
import importlib
import math
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import NamedTuple

import numpy as np

import minigrad as mg

Sequences = tuple[np.ndarray, np.ndarray, np.ndarray | None]         # xs (T, N, …), targets, lengths (N,)


class Unusable(Exception):
    """The input cannot be used; the message says why and what to do. Exit status 2."""


class Batch(NamedTuple):
    """Sequences side by side: xs (T, B, D) or integers (T, B), targets, lengths (B,) or None, mask (T, B) or None."""

    xs: np.ndarray
    targets: np.ndarray
    lengths: np.ndarray | None = None
    mask: np.ndarray | None = None


class Data(NamedTuple):
    """train(rng) gives one epoch of ``steps`` Batches; test is a list of Batches; growing: train(rng, progress)."""

    train: Callable[..., Iterable[Batch]]
    test: list[Batch]
    steps: int
    growing: bool = False


def rows(xs: np.ndarray, targets: np.ndarray, lengths: np.ndarray | None, chosen: np.ndarray) -> Batch:
    """The chosen rows as a Batch that is no longer than its longest row. xs (T, N, …); targets (N,) or (T, N, …)."""
    T = None if lengths is None else lengths[chosen].max()
    targets = targets[chosen] if targets.ndim == 1 else targets[:T, chosen]
    return Batch(xs[:T, chosen], targets, None if lengths is None else lengths[chosen])


def minibatches(train: Sequences, test: Sequences, size: int = 32) -> Data:
    """Data from two tuples (xs (T, N, …), targets, lengths (N,) or None), shuffled anew in every epoch.
    Targets are (N,), one for each row, or (T, N, …), one for each step.

    With lengths, rows of similar length come side by side, so that padding costs little.
    """
    def epoch(rng: np.random.Generator) -> Iterator[Batch]:
        for chosen in mg.train.Minibatches(N, size, rng=rng, lengths=train[2]):
            yield rows(*train, chosen)

    N, tested = train[0].shape[1], test[0].shape[1]
    order = np.arange(tested) if test[2] is None else np.argsort(test[2], kind="stable")
    return Data(epoch, [rows(*test, order[n:n + 256]) for n in range(0, tested, 256)], math.ceil(N / size))


def extra(module: str, name: str, what: str) -> ModuleType:
    """The module of a data package, imported now; Unusable names the extra that brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Unusable(f"{what} with the package {module.partition('.')[0]}, which cannot be imported ({error}): "
                       f"pip install 'minigrad[{name}]'") from None
