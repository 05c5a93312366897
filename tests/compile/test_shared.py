"""What a call shares: equal gradients, Tensors given twice, values made from parameters in the step, a state that the cell knows."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.compile import NotCompiled, scan
from minigrad.nested import flatten

WAYS = [mg.unroll, scan, lambda *args, **options: mg.unroll(*args, checkpoint_every=2, **options),
        lambda *args, **options: scan(*args, checkpoint_every=2, **options)]
NAMES = ["unroll", "scan", "unroll in segments", "scan in segments"]


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("how", WAYS, ids=NAMES)
@pytest.mark.parametrize("reverse", [False, True])
def test_two_sequences_with_one_gradient(how, reverse):
    """Each has it in an array of its own, which is the walk's to add into, and lies in order."""
    a, b = (mg.parameter(0.1 * numbers(4, 2, 3, seed=k)) for k in range(2))
    ys, _ = how(lambda x, h: (np.exp(x[0] + x[1]), h), (a, b), mg.Tensor(np.zeros((2, 3))), reverse=reverse)
    (ys.sum() + (a * a).sum()).backward()
    expected = np.exp(a.data + b.data)
    assert np.allclose(a.grad, expected + 2 * a.data, 1e-13) and np.allclose(b.grad, expected, 1e-13)
    assert not np.shares_memory(a.grad, b.grad) and a.grad.flags.c_contiguous and b.grad.flags.c_contiguous


@pytest.mark.parametrize("how", WAYS, ids=NAMES)
def test_one_sequence_three_times(how):
    x = mg.parameter(numbers(4, 2, 1))
    ys, _ = how(lambda s, h: (np.exp(s[0] + s[1] + s[2]), h), (x, x, x), mg.Tensor(np.zeros(1)))
    ys.sum().backward()
    assert np.allclose(x.grad, 3 * np.exp(3 * x.data), 1e-13)


@pytest.mark.parametrize("how", WAYS, ids=NAMES)
@pytest.mark.parametrize("index", [None, ...])
def test_a_number_that_is_also_used_outside(how, index):
    """Its gradient is a number of NumPy's, which cannot be added into."""
    p = mg.parameter(2.0)
    q = p[index]
    ys, _ = how(lambda x, h: (x * p + h,) * 2, np.ones((4, 2, 3)), mg.Tensor(np.zeros((2, 3))))
    (ys.sum() + q.sum()).backward()
    assert p.grad == 61


STEPS = {"W.T": lambda x, h, W, b: np.tanh(x @ W.T + h), "W.T and W": lambda x, h, W, b: np.tanh(x @ W.T + h @ W + b),
         "b.sum()": lambda x, h, W, b: np.tanh(x + h * b.sum()), "made of what was made": lambda x, h, W, b: np.tanh(x + h * np.exp(b[0] * W.sum())),
         "[W, 2W]": lambda x, h, W, b: np.tanh(np.concatenate([x, h], -1) @ np.concatenate([W, 2 * W]))}


@pytest.mark.parametrize("how", WAYS, ids=NAMES)
@pytest.mark.parametrize("outside", [False, True], ids=["", "of a parameter's square"])
@pytest.mark.parametrize("step", STEPS)
def test_higher_orders_through_what_the_step_makes_of_parameters(step, outside, how):
    W, b = mg.parameter(0.5 * numbers(3, 3)), mg.parameter(0.5 * numbers(3, seed=1))
    xs, found = mg.parameter(numbers(5, 2, 3, seed=2)), []
    for way in (how, mg.unroll):
        V = W * W if outside else W

        def cell(x, h):
            h = STEPS[step](x, h, V, b)
            return h, h
        loss = (way(cell, xs, mg.Tensor(np.zeros((2, 3))))[0] ** 2).sum()
        first = mg.grad(loss, [W, b, xs], create_graph=True)
        second = mg.grad(sum((g * g).sum() for g in first if g.requires_grad), [W, b, xs])
        found.append([*mg.grad(loss, [W, b, xs]), *first, mg.jacobian(loss, W), *second])
    for ours, theirs in zip(*found):
        assert np.allclose(ours.data, theirs.data, 1e-11, 1e-11)
    assert all(np.allclose(a.data, b.data, 1e-12, 1e-13) for a, b in zip(found[0][:3], found[0][3:6]))


