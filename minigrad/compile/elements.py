"""Where the elements of a view are in what it looks at: indices, as words."""


class NoForm(Exception):
    """A statement that has no form here; the message says which."""

    def __init__(self, what):
        super().__init__(f"Numba's have no form for {what}")


def shifted(index, by):
    """``index + by``."""
    if not by:
        return index
    return str(int(index) + by) if index.isdigit() else f"{index} + {by}"


def moved(at, axis, by):
    """Indices with one of them shifted."""
    at = list(at)
    at[axis] = shifted(at[axis], by)
    return at


def _getitem(v, at):
    index, shape = v.attributes["index"], v.inputs[0].shape
    n = sum(i is not None and i is not Ellipsis for i in index)
    here = next((k for k, i in enumerate(index) if i is Ellipsis), len(index))
    index = [*index[:here], *[slice(None)] * (len(shape) - n), *index[here + 1:]]
    at, found = iter(at), []
    for i in index:
        if i is None:
            next(at)
        elif isinstance(i, slice):
            start, _, step = i.indices(shape[len(found)])
            one = next(at)
            found.append(shifted(one, start) if step == 1 else f"{start} + {step} * ({one})")
        else:
            found.append(str(int(i) % shape[len(found)]))
    return found


def _transpose(v, at):
    axes, found = v.attributes["axes"], list(at)
    for n, axis in enumerate(axes):
        found[axis] = at[len(at) - len(axes) + n]
    return found


def _broadcast(v, at):
    shape = v.inputs[0].shape
    return [i if n > 1 else "0" for i, n in zip(at[len(at) - len(shape):], shape)]


VIEWS = {"getitem": _getitem, "transpose": _transpose, "broadcast_to": _broadcast, "stop_gradient": lambda v, at: at}
