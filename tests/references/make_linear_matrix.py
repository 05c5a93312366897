"""Make the committed references of the cells in linear/ and matrix/ with other people's programs, a small ``.npz`` each.

    python -m tests.references.make_linear_matrix

    mingru, minlstm    minGRU-pytorch (its parallel form, in logarithms)
    rglru              transformers' RecurrentGemma
    slstm, mlstm       xlstm, the authors' package
    gated_deltanet     transformers' Qwen3-Next (its recurrent rule)

Each program computes the unit itself; the projections x W_x in front of it are one torch product in our layout. All in
float64: where a program fixes float32, the script says how it is lifted. The probe hides no mistake: sizes differ,
weights are 0.7 randn, biases and initial states are not zero. A file holds

    X (T, B, D); the cell's parameters under their names; state_0, state_1, … (the initial state's leaves)
    ys (T, B, H), last_0, last_1, …           outputs and last state
    G_ys, G_last_0, …                         their cotangents: sum(G_ys * ys) + sum(G_last_0 * last_0) + … is differentiated
    d_X, d_W_x, …, d_state_0, …               the gradients of everything that goes in
    versions                                  what made the numbers

The tests read the files; where a program is installed they also call ``reference(case)``. ``assert_same(case, a, cell)`` compares.
"""
import functools
import importlib.metadata
import importlib.util
import inspect
import pathlib
import types

import numpy as np

FOLDER = pathlib.Path(__file__).parent
B, T, D, H, N = 3, 4, 5, 6, 2                         # N heads of size 3
PACKAGES = {"mingru": "minGRU_pytorch", "minlstm": "minGRU_pytorch", "rglru": "transformers", "slstm": "xlstm",
            "mlstm": "xlstm", "gated_deltanet": "transformers"}
SHAPES: dict[str, dict] = {
    "mingru": {"W_x": (D, 2 * H)}, "minlstm": {"W_x": (D, 3 * H)},
    "rglru": {"W_x": (D, H), "W_u": (H, 2 * H), "b": (2 * H,), "Lambda": (H,)},
    "slstm": {"W_x": (D, 4 * H), "W_h": (H, 4 * H), "b": (4 * H,)},
    "mlstm": {"W_x": (D, 4 * H + 2 * N), "b": (4 * H + 2 * N,)},
    "gated_deltanet": {"W_x": (D, 3 * H + 2 * N), "b": (N,), "log_A": (N,)}}
