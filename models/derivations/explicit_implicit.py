"""Source 004: the explicit/implicit split and the node lists. Column vectors, no biases.

Model         h_t = tanh(U x_t + W h_{t-1})     z_t = V h_t     ŷ_t = softmax(z_t)     L_t = −Σ_i y_i log ŷ_i
Update        W, V, U ← · − α ∂L/∂·             K classes: MNIST 10, binary 2

Softmax       ∂ŷ_i/∂z_k = ŷ_i(1−ŷ_i) if i = k, else −ŷ_i ŷ_k     ∂L/∂z_k = −Σ_i (y_i/ŷ_i) ∂ŷ_i/∂z_k = ŷ_k − y_k
Output        ∂L/∂V = Σ_t (ŷ_t−y_t) ⊗ h_t
Split         ∂h_1/∂W = h_0 (1−tanh²(U x_1 + W h_0))
              ∂h_2/∂W = ∂h_2/∂W|explicit + ∂h_2/∂h_1 · ∂h_1/∂W|implicit
              ∂L_3/∂W = ∂L_3/∂ŷ_3 · ∂ŷ_3/∂h_3 { ∂h_3/∂W + ∂h_3/∂h_2 [ ∂h_2/∂W + ∂h_2/∂h_1 · ∂h_1/∂W ] }
Nodes         U_frd = U x_t     W_frd = W h_{t-1}     h_unactivated = U_frd + W_frd
              h_activated = tanh(h_unactivated)       y_unactivated = V h_activated
              y_activated = softmax(y_unactivated)
Backward      (A) ∂L/∂V = (ŷ−y) × h_t
                  ∂L/∂U = (ŷ−y) × Vᵀ × [1−tanh²(h_un)] × [1…] × x_tᵀ
              (B) ∂L/∂W = (ŷ−y) × Vᵀ × [1−tanh²(h_un)] × [1…] × [h_{t-1}]          the ones are the add node

(B) and ∂L/∂U look one step back only and contradict the split above: they lack what comes from t+1.

The notes open with the chain rule of a layered network, θ = {W1, W2, b1, b2},
              ∂L/∂θ_{K-1} = ∂L/∂J_K · ∂J_K/∂J_{K-1} · ∂J_{K-1}/∂θ_{K-1}
which is the two-layer network at the end of this file.

Shapes: x_t (n, 1), h_t (H, 1), z_t, ŷ_t and y_t (K, 1), U (H, n), W (H, H), V (K, H). The model takes B columns too.

    python -m models.derivations.explicit_implicit --help
"""

import argparse
import sys
from typing import Callable, Iterable, Mapping, NamedTuple, Sequence
import numpy as np
import minigrad as mg
from . import _report as report
from ._report import Array, Arrays, Gradients

PARAMETERS = ("U", "W", "V")
NODES = ("U_frd", "W_frd", "h_unactivated", "h_activated", "y_unactivated", "y_activated")


# ---- the model ------------------------------------------------------------------------------------------------------

