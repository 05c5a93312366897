"""Random programs: values like NumPy's, gradients like the complex step's; and a wrong rule does not pass."""
import numpy as np
import pytest

from minigrad.ops import TABLE
from tests.property.programs import Program, wrong


@pytest.mark.parametrize("first", range(0, 400, 50))
def test_gradients_of_random_programs(first):
    for _, program, trouble in wrong(range(first, first + 50)):
        pytest.fail(f"{program}\n{trouble}")


@pytest.mark.parametrize("name", ["multiply", "tanh", "matmul", "sum", "getitem"])
def test_a_wrong_rule_is_noticed(name, monkeypatch):
    rules = TABLE[name].rules

    def off(*args, **more):
        part = rules[0](*args, **more)
        return 1.001 * (part.dense() if hasattr(part, "dense") else part)
    TABLE[name].rules = (off, *rules[1:])
    try:
        assert next(wrong(range(100), second_every=0), None)
    finally:
        TABLE[name].rules = rules


def test_a_program_follows_from_its_number():
    a, b = Program(7), Program(7)
    assert str(a) == str(b) and all(np.array_equal(x, y) for x, y in zip(a.leaves, b.leaves))
