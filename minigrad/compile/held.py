"""What a cell reaches and could change: to be seen, and to be put back.

A compiled step runs the cell once where the unroll runs it T times. A cell that counts, draws or writes would count, draw and
write too little, so such a cell is not compiled; and it is left as it was when it was tried. ``Held`` goes through attributes,
closures, defaults, globals and classes, and through what the functions in them reach; not through other packages.
"""
from __future__ import annotations

import collections
import dis
import functools
import pickle
import random
import sys
import types
from typing import Any

import numpy as np

from ..tensor import Tensor

HOUSES = {"builtins", "numpy", "minigrad"} | sys.stdlib_module_names       # packages whose functions are left alone
STAYS = (type(None), bool, int, float, complex, str, bytes, range, slice, type(...), np.dtype, np.generic, np.ufunc)
LISTS = (list, collections.deque, bytearray)
STORES = {"STORE_ATTR", "DELETE_ATTR", "STORE_GLOBAL", "DELETE_GLOBAL", "STORE_SUBSCR", "DELETE_SUBSCR", "STORE_SLICE", "IMPORT_NAME"}
WRITERS = frozenset("add append appendleft at clear copyto data delattr delitem difference_update discard eval exec extend extendleft fill "
                    "fill_diagonal globals heapify heappop heappush heapreplace iadd imul insert insort insort_left insort_right "
                    "intersection_update isub itruediv move_to_end next out partition place pop popitem popleft put put_along_axis putmask "
                    "random remove resize reverse rotate send set setattr setdefault setflags setitem shuffle sort update vars __delattr__ "
                    "__dict__ __next__ __setattr__ __setitem__".split())
PLAIN = frozenset((Tensor, np.ndarray, int, float, bool, str, type(None)))
_MISSING = object()
GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)


