"""Parity: at every step, is the number of ones so far odd?

    python -m models parity                     an LSTM trained on up to 40 bits and tested on 500
    python -m models parity --help

The smallest task that needs a state for ever: one flipped bit changes every answer after it. A network solves it for
sequences of any length or not at all, so it is tested on longer ones than it was trained on.
"""
import math
import sys
from collections.abc import Callable, Iterator

import numpy as np

from .task import Batch, Data, Measure, Reference, Task, binary_cross_entropy, percent

TRAINED, TESTED = 40, 500               # steps of the longest training sequence, and of the test's
ROWS, BATCHES = 32, 100


def sequences(rng: np.random.Generator, rows: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """xs (T, B, 1), bits 0 or 1, and targets (T, B, 1): 1 where the number of ones so far is odd."""
    bits = rng.integers(0, 2, (steps, rows, 1))
    return bits.astype(np.float32), np.cumsum(bits, axis=0) % 2


def data() -> Data:
    def epoch(rng: np.random.Generator, progress: Callable[[], float]) -> Iterator[Batch]:
        for _ in range(BATCHES):
            share = min(1.0, 0.1 + 1.3 * progress())                # few bits at first
            yield Batch(*sequences(rng, ROWS, math.ceil(share * TRAINED)))

    return Data(epoch, [Batch(*sequences(np.random.default_rng(1997), 200, TESTED))], BATCHES, growing=True)


def _all_right(outputs: np.ndarray, batch: Batch) -> tuple[float, float]:
    return np.sum(np.all((outputs > 0) == batch.targets, axis=(0, 2))), outputs.shape[1]


TASK = Task("parity", f"of {TESTED} bits, say at every step whether the ones so far are odd in number", inputs=1,
            outputs=1, data=data, read="every", loss=binary_cross_entropy,
            measure=Measure("sequences all right", "%", True, _all_right, percent),
            cell="LSTMCell", hidden=16, epochs=10, learning_rate=1e-2,
            references=(Reference("RNN and LSTM", 100.0, "Delétang et al. 2023, arXiv:2207.02098: the last answer, 41 to 500 bits"),
                        Reference("coin", 0.0, "2⁻⁵⁰⁰")))


def main() -> int:
    return TASK.main()


if __name__ == "__main__":
    sys.exit(main())
