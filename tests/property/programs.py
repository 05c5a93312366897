"""Random programs over the op table: up to 200 ops with diamonds, shared leaves, broadcasting, views, 0-d and empty arrays.

    python -m tests.property.programs 0 1000           programs number 0 … 999; status 1 if a gradient is wrong
    python -m tests.property.programs --plant          a wrong rule in every op: after how many programs is it found?

A program is data: leaves, and lines ``(form, indices of what it uses, options)``. It runs on anything that answers NumPy's
functions. Three runs must agree: plain arrays give the value; Tensors give the gradient by the rules; complex Tensors without
gradients give the slope along a random direction by the complex step, which uses no rule. How far they may part is c·eps·condition,
the condition measured by moving the leaves by one unit in the last place.
"""
import sys
import time

import numpy as np

import minigrad as mg
from minigrad.ops import TABLE

SIZES = (1, 2, 3, 4)
LARGE = 50.0            # no value grows beyond: a program that overflows shows nothing


# ---- forms: what a line can be. Each says whether it fits the values at hand, draws its options, and computes ----------------
class Form:
    """run(*values, **options) computes; fits(*arrays) says whether it may be used on them; draw(rng, *arrays) gives the options."""

    def __init__(self, run, n=1, fits=None, draw=None):
        self.run, self.n, self.fits, self.draw = run, n, fits or (lambda *a: True), draw or (lambda rng, *a: {})


def _size(a):
    return a.size > 0


def _between(low, high):
    return lambda a, *_: a.size == 0 or (a.min() > low and a.max() < high)


def _clear(a, b=0.0):
    """No element near a kink, where one rounding decides the branch."""
    gap = np.abs(a - b)
    return gap.size == 0 or gap.min() > 1e-3


def _distinct(a):
    """All elements apart, so that a maximum has one winner."""
    ordered = np.sort(a, axis=None)
    return a.size > 0 and (a.size == 1 or np.diff(ordered).min() > 1e-3)


def _broadcast(*arrays):
    try:
        return np.broadcast_shapes(*(a.shape for a in arrays)) is not None
    except ValueError:
        return False


def _axis(rng, a):
    if a.ndim == 0 or rng.integers(4) == 0:
        return None
    if a.ndim > 1 and rng.integers(4) == 0:
        return tuple(int(i) for i in rng.choice(a.ndim, 2, replace=False))
    return int(rng.integers(-a.ndim, a.ndim))


def _reduction(rng, a):
    return {"axis": _axis(rng, a), "keepdims": bool(rng.integers(2))}


def _one_axis(rng, a):
    return {"axis": int(rng.integers(-a.ndim, a.ndim))}


def _rank(n, more=_size):
    return lambda a: a.ndim >= n and more(a)


def _index(rng, a):
    """Integers, slices with steps of both signs, new axes, arrays of indices, a mask, ``...`` for some axes or none."""
    index: list = []
    kind, length = rng.integers(6), int(rng.integers(1, 4))
    if kind == 0:
        return {"index": rng.random(a.shape) < 0.6}
    for n in a.shape:
        how = rng.integers(5)
        if how == 0 and n:
            index.append(int(rng.integers(-n, n)))
        elif how == 1:
            index.append(slice(None, None, -1))
        elif how == 2:
            index.append(slice(int(rng.integers(0, n + 1)), None, int(rng.integers(1, 3))))
        elif how == 3 and n and kind <= 2:
            index.append(rng.integers(-n, n, length))
        else:
            index.append(slice(None))
        if rng.integers(6) == 0:
            index.append(None)
    if rng.integers(3) == 0:
        first = last = int(rng.integers(0, len(index) + 1))
        while last < len(index) and isinstance(index[last], slice) and index[last] == slice(None):
            last += 1
        index[first:last] = [Ellipsis]
    return {"index": tuple(index)}


def _factors(rng, a):
    """A shape with as many elements."""
    shape, left = [], a.size
    while left > 1 and len(shape) < 4:
        divisors = [d for d in range(1, left + 1) if left % d == 0]
        shape.append(int(rng.choice(divisors)))
        left //= shape[-1]
    shape.append(left)
    return {"shape": tuple(shape)}


def _matrices(a, b):
    if not (a.ndim and b.ndim) or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        return False
    return a.ndim < 3 or b.ndim < 3 or _broadcast(a.sum((-2, -1)), b.sum((-2, -1)))


def _square(a):
    return a.ndim >= 2 and a.shape[-1] == a.shape[-2] and a.size > 0


