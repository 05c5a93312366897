"""What is written reads like the cell, fits any number of rows, and what cannot be written is refused with the reason. No engine needed."""
import re
import types
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad.lower import gaps, port_kit, to_jax, to_torch
from minigrad.lower.kit import golden
from minigrad.lower.step import Step
from minigrad.ops import TABLE
from tests.lower import steps
from tests.recurrent.test_every_cell import every_cell


def numpy_as_jax():
    """As much of JAX as its sources use, on NumPy: values can be compared where JAX is not installed."""
    def scan(one, state, xs):
        ys = []
        for x in xs:
            state, y = one(state, x)
            ys.append(y)
        return state, np.stack(ys)
    nn = types.SimpleNamespace(**{n: getattr(mg, n) for n in "sigmoid softplus relu silu logsumexp softmax log_softmax".split()},
                               log_sigmoid=mg.logsigmoid, gelu=lambda x, approximate: mg.gelu(x), standardize=lambda x, epsilon: mg.layer_norm(x, epsilon))
    lax = types.SimpleNamespace(scan=scan, stop_gradient=lambda x: x)
    jax = types.ModuleType("jax")
    vars(jax).update(nn=nn, lax=lax, numpy=np, scipy=types.SimpleNamespace(linalg=types.SimpleNamespace(expm=mg.matrix_exp)))
    return {"jax": jax, "jax.numpy": np}


@every_cell
def test_sources_of_every_cell_on_numpy(cls, options, monkeypatch):
    for name, module in numpy_as_jax().items():
        monkeypatch.setitem(__import__("sys").modules, name, module)
    cell, rng = cls(3, 4, **options), np.random.default_rng(0)
    for p in cell.parameters().values():
        p.data = p.data + 0.7 * rng.standard_normal(p.shape)
    source, xs = to_jax(cell), rng.standard_normal((5, 2, 3))
    ys, last = source.load().scan(source.weights, xs)
    expected, _ = mg.unroll(cell, xs)
    assert np.abs(ys - expected.data).max() <= 1e-12 * np.abs(expected.data).max()
    text = to_torch(cell).text
    compile(text, "cell", "exec")
    assert max(map(len, text.splitlines())) <= 140 and not re.search(r"\b(97|89|83)\b", text)


@pytest.mark.parametrize("name", steps.OPS)
def test_sources_of_every_op_on_numpy(name, monkeypatch):
    for module, made in numpy_as_jax().items():
        monkeypatch.setitem(__import__("sys").modules, module, made)
    if name in gaps.ENGINES["JAX"][1]:
        return
    for case in steps.OPS[name]:
        compile(to_torch(steps.Of(case), steps.ONES).text, "cell", "exec")
        if name == "scatter_add":                                       # .at[…].add is no NumPy
            continue
        source, xs = to_jax(steps.Of(case), steps.ONES), np.random.default_rng(1).standard_normal((3, 4, 6))
        ys = source.load().scan(source.weights, xs)[0]
        expected = mg.unroll(steps.Of(case), xs)[0].data
        assert np.abs(ys - expected).max() <= 1e-12 * np.abs(expected).max()


def test_every_op_is_tried_and_the_table_stands_in_the_docs():
    assert sorted(set(TABLE) - steps.OPS.keys()) == [], "ops without a case in tests/lower/steps.py"
    for engine, (table, lacks) in gaps.ENGINES.items():
        for name in TABLE:
            assert (name in table) != (name in lacks), f"{name} needs an entry for {engine}, or a reason among GAPS, and not both"
    assert gaps.markdown() in (Path(__file__).parents[2] / "docs" / "take-it-elsewhere.md").read_text(encoding="utf-8")


