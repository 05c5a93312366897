"""Cells around a cell, any cell: zoneout, dropout, layer norm, residual, projection, masks, a learned initial state.

Each is a cell itself and keeps the contract ``y, state = cell(x, state)``, also for nested states. What needs a look inside the
cell is no wrapper: layer norm of the gates and dropout of the candidate (Semeniuta et al. 2016) are lines of the cell.

Random numbers come from the wrapper's own generator, in training only: ``wrapper.eval()`` takes the mean instead (torch's words).
"""
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..module import Module
from ..nested import Nested, flatten, rebuild
from ..ops import layer_norm
from ..tensor import Tensor, parameter
from .initial import DType, Rng, check_sizes, uniform
from .state import Cell, called, check_cell, initial_state


class _Wrapper(Module):
    """A cell around ``self.cell`` that begins with its initial state. ``wraps`` is the name of the function that makes it."""
    wraps = ""

    def __init__(self, cell: Cell) -> None:
        self.cell = check_cell(self.wraps, cell)

    @property
    def __name__(self) -> str:
        return f"{self.wraps}({called(self.cell)})"

    def initial_state(self, batch_size: int | None = None) -> Nested:
        return initial_state(self.cell, batch_size, called(self))


def _floating(x: Any) -> bool:
    return x.dtype.kind in "fc"


# ---- noise ----------------------------------------------------------------------------------------------------------

class _Noise(_Wrapper):
    """What zoneout and dropout share: probabilities, one for all parts of the state or one for each, and a generator."""

    def __init__(self, cell: Cell, p: Any, rng: Rng) -> None:
        super().__init__(cell)
        for q in flatten(p):
            if isinstance(q, bool) or not isinstance(q, (int, float, np.number)) or not 0 <= q <= 1:
                raise ValueError(f"{self.wraps} got p={p!r}; expected a probability, 0 … 1")
        self.p, self.rng = p, np.random.default_rng(0) if rng is None else rng
        if not isinstance(self.rng, np.random.Generator):
            raise TypeError(f"rng must be a numpy.random.Generator, got {type(rng).__name__}; use np.random.default_rng(seed)")

    def _of_each(self, leaves: list[Any]) -> list[Any]:
        """The probability of each part of the state; what is not floating (a counter, a mask) has none."""
        n, rates = sum(map(_floating, leaves)), flatten(self.p)
        if not isinstance(self.p, (tuple, list, dict)):
            rates = rates * n
        if len(rates) != n:
            raise ValueError(f"{called(self)} got p={self.p!r} for a state of {n} floating parts; expected one number, or one for "
                             "each part")
        each = iter(rates)
        return [next(each) if _floating(x) else 0 for x in leaves]


class _Zoneout(_Noise):
    wraps = "zoneout"

    def __call__(self, x: Any, state: Nested) -> tuple[Any, Nested]:
        y, new = self.cell(x, state)
        leaves = flatten(new)
        kept = [self._zoned(p, old, h) if p else h for p, old, h in zip(self._of_each(leaves), flatten(state), leaves)]
        shown = next((i for i, h in enumerate(leaves) if h is y), None)
        return y if shown is None else kept[shown], rebuild(new, kept)

    def _zoned(self, p: Any, old: Any, new: Any) -> Any:
        return np.where(self.rng.random(new.shape) < p, old, new) if self.training else p * old + (1 - p) * new


