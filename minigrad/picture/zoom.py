"""Zooms of a story: fewer marks or fewer steps of the same graph, under the same node ids. The layout does not know the difference.

folded (folded.py) ⇄ cells, the textbook's view ⇄ all operations ⇄ one step alone
"""

from __future__ import annotations

from dataclasses import replace

from .marks import Mark
from .story import Column, Story

KEPT = ("input", "state", "prediction", "loss", "total", "elsewhere")


def cells(story: Story) -> None:
    """Only inputs, states, predictions and losses; what lies between two of them becomes an arrow."""
    gathered = {node for rail in story.rails for terms in rail.terms.values() for node in terms}
    needed = gathered | {node for _, node in story.after_inputs.values()}
    needed |= {node for column in story.columns.values() for node in (*column.pasts, *column.elsewhere)}
    for place, column in list(story.columns.items()):
        keep = [m.role in KEPT or bool(needed & set(m.nodes)) for m in column.marks]
        story.columns[place] = _contract(column, keep)


def _contract(column: Column, keep: list[bool]) -> Column:
    """The column without the marks that are not kept; arrows lead through them."""
    if not any(k and m.role not in ("input", "elsewhere") for k, m in zip(keep, column.marks)):
        return column                                                    # nothing to tell: left as it is
    new = {old: number for number, old in enumerate(i for i, k in enumerate(keep) if k)}
    reach: list[list[tuple[str, int]]] = []                              # of every mark: the kept things that it is made of

    def seen_from(mark: Mark) -> list[tuple[str, int]]:
        found: dict[tuple[str, int], None] = {}
        for kind, n in mark.sources:
            if kind != "mark":
                found[kind, n] = None
            elif keep[n]:
                found["mark", new[n]] = None
            else:
                found.update(dict.fromkeys(reach[n]))
        return list(found)

    for mark in column.marks:
        reach.append(seen_from(mark))
    marks = [replace(m, sources=reach[i], boxed=m.boxed and not m.circle and m.role != "state", circle=m.circle or m.role == "state")
             for i, m in enumerate(column.marks) if keep[i]]
    where = {node: new[i] for node, i in column.where.items() if keep[i]}
    elsewhere = {node: new[i] for node, i in column.elsewhere.items() if keep[i]}
    return replace(column, marks=marks, where=where, elsewhere=elsewhere)


def one_step(story: Story, step: int) -> None:
    """The step alone, with the states that come in from the step before."""
    length = max(story.length.values(), default=0)
    if not 1 <= step <= length:
        raise ValueError(f"draw(step={step}): the graph has " + (f"the steps 1 … {length}" if length else "no steps"))
    story.only = step
    story.shown = [step]
    story.columns = {place: column for place, column in story.columns.items() if place[1] == step}
    story.loops = [loop for loop in story.loops if (loop, step) in story.columns]
    story.initial = {loop: dict(enumerate(story.columns[loop, step].pasts)) for loop in story.loops}
    for rail in story.rails:
        rail.terms = {s: terms for s, terms in rail.terms.items() if s == step}
    story.rails = [rail for rail in story.rails if rail.terms and rail.loop in story.loops]
    story.picked = {place: {s: part for s, part in parts.items() if s == step} for place, parts in story.picked.items()}
    story.picked = {place: parts for place, parts in story.picked.items() if parts and place[0] in story.loops}
    story.after, story.after_where, story.after_inputs = [], {}, {}
