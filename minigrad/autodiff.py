"""The reverse walk: how gradients flow from an output to everything it was computed from.

One walk, ``_walk``, that names no op: it goes down the creation indices, asks each op's rules for the gradients of its
inputs, undoes broadcasting and adds. Creation order is a topological order: when the walk takes the latest node that is
waiting, every consumer of the node (made later) has already added its part. This is back-propagation; over an unrolled recurrent
network it is back-propagation through time. Nothing here is recursive, so no sequence is too long.
"""
from __future__ import annotations

import functools
import itertools
import math
from heapq import heappop, heappush
from operator import attrgetter
from typing import Any, Collection, Iterable, Sequence

import numpy as np

from .errors import at
from .ops import Later, numbers
from .ops.values import sum_rows
from .modes import _locks, _look, _made_at
from .tensor import Tensor, Value, _leaf, _plain, mode, ndarray

_SEVERAL = 8        # so many gradients that are left for later wait at most: enough for one good product, little to hold


# ---- the walk -----------------------------------------------------------------------------------------------------------

def _walk(roots: Sequence[Tensor], cotangents: Sequence[Any], *, wanted: Collection[int] | None = None, keep: bool = False,
          graph: bool = False, lead: int = 0, stops: Collection[int] = ()) -> dict[int, tuple[Tensor, Any]]:
    """The gradient of Σ cotangent·root: a dict index -> (tensor, gradient) of the leaves, or of ``wanted``; with ``keep`` of all.

    Those of leaves are arrays that nobody else holds (without ``graph``).

    graph  True: gradients are Tensors and record themselves, so that they can be differentiated again
    lead   how many leading axes of the cotangents stand for several walks at once (jacobian)
    stops  indices of nodes that count as leaves: what lies behind them is another walk's (checkpoint)
    """
    # index -> [tensor, sum so far, is it an array of the walk's own?, what is left for later]; the nodes among them, the latest first
    arriving: dict[int, list[Any]] = {}
    ahead: list[int] = []
    kept: dict[int, tuple[Tensor, Any]] = {}
    for root, g in zip(roots, cotangents):
        if root.index in arriving:
            arriving[root.index][1] = arriving[root.index][1] + g
        elif root.requires_grad:
            arriving[root.index] = [root, g, False, None]
            if root.op is not None and root.index not in stops:
                heappush(ahead, -root.index)
    needed = None if wanted is None else _leading_to(wanted, roots, stops)
    look = bool(_locks) and mode.watch is not None and not graph
    try:
        while ahead:
            index = -heappop(ahead)
            entry = arriving.pop(index)
            if entry[3]:
                _add_later(entry, lead)
            node, g = entry[0], entry[1]
            if keep or wanted is not None and index in wanted:
                kept[index] = node, g
                if needed is not None and not any([type(x) is Tensor and x.index in needed for x in node.inputs]):
                    continue                                    # nothing behind it is asked for
            op, rules, more = node.op, node.op.rules, node.attributes
            if graph or op.special:
                rules, arguments, more = _special(node, g, graph)
            else:
                arguments = g, node.array, *node.arrays
            for x, rule in zip(node.inputs, rules):
                if type(x) is not Tensor:
                    continue
                key = x.index
                if key > index and (x.requires_grad or any(x.array is a for a in node.arrays)):     # a constant: changed in place
                    raise RuntimeError(f"{x.label()} was changed after {op.name}{at(node.place)} had used it, so the gradient would be "
                                       "wrong; change data only after backward(), or run the forward pass again")
                if not x.requires_grad or rule is None or needed is not None and key not in needed:
                    continue
                into = arriving.get(key)
                if into is None:
                    arriving[key] = into = [x, None, False, None]
                    if x.op is not None and key not in stops:
                        heappush(ahead, -key)
                part = rule if arguments is None else rule(*arguments) if more is None else rule(*arguments, **more)
                if type(part) is not ndarray and isinstance(part, Later):
                    if not graph:
                        if look:
                            _look(part.dense(), node)
                        _leave(part, into, lead)
                        continue
                    part = part.dense()
                if (part.shape[lead:] if lead else part.shape) != x.array.shape:
                    part = _unbroadcast(part, x.array.shape, lead)
                if look:
                    _look(part, node)
                if into[1] is None:
                    into[1] = part                              # the first by reference (found jointly, it is nobody else's),
                    into[2] = arguments is None and type(part) is ndarray
                elif into[2]:
                    into[1] += part                             # later ones in place
                else:
                    into[1] = total = into[1] + part            # the second into an array of our own
                    into[2] = type(total) is ndarray            # (a 0-d sum is a NumPy scalar, in a graph a Tensor: never in place)
    except Exception as error:
        _add_note(error, node)
        raise
    for index, entry in arriving.items():
        if wanted is None or index in wanted:
            if entry[3]:
                _add_later(entry, lead)
            x, g, owned, _ = entry
            kept[index] = x, g if graph or owned and type(g) is ndarray else np.array(g)
    return kept


