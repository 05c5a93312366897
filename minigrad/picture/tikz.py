"""Writes a scene as TikZ: a LaTeX document that is one picture, names as mathematics; its `tikzpicture` fits into any other.

It compiles with pdflatex, lualatex and xelatex, and needs no packages but tikz, amssymb and geometry. No letter of a name is
ever read as TeX: what is not a letter, a digit or in the tables below is written by its number.
"""

from __future__ import annotations

import re
import unicodedata

from . import scene
from .scene import Arrow, Panel, Scene, Shape, Words
from .svg import MARGIN, number
from .text import Label

LONGEST = 16_000.0                                   # points; TeX cannot count further
SIZES = (5, 6, 7, 8, 9, 10, 10.95, 12, 14.4, 17.28)  # what TeX's own fonts come in

FUNCTIONS = set("arccos arcsin arctan arg cos cosh cot coth exp ln log max min sin sinh tan tanh".split())
GREEK = dict(zip("αβγδεζηθικλμνξπρσςτυφχψωΓΔΘΛΞΠΣΥΦΨΩ", (
    "alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma varsigma tau upsilon varphi chi psi "
    "omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega").split()))
SIGNS = {"@": r"\cdot", "⊙": r"\odot", "×": r"\times", "÷": r"\div", "−": "-", "±": r"\pm", "√": r"\surd", "…": r"\ldots", "⋯": r"\cdots",
         "·": r"{\cdot}", "²": "{}^{2}", "′": r"{}^{\prime}", "∂": r"\partial", "∞": r"\infty", "✓": r"\checkmark", "✗": r"\times",
         "≤": r"\le", "≥": r"\ge", "|": r"{\vert}", "<": "{<}", ">": "{>}", "-": r"\textnormal{-}", ",": "{,}", ".": "{.}", ":": "{:}",
         **{c: c for c in "=+()[]/!*"}}
ACCENTS = {"\u0300": "grave", "\u0301": "acute", "\u0302": "hat", "\u0303": "tilde", "\u0304": "bar", "\u0307": "dot",
           "\u0308": "ddot", "\u030c": "check"}
TOKEN = re.compile(r"[A-Za-z]+(?![\u0300-\u036f])|[0-9]+(?:[.,][0-9]+)*|.[\u0300-\u036f]*", re.DOTALL)

HEAD = r"""\documentclass{article}
%% Just the picture: copy the tikzpicture, with the lines up to it, into a document of your own.
\usepackage{tikz,amssymb}
\usetikzlibrary{patterns}
\usepackage[paperwidth=%sbp,paperheight=%sbp,margin=0bp]{geometry}
\pagestyle{empty}\parindent=0pt\topskip=0pt
\newcommand\fs[1]{\fontsize{#1}{#1}\selectfont}
\newcommand\sign[1]{\texttt{\char#1}}            %% a character that means something to TeX
\ifdefined\Umathcode\newcommand\uni[2]{\textnormal{#2}}\else  %% a character that pdflatex has no font for
  \newcommand\uni[2]{\textnormal{\tiny U+#1}}\fi
%s
\begin{document}
\begin{tikzpicture}[x=1bp,y=1bp,line cap=round]
"""


def write(picture: Scene) -> str:
    """The scene as a LaTeX document; ValueError for a picture that is longer than TeX can count."""
    left, low, right, high = picture.bounds()
    left, low, right, high = left - MARGIN, low - MARGIN, right + MARGIN, high + MARGIN
    if max(right - left, high - low) > LONGEST:
        raise ValueError(f"this picture is {max(right - left, high - low):,.0f} points long, and TeX counts to {LONGEST:,.0f}: "
                         "draw fewer steps (draw(..., steps=12)), or save it as .svg or .pdf")
    colours = _Colours()
    body = [rf"\path[use as bounding box] ({number(left)},{number(low)}) rectangle ({number(right)},{number(high)});"]
    body += [_panel(panel, colours) for panel in picture.panels]
    body += [_arrow(arrow, colours) for arrow in picture.arrows]
    for shape in picture.shapes:
        body += [_shape(shape, colours), *(_words(line, colours) for line in shape.placed_lines())]
    body += [_words(words, colours) for words in picture.texts]
    head = HEAD % (number(right - left), number(high - low), colours.definitions())
    return head + "\n".join(body) + "\n\\end{tikzpicture}\n\\end{document}\n"


