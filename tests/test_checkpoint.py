"""checkpoint: the same values and gradients, computed again instead of stored."""
import functools
import threading
from typing import NamedTuple

import numpy as np
import pytest

import minigrad as mg
from minigrad.checkpoint import check_value
from minigrad.nested import flatten

rng = np.random.default_rng(13)
GLOBAL_W = mg.parameter([0.5, -0.5])
GLOBAL_RNG = np.random.default_rng(0)


class Noisy(mg.Module):
    """A cell with a parameter and a generator of its own: its noise must be the same when it is run again."""
    def __init__(self):
        self.W, self.rng = mg.parameter([1.0, 2.0]), np.random.default_rng(3)

    def __call__(self, x):
        return x * self.W * self.rng.standard_normal(2)


GLOBAL_NOISY = Noisy()


def gradients(f, *leaves):
    y = f(*leaves)
    return [y.data, *(g.data for g in mg.grad((y * y).sum(), leaves))]


def assert_same(f, *leaves, through=()):
    """f and checkpoint(f) agree in value and gradients, those of what f captures included."""
    leaves = leaves + tuple(through)
    n = len(leaves) - len(through)
    plain, again = (gradients(lambda *a: g(*a[:n]), *leaves) for g in (f, mg.checkpoint(f)))
    for a, b in zip(plain, again):
        assert np.allclose(a, b, rtol=1e-14, atol=0)


def test_values_and_gradients_are_the_same_and_only_inputs_are_stored():
    x, y = mg.parameter([1.0, 2.0]), mg.parameter([3.0, 4.0])
    assert_same(lambda a, b: np.tanh(a) * b + a, x, y)
    out = mg.checkpoint(lambda a: np.tanh(np.tanh(a)))(x)
    assert out.op.name == "checkpoint" and out.inputs == (x,)
    assert_same(lambda a, b: a * b, x, x)                  # the same tensor twice
    assert_same(lambda a, scale: a * scale, x, mg.parameter(2.0))
    assert mg.grad(mg.checkpoint(lambda a, scale, none: a * scale)(x, 3.0, None).sum(), x)[0].data.tolist() == [3, 3]


def test_captured_parameters_count_as_inputs():
    x, W = mg.parameter([1.0, 2.0]), mg.parameter([3.0, 4.0])
    noisy = Noisy()
    assert_same(lambda a: a * W, x, through=[W])
    assert_same(lambda a: a * GLOBAL_W, x, through=[GLOBAL_W])
    cell = mg.RNNCell(2, 2)
    assert_same(lambda a: cell(a, a)[0], x, through=cell.parameters().values())
    y = mg.checkpoint(noisy)(mg.Tensor([1.0, 1.0]))         # only the captured one requires gradients
    y.sum().backward()
    assert noisy.W.grad is not None and mg.checkpoint(noisy).__name__ == "Noisy"


def test_captured_intermediates_are_not_counted_twice():
    W, x = mg.parameter(2.0), mg.parameter(3.0)
    a = W * W
    mg.checkpoint(lambda x: x * a * W)(x).backward()       # x W³
    assert W.grad == 36 and x.grad == 8


def test_a_captured_tensor_that_is_returned_as_it_is_gets_its_gradient():
    W, x = mg.parameter(2.0), mg.parameter(3.0)
    a, b = mg.checkpoint(lambda x: (x * 2, W))(x)
    (a * b).backward()
    assert W.grad == 6 and x.grad == 4


class Pair(NamedTuple):
    h: mg.Tensor
    c: mg.Tensor


def test_nested_inputs_and_outputs():
    def f(state, x):
        c = np.tanh(state["pair"].c * x)
        return Pair(c.sum(), {"c": c, "both": [c * x, x.reshape(1, 2)]})
    h, c, x = (mg.parameter(rng.standard_normal(2)) for _ in range(3))

    def total(g):
        out = g({"pair": Pair(h, c)}, x)
        assert type(out) is Pair and list(out.c) == ["c",
                                                     "both"] and out.h.shape == () and out.c["both"][1].shape == (1, 2)
        y = out.h * out.c["c"].sum() + (out.c["both"][0] * out.c["both"][1]).sum()
        return [g.data for g in mg.grad(y, (h, c, x))]
    assert all(np.allclose(a, b, rtol=1e-14) for a, b in zip(total(f), total(mg.checkpoint(f))))
    with pytest.raises(TypeError, match="checkpoint: the function returned a float; expected Tensors, also nested"):
        mg.checkpoint(lambda x: (x, 1.0))(x)


