"""Mutation testing: of small changes to the code, how many does a test notice?

    python -m tests.mutation --seed 0 --mutants 400

A mutant runs in a temporary copy, against the tests that cover its lines (found by one run of the suite under coverage).
"""
import argparse
import collections
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from . import mutants, trial

HOUSE = Path(__file__).parent.parent.parent
ROOMS = "minigrad/ops", "minigrad/protocol", "minigrad/autodiff.py", "minigrad/recurrent", "minigrad/check"


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__.partition("\n")[0])
    parser.add_argument("--mutants", type=int, default=400, help="how many (default 400)")
    parser.add_argument("--seed", type=int, default=0, help="which ones (default 0)")
    parser.add_argument("--rooms", nargs="+", default=ROOMS, help=f"files or folders (default {' '.join(ROOMS)})")
    parser.add_argument("--limit", type=float, default=60, help="seconds of tests for one mutant; after that it has survived (default 60)")
    parser.add_argument("--only", type=int, nargs="+", help="the numbers of these mutants alone")
    parser.add_argument("--baseline", help="file that keeps which test covers what; made if it is not there")
    parser.add_argument("--output", help="file that gets one line for each mutant")
    options = parser.parse_args(arguments)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")      # before NumPy: a child of a process with threads may hang
    import numpy  # noqa: F401
    import pytest  # noqa: F401
    with tempfile.TemporaryDirectory() as root:
        root = str(Path(root).resolve())
        shutil.copytree(HOUSE, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns(
            ".*", "__pycache__", "build", "dist", "*.egg-info", "minigrad-*", "mutation", "supply"))
        kept = Path(options.baseline or Path(root, "baseline.json")).resolve()
        if not kept.exists():
            print("one run of the suite, to see which test covers what", flush=True)
            if trial.baseline(root, kept):
                print("that run failed", file=sys.stderr)
                return 2
        if trial.warm(root):
            print("the tests cannot be collected", file=sys.stderr)
            return 2
        known = json.loads(kept.read_text())
        chosen, among = mutants.sample(root, options.rooms, options.mutants, options.seed)
        print(f"{len(chosen)} mutants of {among}, {len(known['seconds'])} tests", flush=True)
        score = report(root, chosen, known, options)
    return 0 if score >= .9 else 1


def report(root, chosen, known, options):
    """Tries every mutant, prints the survivors as they come and the score at the end."""
    outcomes = collections.Counter()
    by_room = collections.defaultdict(collections.Counter)
    log = open(options.output, "a", buffering=1) if options.output else None
    for k, mutant in enumerate(chosen):
        if options.only and k not in options.only:
            continue
        outcome, run, covered_by, seconds = trial.trial(root, mutant, known, options.limit)
        outcomes[outcome] += 1
        room = mutant.path.split("/")[1]
        by_room[room][outcome == trial.SURVIVED] += 1
        what = mutant.describe(Path(root, mutant.path).read_bytes())
        line = f"{k:3}  {outcome}, {run} of {covered_by} tests, {seconds:.0f} s  {what}"
        if log:
            print(line, file=log)
        if outcome == trial.SURVIVED:
            print(line, flush=True)
    total = outcomes.total()
    score = 1 - outcomes[trial.SURVIVED] / max(total, 1)
    for room, count in sorted(by_room.items()):
        print(f"{room:12} {count[False]} of {count.total()} killed")
    killed = total - outcomes[trial.SURVIVED]
    print(f"score {score:.1%}: {killed} of {total} mutants killed, {outcomes[trial.SLOW]} of them by taking too long")
    return score


if __name__ == "__main__":
    sys.exit(main())
