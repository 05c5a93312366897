"""The pencil-and-paper table of a backward pass: nodes × time, each with its value, its local derivatives and its adjoint.

Here live the table and its forms. How the graph is read into rows and cells is reading.py's business, and how one entry is written that of
entries.py. Equations are derived by the neighbours; here are numbers.
"""
from __future__ import annotations

import os
from html import escape
from typing import Any, Callable, Iterable

import numpy as np

from ..autodiff import cotangents
from ..files import write
from ..graph import Graph
from .entries import BLANK, as_html, as_latex, as_math, as_text
from .reading import ALL, Cell, Reading, Row

Line = tuple[str, str, str | None, list[Any]]           # kind, what is differentiated, by what, one entry for each column
Chosen = Callable[[Row, Any, str], bool]                # (row, step, kind): is it left empty?

WIDTH = 130                                     # of text
KINDS = ("value", "local", "adjoint")
STYLE = """
.tableau { overflow-x: auto; background: #fff; font: 13px/1.5 'DejaVu Sans Mono', Menlo, Consolas, monospace; color: #111 }
.tableau table { border-collapse: collapse; border-bottom: 1px solid #888 }
.tableau tbody { border-top: 1px solid #888 }
.tableau th, .tableau td { padding: 1px 12px 1px 8px; text-align: left; vertical-align: top; white-space: pre }
.tableau th, .tableau td { border-left: 1px solid #C9CED6 }
.tableau th:first-child { border-left: 0; position: sticky; left: 0; background: #fff }
.tableau .local th, .tableau .adjoint th { font-weight: 400; padding-left: 24px }
.tableau .local { color: #666 }
.tableau .adjoint { color: #B32D0E }
.tableau .blank { display: inline-block; min-width: 6em; height: 1.2em; border-bottom: 1px solid #111 }
"""
DOCUMENT = r"""\documentclass{article}
\usepackage[utf8]{inputenc}
\usepackage[landscape,margin=1cm]{geometry}
\usepackage{amsmath,longtable}
\renewcommand{\arraystretch}{1.3}
\begin{document}\small
TABLE
\end{document}
"""


def tableau(root: Any, *, names: Iterable[str] | None = None, steps: Iterable[Any] | None = None,
            digits: int = 3, blank: Any = None, seed: int = 0) -> Tableau:
    """The table of everything that ``root`` was computed from. Returns a Tableau.

    root    a scalar Tensor, usually the loss: adjoints are its derivatives, ∂root/∂node
    names   which rows, by their names; default all
    steps   which time steps, default all; what belongs to no step has a column of its own, as have initial states (t=0)
    digits  decimals
    blank   cells to leave empty, for a worksheet: "value", "local" or "adjoint"; a row's name; a share such as 0.3, drawn with
            ``seed``; a function (name, step, kind) -> bool; or a list of the first two. What is given (inputs, initial states,
            parameters) never is blank. The same table without ``blank`` is the solution.

    A row is a line of the author's code: its value at each step, its local derivative with respect to each operand (elementwise
    where the op is; for a product of matrices the other factor, transposed; else the Jacobian) and its adjoint, which is written
    with d: a total derivative, of everything behind. In the row of a parameter stand the contributions of the steps, and their sum.
    ``h[t-1]`` is h of the step before; a name that two rows have gets a prime.

    >>> import minigrad as mg
    >>> w, h = mg.parameter(0.5, name="w"), mg.parameter(1.0, name="h_0")
    >>> for x in mg.steps(np.array([1.0, 2.0])):
    ...     a = w * h + x
    ...     h = np.tanh(a)
    >>> table = tableau(h)
    >>> [round(float(n), 3) for n in (table["h", 2].value, table["w", 1].adjoint, table["w", None].adjoint)]
    [0.985, 0.003, 0.029]
    """
    graph = Graph.of(root)
    top = graph.nodes[graph.outputs[0]]
    if top.value.size != 1:
        raise ValueError(f"tableau() got a root of shape {top.value.shape}; adjoints are derivatives of one number: pass a loss, for "
                         "example root.sum()")
    if not top.requires_grad or top.op is None:
        raise ValueError("tableau(): the root was not computed from anything that requires gradients; make parameters with "
                         "mg.parameter(…), and compute outside mg.no_grad()")
    return Tableau(Reading(graph, cotangents(top.tensor, np.ones(top.value.shape))), names, steps, digits, blank, seed)


