"""Gates decide what is kept, written and shown: the LSTM, the GRU and what was made of them.

    lstm.py   long short-term memory, peepholes   layer_norm_lstm.py   the LSTM with layer normalisation
    gru.py    the gated recurrent unit            mgu.py, janet.py     one gate is enough
"""
from .gru import GRUCell
from .janet import JANETCell
from .layer_norm_lstm import LayerNormLSTMCell
from .lstm import LSTMCell
from .mgu import MGUCell

__all__ = ["GRUCell", "JANETCell", "LSTMCell", "LayerNormLSTMCell", "MGUCell"]
