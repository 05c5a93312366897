"""``python -m minigrad report path.py:Class``: one page about a cell, composed of what the readers of the graph say.

Each section is a function of the Subject that returns HTML, and an entry in SECTIONS. One that fails says why on the page; the others
stand. The page needs no network and runs no script.
"""
from __future__ import annotations

import platform
import statistics
import time
from dataclasses import dataclass
from html import escape
from typing import Any, Callable, Iterable

import numpy as np

import minigrad as mg

from .nested import Nested, flatten, rebuild
from .queries import cost
from .recurrent.state import called

DRAWN = 3            # steps in the picture
CHECKED = 4          # steps of the gradient check
STATED = 40          # entries of the state, at most, of which the Jacobian is taken
REPEATS = 15         # timings, of which the median is told


@dataclass
class Subject:
    """The cell, and inputs xs (T, B, D) drawn from N(0, 1) for it."""
    cell: Any
    xs: np.ndarray | mg.Tensor

    def run(self, xs: Any = None, over: Any = None, state: Nested = None, **options: Any) -> tuple[Any, ...]:
        over = over or mg.unroll
        return over(self.cell, self.xs if xs is None else xs, state, **options)

    def state(self, rows: int) -> tuple[Nested, list[Any]]:
        """The initial state, of parameters: (nested state, its leaves)."""
        start = self.cell.initial_state(rows)
        leaves = [mg.parameter(s) if s.dtype.kind == "f" else s for s in flatten(start)]         # a counter is no number to differentiate
        return rebuild(start, leaves), leaves

    @property
    def parameters(self) -> dict[str, mg.Tensor]:
        return self.cell.parameters() if isinstance(self.cell, mg.Module) else {}


def _energy(ys: mg.Tensor) -> mg.Tensor:
    """Half the sum of squares of all outputs: the loss of the page."""
    return (ys * ys).sum() / 2


# ---- the sections ----------------------------------------------------------------------------------------------------------

def parameters(subject: Subject) -> str:
    """Parameters"""
    try:
        one = cost(subject.cell, subject.xs[0, :1], subject.state(1)[0])
        of = ", ".join(f"{name} {n:,}" for name, n in one.by_op.items())
        work = f"{one.parameters:,} numbers. One step of one row: {one.flops:,} floating-point operations ({of})."
    except ValueError as error:                     # an op that hides what it computes
        work = str(error)
    rows = [(name, str(p.shape), str(p.dtype), f"{p.size:,}", f"{p.data.mean():+.3g}", f"{p.data.std():.3g}")
            for name, p in subject.parameters.items()]
    table = _table("name shape dtype numbers mean std".split(), rows) if rows else "<p>The cell has no parameters of its own.</p>"
    return table + f"<p>{escape(work)}</p>"


def equations(subject: Subject) -> str:
    """Equations, and back-propagation through time"""
    return f"<pre>{escape(mg.derive(subject.cell, subject.xs[0, 0]).text)}</pre>"


def picture(subject: Subject) -> str:
    """Picture"""
    ys, _ = subject.run(subject.xs[:DRAWN])
    return mg.draw(_energy(ys), title=f"{DRAWN} steps").svg() + mg.draw(_energy(ys), folded=True, title="folded").svg()


def gradients(subject: Subject) -> str:
    """Gradient check"""
    xs = subject.xs[:CHECKED]
    if subject.parameters:
        found = mg.check.gradcheck(lambda: _energy(subject.run(xs)[0]), subject.cell)
    else:
        found = mg.check.gradcheck(lambda xs: _energy(subject.run(xs)[0]), {"xs": xs})
    return ("" if found.ok else DIFFERS) + found.html()


def spectrum(subject: Subject) -> str:
    """Jacobian spectrum: how far a gradient reaches"""
    state, leaves = subject.state(1)
    size = sum(leaf.size for leaf in leaves if leaf.dtype.kind == "f")
    ys, _, states = subject.run(subject.xs[:, :1], state=state, states=True)
    losses = [_energy(y) for y in ys]
    if not size:
        return "<p>The state has no numbers to differentiate.</p>"
    used = {id(node.tensor) for node in mg.graph.Graph.of(*losses, names=False).nodes}
    shared = max([*subject.parameters.values(), *leaves], key=lambda p: (id(p) in used and p.dtype.kind == "f") * (p.size + 1))
    double = mg.check.bptt(losses, states, shared)
    T, parts = len(losses), []
    if size <= STATED:
        rows, spans = [], {T - d for d in (1, 2, 4, 8, 16, 32, T)} & set(range(T))
        for k in sorted(spans, reverse=True):
            values = double.singular_values(T, k, row=0)
            shown = values[0], np.median(values), values[-1], np.sum(values > 1e-3)
            rows.append((f"{T - k}", *(f"{v:.3g}" for v in shown)))
        parts.append(f"<p>Singular values of ∂s<sub>{T}</sub>/∂s<sub>{T}−d</sub>, the whole state s, one row:</p>"
                     + _table(["d", "largest", "median", "smallest", f"above 0.001, of {size}"], rows))
    else:
        parts.append(f"<p>The state has {size} numbers a row, more than {STATED}: singular values are left out; take a smaller "
                     "<code>--hidden-size</code>.</p>")
    return "".join(parts) + double.html()


