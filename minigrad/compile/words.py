"""The words of a program: names of values, NumPy's functions, constants, and what it takes from ops/."""
from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ops import TABLE, values
from .sources import Sources
from .value import Value

if TYPE_CHECKING:
    from .layout import Layout
    from .plan import Plan

NUMBERS = {0.5: "half", 1.0: "one", 2.0: "two", -1.0: "minus_one", 0.0: "zero"}
RESERVED = {"T", "t", "np", "forward", "backward", "bptt", "rows", "aligned", "saved", "picked", "scatter", "fused", "njit", "tanh_single",
            "tanh_double", *keyword.kwlist, *dir(builtins), *TABLE,
            *vars(values), *vars(np)} - {*NUMBERS.values()}
LEAVES = {"x": "x", "state": "s", "invariant": "c", "cotangent": "dy"}


class Words:
    """Each name once; what is imported, and the lines that define the constants."""

    def __init__(self, plan: Plan, layout: Layout) -> None:
        self.layout, self.imports, self.sources = layout, {"empty", "zeros"}, Sources()
        self._taken, self._local = set(RESERVED), set[str]()
        self._names: dict[int, str] = {}                # id -> name
        self._carries: dict[int, str] = {}
        self._constants: dict[tuple[Any, ...], tuple[str, str]] = {}                      # key -> (name, definition)
        self._tables: dict[tuple[Any, ...], tuple[str, str]] = {}
        self.numbers: dict[str, Any] = {}               # name of a constant -> its number
        for v in plan.values:
            if v.kind in LEAVES:
                base = v.name or LEAVES[v.kind]
                if v.kind == "cotangent":
                    y = plan.y[v.position].name
                    base = f"d{y}_all" if y else "dy"
                self._names[v.id] = self.unique(base)

    # ---- names ----------------------------------------------------------------------------------------------------------
    def unique(self, base: str, others: Container[str] | None = None) -> str:
        """A name that nothing else has; a function's own may be those of another function: ``others`` are this function's."""
        base = re.sub(r"\W", "_", base).strip("_") or "v"
        if base[0].isdigit():
            base = "v" + base
        name, k = base, 1
        while name in self._taken or name in (self._local if others is None else others):
            k += 1
            name = f"{base}_{k}"
        (self._taken if others is None else self._local).add(name)
        return name

    def of(self, v: Value) -> str:
        """The name of the array that v is computed into."""
        if v.id in self.layout.slot:
            v = self.layout.slot[v.id]
        elif v.id in self.layout.in_place:
            return self.carry(self.layout.in_place[v.id])
        if v.id not in self._names:
            base = v.name or f"v{v.id}"
            if v.is_op("transpose") and not v.depends and not v.name:
                base = f"{self.of(v.inputs[0])}_T"
            if v.is_op("blocks") and not v.name:
                base = f"{self.of(v.inputs[0])}{'_T' if v.attributes.get('transposed') else ''}_blocks"
            self._names[v.id] = self.unique(base)
        return self._names[v.id]

    def has(self, v: Value) -> bool:
        return v.id in self._names

    def carry(self, state: Value) -> str:
        """The gradient of a state that the next step, in time, hands back."""
        if state.id not in self._carries:
            self._carries[state.id] = self.unique(f"d{self.of(state)}_next")
        return self._carries[state.id]

    def last(self, state: Value) -> str:
        """The gradient of the last state, which comes from outside."""
        return f"d{self.of(state)}_last"

    # ---- functions and constants ------------------------------------------------------------------------------------------
    def numpy(self, name: str) -> str:
        self.imports.add(name)
        return name

    def source(self, function: Callable[..., Any]) -> str:
        """The name of a function of ops/, whose source goes into the program."""
        return self.sources.of(function)

    def number(self, number: Any, dtype: Any) -> str:
        """A number as a 0-d array of the dtype it meets: half the cost of a Python number per call."""
        dtype = np.dtype(dtype)
        if dtype.kind != "f":
            return _number(number)
        key = number, dtype.str
        if key not in self._constants:
            definition = f'{self.numpy("array")}({_number(number)}, "{dtype.str[1:]}")'
            self._constants[key] = self.unique(NUMBERS.get(number, "number")), definition
        self.numbers[self._constants[key][0]] = number
        return self._constants[key][0]

    def table(self, array: np.ndarray) -> str:
        """An array of numbers."""
        key = array.shape, array.dtype.str, array.tobytes()
        if key not in self._tables:
            self._tables[key] = self.unique("table"), self._definition(array)
        return self._tables[key][0]

    def _definition(self, a: np.ndarray) -> str:
        dtype = f'"{a.dtype.str[1:]}"'
        if a.ndim == 1 and np.array_equal(a, np.arange(len(a))):
            return f"{self.numpy('arange')}({len(a)}, dtype={dtype})"
        if a.size and (a == a.flat[0]).all():
            return f"{self.numpy('full')}({a.shape}, {_number(a.flat[0].item())}, {dtype})"
        return f"{self.numpy('array')}({a.tolist()!r}, {dtype})"

    def constants(self) -> list[str]:
        """The lines that define them."""
        return [f"{name} = {definition}" for name, definition in (*self._constants.values(), *self._tables.values())]


# ---- parts of expressions ---------------------------------------------------------------------------------------------------
def sliced(s: slice) -> str:
    """A slice as source."""
    return f"{'' if s.start is None else s.start}:{'' if s.stop is None else s.stop}{'' if s.step is None else f':{s.step}'}"


def indexed(index: tuple[Any, ...]) -> str:
    """A basic index as source, without its brackets."""
    return ", ".join("..." if i is Ellipsis else sliced(i) if isinstance(i, slice) else str(i) for i in index)


def apart(shape: Sequence[int], size: int, over_time: bool = False) -> str:
    """The call that looks at an array as blocks of so many columns."""
    sizes = [*(["T"] if over_time else []), *shape[:-1], shape[-1] // size, size]
    return f"reshape({', '.join(map(str, sizes))}).swapaxes(-2, -3)"


def literal(x: Any) -> str:
    """An attribute of an op as source."""
    return f'"{x.str[1:]}"' if isinstance(x, np.dtype) else repr(x)


def _number(x: Any) -> str:
    """A number as source: infinity has no literal."""
    return repr(x) if x - x == 0 else f'float("{x}")'
