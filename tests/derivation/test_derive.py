"""derive: the program computes what the engine does, the equations hold number by number, and they read as people write them."""
import inspect
import re
import shutil
import subprocess
import unicodedata
from argparse import ArgumentParser, Namespace

import numpy as np
import pytest

import minigrad as mg
from minigrad.derivation import command
from minigrad.derivation.derive import Derivation, derive
from minigrad.derivation.notation import Text
from minigrad.nested import flatten, rebuild
from minigrad.ops import FUNCTIONS, TABLE, op
from minigrad.queries import taps
from tests.derivation.equations import NABLA, value
from tests.recurrent.test_every_cell import CASES, CELLS

T, B, D, H, K = 3, 2, 3, 4, 7


# ---- the program against the engine --------------------------------------------------------------------------------------

def columns(a):
    return a.mT if a.ndim > 1 else a[:, None] if a.ndim else a


def program(derivation):
    """What the source defines, run in a world where there is nothing but NumPy."""
    namespace = {}
    exec(compile(derivation.numpy, "derived.py", "exec"), namespace)
    assert set(re.findall(r"^(?:from|import) .*", derivation.numpy, re.M)) == {"import numpy as np"}
    return namespace["bptt"]


def away(cell, seed=0):
    """Parameters, inputs and a state away from their initial values, where mistakes would hide."""
    rng = np.random.default_rng(seed)
    if isinstance(cell, mg.Module):
        for p in cell.parameters().values():
            p.data = p.data + 0.5 * rng.standard_normal(p.shape)
    _, state = mg.unroll(cell, rng.standard_normal((2, B, D)))
    state = rebuild(state, [mg.parameter(s.data + 0.1 * rng.standard_normal(s.shape)) if s.dtype.kind == "f" else s for s in flatten(state)])
    return mg.parameter(rng.standard_normal((T, B, D))), state


LOSSES = {"softmax": mg.softmax_cross_entropy, "sigmoid": mg.binary_cross_entropy, "linear": mg.squared_error}


def error(cell, head=None, convention=None, seed=0):
    """The largest relative error of a gradient of parameters, inputs or initial state, for cotangents of outputs and last state."""
    xs, state = away(cell, seed)
    derivation = derive(cell, head=head, convention=convention)     # traced on other numbers than those it is run on
    turned = columns if convention == "column" else np.asarray
    rng = np.random.default_rng(1)
    ys, last = mg.unroll(cell, xs, state)
    bptt = program(derivation)
    names = list(inspect.signature(bptt).parameters)
    states, ends = names[1:1 + len(flatten(state))], [n for n in names if n.endswith("_T")]
    given = [rng.standard_normal(s.shape) for s in flatten(last)]
    loss = sum((s * g).sum() for s, g in zip(flatten(last), given))
    arguments = {**derivation.arguments, **dict(zip(ends, map(turned, given)))}
    started = {name: s for name, s in zip(states, flatten(state)) if s.requires_grad}          # a clock has no gradient
    wanted = {"xs": xs, **started, **derivation.parameters}
    if head is None:
        arguments["dys"] = turned(dys := rng.standard_normal(ys.shape))
        loss, steps = loss + (ys * dys).sum(), None
    else:
        W, b = [p for p in derivation.parameters.values()][-2:]
        targets = rng.integers(K, size=(T, B)) if head == "softmax" else rng.uniform(size=(T, B, K))
        steps = LOSSES[head](ys @ W + b, targets, reduction="sum")
        loss, arguments["ys"] = loss + steps, targets if head == "softmax" else turned(targets)
    found = bptt(turned(xs.data), *(turned(s.data) for s in flatten(state)), **arguments)
    assert set(found) - {"L"} == set(wanted)
    errors = [0.0] if steps is None else [abs(found["L"] - steps.item()) / abs(steps.item())]
    for name, want in zip(wanted, mg.grad(loss, list(wanted.values()))):
        got, want = found[name], turned(want.data)
        assert got.shape == want.shape, name
        errors.append(np.abs(got - want).max() / max(np.abs(want).max(), 1e-3))
    return max(errors)


@pytest.mark.parametrize("head, convention", [(None, "row"), ("softmax", "column"), ("sigmoid", "row"), (None, "column")])
@pytest.mark.parametrize("cls, options", CASES)
def test_the_program_computes_the_engines_gradients(cls, options, head, convention):
    assert error(cls(D, H, **options), head, convention) <= 1e-12


@pytest.mark.parametrize("cls, options", CASES)
def test_the_program_keeps_float32(cls, options):
    cell = cls(D, H, dtype=np.float32, **options)
    derivation, rng = derive(cell, head="softmax"), np.random.default_rng(0)
    arguments = {name: array.astype(np.float32) for name, array in derivation.arguments.items()}
    states = [s.data for s in flatten(cell.initial_state(B))]
    with np.errstate(over="ignore", invalid="ignore"):          # a sign that is written as a product with √(largest number)
        found = program(derivation)(rng.standard_normal((T, B, D)).astype(np.float32), *states, **arguments, ys=rng.integers(K, size=(T, B)))
    assert {name: g.dtype for name, g in found.items() if name != "L" and g.dtype != np.float32} == {}


