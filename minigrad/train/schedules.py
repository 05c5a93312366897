"""Schedules: what the learning rate is multiplied with at step 1, 2, 3, …

A schedule is any function step -> factor, where ``step`` counts from 1 as in the log. ``fit(schedule=…)`` applies it; in a
loop of your own, ``optimizer.learning_rate = 0.01 * schedule(step)`` does. Schedules are pure functions, so resuming
needs nothing from them, and two are combined by ``lambda step: one(step) * other(step)``.
"""
from __future__ import annotations

import math
import numbers
from typing import Any, Callable


def warmup(steps: int) -> Callable[[int], float]:
    """n / (steps + 1) for the first ``steps`` steps n, then 1 (Goyal et al. 2017, "Accurate, large minibatch SGD", 2.2).

    >>> schedule = warmup(3)
    >>> [schedule(n) for n in (1, 2, 3, 4, 5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """
    _count("warmup", steps, 0)
    return lambda step: min(1.0, step / (steps + 1))


def cosine(steps: int, *, warmup: int = 0, floor: float = 0.0) -> Callable[[int], float]:
    """From 1 down to ``floor`` in half a cosine, ½ (1 + cos π (n − 1 − w) / (steps − w)) after w steps of warm-up, and
    ``floor`` after ``steps`` steps (Loshchilov and Hutter 2017, "SGDR", equation 5, without restarts).

    steps   how long the run is, warm-up included
    warmup  w, the steps that rise linearly at the beginning: n / (w + 1)
    floor   the factor in the end

    >>> schedule = cosine(5, warmup=1)
    >>> [round(schedule(n), 3) for n in (1, 2, 3, 4, 5, 6)]
    [0.5, 1.0, 0.854, 0.5, 0.146, 0.0]
    """
    _count("steps", steps, 1)
    _count("warmup", warmup, 0)
    if warmup >= steps:
        raise ValueError(f"cosine: warmup is {warmup} of {steps} steps; expected fewer than all of them")
    if not (isinstance(floor, numbers.Real) and 0 <= floor <= 1):
        raise ValueError(f"cosine: floor is {floor!r}, expected a factor from 0 to 1")

    def schedule(step: int) -> float:
        done = step - 1
        if done < warmup:
            return step / (warmup + 1)
        part = min(1.0, (done - warmup) / (steps - warmup))
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * part))
    return schedule


def step_decay(every: int, factor: float = 0.1) -> Callable[[int], float]:
    """Times ``factor`` after each ``every`` steps: a staircase, factor^⌊(n − 1) / every⌋.

    >>> schedule = step_decay(2, 0.5)
    >>> [schedule(n) for n in (1, 2, 3, 4, 5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    _count("every", every, 1)
    if not (isinstance(factor, numbers.Real) and 0 < factor <= 1):
        raise ValueError(f"step_decay: factor is {factor!r}, expected a number above 0 and at most 1")
    return lambda step: float(factor) ** ((step - 1) // every)


def _count(name: str, value: Any, least: int) -> None:
    whole = isinstance(value, numbers.Integral)
    if not (whole and value >= least):
        raise ValueError(f"{name} is {value!r}, expected a whole number of steps, at least {least}")
