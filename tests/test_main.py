"""The command line: what it draws, what it checks, and its exit status."""
import subprocess
import sys

import pytest

from minigrad.__main__ import main
from minigrad.compile import NotCompiled

WRONG = '''
import numpy as np, minigrad as mg
class Wrong(mg.Module):
    def __init__(self, D, H):
        self.W = mg.parameter(np.random.default_rng(0).standard_normal((D, H)))
    def initial_state(self, B):
        return mg.Tensor(np.zeros((B, self.W.shape[1])))
    def __call__(self, x, h):
        h = np.tanh(x @ self.W) * mg.Tensor(h.data) + h        # one path is cut
        return h, h + x @ self.W
'''


def test_draw_and_check_a_cell(tmp_path, capsys):
    target = tmp_path / "gru.svg"
    assert main(["draw", "minigrad:GRUCell", "--steps", "3", "-o", str(target), "--heat"]) == 0
    assert target.read_text().startswith("<?xml") or target.read_text().startswith("<svg")
    assert main(["check", "minigrad:LSTMCell"]) == 0
    assert main(["check", "minigrad:RNNCell", "--order", "2"]) == 0
    assert "W_h" in capsys.readouterr().out


PLAIN = '''
import numpy as np, minigrad as mg
rng = np.random.default_rng(0)
W_x, W_h, other = (mg.parameter(rng.standard_normal(s)) for s in ((5, 6), (6, 6), 3))
def leaky(x, h):
    """A cell that is a function."""
    h = 0.5 * h + 0.5 * np.tanh(x @ W_x + h @ W_h)
    return h, h
def cut(x, h):
    h = 0.5 * h + np.tanh(x @ W_x + mg.Tensor(h.data) @ W_h)
    return h, h
'''


