"""A cell as an ONNX model: one ``Scan`` over time, whose body is the step, or ONNX's own RNN, GRU, LSTM. T and B are free."""
from __future__ import annotations

import os
from typing import Any, Callable, Sequence

import numpy as np

from ..files import write
from ..nested import Nested
from ..recurrent.state import Cell
from .onnx_layers import layers, nodes
from .source import permutation
from .step import Step, Value, missing
from .to_torch import LOSS

OPSET = 20
Write = Callable[["_Graph", list[str], Value], str]         # (the graph, names of the operands, Value) -> the name of the result


class _Graph:
    """An ONNX graph in the making."""

    def __init__(self, onnx: Any, x: str) -> None:
        self.x, self.onnx, self.count = x, onnx, 0
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.known: dict[tuple[Any, ...], str] = {}

    def fresh(self) -> str:
        self.count += 1
        return f"_{self.count}"

    def add(self, op: str, *inputs: str, name: str | None = None, names: list[str] | None = None, **attributes: Any) -> str:
        """A node; the name of its (first) output."""
        names = names or [name or self.fresh()]
        self.nodes.append(self.onnx.helper.make_node(op, list(inputs), names, **attributes))
        return names[0]

    def constant(self, value: Any, dtype: Any = None, name: str | None = None) -> str:
        """An array of the model."""
        array = np.asarray(value, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if name or key not in self.known:
            self.known[key] = name or self.fresh()
            self.constants.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(array), self.known[key]))
        return self.known[key]


def _same(op: str) -> Write:
    return lambda g, a, v: g.add(op, *a, name=v.name)


def _unary(*ops: str) -> Write:
    """One op on the result of another."""
    def write(g: _Graph, a: list[str], v: Value) -> str:
        for op in ops[:-1]:
            a = [g.add(op, *a)]
        return g.add(ops[-1], *a, name=v.name)
    return write


def _one(v: Value) -> np.ndarray:
    return np.ones((), v.sample.dtype)


def _reduction(op: str) -> Write:
    def write(g: _Graph, a: list[str], v: Value) -> str:
        axes = g.constant(v.attributes["axis"], np.int64)
        return g.add(op, a[0], axes, keepdims=int(v.attributes["keepdims"]), noop_with_empty_axes=1, name=v.name)
    return write


def _index(g: _Graph, a: list[str], v: Value) -> str:
    """Slices, new axes, single entries, and one array (for several, multiply by one-hot rows)."""
    index, shape = v.attributes["index"][1:], v.inputs[0].sample.shape
    axis = lead = len(shape) - sum(i is not None for i in index)
    out, slices, gone, new, taken, place = a[0], [], [], [], None, lead
    for i in index:
        if i is None:
            new.append(place)
        elif isinstance(i, slice):
            if i != slice(None):
                start, stop, step = i.indices(shape[axis])
                slices.append((start, stop if stop >= 0 else -shape[axis] - 1, axis, step))
        elif isinstance(i, np.ndarray) and taken is None:
            taken = axis, i, place
            place += i.ndim - 1
        elif isinstance(i, (int, np.integer)):
            at = int(i) % shape[axis]
            slices.append((at, at + 1, axis, 1))
            gone.append(axis)
            place -= 1
        else:
            raise ValueError("an index with several arrays has no entry for onnx; multiply by one-hot rows instead")
        axis, place = axis + (i is not None), place + 1
    if slices:
        out = g.add("Slice", out, *(g.constant(part, np.int64) for part in zip(*slices)))
    if taken is not None:
        out = g.add("Gather", out, g.constant(taken[1] % shape[taken[0]], np.int64), axis=taken[0])
        gone = [n + taken[1].ndim - 1 if n > taken[0] else n for n in gone]
    if gone:
        out = g.add("Squeeze", out, g.constant(gone, np.int64))
    if new:
        out = g.add("Unsqueeze", out, g.constant(new, np.int64))
    return g.add("Identity", out, name=v.name)


def _reshape(g: _Graph, a: list[str], v: Value) -> str:
    lead = v.inputs[0].sample.ndim - v.attributes["rank"]
    shape = (0,) * lead + tuple(v.attributes["shape"])                  # 0 keeps what is there
    return g.add("Reshape", a[0], g.constant(shape, np.int64), name=v.name)


