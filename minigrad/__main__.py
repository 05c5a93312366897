"""The command line: ``python -m minigrad draw path.py:Class`` draws a cell; ``python -m minigrad`` alone lists the commands.

Exit status: 0 agrees or done, 1 differs, 2 unusable input.
"""
from __future__ import annotations

import argparse
import importlib
import inspect
import sys
from typing import Any, Callable

import numpy as np

import minigrad as mg

from .files import module_from, write


def cell_from(where: str, input_size: int, hidden_size: int) -> Any:
    """``path.py:Name`` or ``module:Name`` -> a cell: a class is called with the two sizes, a function becomes a ``Step``, an object is
    taken as it is."""
    source, colon, name = where.rpartition(":")
    if not colon:
        raise ValueError(f"{where!r} names no cell; expected path.py:Name or module:Name, for example minigrad:GRUCell")
    if source.endswith(".py"):
        module = module_from(source, "cell_file")
    else:
        sys.path.insert(0, "")
        module = importlib.import_module(source)
    if not hasattr(module, name):
        raise ValueError(f"{source} has no {name!r}; it has {', '.join(n for n in vars(module) if n[0] != '_')[:200]}")
    found: Any = getattr(module, name)
    if inspect.isfunction(found):
        return Step(found, input_size, hidden_size)
    if not isinstance(found, type):
        return found
    asked = inspect.signature(found).parameters.get("rng")
    cell = found(input_size, hidden_size, **({"rng": np.random.default_rng(0)} if asked and asked.default is asked.empty else {}))
    if isinstance(cell, mg.Module) and not hasattr(cell, "input_size"):
        setattr(cell, "input_size", input_size)                     # known, since it was made with it; not to be seen in its parameters
    return cell


class Step(mg.Module):
    """A cell that is a plain function: its parameters are those that it reads; its state is one vector, unless it has an initial_state."""

    def __init__(self, function: Callable[..., Any], input_size: int, hidden_size: int) -> None:
        self.__name__, self.__doc__, self.function, self.input_size = function.__name__, function.__doc__, function, input_size
        self.initial_state = getattr(function, "initial_state", lambda rows: mg.Tensor(np.zeros((rows, hidden_size))))
        read = inspect.getclosurevars(function)
        for name, value in {**read.globals, **read.nonlocals}.items():
            if isinstance(value, mg.Tensor):
                setattr(self, name, value)

    def __call__(self, x: mg.Tensor, state: Any) -> Any:
        return self.function(x, state)


def inputs(steps: int, batch: int, input_size: int, seed: int = 0) -> np.ndarray:
    """Random inputs of a few steps."""
    return np.random.default_rng(seed).standard_normal((steps, batch, input_size))


def unrolled(cell: Any, xs: Any) -> mg.Tensor:
    """A scalar at the end of the steps."""
    ys, _ = mg.unroll(cell, xs)
    loss = (ys[-1] * ys[-1]).sum()
    return loss


def draw(options: argparse.Namespace) -> int:
    """draw a cell, unrolled over a few steps"""
    cell = cell_from(options.cell, options.input_size, options.hidden_size)
    loss = unrolled(cell, inputs(options.steps, 2, options.input_size))
    how = dict(heat=options.heat, folded=options.folded, cells=options.cells, step=options.step)
    drawing = mg.draw(loss, title=options.cell.rpartition(":")[2], style=options.style, **how)
    drawing.save(options.output)
    if options.frames:
        drawing.frames(options.frames)
    print(f"drawn: {options.output}")
    return 0


def explore(options: argparse.Namespace) -> int:
    """write a cell, unrolled over a few steps, as a page to walk about in"""
    cell = cell_from(options.cell, options.input_size, options.hidden_size)
    loss = unrolled(cell, inputs(options.steps, 2, options.input_size))
    print(f"written: {mg.explore(loss, options.output, title=options.cell.rpartition(':')[2])}")
    return 0


def check(options: argparse.Namespace) -> int:
    """hold a cell's gradients through time against the complex step, or a file of notes (my_notes.py) against the engine"""
    if options.new:
        print(f"written: {mg.check.new_notes(options.cell or 'my_notes.py')}")
        return 0
    if options.cell is None:
        raise ValueError("nothing to check: give path.py:Name (a cell) or my_notes.py (a derivation; --new writes a template)")
    if ":" not in options.cell:
        report = mg.check.check_notes(options.cell)
        print(report)
        return report.exit_status
    cell = cell_from(options.cell, options.input_size, options.hidden_size)
    xs = inputs(options.steps, 3, options.input_size)
    if isinstance(cell, mg.Module) and cell.parameters():
        report = mg.check.gradcheck(lambda: unrolled(cell, xs), cell, order=options.order)
    else:
        report = mg.check.gradcheck(lambda xs: unrolled(cell, xs), {"xs": xs}, order=options.order)
    print(report)
    return 0 if report.ok else 1


