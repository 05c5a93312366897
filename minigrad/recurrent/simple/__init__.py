"""One tanh (or relu) of what comes in and what was: Elman's network and its relatives.

    elman.py   the simple recurrent network      orthogonal.py   a rotation instead of a matrix: nothing fades or grows
    irnn.py    relu, and a memory to begin with  clockwork.py    groups of units, each with its own clock
"""
from .clockwork import ClockworkRNNCell
from .elman import RNNCell
from .irnn import IRNNCell
from .orthogonal import OrthogonalRNNCell

__all__ = ["ClockworkRNNCell", "IRNNCell", "OrthogonalRNNCell", "RNNCell"]
