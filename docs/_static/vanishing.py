"""Draws vanishing.png, the heat maps of why-gradients-vanish.md, with the code of that page. Needs matplotlib.

    python docs/_static/vanishing.py
"""
import contextlib
import io
import re
from pathlib import Path

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

import minigrad as mg

HERE = Path(__file__).parent


def page():
    """What the page's first block defines: its sizes, double_sum, elman."""
    text = (HERE.parent / "why-gradients-vanish.md").read_text(encoding="utf-8")
    namespace: dict = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(re.search(r"^```python\n(.*?)^```$", text, re.M | re.S)[1], namespace)
    return namespace


def draw(path):
    its = page()
    T, D, H, elman = (its[name] for name in ("T", "D", "H", "elman"))
    cells = {"Elman, gain 0.5": elman(0.5), "Elman, gain 2": elman(2.0),
             "LSTM, forget bias 3": mg.LSTMCell(D, H, forget_bias=3.0), "antisymmetric": mg.AntisymmetricRNNCell(D, H)}
    figure = Figure(figsize=(6.4, 6.2), layout="constrained")
    for axes, (title, cell) in zip(figure.subplots(2, 2, sharex=True, sharey=True).flat, cells.items()):
        norms = its["double_sum"](cell).norms
        image = axes.imshow(np.ma.masked_equal(norms, 0), cmap="YlOrRd", norm=LogNorm(1e-6, 10, clip=True), interpolation="nearest",
                            extent=(0.5, T + 0.5, T + 0.5, 0.5))
        axes.set_title(title)
        axes.set_facecolor("#EEEEEE")
        axes.set(xticks=(1, 10, 20, 30, 40), yticks=(1, 10, 20, 30, 40), xlabel="k: the step that uses W_h", ylabel="t: the loss")
        axes.label_outer()
    bar = figure.colorbar(image, ax=figure.axes, location="bottom", shrink=0.7, aspect=40, extend="both")
    bar.set_label("norm of the term C[t, k] (grey: exactly 0)")
    figure.savefig(path, dpi=140)


if __name__ == "__main__":
    draw(HERE / "vanishing.png")
