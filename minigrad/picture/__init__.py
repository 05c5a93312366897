"""The picture: a recorded graph drawn in columns of time.

`draw(root)` returns a `Drawing`.  From the graph to the file: `recorded` and `reading` fill in a `story` (which steps,
what belongs where); `marks` says what a box stands for, `describe` what is written on it; `zoom` leaves marks or steps
out; `block` places a step's marks with `layered` and `simplex`; `columns`, `layout` and `folded` put the blocks
together; `heat` paints; the result is a `scene`, which `svg` and `dot` write; `theme` and `text` serve all of them;
`drawing` is the public side, and `explorer` writes all of it into a page to walk about in.
"""

from .drawing import Drawing, draw
from .explorer import explore

__all__ = ["Drawing", "draw", "explore"]
