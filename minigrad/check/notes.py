"""A file of notes, checked: the engine of ``python -m minigrad check my_notes.py``, and the template of ``check --new``.

The file says a forward pass and what was derived from it. Here it is read, a probe is drawn on which mistakes show, and the gradients
are held against the engine's, which are themselves held against the complex step. The comparison is compare.py's business, the
explanation diagnose.py's.
"""
from __future__ import annotations

import inspect
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import module_from
from ..tensor import Tensor
from .compare import compare
from .gradcheck import gradcheck
from .probe import draw
from .rows import Report

if TYPE_CHECKING:
    from .diagnose import Diagnosis

Arrays = dict[str, np.ndarray]
File = str | os.PathLike[str]
PROBES = 3                                        # seeds on which a derivation must agree


@dataclass
class NotesReport:
    """``ok`` (also its truth value), ``str()``, ``exit_status`` (0 agrees, 1 differs); ``report`` of compare, ``diagnosis`` of diagnose."""
    path: File
    probe: str
    reference: str
    report: Report
    probes: int = PROBES
    diagnosis: Diagnosis | None = None
    remarks: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return self.report.ok and (self.diagnosis is None or self.diagnosis.ok)

    def __bool__(self) -> bool:
        return self.ok

    @property
    def exit_status(self) -> int:
        return 0 if self.ok else 1

    def __str__(self) -> str:
        head = [f"derivation check  {self.path}    {self.probe}", f"reference: {self.reference}"]
        body = str(self.report if self.diagnosis is None else self.diagnosis)
        tail = [f"the same on {self.probes} probes, seeds 0 … {self.probes - 1}"] if self.ok and self.probes > 1 else []
        return "\n".join([*head, body, *tail, *self.remarks])

    __repr__ = __str__


def check_notes(path: File, *, seed: int | None = None) -> NotesReport:
    """Check a file of notes. Returns a report: ``.ok``, ``.exit_status``, ``str()``.

    The file defines

    parameters  dict name -> shape (0.7 randn is drawn), array (taken as it is), or a function of a generator
    forward     the loss as a function of the parameters and the data, with NumPy's and minigrad's functions
    derived     your gradients: a function of the same things, called with arrays, that returns a dict name -> array; and, or,
    lines       dict name -> function, the lines of the derivation, each checked on its own (see ``mg.check.diagnose``)
    data        optional: dict name -> shape (randn is drawn), array, or function of a generator
    names       optional: dict your name -> ours; convention  optional: "row" or "column" (see ``mg.check.compare``)

    seed  of the probe; default: three probes, seeds 0, 1, 2, of which the first that differs is reported.
    A file that cannot be used raises ValueError with what is missing; an exception inside it is reported with its line.

    >>> path = new_notes("my_notes.py")
    >>> check_notes(path).ok
    True
    """
    notes = _load(path)
    seeds = range(PROBES) if seed is None else (seed,)
    for s in seeds:
        result = _on_a_probe(path, notes, s)
        result.probes = len(seeds)
        if not result.ok:
            break
    return result


def new_notes(path: File = "my_notes.py") -> File:
    """Write a commented template, which agrees as it stands; an existing file is left alone (FileExistsError). Returns the path."""
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except FileExistsError:
        raise FileExistsError(f"{path} exists already, and is left as it is; choose another name") from None
    return path


def _load(path: File) -> ModuleType:
    if not os.path.exists(path):
        raise ValueError(f"no file {path}; `python -m minigrad check --new {path}` writes a template")
    if not os.fspath(path).endswith(".py"):
        raise ValueError(f"{path} is no Python file: the name of a file of notes ends in .py")
    notes: ModuleType = _called(path, "the file", module_from, path, "notes")
    for name, kind in (("parameters", dict), ("forward", None)):
        found = getattr(notes, name, None)
        if found is None or not (isinstance(found, dict) if kind else callable(found)):
            raise ValueError(f"{path} defines no {'dict' if kind else 'function'} {name!r}; "
                             "`python -m minigrad check --new` writes a template")
    if not callable(getattr(notes, "derived", None)) and not getattr(notes, "lines", None):
        raise ValueError(f"{path} has nothing to check: it defines neither a function 'derived' nor a dict 'lines'")
    return notes


