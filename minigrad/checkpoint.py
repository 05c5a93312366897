"""Recompute instead of store: ``checkpoint(fn)`` forgets what fn made and runs it again when gradients are asked for."""
from __future__ import annotations

import contextlib
import functools
from types import CellType, CodeType
from typing import Any, Callable, Iterable, Iterator, Sequence

import numpy as np

from .autodiff import _walk
from .module import Module
from .nested import Nested, flatten, rebuild
from .ops import Op
from .place import Place
from .tensor import Tensor, _clock, _leaf, mode, record


def checkpoint(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A function with the same values and gradients as ``fn`` that stores only its inputs.

    fn takes and returns Tensors (or tuples, NamedTuples, dicts of them). Parameters that fn captures count as inputs;
    generators (numpy.random.Generator) that fn holds are put back to where they were when it is run again. A checkpointed
    cell is a cell: ``mg.unroll(mg.checkpoint(cell), xs)`` stores states only, and computes every step twice.

    >>> import minigrad as mg
    >>> x = mg.parameter([1., 2.])
    >>> mg.checkpoint(lambda x: np.tanh(x) * x)(x).sum().backward()
    """
    @functools.wraps(fn, updated=())
    def run(*args: Any) -> Any:
        if not mode.recording:
            return fn(*args)
        given = {x.index: x for x in flatten(args) if type(x) is Tensor}
        generators = [(g, g.bit_generator.state) for g in generators_of(fn)]
        with captures(given) as captured:
            result = fn(*args)
        outputs = flatten(result)
        if not outputs:
            raise TypeError(f"checkpoint: the function returned {result!r}; expected Tensors, also nested")
        for y in outputs:
            if type(y) is not Tensor:
                raise TypeError(f"checkpoint: the function returned a {type(y).__name__}; expected Tensors, also nested")
        captured.notice(outputs)
        tensors = (*given.values(), *captured.found.values())
        if not any(x.requires_grad for x in tensors):
            return result
        arrays = [y.array for y in outputs]
        packed = np.concatenate([a.reshape(-1) for a in arrays]) if len(arrays) > 1 else arrays[0]
        node = remember("checkpoint", packed, tensors, again, fn=lambda: fn(*args), generators=generators, place=mode.place)
        if len(arrays) == 1:
            return rebuild(result, [node])
        stops = np.cumsum([0] + [a.size for a in arrays])
        return rebuild(result, [node[int(a):int(b)].reshape(y.shape).astype(y.dtype) for a, b, y in zip(stops, stops[1:], arrays)])
    run.__name__ = getattr(fn, "__name__", type(fn).__name__)
    if hasattr(fn, "initial_state"):        # a checkpointed cell is a cell
        setattr(run, "initial_state", fn.initial_state)
    return run


class captures:
    """``with captures(known) as captured:`` which Tensors that require gradients the block takes from outside, in ``.found``.

    A leaf that is made in the block counts: a cell may make its parameters in the first step. ``known`` are indices not to report.
    """
    def __init__(self, known: Iterable[int] = ()) -> None:
        self.start, self.known = _clock(), set(known)
        self.found: dict[int, Tensor] = {}

    def notice(self, tensors: Iterable[Any]) -> None:
        start, known = self.start, self.known
        for x in tensors:
            if type(x) is Tensor and x.requires_grad and (x.index < start or x.op is None) and x.index not in known:
                self.found[x.index] = x

    def __enter__(self) -> captures:
        watch, notice = mode.watch, self.notice
        self.watch, mode.watch = watch, lambda out: (notice(out.inputs), watch and watch(out))
        return self

    def __exit__(self, *error: object) -> None:
        mode.watch = self.watch


def remember(name: str, array: np.ndarray, tensors: tuple[Tensor, ...], gradients: Callable[..., list[Any]], **plan: Any) -> Tensor:
    """A node that holds a value computed already; ``gradients(g, y, tensors=…, **plan)`` gives those of all its tensors at once."""
    op = Op(name, _Constant(array, [x.array for x in tensors]), (_rule,), name + "({*})", variadic="jointly")
    return record(op, tensors, dict(name=name, tensors=tensors, stamps=[x.index for x in tensors], gradients=gradients, **plan))


class _Constant:
    """The value of a checkpoint when it is recorded: it was computed already."""
    def __init__(self, array: np.ndarray, inputs: list[np.ndarray]) -> None:
        self.array, self.inputs = array, inputs

    def __call__(self, *inputs: np.ndarray, **plan: Any) -> np.ndarray:
        if any(x is not y for x, y in zip(inputs, self.inputs)):
            raise RuntimeError("a checkpoint stores its value only and cannot be replayed with other inputs; trace the function without "
                               "mg.checkpoint")
        return self.array


def _rule(g: Any, y: Any, inputs: Sequence[Any], *, name: str, tensors: Sequence[Tensor], stamps: list[int],
          gradients: Callable[..., list[Any]], **plan: Any) -> list[Any]:
    for x, stamp in zip(tensors, stamps):
        if x.index != stamp:
            raise RuntimeError(f"{x.label()} was changed after {name} had used it, so the gradient would be wrong; change data only "
                               "after backward(), or run the forward pass again")
    return gradients(g, y, tensors=tensors, **plan)


def again(g: Any, y: Any, fn: Callable[[], Nested], tensors: Sequence[Tensor], generators: list[Any], place: Place | None) -> list[Any]:
    """Run fn, this time recording, and walk back through it: gradients for ``tensors``, of g with any leading axes (jacobian).

    Where g is a Tensor they are recorded.
    """
    graph = type(g) is Tensor
    with as_before(generators, place):
        outputs = flatten(fn())
    values = [o.array for o in outputs]
    check_value(y.array if graph else y, np.concatenate([a.reshape(-1) for a in values]) if len(values) > 1 else values[0])
    several = len(outputs) > 1
    lead = g.shape[:g.ndim - (1 if several else outputs[0].ndim)]
    parts, at = [], 0
    for y in outputs:
        parts.append(np.reshape(g[..., at:at + y.size], lead + y.shape) if several else g)
        at += y.size
    indices = {x.index for x in tensors}
    found = _walk(outputs, parts, wanted=indices, graph=graph, lead=len(lead), stops=indices)
    zeros = [np.zeros(lead + x.shape, x.dtype) for x in tensors]
    # of a Tensor that is there twice the first takes it all
    return [found.pop(x.index)[1] if x.index in found else _leaf(zero) if graph else zero for x, zero in zip(tensors, zeros)]


def check_value(before: np.ndarray, now: np.ndarray) -> None:
    """What was computed again must be what was computed before, but for rounding: a scan's program adds in another order."""
    if np.array_equal(now, before):
        return
    largest = np.max(np.abs(before), initial=0.0, where=np.isfinite(before))
    rounding = 1e3 * np.finfo(before.dtype).eps * largest if before.dtype.kind in "fc" else 0.0
    if now.shape != before.shape or not np.allclose(now, before, rtol=1e-4, atol=rounding, equal_nan=True):
        raise RuntimeError("checkpoint: running the function again gave other values, so the gradient would be wrong; it must depend on "
                           "its arguments, parameters and generators that it holds alone, and none of them may change before backward()")


@contextlib.contextmanager
def as_before(generators: list[Any], place: Place | None) -> Iterator[None]:
    """Recording, at the place and with the generators of an earlier run; afterwards everything is as it was."""
    now, before = [(gen, gen.bit_generator.state) for gen, _ in generators], (mode.place, mode.recording)
    for gen, state in generators:
        gen.bit_generator.state = state
    mode.place, mode.recording = place, True
    try:
        yield
    finally:
        mode.place, mode.recording = before
        for gen, state in now:
            gen.bit_generator.state = state


OWN = {"builtins", "numpy", __package__}         # whose classes use no global generators


def generators_of(fn: Any) -> list[np.random.Generator]:
    """The random generators that fn holds: in its closure, defaults, partial arguments and attributes of its object, and under the
    global names that its code uses; and what Modules, functions and objects of the same file hold that are used in this way."""
    found, seen, stack = [], set(), [fn]
    while stack:
        x = stack.pop()
        if id(x) in seen or isinstance(x, (type, Tensor, np.ndarray)):
            continue
        seen.add(id(x))
        if isinstance(x, np.random.Generator):
            found.append(x)
        elif isinstance(x, (list, tuple)):
            stack.extend(x)
        elif isinstance(x, dict):
            stack.extend(x.values())
        elif isinstance(x, functools.partial):
            stack.extend([x.func, *x.args, *x.keywords.values()])
        elif hasattr(x, "__code__") or hasattr(x, "__func__"):
            f = getattr(x, "__func__", x)
            stack.extend(c.cell_contents for c in f.__closure__ or () if _filled(c))
            stack.extend([*(f.__defaults__ or ()), *(f.__kwdefaults__ or {}).values()])
            stack.extend(v for v in map(f.__globals__.get, _names(f.__code__))
                         if isinstance(v, (np.random.Generator, Module)) or getattr(v, "__module__", "") == f.__module__)
            if hasattr(x, "__self__"):
                stack.append(x.__self__)
        elif hasattr(x, "__dict__") and type(x).__module__.partition(".")[0] not in ("builtins", "numpy"):
            stack.extend(vars(x).values())
            stack.extend(f for c in type(x).__mro__ if c.__module__.partition(".")[0] not in OWN for f in vars(c).values()
                         if hasattr(f, "__code__"))
    return found


def _names(code: CodeType) -> set[str]:
    """What the code calls by a name that may be global, its lambdas and comprehensions included."""
    return {*code.co_names, *(name for inner in code.co_consts if hasattr(inner, "co_names") for name in _names(inner))}


def _filled(cell: CellType) -> bool:
    try:
        cell.cell_contents
    except ValueError:
        return False
    return True
