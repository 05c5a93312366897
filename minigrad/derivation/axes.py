"""The axes of what stands in an equation: rows, columns, and what an index or a sum takes of them.

In the samples a batch is in front. An equation is that of one sequence: there, a vector is a matrix of one row, or of one column.
"""
from __future__ import annotations

from typing import Any, Callable

from .expression import Expression, Shape, last_slice


class Axes:
    """rows  the length of the batch, or None; columns: True if vectors are columns; flip: True if matrices are written transposed."""

    def __init__(self, rows: int | None, columns: bool, flip: bool) -> None:
        self.rows, self.columns, self.flip = rows, columns, flip

    def own(self, shape: Shape) -> Shape:
        """A shape without the batch."""
        return shape[1:] if self.rows is not None and shape[:1] == (self.rows,) else shape

    def matrix(self, shape: Shape) -> Shape:
        """The shape that stands in the equation, of two axes at least."""
        shape = self.own(shape)
        while len(shape) > 2 and shape[0] == 1:
            shape = shape[1:]
        return (*shape, 1) if len(shape) == 1 and self.columns else (1,) * (2 - len(shape)) + shape

    def native(self, e: Expression) -> bool:
        """Is it written as the cell has it? More axes than a matrix has are, transposed around that where matrices are."""
        return self.flip and any(len(self.own(a.shape)) > 2 for a in (e, *e.args))

    def turned(self, e: Expression) -> bool | None:
        """Does a reshape make a column of a row, or a row of a column? None if it does something else."""
        before, after = self.matrix(e.args[0].shape), self.matrix(e.shape)
        return False if before == after else True if before == after[::-1] and 1 in before else None

    def transposes(self, e: Expression) -> bool:
        return e.op == "T" or e.op == "reshape" and bool(self.turned(e))

    def across(self, shape: Shape) -> bool:
        """Is it a vector that lies the other way? What is left of a matrix does where its axis was kept."""
        rows, columns = self.matrix(shape)[-2:]
        return rows == 1 < columns if self.columns else columns == 1 < rows

    def over(self, shape: Shape, axis: tuple[int, ...]) -> str:
        """Which indices of a matrix, i of its rows and j of its columns, a sum runs over; nothing if it is all there are."""
        if len(self.own(shape)) < 2:
            return ""
        shape = self.matrix(shape)
        letters = {a: letter for a, letter in zip(range(-len(shape), 0), "ijklmn")}
        if self.flip and len(shape) == 2:
            letters = {-3 - a: letter for a, letter in letters.items()}
        left = [a for a in letters if a not in axis and shape[a] != 1]
        return ",".join(sorted(letter for a, letter in letters.items() if a in axis)) if left else ""

    def where(self, index: tuple[Any, ...], shape: Shape, span: Callable[[slice], str]) -> str:
        """An index as it is written: of the last axis alone a span, else one part for each axis."""
        at = last_slice(index)
        if at is not None:
            return span(at)
        parts = ["i" if hasattr(i, "shape") else span(i) if isinstance(i, slice) else str(i) for i in index if i is not Ellipsis]
        parts = [":"] * (len(shape) - sum(i is not None for i in index[1:])) + parts
        parts = parts[len(shape) - len(self.own(shape)):]
        return ", ".join(reversed(parts) if self.flip and len(parts) == 2 else parts)

    def subscripts(self, terms: str, shapes: list[Shape]) -> list[str]:
        """What einsum is told of every operand and of the result, the batch left out."""
        letters = terms.replace("...", "").replace("->", ",").split(",")
        found = [term[len(shape) - len(self.own(shape)):] for term, shape in zip(letters, shapes)]
        return [term[:-2] + term[:-3:-1] for term in found] if self.flip else found
