"""Wrappers around any cell: each against the same thing done by hand around the cell, for every kind of cell."""
import copy

import numpy as np
import pytest

import minigrad as mg
from minigrad.nested import flatten, rebuild
from minigrad.recurrent.wrappers import WithMask, dropout, learned_start, masked, normalized, projected, residual, zoneout

T, B, D = 6, 3, 4
XS = np.random.default_rng(2).standard_normal((T, B, D))


def function_cell(rng):
    """A plain function: a dict as state, with a slow average and a counter; its output is no part of the state."""
    W = mg.parameter(rng.standard_normal((D, D)))

    def cell(x, state):
        h = np.tanh(x @ W + state["slow"][0])
        return 2 * h, {"slow": [0.9 * state["slow"][0] + 0.1 * h], "h": h, "count": state["count"] + 1}
    cell.initial_state = lambda n: {"slow": [mg.Tensor(np.full((n, D) if n else D, 0.3))], "h": mg.Tensor(np.zeros((n, D) if n else D)),
                                    "count": mg.Tensor(np.zeros(n or (), int))}
    return cell


CELLS = {"RNN": lambda rng: mg.RNNCell(D, D, rng=rng), "LSTM": lambda rng: mg.LSTMCell(D, D, rng=rng), "function": function_cell,
         "stacked": lambda rng: mg.stacked(mg.LSTMCell(D, 5, rng=rng), mg.GRUCell(5, D, rng=rng))}


@pytest.fixture(params=CELLS)
def cell(request):
    return CELLS[request.param](np.random.default_rng(1))


def floating(s):
    return s.dtype.kind == "f"


def by_hand(cell, before=lambda x, state: (x, state), after=lambda x, y, old, new: (y, new)):
    """The plain loop, with arrays only: what ``before`` and ``after`` do to (x, state) and (y, state) is all the wrapper should do."""
    state, ys = cell.initial_state(B), []
    for x in XS:
        old = [s.data for s in flatten(state)]
        x, given = before(x, old)
        y, new = cell(mg.Tensor(x), rebuild(state, [mg.Tensor(s) for s in given]))
        shown = [s is y for s in flatten(new)]
        y, leaves = after(x, y.data, old, [s.data for s in flatten(new)])
        if any(shown) and y is None:
            y = leaves[shown.index(True)]
        ys.append(y)
        state = rebuild(new, [mg.Tensor(s) for s in leaves])
    return np.stack(ys), [s.data for s in flatten(state)]


def agree(wrapper, want):
    ys, state = mg.unroll(wrapper, XS)
    leaves = flatten(state.state if isinstance(state, WithMask) else state)
    assert np.allclose(ys.data, want[0], rtol=1e-14, atol=1e-16)
    assert len(leaves) == len(want[1]) and all(np.allclose(s.data, w, rtol=1e-14, atol=1e-16) for s, w in zip(leaves, want[1]))
    assert ys.data.std() > 0


def same(wrapper, cell):
    """The wrapper computes what the cell computes, bit by bit."""
    (ys, state), (want, start) = mg.unroll(wrapper, XS), mg.unroll(cell, XS)
    leaves = flatten(state.state if isinstance(state, WithMask) else state)
    assert np.array_equal(ys.data, want.data) and all(np.array_equal(a.data, b.data) for a, b in zip(leaves, flatten(start)))


# ---- zoneout -----------------------------------------------------------------------------------------------------------
def zoned(cell, keep):
    """``keep(i, s)`` says what of part i stays: a mask, or a probability for the mean."""
    def after(x, y, old, new):
        leaves = [new[i] if not floating(s) else np.where(k, s, new[i]) if (k := keep(i, s)) is not None and np.ndim(k)
                  else k * s + (1 - k) * new[i] for i, s in enumerate(old)]
        shown = [i for i, s in enumerate(new) if s is y or np.shares_memory(s, y)]
        return (leaves[shown[0]] if shown else y), leaves
    return by_hand(cell, after=after)


