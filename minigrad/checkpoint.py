"""Recompute instead of store: ``checkpoint(fn)`` forgets what fn made and runs it again when gradients are asked for."""
import contextlib
import functools

import numpy as np

from .autodiff import _walk, no_grad
from .nested import flatten, rebuild
from .ops import Op
from .tensor import Tensor, _clock, _leaf, mode, record


def checkpoint(fn):
    """A function with the same values and gradients as ``fn`` that stores only its inputs.

    fn takes and returns Tensors (or tuples, NamedTuples, dicts of them). Parameters that fn captures count as inputs;
    generators (numpy.random.Generator) that fn holds are put back to where they were when it is run again.

    >>> import minigrad as mg
    >>> x = mg.parameter([1., 2.])
    >>> mg.checkpoint(lambda x: np.tanh(x) * x)(x).sum().backward()
    """
    @functools.wraps(fn, updated=())
    def run(*args):
        if not mode.recording:
            return fn(*args)
        leaves = flatten(args)
        start, captured, known = _clock(), {}, {x.index for x in leaves if type(x) is Tensor}
        generators = [(g, g.bit_generator.state) for g in _generators(fn)]
        watch = mode.watch

        def notice(out):
            for x in out.inputs:
                if type(x) is Tensor and x.requires_grad and x.index < start and x.index not in known:
                    captured[x.index] = x
            if watch is not None:
                watch(out)
        mode.watch = notice
        try:
            result = fn(*args)
        finally:
            mode.watch = watch
        outputs = flatten(result)
        for y in outputs:
            if type(y) is not Tensor:
                raise TypeError(f"checkpoint: the function returned a {type(y).__name__}; expected Tensors, also nested")
        given = [x for x in leaves if type(x) is Tensor]
        inputs = (*given, *captured.values())
        if not any(x.requires_grad for x in inputs):
            return result
        arrays = [y.array for y in outputs]
        plan = dict(fn=fn, args=args, tensors=inputs, generators=generators, place=mode.place)
        packed = np.concatenate([a.reshape(-1) for a in arrays]) if len(arrays) > 1 else arrays[0]
        op = Op("checkpoint", _Constant(packed), (_rule,), None, "checkpoint({*})", False, True, None)
        node = record(op, inputs, plan)
        if len(arrays) == 1:
            return rebuild(result, [node])
        stops = np.cumsum([0] + [a.size for a in arrays])
        return rebuild(result, [node[int(a):int(b)].reshape(y.shape) for a, b, y in zip(stops, stops[1:], arrays)])
    return run


class _Constant:
    """The value of a checkpoint when it is recorded: it was computed already."""
    def __init__(self, array):
        self.array = array

    def __call__(self, *inputs, **plan):
        return self.array


def _rule(i, g, y, *inputs, fn, args, tensors, generators, place):
    """Run fn again, this time recording, and walk back through it; one run serves all the inputs of one cotangent."""
    graph = not isinstance(g, np.ndarray)
    if i == 0 or _last.get("g") is not g:
        _last.update(g=g, parts=_again(g, inputs, fn, args, tensors, generators, place, graph))
    part = _last["parts"][i]
    if i == max(k for k, x in enumerate(tensors) if x.requires_grad):
        _last.clear()
    return part


_last = {}


def _again(g, inputs, fn, args, tensors, generators, place, graph):
    leaves = flatten(args)
    if graph:
        fresh = leaves
    else:
        fresh = []
        for x in leaves:
            if type(x) is Tensor:
                y = _leaf(x.array)
                y.requires_grad, y.name = x.requires_grad, x.name
                x = y
            fresh.append(x)
    now = [(gen, gen.bit_generator.state) for gen, _ in generators]
    for gen, state in generators:
        gen.bit_generator.state = state
    before, mode.place = mode.place, place
    try:
        with _recording():
            outputs = flatten(fn(*rebuild(args, fresh)))
    finally:
        mode.place = before
        for gen, state in now:
            gen.bit_generator.state = state
    given = [x for x in fresh if type(x) is Tensor]
    wanted = [*given, *tensors[len(given):]]
    parts, at = [], 0
    for y in outputs:
        n = y.array.size
        parts.append(np.reshape(g[at:at + n], y.shape) if len(outputs) > 1 else g)
        at += n
    found = _walk(outputs, parts, wanted={x.index for x in wanted}, graph=graph)
    zero = (lambda x: _leaf(np.zeros_like(x.array))) if graph else (lambda x: np.zeros_like(x.array))
    return [found[x.index][1] if x.index in found else zero(x) for x in wanted]


def _recording():
    switch = no_grad()
    switch.value = True
    return switch if not mode.recording else contextlib.nullcontext()


def _generators(fn):
    """The random generators that fn holds: in its closure, defaults, partial arguments, or the attributes of its object."""
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
            stack.extend(f.__defaults__ or ())
            stack.extend(f.__globals__[n] for n in f.__code__.co_names if isinstance(f.__globals__.get(n), np.random.Generator))
            if hasattr(x, "__self__"):
                stack.append(x.__self__)
        elif hasattr(x, "__dict__") and type(x).__module__ not in ("builtins", "numpy"):
            stack.extend(vars(x).values())
    return found


def _filled(cell):
    try:
        cell.cell_contents
    except ValueError:
        return False
    return True
