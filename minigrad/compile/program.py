"""Programs: compiled once for a step's structure, shapes and dtypes; with room for T steps that is used again and again."""
from __future__ import annotations

import copy
from typing import Any, Callable, Sequence

import numpy as np

from .emit import Writer
from .plan import Plan
from .sizes import compute_in_loops
from .trace import Tape

Room = tuple[Callable[..., list[Any]], Callable[..., list[Any]]]         # forward and backward, with their buffers

# The C library (glibc) keeps freed memory up to twice the largest block that was ever freed; what is more goes back to the system, to be
# fetched anew, page by page, by the next call: a tenth of its time. Nothing is written into this block, so it takes no memory.
np.empty(32_000_000, np.int8)


class Program:
    """A tape, its plan, its source, and rooms: pairs (forward, backward) with the buffers for T steps.

    wanted           which of xs, state and invariants get a gradient: their positions, none where nothing does
    differentiable   which outputs and last states have one
    shown            how many outputs there are, besides the last states
    constants        which of state and invariants get none; missing: whether the program has none for one that is wanted
    """
    constants: list[int]
    missing: bool

    def __init__(self, tape: Tape, title: str = "step", wanted: Sequence[int] = ()) -> None:
        self.tape, self.title = tape, title
        self.plan = Plan(tape)
        self._set(Writer(self.plan, title).source, f"<scan of {title}>")
        self.differentiable = [n.requires_grad for n in (*tape.y, *tape.new)]
        self.shown = len(tape.y)
        self.dtypes = [n.value.dtype for n in (*tape.y, *tape.new)]
        self.wanted = wanted if self.plan.wants_gradient and any(self.differentiable) else ()

    def _set(self, source: str, file: str) -> None:
        namespace: dict[str, Any] = {"__name__": __name__}
        exec(compile(source, file, "exec"), namespace)
        self.source = source
        self.make: Callable[[int], Room] = namespace["bptt"]
        self.rooms: dict[int, list[Room]] = {}
        self._layouts: dict[int, tuple[int, np.dtype[Any], list[dict[str, Any] | None]]] = {}

    # ---- the same, by other means -----------------------------------------------------------------------------------------
    def fused_source(self) -> str:
        """The source with its loops for Numba."""
        compute_in_loops(self.plan, smallest=0)         # there a value more in the loop costs no call
        return Writer(self.plan, self.title, fused=True).source

    def with_source(self, source: str, file: str) -> Program:
        """The program by another source, which stands in ``file``."""
        other = copy.copy(self)
        other._set(source, file)
        return other

    def noted(self, note: str) -> Program:
        """With a note above the source."""
        self.source = f"# {note}\n{self.source}"
        return self

    # ---- rooms ------------------------------------------------------------------------------------------------------------
    def layout(self, T: int, arrays: Sequence[np.ndarray]) -> tuple[int, np.dtype[Any], list[dict[str, Any] | None]]:
        """Size and dtype of one array of all outputs of T steps that have a gradient; and where each is in it, None for the others."""
        found = self._layouts.get(T)
        if found is None:
            stops = np.cumsum([a.size * wanted for a, wanted in zip(arrays, self.differentiable)]).tolist()
            parts = [{"start": stop - a.size, "stop": stop, "shape": a.shape} if wanted else None
                     for a, wanted, stop in zip(arrays, self.differentiable, stops)]
            found = stops[-1], np.result_type(*[a for a, wanted in zip(arrays, self.differentiable) if wanted]), parts
            self._layouts = {T: found}                      # the last T alone
        return found

    def take(self, T: int) -> Room:
        """A room for T steps that nobody uses."""
        try:
            return self.rooms[T].pop()
        except (KeyError, IndexError):                  # none, or another thread was faster
            return self.make(T)

    def give(self, T: int, room: Room) -> None:
        """A room that is free again; a few are kept."""
        free = self.rooms.setdefault(T, [])
        if len(free) < 2 and T <= 10_000:
            free.append(room)
        while len(self.rooms) > 4:
            self.rooms.pop(next(iter(self.rooms)), None)
