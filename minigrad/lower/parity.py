"""The test of a port kit, as text: it runs where minigrad is not."""
from __future__ import annotations

from .step import Step


def test_source(step: Step, target: str) -> str:
    """``test_parity.py`` for a cell and an engine."""
    return HEAD.replace("TITLE", step.title) + {"torch": TORCH, "jax": JAX, "onnx": ONNX}[target].replace("CELL", step.identifier) + FOOT


test_source.__test__ = False        # type: ignore[attr-defined]    # for pytest: no test by itself

HEAD = '''"""Does cell compute what minigrad's TITLE computed? Values and gradients of every step: python test_parity.py"""
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
with np.load(HERE / "golden.npz") as numbers, np.load(HERE / "weights.npz") as parameters:
    golden, weights = dict(numbers), dict(parameters)
states = sorted((n for n in golden if n.startswith("state_")), key=lambda n: int(n[6:]))
starts = [n.replace("state", "start") for n in states if n.replace("state", "start") in golden]
floats = [n for n in states if golden[n].dtype.kind == "f"]


def close(name, ours):
    """At most 1e-12 (float32: 1e-5) of the largest entry away."""
    ours, theirs = np.asarray(ours), golden[name]
    bound = 1e-5 if theirs.dtype == np.float32 else 1e-12
    error = np.max(np.abs(ours - theirs), initial=0) / max(np.max(np.abs(theirs), initial=0), 1e-30)
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype), f"{name}: {ours.dtype} {ours.shape}, not {theirs.dtype} {theirs.shape}"
    assert error <= bound, f"{name}: {error:.1e}, allowed {bound:.0e}"
    print(f"{name:20} {error:.1e}")


'''

TORCH = '''def test_parity():
    import torch
    from cell import CELL
    cell = CELL().load(weights)
    xs, state = torch.tensor(golden["xs"], requires_grad=True), [torch.tensor(golden[n]) for n in states]
    first = state = tuple(s.requires_grad_() if s.is_floating_point() else s for s in state)
    ys, seen = [], []
    for x in xs:
        y, state = cell.step(x, state)
        ys.append(y)
        seen.append([s.retain_grad() or s if s.is_floating_point() and s.requires_grad else s for s in state])
    close("ys", torch.stack(ys).detach())
    close("ys", cell(xs, first)[0].detach())
    total = (torch.stack(ys) * torch.tensor(golden["dys"])).sum()
    for i, s in enumerate(state):
        close(f"states_{i}", torch.stack([step[i] for step in seen]).detach())
        if s.is_floating_point():
            total = total + (s * torch.tensor(golden[f"dlast_{i}"])).sum()
    total.backward()
    for name, parameter in cell.named_parameters():
        close(f"d{name}", torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
    close("dxs", torch.zeros_like(xs) if xs.grad is None else xs.grad)
    for n, s in zip(states, first):
        if n in floats:
            close(f"d{n}", torch.zeros_like(s) if s.grad is None else s.grad)
    for i, s in enumerate(state):
        if f"dstates_{i}" in golden:
            close(f"dstates_{i}", torch.stack([torch.zeros_like(s[i]) if s[i].grad is None else s[i].grad for s in seen]))
    for n, s in zip(starts, cell.initial_state(*xs.shape[1:-1]) if starts else ()):
        close(n, s.detach())
'''

JAX = '''def test_parity():
    import jax
    jax.config.update("jax_enable_x64", golden["xs"].dtype.itemsize == 8)
    import cell

    def run(weights, xs, given):
        def one(state, x):
            y, state = cell.step(weights, x, state)
            return state, (y, state)

        first = tuple(given.get(n, golden[n]) for n in states)
        last, (ys, seen) = jax.lax.scan(one, first, xs)
        total = (ys * golden["dys"]).sum()
        for i, s in enumerate(last):
            if s.dtype.kind == "f":
                total = total + (s * golden[f"dlast_{i}"]).sum()
        return total, (ys, seen, cell.scan(weights, xs, first)[0])

    given = {n: golden[n] for n in floats}
    (dweights, dxs, dstates), (ys, seen, scanned) = jax.jit(jax.grad(run, argnums=(0, 1, 2), has_aux=True))(weights, golden["xs"], given)
    close("ys", ys)
    close("ys", scanned)
    for i, s in enumerate(seen):
        close(f"states_{i}", s)
    for name, gradient in {**dweights, "xs": dxs, **dstates}.items():
        close(f"d{name}", gradient)
    for n, s in zip(starts, cell.initial_state(weights, *golden["xs"].shape[1:-1]) if starts else ()):
        close(n, s)
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
        assert np.allclose(s, golden[f"states_{i}"][-1], rtol=1e-5 if s.dtype == np.float32 else 1e-11, atol=1e-6), f"last_{i}"
    xs = golden["xs"]                               # any number of steps: the first two, then the others
    parts, state = [], {n: golden[n] for n in states}
    for part in (xs[:2], xs[2:]):
        ys, *last = session.run(None, {"xs": part, **state})
        parts.append(ys)
        state = dict(zip(states, last))
    close("ys", np.concatenate(parts))
'''

FOOT = '''

if __name__ == "__main__":
    test_parity()
    print("the same")
'''