def _on_a_probe(path: File, notes: ModuleType, seed: int) -> NotesReport:
    rng = np.random.default_rng(seed)
    parameters = {name: _drawn(path, name, what, rng, draw) for name, what in notes.parameters.items()}
    data = {name: _drawn(path, name, what, rng, lambda shape, rng: rng.standard_normal(shape))
            for name, what in getattr(notes, "data", {}).items()}
    forward = _by_name(path, notes.forward, {**parameters, **data})
    names, convention = getattr(notes, "names", None), getattr(notes, "convention", "row")
    gradients = _derived(path, notes, {**parameters, **data}) if callable(getattr(notes, "derived", None)) else {}
    probe = f"{', '.join(f'{n} {v.shape}' for n, v in parameters.items())}; seed {seed}"
    loss, why = _recorded(path, forward, parameters, data)
    if loss is None:                              # plain NumPy that the engine cannot record: the complex step alone decides
        if not gradients or names or convention != "row":
            raise ValueError(f"{path}: forward could not be recorded ({why}); lines, names and convention need that")
        checked = gradcheck(lambda **p: forward(**p, **data), parameters, derived=lambda **p: _derived(path, notes, {**p, **data}))
        return NotesReport(path, probe, f"the complex step of forward, which could not be recorded ({why})", checked)
    confirmed = gradcheck(lambda **p: forward(**p, **data), parameters, entries=30)
    if not confirmed.ok:
        raise ValueError(f"{path}: the gradients of forward itself are not right, so they cannot be a reference:\n{confirmed}")
    best = f"the engine's gradients, confirmed by the complex step (to {max(r.error for r in confirmed.rows):.0e})"
    report = compare(gradients, loss, names=names, convention=convention) if gradients else compare({}, {})
    result = NotesReport(path, probe, best, report, remarks=[r for r in confirmed.remarks if r.startswith("COULD NOT")])
    lines = getattr(notes, "lines", None)
    if lines or not report.ok:
        from .diagnose import diagnose
        try:
            result.diagnosis = diagnose({**gradients, **(lines or {})}, loss, given=data, names=names, convention=convention)
        except (ValueError, TypeError, NotImplementedError) as error:
            if lines:
                raise
            result.remarks.append(f"no explanation: {error}")
    return result


def _drawn(path: File, name: str, what: Any, rng: np.random.Generator,
           draw: Callable[[Any, np.random.Generator], np.ndarray]) -> np.ndarray:
    if callable(what):
        what = np.asarray(_called(path, name, what, rng))
    elif isinstance(what, (int, tuple)) or isinstance(what, list) and all(isinstance(n, int) for n in what):
        return draw(what, rng)
    array = np.array(what.data if isinstance(what, Tensor) else what)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{path}: {name!r} is a {type(what).__name__} {str(what)[:40]!r}, expected a shape, an array or a function of a "
                         "generator")
    return array


