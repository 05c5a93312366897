"""Differential equations, taken one step at a time: the step size is part of the cell.

    antisymmetric.py   eigenvalues near the imaginary axis     cfc.py   a closed form instead of a solver; irregular time steps
    cornn.py           coupled oscillators                     lmu.py   the last θ steps in Legendre polynomials
    lem.py             every unit learns its own step size
"""
from .antisymmetric import AntisymmetricRNNCell
from .cfc import CfCCell
from .cornn import CoRNNCell
from .lem import LEMCell
from .lmu import LMUCell

__all__ = ["AntisymmetricRNNCell", "CfCCell", "CoRNNCell", "LEMCell", "LMUCell"]