def _special(node: Any, g: Any, graph: bool) -> tuple[Iterable[Any], tuple[Any, ...] | None, dict[str, Any] | None]:
    """Rules, their arguments and attributes, in a graph and for the ops whose rules want something else than arrays.

    Arguments None: instead of rules, the gradients that one rule found for all inputs together.
    """
    op, y, arguments, more = node.op, node.array, node.arrays, node.attributes
    if graph:
        y, arguments = node, tuple([x if type(x) is Tensor and x.array is a else a for x, a in zip(node.inputs, arguments)])
    if op.saves:
        more = {**(more or {}), "saved": None if graph else node.saved}
    if op.variadic == "jointly":
        return op.rules[0](g, y, arguments, **(more or {})), None, None
    if op.variadic:                 # all arguments in one tuple: unpacked, T parts would cost T²
        return map(functools.partial, itertools.repeat(op.rules[0]), itertools.count()), (g, y, arguments), more
    return op.rules, (g, y, *arguments), more


def _leave(part: Later, entry: list[Any], lead: int) -> None:
    """Let ``part`` wait beside others of its kind; when there are several, they are added first."""
    waiting = entry[3]
    if waiting and (len(waiting) == _SEVERAL or type(waiting[0]) is not type(part)):
        _add_later(entry, lead)
    entry[3] = [*(entry[3] or ()), part]


def _add_later(entry: list[Any], lead: int) -> None:
    """Add what was left for later, into an array of the walk's own."""
    _, total, owned, waiting = entry
    if total is not None and not owned:
        total = np.array(total)                                 # of 0-d sums NumPy makes scalars, which nothing can be added into
    entry[1:] = type(waiting[0]).add(waiting, total, lead), True, None


def _leading_to(wanted: Iterable[int], roots: Iterable[Tensor], stops: Collection[int]) -> set[int]:
    """Indices of all that lies on a path from roots to a wanted one: elsewhere no gradient is computed."""
    needed = set(wanted)
    for node in history(roots, stops):
        for x in node.inputs if node.requires_grad else ():
            if type(x) is Tensor and x.index in needed:
                needed.add(node.index)
                break
    return needed


def history(roots: Iterable[Tensor], stops: Collection[int] = ()) -> list[Any]:
    """All Tensors that roots were computed from, nothing behind ``stops``, in the order they were made; leaves first, since their data
    may be set after their use."""
    found: dict[int, Any] = {}
    stack: list[Any] = list(roots)
    while stack:
        t = stack.pop()
        if id(t) not in found:
            found[id(t)] = t
            if t.index not in stops:
                stack.extend([x for x in t.inputs if type(x) is Tensor and id(x) not in found])
    ordered = sorted(found.values(), key=attrgetter("index"))
    return [t for t in ordered if t.op is None] + [t for t in ordered if t.op is not None]


def _unbroadcast(g: Any, shape: tuple[int, ...], lead: int) -> Any:
    """Sum g over the axes along which an operand of ``shape`` was stretched; leading axes of several walks stay."""
    if lead == 0 and type(g) is ndarray:        # the commonest first
        if g.size == math.prod(shape):
            return g.reshape(shape)             # only axes of length one to drop
        if shape and g.shape[1:] == shape:
            return sum_rows(g)                  # what is one for all rows: a bias
    extra = g.ndim - lead - len(shape)
    if extra < 0:
        raise ValueError(f"a gradient rule returned shape {g.shape} for an argument of shape {shape}")
    axes = tuple(range(lead, lead + extra)) + tuple(
        i + lead + extra for i, n in enumerate(shape) if n == 1 and g.shape[i + lead + extra] != 1)
    if axes:
        g = np.add.reduce(g, axis=axes) if type(g) is ndarray else np.sum(g, axis=axes)
    return g.reshape(g.shape[:lead] + shape)


def _add_note(error: Exception, node: Any) -> None:
    if type(error) is not RuntimeError and hasattr(error, "add_note"):
        made = _made_at.get(node.index)
        error.add_note(f"in the gradient of {node.op.name}{at(node.place)}" + (f", made at {made}" if made else
                       "; run it inside `with mg.debug():` to see where the op was made"))


# ---- what people call -----------------------------------------------------------------------------------------------------

