"""A derivation given line by line: each line is a function, called on reference inputs at every step and held against the reverse walk.

Because every line starts from right values, a mistake in one does not reach the next: several mistakes are each found where they are.
Why a line is wrong is explain/'s business.
"""
from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from .edges import Edge
from .perturb import Reverse, Run
from .rows import Report, Row, as_array, cosine, tolerance_of

Names = dict[str, str] | None           # {your name: ours}
Compared = tuple[list[np.ndarray], list[np.ndarray], list[int], str]        # yours, the reference's, steps, what went wrong or ""
SUFFIXES = {"_prev": -1, "_next": 1}


class Values:
    """What a line's arguments and results stand for: values and adjoints of a ``Reverse``, by the author's names and step."""

    def __init__(self, reverse: Reverse, names: Names = None, convention: str = "row", given: dict[str, Any] | None = None) -> None:
        self.r = reverse
        self.given = {name: as_array(value) for name, value in (given or {}).items()}
        self.column = convention == "column"
        r = reverse
        self.known = {(r.phrases.name(n.id), n.step): n.id for n in r.nodes         # the last of that name in the step
                      if n.kind != "constant" and n.step is not None}
        self.carried: dict[tuple[str, int], list[Edge]] = {}        # a state's name, step -> edges that hand it something back in time
        for line in r.crossings():
            for e in r.lines[line].values():
                state = None if e.step is None else r.state(line, e.step)
                if e.step is not None and state is not None:
                    self.carried.setdefault((r.phrases.name(state), e.step - 1), []).append(e)
        self.states = {name for name, _ in self.carried}
        self.said = {name: _argument(name) for name in r.leaves}        # W.1 of a list is an argument W_1, 1.W_h of a layer W_h_1
        aliases = {d + said: d + name for name, said in self.said.items() for d in ("", "d")
                   if said not in r.leaves and [*self.said.values()].count(said) == 1}
        self.names = {**aliases, **(names or {})}

    def node(self, name: str, step: int) -> int | None:
        """The id of a variable at a step, or None."""
        if (name, step) in self.known:
            return self.known[name, step]
        return next((e.target for e in self.carried.get((name, 0), ())), None) if step == 0 else None         # the initial state

    def apart(self, name: str, step: int) -> tuple[str, int]:
        """``h_prev`` -> (h, step - 1); a variable that is really called so wins."""
        for suffix, d in SUFFIXES.items() if (name, step) not in self.known else ():
            if name.endswith(suffix):
                return name.removesuffix(suffix), step + d
        return name, step

    def carry(self, name: str, step: int) -> np.ndarray | None:
        """What a state's adjoint gets from the step after; None if there is no such state."""
        edges, id = self.carried.get((name, step), ()), self.node(name, step)
        if edges:
            return sum((self.r.parts[e] for e in edges), np.zeros_like(self.r.value(edges[0].target)))
        return None if id is None else np.zeros_like(self.r.value(id))

    def argument(self, name: str, step: int) -> Any:
        """The reference value of an argument; KeyError if nothing has that name."""
        r, name = self.r, self.names.get(name, name)
        if name in self.given:
            value = self.given[name]
            return value[step - 1] if value.ndim and len(value) == r.T else value
        if name in ("t", "T"):
            return step if name == "t" else r.T
        if name in r.leaves:
            v = r.value(r.leaves[name])           # a bias serves every column of a batch
            return v[None] if self.column and v.ndim == 1 and any(r.value(i).ndim == 2 for i in self.known.values()) else v
        base, at = self.apart(name, step)
        if (id := self.node(base, at)) is not None:
            return r.value(id)
        if base.startswith("carry_") and (carry := self.carry(base.removeprefix("carry_"), at)) is not None:
            return carry
        if base.startswith("d") and (id := self.node(base[1:], at)) is not None and r.g[id] is not None:
            return r.g[id]
        like = self.node(base, step) if self.node(base, step) is not None else self.node(base.removeprefix("d"), step)
        if at > r.T and like is not None:         # beyond the last step: nothing arrives
            return np.zeros_like(r.value(like))
        raise KeyError(name)

    def pins(self, name: str, step: int) -> tuple[list[int], list[Edge]]:
        """What is taken as given when a line is evaluated: node ids, and edges, whose adjoints its argument ``name`` supplies."""
        name = self.names.get(name, name)
        base, at = self.apart(name, step)
        if base.startswith("carry_") and base.removeprefix("carry_") in self.states:
            return [], list(self.carried.get((base.removeprefix("carry_"), at), ()))
        if base.startswith("d") and name not in self.r.leaves and (id := self.node(base[1:], at)) is not None:
            return [id], []
        return [], []

    def result(self, name: str, step: int) -> Callable[[Run], Any] | None:
        """A function of a Run: what the line ``name`` computes at a step; None if the step has no such line, KeyError if no step has."""
        r, name = self.r, self.names.get(name, name)
        variable = name.removeprefix("carry_" if name.startswith("carry_") else "d")
        if name.startswith("carry_") or variable in r.leaves:
            edges = self.edges(name, step)
            if not edges and (variable not in self.states if name.startswith("carry_") else not self._in_time(variable)):
                raise KeyError(name)
            return None if not edges else lambda run: sum(run.parts.get(e, r.parts[e]) for e in edges)
        id = self.node(*self.apart(variable, step))
        if id is None and not any(n == self.apart(variable, step)[0] for n, _ in self.known):
            raise KeyError(name)
        return None if id is None else lambda run: run.g[id]

    def computes(self, name: str, step: int) -> Callable[[Run], Any]:
        """``result`` at a step that has the line."""
        found = self.result(name, step)
        assert found is not None
        return found

    def edges(self, name: str, step: int) -> list[Edge]:
        """The edges whose parts add up to what a line computes at a step."""
        r, name = self.r, self.names.get(name, name)
        if name.startswith("carry_"):
            return list(self.carried.get((name.removeprefix("carry_"), step - 1), ()))
        if name.removeprefix("d") in r.leaves:
            return [e for e in r.incoming[r.leaves[name.removeprefix("d")]] if e.step == step]
        id = self.node(*self.apart(name.removeprefix("d"), step))
        return [] if id is None else list(r.incoming[id])

    def _in_time(self, leaf: str) -> bool:
        return any(e.step for e in self.r.incoming[self.r.leaves[leaf]])

    def theirs(self, array: Any) -> Any:
        """In the author's convention."""
        return array.T if self.column and np.ndim(array) == 2 else array

    def about(self, name: str) -> str:
        """What there is, for someone who asked for something else."""
        known = sorted({n for n, _ in self.known if n.isidentifier()} | set(self.said.values()))
        every = [*known, *(f"d{n}" for n in known), *(f"carry_{n}" for n in sorted(self.states)), *(f"{n}_prev" for n in known)]
        near = difflib.get_close_matches(name, every)
        carries = f", and carry_… of {', '.join(sorted(self.states))}" if self.states else ""
        return f"{f'did you mean {near[0]!r}? ' if near else ''}there are {', '.join(known)}; their adjoints d…{carries}"