def test_it_reads_like_the_cell():
    text = to_torch(mg.LSTMCell(3, 4)).text
    for line in ("class LSTMCell(torch.nn.Module):", "h, c = state", "a = x @ W_x + h @ W_h + b", "c_new = f * c + i * g", "return h_new, (h_new, c_new)",
                 "return zeros.expand(batch_size, 4), zeros.expand(batch_size, 4)"):
        assert f"{line}\n" in text
    text = to_jax(steps.other_names, steps.ONES).text
    assert "def step(params, u, state):\n    s, = state\n    W = params['W']\n    s_new = jnp.tanh(u @ W + s)\n    return s_new, (s_new,)\n" in text
    assert str(to_jax(mg.RNNCell(3, 4))) == to_jax(mg.RNNCell(3, 4)).text and repr(to_jax(mg.RNNCell(3, 4))) == "<RNNCell for jax: 29 lines>"


class Keeps(mg.Module):
    def __init__(self):
        self.W_x, self.r = mg.parameter(np.ones((3, 4))), mg.parameter(np.ones(4))

    def initial_state(self, batch_size):
        return mg.Tensor(np.zeros((batch_size, 4)))

    def __call__(self, x, h):
        rate = np.exp(self.r)
        keep = 1 / (1 + rate)
        h = keep * h + np.sum(1 - keep) * np.tanh(x @ self.W_x)
        return h, h


def test_what_is_made_of_parameters_alone_keeps_its_name():
    for source, of in ((to_torch(Keeps()), "torch"), (to_jax(Keeps()), "jnp")):
        assert f"rate = {of}.exp(r)\n" in source.text and "keep = 1 / (1 + rate)\n" in source.text and "h_new = keep * h + " in source.text
        assert " a = " not in source.text                               # what NumPy calls it on the way to np.sum
    assert "multiply(keep, h" in mg.scan.source(Keeps(), np.ones((4, 2, 3)))


def test_what_parameters_alone_give_is_computed_once_for_all_steps():
    text = to_torch(mg.OrthogonalRNNCell(3, 4)).text
    assert "fixed = self.fixed()\n        ys = []" in text and "self.step(x, state, fixed)" in text
    assert "given = fixed(params)\n" in to_jax(mg.OrthogonalRNNCell(3, 4)).text
    assert "fixed" not in to_torch(mg.GRUCell(3, 4, reset="before")).text       # slices are no work


def test_a_size_that_is_the_examples_number_of_rows_is_no_trouble():
    for H in (97, 89):
        text = to_torch(mg.GRUCell(H, H)).text
        assert f"a[..., :{2 * H}]" in text and f"zeros.expand(batch_size, {H})" in text


def test_what_is_drawn_is_refused_without_rows_too():
    with pytest.raises(ValueError, match=r"two readings of a step differ.*\.eval\(\)"):
        to_torch(mg.dropout(mg.RNNCell(3, 4), 0.5), np.ones(3))


@pytest.mark.parametrize("target", ["torch", "jax"])
def test_a_kit_is_written_without_the_engine(target, tmp_path):
    paths = port_kit(mg.MGUCell(3, 4), tmp_path / "kit", target, T=4, B=2, seed=5)
    assert sorted(paths) == sorted(str(p) for p in (tmp_path / "kit").iterdir())
    text = (tmp_path / "kit" / "test_parity.py").read_text(encoding="utf-8")
    with np.load(tmp_path / "kit" / "golden.npz") as numbers, np.load(tmp_path / "kit" / "weights.npz") as weights:
        assert numbers["ys"].shape == numbers["dstates_0"].shape == (4, 2, 4) and numbers["dW_x"].shape == weights["W_x"].shape
        assert set(weights) == {"W_x", "W_h", "b"}                          # np.savez(allow_pickle=False) of NumPy 2.0 adds a name
    assert "minigrad's MGUCell" in text
    compile(text, "test_parity", "exec")


def test_files(tmp_path):
    source = to_torch(mg.RNNCell(3, 4))
    assert source.save(tmp_path / "cell.py") == tmp_path / "cell.py"
    assert (tmp_path / "cell.py").read_text(encoding="utf-8") == source.text and list(tmp_path.iterdir()) == [tmp_path / "cell.py"]
    assert {n: a.shape for n, a in source.weights.items()} == {"W_x": (3, 4), "W_h": (4, 4), "b": (4,)}


