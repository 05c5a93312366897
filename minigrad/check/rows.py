"""One gradient beside its reference: the Row, the Report that is a table of them, and what "agrees" means. Which gradients are
compared is compare.py's business; where a reference comes from (complex step, differences) is gradcheck.py's."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from ..tensor import Tensor
from .page import Cell, framed, table

TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "float16": 1e-2}          # by the coarsest dtype of those compared


@dataclass
class Row:
    """One gradient: how far yours is from the reference, and where most."""
    name: str
    ok: bool
    error: float = float("nan")                                   # max|yours − reference| / max|reference|
    cosine: float = float("nan")                                  # of the angle between the two
    index: tuple[int, ...] | None = None                          # the worst entry, …
    yours: complex | None = None                                  # … its value in yours …
    reference: complex | None = None                              # … and in the reference
    note: str = ""                                                # what is wrong, if it can be said in words

    def __str__(self) -> str:
        if self.index is None:
            return f"{self.name:<14} {'':8}  {'':7}  {self.note}"
        place = "ok" if self.ok else "[" + ",".join(map(str, self.index)) + "]"
        entry = f"{place:<12} {self.yours:>14.7g} {self.reference:>14.7g}"
        return f"{self.name:<14} {self.error:8.1e}  {self.cosine:+7.4f}  {entry}  {self.note}".rstrip()


@dataclass
class Report:
    """The outcome of a check: ``ok`` (also its truth value), ``rows`` (one Row per gradient), ``remarks``, ``str()`` (the table)."""
    rows: list[Row] = field(default_factory=list)
    title: str = ""
    steps: dict[str, dict[int, tuple[float, bool]]] = field(default_factory=dict)     # line -> {step: (error, ok)}, where compared
    remarks: list[str] = field(default_factory=list)      # where the mistake is, and what could not be decided

    @property
    def ok(self) -> bool:
        return all(row.ok for row in self.rows)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        wrong = sum(not row.ok for row in self.rows)
        verdict = "AGREES" if self.ok else f"DIFFERENT: {wrong} of {len(self.rows)}"
        head = f"{'gradient':<14} {'rel.err':>8}  {'cosine':>7}  {'worst entry':<12} {'yours':>14} {'reference':>14}"
        where = f".  First wrong: {self.first[0]}, at t={self.first[1]}" if self.first else ""
        times, cells = self._time()
        steps = [f"{name:<14} " + " ".join(f"{text:>8}" for text in line)
                 for name, line in (("line", times), *((name, [text for text, _ in line]) for name, line in cells.items()))]
        return "\n".join([f"{self.title}{': ' if self.title else ''}{verdict}{where}", head, *map(str, self.rows),
                          *(steps if times else []), *self.remarks])

    __repr__ = __str__

    @property
    def first(self) -> tuple[str, int] | None:
        """(line, step) of the first difference on the way back from the last step, in the order of the lines; None if there is none."""
        times = sorted({t for steps in self.steps.values() for t in steps}, reverse=True)
        return next(((name, t) for t in times for name, steps in self.steps.items() if t in steps and not steps[t][1]), None)

    def _time(self) -> tuple[list[str], dict[str, list[Cell]]]:
        """(heads, lines) of the table of steps: for each line its name, and at each step (text, is it wrong); empty without steps."""
        times = sorted({t for steps in self.steps.values() for t in steps}, reverse=True)
        cells = {name: [("", False) if t not in steps else ("ok", False) if steps[t][1] else (f"{steps[t][0]:.1e}", True) for t in times]
                 for name, steps in self.steps.items()}
        return [f"t={t}" for t in times], cells

    @property
    def exit_status(self) -> int:
        """For scripts, ``sys.exit(report.exit_status)``: 0 agrees, 1 differs."""
        return 0 if self.ok else 1

    def data(self) -> dict[str, Any]:
        """The report as plain Python values, ready for JSON."""
        return dict(ok=self.ok, title=self.title, rows=[dict(
            name=r.name, ok=r.ok, error=_plain(r.error), cosine=_plain(r.cosine), index=None if r.index is None else list(r.index),
            yours=_plain(r.yours), reference=_plain(r.reference), note=r.note) for r in self.rows],
            steps={name: {str(t): _plain(e) for t, (e, _) in steps.items()} for name, steps in self.steps.items()},
            remarks=list(self.remarks))

    def html(self) -> str:
        """The report as a piece of HTML, a table and one of the steps, without scripts."""
        return framed(*self.parts())

    def parts(self) -> list[str]:
        """What ``html`` puts together."""
        rows = [[(text, not r.ok) for text in (
            str(r.name), "ok" if r.ok else "" if r.yours is None else "differs", f"{r.error:.1e}" if r.error == r.error else "",
            f"{r.cosine:+.4f}" if r.cosine == r.cosine else "", "" if r.index is None or r.ok else str(list(r.index)),
            "" if r.yours is None else f"{r.yours:.7g}", "" if r.reference is None else f"{r.reference:.7g}", r.note)] for r in self.rows]
        times, cells = self._time()
        steps = [[(name, False), *line] for name, line in cells.items()]
        heads = ["gradient", "", "rel. error ", "cosine ", "worst entry", "yours ", "reference ", ""]
        return [table(str(self).splitlines()[0], heads, rows), *([table("", ["line", *(f"{t} " for t in times)], steps)] if times else []),
                *(f"<p>{escape(remark)}</p>" for remark in self.remarks)]

    _repr_html_ = html


def compare_arrays(name: str, yours: Any, reference: Any, tolerance: float | None = None, scale: float = 0.0,
                   column: bool = False) -> Row:
    """One Row. ``scale`` is the largest entry of all gradients in the report: below a thousandth of it an array is held
    to that thousandth, since the difference of two numbers that should both be 0 is rounding and not an error.
    With ``column`` yours is the transpose of what its author has, whose shapes are told."""
    def shown(index: tuple[int, ...]) -> tuple[int, ...]:
        return index[::-1] if column and len(index) == 2 else index

    yours, reference = as_array(yours), as_array(reference)
    for whose, array in (("yours", yours), ("the reference", reference)):
        if array.dtype.kind not in "biufc":
            what = f"is {array.item()}" if array.dtype == object and not array.ndim else f"is no array of numbers (dtype {array.dtype})"
            return Row(name, False, note=f"{whose} {what}")
    if yours.shape != reference.shape:
        return Row(name, False, note=_about_shapes(yours, reference, tolerance, column))
    for whose, array in (("yours", yours), ("the reference", reference)):
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            index = tuple(map(int, bad[0]))
            return Row(name, False, index=shown(index), yours=yours[index].real, reference=reference[index].real,
                       note=f"{whose} has NaN or infinity in {len(bad)} of {array.size} entries")
    if not yours.size:
        return Row(name, True, 0.0, 1.0, note="empty")
    tolerance = tolerance_of(yours, reference) if tolerance is None else tolerance
    difference = np.abs(np.subtract(yours, reference, dtype=np.result_type(yours, reference, np.float32)))
    index = tuple(map(int, np.unravel_index(np.argmax(difference), difference.shape)))
    size, worst = float(np.max(np.abs(reference))), float(difference[index])
    ok = worst <= tolerance * max(size, 1e-3 * scale)
    row = Row(name, ok, error=relative(worst, size), cosine=cosine(yours, reference),
              index=shown(index), yours=yours[index].item(), reference=reference[index].item())
    if ok and worst > tolerance * size:
        row.note = f"tiny beside the largest gradient ({scale:.2g}), and held to its scale: rounding could explain the difference"
    if not ok and yours.ndim == 2 and yours.shape[0] == yours.shape[1] and close(yours.T, reference, tolerance):
        row.note = "its transpose agrees"
    return row


def tolerance_of(*arrays: np.ndarray) -> float:
    """What "agrees" means for these arrays: the tolerance of the coarsest floating dtype among them."""
    dtypes = [a.dtype.name.replace("complex128", "float64").replace("complex64", "float32") for a in arrays]
    return max(TOLERANCE.get(d, 1e-12) for d in dtypes)


def largest(arrays: Iterable[Any]) -> float:
    """The largest finite absolute entry of some arrays, 0 if there is none."""
    sizes = [np.abs(a) for a in map(as_array, arrays) if a.dtype.kind in "biufc"]
    return max((float(np.max(s, initial=0.0, where=np.isfinite(s))) for s in sizes), default=0.0)


def _plain(x: Any) -> float | str | None:
    if x is None or isinstance(x, complex):
        return None if x is None else str(x)
    return float(x) if np.isfinite(x) else None


def as_array(value: Any) -> np.ndarray:
    """As an array of NumPy's: of a Tensor; of torch's, off its graph and its device; of JAX's; of a list. bfloat16 becomes float32."""
    value = value.data if isinstance(value, Tensor) else value.detach().cpu() if hasattr(value, "detach") else value
    if str(getattr(value, "dtype", "")).endswith("bfloat16"):     # NumPy has none
        value = value.float() if hasattr(value, "float") else value.astype(np.float32)
    try:
        return np.asarray(value)
    except ValueError:                                            # nested lists of unequal lengths
        return np.array(value, dtype=object)


