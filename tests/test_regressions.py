"""Bugs that were found by reading and by random programs; each stays found."""
import gc
import weakref

import numpy as np
import pytest

import minigrad as mg
from minigrad.graph import Graph, normal_form, replay, trace
from minigrad.ops import values

XS = np.random.default_rng(0).standard_normal((4, 3, 2))


def test_checkpoint_of_a_tensor_that_is_argument_and_captured():
    w = mg.parameter([3.])
    assert mg.grad(mg.checkpoint(lambda a: a * w)(w).sum(), w)[0].data == [6]
    h = w * 1
    assert mg.grad(mg.checkpoint(lambda a: a * h)(h).sum(), w)[0].data == [6]


def test_checkpoint_notices_other_values_when_it_runs_again():
    x, a = mg.parameter([1.]), np.array([2.])
    y = mg.checkpoint(lambda x, a: x * a * x)(x, a)
    a[:] = 100
    with pytest.raises(RuntimeError, match="other values"):
        y.backward()


def test_checkpoint_with_a_cotangent_used_again():
    a, b = mg.parameter([1.]), mg.parameter([2.])
    y, G = mg.checkpoint(lambda a, b: a * b)(a, b), mg.Tensor([1.])
    assert mg.grad(y, a, cotangent=G)[0].data == [2]
    G.data[:] = 10
    assert mg.grad(y, a, cotangent=G)[0].data == [20]


def test_checkpoint_is_not_replayed_with_other_inputs():
    graph = trace(lambda x: mg.checkpoint(lambda x: x * x)(x).sum(), np.array([3.]))
    with pytest.raises(RuntimeError, match="cannot be replayed"):
        replay(graph, inputs=[np.array([5.])])


def test_time_of_checkpointed_steps_is_linear():
    cell = mg.RNNCell(2, 3)
    sizes = []
    for T in (50, 100):
        ys, h = mg.unroll(mg.checkpoint(cell), np.ones((T, 1, 2)))
        seen, real = [], mg.checkpoint.__globals__["_walk"]
        mg.checkpoint.__globals__["_walk"] = lambda roots, *a, **k: (seen.append(1), real(roots, *a, **k))[1]
        try:
            h.sum().backward()
        finally:
            mg.checkpoint.__globals__["_walk"] = real
        sizes.append(len(seen))
    assert sizes == [50, 100]      # each step is walked once


def test_a_tuple_inside_an_index_counts_duplicates():
    x = mg.parameter(np.ones((2, 3)))
    x[:, (0, 0)].sum().backward()
    assert x.grad.tolist() == [[2, 0, 0]] * 2
    assert x[[]].shape == (0, 3)


def test_a_mask_of_the_wrong_length_is_refused():
    with pytest.raises(IndexError):
        mg.parameter(np.arange(5.))[np.array([True, False, True])]


def test_create_graph_uses_the_values_that_were_used():
    c, x = mg.Tensor([2.]), mg.parameter([3.])
    y = (x * c).sum()
    c.data = [5.]
    assert mg.grad(y, x)[0].data == mg.grad(y, x, create_graph=True)[0].data == [2]


def test_a_stack_of_cells_needs_a_state_for_each():
    cells = mg.RNNCell(2, 3), mg.RNNCell(3, 3)
    with pytest.raises(ValueError, match="2 cells got a state of 1"):
        mg.unroll(mg.stacked(*cells), XS, (cells[0].initial_state(3),))
    assert len(mg.stacked(mg.checkpoint(cells[0]), cells[1]).parameters()) == 6


def test_reductions_take_keepdims_by_name_only():
    with pytest.raises(TypeError):
        np.sum(mg.parameter(np.ones((2, 3))), 0, np.float32)


def test_lengths_need_a_batch_axis_everywhere():
    def cell(x, state):
        h, m = state
        return h, (h + x.sum(axis=1, keepdims=True), m + 1)
    with pytest.raises(ValueError, match=r"shape \(5,\) at t=1; every one needs the batch in front"):
        mg.unroll(cell, XS, (mg.parameter(np.zeros((3, 1))), mg.Tensor(np.zeros(5))), lengths=[1, 2, 4])


def test_detach_is_a_copy():
    x = mg.parameter([1.])
    y = np.exp(x)
    y.detach().data[0] = 100
    y.sum().backward()
    assert np.allclose(x.grad, np.e)


def test_constants_take_the_dtype_of_the_predictions():
    x = mg.parameter(np.ones(3, np.float32))
    for loss in (mg.binary_cross_entropy, mg.squared_error):
        assert loss(x, np.array([0, 1, 1])).dtype == np.float32
        assert loss(x, np.ones(3)).dtype == np.float32


