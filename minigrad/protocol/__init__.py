"""NumPy's other functions on a Tensor: compositions of the op table's ops, plain answers, and for the rest what to write instead."""
from . import arithmetic, products, shapes        # noqa: F401  (their compositions enter FUNCTIONS)
from .refused import KEYWORDS, PLAIN_FUNCTIONS, no_rule

__all__ = ["KEYWORDS", "PLAIN_FUNCTIONS", "no_rule"]
