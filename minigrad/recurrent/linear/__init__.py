"""Recurrences that are linear in the state, so that a whole sequence also has a closed form."""
from .mingru import MinGRUCell
from .minlstm import MinLSTMCell
from .rglru import RGLRUCell

__all__ = ["MinGRUCell", "MinLSTMCell", "RGLRUCell"]