def zoneout(cell: Cell, p: Any, *, rng: Rng = None) -> _Zoneout:
    """Zoneout (Krueger et al. 2016, arXiv:1606.01305): each unit of the state keeps its old value with probability p.

    p    a probability, or one for each part of the state: ``(0.05, 0.5)`` for the h and c of an LSTM
    rng  a numpy.random.Generator (default seed 0)

    ``h_t = m ⊙ h_{t-1} + (1 - m) ⊙ h̃_t``, m drawn in every step; in ``eval()`` the mean, ``p h_{t-1} + (1 - p) h̃_t``. Where the cell
    shows a part of its state (y is h), it shows what is kept. Integers in the state (counters) go on. Parts that have a meaning only
    together want p = 0: m scales the c and n of an sLSTM, hence ``zoneout(mg.SLSTMCell(3, 4), (0.1, 0, 0, 0))``. Of dropout the same holds.

    >>> import minigrad as mg
    >>> cell = zoneout(mg.LSTMCell(3, 4), (0.05, 0.5), rng=np.random.default_rng(0))
    >>> mg.unroll(cell, np.ones((5, 2, 3)))[0].shape
    (5, 2, 4)
    >>> ys, state = mg.unroll(cell.eval(), np.ones((5, 2, 3)))        # the mean: nothing is drawn
    """
    return _Zoneout(cell, p, rng)


class WithMask(NamedTuple):
    """The state of a cell whose dropout keeps one mask for a whole sequence: the cell's own state, and the mask."""
    state: Any
    mask: Any


class _Dropout(_Noise):
    wraps = "dropout"

    def __init__(self, cell: Cell, p: Any, on: str, per: str, size: int | None, rng: Rng) -> None:
        super().__init__(cell, p, rng)
        if not (isinstance(on, str) and on in ("input", "output", "state") and isinstance(per, str) and per in ("step", "sequence")):
            raise ValueError(f"dropout got on={on!r}, per={per!r}; expected on='input', 'output' or 'state', per='step' or 'sequence'")
        if any(q == 1 for q in flatten(p)) or on != "state" and isinstance(p, (tuple, list, dict)):
            raise ValueError(f"dropout got p={p!r} on the {on}; expected a probability below 1"
                             + (", or one for each part of the state" if on == "state" else ""))
        if per == "sequence" and on != "state":
            if size is None:
                raise TypeError(f"dropout on the {on} with one mask per sequence needs size=, the last axis of the {on}: the mask is drawn "
                                "before the first step")
            check_sizes("dropout", size=size)
        self.on, self.per, self.size = on, per, size

    def initial_state(self, batch_size: int | None = None) -> Nested:
        state = super().initial_state(batch_size)
        if self.per == "step":
            return state
        leaves = flatten(state)
        shapes, rates = ([x.shape for x in leaves], self._of_each(leaves)) if self.on == "state" else (
            [(self.size,) if batch_size is None else (batch_size, self.size)], [self.p])
        return WithMask(state, [Tensor(self._mask(p, shape)) for p, shape in zip(rates, shapes)])

    def _mask(self, p: Any, shape: tuple[int, ...]) -> np.ndarray:
        return self.rng.random(shape) >= p if self.training else np.ones(shape, bool)

    def __call__(self, x: Any, state: Nested) -> tuple[Any, Nested]:
        masks = None
        if self.per == "sequence":
            if not isinstance(state, WithMask):
                raise ValueError(f"{called(self)} got a {type(state).__name__} as state; expected what its initial_state makes, "
                                 "WithMask(state, mask)")
            state, masks = state
        given = state
        if self.training and self.on == "state":
            leaves = flatten(state)
            dropped = [self._dropped(s, p, masks and masks[i]) if p else s
                       for i, (s, p) in enumerate(zip(leaves, self._of_each(leaves)))]
            given = rebuild(state, dropped)
        if self.training and self.on == "input":
            x = self._dropped(x, self.p, masks and masks[0])
        y, new = self.cell(x, given)
        if self.training and self.on == "output":
            y = self._dropped(y, self.p, masks and masks[0])
        return y, new if masks is None else WithMask(new, masks)

    def _dropped(self, x: Any, p: Any, mask: Any) -> Any:
        kept = self._mask(p, x.shape) if mask is None else mask.data
        if kept.shape[-1:] != x.shape[-1:]:
            raise ValueError(f"{called(self)} has a mask of size {self.size} for the {self.on} of shape {x.shape}; size= is its last axis")
        return x * (kept / (1 - p)).astype(x.dtype)


