"""Which wrong derivations of BPTT do gradient checkers accept?

    python -m tests.benchmarks.checkers              the table; torch's columns need torch

Every mistake of a catalogue is built into a hand-written backward pass (tests/check/wrong_bptt.py has most rules; those about which
terms of the double sum are taken stand here). It is put before torch.autograd.gradcheck on the *customary probe* (weights
0.01 randn, biases and initial state 0, one sequence, float64), exactly and in fast mode, and on minigrad's default probe; and
before minigrad's own ``gradcheck(loss, inputs, derived=…)`` on both. The right derivation comes first: whoever rejects it says
nothing about the others. Exit status 1 if minigrad accepts a wrong one on its default probe, or rejects the right one on either.
"""
from tests.benchmarks.measure import torch_or_none, versions      # first: it sets the threads

import sys
from pathlib import Path

import numpy as np

import minigrad as mg

sys.path.insert(0, str(Path(__file__).parents[1] / "check"))
import wrong_bptt  # noqa: E402

MORE = {
    "A7": "only the longest path, from the first step",
    "A8": "one Jacobian too many at the low end",
    "A9": "one Jacobian too many at the high end",
    "A11": "total derivatives inside the sum, weight t−k+1",
    "A13": "the carry not reset between sequences",
    "E4": "the softmax Jacobian twice",
    "F8": "the bias summed over the wrong axis",
}
NAMES = {
    "A1": "carry := 0", "A2": "truncated to two steps", "A3": "the loss reaches h at the last step only", "A4": "only the last loss",
    "A5": "= for +=", "A6": "the first step dropped", "A12": "loop forward in time", "A15": "W_h from the carry, W_x from the local part",
    "B1": "tanh′ := 1", "B2": "tanh′ missing in the weight gradients", "B3": "tanh′ missing in the carry", "B4": "1 − a²",
    "B5": "1 − tanh²(h)", "B8": "h(1 − h)", "B9": "(1 − h)²", "B10": "tanh′ squared", "B11": "tanh′ missing for the bias",
    "B12": "tanh′ on the carried path only", "C1": "W_h for its transpose", "C2": "dW_h transposed", "C3": "diag after W_hᵀ", "D1": "h_t for h_{t−1}",
    "D3": "x_{t−1} for x_t", "D4": "h_{t−1} in dW_y", "D5": "the target of step t+1", "D6": "h_0 := 0", "D7": "dh_0 := dh_1", "E1": "sign",
    "E2": "softmax Jacobian only its diagonal", "E3": "−y/ŷ", "E5": "no −y", "E6": "class off by one", "F1": "sum for mean",
    "F2": "an extra 1/T", "F3": "×2", "F4": "×(−η)", "F5": "clipped", "F6": "bias mean for sum", "F9": "W_y already updated", "F10": "+ λW", "F11": "db = 0",
    **MORE,
}


def with_terms(p, xs, ys, mistake):
    """The double sum over t and k with a mistake of MORE in it; without one it is the gradient."""
    B, T = len(p["h_0"]), len(xs)
    h = [p["h_0"]]
    for x in xs:
        h.append(np.tanh(x @ p["W_x"] + h[-1] @ p["W_h"] + p["b_h"]))
    g = {k: np.zeros_like(v) for k, v in p.items()}
    left = np.zeros(p["h_0"].shape[1])                               # A13: what the sequence before left behind
    for t in range(T, 0, -1):
        o = h[t] @ p["W_y"] + p["b_y"]
        y_hat = np.exp(o - o.max(1, keepdims=True))
        y_hat /= y_hat.sum(1, keepdims=True)
        do = (y_hat - np.eye(o.shape[1])[ys[t - 1]]) / B
        if mistake == "E4":
            do = y_hat * (do - (do * y_hat).sum(1, keepdims=True))
        g["W_y"], g["b_y"] = g["W_y"] + h[t].T @ do, g["b_y"] + do.sum(0)
        dh = do @ p["W_y"].T
        if mistake == "A9":                                          # ∂h_{t+1}/∂h_t, with x_{T+1} = 0
            after = h[t + 1] if t < T else np.tanh(h[t] @ p["W_h"] + p["b_h"])
            dh = dh * (1 - after ** 2) @ p["W_h"].T
        for k in range(t, 0, -1):
            weight = {"A7": float(k == 1), "A11": t - k + 1.0}.get(mistake, 1.0)
            if mistake == "A13" and t == T and k == T:
                for b in range(B):                                   # the carry of row b − 1 runs on into row b
                    dh[b] += left
                    left = dh[b]
                    for j in range(T, 0, -1):
                        left = left * (1 - h[j][b] ** 2) @ p["W_h"].T
            da = (dh * (1 - h[k] ** 2) @ p["W_h"].T if mistake == "A8" else dh) * (1 - h[k] ** 2) * weight
            g["W_h"], g["W_x"] = g["W_h"] + h[k - 1].T @ da, g["W_x"] + xs[k - 1].T @ da
            g["b_h"] = g["b_h"] + (np.full_like(p["b_h"], da.sum(1).sum() / B) if mistake == "F8" else da.sum(0))
            dh = dh * (1 - h[k] ** 2) @ p["W_h"].T
        g["h_0"] = g["h_0"] + dh
    return g


