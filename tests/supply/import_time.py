"""How long ``import minigrad`` takes beside ``import numpy``: python -m tests.supply.import_time [turns]

Of a compiled copy, as an installer leaves it. Fresh processes in turns; the median of each, and of the differences within a turn.
"""
import compileall
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HOUSE = Path(__file__).parent.parent.parent


def processor_time(code, folder):
    """Milliseconds that a fresh interpreter spends on it, its own start included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1e3 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def wall_time(code, folder):
    """Milliseconds inside a fresh interpreter."""
    timed = f"from time import perf_counter as now; t = now(); {code}; print(1e3 * (now() - t))"
    return float(subprocess.run([sys.executable, "-c", timed], cwd=folder, capture_output=True, text=True, check=True).stdout)


def main(turns=21):
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(HOUSE / "minigrad", Path(folder, "minigrad"), ignore=shutil.ignore_patterns("__pycache__"))
        compileall.compile_dir(folder, quiet=1)
        for clock in processor_time, wall_time:
            measured = [(clock("import numpy", folder), clock("import minigrad", folder)) for _ in range(turns)]
            numpy, ours = (statistics.median(column) for column in zip(*measured))
            more = statistics.median(b - a for a, b in measured)
            print(f"{clock.__name__:14}  numpy {numpy:.0f} ms, minigrad {ours:.0f} ms: {more:+.0f} ms, {ours / numpy:.2f} x")


if __name__ == "__main__":
    print(__doc__) if {"-h", "--help"} & set(sys.argv) else main(*map(int, sys.argv[1:]))
