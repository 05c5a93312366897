"""The recorded graph as data: nodes, places in time, names; trace, replay, adjoint and the normal form."""
from .cost import Cost, cost
from .data import Graph, Node
from .evaluate import adjoint, replay, trace
from .normal import normal_form
from .taps import taps

__all__ = ["Cost", "Graph", "Node", "adjoint", "cost", "normal_form", "replay", "taps", "trace"]
