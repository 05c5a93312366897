"""Every update rule against its textbook formula written out, and against torch's numbers."""
import runpy
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad.train import SGD, Adagrad, Adam, AdamW, Momentum, Nesterov, RMSprop

REFERENCES = Path(__file__).parents[1] / "references"
START = np.array([[1.0, -2.0], [0.5, 3.0]])
RULES = [SGD, Momentum, Nesterov, RMSprop, Adagrad, Adam, AdamW]


def gradient(p, step):
    """Some gradient that depends on the parameter and on the step."""
    return np.sin(p + step) + 0.1 * p


def run(rule, steps=7, dtype=float, **options):
    p = mg.parameter(START.astype(dtype), name="p")
    optimizer = rule([p], **options)
    for step in range(1, steps + 1):
        p.grad = gradient(p.data, step).astype(dtype)
        optimizer.step()
    return p.data


def test_sgd():
    p = START.copy()
    for n in range(1, 8):
        p = p - 0.1 * gradient(p, n)
    np.testing.assert_allclose(run(SGD, learning_rate=0.1), p, rtol=1e-14)


def test_momentum():
    p, v = START.copy(), np.zeros((2, 2))
    for n in range(1, 8):
        v = 0.8 * v + gradient(p, n)
        p = p - 0.1 * v
    np.testing.assert_allclose(run(Momentum, learning_rate=0.1, momentum=0.8), p, rtol=1e-14)


def test_rmsprop():
    p, s = START.copy(), np.zeros((2, 2))
    for n in range(1, 8):
        g = gradient(p, n)
        s = 0.9 * s + 0.1 * g ** 2
        p = p - 0.1 * g / (np.sqrt(s) + 1e-6)
    np.testing.assert_allclose(run(RMSprop, learning_rate=0.1, decay=0.9, epsilon=1e-6), p, rtol=1e-13)


def test_adagrad():
    p, s = START.copy(), np.zeros((2, 2))
    for n in range(1, 8):
        g = gradient(p, n)
        s = s + g ** 2
        p = p - 0.1 * g / (np.sqrt(s) + 1e-10)
    np.testing.assert_allclose(run(Adagrad, learning_rate=0.1), p, rtol=1e-13)


def test_adam():
    p, m, s = START.copy(), np.zeros((2, 2)), np.zeros((2, 2))
    for n in range(1, 8):
        g = gradient(p, n)
        m, s = 0.8 * m + 0.2 * g, 0.95 * s + 0.05 * g ** 2
        p = p - 0.1 * (m / (1 - 0.8 ** n)) / (np.sqrt(s / (1 - 0.95 ** n)) + 1e-8)
    np.testing.assert_allclose(run(Adam, learning_rate=0.1, betas=(0.8, 0.95)), p, rtol=1e-13)


def test_nesterov_is_the_gradient_at_the_point_looked_ahead_to():
    """Sutskever et al. 2013, equations 3 and 4, on θ; the rule keeps p = θ + μ v, where the gradient is taken."""
    theta, v = START.copy(), np.zeros((2, 2))
    for n in range(1, 8):
        v = 0.8 * v - 0.1 * gradient(theta + 0.8 * v, n)
        theta = theta + v
    np.testing.assert_allclose(run(Nesterov, learning_rate=0.1, momentum=0.8), theta + 0.8 * v, rtol=1e-13)


def test_adamw_decays_the_weights_beside_the_rule():
    p, m, s = START.copy(), np.zeros((2, 2)), np.zeros((2, 2))
    for n in range(1, 8):
        g = gradient(p, n)
        m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g ** 2
        p = p - 0.1 * ((m / (1 - 0.9 ** n)) / (np.sqrt(s / (1 - 0.999 ** n)) + 1e-8) + 0.3 * p)
    np.testing.assert_allclose(run(AdamW, learning_rate=0.1, weight_decay=0.3), p, rtol=1e-13)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule is not AdamW])
