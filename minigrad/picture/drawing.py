"""`draw` and the `Drawing` it returns: a picture that shows itself in a notebook and saves itself by suffix."""

from __future__ import annotations

import contextlib
import gc
import os
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator

from ..files import write
from . import bars as barring, data, describe, dot, folded as folding, heat as heating, judged, printed, svg, tikz, zoom
from .layout import Layout
from .reading import Reader
from .scene import Scene

SECONDS = 120  # how long graphviz may take

WRITERS = {".svg": svg.write, ".dot": dot.write, ".gv": dot.write, ".tex": tikz.write, ".json": data.write}

INSTALL = ("install graphviz (Debian, Ubuntu: apt install graphviz; macOS: brew install graphviz; Windows: winget "
           "install graphviz; conda: conda install graphviz)")


class Drawing:
    """A finished picture.

    `.dot` is its DOT source with all positions, for `neato -n2`; `.svg()` the SVG text; `.save("name.svg")` writes it: .svg,
    .dot, .tex (TikZ), .json (the placed shapes as data), and with graphviz's `dot` program on the machine .png or .pdf;
    `.frames("folder")` writes the backward pass, one slide per op.  A notebook shows it by itself.  `.scene` holds the placed
    shapes.
    """

    def __init__(self, scene: Scene, play: Callable[[], Iterable[Scene]] | None = None) -> None:
        self.scene, self._play = scene, play

    @property
    def dot(self) -> str:
        """The picture as DOT source."""
        return dot.write(self.scene)

    def svg(self) -> str:
        """The picture as an SVG document."""
        return svg.write(self.scene)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture in the format of the path's suffix (.svg .png .pdf .dot .tex .json) and return the path.

        Raises ValueError for another suffix and for a picture too long for TeX, RuntimeError where .png or .pdf is wanted and
        `dot` is missing, OSError where the path cannot be written.  Nothing half-written is left behind.
        """
        target = Path(path)
        suffix = target.suffix.lower()
        if suffix in WRITERS:
            content = WRITERS[suffix](self.scene).encode("utf-8")
        elif suffix in (".png", ".pdf"):
            content = render(self.dot, suffix[1:])
        else:
            raise ValueError(f"save(path) got {target.name!r}, whose suffix {suffix or '(none)'!r} names no picture "
                             "format: use .svg, .png, .pdf or .dot, or .tex (TikZ) or .json (data)")
        _write(target, content)
        return target

    def frames(self, folder: str | os.PathLike[str]) -> list[Path]:
        """The backward pass as numbered SVG files, `frame-000.svg` being the forward pass and then one for each op that is drawn.

        The folder is made if it is missing (not its parents); files of the same names are replaced.  Returns their paths.
        Raises ValueError where there are no gradients (see `draw(heat=True)`), OSError where the folder cannot be written.

        >>> import minigrad as mg
        >>> x = mg.parameter([1.0, 2.0], name="x")
        >>> [path.name for path in draw((x * x).sum()).frames("slides")]
        ['frame-000.svg', 'frame-001.svg', 'frame-002.svg']
        """
        if self._play is None:
            raise ValueError("frames(folder): this picture knows no graph; take the one that draw() returned")
        scenes, target = list(self._play()), Path(folder)
        # One size for all, so that nothing moves from slide to slide.
        bounds = [scene.bounds() for scene in scenes]
        box = tuple(pick(side) for pick, side in zip((min, min, max, max), zip(*bounds)))
        try:
            target.mkdir(exist_ok=True)
        except OSError as error:
            raise OSError(f"cannot make the folder {str(target)!r} for the frames: {error.strerror or error}; give frames() a path in "
                          "a folder that exists and that you may write to") from error
        paths = [target / f"frame-{number:03}.svg" for number in range(len(scenes))]
        for path, scene in zip(paths, scenes):
            _write(path, svg.write(scene, box).encode("utf-8"))
        return paths

    def _repr_svg_(self) -> str:
        return self.svg()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"image/svg+xml": self.svg(), "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"<Drawing of {len(self.scene.shapes)} shapes and {len(self.scene.arrows)} arrows: .save('picture.svg')>"


def draw(root: Any, *, values: bool = False, shapes: bool = True, heat: Any = False, folded: bool = False,
         cells: bool = False, step: int | None = None, marks: Any = None, bars: Any = None, steps: int = 12,
         title: str | None = None, style: str = "colour") -> Drawing:
    """The graph that made `root`, unrolled in columns of time.

    `root`: a Tensor, a tuple of Tensors, or a recorded Graph.  `values` writes numbers into the boxes, `shapes` the
    shapes into circles and parameters; of more than `steps` steps the middle ones are folded away; `title` stands above;
    `style="print"` needs no colours.

    Three zooms: `cells` leaves out the operations between inputs, states, predictions and losses, as textbooks do;
    `folded` draws one step with its delays instead of all; `step=3` draws that step alone.

    Three things on top of it: `heat=True` paints every value by the logarithm of its gradient's norm and turns the arrows
    round, `heat=losses[2]` or `heat=states[3][0, 1]` by the gradient of that number; `marks` takes what `mg.check.compare` or
    `mg.check.diagnose` returned, or a dict {name or (name, step): right?}, and marks right and wrong; `bars` takes what
    `mg.check.bptt` returned, or an array (T, ...) of contributions, and draws under the columns what each step adds.

    Inputs are blue circles at the foot, states green with a thick rim, predictions orange, operations white boxes with
    their parameter inside; every parameter stands once on the left.

    >>> import minigrad as mg
    >>> x = mg.parameter([1.0, 2.0], name="x")
    >>> picture = draw((x * x).sum())
    >>> picture.svg().startswith("<svg")
    True

    Raises TypeError if root is no Tensor, ValueError for `steps` below 1, heat of something without gradients, marks that
    belong to nothing on the picture.
    """
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise ValueError(f"draw(steps=...) got {steps!r}: expected a whole number of columns, at least 1")
    if title is not None and not isinstance(title, str):
        raise TypeError(f"draw(title=...) got a {type(title).__name__}: expected a string")
    if step is not None and (not isinstance(step, int) or isinstance(step, bool)):
        raise TypeError(f"draw(step=...) got {step!r}: expected the number of a step, counted from 1")
    if style not in ("colour", "print"):
        raise ValueError(f"draw(style=...) got {style!r}: expected 'colour' or 'print'")
    if folded and (step is not None or bars is not None):
        what, why = ("bars", "bars stand under the columns of the steps") if step is None else (
            "step", "one step with its delays, or one step alone")
        raise ValueError(f"draw(folded=True, {what}=...): {why}; leave one of them out")
    of = None
    if not isinstance(heat, bool):
        root, of = _together(root, heat)

    def lay_out(gradients: Any, backwards: bool) -> Scene:
        story = Reader(graph, steps, step).read()
        if step is not None:
            zoom.one_step(story, step)
        if cells:
            zoom.cells(story)
        inscribed = describe.style(graph, values=values, shapes=shapes, gradients=gradients, backwards=backwards)
        if folded:
            return folding.lay_out(story, inscribed, graph, values=values, shapes=shapes, title=title)
        return Layout(story, inscribed, shapes=shapes, title=title).scene

    def play() -> Iterable[Scene]:
        from .frames import frames
        return frames(graph, heating.gradients(graph, what="frames()"), lambda backwards: lay_out(None, backwards))

    with _no_collection():
        graph = graph_of(root)
        what = "draw(heat=True)" if of is None else "draw(heat=...)"
        gradients = heating.gradients(graph, of, what) if heat is not False else None
        scene = lay_out(gradients, gradients is not None)
        if bars is not None:
            barring.draw(scene, bars)
        if gradients is not None:
            heating.paint(scene, graph, gradients, of)
        if marks is not None:
            judged.mark(scene, graph, marks, anywhere=folded)
        if style == "print":
            printed.paint(scene)
    return Drawing(scene, play)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Pause the garbage collector: all that a large picture makes is kept, and walking over it again and again takes longer
    than drawing."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _together(root: Any, of: Any) -> tuple[Any, Any]:
    """The root and the number whose gradients are wanted, in one graph without compiled scans."""
    from ..graph.unfold import unfolded
    from ..tensor import Tensor
    if not isinstance(of, Tensor):
        raise TypeError(f"draw(heat=...) got a {type(of).__name__}: expected True, or the Tensor of one number whose gradients are to be "
                        "shown, such as losses[2] or states[3][0, 1]")
    roots = tuple(root) if isinstance(root, (tuple, list)) else (root,)
    if not all(isinstance(item, Tensor) for item in roots):
        return root, of                                                # a Graph, or what graph_of will refuse
    *same, of = unfolded(*roots, of)[0]
    return tuple(same), of


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
    import subprocess

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