class Base(mg.Module):
    def __init__(self, **shapes):
        rng = np.random.default_rng(0)
        for name, shape in shapes.items():
            setattr(self, name, mg.parameter(rng.standard_normal(shape)))

    def initial_state(self, batch=None):
        return mg.Tensor(np.zeros((batch, H) if batch else H))


class Invented(Base):
    """Choices, powers, a scalar parameter, an output of its own."""
    def __init__(self):
        super().__init__(W=(D, H), U=(H, H), v=(H,), g=())

    def __call__(self, x, h):
        gate = mg.sigmoid(h * self.v + x @ self.W)
        h = self.g * gate * np.sin(h @ self.U) + (1 - gate) * abs(h) + np.maximum(h, 0.3) * gate ** 3
        return h * 2, h


class Reductions(Base):
    def __init__(self):
        super().__init__(W=(D, H), U=(H, H))

    def __call__(self, x, h):
        a = x @ self.W + h @ self.U
        h = mg.softmax(a) - a.mean(axis=-1, keepdims=True) / np.std(a, axis=-1, keepdims=True) + np.max(a, axis=-1, keepdims=True)
        return np.log1p(h * h), h


class StateIsTheInput(Base):
    """One part of the new state is x itself, one stays what it was, one is another part."""
    def __init__(self):
        super().__init__(W=(D, H), U=(H, H), V=(D, H))

    def initial_state(self, batch=None):
        zeros = [mg.Tensor(np.zeros((batch, n))) for n in (H, D, H, H)]
        return dict(zip(("h", "before", "kept", "twin"), zeros))

    def __call__(self, x, s):
        h = np.tanh(x @ self.W + s["h"] @ self.U + s["before"] @ self.V + s["kept"] + s["twin"])
        return h, {"h": h, "before": x, "kept": s["kept"], "twin": h}


class Shapes(Base):
    """Concatenation, einsum, stack, indices, where, cumsum, flip; [x, h] W."""
    def __init__(self):
        super().__init__(W=(D + H, H), A=(H, H), q=(H,))

    def __call__(self, x, h):
        z = np.concatenate([x, h], axis=-1)
        w = np.stack([np.einsum("bi,ij->bj", h, self.A), z @ self.W], axis=0)
        h = np.tanh(w[0] * self.q + w[1]) + np.cumsum(h, axis=-1) * 0.1 + np.flip(h, -1) * 0.1 + h[:, [3, 0, 0, 1]] * .2 + h[:, 1:2]
        h = np.where(np.array([True, False, True, True]), h, np.sqrt(1 + h * h))
        return h, h


class Nameless(Base):
    def __init__(self):
        super().__init__(W=(D, H), U=(H, H), b=(H,))

    def __call__(self, x, h):
        return (x @ self.W) ** 2, np.tanh(x @ self.W + h @ self.U + self.b) / (1 + np.exp(h)) + mg.gelu(h) + mg.softplus(h) + mg.silu(h)


class Clashing(Base):
    """Names that the program and the letters for gradients would like to have."""
    def __init__(self):
        super().__init__(W=(D, H), U=(H, H), delta=(H,))
        self.lam = 0.37

    def __call__(self, x, h):
        x = x @ self.W
        alpha = mg.sigmoid(x + self.delta)
        T = np.tanh(h @ self.U)
        xs = alpha * T
        h = self.lam * h + xs - alpha / self.lam
        return h, h


class OfParametersAlone(Base):
    def __init__(self):
        super().__init__(W=(D, H), A=(H, H), C=(H, H))

    def __call__(self, x, h):
        R = np.linalg.inv(np.eye(H) * 3 + self.A @ self.C.mT)
        h = np.tanh(x @ self.W + h @ (R + R.mT) * .3 + h @ mg.triu(self.A))
        return h, h


class Energy(Base):
    """What it shows is one number."""

    def __init__(self):
        super().__init__(W=(D, H))

    def __call__(self, x, h):
        h = np.tanh(x @ self.W + 0.5 * h)
        return (h * h).sum(axis=-1, keepdims=True), h


@pytest.mark.parametrize("head, convention", [(None, None), ("linear", "column"), ("softmax", "row")])
@pytest.mark.parametrize("make", [
    Invented, Reductions, StateIsTheInput, Shapes, Nameless, Clashing, OfParametersAlone, Energy,
    pytest.param(lambda: mg.stacked(mg.LSTMCell(D, H), mg.RNNCell(H, 5)), id="two layers"),
    pytest.param(lambda: mg.stacked(mg.GRUCell(D, D), mg.GRUCell(D, D)), id="twice the same layer")])
def test_the_program_of_cells_of_ones_own(make, head, convention):
    assert error(make(), head, convention) <= 1e-12


def test_a_step_of_many_nameless_ops():
    """Lines have an end, and nothing is recursive in their number."""
    class Long(Base):
        def __call__(self, x, h):
            return h, self.chain(h + x @ self.W, 300)

        @staticmethod
        def chain(_a, n):
            for _ in range(n):
                _a = np.sin(_a) * 0.5 + _a
            return _a
    cell = Long(W=(D, H))
    assert max(len(line.text) for line in derive(cell).lines) < 2000
    assert error(cell) <= 1e-10


