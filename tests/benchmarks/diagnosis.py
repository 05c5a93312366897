"""How often does ``mg.check.diagnose`` name what is wrong? A corpus of wrong derivations, written without it.

    python tests/benchmarks/diagnosis.py            the table of docs/diagnosis.md
    python tests/benchmarks/diagnosis.py --quick    two cells, one probe
    python tests/benchmarks/diagnosis.py --missed   and what was not named

Each cell's back-propagation stands here as lines of NumPy, written by hand. The mistakes are edits of these lines' *source text* (a
factor dropped, a transpose forgotten, h for h_prev, …) and of the loop around them; they know nothing of recorded graphs.

A mistake counts as *named* only if what diagnose says first, carried out on two other probes, gives the wrong derivation's numbers
there too, to 1e-8: the same mistake, not one that happens to have the same numbers.
"""

import argparse
import ast
import copy
import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np  # noqa: E402

import minigrad as mg  # noqa: E402
from minigrad.check.diagnose import diagnose  # noqa: E402

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


# ---- edits of one line's source ---------------------------------------------------------------------------------------------------


def edited(line, change):
    """All results of ``change(node) -> list of replacements`` applied at one place of the right-hand side."""
    tree, found = ast.parse(line), []
    right = tree.body[0]
    places = [n for n in ast.walk(right.value)]
    for i, node in enumerate(places):
        for new in change(node):
            again = copy.deepcopy(tree)
            target = [n for n in ast.walk(again.body[0].value)][i]

            class Swap(ast.NodeTransformer):
                def visit(self, n):
                    return new if n is target else self.generic_visit(n)

            again.body[0].value = Swap().visit(again.body[0].value)
            found.append(ast.unparse(ast.fix_missing_locations(again)))
    return found


def expression(text):
    return ast.parse(text, mode="eval").body


def has_adjoint(node):
    return any(
        isinstance(n, ast.Name) and (n.id.startswith("d") and n.id not in ("dt", "d_1", "d_2") or n.id.startswith("carry"))
        for n in ast.walk(node)
    )


def is_slope(node):
    """1 - v**2 or v * (1 - v), and v."""
    text = ast.unparse(node)
    if text.startswith("1 - ") and text.endswith(" ** 2"):
        return "tanh", text[4:-5]
    if (
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Mult)
        and isinstance(node.left, ast.Name)
        and ast.unparse(node.right) == f"1 - {node.left.id}"
    ):
        return "sigmoid", node.left.id
    return None, None


