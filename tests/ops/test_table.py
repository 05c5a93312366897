"""Every column of the op table, for every op: value, gradient of orders 1 and 2, leading axes, dtype, formula.

An op without an entry in CASES fails by its name.
"""
import itertools

import numpy as np
import pytest

import minigrad as mg
from minigrad.ops import TABLE, Later
from minigrad.tensor import Tensor

rng = np.random.default_rng(7)


def n(*shape):
    return rng.standard_normal(shape)


def pos(*shape):
    return rng.uniform(0.4, 2.0, shape)


def away(*shape):
    """Away from zero, where |x|, relu and their like have kinks."""
    return rng.uniform(0.3, 2.0, shape) * rng.choice([-1, 1], shape)


SQUARE = n(3, 3) + 4 * np.eye(3)
TARGETS = np.array([1, 4, 0])
SOFT = rng.dirichlet(np.ones(5), 3)
MASK = np.array([True, False, True])
BROADCASTS = [((3, 4), (3, 4)), ((3, 4), (4,)), ((3, 1), (1, 4)), ((), (3, 4)), ((2, 3, 4), (3, 1)), ((0, 4), (4,)), ((), ())]
two = [lambda a=a, b=b: (n(*a), n(*b)) for a, b in BROADCASTS]
positive = [lambda a=a, b=b: (pos(*a), pos(*b)) for a, b in BROADCASTS]
one = [lambda: (n(3, 4),), lambda: (n(),), lambda: (n(0, 2),), lambda: (n(2, 3, 4),)]
ones = [lambda: (pos(3, 4),), lambda: (pos(),)]
kinked = [lambda: (away(3, 4),), lambda: (away(),)]
axes = [{}, {"axis": 0}, {"axis": -1, "keepdims": True}, {"axis": (0, 2)}]
cube = [lambda: (n(2, 3, 4),)]


def over(fn, *kwargs):
    return [(lambda *x, k=k: fn(*x, **k)) for k in kwargs]


