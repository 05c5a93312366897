"""Source 003: the matrix recursion. Column vectors and biases, after Goodfellow, Bengio, Courville (2016), chapter 10.

Model         a^(t) = b + W h^(t-1) + U x^(t)    h^(t) = tanh(a^(t))    o^(t) = c + V h^(t)    ŷ^(t) = softmax(o^(t))
Loss          L = Σ_t L^(t),   L^(t) = −Σ_i y_i log ŷ_i
Rule          f = A x  ⇒  ∂f/∂x = Aᵀ: the source of every transpose below

By hand       ∇_{o(t)}L = ŷ^(t) − y^(t)
              ∇_{h(t)}L = Wᵀ H^(t+1) ∇_{h(t+1)}L + Vᵀ ∇_{o(t)}L            H^(t) = diag(1 − (h^(t))²)
              ∇_{h(τ)}L = Vᵀ ∇_{o(τ)}L                                     the last step τ      (not on the page)
              ∇_{h(0)}L = Wᵀ H^(1) ∇_{h(1)}L                               the initial state    (not on the page)
              ∇_c L = Σ_t (∂o^(t)/∂c)ᵀ ∇_{o(t)}L = Σ_t ∇_{o(t)}L           ∇_b L = Σ_t H^(t) ∇_{h(t)}L
              ∇_V L = Σ_t (∇_{o(t)}L) h^(t)ᵀ                               ∇_W L = Σ_t H^(t) (∇_{h(t)}L) h^(t-1)ᵀ
              ∇_U L = Σ_t H^(t) (∇_{h(t)}L) x^(t)ᵀ
              ∇_V, ∇_W and ∇_U are illegible on the page and supplied after the book.

The derivation has no wrong line; one pair of brackets allows two readings. Three near misses are here as exercises.

Shapes: x^(t) (n, 1), h^(t) and b (m, 1), o^(t), y^(t) and c (C, 1), U (m, n), W (m, m), V (C, m).

    python -m models.derivations.matrix_recursion --help
"""

import sys
from typing import Callable, Iterable, Mapping, NamedTuple, Sequence
import numpy as np
import minigrad as mg
from . import _report as report
from ._report import Array, Arrays, Gradients

PARAMETERS = ("b", "c", "U", "V", "W")


# ---- the model ------------------------------------------------------------------------------------------------------

