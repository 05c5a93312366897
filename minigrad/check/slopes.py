"""The slope of a function of one number, found without any gradient rule: complex step, extrapolated differences, kinks.

Complex step: φ(ih) = φ(0) + ih φ'(0) − …, so Im φ(ih) / h is the slope without cancellation, to the last digit (Squire and
Trapp 1998). It needs a function that is analytic and lets complex numbers through. |x|, max and comparisons may not be, and
then it is wrong without a sign of it. Differences of real values cannot be wrong in this way, but only see the function at a
distance h. So differences are taken at h = 1e-2, 1e-3, …, extrapolated to h = 0 (Richardson 1911), each with an estimate of
its error (Ridders 1982), and the complex step is believed when a difference that no finer one refutes agrees with it.
A large h is refuted where the function curves or has a kink within it, so neither is taken for a lie of the complex step,
and differences that do not settle overrule nothing. A kink at the point itself is what no h resolves: there the one-sided
slopes stay apart, and both are reported.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Phi = Callable[[complex], Any]                    # number -> number, or an array of one; real numbers and complex ones

STEP = 1e-100                                     # of the complex step: its square vanishes beside anything
WIDTHS = tuple(10.0 ** -k for k in range(2, 12))  # of the differences; the last is where 4 digits are left
RATIO = 10.0
AGREES = 1e-8                                     # two independent methods agree to so many digits: both are right
SETTLED = 1e-3                                    # an estimate that is off by more, by its own account, says nothing
VISIBLE = 1e7                                     # a slope that moves φ by fewer roundings than this, over the width, is as good as none
REFUSES = (TypeError, ValueError, ArithmeticError, NotImplementedError, RecursionError)     # what lets a dtype not pass
UNCONFIRMED = "complex step, which no difference could confirm"


@dataclass
class Slope:
    """value, how it was found, how far it may be off, and the slopes on both sides (left, right) where there is a kink."""
    value: float
    error: float = 0.0
    method: str = "complex step"
    kink: tuple[float, float] | None = None

    @property
    def doubtful(self) -> bool:
        return self.method != "complex step" or self.kink is not None


class Extrapolated:
    """Differences at falling h, extrapolated to h = 0. ``power``: their error falls like h (one-sided) or h² (central)."""

    def __init__(self, power: int) -> None:
        self.power = power
        self.last: list[float] = []
        self.found: list[tuple[float, float]] = []

    def add(self, value: float, noise: float) -> None:
        """The difference at the next h, and how far rounding may have moved it."""
        line = [value]
        for m, coarser in enumerate(self.last[:4], 1):
            line.append(line[-1] + (line[-1] - coarser) / (RATIO ** (self.power * m) - 1))
        if self.last:
            m = min(range(1, len(line)), key=lambda m: abs(line[m] - line[m - 1]))
            error = abs(line[m] - line[m - 1])
            if self.found:                        # small by chance, while the estimates still wander?
                error = max(error, abs(line[m] - self.found[-1][0]) / RATIO)
            self.found.append((line[m], error + noise))
        self.last = line

    def interrupt(self) -> None:
        self.last = []

    def best(self) -> tuple[float, float]:
        """(value, error) with the smallest error among those that no finer one contradicts."""
        standing = [(value, error) for i, (value, error) in enumerate(self.found)
                    if all(abs(value - v) <= 3 * (error + e) for v, e in self.found[i + 1:])]
        return min(standing, key=lambda pair: pair[1], default=(np.nan, np.inf))


def complex_step(phi: Phi) -> float | None:
    """Im φ(ih) / h; None where the function refuses complex numbers or gives nothing finite."""
    try:
        with np.errstate(all="ignore"):
            slope = np.imag(phi(1j * STEP)) / STEP
    except REFUSES:
        return None
    return slope if np.isfinite(slope) else None


def slope(phi: Phi, *, noise: float = 0.0, size: float = 0.0, width: float = 1.0, real: bool = False,
          believed: bool = False) -> Slope:
    """The slope of φ at 0. Returns a Slope.

    phi     number -> number; called with complex numbers too
    noise   how far rounding moves a value of φ
    size    what a slope of φ may be expected to be: differences below 1e-8 of it do not count
    width   in units of which θ is of the order of one
    real    True: differences only
    believed  True: the complex step was confirmed before (along a direction that this one is part of)
    """
    complex_slope = None if real else complex_step(phi)
    if believed and complex_slope is not None:
        return Slope(complex_slope)
    floor = VISIBLE * noise / width
    size = max(size, floor)
    central, right, left = Extrapolated(2), Extrapolated(1), Extrapolated(1)
    here = _real(phi, 0.0)
    for h in (width * w for w in WIDTHS):
        up, down, rounding = _real(phi, h), _real(phi, -h), noise / h
        if right.found and rounding > SETTLED * max(size, *(abs(table.best()[0]) for table in (central, right, left))):
            break
        for table, value, parts in ((central, (up - down) / (2 * h), 1), (right, (up - here) / h, 2), (left, (here - down) / h, 2)):
            table.add(value, parts * rounding) if np.isfinite(value) else table.interrupt()
        (value, error), sides = central.best(), _sides(left, right, size)
        scale = max(size, abs(value))
        if sides is None and np.isfinite(error):
            if complex_slope is not None and abs(complex_slope - value) <= AGREES * max(scale, abs(complex_slope)):
                return Slope(complex_slope)
            if complex_slope is None and error <= 1e-13 * scale:
                break
    return _judged(complex_slope, central, left, right, size, floor)


def _judged(complex_slope: float | None, central: Extrapolated, left: Extrapolated, right: Extrapolated, size: float,
            floor: float) -> Slope:
    """What is believed once all differences have been taken."""
    (value, error), sides = central.best(), _sides(left, right, size)
    if sides is not None:
        return Slope(value if complex_slope is None else complex_slope, left.best()[1] + right.best()[1], kink=sides)
    if complex_slope is None:
        return Slope(value, 10 * error, "extrapolated five-point differences" if np.isfinite(error) else "no finite value nearby")
    scale = max(size, abs(value), abs(complex_slope))
    if error <= SETTLED * scale and abs(complex_slope - value) <= 10 * error + AGREES * scale:
        return Slope(complex_slope)
    if not max(error, left.best()[1], right.best()[1]) <= SETTLED * max(abs(value), floor):     # a step, or a pole, within h
        return Slope(complex_slope, method=UNCONFIRMED)
    return Slope(value, 10 * error, "extrapolated five-point differences")


def _sides(left: Extrapolated, right: Extrapolated, size: float) -> tuple[float, float] | None:
    """The one-sided slopes where they have settled and part by more than their errors explain."""
    (l, l_error), (r, r_error) = left.best(), right.best()
    scale = max(size, abs(l), abs(r))
    apart = abs(r - l) > 10 * (l_error + r_error) + 1e-6 * scale and l_error + r_error <= SETTLED * scale
    return (float(l), float(r)) if apart else None


def _real(phi: Phi, theta: float) -> float:
    try:
        with np.errstate(all="ignore"):
            return np.real(phi(theta))
    except (ValueError, ArithmeticError):         # the function does not reach so far
        return np.nan
