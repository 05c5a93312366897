"""gradcheck: gradients, the engine's or yours, against numbers that no rule had a hand in. How those are found is slopes.py.

Two questions are kept apart. *What is the true slope?* The complex step, where differences confirm it; else the differences
(slopes.py). *How far may a correct gradient be from it?* As far as rounding takes it, and that is measured, entry by entry:
the gradients are computed a few times more with every recorded value moved by an ulp or so, as if each op had rounded another
way (Monte Carlo arithmetic: Parker 1997). What the entries then do is c·eps·Σ|terms| times the condition, without a formula.
"""
from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..module import Module
from ..nested import flatten, rebuild
from ..recurrent import unroll
from ..tensor import Tensor
from .checked import Derived, Function, arguments
from .rows import Report, Row
from .entries import EXTENDED, Entries, finer
from .probe import SIZES, draw
from .slopes import REFUSES
from .where import where

SAMPLES = 5                                       # other roundings that are tried


@dataclass(repr=False)
class GradientReport(Report):
    """What gradcheck found: ``.ok`` (also its truth value), ``.rows``, ``.remarks``, ``str()``; ``.assert_ok()`` for tests."""

    def assert_ok(self) -> GradientReport:
        """Raise AssertionError with the whole report if anything differs; return the report."""
        __tracebackhide__ = True
        if not self.ok:
            raise AssertionError(str(self))
        return self


def gradcheck(fn: Any, inputs: Any = None, order: int = 1, *, tolerance: float | None = None, seed: int = 0,
              derived: Callable[..., Any] | None = None, entries: int = 1000) -> GradientReport:
    """Check the gradients of ``fn`` with respect to ``inputs``. Returns a report: ``.ok``, ``.rows``, ``str()``, ``.assert_ok()``.

    fn      takes Tensors and returns a Tensor of any shape, or a tuple of them (projected on random cotangents).
    inputs  one array or Tensor; a list or tuple, fn(*inputs); or a dict name -> array, fn(**inputs). They are copied.
            Arrays of integers or bools are passed on and not differentiated. Or a Module: then fn() is called without
            arguments and checked with respect to the Module's parameters, which are as before when the check is done.
            Or nothing, and fn is a cell or a cell's class: then a probe is drawn on which mistakes show (3 rows, 4 steps,
            5 inputs, 6 hidden; weights and biases 0.7 randn, a state the cell has been in), and every parameter, the inputs
            and the initial state are checked.
    order   1: gradients; 2: gradients of gradients (grad of grad against the complex step of grad).
    tolerance  max|difference| / max|reference| that agrees. By default each entry has its own, measured: what rounding can do.
    derived    your own gradients instead of the engine's: a function of the same arguments (arrays) that returns a dict
               name -> array, or as many arrays as there are inputs. fn then is the loss, a number, and may be plain NumPy.
    entries    up to so many entries an array is checked one by one; a larger one along random directions, and if these
               differ, the entry is found by halving.

    Rows are called as the dict's keys, the Tensors' names, or "0", "1", ... If they differ, the recorded ops are checked one
    by one: a remark says the op, its argument and the entry, or what was cut from the graph. At a kink any value between the
    slopes of the two sides is accepted, and the row's note gives both.

    >>> import minigrad as mg
    >>> mg.check.gradcheck(lambda x, W: mg.tanh(x @ W), {"x": np.ones((2, 3)), "W": np.eye(3)}).ok
    True
    >>> wrong = lambda x: x * mg.Tensor(x.data)                  # a gradient that is cut off: half of the true 2x
    >>> mg.check.gradcheck(wrong, np.array([3.0])).ok
    False
    >>> mg.check.gradcheck(lambda x: np.sin(x).sum(), np.ones(3), derived=lambda x: np.cos(x)).ok
    True
    >>> mg.check.gradcheck(mg.GRUCell).assert_ok().rows[0].name
    'cell.W_x'
    """
    if order not in (1, 2):
        raise ValueError(f"order is {order!r}, expected 1 or 2")
    if not callable(fn):
        raise TypeError(f"gradcheck got a {type(fn).__name__} as fn; expected a function of the inputs, or a cell")
    if inputs is None:
        return _checked_cell(fn, order, tolerance, seed, entries)
    own = inputs.parameters() if hasattr(inputs, "parameters") else {}
    call, names, arrays = arguments((lambda **_: fn()) if own else fn, own or inputs)
    free = [i for i, a in enumerate(arrays) if a.dtype.kind == "f"]
    if not free:
        raise TypeError(f"nothing to differentiate: the inputs have dtypes {[str(a.dtype) for a in arrays]}, "
                        "expected a float among them")
    checked: Function
    if derived is None:
        checked = Function(call, free, order, seed, list(own.values()))
    elif own or order == 2:
        raise ValueError("derived= needs order 1 and inputs that are arrays, not a Module")
    else:
        checked = Derived(fn, derived, inputs, names, free)
    try:
        return _report(checked, names, arrays, tolerance, seed, entries, f"gradcheck, order {order}")
    finally:
        for p, array in zip(own.values(), arrays):
            p.array = array


