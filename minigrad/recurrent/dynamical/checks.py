"""What the cells of this folder ask of the numbers they are made with."""
from __future__ import annotations

import math
import numbers


def check_positive(cell: str, **values: float) -> None:
    """Step sizes and lengths of time are finite and above zero."""
    for name, value in values.items():
        if not isinstance(value, numbers.Real) or isinstance(value, bool) or not (math.isfinite(value) and value > 0):
            raise ValueError(f"{cell} got {name}={value!r}; expected a positive number")
