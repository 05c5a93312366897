"""Memory against the length of a sequence: peak and time of one training step, stored, recomputed, and cut into chunks.

    python -m tests.benchmarks.memory              the table, a few minutes
    python -m tests.benchmarks.memory --quick      up to T = 10,000
    python -m tests.benchmarks.memory --scan       only the compiled scan, with the error inside the cell

An Elman cell, H = 64, B = 16, eight inputs, float32, and a squared error of ``ys @ W_y`` at every step. A peak is that of a process of its own
that takes one step (``ru_maxrss``), in all and less what was there before the step. Times are CPU time per step, forward and backward:
the ways take turns in one process, medians of seven rounds; ``ratio`` is to storing everything, where that fits.

Of the scan, what its states and their local derivatives need (1 - h²) stands beside it, 2 · T · B · H numbers.

Below: truncated BPTT over a text of 465,000 characters in chunks of 100 steps, and over half and twice as many. What the loop takes
must not grow with the text (the text itself stands in the first column only).
"""
from tests.benchmarks.measure import interleaved, versions          # first: it sets the threads

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import minigrad as mg

B, D, H = 16, 8, 64
LENGTHS = (1_000, 3_000, 10_000, 30_000, 100_000)
STORED_UP_TO = 30_000           # beyond, storing takes gigabytes
WAYS = {"stored": None, "√T": "sqrt", "every 30": 30}


def megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024          # Linux counts in KiB


def resident():
    """What is there now: Linux has it in pages."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2 ** 20


def training(T):
    """One training step, as a function of checkpoint_every."""
    rng = np.random.default_rng(0)
    cell = mg.RNNCell(D, H, rng=rng, dtype=np.float32)
    W_y = mg.parameter(rng.uniform(-0.1, 0.1, (H, 1)).astype(np.float32))
    xs, targets = (rng.standard_normal((T, B, n), dtype=np.float32) for n in (D, 1))

    def step(every):
        ys, _ = mg.unroll(cell, xs, checkpoint_every=every)
        mg.squared_error(ys @ W_y, targets).backward()
    return step


def peak(T, every):
    """(peak in all, peak of the step), MB."""
    step, before = training(T), megabytes()
    step(every)
    return megabytes(), megabytes() - before


def scanned(T):
    """One training step of the compiled scan, the squared error of every step inside the cell."""
    rng = np.random.default_rng(0)
    W_x, W_h, W_y = (mg.parameter(rng.uniform(-0.1, 0.1, shape).astype(np.float32)) for shape in ((D, H), (H, H), (H, 1)))
    xs, targets = (mg.Tensor(rng.standard_normal((T, B, n), dtype=np.float32)) for n in (D, 1))
    start = mg.Tensor(np.zeros((B, H), np.float32))

    def cell(x, h):
        h = np.tanh(x[0] @ W_x + h @ W_h)
        return mg.squared_error(h @ W_y, x[1]), h

    def step(every):
        mg.scan(cell, (xs, targets), start, checkpoint_every=every)[0].sum().backward()
    return step


def scan_peak(T, every):
    """(peak in all, less what was there before, seconds of a step): of four steps, the first of which compiles and is not timed."""
    step, before = scanned(T), resident()
    step(every)
    start = time.process_time()
    for _ in range(3):
        step(every)
    return megabytes(), megabytes() - before, (time.process_time() - start) / 3


def scans(lengths):
    print(f"\nmg.scan\n{'T':>8s}  {'':10s}{'peak, MB':>10s}{'of the step':>13s}{'of the need':>13s}{'µs per step':>13s}")
    for T in lengths:
        for name in ("stored", "√T"):
            most, above, seconds = alone("scan_peak", T, WAYS[name])
            need = 2 * T * B * H * 4 / 2 ** 20
            print(f"{T:8,d}  {name:10s}{most:10,.0f}{above:13,.0f}{above / need:13.2f}{seconds / T * 1e6:13.1f}", flush=True)


def times(T, ways):
    """{way: seconds of a step}, taking turns."""
    step = training(T)
    return interleaved({name: lambda every=WAYS[name]: step(every) for name in ways}, rounds=7 if T <= 10_000 else 3, seconds=0)


def read(characters, steps=100, rows=16):
    """Truncated BPTT over a text: the state goes on from chunk to chunk, its history does not."""
    vocabulary = 100
    text = np.random.default_rng(0).integers(0, vocabulary, characters).reshape(rows, -1).T        # (T, rows)
    cell, W_y = mg.GRUCell(32, H, dtype=np.float32), mg.parameter(np.zeros((H, vocabulary), np.float32))
    E = mg.parameter(np.random.default_rng(1).standard_normal((vocabulary, 32), dtype=np.float32))
    before, start, state = megabytes(), time.process_time(), cell.initial_state(rows)
    for t in range(0, len(text) - 1, steps):
        chunk = text[t:t + steps + 1]
        ys, state = mg.unroll(cell, E[chunk[:-1]], mg.detach(state))
        mg.softmax_cross_entropy(ys @ W_y, chunk[1:]).backward()
        for p in (*cell.parameters().values(), E, W_y):
            p.data, p.grad = p.data - 0.1 * p.grad, None
    return megabytes(), megabytes() - before, time.process_time() - start


def alone(function, *arguments):
    """The function's result, from a process of its own."""
    program = f"import json; from tests.benchmarks.memory import {function} as f; print(json.dumps(f(*{arguments!r})))"
    return json.loads(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="up to T = 10,000")
    parser.add_argument("--scan", action="store_true", help="only the compiled scan")
    given = parser.parse_args()
    lengths = [T for T in LENGTHS if T <= 10_000] if given.quick else LENGTHS
    print(versions())
    scans(lengths)
    if given.scan:
        return
    print(f"\nElman, B = {B}, D = {D}, H = {H}, float32; the outputs alone are {B * H * 4 / 1024:.0f} KB per step\n")
    print(f"{'T':>8s}  {'':10s}{'peak, MB':>10s}{'of the step':>13s}{'µs per step':>13s}{'ratio':>8s}")
    for T in lengths:
        ways = [name for name in WAYS if name != "stored" or T <= STORED_UP_TO]
        seconds = alone("times", T, ways)
        for name in ways:
            ratio = f"{seconds[name] / seconds['stored']:8.2f}" if "stored" in seconds else f"{'–':>8s}"
            print("{:8,d}  {:10s}{:10,.0f}{:13,.0f}".format(T, name, *alone("peak", T, WAYS[name])), end="")
            print(f"{seconds[name] / T * 1e6:13.1f}{ratio}", flush=True)
    print(f"\nTruncated BPTT, GRU, chunks of 100 steps, 16 rows\n{'characters':>12s}{'peak, MB':>10s}{'of the loop':>13s}{'seconds':>9s}")
    for characters in (232_496, 464_992, 929_984):
        print("{:12,d}{:10,.0f}{:13,.1f}{:9.1f}".format(characters, *alone("read", characters)), flush=True)


if __name__ == "__main__":
    main()