def close(a: np.ndarray, b: np.ndarray, tolerance: float | None = None) -> bool:
    """Do two arrays of one shape agree?"""
    tolerance = tolerance_of(a, b) if tolerance is None else tolerance
    return bool(np.max(np.abs(a - b), initial=0.0) <= tolerance * np.max(np.abs(b), initial=0.0))


def relative(worst: float, size: float) -> float:
    """An error relative to the size of what should be there."""
    return worst / size if size else (np.inf if worst else 0.0)


def cosine(a: np.ndarray | Sequence[Any], b: np.ndarray | Sequence[Any]) -> float:
    """Of the angle between two arrays; of nothing and nothing 1."""
    a, b = (x.astype(np.result_type(x, float)) for x in map(np.ravel, (a, b)))
    a, b = (x / (np.max(np.abs(x), initial=0.0) or 1.0) for x in (a, b))
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    return float(np.vdot(a, b).real / lengths) if lengths else float(not a.any() and not b.any())


def _about_shapes(yours: np.ndarray, reference: np.ndarray, tolerance: float | None, column: bool) -> str:
    def shown(shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape[::-1] if column and len(shape) == 2 else shape

    note = f"shape {shown(yours.shape)}, expected {shown(reference.shape)}"
    if yours.ndim >= 2 and yours.shape == reference.T.shape:
        kept = " (convention='column' transposes all; pass this one's .T if you keep it in rows)" if column else ""
        return note + (f": transposed, and its transpose agrees{kept}" if close(yours.T, reference, tolerance)
                       else ": transposed, and its transpose does not agree either")
    if yours.size == reference.size:
        same = close(yours.reshape(reference.shape), reference, tolerance)
        return note + (": the same numbers, reshape them" if same else ": as many entries, but other numbers")
    try:
        summed = reference.ndim < yours.ndim and np.broadcast_shapes(yours.shape, reference.shape) == yours.shape
    except ValueError:
        summed = False
    return note + (": a sum over the leading axes (rows of the batch, or steps) is missing" if summed else "")