# op name -> (functions that record it, makers of inputs, NumPy's value or None where the record's own is NumPy's)
CASES = {
    "add": ([np.add], two), "subtract": ([np.subtract], two), "multiply": ([np.multiply], two), "divide": ([np.divide], positive),
    "negative": ([np.negative], one), "power": ([np.power, lambda a, b: a ** 3 + 0 * b], positive), "square": ([np.square], one),
    "sqrt": ([np.sqrt], ones), "absolute": ([np.abs], kinked), "exp": ([np.exp], one), "expm1": ([np.expm1], one), "log": ([np.log], ones),
    "log1p": ([np.log1p], ones), "sin": ([np.sin], one), "cos": ([np.cos], one), "tanh": ([np.tanh], one), "sigmoid": ([mg.sigmoid], one),
    "softplus": ([mg.softplus], kinked), "logsigmoid": ([mg.logsigmoid], kinked), "relu": ([mg.relu], kinked), "silu": ([mg.silu], one),
    "gelu": ([mg.gelu], one), "maximum": ([np.maximum], two), "minimum": ([np.minimum], two),
    "where": ([lambda a, b: np.where(np.arange(4) % 2 == 0, a, b)], two[:4]),
    "sum": (over(np.sum, *axes), cube), "mean": (over(np.mean, *axes), cube), "var": (over(np.var, *axes, {"axis": 1, "ddof": 1}), cube),
    "max": (over(np.max, *axes), cube), "min": (over(np.min, *axes), cube), "prod": (over(np.prod, *axes), cube),
    "logsumexp": (over(mg.logsumexp, *axes), cube), "softmax": (over(mg.softmax, {}, {"axis": 0}), cube),
    "log_softmax": (over(mg.log_softmax, {}, {"axis": 1}), cube), "cumsum": (over(np.cumsum, {"axis": 0}, {"axis": -1}), cube),
    "layer_norm": ([mg.layer_norm], cube),
    "matmul": ([np.matmul], [lambda a=a, b=b: (n(*a), n(*b)) for a, b in [((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)),
                             ((4,), (4, 5)), ((3, 4), (4,)), ((4,), (4,)), ((2, 3, 4), (4,)), ((1, 3, 4), (2, 4, 5))]]),
    "einsum": ([lambda a, b: np.einsum("bi,ij->bj", a, b), lambda a, b: np.einsum("bi,ij", a, b), lambda a, b: np.einsum("...i,ij->...j", a, b),
                lambda a, b: np.einsum("bi,jk->bk", a, b)], [lambda: (n(3, 4), n(4, 5))]),
    "solve": ([np.linalg.solve], [lambda: (SQUARE, n(3, 2)), lambda: (SQUARE, n(3))]), "inv": ([np.linalg.inv], [lambda: (SQUARE,)]),
    "matrix_exp": ([mg.matrix_exp], [lambda: (n(3, 3),), lambda: (3 * n(4, 4),), lambda: (n(2, 3, 3),)]),
    "triu": (over(np.triu, {}, {"k": 1}), [lambda: (n(4, 4),)]), "tril": (over(np.tril, {}, {"k": -1}), [lambda: (n(4, 4),)]),
    "reshape": ([lambda x: np.reshape(x, (4, -1)), lambda x: x.reshape(2, 12), lambda x: np.reshape(x, (-1,))], cube),
    "transpose": ([np.transpose, lambda x: np.transpose(x, (1, 2, 0)), lambda x: np.swapaxes(x, 0, 1), lambda x: np.moveaxis(x, 0, 2)], cube),
    "broadcast_to": ([lambda x: np.broadcast_to(x, (2, 3, 4))], [lambda: (n(3, 1),), lambda: (n(),)]),
    "concatenate": (over(lambda a, b, c, **k: np.concatenate([a, b, c], **k), {}, {"axis": -1}), [lambda: (n(3, 3), n(3, 3), n(3, 3))]),
    "stack": (over(lambda a, b, **k: np.stack([a, b], **k), {}, {"axis": 1}, {"axis": -1}), [lambda: (n(3, 4), n(3, 4))]),
    "flip": (over(np.flip, {}, {"axis": 1}), cube), "pad": ([lambda x: np.pad(x, ((1, 0), (0, 2), (3, 1)))], cube),
    "getitem": ([lambda x: x[1], lambda x: x[..., 1:3], lambda x: x[:, [0, 2, 0]], lambda x: x[::-1, None, 1], lambda x: x[[0, 1, 0], :, [1, 3, 1]],
                 lambda x: x[0, :, [1, 3, 1]], lambda x: x[np.arange(24).reshape(2, 3, 4) % 3 == 0], lambda x: np.take(x, [[0, 1], [1, 1]], axis=1),
                 lambda x: x[1, [0, 2]], lambda x: x[:, 1, [0, 2]], lambda x: np.split(x, 2, axis=-1)[1]], cube),
    "scatter_add": ([lambda x: mg.scatter_add(x, (Ellipsis, np.array([0, 2, 0])), (5,))], [lambda: (n(3),), lambda: (n(2, 3),)]),
    "astype": ([], []),      # a change of dtype fits none of the generated tests: test_astype_of_both_orders
    "softmax_cross_entropy": (
        [lambda x, k=k, t=t, m=m: mg.softmax_cross_entropy(x, t, mask=m, reduction=k)
         for k in ("mean", "sum", "none") for t in (TARGETS, SOFT, np.eye(5)[TARGETS], np.eye(5, dtype=int)[TARGETS]) for m in (None, MASK)],
        [lambda: (n(3, 5),)]),
    "binary_cross_entropy": ([lambda x, t, k=k: mg.binary_cross_entropy(x, t, reduction=k) for k in ("mean", "sum", "none")],
                             [lambda: (away(3, 4), rng.uniform(0, 1, (3, 4)))]),
    "squared_error": ([lambda x, t, k=k: mg.squared_error(x, t, reduction=k) for k in ("mean", "sum", "none")], [lambda: (n(3, 4), n(3, 4))]),
}


def cases():
    for name in TABLE:
        functions, makers = CASES.get(name, ([None], [None]))
        for i, (f, make) in enumerate(itertools.product(functions, makers)):
            yield pytest.param(name, f, make, id=f"{name}-{i}")


def error(a, b):
    scale = np.abs(b).max() if np.size(b) else 0.
    return np.abs(a - b).max() / scale if scale > 0 else (np.abs(a).max() if np.size(a) else 0.)


def weighted(f, c):
    """Σ c·f(x), a scalar that depends on every entry."""
    return lambda *x: (f(*x) * c).sum()


