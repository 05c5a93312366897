"""NumPy's functions on Tensors: each differentiates, passes through, or says what to write instead; docs/numpy.md says which."""
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad.ops import FUNCTIONS
from minigrad.protocol import refused as protocol
from minigrad.tensor import Tensor

HOUSE = Path(__file__).parents[1]
rng = np.random.default_rng(5)


def public():
    """Every function of np and np.linalg that asks its arguments what to do."""
    for room in ("", "linalg."):
        for name in sorted(dir(np.linalg if room else np)):
            if not name.startswith("_") and name not in ("row_stack", "trapz", "in1d"):
                function = protocol.numpys(room + name)
                if isinstance(function, np.ufunc) or hasattr(function, "_implementation"):
                    yield room + name, function


def n(*shape):
    return np.abs(rng.standard_normal(shape)) + 0.5


def w(*shape):
    return mg.parameter(n(*shape))


CALLS = [lambda: (w(4),), lambda: (w(3, 3),), lambda: (w(4), w(4)), lambda: (w(3, 3), w(3, 3)), lambda: ([w(3, 3), w(3, 3)],),
         lambda: (w(3, 3), 1), lambda: (w(3, 3), w(3)), lambda: (n(3, 3), w(3, 3)), lambda: (w(),), lambda: (w(4), w(4), w(4)),
         lambda: (np.arange(4), n(4), w(4)), lambda: (w(3), [1, 0, 1]), lambda: ([1, 0, 1], w(3)), lambda: (w(3, 3), 0, 1), lambda: (w(0),),
         lambda: (w(2, 0),), lambda: (3, w(2)), lambda: ([n(3)], [w(3)]), lambda: (w(3, 3), np.zeros((3, 3), int), 0),
         lambda: (w(4), np.array([0]), w(1)), lambda: ("file", w(2)), lambda: (w(3, 3), float),
         lambda: ("i,i->i", w(3), w(3)), lambda: (w(2), (0, 0, 1)), lambda: ([w(3) > 1], [w(3)], w(3))]


MORE = {"apply_along_axis": lambda: (np.sum, 0, w(3, 3)), "apply_over_axes": lambda: (np.sum, w(3, 3), 0), "broadcast_to": lambda: (w(3), (2, 3)),
        "dsplit": lambda: (w(2, 2, 2), 2), "put_along_axis": lambda: (w(2), np.array([0]), n(1), 0), "reshape": lambda: (w(4), (2, 2))}
PLAIN_TOO = ("where", "full_like", "broadcast_arrays", "atleast_1d", "atleast_2d", "atleast_3d", "compress", "extract", "astype")


def ours(error):
    """The exception was raised, or worded, by minigrad."""
    last = error.__traceback__
    while last.tb_next:
        last = last.tb_next
    return str(error).startswith("minigrad:") or "minigrad" in Path(last.tb_frame.f_code.co_filename).parts[:-1]


def tensors(y):
    return [t for part in y for t in tensors(part)] if isinstance(y, (list, tuple)) else [y]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name, function", list(public()), ids=lambda x: x if isinstance(x, str) else "")
def test_every_function_does_one_of_three_things(name, function, monkeypatch, tmp_path):
    """Of all calls that reach a Tensor, none cuts the graph, and none ends in an error that is not ours."""
    monkeypatch.chdir(tmp_path)
    reached = []
    for door in ("__array_ufunc__", "__array_function__"):
        def through(self, asked, *args, answer=getattr(Tensor, door), **kwargs):
            if asked is function:
                reached.append(args)
            return answer(self, asked, *args, **kwargs)
        monkeypatch.setattr(Tensor, door, through)
    answers = 0
    for make in [*CALLS, *([MORE[name]] if name in MORE else [])]:
        reached.clear()
        arguments = make()
        try:
            y = function(*arguments)
        except Exception as error:
            assert ours(error) or not reached, f"np.{name}: {type(error).__name__}: {error}"
            if reached and function not in FUNCTIONS and function not in protocol.PLAIN_FUNCTIONS:
                answers += 1
                assert "write instead: " in str(error) or "cut it from the graph" in str(error), f"np.{name}: {error}"
            continue
        if reached:
            answers += 1
            plain = [t for t in tensors(y) if not (isinstance(t, Tensor) and t.requires_grad)]
            if function in protocol.PLAIN_FUNCTIONS:
                assert not any(isinstance(t, Tensor) for t in tensors(y))
            elif name not in PLAIN_TOO:         # positions; a fill that is a number; arrays among the arguments
                assert not [t for t in plain if not isinstance(t, np.ndarray) or t.size], f"np.{name} cut the graph: {y}"
    assert answers, f"np.{name} was never asked properly: give it a call"


