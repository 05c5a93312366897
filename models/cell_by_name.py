"""A cell's class from its name: minigrad's own, or one of your own as path.py:Class or module:Class."""
import contextlib
import difflib
import importlib
import importlib.util
import inspect
import os
from collections.abc import Callable, Iterator
from importlib.abc import SourceLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import minigrad as mg

from .data import Unusable

Maker = Callable[..., Any]          # (input_size, hidden_size, *, rng, dtype) -> cell: a class, or a function


def _module(place: str, name: str) -> ModuleType:
    """The module in the file ``path.py``, or the one of that dotted name."""
    if not place.endswith(".py"):
        try:
            return importlib.import_module(place)
        except ImportError as error:
            raise Unusable(f"cell {name!r}: {place!r} cannot be imported ({error}); write module:Class or path.py:Class") from None
    spec = importlib.util.spec_from_file_location(Path(place).stem, place)
    if spec is None or not isinstance(spec.loader, SourceLoader) or not os.path.exists(place):
        raise Unusable(f"cell {name!r}: there is no Python file {place!r}; write path.py:Class")
    module = importlib.util.module_from_spec(spec)
    exec(spec.loader.source_to_code(spec.loader.get_data(place), place), module.__dict__)     # the file as it is now, no compiled one
    return module


def find_cell(name: str | Maker) -> Maker:
    """A cell's class from its name: one of minigrad's, ``path.py:Class`` or ``module:Class``. A callable stays what it is."""
    if callable(name):
        return name
    place, colon, attribute = str(name).rpartition(":")
    if colon:
        cell = getattr(_module(place, name), attribute, None)
        if not callable(cell):
            raise Unusable(f"cell {name!r}: {place} has no {attribute}")
        return cell
    known = [known for known in dir(mg) if known.endswith("Cell") and inspect.isclass(getattr(mg, known))]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        raise Unusable(f"minigrad has no cell {name!r}; did you mean {near[0]}?" if near else
                       f"cell {name}: minigrad has no such cell; there are {', '.join(known)}; or give path.py:Class")
    return getattr(mg, name)


def called(make: Maker) -> str:
    """A cell's class or function by its name."""
    return getattr(make, "__name__", type(make).__name__)


@contextlib.contextmanager
def usable(make: Maker, inputs: int, hidden: int) -> Iterator[None]:
    """Around the making of a cell and its first step: what is wrong with it, as Unusable."""
    try:
        yield
    except (AttributeError, TypeError, ValueError) as error:
        hint = ". Tasks make a cell as cell(input_size, hidden_size, rng=…, dtype=…), and it needs initial_state(batch_size)"
        raise Unusable(f"{called(make)} with {inputs} inputs and {hidden} hidden units: {error}"
                       + hint * (not isinstance(error, ValueError))) from error
