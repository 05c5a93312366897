"""A gradient that a person derived, plugged in as the gradient of a function and held against it: ``custom_gradient``.

Ops of the table have a rule per argument (ops/table.py); here a whole function has one rule, which is not trusted: when it is
first used it is compared with the complex step of the function itself.
"""
from __future__ import annotations

import functools
import inspect
import threading
import warnings
from typing import Any, Callable

import numpy as np

from .errors import describe
from .nested import Nested, flatten, rebuild
from .ops import Op
from .tensor import _NUMBERS, Tensor, _leaf, mode, record

STEP, DIFFERENCE = 1e-30, 1e-6          # of the complex step, and of the central difference that tells whether it lies


def custom_gradient(fn: Callable[..., Any] | None = None, *, check: bool | str = True) -> Callable[..., Any]:
    """Decorator: ``fn`` is differentiated by the rule that it returns, as one op. (The convention of jax.custom_gradient.)

    fn     takes arrays and returns (y, rule). y is an array, or a tuple, NamedTuple or dict of them, nested. ``rule(g)`` takes the
           gradient of y, in y's shape and nesting, and returns a tuple with the gradient of each argument in that argument's
           shape: None for one that has none. Tensors are passed as arguments; fn must not use others. What stands behind the * in
           fn's signature are options, which have no gradient.
    check  True: when fn is first used with arguments of these shapes, the rule is held against the complex step of fn along
           random directions, at those arguments and at a random point near them, since an h_0 of 0 or a bias of 0 hides
           mistakes. A rule that is wrong raises ValueError and names the argument. fn must be a function of its arguments alone.
           "here": at those arguments only, for a rule that holds only where, say, W is orthogonal.
           False: not at all, for a gradient that is meant to be another (straight through a rounding, say).

    Second order works if fn and rule are written with NumPy's functions: for it both are run again on Tensors, and what they
    record is differentiated. What cannot run on Tensors raises TypeError; nothing is cut from the graph. ``jacobian`` calls the
    rule once for each row. ``fn.unchecked`` is the function without the check: ``mg.check.gradcheck(fn.unchecked, …)`` shows
    a wrong rule entry by entry.

    >>> import minigrad as mg
    >>> @custom_gradient
    ... def step(x, h, W):
    ...     h_new = np.tanh(x + h @ W)
    ...     def rule(g):
    ...         da = g * (1 - h_new ** 2)
    ...         return da, da @ W.T, h.T @ da
    ...     return h_new, rule
    >>> W = mg.parameter(0.5 * np.ones((2, 2)))
    >>> step(np.zeros((1, 2)), np.ones((1, 2)), W).sum().backward()
    >>> W.grad.round(4)
    array([[0.42, 0.42],
           [0.42, 0.42]])
    """
    if fn is None:
        return functools.partial(custom_gradient, check=check)
    if not callable(fn) or check not in (True, False, "here"):
        raise TypeError(f"custom_gradient() got {describe(fn)} and check={check!r}; expected a function and True, 'here' or False")
    rule = _Rule(fn)
    op = Op(rule.name, rule.value, (rule,), rule.name + "({*})", saves=True, variadic=True)
    seen = set()

    def run(args: tuple[Any, ...], options: dict[str, Any], check: bool | str) -> Any:
        args, options = rule.bind(args, options)
        trained = [i for i, a in enumerate(args) if type(a) is Tensor and a.requires_grad]
        for i, a in enumerate(args):
            if type(a) is not Tensor and isinstance(a, Tensor):                 # it is traced for a program (compile/, lower/)
                raise TypeError(f"{rule.name} has a gradient rule of its own (mg.custom_gradient), which no program can be written of; "
                                "mg.unroll runs it")
            if type(a) not in (Tensor, np.ndarray, bool) and type(a) not in _NUMBERS and not isinstance(a, np.generic):
                raise TypeError(f"{rule.name} got a {type(a).__name__} as {rule.argument(i)}; expected Tensors, arrays and numbers: "
                                "make other things options, behind a * in its signature")
        if not any(type(a) is Tensor for a in args):
            return rule.call(args, options)[0]
        if check and trained and mode.recording:
            arrays = [a.data if type(a) is Tensor else a for a in args]
            key = *((np.shape(a), np.result_type(a).char) for a in arrays), *trained, repr(sorted(options.items()))
            if key not in seen and not any(np.iscomplexobj(a) for a in arrays):
                rule.check(arrays, trained, options, near=check != "here")
                seen.add(key)
        y = record(op, args, dict(options=options, last=max(trained, default=0)))
        like, shapes = y.saved.like, y.saved.shapes
        return y if like is None else rebuild(like, _unpacked(y, shapes))

    @functools.wraps(fn)
    def checked(*args: Any, **options: Any) -> Any:
        return run(args, options, check)

    @functools.wraps(fn)
    def unchecked(*args: Any, **options: Any) -> Any:
        return run(args, options, False)
    setattr(checked, "unchecked", unchecked)
    return checked


