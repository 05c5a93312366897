"""exercise: one line is wrong, it is the one that the solution names, and diagnose finds it."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.check.diagnose import diagnose
from minigrad.check.exercise import exercise

from networks import by_step
from written import Written


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


@pytest.mark.parametrize("seed", range(12))
def test_the_lines_run_as_they_stand_give_the_gradients(seed):
    """The derivation is a program: what is wrong with its gradients is the wrong line, and nothing else."""
    task, p = exercise(seed, mg.RNNCell), mg.check.probe(mg.RNNCell, seed=seed)
    v = {name: x.data for name, x in p.parameters.items()}
    hs, as_ = [v["h_0"]], []
    for x in p.xs:
        as_.append(x @ v["W_x"] + hs[-1] @ v["W_h"] + v["b"])
        hs.append(np.tanh(as_[-1]))
    logits = [h @ v["W_out"] + v["b_out"] for h in hs[1:]]
    found = Written(task.lines, by_step(v, {}, x=p.xs, y=np.eye(7)[p.targets], h=hs, a=as_, logits=logits), 4).run()
    for name, g in task.gradients.items():
        np.testing.assert_allclose(found[name], g, rtol=1e-9, atol=1e-12)
        error = np.abs(g - mg.grad(p.loss, [p.parameters[name]])[0].data).max()
        error /= np.abs(mg.grad(p.loss, [p.parameters[name]])[0].data).max()
        assert f"    d{name:<8} {f'{error:.2g}' if error > 1e-12 else 'exact'}" in task.text.splitlines()


def test_the_forward_equations_are_those_of_a_step():
    forward = {cell: exercise(3, cell).text.partition("forward:\n\n")[2].partition("\n\n")[0].replace("    ", "") for cell in (mg.LSTMCell, mg.MGUCell)}
    assert forward[mg.LSTMCell].splitlines() == [
        "a = x @ W_x + h[t-1] @ W_h + b", "a_i = a[..., :6]", "i = sigmoid(a_i)", "a_f = a[..., 6:12]", "f = sigmoid(a_f)", "a_g = a[..., 12:18]",
        "g = tanh(a_g)", "a_o = a[..., 18:]", "o = sigmoid(a_o)", "c = f * c[t-1] + i * g", "h = o * tanh(c)", "logits = h @ W_out + b_out"]
    assert forward[mg.MGUCell].splitlines() == [
        "a = x @ W_x + b", "a_f = a[..., :6] + h[t-1] @ W_h[:, :6]", "f = sigmoid(a_f)", "a_n = a[..., 6:] + (f * h[t-1]) @ W_h[:, 6:]",
        "n = tanh(a_n)", "h = h[t-1] + f * (n - h[t-1])", "logits = h @ W_out + b_out"]


def test_a_seed_is_an_exercise():
    assert exercise().text == exercise(0).text and exercise(3).text == exercise(3).text and exercise(3).text != exercise(4).text


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
