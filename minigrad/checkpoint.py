"""Recompute instead of store: ``checkpoint(fn)`` forgets what fn made and runs it again when gradients are asked for."""
import contextlib
import functools
import threading

import numpy as np

from .autodiff import _walk, no_grad
from .module import Module
from .nested import flatten, rebuild
from .ops import Op
from .tensor import Tensor, _clock, _leaf, mode, record


def checkpoint(fn):
    """A function with the same values and gradients as ``fn`` that stores only its inputs.

    fn takes and returns Tensors (or tuples, NamedTuples, dicts of them). Parameters that fn captures count as inputs;
    generators (numpy.random.Generator) that fn holds are put back to where they were when it is run again. A checkpointed
    cell is a cell: ``mg.unroll(mg.checkpoint(cell), xs)`` stores states only, and computes every step twice.

    >>> import minigrad as mg
    >>> x = mg.parameter([1., 2.])
    >>> mg.checkpoint(lambda x: np.tanh(x) * x)(x).sum().backward()
    """
    @functools.wraps(fn, updated=())
    def run(*args):
        if not mode.recording:
            return fn(*args)
        given = {x.index: x for x in flatten(args) if type(x) is Tensor}
        start, captured = _clock(), {}
        generators = [(g, g.bit_generator.state) for g in generators_of(fn)]
        watch = mode.watch

        def notice(x):
            if type(x) is Tensor and x.requires_grad and x.index < start and x.index not in given:
                captured[x.index] = x

        def notice_inputs(out):
            for x in out.inputs:
                notice(x)
            if watch is not None:
                watch(out)
        mode.watch = notice_inputs
        try:
            result = fn(*args)
        finally:
            mode.watch = watch
        outputs = flatten(result)
        for y in outputs:
            if type(y) is not Tensor:
                raise TypeError(f"checkpoint: the function returned a {type(y).__name__}; expected Tensors, also nested")
            notice(y)
        inputs = (*given.values(), *captured.values())
        if not any(x.requires_grad for x in inputs):
            return result
        arrays = [y.array for y in outputs]
        plan = dict(fn=fn, args=args, tensors=inputs, generators=generators, place=mode.place)
        packed = np.concatenate([a.reshape(-1) for a in arrays]) if len(arrays) > 1 else arrays[0]
        op = Op("checkpoint", _Constant(packed, [x.array for x in inputs]), (_rule,), None, "checkpoint({*})", False, True, None)
        node = record(op, inputs, plan)
        if len(arrays) == 1:
            return rebuild(result, [node])
        stops = np.cumsum([0] + [a.size for a in arrays])
        return rebuild(result, [node[int(a):int(b)].reshape(y.shape) for a, b, y in zip(stops, stops[1:], arrays)])
    run.__name__ = getattr(fn, "__name__", type(fn).__name__)
    if hasattr(fn, "initial_state"):        # a checkpointed cell is a cell
        run.initial_state = fn.initial_state
    return run


class _Constant:
    """The value of a checkpoint when it is recorded: it was computed already."""
    def __init__(self, array, inputs):
        self.array, self.inputs = array, inputs

    def __call__(self, *inputs, **plan):
        if any(x is not y for x, y in zip(inputs, self.inputs)):
            raise RuntimeError("a checkpoint stores its value only and cannot be replayed with other inputs; trace the function without "
                               "mg.checkpoint")
        return self.array


def _rule(i, g, y, inputs, *, fn, args, tensors, generators, place):
    """Run fn again, this time recording, and walk back through it; one run serves all the inputs of one cotangent."""
    if _last.g is not g or _last.tensors is not tensors:
        _last.parts = _again(g, y, fn, args, tensors, generators, place)
        _last.g, _last.tensors = g, tensors
    part = _last.parts[i]
    if i == max(k for k, x in enumerate(tensors) if x.requires_grad):
        _last.g = _last.tensors = _last.parts = None
    return part


class _Last(threading.local):
    """The latest run, per thread: the walk asks for the inputs of a node one after the other."""
    g = tensors = parts = None


_last = _Last()


def _again(g, y, fn, args, tensors, generators, place):
    """Gradients for ``tensors``, of g with any leading axes (jacobian). Where g is a Tensor they are recorded."""
    graph = type(g) is Tensor
    now = [(gen, gen.bit_generator.state) for gen, _ in generators]
    for gen, state in generators:
        gen.bit_generator.state = state
    before, mode.place = mode.place, place
    try:
        with _recording():
            outputs = flatten(fn(*args))
    finally:
        mode.place = before
        for gen, state in now:
            gen.bit_generator.state = state
    before, again = y.array if graph else y, [o.array for o in outputs]
    again = np.concatenate([a.reshape(-1) for a in again]) if len(again) > 1 else again[0]
    if again.shape != before.shape or not np.allclose(again, before, rtol=1e-4, atol=1e-30, equal_nan=True):
        raise RuntimeError("checkpoint: running the function again gave other values, so the gradient would be wrong; it must depend on "
                           "its arguments, parameters and generators that it holds alone, and none of them may change before backward()")
    wanted = tensors
    several = len(outputs) > 1
    lead = g.shape[:g.ndim - (1 if several else outputs[0].ndim)]
    parts, at = [], 0
    for y in outputs:
        parts.append(np.reshape(g[..., at:at + y.size], lead + y.shape) if several else g)
        at += y.size
    indices = {x.index for x in wanted}
    found = _walk(outputs, parts, wanted=indices, graph=graph, lead=len(lead), stops=indices)
    zeros = [np.zeros(lead + x.shape, x.dtype) for x in wanted]
    return [found[x.index][1] if x.index in found else _leaf(zero) if graph else zero for x, zero in zip(wanted, zeros)]


def _recording():
    switch = no_grad()
    switch.value = True
    return switch if not mode.recording else contextlib.nullcontext()


def generators_of(fn):
    """The random generators that fn holds: in closure, defaults, globals, partial arguments, attributes of its object."""
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
            stack.extend(v for v in map(f.__globals__.get, f.__code__.co_names) if isinstance(v, (np.random.Generator, Module)))
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
