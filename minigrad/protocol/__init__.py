"""NumPy's other functions on a Tensor: compositions of the op table's ops, plain answers, and for the rest what to write instead."""
from . import arithmetic, products, shapes        # noqa: F401  (their compositions enter FUNCTIONS)
from .calling import fitting, rephrased
from .refused import OF_THE_REAL_PART, PLAIN_FUNCTIONS, no_rule

__all__ = ["OF_THE_REAL_PART", "PLAIN_FUNCTIONS", "fitting", "no_rule", "rephrased"]
