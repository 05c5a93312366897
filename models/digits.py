"""Handwritten digits read row by row: 8 steps of 8 pixels, one of 10 classes (scikit-learn's digits).

    python -m models digits                 an RNN with 32 units, three seeds
    python -m models digits --help

The first 1,437 of the 1,797 images are trained on, the rest tested on, in the order in which scikit-learn keeps them: the
last ones were written by other people, which makes this harder than a random fifth.
"""
import sys

import numpy as np

from .task import Data, Reference, Task, extra, minibatches


def data() -> Data:
    digits = extra("sklearn.datasets", "data", "the digits come").load_digits()
    xs = (digits.images / 16).astype(np.float32).transpose(1, 0, 2)             # (8 rows, 1797 images, 8 pixels)
    cut = xs.shape[1] * 4 // 5
    return minibatches((xs[:, :cut], digits.target[:cut], None), (xs[:, cut:], digits.target[cut:], None))


TASK = Task("digits", "handwritten digits row by row, 8 steps of 8 pixels", inputs=8, outputs=10, data=data,
            references=(Reference("RNN-32", 92.0, "91–92 % in 2 s, a 32-unit RNN on a plain NumPy tape"),),
            cell="RNNCell", hidden=32, epochs=60,
            learning_rate=2e-2, weight_decay=0.1)


def main() -> int:
    return TASK.main()


if __name__ == "__main__":
    sys.exit(main())
