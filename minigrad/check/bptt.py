"""Back-propagation through time as the double sum that one derives by hand, term by term.

    ∂L/∂W = Σ_t Σ_k C[t, k]      C[t, k] = ∂L_t/∂h_t · ∂h_t/∂h_k · ∂h_k/∂W with h_{k-1} held fixed

C[t, k] is the contribution of loss t through the use of W at step k: the gradient of L_t with respect to an untied copy of W
that is used at step k only (Goodfellow, Bengio, Courville 2016, section 10.2.2). It is read off the recorded graph: one reverse
walk carries many losses, and what arrives at the ops that use W in step k goes along those edges to W and nowhere else.
"""
from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from html import escape
from typing import Any

import numpy as np

from ..autodiff import _walk
from ..graph import Graph
from ..graph.evaluate import through
from ..tensor import Tensor
from .heat import as_svg, as_text, plot
from .page import framed
from .terms import Terms, chunks, norms_of
from .uses import check_graph, in_time, independent, leaves_of, losses_of, step_of, unfold, uses_of

Arrived = dict[int, tuple[Tensor, np.ndarray]]          # a Tensor by its number, and what arrived there, one row for each loss
ROWS, BYTES = 32, 2 ** 26           # how many losses one walk carries at most, and about how much memory that may take


def bptt(losses: Any, states: Any, parameter: Tensor) -> DoubleSum:
    """The double sum of back-propagation through time as an object; DoubleSum says what it holds.

    losses     list of scalar Tensors, the losses of the steps (or some, or one); or one Tensor whose entries are the losses
    states     the list of the states, the initial one first, as ``unroll(…, states=True)`` gives it or a loop over ``mg.steps``
               collects it; each a Tensor, tuple, NamedTuple or dict, nested
    parameter  a Tensor that the steps use, also several times: a parameter of the cell, the initial state, the inputs

    Errors: a parameter that is not in the graph, losses that do not depend on it or on any of the states (ValueError); other
    things than Tensors (TypeError).

    >>> import minigrad as mg
    >>> cell = mg.RNNCell(3, 4, rng=np.random.default_rng(0))
    >>> ys, h, states = mg.unroll(cell, np.ones((5, 2, 3)), mg.parameter(np.ones((2, 4))), states=True)
    >>> double = bptt([(y * y).mean() for y in ys], states, cell.W_h)
    >>> double.norms.shape, double.terms[4, 2].shape                        # [4, 2]: of loss 5 through the use at step 3
    ((5, 5), (4, 4))
    >>> (ys * ys).mean(axis=(1, 2)).sum().backward()
    >>> np.allclose(double.gradient, cell.W_h.grad, rtol=1e-12)
    True
    """
    return DoubleSum(losses, states, parameter)


