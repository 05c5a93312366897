"""Names: what the author called the values, captured in one extra traced step and never per op.

A value is found again by its *offset*: how many Tensors were made in its time step before it. The same offset and op in
every step is the same line of the cell.
"""
from __future__ import annotations

import itertools
import linecache
import os
import sys
from types import FrameType
from typing import Any, Callable

import numpy as np

from ..checkpoint import generators_of
from ..module import Module
from ..nested import flatten, rebuild
from ..place import Loop, variables
from ..tensor import Tensor, _clock, mode
from .data import Graph, Node

Names = tuple[dict[int, tuple[Any, ...]], list[tuple[str, Tensor]]]        # {offset: (name, op name, call, source)}, [(name, leaf)]


def name_nodes(graph: Graph, aliases: dict[int, Tensor]) -> None:
    """Give the nodes of every loop the names of the author's variables; names that Tensors have already stay.

    aliases  {id of a Tensor: the Tensor that stands for it in the graph}, where a scan was unfolded
    """
    loops, steps = {}, {}
    by_tensor = {id(n.tensor): n for n in graph.nodes if n.tensor is not None}
    for node in graph.nodes:
        place = node.tensor.place if node.tensor is not None else None
        if place is None or place.loop.id in loops:
            continue
        loop = place.loop
        loops[loop.id] = values, leaves = _names_of(loop)
        states = {id(x) for x in flatten(loop.initial)} if loop.cell is not None else \
            _rebound(loop, leaves)
        for name, leaf in leaves:
            known = by_tensor.get(id(leaf))
            if known is not None and known.op is None:
                known.name = known.name or name
        for i in states & by_tensor.keys():
            steps[by_tensor[i].id] = loop.id
    found, other = [], set()
    for node in graph.nodes:
        place = node.tensor.place if node.tensor is not None else None
        if place is None or node.kind == "parameter":
            continue
        name, op, call, source = loops[place.loop.id][0].get(node.tensor.index - place.start, (None, None, None, None))
        if op is not None and op != (node.op.name if node.op else None):
            other.add((place.loop.id, place.step))      # this step went another way than the first: its names are not known
        if name is not None and node.name is None or source is not None:
            found.append((node, place, name, call, source))
    for node, place, name, call, source in found:
        if (place.loop.id, place.step) not in other or node.op is None:
            node.source = source
            if name is not None and node.name is None:
                node.name, node.call = name, call
    for i, loop in steps.items():
        if graph.nodes[i].op is None:
            graph.nodes[i].step, graph.nodes[i].loop = 0, loop
    for name, x in _callers_variables():
        x = aliases.get(id(x), x)
        if type(x) is Tensor and id(x) in by_tensor:
            node = by_tensor[id(x)]
            node.name = node.name or name
    _tell_apart(graph)


def _rebound(loop: Loop, leaves: list[tuple[str, Tensor]]) -> set[int]:
    """Ids of the leaves whose variable a hand-written loop binds again: states."""
    bound = {name for name, _ in loop.names.values()}
    return {id(x) for name, x in leaves if name in bound}


def _tell_apart(graph: Graph) -> None:
    """Parameters of several cells that have one name get a number in front, in the order they were made: ``1.W_h``, ``2.W_h``."""
    same: dict[str, list[Node]] = {}
    for node in graph.nodes:
        if node.kind == "parameter" and node.name:
            same.setdefault(node.name, []).append(node)
    for name, nodes in same.items():
        if len(nodes) > 1:
            for k, node in enumerate(nodes, 1):
                node.name = f"{k}.{name}"


def _callers_variables() -> list[tuple[str, Tensor]]:
    """What the code that asked for the graph calls its values, the outermost caller first: names outside of time."""
    found: list[list[tuple[str, Tensor]]] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if not frame.f_code.co_filename.startswith(_HOUSE):
            found.append([(n, x) for n, x in variables(frame) if type(x) is Tensor])
        frame = frame.f_back
    return [pair for variables in reversed(found) for pair in variables]


