"""Questions asked of a recorded graph: what a step's named values were (``taps``), what it costs (``cost``)."""
from .cost import Cost, cost
from .taps import taps

__all__ = ["Cost", "cost", "taps"]
