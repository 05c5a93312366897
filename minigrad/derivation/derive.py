"""``mg.derive``: minigrad writes the derivation of a cell's back-propagation through time, line by line.

What a step computes and what its gradients are is found out in ``forward.py`` and ``adjoint.py``, how it is written in ``notation.py`` and
``program.py``. Here all that is put together.
"""
from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph import Graph
from ..module import Module
from ..nested import Nested
from ..ops import binary_cross_entropy, softmax_cross_entropy, squared_error
from ..recurrent.state import called
from ..tensor import Tensor, parameter
from .adjoint import adjoint
from .code import Code
from .expression import Expression, Reference
from .forward import Reader
from .latex import Latex
from .lines import Line, Lines
from .notation import Text
from .program import program
from .settle import settle
from .step import Step
from .trace import trace_step

WIDTH = 108         # of text in a terminal


class Derivation:
    """What ``derive`` wrote.

    text        the equations for a terminal; ``print(derivation)``
    latex       the same as amsmath ``align`` environments; ``document`` is a whole LaTeX file
    numpy       the source of a function ``bptt`` that computes it with NumPy and nothing else
    lines       the equations as data: section, name, formula, text, latex
    parameters  {argument of bptt: parameter of the cell}
    arguments   {argument of bptt: array}: the parameters as they are now, and arrays that the cell met
    notes       what a reader should know, for example ops without a written gradient
    """

    def __init__(self, title: str, lines: list[Line], numpy: str, parameters: dict[str, Tensor], constants: dict[str, np.ndarray],
                 notes: list[str], arrange: Callable[[np.ndarray], np.ndarray]) -> None:
        self.title, self.lines, self.numpy, self.parameters, self.notes = title, lines, numpy, parameters, notes
        self._constants, self._arrange = constants, arrange

    @property
    def arguments(self) -> dict[str, np.ndarray]:
        return {name: self._arrange(array) for name, array in
                [*((name, p.data) for name, p in self.parameters.items()), *self._constants.items()]}

    @property
    def text(self) -> str:
        parts, section = [self.title], ""
        for i, line in enumerate(self.lines, 1):
            if line.section != section:
                section = line.section
                parts += ["", f"{section}{_EXPLANATIONS[section][0]}"]
            parts.append(_wrapped(line.text, f"  ({i})".ljust(7)))
        if self.notes:
            parts += ["", *(textwrap.fill(f"Note: {note}", WIDTH, subsequent_indent="      ") for note in self.notes)]
        return "\n".join(parts)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<{self.title}: {len(self.lines)} lines>"

    @property
    def latex(self) -> str:
        parts: list[str] = []
        section = ""
        for line in self.lines:
            if line.section != section:
                if section:
                    parts[-1] = parts[-1].removesuffix(r" \\") + "\n" + r"\end{align}"
                section = line.section
                parts.append(rf"\noindent\textbf{{{section}}}{_EXPLANATIONS[section][1]}")
                parts.append(r"\begin{align}" if parts[:-1] else r"\setcounter{equation}{0}" + "\n" + r"\begin{align}")
            parts.append("  " + line.latex + r" \\")
        parts[-1] = parts[-1].removesuffix(r" \\") + "\n" + r"\end{align}"
        return "\n".join(parts)

    @property
    def document(self) -> str:
        """A LaTeX file of its own: ``pdflatex`` turns it into pages."""
        rows = [re.sub(r"\\(notag|quad|operatorname|mathrm|left|right|frac)\b|[{}^_&]|\\[,!]", "", row) for line in self.lines
                for row in line.latex.split(r" \\ ")]
        rows = [re.sub(r"\\[A-Za-z]+", "x", row) for row in rows]
        longest = max(map(len, rows))
        title, notes = _escaped(self.title), [rf"\par Note: {_escaped(note)}" for note in self.notes]
        return "\n".join([r"\documentclass{article}", r"\usepackage[utf8]{inputenc}", r"\usepackage{amsmath,amssymb}",
                          rf"\usepackage[paperwidth={max(24, round(8 + 0.17 * longest))}cm,paperheight=32cm,margin=2cm]{{geometry}}",
                          r"\allowdisplaybreaks", r"\setlength{\parindent}{0pt}", r"\begin{document}", rf"\section*{{{title}}}",
                          self.latex, *notes, r"\end{document}", ""])

    def _repr_markdown_(self) -> str:
        rows = "\n".join(rf"&{line.latex} \\" for line in self.lines)
        return f"**{self.title}**\n\n$$\n\\begin{{aligned}}\n{rows}\n\\end{{aligned}}\n$$"


