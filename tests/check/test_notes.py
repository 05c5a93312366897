"""check_notes: a file of notes that is right, wrong, or of no use; and the template."""
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
