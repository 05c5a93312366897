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


class Summed(Slots):
    """Vectors out of matrices, and of matrices no product: gradients that are stretched before they meet a matrix."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.W_n, self.W_v, self.K = (mg.parameter(rng.standard_normal(s)) for s in ((D, self.N), (D, self.W), (self.W, self.W)))

    def __call__(self, x, M):
        n = np.tanh(x @ self.W_n)
        y = (M @ self.K).sum(axis=-2) * (x @ self.W_v).sum(axis=-1, keepdims=True)
        s = np.stack([n + 0, 2 * n], axis=-1)
        M = np.tanh(M * s + y[..., None, :])
        return y, M


class Pairs(Slots):
    """Every slot beside every other: three axes."""

    def __init__(self):
        self.W_x = mg.parameter(np.random.default_rng(0).standard_normal((D, self.W)))

    def __call__(self, x, M):
        P = M[..., :, None, :] * M[..., None, :, :] * (x @ self.W_x)[..., None, None, :]
        M = np.tanh(M + P.sum(axis=-2) - P[..., 0, :, :] + M[..., -1, None])
        return M.sum(axis=-1), M


@pytest.mark.parametrize("convention", ["row", "column"])
@pytest.mark.parametrize("make, least", [(Slots, 40), (Phases, 20), (FastWeights, 15), (Summed, 15)])
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
    assert "apart_t = h_{t-1} - h_{t-1}ᵀ" in derive(Phases()).text and "stretch" not in derive(Phases()).text
    assert "einsum(ij,j→i; A_t, h′_t)" in derive(FastWeights()).text
    latex = derive(Slots()).latex
    assert r"w_{t}^{\top} \odot v_{t}" in latex and r"\operatorname{mean}_i" in latex and r"\mathrm{out}^{(1)}" in latex


def test_parameters_in_a_list_are_called_after_it():
    """Not 0 and 1, which read as numbers: h_t 0 + 1."""
    assert list(derive(Slots()).arguments) == ["W_x", "W_k", "W_v", "out0", "out1"]


def test_more_axes_than_a_matrix_has_are_written_as_the_cell_has_them():
    """In columns, too, where matrices are transposed: around them."""
    row, column = derive(Pairs()).text, derive(Pairs(), convention="column").text
    assert "P_t = reshape(M_{t-1}, 5×1×2) ⊙ M_{t-1} ⊙ (x_t W_x)" in row and "P_t = reshape(M_{t-1}ᵀ, 5×1×2)ᵀ ⊙ M_{t-1} ⊙ (W_x x_t)" in column
    assert "M_t = tanh(M_{t-1} + Σ_j P_t - P_t[0, :, :] + M_{t-1}[:, -1]ᵀ)" in row
    assert "M_t = tanh(M_{t-1} + (Σ_j P_tᵀ)ᵀ - (P_tᵀ)[0, :, :]ᵀ + M_{t-1}[-1, :]ᵀ)" in column
    assert "at [:, -1])" in row and "at [-1, :])" in column


def test_an_axis_of_one_number_is_not_all_there_is():
    class Narrow(Slots):
        W = 1

        def __call__(self, x, M):
            M = np.tanh(M - M.mean(axis=-1, keepdims=True) + M.mean(axis=-2, keepdims=True) + (x @ self.W_x).sum(axis=-1)[..., None, None])
            return M[..., 0], M
    assert "M_{t-1} - mean_j(M_{t-1})ᵀ + mean(M_{t-1})" in derive(Narrow()).text


def test_what_a_triangle_of_a_matrix_is_in_columns():
    class Triangle(Slots):
        N = 2

        def __call__(self, x, M):
            M = np.tanh(np.tril(M) + (x @ self.W_x).sum(axis=-1)[..., None, None])
            return M.sum(axis=-1), M
    assert "tril(M_{t-1}ᵀ)ᵀ" in derive(Triangle(), convention="column").text and "tril(M_{t-1})" in derive(Triangle()).text
