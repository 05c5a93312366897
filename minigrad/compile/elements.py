"""Where the elements of a view are in what it looks at: indices, as words."""
from collections.abc import Callable, Sequence

from .value import Value


class NoForm(Exception):
    """A statement that has no form here; the message says which."""

    def __init__(self, what: str) -> None:
        super().__init__(f"Numba's have no form for {what}")


def shifted(index: str, by: int) -> str:
    """``index + by``."""
    if not by:
        return index
    return str(int(index) + by) if index.isdigit() else f"{index} + {by}"


def moved(at: Sequence[str], axis: int, by: int) -> list[str]:
    """Indices with one of them shifted."""
    at = list(at)
    at[axis] = shifted(at[axis], by)
    return at


def _getitem(v: Value, at: Sequence[str]) -> list[str]:
    index, shape = v.attributes["index"], v.inputs[0].shape
    n = sum(i is not None and i is not Ellipsis for i in index)
    here = next((k for k, i in enumerate(index) if i is Ellipsis), len(index))
    index = [*index[:here], *[slice(None)] * (len(shape) - n), *index[here + 1:]]
    places, found = iter(at), list[str]()
    for i in index:
        if i is None:
            next(places)
        elif isinstance(i, slice):
            start, _, step = i.indices(shape[len(found)])
            one = next(places)
            found.append(shifted(one, start) if step == 1 else f"{start} + {step} * ({one})")
        else:
            found.append(str(int(i) % shape[len(found)]))
    return found


def _transpose(v: Value, at: Sequence[str]) -> list[str]:
    axes, found = v.attributes["axes"], list(at)
    for n, axis in enumerate(axes):
        found[axis] = at[len(at) - len(axes) + n]
    return found


def _broadcast(v: Value, at: Sequence[str]) -> list[str]:
    shape = v.inputs[0].shape
    return [i if n > 1 else "0" for i, n in zip(at[len(at) - len(shape):], shape)]


VIEWS: dict[str, Callable[[Value, Sequence[str]], Sequence[str]]] = {
    "getitem": _getitem, "transpose": _transpose, "broadcast_to": _broadcast, "stop_gradient": lambda v, at: at}
