"""RNNCell, GRUCell and LSTMCell as ONNX's own ops RNN, GRU and LSTM: gate orders, transposes, two biases, peepholes."""
from __future__ import annotations

from typing import Any, Callable

import numpy as np

from ..recurrent import GRUCell, LSTMCell, RNNCell

ORDER = {RNNCell: [0], GRUCell: [1, 0, 2], LSTMCell: [0, 3, 1, 2]}          # of the gates: ONNX has z r h, and i o f c


def layers(cell: Any) -> list[Any] | None:
    """The cells of a stack, first to last, if each has an op of its own; else None."""
    cells = getattr(cell, "cells", [cell])
    return list(cells) if all(type(c) in ORDER for c in cells) else None


def nodes(cells: list[Any], add: Callable[..., str], constant: Callable[..., str]) -> None:
    """The nodes from ``xs`` and ``state_0`` … to ``ys`` and ``last_0`` …; ``add(op, *inputs, name=…, **attributes)`` makes one."""
    x, k, front, direction = "xs", 0, constant([0], np.int64), constant([1], np.int64)
    for n, cell in enumerate(cells):
        op, lstm, H = type(cell).__name__.removesuffix("Cell"), isinstance(cell, LSTMCell), cell.W_h.shape[0]

        def gates(array: np.ndarray) -> np.ndarray:
            parts = np.split(array, array.shape[-1] // H, axis=-1)
            return np.concatenate([parts[i] for i in ORDER[type(cell)]], axis=-1)

        first, second = (cell.b, None) if hasattr(cell, "b") else (cell.b_x, cell.b_h)
        biases = np.concatenate([gates(first.data), np.zeros_like(first.data) if second is None else gates(second.data)])
        inputs = [x, *(constant(gates(w.data).T[None]) for w in (cell.W_x, cell.W_h)), constant(biases[None]), "",
                  *(add("Unsqueeze", f"state_{k + i}", front) for i in range(1 + lstm))]
        more: dict[str, Any] = {}
        if lstm and cell.p is not None:
            p = np.split(cell.p.data, 3)                                    # ours i f o, theirs i o f
            inputs.append(constant(np.concatenate([p[0], p[2], p[1]])[None]))
        if op == "GRU":
            more["linear_before_reset"] = int(cell.reset == "after")
        if op == "RNN":
            more["activations"] = ["Relu" if cell.nonlinearity == "relu" else "Tanh"]
        out = [f"y_{n}", *(f"s_{n}_{i}" for i in range(1 + lstm))]
        add(op, *inputs, names=out, hidden_size=H, **more)
        x = add("Squeeze", out[0], direction, name="ys" if cell is cells[-1] else None)
        for i in range(1 + lstm):
            add("Squeeze", out[1 + i], front, name=f"last_{k + i}")
        k += 1 + lstm
