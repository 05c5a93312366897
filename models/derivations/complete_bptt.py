"""Source 002: the complete derivation. Row vectors, biases, a softmax and a loss at every step, five parameters.

(1)  L_T = Σ_{t=0}^{T} L_t            (2)  L_t = −y_t log ŷ_t  (summed over classes)        (3)  ŷ_t = softmax(o_t)
(4)  o_t = h_t W_y + b_y              (5)  h_t = tanh(x_t W_x + h_{t-1} W_h + b_h)

Parameters    1 W_y (hidden–output)   2 b_y   3 W_h (hidden–hidden)   4 W_x (input–hidden)   5 b_h

(6)  ∂L_T/∂W_y = Σ_t (ŷ_t−y_t) h_t              (7)  ∂L_T/∂b_y = Σ_t (ŷ_t−y_t) · 1
(8)  ∂L_t/∂W_h = (ŷ_t−y_t) · W_y · ∂h_t/∂W_h    with  ∂h_t/∂W_h = Σ_k ∂h_t/∂h_k · ∂h_k/∂W_h
(9)  ∂L_T/∂W_h = Σ_t ∂L_t/∂ŷ_t ∂ŷ_t/∂o_t ∂o_t/∂h_t Σ_{k=1}^{t} [ Π_{i=k}^{t} ∂h_i/∂h_{i-1} · ∂h_k/∂W_h ]
     and the same for W_x and b_h.

`bptt_sum` is (9) with its limits as arguments; `reverse_recursion` gives the same numbers in one pass.

Two ways to count: (1) starts at t = 0, (9) at k = 1. `first` is the number of the first step, 0 or 1; the initial
state is then h[first − 1]. Every formula here holds for both, once its limits say `first`.

Shapes: x_t (1, n), h_t and b_h (1, H), o_t, ŷ_t, y_t and b_y (1, C), W_x (n, H), W_h (H, H), W_y (H, C).
The model and `reverse_recursion` take (B, ·) rows too; the Jacobians are for one sequence, as in the notes.

    python -m models.derivations.complete_bptt --help
"""

import sys
from typing import Any, Callable, Iterable, Mapping, NamedTuple, Sequence
import numpy as np
import minigrad as mg
from . import _report as report
from ._report import Array, Arrays, Gradients, Line

PARAMETERS = ("W_y", "b_y", "W_h", "W_x", "b_h")
HIDDEN = ("W_h", "W_x", "b_h")


# ---- the model, (1) to (5) ------------------------------------------------------------------------------------------