class _Saved:
    """What one call leaves for its gradient: the rule, and how several outputs were packed into one array."""
    __slots__ = ("rule", "like", "shapes")

    def __init__(self, rule: Callable[..., Any], like: Nested, shapes: Any) -> None:
        self.rule, self.like, self.shapes = rule, like, shapes


class _Last(threading.local):
    """The latest gradients, per thread: the walk asks for those of the arguments one after the other."""
    g: Any = None
    y: Any = None
    parts: Any = None


class _Rule:
    """The gradient rule of the op, for all arguments at once, and its check."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn, self.name, self.last, self.signature = fn, getattr(fn, "__name__", type(fn).__name__), _Last(), inspect.signature(fn)
        self.arguments = [name for name, p in self.signature.parameters.items() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]

    def bind(self, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, given by position, by name or by default, and the options: what stands behind the * in fn's signature."""
        if options or len(args) < len(self.arguments):
            bound = self.signature.bind(*args, **options)
            bound.apply_defaults()
            return bound.args, bound.kwargs
        return args, options

    def argument(self, i: int) -> str:
        return f"argument {i}" + (f", {self.arguments[i]}" if i < len(self.arguments) else "")

    def call(self, args: Any, options: dict[str, Any]) -> tuple[Nested, Callable[..., Any]]:
        """(y, rule) of the person's function."""
        result = self.fn(*args, **options)
        if type(result) is not tuple or len(result) != 2 or not callable(result[1]):
            what = f"a tuple of {len(result)}" if type(result) is tuple else type(result).__name__
            raise TypeError(f"{self.name} returned {what}; a function with @custom_gradient returns a pair (y, rule), "
                            "rule(g) giving the gradients of its arguments")
        if not any(type(a) is Tensor for a in args):
            for y in flatten(result[0]):
                if isinstance(y, Tensor):
                    raise TypeError(f"{self.name} was given arrays and made a Tensor: it uses Tensors that are not among its arguments, "
                                    "which the rule cannot give gradients; pass them as arguments")
        return result

    def value(self, *arrays: Any, options: dict[str, Any], last: int) -> tuple[np.ndarray, _Saved]:
        """The op's value: y, several outputs packed into one array."""
        y, rule = self.call(arrays, options)
        if not isinstance(y, (tuple, list, dict)):
            return np.asarray(y), _Saved(rule, None, None)
        parts = [np.asarray(part) for part in flatten(y)]
        return np.concatenate([p.reshape(-1) for p in parts]), _Saved(rule, y, [p.shape for p in parts])

    def __call__(self, i: int, g: Any, y: Any, inputs: Any, *, options: dict[str, Any], last: int, saved: Any = None) -> Any:
        held = self.last
        if held.g is not g or held.y is not y:
            if saved is None:
                saved = self.again(g, inputs, options)
            lead = g.shape[:g.ndim - y.ndim]
            rows = [self.gradients(g[row] if row else g, saved, inputs) for row in np.ndindex(lead)]
            held.parts = [None if parts[0] is None else parts[0] if not lead else np.reshape(np.stack(parts), lead + parts[0].shape)
                          for parts in zip(*rows)]
            held.g, held.y = g, y
        part = held.parts[i]
        if i == last:
            held.g = held.y = held.parts = None
        if part is None:
            raise ValueError(f"the rule of {self.name} returned None for {self.argument(i)}, which requires gradients; return zeros of its "
                             "shape if y does not depend on it")
        return part

    def again(self, g: Any, inputs: Any, options: dict[str, Any]) -> _Saved:
        """The function run once more: on Tensors, where the gradient itself is to be differentiated."""
        try:
            y, rule = self.call(inputs, options)
        except TypeError as error:
            if type(g) is not Tensor:
                raise
            raise TypeError(f"second order of {self.name}: the function cannot run on Tensors, so its gradient cannot be differentiated; "
                            f"write it with NumPy's functions: {error}") from error
        several = isinstance(y, (tuple, list, dict))
        return _Saved(rule, y if several else None, [np.shape(part) for part in flatten(y)])

    def gradients(self, g: Any, saved: _Saved, inputs: Any) -> list[Any]:
        """What the person's rule says, one gradient for each input, their shapes checked."""
        if saved.like is not None:
            g = rebuild(saved.like, _unpacked(g, saved.shapes))
        second = any(type(part) is Tensor for part in flatten(g))
        try:
            parts = saved.rule(g)
        except Exception as error:
            if not second or not isinstance(error, TypeError):
                shapes = ", ".join(str(np.shape(x)) for x in inputs)
                error.add_note(f"in the rule of {self.name}: it got g of shape {', '.join(str(np.shape(part)) for part in flatten(g))}, "
                               f"the arguments are of shapes {shapes}")
                raise
            raise TypeError(f"second order of {self.name}: its rule cannot run on Tensors, so it cannot be differentiated; write it with "
                            f"NumPy's functions: {error}") from error
        parts = tuple(parts) if isinstance(parts, (tuple, list)) else (parts,)
        if len(parts) != len(inputs):
            raise ValueError(f"the rule of {self.name} returned {len(parts)} gradients for {len(inputs)} arguments; expected one for each, "
                             "None where there is none")
        return [part if part is None else self.checked(i, part, x, second) for i, (part, x) in enumerate(zip(parts, inputs))]

    def checked(self, i: int, part: Any, x: Any, second: bool) -> Any:
        if second and type(part) is not Tensor:
            if np.any(part):
                raise TypeError(f"second order of {self.name}: its rule returned a plain array for {self.argument(i)}, which would be "
                                "cut from the graph; do not take .data in it")
            part = _leaf(np.asarray(part, float))
        if type(part) is Tensor and not second:
            raise TypeError(f"the rule of {self.name} returned a Tensor for {self.argument(i)}; it gets arrays and returns arrays: take "
                            ".data of Tensors from outside")
        part = part if type(part) is Tensor else np.asarray(part)
        if part.shape != np.shape(x):
            raise ValueError(f"the rule of {self.name} returned shape {part.shape} for {self.argument(i)} of shape {np.shape(x)}; a "
                             "gradient has its argument's shape" +
                             ("; this is the transposed one" if part.shape == np.shape(x)[::-1] else ""))
        if not second and type(x) is np.ndarray and part.dtype.kind == x.dtype.kind == "f":
            part = part.astype(x.dtype, copy=False)
        return part

    # ---- is it the derivative? -------------------------------------------------------------------------------------------------
    def check(self, arrays: list[Any], trained: list[int], options: dict[str, Any], near: bool) -> None:
        """Raise ValueError if the rule is not the derivative of the function, along one random direction for each argument."""
        rng = np.random.default_rng(0)
        here = [np.array(a, float) if i in trained else a for i, a in enumerate(arrays)]
        moved = [a + rng.uniform(0.2, 0.7, a.shape) * rng.choice([-1.0, 1.0], a.shape) if i in trained else a for i, a in enumerate(here)]
        self.hold(here, trained, options, rng, "")
        if near:
            try:
                with np.errstate(all="ignore"):
                    self.call(moved, options)
            except (ValueError, ArithmeticError, np.linalg.LinAlgError):        # no such point: outside of the function's domain
                return
            self.hold(moved, trained, options, rng, " at a random point near the arguments; at the arguments themselves it agrees, so "
                      "numbers there (a state or bias of 0?) hide the mistake. For a rule that holds there only: check='here'")

    def hold(self, point: list[Any], trained: list[int], options: dict[str, Any], rng: np.random.Generator, where: str) -> None:
        with np.errstate(all="ignore"):
            before = [np.array(a) for a in point]
            y, rule = self.call(point, options)
            changed = [i for i, b in enumerate(before) if not np.array_equal(point[i], b, equal_nan=b.dtype.kind == "f")]
            if changed:
                raise ValueError(f"{self.name} changes {self.argument(changed[0])} in place; it must leave its arguments as they are "
                                 "(write a = a * b for a *= b)")
            values = [np.asarray(part) for part in flatten(y)]
            if not all(np.isfinite(v).all() for v in values):
                return
            several = isinstance(y, (tuple, list, dict))
            g = [rng.uniform(0.5, 1.5, v.shape) * rng.choice([-1.0, 1.0], v.shape) for v in values]
            saved = _Saved(lambda _: rule(rebuild(y, g) if several else g[0]), None, None)
            parts = self.gradients(g[0], saved, point)

            def along(i: int, step: Any) -> Any:
                """⟨g, fn⟩ with argument i moved by step."""
                moved, _ = self.call([a + step if j == i else a for j, a in enumerate(point)], options)
                return sum(np.sum(a * b) for a, b in zip(g, flatten(moved)))

            if along(trained[0], 0.0) != along(trained[0], 0.0):
                raise ValueError(f"{self.name} gives other values for the same arguments, so its rule cannot be checked; pass random "
                                 "numbers as arguments, or say @custom_gradient(check=False)")
            size = sum(float(np.sum(np.abs(a * v))) for a, v in zip(g, values))
            rows = [self.compare(parts[i], functools.partial(along, i), point[i], size, rng) for i in trained]
        wrong = [(i, *row) for i, row in zip(trained, rows) if abs(row[0] - row[1]) > row[2]]
        if wrong:
            i, yours, reference, _, method = wrong[0]
            names = [self.arguments[j] if j < len(self.arguments) else str(j) for j in trained if j not in [w[0] for w in wrong]]
            also = f"; also wrong: {', '.join(self.argument(w[0]) for w in wrong[1:])}" if wrong[1:] else ""
            also += f"; right: {', '.join(names)}" if names else ""
            raise ValueError(
                f"the rule of {self.name} is wrong for {self.argument(i)} of shape {point[i].shape}: along a random direction it says "
                f"{yours:.7g}, {method} of the function says {reference:.7g}{where}{also}. "
                f"mg.check.gradcheck({self.name}.unchecked, …) shows the entries; a rule that is meant to differ: check=False")

    @staticmethod
    def compare(part: Any, along: Callable[..., Any], x: Any, value: float, rng: np.random.Generator) -> tuple[float, float, float, str]:
        """(what the rule says, the reference, how far they may be apart, the reference's method); ``value`` is the size of what is
        differentiated, of which both references carry the rounding."""
        direction = rng.uniform(0.5, 1.5, x.shape) * rng.choice([-1.0, 1.0], x.shape)
        products = (np.zeros(x.shape) if part is None else part) * direction
        yours, size = float(np.sum(products)), float(np.sum(np.abs(products)))
        slope = float(np.real(along(DIFFERENCE * direction) - along(-DIFFERENCE * direction))) / (2 * DIFFERENCE)
        rounding = 1e-15 * value / DIFFERENCE
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", np.exceptions.ComplexWarning)
                exact = float(np.imag(along(1j * STEP * direction))) / STEP
        except Exception:                       # the function does not let complex numbers through
            exact = np.nan
        if abs(exact - slope) <= 1e-3 * max(size, abs(slope)) + rounding:
            return yours, exact, 1e-6 * max(size, abs(exact)) + 1e-13 * value, "the complex step"
        return yours, slope, 1e-4 * max(size, abs(slope)) + rounding, "a central difference"


def _unpacked(y: Any, shapes: list[Any]) -> list[Any]:
    """The parts that were packed into one array."""
    parts, at = [], 0
    for shape in shapes:
        n = int(np.prod(shape))
        parts.append(np.reshape(y[at:at + n], shape))
        at += n
    return parts
