"""A cell as an ONNX model: one ``Scan`` over time, whose body is the step. T and B are free."""
import numpy as np

from ..files import write
from .source import permutation
from .step import Step, missing

OPSET = 20


class _Graph:
    """An ONNX graph in the making."""

    def __init__(self, onnx):
        self.onnx, self.nodes, self.constants, self.known, self.count = onnx, [], [], {}, 0

    def fresh(self):
        self.count += 1
        return f"_{self.count}"

    def add(self, op, *inputs, name=None, **attributes):
        """A node; the name of its output."""
        out = name or self.fresh()
        self.nodes.append(self.onnx.helper.make_node(op, list(inputs), [out], **attributes))
        return out

    def constant(self, value, dtype=None, name=None):
        """An array of the model."""
        array = np.asarray(value, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if name or key not in self.known:
            self.known[key] = name or self.fresh()
            self.constants.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(array), self.known[key]))
        return self.known[key]


def _same(op):
    return lambda g, a, v: g.add(op, *a, name=v.name)


def _unary(*ops):
    """One op on the result of another."""
    def write(g, a, v):
        for op in ops[:-1]:
            a = [g.add(op, *a)]
        return g.add(ops[-1], *a, name=v.name)
    return write


def _one(v):
    return np.ones((), v.sample.dtype)


def _reduction(op):
    def write(g, a, v):
        axes = g.constant(v.attributes["axis"], np.int64)
        return g.add(op, a[0], axes, keepdims=int(v.attributes["keepdims"]), noop_with_empty_axes=1, name=v.name)
    return write


def _index(g, a, v):
    """Slices, new axes and single entries; nothing else."""
    items, out, axis, gone, new = [], a[0], 0, [], []
    index = v.attributes["index"]
    rank = v.inputs[0].sample.ndim
    lead = rank - sum(i is not None for i in index[1:])
    axis = lead
    for place, i in enumerate(index[1:]):
        if i is None:
            new.append(lead + place)
        else:
            if isinstance(i, slice):
                if i != slice(None):
                    n = v.inputs[0].sample.shape[axis]
                    start, stop, step = i.indices(n)
                    items.append((start, stop if stop >= 0 else -n - 1, axis, step))
            elif isinstance(i, (int, np.integer)):
                at = int(i) % v.inputs[0].sample.shape[axis]
                items.append((at, at + 1, axis, 1))
                gone.append(axis)
            else:
                raise ValueError("indexing with arrays has no entry for ONNX here; multiply one-hot rows instead")
            axis += 1
    if items:
        out = g.add("Slice", out, *(g.constant(part, np.int64) for part in zip(*items)))
    if gone:
        out = g.add("Squeeze", out, g.constant(gone, np.int64))
    if new:
        dropped = sum(1 for i in index[1:] if isinstance(i, (int, np.integer)))
        places = [p - sum(1 for i in index[1:1 + p - lead] if isinstance(i, (int, np.integer))) for p in new] if dropped else new
        out = g.add("Unsqueeze", out, g.constant(places, np.int64))
    return g.add("Identity", out, name=v.name)


def _reshape(g, a, v):
    lead = v.inputs[0].sample.ndim - v.attributes["rank"]
    shape = (0,) * lead + tuple(v.attributes["shape"])                  # 0 keeps what is there
    return g.add("Reshape", a[0], g.constant(shape, np.int64), name=v.name)


def _layer_norm(g, a, v):
    """By hand: the op of that name computes in float32 whatever it gets."""
    last, kept = g.constant([-1], np.int64), dict(keepdims=1)
    d = g.add("Sub", a[0], g.add("ReduceMean", a[0], last, **kept))
    variance = g.add("ReduceMean", g.add("Mul", d, d), last, **kept)
    return g.add("Div", d, g.add("Sqrt", g.add("Add", variance, g.constant(v.attributes["eps"], v.sample.dtype))), name=v.name)


def _expm1(g, a, v):
    """e^x - 1 without loss near 0: tanh(x/2) (e^x + 1)."""
    half = g.add("Tanh", g.add("Mul", a[0], g.constant(0.5, v.sample.dtype)))
    return g.add("Mul", half, g.add("Add", g.add("Exp", a[0]), g.constant(_one(v))), name=v.name)


def _softplus(g, a, v, name=None):
    """max(x, 0) + log(1 + e^-|x|): the op of that name is not there for float64 everywhere."""
    small = g.add("Log", g.add("Add", g.add("Exp", g.add("Neg", g.add("Abs", a[0]))), g.constant(_one(v))))
    return g.add("Add", g.add("Relu", a[0]), small, name=name or v.name)


def _in_floats(op):
    """An op that runtimes have for floats only; integers (a counter in a state) take the way round."""
    def write(g, a, v):
        if v.sample.dtype.kind == "f":
            return g.add(op, *a, name=v.name)
        cast = g.onnx.helper.np_dtype_to_tensor_dtype
        floats = [g.add("Cast", x, to=cast(np.dtype("f8"))) for x in a]
        return g.add("Cast", g.add(op, *floats), to=cast(v.sample.dtype), name=v.name)
    return write


