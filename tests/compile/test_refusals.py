"""What a step must not do, one by one: each is refused with a message that says what it was and what to write instead."""
import copy
import pickle

import numpy as np
import pytest

import minigrad as mg
from minigrad.compile import sources, trace
from minigrad.compile.trace import Tape
from minigrad.compile.traced import CannotTrace

W = mg.parameter(np.random.default_rng(0).standard_normal((4, 4)), name="W")
X, H = mg.Tensor(np.ones((2, 4))), mg.Tensor(np.full((2, 4), .5))


def tape(step):
    """The tape of a cell whose next state is what ``step(x, h)`` gives."""
    def cell(x, h):
        h = step(x, h)
        return h, h
    return Tape(cell, X, H, True)


@pytest.fixture(params=["with names", "without"])
def naming(request, monkeypatch):
    """The names of values are found by following the lines of the cell; the tape must be the same without."""
    if request.param == "without":
        monkeypatch.setattr(trace, "named", lambda run, fn: fn())


# ---- what needs the numbers of a step ---------------------------------------------------------------------------------
NUMBERS = {
    "the place in time": lambda x, h: h * (h.place is None),
    "a copy": lambda x, h: copy.deepcopy(h), "reading .data": lambda x, h: h * h.data,
    "item()": lambda x, h: h * h.sum().item(), "numpy()": lambda x, h: h * h.numpy(), "argmax()": lambda x, h: h * h.argmax(),
    "any()": lambda x, h: h * h.any(), "turning into an array": lambda x, h: h * np.array(h), "float()": lambda x, h: h * float(h.sum()),
    "int()": lambda x, h: h * int(h.sum()), "bool()": lambda x, h: h if h.sum() else x, "np.argmax": lambda x, h: h * np.argmax(h),
    "np.allclose": lambda x, h: h if np.allclose(x, h) else x, "np.round": lambda x, h: np.round(h)}


@pytest.mark.parametrize("what", NUMBERS)
def test_a_step_that_asks_for_numbers(what, naming):
    with pytest.raises(CannotTrace) as raised:
        tape(NUMBERS[what])
    assert str(raised.value).startswith(f"{what} of a value of the step needs its numbers") and "np.where" in str(raised.value)


def test_a_position_and_a_pickle_need_numbers_too():
    with pytest.raises(CannotTrace, match=r"^int\(\) of a value"):
        tape(lambda x, h: h * [1., 2.][h.sum()])
    with pytest.raises(CannotTrace, match="^a copy of a value"):
        tape(lambda x, h: pickle.loads(pickle.dumps(h)))


def test_to_catch_the_error_does_not_help():
    def cautious(x, h):
        try:
            return h * h.sum().item()
        except TypeError:
            return h + x
    with pytest.raises(CannotTrace, match=r"item\(\)"):
        tape(cautious)


# ---- what is no step ----------------------------------------------------------------------------------------------------
def quiet(x, h):
    with mg.no_grad():
        return h + x


def changed(x, h, a=np.ones(4)):
    h = h + a
    a += 1
    return h + a


@pytest.mark.parametrize("step, message", [
    (quiet, "its step switches gradients off or on"),
    (changed, "an array that its step uses twice is changed in between"),
    (lambda x, h: h + [1., 2., 3., 4.], "add got a list; make it an array once"), (lambda x, h: h * "a", "multiply got a str"),
    (lambda x, h: h + W[h > 0], "of a value of the step needs its numbers"),
    (lambda x, h: h.sum(axis=0), r"its state changes from float64 \(2, 4\) to float64 \(4,\)"),
    (lambda x, h: h.astype(np.float32), r"its state changes from float64 \(2, 4\) to float32"),
    (lambda x, h: mg.Tensor(np.ones((2, 4))), "its output does not depend on x or the state"), (lambda x, h: (h, h), "of another nesting")])
def test_a_step_that_is_none(step, message, naming):
    with pytest.raises(CannotTrace, match=message):
        tape(step)


def test_a_cell_that_returns_no_pair():
    with pytest.raises(CannotTrace, match=r"the cell returned Traced; expected a pair"):
        Tape(lambda x, h: h, X, H, True)


