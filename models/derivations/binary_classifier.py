"""Source 001: three words in, one probability out. Row vectors, no biases, a loss at the end only.

Data          cat = [1 0 0]   mat = [0 1 0]   rat = [0 0 1]
              "cat mat rat" → 1 (hard to read: an argument)    "rat rat mat" → 1    "mat mat cat" → 0
Model         O_1 = tanh(x_1 W_i + O_0 W_h)    O_2 = tanh(x_2 W_i + O_1 W_h)    O_3 = tanh(x_3 W_i + O_2 W_h)
              ŷ = σ(O_3 W_o)
Loss          L = −y log ŷ − (1−y) log(1−ŷ)
Update        W ← W − η ∂L/∂W                    for W_o, W_i, W_h

By hand       ∂L/∂ŷ = (ŷ−y) / (ŷ(1−ŷ)),   ∂ŷ/∂W_o = σ(1−σ) O_3,   so  ∂L/∂W_o = (ŷ−y) O_3
              ∂L/∂W = Σ_{j=1}^{n} ∂L/∂ŷ · ∂ŷ/∂O_j · ∂O_j/∂W         for W_i and W_h, n time steps

The sum is right with one sign ∂ in two meanings: ∂ŷ/∂O_j is total (through every later step), ∂O_j/∂W is immediate.

Shapes: x_t (B, 3), W_i (3, 3), W_h (3, 3), W_o (3, 1), O_t (B, 3); nothing below depends on these numbers.

    python -m models.derivations.binary_classifier --first-label 0
"""

import sys
from typing import Callable, Iterable, Mapping, NamedTuple, Sequence
import numpy as np
import minigrad as mg
from . import _report as report
from ._report import Array, Arrays, Gradients, Line

VOCABULARY = ("cat", "mat", "rat")
WEIGHTS = ("W_o", "W_i", "W_h")


# ---- the data -------------------------------------------------------------------------------------------------------

def one_hot(sentence: str) -> np.ndarray:
    """"cat mat rat" → array (3 steps, 1 row, 3 words). Unknown words raise."""
    words = sentence.split()
    unknown = [word for word in words if word not in VOCABULARY]
    if unknown:
        raise ValueError(f"unknown word {unknown[0]!r} in {sentence!r}: the vocabulary is {', '.join(VOCABULARY)}")
    return np.eye(len(VOCABULARY))[[VOCABULARY.index(word) for word in words]][:, None, :]


def sentences(first_label: int = 1) -> dict[str, int]:
    """The notes' three sentences with their labels; the first label is hard to read on the page."""
    return {"cat mat rat": first_label, "rat rat mat": 1, "mat mat cat": 0}


