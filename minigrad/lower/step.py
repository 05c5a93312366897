"""One step of a cell as a list of operations, for other engines: what is computed from parameters, and what from x and the state.

The step is recorded by the compiler's tape, so a cell that branches on numbers or draws them inside is refused with the reason.
What follows the size of the batch is told by reading the step on examples with different numbers of rows.
"""
from __future__ import annotations

import keyword
import re
from typing import Any, NamedTuple

import numpy as np

from ..compile.trace import Tape
from ..compile.traced import CannotTrace
from ..graph import Graph
from ..modes import no_grad
from ..module import Module
from ..nested import Nested, flatten, rebuild
from ..ops import TABLE
from ..recurrent.state import called, check_cell
from ..tensor import Tensor

RESERVED = {"torch", "jax", "jnp", "np", "self", "xs", "ys", "params", "constants", "weights", "state", "step", "scan", "load", "forward",
            "one", "initial_state", "batch_size", "training", "type", "half", "float", "double", "train", "eval", "apply", "to"}
ROWS = 97, 89, 83           # of the examples: two readings have to agree, so that one of these may be a size of the cell's own


class Value(NamedTuple):
    """One value. ``kind``: "parameter", "constant" (an array), "number", "rows" (how many), "x", "state" or "op"."""
    name: str
    named: bool             # by the author
    kind: str
    op: Any
    inputs: tuple[Any, ...]
    attributes: dict[str, Any]
    sample: np.ndarray      # tells shape and dtype


class _Rows(Exception):
    """The number of rows in the example is seen where it means something, or looks like it."""