def _wrapped(text: str, front: str) -> str:
    """A line of text goes on below: behind a comma or before a + or =; only if need be within parentheses, or within a product."""
    for most, signs in ((0, "-+="), (9, "-+="), (9, "-+=⊙")):
        whole, depth = "", 0
        for before, ch, behind in zip(" " + text, text, text[1:] + " "):
            depth += (ch in "([") - (ch in ")]")
            whole += "\xa0" if ch == " " and before != "," and not (behind in signs and depth <= most) else ch
        lines = textwrap.wrap(whole, WIDTH, initial_indent=front, subsequent_indent=" " * 13, break_long_words=False,
                              break_on_hyphens=False)
        if max(map(len, lines)) <= WIDTH:
            break
    return "\n".join(lines).replace("\xa0", " ")


def _escaped(text: str) -> str:
    for letter, code in {"\\": r"\textbackslash{}", "_": r"\_", "&": r"\&", "%": r"\%", "#": r"\#", "^": r"\^{}", "…": r"\dots{}",
                         "∂": r"$\partial$", "′": "'", "½": r"$\frac{1}{2}$", ">": "$>$", "<": "$<$"}.items():
        text = text.replace(letter, code)
    return text


# ---- heads: the loss of one step ------------------------------------------------------------------------------------------

class _Head(Module):
    """o = y W_y + b_y, and a loss of o; the parameters are made when the width of y is known, with names that are free."""
    width = 7
    W: Tensor
    b: Tensor

    def __init__(self, loss: Callable[..., Tensor], taken: set[str]) -> None:
        self.loss = loss
        self.names = next(names for names in [("W_y", "b_y"), ("W_o", "b_o"), ("V", "c"), ("W_head", "b_head")] if not taken & set(names))

    def prepare(self, y: Tensor, rows: int | None) -> None:
        """Make the parameters, before the step is recorded on a batch of so many rows, or on one row."""
        if hasattr(self, "W") and len(self.W) == y.shape[-1]:
            return
        if y.ndim < 1 or y.ndim > 1 and y.shape[-1] == 1 and rows is None:
            raise ValueError(f"the ready-made heads read rows (D,), and the output has shape {y.shape}; give a head of your own: "
                             "head(y, target) -> loss")
        rng = np.random.default_rng(1)
        self.W = parameter(rng.standard_normal((y.shape[-1], self.width)), name=self.names[0])
        self.b = parameter(rng.standard_normal(self.width), name=self.names[1])

    def __call__(self, _y: Tensor, target: Tensor) -> Tensor:
        o = _y @ self.W + self.b
        return self.loss(o, target, reduction="sum")


HEADS: dict[str, tuple[Callable[..., Tensor], Any]] = {         # name -> its loss, an example of a target
    "softmax": (softmax_cross_entropy, 0), "sigmoid": (binary_cross_entropy, np.zeros(_Head.width)),
    "linear": (squared_error, np.zeros(_Head.width))}


def derive(cell: Any, x: Any = None, state: Nested = None, *, head: str | Callable[..., Any] | None = None, target: Any = None,
           convention: str | None = None) -> Derivation:
    """Write the derivation of ``cell``: its equations, its back-propagation through time, and both as a NumPy function.

    cell        callable ``y, state = cell(x, state)``: any of minigrad's, or your own
    x           one row of input, (D,), as an example; found out by itself if the cell has parameters
    state       one row of the state; default ``cell.initial_state``
    head        the loss of one step, in terms of the cell's output: ``"softmax"`` (o = h W_y + b_y, softmax cross-entropy), ``"sigmoid"``
                (binary cross-entropy), ``"linear"`` (squared error), or your own ``loss = head(y, target)``, a number, with ``target`` an
                example of one row's target; default None: the gradients of outputs and last state are given
    convention  "row" (x W) or "column" (W x); default: as the cell is written

    Returns a Derivation: ``.text``, ``.latex``, ``.numpy``, ``.lines``. The gradients are those of the ops' own rules, simplified; names
    are those of the author's variables. Written for one sequence; for a batch, gradients of parameters are also summed over its rows.

    >>> import minigrad as mg
    >>> for line in derive(mg.RNNCell(3, 4)).lines[:4]:
    ...     print(line.text)
    h_t = tanh(x_t W_x + h_{t-1} W_h + b)
    L = Σ_t L_t(h_t)
    ∂L/∂h_t = ∂L_t/∂h_t + δ_{t+1} W_hᵀ = ∂L_t/∂h_t + (∂L/∂h_{t+1} ⊙ (1 - h_{t+1}²)) W_hᵀ
    δ_t = ∂L/∂h_t ⊙ (1 - h_t²)
    """
    if convention not in (None, "row", "column"):
        raise ValueError(f"derive() got convention={convention!r}; expected 'row' (x W), 'column' (W x) or None (as the cell is written)")
    loss, target, named = _head(cell, head, target)
    graph, roles = trace_step(cell, x, state, loss, target)
    native = _native(graph)
    convention = convention or native
    flip = convention != native
    reader = Reader(cell, graph, roles)
    step = reader.step
    settle(step, adjoint(reader))
    leaf = {r: _leaf_gradient(step, r) for r in (*(s.before for s in step.states), step.x)}
    writers = [kind(nabla=convention == "column", flip=flip, width=step.width, rows=step.rows) for kind in (Text, Latex)]
    heads = loss.parameters().values() if isinstance(loss, Module) else ()
    lines = Lines(step, leaf, writers, heads, native == "column").all()
    title = f"Derivation of {called(cell)}{f' with {named} head' if named else ''}, {convention} vectors"
    source, code = program(step, leaf, lambda code: _describe(step, code, title), flip)
    if any(contains(r.definition, "wins") for r in [*step.backward, *step.after]):
        step.notes.append("1[a > b] is ½ where a = b: equal candidates share the gradient.")
    for name in code.stubs:
        if "_pullback_" not in name:
            step.notes.append(f"{name} is no function of NumPy: fill it in where the NumPy function leaves it open.")
    parameters = {code.names[r]: t for r, t in step.parameters.items()}
    constants = {code.names[r]: v for r, v in step.constants.items() if r.shape}
    notes = list(dict.fromkeys(step.notes))
    return Derivation(title, lines, source, parameters, constants, notes, _columns if flip else np.asarray)


