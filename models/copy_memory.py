"""Copy memory: see ten symbols, wait, and say them again.

    python -m models copy_memory                an LSTM that waits ten steps, three seeds
    python -m models copy_memory --help

The input is ten symbols out of eight, T − 1 blanks, one mark, ten blanks; the answer, at every step, is blank before
the mark's step is over and then the ten symbols (Hochreiter & Schmidhuber 1997; in this form Arjovsky, Shah & Bengio
2016, arXiv:1511.06464). Without memory the best is to say blank and then guess: 10 ln 8 / (T + 20) nats a step.
"""
import math
import sys
from collections.abc import Callable, Iterator

import numpy as np

from .task import Batch, Data, Measure, Reference, Task, cross_entropy

SYMBOLS, COPIED, WAIT = 8, 10, 10       # symbols 0 … 7, then BLANK and MARK; how many are copied; T
BLANK, MARK = SYMBOLS, SYMBOLS + 1
ROWS, BATCHES = 64, 100


def sequences(rng: np.random.Generator, rows: int, wait: int, copied: int = COPIED) -> tuple[np.ndarray, np.ndarray]:
    """xs and targets (T + 20, B), integers below 10 and below 9."""
    symbols = rng.integers(0, SYMBOLS, (copied, rows))
    xs = np.full((wait + 2 * copied, rows), BLANK)
    targets = xs.copy()
    xs[:copied] = targets[-copied:] = symbols
    xs[-copied - 1] = MARK
    return xs, targets


def memoryless(wait: int) -> float:
    """Nats a step of the best answer without memory."""
    return COPIED * math.log(SYMBOLS) / (wait + 2 * COPIED)


def data() -> Data:
    def epoch(rng: np.random.Generator, progress: Callable[[], float]) -> Iterator[Batch]:
        for _ in range(BATCHES):
            share = min(1.0, 0.1 + 1.3 * progress())                # one symbol, one step at first
            yield Batch(*sequences(rng, ROWS, math.ceil(share * WAIT), math.ceil(share * COPIED)))

    return Data(epoch, [Batch(*sequences(np.random.default_rng(1997), 500, WAIT))], BATCHES, growing=True)


def _nats(outputs: np.ndarray, batch: Batch) -> tuple[float, float]:
    shifted = outputs.astype(float) - outputs.max(axis=-1, keepdims=True)
    chosen = np.take_along_axis(shifted, batch.targets[..., None], axis=-1)[..., 0]
    return float(np.sum(np.log(np.exp(shifted).sum(axis=-1)) - chosen)), chosen.size


TASK = Task("copy_memory", f"say {COPIED} symbols again after {WAIT} steps", inputs=SYMBOLS + 2, outputs=SYMBOLS + 1,
            data=data, read="every", loss=cross_entropy, measure=Measure("cross-entropy", "nats", False, _nats),
            cell="LSTMCell", hidden=64, epochs=30, learning_rate=1e-2,
            references=(Reference("memoryless", memoryless(WAIT), f"10 ln 8 / {WAIT + 20}"),))


def main() -> int:
    return TASK.main()


if __name__ == "__main__":
    sys.exit(main())
