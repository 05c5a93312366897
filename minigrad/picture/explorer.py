"""`explore`: the picture as a page to walk about in. One HTML file that needs no network; here its data is gathered.

The page shows what `draw` lays out (all operations, cells, folded), with a card for every node and the backward pass played
one op at a time. `explorer.js` and `explorer.css` are put into the file as they are.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write
from ..graph.evaluate import through
from . import describe, folded as folding, heat as heating, marks as marking, text, zoom
from .drawing import graph_of
from .layout import Layout
from .reading import Reader
from .scene import Scene
from .words import Words

STEPS = 100_000          # columns are not folded away here
SMALL = 12               # numbers of a value that are written out
HERE = Path(__file__).parent


def explore(root: Any, path: str | os.PathLike[str] = "graph.html", *, title: str | None = None, steps: int = STEPS) -> Path:
    """Write the graph that made `root` as one HTML page to explore, and return its path.

    `root`: a Tensor, a tuple of Tensors, or a recorded Graph; of one number, its gradients are on the page too.  `steps`:
    columns that are drawn at most (default all).  The page pans, zooms, searches; folds to cells and to one step; lights the
    uses of a parameter; has a card for each node; plays the backward pass forwards and back.  It holds the graph's numbers in
    summary (norm, mean, range; arrays of up to 12 numbers to four digits), the names of your variables and the lines of your cells,
    and no names of files.

    >>> import minigrad as mg
    >>> ys, h = mg.unroll(mg.RNNCell(2, 3), np.ones((4, 1, 2)))
    >>> explore((h * h).sum(), "page.html").name
    'page.html'

    Raises TypeError if root is no Tensor, ValueError for `steps` below 1, OSError where the path cannot be written.
    """
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise ValueError(f"explore(steps=...) got {steps!r}: expected a whole number of columns, at least 1")
    target = Path(path)
    if target.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"explore(path) got {target.name!r}: expected a name that ends in .html")
    page = html(graph_of(root, "explore"), title or "minigrad", steps)
    try:
        write(target, page)
    except OSError as error:
        raise OSError(f"cannot write the page to {str(target)!r}: {error.strerror or error}; give explore() a path in a folder that "
                      "exists and that you may write to") from error
    return target


def html(graph: Any, title: str, steps: int) -> str:
    """The page as text."""
    script, sheet = ((HERE / f"explorer.{end}").read_text(encoding="utf-8") for end in ("js", "css"))
    data = json.dumps(content(graph, title, steps), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    data = data.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    hashed = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hashed}'"
    return ('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{text.xml(title)}</title>\n'
            f"<style>{sheet}</style></head>\n<body>\n{(HERE / 'explorer.html').read_text(encoding='utf-8')}\n"
            f'<script type="application/json" id="data">{data}</script>\n<script>{script}</script>\n</body></html>\n')


def content(graph: Any, title: str, steps: int) -> dict[str, Any]:
    """Everything the page knows, ready for JSON."""
    try:
        gradients, without = heating.gradients(graph), ""
    except ValueError as error:
        gradients, without = None, str(error).partition(": ")[2] or str(error)
    scenes = {"ops": Layout(*_story(graph, steps)).scene, "cells": Layout(*_story(graph, steps, cells=True)).scene,
              "folded": folding.lay_out(*_story(graph, steps), graph, values=False, shapes=True, title=None)}
    timeless = not any(node.step for node in graph.nodes)
    if timeless:
        scenes = {"ops": scenes["ops"]}
    palette = _Numbers()
    return {"title": text.plain(title), "without": without, "scenes": {name: _scene(s, palette) for name, s in scenes.items()},
            "palette": palette.items, "nodes": _nodes(graph, gradients)}


def _story(graph: Any, steps: int, cells: bool = False) -> tuple[Any, Any]:
    story = Reader(graph, steps).read()
    if cells:
        zoom.cells(story)
    return story, describe.style(graph, values=False, shapes=True, gradients=None)


# --- scenes ---------------------------------------------------------------------------------------------------------

class _Numbers:
    """A list of different things, and their places in it."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._places: dict[Any, int] = {}

    def of(self, item: Any) -> int:
        if item not in self._places:
            self._places[item] = len(self.items)
            self.items.append(item)
        return self._places[item]


def _scene(scene: Scene, palette: _Numbers) -> dict[str, Any]:
    """A scene as lists of numbers, y downwards; colours and texts are places in the palette."""
    def r(value: float) -> float:
        return round(value, 1)

    return {
        "shapes": [[r(s.x), r(-s.y), r(s.width), r(s.height), palette.of(s.form),
                    palette.of((s.fill, s.rim, s.rim_width, s.dash, s.ink)), palette.of(tuple(s.lines)), list(s.nodes), palette.of(s.role)]
                   for s in scene.shapes],
        "arrows": [[[r(c) for x, y in a.points for c in (x, -y)], None if a.tip is None else [r(a.tip[0]), r(-a.tip[1])],
                    palette.of((a.colour, a.width, a.dash)), *a.ends] for a in scene.arrows],
        "panels": [[r(p.left), r(-p.high), r(p.right - p.left), r(p.high - p.low), palette.of((p.fill, p.rim, p.dash))]
                   for p in scene.panels],
        "texts": [[r(w.x), r(-w.y), palette.of(w.words), w.size, palette.of(w.ink)] for w in scene.texts],
        "bounds": [r(c) for c in (lambda b: (b[0], -b[3], b[2], -b[1]))(scene.bounds())]}