def test_a_complex_constant_is_left_to_the_unroll(naming):
    with pytest.raises(trace.Complex):
        tape(lambda x, h: h * np.full(4, 1j))


def test_a_value_of_a_step_is_nothing_after_it():
    kept = []
    tape(lambda x, h: kept.append(h * x) or h + x)
    with pytest.raises(CannotTrace, match="was used after its step"):
        kept[0].detach()


# ---- what is allowed --------------------------------------------------------------------------------------------------------
def everything(x, h):
    s = np.tanh(2 + h @ W - 3) * 2.0 + (1 - x) * (True * x)
    s = np.where(h > 0, s, -s) + np.where(h <= x, s, x) * np.where(h >= .25, 1., 0.) + np.where(h < 1, h.detach(), x)
    s = s + np.where(h == x, s, 0.) + np.where(h != x, s, 0.) + np.sign(h) * np.float64(.5) + np.zeros_like(h)
    s = s + np.array(1.) * h + np.float64(.5) * h
    return s.astype(float) * np.shape(s)[0]


def test_the_tape_is_the_same_without_names(monkeypatch):
    def ops(tape):
        return [(n.op.name, [i.id for i in n.inputs]) for n in tape.nodes if n.op]
    named = tape(everything)
    monkeypatch.setattr(trace, "named", lambda run, fn: fn())
    plain = tape(everything)
    assert ops(named) == ops(plain) and any(n.name == "s" for n in named.nodes) and not any(n.name == "s" for n in plain.nodes)
    assert all(np.array_equal(a.value, b.value) for a, b in zip(named.nodes, plain.nodes))


def test_a_step_of_everything_gives_the_unrolls_numbers_and_gradients():
    xs = np.random.default_rng(1).standard_normal((5, 2, 4))

    def run(way):
        def cell(x, h):
            h = np.tanh(everything(x, h))
            return h, h
        ys, _ = way(cell, xs, H)
        return ys.data, mg.grad((ys * ys).sum(), [W])[0].data
    for ours, reference in zip(run(mg.scan), run(mg.unroll)):
        np.testing.assert_allclose(ours, reference, rtol=1e-12, atol=1e-13)


# ---- sources ------------------------------------------------------------------------------------------------------------------
def test_an_ops_value_without_a_name_has_no_source():
    with pytest.raises(TypeError, match="whose value is a lambda has no source"):
        sources.Sources().of(lambda x: x)


def test_the_source_of_a_function_brings_what_it_calls():
    found = sources.Sources()
    assert found.of(_outer) == "_outer" and found.of(np.tanh) == "np.tanh" and found.of(np.linalg.solve) == "np.linalg.solve"
    exec("import numpy as np\n" + found.text(), scope := {})
    assert scope["_outer"](3.) == _outer(3.) and "What stands here" in found.text() and '"""' not in found.text()
    assert "def _inner(x, *more, by=None):" in found.text() and "def _outer(x):" in found.text() and "Nowhere" not in found.text()


def test_a_source_without_hints_keeps_all_that_is_run():
    """A body in the line of its def, a decorator of the first thing in it, and what is said in front of that."""
    found = sources.Sources()
    assert found.of(_in_one_line) == "_in_one_line" and found.of(_decorated) == "_decorated"
    exec("import numpy as np\n" + found.text(), scope := {})
    assert scope["_in_one_line"](3.) == 7.5 and scope["_decorated"]([1., 3.]).tolist() == [1., 7.5]
    assert "    # numbers below one stay\n    @np.vectorize\n" in found.text()


FACTOR = 2.5
Nowhere = float | None         # a program knows no such type


def _in_one_line(x: Nowhere) -> Nowhere: return x * FACTOR       # type: ignore[operator]    # noqa: E704


def _decorated(x: Nowhere):
    # numbers below one stay
    @np.vectorize
    def each(v):
        return v * FACTOR if v > 1 else v
    return each(x)


def _inner(x: Nowhere, *more: Nowhere, by: Nowhere = None) -> Nowhere:
    """What stands here becomes a comment.

    And this goes.
    """
    return x * FACTOR       # type: ignore[operator]


def _outer(
        x: Nowhere
) -> Nowhere:
    return _inner(x) + np.sqrt(x) + len(copy.copy([1]))
