"""One training step (forward, BPTT, every parameter's gradient) in eager minigrad, beside hand-written NumPy and torch.

    python -m tests.benchmarks.eager              the whole table, about a minute
    python -m tests.benchmarks.eager --quick      fewer and shorter rounds: a look, not a measurement

Opponents: *plain* and *expert* of reference.py, torch eager with a hand-written loop, minigrad with the same loop in
np functions, and minigrad as a user calls it, ``mg.unroll`` with a cell. Elman is measured twice: with the loss of
every step inside the loop, and with the states gathered and one loss after it, as ``unroll`` has it; torch's loop and
ours are always alike. Before anything is timed, all gradients are compared with those of *plain*; a disagreement ends
the program with status 1. Times are never asserted.
"""
from tests.benchmarks.measure import difference, interleaved, torch_or_none, versions      # first: it sets the threads

import argparse
import sys

import numpy as np

import minigrad as mg
from tests.benchmarks import reference

ELMAN = [(65, 100, 25, 1, "float32"), (65, 128, 50, 32, "float32"),
         (8, 64, 1000, 16, "float32"), (3, 3, 3, 1, "float64")]
LSTM = [(64, 128, 50, 32, "float32"), (32, 64, 100, 1, "float32")]
AGREES = {"float32": 2e-4, "float64": 1e-12}                  # a sum over T·B float32 terms, in another order


# -- Elman with softmax cross-entropy at every step -------------------------------------------------------------------
def elman_minigrad(X, Y, P):
    T, B, _ = X.shape
    p = {name: mg.parameter(array) for name, array in P.items()}
    Wx, Wh, bh, Wy, by = p.values()
    h0 = np.zeros((B, Wh.shape[0]), X.dtype)

    def step():
        h, loss = h0, 0.0
        for t in range(T):
            h = np.tanh(X[t] @ Wx + h @ Wh + bh)
            loss = loss + mg.softmax_cross_entropy(h @ Wy + by, Y[t], reduction="sum")
        return _gradients(loss, p)
    return step


def elman_after_minigrad(X, Y, P):
    """The same with one loss after the loop."""
    T, B, _ = X.shape
    p = {name: mg.parameter(array) for name, array in P.items()}
    Wx, Wh, bh, Wy, by = p.values()
    h0 = np.zeros((B, Wh.shape[0]), X.dtype)

    def step():
        h, hs = h0, []
        for t in range(T):
            h = np.tanh(X[t] @ Wx + h @ Wh + bh)
            hs.append(h)
        return _gradients(mg.softmax_cross_entropy(np.stack(hs) @ Wy + by, Y, reduction="sum"), p)
    return step


def elman_unroll(X, Y, P):
    V, H = P["Wx"].shape
    cell = mg.RNNCell(V, H, rng=np.random.default_rng(0), dtype=X.dtype)
    cell.load_state_dict({"W_x": P["Wx"], "W_h": P["Wh"], "b": P["bh"]})
    Wy, by = mg.parameter(P["Wy"]), mg.parameter(P["by"])
    own = cell.parameters()
    p = dict(Wx=own["W_x"], Wh=own["W_h"], bh=own["b"], Wy=Wy, by=by)

    def step():
        ys, _ = mg.unroll(cell, X)
        return _gradients(mg.softmax_cross_entropy(ys @ Wy + by, Y, reduction="sum"), p)
    return step


def elman_torch(X, Y, P):
    torch = torch_or_none()
    T, B, _ = X.shape
    X, Y = torch.tensor(X), torch.tensor(Y)
    p = {name: torch.tensor(array, requires_grad=True) for name, array in P.items()}
    Wx, Wh, bh, Wy, by = p.values()
    h0 = torch.zeros((B, Wh.shape[0]), dtype=X.dtype)

    def step():
        h, loss = h0, 0.0
        for t in range(T):
            h = torch.tanh(X[t] @ Wx + h @ Wh + bh)
            loss = loss + torch.nn.functional.cross_entropy(h @ Wy + by, Y[t], reduction="sum")
        return _gradients(loss, p)
    return step


def elman_after_torch(X, Y, P):
    torch = torch_or_none()
    T, B, V = X.shape
    X, Y = torch.tensor(X), torch.tensor(Y)
    p = {name: torch.tensor(array, requires_grad=True) for name, array in P.items()}
    Wx, Wh, bh, Wy, by = p.values()
    h0 = torch.zeros((B, Wh.shape[0]), dtype=X.dtype)

    def step():
        h, hs = h0, []
        for t in range(T):
            h = torch.tanh(X[t] @ Wx + h @ Wh + bh)
            hs.append(h)
        logits = torch.stack(hs) @ Wy + by
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, V), Y.reshape(-1), reduction="sum")
        return _gradients(loss, p)
    return step


# -- LSTM, gates packed, loss a given cotangent times the outputs -----------------------------------------------------
def lstm_minigrad(X, G, P):
    T, B, _ = X.shape
    p = {name: mg.parameter(array) for name, array in P.items()}
    Wx, Wh, b = p.values()
    H = Wh.shape[0]
    zero = np.zeros((B, H), X.dtype)

    def step():
        h, c, loss = zero, zero, 0.0
        for t in range(T):
            z = X[t] @ Wx + h @ Wh + b
            i, f, o = mg.sigmoid(z[:, :H]), mg.sigmoid(z[:, H:2 * H]), mg.sigmoid(z[:, 3 * H:])
            c = f * c + i * np.tanh(z[:, 2 * H:3 * H])
            h = o * np.tanh(c)
            loss = loss + (G[t] * h).sum()
        return _gradients(loss, p)
    return step


