"""unroll(…, checkpoint_every=k): the numbers of the plain unroll to the last bit, in less memory."""
import gc
import tracemalloc

import numpy as np
import pytest

import minigrad as mg
from minigrad.graph import Graph
from minigrad.nested import flatten
from minigrad.recurrent.wrappers import dropout, zoneout

T, B, D, H = 11, 3, 3, 4
XS = np.random.default_rng(2).standard_normal((T, B, D))


def delay_line(rng):
    """Two delays and a counter: parts of the state that need no gradients for a while, or ever."""
    W = mg.parameter(rng.standard_normal((D, H)))

    def cell(x, state):
        (a, b), k = state["line"], state["k"]
        h = np.tanh(x @ W + 0.5 * b) * (1 if k.item() % 2 else 0.5)
        return h, {"line": (h, a), "k": k + 1}
    cell.initial_state = lambda n: {"line": (mg.Tensor(np.zeros((n, H))), mg.Tensor(np.ones((n, H)))), "k": mg.Tensor(0)}
    cell.parameters = lambda: {"W": W}
    return cell


CELLS = {
    "RNN": lambda rng: mg.RNNCell(D, H, rng=rng), "GRU": lambda rng: mg.GRUCell(D, H, rng=rng), "LSTM": lambda rng: mg.LSTMCell(D, H, rng=rng),
    "stacked": lambda rng: mg.stacked(mg.LSTMCell(D, 5, rng=rng), mg.GRUCell(5, H, rng=rng)),
    "noisy": lambda rng: zoneout(dropout(mg.LSTMCell(D, H, rng=rng), 0.3, on="state", rng=np.random.default_rng(3)), 0.3),
    "one mask": lambda rng: dropout(mg.GRUCell(D, H, rng=rng), 0.5, on="state", per="sequence"),
    "delay line": delay_line,
}
WALKS = {"forward": {}, "reverse": {"reverse": True}, "lengths": {"lengths": [11, 4, 0]}, "both": {"lengths": [11, 4, 0], "reverse": True}}


def training_step(make, every, *, xs=XS, **how):
    """Everything that one step computes: outputs, states, all gradients."""
    cell = make(np.random.default_rng(1))
    xs = [mg.parameter(x) for x in xs] if isinstance(xs, list) else mg.parameter(xs)
    ys, state = mg.unroll(cell, xs, checkpoint_every=every, **how)
    floats = [s for s in flatten(state) if s.requires_grad]
    weights = np.random.default_rng(5).standard_normal(ys.shape)
    ((ys * ys * weights).sum() + sum((s * s * s).sum() for s in floats)).backward()
    leaves = [*(xs if isinstance(xs, list) else [xs]), *cell.parameters().values()]
    return [ys.data, *(s.data for s in flatten(state)), *(p.grad for p in leaves)]


@pytest.mark.parametrize("every", [1, 4, "sqrt", 50])
@pytest.mark.parametrize("walk", WALKS)
@pytest.mark.parametrize("name", CELLS)
def test_the_same_to_the_last_bit(name, walk, every):
    how = WALKS[walk] if name != "delay line" or "lengths" not in WALKS[walk] else {}       # its counter has no batch
    want, got = (training_step(CELLS[name], k, **how) for k in (None, every))
    assert len(want) == len(got) > 3 and all(np.array_equal(a, b) for a, b in zip(want, got))


@pytest.mark.parametrize("name", [name for name in mg.recurrent.__all__ if name.endswith("Cell")])
def test_every_cell_of_the_house(name):
    def make(rng):
        return getattr(mg.recurrent, name)(D + 1, H, rng=rng)
    xs = np.abs(np.random.default_rng(2).standard_normal((T, B, D + 1)))        # a last column of time steps must be positive
    want, got = (training_step(make, every, xs=xs, lengths=[11, 4, 0]) for every in (None, 3))
    assert all(np.array_equal(a, b) for a, b in zip(want, got))


def test_a_list_of_tensors_and_a_state_that_is_trained():
    assert all(np.array_equal(a, b) for a, b in zip(*(training_step(CELLS["RNN"], k, xs=list(XS)) for k in (None, 3))))
    found = []
    for every in (None, 4):
        h0, cell = mg.parameter(np.full((B, H), 0.3)), mg.RNNCell(D, H)
        ys, h = mg.unroll(cell, XS, h0 * h0, checkpoint_every=every)
        h.sum().backward()              # the outputs have no say
        found.append([h0.grad, cell.W_h.grad])
    assert all(np.array_equal(a, b) for a, b in zip(*found))


