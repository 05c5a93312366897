"""Every generic way to get one line of a derivation wrong: the perturbations that ``diagnose`` tries and ``exercise`` puts in.

Nothing here knows a cell. A slip says which line of the reverse walk it is in, at which steps, what was written instead, and computes
the gradients that follow from it.
"""

import itertools
import re
from dataclasses import dataclass, field, replace

import numpy as np

from ..ops import softmax, values
from .phrases import atom
from .products import product

SLOPES = {  # wrong derivatives of functions that are seen in practice, of the result y and the argument x
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


@dataclass
class Slip:
    """One way to be wrong.

    kind    a short name of the mistake: "missing", "no derivative", "not transposed", …
    edge    the line it is in (its last step's edge); None for mistakes of the whole
    where   in words: "", "at t=2", "in dW_h only"
    wrote   the line as it would be written with the slip
    says    the slip in a sentence
    cost    how far-fetched: of several that fit equally well, the smallest comes first
    group   slips in different parameters' lines that are the same mistake share it
    """

    kind: str
    edge: object
    where: str
    wrote: str
    says: str
    cost: float
    vector: object = None
    changes: dict = field(default_factory=dict)
    compute: object = None
    group: object = None
    direction: bool = False  # u = right + c * vector, for one unknown c
    number: int | None = None  # its place in the list, the same for every probe of one network
    factor: object = 0.0  # the c that was found
    parts: list = field(default_factory=list)  # of a mistake in several places: (slip, the pieces of the gradients it explains)

    def gradients(self, reverse):
        if self.vector is None:
            self.vector = self.compute() if self.compute else reverse.run(self.changes).flat()
        return self.vector


class Slips:
    """All slips of one ``Reverse``: ``list(Slips(reverse))``."""

    def __init__(self, reverse):
        self.r, self.say, self.found = reverse, reverse.phrases, []
        r = reverse
        self.last = {line: steps[max(steps, key=lambda s: s or 0)] for line, steps in r.lines.items()}
        self.shapes = {}
        for line, steps in r.lines.items():
            e = self.last[line]
            if self._passes(e):
                continue
            self._one_edge(line, steps, e)
            if e.kind == "scale":
                self._derivative(line, steps, e)
            elif e.kind in ("left", "right"):
                product(self, line, steps, e)
            elif e.node.op.name in ("softmax_cross_entropy", "binary_cross_entropy", "squared_error"):
                self._loss(line, steps, e)
            self._adjoint(line, steps, e)
        self._nodes()
        self._time()
        self._leaves()
        for number, slip in enumerate(self.found):
            slip.number = number

    def __iter__(self):
        return iter(self.found)

    def _passes(self, e):
        """A mere name for the same adjoint: the sum's adjoint that a matrix product in it receives."""
        r = self.r
        return (
            e.kind == "scale"
            and not e.leaf
            and len(e.paths) == 1
            and not e.paths[0]
            and not r.crossing(e)
            and r.nodes[e.target].value.shape == r.nodes[e.source].value.shape
            and len(r.incoming[e.target]) == 1
            and r.nodes[e.target].op is not None
            and r.nodes[e.target].op.name in ("matmul", "getitem")
        )

    # ---- entering a slip ------------------------------------------------------------------------------------------------------------

    def add(self, kind, e, fn, wrote, says, cost, *, steps, scope="all", blocks=True, group=None):
        """A slip that makes ``fn(run, edge, g)`` of an edge's adjoint: at every step, at one, at all but one; and per block of columns."""
        r = self.r
        times = sorted(t for t in steps if t is not None)
        scopes = [("", list(steps.values()), 0)]
        if scope != "all" and len(times) > 1:
            scopes += [(f"at t={t}", [steps[t]], 1) for t in times]
            if scope == "but":
                scopes += [(f"except at t={t}", [steps[s] for s in times if s != t], 1.5) for t in times]
            if scope == "one" and r.crossing(e) and 1 in steps:
                scopes.append(("except at t=1", [steps[t] for t in times if t != 1], 0.5))
        for where, edges, more in scopes:
            self.found.append(
                Slip(
                    kind, e, where, wrote, says, cost + more, changes={x: fn for x in edges}, group=(kind, where, group) if e.leaf else None
                )
            )
        if blocks:
            for block in r.blocks_of(e):
                name = self.block_name(e.source, block)
                self.found.append(
                    Slip(
                        kind,
                        e,
                        f"for {name}",
                        wrote,
                        says,
                        cost + 0.5,
                        changes={x: _only(fn, block) for x in steps.values()},
                        group=(kind, name, group) if e.leaf else None,
                    )
                )

    def enter(self, kind, e, where, wrote, says, cost, steps=None, change=None, direction=None):
        """One slip: a change of the edge at these steps, or a direction along which the gradients may be off."""
        if direction is None:
            self.found.append(Slip(kind, e, where, wrote, says, cost, changes=dict.fromkeys(steps.values(), change)))
        else:
            self.found.append(Slip(kind, e, where, wrote, says, cost, direction=True, compute=direction))

    def block_name(self, id, block):
        """What the author calls these columns of a packed value."""
        r, seen = self.r, set()
        stack = [(id, block)]
        while stack:
            i, b = stack.pop(0)
            if (i, b.start) in seen:
                continue
            seen.add((i, b.start))
            node = r.nodes[i]
            if node.name and b.start == 0 and b.stop == node.value.shape[-1] and i != id:
                return node.name
            for j, _ in r.users[i]:
                user = r.nodes[j]
                if user.op.name == "getitem" and isinstance(user.attributes["index"][-1], slice):
                    start, stop, _ = user.attributes["index"][-1].indices(node.value.shape[-1])
                    if start <= b.start and b.stop <= stop:
                        stack.append((j, slice(b.start - start, b.stop - start)))
                elif user.value.shape == node.value.shape and user.op.call is None and user.op.name != "matmul":
                    stack.append((j, b))
        return f"columns {block.start}:{block.stop}"

    # ---- one edge -----------------------------------------------------------------------------------------------------------------

    def _one_edge(self, line, steps, e):
        r, right = self.r, self.say.line(e)
        left, _, rule = right.partition("= ")
        target = self.say.adjoint(e.target, e.step)
        several = len(r.incoming[e.target]) > 1
        if e.source == r.root and len(steps) == 1:
            return
        zero = "" if not several else f"the term {rule} is missing in {target}"
        self.add(
            "missing",
            e,
            _nothing,
            f"{left}= 0" if not several else f"{target} without {rule}",
            zero or f"{target} = {rule} is missing",
            0.2,
            steps=steps,
            scope="but",
        )
        self.add("twice", e, _times(2), f"{left}= 2 * ({rule})", f"{rule} is counted twice in {target}", 1, steps=steps, scope="one")
        self.add("sign", e, _times(-1), f"{left}= -({rule})", f"the sign of {rule} is wrong", 0.7, steps=steps, scope="one")
        if e.leaf and len(steps) > 1:
            for t in (min(steps), max(steps)):
                loop = "from the last step to the first" if t == min(steps) else "from the first step to the last"
                self.found.append(
                    Slip(
                        "overwritten",
                        e,
                        f"only t={t} is left",
                        f"{target} = {rule}",
                        f"{target} is overwritten where it should be added to (= for +=, in a loop {loop})",
                        0.6,
                        changes={steps[s]: _nothing for s in steps if s != t},
                        group=("overwritten", t),
                    )
                )
        if e.leaf and r.nodes[e.target].value.shape != r.nodes[e.source].value.shape and e.kind == "scale":
            rows = r.nodes[e.source].value.size // max(r.nodes[e.target].value.size, 1)
            self.add(
                "mean",
                e,
                _times(1 / rows),
                f"{left}= mean over the batch of {rule.replace('sum over the batch of ', '')}",
                f"the rows of {target} are averaged where they add up",
                0.6,
                steps=steps,
                group="bias",
            )

            def first_row(run, edge, g):
                x = run.reverse.nodes[edge.target].value
                return (g * edge.D)[(0,) * (g.ndim - x.ndim)].reshape(x.shape)

            self.add(
                "one row",
                e,
                first_row,
                f"{left}= the first row",
                f"only the first row of the batch counts in {target}",
                1,
                steps=steps,
                group="bias",
                blocks=False,
            )

    def _nodes(self):
        """The whole right-hand side of a line: everything that adds up to an adjoint, or all that is carried to it."""
        r, say = self.r, self.say
        arriving = {}  # key of a node -> lines that arrive there
        for line, steps in r.lines.items():
            for e in steps.values():
                if e.leaf and not r.crossing(e) or not e.step:
                    continue
                at = r.state(line, e.step) if r.crossing(e) else e.target
                if at is not None and r.nodes[at].step:
                    arriving.setdefault(r.keys[at], {}).setdefault(line, at)
        for lines in arriving.values():
            target = say.adjoint(next(iter(lines.values())))
            carried = [line for line in lines if any(r.crossing(e) for e in r.lines[line].values())]
            for which, some in (("", list(lines)), ("carry", carried)):
                if len(some) < 2 and not (some and which and len(lines) > 1):
                    continue
                text = " + ".join(say.line(self.last[line]).partition("= ")[2] for line in some)
                for first in (True, False):
                    edges = [e for line in some for t, e in r.lines[line].items() if not (r.crossing(e) and t == 1) or first and which]
                    where = "" if first else "and not in the initial state's"
                    if not first and not carried:
                        continue
                    for c, kind, says in (
                        (0, "missing", f"all of {text} is missing in {target}"),
                        (2, "twice", f"all of {text} is counted twice in {target}"),
                        (-1, "sign", f"the sign of all of {text} is wrong"),
                    ):
                        if c == 0 and not which:
                            continue
                        self.found.append(
                            Slip(
                                kind,
                                self.last[some[0]],
                                where,
                                f"{target} = {c} * ({text})" if c else f"{target} without {text}",
                                says,
                                0.75 + 0.1 * (not first),
                                changes={e: _nothing if c == 0 else _times(c) for e in edges},
                            )
                        )
            terms = []  # of what arrives, some terms are missing
            for line in lines:
                e = self.last[line]
                blocks = r.blocks_of(e) if e.kind == "left" else ()
                terms += [(line, b) for b in blocks] or [(line, None)]
            if not 3 <= len(terms) <= 7:
                continue
            for n in range(2, len(terms)):
                for some in itertools.combinations(terms, n):
                    changes = {}
                    for line in {line for line, _ in some}:
                        blocks = [b for other, b in some if other == line]
                        fn = _nothing if blocks == [None] or len(blocks) == len(r.blocks_of(self.last[line])) else _without(blocks)
                        changes.update({e: fn for e in r.lines[line].values()})
                    names = " and ".join(
                        say.line(self.last[line]).partition("= ")[2] + (f" for {self.block_name(self.last[line].source, b)}" if b else "")
                        for line, b in some
                    )
                    self.found.append(
                        Slip(
                            "missing",
                            self.last[some[0][0]],
                            "",
                            f"{target} without {names}",
                            f"the terms {names} are missing in {target}",
                            0.8 + 0.1 * n,
                            changes=changes,
                        )
                    )

    def _derivative(self, line, steps, e):
        """The local derivative of a sum, product or function: dropped, squared, inverted, of the wrong value, of the wrong step."""
        r, say = self.r, self.say
        node, shape = r.nodes[e.source], r.nodes[e.source].value.shape
        target, g = say.adjoint(e.target, e.step), say.adjoint(e.source)
        D = say.coefficient(e).text
        sign = "+=" if len(r.incoming[e.target]) > 1 else "="
        function = len(e.paths) == 1 and len(node.inputs) == 1 and node.op.name not in ("negative",)
        trivial = all(len(f) == 0 or all(t == "-" for _, t, _ in f) for f in e.paths)

        def wrote(text):
            return f"{target} {sign} {g}" if text == "1" else f"{target} {sign} {g} * ({text})"

        def put(kind, value, text, says, cost, scope="all"):
            """value: function(edge) -> the wrong derivative, an array that broadcasts to the adjoint."""
            self.add(
                kind, e, lambda run, edge, g: run.reverse.part(edge, g, D=value(edge)), wrote(text), says, cost, steps=steps, scope=scope
            )

        if not trivial:
            put("no derivative", lambda x: np.ones_like(x.D), "1", f"the factor {D} is missing in {target}", 0, scope="but")
            put("squared", lambda x: x.D * x.D, f"({D})**2", f"the factor {D} is there twice (squared)", 0.8, scope="one")
            put(
                "inverted",
                lambda x: np.divide(1, x.D, out=np.zeros_like(x.D), where=x.D != 0),
                f"1 / ({D})",
                f"divided by {D} instead of multiplied",
                1,
            )
            put("complement", lambda x: 1 - x.D, f"1 - ({D})", f"1 - ({D}) in place of {D}", 0.8)
            for d in (-1, 1):

                def shifted(x, d=d):
                    other = self._shifted(x, d)
                    return np.zeros_like(x.D) if other is None else other

                put("wrong step", shifted, f"{D} at t{d:+d}", f"the factor {D} is taken at t{d:+d}", 0.9)
        if function:
            x_id = node.inputs[0]
            names = dict(y=atom(say.name(e.source)), x=atom(say.name(x_id)))
            for k, (text, slope) in enumerate(SLOPES.get(node.op.name, ())):
                put(
                    "wrong derivative",
                    lambda x, slope=slope: slope(r.value(x.source), r.value(x.node.inputs[0])),
                    text.format(**names),
                    f"the derivative of {node.op.name} is {D}, not {text.format(**names)}",
                    0.5 + 0.01 * k,
                )
            if node.op.name in SLOPES:
                put(
                    "wrong derivative",
                    lambda x: self._slope_at_argument(x),
                    f"{D} with {names['x']} for {names['y']}",
                    f"the derivative {D} is computed from {names['x']}, before {node.op.name}, instead of {names['y']}",
                    0.4,
                )
            lines = {i.line for x in steps.values() for i in r.incoming[x.source]}
            if len(lines) > 1:
                for one in lines:

                    def partly(run, edge, g, one=one):
                        parts = [run.parts.get(i, r.parts.get(i)) for i in r.incoming[edge.source] if i.line == one]
                        own = sum(parts) if parts else np.zeros_like(g)
                        return run.reverse.part(edge, g - own) + own

                    via = say.line(self.last[one]).partition("= ")[2]
                    self.found.append(
                        Slip(
                            "no derivative on one path",
                            e,
                            f"on the path {via}",
                            f"{target} = … + {via}",
                            f"the factor {D} is missing for the part {via} of {g}",
                            0.9,
                            changes={x: partly for x in steps.values()},
                        )
                    )
        if len(e.paths) > 1:
            for j in range(len(e.paths)):
                rest = [p for i, p in enumerate(e.paths) if i != j]
                text = say.coefficient(_with(e, rest)).text
                put(
                    "term missing",
                    lambda x, j=j: x.D - _product(x.paths[j], x.D) if j < len(x.paths) else x.D,
                    text,
                    f"the local derivative is {D}, not {text}: a term is missing",
                    0.4,
                )
        for j, path in enumerate(e.paths):  # in one term of a sum: its sign, its factors
            factors = [i for i, (_, text, _) in enumerate(path) if text != "-"]
            signs = tuple(f for f in path if f[1] == "-")
            minus = ((np.array(-1.0, e.D.dtype), "-", None),)

            def term(kind, edit, cost, what, j=j):
                """The same derivative with term j's factors edited."""

                def D_of(x):
                    return x.D - _product(x.paths[j], x.D) + _product(edit(x.paths[j]), x.D)

                text = say.coefficient(_with(e, [edit(p) if i == j else p for i, p in enumerate(e.paths)])).text
                put(kind, D_of, text, f"{what}: {D}, not {text}", cost)

            if len(e.paths) > 1 and path or signs:
                term("sign", lambda p, minus=minus: p + minus, 0.7, "a sign is wrong")
            if factors and (len(e.paths) > 1 or signs):
                term("factor missing", lambda p: tuple(f for f in p if f[1] == "-"), 0.7, "the factors of a term are missing")
                term("squared", lambda p: p + tuple(f for f in p if f[1] != "-"), 0.7, "the factors of a term are there twice")
            if len(factors) > 1:
                for i in factors:
                    term("factor missing", lambda p, i=i: p[:i] + p[i + 1:], 0.3, "a factor is missing")
        if not function and not trivial:
            self._inside(e, put, D)
        if e.leaf and trivial:
            return
        for key, name in self._values(e, shape):
            put("wrong value", lambda x, key=key: self._value(x, key, x.D), name, f"{name} in place of {D}", 1.5)

    def _inside(self, e, put, D):
        """A slip inside of a local derivative that is itself a sum or product: another value, another step, a sign, a term left out."""
        r, say = self.r, self.say
        anchors, sums = r.inside(e)
        for u in anchors:
            name = say.name(u, e.step)
            if name not in D:
                continue
            before = [x for x in r.edges if r.crossing(x) and x.step == e.step and x.target == u]

            def here(x, u=u, before=before):
                if before:
                    at = r.lines[before[0].line].get(x.step)
                    return None if at is None else at.target
                return u if x.step == e.step else r.at(u, x.step)

            for key, other in self._values(e, r.value(u).shape):
                if other == name:
                    continue

                def swapped(x, key=key, here=here):
                    i, v = here(x), self._value(x, key, None)
                    return x.D if i is None or v is None else r.derivative(x, {i: v})

                put(
                    "wrong value",
                    swapped,
                    _replaced(D, name, other),
                    f"{other} in place of {name}",
                    1.2 - 0.3 * (other.removesuffix("[t-1]") == name.removesuffix("[t-1]")),
                )
            for d in (-1, 1):

                def moved(x, here=here, d=d):
                    i = here(x)
                    if i is None:
                        return x.D
                    j = r.previous(x, i) if d < 0 and r.nodes[i].step == x.step else r.at(i, (r.nodes[i].step or 0) + d)
                    return r.derivative(
                        x, {i: np.zeros_like(r.value(i)) if j is None or r.value(j).shape != r.value(i).shape else r.value(j)}
                    )

                put("wrong step", moved, f"{D}, with {name} of t{d:+d}", f"{name} is taken one step too {'early' if d < 0 else 'late'}", 1)
        for i in sums:
            for position in (0, 1):
                for factor, kind, text in ((-1, "sign", "a sign in {} is wrong"), (0, "term missing", "in {} a term is missing: {}")):

                    def flipped(x, i=i, position=position, factor=factor):
                        j = i if x.step == e.step else r.at(i, x.step)
                        return x.D if j is None else r.derivative(x, flip=(j, position, factor))

                    put(
                        kind,
                        flipped,
                        f"{D} with {'a sign changed' if factor else 'a term missing'}",
                        text.format(D, say.name(r.nodes[i].inputs[position], e.step)),
                        0.8,
                    )

    def _adjoint(self, line, steps, e):
        """The wrong adjoint goes into a line: before the activation, of another value, of another step."""
        r, say = self.r, self.say
        source = r.nodes[e.source]
        if not source.step or e.kind == "op":
            return
        target, old = say.adjoint(e.target, e.step), say.adjoint(e.source)
        shape, seen = source.value.shape, {old}
        rule = say.line(e)
        for node in r.nodes:
            if node.step != e.step or node.id == e.source or node.value.shape != shape or r.g[node.id] is None or node.op is None:
                continue
            name = say.adjoint(node.id)
            if name in seen or (not e.leaf and node.id < e.source):
                continue
            seen.add(name)

            def other(run, edge, id=node.id):
                i = id if edge.step == e.step else r.at(id, edge.step)
                return run.g[edge.source] if i is None or run.g[i] is None else run.g[i]

            near = node.id > e.source and self._is_above(node.id, e.source)
            self.add(
                "wrong adjoint",
                e,
                _of_adjoint(other),
                rule.replace(old, name),
                f"{target} is computed from {name} instead of {old}",
                0.5 if near else 1.3,
                steps=steps,
                group=(old, name),
            )
        for block in r.blocks_of(e):
            wide, part = shape[:-1] + (block.stop - block.start,), self.block_name(e.source, block)
            for node in r.nodes:
                if (
                    node.step != e.step
                    or r.g[node.id] is None
                    or node.op is None
                    or not e.leaf
                    and node.id < e.source
                    or node.id == e.source
                ):
                    continue
                cuts = r.blocks.get(node.id, ())
                ends = (0, *cuts, node.value.shape[-1] if node.value.ndim else 0)
                for inner in (slice(p, q) for p, q in zip(ends, ends[1:])):
                    if node.value.shape[:-1] + (inner.stop - inner.start,) != wide or cuts and self.block_name(node.id, inner) != part:
                        continue
                    name = say.adjoint(node.id)

                    def mixed(run, edge, g, id=node.id, block=block, inner=inner):
                        i = id if edge.step == e.step else r.at(id, edge.step)
                        g = np.array(g)
                        if i is not None and run.g[i] is not None:
                            g[..., block] = run.g[i][..., inner]
                        return r.part(edge, g)

                    self.found.append(
                        Slip(
                            "wrong adjoint",
                            e,
                            f"for {part}",
                            rule.replace(old, name),
                            f"{target} for {part} is computed from {name}",
                            0.6 if name == f"d{part}" else 1.4,
                            changes={x: mixed for x in steps.values()},
                            group=("wrong adjoint", part, name) if e.leaf else None,
                        )
                    )
        for d in (-1, 1) if e.leaf else (1,):

            def beside(run, edge, g, d=d):
                if edge.step is None:
                    return r.part(edge, g)
                i = r.at(edge.source, edge.step + d)
                return _nothing(run, edge, g) if i is None or run.g[i] is None else r.part(edge, run.g[i])

            self.add(
                "wrong step of the adjoint",
                e,
                beside,
                f"{rule}, with {old} of t{d:+d}",
                f"{old} of t{d:+d} goes into {target}",
                1,
                steps=steps,
                blocks=False,
                group=d,
            )

    def _loss(self, line, steps, e):
        """Softmax with cross-entropy, σ with binary cross-entropy, squared error: other people's do."""
        r, say = self.r, self.say
        target, z = say.adjoint(e.target, e.step), say.name(e.target)

        def put(kind, fn, wrote, says, cost, scope="one"):
            def part(run, edge, g):
                x, t = (r.value(i) for i in edge.node.inputs[:2])
                reduction, rank = edge.node.attributes["reduction"], edge.node.attributes["rank"]
                soft = edge.node.op.name == "softmax_cross_entropy"
                w = values.weight(g, x, reduction, rank, *([None] if soft else []), **({"extra": 1} if soft else {}))
                return fn(x, np.asarray(t), edge) * w

            self.found += [Slip(kind, e, "", f"{target} = {wrote}", says, cost, changes={x: part for x in steps.values()})]
            if len(steps) > 1 and scope == "one":
                self.found += [Slip(kind, e, f"at t={t}", f"{target} = {wrote}", says, cost + 1, changes={steps[t]: part}) for t in steps]

        def shifted(d, border):
            def targets(t, edge):
                if edge.step is not None:  # one loss per step
                    times = sorted(steps)
                    k = times.index(edge.step) + d
                    k = k % len(times) if border == "wrap" else min(max(k, 0), len(times) - 1)
                    return np.asarray(r.value(steps[times[k]].node.inputs[1]))
                return np.roll(t, -d, 0) if border == "wrap" else t[np.clip(np.arange(len(t)) + d, 0, len(t) - 1)]

            return targets

        if e.node.op.name == "softmax_cross_entropy":

            def one_hot(x, t):
                return values.one_hot(t, x) if values.is_classes(x, t) else t

            p, y = f"softmax({z})", "y"
            forms = [
                ("no target", lambda p, y: p, f"{p}", "the - y is missing"),
                ("diagonal softmax", lambda p, y: -y * (1 - p), f"-{y} * (1 - {p})", "only the diagonal of the softmax Jacobian is used"),
                ("no softmax", lambda p, y: -y / p, f"-{y} / {p}", "the derivative stops at ∂L/∂ŷ = -y/ŷ: the softmax Jacobian is missing"),
                (
                    "softmax twice",
                    lambda p, y: p * ((p - y) - np.sum(p * (p - y), -1, keepdims=True)),
                    f"J_softmax ({p} - {y})",
                    "the softmax Jacobian is applied twice: ŷ - y contains it already",
                ),
                (
                    "diagonal softmax",
                    lambda p, y: (p - y) * p * (1 - p),
                    f"({p} - {y}) * {p} * (1 - {p})",
                    "the slope of the softmax multiplied once more: ŷ - y contains it already",
                ),
                (
                    "diagonal softmax",
                    lambda p, y: p * (1 - p),
                    f"{p} * (1 - {p})",
                    "the diagonal of the softmax Jacobian in place of ŷ - y",
                ),
                ("only the target", lambda p, y: y * (p - y), f"{y} * ({p} - {y})", "only the entry of the right class is kept"),
                ("sign", lambda p, y: y - p, f"{y} - {p}", "the sign of the loss's derivative is wrong: ŷ - y, not y - ŷ"),
                ("no target", lambda p, y: -y, f"-{y}", "the ŷ is missing in ŷ - y"),
                ("sum", lambda p, y: p + y, f"{p} + {y}", "ŷ + y in place of ŷ - y"),
                ("loss value", lambda p, y: -y * np.log(p), f"-{y} * log({p})", "the loss itself in place of its derivative"),
                ("squared", lambda p, y: 2 * (p - y), f"2 * ({p} - {y})", "a factor 2 as if the loss were a squared error"),
            ]
            for k, (kind, fn, wrote, says) in enumerate(forms):
                put(kind, lambda x, t, edge, fn=fn: fn(softmax(x), one_hot(x, t)), wrote, says, 0.3 + 0.01 * k)
            put("logits", lambda x, t, edge: x - one_hot(x, t), f"{z} - {y}", f"{z} - y: the softmax is missing in ŷ", 0.5)
            for d in (-1, 1):
                put(
                    "wrong class",
                    lambda x, t, edge, d=d: softmax(x) - np.roll(one_hot(x, t), d, -1),
                    f"{p} - {y}, y one class off",
                    f"classes are off by one ({'too high' if d > 0 else 'too low'})",
                    0.5,
                )
                for border in ("clamp", "wrap"):
                    put(
                        "targets of another step",
                        lambda x, t, edge, d=d, b=border: softmax(x) - one_hot(x, shifted(d, b)(t, edge)),
                        f"{p} - {y}[t{d:+d}]",
                        f"the targets of step t{d:+d} are used",
                        0.5 + 0.05 * (border == "wrap"),
                        scope="all",
                    )
        elif e.node.op.name == "binary_cross_entropy":
            s = values.sigmoid
            for k, (kind, fn, wrote, says) in enumerate(
                [
                    (
                        "slope kept",
                        lambda z, t: (s(z) - t) * s(z) * (1 - s(z)),
                        "(ŷ - y) * ŷ * (1 - ŷ)",
                        "σ′ is kept although it has cancelled",
                    ),
                    (
                        "no derivative",
                        lambda z, t: (s(z) - t) / (s(z) * (1 - s(z))),
                        "(ŷ - y) / (ŷ * (1 - ŷ))",
                        "σ′ is missing: the derivative stops at ∂L/∂ŷ",
                    ),
                    ("no target", lambda z, t: s(z), "ŷ", "the - y is missing"),
                    ("sign", lambda z, t: t - s(z), "y - ŷ", "the sign is wrong"),
                    ("no softmax", lambda z, t: -t / s(z), "-y / ŷ", "only the term of y is differentiated, and without σ′"),
                    ("logits", lambda z, t: z - t, "z - y", "σ is missing in ŷ - y"),
                ]
            ):
                put(kind, lambda x, t, edge, fn=fn: fn(x, t), wrote, says, 0.3 + 0.01 * k)
            for d in (-1, 1):
                put(
                    "targets of another step",
                    lambda x, t, edge, d=d: s(x) - shifted(d, "clamp")(t, edge),
                    f"ŷ - y[t{d:+d}]",
                    f"the targets of step t{d:+d} are used",
                    0.5,
                    scope="all",
                )
        else:
            for k, (kind, fn, wrote, says) in enumerate(
                [
                    ("no factor 2", lambda a, b: a - b, "ŷ - y", "the 2 of the square is missing"),
                    ("sign", lambda a, b: 2 * (b - a), "2 * (y - ŷ)", "the sign is wrong"),
                    ("no target", lambda a, b: 2 * a, "2 * ŷ", "the - y is missing"),
                    ("loss value", lambda a, b: (a - b) ** 2, "(ŷ - y)**2", "the loss itself"),
                    ("sign only", lambda a, b: np.sign(a - b), "sign(ŷ - y)", "the derivative of |ŷ - y|"),
                ]
            ):
                put(kind, lambda x, t, edge, fn=fn: fn(x, t), wrote, says, 0.3 + 0.01 * k)
            for d in (-1, 1):
                put(
                    "targets of another step",
                    lambda x, t, edge, d=d: 2 * (x - shifted(d, "clamp")(t, edge)),
                    f"2 * (ŷ - y[t{d:+d}])",
                    f"the targets of step t{d:+d} are used",
                    0.5,
                    scope="all",
                )

    # ---- time ---------------------------------------------------------------------------------------------------------------------

    def _time(self):
        r = self.r
        T = r.T
        if T < 2 or not r.crossings():
            return
        C = r.terms()

        def mask(kind, m, says, cost):
            self.found.append(
                Slip(kind, None, "", says, says, cost, group=kind, compute=lambda: r.outside + sum(m(t, k) * c for (t, k), c in C.items()))
            )

        mask("terms: only k=t", lambda t, k: t == k, "nothing is carried back in time: only the terms k = t are there", 0.1)
        for d in range(1, T - 1):
            mask(
                f"terms: t-k <= {d}",
                lambda t, k, d=d: t - k <= d,
                f"truncated: losses reach back {d} step{'s' * (d > 1)} and no further",
                0.3,
            )
        mask("terms: only t=T", lambda t, k: t == T, "only the last step's loss is differentiated", 0.3)
        mask("terms: no t=T", lambda t, k: t != T, "the last step's loss is missing", 0.5)
        mask("terms: no t=1", lambda t, k: t != 1, "the first step's loss is missing", 0.5)
        mask("terms: no k=1", lambda t, k: k != 1, "the first step k = 1 is missing in the sum over k", 0.3)
        mask("terms: no k=T", lambda t, k: k != T, "the last step k = T is missing in the sum over k", 0.5)
        mask("terms: only k=1", lambda t, k: k == 1, "only the longest path (k = 1) is there: the explicit terms are missing", 0.5)
        mask("terms: no k=t", lambda t, k: k != t, "the explicit terms k = t are missing: only what is carried is there", 0.4)
        mask(
            "terms: t-k+1 times",
            lambda t, k: t - k + 1,
            "each term is there t-k+1 times: the total derivative inside the sum over k, where the immediate one is meant",
            0.4,
        )
        mask("terms: k=t twice", lambda t, k: 1 + (t == k), "the explicit terms k = t are there twice", 0.6)
        mask("terms: only t-k=1", lambda t, k: t - k == 1, "only the terms t - k = 1 are there", 1)
        mask("terms: T-t+1 times", lambda t, k: T - t + 1, "the loss of step t is there T-t+1 times", 0.8)
        mask("terms: t times", lambda t, k: t, "the loss of step t is there t times", 0.8)
        mask("terms: 1/t", lambda t, k: 1 / t, "the loss of step t is divided by t", 0.8)
        mask("terms: k times", lambda t, k: k, "step k is counted k times", 0.9)
        mask("terms: only k=t and t=T", lambda t, k: t == T and k == T, "only the last step is differentiated, with no way back", 0.6)
        mask("terms: t=T and k=1", lambda t, k: t == T and k == 1, "only the one path from the last loss to the first step", 0.7)
        for line in r.crossings():
            e = self.last[line]
            steps = r.lines[line]
            for times, where in ((range(2, T + 1, 2), "every second step"),):
                self.found.append(
                    Slip(
                        "missing",
                        e,
                        f"at {where}",
                        "carry = 0",
                        f"the carry is dropped at {where}",
                        1.6,
                        changes={steps[t]: _nothing for t in times if t in steps},
                    )
                )
        allc = r.crossings()
        for t in range(2, T + 1):
            self.found.append(
                Slip(
                    "missing",
                    self.last[allc[0]],
                    f"all that is carried, at t={t}",
                    "carry = 0",
                    f"nothing is carried from t={t} to t={t - 1}",
                    1.1,
                    changes={r.lines[line][t]: _nothing for line in allc if t in r.lines[line]},
                )
            )
        self._order(allc)

    def _order(self, crossings):
        r, T = self.r, self.r.T
        if any(r.state(line, t) is None for line in crossings for t in r.steps) or r.steps != list(range(1, T + 1)):
            return
        if any(not e.leaf for es in r.exits().values() for e in es):
            return
        back = range(T, 0, -1)
        carry = {}

        def put(kind, compute, says, cost):
            self.found.append(Slip(kind, None, "", says, says, cost, compute=compute, group=kind))

        put("order", lambda: r.sweep(range(1, T + 1))[0], "the backward loop runs forward in time", 0.4)

        def not_reset():
            return r.sweep(back, carry=r.sweep(back)[1])[0]

        put(
            "not reset", not_reset, "the carry is not reset to 0 before the last step: it still holds what a pass before this one left", 0.7
        )

        def states(parts, t):
            arriving = {}
            for e, p in parts.items():
                if r.crossing(e):
                    i = r.state(e.line, t)
                    arriving[i] = arriving.get(i, 0) + p
            return arriving

        def once_more(t, arriving, parts):
            again = r.through(t, states(parts, t))
            return {e: again.get(e, np.zeros_like(p)) if e in inner else p for e, p in parts.items()}

        inner = set()
        for t in r.steps:
            ones = {r.state(line, t): np.ones_like(r.value(r.state(line, t))) for line in crossings}
            inner |= set(r.through(t, ones))
        put(
            "one Jacobian too many at k",
            lambda: r.sweep(back, leaving=once_more)[0],
            "the product of Jacobians has one factor too many at its low end: it starts at i = k, correct is i = k + 1",
            0.5,
        )

        def one_more(last):
            def entering(t, arriving):
                parts = r.through(t, arriving)
                outer = {e for e in parts if e not in inner}
                into = {}
                for e in outer:
                    if not e.leaf and e.target in reach:
                        into[e.target] = into.get(e.target, 0) + parts[e]
                if t == T and not last:
                    return {}
                s = min(t + 1, T)
                later = {r.at(i, s): g for i, g in into.items()}
                return states(r.through(s, later), t)

            reach = {r.state(line, t) for line in crossings for t in r.steps} | {e.source for e in inner}

            def compute():
                flat = r.sweep(back, entering=entering)[0]
                return self._keep_outer(flat, inner)

            return compute

        for last in (False, True):
            put(
                "one Jacobian too many at t",
                one_more(last),
                "the product of Jacobians has one factor too many at its high end: ∂h_{t+1}/∂h_k in place of ∂h_t/∂h_k",
                0.6 + 0.1 * last,
            )
        del carry

    def _keep_outer(self, flat, inner):
        """Leaves that no line of the recurrence feeds keep their gradients."""
        r, start = self.r, 0
        fed = {e.target for e in inner if e.leaf}
        reference = r.run({}).flat()
        for i in r.leaves.values():
            size = r.value(i).size
            if i not in fed:
                flat[start:start + size] = reference[start:start + size]
            start += size
        return flat

    # ---- leaves and the whole -----------------------------------------------------------------------------------------------------

    def _leaves(self):
        r, say = self.r, self.say
        start = 0
        right = r.run({}).flat()
        spans = {}
        for name, i in r.leaves.items():
            spans[name] = slice(start, start + r.value(i).size)
            start += r.value(i).size
        self.spans, self.right = spans, right
        weights = np.concatenate([np.ravel(r.value(i)) for i in r.leaves.values()])
        self.found.append(
            Slip(
                "decay",
                None,
                "",
                "d += λ W",
                "a multiple of the parameters themselves is added (weight decay)",
                0.8,
                vector=weights,
                direction=True,
                group="decay",
            )
        )
        for name, i in r.leaves.items():
            span, x = spans[name], r.nodes[i]

            def put(kind, vector, says, cost, direction=False, group=None, e=None):
                full = right.copy() if not direction else np.zeros_like(right)
                full[span] = np.ravel(vector)
                self.found.append(Slip(kind, e, f"in d{name}", says, says, cost, vector=full, direction=direction, group=group))

            edges = r.incoming[i]
            put("zero", np.zeros(x.value.shape), f"d{name} is 0", 0.15, e=edges[0] if edges else None, group="zero")
            put("scale", right[span], f"d{name} is off by a factor", 0.9, direction=True, group="scale", e=edges[0] if edges else None)
            put("decay", x.value, f"a multiple of {name} itself is added to d{name} (weight decay)", 0.8, direction=True, group="decay")
            if edges and x.value.ndim == 2 and x.value.shape[0] == x.value.shape[1]:
                put("transposed", right[span].reshape(x.value.shape).T, f"d{name} is transposed", 0.3, e=edges[0])
            for node in r.nodes:
                if (
                    node.op is not None and node.value.shape == x.value.shape and r.g[node.id] is not None and r.crossing(edges[0])
                    if edges
                    else False
                ):
                    put(
                        "wrong adjoint",
                        r.g[node.id],
                        f"d{name} is the adjoint {say.adjoint(node.id)} at t={node.step}",
                        0.8 + 0.1 * ((node.step or 0) - 1),
                        e=edges[0],
                    )
            for step in r.steps[1:] if edges and r.crossing(edges[0]) else ():
                carried = [
                    r.parts[x]
                    for line in r.crossings()
                    for x in r.lines[line].values()
                    if x.step == step and r.state(line, step) == r.state(edges[0].line, step)
                ]
                if carried:
                    put(
                        "wrong adjoint",
                        sum(carried),
                        f"d{name} is what is carried into step {step - 1}",
                        0.75 + 0.1 * (step - 2),
                        e=edges[0],
                    )

    # ---- helpers ------------------------------------------------------------------------------------------------------------------

    def _shifted(self, edge, d):
        """The local derivative of the same line at another step; at the border, of the initial state if it has that."""
        r = self.r
        other = r.lines[edge.line].get((edge.step or 0) + d)
        if other is not None:
            return other.D
        node = r.nodes[edge.source]
        if d < 0 and edge.step is not None and len(node.inputs) == 1:
            before = r.previous(edge, edge.source)
            if before is not None:
                y = r.value(before)
                if y.shape == node.value.shape:
                    return np.asarray(node.op.rule(0)(np.ones_like(y), y, y, **node.attributes))
        return None

    def _slope_at_argument(self, edge):
        """f′ with the argument in place of the result, as 1 - a² for tanh."""
        node = self.r.nodes[edge.source]
        x = self.r.value(node.inputs[0])
        return np.asarray(node.op.rule(0)(np.ones_like(x), x, x, **node.attributes))

    def _operand(self, edge, d, border):
        """The other operand of a matrix product, of another step."""
        r = self.r
        side = 1 if edge.kind == "left" else 0
        a = edge.node.inputs[side]
        steps = r.lines[edge.line]
        if d < 0 and r.nodes[a].step == edge.step and r.nodes[a].op is not None:
            before = r.previous(edge, a)
            if before is not None:
                return r.value(before)
        other = steps.get(edge.step + d)
        if other is not None:
            return r.value(other.node.inputs[side])
        if d > 0 and border == "drop" and r.nodes[a].step == edge.step - 1:  # h_t for h_{t-1}
            later = [e for e in r.edges if e.step == edge.step and r.crossing(e) and e.target == a]
            if later:
                state = r.state(later[0].line, edge.step)
                if state is not None:
                    return r.value(state)
        times = sorted(steps)
        if border == "drop":
            return np.zeros_like(r.value(a))
        return r.value(
            steps[(times[0] if d < 0 else times[-1]) if border == "clamp" else (times[-1] if d < 0 else times[0])].node.inputs[side]
        )

    def _values(self, edge, shape):
        """Values a person could have confused with what stands here: those of the same step and shape, and the states before it."""
        r, found = self.r, []
        if edge.step is None:
            return found
        names = set()
        for node in r.nodes:
            if node.step == edge.step and node.value.shape == shape and node.kind != "constant" and (r.anchor[node.id] or node.op is None):
                name = self.say.name(node.id)
                if name not in names:
                    names.add(name)
                    found.append((("same", node.id), atom(name)))
        for e in r.edges:
            if e.step == edge.step and r.crossing(e) and r.value(e.target).shape == shape:
                name = self.say.name(e.target, e.step)
                if name not in names:
                    names.add(name)
                    found.append((("before", e.line), name))
        return found

    def _value(self, edge, key, default):
        r = self.r
        how, which = key
        if how == "before":
            e = r.lines[which].get(edge.step)
            return default if e is None else r.value(e.target)
        i = r.at(which, edge.step)
        return default if i is None else r.value(i)

    def _parameters(self, id):
        r = self.r
        shape = r.value(id).shape
        return [(i, name) for name, i in r.leaves.items() if i != id and r.value(i).shape == shape and r.nodes[i].step is None]

    def _activation_above(self, id):
        """The edge of the activation whose argument is the sum that this product enters."""
        r = self.r
        while True:
            arriving = r.incoming[id]
            if len(arriving) != 1 or arriving[0].kind != "scale":
                return None
            e = arriving[0]
            if len(r.nodes[e.source].inputs) == 1 and r.nodes[e.source].op.name != "negative":
                return e
            if any(e.paths):
                return None
            id = e.source

    def _is_above(self, upper, lower):
        seen, stack = set(), [lower]
        while stack:
            i = stack.pop()
            if i == upper:
                return True
            if i not in seen and len(seen) < 6:
                seen.add(i)
                stack += [e.source for e in self.r.incoming[i] if e.kind == "scale" and e.step == self.r.nodes[i].step]
        return False


def _nothing(run, edge, g):
    return np.zeros_like(run.reverse.nodes[edge.target].value)


def _times(c):
    return lambda run, edge, g: c * run.reverse.part(edge, g)


def _only(fn, block):
    """The change for some columns of the adjoint only."""

    def change(run, edge, g):
        if hasattr(fn, "other"):
            mixed = np.array(g)
            mixed[..., block] = fn.other(run, edge)[..., block]
            return run.reverse.part(edge, mixed)
        inside = np.zeros_like(g)
        inside[..., block] = g[..., block]
        return run.reverse.part(edge, g - inside) + fn(run, edge, inside) if fn is not _nothing else run.reverse.part(edge, g - inside)

    return change


def _without(blocks):
    """The change that leaves some columns of the adjoint out."""

    def change(run, edge, g):
        g = np.array(g)
        for block in blocks:
            g[..., block] = 0
        return run.reverse.part(edge, g)

    return change


def _replaced(text, old, new):
    """``new`` for the name ``old`` in a formula."""
    return re.sub(rf"(?<![\w.]){re.escape(old)}(?![\w\[])", lambda _: new, text)


def _of_adjoint(other):
    """The change that lets an edge work on another adjoint."""

    def change(run, edge, g):
        return run.reverse.part(edge, other(run, edge))

    change.other = other
    return change


def _product(path, like):
    total = np.ones((), like.dtype)
    for factor, *_ in path:
        total = total * factor
    return total


def _with(edge, paths):
    return replace(edge, paths=tuple(paths))
