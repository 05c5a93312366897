"""The norms of bptt's terms shown: as a table, as a heat map in SVG, and as one by matplotlib, with how they fall with the distance."""
from __future__ import annotations

import itertools
import math
import os
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from ..files import replacing
from .rows import tolerance_of
from .terms import norms_of

if TYPE_CHECKING:
    from .bptt import DoubleSum

RAMP = (255, 255, 204), (254, 178, 76), (189, 0, 38)         # of the heat map, from small to large


def as_text(double: DoubleSum, labels: Sequence[str]) -> str:
    """A table of the norms, with how gradients grow or decay on their way back; ``labels`` are those of the n losses."""
    n, T = double.norms.shape
    name, outside = double.name, [("outside", double.outside_norms)] if double.outside_norms.any() else []
    columns = [(f"k={j + 1}", double.norms[:, j]) if j is not None else ("…", None) for j in _some(T)]
    columns += [("explicit", double.explicit_norms), ("implicit", double.implicit_norms), *outside]
    lines = [f"{name} {double.parameter.shape}: norm of each term of ∂L/∂{name} = Σ_t Σ_k, loss t through the use at step k",
             "      " + "".join(f"{head:>10}" if values is not None else "   …" for head, values in columns)]
    for i in _some(n):
        cells = [] if i is None else [_cell(values[i]) if values is not None else "   …" for _, values in columns]
        lines.append(f"{labels[i]:<6}" + "".join(cells) if i is not None else "…")
    growth = [f"{_number(double.growth[j]):>10}" if j is not None else "   …" for j in _some(T)]
    lines.append("growth" + "".join(growth) + "   of ∂L/∂h on its way back through step k")
    known = double.growth[np.isfinite(double.growth) & (double.growth > 0)]
    if len(known):
        rate = np.exp(np.mean(np.log(known)))
        steps = abs(math.log(2) / math.log(rate)) if abs(math.log(rate)) > 1e-12 else math.inf
        what = "neither grows nor decays" if steps > 1e4 else f"{'halves' if rate < 1 else 'doubles'} in {steps:.3g} steps"
        lines.append(f"one step back multiplies the gradient by {rate:.3g} ({known.min():.3g} … {known.max():.3g}): it {what}")
    exact = double.error <= tolerance_of(double.parameter.array)
    agrees = "which is the engine's" if exact else f"OFF BY {double.error:.0e} from the engine's"
    lines.append(f"all terms add up to a gradient of norm {norms_of(double.gradient[None])[0]:.4g}, {agrees}")
    return "\n".join(lines)


def _some(n: int, most: int = 10) -> list[int | None]:
    """Which of n rows or columns are shown: all, or the first and the last with None between."""
    return list(range(n)) if n <= most else [*range(4), None, *range(n - most + 5, n)]


def _number(x: float) -> str:
    return "" if np.isnan(x) else f"{x:.3g}"


def _cell(x: float) -> str:
    return f"{'·' if x == 0 else f'{x:.1e}':>10}"


