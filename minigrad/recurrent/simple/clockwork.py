"""The Clockwork RNN of Koutník et al. (2014): groups of units, each of which takes a step only when its clock strikes.

    h_t = tanh(x_t W_x + h_{t-1} (W_h ⊙ M) + b)    units whose period divides t - 1: all at step 1, then every p-th step
    h_t = h_{t-1}                                  all others
    M_ij = 1 if p_i ≥ p_j, else 0                  a unit hears its own group and slower ones

The paper counts t from 0. Its W_h is the transpose of this one, block upper triangular with the periods in ascending order; ours is lower.
What time it is belongs to the state: c counts down to each unit's next step,

    on_t = relu(1 - c_{t-1})                       1 where c is 0, 0 where c is 1, 2, …
    c_t  = c_{t-1} + p ⊙ on_t - 1

so that a step depends on x and the state alone, and rows of a batch may stand at different times. c is an integer: no gradient reaches
it, and zoneout, dropout and learned_start leave it alone.
Row vectors: x (B, D), h and c (B, H), W_x (D, H), W_h (H, H), b (H,), periods p (H,). The state is (h, c).
"""
from __future__ import annotations

from typing import Sequence

import numpy as np

from ...module import Module
from ...ops import relu
from ...tensor import Tensor
from ..initial import DType, Rng, check_sizes, uniform, zeros

COUNT = np.int16      # the integers that, times float32, stay float32


class ClockworkRNNCell(Module):
    """Clockwork RNN (Koutník, Greff, Gomez & Schmidhuber 2014, arXiv:1402.3511): output h, state the tuple (h, c), c the
    count-down (integers).

    periods  one per group of H/len(periods) units, default (1, 2, 4, 8): a group with period p steps at t = 1, 1 + p, 1 + 2p, …
    All parameters start uniform in ±1/√H; entries of W_h from faster to slower units are never used and get gradient 0.

    >>> import minigrad as mg
    >>> cell = ClockworkRNNCell(3, 4, periods=(1, 3), rng=np.random.default_rng(0))
    >>> ys, (h, c) = mg.unroll(cell, np.random.default_rng(1).standard_normal((5, 2, 3)))
    >>> [bool(np.all(ys.data[t, :, 2:] == ys.data[t - 1, :, 2:])) for t in range(1, 5)]        # who stands still at steps 2 … 5?
    [True, True, False, True]
    """

    def __init__(self, input_size: int, hidden_size: int, *, periods: Sequence[int] = (1, 2, 4, 8), rng: Rng = None,
                 dtype: DType = float) -> None:
        check_sizes("ClockworkRNNCell", input_size=input_size, hidden_size=hidden_size)
        D, H = input_size, hidden_size
        if not isinstance(periods, (tuple, list)) or not periods or not all(
                isinstance(p, (int, np.integer)) and 0 < p <= np.iinfo(COUNT).max for p in periods):
            raise ValueError(f"ClockworkRNNCell got periods={periods!r}; expected positive integers, one for each group of units")
        if H % len(periods):
            raise ValueError(f"ClockworkRNNCell got hidden_size={H} for {len(periods)} periods {tuple(periods)}; expected a multiple of "
                             f"{len(periods)}, so that all groups have as many units")
        self.W_x, self.W_h, self.b = uniform(rng, H ** -0.5, dtype, (D, H), (H, H), (H,))
        self.periods = np.repeat(periods, H // len(periods)).astype(COUNT)
        self.hears = (self.periods[:, None] >= self.periods).astype(dtype)

    def initial_state(self, batch_size: int | None = None) -> tuple[Tensor, Tensor]:
        h = zeros(batch_size, len(self.b), self.b.dtype)
        return h, Tensor(np.zeros(h.shape, COUNT))

    def __call__(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        h, c = state
        on = relu(1 - c)
        new = np.tanh(x @ self.W_x + h @ (self.W_h * self.hears) + self.b)
        h = h + on * (new - h)
        c = c + self.periods * on - 1
        return h, (h, c)