def test_an_output_that_is_constant():
    x = mg.parameter(3.0)
    y, k = mg.checkpoint(lambda x: (x * x, mg.Tensor(2.0)))(x)
    (y * k).backward()
    assert x.grad == 12


def test_constants_in_constants_out():
    y = mg.checkpoint(lambda x: x * 2)(mg.Tensor(1.0))
    assert y.item() == 2 and not y.requires_grad


def global_generator(x):
    return x * GLOBAL_RNG.standard_normal(2)


def default_generator(x, rng=GLOBAL_RNG):
    return x * rng.standard_normal(2)


class Bound:
    def __init__(self):
        self.holders = [{"rng": np.random.default_rng(9)}]

    def call(self, x):
        return x * self.holders[0]["rng"].standard_normal(2)


def closure():
    mine = np.random.default_rng(1)

    def f(x):
        return x * mine.standard_normal(2) if mine else never_filled
    return f
    never_filled = 1


class Source:
    """No Module, of this file."""
    def __init__(self):
        self.rng = np.random.default_rng(10)

    def draw(self):
        return self.rng.standard_normal(2)


class Elsewhere(mg.Module):
    """A Module whose method uses a global generator."""
    def __call__(self, x):
        return self.noisy(x)

    def noisy(self, x):
        return x * GLOBAL_RNG.standard_normal(2)


SOURCE = Source()

HOLDERS = {
    "global, in a comprehension": lambda x: x * np.array([GLOBAL_RNG.standard_normal() for _ in range(2)]),
    "global, in a lambda": lambda x: (lambda y: y * GLOBAL_RNG.standard_normal(2))(x),
    "global, in a function that is called": lambda x: global_generator(x) + 0 * x,
    "global object": lambda x: x * SOURCE.draw(), "global, in a method": Elsewhere(),
    "keyword": lambda x, *, rng=np.random.default_rng(5): x * rng.standard_normal(2),
    "closure": closure(), "global": global_generator, "default": default_generator,
    "method": Bound().call, "module": Noisy(),
    "partial keyword": functools.partial(default_generator, rng=np.random.default_rng(4)),
    "partial": functools.partial(lambda rng, x: x * rng.standard_normal(2), np.random.default_rng(4)),
    "global module": lambda x: GLOBAL_NOISY(x) / GLOBAL_NOISY.W.data,
}


@pytest.mark.parametrize("name", HOLDERS)
def test_generators_are_put_back_and_go_on_where_they_were(name):
    """Every f is x times noise: its slope at 1 is its value, if the noise of the second run is that of the first."""
    x, g = mg.parameter([1.0, 1.0]), mg.checkpoint(HOLDERS[name])
    first, second = g(x), g(x)
    slopes = [mg.grad(y.sum(), x)[0].data for y in (second, first)]
    third = g(x)
    assert np.array_equal(slopes[0], second.data) and np.array_equal(slopes[1], first.data)
    assert len({y.data[0] for y in (first, second, third)}) == 3


def test_inside_unroll_a_checkpointed_cell_is_a_cell():
    cell, xs = mg.LSTMCell(2, 3, rng=rng), mg.parameter(rng.standard_normal((4, 2, 2)))
    leaves = [xs, *cell.parameters().values()]
    found = []
    for c in (cell, mg.checkpoint(cell)):
        ys, (h, c) = mg.unroll(c, xs, lengths=[4, 2], reverse=True)
        found.append(mg.grad((ys * ys).sum() + (h * c).sum(), leaves))
    for a, b in zip(*found):
        assert np.allclose(a.data, b.data, rtol=1e-13, atol=1e-16)
    assert {t.place.step for t in ys.inputs[0].inputs if getattr(t, "place", None)} <= {1}


def test_parameters_made_when_it_first_runs():
    class Lazy(mg.Module):
        W = None

        def __call__(self, x):
            if self.W is None:
                self.W = mg.parameter(3.0)
            return self.W * x
    f = Lazy()
    mg.checkpoint(f)(mg.parameter(2.0)).backward()
    assert f.W.grad == 2


def test_a_parameter_changed_in_between_is_named():
    W, x = mg.parameter(2.0, name="W"), mg.parameter(3.0)
    y = mg.checkpoint(lambda x: x * W)(x)
    W.data = 5.0
    with pytest.raises(RuntimeError, match="parameter 'W' was changed after checkpoint had used it"):
        y.backward()


def test_second_order():
    x, W = mg.parameter([0.3, 0.4]), mg.parameter([1.0, 2.0])
    found = []
    for wrap in (lambda f: f, mg.checkpoint):
        y = (wrap(lambda a, b: np.tanh(a * b) * W)(x, x * x)).sum()      # b depends on a: counted once
        g = mg.grad(y, (x, W), create_graph=True)
        found.append([t.data for t in (*g, *mg.grad((g[0] * g[0]).sum() + g[1].sum(), (x, W)))])
    assert all(np.allclose(a, b, rtol=1e-13) for a, b in zip(*found))