class _Colours:
    """Colours by number, each defined once."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def name(self, colour: str) -> str:
        return self._names.setdefault(colour.lstrip("#").upper(), f"c{len(self._names)}")

    def definitions(self) -> str:
        return "\n".join(rf"\definecolor{{{name}}}{{HTML}}{{{code}}}" for code, name in self._names.items())


def _line(colour: str, width: float, dash: str, colours: _Colours) -> str:
    on = ""
    if dash:
        parts = [f"{'off' if i % 2 else 'on'} {number(float(n))}bp" for i, n in enumerate(dash.split(","))]
        on = ",dash pattern=" + " ".join(parts)
    return f"draw={colours.name(colour)},line width={number(width)}bp{on}"


def _panel(panel: Panel, colours: _Colours) -> str:
    fill = f",fill={colours.name(panel.fill)}" if panel.fill != "none" else ""
    corners = ",rounded corners=9bp" if panel.rounded else ""
    return (rf"\path[{_line(panel.rim, panel.rim_width, panel.dash, colours)}{fill}{corners}] ({number(panel.left)},{number(panel.low)}) "
            f"rectangle ({number(panel.right)},{number(panel.high)});")


def _shape(shape: Shape, colours: _Colours) -> str:
    look = f"{_line(shape.rim, shape.rim_width, shape.dash, colours)},fill={colours.name(shape.fill)}"
    if shape.form in ("circle", "dot"):
        path = (f"({number(shape.x)},{number(shape.y)}) ellipse [x radius={number(shape.width / 2)},"
                f"y radius={number(shape.height / 2)}]")
    else:
        look += "" if shape.form == "plate" else ",rounded corners=6bp"
        a, b = ((number(shape.x + s * shape.width / 2), number(shape.y + s * shape.height / 2)) for s in (-1, 1))
        path = f"({a[0]},{a[1]}) rectangle ({b[0]},{b[1]})"
    hatch = rf" \path[pattern=north east lines,pattern color={colours.name(scene.HATCH)}] {path};" if shape.hatched else ""
    return rf"\path[{look}] {path};{hatch}"


def _arrow(arrow: Arrow, colours: _Colours) -> str:
    at = [f"({number(x)},{number(y)})" for x, y in arrow.points]
    curves = "".join(f" .. controls {at[i]} and {at[i + 1]} .. {at[i + 2]}" for i in range(1, len(at) - 2, 3))
    path = rf"\draw[{_line(arrow.colour, arrow.width, arrow.dash, colours)},line cap=butt] {at[0]}{curves};"
    corners = [f"({number(x)},{number(y)})" for x, y in arrow.head()]
    return path + (rf" \fill[{colours.name(arrow.colour)}] {' -- '.join(corners)} -- cycle;" if corners else "")


def _words(words: Words, colours: _Colours) -> str:
    if not any(run for run, _ in words.words):
        return ""
    size = max(s for s in SIZES if s <= max(words.size, SIZES[0]))
    return (rf"\node[anchor=base,inner sep=0bp,text={colours.name(words.ink)},font=\fs{{{number(size)}}}] at "
            rf"({number(words.x)},{number(words.y - words.size * 0.3)}) {{${mathematics(words.words)}$}};")


# --- text as mathematics ----------------------------------------------------------------------------------------------------

def mathematics(words: Label) -> str:
    r"""A label as TeX's mathematics.

    >>> mathematics((("@ W", False), ("h", True)))
    '\\cdot\\ W_{h}'
    """
    return "".join(f"_{{{_run(run)}}}" if sub else _run(run) for run, sub in words)


def _run(run: str) -> str:
    pieces = "".join(map(_token, TOKEN.findall(unicodedata.normalize("NFC", run))))
    pieces = re.sub(r"\\ (=|\+|\\pm |\\odot |\\times |\\div )\\ ", r"\1", pieces)        # TeX spaces these by itself
    return re.sub(r"(\\[A-Za-z]+) (?![A-Za-z])", r"\1", pieces).rstrip(" ") if not pieces.endswith("\\ ") else pieces


def _token(token: str) -> str:
    if token.isascii() and token.isalpha():
        if len(token) == 1:
            return token
        return f"\\{token} " if token in FUNCTIONS else rf"\textnormal{{{token}}}"
    if token.isascii() and token[0].isdigit():
        return token.replace(",", "{,}")
    return "".join(_character(c) for c in _composed(token))


def _composed(token: str) -> list[str]:
    """A letter with accents that TeX has, in one piece; everything else by the character."""
    base, *marks = list(unicodedata.normalize("NFD", token))
    return [token] if marks and all(m in ACCENTS for m in marks) and (base.isascii() or base in GREEK) else list(token)


def _character(c: str) -> str:
    if c in SIGNS:
        sign = SIGNS[c]
        return sign + " " if sign[0] == "\\" and sign[-1].isalpha() else sign
    if c == " ":
        return r"\ "
    if c in GREEK:
        return f"\\{GREEK[c]} "
    base, *marks = list(unicodedata.normalize("NFD", c))
    if marks and all(m in ACCENTS for m in marks) and (base.isascii() or base in GREEK):
        inner = _character(base).strip() if base in GREEK else base
        for m in marks:
            inner = rf"\{ACCENTS[m]}{{{inner}}}"
        return inner
    if c.isascii():
        return c if c.isalnum() else rf"\sign{{{ord(c)}}}"
    return rf"\uni{{{ord(c):04X}}}{{{c}}}"