def test_zoneout_keeps_old_values_where_its_mask_says(cell):
    rng = np.random.default_rng(7)
    agree(zoneout(cell, 0.4, rng=np.random.default_rng(7)), zoned(cell, lambda i, s: rng.random(s.shape) < 0.4))


def test_zoneout_takes_the_mean_when_it_does_not_train(cell):
    wrapper = zoneout(cell, 0.4).eval()
    agree(wrapper, zoned(cell, lambda i, s: 0.4))
    before = copy.deepcopy(wrapper.rng.bit_generator.state)
    mg.unroll(wrapper, XS)
    assert wrapper.rng.bit_generator.state == before


def test_zoneout_of_nothing_and_of_everything(cell):
    same(zoneout(cell, 0), cell)
    same(zoneout(cell, 0.0).eval(), cell)
    for wrapper in (zoneout(cell, 1), zoneout(cell, 1.0).eval()):
        _, state = mg.unroll(wrapper, XS)
        for s, start in zip(flatten(state), flatten(cell.initial_state(B))):
            assert np.array_equal(s.data, start.data) == floating(s)         # a counter goes on


def test_zoneout_of_an_lstm_as_the_paper_has_it():
    """Krueger et al. (2016), section 3.1: c_t and h_t are zoned with rates of their own, and h̃_t is computed from the c̃_t that is not."""
    cell = mg.LSTMCell(D, D, rng=np.random.default_rng(1))
    p = {n: a.data for n, a in cell.parameters().items()}
    rng, h, c, want = np.random.default_rng(7), np.zeros((B, D)), np.zeros((B, D)), []
    for x in XS:
        i, f, g, o = np.split(x @ p["W_x"] + h @ p["W_h"] + p["b"], 4, axis=-1)
        i, f, o = (1 / (1 + np.exp(-a)) for a in (i, f, o))
        new_c = f * c + i * np.tanh(g)
        d_h, d_c = rng.random((B, D)) < 0.2, rng.random((B, D)) < 0.6
        h, c = np.where(d_h, h, o * np.tanh(new_c)), np.where(d_c, c, new_c)
        want.append(h)
    ys, (last, _) = mg.unroll(zoneout(cell, (0.2, 0.6), rng=np.random.default_rng(7)), XS)
    assert np.allclose(ys.data, want, rtol=1e-13) and np.array_equal(last.data, ys.data[-1])


# ---- dropout -----------------------------------------------------------------------------------------------------------
def test_dropout_of_the_output_leaves_the_state(cell):
    rng = np.random.default_rng(7)
    agree(dropout(cell, 0.4, rng=np.random.default_rng(7)),
          by_hand(cell, after=lambda x, y, old, new: (y * (rng.random(y.shape) >= 0.4) / 0.6, new)))


def test_dropout_of_the_input(cell):
    rng = np.random.default_rng(7)
    agree(dropout(cell, 0.4, on="input", rng=np.random.default_rng(7)),
          by_hand(cell, before=lambda x, s: (x * (rng.random(x.shape) >= 0.4) / 0.6, s)))


def test_dropout_of_the_state(cell):
    rng = np.random.default_rng(7)
    agree(dropout(cell, 0.4, on="state", rng=np.random.default_rng(7)),
          by_hand(cell, before=lambda x, old: (x, [s * (rng.random(s.shape) >= 0.4) / 0.6 if floating(s) else s for s in old])))


def test_variational_dropout_has_one_mask_for_the_whole_sequence(cell):
    rng = np.random.default_rng(7)
    masks = [(rng.random(s.shape) >= (0.4 if floating(s) else 0)) / (0.6 if floating(s) else 1) for s in flatten(cell.initial_state(B))]
    wrapper = dropout(cell, 0.4, on="state", per="sequence", rng=np.random.default_rng(7))
    agree(wrapper, by_hand(cell, before=lambda x, old: (x, [(s * m).astype(s.dtype) for s, m in zip(old, masks)])))
    one, two = (mg.unroll(wrapper, XS)[1] for _ in range(2))
    assert any((a.data != b.data).any() for a, b in zip(one.mask, two.mask))                    # the next sequence has another
    again, on = mg.unroll(wrapper, XS, one)                                                     # a sequence that goes on keeps its own
    assert all(a is b for a, b in zip(on.mask, one.mask))


