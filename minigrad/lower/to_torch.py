"""A cell as a ``torch.nn.Module``: a source file that runs alone, with the cell's own names."""
from .source import (CALL, Source, calls, einsum, index, infix, permutation, put_together, reshaped, statements, static,
                     taken_apart)
from .step import Step


def _reduces(function):
    """A reduction over axes; over no axes at all, over none."""
    return lambda a, v: f"{function}({a[0]}, dim={static(v.attributes['axis'])}, keepdim={v.attributes['keepdims']})"


def _prod(a, v):
    return f"torch.prod({a[0]}, dim={v.attributes['axis'][0]}, keepdim={v.attributes['keepdims']})"


def _variance(a, v):
    return (f"torch.var({a[0]}, dim={static(v.attributes['axis'])}, keepdim={v.attributes['keepdims']}, "
            f"correction={v.attributes['ddof']})")


def _tensor(function):
    """A function that takes Tensors only: a number among its operands becomes one."""
    def write(a, v):
        like = next((name for name, i in zip(a, v.inputs) if i.kind != "number"), None)
        given = [name if i.kind != "number" or like is None else f"torch.full_like({like}, {name})" for name, i in zip(a, v.inputs)]
        return f"{function}({', '.join(given)})"
    write.needs = CALL
    return write


TABLE = {
    "add": infix("+"), "subtract": infix("-"), "multiply": infix("*"), "divide": infix("/"), "power": infix("**"), "matmul": infix("@"),
    "less": infix("<"), "less_equal": infix("<="), "greater": infix(">"), "greater_equal": infix(">="), "equal": infix("=="),
    "not_equal": infix("!="), "negative": lambda a, v: f"-{a[0]}",
    **{name: calls(f"torch.{name}") for name in "square sqrt exp expm1 log log1p sin cos tanh sigmoid relu sign".split()},
    "absolute": calls("torch.abs"), "softplus": lambda a, v: f"torch.logaddexp({a[0]}, torch.zeros_like({a[0]}))",
    "logsigmoid": calls("torch.nn.functional.logsigmoid"), "silu": calls("torch.nn.functional.silu"),
    "gelu": lambda a, v: f"torch.nn.functional.gelu({a[0]}, approximate='tanh')",
    "maximum": _tensor("torch.maximum"), "minimum": _tensor("torch.minimum"), "where": _tensor("torch.where"),
    "sum": _reduces("torch.sum"), "mean": _reduces("torch.mean"), "max": _reduces("torch.amax"), "min": _reduces("torch.amin"),
    "logsumexp": _reduces("torch.logsumexp"), "var": _variance, "prod": _prod,
    "softmax": calls("torch.softmax", axis="dim"), "log_softmax": calls("torch.log_softmax", axis="dim"),
    "cumsum": calls("torch.cumsum", axis="dim"),
    "layer_norm": lambda a, v: f"torch.nn.functional.layer_norm({a[0]}, {a[0]}.shape[-1:], eps={v.attributes['eps']})",
    "einsum": einsum("torch.einsum"), "solve": calls("torch.linalg.solve"), "inv": calls("torch.linalg.inv"),
    "matrix_exp": calls("torch.linalg.matrix_exp"), "triu": calls("torch.triu", k="diagonal"), "tril": calls("torch.tril", k="diagonal"),
    "reshape": reshaped, "transpose": lambda a, v: f"{a[0]}.permute{permutation(v)}",
    "broadcast_to": lambda a, v: f"{a[0]}.expand{static(tuple(v.attributes['shape']))}",
    "concatenate": lambda a, v: f"torch.cat(({', '.join(a)}), dim={v.attributes['axis']})",
    "stack": lambda a, v: f"torch.stack(({', '.join(a)},), dim={v.attributes['axis']})",
    "flip": lambda a, v: f"torch.flip({a[0]}, {static(tuple(v.attributes['axis']))})",
    "getitem": lambda a, v: f"{a[0]}[{index(v.attributes['index'])}]",
    "astype": lambda a, v: f"{a[0]}.to(torch.{v.attributes['dtype']})", "stop_gradient": lambda a, v: f"{a[0]}.detach()",
}


def to_torch(cell, x=None, state=None):
    """The cell as a file that defines a ``torch.nn.Module`` of its name. Returns a Source: ``.text``, ``.save(path)``, ``.weights``.

    cell   callable ``y, state = cell(x, state)``: any of minigrad's, or your own
    x      an example of one step's input, (B, D); found out by itself where the cell has an ``input_size`` or ``W_x``
    state  an example of the state; default ``cell.initial_state(B)``

    The module's ``forward(xs, state)`` takes xs (T, B, D) and a tuple of the state's leaves, (h, c) for an LSTM, and returns
    (ys, state); ``step(x, state)`` is one step, ``load(weights)`` takes arrays by name. Any T and B will do.

    Errors: an op without an entry here, a cell that branches on numbers (ValueError, with the reason).

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
    p, c = list(step.parameters), list(step.constants)
    body = [f"{taken_apart([s.name for s in step.state])} = state"]
    if p or c:
        body.append(f"{', '.join(p + c)} = {', '.join(f'self.{n}' for n in p + c)}")
    body += statements(step, TABLE, "torch", [*step.once, *step.every])
    body.append(put_together(step))
    dtype = next((q.dtype for q in step.parameters.values()), step.y.sample.dtype)
    lines = [f'"""{step.title}, as minigrad wrote it for PyTorch: the names are those of the cell."""', "import torch", "", "",
             f"class {step.identifier}(torch.nn.Module):", f"    def __init__(self, dtype=torch.{dtype}):", "        super().__init__()"]
    lines += [f"        self.{n} = torch.nn.Parameter(torch.zeros({static(q.shape)}, dtype=dtype))" for n, q in step.parameters.items()]
    lines += [f"        self.register_buffer({n!r}, torch.tensor({a.tolist()!r}{', dtype=dtype' * (a.dtype.kind == 'f')}))"
              for n, a in step.constants.items()]
    lines += ["", "    def step(self, x, state):", *(" " * 8 + line for line in body)]
    return Source("torch", "\n".join(lines) + METHODS, step)


METHODS = '''

    def forward(self, xs, state):
        """xs (T, B, D) and a tuple of the state's parts -> ys (T, B, H) and the last state."""
        ys = []
        for x in xs:
            y, state = self.step(x, state)
            ys.append(y)
        return torch.stack(ys), state

    def load(self, weights):
        """Take arrays by name; returns the module."""
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                parameter.copy_(torch.as_tensor(weights[name]))
        return self
'''