def test_coupled_weight_decay_is_the_gradient_of_a_penalty(rule):
    p = mg.parameter(START, name="p")
    optimizer = rule([p], learning_rate=0.1)
    for n in range(1, 8):
        optimizer.zero_grad()
        ((gradient(p.data, n) * p).sum() + 0.5 * 0.3 * (p * p).sum()).backward()
        optimizer.step()
    np.testing.assert_allclose(run(rule, learning_rate=0.1, weight_decay=0.3), p.data, rtol=1e-13)


@pytest.mark.parametrize("rule", RULES)
def test_against_torchs_numbers(rule):
    """references/optimizers.npz, made by references/make_optimizers.py, which holds the same start and gradients."""
    with np.load(REFERENCES / "optimizers.npz", allow_pickle=False) as torch:
        assert np.array_equal(torch["start"], START)
        np.testing.assert_allclose(run(rule, learning_rate=0.1), torch[rule.__name__], rtol=1e-12)
        decayed = run(rule, learning_rate=0.1, weight_decay=0.3)
        np.testing.assert_allclose(decayed, torch[f"{rule.__name__} decayed"], rtol=1e-12)


def test_against_torch_live():
    pytest.importorskip("torch", reason="torch (extra 'peers') is not installed; its kept numbers are compared")
    live = runpy.run_path(str(REFERENCES / "make_optimizers.py"))["reference"]()
    for rule in RULES:
        np.testing.assert_allclose(run(rule, learning_rate=0.1), live[rule.__name__], rtol=1e-12)
        np.testing.assert_allclose(run(rule, learning_rate=0.1, weight_decay=0.3), live[f"{rule.__name__} decayed"], rtol=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_float32_stays_float32_even_with_a_numpy_learning_rate(rule):
    assert run(rule, dtype=np.float32, learning_rate=np.float64(0.1), weight_decay=np.float64(0.1)).dtype == np.float32
    p = mg.parameter(np.ones(2, np.float32))
    optimizer = rule([p])
    optimizer.learning_rate = np.float64(0.5)
    p.grad = np.ones(2, np.float32)
    optimizer.step()
    assert p.dtype == np.float32


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_reaches_the_minimum_of_a_parabola(rule):
    x = mg.parameter(np.array([3.0, -1.0]))
    optimizer = rule([x], learning_rate=0.5 if rule is Adagrad else 0.05)
    for _ in range(400):
        optimizer.zero_grad()
        ((x - 1) ** 2).sum().backward()
        optimizer.step()
    np.testing.assert_allclose(x.data, 1, atol=0.05)


@pytest.mark.parametrize("rule", RULES)
def test_state_dict_continues_exactly(rule):
    p = mg.parameter(START)
    first = rule([p], learning_rate=0.1)
    for n in range(1, 4):
        p.grad = gradient(p.data, n)
        first.step()
    q = mg.parameter(p.data)
    second = rule([q])
    second.load_state_dict(first.state_dict())
    for optimizer, x in ((first, p), (second, q)):
        x.grad = gradient(x.data, 4)
        optimizer.step()
    assert np.array_equal(p.data, q.data)


def test_zero_grad_and_parameters_without_a_gradient():
    x, y = mg.parameter(1.0, name="x"), mg.parameter(2.0, name="y")
    optimizer = Adam([x, y])
    (x * x).backward()
    optimizer.step()
    assert y.item() == 2.0 and x.item() != 1.0 and optimizer.count == {"x": 1, "y": 0}
    optimizer.zero_grad()
    assert x.grad is None


def test_modules_dicts_and_lists_are_taken():
    cell = mg.RNNCell(2, 3, rng=np.random.default_rng(0))
    assert list(SGD(cell).parameters) == list(cell.parameters())
    assert list(SGD(cell.parameters()).parameters) == list(cell.parameters())
    a, b = mg.parameter(1.0, name="a"), mg.parameter(1.0)
    assert list(SGD([a, b]).parameters) == ["a", "1"]
    assert list(SGD({"tied": a, "again": a}).parameters) == ["tied"]
    assert list(SGD(a).parameters) == ["a"]


def test_the_change_is_noticed_by_the_reverse_walk():
    x = mg.parameter([1.0, 2.0], name="x")
    loss = (x * x).sum()
    x.grad = np.ones(2)
    SGD([x]).step()
    with pytest.raises(RuntimeError, match="changed"):
        loss.backward()


@pytest.mark.parametrize("parameters, options, error, words", [
    ([], {}, ValueError, "no parameters"),
    ([1.0], {}, TypeError, "'0' is a float, expected a Tensor"),
    ({"W": mg.Tensor(1.0)}, {}, ValueError, "'W' does not require a gradient"),
    ([mg.parameter(1.0)], {"learning_rate": -1}, ValueError, "learning_rate is -1"),
    ([mg.parameter(1.0)], {"learning_rate": float("nan")}, ValueError, "learning_rate is nan"),
    ([mg.parameter(1.0)], {"learning_rate": "0.1"}, ValueError, "learning_rate is '0.1'"),
])
def test_unusable_arguments_say_what_is_wrong(parameters, options, error, words):
    with pytest.raises(error, match=words):
        SGD(parameters, **options)


@pytest.mark.parametrize("rule, options, words", [
    (Adam, {"betas": (0.9, 1.0)}, r"betas\[1\] is 1.0, expected a number from 0 to below 1"),
    (AdamW, {"betas": (-0.1, 0.9)}, r"betas\[0\] is -0.1"),
    (Adam, {"betas": 0.9}, "betas is 0.9, expected two numbers"),
    (Adam, {"betas": (0.9, float("nan"))}, r"betas\[1\] is nan"),
    (Adam, {"epsilon": 0}, "epsilon is 0, expected a finite number above 0"),
    (Adagrad, {"epsilon": -1e-8}, "epsilon is -1e-08"),
    (RMSprop, {"decay": 1}, "decay is 1, expected a number from 0 to below 1"),
    (Momentum, {"momentum": float("nan")}, "momentum is nan, expected a number from 0 to below 1"),
    (Nesterov, {"momentum": 1.5}, "momentum is 1.5"),
    (AdamW, {"weight_decay": -0.1}, "weight_decay is -0.1, expected a finite number that is not negative"),
    *((rule, {"learning_rate": float("inf")}, "learning_rate is inf") for rule in RULES),
])
def test_nonsense_is_refused(rule, options, words):
    with pytest.raises(ValueError, match=words):
        rule([mg.parameter(1.0)], **options)


def test_parameters_are_a_module_a_dict_or_a_list():
    with pytest.raises(TypeError, match="parameters is a int, expected a Module, a dict name -> Tensor or a list of Tensors"):
        SGD(3)
    p, q = mg.parameter(1.0, name="p"), mg.parameter(2.0)
    assert list(SGD([p, q, mg.parameter(3.0, name="p")]).parameters) == ["p", "1", "2"] and list(SGD(p).parameters) == ["p"] and SGD({"a": q}).parameters == {"a": q}


def test_nonsense_assigned_later_is_refused_before_anything_moves():
    p = mg.parameter([1.0], name="p")
    optimizer = Adam([p])
    p.grad = np.ones(1)
    optimizer.learning_rate = float("nan")
    with pytest.raises(ValueError, match="learning_rate is nan"):
        optimizer.step()
    assert p.data.tolist() == [1.0] and optimizer.count == {"p": 0}


def test_a_rule_of_ones_own_is_one_method():
    class Sign(mg.train.Optimizer):
        def change(self, gradient, count):
            return self.learning_rate * np.sign(gradient)
    assert run(Sign, steps=1, learning_rate=0.5).tolist() == (START - 0.5 * np.sign(gradient(START, 1))).tolist()
    with pytest.raises(NotImplementedError):
        run(mg.train.Optimizer, learning_rate=0.5)


def test_a_state_of_another_rule_or_shape_is_refused():
    p = mg.parameter([1.0, 2.0], name="p")
    with pytest.raises(ValueError, match="not one of Adam.*missing.*mean.p"):
        Adam([p]).load_state_dict(SGD([p]).state_dict())
    with pytest.raises(ValueError, match=r"'velocity.p' has shape \(3,\), expected \(2,\)"):
        Momentum([p]).load_state_dict(Momentum([mg.parameter(np.ones(3), name="p")]).state_dict())