def _steady(a):
    """A well-conditioned square matrix made of a."""
    n = a.shape[-1]
    return np.tanh(a) + 2 * n * np.eye(n)


EINSUMS = {(1, 1): ("i,j->ij", "i,i->", "i,i->i"), (2, 2): ("ij,jk->ik", "ij,kj->ki", "ij,ij->", "ij,ij->j"), (2, 1): ("ij,j->i", "ij,i->ji"),
           (3, 2): ("bij,jk->bki",), (3, 3): ("bij,bjk->bik",)}


def _einsum_fits(a, b):
    return bool(_specs(a, b))


def _specs(a, b):
    found = []
    for spec in EINSUMS.get((a.ndim, b.ndim), ()):
        left, right = spec.split("->")[0].split(",")
        sizes = dict(zip(left, a.shape))
        if all(sizes.get(letter, n) == n for letter, n in zip(right, b.shape)):
            found.append(spec)
    return found


def _classes(rng, z):
    mask = rng.random(z.shape[:-1]) < 0.8
    return {"targets": rng.integers(0, z.shape[-1], z.shape[:-1]), "mask": mask if rng.integers(2) and mask.any() else None,
            "reduction": ["sum", "mean", "none"][rng.integers(3)]}


def _pads(rng, a):
    return {"pads": [(int(rng.integers(3)), int(rng.integers(3))) for _ in a.shape]}


def _shrunk(power):
    return lambda rng, a: {"b": power[rng.integers(len(power))]}