def complex_step(f, arrays, h=1e-30):
    """The gradient of a real-valued f, entry by entry: Im f(x + ih) / h (Squire & Trapp 1998)."""
    grads = []
    for i, a in enumerate(arrays):
        g = np.zeros(a.shape)
        for at in np.ndindex(a.shape):
            z = a.astype(complex)
            z[at] += 1j * h
            g[at] = np.imag(f(*(Tensor(z if j == i else b.astype(complex)) for j, b in enumerate(arrays))).data) / h
        grads.append(g)
    return grads


def prepared(f, make):
    arrays = [np.asarray(a, float) for a in make()]
    y = f(*(Tensor(a) for a in arrays)).data
    c = rng.uniform(0.5, 1.5, y.shape)
    return arrays, weighted(f, c)


def test_every_op_has_a_case():
    assert sorted(set(TABLE) - set(CASES)) == [], "ops without a case in this file"


@pytest.mark.parametrize("name, f, make", list(cases()))
def test_gradient_of_orders_1_and_2(name, f, make):
    arrays, scalar = prepared(f, make)
    leaves = [mg.parameter(a) for a in arrays]
    first = mg.grad(scalar(*leaves), leaves)
    for got, want in zip(first, complex_step(scalar, arrays)):
        assert got.shape == want.shape
        assert error(got.data, want) <= 1e-12
    directions = [rng.standard_normal(a.shape) for a in arrays]

    def slope(*x):
        """Σ v·∇f(x), with real and with complex x."""
        x = [t if t.requires_grad else mg.parameter(t.data) for t in x]
        gs = mg.grad(scalar(*x), x, create_graph=True)
        total = 0.
        for g, v in zip(gs, directions):
            total = total + (g * v).sum()
        return total
    s = slope(*leaves)
    if not s.requires_grad:         # linear: the second derivative is zero, and so says complex step
        second = [Tensor(np.zeros(a.shape)) for a in arrays]
    else:
        second = mg.grad(s, leaves)
    for got, want in zip(second, complex_step(slope, arrays)):
        assert error(got.data, want) <= 1e-12


@pytest.mark.parametrize("name, f, make", list(cases()))
def test_float32_stays_float32(name, f, make):
    arrays, scalar = prepared(f, make)
    singles = [mg.parameter(a.astype(np.float32)) for a in arrays]
    y = f(*singles)
    assert y.dtype == np.float32, y.dtype
    exact = [mg.parameter(s.data.astype(float)) for s in singles]
    c = np.asarray(rng.uniform(0.5, 1.5, y.shape), np.float32)
    got = mg.grad(y, singles, cotangent=c)
    for g, want in zip(got, mg.grad(f(*exact), exact, cotangent=c.astype(float))):
        assert g.dtype == np.float32
        assert error(g.data, want.data) <= 1e-5


@pytest.mark.parametrize("name, f, make", list(cases()))
def test_float32_to_order_2(name, f, make):
    arrays, _ = prepared(f, make)
    singles = [a.astype(np.float32) for a in arrays]
    c = None
    found = []
    directions = [rng.standard_normal(a.shape).astype(np.float32) for a in arrays]
    for dtype in (np.float32, np.float64):
        x = [mg.parameter(a.astype(dtype)) for a in singles]
        y = f(*x)
        c = rng.uniform(0.5, 1.5, y.shape).astype(np.float32) if c is None else c
        first = mg.grad(y, x, cotangent=c.astype(dtype), create_graph=True)
        slope = sum(((g * v.astype(dtype)).sum() for g, v in zip(first, directions)), 0.)
        found.append([g.data for g in mg.grad(slope, x)] if slope.requires_grad else [np.zeros(a.shape, dtype) for a in arrays])
    for got, want in zip(*found):
        assert got.dtype == np.float32
        assert error(got, want) <= 1e-5


def test_astype_of_both_orders():
    x = mg.parameter(np.array([1., 2.], np.float32))
    y = x.astype(np.float64)
    assert y.dtype == np.float64 and y.op.name == "astype"
    first, = mg.grad((y ** 3).sum(), x, create_graph=True)
    assert first.dtype == np.float32 and first.data.tolist() == [3, 12]
    assert mg.grad(first.sum(), x)[0].data.tolist() == [6, 12]


