"""Layered layout of a small directed graph: rows, the order inside each row, coordinates, and routes for the arrows.

Arrows go up.  An arrow that spans several rows passes between the boxes of the rows in between, so by construction no
arrow runs through a box: it is vertical inside a row and bends only in the free strip between two rows.  Only sizes
and pairs of numbers come in, so the same function serves one time step, the part after the loop and a graph without
time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from . import simplex

Point = tuple[float, float]
Edge = tuple[int, int]

SIDE_GAP = 14      # between neighbours in a row
ROW_GAP = 20       # between rows: an arrow's length where it goes straight up
LANE = 6           # the width kept free for an arrow that passes through a row


@dataclass
class Placed:
    """Where everything is: centres per node, the box around all, the strip of each node's row, waypoints per edge."""
    x: list[float]
    y: list[float]
    width: float
    height: float
    rank: list[int]
    strip: list[tuple[float, float]]                     # per row: (bottom, top)
    lanes: dict[tuple[int, int], list[float]] = field(default_factory=dict)  # edge -> x in every row it passes


def arrange(sizes: list[tuple[float, float]], edges: list[tuple[int, int]], *, pinned: Sequence[tuple[int, int]] = (),
            bottom: set[int] = frozenset(), top: set[int] = frozenset(),  # type: ignore[assignment]
            heavy: dict[tuple[int, int], int] | None = None, row_gap: float = ROW_GAP,
            balanced: bool = False) -> Placed:
    """Place boxes of the given (width, height) so that every edge (u, v) goes up.

    `pinned` are pairs of a node and -1 (first in its row, alone with that right) or +1 (last): a node with both has
    its row to itself; `bottom` and `top` force nodes into the outermost rows; `heavy` gives edges that should be straight
    a weight above 1;
    `balanced` puts a node in the middle where several places are equally good.
    """
    count = len(sizes)
    edges = list(dict.fromkeys((u, v) for u, v in edges if u != v))
    sides, heavy = dict(pinned), heavy or {}
    if not count:
        return Placed([], [], 0, 0, [], [])
    rank = _ranks(count, edges, pinned, bottom, top)
    steps, lanes, rank_all = _lanes(count, edges, rank)
    rows, x = _best(sizes, _orders(rank_all, steps, sides), steps, count, heavy)
    if balanced:
        # The mirrored problem has the same cost and the other choice of every tie; their mean costs no more.
        other = _columns(sizes, [row[::-1] for row in rows], steps, count, heavy)
        turned = [max(other) - value for value in other]
        shift = (sum(x) - sum(turned)) / len(x)
        x = [(a + b + shift) / 2 for a, b in zip(x, turned)]
    wide = [abs(x[u] - x[v]) for u, v in steps]
    span = [0.0] * (max(rank) + 1)
    for (u, v), w in zip(steps, wide):
        span[rank_all[u]] = max(span[rank_all[u]], w)
    strip, base = [], 0.0
    for r, row in enumerate(rows):
        tall = max((sizes[n][1] for n in row if n < count), default=0)
        strip.append((base, base + tall))
        # Flat, wide bends are hard to follow: give them more room.
        base += tall + row_gap + min(26.0, 0.13 * span[r])
    y = [(strip[rank[n]][0] + strip[rank[n]][1]) / 2 for n in range(count)]
    left = min(x[n] - (sizes[n][0] / 2 if n < count else LANE / 2) for n in range(len(x)))
    right = max(x[n] + (sizes[n][0] / 2 if n < count else LANE / 2) for n in range(len(x)))
    x = [value - left for value in x]
    return Placed(x[:count], y, right - left, strip[-1][1], rank, strip,
                  {edge: [x[d] for d in chain] for edge, chain in lanes.items()})


