"""Recomputation: an unroll that keeps the states between its segments only, and runs a segment again when its gradients are
asked for (Chen et al. 2016, arXiv:1604.06174).

In the recorded graph the whole sequence is one node, ``unroll``. Its gradient goes through the segments from the last to the
first and adds in the order in which the reverse walk adds over the plain unroll, so that the numbers are the same to the last bit.
"""
from __future__ import annotations

from typing import Any, Callable

import numpy as np

from ..autodiff import _walk
from ..checkpoint import again, as_before, captures, check_value, generators_of, remember
from ..nested import Nested, flatten, rebuild
from ..place import Place
from ..tensor import Tensor, _leaf, mode
from .state import Cell, check_outputs, collector_paused


class _Segment:
    """What is kept of k steps: when they were, the state they began with, and where the generators stood.

    tied  which leaf of that state is, as the same Tensor, the output of the step before; else None
    """
    __slots__ = ("times", "state", "generators", "tied")

    def __init__(self, times: range, state: Nested, generators: list[Any], tied: int | None) -> None:
        self.times, self.state, self.generators, self.tied = times, state, generators, tied


class _Plan:
    """What the gradient needs to run everything again. ``packed`` are the positions of the state's leaves in the node's array."""
    __slots__ = ("run", "xs", "state", "times", "segments", "place", "outputs", "packed", "sources", "initial")
    run: Callable[..., Any]
    xs: Any
    state: Nested
    times: range
    segments: list[_Segment]
    place: Place | None
    outputs: tuple[int, ...] | None         # the shape of ys, where it is a part of the node's array
    packed: dict[int, slice]
    sources: list[Tensor]
    initial: list[int]


def recomputed(run: Callable[..., Any], cell: Cell, xs: Any, state: Nested, times: range, every: int) -> tuple[Tensor, Nested]:
    """``unroll`` in segments of ``every`` steps: (ys, state).

    run  (xs, state, times) -> (outputs in the order of times, state)
    """
    plan = _Plan()
    plan.run, plan.xs, plan.state, plan.times, plan.place, plan.segments = run, xs, state, times, mode.place, []
    generators, tied, trained = generators_of(cell), None, False
    pack: Any = None
    with captures() as captured:
        for a in range(0, len(times), every):
            segment = _Segment(times[a:a + every], _leaves(state), [(g, g.bit_generator.state) for g in generators], tied)
            plan.segments.append(segment)
            elements = _elements(xs, segment.times)
            captured.known.update(x.index for x in (*flatten(segment.state), *flatten(elements)) if type(x) is Tensor)
            outputs, state = run(elements, segment.state, segment.times)
            last = flatten(state)
            captured.notice(outputs + last)
            if pack is None:
                first = _array(outputs[0])
                dtype = first.dtype
                pack, ys, plan.packed = _allocate(len(times), first, last)
            check_outputs(outputs, segment.times, cell, first.shape)
            for t, y in zip(segment.times, outputs):
                trained = trained or type(y) is Tensor and y.requires_grad
                ys[t] = _array(y)
            tied = next((i for i in plan.packed if last[i] is outputs[-1]), None)
    for i, part in plan.packed.items():
        pack[part] = last[i].array.reshape(-1)
    plan.sources = [x for x in (xs if isinstance(xs, list) else [xs]) if type(x) is Tensor and x.requires_grad]
    plan.initial = [i for i, s in enumerate(flatten(plan.state)) if type(s) is Tensor and s.requires_grad]
    plan.outputs = ys.shape if np.may_share_memory(ys, pack) else None
    tensors = (*plan.sources, *(flatten(plan.state)[i] for i in plan.initial), *captured.found.values())
    if not any(x.requires_grad for x in tensors):
        return _leaf(ys.astype(dtype, copy=False)), _leaves(state)
    node = remember("unroll", pack, tensors, _gradients, plan=plan)
    leaves = flatten(_leaves(state))
    for i, part in plan.packed.items():
        if last[i].requires_grad:
            leaves[i] = node[part].reshape(last[i].shape).astype(last[i].dtype)
    of_node = trained and plan.outputs
    result = node[:ys.size].reshape(ys.shape).astype(dtype) if of_node else _leaf(ys.astype(dtype, copy=False))
    return result, rebuild(state, leaves)


def _array(y: Any) -> np.ndarray:
    return y.array if type(y) is Tensor else y


def _leaves(state: Nested) -> Nested:
    """The state without its history; what required gradients still does."""
    return rebuild(state, [_fresh(s.array, s.requires_grad) if type(s) is Tensor else s for s in flatten(state)])


def _fresh(array: np.ndarray, requires_grad: bool) -> Tensor:
    leaf = _leaf(array)
    leaf.requires_grad = requires_grad
    return leaf


