"""How the benchmarks measure: one thread, everything interleaved, medians. Import this before NumPy.

    times = interleaved({"ours": step, "theirs": other_step})       # seconds per call, median over the rounds

Opponents take turns within every round, so a machine that gets busy slows all of them alike; the median drops the
rounds in which it was busy for one alone. The clock counts the process's CPU time, which on a quiet machine is the time
that passes, everything being one thread, and leaves out what other programs take on a busy one.
"""
import gc
import os
import platform
import statistics
import time

for library in ("OPENBLAS", "OMP", "MKL", "VECLIB_MAXIMUM", "NUMEXPR"):
    os.environ[f"{library}_NUM_THREADS"] = "1"               # read once, when the library is loaded: hence before NumPy

import numpy as np  # noqa: E402


def torch_or_none():
    """torch with one thread, or None where it is not installed (the extra ``peers`` installs it)."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)
    return torch


def versions():
    """One line: what the numbers were measured on."""
    return f"{platform.machine()}, one thread · Python {platform.python_version()} · NumPy {np.__version__}"


def interleaved(functions, *, rounds=9, seconds=0.25):
    """Median seconds per call of each function of the dict ``functions``; each runs ``seconds`` long in each round."""
    times = {name: [] for name in functions}
    for function in functions.values():
        function()                                           # the first call pays for caches
    gc.collect()
    gc.freeze()      # the collector stays on, but does not walk what the peers' imports left (torch: 170,000 objects)
    for _ in range(rounds):
        for name, function in functions.items():
            calls, start = 0, time.process_time()
            while (elapsed := time.process_time() - start) < seconds or not calls:
                function()
                calls += 1
            times[name].append(elapsed / calls)
    return {name: statistics.median(values) for name, values in times.items()}


def difference(gradients, reference):
    """The largest relative difference max|a - b| / max|b| over two dicts of arrays with the same names."""
    return max(np.abs(np.asarray(gradients[name]) - expected).max() / np.abs(expected).max()
               for name, expected in reference.items())
