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
    steps: dict = field(default_factory=dict)     # name of a line -> {step: (error, ok)}, where steps were compared

    @property
    def ok(self):
        return all(row.ok for row in self.rows)

    def __bool__(self):
        return self.ok

    def __str__(self):
        wrong = sum(not row.ok for row in self.rows)
        verdict = "AGREES" if self.ok else f"DIFFERENT: {wrong} of {len(self.rows)}"
        head = f"{'gradient':<14} {'rel.err':>8}  {'cosine':>7}  {'worst entry':<12} {'yours':>14} {'reference':>14}"
        where = f".  First wrong: {self.first[0]}, at t={self.first[1]}" if self.first else ""
        return "\n".join([f"{self.title}{': ' if self.title else ''}{verdict}{where}", head, *map(str, self.rows), *self._time()])

    __repr__ = __str__

    @property
    def first(self):
        """(line, step) of the first difference on the way back from the last step, in the order of the lines; None if there is none."""
        times = sorted({t for steps in self.steps.values() for t in steps}, reverse=True)
        return next(((name, t) for t in times for name, steps in self.steps.items() if t in steps and not steps[t][1]), None)

    def _time(self):
        times = sorted({t for steps in self.steps.values() for t in steps}, reverse=True)
        if not times:
            return []
        rows = [f"{'line':<14} " + " ".join(f"{f't={t}':>8}" for t in times)]
        for name, steps in self.steps.items():
            cells = ["" if t not in steps else "ok" if steps[t][1] else f"{steps[t][0]:.1e}" for t in times]
            rows.append(f"{name:<14} " + " ".join(f"{c:>8}" for c in cells))
        return rows

    @property
    def exit_status(self):
        """For scripts, ``sys.exit(report.exit_status)``: 0 agrees, 1 differs."""
        return 0 if self.ok else 1

    def data(self):
        """The report as plain Python values, ready for JSON."""
        return dict(ok=self.ok, title=self.title, rows=[dict(
            name=r.name, ok=r.ok, error=_plain(r.error), cosine=_plain(r.cosine), index=None if r.index is None else list(r.index),
            yours=_plain(r.yours), reference=_plain(r.reference), note=r.note) for r in self.rows],
            steps={name: {str(t): _plain(e) for t, (e, _) in steps.items()} for name, steps in self.steps.items()})

    def html(self):
        """The report as one HTML table, without scripts."""
        from html import escape
        cells = [[r.name, "ok" if r.ok else "differs", f"{r.error:.1e}", f"{r.cosine:+.4f}", "" if r.index is None else str(list(r.index)),
                  "" if r.yours is None else f"{r.yours:.7g}", "" if r.reference is None else f"{r.reference:.7g}", r.note]
                 for r in self.rows]
        head = ["gradient", "verdict", "rel. error", "cosine", "worst entry", "yours", "reference", ""]
        row = "<tr>{}</tr>".format
        body = "".join(row("".join(f"<td>{escape(c)}</td>" for c in line)) for line in cells)
        table = f"<table><caption>{escape(str(self).splitlines()[0])}</caption>{row(''.join(f'<th>{h}</th>' for h in head))}{body}</table>"
        return table + (f"<pre>{escape(chr(10).join(self._time()))}</pre>" if self.steps else "")

    _repr_html_ = html


def align(derived, reference, names=None, convention="row"):
    """Your dict in our names and storage: ``names`` {yours: ours}, and for convention "column" the transposes of what has two axes."""
    if convention not in ("row", "column"):
        raise ValueError(f"convention is {convention!r}, expected 'row' (x @ W) or 'column' (W x)")
    names, found = dict(names or {}), {}
    for yours, ours in names.items():
        if yours not in derived:
            raise ValueError(f"names maps {yours!r}, which is not among what was derived ({', '.join(map(str, derived))})")
    for name, value in derived.items():
        array = _array(value)
        ours = names.get(name, name)
        if ours not in reference and ours[:1] == "d" and ours[1:] in reference and ours[1:] not in derived:
            ours = ours[1:]                                   # dW for the gradient of W
        if ours in found:
            raise ValueError(f"{ours!r} is derived twice, as {name!r} and under another name")
        if convention == "column" and array.ndim == 2:
            shape = np.shape(_array(reference[ours])) if ours in reference else None
            array = array[:, 0] if shape is not None and len(shape) == 1 and array.shape == (shape[0], 1) else array.T
        found[ours] = array
    return found


def compare(derived, reference, *, tolerance=None, names=None, convention="row", given=None):
    """Compare gradients that were derived by hand with a reference. Returns a Report.

    derived    dict name -> array (NumPy's, torch's, JAX's, a Tensor, a list). With a loss as reference also what is on the way:
               ``"dh"``: an array (T, …) or a list of T, the adjoint of the variable h in every step; or a function, one line of the
               derivation, ``"da": lambda dh, h: dh * (1 - h**2)``, which is called on reference values (see ``diagnose``).
    reference  dict name -> array, or a loss Tensor: then the parameters are found in its recorded graph by their names
               and the engine differentiates. Their ``.grad`` is left alone.
    tolerance  the largest max|yours − reference| / max|reference| that agrees; default 1e-12 (float64), 1e-5 (float32).
    names      {your name: ours} where they differ
    convention "row" (x @ W, ours) or "column" (W x): then what has two axes is taken for the transpose of ours

    given      values that your lines take and the network does not have, as in ``diagnose``

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
    loss = None
    if isinstance(reference, Tensor):
        loss, reference = reference, gradients_by_name(reference)
    elif not isinstance(reference, dict):
        raise TypeError(f"reference is a {type(reference).__name__}, expected a dict name -> array or a loss Tensor")
    report = Report()
    if loss is not None and len(derived) > len(usual := _gradients_only(derived, reference, names)):
        from .lines import compare_steps
        compare_steps(report, {n: v for n, v in derived.items() if n not in usual}, loss, names, convention, tolerance, given)
        derived = usual
        reference = {n: g for n, g in reference.items() if derived}
        names = {n: to for n, to in (names or {}).items() if n in derived}
    if names or convention != "row" or any(n not in reference for n in derived):
        derived = align(derived, reference, names, convention)
    rows = report.rows
    for name in [*reference, *(name for name in derived if name not in reference)]:
        if name not in derived:
            unknown = [n for n in derived if n not in reference]
            rows.append(Row(name, False, note=_suggest("not derived", name, unknown)))
        elif name not in reference:
            rows.append(Row(name, False, note=_suggest("unknown name", name, reference)))
        else:
            rows.append(compare_arrays(name, derived[name], reference[name], tolerance, largest(reference.values())))
    return report


def _gradients_only(derived, reference, names):
    """Those of what was derived that are gradients of parameters: no functions, and no adjoints of every step."""
    def usual(name, value):
        if callable(value) and not hasattr(value, "__array__"):
            return False
        ours = (names or {}).get(name, name)
        if ours in reference or not isinstance(ours, str) or ours[:1] != "d" and ours[:6] != "carry_":
            return True
        return ours[1:] in reference and np.shape(_array(value)) in (np.shape(reference[ours[1:]]), np.shape(reference[ours[1:]])[::-1])
    return {name: value for name, value in derived.items() if usual(name, value)}


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


def _plain(x):
    if x is None or isinstance(x, complex):
        return None if x is None else str(x)
    return float(x) if np.isfinite(x) else None


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