@pytest.mark.parametrize("name", [name for name in mg.__all__ if name.endswith("Cell")])
def test_higher_orders_of_every_cell(name):
    """Of six, the step makes something of its parameters."""
    cell, xs, found = getattr(mg, name)(3, 4, rng=np.random.default_rng(0)), mg.parameter(numbers(4, 2, 3)), []
    inputs = [*cell.parameters().values(), xs]
    for how in (scan, mg.unroll):
        ys, _ = how(cell, xs)
        loss = (ys * ys).sum()
        first = mg.grad(loss, inputs, create_graph=True)
        second = mg.grad(sum((g * g).sum() for g in first if g.requires_grad), inputs)
        found.append([*mg.grad(loss, inputs), *first, *second, *(mg.jacobian(ys, x) for x in inputs)])
    for ours, theirs in zip(*found):
        assert np.allclose(ours.data, theirs.data, 1e-11, 1e-11 * max(np.abs(theirs.data).max(), 1))


@pytest.mark.parametrize("how", WAYS, ids=NAMES)
def test_one_tensor_as_two_states_and_captured(how):
    s, xs = mg.parameter(np.full(2, 0.3)), np.full((3, 2), 0.7)
    loss = how(lambda x, h: (x * h[0] * h[1] + s, (h[0] * x, h[1])), xs, (s, s))[0].sum()
    first, again = mg.grad(loss, s)[0], mg.grad(loss, s, create_graph=True)[0]
    assert np.allclose(first.data, 2 * 0.3 * (0.7 + 0.7 ** 2 + 0.7 ** 3) + 3, 1e-13)
    assert np.allclose(again.data, first.data, 1e-13) and np.allclose(mg.jacobian(loss, s).data, first.data, 1e-13)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("options", [{}, {"lengths": [4, 2]}, {"checkpoint_every": 3}], ids=str)
def test_two_directions(options):
    net = mg.bidirectional(mg.LSTMCell(3, 4, rng=np.random.default_rng(0)), mg.MGUCell(3, 5, rng=np.random.default_rng(1)))
    xs, found, ops = mg.parameter(numbers(4, 2, 3)), [], []
    inputs = [*net.parameters().values(), xs]
    for over in (scan, mg.unroll):
        ys, last = net(xs, over=over, **options)
        loss = (ys * ys).sum() + sum(s.sum() for s in flatten(last))
        first = mg.grad(loss, inputs, create_graph=True)
        found.append([ys, *flatten(last), *mg.grad(loss, inputs), *first, *mg.grad(sum((g * g).sum() for g in first), inputs)])
        ops.append(ys.inputs[0].op.name)
    assert ops[0] == "part"                             # it is a scan's
    for ours, theirs in zip(*found):
        assert np.allclose(ours.data, theirs.data, 1e-11, 1e-12)


@pytest.mark.filterwarnings("error")
def test_classes_of_another_byte_order():
    V, h = mg.parameter(numbers(2, 5)), mg.Tensor(np.zeros(1))

    def cell(xy, h):
        return mg.softmax_cross_entropy(xy[0] @ V, xy[1]), h
    for y in (np.zeros((4, 3), ">i8"), np.ones((4, 3), ">i8")):
        ys, expected = (how(cell, (np.ones((4, 3, 2)), y), h)[0].data for how in (scan, mg.unroll))
        assert np.allclose(ys, expected, 1e-13)


def test_a_cell_that_knows_its_state_by_the_gradient_alone():
    """Zeros twice are zeros, but the gradient is doubled."""
    W, h_1, x = mg.parameter(np.eye(3) / 2), mg.parameter(np.zeros((2, 3))), numbers(4, 2, 3)

    def cell(x, h):
        h = np.tanh(x @ W + (h * 2 if h is h_1 else h))
        return h, h
    with pytest.warns(NotCompiled, match="asks whether a state is a certain Tensor"):
        ys, last = scan(cell, x, h_1)
    expected = mg.unroll(cell, x, h_1)[0]
    assert np.array_equal(mg.grad(ys.sum(), h_1)[0].data, mg.grad(expected.sum(), h_1)[0].data) and len(flatten(last)) == 1
