"""Source 000: the hidden layer only. Row vectors, a bias, and a loss per step that you choose.

Model         h_t = tanh(x_t W_ih + h_{t-1} W_hh + b_h)                     t = 1 … T
Parameters    1 W_hh (hidden–hidden)   2 W_ih (input–hidden)   3 b_h        and, if you like, h_0

The notes reach, for W_hh (for W_ih and b_h "only the last factor changes"),

    ∂L_T/∂W_hh = Σ_t ∂L_t/∂ŷ_t ∂ŷ_t/∂h_t Σ_{k}^{t} [ Π_{j=k}^{t} ∂h_{j+1}/∂h_j · ∂h_k/∂W_hh ]

and the right formula ends its product at j = t−1. Here both run: `double_sum` is that formula with its limits as
arguments. Two other forms give the same numbers: `forward_sensitivity` carries S_t = ∂h_t/∂W forward,
`reverse_recursion` carries ∂L/∂h_t backward, which is BPTT.

Shapes: x_t (1, n), h_t and b_h (1, H), W_ih (n, H), W_hh (H, H). Everything but the Jacobians takes (B, ·) rows too.

    python -m models.derivations.hidden_layer --help
"""

import sys
from typing import Any, Callable, Iterable, Mapping, NamedTuple, Sequence
import numpy as np
import minigrad as mg
from . import _report as report
from ._report import Array, Arrays, Gradients, Line


# ---- the loss per step: whatever you like ---------------------------------------------------------------------------

class StepLoss(NamedTuple):
    """A loss per step: `value(t, h_t)` is L_t, `slope(t, h_t)` is ∂L_t/∂h_t = ∂L_t/∂ŷ_t · ∂ŷ_t/∂h_t by hand."""
    value: Callable[[int, Array], Array]
    slope: Callable[[int, np.ndarray], np.ndarray]


def squared_error(targets: np.ndarray) -> StepLoss:
    """L_t = ½ Σ (h_t − target_t)²: the notes have no output equation, so ŷ_t is h_t itself. targets: (T, B, H)."""
    return StepLoss(value=lambda t, h: 0.5 * ((h - targets[t - 1]) ** 2).sum(),
                    slope=lambda t, h: h - targets[t - 1])


def read_out(V: np.ndarray, targets: np.ndarray) -> StepLoss:
    """L_t = ½ Σ (ŷ_t − target_t)² with ŷ_t = h_t V: a loss with an output layer. V: (H, K), targets: (T, B, K)."""
    return StepLoss(value=lambda t, h: 0.5 * ((h @ V - targets[t - 1]) ** 2).sum(),
                    slope=lambda t, h: (h @ V - targets[t - 1]) @ V.T)


# ---- the model ------------------------------------------------------------------------------------------------------

class Run(NamedTuple):
    """One forward pass: x[t] and L[t] for t = 1 … T, h[t] for t = 0 … T, and L_T = Σ_t L_t."""
    x: dict[int, Array]
    h: dict[int, Array]
    L: dict[int, Array]
    L_T: Array


def model(p: Mapping[str, Array], xs: Array, loss: StepLoss, steps: Callable[[Array], Iterable[Array]] = iter) -> Run:
    """Run the hidden layer over xs (T, B, n) from h_0 (B, H).

    Arrays stay arrays; with Tensors and steps=mg.steps a graph is recorded.
    """
    W_ih, W_hh, b_h, h = p["W_ih"], p["W_hh"], p["b_h"], p["h_0"]
    run = Run({}, {0: h}, {}, None)
    L_T = None
    for t, x in enumerate(steps(xs), 1):
        h = np.tanh(x @ W_ih + h @ W_hh + b_h)
        L = loss.value(t, h)
        L_T = L if L_T is None else L_T + L
        run.x[t], run.h[t], run.L[t] = x, h, L
    return run._replace(L_T=L_T)


