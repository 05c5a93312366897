"""What people read, whole. Each report in ``reports.txt`` was read before it was kept; after a change of words, read the difference:

    python tests/check/test_reports.py > tests/check/reports.txt
"""
import re
import sys
from pathlib import Path

import numpy as np
import pytest

KEPT = Path(__file__).with_name("reports.txt")
if __name__ == "__main__":
    sys.path[:0] = [str(KEPT.parent), str(KEPT.parent.parent.parent)]

import minigrad as mg                                                   # noqa: E402
from minigrad.check import bptt, compare, diagnose, exercise            # noqa: E402

from derivation import Derivation, each                                 # noqa: E402
from networks import B, H, T, elman, gated                              # noqa: E402


E, G = Derivation(elman), Derivation(gated)


def times(c):
    return lambda: E.diagnose(each(E(), lambda g: c * g))


def weighted_terms():
    r, spans = E.context.reverse, E.context.slips.spans
    flat = r.outside + sum((1 + t * k / 4 if k else 1) * c for (t, k), c in r.terms().items())
    return {**E(), "W_h": flat[spans["W_h"]].reshape(H, H)}


def updated_too_early():
    W = E.value("W_y") - .05 * E()["W_y"]
    return E(dh=lambda t: E.program.g["do", t] @ W.T)


def double_sum(T, outside=False):
    rng = np.random.default_rng(0)
    W, h = mg.parameter(.5 * rng.standard_normal((6, 6)), name="W"), mg.parameter(rng.standard_normal((3, 6)), name="h_0")
    states, losses = [h], []
    for x in mg.steps(rng.standard_normal((T, 3, 6))):
        h = np.tanh(x + h @ W)
        states.append(h)
        losses.append((h * h).sum())
    return [losses[-1] + (W * W).sum()] if outside else losses, states, W


def gates(order):
    return {name: g if name == "h_0" else np.concatenate([g[..., H * k:H * k + H] for k in order], -1) for name, g in G().items()}


LINES = {"dh": lambda do, W_y, carry_h: do @ W_y.T + carry_h, "da": lambda dh, h: dh * (1 - h ** 2), "db_h": lambda da: da.sum(0),
         "dW_h": lambda h_prev, da: h_prev.T @ da, "carry_h": lambda da, W_h: da @ W_h.T}
GIVEN = {"targets": lambda: np.array([E.value("y", t) for t in range(1, T + 1)]), "rows": lambda: B + 1}
COLUMNS = {"da": lambda dh, h: dh * (1 - h * h), "dW_h": lambda da, h: da @ h.T, "carry_h": lambda da, W_h: W_h @ da}

