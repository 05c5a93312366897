"""Checkpoints: everything that decides how a run goes on, in one file, so that it goes on bit for bit.

That is the parameters, what the optimizer remembers, the step, the place in the batches, the carried state, the best
weights of early stopping, and where every random generator stands. Schedules are functions of the step and keep nothing.
"""
from __future__ import annotations

import glob
import inspect
import json
import math
import os
from typing import Any, Iterable, Iterator

import numpy as np

from ..checkpoint import generators_of
from ..module import load, save
from ..nested import Nested, flatten, rebuild
from ..tensor import Tensor
from .optimizers import Optimizer
from .validation import Validation


class Generators:
    """The random generators of a run: those its functions, batches and modules hold, and those that are named."""

    def __init__(self, holders: Iterable[Any], named: Iterable[np.random.Generator]) -> None:
        for g in named:
            if not isinstance(g, np.random.Generator):
                raise TypeError(f"generators holds a {type(g).__name__}, expected numpy.random.Generator; "
                                "use np.random.default_rng(seed)")
        found = [g for holder in holders for g in generators_of(_inside(holder))]
        self.all = list({id(g.bit_generator): g for g in (*named, *found)}.values())

    @property
    def states(self) -> list[Any]:
        return [g.bit_generator.state for g in self.all]

    @states.setter
    def states(self, states: list[Any]) -> None:
        for g, state in zip(self.all, states):
            g.bit_generator.state = state


def _inside(holder: Any) -> Any:
    """A generator function that is running holds its generators in its variables."""
    return dict(inspect.getgeneratorlocals(holder)) if inspect.isgenerator(holder) else holder


class Rounds:
    """The batches, round after round, and the place in them.

    A round is taken up again in its middle by going through its batches once more, from where the generators stood when
    it began; then the generators are put where they stood in its middle.
    """

    def __init__(self, batches: Iterable[Any], again: bool, generators: Generators) -> None:
        self.batches, self.again, self.generators = batches, again, generators
        self.taken, self.start = 0, generators.states        # batches taken from this round; the states as it began

    def __iter__(self) -> Iterator[Any]:
        now = self.generators.states
        self.generators.states = self.start
        batches = iter(self.batches)
        for number in range(self.taken):
            if next(batches, batches) is batches:
                raise ValueError(f"the checkpoint stands after batch {self.taken} of a round, but there are {number} batches; "
                                 "give the batches of the run that wrote it, or resume=False to start over")
        self.generators.states = now
        while True:
            for batch in batches:
                self.taken += 1
                yield batch
            if not self.again or batches is self.batches or not self.taken:
                return
            self.taken, self.start = 0, self.generators.states
            batches = iter(self.batches)


class Run:
    """What a checkpoint holds. ``save`` writes it beside and renames; ``load`` puts it in place, all or nothing."""

    def __init__(self, parameters: dict[str, Tensor], optimizer: Optimizer, state: Nested, rounds: Rounds,
                 generators: Generators, validation: Validation) -> None:
        self.parameters, self.optimizer, self.state, self.rounds = parameters, optimizer, state, rounds
        self.generators, self.validation = generators, validation
        self.step, self.seconds = 0, 0.0

    def save(self, path: str | os.PathLike[str]) -> None:
        v = self.validation
        facts = {"step": self.step, "seconds": self.seconds, "optimizer": type(self.optimizer).__name__,
                 "taken": self.rounds.taken, "start": self.rounds.start, "generators": self.generators.states,
                 "validation": [v.best if v.weights else None, v.step, v.waited, v.seen]}
        arrays = {f"parameters.{name}": p.data for name, p in self.parameters.items()}
        arrays.update({f"optimizer.{key}": array for key, array in self.optimizer.state_dict().items()})
        arrays.update({f"state.{i}": leaf for i, leaf in enumerate(flatten(self.state))})
        arrays.update({f"best.{name}": array for name, array in v.weights.items()})
        text = json.dumps(facts, default=np.ndarray.tolist)           # generators' states hold integers of 128 bits
        save(path, {**arrays, "run": np.frombuffer(text.encode(), np.uint8)})

    def load(self, path: str | os.PathLike[str]) -> None:
        path = os.fspath(path)
        try:
            arrays = load(path)
        except ValueError as error:
            raise ValueError(f"checkpoint {path!r} cannot be read, so the run cannot go on from it: {error}; delete it, or give "
                             "resume=False to start over") from None

        def part(prefix: str) -> dict[str, np.ndarray]:
            return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}

        def other(what: str) -> ValueError:
            return ValueError(f"checkpoint {path!r} is of another run: {what}; give another path, or resume=False to overwrite it")
        if "run" not in arrays:
            raise other("it holds no place in a run, as fit writes it")
        facts = json.loads(arrays["run"].tobytes())
        values, best, carried = part("parameters."), part("best."), part("state.")
        held, expected = _outlines(values), _outlines({name: p.data for name, p in self.parameters.items()})
        if held != expected or best and _outlines(best) != expected:
            raise other(f"it holds parameters {held}, expected {expected}")
        leaves = flatten(self.state)
        states = [carried[str(i)] for i in range(len(carried))]
        if [s.shape for s in states] != [np.shape(leaf) for leaf in leaves]:
            raise other(f"it holds state arrays of shapes {[s.shape for s in states]}, expected {[np.shape(leaf) for leaf in leaves]}")
        if facts["optimizer"] != (rule := type(self.optimizer).__name__):
            raise other(f"its optimizer is {facts['optimizer']}, not {rule}")
        kinds = [state["bit_generator"] for state in facts["generators"]]
        if kinds != (own := [state["bit_generator"] for state in self.generators.states]):
            raise other(f"it holds the random generators {kinds}, expected {own}")
        self.optimizer.load_state_dict(part("optimizer."))
        for name, p in self.parameters.items():
            p.data = values[name]
        self.state = rebuild(self.state, [Tensor(s) for s in states])
        self.step, self.seconds = facts["step"], facts["seconds"]
        self.rounds.taken, self.rounds.start, self.generators.states = facts["taken"], facts["start"], facts["generators"]
        v = self.validation
        v.best, v.step, v.waited, v.seen = facts["validation"]
        v.best, v.weights = math.inf if v.best is None else v.best, best


def _outlines(arrays: dict[str, np.ndarray]) -> dict[str, str]:
    return {name: f"{array.dtype} {array.shape}" for name, array in arrays.items()}


def remove_parts(path: str | os.PathLike[str]) -> None:
    """Delete the unfinished files beside ``path`` that a killed run left."""
    for beside in glob.glob(f"{glob.escape(os.fspath(path))}.*.part"):
        os.unlink(beside)
