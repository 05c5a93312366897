"""The frame that all tasks share: data, a model around any cell, training, a measure, and a number to beat.

A task is a module of this folder that makes one Task, called TASK, and has a ``main()`` that returns ``TASK.main()``::

    TASK = Task("parity", "say at every step whether the ones so far are odd in number",
                inputs=1, outputs=2, data=data, read="every", loss=cross_entropy, measure=ACCURACY,
                references=(Reference("always even", 50.0, "a coin"),), cell="GRUCell", hidden=16, epochs=20)


    def main():
        return TASK.main()

``data()`` returns ``Data(train, test, steps)``:

    train(rng)  an iterable of one epoch's Batches, made or shuffled with the Generator it is given (the seed's own)
    test        a list of Batches, the same whatever the seed
    steps       how many Batches there are in an epoch (generated tasks choose; 100 is a good number)
    growing     True: ``train(rng, progress)``, where progress() is the share of the budget that is used up, so that
                training can begin with short sequences
    minibatches(xs, targets, lengths, size=…) makes such a ``train`` from arrays

A Batch is xs (T, B, D) floats, or (T, B) integers below ``inputs``, which the model reads one-hot; targets; and, where
needed, lengths (B,) and mask (T, B), 1 where an output counts. ``read`` says what the model answers with:

    "last"   the output after each row's last step            outputs (B, K), targets (B,) or (B, K)
    "mean"   the mean of the row's outputs over time          the same
    "every"  one output for each step                         outputs (T, B, K), targets (T, B) or (T, B, K)

``loss(outputs, batch) -> scalar Tensor``: cross_entropy (integer targets), binary_cross_entropy, squared_error, or your
own. ``measure``: ACCURACY, BITS, RMSE or your own Measure. ``references`` are numbers with their source; the first is
the one to meet, all are drawn as dashed lines. Another model than Network: ``network=``, a class with its signature.
``more(runs, out)`` may print and draw more at the end of the command; runs are pairs (records, result).

``TASK.train(cell, seed, budget, …) -> (records, result)`` is one run; a cell is a class or function
``(input_size, hidden_size, *, rng, dtype) -> cell``, the name of a cell of minigrad, ``path.py:Class`` or
``module:Class``. All arguments and both results can be pickled (a cell given by name needs no import elsewhere).
Records are dicts, one for each evaluation: epoch, step, seconds, loss (mean since the last record), test. ``tasks()``
finds all tasks, name -> Task.
"""
import argparse
import importlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np

import minigrad as mg

from . import figures
from .cell_by_name import Maker, called, find_cell, usable
from .data import Batch, Data, Unusable, extra, minibatches
from .measures import ACCURACY, BITS, RMSE, Measure, Reference, binary_cross_entropy, counted, cross_entropy, percent, squared_error

__all__ = ["ACCURACY", "BITS", "RMSE", "Batch", "Budget", "Data", "Measure", "Network", "Reference", "Result", "Task", "Trained",
           "Unusable", "binary_cross_entropy", "called", "counted", "cross_entropy", "extra", "find_cell", "minibatches", "percent",
           "squared_error", "tasks", "usable"]

EVALUATIONS = 10                        # points on the test curve


# ---- the model -----------------------------------------------------------------------------------------------------