def _argument(name: str) -> str:
    """A parameter's name as the name of a function's argument."""
    front, dot, own = name.partition(".")
    return (f"{own}_{front}" if dot and front.isdigit() else name).replace(".", "_")


def arguments_of(function: Callable[..., Any]) -> list[str]:
    """The names of a function's arguments, without those that have a default."""
    return [p.name for p in inspect.signature(function).parameters.values() if p.default is p.empty]


class _Unusable(Exception):
    """Why a line cannot be compared, in words."""


def evaluate(function: Callable[..., Any], name: str, values: Values) -> Compared:
    """Call a line at every step: (its results, the reference's, steps, what went wrong in words or "")."""
    return _compared(name, values, lambda t, expected: _called(function, t, values, expected),
                     f"the recorded network has nothing that {name!r} could be: ", "returns")


def intermediates(name: str, value: Any, values: Values) -> Compared:
    """An adjoint of every step as you have it: the same four as ``evaluate``."""
    n = np.shape(value)[0] if hasattr(value, "__array__") and np.ndim(value) else len(value) if isinstance(value, (list, tuple)) else None
    if n != values.r.T:
        return [], [], [], f"has {n} steps, the network {values.r.T}" if n is not None else f"is no list of {values.r.T} arrays, one a step"
    return _compared(name, values, lambda t, expected: value[t - 1], "is neither a parameter's gradient nor the adjoint of a variable: ",
                     "has")