def dropout(cell: Cell, p: Any, *, on: str = "output", per: str = "step", size: int | None = None, rng: Rng = None) -> _Dropout:
    """Dropout: in training each unit is set to 0 with probability p, the others are divided by 1 - p.

    p     a probability below 1; on the state also one for each part: ``(0.25, 0)`` for the h and not the c of an LSTM
    on    "output" y (between layers: Zaremba et al. 2014), "input" x, or the "state" that the cell reads
    per   "step": a new mask in every step; "sequence": one mask for all steps of a row (Gal & Ghahramani 2016, arXiv:1512.05287),
          drawn by ``initial_state`` and carried in the state, ``WithMask(state, mask)``
    size  the last axis of the input or output; needed with ``per="sequence"``, and only there
    rng   a numpy.random.Generator (default seed 0)

    Variational dropout of input and state is one around the other:
    ``dropout(dropout(cell, p, on="input", per="sequence", size=D), p, on="state", per="sequence")``.

    >>> import minigrad as mg
    >>> layers = [dropout(mg.GRUCell(n, 4), 0.2, on="state", per="sequence") for n in (3, 4)]
    >>> ys, state = mg.unroll(mg.stacked(*layers), np.ones((5, 2, 3)))
    """
    return _Dropout(cell, p, on, per, size, rng)


# ---- what the cell shows --------------------------------------------------------------------------------------------

class _Residual(_Wrapper):
    wraps = "residual"

    def __call__(self, x: Any, state: Nested) -> tuple[Any, Nested]:
        y, state = self.cell(x, state)
        if np.shape(y) != np.shape(x):
            raise ValueError(f"{called(self)} adds its input of shape {np.shape(x)} to the cell's output of shape {np.shape(y)}; they must "
                             "be equal: choose the sizes so, or project the output: residual(projected(cell, hidden_size, input_size))")
        return x + y, state


def residual(cell: Cell) -> _Residual:
    """y_t = x_t + cell's y_t (He et al. 2015; between recurrent layers Wu et al. 2016). The state is the cell's own.

    >>> import minigrad as mg
    >>> deep = mg.stacked(mg.RNNCell(3, 4), residual(mg.LSTMCell(4, 4)), residual(mg.LSTMCell(4, 4)))
    >>> mg.unroll(deep, np.ones((6, 2, 3)))[0].shape
    (6, 2, 4)
    """
    return _Residual(cell)


class _Projected(_Wrapper):
    wraps = "projected"

    def __init__(self, cell: Cell, hidden_size: int, size: int, rng: Rng, dtype: DType) -> None:
        super().__init__(cell)
        check_sizes("projected", hidden_size=hidden_size, size=size)
        self.W_p, = uniform(rng, hidden_size ** -0.5, dtype, (hidden_size, size))

    def __call__(self, x: Any, state: Nested) -> tuple[Any, Nested]:
        y, state = self.cell(x, state)
        return y @ self.W_p, state


def projected(cell: Cell, hidden_size: int, size: int, *, rng: Rng = None, dtype: DType = float) -> _Projected:
    """y_t = (cell's y_t) W_p, with W_p (hidden_size, size), uniform in ±1/√hidden_size.

    Only what the cell shows is projected; it goes on with its own state. (Sak et al.'s LSTMP, 2014, also feeds the projection
    back, which takes another W_h: that is a cell of its own.)

    >>> import minigrad as mg
    >>> mg.unroll(projected(mg.LSTMCell(3, 8), 8, 2), np.ones((6, 2, 3)))[0].shape
    (6, 2, 2)
    """
    return _Projected(cell, hidden_size, size, rng, dtype)


class _Normalized(_Wrapper):
    wraps = "normalized"

    def __init__(self, cell: Cell, size: int, dtype: DType) -> None:
        super().__init__(cell)
        check_sizes("normalized", size=size)
        self.gain, self.bias = parameter(np.ones(size, dtype)), parameter(np.zeros(size, dtype))

    def __call__(self, x: Any, state: Nested) -> tuple[Any, Nested]:
        y, state = self.cell(x, state)
        return self.gain * layer_norm(y) + self.bias, state


