"""Random cells: expressions of one to three states, for comparing ways of running a cell.

    python -m tests.compile.random_cells 0 2000        scan against unroll on cells number 0 … 1999; status 1 if one is wrong
"""
import sys
import warnings

import numpy as np

import minigrad as mg
from minigrad.compile import NotCompiled, scan
from minigrad.nested import flatten


class Case:
    """One random cell with its parameters, inputs, initial states and loss; everything follows from the seed."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.seed = seed
        self.H, B, T = (int(rng.integers(1, n)) for n in (5, 4, 6))
        self.dtype = np.dtype([np.float64, np.float64, np.float32][rng.integers(3)])
        self.xs = self._draw(rng, T, B, int(rng.integers(1, 4)))
        self.states = [0.5 * self._draw(rng, B, self.H) for _ in range(rng.integers(1, 4))]
        self.recipe, self.rng, self.parameters = int(rng.integers(1 << 30)), rng, []
        self.x_wanted, self.states_wanted, self.which = bool(rng.integers(2)), bool(rng.integers(2)), int(rng.integers(3))
        self.options = {"reverse": True} if rng.integers(4) == 0 else {}
        if rng.integers(4) == 0:
            self.options["lengths"] = rng.integers(0, T + 1, B)
        if rng.integers(6) == 0:
            self.options["checkpoint_every"] = int(rng.integers(1, T + 1))
        self.shapes_of_y = None
        self.cell(mg.Tensor(self.xs[0]), tuple(map(mg.Tensor, self.states)), first=True)

    def _draw(self, rng, *shape):
        return rng.standard_normal(shape).astype(self.dtype)

    def cell(self, x, states, first=False):
        r, H, values, used = np.random.default_rng(self.recipe), self.H, [x, *states], iter(self.parameters)

        def parameter(*shape):
            if not first:
                return next(used)
            self.parameters.append(mg.parameter(0.6 * self._draw(self.rng, *shape)))
            return self.parameters[-1]

        def value():
            v = values[r.integers(len(values))]
            return v if v.shape[-1] == H else v @ parameter(v.shape[-1], H)

        def gated(a):
            z = a @ parameter(H, 2 * H) + parameter(2 * H)
            return np.tanh(z[..., :H]) * mg.sigmoid(z[..., H:])
        forms = [lambda a: a @ parameter(H, H), np.tanh, mg.sigmoid, lambda a: a + value(), lambda a: a * value(), lambda a: a - value(),
                 lambda a: (1 - a) * value() + a * value(), lambda a: a / (2 + value() ** 2), lambda a: np.exp(-a * a),
                 lambda a: mg.relu(a) - 0.1 * a, lambda a: np.maximum(a, value()), lambda a: mg.softmax(a), gated,
                 lambda a: np.where(a > 0, a, 0.3 * a),
                 lambda a: mg.layer_norm(a + x[..., :1]), lambda a: np.concatenate([a, value()], axis=-1) @ parameter(2 * H, H),
                 lambda a: a - a.mean(axis=-1, keepdims=True), lambda a: a + parameter(H), lambda a: np.sin(a) * parameter(),
                 lambda a: a * np.sum(a * value(), axis=-1, keepdims=True), lambda a: np.stack([a, value()], axis=1).sum(axis=1),
                 lambda a: np.sqrt(1 + np.square(a)) - mg.softplus(a)]
        for _ in range(r.integers(3, 12)):
            values.append(forms[r.integers(len(forms))](value()))
        new = []
        for _ in states:
            v, how = value(), r.integers(4)
            new.append(v if how == 0 else np.tanh(v) if how < 3 else 0.5 * np.tanh(v) + 0.5 * states[r.integers(len(states))])
        y = value() if r.integers(3) else new[0]
        reduced = r.integers(4) if "lengths" not in self.options else 2
        return (np.sum(y * y) if reduced == 0 else y.mean(axis=-1) if reduced == 1 else y), tuple(new)

    def run(self, how, nudge=0.0):
        """Outputs, last states and every gradient: a list of arrays."""
        X = mg.Tensor((self.xs * (1 + nudge)).astype(self.dtype), requires_grad=self.x_wanted)
        S = tuple(mg.Tensor(s, requires_grad=self.states_wanted) for s in self.states)
        ys, last = how(self.cell, X, S, **self.options)
        rng, loss = np.random.default_rng(self.seed), 0.0
        for part in ([ys] if self.which != 1 else []) + (list(flatten(last)) if self.which else []):
            loss = loss + (part * self._draw(rng, *part.shape)).sum()
        values = [ys.data] + [s.data for s in last]
        inputs = [*self.parameters, *([X] if self.x_wanted else []), *(S if self.states_wanted else [])]
        return values, [g.data for g in mg.grad(loss, inputs)] if isinstance(loss, mg.Tensor) and loss.requires_grad and inputs else []

    def wrong(self):
        """None, or what differs between scan and unroll by more than rounding explains: c · eps · condition."""
        expected, nudged, got = self.run(mg.unroll), self.run(mg.unroll, 4 * np.finfo(self.dtype).eps), self.run(scan)
        for what, ours, theirs, moved in zip(("a value", "a gradient"), got, expected, nudged):
            scale = max((np.abs(a).max(initial=0.0) for a in theirs), default=0.0)
            if not np.isfinite(scale):
                return None
            for a, b, c in zip(ours, theirs, moved):
                if a.shape != b.shape or a.dtype != b.dtype:
                    return f"{what}: {a.dtype} {a.shape} for {b.dtype} {b.shape}"
                allowed = 5e3 * np.finfo(self.dtype).eps * scale + 100 * np.abs(c - b).max(initial=0.0)
                if not np.abs(a - b).max(initial=0.0) <= allowed:
                    return f"{what} differs by {np.abs(a - b).max():.1e} of {np.abs(b).max():.1e}"
        return None


def main():
    start, stop = map(int, sys.argv[1:3])
    warnings.simplefilter("error", NotCompiled)
    found = refused = 0
    for seed in range(start, stop):
        try:
            problem = Case(seed).wrong()
        except NotCompiled as reason:
            refused += 1
            print(f"cell {seed} was not compiled: {reason}")
            continue
        if problem:
            found += 1
            print(f"cell {seed}: {problem}")
    print(f"{stop - start} random cells, {found} wrong, {refused} not compiled")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