FORMS = {
    "add": Form(lambda a, b: a + b, 2, _broadcast), "subtract": Form(lambda a, b: a - b, 2, _broadcast),
    "multiply": Form(lambda a, b: a * b, 2, _broadcast),
    "divide": Form(lambda a, b: a / b, 2, lambda a, b: _broadcast(a, b) and (b.size == 0 or np.abs(b).min() > 0.2)),
    "power": Form(lambda a, b: a ** b, 2, lambda a, b: _broadcast(a, b) and _between(0.2, 4)(a) and _between(-3, 3)(b)),
    "power of a number": Form(lambda a, b: a ** b, 1, _between(0.1, LARGE), _shrunk((2, 3, 0.5, -1, 1, 0))),
    "number": Form(lambda a, b: 1.5 - a * b, 1, draw=_shrunk((2, 0.5, -1))),
    "same twice": Form(lambda a: a * a - a),
    "negative": Form(lambda a: -a), "square": Form(np.square), "sqrt": Form(np.sqrt, 1, _between(0.05, 1e9)),
    "absolute": Form(np.abs, 1, _clear), "exp": Form(np.exp, 1, _between(-1e9, 3)), "expm1": Form(np.expm1, 1, _between(-1e9, 3)),
    "log": Form(np.log, 1, _between(0.05, 1e9)), "log1p": Form(np.log1p, 1, _between(-0.9, 1e9)),
    "sin": Form(np.sin), "cos": Form(np.cos), "tan": Form(np.tan, 1, _between(-1.3, 1.3)), "tanh": Form(np.tanh),
    "sinh": Form(np.sinh, 1, _between(-4, 4)), "cosh": Form(np.cosh, 1, _between(-4, 4)),
    "reciprocal": Form(np.reciprocal, 1, _between(0.2, 1e9)), "logaddexp": Form(np.logaddexp, 2, _broadcast),
    "sigmoid": Form(mg.sigmoid), "softplus": Form(mg.softplus), "logsigmoid": Form(mg.logsigmoid), "silu": Form(mg.silu), "gelu": Form(mg.gelu),
    "relu": Form(mg.relu, 1, _clear),
    "maximum": Form(np.maximum, 2, lambda a, b: _broadcast(a, b) and _clear(a, b)),
    "minimum": Form(np.minimum, 2, lambda a, b: _broadcast(a, b) and _clear(a, b)),
    "clip": Form(lambda a: np.clip(a, -0.7, 0.9), 1, lambda a: _clear(a, -0.7) and _clear(a, 0.9)),
    "where": Form(lambda a, b, c: np.where(c, a, b), 2, _broadcast,
                  lambda rng, a, b: {"c": rng.random(np.broadcast_shapes(a.shape, b.shape)) < 0.5}),
    "where compared": Form(lambda a, b: np.where(a > b, a * b, b), 2, lambda a, b: _broadcast(a, b) and _clear(a, b)),
    "sum": Form(np.sum, 1, draw=_reduction), "mean": Form(np.mean, 1, _size, _reduction), "var": Form(np.var, 1, _size, _reduction),
    "var of a sample": Form(lambda a, ddof: np.var(a, ddof=ddof), 1, lambda a: a.size > 1, lambda rng, a: {"ddof": 1}),
    "std": Form(lambda a: np.std(a + 0.0, axis=-1), 1, lambda a: a.ndim > 0 and a.size > 0 and np.std(a, axis=-1).min() > 0.05),
    "norm": Form(np.linalg.norm, 1, lambda a: a.size > 0 and np.linalg.norm(a) > 0.05),
    "max": Form(np.max, 1, _distinct, _reduction), "min": Form(np.min, 1, _distinct, _reduction),
    "prod": Form(np.prod, 1, _between(-2, 2), _reduction),
    "logsumexp": Form(mg.logsumexp, 1, _size, _reduction),
    "softmax": Form(mg.softmax, 1, _rank(1), _one_axis), "log_softmax": Form(mg.log_softmax, 1, _rank(1), _one_axis),
    "cumsum": Form(np.cumsum, 1, _rank(1), _one_axis),
    "layer_norm": Form(mg.layer_norm, 1, lambda a: a.ndim > 0 and a.size > 0 and a.shape[-1] > 1 and np.var(a, axis=-1).min() > 0.01),
    "matmul": Form(lambda a, b: a @ b, 2, _matrices), "matmul transposed": Form(lambda a, b: a @ b.T, 2, lambda a, b: b.ndim > 0 and _matrices(a, b.T)),
    "outer": Form(np.outer, 2), "dot": Form(np.dot, 2, lambda a, b: a.ndim < 3 and b.ndim < 3 and _matrices(a, b)),
    "einsum": Form(lambda a, b, spec: np.einsum(spec, a, b), 2, _einsum_fits,
                   lambda rng, a, b: {"spec": str(rng.choice(_specs(a, b)))}),
    "solve": Form(lambda a, b: np.linalg.solve(_steady(a), b), 2, lambda a, b: _square(a) and a.ndim == 2 and b.ndim == 2 and len(a) == len(b)),
    "inv": Form(lambda a: np.linalg.inv(_steady(a)), 1, _square),
    "matrix_exp": Form(lambda a: mg.matrix_exp(0.3 * np.tanh(a)), 1, _square),
    "triu": Form(np.triu, 1, _rank(2, lambda a: True), lambda rng, a: {"k": int(rng.integers(-1, 2))}),
    "tril": Form(np.tril, 1, _rank(2, lambda a: True), lambda rng, a: {"k": int(rng.integers(-1, 2))}),
    "reshape": Form(lambda a, shape: np.reshape(a, shape), 1, draw=_factors), "ravel": Form(np.ravel),
    "transpose": Form(np.transpose, 1, draw=lambda rng, a: {"axes": tuple(int(i) for i in rng.permutation(a.ndim))}),
    "swapaxes": Form(lambda a: np.swapaxes(a, 0, -1), 1, _rank(1, lambda a: True)),
    "expand_dims": Form(lambda a, axis: np.expand_dims(a, axis), 1, draw=lambda rng, a: {"axis": int(rng.integers(0, a.ndim + 1))}),
    "squeeze": Form(np.squeeze), "flip": Form(np.flip, 1, _rank(1, lambda a: True), _one_axis),
    "roll": Form(lambda a, axis: np.roll(a, 1, axis), 1, _rank(1), _one_axis),
    "broadcast_to": Form(lambda a, n: np.broadcast_to(a, (n, *a.shape)), 1, draw=lambda rng, a: {"n": int(rng.integers(1, 4))}),
    "concatenate": Form(lambda a, b, axis: np.concatenate([a, b, a], axis), 2,
                        lambda a, b: a.ndim == b.ndim > 0 and a.shape[1:] == b.shape[1:], lambda rng, a, b: {"axis": 0}),
    "concatenate last": Form(lambda a, b: np.concatenate([a, b], axis=-1), 2, lambda a, b: a.ndim == b.ndim > 0 and a.shape[:-1] == b.shape[:-1]),
    "stack": Form(lambda a, b, axis: np.stack([a, b], axis), 2, lambda a, b: a.shape == b.shape,
                  lambda rng, a, b: {"axis": int(rng.integers(-a.ndim - 1, a.ndim + 1))}),
    "pad": Form(lambda a, pads: np.pad(a, pads), 1, _rank(1, lambda a: True), _pads),
    "getitem": Form(lambda a, index: a[index], 1, _rank(1, lambda a: True), _index),
    "cross_entropy": Form(mg.softmax_cross_entropy, 1, _rank(1, lambda a: a.size > 0), _classes),
    "cross_entropy soft": Form(lambda a, b: mg.softmax_cross_entropy(a, mg.softmax(b)), 2, lambda a, b: a.shape == b.shape and a.ndim > 0 and a.size > 0),
    "binary_cross_entropy": Form(lambda a, b: mg.binary_cross_entropy(a, mg.sigmoid(b)), 2, lambda a, b: a.shape == b.shape and a.size > 0),
    "squared_error": Form(mg.squared_error, 2, lambda a, b: a.shape == b.shape and a.size > 0),
    "checkpointed": Form(lambda a: _checkpointed(lambda x: np.tanh(x) * x, a)),
}
SINGLE = {"astype": Form(lambda a, dtype: a.astype(dtype if np.dtype(a.dtype).kind != "c" else a.dtype), 1,
                         draw=lambda rng, a: {"dtype": [np.float32, np.float64][rng.integers(2)]})}


