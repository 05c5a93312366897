"""A cell for another engine: every cell and every op gives the same numbers there; what has no entry is refused by name."""
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad import lower
from minigrad.lower.gaps import TARGETS, gaps, markdown
from minigrad.lower.kit import port_kit
from minigrad.lower.step import Step
from minigrad.ops import TABLE

CELLS = sorted(name for name in dir(mg) if name.endswith("Cell"))
rng = np.random.default_rng(3)
W, S = mg.parameter(rng.standard_normal((6, 6)), name="W"), rng.standard_normal((6, 6)) + 6 * np.eye(6)


def sq(x):
    return x[..., None] * W                                     # (B, 6, 6)


OPS = {  # op -> a function of x (B, 6) that records it
    "add": lambda x: x + W[0], "subtract": lambda x: 1 - x, "multiply": lambda x: x * (x + 2), "divide": lambda x: x / (2 + x * x) / 3,
    "power": lambda x: (x * x + 1) ** 1.5, "negative": lambda x: -x * 2, "square": np.square, "sqrt": lambda x: np.sqrt(x * x + 1),
    "absolute": np.abs, "exp": np.exp, "expm1": np.expm1, "log": lambda x: np.log(x * x + 1), "log1p": lambda x: np.log1p(x * x), "sin": np.sin,
    "cos": np.cos, "tanh": np.tanh, "sigmoid": mg.sigmoid, "softplus": mg.softplus, "logsigmoid": mg.logsigmoid, "relu": mg.relu,
    "silu": mg.silu, "gelu": mg.gelu, "maximum": lambda x: np.maximum(x, 0.1), "minimum": lambda x: np.minimum(x, x * x),
    "where": lambda x: np.where(x > 0.2, x, 2 * x), "sum": lambda x: np.sum(x, axis=-1, keepdims=True) * x, "mean": lambda x: np.mean(sq(x), axis=-1),
    "var": lambda x: np.var(sq(x), axis=-2, ddof=1), "max": lambda x: np.max(sq(x), axis=-1), "min": lambda x: np.min(x, axis=-1, keepdims=True) + x,
    "prod": lambda x: np.prod(sq(x), axis=-1), "logsumexp": lambda x: mg.logsumexp(sq(x), axis=-1), "softmax": mg.softmax,
    "log_softmax": lambda x: mg.log_softmax(sq(x), axis=-2)[..., 0], "cumsum": lambda x: np.cumsum(x, axis=-1), "layer_norm": mg.layer_norm,
    "matmul": lambda x: x @ W, "einsum": lambda x: np.einsum("bi,ij->bj", x, W),
    "solve": lambda x: np.linalg.solve(S, x[..., None])[..., 0], "inv": lambda x: np.linalg.inv(sq(x) * 0.1 + S)[..., 0],
    "matrix_exp": lambda x: mg.matrix_exp(0.1 * sq(x))[..., 0], "triu": lambda x: np.triu(sq(x), 1)[..., 5], "tril": lambda x: np.tril(sq(x))[..., 2],
    "reshape": lambda x: (np.reshape(x, (x.shape[0], 2, 3)) * 2).reshape(x.shape[0], 6), "transpose": lambda x: np.swapaxes(sq(x), -1, -2)[..., 1],
    "broadcast_to": lambda x: np.broadcast_to(x[..., None], (*x.shape, 4))[..., 3], "concatenate": lambda x: np.concatenate([x[..., :2], x[..., 2:] * 2], -1),
    "stack": lambda x: np.stack([x, x * 2], axis=-1)[..., 1], "flip": lambda x: np.flip(x, -1), "pad": lambda x: np.pad(x, ((0, 0), (1, 1)))[..., 2:],
    "getitem": lambda x: sq(x)[..., ::2, 1][..., None, 0] + x, "scatter_add": lambda x: mg.scatter_add(x, (Ellipsis, np.array([0, 1, 2, 2, 4, 5])), (x.shape[0], 6)),
    "softmax_cross_entropy": lambda x: x + mg.softmax_cross_entropy(x, mg.softmax(2 * x), reduction="none")[..., None],
    "binary_cross_entropy": lambda x: mg.binary_cross_entropy(x, mg.sigmoid(x), reduction="none"), "squared_error": lambda x: mg.squared_error(x, 2 * x, reduction="none"),
    "astype": lambda x: x.astype(np.float32).astype(np.float64)}


class Of(mg.Module):
    """A cell that is one op."""

    def __init__(self, f):
        self.f, self.W = f, W

    def initial_state(self, B):
        return mg.Tensor(np.zeros((B, 6)))

    def __call__(self, x, h):
        h = self.f(x) * 0.5 + 0.25 * h
        return h, h