def test_a_cell_may_be_a_plain_function(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.py").write_text(PLAIN)
    assert main(["check", "plain.py:leaky"]) == 0 and main(["check", "plain.py:cut"]) == 1
    rows = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert rows[:4] == ["gradcheck,", "gradient", "W_x", "W_h"] and "other" not in rows
    assert main(["derive", "plain.py:leaky"]) == 0 and "tanh(x_t W_x + h_{t-1} W_h)" in capsys.readouterr().out
    assert main(["draw", "plain.py:leaky"]) == 0 and "(6×6)" in (tmp_path / "cell.svg").read_text()
    for command in ("compile", "lower", "explore", "report"):
        assert main([command, "plain.py:leaky"]) == 0, command
    assert 'class="error"' not in (tmp_path / "report.html").read_text()
    assert main(["draw", "plain.py:leaky", "--hidden-size", "4"]) == 2 and "4 and 6 must be equal" in capsys.readouterr().err


def test_a_wrong_gradient_gives_status_1(tmp_path):
    path = tmp_path / "cell.py"
    path.write_text(WRONG)
    assert main(["check", f"{path}:Wrong"]) == 1


@pytest.mark.parametrize("arguments, message", [
    (["draw", "GRUCell"], "names no cell"), (["draw", "minigrad:Nothing"], "has no 'Nothing'"), (["draw", "no_such_module:Cell"], "no_such_module"),
    (["draw", "nowhere.py:Cell"], "nowhere.py"), (["check", "builtins:len"], "got len, a function of Python's or NumPy's own"),
    (["draw", "minigrad:GRUCell", "-o", "x.gif"], "gif"), (["draw", "minigrad:GRUCell", "--steps", "0"], "0 steps"),
    (["report", "minigrad:GRUCell", "--steps", "0"], "expected 1 or more"), (["report", "minigrad:GRUCell", "-o", "no/such/r.html"], "no/such"),
])
def test_unusable_input_gives_status_2_and_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_help_as_a_process():
    run = subprocess.run([sys.executable, "-m", "minigrad", "--help"], capture_output=True, text=True)
    assert run.returncode == 0 and "draw" in run.stdout and "check" in run.stdout


def test_compile_prints_a_program_that_runs_alone(capsys, tmp_path):
    assert main(["compile", "minigrad:GRUCell"]) == 0
    printed = capsys.readouterr().out
    exec(printed, scope := {})
    assert callable(scope["bptt"](4)[1])
    assert main(["compile", "minigrad:GRUCell", "-o", str(tmp_path / "gru.py")]) == 0
    assert (tmp_path / "gru.py").read_text(encoding="utf-8") == printed


def test_derive_writes_the_recursion(capsys):
    assert main(["derive", "minigrad:RNNCell", "--head", "softmax"]) == 0
    out = capsys.readouterr().out
    assert "h_t = tanh(x_t W_x + h_{t-1} W_h + b)" in out and "∂L/∂o_t = ŷ_t - y_t" in out


def test_a_report_shows_the_parameters_of_a_cell_whose_cost_is_not_known(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text('''
import numpy as np, minigrad as mg
W = mg.parameter(np.full((5, 6), 0.1), name="W")
@mg.custom_gradient
def double(v):
    return 2 * v, lambda g: (2 * g,)
def cell(x, h):
    h = np.tanh(double(x @ W) + h)
    return h, h
''')
    with pytest.warns(NotCompiled, match="double has a gradient rule of its own"):
        assert main(["report", "own.py:cell"]) == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<td>W</td><td>(5, 6)</td>" in page and "hides what it computes" in page and 'class="error"' not in page


def test_a_class_is_derived_for_the_input_size_that_was_asked_for(capsys, tmp_path):
    """Its parameters do not show it: the last number of x is the time that has passed."""
    path = tmp_path / "timed.py"
    path.write_text('''
import numpy as np, minigrad as mg
class Timed(mg.Module):
    def __init__(self, D, H):
        self.W_x = mg.parameter(np.ones((D - 1, H)))
    def initial_state(self, batch):
        return mg.Tensor(np.zeros((batch, self.W_x.shape[1])))
    def __call__(self, x, h):
        h = h + x[..., -1:] * np.tanh(x[..., :-1] @ self.W_x)
        return h, h
''')
    assert main(["derive", f"{path}:Timed"]) == 0 and "h_t = h_{t-1} + x_t[-1:] ⊙ tanh(x_t[:-1] W_x)" in capsys.readouterr().out


def test_exercise_and_its_solution(capsys, tmp_path):
    path = tmp_path / "solution.txt"
    assert main(["exercise", "--seed", "7", "--solution", str(path)]) == 0
    assert "One line is wrong" in capsys.readouterr().out and path.read_text(encoding="utf-8").startswith("Line ")


def test_check_of_notes(capsys, tmp_path):
    path = tmp_path / "notes.py"
    assert main(["check", "--new", str(path)]) == 0
    assert main(["check", str(path)]) == 0 and "AGREES" in capsys.readouterr().out
    wrong = path.read_text(encoding="utf-8").replace("1 - h", "2 - h", 1)
    assert wrong != path.read_text(encoding="utf-8")
    path.write_text(wrong, encoding="utf-8")
    assert main(["check", str(path)]) == 1 and "DIFFERENT" in capsys.readouterr().out
    assert main(["check"]) == 2 and "nothing to check" in capsys.readouterr().err
    assert main(["check", str(tmp_path / "none.py")]) == 2


def test_no_command_shows_the_commands(capsys):
    assert main([]) == 2
    assert "report" in capsys.readouterr().out


HOSTILE = '''
import numpy as np, minigrad as mg
class Cell(mg.Module):
    """</p><script>document.title = "run"</script>"""
    def __init__(self, D, H):
        self.W = mg.parameter(np.full((D, H), 0.1), name="<b>W</b>")
    def initial_state(self, B):
        return {"h": mg.Tensor(np.zeros((B, self.W.shape[1])))}
    def __call__(self, x, state):
        h = np.tanh(x @ self.W + state["h"])
        return h, {"h": h}
def summed(x, h):
    return x + h, x + h
def broken(x, h):
    if isinstance(x, mg.Tensor) and x.dtype == complex:
        raise RuntimeError("not like this")
    return x + h, x + h
summed.initial_state = broken.initial_state = lambda rows: mg.Tensor(np.zeros((rows, 5)))
'''


@pytest.mark.parametrize("name, expected", [
    ("Cell", ["&lt;b&gt;W", "order 1: AGREES", "singular values", "one step back multiplies", "mg.scan"]),
    ("summed", ["no parameters of its own", "AGREES", "singular values", "mg.unroll"])])
def test_a_report_says_it_all_and_runs_nothing(name, expected, tmp_path, capsys):
    (tmp_path / "cell.py").write_text(HOSTILE)
    target = tmp_path / "report.html"
    assert main(["report", f"{tmp_path}/cell.py:{name}", "--steps", "5", "-o", str(target)]) == 0
    page = target.read_text(encoding="utf-8")
    assert "<script" not in page and "<b>" not in page and "default-src 'none'" in page and str(tmp_path) not in page
    for word in expected:
        assert word.lower() in page.lower(), word
    assert 'class="error"' not in page


def test_a_section_that_fails_says_why_and_the_others_stand(tmp_path):
    (tmp_path / "cell.py").write_text(HOSTILE)
    assert main(["report", f"{tmp_path}/cell.py:broken", "--steps", "5", "-o", str(tmp_path / "r.html")]) == 0
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert page.count('class="error"') >= 1 and "not like this" in page and "<svg" in page


def test_a_file_is_whole_or_not_there(tmp_path):
    from minigrad.files import replacing, write
    write(tmp_path / "a", "old")
    with pytest.raises(KeyError):
        with replacing(tmp_path / "a") as beside:
            write(beside, "half")
            raise KeyError
    assert (tmp_path / "a").read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("target, file", [("torch", "cell.py"), ("jax", "cell.py")])
def test_lower_writes_a_port_kit(target, file, tmp_path, capsys):
    assert main(["lower", "minigrad:GRUCell", "--to", target, "-o", str(tmp_path / "kit")]) == 0
    assert {p.name for p in (tmp_path / "kit").iterdir()} == {file, "weights.npz", "golden.npz", "test_parity.py"}
    assert "W_h" in (tmp_path / "kit" / file).read_text() and str(tmp_path) in capsys.readouterr().out


def test_explore_writes_a_page(tmp_path):
    assert main(["explore", "minigrad:RNNCell", "--steps", "3", "-o", str(tmp_path / "g.html")]) == 0
    assert (tmp_path / "g.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_cell_that_asks_for_a_generator_gets_one_and_a_wrong_one_is_told(tmp_path):
    (tmp_path / "cell.py").write_text(WRONG.replace("def __init__(self, D, H):", "def __init__(self, D, H, *, rng):").replace(
        "np.random.default_rng(0).standard_normal", "rng.standard_normal"))
    assert main(["draw", f"{tmp_path}/cell.py:Wrong", "-o", str(tmp_path / "c.svg")]) == 0
    assert main(["report", f"{tmp_path}/cell.py:Wrong", "--steps", "3", "-o", str(tmp_path / "r.html")]) == 1
    assert "differ from the complex step" in (tmp_path / "r.html").read_text(encoding="utf-8")
