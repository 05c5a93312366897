"""A cell as a ``torch.nn.Module``: a source file that runs alone, with the cell's own names."""
from __future__ import annotations

from typing import Any

import numpy as np

from ..nested import Nested
from ..recurrent.state import Cell
from .source import (INFIX, Entry, Source, array, calls, einsum, entry, fields, fixed, function, index, infix, numbered, permutation,
                     prefix, reshape, sizes, static, tuple_of, wrapped)
from .step import Step, Value


def _reduces(function: str) -> Entry:
    """A reduction over axes."""
    return entry(lambda a, v: f"{function}({a[0]}, dim={static(v.attributes['axis'])}, keepdim={v.attributes['keepdims']})")


def _prod(a: list[str], v: Value) -> str:
    return f"torch.prod({a[0]}, dim={v.attributes['axis'][0]}, keepdim={v.attributes['keepdims']})"


def _variance(a: list[str], v: Value) -> str:
    return (f"torch.var({a[0]}, dim={static(v.attributes['axis'])}, keepdim={v.attributes['keepdims']}, "
            f"correction={v.attributes['ddof']})")


def _extreme(function: str) -> Entry:
    """A function that takes Tensors only: a number among its operands becomes one, like the other."""
    def write(a: list[str], v: Value) -> str:
        other = a[0 if v.inputs[1].kind == "number" else 1]
        said = [f"{other}.new_tensor({i.name})" if i.kind == "number" else t for t, i in zip(a, v.inputs)]
        return f"{function}({', '.join(said)})"
    return entry(write, needs=(3, 3), repeats=True)


def _where(a: list[str], v: Value) -> str:
    """Two numbers would be float32 whatever the rest is."""
    if v.inputs[1].kind == v.inputs[2].kind == "number":
        a = [a[0], f"torch.tensor({a[1]}, dtype=torch.{v.sample.dtype})", a[2]]
    return f"torch.where({', '.join(a)})"


def _getitem(a: list[str], v: Value) -> str:
    """PyTorch has no slices with negative steps: these axes are turned round first."""
    shape, full, turned = v.inputs[0].sample.shape, list(v.attributes["index"]), []
    axis = len(shape) - sum(i is not None for i in full[1:])
    for place, i in enumerate(full[1:], 1):
        if isinstance(i, slice) and (i.step or 1) < 0:
            at, n = range(*i.indices(shape[axis])), shape[axis]
            full[place] = slice(n - 1 - at[0], n - at[-1], -i.step) if at else slice(0, 0)
            turned.append(axis - len(shape))
        axis += i is not None
    return (f"torch.flip({a[0]}, {static(tuple(turned))})" if turned else a[0]) + f"[{index(full)}]"


def _scatter(a: list[str], v: Value) -> str:
    """index_add, which is out of place."""
    index = v.attributes["index"][1:]
    at = [n for n, i in enumerate(index) if isinstance(i, np.ndarray)]
    if len(at) != 1 or index[at[0]].ndim != 1 or any(i != slice(None) for n, i in enumerate(index) if n != at[0]):
        raise ValueError("scatter_add has an entry for torch where the index is (..., one array of integers, :, …); for others, multiply "
                         "by one-hot rows")
    places = f"torch.tensor({index[at[0]].tolist()}, device={a[0]}.device)"
    return f"{a[0]}.new_zeros({sizes(a, v)}).index_add({at[0] - len(index)}, {places}, {a[0]})"


def _pad(a: list[str], v: Value) -> str:
    sides = tuple(n for pair in reversed(v.attributes["pads"]) for n in pair)
    return f"torch.nn.functional.pad({a[0]}, {sides}, value={static(v.attributes['fill'])})"


TABLE = {
    **{name: infix(sign) for name, sign in INFIX.items()}, "negative": prefix("-"),
    **{name: calls(f"torch.{name}") for name in """square sqrt exp expm1 log log1p sin cos tanh sigmoid relu sign floor ceil trunc isfinite
       isnan isinf signbit logical_and logical_or logical_not logical_xor""".split()},
    "rint": calls("torch.round"), "absolute": calls("torch.abs"),
    "softplus": entry(lambda a, v: f"torch.logaddexp({a[0]}, torch.zeros_like({a[0]}))", repeats=True),
    "logsigmoid": calls("torch.nn.functional.logsigmoid"), "silu": calls("torch.nn.functional.silu"),
    "gelu": entry(lambda a, v: f"torch.nn.functional.gelu({a[0]}, approximate='tanh')"),
    "maximum": _extreme("torch.maximum"), "minimum": _extreme("torch.minimum"), "where": entry(_where),
    "sum": _reduces("torch.sum"), "mean": _reduces("torch.mean"), "max": _reduces("torch.amax"), "min": _reduces("torch.amin"),
    "logsumexp": _reduces("torch.logsumexp"), "var": entry(_variance), "prod": entry(_prod),
    "softmax": calls("torch.softmax", axis="dim"), "log_softmax": calls("torch.log_softmax", axis="dim"),
    "cumsum": calls("torch.cumsum", axis="dim"),
    "layer_norm": entry(lambda a, v: f"torch.nn.functional.layer_norm({a[0]}, {a[0]}.shape[-1:], eps={v.attributes['eps']})", needs=(3,),
                        repeats=True),
    "einsum": einsum("torch.einsum"), "solve": calls("torch.linalg.solve"), "inv": calls("torch.linalg.inv"),
    "matrix_exp": calls("torch.linalg.matrix_exp"), "triu": calls("torch.triu", k="diagonal"), "tril": calls("torch.tril", k="diagonal"),
    "reshape": reshape, "transpose": entry(lambda a, v: f"{a[0]}.permute{permutation(v)}", needs=(3,)),
    "broadcast_to": entry(lambda a, v: f"{a[0]}.expand{sizes(a, v)}", needs=(3, 0)),
    "concatenate": entry(lambda a, v: f"torch.cat(({', '.join(a)},), dim={v.attributes['axis']})"),
    "stack": entry(lambda a, v: f"torch.stack(({', '.join(a)},), dim={v.attributes['axis']})"),
    "flip": entry(lambda a, v: f"torch.flip({a[0]}, {static(tuple(v.attributes['axis']))})"),
    "pad": entry(_pad), "scatter_add": entry(_scatter, needs=(3, 0), repeats=True), "getitem": entry(_getitem, needs=(3,)),
    "astype": entry(lambda a, v: f"{a[0]}.to(torch.{v.attributes['dtype']})", needs=(3,)),
    "stop_gradient": entry(lambda a, v: f"{a[0]}.detach()", needs=(3,)),
}
LOSS = "a loss: it stands outside of a step, and the engine has its own"
GAPS = {"softmax_cross_entropy": LOSS, "binary_cross_entropy": LOSS, "squared_error": LOSS}           # {op: why it has no entry}