# --- nodes ----------------------------------------------------------------------------------------------------------

def _nodes(graph: Any, gradients: Any) -> list[dict[str, Any]]:
    words, sums, found = Words(graph), _Sums(graph), []
    counted: dict[Any, dict[str, int]] = {}
    for node in graph.nodes:
        seen = counted.setdefault((node.loop, node.step), {})
        what = text.plain(node.name or marking.op_name(node))
        seen[what] = seen.get(what, 0) + 1
        gradient = gradients.get(node.id) if gradients is not None else None
        card = {"name": text.plain(words.name(node.id)), "op": marking.op_name(node) if node.op is not None else node.kind,
                "shape": list(node.value.shape), "dtype": str(node.value.dtype), "in": list(node.inputs), "value": _numbers(node.value)}
        if node.step is not None:
            card.update(step=node.step, series=f"{node.loop} {what} {seen[what]}")
        if node.op is not None:
            card["formula"] = words.formula(node.id)
        if getattr(node, "source", None):
            function, line, written = node.source
            card["source"] = text.plain(f"{function}, line {line}" + (f": {written}" if written else ""))
        if gradient is not None:
            card["gradient"] = _numbers(gradient)
            if node.op is not None:
                card["rules"] = words.rules(node)
                card["parts"] = _parts(graph, gradients, node, sums)
        sums.ended(node.id)
        found.append(card)
    for parameter, terms in sums.norms().items():
        found[parameter]["terms"] = terms
    return found


class _Sums:
    """BPTT as a sum: for every parameter the norm of what each time step of each loop contributes to its gradient."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self._last: dict[Any, int] = {}                             # of every step of every loop, its last node
        for node in graph.nodes:
            if node.step:
                self._last[node.loop, node.step] = node.id
        self._ends = {n: place for place, n in self._last.items()}
        self._open: dict[Any, dict[int, np.ndarray]] = {}
        self._terms: dict[int, list[list[Any]]] = {}

    def add(self, parameter: int, node: Any, part: np.ndarray) -> None:
        if node.step and self.graph.nodes[parameter].kind == "parameter":
            step = self._open.setdefault((node.loop, node.step), {})
            step[parameter] = step[parameter] + part if parameter in step else part

    def ended(self, number: int) -> None:
        """What has been added up is measured and let go where the step's last node has been read."""
        place: Any = self._ends.get(number)
        for parameter, total in self._open.pop(place, {}).items():
            self._terms.setdefault(parameter, []).append([place[1], _digits(_norm(total)), self._loop(place[0])])

    def _loop(self, loop: Any) -> int:
        return sorted({place[0] for place in self._last}).index(loop)

    def norms(self) -> dict[int, list[list[Any]]]:
        """Parameter -> [[step, norm, number of the loop], …]."""
        return {parameter: sorted(terms, key=lambda t: (t[2], t[0])) for parameter, terms in self._terms.items() if len(terms) > 1}


def _parts(graph: Any, gradients: Any, node: Any, sums: _Sums) -> list[Any]:
    """What the op hands back to each of its operands, in numbers; None where that is nothing."""
    found = []
    for position, operand in enumerate(node.inputs):
        with np.errstate(all="ignore"):
            part = None if gradients.get(operand) is None else through(node.tensor, position, gradients.get(node.id))
        facts = {} if part is None else _numbers(part)
        if part is not None:
            sums.add(operand, node, part)
        found.append({key: facts[key] for key in ("norm", "all") if key in facts} or None)
    return found


def _numbers(array: Any) -> dict[str, Any]:
    """An array in summary: all of it where it is small, else norm, mean, standard deviation and range."""
    array = np.asarray(array)
    if array.dtype.kind not in "fiub" or not array.size:
        return {}
    flat = array.reshape(-1)
    with np.errstate(all="ignore"):
        numbers = flat.astype(float)
        facts = {"norm": _norm(numbers), "mean": numbers.mean(), "std": numbers.std(), "min": flat.min(), "max": flat.max()}
    facts = {name: _digits(value) for name, value in facts.items()}
    return {**facts, "all": [_digits(v) for v in flat]} if array.size <= SMALL else facts


def _norm(array: np.ndarray) -> float:
    """The root of the sum of squares, scaled, so that those of tiny and of huge numbers are there."""
    with np.errstate(all="ignore"):
        largest = float(np.max(np.abs(array), initial=0.0))
        return largest * float(np.linalg.norm(array / largest)) if 0 < largest < math.inf else float(np.linalg.norm(array))


def _digits(value: Any) -> Any:
    if isinstance(value, (np.integer, np.bool_)):
        return int(value)
    value = float(value)
    return float(f"{value:.4g}") if math.isfinite(value) else str(value)
