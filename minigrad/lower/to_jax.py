"""A cell as JAX functions: a source file that runs alone, for jit, vmap, grad, a GPU, and many devices."""
from __future__ import annotations

from typing import Any

import numpy as np

from ..nested import Nested
from ..recurrent.state import Cell
from .source import (INFIX, Source, array, calls, einsum, entry, fields, fixed, function, index, infix, numbered, permutation, prefix,
                     reshape, sizes, static, tuple_of, wrapped)
from .step import Step, Value
from .to_torch import LOSS

_NUMPY = """square sqrt exp expm1 log log1p sin cos tanh absolute sign maximum minimum where sum mean var max min prod cumsum triu tril flip
floor ceil rint trunc isfinite isnan isinf signbit logical_and logical_or logical_not logical_xor""".split()
_NN = "sigmoid softplus relu silu logsumexp softmax log_softmax".split()


def _pad(a: list[str], v: Value) -> str:
    pads = ((0, 0),) * (v.sample.ndim - len(v.attributes["pads"])) + tuple(v.attributes["pads"])
    return f"jnp.pad({a[0]}, {static(pads)}, constant_values={static(v.attributes['fill'])})"


def _scatter(a: list[str], v: Value) -> str:
    return f"jnp.zeros({sizes(a, v)}, {a[0]}.dtype).at[{index(v.attributes['index'])}].add({a[0]})"


def _getitem(a: list[str], v: Value) -> str:
    """JAX wants arrays, not lists."""
    arrays = {n: i for n, i in enumerate(v.attributes["index"]) if isinstance(i, np.ndarray)}
    said = [f"jnp.array({static(tuple(i.tolist())) if i.ndim == 1 else i.tolist()})" if n in arrays else index([i])
            for n, i in enumerate(v.attributes["index"])]
    return f"{a[0]}[{', '.join(said)}]"


TABLE = {
    **{name: infix(sign) for name, sign in INFIX.items()}, "negative": prefix("-"),
    **{name: calls(f"jnp.{name}") for name in _NUMPY}, **{name: calls(f"jax.nn.{name}") for name in _NN},
    "logsigmoid": calls("jax.nn.log_sigmoid"), "gelu": entry(lambda a, v: f"jax.nn.gelu({a[0]}, approximate=True)"),
    "layer_norm": entry(lambda a, v: f"jax.nn.standardize({a[0]}, epsilon={v.attributes['eps']})"),
    "einsum": einsum("jnp.einsum"), "solve": calls("jnp.linalg.solve"), "inv": calls("jnp.linalg.inv"),
    "matrix_exp": calls("jax.scipy.linalg.expm"), "reshape": reshape,
    "transpose": entry(lambda a, v: f"{a[0]}.transpose{permutation(v)}", needs=(3,)),
    "broadcast_to": entry(lambda a, v: f"jnp.broadcast_to({a[0]}, {sizes(a, v)})"),
    "concatenate": entry(lambda a, v: f"jnp.concatenate(({', '.join(a)},), axis={v.attributes['axis']})"),
    "stack": entry(lambda a, v: f"jnp.stack(({', '.join(a)},), axis={v.attributes['axis']})"),
    "pad": entry(_pad), "getitem": entry(_getitem, needs=(3,)), "scatter_add": entry(_scatter, needs=(3, 0), repeats=True),
    "astype": entry(lambda a, v: f"{a[0]}.astype({static(v.attributes['dtype'])})", needs=(3,)),
    "stop_gradient": calls("jax.lax.stop_gradient"),
}
GAPS = {"softmax_cross_entropy": LOSS, "binary_cross_entropy": LOSS, "squared_error": LOSS}


def to_jax(cell: Cell, x: Any = None, state: Nested = None) -> Source:
    """The cell as a file with JAX functions. Returns a Source: ``.text``, ``.save(path)``, ``.weights``. Arguments as in ``to_torch``.

    ``step(params, x, state) -> (y, state)`` is one step, ``scan(params, xs, state=None) -> (ys, state)`` all of them by
    ``jax.lax.scan``: xs (T, B, D), state a tuple of its leaves, params a dict name -> array; ``initial_state(params, batch_size)``.
    All can be jitted, mapped and differentiated: ``jax.grad``.

    >>> import minigrad as mg
    >>> print(to_jax(mg.RNNCell(3, 4)).text.partition("def step")[2])         # doctest: +ELLIPSIS
    (params, x, state):
        h, = state
        W_x, W_h, b = params['W_x'], params['W_h'], params['b']
        h_new = jnp.tanh(x @ W_x + h @ W_h + b)
        return h_new, (h_new,)
    ...
    """
    step = Step(cell, x, state)
    once = fixed(step)

    def define(head: str, first: list[str], values: list[Value], results: list[Value], returns: str) -> list[str]:
        body = function(step, TABLE, "jax", values, results, step.parameters, "params[{!r}]", returns)
        return ["", "", f"def {head}:", *("    " + line for line in (*first, *body))]

    lines = [f'"""{step.title}, as minigrad wrote it for JAX: the names are those of the cell."""', "import jax", "import jax.numpy as jnp"]
    lines += [""] * bool(step.constants)
    for name, a in step.constants.items():
        kind = "float" if a.dtype == np.float64 else repr(str(a.dtype))         # float: float64 where it is switched on
        lines.append(wrapped(f"{name} = {array(a, 'jnp.full', 'jnp.array', kind)}"))
    first, shown = [f"{tuple_of(step.state)} = state"], f"return {{}}, ({fields(len(step.new))})"
    if once:
        lines += define("fixed(params)", [], step.once, once, f"return {fields(len(once))}")
        first.append(f"{tuple_of(once)} = fixed(params) if given is None else given")
    lines += define(f"step(params, {step.x.name}, state{', given=None' * bool(once)})", first,
                    step.every if once else [*step.once, *step.every], [step.y, *step.new], shown)
    scan = SCAN.replace("STATE", "" if step.first is None else "=None")
    if step.first is not None:
        size = ", batch_size" * step.batched
        lines += define(f"initial_state(params{size})", [], [*step.once, *step.begin], step.first, f"return {fields(len(step.first))}")
        scan = scan.replace("START", START.replace("SIZE", ", xs.shape[1]" * step.batched))
    scan = scan.replace("START", "").replace("FIXED", FIXED * bool(once)).replace("AND", ", given" * bool(once))
    return Source("jax", numbered("\n".join(lines) + scan, step), step)


FIXED = '''
    given = fixed(params)'''
START = '''
    if state is None:
        state = initial_state(paramsSIZE)'''
SCAN = '''


def scan(params, xs, stateSTATE):
    """xs (T, B, D) and a tuple of the state's parts -> ys (T, B, H) and the last state."""STARTFIXED

    def one(state, x):
        y, state = step(params, x, stateAND)
        return state, y

    state, ys = jax.lax.scan(one, tuple(state), xs)
    return ys, state
'''