def softmax(z: Array, axis: int = 0) -> Array:
    """e^{z_i} / Σ_j e^{z_j} down each column; the largest z is taken out first, which changes nothing but overflow."""
    e = np.exp(z - np.max(z.real, axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


class Run(NamedTuple):
    """One forward pass: x[t], y[t], L[t] and nodes[t] = {node's name: value}; h[t] is h_activated, h[0] its start."""
    x: dict[int, Array]
    y: dict[int, Array]
    h: dict[int, Array]
    nodes: dict[int, dict[str, Array]]
    L: dict[int, Array]
    total: Array


def model(p: Mapping[str, Array], xs: Array, ys: Array | Sequence[Array | None], *, steps: Callable[[Array], Iterable[Array]] = iter,
          softmax: Callable[..., Array] = softmax) -> Run:
    """Run the network over xs (T, n, B); ys holds a one-hot column block (K, B) per step, or None: no loss there.

    Arrays stay arrays; with Tensors, steps=mg.steps and softmax=mg.softmax a graph is recorded.
    """
    U, W, V, h_activated = p["U"], p["W"], p["V"], p["h_0"]
    run = Run({}, {}, {0: h_activated}, {}, {}, None)
    total = None
    for t, x in enumerate(steps(xs), 1):
        y = ys[t - 1]
        U_frd = U @ x
        W_frd = W @ h_activated
        h_unactivated = U_frd + W_frd
        h_activated = np.tanh(h_unactivated)
        run.x[t], run.y[t], run.h[t] = x, y, h_activated
        if y is not None:
            y_unactivated = V @ h_activated
            y_activated = softmax(y_unactivated, axis=0)
            L = -(y * np.log(y_activated)).sum()
            total = L if total is None else total + L
            run.L[t] = L
            run.nodes[t] = dict(zip(NODES, (U_frd, W_frd, h_unactivated, h_activated, y_unactivated, y_activated)))
    return run._replace(total=total)


def probe(seed: int = 0, K: int = 10) -> tuple[Arrays, np.ndarray, np.ndarray]:
    """(parameters, xs, ys): T=4 n=5 H=6 and K classes, weights 0.7·randn, h_0 not zero."""
    rng = np.random.default_rng(seed)
    T, n, H = 4, 5, 6
    shapes = {"U": (H, n), "W": (H, H), "V": (K, H), "h_0": (H, 1)}
    p = {name: 0.7 * rng.standard_normal(shape) for name, shape in shapes.items()}
    return p, rng.standard_normal((T, n, 1)), np.eye(K)[rng.integers(K, size=T)][:, :, None]


# ---- softmax, in full -----------------------------------------------------------------------------------------------

def softmax_jacobian(y_hat: np.ndarray) -> np.ndarray:
    """∂ŷ_i/∂z_k: ŷ_i(1−ŷ_i) on the diagonal, −ŷ_i ŷ_k beside it; shape (K, K) from the column ŷ."""
    return np.diag(y_hat.ravel()) - y_hat @ y_hat.T


def dL_dz(y_hat: np.ndarray, y: np.ndarray) -> np.ndarray:
    """∂L/∂z_k = −Σ_i (y_i/ŷ_i) ∂ŷ_i/∂z_k through the full Jacobian: ŷ Σy − y, which is ŷ − y because Σ y = 1."""
    return softmax_jacobian(y_hat).T @ -(y / y_hat)


# ---- the explicit/implicit split, one sequence (B = 1) --------------------------------------------------------------

def explicit(run: Run, t: int, name: str) -> np.ndarray:
    """∂h_t/∂W|explicit, h_{t-1} held fixed, for W or U. Shape (H, *parameter): (1−h_t²)[i] · in[b] in row i, else 0."""
    factor = {"W": run.h[t - 1], "U": run.x[t]}[name].ravel()
    slope = 1 - run.h[t].ravel() ** 2
    return np.einsum("i,ia,b->iab", slope, np.eye(slope.size), factor)


Explicit = Callable[[Run, int, str], np.ndarray]


def jacobian(run: Run, p: Arrays, t: int) -> np.ndarray:
    """∂h_t/∂h_{t-1} = diag(1−h_t²) W, shape (H, H)."""
    return np.diag(1 - run.h[t].ravel() ** 2) @ p["W"]


def split(run: Run, p: Arrays, t: int, name: str, explicit: Explicit = explicit) -> np.ndarray:
    """∂h_t/∂W = explicit_t + ∂h_t/∂h_{t-1} [ explicit_{t-1} + … [ explicit_1 ] ]: the nested brackets, inside out."""
    bracket = explicit(run, 1, name)
    for k in range(2, t + 1):
        bracket = explicit(run, k, name) + np.tensordot(jacobian(run, p, k), bracket, 1)
    return bracket


def dL_dh(run: Run, p: Arrays, t: int) -> np.ndarray:
    """∂L_t/∂ŷ_t · ∂ŷ_t/∂h_t, shape (1, H): −(y/ŷ)ᵀ times the softmax Jacobian times V."""
    y_hat = run.nodes[t]["y_activated"]
    return -(run.y[t] / y_hat).T @ (softmax_jacobian(y_hat) @ p["V"])


def one_loss(run: Run, p: Arrays, t: int, name: str, explicit: Explicit = explicit) -> np.ndarray:
    """∂L_t/∂W = ∂L_t/∂ŷ_t · ∂ŷ_t/∂h_t { the nested brackets of `split` }, for W or U."""
    return np.tensordot(dL_dh(run, p, t)[0], split(run, p, t, name, explicit), 1)


def products(run: Run, p: Arrays, t: int, name: str) -> dict[int, np.ndarray]:
    """The same, multiplied out: {k: ∂L_t/∂ŷ_t · ∂ŷ_t/∂h_t · ∂h_t/∂h_{t-1} ⋯ ∂h_{k+1}/∂h_k · ∂h_k/∂W|explicit}."""
    result, row = {}, dL_dh(run, p, t)
    for k in range(t, 0, -1):
        result[k] = np.tensordot(row[0], explicit(run, k, name), 1)
        row = row @ jacobian(run, p, k)
    return result


# ---- the node lists -------------------------------------------------------------------------------------------------

class Node(NamedTuple):
    """A named node of one step: forward value, its derivative by its input, and its adjoint ∂L/∂node."""
    name: str
    formula: str
    value: np.ndarray
    local: np.ndarray
    adjoint: np.ndarray


def node_list(run: Run, p: Arrays, t: int, carry: np.ndarray | float = 0.0) -> list[Node]:
    """The nodes of step t in forward order. carry: what the steps after t add to the adjoint of h_activated.

    Each adjoint is the transposed local derivative of the next node times that node's adjoint.
    """
    value = run.nodes[t]
    y_hat = value["y_activated"]
    slope = np.diag(1 - np.tanh(value["h_unactivated"]).ravel() ** 2)
    ones = np.eye(slope.shape[0])                               # the add node, [1…]: passes on what it gets
    d_y_activated = -(run.y[t] / y_hat)
    d_y_unactivated = softmax_jacobian(y_hat).T @ d_y_activated
    d_h_activated = p["V"].T @ d_y_unactivated + carry
    d_h_unactivated = slope.T @ d_h_activated
    d_U_frd = d_W_frd = ones.T @ d_h_unactivated
    return [Node("U_frd", "U x_t", value["U_frd"], p["U"], d_U_frd),
            Node("W_frd", "W h_{t-1}", value["W_frd"], p["W"], d_W_frd),
            Node("h_unactivated", "U_frd + W_frd", value["h_unactivated"], ones, d_h_unactivated),
            Node("h_activated", "tanh(h_unactivated)", value["h_activated"], slope, d_h_activated),
            Node("y_unactivated", "V h_activated", value["y_unactivated"], p["V"], d_y_unactivated),
            Node("y_activated", "softmax(y_unactivated)", y_hat, softmax_jacobian(y_hat), d_y_activated)]


def backward(run: Run, p: Arrays, *, one_step: bool = False) -> tuple[dict[int, list[Node]], Gradients]:
    """({t: node list}, {name: gradient}) from the last step to the first.

    one_step: nothing is carried from t to t−1, which is what (B) and ∂L/∂U on the page amount to.
    """
    lists, gradients = {}, {name: np.zeros_like(p[name]) for name in PARAMETERS}
    carry = 0.0
    for t in reversed(run.L):
        lists[t] = node_list(run, p, t, carry)
        adjoint = {node.name: node.adjoint for node in lists[t]}
        gradients["U"] += adjoint["U_frd"] @ run.x[t].T
        gradients["W"] += adjoint["W_frd"] @ run.h[t - 1].T                             # (B), its h_{t-1} transposed
        gradients["V"] += adjoint["y_unactivated"] @ run.h[t].T                         # (A), × read as ⊗
        if not one_step:
            carry = p["W"].T @ adjoint["W_frd"]
    return lists, gradients


def hand_gradients(p: Arrays, xs: np.ndarray, ys: np.ndarray, *, as_written: bool = False, form: str = "split") -> Gradients:
    """{"U", "W", "V": ∂L/∂·} in plain NumPy, L = Σ_t L_t.

    as_written: (A), (B) and ∂L/∂U, their factors put in an order that conforms and nothing else changed.
    form: "split" (explicit/implicit) or "nodes" (the node lists, with what t+1 carries to t).
    """
    run = model(p, xs, ys)
    if as_written or form == "nodes":
        return backward(run, p, one_step=as_written)[1]
    hidden = {name: sum(one_loss(run, p, t, name) for t in run.L) for name in ("U", "W")}
    return hidden | {"V": sum(np.outer(run.nodes[t]["y_activated"] - run.y[t], run.h[t]) for t in run.L)}


def engine(p: Arrays, xs: np.ndarray, ys: Iterable[np.ndarray | None]) -> tuple[Run, dict[str, mg.Tensor]]:
    """(run, leaves): the same model recorded by minigrad; run.total is the loss to differentiate or draw."""
    leaves = report.parameters({name: p[name] for name in PARAMETERS})
    start = {"h_0": mg.Tensor(p["h_0"], name="h_0")}
    y = report.columns_of_time("y", ys)
    return model(leaves | start, mg.Tensor(xs), y, steps=mg.steps, softmax=mg.softmax), leaves


# ---- the slips ------------------------------------------------------------------------------------------------------

def base_case_as_written(run: Run) -> np.ndarray:
    """∂h_1/∂W = h_0 (1−tanh²(…)): two columns do not multiply, so this raises. (Row i of W is met by h_0ᵀ alone.)"""
    slope = 1 - run.h[1] ** 2
    return report.multiply("h_0 (1−tanh²(U x_1 + W h_0))", run.h[0], slope,
                           intended=("(1−tanh²(…)) h_0ᵀ", slope, run.h[0].T))


def equation_B_as_written(run: Run, p: Arrays, t: int, *, V_from_the_left: bool = False) -> np.ndarray:
    """(B) with its factors where they stand: raises at Vᵀ, and if that is put right, at h_{t-1}."""
    value = run.nodes[t]
    delta, slope = value["y_activated"] - run.y[t], 1 - np.tanh(value["h_unactivated"]) ** 2
    if not V_from_the_left:
        report.multiply("(B) (ŷ−y) × Vᵀ", delta, p["V"].T, intended=("Vᵀ × (ŷ−y)", p["V"].T, delta))
    row = (p["V"].T @ delta) * slope
    h = run.h[t - 1]
    return report.multiply("(B) … × [h_{t-1}]", row, h, intended=("… × h_{t-1}ᵀ", row, h.T))


def base_case_without_square(run: Run, t: int, name: str) -> np.ndarray:
    """The explicit derivative, but for h_1 with 1−tanh in place of 1−tanh²: the page prints no square."""
    right = explicit(run, t, name)
    return right / (1 + run.h[1].ravel()[:, None, None]) if t == 1 else right           # 1 − h² = (1 − h)(1 + h)


def slips(p: Arrays, xs: np.ndarray, ys: np.ndarray) -> list[report.Slip]:
    """What the notes get wrong, as formulas that run."""
    run = model(p, xs, ys)

    def without_square() -> Gradients:
        return {"W": sum(one_loss(run, p, t, "W", base_case_without_square) for t in run.L)}

    return [
        report.Slip("value", "(B) and ∂L/∂U: one step only",
                    "as the split has it: step t+1 carries Wᵀ ∂L/∂W_frd back to h_t",
                    {"as written": lambda: hand_gradients(p, xs, ys, as_written=True)}),
        report.Slip("shape", "(B) ends in [h_{t-1}]", "h_{t-1}ᵀ",
                    {"as written": lambda: {"W": equation_B_as_written(run, p, 2, V_from_the_left=True)}}),
        report.Slip("shape", "(B) and ∂L/∂U: (ŷ−y) × Vᵀ", "Vᵀ multiplies from the left",
                    {"as written": lambda: {"W": equation_B_as_written(run, p, 2)}}),
        report.Slip("shape", "∂h_1/∂W = h_0 (1−tanh²(U x_1 + W h_0))", "(1−tanh²(…)) h_0ᵀ, row by row",
                    {"as written": lambda: {"W": base_case_as_written(run)}}),
        report.Slip("value", "the base case is printed without the square: 1−tanh", "1−tanh²",
                    {"1−tanh in h_1": without_square}),
    ]


# ---- training by rows: the update with α ----------------------------------------------------------------------------

def slashes(N: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    r"""(images (N, 8, 8), labels): "\" is 0, "/" is 1, shifted and noisy. Only the order of the rows tells which."""
    rng = np.random.default_rng(seed)
    labels, images = rng.integers(2, size=N), 0.3 * rng.standard_normal((N, 8, 8))
    rows = np.arange(8)
    for image, label, shift in zip(images, labels, rng.integers(8, size=N)):
        image[rows, (shift + rows * (1 - 2 * label)) % 8] += 1.0
    return images, labels


def digits() -> tuple[np.ndarray, np.ndarray]:
    """(images (1797, 8, 8), labels): scikit-learn's handwritten digits; ImportError names the extra."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ImportError("the digits come with scikit-learn, which is not installed: "
                          "pip install 'minigrad[data]' (the K = 2 task needs no extra)") from None
    data = load_digits()
    return data.images / 16.0, data.target


def columns(images: np.ndarray, labels: np.ndarray, K: int) -> tuple[np.ndarray, list[np.ndarray | None]]:
    """Images row by row, as the model takes them: xs (8, 8, B), and ys with the label at the last row only."""
    return images.transpose(1, 2, 0), [None] * (images.shape[1] - 1) + [np.eye(K)[labels].T]


def accuracy(p: Arrays, images: np.ndarray, labels: np.ndarray, K: int) -> float:
    """The fraction of images whose most probable class, after the last row, is right."""
    run = model(p, *columns(images, labels, K))
    return float(np.mean(np.argmax(run.nodes[images.shape[1]]["y_activated"], axis=0) == labels))


def train_by_rows(images: np.ndarray, labels: np.ndarray, K: int, *, rate: float = 0.2, epochs: int = 10, H: int = 32, B: int = 32,
                  seed: int = 0, tell: Callable[[int, float, float], None] = lambda epoch, loss, right: None) -> Arrays:
    """W, V, U ← · − α ∂L/∂· on four fifths of the images, one row of pixels per time step; the weights.

    rate: α, for the mean loss of B images.  tell(epoch, loss, right): the mean training loss of the epoch, and the
    accuracy on the fifth that is never trained on.
    """
    rng = np.random.default_rng(seed)
    order, n = rng.permutation(len(images)), images.shape[2]
    train, held_out = order[len(order) // 5:], order[:len(order) // 5]
    p = {"U": rng.standard_normal((H, n)) / np.sqrt(n), "W": rng.standard_normal((H, H)) / np.sqrt(H),
         "V": rng.standard_normal((K, H)) / np.sqrt(H), "h_0": np.zeros((H, 1))}
    for epoch in range(1, epochs + 1):
        losses = []
        for chosen in np.array_split(rng.permutation(train), max(1, len(train) // B)):
            run, leaves = engine(p, *columns(images[chosen], labels[chosen], K))
            gradients = report.engine_gradients(run.total, leaves)
            p = p | {name: p[name] - rate * gradients[name] / len(chosen) for name in PARAMETERS}
            losses.append(run.total.item() / len(chosen))
        tell(epoch, float(np.mean(losses)), accuracy(p, images[held_out], labels[held_out], K))
    return p


# ---- the two-layer network ------------------------------------------------------------------------------------------

class Layers(NamedTuple):
    """One forward pass: J_1 = tanh(W1 x + b1), J_2 = W2 J_1 + b2, ŷ = softmax(J_2), L summed over the columns."""
    J_1: Array
    J_2: Array
    y_hat: Array
    L: Array


def two_layer(theta: Mapping[str, Array], x: Array, y: np.ndarray, softmax: Callable[..., Array] = softmax) -> Layers:
    """The layered network, θ = {W1, W2, b1, b2}, on columns x (n, B) with one-hot y (K, B)."""
    W1, W2, b1, b2 = theta["W1"], theta["W2"], theta["b1"], theta["b2"]
    J_1 = np.tanh(W1 @ x + b1)
    J_2 = W2 @ J_1 + b2
    y_hat = softmax(J_2, axis=0)
    return Layers(J_1, J_2, y_hat, -(y * np.log(y_hat)).sum())


def two_layer_hand_gradients(theta: Arrays, x: np.ndarray, y: np.ndarray) -> Gradients:
    """{name: ∂L/∂name}: ∂L/∂θ_2 = ∂L/∂J_2 · ∂J_2/∂θ_2 and ∂L/∂θ_1 = ∂L/∂J_2 · ∂J_2/∂J_1 · ∂J_1/∂θ_1."""
    layers = two_layer(theta, x, y)
    d_J_2 = layers.y_hat - y
    d_J_1 = theta["W2"].T @ d_J_2
    d_inside = d_J_1 * (1 - layers.J_1 ** 2)
    return {"W1": d_inside @ x.T, "b1": d_inside.sum(axis=1, keepdims=True),
            "W2": d_J_2 @ layers.J_1.T, "b2": d_J_2.sum(axis=1, keepdims=True)}


def two_layer_engine(theta: Arrays, x: np.ndarray, y: np.ndarray) -> tuple[Layers, dict[str, mg.Tensor]]:
    """(layers, leaves): the same network recorded by minigrad."""
    leaves = report.parameters(theta)
    return two_layer(leaves, mg.Tensor(x, name="x"), y, softmax=mg.softmax), leaves


def two_layer_probe(seed: int = 0, n: int = 5, H: int = 6, K: int = 7, B: int = 3) -> tuple[Arrays, np.ndarray, np.ndarray]:
    """(θ, x, y) with sizes all different, weights 0.7·randn and biases not zero."""
    rng = np.random.default_rng(seed)
    shapes = {"W1": (H, n), "W2": (K, H), "b1": (H, 1), "b2": (K, 1)}
    theta = {name: 0.7 * rng.standard_normal(shape) for name, shape in shapes.items()}
    return theta, rng.standard_normal((n, B)), np.eye(K)[rng.integers(K, size=B)].T


EXCLUSIVE_OR = np.array([[0.0, 0, 1, 1], [0, 1, 0, 1]]), np.array([[1.0, 0, 0, 1], [0, 1, 1, 0]])


def train_two_layer(*, rate: float = 0.2, updates: int = 300, H: int = 6, seed: int = 0) -> tuple[Arrays, list[float]]:
    """θ ← θ − α ∂L/∂θ on exclusive or, which one layer cannot learn; (trained θ, the loss before each update)."""
    theta, losses = two_layer_probe(seed, n=2, H=H, K=2)[0], []
    for _ in range(updates):
        layers, leaves = two_layer_engine(theta, *EXCLUSIVE_OR)
        gradients = report.engine_gradients(layers.L, leaves)
        theta = {name: theta[name] - rate * gradients[name] for name in theta}
        losses.append(layers.L.item())
    return theta, losses


# ---- main -----------------------------------------------------------------------------------------------------------

def print_nodes(run: Run, p: Arrays, recorded: Run, t: int) -> bool:
    """The node list of step t beside the engine's values and adjoints; True if they agree."""
    nodes = backward(run, p)[0][t]
    adjoints = mg.grad(recorded.total, [recorded.nodes[t][node.name] for node in nodes])
    errors = []
    print(f"{'node':<15}{'is':<24}{'value':>10}{'local derivative':>20}{'adjoint':>11}   errors: value, adjoint")
    for node, adjoint in zip(nodes, adjoints):
        errors += [report.relative_error(node.value, recorded.nodes[t][node.name].data),
                   report.relative_error(node.adjoint, adjoint.data)]
        shape = "×".join(map(str, node.local.shape))
        print(f"{node.name:<15}{node.formula:<24}{node.value[0, 0]:>10.4f}{node.local[0, 0]:>12.4f} {shape:>7}"
              f"{node.adjoint[0, 0]:>11.4f}   {errors[-2]:.1e}, {errors[-1]:.1e}")
    print("(entry [0, 0] of each)")
    return max(errors) <= report.AGREES


def print_split(run: Run, p: Arrays, recorded: Run, leaves: Mapping[str, mg.Tensor]) -> bool:
    """Every loss apart: the nested brackets, their products, and the engine; True if they agree."""
    errors = []
    for t in run.L:
        expected, parts = report.engine_gradient(recorded.L[t], leaves["W"]), products(run, p, t, "W")
        nested = report.relative_error(one_loss(run, p, t, "W"), expected)
        added = report.relative_error(sum(parts.values()), expected)
        sizes = "  ".join(f"through h_{k} {np.abs(part).max():.4f}" for k, part in parts.items())
        print(f"∂L_{t}/∂W  nested {nested:.1e}  multiplied out {added:.1e}   largest entries: {sizes}")
        errors += [nested, added]
    return max(errors) <= report.AGREES


def print_softmax(run: Run) -> bool:
    """The full softmax Jacobian beside the engine's, and what it leaves of ∂L/∂z; True if they agree."""
    z, y = mg.parameter(run.nodes[1]["y_unactivated"], name="z"), run.y[1]
    y_hat = mg.softmax(z, axis=0)
    error = report.relative_error(softmax_jacobian(y_hat.data), mg.jacobian(y_hat, z).data[:, 0, :, 0])
    half = report.relative_error(dL_dz(y_hat.data, 0.5 * y), 0.5 * y_hat.data - 0.5 * y)
    wrong = report.relative_error(dL_dz(y_hat.data, 0.5 * y), y_hat.data - 0.5 * y)
    collapse = report.relative_error(dL_dz(y_hat.data, y), y_hat.data - y)
    print(f"softmax Jacobian {len(y)}×{len(y)} against the engine {error:.1e};  Jacobianᵀ(−y/ŷ) = ŷ−y {collapse:.1e}")
    print(f"with Σy = ½ it is ŷ Σy − y ({half:.1e}) and ŷ−y is off by {wrong:.2g}")
    return max(error, half, collapse) <= report.AGREES


def print_training(name: str, images: np.ndarray, labels: np.ndarray, K: int, options: argparse.Namespace) -> None:
    """Train on one data set and print the course of it."""
    report.heading(f"Training on {name} by rows, K = {K}, α = {options.rate:g}")

    def tell(epoch: int, loss: float, right: float) -> None:
        if epoch == 1 or epoch % 5 == 0 or epoch == options.epochs:
            print(f"epoch {epoch:>3}   loss {loss:.4f}   right on images never trained on {right:.1%}")

    train_by_rows(images, labels, K, rate=options.rate, epochs=options.epochs, seed=options.seed, tell=tell)


def main(argv: Sequence[str] | None = None) -> int:
    """Compare, name the slips, draw, train; exit status 0 if the corrected gradients equal the engine's."""
    parser = report.parser(__doc__, "python -m models.derivations.explicit_implicit")
    parser.add_argument("--classes", type=int, choices=(2, 10), help="train on K = 2 or K = 10 alone (default: both)")
    parser.add_argument("--rate", type=float, default=0.2, help="α (default: %(default)s)")
    parser.add_argument("--epochs", type=report.count, default=10, metavar="N",
                        help="of training by rows (default: %(default)s)")
    options = parser.parse_args(argv)
    agrees = True
    for K in (2, 10):
        p, xs, ys = probe(options.seed, K)
        run = model(p, xs, ys)
        recorded, leaves = engine(p, xs, ys)
        reference = report.engine_gradients(recorded.total, leaves)
        report.heading(f"004 · explicit/implicit:  h_t = tanh(U x_t + W h_{{t-1}}),  ŷ_t = softmax(V h_t),  K = {K}")
        written, corrected = hand_gradients(p, xs, ys, as_written=True), hand_gradients(p, xs, ys)
        agrees &= report.print_comparison(written, corrected, reference)
        print(f"node lists  {report.describe(hand_gradients(p, xs, ys, form='nodes'), reference)}")
        agrees &= print_softmax(run)
    report.heading("Slips (K = 10)")
    report.print_slips(slips(p, xs, ys), reference)
    report.heading("The split, one loss at a time")
    agrees &= print_split(run, p, recorded, leaves)
    report.heading("The node list of step t = 2, with what later steps add")
    agrees &= print_nodes(run, p, recorded, 2)
    report.save_picture(recorded.total, options.pictures, "004-explicit-implicit.svg")

    report.heading("The two-layer network, θ = {W1, W2, b1, b2}")
    theta, x, y = two_layer_probe(options.seed)
    layers, layer_leaves = two_layer_engine(theta, x, y)
    layer_reference = report.engine_gradients(layers.L, layer_leaves)
    by_hand = two_layer_hand_gradients(theta, x, y)
    agrees &= report.print_comparison(by_hand, by_hand, layer_reference)
    report.save_picture(layers.L, options.pictures, "004-two-layer-network.svg")
    trained, losses = train_two_layer(seed=options.seed)
    guesses = np.argmax(two_layer(trained, *EXCLUSIVE_OR).y_hat, axis=0)
    print(f"exclusive or, {len(losses)} updates: loss {losses[0]:.4f} -> {losses[-1]:.4f}, answers {guesses.tolist()}")

    if options.classes in (None, 2):
        print_training(r'"\" and "/"', *slashes(seed=options.seed), 2, options)
    if options.classes in (None, 10):
        try:
            print_training("handwritten digits", *digits(), 10, options)
        except ImportError as missing:
            print(f"\nno training on digits: {missing}")
            return 2 if options.classes == 10 else 0 if agrees else 1
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main())
