"""Tensor: construction, dtypes, operators, indexing, and NumPy's functions called on Tensors."""
import copy
import pickle

import numpy as np
import pytest

import minigrad as mg
from minigrad.tensor import Tensor

rng = np.random.default_rng(11)
x32 = np.array([1, 2], np.float32)


# ---- construction ----------------------------------------------------------------------------------------------------
def test_a_tensor_copies_and_is_float64_by_default():
    a = np.array([1.0, 2.0])
    t, p = mg.Tensor(a), mg.parameter(a)
    a[0] = 7
    assert t.data.tolist() == p.data.tolist() == [1, 2]
    assert mg.Tensor([1.0, 2.0]).dtype == float and mg.Tensor(1.0).data.shape == ()
    assert mg.Tensor(t).data is not t.data and not mg.Tensor(p).requires_grad


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128, np.int64, np.uint8, np.bool_])
def test_dtypes_stay_what_they_are(dtype):
    assert mg.Tensor(np.ones(2, dtype)).dtype == dtype


def test_half_precision_is_widened_and_integer_parameters_become_floats():
    assert mg.Tensor(np.float16(1)).dtype == np.float32
    assert mg.parameter([1, 2]).dtype == float and mg.parameter(mg.Tensor(x32)).dtype == np.float32


@pytest.mark.parametrize("data, kind, message", [
    ([[mg.parameter(1.0)]], TypeError, "requires gradients, and turning it into a NumPy array would cut it.*np.stack"),
    ([[1], [1, 2]], ValueError, "rectangular"),
    ("text", TypeError, "expected a Tensor, an array or a number, not str 'text'"),
    ([None], TypeError, r"not list \[None\]"),
])
def test_bad_data(data, kind, message):
    with pytest.raises(kind, match=message):
        mg.Tensor(data)


def test_integers_cannot_require_gradients():
    with pytest.raises(TypeError, match="int64 cannot require gradients; make it floating"):
        mg.Tensor([1, 2], requires_grad=True)


def test_tensors_are_not_subclassed():
    with pytest.raises(TypeError, match="attribute of a Module"):
        type("Mine", (Tensor,), {})


# ---- data, and how a tensor presents itself --------------------------------------------------------------------------
def test_setting_data_keeps_shape_and_dtype():
    w = mg.parameter(x32, name="w")
    w.data = mg.Tensor([3.0, 4.0])
    assert w.dtype == np.float32 and w.data.tolist() == [3, 4]
    with pytest.raises(ValueError, match=r"parameter 'w' has shape \(2,\) and got data of shape \(3,\)"):
        w.data = np.ones(3)
    with pytest.raises(RuntimeError, match="result of tanh cannot be given other data"):
        np.tanh(w).data = np.ones(2)


def test_data_that_was_set_is_a_copy_unless_it_was_the_tensors_own():
    w, v = mg.parameter([1.0, 2.0]), mg.parameter([5.0, 6.0])
    own = w.data
    w.data -= 1
    assert w.data is own and own.tolist() == [0, 1]
    w.data = v.data
    v.data -= 1
    assert w.data.tolist() == [5, 6] and v.data.tolist() == [4, 5]


def test_properties():
    t = mg.Tensor(np.arange(6.0).reshape(1, 2, 3), name="t")
    assert (t.shape, t.ndim, t.size, len(t), t.name, t.is_leaf) == ((1, 2, 3), 3, 6, 1, "t", True)
    assert t.T.shape == (3, 2, 1) and t.mT.shape == (1, 3, 2) and t.numpy() is t.data
    assert np.array_equal(mg.Tensor([1 + 2j]).real, [1])
    with pytest.raises(ValueError, match="last two axes"):
        mg.Tensor([1.0]).mT


def test_item_len_and_iteration():
    assert mg.Tensor([[2.0]]).item() == 2 and type(mg.Tensor(1).item()) is int
    with pytest.raises(ValueError, match=r"exactly one element, got shape \(2,\)"):
        mg.Tensor([1.0, 2.0]).item()
    w = mg.parameter(np.arange(6.0).reshape(3, 2))
    a, b, c = w
    (a * c).sum().backward()
    assert w.grad.tolist() == [[4, 5], [0, 0], [0, 1]]
    with pytest.raises(TypeError, match="0-d"):
        iter(mg.Tensor(1.0))
    with pytest.raises(TypeError):
        len(mg.Tensor(1.0))


