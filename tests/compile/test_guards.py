"""Never a silently different number: cells that count, draw, write, peek or change between calls, each once by scan and once by unroll.

A world makes its cell anew, runs it by ``how``, and gives what came out and what the cell holds afterwards: both must be the same.
"""
import collections
import contextlib
import copy
import functools
import os
import random
import sys
import threading
import types
import warnings

import numpy as np
import pytest

import minigrad as mg
from minigrad.compile import NotCompiled, scan
from minigrad.compile.held import Held
from minigrad.nested import flatten


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def parameters():
    return mg.parameter(0.5 * numbers(3, 4), name="W"), mg.parameter(0.4 * numbers(4, 4, seed=1), name="U")


def start(B=2):
    return mg.Tensor(0.3 * numbers(B, 4, seed=5))


xs, longer = numbers(9, 2, 3, seed=2), numbers(50, 2, 3, seed=2)


def results(how, cell, xs, state, wanted=()):
    """Outputs, last state, and gradients for ``wanted``."""
    ys, last = how(cell, xs, state)
    loss = (ys * ys).sum()
    for s in flatten(last):
        loss = loss + np.sin(s).sum()
    return [ys.data, *(s.data for s in flatten(last)), *(g.data for g in (mg.grad(loss, wanted) if wanted else ()))]


def same(ours, theirs):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        a, b = np.asarray(a), np.asarray(b)
        assert a.shape == b.shape and a.dtype == b.dtype
        assert np.allclose(a, b, rtol=1e-11, atol=1e-13)


