"""The lines of a derivation, put in order: forward, backward, gradients, and the same as a double sum.

What a person would write besides is added here: a second form with short gradients written out, what step t+1 sends back written out.
"""
from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from ..tensor import Tensor
from .algebra import shifted, substitute
from .expression import Expression, Gradient, Helper, Reference, is_gradient, references, size, split_number, zeros
from .notation import GRADIENT, MATMUL, NEGATIVE, Text, Time
from .step import Step

CHAIN = 96          # a second form of a line is shown if it is not longer than this
FEW = 9             # the double sum is written if the recursion has not more lines


LeafGradients = dict[Reference, Expression | None]      # of x and of the parts of the old state; None if nothing arrives
Chain = list[tuple[str, Expression]]                    # factors of a product of matrices: what it is ("number", "diag", "matrix"), and it


class Line(NamedTuple):
    """One line of a derivation: ``text`` is ``name = formula``."""
    section: str
    name: str
    formula: str
    text: str
    latex: str


class Lines:
    """Puts the lines of a step in order, in every way of writing."""

    def __init__(self, step: Step, leaf: LeafGradients, writers: Sequence[Text], heads: Collection[Tensor], column: bool) -> None:
        self.step, self.leaf, self.writers, self.column = step, leaf, writers, column
        self.lines: list[Line] = []
        self.heads = {r for r, tensor in step.parameters.items() if any(tensor is h for h in heads)}
        self.carried: LeafGradients = {s.carry: leaf[s.before] for s in step.carried}

    def all(self) -> list[Line]:
        step = self.step
        for r in step.once:
            self.put("Once", lambda w: w.name(r), r.definition)
        for r in step.forward:
            self.put("Forward", lambda w: w.name(r), r.definition)
        self.total()
        states = {s.after for s in step.states}
        for g in step.backward:
            if g.of.computed:
                self.put("Backward", lambda w: w.name(g), self.uncarried(g.definition), second=g.of in states)
        arrives = self.leaf[step.x]
        if arrives is not None:
            self.put("Gradients", lambda w: w.derivative("L", w.name(step.x)), arrives)
        for s in step.states:
            arrives = self.leaf[s.before]
            if arrives is not None:
                self.put("Gradients", lambda w: w.derivative("L", w.name(s.after, 0, 0)), arrives, t=1)
        order = list(step.parameters)
        for g in sorted(step.after, key=lambda g: (1, g.of not in self.heads, order.index(g.of)) if g.of in order else (0, 0, -g.of.index)):
            self.put("Gradients", lambda w: w.name(g), g.definition, second=True)
        self.double_sum()
        return self.lines

    def uncarried(self, e: Expression) -> Expression:
        """What step t+1 sends back, written out."""
        def replaced(ref: Reference, lag: int) -> Expression | None:
            if ref.kind != "carry":
                return None
            e = self.carried[ref]
            return shifted(e, 1) if e is not None else zeros(ref.shape)
        return substitute(e, replaced)

    def total(self) -> None:
        step, (text, latex) = self.step, self.writers
        if step.loss is not None:
            self.add("Forward", "L", f"Σ_t {text.name(step.loss)}", rf"L &= \sum_{{t=1}}^{{T}} {latex.name(step.loss)}")
        else:
            self.add("Forward", "L", f"Σ_t L_t({text.name(step.y)})", rf"L &= \sum_{{t=1}}^{{T}} L_t({latex.name(step.y)})")

    def put(self, section: str, name: Callable[[Text], str], e: Expression, t: Time = "t", second: bool = False) -> None:
        text, latex = self.writers
        formula, code = text.write(e, t), [latex_lines(latex, e, t)]
        if second:
            more = self.expanded(e)
            longer = text.write(more, t)
            if more is not e and longer != formula and len(longer) <= CHAIN:
                formula += f" = {longer}"
                code.append(latex_lines(latex, more, t))
        self.add(section, name(text), formula, f"{name(latex)} &= " + r" \notag \\ &= ".join(code) if len(code) > 1 and len(formula) > CHAIN
                 else f"{name(latex)} &= " + " = ".join(code))

    def add(self, section: str, name: str, formula: str, latex: str) -> None:
        self.lines.append(Line(section, name, formula, f"{name} = {formula}", latex))

    def expanded(self, e: Expression) -> Expression:
        """e with the gradients in it replaced by what they are, where that is short."""
        def replaced(ref: Reference, lag: int) -> Expression | None:
            if ref.kind != "gradient" or ref.once or not self.short(ref.definition):
                return None
            return shifted(ref.definition, lag)
        return substitute(e, replaced)

    @staticmethod
    def short(e: Expression) -> bool:
        inside = [r for r, _ in references(e) if isinstance(r, Gradient)]
        if any(r.kind == "carry" for r in inside):
            return False
        return size(e) < 6 if not inside else len(inside) == 1 and size(e) < 9 and e.op == "mul"

    # ---- the double sum ---------------------------------------------------------------------------------------------------
    def double_sum(self) -> None:
        """Σ_t ∂L_t/∂h_t Σ_k (Π ∂h_i/∂h_{i-1}) ∂h_k/∂W, where the state is one vector and its Jacobian can be written as a matrix."""
        step, section = self.step, "The same as a double sum"
        if len(step.states) != 1 or not step.carried or len(step.backward) > FEW:
            return
        before, after, carry, *_ = step.states[0]
        g = next((g for g in step.backward if g.of is after), None)
        arrives = self.leaf[before]
        if g is None or arrives is None:
            return
        own = substitute(g.definition, lambda ref, lag: zeros(ref.shape) if ref is carry else None)
        jacobian = chains(self.down(arrives, g), g, self.column)
        if jacobian is None or len(jacobian) > 3 or any(r.kind == "carry" for r, _ in references(own)):
            return
        if len(write_chains(self.writers[0], jacobian, "i")) > CHAIN:
            return
        local = []
        for line in step.after:
            if line.of in step.parameters and line.definition.op == "sum_t":
                inside = self.down(line.definition.args[0], g)
                if {r for r, _ in references(inside) if isinstance(r, Gradient)} == {g}:
                    local.append((line.of, inside))
        if not local:
            return
        own = self.down(own, None)
        text, latex = self.writers
        nabla = text.nabla
        h = [w.name(after, 0, "i") for w in self.writers], [w.name(after, -1, "i") for w in self.writers]
        k, ht = [w.name(after, 0, "k") for w in self.writers], [w.name(after) for w in self.writers]

        def derivative(i: int, above: str, below: str) -> str:          # i: 0 text, 1 LaTeX
            return rf"\frac{{\partial {above}}}{{\partial {below}}}" if i else f"∂{above}/∂{below}"

        def transposed(i: int, inside: str) -> str:
            return inside if not nabla else rf"\left({inside}\right)^{{\top}}" if i else f"({inside})ᵀ"
        forms = []
        for i, w in enumerate(self.writers):
            step_back = transposed(i, derivative(i, h[0][i], h[1][i]))
            direct = w.derivative(w.timed("L", "t"), ht[i])
            product = rf"\Big(\prod_{{i=k+1}}^{{t}} {step_back}\Big)" if i else f"(Π_{{i=k+1}}^t {step_back})"
            sums = (r"\sum_{t=1}^{T}", r"\sum_{k=1}^{t}") if i else ("Σ_t", "Σ_{k=1}^t")
            forms.append((direct, step_back, product, sums))
        if not (is_gradient(own) and own.extra[0] is step.output):
            self.add(section, forms[0][0], text.write(own), rf"{forms[1][0]} &= {latex.write(own)}")
        self.add(section, forms[0][1], write_chains(text, jacobian, "i"), rf"{forms[1][1]} &= {write_chains(latex, jacobian, 'i')}")
        v, locals_ = vector(g), []
        for of, inside in sorted(local, key=lambda item: list(step.parameters).index(item[0])):
            formulas = []
            for i, w in enumerate(self.writers):
                direct, _, product, sums = forms[i]
                immediate = transposed(i, derivative(i, k[i], w.name(of)))
                order = [sums[0], sums[1], immediate, product, direct] if nabla else [sums[0], direct, sums[1], product, immediate]
                alone = [immediate, "v"] if nabla else ["v", immediate]
                form = w.write(substitute(inside, lambda ref, lag: v.at(lag) if ref is g else None), "k")
                formulas.append((w.derivative("L", w.name(of)), w.dot.join(order), w.dot.join(alone), form))
            (name, formula, name_2, formula_2), (code, math, code_2, math_2) = formulas
            self.add(section, name, formula, f"{code} &= {math}")
            locals_.append((name_2, formula_2, f"{code_2} &= {math_2}"))
        for row in locals_:
            self.add(section, *row)

    def down(self, e: Expression, g: Gradient | None) -> Expression:
        """e with every gradient but g and those that are given written out."""
        def replaced(ref: Reference, lag: int) -> Expression | None:
            if ref.kind != "gradient" or ref is g or ref.once:
                return None
            return self.down(shifted(ref.definition, lag), g)
        return substitute(e, replaced)


