"""derive of an op of one's own: its rule, any NumPy, is written down as it computes, for any batch, or said to have no written form."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.derivation.algebra import build
from minigrad.derivation.derive import derive
from minigrad.derivation.expression import Gradient, Reference, Static, number
from minigrad.ops import FUNCTIONS, TABLE, op
from tests.derivation.test_every_op import Of, error

C = np.array([1., 2, 3, 4, 5, 6])
WRITTEN = {
    "an array": lambda g, y, x: g * C * x, "equal numbers": lambda g, y, x: g * (np.full(6, 2.5) + x), "ones": lambda g, y, x: g * np.ones(x.shape) * x,
    "zeros": lambda g, y, x: g * (x + np.zeros(x.shape)), "unit matrix": lambda g, y, x: g @ np.eye(6) * x, "0, 1, …": lambda g, y, x: g * np.arange(6) * x,
    "a mask": lambda g, y, x: g * np.where(np.eye(6, dtype=bool), 2, x[..., None, :])[..., 0], "like": lambda g, y, x: g * (x * np.ones_like(x) + np.zeros_like(x)),
    "a full array": lambda g, y, x: g * (x + np.full_like(x, 2.)), "one number": lambda g, y, x: np.sum(g * x) * np.ones(x.shape),
    "infinity": lambda g, y, x: g * np.minimum(x, np.inf), "no axes swapped": lambda g, y, x: np.transpose(np.swapaxes(g, -1, -1), (0, 1)) * x,
    "transposed": lambda g, y, x: (g.T * np.swapaxes(x, 0, 1)).T, "mT": lambda g, y, x: (g.mT * x.mT).mT,
    "three axes": lambda g, y, x: np.transpose(np.transpose(g[..., None] * x[..., None, :], (1, 0, 2)) + 1, (1, 0, 2)).sum(-1),
    "moved axes": lambda g, y, x: np.moveaxis(np.moveaxis(g, 0, -1) * 2, -1, 0) * x, "rolled": lambda g, y, x: np.roll(g, 1, axis=-1) * x,
    "stacked": lambda g, y, x: g * np.stack([x[..., 0]] * 6, axis=-1), "joined": lambda g, y, x: np.concatenate([g[..., :3] * 2, g[..., 3:]], axis=-1) * x,
    "flipped": lambda g, y, x: np.flip(np.flip(g, -1) * 2, -1) * np.cumsum(x, -1), "squeezed": lambda g, y, x: np.squeeze(np.expand_dims(g, -1), -1) * x,
    "scattered": lambda g, y, x: mg.scatter_add(g, (Ellipsis, np.array([1, 0, 2, 3, 5, 4])), (*x.shape[:-1], 6)) * x, "first row": lambda g, y, x: g * x[0],
    "last column": lambda g, y, x: g * x[:, -1:], "einsum": lambda g, y, x: np.einsum("...i,...i->...i", g, x), "solved": lambda g, y, x: np.linalg.solve(np.diag(C), g.T).T * x,
    "dot": lambda g, y, x: np.dot(g * x, np.diag(C)), "mean over the batch": lambda g, y, x: g * np.mean(x, axis=0), "sum of the batch": lambda g, y, x: g * x.sum(0),
    "variance over the batch": lambda g, y, x: g * np.var(x, axis=0, keepdims=True), "its length": lambda g, y, x: g * x / x.shape[0],
    "length minus one": lambda g, y, x: g * x / (x.shape[0] + 1) * (1 - x.shape[0]), "half its length": lambda g, y, x: g * x * (0.5 * x.shape[0]),
    "two by its length": lambda g, y, x: g * x * (2 / np.shape(x)[0]), "root of its length": lambda g, y, x: g * x / x.shape[0] ** .5,
    "lengths": lambda g, y, x: g * x / (x.shape[0] * x.shape[1]) * (x.shape[0] * 3 > 1), "size": lambda g, y, x: g * x / x.size, "np.size": lambda g, y, x: g * x / np.size(x),
    "an array by its length": lambda g, y, x: g * x * (C / x.shape[0]), "dimensions": lambda g, y, x: g * x * np.ndim(x) * x.ndim,
    "sign": lambda g, y, x: -g * abs(x), "a number first": lambda g, y, x: g * (1 - x) * 2. ** x / (2 / (x + 9)) + 1, "compared": lambda g, y, x: g * (x > 0).astype(float) * (x != 1),
    "both": lambda g, y, x: g * np.logical_and(x >= 0, x <= 1), "chosen": lambda g, y, x: np.where(x < 0.2, g, 0.5 * g) * (x == x), "real": lambda g, y, x: g * np.real(x.real),
    "no complex numbers": lambda g, y, x: g if np.iscomplexobj(x) else g * x, "sorted": lambda g, y, x: g * np.sort(x, axis=-1), "length of a vector": lambda g, y, x: g * np.linalg.norm(x, axis=-1, keepdims=True),
    "clipped": lambda g, y, x: g * np.clip(x, -1, 1), "cells": lambda g, y, x: g.reshape(len(C) // 6, *x.shape)[0] * x, "standard deviation": lambda g, y, x: g * np.std(x, axis=-1, keepdims=True),
}
UNWRITTEN = {
    "a choice": lambda g, y, x: g * 2 if (x > 0).sum() else g * 3, "a number": lambda g, y, x: g * float(x.sum()), "an array": lambda g, y, x: g * np.asarray(x),
    "what is above 0": lambda g, y, x: g * x[x > 0].sum(), "a list": lambda g, y, x: np.take(g, [1, 0, 2, 3, 5, 4], axis=-1) * x, "len": lambda g, y, x: g * x / len(x),
    "rows one by one": lambda g, y, x: g * sum(r for r in x), "reduce": lambda g, y, x: g * np.add.reduce(x, axis=-1, keepdims=True), "out": lambda g, y, x: np.multiply(g, x, where=True),
    "a flat batch": lambda g, y, x: (g.reshape(-1) * x.reshape(-1)).reshape(x.shape), "pieces": lambda g, y, x: np.concatenate(np.split(g, 2, axis=-1)[::-1], axis=-1) * x,
    "the batch's last": lambda g, y, x: g * x[:x.shape[0]], "nothing": lambda g, y, x: None, "another shape": lambda g, y, x: g[..., :3] * 1,
}


@pytest.fixture
def odd():
    """odd(rule): a cell with an op that has this rule; the table is as it was afterwards."""
    before = dict(TABLE), dict(FUNCTIONS)
    yield lambda rule: Of(op(lambda x: np.array(x), rule, name="odd", reads="odd({0})"))
    for registry, entries in zip((TABLE, FUNCTIONS), before):
        registry.clear()
        registry.update(entries)


@pytest.mark.parametrize("convention", ["row", "column"])
@pytest.mark.parametrize("name", WRITTEN)
def test_a_rule_that_is_written_down_computes_the_same(name, convention, odd):
    cell = odd(WRITTEN[name])
    derivation = derive(cell, np.zeros(6), convention=convention)
    assert not [note for note in derivation.notes if "no written form" in note]
    derivation.numpy = derivation.numpy.replace("raise NotImplementedError('the value of odd')", "return arguments[0]")
    assert error(cell, convention, derivation) <= 1e-10
    assert derivation.latex.isascii()


@pytest.mark.parametrize("name", UNWRITTEN)
def test_a_rule_that_cannot_be_written_down_is_said_to_be_so(name, odd):
    """Nothing of the sample, its batch of so many rows least of all, gets into the formula."""
    derivation = derive(odd(UNWRITTEN[name]), np.zeros(6))
    assert "the gradient of odd has no written form, ∂odd(…)/∂… stands for it" in derivation.notes[0]
    assert "∂odd(x_t)/∂x_t" in derivation.text


def test_a_gradient_given_by_hand_is_an_op_of_its_own():
    @mg.custom_gradient
    def cube(x):
        return x ** 3, lambda g: g * 3 * x ** 2
    cell = Of(cube)
    derivation = derive(cell, np.zeros(6))
    assert "∂cube(x_t)/∂x_t" in derivation.text
    source = derivation.numpy.replace("raise NotImplementedError('the value of cube')", "return arguments[0] ** 3")
    derivation.numpy = source.replace("raise NotImplementedError('gradient of argument 1 of cube')", "return g * 3 * arguments[0] ** 2")
    assert error(cell, "row", derivation) <= 1e-10


def test_an_expression_is_shown_with_all_that_is_in_it():
    a, g = Reference("value", "a", (4,)).e, Gradient("gradient", Reference("value", "g", (4,))).at(1)
    first = build("index", (a,), Static((Ellipsis, slice(0, 2))), (2,))
    assert repr(build("mul", (first, number(2)), None, (2,))) == "mul(number(; 2), index(ref(; (<value a>, 0)); (Ellipsis, slice(0, 2, None))))"
    assert repr(g) == "ref(; (<gradient g>, 1))"
