"""derive of cells whose state is a matrix, with axes put in, summed and taken: what is printed holds, number by number."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.derivation.derive import derive
from tests.derivation.test_derive import D, H, check_equations


class Slots(mg.Module):
    """A memory of N slots of W numbers: read by what stands in it, written by an outer product."""
    N, W = 5, 2

    def __init__(self):
        rng = np.random.default_rng(0)
        self.W_x, self.W_k, self.W_v = (mg.parameter(rng.standard_normal((n, m))) for n, m in ((D, H), (H, self.W), (H, self.W)))
        self.out = [mg.parameter(rng.standard_normal((self.W, 3))) for _ in range(2)]

    def initial_state(self, batch_size=None):
        return mg.Tensor(np.zeros((() if batch_size is None else (batch_size,)) + (self.N, self.W)))

    def __call__(self, x, M):
        h = np.tanh(x @ self.W_x)
        k, v = h @ self.W_k, h @ self.W_v
        w = mg.softmax((M @ k[..., None])[..., 0])
        M = M * (1 - w[..., :, None]) + w[..., :, None] * v[..., None, :]
        read = (w[..., None, :] @ M)[..., 0, :]
        y = read @ self.out[0] + M.mean(axis=-2) @ self.out[1]
        return y, M


class Phases(mg.Module):
    """Kuramoto's oscillators: every one is pulled by every other."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.K, self.W_x = (mg.parameter(rng.standard_normal((n, H))) for n in (H, D))

    def initial_state(self, batch_size=None):
        return mg.Tensor(np.zeros(H if batch_size is None else (batch_size, H)))

    def __call__(self, x, h):
        apart = h[..., None, :] - h[..., :, None]
        pull = self.K * np.sin(apart)
        h = h + x @ self.W_x + 0.1 * (pull * pull - pull.mean(axis=-1, keepdims=True) * apart).sum(axis=-1)
        return h, h


class FastWeights(mg.Module):
    """Ba et al. (2016), with one inner step."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.W_x, self.W_h = (mg.parameter(rng.standard_normal((n, H))) for n in (D, H))

    def initial_state(self, batch_size=None):
        rows = () if batch_size is None else (batch_size,)
        return mg.Tensor(np.zeros((*rows, H))), mg.Tensor(np.zeros((*rows, H, H)))

    def __call__(self, x, state):
        h, A = state
        A = 0.9 * A + 0.5 * np.einsum("...i,...j->...ij", h, h)
        h = np.tanh(x @ self.W_x + h @ self.W_h)
        h = np.tanh(h + np.einsum("...ij,...j->...i", A, h))
        return h, (h, A)


@pytest.mark.parametrize("convention", ["row", "column"])
@pytest.mark.parametrize("make, least", [(Slots, 40), (Phases, 20), (FastWeights, 15)])
def test_every_printed_equation_of_a_matrix_holds(make, least, convention):
    cell = make()
    assert check_equations(cell, derive(cell, convention=convention), columns_=convention == "column") >= least


@pytest.mark.parametrize("right, wrong", [("v_t", "k_t"), ("h_{t-1}ᵀ", "h_{t-1}"), ("Σ_i", "Σ_j"), ("Σ_j", "Σ_i"), ("ij,j→i", "ij,i→j")])
def test_an_axis_elsewhere_is_another_equation(right, wrong):
    """The evaluator is no rubber stamp for these, either."""
    cell = next(cell for cell in (Slots(), Phases(), FastWeights()) if right in derive(cell).text)
    derivation = derive(cell)
    derivation.lines = [line._replace(formula=line.formula.replace(right, wrong)) for line in derivation.lines]
    with pytest.raises((AssertionError, ValueError)):
        check_equations(cell, derivation)


def test_how_a_matrix_reads():
    text = derive(Slots()).text
    for line in ("w_t = softmax(k_t M_{t-1}ᵀ)", "M_t = M_{t-1} ⊙ (1 - w_tᵀ) + w_tᵀ ⊙ v_t", "read_t = w_t M_t", "y_t = read_t out⁽⁰⁾ + mean_i(M_t) out⁽¹⁾"):
        assert line in text, text
    assert "apart_t = h_{t-1} - h_{t-1}ᵀ" in derive(Phases()).text and "einsum(ij,j→i; A_t, h′_t)" in derive(FastWeights()).text
    latex = derive(Slots()).latex
    assert r"w_{t}^{\top} \odot v_{t}" in latex and r"\operatorname{mean}_i" in latex and r"\mathrm{out}^{(1)}" in latex


def test_parameters_in_a_list_are_called_after_it():
    """Not 0 and 1, which read as numbers: h_t 0 + 1."""
    assert list(derive(Slots()).arguments) == ["W_x", "W_k", "W_v", "out0", "out1"]
