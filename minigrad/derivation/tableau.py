"""The pencil-and-paper table of a backward pass: nodes × time, each with its value, its local derivatives and its adjoint.

Here live the reading of the recorded graph into rows and cells, and their writing as text, HTML and LaTeX. How equations are
derived as formulas is the neighbours' business; here are numbers.
"""
import os
import re
from html import escape
from typing import Any, NamedTuple

import numpy as np

from ..autodiff import cotangents
from ..files import write
from ..graph import Graph
from ..graph.cost import MOVES
from ..graph.edges import through

ALL = None                                      # the column of what belongs to no step
SHORT, WIDTH, ENTRIES = 30, 130, 40             # of a formula that needs no name; of text; of an array that is shown
KINDS = ("value", "local", "adjoint")


def tableau(root, *, names=None, steps=None, digits=3, blank=None, seed=0):
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
    return Tableau(_Reading(graph, cotangents(top.tensor, np.ones(top.value.shape))), names, steps, digits, blank, seed)


class Cell(NamedTuple):
    """One node at one step: arrays, or None where there is none. ``local`` is a dict: operand -> array."""
    value: Any
    local: dict
    adjoint: Any


class Row:
    """One node through time: ``name`` (None if the author gave none), ``formula``, ``given`` (no op made it), and what is in it."""

    def __init__(self, given):
        self.given, self.name, self.formula, self.nodes, self.operands, self.adjoints = given, None, "", {}, {}, {}

    @property
    def label(self):
        return self.name or self.formula

    @property
    def title(self):
        return f"{self.name} = {self.formula}" if self.name and self.formula else self.label


# ---- reading --------------------------------------------------------------------------------------------------------------