def probe(seed: int = 0, B: int = 1) -> tuple[Arrays, np.ndarray, StepLoss]:
    """(parameters, xs, loss): sizes all different, T=4 n=5 H=6, weights 0.7·randn, b_h and h_0 not zero."""
    rng = np.random.default_rng(seed)
    T, n, H = 4, 5, 6
    shapes = {"W_hh": (H, H), "W_ih": (n, H), "b_h": (1, H), "h_0": (B, H)}
    p = {name: 0.7 * rng.standard_normal(shape) for name, shape in shapes.items()}
    return p, rng.standard_normal((T, B, n)), squared_error(rng.standard_normal((T, B, H)))


# ---- the pieces of the formula, one sequence (B = 1) ----------------------------------------------------------------

def jacobian(run: Run, p: Arrays, j: int) -> np.ndarray:
    """∂h_{j+1}/∂h_j = diag(1 − h²_{j+1}) W_hhᵀ, shape (H, H): row i is the derivative of unit i."""
    return np.diag(1 - run.h[j + 1].ravel() ** 2) @ p["W_hh"].T


def product(run: Run, p: Arrays, k: int, upper: int) -> np.ndarray:
    """Π_{j=k}^{upper} ∂h_{j+1}/∂h_j = ∂h_{upper+1}/∂h_k, the latest factor on the left; empty product = I."""
    result = np.eye(run.h[0].size)
    for j in range(k, upper + 1):
        result = jacobian(run, p, j) @ result
    return result


def immediate(run: Run, p: Arrays, k: int, name: str) -> np.ndarray:
    """The immediate derivative of h_k: h_{k-1} held fixed. Shape (H, *parameter), entry [i, a, b] = ∂h_k[i]/∂W[a, b].

    h_k = tanh(… + in W), so it is (1 − h_k²)[i] · in[a] if b == i, else 0; only `in` depends on the parameter. h_0 is
    used at k = 0 alone, where it is itself: I.
    """
    H = run.h[0].size
    if k == 0 or name == "h_0":
        return (np.eye(H) if k == 0 and name == "h_0" else np.zeros((H, p[name].size))).reshape(H, *p[name].shape)
    factor = {"W_hh": run.h[k - 1], "W_ih": run.x[k], "b_h": np.ones((1, 1))}[name]
    return np.einsum("i,ib,a->iab", 1 - run.h[k].ravel() ** 2, np.eye(H), factor.ravel())


def forward_sensitivity(run: Run, p: Arrays, name: str) -> dict[int, np.ndarray]:
    """{t: ∂h_t/∂W}, the total derivative, by S_t = immediate_t + J_t S_{t-1}: every path, carried forward."""
    S = {0: immediate(run, p, 0, name)}
    for t in list(run.h)[1:]:
        S[t] = immediate(run, p, t, name) + np.tensordot(jacobian(run, p, t - 1), S[t - 1], 1)
    return S


def expand(run: Run, p: Arrays, t: int, name: str) -> dict[int, np.ndarray]:
    """The terms of ∂h_t/∂W = Σ_{k=0}^{t} ∂h_t/∂h_k · ∂h_k/∂W as {k: term}; for t = 2 the notes' worked example."""
    return {k: np.tensordot(product(run, p, k, t - 1), immediate(run, p, k, name), 1) for k in range(t + 1)}


# ---- the gradient in three forms ------------------------------------------------------------------------------------

Factor = Callable[[int, int], np.ndarray]           # of (t, k)


def double_sum(run: Run, p: Arrays, loss: StepLoss, name: str, *, k_from: int = 0,
               product_to: Callable[[int], int] = lambda t: t - 1, last_factor: Factor | None = None) -> np.ndarray:
    """∂L_T/∂W = Σ_t ∂L_t/∂h_t Σ_{k=k_from}^{t} [ Π_{j=k}^{product_to(t)} ∂h_{j+1}/∂h_j · last_factor(t, k) ].

    last_factor: a function of (t, k); by default ∂h_k/∂W, the immediate one. All defaults together are right.
    """
    last_factor = last_factor or (lambda t, k: immediate(run, p, k, name))
    total = np.zeros(p[name].shape)
    for t in run.L:
        for k in range(k_from, t + 1):
            row = loss.slope(t, run.h[t]) @ product(run, p, k, product_to(t))
            total += np.tensordot(row[0], last_factor(t, k), 1)
    return total