@pytest.mark.parametrize("on", ["input", "output"])
def test_variational_dropout_of_inputs_and_outputs(cell, on):
    rng = np.random.default_rng(7)
    m = (rng.random((B, D)) >= 0.4) / 0.6
    agree(dropout(cell, 0.4, on=on, per="sequence", size=D, rng=np.random.default_rng(7)),
          by_hand(cell, before=lambda x, s: (x * m if on == "input" else x, s), after=lambda x, y, o, new: (y * m if on == "output" else y, new)))


@pytest.mark.parametrize("how", [{}, {"on": "input"}, {"on": "state"}, {"on": "state", "per": "sequence"}, {"per": "sequence", "size": D},
                                 {"on": "input", "per": "sequence", "size": D}], ids=str)
def test_dropout_does_nothing_without_training_or_at_zero(cell, how):
    same(dropout(cell, 0.4, **how).eval(), cell)
    same(dropout(cell, 0, **how), cell)


def test_dropout_keeps_the_mean_and_float32():
    x = np.ones((1, 200_000), np.float32)
    ys, _ = mg.unroll(dropout(lambda x, s: (x, s), 0.3), x[None], ())
    assert ys.dtype == np.float32 and abs(ys.data.mean() - 1) < 0.005 and set(np.unique(ys.data)) == {0, np.float32(1 / 0.7)}


def test_gal_and_ghahramani_by_nesting_without_a_batch_and_with_lengths():
    cell = mg.LSTMCell(D, D)
    net = dropout(dropout(cell, 0.3, on="input", per="sequence", size=D), (0.3, 0), on="state", per="sequence")
    _, state = mg.unroll(net, XS, lengths=[6, 2, 0])
    assert isinstance(state.state, WithMask) and state.state.mask[0].shape == (B, D) and state.mask[1].data.all()
    _, alone = mg.unroll(net, XS[:, 0])
    assert alone.mask[0].shape == (D,)


# ---- what the cell shows -------------------------------------------------------------------------------------------------
def test_residual(cell):
    agree(residual(cell), by_hand(cell, after=lambda x, y, old, new: (x + y, new)))


def test_projected(cell):
    wrapper = projected(cell, D, 2, rng=np.random.default_rng(3))
    agree(wrapper, by_hand(cell, after=lambda x, y, old, new: (y @ wrapper.W_p.data, new)))
    assert wrapper.W_p.shape == (D, 2) and abs(wrapper.W_p.data).max() <= D ** -0.5


def test_normalized(cell):
    wrapper = normalized(cell, D)
    wrapper.gain.data, wrapper.bias.data = np.arange(1.0, D + 1), np.ones(D)

    def after(x, y, old, new):
        d = y - y.mean(-1, keepdims=True)
        return d / np.sqrt((d * d).mean(-1, keepdims=True) + 1e-5) * np.arange(1, D + 1) + 1, new
    agree(wrapper, by_hand(cell, after=after))


# ---- masks and initial states ----------------------------------------------------------------------------------------------
def test_masked_is_lengths_where_the_mask_is_padding(cell):
    lengths = np.array([6, 2, 0])
    xs = XS.copy()
    for row, n in enumerate(lengths):
        xs[n:, row] = np.nan                # has no say
    mask = np.arange(T)[:, None] < lengths
    x = mg.parameter(np.concatenate([xs, mask[..., None]], axis=-1))
    ys, state = mg.unroll(masked(cell), x)
    want, last = mg.unroll(cell, XS, lengths=lengths)
    ys.sum().backward()
    assert not x.grad[2:, 1:].any() and np.isfinite(x.grad).all()
    assert np.array_equal(ys.data, want.data) and all(np.array_equal(a.data, b.data) for a, b in zip(flatten(state), flatten(last)))


