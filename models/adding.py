"""The adding problem: remember two numbers out of a hundred, and say their sum.

    python -m models adding                     an LSTM with 32 units (about 4,400 parameters), three seeds
    python -m models adding --cell GRUCell --hidden 36
    python -m models adding --cell RNNCell --hidden 65 --learning-rate 0.003

A step shows a number in [0, 1) and a marker, which is 1 at one step of the first half and at one of the second; after
the last step the answer is due (Hochreiter & Schmidhuber 1997, experiment 4; in this form Le, Jaitly & Hinton 2015,
arXiv:1504.00941). The sum of two independent uniform numbers has variance 1/12 + 1/12, so saying always 1 has the mean
squared error 1/6. Training sequences are new in every batch, and of the length tested or shorter.
"""
import math
import sys
from collections.abc import Callable, Iterator

import numpy as np

from .task import RMSE, Batch, Data, Reference, Task, squared_error

STEPS, ROWS, BATCHES = 100, 64, 100     # T of the test; sequences in a batch; batches in an epoch


def sequences(rng: np.random.Generator, rows: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """xs (T, B, 2), numbers and markers, and targets (B, 1), the sums of the two marked numbers."""
    row, half = np.arange(rows), steps // 2
    first, second = rng.integers(0, half, rows), rng.integers(half, steps, rows)
    xs = np.zeros((steps, rows, 2), np.float32)
    xs[:, :, 0] = rng.random((steps, rows))
    xs[first, row, 1] = xs[second, row, 1] = 1
    return xs, (xs[first, row, 0] + xs[second, row, 0])[:, None]


def data() -> Data:
    def epoch(rng: np.random.Generator, progress: Callable[[], float]) -> Iterator[Batch]:
        for _ in range(BATCHES):
            share = min(1.0, 0.1 + 1.3 * progress())                # T / 10 at first, T in the last third
            yield Batch(*sequences(rng, ROWS, max(2, math.ceil(share * STEPS))))

    return Data(epoch, [Batch(*sequences(np.random.default_rng(1997), 1000, STEPS))], BATCHES, growing=True)


TASK = Task("adding", f"say the sum of the two marked numbers among {STEPS}", inputs=2, outputs=1, data=data,
            loss=squared_error, measure=RMSE, cell="LSTMCell", hidden=32, epochs=50, learning_rate=1e-2,
            references=(Reference("LSTM", 0.0105, "published, about 4.5 k parameters"),
                        Reference("GRU", 0.0129, "published, about 4.5 k parameters"),
                        Reference("RNN", 0.3855, "published, about 4.5 k parameters"),
                        Reference("always 1", math.sqrt(1 / 6), "√(1/6)")))


def main() -> int:
    return TASK.main()


if __name__ == "__main__":
    sys.exit(main())
