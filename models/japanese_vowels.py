"""Nine speakers told apart by how they say two vowels: 12 coefficients a step, 7 to 29 steps (JapaneseVowels).

    python -m models japanese_vowels        a GRU with 32 units, three seeds
    python -m models japanese_vowels --help

Sequences of different lengths, side by side: past its end a row keeps its state (``lengths=`` of mg.unroll). 270
utterances are trained on and 370 tested on, the split of Kudo, Toyama and Shimbo (1999), who published the data.
"""
import sys

import numpy as np

import minigrad as mg

from .data import Sequences
from .task import Data, Reference, Task, extra, minibatches


def part(split: str) -> Sequences:
    """xs (T, N, 12) with zeros after each end, speakers 0 … 8 (N,), lengths (N,)."""
    load = extra("sktime.datasets", "series", "the vowels come").load_japanese_vowels
    utterances, speakers = load(split, return_type="df-list")
    xs, lengths, _ = mg.train.pad_sequences(utterances)
    return xs.astype(np.float32), speakers.astype(int) - 1, lengths


def data() -> Data:
    return minibatches(part("train"), part("test"), size=16)


TASK = Task("japanese_vowels", "nine speakers told apart by two vowels, 12 coefficients a step, 7 to 29 steps",
            inputs=12, outputs=9, data=data, references=(Reference("GRU-32", 94.0, "in 5 s"),),
            cell="GRUCell", hidden=32, epochs=30, learning_rate=1e-2, weight_decay=0.2)


def main() -> int:
    return TASK.main()


if __name__ == "__main__":
    sys.exit(main())
