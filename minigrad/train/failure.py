"""Where a NaN came from: the step that failed is run once more in debug mode, which stops at the op that made it."""
from __future__ import annotations

import sys
from traceback import walk_tb
from types import FrameType
from typing import Any, Callable

import numpy as np

from ..modes import debug
from ..module import Module
from ..nested import flatten
from ..tensor import Tensor, mode


def explain(error: Exception, step: int, loss_fn: Callable[..., Any], arguments: tuple[Any, ...], parameters: dict[str,
            Tensor]) -> FloatingPointError:
    """A FloatingPointError that names the step, the op, the time step, the cell and, if it is the batch's fault, the batch.

    The generators must stand where they stood before the step, so that running it again draws the same numbers.
    """
    what = str(error).partition("; run the step in")[0]
    where = _where(loss_fn, arguments, parameters)
    if where and where not in what:
        what = f"{what}: {where}"
    return FloatingPointError(f"at step {step}: {what}. {_batch(arguments)}Parameters are as before this step; a smaller learning_rate "
                              "or clip=1.0 often helps")


def _where(loss_fn: Callable[..., Any], arguments: tuple[Any, ...], parameters: dict[str, Tensor]) -> str:
    """What mg.debug() says about the step, and the Module that was being called when the op in question was made."""
    look: Any                                       # mg.debug()'s own watch
    running: dict[int, Module | None] = {}                            # index of an op's result -> the Module

    def note(out: Tensor) -> None:
        running[out.index] = _running()
        look(out)
    try:
        with np.errstate(all="ignore"), debug():
            look, mode.watch = mode.watch, note
            result = loss_fn(*arguments)
            (result[0] if isinstance(result, tuple) else result).backward()
    except FloatingPointError as error:
        frames = [frame.f_locals for frame, _ in walk_tb(error.__traceback__)]
        seen = (running.get(x.index) for values in reversed(frames) for x in values.values() if type(x) is Tensor)
        module = next(filter(None, seen), None)
        return str(error) if module is None else f"{error}, in {type(module).__name__.lstrip('_')}{_path(module, parameters)}"
    except Exception:                       # debug mode is stricter than the step was: it refuses to write into arrays in use
        pass
    return ""


def _running() -> Module | None:
    """The innermost Module whose method is running."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        module = frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None          # self, whatever it is called
        if isinstance(module, Module):
            return module
        frame = frame.f_back
    return None


def _path(module: Module, parameters: dict[str, Tensor]) -> str:
    """`` 'cells.1'``: how the module's parameters begin when they are called by the names that fit was given."""
    names = {id(p): name for name, p in parameters.items()}
    for own, p in module.parameters().items():
        name = names.get(id(p), "")
        if name.endswith(f".{own}"):
            return f" {name.removesuffix(f'.{own}')!r}"
    return ""


def _batch(arguments: tuple[Any, ...]) -> str:
    for i, x in enumerate(flatten(arguments)):
        a = x.data if isinstance(x, Tensor) else x
        if isinstance(a, np.ndarray) and a.size == 0:
            return f"Array {i} of the batch is empty, of shape {a.shape}. "
        if isinstance(a, np.ndarray) and a.dtype.kind == "f" and not np.isfinite(a).all():
            return f"Array {i} of the batch, of shape {a.shape}, holds NaN or infinity. "
    return ""