def _layer_norm(g: _Graph, a: list[str], v: Value) -> str:
    """By hand: the op of that name computes in float32 whatever it gets."""
    last = g.constant([-1], np.int64)
    kept: dict[str, Any] = dict(keepdims=1)
    d = g.add("Sub", a[0], g.add("ReduceMean", a[0], last, **kept))
    variance = g.add("ReduceMean", g.add("Mul", d, d), last, **kept)
    return g.add("Div", d, g.add("Sqrt", g.add("Add", variance, g.constant(v.attributes["eps"], v.sample.dtype))), name=v.name)


def _expm1(g: _Graph, a: list[str], v: Value) -> str:
    """e^x - 1 without loss near 0: tanh(x/2) (e^x + 1)."""
    half = g.add("Tanh", g.add("Mul", a[0], g.constant(0.5, v.sample.dtype)))
    return g.add("Mul", half, g.add("Add", g.add("Exp", a[0]), g.constant(_one(v))), name=v.name)


def _softplus(g: _Graph, a: list[str], v: Value, name: str | None = None) -> str:
    """max(x, 0) + log(1 + e^-|x|): the op of that name is not there for float64 everywhere."""
    small = g.add("Log", g.add("Add", g.add("Exp", g.add("Neg", g.add("Abs", a[0]))), g.constant(_one(v))))
    return g.add("Add", g.add("Relu", a[0]), small, name=name or v.name)


def _in_floats(op: str) -> Write:
    """An op that runtimes have for floats only; integers (a counter in a state) take the way round."""
    def write(g: _Graph, a: list[str], v: Value) -> str:
        if v.sample.dtype.kind == "f":
            return g.add(op, *a, name=v.name)
        cast = g.onnx.helper.np_dtype_to_tensor_dtype
        floats = [g.add("Cast", x, to=cast(np.dtype("f8"))) for x in a]
        return g.add("Cast", g.add(op, *floats), to=cast(v.sample.dtype), name=v.name)
    return write


def _silu(g: _Graph, a: list[str], v: Value) -> str:
    return g.add("Mul", a[0], g.add("Sigmoid", a[0]), name=v.name)


def _gelu(g: _Graph, a: list[str], v: Value) -> str:
    """x (1 + tanh(c (x + 0.044715 x³))) / 2."""
    def c(value: float) -> str:
        return g.constant(value, v.sample.dtype)
    cube = g.add("Mul", g.add("Mul", g.add("Mul", a[0], a[0]), a[0]), c(0.044715))
    bent = g.add("Tanh", g.add("Mul", g.add("Add", a[0], cube), c((2 / np.pi) ** 0.5)))
    return g.add("Mul", g.add("Mul", a[0], c(0.5)), g.add("Add", bent, c(1)), name=v.name)


def _log_sigmoid(g: _Graph, a: list[str], v: Value) -> str:
    return g.add("Neg", _softplus(g, [g.add("Neg", a[0])], v, g.fresh()), name=v.name)


def _broadcast(g: _Graph, a: list[str], v: Value) -> str:
    sizes = [a[-1] if n is None else g.constant([n], np.int64) for n in v.attributes["shape"]]       # the last operand: how many rows
    return g.add("Expand", a[0], g.add("Concat", *sizes, axis=0), name=v.name)


def _variance(g: _Graph, a: list[str], v: Value) -> str:
    axes, n = v.attributes["axis"], v.inputs[0].sample.size // max(1, v.sample.size)
    if any(ax + v.inputs[0].sample.ndim == 0 for ax in axes) and v.attributes["ddof"]:
        raise ValueError("a variance over the rows with ddof has no entry for onnx; its divisor is the number of rows")
    d = g.add("Sub", a[0], g.add("ReduceMean", a[0], g.constant(axes, np.int64), keepdims=1))
    mean = g.add("ReduceMean", g.add("Mul", d, d), g.constant(axes, np.int64), keepdims=int(v.attributes["keepdims"]))
    return g.add("Mul", mean, g.constant(n / (n - v.attributes["ddof"]) if v.attributes["ddof"] else 1, v.sample.dtype), name=v.name)


def _flip(g: _Graph, a: list[str], v: Value) -> str:
    axes = v.attributes["axis"]
    ends = ([-1] * len(axes), [np.iinfo(np.int64).min] * len(axes), axes, [-1] * len(axes))
    return g.add("Slice", a[0], *(g.constant(e, np.int64) for e in ends), name=v.name)


