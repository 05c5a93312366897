"""The reverse walk: backward, grad, jacobian, no_grad, change stamps and debug."""
import threading

import numpy as np
import pytest

import minigrad as mg
from minigrad.autodiff import cotangents
from minigrad.ops.record import FUNCTIONS, TABLE, Op, op
from minigrad.tensor import record
from tests.ops.test_table import cases, error

rng = np.random.default_rng(5)


# ---- backward --------------------------------------------------------------------------------------------------------
def test_backward_accumulates_into_arrays_of_its_own():
    w = mg.parameter(np.array([1, 2], np.float32))
    for times in (1, 2, 3):
        (w * w).sum().backward()
        assert w.grad.tolist() == [2 * times, 4 * times] and w.grad.dtype == np.float32 and w.grad.flags.writeable
    w.grad = None
    y = w * 2
    y.backward(np.array([1.0, 10.0]))
    assert w.grad.tolist() == [2, 20] and y.grad is None


def test_keep_leaves_gradients_on_everything_overwritten_not_accumulated():
    w = mg.parameter(3.0)
    y = w * w
    z = y + y
    for _ in range(2):
        z.backward(keep=True)
    assert (w.grad, y.grad, z.grad) == (24, 2, 1)


def test_cotangents_of_every_node_leave_grad_alone():
    w = mg.parameter([1.0, 2.0])
    y = w * w
    found = cotangents((y * 3).sum())
    assert found[y.index].tolist() == [3, 3] and found[w.index].tolist() == [6, 12] and w.grad is None
    assert cotangents(y, [1.0, 0.0])[w.index].tolist() == [2, 0]


def test_a_leaf_is_its_own_gradient():
    w = mg.parameter(2.0)
    w.backward()
    assert w.grad == 1 and mg.grad(w, w)[0].item() == 1


@pytest.mark.parametrize("run, kind, message", [
    (lambda y: y.backward(), ValueError,
     r"backward\(\) needs a scalar or a cotangent: the output has shape \(2,\).*cotangent= of that shape"),
    (lambda y: y.backward(np.ones(3)), ValueError, r"cotangent of shape \(3,\) for an output of shape \(2,\)"),
    (lambda y: mg.Tensor(1.0).backward(), RuntimeError,
     r"depends on nothing that requires gradients; make leaves with mg.parameter"),
    (lambda y: mg.grad(3, y), TypeError, "needs a Tensor, got int"),
    (lambda y: mg.grad(y.sum(), [y, 3]), TypeError, "got a int as input 1"),
    (lambda y: mg.grad([y], y.sum()), TypeError, "grad\\(\\) needs a Tensor, got list"),
    (lambda y: mg.grad(y, y), ValueError, "needs a scalar"),
    (lambda y: mg.grad(y.sum(), mg.Tensor(1.0, name="a")), RuntimeError,
     "input 0, tensor 'a', does not require gradients"),
    (lambda y: mg.jacobian(3, y), TypeError, "got a int as output"),
    (lambda y: mg.jacobian(y, 3), TypeError, "got a int as input.*order: output, input"),
])
def test_wrong_arguments(run, kind, message):
    with pytest.raises(kind, match=message):
        run(mg.parameter([1.0, 2.0]) * 2)


# ---- grad ------------------------------------------------------------------------------------------------------------
def test_grad_is_a_tuple_with_zeros_where_unreached():
    a, b, unused = mg.parameter([1.0, 2.0]), mg.parameter(3.0), mg.parameter(np.ones((2, 2), np.float32))
    middle = a * b
    gradients = mg.grad((middle * middle).sum(), [a, b, middle, unused])
    assert type(gradients) is tuple and [type(g) for g in gradients] == [mg.Tensor] * 4
    assert [g.data.tolist() for g in gradients] == [[18, 36], 30, [6, 12], [[0, 0], [0, 0]]]
    assert gradients[3].dtype == np.float32 and a.grad is None and not gradients[0].requires_grad
    assert mg.grad(middle.sum(), [unused], create_graph=True)[0].data.tolist() == [[0, 0], [0, 0]]