def vector(g: Gradient) -> Gradient:
    """The name v, wherever a gradient stood."""
    return Gradient("gradient", g.of, once=True, helper=Helper("v", None))


def chains(e: Expression, g: Gradient, column: bool) -> list[Chain] | None:
    """e, linear in the vector g, as a sum of products of matrices, in the order in which they are written; None if it cannot be written
    so. ``column``: the matrices stand to the left of g."""
    if e is g.e:
        return [[]]
    inside = [a for a in e.args if any(r is g for r, _ in references(a))]
    if e.op == "add" and len(inside) == len(e.args):
        parts = [chains(a, g, column) for a in e.args]
        found = [c for part in parts if part is not None for c in part]
        return None if None in parts else found
    if len(inside) != 1:
        return None
    part = chains(inside[0], g, column)
    if part is None or e.op == "reshape":
        return part
    if e.op == "mul" and inside[0].shape == e.shape:
        rest = [a for a in e.args if a is not inside[0]]
        numbers = [("number", a) for a in rest if a.shape == ()]
        slopes = [("diag", a) for a in rest if a.shape != ()]
        if not all(a.shape in (e.shape, e.shape[-1:]) for _, a in slopes):
            return None
        return [[*numbers, *slopes, *c] if column else [*numbers, *c, *slopes] for c in part]
    if e.op == "matmul" and e.args[column] is inside[0]:
        matrix = [("matrix", e.args[1 - column])]
        return [matrix + c if column else c + matrix for c in part]
    return None


