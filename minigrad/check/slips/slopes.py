"""Slips in a local derivative, the D of da = dh * D: dropped, squared, inverted; of another function, value or step; a term, a sign."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...formulas import atom
from ...ops import values
from ..edges import Edge, Steps, Way, product
from ..perturb import Run
from ..phrases import renamed
from . import near

if TYPE_CHECKING:
    from . import Slips

Wrong = Callable[[np.ndarray, np.ndarray], Any]
SLOPES: dict[str, list[tuple[str, Wrong]]] = {    # wrong derivatives that are seen in practice, of the result y and the argument x
    "tanh": [
        ("{y}**2", lambda y, x: y**2),
        ("1 - {y}", lambda y, x: 1 - y),
        ("(1 - {y})**2", lambda y, x: (1 - y) ** 2),
        ("{y} * (1 - {y})", lambda y, x: y * (1 - y)),
        ("1 + {y}**2", lambda y, x: 1 + y**2),
        ("{y}", lambda y, x: y),
        ("1 - {x}**2", lambda y, x: 1 - x**2),
        ("1 - tanh({x})", lambda y, x: 1 - np.tanh(x)),
        ("1 - tanh({y})**2", lambda y, x: 1 - np.tanh(y) ** 2),
        ("{x} * (1 - {x})", lambda y, x: x * (1 - x)),
        ("-2 * {y}", lambda y, x: -2 * y),
        ("(1 - {y}**2) / 2", lambda y, x: (1 - y * y) / 2),
    ],
    "sigmoid": [
        ("1 - {y}", lambda y, x: 1 - y),
        ("{y}", lambda y, x: y),
        ("1 - {y}**2", lambda y, x: 1 - y * y),
        ("{y} * (1 + {y})", lambda y, x: y * (1 + y)),
        ("(1 - {y})**2", lambda y, x: (1 - y) ** 2),
        ("{y}**2", lambda y, x: y**2),
        ("{x} * (1 - {x})", lambda y, x: x * (1 - x)),
        ("{y} - 1", lambda y, x: y - 1),
        ("σ({y}) * (1 - σ({y}))", lambda y, x: values.sigmoid(y) * (1 - values.sigmoid(y))),
        ("{y} * (1 - {y}**2)", lambda y, x: y * (1 - y * y)),
        ("1 - {x}**2", lambda y, x: 1 - x * x),
        ("1 - {x}", lambda y, x: 1 - x),
    ],
}


def slope(slips: Slips, steps: Steps, e: Edge) -> None:
    """All of them for one edge."""
    line = _Line(slips, steps, e)
    r, shape = slips.r, slips.r.value(e.source).shape
    if not line.trivial:
        _whole(line)
    if line.function:
        _function(line)
        _one_path(line)

    def left_out(x: Edge, j: int) -> np.ndarray:
        return x.D - product(x.paths[j], x.D) if j < len(x.paths) else x.D

    for j in range(len(e.paths)) if len(e.paths) > 1 else ():
        text = line.text(p for i, p in enumerate(e.paths) if i != j)
        line.put("term missing", partial(left_out, j=j), text,
                 f"the local derivative is {line.D}, not {text}: a term is missing", 0.4)
    for j in range(len(e.paths)):
        _one_term(line, j)
    if not line.function and not line.trivial:
        _inside(line)
    if shape and not (e.leaf and line.trivial):
        def another(x: Edge, key: near.Key) -> np.ndarray | None:
            return near.value(r, x, key, x.D)

        for key, name in near.values(r, e, shape):
            line.put("wrong value", partial(another, key=key), name, f"{name} in place of {line.D}", 1.5)


class _Line:
    """A line and its local derivative in words.

    function  D is the derivative of one function of one argument        trivial  D is 1 or -1
    """

    def __init__(self, slips: Slips, steps: Steps, e: Edge) -> None:
        self.slips, self.steps, self.e, self.r, self.say = slips, steps, e, slips.r, slips.say
        self.node, self.D = self.r.nodes[e.source], self.say.coefficient(e).text
        self.target, self.g = self.say.adjoint(e.target, e.step), self.say.adjoint(e.source)
        self.front = f"{self.target} {'+=' if len(self.r.incoming[e.target]) > 1 else '='} {self.g}"
        self.function = len(e.paths) == 1 and len(self.node.inputs) == 1 and self.node.op.name != "negative"
        self.trivial = all(text == "-" for path in e.paths for _, text, _ in path)

    def text(self, paths: Iterable[Way]) -> str:
        """The derivative with these terms."""
        return self.say.coefficient(replace(self.e, paths=tuple(paths))).text

    def put(self, kind: str, wrong: Callable[[Edge], Any], text: str, says: str, cost: float, scope: str = "all") -> None:
        """``wrong``: function(edge) -> the wrong derivative, an array that broadcasts to the adjoint; ``text`` is how it is written."""
        wrote = self.front if text == "1" else f"{self.front} * ({text})"
        self.slips.add(kind, self.e, lambda run, edge, g: self.r.part(edge, g, D=wrong(edge)), wrote, says, cost, steps=self.steps,
                       scope=scope)


def _whole(line: _Line) -> None:
    """The whole factor."""
    r, D, target = line.r, line.D, line.target
    line.put("no derivative", lambda x: np.ones_like(x.D), "1", f"the factor {D} is missing in {target}", 0, "but")
    line.put("squared", lambda x: x.D * x.D, f"{atom(D)}**2", f"the factor {D} is there twice (squared)", 0.8, "one")
    line.put("inverted", lambda x: np.divide(1, x.D, out=np.zeros_like(x.D), where=x.D != 0), f"1 / {atom(D)}",
             f"divided by {D} instead of multiplied", 1)
    line.put("complement", lambda x: 1 - x.D, f"1 - {atom(D)}", f"1 - {atom(D)} in place of {D}", 0.8)
    for d in (-1, 1):

        def moved(x: Edge, d: int = d) -> np.ndarray:
            other = near.shifted(r, x, d)
            return np.zeros_like(x.D) if other is None else other

        line.put("wrong step", moved, f"{D} at t{d:+d}", f"the factor {D} is taken at t{d:+d}", 0.9)


def _function(line: _Line) -> None:
    """The derivative of another function, or of the argument in place of the result."""
    r, D, name = line.r, line.D, line.node.op.name
    if name not in SLOPES:
        return
    y, x = line.say.name(line.e.source), line.say.name(line.node.inputs[0])
    names = dict(y=atom(y), x=atom(x))

    def of(x: Edge, wrong: Wrong) -> Any:
        return wrong(r.value(x.source), r.value(x.node.inputs[0]))

    for k, (form, wrong) in enumerate(SLOPES[name]):
        text = form.format(**names)
        line.put("wrong derivative", partial(of, wrong=wrong), text,
                 f"the derivative of {name} is {D}, not {text}", 0.5 + 0.01 * k)
    line.put("wrong derivative", lambda x: near.slope_at_argument(r, x), renamed(D, y, names["x"]),
             f"the derivative {D} is computed from {x}, before {name}, instead of {y}", 0.4)


def _one_path(line: _Line) -> None:
    """Where several terms add up to the adjoint, one of them without the factor."""
    r = line.r
    lines = dict.fromkeys(i.line for x in line.steps.values() for i in r.incoming[x.source])
    for one in lines if len(lines) > 1 else ():

        def partly(run: Run, edge: Edge, g: np.ndarray, one: Any = one) -> np.ndarray:
            parts = [run.parts[i] if i in run.parts else r.parts[i] for i in r.incoming[edge.source] if i.line == one]
            own = sum(parts, np.zeros_like(g))
            return r.part(edge, g - own) + own

        via = line.say.line(line.slips.last[one]).partition("= ")[2]
        line.slips.enter("no derivative on one path", line.e, f"on the path {via}", f"{line.target} = … + {via}",
                         f"the factor {line.D} is missing for the part {via} of {line.g}", 0.9, line.steps, partly)


def _one_term(line: _Line, j: int) -> None:
    """In term j of a sum: its sign, its factors."""
    e, path = line.e, line.e.paths[j]
    factors = [i for i, (_, text, _) in enumerate(path) if text != "-"]
    signs, minus = len(factors) < len(path), ((np.array(-1.0, e.D.dtype), "-", None),)

    def put(kind: str, edit: Callable[[Way], Way], cost: float, what: str) -> None:
        """The same derivative with the term's factors edited."""
        def wrong(x: Edge) -> np.ndarray:
            return x.D - product(x.paths[j], x.D) + product(edit(x.paths[j]), x.D)
        text = line.text(edit(p) if i == j else p for i, p in enumerate(e.paths))
        line.put(kind, wrong, text, f"{what}: {line.D}, not {text}", cost)

    if len(e.paths) > 1 and path or signs:
        put("sign", lambda p: p + minus, 0.7, "a sign is wrong")
    if factors and (len(e.paths) > 1 or signs):
        put("factor missing", lambda p: tuple(f for f in p if f[1] == "-"), 0.7, "the factors of a term are missing")
        put("squared", lambda p: p + tuple(f for f in p if f[1] != "-"), 0.7, "the factors of a term are there twice")
    for i in factors if len(factors) > 1 else ():
        put("factor missing", partial(_but, i), 0.3, "a factor is missing")


