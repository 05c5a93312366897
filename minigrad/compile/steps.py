"""The parts of a program that stand outside of its loops: values of parameters alone, and statements over all T steps at once."""
from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..graph.normal import PRODUCT, SUM
from . import calls
from .lines import Line
from .statements import statements
from .value import ASSEMBLE, Value
from .words import apart

if TYPE_CHECKING:
    from .emit import Writer


class Site:
    """Where statements are written, and how operands are read there; ``writer`` holds what all sites share."""
    over_time = False

    def apart(self, v: Value, size: int, out: str) -> str:
        """``out``, where v is written, as blocks of so many columns."""
        raise NotImplementedError

    def __init__(self, writer: Writer) -> None:
        self.writer, self.words, self.demand, self.layout = writer, writer.words, writer.demand, writer.layout
        self.room, self.arrays = writer.room, writer.arrays

    def operands(self, v: Value) -> list[str]:
        return [self.operand(i, v) for i in v.inputs]

    def operand(self, i: Value, v: Value) -> str:
        """Input i of v, so that it broadcasts against v."""
        raise NotImplementedError

    def plain(self, i: Value, v: Value) -> str:
        """Input i of v as it is."""
        return self.operand(i, v)

    def said(self, v: Value, lines: list[Line]) -> list[Line]:
        """The lines of one value, with what it is behind the first."""
        comment = self.writer.formulas.equation(v)
        if lines and len(comment) < 90:
            lines[0].comment = comment
        return lines


class Once(Site):
    """Values of parameters alone: expressions, as the function begins."""

    def operand(self, i: Value, v: Value) -> str:
        return self.arrays.every(i, dtype=v.dtype)

    def lines(self, values: Iterable[Value]) -> list[Line]:
        lines = []
        for v in values:
            copied, name = v.is_op("blocks") or v.is_op("transpose") and len(v.shape) == 2, self.words.of(v)
            if copied:                                  # BLAS likes a copy better than a view, and it is made once
                self.room.buffer(name, v, steps=None)
            lines.append(Line(f"{name}{'[...]' if copied else ''} = {self.expression(v)}"))
        return lines

    def expression(self, v: Value) -> str:
        operands = self.operands(v)
        if v.is_view:
            return self.arrays.view(v, operands[0])
        if v.op in (SUM, PRODUCT):
            return (" + " if v.op is SUM else " * ").join(operands)
        return calls.expression(self, v, operands) + ("[0]" if v.op.saves else "")


class AllSteps(Site):
    """Statements over all steps at once."""
    over_time = True

    def operand(self, i: Value, v: Value) -> str:
        return self.arrays.every(i, len(v.shape), v.dtype)

    def plain(self, i: Value, v: Value) -> str:
        return self.arrays.every(i)

    def apart(self, v: Value, size: int, out: str) -> str:
        """``out``, where v is written, as blocks of so many columns."""
        return f"{out}.{apart(v.shape, size, over_time=True)}"

    def lines(self, values: Iterable[Value]) -> list[Line]:
        lines = []
        for v in values:
            if not self.layout.is_written(v):
                continue
            out = self.arrays.whole(v)
            if v.id in self.layout.fresh:
                lines.append(Line(f"{out} = {self.room.new(v)}"))
            elif v.id not in self.layout.piece:
                self.room.buffer(out, v, fill=v.op is ASSEMBLE)
            lines += self.said(v, statements(self, v, out))
        return lines
