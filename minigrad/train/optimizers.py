"""Update rules: how a parameter moves once its gradient is known. One class per rule, its equation in the docstring.

Every rule takes the parameters as a Module, a dict name -> Tensor or a list of Tensors. ``step()`` reads each
parameter's ``.grad`` and moves ``.data``; one whose ``.grad`` is None took no part in the loss and stays as it is.

``learning_rate`` η may be assigned between steps. ``weight_decay`` λ is coupled, that is g ← g + λ p before the rule (the
gradient of an L2 penalty), and off by default, in every rule but AdamW.
"""
from __future__ import annotations

import math
import numbers
from typing import Any, Union

import numpy as np

from ..module import Module
from ..tensor import Tensor

Parameters = Union[Module, dict[str, Tensor], list[Tensor]]


def named(parameters: Parameters) -> dict[str, Tensor]:
    """The parameters as a dict name -> Tensor. A Tensor that appears under two names (tied weights) is kept once.

    Items of a list are called by their own name if it is still free, else by their position: "0", "1", ...
    """
    if hasattr(parameters, "parameters"):
        parameters = parameters.parameters()
    if isinstance(parameters, Tensor):
        parameters = [parameters]
    if not isinstance(parameters, dict):
        try:
            items, parameters = list(parameters), {}
        except TypeError:
            raise TypeError(f"parameters is a {type(parameters).__name__}, expected a Module, a dict name -> Tensor or a list of "
                            "Tensors") from None
        for position, p in enumerate(items):
            name = getattr(p, "name", None)
            parameters[str(position) if name is None or name in parameters else name] = p
    unique, seen = {}, set()
    for name, p in parameters.items():
        if not isinstance(p, Tensor):
            raise TypeError(f"parameter {name!r} is a {type(p).__name__}, expected a Tensor; "
                            "make it with mg.parameter(...)")
        if not p.requires_grad:
            raise ValueError(f"parameter {name!r} does not require a gradient, so it cannot be trained; "
                             "make it with mg.parameter(...), or leave it out")
        if id(p) not in seen:
            seen.add(id(p))
            unique[name] = p
    if not unique:
        raise ValueError("there are no parameters to train: the Module, dict or list given is empty")
    return unique


def _number(name: str, value: Any, *, below: float = math.inf, zero: bool = True) -> float:
    """``value`` as a float, if it lies in [0, below); without ``zero``, in (0, below)."""
    real = isinstance(value, numbers.Real)
    if not (real and (0 <= value < below if zero else 0 < value < below)):
        expected = ("a finite number that is not negative" if zero else "a finite number above 0") if below == math.inf else \
            f"a number from 0 to below {below}"
        raise ValueError(f"{name} is {value!r}, expected {expected}")
    return float(value)             # np.float64 would turn float32 into float64


class Optimizer:
    """What all rules share. A rule names its ``slots`` (arrays it remembers for each parameter) and says in
    ``change(gradient, count, *slots)`` what is subtracted from the parameter; it may write into the slots.

    A rule of one's own is one method:

    >>> import minigrad as mg
    >>> class Sign(mg.train.Optimizer):
    ...     def change(self, gradient, count):
    ...         return self.learning_rate * np.sign(gradient)
    >>> x = mg.parameter([1.0, -2.0])
    >>> (x * x).sum().backward()
    >>> Sign([x], learning_rate=0.5).step()
    >>> x.data
    array([ 0.5, -1.5])
    """

    slots: tuple[str, ...] = ()
    decoupled = False               # True: weight decay is no part of the gradient, p ← p − ηλp beside the rule

    def __init__(self, parameters: Parameters, learning_rate: float, weight_decay: float = 0.0) -> None:
        self.learning_rate = _number("learning_rate", learning_rate)
        self.weight_decay = _number("weight_decay", weight_decay)
        self.parameters = named(parameters)
        self.count = dict.fromkeys(self.parameters, 0)                # steps that each parameter has taken
        self.memory = {name: [np.zeros_like(p.data) for _ in self.slots] for name, p in self.parameters.items()}

    def change(self, gradient: np.ndarray, count: int, *slots: Any,
               **more: Any) -> np.ndarray:        # a rule names the slots that it has
        raise NotImplementedError

    def step(self) -> None:
        """Move every parameter that has a gradient."""
        self.learning_rate = _number("learning_rate", self.learning_rate)
        decay = self.weight_decay
        for name, p in self.parameters.items():
            if p.grad is None:
                continue
            self.count[name] += 1
            gradient = p.grad + decay * p.data if decay and not self.decoupled else p.grad
            change = self.change(gradient, self.count[name], *self.memory[name])
            if decay and self.decoupled:
                change = change + self.learning_rate * decay * p.data
            p.data = p.data - change

    def zero_grad(self) -> None:
        """Forget the gradients, so that the next backward() does not add to them."""
        for p in self.parameters.values():
            p.grad = None

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything the rule remembers, as a flat dict name -> array (copies): what a checkpoint needs."""
        state = {"learning_rate": np.array(self.learning_rate, float)}
        for name in self.parameters:
            state[f"count.{name}"] = np.array(self.count[name])
            state.update({f"{slot}.{name}": array.copy() for slot, array in zip(self.slots, self.memory[name])})
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a ``state_dict()`` of the same rule on parameters of the same names and shapes."""
        own = self.state_dict()
        if state.keys() != own.keys():
            missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
            raise ValueError(f"this state is not one of {type(self).__name__} on these parameters: "
                             f"missing {missing}, not expected {extra}")
        for key, array in own.items():
            if np.shape(state[key]) != array.shape:
                raise ValueError(f"state {key!r} has shape {np.shape(state[key])}, expected {array.shape}")
        self.learning_rate = _number("learning_rate", float(state["learning_rate"]))
        for name in self.parameters:
            self.count[name] = int(state[f"count.{name}"])
            for slot, array in zip(self.slots, self.memory[name]):
                array[...] = state[f"{slot}.{name}"]


