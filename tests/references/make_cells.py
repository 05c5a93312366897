"""Make the committed references of the cells in simple/ and gated/ that have no layer of torch's: a small ``.npz`` per case.

    python -m tests.references.make_cells [case ...]

The authors' equations, in their own convention (column vectors, W x, a matrix per gate), on what is independent of us: torch's
autograd, its ``layer_norm`` and its ``parametrizations.orthogonal``; for the LSTM with peepholes the reference implementation
of the ONNX operator (forward only, package ``onnx``). The tests read the files, so the comparison needs neither; where torch is
installed, they call ``reference(case)`` as well and compare live.

float64, all sizes differ, weights 0.7 randn, nothing is zero. A file holds, besides the case's own parameters:

    X (T, B, D), h0 [, c0] (B, H)       inputs and initial states
    ys (T, B, H), h [, c] (B, H)        outputs and last states
    G_ys, G_h [, G_c]                   their cotangents: sum(G_ys * ys) + sum(G_h * h) [+ ...] is differentiated
    d_X, d_h0, d_<parameter>, ...       the gradients of everything that goes in
    versions                            what made the numbers
"""
import pathlib
import platform
import sys

import numpy as np

FOLDER = pathlib.Path(__file__).parent
B, T, D, H = 3, 5, 4, 6
PERIODS = (1, 2, 3)


def inputs(case):
    """The arrays that go in, from a generator seeded by the case's name."""
    rng = np.random.default_rng(list(case.encode()))
    shapes = {"X": (T, B, D), "h0": (B, H)}
    if case in ("mgu", "janet"):
        gates = "fh" if case == "mgu" else "fc"
        shapes.update({f"{kind}_{g}": shape for g in gates for kind, shape in (("W", (H, D)), ("U", (H, H)), ("b", (H,)))})
    elif case.startswith("layer_norm"):
        shapes.update(c0=(B, H), W_x=(4 * H, D), W_h=(4 * H, H), alpha_1=(4 * H,), alpha_2=(4 * H,), b=(4 * H,))
        if not case.endswith("plain"):
            shapes.update(alpha_3=(H,), beta_3=(H,))
    elif case.startswith("orthogonal"):
        shapes.update(L=(H, H), T=(H, D), b=(H,))
    elif case == "clockwork":
        shapes.update(W_H=(H, H), W_I=(H, D), b=(H,))
    else:
        shapes.update(c0=(B, H), W=(1, 4 * H, D), R=(1, 4 * H, H), B=(1, 8 * H), P=(1, 3 * H))
    return {name: 0.7 * rng.standard_normal(shape) for name, shape in shapes.items()}


# ---- the equations, for one column vector per row of the batch ---------------------------------------------------------

def mgu(a):
    """Zhou et al. 2016, section 3: f, then h tilde with f ⊙ h, then the mixture."""
    import torch
    h, ys = a["h0"], []
    for x in a["X"]:
        f = torch.sigmoid(x @ a["W_f"].T + h @ a["U_f"].T + a["b_f"])
        tilde = torch.tanh(x @ a["W_h"].T + (f * h) @ a["U_h"].T + a["b_h"])
        h = (1 - f) * h + f * tilde
        ys.append(h)
    return {"ys": torch.stack(ys), "h": h}


def janet(a, beta=1.0):
    """van der Westhuizen & Lasenby 2018, the final form, with β."""
    import torch
    c, ys = a["h0"], []
    for x in a["X"]:
        s = x @ a["W_f"].T + c @ a["U_f"].T + a["b_f"]
        tilde = torch.tanh(x @ a["W_c"].T + c @ a["U_c"].T + a["b_c"])
        c = torch.sigmoid(s) * c + (1 - torch.sigmoid(s - beta)) * tilde
        ys.append(c)
    return {"ys": torch.stack(ys), "h": c}


def layer_norm_lstm(a):
    """Ba et al. 2016, equations 20 to 22; the gates here in the order f, i, o, g, as they stand there."""
    import torch
    from torch.nn.functional import layer_norm
    h, c, ys = a["h0"], a["c0"], []
    for x in a["X"]:
        gates = layer_norm(h @ a["W_h"].T, (4 * H,), a["alpha_1"]) + layer_norm(x @ a["W_x"].T, (4 * H,), a["alpha_2"]) + a["b"]
        f, i, o, g = gates.chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(layer_norm(c, (H,), a["alpha_3"], a["beta_3"]) if "alpha_3" in a else c)
        ys.append(h)
    return {"ys": torch.stack(ys), "h": h, "c": c}


