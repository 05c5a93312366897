"""What the five derivations share: comparing gradients, naming slips, printing both, saving the picture.

No mathematics of the notes lives here; every derivation is complete in its own file.

A *run* below is a dictionary {parameter name: gradient}, or the ValueError that computing it raised.
"""

import argparse
import sys
from pathlib import Path
from typing import Any, Callable, Iterable, Mapping, NamedTuple, Sequence, TypeVar
import numpy as np
import minigrad as mg

Array = Any                                 # an ndarray, or a Tensor where minigrad records the same model
Arrays = dict[str, np.ndarray]              # parameters, or their gradients, by name
Gradients = dict[str, Any]                  # the same by hand; where a formula as written does not conform, its ValueError
Line = tuple[str, Array, Array]             # a line of the notes, by hand, by the engine
Result = TypeVar("Result")

AGREES = 1e-12      # the largest relative error, in float64, that is called agreement


# ---- comparing ------------------------------------------------------------------------------------------------------

def relative_error(a: Array, b: Array) -> float:
    """max|a − b| / max|b|, and just max|a − b| where b is zero everywhere."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        raise ValueError(f"cannot compare shape {a.shape} with shape {b.shape}: a gradient has its parameter's shape")
    return float(np.max(np.abs(a - b)) / (np.max(np.abs(b)) or 1.0))


def attempt(compute: Callable[[], Result]) -> Result | ValueError:
    """The gradients that `compute()` returns, or the ValueError it raises: formulas are run exactly as they stand."""
    try:
        return compute()
    except ValueError as error:
        return error


def multiply(written: str, *factors: np.ndarray, intended: tuple[Any, ...]) -> np.ndarray:
    """The product of `factors` from left to right, as the notes write it.

    If the shapes do not conform the error shows them, and the intended product: `intended` is its text followed by its
    factors. If they happen to conform (square weights!) the product is returned, and nobody warns you.

    >>> h, d = np.ones((1, 6)), np.ones((1, 7))
    >>> multiply("(ŷ − y) h", d, h, intended=("hᵀ (ŷ − y)", h.T, d))
    Traceback (most recent call last):
        ...
    ValueError: (ŷ − y) h does not conform: (1, 7) × (1, 6); intended: hᵀ (ŷ − y) = (6, 1) × (1, 7) -> (6, 7)
    """
    try:
        return _product(factors)
    except ValueError:
        text, *right = intended
        message = (f"{written} does not conform: {_shapes(factors)}; "
                   f"intended: {text} = {_shapes(right)} -> {_product(right).shape}")
        raise ValueError(message) from None


def _product(factors: Sequence[np.ndarray]) -> np.ndarray:
    result = factors[0]
    for factor in factors[1:]:
        result = result @ factor
    return result


def _shapes(factors: Sequence[np.ndarray]) -> str:
    return " × ".join(str(factor.shape) for factor in factors)


def same_shape(name: str, gradient: np.ndarray, parameter: np.ndarray, intended: str) -> np.ndarray:
    """`gradient` itself; raises if its shape is not the parameter's (NumPy would broadcast in silence)."""
    if gradient.shape != parameter.shape:
        raise ValueError(f"∂L/∂{name} comes out as {gradient.shape} but {name} is {parameter.shape}; "
                         f"intended: {intended}")
    return gradient


# ---- printing -------------------------------------------------------------------------------------------------------

class Slip(NamedTuple):
    """One slip of the notes.

    kind     "value": runs and gives a wrong number · "shape": does not conform and raises ·
             "reading": the page allows two readings, both are run · "exercise": not on the page, a near miss
    line     what the page says
    right    what it must say, or why
    runs     {label: function that computes the gradients so}
    """
    kind: str
    line: str
    right: str
    runs: dict[str, Callable[[], Gradients]]


def heading(text: str) -> None:
    """Print a section's title."""
    print(f"\n{text}\n{'-' * len(text)}")


