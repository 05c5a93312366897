"""The engine's gradients against numbers that no rule had a hand in: the complex step, or five-point differences.

Complex step: f(x + ih) = f(x) + ih f'(x) − …, so Im f(x + ih) / h is f'(x) without cancellation: h = 1e-30 loses no
digit (Squire and Trapp 1998). It needs a function that is analytic and lets complex numbers through; |x|, max or a
comparison may not be, and then it lies silently. So along one random direction it is held against a five-point
difference first, and where the two part, the differences are the reference.
"""
import numpy as np

from ..autodiff import grad
from ..tensor import Tensor
from .compare import Report, compare_arrays, largest, tolerance_of

STEP, COARSE = 1e-30, 1e-9                        # the complex step's h; the tolerance of five-point differences


def gradcheck(fn, inputs, order=1, *, tolerance=None, seed=0):
    """Check the gradients of ``fn`` with respect to ``inputs``. Returns a Report: ``.ok``, ``.rows``, ``str()``.

    fn      takes Tensors and returns a Tensor of any shape, or a tuple of them (projected on random cotangents).
    inputs  one array or Tensor; a list or tuple, fn(*inputs); or a dict name -> array, fn(**inputs). They are copied.
            Arrays of integers or bools are passed on and not differentiated. Or a Module: then fn() is called without
            arguments and checked with respect to the Module's parameters, which are as before when the check is done.
    order   1: gradients; 2: gradients of gradients (grad of grad against the complex step of grad).
    tolerance   default 1e-12 for float64 inputs (1e-9 where differences are the reference), 1e-5 for float32.

    Rows are called as the dict's keys, the Tensors' names, or "0", "1", ...

    >>> import minigrad as mg
    >>> mg.check.gradcheck(lambda x, W: mg.tanh(x @ W), {"x": np.ones((2, 3)), "W": np.eye(3)}).ok
    True
    >>> wrong = lambda x: x * mg.Tensor(x.data)                  # a gradient that is cut off: half of the true 2x
    >>> mg.check.gradcheck(wrong, np.array([3.0])).ok
    False
    """
    if order not in (1, 2):
        raise ValueError(f"order is {order!r}, expected 1 or 2")
    own = inputs.parameters() if hasattr(inputs, "parameters") else {}
    call, names, arrays = _arguments((lambda **_: fn()) if own else fn, own or inputs)
    free = [i for i, a in enumerate(arrays) if a.dtype.kind == "f"]
    if not free:
        raise TypeError(f"nothing to differentiate: the inputs have dtypes {[str(a.dtype) for a in arrays]}, "
                        "expected a float among them")
    if tolerance is None:
        tolerance, coarse = tolerance_of(*(arrays[i] for i in free)), None
    else:
        coarse = tolerance
    function = _Function(call, free, order, seed, list(own.values()))
    try:
        yours = function.gradients(arrays)
        exact = [a.astype(float) if i in free else a for i, a in enumerate(arrays)]  # the reference is always float64
        references = [_reference(function, exact, i) for i in free]
    finally:
        for p, array in zip(own.values(), arrays):
            p.array = array
    scale = largest(reference for reference, _ in references)
    rows = []
    for i, mine, (reference, method) in zip(free, yours, references):
        bound = tolerance if method == "complex step" or coarse else max(tolerance, COARSE)
        row = compare_arrays(names[i], mine, reference, bound, scale)
        row.note = "; ".join(filter(None, [row.note, "" if method == "complex step" else method]))
        rows.append(row)
    return Report(rows, title=f"gradcheck, order {order}")


class _Function:
    """fn made scalar: its outputs (order 1) or its gradients (order 2) projected on fixed random directions."""

    def __init__(self, call, free, order, seed, own=()):
        self.call, self.free, self.order, self.seed, self.own = call, free, order, seed, own

    def scalar(self, tensors):
        outputs = self.call(tensors)
        outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
        for y in outputs:
            if not isinstance(y, Tensor):
                raise TypeError(f"fn returned a {type(y).__name__}, expected a Tensor or a tuple of Tensors")
        rng = np.random.default_rng(self.seed)
        total = _projected(outputs, rng)
        if self.order == 2 and total.requires_grad:
            total = _projected(grad(total, [tensors[i] for i in self.free], create_graph=True), rng)
        return total

    def tensors(self, arrays):
        for p, array in zip(self.own, arrays):                    # not through .data, which keeps a parameter's dtype
            p.array = array
        return list(self.own) or [Tensor(a, requires_grad=i in self.free) for i, a in enumerate(arrays)]

    def gradients(self, arrays):
        tensors = self.tensors(arrays)
        free, total = [tensors[i] for i in self.free], self.scalar(tensors)
        if not total.requires_grad:                               # constant, or cut off: the reference knows which
            return [np.zeros_like(x.data) for x in free]
        return [g.data for g in grad(total, free)]

    def value(self, arrays):
        return self.scalar(self.tensors(arrays)).data


def _projected(outputs, rng):
    """Sum over the outputs of <output, random direction>; entries of size 0.5 to 1.5, so that none is dropped."""
    total = 0.0
    for y in outputs:
        direction = rng.uniform(0.5, 1.5, y.shape) * rng.choice([-1.0, 1.0], y.shape)
        total = total + (y * direction.astype(np.float32 if y.dtype == np.float32 else float)).sum()
    return total


def _reference(function, arrays, i):
    """The derivative with respect to input i, and how it was found."""
    rng = np.random.default_rng(function.seed + 1)
    direction = rng.uniform(0.5, 1.5, arrays[i].shape) * rng.choice([-1.0, 1.0], arrays[i].shape)

    def along(step):                                              # the function at input i moved by step, an array
        return function.value([a + step if k == i else a for k, a in enumerate(arrays)])

    slope = _five_point(along, direction)
    try:
        with np.errstate(all="ignore"):
            complex_slope = _complex_step(along, direction)
            trusted = np.isfinite(complex_slope) and any(           # two steps: on a curved function the longer one is not exact
                abs(complex_slope - _five_point(along, direction, h)) <= 1e-6 * max(abs(slope), 1e-3) for h in (1e-3, 1e-4))
    except (TypeError, ValueError, NotImplementedError):          # the function does not let complex numbers through
        trusted = False
    difference, method = (_complex_step, "complex step") if trusted else (_five_point, "by five-point differences")
    reference = np.empty(arrays[i].shape)
    for index in np.ndindex(reference.shape):
        unit = np.zeros(reference.shape)
        unit[index] = 1.0
        reference[index] = difference(along, unit)
    return reference, method


def _complex_step(along, direction):
    return along(1j * STEP * direction).imag.item() / STEP


def _five_point(along, direction, h=1e-3):
    near, far = along(h * direction) - along(-h * direction), along(2 * h * direction) - along(-2 * h * direction)
    return ((8 * near - far) / (12 * h)).real.item()


def _arguments(fn, inputs):
    """fn as a function of a list of Tensors, the inputs' names, and their arrays."""
    if isinstance(inputs, dict):
        keys = list(inputs)
        return lambda tensors: fn(**dict(zip(keys, tensors))), keys, [_copy(a) for a in inputs.values()]
    if not isinstance(inputs, (list, tuple)):
        inputs = [inputs]
    names = [getattr(a, "name", None) or str(i) for i, a in enumerate(inputs)]
    return lambda tensors: fn(*tensors), names, [_copy(a) for a in inputs]


def _copy(value):
    return np.array(value.data if isinstance(value, Tensor) else value)
