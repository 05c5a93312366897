"""derive of every op: the program of a cell that has it computes the engine's gradients, in rows and in columns."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.derivation.derive import derive
from tests.derivation.test_derive import B, T, columns, program
from tests.lower.steps import OPS, WITHOUT_GRADIENT, W

rng = np.random.default_rng(5)
FROZEN = {"where", *WITHOUT_GRADIENT}       # they choose by numbers of the step, which have no written form
WAYS = [pytest.param(f, id=f"{name}-{i}") for name, fs in OPS.items() for i, f in enumerate(fs)
        if name not in FROZEN and (name, i) != ("concatenate", 1)]


class Of(mg.Module):
    """A step with one op in it."""

    def __init__(self, f):
        self.f, self.W, self.V = f, W, mg.parameter(rng.standard_normal((6, 6)), name="V")

    def initial_state(self, batch_size):
        return mg.Tensor(np.zeros((batch_size, 6)))

    def __call__(self, x, h):
        h = 0.25 * (h @ self.V) + self.f(x) * 0.5
        return h, h


def error(cell, convention, derivation=None):
    """The largest relative error of a gradient."""
    derivation = derivation or derive(cell, np.zeros(6), convention=convention)
    turned = columns if convention == "column" else np.asarray
    xs, h_0 = mg.parameter(rng.standard_normal((T, B, 6))), mg.parameter(rng.standard_normal((B, 6)))
    ys, _ = mg.unroll(cell, xs, h_0)
    dys = rng.standard_normal(ys.shape)
    found = program(derivation)(turned(xs.data), turned(h_0.data), **derivation.arguments, dys=turned(dys))
    wanted = {"xs": xs, "h_0": h_0, **derivation.parameters}
    errors = []
    for name, want in zip(wanted, mg.grad((ys * dys).sum(), list(wanted.values()))):
        assert found[name].shape == turned(want.data).shape
        errors.append(np.abs(found[name] - turned(want.data)).max() / max(np.abs(want.data).max(), 1e-3))
    return max(errors)


@pytest.mark.parametrize("convention", ["row", "column"])
@pytest.mark.parametrize("f", WAYS)
def test_the_program_computes_the_engines_gradients(f, convention):
    rounded = f in OPS["astype"]            # a derivation is written for numbers, not for their precision
    assert error(Of(f), convention) <= (1e-6 if rounded else 1e-10)


@pytest.mark.parametrize("f", WAYS)
def test_latex_is_plain_and_balanced(f):
    latex = derive(Of(f), np.zeros(6)).latex
    assert latex.isascii() and latex.count("{") == latex.count("}") and latex.count(r"\left") == latex.count(r"\right")


@pytest.mark.parametrize("f", [pytest.param(f, id=name) for name, f in WITHOUT_GRADIENT.items()] + [
    pytest.param(f, id=f"where-{i}") for i, f in enumerate(OPS["where"])])
def test_what_chooses_by_numbers_is_refused(f):
    with pytest.raises(ValueError, match="made from the batch. Numbers read from x or the state .* have no written form: use relu"):
        derive(Of(f), np.zeros(6))
