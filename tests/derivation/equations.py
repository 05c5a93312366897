"""Evaluates equations as ``mg.derive`` prints them, character by character, so that tests hold what people read against numbers.

    value("δ_{t+1} W_hᵀ + ∂L/∂o_t W_yᵀ", names, t)            names(name, t) -> array; name without its time: "δ", "W_h", "∂L/∂o"

A space between two things is a matrix product (a product, where one is a number), ⊙ is elementwise, ᵀ transposes, Σ_t sums over steps, Σ_i
the rows of a matrix, which leaves a vector like any other, Σ_j its columns, Σ all there is. So does a number in an index: M[:, 1] is a vector.
"""
import re

import numpy as np

from minigrad import matrix_exp

LETTERS = r"[A-Za-zα-ωΑ-Ωŷ][A-Za-zα-ωΑ-Ωŷ0-9′]*"
NAME = rf"{LETTERS}(?:_(?!t(?![A-Za-z_])){LETTERS})*(?:⁽[⁰¹²³⁴-⁹]+⁾)?"
TIME = r"(?:_(?:\{t[+-]\d\}|t(?![A-Za-z_])|\d))?"
NABLA = re.compile(r"∇_\{((?:[^{}]|\{[^{}]*\})+)\} L(_t)?")          # ∇_{h_t} L is ∂L/∂h_t
TOKEN = re.compile(rf"(?P<gradient>∂L(?:_t)?/∂{NAME}{TIME})|(?P<sum>Σ_t )|(?P<total>Σ(?:_[ij])? )|(?P<einsum>einsum\([a-z,]+→[a-z]*; )|(?P<one>1\[)|(?P<number>\d+(?:\.\d+)?(?:e[-+]?\d+)?)"
                   rf"|(?P<function>(?:log σ|{NAME}|√)[²³]?\()|(?P<name>{NAME}{TIME})|(?P<symbol>[-+/⊙()\[\],;>ᵀ²³:×])|(?P<space> )")