def _ranks(count: int, edges: list[tuple[int, int]], pinned: Sequence[tuple[int, int]], bottom: set[int],
           top: set[int]) -> list[int]:
    constraints = [(u, v, 1, 1) for u, v in edges]
    free = [n for n in range(count) if n not in bottom and n not in top]
    for _ in range(2 * len(pinned) + count):
        rank = simplex.solve(count, constraints)
        clash = _clash(rank, pinned, free)
        if clash is None:
            break
        below, above = clash
        if _reaches([(u, v) for u, v, _, _ in constraints], above, below):
            below, above = above, below
        constraints.append((below, above, 1, 0))
    inner = [n for n in range(count) if n not in top]
    highest = max((rank[n] for n in inner), default=-1) + 1
    lowest = min((rank[n] for n in inner), default=0)
    for n in top:
        rank[n] = highest
    for n in bottom:
        rank[n] = lowest
    used = {r: i for i, r in enumerate(sorted(set(rank)))}
    return [used[r] for r in rank]


def _clash(rank: list[int], pinned: Sequence[tuple[int, int]], free: list[int]) -> tuple[int, int] | None:
    """Two nodes that both want to be first (or last) in one row, or one that wants to be both beside another."""
    taken: dict[tuple[int, int], int] = {}
    for node, side in sorted(pinned):
        other = taken.setdefault((rank[node], side), node)
        if other != node:
            return other, node
        if (rank[node], -side) in taken and taken[rank[node], -side] == node:
            beside = next((n for n in free if n != node and rank[n] == rank[node]), node)
            if beside != node:
                return node, beside
    return None


def _reaches(edges: list[tuple[int, int]], start: int, goal: int) -> bool:
    after: dict[int, list[int]] = {}
    for u, v in edges:
        after.setdefault(u, []).append(v)
    seen, stack = {start}, [start]
    while stack:
        node = stack.pop()
        if node == goal:
            return True
        for v in after.get(node, ()):
            if v not in seen:
                seen.add(v)
                stack.append(v)
    return False


def _lanes(count: int, edges: list[Edge], rank: list[int]) -> tuple[list[Edge], dict[Edge, list[int]], list[int]]:
    """Split long edges into steps of one row.  All arrows of one source share its lane: one value, one line."""
    steps: dict[tuple[int, int], None] = {}
    lanes: dict[tuple[int, int], list[int]] = {}
    shared: dict[tuple[int, int], int] = {}
    rank_all = list(rank)
    for u, v in edges:
        previous, chain = u, []
        for r in range(rank[u] + 1, rank[v]):
            if (u, r) not in shared:
                shared[u, r] = len(rank_all)
                rank_all.append(r)
            steps[previous, shared[u, r]] = None
            previous = shared[u, r]
            chain.append(previous)
        steps[previous, v] = None
        lanes[u, v] = chain
    return list(steps), lanes, rank_all


def _orders(rank: list[int], steps: list[tuple[int, int]], pinned: dict[int, int]) -> list[tuple[int, list[list[int]]]]:
    """Orders with few crossings, each with its number of crossings, the fewest first.

    Sweep up and down, each row sorted by the mean place of its neighbours, and remember what every sweep leaves.
    """
    below: dict[int, list[int]] = {}
    above: dict[int, list[int]] = {}
    for u, v in steps:
        below.setdefault(v, []).append(u)
        above.setdefault(u, []).append(v)
    small = len(rank) < 400
    found: dict[tuple[Any, ...], tuple[int, list[list[int]]]] = {}
    for turned in (False, True) if small else (False,):
        rows: list[list[int]] = [[] for _ in range(max(rank) + 1)]
        for node in _by_branch(len(rank), below):
            rows[rank[node]].append(node)
        rows = [sorted(row[::-1] if turned else row, key=lambda n: pinned.get(n, 0)) for row in rows]
        for sweep in range(12 if small else 5):
            found.setdefault(tuple(map(tuple, rows)), (_crossings(rows, above), [row[:] for row in rows]))
            near, sequence = (below, range(1, len(rows))) if sweep % 2 == 0 else (above, range(len(rows) - 2, -1, -1))
            place = {n: i for row in rows for i, n in enumerate(row)}
            for r in sequence:
                mean = {n: sum(place[m] for m in near[n]) / len(near[n]) if near.get(n) else place[n] for n in rows[r]}
                rows[r].sort(key=lambda n: (pinned.get(n, 0), mean[n], place[n]))
                place.update((n, i) for i, n in enumerate(rows[r]))
            if small:
                _swap(rows, above, below, pinned)
    return sorted(found.values(), key=lambda order: order[0])