def run(target, cell, x, folder):
    """The port kit's own test, in a process that cannot see minigrad."""
    port_kit(cell, folder, target, x)
    done = subprocess.run([sys.executable, "-I", "-c", "import sys; sys.path.insert(0, '.'); import test_parity as t; t.test_parity(); "
                           "assert 'minigrad' not in sys.modules"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1500:]
    return done.stdout


ENGINES = {"torch": "torch", "jax": "jax", "onnx": "onnxruntime"}


def needs(target):
    pytest.importorskip(ENGINES[target], reason=f"the {target} files are run with {ENGINES[target]}: pip install 'minigrad[peers]'")
    if target == "onnx":
        pytest.importorskip("onnx", reason="pip install 'minigrad[onnx]'")


@pytest.mark.parametrize("target", ENGINES)
@pytest.mark.parametrize("name", ["LSTMCell", "ClockworkRNNCell", "OrthogonalRNNCell"])
def test_a_port_kit_runs_alone(target, name, tmp_path):
    needs(target)
    shown = run(target, getattr(mg, name)(5, 8, dtype=np.float32), np.ones((2, 5), np.float32), tmp_path)
    assert "ys" in shown and "last_0" in shown and (target == "onnx" or "dW_x" in shown and "dxs" in shown)


def error(a, b):
    a, b = np.asarray(a, float), np.asarray(b, float)
    assert a.shape == b.shape
    return np.max(np.abs(a - b), initial=0) / max(np.max(np.abs(b), initial=0), 1e-30)


def errors_torch(cell, x):
    import torch
    source = lower.to_torch(cell, x)
    g = source.step.golden()
    module = getattr(source.load(), source.step.identifier)(dtype=torch.as_tensor(g["xs"]).dtype).load(source.weights)
    xs = torch.tensor(g["xs"], requires_grad=True)
    states = [torch.tensor(g[f"state_{i}"]) for i in range(len(source.step.state))]
    states = [s.requires_grad_() if s.is_floating_point() else s for s in states]
    ys, last = module(xs, tuple(states))
    total = (ys * torch.tensor(g["dys"])).sum() + sum((s * torch.tensor(g[f"dlast_{i}"])).sum() for i, s in enumerate(last) if s.is_floating_point())
    total.backward()
    yield from [error(ys.detach(), g["ys"]), error(xs.grad, g["dxs"]), *(error(s.detach(), g[f"last_{i}"]) for i, s in enumerate(last))]
    yield from (error(p.grad, g[f"d{n}"]) for n, p in module.named_parameters())
    yield from (error(s.grad, g[f"dstate_{i}"]) for i, s in enumerate(states) if s.grad is not None)


def errors_jax(cell, x):
    import jax
    source = lower.to_jax(cell, x)
    g = source.step.golden()
    jax.config.update("jax_enable_x64", g["xs"].dtype.itemsize == 8)
    module, k = source.load(), len(source.step.state)

    def total(weights, xs):
        ys, last = module.scan(weights, xs, tuple(g[f"state_{i}"] for i in range(k)))
        return (ys * g["dys"]).sum() + sum((s * g[f"dlast_{i}"]).sum() for i, s in enumerate(last) if s.dtype.kind == "f"), ys
    (dweights, dxs), ys = jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))(source.weights, g["xs"])
    yield from [error(ys, g["ys"]), error(dxs, g["dxs"]), *(error(d, g[f"d{n}"]) for n, d in dweights.items())]


def errors_onnx(cell, x):
    import onnxruntime
    model, g = lower.to_onnx(cell, x=x), Step(cell, x).golden(T=6, B=4)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL         # its fused ops compute in float32
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    ys, *last = session.run(None, {n: a for n, a in g.items() if n == "xs" or n.startswith("state_")})
    yield from [error(ys, g["ys"]), *(error(s, g[f"last_{i}"]) for i, s in enumerate(last))]


ERRORS = {"torch": errors_torch, "jax": errors_jax, "onnx": errors_onnx}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("target", ENGINES)
def test_every_cell_gives_the_same_numbers(target, name, dtype):
    needs(target)
    worst = max(ERRORS[target](getattr(mg, name)(4, 4, dtype=dtype), None))
    assert worst <= (1e-12 if dtype == np.float64 else 1e-5)


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("target", ENGINES)
def test_every_op_gives_the_same_numbers(target, name):
    needs(target)
    x = np.random.default_rng(1).standard_normal((2, 6))
    if name in gaps()[{"torch": "PyTorch", "jax": "JAX", "onnx": "ONNX"}[target]]:
        with pytest.raises(ValueError, match=f"uses .*{name}.*no entry for {target}"):
            list(ERRORS[target](Of(OPS[name]), x))
    else:
        assert name in Step(Of(OPS[name]), x).ops
        assert max(ERRORS[target](Of(OPS[name]), x)) <= (1e-6 if name == "astype" else 1e-11 if name in ("inv", "solve", "prod") else 1e-12)