def catalogue_edits(line, problem):
    """(name of the mistake, edited line): what the catalogue has, at every place of a line where it can be made."""
    found = []
    names = problem.spec["forward"]
    argument = {}
    for part in names.split("; "):
        y, _, f = part.partition(" = ")
        if f.startswith(("tanh(", "sigmoid(")):
            argument[y] = f.split("(")[1].rstrip(")")

    def factor(node):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and has_adjoint(node.left) and not has_adjoint(node.right):
            found_ = [
                ("B factor dropped", node.left),
                ("B squared", expression(f"({ast.unparse(node)}) * ({ast.unparse(node.right)})")),
                ("B inverted", expression(f"({ast.unparse(node.left)}) / ({ast.unparse(node.right)})")),
            ]
            kind, v = is_slope(node.right)
            if kind:
                forms = {
                    "tanh": ["{v}**2", "1 - {v}", "(1 - {v})**2", "{v} * (1 - {v})", "1 - tanh({v})**2", "1 + {v}**2", "1 - {a}**2"],
                    "sigmoid": ["{v}", "1 - {v}", "1 - {v}**2", "(1 - {v})**2", "{a} * (1 - {a})", "sigmoid({v}) * (1 - sigmoid({v}))"],
                }[kind]
                for form in forms:
                    if "{a}" in form and v not in argument:
                        continue
                    text = form.format(v=v, a=argument.get(v))
                    found_.append((f"B {form}", expression(f"({ast.unparse(node.left)}) * ({text})")))
            return found_
        return []

    def transposes(node):
        if isinstance(node, ast.Attribute) and node.attr == "T" and isinstance(node.value, ast.Name):
            shape = problem.p.get(node.value.id, np.zeros((1, 2))).shape
            if shape[0] == shape[-1]:
                return [("C not transposed", node.value)]
        return []

    def indices(node):
        if isinstance(node, ast.Name):
            states = problem.spec["state"]
            if node.id.endswith("_prev") and node.id[:-5] in states:
                return [("D h_t for h_{t-1}", expression(node.id[:-5]))]
            if node.id in states and not line.startswith("da"):
                return [("D h_{t-1} for h_t", expression(f"{node.id}_prev"))]
            if node.id == "x":
                return [("D x_{t-1}", expression("x_prev")), ("D x_{t+1}", expression("x_next"))]
            if node.id == "y":
                return [("D y_{t+1}", expression("y_next")), ("D y_{t-1}", expression("y_prev"))]
        return []

    def sums(node):
        if (
            isinstance(node, ast.BinOp)
            and isinstance(node.op, (ast.Add, ast.Sub))
            and has_adjoint(node.left)
            and has_adjoint(node.right)
            and not line.startswith("do")
        ):
            minus = "-" if isinstance(node.op, ast.Add) else "+"
            return [
                ("A term dropped", node.left),
                ("A term dropped", node.right),
                ("E sign", expression(f"({ast.unparse(node.left)}) {minus} ({ast.unparse(node.right)})")),
            ]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and not has_adjoint(node) and not line.startswith("do"):
            if ast.unparse(node.left) not in ("1",):
                return [
                    ("B term of the slope dropped", node.left),
                    ("E sign", expression(f"{ast.unparse(node.left)} + {ast.unparse(node.right)}")),
                ]
        return []

    for change in (factor, transposes, indices, sums):
        for label in sorted({k for n in ast.walk(ast.parse(line).body[0].value) for k, _ in change(n)}):
            found += [(label, e) for e in edited(line, lambda n: [x for k, x in change(n) if k == label])]
    left, _, right = line.partition("= ")
    if "sum(0)" in line:
        found += [("F mean for sum", line.replace("sum(0)", "mean(0)"))]
    if line.startswith("do "):
        s, y = "softmax(o)", "one_hot(y)"
        for label, text in [
            ("E sign", f"({y} - {s}) / B"),
            ("E diagonal", f"-{y} * (1 - {s}) / B"),
            ("E -y/p", f"-{y} / {s} / B"),
            ("E no y", f"{s} / B"),
            ("E twice", f"{s} * (({s} - {y}) - ({s} * ({s} - {y})).sum(-1, keepdims=True)) / B"),
            ("E class", f"({s} - one_hot((y + 1) % 7)) / B"),
            ("E class", f"({s} - one_hot((y - 1) % 7)) / B"),
            ("F sum for mean", f"({s} - {y})"),
            ("F ×2", f"2 * ({s} - {y}) / B"),
        ]:
            found.append((label, f"do = {text}"))
    else:
        found += [("E sign of a line", f"{left}= -({right})"), ("F ×2 of a line", f"{left}= 2 * ({right})")]
    if "+=" in line and problem.p[left.strip(" +")[1:]].ndim == 2 and len(set(problem.p[left.strip(" +")[1:]].shape)) == 1:
        found.append(("C transposed", f"{left}= ({right}).T"))
    if "+=" in line:
        found.append(("F zero", f"{left}= 0 * ({right})"))
    # the adjoint before the activation: dh for da
    for n in sorted({n.id for n in ast.walk(ast.parse(line)) if isinstance(n, ast.Name) and n.id.startswith("da")}):
        gate = next((s.split(" = ")[1].split(" * ")[0] for s in source_lines(problem.name) if s.startswith(f"{n} = ")), None)
        if gate and not line.startswith(n):
            found.append(("B missing in one line only", line.replace(n, gate)))
    return [(label, e) for label, e in found if ast.dump(ast.parse(e)) != ast.dump(ast.parse(line))]


def later_edits(line, problem, rng):
    """Invented after the method was fixed: any name for another of the same kind, constants, powers, minus signs inside."""
    found = []
    shape = {n: np.shape(v) for n, v in problem.steps[-1].items() if isinstance(v, np.ndarray)}

    def change(node):
        if isinstance(node, ast.Name) and node.id in shape and len(shape[node.id]) == 2 and not node.id.endswith("_0"):
            others = [n for n in shape if shape[n] == shape[node.id] and n != node.id and not n.endswith(("_0", "o"))]
            return [("G another name", expression(n)) for n in rng.permutation(others)[:2]] if others else []
        if isinstance(node, ast.Constant) and node.value == 2:
            return [("G power 3", expression("3"))]
        return []

    found += [(k, e) for k in ("G another name", "G power 3") for e in edited(line, lambda n: [x for q, x in change(n) if q == k])]
    left, _, right = line.partition("= ")
    found.append(("G half of a line", f"{left}= 0.5 * ({right})"))
    if "@" in right and line.startswith(("carry", "dh", "dm", "dz", "dv", "dg")):
        found.append(("G elementwise absolute", f"{left}= np.abs({right})"))
    return found