def one_loss(run: Run, p: Arrays, loss: StepLoss, name: str) -> dict[int, np.ndarray]:
    """{t: ∂L_t/∂W = ∂L_t/∂ŷ_t · ∂ŷ_t/∂h_t · S_t}, with S_t = ∂h_t/∂W from the forward recursion."""
    S = forward_sensitivity(run, p, name)
    return {t: np.tensordot(loss.slope(t, run.h[t])[0], S[t], 1) for t in run.L}


def forward_form(run: Run, p: Arrays, loss: StepLoss, name: str) -> np.ndarray:
    """∂L_T/∂W = Σ_t ∂L_t/∂W, every term known as soon as step t is done: no way back is needed."""
    return sum(one_loss(run, p, loss, name).values(), np.zeros(p[name].shape))


def reverse_recursion(run: Run, p: Arrays, loss: StepLoss) -> Gradients:
    """All gradients at once, from t = T down to 1: ∂L/∂h_t = ∂L_t/∂h_t + ∂L/∂a_{t+1} W_hhᵀ, a the inside of tanh."""
    gradients = {name: np.zeros(array.shape) for name, array in p.items()}
    dh = np.zeros(run.h[0].shape)
    for t in reversed(run.L):
        dh = dh + loss.slope(t, run.h[t])               # ∂L/∂h_t: through its own loss, and what comes from t+1
        da = dh * (1 - run.h[t] ** 2)
        gradients["W_hh"] += run.h[t - 1].T @ da
        gradients["W_ih"] += run.x[t].T @ da
        gradients["b_h"] += da.sum(axis=0, keepdims=True)
        dh = da @ p["W_hh"].T                           # on its way to t−1
    return gradients | {"h_0": dh}


def with_one_step_more(run: Run, p: Arrays) -> Run:
    """The same run with h_{T+1}, which the formula as written needs: x_{T+1} = 0 is supplied, and has no loss."""
    T = max(run.L)
    return run._replace(h=run.h | {T + 1: np.tanh(run.h[T] @ p["W_hh"] + p["b_h"])})


def hand_gradients(p: Arrays, xs: np.ndarray, loss: StepLoss, *, as_written: bool = False, form: str = "double sum") -> Gradients:
    """{name: ∂L_T/∂name} in plain NumPy, for W_hh, W_ih, b_h and h_0.

    as_written: the notes' final formula with its product up to j = t (one Jacobian too many; needs h_{T+1}).
    form: "double sum" or "forward" (both for one sequence), or "reverse" (any number of rows).
    """
    run = model(p, xs, loss)
    if as_written:
        longer = with_one_step_more(run, p)
        return {name: double_sum(longer, p, loss, name, product_to=lambda t: t) for name in p}
    if form == "reverse":
        return reverse_recursion(run, p, loss)
    compute = {"double sum": double_sum, "forward": forward_form}[form]
    return {name: compute(run, p, loss, name) for name in p}


def engine(p: Arrays, xs: np.ndarray, loss: StepLoss) -> tuple[Run, dict[str, mg.Tensor]]:
    """(run, leaves): the same model recorded by minigrad; run.L_T is the loss to differentiate or draw."""
    leaves = report.parameters(p)
    return model(leaves, mg.Tensor(xs), loss, steps=mg.steps), leaves


def line_by_line(p: Arrays, xs: np.ndarray, loss: StepLoss) -> list[Line]:
    """[(line of the notes, by hand, by the engine)]."""
    run = model(p, xs, loss)
    recorded, leaves = engine(p, xs, loss)
    last = max(run.L)
    lines: list[Line] = [(f"∂L_{t}/∂W_hh, one loss", hand, report.engine_gradient(recorded.L[t], leaves["W_hh"]))
                         for t, hand in one_loss(run, p, loss, "W_hh").items()]
    lines += [(f"∂h_{last}/∂h_{k} = Π_(j={k}..{last - 1}) ∂h_(j+1)/∂h_j", product(run, p, k, last - 1),
               mg.jacobian(recorded.h[last], recorded.h[k]).data[0, :, 0, :]) for k in range(last)]
    lines += [(f"∂h_2/∂{name} = Σ_(k=0..2) ∂h_2/∂h_k · ∂h_k/∂{name}", sum(expand(run, p, 2, name).values()),
               mg.jacobian(recorded.h[2], leaves[name]).data[0]) for name in p]
    return lines