def test_unrolls_without_gradients_keep_no_old_state():
    cell, alive, h = mg.RNNCell(2, 3), [], None
    with mg.no_grad():
        for _ in range(5):
            _, h = mg.unroll(cell, XS, h)
            alive.append(weakref.ref(h))
    assert [r() is not None for r in alive] == [False] * 4 + [True]


def test_normal_form_of_a_power_with_a_tensor_exponent():
    from minigrad.graph import adjoint
    graph = adjoint(trace(lambda a, b: (a ** b).sum(), np.array([2., 3.]), np.array([1., 2.])))
    new = [np.array([1.5, 2.5]), np.array([3., 2.])]
    for i, j in zip(graph.outputs, normal_form(graph).outputs):
        assert np.allclose(replay(graph, inputs=new)[i], replay(normal_form(graph), inputs=new)[j])


def test_where_with_a_condition_that_requires_gradients():
    p, a = mg.parameter([1., 0.]), mg.parameter([1., 2.])
    np.where(p, a, -a).sum().backward()
    assert a.grad.tolist() == [1, -1] and p.grad is None


def test_a_mask_is_a_constant_and_hides_what_it_masks():
    logits = mg.parameter(np.array([[1., 2.], [np.nan, 0.]]))
    with pytest.raises(TypeError, match="mask that requires gradients"):
        mg.softmax_cross_entropy(logits, [0, 1], mask=mg.parameter([1., 0.]))
    for create_graph in (False, True):
        loss = mg.softmax_cross_entropy(logits, np.array([0, -1]), mask=np.array([True, False]))
        g, = mg.grad(loss, logits, create_graph=create_graph)
        assert np.isfinite(loss.item()) and np.isfinite(g.data).all() and not g.data[1].any()


def test_nan_inside_a_checkpoint_is_no_error_without_debug():
    x = mg.parameter([0.])

    def slope(x):
        with np.errstate(divide="ignore"):
            return mg.grad(np.sqrt(x).sum(), x)[0] + x * 0
    mg.checkpoint(slope)(x)