def _report(checked: Function, names: list[str], arrays: list[np.ndarray], tolerance: float | None, seed: int, entries: int, title: str,
            explain: bool = True) -> GradientReport:
    checked.refuse_chance([finer(a) for a in arrays])
    checks = [Entries(checked, arrays, i, seed, tolerance, entries) for i in checked.free]
    yours, samples, scale = sampled(checked, arrays, seed)
    rows = [check.row(names[check.i], mine, moved, scale) for check, mine, moved in zip(checks, yours, samples)]
    if tolerance is None and EXTENDED and any(c.undecided for c in checks):
        rows = _again_in_extended_precision(checked, names, arrays, rows, checks, seed, entries)
    report = GradientReport(rows, title=title)
    if explain and not report.ok:
        report.remarks += where(checked, arrays, seed, _report)
    zero = [names[i] for i in checked.free if arrays[i].size and arrays[i].ndim and not arrays[i].any()]
    if zero and explain:
        report.remarks.append(f"COULD NOT DECIDE  what only shows where {', '.join(zero)} is not zero; draw it at random")
    return report


def _again_in_extended_precision(checked: Function, names: list[str], arrays: list[np.ndarray], rows: list[Row], checks: list[Entries],
                                 seed: int, entries: int) -> list[Row]:
    """Where rounding leaves no digit in float64, np.longdouble has three more."""
    longer = [a.astype(np.longdouble) if i in checked.free and a.dtype == float else a for i, a in enumerate(arrays)]
    try:
        again = [Entries(checked, longer, c.i, seed, None, entries) for c in checks]
        yours, samples, scale = sampled(checked, longer, seed)
        for n, (check, old) in enumerate(zip(again, checks)):
            if old.undecided and rows[n].ok:
                row = check.row(names[check.i], yours[n], samples[n], scale)
                if not check.undecided:
                    row.note = "; ".join(filter(None, [row.note, "in extended precision"]))
                    rows[n] = row
    except REFUSES:
        pass                                      # not for this function (np.linalg has no extended precision)
    return rows


def sampled(checked: Function, arrays: list[np.ndarray], seed: int) -> tuple[list[Any], list[list[np.ndarray]], tuple[float, float]]:
    """The gradients; how other roundings move them (for each array a list of differences); and the scale of fn: how they move
    its value, the value's own rounding included, and its largest output."""
    yours, value = checked.gradients(arrays)
    largest = checked.magnitude
    rng, noise = np.random.default_rng(seed + 2), 0.0
    moved: list[list[np.ndarray]] = [[] for _ in yours]
    for _ in range(SAMPLES):
        sample = checked.disturbed(arrays, rng)
        if sample is None or not np.isfinite(sample[1]):
            continue
        noise = max(noise, abs(sample[1] - value))
        for kept, new, mine in zip(moved, sample[0], yours):
            if mine is not None and np.shape(new) == np.shape(mine) and np.isfinite(new).all() and np.isfinite(mine).all():
                kept.append(np.abs(np.asarray(new) - mine))
    eps = max(np.finfo(arrays[i].dtype).eps for i in checked.free)
    return yours, [m or [np.zeros(np.shape(y))] for m, y in zip(moved, yours)], (noise / eps + abs(value), largest)


class _Probe(Module):
    """A cell away from its initial values, a sequence, and a state the cell has been in: all of them parameters.

    On initial values mistakes hide: zeros in biases and states, ones in gains, symmetry in identities.
    """

    def __init__(self, cell: Any, input_size: int, rng: np.random.Generator) -> None:
        self.cell = cell
        for p in cell.parameters().values():
            p.array = draw(p.shape, rng).astype(p.dtype)
        dtype = np.result_type(*(p.dtype for p in cell.parameters().values()))
        xs = rng.standard_normal((2 + SIZES["T"], SIZES["B"], input_size)).astype(dtype)
        _, state = unroll(cell, xs[:2])
        self.xs = Tensor(xs[2:], requires_grad=True)
        self.state = rebuild(state, [self._near(s, rng) if s.dtype.kind == "f" else s for s in flatten(state)])

    @staticmethod
    def _near(state: Tensor, rng: np.random.Generator) -> Tensor:
        return Tensor(state.data + (0.3 * rng.standard_normal(state.shape)).astype(state.dtype), requires_grad=True)

    def __call__(self) -> tuple[Any, ...]:
        ys, state = unroll(self.cell, self.xs, self.state)
        return (ys, *(s for s in flatten(state) if s.dtype.kind in "fc"))


def _checked_cell(cell: Any, order: int, tolerance: float | None, seed: int, entries: int) -> GradientReport:
    of_class = inspect.isclass(cell) and issubclass(cell, Module)
    cell = _made(cell) if of_class else cell
    if not isinstance(cell, Module) or not cell.parameters():
        raise TypeError("gradcheck without inputs needs a cell with parameters, or a cell's class; for any other function: "
                        "gradcheck(fn, inputs)")
    size = getattr(cell, "input_size", SIZES["D"] if of_class else None) or next(
        (p.shape[0] for n, p in cell.parameters().items() if n.split(".")[-1].startswith("W_x") and p.ndim == 2), None)
    if size is None:
        raise ValueError(f"gradcheck cannot see the input size of this {type(cell).__name__}: give it an attribute input_size, or "
                         "pass its class, or inputs of your own: gradcheck(lambda: mg.unroll(cell, xs)[0], cell)")
    before = {p: p.array for p in cell.parameters().values()}
    try:
        probe = _Probe(cell, size, np.random.default_rng(seed))
        return gradcheck(probe, probe, order, tolerance=tolerance, seed=seed, entries=entries)
    finally:
        for p, array in before.items():
            p.array = array


def _made(cls: type) -> Module:
    try:
        return cls(SIZES["D"], SIZES["H"])
    except ValueError:                            # a size that the cell cannot have: clockwork groups, heads
        return cls(SIZES["D"], 8)
