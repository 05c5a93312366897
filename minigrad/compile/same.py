"""Whether a cell would do what it did before: told by its code, without running it.

Running a cell along its tape says it for sure, at a microsecond an op. Of most cells it can be told without: their code has only what is
listed here, so that all it does follows from its arguments and from what it reads of closures, globals, attributes and containers; and
all of that is the very thing that it was. Parameters are told by identity, since their numbers are read at every call. Whatever is not
listed here, in a newer Python too, leaves a cell to its tape.
"""
from __future__ import annotations

import dis
import functools
import inspect
import types
from operator import is_
from typing import Any, Callable, Iterable, Sequence

import numpy as np

from ..nested import Nested, flatten, rebuild
from ..ops import FUNCTIONS, Op
from ..recurrent.state import Cell
from ..tensor import Tensor
from .held import OF_CLASSES, kind

INERT = frozenset((type(None), bool, int, float, str, type(...), np.float32, np.float64))
CALLED = (types.FunctionType, types.BuiltinFunctionType, np.ufunc, type(np.sum), type)
BUILTINS = (enumerate, len, range, reversed, tuple, zip)
OF_TENSORS = frozenset("shape ndim size dtype T mT sum mean var max min reshape transpose swapaxes squeeze".split())
ASKED = OF_TENSORS | {f.__name__ for f, op in FUNCTIONS.items() if type(op) is Op}      # of any x, np.tanh(x) may be x.tanh()
HARMLESS = frozenset(OF_CLASSES) | {*"""__abstractmethods__ __annotate_func__ __annotations_cache__ __call__ __class_getitem__ __copy__
    __deepcopy__ __getstate__ __init__ __init_subclass__ __name__ __new__ __orig_bases__ __parameters__ __repr__ __setattr__ __setstate__
    __str__ __wrapped__""".split()}
NUMERIC = frozenset(("+", "-", "*", "/", "@", "**", "[]"))
NOTHING = frozenset("CACHE EXTENDED_ARG NOP NOT_TAKEN PRECALL RESUME TO_BOOL".split())
SIMPLE = frozenset("""BINARY_SLICE BINARY_SUBSCR BUILD_CONST_KEY_MAP BUILD_LIST BUILD_MAP BUILD_SLICE BUILD_TUPLE CALL CALL_KW COPY
    COPY_FREE_VARS END_FOR GET_ITER KW_NAMES LOAD_SMALL_INT POP_ITER POP_TOP PUSH_NULL STORE_FAST STORE_FAST_STORE_FAST SWAP UNARY_NEGATIVE
    UNPACK_SEQUENCE""".split())
_MISSING, _UNKNOWN = object(), object()


class Unsure(Exception):
    """The code does something that is not listed here."""


