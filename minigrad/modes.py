"""Switches of this thread: ``no_grad``, under which nothing is recorded, and ``debug``, under which everything is looked at."""
from __future__ import annotations

import functools
import inspect
import os
from typing import Any, Callable, TypeVar

import numpy as np

from .errors import at
from .tensor import Tensor, _plain, mode, ndarray

Function = TypeVar("Function", bound=Callable[..., Any])


class _Switch:
    """A context manager and decorator that sets one field of this thread's mode."""
    def __init__(self, field: str, value: Any) -> None:
        self.field, self.value = field, value
        self.before: list[Any] = []

    def __enter__(self) -> _Switch:
        self.before.append(getattr(mode, self.field))
        setattr(mode, self.field, self.value)
        return self

    def __exit__(self, *error: object) -> None:
        setattr(mode, self.field, self.before.pop())

    def __call__(self, fn: Function) -> Function:
        @functools.wraps(fn)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with self.fresh():
                return fn(*args, **kwargs)
        return inside       # type: ignore[return-value]    # wraps keeps the signature

    def fresh(self) -> _Switch:
        """Another of the same: a decorated function may call itself, also from other threads."""
        return _Switch(self.field, self.value)


def no_grad() -> _Switch:
    """Nothing is recorded inside: ``with mg.no_grad(): …`` (or as a decorator). Per thread.

    >>> x = Tensor(2., requires_grad=True)
    >>> with no_grad():
    ...     (x * x).requires_grad
    False
    """
    return _Switch("recording", False)


# ---- debug --------------------------------------------------------------------------------------------------------------

_made_at: dict[int, str] = {}      # index -> "file:line", filled in mg.debug() only


class debug(_Switch):
    """Slow and strict: ``with mg.debug(): …`` around the forward and the backward pass.

    Arrays in use are locked, so that writing into ``.data[…]`` raises where it happens; NaN or infinity stops at the op
    and time step that made it, forward and backward; errors of the backward pass say where the forward op was made.

    >>> x = Tensor([1., 2.], requires_grad=True)
    >>> with debug():
    ...     y = x * x
    ...     x.data[0] = 5.
    Traceback (most recent call last):
        ...
    ValueError: assignment destination is read-only
    """
    def __init__(self) -> None:
        super().__init__("watch", _inspect)
        self.locked: list[ndarray] = []

    def fresh(self) -> debug:
        return debug()

    def __enter__(self) -> debug:
        super().__enter__()
        _locks.append(self.locked)
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        _locks[:] = [held for held in _locks if held is not self.locked]      # by identity: lists of arrays do not compare
        for array in self.locked:
            try:
                array.flags.writeable = True
            except ValueError:              # a view of an array that is locked by the debug() around this one
                if _locks:
                    _locks[-1].append(array)
        self.locked.clear()
        if not _locks:
            _made_at.clear()


_locks: list[list[ndarray]] = []


def _inspect(out: Any) -> None:
    """Called with every recorded tensor in mg.debug()."""
    for frame in inspect.stack(context=0)[2:]:
        if not frame.filename.startswith(_here):
            _made_at[out.index] = f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} in {frame.function}"
            break
    for x in (*out.inputs, out):
        if type(x) is Tensor and x.array.flags.writeable and _locks:
            x.array.flags.writeable = False
            _locks[-1].append(x.array)
    if not np.isfinite(out.array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(out.array))[0])
        raise FloatingPointError(f"{out.op.name}{at(out.place)} made {out.array[where]} at {where}"
                                 f" (inputs {', '.join(_range(x) for x in out.inputs)}), made at {_made_at.get(out.index, '?')}")


def _range(x: Any) -> str:
    a = _plain(x)
    if not isinstance(a, ndarray):
        return repr(a)
    if not a.size:
        return f"of shape {a.shape}"
    finite = a.real[np.isfinite(a)]
    values = f"in [{finite.min():.4g}, {finite.max():.4g}]" if finite.size else "without a finite number"
    return f"{getattr(x, 'name', None) or ''}{a.shape} {values}"


def _look(g: ndarray, node: Any) -> None:
    if not np.isfinite(g).all():
        raise FloatingPointError(f"the gradient of {node.op.name}{at(node.place)} made NaN or infinity; the op was made at "
                                 f"{_made_at.get(node.index, 'an unknown place')}, its output in {_range(node)}")


_here = os.path.join(os.path.dirname(__file__), "")