def orthogonal(a, method):
    """torch's own orthogonal matrix; modReLU as in the authors' code."""
    import torch
    layer = torch.nn.utils.parametrizations.orthogonal(torch.nn.Linear(H, H, bias=False, dtype=torch.float64),
                                                       orthogonal_map=method, use_trivialization=False)
    h, ys = a["h0"], []
    for x in a["X"]:
        z = x @ a["T"].T + torch.func.functional_call(layer, {"parametrizations.weight.original": a["L"]}, h)
        h = torch.sign(z) * torch.relu(torch.abs(z) + a["b"])
        ys.append(h)
    return {"ys": torch.stack(ys), "h": h}


def clockwork(a):
    """Koutník et al. 2014: t counts from 0; module i takes part when t mod T_i = 0, and hears the modules j ≥ i."""
    import torch
    n = H // len(PERIODS)
    h, ys = a["h0"], []
    for t, x in enumerate(a["X"]):
        parts = []
        for i, period in enumerate(PERIODS):
            rows = slice(i * n, (i + 1) * n)
            if t % period == 0:
                parts.append(torch.tanh(h[:, i * n:] @ a["W_H"][rows, i * n:].T + x @ a["W_I"][rows].T + a["b"][rows]))
            else:
                parts.append(h[:, rows])
        h = torch.cat(parts, dim=1)
        ys.append(h)
    return {"ys": torch.stack(ys), "h": h}


def onnx_peepholes(a):
    """The ONNX operator LSTM with its input P, by onnx.reference; forward only."""
    import onnx
    from onnx.reference import ReferenceEvaluator
    names = ["X", "W", "R", "B", "", "h0", "c0", "P"]
    node = onnx.helper.make_node("LSTM", names, ["ys", "h", "c"], hidden_size=H)
    double = onnx.TensorProto.DOUBLE
    graph = onnx.helper.make_graph([node], "lstm", [onnx.helper.make_tensor_value_info(n, double, None) for n in names if n],
                                   [onnx.helper.make_tensor_value_info(n, double, None) for n in ("ys", "h", "c")])
    run = ReferenceEvaluator(onnx.helper.make_model(graph)).run
    feeds = {n: a[n][None] if n in ("h0", "c0") else a[n] for n in names if n}
    ys, h, c = run(None, feeds)
    return {"ys": ys[:, 0], "h": h[0], "c": c[0]}


RUN = {"mgu": mgu, "janet": janet, "layer_norm_lstm": layer_norm_lstm, "layer_norm_lstm_plain": layer_norm_lstm,
       "orthogonal_exp": lambda a: orthogonal(a, "matrix_exp"), "orthogonal_cayley": lambda a: orthogonal(a, "cayley"),
       "clockwork": clockwork, "onnx_peepholes": onnx_peepholes}


def reference(case):
    """All arrays of the case (see the module's docstring)."""
    arrays = inputs(case)
    if case.startswith("onnx"):
        return {**arrays, **onnx_peepholes(arrays)}
    import torch
    a = {name: torch.tensor(array, requires_grad=True) for name, array in arrays.items()}
    rng, total = np.random.default_rng(1), 0
    for name, output in RUN[case](a).items():
        arrays["G_" + name] = rng.standard_normal(tuple(output.shape))
        total = total + (torch.tensor(arrays["G_" + name]) * output).sum()
        arrays[name] = output.detach().numpy()
    total.backward()
    arrays.update({"d_" + name: tensor.grad.numpy() for name, tensor in a.items()})
    return arrays


def versions(case):
    """One line that says what made the numbers."""
    module = __import__("onnx" if case.startswith("onnx") else "torch")
    return f"{module.__name__} {module.__version__}, numpy {np.__version__}, Python {platform.python_version()}"


if __name__ == "__main__":
    for case in sys.argv[1:] or RUN:
        path = FOLDER / f"{case}.npz"
        np.savez_compressed(path, versions=np.array(versions(case)), **reference(case))
        print(f"{path.name:32s} {path.stat().st_size / 1024:5.1f} KiB   {versions(case)}")