def to_torch(cell: Cell, x: Any = None, state: Nested = None) -> Source:
    """The cell as a file that defines a ``torch.nn.Module`` of its name. Returns a Source: ``.text``, ``.save(path)``, ``.weights``.

    cell   callable ``y, state = cell(x, state)``: any of minigrad's, or your own
    x      an example of one step's input, (B, D); found out by itself where the cell has an ``input_size`` or ``W_x``
    state  an example of the state; default ``cell.initial_state(B)``, which is then written, too

    The module's ``forward(xs, state=None)`` takes xs (T, B, D) and a tuple of the state's leaves, (h, c) for an LSTM, and returns
    (ys, state); ``step(x, state)`` is one step, ``load(weights)`` takes arrays by name. Any T and B will do.

    Errors: an op without an entry here, a cell that branches on numbers or draws them (ValueError, with the reason).

    >>> import minigrad as mg
    >>> print(to_torch(mg.RNNCell(3, 4)).text.partition("def step")[2])          # doctest: +ELLIPSIS
    (self, x, state):
            h, = state
            W_x, W_h, b = self.W_x, self.W_h, self.b
            h_new = torch.tanh(x @ W_x + h @ W_h + b)
            return h_new, (h_new,)
    ...
    """
    step = Step(cell, x, state)
    own, once = [*step.parameters, *step.constants], fixed(step)
    dtype = next((q.dtype for q in step.parameters.values()), step.y.sample.dtype)

    def method(head: str, first: list[str], values: list[Value], results: list[Value], returns: str) -> list[str]:
        body = function(step, TABLE, "torch", values, results, own, "self.{}", returns)
        return ["", f"    def {head}:", *(" " * 8 + line for line in (*first, *body))]

    lines = [f'"""{step.title}, as minigrad wrote it for PyTorch: the names are those of the cell."""', "import torch", "", "",
             f"class {step.identifier}(torch.nn.Module):", f"    def __init__(self, dtype=torch.{dtype}):", "        super().__init__()"]
    lines += [f"        self.{n} = torch.nn.Parameter(torch.zeros({static(q.shape)}, dtype=dtype))" for n, q in step.parameters.items()]
    for name, a in step.constants.items():
        kind = "dtype=dtype" if a.dtype.kind == "f" else f"dtype=torch.{a.dtype}"
        numbers = array(a, "torch.full", "torch.tensor", kind)
        lines.append(wrapped(f"        self.register_buffer({name!r}, {numbers}, persistent=False)"))
    first, shown = [f"{tuple_of(step.state)} = state"], f"return {{}}, ({fields(len(step.new))})"
    if once:
        lines += method("fixed(self)", [], step.once, once, f"return {fields(len(once))}")
        first.append(f"{tuple_of(once)} = self.fixed() if fixed is None else fixed")
    lines += method(f"step(self, {step.x.name}, state{', fixed=None' * bool(once)})", first,
                    step.every if once else [*step.once, *step.every], [step.y, *step.new], shown)
    forward = FORWARD.replace("STATE", "" if step.first is None else "=None")
    if step.first is not None:
        size = ", batch_size" * step.batched
        lines += method(f"initial_state(self{size})", [], [*step.once, *step.begin], step.first, f"return {fields(len(step.first))}")
        forward = forward.replace("START", START.replace("SIZE", "xs.shape[1]" * step.batched))
    forward = forward.replace("START", "").replace("FIXED", FIXED * bool(once)).replace("AND", ", fixed" * bool(once))
    return Source("torch", numbered("\n".join(lines) + forward, step), step)


FIXED = '''
        fixed = self.fixed()'''
START = '''
        if state is None:
            state = self.initial_state(SIZE)'''
FORWARD = '''

    def forward(self, xs, stateSTATE):
        """xs (T, B, D) and a tuple of the state's parts -> ys (T, B, H) and the last state."""STARTFIXED
        ys = []
        for x in xs:
            y, state = self.step(x, stateAND)
            ys.append(y)
        return torch.stack(ys), state

    def load(self, weights):
        """Take arrays by name; returns the module."""
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                parameter.copy_(torch.as_tensor(weights[name]))
        return self
'''