@pytest.mark.parametrize("convention", ["column", "row"])
@pytest.mark.parametrize("vectors", [True, False])
def test_cells_written_in_columns(vectors, convention):
    """x of shape (D, 1) or (D,), one sequence, W x: what is written is W x, or with the other convention x W."""
    tail = () if vectors else (1,)
    if vectors and convention == "row":
        pytest.skip("a plain vector is neither row nor column: its program stays as the cell is written")
    rng = np.random.default_rng(0)
    U, W, b = (mg.parameter(rng.standard_normal(s), name=n) for n, s in (("U", (H, D)), ("W", (H, H)), ("b", (H, *tail))))

    def cell(x, h):
        h = np.tanh(U @ x + W @ h + b)
        return h, h
    xs, h_0 = mg.parameter(rng.standard_normal((T, D, *tail))), mg.parameter(rng.standard_normal((H, *tail)))
    derivation = derive(cell, xs.data[0], h_0.data, convention=convention)
    forward = {"column": "h_t = tanh(U x_t + W h_{t-1} + b)", "row": "h_t = tanh(x_t U + h_{t-1} W + b)"}[convention]
    assert derivation.lines[0].text == forward
    turned = columns if convention == "row" else np.asarray
    ys, last = mg.unroll(cell, xs, h_0)
    dys = rng.standard_normal(ys.shape)
    found = program(derivation)(turned(xs.data), turned(h_0.data), **derivation.arguments, dys=turned(dys))
    for name, want in zip(("xs", "h_0", "U", "W", "b"), mg.grad((ys * dys).sum(), [xs, h_0, U, W, b])):
        np.testing.assert_allclose(found[name], turned(want.data), rtol=0, atol=1e-13)


# ---- the equations, number by number --------------------------------------------------------------------------------------

class Numbers:
    """What every name of a derivation stands for, from the engine: names(name, t) for values, parameters and gradients."""

    def __init__(self, cell, derivation, xs, state, head, turned):
        ys, last, states = mg.unroll(cell, xs, state, states=True)
        rng = np.random.default_rng(2)
        self.known, self.helpers, self.turned = {}, {}, turned
        for name, array in derivation.arguments.items():          # arranged already
            self.helpers[Text.letters(name.rstrip("_")), None] = array
        for name, number in vars(cell).items():
            if type(number) is float:
                self.known[Text.letters(name), None] = np.asarray(number)
        if head is None:
            weights = rng.standard_normal(ys.shape)
            loss = (ys * weights).sum()
        else:
            W, b = list(derivation.parameters.values())[-2:]
            o, targets = ys @ W + b, rng.integers(K, size=(T, 1))
            loss = mg.softmax_cross_entropy(o, targets, reduction="sum")
        series = taps([ys, *flatten(last)])
        series = {name: steps for name, steps in series.items() if len(steps) == T}
        after = next((name for name, steps in series.items() if steps[0] is states[1]), None)
        for name, steps in series.items():
            for t, (tensor, gradient) in enumerate(zip(steps, mg.grad(loss, steps)), 1):
                self.put(name, t, tensor.data, gradient.data)
        parts = [flatten(s) for s in states]
        for i, part in enumerate(parts[0]):
            name = next((name for name, steps in series.items() if steps[0] is parts[1][i]), after)
            self.put(name, 0, part.data, mg.grad(loss, part)[0].data)
        for t in range(1, T + 1):
            self.put("x", t, xs[t - 1].data, mg.grad(loss, xs)[0].data[t - 1])
            if head is None:
                for name in "hy":
                    self.known[f"∂L_t/∂{name}", t] = weights[t - 1]
                self.known.setdefault(("y", t), ys.data[t - 1])
            else:
                self.known["y", t] = np.eye(K)[targets[t - 1]]
                self.known["o", t] = o.data[t - 1]
                self.known["∂L/∂o", t] = mg.softmax(o).data[t - 1] - self.known["y", t]
        for name, p in derivation.parameters.items():
            self.known[f"∂L/∂{Text.letters(name)}", None] = mg.grad(loss, p)[0].data

    def put(self, name, t, array, gradient):
        if name is not None:
            name = Text.letters(name)
            array, gradient = (a.reshape(a.shape[-2:]) if a.ndim > 2 and a.size == np.prod(a.shape[-2:]) else a for a in (array, gradient))
            self.known[name, t], self.known[f"∂L/∂{name}", t] = array, gradient

    def __call__(self, name, t):
        name = re.sub("⁽(.)⁾", lambda k: unicodedata.normalize("NFKC", k[1]), name)            # as the program calls it
        return self.turned(self.known[name, t]) if (name, t) in self.known else self.helpers[name, t]


def assert_equal(a, b, message):
    a, b = np.squeeze(a), np.squeeze(b)
    if a.shape != b.shape and a.ndim == b.ndim + 1:
        a = a.sum(0)
    assert np.abs(a - b).max() <= 1e-11 * max(np.abs(b).max(), 1e-2), message