def both(world):
    """What world gives by scan and by unroll; the warnings of scan."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ours = world(scan)
    return ours, world(mg.unroll), " | ".join(str(w.message) for w in caught if w.category is NotCompiled)


# ---- a cell that changes something ------------------------------------------------------------------------------------------
counted = 0


class Counts(mg.Module):
    """``t`` counts steps while ``on``; from step 36 on, they are others."""
    of_class = 0

    def __init__(self, count, on=True):
        self.W, self.U = parameters()
        self.count, self.on, self.t = count, on, 0

    def __call__(self, x, h):
        if self.on:
            self.count(self)
        h = np.tanh(x @ self.W + h @ self.U) * (0.5 if self.t > 35 else 1.0)
        return h, h


def global_number(self):
    global counted
    counted += 1
    self.t = counted


def alias(self):
    numbers = self.numbers
    numbers += 1
    self.t = numbers[0]


def generator():
    for k in range(1, 1000):
        yield k


def counting(name):
    """Something to count with; hidden state lives in a closure, a default, a container, an object."""
    global counted
    counted, Counts.of_class = 0, 0
    held: dict = {"list": [], "deque": collections.deque(), "set": set(), "dict": {}, "object": types.SimpleNamespace(t=0), "array": np.zeros(1),
                  "tensor": mg.Tensor(np.zeros(1))}

    def default(self, seen=[]):
        seen.append(1)
        self.t = len(seen)

    def attribute_of_a_function(self):
        attribute_of_a_function.t += 1
        self.t = attribute_of_a_function.t
    attribute_of_a_function.t = 0
    return {
        "an attribute": lambda self: setattr(self, "t", self.t + 1),
        "a new attribute": lambda self: setattr(self, "k", getattr(self, "k", 0) + 1) or setattr(self, "t", self.k),
        "the class": lambda self: setattr(Counts, "of_class", Counts.of_class + 1) or setattr(self, "t", Counts.of_class),
        "a global": global_number, "a default": default, "a function": attribute_of_a_function,
        "a list": lambda self: held["list"].append(1) or setattr(self, "t", len(held["list"])),
        "a deque": lambda self: held["deque"].append(1) or setattr(self, "t", len(held["deque"])),
        "a set": lambda self: held["set"].add(len(held["set"])) or setattr(self, "t", len(held["set"])),
        "a dict": lambda self: held["dict"].update(t=held["dict"].get("t", 0) + 1) or setattr(self, "t", held["dict"]["t"]),
        "an object": lambda self: setattr(held["object"], "t", held["object"].t + 1) or setattr(self, "t", held["object"].t),
        "an array": lambda self: np.add(held["array"], 1, out=held["array"]) is None or setattr(self, "t", held["array"][0]),
        "a Tensor": lambda self: setattr(held["tensor"], "data", held["tensor"].data + 1) or setattr(self, "t", held["tensor"].data[0]),
        "a partial": functools.partial(lambda seen, self: seen.append(1) or setattr(self, "t", len(seen)), []),
    }[name]


WAYS = ["an attribute", "a new attribute", "the class", "a global", "a default", "a function", "a list", "a deque", "a set", "a dict", "an object",
        "an array", "a Tensor", "a partial"]


@pytest.mark.parametrize("on", [True, False], ids=["from the start", "later"])
@pytest.mark.parametrize("way", WAYS)
def test_a_cell_that_counts(way, on):
    def world(how):
        cell = Counts(counting(way), on)
        found = results(how, cell, longer, start(), [cell.W, cell.U])
        cell.on = True
        return found + results(how, cell, longer, start(), [cell.W, cell.U]) + [np.float64(cell.t)]
    ours, theirs, why = both(world)
    same(ours, theirs)
    assert "changes" in why


def test_an_array_that_is_written_to_by_another_name():
    def world(how):
        cell = Counts(alias)
        cell.numbers = np.zeros(1)
        return results(how, cell, longer, start()) + [cell.numbers]
    ours, theirs, why = both(world)
    same(ours, theirs)
    assert "changes self.numbers, self.t" in why


@pytest.mark.parametrize("make", [generator, lambda: iter(range(1, 1000)), lambda: map(abs, range(1, 1000))], ids=["generator", "iterator", "map"])
def test_a_cell_that_draws_from_an_iterator(make):
    def world(how):
        steps = make()
        if make is not generator:
            tick = steps.__next__
            return results(how, Counts(lambda self: setattr(self, "t", tick())), longer, start())
        return results(how, Counts(lambda self: setattr(self, "t", next(steps))), longer, start())
    ours, theirs, why = both(world)
    same(ours, theirs)
    assert "holds an iterator (" in why


def test_an_object_with_slots():
    class Slotted:
        __slots__ = ("t",)
    W, U = parameters()

    def world(how):
        counter = Slotted()
        counter.t = 0

        def cell(x, h):
            counter.t += 1
            h = np.tanh(x @ W + h @ U) * (0.5 if counter.t > 35 else 1.0)
            return h, h
        return results(how, cell, longer, start()) + [np.float64(counter.t)]
    ours, theirs, why = both(world)
    same(ours, theirs)
    assert "changes counter.t" in why


class Dropping(mg.Module):
    def __init__(self, draw, training=True):
        self.W, self.U = parameters()
        self.draw, self.training = draw, training

    def __call__(self, x, h):
        mask = self.draw() if self.training else np.ones((2, 4))
        h = np.tanh(x @ self.W + h @ self.U) * mask
        return h, h


@pytest.mark.parametrize("training", [True, False], ids=["from the start", "later"])
@pytest.mark.parametrize("draws", ["a generator", "numpy.random", "random"])
def test_a_cell_that_draws(draws, training):
    def world(how):
        own = np.random.default_rng(0)
        np.random.seed(1)
        random.seed(2)
        draw = {"a generator": lambda: (own.random((2, 4)) < 0.5) * 2.0, "numpy.random": lambda: (np.random.rand(2, 4) < 0.5) * 2.0,
                "random": lambda: np.full((2, 4), 1.0 if random.random() < 0.98 else 0.0)}[draws]
        cell = Dropping(draw, training)
        found = results(how, cell, longer, start())
        cell.training = True
        return found + results(how, cell, longer, start()) + results(how, cell, longer, start())
    ours, theirs, why = both(world)
    same(ours, theirs)
    assert "draws random numbers" in why


def test_a_cell_of_cells_is_known_by_all_of_them():
    """Two stacks, of which the second counts: it is not run by the program of the first."""
    class Counting(mg.RNNCell):
        n = 0

        def __call__(self, x, h):
            self.n += 1
            return super().__call__(x, h)

    def world(how):
        plain, other = mg.stacked(mg.RNNCell(3, 4)), mg.stacked(Counting(3, 4))
        return [how(plain, xs)[0].data, how(other, xs)[0].data, np.float64(other.cells[0].n)]
    ours, theirs, _ = both(world)
    same(ours, theirs)


def test_a_cell_without_effects_is_not_looked_after():
    cell, W = mg.LSTMCell(3, 4), mg.parameter(np.eye(4))
    for plain in (cell, mg.stacked(cell, mg.GRUCell(4, 4)), lambda x, h: (np.tanh(x + h @ W),) * 2):
        assert not Held(plain).effects


# ---- a cell that looks at what is not there ---------------------------------------------------------------------------------
def peeks(look):
    """A cell that looks, from the second call on, at what a step of a program does not have."""
    W, U = parameters()
    more = types.SimpleNamespace(on=False, one=mg.Tensor(np.ones((2, 4))), rate=mg.Tensor(0.0), state=None)

    def cell(x, h):
        new = np.tanh(x @ W + h @ U)
        return (new * (look(more, x, h, new) if more.on else 1.0),) * 2
    return cell, more, [W, U]


def _caught(more, x, h, new):
    try:
        return 0.5 if np.abs(new.data).max() > 0.3 else 1.0
    except Exception:
        return 1.0


LOOKS = {
    "numbers, and catches the error": (_caught, "reading .data"), "the place in time": (lambda more, x, h, new: 0.5 if x.place.step > 4 else 1.0, "the place"),
    "the history": (lambda more, x, h, new: 0.5 if h.is_leaf else 1.0, "the history"), "the text": (lambda more, x, h, new: float(f"{x.sum():.2f}"), "the text"),
    "a copy": (lambda more, x, h, new: copy.deepcopy(x).data.mean(), "a copy"),
    "a gradient within": (lambda more, x, h, new: 1 + mg.grad((new * new).sum(), [new])[0].detach(), "the history")}


@pytest.mark.parametrize("what", LOOKS)
def test_a_cell_that_looks(what):
    def world(how):
        cell, more, wanted = peeks(LOOKS[what][0])
        found = results(how, cell, xs, start(), wanted)
        more.on = True
        return found + results(how, cell, xs, start(), wanted)
    ours, theirs, why = both(world)
    same(ours, theirs)
    assert LOOKS[what][1] in why


def test_a_rate_that_was_zero_at_first():
    """An inner gradient that the first comparison cannot see."""
    def world(how):
        (W, U), rate = parameters(), mg.Tensor(0.0)

        def cell(x, h):
            z = np.tanh(x @ W + h @ U)
            h = z - rate * mg.grad((z * z).sum(), [z])[0]
            return h, h
        found = results(how, cell, xs, start(), [W, U])
        rate.data = np.array(0.1)
        return found + results(how, cell, xs, start(), [W, U])
    same(*both(world)[:2])


def test_one_step_says_little():
    """At T=1 and h=0 the mean is 0: with more steps it is not."""
    W, U = parameters()

    def world(how):
        def cell(x, h):
            h = np.tanh(x @ W + h @ U) * (1 + mg.Tensor(h).data.mean())
            return h, h
        zero = mg.Tensor(np.zeros((2, 4)))
        return results(how, cell, xs[:1], zero) + results(how, cell, xs, zero)
    same(*both(world)[:2])


def test_a_state_that_is_recognized():
    def world(how):
        (W, U), first = parameters(), start()

        def cell(x, h):
            h = np.tanh(x @ W + (h * 2 if h is first else h) @ U)
            return h, h
        return results(how, cell, xs, first, [W, U])
    ours, theirs, why = both(world)
    same(ours, theirs)
    assert "a certain Tensor" in why


@pytest.mark.parametrize("always", [True, False], ids=["from the start", "later"])
def test_gradients_switched_off_inside(always):
    def world(how):
        (W, U), off = parameters(), [always]

        def cell(x, h):
            with mg.no_grad() if off[0] else contextlib.nullcontext():
                gate = mg.sigmoid(x @ W)
            h = np.tanh(x @ W + h @ U) * gate
            return h, h
        found = results(how, cell, xs, start(), [W, U])
        off[0] = True
        return found + results(how, cell, xs, start(), [W, U])
    ours, theirs, why = both(world)
    same(ours, theirs)
    assert "mg.no_grad" in why


# ---- what changes between calls ---------------------------------------------------------------------------------------------
def test_xs_in_another_order_or_nesting():
    (W, U), V, a, b = parameters(), mg.parameter(numbers(3, 4, seed=9)), xs, numbers(9, 2, 3, seed=3)

    def cell(x, h):
        p, q = (x["p"], x["q"]) if isinstance(x, dict) else x[::-1]
        h = np.tanh(p @ W + 2 * (q @ V) + h @ U)
        return h, h
    same(*both(lambda how: [r for x in ({"p": a, "q": b}, {"q": b, "p": a}, {"q": a, "p": b}, (a, b)) for r in results(how, cell, x, start(), [W, U, V])])[:2])


def test_states_in_another_order_or_nesting():
    (W, U), h, c = parameters(), start(), mg.Tensor(numbers(2, 4, seed=8))
    HC, CH = collections.namedtuple("HC", "h c"), collections.namedtuple("CH", "c h")

    def cell(x, s):
        get = s.__getitem__ if isinstance(s, dict) else functools.partial(getattr, s)
        h = np.tanh(x @ W + get("h") @ U + 0.1 * get("c"))
        parts = {"h": h, "c": 0.5 * get("c") + h}
        return h, {k: parts[k] for k in s} if isinstance(s, dict) else type(s)(**parts)

    def holes(x, s):
        a, b = s
        h = np.tanh(x @ W + b @ U) if a is None else np.sin(x @ W + a @ U)
        return h, (None, h) if a is None else (h, None)

    def world(how):
        found = []
        for state in ({"h": h, "c": c}, {"c": c, "h": h}, HC(h, c), CH(c, h)):
            found += results(how, cell, xs, state, [W, U])
        return found + results(how, holes, xs, (None, h), [W, U]) + results(how, holes, xs, (h, None), [W, U])
    ours, theirs, why = both(world)
    same(ours, theirs)
    assert not why


@pytest.mark.parametrize("before, after", [(1, 1.0), (1.0, True), (1.0, 1 + 0j), (0.0, -0.0)])
def test_numbers_that_are_equal_and_not_the_same(before, after):
    def world(how):
        k, zero = before, np.arange(4) * 0

        def cell(x, h):
            return (x * k if before else np.exp(-(1 / (np.abs(x) * k + 1e-320 * k)))), h + (x.sum() > -99)
        sequence, found = (np.arange(18).reshape(9, 2) if before else np.abs(xs) + 1), []
        for k in (before, after):
            with np.errstate(all="ignore"):
                ys, _ = how(cell, sequence, mg.Tensor(zero))
            found.append(ys.data)
        return found
    same(*both(world)[:2])


@pytest.mark.parametrize("index", [np.array([0, 1, 2, 3]), [0, 1, 2, 3], np.array([True, True, False, True])], ids=["array", "list", "mask"])
def test_an_index_that_changes(index):
    (W, U), given = parameters(), index[:] if isinstance(index, list) else index.copy()

    def cell(x, h):
        y = np.tanh(x @ W + h @ U)
        return y[..., index], y

    def world(how):
        index[:] = given
        found = results(how, cell, xs, start(), [W, U]) + results(how, cell, xs, start(), [W, U])
        index[:] = given[::-1]
        return found + results(how, cell, xs, start(), [W, U])
    ours, theirs, why = both(world)
    same(ours, theirs)
    assert not why


def test_an_array_that_changes_within_a_step():
    (W, U), buffer = parameters(), np.empty((2, 4))

    def world(how):
        two = [1.0, 1.0]

        def cell(x, h):
            np.copyto(buffer, two[0])
            h = (h @ U) * buffer
            np.copyto(buffer, two[1])
            h = np.tanh(x @ W + h * buffer)
            return h, h
        found = results(how, cell, xs, start(), [W, U])
        two[:] = 1.0, 2.0
        return found + results(how, cell, xs, start(), [W, U])
    same(*both(world)[:2])


def test_a_nesting_that_changes_later():
    (W, U), more = parameters(), []

    def cell(x, h):
        h = np.tanh(x @ W + h @ U)
        return h, [h] if more else h
    scan(cell, xs, start())
    more.append(1)
    with pytest.raises(ValueError, match="changed its state at t=1"):
        scan(cell, xs, start())


@pytest.mark.parametrize("what", ["a constant", "the state"])
def test_a_constant_that_is_changed_before_backward(what):
    (W, U), m, h = parameters(), mg.Tensor(np.ones((2, 4))), start()

    def cell(x, h):
        return (np.tanh(x @ W + h @ U) * m,) * 2
    ys, _ = scan(cell, xs, h)
    (m if what == "a constant" else h).data *= 0.5
    with pytest.raises(RuntimeError, match="changed after scan had used it"):
        ys.sum().backward()


def test_what_was_given_may_change_before_higher_orders():
    W, U = parameters()

    def world(how):
        given, lengths = xs.copy(), np.array([9, 4])
        ys, _ = how(lambda x, h: (np.tanh(x @ W + h @ U),) * 2, given, start(), lengths=lengths)
        given[:], lengths[:] = 0, 1
        first, = mg.grad((ys * ys).sum(), [W], create_graph=True)
        return [mg.grad((first * first).sum(), [U])[0].data]
    same(*both(world)[:2])


# ---- programs ----------------------------------------------------------------------------------------------------------------
def test_a_scan_within_a_step_is_unrolled():
    (W, U), inner = parameters(), numbers(4, 2, 4)

    def world(how):
        def cell(x, h):
            a = x @ W

            def step(z, g):
                g = np.tanh(z * a + g)
                return g, g
            h = np.tanh(how(step, inner, mg.Tensor(np.zeros((2, 4))))[1] + h @ U)
            return h, h
        return results(how, cell, xs, start(), [W, U]) + results(how, cell, xs[::-1], start(), [W, U])
    same(*both(world)[:2])


def test_values_without_rows_of_the_batch():
    """A matrix and a vector made of all rows: with T = B they could pass for one another."""
    W, U = parameters()

    def cell(x, state):
        h, M = state
        h = np.tanh(x @ W + h @ np.tanh(h.mT @ h) + np.broadcast_to(h[-1], h.shape))
        M = np.tanh(M @ np.tanh(h.sum(axis=0)))[..., None] * 0.5 + 0.5 * np.linalg.solve(4 * np.eye(4) + h.mT @ h, M)
        return h * M.sum(axis=-1), (h, M)
    for T, B in ((3, 3), (1, 2), (4, 2), (5, 1)):
        ours, theirs, why = both(lambda how: results(how, cell, numbers(T, B, 3), (start(B), mg.Tensor(numbers(B, 4, 4))), [W]))
        same(ours, theirs)
        assert not why


def test_a_gradient_that_is_not_wanted_without_recording():
    """A state that is handed on, in mg.no_grad(): there is nothing to compare but the numbers."""
    W, _ = parameters()
    kept = mg.parameter(numbers(2, 4))

    def cell(x, state):
        h, k = state
        return np.tanh(x @ W + h), (np.tanh(x @ W + h), k)
    with mg.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error", NotCompiled)
        assert scan(cell, xs, (start(), kept))[0].shape == (9, 2, 4)


def test_threads_without_gradients_do_not_mix():
    """Outputs are copied before another thread gets the room."""
    W, U = parameters()
    wrong: list = []

    def cell(x, h):
        h = np.tanh(x @ W + h @ U)
        return h, h

    def work(seed):
        with mg.no_grad():
            xs = numbers(40, 64, 3, seed=seed)
            expected = mg.unroll(cell, xs, start(64))[0].data
            for _ in range(60):
                wrong.append(np.abs(scan(cell, xs, start(64))[0].data - expected).max() > 1e-12)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    finally:
        sys.setswitchinterval(before)
    assert len(wrong) == 240 and not any(wrong)


def test_what_other_packages_hold_is_found_by_the_comparison(monkeypatch):
    """Not all can be looked after: then two unrolls differ."""
    monkeypatch.setenv("STEP", "0")
    W, U = parameters()

    def cell(x, h):
        os.environ["STEP"] = str(int(os.environ["STEP"]) + 1)
        h = np.tanh(x @ W + h @ U) * (0.5 if int(os.environ["STEP"]) % 5 == 4 else 1.0)
        return h, h
    with pytest.warns(NotCompiled, match="two unrolls of it differ"):
        scan(cell, numbers(12, 2, 3), start())


@pytest.mark.parametrize("first", [1, [1], [[1]], slice(1, 2), None, [1, 2], [True, False, True]])
@pytest.mark.filterwarnings("ignore::minigrad.compile.NotCompiled")
def test_an_index_that_was_a_number_and_is_an_array_is_another(first):
    """array([1]) == 1 is true: the program of x[1] ran for x[[1]]."""
    def cell(index):
        return lambda x, h: (np.tanh(x)[index], h + 1)
    xs = numbers(3, 3)
    for then in (1, [1], [[1]], slice(1, 2), None, [1, 2], [True, False, True]):
        scan(cell(first), xs, mg.Tensor(0.0))
        found, expected = scan(cell(then), xs, mg.Tensor(0.0))[0].data, mg.unroll(cell(then), xs, mg.Tensor(0.0))[0].data
        assert found.shape == expected.shape and np.array_equal(found, expected)


@pytest.mark.parametrize("index", [([0, 1], slice(None), 0), (slice(None), [0, 1], None, [1, 1]), (Ellipsis, [[0, 1], [2, 2]], 0), ([1], 0, Ellipsis, [0])])
@pytest.mark.filterwarnings("error::minigrad.compile.NotCompiled")
def test_arrays_in_an_index_are_compiled_wherever_they_stand(index):
    def cell(x, h):
        y = (x * W)[index]
        return y, h + y.sum()
    xs, W = numbers(4, 3, 4, 2), mg.parameter(numbers(3, 4, 2, seed=1))
    found = [(ys.data, h.data, mg.grad((ys * ys).sum() + h, W)[0].data) for ys, h in
             (how(cell, xs, mg.Tensor(0.0)) for how in (scan, mg.unroll))]
    for a, b in zip(*found):
        assert a.shape == b.shape and np.allclose(a, b, rtol=1e-13, atol=1e-13)


@pytest.mark.filterwarnings("ignore::minigrad.compile.NotCompiled")
def test_numbers_to_pad_with_that_are_made_anew_in_every_step():
    def cell(fill):
        return lambda x, h: (np.pad(np.tanh(x), ((1, 0), (0, 1)), constant_values=np.array(fill)), h + 1)
    xs = numbers(3, 2, 3)
    for fill in (3.0, [1.0, 2.0], [1.0, 3.0], [[1.0, 2.0], [3.0, 4.0]], 3.0):
        found, expected = (how(cell(fill), xs, mg.Tensor(0.0))[0].data for how in (scan, mg.unroll))
        assert np.array_equal(found, expected)
        assert np.array_equal(found[0], np.pad(np.tanh(xs[0]), ((1, 0), (0, 1)), constant_values=np.array(fill)))
