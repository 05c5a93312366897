"""One entry of a tableau, a number, an array, a symbol or a blank, as text, HTML and LaTeX."""
from __future__ import annotations

import re
from html import escape
from typing import Any

import numpy as np

ENTRIES = 40                                    # of an array that is shown in full
BLANK = object()


def _number(x: Any, digits: int) -> str:
    x = x.item() if hasattr(x, "item") else x
    if isinstance(x, (bool, int)):
        return str(int(x))
    if not np.isfinite(x):
        return str(x)
    if x == round(x) and abs(x) < 1e5:
        return f"{x + 0.0:.0f}"
    return f"{x:.{digits}f}" if 10.0 ** -digits <= abs(x) < 1e5 else f"{x:.{max(digits - 2, 0)}e}"


def _matrix(array: np.ndarray, digits: int) -> tuple[list[list[str]], bool] | None:
    """(rows of numbers as strings, is it a column) of an array that is small enough; None of others."""
    array = np.asarray(array)
    if array.size > ENTRIES or array.ndim > 2 or array.size == 0:
        return None
    column: bool = array.ndim == 2 and array.shape[1] == 1 and array.shape[0] > 1
    rows = np.atleast_2d(array.T if column else array)
    return [[_number(x, digits) for x in row] for row in rows], column


def _summary(array: np.ndarray) -> str:
    return f"{tuple(array.shape)} norm {np.linalg.norm(np.asarray(array, float)):.3g}"


def as_text(entry: Any, digits: int) -> str:
    if entry is None or entry is BLANK or isinstance(entry, str):
        return "______" if entry is BLANK else str(entry or "")
    found = _matrix(entry, digits)
    if found is None:
        return _summary(entry)
    rows, column = found
    if len(rows) == len(rows[0]) == 1:
        return rows[0][0]
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    return "\n".join("[" + " ".join(f"{x:>{w}}" for x, w in zip(row, widths)) + "]" for row in rows) + ("ᵀ" if column else "")


def as_html(entry: Any, digits: int) -> str:
    return '<span class="blank"></span>' if entry is BLANK else escape(as_text(entry, digits))


def as_latex(entry: Any, digits: int) -> str:
    if entry is None or entry is BLANK:
        return "" if entry is None else r"\underline{\hspace{4em}}"
    if isinstance(entry, str):
        return f"${as_math(entry)}$"
    found = _matrix(entry, digits)
    if found is None:
        shape, _, norm = _summary(entry).partition(" norm ")
        return rf"${shape}$, norm ${_scientific(norm)}$"
    rows, column = found
    if len(rows) == len(rows[0]) == 1:
        return f"${_scientific(rows[0][0])}$"
    inner = r" \\ ".join(" & ".join(map(_scientific, row)) for row in rows)
    return rf"$\begin{{bmatrix}} {inner} \end{{bmatrix}}" + (r"^{\top}$" if column else "$")


def _scientific(number: str) -> str:
    base, e, power = number.partition("e")
    return rf"{base} \cdot 10^{{{int(power)}}}" if e else number.replace("nan", r"\text{nan}").replace("inf", r"\infty")


FUNCTIONS = {"tanh", "exp", "log", "sin", "cos", "max", "min"}
SYMBOLS = {"σ": r"\sigma ", "Σ": r"\textstyle\sum ", "Π": r"\textstyle\prod ", "ᵀ": r"^{\top}", "@": r"\,", "*": r"\odot ", "…": r"\dots ",
           "′": "'", "~": r"\sim ", "\\": r"\backslash ", **{c: "\\" + c for c in "_#%&${}"}}


def as_math(formula: str) -> str:
    """A formula of the table as mathematics: ``h[t-1] @ W_h`` becomes h_{t-1} W_h, names that the author wrote stay names."""
    def name(match: re.Match[str]) -> str:
        word, shift, call = match["name"], match["shift"], match["call"]
        if call:
            return (f"\\{word}" if word in FUNCTIONS else rf"\mathrm{{{_letters(word)}}}") + "("
        base, _, sub = word.partition("_")
        if sub == "hat" and len(base) == 1:
            base, sub = rf"\hat{{{base}}}", ""
        elif len(base) > 1 and not re.fullmatch(r"v\d+", base):
            base = rf"\mathit{{{_letters(base)}}}"
        subs = [rf"\mathrm{{{_letters(sub)}}}" if len(sub) > 1 else sub] if sub else []
        subs += [shift[1:-1]] if shift else []
        return base + (f"_{{{','.join(subs)}}}" if subs else "")
    out, at = [], 0
    for match in re.finditer(r"(?P<name>(?!ᵀ)[^\W\d](?:(?!ᵀ)\w)*)(?P<shift>\[(?:t[+-])?\d+\])?(?P<call>\()?", formula):
        if match["name"][0] in "σΣΠ":
            continue
        out += [SYMBOLS.get(c, c) for c in formula[at:match.start()]] + [name(match)]
        at = match.end()
    return "".join(out + [SYMBOLS.get(c, c) for c in formula[at:]])


def _letters(word: str) -> str:
    return "".join(SYMBOLS.get(c, c) if c == "_" or not c.isascii() else c for c in word)
