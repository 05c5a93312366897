"""Recurrent networks: the cell contract ``y, state = cell(x, state)``, time, and one file per cell.

    sequence.py   steps, unroll: the one loop        compose.py    cells made of cells: stacked, bidirectional
    state.py      states: detached, checked          initial.py    initial values
    simple/       RNNCell                            gated/        LSTMCell, GRUCell
    dynamical/    differential equations             linear/       linear in the state
    matrix/       matrix memories
"""
from .compose import bidirectional, stacked
from .gated import GRUCell, LSTMCell
from .sequence import steps, unroll
from .simple import RNNCell
from .state import detach

__all__ = ["GRUCell", "LSTMCell", "RNNCell", "bidirectional", "detach", "stacked", "steps", "unroll"]
