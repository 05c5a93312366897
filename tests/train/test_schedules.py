"""Schedules against their closed forms."""
import math

import pytest

from minigrad.train import cosine, step_decay, warmup


@pytest.mark.parametrize("steps, rise, floor", [(10, 0, 0.0), (10, 3, 0.0), (100, 10, 0.2), (1, 0, 0.5)])
def test_cosine(steps, rise, floor):
    schedule = cosine(steps, warmup=rise, floor=floor)
    for n in range(1, rise + 1):
        assert schedule(n) == n / (rise + 1)
    for n in range(rise + 1, steps + 1):
        angle = (n - 1 - rise) * math.pi / (steps - rise)
        assert schedule(n) == pytest.approx(floor + (1 - floor) * math.cos(angle / 2) ** 2, abs=1e-15)
    assert schedule(rise + 1) == 1 and schedule(steps + 1) == schedule(5 * steps) == floor
    assert all(schedule(n) > schedule(n + 1) for n in range(rise + 1, steps))


def test_warmup():
    schedule = warmup(4)
    assert [schedule(n) for n in range(1, 8)] == [0.2, 0.4, 0.6, 0.8, 1, 1, 1]
    assert warmup(0)(1) == 1


def test_step_decay():
    schedule = step_decay(3, 0.5)
    assert [schedule(n) for n in range(1, 10)] == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]


@pytest.mark.parametrize("make, words", [
    (lambda: cosine(0), "steps is 0, expected a whole number of steps, at least 1"),
    (lambda: cosine(10.0), "steps is 10.0"),
    (lambda: cosine(10, warmup=-1), "warmup is -1, expected a whole number of steps, at least 0"),
    (lambda: cosine(10, warmup=10), "warmup is 10 of 10 steps"),
    (lambda: cosine(10, floor=2), "floor is 2, expected a factor from 0 to 1"),
    (lambda: step_decay(0), "every is 0"),
    (lambda: step_decay(5, 0), "factor is 0, expected a number above 0 and at most 1"),
    (lambda: warmup(-3), "warmup is -3"),
])
def test_nonsense_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
