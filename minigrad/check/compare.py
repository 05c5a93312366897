"""Gradients held against a reference, name by name. Here live the comparison and its Report; where a reference comes
from (complex step, differences) is gradcheck.py's business."""
import difflib
from dataclasses import dataclass, field

import numpy as np

from ..autodiff import grad
from ..graph import Graph
from ..tensor import Tensor

TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "float16": 1e-2}          # by the coarsest dtype of those compared


@dataclass
class Row:
    """One gradient: how far yours is from the reference, and where most."""
    name: str
    ok: bool
    error: float = float("nan")                                   # max|yours − reference| / max|reference|
    cosine: float = float("nan")                                  # of the angle between the two
    index: tuple | None = None                                    # the worst entry, …
    yours: float | None = None                                    # … its value in yours …
    reference: float | None = None                                # … and in the reference
    note: str = ""                                                # what is wrong, if it can be said in words

    def __str__(self):
        if self.index is None:
            return f"{self.name:<14} {'':8}  {'':7}  {self.note}"
        place = "ok" if self.ok else "[" + ",".join(map(str, self.index)) + "]"
        entry = f"{place:<12} {self.yours:>14.7g} {self.reference:>14.7g}"
        return f"{self.name:<14} {self.error:8.1e}  {self.cosine:+7.4f}  {entry}  {self.note}".rstrip()


@dataclass
class Report:
    """The outcome of a check: ``ok`` (also its truth value), ``rows`` (one Row per gradient), ``str()`` (the table)."""
    rows: list = field(default_factory=list)
    title: str = ""

    @property
    def ok(self):
        return all(row.ok for row in self.rows)

    def __bool__(self):
        return self.ok

    def __str__(self):
        wrong = sum(not row.ok for row in self.rows)
        verdict = "AGREES" if self.ok else f"DIFFERENT: {wrong} of {len(self.rows)}"
        head = f"{'gradient':<14} {'rel.err':>8}  {'cosine':>7}  {'worst entry':<12} {'yours':>14} {'reference':>14}"
        return "\n".join([f"{self.title}{': ' if self.title else ''}{verdict}", head, *map(str, self.rows)])

    __repr__ = __str__


def compare(derived, reference, *, tolerance=None):
    """Compare gradients that were derived by hand with a reference. Returns a Report.

    derived    dict name -> array.
    reference  dict name -> array, or a loss Tensor: then the parameters are found in its recorded graph by their names
               and the engine differentiates. Their ``.grad`` is left alone.
    tolerance  the largest max|yours − reference| / max|reference| that agrees; default 1e-12 (float64), 1e-5 (float32).

    A name that is missing or unknown, a wrong shape (a transposed one is recognised) and NaN are rows with a note, not
    exceptions: one report says everything.

    >>> import minigrad as mg
    >>> W = mg.parameter([[1.0, 2.0], [3.0, 4.0]], name="W")
    >>> x = np.array([[1.0, -1.0]])
    >>> report = mg.check.compare({"W": np.ones((1, 2)).T @ x}, (x @ W).sum())     # should be x.T @ ones
    >>> report.ok, report.rows[0].note
    (False, 'its transpose agrees')
    """
    if not isinstance(derived, dict):
        raise TypeError(f"derived is a {type(derived).__name__}, expected a dict name -> array")
    if isinstance(reference, Tensor):
        reference = gradients_by_name(reference)
    elif not isinstance(reference, dict):
        raise TypeError(f"reference is a {type(reference).__name__}, expected a dict name -> array or a loss Tensor")
    rows = []
    for name in [*reference, *(name for name in derived if name not in reference)]:
        if name not in derived:
            unknown = [n for n in derived if n not in reference]
            rows.append(Row(name, False, note=_suggest("not derived", name, unknown)))
        elif name not in reference:
            rows.append(Row(name, False, note=_suggest("unknown name", name, reference)))
        else:
            rows.append(compare_arrays(name, derived[name], reference[name], tolerance, largest(reference.values())))
    return Report(rows)


def gradients_by_name(loss):
    """The gradients of a loss with respect to every named parameter in its recorded graph: dict name -> array; those of
    several cells with one name are ``1.W_h``, ``2.W_h``, in the order they were made."""
    parameters, unnamed = {}, 0
    for node in Graph.of(loss).nodes:
        if node.kind == "parameter" and node.name is None:
            unnamed += 1
        elif node.kind == "parameter":
            parameters[node.name] = node.tensor
    if not parameters:
        raise ValueError(f"no named parameter in this loss's graph ({unnamed} without a name); "
                         "name them, mg.parameter(..., name='W'), or pass a dict as reference")
    return {name: g.data for name, g in zip(parameters, grad(loss, list(parameters.values())))}