def check_equations(cell, derivation, head=None, columns_=False):
    """Every printed equation, and every form of it, at every step; returns how many were held against the engine."""
    rng = np.random.default_rng(3)
    for p in cell.parameters().values():
        p.data = p.data + 0.3 * rng.standard_normal(p.shape)
    _, state = mg.unroll(cell, rng.standard_normal((2, 1, D)))
    state = rebuild(state, [mg.parameter(s.data + 0.1 * rng.standard_normal(s.shape)) for s in flatten(state)])
    numbers = Numbers(cell, derivation, mg.parameter(rng.standard_normal((T, 1, D))), state, head, columns if columns_ else np.asarray)
    held, waiting = 0, [line for line in derivation.lines if not (
        line.name in ("L", "L_t") or "double" in line.section)]
    for _ in range(4):                          # a helper is defined further down than where it is used: δ_{t+1}
        lines, waiting = waiting, []
        for line in lines:
            name = NABLA.sub(r"∂L\2/∂\1", line.name)
            base, once = re.sub(r"_t$", "", name), not name.endswith("_t")
            times = [1] if once else range(1, T + 1)
            known = (base, None if once else 1) in numbers.known
            try:
                for t in times:
                    for formula in line.formula.split(" = "):
                        if "t+1" in formula and t == T:
                            continue
                        got = value(formula, numbers, t, T, H, columns_)
                        if known:
                            assert_equal(got, value(line.name, numbers, t, T, H, columns_), f"at t={t}: {line.name} = {formula}")
                            held += 1
                        else:
                            numbers.helpers[base, None if once else t] = got
            except KeyError:
                waiting.append(line)
    assert not waiting, waiting[0].text
    return held


PRINTED = sorted(CELLS)


@pytest.mark.parametrize("convention", ["row", "column"])
@pytest.mark.parametrize("name", PRINTED)
def test_every_printed_equation_holds(name, convention):
    cell = CELLS[name](D, H)
    assert check_equations(cell, derive(cell, convention=convention), columns_=convention == "column") >= 15


@pytest.mark.parametrize("make", [lambda: mg.RNNCell(D, H), lambda: CELLS["MGUCell"](D, H), lambda: CELLS["LMUCell"](D, H), lambda: mg.GRUCell(D, H)],
                         ids=["RNN", "MGU", "LMU", "GRU"])
def test_every_printed_equation_with_a_head_holds(make):
    cell = make()
    assert check_equations(cell, derive(cell, head="softmax"), "softmax") >= 20


def test_the_equations_are_checked():
    """The evaluator is no rubber stamp: one sign, transpose or index elsewhere, and it objects."""
    cell = mg.RNNCell(D, H)
    derivation = derive(cell)
    for right, wrong in [("δ_{t+1} W_hᵀ", "δ_{t+1} W_h"), ("1 - h_t²", "1 + h_t²"), ("h_{t-1}ᵀ δ_t", "h_tᵀ δ_t"), ("∂L_t/∂h_t + ", "∂L_t/∂h_t - ")]:
        lines = [line._replace(formula=line.formula.replace(right, wrong)) for line in derivation.lines]
        assert lines != derivation.lines
        changed = Namespace(lines=lines, arguments=derivation.arguments, parameters=derivation.parameters)
        with pytest.raises(AssertionError):
            check_equations(cell, changed)


def test_the_double_sum_holds():
    """∂h_i/∂h_{i-1} is the Jacobian, and v ∂h_k/∂W the gradient of one step alone."""
    for name in ("RNNCell", "IRNNCell", "AntisymmetricRNNCell"):
        cell, rng = CELLS[name](D, H), np.random.default_rng(0)
        for p in cell.parameters().values():
            p.data = rng.standard_normal(p.shape)
        derivation = derive(cell)
        x, before, v = (mg.parameter(rng.standard_normal((1, n))) for n in (D, H, H))
        after = cell(x, before)[0]
        ys, _, states = mg.unroll(cell, [x], before, states=True)
        step = {name: steps[0].data for name, steps in taps(ys).items()}
        numbers = {"x": x.data, "h_{-1}": before.data, **{k: a for k, a in derivation.arguments.items()},
                   **{Text.letters(k): np.asarray(a) for k, a in vars(cell).items() if type(a) is float}}

        def names(base, t):
            if base == "I":
                return np.eye(H)
            if base == "v":
                return v.data
            return numbers["h_{-1}"] if t == 0 else numbers.get(base, step.get(base))
        lines = {line.name: line.formula for line in derivation.lines if "double" in line.section}
        J = value(re.sub(r"_(\{?)i", r"_\1t", lines["∂h_i/∂h_{i-1}"]), names, 1, 1, H)
        np.testing.assert_allclose(J, mg.jacobian(after, before).data.reshape(H, H), atol=1e-12)
        found = 0
        for parameter, tensor in derivation.parameters.items():
            if f"v ∂h_k/∂{parameter}" in lines:
                got = value(re.sub(r"_(\{?)k", r"_\1t", lines[f"v ∂h_k/∂{parameter}"]), names, 1, 1, H)
                want, = mg.grad((after * v).sum(), [tensor])
                np.testing.assert_allclose(np.reshape(got, want.shape), want.data, atol=1e-12)
                found += 1
        assert found >= 2
        assert lines["∂L/∂W_x"] == "Σ_t ∂L_t/∂h_t Σ_{k=1}^t (Π_{i=k+1}^t ∂h_i/∂h_{i-1}) ∂h_k/∂W_x"