def test_masked_skips_gaps_as_if_they_were_not_there(cell):
    keep = [0, 2, 3, 5]
    mask = np.isin(np.arange(T), keep)[:, None, None] * np.ones((T, B, 1))
    x = mg.parameter(np.concatenate([XS, mask], axis=-1))
    ys, state = mg.unroll(masked(cell), x)
    want, last = mg.unroll(cell, XS[keep])
    assert np.allclose(ys.data[keep], want.data, rtol=1e-14) and not ys.data[[1, 4]].any()
    assert all(np.allclose(a.data, b.data, rtol=1e-14) for a, b in zip(flatten(state), flatten(last)))
    ys.sum().backward()
    assert not x.grad[[1, 4]].any() and x.grad[0, :, :D].all() and not x.grad[..., D].any()


def test_masked_without_a_batch():
    cell = mg.LSTMCell(D, D)
    ys, _ = mg.unroll(masked(cell), np.concatenate([XS[:, 0], [[1], [0]] * 3], axis=-1))
    assert np.allclose(ys.data[::2], mg.unroll(cell, XS[::2, 0])[0].data, rtol=1e-14)


def test_a_learned_start_begins_where_the_cell_does_and_is_trained(cell):
    wrapper = learned_start(cell)
    same(wrapper, cell)
    start = [p for name, p in wrapper.parameters().items() if name.startswith("start")]
    assert len(start) == sum(map(floating, flatten(cell.initial_state(B))))
    (mg.unroll(wrapper, XS)[0] ** 2).sum().backward()
    for p in start:                     # the gradient is that of a state without a batch, summed over the rows
        assert p.shape == (p.size,)
        row, step = 0, 1e-6
        up, down = p.data.copy(), p.data.copy()
        up[row], down[row] = up[row] + step, down[row] - step
        values = []
        for v in (up, down):
            p.data = v
            values.append((mg.unroll(wrapper, XS)[0].data ** 2).sum())
        assert np.isclose((values[0] - values[1]) / (2 * step), 0 if p.grad is None else p.grad[row], rtol=1e-6, atol=1e-7)
        p.data = (up + down) / 2
    one = [s.data for s in flatten(mg.unroll(wrapper, XS[:, 0])[1])]
    assert all(np.allclose(a, s.data[0]) for a, s in zip(one, flatten(mg.unroll(wrapper, XS)[1])))


def test_a_learned_start_trains_no_integers():
    def cell(x, state):
        h = np.tanh(x + state["h"])
        return h, {"h": h, "recent": state["recent"]}
    for start in (None, {"h": np.zeros(D), "recent": np.zeros(2, int)}):
        cell.initial_state = lambda n: {"h": mg.Tensor(np.zeros((n, D))), "recent": mg.Tensor(np.zeros((n, 2), int))}
        wrapper = learned_start(cell, start)
        _, state = mg.unroll(wrapper, XS)
        assert list(wrapper.parameters()) == ["start.h"] and state["recent"].shape == (B, 2) and state["recent"].dtype.kind == "i"


def test_a_learned_start_for_a_function_and_within_dropout():
    W = mg.parameter(np.eye(D))
    cell = learned_start(lambda x, h: (np.tanh(x @ W + h),) * 2, np.full(D, 0.5))
    ys, _ = mg.unroll(dropout(cell, 0.5, on="state", per="sequence"), XS)
    ys.sum().backward()
    assert cell.start.grad.shape == (D,) and list(cell.parameters()) == ["start"]
    assert np.array_equal(mg.unroll(cell, XS)[0].data[0], np.tanh(XS[0] + 0.5))