def batch(data: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """{sentence: label} → xs (3, B, 3) and y (B, 1)."""
    y = np.array([[float(label)] for label in data.values()])
    return np.concatenate([one_hot(sentence) for sentence in data], axis=1), y


# ---- the model ------------------------------------------------------------------------------------------------------

def sigmoid(z: Array) -> Array:
    """σ(z) = 1 / (1 + e^{−z}), written so that no exponential can overflow."""
    return 0.5 * np.tanh(0.5 * z) + 0.5


def cross_entropy(z: Array, y: np.ndarray) -> Array:
    """−y log σ(z) − (1−y) log(1−σ(z)) = log(1 + e^z) − y z, summed: finite for any z. (Branches on the real part, so
    that a complex step passes through.)"""
    positive = np.real(z) > 0
    return (np.where(positive, z, 0 * z) + np.log1p(np.exp(np.where(positive, -z, z))) - y * z).sum()


def cross_entropy_as_on_the_page(y_hat: Array, y: np.ndarray) -> Array:
    """−y log ŷ − (1−y) log(1−ŷ), summed: infinite once ŷ has rounded to 0 or 1."""
    return (-y * np.log(y_hat) - (1 - y) * np.log(1 - y_hat)).sum()


class Run(NamedTuple):
    """One forward pass: x[t], t = 1 … n; O[t], t = 0 … n; z = O_n W_o; ŷ = σ(z); L."""
    x: dict[int, Array]
    O: dict[int, Array]  # noqa: E741 (the notes' name)
    z: Array
    y_hat: Array
    L: Array


def model(p: Mapping[str, Array], xs: Array, y: np.ndarray, *, steps: Callable[[Array], Iterable[Array]] = iter,
          sigmoid: Callable[[Array], Array] = sigmoid, stable: Callable[[Array, np.ndarray], Array] | None = None) -> Run:
    """Run the classifier over xs (n, B, words) with labels y (B, 1).

    The loss is the page's, from ŷ; `stable`, a function of (z, y), computes it from z instead.
    Arrays stay arrays; with Tensors, steps=mg.steps and sigmoid=mg.sigmoid a graph is recorded.
    """
    W_o, W_i, W_h, O = p["W_o"], p["W_i"], p["W_h"], p["O_0"]  # noqa: E741
    run = Run({}, {0: O}, None, None, None)
    for t, x in enumerate(steps(xs), 1):
        O = np.tanh(x @ W_i + O @ W_h)  # noqa: E741
        run.x[t], run.O[t] = x, O
    z = O @ W_o
    y_hat = sigmoid(z)
    L = stable(z, y) if stable else cross_entropy_as_on_the_page(y_hat, y)
    return run._replace(z=z, y_hat=y_hat, L=L)


def probe(seed: int = 0) -> tuple[Arrays, np.ndarray, np.ndarray]:
    """(parameters, xs, y): n=4 steps, 5 words, 6 units, all different (the notes' 3, 3, 3 hide transposes); O_0 ≠ 0."""
    rng = np.random.default_rng(seed)
    n, words, H = 4, 5, 6
    shapes = {"W_o": (H, 1), "W_i": (words, H), "W_h": (H, H), "O_0": (1, H)}
    p = {name: 0.7 * rng.standard_normal(shape) for name, shape in shapes.items()}
    return p, rng.standard_normal((n, 1, words)), np.array([[1.0]])


def initial_weights(seed: int = 0) -> Arrays:
    """The notes' shapes, 0.7·randn, and O_0 = 0."""
    rng = np.random.default_rng(seed)
    shapes = {"W_o": (3, 1), "W_i": (3, 3), "W_h": (3, 3)}
    return {name: 0.7 * rng.standard_normal(shape) for name, shape in shapes.items()} | {"O_0": np.zeros((1, 3))}


# ---- the factors, one sentence (B = 1) ------------------------------------------------------------------------------

def dL_dy_hat(run: Run, y: np.ndarray) -> np.ndarray:
    """∂L/∂ŷ = (ŷ−y) / (ŷ(1−ŷ)), shape (1, 1)."""
    return (run.y_hat - y) / (run.y_hat * (1 - run.y_hat))


def dy_hat_dW_o(run: Run) -> np.ndarray:
    """∂ŷ/∂W_o = σ(1−σ) O_n, as a column like W_o."""
    return (run.y_hat * (1 - run.y_hat)) * run.O[max(run.x)].T


def dy_hat_dO(run: Run, p: Arrays, j: int) -> np.ndarray:
    """∂ŷ/∂O_j, total: σ(1−σ) W_oᵀ · ∂O_n/∂O_{n−1} · … · ∂O_{j+1}/∂O_j, shape (1, H)."""
    row = run.y_hat * (1 - run.y_hat) * p["W_o"].T
    for i in range(max(run.x), j, -1):
        row = row @ np.diag(1 - run.O[i].ravel() ** 2) @ p["W_h"].T
    return row


def immediate(run: Run, j: int, name: str) -> np.ndarray:
    """∂O_j/∂W with O_{j−1} held fixed, shape (H, *W.shape): (1 − O_j²)[i] · in[a] where the column is i, else 0."""
    factor = {"W_i": run.x[j], "W_h": run.O[j - 1]}[name].ravel()
    slope = 1 - run.O[j].ravel() ** 2
    return np.einsum("i,ib,a->iab", slope, np.eye(slope.size), factor)


def total(run: Run, p: Arrays, j: int, name: str) -> np.ndarray:
    """∂O_j/∂W along every path: immediate_j + ∂O_j/∂O_{j−1} · total_{j−1}."""
    S = immediate(run, 1, name)
    for i in range(2, j + 1):
        J = np.diag(1 - run.O[i].ravel() ** 2) @ p["W_h"].T
        S = immediate(run, i, name) + np.tensordot(J, S, 1)
    return S


# ---- the gradients --------------------------------------------------------------------------------------------------

def written_out(run: Run, p: Arrays, y: np.ndarray, name: str,
                last_factor: Callable[[Run, int, str], np.ndarray] = immediate) -> dict[int, np.ndarray]:
    """{j: ∂L/∂ŷ · ∂ŷ/∂O_j · ∂O_j/∂W}, j = 1 … n: the sum over j with each term apart, for W_i or W_h."""
    return {j: np.tensordot((dL_dy_hat(run, y) @ dy_hat_dO(run, p, j))[0], last_factor(run, j, name), 1) for j in run.x}


def output_weights(run: Run, y: np.ndarray) -> np.ndarray:
    """∂L/∂W_o = O_nᵀ (ŷ−y): σ(1−σ) of ∂ŷ/∂W_o cancels against the denominator of ∂L/∂ŷ."""
    return run.O[max(run.x)].T @ (run.y_hat - y)


def output_weights_as_written(run: Run, p: Arrays, y: np.ndarray) -> np.ndarray:
    """(ŷ−y) O_3 is a row, W_o a column: W_o − η (row) would broadcast in silence to a matrix, so this raises."""
    return report.same_shape("W_o", (run.y_hat - y) @ run.O[max(run.x)], p["W_o"], "O_3ᵀ (ŷ−y)")


def hand_gradients(p: Arrays, xs: np.ndarray, y: np.ndarray, *, as_written: bool = False) -> Gradients:
    """{"W_o", "W_i", "W_h": ∂L/∂·} in plain NumPy, one sentence or several (their gradients add up).

    as_written: one sentence; every ∂ read alike, as total, and (ŷ−y) O_3 for W_o, where the entry is the ValueError
    that it raised.
    """
    if as_written:
        run = model(p, xs, y)
        W_o = report.attempt(lambda: output_weights_as_written(run, p, y))
        return {"W_o": W_o} | every_derivative_total(run, p, y)
    gradients: Gradients = {name: 0.0 for name in WEIGHTS}
    for row in range(xs.shape[1]):
        run = model(p, xs[:, [row]], y[[row]])
        gradients["W_o"] += output_weights(run, y[[row]])
        for name in ("W_i", "W_h"):
            gradients[name] += sum(written_out(run, p, y[[row]], name).values())
    return gradients


def every_derivative_total(run: Run, p: Arrays, y: np.ndarray) -> Gradients:
    """The sum over j with the total ∂O_j/∂W: a path that passes through m of the O_j is counted m times."""
    return {name: sum(written_out(run, p, y, name, lambda run, j, name: total(run, p, j, name)).values())
            for name in ("W_i", "W_h")}


def reverse_recursion(p: Arrays, xs: np.ndarray, y: np.ndarray) -> Gradients:
    """The same gradients as BPTT has them, any number of rows: from ∂L/∂O_n = (ŷ−y) W_oᵀ down the steps."""
    run = model(p, xs, y)
    gradients = {"W_o": output_weights(run, y), "W_i": np.zeros_like(p["W_i"]), "W_h": np.zeros_like(p["W_h"])}
    dO = (run.y_hat - y) @ p["W_o"].T
    for t in reversed(run.x):
        da = dO * (1 - run.O[t] ** 2)
        gradients["W_i"] += run.x[t].T @ da
        gradients["W_h"] += np.broadcast_to(run.O[t - 1], da.shape).T @ da       # O_0 is one row for all sentences
        dO = da @ p["W_h"].T
    return gradients


def engine(p: Arrays, xs: np.ndarray, y: np.ndarray, *, stable: bool = False) -> tuple[Run, dict[str, mg.Tensor]]:
    """(run, leaves): the same model recorded by minigrad; run.L is the loss to differentiate or draw."""
    leaves = report.parameters({name: p[name] for name in WEIGHTS})
    O_0 = mg.Tensor(p["O_0"], name="O_0")
    loss = (lambda z, y: mg.binary_cross_entropy(z, y, reduction="sum")) if stable else None
    return model(leaves | {"O_0": O_0}, mg.Tensor(xs), y, steps=mg.steps, sigmoid=mg.sigmoid, stable=loss), leaves


def line_by_line(p: Arrays, xs: np.ndarray, y: np.ndarray) -> list[Line]:
    """[(line of the notes, by hand, by the engine)], one sentence."""
    run = model(p, xs, y)
    recorded, leaves = engine(p, xs, y)
    L, y_hat, gradient = recorded.L, recorded.y_hat, report.engine_gradient
    lines: list[Line] = [
        ("∂L/∂ŷ = (ŷ−y) / (ŷ(1−ŷ))", dL_dy_hat(run, y), gradient(L, y_hat)),
        ("∂ŷ/∂W_o = σ(1−σ) O_n", dy_hat_dW_o(run), mg.jacobian(y_hat, leaves["W_o"]).data[0, 0]),
        ("∂L/∂W_o = (ŷ−y) O_n, as a column", output_weights(run, y), gradient(L, leaves["W_o"]))]
    for j in run.x:
        by_engine = mg.jacobian(y_hat, recorded.O[j]).data[0, 0]
        lines.append((f"∂ŷ/∂O_{j}, through every later step", dy_hat_dO(run, p, j), by_engine))
    for name in ("W_i", "W_h"):
        added = sum(written_out(run, p, y, name).values())
        lines.append((f"∂L/∂{name} = Σ_j, its terms added", added, gradient(L, leaves[name])))
    return lines


# ---- the slips ------------------------------------------------------------------------------------------------------

def slips(p: Arrays, xs: np.ndarray, y: np.ndarray) -> list[report.Slip]:
    """The traps of this derivation, as formulas that run (one sentence)."""
    run = model(p, xs, y)
    slope = (run.y_hat * (1 - run.y_hat)).item()

    def chain_scaled(factor: float) -> Gradients:
        """All gradients are linear in ∂L/∂z, so a wrong σ′ scales each of them."""
        return {name: factor * gradient for name, gradient in hand_gradients(p, xs, y).items()}

    return [
        report.Slip("reading", "Σ_j ∂L/∂ŷ · ∂ŷ/∂O_j · ∂O_j/∂W: one sign, two meanings",
                    "∂ŷ/∂O_j is total, ∂O_j/∂W is immediate",
                    {"immediate": lambda: hand_gradients(p, xs, y),
                     "total": lambda: every_derivative_total(run, p, y)}),
        report.Slip("shape", "∂L/∂W_o = (ŷ−y) O_3", "O_3ᵀ (ŷ−y), a column like W_o",
                    {"as written": lambda: {"W_o": output_weights_as_written(run, p, y)}}),
        report.Slip("value", "a trap: σ′ forgotten", "∂L/∂ŷ · σ(1−σ): the denominator ŷ(1−ŷ) must go",
                    {"without σ′": lambda: chain_scaled(1 / slope)}),
        report.Slip("value", "a trap: σ′ kept after it has cancelled", "(ŷ−y) is already ∂L/∂z",
                    {"σ′ twice": lambda: chain_scaled(slope)}),
    ]


def dependency_tree(n: int) -> str:
    """What L depends on, as the notes draw it: L → ŷ → O_n → {x_n, W_i, W_h, O_{n−1} → …}."""
    lines = ["L", "└─ ŷ", "   ├─ W_o", f"   └─ O_{n}"]
    for t in range(n, 0, -1):
        indent = "   " * (n - t + 2)
        lines += [f"{indent}├─ x_{t}", f"{indent}├─ W_i", f"{indent}├─ W_h", f"{indent}└─ O_{t - 1}"]
    return "\n".join(lines)


# ---- training -------------------------------------------------------------------------------------------------------

def train(data: Mapping[str, int], *, rate: float = 0.5, updates: int = 100, seed: int = 0) -> tuple[Arrays, list[float]]:
    """Gradient descent on all sentences at once, W ← W − η ∂L/∂W with η = rate.

    Returns the trained weights and the loss before each update.
    """
    p, losses = initial_weights(seed), []
    xs, y = batch(data)
    for _ in range(updates):
        run, leaves = engine(p, xs, y, stable=True)
        gradients = report.engine_gradients(run.L, leaves)
        p = p | {name: p[name] - rate * gradients[name] for name in WEIGHTS}
        losses.append(run.L.item())
    return p, losses


def print_sentences(p: Arrays, data: Mapping[str, int]) -> bool:
    """Print the gradient of each sentence and what can be read off it; True if they agree and add up to the batch's."""
    report.heading("The three sentences, O_0 = 0")
    each, errors = {}, []
    for sentence, label in data.items():
        xs, y = batch({sentence: label})
        run, leaves = engine(p, xs, y)
        each[sentence] = report.engine_gradients(run.L, leaves)
        by_hand = hand_gradients(p, xs, y)
        errors.append(max(report.relative_error(by_hand[name], each[sentence][name]) for name in WEIGHTS))
        print(f"{sentence} → {label}   ŷ {run.y_hat.item():.4f}   L {run.L.item():.4f}   "
              f"hand against engine {errors[-1]:.1e}")
        for word, row in zip(VOCABULARY, each[sentence]["W_i"]):
            print(f"   ∂L/∂W_i, row {word}   {row.round(4)}{'' if row.any() else '   exactly 0: not in this sentence'}")
        first = written_out(model(p, xs, y), p, y, "W_h")[1]
        print(f"   ∂L/∂W_h, j = 1     largest entry {np.abs(first).max():g}: with O_0 = 0 this term shows no mistake")
    xs, y = batch(data)
    run, leaves = engine(p, xs, y)
    for name, together in report.engine_gradients(run.L, leaves).items():
        errors.append(report.relative_error(sum(gradients[name] for gradients in each.values()), together))
    print(f"all three at once: their gradients add up to the batch's, worst error {max(errors[len(each):]):.1e}")
    return max(errors) <= report.AGREES


def main(argv: Sequence[str] | None = None) -> int:
    """Compare, name the slips, draw, train; exit status 0 if the corrected gradients equal the engine's."""
    parser = report.parser(__doc__, "python -m models.derivations.binary_classifier")
    parser.add_argument("--first-label", type=int, choices=(0, 1), default=1, help='of "cat mat rat" (default: 1)')
    parser.add_argument("--rate", type=float, default=0.5, help="η (default: %(default)s)")
    parser.add_argument("--updates", type=report.count, default=100, metavar="N",
                        help="of gradient descent (default: %(default)s)")
    options = parser.parse_args(argv)
    data = sentences(options.first_label)

    p, xs, y = probe(options.seed)
    run, leaves = engine(p, xs, y)
    reference = report.engine_gradients(run.L, leaves)
    report.heading("001 · binary classifier:  O_t = tanh(x_t W_i + O_{t-1} W_h),  ŷ = σ(O_n W_o)")
    agrees = report.print_comparison(hand_gradients(p, xs, y, as_written=True), hand_gradients(p, xs, y), reference)
    print(f"reverse form  {report.describe(reverse_recursion(p, xs, y), reference)}")
    report.heading("Line by line, by hand against the engine")
    agrees &= report.print_lines(line_by_line(p, xs, y))
    report.heading("Slips and traps")
    report.print_slips(slips(p, xs, y), reference)

    weights = initial_weights(options.seed)
    agrees &= print_sentences(weights, data)
    report.heading("The dependency tree")
    print(dependency_tree(3))
    three, _ = engine(weights, *batch({"cat mat rat": options.first_label}))
    report.save_picture(three.L, options.pictures, "001-binary-classifier.svg")

    report.heading(f"Training on the three sentences, η = {options.rate:g}")
    trained, losses = train(data, rate=options.rate, updates=options.updates, seed=options.seed)
    for update in range(0, options.updates, max(1, options.updates // 5)):
        print(f"before update {update:>4}   L {losses[update]:.4f}")
    for sentence, label in data.items():
        print(f"{sentence} → {label}   ŷ {model(trained, *batch({sentence: label})).y_hat.item():.4f}")
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main())
