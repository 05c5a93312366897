"""Lines of a program: text, and what sharing and the reader need to know of it."""
import dataclasses


@dataclasses.dataclass
class Line:
    """One line of a program: what it reads and where it writes, and whether element by element; the comment says why."""
    text: str
    reads: tuple = ()
    out: str = ""
    elementwise: bool = False
    comment: str = ""

    def __str__(self):
        return f"{self.text:<48}# {self.comment}" if self.comment else self.text


def ufunc(site, name, *arguments):
    """A line that calls a ufunc; the last argument is the place of its result."""
    *reads, out = arguments
    place = f"out={out}" if name in ("maximum", "minimum") else out     # NumPy wants their third argument by name
    return Line(f"{site.words.numpy(name)}({', '.join([*reads, place])})", tuple(reads), out, elementwise=True)


def assign(out, expression, *reads):
    return Line(f"{out}[...] = {expression}", reads or (expression,), out)
