"""The source of the ops' own values and rules, so that an emitted program runs alone with NumPy."""
import ast
import inspect
import textwrap
import types
from collections.abc import Callable
from typing import Any

import numpy as np

SCATTER = '''
def scatter(g, index, shape):
    """Zeros of ``shape`` (leading axes of g in front) with g added at ``index``."""
    lead = g.ndim - np.empty(shape, bool)[index].ndim
    out = np.zeros(g.shape[:lead] + tuple(shape), g.dtype)
    np.add.at(out, index, g)
    return out
'''


class Sources:
    """Functions that a program calls, with everything they call; each is written once."""

    def __init__(self) -> None:
        self.parts: dict[str, str] = {}         # name -> source

    def scatter(self) -> str:
        self.parts.setdefault("scatter", SCATTER.strip("\n"))
        return "scatter"

    def of(self, function: Callable[..., Any]) -> str:
        """The name by which a program calls ``function``."""
        module = getattr(function, "__module__", "") or ""
        if isinstance(function, np.ufunc) or module == "numpy" or module.startswith("numpy."):
            self.parts.setdefault("numpy", "")
            path = "np.linalg" if module.startswith("numpy.linalg") else "np"
            return f"{path}.{function.__name__}"
        name = function.__name__
        if name == "<lambda>":
            raise TypeError("an op whose value is a lambda has no source of its own; give it a name in ops/values.py")
        self._include(name, function)
        return name

    def _include(self, name: str, thing: Any) -> None:
        if name in self.parts or isinstance(thing, types.ModuleType):
            return
        if name in ("absolute", "maximum", "minimum"):      # ours differ from NumPy's for complex numbers only
            self.parts[name] = f"{name} = np.{name}"
            return
        thing = inspect.unwrap(thing) if callable(thing) else thing         # without its cache
        if not isinstance(thing, types.FunctionType):
            self.parts[name] = f"{name} = {self._literal(thing)}"
            return
        source = textwrap.dedent(inspect.getsource(thing))
        source = _without_docstring(_without_hints(source[source.index("def "):]))
        self.parts[name] = source                       # before what it calls: it may call itself
        tree, scope = ast.parse(source), thing.__globals__
        modules = {n.value.id: n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)
                   and isinstance(scope.get(n.value.id), types.ModuleType) and scope[n.value.id] is not np}
        for module in [m for m in modules if not scope[m].__name__.startswith("minigrad")]:
            self.parts.setdefault(f"import {module}", f"import {module}")
        for module in [m for m in modules if scope[m].__name__.startswith("minigrad")]:     # values.reduced(…): here all stand in one file
            for n in ast.walk(tree):
                if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id == module:
                    self._include(n.attr, getattr(scope[module], n.attr))
            self.parts[name] = self.parts[name].replace(f"{module}.", "")
        for used in sorted({n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} & scope.keys() - modules.keys() - {"np", name}):
            value = scope[used]
            if isinstance(value, types.FunctionType) and value.__module__.endswith("ops.record") and value.__closure__:
                self._public(used, value)
            else:
                self._include(used, value)

    def _public(self, name: str, function: Any) -> None:
        """An op's public function: what it computes on arrays is its value."""
        op = next(c.cell_contents for c in function.__closure__ if type(c.cell_contents).__name__ == "Op")
        if op.value.__name__ != name:
            self.parts[name] = f"{name} = {self.of(op.value)}"
        else:
            self._include(name, op.value)

    @staticmethod
    def _literal(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"np.{k!r}: np.array({v.item()!r}, {v.dtype.str!r})" for k, v in value.items()) + "}"
        return repr(value)

    def text(self) -> str:
        constants = [s for s in self.parts.values() if s and not s.startswith("def ")]
        functions = [s for s in self.parts.values() if s.startswith("def ")]
        return "\n\n\n".join([*(["\n".join(constants)] if constants else []), *functions]) if self.parts else ""


def _without_hints(source: str) -> str:
    """A program is run, not checked: what it borrows goes without type hints, like the rest of it."""
    function: Any = ast.parse(source).body[0]
    lines = source.splitlines()
    a, first, function.returns = function.args, function.body[0], None
    for each in filter(None, (*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg)):
        each.annotation = None
    if lines[first.lineno - 1][:first.col_offset].strip():                  # all in one line
        return ast.unparse(function)
    start = min(n.lineno for n in (first, *getattr(first, "decorator_list", ()))) - 1
    while lines[start - 1].strip()[:1] in ("", "#"):                        # what is said in front of it
        start -= 1
    return "\n".join([f"def {function.name}({ast.unparse(a)}):", *lines[start:]])


def _without_docstring(source: str) -> str:
    lines = source.rstrip().splitlines()
    for n, line in enumerate(lines[1:], 1):
        if line.strip().startswith(('"""', "'''")):
            end = n
            while lines[end].count('"""') < (2 if end == n else 1):
                end += 1
            first = line.strip().strip('"').split("\n")[0]
            return "\n".join(lines[:n] + [f"    # {first}"] * bool(first) + lines[end + 1:])
        if not line.strip().startswith("#") and line.strip():
            break
    return "\n".join(lines)
