"""What flows back along one edge of the graph: from an op to one of its operands."""
from __future__ import annotations

from typing import Any

import numpy as np

from ..autodiff import _unbroadcast
from ..ops import Later


def through(node: Any, position: int, g: np.ndarray, lead: int = 0) -> np.ndarray | None:
    """The part of a gradient that ``node`` hands to its operand at ``position``: the op's own rule, broadcasting undone.

    node      a recorded Tensor, the result of an op
    g         array, the gradient that arrived at node, with ``lead`` axes in front that stand for several at once
    Returns an array of the operand's shape, the leading axes in front; None if the op gives this operand no gradient.

    >>> import minigrad as mg
    >>> y = mg.parameter([3.]) * mg.parameter([4.])
    >>> through(y, 0, np.array([1.]))
    array([4.])
    """
    rule = node.op.rule(position)
    if rule is None:
        return None
    more = dict(node.attributes or {}, saved=node.saved) if node.op.saves else node.attributes or {}
    part: Any = rule(g, node.array, *node.arrays, **more)
    if isinstance(part, Later):
        part = part.dense()
    shape = np.shape(node.arrays[position])
    return part if part.shape[lead:] == shape else _unbroadcast(part, shape, lead)
