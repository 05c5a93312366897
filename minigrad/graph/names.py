"""Names: what the author called the values, captured in one extra traced step and never per op.

A value is found again by its *offset*: how many Tensors were made in its time step before it. The same offset and op in
every step is the same line of the cell.
"""
from __future__ import annotations

import itertools
import linecache
import os
import sys
from contextlib import suppress
from types import FrameType
from typing import Any, Callable

import numpy as np

from ..checkpoint import as_before, generators_of
from ..modes import _Switch
from ..module import Module
from ..nested import flatten, rebuild
from ..place import Loop, variables
from ..tensor import Tensor, _clock
from .data import Graph, Node

Line = tuple[str | None, str | None, int | None, Any]       # name, op's name, which of the functions called in a step, Node.source
Names = tuple[dict[int, Line], list[tuple[str, Tensor]]]    # {offset: line}, [(name, leaf)]


def name_nodes(graph: Graph, aliases: dict[int, Tensor]) -> None:
    """Give the nodes of every loop the names of the author's variables; names that Tensors have already stay.

    aliases  {id of a Tensor: the Tensor that stands for it in the graph}, where a scan was unfolded
    """
    by_tensor = {id(n.tensor): n for n in graph.nodes if n.tensor is not None}
    leaf_nodes = {i: n for i, n in by_tensor.items() if n.op is None}
    placed = [(n, n.tensor.place) for n in by_tensor.values() if n.tensor.place is not None]
    names = {}
    for loop in {place.loop.id: place.loop for _, place in placed}.values():
        names[loop.id], leaves = _traced(loop) if loop.cell is not None else _of_a_loop(loop)
        bound = {line[0] for line in names[loop.id].values()}
        states = flatten(loop.initial) if loop.cell is not None else [x for name, x in leaves if name in bound]
        for given, leaf in leaves:
            if id(leaf) in leaf_nodes:
                leaf_nodes[id(leaf)].name = leaf_nodes[id(leaf)].name or given
        for x in states:
            if id(x) in leaf_nodes:
                leaf_nodes[id(x)].step, leaf_nodes[id(x)].loop = 0, loop.id
    lines = [(node, (place.loop.id, place.step), names[place.loop.id].get(node.tensor.index - place.start, (None,) * 4))
             for node, place in placed if node.kind != "parameter"]
    other = {where for node, where, (_, op, *_) in lines if op is not None and op != (node.op.name if node.op else None)}
    for node, where, (name, _, call, source) in lines:
        if where not in other or node.op is None:           # the others' step went another way than the first: its names are not known
            node.source = source
            if name is not None and node.name is None:
                node.name, node.call = name, call
    for name, x in _callers_variables():
        called = by_tensor.get(id(aliases.get(id(x), x)))
        if called is not None:
            called.name = called.name or name
    _tell_apart(graph)


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
    frames = [frame for frame in _outwards(sys._getframe(1)) if not frame.f_code.co_filename.startswith(_HOUSE)]
    return [(name, x) for frame in reversed(frames) for name, x in variables(frame) if type(x) is Tensor]


def _outwards(frame: FrameType | None, to: FrameType | None = None) -> list[FrameType]:
    """The frame, who called it, and so on, as far as ``to``; a list, since each step of a generator would be traced."""
    frames = []
    while frame is not None and frame is not to:
        frames.append(frame)
        frame = frame.f_back
    return frames


def _of_a_loop(loop: Loop) -> Names:
    """What a loop written by hand calls its values, read while it ran."""
    return ({offset: (name, op, 0, None) for offset, (name, op) in loop.names.items()},
            [(name, ref()) for name, ref in loop.initial if ref() is not None])


def _traced(loop: Loop) -> Names:
    """Run the first step again, and read the variables of every function after each of its lines."""
    (like, arrays), state = loop.x, loop.state
    x = rebuild(like, [Tensor(array, requires_grad) for array, requires_grad in arrays])
    found: dict[int, tuple[int, str, int]] = {}
    ops: dict[int, tuple[Any, ...]] = {}
    leaves: dict[int, tuple[str, Tensor]] = {}
    start, calls = 0, itertools.count(1)

    def read(frame: FrameType, depth: int, call: int) -> None:               # pragma: no cover: a trace function is not traced itself
        for name, value in frame.f_locals.items():
            for name, x in value.parameters().items() if isinstance(value, Module) and depth == 0 else [(name, value)]:
                if type(x) is not Tensor or name[0] == "_":
                    continue
                if x.index <= start:
                    leaves.setdefault(id(x), (name, x))
                elif x.index not in found or found[x.index][0] > depth:
                    found[x.index] = depth, name, call

    def tracer(frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:         # pragma: no cover
        if frame.f_code.co_filename.startswith(_NAMELESS):
            return None
        depth, call = len(_outwards(frame.f_back, here)), next(calls)

        def line(frame: FrameType, event: str, argument: Any) -> Callable[..., Any]:
            read(frame, depth, call)
            return line
        return line

    def watch(out: Any) -> None:                             # pragma: no cover
        ops[out.index] = out.op.name, None
        for f in _outwards(sys._getframe(1), here):
            if not f.f_code.co_filename.startswith(_NAMELESS):
                line = linecache.getline(f.f_code.co_filename, f.f_lineno).strip()
                ops[out.index] = out.op.name, (f.f_code.co_qualname, f.f_lineno, line)
                break
    here: FrameType | None = sys._getframe()
    before = sys.gettrace()
    # a cell that cannot run twice is drawn without names; looking at a cell changes nothing in it: its generators draw the same again
    with suppress(Exception), as_before([(g, g.bit_generator.state) for g in generators_of(loop.cell)], None), _Switch("watch", watch):
        start = _clock()
        sys.settrace(tracer)
        try:
            loop.cell(x, state)
        finally:
            sys.settrace(before)
    here = None            # a frame that holds itself would keep the graph alive
    names: dict[int, Line] = {}
    for index in {*ops, *found}:
        (op, source), (_, name, call) = ops.get(index, (None, None)), found.get(index, (0, None, None))
        names[index - start] = name, op, call, source
    if id(x) in leaves:
        names[-1] = (leaves[id(x)][0], None, 0, None)       # x is made just before its step begins
    return names, list(leaves.values())


_HOUSE = str(sys.modules["minigrad.tensor"].__file__).rsplit("tensor.py", 1)[0]
_NAMELESS = (__file__, os.path.dirname(str(np.__file__)) + os.sep,           # whose variables name nothing
             *[os.path.join(_HOUSE, *room) for room in (["tensor.py"], ["ops", ""], ["protocol", ""], ["recurrent", "compose.py"],
                                                        ["recurrent", "wrappers.py"])])
