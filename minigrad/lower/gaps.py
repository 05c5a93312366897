"""Which ops an engine has no entry for, and why: the table in docs/take-it-elsewhere.md."""
from __future__ import annotations

from ..ops import TABLE
from .to_jax import GAPS as JAX_GAPS
from .to_jax import TABLE as JAX
from .to_onnx import GAPS as ONNX_GAPS
from .to_onnx import TABLE as ONNX
from .to_torch import GAPS as TORCH_GAPS
from .to_torch import TABLE as TORCH

ENGINES = {"PyTorch": (TORCH, TORCH_GAPS), "JAX": (JAX, JAX_GAPS), "ONNX": (ONNX, ONNX_GAPS)}          # entries; {op: why there is none}


def markdown() -> str:
    """The table, a row for each engine."""
    rows = []
    for engine, (table, gaps) in ENGINES.items():
        reasons: dict[str, list[str]] = {}
        for op, why in gaps.items():
            reasons.setdefault(why, []).append(f"`{op}`")
        lacks = "; ".join(f"{', '.join(ops)} ({why})" for why, ops in reasons.items())
        rows.append(f"| {engine} | {len(TABLE.keys() & table.keys())} of {len(TABLE)} | {lacks} |")
    return "\n".join(["| engine | ops | without an entry |", "|---|---|---|", *rows])