class _Reading:
    """The rows of a graph. The same offset in every step is the same line of the cell."""

    def __init__(self, graph, adjoints):
        self.graph, self.rows, self.row_of = graph, [], {}
        self.adjoints = {n.id: adjoints[n.tensor.index] for n in graph.nodes if n.tensor is not None and n.tensor.index in adjoints}
        self.source, self.users = list(range(len(graph.nodes))), graph.users()
        known: dict = {}
        for node in graph.nodes:
            aside = self.users[node.id] and all(graph.through(i) != i for i, _ in self.users[node.id])
            if node.kind == "constant" or aside and node.op.name == "stack":       # a stack that is only indexed
                continue
            source = self._same(node)
            if source != node.id:
                self.source[node.id], self.row_of[node.id] = source, self.row_of[source]
                graph.nodes[source].name = graph.nodes[source].name or node.name
                continue
            key = self._key(node)
            while key in known and node.step in known[key].nodes:
                key += ("′",)
            if key not in known:
                known[key] = Row(node.op is None)
                self.rows.append(known[key])
            known[key].nodes[node.step] = node
            self.row_of[node.id] = known[key]
        self._join_initial_states()
        self._name()
        self._contribute()
        self.rows.sort(key=lambda row: ALL in row.nodes and (2 if next(iter(row.nodes.values())).kind == "parameter" else 1))
        self.top = graph.nodes[graph.outputs[0]]

    def _same(self, node):
        """The node that this one only shows again: ys[t] the step's own, x[None, :] and a reshape what they are made of, unless the author
        has names for both."""
        source = self.graph.through(node.id)
        if source == node.id and node.op is not None and (node.op.name == "reshape" or node.op.name == "getitem" and all(
                i is None or i is Ellipsis or i == slice(None) for i in node.attributes["index"] if not isinstance(i, np.ndarray))
                and not any(isinstance(i, np.ndarray) for i in node.attributes["index"])):
            before = self.graph.nodes[node.inputs[0]]
            if node.name is None or before.name is None and len(self.users[before.id]) == 1:
                source = before.id
        return self.source[source]

    def _key(self, node):
        place = node.tensor.place
        if node.kind == "parameter" or place is None and node.op is None:
            return "leaf", node.id
        if place is not None:
            return place.loop.id, node.tensor.index - place.start, node.op and node.op.name
        return (node.op.name, *(id(self.row_of[i]) if i in self.row_of else None for i in node.inputs))

    def _join_initial_states(self):
        """An initial state is column 0 of the row that takes its place in the second step."""
        for user in [row.nodes[1] for row in self.rows if 1 in row.nodes and 2 in row.nodes]:
            for first, second in zip(user.inputs, self.row_of[user.id].nodes[2].inputs):
                initial, row = self.graph.nodes[self.source[first]], self.row_of.get(second)
                if initial.op is None and initial.step == 0 and row not in (None, self.row_of[initial.id]) and 0 not in row.nodes:
                    own = self.row_of[initial.id]
                    self.rows.remove(own)
                    self.row_of.update((i, row) for i, r in list(self.row_of.items()) if r is own)
                    row.nodes[0] = initial

    # ---- names and formulas ------------------------------------------------------------------------------------------------
    def _name(self):
        taken = set()
        for row in self.rows:
            last = max((n for n in row.nodes.values() if n.step != 0), key=lambda n: n.id, default=None) or row.nodes[0]
            row.last = last
            row.name = last.name or next((n.name for n in row.nodes.values() if n.name), None)
            while row.name in taken:
                row.name += "′"
            taken.add(row.name) if row.name else None
        earlier = {id(self.row_of[i]) for row in self.rows for i in row.last.inputs
                   if i in self.row_of and self.graph.nodes[self.source[i]].step not in (row.last.step, ALL)}
        number = 0
        for row in self.rows:
            if row.last.op is not None:
                row.formula = self._formula(row.last)
            if row.name is None and (len(row.formula) > SHORT or id(row) in earlier or row.formula in taken or not row.formula):
                number += 1
                while f"v{number}" in taken:
                    number += 1
                row.name = f"v{number}"
            taken.add(row.label)
        for row in self.rows:
            if row.last.op is not None:
                row.formula = self._formula(row.last)
            for position, i in enumerate(row.last.inputs):
                if self._differentiable(row.last, position):
                    name = self.reference(i, row.last.step)
                    while name in row.operands.values():            # x * x has two derivatives by x
                        name += "′"
                    row.operands[position] = name

    def _formula(self, node):
        operands = [self.reference(i, node.step) for i in node.inputs]
        reads = node.op.reads or node.op.name + "({*})"
        infix = re.fullmatch(r"\{0\}(.*)\{1\}|\{0\}(ᵀ|\^2|\[\{index\}\])|-\{0\}", reads)
        if infix and reads != "{0} + {1}":
            operands = [f"({o})" if " " in o and not o.endswith((")", "]")) else o for o in operands]
        if "{*}" in reads:
            shown = operands if len(operands) < 5 else [*operands[:2], "…", operands[-1]]
            return reads.replace("{*}", ", ".join(shown))
        if "{index}" in reads:
            reads = reads.replace("{index}", _index(node.attributes["index"]))
        for position, operand in enumerate(operands):
            reads = reads.replace(f"{{{position}}}", operand)
        return reads

    def reference(self, i, step):
        """How a node is called in the formula of another one at ``step``."""
        node = self.graph.nodes[self.source[i]]
        if i not in self.row_of:
            return f"{node.value.item():.6g}" if node.value.size == 1 else "data"
        row = self.row_of[i]
        label = row.label or "…"
        if node.kind == "parameter" and node.step in (ALL, step) or node.step in (ALL, step):
            return label
        shift = f"[{node.step}]" if step is ALL else f"[t{node.step - step:+d}]"
        return f"({label}){shift}" if " " in label else label + shift

    def _differentiable(self, node, position):
        return self.graph.nodes[node.inputs[position]].requires_grad and node.op.rule(position) is not None

    # ---- numbers -----------------------------------------------------------------------------------------------------------
    def _contribute(self):
        """What each step adds to the gradient of a parameter."""
        for node in self.graph.nodes:
            if node.op is None or node.step is None or node.id not in self.adjoints:
                continue
            for position, i in enumerate(node.inputs):
                row = self.row_of.get(i)
                if row is not None and row.last.kind == "parameter" and ALL in row.nodes and self._differentiable(node, position):
                    part = through(node.tensor, position, self.adjoints[node.id])
                    row.adjoints[node.step] = row.adjoints[node.step] + part if node.step in row.adjoints else part

    def cell(self, row, step):
        node = row.nodes.get(step)
        if node is None:
            return Cell(None, {}, row.adjoints.get(step))
        local = {name: self.local(node, p) for p, name in row.operands.items() if p < len(node.inputs) and self._differentiable(node, p)}
        return Cell(node.value, local, self.adjoints.get(node.id))

    def local(self, node, position):
        """∂node/∂operand: the other factor of a product of matrices, the slope of an elementwise op, else the Jacobian."""
        value, name = node.tensor, node.op.name
        operand = node.tensor.arrays[position]
        if name == "matmul":
            return np.asarray(node.tensor.arrays[1 - position]).mT
        if name in MOVES and name != "where":
            return np.ones(())
        if value.size == 1:
            return through(value, position, np.ones(value.shape, value.dtype))
        slope = self._slope(node, position)
        if slope is not None:
            return slope
        if value.size ** 2 * np.size(operand) > 10 ** 6:
            return None
        rows = np.eye(value.size, dtype=value.dtype).reshape(value.size, *value.shape)
        return through(value, position, rows, lead=1).reshape(value.size, -1)

    @staticmethod
    def _slope(node, position):
        """The slope of an elementwise op: its rule only scales what arrives."""
        tensor, rule = node.tensor, node.op.rule(position)
        more = dict(node.attributes, saved=tensor.saved) if node.op.saves else node.attributes
        ones = np.ones(tensor.shape, tensor.dtype)
        some = np.random.default_rng(0).uniform(0.5, 1.5, tensor.shape).astype(tensor.dtype)
        with np.errstate(all="ignore"):
            slope, scaled = (rule(g, tensor.array, *tensor.arrays, **more) for g in (ones, some))
        if np.shape(slope) != tensor.shape or np.shape(scaled) != tensor.shape:
            return None
        return slope if np.allclose(scaled, some * slope, rtol=1e-5, atol=0, equal_nan=True) else None

    def symbol(self, node, position):
        """A factor that is a parameter is told by its name: its numbers stand in its own row."""
        if node.op.name == "matmul":
            other = self.graph.nodes[self.source[node.inputs[1 - position]]]
            if other.kind == "parameter" and ALL in self.row_of[other.id].nodes:
                return self.reference(other.id, node.step) + "ᵀ"
        return None


