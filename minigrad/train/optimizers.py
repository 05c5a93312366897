"""Update rules: how a parameter moves once its gradient is known. One class per rule, its equation in the docstring.

Every rule takes the parameters as a Module, a dict name -> Tensor or a list of Tensors. ``step()`` reads each
parameter's ``.grad`` and moves ``.data``; one whose ``.grad`` is None took no part in the loss and stays as it is.
"""
import math
import numbers

import numpy as np

from ..tensor import Tensor


def named(parameters):
    """The parameters as a dict name -> Tensor. A Tensor that appears under two names (tied weights) is kept once.

    Items of a list are called by their own name if it is still free, else by their position: "0", "1", ...
    """
    if hasattr(parameters, "parameters"):
        parameters = parameters.parameters()
    if isinstance(parameters, Tensor):
        parameters = [parameters]
    if not isinstance(parameters, dict):
        items, parameters = list(parameters), {}
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


class Optimizer:
    """What all rules share. A rule names its ``slots`` (arrays it remembers for each parameter) and says in
    ``change(gradient, count, *slots)`` what is subtracted from the parameter; it may write into the slots."""

    slots: tuple[str, ...] = ()

    def __init__(self, parameters, learning_rate):
        if not (isinstance(learning_rate, numbers.Real) and math.isfinite(learning_rate) and learning_rate >= 0):
            raise ValueError(f"learning_rate is {learning_rate!r}, expected a finite number that is not negative")
        self.parameters = named(parameters)
        self.learning_rate = float(learning_rate)
        self.count = dict.fromkeys(self.parameters, 0)                # steps that each parameter has taken
        self.memory = {name: [np.zeros_like(p.data) for _ in self.slots] for name, p in self.parameters.items()}

    def change(self, gradient, count, *slots):
        raise NotImplementedError

    def step(self):
        """Move every parameter that has a gradient."""
        self.learning_rate = float(self.learning_rate)            # np.float64 would turn float32 into float64
        for name, p in self.parameters.items():
            if p.grad is not None:
                self.count[name] += 1
                p.data = p.data - self.change(p.grad, self.count[name], *self.memory[name])

    def zero_grad(self):
        """Forget the gradients, so that the next backward() does not add to them."""
        for p in self.parameters.values():
            p.grad = None

    def state_dict(self):
        """Everything the rule remembers, as a flat dict name -> array (copies): what a checkpoint needs."""
        state = {"learning_rate": np.array(self.learning_rate, float)}
        for name in self.parameters:
            state[f"count.{name}"] = np.array(self.count[name])
            state.update({f"{slot}.{name}": array.copy() for slot, array in zip(self.slots, self.memory[name])})
        return state

    def load_state_dict(self, state):
        """Continue from a ``state_dict()`` of the same rule on parameters of the same names and shapes."""
        own = self.state_dict()
        if state.keys() != own.keys():
            missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
            raise ValueError(f"this state is not one of {type(self).__name__} on these parameters: "
                             f"missing {missing}, not expected {extra}")
        for key, array in own.items():
            if np.shape(state[key]) != array.shape:
                raise ValueError(f"state {key!r} has shape {np.shape(state[key])}, expected {array.shape}")
        self.learning_rate = float(state["learning_rate"])
        for name in self.parameters:
            self.count[name] = int(state[f"count.{name}"])
            for slot, array in zip(self.slots, self.memory[name]):
                array[...] = state[f"{slot}.{name}"]


class SGD(Optimizer):
    """p ← p − η g.

    >>> import minigrad as mg
    >>> x = mg.parameter([1.0, 2.0])
    >>> (x * x).sum().backward()
    >>> mg.train.SGD([x], learning_rate=0.25).step()
    >>> x.data
    array([0.5, 1. ])
    """

    def __init__(self, parameters, learning_rate=0.01):
        super().__init__(parameters, learning_rate)

    def change(self, gradient, count):
        return self.learning_rate * gradient


class Momentum(Optimizer):
    """v ← μ v + g;  p ← p − η v  (Polyak 1964)."""

    slots = ("velocity",)

    def __init__(self, parameters, learning_rate=0.01, momentum=0.9):
        super().__init__(parameters, learning_rate)
        self.momentum = momentum

    def change(self, gradient, count, velocity):
        velocity *= self.momentum
        velocity += gradient
        return self.learning_rate * velocity


class RMSprop(Optimizer):
    """s ← ρ s + (1 − ρ) g²;  p ← p − η g / (√s + ε)  (Tieleman and Hinton 2012)."""

    slots = ("square",)

    def __init__(self, parameters, learning_rate=0.01, decay=0.99, epsilon=1e-8):
        super().__init__(parameters, learning_rate)
        self.decay, self.epsilon = decay, epsilon

    def change(self, gradient, count, square):
        square *= self.decay
        square += (1 - self.decay) * gradient * gradient
        return self.learning_rate * gradient / (np.sqrt(square) + self.epsilon)


class Adagrad(Optimizer):
    """s ← s + g²;  p ← p − η g / (√s + ε)  (Duchi, Hazan and Singer 2011)."""

    slots = ("square",)

    def __init__(self, parameters, learning_rate=0.01, epsilon=1e-10):
        super().__init__(parameters, learning_rate)
        self.epsilon = epsilon

    def change(self, gradient, count, square):
        square += gradient * gradient
        return self.learning_rate * gradient / (np.sqrt(square) + self.epsilon)


class Adam(Optimizer):
    """m ← β₁ m + (1 − β₁) g;  s ← β₂ s + (1 − β₂) g²;  p ← p − η m̂ / (√ŝ + ε)
    with m̂ = m / (1 − β₁ⁿ) and ŝ = s / (1 − β₂ⁿ) at the parameter's n-th step  (Kingma and Ba 2015)."""

    slots = ("mean", "square")

    def __init__(self, parameters, learning_rate=0.001, betas=(0.9, 0.999), epsilon=1e-8):
        super().__init__(parameters, learning_rate)
        self.betas, self.epsilon = betas, epsilon

    def change(self, gradient, count, mean, square):
        beta_1, beta_2 = self.betas
        mean *= beta_1
        mean += (1 - beta_1) * gradient
        square *= beta_2
        square += (1 - beta_2) * gradient * gradient
        root = np.sqrt(square) / math.sqrt(1 - beta_2 ** count)
        return (self.learning_rate / (1 - beta_1 ** count)) * mean / (root + self.epsilon)