def compile(options: argparse.Namespace) -> int:
    """print the NumPy program that mg.scan runs for a cell"""
    cell = cell_from(options.cell, options.input_size, options.hidden_size)
    text = mg.scan.source(cell, inputs(options.steps, options.batch_size, options.input_size))
    if options.output:
        write(options.output, text)
        print(f"written: {options.output}")
    else:
        print(text, end="")
    return 0


def derive(options: argparse.Namespace) -> int:
    """write a cell's equations and its back-propagation through time"""
    from minigrad.derivation import command
    return command.run(options, cell_from(options.cell, options.input_size, options.hidden_size))


def lower(options: argparse.Namespace) -> int:
    """write a cell for PyTorch, JAX or ONNX, with golden numbers and a test that runs without minigrad"""
    cell = cell_from(options.cell, options.input_size, options.hidden_size)
    x, = inputs(1, 3, options.input_size)
    for path in mg.lower.port_kit(cell, options.output, options.to, x, T=options.steps):
        print(f"written: {path}")
    return 0


def exercise(options: argparse.Namespace) -> int:
    """print a derivation with one slip in it, to be found"""
    task = mg.check.exercise(options.seed)
    print(task.text)
    if options.solution:
        write(options.solution, task.solution + "\n")
        print(f"\nthe solution: {options.solution}")
    return 0


def report(options: argparse.Namespace) -> int:
    """write one page about a cell: equations, picture, gradient check, Jacobian spectrum, parameters, speed"""
    from .report import DIFFERS, page
    cell = cell_from(options.cell, options.input_size, options.hidden_size)
    text = page(cell, input_size=options.input_size, steps=options.steps, batch_size=options.batch_size)
    write(options.output, text)
    print(f"written: {options.output}")
    return 1 if DIFFERS in text else 0


def doctor(options: argparse.Namespace) -> int:
    """say what is installed, and what each thing that is missing would give"""
    from .doctor import examine, table
    print(table(examine()))
    return 0


def _steps(default: int = 4) -> tuple[str, dict[str, Any]]:
    return "--steps", dict(type=int, default=default, help=f"time steps (default {default})")


def _output(default: str | None, what: str = "file to write") -> tuple[tuple[str, str], dict[str, Any]]:
    return ("-o", "--output"), dict(default=default, help=f"{what} (default: {default or 'print'})")


_CELL = "cell", dict(help="path.py:Name or module:Name of a class or a function, for example minigrad:LSTMCell")
_SIZES = (("--input-size", dict(type=int, default=5, help="numbers per input row (default 5)")),
          ("--hidden-size", dict(type=int, default=6, help="numbers per state row (default 6)")))
_ROWS = "--batch-size", dict(type=int, default=3, help="rows per step (default 3)")

COMMANDS = {  # function -> its arguments
    draw: (_CELL, *_SIZES, _steps(), _output("cell.svg", "file to write, .svg .png .pdf .dot .tex .json"),
           ("--heat", dict(action="store_true", help="gradients as heat")),
           ("--folded", dict(action="store_true", help="one step with its loops")),
           ("--cells", dict(action="store_true", help="inputs, states and losses only, as in textbooks")),
           ("--step", dict(type=int, help="one step alone")),
           ("--style", dict(choices=("colour", "print"), default="colour", help="print: without colours (default colour)")),
           ("--frames", dict(metavar="FOLDER", help="also one numbered SVG for each op of the backward pass"))),
    explore: (_CELL, *_SIZES, _steps(), _output("explore.html")),
    check: (("cell", dict(nargs="?", help="path.py:Name or module:Name, for example minigrad:LSTMCell; or my_notes.py")), *_SIZES, _steps(),
            ("--order", dict(type=int, choices=(1, 2), default=1, help="order of the derivatives (default 1)")),
            ("--new", dict(action="store_true", help="write a commented template of notes"))),
    compile: (_CELL, *_SIZES, _steps(), _ROWS, _output(None)),
    derive: (_CELL, *_SIZES),
    report: (_CELL, *_SIZES, _steps(20), _ROWS, _output("report.html")),
    lower: (_CELL, *_SIZES, _steps(7), _output("port-kit", "folder to write into"),
            ("--to", dict(choices=("torch", "jax", "onnx"), default="torch", help="the engine (default torch)"))),
    exercise: (("--seed", dict(type=int, default=0, help="which exercise (default 0)")),
               ("--solution", dict(metavar="FILE", help="write the solution there"))),
    doctor: (),
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m minigrad", description=__doc__.partition("\n\n")[0].replace("``", ""),
                                     epilog="exit status: 0 agrees or done, 1 differs, 2 unusable input")
    commands = parser.add_subparsers(dest="command", metavar="command")
    for run, its in COMMANDS.items():
        command = commands.add_parser(run.__name__, help=run.__doc__)
        command.set_defaults(run=run)
        for names, more in its:
            command.add_argument(*((names,) if isinstance(names, str) else names), **more)
        if run is derive:
            from minigrad.derivation import command as writer
            writer.add_arguments(command)
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 2
    try:
        return options.run(options)
    except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
        print(f"python -m minigrad {options.command}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