def _elements(xs: Any, times: range) -> Any:
    """What ``xs[t]`` gives at these times: leaves, so that a segment's walk ends there."""
    if isinstance(xs, list):
        return {t: _fresh(xs[t].array, xs[t].requires_grad) for t in times}
    return {t: _fresh(xs.array[t], True) for t in times} if type(xs) is Tensor else xs


def _allocate(T: int, y: Any, last: list[Any]) -> tuple[np.ndarray, np.ndarray, dict[int, slice]]:
    """One array for all that can have gradients: (it, the view of T outputs like y in it, {leaf of the last state: its slice})."""
    floating = {i: s.array for i, s in enumerate(last) if type(s) is Tensor and s.dtype.kind in "fc"}
    own = y.dtype.kind in "fc"
    arrays = [y, *floating.values()] if own else list(floating.values())
    at, packed = T * y.size if own else 0, {}
    for i, s in floating.items():
        packed[i] = slice(at, at + s.size)
        at += s.size
    pack = np.empty(at, np.result_type(*arrays) if arrays else float)
    shape = (T, *y.shape)
    return pack, pack[:T * y.size].reshape(shape) if own else np.empty(shape, y.dtype), packed


def _gradients(g: Any, y: Any, *, tensors: Any, plan: _Plan) -> list[Any]:
    """Gradients for ``tensors``, one segment after the other; second orders and Jacobians from the whole sequence, recorded."""
    if type(g) is Tensor or g.ndim > 1:
        return again(g, y, lambda: _whole(plan), tensors, plan.segments[0].generators, plan.place)
    with collector_paused():
        return _backwards(g, y, tensors, plan)


def _backwards(g: Any, y: Any, tensors: Any, plan: _Plan) -> list[Any]:
    """From the last segment to the first: run it, walk back through it, and hand on what arrived at the state it began with."""
    captured = tensors[len(plan.sources) + len(plan.initial):]
    stops, tied = {x.index for x in captured}, None
    sums: dict[int, np.ndarray] = {}
    gx: dict[int, np.ndarray] = {}
    gy: Any = None if plan.outputs is None else g[:int(np.prod(plan.outputs))].reshape(plan.outputs)
    after, values = ({i: array[part] for i, part in plan.packed.items()} for array in (g, y))       # of the state behind the segment
    for n in range(len(plan.segments) - 1, -1, -1):
        segment = plan.segments[n]
        elements, before = _elements(plan.xs, segment.times), flatten(segment.state)
        with as_before(segment.generators, plan.place):
            outputs, last = plan.run(elements, segment.state, segment.times)
        last = flatten(last)
        for i, value in values.items():
            check_value(value.reshape(last[i].shape), last[i].array)
        arrived = [] if gy is None else [(x, gy[t]) for x, t in zip(outputs, segment.times) if type(x) is Tensor]
        if tied is not None:            # what arrived at this output was the first to arrive at the state: see below, one segment later
            arrived.pop()
        if segment.tied is not None:
            arrived.append((before[segment.tied], gy[plan.segments[n - 1].times[-1]]))
        arrived += [(last[i], part.reshape(last[i].shape)) for i, part in after.items()]
        arrived += [(x, sums[x.index]) for x in captured if x.index in sums]
        found = _walk([x for x, _ in arrived], [part for _, part in arrived], stops=stops)
        sums = {i: found[i][1] for i in stops if i in found}
        after = {i: found[x.index][1] for i, x in enumerate(before) if type(x) is Tensor and x.index in found}
        if type(elements) is dict:
            gx.update((t, found[x.index][1]) for t, x in elements.items() if x.index in found)
        values, tied = {i: before[i].array for i in plan.packed}, segment.tied
    start = flatten(plan.state)
    return [*_of_sequence(plan.xs, gx), *(after.get(i, np.zeros_like(start[i].array)) for i in plan.initial),
            *(sums.get(x.index, np.zeros_like(x.array)) for x in captured)]


def _of_sequence(xs: Any, gx: dict[int, np.ndarray]) -> list[np.ndarray]:
    """The gradients of what was given as xs and requires them: one array, or one of each step."""
    if isinstance(xs, list):
        return [gx.get(t, np.zeros_like(x.array)) for t, x in enumerate(xs) if x.requires_grad]
    if type(xs) is not Tensor:
        return []
    whole = np.zeros_like(xs.array)
    for t, g in gx.items():
        whole[t] = g
    return [whole]


def _whole(plan: _Plan) -> list[Any]:
    """What the node's array holds, recorded step by step: the outputs, and the floating leaves of the last state."""
    outputs, last = plan.run(plan.xs, plan.state, plan.times)
    last = flatten(last)
    in_order = [outputs[i] for i in np.argsort(plan.times)]
    stacked: Any = np.stack(in_order)
    return [*([stacked if type(stacked) is Tensor else Tensor(stacked)] if plan.outputs else []), *(last[i] for i in plan.packed)]