def nodes_of(root, name):
    """The recorded nodes of one op below root."""
    found, stack = [], [root]
    while stack:
        t = stack.pop()
        if t.op is not None and t.op.name == name:
            found.append(t)
        stack.extend(x for x in t.inputs if isinstance(x, Tensor))
    return found


def as_arrays(node):
    return [x.data if isinstance(x, Tensor) else np.asarray(x) for x in node.inputs]


@pytest.mark.parametrize("name, f, make", list(cases()))
def test_rules_hold_with_a_leading_axis(name, f, make):
    """g, any subset of operands, or all with L entries stacked in front give what a loop over the L entries gives."""
    arrays, _ = prepared(f, make)
    y = f(*(mg.parameter(a) for a in arrays))
    for node in nodes_of(y, name)[:1]:
        op, attributes, operands = node.op, node.attributes or {}, as_arrays(node)
        if op.call is None:      # elementwise and matmul: padded to the step's rank
            operands = [a.reshape((1,) * (node.ndim - a.ndim) + a.shape) for a in operands]
        for L in {2, node.shape[0] if node.ndim else 2} - {0}:
            for leading in itertools.product([False, True], repeat=len(operands) + 1):
                if any(leading):
                    compare_with_loop(op, attributes, operands, node, L, leading)


def compare_with_loop(op, attributes, operands, node, L, leading):
    def several(a):
        if a.dtype.kind not in "fc":
            return np.stack([np.roll(a, k) for k in range(L)])
        return np.stack([a * (1 + 0.1 * k) for k in range(L)])
    g = rng.uniform(0.5, 1.5, node.shape)
    gs = several(g) if leading[0] else g
    xs = [several(a) if lead else a for a, lead in zip(operands, leading[1:])]
    each = [[x[k] if lead else x for x, lead in zip(xs, leading[1:])] for k in range(L)]
    values = [op.value(*e, **attributes) for e in each]
    saved = [v[1] for v in values] if op.saves else None
    ys = [np.asarray(v[0] if op.saves else v) for v in values]
    any_operand = any(leading[1:])
    y = np.stack(ys) if any_operand else ys[0]
    together = dict(attributes)
    if op.saves:
        if any_operand and not leading[1]:
            return                # saved values belong to a node's own forward pass, where the logits carry the axis
        together["saved"] = op.value(*xs, **attributes)[1]
    for i in range(len(operands)):
        rule = op.rule(i)
        if rule is None or operands[i].dtype.kind not in "fc":
            continue
        got = rule(gs, y, *xs, **together)
        for k in range(L):
            one = dict(attributes, **({"saved": saved[k]} if op.saves else {}))
            want = rule(gs[k] if leading[0] else gs, ys[k], *each[k], **one)
            got_k, want = [(r.dense() if isinstance(r, Later) else np.asarray(r)) for r in (got, want)]
            if got_k.ndim > want.ndim:
                got_k = got_k[k]
            assert error(np.broadcast_to(got_k, np.broadcast_shapes(got_k.shape, want.shape)), want) <= 1e-12, (op.name, i, leading, L)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_reads_as_a_formula(name):
    assert "{" in TABLE[name].reads


