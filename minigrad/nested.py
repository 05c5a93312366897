"""Values of any nesting: a Tensor, tuple, NamedTuple, list or dict of them. Flattened and rebuilt, nothing else."""
from __future__ import annotations

from typing import Any, Iterable, Iterator

Nested = Any            # a leaf, or a tuple, NamedTuple, list or dict of them, nested


def flatten(state: Nested) -> list[Any]:
    """The leaves, in order."""
    leaves, stack = [], [state]
    while stack:
        s = stack.pop()
        if isinstance(s, (tuple, list)):
            stack.extend(s[::-1])
        elif isinstance(s, dict):
            stack.extend(reversed(s.values()))
        elif s is not None:
            leaves.append(s)
    return leaves


def rebuild(like: Nested, leaves: Iterable[Any]) -> Nested:
    """The nesting of ``like`` around other leaves."""
    return _build(like, iter(leaves))


def _build(s: Nested, leaves: Iterator[Any]) -> Nested:
    if isinstance(s, dict):
        return type(s)((k, _build(v, leaves)) for k, v in s.items())
    if isinstance(s, tuple) and hasattr(s, "_fields"):
        return type(s)(*(_build(v, leaves) for v in s))
    if isinstance(s, (tuple, list)):
        return type(s)(_build(v, leaves) for v in s)
    return None if s is None else next(leaves)
