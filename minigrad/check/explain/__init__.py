"""Which slips explain the numbers: the hypotheses and their gradients (``context``), gradients alone (``gradients``, ``cover``), lines
and adjoints of every step (``lines``). Here stands what an explanation is, and how a slip is put in words.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..slips import Part, Slip

if TYPE_CHECKING:
    from .context import Context


@dataclass
class Explanation:
    """One mistake that would explain the numbers.

    says      the mistake in a sentence        kind   its short name
    line      the wrong line as it would read  fix    the line as it should be      why   from which equation that follows
    where     steps, columns or parameters     residual  max |yours − explained|, relative to each gradient's largest entry
    """
    says: str
    kind: str
    line: str = ""
    fix: str = ""
    why: str = ""
    where: str = ""
    residual: float = 0.0
    yours: str = ""                               # the name of your line, where lines were given
    slip: Slip | None = None
    parts: list[Part] = field(default_factory=list)
    same: list[str] = field(default_factory=list)     # other slips that give the same numbers

    def __str__(self) -> str:
        where = f"   ({self.where})" if self.where else ""
        rows = [f"{self.yours + ': ' if self.yours else ''}{self.says}{where}"]
        rows += [f"  wrong    {self.line}"] if self.line and self.line != self.says else []
        rows += [f"  FIX      {self.fix}"] if self.fix else []
        rows += [f"  WHY      {self.why}"] if self.why else []
        rows += [f"  or       {other}: the same numbers on this probe" for other in self.same[:3]]
        return "\n".join(rows)


def worded(context: Context, slip: Slip, residual: float, fits: Iterable[Slip] = ()) -> Explanation:
    """The Explanation that a slip is; ``fits`` are all that give the same numbers, itself among them."""
    e, say = slip.edge, context.reverse.phrases
    return Explanation(slip.says, slip.kind, slip.wrote, say.line(e) if e is not None else "", say.why(e) if e is not None else "",
                       slip.where, float(residual), slip=slip, parts=slip.parts or [(slip, None)],
                       same=[says for says in dict.fromkeys(map(short, fits)) if says != short(slip)])


def rough(residual: float) -> float:
    """So far as two residuals are told apart: not by rounding."""
    return float(f"{residual:.3g}")


def short(slip: Slip) -> str:
    """A slip in one line."""
    return slip.says + (f", {slip.where}" if slip.where and slip.where not in slip.says else "")