def speed(subject: Subject) -> str:
    """Speed, on this machine"""
    def forward_and_back(over: Callable[..., Any]) -> None:
        for p in subject.parameters.values():
            p.grad = None
        _energy(subject.run(over=over)[0]).backward()

    T, B, _ = subject.xs.shape
    if not subject.parameters:
        subject = Subject(subject.cell, mg.parameter(subject.xs))
    begin = time.perf_counter()
    forward_and_back(mg.scan)
    first = time.perf_counter() - begin
    times: dict[str, list[float]] = {"mg.unroll": [], "mg.scan": []}
    for _ in range(REPEATS):
        for name, over in (("mg.unroll", mg.unroll), ("mg.scan", mg.scan)):
            begin = time.perf_counter()
            forward_and_back(over)
            times[name].append(time.perf_counter() - begin)
    rows = [(name, f"{1e3 * statistics.median(t):.2f}", f"{1e6 * statistics.median(t) / T:.0f}") for name, t in times.items()]
    return (_table(["", "ms", "µs a step"], rows)
            + f"<p>Forward and backward, all gradients, T = {T} steps, B = {B} rows, {subject.xs.dtype}: the median of {REPEATS}, taken in "
              f"turns. mg.scan's first call, which compiles and checks: {1e3 * first:.0f} ms. Python {platform.python_version()}, NumPy "
              f"{np.__version__}, {platform.machine()}.</p>")


DIFFERS = '<p class="error">The gradients of this cell differ from the complex step.</p>'
SECTIONS = (parameters, equations, picture, gradients, spectrum, speed)


# ---- the page ----------------------------------------------------------------------------------------------------------------

STYLE = """:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; background: Canvas; color: CanvasText }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2.5rem; border-bottom: 1px solid #8888; padding-bottom: .2rem }
table { border-collapse: collapse; margin: .6rem 0 }
th, td { padding: .15rem .8rem .15rem 0; text-align: left; font-variant-numeric: tabular-nums }
caption { text-align: left; font-weight: 600 } tr + tr { border-top: 1px solid #8884 }
pre, .wide { overflow-x: auto } pre { font-size: .85rem; line-height: 1.45 }
.wide > svg { background: #fff; border-radius: 6px; margin: .4rem 0; height: auto; max-width: none }
.error { border-left: 4px solid #c33; padding-left: .8rem }
@media print { body { margin: 0; max-width: none } pre { white-space: pre-wrap } .wide > svg { max-width: 100% } }"""


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    def line(tag: str, cells: Iterable[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"
    return "<table>" + line("th", heads) + "".join(line("td", row) for row in rows) + "</table>"


def page(cell: Callable[..., Any], *, input_size: int = 5, steps: int = 20, batch_size: int = 3, seed: int = 0) -> str:
    """One HTML page about a cell: parameters, equations, picture, gradient check, Jacobian spectrum and speed. Returns the text.

    cell        callable ``y, state = cell(x, state)``; a Module shows its parameters, one with ``initial_state`` also its Jacobians
    input_size  D of the random inputs (T, B, D); ``steps`` is T, ``batch_size`` B

    >>> "Jacobian spectrum" in page(mg.RNNCell(5, 6), steps=4)
    True
    """
    if steps < 1 or batch_size < 1 or input_size < 1:
        raise ValueError(f"report: steps, batch_size and input_size are {steps}, {batch_size} and {input_size}; expected 1 or more of each")
    xs = np.random.default_rng(seed).standard_normal((steps, batch_size, input_size))
    subject, name = Subject(cell, xs), called(cell)
    subject.run(xs[:1])                                                         # a cell that does not run has no report
    parts = [f"<h1>{escape(name)}</h1>"]
    document = (getattr(cell, "__doc__", None) or "").partition("\n\n")[0].strip()
    if document:
        parts.append(f"<p>{escape(document)}</p>")
    for section in SECTIONS:
        parts.append(f"<section><h2>{escape(section.__doc__ or '')}</h2>")
        try:
            parts.append(f'<div class="wide">{section(subject)}</div>')
        except Exception as error:                                              # told where it belongs, the rest stands
            parts.append(f'<p class="error">{escape(f"{type(error).__name__}: {error}")}</p>')
        parts.append("</section>")
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, '
            f'initial-scale=1"><meta http-equiv="Content-Security-Policy" content="{policy}"><title>{escape(name)}</title>'
            f'<style>{STYLE}</style></head><body>\n' + "\n".join(parts) + "\n</body></html>\n")
