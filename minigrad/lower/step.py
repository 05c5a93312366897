"""One step of a cell as a list of operations, for other engines: what is computed once from parameters, and what in every step.

The step is recorded by the compiler's tape, so a cell that branches on numbers or draws them inside is refused with the reason.
"""
import keyword
import re
from typing import Any, NamedTuple

import numpy as np

from ..autodiff import grad
from ..compile.trace import CannotTrace, Tape
from ..graph import Graph
from ..module import Module
from ..nested import flatten, rebuild
from ..recurrent import unroll
from ..recurrent.state import called, check_cell
from ..tensor import Tensor


ROWS = 97           # of the example: a number that is not written in a cell, so that rows are told from everything else


class Value(NamedTuple):
    """One value. ``kind``: "parameter", "constant" (an array), "number", "x", "state" or "op"; ``sample`` tells shape and dtype."""
    name: str
    named: bool                 # by the author
    kind: str
    op: Any
    inputs: tuple
    attributes: dict
    sample: np.ndarray


class Step:
    """A cell's step, read on one example.

    once, every   Values that are computed before the loop, and in each step, in order
    parameters    {name in the source: parameter}; ``names`` {name in the source: name in the cell}
    constants     {name: array}: arrays that the cell met and that take no gradients
    x, state      names of what comes in; y, new  names of what goes out
    """

    def __init__(self, cell, x=None, state=None):
        check_cell("lower", cell)
        self.cell, self.title = cell, called(cell)
        self.identifier = re.sub(r"\W+", "_", self.title).strip("_")
        x = _example(cell, x)
        if x.ndim > 1:
            x = np.resize(x, (ROWS, *x.shape[1:]))
            if state is not None:
                leaves = [np.asarray(getattr(s, "array", s)) for s in flatten(state)]
                state = rebuild(state, [Tensor(np.resize(s, (ROWS, *s.shape[1:]))) for s in leaves])
        if state is None:
            if not hasattr(cell, "initial_state"):
                raise ValueError(f"lower: {self.title} has no initial_state(batch_size); pass state=, an example of its state")
            state = cell.initial_state(len(x) if np.ndim(x) > 1 else None)
        self.example, self.start = np.asarray(x), state
        try:
            tape = Tape(cell, _leaf(x), state, True, False)
        except CannotTrace as error:
            raise ValueError(f"{self.title} cannot be written for another engine: {error}") from None
        self.taken: set = set()
        self.once, self.every, self.parameters, self.names, self.constants = [], [], {}, {}, {}
        own = {id(p): name for name, p in cell.parameters().items()} if isinstance(cell, Module) else {}
        known: dict = {}                                                # id of a Tensor -> its Value
        outside = [t for t in tape.found if isinstance(t, Tensor)]
        for node in Graph.of(*outside, names=False).nodes if outside else ():
            known[node.id] = value = self._outside(node, known, own)
            if node.tensor is not None:
                known[id(node.tensor)] = value
        values: dict = {}
        for node in tape.nodes:
            if node.kind == "invariant":
                met = tape.found[node.position]
                values[node.id] = known[id(met)] if isinstance(met, Tensor) else self._constant(met, node.name)
            elif node.kind == "number":
                values[node.id] = Value(repr(node.value), True, "number", None, (), {}, np.asarray(node.value))
            else:
                name = self._free(node.name or {"x": "x", "state": "s"}.get(node.kind, "v"))
                inputs = tuple(values[i.id] for i in node.inputs)
                value = Value(name, bool(node.name), node.kind, node.op, inputs, _any_batch(node), np.asarray(node.value))
                values[node.id] = value
                if node.kind == "op":
                    self.every.append(value)
        self.x = next((values[n.id] for n in tape.nodes if n.kind == "x"), None)
        self.state = [values[n.id] for n in tape.nodes if n.kind == "state"]
        self.y, self.new = values[tape.y[0].id], [values[n.id] for n in tape.new]

    def _outside(self, node, known, own):
        tensor = node.tensor
        if node.op is not None:
            inputs = tuple(known[i] for i in node.inputs)
            value = Value(self._free(node.name or "w"), bool(node.name), "op", node.op, inputs, node.attributes, node.value)
            self.once.append(value)
            return value
        if node.kind == "parameter":
            said = own.get(id(tensor)) or tensor.name or "theta"
            name = self._free(said)
            self.parameters[name], self.names[name] = tensor, said
            return Value(name, True, "parameter", None, (), {}, node.value)
        if node.value.ndim == 0:
            return Value(repr(node.value.item()), True, "number", None, (), {}, node.value)
        return self._constant(node.value, node.name)

    def _constant(self, array, name):
        array = np.asarray(array)
        name = self._free(name or "constant")
        self.constants[name] = array
        return Value(name, True, "constant", None, (), {}, array)

    def _free(self, name):
        """A Python name that is not taken."""
        name = re.sub(r"\W", "_", name) or "v"
        name = f"v_{name}" if name[0].isdigit() or keyword.iskeyword(name) or name in RESERVED else name
        n, free = 1, name
        if free in self.taken and name[:1] != "v":                      # h, and what it becomes
            free = f"{name}_new"
        while free in self.taken:
            n, free = n + 1, f"{name}_{n}"
        self.taken.add(free)
        return free

    @property
    def ops(self):
        """Names of the ops that the step is made of."""
        return sorted({v.op.name for v in (*self.once, *self.every)})

    def golden(self, T=7, B=3, seed=0, scale=0.7):
        """Inputs, per-step outputs, last state and gradients for a random cotangent: a dict of arrays, computed by minigrad.

        xs (T, B, …), state_0 …: what goes in; ys (T, B, …), last_0 …: what comes out; dys and dlast_0 …: cotangents;
        d… : the gradients of Σ ys·dys + Σ last·dlast with respect to each parameter (by its name), dxs, and dstate_0 ….
        """
        rng = np.random.default_rng(seed)
        dtype = next((p.dtype for p in self.parameters.values() if p.dtype.kind == "f"), np.dtype(float))
        batched = self.example.ndim > 1
        shape = (T, B, *self.example.shape[1:]) if batched else (T, *self.example.shape)
        xs = Tensor((scale * rng.standard_normal(shape)).astype(dtype), requires_grad=True)
        start = self.cell.initial_state(B if batched else None) if hasattr(self.cell, "initial_state") else self.start
        leaves = [Tensor((s.data + scale * rng.standard_normal(s.shape)).astype(s.dtype), requires_grad=True) if s.dtype.kind == "f" else s
                  for s in flatten(start)]                                      # counters and the like stay as they are
        ys, last = unroll(self.cell, xs, rebuild(start, leaves))
        last = flatten(last)
        outputs = [ys, *last]
        cotangents = [rng.standard_normal(o.shape).astype(o.dtype) for o in outputs]
        total = sum((o * g).sum() for o, g in zip(outputs, cotangents) if o.dtype.kind == "f")
        wanted = {**self.parameters, "xs": xs, **{f"state_{i}": s for i, s in enumerate(leaves) if s.requires_grad}}
        gradients = grad(total, list(wanted.values()))
        return {"xs": xs.data, **{f"state_{i}": s.data for i, s in enumerate(leaves)}, "ys": ys.data,
                **{f"last_{i}": s.data for i, s in enumerate(last)}, "dys": cotangents[0],
                **{f"dlast_{i}": g for i, g in enumerate(cotangents[1:])},
                **{f"d{name}": g.data for name, g in zip(wanted, gradients)}}


