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
    leaves = iter(leaves)

    def build(s):
        if isinstance(s, dict):
            return type(s)((k, build(v)) for k, v in s.items())
        if isinstance(s, tuple) and hasattr(s, "_fields"):
            return type(s)(*(build(v) for v in s))
        if isinstance(s, (tuple, list)):
            return type(s)(build(v) for v in s)
        return None if s is None else next(leaves)
    return build(like)