def test_second_order_of_the_same_tensor_twice():
    x = mg.parameter(2.0)
    g, = mg.grad(mg.checkpoint(lambda a, b: a * a * b)(x, x), x, create_graph=True)
    assert g.item() == 12 and mg.grad(g, x)[0].item() == 12


@pytest.mark.parametrize("create_graph", [False, True])
def test_jacobian(create_graph):
    x, unused = mg.parameter([1.0, 2.0]), mg.parameter([1.0, 1.0])
    single = mg.checkpoint(lambda x, u: x * x)(x, unused)
    a, b = mg.checkpoint(lambda x: (x * x, x.sum() * 3.0))(x)
    for y, want in ((single, np.diag([2, 4])), (a, np.diag([2, 4])), (b, [3, 3])):
        assert np.array_equal(mg.jacobian(y, x, create_graph=create_graph).data, want)
    assert not mg.jacobian(single, unused, create_graph=create_graph).data.any()


def test_some_inputs_only():
    """Two checkpoints that get the very same cotangent do not take each other's gradients."""
    constant = mg.Tensor(1.0)
    a, b, c, d = (mg.parameter(v) for v in (2.0, 3.0, 4.0, 5.0))
    f = mg.checkpoint(lambda k, p, q: k * p * q)
    assert [g.item() for g in mg.grad(f(constant, a, b) + f(constant, c, d), [a, c])] == [3, 5]


def test_scalar_cotangents_of_numpys_kind():
    x = mg.parameter(3.0)
    (-(2.0 * mg.checkpoint(lambda a: a * a)(x))).backward()
    assert x.grad == -12


def test_nested_checkpoints():
    x, W = mg.parameter([0.3, 0.4]), mg.parameter([1.0, 2.0])
    inner = mg.checkpoint(lambda a: np.tanh(a * W))
    assert_same(lambda a: inner(inner(a)) * W, x, through=[W])


def test_no_grad_and_debug():
    x = mg.parameter([1.0, 2.0])
    f = mg.checkpoint(lambda a: a * a)
    with mg.no_grad():
        assert not f(x).requires_grad
    y = f(x)
    with mg.no_grad():                       # where nothing is recorded it is run again all the same
        assert mg.grad(y, x, cotangent=[1.0, 1.0])[0].data.tolist() == [2, 4]
    with mg.debug(), pytest.raises(FloatingPointError, match="log made"), np.errstate(all="ignore"):
        mg.checkpoint(np.log)(x - 1.0)


def test_several_threads():
    def work(k, found):
        x = mg.parameter(float(k))
        y = x
        for _ in range(50):
            y = mg.checkpoint(lambda a, b: a + b)(y, x)
        y.backward()
        found[k] = float(x.grad)
    found = {}
    threads = [threading.Thread(target=work, args=(k, found)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == dict.fromkeys(range(4), 51.0)


def test_rounding_is_no_other_value():
    """What a scan's program computed, the unroll computes in another order: near zero that is much, beside the largest it is nothing."""
    before, now = np.float32([0.6589745, -0.00030803768]), np.float32([0.6589745, -0.0003079986])
    check_value(before, now)
    for a, b in ((before.astype(float), now.astype(float)), (before, before * np.float32(1.001)), (before, before[:1]),
                 (before, np.float32([np.nan, -0.0003])), (np.float32([np.inf, 1]), np.float32([np.inf, 1.01]))):
        with pytest.raises(RuntimeError, match="gave other values"):
            check_value(a, b)


def test_a_state_of_several_dtypes_stays_what_it_is():
    """A clockwork RNN counts its steps in small integers: packed beside floats they became floats, and the next step refused them."""
    cell, xs = mg.ClockworkRNNCell(2, 4, rng=np.random.default_rng(0)), np.random.default_rng(1).normal(size=(5, 3, 2))
    (ys, state), (expected, last) = mg.unroll(mg.checkpoint(cell), xs), mg.unroll(cell, xs)
    assert [s.dtype for s in flatten(state)] == [s.dtype for s in flatten(last)] and np.array_equal(ys.data, expected.data)
    parameters = list(cell.parameters().values())
    for g, want in zip(mg.grad((ys * ys).sum(), parameters), mg.grad((expected * expected).sum(), parameters)):
        assert np.allclose(g.data, want.data, rtol=1e-12)
