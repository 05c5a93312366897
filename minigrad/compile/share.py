"""Which buffers may be one, so that a program needs less memory and finds more of it in the cache: by what is used when.

The way back begins when the way forward is over: what only ``backward`` uses may be what only ``forward`` used. And a loop
back that reads row t of one array for the last time may put row t of another there: each step sees only the rows of its own t.
"""
from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .loop import Loop
    from .room import Buffer, Room


def share(room: Room, loop: Loop) -> None:
    """Give buffers over all steps the memory of others. ``loop`` is the loop back."""
    buffers = [b for b in room.buffers.values() if b.shares]
    free: dict[str, list[Buffer]] = {}
    for b in buffers:
        if b.used == {"forward"}:
            free.setdefault(b.definition, []).append(b)
    _share_rows(room, loop)
    for b in buffers:
        if b.used and "forward" not in b.used and b.other is None and free.get(b.definition):
            b.other = free[b.definition].pop()


def _share_rows(room: Room, loop: Loop) -> None:
    """What was computed before the loop back and is not needed behind it gives its rows to what the loop computes."""
    rows: dict[str, Any] = {}                                     # array -> the names of its row, and of parts of it
    whole = set()
    for row, r in loop.rows.items():
        rows.setdefault(r.array, []).append(row)
        if r.expression == r.array:
            whole.add(row)
    words = [set(re.findall(r"\w+", line.text)) for line in loop.body]
    lines = {array: [n for n, used in enumerate(words) if used.intersection(names)] for array, names in rows.items()}
    buffers = [room.buffers[array] for array in rows if array in room.buffers and room.buffers[array].shares and lines[array]]
    old = [b for b in buffers if b.used in ({"before", "loop"}, {"forward", "loop"}, {"forward", "before", "loop"})]
    new = [b for b in buffers if b.used <= {"loop", "after"}]
    for b in new:
        start = lines[b.name][0]
        for other in old:
            end = lines[other.name][-1]
            line = loop.body[end]                       # an elementwise line may write where it reads
            in_place = end == start and line.elementwise and all(row in whole for row in rows[other.name] if row in line.reads)
            if other.definition == b.definition and (end < start or in_place):
                b.other = other
                old.remove(other)
                break
