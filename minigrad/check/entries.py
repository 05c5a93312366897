"""One array of gradcheck: the references of its entries, how far rounding may take a right gradient from them, and the verdict.

Up to ``entries`` numbers are looked at one by one. More are looked at along random directions, one number each, and a
direction that differs is halved until the entry is found.
"""
from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from .checked import Function
from .rows import Row, cosine, relative
from .slopes import REFUSES, Phi, Slope, complex_step, slope

SAFETY, ULPS = 32, 16                             # bound = SAFETY · the largest move of an entry + ULPS · eps · |entry|
EXTENDED = np.finfo(np.longdouble).eps < 1e-18    # some platforms have nothing beyond double
DIRECTIONS = 4                                    # of an array with too many entries


class Entries:
    """One array: the references of its entries, and the row that says how yours compare."""

    def __init__(self, checked: Function, arrays: list[np.ndarray], i: int, seed: int, tolerance: float | None, entries: int) -> None:
        self.checked, self.arrays, self.i, self.tolerance, self.entries = checked, arrays, i, tolerance, entries
        self.exact = [finer(a) if k in checked.free else a for k, a in enumerate(arrays)]
        self.shape, self.eps, self.undecided = arrays[i].shape, np.finfo(arrays[i].dtype).eps, False
        self.rng = np.random.default_rng(seed + 1)

    def along(self, direction: np.ndarray, extended: bool = False) -> Phi:
        """fn at this array moved by θ·direction, as a function of θ."""
        exact = [a.astype(np.longdouble) if k in self.checked.free else a for k, a in enumerate(self.exact)] if extended else self.exact
        return lambda theta: self.checked.value([a + theta * direction if k == self.i else a for k, a in enumerate(exact)])

    def direction(self) -> np.ndarray:
        """Random, of length one; entries of like size, so that none is overlooked."""
        direction = self.rng.uniform(0.5, 1.5, self.shape) * self.rng.choice([-1.0, 1.0], self.shape)
        return direction / np.linalg.norm(direction)

    def slope(self, direction: np.ndarray, size: float, **options: bool) -> Slope:
        """The slope along a direction; where differences have the say, in extended precision if the function lets it pass."""
        found = slope(self.along(direction), noise=self.noise, size=size, width=self.width, **options)
        own = float(np.max(np.abs(self.exact[self.i]), where=direction != 0, initial=0))
        if found.doubtful and 0 < own < 1e-2 * self.width:        # an entry much smaller than the others: look closer
            nearer = slope(self.along(direction), noise=self.noise, size=size, width=own, **options)
            found = found if nearer.doubtful else nearer
        if EXTENDED and "differences" in found.method:
            with contextlib.suppress(*REFUSES):
                if np.asarray(self.along(direction, True)(0.0)).dtype == np.longdouble:
                    finer = slope(self.along(direction, True), noise=self.noise * 1e-3, size=size, width=self.width, real=True)
                    if finer.error < found.error:
                        found = finer
                        found.method += " in extended precision"
        return found

    def row(self, name: str, mine: Any, moved: list[np.ndarray], scale: tuple[float, float]) -> Row:
        """Yours against the references. ``moved``: what other roundings did to yours; ``scale``: of fn, see gradcheck.sampled."""
        exact = self.exact[self.i]
        if mine is None:
            return Row(name, False, note="not derived")
        if np.shape(mine) != self.shape:
            return Row(name, False, note=f"shape {np.shape(mine)}, expected {self.shape}")
        bad = np.argwhere(~np.isfinite(mine))
        if len(bad):
            index = tuple(map(int, bad[0]))
            return Row(name, False, index=index, yours=float(mine[index]), reference=float("nan"),
                       note=f"yours has NaN or infinity in {len(bad)} of {mine.size} entries")
        if not mine.size:
            return Row(name, True, 0.0, 1.0, note="empty")
        self.noise = float(np.finfo(exact.dtype).eps * scale[0])
        self.width = float(np.max(np.abs(exact))) or 1.0
        self.lost = ULPS * self.eps * scale[1] / min(self.width, 1.0)         # a slope that fn cannot show
        trial = self.direction()
        first = self.slope(trial, float(np.sum(np.abs(mine * trial))))
        self.believed = not first.doubtful
        one_by_one = mine.size <= self.entries
        return self._entry_by_entry(name, mine, moved) if one_by_one else self._along_directions(name, mine, moved)

    def _entry_by_entry(self, name: str, mine: np.ndarray, moved: list[np.ndarray]) -> Row:
        found = {index: self.slope(_unit(self.shape, index), abs(float(mine[index])), believed=self.believed)
                 for index in np.ndindex(self.shape)}
        slopes = list(found.values())
        reference = np.array([s.value for s in slopes]).reshape(self.shape)
        size = float(np.max(np.abs(reference)))
        bound = self._bound(np.max(moved, axis=0), reference, size, self.lost) + self._own_error(slopes, size)
        difference = np.abs(mine - reference)
        kinks = [(i, s.kink) for i, s in found.items() if s.kink is not None]
        for i, kink in kinks:                     # any slope between the two sides is one that a rule may choose
            low, high = sorted(kink)
            bound[i] = found[i].error + 1e-6 * max(abs(low), abs(high))
            difference[i] = max(low - mine[i], mine[i] - high, 0)
        with contextlib.suppress(*REFUSES):
            for i in map(tuple, np.argwhere(difference > bound)[:20] if self.tolerance is None and EXTENDED and self.believed else ()):
                finer = complex_step(self.along(_unit(self.shape, i), True))      # before it is called wrong: was it the reference?
                if finer is not None:
                    reference[i], difference[i] = finer, abs(mine[i] - finer)
        with np.errstate(divide="ignore", invalid="ignore"):
            excess = np.where(difference > bound, difference / bound, 0)
        ok = bool(np.all(difference <= bound))
        index = _place(difference if ok else excess)
        worst = float(difference.max())
        row = Row(name, ok, relative(worst, size), cosine(mine, reference), index,
                  float(mine[index]), float(reference[index]))
        notes = sorted({s.method for s in slopes if s.method != "complex step"})
        notes = [f"{'by ' if 'differences' in m else ''}{m}" for m in notes]
        if kinks:
            at, (left, right) = kinks[0]
            notes.append(f"kink at {list(at)}: slope {left:.6g} from the left, {right:.6g} from the right"
                         + (f" (and {len(kinks) - 1} more)" if len(kinks) > 1 else ""))
        smooth = np.array([s.kink is None for s in slopes]).reshape(self.shape)
        return self._noted(row, notes, (bound - self.lost)[smooth], size)

    def _along_directions(self, name: str, mine: np.ndarray, moved: list[np.ndarray]) -> Row:
        pairs = [self._projected(mine, moved, self.direction()) for _ in range(DIRECTIONS)]
        ok = all(abs(a - b) <= bound for a, b, bound, _ in pairs)
        size = max(abs(b) for _, b, _, _ in pairs)
        a, b, _, s = max(pairs, key=lambda p: abs(p[0] - p[1]))
        row = Row(name, ok, relative(abs(a - b), size), cosine([p[0] for p in pairs], [p[1] for p in pairs]), (), float(a), float(b))
        notes = [f"{mine.size} entries, along {DIRECTIONS} random directions"] if ok else []
        notes += [f"by {s.method}"] if "differences" in s.method else []
        if s.kink is not None:
            notes.append("a kink here: slope {:.6g} from the left, {:.6g} from the right, along a random direction".format(*s.kink))
        if not ok:
            row.index, row.yours, row.reference = self._halved(mine, moved)
            notes.append(f"{mine.size} entries; this one found by halving, there may be more")
        return self._noted(row, notes, np.array([p[2] for p in pairs]), size)

    def _projected(self, mine: np.ndarray, moved: list[np.ndarray], direction: np.ndarray) -> tuple[float, float, float, Slope]:
        """(yours, reference, bound, slope) along a direction."""
        parts = mine * direction
        found = self.slope(direction, float(np.sum(np.abs(parts))), believed=self.believed)
        size = float(np.sqrt(np.sum(parts * parts)))
        spread = max(float(np.sqrt(np.sum((m * direction) ** 2))) for m in moved)
        bound = float(self._bound(spread, size, size, self.lost * float(np.linalg.norm(direction)))) + found.error
        yours = float(parts.sum())
        if found.kink is not None:
            low, high = sorted(found.kink)
            return yours, min(max(yours, low), high), bound, found
        return yours, found.value, bound, found

    def _halved(self, mine: np.ndarray, moved: list[np.ndarray]) -> tuple[tuple[int, ...], float, float]:
        """An entry that is wrong, by halving the set of entries: (index, yours, reference)."""
        entries, direction = np.arange(mine.size), self.direction().ravel()

        def miss(chosen: np.ndarray) -> float:
            masked = np.zeros(mine.size)
            masked[chosen] = direction[chosen]
            yours, reference, bound, _ = self._projected(mine, moved, masked.reshape(self.shape))
            return abs(yours - reference) / (bound or 1e-300)
        while len(entries) > 1:
            halves = np.array_split(entries, 2)
            entries = max(halves, key=miss)
        index = tuple(map(int, np.unravel_index(entries[0], self.shape)))
        reference = self.slope(_unit(self.shape, index), abs(float(mine[index])), believed=self.believed).value
        return index, float(mine[index]), float(reference)

    def _bound(self, moved: Any, reference: Any, size: float, lost: float) -> Any:
        """How far a right gradient may be from its reference."""
        if self.tolerance is not None:
            return np.full(np.shape(reference), self.tolerance * size)
        return SAFETY * moved + ULPS * self.eps * np.abs(reference) + self.checked.floor(self.eps) * size + lost

    def _own_error(self, found: list[Slope], size: float) -> np.ndarray:
        """What the references may be off themselves: nothing for the complex step."""
        share = [0 if "differences" not in s.method else 1e-12 if "extended" in s.method else 1e-10 for s in found]
        return np.array([s.error + part * size for s, part in zip(found, share)]).reshape(self.shape)

    def _noted(self, row: Row, notes: list[str], bound: np.ndarray, size: float) -> Row:
        """The row with its notes; and a remark where rounding could explain anything."""
        if self.tolerance is None and row.ok and bound.size and float(np.max(bound)) > 1e-2 * size > 0:
            self.undecided = True
            notes.append(f"could not decide: in {np.dtype(self.arrays[self.i].dtype).name} rounding alone moves an entry by "
                         f"{float(np.max(bound)) / SAFETY / size:.0e} of the largest")
        row.note = "; ".join(filter(None, [row.note, *notes]))
        return row


def finer(array: np.ndarray) -> np.ndarray:
    """The reference is computed in float64 at least."""
    return array.astype(float) if array.dtype == np.float32 else array


def _unit(shape: tuple[int, ...], index: tuple[int, ...]) -> np.ndarray:
    unit = np.zeros(shape)
    unit[index] = 1.0
    return unit


def _place(array: np.ndarray) -> tuple[int, ...]:
    return tuple(map(int, np.unravel_index(np.argmax(array), array.shape)))
