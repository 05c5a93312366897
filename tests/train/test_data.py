"""Windows, padding and shuffling: held against the whole sequence, and against sequences one by one."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.train import Minibatches, pad_sequences, windows


@pytest.mark.parametrize("length, steps, rows", [(24, 4, 3), (26, 5, 3), (7, 100, 2), (5, 1, 5)])
def test_windows_laid_end_to_end_are_the_stretches(length, steps, rows):
    sequence = np.arange(2 * length).reshape(length, 2)
    cut = windows(sequence, steps=steps, rows=rows)
    again = np.concatenate(cut).swapaxes(0, 1).reshape(-1, 2)
    assert np.array_equal(again, sequence[:length // rows * rows])
    assert all(window.shape == (steps, rows, 2) for window in cut[:-1]) and 1 <= len(cut[-1]) <= steps
    assert all(np.shares_memory(window, sequence) for window in cut)


def test_windows_with_carried_state_compute_what_one_long_pass_computes():
    rng = np.random.default_rng(0)
    cell, sequence = mg.LSTMCell(2, 3, rng=rng), rng.standard_normal((20, 2))
    state, outputs = cell.initial_state(2), []
    for x in windows(sequence, steps=3, rows=2):
        ys, state = mg.unroll(cell, x, mg.detach(state))
        outputs.append(ys.data)
    stretches = np.stack([sequence[:10], sequence[10:]], axis=1)
    np.testing.assert_allclose(np.concatenate(outputs), mg.unroll(cell, stretches)[0].data, rtol=0, atol=1e-15)


@pytest.mark.parametrize("make, error, words", [
    (lambda: windows(steps=2, rows=1), TypeError, "needs a sequence"),
    (lambda: windows(np.ones(3), steps=2, rows=4), ValueError, "a sequence of 3 steps for 4 rows"),
    (lambda: windows(np.ones(3), np.ones(4), steps=2, rows=1), ValueError, r"lengths \[3, 4\]; all must have the same"),
    (lambda: windows(np.ones(3), steps=0, rows=1), ValueError, "steps=0; expected a positive integer"),
    (lambda: windows("abc", steps=1, rows=1), ValueError, "expected a sequence of numbers"),
    (lambda: windows(np.ones(0), steps=1, rows=1), ValueError, "a sequence of 0 steps"),
    (lambda: pad_sequences(3), TypeError, "got a int as sequences; expected a list of arrays"),
    (lambda: pad_sequences([[1]], value="0"), TypeError, "got value='0'; expected a number"),
    (lambda: pad_sequences([]), ValueError, "got no sequences"),
    (lambda: pad_sequences([np.ones((2, 3)), np.ones((2, 4))]), ValueError, r"sequence 1 with steps of shape \(4,\) and sequence 0 with \(3,\)"),
    (lambda: Minibatches(0, 2), ValueError, "count=0; expected a positive integer"),
    (lambda: Minibatches(3, 2, rng=7), TypeError, "must be a numpy.random.Generator, got int"),
    (lambda: Minibatches(3, 2, lengths=[1, 2]), ValueError, r"lengths of shape \(2,\); expected \(3,\)"),
])
def test_nonsense_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_padded_sequences_give_the_gradients_of_the_sequences_one_by_one():
    rng = np.random.default_rng(1)
    cell, W_y = mg.GRUCell(2, 4, rng=rng), mg.parameter(rng.standard_normal((4, 3)), name="W_y")
    sequences = [rng.standard_normal((n, 2)) for n in (5, 1, 3)]
    targets = [rng.integers(3, size=len(s)) for s in sequences]
    xs, lengths, mask = pad_sequences(sequences)
    ys, _, _ = pad_sequences(targets)
    together = mg.softmax_cross_entropy(mg.unroll(cell, xs, lengths=lengths)[0] @ W_y, ys, mask=mask)
    alone = sum(mg.softmax_cross_entropy(mg.unroll(cell, s[:, None])[0] @ W_y, y[:, None], reduction="sum")
                for s, y in zip(sequences, targets)) / 9
    parameters = [*cell.parameters().values(), W_y]
    np.testing.assert_allclose(together.item(), alone.item(), rtol=1e-14)
    for a, b in zip(mg.grad(together, parameters), mg.grad(alone, parameters)):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-12, atol=1e-15)


def test_padding_keeps_the_dtype_and_takes_a_value():
    xs, lengths, mask = pad_sequences([np.ones((1, 2), np.float32), np.zeros((0, 2), np.float32)], value=-1)
    assert xs.dtype == np.float32 and xs.shape == (1, 2, 2) and xs[0, 1].tolist() == [-1, -1]
    assert lengths.tolist() == [1, 0] and mask.tolist() == [[True, False]]


def test_minibatches_show_every_example_once_a_round_in_a_new_order():
    batches = Minibatches(10, 4, rng=np.random.default_rng(0))
    first, second = (np.concatenate(list(batches)).tolist() for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(10)) and first != second
    assert [len(rows) for rows in batches] == [4, 4, 2] and len(batches) == 3
    assert np.concatenate(list(Minibatches(10, 4, rng=np.random.default_rng(0)))).tolist() == first


def test_minibatches_of_similar_length_need_the_least_padding():
    lengths = np.random.default_rng(0).integers(1, 50, 64)
    batches = Minibatches(64, 8, rng=np.random.default_rng(1), lengths=lengths)
    rounds = [list(batches) for _ in range(2)]
    for batch in rounds:
        assert sorted(np.concatenate(batch).tolist()) == list(range(64))
        by_length = np.sort(lengths).reshape(8, 8)
        assert sum(lengths[rows].max() for rows in batch) == by_length.max(axis=1).sum()
    assert any(not np.array_equal(a, b) for a, b in zip(*rounds))
    assert not all(a.max() <= b.min() for a, b in zip(*(iter([lengths[rows] for rows in rounds[0]]),) * 2))   # not sorted