LOOP = [("A truncated: carry 0 at t", ("cut at", t)) for t in (1, 2)] + [
    ("A do only at T", ("do only last", None)),
    ("A dh only at T", ("dh only last", None)),
    ("A loop forward", ("forward", None)),
    ("A carry not reset", ("not reset", None)),
    ("A no first loss", ("no loss at", 0)),
    ("A no last loss", ("no loss at", T - 1)),
]


def wrong_derivations(problem, later=False):
    """(name, lines, slip of the loop, what is done to the gradients or None) of every wrong derivation."""
    lines, found = source_lines(problem.name), []
    rng = np.random.default_rng(5)
    for i, line in enumerate(lines):
        for label, new in later_edits(line, problem, rng) if later else catalogue_edits(line, problem):
            found.append((label, lines[:i] + [new] + lines[i + 1:], None, None))
    if later:
        return found
    for label, slip in LOOP:
        found.append((label, lines, slip, None))
    recurrent = [s.split(" +=")[0] for s in lines if "+=" in s]
    for n in recurrent:
        found += [
            ("A = for +=", lines, ("assign", n), None),
            ("A first k dropped", lines, ("skip", (n, 0)), None),
            ("A last k dropped", lines, ("skip", (n, T - 1)), None),
        ]
    found.append(("A = for += everywhere", lines, ("assign", ("d",)), None))
    masks = {
        "A only k=t": lambda t, k: t == k,
        "A t-k<=1": lambda t, k: t - k <= 1,
        "A t-k<=2": lambda t, k: t - k <= 2,
        "A only the longest path": lambda t, k: k == 0,
        "A t-k+1 times": lambda t, k: t - k + 1 if k >= 0 else t + 2,
        "A no k=t": lambda t, k: t != k,
        "A no k=1": lambda t, k: k != 0,
    }
    for label, m in masks.items():
        found.append((label, lines, None, ("mask", m)))
    w = [n for n in problem.weights if n.startswith("W")]
    if len(w) > 1:
        found.append(("A15 carry only, local only", lines, None, ("two masks", (w[1], w[0]))))
    for label, what in [
        ("F 1/T", ("scale", 1 / T)),
        ("F ×2", ("scale", 2.0)),
        ("F -η", ("scale", -0.01)),
        ("E sign", ("scale", -1.0)),
        ("F clipped", ("clip", 0.1)),
        ("F +λW", ("decay", 0.01)),
    ]:
        found.append((label, lines, None, what))
    for n in [x for x in problem.p if not x.endswith("_0")]:
        found.append((f"F {'db' if n.startswith('b') else 'dW'}=0", lines, None, ("zero", n)))
    for s in problem.spec["state"]:
        found.append(("F dh_0=0", lines, None, ("zero", f"{s}_0")))
    return found


def carried_out(problem, lines, slip, after):
    if after and after[0] in ("mask", "two masks"):
        C = problem.terms(lines)
        g = {n: np.zeros_like(v) for n, v in problem.p.items()}
        for (t, k), c in C.items():
            for n in c:
                if n in ("W_out", "b_out"):
                    m = after[1](t, k) if after[0] == "mask" else 1
                elif after[0] == "mask":
                    m = after[1](t, k)
                else:
                    m = {after[1][0]: t != k, after[1][1]: t == k}.get(n, 1)
                g[n] = g[n] + m * c[n]
        return g
    with np.errstate(all="ignore"):
        g = problem.backward(lines, slip)
    if after:
        kind, x = after
        if kind == "scale":
            g = {n: x * v for n, v in g.items()}
        elif kind == "clip":
            g = {n: np.clip(v, -x, x) for n, v in g.items()}
        elif kind == "decay":
            g = {n: v + x * problem.p[n] for n, v in g.items()}
        elif kind == "zero":
            g[x] = np.zeros_like(g[x])
    return g


def apart(a, b):
    """Largest difference of two dicts of gradients, each relative to its own largest entry."""
    top = max(np.max(np.abs(v)) for v in b.values())
    return max(np.max(np.abs(a[n] - b[n])) / max(np.max(np.abs(b[n])), 1e-3 * top) for n in b)


# ---- the evaluation ---------------------------------------------------------------------------------------------------------------


