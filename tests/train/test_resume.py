"""A run that was stopped, by SIGKILL even, ends bit for bit like one that was not; and what is no checkpoint is refused."""
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad.train import SGD, Adagrad, Adam, AdamW, Minibatches, RMSprop, fit

HOUSE = Path(__file__).parents[2]


def weight():
    return mg.parameter([0.5, -0.5], name="w")


def train(w, batches=((),), rule=SGD, loss=None, **options):
    return fit(loss or (lambda *batch: (w * w).sum()), [w], batches, optimizer=rule([w], 0.1), progress=False, **options)


# ---- killed ---------------------------------------------------------------------------------------------------------

@pytest.mark.skipif(not hasattr(os, "fork"), reason="killed.py forks its runs, which this system does not do")
def test_killed_at_six_lines_of_code_and_resumed_bit_for_bit():
    """By time, and oftener: python -m tests.train.killed --kills 100"""
    done = subprocess.run([sys.executable, "-m", "tests.train.killed", "--lines", "--kills", "6"], cwd=HOUSE, text=True,
                          env={**os.environ, "OPENBLAS_NUM_THREADS": "1"}, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed 6 times" in done.stdout and "bit for bit" in done.stdout


# ---- random generators ----------------------------------------------------------------------------------------------

class Noisy(mg.Module):
    """Holds a generator, as dropout does."""

    def __init__(self, rng):
        self.w, self.rng = weight(), rng

    def loss(self, *rows):
        return ((self.w - self.rng.standard_normal(2) - np.sum(rows)) ** 2).sum()


GENERATORS = {"PCG64": np.random.PCG64, "PCG64DXSM": np.random.PCG64DXSM, "MT19937": np.random.MT19937,
              "Philox": np.random.Philox, "SFC64": np.random.SFC64}


def lazily(rng, n):
    """A generator that draws as it goes."""
    for _ in range(n):
        yield rng.standard_normal(2)


class Lazily:
    """Batches that draw as they go, in every round."""

    def __init__(self, rng):
        self.rng = rng

    def __iter__(self):
        return lazily(self.rng, 3)


@pytest.mark.parametrize("source, kind", [*(("minibatches", kind) for kind in GENERATORS), ("a shared generator", "PCG64"),
                                          ("lazily", "PCG64"), ("a generator function", "PCG64"), ("a list", "PCG64")])
def test_every_generator_goes_on_where_it_stood(tmp_path, source, kind):
    def run(path, *steps):
        for n in steps:
            rng = np.random.Generator(GENERATORS[kind](1))
            model = Noisy(rng)
            other = rng if source == "a shared generator" else np.random.Generator(GENERATORS[kind](2))
            batches = {"lazily": Lazily(other), "a generator function": lazily(other, 11),
                       "a list": [np.ones(2), np.zeros(2)]}.get(source, Minibatches(5, 2, rng=other))
            fit(model.loss, model, batches, optimizer=SGD(model, 0.1), steps=n, checkpoint=path, every=2, progress=False)
        return model.w.data, rng.random(), other.random()
    whole = run(tmp_path / "whole.npz", 11)
    for stop in (1, 3, 5):
        parts = run(tmp_path / f"parts{stop}.npz", stop, 11)
        assert np.array_equal(whole[0], parts[0]) and whole[1:] == parts[1:]


def test_a_generator_function_is_taken_up_from_where_its_generator_stood_at_first(tmp_path):
    def run(path, *steps):
        rng, w = np.random.default_rng(2), weight()
        for n in steps:                                             # one process: rng has gone on when the second part begins
            train(w, batches=lazily(rng, 9), loss=lambda x: ((w - x) ** 2).sum(), steps=n, checkpoint=path)
        return w.data
    assert np.array_equal(run(tmp_path / "whole.npz", 9), run(tmp_path / "parts.npz", 4, 9))


def test_generators_that_nobody_holds_are_named(tmp_path):
    class Hidden:
        __slots__ = ("rng",)

    def run(path, *steps, **options):
        for n in steps:
            w, hidden = weight(), Hidden()
            hidden.rng = np.random.default_rng(5)
            train(w, loss=lambda: ((w - hidden.rng.random(2)) ** 2).sum(), steps=n, checkpoint=path,
                  **{k: [hidden.rng] for k in options})
        return w.data
    whole, named = run(tmp_path / "a.npz", 7), run(tmp_path / "b.npz", 3, 7, generators=True)
    assert np.array_equal(whole, named)
    assert not np.array_equal(whole, run(tmp_path / "c.npz", 3, 7))


# ---- the log --------------------------------------------------------------------------------------------------------

def test_the_log_of_a_resumed_run_reads_as_one_run(tmp_path):
    def stop(record):
        if record["step"] == 5:
            raise KeyboardInterrupt
    files = {"log": tmp_path / "log.jsonl", "checkpoint": tmp_path / "run.npz", "every": 2}
    with pytest.raises(KeyboardInterrupt):
        train(weight(), steps=8, watch=stop, **files)
    with open(files["log"], "a") as file:
        file.write('{"step": 5, "lo')                               # killed in the middle of a line
    train(weight(), steps=8, **files)
    records = mg.train.read_log(files["log"])
    assert [r["step"] for r in records] == list(range(1, 9))
    seconds = [r["seconds"] for r in records]
    assert seconds == sorted(seconds)                               # the clock goes on too
    train(weight(), steps=3, resume=False, **files)
    assert len(mg.train.read_log(files["log"])) == 3


def test_a_log_that_is_none_is_refused(tmp_path):
    path = tmp_path / "log.jsonl"
    for text in ("nonsense\n", "[1]\n", '{"loss": 1}\n', "\xff\n"):
        path.write_bytes(b'{"step": 1}\n' + text.encode("latin-1"))
        with pytest.raises(ValueError, match="line 2 of .*log.jsonl' is no record of a run"):
            mg.train.read_log(path)
    with pytest.raises(FileNotFoundError, match="there is no log"):
        mg.train.read_log(tmp_path / "other.jsonl")


def test_what_json_cannot_hold_is_named(tmp_path):
    train(weight(), steps=1, log=tmp_path / "a.jsonl", watch=lambda record: record.update(a=np.float32(0.5), b=np.arange(2)))
    assert json.loads((tmp_path / "a.jsonl").read_text())["b"] == [0, 1]
    with pytest.raises(TypeError, match="the log cannot hold a object"):
        train(weight(), steps=1, log=tmp_path / "a.jsonl", watch=lambda record: record.update(a=object()))


# ---- files that are no checkpoint of this run ------------------------------------------------------------------------

@pytest.fixture
def kept(tmp_path):
    """A checkpoint of three steps of SGD."""
    train(weight(), steps=3, checkpoint=tmp_path / "a.npz")
    return tmp_path / "a.npz"


def refused(path, words, rule=SGD, w=None, **options):
    w = weight() if w is None else w
    before = w.data.copy()
    with pytest.raises(ValueError, match=words) as raised:
        train(w, rule=rule, steps=5, checkpoint=path, **options)
    assert "resume=False" in str(raised.value) and np.array_equal(w.data, before)       # all or nothing


@pytest.mark.parametrize("damage", [lambda b: b[:len(b) // 2], lambda b: b[:-1], lambda b: b"", lambda b: b"garbage" * 99,
                                    lambda b: b[:300] + bytes(50) + b[350:]])
def test_a_damaged_checkpoint_gives_one_clear_message(kept, damage):
    kept.write_bytes(damage(kept.read_bytes()))
    refused(kept, "checkpoint '.*a.npz' cannot be read, so the run cannot go on from it")
    train(weight(), steps=3, checkpoint=kept, resume=False)
    assert train(weight(), steps=3, checkpoint=kept) == []


def test_a_checkpoint_of_another_run_is_refused(kept):
    refused(kept, r"of another run: it holds parameters \{'w': 'float64 \(2,\)'\}, expected \{'v'", w=mg.parameter([1., 2.], name="v"))
    refused(kept, r"expected \{'w': 'float64 \(3,\)'\}", w=mg.parameter(np.ones(3), name="w"))
    refused(kept, "float32", w=mg.parameter(np.ones(2, np.float32), name="w"))
    refused(kept, r"state arrays of shapes \[\], expected \[\(1,\)\]", state=mg.Tensor([0.]))
    refused(kept, r"random generators \[\], expected \['PCG64'\]", generators=[np.random.default_rng(0)])
    refused(kept, "its optimizer is SGD, not Adam", rule=Adam)
    mg.save(kept, {"w": np.ones(2)})
    refused(kept, "it holds no place in a run, as fit writes it")


@pytest.mark.parametrize("one, other", [(Adam, AdamW), (RMSprop, Adagrad)])
def test_rules_that_remember_alike_are_told_apart(tmp_path, one, other):
    train(weight(), rule=one, steps=1, checkpoint=tmp_path / "a.npz")
    refused(tmp_path / "a.npz", f"its optimizer is {one.__name__}, not {other.__name__}", rule=other)


def test_batches_that_became_fewer_are_noticed(tmp_path):
    train(weight(), batches=[(), (), ()], checkpoint=tmp_path / "a.npz")
    with pytest.raises(ValueError, match="after batch 3 of a round, but there are 2 batches"):
        train(weight(), batches=[(), ()], checkpoint=tmp_path / "a.npz", steps=9)


def test_unfinished_files_of_a_killed_run_are_removed(tmp_path):
    (tmp_path / "a.npz.123.part").write_bytes(b"half")
    (tmp_path / "b.npz.123.part").write_bytes(b"another's")
    train(weight(), steps=1, checkpoint=tmp_path / "a.npz")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz", "b.npz.123.part"]


def test_safetensors_hold_a_run_too(tmp_path):
    pytest.importorskip("safetensors", reason="safetensors (extra 'weights') is not installed")

    def run(path, *steps):
        for n in steps:
            w = weight()
            rng = np.random.default_rng(1)
            train(w, steps=n, rule=Adam, checkpoint=path, loss=lambda: ((w - rng.random(2)) ** 2).sum(), every=2,
                  validate=lambda: (w.data ** 2).sum(), patience=9)
        return w.data
    assert np.array_equal(run(tmp_path / "a.safetensors", 8), run(tmp_path / "b.safetensors", 4, 8))