def _pad(g: _Graph, a: list[str], v: Value) -> str:
    pads = ((0, 0),) * (v.sample.ndim - len(v.attributes["pads"])) + tuple(v.attributes["pads"])
    sides = g.constant([p[0] for p in pads] + [p[1] for p in pads], np.int64)
    return g.add("Pad", a[0], sides, g.constant(v.attributes["fill"], v.sample.dtype), name=v.name)


def _stack(g: _Graph, a: list[str], v: Value) -> str:
    axis = g.constant([v.attributes["axis"]], np.int64)
    return g.add("Concat", *(g.add("Unsqueeze", x, axis) for x in a), axis=v.attributes["axis"], name=v.name)


def _triangle(upper: int) -> Write:
    return lambda g, a, v: g.add("Trilu", a[0], g.constant(v.attributes["k"], np.int64), upper=upper, name=v.name)


def _einsum(g: _Graph, a: list[str], v: Value) -> str:
    equation = ",".join("..." + term for term in v.attributes["terms"]) + "->..." + v.attributes["out"]
    return g.add("Einsum", *a, equation=equation, name=v.name)


def _truncated(g: _Graph, a: list[str], v: Value) -> str:
    return g.add("Mul", g.add("Sign", a[0]), g.add("Floor", g.add("Abs", a[0])), name=v.name)


TABLE: dict[str, Write] = {
    **{ours: _same(theirs) for ours, theirs in dict(
        divide="Div", power="Pow", matmul="MatMul", sqrt="Sqrt", exp="Exp", log="Log", sin="Sin", cos="Cos", tanh="Tanh",
        sigmoid="Sigmoid", where="Where", less="Less", less_equal="LessOrEqual", greater="Greater", greater_equal="GreaterOrEqual",
        equal="Equal", stop_gradient="Identity", floor="Floor", ceil="Ceil", rint="Round", isnan="IsNaN", isinf="IsInf", logical_and="And",
        logical_or="Or", logical_not="Not", logical_xor="Xor").items()},
    **{ours: _in_floats(theirs) for ours, theirs in dict(add="Add", subtract="Sub", multiply="Mul", negative="Neg", absolute="Abs",
                                                         relu="Relu", maximum="Max", minimum="Min", sign="Sign").items()},
    **{ours: _reduction(theirs) for ours, theirs in dict(sum="ReduceSum", mean="ReduceMean", max="ReduceMax", min="ReduceMin",
                                                         prod="ReduceProd", logsumexp="ReduceLogSumExp").items()},
    "square": lambda g, a, v: g.add("Mul", a[0], a[0], name=v.name), "not_equal": _unary("Equal", "Not"), "silu": _silu,
    "softplus": _softplus,
    "log1p": lambda g, a, v: g.add("Log", g.add("Add", a[0], g.constant(_one(v))), name=v.name), "expm1": _expm1,
    "logsigmoid": _log_sigmoid, "gelu": _gelu, "layer_norm": _layer_norm,
    "softmax": lambda g, a, v: g.add("Softmax", a[0], axis=v.attributes["axis"], name=v.name),
    "log_softmax": lambda g, a, v: g.add("LogSoftmax", a[0], axis=v.attributes["axis"], name=v.name),
    "cumsum": lambda g, a, v: g.add("CumSum", a[0], g.constant(v.attributes["axis"], np.int64), name=v.name),
    "transpose": lambda g, a, v: g.add("Transpose", a[0], perm=permutation(v), name=v.name), "reshape": _reshape,
    "concatenate": lambda g, a, v: g.add("Concat", *a, axis=v.attributes["axis"], name=v.name), "getitem": _index,
    "broadcast_to": _broadcast, "var": _variance, "flip": _flip, "pad": _pad, "stack": _stack, "triu": _triangle(1), "tril": _triangle(0),
    "einsum": _einsum, "trunc": _truncated,
    "astype": lambda g, a, v: g.add("Cast", a[0], to=g.onnx.helper.np_dtype_to_tensor_dtype(v.sample.dtype), name=v.name),
}
NONE = "ONNX has none; made of parameters alone it is computed here and stored"
GAPS = {"solve": NONE, "inv": NONE, "matrix_exp": NONE, "scatter_add": "multiply by one-hot rows", "softmax_cross_entropy": LOSS,
        "binary_cross_entropy": LOSS, "squared_error": LOSS}


