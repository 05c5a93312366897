"""The adding problem: its sequences against a plain loop, its constant predictor, and that it is learnt when short."""
from dataclasses import replace

import numpy as np
import pytest

from models import adding
from models.task import Budget


def test_each_half_has_one_marker_and_the_target_is_the_sum():
    for steps in (2, 7, 30):
        xs, targets = adding.sequences(np.random.default_rng(steps), 200, steps)
        assert xs.shape == (steps, 200, 2) and targets.shape == (200, 1) and xs.dtype == np.float32
        for b in range(200):
            marked = [t for t in range(steps) if xs[t, b, 1] == 1]
            assert len(marked) == 2 and marked[0] < steps // 2 <= marked[1]
            assert targets[b, 0] == xs[marked[0], b, 0] + xs[marked[1], b, 0]
        assert set(np.unique(xs[..., 1])) <= {0, 1} and 0 <= xs[..., 0].min() and xs[..., 0].max() < 1
        assert (xs[..., 1].sum(axis=1) > 0).all()                   # every step is marked in some row


def test_always_one_has_the_error_of_one_sixth():
    _, targets = adding.sequences(np.random.default_rng(0), 40_000, 10)
    squares = (targets - 1.0) ** 2
    assert np.mean(squares) == pytest.approx(1 / 6, abs=4 * np.sqrt((1 / 15 - 1 / 36) / 40_000))
    batch = adding.data().test[0]
    constant = adding.TASK.references[-1].value
    assert adding.TASK.measure.of([np.ones_like(batch.targets)], [batch]) == pytest.approx(constant, rel=0.05)


def test_training_sequences_grow_to_the_length_of_the_test():
    data = adding.data()

    def length(progress):
        return len(next(iter(data.train(np.random.default_rng(0), lambda: progress))).xs)

    lengths = [length(p) for p in (0, 0.25, 0.5, 0.7, 1)]
    assert lengths == sorted(lengths) and lengths[0] == 10 and lengths[-2:] == [100, 100] == [len(data.test[0].xs)] * 2
    assert len(list(data.train(np.random.default_rng(0), lambda: 0))) == data.steps


def test_short_sums_are_learnt_and_a_seed_repeats_itself(monkeypatch):
    monkeypatch.setattr(adding, "STEPS", 8)
    monkeypatch.setattr(adding, "ROWS", 32)
    task = replace(adding.TASK, data=adding.data, hidden=16)
    assert task.train("GRUCell", 3, Budget(epochs=2), learning_rate=3e-2)[1].value < 0.15        # √(1/6) = 0.41 knows nothing
    (first, result), (second, again) = (task.train("RNNCell", 3, Budget(epochs=0.1)) for _ in "12")
    assert [r["test"] for r in first] == [r["test"] for r in second] and result.value == again.value