def normalized(cell: Cell, size: int, *, dtype: DType = float) -> _Normalized:
    """Layer norm (Ba, Kiros & Hinton 2016, arXiv:1607.06450) of what the cell shows, over its last axis: y_t = γ ⊙ LN(y_t) + β.

    The state is the cell's own. (Normalizing the gates takes a look inside: that is LayerNormLSTMCell.)

    >>> import minigrad as mg
    >>> mg.unroll(normalized(mg.GRUCell(3, 4), 4), np.ones((6, 2, 3)))[0].shape
    (6, 2, 4)
    """
    return _Normalized(cell, size, dtype)


# ---- when the cell moves, and where it begins -----------------------------------------------------------------------

class _Masked(_Wrapper):
    wraps = "masked"

    def __call__(self, x: Any, state: Nested) -> tuple[Any, Nested]:
        if not isinstance(x, Tensor):
            raise TypeError(f"{called(self)} got a {type(x).__name__} as x; expected one array whose last column is the mask")
        alive = x.data[..., -1].real != 0
        y, new = self.cell(_where(alive, x[..., :-1], 0.), state)
        kept = [_where(alive, a, b) for a, b in zip(flatten(new), flatten(state))]
        return _where(alive, y, 0.), rebuild(new, kept)


def _where(alive: Any, new: Any, old: Any) -> Any:
    return np.where(alive.reshape(alive.shape + (1,) * (np.ndim(new) - alive.ndim)), new, old)


def masked(cell: Cell) -> _Masked:
    """A 0/1 mask as the last column of x: where it is 0, the state stays as it is, the output is 0, and x has no say.

    For gaps anywhere in a sequence; padding at its end is what ``lengths=`` of unroll is for.

    >>> import minigrad as mg
    >>> xs, mask = np.ones((5, 2, 3)), np.array([[1, 1], [0, 1], [1, 1], [1, 0], [1, 1]])
    >>> ys, h = mg.unroll(masked(mg.RNNCell(3, 4)), np.concatenate([xs, mask[..., None]], axis=-1))
    >>> ys.data[1, 0]
    array([0., 0., 0., 0.])
    """
    return _Masked(cell)


class _LearnedStart(_Wrapper):
    wraps = "learned_start"

    def __init__(self, cell: Cell, state: Nested) -> None:
        super().__init__(cell)
        self.given = state is not None
        if not self.given:
            state = super().initial_state(1)
        values = [np.asarray(s.array if type(s) is Tensor else s) for s in flatten(state)]
        if not self.given:
            values = [a[0] if a.ndim else a for a in values]
        self.start = rebuild(state, [parameter(s, name=f"start_{i}") if s.ndim and _floating(s) else Tensor(s)
                                     for i, s in enumerate(values)])

    def initial_state(self, batch_size: int | None = None) -> Nested:
        lead = () if batch_size is None else (batch_size,)
        fresh = flatten(self.start if self.given else super().initial_state(batch_size))
        return rebuild(self.start, [np.broadcast_to(p, lead + p.shape) if p.requires_grad or self.given and p.ndim else s
                                    for p, s in zip(flatten(self.start), fresh)])

    def __call__(self, x: Any, state: Nested) -> tuple[Any, Nested]:
        return self.cell(x, state)


def learned_start(cell: Cell, state: Nested = None) -> _LearnedStart:
    """The initial state becomes parameters, ``start``, nested as the state is and the same for every row of a batch.

    state  their first values, without a batch axis; default ``cell.initial_state``. Give it for a function

    Integers, booleans and single numbers in the state (counters, masks) are not trained.

    >>> import minigrad as mg
    >>> cell = learned_start(mg.LSTMCell(3, 4))
    >>> mg.unroll(cell, np.ones((5, 2, 3)))[0].sum().backward()
    >>> [p.grad.shape for name, p in cell.parameters().items() if name.startswith("start")]
    [(4,), (4,)]
    """
    return _LearnedStart(cell, state)