def _index(index):
    parts = []
    for i in index:
        if isinstance(i, slice):
            ends = (i.start, i.stop) if i.step is None else (i.start, i.stop, i.step)
            parts.append(":".join("" if x is None else str(x) for x in ends))
        else:
            parts.append("..." if i is Ellipsis else str(i) if isinstance(i, (int, np.integer)) else "None" if i is None else "rows")
    while len(parts) > 2 and parts[0] == "..." and parts[1] == ":":
        del parts[1]
    return ", ".join(parts[1:] if len(parts) == 2 and parts[0] == "..." and ":" not in parts[1] else parts)


# ---- the table --------------------------------------------------------------------------------------------------------------

class Tableau:
    """What ``tableau`` returns: ``.text`` (also ``str()``), ``.html`` (also in a notebook), ``.latex``; ``.save(path)`` by suffix.

    ``.names`` are the rows, ``.steps`` the columns (0: initial states; None: what belongs to no step), and ``table[name, step]`` is
    a Cell (value, local, adjoint) with the arrays themselves, blank or not.
    """

    def __init__(self, reading, names, steps, digits, blank, seed):
        self._reading, self._digits = reading, digits
        rows = {row.label: row for row in reading.rows}
        self._rows = reading.rows if names is None else [rows[self._known(name, rows)] for name in names]
        times = sorted({s for row in self._rows for s in (*row.nodes, *row.adjoints) if s is not ALL})
        if steps is not None:
            steps = set(steps)
            if not steps <= set(times):
                raise ValueError(f"tableau() got steps {sorted(steps)}; there are {times[0]} … {times[-1]}" if times else
                                 "tableau() got steps, but nothing here was computed in a time step")
        self.steps = [s for s in times if steps is None or s in steps]
        self.steps += [ALL] if any(ALL in row.nodes for row in self._rows) else []
        self.names = [row.label for row in self._rows]
        self._is_blank = _blank(blank, self.names, np.random.default_rng(seed))
        self._lines = [(row, self._lines_of(row)) for row in self._rows]

    def __getitem__(self, key):
        name, step = key
        row = {row.label: row for row in self._rows}[self._known(name, self.names)]
        if step not in self.steps:
            raise KeyError(f"tableau has no step {step!r}; it has {self.steps}")
        return self._reading.cell(row, step)

    @staticmethod
    def _known(name, names):
        if name not in names:
            raise KeyError(f"tableau has no row {name!r}; it has {', '.join(names)}")
        return name

    def _lines_of(self, row):
        """The lines of one row: (kind, what is differentiated, by what, one entry per column: an array, a symbol, a blank or None)."""
        reading, lines, root = self._reading, [], self._reading.row_of[self._reading.top.id].label
        root = root if " " not in root else "L"
        cells = [reading.cell(row, s) for s in self.steps]
        drawn = {kind: [self._is_blank(row, s, kind) for s in self.steps] for kind in KINDS}

        def line(kind, what, by, entries):
            if any(e is not None for e in entries):
                lines.append((kind, what, by, [BLANK if e is not None and b else e for e, b in zip(entries, drawn[kind])]))
        line("value", row.title, None, [c.value for c in cells])
        for position, name in row.operands.items():
            line("local", row.label, name, [None if name not in c.local else reading.symbol(row.nodes[s], position) or c.local[name]
                                            for c, s in zip(cells, self.steps)])
        line("adjoint", root, row.label, [c.adjoint for c in cells])
        return lines

    def _heads(self):
        return ["all t" if s is ALL else f"t={s}" for s in self.steps] if self.steps != [ALL] else [""]

    # ---- text --------------------------------------------------------------------------------------------------------------
    @property
    def text(self):
        """Columns of text; steps that do not fit side by side come below each other."""
        titles = [[("  " if by else "") + _title(kind, what, by) for kind, what, by, _ in lines] for _, lines in self._lines]
        bodies = [[[_as_text(e, self._digits) for e in entries] for *_, entries in lines] for _, lines in self._lines]
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

    def __str__(self):
        return self.text

    __repr__ = __str__

    # ---- HTML ---------------------------------------------------------------------------------------------------------------
    @property
    def html(self):
        """One table with its style, to be put into a page."""
        rows = ["<tr><th></th>" + "".join(f"<th>{escape(h)}</th>" for h in self._heads()) + "</tr>"]
        for _, lines in self._lines:
            rows.append("<tbody>")
            for kind, what, by, entries in lines:
                cells = "".join(f"<td>{_as_html(e, self._digits)}</td>" for e in entries)
                rows.append(f'<tr class="{kind}"><th>{escape(_title(kind, what, by))}</th>{cells}</tr>')
            rows.append("</tbody>")
        return f'<div class="tableau"><style>{STYLE}</style><table>\n' + "\n".join(rows) + "\n</table></div>"

    def _repr_html_(self):
        return self.html

    # ---- LaTeX --------------------------------------------------------------------------------------------------------------
    @property
    def latex(self):
        """One longtable (packages longtable and amsmath) for as many steps as fit side by side."""
        widths = [max(len(part) for _, lines in self._lines for *_, entries in lines
                      for part in _as_text(entries[c], self._digits).split("\n")) for c in range(len(self.steps))]
        tables = []
        for columns in _fitting(widths, 95):
            heads = [f"$t={s}$" if s is not ALL else "all $t$" if len(self.steps) > 1 else "" for s in (self.steps[c] for c in columns)]
            body = [r"\begin{longtable}{l" + "|l" * len(columns) + "}", " & ".join(["", *heads]) + r" \\ \hline \endhead"]
            for _, lines in self._lines:
                if any(entries[c] is not None for *_, entries in lines for c in columns):
                    for kind, what, by, entries in lines:
                        d = r"\partial " if kind == "local" else r"\mathrm{d}"
                        name = rf"\quad${d}{_math(_closed(what))}/{d}{_math(_closed(by))}$" if by else f"${_math(what)}$"
                        body.append(" & ".join([name, *(_as_latex(entries[c], self._digits) for c in columns)]) + r" \\")
                    body.append(r"\hline")
            tables.append("\n".join([*body, r"\end{longtable}"]))
        return "\n".join(tables)

    def save(self, path):
        """Write the table into a file: .txt, .html (a page) or .tex (a document)."""
        suffix = os.path.splitext(os.fspath(path))[1].lower()
        if suffix not in (".txt", ".html", ".tex"):
            raise ValueError(f"save() got the path {os.fspath(path)!r}; expected one that ends in .txt, .html or .tex")
        text = {".txt": lambda: self.text + "\n", ".tex": lambda: DOCUMENT.replace("TABLE", self.latex),
                ".html": lambda: f'<!DOCTYPE html>\n<html><head><meta charset="utf-8"><title>tableau</title></head><body>\n{self.html}\n'
                                 "</body></html>\n"}[suffix]()
        write(path, text)