class Held:
    """All that a cell could change, as it is now.

    effects     whether its code has something that changes things: else nothing needs to be looked after
    iterators   what it could draw from and nobody can put back
    """

    def __init__(self, cell: Any) -> None:
        self.places: list[tuple[str, Any, Any, Any]] = []       # name, what is there, how to read it, how to write it
        self.iterators: list[str] = []
        self.effects = False
        self.stack: list[tuple[str, Any]] = [("self", cell)]
        self.arrays: list[tuple[str, np.ndarray]] = []
        self.names, self.modules = set[str](), list[tuple[str, types.ModuleType, set[str]]]()      # of code; and what was looked up of each
        seen: dict[int, Any] = {}
        while self.stack:
            name, x = self.stack.pop()
            if id(x) not in seen and not _stays(type(x)):           # type: ignore[arg-type]
                seen[id(x)] = x                         # kept: an id is used again when its owner is gone
                self.effects |= isinstance(x, GENERATORS)
                self._look(name, x)
            if not self.stack:
                self._of_modules()
        for name, x in self.arrays if self.effects else ():                # numbers are copied only if something writes
            self.places.append((name, x.copy(), lambda x=x: x, lambda v, x=x: x.__setitem__(..., v)))

    def harmless(self) -> bool:
        return not self.effects and not self.iterators

    def drawn(self) -> bool:
        return any(type(there) is _Drawn and not _same(read(), there) for _, there, read, _ in self.places)

    def changed(self) -> list[str]:
        """The names of what is not as it was."""
        found = set[str]()
        for name, there, read, _ in self.places:
            now = read()
            if not _same(now, there):
                found |= {f"{name}.{k}" for k in there.keys() | now.keys() if now.get(k, now) is not there.get(k, now)} \
                    if type(there) is _Attributes else {name}
        return sorted(found)

    def restore(self) -> None:
        """Put back what the cell changed. One that has nothing to change it with did not: another thread did."""
        for _, there, read, write in self.places if self.effects else ():
            if not _same(read(), there):
                write(there)

    def _hold(self, name: str, read: Any, write: Any) -> None:
        self.places.append((name, read(), read, write))

    def _look(self, name: str, x: Any) -> None:
        """Hold x itself, and go on to what it reaches."""
        if isinstance(x, Tensor):
            self._hold(name, lambda: (x.array, x.index, x.requires_grad), lambda v: _put_back(x, v))
            self.arrays.append((name, x.array))
        elif isinstance(x, np.ndarray):
            self.arrays.append((name, x))
        elif isinstance(x, np.random.Generator):
            self._hold(name, lambda: _Drawn(x.bit_generator.state), lambda v: setattr(x.bit_generator, "state", v.state))
        elif isinstance(x, np.random.RandomState):
            self._hold(name, lambda: _Drawn(x.get_state(legacy=False)), lambda v: x.set_state(v.state))
        elif isinstance(x, random.Random):
            self._hold(name, lambda: _Drawn(x.getstate()), lambda v: x.setstate(v.state))
        elif isinstance(x, dict):
            kind: Any = collections.OrderedDict if isinstance(x, collections.OrderedDict) else dict         # not by a method of its own
            self._hold(name, lambda: dict(x), lambda v: (kind.clear(x), kind.update(x, v)))
            self.stack.extend((f"{name}[{k!r}]", v) for k, v in dict(x).items())
        elif isinstance(x, LISTS):
            self._hold(name, lambda: list(x), lambda v: (x.clear(), x.extend(v)))
            self.stack.extend((f"{name}[{k}]", v) for k, v in enumerate(list(x)))
        elif isinstance(x, set):
            self._hold(name, lambda: set(x), lambda v: (set.clear(x), set.update(x, v)))
            self.stack.extend((name, v) for v in set(x))
        elif isinstance(x, (tuple, frozenset)):
            self.stack.extend((f"{name}[{k}]", v) for k, v in enumerate(x))
        elif isinstance(x, types.FunctionType):
            self._function(name, x)
        elif isinstance(x, types.MethodType):
            self.stack += [(name, x.__func__), ("self", x.__self__)]
        elif isinstance(x, functools.partial):
            self.stack += [(name, x.func), (name, x.args), (name, x.keywords), (name, x.__dict__)]
        elif isinstance(x, (property, staticmethod, classmethod, functools.cached_property)):
            self.stack.append((name, getattr(x, "fget", None) or getattr(x, "func", None) or getattr(x, "__func__", None)))
        elif isinstance(x, (types.BuiltinMethodType, types.MethodWrapperType)):
            self.stack.append((name, None if isinstance(x.__self__, types.ModuleType) else x.__self__))
        elif isinstance(x, type):
            self._class(x)
        elif hasattr(type(x), "__next__"):
            self.iterators.append(name)
        elif not isinstance(x, types.ModuleType):
            self._object(name, x)
        elif _house(x) not in HOUSES:
            self.modules.append((name, x, set()))

    def _of_modules(self) -> None:
        """What code could read of modules: what has a name that is in it."""
        for name, x, known in self.modules:
            for attribute in self.names - known:
                if hasattr(x, attribute):
                    self._attribute(f"{name}.{attribute}", x, attribute)
            known |= self.names

    def _object(self, name: str, x: Any) -> None:
        inside = getattr(x, "__dict__", None)
        if inside is not None and _house(type(x)) != "numpy":
            self._hold(name, lambda: _Attributes(x.__dict__), lambda v: (x.__dict__.clear(), x.__dict__.update(v)))
            self.stack.extend((f"{name}.{k}", v) for k, v in dict(inside).items())
        for c in [c for c in type(x).__mro__ if _house(c) not in HOUSES]:
            for slot in [s for s, v in vars(c).items() if isinstance(v, types.MemberDescriptorType)]:
                self._attribute(f"{name}.{slot}", x, slot)
        self.stack.append((name, type(x)))

    def _attribute(self, name: str, x: Any, attribute: str) -> None:
        self._hold(name, lambda: (getattr(x, attribute, _MISSING),),
                   lambda v: delattr(x, attribute) if v[0] is _MISSING else setattr(x, attribute, v[0]))
        self.stack.append((name, getattr(x, attribute, None)))

    def _class(self, x: type) -> None:
        for c in x.__mro__:
            if _house(c) in HOUSES:
                continue
            for key, value in list(vars(c).items()):
                if isinstance(value, (types.FunctionType, types.GetSetDescriptorType, types.MemberDescriptorType)) or key in OF_CLASSES:
                    if key not in ("__init__", "__new__", "__repr__", "__setattr__", "initial_state"):
                        self.stack.append((f"{c.__name__}.{key}", value))
                    continue
                self._hold(f"{c.__name__}.{key}", lambda c=c, key=key: (vars(c).get(key, _MISSING),),
                           lambda v, c=c, key=key: setattr(c, key, v[0]))
                self.stack.append((f"{c.__name__}.{key}", value))
            self._hold(c.__name__, lambda c=c: tuple(vars(c)), lambda v, c=c: _take_away(c, set(vars(c)) - set(v)))

    def _function(self, name: str, f: types.FunctionType) -> None:
        for variable, c in zip(f.__code__.co_freevars, f.__closure__ or ()):
            self._hold(variable, lambda c=c: _contents(c), lambda v, c=c: setattr(c, "cell_contents", v[0]))
            self.stack.extend((variable, v) for v in _contents(c))
        self.stack += [(name, f.__defaults__), (name, f.__kwdefaults__), (name, f.__dict__)]
        if _house(f) in HOUSES:
            return
        scope, (stored, names) = f.__globals__, _code(f.__code__)
        self.effects |= stored
        self.names |= names
        if "random" in names:                           # what every function can draw from
            self.stack += [("random", np.random.rand.__self__), ("random", random.random.__self__)]        # type: ignore[attr-defined]
        for n in names:
            value = scope.get(n, _MISSING)
            self._hold(n, lambda n=n: (scope.get(n, _MISSING),),
                       lambda v, n=n: scope.pop(n, None) if v[0] is _MISSING else scope.__setitem__(n, v[0]))
            if value is not _MISSING and not (isinstance(value, (types.FunctionType, type)) and _house(value) in HOUSES):
                self.stack.append((n, value))


