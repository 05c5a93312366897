"""Fashion-MNIST read row by row: 28 steps of 28 pixels, one of 10 kinds of clothes (needs the Debian package).

    apt install dataset-fashion-mnist
    python -m models fashion                a GRU with 64 units, three seeds
    python -m models fashion --help

Xiao, Rasul and Vollgraf (arXiv:1708.07747): 60,000 pictures to train on, 10,000 to test on. Files of the same names
that Keras has once fetched are found too. Without either, scikit-learn's digits are read instead.
"""
import gzip
import sys
from pathlib import Path

import numpy as np

from . import digits
from .data import Sequences
from .task import Data, Reference, Task, Unusable, minibatches

FOLDERS = Path("/usr/share/datasets/fashion-mnist"), Path.home() / ".keras/datasets/fashion-mnist"


def folder() -> Path | None:
    """Where the files are, or None."""
    return next((path for path in FOLDERS if (path / "train-images-idx3-ubyte.gz").exists()), None)


def part(name: str) -> Sequences:
    """xs (28 rows, N pictures, 28 pixels) from 0 to 1, and labels (N,). The files: Y. LeCun's IDX, a header and bytes."""
    path = folder()
    if path is None:
        raise Unusable("Fashion-MNIST is not here: apt install dataset-fashion-mnist (Debian, Ubuntu)")
    with gzip.open(path / f"{name}-images-idx3-ubyte.gz") as file:
        pictures = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(path / f"{name}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8).astype(int)
    return pictures.transpose(1, 0, 2).astype(np.float32) / 255, labels, None


def data() -> Data:
    return minibatches(part("train"), part("t10k"), size=64)


TASK = Task("fashion", "Fashion-MNIST row by row, 28 steps of 28 pixels", inputs=28, outputs=10, data=data,
            references=(Reference("GRU + SVM", 88.8, "Agarap, in the data set's own list of benchmarks"),
                        Reference("the same with dropout", 89.7, "the same list")),
            cell="GRUCell", hidden=64, epochs=8, learning_rate=1e-2)


def main() -> int:
    if folder() is None:
        print("python -m models fashion: Fashion-MNIST is not here (apt install dataset-fashion-mnist); "
              "reading scikit-learn's digits instead\n", file=sys.stderr)
        return digits.main()
    return TASK.main()


if __name__ == "__main__":
    sys.exit(main())
