"""Back-propagation of eight cells as lines of NumPy, written by hand; ``Problem`` carries them out on one probe. They know nothing of
recorded graphs. For diagnosis.py."""
import numpy as np

import minigrad as mg

B, T, D, H, C = 3, 4, 5, 6, 7  # all different, none 2: nothing hides behind equal sizes

HEAD = """
do = (softmax(o) - one_hot(y)) / B
dW_out += h.T @ do
db_out += do.sum(0)
"""

CELLS = {
    "Elman": dict(
        cell=lambda: mg.RNNCell(D, H),
        state=["h"],
        packed={"W_x": ["W_x"], "W_h": ["W_h"], "b": ["b"]},
        forward="a = x @ W_x + h_prev @ W_h + b; h = tanh(a)",
        backward="""
dh = do @ W_out.T + carry_h
da = dh * (1 - h**2)
dW_x += x.T @ da
dW_h += h_prev.T @ da
db += da.sum(0)
carry_h = da @ W_h.T
""",
    ),
    "GRU": dict(
        cell=lambda: mg.GRUCell(D, H),
        state=["h"],
        packed={
            "W_x": ["W_xr", "W_xz", "W_xn"],
            "W_h": ["W_hr", "W_hz", "W_hn"],
            "b_x": ["b_xr", "b_xz", "b_xn"],
            "b_h": ["b_hr", "b_hz", "b_hn"],
        },
        forward="a_r = x @ W_xr + b_xr + h_prev @ W_hr + b_hr; r = sigmoid(a_r); a_z = x @ W_xz + b_xz + h_prev @ W_hz + b_hz; z = sigmoid(a_z); "
        "u = h_prev @ W_hn + b_hn; a_n = x @ W_xn + b_xn + r * u; n = tanh(a_n); h = (1 - z) * n + z * h_prev",
        backward="""
dh = do @ W_out.T + carry_h
dn = dh * (1 - z)
dz = dh * (h_prev - n)
da_n = dn * (1 - n**2)
dr = da_n * u
du = da_n * r
da_r = dr * (r * (1 - r))
da_z = dz * (z * (1 - z))
dW_xr += x.T @ da_r
dW_xz += x.T @ da_z
dW_xn += x.T @ da_n
db_xr += da_r.sum(0)
db_xz += da_z.sum(0)
db_xn += da_n.sum(0)
dW_hr += h_prev.T @ da_r
dW_hz += h_prev.T @ da_z
dW_hn += h_prev.T @ du
db_hr += da_r.sum(0)
db_hz += da_z.sum(0)
db_hn += du.sum(0)
carry_h = dh * z + da_r @ W_hr.T + da_z @ W_hz.T + du @ W_hn.T
""",
    ),
    "LSTM": dict(
        cell=lambda: mg.LSTMCell(D, H),
        state=["h", "c"],
        packed={"W_x": ["W_xi", "W_xf", "W_xg", "W_xo"], "W_h": ["W_hi", "W_hf", "W_hg", "W_ho"], "b": ["b_i", "b_f", "b_g", "b_o"]},
        forward="a_i = x @ W_xi + h_prev @ W_hi + b_i; i = sigmoid(a_i); a_f = x @ W_xf + h_prev @ W_hf + b_f; f = sigmoid(a_f); "
        "a_g = x @ W_xg + h_prev @ W_hg + b_g; g = tanh(a_g); a_o = x @ W_xo + h_prev @ W_ho + b_o; q = sigmoid(a_o); "
        "c = f * c_prev + i * g; s = tanh(c); h = q * s",
        backward="""
dh = do @ W_out.T + carry_h
dq = dh * s
ds = dh * q
dc = ds * (1 - s**2) + carry_c
di = dc * g
df = dc * c_prev
dg = dc * i
da_i = di * (i * (1 - i))
da_f = df * (f * (1 - f))
da_g = dg * (1 - g**2)
da_o = dq * (q * (1 - q))
dW_xi += x.T @ da_i
dW_xf += x.T @ da_f
dW_xg += x.T @ da_g
dW_xo += x.T @ da_o
dW_hi += h_prev.T @ da_i
dW_hf += h_prev.T @ da_f
dW_hg += h_prev.T @ da_g
dW_ho += h_prev.T @ da_o
db_i += da_i.sum(0)
db_f += da_f.sum(0)
db_g += da_g.sum(0)
db_o += da_o.sum(0)
carry_c = dc * f
carry_h = da_i @ W_hi.T + da_f @ W_hf.T + da_g @ W_hg.T + da_o @ W_ho.T
""",
    ),
    "MGU": dict(
        cell=lambda: mg.MGUCell(D, H),
        state=["h"],
        packed={"W_x": ["W_xf", "W_xn"], "W_h": ["W_hf", "W_hn"], "b": ["b_f", "b_n"]},
        forward="a_f = x @ W_xf + h_prev @ W_hf + b_f; f = sigmoid(a_f); v = f * h_prev; a_n = x @ W_xn + v @ W_hn + b_n; n = tanh(a_n); "
        "h = (1 - f) * h_prev + f * n",
        backward="""
dh = do @ W_out.T + carry_h
dn = dh * f
da_n = dn * (1 - n**2)
dv = da_n @ W_hn.T
df = dh * (n - h_prev) + dv * h_prev
da_f = df * (f * (1 - f))
dW_xf += x.T @ da_f
dW_xn += x.T @ da_n
dW_hf += h_prev.T @ da_f
dW_hn += v.T @ da_n
db_f += da_f.sum(0)
db_n += da_n.sum(0)
carry_h = dh * (1 - f) + dv * f + da_f @ W_hf.T
""",
    ),
    "coRNN": dict(
        cell=lambda: mg.CoRNNCell(D, H, dt=0.4, gamma=0.7, epsilon=0.9),
        state=["h", "z"],
        packed={"W_x": ["W_x"], "W_z": ["W_z"], "W_h": ["W_h"], "b": ["b"]},
        constants=dict(dt=0.4, gamma=0.7, epsilon=0.9),
        forward="a = x @ W_x + z_prev @ W_z + h_prev @ W_h + b; force = tanh(a); z = z_prev + dt * (force - gamma * h_prev - epsilon * z_prev); "
        "h = h_prev + dt * z",
        backward="""
dh = do @ W_out.T + carry_h
dz = dh * dt + carry_z
dforce = dz * dt
da = dforce * (1 - force**2)
dW_x += x.T @ da
dW_z += z_prev.T @ da
dW_h += h_prev.T @ da
db += da.sum(0)
carry_h = dh - dz * (dt * gamma) + da @ W_h.T
carry_z = dz * (1 - dt * epsilon) + da @ W_z.T
""",
    ),
    "LEM": dict(
        cell=lambda: mg.LEMCell(D, H, dt=0.8),
        state=["h", "z"],
        constants=dict(dt=0.8),
        packed={
            "W_x": ["W_x1", "W_x2", "W_xz", "W_xh"],
            "W_y": ["W_h1", "W_h2", "W_hz"],
            "W_z": ["W_z"],
            "b": ["b_1", "b_2", "b_z", "b_h"],
        },
        forward="a_1 = x @ W_x1 + h_prev @ W_h1 + b_1; s_1 = sigmoid(a_1); d_1 = dt * s_1; a_2 = x @ W_x2 + h_prev @ W_h2 + b_2; s_2 = sigmoid(a_2); "
        "d_2 = dt * s_2; a_z = x @ W_xz + h_prev @ W_hz + b_z; p = tanh(a_z); z = (1 - d_1) * z_prev + d_1 * p; "
        "a_h = x @ W_xh + z @ W_z + b_h; q = tanh(a_h); h = (1 - d_2) * h_prev + d_2 * q",
        backward="""
dh = do @ W_out.T + carry_h
dq = dh * d_2
da_h = dq * (1 - q**2)
dz = da_h @ W_z.T + carry_z
dd_2 = dh * (q - h_prev)
ds_2 = dd_2 * dt
da_2 = ds_2 * (s_2 * (1 - s_2))
dp = dz * d_1
da_z = dp * (1 - p**2)
dd_1 = dz * (p - z_prev)
ds_1 = dd_1 * dt
da_1 = ds_1 * (s_1 * (1 - s_1))
dW_x1 += x.T @ da_1
dW_x2 += x.T @ da_2
dW_xz += x.T @ da_z
dW_xh += x.T @ da_h
dW_h1 += h_prev.T @ da_1
dW_h2 += h_prev.T @ da_2
dW_hz += h_prev.T @ da_z
dW_z += z.T @ da_h
db_1 += da_1.sum(0)
db_2 += da_2.sum(0)
db_z += da_z.sum(0)
db_h += da_h.sum(0)
carry_z = dz * (1 - d_1)
carry_h = dh * (1 - d_2) + da_1 @ W_h1.T + da_2 @ W_h2.T + da_z @ W_hz.T
""",
    ),
    "two layers": dict(
        cell=lambda: mg.stacked(mg.RNNCell(D, H), mg.RNNCell(H, H)),
        state=["g", "h"],
        packed={
            "cells.0.W_x": ["W_x1"],
            "cells.0.W_h": ["W_h1"],
            "cells.0.b": ["b_1"],
            "cells.1.W_x": ["W_x2"],
            "cells.1.W_h": ["W_h2"],
            "cells.1.b": ["b_2"],
        },
        forward="a_1 = x @ W_x1 + g_prev @ W_h1 + b_1; g = tanh(a_1); a_2 = g @ W_x2 + h_prev @ W_h2 + b_2; h = tanh(a_2)",
        backward="""
dh = do @ W_out.T + carry_h
da_2 = dh * (1 - h**2)
dg = da_2 @ W_x2.T + carry_g
da_1 = dg * (1 - g**2)
dW_x2 += g.T @ da_2
dW_h2 += h_prev.T @ da_2
db_2 += da_2.sum(0)
dW_x1 += x.T @ da_1
dW_h1 += g_prev.T @ da_1
db_1 += da_1.sum(0)
carry_h = da_2 @ W_h2.T
carry_g = da_1 @ W_h1.T
""",
    ),
    "invented": dict(
        cell=None,
        state=["h", "m"],
        packed={n: [n] for n in "W_k U_k b_k W_p V_p b_p W_e".split()},
        shapes=dict(W_k=(D, H), U_k=(H, H), b_k=(H,), W_p=(D, H), V_p=(H, H), b_p=(H,), W_e=(H, H)),
        forward="a_k = x @ W_k + h_prev @ U_k + b_k; k = sigmoid(a_k); v = h_prev * m_prev; a_p = x @ W_p + v @ V_p + b_p; p = sin(a_p); "
        "m = k * m_prev + p * p; e = m @ W_e; w = tanh(e); h = k * w",
        backward="""
dh = do @ W_out.T + carry_h
dw = dh * k
de = dw * (1 - w**2)
dm = de @ W_e.T + carry_m
dp = dm * (2 * p)
da_p = dp * cos(a_p)
dv = da_p @ V_p.T
dk = dh * w + dm * m_prev
da_k = dk * (k * (1 - k))
dW_k += x.T @ da_k
dU_k += h_prev.T @ da_k
db_k += da_k.sum(0)
dW_p += x.T @ da_p
dV_p += v.T @ da_p
db_p += da_p.sum(0)
dW_e += m.T @ de
carry_h = dv * m_prev + da_k @ U_k.T
carry_m = dm * k + dv * h_prev
""",
    ),
}


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def softmax(o):
    e = np.exp(o - o.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def one_hot(y):
    return np.eye(C)[y]


FUNCTIONS = dict(tanh=np.tanh, sigmoid=sigmoid, sin=np.sin, cos=np.cos, exp=np.exp, softmax=softmax, one_hot=one_hot, np=np)


class Problem:
    """A cell on one probe: parameters in parts (W_xr, …), inputs, targets, the forward pass's values by step."""

    def __init__(self, name, seed, dtype=float):
        spec = self.spec = CELLS[name]
        self.name, self.seed = name, seed
        rng = np.random.default_rng([seed, len(name)])
        shapes = {}
        self.weights = [n for parts in spec["packed"].values() for n in parts]
        for n in self.weights:
            if "shapes" in spec:
                shapes[n] = spec["shapes"][n]
            elif n.startswith("b"):
                shapes[n] = (H,)
            else:
                shapes[n] = (D, H) if n.startswith("W_x") and not (name == "two layers" and n == "W_x2") else (H, H)
        shapes.update(W_out=(H, C), b_out=(C,))
        shapes.update({f"{s}_0": (B, H) for s in spec["state"]})
        self.p = {n: (0.7 * rng.standard_normal(s)).astype(dtype) for n, s in shapes.items()}
        self.xs, self.ys = rng.standard_normal((T, B, D)).astype(dtype), rng.integers(0, C, (T, B))
        self.steps = self.forward()

    def forward(self):
        code = compile(self.spec["forward"].replace("; ", "\n"), self.name, "exec")
        state, found = {s: self.p[f"{s}_0"] for s in self.spec["state"]}, []
        for x, y in zip(self.xs, self.ys):
            values = {
                **FUNCTIONS,
                **self.p,
                **self.spec.get("constants", {}),
                "x": x,
                "y": y,
                "B": B,
                **{f"{s}_prev": v for s, v in state.items()},
            }
            exec(code, values)
            values["o"] = values["h"] @ self.p["W_out"] + self.p["b_out"]
            state = {s: values[s] for s in state}
            found.append(values)
        return found

    def loss(self, own=False):
        """The loss, recorded: with the project's cell (packed parameters), or, ``own``, with a cell that has this file's names."""
        spec, p = self.spec, self.p
        head = {n: mg.parameter(p[n], name=n) for n in ("W_out", "b_out")}
        initial = [mg.parameter(p[f"{s}_0"], name=f"{s}_0") for s in spec["state"]]
        if own or spec["cell"] is None:
            weights = {n: mg.parameter(p[n], name=n) for n in self.weights}
            source = (
                "def step(x, state):\n    "
                + "".join(f"{s}_prev, " for s in spec["state"])
                + "= state\n    "
                + spec["forward"].replace("; ", "\n    ")
                + "\n    o = h @ W_out + b_out\n    return o, ("
                + "".join(f"{s}, " for s in spec["state"])
                + ")"
            )
            scope = {**FUNCTIONS, "sigmoid": mg.sigmoid, **weights, **head, **spec.get("constants", {})}
            exec(compile(source, f"<{self.name}>", "exec"), scope)
            step, state = scope["step"], tuple(initial)
        else:
            cell = spec["cell"]()
            for packed, parts in spec["packed"].items():
                cell.parameters()[packed].array = np.concatenate([p[n] for n in parts], -1)

            def step(x, state):
                h, state = cell(x, state)
                o = h @ head["W_out"] + head["b_out"]
                return o, state

            state = initial[0] if len(initial) == 1 else tuple(initial)
        os, _ = mg.unroll(step, self.xs, state)
        return mg.softmax_cross_entropy(os, self.ys, reduction="sum") / B

    def packed(self, gradients, own=False):
        """Gradients of the parts as gradients of what the recorded graph calls its parameters."""
        if own or self.spec["cell"] is None:
            return gradients
        found = {n: g for n, g in gradients.items() if n in ("W_out", "b_out") or n.endswith("_0")}
        for packed, parts in self.spec["packed"].items():
            found[packed] = np.concatenate([gradients[n] for n in parts], -1)
        if self.name == "two layers":
            found = {
                {
                    "cells.0.W_x": "1.W_x",
                    "cells.0.W_h": "1.W_h",
                    "cells.0.b": "1.b",
                    "cells.1.W_x": "2.W_x",
                    "cells.1.W_h": "2.W_h",
                    "cells.1.b": "2.b",
                }.get(n, n): g
                for n, g in found.items()
            }
        return found

    def backward(self, lines, slip=None):
        """Back-propagation by this file's lines, with a mistake of the loop around them: ``slip`` = (name, argument)."""
        kind, argument = slip or ("", None)
        g = {n: np.zeros_like(v) for n, v in self.p.items()}
        codes = [(line, compile(line, self.name, "exec")) for line in lines]
        carries = {f"carry_{s}": np.zeros((B, H)) for s in self.spec["state"]}
        rounds = 2 if kind == "not reset" else 1
        for repeat in range(rounds):
            if repeat:
                g = {n: np.zeros_like(v) for n, v in self.p.items()}
            for t in range(T) if kind == "forward" else range(T - 1, -1, -1):
                values = dict(self.steps[t])
                for n in list(values):
                    if n in self.spec["state"]:
                        values[f"{n}_next"] = self.steps[min(t + 1, T - 1)][n]
                for n in ("x", "y"):
                    values[f"{n}_prev"], values[f"{n}_next"] = self.steps[max(t - 1, 0)][n], self.steps[min(t + 1, T - 1)][n]
                values.update(carries)
                before = {f"d{n}": v for n, v in g.items()}
                values.update(before)
                for line, code in codes:
                    if kind == "skip" and line.startswith(argument[0]) and t == argument[1]:
                        continue
                    if kind == "assign" and "+=" in line and line.startswith(argument):
                        code = compile(line.replace("+=", "="), self.name, "exec")
                    exec(code, values)
                    if kind == "do only last" and line.startswith("do ") and t < T - 1:
                        values["do"] = values["do"] * 0
                    if kind == "dh only last" and line.startswith("dh "):
                        values["dh"] = values["dh"] if t == T - 1 else values["carry_h"]
                    if kind == "no loss at" and line.startswith("do ") and t == argument:
                        values["do"] = values["do"] * 0
                    if kind == "only loss" and line.startswith("do ") and t != argument:
                        values["do"] = values["do"] * 0
                g = {n: values[f"d{n}"] for n in g}
                if kind == "only use" and t != argument:
                    g = {n: before[f"d{n}"] for n in g}
                carries = {n: values[n] * (kind != "cut at" or t != argument) for n in carries}
        for s in self.spec["state"]:
            g[f"{s}_0"] = carries[f"carry_{s}"]
        return g

    def terms(self, lines):
        """C[t, k] by this file's own lines: each loss alone, through the uses at each step alone."""
        C = {}
        for t in range(T):
            done = {n: np.zeros_like(v) for n, v in self.p.items()}
            for k in range(t, -1, -1):
                full = self._partial(lines, t, k)
                C[t, k] = {n: full[n] - done[n] for n in full if not n.endswith("_0")}
                done = full
            C[t, -1] = {n: v for n, v in full.items() if n.endswith("_0")}
        return C

    def _partial(self, lines, loss, down_to):
        """Gradients of one step's loss, the uses at steps down to ``down_to`` only."""
        g = {n: np.zeros_like(v) for n, v in self.p.items()}
        carries = {f"carry_{s}": np.zeros((B, H)) for s in self.spec["state"]}
        for t in range(loss, down_to - 1, -1):
            values = {**self.steps[t], **carries, **{f"d{n}": v for n, v in g.items()}}
            for line in lines:
                exec(line, values)
                if line.startswith("do ") and t != loss:
                    values["do"] = values["do"] * 0
            g = {n: values[f"d{n}"] for n in g}
            carries = {n: values[n] for n in carries}
        for s in self.spec["state"]:
            g[f"{s}_0"] = carries[f"carry_{s}"]
        return g


def source_lines(name):
    return [s for s in (HEAD + CELLS[name]["backward"]).splitlines() if s.strip()]
