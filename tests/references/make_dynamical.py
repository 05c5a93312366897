"""Make the committed reference of the dynamical cells: the papers' equations in PyTorch, dynamical.npz.

    python -m tests.references.make_dynamical

Each cell is written from its paper, in column vectors and with the paper's names, one matrix per letter; nothing is packed. The tests pack
the matrices the way our cells hold them and compare outputs, last states and every gradient. SciPy discretises the Legendre memory.

The probe hides no mistake: all sizes differ and none is 1 or 2, weights are 0.7 randn, neither biases nor initial states are zero. Under
"case.name" the file holds the inputs X (T, B, D), parameters and initial states; ys and the last states; their cotangents G_…; and the
gradients d_… of everything that goes in. "zoh.…" are the matrices of the Legendre memory for some (order, theta); "versions" says what made it.
"""
import functools
import pathlib
import platform

import numpy as np

PATH = pathlib.Path(__file__).parent / "dynamical.npz"
T, B, D, H, M, ORDER, THETA = 4, 3, 5, 6, 8, 7, 9.0
EPSILON, GAMMA = 0.3, 0.2                                   # Chang et al.
DT, STIFFNESS, DAMPING = 0.3, 1.7, 0.6                      # Rusch & Mishra
LARGEST_STEP = 0.8                                          # Rusch et al.
WINDOWS = [(1, 3.0), (6, 20.0), (8, 32.0), (24, 24.0), (16, 500.0)]

SHAPES: dict[str, dict[str, tuple]] = {
    "antisymmetric": {"W_h": (H, H), "V_h": (H, D), "b_h": (H,)},
    "antisymmetric_gated": {"W_h": (H, H), "V_h": (H, D), "b_h": (H,), "V_z": (H, D), "b_z": (H,)},
    "cornn": {"W": (H, H), "Wz": (H, H), "V": (H, D), "b": (H,)},
    "lem": {**{"W_" + k: (H, H) for k in "12zy"}, **{"V_" + k: (H, D) for k in "12zy"}, **{"b_" + k: (H,) for k in "12zy"}},
    "cfc": {"W": (M, D - 1 + H), "b": (M,), **{"W_" + k: (H, M) for k in "ghab"}, **{"b_" + k: (H,) for k in "ghab"}},
    "lmu": {"e_x": (D,), "e_h": (H,), "e_m": (ORDER,), "W_x": (H, D), "W_h": (H, H), "W_m": (H, ORDER)},
}
SHAPES["cfc_no_gate"] = SHAPES["cfc"]
STATES = {"cornn": ("y0", "z0"), "lem": ("y0", "z0"), "lmu": ("h0", "m0")}             # the others: h0


def inputs(case):
    """The arrays that go in, from a generator seeded by the case's name."""
    rng = np.random.default_rng(list(case.encode()))
    arrays = {"X": rng.standard_normal((T, B, D))}
    if case.startswith("cfc"):
        arrays["X"][..., -1] = rng.exponential(size=(T, B))                            # elapsed times
    for name, shape in SHAPES[case].items():
        arrays[name] = 0.7 * rng.standard_normal(shape)
    for name in STATES.get(case, ("h0",)):
        arrays[name] = 0.7 * rng.standard_normal((B, ORDER if name == "m0" else H))
    return arrays


@functools.cache
def legendre(order, theta):
    """The paper's A and B, entry by entry, and SciPy's zero-order hold of them for steps of length 1."""
    from scipy.signal import cont2discrete
    A = [[(2 * i + 1) * (-1.0 if i < j else (-1.0) ** (i - j + 1)) for j in range(order)] for i in range(order)]
    b = [[(2 * i + 1) * (-1.0) ** i] for i in range(order)]
    system = np.array(A) / theta, np.array(b) / theta, np.eye(order), np.zeros((order, 1))
    return cont2discrete(system, 1.0, method="zoh")[:2]


