"""check_notes: a file of notes that is right, wrong, or of no use; and the template."""
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from minigrad.check.notes import TEMPLATE, check_notes, new_notes

SMALL = '''
import numpy as np
parameters = {"W": (3, 4), "b": (4,)}
data = {"x": (5, 3)}
def forward(W, b, x):
    return (np.tanh(x @ W + b) ** 2).sum()
def derived(W, b, x):
    y = np.tanh(x @ W + b)
    da = 2 * y * (1 - y * y)
    return {"W": x.T @ da, "b": da.sum(0)}
'''


@pytest.fixture
def notes(tmp_path):
    def written(text):
        path = tmp_path / "notes.py"
        path.write_text(text, encoding="utf-8")
        return str(path)
    return written


def test_the_template_is_written_once_and_agrees_as_it_stands(tmp_path):
    path = new_notes(str(tmp_path / "my_notes.py"))
    report = check_notes(path)
    assert report.ok and bool(report) and report.exit_status == 0
    assert [row.name for row in report.report.rows] == ["W_x", "W_h", "b_h", "W_y", "b_y", "h_0"]
    assert "confirmed by the complex step" in str(report) and "the same on 3 probes, seeds 0 … 2" in str(report)
    with pytest.raises(FileExistsError, match="exists already, and is left as it is"):
        new_notes(path)


def test_the_template_has_the_lines_of_its_derivation_commented_out():
    """They stand in the template to be switched on: what they say must compile."""
    inside = TEMPLATE[TEMPLATE.index("# lines = {"):TEMPLATE.index("# If your names")]
    found: dict = {}
    exec("\n".join(line.removeprefix("# ") for line in inside.strip().splitlines()), found)
    assert set(found["lines"]) == {"do", "dh", "da", "dW_h", "carry_h"}


@pytest.mark.parametrize("right, wrong, exact", [
    ("carry = da @ W_h.T", "carry = da @ W_h", {"W_y", "b_y"}),
    ("* (1 - h[t] ** 2)", "", {"W_y", "b_y"}),
    ("h[t - 1].T @ da", "h[t].T @ da", {"W_x", "b_h", "W_y", "b_y", "h_0"}),
    (") / B", ")", set()),
])
def test_a_wrong_line_is_seen(notes, right, wrong, exact):
    assert right in TEMPLATE
    report = check_notes(notes(TEMPLATE.replace(right, wrong)))
    assert not report.ok and report.exit_status == 1 and "DIFFERENT" in str(report) and "seed 0" in str(report)
    assert {row.name for row in report.report.rows if row.ok} == exact


def test_what_only_other_values_show_is_seen_on_another_probe(notes):
    first, second = (0.7 * np.random.default_rng(seed).standard_normal(16)[12] for seed in range(2))        # b[0]
    text = SMALL.replace("2 * y", f"(2 if b[0] {'<' if first < second else '>'} {(first + second) / 2} else 3) * y")
    assert check_notes(notes(text), seed=0).ok
    report = check_notes(notes(text))
    assert not report.ok and "seed 1" in str(report)


def test_shapes_arrays_and_functions_are_values(notes):
    text = SMALL.replace("(3, 4)", "np.arange(12.0).reshape(3, 4) / 9").replace("(5, 3)", "lambda rng: rng.integers(1, 3, (5, 3))")
    assert check_notes(notes(text)).ok


def test_other_names_and_columns(notes):
    text = SMALL.replace('{"W": x.T @ da, "b"', '{"U": da.T @ x, "b"') + '\nnames = {"U": "W"}\nconvention = "column"\n'
    assert check_notes(notes(text)).ok


def test_a_forward_pass_that_cannot_be_recorded_is_held_against_the_complex_step(notes):
    text = SMALL.replace("    return (np.tanh(x @ W + b) ** 2).sum()", """    ys = np.zeros((5, 4), dtype=np.result_type(W, b))
    for i in range(5):
        ys[i] = np.tanh(x[i] @ W + b)
    return (ys ** 2).sum()""")
    report = check_notes(notes(text))
    assert report.ok and "the complex step of forward, which could not be recorded" in str(report)
    wrong = check_notes(notes(text.replace("2 * y", "3 * y")))
    assert not wrong.ok and {r.name for r in wrong.report.rows if not r.ok} == {"W", "b"}


