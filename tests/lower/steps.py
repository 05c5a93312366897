"""Cells that are one op, or one way of writing a step that is easily got wrong; and how a port kit is run."""
import contextlib
import importlib.util
import io
import os
import sys
from collections.abc import Callable

import numpy as np
import pytest

import minigrad as mg
from minigrad.lower import port_kit

rng = np.random.default_rng(3)
W = mg.parameter(rng.standard_normal((6, 6)), name="W")
S, ONES = rng.standard_normal((6, 6)) + 6 * np.eye(6), np.ones((2, 6))
ENGINES = {"torch": ("torch",), "jax": ("jax",), "onnx": ("onnx", "onnxruntime")}


os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")         # JAX compiles in less time


def needs(target):
    for package in ENGINES[target]:
        pytest.importorskip(package, reason=f"what is written for {target} is run with {package}: pip install 'minigrad[peers]'")


def here(target):
    return all(importlib.util.find_spec(package) for package in ENGINES[target])


def parity(folder):
    """Run the port kit in the folder, in this process; the largest error."""
    printed, before = io.StringIO(), list(sys.path)
    sys.path.insert(0, str(folder))
    try:
        with contextlib.redirect_stdout(printed):
            importlib.import_module("test_parity").test_parity()
    finally:
        sys.path[:] = before
        for module in ("test_parity", "cell"):
            sys.modules.pop(module, None)
        importlib.invalidate_caches()
    return max(float(line.split()[-1]) for line in printed.getvalue().splitlines())


def same_numbers(cell, target, folder, x=None, state=None):
    port_kit(cell, folder, target, x, state)
    parity(folder)


def sq(x):
    return x[..., None] * W                                     # (B, 6, 6)


