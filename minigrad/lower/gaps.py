"""Which ops a target has no entry for: the table in docs/take-it-elsewhere.md."""
from ..ops import TABLE
from .to_jax import TABLE as JAX
from .to_onnx import TABLE as ONNX
from .to_torch import TABLE as TORCH

TARGETS = {"PyTorch": TORCH, "JAX": JAX, "ONNX": ONNX}


def gaps():
    """{target: the ops of the op table that it has no entry for}, in the order of the table."""
    return {target: [name for name in TABLE if name not in table] for target, table in TARGETS.items()}


def markdown():
    """The same as a table for the documentation."""
    rows = [f"| {target} | {len(TABLE) - len(missing)} of {len(TABLE)} | {', '.join(f'`{name}`' for name in missing) or 'none'} |"
            for target, missing in gaps().items()]
    return "\n".join(["| engine | ops | without an entry |", "|---|---|---|", *rows])
