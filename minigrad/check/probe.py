"""The probe decides whether a check means anything: a good one is drawn here, and of any other is said what it cannot show.

Of 48 wrong derivations, the customary probe (weights 0.01·randn, zero biases and initial state, one sequence) lets 14 pass torch's
gradcheck.
On weights of 0.7·randn, with biases and initial states that are not zero and sizes that are all different, none passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..graph import Graph
from ..nested import Nested, flatten, rebuild
from ..ops import softmax_cross_entropy
from ..recurrent import unroll
from ..tensor import Tensor, parameter

if TYPE_CHECKING:
    from .edges import Edges

SIZES = {"B": 3, "T": 4, "D": 5, "H": 6, "C": 7}  # rows, steps, inputs, units, classes: all different, none 1 or 2
SIZE = 0.7  # standard deviation of parameters


@dataclass
class Probe:
    """A cell with a softmax layer behind it, on random data.

    loss        mean over rows, sum over steps, of the cross-entropy of logits_t = y_t W_out + b_out: a recorded Tensor
    parameters  dict name -> Tensor: the cell's, W_out, b_out, and the initial states
    xs, targets  arrays (T, B, D), and (T, B) classes
    """

    loss: Tensor
    parameters: dict[str, Tensor]
    xs: np.ndarray
    targets: np.ndarray


def draw(shape: int | tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Values on which mistakes show: 0.7·randn.

    >>> draw((2, 3), np.random.default_rng(0)).shape
    (2, 3)
    """
    return SIZE * rng.standard_normal(shape)


def probe(cell: Any, *, seed: int = 0, rows: int = SIZES["B"], steps: int = SIZES["T"]) -> Probe:
    """Unroll a cell over random data, with a softmax layer behind it. Returns a Probe.

    cell  a class, called with (5, 6), or an object with parameters whose input size can be seen (``input_size``, or the rows of W_x).
          An object's parameters keep the values that are drawn here.

    >>> import minigrad as mg
    >>> p = probe(mg.RNNCell)
    >>> list(p.parameters), p.loss.shape
    (['W_x', 'W_h', 'b', 'W_out', 'b_out', 'h_0'], ())
    """
    rng = np.random.default_rng(seed)
    of_class = isinstance(cell, type)
    cell = cell(SIZES["D"], SIZES["H"]) if of_class else cell
    parameters: dict[str, Tensor] = dict(cell.parameters())
    size = getattr(cell, "input_size", SIZES["D"] if of_class else None) or next(
        (p.shape[0] for n, p in parameters.items() if n.split(".")[-1].startswith("W_x")), None
    )
    if size is None:
        raise ValueError(
            f"probe cannot see the input size of this {type(cell).__name__}: give it an attribute input_size, or pass its class"
        )
    for p in parameters.values():
        p.data = draw(p.shape, rng)
    leaves = [parameter(draw(s.shape, rng)) if s.dtype.kind == "f" else s for s in flatten(cell.initial_state(rows))]    # a count stays
    state = rebuild(cell.initial_state(rows), leaves)
    xs = rng.standard_normal((steps, rows, size))
    with_layer = _Classifier(cell, rng, xs[0], state)
    logits, _ = unroll(with_layer, xs, state)
    logits.name = "logits"
    targets = rng.integers(0, SIZES["C"], (steps, rows))
    loss = softmax_cross_entropy(logits, targets, reduction="sum") / rows
    loss.name = "loss"
    called = {id(n.tensor): n.name for n in Graph.of(loss).nodes if n.tensor is not None}
    names = [called.get(id(leaf)) or "state" for leaf in leaves]
    parameters.update(W_out=with_layer.W_out, b_out=with_layer.b_out)
    for i, (leaf, name) in enumerate(zip(leaves, names)):  # the author's variable at step 0
        if leaf.requires_grad:
            leaf.name = f"{name}_0" if names.count(name) == 1 else f"{i + 1}.{name}_0"
            parameters[leaf.name] = leaf
    return Probe(loss, parameters, xs, targets)


class _Classifier:
    """The cell, and a layer on its output."""

    def __init__(self, cell: Any, rng: np.random.Generator, x: np.ndarray, state: Nested) -> None:
        size = cell(Tensor(x), state)[0].shape[-1]
        self.cell = cell
        self.W_out, self.b_out = (parameter(draw(s, rng), name=n) for s, n in (((size, SIZES["C"]), "W_out"), ((SIZES["C"],), "b_out")))

    def __call__(self, *step: Any) -> tuple[Tensor, Nested]:
        return self.head(*self.cell(*step))  # no variables here, so that the cell's own names stay

    def head(self, output: Tensor, state: Nested) -> tuple[Tensor, Nested]:
        logits = output @ self.W_out + self.b_out
        return logits, state


def undecided(edges: Edges) -> list[str]:
    """What a probe cannot show, each in a sentence; ``edges`` are the ``edges.Edges`` of its loss."""
    r, found = edges, []
    batch = [n.value for n in r.nodes if n.step and n.op is not None and n.value.ndim == 2]
    if batch and batch[0].shape[0] == 1:
        found.append("the batch has one row: a sum over the batch and a mean are the same")
    if r.T == 0:
        found.append("no time steps were recorded (use mg.unroll, or mg.steps in a loop): which step is wrong does not show")
    if r.T == 1:
        found.append("one time step: nothing is carried back, so no mistake in the recurrence shows")
    elif r.T == 2:
        found.append("two time steps: truncation and powers of the Jacobian show with three or more")
    zero = {
        r.phrases.name(r.lines[line][1].target)
        for line in r.crossings()
        if 1 in r.lines[line] and not np.any(r.value(r.lines[line][1].target))
    }
    constant = any(
        n.step in (0, 1) and n.op is None and n.kind == "input" and n.value.ndim == 2 and n.value.size and not np.any(n.value)
        for n in r.nodes
    )
    if zero or constant:
        found.append(f"the initial state{' ' + ', '.join(sorted(zero)) if zero else ''} is 0: what it multiplies at step 1 does not show")
    small = [n for n, i in r.leaves.items() if r.value(i).size and np.max(np.abs(r.value(i))) < 0.1]
    if small:
        found.append(
            f"{', '.join(small)} {'is' if len(small) == 1 else 'are'} small: functions are almost linear there, and their slopes almost 1"
        )
    if r.T > 1 and list(r.entries()) == [r.T]:
        found.append("the loss enters at the last step only: what happens to earlier losses does not show")
    square = [
        n
        for n, i in r.leaves.items()
        if r.value(i).ndim == 2 and r.value(i).shape[0] == r.value(i).shape[1] and np.allclose(r.value(i), r.value(i).T)
    ]
    if square:
        found.append(f"{', '.join(square)} {'is' if len(square) == 1 else 'are'} symmetric: a forgotten transpose does not show")
    return found
