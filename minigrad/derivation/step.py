"""What was found out about one time step of a cell: the lines of what it computes, and of its gradients. Plain data."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..tensor import Tensor
from .expression import Gradient, Reference


class State(NamedTuple):
    """One part of the state: before and after the step, what step t+1 sends back, what arrives at the last state."""
    before: Reference
    after: Reference
    carry: Gradient
    end: Gradient
    smooth: bool            # False: whole numbers, which have no gradient


class Step:
    """Lines are references with definitions, in the order in which they are computed.

    once        lines of what depends on parameters alone
    forward     lines of the step; backward: the gradients of the step, last first; after: gradients of what is the same in every step
    extra       gradients of lines that only say that a new state is something that has a name already
    target      of the loss; loss: of the step; None without a head
    output      the gradient that arrives at y; None with a head
    rows        the length of the sample's batch, or None; width: H
    notes       what a reader should know
    """
    once: list[Reference]
    forward: list[Reference]
    backward: list[Gradient]
    after: list[Gradient]
    extra: list[Gradient]
    x: Reference
    y: Reference
    target: Reference | None
    loss: Reference | None
    output: Gradient | None
    states: list[State]
    parameters: dict[Reference, Tensor]
    constants: dict[Reference, np.ndarray]
    rows: int | None
    width: int | None
    notes: list[str]

    @property
    def carried(self) -> list[State]:
        """The parts of the state that have gradients."""
        return [s for s in self.states if s.smooth]