def _as_cotangent(output: Value, cotangent: Any, what: str, keep: bool = False) -> Any:
    if not isinstance(output, Tensor):
        raise TypeError(f"{what} needs a Tensor, got {type(output).__name__}")
    if not output.requires_grad:
        raise RuntimeError(f"{what}: {output.label()} depends on nothing that requires gradients; make leaves with mg.parameter(…) "
                           "or Tensor(…, requires_grad=True), outside mg.no_grad()")
    if cotangent is None:
        if output.array.size != 1:
            raise ValueError(f"{what} needs a scalar or a cotangent: the output has shape {output.array.shape}; reduce it with .sum() or "
                             ".mean(), or pass cotangent= of that shape")
        return np.array(1, output.array.dtype, ndmin=output.array.ndim)
    array = cotangent.array if isinstance(cotangent, Tensor) else numbers(cotangent, f"cotangent of {what}: ")
    if array.shape != output.array.shape:
        raise ValueError(f"{what} got a cotangent of shape {array.shape} for an output of shape {output.array.shape}; they must be equal")
    return cotangent if keep and isinstance(cotangent, Tensor) else array.astype(output.array.dtype, copy=True)


def _check(what: str, inputs: Iterable[Any]) -> None:
    for i, x in enumerate(inputs):
        if not isinstance(x, Tensor):
            raise TypeError(f"{what} got a {type(x).__name__} as input {i}; expected Tensors (argument order: output, input)")
        if not x.requires_grad:
            raise RuntimeError(f"{what}: input {i}, {x.label()}, does not require gradients; make it with requires_grad=True")


def backward(self: Tensor, cotangent: Any = None, keep: bool = False) -> None:
    """Add the gradient of this tensor to ``.grad`` of every leaf it depends on.

    cotangent  array of this tensor's shape, the gradient that arrives; may be left out for a scalar (then 1)
    keep       True: intermediate tensors keep their ``.grad`` too (overwritten, not accumulated)

    >>> w = Tensor(3., requires_grad=True)
    >>> (w * w + w).backward()
    >>> w.grad
    array(7.)
    """
    g = _plain(_as_cotangent(self, cotangent, "backward()"))
    for x, g in _walk([self], [g], keep=keep).values():
        if x.op is not None:
            g = np.array(g)                             # others may hold it too
        elif x.grad is not None:
            g = x.grad + g
        x.grad = np.asarray(g, x.array.dtype)


def grad(output: Value, inputs: Tensor | Sequence[Tensor], *, cotangent: Any = None, create_graph: bool = False) -> tuple[Tensor, ...]:
    """Gradients of ``output`` with respect to ``inputs``: a tuple of Tensors, zeros where output does not depend on one.

    inputs        a Tensor or a sequence of Tensors, leaves or intermediate results
    cotangent     array or Tensor of output's shape; may be left out for a scalar
    create_graph  True: the gradients are recorded and can be differentiated again

    >>> x = Tensor(2., requires_grad=True)
    >>> first, = grad(x ** 3, x, create_graph=True)
    >>> grad(first, x)[0].item()
    12.0
    """
    inputs = (inputs,) if isinstance(inputs, Tensor) or not np.iterable(inputs) else tuple(inputs)
    _check("grad()", inputs)
    g = _as_cotangent(output, cotangent, "grad()", keep=create_graph)
    g = _plain(g) if not create_graph else g if isinstance(g, Tensor) else _leaf(g)
    found = _walk([output], [g], wanted={x.index for x in inputs}, graph=create_graph)
    gradients = [found[x.index][1] if x.index in found else np.zeros_like(x.array) for x in inputs]
    return tuple([g if isinstance(g, Tensor) else _leaf(np.array(g, x.array.dtype)) for g, x in zip(gradients, inputs)])


def jacobian(output: Value, input: Tensor, *, create_graph: bool = False) -> Tensor:
    """All first derivatives: an array-shaped Tensor of shape ``output.shape + input.shape``.

    Every rule holds with leading axes, so all rows are one walk with an identity in front.

    >>> x = Tensor([1., 2.], requires_grad=True)
    >>> jacobian(x * x, x).data
    array([[2., 0.],
           [0., 4.]])
    """
    if not isinstance(output, Tensor):
        raise TypeError(f"jacobian() got a {type(output).__name__} as output; expected a Tensor (argument order: output, input)")
    _check("jacobian()", (input,))
    shape, n = output.array.shape + input.array.shape, output.array.size
    if not output.requires_grad:
        return _leaf(np.zeros(shape, input.array.dtype))
    rows = np.eye(n, dtype=output.array.dtype).reshape((n,) + output.array.shape)
    found = _walk([output], [_leaf(rows) if create_graph else rows], wanted={input.index}, graph=create_graph, lead=1)
    _, g = found.get(input.index, (input, np.zeros(shape)))
    return g.reshape(shape) if isinstance(g, Tensor) else _leaf(np.array(g, input.array.dtype).reshape(shape))


def cotangents(root: Value, cotangent: Any = None) -> dict[int, ndarray]:
    """The gradient of ``root`` with respect to every recorded node: a dict ``Tensor.index -> ndarray``; no ``.grad`` is touched."""
    found = _walk([root], [_plain(_as_cotangent(root, cotangent, "cotangents()"))], keep=True)
    return {index: np.asarray(g) for index, (_, g) in found.items()}


Tensor.backward = backward
