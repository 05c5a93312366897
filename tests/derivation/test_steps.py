"""derive of steps of many forms: what they take, what they keep, what they leave out. The program computes the engine's gradients."""
import inspect
from typing import Any, NamedTuple

import numpy as np
import pytest

import minigrad as mg
from minigrad.derivation.derive import derive
from minigrad.nested import flatten, rebuild
from tests.derivation.test_derive import columns, program

D, H, T, B = 3, 4, 3, 2
rng = np.random.default_rng(8)
W, U, V = (mg.parameter(rng.standard_normal(shape), name=name) for name, shape in (("W", (D, H)), ("U", (H, H)), ("V", (D, H))))
dW, wide = mg.parameter(rng.standard_normal((D, H)), name="dW"), mg.parameter(rng.standard_normal((D, 2 * H)), name="wide")
unnamed = [mg.parameter(rng.standard_normal(shape)) for shape in ((D, H), (H,))]


def error(cell, x, state, convention=None, batched=True, head=None, target=None):
    """The largest error of a gradient; derive sees one row, the program gets a batch, or one sequence."""
    derivation = derive(cell, x, state, convention=convention, head=head, target=target)
    rows = (B,) if batched else ()
    turned = columns if "vectors" in derivation.title and convention == "column" else np.asarray
    xs = rng.standard_normal((T, *rows, *x.shape)) if x.dtype.kind == "f" else rng.integers(5, size=(T, *rows, *x.shape))
    xs = mg.Tensor(xs, requires_grad=x.dtype.kind == "f")
    parts = [mg.parameter(rng.standard_normal((*rows, *np.shape(s)))) for s in flatten(state)]
    ys, last = mg.unroll(cell, xs, rebuild(state, parts))
    bptt = program(derivation)
    names = list(inspect.signature(bptt).parameters)
    ends = {name: rng.standard_normal(s.shape) for name, s in zip([n for n in names if n.endswith("_T")], flatten(last))}
    loss = sum(((s * end).sum() for s, end in zip(flatten(last), ends.values())), 0.)
    arguments = {**derivation.arguments, **{name: turned(end) for name, end in ends.items()}}
    if head is None:
        dys = rng.standard_normal(ys.shape)
        loss, arguments["dys"] = loss + (ys * dys).sum(), turned(dys)
    else:
        targets = rng.uniform(size=(T, *rows, *np.shape(target)))
        loss, arguments["ys"] = loss + sum(head(ys[t], mg.Tensor(targets[t])) for t in range(T)), turned(targets)
    found = bptt(turned(xs.data), *(turned(p.data) for p in parts), **arguments)
    wanted = {**({"xs": xs} if "xs" in found else {}), **dict(zip(names[1:], parts)), **derivation.parameters}
    assert set(found) - {"L"} == set(wanted)
    return max(np.abs(found[name] - turned(g.data)).max() for name, g in zip(wanted, mg.grad(loss, list(wanted.values()))))


class Pair(NamedTuple):
    fast: Any
    slow: Any


def of_the_state_alone(x, h):
    h = np.tanh(h @ U)
    return h, h


def without_memory(x, h):
    h = np.tanh(x @ W)
    return h, h


def without_state(x, s):
    y = np.tanh(x @ W)
    return y, s


class OfItsWidth:
    """Lengths are told in multiples of hidden_size, of a cell without a state too."""
    hidden_size = H

    def __call__(self, x, s):
        a = x @ wide
        return np.tanh(a[..., :H]) * a[..., H:], s


def crossed(x, s):
    a, b = s
    a, b = np.tanh(x @ W + b), np.tanh(a @ U)
    return a, (a, b)


def delayed(x, s):
    """What one part is, the other was."""
    a, b = s
    c = np.tanh(x @ W + b @ U)
    return c * a, (b, c)


def pair(x, s):
    slow = 0.9 * s.slow + 0.1 * s.fast
    fast = np.tanh(x @ W + slow @ U)
    return fast, Pair(fast, slow)


def listed(x, s):
    first = np.tanh(x @ W + s[0] @ U)
    return first, [first, s[1] * first]


def without_names(x, h):
    h = np.tanh(x @ unnamed[0] + h * unnamed[1])
    return h, h


def stretched(x, h):
    """A gate of one number for the whole state."""
    gate = mg.sigmoid((x @ W * h).sum(-1, keepdims=True))
    h = np.tanh(h * gate + x @ V)
    return h, h


def negative(x, h):
    h = -h @ U - 0.5 * h + x @ W
    return h, h


def keeps(x, h):
    return x, h


def unused(x, h):
    h = np.tanh(x @ W + h @ U + 0 * V[0])
    return h, h