OF_CLASSES = ("__module__", "__dict__", "__weakref__", "__doc__", "__slots__", "__annotations__", "__static_attributes__",
              "__firstlineno__")


class _Drawn:
    """The state of a generator."""

    def __init__(self, state: Any) -> None:
        self.state, self.key = state, pickle.dumps(state)


class _Attributes(dict[str, Any]):
    """What an object has, by name."""


def kind(x: Any, depth: int = 4) -> Any:
    """What code a cell runs: its function's or class's, and those of the functions and cells in it."""
    what = type(x)
    parts: Any
    if what is types.FunctionType:
        found, parts = [x.__code__], x.__closure__ and [v for c in x.__closure__ for v in _contents(c)] or ()
    elif what is types.MethodType:
        return kind(x.__func__, depth), kind(x.__self__, depth)
    else:
        found, parts = [what], getattr(x, "__dict__", {}).values()
    for part in parts if depth else ():
        if type(part) not in PLAIN:
            found += [kind(v, depth - 1) for v in (part if type(part) in (tuple, list) else (part,)) if callable(v)]
    return tuple(found) if len(found) > 1 else found[0]


def _same(now: Any, there: Any) -> bool:
    if isinstance(there, _Drawn):
        return now.key == there.key
    if isinstance(there, np.ndarray):
        return np.array_equal(now, there, equal_nan=there.dtype.kind in "fc")
    if isinstance(there, dict):
        return list(now) == list(there) and all(now[k] is v for k, v in there.items())
    if isinstance(there, set):
        return set(map(id, now)) == set(map(id, there))
    return len(now) == len(there) and all(a is b or type(a) is type(b) in (int, bool) and a == b for a, b in zip(now, there))


def _take_away(c: type, names: set[str]) -> None:
    for name in names:
        delattr(c, name)


def _put_back(x: Tensor, there: tuple[Any, ...]) -> None:
    x.array, x.index, x.requires_grad = there


def _contents(cell: types.CellType) -> tuple[Any, ...]:
    try:
        return (cell.cell_contents,)
    except ValueError:                                      # not filled yet
        return ()


@functools.lru_cache(256)
def _stays(kind: type) -> bool:
    return issubclass(kind, STAYS)


def _house(x: Any) -> str:
    if type(x) is types.FunctionType:
        name = x.__globals__.get("__name__")                # what wraps another one says that it is the other's
    else:
        name = x.__name__ if type(x) is types.ModuleType else getattr(x, "__module__", None) or getattr(x, "__name__", "")
    return str(name).partition(".")[0]


@functools.lru_cache(256)
def _code(code: types.CodeType) -> tuple[bool, set[str]]:
    """Whether code has something that changes things, and the names in it that may be global; functions in it included."""
    stored, names = False, set(code.co_names)
    for i in dis.get_instructions(code):
        stored |= (i.opname in STORES or i.opname == "STORE_DEREF" and i.argval in code.co_freevars
                   or i.opname == "BINARY_OP" and i.argrepr.endswith("="))
    stored |= bool(WRITERS & names) or any("out" in c for c in code.co_consts if isinstance(c, tuple))
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            more, inside = _code(inner)
            stored, names = stored or more, names | inside
    return stored, names