def test_float32_and_states_of_two_dtypes():
    def cell(x, state):
        h, sums = state
        h = np.tanh(x + h)
        return h, (h, sums + h.astype(float))
    found = []
    for every in (None, 4):
        x = mg.parameter(XS.astype(np.float32))
        ys, (h, sums) = mg.unroll(cell, x, (mg.Tensor(np.zeros((B, D), np.float32)), mg.Tensor(np.zeros((B, D)))), checkpoint_every=every)
        assert (ys.dtype, h.dtype, sums.dtype) == (np.float32, np.float32, float)
        ((ys * ys).sum() + (sums * sums).sum()).backward()
        found.append([ys.data, sums.data, x.grad])
    assert all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(*found))


@pytest.mark.parametrize("result", [lambda x, h: x.data * 2, lambda x, h: (x.data[:, 0] > 0) * 1, lambda x, h: mg.Tensor(x.data)])
def test_outputs_that_are_constants(result):
    W = mg.parameter(np.eye(D))
    found = []
    for every in (None, 3):
        W.grad = None
        ys, h = mg.unroll(lambda x, h: (result(x, h), np.tanh(x + h @ W)), XS, mg.Tensor(np.zeros((B, D))), checkpoint_every=every)
        h.sum().backward()
        assert not ys.requires_grad
        found.append((ys.data, W.grad))
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(*found))


def test_parameters_that_are_made_in_the_first_step():
    class Lazy(mg.Module):
        W = None

        def __call__(self, x, h):
            if self.W is None:
                self.W = mg.parameter(np.eye(D))
            h = np.tanh(x @ self.W + h)
            return h, h
    found = []
    for every in (None, 3):
        cell = Lazy()
        mg.unroll(cell, XS, mg.Tensor(np.zeros((B, D))), checkpoint_every=every)[0].sum().backward()
        found.append(cell.W.grad)
    assert np.array_equal(*found)