def to_onnx(cell: Cell, path: str | os.PathLike[str] | None = None, x: Any = None, state: Nested = None, *,
            scan: bool | None = None) -> Any:
    """The cell as an ONNX model. Returns the ModelProto (and writes it to ``path``, if one is given).

    scan  True: one ``Scan`` over time, whose body is the step; False: ONNX's own RNN, GRU or LSTM, for RNNCell, GRUCell, LSTMCell and
          stacks of them; default: those where there are any and the cell is float32, since runtimes have them for float32 only

    Inputs ``xs`` (T, B, D) and ``state_0`` … (the state's leaves); outputs ``ys`` (T, B, H) and ``last_0`` …. T and B are free. What is
    computed from parameters alone is computed here and stored, so a cell whose weights are a matrix exponential has a model, too.

    Errors: an op without an entry, scan=False for another cell (ValueError); without the package onnx ImportError, which names the extra.
    """
    try:
        import onnx
    except ImportError:
        raise ImportError("writing ONNX needs the package onnx: pip install 'minigrad[onnx]'") from None
    step, own = Step(cell, x, state), layers(cell)
    if scan is False and own is None:
        raise ValueError(f"{step.title} is no op of ONNX's own; there are RNN, GRU and LSTM: leave scan=False out")
    helper, g = onnx.helper, _Graph(onnx, step.x.name)
    states, lasts = [f"state_{i}" for i in range(len(step.state))], [f"last_{i}" for i in range(len(step.state))]
    lead = ["B"] if step.batched else []

    def value(name: str, sample: np.ndarray, time: Sequence[str] = ()) -> Any:
        kind = helper.np_dtype_to_tensor_dtype(sample.dtype)
        return helper.make_tensor_value_info(name, kind, [*time, *lead, *sample.shape[len(lead):]])

    def values(names: list[str], like: list[Value]) -> list[Any]:
        return [value(n, v.sample) for n, v in zip(names, like)]

    if own and step.batched and (step.y.sample.dtype == np.float32 if scan is None else not scan):
        nodes(own, g.add, g.constant)
        main = g.nodes
    else:
        missing(step, TABLE, "onnx", step.every)
        made = {v.name for v in (*step.every, *step.state, step.x)}
        for v in step.every:
            TABLE[v.op.name](g, [_operand(g, i, v, made) for i in v.inputs], v)
        news, y = [g.add("Identity", s.name) for s in step.new], g.add("Identity", step.y.name)
        body = helper.make_graph(g.nodes, f"{step.identifier}_step", values([v.name for v in (*step.state, step.x)], [*step.state, step.x]),
                                 values([*news, y], [*step.new, step.y]))
        main = [helper.make_node("Scan", [*states, "xs"], [*lasts, "ys"], body=body, num_scan_inputs=1, name=step.identifier)]
    graph = helper.make_graph(main, step.identifier, [value("xs", step.x.sample, ["T"]), *values(states, step.state)],
                              [value("ys", step.y.sample, ["T"]), *values(lasts, step.new)], initializer=g.constants)
    model = helper.make_model(graph, producer_name="minigrad", opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = min(model.ir_version, 10)
    onnx.checker.check_model(model, full_check=True)
    if path is not None:
        write(path, model.SerializeToString())
    return model


def _operand(g: _Graph, i: Value, v: Value, made: set[str]) -> str:
    """The name of an operand: bare numbers and arrays are stored with the model, and of mixed dtypes the narrower is cast."""
    wanted = i.sample.dtype
    if v.op.name != "where" or i is not v.inputs[0]:
        others = [j.sample.dtype for j in v.inputs if j.kind != "number" and j.sample.dtype.kind != "b"]
        wanted = np.result_type(*others) if others and wanted.kind != "b" else wanted
        wanted = v.sample.dtype if len(v.inputs) > 1 and v.sample.dtype.kind == "f" and wanted.kind in "iu" else wanted
    if i.kind == "rows":
        return g.add("Shape", g.x, start=0, end=1)
    if i.kind == "number":
        return g.constant(i.sample, wanted)
    if i.name not in made:
        made.add(g.constant(i.sample, name=i.name))
    return i.name if i.sample.dtype == wanted else g.add("Cast", i.name, to=g.onnx.helper.np_dtype_to_tensor_dtype(wanted))
