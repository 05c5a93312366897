"""A checker that accepts a wrong derivation is worse than none: every mistake of a catalogue must be seen."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.check import compare

from wrong_bptt import MISTAKES, B, bptt, probe

PARAMETERS, XS, YS = probe()


def recorded_loss():
    p = {name: mg.parameter(array, name=name) for name, array in PARAMETERS.items()}
    h, total = p["h_0"], 0.0
    for x, y in zip(XS, YS):
        h = np.tanh(x @ p["W_x"] + h @ p["W_h"] + p["b_h"])
        total = total + mg.softmax_cross_entropy(h @ p["W_y"] + p["b_y"], y, reduction="sum") / B
    return total


@pytest.fixture(scope="module")
def loss():
    return recorded_loss()


def test_the_right_derivation_agrees_to_the_last_digits(loss):
    report = compare(bptt(PARAMETERS, XS, YS), loss)
    assert report.ok and len(report.rows) == 6, report
    assert max(r.error for r in report.rows) <= 1e-12


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_rule_is_seen(loss, mistake):
    report = compare(bptt(PARAMETERS, XS, YS, mistake), loss)
    assert not report.ok, f"{mistake} passed:\n{report}"
    assert max(r.error for r in report.rows) > 1e-3


def test_what_stays_exact_stays_ok(loss):
    """Mistakes on the way back through time leave the output layer exact."""
    for mistake in ("A1", "B1", "C1"):
        rows = {r.name: r.ok for r in compare(bptt(PARAMETERS, XS, YS, mistake), loss).rows}
        assert rows["W_y"] and rows["b_y"] and not rows["W_h"]


def test_a_transposed_gradient_is_recognised(loss):
    report = compare(bptt(PARAMETERS, XS, YS, "C2"), loss)
    assert [(r.name, r.note) for r in report.rows if not r.ok] == [("W_h", "its transpose agrees")]
