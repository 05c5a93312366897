"""A memory that is a matrix (or is kept by exponential gates): xLSTM and the delta rule."""
from .gated_deltanet import GatedDeltaNetCell
from .mlstm import MLSTMCell
from .slstm import SLSTMCell

__all__ = ["GatedDeltaNetCell", "MLSTMCell", "SLSTMCell"]
