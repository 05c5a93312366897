"""NaN and infinity: the message names the step, the op, the time step and the cell, and nothing has moved."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.train import SGD, fit


class Rooted(mg.Module):
    """h_t = √(h_{t-1} − x_t) + 0 · W: NaN once x has eaten h up; with a root of 0, an infinite gradient."""

    def __init__(self):
        self.W = mg.parameter(np.ones(2), name="W")

    def initial_state(self, batch_size):
        return mg.Tensor(np.full((batch_size, 2), 16.0))

    def __call__(self, x, h):
        h = np.sqrt(h * self.W - x)
        return h, h


class Net(mg.Module):
    def __init__(self, *, stacked=False):
        self.cell = mg.stacked(mg.RNNCell(2, 2, rng=np.random.default_rng(0)), Rooted()) if stacked else Rooted()

    def loss(self, xs):
        return mg.unroll(self.cell, xs)[0].sum()


def message(model, batches, loss=None, **options):
    before = model.state_dict()
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError) as raised:
        fit(loss or model.loss, model, batches, optimizer=SGD(model, 1e-3), progress=False, **options)
    return str(raised.value), before


def inputs(**at):
    """Zeros (5, 1, 2), but what is given at t=…"""
    xs = np.zeros((5, 1, 2))
    for t, value in at.items():
        xs[int(t[1:]) - 1] = value
    return xs


def test_a_loss_of_nan_names_step_op_time_and_cell():
    model = Net()
    text, _ = message(model, [inputs(), inputs(), inputs(t3=100)])
    assert text.startswith("at step 3: the loss is nan: sqrt at t=3 made nan at (0, 0)"), text
    assert "test_failure.py" in text and "in Rooted 'cell'" in text and "learning_rate" in text


def test_a_cell_that_does_not_say_self_is_named():
    class Unusual(Rooted):
        def __call__(cell, x, h):
            h = np.sqrt(h * cell.W - x)
            return h, h
    model = Net()
    model.cell = Unusual()
    text, _ = message(model, [inputs(t3=100)])
    assert "in Unusual 'cell'" in text


def test_the_layer_of_a_stack_is_named():
    model = Net(stacked=True)
    text, _ = message(model, [inputs()], loss=lambda xs: mg.unroll(model.cell.cells[1], xs + 100)[0].sum())
    assert "sqrt at t=1" in text and "in Rooted 'cell.cells.1'" in text
    text, _ = message(model, [inputs()], loss=lambda xs: mg.unroll(mg.stacked(model.cell.cells[1], mg.RNNCell(2, 2)), xs[:1] + 16)[0].sum())
    assert "the gradient of sqrt at t=1" in text and "of the batch" not in text and "in Rooted 'cell.cells.1'" in text
    text, _ = message(model, [inputs(t2=np.inf)])
    assert "at t=2 made" in text and "in RNNCell 'cell.cells.0'" in text and "Array 0 of the batch, of shape (5, 1, 2), holds NaN" in text


def test_a_gradient_of_infinity_names_parameter_op_time_and_cell():
    model = Net()
    text, before = message(model, [inputs(t2=4, t3=-9)])            # √(4 − 4) = 0 at t=2, and the loss is finite
    assert text.startswith("at step 1: the gradient of 'cell.W' holds NaN or infinity: the gradient of sqrt at t=2"), text
    assert "in Rooted 'cell'" in text and "mg.debug" not in text
    assert np.array_equal(model.cell.W.data, before["cell.W"])


def test_nothing_has_moved_and_the_run_can_go_on(tmp_path):
    """The failing step draws, fails, is run again for the message, and draws the same numbers when it is taken up."""
    w, rng = mg.parameter([1.0], name="w"), np.random.default_rng(0)
    draws = []

    def loss(scale):
        draws.append(rng.random())
        return (np.log(w * scale) * draws[-1]).sum()
    optimizer = SGD([w], 0.1)
    fit(loss, [w], [1.0], optimizer=optimizer, progress=False)
    state, data = rng.bit_generator.state, w.data.copy()
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match=r"at step 1: the loss is nan: log made nan at \(0,\)"):
        fit(loss, [w], [-1.0], optimizer=optimizer, progress=False)
    assert rng.bit_generator.state == state and np.array_equal(w.data, data) and w.grad is None and draws[1] == draws[2]


def test_an_empty_batch_is_named():
    model = Net()
    with pytest.warns(RuntimeWarning):
        with pytest.raises(FloatingPointError, match=r"Array 0 of the batch is empty, of shape \(5, 0, 2\)"):
            fit(lambda xs: mg.unroll(model.cell, xs)[0].mean(), model, [np.zeros((5, 0, 2))], optimizer=SGD(model), progress=False)


def test_a_carried_state_and_a_loss_that_debug_mode_cannot_run():
    model = Net()

    def loss(x, h):
        ys, h = mg.unroll(model.cell, x, h)
        return ys.sum(), h
    text, _ = message(model, [inputs(t1=100)], loss=loss, state=model.cell.initial_state(1))
    assert "sqrt at t=1 made nan" in text

    def writing(scale):
        y = model.cell.W * 2
        model.cell.W.data[...] = 1                                  # refused by mg.debug(), which locks what is in use
        return (y * scale).sum()
    text, _ = message(model, [np.inf - np.inf], loss=writing)
    assert text.startswith("at step 1: the loss is nan. Parameters are as before")
