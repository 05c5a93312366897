"""Slips in the bookkeeping of time: which terms C[t, k] of the double sum are there, and how often."""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .changes import nothing

if TYPE_CHECKING:
    from . import Slips


def terms(slips: Slips) -> None:
    """Masks over the terms, each a function of (t, k); and the carry dropped at some steps."""
    r, T = slips.r, slips.r.T
    C = r.terms()
    masks: list[tuple[str, Callable[[int, int], float], str, float]] = [
        ("only k=t", lambda t, k: t == k, "nothing is carried back in time: only the terms k = t are there", 0.1),
        *((f"t-k <= {d}", lambda t, k, d=d: t - k <= d, f"truncated: losses reach back {d} step{'s' * (d > 1)} and no further", 0.3)
          for d in range(1, T - 1)),
        ("only t=T", lambda t, k: t == T, "only the last step's loss is differentiated", 0.3),
        ("no t=T", lambda t, k: t != T, "the last step's loss is missing", 0.5),
        ("no t=1", lambda t, k: t != 1, "the first step's loss is missing", 0.5),
        ("no k=1", lambda t, k: k != 1, "the first step k = 1 is missing in the sum over k", 0.3),
        ("no k=T", lambda t, k: k != T, "the last step k = T is missing in the sum over k", 0.5),
        ("only k=1", lambda t, k: k == 1, "only the longest path (k = 1) is there: the explicit terms are missing", 0.5),
        ("no k=t", lambda t, k: k != t, "the explicit terms k = t are missing: only what is carried is there", 0.4),
        ("t-k+1 times", lambda t, k: t - k + 1,
         "each term is there t-k+1 times: the total derivative inside the sum over k, where the immediate one is meant", 0.4),
        ("k=t twice", lambda t, k: 1 + (t == k), "the explicit terms k = t are there twice", 0.6),
        ("only t-k=1", lambda t, k: t - k == 1, "only the terms t - k = 1 are there", 1),
        ("T-t+1 times", lambda t, k: T - t + 1, "the loss of step t is there T-t+1 times", 0.8),
        ("t times", lambda t, k: t, "the loss of step t is there t times", 0.8),
        ("1/t", lambda t, k: 1 / t, "the loss of step t is divided by t", 0.8),
        ("k times", lambda t, k: k, "step k is counted k times", 0.9),
        ("only k=t and t=T", lambda t, k: t == T and k == T, "only the last step is differentiated, with no way back", 0.6),
        ("t=T and k=1", lambda t, k: t == T and k == 1, "only the one path from the last loss to the first step", 0.7),
    ]
    for name, m, says, cost in masks:
        slips.put(f"terms: {name}", None, "", says, says, cost, group=f"terms: {name}",
                  compute=lambda m=m: r.outside + sum(m(t, k) * c for (t, k), c in C.items()))
    carries = r.crossings()
    for line in carries:
        steps = {t: e for t, e in r.lines[line].items() if not t % 2}
        slips.enter("missing", slips.last[line], "at every second step", "carry = 0", "the carry is dropped at every second step", 1.6,
                    steps, nothing)
    for t in range(2, T + 1):
        steps = {line: r.lines[line][t] for line in carries if t in r.lines[line]}
        slips.enter("missing", slips.last[carries[0]], f"all that is carried, at t={t}", "carry = 0",
                    f"nothing is carried from t={t} to t={t - 1}", 1.1, steps, nothing)