class Network(mg.Module):
    """One cell and a linear head: y_t, state = cell(x_t, state),  o = y W_y + b_y.

    Called with a Batch it returns the outputs o: (B, K) with read="last" or "mean", (T, B, K) with "every".
    """

    def __init__(self, cell: Maker, inputs: int, outputs: int, hidden: int, *, read: str = "last", rng: np.random.Generator,
                 dtype: type = np.float32) -> None:
        self.read, self.inputs, self.dtype = read, inputs, dtype
        self.cell = cell(inputs, hidden, rng=rng, dtype=dtype)
        with mg.no_grad():                                          # a cell's output need not be as wide as its state
            width = mg.unroll(self.cell, np.zeros((1, 1, inputs), dtype))[0].shape[-1]
        bound = 1 / math.sqrt(width)
        self.W_y = mg.parameter(rng.uniform(-bound, bound, (width, outputs)).astype(dtype))
        self.b_y = mg.parameter(np.zeros(outputs, dtype))

    def __call__(self, batch: Batch) -> mg.Tensor:
        xs, (T, B) = batch.xs, batch.xs.shape[:2]
        xs = np.eye(self.inputs, dtype=self.dtype)[xs] if xs.dtype.kind in "iu" else xs.astype(self.dtype, copy=False)
        ys, _ = mg.scan(self.cell, xs, lengths=batch.lengths)       # the one place where tasks go through time
        if self.read == "every":
            return (ys.reshape(T * B, -1) @ self.W_y + self.b_y).reshape(T, B, -1)
        if self.read == "mean":
            steps = T if batch.lengths is None else batch.lengths[:, None].astype(self.dtype)
            return (ys.sum(axis=0) / steps) @ self.W_y + self.b_y   # the padding's outputs are 0
        last = ys[-1] if batch.lengths is None else ys[batch.lengths - 1, np.arange(B)]
        return last @ self.W_y + self.b_y


# ---- the task ------------------------------------------------------------------------------------------------------

class Budget(NamedTuple):
    """When a run ends: after so many epochs, or seconds of wall time, whichever is first. Epochs alone are repeatable
    to the last bit."""

    epochs: float | None = None
    seconds: float | None = None

    def progress(self, epochs: float, seconds: float) -> float:
        """The share that is used up."""
        return max(epochs / self.epochs if self.epochs else 0.0, seconds / self.seconds if self.seconds else 0.0)


class Record(TypedDict):
    """One evaluation of a run."""

    epoch: float
    step: int
    loss: float                                                     # the mean since the last record
    test: float
    seconds: float


@dataclass
class Result:
    """One run: the final measure on the test data (of the last weights, never the best on the way), and what it cost."""

    task: str
    cell: str
    hidden: int
    seed: int
    value: float
    seconds: float
    steps: int
    parameters: int
    model: Any = field(repr=False, default=None)                    # the trained Network; it does not travel

    def __getstate__(self) -> dict[str, Any]:                       # a class from path.py:Class cannot be pickled
        return {**vars(self), "model": None}


Trained = tuple[list[Record], Result]                                # one run