def compare_arrays(name, yours, reference, tolerance=None, scale=0.0):
    """One Row. ``scale`` is the largest entry of all gradients in the report: below a thousandth of it an array is held
    to that thousandth, since the difference of two numbers that should both be 0 is rounding and not an error."""
    yours, reference = _array(yours), _array(reference)
    for whose, array in (("yours", yours), ("the reference", reference)):
        if array.dtype.kind not in "biufc":
            return Row(name, False, note=f"{whose} is no array of numbers (dtype {array.dtype})")
    if yours.shape != reference.shape:
        return Row(name, False, note=_about_shapes(yours, reference, tolerance))
    for whose, array in (("yours", yours), ("the reference", reference)):
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            index = tuple(map(int, bad[0]))
            return Row(name, False, index=index, yours=yours[index].real, reference=reference[index].real,
                       note=f"{whose} has NaN or infinity in {len(bad)} of {array.size} entries")
    if not yours.size:
        return Row(name, True, 0.0, 1.0, note="empty")
    tolerance = tolerance_of(yours, reference) if tolerance is None else tolerance
    difference = np.abs(np.subtract(yours, reference, dtype=np.result_type(yours, reference, np.float32)))
    index = tuple(map(int, np.unravel_index(np.argmax(difference), difference.shape)))
    size, worst = float(np.max(np.abs(reference))), float(difference[index])
    ok = worst <= tolerance * max(size, 1e-3 * scale)
    row = Row(name, ok, error=worst / size if size else (np.inf if worst else 0.0), cosine=_cosine(yours, reference),
              index=index, yours=yours[index].item(), reference=reference[index].item())
    if ok and worst > tolerance * size:
        row.note = f"tiny beside the largest gradient ({scale:.2g}), and held to its scale: rounding could explain the difference"
    if not ok and yours.ndim == 2 and yours.shape[0] == yours.shape[1] and _close(yours.T, reference, tolerance):
        row.note = "its transpose agrees"
    return row


def tolerance_of(*arrays):
    """What "agrees" means for these arrays: the tolerance of the coarsest floating dtype among them."""
    dtypes = [a.dtype.name.replace("complex128", "float64").replace("complex64", "float32") for a in arrays]
    return max(TOLERANCE.get(d, 1e-12) for d in dtypes)


def largest(arrays):
    """The largest finite absolute entry of some arrays, 0 if there is none."""
    sizes = [np.abs(a) for a in map(_array, arrays) if a.dtype.kind in "biufc"]
    return max((float(np.max(s, initial=0.0, where=np.isfinite(s))) for s in sizes), default=0.0)


def _array(value):
    try:
        return np.asarray(value.data if isinstance(value, Tensor) else value)
    except ValueError:                                            # nested lists of unequal lengths
        return np.array(value, dtype=object)


def _close(a, b, tolerance):
    return bool(np.max(np.abs(a - b), initial=0.0) <= tolerance * np.max(np.abs(b), initial=0.0))


def _cosine(a, b):
    a, b = (x.ravel().astype(np.result_type(x, float)) for x in (a, b))
    a, b = (x / (np.max(np.abs(x)) or 1.0) for x in (a, b))
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    return float(np.vdot(a, b).real / lengths) if lengths else (1.0 if not a.any() and not b.any() else 0.0)


def _about_shapes(yours, reference, tolerance):
    note = f"shape {yours.shape}, expected {reference.shape}"
    tolerance = tolerance_of(yours, reference) if tolerance is None else tolerance
    if yours.ndim >= 2 and yours.shape == reference.T.shape:
        return note + (": transposed, and its transpose agrees" if _close(yours.T, reference, tolerance)
                       else ": transposed, and its transpose does not agree either")
    if yours.size == reference.size:
        same = _close(yours.reshape(reference.shape), reference, tolerance)
        return note + (": the same numbers, reshape them" if same else ": as many entries, but other numbers")
    try:
        summed = reference.ndim < yours.ndim and np.broadcast_shapes(yours.shape, reference.shape) == yours.shape
    except ValueError:
        summed = False
    return note + (": a sum over the leading axes (rows of the batch, or steps) is missing" if summed else "")


def _suggest(what, name, others):
    near = difflib.get_close_matches(name, list(others), n=1, cutoff=0.5)
    if near:
        return f"{what}; did you mean {near[0]!r}?"
    return what + (f" (there are: {', '.join(map(str, others))})" if others else "")
