"""Copy memory, parity, the embedded Reber grammar, Mackey–Glass: their data against definitions written another way."""
import collections
import functools
import itertools
import math
import operator
import re
from dataclasses import replace

import numpy as np
import pytest

from models import copy_memory, mackey_glass, parity, reber
from models.task import Batch, Budget, Unusable, find_cell

rng = np.random.default_rng


# ---- copy memory -----------------------------------------------------------------------------------------------------

def test_copy_memory_row_by_row():
    xs, targets = copy_memory.sequences(rng(0), 50, 7)
    assert xs.shape == targets.shape == (27, 50)
    for x, y in zip(xs.T.tolist(), targets.T.tolist()):
        copied = x[:10]
        assert max(copied) < 8 and x == copied + [8] * 6 + [9] + [8] * 10 and y == [8] * 17 + copied
    short, _ = copy_memory.sequences(rng(0), 5, 1, copied=2)
    assert short[2:].T.tolist() == [[9, 8, 8]] * 5 and short.shape == (5, 5)


def test_without_memory_ten_guesses_are_the_best():
    batch = Batch(*copy_memory.sequences(rng(1), 20, 30))
    guess = np.full((50, 20, 9), -1e4)
    guess[:40, :, 8], guess[40:, :, :8] = 0, 0                      # blank for sure, then one of eight
    measure = copy_memory.TASK.measure
    assert measure.of([guess], [batch]) == pytest.approx(copy_memory.memoryless(30), rel=1e-12)
    assert measure.of([np.eye(9)[batch.targets] * 1e4], [batch]) == 0
    logits = rng(2).standard_normal((50, 20, 9)).astype(np.float32)
    by_hand = np.mean([-math.log(math.exp(o[k]) / sum(map(math.exp, o))) for o, k in zip(logits.reshape(-1, 9).tolist(), batch.targets.ravel())])
    assert measure.of([logits], [batch]) == pytest.approx(by_hand, rel=1e-12)


# ---- parity ----------------------------------------------------------------------------------------------------------

def test_parity_is_exclusive_or():
    xs, targets = parity.sequences(rng(0), 40, 25)
    for bits, answers in zip(xs[..., 0].T.astype(int).tolist(), targets[..., 0].T.tolist()):
        assert answers == [functools.reduce(operator.xor, bits[:t + 1]) for t in range(25)]
    assert 0.4 < xs.mean() < 0.6


def test_a_sequence_counts_only_if_every_answer_is_right():
    batch = Batch(*parity.sequences(rng(0), 10, 30))
    outputs = batch.targets - 0.5
    assert parity.TASK.measure.of([outputs], [batch]) == 100
    outputs[29, 3] *= -1
    assert parity.TASK.measure.of([outputs], [batch]) == 90


# ---- the embedded Reber grammar --------------------------------------------------------------------------------------

ROUND = "T*V(PXT*V)*(V|PS)"                                         # from the state after P, once round or more
PLAIN = f"B(TS*X(S|X{ROUND})|P{ROUND})E"
EMBEDDED = re.compile(f"B(T{PLAIN}T|P{PLAIN}P)E")


def written(symbols, lengths):
    return ["".join(reber.SYMBOLS[i] for i in column[:n]) for column, n in zip(symbols.T, lengths)]


def accepted(string):
    """What the automaton says, asked through legal()."""
    ids = np.array([[reber.SYMBOLS.index(s)] for s in string])
    if string[0] != "B":
        return False
    allowed = reber.legal(ids)[:, 0]
    walked = all(allowed[t - 1, ids[t, 0]] for t in range(1, len(string)))
    return walked and not allowed[-1].any()                         # nothing may follow the end


