"""Recurrent networks: the cell contract ``y, state = cell(x, state)``, time, and one file per cell."""
from .compose import bidirectional, stacked
from .elman import RNNCell
from .gru import GRUCell
from .lstm import LSTMCell
from .sequence import steps, unroll
from .state import detach

__all__ = ["GRUCell", "LSTMCell", "RNNCell", "bidirectional", "detach", "stacked", "steps", "unroll"]
