"""Long sequences: time per step of forward, backward and freeing against their length, and the collector's share.

    python -m tests.benchmarks.long

A tanh RNN at (B, H) = (1, 16), T = 1,000 … 100,000, loss at the last step; once as a loop written by hand and once
through ``mg.unroll``. The garbage collector is on, as it is for users, and gc.callbacks tell how long it ran; a last
column repeats the run with it off. Below each table stands the exponent p of time ~ T^p, fitted on logarithms.
"""
from tests.benchmarks.measure import versions                       # first: it sets the threads

import gc
import statistics
import time

import numpy as np

import minigrad as mg

LENGTHS = (1_000, 3_000, 10_000, 30_000, 100_000)
D, H = 8, 16


class CollectorClock:
    """Counts seconds spent in, and runs of, the garbage collector while the block lasts."""

    def __enter__(self):
        self.seconds, self.runs = 0.0, 0
        gc.callbacks.append(self._tick)
        return self

    def __exit__(self, *error):
        gc.callbacks.remove(self._tick)

    def _tick(self, phase, info):
        if phase == "start":
            self._start = time.perf_counter()
        else:
            self.seconds += time.perf_counter() - self._start
            self.runs += 1


def by_hand(cell, X):
    W_x, W_h, b = (cell.parameters()[name] for name in ("W_x", "W_h", "b"))
    h = np.zeros((1, H))
    for x in X:
        h = np.tanh(x @ W_x + h @ W_h + b)
    return (h * h).sum()


def by_unroll(cell, X):
    _, h = mg.unroll(cell, X)
    return (h * h).sum()


def measure(forward, cell, X):
    """Seconds of (forward, backward, freeing), and in the collector, for one training step."""
    gc.collect()
    with CollectorClock() as collector:
        marks = [time.perf_counter()]
        loss = forward(cell, X)
        marks.append(time.perf_counter())
        loss.backward()
        marks.append(time.perf_counter())
        del loss
        marks.append(time.perf_counter())
    return np.append(np.diff(marks), collector.seconds)


def table(title, forward):
    print(f"\n{title}: µs per step\n{'T':>9s}{'forward':>10s}{'backward':>10s}{'freeing':>10s}{'total':>10s}"
          f"{'collector':>11s}{'total, off':>12s}")
    totals = []
    for T in LENGTHS:
        rng = np.random.default_rng(0)
        cell, X = mg.RNNCell(D, H, rng=rng), rng.standard_normal((T, 1, D))
        repeats = max(3, min(21, 30_000 // T))
        rows = np.array([measure(forward, cell, X) for _ in range(repeats)])
        gc.disable()
        off = statistics.median(measure(forward, cell, X)[:3].sum() for _ in range(repeats))
        gc.enable()
        ahead, back, freeing, collector = np.median(rows, axis=0) / T * 1e6
        total = float(np.median(rows[:, :3].sum(1)))
        totals.append(total)
        print(f"{T:9,d}{ahead:10.1f}{back:10.1f}{freeing:10.1f}{total / T * 1e6:10.1f}"
              f"{collector / (total / T * 1e6):10.0%} {off / T * 1e6:12.1f}", flush=True)
    exponent = np.polyfit(np.log(LENGTHS), np.log(totals), 1)[0]
    slowdown = totals[-1] / LENGTHS[-1] / (totals[0] / LENGTHS[0])
    print(f"fitted exponent {exponent:.3f}; a step at T = {LENGTHS[-1]:,} takes {slowdown:.2f} times one"
          f" at T = {LENGTHS[0]:,}")


def main():
    print(versions())
    table("Loop written by hand", by_hand)
    table("mg.unroll", by_unroll)


if __name__ == "__main__":
    main()
