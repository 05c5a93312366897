"""The recorded graph as data: nodes, places in time, names; trace, replay, adjoint and the normal form."""
from .data import Graph, Node
from .evaluate import adjoint, replay, trace
from .normal import normal_form

__all__ = ["Graph", "Node", "adjoint", "normal_form", "replay", "trace"]
