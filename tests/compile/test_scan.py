"""mg.scan gives what mg.unroll gives: values, gradients of everything, in every setting; and says so when it cannot."""
import functools
import gc
import threading
import warnings

import numpy as np
import pytest

import minigrad as mg
import minigrad.recurrent
from minigrad.compile import NotCompiled, call, scan, source
from minigrad.compile.traced import CannotTrace
from minigrad.nested import flatten, rebuild

CELLS = [name for name in minigrad.recurrent.__all__ if name.endswith("Cell")]
SETTINGS = [{}, {"reverse": True}, {"lengths": np.array([4, 1])}, {"lengths": np.array([0, 3]), "reverse": True}, {"checkpoint_every": 3},
            {"checkpoint_every": "sqrt", "reverse": True}, {"states": True}, {"states": True, "reverse": True}]


@pytest.fixture(autouse=True)
def compiled():
    """A scan that falls back fails the test, unless the test asks for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", NotCompiled)
        yield


def results(how, cell, xs, state, options, parameters):
    """Outputs, states and every gradient of a random functional of them."""
    xs = rebuild(xs, [mg.parameter(x) if x.dtype.kind == "f" else x for x in flatten(xs)]) if isinstance(xs, tuple) else mg.parameter(xs)
    leaves = [mg.Tensor(s, requires_grad=s.dtype.kind == "f") for s in flatten(state)]
    ys, last, *visited = how(cell, xs, rebuild(state, leaves), **options)
    out = [ys, *flatten(last), *flatten(visited)]
    rng, loss = np.random.default_rng(7), 0.0
    for t in out:
        weights = rng.standard_normal(t.shape).astype(t.dtype if t.dtype.kind == "f" else float)
        loss = loss + (t * weights).sum() if t.requires_grad else loss
    wanted = [*parameters, *(s for s in leaves if s.requires_grad), *(x for x in flatten(xs) if isinstance(x, mg.Tensor))]
    return [t.data for t in out], [g.data for g in mg.grad(loss, wanted)]


def assert_same(cell, xs, state=None, options=None, parameters=None, tolerance=1e-12):
    options, first = options or {}, flatten(xs)[0] if isinstance(xs, tuple) else xs
    rng = np.random.default_rng(3)
    if state is None:
        start = cell.initial_state(first.shape[1] if first.ndim > 2 else None)
        noise = 0.0 if isinstance(cell, mg.ClockworkRNNCell) else 0.1          # its count-down is a whole number
        state = rebuild(start, [(s.data + noise * rng.standard_normal(s.shape)).astype(s.dtype) for s in flatten(start)])
    parameters = list(cell.parameters().values()) if parameters is None else parameters
    (a, ga), (b, gb) = (results(how, cell, xs, state, options, parameters) for how in (scan, mg.unroll))
    scale = max(np.abs(g).max(initial=0) for g in gb)
    for ours, theirs, size in [(x, y, np.abs(y).max(initial=1e-300)) for x, y in zip(a, b)] + [(x, y, scale) for x, y in zip(ga, gb)]:
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        assert np.abs(ours - theirs).max(initial=0) <= tolerance * size
    assert len(a) == len(b) and len(ga) == len(gb)


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


# ---- the same numbers ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("options", SETTINGS, ids=str)
@pytest.mark.parametrize("name", CELLS)
def test_every_cell_in_every_setting(name, options):
    assert_same(getattr(mg, name)(3, 4, rng=np.random.default_rng(1)), numbers(5, 2, 3), options=options)


@pytest.mark.parametrize("T, B", [(1, 2), (2, 2), (5, 1), (3, None)])
@pytest.mark.parametrize("name", CELLS)
def test_every_cell_at_the_edges(name, T, B, monkeypatch):
    monkeypatch.setattr(call, "SHORTEST", 1)
    assert_same(getattr(mg, name)(3, 4, rng=np.random.default_rng(1)), numbers(T, 3) if B is None else numbers(T, B, 3))


def test_a_single_step_is_unrolled():
    """A program would find its way to one step slower than the step takes; it can be read all the same."""
    cell, known = mg.RNNCell(3, 4), len(call._programs)
    ys, _ = scan(cell, numbers(1, 2, 3))
    assert ys.op.name != "part" and len(call._programs) == known
    assert "forward in time" in scan.source(cell, numbers(1, 2, 3))


@pytest.mark.parametrize("name", CELLS)
def test_float32_stays_float32(name):
    assert_same(getattr(mg, name)(3, 4, rng=np.random.default_rng(1), dtype=np.float32), numbers(5, 2, 3).astype(np.float32), tolerance=2e-4)


@pytest.mark.parametrize("options", [{}, {"lengths": np.array([3, 1]), "reverse": True}], ids=str)
@pytest.mark.parametrize("name", CELLS)
def test_every_cell_in_layers(name, options):
    make = functools.partial(getattr(mg, name), rng=np.random.default_rng(1))
    first, xs = make(3, 4), numbers(3, 2, 3)
    assert_same(mg.stacked(first, make(mg.unroll(first, xs)[0].shape[-1], 4)), xs, options=options, tolerance=3e-12)


@pytest.mark.parametrize("options", SETTINGS[:6], ids=str)
def test_layers_and_nested_states(options):
    cell = mg.stacked(mg.GRUCell(3, 4), mg.LSTMCell(4, 5), mg.RNNCell(5, 2))
    assert_same(cell, numbers(5, 2, 3), options=options)


@pytest.mark.parametrize("H", [64, 128], ids=["gathered gates", "gates in blocks"])
def test_large_gates(H):
    """At these sizes gates are gathered, or get blocks of their own, and local derivatives are computed in the loop."""
    assert_same(mg.LSTMCell(8, H), numbers(3, 32, 8), tolerance=1e-11)
    assert_same(mg.GRUCell(8, H), numbers(3, 32, 8), tolerance=1e-11)


@pytest.mark.parametrize("B", [1, 32])
@pytest.mark.parametrize("name", CELLS)
def test_every_cell_at_a_size_that_is_used(name, B):
    assert_same(getattr(mg, name)(8, 128, rng=np.random.default_rng(1)), numbers(3, B, 8), tolerance=1e-11)


def test_a_bias_is_a_row_of_the_matrix():
    """[x, 1] [W; b]: of large steps, whoever else adds b or reads x, also where x has a gradient."""
    W, V, b, U = (mg.parameter(0.1 * numbers(*shape, seed=k)) for k, shape in enumerate([(8, 64), (8, 64), (64,), (64, 64)]))

    def cell(xs, h):
        x, y = xs
        h = np.tanh(x @ W + b + h @ U) * np.tanh(y @ V + b)
        return h + b, h
    xs = mg.parameter(numbers(3, 32, 8)), numbers(3, 32, 8, seed=1)
    assert_same(cell, xs, numbers(32, 64), parameters=[W, V, b, U, xs[0]], tolerance=1e-11)
    text = scan.source(cell, xs, mg.Tensor(numbers(32, 64)))
    assert text.count("and_1[..., 0:8] = ") == 2 and text.count("concatenate((") == 2


def test_a_number_as_a_condition():
    """Its array is read within ``not_equal(…)`` alone, also on the way back."""
    U = mg.parameter(0.3 * numbers(4, 4))

    def cell(x, h):
        h = np.where(np.maximum(x, 0), np.tanh(x + h @ U), h)
        return h, h
    assert_same(cell, numbers(6, 2, 4), numbers(2, 4), parameters=[U])


def test_what_is_zero_stays_zero():
    """The gradient of a slice is zero beside it: its array is not one that something else was written into, here [x, 1]."""
    W, V, b, U = (mg.parameter(0.1 * numbers(*shape, seed=k)) for k, shape in enumerate([(3, 64), (3, 4), (64,), (64, 64)]))

    def cell(x, h):
        h = np.tanh(x @ W + b + h @ U)
        return np.tanh(x @ V)[..., 1:3], h
    assert_same(cell, numbers(3, 32, 3), numbers(32, 64), parameters=[W, V, b, U], tolerance=1e-11)


def test_a_large_product_twice_in_a_sum():
    U = mg.parameter(0.1 * numbers(128, 256))

    def cell(x, h):
        a = h @ U
        a = a + a
        return np.tanh(a[..., :128]), x * np.tanh(a[..., 128:])
    assert_same(cell, numbers(3, 32, 128), numbers(32, 128), parameters=[U], tolerance=1e-11)


def language_cell(reduction, V=5):
    H = 4
    p = [mg.parameter(numbers(*s, seed=k) * 0.7) for k, s in enumerate([(V, H), (H, H), (H,), (H, V), (V,)])]
    W_x, W_h, b, W_y, b_y = p

    def cell(xy, h):
        x, y = xy
        h = np.tanh(x @ W_x + h @ W_h + b)
        return mg.softmax_cross_entropy(h @ W_y + b_y, y, reduction=reduction), h
    return cell, p


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("targets", ["classes", "probabilities"])
def test_the_loss_in_the_cell(reduction, targets):
    """xs may be nested: inputs and targets together, and the loss of a step is its output."""
    cell, p = language_cell(reduction)
    rng = np.random.default_rng(0)
    y = rng.integers(0, 5, (6, 3)) if targets == "classes" else rng.dirichlet(np.ones(5), (6, 3))
    assert_same(cell, (numbers(6, 3, 5), y), numbers(3, 4), parameters=p)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("batch", [(), (1,), (1, 1), (2, 3)])
def test_the_loss_of_few_rows(reduction, batch):
    """Of one row there is nothing to add."""
    W, U, V = (mg.parameter(numbers(*s, seed=k)) for k, s in enumerate([(5, 4), (4, 4), (4, 6)]))

    def cell(xy, h):
        x, y = xy
        h = np.tanh(x @ W + h @ U)
        return 2 * mg.softmax_cross_entropy(h @ V, y, reduction=reduction), h
    targets = np.random.default_rng(1).integers(0, 6, (4, *batch))
    assert_same(cell, (numbers(4, *batch, 5), targets), numbers(*batch, 4), parameters=[W, U, V])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses_of_the_parts_of_a_product(reduction):
    """The gradients of their logits are parts of one array, that of x is an array of its own."""
    W, U = (mg.parameter(numbers(*s, seed=k)) for k, s in enumerate([(5, 4), (4, 7)]))

    def cell(xy, h):
        x, y = xy
        h = np.tanh(x @ W + h)
        z = h @ U
        return sum(mg.softmax_cross_entropy(logits, y, reduction=reduction) for logits in (z[..., :3], z[..., 3:], x)), h
    targets = np.random.default_rng(1).integers(0, 3, (6, 3))
    assert_same(cell, (mg.parameter(numbers(6, 3, 5)), targets), numbers(3, 4), parameters=[W, U])


def test_a_target_that_is_no_class():
    cell, _ = language_cell("sum")
    xs, h = numbers(4, 3, 5), mg.Tensor(np.zeros((3, 4)))
    scan(cell, (xs, np.zeros((4, 3), int)), h)
    for bad in (5, -1):
        with pytest.raises(ValueError, match=f"softmax_cross_entropy at t=1 got target {bad}|got target {bad}"):
            scan(cell, (xs, np.full((4, 3), bad)), h)


def test_a_target_that_is_no_class_of_more_than_its_dtype_counts():
    """As a number without sign, -1 of one byte would be class 255."""
    cell, _ = language_cell("sum", 300)
    xs, h = numbers(4, 3, 300), mg.Tensor(np.zeros((3, 4)))
    scan(cell, (xs, np.zeros((4, 3), np.int8)), h)
    with pytest.raises(ValueError, match="got target -1"):
        scan(cell, (xs, np.full((4, 3), -1, np.int8)), h)


def test_parameters_are_those_of_today():
    cell, xs = mg.GRUCell(3, 4), numbers(5, 2, 3)
    for _ in range(3):
        assert np.array_equal(scan(cell, xs)[0].data, scan(cell, xs)[0].data)
        assert np.allclose(scan(cell, xs)[0].data, mg.unroll(cell, xs)[0].data, rtol=1e-13, atol=0)
        for p in cell.parameters().values():
            p.data = p.data * 0.9


def test_two_cells_of_one_kind_do_not_mix():
    a, b = (mg.RNNCell(3, 4, rng=np.random.default_rng(k)) for k in (0, 1))
    xs = numbers(5, 2, 3)
    scan(a, xs)
    assert np.allclose(scan(b, xs)[0].data, mg.unroll(b, xs)[0].data, rtol=1e-13, atol=0)


def test_parameters_computed_outside_keep_their_gradient():
    A, U = mg.parameter(numbers(4, 4)), mg.parameter(numbers(3, 4))
    xs, h0 = numbers(5, 2, 3), mg.Tensor(np.zeros((2, 4)))
    loss = {}
    for how in (scan, mg.unroll):
        W = A - A.mT                                    # on the tape outside

        def cell(x, h):
            h = np.tanh(x @ U + h @ W + h @ (A * 0.1).mT)          # and inside, of parameters alone
            return h, h
        loss[how] = [g.data for g in mg.grad((how(cell, xs, h0)[0] ** 2).sum(), [A, U])]
    for ours, theirs in zip(loss[scan], loss[mg.unroll]):
        assert np.allclose(ours, theirs, rtol=1e-12, atol=1e-14)


def test_several_scans_in_one_graph():
    a, b, xs = mg.RNNCell(3, 4), mg.GRUCell(4, 2), numbers(5, 2, 3)

    def loss(how):
        middle, _ = how(a, xs)
        top, last = how(b, np.tanh(middle) * 2)
        again, _ = how(b, middle, last)
        return mg.grad((top * again).sum(), [*a.parameters().values(), *b.parameters().values()])
    for ours, theirs in zip(loss(scan), loss(mg.unroll)):
        assert np.allclose(ours.data, theirs.data, rtol=1e-12, atol=1e-14)


def test_a_second_backward_and_higher_orders():
    cell, xs = mg.LSTMCell(3, 4), numbers(5, 2, 3)
    ys, (h, c) = scan(cell, xs)
    loss = (ys * ys).sum() + c.sum()
    loss.backward()
    once = cell.W_h.grad.copy()
    loss.backward()
    assert np.allclose(cell.W_h.grad, 2 * once, rtol=1e-14)
    plain = mg.unroll(cell, xs)
    assert np.allclose(mg.jacobian(h, cell.b).data, mg.jacobian(plain[1][0], cell.b).data, rtol=1e-12, atol=1e-15)
    found = []
    for loss in (loss, (plain[0] * plain[0]).sum() + plain[1][1].sum()):
        first, = mg.grad(loss, [cell.W_h], create_graph=True)
        found.append(mg.grad((first * first).sum(), [cell.W_x])[0].data)
    assert np.allclose(*found, rtol=1e-11, atol=1e-13)


def test_without_recording_and_without_gradients():
    cell, xs = mg.LSTMCell(3, 4), numbers(5, 2, 3)
    with mg.no_grad():
        ys, (h, c) = scan(cell, xs)
    assert not ys.requires_grad and not h.requires_grad
    assert np.array_equal(ys.data, mg.unroll(cell, xs)[0].data) or np.allclose(ys.data, mg.unroll(cell, xs)[0].data, rtol=1e-14)


def test_the_callers_arrays_may_change_afterwards():
    cell, xs = mg.RNNCell(3, 4), numbers(5, 2, 3)
    ys, _ = scan(cell, xs)
    xs[:] = 0
    ys.sum().backward()
    other = mg.RNNCell(3, 4)
    mg.unroll(other, numbers(5, 2, 3))[0].sum().backward()
    assert np.allclose(cell.W_x.grad, other.W_x.grad, rtol=1e-13)


def test_a_changed_parameter_is_noticed():
    cell = mg.RNNCell(3, 4)
    ys, _ = scan(cell, numbers(5, 2, 3))
    cell.W_h.data = cell.W_h.data * 2
    with pytest.raises(RuntimeError, match="changed after scan"):
        ys.sum().backward()


def test_truncated_bptt():
    cell, state = mg.LSTMCell(3, 4), None
    for part in np.split(numbers(12, 2, 3), 3):
        ys, state = scan(cell, part, state)
        (ys * ys).sum().backward()
        state = mg.detach(state)
    other, state = mg.LSTMCell(3, 4), None
    for part in np.split(numbers(12, 2, 3), 3):
        ys, state = mg.unroll(other, part, state)
        (ys * ys).sum().backward()
        state = mg.detach(state)
    assert np.allclose(cell.W_h.grad, other.W_h.grad, rtol=1e-12)


# ---- what cannot be compiled ----------------------------------------------------------------------------------------------
W, U = mg.parameter(numbers(3, 4)), mg.parameter(0.4 * numbers(4, 4))


def step(x, h):
    return np.tanh(x @ W + h @ U)


class Counter(mg.Module):
    def __init__(self):
        self.t = 0

    def __call__(self, x, h):
        self.t += 1
        h = step(x, h) * (1 + 0.1 * self.t)
        return h, h


class SometimesAnother(mg.Module):
    def __init__(self):
        self.calls = [0]

    def __call__(self, x, h):
        self.calls[0] += 1
        h = step(x, h) * (0.5 if self.calls[0] % 4 == 0 else 1.0)
        return h, h


class Dropping(mg.Module):
    def __init__(self):
        self.rng = np.random.default_rng(0)

    def __call__(self, x, h):
        h = step(x, h) * (self.rng.random((2, 4)) < 0.5)
        return h, h


def closure():
    t = 0

    def cell(x, h):
        nonlocal t
        t += 1
        h = step(x, h) * (0.5 if t > 3 else 1.0)
        return h, h
    return cell


def reading(x, h):
    return (step(x, h) * float(h.data.mean()),) * 2


def branching(x, h):
    return (step(x, h) if h.sum() > 0 else step(x, h) * 2,) * 2


def asking(x, h):
    return (step(x, h) if (h > 0).any() else step(x, h) * 2,) * 2


def constant(x, h):
    return mg.Tensor(np.zeros((2, 4))), step(x, h)


@pytest.mark.parametrize("make, reason", [
    (Counter, "two runs of its step differ"), (SometimesAnother, "changes self.calls"), (Dropping, "draws random numbers"),
    (closure, "changes t;"), (lambda: reading, "reading .data"), (lambda: branching, r"bool\(\)"), (lambda: asking, r"any\(\)"),
    (lambda: constant, "its output does not depend on x or the state")])
def test_what_cannot_be_compiled_is_unrolled_and_says_why(make, reason):
    xs, h0 = numbers(9, 2, 3), mg.Tensor(np.zeros((2, 4)))
    with pytest.warns(NotCompiled, match=reason):
        ours = scan(make(), xs, h0)[0].data
    assert np.array_equal(ours, mg.unroll(make(), xs, h0)[0].data)              # and the cell was left as it was


def test_a_program_that_is_wrong_is_not_used(monkeypatch):
    """The first call compares with the unroll: a wrong statement in the program makes it fall back."""
    from minigrad.compile import emit
    written = emit.Writer.write

    def wrong(self):
        return written(self).replace("subtract(one, ", "add(one, ")
    monkeypatch.setattr(emit.Writer, "write", wrong)

    def cell(x, h):
        return (step(x, h),) * 2
    with pytest.warns(NotCompiled, match="its program and the unroll differ in a gradient within the first 5 steps"):
        scan(cell, numbers(5, 2, 3), mg.Tensor(np.zeros((2, 4))))


def test_a_captured_number_may_change_between_calls():
    scale, xs, h0 = [1.0], numbers(5, 2, 3), mg.Tensor(np.zeros((2, 4)))

    def cell(x, h):
        return (step(x, h) * scale[0],) * 2
    for scale[0] in (1.0, 2.0, 3.0, 1.0, 4.0):
        assert np.array_equal(scan(cell, xs, h0)[0].data, mg.unroll(cell, xs, h0)[0].data)
    with pytest.warns(NotCompiled, match="0-d mg.Tensor"):
        scale[0] = 5.0
        assert np.array_equal(scan(cell, xs, h0)[0].data, mg.unroll(cell, xs, h0)[0].data)


def test_a_captured_array_may_change_before_backward():
    mask, xs, h0 = np.full((2, 4), 0.5), numbers(5, 2, 3), mg.Tensor(np.zeros((2, 4)))

    def cell(x, h):
        return (step(x, h) * mask,) * 2
    found = []
    for how in (scan, scan, mg.unroll):                 # the first call makes the program, the second finds it
        ys, _ = how(cell, xs, h0)
        mask[:] = 7.0
        found.append(mg.grad((ys * ys).sum(), [U])[0].data)
        mask[:] = 0.5
    assert np.allclose(found[0], found[2], rtol=1e-12) and np.allclose(found[1], found[2], rtol=1e-12)


def test_infinity_is_a_number_too():
    def cell(x, h):
        return (np.minimum(step(x, h), np.inf),) * 2
    assert_same(cell, numbers(4, 2, 3), numbers(2, 4), parameters=[W, U])


def test_a_complex_step_goes_through():
    cell, xs = mg.GRUCell(3, 4), numbers(4, 2, 3)
    report = mg.check.gradcheck(lambda: (scan(cell, xs)[0] ** 2).sum(), cell)
    assert report.ok and all(row.error < 1e-13 for row in report.rows)


def test_a_captured_array_may_change_between_calls():
    mask, xs, h0 = np.ones((2, 4)), numbers(5, 2, 3), mg.Tensor(np.zeros((2, 4)))

    def cell(x, h):
        return (step(x, h) * mask,) * 2
    for k in range(3):
        mask[:] = k
        assert np.array_equal(scan(cell, xs, h0)[0].data, mg.unroll(cell, xs, h0)[0].data)


@pytest.mark.parametrize("cell, xs, error, message", [
    (lambda x, h: (np.concatenate([h, h], axis=-1),) * 2, numbers(5, 2, 3), ValueError, "changed its state at t=1"),
    (lambda x, h: (x @ U, h), numbers(5, 2, 3), ValueError, "inner sizes 3 and 4"),
    (lambda x, h: (h, h, h), numbers(5, 2, 3), TypeError, "returned 3 things at t=1"),
    (lambda x, h: (step(x, h),) * 2, numbers(0, 2, 3), ValueError, "0 steps"),
    (3, numbers(5, 2, 3), TypeError, "expected a callable")])
def test_bad_input_is_told_as_the_unroll_tells_it(cell, xs, error, message):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(error, match=message):
            scan(cell, xs, mg.Tensor(np.zeros((2, 4))))


def test_debug_looks_at_every_op():
    cell = mg.RNNCell(3, 4)
    xs = numbers(5, 2, 3)
    xs[3, 0, 0] = np.nan
    with mg.debug(), pytest.raises(FloatingPointError, match="t=4"):
        scan(cell, xs)


# ---- the program ------------------------------------------------------------------------------------------------------------
def test_the_source_runs_alone():
    """Only NumPy is imported; forward and backward are those of the Elman network derived by hand."""
    cell, xs, G = mg.RNNCell(3, 4), numbers(5, 2, 3), numbers(5, 2, 4, seed=1)
    text = source(cell, xs)
    assert {line.split()[1] for line in text.splitlines() if line.startswith(("import", "from"))} == {"numpy"}
    scope: dict = {}
    exec(text, scope)
    forward, backward = scope["bptt"](5)
    W_x, W_h, b = (p.data for p in cell.parameters().values())
    h0 = np.zeros((2, 4))
    ys, last = (a.copy() for a in forward(xs, h0, W_x, W_h, b))
    _, dh0, dW_x, dW_h, db = backward(xs, W_x, W_h, b, G, np.zeros((2, 4)))
    h = [h0]
    for x in xs:
        h.append(np.tanh(x @ W_x + h[-1] @ W_h + b))
    carry, g = np.zeros((2, 4)), [np.zeros_like(p) for p in (W_x, W_h, b)]
    for t in range(4, -1, -1):
        da = (G[t] + carry) * (1 - h[t + 1] ** 2)
        g = [g[0] + xs[t].T @ da, g[1] + h[t].T @ da, g[2] + da.sum(0)]
        carry = da @ W_h.T
    for ours, by_hand in zip([ys, last, dW_x, dW_h, db, dh0], [np.stack(h[1:]), h[-1], *g, carry]):
        assert np.abs(ours - by_hand).max() <= 1e-13 * np.abs(by_hand).max()


def test_the_source_uses_the_authors_names():
    text = source(mg.LSTMCell(3, 4), numbers(5, 2, 3))
    for name in ("def forward(x, h_0, c_0, W_x, W_h, b)", "dW_x = ", "dW_h = ", "db = "):
        assert name in text


def test_the_source_is_the_same_every_time():
    assert source(mg.GRUCell(3, 4), numbers(5, 2, 3)) == source(mg.GRUCell(3, 4), numbers(7, 2, 3))


@pytest.mark.parametrize("name", CELLS)
def test_every_source_runs_alone(name):
    cell = getattr(mg, name)(3, 4)
    exec(source(cell, numbers(5, 2, 3)), scope := {})
    assert callable(scope["bptt"](5)[1])


def test_no_source_for_what_cannot_be_compiled():
    with pytest.raises(CannotTrace, match="branching has no program: bool"):
        source(branching, numbers(5, 2, 3), mg.Tensor(np.zeros((2, 4))))


# ---- keeping house ----------------------------------------------------------------------------------------------------------
def test_rooms_are_used_again_and_given_back():
    cell, xs = mg.RNNCell(3, 4), numbers(5, 2, 3)
    for _ in range(20):
        ys, _ = scan(cell, xs)
        ys.sum().backward()
        scan(cell, xs)                                  # nobody goes back
        del ys
    gc.collect()
    rooms = [len(free) for programs, _ in call._programs.values() for p in programs for free in p.rooms.values()]
    assert rooms and max(rooms) <= 2


def test_the_cache_is_bounded():
    cell = mg.RNNCell(2, 2)
    for B in range(1, call.SIGNATURES + 10):
        scan(cell, numbers(2, B, 2))
    assert len(call._programs) <= call.SIGNATURES


def test_threads_do_not_mix():
    cell, xs, found = mg.GRUCell(3, 4), [numbers(6, 2, 3, seed=k) for k in range(4)], {}

    def work(k):
        for _ in range(25):
            ys, _ = scan(cell, xs[k])
            found.setdefault(k, []).append(mg.grad((ys * ys).sum(), [cell.W_h])[0].data)
    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for k in range(4):
        ys, _ = mg.unroll(cell, xs[k])
        expected = mg.grad((ys * ys).sum(), [cell.W_h])[0].data
        assert len(found[k]) == 25 and all(np.allclose(g, expected, rtol=1e-12, atol=1e-14) for g in found[k])


# ---- readers ------------------------------------------------------------------------------------------------------------------
def test_readers_see_the_unrolled_graph():
    cell, V, xs = mg.LSTMCell(3, 4), mg.parameter(numbers(4, 2), name="V"), numbers(3, 2, 3)

    def loss(how):
        ys, (h, c) = how(cell, xs)
        return mg.softmax_cross_entropy(ys @ V, np.zeros((3, 2), int)) + (c * c).sum()
    ours, theirs = loss(scan), loss(mg.unroll)
    outline = [[(n.op.name if n.op else n.kind, n.name, n.step, n.inputs) for n in graph.nodes[:-1]]
               for graph in map(mg.graph.Graph.of, (ours, theirs))]
    assert outline[0] == outline[1]
    ours.name = theirs.name = "L"
    assert mg.draw(ours, heat=True).svg() == mg.draw(theirs, heat=True).svg()


def test_the_node_of_a_scan_is_an_op_like_others():
    """Its value is that of its inputs, whatever they are, and its gradient is kept where all are asked for."""
    cell, xs = mg.LSTMCell(3, 4, rng=np.random.default_rng(0)), np.random.default_rng(1).standard_normal((5, 2, 3))
    ys, (h, c) = mg.scan(cell, xs)
    node = ys.inputs[0]
    for x in node.inputs:
        if x.requires_grad and x.op is None:
            x.data = 2 * x.data
    expected = mg.unroll(cell, xs)
    packed = node.op.evaluate(*[x.data for x in node.inputs], **node.attributes)
    for got, of_unroll in zip((ys, h, c), (expected[0], *expected[1])):
        assert np.allclose(got.op.evaluate(packed, **got.attributes), of_unroll.data, rtol=1e-12)

    ys, (h, c) = mg.scan(cell, xs)
    (ys * ys).sum().backward(keep=True)
    start, stop = ys.attributes["start"], ys.attributes["stop"]
    assert np.array_equal(ys.inputs[0].grad[start:stop].reshape(ys.shape), 2 * ys.data)
    assert not np.delete(ys.inputs[0].grad, np.arange(start, stop)).any()
