"""The probe: what is drawn, and what is said of one that cannot show a mistake."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.check.edges import Edges
from minigrad.check.probe import draw, probe, undecided

rng = np.random.default_rng(0)


def test_what_is_drawn_hides_nothing():
    p = probe(mg.GRUCell, seed=3)
    assert p.xs.shape == (4, 3, 5) and p.targets.shape == (4, 3) and p.targets.min() >= 0 and p.targets.max() == 6
    assert {name: x.shape for name, x in p.parameters.items()} == {
        "W_x": (5, 18), "W_h": (6, 18), "b_x": (18,), "b_h": (18,), "W_out": (6, 7), "b_out": (7,), "h_0": (3, 6)}
    assert all(x.data.all() for x in p.parameters.values()) and not undecided(Edges(p.loss))
    assert .65 < draw(100_000, np.random.default_rng(0)).std() < .75
    longer = probe(mg.GRUCell, rows=2, steps=9)
    assert longer.xs.shape == (9, 2, 5) and longer.parameters["h_0"].shape == (2, 6)


def test_the_loss_is_the_mean_over_rows_and_the_sum_over_steps():
    p = probe(mg.RNNCell)
    v = {name: x.data for name, x in p.parameters.items()}
    h, total = v["h_0"], 0.0
    for x, y in zip(p.xs, p.targets):
        h = np.tanh(x @ v["W_x"] + h @ v["W_h"] + v["b"])
        o = h @ v["W_out"] + v["b_out"]
        total += np.mean(np.log(np.exp(o).sum(1)) - o[np.arange(3), y])
    assert p.loss.item() == pytest.approx(total, rel=1e-12)


def test_states_are_called_by_the_cells_own_variables():
    assert [n for n in probe(mg.LSTMCell).parameters if n.endswith("_0")] == ["h_0", "c_0"]
    two = probe(mg.stacked(mg.RNNCell(5, 6), mg.RNNCell(6, 6)))
    assert [n for n in two.parameters if n.endswith("_0")] == ["1.h_0", "2.h_0"]


def test_a_class_says_the_input_size_and_a_count_in_the_state_stays_a_count():
    class Counting(mg.Module):
        def __init__(self, input_size, hidden_size):
            self.U = mg.parameter(np.ones((input_size, hidden_size)))

        def initial_state(self, batch_size):
            return mg.Tensor(np.zeros((batch_size, 6))), mg.Tensor(np.zeros(batch_size, int))

        def __call__(self, x, state):
            h, k = state
            h = np.tanh(x @ self.U + h)
            return h, (h, k + 1)
    p = probe(Counting)
    assert p.xs.shape == (4, 3, 5) and list(p.parameters) == ["U", "W_out", "b_out", "h_0"]


def test_a_cell_that_shows_no_input_size():
    class Odd(mg.Module):
        pass
    with pytest.raises(ValueError, match="probe cannot see the input size of this Odd: give it an attribute input_size, or pass its class"):
        probe(Odd())


def network(T=4, rows=3, h_0=None, W=None, every=True, h_is_parameter=True):
    W = mg.parameter(rng.standard_normal((6, 6)) if W is None else W, name="W")
    h = rng.standard_normal((rows, 6)) if h_0 is None else h_0
    h = mg.parameter(h, name="h_0") if h_is_parameter else mg.Tensor(h)
    total = 0.0
    for x in mg.steps(rng.standard_normal((T, rows, 6))):
        h = np.tanh(x + h @ W)
        total = total + h.sum() if every else h.sum()
    return total


SYMMETRIC = np.add.outer(np.arange(6.), np.arange(6.))
SAID = [
    (dict(), []),
    (dict(T=3), []),
    (dict(rows=1), ["the batch has one row: a sum over the batch and a mean are the same"]),
    (dict(rows=2), []),
    (dict(T=2), ["two time steps: truncation and powers of the Jacobian show with three or more"]),
    (dict(T=1), ["one time step: nothing is carried back, so no mistake in the recurrence shows"]),
    (dict(h_0=np.zeros((3, 6))), ["the initial state h_0 is 0: what it multiplies at step 1 does not show",
                                  "h_0 is small: functions are almost linear there, and their slopes almost 1"]),
    (dict(h_0=np.zeros((3, 6)), h_is_parameter=False), ["the initial state is 0: what it multiplies at step 1 does not show"]),
    (dict(h_0=np.eye(3, 6), h_is_parameter=False), []),
    (dict(W=.099 * rng.uniform(-1, 1, (6, 6))), ["W is small: functions are almost linear there, and their slopes almost 1"]),
    (dict(W=.09 * rng.uniform(-1, 1, (6, 6)), h_0=np.full((3, 6), .01)), [
        "W, h_0 are small: functions are almost linear there, and their slopes almost 1"]),
    (dict(W=.11 * np.triu(np.ones((6, 6)))), []),
    (dict(every=False), ["the loss enters at the last step only: what happens to earlier losses does not show"]),
    (dict(every=False, T=2), ["two time steps: truncation and powers of the Jacobian show with three or more",
                              "the loss enters at the last step only: what happens to earlier losses does not show"]),
    (dict(every=False, T=1), ["one time step: nothing is carried back, so no mistake in the recurrence shows"]),
    (dict(W=SYMMETRIC), ["W is symmetric: a forgotten transpose does not show"]),
]


@pytest.mark.parametrize("options, said", SAID)
def test_what_a_probe_cannot_show(options, said):
    assert undecided(Edges(network(**options))) == said


def test_what_a_probe_without_time_cannot_show():
    A, B = (mg.parameter(np.eye(3) + np.ones((3, 3)), name=n) for n in "AB")
    assert undecided(Edges((A @ B).sum())) == ["no time steps were recorded (use mg.unroll, or mg.steps in a loop): which step is wrong does not show",
                                               "A, B are symmetric: a forgotten transpose does not show"]