def test_repr_says_values_name_and_origin():
    w = mg.parameter([1.0], name="w")
    assert repr(w) == "Tensor([1.], name='w', requires_grad=True)" and repr(w * 2) == "Tensor([2.], op=multiply)"
    assert repr(mg.Tensor(2.0)) == "Tensor(2.)"
    assert f"{w:.2f}" == "1.00" and f"{mg.Tensor([1.0, 2.0])}" == "Tensor([1., 2.])"


def test_detach_and_copy():
    w = mg.parameter([1.0, 2.0], name="w")
    y = np.tanh(w)
    assert not y.detach().requires_grad and np.array_equal(y.detach().data, y.data) and w.detach().name == "w"
    w.copy().sum().backward()
    assert w.grad.tolist() == [1, 1]
    assert not mg.stop_gradient(w).requires_grad and mg.stop_gradient(3) == 3


@pytest.mark.parametrize("through", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_copies_are_leaves_without_history_and_with_a_fresh_index(through):
    w = mg.parameter([1.0, 2.0], name="w")
    y = w * w
    other = through(w)
    assert other.requires_grad and other.name == "w" and other.index > y.index
    assert not np.shares_memory(other.data, w.data)
    (other * y).sum().backward()
    assert w.grad.tolist() == [2, 8]
    assert through(y).op is None


def test_a_deepcopied_module_shares_what_was_shared():
    class Tied(mg.Module):
        def __init__(self):
            self.a = self.b = mg.parameter([1.0])
    tied = copy.deepcopy(Tied())
    assert tied.a is tied.b


# ---- nothing is cut from the graph silently --------------------------------------------------------------------------
def test_conversions_of_constants_work():
    t = mg.Tensor(2)
    assert (float(t), int(t), bool(t), [10, 20, 30][t]) == (2.0, 2, True, 30)
    assert np.asarray(mg.Tensor(x32), float).dtype == float


@pytest.mark.parametrize("convert, message", [
    (np.asarray, r"parameter 'w' requires gradients.*np.stack.*\.data"), (float, r"float\(\) of parameter 'w'.*item"),
    (int, "item"), (bool, "np.where"), ([1, 2].__getitem__, "item"),
])
def test_conversions_that_would_cut_the_graph_raise(convert, message):
    with pytest.raises(TypeError, match=message):
        convert(mg.parameter(1.0, name="w"))


def test_assignment_raises_with_the_remedy():
    with pytest.raises(TypeError, match=r"assignment into parameter 'w'.*np.stack.*np.where.*\.data"):
        mg.parameter([1.0], name="w")[0] = 2


@pytest.mark.parametrize("write",
                         [lambda a, t: a.__iadd__(t), lambda a, t: np.add(a, t, out=a), lambda a, t: np.tanh(t, out=a)])
def test_writing_a_tensor_into_an_array_raises(write):
    with pytest.raises(TypeError, match="cut it from the graph; write a = a \\+ t"):
        write(np.ones(2), mg.parameter([1.0, 2.0]))


def test_in_place_operators_on_tensors_make_new_ones():
    w = first = mg.parameter([1.0, 2.0])
    w += 1
    w *= first
    w.sum().backward()
    assert w is not first and first.grad.tolist() == [3, 5] and first.data.tolist() == [1, 2]


# ---- operators and dtypes --------------------------------------------------------------------------------------------
OPERATORS = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b,
             "**": lambda a, b: a ** b,
             "@": lambda a, b: a @ b}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_with_arrays_on_either_side(name):
    operator, a, b = OPERATORS[name], rng.uniform(0.5, 2, (3, 3)), rng.uniform(0.5, 2, (3, 3))
    for left, right in ((mg.parameter(a), b), (a, mg.parameter(b)), (mg.parameter(a), mg.Tensor(b)),
                        (mg.Tensor(a), mg.parameter(b))):
        y = operator(left, right)
        assert isinstance(y, mg.Tensor) and y.requires_grad and np.array_equal(y.data, operator(a, b))