def test_strings_are_of_the_grammar_and_perturbed_ones_are_not():
    strings = written(*reber.strings(rng(0), 400))
    assert all(EMBEDDED.fullmatch(s) for s in strings) and all(map(accepted, strings))
    assert len(set(strings)) > 100
    for string in strings[:25]:                                     # every change of one symbol, and every cut
        for t, symbol in itertools.product(range(len(string)), reber.SYMBOLS):
            changed = string[:t] + symbol + string[t + 1:]
            assert accepted(changed) == bool(EMBEDDED.fullmatch(changed)), changed
        assert not any(accepted(string[:n]) for n in range(1, len(string)))
        other = {"T": "P", "P": "T"}[string[1]]
        assert not accepted(string[:-2] + other + "E")              # the memory


def test_lengths_are_those_of_fair_coins():
    """The mean length is (I − Q)⁻¹ 1 of the Markov chain in which every legal symbol is equally probable: 12."""
    step = np.zeros((reber.END + 1, reber.END + 1))
    for state, following in enumerate(reber.STATES):
        for to in following.values():
            step[state, to] += 1 / len(following)
    inner = np.linalg.inv(np.eye(reber.END) - step[:-1, :-1])
    mean = inner.sum(axis=1)[0]
    variance = (2 * inner - np.eye(reber.END)) @ inner.sum(axis=1) - inner.sum(axis=1) ** 2
    _, lengths = reber.strings(rng(1), 20_000)
    assert mean == pytest.approx(12) and lengths.mean() == pytest.approx(mean, abs=4 * math.sqrt(variance[0] / 20_000))
    assert lengths.min() == 9


def test_a_string_counts_if_it_is_known_to_the_last_but_one():
    batch = reber.batch(rng(2), 60)
    measure, knows = reber.TASK.measure, reber.legal(batch.xs).astype(float)
    assert measure.of([knows], [batch]) == 100
    assert (batch.targets[:-1][batch.xs[1:] > 0] == batch.xs[1:][batch.xs[1:] > 0]).all()          # the next symbol
    column, last = np.arange(60), batch.lengths - 2
    T, P = (reber.SYMBOLS.index(s) for s in "TP")
    assert set(batch.targets[last, column]) == {T, P} and (batch.targets[last, column] == batch.xs[1]).all()
    forgets = knows.copy()
    forgets[last, column, T], forgets[last, column, P] = 1, 0       # always T
    assert measure.of([forgets], [batch]) == pytest.approx(100 * np.mean(batch.xs[1] == T))
    unsure = np.maximum(knows, forgets)
    assert measure.of([unsure], [batch]) < 100                      # a tie is not an answer


# ---- Mackey–Glass ----------------------------------------------------------------------------------------------------

class Half:
    """A generator that answers ½: the history is 1.2 throughout."""

    def random(self, shape):
        return np.full(shape, 0.5)


def production(x):
    return 0.2 * x / (1 + x ** 10)


def by_steps(t):
    """x(t) for 0 ≤ t ≤ 34 by the method of steps: the delayed value is known on each stretch of length τ."""
    ceiling = 10 * production(1.2)
    first = ceiling + (1.2 - ceiling) * np.exp(-0.1 * np.minimum(t, 17))
    if t <= 17:
        return first
    s, w = np.polynomial.legendre.leggauss(40)
    s = 17 + (t - 17) * (s + 1) / 2
    driven = production(np.array([by_steps(u - 17) for u in s])) * np.exp(-0.1 * (t - s))
    return first * math.exp(-0.1 * (t - 17)) + (t - 17) / 2 * (w @ driven)


def test_euler_converges_to_the_method_of_steps_with_order_one():
    exact = np.array([by_steps(t) for t in range(1, 35)])
    errors = [np.abs(mackey_glass.integrate(Half(), 1, 34, substeps=n)[:, 0] - exact).max() for n in (10, 20, 40, 80)]
    assert errors[0] < 0.01 and all(1.8 < a / b < 2.2 for a, b in itertools.pairwise(errors))


