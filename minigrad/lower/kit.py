"""A port kit: a folder with a cell for another engine, and a test that it computes the same, which runs without minigrad."""
import os

import numpy as np

from ..files import write
from .step import Step
from .to_jax import to_jax
from .to_onnx import to_onnx
from .to_torch import to_torch

TARGETS = ("torch", "jax", "onnx")


def port_kit(cell, folder, target="torch", x=None, *, T=7, B=3, seed=0):
    """Write the cell for "torch", "jax" or "onnx" into a folder, with golden numbers. Returns the files' paths.

    cell.py or cell.onnx  the source, or the model       weights.npz  parameters by name
    golden.npz            inputs, the outputs of every step, the last state, and the gradients for a given cotangent, by minigrad
    test_parity.py        ``python test_parity.py``, or pytest: needs NumPy and the engine alone

    The bounds are 1e-12 (float64) and 1e-5 (float32) of the largest entry.
    """
    if target not in TARGETS:
        raise ValueError(f"port_kit got target={target!r}; expected one of {', '.join(TARGETS)}")
    step = Step(cell, x)
    if target == "onnx":
        program, name = to_onnx(cell, x=x).SerializeToString(), "cell.onnx"
    else:
        program, name = (to_torch if target == "torch" else to_jax)(cell, x).text, "cell.py"
    golden = step.golden(T, B, seed)
    os.makedirs(folder, exist_ok=True)
    files = {name: program, "test_parity.py": _test(step, target)}
    for file, content in files.items():
        write(os.path.join(folder, file), content)
    for file, arrays in (("weights.npz", {n: p.data for n, p in step.parameters.items()}), ("golden.npz", golden)):
        np.savez(os.path.join(folder, file), **arrays)
    return [os.path.join(folder, file) for file in (*files, "weights.npz", "golden.npz")]


def _test(step, target):
    return HEAD.replace("TITLE", step.title) + {"torch": TORCH, "jax": JAX, "onnx": ONNX}[target].replace("CELL", step.identifier) + FOOT


HEAD = '''"""Does cell compute what minigrad's TITLE computed? Values of every step, last states, and gradients: python test_parity.py"""
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
golden, weights = dict(np.load(HERE / "golden.npz")), dict(np.load(HERE / "weights.npz"))
states = sorted((n for n in golden if n.startswith("state_")), key=lambda n: int(n[6:]))


def close(name, ours):
    ours, theirs = np.asarray(ours), golden[name]
    bound = 1e-5 if theirs.dtype.itemsize < 8 else 1e-12
    error = np.max(np.abs(ours - theirs), initial=0) / max(np.max(np.abs(theirs), initial=0), 1e-30)
    assert ours.shape == theirs.shape and error <= bound, f"{name}: {error:.1e}, allowed {bound:.0e}"
    print(f"{name:20} {error:.1e}")


'''

TORCH = '''def test_parity():
    import torch
    from cell import CELL
    cell = CELL(dtype=torch.as_tensor(golden["xs"]).dtype).load(weights)
    xs, state = torch.tensor(golden["xs"], requires_grad=True), [torch.tensor(golden[n]) for n in states]
    state = [s.requires_grad_() if s.is_floating_point() else s for s in state]
    ys, last = cell(xs, tuple(state))
    close("ys", ys.detach())
    total = (ys * torch.tensor(golden["dys"])).sum()
    for i, s in enumerate(last):
        close(f"last_{i}", s.detach())
        if s.is_floating_point():
            total = total + (s * torch.tensor(golden[f"dlast_{i}"])).sum()
    total.backward()
    for name, parameter in cell.named_parameters():
        close(f"d{name}", parameter.grad)
    close("dxs", xs.grad)
    for n, s in zip(states, state):
        if s.grad is not None:
            close(f"d{n}", s.grad)
'''

JAX = '''def test_parity():
    import jax
    jax.config.update("jax_enable_x64", golden["xs"].dtype.itemsize == 8)
    import cell

    def run(weights, xs, floats):
        given = iter(floats)
        state = [next(given) if golden[n].dtype.kind == "f" else golden[n] for n in states]
        ys, last = cell.scan(weights, xs, tuple(state))
        total = (ys * golden["dys"]).sum()
        for i, s in enumerate(last):
            if s.dtype.kind == "f":
                total = total + (s * golden[f"dlast_{i}"]).sum()
        return total, (ys, last)

    floats = [golden[n] for n in states if golden[n].dtype.kind == "f"]
    (dweights, dxs, dstates), (ys, last) = jax.jit(jax.grad(run, argnums=(0, 1, 2), has_aux=True))(weights, golden["xs"], floats)
    close("ys", ys)
    for i, s in enumerate(last):
        close(f"last_{i}", s)
    for name, gradient in dweights.items():
        close(f"d{name}", gradient)
    close("dxs", dxs)
    for n, gradient in zip([n for n in states if golden[n].dtype.kind == "f"], dstates):
        close(f"d{n}", gradient)
'''

ONNX = '''def test_parity():
    import onnxruntime
    options = onnxruntime.SessionOptions()
    if golden["xs"].dtype.itemsize == 8:          # its fused operations compute in float32
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(HERE / "cell.onnx", options)
    ys, *last = session.run(None, {n: golden[n] for n in ("xs", *states)})
    close("ys", ys)
    for i, s in enumerate(last):
        close(f"last_{i}", s)
'''

FOOT = '''

if __name__ == "__main__":
    test_parity()
    print("the same")
'''