def test_unary_operators_and_squares():
    a = np.array([-1.0, 2.0])
    w = mg.parameter(a)
    for y, want in ((-w, -a), (+w, a), (abs(w), abs(a)), (w ** 2, a ** 2), (w ** 3, a ** 3), (2 ** w, 2 ** a),
                    (1 - w, 1 - a), (1 / w, 1 / a)):
        assert np.array_equal(y.data, want)
    assert (w ** 2).op.name == "square"


def test_power_at_zero():
    for exponent, slope in ((0, 0), (1, 1), (2, 0), (3, 0)):
        w = mg.parameter(0.0)
        y = np.power(w, exponent)
        y.backward()
        first, = mg.grad(y, w, create_graph=True)
        assert w.grad == slope and mg.grad(first + w, w)[0].item() == 1 + (2 if exponent == 2 else 0)


@pytest.mark.parametrize("weak",
                         [2, 2.0, np.float64(2.0), np.array(2.0), np.int64(2), np.array(2), np.float32(2), True])
def test_numbers_are_weak_so_float32_stays_float32(weak):
    w = mg.parameter(x32)
    for y in (w + weak, weak * w, w / weak, np.maximum(w, weak), np.where(w > 1, w, weak)):
        assert y.dtype == np.float32, y.op
    y = (w * weak).sum()
    y.backward()
    assert w.grad.dtype == np.float32


def test_an_op_takes_numbers_only():
    with pytest.raises(TypeError, match="expected a Tensor, an array or a number, not str 'two'"):
        mg.parameter(1.0) * "two"


def test_arrays_in_a_graph_are_copied():
    w, a = mg.parameter([1.0, 2.0]), np.array([3.0, 4.0])
    y = (w * a).sum()
    a[...] = 0
    y.backward()
    assert w.grad.tolist() == [3, 4]


def test_comparisons_are_plain_arrays_by_the_real_part():
    a, b = np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0])
    t = mg.parameter(a)
    for ours, want in ((t < b, a < b), (t <= mg.Tensor(b), a <= b), (t > 2, a > 2), (t >= 2, a >= 2), (t == b, a == b),
                       (t != mg.Tensor(b), a != b),
                       (b < t, b < a), (np.less(b, t), b < a), (np.isfinite(t), np.ones(3, bool)),
                       (np.sign(t), np.ones(3))):
        assert type(ours) is np.ndarray and np.array_equal(ours, want)
    assert (mg.Tensor([1 + 5j]) < mg.Tensor([2 - 5j])).all() and (mg.Tensor([1 + 5j]) < 2).all()
    assert len({t, mg.Tensor(a), t}) == 2              # hashed by identity


# ---- indexing --------------------------------------------------------------------------------------------------------
CUBE = rng.standard_normal((2, 3, 4))
INDICES = [1, -1, np.int64(1), slice(None, None, -1), (0, 2), (..., 1), (slice(None), None, 1), None, ..., (),
           [0, 1, 0], ([0, 1], slice(None), [1, 3]),
           (0, slice(None), [1, 3]), (slice(None), 1, [0, 2, 2]), ([0, 1], None, [1, 2]), ([[0], [1]], [0, 2]),
           np.array([True, False]),
           (slice(None), np.array([True, False, True])), CUBE > 0, (slice(None), [0, 1], [1, 2]), (..., [0, 0, 3]),
           (1, [0, 2], 3),
           mg.Tensor([1, 0]), np.array(1), (slice(None), [2, 0], 1), ([1, 0], 1, slice(None)),
           (0, None, [1, 2], [0, 3])]


