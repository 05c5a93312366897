"""How expressions are written as text for a terminal: one method for each kind. Row or column vectors."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .axes import Axes
from .expression import Expression, Gradient, Reference, Shape, is_gradient, split_number
from .functions import REDUCTIONS

Time = int | str                    # "t", "k", or a number
Written = tuple[str, int]           # the text, and how tightly it holds together

ADD, NEGATIVE, TIMES, HADAMARD, MATMUL, GRADIENT, POSTFIX, ATOM = range(1, 9)      # how tightly something holds together

GREEK = dict(zip("alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau phi chi psi omega".split(),
                 "αβγδεζηθικλμνξπρστφχψω"))
GREEK.update({name.capitalize(): letter.upper() for name, letter in GREEK.items()})
SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
FUNCTIONS = {"sigmoid": "σ", "logsigmoid": "log σ", "layer_norm": "LN", "matrix_exp": "expm", "maximum": "max", "minimum": "min",
             "absolute": "abs", "log_softmax": "log softmax"}
ALONG = {"mean", "var", "max", "min", "prod", "logsumexp", "softmax", "log_softmax", "cumsum", "flip"}
ASIDE = {"triu", "tril", "pad", "reshape", "transpose"}              # what they do to a matrix is something else to it transposed
RELATIONS = {"greater": (">", ">"), "greater_equal": ("≥", r"\ge"), "less": ("<", "<"), "less_equal": ("≤", r"\le"),
             "equal": ("=", "="), "not_equal": ("≠", r"\ne")}


class Text:
    """Writes expressions as text.

    flip   True: every matrix is written transposed, which turns row vectors into column vectors and back
    nabla  True: ∇_h L for ∂L/∂h
    width  the length of the state, H: slices and shapes are told in multiples of it
    rows   the length of the batch in the samples; sums over it are not written
    """
    times, dot, transposed, sum_t, arrow, by = " ⊙ ", " ", "ᵀ", "Σ_t ", "→", "×"

    def __init__(self, *, flip: bool = False, nabla: bool = False, width: int | None = None, rows: int | None = None) -> None:
        self.flip, self.nabla, self.width, self.rows = flip, nabla, width, rows
        self.axes = Axes(rows, nabla != flip, flip)

    # ---- names ----------------------------------------------------------------------------------------------------------
    def name(self, reference: Reference, lag: int = 0, t: Time = "t") -> str:
        """The name of a reference at time t + lag."""
        if isinstance(reference, Gradient):
            return self.gradient(reference, lag, t)
        return self.timed(reference.name, None if reference.once else self.time(lag, t))

    @staticmethod
    def time(lag: int, t: Time) -> str:
        if isinstance(t, int):
            return str(t + lag)
        return t if not lag else f"{t}{'+' if lag > 0 else '-'}{abs(lag)}"

    def timed(self, name: str, time: str | None) -> str:
        base, _, layer = name.partition(".")
        primes = base[len(base.rstrip("′")):]
        base = self.letters(base.rstrip("′")) + primes + (f"⁽{layer.translate(SUPERSCRIPTS)}⁾" if layer else "")
        return base if time is None else f"{base}_{time}" if len(time) == 1 else f"{base}_{{{time}}}"

    @staticmethod
    def letters(base: str) -> str:
        parts = base.split("_")
        parts = [GREEK.get(p, p) for p in parts]
        parts = ["".join(ch + "\u0302" if ch in "ohxz" else {"y": "ŷ"}.get(ch, ch) for ch in parts[0]), *parts[2:]] \
            if parts[1:2] == ["hat"] and len(parts[0]) == 1 else parts
        return "_".join(parts)

    def gradient(self, g: Gradient, lag: int, t: Time) -> str:
        time = None if g.once else self.time(lag, t)
        if g.helper is not None:
            letter, near = g.helper
            return self.timed(letter + (self.letters(near.name) if near is not None else ""), time)
        loss = self.timed("L", time) if g.kind == "given" else "L"
        return self.derivative(loss, self.timed(g.of.name, time))

    def derivative(self, loss: str, what: str) -> str:
        return f"∇_{{{what}}} {loss}" if self.nabla else f"∂{loss}/∂{what}"

    def number(self, x: float) -> str:
        return str(x) if isinstance(x, int) else f"{x:.12g}"

    def amount(self, n: Any) -> str:
        """A size, as a multiple of H if it is one."""
        if self.width and n and n % self.width == 0:
            return "H" if n == self.width else f"{n // self.width}H"
        return str(n)

    # ---- expressions ----------------------------------------------------------------------------------------------------
    def write(self, e: Expression, t: Time = "t", above: int = 0) -> str:
        """e at time t; in parentheses if it does not hold together as tightly as ``above`` asks."""
        text, level = self._parts(e, t)
        return self.parentheses(text) if level < above else text

    @staticmethod
    def parentheses(text: str) -> str:
        return f"({text})"

    def _parts(self, e: Expression, t: Time) -> Written:
        write = getattr(self, "_" + e.op, None)
        return write(e, t) if write else self._function(e, t)

    def _ref(self, e: Expression, t: Time) -> Written:
        reference, lag = e.extra
        return self.name(reference, lag, t), GRADIENT if isinstance(reference, Gradient) and reference.helper is None else ATOM

    def _number(self, e: Expression, t: Time) -> Written:
        return self.number(e.extra), ATOM if e.extra >= 0 else NEGATIVE

    def _zeros(self, e: Expression, t: Time) -> Written:
        return "0", ATOM

    def _array(self, e: Expression, t: Time) -> Written:
        return "const", ATOM

    def _onehot(self, e: Expression, t: Time) -> Written:
        return self._parts(e.args[0], t)

    def _size(self, e: Expression, t: Time) -> Written:
        factor, letters = e.extra
        return self.dot.join([str(factor)] * (factor != 1) + list(letters)), MATMUL if factor != 1 or len(letters) > 1 else ATOM

    def _add(self, e: Expression, t: Time) -> Written:
        terms = sorted(e.args, key=lambda a: split_number(a)[0] < 0) if split_number(e.args[0])[0] < 0 else e.args
        text = ""
        for a in terms:
            negative = split_number(a)[0] < 0
            piece = self.write(a, t, NEGATIVE)
            if negative:
                text += (" - " if text else "-") + piece.removeprefix("-")
            else:
                text += (" + " if text else "") + piece
        return text, ADD

    def _mul(self, e: Expression, t: Time) -> Written:
        c, _ = split_number(e)
        factors = [a for a in e.args if a.op != "number"]
        scalars = [a for a in factors if a.shape == ()]
        others = [a for a in factors if a not in scalars]
        others.sort(key=lambda a: 0 if self._is_front(a) else 1)
        pieces = [self.number(abs(c))] if abs(c) != 1 else []
        pieces += [self.write(a, t, GRADIENT) for a in scalars]
        if len(others) == 1:
            pieces.append(self.write(others[0], t, MATMUL if pieces else TIMES))
        elif others:
            parts = [self._parts(a, t) for a in others]
            pieces.append(self.times.join(text if level > MATMUL or level == HADAMARD else self.parentheses(text) for text, level in parts))
        level = HADAMARD if len(others) > 1 else TIMES if others and self._parts(others[0], t)[1] == TIMES else MATMUL
        return ("-" if c < 0 else "") + self.dot.join(pieces), NEGATIVE if c < 0 else level

    def _is_front(self, a: Expression) -> bool:
        """Slopes stand in front of the gradient where columns are written: diag(1 - h²) ∇L; elsewhere the rules' order stays."""
        return self.nabla and not is_gradient(a)

    def _divide(self, e: Expression, t: Time) -> Written:
        a, b = e.args
        return f"{self.write(a, t, TIMES)} / {self.write(b, t, GRADIENT)}", TIMES

    def _power(self, e: Expression, t: Time) -> Written:
        base, n = e.args
        if n.op == "number" and isinstance(n.extra, int) and n.extra > 0:
            mark = self.superscript(n.extra)
            if base.op in ("tanh", "sin", "cos"):
                return f"{self.function_name(base.op)}{mark}{self.parentheses(self.write(base.args[0], t))}", ATOM
            return self.write(base, t, ATOM) + mark, POSTFIX
        return self.raised(self.write(base, t, ATOM), n, t), POSTFIX

    def superscript(self, n: Any) -> str:
        return str(n).translate(SUPERSCRIPTS)

    def raised(self, base: str, n: Any, t: Time) -> str:
        return f"{base}^{self.write(n, t, ATOM)}"

    def _chain(self, e: Expression) -> list[Expression]:
        if e.op != "matmul":
            return [e]
        parts = [*self._chain(e.args[0]), *self._chain(e.args[1])]
        return parts

    def _matmul(self, e: Expression, t: Time) -> Written:
        factors = self._chain(e)
        if self.flip:
            factors.reverse()
        last = len(factors) - 1
        pieces = [self.diagonal(a, t, i == last) or self.write(a, t, POSTFIX if self.nabla and i < last else MATMUL)
                  for i, a in enumerate(factors)]
        return self.dot.join(pieces), MATMUL

    def diagonal(self, e: Expression, t: Time, last: bool = True) -> str | None:
        """slope ⊙ ∇L as a matrix times a column, diag(slope) ∇L; None where it is something else."""
        while e.op == "reshape" and self.axes.turned(e) is False or e.op == "sum" and all(
                e.args[0].shape[i] == self.rows for i in e.extra[0]):
            e = e.args[0]
        if not self.nabla or e.op != "mul" or e.args[0].op == "number" or sum(map(is_gradient, e.args)) != 1:
            return None
        g = next(a for a in e.args if is_gradient(a))
        if len(g.shape) > 2 or not all(a is g or a.shape in (g.shape, g.shape[-1:]) for a in e.args):
            return None                     # a matrix, or a slope that is stretched over the vector
        slope = self.times.join(self.write(a, t, GRADIENT) for a in e.args if a is not g) if len(e.args) > 2 else self.write(
            next(a for a in e.args if a is not g), t)
        return self.dot.join([f"{self.function('diag')}({slope})", self.write(g, t, MATMUL if last else POSTFIX)])

    def _T(self, e: Expression, t: Time) -> Written:
        return self.swapped(e.args[0], t)

    def swapped(self, e: Expression, t: Time) -> Written:
        """e transposed; (A vᵀ)ᵀ is v Aᵀ."""
        if self.axes.transposes(e):
            return self._parts(e.args[0], t)
        factors = self._chain(e)[::-1 if not self.flip else 1]
        if any(map(self.axes.transposes, factors)):
            parts = [self.swapped(a, t) for a in factors]
            return self.dot.join(text if level >= MATMUL else self.parentheses(text) for text, level in parts), MATMUL
        return self.write(e, t, ATOM) + self.transposed, POSTFIX

    def around(self, e: Expression, t: Time, write: Callable[[list[str]], str], above: int = 0, level: int = ATOM) -> Written:
        """A function that means arrays as the cell has them: where they are transposed, its arguments are turned round, and its result."""
        native = self.axes.native(e) or self.flip and e.op in ASIDE

        def swaps(a: Expression) -> bool:
            return native and len(self.axes.own(a.shape)) > 1

        def piece(a: Expression) -> str:
            text, own = self.swapped(a, t) if swaps(a) else (self.write(a, t, above), above)
            return text if own >= above else self.parentheses(text)
        text = write([piece(a) for a in e.args])
        return self.turn(text, level) if swaps(e) else (text, level)

    def _transpose(self, e: Expression, t: Time) -> Written:
        return self.around(e, t, lambda texts: f"{self.function('transpose')}({texts[0]}, {e.extra})")

    def _reshape(self, e: Expression, t: Time) -> Written:
        turned = self.axes.turned(e)
        if turned is None:
            return self.around(e, t, lambda texts: f"{self.function('reshape')}({texts[0]}, {self.sizes(self.axes.own(e.shape))})")
        return self.swapped(e.args[0], t) if turned else self._parts(e.args[0], t)

    def sizes(self, shape: Shape) -> str:
        return self.by.join(map(self.amount, shape))

    def _broadcast(self, e: Expression, t: Time) -> Written:
        a = e.args[0]
        before, after = self.axes.matrix(a.shape), self.axes.matrix(e.shape)
        if before == after:
            return self._parts(a, t)
        return f"{self.function('stretch')}({self.write(a, t)}, {self.sizes((*after[:-2], *after[:-3:-1]) if self.flip else after)})", ATOM

    def _index(self, e: Expression, t: Time) -> Written:
        where = self.axes.where(e.extra.value, e.args[0].shape, self.span)
        return self.around(e, t, lambda texts: texts[0] + self.brackets(where), ATOM)

    @staticmethod
    def brackets(text: str) -> str:
        return f"[{text}]"

    def span(self, s: Any) -> str:
        return ("" if s.start is None else self.amount(s.start)) + ":" + ("" if s.stop is None else self.amount(s.stop))

    def _scatter(self, e: Expression, t: Time) -> Written:
        index, shape = e.extra.value
        where = self.axes.where(index, shape, self.span)
        return self.around(e, t, lambda texts: self.placed(texts[0], self.brackets(where) if "," in where else where))

    def placed(self, text: str, where: str) -> str:
        return f"place({text} at {where})"

    def _concatenate(self, e: Expression, t: Time) -> Written:
        across, down = (-2, -1) if self.flip else (-1, -2)
        if e.extra == down and all(a.op == "concatenate" and a.extra == across for a in e.args):
            return self.block([[self.write(x, t) for x in a.args] for a in e.args]), ATOM
        if e.extra == across and all(a.op == "concatenate" and a.extra == down for a in e.args):
            return self.block([list(row) for row in zip(*([self.write(x, t) for x in a.args] for a in e.args))]), ATOM
        pieces = [self.write(a, t) for a in e.args]
        return self.block([pieces] if e.extra == across else [[p] for p in pieces]), ATOM

    def _stack(self, e: Expression, t: Time) -> Written:
        axes = len(self.axes.own(e.shape))
        if axes > 2:
            return self.around(e, t, lambda texts: self.applied(e, texts))
        side = axes == 2 and e.extra == (-1 if self.axes.columns else -2)       # vectors side by side, as they are
        pieces = [self.write(a, t) if side or axes < 2 else self.swapped(a, t)[0] for a in e.args]
        return self.block([pieces] if side == self.nabla else [[p] for p in pieces]), ATOM

    @staticmethod
    def block(rows: Any) -> str:
        return "[" + "; ".join(", ".join(row) for row in rows) + "]"

    def _sum(self, e: Expression, t: Time) -> Written:
        axis, _ = e.extra
        a = e.args[0]
        if all(a.shape[i] == self.rows for i in axis):                  # the rows of a batch
            return self._parts(a, t)
        return self.upright(e, t, lambda texts: self.total(texts[0], self.axes.over(a.shape, axis)), GRADIENT, MATMUL)

    def upright(self, e: Expression, t: Time, write: Callable[[list[str]], str], above: int = 0, level: int = ATOM) -> Written:
        """What is left of a matrix reads as a vector like any other: transposed where it is not."""
        text, level = self.around(e, t, write, above, level)
        across = e.op in REDUCTIONS and len(self.axes.matrix(e.args[0].shape)) == 2 and self.axes.across(e.shape)
        return self.turn(text, level) if across else (text, level)

    def turn(self, text: str, level: int) -> Written:
        return (text if level == ATOM else self.parentheses(text)) + self.transposed, POSTFIX

    def total(self, text: str, over: str = "") -> str:
        return f"Σ{self.below(over)} {text}"

    @staticmethod
    def below(text: str) -> str:
        return text and (f"_{text}" if len(text) == 1 else f"_{{{text}}}")

    def _einsum(self, e: Expression, t: Time) -> Written:
        *read, out = self.axes.subscripts(e.extra, [a.shape for a in (*e.args, e)])
        return f"{self.function('einsum')}({','.join(read)}{self.arrow}{out}; {', '.join(self.write(a, t) for a in e.args)})", ATOM

    def _sum_t(self, e: Expression, t: Time) -> Written:
        return self.sum_t + (self.diagonal(e.args[0], t) or self.write(e.args[0], t, TIMES)), MATMUL

    def _wins(self, e: Expression, t: Time) -> Written:
        return self.indicator(self.write(e.args[0], t), ">", self.write(e.args[1], t)), ATOM

    def indicator(self, a: str, relation: str, b: str) -> str:
        return f"1[{a} {relation} {b}]"

    def _solve(self, e: Expression, t: Time) -> Written:
        a, b = self.inverse(e.args[0], t), self.write(e.args[1], t, MATMUL)
        return self.dot.join([b, a] if self.flip else [a, b]), MATMUL

    def _inv(self, e: Expression, t: Time) -> Written:
        return self.inverse(e.args[0], t), POSTFIX

    def inverse(self, e: Expression, t: Time) -> str:
        return self.write(e, t, ATOM) + "⁻¹"

    def _sqrt(self, e: Expression, t: Time) -> Written:
        return f"√({self.write(e.args[0], t)})", ATOM

    def _softmax_cross_entropy(self, e: Expression, t: Time) -> Written:
        return self.cross_entropy(e, t) + " / B" * (dict(e.extra.value)["reduction"] == "mean"), NEGATIVE

    def cross_entropy(self, e: Expression, t: Time) -> str:
        target = self.write(e.args[1], t, ATOM)
        return f"-Σ {target} log {self.shown(e, t)}"

    def shown(self, e: Expression, t: Time) -> str:
        return f"ŷ_{self.time(0, t)}"

    def _binary_cross_entropy(self, e: Expression, t: Time) -> Written:
        y, shown = self.write(e.args[1], t, ATOM), self.shown(e, t)
        return self.reduced(f"-{y} log {shown} - (1 - {y}) log(1 - {shown})", e), ADD

    def _squared_error(self, e: Expression, t: Time) -> Written:
        square = self.parentheses(f"{self.write(e.args[0], t)} - {self.write(e.args[1], t, MATMUL)}") + self.superscript(2)
        return self.reduced(square, e), MATMUL

    def reduced(self, text: str, e: Expression) -> str:
        """The elements of a loss, put together as it says."""
        how = dict(e.extra.value)["reduction"]
        several = text[0] == "-"
        return text if how == "none" else self.function("mean") + self.parentheses(text) if how == "mean" else self.total(
            self.parentheses(text) if several else text)

    def _pullback(self, e: Expression, t: Time) -> Written:
        g, *arguments = e.args
        op, i = e.extra.value
        f = f"{op.name}({', '.join(self.write(a, t) for a in arguments)})"
        return f"{self.write(g, t, GRADIENT)} ∂{f}/∂{self.write(arguments[i], t, ATOM)}", MATMUL

    def _function(self, e: Expression, t: Time) -> Written:
        """Anything else: its name, and its arguments in parentheses."""
        if e.op in RELATIONS:
            return self.indicator(self.write(e.args[0], t), self.relation(e.op), self.write(e.args[1], t)), ATOM
        if e.op in ALONG:
            return self.upright(e, t, lambda texts: self.applied(e, texts))
        if e.op in ASIDE:
            return self.around(e, t, lambda texts: self.applied(e, texts))
        return self.applied(e, [self.write(a, t) for a in e.args]), ATOM

    def along(self, e: Expression) -> str:
        """The indices that a mean, a softmax, … of a matrix runs over."""
        if e.op not in ALONG:
            return ""
        axis, *_ = e.extra if e.op in REDUCTIONS else (e.extra,)
        return self.below(self.axes.over(e.args[0].shape, axis if isinstance(axis, tuple) else (axis,)))

    def applied(self, e: Expression, texts: list[str]) -> str:
        return f"{self.function_name(e.op)}{self.along(e)}({', '.join(texts)})"

    def relation(self, op: str) -> str:
        return RELATIONS[op][0]

    def function_name(self, op: str) -> str:
        return self.function(FUNCTIONS.get(op, op))

    @staticmethod
    def function(name: str) -> str:
        return name