CASES = {
    "right": lambda: E.diagnose(E()),
    "not transposed": lambda: E.diagnose(E(dh_="da @ W_h")),
    "in one step only": lambda: E.diagnose(E(da=lambda t: E.program.rule("dh" if t == 2 else "dh * (1 - h**2)", t))),
    "two in different lines": lambda: E.diagnose({**E(dh_="da @ W_h"), "W_y": E(dW_y="h[t-1].T @ do")["W_y"]}),
    "two that meet in the recurrence": lambda: E.diagnose(E(dh_="da @ W_h", dW_h="h.T @ da")),
    "three": lambda: E.diagnose({**E(da="dh * (1 - h)"), "W_y": 0 * E.value("W_y"), "b_y": E()["b_y"] / B}),
    "one mistake in two parameters' lines": lambda: E.diagnose(E(dW_h="h[t-1].T @ dh", dW_x="x.T @ dh")),
    "a line off by a factor": lambda: E.diagnose(E(dh="0.9 * do @ W_y.T")),
    "weights updated too early": lambda: E.diagnose(updated_too_early()),
    "weight decay": lambda: E.diagnose({name: g + .01 * E.value(name) for name, g in E().items()}),
    "weight decay of one": lambda: E.diagnose({**E(), "W_x": E()["W_x"] + .01 * E.value("W_x")}),
    "clipped": lambda: E.diagnose(each(E(), lambda g: np.clip(g, -.3, .3))),
    **{f"everything times {c:.4g}": times(c) for c in (-1, 2, .5, 1 / T, T, 1 / B, B, -.01, 1.5)},
    "one gradient times 0.3": lambda: E.diagnose({**E(), "b_h": .3 * E()["b_h"]}),
    "a slip and a factor": lambda: E.diagnose(each(E(dh_="da @ W_h"), lambda g: 3 * g)),
    "terms weighted": lambda: E.diagnose(weighted_terms()),
    "rounded": lambda: E.diagnose(each(E(dh_="da @ W_h"), lambda g: np.round(g, 2))),
    "almost right": lambda: E.diagnose(each(E(), lambda g: np.round(g, 6))),
    "float32": lambda: E.diagnose(each(E(da="dh"), np.float32)),
    "some derived": lambda: E.diagnose({"W_h": E()["W_h"], "b_h": -E()["b_h"]}),
    "others' names": lambda: E.diagnose({"U": E()["W_h"].T, "whatever": np.ones(3)}, names={"U": "W_h"}),
    "not a number": lambda: E.diagnose({**E(), "b_h": E()["b_h"] * np.nan}),
    "no mistake that is known": lambda: E.diagnose(each(E(), lambda g: np.sin(5 * g))),
    "gates in another order": lambda: G.diagnose(gates([1, 0])),
    "a gate's own slip": lambda: G.diagnose(G(dz="dh * (h[t-1] + n)")),
    "one of two ways back": lambda: G.diagnose(G(dh_="0 * dh")),
    "right lines": lambda: E.diagnose(LINES),
    "two wrong lines": lambda: E.diagnose({**LINES, "da": lambda dh, h: dh * (1 - h), "carry_h": lambda da, W_h: da @ W_h}),
    "two slips in a line": lambda: E.diagnose({**LINES, "dh": lambda do, W_y, carry_h: -do @ W_y.T + 2 * carry_h}),
    "a term missing, a factor, a transpose": lambda: E.diagnose(
        {"dh": lambda do, W_y: do @ W_y.T, "db_h": lambda da: da.mean(0), "dW_h": lambda h_prev, da: (h_prev.T @ da).T}),
    "a line that no slip explains": lambda: E.diagnose({"da": lambda dh, h: np.cbrt(dh) + h}),
    "lines that cannot be used": lambda: E.diagnose({
        "da": lambda dh, h: dh @ h, "dh": lambda carry: carry, "dW_h": lambda h_prev, da: da.T @ h_prev[:, :2], "dq": lambda dh: dh,
        "db_h": lambda da: None, "do": lambda *o: 0, "carry_h": lambda da: da * np.inf, "dW_y": lambda h, do: np.multiply(h, 2, out=h)}),
    "lines with values that are given": lambda: E.diagnose(
        {"do": lambda o, targets, rows: (np.exp(o) / np.exp(o).sum(1, keepdims=True) - targets) / rows},
        given={name: value() for name, value in GIVEN.items()}),
    "lines with names of their own": lambda: E.diagnose({"delta": lambda up, s: up * (1 - s)}, names={"delta": "da", "up": "dh", "s": "h"}),
    "lines beside gradients": lambda: E.diagnose({"da": LINES["da"], **E(dh_="da @ W_h")}),
    "lines in columns": lambda: diagnose(COLUMNS, E.loss, convention="column"),
    "adjoints of every step": lambda: E.diagnose({"dh": E.adjoints("dh", dh_="da @ W_h"), "da": np.array(E.adjoints("da", dh_="da @ W_h"))}),
    "adjoints that no slip explains": lambda: E.diagnose({"dh": [np.sin(9 * g) for g in E.adjoints("dh")]}),
    "adjoints of a wrong shape": lambda: E.diagnose({"dh": E.adjoints("dh")[:3], "da": [g.T for g in E.adjoints("da")]}),
    "an exercise and its solution": lambda: "\n".join([str(exercise(0)), exercise(0).solution]),
    "an exercise on a cell of one's own": lambda: exercise(1, mg.CoRNNCell(5, 6)),
    "the double sum": lambda: bptt(*double_sum(10)),
    "the double sum of many steps": lambda: bptt(*double_sum(11)),
    "the double sum of one loss, used outside of time too": lambda: bptt(*double_sum(4, outside=True)),
    "compared": lambda: compare({**LINES, "da": lambda dh, h: dh * h, **E(), "b_x": E()["b_h"], "W_h": E()["W_h"].T}, E.loss),
}


WITH_THEIR_TABLES = "not transposed", "not a number", "two wrong lines", "lines in columns", "compared"


def read(case):
    """The report without what differs from machine to machine, how small rounding is; mostly without the table of gradients."""
    text = re.sub(r"(?m)^(\w+) .*\+1.0000  ok .*", r"\1 agrees", str(CASES[case]()))
    if case not in WITH_THEIR_TABLES:
        text = re.sub(r"(?m)^(gradient  |\w+ agrees|\w+ +\S+ +[+-]\d\.\d{4} ).*\n?", "", text).rstrip("\n")
    return re.sub(r"\d\.?\d*e-(0[89]|1\d)|the last digit\b", "~0", text)


def kept():
    return dict(re.findall(r"^==== (.*)\n((?:(?!====).*\n)*)", KEPT.read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("case", CASES)
def test_a_report_reads_as_it_did(case):
    assert read(case) + "\n" == kept()[case]


def test_no_report_is_kept_that_is_not_made():
    assert list(kept()) == list(CASES)


if __name__ == "__main__":
    print("\n".join(f"==== {case}\n{read(case)}" for case in CASES))