def _best(sizes: list[Point], orders: list[tuple[int, list[list[int]]]], steps: list[Edge], count: int,
          heavy: dict[Edge, int]) -> tuple[list[list[int]], list[float]]:
    """Of the orders with the fewest crossings the one that lets the arrows run straightest."""
    fewest = orders[0][0]
    chosen, least = None, None
    for crossings, rows in orders[:6 if len(steps) < 250 else 1]:
        if crossings > fewest + 2:
            break
        x = _columns(sizes, rows, steps, count, heavy)
        cost = sum(abs(x[u] - x[v]) for u, v in steps) + 90 * crossings + 2 * (max(x) - min(x))
        if least is None or cost < least:
            chosen, least = (rows, x), cost
    assert chosen is not None
    return chosen


def _by_branch(count: int, below: dict[int, list[int]]) -> list[int]:
    """Nodes so that what flows into one node stands together (depth first from the top)."""
    order, seen = [], set()
    feeds = {u for sources in below.values() for u in sources}
    for root in [n for n in range(count) if n not in feeds]:
        stack = [root]
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            order.append(node)
            stack.extend(reversed(below.get(node, ())))
    return order


def _crossings(rows: list[list[int]], above: dict[int, list[int]]) -> int:
    total = 0
    for lower, upper in zip(rows, rows[1:]):
        place = {n: i for i, n in enumerate(upper)}
        ends: list[int] = []
        for node in lower:
            landed = sorted(place[m] for m in above.get(node, ()))
            total += sum(1 for end in landed for earlier in ends if earlier > end) if len(ends) < 500 else 0
            ends.extend(landed)
    return total


def _swap(rows: list[list[int]], above: dict[int, list[int]], below: dict[int, list[int]], pinned: dict[int, int]) -> None:
    """Exchange neighbours where that removes crossings."""
    place = {n: i for row in rows for i, n in enumerate(row)}

    def cost(a: int, b: int) -> int:
        return sum(place[m] > place[k] for near in (above, below) for m in near.get(a, ()) for k in near.get(b, ()))

    for row in rows:
        for i in range(len(row) - 1):
            a, b = row[i], row[i + 1]
            if pinned.get(a, 0) == pinned.get(b, 0) and cost(b, a) < cost(a, b):
                row[i], row[i + 1] = b, a
                place[a], place[b] = place[b], place[a]


def _columns(sizes: list[Point], rows: list[list[int]], steps: list[Edge], count: int, heavy: dict[Edge, int]) -> list[float]:
    """x of every node and lane: neighbours keep apart, arrows (long ones first) stay straight."""
    total = sum(len(row) for row in rows)
    width = [sizes[n][0] if n < count else LANE for n in range(total)]
    constraints: list[simplex.Constraint] = []
    for row in rows:
        for a, b in zip(row, row[1:]):
            constraints.append((a, b, round((width[a] + width[b]) / 2 + SIDE_GAP), 0))
    leaving, arriving = Counter(u for u, _ in steps), Counter(v for _, v in steps)
    for number, (u, v) in enumerate(steps):
        # |x[u] - x[v]| as two one-sided costs through a point of its own.
        weight = heavy.get((u, v), 1) * (1, 3, 8)[(u >= count) + (v >= count)]
        if leaving[u] == 1 and arriving[v] == 1:
            weight *= 3  # nothing else joins or leaves: a bend here would have no reason
        constraints += [(total + number, u, 0, weight), (total + number, v, 0, weight)]
    x: list[float] = list(map(float, simplex.solve(total + len(steps), constraints)[:total]))
    if total + len(steps) > simplex._LARGE:
        # The plain solution is flush left: centre the rows instead.
        for row in rows:
            middle = (x[row[0]] + x[row[-1]]) / 2 if row else 0.0
            for n in row:
                x[n] -= middle
    return x