def softmax(o: Array, axis: int = 0) -> Array:
    """e^{o_i} / Σ_j e^{o_j} down each column; the largest o is taken out first, which changes nothing but overflow."""
    e = np.exp(o - np.max(o.real, axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


class Run(NamedTuple):
    """One forward pass: dictionaries with keys t = 1 … τ; h also holds the initial state h[0]. L is the whole loss."""
    x: dict[int, Array]
    y: dict[int, Array]
    a: dict[int, Array]
    h: dict[int, Array]
    o: dict[int, Array]
    y_hat: dict[int, Array]
    L: Array


def model(p: Mapping[str, Array], xs: Array, ys: Array, *, steps: Callable[[Array], Iterable[Array]] = iter,
          softmax: Callable[..., Array] = softmax) -> Run:
    """Run the network over xs (τ, n, 1) with one-hot targets ys (τ, C, 1), in columns as the notes have them.

    Arrays stay arrays; with Tensors, steps=mg.steps and softmax=mg.softmax a graph is recorded.
    """
    b, c, U, V, W, h = (p[name] for name in (*PARAMETERS, "h_0"))
    run = Run({}, {}, {}, {0: h}, {}, {}, None)
    total = None
    for t, x in enumerate(steps(xs), 1):
        y = ys[t - 1]
        a = b + W @ h + U @ x
        h = np.tanh(a)
        o = c + V @ h
        y_hat = softmax(o, axis=0)
        L = -(y * np.log(y_hat)).sum()                  # this step's loss, L^(t)
        total = L if total is None else total + L
        run.x[t], run.y[t], run.a[t], run.h[t], run.o[t], run.y_hat[t] = x, y, a, h, o, y_hat
    return run._replace(L=total)


def probe(seed: int = 0) -> tuple[Arrays, np.ndarray, np.ndarray]:
    """(parameters, xs, ys): sizes all different, τ=4 n=5 m=6 C=7, weights 0.7·randn, biases and h^(0) not zero."""
    rng = np.random.default_rng(seed)
    steps, n, m, C = 4, 5, 6, 7
    shapes = {"b": (m, 1), "c": (C, 1), "U": (m, n), "V": (C, m), "W": (m, m), "h_0": (m, 1)}
    p = {name: 0.7 * rng.standard_normal(shape) for name, shape in shapes.items()}
    return p, rng.standard_normal((steps, n, 1)), np.eye(C)[rng.integers(C, size=steps)][:, :, None]


# ---- H and the adjoints ---------------------------------------------------------------------------------------------

Slope = Callable[[np.ndarray], np.ndarray]                              # H, or another reading of it
Carry = Callable[[Run, Arrays, int, np.ndarray], np.ndarray]         # (run, p, t, ∇_{h(t+1)}L): what it adds to ∇_{h(t)}L


def H(h: np.ndarray) -> np.ndarray:
    """H^(t) = diag(1 − (h^(t))²) = ∂h^(t)/∂a^(t), a matrix (m, m), from the column h^(t)."""
    return np.diag(1 - h.ravel() ** 2)


def H_of_other_brackets(h: np.ndarray) -> np.ndarray:
    """(diag(1 − h^(t)))²: the other reading of "diag(1 − h^(t))²"."""
    return np.diag(1 - h.ravel()) @ np.diag(1 - h.ravel())


class Adjoints(NamedTuple):
    """∇_{o(t)}L, t = 1 … τ, and ∇_{h(t)}L, t = 0 … τ: what every loss at t and after says about o^(t) and h^(t)."""
    o: dict[int, Array]
    h: dict[int, Array]


def adjoints(run: Run, p: Arrays, *, H: Slope = H, carry: Carry | None = None) -> Adjoints:
    """The reverse recursion, from τ down to 0.

    carry(run, p, t, grad): what ∇_{h(t+1)}L = grad adds to ∇_{h(t)}L; by default Wᵀ H^(t+1) grad.
    """
    carry = carry or (lambda run, p, t, grad: p["W"].T @ H(run.h[t + 1]) @ grad)
    last = max(run.x)
    grad_o = {t: run.y_hat[t] - run.y[t] for t in run.x}
    grad_h = {last: p["V"].T @ grad_o[last]}                                            # nothing comes from beyond τ
    for t in range(last - 1, 0, -1):
        grad_h[t] = carry(run, p, t, grad_h[t + 1]) + p["V"].T @ grad_o[t]
    grad_h[0] = carry(run, p, 0, grad_h[1])                                             # h^(0) has no loss of its own
    return Adjoints(grad_o, grad_h)


def gradients(run: Run, adjoint: Adjoints, *, H: Slope = H, H_of_b: Slope | None = None) -> Gradients:
    """The five sums over t, from the adjoints, and ∇_{h(0)}L.  H_of_b: another H for the line of ∇_b alone."""
    H_of_b = H_of_b or H
    steps = list(run.x)
    return {"b": sum(H_of_b(run.h[t]) @ adjoint.h[t] for t in steps),
            "c": sum(adjoint.o[t] for t in steps),
            "U": sum(H(run.h[t]) @ adjoint.h[t] @ run.x[t].T for t in steps),
            "V": sum(adjoint.o[t] @ run.h[t].T for t in steps),
            "W": sum(H(run.h[t]) @ adjoint.h[t] @ run.h[t - 1].T for t in steps),
            "h_0": adjoint.h[0]}


def untied_form(run: Run, p: Arrays, name: str) -> np.ndarray:
    """Σ_t Σ_i (∂L/∂h_i^(t)) ∇_{W^(t)} h_i^(t) for W, U or b: W^(t) is a copy of W that is used at step t only.

    ∇_{W^(t)} h_i^(t) has one row that is not zero, row i: (1 − h_i²) times what W multiplies.
    """
    adjoint = adjoints(run, p)
    factor: Callable[[int], np.ndarray] = {"W": lambda t: run.h[t - 1], "U": lambda t: run.x[t], "b": lambda t: np.ones((1, 1))}[name]
    result = np.zeros_like(p[name])
    for t in run.x:
        for i, h_i in enumerate(run.h[t].ravel()):
            gradient_of_unit = np.zeros_like(p[name])
            gradient_of_unit[i] = (1 - h_i ** 2) * factor(t).ravel()
            result += adjoint.h[t][i, 0] * gradient_of_unit
    return result


def gradient_of_c(run: Run, p: Arrays) -> np.ndarray:
    """∇_c L = Σ_t (∂o^(t)/∂c)ᵀ ∇_{o(t)}L, where ∂o^(t)/∂c = I."""
    do_dc = np.eye(p["c"].size)
    return sum(do_dc.T @ grad_o for grad_o in adjoints(run, p).o.values())


def hand_gradients(p: Arrays, xs: np.ndarray, ys: np.ndarray, *, as_written: bool = False) -> Gradients:
    """{name: ∇_name L} in plain NumPy for b, c, U, V, W and h_0.

    as_written: the brackets in ∇_b L = Σ_t diag(1 − h^(t))² ∇_{h(t)}L as they stand on the page, (diag(1 − h))².
    """
    run = model(p, xs, ys)
    return gradients(run, adjoints(run, p), H_of_b=H_of_other_brackets if as_written else H)


def engine(p: Arrays, xs: np.ndarray, ys: np.ndarray) -> tuple[Run, dict[str, mg.Tensor]]:
    """(run, leaves): the same model recorded by minigrad; run.L is the loss to differentiate or draw."""
    leaves = report.parameters(p)
    y = report.columns_of_time("y", ys)
    return model(leaves, mg.Tensor(xs), y, steps=mg.steps, softmax=mg.softmax), leaves


# ---- one reading, three exercises -----------------------------------------------------------------------------------

def slips(p: Arrays, xs: np.ndarray, ys: np.ndarray) -> list[report.Slip]:
    """What the page leaves open."""
    run = model(p, xs, ys)
    return [report.Slip(
        "reading", "diag(1 − h^(t))²", "diag(1 − (h^(t))²): tanh′ = 1 − tanh² unit by unit",
        {"diag(1 − h²)": lambda: hand_gradients(p, xs, ys),
         "(diag(1 − h))², in ∇_b": lambda: hand_gradients(p, xs, ys, as_written=True),
         "(diag(1 − h))², everywhere": lambda: gradients(run, adjoints(run, p, H=H_of_other_brackets),
                                                         H=H_of_other_brackets)})]


NEAR_MISSES = {
    "Wᵀ H^(t) ∇_{h(t+1)}L": (
        lambda run, p, t, grad: p["W"].T @ H(run.h[t]) @ grad,
        "H^(t+1): the path from h^(t) to h^(t+1) passes the tanh of step t+1"),
    "H^(t+1) Wᵀ ∇_{h(t+1)}L": (
        lambda run, p, t, grad: H(run.h[t + 1]) @ p["W"].T @ grad,
        "Wᵀ H^(t+1): the last op forward, tanh, is the first one backward"),
    "W H^(t+1) ∇_{h(t+1)}L": (
        lambda run, p, t, grad: p["W"] @ H(run.h[t + 1]) @ grad,
        "Wᵀ, by the rule f = A x ⇒ ∂f/∂x = Aᵀ; the square W conforms either way"),
}


def exercises(p: Arrays, xs: np.ndarray, ys: np.ndarray) -> list[report.Slip]:
    """Near misses of Wᵀ H^(t+1) ∇_{h(t+1)}L that conform and run: none is on the page. Why do V and c stay exact?"""
    run = model(p, xs, ys)

    def with_carry(carry: Carry) -> Callable[[], Gradients]:
        return lambda: gradients(run, adjoints(run, p, carry=carry))

    return [report.Slip("exercise", line, why, {"if you wrote that": with_carry(carry)})
            for line, (carry, why) in NEAR_MISSES.items()]


def print_adjoints(run: Run, p: Arrays, recorded: Run) -> bool:
    """Print the adjoints of every step beside the engine's; True if they agree."""
    adjoint = adjoints(run, p)
    engine_h = mg.grad(recorded.L, list(recorded.h.values()))
    engine_o = dict(zip(recorded.o, mg.grad(recorded.L, list(recorded.o.values()))))
    agrees = True
    print(f"{'t':<4}{'max|∇_h L|':>12}{'error':>10}{'max|∇_o L|':>14}{'error':>10}    diagonal of H^(t)")
    for t, grad in zip(recorded.h, engine_h):
        error = report.relative_error(adjoint.h[t], grad.data)
        line = f"{t:<4}{np.abs(adjoint.h[t]).max():>12.6f}{error:>10.1e}"
        if t > 0:
            error_o = report.relative_error(adjoint.o[t], engine_o[t].data)
            line += f"{np.abs(adjoint.o[t]).max():>14.6f}{error_o:>10.1e}    {np.round(np.diag(H(run.h[t])), 3)}"
            error = max(error, error_o)
        agrees &= error <= report.AGREES
        print(line)
    return agrees


def print_rule(seed: int) -> bool:
    """f = A x ⇒ ∂f/∂x = Aᵀ on an example; True if the engine agrees."""
    rng = np.random.default_rng(seed)
    A, column, grad_f = (rng.standard_normal(shape) for shape in ((3, 4), (4, 1), (3, 1)))
    x = mg.parameter(column, name="x")
    grad_x, = mg.grad(A @ x, [x], cotangent=grad_f)
    error = report.relative_error(A.T @ grad_f, grad_x.data)
    print(f"the rule f = A x ⇒ ∇_x = Aᵀ ∇_f on an example: error {error:.1e}")
    return error <= report.AGREES


def main(argv: Sequence[str] | None = None) -> int:
    """Compare, name the reading, set the exercises, draw; exit status 0 if the gradients equal the engine's."""
    options = report.parser(__doc__, "python -m models.derivations.matrix_recursion").parse_args(argv)
    p, xs, ys = probe(options.seed)
    run = model(p, xs, ys)
    recorded, leaves = engine(p, xs, ys)
    reference = report.engine_gradients(recorded.L, leaves)

    report.heading("003 · matrix recursion:  h^(t) = tanh(b + W h^(t-1) + U x^(t)),  ŷ^(t) = softmax(c + V h^(t))")
    agrees = report.print_comparison(hand_gradients(p, xs, ys, as_written=True), hand_gradients(p, xs, ys), reference)
    untied = {name: untied_form(run, p, name) for name in ("W", "U", "b")} | {"c": gradient_of_c(run, p)}
    print(f"untied form  {report.describe(untied, reference)}")
    agrees &= print_rule(options.seed)
    report.heading("The adjoints, step by step, by hand and their error against the engine")
    agrees &= print_adjoints(run, p, recorded)
    report.heading("Readings")
    report.print_slips(slips(p, xs, ys), reference)
    report.heading("Exercises: near misses of Wᵀ H^(t+1) ∇_{h(t+1)}L. Why do V and c stay exact?")
    report.print_slips(exercises(p, xs, ys), reference)
    print("answer: ∇_V and ∇_c take only ∇_o and h, and ∇_o = ŷ − y needs no recursion")
    report.save_picture(recorded.L, options.pictures, "003-matrix-recursion.svg")
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main())
