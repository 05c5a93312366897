"""Run the five derivations one after the other: `python -m models.derivations --help`.

What a single one can do beyond this (a label, a loss, a data set) is an argument of its own command.
"""

import sys
from typing import Sequence
from . import binary_classifier, complete_bptt, explicit_implicit, hidden_layer, matrix_recursion
from ._report import parser

SOURCES = (hidden_layer, binary_classifier, complete_bptt, matrix_recursion, explicit_implicit)


def main(argv: Sequence[str] | None = None) -> int:
    """Run all five; the exit status is 0 if every corrected gradient agrees with the engine, else 1."""
    options = parser(__doc__, "python -m models.derivations").parse_args(argv)
    common = ["--pictures", options.pictures, "--seed", str(options.seed)]
    statuses = [source.main(common) for source in SOURCES]
    agree = statuses.count(0)
    print(f"\n{agree} of {len(SOURCES)} derivations, corrected, agree with the engine.")
    return max(statuses)


if __name__ == "__main__":
    sys.exit(main())