def write_chains(w: Text, jacobian: list[Chain], t: Time) -> str:
    """The matrix that takes ∂L/∂h_i to ∂L/∂h_{i-1}."""
    terms = []
    for chain in jacobian:
        numbers = [e for kind, e in chain if kind == "number"]
        negative = False
        pieces = []
        for e in numbers:
            c, _ = split_number(e)
            negative ^= c < 0
            if e.op != "number" or abs(c) != 1:
                pieces.append(w.write(e, t, MATMUL).removeprefix("-"))
        slopes: list[Expression] = []
        matrices: list[str] = []
        for kind, e in chain:
            if kind == "diag":
                slopes.append(e)
            elif kind == "matrix":
                if slopes:
                    matrices.append(_diag(w, slopes, t))
                    slopes = []
                matrices.append(w.write(e, t, MATMUL))
        if slopes:
            matrices.append(_diag(w, slopes, t))
        if w.flip:
            matrices.reverse()
        pieces += matrices or ["I"]
        terms.append(("-" if negative else "+", w.dot.join(pieces)))
    text = " ".join(f"{sign} {term}" for sign, term in terms)
    return text.removeprefix("+ ") if text.startswith("+ ") else "-" + text.removeprefix("- ")


def _diag(w: Text, slopes: list[Expression], t: Time) -> str:
    inside = w.times.join(w.write(s, t, GRADIENT) for s in slopes) if len(slopes) > 1 else w.write(slopes[0], t)
    return f"{w.function('diag')}({inside})"


def latex_lines(w: Text, e: Expression, t: Time) -> str:
    """The formula; a long list of pieces or a long sum goes over several lines."""
    return r" \notag \\ &\quad ".join(_rows(w, e, t))


def _rows(w: Text, e: Expression, t: Time, room: int = 90) -> list[str]:
    plain = Text(flip=w.flip, nabla=w.nabla, width=w.width, rows=w.rows)
    if len(plain.write(e, t)) < room or e.op not in ("concatenate", "add"):
        return [w.write(e, t)]
    rows: list[str] = []
    if e.op == "add":
        length = room
        for a in e.args:
            sign = "-" if split_number(a)[0] < 0 else "+"
            piece, length = f"{sign} {w.write(a, t, NEGATIVE).removeprefix('-')}", length + len(plain.write(a, t))
            if length > room:
                rows, length = [*rows, piece], len(plain.write(a, t))
            else:
                rows[-1] += f" {piece}"
        return [rows[0].removeprefix("+ "), *rows[1:]]
    for a in e.args:
        parts = _rows(w, a, t, room)
        rows += [*parts[:-1], parts[-1] + ","]
    return [r"\bigl[\," + rows[0], *rows[1:-1], rows[-1].removesuffix(",") + r"\,\bigr]"]
