"""Network simplex: integer positions that keep distances and cost least.

The one solver behind both directions of a layered layout (Gansner, Koutsofios, North, Vo, *A technique for drawing
directed graphs*, 1993): rows ("every arrow goes up by at least one") and columns ("neighbours keep apart, arrows stay
straight").  It knows nothing of graphs to be drawn.
"""

from __future__ import annotations

Constraint = tuple[int, int, int, int]  # (u, v, distance, weight): position[v] - position[u] >= distance

_LARGE = 700  # beyond this many points the first feasible positions are good enough


def solve(count: int, constraints: list[Constraint]) -> list[int]:
    """Positions of `count` points that minimise the sum of weight * (position[v] - position[u]).

    The constraints must not form a cycle.  Returns one integer per point, the smallest being 0.

    >>> solve(3, [(0, 1, 1, 1), (1, 2, 1, 1), (0, 2, 5, 1)])
    [0, 1, 5]
    """
    # A ground below every point makes the constraint graph connected without costing anything.
    ground = count
    edges = list(constraints) + [(ground, point, 0, 0) for point in range(count)]
    position = _longest_paths(count + 1, edges)
    if count <= _LARGE:
        _improve(count + 1, edges, position)
    lowest = min(position[:count], default=0)
    return [p - lowest for p in position[:count]]


def _longest_paths(count: int, edges: list[Constraint]) -> list[int]:
    waiting = [0] * count
    leaving: list[list[int]] = [[] for _ in range(count)]
    for number, (u, v, _, _) in enumerate(edges):
        waiting[v] += 1
        leaving[u].append(number)
    position = [0] * count
    ready = [point for point in range(count) if not waiting[point]]
    done = 0
    while ready:
        u = ready.pop()
        done += 1
        for number in leaving[u]:
            _, v, distance, _ = edges[number]
            position[v] = max(position[v], position[u] + distance)
            waiting[v] -= 1
            if not waiting[v]:
                ready.append(v)
    if done != count:
        raise ValueError("the constraints form a cycle: no positions satisfy them")
    return position


def _tight_tree(count: int, edges: list[Constraint], position: list[int]) -> set[int]:
    """Edge numbers of a spanning tree without slack: on longest paths every point has a tight edge from below."""
    tree: dict[int, int] = {}
    for number, (u, v, distance, _) in enumerate(edges):
        if position[v] - position[u] == distance:
            tree.setdefault(v, number)
    return set(tree.values())


def _improve(count: int, edges: list[Constraint], position: list[int]) -> None:
    """Exchange tree edges while one has a negative cut value (the classical simplex step), in place."""
    tree = _tight_tree(count, edges, position)
    supply = [0] * count
    for u, v, _, weight in edges:
        supply[u] += weight
        supply[v] -= weight
    for _ in range(200 + 3_000_000 // (count + len(edges))):
        order, parent_edge, first, last = _walk(count, edges, tree)
        # The weights inside a subtree cancel, so a subtree's summed supply is what crosses its one tree edge.
        crossing = supply[:]
        leaving = None
        for point in reversed(order[1:]):
            number = parent_edge[point]
            u, v, _, _ = edges[number]
            crossing[v if u == point else u] += crossing[point]
            cut = crossing[point] if u == point else -crossing[point]
            if cut < 0 and (leaving is None or (cut, number) < leaving[:2]):
                leaving = (cut, number, point)
        if leaving is None:
            return
        _, number, point = leaving
        tail_is_subtree = edges[number][0] == point
        low, high = first[point], last[point]

        def in_tail(p: int, low: int = low, high: int = high, flip: bool = tail_is_subtree) -> bool:
            return (low <= first[p] <= high) == flip

        entering, least = None, None
        for candidate, (u, v, distance, _) in enumerate(edges):
            if in_tail(v) and not in_tail(u):
                slack = position[v] - position[u] - distance
                if least is None or slack < least:
                    entering, least = candidate, slack
        assert entering is not None and least is not None  # a negative cut is crossed by an edge the other way
        for p in range(count):
            if not in_tail(p):
                position[p] += least
        tree.remove(number)
        tree.add(entering)


def _walk(count: int, edges: list[Constraint], tree: set[int]) -> tuple[list[int], list[int], list[int], list[int]]:
    """Depth-first order of the tree from point 0, each point's edge to its parent, and its subtree's interval."""
    near: list[list[int]] = [[] for _ in range(count)]
    for number in sorted(tree):
        u, v, _, _ = edges[number]
        near[u].append(number)
        near[v].append(number)
    order: list[int] = []
    parent_edge, first, last = [-1] * count, [0] * count, [0] * count
    stack = [0]
    while stack:
        point = stack.pop()
        first[point] = len(order)
        order.append(point)
        for number in near[point]:
            if number != parent_edge[point]:
                u, v, _, _ = edges[number]
                other = v if u == point else u
                parent_edge[other] = number
                stack.append(other)
    size = [1] * count
    for point in reversed(order):
        last[point] = first[point] + size[point] - 1
        if parent_edge[point] >= 0:
            u, v, _, _ = edges[parent_edge[point]]
            size[v if u == point else u] += size[point]
    return order, parent_edge, first, last