def from_gradients(name, seeds, later, missed, limit):
    """Counts of (named, all) over every wrong derivation of a cell, from gradients alone."""
    named, total, by_label = 0, 0, defaultdict(lambda: [0, 0])
    for seed in seeds:
        problems = [Problem(name, 10 * seed + i) for i in range(3)]
        contexts = [diagnose.context(p.loss()) for p in problems]
        losses = [p.loss() for p in problems[:1]]
        right = [p.backward(source_lines(name)) for p in problems]
        leaves = list(contexts[0].reverse.leaves)
        assert diagnose(problems[0].packed(right[0]), losses[0], context=contexts[0]).ok, f"the lines of {name} are wrong"
        for label, lines, slip, after in wrong_derivations(problems[0], later)[:limit]:
            try:
                wrong = [carried_out(p, lines, slip, after) for p in problems]
            except (ValueError, NameError, TypeError):  # does not conform: it raises, and nobody gets numbers
                continue
            if any(not all(np.isfinite(v).all() and v.shape == p.p[n].shape for n, v in w.items()) for w, p in zip(wrong, problems)):
                continue
            if apart(wrong[0], right[0]) < 1e-6:
                continue
            found = diagnose(problems[0].packed(wrong[0]), losses[0], context=contexts[0])
            good = found.exact
            for p, w, c in list(zip(problems, wrong, contexts))[1:]:
                packed = p.packed(w)
                again = found.elsewhere(c)
                good = good and apart({n: again[n] for n in leaves}, {n: packed[n] for n in leaves}) < 1e-8
            named, total = named + good, total + 1
            by_label[label][0] += good
            by_label[label][1] += 1
            if missed and not good:
                edit = next((n for n, o in zip(lines, source_lines(name)) if n != o), "")
                print(
                    f"  missed: {name} seed {seed} {label}: {edit} {slip or ''} -> {'exact ' if found.exact else ''}{found.residual:.0e} "
                    + " && ".join(f"{e.says} ({e.where})" for e in found.explanations)
                )
    return named, total, by_label


def as_function(line):
    """``da = dh * (1 - h**2)`` -> ("da", a function of dh and h)."""
    target, _, right = line.partition("=")
    names = sorted({n.id for n in ast.walk(ast.parse(right.strip())) if isinstance(n, ast.Name)} - set(FUNCTIONS))
    scope = dict(FUNCTIONS)
    exec(compile(f"def line({', '.join(names)}):\n    return {right.strip()}", "<line>", "exec"), scope)
    return target.strip(" +"), scope["line"]


def from_lines(name, seeds, later, missed, limit, pairs=0):
    """Counts of (named, all) where every line is given as a function: one wrong line, or ``pairs`` times two of them."""
    from minigrad.check.lines import Values, evaluate
    from minigrad.check.lines import carried_out as lines_carried_out

    named, total, located = 0, 0, 0
    for seed in seeds:
        problems = [Problem(name, 10 * seed + i) for i in range(2)]
        losses = [p.loss(own=True) for p in problems]
        contexts = [diagnose.context(loss) for loss in losses]
        given = [dict(problem.spec.get("constants", {}), y=problem.ys, B=B) for problem in problems]
        lines = source_lines(name)
        functions = dict(map(as_function, lines))
        first = diagnose(functions, losses[0], context=contexts[0], given=given[0])
        assert first.ok, f"the lines of {name} are wrong:\n{first}"
        values = [Values(c.reverse, given=g) for c, g in zip(contexts, given)]
        edits = []
        for i, line in enumerate(lines):
            for label, new in (
                later_edits(line, problems[0], np.random.default_rng([seed, i])) if later else catalogue_edits(line, problems[0])
            ):
                target, function = as_function(new)
                mine, right, _, trouble = evaluate(function, target, values[0])
                if not trouble and max(np.max(np.abs(a - b)) for a, b in zip(mine, right)) > 1e-6 * max(np.max(np.abs(b)) for b in right):
                    edits.append((label, target, function, new))
        chosen = [(e,) for e in edits[:limit]]
        if pairs:
            rng = np.random.default_rng(seed)
            chosen = []
            while len(chosen) < pairs:
                a, b = rng.choice(len(edits), 2, replace=False)
                if edits[a][1] != edits[b][1]:
                    chosen.append((edits[a], edits[b]))
        for case in chosen:
            found = diagnose({**functions, **{t: f for _, t, f, _ in case}}, losses[0], context=contexts[0], given=given[0])
            good = {e.yours for e in found.explanations} == {t for _, t, _, _ in case}
            located += good
            for e in found.explanations:
                function = next((f for _, t, f, _ in case if t == e.yours), None)
                if function is None:
                    continue
                mine, right, steps, _ = evaluate(function, e.yours, values[1])
                names = function.__code__.co_varnames[: function.__code__.co_argcount]
                again = (
                    [np.full_like(g, np.inf) for g in right]
                    if e.kind == "unknown"
                    else lines_carried_out(e.slip, e.yours, names, values[1], contexts[1], steps)
                )
                top = max(np.max(np.abs(b)) for b in right)
                ok = max(np.max(np.abs(a - b)) for a, b in zip(mine, again)) <= 1e-8 * top
                good = good and ok
                if missed and not ok:
                    print(f"  missed: {name} seed {seed} {[(c[0], c[3]) for c in case]} -> {e.residual:.0e} {e.says} ({e.where})")
            named, total = named + good, total + 1
    if located < total:
        print(f"  {name}: the wrong line itself was not found in {total - located} of {total}")
    return named, total


