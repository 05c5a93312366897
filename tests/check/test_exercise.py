"""exercise: one line is wrong, it is the one that the solution names, and diagnose finds it."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.check.diagnose import diagnose
from minigrad.check.exercise import exercise


@pytest.mark.parametrize("seed", range(6))
def test_the_slip_is_there_and_is_found(seed):
    task = exercise(seed)
    found = diagnose(task.gradients, task.loss)
    assert not found.ok and found.exact and found.residual < 1e-9
    right = task.solution.split("right   ")[1].splitlines()[0]
    assert right in [e.fix for e in found.explanations], (task.solution, found)


def test_the_task_does_not_give_the_answer_away():
    task = exercise(7)
    wrong, right = (task.solution.split(f"{w}   ")[1].splitlines()[0] for w in ("wrong", "right"))
    assert f"  {task.wrong:3}  {wrong}\n" in task.text and f"  {right}\n" not in task.text and task.lines[task.wrong - 1] == wrong
    assert task.solution.startswith(f"Line {task.wrong}: ") and str(task) == task.text


def test_a_seed_is_an_exercise():
    assert exercise(3).text == exercise(3).text and exercise(3).text != exercise(4).text


def test_a_cell_of_ones_own():
    class Leaky(mg.Module):
        def __init__(self, input_size, hidden_size):
            self.W_x, self.W_h = (mg.parameter(np.ones(s)) for s in ((input_size, hidden_size), (hidden_size, hidden_size)))

        def initial_state(self, batch_size):
            return mg.Tensor(np.zeros((batch_size, self.W_h.shape[0])))

        def __call__(self, x, s):
            v = np.tanh(x @ self.W_x + s @ self.W_h)
            s = .5 * s + .5 * v
            return s, s
    task = exercise(1, Leaky)
    assert "Leaky" in task.text and "v = tanh(a)" in task.text and "dW_h" in task.text