def _compared(name: str, values: Values, yours: Callable[[int, tuple[int, ...]], Any], unknown: str, verb: str) -> Compared:
    """Yours, ``yours(t, the shape it should have)``, beside the reference at every step, from the last to the first."""
    mine: list[np.ndarray] = []
    right: list[np.ndarray] = []
    steps: list[int] = []
    reference = values.r.run({})
    try:
        for t in sorted(values.r.steps, reverse=True):
            want = values.result(name, t)
            if want is None or want(reference) is None:
                continue
            expected = np.asarray(want(reference))
            got = yours(t, np.shape(values.theirs(expected)))
            array = values.theirs(as_array(got))
            array = array[0] if values.column and array.shape == (1, *expected.shape) else array
            if array.dtype.kind not in "biufc":
                raise _Unusable(f"{verb} a {type(got).__name__} at t={t}, expected an array of shape {np.shape(values.theirs(expected))}")
            if array.shape != expected.shape:
                raise _Unusable(f"{verb} shape {np.shape(values.theirs(array))} at t={t}, expected {np.shape(values.theirs(expected))}"
                                + (": transposed" if array.shape == expected.shape[::-1] else ""))
            for what, numbers in (verb, array), ("the reference has", expected):
                if not np.all(np.isfinite(numbers)):
                    first = np.argwhere(~np.isfinite(values.theirs(numbers)))[0].tolist()
                    raise _Unusable(f"{what} NaN or infinity at t={t}, first at {first}")
            mine.append(array)
            right.append(expected)
            steps.append(t)
    except KeyError:
        return [], [], [], unknown + values.about(name)
    except _Unusable as error:
        return [], [], [], str(error)
    return mine, right, steps, ""


def _called(function: Callable[..., Any], t: int, values: Values, shape: tuple[int, ...]) -> Any:
    """What a line gives at a step."""
    signature = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    given = {}
    for p in signature:
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            raise _Unusable(f"takes *{p.name}: an argument's name says what it gets; {values.about(p.name)}")
        try:
            given[p.name] = np.array(values.theirs(values.argument(p.name, t)))
        except KeyError:
            raise _Unusable(f"takes {p.name!r}, which is no variable of the step: {values.about(p.name)}; …_prev and …_next are those of "
                            "other steps, everything else comes by given={…}") from None
    before = {name: np.array(v) for name, v in given.items()}
    first = [given[p.name] for p in signature if p.kind is p.POSITIONAL_ONLY]
    try:
        got = function(*first, **{p.name: given[p.name] for p in signature if p.kind is not p.POSITIONAL_ONLY})
    except Exception as error:
        shapes = ", ".join(f"{name} {np.shape(v)}" for name, v in given.items())
        says = "a matrix product does not conform" if "core dimension" in str(error) else error
        raise _Unusable(f"raises {type(error).__name__} at t={t}: {says} (it got {shapes}; the result should have shape {shape})") from None
    for name, v in given.items():
        if not np.array_equal(before[name], v, equal_nan=v.dtype.kind == "f"):
            raise _Unusable(f"changes its argument {name!r}: a line must leave its inputs as they are (write a = a * b for a *= b)")
    return got


def judged(report: Report, name: str, compared: Compared, tolerance: float | None, note: str) -> tuple[list[int], float, float] | None:
    """Enter one line into a report: (the steps where it is wrong, its scale, the bound), or None if it could not be compared."""
    mine, right, steps, trouble = compared
    if not mine:
        report.rows.append(Row(name, False, note=trouble or "no step has this line"))
        return None
    scale = max(np.max(np.abs(g), initial=0.0) for g in right) or 1.0
    bound = tolerance if tolerance is not None else tolerance_of(*mine)
    errors = [float(np.max(np.abs(a - b), initial=0.0)) / scale for a, b in zip(mine, right)]
    wrong = [t for t, e in zip(steps, errors) if e > bound]
    k = int(np.argmax(errors))
    index = tuple(map(int, np.unravel_index(np.argmax(np.abs(mine[k] - right[k])), right[k].shape)))
    at = "every step" if len(wrong) == len(steps) > 1 else "t=" + ", ".join(map(str, wrong))
    report.rows.append(Row(name, not wrong, max(errors), cosine(mine, right), index, mine[k][index].item(), right[k][index].item(),
                           f"{note}{at}" if wrong else ""))
    report.steps[name] = {t: (e, t not in wrong) for t, e in zip(steps, errors)}
    return wrong, scale, bound


def compare_steps(report: Report, derived: dict[str, Any], reverse: Reverse, names: Names, convention: str, tolerance: float | None,
                  given: dict[str, Any] | None) -> None:
    """Lines as functions, and adjoints of every step, held against the reverse walk: rows and steps of ``report``."""
    values = Values(reverse, names, convention, given)
    for name, value in derived.items():
        line = callable(value) and not hasattr(value, "__array__")
        compared = evaluate(value, name, values) if line else intermediates(name, value, values)
        judged(report, name, compared, tolerance, "wrong on reference inputs at " if line else "differs at ")