# ---- how it reads -----------------------------------------------------------------------------------------------------------

def test_elman_with_softmax_reads_like_the_notes_in_rows():
    """The complete derivation in row vectors: its (1) to (9), corrected, in this order within each part."""
    class Elman(Base):
        def __init__(self):
            super().__init__(W_x=(D, H), W_h=(H, H), b_h=(H,))

        def __call__(self, x, h):
            h = np.tanh(x @ self.W_x + h @ self.W_h + self.b_h)
            return h, h
    text = [line.text for line in derive(Elman(), head="softmax").lines]
    assert text == [
        "h_t = tanh(x_t W_x + h_{t-1} W_h + b_h)",                                                             # (5)
        "o_t = h_t W_y + b_y",                                                                                 # (4)
        "ŷ_t = softmax(o_t)",                                                                                  # (3)
        "L_t = -Σ y_t log ŷ_t",                                                                                # (2)
        "L = Σ_t L_t",                                                                                         # (1)
        "∂L/∂o_t = ŷ_t - y_t",
        "∂L/∂h_t = δ_{t+1} W_hᵀ + ∂L/∂o_t W_yᵀ = (∂L/∂h_{t+1} ⊙ (1 - h_{t+1}²)) W_hᵀ + (ŷ_t - y_t) W_yᵀ",
        "δ_t = ∂L/∂h_t ⊙ (1 - h_t²)",
        "∂L/∂x_t = δ_t W_xᵀ",
        "∂L/∂h_0 = δ_1 W_hᵀ",
        "∂L/∂W_y = Σ_t h_tᵀ ∂L/∂o_t = Σ_t h_tᵀ (ŷ_t - y_t)",                                                   # (6)
        "∂L/∂b_y = Σ_t ∂L/∂o_t = Σ_t (ŷ_t - y_t)",                                                             # (7)
        "∂L/∂W_x = Σ_t x_tᵀ δ_t = Σ_t x_tᵀ (∂L/∂h_t ⊙ (1 - h_t²))",
        "∂L/∂W_h = Σ_t h_{t-1}ᵀ δ_t = Σ_t h_{t-1}ᵀ (∂L/∂h_t ⊙ (1 - h_t²))",
        "∂L/∂b_h = Σ_t δ_t = Σ_t ∂L/∂h_t ⊙ (1 - h_t²)",
        "∂L_t/∂h_t = (ŷ_t - y_t) W_yᵀ",                                                                        # (8)
        "∂h_i/∂h_{i-1} = diag(1 - h_i²) W_hᵀ",
        "∂L/∂W_x = Σ_t ∂L_t/∂h_t Σ_{k=1}^t (Π_{i=k+1}^t ∂h_i/∂h_{i-1}) ∂h_k/∂W_x",                             # (9), three times
        "∂L/∂W_h = Σ_t ∂L_t/∂h_t Σ_{k=1}^t (Π_{i=k+1}^t ∂h_i/∂h_{i-1}) ∂h_k/∂W_h",
        "∂L/∂b_h = Σ_t ∂L_t/∂h_t Σ_{k=1}^t (Π_{i=k+1}^t ∂h_i/∂h_{i-1}) ∂h_k/∂b_h",
        "v ∂h_k/∂W_x = x_kᵀ (v ⊙ (1 - h_k²))",
        "v ∂h_k/∂W_h = h_{k-1}ᵀ (v ⊙ (1 - h_k²))",
        "v ∂h_k/∂b_h = v ⊙ (1 - h_k²)"]


class Goodfellow(Base):
    """Written in rows; derived in columns its weights are the book's."""
    def __init__(self):
        super().__init__(b=(H,), W=(H, H), U=(D, H))

    def __call__(self, x, h):
        a = self.b + h @ self.W + x @ self.U
        h = np.tanh(a)
        return h, h


class Output(Base):
    def __init__(self):
        super().__init__(c=(K,), V=(H, K))

    def __call__(self, h, y):
        o = self.c + h @ self.V
        return mg.softmax_cross_entropy(o, y, reduction="sum")