def layer_norm(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


FUNCTIONS = {
    "σ": sigmoid, "log σ": lambda x: np.log(sigmoid(x)), "softplus": lambda x: np.log1p(np.exp(x)), "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x * sigmoid(x), "LN": layer_norm, "mean": lambda x: x.mean(-1, keepdims=True), "var": lambda x: x.var(-1, keepdims=True),
    "max": np.maximum, "min": np.minimum, "√": np.sqrt, "softmax": lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
    "abs": np.abs, "sign": np.sign, "sin": np.sin, "cos": np.cos, "tanh": np.tanh, "exp": np.exp, "log": np.log, "expm1": np.expm1, "expm": matrix_exp, "diag": lambda x: np.diag(np.ravel(x)),
}


class Reader:
    def __init__(self, text, names, t, steps, H, columns):
        self.names, self.t, self.steps, self.H, self.axis = names, t, steps, H, -2 if columns else -1
        text = NABLA.sub(r"∂L\2/∂\1", text)
        self.tokens, at = [], 0
        while at < len(text):
            match = TOKEN.match(text, at)
            assert match, f"cannot read {text[at:]!r} of {text!r}"
            self.tokens.append((match.lastgroup, match.group()))
            at = match.end()
        self.at = 0

    def peek(self, ahead=0):
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else (None, None)

    def take(self, text=None):
        kind, found = self.peek()
        assert text is None or found == text, f"expected {text!r}, found {found!r}"
        self.at += 1
        return kind, found

    def skip(self):
        while self.peek()[0] == "space":
            self.at += 1

    def sum(self):
        total = self.signed()
        while True:
            self.skip()
            if self.peek()[1] in ("+", "-"):
                _, sign = self.take()
                self.skip()
                term = self.product()
                total = total + term if sign == "+" else total - term
            else:
                return total

    def signed(self):
        self.skip()
        if self.peek()[1] == "-":
            self.take()
            return -self.product()
        return self.product()

    def product(self):
        value = self.chain()
        while True:
            self.skip()
            if self.peek()[1] in ("⊙", "/"):
                _, sign = self.take()
                self.skip()
                other = self.chain()
                value = value * other if sign == "⊙" else value / other
            else:
                return value

    def chain(self):
        value = self.postfix()
        while self.peek()[0] == "space" and (self.peek(1)[0] in ("gradient", "sum", "total", "einsum", "number", "function", "name", "one")
                                             or self.peek(1)[1] in ("(", "[")):
            self.skip()
            other = self.postfix()
            value = value * other if np.ndim(value) == 0 or np.ndim(other) == 0 else value @ other
        return value

    def postfix(self):
        value = self.atom()
        while self.peek()[1] in ("ᵀ", "²", "³", "["):
            _, mark = self.take()
            if mark == "[":
                index = [self.span()]
                while self.peek()[1] == ",":
                    self.take()
                    self.skip()
                    index.append(self.span())
                self.take("]")
                index = index if self.axis == -1 or len(index) > 1 else [*index, slice(None)]
                value = value[..., *(slice(i, i + 1 or None) if isinstance(i, int) else i for i in index)]
                value = value.mT if isinstance(index[self.axis], int) and value.shape[self.axis + 1] > 1 else value
            else:
                value = value.mT if mark == "ᵀ" else value ** ("²³".index(mark) + 2)
        return value

    def span(self):
        """What stands in an index: start:stop, or a number."""
        start = self.bound()
        if self.peek()[1] != ":":
            return start
        self.take()
        return slice(start, self.bound())

    def along(self, function, index, value):
        """A sum or a mean over the rows, i, or the columns, j, of a matrix: a vector."""
        return np.expand_dims(function(value, {"i": -2, "j": -1}[index]), -2 if self.axis == -1 else -1)

    def bound(self):
        """3, H, 2H or nothing."""
        n, sign = None, 1
        if self.peek()[1] == "-":
            self.take()
            sign = -1
        while self.peek()[0] in ("number", "name"):
            kind, text = self.take()
            n = (sign if n is None else n) * (int(text) if kind == "number" else self.H)
        return n

    def atom(self):
        kind, text = self.take()
        if kind == "number":
            return float(text)
        if kind in ("name", "gradient"):
            return self.named(text)
        if kind == "function":
            return self.call(text[:-1])
        if kind == "one":
            a = self.sum()
            self.skip()
            self.take(">")
            b = self.sum()
            self.take("]")
            return np.asarray(a > b).astype(float)
        if kind == "sum":
            start, total, t = self.at, None, self.t
            for self.t in range(1, self.steps + 1):
                self.at = start
                term = self.product()
                total = term if total is None else total + term
            self.t = t
            return total
        if kind == "total":
            value = self.postfix()
            return self.along(np.sum, text[2], value) if "_" in text else np.sum(value, keepdims=True)
        if kind == "einsum":
            terms, out = text[7:-2].split("→")
            arguments = [np.asarray(a) for a in self.arguments()]
            arguments = [a.reshape(-1) if len(term) == 1 else a for a, term in zip(arguments, terms.split(","))]
            value = np.einsum(f"{terms}->{out}", *arguments)
            return value if value.ndim != 1 else value[None] if self.axis == -1 else value[:, None]
        if text == "(":
            value = self.sum()
            self.take(")")
            return value
        assert text == "[", f"unexpected {text!r}"
        rows = [[self.sum()]]
        while self.peek()[1] in (",", ";"):
            _, mark = self.take()
            rows[-1].append(self.sum()) if mark == "," else rows.append([self.sum()])
        self.take("]")
        tall, wide = ([max(np.shape(p)[axis] for p in line if np.ndim(p)) for line in lines] for axis, lines in ((-2, rows), (-1, zip(*rows))))
        return np.block([[np.broadcast_to(p, (m, n)) for p, n in zip(row, wide)] for row, m in zip(rows, tall)])

    def arguments(self):
        found = [self.sum()]
        while self.peek()[1] == ",":
            self.take()
            found.append(self.sum())
        self.take(")")
        return found

    def call(self, name):
        power = name[-1] if name[-1] in "²³" else ""
        if name in ("stretch", "reshape"):
            return self.sized(name)
        arguments = self.arguments()
        name, _, index = name.rstrip("²³").partition("_")
        if index:
            return self.along(getattr(np, name), index, *arguments)
        turned = self.axis == -2 and name in ("LN", "mean", "var", "softmax")
        value = FUNCTIONS[name](arguments[0].mT).mT if turned else FUNCTIONS[name](*arguments)
        return value ** ("²³".index(power) + 2) if power else value

    def sized(self, name):
        """stretch(g, 3×H)"""
        value, sizes = self.sum(), []
        while self.take()[1] != ")":
            self.skip()
            sizes.append(self.bound())
        return np.broadcast_to(value, sizes) if name == "stretch" else np.reshape(value, sizes)

    def named(self, text):
        if text == "H":
            return float(self.H)
        base, time = re.fullmatch(rf"(.*?)({TIME})", text).groups()
        time = time.strip("_{}")
        if not time:
            return self.names(base, None)
        t = int(time) if time.isdigit() else self.t + int(time[1:] or 0)
        return self.names(base, t)


def value(text, names, t, steps, H, columns=False):
    """What the formula is at step t, one of ``steps``; ``columns``: [a; b] lies one above the other, slices take rows."""
    reader = Reader(text, names, t, steps, H, columns)
    result = reader.sum()
    assert reader.at == len(reader.tokens), f"{text!r} goes on: {reader.tokens[reader.at:]}"
    return result