def test_grad_with_a_cotangent_that_is_differentiated_itself():
    w, v = mg.parameter([1.0, 2.0]), mg.parameter([5.0, 7.0])
    g, = mg.grad(w * w, w, cotangent=v, create_graph=True)
    assert g.data.tolist() == [10, 28]
    assert mg.grad(g.sum(), v)[0].data.tolist() == [2, 4]
    assert mg.grad(w * w, w, cotangent=[1.0, 0.0], create_graph=True)[0].data.tolist() == [2, 0]
    assert mg.grad(w * w, w, cotangent=v)[0].data.tolist() == [10, 28]


def test_derivatives_of_the_third_order():
    x = mg.parameter(0.7)
    y, found = np.sin(x) * x, []
    for _ in range(3):
        y, = mg.grad(y, x, create_graph=True)
        found.append(y.item())
    s, c, v = np.sin(0.7), np.cos(0.7), 0.7
    assert np.allclose(found, [s + v * c, 2 * c - v * s, -3 * s - v * c], rtol=1e-14)


def test_differentiating_through_indexing_and_accumulation_twice():
    w = mg.parameter(rng.standard_normal(4))
    y = (w[[0, 0, 1]] * w[1:]).sum() + w[0] * w[0] * w[0]
    g, = mg.grad(y, w, create_graph=True)
    H = mg.jacobian(g, w).data
    want = np.zeros((4, 4))
    for i, j in ((0, 1), (0, 2), (1, 3)):
        want[i, j] = want[j, i] = 1
    want[0, 0] = 6 * w.data[0]
    assert np.allclose(H, want, rtol=1e-14)


def test_parts_of_a_tensor_and_all_of_it_in_any_order():
    w = mg.parameter([1.0, 2.0, 3.0])
    first = w[0] * 5.0
    (first + (w * w).sum() + w[[1, 1]].sum() + w[0]).backward()
    assert w.grad.tolist() == [8, 6, 6]
    v = mg.parameter([1.0, 2.0])
    (v[0] * 5.0 + (v * 1.0).sum()).backward()              # the whole is walked before the part
    assert v.grad.tolist() == [6, 1]


# ---- jacobian --------------------------------------------------------------------------------------------------------
def loss_terms(W, x):
    h = np.tanh(x @ W)
    return mg.softmax(h + h[..., ::-1]) * np.cumsum(h, axis=-1) + np.concatenate([h[:1], h[1:]], axis=0) @ W