@pytest.mark.parametrize("call, message", [
    (lambda: mg.unroll(mg.LSTMCell(2, 3), XS, mg.Tensor(np.zeros((3, 3)))), r"initial_state\(3\) is \(float64 \(3, 3\), float64 \(3, 3\)\)"),
    (lambda: mg.unroll(mg.RNNCell(3, 4), [np.ones((2, 3)), np.ones((3, 3))]), "all steps need one shape"),
    (lambda: mg.parameter(np.ones(3)) @ np.ones(4), r"\(3,\) @ \(4,\): the inner sizes 3 and 4 must be equal"),
    (lambda: mg.parameter(np.ones(3)) @ np.ones((4, 2)), r"\(3,\) @ \(4, 2\): the inner sizes 3 and 4"),
])
def test_messages_say_what_arrived(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_softplus_at_zero_has_the_complex_step_of_its_slope():
    """The branch at exactly 0 gave −½ along the imaginary axis, where the slope is +½."""
    assert mg.softplus(np.array(0 + 1e-20j)).imag / 1e-20 == pytest.approx(0.5)


def test_a_long_double_number_is_a_number():
    """``item()`` of a longdouble is a longdouble again, and an operand was converted for ever."""
    assert (mg.parameter(1.0) + np.longdouble(2)).item() == 3.0


def test_an_index_of_a_single_number_adds_to_its_gradient():
    """A sum of 0-d gradients is a NumPy scalar: what was left for later was added into a copy of it and lost."""
    for make in (lambda t: t, lambda t: t * 1):
        t = mg.parameter(2.0)
        a = make(t)
        (3 * a[None].sum() + a * a + a).backward()
        assert t.grad == 8


def test_second_derivative_of_logsumexp_of_one_number():
    t = mg.parameter([0.3])
    g, = mg.grad(np.tanh(mg.logsumexp(t)), t, create_graph=True)
    h, = mg.grad(g.sum(), t)
    assert abs(h.item() + 2 * np.tanh(0.3) / np.cosh(0.3) ** 2) < 1e-15


@pytest.mark.parametrize("shape", [(2, 0, 3), (0, 4, 0), (2, 3, 0)])
def test_matmul_of_an_empty_stack_with_a_matrix(shape):
    a, b = mg.parameter(np.ones(shape)), mg.parameter(np.ones((shape[-1], 5)))
    y = a @ b
    y.sum().backward()
    assert y.shape == (*shape[:-1], 5) and np.array_equal(a.grad, np.full(shape, 5.0)) and b.grad.shape == b.shape


@pytest.mark.parametrize("target", [1, np.int64(1), np.array(1), mg.Tensor(1)])
@pytest.mark.parametrize("mask", [None, True, np.array(1.0)])
def test_cross_entropy_of_one_row(target, mask):
    z = mg.parameter([1.0, 2.0, 3.0])
    for reduction in ("mean", "sum", "none"):
        z.grad = None
        loss = mg.softmax_cross_entropy(z, target, mask=mask, reduction=reduction)
        loss.backward()
        p = np.exp(z.data) / np.exp(z.data).sum()
        assert loss.shape == () and np.allclose(loss.item(), -np.log(p[1]), rtol=1e-14, atol=0)
        assert np.allclose(z.grad, p - [0, 1, 0], rtol=0, atol=1e-15)


def test_complex_step_through_soft_targets_and_layer_norm():
    """Complex numbers were cut to real ones in soft targets, and layer_norm's rule took |x|² for x²."""
    x, v, h = np.array([[0.3, -1.0, 0.5]]), np.array([[1.0, 2.0, -1.0]]), 1e-100

    def loss(t):
        return mg.softmax_cross_entropy(t, mg.softmax(2 * t)) + (mg.layer_norm(t) ** 3).sum()
    t = mg.parameter(x)
    g, = mg.grad(loss(t), t, create_graph=True)
    hv, = mg.grad((g * v).sum(), t)
    stepped = mg.Tensor(x + 1j * h * v, requires_grad=True)
    assert abs((g.data * v).sum() - loss(mg.Tensor(x + 1j * h * v)).data.imag / h) < 1e-13
    assert np.abs(hv.data - mg.grad(loss(stepped), stepped)[0].data.imag / h).max() < 1e-12


def test_a_constant_that_is_changed_before_backward_is_noticed():
    W, m = mg.parameter(np.ones(3), name="W"), mg.Tensor(np.full(3, 2.0), name="m")
    y = (np.tanh(W) * m).sum()
    m.data *= 0.5
    with pytest.raises(RuntimeError, match="tensor 'm' was changed after multiply had used it"):
        y.backward()


def test_loops_that_run_side_by_side_leave_no_place_behind():
    for _ in zip(mg.steps(np.ones((2, 1))), mg.steps(np.ones((2, 1)))):
        pass
    w = mg.parameter([1.0, 2.0])
    assert (w * w).sum().place is None


@pytest.mark.parametrize("rows", [values.KEPT, values.KEPT + 1])
def test_sums_of_many_rows(rows):
    """Up to so many rows the ones that a sum is a product with are kept; beyond, they are made anew."""
    rng = np.random.default_rng(0)
    b, logits, classes = mg.parameter(np.zeros(3)), mg.parameter(rng.standard_normal((rows, 3))), rng.integers(3, size=rows)
    mg.softmax_cross_entropy(logits + b, classes, reduction="sum").backward()
    expected = np.exp(logits.data) / np.exp(logits.data).sum(axis=1, keepdims=True) - np.eye(3)[classes]
    assert np.abs(logits.grad - expected).max() < 1e-14 and np.abs(b.grad - expected.sum(axis=0)).max() < 1e-11


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_a_mask_of_weights_weighs_the_rows(reduction):
    rng = np.random.default_rng(0)
    logits, classes, weights = mg.parameter(rng.standard_normal((4, 3))), np.array([0, 2, 1, 1]), np.array([0.5, 0.0, 2.0, 1.0])
    rows = mg.softmax_cross_entropy(logits, classes, reduction="none")
    expected = weights * rows
    expected = expected if reduction == "none" else expected.sum() / (weights.sum() if reduction == "mean" else 1)
    loss = mg.softmax_cross_entropy(logits, classes, mask=weights, reduction=reduction)
    assert np.abs(loss.data - expected.data).max() < 1e-15
    ours, theirs = (mg.grad((y * y).sum(), logits)[0].data for y in (loss, expected))
    assert np.abs(ours - theirs).max() < 1e-15


def test_exp_of_a_stack_of_large_matrices_is_that_of_each():
    a = 5 * np.random.default_rng(0).standard_normal((2, 3, 3)) * np.array([1.0, 4.0])[:, None, None]
    a = np.concatenate([a, np.tril(np.full((1, 3, 3), 30.0), -1)])            # one large column: its rows' sums count
    for whole, one in zip(mg.matrix_exp(a), map(mg.matrix_exp, a)):
        assert np.abs(whole - one).max() <= 1e-12 * np.abs(one).max()
    nilpotent = np.eye(3) + a[2] + a[2] @ a[2] / 2
    assert np.abs(mg.matrix_exp(a[2:])[0] - nilpotent).max() <= 1e-12 * nilpotent.max()


@pytest.mark.parametrize("index", ["[:, a, ..., b]", "[:, 1, ..., b]", "[1:, :, a, ..., 0]", "[:, a, a, ..., b]", "[a, ..., 0]", "[:, a, :, b]", "[a, b]",
                                   "[..., a, None, b]", "[:, c, a]"])
def test_arrays_that_stand_apart_go_to_the_front_also_around_nothing(index):
    """``...`` that stands for no axis at all separates index arrays for NumPy: their axes go to the very front."""
    x = mg.parameter(np.arange(16.).reshape((2,) * 4))
    names = {"a": np.array([1, 0]), "b": np.array([[0, 1], [1, 1], [0, 0]]), "c": np.array([True, False])}
    y, expected = (eval(f"x{index}", {"x": v, **names}) for v in (x, x.data))
    assert np.array_equal(y.data, expected)
    weights, reference = np.random.default_rng(0).normal(size=expected.shape), np.zeros((2,) * 4)
    exec(f"np.add.at(x, np.s_{index}, w)", {"np": np, "x": reference, "w": weights, **names})
    assert np.allclose(mg.grad((y * weights).sum(), x)[0].data, reference)


def test_data_of_another_kind_is_refused_not_cut():
    """Setting data never drops an imaginary part, wraps around or makes a number of NaN without a word."""
    for tensor, value, kind in ((mg.Tensor([0.]), [1j], TypeError), (mg.Tensor(np.zeros(1, np.uint8)), [300], OverflowError),
                                (mg.Tensor([0]), [np.nan], ValueError)):
        with pytest.raises(kind):
            tensor.data = value
        assert not tensor.data.any()


def test_comparing_with_text_gives_what_numpy_gives():
    t = mg.Tensor(1.)
    assert (np.array(["x", "y"]) == t).tolist() == [False, False] and (np.array("2020-01-01", dtype="M8[D]") != t)
    assert t not in [np.array("x")]


def test_an_index_has_one_ellipsis():
    with pytest.raises(IndexError, match="single ellipsis"):
        mg.parameter(np.ones((1, 3)))[[0, 0], ..., ..., 1]


def test_losses_and_scatter_add_take_what_numpy_takes():
    assert abs(mg.softmax_cross_entropy(((1., 2.), (3., 4.)), mg.Tensor([0, 1])).item() - np.log1p(np.e) + 0.5) < 1e-12
    g = mg.parameter([1., 2.])
    y = mg.scatter_add(g=g, index=[0, 0], shape=(3,))
    assert y.data.tolist() == [3, 0, 0] and mg.grad(y.sum(), g)[0].data.tolist() == [1, 1]
    assert mg.scatter_add(np.array(1.), mg.Tensor(0), (2,)).data.tolist() == [1, 0]


@pytest.mark.parametrize("call", [lambda t: np.logical_xor.reduce(t), lambda t: np.logical_and.reduce(t, initial=True),
                                  lambda t: np.floor_divide.reduce(t), lambda t: np.less.outer(t, t), lambda t: np.less(t, 1.5, dtype=None)])
def test_methods_of_what_has_no_gradient_give_plain_answers(call):
    assert np.array_equal(call(mg.parameter([1., 2.])), call(np.array([1., 2.])))


def test_a_graph_is_freed_when_it_is_named():
    gc.collect()
    gc.disable()
    try:
        ys, _ = mg.unroll(mg.RNNCell(2, 3), np.ones((4, 1, 2)))
        Graph.of(ys)
        gone = weakref.ref(ys)
        del ys, _
        assert gone() is None
    finally:
        gc.enable()


def test_a_ufunc_never_writes_into_a_tensor():
    t = mg.Tensor([1.5, 2.5])
    for write in (lambda: np.ceil.at(t, [0]), lambda: np.floor_divide.at(t, [0], 2.), lambda: np.ceil(t, out=t), lambda: np.add.at(t, [0], 1.),
                  lambda: np.round(np.array([1.4, 2.4]), out=t), lambda: np.max(t, axis=0, out=t)):
        with pytest.raises(TypeError, match="written into|asked to write|out"):
            write()
    assert t.data.tolist() == [1.5, 2.5]
