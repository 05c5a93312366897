"""Values of any nesting: a Tensor, tuple, NamedTuple, list or dict of them. Flattened and rebuilt, nothing else."""


def flatten(state):
    """The leaves, in order."""
    leaves, stack = [], [state]
    while stack:
        s = stack.pop()
        if isinstance(s, dict):
            stack.extend(reversed(s.values()))
        elif isinstance(s, (tuple, list)):
            stack.extend(reversed(s))
        elif s is not None:
            leaves.append(s)
    return leaves


def rebuild(like, leaves):
    """The nesting of ``like`` around other leaves."""
    return _build(like, iter(leaves))


def _build(s, leaves):
    if isinstance(s, dict):
        return type(s)((k, _build(v, leaves)) for k, v in s.items())
    if isinstance(s, tuple) and hasattr(s, "_fields"):
        return type(s)(*(_build(v, leaves) for v in s))
    if isinstance(s, (tuple, list)):
        return type(s)(_build(v, leaves) for v in s)
    return None if s is None else next(leaves)
