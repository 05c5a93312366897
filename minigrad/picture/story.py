"""What a picture tells, as plain data: columns of marks, states, rails, parameters.  `reading` fills it in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .marks import Mark
from .text import Label


@dataclass
class Column:
    """One time step of one loop."""
    loop: Any
    step: int
    marks: list[Mark] = field(default_factory=list)
    where: dict[int, int] = field(default_factory=dict)    # node id -> index in marks
    pasts: list[int] = field(default_factory=list)         # slot -> node id that comes from the step before
    elsewhere: dict[int, int] = field(default_factory=dict)  # node id from outside -> index in marks
    cuts: set[int] = field(default_factory=set)            # those of pasts that come without their history


@dataclass
class Rail:
    """A value gathered over time: `owner` is the mark after the loops (or the sum itself) that it ends in."""
    loop: Any
    owner: int                         # node id
    terms: dict[int, list[int]]        # step -> node ids, for the steps that are shown
    adds: bool                         # a running sum, not a stack
    count: int


@dataclass
class Parameter:
    words: Label
    shape: tuple[int, ...]
    uses: int
    node: int
    tooltip: str


@dataclass
class Story:
    graph: Any
    loops: list[Any]
    length: dict[Any, int]
    forward: dict[Any, int]                    # loop -> +1, or -1 if it walks from the last step to the first
    shown: list[int]
    columns: dict[tuple[Any, int], Column]
    states: dict[Any, dict[int, list[int]]]    # loop -> slot -> keys of the state's mark (one, if all steps are alike)
    state_names: dict[Any, dict[int, str]]
    initial: dict[Any, dict[int, int]]         # loop -> slot -> node id
    rails: list[Rail] = field(default_factory=list)
    after: list[Mark] = field(default_factory=list)
    after_where: dict[int, int] = field(default_factory=dict)
    after_inputs: dict[int, tuple[Any, int]] = field(default_factory=dict)  # number in ("step", n) -> (loop, node id)
    before: list[Mark] = field(default_factory=list)
    before_where: dict[int, int] = field(default_factory=dict)
    parameters: list[Parameter] = field(default_factory=list)
    picked: dict[tuple[Any, int], dict[int, int]] = field(default_factory=dict)  # (loop, sequence) -> step -> its part
    earlier: int = 0                           # nodes left out of a large graph without time
    only: int | None = None                    # the one step that is drawn

    def begin(self, loop: Any) -> int:
        """The step that reads the initial state."""
        return self.only or (1 if self.forward[loop] > 0 else self.length[loop])

    def end(self, loop: Any) -> int:
        """The step that makes the final state."""
        return self.only or (self.length[loop] if self.forward[loop] > 0 else 1)
