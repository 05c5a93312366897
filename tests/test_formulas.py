"""Formulas as text: what is read is what was computed, parentheses included."""
import operator

import numpy as np
import pytest

import minigrad as mg
from minigrad.formulas import Symbol, atom

TWO = [operator.add, operator.sub, operator.mul, operator.truediv, operator.matmul, np.add, np.subtract, np.multiply, np.divide, np.matmul]
ONE = [operator.neg, lambda x: x.mT, lambda x: x ** 2, lambda x: 1 + x, lambda x: 1 - x, lambda x: 2 * x, lambda x: 1 * x, lambda x: 3 / x, lambda x: x - 2,
       lambda x: np.tanh(x), lambda x: np.real(x), lambda x: x.real, lambda x: x.astype(float), lambda x: np.maximum(x, 0.5)]


@pytest.mark.parametrize("seed", range(30))
def test_a_formula_read_as_python_gives_the_number(seed):
    """20 random formulas each, of matrices, the text evaluated by Python itself."""
    rng = np.random.default_rng(seed)
    names = {name: rng.uniform(0.5, 2, (2, 2)) for name in "abc"}

    def formula(depth):
        if depth == 0:
            name = "abc"[rng.integers(3)]
            return Symbol(name), names[name]
        if rng.integers(3):
            (a, x), (b, y), op = formula(depth - 1), formula(depth - 1), TWO[rng.integers(len(TWO))]
            return op(a, b), op(x, y)
        (a, x), op = formula(depth - 1), ONE[rng.integers(len(ONE))]
        return op(a), op(x)
    known = {**names, "tanh": np.tanh, "maximum": np.maximum}
    for _ in range(20):
        with np.errstate(all="ignore"):
            said, number = formula(int(rng.integers(1, 5)))
            read = eval(str(said).replace(".T", ".mT"), known)
        assert np.allclose(read, number, rtol=1e-9, equal_nan=True), said


def test_what_stands_in_a_formula():
    x, y, g = Symbol("x"), Symbol("y"), Symbol("g")
    assert [str(f) for f in (x * x, 1 * x, x * 1, g * (1 - y * y), (x + y) ** 2, x ** y, x > 0, 0.5 + x, x @ (y @ g), x / y / g, x - (y - g))] == [
        "x**2", "x", "x", "g * (1 - y**2)", "(x + y)**2", "x**y", "(x > 0)", "0.5 + x", "x @ (y @ g)", "x / y / g", "x - (y - g)"]
    assert repr(np.sum(g * x, axis=-1, keepdims=True)) == "sum(g * x, axis=-1, keepdims=True)"
    assert repr(mg.softmax(x)) == "softmax(x)" and repr(np.matmul(x, y)) == "x @ y"


@pytest.mark.parametrize("text, whole", [("W", "W"), ("W_x[0]", "W_x[0]"), ("cell.W", "cell.W"), ("a + b", "(a + b)"), ("-a", "(-a)")])
def test_an_atom_holds_together(text, whole):
    assert atom(text) == whole
