"""Words on the picture: names with true subscripts, how wide they are, and how they are escaped.

A label is a tuple of runs (text, is_subscript).  Whatever a user called a variable stays text.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from html import escape as _html

Label = tuple[tuple[str, bool], ...]

_SUBSCRIPTED = re.compile(r"(.*?)([A-Za-zα-ωΑ-Ω][A-Za-zα-ωΑ-Ω0-9]{0,2})_([A-Za-z0-9]{1,4})\Z", re.DOTALL)
_HATTED = re.compile(r"(.*?)([A-Za-z])_?hat\Z", re.DOTALL)
_LONGEST = 22


def plain(text: object) -> str:
    """`text` on one line, without characters that XML forbids."""
    text = str(text)
    if text.isprintable():
        return text
    out = []
    for char in text:
        if char in "\t\n\r\x0b\x0c\u2028\u2029\x85":
            out.append(" ")
        elif unicodedata.category(char) in ("Cc", "Cs", "Cn") or char in "\ufffe\uffff":
            out.append("\ufffd")
        elif unicodedata.category(char) == "Cf":
            continue  # invisible and direction-changing characters
        else:
            out.append(char)
    return "".join(out)


def label(text: object) -> Label:
    """One run of plain text."""
    return ((plain(text), False),)


def name_label(name: str, step: object = None) -> Label:
    """A variable's name as mathematics: `W_h` is W with subscript h, `h` at step 3 is h with subscript 3.

    >>> name_label("z_r", 3)
    (('z', False), ('r,3', True))
    """
    name, subscript = _apart(name)
    if step is not None:
        subscript = f"{subscript},{step}" if subscript else str(step)
    return ((name, False), (subscript, True)) if subscript else ((name, False),)


@lru_cache(4096)
def _apart(name: str) -> tuple[str, str]:
    """A name and its own subscript."""
    name = shorten(plain(name))
    hat = _HATTED.match(name)
    if hat and len(hat[1].rpartition(".")[2]) == 0:
        return hat[1] + unicodedata.normalize("NFC", hat[2] + "\u0302"), ""
    match = _SUBSCRIPTED.match(name)
    if match and match[1].rpartition(".")[2] == "":
        return match[1] + match[2], match[3]
    return name, ""


def shorten(text: str, longest: int = _LONGEST) -> str:
    """`text`, its middle left out where it is too long for a box."""
    if len(text) <= longest:
        return text
    keep = (longest - 1) // 2
    return text[:keep] + "…" + text[-keep:]


def join(*parts: Label | str) -> Label:
    """Labels and plain strings one after the other."""
    runs: list[tuple[str, bool]] = []
    for part in parts:
        for text, sub in (label(part) if isinstance(part, str) else part):
            if text and runs and runs[-1][1] == sub:
                runs[-1] = (runs[-1][0] + text, sub)
            elif text:
                runs.append((text, sub))
    return tuple(runs)


def flat(words: Label) -> str:
    """A label as plain text, for tooltips."""
    return "".join(f"_{text}" if sub else text for text, sub in words)


_NARROW, _WIDE = set("ijlI.,:;'|! ftr()[]·"), set("mwMW@%—…")


def width(words: Label, size: float) -> float:
    """How wide a label is, on the safe side for the common sans-serif fonts."""
    return sum(sum(map(_em, text)) * (0.72 if sub else 1.0) for text, sub in words) * size


@lru_cache(4096)
def _em(char: str) -> float:
    """How wide a character is, in font sizes."""
    if unicodedata.combining(char):
        return 0.0
    return (0.36 if char in _NARROW else 0.92 if char in _WIDE else 0.72 if char.isupper() else
            1.0 if unicodedata.east_asian_width(char) in "WF" else 0.61 if char.isascii() else 0.70)


@lru_cache(4096)
def xml(text: str) -> str:
    """Text for an XML element or attribute."""
    return _html(plain(text), quote=True)


def dot_quote(text: str) -> str:
    r"""A DOT string that shows `text` as it is: no `\n`, `\N`, entity or `<...>` in it is read as anything else."""
    text = plain(text).replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def dot_markup(words: Label) -> str:
    """A label for DOT's HTML-like strings; only <SUB> is ours, everything else is escaped."""
    return "".join(f"<SUB>{xml(text)}</SUB>" if sub else xml(text) for text, sub in words)