OPS: dict[str, list] = {  # op -> functions of x (B, 6) that record it
    "add": [lambda x: x + W[0]], "subtract": [lambda x: 1 - x, lambda x: x - (W[0] - (x - 1))], "multiply": [lambda x: x * (x + 2)],
    "divide": [lambda x: x / (2 + x * x) / 3, lambda x: x / ((x * x + 1) / (x * x + 2))],
    "power": [lambda x: (x * x + 1) ** 1.5, lambda x: (-x) ** 4 * 2, lambda x: 2.0 ** (x ** 4), lambda x: -(x ** 4),
              lambda x: (2.0 ** x) ** 3],
    "negative": [lambda x: -x * 2, lambda x: x - (-x), lambda x: -(x - 1), lambda x: (-x)[..., ::2].sum(-1, keepdims=True) * x],
    "square": [np.square], "sqrt": [lambda x: np.sqrt(x * x + 1)], "absolute": [np.abs], "exp": [np.exp], "expm1": [np.expm1],
    "log": [lambda x: np.log(x * x + 1)], "log1p": [lambda x: np.log1p(x * x)], "sin": [np.sin], "cos": [np.cos], "tanh": [np.tanh],
    "sigmoid": [mg.sigmoid], "softplus": [mg.softplus, lambda x: mg.softplus(40 * x)], "logsigmoid": [mg.logsigmoid], "relu": [mg.relu],
    "silu": [mg.silu], "gelu": [mg.gelu], "maximum": [lambda x: np.maximum(x, 0.1), lambda x: np.maximum(-0.1, x * 2), lambda x: np.maximum(x, 1 - x)],
    "minimum": [lambda x: np.minimum(x, x * x), lambda x: np.minimum(x, -0.1)],
    "where": [lambda x: np.where(x > 0.2, x, 2 * x), lambda x: np.where(x > 0, 0.1, 0.7) * x, lambda x: np.where(x < 0, x, 0.3),
              lambda x: mg.sigmoid(np.where(x <= 0, x, -np.inf) + W[0])],
    "sum": [lambda x: np.sum(x, axis=-1, keepdims=True) * x, lambda x: np.sum(sq(x), axis=(-1, -2))[..., None] * x],
    "mean": [lambda x: np.mean(sq(x), axis=-1), lambda x: x - np.mean(x, axis=0)],
    "var": [lambda x: np.var(sq(x), axis=-2, ddof=1), lambda x: x / (1 + np.var(x, axis=-1, keepdims=True))],
    "max": [lambda x: np.max(sq(x), axis=-1)], "min": [lambda x: np.min(x, axis=-1, keepdims=True) + x], "prod": [lambda x: np.prod(sq(x), axis=-1)],
    "logsumexp": [lambda x: mg.logsumexp(sq(x), axis=-1)], "softmax": [mg.softmax, lambda x: mg.softmax(sq(x), axis=-2)[..., 1]],
    "log_softmax": [lambda x: mg.log_softmax(sq(x), axis=-2)[..., 0]], "cumsum": [lambda x: np.cumsum(x, axis=-1)],
    "layer_norm": [mg.layer_norm, lambda x: mg.layer_norm(x - 1, eps=1e-3)], "matmul": [lambda x: x @ W, lambda x: (x @ W) @ W.T, lambda x: x @ (W @ W)],
    "einsum": [lambda x: np.einsum("bi,ij->bj", x, W), lambda x: np.einsum("bi,bi->b", x, x)[..., None] * x],
    "solve": [lambda x: np.linalg.solve(S, x[..., None])[..., 0]], "inv": [lambda x: np.linalg.inv(sq(x) * 0.1 + S)[..., 0]],
    "matrix_exp": [lambda x: mg.matrix_exp(0.1 * sq(x))[..., 0]], "triu": [lambda x: np.triu(sq(x), 1)[..., 5]], "tril": [lambda x: np.tril(sq(x))[..., 2]],
    "reshape": [lambda x: (np.reshape(x, (x.shape[0], 2, 3)) * 2).reshape(x.shape[0], 6), lambda x: x + W.reshape(36)[5:11],
                lambda x: (x - 1).reshape(len(x), 1, 6)[:, 0]],
    "transpose": [lambda x: np.swapaxes(sq(x), -1, -2)[..., 1], lambda x: (x.T * 2).T],
    "broadcast_to": [lambda x: np.broadcast_to(x[..., None], (*x.shape, 4))[..., 3], lambda x: np.broadcast_to(W[1], x.shape) * x,
                     lambda x: (np.broadcast_to(W[1], x.shape) * 2 + 1) * x, lambda x: x + np.broadcast_to(W[2], (97, 6)).sum(0) / 97],
    "concatenate": [lambda x: np.concatenate([x[..., :2], x[..., 2:] * 2], -1),
                    lambda x: np.concatenate([x[..., 1:], np.ones((len(x), 1))], -1) @ W],
    "stack": [lambda x: np.stack([x, x * 2], axis=-1)[..., 1]], "flip": [lambda x: np.flip(x, -1)],
    "pad": [lambda x: np.pad(x, ((0, 0), (1, 1)))[..., 2:], lambda x: np.pad(x, ((0, 0), (2, 0)), constant_values=0.5)[..., :6],
            lambda x: mg.sigmoid(np.pad(x, ((0, 0), (0, 1)), constant_values=-np.inf)[..., 1:]),
            lambda x: np.pad(x, ((0, 0), (1, 1)), constant_values=np.array([1.5, 2.5])) @ np.ones((8, 6)),
            lambda x: np.pad(sq(x), ((0, 0), (1, 0), (0, 2)), constant_values=((0, 0), (1, 2), (3, 4)))[..., :2, 2:].sum(-2)],
    "getitem": [lambda x: sq(x)[..., ::2, 1][..., None, 0] + x, lambda x: x[..., ::-1], lambda x: x[..., 4::-2].sum(-1, keepdims=True) * x,
                lambda x: x[..., [0, 2, 2, 5, 1, 0]], lambda x: sq(x)[:, 1, [0, 2, 1, 0, 5, 5]], lambda x: sq(x)[:, [1, 0], None][:, 1, 0]],
    "scatter_add": [lambda x: mg.scatter_add(x, (Ellipsis, np.array([0, 1, 2, 2, 4, 5])), (len(x), 6))],
    "softmax_cross_entropy": [lambda x: x + mg.softmax_cross_entropy(x, mg.softmax(2 * x), reduction="none")[..., None]],
    "binary_cross_entropy": [lambda x: mg.binary_cross_entropy(x, mg.sigmoid(x), reduction="none")],
    "squared_error": [lambda x: mg.squared_error(x, 2 * x, reduction="none")],
    "astype": [lambda x: x.astype(np.float32).astype(np.float64)],
}
WITHOUT_GRADIENT: dict[str, Callable] = {  # what NumPy does on Tensors without a gradient is an op of the step
    "sign": lambda x: np.sign(x) * x, "floor": lambda x: np.floor(3 * x) * x, "ceil": lambda x: np.ceil(3 * x) * x, "rint": lambda x: np.rint(3 * x) * x,
    "trunc": lambda x: np.trunc(3 * x) * x, "less": lambda x: np.where(x < 0.1, x, 1), "less_equal": lambda x: np.where(x <= 0.1, x, 1),
    "greater": lambda x: np.where(x > 0.1, x, 1), "greater_equal": lambda x: np.where(x >= 0.1, x, 1),
    "equal": lambda x: np.where(np.sign(x) == 1, x, 2), "not_equal": lambda x: np.where(np.sign(x) != 1, x, 2),
    "isfinite": lambda x: np.where(np.isfinite(x), x, 1), "isnan": lambda x: np.where(np.isnan(x), 1, x), "isinf": lambda x: np.where(np.isinf(x), 1, x),
    "logical_and": lambda x: np.where(np.logical_and(x > 0, x < 1), x, 2), "logical_or": lambda x: np.where(np.logical_or(x > 1, x < 0), x, 2),
    "logical_not": lambda x: np.where(np.logical_not(x > 0), x, 2), "logical_xor": lambda x: np.where(np.logical_xor(x > 0, x < 1), x, 2),
    "signbit": lambda x: np.where(np.signbit(x), x, 2), "stop_gradient": lambda x: x * x.detach(),
}