def test_every_listed_name_is_one_of_numpys():
    names = [name for lists in (protocol.PLAIN.values(), protocol.INSTEAD) for entry in lists for name in entry.split()]
    assert len(names) == len(set(names))
    unknown = {name for name in names if protocol.numpys(name) is None}
    assert unknown <= {"fix", "cumulative_prod", "bitwise_count", "unique_values"}, unknown       # of some versions only
    for name in names:
        assert protocol.numpys(name) not in FUNCTIONS, name


INSTEAD = {name: text for names, text in protocol.INSTEAD.items() for name in names.split()}
NAN = np.array([1.5, np.nan, -2.0])


@pytest.mark.parametrize("name, values", [
    ("cbrt", {"x": n(3) - 1}), ("hypot", {"a": n(3), "b": n(3)}), ("fmod", {"a": n(3) - 1, "b": n(3)}), ("remainder", {"a": n(3) - 1, "b": n(3)}),
    ("ldexp", {"x": n(3), "n": np.array([1, -2, 3])}), ("copysign", {"a": n(3), "b": n(3) - 1}), ("logaddexp2", {"a": n(3), "b": n(3)}), ("sinc", {"x": n(3)}),
    ("fmax", {"a": NAN, "b": NAN[::-1] + 1}), ("fmin", {"a": NAN, "b": NAN[::-1] + 1}), ("nanmax", {"x": NAN}), ("nanmin", {"x": NAN}), ("nanprod", {"x": NAN}),
    ("nancumsum", {"x": NAN}), ("nanmean", {"x": np.stack([NAN, NAN]), "axis": 1}), ("diagflat", {"x": n(2, 2)}), ("ediff1d", {"x": n(2, 2)}),
    ("geomspace", {"a": n(1), "b": n(1) + 2, "n": 5}), ("logspace", {"a": n(1), "b": n(1), "n": 5}), ("linalg.pinv", {"x": n(4, 2)}), ("linalg.lstsq", {"a": n(4, 2), "b": n(4, 1)}),
    ("sort_complex", {"x": n(4)}), ("heaviside", {"x": n(4) - 1, "at_zero": 0.5}),
])
def test_what_to_write_instead_is_the_same(name, values):
    expression = INSTEAD[name].split(", for full")[0]
    found = eval(expression, {"np": np}, {k: mg.parameter(v) if isinstance(v, np.ndarray) and v.dtype == float else v for k, v in values.items()})
    want = protocol.numpys(name)(*values.values())
    want = want[0] if name == "linalg.lstsq" else want
    assert np.allclose(getattr(found, "data", found), want, rtol=1e-10, atol=1e-14, equal_nan=True) and (getattr(found, "requires_grad", False) or name == "heaviside")


@pytest.mark.parametrize("name, x", [("arctan", 0.3), ("arcsin", 0.3), ("arccos", 0.3), ("arcsinh", 0.3), ("arccosh", 1.3)])
def test_the_derivatives_that_are_named_are_right(name, x):
    formula = INSTEAD[name].split("its derivative is ")[1].replace("²", "**2").replace("√", "np.sqrt")
    f = protocol.numpys(name)
    assert np.isclose(eval(formula, {"np": np, "x": x}), (f(x + 1e-6) - f(x - 1e-6)) / 2e-6, rtol=1e-8)