def test_zeros_in_the_probe_are_remarked(notes):
    report = check_notes(notes(SMALL.replace('"b": (4,)', '"b": np.zeros(4)')))
    assert report.ok and "COULD NOT DECIDE  what only shows where b is not zero" in str(report)


@pytest.mark.parametrize("change, words", [
    (("def forward", "def backward"), "defines no function 'forward'"),
    (("parameters =", "parameter ="), "defines no dict 'parameters'"),
    (("def derived", "def derivation"), "neither a function 'derived' nor a dict 'lines'"),
    (("def forward(W, b, x)", "def forward(W, b, z)"), "forward takes 'z', which is neither in parameters nor in data"),
    (("da.sum(0)}", "da.sum(5)}"), "notes.py, line 10: derived raised AxisError"),
    (("import numpy", "import nump"), "notes.py, line 2: the file raised ModuleNotFoundError"),
    (("np.tanh(x @ W + b) ** 2", "np.tanh(x @ W.T + b) ** 2"), "notes.py, line 6: forward raised ValueError: .*matmul got"),
    (("return {", "W *= 2; return {"), "derived changed its argument 'W' in place"),
    (("return {\"W\": x.T @ da, \"b\": da.sum(0)}", "return x.T @ da"), "derived returned a ndarray, expected a dict"),
    ((".sum()", ""), r"forward returned a Tensor of shape \(5, 4\), expected the loss"),
    (("x @ W + b) ** 2).sum()", "x) ** 2).sum()"), "forward returned a float64 of shape"),
    (("\"b\": (4,)", "\"b\": 'four'"), "'b' is a str 'four', expected a shape, an array or a function"),
    (("def derived(", "def derived(W, b, x) return ("), "notes.py, line 7: the file raised SyntaxError"),
])
def test_one_clear_message_each(notes, change, words):
    assert change[0] in SMALL
    with pytest.raises(ValueError, match=words) as raised:
        check_notes(notes(SMALL.replace(*change)))
    assert str(raised.value).count("\n") == 0


def test_a_file_that_is_not_there():
    with pytest.raises(ValueError, match="no file nowhere.py; `python -m minigrad check --new nowhere.py` writes a template"):
        check_notes("nowhere.py")


def test_a_forward_pass_that_is_cut_is_no_reference(notes):
    with pytest.raises(ValueError, match="(?s)gradients of forward itself are not right.*WHERE"):
        check_notes(notes(SMALL.replace("np.tanh(x @ W + b) ** 2", "np.tanh(x @ W + b) ** 2 + np.sin(W.data).sum()")))


def test_a_file_of_lines_alone(notes):
    text = SMALL[:SMALL.index("def derived")] + 'lines = {"dW": lambda x, y, W, b: 0 * W}\n'
    with pytest.raises(ValueError, match="forward could not be recorded"):
        check_notes(notes(text.replace("np.tanh(x @ W + b) ** 2", "np.asarray(float(W[0, 0])) ** 2")))
    steps = """
import numpy as np
import minigrad as mg
parameters = {"W": (4, 4), "h_0": (3, 4)}
data = {"xs": (3, 3, 4), "scale": np.float64(2)}
def forward(W, h_0, xs, scale):
    h, loss = h_0, 0.0
    for x in mg.steps(xs):
        a = scale * x + h @ W
        h = np.tanh(a)
        loss = loss + h.sum()
    return loss
lines = {"da": lambda dh, h: dh * (1 - h ** 2), "dW": lambda h_prev, da: h_prev.T @ da}
"""
    right = check_notes(notes(steps))
    assert right.ok and [r.name for r in right.diagnosis.report.rows] == ["da", "dW"] and "xs" not in right.probe
    assert str(right).splitlines()[0].endswith("W (4, 4), h_0 (3, 4); seed 2")
    wrong = check_notes(notes(steps.replace("1 - h ** 2", "1 - h")))
    assert not wrong.ok and wrong.exit_status == 1 and "not 1 - h" in str(wrong) and "seed 0" in wrong.probe
    given = steps.replace("lambda dh, h: dh", "lambda dh, h, scale: (scale - 1) * dh")
    assert check_notes(notes(given)).ok                  # what is data is given to lines
    with pytest.raises(ValueError, match="names maps 'da2', which is not among what was derived|convention is 'rows'"):
        check_notes(notes(steps + 'convention = "rows"\n'))


