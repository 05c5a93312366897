"""What minigrad says when an op cannot be computed: what arrived, where, and what to do. Knows no Tensor by type."""


def describe(x):
    """``W_h (4, 3)`` or ``(4, 3)`` or the number itself."""
    if not hasattr(x, "shape"):
        return repr(x)
    name = getattr(x, "name", None)
    return f"{name} {tuple(x.shape)}" if name else f"{tuple(x.shape)}"


def at(place):
    """`` at t=3`` for an op recorded in a time step, else nothing."""
    return f" at t={place.step}" if place is not None else ""


def explain_failure(error, op, inputs, place):
    """Rewrite the message of an error raised by an op's value; the type and the traceback stay."""
    if not error.args or not isinstance(error.args[0], str) or error.args[0].startswith("minigrad:"):
        return
    message = f"minigrad: {op.name}{at(place)} got {', '.join(describe(x) for x in inputs)}: {error.args[0]}"
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
    elif "broadcast" in error.args[0]:
        message += ". Sizes must be equal from the last axis on, or 1"
    error.args = (message, *error.args[1:])
