"""Recurrent networks: the cell contract ``y, state = cell(x, state)``, time, and one file per cell.

    sequence.py   steps, unroll: the one loop        compose.py     cells made of cells: stacked, bidirectional
    recompute.py  unroll that stores few states      wrappers.py    any cell with something added: dropout, zoneout, residual …
    state.py      states: detached, checked          initial.py     initial values

    simple/       RNNCell, IRNNCell, OrthogonalRNNCell, ClockworkRNNCell
    gated/        LSTMCell, GRUCell, MGUCell, JANETCell, LayerNormLSTMCell
    dynamical/    AntisymmetricRNNCell, CoRNNCell, LEMCell, CfCCell, LMUCell
    linear/       MinGRUCell, MinLSTMCell, RGLRUCell
    matrix/       SLSTMCell, MLSTMCell, GatedDeltaNetCell
"""
from .compose import bidirectional, stacked
from .dynamical import AntisymmetricRNNCell, CfCCell, CoRNNCell, LEMCell, LMUCell
from .gated import GRUCell, JANETCell, LayerNormLSTMCell, LSTMCell, MGUCell
from .linear import MinGRUCell, MinLSTMCell, RGLRUCell
from .matrix import GatedDeltaNetCell, MLSTMCell, SLSTMCell
from .sequence import steps, unroll
from .simple import ClockworkRNNCell, IRNNCell, OrthogonalRNNCell, RNNCell
from .state import detach
from .wrappers import dropout, learned_start, masked, normalized, projected, residual, zoneout

__all__ = ["AntisymmetricRNNCell", "CfCCell", "ClockworkRNNCell", "CoRNNCell", "GRUCell", "GatedDeltaNetCell", "IRNNCell", "JANETCell",
           "LEMCell", "LMUCell", "LSTMCell", "LayerNormLSTMCell", "MGUCell", "MLSTMCell", "MinGRUCell", "MinLSTMCell",
           "OrthogonalRNNCell", "RGLRUCell", "RNNCell", "SLSTMCell", "bidirectional", "detach", "dropout", "learned_start", "masked",
           "normalized", "projected", "residual", "stacked", "steps", "unroll", "zoneout"]
