"""`draw` and the `Drawing` it returns: a picture that shows itself in a notebook and saves itself by suffix."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from ..files import write
from . import describe, dot, folded as folding, heat as heating, svg, zoom
from .layout import Layout
from .reading import Reader
from .scene import Scene

SECONDS = 120  # how long graphviz may take

INSTALL = ("install graphviz (Debian, Ubuntu: apt install graphviz; macOS: brew install graphviz; Windows: winget "
           "install graphviz; conda: conda install graphviz)")


class Drawing:
    """A finished picture.

    `.dot` is its DOT source with all positions, for `neato -n2`; `.svg()` the SVG text; `.save("name.svg")` writes
    .svg or .dot, and with graphviz's `dot` program on the machine .png or .pdf.  A notebook shows it by itself.
    `.scene` holds the placed shapes as plain data.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    @property
    def dot(self) -> str:
        """The picture as DOT source."""
        return dot.write(self.scene)

    def svg(self) -> str:
        """The picture as an SVG document."""
        return svg.write(self.scene)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture in the format of the path's suffix (.svg .png .pdf .dot) and return the path.

        Raises ValueError for another suffix, RuntimeError where .png or .pdf is wanted and `dot` is missing, OSError
        where the path cannot be written.  Nothing half-written is left behind.
        """
        target = Path(path)
        suffix = target.suffix.lower()
        if suffix == ".svg":
            content = self.svg().encode("utf-8")
        elif suffix in (".dot", ".gv"):
            content = self.dot.encode("utf-8")
        elif suffix in (".png", ".pdf"):
            content = render(self.dot, suffix[1:])
        else:
            raise ValueError(f"save(path) got {target.name!r}, whose suffix {suffix or '(none)'!r} names no picture "
                             "format: use .svg, .png, .pdf or .dot")
        _write(target, content)
        return target

    def _repr_svg_(self) -> str:
        return self.svg()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"image/svg+xml": self.svg(), "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"<Drawing of {len(self.scene.shapes)} shapes and {len(self.scene.arrows)} arrows: .save('picture.svg')>"


def draw(root: Any, *, values: bool = False, shapes: bool = True, heat: bool = False, folded: bool = False,
         cells: bool = False, step: int | None = None, steps: int = 12, title: str | None = None) -> Drawing:
    """The graph that made `root`, unrolled in columns of time.

    `root`: a Tensor, a tuple of Tensors, or a recorded Graph.  `values` writes numbers into the boxes, `shapes` the
    shapes into circles and parameters; `heat` paints every value by the logarithm of its gradient's norm and turns the
    arrows round; of more than `steps` steps the middle ones are folded away; `title` stands above.

    Three zooms: `cells` leaves out the operations between inputs, states, predictions and losses, as textbooks do;
    `folded` draws one step with its delays instead of all; `step=3` draws that step alone.

    Inputs are blue circles at the foot, states green with a thick rim, predictions orange, operations white boxes with
    their parameter inside; every parameter stands once on the left.

    >>> import minigrad as mg
    >>> x = mg.parameter([1.0, 2.0], name="x")
    >>> picture = draw((x * x).sum())
    >>> picture.svg().startswith("<svg")
    True

    Raises TypeError if root is no Tensor, ValueError for `steps` below 1 or heat of something without gradients.
    """
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise ValueError(f"draw(steps=...) got {steps!r}: expected a whole number of columns, at least 1")
    if title is not None and not isinstance(title, str):
        raise TypeError(f"draw(title=...) got a {type(title).__name__}: expected a string")
    if step is not None and (not isinstance(step, int) or isinstance(step, bool)):
        raise TypeError(f"draw(step=...) got {step!r}: expected the number of a step, counted from 1")
    if folded and step is not None:
        raise ValueError("draw(folded=True, step=...): one step with its delays, or one step alone; leave one of them out")
    graph = graph_of(root)
    gradients = heating.gradients(graph) if heat else None
    story = Reader(graph, steps, step).read()
    if step is not None:
        zoom.one_step(story, step)
    if cells:
        zoom.cells(story)
    style = describe.style(graph, values=values, shapes=shapes, gradients=gradients)
    if folded:
        scene = folding.lay_out(story, style, graph, values=values, shapes=shapes, title=title)
    else:
        scene = Layout(story, style, shapes=shapes, title=title).scene
    if gradients is not None:
        heating.paint(scene, graph, gradients)
    return Drawing(scene)


def graph_of(root: Any, what: str = "draw") -> Any:
    """The recorded graph of a Tensor or a tuple of Tensors; a Graph as it is."""
    from ..graph import Graph
    from ..tensor import Tensor
    if hasattr(root, "nodes") and hasattr(root, "outputs"):
        return root
    roots = tuple(root) if isinstance(root, (tuple, list)) else (root,)
    if not roots:
        raise TypeError(f"{what}(root) got an empty tuple: expected a Tensor, a tuple of Tensors or a Graph")
    for i, item in enumerate(roots):
        if not isinstance(item, Tensor):
            where = f"root[{i}] is" if isinstance(root, (tuple, list)) else "root is"
            raise TypeError(f"{what}(root): {where} a {type(item).__name__}, expected a Tensor that was computed, "
                            "a tuple of Tensors or a Graph; arrays remember nothing: compute with mg.Tensor")
    return Graph.of(*roots)


def render(source: str, format: str) -> bytes:
    """DOT source with positions as PNG or PDF bytes, by graphviz's `dot` program."""
    from graphviz.backend.dot_command import command
    arguments = [str(part) for part in command("neato", format, neato_no_op=2)]
    if format == "png":
        arguments.append("-Gdpi=144")
    try:
        done = subprocess.run(arguments, input=source.encode("utf-8"), capture_output=True, timeout=SECONDS)
    except FileNotFoundError:
        raise RuntimeError(f"writing .{format} needs graphviz's `dot` program, which is not on this machine's PATH: "
                           f"{INSTALL}, or save the same picture as .svg, which needs nothing") from None
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"graphviz's `dot` took more than {SECONDS} s for this picture and was stopped: draw fewer "
                           "steps (draw(..., steps=12)), or save it as .svg") from None
    if done.returncode or not done.stdout:
        words = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise RuntimeError(f"graphviz's `dot` could not write .{format} (exit status {done.returncode}): "
                           f"{words[0] if words else 'no message'}; save the picture as .svg instead")
    return done.stdout


def _write(target: Path, content: bytes) -> None:
    """Write beside and rename, so that a reader never sees half a file."""
    try:
        write(target, content)
    except OSError as error:
        raise OSError(f"cannot write the picture to {str(target)!r}: {error.strerror or error}; give save() a path in "
                      "a folder that exists and that you may write to") from error