STATES = {"mingru": [(B, H)], "minlstm": [(B, H)], "rglru": [(B, H)], "slstm": [(B, H)] * 4,
          "mlstm": [(B, N, H // N, H // N), (B, N, 1, H // N), (B, N, 1, 1)], "gated_deltanet": [(B, N, H // N, H // N)]}


def installed(case):
    return all(importlib.util.find_spec(package) is not None for package in ("torch", PACKAGES[case]))


def inputs(case):
    """The arrays that go in, from a generator seeded by the case's name."""
    rng = np.random.default_rng(list(case.encode()))
    arrays = {"X": rng.standard_normal((T, B, D))}
    arrays.update({name: 0.7 * rng.standard_normal(shape) for name, shape in SHAPES[case].items()})
    states = [0.7 * rng.standard_normal(shape) for shape in STATES[case]]
    if case.startswith("min"):
        states[0] = 0.5 + abs(states[0])              # in logarithms a state must be positive, and g(h - ½) = h above ½
    if case == "slstm":
        states[2] = 0.5 + abs(states[2])              # n is a sum of positive numbers
    return {**arrays, **{f"state_{i}": state for i, state in enumerate(states)}}


# ---- the programs: torch tensors in, (ys, last states) out ----------------------------------------------------------

def mingru(a):
    """Gates are packed as candidate, z."""
    import torch
    from minGRU_pytorch import minGRU
    weight = torch.cat([a["W_x"][:, H:], a["W_x"][:, :H]], dim=1).T
    unit = minGRU(D, expansion_factor=H / D, proj_out=False).double()
    ys = torch.func.functional_call(unit, {"to_hidden_and_gate.weight": weight}, (a["X"].transpose(0, 1), a["state_0"][:, None]))
    return ys.transpose(0, 1), [ys[:, -1]]


def minlstm(a):
    """Gates are packed as candidate, f, i; the initial state passes through g there: h - ½ becomes h."""
    import torch
    from minGRU_pytorch.minLSTM import minLSTM
    weight = torch.cat([a["W_x"][:, 2 * H:], a["W_x"][:, :2 * H]], dim=1).T
    unit = minLSTM(D, expansion_factor=H / D, proj_out=False).double()
    start = a["state_0"][:, None] - 0.5
    ys = torch.func.functional_call(unit, {"to_hidden_and_f_i_gate.weight": weight}, (a["X"].transpose(0, 1), start))
    return ys.transpose(0, 1), [ys[:, -1]]


def rglru(a):
    """At positions other than 0, where that program leaves √(1 - a²) out; it accumulates in float32 unless told otherwise."""
    import torch
    from transformers.models.recurrent_gemma.modeling_recurrent_gemma import RecurrentGemmaRglru
    unit = RecurrentGemmaRglru(types.SimpleNamespace(num_attention_heads=1, lru_width=H)).double()
    unit._rnn_scan = functools.partial(unit._rnn_scan, acc_dtype=torch.float64)
    unit.recurrent_states = a["state_0"]
    weights = {"recurrent_param": a["Lambda"], "recurrent_gate_weight": a["W_u"][None, :, :H], "recurrent_gate_bias": a["b"][None, :H],
               "input_gate_weight": a["W_u"][None, :, H:], "input_gate_bias": a["b"][None, H:]}
    ys = torch.func.functional_call(unit, weights, ((a["X"] @ a["W_x"]).transpose(0, 1), torch.arange(1, T + 1).expand(B, T)))
    return ys.transpose(0, 1), [unit.recurrent_states]


def slstm(a):
    import torch
    from xlstm.blocks.slstm.src.vanilla.slstm import slstm_forward_pointwise
    states, ys = torch.stack([a[f"state_{i}"] for i in range(4)]), []
    for x in a["X"]:
        states, _ = slstm_forward_pointwise(x @ a["W_x"], states[0] @ a["W_h"], a["b"][None], states, {})
        ys.append(states[0])
    return torch.stack(ys), list(states)


def mlstm(a):
    """The normaliser is a column there; eps=0 leaves out what that program adds to the denominator."""
    import torch
    from xlstm.blocks.mlstm.backends import recurrent_step_stabilized_simple
    C, n, m, ys = a["state_0"], a["state_1"].mT, a["state_2"], []
    for x in a["X"]:
        q, k, v, o, i, f = (x @ a["W_x"] + a["b"]).split([H, H, H, H, N, N], dim=1)
        q, k, v, i, f = (p.reshape(B, N, 1, -1).clone() for p in (q, k, v, i, f))
        y, (C, n, m) = recurrent_step_stabilized_simple(C, n, m, q, k, v, i, f, eps=0)
        ys.append(torch.sigmoid(o) * y.reshape(B, H))
    return torch.stack(ys), [C, n.mT, m]


def gated_deltanet(a):
    """That program converts to float32: its source is run with float64 in that place. It divides q by √d."""
    import torch
    from transformers.models.qwen3_next import modeling_qwen3_next as qwen
    source = inspect.getsource(inspect.unwrap(qwen.torch_recurrent_gated_delta_rule))
    namespace = dict(vars(qwen))
    exec(source[source.index("def "):].replace("float32", "float64"), namespace)
    p = (a["X"] @ a["W_x"]).transpose(0, 1)
    q, k, v, g, beta = p.split([H, H, H, N, N], dim=2)
    q, k, v = (torch.nn.functional.silu(x).reshape(B, T, N, H // N) for x in (q, k, v))
    g = -a["log_A"].exp() * torch.nn.functional.softplus(g + a["b"])
    ys, S = namespace["torch_recurrent_gated_delta_rule"](q, k, v, g, torch.sigmoid(beta), a["state_0"], output_final_state=True,
                                                          use_qk_l2norm_in_kernel=True)
    return ys.transpose(0, 1).reshape(T, B, H) * (H // N) ** 0.5, [S]


# ---- files and comparison -------------------------------------------------------------------------------------------

def reference(case):
    """All arrays of the case (see the module's docstring), computed with what is installed."""
    import torch
    arrays = inputs(case)
    a = {name: torch.tensor(array, requires_grad=True) for name, array in arrays.items()}
    ys, last = globals()[case](a)
    rng, total = np.random.default_rng(1), 0
    for name, output in {"ys": ys, **{f"last_{i}": x for i, x in enumerate(last)}}.items():
        arrays["G_" + name] = rng.standard_normal(tuple(output.shape))
        total = total + (torch.tensor(arrays["G_" + name]) * output).sum()
        arrays[name] = output.detach().numpy()
    total.backward()
    arrays.update({"d_" + name: tensor.grad.numpy() for name, tensor in a.items()})
    return arrays


def committed(case):
    with np.load(FOLDER / f"{case}.npz", allow_pickle=False) as file:
        return dict(file)


def assert_agrees(name, ours, theirs, tolerance=1e-12):
    assert ours is not None, f"{name}: no gradient reached it"
    assert ours.shape == theirs.shape, f"{name}: shape {ours.shape}, the reference has {theirs.shape}"
    error = abs(ours - theirs).max() / abs(theirs).max()
    assert error <= tolerance, f"{name}: relative error {error:.1e}, at most {tolerance:.0e} is allowed"


def assert_same(case, a, cell):
    """Our cell on the arrays ``a``: outputs, last state and every gradient."""
    import minigrad as mg
    cell.load_state_dict({name: a[name] for name in SHAPES[case]})
    leaves = {name: mg.parameter(a[name]) for name in a if name == "X" or name.startswith("state_")}
    states = tuple(leaves[f"state_{i}"] for i in range(len(STATES[case])))
    ys, last = mg.unroll(cell, leaves["X"], states if len(states) > 1 else states[0])
    outputs = {"ys": ys, **{f"last_{i}": x for i, x in enumerate(last if len(states) > 1 else [last])}}
    for name, output in outputs.items():
        assert_agrees(name, output.data, a[name])
    sum((a["G_" + name] * output).sum() for name, output in outputs.items()).backward()
    for name, leaf in {**leaves, **cell.parameters()}.items():
        assert_agrees("gradient of " + name, leaf.grad, a["d_" + name])


if __name__ == "__main__":
    for case, package in PACKAGES.items():
        names = {name: importlib.metadata.version(name) for name in ("torch", package)}
        path, versions = FOLDER / f"{case}.npz", ", ".join(f"{name} {version}" for name, version in names.items())
        np.savez_compressed(path, versions=np.array(versions), **reference(case))
        print(f"{path.name:24s} {path.stat().st_size / 1024:5.1f} KiB   {versions}")
