"""Surnames read letter by letter: which of twelve countries are they from? (The lists of the package faker.)

    python -m models surnames               a GRU with 48 units, three seeds
    python -m models surnames --help

9,378 names, some of them in several lists, so that nobody can be right more often than in 96 of 100 cases. A fifth of
the names, drawn once and for all, is tested on.
"""
import sys
from collections import Counter
from collections.abc import Sequence

import numpy as np

import minigrad as mg

from .task import Data, Reference, Task, extra, minibatches

LOCALES = "bg_BG de_AT en_US es_ES fi_FI fr_FR hr_HR it_IT nl_NL pt_BR sk_SK sv_SE".split()
LETTERS = 128                           # 0 stands for padding, 1 for the rarest letters together


def names() -> tuple[list[str], np.ndarray]:
    """The surnames of the LOCALES: a list of strings and the array of their locales' numbers."""
    lists = []
    for locale in LOCALES:
        provider = extra(f"faker.providers.person.{locale}", "data", "the surnames come").Provider
        lists.append(sorted(set(provider.last_names)))
    return sum(lists, []), np.repeat(np.arange(len(LOCALES)), [len(each) for each in lists])


def encoded(words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Words as integers (T, N), 0 after each end, and their lengths (N,)."""
    number = {letter: n for n, (letter, _) in enumerate(Counter("".join(words)).most_common(LETTERS - 2), 2)}
    xs, lengths, _ = mg.train.pad_sequences([[number.get(letter, 1) for letter in word] for word in words])
    return xs, lengths


def data() -> Data:
    words, locales = names()
    xs, lengths = encoded(words)
    order = np.random.default_rng(0).permutation(len(words))
    cut = len(words) * 4 // 5
    train, test = ((xs[:, part], locales[part], lengths[part]) for part in (order[:cut], order[cut:]))
    return minibatches(train, test, size=64)


TASK = Task("surnames", "where a surname is from, letter by letter, twelve countries", inputs=LETTERS,
            outputs=len(LOCALES), data=data,
            references=(Reference("GRU-48", 73.0, "in 18 s"), Reference("majority", 18.9, "always Slovak")),
            cell="GRUCell", hidden=48, epochs=12, learning_rate=1e-2,
            weight_decay=0.2)


def main() -> int:
    return TASK.main()


if __name__ == "__main__":
    sys.exit(main())