def correct_derivations(count):
    """Right derivations of all cells, float32 and float64, row and column convention: (false alarms, all)."""
    alarms, total = [], 0
    while total < count:
        for name in CELLS:
            for dtype in (np.float64, np.float32):
                problem = Problem(name, 1000 + total, dtype)
                loss = problem.loss()
                g = problem.packed({n: v.astype(dtype) for n, v in problem.backward(source_lines(name)).items()})
                for convention in ("row", "column"):
                    mine = g if convention == "row" else {n: v.T for n, v in g.items()}
                    found = (
                        diagnose(mine, loss, convention=convention)
                        if total % 50 == 0
                        else mg.check.compare(mine, loss, convention=convention)
                    )
                    total += 1
                    if not found.ok:
                        alarms.append((name, dtype.__name__, convention, str(found)))
    return alarms, total


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="two cells, one probe, a few mistakes each")
    parser.add_argument("--missed", action="store_true", help="print what was not named")
    parser.add_argument("--cells", default="", help="names, separated by commas")
    parser.add_argument("--probes", type=int, default=5)
    parser.add_argument("--only", default="gradients,lines,pairs,later,correct")
    o = parser.parse_args(arguments)
    cells = o.cells.split(",") if o.cells else list(CELLS)[:2] if o.quick else list(CELLS)
    seeds, limit = range(1 if o.quick else o.probes), 12 if o.quick else None
    rows, kinds = {}, defaultdict(lambda: [0, 0])
    for name in cells:
        rows[name] = {}
        if "gradients" in o.only:
            named, total, labels = from_gradients(name, seeds, False, o.missed, limit)
            rows[name]["gradients"] = named, total
            for k, (a, b) in labels.items():
                kinds[k[:1]][0] += a
                kinds[k[:1]][1] += b
        if "lines" in o.only:
            rows[name]["lines"] = from_lines(name, seeds, False, o.missed, limit)
        if "pairs" in o.only:
            rows[name]["two, lines"] = from_lines(name, seeds, False, o.missed, limit, pairs=4 if o.quick else 20)
        if "later" in o.only:
            rows[name]["later, gradients"] = from_gradients(name, seeds, True, o.missed, limit)[:2]
            rows[name]["later, lines"] = from_lines(name, seeds, True, o.missed, limit)
        print(f"{name:<12}" + "".join(f"  {k} {a}/{b} {100 * a / max(b, 1):.1f} %" for k, (a, b) in rows[name].items()), flush=True)
    totals = defaultdict(lambda: [0, 0])
    for row in rows.values():
        for k, (a, b) in row.items():
            totals[k][0] += a
            totals[k][1] += b
    print("\n" + "| cell | " + " | ".join(totals) + " |\n|---|" + "---|" * len(totals))
    for name, row in [*rows.items(), ("**all**", totals)]:
        print(
            f"| {name} | " + " | ".join(f"{row[k][0]} of {row[k][1]}, {100 * row[k][0] / max(row[k][1], 1):.1f} %" for k in totals) + " |"
        )
    if kinds:
        print("\nby kind, from gradients alone: " + ", ".join(f"{k} {a} of {b}" for k, (a, b) in sorted(kinds.items())))
    if "correct" in o.only:
        alarms, total = correct_derivations(64 if o.quick else 1000)
        print(f"\ncorrect derivations: {len(alarms)} false alarms in {total}")
        for alarm in alarms[:3]:
            print(*alarm)
    return totals


if __name__ == "__main__":
    main()