def test_every_op_is_tried_and_the_gaps_are_in_the_docs():
    assert sorted(set(TABLE) - OPS.keys()) == [], "ops without a case in this file"
    assert markdown() in (Path(__file__).parents[2] / "docs" / "take-it-elsewhere.md").read_text(encoding="utf-8")
    assert all(len(missing) < len(TABLE) / 3 for missing in gaps().values()) and len(TARGETS) == 3


def test_the_source_reads_like_the_cell():
    text = lower.to_torch(mg.LSTMCell(3, 4)).text
    assert "a = x @ W_x + h @ W_h + b" in text and "c_new = f * c + i * g" in text and "class LSTMCell(torch.nn.Module)" in text
    text = lower.to_jax(mg.stacked(mg.RNNCell(3, 4), mg.RNNCell(4, 2))).text
    assert "jax.lax.scan" in text and "jnp.tanh(x @ " in text
    compile(text, "cell", "exec")


def test_any_number_of_rows_will_do():
    """The rows of the example are written nowhere."""
    for name in CELLS:
        assert not re.search(r"(?<![\d.])97(?![\d.])", lower.to_torch(getattr(mg, name)(4, 4)).text), name


class Branches(mg.Module):
    def __init__(self):
        self.W_x = mg.parameter(np.ones((3, 4)))

    def initial_state(self, B):
        return mg.Tensor(np.zeros((B, 4)))

    def __call__(self, x, h):
        h = np.tanh(x @ self.W_x) + (h if float(h.sum()) > 0 else 2 * h)
        return h, h


@pytest.mark.parametrize("call, error_, message", [
    (lambda: lower.to_torch(Branches()), ValueError, "Branches cannot be written for another engine: .*float"),
    (lambda: lower.to_jax(lambda x, h: (x + h, x + h), np.ones((2, 3))), ValueError, "no initial_state.*pass state="),
    (lambda: lower.to_jax(Of(np.tanh)), ValueError, "cannot see the input size"), (lambda: lower.to_torch(3), TypeError, "lower got int as cell"),
    (lambda: port_kit(mg.RNNCell(2, 3), "kit", "tensorflow"), ValueError, "target='tensorflow'; expected one of torch, jax, onnx"),
    (lambda: lower.to_torch_weights(mg.MGUCell(2, 3)), ValueError, "MGUCell has no counterpart in torch.nn"),
    (lambda: lower.from_torch_weights(mg.RNNCell(2, 3), {"weight_ih_l0": np.ones((3, 2))}), ValueError, "no weight_hh_l0 among weight_ih_l0"),
    (lambda: lower.from_torch_weights(mg.RNNCell(2, 3), {"weight_ih_l0": np.ones((3, 5)), "weight_hh_l0": np.ones((3, 3))}), ValueError,
     r"layer 0: got an array of shape \(5, 3\) for a parameter of shape \(2, 3\)")])
def test_one_clear_message_each(call, error_, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error_, match=message):
        call()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ours, theirs", [(mg.RNNCell, "RNN"), (mg.LSTMCell, "LSTM"), (mg.GRUCell, "GRU")])
def test_weights_of_torch_both_ways(ours, theirs):
    torch = pytest.importorskip("torch", reason="torch's own modules are the reference: pip install 'minigrad[peers]'")
    cell = mg.stacked(ours(5, 6), ours(6, 6))
    module, xs = getattr(torch.nn, theirs)(5, 6, 2, dtype=torch.float64), rng.standard_normal((4, 3, 5))
    lower.from_torch_weights(cell, module.state_dict())
    expected = module(torch.tensor(xs))[0].detach().numpy()
    assert error(mg.unroll(cell, xs)[0].data, expected) <= 1e-12
    fresh = getattr(torch.nn, theirs)(5, 6, 2, dtype=torch.float64)
    fresh.load_state_dict({name: torch.tensor(array) for name, array in lower.to_torch_weights(cell).items()})
    assert error(fresh(torch.tensor(xs))[0].detach(), expected) <= 1e-12


@pytest.mark.parametrize("cls", [mg.RNNCell, mg.LSTMCell, mg.GRUCell])
def test_there_and_back_leaves_a_cell_as_it_was(cls):
    a, b = cls(3, 4, rng=np.random.default_rng(1)), cls(3, 4, rng=np.random.default_rng(2))
    lower.from_torch_weights(b, lower.to_torch_weights(a))
    for p, q in zip(a.parameters().values(), b.parameters().values()):
        assert np.array_equal(p.data, q.data)
    with pytest.raises(ValueError, match="weight_ih_l1.*more than 1 layer in one direction"):
        lower.from_torch_weights(b, lower.to_torch_weights(mg.stacked(a, cls(4, 4))))


def test_eight_devices_train_like_one():
    pytest.importorskip("jax", reason="pip install 'minigrad[peers]'")
    script = Path(__file__).parents[2] / "docs" / "take-it-elsewhere.md"
    block = next(part.partition("```")[0] for part in script.read_text(encoding="utf-8").split("```python\n") if "jax.sharding" in part)
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr[-1500:]
    assert "8 devices" in done.stdout