@pytest.mark.parametrize("name, ours, numpys", [
    ("sigmoid", mg.sigmoid, lambda x: 1 / (1 + np.exp(-x))), ("softplus", mg.softplus, lambda x: np.log1p(np.exp(x))),
    ("logsigmoid", mg.logsigmoid, lambda x: -np.log1p(np.exp(-x))), ("relu", mg.relu, lambda x: np.where(x > 0, x, 0)),
    ("silu", mg.silu, lambda x: x / (1 + np.exp(-x))), ("softmax", mg.softmax, lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
    ("log_softmax", mg.log_softmax, lambda x: np.log(np.exp(x) / np.exp(x).sum(-1, keepdims=True))),
    ("logsumexp", mg.logsumexp, lambda x: np.log(np.exp(x).sum())),
    ("layer_norm", mg.layer_norm, lambda x: (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)),
    ("matrix_exp", mg.matrix_exp, lambda x: sum(np.linalg.matrix_power(x, k) / float(np.prod(np.arange(1., k + 1))) for k in range(60))),
])
def test_own_values_against_their_definitions(name, ours, numpys):
    x = n(4, 4)
    assert error(ours(x), numpys(x)) <= 1e-12
    assert error(ours(Tensor(x)).data, numpys(x)) <= 1e-12


@pytest.mark.parametrize("f", [mg.maximum, mg.minimum])
def test_of_complex_numbers_the_real_parts_decide_and_the_first_where_they_are_equal(f):
    a, b = np.array([1 + 5j, 1 - 5j, 2 - 1j, 3 + 0j]), np.array([1 - 5j, 1 + 5j, 1 + 9j, 4 - 9j])
    first = np.array([True, True, f is mg.maximum, f is mg.minimum])
    assert np.array_equal(f(Tensor(a), Tensor(b)).data, np.where(first, a, b))
    assert np.array_equal(f(Tensor(a.real), Tensor(b.real)).data, np.where(first, a, b).real)


def test_a_smooth_function_of_a_maximum_is_smooth_to_the_complex_step_where_its_operands_are_equal():
    a = np.array([0.5, -1.0])
    for f in (np.logaddexp, lambda a, b: np.maximum(a, b) + np.log1p(np.exp(-np.abs(a - b)))):
        for h in (1e-20j, -1e-20j):
            assert error(f(Tensor(a + h), Tensor(a + 0j)).data.imag / h.imag, [0.5, 0.5]) <= 1e-15
            assert error(f(Tensor(a + 0j), Tensor(a + h)).data.imag / h.imag, [0.5, 0.5]) <= 1e-15


@pytest.mark.filterwarnings("ignore:invalid value")
def test_the_exponential_of_an_infinite_matrix_is_no_number():
    assert not np.isfinite(mg.matrix_exp(np.full((2, 2), np.inf))).any()


def test_cross_entropies_are_stable_far_out():
    x = np.array([[1e4, -1e4, 0.], [-1e4, 1e4, 1e4]])
    p = mg.parameter(x)
    loss = mg.softmax_cross_entropy(p, [1, 1], reduction="none")
    assert np.allclose(loss.data, [2e4, np.log(2)], rtol=1e-14)
    loss.sum().backward()
    assert np.allclose(p.grad, [[1, -1, 0], [0, -.5, .5]])
    z = mg.parameter([1e4, -1e4, 1e4, -1e4])
    loss = mg.binary_cross_entropy(z, np.array([1., 0., 0., 1.]), reduction="none")
    assert np.array_equal(loss.data, [0, 0, 1e4, 1e4])
    loss.sum().backward()
    assert np.array_equal(z.grad, [0, 0, 1, -1])


@pytest.mark.parametrize("classes", [1, 3])
def test_what_stands_in_a_masked_row_does_not_matter(classes):
    x = n(3, classes)
    loss = mg.softmax_cross_entropy(Tensor(x), [0, 99, -1], mask=np.array([True, False, False]), reduction="sum")
    assert loss.item() == mg.softmax_cross_entropy(Tensor(x[:1]), [0], reduction="sum").item()


@pytest.mark.parametrize("mask", [[True, False, True], [1, 0, 1], [0.25, 0.0, 2.0], Tensor([2, 0, 3]), Tensor([0.25, 0.0, 2.0])])
def test_a_mask_leaves_the_loss_in_the_dtype_of_its_logits(mask):
    x, w = n(3, 4), np.asarray(mask, float)
    each = mg.softmax_cross_entropy(Tensor(x), [1, 0, 3], reduction="none").data
    for dtype, bound in ((np.float32, 1e-6), (np.float64, 1e-14)):
        p = mg.parameter(x.astype(dtype))
        loss = mg.softmax_cross_entropy(p, [1, 0, 3], mask=mask)
        assert loss.dtype == dtype and error(loss, (w * each).sum() / w.sum()) <= bound
        g, = mg.grad(loss, p)
        assert g.dtype == dtype and error(g, (np.exp(x) / np.exp(x).sum(-1, keepdims=True) - np.eye(4)[[1, 0, 3]]) * w[:, None] / w.sum()) <= bound


def test_a_mask_is_made_of_numbers():
    for mask in (["a", "b"], [None, 1], [[1], [1, 2]]):
        with pytest.raises((TypeError, ValueError), match="softmax_cross_entropy: mask: expected a"):
            mg.softmax_cross_entropy(Tensor(n(2, 3)), [0, 1], mask=mask)
