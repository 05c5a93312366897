"""A cell that runs other code than when its program was made: from then on it may draw, count and change things, also where its first
step does what it did. Once by scan and once by unroll, each time in a world made anew."""
import bisect
import collections
import functools
import heapq
import itertools
import types
import warnings

import numpy as np
import pytest

import minigrad as mg
from minigrad.compile import NotCompiled, call, scan, trace
from tests.compile.test_same import numbers, results, same, xs


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Without what other tests left."""
    monkeypatch.setattr(call, "_told", collections.OrderedDict())
    monkeypatch.setattr(call, "_programs", collections.OrderedDict())


class Plain:
    def draw(self):
        return 1.0


class Ones:
    def draw(self):
        return np.ones(4)


def noise(own):
    return np.random.normal(size=4)


@functools.wraps(np.mean)
def of_numpy(own):
    return np.random.normal(size=4)


def first_of(own):
    """1.0, the first time."""
    return 1.0 if len(own.seen) < 2 else 0.5


def heap(own):
    heapq.heappush(own.seen, 1)
    return first_of(own)


def sorted_list(own):
    bisect.insort(own.seen, 1)
    return first_of(own)


def deleted(own):
    number = getattr(own, "number", 0.5)
    if hasattr(own, "number"):
        delattr(own, "number")
    return number


def of_function(own):
    of_function.seen = [*getattr(of_function, "seen", ()), 1]
    return first_of(of_function)


def in_order(own):
    first = next(iter(own.order.values()))
    own.order.move_to_end("a" if first == 1.0 else "b")
    return first


def diagonal(own):
    number = 1.0 + own.array[0, 0]
    np.fill_diagonal(own.array, 0.5)
    return number


def sorts(own):
    number = own.row[0]
    own.row.partition(0)
    return float(number)


def taken(own):
    return next(own.steps)


NUMBERS = {f.__name__: f for f in (heap, sorted_list, deleted, of_function, in_order, diagonal, sorts, taken)}
ARRAYS = {"noise": noise, "noise that says it is of NumPy": of_numpy}


@pytest.mark.parametrize("what", [*NUMBERS, *ARRAYS])
@pytest.mark.parametrize("where", ["a method", "an object", "a module"])
def test_other_code(what, where):
    def world(how):
        np.random.seed(0)
        vars(of_function).clear()
        W, own = mg.parameter(0.4 * numbers(3, 4)), types.SimpleNamespace(
            seen=[], number=1.0, order=collections.OrderedDict(a=1.0, b=0.5), array=np.zeros((2, 2)), row=np.array([1.0, 0.5, 0.25]),
            steps=itertools.chain([1.0], itertools.repeat(0.5)))
        before, other = type("Before", (Plain if what in NUMBERS else Ones,), {}), (NUMBERS | ARRAYS)[what]
        held = types.ModuleType("held") if where == "a module" else types.SimpleNamespace()
        held.inside = types.ModuleType("held.inside") if where == "a module" else types.SimpleNamespace()
        held.inside.source = before()

        def cell(x, h):
            h = np.tanh(x @ W + h) * held.inside.source.draw()
            return h, h
        found = [r for _ in range(4) for r in results(how, cell, [W])]
        if where == "a method":
            before.draw = lambda self: other(own)
        else:
            held.inside.source = type("After", (), {"draw": lambda self: other(own)})()
        return found + [r for _ in range(3) for r in results(how, cell, [W])]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ours = world(scan)
    assert any(w.category is NotCompiled for w in caught)
    same(ours, world(mg.unroll))


def test_a_generator_that_was_none():
    def world(how):
        W, own = mg.parameter(0.4 * numbers(3, 4)), types.SimpleNamespace(rng=None)

        def cell(x, h):
            h = np.tanh(x @ W + h + (np.zeros(4) if own.rng is None else own.rng.normal(size=4)))
            return h, h
        found = [r for _ in range(3) for r in results(how, cell, [W])]
        own.rng = np.random.default_rng(0)
        return found + [r for _ in range(3) for r in results(how, cell, [W])]
    with pytest.warns(NotCompiled, match="draws random numbers"):
        ours = world(scan)
    same(ours, world(mg.unroll))


def test_an_attribute_of_a_function_that_has_none_yet():
    def world(how):
        W = mg.parameter(0.4 * numbers(3, 4))

        def counted():
            counted.n = getattr(counted, "n", 0) + 1
            return 1.0 if counted.n < 100 else 0.5

        def cell(x, h):
            h = np.tanh(x @ W + h) * counted()
            return h, h
        return [r for _ in range(25) for r in results(how, cell)]
    with pytest.warns(NotCompiled, match="changes counted"):
        ours = world(scan)
    same(ours, world(mg.unroll))


def test_what_another_thread_changes_meanwhile_stays_changed(monkeypatch):
    """A cell that cannot change anything is not put back as it was."""
    cell, follow = mg.RNNCell(3, 4), trace.Tape.follow

    def meanwhile(self, step):
        cell.dropout_rate = 0.25
        return follow(self, step)
    monkeypatch.setattr(trace.Tape, "follow", meanwhile)
    with pytest.warns(NotCompiled):
        scan(cell, xs)
    assert cell.dropout_rate == 0.25