def derived(p, xs, ys, mistake):
    """Gradients by hand with a mistake in them ("" for none)."""
    if mistake in MORE:
        return with_terms(p, xs, ys, mistake)
    before, wrong_bptt.B = wrong_bptt.B, len(p["h_0"])               # the customary probe has one row
    try:
        with np.errstate(all="ignore"):
            return wrong_bptt.bptt(p, xs, ys, mistake)
    finally:
        wrong_bptt.B = before


def customary(seed=0):
    """The probe of most tutorials."""
    p, xs, ys = wrong_bptt.probe(seed)
    p = {k: v * (0.01 / 0.7 if k[0] == "W" else 0.0) for k, v in p.items()}
    p["h_0"] = p["h_0"][:1]
    return p, xs[:, :1], ys[:, :1]


def loss(p, xs, ys):
    h, total = p["h_0"], 0.0
    for x, y in zip(xs, ys):
        h = np.tanh(x @ p["W_x"] + h @ p["W_h"] + p["b_h"])
        total = total + mg.softmax_cross_entropy(h @ p["W_y"] + p["b_y"], y)
    return total


def minigrad_accepts(probe, mistake):
    """h_0 counts as an input only where it is not a constant 0."""
    p, xs, ys = probe
    names = [k for k in p if p[k].any() or k != "h_0"]
    return mg.check.gradcheck(lambda **q: loss({**p, **q}, xs, ys), {k: p[k] for k in names},
                              derived=lambda **q: {k: g for k, g in derived({**p, **q}, xs, ys, mistake).items() if k in names}).ok


def torch_accepts(torch, probe, mistake, **options):
    p, xs, ys = probe
    names = [k for k in p if p[k].any() or k != "h_0"]

    class ByHand(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *arrays):
            ctx.save_for_backward(*arrays)
            q = {**{k: torch.tensor(v) for k, v in p.items()}, **dict(zip(names, arrays))}
            h, total = q["h_0"], 0.0
            for x, y in zip(torch.tensor(xs), torch.tensor(ys)):
                h = torch.tanh(x @ q["W_x"] + h @ q["W_h"] + q["b_h"])
                total = total + torch.nn.functional.cross_entropy(h @ q["W_y"] + q["b_y"], y)
            return total

        @staticmethod
        def backward(ctx, g):
            q = {**p, **{k: a.numpy() for k, a in zip(names, ctx.saved_tensors)}}
            found = derived(q, xs, ys, mistake)
            return tuple(g * torch.tensor(found[k]) for k in names)
    arrays = [torch.tensor(p[k], requires_grad=True) for k in names]
    return torch.autograd.gradcheck(ByHand.apply, arrays, raise_exception=False, **options)


def main():
    torch, usual, good = torch_or_none(), customary(), wrong_bptt.probe()
    columns = {}
    if torch is not None:
        columns |= {"torch, customary probe": lambda m: torch_accepts(torch, usual, m),
                    "torch, fast mode": lambda m: torch_accepts(torch, usual, m, fast_mode=True),
                    "torch, minigrad's probe": lambda m: torch_accepts(torch, good, m)}
    columns |= {"minigrad, customary probe": lambda m: minigrad_accepts(usual, m), "minigrad, its probe": lambda m: minigrad_accepts(good, m)}
    print(versions() + ("" if torch is None else f" · torch {torch.__version__}"))
    print("mistake".ljust(48) + "".join(c.rjust(27) for c in columns))
    accepted = dict.fromkeys(columns, 0)
    mistakes = sorted(NAMES, key=lambda m: (m[0], int(m[1:])))
    for m in ["", *mistakes]:
        found = {c: accepts(m) for c, accepts in columns.items()}
        if m:
            accepted = {c: n + found[c] for c, n in accepted.items()}
        right = [c for c in columns if not m and not found[c]]
        print((f"{m:<4} {NAMES[m]}" if m else "none: the right derivation").ljust(48)
              + "".join((("ACCEPTED" if m else "accepted") if found[c] else ("rejected" if m else "REJECTED")).rjust(27) for c in columns))
        if any("minigrad" in c for c in right):
            return 1
    print(f"{'wrong and accepted':<48}" + "".join(f"{f'{n} of {len(mistakes)}':>27}" for n in accepted.values()))
    return int(accepted["minigrad, its probe"] > 0)


if __name__ == "__main__":
    sys.exit(main())