class Same:
    """What ``cell`` reads from outside of its step, as it is now, and so what it met on its way along tapes: ``bound``, by program.
    ``arguments``: nested as those that it gets.

    owners, names, values   of attributes
    items                   (dict, key, value)
    contents                (list or dict, its elements or keys)
    tensors                 (parameter, dtype, shape)
    """

    def __init__(self, cell: Cell, *arguments: Nested) -> None:
        self.cell, self.kind = cell, kind(cell)
        self.bound: dict[Any, Sequence[Any]] = {}
        self.last: tuple[Any, ...] = (None,)                # key, program and bound of the last call
        self.items: list[tuple[dict[Any, Any], Any, Any]] = []
        self.contents: list[tuple[Any, tuple[Any, ...]]] = []
        self.tensors: list[tuple[Tensor, np.dtype, tuple[Any, ...]]] = []
        self.read: dict[tuple[int, str], tuple[Any, str, Any]] = {}
        self.seen: dict[Any, Any] = {}
        self._reach(cell)
        for x in arguments:                                 # also a tuple may have a class that computes
            self._reach(rebuild(x, [_UNKNOWN] * len(flatten(x))))
        self.owners, self.names, self.values = zip(*self.read.values())
        del self.seen, self.read

    def holds(self) -> bool:
        """Whether all of it is the same now."""
        try:
            if not all(map(is_, map(getattr, self.owners, self.names), self.values)):
                return False
            for scope, key, value in self.items:
                if scope.get(key, _MISSING) is not value:
                    return False
            for x, there in self.contents:
                if len(x) != len(there) or not all(map(is_, x, there)):
                    return False
            for x, dtype, shape in self.tensors:
                if x.array.dtype is not dtype or x.array.shape != shape or not x.requires_grad:
                    return False
        except Exception:                                   # an attribute that is gone
            return False
        return True

    def remember(self, program: Any, bound: Sequence[Any] | None, before: Same | None = None) -> None:
        """What the cell met, if it is only parameters that it read as they are. ``before``: what still holds."""
        self.bound = {**before.bound} if before is not None and len(before.bound) < 64 else {}
        if bound is not None and all([any([x is parameter for parameter, _, _ in self.tensors]) for x in bound]):
            self.bound[program] = bound

    # ---- values -----------------------------------------------------------------------------------------------------------
    def _read(self, owner: Any, name: str) -> Any:
        return self.read.setdefault((id(owner), name), (owner, name, getattr(owner, name)))[2]

    def _reach(self, x: Any) -> None:
        """A value that the code may do anything with: compute with it, index it, call it."""
        kind = type(x)
        if x is _UNKNOWN or kind in INERT or id(x) in self.seen:
            return
        self.seen[id(x)] = x                                # kept: an id is used again when its owner is gone
        if kind is Tensor:
            if x.op is not None or not x.requires_grad or x.array.dtype.kind != "f":        # others can be read as numbers
                raise Unsure
            self.tensors.append((x, x.array.dtype, x.array.shape))
        elif kind in (tuple, list, dict):
            if kind is not tuple:
                self.contents.append((x, tuple(x)))
            for value in x:
                self._reach(value)
            for key in x if kind is dict else ():
                self._reach(x[key])
                self.items.append((x, key, x[key]))
        elif kind is slice:
            self._reach((x.start, x.stop, x.step))
        elif kind is types.MethodType:
            self._function(x.__func__, x.__self__)
        elif kind in CALLED:
            if type(FUNCTIONS.get(x)) is not Op and x not in BUILTINS:
                self._function(x)
        elif kind is types.ModuleType:
            raise Unsure
        else:
            _check(self._read(x, "__dict__"))
            self._class(kind)
            self._read(x, "__class__")
            call = inspect.getattr_static(kind, "__call__", None)
            if type(call) is not types.FunctionType or self._read(kind, "__call__") is not call:
                raise Unsure
            self._function(call, x)
            for name in ASKED.intersection(dir(x)):         # the code may have x where it asks for one of these
                self._reach(self._attribute(x, name))

    def _class(self, kind: type) -> None:
        """The code does not get into its methods but by their names, and by calls."""
        if kind not in self.seen:
            self.seen[kind] = self._read(kind, "__mro__")
            for c in kind.__mro__[:-1]:
                _check(vars(c))
                self.contents.append((vars(c), tuple(vars(c))))

    def _attribute(self, x: Any, name: str) -> Any:
        """x.name, which is held; ``_UNKNOWN`` of what the step computes."""
        kind: Any = type(x)
        if x is _UNKNOWN or kind is Tensor or kind in INERT:
            if name not in OF_TENSORS:
                raise Unsure
            self._reach(x)
            return _UNKNOWN
        if kind is types.ModuleType:
            return self._read(x, name)
        if kind.__getattribute__ is not object.__getattribute__ or hasattr(kind, "__getattr__"):
            raise Unsure
        own, of_class = self._read(x, "__dict__"), inspect.getattr_static(kind, name, None)
        self._read(x, "__class__")
        self._read(kind, "__getattribute__")
        if type(of_class) is types.FunctionType and name not in own:
            if self._read(kind, name) is not of_class:
                raise Unsure
            self.items.append((own, name, _MISSING))
            return types.MethodType(of_class, x)
        if hasattr(type(of_class), "__get__" if name not in own else "__set__"):
            raise Unsure
        return self._read(x, name)

    # ---- code -------------------------------------------------------------------------------------------------------------
    def _function(self, f: Any, *arguments: Any) -> None:
        """All that a function does, of whose arguments the first are given."""
        key = tuple(map(id, (f, *arguments)))
        if key in self.seen:
            return
        self.seen[key] = f, arguments
        code = self._read(f, "__code__")
        for defaults in ("__defaults__", "__kwdefaults__"):
            self._reach(self._read(f, defaults))
        steps, index, stored = _steps(code)
        known = {name: x for name, x in zip(code.co_varnames[:code.co_argcount], arguments) if name not in stored}
        _check(f.__dict__)
        if len(known) < len(arguments) or f.__dict__.keys() & ASKED or {type(f.__globals__), type(f.__builtins__)} != {dict}:
            raise Unsure
        closure = dict(zip(code.co_freevars, f.__closure__ or ()))
        todo, done = [0], set[int]()
        while todo:
            at = todo.pop()
            while at not in done:
                done.add(at)
                op, argument = steps[at]
                at += 1
                if op == "LOAD_GLOBAL":
                    value = f.__globals__.get(argument, _MISSING)
                    self.items.append((f.__globals__, argument, value))
                    if value is _MISSING:
                        value = f.__builtins__[argument]
                        self.items.append((f.__builtins__, argument, value))
                    at = self._used(value, steps, index, at)
                elif op == "LOAD_DEREF":
                    at = self._used(self._read(closure[argument], "cell_contents"), steps, index, at)
                elif op == "LOAD_FAST":
                    for name in argument[:-1]:
                        self._reach(known.get(name, _UNKNOWN))
                    at = self._used(known.get(argument[-1], _UNKNOWN), steps, index, at)
                elif op == "LOAD_CONST":
                    self._reach(argument)
                elif op in ("LOAD_ATTR", "LOAD_METHOD"):
                    self._attribute(_UNKNOWN, argument)
                elif op in TESTS or op == "FOR_ITER":
                    todo.append(index[argument])
                elif op in ("JUMP_FORWARD", "JUMP_BACKWARD"):
                    at = index[argument]
                elif op in ("RETURN_VALUE", "RETURN_CONST"):
                    break
                elif op not in SIMPLE and not (op == "BINARY_OP" and argument in NUMERIC):
                    raise Unsure

    def _used(self, value: Any, steps: list[tuple[str, Any]], index: dict[int, int], at: int) -> int:
        """What the code does at once with a value that it has loaded, an attribute or a branch; where it goes on."""
        while steps[at][0] in ("LOAD_ATTR", "LOAD_METHOD"):
            value = self._attribute(value, steps[at][1])
            at += 1
        if value is _UNKNOWN:
            return at
        op, target = steps[at]
        if op == "LOAD_CONST" and type(value) in INERT and steps[at + 1] in EQUALITIES:
            value, at = bool(value == target) is (steps[at + 1] == EQUALITIES[0]), at + 2
            op, target = steps[at]
        if op in TESTS and (type(value) in INERT or "NONE" in op):
            return index[target] if TESTS[op](value) else at + 1
        self._reach(value)
        return at