def step(case, a, x, state):
    """One time step for one row of the batch: column vectors as in the papers. Returns what is shown, and the state."""
    import torch
    tanh, sigmoid = torch.tanh, torch.sigmoid
    if case.startswith("antisymmetric"):
        h, = state
        A = a["W_h"] - a["W_h"].T - GAMMA * torch.eye(H, dtype=torch.float64)
        new = tanh(A @ h + a["V_h"] @ x + a["b_h"])
        if case.endswith("gated"):
            new = sigmoid(A @ h + a["V_z"] @ x + a["b_z"]) * new
        h = h + EPSILON * new
        return h, (h,)
    if case == "cornn":
        y, z = state
        z = z + DT * tanh(a["W"] @ y + a["Wz"] @ z + a["V"] @ x + a["b"]) - DT * STIFFNESS * y - DT * DAMPING * z
        y = y + DT * z
        return y, (y, z)
    if case == "lem":
        y, z = state
        dt = LARGEST_STEP * sigmoid(a["W_1"] @ y + a["V_1"] @ x + a["b_1"])
        dt_bar = LARGEST_STEP * sigmoid(a["W_2"] @ y + a["V_2"] @ x + a["b_2"])
        z = z + dt * (tanh(a["W_z"] @ y + a["V_z"] @ x + a["b_z"]) - z)
        y = y + dt_bar * (tanh(a["W_y"] @ z + a["V_y"] @ x + a["b_y"]) - y)
        return y, (y, z)
    if case.startswith("cfc"):
        v = 1.7159 * tanh(0.666 * (a["W"] @ torch.cat([x[:-1], state[0]]) + a["b"]))
        g, k, t_a, t_b = (a["W_" + head] @ v + a["b_" + head] for head in "ghab")
        late = sigmoid(t_a * x[-1] + t_b)
        early = sigmoid(-t_a * x[-1] - t_b) if case == "cfc" else 1.0
        h = early * tanh(g) + late * tanh(k)
        return h, (h,)
    h, m = state
    A, b = (torch.tensor(matrix) for matrix in legendre(ORDER, THETA))
    u = a["e_x"] @ x + a["e_h"] @ h + a["e_m"] @ m
    m = A @ m + b[:, 0] * u
    h = tanh(a["W_x"] @ x + a["W_h"] @ h + a["W_m"] @ m)
    return h, (h, m)


def reference(case):
    """All arrays of the case, computed with the torch that is installed."""
    import torch
    arrays = inputs(case)
    a = {name: torch.tensor(array, requires_grad=True) for name, array in arrays.items()}
    names = STATES.get(case, ("h0",))
    rows = []
    for row in range(B):
        ys, state = [], tuple(a[name][row] for name in names)
        for x in a["X"][:, row]:
            y, state = step(case, a, x, state)
            ys.append(y)
        rows.append((torch.stack(ys), *state))
    outputs = {"ys": torch.stack([row[0] for row in rows], dim=1)}
    for k, name in enumerate(names):
        outputs[name[0]] = torch.stack([row[1 + k] for row in rows])
    rng, total = np.random.default_rng(1), 0
    for name, output in outputs.items():
        arrays["G_" + name] = rng.standard_normal(tuple(output.shape))
        total = total + (torch.tensor(arrays["G_" + name]) * output).sum()
        arrays[name] = output.detach().numpy()
    total.backward()
    arrays.update({"d_" + name: tensor.grad.numpy() for name, tensor in a.items()})
    return arrays


def versions():
    import scipy
    import torch
    return f"torch {torch.__version__}, scipy {scipy.__version__}, numpy {np.__version__}, Python {platform.python_version()}"


if __name__ == "__main__":
    everything = {f"{case}.{name}": array for case in SHAPES for name, array in reference(case).items()}
    for order, theta in WINDOWS:
        everything[f"zoh.{order}.{theta:g}.A"], everything[f"zoh.{order}.{theta:g}.B"] = legendre(order, theta)
    np.savez_compressed(PATH, versions=np.array(versions()), **everything)
    print(versions(), f"{PATH.name} {PATH.stat().st_size / 1024:.1f} KiB", sep="\n")