def test_elman_with_softmax_reads_like_the_notes_in_columns():
    """The matrix recursion in column vectors, with H^(t) = diag(1 - h_t²)."""
    text = [line.text for line in derive(Goodfellow(), head=Output(), target=0, convention="column").lines]
    assert text[:16] == [
        "a_t = b + W h_{t-1} + U x_t",
        "h_t = tanh(a_t)",
        "o_t = c + V h_t",
        "ŷ_t = softmax(o_t)",
        "L_t = -Σ y_t log ŷ_t",
        "L = Σ_t L_t",
        "∇_{o_t} L = ŷ_t - y_t",
        "∇_{h_t} L = Wᵀ ∇_{a_{t+1}} L + Vᵀ ∇_{o_t} L = Wᵀ diag(1 - h_{t+1}²) ∇_{h_{t+1}} L + Vᵀ (ŷ_t - y_t)",
        "∇_{a_t} L = (1 - h_t²) ⊙ ∇_{h_t} L",
        "∇_{x_t} L = Uᵀ ∇_{a_t} L",
        "∇_{h_0} L = Wᵀ ∇_{a_1} L",
        "∇_{c} L = Σ_t ∇_{o_t} L = Σ_t (ŷ_t - y_t)",
        "∇_{V} L = Σ_t (∇_{o_t} L) h_tᵀ = Σ_t (ŷ_t - y_t) h_tᵀ",
        "∇_{b} L = Σ_t ∇_{a_t} L = Σ_t diag(1 - h_t²) ∇_{h_t} L",
        "∇_{W} L = Σ_t (∇_{a_t} L) h_{t-1}ᵀ = Σ_t diag(1 - h_t²) (∇_{h_t} L) h_{t-1}ᵀ",
        "∇_{U} L = Σ_t (∇_{a_t} L) x_tᵀ = Σ_t diag(1 - h_t²) (∇_{h_t} L) x_tᵀ"]
    assert "(∂h_i/∂h_{i-1})ᵀ = Wᵀ diag(1 - h_i²)" in text


def test_it_is_simplified_as_a_person_would():
    text = [line.text for line in derive(mg.LSTMCell(D, H)).lines]
    assert "∂L/∂a_t = [∂L/∂i_t ⊙ i_t ⊙ (1 - i_t), ∂L/∂f_t ⊙ f_t ⊙ (1 - f_t), ∂L/∂g_t ⊙ (1 - g_t²), ∂L/∂o_t ⊙ o_t ⊙ (1 - o_t)]" in text
    assert "∂L/∂c_t = ∂L/∂c_{t+1} ⊙ f_{t+1} + ∂L/∂h_t ⊙ o_t ⊙ (1 - tanh²(c_t))" in text
    assert "∂L/∂n_t = ∂L/∂h_t ⊙ (1 - z_t)" in [line.text for line in derive(mg.GRUCell(D, H)).lines]
    assert "δ_t = ∂L/∂h_t ⊙ 1[h_t > 0]" in [line.text for line in derive(mg.RNNCell(D, H, nonlinearity="relu")).lines]
    antisymmetric = [line.text for line in derive(mg.AntisymmetricRNNCell(D, H)).lines]
    assert "h_t = h_{t-1} + ε step_t" in antisymmetric and "∂L/∂W_h = G - Gᵀ" in antisymmetric
    assert "∂L/∂h_{t+1} ⊙ (1 - on_{t+1})" in derive(mg.ClockworkRNNCell(D, H)).text


def test_two_layers_are_told_apart():
    text = derive(mg.stacked(mg.RNNCell(D, H), mg.RNNCell(H, 5))).text
    assert "h⁽²⁾_t = tanh(h⁽¹⁾_t W_x⁽²⁾ + h⁽²⁾_{t-1} W_h⁽²⁾ + b⁽²⁾)" in text
    assert "∂L/∂h⁽¹⁾_t = δh⁽¹⁾_{t+1} W_h⁽¹⁾ᵀ + δh⁽²⁾_t W_x⁽²⁾ᵀ" in text


def test_a_mean_over_the_batch_keeps_its_letter():
    """The sample's number of rows does not get into the formula or the program."""
    head = Output()
    derivation = derive(Goodfellow(), head=lambda h, y: mg.softmax_cross_entropy(h @ head.V + head.c, y), target=0)
    assert "(ŷ_t - y_t) / B" in derivation.text
    assert "B = xs.shape[1]" in derivation.numpy


def test_lines_are_data():
    line = derive(mg.RNNCell(D, H)).lines[0]
    assert line.section == "Forward" and line.name == "h_t" and line.formula == "tanh(x_t W_x + h_{t-1} W_h + b)"
    assert line.text == "h_t = tanh(x_t W_x + h_{t-1} W_h + b)"
    assert line.latex == r"h_{t} &= \tanh\!\left(x_{t}\,W_{x} + h_{t-1}\,W_{h} + b\right)"


# ---- LaTeX --------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("convention", ["row", "column"])
def test_latex_is_plain_and_balanced(convention):
    for name in CELLS:
        latex = derive(CELLS[name](D, H), convention=convention).latex
        assert latex.isascii(), [ch for ch in latex if not ch.isascii()]
        bare = latex.replace(r"\{", "").replace(r"\}", "")
        assert bare.count("{") == bare.count("}") and latex.count(r"\left") == latex.count(r"\right")
        for rows in re.findall(r"\\begin{align}(.*?)\\end{align}", latex, re.S):
            for row in re.split(r"\\\\(?=\n|$| )", re.sub(r"\\begin{bmatrix}.*?\\end{bmatrix}", "", rows, flags=re.S)):
                assert row.count("&") == 1, row
                assert row.count(r"\left") == row.count(r"\right"), row


