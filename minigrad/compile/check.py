"""A program is made, and compared with the eager step, values and gradients, before it is trusted; the cell is left as it was."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Sequence

import numpy as np

from ..autodiff import _walk
from ..nested import flatten, rebuild
from ..recurrent.state import called
from ..tensor import Tensor, _leaf, mode
from .held import Held
from .program import Program
from .speed import chosen
from .trace import Tape
from .traced import CannotTrace, Deviates

if TYPE_CHECKING:
    from .call import _Call

Found = tuple[list[np.ndarray], dict[Any, np.ndarray]]         # outputs, and gradients
CHECKED = 16            # how many steps of the first call are compared with the eager unroll


def compiled(call: _Call) -> tuple[Program, Sequence[Any]]:
    """A program that agrees with the eager step, and what the cell met; the cell is left as it was."""
    held = Held(call.cell)
    if held.iterators:
        raise CannotTrace(f"it holds an iterator ({', '.join(held.iterators)}), and what it takes is gone; pass its values in xs")
    try:
        tape = Tape(call.step, call.first(), call.state, mode.recording, call.states)
        try:
            bound = tape.follow(call.step)
        except Deviates:
            raise CannotTrace("two runs of its step differ (a branch on the step, a counter); pass what changes from step to step in "
                              "xs, or keep it in the state") from None
        if held.drawn():
            raise CannotTrace("its step draws random numbers; draw them for all steps before and pass them in xs, or keep one draw in "
                              "the state")
        if changed := held.changed():
            raise CannotTrace(f"its step changes {', '.join(changed)}; what changes from step to step belongs into the state")
        for a, b in zip(tape.found, bound):
            a, b = (x.array if isinstance(x, Tensor) else x for x in (a, b))
            if a is not b and not np.array_equal(a, b, equal_nan=True):
                raise CannotTrace("an array that its step uses differs from run to run; pass it in xs")
        every = (*call.tensors, *call.leaves, *bound)
        program = Program(tape, called(call.cell), [i for i, x in enumerate(every) if type(x) is Tensor and x.requires_grad])
        plan: Any = program.plan
        program.constants = [i for i in range(len(call.tensors), len(every)) if i not in program.wanted]
        program.missing = any([(*plan.of_x, *plan.of_state, *plan.of_invariants)[i] is None for i in program.wanted])
        _check(call, program)
        program = chosen(program, call, lambda other: _check(call, other))
        return program, tape.follow(call.step)
    finally:
        held.restore()


def _check(call: _Call, program: Program) -> None:
    """Compare the program with the eager step, values and all gradients, to what rounding explains: on the first steps of the call, and
    on three steps of random numbers near them, since zeros and what overflows hide mistakes."""
    _compare(call, program, min(max(call.T, 3), CHECKED))
    _compare(call, program, 3, near=0.5)
    program.rooms.clear()                               # their memory goes to the call's own room


def _compare(call: _Call, program: Program, T: int, near: float = 0.0) -> None:
    """On T steps, those of the call again and again, moved by about ``near``."""
    def moved(a: np.ndarray, random: np.random.Generator, nudge: float) -> np.ndarray:
        if a.dtype.kind != "f":
            return a
        a = a + (near * random.standard_normal(a.shape)).astype(a.dtype) if near else a
        return a * a.dtype.type(1 + nudge * np.finfo(a.dtype).eps) if nudge else a

    def inputs(nudge: float, own: bool) -> tuple[list[Tensor], list[Tensor]]:
        random, leaves = np.random.default_rng(1), list[Tensor]()
        for a, given in zip([*(a[np.arange(T) % call.T] for a in call.arrays), *(s.array.copy() for s in call.leaves)],
                            [*call.tensors, *call.leaves]):
            x = _leaf(moved(a, random, nudge if len(leaves) < len(call.arrays) else 0.0))
            x.requires_grad = type(given) is Tensor and given.requires_grad
            leaves.append(x)
        return leaves[:len(call.arrays)], [*call.leaves] if own else leaves[len(call.arrays):]

    def outputs_of(how: Callable[[list[Tensor], list[Tensor]], list[Tensor]], nudge: float = 0.0, own: bool = False) -> Found:
        xs, leaves = inputs(nudge, own)
        outputs = how(xs, leaves)
        random = np.random.default_rng(0)
        values = [o.array for o in outputs]
        cotangents = [random.standard_normal(o.shape).astype(o.dtype) for o in outputs]
        roots = [(o, g) for o, g in zip(outputs, cotangents) if o.requires_grad and mode.recording]
        place: dict[int, Any] = {x.index: ("input", k) for k, x in enumerate([*xs, *leaves])}
        if not near:                                    # a state may be there twice, or captured too: then their sum is compared
            for s, x in zip(call.leaves, leaves):
                place[x.index] = place[s.index] = ("state", s.index)
        gradients: dict[Any, np.ndarray] = {}
        for i, (_, g) in (_walk(*map(list, zip(*roots)), stops=place) if roots else {}).items():
            key = place.get(i, i)
            gradients[key] = gradients[key] + g if key in gradients else g
        return values, gradients

    def compiled(xs: list[Tensor], leaves: list[Tensor]) -> list[Tensor]:
        short = call.__class__.__new__(call.__class__)
        short.__dict__.update(call.__dict__, every=None, arrays=[x.array for x in xs], tensors=xs, leaves=leaves, T=T, states=False,
                              reverse=False,
                              state=rebuild(call.state, leaves))
        y, state = short.run(program, program.tape.follow(call.step))[:2]
        return [y, *flatten(state)]

    def eager(xs: list[Tensor], leaves: list[Tensor]) -> list[Tensor]:
        state, ys = rebuild(call.state, leaves), []
        for t in range(T):
            y, state = call.step(call.element([x[t] for x in xs]), state)
            ys.append(y)
        return [o if type(o) is Tensor else _leaf(o) for o in (np.stack(ys), *flatten(state))]

    expected, ours = outputs_of(eager, own=not near), outputs_of(compiled)      # a cell may ask for the very state that was given
    tolerance = {d: 1e4 * float(np.finfo(d).eps) for d in ("f4", "f8")}
    wrong = _differ(ours, expected, tolerance)
    if wrong:
        before, expected = expected, outputs_of(eager)
        if _differ(before, expected, tolerance):
            raise CannotTrace("two unrolls of it differ: it asks whether a state is a certain Tensor, or something outside of x, the state "
                              "and the cell changes; put what it is to know into the state or xs")
        wrong = _differ(ours, expected, tolerance)
    if wrong:                                           # a chaotic cell magnifies rounding: how much, the unroll itself tells
        nudged = outputs_of(eager, nudge=8.0)
        wrong = _differ(ours, expected, tolerance, nudged)
    if wrong:
        raise CannotTrace(f"its program and the unroll differ in {wrong} within the first {T} steps (a branch that few steps take?); "
                          "it must be a function of x and the state alone")


def _differ(ours: Found, expected: Found, tolerance: dict[str, float], nudged: Found | None = None) -> str | None:
    """What differs by more than rounding explains, in words; None if nothing."""
    for k, (a, b) in enumerate(zip(ours[0], expected[0])):
        if not _close(a, b, tolerance, *((None,) if nudged is None else (nudged[0][k], 0.001))):
            return "the outputs" if k == 0 else "the last state"
    for key in expected[1].keys() | ours[1].keys():
        there: Any = [g.get(key) for g in (ours[1], expected[1])]
        a, b = (np.zeros_like(there[there[0] is None]) if g is None else g for g in there)       # not reached is the same as zero
        a, b = (g.astype(min(a.dtype, b.dtype), copy=False) for g in (a, b))        # the walk gives leaves their own dtype later
        if not _close(a, b, tolerance, None if nudged is None else nudged[1].get(key), 0.01):               # cotangents are about 1
            return "a gradient"
    return None


def _close(a: np.ndarray, b: np.ndarray, tolerance: dict[str, float], nudged: np.ndarray | None, least: float = 0.0) -> bool:
    """``least``: what is smaller than this may be the rounding of larger numbers that cancel."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if b.dtype.kind != "f":
        return np.array_equal(a, b)
    scale, allowed = np.max(np.abs(b), initial=least), tolerance[f"f{b.dtype.itemsize}"]
    difference = np.max(np.abs(a - b), initial=0.0)
    if nudged is not None and nudged.shape == b.shape:
        return difference <= allowed * scale + 100 * np.max(np.abs(nudged - b), initial=0.0) or not np.isfinite(scale)
    return difference <= allowed * scale or np.array_equal(a, b, equal_nan=True)