def _checkpointed(function, a):
    return mg.checkpoint(function)(a) if isinstance(a, mg.Tensor) else function(a)


# ---- a program -------------------------------------------------------------------------------------------------------
class Program:
    """Number ``seed``: everything about it follows from the number. ``length`` ops at most; float32 leaves in one of four."""

    def __init__(self, seed, length=None):
        rng = np.random.default_rng(seed)
        self.seed = seed
        length = length or int(rng.choice([3, 10, 30, 200], p=[0.25, 0.4, 0.3, 0.05]))
        self.single = rng.integers(4) == 0
        self.leaves = [self._leaf(rng) for _ in range(rng.integers(1, 5))]
        self.lines, forms = [], {**FORMS, **(SINGLE if self.single else {})}
        names = list(forms)
        values = [a.astype(float) for a in self.leaves]
        for _ in range(length):
            for _ in range(200):
                name = names[rng.integers(len(names))]
                form = forms[name]
                used = tuple(int(i) if rng.random() < 0.7 else int(rng.integers(len(values)))
                             for i in rng.integers(max(0, len(values) - 4), len(values), form.n))
                arrays = [values[i] for i in used]
                if not form.fits(*arrays):
                    continue
                options = form.draw(rng, *arrays)
                with np.errstate(all="ignore"):
                    y = np.asarray(form.run(*arrays, **options))
                if y.size > 300 or y.ndim > 5 or y.size and not np.abs(y).max() < LARGE:
                    continue
                self.lines.append((name, used, options))
                values.append(y.astype(float))
                break
        self.weights = [rng.standard_normal(v.shape) for v in values]      # every value is part of the result: nothing is dead
        self.direction = [rng.standard_normal(a.shape) for a in self.leaves]
        self.eps = np.finfo(np.float32 if self.single else float).eps

    def _leaf(self, rng):
        shape = tuple(int(n) for n in rng.choice(SIZES, rng.integers(0, 4)))
        if shape and rng.integers(30) == 0:
            shape = (0, *shape[1:])
        a = rng.standard_normal(shape)
        return a.astype(np.float32) if self.single and rng.integers(3) else a

    def __str__(self):
        lines = [f"program {self.seed}: leaves {[f'{a.dtype}{list(a.shape)}' for a in self.leaves]}"]
        return "\n".join(lines + [f"  {len(self.leaves) + i}: {name}{used} {options or ''}" for i, (name, used, options) in enumerate(self.lines)])

    def run(self, leaves, until=None):
        """The value of every line, then the weighted sum of all."""
        values = list(leaves)
        for name, used, options in self.lines:
            form = FORMS.get(name) or SINGLE[name]
            values.append(form.run(*(values[i] for i in used), **options))
        total = 0.0
        for value, w in zip(values, self.weights):
            total = total + (value * w).sum()
        return values, total

    def gradient(self, leaves, create_graph=False):
        """∂ total / ∂ leaves by minigrad."""
        tensors = [mg.Tensor(a, requires_grad=True) for a in leaves]
        _, total = self.run(tensors)
        return tensors, mg.grad(total, tensors, create_graph=create_graph)

    def along(self, gradients):
        return sum(float(np.sum(np.real(g) * v)) for g, v in zip(gradients, self.direction))

    def nudged(self, n):
        """The leaves moved by one unit in the last place, up or down at random, for the n-th time."""
        rng = np.random.default_rng([self.seed + 1, n] if n else self.seed + 1)
        return [(a * (1 + self.eps * rng.choice([-1, 1], a.shape))).astype(a.dtype) for a in self.leaves]

    def check(self, order=1):
        """None, or what is wrong."""
        with np.errstate(all="ignore"):
            plain, value = self.run(self.leaves)
            tensors, total = self.run([mg.Tensor(a) for a in self.leaves])
            for i, (a, b) in enumerate(zip(plain, tensors)):
                if np.shape(a) != b.shape:
                    return f"value {i} has shape {b.shape}, NumPy's {np.shape(a)}"
            _, found = self.gradient(self.leaves)
            for leaf, g in zip(self.leaves, found):
                if g.shape != leaf.shape or g.dtype != leaf.dtype:
                    return f"a gradient is {g.dtype}{list(g.shape)}, its leaf {leaf.dtype}{list(leaf.shape)}"
            found = [g.data for g in found]
            h = 1e-100
            _, total = self.run([mg.Tensor(a.astype(complex) + 1j * h * v) for a, v in zip(self.leaves, self.direction)])
        wrong = self._apart(found, total.data.imag / h, lambda leaves: [g.data for g in self.gradient(leaves)[1]])
        return f"gradient along a direction {wrong}" if wrong else self._second(h) if order == 2 else None

    def _apart(self, found, slope, again):
        """How the slope differs from the gradients along the direction by more than c·eps·condition, in words; None if it does not.

        What a nudge of the leaves does is chance: before a program is called wrong, it is nudged nine times and the largest counts.
        """
        mine, size = self.along(found), sum(float(np.sum(np.abs(g * v))) for g, v in zip(found, self.direction))
        moved = 0.0
        for n in range(9):
            with np.errstate(all="ignore"):
                moved = max(moved, abs(self.along(again(self.nudged(n))) - mine))
            allowed = 1e3 * self.eps * (size + 1) + 1e2 * moved
            if abs(mine - slope) <= allowed:
                return None
        return f"{mine!r}, complex step {slope!r}: off by {abs(mine - slope):.1e}, allowed {allowed:.1e}"

    def _second(self, h):
        """The gradient's own gradient against the complex step of the gradient."""
        leaves = [a.astype(float) for a in self.leaves]

        def twice(at):
            tensors, first = self.gradient(at, create_graph=True)
            inner = 0.0
            for g, v in zip(first, self.direction):
                inner = inner + (g * v).sum()
            return [g.data for g in mg.grad(inner, tensors)] if inner.requires_grad else [np.zeros(a.shape) for a in at]
        with np.errstate(all="ignore"):
            found = twice(leaves)
            _, stepped = self.gradient([a.astype(complex) + 1j * h * v for a, v in zip(leaves, self.direction)])
        wrong = self._apart(found, self.along([g.data.imag / h for g in stepped]),
                            lambda leaves: twice([a.astype(float) for a in leaves]))
        return f"gradient of the gradient along a direction {wrong}" if wrong else None