class DoubleSum:
    """What ``bptt`` returns, for n losses and T steps. Index i is loss i + 1, index j is the use at step j + 1.

    norms             (n, T)  ‖C[i, j]‖: the root of the sum of squares
    cumulative_norms  (n, T)  of the sums from the latest step back to step j + 1: what BPTT gets that is truncated there
    explicit_norms, implicit_norms  (n,)  of the part through the loss's own step, and of that through all other steps
    outside_norms     (n,)  of the part that enters no step: the parameter is used outside of time, too
    adjoints          (n, T + 1)  ‖∂L_i/∂h_k‖ for k = 0 … T, all leaves of the state together; nan where it takes no gradients
    growth            (T,)  by what factor a gradient grows on its way back through step j + 1: ‖∂L/∂h_{k-1}‖ / ‖∂L/∂h_k‖, the
                      geometric mean over the losses, which is meant for one loss per step; nan where there is none
    gradient          of the parameter's shape: all terms added up, which is what ``.grad`` is
    error             how far ``gradient`` is from the engine's own reverse walk: max|a − b| / max|b|

    Arrays of the parameter's shape are computed when asked for, and not kept:

    terms[i, j]       C[i, j]; terms[i], terms[:, j] and slices as well; np.asarray(terms) is (n, T, *shape)
    cumulative(i)     (T, *shape), the sums of which cumulative_norms are the norms
    explicit(i), implicit(i), outside(i)   three parts of loss i + 1 that add up to its gradient
    jacobian(t, k)    ∂h_t/∂h_k, with steps as people count, 0 being the initial state; singular_values(t, k)

    ``str()`` is a table, ``.html()`` (also in a notebook) and ``.plot(path)`` are heat maps.
    """

    def __init__(self, losses: Any, states: Any, parameter: Tensor) -> None:
        if not isinstance(parameter, Tensor):
            raise TypeError(f"bptt() got a {type(parameter).__name__} as parameter; expected a Tensor (argument order: losses, states, "
                            "parameter)")
        self.parameter = parameter
        self._losses, leaves = unfold(losses_of(losses), leaves_of(states))
        found, loop = in_time(leaves)
        graph = Graph.of(*{id(root): root for root, _ in self._losses}.values(), names=parameter.name is None)
        nodes = {id(node.tensor): node for node in graph.nodes if node.tensor is not None}
        check_graph(graph, nodes, found, parameter)
        self.name = parameter.name or nodes[id(parameter)].name or "the parameter"
        self._states = dict(found)
        self._uses, self._carriers, self._stops = uses_of(graph, parameter, loop)
        made = [step for step, _ in found if step]
        T = max([*made, *self._uses])
        self._latest_first = range(1, T + 1) if made[0] > made[-1] else range(T, 0, -1)
        self.own_steps = [step_of(nodes[id(root)], loop) if root.size == 1 else None for root, _ in self._losses]
        self.terms = Terms(self, (len(self._losses), T, *parameter.shape))
        engine = self._engine()
        self._measure(len(self._losses), T)
        self.error = float(np.max(np.abs(self.gradient - engine), initial=0.0) / (np.max(np.abs(engine), initial=0.0) or 1.0))

    # ---- several losses in one walk --------------------------------------------------------------------------------------
    def _units(self, rows: Sequence[int]) -> Arrived:
        """What the walk of these losses begins with: index -> (loss Tensor, array (len(rows), *shape), 1 where row n has its loss)."""
        units: Arrived = {}
        for n, i in enumerate(rows):
            root, entry = self._losses[i]
            if root.index not in units:
                units[root.index] = root, np.zeros((len(rows), *root.shape), root.dtype)
            units[root.index][1].reshape(len(rows), -1)[n, entry] = 1
        return units

    def _arriving(self, rows: Sequence[int], wanted: Iterable[int]) -> dict[int, np.ndarray]:
        """What arrives from each of these losses: dict index of a wanted tensor -> array (len(rows), *shape)."""
        roots, units = zip(*self._units(rows).values())
        return {index: g for index, (_, g) in _walk(roots, units, wanted=set(wanted), lead=1).items()}

    def _terms(self, rows: Sequence[int], steps: Collection[int] | None = None,
               found: dict[int, np.ndarray] | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """(step, array (len(rows), *shape)): the terms of these losses, those of the step that was made latest first."""
        steps = [s for s in self._latest_first if steps is None or s in steps]
        if found is None:
            found = self._arriving(rows, (node.index for s in steps for _, node, _ in self._uses.get(s, ())))
        for step in steps:
            arrived: Arrived = {}
            for source, node, position in self._uses.get(step, ()):
                if node.index in found:
                    part = through(node, position, found[node.index], lead=1)
                    assert part is not None             # a use is an edge that has a rule
                    arrived[source.index] = source, arrived[source.index][1] + part if source.index in arrived else part
            yield step, self._to_parameter(arrived, len(rows))

    def _outside(self, rows: Sequence[int]) -> np.ndarray:
        """The part of these losses that reaches the parameter without entering a step, (len(rows), *shape)."""
        return self._to_parameter({i: pair for i, pair in self._units(rows).items() if i in self._carriers}, len(rows))

    def _to_parameter(self, arrived: Arrived, n: int) -> np.ndarray:
        """What arrived at the parameter, and at what was computed from it outside of time, handed on to the parameter."""
        index = self.parameter.index
        if set(arrived) == {index}:
            return arrived[index][1]
        if arrived:
            tensors, parts = zip(*arrived.values())
            arrived = _walk(tensors, parts, wanted={index}, lead=1, stops=self._stops)
        return arrived[index][1] if index in arrived else np.zeros((n, *self.parameter.shape), self.parameter.dtype)

    def _engine(self) -> np.ndarray:
        """The gradient by a plain reverse walk."""
        roots, units = zip(*self._units(range(len(self._losses))).values())
        found = _walk(roots, [u.sum(axis=0) for u in units], wanted={self.parameter.index})
        if self.parameter.index not in found:
            raise ValueError(independent(self.parameter))
        return found[self.parameter.index][1]

    # ---- numbers that are small enough to keep ------------------------------------------------------------------------------
    def _measure(self, n: int, T: int) -> None:
        self.norms, self.cumulative_norms, self.adjoints = np.zeros((n, T)), np.zeros((n, T)), np.zeros((n, T + 1))
        self.explicit_norms, self.implicit_norms, self.outside_norms = np.zeros(n), np.zeros(n), np.zeros(n)
        leaves = {step: [x for x in found if x.requires_grad] for step, found in self._states.items()}
        self.adjoints[:, [k for k in range(T + 1) if not leaves.get(k)]] = np.nan
        wanted = {x.index: x.size for x in [node for uses in self._uses.values() for _, node, _ in uses] + sum(leaves.values(), [])}
        self.gradient, size = np.zeros(self.parameter.shape, self.parameter.dtype), self.parameter.size
        self._at_once = max(1, min(ROWS, BYTES // (self.parameter.dtype.itemsize * (sum(wanted.values()) + 4 * size))))
        for rows in chunks(range(n), self._at_once):
            found = self._arriving(rows, wanted)
            for k, parts in leaves.items():
                if arrived := [found[x.index].reshape(len(rows), -1) for x in parts if x.index in found]:
                    self.adjoints[rows, k] = norms_of(np.concatenate(arrived, axis=1))
            total, explicit = (np.zeros((len(rows), *self.parameter.shape), self.parameter.dtype) for _ in range(2))
            for step, term in self._terms(rows, found=found):
                total = total + term
                self.norms[rows, step - 1], self.cumulative_norms[rows, step - 1] = norms_of(term), norms_of(total)
                for r, i in enumerate(rows):
                    if self.own_steps[i] is None and self.norms[i, step - 1] > 0:       # outside of time: the latest that it reaches
                        self.own_steps[i] = step
                    if self.own_steps[i] == step:
                        explicit[r] = term[r]
            self.explicit_norms[rows], self.implicit_norms[rows] = norms_of(explicit), norms_of(total - explicit)
            if self._carriers & {self._losses[i][0].index for i in rows}:
                outside = self._outside(rows)
                self.outside_norms[rows] = norms_of(outside)
                total = total + outside
            self.gradient = self.gradient + total.sum(axis=0)
        self.growth = self._growth(T)

    def _growth(self, T: int) -> np.ndarray:
        growth = np.full(T, np.nan)
        for k, after in zip(self._latest_first, [*self._latest_first[1:], 0]):
            with np.errstate(all="ignore"):
                factors = np.log(self.adjoints[:, after]) - np.log(self.adjoints[:, k])
            if np.isfinite(factors).any():
                growth[k - 1] = np.exp(np.mean(factors[np.isfinite(factors)]))
        return growth

    # ---- arrays that are computed when asked for -----------------------------------------------------------------------------
    def cumulative(self, i: int) -> np.ndarray:
        """(T, *shape): at j the sum of the terms of loss i + 1 from the latest step back to step j + 1."""
        total, sums = 0.0, np.zeros(self.terms.shape[1:], self.parameter.dtype)
        for step, term in self._terms([self._row(i)]):
            sums[step - 1] = total = total + term[0]
        return sums

    def explicit(self, i: int) -> np.ndarray:
        """The part of loss i + 1 through its own step, h_{t-1} held fixed: ∂L_t/∂h_t · ∂h_t/∂W."""
        step = self.own_steps[self._row(i)]
        return self.terms[i, step - 1] if step else np.zeros_like(self.parameter.array)

    def implicit(self, i: int) -> np.ndarray:
        """The part of loss i + 1 through all other steps: ∂L_t/∂h_{t-1} · ∂h_{t-1}/∂W, the total derivative."""
        others = (term[0] for step, term in self._terms([self._row(i)]) if step != self.own_steps[i])
        return sum(others, np.zeros_like(self.parameter.array))

    def outside(self, i: int) -> np.ndarray:
        """The part of loss i + 1 that enters no step."""
        return self._outside([self._row(i)])[0]

    def _row(self, i: int) -> int:
        n = len(self._losses)
        if not -n <= i < n:
            raise IndexError(f"loss {i} of {n}: the index is 0 … {n - 1}")
        return i % n

    def jacobian(self, t: int, k: int, row: int | None = None) -> np.ndarray:
        """∂h_t/∂h_k for steps t ≥ k as people count them, 0 being the initial state: exact, through all paths from one to the other.

        row  of the batch: then (S, S), that row's state by itself; default (N, N) for all entries, rows of the batch included. The
             leaves of a nested state are joined in order: (h, c) gives ∂(h_t, c_t)/∂(h_k, c_k), h_k and c_k being independent.
        """
        after, before = self._state(t, "t"), self._state(k, "k")
        for x in before if before is not after else ():
            if not x.requires_grad:
                raise ValueError(f"jacobian({t}, {k}): state {k} takes no gradients; make the initial state with mg.parameter(…)")
        at_row = slice(None) if row is None else [row]
        chosen = [np.arange(x.size).reshape(x.shape)[at_row].ravel() for x in after]
        lead, units, done = sum(map(len, chosen)), [], 0
        for x, entries in zip(after, chosen):
            unit = np.zeros((lead, x.size), x.dtype)
            unit[done + np.arange(len(entries)), entries] = 1
            units.append(unit.reshape(lead, *x.shape))
            done += len(entries)
        indices = {x.index for x in before}
        found = _walk(after, units, wanted=indices, lead=1, stops=indices)
        parts = [found[x.index][1] if x.index in found else np.zeros((lead, *x.shape), x.dtype) for x in before]
        if all(a.index == b.index for a, b in zip(after, before)):
            parts = units
        return np.concatenate([(p if row is None else p[:, at_row]).reshape(lead, -1) for p in parts], axis=1)

    def _state(self, step: int, what: str) -> list[Tensor]:
        if not self._states.get(step):
            known = sorted(s for s, leaves in self._states.items() if leaves)
            raise ValueError(f"jacobian: there is no state {what}={step}; the states given are those of steps {known[0]} … {known[-1]}")
        return self._states[step]

    def singular_values(self, t: int, k: int, row: int | None = None) -> np.ndarray:
        """The singular values of ∂h_t/∂h_k, the largest first: by how much a gradient can grow or decay between the two steps."""
        return np.linalg.svd(self.jacobian(t, k, row), compute_uv=False)

    # ---- for people -----------------------------------------------------------------------------------------------------------
    def _labels(self) -> list[str]:
        own = self.own_steps
        distinct = None not in own and len(set(own)) == len(own)
        return ["L"] if len(own) == 1 else [f"L_{s if distinct else i}" for i, s in enumerate(own, 1)]

    def __str__(self) -> str:
        return as_text(self, self._labels())

    __repr__ = __str__

    def html(self) -> str:
        """The norms as a heat map, and how they grow or decay: a piece of HTML without scripts."""
        says = [f"∂L/∂{self.name}, term by term: the loss of step t (down) through the use at step k (across), by the norm of the term; "
                "from pale (small) to red (large), logarithmic, grey: exactly 0", *str(self).splitlines()[-2:]]
        first, *rest = (f"<p>{escape(line)}.</p>" for line in says)
        return framed(first, as_svg(self.norms, f"norms of the terms of ∂L/∂{self.name}", self._labels()), *rest)

    _repr_html_ = html

    def plot(self, path: str | os.PathLike[str], *, title: str | None = None) -> None:
        """Draw the terms' norms as a heat map, and how they fall with the distance in time, into a file (.png, .svg, .pdf).

        Raises ImportError, naming the extra, without matplotlib.
        """
        plot(self, path, title or f"∂L/∂{self.name}, term by term", [label[2:] for label in self._labels()])
