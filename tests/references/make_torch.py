"""Make the committed references of the recurrent cells: PyTorch's outputs and gradients, a small ``.npz`` per case.

    python -m tests.references.make_torch

writes rnn_tanh, rnn_relu, gru_after, gru_before, lstm, lstm_lengths and gru_bidirectional_lengths next to this file and
prints the versions, which each file also stores. The tests read the files, so the comparison needs no torch; where
torch is installed, they call ``reference(case)`` as well and compare live.

Everything is float64 on a probe that hides no mistake: all sizes differ and none is 1 or 2, weights are 0.7 randn, and
neither biases nor initial states are zero. A file holds, in torch's own layout (gates stacked in rows):

    X (T, B, D), h0 [, c0] (B, H)                                        inputs and initial states
    weight_ih (gates H, D), weight_hh (gates H, H), bias_ih, bias_hh     parameters
    ys (T, B, H), h [, c] (B, H)                                         outputs and last states
    G_ys, G_h [, G_c]                     their cotangents: sum(G_ys * ys) + sum(G_h * h) [+ ...] is differentiated
    d_X, d_weight_ih, ..., d_h0 [, d_c0]  the gradients of everything that goes in
    versions                              what made the numbers

Names of the backward direction end in ``_reverse``; ys is (T, B, 2H) there.
"""
import pathlib
import platform

import numpy as np

FOLDER = pathlib.Path(__file__).parent
B, T, D, H = 3, 4, 5, 6
LENGTHS = (4, 2, 3)                                   # of the three rows, for the cases named *_lengths
GATES = {"rnn_tanh": 1, "rnn_relu": 1, "gru_after": 3, "gru_before": 3, "lstm": 4,
         "lstm_lengths": 4, "gru_bidirectional_lengths": 3}


def inputs(case):
    """The arrays that go in: X, parameters and initial states, from a generator seeded by the case's name."""
    rng = np.random.default_rng(list(case.encode()))
    rows = GATES[case] * H

    def one_direction(suffix=""):
        yield "weight_ih" + suffix, 0.7 * rng.standard_normal((rows, D))
        yield "weight_hh" + suffix, 0.7 * rng.standard_normal((rows, H))
        yield "bias_ih" + suffix, 0.7 * rng.standard_normal(rows)
        if case != "gru_before":                      # this variant has a single bias
            yield "bias_hh" + suffix, 0.7 * rng.standard_normal(rows)
        yield "h0" + suffix, 0.7 * rng.standard_normal((B, H))
        if case.startswith("lstm"):
            yield "c0" + suffix, 0.7 * rng.standard_normal((B, H))

    arrays = {"X": rng.standard_normal((T, B, D)), **dict(one_direction())}
    if "bidirectional" in case:
        arrays.update(one_direction("_reverse"))
    return arrays


def run(case, a):
    """The case on torch tensors ``a``: a dict of outputs ys (T, B, H or 2H) and last states h [and c] (B, H)."""
    import torch
    if case == "gru_before":
        return gru_reset_before(a)
    kind = {"r": torch.nn.RNN, "g": torch.nn.GRU, "l": torch.nn.LSTM}[case[0]]
    two = "bidirectional" in case
    options = {"nonlinearity": "relu"} if case == "rnn_relu" else {}
    layer = kind(D, H, bidirectional=two, dtype=torch.float64, **options)
    weights, suffixes = {}, ("", "_reverse") if two else ("",)
    for suffix in suffixes:
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            weights[f"{name}_l0{suffix}"] = a[name + suffix]
    state = torch.stack([a["h0" + s] for s in suffixes])
    if case.startswith("lstm"):
        state = state, a["c0"][None]
    x = a["X"]
    if case.endswith("lengths"):
        x = torch.nn.utils.rnn.pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
    ys, last = torch.func.functional_call(layer, weights, (x, state))
    if case.endswith("lengths"):
        ys, _ = torch.nn.utils.rnn.pad_packed_sequence(ys, total_length=T)
    if case.startswith("lstm"):
        return {"ys": ys, "h": last[0][0], "c": last[1][0]}
    return {"ys": ys, **{"h" + s: last[k] for k, s in enumerate(suffixes)}}


def gru_reset_before(a):
    """The first paper's variant, Keras' ``reset_after=False``: the reset gate acts before the product with W_hn."""
    import torch
    h, ys = a["h0"], []
    W_hr, W_hz, W_hn = a["weight_hh"].split(H)
    for x in a["X"]:
        x_r, x_z, x_n = (x @ a["weight_ih"].T + a["bias_ih"]).split(H, dim=1)
        r = torch.sigmoid(x_r + h @ W_hr.T)
        z = torch.sigmoid(x_z + h @ W_hz.T)
        n = torch.tanh(x_n + (r * h) @ W_hn.T)
        h = (1 - z) * n + z * h
        ys.append(h)
    return {"ys": torch.stack(ys), "h": h}


def versions():
    """One line that says what made the numbers."""
    import torch
    return f"torch {torch.__version__}, numpy {np.__version__}, Python {platform.python_version()}"


def reference(case):
    """All arrays of the case (see the module's docstring), computed with the torch that is installed."""
    import torch
    arrays = inputs(case)
    a = {name: torch.tensor(array, requires_grad=True) for name, array in arrays.items()}
    outputs = run(case, a)
    rng = np.random.default_rng(1)
    total = 0
    for name, output in outputs.items():
        arrays["G_" + name] = rng.standard_normal(tuple(output.shape))
        total = total + (torch.tensor(arrays["G_" + name]) * output).sum()
        arrays[name] = output.detach().numpy()
    total.backward()
    arrays.update({"d_" + name: tensor.grad.numpy() for name, tensor in a.items()})
    return arrays


if __name__ == "__main__":
    print(versions())
    for case in GATES:
        path = FOLDER / f"{case}.npz"
        np.savez_compressed(path, versions=np.array(versions()), **reference(case))
        print(f"{path.name:32s} {path.stat().st_size / 1024:5.1f} KiB")
