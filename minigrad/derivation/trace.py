"""One time step of a cell, run on a sample: its recorded graph, and which nodes are x, the state, the output and the loss.

How long x is, is found out by trying; the batch gets a length that nothing else in the step has.
"""
from __future__ import annotations

from typing import Any, Iterator, NamedTuple

import numpy as np

from ..compile.trace import Tape
from ..compile.traced import ReadsNumbers
from ..graph import Graph
from ..modes import no_grad
from ..module import Module
from ..nested import Nested, flatten, rebuild
from ..recurrent import unroll
from ..recurrent.state import called, check_cell
from ..tensor import Tensor


class Roles(NamedTuple):
    """Which values of a step are what. ``leaves`` and ``new`` are the parts of the state before and after it."""
    x: Tensor
    leaves: list[Tensor]
    y: Tensor
    new: list[Tensor]
    loss: Tensor | None
    target: Tensor | None
    rows: int | None                # the length of the batch
    labels: list[str | None]        # what a dict or a NamedTuple calls the parts of the state


Traced = tuple[Graph, Roles]


def trace_step(cell: Any, x: Any, state: Nested, head: Any, target: Any, what: str = "derive") -> Traced:
    """(graph, roles): the recorded graph of one step, and which nodes x, the states, the output and so on are."""
    check_cell(what + "()", cell, hint=", or one of its class: mg.derive(mg.LSTMCell(3, 4))")
    failed = []
    for sample, batched in _samples(cell, x, state, what):
        try:
            return _with_rows(cell, sample, state, head, target) if batched else _run(cell, sample, None, state, head, target)
        except (TypeError, ValueError, IndexError) as error:
            if getattr(error, "final", False):
                raise
            failed.append((sample, error))
    if not failed:
        raise TypeError(f"{what}() cannot see how long x of {called(cell)} is: it has neither input_size nor parameters; pass x, one row "
                        f"of input: {what}(cell, np.zeros(D))")
    first = failed[0][1]
    tried = " or ".join(dict.fromkeys(str(s.shape) for s, _ in failed))
    raise type(first)(f"{what}() could not run one step of {called(cell)} on x of shape {tried}: {first}. Pass x, one row of input, "
                      f"(D,){'' if hasattr(cell, 'initial_state') else ', and state'}: {what}(cell, np.zeros(D))") from first


def _samples(cell: Any, x: Any, state: Nested, what: str) -> Iterator[tuple[np.ndarray, bool]]:
    """(x to try, in a batch or alone)."""
    parameters = list(cell.parameters().values()) if isinstance(cell, Module) else []
    if x is not None:
        x = np.asarray(x.data if isinstance(x, Tensor) else x)
        if x.dtype.kind not in "biuf":
            raise TypeError(f"{what}() got x of dtype {x.dtype}; expected numbers, one row of input (D,)")
        rows = [x]
    else:
        lengths = [getattr(cell, "input_size", None), *(p.shape[0] for p in parameters if p.ndim > 1),
                   *(p.shape[-1] for p in parameters if p.ndim)]
        widths = _widths(cell, state)
        lengths += [n - width for n in lengths[1:] for width in (sum(widths), widths[0])] if widths else []     # [x, h] W
        rows = [np.zeros(n) for n in dict.fromkeys(n for n in lengths if isinstance(n, int) and n > 0)]
    for row in rows:
        if row.ndim < 2:
            yield row, True
        yield row, False


def _with_rows(cell: Any, row: np.ndarray, state: Nested, head: Any, target: Any) -> Traced:
    """One step on a batch. Its length is a number that nothing else in the step has, as a second length shows: so it is known for sure
    which axes are the batch's."""
    sizes = {n for p in (cell.parameters().values() if isinstance(cell, Module) else ()) for n in p.shape}
    sizes |= {n for s in flatten(state) for n in getattr(s, "shape", ())} | set(row.shape) | set(np.shape(target))
    lengths = [n for n in (11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53) if n not in sizes]
    for n, m in zip(lengths, lengths[1:]):
        graph, roles = _run(cell, np.stack([row] * n), n, state, head, target)
        other, _ = _run(cell, np.stack([row] * m), m, state, head, target)
        shapes = [node.value.shape for node in graph.nodes], [node.value.shape for node in other.nodes]
        if [tuple(m if k == n else k for k in shape) for shape in shapes[0]] == shapes[1]:
            return graph, roles
    raise ValueError("the rows of a batch are mixed with another axis")


