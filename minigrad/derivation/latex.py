"""How expressions are written as LaTeX: what differs from text."""
from __future__ import annotations

from typing import Any

from .expression import Expression, Gradient
from .notation import ADD, ATOM, FUNCTIONS, GRADIENT, GREEK, MATMUL, RELATIONS, Text, Time, Written

TO_LATEX = {letter: "\\" + name for name, letter in GREEK.items()}
UPRIGHT = {"Α": "A", "Β": "B", "Ε": "E", "Ζ": "Z", "Η": "H", "Ι": "I", "Κ": "K", "Μ": "M", "Ν": "N", "Ρ": "P", "Τ": "T", "Χ": "X"}
NAMED = {"tanh", "exp", "log", "sin", "cos", "max", "min"}


class Latex(Text):
    """Writes expressions as LaTeX (amsmath)."""
    times, dot, transposed, sum_t, arrow, by = r" \odot ", r"\,", r"^{\top}", r"\sum_{t=1}^{T} ", r" \to ", r" \times "

    def timed(self, name: str, time: str | None) -> str:
        base, _, layer = name.partition(".")
        primes = len(base) - len(base.rstrip("′"))
        head, *below = base.rstrip("′").split("_")
        hat = below[:1] == ["hat"] and len(head) == 1
        below = below[1:] if hat else below
        head = self.letter(head)
        head = rf"\hat{{{head}}}" if hat else head
        above = "".join([r"\prime" * primes, f"({layer})" if layer else ""])
        below = [self.letter(b) for b in below] + ([time] if time is not None else [])
        return head + (f"^{{{above}}}" if above else "") + (f"_{{{','.join(below)}}}" if below else "")

    @staticmethod
    def letter(word: str) -> str:
        """One letter is a variable, several are a word."""
        if word == "ŷ":
            return r"\hat{y}"
        word = GREEK.get(word, word)
        if len(word) == 1 or word.isdigit():
            return UPRIGHT.get(word, TO_LATEX.get(word, word))
        return rf"\mathrm{{{word}}}"

    def gradient(self, g: Gradient, lag: int, t: Time) -> str:
        time = None if g.once else self.time(lag, t)
        if g.helper is not None:
            letter, near = g.helper
            letter, primes = letter.rstrip("′"), len(letter) - len(letter.rstrip("′"))
            above = r"\prime" * primes + (" " if primes else "") + (self.timed(near.name, None) if near is not None else "")
            return self.letter(letter) + (f"^{{{above}}}" if above else "") + (f"_{{{time}}}" if time is not None else "")
        return super().gradient(g, lag, t)

    def derivative(self, loss: str, what: str) -> str:
        return rf"\nabla_{{{what}}} {loss}" if self.nabla else rf"\frac{{\partial {loss}}}{{\partial {what}}}"

    def number(self, x: float) -> str:
        text = super().number(x)
        mantissa, e, exponent = text.partition("e")
        return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if e else text

    @staticmethod
    def parentheses(text: str) -> str:
        return rf"\left({text}\right)"

    @staticmethod
    def brackets(text: str) -> str:
        return f"[{text}]"

    def _divide(self, e: Expression, t: Time) -> Written:
        a, b = e.args
        return rf"\frac{{{self.write(a, t)}}}{{{self.write(b, t)}}}", MATMUL

    def span(self, s: Any) -> str:
        return super().span(s).replace(":", "{:}")

    def superscript(self, n: Any) -> str:
        return f"^{{{n}}}"

    def raised(self, base: str, n: Any, t: Time) -> str:
        return f"{base}^{{{self.write(n, t)}}}"

    def write(self, e: Expression, t: Time = "t", above: int = 0) -> str:
        """A name that has something at its top gets braces before more is put there."""
        text = super().write(e, t, above)
        return f"{{{text}}}" if above == ATOM and e.op == "ref" and "^" in text else text

    @staticmethod
    def block(rows: Any) -> str:
        return r"\begin{bmatrix}" + r" \\ ".join(" & ".join(row) for row in rows) + r"\end{bmatrix}"

    def total(self, text: str, over: str = "") -> str:
        return rf"\sum{self.below(over)} {text}"

    def indicator(self, a: str, relation: str, b: str) -> str:
        return rf"\mathbf{{1}}\!\left[{a} {relation} {b}\right]"

    def relation(self, op: str) -> str:
        return RELATIONS[op][1]

    def inverse(self, e: Expression, t: Time) -> str:
        return self.write(e, t, ATOM) + "^{-1}"

    def _sqrt(self, e: Expression, t: Time) -> Written:
        return rf"\sqrt{{{self.write(e.args[0], t)}}}", ATOM

    def _absolute(self, e: Expression, t: Time) -> Written:
        return rf"\left|{self.write(e.args[0], t)}\right|", ATOM

    def cross_entropy(self, e: Expression, t: Time) -> str:
        return rf"-\sum_k y_{{{self.time(0, t)},k}} \log \hat{{y}}_{{{self.time(0, t)},k}}"

    def shown(self, e: Expression, t: Time) -> str:
        return rf"\hat{{y}}_{{{self.time(0, t)}}}"

    def _binary_cross_entropy(self, e: Expression, t: Time) -> Written:
        y, shown = self.write(e.args[1], t, ATOM), self.shown(e, t)
        return self.reduced(rf"-{y} \log {shown} - (1 - {y}) \log(1 - {shown})", e), ADD

    def applied(self, e: Expression, texts: list[str]) -> str:
        return self.function_name(e.op) + self.along(e) + r"\!" + self.parentheses(", ".join(texts))

    def function_name(self, op: str) -> str:
        if op in NAMED:
            return "\\" + op
        if op in ("sigmoid", "logsigmoid"):
            return r"\sigma" if op == "sigmoid" else r"\log\sigma"
        return self.function(FUNCTIONS.get(op, op))

    @staticmethod
    def function(name: str) -> str:
        return rf"\operatorname{{{name.replace('_', chr(92) + '_')}}}"

    def _pullback(self, e: Expression, t: Time) -> Written:
        g, *arguments = e.args
        op, i = e.extra.value
        f = f"{self.function(op.name)}({', '.join(self.write(a, t) for a in arguments)})"
        return rf"{self.write(g, t, GRADIENT)}\,\frac{{\partial {f}}}{{\partial {self.write(arguments[i], t)}}}", MATMUL

    def placed(self, text: str, where: str) -> str:
        return rf"\operatorname{{place}}({text} \text{{ at }} {where})"