@dataclass
class Task:
    """See the module's first lines."""

    name: str
    about: str
    inputs: int
    outputs: int
    data: Callable[[], Data]
    loss: Callable[[mg.Tensor, Batch], mg.Tensor] = cross_entropy
    measure: Measure = ACCURACY
    references: tuple[Reference, ...] = ()
    read: str = "last"
    cell: str | Maker = "GRUCell"
    hidden: int = 32
    epochs: float = 20
    learning_rate: float = 5e-3
    weight_decay: float = 0.0
    clip: float | None = 1.0
    network: Callable[..., Network] = Network
    more: Callable[[list[Trained], str], None] | None = None

    @cached_property
    def loaded(self) -> Data:
        """The data, read once."""
        return self.data()

    def __getstate__(self) -> dict[str, Any]:                       # other processes read the data themselves
        return {key: value for key, value in vars(self).items() if key != "loaded"}

    def bar(self, cell: str = "") -> Reference | None:
        """The reference of the same kind of cell ("GRU" for a GRUCell), or else the first; None where there is none."""
        return next((r for r in self.references if r.name == cell.removesuffix("Cell")), next(iter(self.references), None))

    def met(self, value: float, cell: str = "") -> bool:
        """Is this at least as good as the bar? (True where there is none.)"""
        bar = self.bar(cell)
        if bar is None:
            return True
        return bool(value >= bar.value if self.measure.higher_is_better else value <= bar.value)

    def evaluate(self, model: Network) -> float:
        """The measure on the test data."""
        model.eval()                                                # dropout and its kin rest
        with mg.no_grad():
            value = self.measure.of([model(batch).data for batch in self.loaded.test], self.loaded.test)
        model.train()
        return value

    def made(self, make: Maker, hidden: int, rng: np.random.Generator) -> Network:
        """The network around the cell that ``make`` makes."""
        with usable(make, self.inputs, hidden):
            return self.network(make, self.inputs, self.outputs, hidden, read=self.read, rng=rng)

    def train(self, cell: str | Maker | None = None, seed: int = 0, budget: Budget | None = None, *,
              hidden: int | None = None, learning_rate: float | None = None, tell: Callable[[Record], None] | None = None) -> Trained:
        """One run from fresh weights: (records, Result). The learning rate falls along half a cosine to 0.

        cell     a class, a name, or None for the task's own; seed: of the weights and of the batches
        budget   Budget(epochs, seconds); None: the task's number of epochs
        tell     tell(record), called after each evaluation
        """
        cell, hidden = cell or self.cell, hidden or self.hidden
        budget, rate = budget or Budget(self.epochs), learning_rate or self.learning_rate
        make = find_cell(cell)
        weights, order = np.random.default_rng(seed).spawn(2)
        data, name = self.loaded, called(make)
        model = self.made(make, hidden, weights)
        optimizer = mg.train.AdamW(model, rate, weight_decay=self.weight_decay)
        records: list[Record] = []
        losses: list[float] = []
        begin, progress = time.perf_counter(), 0.0

        def batches() -> Iterator[Batch]:
            told = (lambda: progress,) if data.growing else ()
            while progress < 1:
                for batch in data.train(order, *told):
                    if progress >= 1:
                        return
                    yield batch

        def loss(*fields: Any) -> mg.Tensor:
            batch = Batch(*fields)
            return self.loss(model(batch), batch)

        def watch(step: dict[str, Any]) -> None:
            nonlocal progress
            epoch = step["step"] / data.steps
            progress = budget.progress(epoch, time.perf_counter() - begin)
            losses.append(step["loss"])
            if progress >= min((len(records) + 1) / EVALUATIONS, 1.0):
                test = self.evaluate(model)
                records.append({"epoch": round(epoch, 3), "step": step["step"], "loss": float(np.mean(losses)),
                                "test": test, "seconds": round(time.perf_counter() - begin, 3)})
                losses.clear()
                if tell:
                    tell(records[-1])

        mg.train.fit(loss, model, batches(), optimizer=optimizer, clip=self.clip, progress=False, watch=watch,
                     schedule=lambda step: (1 + math.cos(math.pi * min(progress, 1.0))) / 2)
        last = records[-1]
        size = sum(p.data.size for p in model.parameters().values())
        return records, Result(self.name, name, hidden, seed, last["test"], last["seconds"], last["step"], size, model)

    # ---- the command ------------------------------------------------------------------------------------------------

    def arguments(self, argv: Sequence[str] | None = None) -> argparse.Namespace:
        parser = argparse.ArgumentParser(prog=f"python -m models {self.name}", description=self.about)
        parser.add_argument("--cell", default=self.cell,
                            help=f"a cell of minigrad, path.py:Class or module:Class (default {self.cell})")
        parser.add_argument("--hidden", type=int, default=self.hidden, help=f"hidden units (default {self.hidden})")
        parser.add_argument("--seeds", type=int, default=3, metavar="N", help="runs, with seeds 0 … N−1 (default 3)")
        parser.add_argument("--epochs", type=float, help=f"how long each run trains (default {self.epochs:g})")
        parser.add_argument("--seconds", type=float, help="or how long by the clock, the epochs then being open")
        parser.add_argument("--learning-rate", type=float, default=self.learning_rate,
                            help=f"at the beginning; it falls to 0 (default {self.learning_rate:g})")
        parser.add_argument("--out", metavar="FOLDER", default=f"minigrad-output/{self.name}",
                            help=f"where the curve goes (default minigrad-output/{self.name})")
        options = parser.parse_args(argv)
        for name in ("hidden", "seeds", "epochs", "seconds", "learning_rate"):
            value = getattr(options, name)
            if value is not None and not 0 < value < math.inf:
                parser.error(f"--{name.replace('_', '-')} is {value}, and must be positive")
        return options

    def main(self, argv: Sequence[str] | None = None) -> int:
        """The command ``python -m models NAME``. 0: the reference is met, 1: it is not, 2: unusable."""
        options = self.arguments(argv)
        try:
            return self.run(options)
        except Unusable as error:
            print(f"python -m models {self.name}: {error}", file=sys.stderr)
            return 2
        except FloatingPointError as error:
            print(f"python -m models {self.name}: {error}", file=sys.stderr)
            return 1

    def run(self, options: argparse.Namespace) -> int:
        find_cell(options.cell)                                     # before the data is read
        budget = Budget(options.epochs or (None if options.seconds else self.epochs), options.seconds)
        self.loaded
        print(f"{self.name}: {self.about}", flush=True)
        heading = f"{self.measure.name} {self.measure.unit}".strip()
        print(f"\n{'seed':>4} {'epoch':>6} {'step':>6} {'seconds':>8} {'loss':>9} {heading:>12}", flush=True)
        runs = []
        for seed in range(options.seeds):
            records, result = self.train(options.cell, seed, budget, hidden=options.hidden,
                                         learning_rate=options.learning_rate, tell=partial(show, seed))
            runs.append((records, result))
        return self.report(runs, options.out)

    def report(self, runs: list[Trained], out: str) -> int:
        """Print the mean over the runs beside the references, draw the curves; the exit status."""
        results = [result for _, result in runs]
        values = [result.value for result in results]
        unit = f" {self.measure.unit}" if self.measure.unit else ""
        name, mean = f"{results[0].cell}-{results[0].hidden}", float(np.mean(values))
        spread = f" ± {np.std(values, ddof=1):.3g}" if len(values) > 1 else ""
        print(f"\n{self.measure.name} {mean:.4g}{spread}{unit}   {name}, {results[0].parameters:,} parameters, "
              f"{len(values)} seed{'s' * (len(values) > 1)}, {np.mean([r.seconds for r in results]):.1f} s each")
        met = self.met(mean, results[0].cell)
        for reference in self.references:
            source = f" ({reference.source})" if reference.source else ""
            verdict = "" if reference is not self.bar(results[0].cell) else "   met" if met else "   NOT MET"
            print(f"{self.measure.name} {reference.value:.4g}{unit}   {reference.name}{source}{verdict}")
        os.makedirs(out, exist_ok=True)
        path = os.path.join(out, "curve.svg")
        lines = {f"seed {r.seed}": ([x["epoch"] for x in records], [x["test"] for x in records]) for records, r in runs}
        levels = {reference.name: reference.value for reference in self.references}
        every = [y for _, ys in lines.values() for y in ys] + list(levels.values())
        log = not self.measure.higher_is_better and figures.decades(every)
        with open(path, "w", encoding="utf-8") as file:
            file.write(figures.curves(lines, levels, f"{self.name}, {name}", "epoch", f"test {self.measure.name}{unit}",
                                      log=log))
        if self.more:
            self.more(runs, out)
        print(f"\nThe curve is drawn in {path}")
        return 0 if met else 1


def show(seed: int, record: Record) -> None:
    print(f"{seed:4d} {record['epoch']:6.4g} {record['step']:6d} {record['seconds']:8.1f} {record['loss']:9.4f} "
          f"{record['test']:12.4g}", flush=True)


def tasks() -> dict[str, Task]:
    """name -> Task, of every module in this folder that makes one called TASK."""
    folder = Path(__file__).parent
    found = {}
    for path in sorted(folder.glob("*.py")):
        if "TASK" in path.read_text(encoding="utf-8") and path.name != Path(__file__).name:
            module = importlib.import_module(f"{__package__}.{path.stem}")
            if isinstance(getattr(module, "TASK", None), Task):
                found[module.TASK.name] = module.TASK
    return found