@pytest.mark.parametrize("index", INDICES, ids=[str(i).replace("\n", "")[:40] for i in range(len(INDICES))])
def test_indexing_is_numpys_and_so_is_its_gradient(index):
    plain = index.data if isinstance(index, mg.Tensor) else index
    w = mg.parameter(CUBE)
    y = w[index]
    assert np.array_equal(y.data, CUBE[plain])
    cotangent = rng.standard_normal(y.shape)
    y.backward(cotangent)
    want = np.zeros_like(CUBE)
    np.add.at(want, plain, cotangent)
    assert np.allclose(w.grad, want, rtol=1e-15)
    node = y
    while node.op.name != "getitem" and node.inputs[0].op:
        node = node.inputs[0]
    if node.op.name == "getitem":          # normal form: the index holds with the whole sequence stacked in front
        assert node.attributes["index"][0] is Ellipsis


def test_integers_between_index_arrays():
    """In five dimensions: NumPy puts the axes of arrays that stand apart in front."""
    data, w = rng.standard_normal((2, 3, 2, 4, 2)), None
    for index in ((0, slice(None), [0, 1], slice(None), [1, 0]), (slice(None), [0, 1], 1, [2, 3]),
                  (slice(None), 0, slice(None), [1, 1], [0, 1])):
        w = mg.parameter(data)
        y, c = w[index], rng.standard_normal(data[index].shape)
        y.backward(c)
        want = np.zeros_like(data)
        np.add.at(want, index, c)
        assert np.array_equal(y.data, data[index]) and np.allclose(w.grad, want)


def test_an_index_array_may_change_afterwards():
    w, index = mg.parameter([1.0, 2.0]), np.array([0, 0])
    y = w[index].sum()
    index[...] = 1
    y.backward()
    assert w.grad.tolist() == [2, 0]


@pytest.mark.parametrize("index, kind, message", [
    ((0, 0, 0, 0), IndexError, "array is 3-dimensional, but 4 were indexed"), (True, TypeError, "single bool"),
    ((..., 0.5), IndexError, "getitem got"),
    (5, IndexError, "getitem got \\(2, 3, 4\\).*out of bounds"),
])
def test_bad_indices(index, kind, message):
    with pytest.raises(kind, match=message):
        mg.parameter(CUBE)[index]


