"""How fast is a picture? An Elman network with a loss in every step, all of its steps drawn, from the graph to SVG.

    python tests/benchmarks/picture.py [--large]            (--large: also 100,000 nodes; about 2 GB)

Time is CPU time, one thread. `per node` stays the same where drawing is linear; `first call` is that of a fresh process on a small
graph, its imports included; `dot` is graphviz's program, given the same positions.
"""
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time

from measure import versions

import numpy as np

import minigrad as mg

FIRST = """
import time, numpy, minigrad as mg
x = mg.parameter([1.0, 2.0], name="x")
y = (x * x).sum()
start = time.process_time()
mg.draw(y).svg()
print(time.process_time() - start)
"""


def network(T):
    """The summed loss; ten nodes a step."""
    rng = np.random.default_rng(0)
    W_x, W_h, W_y = (mg.parameter(0.5 * rng.standard_normal(s), name=n) for n, s in (("W_x", (3, 4)), ("W_h", (4, 4)), ("W_y", (4, 3))))
    b, h, loss = mg.parameter(np.zeros(4), name="b"), mg.Tensor(np.zeros((1, 4))), 0.0
    for x in mg.steps(rng.standard_normal((T, 1, 3))):
        h = np.tanh(x @ W_x + h @ W_h + b)
        o = h @ W_y
        loss = loss + mg.softmax_cross_entropy(o, np.array([1]))
    return loss


def seconds(loss, T, folded=False, repeat=3):
    """(least CPU seconds of some from the recorded loss to SVG text, nodes, the drawing)."""
    best = float("inf")
    for _ in range(repeat):
        start = time.process_time()
        drawing = mg.draw(loss, steps=12 if folded else T)
        drawing.svg()
        best = min(best, time.process_time() - start)
    return best, len(mg.graph.Graph.of(loss, names=False).nodes), drawing


def rendering(drawing):
    """CPU seconds of graphviz's dot for the same positions."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "picture.dot")
        drawing.save(source)
        subprocess.run(["dot", "-Kneato", "-n2", "-Tsvg", source, "-o", os.path.join(folder, "picture.svg")], check=True,
                       stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def first_call():
    """CPU seconds of the first picture of a fresh process, the least of three (the first of them may compile)."""
    return min(float(subprocess.run([sys.executable, "-c", FIRST], check=True, capture_output=True, text=True).stdout) for _ in range(3))


def main(arguments):
    print(versions())
    print(f"{'steps':>7} {'nodes':>8} {'to SVG':>9} {'per node':>9} {'12 of them':>11}")
    for T in (110, 1100, *((10_000,) if "--large" in arguments else (2200, 4400))):
        loss = network(T)
        least, nodes, drawing = seconds(loss, T, repeat=3 if T < 5000 else 1)
        few = seconds(loss, T, folded=True, repeat=1)[0]
        print(f"{T:7,} {nodes:8,} {least:7.2f} s {1e6 * least / nodes:6.1f} µs {few:9.2f} s")
        if T == 1100 and shutil.which("dot"):
            render = rendering(drawing)
            print(f"{'':16} {render:7.2f} s by dot, {render / least:.2f} times ours")
        del loss, drawing
    print(f"first call on a small graph: {1e3 * first_call():.0f} ms")


if __name__ == "__main__":
    main(sys.argv[1:])