PLAIN = SMALL.replace("    return (np.tanh(x @ W + b) ** 2).sum()", """    y = np.zeros((5, 4), np.result_type(W, b))
    y[:] = x @ W + b
    return (np.tanh(y) ** 2).sum()""")


def test_a_forward_pass_that_cannot_be_recorded_is_checked_by_the_complex_step(notes):
    report = check_notes(notes(PLAIN))
    assert report.ok and "reference: the complex step of forward, which could not be recorded (" in str(report)
    assert [r.name for r in report.report.rows] == ["W", "b"] and report.diagnosis is None
    assert not check_notes(notes(PLAIN.replace("2 * y", "3 * y"))).ok
    for option in ('names = {"U": "W"}', 'convention = "column"'):
        with pytest.raises(ValueError, match=r"forward could not be recorded \(.*\); lines, names and convention need that"):
            check_notes(notes(PLAIN + option + "\n"))


def test_integers_shapes_of_one_axis_and_names_with_defaults(notes):
    text = """
import numpy as np
parameters = {"a": 3, "b": [3], "c": np.ones(3, np.float32)}
data = {"i": np.array([0, 2])}
def forward(a, b, c, *, i, factor=2.0, **rest):
    return (factor * a * b * c)[i].sum()
def derived(a, b, c, i):
    one = np.isin(np.arange(3), i)
    return {"a": 2 * one * b * c, "b": 2 * one * a * c, "c": 2 * one * a * b}
"""
    report = check_notes(notes(text), seed=4)
    assert report.ok and report.probe == "a (3,), b (3,), c (3,); seed 4" and report.probes == 1


def test_what_the_probe_of_notes_cannot_show_is_said(notes):
    report = check_notes(notes(SMALL.replace('"b": (4,)', '"b": np.zeros(4)')))
    assert report.ok and "COULD NOT DECIDE  what only shows where b is not zero" in str(report)


def test_where_there_is_no_explanation_the_comparison_stands(notes, monkeypatch):
    """diagnose may refuse what compare can do: then its reason is told."""
    import sys
    monkeypatch.setattr(sys.modules["minigrad.check.diagnose"], "diagnose", lambda *a, **k: (_ for _ in ()).throw(NotImplementedError("no words for that")))
    report = check_notes(notes(SMALL.replace("2 * y", "3 * y")))
    assert not report.ok and report.diagnosis is None and report.remarks == ["no explanation: no words for that"] and "no words for that" in str(report)


@pytest.mark.parametrize("change, words", [
    (("def forward(W, b, x):", "def forward(W, b, q):"), "forward takes 'q', which is neither in parameters nor in data \\(there are: W, b, x\\)"),
    (("    da = 2", "    x += 1; da = 2"), "derived changed its argument 'x' in place; compute with a copy"),
    (("(np.tanh(x @ W + b) ** 2).sum()", "(np.tanh(x @ W + c) ** 2).sum()"), "line 6: forward raised NameError: name 'c' is not defined"),
    (("    da = 2", "    1 / 0; da = 2"), "line 9: derived raised ZeroDivisionError: division by zero"),
    (("(5, 3)", "lambda rng: rng.nothing"), "line 4: x raised AttributeError"),
    (("    return (np.tanh(x @ W + b) ** 2).sum()", "    import minigrad as mg; return mg.Tensor(3.0)"), "the loss does not depend on the parameters; is something cut"),
    (("(np.tanh(x @ W + b) ** 2).sum()", "np.float64(3) * (W.data.sum() if hasattr(W, 'requires_grad') else W.sum())"), "forward returned a float64 of shape"),
])
def test_whose_mistake_it_is_and_in_which_line(notes, change, words):
    assert change[0] in SMALL
    with pytest.raises(ValueError, match=words):
        check_notes(notes(SMALL.replace(*change)))


def test_a_file_that_is_not_called_python_is_refused(tmp_path):
    path = new_notes(str(tmp_path / "notes.txt"))
    with pytest.raises(ValueError, match="ends in .py"):
        check_notes(path)


def test_a_file_changed_within_the_same_second_is_read_again(notes, monkeypatch):
    """Python's compiled files know a source by its second and its length."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for factor, ok in (("2", True), ("3", False), ("2", True)):
        path = notes(PLAIN.replace("2 * y", f"{factor} * y"))
        os.utime(path, (1.7e9, 1.7e9))
        assert check_notes(path).ok is ok
        assert not list(Path(path).parent.glob("__pycache__/*"))
