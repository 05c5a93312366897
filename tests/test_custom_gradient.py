"""custom_gradient: a rule derived by hand is the gradient, is held against the function, and can be differentiated again."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.check.bptt import bptt
from minigrad.compile import NotCompiled
from minigrad.custom import custom_gradient
from minigrad.graph import Graph, replay

rng = np.random.default_rng(0)
B, D, H = 3, 5, 4
X, S, W_X, W_H, BIAS = (rng.standard_normal(s) for s in ((B, D), (B, H), (D, H), (H, H), (H,)))


def elman(x, h, W_x, W_h, b):
    """h_t = tanh(x W_x + h W_h + b) with the rule of the notes."""
    new = np.tanh(x @ W_x + h @ W_h + b)

    def rule(g):
        da = g * (1 - new ** 2)
        return da @ W_x.T, da @ W_h.T, x.T @ da, h.T @ da, da.sum(axis=0)
    return new, rule


def lstm(x, h, c, W_x, W_h, b):
    """One step of an LSTM, gates i f g o, with both outputs."""
    i, f, g, o = np.split(x @ W_x + h @ W_h + b, 4, axis=-1)
    i, f, g, o = mg.sigmoid(i), mg.sigmoid(f), np.tanh(g), mg.sigmoid(o)
    new = f * c + i * g
    t = np.tanh(new)

    def rule(d):
        dh, dc = d
        dc = dc + dh * o * (1 - t * t)
        da = np.concatenate([dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g * g), dh * t * o * (1 - o)], axis=-1)
        return da @ W_x.T, da @ W_h.T, dc * f, x.T @ da, h.T @ da, da.sum(axis=0)
    return (o * t, new), rule


class Cell(mg.Module):
    """A cell whose step has a rule of its own."""
    def __init__(self, step, *shapes):
        self.step = step
        self.W_x, self.W_h, self.b = (mg.parameter(0.5 * np.random.default_rng(1).standard_normal(s)) for s in shapes)

    def __call__(self, x, h):
        h = self.step(x, h, self.W_x, self.W_h, self.b)
        return h, h


class LSTM(Cell):
    def __call__(self, x, state):
        h, c = self.step(x, *state, self.W_x, self.W_h, self.b)
        return h, (h, c)


def plain(fn):
    """The same function as ops, differentiated by the engine."""
    return lambda *args: fn(*args)[0]


def runs():
    xs, state = rng.standard_normal((6, B, D)), mg.parameter(rng.standard_normal((B, H)))
    yield Cell, elman, ((D, H), (H, H), (H,)), xs, state
    yield LSTM, lstm, ((D, 4 * H), (H, 4 * H), (4 * H,)), xs, (state, mg.parameter(rng.standard_normal((B, H))))


# ---- the gradient ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("cls, fn, shapes, xs, state", list(runs()), ids=["elman", "lstm"])
def test_a_cell_with_a_rule_has_the_engines_gradients(cls, fn, shapes, xs, state):
    found = []
    for step, ops in ((custom_gradient(fn), 0), (plain(fn), 2)):
        cell = cls(step, *shapes)
        ys, _, states = mg.unroll(cell, xs, state, states=True)
        found.append(mg.grad((ys * ys).sum(), [*cell.parameters().values(), *(state if isinstance(state, tuple) else [state])]))
        kinds = [n.op.name for n in Graph.of(ys).nodes if n.op]
        assert kinds.count("matmul") == ops * len(xs) and (fn.__name__ in kinds) == (ops == 0)      # the whole step is one op
        double = bptt([(y * y).sum() for y in ys], states, cell.W_h)
        assert double.error <= 1e-12
        found[-1] += tuple(mg.Tensor(a) for a in (double.norms, double.jacobian(3, 1)))
    for a, b in zip(*found):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("order", [1, 2])
def test_both_orders_hold_against_the_complex_step(order):
    report = mg.check.gradcheck(custom_gradient(elman), dict(x=X, h=S, W_x=W_X, W_h=W_H, b=BIAS), order)
    assert report.ok and all(row.error <= 1e-12 and not row.note for row in report.rows), report
    shapes = (D, 4 * H), (H, 4 * H), (4 * H,)
    report = mg.check.gradcheck(custom_gradient(lstm), [X, S, S + 1, *(0.5 * rng.standard_normal(s) for s in shapes)], order)
    assert report.ok, report


def test_jacobian_and_its_gradient():
    step, h = custom_gradient(elman), mg.parameter(S)
    ours, theirs = (mg.jacobian(f(X, h, W_X, W_H, BIAS), h, create_graph=True) for f in (step, plain(elman)))
    np.testing.assert_allclose(ours.data, theirs.data, rtol=1e-13, atol=1e-15)
    for a, b in zip(mg.grad((ours ** 2).sum(), h), mg.grad((theirs ** 2).sum(), h)):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-11)


def test_float32_stays_float32():
    step = custom_gradient(elman)
    W = mg.parameter(W_H.astype(np.float32))
    y = step(*(a.astype(np.float32) for a in (X, S, W_X)), W, BIAS.astype(np.float32))
    assert y.dtype == np.float32 and mg.grad(y.sum(), W)[0].dtype == np.float32
    x = mg.parameter(np.ones(2, np.float32))
    middle = x * x
    y = custom_gradient(lambda x: (x * np.float32(2), lambda g: (np.asarray(2.0) * g.astype(float),)))(middle)      # a rule in float64
    assert mg.grad(y.sum(), middle)[0].dtype == np.float32 and mg.autodiff.cotangents(y.sum())[middle.index].dtype == np.float32


def test_plain_arrays_give_plain_arrays_and_options_have_no_gradient():
    @custom_gradient
    def scaled(x, *, by=2.0):
        return x * by, lambda g: (g * by,)
    assert type(scaled(X)) is np.ndarray and np.array_equal(scaled(X, by=3.0), 3 * X)
    x = mg.parameter(X)
    assert np.array_equal(mg.grad(scaled(x, by=3.0).sum(), x)[0].data, 3 * np.ones_like(X))
    assert np.array_equal(mg.grad(scaled(x=x).sum(), x)[0].data, 2 * np.ones_like(X))


def test_arguments_may_have_defaults():
    @custom_gradient
    def scaled(x, by=2.0):
        return x * by, lambda g: (g * by, np.sum(g * x))
    x, by = mg.parameter(X), mg.parameter(3.0)
    assert np.array_equal(mg.grad(scaled(x).sum(), x)[0].data, 2 * np.ones_like(X))
    np.testing.assert_allclose(mg.grad(scaled(by=by, x=x).sum(), by)[0].data, X.sum())


def test_outputs_may_be_named():
    @custom_gradient
    def both(x):
        return {"sin": np.sin(x), "cos": np.cos(x)}, lambda g: (g["sin"] * np.cos(x) - g["cos"] * np.sin(x),)
    x = mg.parameter(X)
    y = both(x)
    np.testing.assert_allclose(mg.grad((y["cos"] * y["cos"]).sum(), x)[0].data, -np.sin(2 * X), rtol=1e-12, atol=1e-15)


def test_arguments_without_gradients_may_have_none():
    @custom_gradient
    def taken(table, rows):
        def rule(g):
            return mg.scatter_add(g, (rows,), table.shape), None
        return table[rows], rule
    table, rows = mg.parameter(W_X), np.array([0, 2, 0])
    g, = mg.grad(taken(table, rows).sum(), table)
    assert np.array_equal(g.data[:, 0], [2, 0, 1, 0, 0])


def test_the_graph_is_replayed_and_drawn():
    step, h = custom_gradient(elman), mg.parameter(S, name="h")
    graph = Graph.of(step(X, h, W_X, W_H, BIAS).sum(), inputs=[h])
    np.testing.assert_allclose(replay(graph, inputs=[2 * S])[-1], elman(X, 2 * S, W_X, W_H, BIAS)[0].sum())
    assert "elman" in mg.draw(graph.nodes[-1].tensor, heat=True).svg()


# ---- the check -------------------------------------------------------------------------------------------------------------

def wrong(change):
    """elman with one line of its rule replaced."""
    def step(x, h, W_x, W_h, b):
        new = np.tanh(x @ W_x + h @ W_h + b)

        def rule(g):
            return change(g, x, h, W_x, W_h, new, g * (1 - new ** 2))
        return new, rule
    return step


MISTAKES = {
    "no tanh'": ("x", lambda g, x, h, W_x, W_h, new, da: (g @ W_x.T, g @ W_h.T, x.T @ g, h.T @ g, g.sum(0))),
    "tanh' missing for the bias only": ("b", lambda g, x, h, W_x, W_h, new, da: (da @ W_x.T, da @ W_h.T, x.T @ da, h.T @ da, g.sum(0))),
    "W for its transpose": ("h", lambda g, x, h, W_x, W_h, new, da: (da @ W_x.T, da @ W_h, x.T @ da, h.T @ da, da.sum(0))),
    "h_t for h_{t-1}": ("W_h", lambda g, x, h, W_x, W_h, new, da: (da @ W_x.T, da @ W_h.T, x.T @ da, new.T @ da, da.sum(0))),
    "a mean over the batch": ("b", lambda g, x, h, W_x, W_h, new, da: (da @ W_x.T, da @ W_h.T, x.T @ da, h.T @ da, da.mean(0))),
    "off by 1e-4": ("W_x", lambda g, x, h, W_x, W_h, new, da: (da @ W_x.T, da @ W_h.T, 1.0001 * (x.T @ da), h.T @ da, da.sum(0))),
    "a sign": ("x", lambda g, x, h, W_x, W_h, new, da: (-da @ W_x.T, da @ W_h.T, x.T @ da, h.T @ da, da.sum(0))),
}


def call(step, h=S):
    return step(mg.parameter(X), mg.parameter(h), mg.parameter(W_X), mg.parameter(W_H), mg.parameter(BIAS))


@pytest.mark.parametrize("name", MISTAKES)
def test_a_wrong_rule_raises_on_first_use_and_names_the_argument(name):
    argument, change = MISTAKES[name]
    with pytest.raises(ValueError, match=rf"the rule of step is wrong for argument \d, {argument} of shape .*says .*the complex step of"):
        call(custom_gradient(wrong(change)))
    report = mg.check.gradcheck(custom_gradient(wrong(change)).unchecked, dict(x=X, h=S, W_x=W_X, W_h=W_H, b=BIAS), tolerance=1e-9)
    assert argument in [row.name for row in report.rows if not row.ok]


def test_what_is_right_is_said_too():
    with pytest.raises(ValueError, match=r"argument 4, b .*; right: x, h, W_x, W_h\. mg\.check\.gradcheck\(step\.unchecked"):
        call(custom_gradient(wrong(MISTAKES["a mean over the batch"][1])))


def test_a_state_of_zero_does_not_hide_a_mistake():
    no_carry = custom_gradient(wrong(lambda g, x, h, W_x, W_h, new, da: (da @ W_x.T, da @ W_h.T, x.T @ da, 2 * h.T @ da, da.sum(0))))
    with pytest.raises(ValueError, match=r"W_h of shape \(4, 4\).*at a random point near the arguments; at the arguments themselves it ag"):
        call(no_carry, h=np.zeros((B, H)))
    call(custom_gradient(check="here")(no_carry.__wrapped__), h=np.zeros((B, H)))


def test_a_rule_that_holds_on_orthogonal_matrices_only():
    @custom_gradient(check="here")
    def undo(y, Q):
        x = y @ np.linalg.inv(Q)
        return x, lambda g: (g @ Q, -x.T @ g @ Q)         # Q⁻¹ = Qᵀ
    Q = mg.parameter(np.linalg.qr(W_H)[0])
    undo(mg.parameter(S), Q).sum().backward()
    with pytest.raises(ValueError, match="For a rule that holds there only: check='here'"):
        custom_gradient(undo.__wrapped__)(mg.parameter(S), Q)


def test_a_gradient_that_is_meant_to_be_another():
    @custom_gradient(check=False)
    def straight_through(x):
        return np.round(x), lambda g: (g,)
    x = mg.parameter(X)
    assert np.array_equal(mg.grad(straight_through(x).sum(), x)[0].data, np.ones_like(X))
    with pytest.raises(ValueError, match=r"of the function says 0\. mg"):
        custom_gradient(straight_through.__wrapped__)(x)


def test_checked_once_for_each_combination_of_shapes():
    calls = []

    @custom_gradient
    def square(x):
        calls.append(np.shape(x))
        return x * x, lambda g: (2 * x * g,)
    x = mg.parameter(X)
    square(x)
    first = len(calls)
    square(x)
    assert first > 5 and len(calls) == first + 1
    square(mg.parameter(X[:1]))                             # a sum over the batch may be missing: another shape, another check
    assert len(calls) == 2 * first + 1
    with mg.no_grad():
        square(mg.parameter(S))
    assert len(calls) == 2 * first + 2


@pytest.mark.parametrize("fn", [
    lambda x: (np.maximum(x, 0), lambda g: (g * (x > 0),)),
    lambda x: (np.abs(x), lambda g: (g * np.sign(x),)),                   # its complex step lies
    lambda x: (np.asarray(x, float) ** 2, lambda g: (2 * g * x,)),         # drops the imaginary part
    lambda x: (np.log(np.abs(x)), lambda g: (g / x,)),
    lambda x: (np.sum(x * 0.0) + 1.0, lambda g: (0 * x,)),
    lambda x: (1e-12 * x, lambda g: (1e-12 * g,)),
    lambda x: (1e12 * x ** 3, lambda g: (3e12 * x ** 2 * g,)),
])
def test_right_rules_raise_no_alarm(fn):
    custom_gradient(fn)(mg.parameter(X))
    custom_gradient(fn)(mg.parameter(np.random.default_rng(3).standard_normal((40, 50))))


def test_a_gradient_that_is_zero_up_to_rounding_raises_no_alarm():
    def shifted(x, z):                                                     # a softmax does not see z
        y = mg.softmax(x + z)
        return y, lambda g: (y * (g - (g * y).sum(axis=-1, keepdims=True)), np.zeros(z.shape))
    custom_gradient(shifted)(mg.parameter(X), mg.parameter(S[:, :1]))


def test_a_function_that_does_not_exist_nearby_is_checked_where_it_does():
    def root(x):
        if np.any(np.real(x) < 0):
            raise ValueError("no negative numbers")
        return np.sqrt(x), lambda g: (g / (2 * np.sqrt(x)),)
    custom_gradient(root)(mg.parameter([0.1, 0.2, 3.0]))
    with pytest.raises(ValueError, match="the rule of <lambda> is wrong for argument 0, x"):
        custom_gradient(lambda x: (root(x)[0], lambda g: (g / np.sqrt(x),)))(mg.parameter([0.1, 0.2, 3.0]))


# ---- second order says what it cannot do ---------------------------------------------------------------------------------------

def test_a_rule_that_cannot_be_differentiated_says_so():
    def by_item(x):                                         # the rule fills an array
        def rule(g):
            out = np.zeros(x.shape)
            for i in range(len(x)):
                out[i] = 2 * float(x[i]) * float(g[i])
            return out,
        return x * x, rule

    def cut(x):
        return x * x, lambda g: (2 * np.asarray(getattr(x, "array", x)) * np.asarray(getattr(g, "array", g)),)

    def arrays_only(x):
        return np.array([float(v) ** 2 if not np.iscomplexobj(v) else v ** 2 for v in x]), lambda g: (2 * x * g,)
    x = mg.parameter([1.0, 2.0])
    for fn, words in ((by_item, "second order of by_item: its rule cannot run on Tensors"),
                      (cut, "second order of cut: its rule returned a plain array for argument 0, x, which would be cut from the graph"),
                      (arrays_only, "second order of arrays_only: the function cannot run on Tensors")):
        y = custom_gradient(fn)(x).sum()
        assert np.array_equal(mg.grad(y, x)[0].data, [2.0, 4.0])
        with pytest.raises(TypeError, match=words):
            mg.grad(y, x, create_graph=True)


# ---- bad input -------------------------------------------------------------------------------------------------------------------

W = mg.parameter(np.ones((2, 3)), name="W")


@pytest.mark.parametrize("fn, args, error, words", [
    (lambda x: x * 2, (W,), TypeError, r"<lambda> returned ndarray; a function with @custom_gradient returns a pair \(y, rule\)"),
    (lambda x: (x, x, x), (W,), TypeError, "returned a tuple of 3; a function"),
    (lambda x: (x @ W.T, lambda g: (g @ W,)), (mg.parameter(np.ones((1, 3))),), TypeError, "it uses Tensors that are not among its arguments"),
    (lambda x: (x * 2, lambda g: (g, g)), (W,), ValueError, "returned 2 gradients for 1 arguments; expected one for each"),
    (lambda x: (x.T * 2, lambda g: (2 * g,)), (W,), ValueError, r"returned shape \(3, 2\) for argument 0, x of shape \(2, 3\).*the transposed"),
    (lambda x: (x * 2, lambda g: (2 * g,)), ("W",), TypeError, "got a str as argument 0, x; expected Tensors, arrays and numbers"),
    (lambda x: (x + np.random.default_rng().random(), lambda g: (g,)), (W,), ValueError, "gives other values for the same arguments"),
])
def test_unusable(fn, args, error, words):
    with pytest.raises(error, match=words):
        custom_gradient(fn)(*args)


def test_none_where_a_gradient_is_required():
    y = custom_gradient(lambda x, z: (2 * x + 0 * z, lambda g: (2 * g, None)))(W, mg.parameter(1.0))
    with pytest.raises(ValueError, match="returned None for argument 1, z, which requires gradients; return zeros"):
        y.sum().backward()


def test_unusable_decoration():
    with pytest.raises(TypeError, match="expected a function and True, 'here' or False"):
        custom_gradient(3)
    with pytest.raises(TypeError, match="check='sometimes'"):
        custom_gradient(check="sometimes")(elman)


def test_a_function_that_changes_its_arguments_is_told_so():
    @mg.custom_gradient
    def careless(x):
        x *= 2
        return np.tanh(x), lambda g: (g,)
    with pytest.raises(ValueError, match="careless changes argument 0, x in place"):
        careless(mg.parameter(np.ones(3)))


def test_an_exception_in_a_rule_says_whose_it_is():
    @mg.custom_gradient
    def step(x, W):
        return x @ W, lambda g: (g @ W, x.T @ g)
    with pytest.raises(ValueError) as error:
        step(np.ones((2, 3)), mg.parameter(np.ones((3, 4))))
    assert error.value.__notes__ == ["in the rule of step: it got g of shape (2, 4), the arguments are of shapes (2, 3), (3, 4)"]


def test_a_rule_that_returns_a_tensor_is_told_so():
    w = mg.parameter(np.ones(3))

    @mg.custom_gradient
    def scaled(x):
        return 2 * x, lambda g: g * mg.Tensor(2.0)
    with pytest.raises(TypeError, match="the rule of scaled returned a Tensor for .*: take .data of Tensors from outside"):
        (scaled(w) + scaled(w)).sum().backward()


def test_no_program_is_written_of_it_and_the_reason_is_said():
    """A spiking neuron: mg.scan runs it as an unroll, with the surrogate gradient."""
    @mg.custom_gradient(check=False)
    def spike(v):
        return (v > 0).astype(float), lambda g: (g / (1 + np.abs(v)) ** 2,)
    W = mg.parameter(np.random.default_rng(0).standard_normal((3, 4)))

    def cell(x, v):
        v = 0.9 * v + x @ W
        return spike(v - 0.5), v
    xs, v_0 = np.random.default_rng(1).standard_normal((5, 2, 3)), mg.Tensor(np.zeros((2, 4)))
    with pytest.warns(NotCompiled, match="spike has a gradient rule of its own"):
        ys, _ = mg.scan(cell, xs, v_0)
    by_scan, = mg.grad(ys.sum(), W)
    by_unroll, = mg.grad(mg.unroll(cell, xs, v_0)[0].sum(), W)
    assert by_scan.data.any() and np.array_equal(by_scan.data, by_unroll.data)
