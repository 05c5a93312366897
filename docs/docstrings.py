"""The house's docstrings, which are plain text made for ``help()``, as reStructuredText for the site.

A docstring is a list of paragraphs. What kind one is shows in its first characters:

    ``>>> ``                            an example
    four spaces                         equations, kept as they are
    a name, two spaces, what it is      a list of arguments or attributes; its lines go on indented, and plain text may follow it
    anything else                       text
"""
import inspect
import re
import sys

TERM = re.compile(r"(\*{0,2}[\w.]+(?:\([\w, ]*\)|\[[^]]*\])?(?:, [\w.]+(?:\([\w, ]*\)|\[[^]]*\])?)*)  +(\S.*)")
LITERAL = re.compile(r"``(?P<double>.+?)``|`(?P<single>[^`\s][^`]*)`|(?P<strong>\*\*\w[^*]*\*\*)|(?P<arxiv>arXiv:\d{4}\.\d{4,5})")


def as_rst(thing, lines):
    """The docstring of ``thing``, given as lines, as lines of reStructuredText. A cell's begins with its file's equations."""
    found = list(lines)
    if inspect.isclass(thing) and thing.__module__.startswith("minigrad.recurrent."):
        found = [*inspect.cleandoc(sys.modules[thing.__module__].__doc__).splitlines(), "", *found]
    result = []
    for paragraph in re.split(r"\n\s*\n", "\n".join(found)):
        result += [*_paragraph(paragraph.rstrip().splitlines()), ""]
    return result


def _paragraph(lines):
    if not lines:
        return []
    if lines[0].startswith(">>>"):
        return lines
    if all(line.startswith("    ") for line in lines):
        return ["::", "", *lines]
    result, text = [], []
    for line in lines:
        term = TERM.fullmatch(line)
        if term:
            result, text = [*result, *_text(text), f"``{term[1]}``"], [term[2]]
        elif line.startswith("  ") and result:
            text.append(line.strip())
        else:
            if result and result[-1] and text:
                result, text = [*result, *_text(text, "    "), ""], []
            text.append(line)
    return [*result, *_text(text)]


def _text(lines):
    return ["\\ " + rich(" ".join(lines))] if lines else []


def rich(text):
    """Text with its ``code`` and **strong** words, papers as links, and everything else taken as it is."""
    result, end = "", 0
    for match in LITERAL.finditer(text):
        result += plain(text[end:match.start()])
        result += match["strong"] or f"``{match['double'] or match['single']}``"
        end = match.end()
    return result + plain(text[end:])


def plain(text):
    return re.sub(r"([\\*_`|])", r"\\\1", text)