def _blank(blank, names, rng):
    """A function (row, step, kind) -> is this cell left empty?"""
    if blank is None:
        return lambda row, step, kind: False
    if callable(blank):
        def chosen(row, step, kind):
            return bool(blank(row.label, step, kind))
    elif isinstance(blank, (int, float)) and not isinstance(blank, bool) and 0 <= blank <= 1:
        def chosen(row, step, kind):
            return rng.uniform() < blank
    else:
        wanted = [blank] if isinstance(blank, str) else list(blank) if isinstance(blank, (list, tuple, set)) else [blank]
        for what in wanted:
            if what not in (*KINDS, *names):
                raise ValueError(f"tableau() got blank={blank!r}; expected 'value', 'local', 'adjoint', a share 0 … 1, a function "
                                 f"(name, step, kind), or a row: {', '.join(names)}")

        def chosen(row, step, kind):
            return kind in wanted or row.label in wanted
    return lambda row, step, kind: chosen(row, step, kind) and not (kind == "value" and (row.given or step == 0))


# ---- how entries are written ---------------------------------------------------------------------------------------------------

BLANK = object()
STYLE = """
.tableau { overflow-x: auto; font: 13px/1.5 'DejaVu Sans Mono', Menlo, Consolas, monospace; color: #111 }
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


def _title(kind, what, by):
    """∂ for a local derivative, operands held fixed; d for the adjoint, the total derivative."""
    if by is None:
        return what
    d = "∂" if kind == "local" else "d" if len(what) == 1 else "d "
    return f"{d}{_closed(what)}/{d}{_closed(by)}"


def _closed(name):
    return f"({name})" if " " in name else name


def _fitting(widths, room):
    """Lists of columns that fit side by side, at least one each."""
    groups, used = [[]], 0
    for c, width in enumerate(widths):
        if groups[-1] and used + width + 3 > room:
            groups.append([])
            used = 0
        groups[-1].append(c)
        used += width + 3
    return groups


def _number(x, digits):
    x = x.item() if hasattr(x, "item") else x
    if isinstance(x, (bool, int)):
        return str(int(x))
    if not np.isfinite(x):
        return str(x)
    if x == round(x) and abs(x) < 1e5:
        return f"{x + 0.0:.0f}"
    return f"{x:.{digits}f}" if 10.0 ** -digits <= abs(x) < 1e5 else f"{x:.{max(digits - 2, 0)}e}"


def _matrix(array, digits):
    """(rows of numbers as strings, is it a column) of an array that is small enough; None of others."""
    array = np.asarray(array)
    if array.size > ENTRIES or array.ndim > 2 or array.size == 0:
        return None
    column = array.ndim == 2 and array.shape[1] == 1 and array.shape[0] > 1
    rows = np.atleast_2d(array.T if column else array)
    return [[_number(x, digits) for x in row] for row in rows], column


def _summary(array):
    return f"{tuple(array.shape)} norm {np.linalg.norm(np.asarray(array, float)):.3g}"


def _as_text(entry, digits):
    if entry is None or entry is BLANK or isinstance(entry, str):
        return "______" if entry is BLANK else entry or ""
    found = _matrix(entry, digits)
    if found is None:
        return _summary(entry)
    rows, column = found
    if len(rows) == len(rows[0]) == 1:
        return rows[0][0]
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    return "\n".join("[" + " ".join(f"{x:>{w}}" for x, w in zip(row, widths)) + "]" for row in rows) + ("ᵀ" if column else "")


def _as_html(entry, digits):
    return '<span class="blank"></span>' if entry is BLANK else escape(_as_text(entry, digits))


def _as_latex(entry, digits):
    if entry is None or entry is BLANK:
        return "" if entry is None else r"\underline{\hspace{4em}}"
    if isinstance(entry, str):
        return f"${_math(entry)}$"
    found = _matrix(entry, digits)
    if found is None:
        shape, _, norm = _summary(entry).partition(" norm ")
        return rf"${shape}$, norm ${_scientific(norm)}$"
    rows, column = found
    if len(rows) == len(rows[0]) == 1:
        return f"${_scientific(rows[0][0])}$"
    inner = r" \\ ".join(" & ".join(map(_scientific, row)) for row in rows)
    return rf"$\begin{{bmatrix}} {inner} \end{{bmatrix}}" + (r"^{\top}$" if column else "$")


def _scientific(number):
    base, e, power = number.partition("e")
    return rf"{base} \cdot 10^{{{int(power)}}}" if e else number.replace("nan", r"\text{nan}").replace("inf", r"\infty")


FUNCTIONS = {"tanh", "exp", "log", "sin", "cos", "max", "min"}
SYMBOLS = {"σ": r"\sigma ", "Σ": r"\textstyle\sum ", "Π": r"\textstyle\prod ", "ᵀ": r"^{\top}", "@": r"\,", "*": r"\odot ", "…": r"\dots ",
           "′": "'", "~": r"\sim ", "\\": r"\backslash ", **{c: "\\" + c for c in "_#%&${}"}}


def _math(formula):
    """A formula of the table as mathematics: ``h[t-1] @ W_h`` becomes h_{t-1} W_h, names that the author wrote stay names."""
    def name(match):
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


def _letters(word):
    return "".join(SYMBOLS.get(c, c) if c == "_" or not c.isascii() else c for c in word)
