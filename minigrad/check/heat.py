"""The norms of bptt's terms as a heat map: an SVG for a page, and a picture by matplotlib, with how they fall with the distance."""
import math
import os
from html import escape

import numpy as np

from ..files import replacing

RAMP = (255, 255, 204), (254, 178, 76), (189, 0, 38)         # of the heat map, from small to large


def as_svg(norms, title, labels):
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


def plot(double, path, title, labels):
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
        every = next(m for e in range(9) for m in (10 ** e, 2 * 10 ** e, 5 * 10 ** e) if len(names) <= 12 * m)
        ticks = [i for i in range(len(names)) if i == 0 or (i + 1) % every == 0 and i + 1 > every / 2]
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


def _by_distance(double):
    """Distances in time between a loss and a use, and the median, least and largest norm of the terms there; zeros left out."""
    series = {}
    for i, own in enumerate(double.own_steps):
        for j, norm in enumerate(double.norms[i]):
            if own and norm > 0 and np.isfinite(norm):
                series.setdefault(abs(own - 1 - j), []).append(norm)
    distances = sorted(series)
    return distances, *([f(series[d]) for d in distances] for f in (np.median, np.min, np.max))