class Tableau:
    """What ``tableau`` returns: ``.text`` (also ``str()``), ``.html`` (also in a notebook), ``.latex``; ``.save(path)`` by suffix.

    ``.names`` are the rows, ``.steps`` the columns (0: initial states; None: what belongs to no step), and ``table[name, step]`` is
    a Cell (value, local, adjoint) with the arrays themselves, blank or not.
    """

    def __init__(self, reading: Reading, names: Iterable[str] | None, steps: Iterable[Any] | None,
                 digits: int, blank: Any, seed: int) -> None:
        self._reading, self._digits = reading, digits
        rows = {row.label: row for row in reading.rows}
        self._rows: list[Row] = reading.rows if names is None else [rows[self._known(name, rows)] for name in names]
        times = sorted({s for row in self._rows for s in (*row.nodes, *row.adjoints) if s is not ALL})
        if steps is not None:
            steps = set(steps)
            if not steps <= set(times):
                raise ValueError(f"tableau() got steps {sorted(steps)}; there are {times[0]} … {times[-1]}" if times else
                                 "tableau() got steps, but nothing here was computed in a time step")
        self.steps: list[Any] = [s for s in times if steps is None or s in steps]
        self.steps += [ALL] if any(ALL in row.nodes for row in self._rows) else []
        self.names = [row.label for row in self._rows]
        self._is_blank = _blank(blank, self.names, np.random.default_rng(seed))
        self._lines = [(row, self._lines_of(row)) for row in self._rows]

    def __getitem__(self, key: tuple[str, int | None]) -> Cell:
        name, step = key
        row = {row.label: row for row in self._rows}[self._known(name, self.names)]
        if step not in self.steps:
            raise KeyError(f"tableau has no step {step!r}; it has {self.steps}")
        return self._reading.cell(row, step)

    @staticmethod
    def _known(name: str, names: Iterable[str]) -> str:
        if name not in names:
            raise KeyError(f"tableau has no row {name!r}; it has {', '.join(names)}")
        return name

    def _lines_of(self, row: Row) -> list[Line]:
        """The lines of one row: (kind, what is differentiated, by what, one entry per column: an array, a symbol, a blank or None)."""
        lines: list[Line] = []
        reading, root = self._reading, self._reading.row_of[self._reading.top.id].label
        root = root if " " not in root else "L"
        cells = [reading.cell(row, s) for s in self.steps]
        drawn = {kind: [self._is_blank(row, s, kind) for s in self.steps] for kind in KINDS}

        def line(kind: str, what: str, by: str | None, entries: list[Any]) -> None:
            if any(e is not None for e in entries):
                lines.append((kind, what, by, [BLANK if e is not None and b else e for e, b in zip(entries, drawn[kind])]))
        line("value", row.title, None, [c.value for c in cells])
        for position, name in row.operands.items():
            line("local", row.label, name, [None if name not in c.local else reading.symbol(row.nodes[s], position) or c.local[name]
                                            for c, s in zip(cells, self.steps)])
        line("adjoint", root, row.label, [c.adjoint for c in cells])
        return lines

    def _heads(self) -> list[str]:
        return ["all t" if s is ALL else f"t={s}" for s in self.steps] if self.steps != [ALL] else [""]

    # ---- text --------------------------------------------------------------------------------------------------------------
    @property
    def text(self) -> str:
        """Columns of text; steps that do not fit side by side come below each other."""
        titles = [[("  " if by else "") + _title(kind, what, by) for kind, what, by, _ in lines] for _, lines in self._lines]
        bodies = [[[as_text(e, self._digits) for e in entries] for *_, entries in lines] for _, lines in self._lines]
        left = max(len(t) for group in titles for t in group)
        widths = [max(len(part) for group in bodies for line in group for part in [head, *line[c].split("\n")])
                  for c, head in enumerate(self._heads())]
        out = []
        for columns in _fitting(widths, WIDTH - left):
            rule = "─" * (left + sum(widths[c] + 3 for c in columns))
            out.append(" " * left + "".join(f" │ {self._heads()[c]:<{widths[c]}}" for c in columns).rstrip())
            for names, group in zip(titles, bodies):
                if any(line[c] for line in group for c in columns):
                    out.append(rule)
                    for name, line in zip(names, group):
                        parts = [line[c].split("\n") for c in columns]
                        for n in range(max(map(len, parts))):
                            out.append((f"{name if n == 0 else '':<{left}}" + "".join(
                                f" │ {p[n] if n < len(p) else '':<{widths[c]}}" for p, c in zip(parts, columns))).rstrip())
            out.append("")
        return "\n".join(out).rstrip()

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    # ---- HTML ---------------------------------------------------------------------------------------------------------------
    @property
    def html(self) -> str:
        """One table with its style, to be put into a page."""
        rows = ["<tr><th></th>" + "".join(f"<th>{escape(h)}</th>" for h in self._heads()) + "</tr>"]
        for _, lines in self._lines:
            rows.append("<tbody>")
            for kind, what, by, entries in lines:
                cells = "".join(f"<td>{as_html(e, self._digits)}</td>" for e in entries)
                rows.append(f'<tr class="{kind}"><th>{escape(_title(kind, what, by))}</th>{cells}</tr>')
            rows.append("</tbody>")
        return f'<div class="tableau"><style>{STYLE}</style><table>\n' + "\n".join(rows) + "\n</table></div>"

    def _repr_html_(self) -> str:
        return self.html

    # ---- LaTeX --------------------------------------------------------------------------------------------------------------
    @property
    def latex(self) -> str:
        """One longtable (packages longtable and amsmath) for as many steps as fit side by side."""
        widths = [max(len(part) for _, lines in self._lines for *_, entries in lines
                      for part in as_text(entries[c], self._digits).split("\n")) for c in range(len(self.steps))]
        tables = []
        for columns in _fitting(widths, 95):
            heads = [f"$t={s}$" if s is not ALL else "all $t$" if len(self.steps) > 1 else "" for s in (self.steps[c] for c in columns)]
            body = [r"\begin{longtable}{l" + "|l" * len(columns) + "}", " & ".join(["", *heads]) + r" \\ \hline \endhead"]
            for _, lines in self._lines:
                if any(entries[c] is not None for *_, entries in lines for c in columns):
                    for kind, what, by, entries in lines:
                        d = r"\partial " if kind == "local" else r"\mathrm{d}"
                        name = rf"\quad${d}{as_math(_closed(what))}/{d}{as_math(_closed(by))}$" if by else f"${as_math(what)}$"
                        body.append(" & ".join([name, *(as_latex(entries[c], self._digits) for c in columns)]) + r" \\")
                    body.append(r"\hline")
            tables.append("\n".join([*body, r"\end{longtable}"]))
        return "\n".join(tables)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table into a file: .txt, .html (a page) or .tex (a document)."""
        suffix = os.path.splitext(os.fspath(path))[1].lower()
        if suffix not in (".txt", ".html", ".tex"):
            raise ValueError(f"save() got the path {os.fspath(path)!r}; expected one that ends in .txt, .html or .tex")
        text = {".txt": lambda: self.text + "\n", ".tex": lambda: DOCUMENT.replace("TABLE", self.latex),
                ".html": lambda: f'<!DOCTYPE html>\n<html><head><meta charset="utf-8"><title>tableau</title></head><body>\n{self.html}\n'
                                 "</body></html>\n"}[suffix]()
        write(path, text)


def _blank(blank: Any, names: list[str], rng: np.random.Generator) -> Chosen:
    """A function (row, step, kind) -> is this cell left empty?"""
    if blank is None:
        return lambda row, step, kind: False
    if callable(blank):
        def chosen(row: Row, step: int | None, kind: str) -> bool:
            return bool(blank(row.label, step, kind))
    elif isinstance(blank, (int, float)) and not isinstance(blank, bool) and 0 <= blank <= 1:
        def chosen(row: Row, step: int | None, kind: str) -> bool:
            return rng.uniform() < blank
    else:
        wanted = [blank] if isinstance(blank, str) else list(blank) if isinstance(blank, (list, tuple, set)) else [blank]
        for what in wanted:
            if what not in (*KINDS, *names):
                raise ValueError(f"tableau() got blank={blank!r}; expected 'value', 'local', 'adjoint', a share 0 … 1, a function "
                                 f"(name, step, kind), or a row: {', '.join(names)}")

        def chosen(row: Row, step: int | None, kind: str) -> bool:
            return kind in wanted or row.label in wanted
    return lambda row, step, kind: chosen(row, step, kind) and not (kind == "value" and (row.given or step == 0))


def _title(kind: str, what: str, by: str | None) -> str:
    """∂ for a local derivative, operands held fixed; d for the adjoint, the total derivative."""
    if by is None:
        return what
    d = "∂" if kind == "local" else "d" if len(what) == 1 else "d "
    return f"{d}{_closed(what)}/{d}{_closed(by)}"


def _closed(name: str) -> str:
    return f"({name})" if " " in name else name


def _fitting(widths: list[int], room: int) -> list[list[int]]:
    """Lists of columns that fit side by side, at least one each."""
    groups: list[list[int]] = [[]]
    used = 0
    for c, width in enumerate(widths):
        if groups[-1] and used + width + 3 > room:
            groups.append([])
            used = 0
        groups[-1].append(c)
        used += width + 3
    return groups
