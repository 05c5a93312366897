"""What must hold whatever the numbers are: relations between two runs, for every cell and every op that they are made of."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.ops import TABLE
from minigrad.tensor import record
from tests.property.programs import Program

CELLS = sorted(name for name in mg.__all__ if name.endswith("Cell"))
T, B, D, H = 7, 5, 4, 8
rng = np.random.default_rng(3)


def made(name):
    return getattr(mg, name)(D, H, rng=np.random.default_rng(1))


def gradients(cell, xs, cotangent=None, **options):
    """Outputs, and the gradients of Σ c·ys in the parameters and in xs."""
    xs = mg.parameter(xs)
    ys, _ = mg.unroll(cell, xs, **options)
    c = np.random.default_rng(2).standard_normal(ys.shape) if cotangent is None else cotangent
    inputs = [*cell.parameters().values(), xs]
    return ys.data, [g.data for g in mg.grad(ys, inputs, cotangent=c)]


def close(found, wanted, rtol=1e-10):
    for a, b in zip(found, wanted, strict=True):
        scale = max(np.abs(b).max(initial=0), 1e-12)
        assert np.abs(a - b).max(initial=0) <= rtol * scale


@pytest.fixture(params=CELLS)
def cell(request):
    return made(request.param)


XS = rng.standard_normal((T, B, D))


def test_gradients_are_linear_in_the_cotangent(cell):
    ys, _ = gradients(cell, XS)
    c, d = rng.standard_normal(ys.shape), rng.standard_normal(ys.shape)
    _, one = gradients(cell, XS, c)
    _, two = gradients(cell, XS, d)
    _, both = gradients(cell, XS, 2 * c - 3 * d)
    close(both, [2 * g - 3 * h for g, h in zip(one, two)])


def test_permuting_the_batch_permutes_outputs_and_changes_no_gradient_of_a_parameter(cell):
    order = rng.permutation(B)
    ys, grads = gradients(cell, XS)
    c = np.random.default_rng(2).standard_normal(ys.shape)
    permuted, again = gradients(cell, XS[:, order], c[:, order])
    close([permuted, *again[:-1], again[-1]], [ys[:, order], *grads[:-1], grads[-1][:, order]])


def test_a_batch_is_the_sum_of_its_rows(cell):
    ys, grads = gradients(cell, XS)
    c = np.random.default_rng(2).standard_normal(ys.shape)
    rows = [gradients(cell, XS[:, i:i + 1], c[:, i:i + 1]) for i in range(B)]
    close([ys], [np.concatenate([y for y, _ in rows], axis=1)])
    close(grads, [sum(parts) for parts in list(zip(*(g for _, g in rows)))[:-1]] + [np.concatenate([g[-1] for _, g in rows], axis=1)])


@pytest.mark.parametrize("at", [1, 4])
def test_splitting_the_time_changes_nothing(cell, at):
    ys, grads = gradients(cell, XS)
    c = np.random.default_rng(2).standard_normal(ys.shape)
    xs = mg.parameter(XS)
    early, state = mg.unroll(cell, xs[:at])
    late, _ = mg.unroll(cell, xs[at:], state)
    both = np.concatenate([early, late])
    close([both.data], [ys], 1e-13)
    close([g.data for g in mg.grad(both, [*cell.parameters().values(), xs], cotangent=c)], grads)


def test_reversing_twice_is_doing_nothing(cell):
    ys, grads = gradients(cell, XS)
    c = np.random.default_rng(2).standard_normal(ys.shape)
    xs = mg.parameter(XS)
    back, _ = mg.unroll(cell, xs[::-1], reverse=True)
    back = back[::-1]
    close([back.data], [ys], 1e-13)
    close([g.data for g in mg.grad(back, [*cell.parameters().values(), xs], cotangent=c)], grads)


def test_full_lengths_are_no_lengths_and_what_lies_behind_a_length_does_not_matter(cell):
    ys, grads = gradients(cell, XS)
    full, again = gradients(cell, XS, lengths=[T] * B)
    close([full, *again], [ys, *grads])
    lengths = np.array([7, 3, 1, 5, 0])
    other = np.where((np.arange(T)[:, None] < lengths)[..., None], XS, 100 * XS)
    ys, grads = gradients(cell, XS, lengths=lengths)
    close([*gradients(cell, other, lengths=lengths)[1]], grads)
    assert not grads[-1][np.arange(T)[:, None] >= lengths].any()


def test_recomputing_gives_the_same_bits(cell):
    ys, grads = gradients(cell, XS)
    again, recomputed = gradients(cell, XS, checkpoint_every=3)
    assert np.array_equal(ys, again) and all(np.array_equal(a, b) for a, b in zip(grads, recomputed))


@pytest.mark.parametrize("number", range(60))
def test_random_programs_are_linear_in_their_weights_and_add_up(number):
    """∇(2p - 3q) = 2∇p - 3∇q, for two losses of one graph, by one walk and by two; and a walk of both roots at once."""
    program = Program(number, length=12)
    leaves = [mg.parameter(a.astype(float)) for a in program.leaves]
    with np.errstate(all="ignore"):
        values, total = program.run(leaves)
    other = sum(((v * 0.5).sum() for v in values if isinstance(v, mg.Tensor)), 0.0)
    one, two = mg.grad(total, leaves), mg.grad(other, leaves)
    both = mg.grad(2 * total - 3 * other, leaves)
    for g, h, found in zip(one, two, both):
        wanted, size = 2 * g.data - 3 * h.data, 2 * np.abs(g.data) + 3 * np.abs(h.data)
        assert (np.abs(found.data - wanted) <= 1e-9 * (size.max(initial=0) + 1)).all()


def test_backward_twice_adds_up_and_grad_leaves_no_trace():
    cell = made("GRUCell")
    ys, _ = mg.unroll(cell, XS)
    loss = (ys * ys).sum()
    found = mg.grad(loss, list(cell.parameters().values()))
    assert all(p.grad is None for p in cell.parameters().values())
    loss.backward()
    loss.backward()
    for p, g in zip(cell.parameters().values(), found):
        assert np.array_equal(p.grad, 2 * g.data)


def test_elementwise_ops_see_each_element_alone():
    """Permuting in is permuting out, and a batch is its rows."""
    x, order = rng.uniform(0.5, 1.5, (6, 3)), rng.permutation(6)
    count = 0
    for name, op in TABLE.items():
        if op.call is None and op.compose is None and len(op.rules) == 1 and not op.saves and name not in ("inv", "matrix_exp"):
            y, permuted, row = (record(op, (mg.parameter(a),)).data for a in (x, x[order], x[2]))
            assert np.allclose(y[order], permuted, rtol=1e-14) and np.allclose(y[2], row, rtol=1e-14), name
            count += 1
    assert count > 10
