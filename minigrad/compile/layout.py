"""Where each value lives: in an array of its own or a part of another's, or nowhere at all. Pure analysis, as demand.py is.

    slot      a new state is computed in its row of the array of states
    piece     a value that is put together with others is computed right in its place
    inside    one product of a sum is computed where the sum goes, and signs become subtractions
    in_place  a gradient that is carried on is computed where the one that came in stood, once nobody reads that any more
    fresh     what leaves the program, and is not needed again, gets a new array at each call; it need not be copied
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..graph.normal import PRODUCT, SUM
from .demand import Demand
from .value import ASSEMBLE, CARRY, STATE, Value

if TYPE_CHECKING:
    from .plan import Plan


class Layout:
    """The decisions above: dicts and sets of ids; see the module's first lines."""

    def __init__(self, plan: Plan, demand: Demand) -> None:
        self.plan, self.demand = plan, demand
        self.states = plan.of_kind("state")
        carries = {v.position: v for v in plan.of_kind("carry") if any(v is w for w in demand.live)}
        self.carries = [carries.get(k) for k in range(len(plan.new))]           # None: nothing comes back by this state
        self._place_states()
        self._place_pieces()
        self._fold_into_sums()
        self._place_carries()
        self._choose_fresh()

    def _place_states(self) -> None:
        self.slot: dict[int, Value] = {}                # id -> state
        self.copies: list[tuple[Value, Value]] = []     # (state, value) that must be copied into its row
        for s, v in zip(self.states, self.plan.new):
            if v.id in self.plan.loop and not v.is_view and v.id not in self.slot and v.op is not ASSEMBLE \
                    and v.dtype == s.dtype and v.shape == s.shape:
                self.slot[v.id] = s
                self.demand.stored.add(v.id)
            else:
                self.copies.append((s, v))

    def _place_pieces(self) -> None:
        self.piece: dict[int, tuple[Value, slice]] = {}                 # id -> (whole, slice)
        stored = self.demand.stored
        for whole in reversed(self.demand.live):        # a whole that is a piece itself comes first
            if whole.op is not ASSEMBLE:
                continue
            for v, s in zip(whole.inputs, whole.attributes["slices"]):
                once = self.demand.uses[v.id] == 1 or v.id in stored and whole.id in stored and v.id not in self.piece
                if once and v.op is not None and not v.is_view and v.depends and v.id not in self.slot \
                        and self._loop_of(v) == self._loop_of(whole) and v.shape[:-1] == whole.shape[:-1]:
                    self.piece[v.id] = whole, s
                    if whole.id in stored:
                        stored.add(v.id)

    def _loop_of(self, v: Value) -> tuple[bool, bool]:
        return v.id in self.plan.loop, v.id in self.plan.back

    def _place_of(self, v: Value) -> tuple[Any, ...]:
        """Values of one place are computed side by side."""
        if any(self._loop_of(v)):
            return self._loop_of(v)
        return self.demand.batched.get(v.id), v.depends & STATE, v.depends & CARRY, bool(v.depends)

    def _fold_into_sums(self) -> None:
        self.inside = {}                                # id -> "sign", or "first": what the sum starts from
        for total in self.demand.live:
            if total.op is not SUM:
                continue
            started = False
            for v in total.inputs:
                if v.op is None or not self._folds(v, total):
                    continue
                numbers = [f.number for f in v.inputs if f.kind == "number"]
                if v.op is PRODUCT and len(v.inputs) == 2 and numbers == [-1]:
                    self.inside[v.id] = "sign"
                elif not started and (v.op is PRODUCT and numbers in ([], [-1]) or v.is_op("matmul")):
                    self.inside[v.id] = "first"
                    started = True

    def _folds(self, v: Value, total: Value) -> bool:
        return (self.demand.uses[v.id] == 1 and v.id not in self.demand.summed and v.id not in self.piece
                and (v.id not in self.demand.stored or v.id in self.demand.batched)
                and v.shape == total.shape and v.dtype == total.dtype and self._place_of(v) == self._place_of(total))

    def _place_carries(self) -> None:
        self.in_place = {}                              # id -> the state whose gradient it is
        values = self.demand.of_loop(self.plan.back)
        order = {v.id: n for n, v in enumerate(values)}
        of_state = self.plan.of_state
        for s, v, old in zip(self.states, of_state, self.carries):
            if v is None or v.id not in order or v.is_view or v.id in self.demand.stored or v.id in self.piece or v.op is ASSEMBLE \
                    or v.dtype != s.dtype or v.shape != s.shape or sum(w is v for w in of_state) > 1 or old is not None and any(
                        w is old for w in of_state):
                continue
            readers, stack = [], [w for w in values if old in w.inputs]
            while stack:
                w = stack.pop()
                readers.append(order[w.id])
                if w.is_view or w.id in self.inside:    # it is read when those who read w are computed
                    stack += [u for u in values if w in u.inputs]
            if all(r < order[v.id] for r in readers):
                self.in_place[v.id] = s

    def _choose_fresh(self) -> None:
        outputs = [v for v in (*self.plan.y, *self.plan.of_x) if v is not None and v.id in self.demand.batched]
        self.fresh = {v.id for v in outputs if self.is_written(v) and v.id not in self.piece and v.id not in self.demand.kept
                      and v.op is not ASSEMBLE and sum(w is v for w in outputs) == 1}

    def is_written(self, v: Value) -> bool:
        """Whether statements of its own compute v."""
        return not v.is_view and v.id not in self.inside