def leaky(x, h):
    """A cell without initial_state."""
    h = 0.9 * h + np.tanh(x @ steps.W)
    return h, h


@pytest.mark.parametrize("write", [to_torch, to_jax])
def test_a_state_that_is_given_has_no_start_of_its_own(write):
    own, given = write(steps.Of(np.tanh), X).text, write(leaky, X, X).text
    assert "def initial_state(" in own and "state=None" in own
    assert "initial_state" not in given and "state=None" not in given


def test_golden_numbers_start_from_the_state_that_is_given():
    numbers = golden(Step(leaky, X, X), 3, 2)
    h = numbers["state_0"]
    assert h.shape == (2, 6) and not [name for name in numbers if name.startswith("start")]
    for t in range(3):
        h = 0.9 * h + np.tanh(numbers["xs"][t] @ steps.W.data)
        assert np.abs(numbers["states_0"][t] - h).max() <= 1e-14 and np.abs(numbers["ys"][t] - h).max() <= 1e-14


def test_a_scatter_is_jaxs_own():
    text = to_jax(steps.Of(*steps.OPS["scatter_add"]), X).text
    assert "jnp.zeros((x.shape[0], 6), x.dtype).at[..., [0, 1, 2, 2, 4, 5]].add(x)" in text


def test_a_parameter_of_the_start_and_of_the_step_is_one():
    source = to_torch(steps.WAYS["Rooted"], X)
    assert source.text.count("torch.nn.Parameter") == 1 and list(source.weights) == ["W"]
    assert "self.W" in source.text.partition("def initial_state")[2].partition("def ")[0]


class Branches(mg.Module):
    def __init__(self):
        self.W_x = mg.parameter(np.ones((3, 4)))

    def initial_state(self, batch_size):
        return mg.Tensor(np.zeros((batch_size, 4)))

    def __call__(self, x, h):
        h = np.tanh(x @ self.W_x) + (h if float(h.sum()) > 0 else 2 * h)
        return h, h


X = steps.ONES


@pytest.mark.parametrize("call, error, message", [
    (lambda: to_torch(Branches()), ValueError, "Branches cannot be written for another engine: .*float"),
    (lambda: to_jax(lambda x, h: (x + h, x + h), X), ValueError, "no initial_state.*pass state="),
    (lambda: to_jax(steps.Of(np.tanh)), ValueError, "cannot see the input size"), (lambda: to_torch(3), TypeError, "lower got int as cell"),
    (lambda: port_kit(mg.RNNCell(2, 3), "kit", "tensorflow"), ValueError, "target='tensorflow'; expected one of torch, jax, onnx"),
    (lambda: to_torch(mg.dropout(mg.RNNCell(3, 4), 0.5)), ValueError, r"dropout\(RNNCell\) cannot be .*not the same for every row.*\.eval\(\)"),
    (lambda: to_torch(steps.Of(lambda x: x / len(x)), X), ValueError, "Of cannot be .*computes with the number of rows.*np.mean"),
    (lambda: to_torch(steps.Of(lambda x: x.reshape(-1, 1).reshape(len(x), 6)), X), ValueError, "reshape takes rows and columns together"),
    (lambda: to_torch(steps.Of(lambda x: x[np.arange(len(x))[::-1]]), X), ValueError, "getitem takes rows and columns together, or as many rows"),
    (lambda: to_torch(steps.Of(lambda x: mg.scatter_add(x, (Ellipsis, np.arange(6), np.arange(6)), (len(x), 6, 6)).sum(-1)), X), ValueError,
     "scatter_add has an entry for torch where the index is"),
    (lambda: to_torch(mg.RNNCell(3, 4), np.ones((2, 5))), ValueError, r"matmul got \(2, 5\), W_x \(3, 4\)")])
def test_one_clear_message_each(call, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        call()
    assert not list(tmp_path.iterdir())
