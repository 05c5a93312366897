"""The Mackey–Glass series: forecast a chaotic system fifteen steps ahead.

    python -m models mackey_glass               an LSTM with 32 units, three seeds
    python -m models mackey_glass --help

    dx/dt = 0.2 x(t − τ) / (1 + x(t − τ)¹⁰) − 0.1 x(t),   τ = 17      (Mackey & Glass 1977, Science 197:287)

The data are made as Voelker, Kajić & Eliasmith (2019, "Legendre Memory Units") made theirs: Euler's method with ten
steps per unit of time, from a history of 1.2 ± 0.1; the first 100 units are dropped; tanh(x − 1), centred; 64 series of
5,000 units to train on and 64 others to test. The error is √(Σ(o − y)² / Σy²), in percent.
"""
import sys
from collections.abc import Iterator

import numpy as np

from .task import Batch, Data, Measure, Reference, Task, percent, squared_error

AHEAD, TAU, SUBSTEPS, WASHOUT = 15, 17, 10, 100
SERIES, UNITS = 64, 5000                # of training and of test each
STEPS, ROWS, BATCHES = 150, 32, 100     # a training sequence's length; sequences in a batch; batches in an epoch


def integrate(rng: np.random.Generator, rows: int, units: int, tau: int = TAU, substeps: int = SUBSTEPS) -> np.ndarray:
    """x at t = 1, 2, … as an array (units, rows), by Euler's method."""
    past = 1.2 + 0.2 * (rng.random((tau * substeps, rows)) - 0.5)                 # a ring of the last τ units
    x, series = np.full(rows, 1.2), np.empty((units, rows))
    for n in range(units * substeps):
        delayed, past[n % len(past)] = past[n % len(past)].copy(), x
        x = x + (0.2 * delayed / (1 + delayed ** 10) - 0.1 * x) / substeps
        if n % substeps == substeps - 1:
            series[n // substeps] = x
    return series


def series(rng: np.random.Generator, rows: int, units: int) -> tuple[np.ndarray, np.ndarray]:
    """What the network sees: x (units, rows, 1) after the washout, squashed and centred, and the same AHEAD later."""
    x = np.tanh(integrate(rng, rows, WASHOUT + units + AHEAD)[WASHOUT:] - 1)
    x = (x - x.mean()).astype(np.float32)[..., None]
    return x[:-AHEAD], x[AHEAD:]


def data() -> Data:
    xs, ys = series(np.random.default_rng(1977), 2 * SERIES, UNITS)

    def epoch(rng: np.random.Generator) -> Iterator[Batch]:
        for _ in range(BATCHES):
            t, row = rng.integers(0, UNITS - STEPS + 1, ROWS) + np.arange(STEPS)[:, None], rng.integers(0, SERIES, ROWS)
            yield Batch(xs[t, row], ys[t, row])

    return Data(epoch, [Batch(xs[:, SERIES:], ys[:, SERIES:])], BATCHES)


def _squares(outputs: np.ndarray, batch: Batch) -> tuple[float, float]:
    return np.sum((outputs - batch.targets) ** 2, dtype=float), np.sum(batch.targets ** 2, dtype=float)


def _root(share: float) -> float:
    return percent(np.sqrt(share))


TASK = Task("mackey_glass", f"forecast a chaotic series {AHEAD} steps ahead", inputs=1, outputs=1, data=data,
            read="every", loss=squared_error, measure=Measure("NRMSE", "%", False, _squares, _root),
            cell="LSTMCell", hidden=32, epochs=20, learning_rate=1e-2,
            references=(Reference("LSTM", 5.872, "Voelker et al. 2019, the authors' notebook"),
                        Reference("LMU", 4.873, "the same"), Reference("LMU and LSTM", 4.473, "the same"),
                        Reference("linear", 38.2, "least squares on the last 60 values"),
                        Reference("persistence", 162.4, "Voelker et al.")))


def main() -> int:
    return TASK.main()


if __name__ == "__main__":
    sys.exit(main())
