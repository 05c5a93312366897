"""How the reports of this room look in a notebook or on a page: plain tables, what is wrong in red, no scripts."""
from __future__ import annotations

from collections.abc import Sequence
from html import escape

Cell = tuple[str, bool]         # a text, and is it wrong?

STYLE = """<style>
.check table { border-collapse: collapse; margin: .5em 0 }
.check caption { text-align: left; font-weight: 600; padding-bottom: .3em; white-space: nowrap }
.check th, .check td { padding: .1em 1.2em .1em 0; text-align: left; font-weight: 400; font-variant-numeric: tabular-nums }
.check th { opacity: .7 }
.check .n { text-align: right }
.check .wrong { color: #C0392B }
.check dl { margin: .3em 0 .8em 1em }
.check dt { float: left; clear: left; opacity: .7 }
.check dd { margin-left: 4em }
</style>"""


def table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A table as HTML; a head that ends in a space stands over numbers."""
    kinds = ["n" if head.endswith(" ") else "" for head in heads]

    def line(tag: str, cells: Sequence[Cell]) -> str:
        return "<tr>" + "".join(f'<{tag} class="{kind} {"wrong" if wrong else ""}">{escape(text)}</{tag}>'
                                for kind, (text, wrong) in zip(kinds, cells)) + "</tr>"
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{title}{line('th', [(head, False) for head in heads])}{''.join(line('td', row) for row in rows)}</table>"


def framed(*parts: str) -> str:
    """Parts of HTML as one piece with its style."""
    return f'<div class="check">{STYLE}' + "\n".join(parts) + "</div>"
