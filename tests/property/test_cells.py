"""Random cells: scan and unroll agree, on the program's second call too; and a program that is wrong does not pass."""
import pytest

from minigrad.compile import check, emit
from tests.property.cells import Cell, tried


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_random_cells(first):
    for seed, trouble, reason in tried(range(first, first + 10)):
        assert trouble is None, f"cell {seed}: {trouble}"
        assert reason is None, f"cell {seed} was not compiled: {reason}"


ONCE = {6: "arrays made in the step, at one address", 19: "a gradient that cancels", 21: "a NumPy number before a value of the step",
        30: "an array as index", 40: "a vector spread over the rows", 173: "a sum of which a parameter's gradient reads a part",
        199: "the same, and an error at another T", 216: "whole numbers as a condition", 265: "a matrix without rows", 755: "a product in a part",
        1801: "an output that the way back reads in part", 1931: "a large product twice in a sum"}


@pytest.mark.parametrize("seed", ONCE, ids=ONCE.get)
def test_what_was_not_compiled_once(seed):
    assert [t[1:] for t in tried([seed])] == [(None, None)]


@pytest.mark.parametrize("right, wrong", [("subtract(one, ", "add(one, "), ("multiply(", "add("), ("[:-1]", "[1:]")])
def test_a_wrong_program_is_noticed(right, wrong, monkeypatch):
    monkeypatch.setattr(check, "_check", lambda *_: None)               # which would not let it through
    written = emit.Writer.write
    monkeypatch.setattr(emit.Writer, "write", lambda self: written(self).replace(right, wrong, 1))
    assert any(trouble for _, trouble, _ in tried(range(20)))


def test_a_cell_follows_from_its_number():
    a, b = Cell(7), Cell(7)
    assert [p.data.tobytes() for p in a.parameters] == [p.data.tobytes() for p in b.parameters] and a.options == b.options