def test_latex_compiles(tmp_path):
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    documents = [derive(cell, head=head, convention=convention) for cell, head, convention in [
        (mg.stacked(mg.RNNCell(D, H), mg.RNNCell(H, 5)), "softmax", "row"), (mg.OrthogonalRNNCell(D, H), "sigmoid", "column"),
        (mg.GatedDeltaNetCell(D, H), "linear", "row"), (mg.MinGRUCell(D, H), None, "column")]]
    body = documents[0].document.removesuffix("\\end{document}\n") + "\n".join(d.latex for d in documents[1:]) + "\n\\end{document}\n"
    (tmp_path / "all.tex").write_text(body)
    run = subprocess.run(["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"], cwd=tmp_path, capture_output=True, text=True,
                         errors="replace")
    assert run.returncode == 0 and (tmp_path / "all.pdf").exists(), run.stdout[-2000:]


# ---- what has no written form ---------------------------------------------------------------------------------------------------

@pytest.fixture
def table():
    """Ops that a test enters into the table leave it again."""
    before = dict(TABLE), dict(FUNCTIONS)
    yield
    for registry, entries in zip((TABLE, FUNCTIONS), before):
        registry.clear()
        registry.update(entries)


def test_an_op_whose_rule_cannot_be_written_stays_a_symbol(table):
    odd = op(lambda x: x ** 3, lambda g, y, x: g * np.array([3 * float(v) ** 2 for v in np.asarray(x).ravel()]).reshape(x.shape),
             name="odd", reads="odd({0})")
    W = mg.parameter(np.ones((D, H)), name="W")

    def cell(x, h):
        h = odd(x @ W + h)
        return h, h
    derivation = derive(cell, np.zeros(D), np.zeros(H))
    assert "∂odd(s_t)/∂s_t" in derivation.text
    assert "the gradient of odd has no written form" in derivation.notes[0]
    assert r"\frac{\partial \operatorname{odd}" in derivation.latex
    source = derivation.numpy.replace("raise NotImplementedError('the value of odd')", "return arguments[0] ** 3").replace(
        "raise NotImplementedError('gradient of argument 1 of odd')", "return g * 3 * arguments[0] ** 2")
    exec(source, namespace := {})
    xs, h_0 = mg.parameter(np.random.default_rng(0).standard_normal((T, B, D)) / 3), mg.parameter(np.full((B, H), 0.1))
    ys, _ = mg.unroll(cell, xs, h_0)
    found = namespace["bptt"](xs.data, h_0.data, W.data, np.ones(ys.shape))
    np.testing.assert_allclose(found["W"], mg.grad(ys.sum(), W)[0].data, rtol=1e-12)


def test_an_op_of_ones_own_with_a_rule_in_numpy_is_derived(table):
    swish = op(lambda x: x / (1 + np.exp(-x)), lambda g, y, x: g * (y + (1 - y) / (1 + np.exp(-x))), name="swish", reads="swish({0})")

    def cell(x, h):
        h = swish(x + h)
        return h, h
    text = derive(cell, np.zeros(D), np.zeros(D)).text
    assert "(h_t + (1 - h_t) / (1 + exp(-(x_t + h_{t-1}))))" in text.replace("exp(-x_t - h_{t-1})", "exp(-(x_t + h_{t-1}))")
    assert "Note: swish is no function of NumPy" in text


def test_a_choice_is_computed_afresh():
    """relu, abs and maximum are derived as formulas: the program chooses by its own numbers, not by those of the sample."""
    cell = Invented()
    xs, state = away(cell)
    bptt, arguments = program(derivation := derive(cell)), derivation.arguments
    for shift in (-2.0, 2.0):
        h_0 = mg.parameter(state.data + shift)
        ys, _ = mg.unroll(cell, xs, h_0)
        found = bptt(xs.data, h_0.data, **arguments, dys=np.ones(ys.shape))
        np.testing.assert_allclose(found["h_0"], mg.grad(ys.sum(), h_0)[0].data, rtol=1e-11)


# ---- errors ---------------------------------------------------------------------------------------------------------------------

def frozen(x, h):
    h = np.where(h > 0, h, 0.1 * h)
    return h, h


def columns_of_numbers(x, h):
    h = np.tanh(mg.parameter(np.ones((H, D))) @ x + h)
    return h, h


class Starts(Base):
    def __init__(self):
        super().__init__(W=(D, H))

    def initial_state(self, batch_size):
        raise ValueError("batches are of 2 rows")

    def __call__(self, x, h):
        return h, np.tanh(x @ self.W + h)