def _check(names: Iterable[str]) -> None:
    """Of what has attributes of these names: it is not added, indexed, tested, made an array and the like by code of its own."""
    if any([name[:2] == "__" and name not in HARMLESS for name in names]):
        raise Unsure


EQUALITIES = ("COMPARE_OP", "=="), ("COMPARE_OP", "!=")
TESTS: dict[str, Callable[[Any], bool]] = {
    "POP_JUMP_IF_NONE": lambda x: x is None, "POP_JUMP_IF_NOT_NONE": lambda x: x is not None,
    "POP_JUMP_IF_TRUE": bool, "POP_JUMP_IF_FALSE": lambda x: not x}


@functools.lru_cache(256)
def _steps(code: types.CodeType) -> tuple[list[tuple[str, Any]], dict[int, int], set[str]]:
    """The instructions of code, (name, argument); the place of each offset among them; the variables that it sets."""
    if code.co_exceptiontable:                              # try, with: what is caught goes on elsewhere
        raise Unsure
    steps: list[tuple[str, Any]] = []
    index, stored = dict[int, int](), set[str]()
    for i in dis.get_instructions(code):
        index[i.offset] = len(steps)
        name = i.opname.replace("FORWARD_IF", "IF").replace("BACKWARD_IF", "IF")
        # a newer Python loads two at once
        variables = [*zip(name.split("_FAST"), i.argval if type(i.argval) is tuple else (i.argval,))]
        stored.update(variable for what, variable in variables if what.endswith("STORE"))
        if "LOAD_FAST" in name:
            steps.append(("LOAD_FAST", [variable for what, variable in variables if what.endswith("LOAD")]))
        elif name not in NOTHING:
            steps.append((name, i.argrepr if name == "BINARY_OP" else i.argval))
    return steps, index, stored


def told(cell: Cell, *arguments: Nested) -> Same | None:
    """``Same`` for a cell, or None where it cannot be told."""
    try:
        return Same(cell, *arguments)
    except Exception:                                       # of whatever code: it is only read, and its tape knows better
        return None
