"""One tanh (or relu) of what comes in and what was: Elman's network and its relatives."""
from .elman import RNNCell

__all__ = ["RNNCell"]