def test_all_rows_at_once_equal_one_walk_per_row():
    W, x = mg.parameter(rng.standard_normal((3, 3))), mg.parameter(rng.standard_normal((2, 3)))
    y = loss_terms(W, x)
    for leaf in (W, x):
        J = mg.jacobian(y, leaf)
        assert J.shape == y.shape + leaf.shape
        for at in np.ndindex(y.shape):
            row, = mg.grad(y[at], leaf)
            assert np.allclose(J.data[at], row.data, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name, f, make", [case for case in cases() if case.values[2] is not None])
def test_the_jacobian_of_every_op_is_its_gradient_for_every_cotangent(name, f, make):
    leaves = [mg.parameter(a) for a in make()]
    y = f(*leaves)
    c = rng.standard_normal(y.shape)
    for leaf, g in zip(leaves, mg.grad(y, leaves, cotangent=c)):
        for create_graph in (False, True):
            J = mg.jacobian(y, leaf, create_graph=create_graph)
            assert J.shape == y.shape + leaf.shape
            assert np.allclose(np.tensordot(c, J.data, axes=y.ndim), g.data, rtol=1e-11, atol=1e-12)


def test_a_jacobian_can_be_differentiated():
    x = mg.parameter([1.0, 2.0])
    J = mg.jacobian(x ** 3, x, create_graph=True)
    assert np.allclose(mg.grad(J.sum(), x)[0].data, 6 * x.data)


def test_jacobian_shapes_of_scalars_and_of_the_unreached():
    x, other = mg.parameter([1.0, 2.0]), mg.parameter(3.0)
    assert mg.jacobian(other * other, other).shape == () and mg.jacobian(x.sum(), x).shape == (2,)
    assert mg.jacobian(x, other).data.tolist() == [0, 0]
    assert mg.jacobian(x * 1, other, create_graph=True).data.tolist() == [0, 0]
    assert mg.jacobian(mg.Tensor([1.0]), x).data.tolist() == [[0, 0]]
    assert mg.jacobian(x[:0], x).shape == (0, 2)


@pytest.mark.parametrize("f", [
    lambda x: x[:0] @ x.mT @ x, lambda x: mg.softmax(x[:0]), lambda x: np.max(x[:0], axis=-1), lambda x: np.var(x[:0], axis=-1), lambda x: x[[], 1],
    lambda x: np.stack([x[:0], x[1:1]]), lambda x: mg.softmax_cross_entropy(x[:0], np.zeros(0, int), reduction="none"),
    lambda x: mg.softmax_cross_entropy(x[:0], np.zeros((0, 3)), mask=np.zeros(0), reduction="none")])
@pytest.mark.parametrize("create_graph", [False, True])
def test_the_jacobian_of_nothing_is_nothing(f, create_graph):
    x = mg.parameter(np.ones((4, 3)))
    assert mg.jacobian(f(x), x, create_graph=create_graph).shape == f(x).shape + (4, 3)


# ---- no_grad ---------------------------------------------------------------------------------------------------------
def test_no_grad_as_context_and_decorator():
    w = mg.parameter(1.0)

    @mg.no_grad()
    def double(x, times=1):
        """Twice."""
        return double(x * 2, times - 1) if times else x
    with mg.no_grad():
        with mg.no_grad():
            pass
        assert not (w * 2).requires_grad
    assert (w * 2).requires_grad and double.__doc__ == "Twice."
    y = double(w, times=2)
    assert y.item() == 4 and not y.requires_grad and y.inputs == ()


def test_no_grad_ends_with_an_error():
    w = mg.parameter(1.0)
    with pytest.raises(ZeroDivisionError), mg.no_grad():
        1 / 0
    assert (w * 2).requires_grad


def test_no_grad_is_per_thread():
    w, seen = mg.parameter(1.0), []
    with mg.no_grad():
        thread = threading.Thread(target=lambda: seen.append((w * 2).requires_grad))
        thread.start()
        thread.join()
        assert seen == [True] and not (w * 2).requires_grad


# ---- change stamps ---------------------------------------------------------------------------------------------------
def test_a_parameter_changed_after_its_use_is_noticed_with_op_and_step():
    W = mg.parameter(np.eye(2), name="W")
    h = mg.Tensor(np.ones((1, 2)))
    for x in mg.steps(np.ones((3, 1, 2))):
        h = np.tanh(x + h @ W)
    W.data = 2 * W.data
    for run in (h.sum().backward, lambda: mg.grad(h.sum(), W), lambda: mg.jacobian(h, W)):
        with pytest.raises(RuntimeError, match="'W' was changed after matmul at t=3 had used it.*run the forward"):
            run()


def test_errors_of_a_rule_say_which_op_and_step():
    W = mg.parameter(np.eye(2))
    for x in mg.steps(np.ones((2, 1, 2))):
        y = np.tanh(x @ W)
    with pytest.raises(Exception) as caught:
        with np.errstate(over="raise"):
            (y * 1e200).backward(np.full((1, 2), 1e200))
    assert "in the gradient of multiply" in caught.value.__notes__[0] and "mg.debug()" in caught.value.__notes__[0]
    with mg.debug(), pytest.raises(Exception) as caught, np.errstate(over="raise"):
        for x in mg.steps(np.ones((2, 1, 2))):
            y = np.tanh(x @ W)
            z = y * 1e200
        z.backward(np.full((1, 2), 1e200))
    assert "in the gradient of multiply at t=2, made at test_autodiff.py:" in caught.value.__notes__[0]


@pytest.mark.parametrize("rule, message", [
    (lambda g, y, x: g.sum(), r"a gradient rule returned shape \(\) for an argument of shape \(2,\)"),
    (lambda g, y, x: np.ones(3), r"cannot reshape array of size 3 into shape \(2,\)"),
])
def test_a_rule_of_the_wrong_shape_is_named(rule, message):
    wrong = op(lambda x: x * 1, rule, reads="{0}", name="wrong")
    try:
        with pytest.raises(ValueError, match=message) as caught:
            wrong(mg.parameter([1.0, 2.0])).sum().backward()
        assert "in the gradient of wrong" in caught.value.__notes__[0]
    finally:
        del TABLE["wrong"], FUNCTIONS[wrong]


def test_an_error_without_a_message_stays_as_it_is():
    def fails(x):
        raise KeyError(3)
    with pytest.raises(KeyError, match="^3$"):
        record(Op("fails", fails, (), ""), (mg.parameter(1.0),))


# ---- debug -----------------------------------------------------------------------------------------------------------
def overflowing(x):
    with np.errstate(all="ignore"):
        return np.exp(x)


def test_debug_stops_forward_at_the_op_and_step_that_made_it():
    h = mg.parameter([1.0, 2.0], name="h0")
    with mg.debug(), pytest.raises(FloatingPointError) as caught:
        for x in mg.steps(np.array([[1.0, 1.0], [1.0, 500.0]])):
            h = overflowing(x * h)
    message = str(caught.value)
    assert message.startswith("exp at t=2 made inf at (1,) (inputs (2,) in [2.718, ")
    assert "made at test_autodiff.py:" in message and "in overflowing" in message


def test_debug_names_what_it_can_of_the_inputs():
    message = r"multiply made nan at \(0,\) \(inputs w\(1,\) without a finite number, 2.0\)"
    with mg.debug(), pytest.raises(FloatingPointError, match=message):
        mg.parameter([np.nan], name="w") * 2.0
    bad = Op("bad", lambda a, b: np.full(2, np.inf), (), "bad({0})")
    with mg.debug(), pytest.raises(FloatingPointError,
                                   match=r"bad made inf at \(0,\) \(inputs of shape \(0,\), \(2,\) in \[1, 1\]\)"):
        record(bad, (mg.parameter(np.ones(0)), np.ones(2)))


def test_debug_stops_backward_at_the_op_and_step_that_made_it():
    w = mg.parameter([0.0, 1.0])
    with mg.debug():
        for x in mg.steps(np.ones((2, 2))):
            y = np.sqrt(w * x)
        with pytest.raises(FloatingPointError) as caught, np.errstate(all="ignore"):
            y.sum().backward()
    message = str(caught.value)
    assert message.startswith("the gradient of sqrt at t=2 made NaN or infinity; the op was made at test_autodiff.py:")
    assert "its output in (2,) in [0, 1]" in message


def locked(tensor):
    return not tensor.data.flags.writeable


def test_debug_locks_and_unlocks_also_nested():
    a, b = mg.parameter([1.0, 2.0]), mg.parameter([3.0, 4.0])
    with mg.debug():
        y = a * 2
        with mg.debug():
            z = b * 3
            assert locked(a) and locked(b) and locked(z)
        assert locked(a) and locked(y) and not locked(b) and not locked(z)
        with pytest.raises(ValueError, match="read-only"):
            a.data[0] = 5
        with mg.debug():
            pass
        assert locked(a) and (a * 2).requires_grad
    assert not any(map(locked, (a, b, y, z)))


def test_debug_locks_views_too():
    a = mg.parameter([1.0, 2.0])
    view = a.reshape(1, 2)
    with mg.debug():
        y = a * 1
        with mg.debug():
            z = view * 2                    # the view is locked here, the array that it looks at was locked further out
            assert locked(view)
        assert locked(view) and not locked(z)
    assert not any(map(locked, (a, view, y, z)))


def test_debug_as_a_decorator():
    a = mg.parameter([1.0, 2.0])

    @mg.debug()
    def inside():
        y = a * 2
        return locked(a), y
    was_locked, y = inside()
    assert was_locked and not locked(a) and not locked(y)


def test_gradients_in_debug_are_the_same():
    W, x = mg.parameter(rng.standard_normal((3, 3))), mg.parameter(rng.standard_normal((2, 3)))
    want = mg.grad(loss_terms(W, x).sum(), (W, x))
    with mg.debug():
        got = mg.grad(loss_terms(W, x).sum(), (W, x))
    assert all(np.array_equal(a.data, b.data) for a, b in zip(want, got))


# ---- gradients that a rule leaves for later -----------------------------------------------------------------------------

def products(W, xs):
    """A loss in which W is multiplied with rows in many steps, indexed, and used as it is; and its gradient by hand."""
    loss, by_hand = (W * W).sum() + W[3].sum() + (W[np.array([1, 1])] * 2).sum(), 2 * W.data
    by_hand[3] += 1
    by_hand[1] += 4
    for x in xs:
        loss = loss + np.tanh(x @ W).sum()
        rows = x.reshape(-1, x.shape[-1])
        by_hand = by_hand + rows.T @ (1 - np.tanh(rows @ W.data) ** 2)
    return loss, by_hand


def test_many_steps_products_are_added_a_few_at_a_time(monkeypatch):
    from minigrad.ops.later import Rows
    W, seen, add = mg.parameter(0.1 * rng.standard_normal((40, 60))), [], Rows.add
    monkeypatch.setattr(Rows, "add", staticmethod(lambda parts, total, lead: (seen.append(len(parts)), add(parts, total, lead))[1]))
    xs = [rng.standard_normal((1 + t % 2, 40)) for t in range(19)] + [rng.standard_normal((2, 3, 40))]
    loss, by_hand = products(W, xs)
    loss.backward()
    assert error(W.grad, by_hand) <= 1e-14
    assert max(seen) == 8 and sum(seen) == 20


def test_gradients_left_for_later_reach_what_lies_behind():
    V = mg.parameter(0.1 * rng.standard_normal((40, 60)))
    loss, by_hand = products(V * 3, [rng.standard_normal((1, 40)) for _ in range(3)])
    assert error(mg.grad(loss, V)[0].data, 3 * by_hand) <= 1e-14


def test_jacobian_and_second_order_through_products_left_for_later():
    W, x = mg.parameter(0.1 * rng.standard_normal((40, 60))), rng.standard_normal((1, 40))
    y = (np.tanh(x @ W) + np.tanh(2 * x @ W))[0]
    rows = [mg.grad(y[i], W)[0].data for i in range(3)]
    assert error(mg.jacobian(y, W).data[:3], np.stack(rows)) <= 1e-14
    first, = mg.grad((y * y).sum() + (x @ W).sum(), W, create_graph=True)
    d = rng.standard_normal(W.shape)
    second, = mg.grad((first * d).sum(), W)

    def slope(w):
        y, t = np.tanh(x @ w) + np.tanh(2 * x @ w), [np.tanh(k * x @ w) for k in (1, 2)]
        return x.T @ (2 * y * ((1 - t[0] ** 2) + 2 * (1 - t[1] ** 2))) + x.T @ np.ones_like(y)
    assert error(second.data, np.imag(slope(W.data + 1e-30j * d)) / 1e-30) <= 1e-12


def test_debug_looks_at_gradients_left_for_later():
    W = mg.parameter(np.ones((40, 60)))
    with np.errstate(over="ignore"), mg.debug(), pytest.raises(FloatingPointError, match="the gradient of matmul made NaN or infinity"):
        (np.full((1, 40), 1e300) @ W).backward(np.full((1, 60), 1e300))


def test_grad_belongs_to_the_leaf_alone():
    a, b = mg.parameter([1., 2.]), mg.parameter([3., 4.])
    y = a + b
    (y + y + a + b).sum().backward()
    a.grad[:] = 7
    assert b.grad.tolist() == [3, 3] and not np.shares_memory(a.grad, b.grad)
    (a + b).sum().backward()
    assert a.grad.tolist() == [8, 8] and b.grad.tolist() == [4, 4]
    a.grad = b.grad = None
    (a + b).sum().backward()
    assert a.grad.tolist() == b.grad.tolist() == [1, 1] and not np.shares_memory(a.grad, b.grad)


@pytest.mark.parametrize("how", [mg.unroll, mg.scan])
def test_gradients_of_a_sequence_belong_to_the_leaves_alone(how):
    a, b = mg.parameter(np.ones(2)), mg.parameter(np.ones(2))
    xs, h = mg.parameter(rng.standard_normal((3, 4, 2))), mg.parameter(np.zeros((4, 2)))
    for _ in range(2):
        ys, last = how(lambda x, h: (np.tanh(x + h + a + b),) * 2, xs, h)
        (ys.sum() + last.sum()).backward()
        assert np.array_equal(a.grad, b.grad)
        grads = [x.grad for x in (a, b, xs, h)]
        assert not any(np.shares_memory(g, other) for i, g in enumerate(grads) for other in grads[:i])
        before = [g.copy() for g in grads]
        how(lambda x, h: (np.tanh(x + h + a + b),) * 2, xs, h)[0].sum().backward()      # its room is used again
        for x, g in zip((a, b, xs, h), grads):
            assert x.grad is not g                      # added into a new array
        assert all(np.array_equal(g, old) for g, old in zip(grads, before))
        for x in (a, b, xs, h):
            x.grad = None


def test_a_gradient_that_two_share_is_not_written_into():
    W, V = mg.parameter(np.zeros((2, 2))), mg.parameter(np.zeros((2, 2)))
    row = W[0]
    ((W + V).sum() + row.sum()).backward()
    assert W.grad.tolist() == [[2, 2], [1, 1]] and V.grad.tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("rows", [(1,), (3,), (20,), (2, 3)])
def test_products_with_a_large_matrix(rows):
    x, W, g = mg.parameter(rng.standard_normal((*rows, 90))), mg.parameter(rng.standard_normal((90, 100))), rng.standard_normal((*rows, 100))
    y = x @ W
    assert error(y.data, np.einsum("...i,ij->...j", x.data, W.data)) <= 1e-13
    y.backward(g)
    assert error(x.grad, np.einsum("...j,ij->...i", g, W.data)) <= 1e-13
    assert error(W.grad, x.data.reshape(-1, 90).T @ g.reshape(-1, 100)) <= 1e-13


def test_a_cotangent_may_be_a_tensor():
    """It counts as its numbers: gradients are arrays of their own, and hang on no graph unless one is asked for."""
    c = mg.Tensor(np.array([1.0, 2.0]), requires_grad=True)
    x = mg.parameter(np.array([3.0, 4.0]))
    x.backward(c)
    assert type(x.grad) is np.ndarray and x.grad.tolist() == [1.0, 2.0] and not np.shares_memory(x.grad, c.data)
    x.grad[0] = 9.0
    assert c.data[0] == 1.0
    y = x * x
    plain, = mg.grad(y, x, cotangent=c)
    assert plain.data.tolist() == [6.0, 16.0] and not plain.requires_grad and plain.op is None
    kept, = mg.grad(y, x, cotangent=c, create_graph=True)
    assert mg.grad(kept.sum(), c)[0].data.tolist() == [6.0, 8.0]


WIDE = 600      # floats of 8 bytes: parts so large that those that lie apart are written, not added


@pytest.mark.parametrize("indices", [
    [np.s_[:, :200], np.s_[:, 200:400], np.s_[:, 400:]],        # the gates of one array: apart
    [np.s_[:, 400:], np.s_[:, :300]],                           # a gap between them
    [np.s_[:, :301], np.s_[:, 300:]],                           # one column in both
    [np.s_[:, :500], np.s_[:, 100:200]],                        # one inside the other
    [np.s_[:, ::2], np.s_[:, 1::2]],                            # strides
    [np.s_[:, :300], np.s_[:, ::-1]],
    [np.s_[..., None], np.s_[..., None]],                       # last an axis of its own
    [np.s_[[0, 1, 0], :300], np.s_[[1, 1, 1], 300:]],           # rows that occur twice
    [np.s_[0], np.s_[0], np.s_[1]],                             # the other axis
    [np.s_[:, -600:-300], np.s_[:, -300:], np.s_[:, 5:5], np.s_[:, None, 2:]]])
@pytest.mark.parametrize("lead", [False, True])
def test_gradients_of_parts_that_meet_or_lie_apart(indices, lead):
    x = mg.parameter(rng.normal(size=(2, WIDE)))
    weights = [rng.normal(size=x.data[i].shape) for i in indices]
    expected = np.zeros(x.shape)
    for i, w in zip(indices, weights):
        np.add.at(expected, i, w)
    loss = sum((x[i] * w).sum() for i, w in zip(indices, weights))
    found = mg.jacobian(np.stack([loss, 2 * loss]), x).data[1] / 2 if lead else mg.grad(loss, x)[0].data
    assert np.abs(found - expected).max() <= 1e-15


def test_parts_of_several_dtypes_are_added_not_cut():
    x = mg.parameter(rng.normal(size=(2, WIDE)).astype(np.float32))
    loss = (x[:, :300] * np.float32(2)).sum() + (x[:, 300:].astype(np.float64) * 3.0).sum()
    assert (mg.grad(loss, x)[0].data == np.repeat([2, 3], 300).astype(np.float32)).all()


def test_gradients_record_themselves_only_when_asked():
    x = mg.parameter([1., 2.])
    assert not mg.jacobian(x * x, x).requires_grad and mg.jacobian(x * x, x, create_graph=True).requires_grad
    assert not mg.grad((x * x).sum(), x)[0].requires_grad and mg.grad((x * x).sum(), x, create_graph=True)[0].requires_grad
