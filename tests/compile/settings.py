"""Every cell of minigrad in every setting: scan against unroll.

    python -m tests.compile.settings        T = 1, 2, 5 × B = 1, 3, none × reverse × lengths × plain, in layers, all states, checkpoints

Prints for each cell by how much an output or gradient differs at most, as a part of its largest entry; status 1 above 1e-12.
"""
import collections
import functools
import itertools
import sys
import warnings

import numpy as np

import minigrad as mg
import minigrad.recurrent
from minigrad.compile import NotCompiled, scan
from minigrad.nested import flatten, rebuild

CELLS = [name for name in minigrad.recurrent.__all__ if name.endswith("Cell")]
HOW = {"plain": {}, "in layers": {}, "all states": {"states": True}, "checkpoints": {"checkpoint_every": 2}}


def settings():
    for T, B, reverse, lengths, how in itertools.product((1, 2, 5), (1, 3, None), (False, True), (False, True), HOW):
        if B is not None or not lengths:
            rng = np.random.default_rng(T)
            options = {**HOW[how], "reverse": reverse, **({"lengths": rng.integers(0, T + 1, B)} if lengths else {})}
            yield rng.standard_normal((T, 3) if B is None else (T, B, 3)), how == "in layers", options


def made(name, xs, layers):
    """A cell, and a state that is not the one it begins with."""
    make, rng = functools.partial(getattr(mg, name), rng=np.random.default_rng(1)), np.random.default_rng(2)
    cell = make(3, 4)
    if layers:
        cell = mg.stacked(cell, make(mg.unroll(cell, xs)[0].shape[-1], 4))
    state = cell.initial_state(xs.shape[1] if xs.ndim > 2 else None)
    noise = 0.0 if name == "ClockworkRNNCell" else 0.3              # its count-down is a whole number
    return cell, rebuild(state, [(s.data + noise * rng.standard_normal(s.shape)).astype(s.dtype) for s in flatten(state)])


def run(how, cell, xs, state, options):
    """Outputs and states, and every gradient of a random functional of them."""
    xs, leaves = mg.parameter(xs), [mg.Tensor(s, requires_grad=s.dtype.kind == "f") for s in flatten(state)]
    found, rng = [t for t in flatten(list(how(cell, xs, rebuild(state, leaves), **options)))], np.random.default_rng(3)
    loss = sum((t * rng.standard_normal(t.shape)).sum() for t in found if t.requires_grad)
    wanted = [*cell.parameters().values(), xs, *(s for s in leaves if s.requires_grad)]
    return [t.data for t in found], [g.data for g in mg.grad(loss, wanted)]


def apart(ours, theirs):
    """The largest difference of two lists of arrays, each as a part of its array's largest entry (of all, where that is rounding)."""
    largest, worst = max((np.abs(b).max(initial=0.0) for b in theirs if b.dtype.kind == "f"), default=0.0), 0.0
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype and (b.dtype.kind == "f" or np.array_equal(a, b))
        size = np.abs(b).max(initial=0.0)
        worst = max(worst, np.abs(a - b).max(initial=0.0) / (size if size > 1e-8 * largest else largest or 1.0)) if b.size else worst
    return worst


def main():
    warnings.simplefilter("error", NotCompiled)
    worst: dict = collections.defaultdict(float)
    for name in CELLS:
        for n, (xs, layers, options) in enumerate(settings(), 1):
            cell, state = made(name, xs, layers)
            worst[name] = max(worst[name], *map(apart, run(scan, cell, xs, state, options), run(mg.unroll, cell, xs, state, options)))
        print(f"{name:24}{n} settings   {worst[name]:.1e}", flush=True)
    return int(max(worst.values()) > 1e-12)


if __name__ == "__main__":
    sys.exit(main())