class Step:
    """A cell's step, read on one example.

    once, every   Values that are computed from parameters alone, and in each step, in order
    begin, first  Values that the initial state is computed by, and the initial state; None without ``initial_state``
    parameters    {name in the source: parameter}
    constants     {name: array}: arrays that the cell met and that take no gradients
    x, state, y, new   Values that come in and go out
    """

    def __init__(self, cell: Any, x: Any = None, state: Nested = None) -> None:
        check_cell("lower", cell)
        self.cell, self.title = cell, called(cell)
        self.identifier = re.sub(r"\W+", "_", self.title).strip("_")
        self.example, self.given = _example(cell, x), state
        self.batched = self.example.ndim > 1
        if state is None and not hasattr(cell, "initial_state"):
            raise ValueError(f"lower: {self.title} has no initial_state(batch_size); pass state=, an example of its state")
        with no_grad():                                                 # what is wrong with a step is said best by a step
            cell(_leaf(self.example), cell.initial_state(len(self.example) if self.batched else None) if state is None else state)
        seen, why = [], "two readings of a step differ. If numbers are drawn in it, switch that off with .eval()"
        for rows in ROWS if self.batched else (None, None):
            self.rows = rows
            try:
                self._read()
            except _Rows as found:
                why = str(found)
                continue
            except CannotTrace as error:
                raise ValueError(f"{self.title} cannot be written for another engine: {error}") from None
            if self._summary() in seen:
                return
            seen.append(self._summary())
        raise ValueError(f"{self.title} cannot be written for any number of rows: {why}")

    def _summary(self) -> tuple[Any, ...]:
        """What two readings have to agree in."""
        lines = [(v.name, v.op.name, repr(v.attributes), [i.name for i in v.inputs]) for v in (*self.once, *self.every, *self.begin)]
        return lines, {name: (a.shape, a.tobytes()) for name, a in self.constants.items()}

    def _read(self) -> None:
        x, cell = self._resized(self.example), self.cell
        start = cell.initial_state(self.rows) if self.given is None else self.given
        leaves = flatten(start) if self.given is None else [_leaf(self._resized(_leaf(s).data)) for s in flatten(start)]
        self.taken: set[str] = set()
        self.late: set[str] = set()
        self.once: list[Value] = []
        self.every: list[Value] = []
        self.begin: list[Value] = []
        self.parameters: dict[str, Tensor] = {}
        self.constants: dict[str, np.ndarray] = {}
        self.count = 0
        self.own: dict[int, str] = {id(p): name for name, p in cell.parameters().items()} if isinstance(cell, Module) else {}
        tape = Tape(cell, _leaf(x), rebuild(start, leaves), True, False)
        self.known: dict[Any, Value] = {}                               # id of a Tensor, numbers of a constant -> its Value
        values: dict[int, Value] = {}
        for node in tape.nodes:                                         # the names of what comes in are the author's
            if node.kind in ("x", "state"):
                name = self._free(node.name or {"x": "x", "state": "s"}[node.kind])
                values[node.id] = Value(name, True, node.kind, None, (), {}, np.asarray(node.value))
        self.x = next(v for v in values.values() if v.kind == "x")
        self.state = [v for v in values.values() if v.kind == "state"]
        count = Value(f"{self.x.name}.shape[0]", True, "rows", None, (), {}, np.asarray(self.rows or 0))
        outside = [t for t in tape.found if isinstance(t, Tensor)]
        self._outside(outside, self.once, count)
        for node in tape.nodes:
            if node.kind == "invariant":
                met = tape.found[node.position]
                values[node.id] = self.known[id(met)] if isinstance(met, Tensor) else self._constant(met, node.name, self.every, count)
            elif node.kind == "number":
                values[node.id] = self._number(node.value)
            elif node.kind == "op":
                values[node.id] = self._operation(node, [values[i.id] for i in node.inputs], node.name, self.every, count)
        self.y, self.new = values[tape.y[0].id], [values[n.id] for n in tape.new]
        self.first = None
        if self.given is None:
            batch_size = count._replace(name="batch_size")
            self._outside(leaves, self.begin, batch_size)
            self.first = [self.known[id(s)] for s in leaves]

    def _resized(self, array: np.ndarray) -> np.ndarray:
        return np.resize(array, (self.rows, *array.shape[1:])) if self.batched else array

    def _outside(self, tensors: list[Tensor], into: list[Value], count: Value) -> None:
        """What Tensors that were made outside of the step are computed from."""
        values: dict[int, Value] = {}
        for node in Graph.of(*tensors, names=False).nodes if tensors else ():
            if node.tensor is not None and id(node.tensor) in self.known:
                value = self.known[id(node.tensor)]
            elif node.op is not None:
                value = self._operation(node, [values[i] for i in node.inputs], node.name, into, count)
            elif node.kind == "parameter":
                value = self._parameter(node)
            elif node.value.ndim == 0:
                value = self._number(node.value.item())
            else:
                value = self._constant(node.value, node.name, into, count)
            values[node.id] = value
            if node.tensor is not None:
                self.known[id(node.tensor)] = value

    def _parameter(self, node: Any) -> Value:
        name = self._free(self.own.get(id(node.tensor)) or node.tensor.name or "theta")
        self.parameters[name] = node.tensor
        return Value(name, True, "parameter", None, (), {}, node.value)

    def _number(self, value: Any) -> Value:
        if self.rows and value in (self.rows, 1 / self.rows):
            raise _Rows("it computes with the number of rows; take np.mean over the axis instead")
        return Value(repr(value) if np.isfinite(value) else f"float('{value}')", True, "number", None, (), {}, np.asarray(value))

    def _constant(self, array: Any, name: str | None, into: list[Value], count: Value) -> Value:
        """An array. One that was made for the rows of the example is kept as one row, and spread over as many as there are."""
        array = np.asarray(array)
        shape, spread = array.shape, self.rows in array.shape
        if spread:
            if shape[0] != self.rows or self.rows in shape[1:] or not np.array_equal(array, np.broadcast_to(array[:1], shape)):
                raise _Rows(f"it met an array of shape {shape} that is not the same for every row. If it is drawn in each step, switch "
                            "that off with .eval(); if it belongs to the batch, put it into x or the state")
            array = array[:1]
        key = array.dtype.str, array.shape, array.tobytes()
        if key not in self.known:
            same = array.size and (array == array.flat[0]).all()
            free = self._free(name or ({0: "zeros", 1: "ones"}.get(array.flat[0], "constant") if same else "constant"))
            self.constants[free] = array
            self.known[key] = Value(free, True, "constant", None, (), {}, array)
        value = self.known[key]
        if spread:
            value = Value(self._temporary(), False, "op", TABLE["broadcast_to"], (value, count), {"shape": (None, *shape[1:])},
                          np.broadcast_to(array, shape))
            self._into(into, value)
        return value

    def _operation(self, node: Any, inputs: list[Value], name: str | None, into: list[Value], count: Value) -> Value:
        attributes, rows = dict(node.attributes), self.rows
        if rows and node.op.name == "reshape" and attributes["shape"][:1] == (rows,) == np.shape(inputs[0].sample)[:1] and \
                attributes["rank"] == np.ndim(inputs[0].sample):
            attributes.update(shape=attributes["shape"][1:], rank=attributes["rank"] - 1)       # each row by itself
        if rows and node.op.name in ("broadcast_to", "scatter_add") and rows in attributes["shape"]:
            attributes["shape"] = tuple(None if n == rows else n for n in attributes["shape"])
            inputs = [*inputs, count]
        if rows and any(n >= rows and n % rows == 0 for n in _sizes(attributes)):
            raise _Rows(f"{node.op.name} takes rows and columns together, or as many rows as the example has ({attributes})")
        value = Value(self._free(name) if name else self._temporary(), bool(name), "op", node.op, tuple(inputs), attributes,
                      np.asarray(node.value))
        self._into(into, value)
        return value

    def _into(self, values: list[Value], value: Value) -> None:
        """What depends on the number of rows is no matter of parameters alone."""
        if values is self.once and any(i.kind == "rows" or i.name in self.late for i in value.inputs):
            self.late.add(value.name)
            values = self.every
        values.append(value)

    def _temporary(self) -> str:
        self.count += 1
        return f"_t{self.count}"                # the source numbers those that are left

    def _free(self, name: str) -> str:
        """A Python name that is not taken: h, and what it becomes, h_new."""
        name = re.sub(r"\W", "_", name)
        name = f"v_{name}" if name[0].isdigit() or keyword.iskeyword(name) or name in RESERVED or name[:2] == "_t" else name
        n, free = 1, name if name not in self.taken else f"{name}_new"
        while free in self.taken:
            n, free = n + 1, f"{name}_{n + 1}"
        self.taken.add(free)
        return free

    @property
    def ops(self) -> list[str]:
        """Names of the ops that the step is made of."""
        return sorted({v.op.name for v in (*self.once, *self.every)})