def _silu(g, a, v):
    return g.add("Mul", a[0], g.add("Sigmoid", a[0]), name=v.name)


def _gelu(g, a, v):
    """x (1 + tanh(c (x + 0.044715 x³))) / 2."""
    def c(value):
        return g.constant(value, v.sample.dtype)
    cube = g.add("Mul", g.add("Mul", g.add("Mul", a[0], a[0]), a[0]), c(0.044715))
    bent = g.add("Tanh", g.add("Mul", g.add("Add", a[0], cube), c((2 / np.pi) ** 0.5)))
    return g.add("Mul", g.add("Mul", a[0], c(0.5)), g.add("Add", bent, c(1)), name=v.name)


def _log_sigmoid(g, a, v):
    return g.add("Neg", _softplus(g, [g.add("Neg", a[0])], v, g.fresh()), name=v.name)


def _broadcast(g, a, v):
    return g.add("Expand", a[0], g.constant(np.abs(v.attributes["shape"]), np.int64), name=v.name)


TABLE = {
    **{ours: _same(theirs) for ours, theirs in dict(
        divide="Div", power="Pow", matmul="MatMul", sqrt="Sqrt", exp="Exp", log="Log", sin="Sin", cos="Cos", tanh="Tanh",
        sigmoid="Sigmoid", where="Where", less="Less", less_equal="LessOrEqual", greater="Greater", greater_equal="GreaterOrEqual",
        equal="Equal", stop_gradient="Identity").items()},
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
    "broadcast_to": _broadcast,
    "astype": lambda g, a, v: g.add("Cast", a[0], to=g.onnx.helper.np_dtype_to_tensor_dtype(v.sample.dtype), name=v.name),
}
# ONNX has no inverse, no solve and no matrix exponential.


def to_onnx(cell, path=None, x=None, state=None):
    """The cell as an ONNX model. Returns the ModelProto (and writes it to ``path``, if one is given).

    Inputs ``xs`` (T, B, D) and ``state_0`` … (the state's leaves); outputs ``ys`` (T, B, H) and ``last_0`` …. T and B are free. What is
    computed from parameters alone is computed here and stored, so a cell whose weights are a matrix exponential has one, too.

    Errors: an op without an entry (ValueError); without the package ``onnx`` ImportError, which names the extra.
    """
    try:
        import onnx
    except ImportError:
        raise ImportError("writing ONNX needs the package onnx: pip install 'minigrad[onnx]'") from None
    step = Step(cell, x, state)
    missing(step, TABLE, "onnx", step.every)
    helper, kind = onnx.helper, lambda dtype: onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    g = _Graph(onnx)
    made = {v.name for v in (*step.every, *step.state, step.x)}
    for v in step.every:
        TABLE[v.op.name](g, [_operand(g, i, v, made) for i in v.inputs], v)
    batched = step.example.ndim > 1
    lead = ["B"] if batched else []

    def value(name, sample, time=False):
        return helper.make_tensor_value_info(name, kind(sample.dtype), [*(["T"] if time else []), *lead, *sample.shape[len(lead):]])

    outs = [g.add("Identity", s.name, name=f"{s.name}_out_{i}") for i, s in enumerate(step.new)]
    y = g.add("Identity", step.y.name, name=f"{step.y.name}_y")
    body = helper.make_graph(
        g.nodes, f"{step.identifier}_step", [*(value(s.name, s.sample) for s in step.state), value(step.x.name, step.x.sample)],
        [*(value(n, s.sample) for n, s in zip(outs, step.new)), value(y, step.y.sample)])
    states, lasts = [f"state_{i}" for i in range(len(step.state))], [f"last_{i}" for i in range(len(step.state))]
    scan = helper.make_node("Scan", [*states, "xs"], [*lasts, "ys"], body=body, num_scan_inputs=1, name=step.identifier)
    graph = helper.make_graph(
        [scan], step.identifier, [value("xs", step.x.sample, True), *(value(n, s.sample) for n, s in zip(states, step.state))],
        [value("ys", step.y.sample, True), *(value(n, s.sample) for n, s in zip(lasts, step.new))], initializer=g.constants)
    model = helper.make_model(graph, producer_name="minigrad", opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = min(model.ir_version, 10)
    onnx.checker.check_model(model)
    if path is not None:
        write(path, model.SerializeToString())
    return model


def _operand(g, i, v, made):
    """The name of an operand: bare numbers and arrays are stored with the model, and of mixed dtypes the narrower is cast."""
    wanted = i.sample.dtype
    if v.op.name != "where" or i is not v.inputs[0]:
        others = [j.sample.dtype for j in v.inputs if j.kind != "number" and j.sample.dtype.kind != "b"]
        wanted = np.result_type(*others) if others and wanted.kind != "b" else wanted
        wanted = v.sample.dtype if len(v.inputs) > 1 and v.sample.dtype.kind == "f" and wanted.kind in "iu" else wanted
    if i.kind == "number":
        return g.constant(i.sample, wanted)
    if i.name not in made:
        made.add(g.constant(i.sample, name=i.name))
    return i.name if i.sample.dtype == wanted else g.add("Cast", i.name, to=g.onnx.helper.np_dtype_to_tensor_dtype(wanted))
