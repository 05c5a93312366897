"""What everything is called in the derived program: the author's names, made identifiers, and names for what has none."""
from __future__ import annotations

import keyword

from .expression import Gradient, Reference
from .functions import HELPERS
from .notation import GREEK
from .step import Step

SPELLED = {letter: name for name, letter in GREEK.items()}
RESERVED = {"np", "t", "T", "B", "H", "xs", "x", "dxs", "bptt"}


class Identifiers:
    """``identifiers[reference]`` is its name in the program, and no two have the same.

    starts   {a part of the state: the argument with the initial one}
    carries  {what step t+1 sends back: its variable}
    ends     {what arrives at the last state: its argument}
    """

    def __init__(self, step: Step) -> None:
        self.step = step
        self.of: dict[Reference, str] = {}
        self.taken = RESERVED | set(HELPERS) | set(keyword.kwlist) | ({"ys", "y", "L"} if step.loss is not None else {"dys"})
        for r in [*step.parameters, *step.constants, *(s.after for s in step.states), *step.once, *step.forward]:
            self.enter(r, _spelled(r.name))
        for g in [*step.backward, *step.after]:
            self.enter(g, self.gradient(g))
        self.carries: dict[Reference, str] = {s.carry: self.free(f"d{self.base(s.after)}_next") for s in step.carried}
        self.ends: dict[Reference, str] = {s.end: self.free(f"d{self.base(s.after)}_T") for s in step.carried}
        self.starts = {s.after: self.free(f"{self.base(s.after)}_0") for s in step.states}

    def __getitem__(self, r: Reference) -> str:
        return self.of[r]

    def enter(self, r: Reference, name: str) -> None:
        if r not in self.of:
            self.of[r] = self.free(name)

    def free(self, name: str) -> str:
        """The name as an identifier, with lines below behind it until it is the only one."""
        name = "".join(ch if ch.isalnum() or ch == "_" else "_" for ch in name)
        name = name if name.isidentifier() else f"v_{name}"
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    def gradient(self, g: Gradient) -> str:
        if g.helper is None:
            return f"d{self.base(g.of)}"
        letter, near = g.helper
        return _spelled(letter) + (f"_{_spelled(near.name)}" if near is not None else "")

    def base(self, r: Reference) -> str:
        """What a gradient of r is called after."""
        if r is self.step.x:
            return "x"
        new = next((s.after for s in self.step.states if s.before is r), r)
        return self.of.get(new) or _spelled(new.name or "v")


def _spelled(name: str) -> str:
    base, _, layer = name.partition(".")
    primes = len(base) - len(base.rstrip("′"))
    base = base.rstrip("′").replace("ŷ", "y_hat")
    return "".join(SPELLED.get(ch, ch) for ch in base) + layer + "_" * bool(primes) + str(primes or "")
