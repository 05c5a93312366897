"""A port kit: a folder with a cell for another engine, and a test that it computes the same, which runs without minigrad."""
from __future__ import annotations

import io
import os
from typing import Any

import numpy as np

from ..autodiff import grad
from ..files import write
from ..module import write_npz
from ..nested import Nested, flatten, rebuild
from ..queries import taps
from ..recurrent import unroll
from ..tensor import Tensor
from .parity import test_source
from .step import Step
from .to_jax import to_jax
from .to_onnx import to_onnx
from .to_torch import to_torch

TARGETS = ("torch", "jax", "onnx")


def port_kit(cell: Any, folder: str | os.PathLike[str], target: str = "torch", x: Any = None, state: Nested = None, *,
             T: int = 7, B: int = 3, seed: int = 0) -> list[str]:
    """Write the cell for "torch", "jax" or "onnx" into a folder, with golden numbers. Returns the files' paths.

    cell.py or cell.onnx  the source, or the model       weights.npz  parameters by name
    golden.npz            inputs, outputs and states of every step, and the gradients for given cotangents, by minigrad: see ``golden``
    test_parity.py        ``python test_parity.py``, or pytest: needs NumPy and the engine alone

    x and state are examples, as in ``to_torch``. The bounds are 1e-12 (float64) and 1e-5 (float32) of the largest entry.
    """
    if target not in TARGETS:
        raise ValueError(f"port_kit got target={target!r}; expected one of {', '.join(TARGETS)}")
    step = Step(cell, x, state)
    if target == "onnx":
        files = {"cell.onnx": to_onnx(cell, x=x, state=state).SerializeToString()}
    else:
        files = {"cell.py": (to_torch if target == "torch" else to_jax)(cell, x, state).text}
    files.update({"test_parity.py": test_source(step, target), "golden.npz": _packed(golden(step, T, B, seed)),
                  "weights.npz": _packed({n: p.data for n, p in step.parameters.items()})})
    os.makedirs(folder, exist_ok=True)
    for file, content in files.items():
        write(os.path.join(folder, file), content)
    return [os.path.join(folder, file) for file in files]


def golden(step: Step, T: int = 7, B: int = 3, seed: int = 0, scale: float = 0.7) -> dict[str, np.ndarray]:
    """What a port must reproduce: a dict of arrays, computed by minigrad on random inputs.

    xs (T, B, …), state_0 …      what goes in: inputs, and a state; start_0 …: the cell's initial state
    ys (T, B, …), states_0 …     what comes out in every step: outputs and states (T, B, …)
    dys, dlast_0 …               cotangents of ys and of the last state
    d…                           gradients of Σ ys·dys + Σ last·dlast: of each parameter by its name, dxs, dstate_0 …, dstates_0 … (T, B, …)
    steps/a, dsteps/a …          every value that has a name in the cell (T, B, …), and its gradient: to see where a port differs
    """
    rng, cell = np.random.default_rng(seed), step.cell
    dtype = next((p.dtype for p in step.parameters.values() if p.dtype.kind == "f"), np.dtype(float))
    rows = B if step.batched else None
    shape = (T, B, *step.example.shape[1:]) if step.batched else (T, *step.example.shape)
    xs = Tensor((scale * rng.standard_normal(shape)).astype(dtype), requires_grad=True)
    if step.given is None:
        start = cell.initial_state(rows)
    else:
        given = [np.asarray(getattr(s, "data", s)) for s in flatten(step.given)]
        start = rebuild(step.given, [Tensor(np.resize(s, (B, *s.shape[1:])) if step.batched else s) for s in given])
    leaves = [Tensor((s.data + scale * rng.standard_normal(s.shape)).astype(s.dtype), requires_grad=True) if s.dtype.kind == "f" else s
              for s in flatten(start)]                                      # counters and the like stay as they are
    ys, last, states = unroll(cell, xs, rebuild(start, leaves), states=True)
    each = [flatten(s) for s in states[1:]]
    outputs = [ys, *flatten(last)]
    cotangents = [rng.standard_normal(o.shape).astype(o.dtype) for o in outputs]
    total = sum((o * g).sum() for o, g in zip(outputs, cotangents) if o.dtype.kind == "f")
    wanted = {**step.parameters, "xs": xs, **{f"state_{k}": s for k, s in enumerate(leaves) if s.requires_grad}}
    named = {f"steps/{name}": values for name, values in taps([ys, *flatten(last)]).items() if values[0].dtype.kind == "f"}
    series = {**{f"states_{k}": [s[k] for s in each] for k in range(len(leaves)) if each[0][k].dtype.kind == "f"}, **named}
    gradients = iter(grad(total, [*wanted.values(), *(v for values in series.values() for v in values)]))
    numbers = {"xs": xs.data, "ys": ys.data, "dys": cotangents[0]}
    numbers.update({name: np.stack([v.data for v in values]) for name, values in named.items()})
    for k, s in enumerate(leaves):
        numbers.update({f"state_{k}": s.data, f"states_{k}": np.stack([e[k].data for e in each]), f"dlast_{k}": cotangents[1 + k]})
        if step.given is None:
            numbers[f"start_{k}"] = flatten(start)[k].data
    numbers.update({f"d{name}": next(gradients).data for name in wanted})
    numbers.update({f"d{name}": np.stack([next(gradients).data for _ in values]) for name, values in series.items()})
    return numbers


def _packed(arrays: dict[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    write_npz(file, arrays)
    return file.getvalue()