def lstm_unroll(X, G, P):
    cell = mg.LSTMCell(X.shape[2], G.shape[2], rng=np.random.default_rng(0), dtype=X.dtype)
    cell.load_state_dict({"W_x": P["Wx"], "W_h": P["Wh"], "b": P["b"]})
    own = cell.parameters()
    p = dict(Wx=own["W_x"], Wh=own["W_h"], b=own["b"])

    def step():
        ys, _ = mg.unroll(cell, X)
        return _gradients((G * ys).sum(), p)
    return step


def lstm_torch(X, G, P):
    torch = torch_or_none()
    T, B, _ = X.shape
    X, G = torch.tensor(X), torch.tensor(G)
    p = {name: torch.tensor(array, requires_grad=True) for name, array in P.items()}
    Wx, Wh, b = p.values()
    H = Wh.shape[0]
    zero = torch.zeros((B, H), dtype=X.dtype)

    def step():
        h, c, loss = zero, zero, 0.0
        for t in range(T):
            z = X[t] @ Wx + h @ Wh + b
            i, f, o = torch.sigmoid(z[:, :H]), torch.sigmoid(z[:, H:2 * H]), torch.sigmoid(z[:, 3 * H:])
            c = f * c + i * torch.tanh(z[:, 2 * H:3 * H])
            h = o * torch.tanh(c)
            loss = loss + (G[t] * h).sum()
        return _gradients(loss, p)
    return step


def _gradients(loss, parameters):
    """Clear the old gradients, go back, and return (loss, gradients by name): the end of every step, torch's too."""
    for p in parameters.values():
        p.grad = None
    loss.backward()
    return loss, {name: p.grad for name, p in parameters.items()}


# -- the table --------------------------------------------------------------------------------------------------------
OPPONENTS = {
    "elman": (reference.elman_plain, reference.elman_expert, elman_torch, elman_minigrad, elman_unroll),
    "after": (reference.elman_plain, reference.elman_expert, elman_after_torch, elman_after_minigrad, elman_unroll),
    "lstm": (reference.lstm_plain, reference.lstm_expert, lstm_torch, lstm_minigrad, lstm_unroll)}


def opponents(model, arrays):
    """The dict name -> step function of every opponent on the same inputs."""
    makers = dict(zip(("plain", "expert", "torch", "minigrad", "unroll"), OPPONENTS[model]))
    if torch_or_none() is None:
        del makers["torch"]
    return {name: make(*arrays) for name, make in makers.items()}


def cases():
    """Yield (label, T, dtype, opponents) for every row of the table."""
    for model, where in (("elman", ""), ("after", ", loss after")):
        for V, H, T, B, dtype in ELMAN:
            arrays = reference.elman_inputs(V, H, T, B, dtype)
            yield f"Elman V{V} H{H} T{T} B{B} {dtype}{where}", T, dtype, opponents(model, arrays)
    for D, H, T, B, dtype in LSTM:
        yield f"LSTM D{D} H{H} T{T} B{B} {dtype}", T, dtype, opponents("lstm", reference.lstm_inputs(D, H, T, B, dtype))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: a look, not a measurement")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the rows whose label contains TEXT")
    options = parser.parse_args()
    effort = dict(rounds=5, seconds=0.02) if options.quick else dict(rounds=11, seconds=0.1)
    torch = torch_or_none()
    print(versions(), "·", f"torch {torch.__version__}" if torch else "torch is not installed (extra 'peers')")
    print("µs per time step of one training step, medians of interleaved runs, garbage collector on. 'loop' and\n"
          "'unroll' are minigrad: the loop written by hand in np functions, and mg.unroll with the cell, whose loss\n"
          "is one op after the loop. 'loss after': torch and the loop do it like that too.\n")
    print(f"{'':44s}{'plain':>8s}{'expert':>8s}{'torch':>8s}{'loop':>8s}{'unroll':>8s}"
          f"  | loop/plain loop/torch unroll/plain unroll/torch  gradients differ by")
    for label, T, dtype, steps in cases():
        if options.only not in label:
            continue
        expected = {name: array.copy() for name, array in steps["plain"]()[1].items()}
        errors = {name: difference(step()[1], expected) for name, step in steps.items()}
        worst = max(errors, key=errors.get)
        if not errors[worst] <= AGREES[dtype]:
            sys.exit(f"{label}: the gradients of {worst} differ from plain's by {errors[worst]:.1e}, more than "
                     f"{AGREES[dtype]:.0e}; nothing was timed")
        seconds = interleaved(steps, **effort)
        micro = {name: value / T * 1e6 for name, value in seconds.items()}
        ratios = [f"{micro[ours] / micro[theirs]:.2f}" if theirs in micro else "–"
                  for ours in ("minigrad", "unroll") for theirs in ("plain", "torch")]
        cells = "".join(f"{micro[name]:8.1f}" if name in micro else f"{'–':>8s}"
                        for name in ("plain", "expert", "torch", "minigrad", "unroll"))
        print(f"{label:44s}{cells}  | {ratios[0]:>10s} {ratios[1]:>10s} {ratios[2]:>12s} {ratios[3]:>12s}"
              f"  {errors[worst]:.0e} ({worst})", flush=True)


if __name__ == "__main__":
    main()
