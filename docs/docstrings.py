"""The house's docstrings, which are plain text made for ``help()``, as reStructuredText for the site.

A docstring is a list of paragraphs. What kind one is shows in how it begins:

    ``>>> ``                            an example
    four spaces                         equations, kept as they are
    a name, two spaces, what it is      arguments or attributes, also two in a line; what they are goes on in indented lines,
                                        and text may follow
    anything else                       text
"""
import inspect
import re
import sys

NAME = r"\*{0,2}[\w.]+(?:\([\w, ]*\)|\[[^]]*\])?"
TERM = re.compile(rf"({NAME}(?:, {NAME})*)  +(\S.*)")
COLUMNS = re.compile(rf" {{3,}}(?={NAME}  +\S)")
MARKUP = re.compile(r"``(?P<double>.+?)``|`(?P<single>[^`\s][^`]*)`|(?P<strong>\*\*\w[^*]*\*\*)|arXiv:(?P<arxiv>\d{4}\.\d{4,5})")


def as_rst(thing, lines):
    """The docstring of ``thing``, given as lines, as lines of reStructuredText. A cell's has its file's equations after the summary."""
    found = paragraphs("\n".join(lines))
    if inspect.isclass(thing) and re.match(r"minigrad\.recurrent\.\w+\.\w+", thing.__module__):
        found[1:1] = paragraphs(inspect.cleandoc(sys.modules[thing.__module__].__doc__))[1:]
    return [line for paragraph in found for line in [*rst(paragraph), ""]]


def paragraphs(text):
    return [part.splitlines() for part in re.split(r"\n\s*\n", text.strip("\n"))]


def rst(paragraph):
    if all(line.startswith("    ") for line in paragraph):
        return ["::", "", *paragraph]
    if paragraph[0].startswith(">>>"):
        return paragraph
    items = []                                                              # (name or None, text)
    for line in paragraph:
        term = TERM.fullmatch(line)
        if term:
            first, *more = COLUMNS.split(term[2])
            items += [(term[1], first), *(TERM.fullmatch(column).groups() for column in more)]
        elif items and (line.startswith(" ") or items[-1][0] is None):
            items[-1] = items[-1][0], f"{items[-1][1]} {line.strip()}"
        else:
            items.append((None, line.strip()))
    return [line for name, text in items for line in (
        [f"``{name}``", f"    {rich(text)}"] if name else ["", rich(text), ""])]


def rich(text):
    """Text with its ``code``, **strong** words and papers; everything else means itself. An empty ``\\ `` keeps neighbours apart."""
    result, end = "\\ ", 0
    for match in MARKUP.finditer(text):
        code, paper = match["double"] or match["single"], match["arxiv"]
        result += plain(text[end:match.start()]) + "\\ " + (
            f"``{code}``" if code else f"`arXiv:{paper} <https://arxiv.org/abs/{paper}>`__" if paper else match["strong"]) + "\\ "
        end = match.end()
    return result + plain(text[end:])


def plain(text):
    return re.sub(r"([\\*_`|])", r"\\\1", text)
