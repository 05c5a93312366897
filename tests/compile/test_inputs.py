"""What scan is given: sequences, states and cells of any form. The numbers are the unroll's, and so is the error."""
import functools
import types
import warnings

import numpy as np
import pytest

import minigrad as mg
from minigrad.compile import NotCompiled, scan
from minigrad.graph import Graph, replay
from minigrad.nested import flatten

rng = np.random.default_rng(4)
W, U = (mg.parameter(rng.standard_normal(shape), name=name) for name, shape in (("W", (3, 4)), ("U", (4, 4))))
xs, h_0 = rng.standard_normal((6, 2, 3)), mg.parameter(0.5 * rng.standard_normal((2, 4)))


def step(x, h):
    h = np.tanh(x @ W + h @ U)
    return h, h


def outcome(how, cell, *arguments, **options):
    """Outputs, states and gradients; or the error."""
    try:
        found = flatten(list(how(cell, *arguments, **options)))
        loss = sum((t * t).sum() for t in found if t.dtype.kind == "f")
        return [t.data for t in found] + [g.data for g in mg.grad(loss, [W, U, h_0])]
    except Exception as error:
        return type(error), str(error)


def same(cell, *arguments, **options):
    ours, theirs = (outcome(how, cell, *arguments, **options) for how in (scan, mg.unroll))
    if isinstance(theirs, tuple):
        assert ours == theirs
        return theirs[1]
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
    return None


@pytest.mark.parametrize("given", [list(xs), tuple(xs), [mg.Tensor(x) for x in xs], np.empty((0, 2, 3)), xs.astype(complex), np.array(3.0), [], "abc", None,
                                   xs.astype(object)], ids=lambda v: type(v).__name__)
def test_sequences_of_any_form(given):
    for _ in range(2):              # a program that is known does not change it
        same(step, given, h_0)


@pytest.mark.parametrize("given", [(xs, xs[:4]), (), {}, {"a": xs, "b": [1, 2]}], ids=str)
def test_several_sequences_that_do_not_go_together(given):
    assert same(lambda x, h: step(flatten(x)[0], h), given, h_0)


def test_without_a_state_to_begin_with():
    assert "initial_state" in same(step, xs)


@pytest.mark.filterwarnings("ignore::minigrad.compile.NotCompiled")
@pytest.mark.parametrize("y", [lambda h: h.sum(), lambda h: h[:1], lambda h: h.T])
def test_lengths_need_rows_of_the_batch(y):
    same(lambda x, h: (y(step(x, h)[0]), step(x, h)[1]), xs, h_0, lengths=np.array([6, 3]))


def test_classes_that_there_are_not_are_found_in_the_step():
    """Which classes there are is seen in the numbers: a program that was made for others says what the unroll says."""
    def classes(x, h):
        h = np.tanh(h @ U)
        return mg.softmax_cross_entropy(h, x, reduction="none"), h
    good, bad = np.array([[0, 1], [2, 3], [3, 0]]), np.array([[0, 1], [2, 9], [3, 0]])
    assert same(classes, good, h_0) is None
    assert "got target 9 at (1,) for logits of shape (2, 4)" in same(classes, bad, h_0) and same(classes, good, h_0) is None


@pytest.mark.parametrize("reverse", [False, True])
def test_all_states_in_the_order_of_the_unroll(reverse):
    found = scan(step, xs, h_0, states=True, reverse=reverse)
    wanted = mg.unroll(step, xs, h_0, states=True, reverse=reverse)
    for a, b in zip(found[2], wanted[2], strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-13)


class Doubler:
    factor = 2.0

    def __init__(self):
        self.rate = 0.5

    @property
    def half(self):
        return self.rate

    @functools.cached_property
    def third(self):
        return self.rate / 1.5

    def twice(self, x):
        return x * self.factor

    def scaled(self, x, by):
        return x * by


def through_a_method(d):
    twice = d.twice
    return lambda x, h: (step(twice(x), h)[0], step(x, h)[1])


def through_a_part(d):
    scaled = functools.partial(d.scaled, by=3.0)
    return lambda x, h: step(scaled(x), h)


def through_a_property(d):
    return lambda x, h: step(x * d.half, h)


def through_a_property_that_is_kept(d):
    assert d.third                                      # to make it is a change, which a step must not make
    return lambda x, h: step(x * d.third, h)


def through_a_module(d):
    module = types.ModuleType("helpers")
    module.rate = 0.5
    d.module = module
    return lambda x, h: step(x * module.rate, h)


@pytest.mark.parametrize("make", [through_a_method, through_a_part, through_a_property, through_a_property_that_is_kept, through_a_module])
def test_what_a_cell_reaches_may_change(make):
    """Between two calls something that the step reads is another number: the program is another, too."""
    d = Doubler()
    cell = make(d)
    with warnings.catch_warnings():
        warnings.simplefilter("error", NotCompiled)
        assert same(cell, xs, h_0) is None
        d.factor, d.rate = 3.0, 0.25
        if hasattr(d, "module"):
            d.module.rate = 0.125
        assert same(cell, xs, h_0) is None


def test_replaying_a_graph_with_other_parameters_computes_the_scan_again():
    ys, _ = scan(step, xs, h_0)
    loss = (ys * ys).sum()
    graph = Graph.of(loss)
    place = next(n.id for n in graph.nodes if n.tensor is U)
    again = replay(graph, {place: U.data * 0.5})
    before = U.data
    try:
        U.data = before * 0.5
        want = (mg.unroll(step, xs, h_0)[0] ** 2).sum().item()
    finally:
        U.data = before
    np.testing.assert_allclose(again[graph.outputs[0]], want, rtol=1e-12)