class Of(mg.Module):
    """A cell that is one op, written in one or more ways."""

    def __init__(self, *functions):
        self.functions, self.W = functions, W

    def initial_state(self, batch_size):
        return mg.Tensor(np.zeros((batch_size, 6)))

    def __call__(self, x, h):
        h = 0.25 * h
        for f in self.functions:
            h = f(x) * 0.5 + h
        return h, h


# ---- ways of writing a step ----------------------------------------------------------------------------------------------

def zeros(batch_size):
    return mg.Tensor(np.zeros(6 if batch_size is None else (batch_size, 6)))


def other_names(u, s):
    s = np.tanh(u @ W + s)
    return s, s


def reserved_names(input, state):
    lambda_ = torch = np.tanh(input @ W + state)
    x = torch * lambda_
    return x, state * 0.5 + x


def rows_inside(x, h):
    noise = np.full((len(x), 6), 0.3)
    h = np.tanh(x @ W + h * noise)
    return h, h


def reused(x, h):
    for _ in range(3):
        h = np.tanh(x @ W + h)
    return h, h


def counter(x, s):
    a = np.tanh(x @ W + s["a"] * (s["n"] + 1))
    return a, {"a": a, "n": s["n"] + 1}


def shows_other_than_it_keeps(x, h):
    h = np.tanh(x @ W + h)
    return np.concatenate([h, x], -1) * 2, h


class Awkward(mg.Module):
    """Its names mean something else in the engines."""

    def __init__(self):
        self.half, self.forward, self.params = (mg.parameter(rng.standard_normal((6, 6)), name=n) for n in "xyz")

    initial_state = staticmethod(zeros)

    def __call__(self, x, h):
        jnp = torch = np.tanh(x @ self.half + h @ self.forward)
        weights = (torch * jnp) @ self.params
        return weights, jnp


class Rooted(mg.Module):
    """It starts from a row of its own weights."""

    def __init__(self):
        self.W = mg.parameter(rng.standard_normal((6, 6)))

    def initial_state(self, batch_size):
        return np.zeros((batch_size, 6)) + self.W[0]

    def __call__(self, x, h):
        h = np.tanh(x @ self.W + h)
        return h, h


def autonomous(x, phase):
    """An oscillator that nothing drives: x has no gradient."""
    phase = phase + 0.3 * np.sin(phase @ W)
    return np.cos(phase), phase


WAYS = {f.__name__: f for f in (other_names, reserved_names, rows_inside, reused, shows_other_than_it_keeps, autonomous)}
for f in WAYS.values():
    f.initial_state = zeros                                     # type: ignore[attr-defined]
WAYS.update(counter=counter, Awkward=Awkward(), Rooted=Rooted())
counter.initial_state = lambda batch_size: {"a": zeros(batch_size), "n": mg.Tensor(np.zeros((batch_size, 1), int))}    # type: ignore[attr-defined]
WRAPPED = {
    "residual": lambda r: mg.residual(mg.RNNCell(6, 6, rng=r)), "stacked": lambda r: mg.stacked(mg.LSTMCell(6, 6, rng=r), mg.GRUCell(6, 5, rng=r)),
    "learned_start": lambda r: started(mg.learned_start(mg.LSTMCell(6, 6, rng=r)), r), "projected": lambda r: mg.projected(mg.LSTMCell(6, 4, rng=r), 4, 3),
    "normalized": lambda r: mg.normalized(mg.RNNCell(6, 6, rng=r), 6), "dropout": lambda r: mg.dropout(mg.RNNCell(6, 6, rng=r), 0.5).eval(),
    "zoneout": lambda r: mg.zoneout(mg.LSTMCell(6, 6, rng=r), 0.5).eval()}


def started(cell, r):
    for name, p in cell.parameters().items():
        if name.startswith("start"):
            p.data = r.standard_normal(p.shape)
    return cell
