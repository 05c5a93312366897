"""A report as people and programs read it: the table, the page, plain data; and where two arrays agree."""
import json
import re

import numpy as np
import pytest

import minigrad as mg
from minigrad.check import Report, Row, compare
from minigrad.check.page import table
from minigrad.check.rows import close, cosine, largest, tolerance_of


def example():
    return Report([Row("W", True, 1e-16, 1.0, (0, 1), 2.0, 2.0), Row("b", False, 0.5, -0.25, (3,), 1.5, 1.0, "<too large>"),
                   Row("c", False, note="not derived")], "check", {"dh": {1: (0.25, False), 2: (1e-17, True)}, "da": {2: (1e-3, False)}}, ["look <there>"])


def test_the_table():
    assert str(example()).splitlines() == [
        "check: DIFFERENT: 2 of 3.  First wrong: da, at t=2",
        "gradient        rel.err   cosine  worst entry           yours      reference",
        "W               1.0e-16  +1.0000  ok                        2              2",
        "b               5.0e-01  -0.2500  [3]                     1.5              1  <too large>",
        "c                                 not derived",
        "line                t=2      t=1",
        "dh                   ok  2.5e-01",
        "da              1.0e-03         ",
        "look <there>"]
    assert example().first == ("da", 2) and str(Report([], "all")).startswith("all: AGREES\n") and Report().first is None


def cells(page):
    return [re.findall(r"<t[hd] class=\"(.*?)\">(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", page)]


def test_the_page():
    page = example().html()
    rows = cells(page)
    assert [[text for _, text in row] for row in rows] == [
        ["gradient", "", "rel. error ", "cosine ", "worst entry", "yours ", "reference ", ""],
        ["W", "ok", "1.0e-16", "+1.0000", "", "2", "2", ""],
        ["b", "differs", "5.0e-01", "-0.2500", "[3]", "1.5", "1", "&lt;too large&gt;"],
        ["c", "", "", "", "", "", "", "not derived"],
        ["line", "t=2 ", "t=1 "], ["dh", "ok", "2.5e-01"], ["da", "1.0e-03", ""]]
    assert [kind for kind, _ in rows[0]] == ["n " if "error" in t or "cos" in t or "yours" in t or "ref" in t else " " for _, t in rows[0]]
    assert all(("wrong" in kind) == (name in "bc") for name in "Wbc" for row in rows[1:4] if row[0][1] == name for kind, _ in row)
    assert [["wrong" in kind for kind, _ in row] for row in rows[5:]] == [[False, False, True], [False, True, False]]
    assert "<caption>check: DIFFERENT: 2 of 3.  First wrong: da, at t=2</caption>" in page and "<p>look &lt;there&gt;</p>" in page
    assert page.startswith('<div class="check"><style>') and page.endswith("</div>") and "<caption>" not in table("", ["a"], [])
    assert example()._repr_html_() == page


def test_tiny_numbers_agree_as_far_as_they_are_large():
    assert close(np.array([1e-20]), np.array([1e-20])) and not close(np.array([1e-20]), np.array([2e-20]))


@pytest.mark.parametrize("yours, reference, says", [
    ((3, 4), (4,), ": a sum over the leading axes (rows of the batch, or steps) is missing"), ((2, 3, 4), (3, 4), ": a sum over the leading axes (rows of the batch, or steps) is missing"),
    ((3, 4), (3, 1), ""), ((3, 4), (3,), ""), ((4,), (3, 4), "")])
def test_when_a_sum_is_missing(yours, reference, says):
    note = compare({"b": np.ones(yours)}, {"b": np.ones(reference)}).rows[0].note
    assert note == f"shape {yours}, expected {reference}{says}"


def test_the_data():
    assert json.loads(json.dumps(example().data())) == {
        "ok": False, "title": "check", "remarks": ["look <there>"], "steps": {"dh": {"1": 0.25, "2": 1e-17}, "da": {"2": 1e-3}},
        "rows": [{"name": "W", "ok": True, "error": 1e-16, "cosine": 1.0, "index": [0, 1], "yours": 2.0, "reference": 2.0, "note": ""},
                 {"name": "b", "ok": False, "error": 0.5, "cosine": -0.25, "index": [3], "yours": 1.5, "reference": 1.0, "note": "<too large>"},
                 {"name": "c", "ok": False, "error": None, "cosine": None, "index": None, "yours": None, "reference": None, "note": "not derived"}]}
    assert compare({"z": np.array([1j])}, {"z": np.array([2j])}).data()["rows"][0]["yours"] == "1j"


@pytest.mark.parametrize("a, b, expected", [([1, 0], [0, 1], 0), ([1, 1], [2, 2], 1), ([1, 1], [-3, -3], -1), ([1, 0], [1, 1], .5 ** .5),
                                            ([0, 0], [0, 0], 1), ([0, 0], [1, 0], 0), ([], [], 1), ([1e200, 0], [1e200, 1e200], .5 ** .5),
                                            ([1e-200, 0], [1e-200, 1e-200], .5 ** .5), ([1j, 0], [1j, 0], 1), ([1j], [1], 0)])
def test_the_cosine(a, b, expected):
    assert cosine(np.array(a), np.array(b)) == pytest.approx(expected) == cosine(np.array([b]), np.array([a]))