def _by_name(path: File, function: Callable[..., Any], values: Arrays) -> Callable[..., Any]:
    """The function, called with those of the named values that it takes."""
    signature = inspect.signature(function).parameters.values()
    everything = any(p.kind is p.VAR_KEYWORD for p in signature)
    wanted = [p.name for p in signature if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    missing = [p.name for p in signature if p.name in wanted and p.name not in values and p.default is p.empty]
    if missing:
        raise ValueError(f"{path}: {function.__name__} takes {missing[0]!r}, which is neither in parameters nor in data "
                         f"(there are: {', '.join(values)})")
    return lambda **given: function(**{name: v for name, v in given.items() if everything or name in wanted})


def _derived(path: File, notes: ModuleType, values: Arrays) -> dict[str, Any]:
    given = {name: v.copy() for name, v in values.items()}
    result = _called(path, "derived", _by_name(path, notes.derived, values), **given)
    changed = [name for name in values if not np.array_equal(values[name], given[name])]
    if changed:
        raise ValueError(f"{path}: derived changed its argument {changed[0]!r} in place; compute with a copy")
    if not isinstance(result, dict):
        raise ValueError(f"{path}: derived returned a {type(result).__name__}, expected a dict name -> array")
    return result


def _recorded(path: File, forward: Callable[..., Any], parameters: Arrays, data: Arrays) -> tuple[Tensor | None, str]:
    """(loss, ""), or (None, why not): a forward pass of plain NumPy may do what a graph cannot record."""
    leaves = {name: Tensor(v, requires_grad=v.dtype.kind == "f", name=name) for name, v in parameters.items()}
    try:
        loss = _called(path, "forward", forward, **leaves, **data)
    except ValueError as error:
        if not isinstance(error.__cause__, TypeError):
            raise
        _called(path, "forward", forward, **parameters, **data)        # assignment into an array, float() of a Tensor, no rule
        return None, str(error.__cause__).splitlines()[0]
    if not isinstance(loss, Tensor) or loss.size != 1:
        raise ValueError(f"{path}: forward returned a {type(loss).__name__}{f' of shape {loss.shape}' if hasattr(loss, 'shape') else ''}, "
                         "expected the loss, one number")
    if not loss.requires_grad:
        raise ValueError(f"{path}: the loss does not depend on the parameters; is something cut by .data or float()?")
    return loss.reshape(()), ""


def _called(path: File, what: str, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """The function's result; an exception of the user's code with the line where it happened."""
    try:
        return function(*arguments, **named)
    except Exception as error:
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if os.path.abspath(f.filename) == os.path.abspath(path)]
        line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else lines[-1] if lines else None
        where = f", line {line}" if line else ""
        raise ValueError(f"{path}{where}: {what} raised {type(error).__name__}: {error}") from error


TEMPLATE = '''"""My derivation of back-propagation through time.      Check it:  python -m minigrad check my_notes.py

Replace the network and the derivation by yours. As it stands, this is an Elman network with softmax, derived by hand, and it agrees.
"""
import numpy as np
import minigrad as mg

# Sizes: all different, and none 1 or 2. Equal sizes hide transposes, one row hides sums over the batch, one step hides most things.
B, T, D, H, C = 3, 4, 5, 6, 7

# What you differentiate by, with shapes; values are drawn (0.7 randn). Not zero: a bias or an initial state of 0 hides mistakes.
parameters = {"W_x": (D, H), "W_h": (H, H), "b_h": (H,), "W_y": (H, C), "b_y": (C,), "h_0": (B, H)}

# What you do not differentiate by: shapes (randn is drawn), arrays, or functions of a random generator.
data = {"xs": (T, B, D), "ys": lambda rng: rng.integers(0, C, (T, B))}


# The forward pass, with np. and mg. functions; it returns the loss. Its arguments are called as above.
def forward(W_x, W_h, b_h, W_y, b_y, h_0, xs, ys):
    h, loss = h_0, 0.0
    for x, y in mg.steps(xs, ys):                   # a plain loop that knows the time step
        a = x @ W_x + h @ W_h + b_h
        h = np.tanh(a)
        o = h @ W_y + b_y
        loss = loss + mg.softmax_cross_entropy(o, y.data)         # the mean over the rows
    return loss


# Your derivation: plain NumPy, arrays in, a dict of gradients out. Leave out what you have not derived, and it is listed.
def derived(W_x, W_h, b_h, W_y, b_y, h_0, xs, ys):
    h = [h_0]
    for t in range(T):
        h.append(np.tanh(xs[t] @ W_x + h[-1] @ W_h + b_h))
    dW_x, dW_h, db_h, dW_y, db_y = (np.zeros_like(p) for p in (W_x, W_h, b_h, W_y, b_y))
    carry = np.zeros_like(h_0)                      # what step t+1 hands back to h_t
    for t in range(T, 0, -1):
        e = np.exp(h[t] @ W_y + b_y)
        do = (e / e.sum(1, keepdims=True) - np.eye(C)[ys[t - 1]]) / B
        dh = do @ W_y.T + carry
        da = dh * (1 - h[t] ** 2)
        dW_y += h[t].T @ do
        db_y += do.sum(0)
        dW_x += xs[t - 1].T @ da
        dW_h += h[t - 1].T @ da
        db_h += da.sum(0)
        carry = da @ W_h.T
    return {"W_x": dW_x, "W_h": dW_h, "b_h": db_h, "W_y": dW_y, "b_y": db_y, "h_0": carry}


# Better still, say the lines. Each is called at every step with right values, by the names of its arguments (h: at this step,
# h_prev: at the one before, dh: its adjoint, carry_h: what arrives from step t+1), so one mistake does not hide the next.
# lines = {
#     "do": lambda o, y: ...,
#     "dh": lambda do, W_y, carry_h: do @ W_y.T + carry_h,
#     "da": lambda dh, h: dh * (1 - h ** 2),
#     "dW_h": lambda h_prev, da: h_prev.T @ da,
#     "carry_h": lambda da, W_h: da @ W_h.T,
# }

# If your names or storage differ:
# names = {"W_hh": "W_h"}             yours -> forward's
# convention = "column"               you write W x and store the transposes
'''
