"""What gradcheck checks: a function made scalar, with the engine's gradients of it, or a loss with gradients that somebody
derived. Both tell their gradients as they are, and as other roundings would have made them."""
from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..autodiff import grad
from ..tensor import Tensor, mode

Gradients = tuple[list[Any], Any]                   # an array for each input (None: not derived), and the value of fn


class Function:
    """fn made scalar: its outputs (order 1) or its gradients (order 2) projected on fixed random directions."""

    def __init__(self, call: Callable[[list[Tensor]], Any], free: list[int], order: int = 1, seed: int = 0,
                 own: Sequence[Tensor] = ()) -> None:
        self.call, self.free, self.order, self.seed, self.own = call, free, order, seed, own
        self.magnitude = 0.0                        # the largest entry of what fn returned last

    def scalar(self, tensors: list[Tensor]) -> Tensor:
        outputs = self.call(tensors)
        outputs = tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)
        for y in outputs:
            if not isinstance(y, Tensor):
                raise TypeError(f"fn returned a {type(y).__name__}, expected a Tensor or a tuple of Tensors")
        rng = np.random.default_rng(self.seed)
        total = _projected(outputs, rng)
        if self.order == 2 and total.requires_grad:
            outputs += tuple(grad(total, [tensors[i] for i in self.free], create_graph=True))
            total = _projected(outputs[-len(self.free):], rng)
        self.magnitude = max(float(np.max(np.abs(y.data), initial=0)) for y in outputs)
        return total

    def tensors(self, arrays: list[np.ndarray]) -> list[Tensor]:
        for p, array in zip(self.own, arrays):                    # not through .data, which keeps a parameter's dtype
            p.array = array
        return list(self.own) or [Tensor(a, requires_grad=i in self.free) for i, a in enumerate(arrays)]

    def gradients(self, arrays: list[np.ndarray], create_graph: bool = False) -> Gradients:
        """The gradients, and the value of fn."""
        tensors = self.tensors(arrays)
        free, total = [tensors[i] for i in self.free], self.scalar(tensors)
        if not total.requires_grad:                               # constant, or cut off: the reference knows which
            return [np.zeros_like(x.data) for x in free], total.data.item()
        one = Tensor(np.ones_like(total.data), requires_grad=create_graph)     # linear parts of the backward pass are recorded too
        return [g.data for g in grad(total, free, cotangent=one, create_graph=create_graph)], total.data.item()

    def disturbed(self, arrays: list[np.ndarray], rng: np.random.Generator) -> Gradients | None:
        """The same with every recorded value moved by an ulp or two; those of the backward pass too, where rules take Tensors."""
        inputs = [moved(a, rng) if i in self.free else a for i, a in enumerate(arrays)]
        for create_graph in (True, False)[self.order - 1:]:
            with contextlib.suppress(Exception), other_roundings(rng), np.errstate(all="ignore"):
                return self.gradients(inputs, create_graph)
        return None

    def value(self, arrays: list[np.ndarray]) -> np.ndarray:
        return self.scalar(self.tensors(arrays)).data

    def floor(self, eps: float) -> float:
        return 0.0

    def refuse_chance(self, arrays: list[np.ndarray]) -> None:
        with np.errstate(all="ignore"):
            first, again = self.value(arrays), self.value(arrays)
        if not np.isfinite(first):
            raise ValueError(f"fn gives {float(first.real):g} at these inputs, so it has no gradient to check there; choose inputs where "
                             "all that it returns is finite")
        if not np.isclose(first, again, rtol=1e-9, atol=0):
            raise ValueError(f"fn gave {float(first.real):.6g} and then {float(again.real):.6g} for the same inputs, so it has no gradient "
                             "to check; make its random numbers inside fn, from a generator with a fixed seed")