def taken_names(x, s):
    """The parts of the state have the names of other values."""
    h, p = s
    h = np.tanh(x @ W + h @ U + p)
    return h, (h, h)


def mixed_rows(x, h):
    """The rows of a batch become one vector, and rows again."""
    h = np.tanh(x @ W + h @ U)
    h = (h.reshape(-1) * 2).reshape(h.shape)
    return h, h


def one_vector(x, h):
    """Written for one sequence: products of vectors and matrices."""
    h = np.tanh(x @ W + np.einsum("i,ij->j", h, U)) + (U @ h) @ U * 0.1
    return h, h


def written_only(x, s):
    """A part of the state that is never read."""
    h = np.tanh(x @ W + s[0] @ U)
    return h, (h, 2 * h)


def with_nothing(x, s):
    h = np.tanh(x @ W + s[0] @ U)
    return h, (h, None)


def outer(x, S):
    """A state that is a matrix, written to by products of vectors."""
    k, v = x @ W, np.tanh(x @ V)
    S = 0.9 * S + k[..., :, None] * v[..., None, :]
    return (S * k[..., :, None]).sum(-2), S


def chosen(x, h):
    """A parameter that only chooses has no gradient, and another one has the name that its gradient would have."""
    h = np.where(W[0], np.tanh(x @ dW), h)
    return h, h


X, S0 = np.zeros(D), np.zeros(H)
STEPS = [(of_the_state_alone, S0), (without_memory, S0), (without_state, ()), (OfItsWidth(), ()), (crossed, (S0, S0)), (delayed, (S0, S0)), (pair, Pair(S0, S0)),
         (listed, [S0, S0]), (without_names, S0), (stretched, S0), (negative, S0), (keeps, S0), (unused, S0), (taken_names, (S0, S0)),
         (written_only, (S0, S0)), (with_nothing, (S0, None)), (outer, np.zeros((H, H))), (chosen, S0)]


@pytest.mark.parametrize("convention", ["row", "column"])
@pytest.mark.parametrize("cell, state", STEPS, ids=lambda v: getattr(v, "__name__", ""))
def test_the_program_computes_the_engines_gradients(cell, state, convention):
    assert error(cell, X, state, convention) <= 1e-12


def test_numbers_instead_of_vectors():
    def cell(x, h):
        h = np.tanh(0.3 * x + U[0, 0] * h)
        return h, h
    assert error(cell, np.array(0.), np.array(0.)) <= 1e-12


@pytest.mark.parametrize("cell", [mixed_rows, one_vector])
def test_a_step_that_takes_no_batch_is_derived_for_one_sequence(cell):
    assert error(cell, X, S0, batched=False) <= 1e-12


@pytest.mark.parametrize("convention", ["row", "column"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("loss", [mg.softmax_cross_entropy, mg.binary_cross_entropy, mg.squared_error])
def test_every_loss_as_a_head(loss, reduction, convention):
    def head(y, target):
        losses = loss(y, target, reduction=reduction)
        return (losses * 0.5).sum() if reduction == "none" else losses
    assert error(without_names, X, S0, convention, head=head, target=np.full(H, 0.25)) <= 1e-12


def token(x, s):
    """A word by its number, and the number before it; what is given out has no gradient."""
    h = np.tanh(s["h"] @ U + s["before"][..., None] * V[1])
    number = x * 1.
    return number, {"h": h, "before": number}


def forgets(x, s):
    """One part of the state is the same number after every step, one the same vector."""
    h = np.tanh(x @ W + s[0] @ U * s[1] + s[2])
    return h, (h, mg.Tensor(0.5), U[0])


@pytest.mark.parametrize("cell, x, state, batched", [
    (token, np.array(2), {"h": S0, "before": np.array(1.)}, True), (forgets, X, (S0, np.array(1.), S0), False)])
def test_what_has_no_gradient_gets_none(cell, x, state, batched):
    assert error(cell, x, state, batched=batched) <= 1e-12


def test_without_a_state_the_program_names_none():
    derivation = derive(without_state, X, ())
    assert "    xs (T, B, D): the inputs of T steps.\n    dys: the gradients that arrive at the T outputs.\n    Returns" in derivation.numpy


def test_a_parameter_that_the_loss_does_not_depend_on_gets_zeros():
    """A penalty is no function of the output: a loss of every step all the same."""
    def cell(x, h):
        h = np.tanh(x @ W + h @ U)
        return h @ U + x @ V, h

    def head(y, target):
        return (U * U).sum()
    assert error(cell, X, S0, head=head, target=np.array(0.)) <= 1e-12