def softmax(o: Array) -> Array:
    """e^{o_i} / Σ_j e^{o_j} along each row; the largest o is taken out first, which changes nothing but overflow."""
    e = np.exp(o - np.max(o.real, axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


class Run(NamedTuple):
    """One forward pass by step: x, y, h, o, ŷ, L are dictionaries with keys t; h also holds the initial state."""
    x: dict[int, Array]
    y: dict[int, Array]
    h: dict[int, Array]
    o: dict[int, Array]
    y_hat: dict[int, Array]
    L: dict[int, Array]
    L_T: Array

    @property
    def first(self) -> int:
        """The number of the first step, 0 or 1."""
        return min(self.x)


def model(p: Mapping[str, Array], xs: Array, ys: Array, *, first: int = 1,
          steps: Callable[[Array], Iterable[Array]] = iter, softmax: Callable[[Array], Array] = softmax) -> Run:
    """Run (1)–(5) over xs (T, B, n) with one-hot targets ys (T, B, C); steps are numbered from `first`.

    Arrays stay arrays; with Tensors, steps=mg.steps and softmax=mg.softmax a graph is recorded.
    """
    W_y, b_y, W_h, W_x, b_h, h = (p[name] for name in (*PARAMETERS, "h_0"))
    run = Run({}, {}, {first - 1: h}, {}, {}, {}, None)
    L_T = None
    for t, x in enumerate(steps(xs), first):
        y = ys[t - first]
        h = np.tanh(x @ W_x + h @ W_h + b_h)                                            # (5)
        o = h @ W_y + b_y                                                               # (4)
        y_hat = softmax(o)                                                              # (3)
        L = -(y * np.log(y_hat)).sum()                                                  # (2)
        L_T = L if L_T is None else L_T + L                                             # (1)
        run.x[t], run.y[t], run.h[t], run.o[t], run.y_hat[t], run.L[t] = x, y, h, o, y_hat, L
    return run._replace(L_T=L_T)


def probe(seed: int = 0, B: int = 1) -> tuple[Arrays, np.ndarray, np.ndarray]:
    """(parameters, xs, ys): sizes all different, T=4 n=5 H=6 C=7, weights 0.7·randn, biases and h_0 not zero."""
    rng = np.random.default_rng(seed)
    T, n, H, C = 4, 5, 6, 7
    shapes = {"W_y": (H, C), "b_y": (1, C), "W_h": (H, H), "W_x": (n, H), "b_h": (1, H), "h_0": (B, H)}
    p = {name: 0.7 * rng.standard_normal(shape) for name, shape in shapes.items()}
    return p, rng.standard_normal((T, B, n)), np.eye(C)[rng.integers(C, size=(T, B))]


# ---- the pieces of (8) and (9), one sequence (B = 1) ----------------------------------------------------------------

def dL_dh(run: Run, p: Arrays, t: int) -> np.ndarray:
    """∂L_t/∂h_t = ∂L_t/∂ŷ_t ∂ŷ_t/∂o_t ∂o_t/∂h_t = (ŷ_t−y_t) W_yᵀ, shape (1, H): through its own loss only."""
    return (run.y_hat[t] - run.y[t]) @ p["W_y"].T


def jacobian(run: Run, p: Arrays, i: int) -> np.ndarray:
    """∂h_i/∂h_{i-1} = diag(1 − h_i²) W_hᵀ, shape (H, H): row a is the derivative of unit a."""
    return np.diag(1 - run.h[i].ravel() ** 2) @ p["W_h"].T


def product(run: Run, p: Arrays, lower: int, t: int) -> np.ndarray:
    """Π_{i=lower}^{t} ∂h_i/∂h_{i-1} = ∂h_t/∂h_{lower−1}, the latest factor on the left; empty product = I."""
    result = np.eye(p["W_h"].shape[0])
    for i in range(lower, t + 1):
        result = jacobian(run, p, i) @ result
    return result


def immediate(run: Run, k: int, name: str) -> np.ndarray:
    """∂h_k/∂W with h_{k-1} held fixed, shape (H, *parameter): (1 − h_k²)[i] · in[a] where the column is i, else 0.

    `in` is what the parameter multiplies: h_{k-1} for W_h, x_k for W_x, 1 for b_h. So ∂h_k/∂b_h = diag(1 − h_k²).
    """
    factor = {"W_h": run.h[k - 1], "W_x": run.x[k], "b_h": np.ones((1, 1))}[name].ravel()
    slope = 1 - run.h[k].ravel() ** 2
    return np.einsum("i,ib,a->iab", slope, np.eye(slope.size), factor)


def total(run: Run, p: Arrays, name: str) -> dict[int, np.ndarray]:
    """{t: ∂h_t/∂W} along every path: ∂h_t/∂W = immediate_t + ∂h_t/∂h_{t-1} · ∂h_{t-1}/∂W."""
    S = {run.first: immediate(run, run.first, name)}
    for t in list(run.x)[1:]:
        S[t] = immediate(run, t, name) + np.tensordot(jacobian(run, p, t), S[t - 1], 1)
    return S


def expand(run: Run, p: Arrays, t: int, name: str) -> dict[int, np.ndarray]:
    """The terms of ∂h_t/∂W = Σ_{k=first}^{t} ∂h_t/∂h_k · ∂h_k/∂W as {k: term}; for t = 3 the notes' illustration."""
    return {k: np.tensordot(product(run, p, k + 1, t), immediate(run, k, name), 1) for k in range(run.first, t + 1)}


def expansion(t: int, name: str, first: int = 1) -> str:
    """The same sum as text."""
    return f"∂h_{t}/∂{name} = " + " + ".join(f"∂h_{t}/∂h_{k}·∂h_{k}/∂{name}" for k in range(first, t + 1))


# ---- the gradients --------------------------------------------------------------------------------------------------

def equation_6(run: Run) -> Array:
    """(6) corrected: ∂L_T/∂W_y = Σ_t h_tᵀ (ŷ_t−y_t)."""
    return sum(run.h[t].T @ (run.y_hat[t] - run.y[t]) for t in run.x)


def equation_6_as_written(run: Run) -> Array:
    """(6) as written: two row vectors do not multiply, so this raises."""
    return sum(report.multiply("(6) (ŷ_t−y_t) h_t", run.y_hat[t] - run.y[t], run.h[t],
                               intended=("h_tᵀ (ŷ_t−y_t)", run.h[t].T, run.y_hat[t] - run.y[t])) for t in run.x)


def equation_7(run: Run) -> Array:
    """(7): ∂L_T/∂b_y = Σ_t (ŷ_t−y_t) · 1 (and the rows of a batch add up)."""
    return sum((run.y_hat[t] - run.y[t]).sum(axis=0, keepdims=True) for t in run.x)


def equation_8(run: Run, p: Arrays, t: int, name: str) -> np.ndarray:
    """(8) corrected, for one loss: ∂L_t/∂W = (ŷ_t−y_t) · W_yᵀ · ∂h_t/∂W, the last factor by its sum over k."""
    return np.tensordot(dL_dh(run, p, t)[0], sum(expand(run, p, t, name).values()), 1)


def equation_8_as_written(run: Run, p: Arrays, t: int, name: str) -> np.ndarray:
    """(8) as written: the row (ŷ_t−y_t) does not multiply W_y, so this raises."""
    delta = run.y_hat[t] - run.y[t]
    row = report.multiply("(8) (ŷ_t−y_t) · W_y", delta, p["W_y"], intended=("(ŷ_t−y_t) · W_yᵀ", delta, p["W_y"].T))
    return np.tensordot(row[0], total(run, p, name)[t], 1)


def terms(run: Run, p: Arrays, name: str, *, t_from: int | None = None, k_from: int | None = None,
          i_from: Callable[[int], int] = lambda k: k + 1,
          last_factor: Callable[[Run, int, str], np.ndarray] = immediate) -> dict[tuple[int, int], np.ndarray]:
    """{(t, k): ∂L_t/∂h_t [ Π_{i=i_from(k)}^{t} ∂h_i/∂h_{i-1} ] ∂h_k/∂W}: loss t through the use of W at step k.

    t_from, k_from: lower limits of the sums, by default the first step. last_factor(run, k, name): ∂h_k/∂W.
    With all defaults, term (t, k) is the gradient of L_t with respect to a copy of W used at step k only.
    """
    t_from, k_from = (run.first if limit is None else limit for limit in (t_from, k_from))
    return {(t, k): np.tensordot((dL_dh(run, p, t) @ product(run, p, i_from(k), t))[0], last_factor(run, k, name), 1)
            for t in range(t_from, max(run.x) + 1) for k in range(k_from, t + 1)}


def bptt_sum(run: Run, p: Arrays, name: str, **limits: Any) -> np.ndarray:
    """(9): the double sum of `terms`, for W_h, W_x or b_h. Its defaults are the corrected limits."""
    return sum(terms(run, p, name, **limits).values(), np.zeros(p[name].shape))


def reverse_recursion(run: Run, p: Arrays) -> Gradients:
    """All five in one pass from the last step to the first: ∂L/∂h_t = (ŷ_t−y_t) W_yᵀ + ∂L/∂a_{t+1} W_hᵀ."""
    gradients = {name: np.zeros_like(p[name]) for name in PARAMETERS}
    carry = 0.0                                         # nothing comes from beyond the last step
    for t in reversed(run.x):
        do = run.y_hat[t] - run.y[t]
        dh = do @ p["W_y"].T + carry
        da = dh * (1 - run.h[t] ** 2)
        gradients["W_y"] += run.h[t].T @ do
        gradients["b_y"] += do.sum(axis=0, keepdims=True)
        gradients["W_h"] += run.h[t - 1].T @ da
        gradients["W_x"] += run.x[t].T @ da
        gradients["b_h"] += da.sum(axis=0, keepdims=True)
        carry = da @ p["W_h"].T
    return gradients


def bias_factor_as_written(run: Run, k: int, name: str) -> np.ndarray:
    """"∂h_k/∂b_h = 1": the identity instead of diag(1 − h_k²). The other parameters as they should be."""
    return np.eye(run.h[k].size)[:, None, :] if name == "b_h" else immediate(run, k, name)


def hand_gradients(p: Arrays, xs: np.ndarray, ys: np.ndarray, *, as_written: bool = False, form: str = "double sum",
                   first: int = 1) -> Gradients:
    """{name: ∂L_T/∂name} in plain NumPy for the five parameters.

    as_written: (6), (7) and (9) as they stand, steps from t = 0 as in (1); an entry that does not conform is the
    ValueError it raised.
    form: "double sum" (one sequence) or "reverse" (any number of rows).  first: the number of the first step.
    """
    if as_written:
        run = model(p, xs, ys, first=0)
        nine = {name: bptt_sum(run, p, name, k_from=1, i_from=lambda k: k, last_factor=bias_factor_as_written)
                for name in HIDDEN}
        return {"W_y": report.attempt(lambda: equation_6_as_written(run)), "b_y": equation_7(run), **nine}
    run = model(p, xs, ys, first=first)
    if form == "reverse":
        return reverse_recursion(run, p)
    return {"W_y": equation_6(run), "b_y": equation_7(run), **{name: bptt_sum(run, p, name) for name in HIDDEN}}


def engine(p: Arrays, xs: np.ndarray, ys: np.ndarray) -> tuple[Run, dict[str, mg.Tensor]]:
    """(run, leaves): the same model recorded by minigrad; run.L_T is the loss to differentiate or draw."""
    leaves = report.parameters({name: p[name] for name in PARAMETERS})
    start = {"h_0": mg.Tensor(p["h_0"], name="h_0")}
    y = report.columns_of_time("y", ys)
    return model(leaves | start, mg.Tensor(xs), y, steps=mg.steps, softmax=mg.softmax), leaves


# ---- line by line ---------------------------------------------------------------------------------------------------

def line_by_line(p: Arrays, xs: np.ndarray, ys: np.ndarray) -> list[Line]:
    """[(line of the notes, by hand, by the engine)] for (1) to (9), intermediates and their derivatives included."""
    run = model(p, xs, ys)
    recorded, leaves = engine(p, xs, ys)
    W_h, last, gradient = leaves["W_h"], max(run.x), report.engine_gradient

    def every_step(values: Mapping[int, Array]) -> np.ndarray:
        return np.stack([values[t].data if isinstance(values[t], mg.Tensor) else values[t] for t in run.x])

    do = every_step({t: run.y_hat[t] - run.y[t] for t in run.x})
    do_engine = {t: gradient(recorded.L_T, o) for t, o in recorded.o.items()}
    lines: list[Line] = [
        ("(1) L_T", run.L_T, recorded.L_T.data),
        ("(2) L_t, every t", every_step(run.L), every_step(recorded.L)),
        ("(3) ŷ_t, every t", every_step(run.y_hat), every_step(recorded.y_hat)),
        ("(4) o_t, every t", every_step(run.o), every_step(recorded.o)),
        ("(5) h_t, every t", every_step(run.h), every_step(recorded.h)),
        ("    ∂L_T/∂o_t = ŷ_t − y_t, every t", do, every_step(do_engine)),
        ("(6) ∂L_T/∂W_y", equation_6(run), gradient(recorded.L_T, leaves["W_y"])),
        ("(7) ∂L_T/∂b_y", equation_7(run), gradient(recorded.L_T, leaves["b_y"])),
    ]
    for t in run.x:
        lines.append((f"(8) ∂L_{t}/∂W_h, one loss", equation_8(run, p, t, "W_h"), gradient(recorded.L[t], W_h)))
    for k in range(1, last):
        by_engine = mg.jacobian(recorded.h[last], recorded.h[k]).data[0, :, 0, :]
        lines.append((f"    ∂h_{last}/∂h_{k} = Π_(i={k + 1}..{last}) ∂h_i/∂h_(i-1)", product(run, p, k + 1, last),
                      by_engine))
    lines.append(("    ∂h_3/∂W_h, its three terms added", sum(expand(run, p, 3, "W_h").values()),
                  mg.jacobian(recorded.h[3], W_h).data[0]))
    for name in HIDDEN:
        lines.append((f"(9) ∂L_T/∂{name}", bptt_sum(run, p, name), gradient(recorded.L_T, leaves[name])))
    return lines


# ---- the slips ------------------------------------------------------------------------------------------------------

def without_explicit_term(run: Run, p: Arrays, name: str, *, every_time: bool) -> np.ndarray:
    """∂h_t/∂W = ∂h_t/∂h_{t-1} · ∂h_{t-1}/∂W, the explicit term missing, used in every loss.

    every_time: the line applied again to its own last factor, down to the first step (the longest path alone is left);
    else applied once, to the correct total derivative.
    """
    right = total(run, p, name)
    if every_time:
        S = {t: np.tensordot(product(run, p, run.first + 1, t), right[run.first], 1) for t in run.x}
    else:
        S = {t: np.tensordot(jacobian(run, p, t), right.get(t - 1, 0 * right[t]), 1) for t in run.x}
    return sum((np.tensordot(dL_dh(run, p, t)[0], S[t], 1) for t in run.x), np.zeros(p[name].shape))


def slips(p: Arrays, xs: np.ndarray, ys: np.ndarray) -> list[report.Slip]:
    """(a) to (g): what the notes get wrong, or leave open, as formulas that run."""
    run, run_from_0 = model(p, xs, ys), model(p, xs, ys, first=0)

    def nine(run: Run = run, names: Iterable[str] = HIDDEN, **limits: Any) -> Gradients:
        return {name: bptt_sum(run, p, name, **limits) for name in names}

    def with_totals() -> Gradients:
        S = {name: total(run, p, name) for name in HIDDEN}
        return nine(last_factor=lambda run, k, name: S[name][k])

    def without_explicit(every_time: bool) -> Gradients:
        return {name: without_explicit_term(run, p, name, every_time=every_time) for name in HIDDEN}

    return [
        report.Slip("value", "(a) in (9): Π_{i=k}^{t} ∂h_i/∂h_{i-1}", "i from k+1: ∂h_t/∂h_k has t−k factors",
                    {"i from k": lambda: nine(i_from=lambda k: k)}),
        report.Slip("value", "(b) ∂h_k/∂b_h = 1", "diag(1 − h_k²): tanh′ is in every path",
                    {"identity": lambda: nine(last_factor=bias_factor_as_written)}),
        report.Slip("value", "(c) (1) counts from t = 0, (9) sums from k = 1",
                    "k from the first step, whatever its number",
                    {"k from 1": lambda: nine(run_from_0, k_from=1)}),
        report.Slip("value", "(d) ∂h_{t+1}/∂W_h = ∂h_{t+1}/∂h_t · ∂h_t/∂W_h",
                    "plus the explicit term: ∂h_{t+1}/∂W_h with h_t held fixed",
                    {"applied once": lambda: without_explicit(every_time=False),
                     "every time": lambda: without_explicit(every_time=True)}),
        report.Slip("shape", "(e) (6) Σ_t (ŷ_t−y_t) h_t and (8) (ŷ_t−y_t) · W_y · …", "h_tᵀ (ŷ_t−y_t), and W_yᵀ",
                    {"(6)": lambda: {"W_y": equation_6_as_written(run)},
                     "(8)": lambda: {"W_h": equation_8_as_written(run, p, 2, "W_h")}}),
        report.Slip("reading", "(f) ∂h_k/∂W inside the sum over k", "immediate; the total one counts paths again",
                    {"immediate": nine, "total": with_totals}),
        report.Slip("reading", "(g) the sum over t in (9) has no lower limit", "the first step, which (1) calls t = 0",
                    {"t from 0": lambda: nine(run_from_0), "t from 1": lambda: nine(run_from_0, t_from=1)}),
    ]


def print_invisible(p: Arrays, xs: np.ndarray, ys: np.ndarray) -> None:
    """Print slip (c) once more with the initial state 0: what W_h cannot show."""
    at_zero = p | {"h_0": 0 * p["h_0"]}
    run = model(at_zero, xs, ys, first=0)
    wrong = {name: bptt_sum(run, at_zero, name, k_from=1) for name in HIDDEN}
    print("(c) again with the initial state 0, as most people check: invisible in W_h")
    print(f"      k from 1  {report.describe(wrong, hand_gradients(at_zero, xs, ys))}")


def print_terms(run: Run, p: Arrays, name: str) -> None:
    """The size of every term of (9): loss t (down) through the use of the parameter at step k (across)."""
    C = terms(run, p, name)
    print(f"{'':6}" + "".join(f"{f'k={k}':>10}" for k in run.x))
    for t in run.x:
        print(f"t={t:<4}" + "".join(f"{np.abs(C[t, k]).max():>10.4f}" for k in run.x if k <= t))


def main(argv: Sequence[str] | None = None) -> int:
    """Compare, name the slips, draw; exit status 0 if the corrected gradients equal the engine's."""
    parser = report.parser(__doc__, "python -m models.derivations.complete_bptt")
    parser.add_argument("--expand", type=int, default=3, metavar="t", choices=range(1, 5),
                        help="which h_t to expand as the notes expand h_3, 1 to 4 (default: 3)")
    options = parser.parse_args(argv)
    p, xs, ys = probe(options.seed)
    run = model(p, xs, ys)
    recorded, leaves = engine(p, xs, ys)
    reference = report.engine_gradients(recorded.L_T, leaves)

    report.heading("002 · complete:  h_t = tanh(x_t W_x + h_{t-1} W_h + b_h),  ŷ_t = softmax(h_t W_y + b_y)")
    agrees = report.print_comparison(hand_gradients(p, xs, ys, as_written=True), hand_gradients(p, xs, ys), reference)
    print(f"reverse form    {report.describe(hand_gradients(p, xs, ys, form='reverse'), reference)}")
    print(f"steps from t=0  {report.describe(hand_gradients(p, xs, ys, first=0), reference)}")
    report.heading("Line by line, by hand against the engine")
    agrees &= report.print_lines(line_by_line(p, xs, ys))

    report.heading("Slips")
    report.print_slips(slips(p, xs, ys), reference)
    print_invisible(p, xs, ys)

    t = options.expand
    report.heading(expansion(t, "W_h"))
    for k, term in expand(run, p, t, "W_h").items():
        print(f"h_{t} varies because h_{k} varies because W_h varies: largest entry {np.abs(term).max():.4f}")
    report.heading("The terms of (9) for W_h: loss t through the use at step k, largest entry")
    print_terms(run, p, "W_h")
    report.save_picture(recorded.L_T, options.pictures, "002-complete-bptt.svg")
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main())