# ---- NumPy's functions -----------------------------------------------------------------------------------------------
A, V, P = rng.uniform(0.4, 1.5, (3, 4)), rng.uniform(0.4, 1.5, 4), rng.uniform(0.4, 1.5, (3, 4))
FUNCTIONS = {
    "swapaxes": lambda a, v, p: np.swapaxes(a, 0, -1),
    "moveaxis": lambda a, v, p: np.moveaxis(a, 0, 1),
    "moveaxis of several": lambda a, v, p: np.moveaxis(np.expand_dims(a, 0), (0, 1), (2, 0)),
    "matrix_transpose": lambda a, v, p: np.matrix_transpose(a),
    "transpose": lambda a, v, p: a.transpose(1, 0),
    ".T": lambda a, v, p: a.T,
    "transpose method": lambda a, v, p: a.transpose((1, 0)),
    "no axes": lambda a, v, p: a.transpose(),
    "expand_dims": lambda a, v, p: np.expand_dims(a, (0, -1)),
    "expand_dims of one": lambda a, v, p: np.expand_dims(a, 1),
    "squeeze": lambda a, v, p: np.squeeze(a[:, None, :1]),
    "squeeze of an axis": lambda a, v, p: a[:, None].squeeze(1),
    "ravel": lambda a, v, p: np.ravel(a) + a.ravel() * a.flatten(),
    "split": lambda a, v, p: np.split(a, 2, axis=1)[1] * np.split(a, [1, 3], axis=-1)[1],
    "take": lambda a, v, p: np.take(a, [1, 1, 2], axis=0),
    "take flat": lambda a, v, p: np.take(a, [5, 5]),
    "take method": lambda a, v, p: np.take(a, 1, axis=-1),
    "hstack": lambda a, v, p: np.hstack([a, p]),
    "hstack of vectors": lambda a, v, p: np.hstack([v, a[0]]),
    "vstack": lambda a, v, p: np.vstack([a, v]),
    "concatenate flat": lambda a, v, p: np.concatenate([a, p], axis=None),
    "roll": lambda a, v, p: np.roll(a, -1, axis=1),
    "roll flat": lambda a, v, p: np.roll(a, 5),
    "outer": lambda a, v, p: np.outer(v, a),
    "dot": lambda a, v, p: np.dot(a, v),
    "dot method": lambda a, v, p: a.dot(v),
    "scalar dot": lambda a, v, p: np.dot(2.0, a),
    "vdot": lambda a, v, p: np.vdot(a, p),
    "matmul of vectors": lambda a, v, p: v @ v,
    "vector matmul": lambda a, v, p: (a @ v) @ a,
    "clip": lambda a, v, p: np.clip(a, 0.6, 1.2) * np.clip(a, None, 1.0) * np.clip(a, 0.5, None),
    "std": lambda a, v, p: np.std(a, axis=0, ddof=1) * a.std(),
    "norm": lambda a, v, p: np.linalg.norm(a, axis=-1),
    "norm of all": lambda a, v, p: np.linalg.norm(a) + np.linalg.norm(v, 2) + np.linalg.norm(a, "fro"),
    "reciprocal": lambda a, v, p: np.reciprocal(a),
    "positive": lambda a, v, p: np.positive(a),
    "logaddexp": lambda a, v, p: np.logaddexp(a, 2 * p),
    "tan": lambda a, v, p: np.tan(a),
    "sinh": lambda a, v, p: np.sinh(a),
    "cosh": lambda a, v, p: np.cosh(a),
    "cumsum flat": lambda a, v, p: np.cumsum(a),
    "cumsum method": lambda a, v, p: a.cumsum() + np.repeat(1.0, 12),
    "cumsum axis": lambda a, v, p: a.cumsum(1),
    "prod": lambda a, v, p: np.prod(a) * a.prod(0),
    "prod kept": lambda a, v, p: np.prod(a, axis=(0, 1), keepdims=True),
    "flip": lambda a, v, p: np.flip(a),
    "add.reduce": lambda a, v, p: np.add.reduce(a) * np.multiply.reduce(a, axis=0),
    "methods": lambda a, v, p: a.sum(0) * a.mean(0) * a.var(0) + a.mean() * a.var(),
    "extremes": lambda a, v, p: a.max(0) * a.min(0) * np.maximum.reduce(a) + a.max() - a.min(axis=(0, 1),
                                                                                             keepdims=True),
    "broadcast_to": lambda a, v, p: np.broadcast_to(v, (3, 4)) * np.broadcast_to(v[0], 4),
    "swapaxes method": lambda a, v, p: a.swapaxes(0, 1),
    "einsum": lambda a, v, p: np.einsum("...i,i->...", a, v) + np.einsum("ij,j", p, v),
    "einsum implicit": lambda a, v, p: np.einsum("ba,ca", a, p),
    "pad": lambda a, v, p: np.pad(a, 1) + np.pad(a, ((1, 1), (1, 1)), constant_values=2.0),
    "solve": lambda a, v, p: np.linalg.solve(p[:, :3] + 4 * np.eye(3), a[:, 0]),
    "reshape": lambda a, v, p: a.reshape(2, -1) * a.reshape((2, 6)) * np.reshape(a, (2, 6)),
    "stack": lambda a, v, p: np.stack([a, p], axis=-1),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_numpys_functions_on_tensors(name):
    """The value is NumPy's, and the gradient is complex step's through the same ops."""
    f, arrays = FUNCTIONS[name], [A, V, P]
    want = f(A, V, P)
    leaves = [mg.parameter(a) for a in arrays]
    y = f(*leaves)
    assert isinstance(y, mg.Tensor) and y.shape == np.shape(want) and np.allclose(y.data, want, rtol=1e-14, atol=1e-15)
    c = rng.uniform(0.5, 1.5, y.shape)
    grads = mg.grad(y, leaves, cotangent=c)
    for i, a in enumerate(arrays):
        direction = rng.standard_normal(a.shape)
        shifted = [mg.Tensor(b + 1e-30j * direction if j == i else b) for j, b in enumerate(arrays)]
        slope = (f(*shifted).data * c).sum().imag / 1e-30
        assert np.isclose((grads[i].data * direction).sum(), slope, rtol=1e-12, atol=1e-13)


def test_sinh_is_exact_near_zero():
    assert np.sinh(mg.parameter(1e-12)).item() == np.sinh(1e-12)


def test_lists_are_operands():
    w = mg.parameter(np.eye(2))
    for y in (w @ [1.0, 2.0], [1.0, 2.0] @ w, np.matmul(w, [1.0, 2.0]), np.linalg.solve(w, [1.0, 2.0]),
              (w + [1.0, 2.0])[0] - [1, 0]):
        assert np.array_equal(y.data, [1, 2])


def test_astype_is_differentiated_and_keeps_the_gradients_dtype():
    w = mg.parameter(x32)
    (w.astype(float) * 3.0).sum().backward()
    assert w.grad.dtype == np.float32 and w.grad.tolist() == [3, 3]
    assert w.astype("f4") is w and w.astype(int).dtype == int and not w.astype(int).requires_grad


def test_functions_without_gradients_take_plain_values():
    w = mg.parameter([[1.0, 5.0], [3.0, 2.0]])
    assert (w.argmax(), w.argmin(1).tolist(), np.argmax(w, axis=0).tolist()) == (1, [0, 1], [1, 0])
    assert np.shape(w) == (2, 2) and np.ndim(w) == 2 and np.allclose(w, w.data)
    assert np.zeros_like(w).tolist() == [[0, 0], [0, 0]]
    assert np.array_equal([w.data, w.data], np.array([w.data] * 2)) and np.isin(w, [1.0]).sum() == 1
    assert [i.tolist() for i in np.where(w)] == [[0, 0, 1, 1], [0, 1, 0, 1]] and len(np.nonzero(w)) == 2
    assert type(np.searchsorted(mg.Tensor([1.0, 2.0]), [1.5, 0.5])) is np.ndarray


@pytest.mark.parametrize("call, message", [
    (lambda w: np.arctan(w), r"np.arctan has no gradient rule in minigrad; write instead: .*its derivative is 1 / \(1 \+ x²\)"),
    (lambda w: np.fft.fft(w), "np.fft.fft has no gradient rule in minigrad; use one of the ops in minigrad/ops/table.py"),
    (lambda w: np.linalg.det(w), r"np.linalg.det has no gradient rule.*det\(x\) inv\(x\)ᵀ"),
    (lambda w: np.add(w, 1, where=[True, False]), "np.add with where= has no gradient rule"),
    (lambda w: mg.sigmoid(w, where=w > 0), "sigmoid: got an unexpected keyword argument .where.; where=: choose with np.where"),
    (lambda w: np.multiply.accumulate(w), "np.multiply.accumulate has no gradient rule.*np.stack"),
    (lambda w: np.add.at(w, [0], 1.0), "np.add.at has no gradient rule.*mg.scatter_add"),
    (lambda w: np.add.reduceat(w, [0]), "np.add.reduceat has no gradient rule.*slices"),
    (lambda w: np.sum(w, initial=1.0), "initial=: combine the result with the number afterwards"),
    (lambda w: np.sum(w, dtype=int), "sum: got an unexpected keyword argument 'dtype'.*NumPy's main arguments only"),
    (lambda w: np.tanh(w, dtype=float), "np.tanh with dtype= has no gradient rule"),
    (lambda w: mg.layer_norm(w, 1, 2), "layer_norm: takes from 1 to 2 positional arguments but 3 were given$"),
    (lambda w: mg.where(w > 0, w, 0, out=w), "where"), (lambda w: np.einsum(w, [0]), "subscripts as one string"),
])
def test_what_has_no_rule_says_so(call, message):
    with pytest.raises(TypeError, match=message):
        call(mg.parameter([1.0, 2.0]))


W23 = np.ones((2, 3))


@pytest.mark.parametrize("call, message", [
    (lambda w: np.sum(w, axis=2), "axis 2 is out of bounds for array of dimension 2"),
    (lambda w: np.sum(w, axis=(0, -2)), r"sum got W_x \(2, 3\), axis=\(0, -2\): repeated axis"),
    (lambda w: w.reshape(4, 2), r"reshape got W_x \(2, 3\), \(4, 2\): cannot reshape array of size 6 into shape \(4,2\)"),
    (lambda w: w.reshape(4, -1), r"reshape got W_x \(2, 3\), \(4, -1\): cannot reshape array of size 6 into shape"),
    (lambda w: np.concatenate(w for _ in range(2)), "concatenate got .*expected a list of at least one"),
    (lambda w: w.transpose(0, 0), r"transpose got W_x \(2, 3\), \(0, 0\): repeated axis"), (lambda w: w.transpose([0]), "each axis is needed once"),
    (lambda w: np.squeeze(w, 0), r"squeeze got axis 0 of shape \(2, 3\)"),
    (lambda w: np.split(w, 2, axis=1), "axis of length 3 into 2 equal parts"),
    (lambda w: np.pad(w, 1, mode="edge"), "mode='constant' only"),
    (lambda w: np.linalg.norm(w, 2), r"2 \(vectors\) and 'fro' \(matrices\), got 2 for shape \(2, 3\)"),
    (lambda w: np.linalg.norm(w, 1), "got 1"),
    (lambda w: np.dot(w, mg.Tensor(np.ones((1, 3, 2)))), "more than two dimensions"),
    (lambda w: np.roll(w, (1, 1), axis=(0, 1)), r"roll of a Tensor takes one axis, got \(0, 1\)"),
    (lambda w: np.take(w, [0], axis=2), "axis 2 is out"),
    (lambda w: np.expand_dims(w, 7), "axis 7 is out of bounds"),
    (lambda w: np.swapaxes(w, 0, 2), "axis 2 is out of bounds"),
    (lambda w: w.transpose(1, 2), "axis 2 is out of bounds"),
    (lambda w: np.split(w, 2, axis=2), "axis 2 is out of bounds"), (lambda w: w @ 2.0, "matmul got W_x"),
    (lambda w: np.einsum("ij,jk", w), "names 2 operands, got 1"), (lambda w: np.einsum("ii", w), "repeats an index"),
    (lambda w: w + np.ones(4), r"add got W_x \(2, 3\), \(4,\).*Sizes must be equal from the last axis on, or 1"),
    (lambda w: w @ np.ones((2, 3)), r"matmul got W_x \(2, 3\), \(2, 3\).*inner sizes 3 and 2 must be equal"),
    (lambda w: w @ np.ones((4, 3)), "inner sizes 3 and 4 must be equal; the second transposed would fit: a @ b.mT"),
    (lambda w: w @ np.ones((2, 4)), "the first transposed would fit: a.mT @ b"),
    (lambda w: w @ np.ones((5, 2)), "the other order would fit: b @ a"),
    (lambda w: w @ np.ones((5, 7)), "inner sizes 3 and 5 must be equal$"),
    (lambda w: np.concatenate([w, np.ones((3, 2))]), "concatenate got"), (lambda w: np.linalg.inv(w), "inv got W_x"),
])
def test_wrong_shapes(call, message):
    with pytest.raises((ValueError, np.linalg.LinAlgError), match=message):
        call(mg.parameter(W23, name="W_x"))


def test_a_number_has_no_elements():
    with pytest.raises(IndexError, match="array is 0-dimensional, but 1 were indexed"):
        mg.parameter(1.0)[0]


def test_own_functions_take_arrays_lists_and_tensors_alike():
    values = [0.0, 1.0]
    assert np.array_equal(mg.sigmoid(values), mg.sigmoid(np.array(values))) and type(mg.sigmoid(values)) is np.ndarray
    assert np.array_equal(mg.sigmoid(mg.Tensor(values)).data, mg.sigmoid(np.array(values)))
    assert "1 / (1 + exp(-x))" in mg.sigmoid.__doc__
    assert repr(mg.ops.TABLE["tanh"]) == "<op tanh>"
    for join in (mg.concatenate, mg.stack):
        with pytest.raises(ValueError, match="need at least one array"):
            join([])


def test_the_package_finds_readers_late_and_names_what_it_has_not():
    assert mg.graph.Graph.__name__ == "Graph"
    with pytest.raises(AttributeError, match="module 'minigrad' has no attribute 'nothing'"):
        mg.nothing
