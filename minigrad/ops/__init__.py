"""The op table: what can be computed and how it is differentiated. Imports NumPy and nothing else."""
from .calls import numbers
from .later import At, Later
from .record import FUNCTIONS, HANDLERS, TABLE, Op, op
from .table import (binary_cross_entropy, gelu, layer_norm, log_softmax, logsigmoid, logsumexp, matrix_exp, relu, scatter_add, sigmoid,
                    silu, softmax, softmax_cross_entropy, softplus, squared_error)

__all__ = ["FUNCTIONS", "HANDLERS", "TABLE", "At", "Later", "Op", "numbers", "op",
           "binary_cross_entropy", "gelu", "layer_norm", "log_softmax", "logsigmoid", "logsumexp", "matrix_exp", "relu", "scatter_add",
           "sigmoid", "silu", "softmax", "softmax_cross_entropy", "softplus", "squared_error"]