def test_the_page_is_current():
    if tuple(map(int, np.__version__.split(".")[:2])) < (2, 2):
        pytest.skip("the page lists functions that came with NumPy 2.2")
    spec = importlib.util.spec_from_file_location("numpy_page", HOUSE / "docs" / "numpy_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.page() == (HOUSE / "docs" / "numpy.md").read_text(encoding="utf-8"), "run `python docs/numpy_page.py`"


A, S, V, U = n(3, 4), n(4, 4), n(4), n(4)
VALUES = {
    "append": lambda a, s, v, u: np.append(a, s, axis=0) * np.append(v, u)[:4],
    "arctanh": lambda a, s, v, u: np.arctanh(v / 9), "array_split": lambda a, s, v, u: np.array_split(a, 3, axis=1)[0] * np.array_split(v, [1, 2])[1],
    "atleast": lambda a, s, v, u: np.atleast_3d(a)[..., 0] + np.atleast_2d(v) + np.atleast_1d(v[0]) + np.atleast_3d(v)[0].sum(),
    "average": lambda a, s, v, u: np.average(a, axis=1, weights=v) * np.average(a, weights=a) + np.average(a),
    "broadcast_arrays": lambda a, s, v, u: np.broadcast_arrays(a, v)[1] * a, "column_stack": lambda a, s, v, u: np.column_stack([v, s, u]),
    "compress": lambda a, s, v, u: np.compress([True, False, True], a, axis=0) + np.extract(V > 0.1, v), "copy": lambda a, s, v, u: np.copy(a) * np.fabs(a),
    "cross": lambda a, s, v, u: np.cross(a[:, :3], a[:, 1:]) + np.linalg.cross(v[:3], u[1:]) + np.cross(a, a * a, axis=0)[:, :3],
    "degrees": lambda a, s, v, u: np.rad2deg(a) + np.degrees(a) + np.deg2rad(a) * np.radians(a),
    "diag": lambda a, s, v, u: np.diag(v, 1)[:4, :4] + np.diag(v, -1)[1:, 1:] + np.diag(s) + np.diag(s, -1).sum(),
    "diagonal": lambda a, s, v, u: np.diagonal(a, 1).sum() + np.linalg.diagonal(a[None], offset=-1) + np.diagonal(a[None], 0, 2, 1).sum(),
    "diff": lambda a, s, v, u: np.diff(a, 2) + np.diff(a, axis=0)[:1, :2], "dsplit": lambda a, s, v, u: np.dsplit(a[None], 2)[1],
    "dstack": lambda a, s, v, u: np.dstack([a, a * a]), "hsplit": lambda a, s, v, u: np.hsplit(a, 2)[0] * np.hsplit(v, 2)[1],
    "exp2": lambda a, s, v, u: np.exp2(a) + np.log2(a) * np.log10(a), "flips": lambda a, s, v, u: np.fliplr(a) * np.flipud(a),
    "full_like": lambda a, s, v, u: np.full_like(a, v) + np.full_like(a, v[0], shape=(4,)),
    "inner": lambda a, s, v, u: np.inner(a, s) * np.inner(v, u) + np.inner(a, v)[:, None] + np.inner(2.0, v),
    "kron": lambda a, s, v, u: np.kron(a, s) + np.kron(v, u).sum() + np.kron(v, a).sum(), "linspace": lambda a, s, v, u: np.linspace(v, u, 5),
    "linspace of numbers": lambda a, s, v, u: np.linspace(v[0], 3.0, 4, endpoint=False), "logaddexp": lambda a, s, v, u: np.logaddexp.reduce(a),
    "matrix_power": lambda a, s, v, u: np.linalg.matrix_power(s, 5) @ np.linalg.matrix_power(s, -1) + np.linalg.matrix_power(s, 0),
    "median": lambda a, s, v, u: np.median(a, axis=1) * np.median(a) + np.median(a, axis=0, keepdims=True)[0, :3] * np.median(a, axis=(1, 0), keepdims=True)[0],
    "multi_dot": lambda a, s, v, u: np.linalg.multi_dot([a, s, s, v]), "nan_to_num": lambda a, s, v, u: np.nan_to_num(a) + np.nansum(a, axis=0),
    "norms": lambda a, s, v, u: np.linalg.vector_norm(a, axis=0) * np.linalg.matrix_norm(a) + np.linalg.vector_norm(s),
    "outer of a ufunc": lambda a, s, v, u: np.multiply.outer(v, a) + np.subtract.outer(a, V)[0].T[:, None],
    "ptp": lambda a, s, v, u: np.ptp(a, axis=0) + np.ptp(a), "polyval": lambda a, s, v, u: np.polyval(v, u),
    "products": lambda a, s, v, u: np.linalg.matmul(a, s) * np.linalg.vecdot(v, u) + np.linalg.outer(v, u)[:3] * np.linalg.trace(s),
    "repeat": lambda a, s, v, u: np.repeat(a, [1, 0, 3], axis=0) + np.repeat(v, 2)[:4],
    "rollaxis": lambda a, s, v, u: np.rollaxis(a, 1) + np.rot90(a) * np.rot90(a, -1), "select": lambda a, s, v, u: np.select([A > 1, A > 0.7], [a, 2 * a], v),
    "sort": lambda a, s, v, u: np.sort(a) + np.sort(a, axis=0) + np.sort(a, axis=None)[:4], "take_along_axis": lambda a, s, v, u: np.take_along_axis(a, np.argsort(A, 0)[:2], 0),
    "tensordot": lambda a, s, v, u: np.tensordot(a, s, 1) + np.tensordot(a, a) + np.tensordot(s, a, (1, 1)).T + np.linalg.tensordot(a[None], s, axes=((2,), (0,)))[0],
    "tile": lambda a, s, v, u: np.tile(v, (2, 1, 2)) + np.tile(a, 2)[:2, :] + np.tile(a, (2,))[0], "trace": lambda a, s, v, u: np.trace(s) * np.trace(a, 1),
    "trapezoid": lambda a, s, v, u: np.trapezoid(a, axis=0) * np.trapezoid(v, np.cumsum(u)) + np.trapezoid(a, v, axis=1)[0],
    "unstack": lambda a, s, v, u: np.stack([a[i] for i in range(3)]) * sum(a.T[i].sum() for i in range(4)),
    "vsplit": lambda a, s, v, u: np.vsplit(s, 2)[1], "accumulate": lambda a, s, v, u: np.add.accumulate(a) * np.add.accumulate(a, axis=1),
    "astype": lambda a, s, v, u: np.copy(a).astype(complex if np.iscomplexobj(np.zeros_like(a)) else float) * 2,
}


@pytest.mark.parametrize("name", VALUES)
def test_compositions_have_numpys_values_and_the_complex_steps_slope(name):
    f, arrays = VALUES[name], [A, S, V, U]
    want = f(*arrays)
    leaves = [mg.parameter(a) for a in arrays]
    y = f(*leaves)
    assert isinstance(y, Tensor) and y.shape == np.shape(want) and np.allclose(y.data, want, rtol=1e-13, atol=1e-14)
    c = rng.uniform(0.5, 1.5, y.shape)
    grads = mg.grad(y, leaves, cotangent=c)
    directions = [rng.standard_normal(a.shape) for a in arrays]
    slope = (f(*(Tensor(a + 1e-30j * d) for a, d in zip(arrays, directions))).data * c).sum().imag / 1e-30
    assert np.isclose(sum((g.data * d).sum() for g, d in zip(grads, directions)), slope, rtol=1e-11, atol=1e-12)


def test_newer_functions_where_this_numpy_has_them():
    a, v = w(3, 4), w(4)
    for name, f, want in (("unstack", lambda: np.unstack(a, axis=1)[2], lambda: a.data[:, 2]), ("matvec", lambda: np.matvec(a, v), lambda: a.data @ v.data),
                          ("vecmat", lambda: np.vecmat(v, a.mT), lambda: v.data @ a.data.T), ("vecdot", lambda: np.vecdot(a, v), lambda: a.data @ v.data),
                          ("cumulative_sum", lambda: np.cumulative_sum(a, axis=1), lambda: np.cumsum(a.data, 1))):
        if hasattr(np, name):
            if name == "cumulative_sum":
                with pytest.raises(ValueError, match="needs an axis"):
                    np.cumulative_sum(a)
                assert np.clip(v, min=1.0, max=None).data.min() >= 1
            y = f()
            assert y.requires_grad and np.allclose(y.data, want(), rtol=1e-14)


@pytest.mark.parametrize("f", [np.linalg.norm, np.linalg.vector_norm, np.std, lambda x: np.linalg.matrix_norm(x[None]), lambda x: np.linalg.norm(x[None], axis=0)])
def test_a_length_of_zero_has_slope_zero(f):
    x = mg.parameter(np.zeros(3))
    y = f(x)
    first, = mg.grad(y.sum(), x, create_graph=True)
    second, = mg.grad((first + x).sum(), x)
    assert not y.data.any() and not first.data.any() and second.data.tolist() == [1, 1, 1]


def test_nothing_along_an_axis():
    for f, want in ((mg.softmax, np.zeros((2, 0))), (mg.log_softmax, np.zeros((2, 0))), (lambda x: mg.logsumexp(x, axis=1), np.full(2, -np.inf))):
        x = w(2, 0)
        y = f(x)
        assert np.array_equal(y.data, want) and mg.grad(y.sum(), x)[0].shape == (2, 0)
    assert mg.logsumexp(np.full(3, -np.inf)) == -np.inf
    for loss, x, t in ((mg.softmax_cross_entropy, w(0, 3), np.zeros(0, int)), (mg.squared_error, w(0), n(0)), (mg.binary_cross_entropy, w(0), n(0))):
        assert loss(x, t, reduction="sum").item() == 0
        with pytest.raises(ValueError, match=f"{loss.__name__} got nothing.*reduction='sum'"):
            loss(x, t)


@pytest.mark.parametrize("call, kind, message", [
    (lambda x: x.argmax(5), ValueError, "minigrad: argmax got x"), (lambda x: x.argmin(5), ValueError, "minigrad: argmin got x"),
    (lambda x: np.argmax(x, axis=5), ValueError, r"minigrad: argmax got x \(2, 3\), axis=5: axis 5 is out of bounds"),
    (lambda x: x < np.ones(4), ValueError, r"minigrad: lt got x \(2, 3\), \(4,\): operands could not be broadcast"),
    (lambda x: np.swapaxes(x, "a", 0), TypeError, r"minigrad: swapaxes got x \(2, 3\), 'a', 0"),
    (lambda x: np.add(x, 1, where=[True]), TypeError, r"np.add with where= has no gradient rule in minigrad; where=: choose with np.where"),
    (lambda x: np.full(3, x), TypeError, "cut it from the graph"),
    (lambda x: np.trace(x[None]), ValueError, "takes a matrix"), (lambda x: np.cross(x[:, :2], x[:, :2]), ValueError, "vectors of 3"),
    (lambda x: np.tensordot(x, x, 1), ValueError, "must have equal lengths"), (lambda x: np.average(x, weights=[1.0, 2.0]), ValueError, "weights of shape"),
    (lambda x: np.take_along_axis(x, np.array([0]), 0), ValueError, "expected as many axes"), (lambda x: np.diagonal(x[0]), ValueError, "needs two axes"),
    (lambda x: np.linalg.matrix_power(x, 0.5), TypeError, "expected an integer"), (lambda x: np.median(x[:0]), ValueError, "has nothing to take"),
    (lambda x: np.einsum("i,i", x, x), ValueError, r"names 1 axes of an operand of shape \(2, 3\); write \.\.\."),
    (lambda x: np.var(x, ddof=6), ValueError, "var of 6 elements with ddof=6 does not exist"),
    (lambda x: np.full_like(np.sign(x).astype(int) + mg.Tensor(1), x[0, 0]), TypeError, "cut the fill from the graph; use np.broadcast_to"),
    (lambda x: np.sum(x, axis=True), TypeError, "axis must be an integer, not True"),
    (lambda x: x.sum(axis=""), TypeError, "minigrad: sum got x .*'str' object cannot be interpreted as an integer"),
    (lambda x: np.average(x, weights=0 * x), ValueError, "whose sum is zero"), (lambda x: np.diff(x, -1), ValueError, "n=-1; expected 0 or more"),
    (lambda x: x[np.array(0.5)], TypeError, "minigrad: getitem got x"), (lambda x: np.repeat(x, np.array(1.5)), TypeError, "repeats of dtype float64; expected integers"),
    (lambda x: np.triu(x, 0.5), TypeError, "minigrad: triu got x .*0.5: 'float' object cannot be interpreted as an integer"),
    (lambda x: np.einsum("...i->i", x), ValueError, "einsum '...i->i' has axes under ... that its result leaves out"),
    (lambda x: x.reshape({}), TypeError, "reshape got x .*{}: expected a sequence of integers"),
    (lambda x: x @ [[1], [1, 2]], ValueError, "minigrad: matmul got x"), (lambda x: np.polyval(x, x), ValueError, "expected a vector"),
    (lambda x: np.rot90(x, axes=(1, -1)), ValueError, "two different ones"), (lambda x: np.vsplit(x[0], 1), ValueError, "at least two axes"),
    (lambda x: np.vecdot(x, x[0, :1]), ValueError, "equal lengths along axis -1"), (lambda x: np.vdot(x, x[0]), ValueError, "as many elements in both"),
    (lambda x: np.linalg.multi_dot([x]), ValueError, "at least two"), (lambda x: np.linalg.multi_dot([x[None], x]), ValueError, "expected matrices"),
    (lambda x: np.linalg.outer(x, x), ValueError, "expected two vectors"), (lambda x: np.linalg.matrix_power(x, 2), ValueError, "square matrices"),
    (lambda x: np.linalg.norm(x[0, 0], 2), ValueError, "takes a vector or a matrix"),
    (lambda x: np.select([x], [x]), TypeError, "arrays of bools"), (lambda x: np.compress([[True]], x), ValueError, "one entry for each position"),
    (lambda x: x % 2, TypeError, "np.remainder has no gradient rule.*np.floor_divide"), (lambda x: x // "a", TypeError, "floor_divide"),
    (lambda x: mg.softmax(None), TypeError, "minigrad: softmax got None: expected a Tensor, an array or a number, not NoneType"),
    (lambda x: mg.softmax(x.data, axis=7), ValueError, r"minigrad: softmax got \(2, 3\): axis 7 is out of bounds"),
    (lambda x: mg.softmax(1.0), ValueError, "softmax got .*1.0.*: axis -1 is out of bounds for array of dimension 0$"),
    (lambda x: mg.scatter_add(1.0, [9], (2,)), IndexError, "minigrad: scatter_add got .*out of bounds"),
    (lambda x: x.astype("text"), TypeError, "astype of parameter 'x'"), (lambda x: x.astype(object), TypeError, "got dtype object; expected numbers"),
    (lambda x: setattr(x, "data", "text"), ValueError, "parameter 'x' got data of type str"), (lambda x: int(mg.Tensor([1, 2])), TypeError, r"minigrad: int got \(2,\)"),
    (lambda x: bool(mg.Tensor([1, 2])), ValueError, r"minigrad: bool got \(2,\).*ambiguous"), (lambda x: mg.grad(x.sum(), 3), TypeError, "got a int as input 0"),
    (lambda x: mg.grad(x.sum(), x, cotangent="a"), TypeError, r"cotangent of grad\(\): expected a Tensor, an array or a number, not str 'a'"), (lambda x: x + [[1], [1, 2]], ValueError, "expected a rectangular array"),
    (lambda x: np.tensordot(x, x, (0, 5)), ValueError, "axis 5 is out of bounds"), (lambda x: np.average(x, 0, np.ones((1, 3))), ValueError, "one weight for each position"),
    (lambda x: np.diag(x[None]), ValueError, "needs a vector or a matrix"), (lambda x: np.array_split(x, 0), ValueError, "at least one"),
    (lambda x: np.moveaxis(x, (0, 0), (0, 1)), ValueError, "different axes"),
])
def test_errors_say_what_was_called_with_what(call, kind, message):
    with pytest.raises(kind, match=message):
        call(mg.parameter(n(2, 3), name="x"))


def test_values_at_the_edge():
    """Infinite and integer operands, where a formula's middle would overflow."""
    inf = np.inf
    assert np.logaddexp(mg.Tensor([inf, -inf, inf, 0]), [inf, -inf, -inf, -inf]).data.tolist() == [inf, -inf, inf, 0]
    assert np.linalg.norm(mg.Tensor([2 ** 40, 0])).item() == 2.0 ** 40
    x, b = mg.parameter([2.0, 3.0]), np.array([True, False])
    (x ** mg.Tensor(b)).sum().backward()
    assert x.grad.tolist() == [1, 0]
    assert np.linalg.matrix_power(mg.Tensor([[inf, 0], [0, 1]]), 0).data.tolist() == [[1, 0], [0, 1]]
    assert np.linspace(mg.Tensor(1e300), 0.1, 2).data[1] == 0.1
    assert mg.scatter_add(mg.Tensor(2.0), 1, (3,)).data.tolist() == mg.scatter_add(2.0, 1, (3,)).tolist() == [0, 2, 0]
    assert mg.scatter_add(mg.Tensor([2.0, 3.0]), 1, (3, 2)).data.tolist() == [[0, 0], [2, 3], [0, 0]]
    assert mg.scatter_add(mg.Tensor([2.0, 3.0]), [1, 1], (2,)).data.tolist() == [0, 5]
    least = mg.Tensor(np.array([np.iinfo(int).min, 1]))
    assert np.isnan(np.median(mg.Tensor([1.0, np.nan, 2.0])).item()) and np.median(mg.Tensor([1.0, inf, 2.0])).item() == 2
    with np.errstate(over="ignore"):
        assert np.average(least, weights=[7, 0]).item() == -2.0 ** 63 and np.fabs(least).data[0] == 2.0 ** 63 and np.cosh(least).data[0] == inf == -np.sinh(least).data[0]
    assert np.sign(mg.Tensor([2 + 1e-30j])).tolist() == [1] and mg.Tensor([1, 2]).transpose().shape == (2,)
    assert mg.softmax(0.5 * np.ones(2)).tolist() == mg.softmax([0.5, 0.5]).tolist() == [0.5, 0.5] and mg.sigmoid(0) == 0.5


def test_what_changes_nothing_may_be_said():
    x = w(3)
    for y in (np.sum(x, out=None), np.sum(x, where=True), np.add(x, 1, out=None, where=True), np.std(x, dtype=None, out=None), np.prod(x, dtype=None)):
        assert y.requires_grad
    assert np.logical_or.reduce(x > 0) and np.greater.outer(x, n(2)).shape == (3, 2) and (x // 0.4).dtype == float
    assert re.search("np.maximum.accumulate", protocol.no_rule(np.maximum, "accumulate"))


def test_append_and_cross_along_an_axis():
    a, b = mg.parameter([[1.0, 2.0, 3.0]]), mg.parameter([[0.0, 1.0, 4.0]])
    assert np.array_equal(np.append(a, b, axis=1).data, np.append(a.data, b.data, axis=1))
    assert np.append(a, b, axis=1).shape == (1, 6) and np.append(a, b, axis=0).shape == (2, 3) and np.append(a, b).shape == (6,)
    for short in ((a, b[:, :2]), (a[:, :2], b)):
        with pytest.raises(ValueError, match="cross of Tensors takes vectors of 3, got shapes"):
            np.cross(*short)


def test_a_shape_of_nothing_leaves_minus_one_open():
    with pytest.raises(ValueError, match=r"reshape got \(0, 3\), \(-1, 0\): cannot reshape array of size 0"):
        mg.parameter(np.zeros((0, 3))).reshape(-1, 0)


def test_complex_numbers_are_compared_by_their_real_part_alone():
    """What complex step puts into the imaginary part must not decide which operand wins: of equal ones it is the first."""
    a, b = mg.Tensor(np.array([1 + 2j, 1 - 2j])), mg.Tensor(np.array([1 - 1j, 1 + 1j]))
    for choose in (np.minimum, np.maximum):
        assert np.array_equal(choose(a, b).data, a.data)
        assert np.array_equal(choose(a, b + 1).data, a.data if choose is np.minimum else (b + 1).data)


def test_a_norm_of_an_order_is_of_vectors_and_matrices():
    for shape in ((2, 2, 3), ()):
        with pytest.raises(ValueError, match=f"norm with ord=2 and no axis takes a vector or a matrix, got shape {re.escape(str(shape))}"):
            np.linalg.norm(mg.parameter(np.ones(shape)), ord=2)


@pytest.mark.parametrize("function", [np.atleast_1d, np.atleast_2d, np.atleast_3d])
def test_what_stands_beside_a_tensor_becomes_an_array_of_at_least_so_many_axes(function):
    for beside in (3.0, [1, 2], [[1.0, 2.0]], [[[1]]], np.ndarray):         # a class has an ndim, which is no number
        for y, expected in zip(function(mg.parameter([1.0]), beside), function(np.ones(1), beside)):
            array = y.data if isinstance(y, Tensor) else y
            assert array.shape == expected.shape and array.dtype == expected.dtype and array.tolist() == expected.tolist()


@pytest.mark.parametrize("axis", [(0, 2), (-1, 0), (1,), (), None, 1, (2, 1, 0)])
def test_a_median_over_several_axes(axis):
    x = np.random.default_rng(0).standard_normal((2, 3, 4))
    for keepdims in (False, True):
        assert np.array_equal(np.median(mg.parameter(x), axis=axis, keepdims=keepdims).data, np.median(x, axis=axis, keepdims=keepdims))


@pytest.mark.parametrize("function, axis", [(np.prod, (0, 0)), (np.prod, (0, 1, -3)), (np.expand_dims, (0, 0)), (np.expand_dims, (0, -5)),
                                            (np.squeeze, (0, 0)), (np.squeeze, (0, -3)), (np.median, (1, 1))])
def test_an_axis_is_named_once(function, axis):
    for x in (np.ones((1, 2, 3)), mg.parameter(np.ones((1, 2, 3)))):
        with pytest.raises(ValueError, match="repeated|duplicate"):
            function(x, axis)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_average_with_one_weight_for_each_position(axis):
    x, w = np.random.default_rng(0).standard_normal((2, 3, 4)), np.arange(1.0, 2.0 + (1, 2, 3)[axis])
    assert np.abs(np.average(mg.parameter(x), axis=axis, weights=w).data - np.average(x, axis=axis, weights=w)).max() < 1e-15


def test_products_along_other_axes_and_of_what_is_no_matrix():
    rng = np.random.default_rng(0)
    for shape, axis in (((3, 2), 0), ((2, 3, 4), 1), ((2, 4, 3), -1), ((4, 3, 2), -2)):
        a, b = rng.standard_normal(shape), rng.standard_normal(shape)
        assert np.array_equal(np.cross(mg.parameter(a), b, axis=axis).data, np.cross(a, b, axis=axis))
    A, v = mg.parameter(rng.standard_normal((3, 3))), rng.standard_normal(3)
    assert np.allclose(np.linalg.multi_dot([v, A, v]).data, v @ A.data @ v)
    with pytest.raises(ValueError, match="the first and the last may be vectors"):
        np.linalg.multi_dot([A, v, A])


def test_a_ufunc_that_is_a_composition_takes_its_keywords():
    rng = np.random.default_rng(3)
    a, b = mg.parameter(rng.normal(size=(3, 2))), rng.normal(size=(3, 2))
    y = np.vecdot(a, b, axis=0)
    assert np.allclose(y.data, (a.data * b).sum(0)) and np.array_equal(mg.grad(y.sum(), a)[0].data, b)
    with pytest.raises(ValueError, match="vecdot got shapes .*expected equal lengths along axis 0"):
        np.vecdot(a, b[:2], axis=0)


def test_errors_on_plain_arrays_name_the_function_once():
    with pytest.raises(ValueError, match="^softmax_cross_entropy got target 5 at .*expected class numbers 0 … 1$"):
        mg.softmax_cross_entropy(np.ones((1, 2)), [5])
