"""Clipping by the global norm, the customary cure for gradients that explode on the way back through time."""
from __future__ import annotations

import math
import numbers

import numpy as np

from .optimizers import Parameters, named


def clip_by_global_norm(parameters: Parameters, max_norm: float) -> float:
    """Scale all gradients by one factor so that the norm of all of them together is at most ``max_norm``.

    The direction of the step stays; only its length shrinks (Pascanu, Mikolov and Bengio 2013).

    parameters: a Module, a dict name -> Tensor or a list of Tensors; those whose ``.grad`` is None are left out.
    max_norm: a positive number. Returns the norm before clipping, a float.
    Raises FloatingPointError, naming the parameter, if a gradient holds NaN or infinity.

    >>> import minigrad as mg
    >>> x = mg.parameter([3.0, 4.0])
    >>> (x * x).sum().backward()
    >>> mg.train.clip_by_global_norm([x], 1.0), x.grad
    (10.0, array([0.6, 0.8]))
    """
    if not (isinstance(max_norm, numbers.Real) and max_norm > 0):
        raise ValueError(f"max_norm is {max_norm!r}, expected a positive number")
    reached = {name: p for name, p in named(parameters).items() if p.grad is not None}
    largest = 0.0
    for name, p in reached.items():
        peak = float(np.max(np.abs(p.grad), initial=0.0))
        if not math.isfinite(peak):
            raise FloatingPointError(f"the gradient of {name!r} holds NaN or infinity; run the step in "
                                     "`with mg.debug():` to see the op and the time step that made it")
        largest = max(largest, peak)
    if largest == 0.0:
        return 0.0
    # Squares are taken of gradients divided by the largest entry: 1e30 squared would overflow float32.
    norm = largest * math.sqrt(sum(float(np.sum(np.square(p.grad / largest, dtype=float))) for p in reached.values()))
    if norm > max_norm:
        for p in reached.values():
            np.multiply(p.grad, float(max_norm / norm), out=p.grad)
    return norm