# ---- all of them -----------------------------------------------------------------------------------------------------------
WRAPPERS = {
    "zoneout": lambda c: zoneout(c, 0.3), "zoneout, mean": lambda c: zoneout(c, 0.3).eval(),
    "dropout": lambda c: dropout(c, 0.3), "variational": lambda c: dropout(c, 0.3, on="state", per="sequence"),
    "residual": residual, "projected": lambda c: projected(c, D, D), "normalized": lambda c: normalized(c, D), "masked": masked,
    "learned_start": learned_start,
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_gradients_against_complex_step(cell, name):
    """Every run draws the same numbers: a copy of the wrapper's generator each time."""
    wrapper = WRAPPERS[name](cell)
    drawn = copy.deepcopy(wrapper.rng) if hasattr(wrapper, "rng") else None

    def outputs(x):
        if drawn is not None:
            wrapper.rng = copy.deepcopy(drawn)
        if name == "masked":
            x = np.concatenate([x, np.array([1, 0, 1])[:, None, None] * np.ones((3, B, 1))], axis=-1)
        ys, state = mg.unroll(wrapper, x)
        return (ys, *(s for s in flatten(state) if s.requires_grad))
    report = mg.check.gradcheck(outputs, [XS[:3]])
    assert report.ok and all(row.error < 1e-12 and not row.note for row in report.rows), report
    if drawn is None and name != "masked":
        assert not wrapper.parameters() or mg.check.gradcheck(lambda: mg.unroll(wrapper, XS[:3])[0], wrapper).ok


@pytest.mark.parametrize("name", WRAPPERS)
def test_in_stacked_without_a_batch_in_float32_saved_and_loaded(name, tmp_path):
    def make(seed):
        rng = np.random.default_rng(seed)
        kept = {"projected": lambda c: projected(c, D, D, dtype=np.float32), "normalized": lambda c: normalized(c, D, dtype=np.float32)}
        cells = [mg.LSTMCell(D, D, rng=rng, dtype=np.float32), mg.RNNCell(D + (name == "masked"), D, rng=rng, dtype=np.float32)]
        wrap = kept.get(name, WRAPPERS[name])
        return mg.stacked(cells[0], wrap(cells[1]) if name != "masked" else cells[1]) if name != "masked" else mg.stacked(masked(cells[0]))
    one, two = make(1), make(2)
    mg.save(tmp_path / "a.npz", one)
    two.load_state_dict(mg.load(tmp_path / "a.npz"))
    xs = XS[:, 0].astype(np.float32) if name != "masked" else np.ones((T, D + 1), np.float32)
    (a, state), (b, _) = (mg.unroll(net.eval(), xs) for net in (one, two))
    assert a.dtype == np.float32 and np.array_equal(a.data, b.data)
    a.sum().backward()
    assert all(p.grad.dtype == np.float32 for p in one.parameters().values())


def test_names_in_messages_and_pictures():
    net = mg.stacked(residual(mg.LSTMCell(D, D)), zoneout(mg.RNNCell(D, D), 0.1))
    with pytest.raises(ValueError, match=r"stacked\(residual\(LSTMCell\), zoneout\(RNNCell\)\) changed its state at t=1"):
        mg.unroll(net, XS, net.initial_state(1))
    ys, _ = mg.unroll(net, XS)
    assert {"i", "f", "c"} <= {n.name for n in mg.graph.Graph.of(ys).nodes}        # the inner cell's names


# ---- bad input -------------------------------------------------------------------------------------------------------------
RNN, NET = mg.RNNCell(D, D), mg.bidirectional(mg.RNNCell(D, D), mg.RNNCell(D, D))


def bare(x, h):
    return h, h


@pytest.mark.parametrize("make, kind, message", [
    (lambda: zoneout(RNN, 1.5), ValueError, "zoneout got p=1.5; expected a probability, 0 … 1"),
    (lambda: zoneout(RNN, True), ValueError, "zoneout got p=True"),
    (lambda: zoneout(RNN, 0.1, rng=3), TypeError, "rng must be a numpy.random.Generator, got int"),
    (lambda: zoneout(0.1, RNN), TypeError, r"zoneout got float as cell; expected a callable y, state = cell\(x, state\)"),
    (lambda: dropout(RNN, 1), ValueError, "dropout got p=1 on the output; expected a probability below 1"),
    (lambda: dropout(RNN, (0.1, 0.2)), ValueError, r"dropout got p=\(0.1, 0.2\) on the output"),
    (lambda: dropout(RNN, 0.1, on="gates"), ValueError, "got on='gates', per='step'; expected on='input', 'output' or 'state'"),
    (lambda: dropout(RNN, 0.1, per="batch"), ValueError, "per='step' or 'sequence'"),
    (lambda: dropout(RNN, 0.1, per="sequence"), TypeError, "dropout on the output with one mask per sequence needs size="),
    (lambda: dropout(RNN, 0.1, per="sequence", size=0), ValueError, "dropout got size=0"),
    (lambda: projected(RNN, D, 0), ValueError, "projected got size=0"),
    (lambda: mg.unroll(zoneout(RNN, (0.1, 0.2)), XS), ValueError,
     r"zoneout\(RNNCell\) got p=\(0.1, 0.2\) for a state of 1 floating parts; expected one number, or one for each part"),
    (lambda: mg.unroll(dropout(RNN, 0.1, per="sequence", size=7), XS), ValueError,
     r"dropout\(RNNCell\) has a mask of size 7 for the output of shape \(3, 4\)"),
    (lambda: mg.unroll(dropout(RNN, 0.1, on="state", per="sequence"), XS, RNN.initial_state(B)), ValueError,
     r"got a Tensor as state; expected what its initial_state makes, WithMask\(state, mask\)"),
    (lambda: mg.unroll(residual(mg.RNNCell(D, 7)), XS), ValueError,
     r"residual\(RNNCell\) adds its input of shape \(3, 4\) to the cell's output of shape \(3, 7\).*residual\(projected\("),
    (lambda: mg.unroll(zoneout(bare, 0.1), XS), TypeError,
     r"zoneout\(bare\): bare has no initial_state\(batch_size\); pass state= to unroll, or give it one: bare.initial_state = lambda"),
    (lambda: learned_start(bare), TypeError, r"learned_start\(bare\): bare has no initial_state"),
    (lambda: mg.unroll(masked(RNN), (XS, XS), mg.Tensor(np.zeros((B, D)))), TypeError,
     r"masked\(RNNCell\) got a tuple as x; expected one array whose last column is the mask"),
    (lambda: mg.stacked(NET, RNN), TypeError,
     r"stacked\(\) got bidirectional, which reads a whole sequence.*run it first, ys, _ = net\(xs\), and the next layer on its output"),
    (lambda: residual(NET), TypeError, "residual got bidirectional, which reads a whole sequence"),
    (lambda: mg.bidirectional(NET, RNN), TypeError, r"bidirectional\(\) got bidirectional, which reads"),
    (lambda: mg.unroll(NET, XS), TypeError, "unroll got bidirectional, which reads a whole sequence"),
])
def test_bad_input(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_learned_start_of_a_state_that_is_an_array():
    class Plain(mg.RNNCell):
        def initial_state(self, batch_size=None):
            return np.ones((batch_size, D))
    cell = learned_start(Plain(D, D))
    ys, _ = mg.unroll(cell, XS)
    assert cell.start.data.tolist() == [1.0] * D
    assert np.array_equal(ys.data, mg.unroll(cell.cell, XS, mg.Tensor(np.ones((B, D))))[0].data)


def test_a_function_without_initial_state_takes_the_state_of_unroll():
    ys, h = mg.unroll(zoneout(lambda x, h: (np.tanh(x + h),) * 2, 0.5), XS, mg.Tensor(np.zeros((B, D))))
    assert ys.shape == (T, B, D) and np.array_equal(ys.data[-1], h.data)
