"""Module: parameters with names; and weights as files. Weights are data: loading never runs code."""
from __future__ import annotations

import os
from types import ModuleType
from typing import IO, Any, Self

import numpy as np

from .files import replacing
from .tensor import Tensor


class Module:
    """A thing with parameters. Attributes that are Tensors requiring gradients, or Modules, or lists and dicts of them, count.

    ``.training`` is True until ``.eval()`` is called; dropout and zoneout look at it.

    >>> class Scale(Module):
    ...     def __init__(self):
    ...         self.s = Tensor([1., 2.], requires_grad=True)
    >>> list(Scale().parameters())
    ['s']
    >>> Scale().eval().training
    False
    """
    training = True

    def __setattr__(self, name: str, value: Any) -> None:
        if type(value) is Tensor and value.name is None and value.requires_grad and value.op is None:
            value.name = name
        object.__setattr__(self, name, value)

    def parameters(self) -> dict[str, Tensor]:
        """dict of dotted name -> Tensor, in the order of the attributes; a shared parameter once, under its first name."""
        return {path: x for path, x in self._parts() if type(x) is Tensor and x.requires_grad and x.op is None}

    def train(self, mode: bool = True) -> Self:
        """Set ``.training`` of this module and of all modules in it; returns the module."""
        for _, x in self._parts():
            if isinstance(x, Module):
                x.training = bool(mode)
        return self

    def eval(self) -> Self:
        """``train(False)``: for using what was trained; dropout and zoneout no longer draw."""
        return self.train(False)

    def _parts(self) -> list[tuple[str, Any]]:
        """(dotted name, Tensor or Module) of everything inside, this module first, each thing once."""
        found: list[tuple[str, Any]] = []
        seen, stack = set[int](), [("", self)]
        x: Any
        while stack:
            path, x = stack.pop()
            x = getattr(x, "__wrapped__", x) if callable(x) and not isinstance(x, Module) else x       # a checkpointed cell is a cell
            if type(x) is Tensor or isinstance(x, Module):
                if id(x) in seen:
                    continue
                seen.add(id(x))
                found.append((path, x))
            if isinstance(x, Module):
                items: list[tuple[Any, Any]] = list(vars(x).items())
            elif isinstance(x, dict):
                items = list(x.items())
            elif isinstance(x, (list, tuple)):
                items = list(enumerate(x))
            else:
                continue
            stack.extend((f"{path}.{k}" if path else str(k), v) for k, v in reversed(items))
        return found

    def state_dict(self) -> dict[str, np.ndarray]:
        """dict of dotted name -> ndarray, copied."""
        return {name: p.array.copy() for name, p in self.parameters().items()}

    def load_state_dict(self, arrays: dict[str, Any]) -> None:
        """Take values for every parameter, all or nothing: names and shapes must match."""
        if not isinstance(arrays, dict):
            raise TypeError(f"load_state_dict of {type(self).__name__} got a {type(arrays).__name__}; expected a dict of "
                            "name -> array, as state_dict() and mg.load(path) give it")
        mine = self.parameters()
        missing, extra = [n for n in mine if n not in arrays], [n for n in arrays if n not in mine]
        wrong = [f"{n} has shape {p.shape} and got {np.shape(arrays[n])}" for n, p in mine.items()
                 if n in arrays and np.shape(arrays[n]) != p.shape]
        problems = ([f"missing: {', '.join(missing)}"] if missing else []) + ([f"unknown: {', '.join(extra)}"] if extra else []) + wrong
        if problems:
            raise ValueError(f"load_state_dict of {type(self).__name__}: {'; '.join(problems)}. Nothing was loaded")
        values = {name: _as_weights(name, arrays[name], p.dtype) for name, p in mine.items()}   # all, before one is set
        for name, p in mine.items():
            p.data = values[name]


def _as_weights(name: str, value: Any, dtype: np.dtype) -> np.ndarray:
    array = np.asarray(value.array if type(value) is Tensor else value)
    if array.dtype.kind not in "biuf" and array.dtype.kind != dtype.kind:
        raise TypeError(f"load_state_dict: {name} is {dtype} and got {array.dtype}; weights are numbers. Nothing was loaded")
    return array.astype(dtype)


def _arrays(source: Module | dict[str, Any]) -> dict[str, np.ndarray]:
    if isinstance(source, Module):
        return source.state_dict()
    if isinstance(source, dict):
        return {str(k): np.array(v.array if type(v) is Tensor else v) for k, v in source.items()}
    raise TypeError(f"save() got a {type(source).__name__}; expected a Module or a dict of names and arrays "
                    "(argument order: path, what)")


def save(path: str | os.PathLike[str], source: Module | dict[str, Any]) -> None:
    """Write weights: ``.safetensors`` (needs the extra ``weights``) or ``.npz``; beside first, then renamed, so never half-written.

    source  a Module, or a dict of name -> array or Tensor

    >>> save("weights.npz", {"W": np.eye(2), "b": Tensor([0., 1.])})
    >>> load("weights.npz")["b"]
    array([0., 1.])
    """
    arrays = _arrays(source)
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"save() got a {type(path).__name__} as path; expected a str or a Path")
    path = os.fspath(path)
    for name, a in arrays.items():
        if a.dtype.kind not in "biufc":
            raise TypeError(f"save(): {name} has dtype {a.dtype}; weights are numbers")
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"save(): the folder of {path!r} does not exist; make it first")
    if path.endswith(".safetensors"):
        data = _safetensors().save({k: np.asarray(v, order="C") for k, v in arrays.items()})
    elif path.endswith(".npz"):
        data = None
    else:
        raise ValueError(f"save() writes .npz and .safetensors, got {path!r}")
    with replacing(path) as beside, open(beside, "wb") as file:
        if data is None:
            write_npz(file, arrays)
        else:
            file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_npz(file: IO[bytes], arrays: dict[str, np.ndarray]) -> None:
    """What np.savez writes, for names of any kind ("file" is an argument of np.savez) and never a pickle."""
    import zipfile      # here: it brings a dozen modules, nearly half of the time that importing minigrad would take
    with zipfile.ZipFile(file, "w") as archive:
        for name, a in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, a, allow_pickle=False)


def load(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read weights back, as ``save`` wrote them: dict of name -> ndarray. Pickles are refused.

    >>> import minigrad as mg
    >>> cell = mg.RNNCell(3, 4)
    >>> save("weights.npz", cell)
    >>> list(load("weights.npz"))
    ['W_x', 'W_h', 'b']
    >>> cell.load_state_dict(load("weights.npz"))
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"load() got a {type(path).__name__} as path; expected a str or a Path")
    path = os.fspath(path)
    if not os.path.exists(path):
        raise FileNotFoundError(f"load(): there is no file {path!r}")
    try:
        with open(path, "rb") as file:
            if path.endswith(".safetensors"):
                return dict(_safetensors().load(file.read()))
            with np.load(file, allow_pickle=False) as archive:
                return {k: archive[k] for k in archive.files}
    except ImportError:
        raise
    except Exception as error:
        raise ValueError(f"load(): {path!r} is damaged or no weights file ({type(error).__name__}: {error})") from None


def _safetensors() -> ModuleType:
    try:
        import safetensors.numpy
    except ImportError:
        raise ImportError("files ending in .safetensors need the extra: pip install 'minigrad[weights]'; or use .npz") from None
    return safetensors.numpy
