"""The command line: ``python -m minigrad draw path.py:Class`` draws a cell; ``python -m minigrad`` alone lists the commands.

Exit status: 0 agrees or done, 1 differs, 2 unusable input.
"""
import argparse
import importlib
import importlib.util
import inspect
import sys

import numpy as np

import minigrad as mg

from .files import write


def cell_from(where, input_size, hidden_size):
    """``path.py:Name`` or ``module:Name`` -> a cell: a class is called with the two sizes, a function or object taken as it is."""
    source, colon, name = where.rpartition(":")
    if not colon:
        raise ValueError(f"{where!r} names no cell; expected path.py:Name or module:Name, for example minigrad:GRUCell")
    if source.endswith(".py"):
        spec = importlib.util.spec_from_file_location("cell_file", source)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        sys.path.insert(0, "")
        module = importlib.import_module(source)
    if not hasattr(module, name):
        raise ValueError(f"{source} has no {name!r}; it has {', '.join(n for n in vars(module) if n[0] != '_')[:200]}")
    found = getattr(module, name)
    if not inspect.isclass(found):
        return found
    asked = inspect.signature(found).parameters.get("rng")
    return found(input_size, hidden_size, **({"rng": np.random.default_rng(0)} if asked and asked.default is asked.empty else {}))


def unrolled(cell, steps, batch, input_size, seed=0):
    """A scalar at the end of a few steps on random inputs."""
    xs = np.random.default_rng(seed).standard_normal((steps, batch, input_size))
    ys, _ = mg.unroll(cell, xs)
    loss = (ys[-1] * ys[-1]).sum()
    return loss


def draw(options):
    """draw a cell, unrolled over a few steps"""
    cell = cell_from(options.cell, options.input_size, options.hidden_size)
    loss = unrolled(cell, options.steps, 2, options.input_size)
    how = dict(heat=options.heat, folded=options.folded, cells=options.cells, step=options.step)
    drawing = mg.draw(loss, title=options.cell.rpartition(":")[2], style=options.style, **how)
    drawing.save(options.output)
    if options.frames:
        drawing.frames(options.frames)
    print(f"drawn: {options.output}")
    return 0


def explore(options):
    """write a cell, unrolled over a few steps, as a page to walk about in"""
    cell = cell_from(options.cell, options.input_size, options.hidden_size)
    loss = unrolled(cell, options.steps, 2, options.input_size)
    print(f"written: {mg.explore(loss, options.output, title=options.cell.rpartition(':')[2])}")
    return 0


def check(options):
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
    if not isinstance(cell, mg.Module):
        raise ValueError(f"{options.cell} is no Module, so it has no parameters to check; use mg.check.gradcheck(fn, inputs)")
    report = mg.check.gradcheck(lambda: unrolled(cell, options.steps, 3, options.input_size), cell, order=options.order)
    print(report)
    return 0 if report.ok else 1


def compile(options):
    """print the NumPy program that mg.scan runs for a cell"""
    cell = cell_from(options.cell, options.input_size, options.hidden_size)
    text = mg.scan.source(cell, np.random.default_rng(0).standard_normal((options.steps, options.batch_size, options.input_size)))
    if options.output:
        write(options.output, text)
        print(f"written: {options.output}")
    else:
        print(text, end="")
    return 0


def derive(options):
    """write a cell's equations and its back-propagation through time"""
    from minigrad.derivation import command
    return command.run(options, cell_from(options.cell, options.input_size, options.hidden_size))


def lower(options):
    """write a cell for PyTorch, JAX or ONNX, with golden numbers and a test that runs without minigrad"""
    cell = cell_from(options.cell, options.input_size, options.hidden_size)
    x = np.random.default_rng(0).standard_normal((3, options.input_size))
    for path in mg.lower.port_kit(cell, options.output, options.to, x, T=options.steps):
        print(f"written: {path}")
    return 0


def exercise(options):
    """print a derivation with one slip in it, to be found"""
    task = mg.check.exercise(options.seed)
    print(task.text)
    if options.solution:
        write(options.solution, task.solution + "\n")
        print(f"\nthe solution: {options.solution}")
    return 0


def report(options):
    """write one page about a cell: equations, picture, gradient check, Jacobian spectrum, parameters, speed"""
    from .report import DIFFERS, page
    cell = cell_from(options.cell, options.input_size, options.hidden_size)
    text = page(cell, input_size=options.input_size, steps=options.steps, batch_size=options.batch_size)
    write(options.output, text)
    print(f"written: {options.output}")
    return 1 if DIFFERS in text else 0


def doctor(options):
    """say what is installed, and what each thing that is missing would give"""
    from .doctor import examine, table
    print(table(examine()))
    return 0


def _steps(default=4):
    return "--steps", dict(type=int, default=default, help=f"time steps (default {default})")


def _output(default, what="file to write"):
    return ("-o", "--output"), dict(default=default, help=f"{what} (default: {default or 'print'})")


_CELL = "cell", dict(help="path.py:Name or module:Name, for example minigrad:LSTMCell")
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


def main(arguments=None):
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