@pytest.mark.parametrize("reverse", [False, True])
def test_second_order_and_jacobian(reverse):
    found, weights = [], np.arange(1.0, 6)[:, None, None]
    for every in (None, 3):
        cell = mg.GRUCell(D, H, rng=np.random.default_rng(1))
        x = mg.parameter(XS[:5, :1])
        ys, h = mg.unroll(cell, x, checkpoint_every=every, reverse=reverse)
        first = mg.grad((ys * ys * weights).sum(), (x, cell.W_h), create_graph=True)
        found.append([*mg.grad((first[0] ** 2).sum() + (first[1] ** 2).sum(), (x, cell.W_h)), mg.jacobian(h, x)])
    for a, b in zip(*found):
        assert np.allclose(a.data, b.data, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("order", [1, 2])
def test_against_complex_step(order):
    cell = mg.LSTMCell(2, 2, rng=np.random.default_rng(1))
    report = mg.check.gradcheck(lambda: mg.unroll(cell, XS[:5, :1, :2], checkpoint_every=2)[0], cell, order=order)
    assert report.ok and all(row.error < 1e-12 for row in report.rows), report


def test_an_integer_that_is_output_and_state():
    def cell(x, state):
        k, h = state[0] + 1, np.tanh(x + state[1])
        return k, (k, h)
    start = mg.parameter(np.ones((B, D)))
    ys, (k, h) = mg.unroll(cell, XS, (mg.Tensor(0), start), checkpoint_every=3)
    assert ys.data.tolist() == list(range(1, T + 1)) and k.item() == T and ys.dtype.kind == "i"
    h.sum().backward()
    assert start.grad.any()


def test_nothing_that_requires_gradients_and_no_grad():
    ys, h = mg.unroll(lambda x, h: (x + h, x + h), XS, mg.Tensor(np.zeros((B, D))), checkpoint_every=3)
    assert not ys.requires_grad and not h.requires_grad and np.array_equal(ys.data[-1], h.data)
    cell = mg.RNNCell(D, H)
    with mg.no_grad():
        ys, _ = mg.unroll(cell, XS, checkpoint_every=3)
    assert not ys.requires_grad and np.array_equal(ys.data, mg.unroll(cell, XS)[0].data)


def test_in_two_directions():
    net, found = mg.bidirectional(mg.LSTMCell(D, H), mg.GRUCell(D, H)), []
    for every in (None, 3):
        ys, _ = net(XS, lengths=[11, 4, 0], checkpoint_every=every)
        assert every is None or [n.op.name for n in Graph.of(ys).nodes if n.op].count("unroll") == 2
        found.append([ys, *mg.grad((ys * ys).sum(), list(net.parameters().values()))])
    assert all(np.array_equal(a.data, b.data) for a, b in zip(*found))


def test_gradients_twice_from_one_graph():
    cell = mg.LSTMCell(D, H)
    ys, (h, c) = mg.unroll(cell, XS, checkpoint_every=4)
    a, b = (mg.grad(loss, cell.W_h)[0].data for loss in (ys.sum(), c.sum()))
    again = mg.grad(ys.sum(), cell.W_h)[0].data
    assert np.array_equal(a, again) and not np.array_equal(a, b)


def peak(every, length):
    """Bytes that one training step adds at its worst, the outputs and their gradients aside (T, B, H)."""
    cell, xs = mg.RNNCell(2, 32), np.ones((length, 8, 2))
    gc.collect()
    tracemalloc.start()
    mg.unroll(cell, xs, checkpoint_every=every)[0].sum().backward()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most / (length * 8 * 32 * 8)


def test_memory_is_that_of_the_outputs_and_not_of_the_steps():
    """Per step, in units of one output: stored, the five arrays of a step and its nodes; recomputed, the output and its gradients."""
    assert peak(None, 500) > 6 > 4.5 > peak("sqrt", 500)


def test_in_the_graph_and_the_picture_it_is_one_node():
    ys, _ = mg.unroll(mg.RNNCell(D, H), XS, checkpoint_every=4)
    assert [n.op.name for n in Graph.of(ys).nodes if n.op] == ["unroll", "getitem", "reshape"]
    assert "unroll" in mg.draw(ys).svg()


@pytest.mark.parametrize("every", [0, -1, 2.5, True, "log"])
def test_what_checkpoint_every_may_be(every):
    with pytest.raises(ValueError, match=r"got checkpoint_every=.*; expected a number of steps, 1 or more, or 'sqrt'"):
        mg.unroll(mg.RNNCell(D, H), XS, checkpoint_every=every)


def test_errors_name_the_step_of_the_whole_sequence():
    cell = mg.RNNCell(D, H)
    with pytest.raises(ValueError, match="states=True and checkpoint_every: a list of all states is what checkpoint_every is there to avoid"):
        mg.unroll(cell, XS, states=True, checkpoint_every=3)
    with pytest.raises(ValueError, match=r"output: all need one shape; it was \(3, 3\) in the first step and is \(1, 3\) at t=8"):
        mg.unroll(lambda x, k: (x if k.item() < 7 else x[:1], k + 1), XS, mg.Tensor(0), checkpoint_every=3)
    xs = XS.copy()
    xs[7] = np.nan
    with mg.debug(), pytest.raises(FloatingPointError, match="matmul at t=8 made nan"):
        mg.unroll(cell, xs, checkpoint_every=3)


def test_a_cell_that_changes_its_mind_and_a_parameter_that_was_changed():
    hidden, cell = {"noise": iter(np.random.default_rng(0).standard_normal(100))}, mg.RNNCell(D, H)
    ys, _ = mg.unroll(lambda x, h: cell(x * next(hidden["noise"]), h), XS, cell.initial_state(B), checkpoint_every=3)
    with pytest.raises(RuntimeError, match="running the function again gave other values"):
        ys.sum().backward()
    ys, _ = mg.unroll(cell, XS, checkpoint_every=3)
    cell.W_h.data = cell.W_h.data * 2
    with pytest.raises(RuntimeError, match="parameter 'W_h' was changed after unroll had used it"):
        ys.sum().backward()


def test_generators_go_on_where_they_were():
    cell = dropout(mg.RNNCell(D, H), 0.5, on="state", rng=np.random.default_rng(3))
    ys, _ = mg.unroll(cell, XS, checkpoint_every=4)
    state = cell.rng.bit_generator.state
    ys.sum().backward()
    assert cell.rng.bit_generator.state == state


def test_the_collector_rests_and_goes_on_as_it_was():
    """A graph that grows holds no garbage."""
    seen, was = [], gc.isenabled()

    def cell(x, h):
        seen.append(gc.isenabled())
        return x + h, x + h
    try:
        for on in (True, False):
            gc.enable() if on else gc.disable()
            mg.unroll(cell, XS, mg.parameter(np.zeros((B, D))))
            assert gc.isenabled() == on and seen == [False] * T
            seen.clear()
    finally:
        gc.enable() if was else gc.disable()


def test_inside_a_place_and_inside_a_checkpoint():
    """A whole unroll within each step of an outer loop, and within mg.checkpoint."""
    cell, found = mg.RNNCell(D, H), []

    def inner(every, wrap):
        cell.W_h.grad = None
        f = wrap(lambda s: (mg.unroll(cell, XS, s, checkpoint_every=every)[1],))
        h = cell.initial_state(B)
        for _ in mg.steps(np.ones(3)):
            h, = f(h)
        h.sum().backward()
        found.append(cell.W_h.grad)
    inner(None, lambda f: f), inner(3, lambda f: f), inner(3, mg.checkpoint)
    assert np.allclose(found[0], found[1], rtol=1e-13) and np.allclose(found[0], found[2], rtol=1e-13)
