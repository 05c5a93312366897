"""``python -m minigrad derive path.py:Name``: the derivation of a cell, printed or written into a file.

The command line itself stands in ``minigrad/__main__.py``; it hands over a cell and the options that ``add_arguments`` declares.
"""
from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from ..files import write
from .derive import HEADS, derive


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What ``derive`` can be asked, on an argparse parser."""
    form = command.add_mutually_exclusive_group()
    form.add_argument("--latex", action="store_true", help="LaTeX, amsmath's align; with -o file.tex a whole document")
    form.add_argument("--numpy", action="store_true", help="a NumPy function that runs alone")
    command.add_argument("--head", choices=list(HEADS), help="the loss of each step: softmax cross-entropy, sigmoid with binary "
                         "cross-entropy, linear with squared error (default: gradients of the outputs are given)")
    command.add_argument("--convention", choices=("row", "column"), help="row (x W) or column (W x) vectors "
                         "(default: as the cell is written)")
    command.add_argument("-o", "--output", help="file to write; .tex and .py decide the form; default: print")


def run(options: argparse.Namespace, cell: Any) -> int:
    """derive a cell's equations and its back-propagation through time"""
    derivation = derive(cell, head=options.head, convention=options.convention)
    ending = os.path.splitext(options.output or "")[1]
    if options.numpy or ending == ".py":
        text = derivation.numpy
    elif options.latex or ending == ".tex":
        text = derivation.document if options.output else derivation.latex
    else:
        text = derivation.text
    if not options.output:
        sys.stdout.write(text.rstrip("\n") + "\n")
        return 0
    write(options.output, text.rstrip("\n") + "\n")
    print(f"derived: {options.output}")
    return 0
