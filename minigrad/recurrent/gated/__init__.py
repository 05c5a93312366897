"""Gates decide what is kept, written and shown: the LSTM, the GRU and what was made of them."""
from .gru import GRUCell
from .lstm import LSTMCell

__all__ = ["GRUCell", "LSTMCell"]