def contains(e: Expression, op: str) -> bool:
    """Does op occur in e?"""
    return e.op == op or any(contains(a, op) for a in e.args)


def _columns(a: np.ndarray) -> np.ndarray:
    """An array in the other convention: matrices transposed, vectors as columns."""
    return a.mT if a.ndim > 1 else a[:, None] if a.ndim else a


def _head(cell: Any, head: str | Callable[..., Any] | None, target: Any) -> tuple[Callable[..., Any] | None, Any, str | None]:
    """(the loss of a step, an example of a target, what the title calls it)"""
    if head is None:
        if target is not None:
            raise TypeError("derive() got a target but no head; give the loss of one step: head(y, target), or 'softmax'")
        return None, None, None
    if isinstance(head, str):
        if head not in HEADS:
            raise ValueError(f"derive() got head={head!r}; expected {', '.join(map(repr, HEADS))}, or a function head(y, target) -> loss")
        loss, default = HEADS[head]
        taken = {name.split(".")[-1] for name in cell.parameters()} if isinstance(cell, Module) else set()
        return _Head(loss, taken), default, head
    if not callable(head):
        raise TypeError(f"derive() got a {type(head).__name__} as head; expected a function head(y, target) -> loss, or one of "
                        f"{', '.join(map(repr, HEADS))}")
    if target is None:
        raise TypeError("derive() needs target with a head of your own: an example of one row's target, for example 0 (a class) or "
                        "np.zeros(K)")
    return head, target, called(head)


def _native(graph: Graph) -> str:
    """Row or column: on which side of what moves do the matrices stand?"""
    moving = set(graph.inputs)
    right = left = 0
    for n in graph.nodes:
        if any(i in moving for i in n.inputs):
            moving.add(n.id)
        if n.op is not None and n.op.name == "matmul":
            a, b = (i in moving for i in n.inputs)
            right += a and not b
            left += b and not a
    return "column" if left > right else "row"


def _leaf_gradient(step: Step, leaf: Reference) -> Expression | None:
    """The gradient of x or of a part of the old state, in terms of the lines above; None if nothing arrives."""
    return next((g.definition for g in step.backward if g.of is leaf), None)


_EXPLANATIONS = {
    "Once": (" (what depends on the parameters alone)", " (what depends on the parameters alone)"),
    "Forward": (", t = 1 … T", r", $t = 1 \dots T$"),
    "Backward": (", t = T … 1; terms of step T+1 are 0, or what is given for the last state",
                 r", $t = T \dots 1$; terms of step $T+1$ are 0, or what is given for the last state"),
    "Gradients": ("", ""),
    "The same as a double sum": ("; in Π the latest factor stands next to ∂L_t, in ∂h_k/∂W the state before is fixed, v is any vector",
                                 r"; in $\prod$ the latest factor stands next to $\partial L_t$, in $\partial h_k / \partial W$ the state "
                                 r"before is fixed, $v$ is any vector"),
}


def _describe(step: Step, code: Code, title: str) -> str:
    """The docstring of the program."""
    states = ", ".join(code.names.starts[s.after] for s in step.states)
    xs = "(T, D, B)" if code.flip else "(T, B, D)"
    lines = [f"{title}: gradients of everything, back-propagation through time.", "",
             f"xs {xs if step.rows else '(T, …)'}: the inputs of T steps{f'; {states}: the initial state' if states else ''}."]
    if step.loss is not None:
        lines.append("ys: the targets of T steps. The loss is the sum of all steps' losses.")
    else:
        lines.append("dys: the gradients that arrive at the T outputs.")
    ends = [code.names.ends[s.end] for s in step.carried]
    if ends:
        lines.append(f"{', '.join(ends)}: the gradient that arrives at the last state, if any.")
    lines.append(f"Returns a dict: {'the loss L and ' if step.loss is not None else ''}the gradient of each argument, under its name.")
    return "\n".join(f"    {line}" if i and line else line for i, line in enumerate(lines)) + "\n    "