class SGD(Optimizer):
    """Stochastic gradient descent (Robbins and Monro 1951): p ← p − η g.

    >>> import minigrad as mg
    >>> x = mg.parameter([1.0, 2.0])
    >>> (x * x).sum().backward()
    >>> mg.train.SGD([x], learning_rate=0.25).step()
    >>> x.data
    array([0.5, 1. ])
    """

    def __init__(self, parameters: Parameters, learning_rate: float = 0.01, weight_decay: float = 0.0) -> None:
        super().__init__(parameters, learning_rate, weight_decay)

    def change(self, gradient: np.ndarray, count: int) -> np.ndarray:
        return self.learning_rate * gradient


class Momentum(Optimizer):
    """v ← μ v + g;  p ← p − η v  (Polyak 1964, "Some methods of speeding up the convergence of iteration methods").

    >>> import minigrad as mg
    >>> x = mg.parameter([1.0, 2.0])
    >>> (x * x).sum().backward()
    >>> mg.train.Momentum([x], learning_rate=0.25, momentum=0.9).step()
    >>> x.data
    array([0.5, 1. ])
    """

    slots = ("velocity",)

    def __init__(self, parameters: Parameters, learning_rate: float = 0.01, momentum: float = 0.9,
                 weight_decay: float = 0.0) -> None:
        super().__init__(parameters, learning_rate, weight_decay)
        self.momentum = _number("momentum", momentum, below=1)

    def change(self, gradient: np.ndarray, count: int, velocity: np.ndarray) -> np.ndarray:
        velocity *= self.momentum
        velocity += gradient
        return self.learning_rate * velocity


class Nesterov(Momentum):
    """v ← μ v + g;  p ← p − η (g + μ v): momentum that looks one step ahead (Nesterov 1983; in this form, where p is
    the point looked ahead to, Sutskever, Martens, Dahl and Hinton 2013, "On the importance of initialization and
    momentum in deep learning").

    >>> import minigrad as mg
    >>> x = mg.parameter([1.0, 2.0])
    >>> (x * x).sum().backward()
    >>> mg.train.Nesterov([x], learning_rate=0.25, momentum=0.5).step()
    >>> x.data
    array([0.25, 0.5 ])
    """

    def change(self, gradient: np.ndarray, count: int, velocity: np.ndarray) -> np.ndarray:
        super().change(gradient, count, velocity)
        return self.learning_rate * (gradient + self.momentum * velocity)


