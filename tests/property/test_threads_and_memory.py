"""Two threads differentiate at once; a long training does not grow; the collector may be off."""
import gc
import sys
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

import minigrad as mg


def work(seed, rounds=30):
    """All the gradients of a small recurrent network, seen through one after another of the modes a thread has."""
    rng = np.random.default_rng(seed)
    cell = mg.GRUCell(3, 4, rng=rng)
    found = []
    for n in range(rounds):
        xs = rng.standard_normal((4, 2, 3))
        ys, _ = mg.unroll(cell, xs, checkpoint_every=2 if n % 3 == 2 else None)
        loss = (ys * ys).sum()
        if n % 3 == 1:
            with mg.no_grad():
                assert not (loss * 2).requires_grad
        found.append([g.data for g in mg.grad(loss, list(cell.parameters().values()))])
        assert [h.place.step for h in mg.unroll(cell, xs, states=True)[2][1:]] == [1, 2, 3, 4]
    return found


def at_once(*jobs):
    """Results of the jobs, started together, each in a thread of its own."""
    results, errors, barrier = [None] * len(jobs), [], threading.Barrier(len(jobs))

    def run(i, job):
        try:
            barrier.wait(30)
            results[i] = job()
        except BaseException as error:
            errors.append(error)
    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(jobs)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert not any(t.is_alive() for t in threads)
    if errors:
        raise errors[0]
    return results


@pytest.fixture
def switching_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def test_threads_differentiate_at_once_without_mixing(switching_often):
    alone = [work(seed) for seed in range(3)]
    together = at_once(*(lambda seed=seed: work(seed) for seed in range(3)))
    for one, other in zip(alone, together):
        for a, b in zip(one, other, strict=True):
            assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_threads_share_a_parameter(switching_often):
    W = mg.parameter(np.random.default_rng(0).standard_normal((4, 4)), name="W")

    def gradient(k):
        return [mg.grad((np.tanh(np.full((1, 4), float(k)) @ W) @ W).sum(), W)[0].data for _ in range(100)]
    wanted = [gradient(k)[0] for k in range(3)]
    for found, want in zip(at_once(*(lambda k=k: gradient(k) for k in range(3))), wanted):
        assert all(np.array_equal(g, want) for g in found)
    assert W.grad is None


def test_no_grad_and_errors_in_one_thread_do_not_concern_another():
    inside, done = threading.Event(), threading.Event()

    def off():
        with pytest.raises(ZeroDivisionError):
            with mg.no_grad():
                inside.set()
                assert done.wait(30)
                1 / 0
        return (mg.parameter(1.0) * 2).requires_grad

    def on():
        assert inside.wait(30)
        recorded = (mg.parameter(1.0) * 2).requires_grad
        done.set()
        return recorded
    assert at_once(off, on) == [True, True]


def train(steps, cell, optimizer, xs, targets):
    for _ in range(steps):
        ys, _ = mg.unroll(cell, xs)
        loss = mg.squared_error(ys[-1], targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def test_ten_thousand_steps_do_not_grow():
    """Not by an object in four steps, with the collector off. (Python keeps up to 2000 freed tuples of each length: the first steps fill that.)"""
    rng = np.random.default_rng(0)
    cell = mg.RNNCell(2, 3, rng=rng)
    optimizer = mg.train.SGD(cell.parameters(), 1e-3)
    xs, targets = rng.standard_normal((1, 1, 2)), rng.standard_normal((1, 3))
    gc.collect()
    gc.disable()
    try:
        first = train(2_500, cell, optimizer, xs, targets)
        before = sys.getallocatedblocks()
        last = train(9_000, cell, optimizer, xs, targets)
        tracemalloc.start()
        train(10, cell, optimizer, xs, targets)
        traced = tracemalloc.get_traced_memory()[0]
        train(990, cell, optimizer, xs, targets)
        more = tracemalloc.get_traced_memory()[0] - traced
        tracemalloc.stop()
        blocks = sys.getallocatedblocks() - before
    finally:
        tracemalloc.stop()
        gc.enable()
    assert blocks < 2_500 and more < 10_000, (blocks, more)
    assert last < first


@pytest.mark.parametrize("keep", ["backward", "grad", "second", "checkpoint", "scan", "error"])
def test_a_graph_is_freed_without_the_collector(keep):
    """No cycles: what a step has made is gone when its names are."""
    cell = mg.RNNCell(2, 3, rng=np.random.default_rng(0))
    xs = np.ones((3, 1, 2))
    parameters = list(cell.parameters().values())

    def step():
        ys, _ = (mg.scan if keep == "scan" else mg.unroll)(cell, xs, **({"checkpoint_every": 2} if keep == "checkpoint" else {}))
        loss = (ys * ys).sum()
        seen = [weakref.ref(t) for t in (ys, loss)]
        if keep == "grad":
            mg.grad(loss, parameters)
        elif keep == "second":
            mg.grad(sum((g * g).sum() for g in mg.grad(loss, parameters, create_graph=True)), parameters)
        elif keep == "error":
            try:
                loss @ ys
            except ValueError:
                pass
        else:
            loss.backward()
        return seen
    step()
    gc.collect()
    gc.disable()
    try:
        assert all(ref() is None for ref in step())
    finally:
        gc.enable()
