"""Hand-written BPTT of a tanh network with every rule replaceable: right as it stands, wrong with a name from MISTAKES.

    h_t = tanh(x_t W_x + h_{t-1} W_h + b_h);  o_t = h_t W_y + b_y;  L = mean over rows, sum over t, of cross-entropy
"""
import numpy as np

B, T, D, H, C = 3, 4, 5, 6, 7                        # all different, none 2: nothing hides behind equal sizes


def probe(seed=0):
    """Parameters of size 0.7, biases and h_0 not zero; inputs; targets."""
    rng = np.random.default_rng(seed)
    shapes = {"W_x": (D, H), "W_h": (H, H), "b_h": (H,), "W_y": (H, C), "b_y": (C,), "h_0": (B, H)}
    parameters = {k: 0.7 * rng.standard_normal(s) for k, s in shapes.items()}
    return parameters, rng.standard_normal((T, B, D)), rng.integers(0, C, (T, B))


MISTAKES = """A1 A2 A3 A4 A5 A6 A12 A15 B1 B2 B3 B4 B5 B8 B9 B10 B11 B12 C1 C2 C3 D1 D3 D4 D5 D6 D7
E1 E2 E3 E5 E6 F1 F2 F3 F4 F5 F6 F9 F10 F11""".split()


def bptt(p, xs, ys, mistake=""):
    """Gradients of all parameters and of h_0, with one mistake of the catalogue built in ("" for none)."""
    m = mistake
    h, a = [p["h_0"]], [None]
    for x in xs:
        a.append(x @ p["W_x"] + h[-1] @ p["W_h"] + p["b_h"])
        h.append(np.tanh(a[-1]))
    W_y = p["W_y"] * (0.9 if m == "F9" else 1.0)
    g = {k: np.zeros_like(v) for k, v in p.items()}
    carry, h_0 = np.zeros((B, H)), p["h_0"] * (m != "D6")
    past = [h_0, *h[1:]]
    for t in (range(1, T + 1) if m == "A12" else range(T, 0, -1)):
        o = h[t] @ p["W_y"] + p["b_y"]
        y_hat = np.exp(o - o.max(1, keepdims=True))
        y_hat /= y_hat.sum(1, keepdims=True)
        y = np.eye(C)[ys[min(t, T - 1)] if m == "D5" else (ys[t - 1] + 1) % C if m == "E6" else ys[t - 1]]
        do = {"E1": y - y_hat, "E2": -y * (1 - y_hat), "E3": -y / y_hat, "E5": y_hat}.get(m, y_hat - y)
        do = do * (1 if m == "F1" else 1 / B)
        if m == "A4" and t < T:
            do = do * 0
        back = do @ W_y.T * (0 if m == "A3" and t < T else 1)
        slope = {"B1": 1 + 0 * h[t], "B4": 1 - a[t] ** 2, "B5": 1 - np.tanh(h[t]) ** 2, "B8": h[t] * (1 - h[t]),
                 "B9": (1 - h[t]) ** 2, "B10": (1 - h[t] ** 2) ** 2}.get(m, 1 - h[t] ** 2)
        da = (back + carry) * slope
        if m == "B12":
            da = back + carry * slope
        if m == "C3":
            da = back * slope + carry
        in_weights = back + carry if m == "B2" else da
        local, through = (back * slope, carry * slope) if m == "A15" else (in_weights, in_weights)
        if m == "A5":
            g["W_h"], g["W_x"] = past[t - 1].T @ through, xs[t - 1].T @ local
        elif not (m == "A6" and t == 1):
            g["W_h"] = g["W_h"] + (h[t] if m == "D1" else past[t - 1]).T @ through
            g["W_x"] = g["W_x"] + xs[max(t - 2, 0) if m == "D3" else t - 1].T @ local
        in_bias = back + carry if m == "B11" else in_weights * (m != "F11")
        g["b_h"] = g["b_h"] + in_bias.sum(0) / (B if m == "F6" else 1)
        g["W_y"] = g["W_y"] + (h[t - 1] if m == "D4" else h[t]).T @ do
        g["b_y"] = g["b_y"] + do.sum(0) / (B if m == "F6" else 1)
        into = (back if m == "A2" else da) if m != "B3" else back + carry
        if m == "A2":
            into = back * slope
        before, carry = carry, into @ (p["W_h"] if m == "C1" else p["W_h"].T)
        if m == "C3":
            carry = (da @ p["W_h"].T) * (1 - h[t - 1] ** 2)
        if m == "A1":
            carry = carry * 0
    g["h_0"] = before if m == "D7" else carry
    if m == "C2":
        g["W_h"] = g["W_h"].T
    scale = {"F2": 1 / T, "F3": 2.0, "F4": -0.01}.get(m, 1.0)
    g = {k: scale * v for k, v in g.items()}
    if m == "F5":
        g = {k: np.clip(v, -0.1, 0.1) for k, v in g.items()}
    if m == "F10":
        g = {k: v + 0.01 * p[k] for k, v in g.items()}
    return g
