"""A cell as JAX functions: a source file that runs alone, for jit, vmap, grad, a GPU, and many devices."""
from .source import Source, calls, einsum, index, infix, permutation, put_together, reshaped, statements, static, taken_apart
from .step import ROWS, Step

_NUMPY = """square sqrt exp expm1 log log1p sin cos tanh absolute sign maximum minimum where sum mean var max min prod cumsum triu tril
flip""".split()
_NN = "sigmoid softplus relu silu logsumexp softmax log_softmax".split()


def _broadcast(a, v):
    shape = ", ".join(f"{a[0]}.shape[0]" if n == -1 else str(n) for n in v.attributes["shape"])
    return f"jnp.broadcast_to({a[0]}, ({shape},))"


def _scatter(a, v):
    shape = ", ".join(f"{a[0]}.shape[0]" if n == ROWS else str(n) for n in v.sample.shape)
    return f"jnp.zeros(({shape},), {a[0]}.dtype).at[{index(v.attributes['index'])}].add({a[0]})"


def _pads(v):
    return ((0, 0),) * (v.sample.ndim - len(v.attributes["pads"])) + tuple(v.attributes["pads"])


TABLE = {
    "add": infix("+"), "subtract": infix("-"), "multiply": infix("*"), "divide": infix("/"), "power": infix("**"), "matmul": infix("@"),
    "less": infix("<"), "less_equal": infix("<="), "greater": infix(">"), "greater_equal": infix(">="), "equal": infix("=="),
    "not_equal": infix("!="), "negative": lambda a, v: f"-{a[0]}",
    **{name: calls(f"jnp.{name}") for name in _NUMPY}, **{name: calls(f"jax.nn.{name}") for name in _NN},
    "logsigmoid": calls("jax.nn.log_sigmoid"), "gelu": lambda a, v: f"jax.nn.gelu({a[0]}, approximate=True)",
    "layer_norm": lambda a, v: f"jax.nn.standardize({a[0]}, epsilon={v.attributes['eps']})",
    "einsum": einsum("jnp.einsum"), "solve": calls("jnp.linalg.solve"), "inv": calls("jnp.linalg.inv"),
    "matrix_exp": calls("jax.scipy.linalg.expm"), "reshape": reshaped,
    "transpose": lambda a, v: f"{a[0]}.transpose{permutation(v)}", "broadcast_to": _broadcast,
    "concatenate": lambda a, v: f"jnp.concatenate(({', '.join(a)}), axis={v.attributes['axis']})",
    "stack": lambda a, v: f"jnp.stack(({', '.join(a)},), axis={v.attributes['axis']})",
    "pad": lambda a, v: f"jnp.pad({a[0]}, {static(_pads(v))}, constant_values={v.attributes['fill']})",
    "getitem": lambda a, v: f"{a[0]}[{index(v.attributes['index'])}]",
    "scatter_add": _scatter,
    "astype": lambda a, v: f"{a[0]}.astype({static(v.attributes['dtype'])})", "stop_gradient": calls("jax.lax.stop_gradient"),
}


def to_jax(cell, x=None, state=None):
    """The cell as a file with JAX functions. Returns a Source: ``.text``, ``.save(path)``, ``.weights``. Arguments as in ``to_torch``.

    ``step(params, x, state) -> (y, state)`` is one step, ``scan(params, xs, state) -> (ys, state)`` all of them by
    ``jax.lax.scan``: xs (T, B, D), state a tuple of its leaves, params a dict name -> array. Both can be jitted, mapped and
    differentiated: ``jax.grad``.

    >>> import minigrad as mg
    >>> print(to_jax(mg.RNNCell(3, 4)).text.partition("import jax.numpy as jnp")[2])         # doctest: +ELLIPSIS
    <BLANKLINE>
    <BLANKLINE>
    <BLANKLINE>
    def step(params, x, state):
        ...
    """
    step = Step(cell, x, state)
    p = list(step.parameters)
    body = [f"{taken_apart([s.name for s in step.state])} = state"]
    body += [f"{', '.join(p)} = {', '.join(f'params[{n!r}]' for n in p)}"] if p else []
    body += statements(step, TABLE, "jax", [*step.once, *step.every])
    body.append(put_together(step))
    lines = [f'"""{step.title}, as minigrad wrote it for JAX: the names are those of the cell."""', "import jax",
             "import jax.numpy as jnp", ""]
    lines += [f"{n} = jnp.asarray({a.tolist()!r}, {str(a.dtype)!r})" for n, a in step.constants.items()]
    lines += ["", "def step(params, x, state):", *("    " + line for line in body)]
    return Source("jax", "\n".join(lines) + SCAN, step)


SCAN = '''


def scan(params, xs, state):
    """xs (T, B, D) and a tuple of the state's parts -> ys (T, B, H) and the last state."""
    def one(state, x):
        y, state = step(params, x, state)
        return state, y

    state, ys = jax.lax.scan(one, tuple(state), xs)
    return ys, state
'''