class RMSprop(Optimizer):
    """s ← ρ s + (1 − ρ) g²;  p ← p − η g / (√s + ε)  (Tieleman and Hinton 2012, lecture 6.5 of "Neural networks for
    machine learning").

    >>> import minigrad as mg
    >>> x = mg.parameter([1.0, 2.0])
    >>> (x * x).sum().backward()
    >>> mg.train.RMSprop([x], learning_rate=0.1, decay=0.75).step()
    >>> x.data
    array([0.8, 1.8])
    """

    slots = ("square",)

    def __init__(self, parameters: Parameters, learning_rate: float = 0.01, decay: float = 0.99, epsilon: float = 1e-8,
                 weight_decay: float = 0.0) -> None:
        super().__init__(parameters, learning_rate, weight_decay)
        self.decay, self.epsilon = _number("decay", decay, below=1), _number("epsilon", epsilon, zero=False)

    def change(self, gradient: np.ndarray, count: int, square: np.ndarray) -> np.ndarray:
        square *= self.decay
        square += (1 - self.decay) * gradient * gradient
        return self.learning_rate * gradient / (np.sqrt(square) + self.epsilon)


class Adagrad(Optimizer):
    """s ← s + g²;  p ← p − η g / (√s + ε)  (Duchi, Hazan and Singer 2011, "Adaptive subgradient methods for online
    learning and stochastic optimization").

    >>> import minigrad as mg
    >>> x = mg.parameter([1.0, 2.0])
    >>> (x * x).sum().backward()
    >>> mg.train.Adagrad([x], learning_rate=0.1).step()
    >>> x.data
    array([0.9, 1.9])
    """

    slots = ("square",)

    def __init__(self, parameters: Parameters, learning_rate: float = 0.01, epsilon: float = 1e-10,
                 weight_decay: float = 0.0) -> None:
        super().__init__(parameters, learning_rate, weight_decay)
        self.epsilon = _number("epsilon", epsilon, zero=False)

    def change(self, gradient: np.ndarray, count: int, square: np.ndarray) -> np.ndarray:
        square += gradient * gradient
        return self.learning_rate * gradient / (np.sqrt(square) + self.epsilon)


class Adam(Optimizer):
    """m ← β₁ m + (1 − β₁) g;  s ← β₂ s + (1 − β₂) g²;  p ← p − η m̂ / (√ŝ + ε)
    with m̂ = m / (1 − β₁ⁿ) and ŝ = s / (1 − β₂ⁿ) at the parameter's n-th step  (Kingma and Ba 2015, "Adam: a method
    for stochastic optimization", algorithm 1).

    >>> import minigrad as mg
    >>> x = mg.parameter([1.0, 2.0])
    >>> (x * x).sum().backward()
    >>> mg.train.Adam([x], learning_rate=0.1).step()
    >>> x.data
    array([0.9, 1.9])
    """

    slots = ("mean", "square")

    def __init__(self, parameters: Parameters, learning_rate: float = 0.001, betas: tuple[float, float] = (0.9, 0.999),
                 epsilon: float = 1e-8, weight_decay: float = 0.0) -> None:
        super().__init__(parameters, learning_rate, weight_decay)
        if not (isinstance(betas, (tuple, list)) and len(betas) == 2):
            raise ValueError(f"betas is {betas!r}, expected two numbers from 0 to below 1")
        self.betas = tuple(_number(f"betas[{i}]", beta, below=1) for i, beta in enumerate(betas))
        self.epsilon = _number("epsilon", epsilon, zero=False)

    def change(self, gradient: np.ndarray, count: int, mean: np.ndarray, square: np.ndarray) -> np.ndarray:
        beta_1, beta_2 = self.betas
        mean *= beta_1
        mean += (1 - beta_1) * gradient
        square *= beta_2
        square += (1 - beta_2) * gradient * gradient
        root = np.sqrt(square) / math.sqrt(1 - beta_2 ** count)
        return (self.learning_rate / (1 - beta_1 ** count)) * mean / (root + self.epsilon)


class AdamW(Adam):
    """Adam with decoupled weight decay: p ← p − η λ p − (Adam's change), so that weights decay alike whatever the size
    of their gradients  (Loshchilov and Hutter 2019, "Decoupled weight decay regularization", algorithm 2).

    >>> import minigrad as mg
    >>> x = mg.parameter([1.0, 2.0])
    >>> (x * x).sum().backward()
    >>> mg.train.AdamW([x], learning_rate=0.1, weight_decay=0.5).step()
    >>> x.data
    array([0.85, 1.8 ])
    """

    decoupled = True

    def __init__(self, parameters: Parameters, learning_rate: float = 0.001, betas: tuple[float, float] = (0.9, 0.999),
                 epsilon: float = 1e-8, weight_decay: float = 0.01) -> None:
        super().__init__(parameters, learning_rate, betas, epsilon, weight_decay)