def test_integration_is_the_loop_that_was_published():
    history, x, by_hand = collections.deque((1.2 + 0.2 * (rng(5).random(170) - 0.5)).tolist()), 1.2, []
    for n in range(300):
        delayed = history.popleft()
        history.append(x)
        x = x + (production(delayed) - 0.1 * x) / 10
        by_hand += [x] if n % 10 == 9 else []
    assert np.allclose(mackey_glass.integrate(rng(5), 1, 30)[:, 0], by_hand, rtol=1e-13, atol=0)


def test_persistence_costs_what_was_published():
    xs, ys = mackey_glass.series(rng(3), 16, 2000)
    batch = Batch(xs, ys)
    measure = mackey_glass.TASK.measure
    assert measure.of([xs], [batch]) == pytest.approx(162.4, abs=1.5)
    assert measure.of([0 * ys], [batch]) == pytest.approx(100) and measure.of([ys], [batch]) == 0
    assert np.array_equal(xs[15:], ys[:-15]) and abs(xs.mean()) < 2e-3


def test_sixty_linear_weights_reach_38_percent():
    xs, ys = mackey_glass.series(rng(4), 16, 3000)
    past = np.lib.stride_tricks.sliding_window_view(xs[..., 0].astype(float), 60, axis=0)          # (T − 59, B, 60)
    now = ys[59:, :, 0].astype(float)
    weights = np.linalg.lstsq(past[::5, :8].reshape(-1, 60), now[::5, :8].ravel(), rcond=None)[0]
    error = past[:, 8:] @ weights - now[:, 8:]
    value = next(reference.value for reference in mackey_glass.TASK.references if reference.name == "linear")
    assert 100 * np.sqrt(np.sum(error ** 2) / np.sum(now[:, 8:] ** 2)) == pytest.approx(value, abs=1.5)


def test_training_windows_are_stretches_of_the_series(monkeypatch):
    monkeypatch.setattr(mackey_glass, "UNITS", 300)
    monkeypatch.setattr(mackey_glass, "SERIES", 3)
    data = mackey_glass.data()
    batch = next(iter(data.train(rng(0))))
    assert batch.xs.shape == batch.targets.shape == (150, 32, 1)
    assert np.array_equal(batch.xs[15:], batch.targets[:-15])
    starts = {tuple(column[:5]) for column in batch.xs[..., 0].T}
    assert len(starts) > 20                                         # different places


# ---- all of them -----------------------------------------------------------------------------------------------------

SMALL = [(copy_memory, {"WAIT": 2, "ROWS": 4}), (parity, {"TRAINED": 4, "TESTED": 6, "ROWS": 4}), (reber, {"ROWS": 4}),
         (mackey_glass, {"UNITS": 40, "SERIES": 2, "STEPS": 20, "ROWS": 3})]


@pytest.mark.parametrize("module, constants", SMALL, ids=lambda x: getattr(x, "__name__", "").removeprefix("models."))
def test_a_run_improves_its_loss_and_repeats_itself(module, constants, monkeypatch):
    for name, value in constants.items():
        monkeypatch.setattr(module, name, value)
    task = replace(module.TASK, data=module.data, hidden=8)
    steps = task.loaded.steps
    (first, result), (second, again) = (task.train(seed=1, budget=Budget(epochs=12 / steps)) for _ in "12")
    assert result.steps == 12 and np.isfinite(result.value) and result.value == again.value
    assert [r["loss"] for r in first] == [r["loss"] for r in second]
    assert task.references and task.name == module.__name__.removeprefix("models.")


def test_a_cell_may_stand_in_a_module(tmp_path, monkeypatch):
    (tmp_path / "cells_of_mine.py").write_text("from minigrad import RNNCell as Mine\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_cell("cells_of_mine:Mine") is find_cell("RNNCell")
    with pytest.raises(Unusable, match="'no_such_module' cannot be imported .*write module:Class or path.py:Class"):
        find_cell("no_such_module:Mine")
    with pytest.raises(Unusable, match="cells_of_mine has no Yours"):
        find_cell("cells_of_mine:Yours")
