"""The picture: a recorded graph drawn in columns of time.

`draw(root)` returns a `Drawing`.  From the graph to the file: `recorded` and `reading` fill in a `story` (which steps,
what belongs where); `marks` says what a box stands for, `describe` what is written on it; `zoom` leaves marks or steps
out; `block` places a step's marks with `layered` and `simplex`; `columns`, `layout` and `folded` put the blocks
together.  The result is a `scene`.  On top of it, `heat` paints gradients, `judged` marks a derivation right or wrong, `bars`
stand for the terms of a sum over time, `frames` play the backward pass, `printed` takes the colours out; `svg`, `dot`, `tikz`
and `data` write it; `theme` and `text` serve all of them; `drawing` is the public side, and `explorer` writes all of it, with what `words`
says, into a page to walk about in.
"""

from .drawing import Drawing, draw
from .explorer import explore

__all__ = ["Drawing", "draw", "explore"]
