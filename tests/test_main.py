"""The command line: what it draws, what it checks, and its exit status."""
import subprocess
import sys

import pytest

from minigrad.__main__ import main

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


def test_a_wrong_gradient_gives_status_1(tmp_path):
    path = tmp_path / "cell.py"
    path.write_text(WRONG)
    assert main(["check", f"{path}:Wrong"]) == 1


@pytest.mark.parametrize("arguments, message", [
    (["draw", "GRUCell"], "names no cell"), (["draw", "minigrad:Nothing"], "has no 'Nothing'"), (["draw", "no_such_module:Cell"], "no_such_module"),
    (["draw", "nowhere.py:Cell"], "nowhere.py"), (["check", "numpy:tanh"], "is no Module"),
    (["draw", "minigrad:GRUCell", "-o", "x.gif"], "gif"), (["draw", "minigrad:GRUCell", "--steps", "0"], "0 steps"),
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
