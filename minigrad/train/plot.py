"""Curves of training runs, drawn with matplotlib (the extra ``plots``)."""
from __future__ import annotations

import os
from typing import Any

from ..files import replacing
from .log import read_log


def plot(records: Any, path: str | os.PathLike[str], *, title: str | None = None) -> None:
    """Draw the curves of one run or several into a file (.png, .svg, .pdf): loss, gradient norm and whatever else was recorded.

    records  what ``fit`` returned, or the path of its log; or a dict name -> of these, drawn in one picture
    path     where the picture goes
    title    stands above

    One panel for each number in the records; "validation" is drawn as points on the curve of "loss". The axis is logarithmic
    where values span more than two orders of magnitude. Raises ImportError, naming the extra, without matplotlib.

    >>> plot([{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}], "curves.png")       # doctest: +SKIP
    """
    runs = records if isinstance(records, dict) else {"": records}
    runs = {name: read_log(run) if isinstance(run, (str, os.PathLike)) else list(run) for name, run in runs.items()}
    keys = list(dict.fromkeys(key for run in runs.values() for record in run for key, value in record.items()
                              if key not in ("step", "seconds") and isinstance(value, (int, float))))
    if not keys:
        raise ValueError("plot() got no records; expected what fit returned, the path of its log, or a dict of these")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("plots of curves need matplotlib: pip install 'minigrad[plots]'") from None
    panels = [key for key in keys if key != "validation" or "loss" not in keys]
    figure = Figure(figsize=(7, 0.6 + 2.4 * len(panels)), layout="constrained")
    figure.suptitle(title or "")
    axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for axis, key in zip(axes, panels):
        _panel(axis, key, runs, ["validation"] if key == "loss" and "validation" in keys else [])
    if len(axes[0].get_lines()) > 1:
        axes[0].legend(frameon=False)
    axes[-1].set_xlabel("step")
    path = os.fspath(path)
    with replacing(path) as beside:
        figure.savefig(beside, format=os.path.splitext(path)[1][1:] or "png", dpi=150)


def _panel(axis: Any, key: str, runs: dict[str, list[dict[str, Any]]], points: list[str]) -> None:
    """The curves of ``key``, and as points on top of them those of other keys."""
    everything = []
    for colour, (name, run) in enumerate(runs.items()):
        for which in (key, *points):
            steps, values = _curve(run, which)
            if not values:
                continue
            if which == key:
                label, style = name or key, {"linewidth": 1, "marker": "." if len(steps) < 60 else "", "alpha": 0.6 if points else 1}
            else:
                label, style = f"{name} {which}".strip(), {"marker": "o", "markersize": 4, "markerfacecolor": "white", "zorder": 3}
            axis.plot(steps, values, color=f"C{colour}" if name or which == key else "C1", label=label, **style)
            everything += values
    if key != "learning_rate" and min(everything) > 0 and max(everything) > 100 * min(everything):
        axis.set_yscale("log")
    axis.set_ylabel({"norm": "gradient norm", "learning_rate": "learning rate"}.get(key, key))
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)


def _curve(run: list[dict[str, Any]], key: str) -> tuple[list[Any], list[Any]]:
    points = [(record["step"], record[key]) for record in run if key in record]
    return [step for step, _ in points], [value for _, value in points]