def print_comparison(written: Gradients, corrected: Gradients, engine: Arrays) -> bool:
    """Print as-written, corrected and engine gradients, parameter by parameter; True if corrected == engine.

    written, corrected, engine: {parameter: gradient}; an entry of `written` may be a ValueError ("shape" in the table).
    The worst entry is where `written` is farthest from the engine; where `corrected` is, if `written` did not run or
    does not differ.
    """
    print(f"{'':10}{'relative error':<24}{'worst':<12}{'value there':<14}")
    print(f"{'gradient':<10}{'as written':<12}{'corrected':<12}{'entry':<12}"
          f"{'as written':>12}{'corrected':>12}{'engine':>12}")
    agrees = True
    for name, reference in engine.items():
        error = relative_error(corrected[name], reference)
        agrees &= error <= AGREES
        ran = not isinstance(written[name], Exception)
        written_error = relative_error(written[name], reference) if ran else np.inf
        farthest = written[name] if ran and written_error > AGREES else corrected[name]
        worst = np.unravel_index(np.argmax(np.abs(farthest - reference)), reference.shape)
        print(f"{name:<10}{f'{written_error:.1e}' if ran else 'shape':<12}{error:<12.1e}"
              f"{'[' + ','.join(map(str, worst)) + ']':<12}{f'{written[name][worst]:.6f}' if ran else '-':>12}"
              f"{corrected[name][worst]:>12.6f}{reference[worst]:>12.6f}")
    print("corrected and engine agree" if agrees else "corrected and engine DIFFER", f"(limit {AGREES:.0e})")
    return agrees


def print_lines(lines: Iterable[Line]) -> bool:
    """Print the error of each (line of the notes, by hand, by the engine); True if every line agrees."""
    agrees = True
    for line, hand, reference in lines:
        error = relative_error(hand, reference)
        agrees &= error <= AGREES
        print(f"{line:<52}{error:.1e}{'' if error <= AGREES else '   DIFFERS'}")
    return agrees


def describe(run: Gradients | ValueError, reference: Arrays) -> str:
    """One line on a run: the relative error of each gradient, "exact" where there is none, or what it raised."""
    if isinstance(run, Exception):
        return f"raises: {run}"
    parts = []
    for name, gradient in run.items():
        error = relative_error(gradient, reference[name])
        parts.append(f"{name} exact" if error <= AGREES else f"{name} {error:.2g}")
    return "   ".join(parts)


def print_slips(slips: Iterable[Slip], reference: Arrays) -> None:
    """Print each slip, what it should say, and what it does to the gradients, measured against `reference`."""
    for number, slip in enumerate(slips, 1):
        print(f"{number}. {slip.kind:<9}{slip.line}\n   {'right:':<9}{slip.right}")
        width = max(map(len, slip.runs))
        for label, compute in slip.runs.items():
            print(f"      {label:<{width}}  {describe(attempt(compute), reference)}")


# ---- the command line -----------------------------------------------------------------------------------------------

def parser(doc: str, command: str) -> argparse.ArgumentParser:
    """An argument parser with what every derivation takes: the folder for pictures and the probe's seed."""
    result = argparse.ArgumentParser(prog=command, description=doc.split("\n\n")[0])
    result.add_argument("--pictures", metavar="FOLDER", default="./minigrad-pictures",
                        help="where the drawn graphs go (default: %(default)s)")
    result.add_argument("--seed", type=count, default=0, metavar="N",
                        help="of the probe on which gradients are compared (default: 0)")
    return result


def count(text: str) -> int:
    """An argument that is 0, 1, 2, …"""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number like 0, 1, 2, …, got {text!r}")
    return int(text)


def save_picture(L: mg.Tensor, folder: str, name: str) -> None:
    """Draw the graph of `L` into `folder/name` (.svg, .png, .pdf or .dot) and say where it is; exits with status 2
    if the folder cannot be written."""
    path = Path(folder) / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mg.draw(L).save(str(path))
    except OSError as error:
        print(f"cannot write {path}: {error.strerror or error}; choose another folder with --pictures", file=sys.stderr)
        raise SystemExit(2) from None
    print(f"\nthe graph is drawn in {path}")


# ---- the engine -----------------------------------------------------------------------------------------------------

def parameters(p: Mapping[str, np.ndarray]) -> dict[str, mg.Tensor]:
    """The same dictionary with every array as a named leaf that wants a gradient."""
    return {name: mg.parameter(array, name=name) for name, array in p.items()}


def columns_of_time(name: str, arrays: Iterable[np.ndarray | None]) -> list[mg.Tensor | None]:
    """Each step's array as a Tensor with one name, so that the picture shows it in its column; None stays None."""
    return [None if array is None else mg.Tensor(array, name=name) for array in arrays]


def engine_gradients(loss: mg.Tensor, leaves: Mapping[str, mg.Tensor]) -> Arrays:
    """{name: ∂loss/∂leaf} as arrays, by the reverse walk over the recorded graph."""
    return dict(zip(leaves, (gradient.data for gradient in mg.grad(loss, list(leaves.values())))))


def engine_gradient(output: mg.Tensor, tensor: mg.Tensor) -> np.ndarray:
    """∂output/∂tensor as an array; `tensor` may be a leaf or anything that was computed on the way to `output`."""
    return mg.grad(output, [tensor])[0].data
