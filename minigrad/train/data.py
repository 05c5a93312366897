"""Sequences made into batches: long ones cut into windows, short ones padded, many of them shuffled."""
from __future__ import annotations

import numbers
from typing import Any, Iterable, Iterator

import numpy as np

from ..tensor import Tensor


def windows(*sequences: Any, steps: int, rows: int) -> list[Any]:
    """Cut long sequences for truncated BPTT: a list of windows (T, B, …), each going on where the one before it stopped.

    sequences  arrays of shape (N, …), of equal length: a text's inputs and targets, say
    steps      T, how far gradients reach back; the last window may be shorter
    rows       B, how many places are read side by side: row b reads the b-th of B stretches of N // B steps.
               The last N mod B steps are left out.

    With several sequences each window is a tuple of arrays. Windows are views, so a list of them costs no memory.
    Hand the state on with ``fit(…, state=cell.initial_state(rows))``.

    >>> text = np.arange(13)
    >>> for x, y in windows(text[:-1], text[1:], steps=4, rows=2):
    ...     print(x.T.tolist(), y.T.tolist())
    [[0, 1, 2, 3], [6, 7, 8, 9]] [[1, 2, 3, 4], [7, 8, 9, 10]]
    [[4, 5], [10, 11]] [[5, 6], [11, 12]]
    """
    if not sequences:
        raise TypeError("windows() needs a sequence of shape (N, …)")
    _positive("windows", steps=steps, rows=rows)
    arrays = [_array(sequence) for sequence in sequences]
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) > 1:
        raise ValueError(f"windows() got sequences of lengths {lengths}; all must have the same number of steps (axis 0)")
    length = lengths[0] // rows
    if length == 0:
        raise ValueError(f"windows() got a sequence of {lengths[0]} steps for {rows} rows side by side; expected at least one "
                         "step in each row: give a longer sequence or fewer rows")
    stretches = [a[:rows * length].reshape(rows, length, *a.shape[1:]).swapaxes(0, 1) for a in arrays]
    cuts = [tuple(s[start:start + steps] for s in stretches) for start in range(0, length, steps)]
    return [cut[0] for cut in cuts] if len(arrays) == 1 else cuts


def pad_sequences(sequences: Iterable[Any], value: complex = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stack sequences of different lengths (T_i, …) into one array: returns (xs, lengths, mask).

    xs       (T, B, …) with T the longest length; ``value`` fills the end of the shorter ones
    lengths  (B,) integers, for ``mg.unroll(cell, xs, lengths=lengths)``
    mask     (T, B) booleans, True where a step is real, for ``mg.softmax_cross_entropy(logits, targets, mask=mask)``

    >>> xs, lengths, mask = pad_sequences([[5, 6, 7], [8]])
    >>> xs.T
    array([[5, 6, 7],
           [8, 0, 0]])
    >>> lengths, mask.sum(axis=0)
    (array([3, 1]), array([3, 1]))
    """
    if not np.iterable(sequences):
        raise TypeError(f"pad_sequences() got a {type(sequences).__name__} as sequences; expected a list of arrays of shape (T, …)")
    if not isinstance(value, (int, float, complex, np.number)):
        raise TypeError(f"pad_sequences() got value={value!r}; expected a number")
    arrays = [_array(sequence) for sequence in sequences]
    if not arrays:
        raise ValueError("pad_sequences() got no sequences; expected at least one of shape (T, …)")
    shapes = [a.shape[1:] for a in arrays]
    for i, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise ValueError(f"pad_sequences() got sequence {i} with steps of shape {shape} and sequence 0 with {shapes[0]}; "
                             "sequences may differ in length only (axis 0)")
    lengths = np.array([len(a) for a in arrays])
    xs = np.full((lengths.max(), len(arrays), *shapes[0]), value, np.result_type(*arrays))
    for b, a in enumerate(arrays):
        xs[:len(a), b] = a
    return xs, lengths, np.arange(len(xs))[:, None] < lengths


class Minibatches:
    """The numbers 0 … count − 1 in batches, shuffled anew in every round: each batch is an array of indices.

    count    how many examples there are
    size     how many go into one batch; the last one of a round may be smaller
    rng      a numpy.random.Generator (default seed 0); ``fit`` keeps its state in the checkpoint
    lengths  (count,) the examples' lengths: batches of examples of similar length, in shuffled order, so that
             padding costs little

    The loss picks its examples itself, along whatever axis they are: ``lambda rows: loss(xs[:, rows], labels[rows])``.
    ``len(batches)`` is the number of batches in a round.

    >>> batches = Minibatches(5, 2, rng=np.random.default_rng(0))
    >>> len(batches), sorted(np.concatenate(list(batches)).tolist())
    (3, [0, 1, 2, 3, 4])
    """

    def __init__(self, count: int, size: int, *, rng: np.random.Generator | None = None, lengths: Any = None) -> None:
        _positive("Minibatches", count=count, size=size)
        rng = np.random.default_rng(0) if rng is None else rng
        if not isinstance(rng, np.random.Generator):
            raise TypeError(f"rng must be a numpy.random.Generator, got {type(rng).__name__}; use np.random.default_rng(seed)")
        if lengths is not None and np.shape(lengths) != (count,):
            raise ValueError(f"Minibatches got lengths of shape {np.shape(lengths)}; expected ({count},), one for each example")
        self.count, self.size, self.rng = count, size, rng
        self.lengths = None if lengths is None else np.asarray(lengths)

    def __len__(self) -> int:
        return -(-self.count // self.size)

    def __iter__(self) -> Iterator[np.ndarray]:
        order = self.rng.permutation(self.count)
        places = np.arange(len(self))
        if self.lengths is not None:
            order = order[np.argsort(self.lengths[order], kind="stable")]       # equal lengths stay shuffled
            places = self.rng.permutation(places)
        for place in places:
            yield order[place * self.size:(place + 1) * self.size]


def _array(sequence: Any) -> np.ndarray:
    array = sequence.data if isinstance(sequence, Tensor) else np.asarray(sequence)
    if array.ndim == 0 or array.dtype.kind not in "biufc":
        raise ValueError(f"expected a sequence of numbers of shape (T, …), got {array.dtype} of shape {array.shape}")
    return array


def _positive(who: str, **numbers_given: int) -> None:
    for name, n in numbers_given.items():
        if not (isinstance(n, numbers.Integral) and n >= 1):
            raise ValueError(f"{who} got {name}={n!r}; expected a positive integer")
