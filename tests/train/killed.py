"""A training run is killed with SIGKILL again and again, and each time taken up by a new process.

    python -m tests.train.killed                    ten kills at random moments
    python -m tests.train.killed --kills 100        more of them
    python -m tests.train.killed --lines            at random lines of minigrad's own code, which is the same every time

In the end the weights, the log, and the random generators must be those of a run that was never stopped, bit for bit.
The run has all that a checkpoint must hold: shuffled batches of different lengths, dropout, a carried state, a schedule,
AdamW, clipping, validation and best weights. POSIX only: each run is forked from a process that has trained nothing.
"""
import argparse
import json
import math
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import minigrad as mg

STEPS = 40


class Model(mg.Module):
    """A GRU with dropout on its outputs."""

    def __init__(self, rng):
        self.cell, self.rng = mg.GRUCell(2, 6, rng=rng), rng
        self.W_y = mg.parameter(rng.standard_normal((6, 1)), name="W_y")

    def __call__(self, xs, state, lengths, dropout=True):
        hs, state = mg.unroll(self.cell, xs, state, lengths=lengths)
        if dropout:
            hs = hs * (self.rng.random(hs.shape) < 0.8)
        return hs @ self.W_y, state


def job(folder):
    """Train in ``folder``, going on from what lies there. Returns the final weights."""
    model, data = Model(np.random.default_rng(1)), np.random.default_rng(2)
    sequences = [data.standard_normal((n, 2)) for n in data.integers(2, 6, 14)]
    held_out, _, _ = mg.train.pad_sequences(sequences[12:])
    lengths = [len(s) for s in sequences[:12]]

    def loss(rows, state):
        xs, n, mask = mg.train.pad_sequences([sequences[i] for i in rows])
        ys, state = model(xs, state, n)
        return ((ys[..., 0] - xs.sum(axis=-1)) ** 2 * mask).sum() / mask.sum(), state

    def validate():
        return ((model(held_out, None, None, dropout=False)[0][..., 0] - held_out.sum(axis=-1)) ** 2).mean()
    mg.train.fit(loss, model, mg.train.Minibatches(12, 4, rng=np.random.default_rng(3), lengths=lengths),
                 optimizer=mg.train.AdamW(model, 0.1), steps=STEPS, schedule=mg.train.cosine(STEPS, warmup=3), clip=1.0,
                 state=model.cell.initial_state(4), validate=validate, patience=math.inf, every=4, progress=False,
                 log=folder / "log.jsonl", checkpoint=folder / "run.npz")
    return model.state_dict()


def forked(action):
    """Run ``action()`` in a process of its own. Returns its id."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            action()
            os._exit(0)
        finally:
            os._exit(1)
    return child


def whole(folder):
    np.savez(folder / "weights.npz", **job(folder))


def ended(child):
    """How a process ended: 0, or -9 for one that was killed."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def count_lines(action, stop=None):
    """Run ``action()`` and count the lines of minigrad.train and of save and load that are run; at line ``stop``, SIGKILL."""
    house = os.path.dirname(mg.__file__)
    places = os.path.join(house, "train"), os.path.join(house, "module.py")
    count = 0

    def line(frame, event, argument):
        nonlocal count
        count += event == "line"
        if count == stop:
            os.kill(os.getpid(), signal.SIGKILL)
        return line
    sys.settrace(lambda frame, *_: line if frame.f_code.co_filename.startswith(places) else None)
    try:
        action()
    finally:
        sys.settrace(None)
    return count


def step_reached(folder):
    return run_facts(folder)["step"] if (folder / "run.npz").exists() else 0


def run_facts(folder):
    return json.loads(mg.load(folder / "run.npz")["run"].tobytes())


def outcome(folder):
    """Everything about a finished run that must not depend on how often it was killed: all but the seconds."""
    facts = run_facts(folder)
    facts.pop("seconds")
    records = mg.train.read_log(folder / "log.jsonl")
    for record in records:
        record.pop("seconds")
    arrays = {**mg.load(folder / "weights.npz"), **{k: v for k, v in mg.load(folder / "run.npz").items() if k != "run"}}
    return {"arrays": {k: v.tobytes() for k, v in arrays.items()}, "facts": facts, "log": records,
            "files": sorted(path.name for path in folder.iterdir())}


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m tests.train.killed", description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lines", action="store_true", help="kill at random lines of code, not at random times")
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as root:
        never, often = Path(root) / "never", Path(root) / "often"
        never.mkdir()
        often.mkdir()
        begin = time.perf_counter()
        assert ended(forked(lambda: whole(never))) == 0
        duration = time.perf_counter() - begin
        if options.lines:
            counted = Path(root) / "lines"
            counted.mkdir()
            assert ended(forked(lambda: (counted / "n").write_text(str(count_lines(lambda: whole(counted)))))) == 0
            lines = int((counted / "n").read_text())
        kills = []
        while len(kills) < options.kills:
            part = rng.uniform(0, 0.4)
            if options.lines:
                child = forked(lambda: count_lines(lambda: whole(often), stop=1 + int(part * lines)))
            else:
                child = forked(lambda: whole(often))
                time.sleep(part * duration)
                os.kill(child, signal.SIGKILL)
            status = ended(child)
            if status == 0:                                 # it came to its end before it could be killed: once more
                assert outcome(often) == outcome(never), "a run that was killed ended otherwise"
                for path in often.iterdir():
                    path.unlink()
                continue
            assert status == -signal.SIGKILL, f"the run ended with {status}"
            kills.append(step_reached(often))
        assert ended(forked(lambda: whole(often))) == 0
        same = outcome(often) == outcome(never)
        print(f"killed {len(kills)} times, with checkpoints of the steps {kills} of {STEPS}; then run to the end: "
              f"weights, log and generators {'are bit for bit' if same else 'DIFFER from'} those of a run never stopped")
        return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
