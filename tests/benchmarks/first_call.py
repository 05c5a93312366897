"""The first call, forward and back, of a recurrent network that was never run: what a change of its cell costs. T = 50, B = 32, float32.

    python -m tests.benchmarks.first_call       one minute and more: torch.compile takes most of it

Beside ``mg.scan``: JAX (``jit`` of ``lax.scan``), ``torch.compile`` of the loop, and PyTensor's ``scan`` (pytensor 3), each where it is installed, with its
caches on disk off or empty, and its compilers' processes included: wall time. Imports are not in it, and the gradients of all are compared.
"""
from tests.benchmarks.measure import difference, torch_or_none, versions      # first: it sets the threads

import gc
import importlib
import os
import tempfile
import time

from tests.benchmarks import reference, scan
from tests.benchmarks.eager import AGREES, _gradients


def _torch_compiled(loss, inputs, P):
    torch = torch_or_none()
    if torch is None:
        return None
    os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"
    inputs, p = [torch.tensor(a) for a in inputs], {name: torch.tensor(a, requires_grad=True) for name, a in P.items()}
    compiled = torch.compile(lambda *arrays: loss(torch, *arrays))
    return lambda: _gradients(compiled(*inputs, *p.values()), p)


def elman_torch(X, Y, P):
    def loss(torch, X, Y, Wx, Wh, bh, Wy, by):
        h, total = torch.zeros((X.shape[1], Wh.shape[0])), 0.0
        for x, y in zip(X, Y):
            h = torch.tanh(x @ Wx + h @ Wh + bh)
            total = total + torch.nn.functional.cross_entropy(h @ Wy + by, y, reduction="sum")
        return total
    return _torch_compiled(loss, (X, Y), P)


def lstm_torch(X, G, P):
    def loss(torch, X, G, Wx, Wh, b):
        h = c = torch.zeros((X.shape[1], Wh.shape[0]))
        total = 0.0
        for x, g in zip(X, G):
            i, f, n, o = (x @ Wx + h @ Wh + b).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(n)
            h = torch.sigmoid(o) * torch.tanh(c)
            total = total + (g * h).sum()
        return total
    return _torch_compiled(loss, (X, G), P)


def pytensor_or_none():
    """PyTensor with an empty folder for what it compiles, or None where it is not installed."""
    os.environ.setdefault("PYTENSOR_FLAGS", f"base_compiledir={tempfile.mkdtemp()},floatX=float32")
    try:
        return importlib.import_module("pytensor")
    except ImportError:
        return None


def _pytensor(inputs, P, states, step):
    pytensor = pytensor_or_none()
    if pytensor is None:
        return None
    pt = importlib.import_module("pytensor.tensor")

    def run():                                              # its graph is made in the first call as well
        sequences, p = [pytensor.shared(a) for a in inputs], {name: pytensor.shared(a, name=name) for name, a in P.items()}
        start = [pt.zeros((inputs[0].shape[1], P["Wh"].shape[0]), dtype="float32")] * states
        results = pytensor.scan(lambda *values: step(pt, *values, *p.values()), sequences=sequences, outputs_info=[*start, None],
                                return_updates=False)
        total = results[-1].sum()
        function = pytensor.function([], [total, *pytensor.grad(total, list(p.values()))])
        loss, *found = function()
        return loss, dict(zip(P, found))
    return run


def elman_pytensor(X, Y, P):
    def step(pt, x, y, h, Wx, Wh, bh, Wy, by):
        h = pt.tanh(x @ Wx + h @ Wh + bh)
        return h, -pt.special.log_softmax(h @ Wy + by, axis=-1)[pt.arange(y.shape[0]), y].sum()
    return _pytensor((X, Y), P, 1, step)


def lstm_pytensor(X, G, P):
    H = G.shape[2]

    def step(pt, x, g, h, c, Wx, Wh, b):
        z = x @ Wx + h @ Wh + b
        i, f, o = (pt.sigmoid(z[:, k * H:(k + 1) * H]) for k in (0, 1, 3))
        c = f * c + i * pt.tanh(z[:, 2 * H:3 * H])
        h = o * pt.tanh(c)
        return h, c, (g * h).sum()
    return _pytensor((X, G), P, 2, step)


def main(T=50):
    print(versions())
    print(f"\n{'first call, ms':16s}{'scan':>9s}{'jax':>9s}{'torch.compile':>15s}{'PyTensor':>10s}")
    for model, inputs in (("elman", reference.elman_inputs(65, 128, T, 32, "float32")), ("lstm", reference.lstm_inputs(64, 128, T, 32, "float32"))):
        expected = getattr(reference, f"{model}_plain")(*inputs)()[1]
        makers = (getattr(scan, f"{model}_scan"), getattr(scan, f"{model}_jax") if scan.jax_or_none() else None, globals()[f"{model}_torch"],
                  globals()[f"{model}_pytensor"])
        cells = []
        for make in makers:
            step = make(*inputs) if make else None
            if step is None:
                cells.append("–")
                continue
            gc.collect()
            gc.freeze()         # as in measure.py
            start = time.perf_counter()
            _, found = step()
            cells.append(f"{(time.perf_counter() - start) * 1e3:.1f}")
            apart = difference(found, expected)
            assert apart <= AGREES["float32"], f"{make.__name__}: its gradients differ from plain's by {apart:.1e}"
        print("{:16s}{:>9s}{:>9s}{:>15s}{:>10s}".format(model, *cells), flush=True)


if __name__ == "__main__":
    main()
