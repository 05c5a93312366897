"""What minigrad says when an op cannot be computed: what arrived, where, and what to do. Knows no Tensor by type."""
from __future__ import annotations

from typing import Any, Sequence


def describe(x: Any) -> str:
    """``W_h (4, 3)`` or ``(4, 3)`` or the number itself."""
    if not isinstance(getattr(x, "shape", None), tuple):
        text = repr(x)
        return text if len(text) <= 60 else text[:57] + "…"
    name = getattr(x, "name", None)
    return f"{name} {tuple(x.shape)}" if name else f"{tuple(x.shape)}"


def at(place: Any) -> str:
    """`` at t=3`` for an op recorded in a time step, else nothing."""
    return f" at t={place.step}" if place is not None else ""


def explain_failure(error: Exception, op: Any, inputs: Sequence[Any], place: Any) -> None:
    """Rewrite the message of an error raised by an op's value; the type and the traceback stay."""
    if str(error).startswith("minigrad:"):
        return
    message = f"minigrad: {op.name}{at(place)} got {', '.join(describe(x) for x in inputs)}: {error}"
    shapes = [tuple(x.shape) for x in inputs if hasattr(x, "shape")]
    if op.name == "matmul" and len(shapes) == 2 and len(shapes[0]) > 1 and len(shapes[1]) > 1:
        a, b = shapes
        message += f". The inner sizes {a[-1]} and {b[-2]} must be equal"
        if a[-1] == b[-1]:
            message += "; the second transposed would fit: a @ b.mT"
        elif a[-2] == b[-2]:
            message += "; the first transposed would fit: a.mT @ b"
        elif a[-2] == b[-1]:
            message += "; the other order would fit: b @ a"
    elif "broadcast" in message:
        message += ". Sizes must be equal from the last axis on, or 1"
    _said(error, message)


def explain_call(error: Exception, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    """The same for a call that could not be understood: unless the message is our own and names the function, say what it was given."""
    text, last = str(error), error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    ours = last is not None and last.tb_frame.f_globals.get("__package__", "").startswith(__package__)
    if ours and (text.startswith(name) or f"'{name}'" in text) or text.startswith("minigrad:"):
        return
    given = [describe(x) for x in args] + [f"{k}={describe(x)}" for k, x in kwargs.items()]
    text = f"minigrad: {name} got {', '.join(given)}: {text}"
    if isinstance(error, _STRANGERS):
        raise TypeError(text) from error
    _said(error, text)


def _said(error: Exception, text: str) -> None:
    """Give the error this message. NumPy's own exception types make theirs of what they were given, so a plainer one is raised."""
    if isinstance(error.args[0] if error.args else None, str) and str(error) == error.args[0]:
        error.args = (text, *error.args[1:])
    elif isinstance(error, (TypeError, IndexError, ValueError)):
        plainer = next(kind for kind in (TypeError, ValueError, IndexError) if isinstance(error, kind))
        raise plainer(text) from error


_STRANGERS = (AttributeError, ZeroDivisionError)      # an argument that is no array; a number of parts that is 0
