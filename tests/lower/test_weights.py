"""Weights of torch.nn.RNN, GRU and LSTM, both ways."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.lower import from_torch_weights, to_torch_weights

KINDS = {"RNN": mg.RNNCell, "LSTM": mg.LSTMCell, "GRU": mg.GRUCell}
rng = np.random.default_rng(3)


@pytest.mark.parametrize("net", ["one", "two layers", "two directions", "no bias"])
@pytest.mark.parametrize("theirs", KINDS)
def test_of_torch_and_back(theirs, net):
    torch = pytest.importorskip("torch", reason="torch's own modules are the reference: pip install 'minigrad[peers]'")
    make, options = KINDS[theirs], {"two layers": {"num_layers": 2}, "two directions": {"bidirectional": True}, "no bias": {"bias": False}}.get(net, {})
    ours = mg.stacked(make(5, 6), make(6, 6)) if net == "two layers" else mg.bidirectional(make(5, 6), make(5, 6)) if "directions" in net else make(5, 6)
    module, xs = getattr(torch.nn, theirs)(5, 6, dtype=torch.float64, **options), rng.standard_normal((4, 3, 5))
    assert from_torch_weights(ours, module.state_dict()) is ours
    expected = module(torch.tensor(xs))[0].detach().numpy()
    ys = (ours(xs) if "directions" in net else mg.unroll(ours, xs))[0].data
    assert np.abs(ys - expected).max() <= 1e-12 * np.abs(expected).max()
    fresh = getattr(torch.nn, theirs)(5, 6, dtype=torch.float64, **{**options, "bias": True})
    fresh.load_state_dict({name: torch.tensor(array) for name, array in to_torch_weights(ours).items()})
    assert np.abs(fresh(torch.tensor(xs))[0].detach().numpy() - expected).max() <= 1e-12 * np.abs(expected).max()


@pytest.mark.parametrize("cls", KINDS.values())
def test_there_and_back_leaves_a_cell_as_it_was(cls):
    a, b = cls(3, 4, rng=np.random.default_rng(1)), cls(3, 4, rng=np.random.default_rng(2))
    taken = to_torch_weights(a)
    assert taken["weight_ih_l0"].flags.c_contiguous and not np.shares_memory(taken["weight_ih_l0"], a.W_x.data)
    from_torch_weights(b, taken)
    for p, q in zip(a.parameters().values(), b.parameters().values()):
        assert np.array_equal(p.data, q.data)
    before = b.state_dict()
    with pytest.raises(ValueError, match="weight_ih_l1.*no such layer in this net of l0;.*stack"):
        from_torch_weights(b, to_torch_weights(mg.stacked(cls(3, 4), cls(4, 4))))
    assert all(np.array_equal(before[n], array) for n, array in b.state_dict().items())


def test_two_directions_are_one_layer_and_its_reverse():
    a, b = (mg.bidirectional(mg.GRUCell(3, 4, rng=np.random.default_rng(seed)), mg.GRUCell(3, 4, rng=np.random.default_rng(seed + 1))) for seed in (1, 5))
    taken = to_torch_weights(a)
    assert set(taken) == {f"{name}_l0{end}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh") for end in ("", "_reverse")}
    assert np.array_equal(taken["weight_hh_l0_reverse"][:4], a.backward.W_h.data.T[:4])        # torch's first gate is the cell's
    from_torch_weights(b, taken)
    assert all(np.array_equal(p.data, q.data) for p, q in zip(a.parameters().values(), b.parameters().values()))


@pytest.mark.parametrize("call, message", [
    (lambda: to_torch_weights(mg.MGUCell(2, 3)), "MGUCell has no counterpart in torch.nn"),
    (lambda: to_torch_weights(mg.LSTMCell(2, 3, peepholes=True)), "LSTMCell has no counterpart.*without peepholes"),
    (lambda: to_torch_weights(mg.GRUCell(2, 3, reset="before")), "GRUCell has no counterpart.*reset='after'"),
    (lambda: from_torch_weights(mg.RNNCell(2, 3), {"weight_ih_l0": np.ones((3, 2))}), "no weight_hh_l0 among weight_ih_l0"),
    (lambda: from_torch_weights(mg.RNNCell(2, 3), {"weight_hh_l0": np.ones((3, 3))}), "no weight_ih_l0 among weight_hh_l0"),
    (lambda: from_torch_weights(mg.RNNCell(2, 3), {"weight_ih_l0": np.ones((3, 5)), "weight_hh_l0": np.ones((3, 3))}),
     r"layer l0: got an array of shape \(5, 3\) for a parameter of shape \(2, 3\)")])
def test_one_clear_message_each(call, message):
    with pytest.raises(ValueError, match=message):
        call()
