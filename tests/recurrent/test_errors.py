"""What cells and sequences say to bad input. Every test reads the message."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.recurrent.initial import uniform

cell = mg.RNNCell(2, 4)
XS = np.ones((3, 5, 2))


@pytest.mark.parametrize("make, message", [
    (lambda: mg.RNNCell(0, 4), "RNNCell got input_size=0; expected a positive integer"),
    (lambda: mg.GRUCell(2, 3.0), "GRUCell got hidden_size=3.0"),
    (lambda: mg.LSTMCell("2", 3), "LSTMCell got input_size='2'"),
    (lambda: mg.RNNCell(2, True), "RNNCell got hidden_size=True; expected a positive integer"),
    (lambda: mg.RNNCell(2, 4, nonlinearity="sin"), "got nonlinearity='sin'; expected one of 'tanh', 'relu'"),
    (lambda: mg.GRUCell(2, 4, reset="never"),
     r"got reset='never'; expected 'after' \(PyTorch's variant\) or 'before' \(the paper's\)"),
])
def test_making_a_cell(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make, message", [
    (lambda: mg.RNNCell(2, 4, rng=42),
     r"rng must be a numpy.random.Generator, got int; use np.random.default_rng\(seed\)"),
    (lambda: uniform(np.random, 1.0, float, (2,)), "rng must be a numpy.random.Generator"),
    (lambda: mg.stacked(), r"stacked\(\) needs one or more cells"),
    (lambda: mg.stacked(cell, 3), "needs one or more cells"),
    (lambda: mg.bidirectional(cell, cell)(np.ones((2, 2, 3)), over="scan"), "got over='scan'; expected mg.unroll or mg.scan"),
    (lambda: mg.bidirectional(cell, None), r"bidirectional\(\) got a NoneType; expected two cells"),
    (lambda: mg.stacked(cell, mg.GRUCell), r"stacked\(\) got the class GRUCell; expected a cell: GRUCell\(input_size, hidden_size\)"),
    (lambda: mg.zoneout(mg.RNNCell, 0.1), "zoneout got the class RNNCell; expected a cell"),
])
def test_making_of_cells_from_the_wrong_things(make, message):
    with pytest.raises(TypeError, match=message):
        make()


class OnlyBatches(mg.Module):
    def initial_state(self, batch_size):
        return mg.Tensor(np.zeros((batch_size, 2)))

    def __call__(self, x, h):
        return h, h


@pytest.mark.parametrize("run, kind, message", [
    (lambda: mg.unroll(XS, cell), TypeError,
     r"unroll got ndarray as cell; expected a callable y, state = cell\(x, state\).*order: unroll\(cell, xs, state\)"),
    (lambda: mg.unroll(lambda x, s: (x, s), XS), TypeError,
     r"<lambda> has no initial_state\(batch_size\); pass state="),
    (lambda: mg.unroll(mg.stacked(cell, lambda x, h: (h, h)), XS), TypeError,
     r"stacked\(\): <lambda> has no initial_state\(batch_size\); pass state= to unroll, or give it one"),
    (lambda: mg.unroll(OnlyBatches(), XS[:, 0]), TypeError,
     r"xs has no batch axis, so OnlyBatches.initial_state was called with None; let it give a state without a batch then, or pass xs\["),
    (lambda: mg.unroll(mg.RNNCell, XS), TypeError, r"unroll got the class RNNCell; expected a cell: RNNCell\(input_size, hidden_size\)"),
    (lambda: mg.unroll(len, XS), TypeError, "unroll got len, a function of Python's or NumPy's own, as cell; expected a callable y, state"),
    (lambda: mg.unroll(np.tanh, XS, XS[0]), TypeError, "unroll got tanh, a function of Python's or NumPy's own, as cell"),
    (lambda: mg.unroll(cell, XS[:0]), ValueError, "a sequence of 0 steps; expected at least one"),
    (lambda: mg.unroll(cell, 3.0), ValueError, r"got float64 of shape \(\); expected numbers of shape \(T, …\)"),
    (lambda: mg.unroll(cell, mg.Tensor(3.0)), ValueError, "0-d Tensor; expected shape"),
    (lambda: mg.unroll(cell, ["a", "b"]), ValueError, "got <U1 of shape"),
    (lambda: next(mg.steps()), TypeError, "needs a sequence"),
    (lambda: next(mg.steps(XS, XS[:2])), ValueError,
     r"sequences of lengths \[3, 2\]; all must have the same number of steps"),
])
def test_calling_with_the_wrong_things(run, kind, message):
    with pytest.raises(kind, match=message):
        run()


@pytest.mark.parametrize("lengths, message", [
    ([3, 3, 4, 3, 3], "got length 4 for row 2 of xs with 3 steps; expected 0 … 3"),
    ([3, -1, 3, 3, 3], "length -1 for row 1"),
    ([3, 3], r"lengths of shape \(2,\), dtype int64; expected 5 integers, one per row"),
    ([[1], [1, 2]], "unroll: lengths: expected a rectangular array of numbers"),
    ([3.0] * 5, "dtype float64; expected 5 integers"),
])
def test_lengths(lengths, message):
    with pytest.raises(ValueError, match=message):
        mg.unroll(cell, XS, lengths=lengths)


def test_lengths_without_a_batch():
    with pytest.raises(ValueError, match="lengths for xs without a batch axis"):
        mg.unroll(cell, XS[:, 0], lengths=[3])


def growing(x, h):
    h = np.concatenate([h, x], axis=-1)
    return h, h


def late(x, h):
    h = np.concatenate([h, h], axis=0) if x.data[0, 0] == 2 else h * 1
    return h, h


def swapped(x, state):
    h, c = state
    return (h, c), h


def late_inside(x, state):
    h, memory = state
    return h, (h * 1, [np.concatenate([memory[0], h]) if x.data[0, 0] == 1 else memory[0]])


H0 = mg.parameter(np.ones((5, 2)))


@pytest.mark.parametrize("cell, xs, state, message", [
    (growing, XS, H0,
     r"growing changed its state at t=1: it took float64 \(5, 2\) and returned float64 \(5, 4\); a state keeps"),
    (late, np.arange(3.0)[:, None, None] + 0 * XS, H0,
     r"late changed its state at t=3: it took float64 \(5, 2\) and returned float64 \(10, 2\)"),
    (late_inside, np.arange(3.0)[:, None, None] + 0 * XS, (H0, [H0]),
     r"late_inside changed its state at t=2: it took \(float64 \(5, 2\), \(float64 \(5, 2\),\)\) and .*\(10, 2\)"),
    (swapped, XS, (H0, H0),
     r"took \(float64 \(5, 2\), float64 \(5, 2\)\) and returned float64 \(5, 2\).*\(y, state\) in this order"),
    (lambda x, s: (x, {"h": s}), XS, H0, r"returned {h: float64 \(5, 2\)}"),
    (lambda x, s: (x, None), XS, H0, "and returned None"),
    (lambda x, s: (x, (s,)), XS, H0, r"returned \(float64 \(5, 2\),\)"),
    (lambda x, s: (x, s.data.astype(np.float32)), XS, H0, r"returned float32 \(5, 2\)"),
])
def test_states_that_change(cell, xs, state, message):
    with pytest.raises(ValueError, match=message):
        mg.unroll(cell, xs, state)


@pytest.mark.parametrize("result, message", [
    (lambda x, s: x, "returned one Tensor at t=1; expected a pair"),
    (lambda x, s: (x, s, s), "returned 3 things at t=1"), (lambda x, s: None, "one NoneType"),
    (lambda x, s: [x, s], "one list"),
])
def test_cells_that_return_something_else(result, message):
    with pytest.raises(TypeError, match=message):
        mg.unroll(result, XS, H0)


@pytest.mark.parametrize("shown, called", [(lambda x: (x, x), "tuple"), (lambda x: None, "NoneType"), (lambda x: {"y": x}, "dict"),
                                           (lambda x: "y", "str")])
@pytest.mark.parametrize("every", [None, 2])
def test_outputs_that_are_no_array(shown, called, every):
    with pytest.raises(TypeError, match=rf"<lambda> returned a {called} as its output y at t=1; expected one Tensor: join several with "
                                        r"np.concatenate\(…, axis=-1\), or keep what is not shown in the state"):
        mg.unroll(lambda x, h: (shown(h), h), XS, H0, checkpoint_every=every)


@pytest.mark.parametrize("every", [None, 2])
def test_an_output_that_changes_its_shape(every):
    with pytest.raises(ValueError, match=r"<lambda> changed the shape of its output: all need one shape; it was \(5, 2\) in the first step "
                                         r"and is \(4, 2\) at t=3"):
        mg.unroll(lambda x, k: (x[:4] if k.item() == 2 else x, k + 1), XS, mg.Tensor(0), checkpoint_every=every)


@pytest.mark.parametrize("every", [None, 2])
def test_an_array_as_first_output_cuts_nothing(every):
    """Where a cell shows zeros before it has something to show, the later outputs keep their gradients."""
    W = mg.parameter(np.ones((2, 2)))
    ys, _ = mg.unroll(lambda x, k: (x @ W if k.item() else np.zeros((5, 2)), k + 1), XS, mg.Tensor(0), checkpoint_every=every)
    assert np.array_equal(mg.grad(ys.sum(), W)[0].data, np.full((2, 2), 10.))


class Fresh(mg.Module):
    """Makes its parameter in the step: anew each time, or once, when it is first called."""
    W = None

    def __init__(self, once):
        self.once = once

    def __call__(self, x, h):
        if self.W is None or not self.once:
            self.W = mg.parameter(np.eye(2))
        h = np.tanh(x @ self.W + h)
        return h, h


def test_a_parameter_made_inside_the_step():
    with pytest.raises(ValueError, match=r"Fresh made parameter 'W' of shape \(2, 2\) inside its step t=2: it would be a new one in every "
                                         r"step, and none would be trained. Make parameters once, in __init__ or outside the cell"):
        mg.unroll(Fresh(once=False), XS, H0)
    with pytest.raises(ValueError, match=r"<lambda> made a tensor of shape \(2,\) inside its step t=2"):
        mg.unroll(lambda x, h: (h, h + mg.parameter(np.ones(2))), XS, H0, reverse=True)
    with pytest.raises(ValueError, match="made parameter 'W'.* t=2"):
        mg.unroll(Fresh(once=False), XS, H0, lengths=[3, 3, 2, 1, 0], checkpoint_every=2)
    for every in (1, 2):
        with pytest.raises(ValueError, match="made parameter 'W'.* t=2"):
            mg.unroll(Fresh(once=False), XS, H0, checkpoint_every=every)
    lazy = Fresh(once=True)             # made in the first step, and used from then on
    mg.unroll(lazy, XS, H0)[0].sum().backward()
    assert lazy.W.grad.any()


def test_a_late_change_of_dtype():
    with pytest.raises(ValueError, match=r"changed its state at t=3: it took float64 \(5, 2\) and returned float32 \(5, 2\).*the dtype of the"):
        mg.unroll(lambda x, h: (x, h.astype(np.float32) if x.data[0, 0] == 2 else h * 1.0), np.arange(6.0)[:, None, None] * np.ones((5, 2)), H0)


def test_a_late_change_inside_a_nested_state_and_back():
    """Found at its step, also where the last state looks like the first again."""
    def flipping(x, state):
        h, k = state
        return h, (h.astype(np.float32 if x.data[0, 0] == 2 else float), k)
    with pytest.raises(ValueError, match=r"flipping changed its state at t=3: .* and returned \(float32"):
        mg.unroll(flipping, np.arange(6.0)[:, None, None] * np.ones((5, 2)), (H0, H0))


def test_batches_of_different_lengths():
    with pytest.raises(ValueError, match=r"steps\(\) got a list of arrays of shapes \[\(5, 2\), \(4, 2\)\]; all steps need one shape: pad the "
                                         r"shorter ones and pass lengths="):
        mg.unroll(cell, [np.ones((5, 2)), np.ones((4, 2))])


def test_rows_of_length_zero_keep_the_initial_state():
    start = mg.parameter(np.full((5, 4), 0.5))
    ys, h = mg.unroll(cell, XS, start, lengths=[0, 3, 0, 1, 0])
    assert np.array_equal(h.data[[0, 2, 4]], start.data[[0, 2, 4]]) and not ys.data[:, [0, 2, 4]].any()
    h.sum().backward()
    assert np.array_equal(start.grad[[0, 2, 4]], np.ones((3, 4)))
    ys, h = mg.unroll(cell, XS, start, lengths=[0] * 5)
    assert np.array_equal(h.data, start.data) and not ys.data.any()


def test_an_initial_state_of_another_batch():
    with pytest.raises(ValueError, match=r"RNNCell changed its state at t=1: it took float64 \(1, 4\).*batch size"):
        mg.unroll(cell, XS, mg.Tensor(np.zeros((1, 4))))


def test_a_sequence_of_another_dtype_than_the_cell():
    with pytest.raises(ValueError, match=r"took float32 \(5, 4\) and returned float64 \(5, 4\).*xs.astype\(np.float32\)"):
        mg.unroll(mg.RNNCell(2, 4, dtype=np.float32), XS)


def test_wrong_shapes_say_op_step_and_parameter():
    with pytest.raises(ValueError,
                       match=r"matmul at t=1 got \(5, 3\), W_x \(2, 4\): .*The inner sizes 3 and 2 must be equal"):
        mg.unroll(cell, np.ones((3, 5, 3)))
    with pytest.raises(ValueError, match=r"matmul at t=1 got \(5, 2\), W_h \(4, 4\)"):
        mg.unroll(cell, XS, mg.Tensor(np.ones((5, 2))))
    h = mg.Tensor(np.ones((5, 4)))
    with pytest.raises(ValueError, match=r"at t=2 got"):
        for x in mg.steps([mg.Tensor(np.ones((5, 2))), mg.Tensor(np.ones((5, 3)))]):
            _, h = cell(x, h)


def test_nan_is_found_at_its_step():
    xs = XS.copy()
    xs[1] = np.nan
    with mg.debug(), pytest.raises(FloatingPointError,
                                   match=r"matmul at t=2 made nan at \(0, 0\) \(inputs \(5, 2\) without"):
        mg.unroll(cell, xs)
    with mg.debug(), pytest.raises(FloatingPointError,
                                   match="gradient of sqrt at t=3 made NaN or infinity"), np.errstate(all="ignore"):
        ys, _ = mg.unroll(lambda x, s: (np.sqrt(s * 0.0), s * 1), XS, H0)
        ys.sum().backward()


# ---- losses ----------------------------------------------------------------------------------------------------------
LOGITS = mg.parameter(np.zeros((2, 3)))


@pytest.mark.parametrize("run, message", [
    (lambda: mg.softmax_cross_entropy(LOGITS, [0, 3]),
     r"got target 3 at \(1,\) for logits of shape \(2, 3\); expected class numbers 0 … 2"),
    (lambda: mg.softmax_cross_entropy(LOGITS, np.array([0, -1])), r"got target -1 at \(1,\)"),
    (lambda: mg.softmax_cross_entropy(LOGITS, np.array([5, -1])), r"got target 5 at \(0,\)"),         # the first of them
    (lambda: mg.softmax_cross_entropy(LOGITS, mg.Tensor([0, 7])), r"got target 7 at \(1,\)"),
    (lambda: mg.softmax_cross_entropy(LOGITS[0], np.array(3)), r"got target 3 at \(\) for logits of shape \(3,\)"),      # as they were given
    (lambda: mg.softmax_cross_entropy(LOGITS, [0.0, 1.0]),
     r"integer classes must have an integer dtype: targets.astype\(int\)"),
    (lambda: mg.softmax_cross_entropy(np.array([0, 1]), LOGITS), "were the arguments swapped\\? logits come first"),
    (lambda: mg.softmax_cross_entropy(np.array([0, 1]), LOGITS, mask=[1, 1]), "were the arguments swapped\\? logits come first"),
    (lambda: mg.softmax_cross_entropy(LOGITS, [0, 1, 2]),
     r"targets of shape \(3,\), dtype int64; expected integer classes of shape \(2,\) or probabilities of .* \(2, 3\)$"),
    (lambda: mg.softmax_cross_entropy(LOGITS, [0, 1], reduction="average"),
     "reduction='average'; expected 'mean', 'sum' or 'none'"),
    (lambda: mg.softmax_cross_entropy(mg.parameter(1.0), 0), "logits without a class axis"),
    (lambda: mg.softmax_cross_entropy(LOGITS, [0, 1], mask=[True]), r"mask of shape \(1,\); expected \(2,\)"),
    (lambda: mg.softmax_cross_entropy(LOGITS, [0, 1], mask=[0, 0]), "mask without a single unmasked element"),
    (lambda: mg.binary_cross_entropy(LOGITS, np.ones(2)),
     r"binary_cross_entropy got predictions of shape \(2, 3\) and targets of shape \(2,\)"),
    (lambda: mg.squared_error(LOGITS, np.ones((2, 1))), "reshape one of them"),
    (lambda: mg.squared_error(LOGITS, LOGITS, reduction=""), "reduction=''"),
])
def test_losses(run, message):
    with pytest.raises(ValueError, match=message):
        run()
