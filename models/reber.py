"""The embedded Reber grammar: what may come next, and what came first?

    python -m models reber                      an LSTM with 24 units, three seeds
    python -m models reber --help

A finite automaton makes strings over B T P S X V E (Reber 1967). The embedded grammar puts one of them between two T or
two P, as in B T ‹B T X S E› T E. The network reads such a string symbol by symbol and predicts what comes next: one or
two symbols are legal at every step, and the last but one is known only to who remembers the second, whatever stood
between. A string counts if at every step the legal symbols have the highest scores.

Hochreiter & Schmidhuber (1997, experiment 1): Elman's network, whose gradient then reached one step back, never does it
for all of 256 strings, real-time recurrent learning sometimes and after 25,000 strings or more; their LSTM always, after
8,440 in the best setting. With the whole gradient and Adam, Elman's network does it too (--cell RNNCell --hidden 48).
"""
import sys
from collections.abc import Iterator

import numpy as np

from .task import Batch, Data, Measure, Reference, Task, counted, cross_entropy, percent

SYMBOLS = "BTPSXVE"
ROWS, BATCHES = 32, 25

REBER = [{"B": 1}, {"T": 2, "P": 3}, {"S": 2, "X": 4}, {"T": 3, "V": 5}, {"X": 3, "S": 6}, {"P": 4, "V": 6}, {"E": 7}]


def embedded() -> list[dict[str, int]]:
    """The automaton as a list of states, each a dict symbol -> next state. It begins in 0 and ends in the last one."""
    T, P, closing = 2, 2 + len(REBER) + 1, 2 + 2 * (len(REBER) + 1)
    states: list[dict[str, int]] = [{"B": 1}, {"T": T, "P": P}]
    for outer, start in (("T", T), ("P", P)):                       # two copies of Reber's; which one is the memory
        states += [{symbol: start + to for symbol, to in state.items()} for state in REBER] + [{outer: closing}]
    return states + [{"E": closing + 1}, {}]


STATES = embedded()
END = len(STATES) - 1
NEXT = np.array([[state.get(symbol, -1) for symbol in SYMBOLS] for state in STATES])        # −1: not legal


def strings(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Symbols as integers (T, B), zeros after each string's end, and the lengths (B,). Either way with probability ½."""
    state, lengths, symbols = np.zeros(rows, int), np.zeros(rows, int), []
    while (state != END).any():
        symbol = np.where(NEXT[state] < 0, -1, rng.random((rows, len(SYMBOLS)))).argmax(axis=1)
        symbols.append(np.where(state == END, 0, symbol))
        lengths += state != END
        state = np.where(state == END, END, NEXT[state, symbol])
    return np.array(symbols), lengths


def legal(xs: np.ndarray) -> np.ndarray:
    """Which symbols may follow the first t of each string: booleans (T, B, 7). What follows its end is not meant."""
    state, answer = np.zeros(xs.shape[1], int), []
    for symbol in xs:
        state = NEXT[state, symbol]
        answer.append(NEXT[state] >= 0)
    return np.array(answer)


def batch(rng: np.random.Generator, rows: int) -> Batch:
    """All symbols but the last, and each one's successor."""
    symbols, lengths = strings(rng, rows)
    return Batch(symbols[:-1], symbols[1:], lengths - 1)


def data() -> Data:
    def epoch(rng: np.random.Generator) -> Iterator[Batch]:
        for _ in range(BATCHES):
            yield batch(rng, ROWS)

    return Data(epoch, [batch(np.random.default_rng(1997), 500)], BATCHES)


def _all_right(outputs: np.ndarray, batch: Batch) -> tuple[float, float]:
    """Strings in which every legal symbol has a higher score than every other one, at each step."""
    may = legal(batch.xs)
    worst, best = np.where(may, outputs, np.inf).min(axis=-1), np.where(may, -np.inf, outputs).max(axis=-1)
    wrong = (worst <= best) & counted(batch, worst.shape)
    return np.sum(~wrong.any(axis=0)), wrong.shape[1]


TASK = Task("reber", "embedded Reber grammar: say at every step which symbols may come next", inputs=len(SYMBOLS),
            outputs=len(SYMBOLS), data=data, read="every", loss=cross_entropy,
            measure=Measure("strings all right", "%", True, _all_right, percent),
            cell="LSTMCell", hidden=24, epochs=40, learning_rate=2e-2,
            references=(Reference("LSTM", 100.0, "Hochreiter & Schmidhuber 1997, after 8,440 strings"),
                        Reference("Elman, one step", 0.0, "the same, after 200,000")))


def main() -> int:
    return TASK.main()


if __name__ == "__main__":
    sys.exit(main())
