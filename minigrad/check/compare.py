"""Gradients that were derived by hand held against a reference, name by name: here names and conventions are mapped."""
from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..autodiff import grad
from ..graph import Graph
from ..tensor import Tensor
from .edges import Edges
from .lines import Names, compare_steps
from .perturb import Reverse
from .probe import undecided
from .rows import Report, Row, as_array, close, compare_arrays, largest


def align(derived: dict[str, Any], reference: dict[str, Any], names: Names = None, convention: str = "row") -> dict[str, np.ndarray]:
    """Your dict in our names and storage: ``names`` {yours: ours}, and for convention "column" the transposes of what has two axes."""
    if convention not in ("row", "column"):
        raise ValueError(f"convention is {convention!r}, expected 'row' (x @ W) or 'column' (W x)")
    names = dict(names or {})
    found: dict[str, np.ndarray] = {}
    for yours, ours in names.items():
        if yours not in derived:
            raise ValueError(f"names maps {yours!r}, which is not among what was derived ({', '.join(map(str, derived))})")
    for name, value in derived.items():
        array = as_array(value)
        ours = names.get(name, name)
        if ours not in reference and str(ours)[:1] == "d" and ours[1:] in reference and ours[1:] not in derived:
            ours = ours[1:]                                   # dW for the gradient of W
        if ours not in reference and "." in str(ours):        # cells.0.W_x, as parameters() has it, for 1.W_x
            alike, theirs = ([n for n in some if str(n).split(".")[-1] == ours.split(".")[-1]] for some in (derived, reference))
            ours = theirs[alike.index(name)] if len(alike) == len(theirs) and name in alike else ours
        if ours in found:
            raise ValueError(f"{ours!r} is derived twice, as {name!r} and under another name")
        if convention == "column" and array.ndim == 2:
            shape = np.shape(as_array(reference[ours])) if ours in reference else None
            array = array[:, 0] if shape is not None and len(shape) == 1 and array.shape == (shape[0], 1) else array.T
        found[ours] = array
    return found


def compare(derived: dict[str, Any], reference: dict[str, Any] | Tensor, *, tolerance: float | None = None, names: Names = None,
            convention: str = "row", given: dict[str, Any] | None = None) -> Report:
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
    if loss is not None:
        edges = Edges(loss)
        report.remarks = [f"COULD NOT DECIDE  {what}" for what in undecided(edges)] if edges.T else []
        others = {name: v for name, v in derived.items() if name not in gradients_only(derived, reference, names)}
        if others:
            compare_steps(report, others, Reverse(loss), names, convention, tolerance, given)
            derived = {name: v for name, v in derived.items() if name not in others}
            reference = reference if derived else {}
            names = {n: to for n, to in (names or {}).items() if n in derived}
    derived = align(derived, reference, names, convention)
    scale = largest(reference.values())
    for name in reference:
        if name in derived:
            report.rows.append(compare_arrays(name, derived[name], reference[name], tolerance, scale, convention == "column"))
        else:
            near = _near(name, [n for n in derived if n not in reference])
            report.rows.append(Row(name, False, note=f"not derived{f'; did you mean {near!r}?' if near else ''}"))
    missing = {name: g for name, g in reference.items() if name not in derived}
    for name in [n for n in derived if n not in reference]:
        report.rows.append(Row(name, False, note=_unknown(name, derived[name], missing, reference, tolerance)))
    return report


def gradients_only(derived: dict[str, Any], reference: dict[str, Any], names: Names) -> dict[str, Any]:
    """Those of what was derived that are gradients of parameters: no functions, and no adjoints of every step."""
    def usual(name: str, value: Any) -> bool:
        if callable(value) and not hasattr(value, "__array__"):
            return False
        ours = (names or {}).get(name, name)
        if ours in reference or not isinstance(ours, str) or ours[:1] != "d" and ours[:6] != "carry_":
            return True
        if "." in ours and any(str(n).split(".")[-1] == ours.split(".")[-1] for n in reference):
            return True
        return ours[1:] in reference and np.shape(as_array(value)) in (np.shape(reference[ours[1:]]), np.shape(reference[ours[1:]])[::-1])
    return {name: value for name, value in derived.items() if usual(name, value)}


def gradients_by_name(loss: Tensor) -> dict[str, np.ndarray]:
    """The gradients of a loss with respect to every named parameter in its recorded graph: dict name -> array; those of
    several cells with one name are ``1.W_h``, ``2.W_h``, in the order they were made."""
    parameters: dict[str, Tensor] = {}
    unnamed = 0
    for node in Graph.of(loss).nodes:
        if node.kind == "parameter" and node.name is not None:
            parameters[node.name] = node.tensor
        elif node.kind == "parameter":
            unnamed += 1
    if not parameters:
        raise ValueError(f"no named parameter in this loss's graph ({unnamed} without a name); "
                         "name them, mg.parameter(..., name='W'), or pass a dict as reference")
    return {name: g.data for name, g in zip(parameters, grad(loss, list(parameters.values())))}


def _unknown(name: str, array: np.ndarray, missing: dict[str, Any], reference: dict[str, Any], tolerance: float | None) -> str:
    """Whose gradient this could be, in words."""
    for ours, g in missing.items():
        for a, turned in ((array, ""), (array.T, ", transposed")):
            if a.dtype.kind in "biuf" and a.shape == np.shape(g) and np.any(a) and close(a, as_array(g), tolerance):
                return f"unknown name; these are the numbers of {ours}{turned}: names={{{name!r}: {ours!r}}}"
    near = _near(name, reference)
    there_are = f" (there are: {', '.join(map(str, reference))})" if reference else ""
    return f"unknown name; did you mean {near!r}?" if near else f"unknown name{there_are}"


def _near(name: str, names: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(str(name), map(str, names), n=1, cutoff=0.5)), None)