def wrong(seeds, second_every=5):
    """(seed, program, what is wrong) of those that are."""
    for seed in seeds:
        program = Program(seed)
        try:
            trouble = program.check(order=2 if second_every and seed % second_every == 0 and len(program.lines) <= 30 and not program.single else 1)
        except Exception as error:
            trouble = f"{type(error).__name__}: {error}"
        if trouble:
            yield seed, program, trouble


def planted(limit=1000):
    """For every rule of every op: after how many programs a factor of 1.001 on its gradient is noticed (None: never)."""
    found = {}
    for name, op in TABLE.items():
        for i, rule in enumerate(op.rules):
            if rule is None:
                continue
            rules = op.rules
            op.rules = tuple(_scaled(r) if j == i else r for j, r in enumerate(rules))
            try:
                found[name, i] = next((seed + 1 for seed, _, _ in wrong(range(limit))), None)
            finally:
                op.rules = rules
    return found


def _scaled(rule):
    def off(*args, **more):
        part = rule(*args, **more)
        return 1.001 * (part.dense() if hasattr(part, "dense") else part)
    return off


def main(arguments):
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    if arguments == ["--plant"]:
        found = planted()
        for (name, i), n in found.items():
            print(f"{name:24} argument {i}   {'NOT FOUND' if n is None else n}")
        return int(None in found.values())
    first, last = int(arguments[0]), int(arguments[1])
    start, n = time.time(), 0
    for seed, program, trouble in wrong(range(first, last)):
        n += 1
        print(f"{program}\n  WRONG: {trouble}\n", flush=True)
    print(f"{last - first} programs, {n} wrong, {time.time() - start:.0f} s, NumPy {np.__version__}")
    return int(n > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
