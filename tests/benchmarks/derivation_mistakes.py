"""Mistakes in derivations, as edits of their lines' source text and of the loop around them. For diagnosis.py."""
import ast
import copy

import numpy as np

from tests.benchmarks.derivation_lines import T, source_lines


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