def _widths(cell: Any, state: Nested) -> list[int]:
    """How long the parts of the state are."""
    if state is None and hasattr(cell, "initial_state"):
        try:
            state = cell.initial_state(1)
        except Exception:           # what is wrong with it is said when the step runs
            return []
    return [shape[-1] for shape in (getattr(s, "shape", ()) for s in flatten(state)) if shape]


def final(error: Any) -> Any:
    """An error that another x would not mend."""
    error.final = True
    return error


def _spread(like: Any, rows: int | None) -> Any:
    return like if rows is None else np.stack([like] * rows)


def _run(cell: Any, sample: Any, rows: int | None, state: Nested, head: Any, target: Any) -> Traced:
    rng = np.random.default_rng(0)
    if state is None:
        if not hasattr(cell, "initial_state"):
            raise TypeError(f"{called(cell)} has no initial_state(batch_size); pass state, one row of it, for example np.zeros(H)")
        start = cell.initial_state(rows)
    else:
        start = rebuild(state, [_spread(np.asarray(s.data if isinstance(s, Tensor) else s), rows) for s in flatten(state)])
    leaves: list[Tensor] = []
    for s in flatten(start):
        array = np.asarray(s.data if isinstance(s, Tensor) else s)
        leaves.append(Tensor(array, requires_grad=array.dtype.kind == "f"))
    start = rebuild(start, leaves)
    smooth = sample.dtype.kind == "f"
    x = Tensor(rng.standard_normal(sample.shape).astype(leaves[0].dtype if leaves and leaves[0].dtype.kind == "f" else float)
               if smooth else sample, requires_grad=smooth)
    _look(cell, x, start)
    aim: Tensor | None = None
    seen: list[tuple[Any, Any]] = []
    if head is not None:
        aim = Tensor(_spread(np.asarray(target), rows))

    if hasattr(head, "prepare"):
        with no_grad():
            head.prepare(cell(x, start)[0], rows)

    def step(_x: Any, _state: Any) -> Any:                       # private names: they name nothing in the derivation
        _result = cell(_x, _state)
        if not isinstance(_result, tuple) or len(_result) != 2:
            raise final(TypeError(f"derive(): {called(cell)} returned {type(_result).__name__}; a cell returns the pair (y, state)"))
        _loss = None if head is None else head(_result[0], aim)
        seen.append((_result, _loss))
        return (_result[0] if _loss is None else _loss), _result[1]
    unroll(step, [x], start)
    (y, new), loss = seen[0]
    for part, name in [(y, "output"), *((s, "new state") for s in flatten(new)), *([(loss, "loss")] if head is not None else [])]:
        if type(part) is not Tensor:
            raise final(TypeError(f"derive(): the {name} of {called(cell)} is a {type(part).__name__}; expected a Tensor computed from x, "
                                  "the state and the parameters"))
    if loss is not None and loss.array.size != 1:
        raise final(ValueError(f"derive(): the head returned a loss of shape {loss.shape}; expected one number for a step: sum it over the "
                               "rows, reduction='sum'"))
    roots = [y, *flatten(new), *([loss] if loss is not None else [])]
    labels = list(_labels(start))
    graph = Graph.of(*roots, inputs=[x, *leaves, *([aim] if aim is not None else [])])
    return graph, Roles(x, leaves, y, flatten(new), loss, aim, rows, labels)


def _look(cell: Any, x: Any, start: Any) -> None:
    """A step that reads its own numbers is refused: it has other equations for other numbers."""
    try:
        Tape(cell, x, start, True)
    except ReadsNumbers as error:
        reason = str(error).removesuffix(", or use mg.unroll")
        raise final(ValueError(f"derive(): {called(cell)} has other equations for other numbers: {reason}")) from None
    except Exception:               # what else no tape can be made of is no obstacle here; a mistake shows when the step runs
        return


def _labels(state: Nested, label: str | None = None) -> Iterator[str | None]:
    """What a dict or a NamedTuple calls the parts of the state; None for others."""
    if isinstance(state, dict):
        for key, part in state.items():
            yield from _labels(part, str(key))
    elif hasattr(state, "_fields"):
        for key, part in zip(state._fields, state):
            yield from _labels(part, key)
    elif isinstance(state, (tuple, list)):
        for part in state:
            yield from _labels(part, label)
    elif state is not None:
        yield label
