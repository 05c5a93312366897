"""MNIST-1D: digits as short curves, 40 steps of one number, 10 classes, shifted, sheared and noisy.

    python -m models mnist1d                three seeds
    python -m models mnist1d --help

Greydanus and Kobak, "Scaling down deep learning with MNIST-1D" (arXiv:2011.14439). 4,000 curves are trained on and
1,000 tested on, made by the authors' package with their seed. Their GRU hands the outputs of all steps to one linear
layer; here it reads their mean over time, which is smaller and knows nothing of where in time a digit stands.
"""
import sys

import numpy as np

from .data import Sequences
from .task import Data, Reference, Task, extra, minibatches


def data() -> Data:
    curves = extra("mnist1d.data", "data", "the curves come").make_dataset()

    def part(ending: str) -> Sequences:
        return curves[f"x{ending}"].T[..., None].astype(np.float32), curves[f"y{ending}"], None

    return minibatches(part(""), part("_test"), size=100)


TASK = Task("mnist1d", "MNIST-1D, digits as curves of 40 steps", inputs=1, outputs=10, data=data,
            read="mean", cell="GRUCell", hidden=32, epochs=60, learning_rate=1e-2,
            references=(Reference("GRU", 91.0, "published, bidirectional, 2 × 6 units, 8,000 steps"), Reference("human", 96.0, "published"),
                        Reference("CNN", 94.0, "published"), Reference("MLP", 68.0, "published")))


def main() -> int:
    return TASK.main()


if __name__ == "__main__":
    sys.exit(main())