class Derived(Function):
    """A loss and gradients of it that somebody derived: two functions of the same arrays."""

    def __init__(self, fn: Callable[..., Any], derived: Callable[..., Any], inputs: Any, names: list[str], free: list[int]) -> None:
        self.fn, self.by_hand, self.names, self.free, self.order = fn, derived, names, free, 1
        self.keywords, self.magnitude = isinstance(inputs, dict), 0.0

    def value(self, arrays: list[np.ndarray]) -> np.ndarray:
        y = self.fn(**dict(zip(self.names, arrays))) if self.keywords else self.fn(*arrays)
        y = np.asarray(y.data if isinstance(y, Tensor) else y)
        if y.size != 1:
            raise ValueError(f"fn returned an array of shape {y.shape}; with derived= it is the loss, one number")
        return y.reshape(())

    def gradients(self, arrays: list[np.ndarray], create_graph: bool = False) -> Gradients:
        given = [a.copy() for a in arrays]
        result = self.by_hand(**dict(zip(self.names, given))) if self.keywords else self.by_hand(*given)
        for name, before, after in zip(self.names, arrays, given):
            if not np.array_equal(before, after, equal_nan=before.dtype.kind == "f"):
                raise ValueError(f"derived changed its input {name!r} in place; compute with a copy")
        if isinstance(result, dict):
            result = [result.get(self.names[i]) for i in self.free]
        elif not isinstance(result, (list, tuple)):
            result = [result]
        elif len(result) == len(arrays):
            result = [result[i] for i in self.free]
        if len(result) != len(self.free):
            raise ValueError(f"derived returned {len(result)} arrays for {len(self.free)} inputs; return a dict name -> array")
        return [None if g is None else np.asarray(g.data if isinstance(g, Tensor) else g) for g in result], self.value(arrays).item()

    def disturbed(self, arrays: list[np.ndarray], rng: np.random.Generator) -> Gradients | None:
        with contextlib.suppress(ValueError, ArithmeticError), np.errstate(all="ignore"):
            return self.gradients([moved(a, rng) if i in self.free else a for i, a in enumerate(arrays)])
        return None

    def floor(self, eps: float) -> float:
        return 1e4 * eps                          # its inner roundings cannot be seen: 1e-12 of the largest entry, as in compare


def _projected(outputs: Sequence[Tensor], rng: np.random.Generator) -> Tensor:
    """Sum over the outputs of <output, random direction>; entries of size 0.5 to 1.5, so that none is dropped. A scalar is one already."""
    if len(outputs) == 1 and outputs[0].size == 1:
        return outputs[0].sum()
    total: Any = 0.0
    for y in outputs:
        direction = rng.uniform(0.5, 1.5, y.shape) * rng.choice([-1.0, 1.0], y.shape)
        total = total + (y * direction.astype(np.float32 if y.dtype == np.float32 else float)).sum()
    return total


@contextlib.contextmanager
def other_roundings(rng: np.random.Generator) -> Iterator[None]:
    def disturb(recorded: Tensor) -> None:
        recorded.array = moved(recorded.array, rng)
    before, mode.watch = mode.watch, disturb
    try:
        yield
    finally:
        mode.watch = before


def moved(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every entry half an ulp to two ulps up or down."""
    if array.dtype.kind != "f":
        return array
    ulps = rng.uniform(0.5, 2.0, array.shape) * rng.choice([-1.0, 1.0], array.shape)
    return np.asarray(array * (1 + np.finfo(array.dtype).eps * ulps.astype(array.dtype)), array.dtype)


def arguments(fn: Callable[..., Any], inputs: Any) -> tuple[Callable[[list[Tensor]], Any], list[str], list[np.ndarray]]:
    """fn as a function of a list of Tensors, the inputs' names, and their arrays."""
    if isinstance(inputs, dict):
        keys = list(inputs)
        return lambda tensors: fn(**dict(zip(keys, tensors))), keys, [_copy(a) for a in inputs.values()]
    if not isinstance(inputs, (list, tuple)):
        inputs = [inputs]
    names = [getattr(a, "name", None) or str(i) for i, a in enumerate(inputs)]
    return lambda tensors: fn(*tensors), names, [_copy(a) for a in inputs]


def _copy(value: Any) -> np.ndarray:
    array = np.array(value.data if isinstance(value, Tensor) else value)
    return array.astype(np.float32) if array.dtype == np.float16 else array