def _any_batch(node):
    """The attributes of an op, the number of rows taken out: where it is written into a shape, the rows stay as they are."""
    attributes, name, operands = node.attributes, getattr(node.op, "name", ""), [np.shape(i.value) for i in node.inputs]
    if name in ("reshape", "broadcast_to") and attributes["shape"][:1] == (ROWS,):
        if name == "reshape" and attributes["rank"] == len(operands[0]):
            return {"shape": attributes["shape"][1:], "rank": attributes["rank"] - 1}
        if name == "broadcast_to":                      # -1: as many as the operand has; later operations spread a single one
            return {"shape": (-1 if operands[0][:1] == (ROWS,) else 1, *attributes["shape"][1:])}
    return attributes


RESERVED = {"torch", "jax", "jnp", "np", "self", "xs", "ys", "params", "constants", "weights"}


def _leaf(x):
    return x if isinstance(x, Tensor) else Tensor(x)


def _example(cell, x):
    """An example of one step's input: as given, or rows of the cell's input size, if that can be seen."""
    if x is not None:
        return x.data if isinstance(x, Tensor) else np.asarray(x)
    first = cell
    while hasattr(first, "cells"):                                      # stacked
        first = first.cells[0]
    size = getattr(first, "input_size", None) or (len(first.W_x) if hasattr(first, "W_x") else None)
    if size is None:
        raise ValueError(f"lower cannot see the input size of this {called(cell)}: pass x, an example of one step's input (B, D)")
    dtype = next((p.dtype for p in cell.parameters().values()), float) if isinstance(cell, Module) else float
    return np.random.default_rng(0).standard_normal((3, size)).astype(dtype)


def missing(step, table, target, values):
    """Complain about ops that the target's table has no entry for."""
    gaps = sorted({v.op.name for v in values} - table.keys())
    if gaps:
        raise ValueError(f"{step.title} uses {', '.join(gaps)}, for which there is no entry for {target}; write the step with other "
                         f"functions, or add an entry to the table of minigrad/lower/to_{target}.py")