def _but(i: int, path: Way) -> Way:
    """A product without factor i."""
    return path[:i] + path[i + 1:]


def _inside(line: _Line) -> None:
    """Inside of a derivative that is itself a sum or product: another value, another step, a sign, a term left out."""
    r, say, e, D = line.r, line.say, line.e, line.D
    anchors, sums = r.inside(e)
    for u in anchors:
        name = say.name(u, e.step)
        if name not in D:
            continue
        before = next((x for x in r.edges if r.crossing(x) and x.step == e.step and x.target == u), None)

        def here(x: Edge, u: int = u, before: Edge | None = before) -> int | None:
            if before is None:
                return u if x.step == e.step else r.at(u, x.step)
            at = r.lines[before.line].get(x.step)
            return None if at is None else at.target

        for key, other in near.values(r, e, r.value(u).shape):
            if other != name:

                def swapped(x: Edge, key: near.Key = key, here: Callable[[Edge], int | None] = here) -> np.ndarray:
                    i, v = here(x), near.value(r, x, key, None)
                    return x.D if i is None or v is None else r.derivative(x, {i: v})

                line.put("wrong value", swapped, renamed(D, name, other), f"{other} in place of {name}",
                         1.2 - 0.3 * (other.removesuffix("[t-1]") == name.removesuffix("[t-1]")))
        for d in (-1, 1):

            def moved(x: Edge, here: Callable[[Edge], int | None] = here, d: int = d) -> np.ndarray:
                i = here(x)
                if i is None:
                    return x.D
                j = r.beside(i, d)
                return r.derivative(x, {i: np.zeros_like(r.value(i)) if j is None else r.value(j)})

            line.put("wrong step", moved, f"{D}, with {name} of t{d:+d}",
                     f"{name} is taken one step too {'early' if d < 0 else 'late'}", 1)
    for i in sums:
        for position in (0, 1):
            for factor, kind, how, says in ((-1, "sign", "a sign changed", f"a sign in {D} is wrong"),
                                            (0, "term missing", "a term missing", f"in {D} a term is missing: {{}}")):

                def flipped(x: Edge, i: int = i, position: int = position, factor: int = factor) -> np.ndarray:
                    j = i if x.step == e.step else r.at(i, x.step)
                    return x.D if j is None else r.derivative(x, flip=(j, position, factor))

                line.put(kind, flipped, f"{D} with {how}", says.format(say.name(r.nodes[i].inputs[position], e.step)), 0.8)