def test_the_tolerance_is_that_of_the_coarsest():
    a, b, c = (np.ones(1, d) for d in (np.float64, np.float32, np.float16))
    assert (tolerance_of(a), tolerance_of(a, b), tolerance_of(b, c), tolerance_of(np.arange(2))) == (1e-12, 1e-5, 1e-2, 1e-12)
    assert (tolerance_of(a + 1j), tolerance_of(b.astype(np.complex64))) == (1e-12, 1e-5)
    assert largest([[1, -3], [np.inf, np.nan], []]) == 3 and largest([]) == largest([np.array("x")]) == 0


@pytest.mark.parametrize("off, ok", [(.5e-12, True), (2e-12, False)])
def test_both_sides_of_the_tolerance(off, ok):
    reference = np.array([4.0, 100.0])
    assert compare({"W": reference + [100 * off, 0]}, {"W": reference}).ok == ok == close(reference + [100 * off, 0], reference)
    tiny = compare({"W": reference, "b": np.array([1e-1 * off])}, {"W": reference, "b": np.zeros(1)})        # a thousandth of the largest counts
    assert tiny.ok == ok and (tiny.rows[1].error == np.inf) and ("held to its scale" in tiny.rows[1].note) == ok


@pytest.mark.parametrize("yours, reference, note", [
    (np.ones((3, 1, 4)), np.ones((4, 1, 3)), "shape (3, 1, 4), expected (4, 1, 3): transposed, and its transpose agrees"),
    (np.ones(6), np.ones((2, 3)), "shape (6,), expected (2, 3): the same numbers, reshape them"),
    (np.ones((5, 2, 3)), np.ones((2, 3)), "shape (5, 2, 3), expected (2, 3): a sum over the leading axes (rows of the batch, or steps) is missing"),
    (np.ones((2, 3)), np.ones((5, 2, 3)), "shape (2, 3), expected (5, 2, 3)"),
    (np.ones((2, 1)), np.ones((2, 3)), "shape (2, 1), expected (2, 3)"),
])
def test_what_is_said_of_shapes(yours, reference, note):
    assert compare({"W": yours}, {"W": reference}).rows[0].note == note


def test_nan_is_shown_where_it_is():
    report = compare({"W": np.array([[1.0, 2.0], [np.nan, np.inf]])}, {"W": np.ones((2, 2))}, convention="column")
    row, = report.rows
    assert row.index == (1, 0) and np.isnan(row.yours) and row.reference == 1 and row.note == "yours has NaN or infinity in 2 of 4 entries"


# ---- names -------------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name, expected", [("dW", "W"), ("cells.0.W", "W"), ("d", None), ("W2", "W")])
def test_names_that_are_understood(name, expected):
    report = compare({name: np.ones(2)}, {"W": np.ones(2)}, names={"W2": "W"} if name == "W2" else None)
    assert [r.name for r in report.rows if r.ok] == [expected] * bool(expected)


def test_d_is_part_of_a_name_that_is_known_as_such():
    ones, twos = np.ones(2), np.full(2, 2.0)
    assert compare({"dW": ones, "W": twos}, {"dW": ones, "W": twos}).ok           # both are names of the reference
    report = compare({"dW": ones, "W": twos}, {"W": twos})
    assert [(r.name, r.ok) for r in report.rows] == [("W", True), ("dW", False)]


def test_the_lists_of_two_layers_are_matched_in_their_order():
    a, b = np.ones(2), np.full(2, 2.0)
    assert compare({"l.0.W": a, "l.1.W": b}, {"1.W": a, "2.W": b}).ok and not compare({"l.0.W": a}, {"1.W": a, "2.W": b}).ok
    report = compare({"l.0.W": a}, {"1.W": a, "2.W": b})
    assert [r.note for r in report.rows][:1] == ["not derived; did you mean 'l.0.W'?"]


def test_columns_are_transposes_and_biases_of_one_column_are_vectors():
    reference = {"W": np.arange(6.).reshape(2, 3), "b": np.arange(3.)}
    assert compare({"W": reference["W"].T, "b": reference["b"][:, None]}, reference, convention="column").ok
    assert compare({"b": reference["b"][None]}, {"b": reference["b"]}, convention="column").rows[0].note == "shape (1, 3), expected (3,): the same numbers, reshape them"


def test_the_parameters_that_have_no_name_are_counted():
    with pytest.raises(ValueError, match=r"no named parameter in this loss's graph \(2 without a name\); name them"):
        compare({"W": 1.0}, mg.parameter(1.0) * mg.parameter(2.0))


@pytest.mark.parametrize("derived, note", [
    ({"V": np.array([[1., 3], [2, 4]])}, "unknown name; these are the numbers of W, transposed: names={'V': 'W'}"),
    ({"V": np.zeros((2, 2))}, "unknown name (there are: W)"), ({"V": np.array(["a"])}, "unknown name (there are: W)"),
    ({"Wh": np.ones(3)}, "unknown name; did you mean 'W'?"), ({"V": np.ones(3), "W": np.array([[1., 2], [3, 4]])}, "unknown name (there are: W)")])
def test_what_is_said_of_a_name_that_is_unknown(derived, note):
    report = compare(derived, {"W": np.array([[1., 2], [3, 4]])})
    assert report.rows[-1].note == note