def _sizes(attributes: dict[str, Any]) -> list[int]:
    """Every whole number in static arguments; of arrays the shape."""
    found, stack = [], [v for k, v in attributes.items() if k != "starts"]
    while stack:
        v = stack.pop()
        if isinstance(v, (tuple, list)):
            stack.extend(v)
        elif isinstance(v, slice):
            stack.extend((v.start, v.stop))
        elif isinstance(v, np.ndarray):
            stack.extend(v.shape)
        elif isinstance(v, (int, np.integer)) and not isinstance(v, bool):
            found.append(int(v))
    return found


def _leaf(x: Any) -> Tensor:
    return x if isinstance(x, Tensor) else Tensor(x)


def _example(cell: Any, x: Any) -> np.ndarray:
    """An example of one step's input: as given, or rows of the cell's input size, if that can be seen."""
    if x is not None:
        return x.data if isinstance(x, Tensor) else np.asarray(x)
    first = cell
    while hasattr(first, "cells") or hasattr(first, "cell"):            # stacked, wrapped
        first = first.cells[0] if hasattr(first, "cells") else first.cell
    size = getattr(first, "input_size", None) or (len(first.W_x) if hasattr(first, "W_x") else None)
    if size is None:
        raise ValueError(f"lower cannot see the input size of this {called(cell)}: pass x, an example of one step's input (B, D)")
    dtype = next((p.dtype for p in cell.parameters().values()), float) if isinstance(cell, Module) else float
    return np.random.default_rng(0).standard_normal((3, size)).astype(dtype)


def missing(step: Step, table: dict[str, Any], target: str, values: list[Value]) -> None:
    """Complain about ops that the target's table has no entry for."""
    gaps = sorted({v.op.name for v in values} - table.keys())
    if gaps:
        raise ValueError(f"{step.title} uses {', '.join(gaps)}, for which there is no entry for {target}; write the step with other "
                         f"functions, or add an entry to the table of minigrad/lower/to_{target}.py")
