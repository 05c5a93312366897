"""Taken elsewhere: a cell as a file for PyTorch, JAX or ONNX, with its weights, and with golden numbers to test it by.

    to_torch.py, to_jax.py, to_onnx.py   one table each: op name -> how the engine writes it; and the file around it
    onnx_layers.py   the cells that ONNX has an op for        gaps.py      what an engine lacks, as a table
    weights.py       torch.nn.RNN, GRU and LSTM, both ways    kit.py       port_kit: source, weights, golden numbers
    step.py          one step as a list of operations         parity.py    … and their test, which runs without minigrad
    source.py        how Python source is written

A new op's form for an engine is one entry in that engine's TABLE, or a reason among its GAPS why there is none.
"""
from .kit import port_kit
from .to_jax import to_jax
from .to_onnx import to_onnx
from .to_torch import to_torch
from .weights import from_torch_weights, to_torch_weights

__all__ = ["from_torch_weights", "port_kit", "to_jax", "to_onnx", "to_torch", "to_torch_weights"]
