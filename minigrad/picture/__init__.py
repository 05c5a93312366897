"""The picture: a recorded graph drawn in columns of time.

`draw(root)` returns a `Drawing`.  The rooms inside, from the graph to the file: `reading` (which steps, what belongs
where), `marks` (what a box stands for), `block` and `layered` with `simplex` (positions), `layout` and `folded` (the
whole picture), `describe` and `heat` (labels and colours), `scene` (the picture as data), `svg` and `dot` (writers),
`drawing` (the public side).
"""

from .drawing import Drawing, draw

__all__ = ["Drawing", "draw"]
