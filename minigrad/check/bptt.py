"""Back-propagation through time as the double sum that one derives by hand, term by term.

    ∂L/∂W = Σ_t Σ_k C[t, k]      C[t, k] = ∂L_t/∂h_t · ∂h_t/∂h_k · ∂h_k/∂W with h_{k-1} held fixed

C[t, k] is the contribution of loss t through the use of W at step k: the gradient of L_t with respect to an untied copy of W
that is used at step k only (Goodfellow, Bengio, Courville 2016, section 10.2.2). It is read off the recorded graph: one reverse
walk carries many losses, and what arrives at the ops that use W in step k goes along those edges to W and nowhere else.
"""
import math
from html import escape

import numpy as np

from ..autodiff import _walk
from ..graph import Graph
from ..graph.edges import through
from ..tensor import Tensor
from .heat import as_svg, plot
from .page import framed
from .uses import check_graph, in_time, independent, leaves_of, losses_of, step_of, unfold, uses_of

ROWS, BYTES = 32, 2 ** 26           # how many losses one walk carries at most, and about how much memory that may take


def bptt(losses, states, parameter):
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

    def __init__(self, losses, states, parameter):
        if not isinstance(parameter, Tensor):
            raise TypeError(f"bptt() got a {type(parameter).__name__} as parameter; expected a Tensor (argument order: losses, states, "
                            "parameter)")
        self.parameter = parameter
        self._losses, states = unfold(losses_of(losses), leaves_of(states))
        states, loop = in_time(states)
        graph = Graph.of(*{id(root): root for root, _ in self._losses}.values(), names=parameter.name is None)
        nodes = {id(node.tensor): node for node in graph.nodes if node.tensor is not None}
        check_graph(graph, nodes, states, parameter)
        self.name = parameter.name or nodes[id(parameter)].name or "the parameter"
        self._states = dict(states)
        self._uses, self._carriers, self._stops = uses_of(graph, parameter, loop)
        made = [step for step, _ in states if step]
        T = max([*made, *self._uses])
        self._latest_first = range(1, T + 1) if made[0] > made[-1] else range(T, 0, -1)
        self.own_steps = [step_of(nodes[id(root)], loop) if root.size == 1 else None for root, _ in self._losses]
        self.terms = Terms(self, (len(self._losses), T, *parameter.shape))
        engine = self._engine()
        self._measure(len(self._losses), T)
        self.error = float(np.max(np.abs(self.gradient - engine), initial=0.0) / (np.max(np.abs(engine), initial=0.0) or 1.0))

    # ---- several losses in one walk --------------------------------------------------------------------------------------
    def _units(self, rows):
        """What the walk of these losses begins with: index -> (loss Tensor, array (len(rows), *shape), 1 where row n has its loss)."""
        units = {}
        for n, i in enumerate(rows):
            root, entry = self._losses[i]
            if root.index not in units:
                units[root.index] = root, np.zeros((len(rows), *root.shape), root.dtype)
            units[root.index][1].reshape(len(rows), -1)[n, entry] = 1
        return units

    def _arriving(self, rows, wanted):
        """What arrives from each of these losses: dict index of a wanted tensor -> array (len(rows), *shape)."""
        roots, units = zip(*self._units(rows).values())
        return {index: g for index, (_, g) in _walk(roots, units, wanted=set(wanted), lead=1).items()}

    def _terms(self, rows, steps=None, found=None):
        """(step, array (len(rows), *shape)): the terms of these losses, those of the step that was made latest first."""
        steps = [s for s in self._latest_first if steps is None or s in steps]
        if found is None:
            found = self._arriving(rows, (node.index for s in steps for _, node, _ in self._uses.get(s, ())))
        for step in steps:
            arrived = {}
            for source, node, position in self._uses.get(step, ()):
                if node.index in found:
                    part = through(node, position, found[node.index], lead=1)
                    arrived[source.index] = source, arrived[source.index][1] + part if source.index in arrived else part
            yield step, self._to_parameter(arrived, len(rows))

    def _outside(self, rows):
        """The part of these losses that reaches the parameter without entering a step, (len(rows), *shape)."""
        return self._to_parameter({i: pair for i, pair in self._units(rows).items() if i in self._carriers}, len(rows))

    def _to_parameter(self, arrived, n):
        """What arrived at the parameter, and at what was computed from it outside of time, handed on to the parameter."""
        index = self.parameter.index
        if set(arrived) == {index}:
            return arrived[index][1]
        if arrived:
            tensors, parts = zip(*arrived.values())
            arrived = _walk(tensors, parts, wanted={index}, lead=1, stops=self._stops)
        return arrived[index][1] if index in arrived else np.zeros((n, *self.parameter.shape), self.parameter.dtype)

    def _engine(self):
        """The gradient by a plain reverse walk."""
        roots, units = zip(*self._units(range(len(self._losses))).values())
        found = _walk(roots, [u.sum(axis=0) for u in units], wanted={self.parameter.index})
        if self.parameter.index not in found:
            raise ValueError(independent(self.parameter))
        return found[self.parameter.index][1]

    # ---- numbers that are small enough to keep ------------------------------------------------------------------------------
    def _measure(self, n, T):
        self.norms, self.cumulative_norms, self.adjoints = np.zeros((n, T)), np.zeros((n, T)), np.zeros((n, T + 1))
        self.explicit_norms, self.implicit_norms, self.outside_norms = np.zeros(n), np.zeros(n), np.zeros(n)
        leaves = {step: [x for x in found if x.requires_grad] for step, found in self._states.items()}
        self.adjoints[:, [k for k in range(T + 1) if not leaves.get(k)]] = np.nan
        wanted = {x.index: x.size for x in [node for uses in self._uses.values() for _, node, _ in uses] + sum(leaves.values(), [])}
        self.gradient, size = 0.0, self.parameter.size
        self._at_once = max(1, min(ROWS, BYTES // (self.parameter.dtype.itemsize * (sum(wanted.values()) + 4 * size))))
        for rows in _chunks(range(n), self._at_once):
            found = self._arriving(rows, wanted)
            for k, parts in leaves.items():
                if arrived := [found[x.index].reshape(len(rows), -1) for x in parts if x.index in found]:
                    self.adjoints[rows, k] = _norms(np.concatenate(arrived, axis=1))
            total, explicit = 0.0, np.zeros((len(rows), *self.parameter.shape), self.parameter.dtype)
            for step, term in self._terms(rows, found=found):
                total = total + term
                self.norms[rows, step - 1], self.cumulative_norms[rows, step - 1] = _norms(term), _norms(total)
                for r, i in enumerate(rows):
                    if self.own_steps[i] is None and self.norms[i, step - 1] > 0:       # outside of time: the latest that it reaches
                        self.own_steps[i] = step
                    if self.own_steps[i] == step:
                        explicit[r] = term[r]
            self.explicit_norms[rows], self.implicit_norms[rows] = _norms(explicit), _norms(total - explicit)
            if self._carriers & {self._losses[i][0].index for i in rows}:
                outside = self._outside(rows)
                self.outside_norms[rows] = _norms(outside)
                total = total + outside
            self.gradient = self.gradient + total.sum(axis=0)
        self.growth = self._growth(T)

    def _growth(self, T):
        growth = np.full(T, np.nan)
        for k, after in zip(self._latest_first, [*self._latest_first[1:], 0]):
            with np.errstate(all="ignore"):
                factors = np.log(self.adjoints[:, after]) - np.log(self.adjoints[:, k])
            if np.isfinite(factors).any():
                growth[k - 1] = np.exp(np.mean(factors[np.isfinite(factors)]))
        return growth

    # ---- arrays that are computed when asked for -----------------------------------------------------------------------------
    def cumulative(self, i):
        """(T, *shape): at j the sum of the terms of loss i + 1 from the latest step back to step j + 1."""
        total, sums = 0.0, np.zeros(self.terms.shape[1:], self.parameter.dtype)
        for step, term in self._terms([self._row(i)]):
            sums[step - 1] = total = total + term[0]
        return sums

    def explicit(self, i):
        """The part of loss i + 1 through its own step, h_{t-1} held fixed: ∂L_t/∂h_t · ∂h_t/∂W."""
        step = self.own_steps[self._row(i)]
        return self.terms[i, step - 1] if step else np.zeros_like(self.parameter.array)

    def implicit(self, i):
        """The part of loss i + 1 through all other steps: ∂L_t/∂h_{t-1} · ∂h_{t-1}/∂W, the total derivative."""
        return sum(term[0] for step, term in self._terms([self._row(i)]) if step != self.own_steps[i])

    def outside(self, i):
        """The part of loss i + 1 that enters no step."""
        return self._outside([self._row(i)])[0]

    def _row(self, i):
        n = len(self._losses)
        if not -n <= i < n:
            raise IndexError(f"loss {i} of {n}: the index is 0 … {n - 1}")
        return i % n

    def jacobian(self, t, k, row=None):
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

    def _state(self, step, what):
        if not self._states.get(step):
            known = sorted(s for s, leaves in self._states.items() if leaves)
            raise ValueError(f"jacobian: there is no state {what}={step}; the states given are those of steps {known[0]} … {known[-1]}")
        return self._states[step]

    def singular_values(self, t, k, row=None):
        """The singular values of ∂h_t/∂h_k, the largest first: by how much a gradient can grow or decay between the two steps."""
        return np.linalg.svd(self.jacobian(t, k, row), compute_uv=False)

    # ---- for people -----------------------------------------------------------------------------------------------------------
    def _labels(self):
        own = self.own_steps
        distinct = None not in own and len(set(own)) == len(own)
        return ["L"] if len(own) == 1 else [f"L_{s if distinct else i}" for i, s in enumerate(own, 1)]

    def __str__(self):
        (n, T), labels = self.norms.shape, self._labels()
        outside = [("outside", self.outside_norms)] if self.outside_norms.any() else []
        columns = [(f"k={j + 1}", self.norms[:, j]) if j is not None else ("…", None) for j in _some(T)]
        columns += [("explicit", self.explicit_norms), ("implicit", self.implicit_norms), *outside]
        lines = [f"{self.name} {self.parameter.shape}: norm of each term of ∂L/∂{self.name} = Σ_t Σ_k, loss t through the use at step k",
                 "      " + "".join(f"{head:>10}" if values is not None else "   …" for head, values in columns)]
        for i in _some(n):
            cells = [] if i is None else [_cell(values[i]) if values is not None else "   …" for _, values in columns]
            lines.append(f"{labels[i]:<6}" + "".join(cells) if i is not None else "…")
        growth = [f"{_number(self.growth[j]):>10}" if j is not None else "   …" for j in _some(T)]
        lines.append("growth" + "".join(growth) + "   of ∂L/∂h on its way back through step k")
        known = self.growth[np.isfinite(self.growth) & (self.growth > 0)]
        if len(known):
            rate = np.exp(np.mean(np.log(known)))
            steps = abs(math.log(2) / math.log(rate)) if abs(math.log(rate)) > 1e-12 else math.inf
            what = "neither grows nor decays" if steps > 1e4 else f"{'halves' if rate < 1 else 'doubles'} in {steps:.3g} steps"
            lines.append(f"one step back multiplies the gradient by {rate:.3g} ({known.min():.3g} … {known.max():.3g}): it {what}")
        exact = self.error <= (1e-12 if self.parameter.dtype.itemsize >= 8 else 1e-5)
        agrees = "which is the engine's" if exact else f"OFF BY {self.error:.0e} from the engine's"
        lines.append(f"all terms add up to a gradient of norm {_norms(self.gradient[None])[0]:.4g}, {agrees}")
        return "\n".join(lines)

    __repr__ = __str__

    def html(self):
        """The norms as a heat map, and how they grow or decay: a piece of HTML without scripts."""
        says = [f"∂L/∂{self.name}, term by term: the loss of step t (down) through the use at step k (across), by the norm of the term; "
                "from pale (small) to red (large), logarithmic, grey: exactly 0", *str(self).splitlines()[-2:]]
        first, *rest = (f"<p>{escape(line)}.</p>" for line in says)
        return framed(first, as_svg(self.norms, f"norms of the terms of ∂L/∂{self.name}", self._labels()), *rest)

    _repr_html_ = html

    def plot(self, path, *, title=None):
        """Draw the terms' norms as a heat map, and how they fall with the distance in time, into a file (.png, .svg, .pdf).

        Raises ImportError, naming the extra, without matplotlib.
        """
        plot(self, path, title or f"∂L/∂{self.name}, term by term", [label[2:] for label in self._labels()])


class Terms:
    """The terms C[i, j] as an array that is computed where it is looked at."""

    def __init__(self, double, shape):
        self.double, self.shape = double, shape

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, key):
        i, j = (*key, slice(None))[:2] if isinstance(key, tuple) else (key, slice(None))
        rows, steps = np.arange(self.shape[0])[i], np.arange(1, self.shape[1] + 1)[j]
        out = np.zeros((rows.size, steps.size, *self.shape[2:]), self.double.parameter.dtype)
        for some in _chunks(range(rows.size), self.double._at_once):
            for step, term in self.double._terms(rows.reshape(-1)[list(some)].tolist(), steps.reshape(-1).tolist()):
                out[some.start:some.stop, steps.reshape(-1) == step] = term[:, None]
        return out.reshape(*rows.shape, *steps.shape, *self.shape[2:])

    def __array__(self, dtype=None, copy=None):
        return self[:, :].astype(dtype or self.double.parameter.dtype)

    def __repr__(self):
        return f"<terms of shape {self.shape}, computed when indexed>"


# ---- small things -------------------------------------------------------------------------------------------------------------

def _chunks(rows, size):
    return [rows[a:a + size] for a in range(0, len(rows), size)]


def _norms(x):
    """The norm of each x[n]; scaled where squares would vanish or overflow."""
    x = x.reshape(len(x), -1)
    with np.errstate(over="ignore", under="ignore"):
        squares = np.einsum("ij,ij->i", x, x, dtype=float)
    result = np.sqrt(squares)
    for n in np.flatnonzero((squares < 1e-200) | ~np.isfinite(squares)):
        largest = np.max(np.abs(x[n]), initial=0.0)
        result[n] = float(largest) * np.linalg.norm(x[n] / largest) if largest > 0 and np.isfinite(largest) else largest
    return result


def _some(n, most=10):
    """Which of n rows or columns are shown: all, or the first and the last with None between."""
    return list(range(n)) if n <= most else [*range(4), None, *range(n - most + 5, n)]


def _number(x):
    return "" if np.isnan(x) else f"{x:.3g}"


def _cell(x):
    return f"{'·' if x == 0 else f'{x:.1e}':>10}"