@pytest.mark.parametrize("call, kind, message", [
    (lambda: derive(3), TypeError, r"derive\(\) got int as cell; expected a callable y, state = cell\(x, state\)"),
    (lambda: derive(mg.RNNCell), TypeError, r"derive\(\) got the class RNNCell; expected a cell: RNNCell\(input_size, hidden_size\)"),
    (lambda: derive(frozen), TypeError, r"cannot see how long x of frozen is.*pass x, one row of input: derive\(cell, np.zeros\(D\)\)"),
    (lambda: derive(frozen, np.zeros(3)), TypeError, r"frozen has no initial_state\(batch_size\); pass state, one row of it"),
    (lambda: derive(frozen, np.zeros(3), np.zeros(3)), ValueError, r"array of shape \(\d+, 3\) that was made from the batch.*use relu, maximum"),
    (lambda: derive(mg.RNNCell(D, H), np.zeros(5)), ValueError, r"could not run one step of RNNCell on x of shape \(5,\).*W_x \(3, 4\)"),
    (lambda: derive(mg.RNNCell(D, H), "abc"), TypeError, r"got x of dtype <U3; expected numbers"),
    (lambda: derive(mg.RNNCell(D, H), head="soft"), ValueError, r"got head='soft'; expected 'softmax', 'sigmoid', 'linear', or a function"),
    (lambda: derive(mg.RNNCell(D, H), head=3), TypeError, r"got a int as head; expected a function head\(y, target\) -> loss"),
    (lambda: derive(mg.RNNCell(D, H), head=lambda h, y: h.sum()), TypeError, r"needs target with a head of your own"),
    (lambda: derive(mg.RNNCell(D, H), head=lambda h, y: h, target=0), ValueError, r"a loss of shape \(\d+, 4\); expected one number for a step"),
    (lambda: derive(mg.RNNCell(D, H), target=0), TypeError, r"got a target but no head"),
    (lambda: derive(mg.RNNCell(D, H), convention="rows"), ValueError, r"got convention='rows'; expected 'row' \(x W\), 'column' \(W x\)"),
    (lambda: derive(lambda x, h: h, np.zeros(3), np.zeros(3)), TypeError, r"returned Tensor; a cell returns the pair \(y, state\)"),
    (lambda: derive(lambda x, h: (np.ones(3), h), np.zeros(3), np.zeros(3)), TypeError, r"the output of <lambda> is a ndarray; expected a Tensor"),
    (lambda: derive(columns_of_numbers, np.zeros((D, 1)), np.zeros((H, 1)), head="linear"), ValueError, r"read rows \(D,\), and the output has shape \(4, 1\)"),
    (lambda: derive(Starts()), ValueError, r"could not run one step of Starts on x of shape \(3,\) or \(4,\): batches are of 2 rows. Pass x"),
    (lambda: derive(mg.bidirectional(mg.RNNCell(D, H), mg.RNNCell(D, H))), TypeError, r"reads a whole sequence in two directions"),
])
def test_bad_input(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


# ---- the command line -----------------------------------------------------------------------------------------------------------

def run(*arguments):
    parser = ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(arguments), mg.RNNCell(D, H))


def test_command(tmp_path, capsys):
    derivation = derive(mg.RNNCell(D, H), head="softmax", convention="column")
    options = "--head", "softmax", "--convention", "column"
    for form, text in [((), derivation.text), (("--latex",), derivation.latex), (("--numpy",), derivation.numpy)]:
        assert run(*options, *form) == 0
        assert capsys.readouterr().out == text.rstrip("\n") + "\n"
    for ending, text in [("tex", derivation.document), ("py", derivation.numpy), ("txt", derivation.text)]:
        path = tmp_path / f"elman.{ending}"
        assert run(*options, "-o", str(path)) == 0
        assert capsys.readouterr().out == f"derived: {path}\n"
        assert path.read_text(encoding="utf-8") == text.rstrip("\n") + "\n"
    assert {p.name for p in tmp_path.iterdir()} == {"elman.tex", "elman.py", "elman.txt"}
    with pytest.raises(OSError):
        run("-o", str(tmp_path / "nowhere" / "elman.tex"))


def test_what_a_notebook_shows():
    shown = derive(mg.RNNCell(D, H))._repr_markdown_()
    assert shown.startswith("**Derivation of RNNCell, row vectors**") and shown.count("$$") == 2
    assert isinstance(derive(mg.RNNCell(D, H)), Derivation) and repr(derive(mg.RNNCell(D, H))) == "<Derivation of RNNCell, row vectors: 16 lines>"


def test_print_shows_the_text_and_a_name_is_never_broken():
    name = "recurrent_weights_" * 8
    W = mg.parameter(np.ones((D, D)), name=name)

    def cell(x, h):
        h = np.tanh(x + h @ W)
        return h, h
    derivation = derive(cell, np.zeros(D), np.zeros(D))
    assert str(derivation) == derivation.text and len(re.findall(rf"\b{name}", derivation.text)) >= 4


def test_a_long_line_goes_on_before_a_sign_and_not_within_a_product():
    text = derive(mg.LSTMCell(3, 4)).text
    broken = [line.strip() for line in text.split("\n") if line.startswith(" " * 13)]
    assert broken and all(line.startswith(("+", "-", "=", "∂L/∂o_t ⊙")) for line in broken), text
    assert max(map(len, text.split("\n"))) <= 108


@pytest.mark.parametrize("reads", [lambda h: 0.5 * h if h.data.sum() > 0 else h, lambda h: 0.5 * h if h.sum() > 0 else h,
                                   lambda h: float(h.sum().data) * h, lambda h: h.sum().item() * h, lambda h: np.abs(h).max().data * h])
def test_a_step_that_reads_its_own_numbers_is_refused(reads):
    W, U = mg.parameter(np.ones((3, 4)), name="W"), mg.parameter(np.eye(4), name="U")

    def cell(x, h):
        h = reads(np.tanh(x @ W + h @ U))
        return h, h
    with pytest.raises(ValueError, match="has other equations for other numbers: .* of a value of the step needs its numbers"):
        mg.derive(cell, np.zeros(3), np.zeros(4))