def as_svg(norms: np.ndarray, title: str, labels: Sequence[str]) -> str:
    """Norms (n, T) as squares, one a term: an SVG, each square with its number as a tooltip; ``labels`` are those of the n losses."""
    shown = norms[np.isfinite(norms) & (norms > 0)]
    low, high = (math.log(shown.min()), math.log(shown.max())) if shown.size else (0.0, 1.0)
    (n, T), side = norms.shape, max(3, min(30, 600 // max(norms.shape)))
    left, top, width, height = 44, 22, T * side, n * side                        # room for the names of losses and steps
    marks = [f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="#EEE"/>']
    for (i, j), norm in np.ndenumerate(norms):
        if norm > 0 and math.isfinite(norm):
            share = (math.log(norm) - low) / (high - low or 1.0)
            start, end = RAMP[:2] if share < 0.5 else RAMP[1:]
            colour = "#" + "".join(f"{round(a + (b - a) * (2 * share % 1 if share < 1 else 1)):02x}" for a, b in zip(start, end))
            marks.append(f'<rect x="{left + j * side}" y="{top + i * side}" width="{side}" height="{side}" fill="{colour}">'
                         f'<title>{escape(labels[i])}, use at step {j + 1}: {norm:.3g}</title></rect>')
    every = -(-30 // side)                                                       # of the names, as many as there is room for
    marks += [f'<text x="{left + (j + 0.5) * side}" y="{top - 7}" text-anchor="middle">{"k=" if j == 0 else ""}{j + 1}</text>'
              for j in range(0, T, every)]
    marks += [f'<text x="{left - 6}" y="{top + (i + 0.5) * side + 4}" text-anchor="end">{escape(labels[i])}</text>'
              for i in range(0, n, every)]
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width}" height="{top + height}" viewBox="0 0 {left + width} '
            f'{top + height}" role="img" font-family="sans-serif" font-size="12" fill="currentColor"><title>{escape(title)}</title>'
            + "".join(marks) + "</svg>")


def plot(double: DoubleSum, path: str | os.PathLike[str], title: str, labels: Sequence[str]) -> None:
    """Into a file: see ``DoubleSum.plot``; ``labels`` are those of its losses."""
    try:
        from matplotlib.colors import LogNorm
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        raise ImportError("the heat map needs matplotlib: pip install 'minigrad[plots]'") from None
    n, T = double.norms.shape
    shown = np.ma.masked_where(~(np.isfinite(double.norms) & (double.norms > 0)), double.norms)
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    figure.suptitle(title)
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    left.set_facecolor("#EEEEEE")
    if shown.count():
        low, high = shown.min(), shown.max()
        image = left.imshow(shown, cmap="YlOrRd", norm=LogNorm(low, high if high > low else 2 * low), aspect="auto",
                            interpolation="nearest")
        figure.colorbar(image, ax=left, label="norm of the term (grey: exactly 0)")
    left.set(xlabel=f"k: the step that uses {double.name}", ylabel="t: the loss")
    for axis, names in ((left.xaxis, [str(j + 1) for j in range(T)]), (left.yaxis, labels)):
        every = next(m for e in itertools.count() for m in (10 ** e, 2 * 10 ** e, 5 * 10 ** e) if len(names) <= 12 * m)
        ticks = [i for i in range(len(names)) if i == 0 or (i + 1) % every == 0]
        axis.set_ticks(ticks, [names[i] for i in ticks])
    distances, middle, lowest, highest = _by_distance(double)
    right.plot(distances, middle, color="#BD0026", marker="." if len(distances) < 60 else "", label="median over the losses")
    if n > 1:
        right.fill_between(distances, lowest, highest, color="#BD0026", alpha=0.15, linewidth=0, label="from smallest to largest")
        right.legend(frameon=False)
    if distances:
        right.set_yscale("log")
    right.set(xlabel="how many steps back", ylabel="norm of the term")
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.grid(alpha=0.3)
    right.spines[["top", "right"]].set_visible(False)
    path = os.fspath(path)
    with replacing(path) as beside:
        figure.savefig(beside, format=os.path.splitext(path)[1][1:] or "png", dpi=150)


def _by_distance(double: DoubleSum) -> tuple[list[int], list[float], list[float], list[float]]:
    """Distances in time between a loss and a use, and the median, least and largest norm of the terms there; zeros left out."""
    series: dict[int, list[float]] = {}
    for i, own in enumerate(double.own_steps):
        for j, norm in enumerate(double.norms[i]):
            if own and norm > 0 and np.isfinite(norm):
                series.setdefault(abs(own - 1 - j), []).append(norm)
    distances = sorted(series)
    middle, low, high = ([float(f(series[d])) for d in distances] for f in (np.median, np.min, np.max))
    return distances, middle, low, high