# ---- the slips ------------------------------------------------------------------------------------------------------

def slips(p: Arrays, xs: np.ndarray, loss: StepLoss) -> list[report.Slip]:
    """What the notes get wrong, or leave open, as formulas that run."""
    run = model(p, xs, loss)
    S = {name: forward_sensitivity(run, p, name) for name in p}

    def with_choice(**choice: Any) -> Gradients:
        return {name: double_sum(run, p, loss, name, **choice) for name in p}

    def with_last_factor(of_name: Callable[[str], Factor]) -> Gradients:
        return {name: double_sum(run, p, loss, name, last_factor=of_name(name)) for name in p}

    return [
        report.Slip("value", "Π_{j=k}^{t} ∂h_{j+1}/∂h_j after t+1 was renamed t",
                    "Π_{j=k}^{t−1}: the limit had to be renamed too; j = t needs an h_{T+1} (here from x_{T+1} = 0)",
                    {"as written": lambda: hand_gradients(p, xs, loss, as_written=True)}),
        report.Slip("reading", "∂h_k/∂W inside the sum over k",
                    "the immediate derivative; the total one already holds the paths that the sum runs over",
                    {"immediate": lambda: with_choice(),
                     "total": lambda: with_last_factor(lambda name: lambda t, k: S[name][k])}),
        report.Slip("reading", "the W_hh line ends in ∂h_t/∂W, the other two in ∂h_k/∂W",
                    "∂h_k/∂W: the term that reaches h_t through h_k",
                    {"∂h_k/∂W": lambda: with_choice(),
                     "∂h_t/∂W": lambda: with_last_factor(lambda name: lambda t, k: immediate(run, p, t, name))}),
        report.Slip("value", "k = 0 adds nothing",
                    "true while h_0 is a constant; if it is a leaf, k = 0 is the whole of its gradient",
                    {"sum from k = 1": lambda: with_choice(k_from=1)}),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Compare, name the slips, draw; exit status 0 if the corrected gradients equal the engine's."""
    parser = report.parser(__doc__, "python -m models.derivations.hidden_layer")
    parser.add_argument("--loss", choices=("squared-error", "read-out"), default="squared-error",
                        help="the loss per step: ½|h_t − target|² or ½|h_t V − target|² (default: %(default)s)")
    options = parser.parse_args(argv)
    p, xs, loss = probe(options.seed)
    if options.loss == "read-out":
        rng = np.random.default_rng(options.seed + 1)
        loss = read_out(rng.standard_normal((6, 3)), rng.standard_normal((len(xs), 1, 3)))
    run = model(p, xs, loss)
    recorded, leaves = engine(p, xs, loss)
    reference = report.engine_gradients(recorded.L_T, leaves)

    report.heading("000 · hidden layer only:  h_t = tanh(x_t W_ih + h_{t-1} W_hh + b_h)")
    corrected = hand_gradients(p, xs, loss)
    agrees = report.print_comparison(hand_gradients(p, xs, loss, as_written=True), corrected, reference)
    for form in ("forward", "reverse"):
        print(f"{form + ' form':<14}{report.describe(hand_gradients(p, xs, loss, form=form), reference)}")

    report.heading("Line by line, by hand against the engine")
    agrees &= report.print_lines(line_by_line(p, xs, loss))
    report.heading("Slips")
    report.print_slips(slips(p, xs, loss), reference)

    report.heading("The worked example: ∂h_2/∂W_hh = Σ_{k=0}^{2} ∂h_2/∂h_k · ∂h_k/∂W_hh")
    for k, term in expand(run, p, 2, "W_hh").items():
        print(f"k = {k}   largest entry {np.abs(term).max():.6f}{'' if k else '   h_0 is not a function of W_hh'}")
    report.save_picture(recorded.L_T, options.pictures, "000-hidden-layer.svg")
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main())