def _names_of(loop: Loop) -> Names:
    """({offset: (name, op name, call, source)}, [(name, leaf Tensor)]) of one loop.

    call: the how-manieth function called in a step named it.
    """
    if loop.cell is None:
        return ({offset: (name, op, 0, None) for offset, (name, op) in loop.names.items()},
                [(name, ref()) for name, ref in loop.initial if ref() is not None])
    return _traced(loop)


def _traced(loop: Loop) -> Names:
    """Run the first step again, and read the variables of every function after each of its lines."""
    (like, arrays), state = loop.x, loop.state
    x = rebuild(like, [Tensor(array, requires_grad) for array, requires_grad in arrays])
    found: dict[int, tuple[int, str, int]] = {}
    ops: dict[int, tuple[Any, ...]] = {}
    leaves: dict[int, tuple[str, Tensor]] = {}
    before = (mode.watch, mode.recording, mode.place, sys.gettrace())
    generators = [(g, g.bit_generator.state) for g in generators_of(loop.cell)]     # looking at a cell changes nothing in it
    start, calls = 0, itertools.count(1)

    def read(frame: FrameType, depth: int, call: int) -> None:               # pragma: no cover: a trace function is not traced itself
        for name, value in frame.f_locals.items():
            for value, name in ([(value, name)] if type(value) is Tensor else
                                [(p, n) for n, p in value.parameters().items()] if isinstance(value, Module) and depth == 0 else ()):
                if name[0] == "_":
                    continue
                if value.index > start:
                    if value.index not in found or found[value.index][0] > depth:
                        found[value.index] = (depth, name, call)
                else:
                    leaves.setdefault(id(value), (name, value))

    def tracer(frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:         # pragma: no cover
        depth, f, call = 0, frame.f_back, next(calls)
        while f is not None and f is not here:
            depth, f = depth + 1, f.f_back
        if frame.f_code.co_filename in _OWN or frame.f_code.co_filename.startswith(_NUMPY):
            return None

        def lines(frame: FrameType, event: str, argument: Any) -> Callable[..., Any]:
            if event != "call":
                read(frame, depth, call)
            return lines
        return lines

    def watch(out: Any) -> None:                             # pragma: no cover
        ops[out.index] = out.op.name, _line(sys._getframe(1), here)
    here = sys._getframe()
    try:
        mode.watch, mode.recording, mode.place = watch, True, None
        start = _clock()
        sys.settrace(tracer)
        try:
            loop.cell(x, state)
        finally:
            sys.settrace(before[3])
    except Exception:      # a cell that cannot run twice is drawn without names
        pass
    finally:
        mode.watch, mode.recording, mode.place = before[:3]
        for generator, drawn in generators:
            generator.bit_generator.state = drawn
    names: dict[int, tuple[Any, ...]] = {index - start: (None, op, None, source) for index, (op, source) in ops.items()}
    names.update((index - start, (name, ops.get(index, (None, None))[0], call, ops.get(index, (None, None))[1]))
                 for index, (_, name, call) in found.items())
    if id(x) in leaves:
        names[-1] = (leaves[id(x)][0], None, 0, None)       # x is made just before its step begins
    return names, list(leaves.values())


def _line(frame: FrameType | None, here: FrameType) -> tuple[str, int, str] | None:        # pragma: no cover: as above
    """The line of the cell that an op was recorded in: (function, line number, text)."""
    while frame is not None and frame is not here:
        code = frame.f_code
        if code.co_filename not in _OWN and not code.co_filename.startswith(_NUMPY):
            return code.co_qualname, frame.f_lineno, linecache.getline(code.co_filename, frame.f_lineno).strip()
        frame = frame.f_back
    return None


_HOUSE = str(sys.modules["minigrad.tensor"].__file__).rsplit("tensor.py", 1)[0]
_OWN = {__file__} | {os.path.join(_HOUSE, *name.split("/")) + ".py" for name in          # whose variables name nothing
                     "tensor ops/record ops/values ops/calls ops/composed ops/table protocol/arithmetic protocol/products protocol/shapes "
                     "recurrent/compose recurrent/wrappers".split()}
_NUMPY = os.path.dirname(str(np.__file__)) + os.sep                        # nor do those of its dispatchers
