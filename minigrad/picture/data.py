"""Writes a scene as JSON: the placed shapes and what they stand for, for programs that draw or measure by themselves.

Lengths are points, y runs upwards. A shape's `nodes` are ids in the graph that was drawn; an arrow leads `from` a shape `to` one.
"""

from __future__ import annotations

import json
from typing import Any

from . import text
from .scene import Arrow, Scene, Shape, Words


def write(picture: Scene) -> str:
    """The scene as one JSON object with the lists shapes, arrows, panels and texts."""
    content = {
        "format": "minigrad picture 1",
        "bounds": dict(zip(("left", "low", "right", "high"), map(_round, picture.bounds()))),
        "shapes": [_shape(shape) for shape in picture.shapes],
        "arrows": [_arrow(arrow) for arrow in picture.arrows],
        "panels": [{"left": _round(p.left), "low": _round(p.low), "right": _round(p.right), "high": _round(p.high),
                    "fill": p.fill, "rim": p.rim, "rim_width": p.rim_width, "dash": p.dash} for p in picture.panels],
        "texts": [{"x": _round(w.x), "y": _round(w.y), **_line(w)} for w in picture.texts],
    }
    written = json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1)
    return written.replace("<", "\\u003c") + "\n"      # still the same JSON, and harmless inside a page


def _shape(shape: Shape) -> dict[str, Any]:
    return {"role": shape.role, "form": shape.form, "x": _round(shape.x), "y": _round(shape.y), "width": _round(shape.width),
            "height": _round(shape.height), "lines": [_line(line) for line in shape.placed_lines()],
            "nodes": list(shape.nodes), "fill": shape.fill, "rim": shape.rim, "rim_width": shape.rim_width,
            "dash": shape.dash, "hatched": shape.hatched, "tooltip": text.plain(shape.tooltip)}


def _arrow(arrow: Arrow) -> dict[str, Any]:
    return {"from": arrow.ends[0], "to": arrow.ends[1], "backwards": arrow.backwards, "colour": arrow.colour,
            "width": arrow.width, "dash": arrow.dash, "cut": arrow.cut, "tooltip": text.plain(arrow.tooltip),
            "points": [[_round(x), _round(y)] for x, y in arrow.points],
            "tip": None if arrow.tip is None else [_round(arrow.tip[0]), _round(arrow.tip[1])]}


def _line(words: Words) -> dict[str, Any]:
    """Text as one string, and as runs of which some are subscripts."""
    return {"text": text.flat(words.words), "runs": [[run, "sub" if sub else ""] for run, sub in words.words],
            "size": words.size, "ink": words.ink}


def _round(value: float) -> float:
    return round(float(value), 2) + 0.0                # no minus zero
