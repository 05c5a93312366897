"""Lines of a program: text, and what sharing and the reader need to know of it; how they are set out on the page."""
from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .steps import Site

COLUMN, WIDTH = 48, 100     # where comments begin, if they can; how long a line of many names gets


@dataclasses.dataclass
class Line:
    """One line of a program: what it reads and where it writes; the comment says what. ``how``: the form it has, for those who write
    it in another way (fused.py), and what more that form takes."""
    text: str
    reads: tuple[Any, ...] = ()
    out: str = ""
    how: tuple[Any, ...] = ()
    comment: str = ""

    @property
    def elementwise(self) -> bool:
        return self.how[:1] == ("ufunc",)


def ufunc(site: Site, name: str, *arguments: str) -> Line:
    """A line that calls a ufunc; the last argument is the place of its result."""
    *reads, out = arguments
    place = f"out={out}" if name in ("maximum", "minimum") else out     # NumPy wants their third argument by name
    return Line(f"{site.words.numpy(name)}({', '.join([*reads, place])})", tuple(reads), out, ("ufunc", name))


def assign(out: str, expression: str, *reads: str) -> Line:
    return Line(f"{out}[...] = {expression}", reads or (expression,), out, () if reads else ("ufunc", "copy"))


# ---- on the page ---------------------------------------------------------------------------------------------------------
def page(lines: Iterable[Line]) -> list[str]:
    """Lines as text, their comments one below the other."""
    lengths = [len(line.text) + 2 for line in lines if line.comment]
    column = max([COLUMN, *(n for n in lengths if n <= COLUMN + 8)])
    return [f"{line.text + '  ':<{column}}# {line.comment}" if line.comment else line.text for line in lines]


def parts(*groups: tuple[str, Sequence[str]]) -> list[str]:
    """Groups of text lines, a blank line between them; each, (title, lines), below its title if it has one."""
    text: list[str] = []
    for title, lines in groups:
        if lines:
            text += [*([""] if text else []), *([f"# {title}"] if title else []), *lines]
    return text


def listed(start: str, items: Iterable[str], end: str) -> list[str]:
    """``start`` + items with commas between + ``end``, on as many lines as it takes."""
    *most, last = [*items] or [""]
    lines = [start]
    for n, item in enumerate([*(f"{i}," for i in most), f"{last}{end}"]):
        if n and len(lines[-1]) + 1 + len(item) > WIDTH:
            lines.append(" " * len(start) + item)
        else:
            lines[-1] += f" {item}" if n else item
    return lines


def indented(lines: Iterable[str]) -> list[str]:
    return ["    " + line if line else "" for line in lines]
