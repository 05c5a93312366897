"""Compare cells: one task, the same budget for all, several seeds each; a table with mean and spread, and a picture.

    python -m models compare --cells RNNCell,GRUCell,LSTMCell --task adding --seeds 3
    python -m models compare --cells mine.py:MyCell,GRUCell --task parity --parameters 1000
    python -m models compare … --backend dask --scheduler tcp://192.168.0.7:8786

Cells are minigrad's by name, or one's own as path.py:Class or module:Class. A run is one cell with one seed. Runs are
independent, so they go through joblib: in processes of this machine, or on the workers of a Dask cluster. A run's
result depends on its seed and not on where it ran, to the last bit (unless the budget is in seconds).
"""
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")            # one core each: runs share the machine, not their matrices

import argparse  # noqa: E402
import contextlib  # noqa: E402
import csv  # noqa: E402
import difflib  # noqa: E402
import importlib.util  # noqa: E402
import json  # noqa: E402
import math  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable, Iterable, Iterator, Sequence  # noqa: E402
from typing import Any, NamedTuple, TextIO  # noqa: E402

import numpy as np  # noqa: E402

from . import figures  # noqa: E402
from .task import Budget, Measure, Task, Unusable, extra, find_cell, tasks  # noqa: E402

BACKENDS = ("sequential", "processes", "dask")
Row = dict[str, Any]                    # one run's result: COLUMNS, and "curve", a list of records
COLUMNS = ("task", "cell", "hidden", "parameters", "seed", "steps", "seconds", "measure", "value", "error")


# ---- one run -------------------------------------------------------------------------------------------------------

class Run(NamedTuple):
    """One cell, one seed. Everything is a name or a number, so that it can be sent to another machine."""

    task: str
    cell: str
    seed: int
    hidden: int
    epochs: float | None
    seconds: float | None
    learning_rate: float | None = None


def find_task(name: str) -> Task:
    known = tasks()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        raise Unusable(f"there is no task {name!r}; " + (f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"))
    return known[name]


def train(run: Run) -> Row:
    """The run's result. A run that diverges has an error and no value."""
    task = find_task(run.task)
    row = {"task": run.task, "cell": run.cell, "hidden": run.hidden, "parameters": size(task, run.cell, run.hidden),
           "seed": run.seed, "steps": None, "seconds": None, "measure": task.measure.name, "value": None, "error": None}
    try:
        curve, result = task.train(run.cell, run.seed, Budget(run.epochs, run.seconds), hidden=run.hidden,
                                   learning_rate=run.learning_rate)
    except FloatingPointError as error:
        return {**row, "error": str(error), "curve": []}
    return {**row, "steps": result.steps, "seconds": result.seconds, "value": result.value, "curve": curve}


# ---- the same number of parameters ---------------------------------------------------------------------------------

def size(task: Task, cell: str, hidden: int) -> int:
    """The number of trained numbers in the task's network around this cell."""
    network = task.made(find_cell(cell), hidden, np.random.default_rng(0))
    return sum(p.size for p in network.parameters().values())


def hidden_for(task: Task, cell: str, parameters: int) -> int:
    """The hidden size whose network comes nearest to so many parameters, of those that the cell accepts."""
    nearest, refused = None, None
    for hidden in range(1, parameters + 1):                         # a head alone has more parameters than hidden units
        try:
            found = size(task, cell, hidden)
        except Unusable as error:
            if not isinstance(error.__cause__, ValueError):
                raise
            refused = error.__cause__                               # some cells take even sizes only, say
            continue
        if nearest is None or abs(found - parameters) < abs(nearest[1] - parameters):
            nearest = hidden, found
        if found >= parameters:
            break
    if nearest is None:
        raise Unusable(f"{cell} accepts no hidden size that gives {parameters} parameters" + (f": {refused}" if refused else ""))
    return nearest[0]


# ---- many runs -----------------------------------------------------------------------------------------------------

def compare(task: str, cells: Sequence[str], seeds: int = 3, budget: Budget | None = None, *, hidden: int | None = None,
            parameters: int | None = None, learning_rate: float | None = None, backend: str = "sequential", jobs: int = 1,
            scheduler: str | None = None, tell: Callable[[int, int, Row], None] | None = None) -> list[Row]:
    """Train every cell with seeds 0 … seeds−1. Returns the runs' dicts (see ``train``), by cell, then by seed.

    task        a name, as in ``python -m models``
    cells       names: of minigrad's cells, or "path.py:Class", "module:Class"
    budget      Budget(epochs, seconds), for each run; None: the task's own
    hidden      the hidden size of all; or ``parameters``: each cell gets the size that comes nearest to so many
    backend     "sequential"; "processes" (joblib, the extra ``parallel``); "dask" (the extra ``cluster``): the workers of
                the ``scheduler`` at that address, or without one ``jobs`` workers on this machine
    tell        tell(done, all, row), called whenever a run is over
    """
    chosen = find_task(task)
    cells = [os.path.abspath(cell) if ".py:" in cell else cell for cell in cells]       # workers may stand elsewhere
    sizes = [hidden_for(chosen, cell, parameters) if parameters else hidden or chosen.hidden for cell in cells]
    for cell, n in zip(cells, sizes):
        size(chosen, cell, n)                                       # what is wrong with a cell shows here and not far away
    budget = budget or Budget(chosen.epochs)
    runs = [Run(task, cell, seed, n, *budget, learning_rate) for cell, n in zip(cells, sizes) for seed in range(seeds)]
    rows = []
    for row in results(runs, backend, jobs, scheduler):
        rows.append(row)
        if tell:
            tell(len(rows), len(runs), row)
    return sorted(rows, key=lambda row: (cells.index(row["cell"]), row["seed"]))


def results(runs: Sequence[Run], backend: str, jobs: int, scheduler: str | None) -> Iterator[Row]:
    """The runs' results, in the order in which they become ready."""
    if backend == "sequential":
        yield from map(train, runs)
        return
    if backend not in BACKENDS:
        raise Unusable(f"there is no backend {backend!r}; there are {', '.join(BACKENDS)}")
    joblib = extra("joblib", "parallel", "parallel runs come")
    with cluster(scheduler, jobs) if backend == "dask" else joblib.parallel_config("loky", n_jobs=jobs):
        yield from joblib.Parallel(return_as="generator_unordered")(joblib.delayed(elsewhere())(*run) for run in runs)


def elsewhere() -> Callable[..., Row]:
    """``train`` for another process. It travels by value, so that a scheduler, which only hands it on, needs no models."""
    def trained(*fields: Any) -> Row:
        from models import compare
        return compare.train(compare.Run(*fields))
    return trained


@contextlib.contextmanager
def cluster(scheduler: str | None, jobs: int) -> Iterator[None]:
    """joblib's work goes to the Dask scheduler at this address, or to ``jobs`` new workers on this machine."""
    joblib, distributed = extra("joblib", "parallel", "parallel runs come"), extra("distributed", "cluster", "Dask comes")
    where = {"address": scheduler} if scheduler else {"n_workers": jobs, "threads_per_worker": 1, "dashboard_address": None}
    begin = "start one with `dask scheduler`, and workers in this folder with `python -m dask worker ADDRESS --nthreads 1`"
    try:
        client = distributed.Client(**where, timeout=10)
    except (OSError, ValueError) as error:
        raise Unusable(f"no Dask scheduler answers at {scheduler!r} ({error}); {begin}") from None

    def ready() -> None:                                                    # by value, as in elsewhere()
        import joblib  # noqa: F401
        import models.compare  # noqa: F401

    with client:
        try:
            client.wait_for_workers(1, timeout=10)
        except OSError:
            raise Unusable(f"the Dask scheduler at {scheduler!r} has no workers; {begin}") from None
        for worker, refused in client.run(ready, on_error="return").items():
            if refused is not None:
                raise Unusable(f"the Dask worker {worker} cannot run models.compare ({refused}); {begin}, where minigrad is "
                               "installed")
        with joblib.parallel_config("dask"):
            yield


# ---- what a person sees --------------------------------------------------------------------------------------------

def short(cell: str) -> str:
    """The class's name."""
    return cell.rpartition(":")[2]


def by_cell(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """name -> its rows; the name is the class's, or where two cells share one, all that was given."""
    cells = dict.fromkeys(row["cell"] for row in rows)
    names = [short(cell) for cell in cells]
    return {name if names.count(name) == 1 else cell: [row for row in rows if row["cell"] == cell]
            for name, cell in zip(names, cells)}


def heading(measure: Measure) -> str:
    """RMSE, accuracy %, bits: what is measured, and its unit where that says more."""
    return measure.name if measure.unit in ("", measure.name) else f"{measure.name} {measure.unit}"


def table(rows: Sequence[Row]) -> str:
    """The comparison as text, best mean first: each cell's mean and standard deviation over its seeds; references below."""
    task = find_task(rows[0]["task"])
    measure, sign = task.measure, -1 if task.measure.higher_is_better else 1
    lines = []
    for name, runs in by_cell(rows).items():
        values = sorted((run["value"] for run in runs if run["value"] is not None), key=lambda value: sign * value)
        note = f"{len(runs) - len(values)} of {len(runs)} diverged" if len(values) < len(runs) else ""
        start = [name, str(runs[0]["hidden"]), f"{runs[0]['parameters']:,}"]
        if values:
            mean, spread = np.mean(values), f"± {np.std(values, ddof=1):.2g}" if len(values) > 1 else ""
            seconds = np.mean([run["seconds"] for run in runs if run["value"] is not None])
            lines.append((sign * mean, [*start, f"{mean:.4g}", spread, f"{values[0]:.4g}", f"{values[-1]:.4g}", f"{seconds:.1f}", note]))
        else:
            lines.append((math.inf, [*start, "", "", "", "", "", note]))
    lines.sort(key=lambda line: line[0])
    texts = [["cell", "hidden", "parameters", heading(measure), "", "best", "worst", "seconds", ""], *(line for _, line in lines)]
    given = [[reference.name, "", "", f"{reference.value:.4g}", reference.source] for reference in task.references]
    widths = [max(len(line[i]) for line in texts + given if i < len(line) and (i != 4 or line not in given)) for i in range(9)]

    def aligned(line: Sequence[str]) -> str:                        # what is text to the left, numbers to the right
        return "  ".join(f"{word:{'<' if i in (0, 4, 8) else '>'}{widths[i]}}" for i, word in enumerate(line)).rstrip()

    return "\n".join(map(aligned, texts)) + "".join(f"\n{'' if i else chr(10)}{aligned(line)}" for i, line in enumerate(given))


def picture(rows: Sequence[Row], across: str = "epoch") -> str:
    """The mean curve of each cell, between the lowest and the highest of its seeds, as SVG."""
    task = find_task(rows[0]["task"])
    lines, bands = {}, {}
    for name, runs in by_cell(rows).items():
        curves = [run["curve"] for run in runs if run["curve"]]
        if curves:
            together = range(min(map(len, curves)))
            xs, ys = (np.array([[curve[i][what] for i in together] for curve in curves]) for what in (across, "test"))
            lines[name] = xs.mean(axis=0).tolist(), ys.mean(axis=0).tolist()
            bands[name] = ys.min(axis=0).tolist(), ys.max(axis=0).tolist()
    levels = {reference.name: reference.value for reference in task.references}
    every = [y for low, high in bands.values() for y in (*low, *high)] + list(levels.values())
    log = not task.measure.higher_is_better and bool(every) and figures.decades(every)
    seeds = max(len(runs) for runs in by_cell(rows).values())
    return figures.curves(lines, levels, f"{task.name}: mean and range over {seeds} seed{'s' * (seeds > 1)}", across,
                          f"test {heading(task.measure)}", bands=bands, log=log)


def write(rows: Sequence[Row], out: str, across: str = "epoch") -> list[str]:
    """runs.jsonl (with the curves), runs.csv and curves.svg in the folder ``out``, each beside and then renamed."""
    def jsonl(file: TextIO) -> None:
        file.writelines(json.dumps(row) + "\n" for row in rows)

    def table_of_runs(file: TextIO) -> None:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)

    os.makedirs(out, exist_ok=True)
    paths = []
    for name, fill in (("runs.jsonl", jsonl), ("runs.csv", table_of_runs),
                       ("curves.svg", lambda file: file.write(picture(rows, across)))):
        path = os.path.join(out, name)
        with open(path + ".new", "w", encoding="utf-8", newline="") as file:
            fill(file)
        os.replace(path + ".new", path)
        paths.append(path)
    return paths


# ---- the command ---------------------------------------------------------------------------------------------------

def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m models compare", description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", default="RNNCell,GRUCell,LSTMCell", metavar="A,B,…",
                        help="names, path.py:Class or module:Class (default RNNCell,GRUCell,LSTMCell)")
    parser.add_argument("--task", default="adding", help=f"one of {', '.join(tasks())} (default adding)")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds 0 … N−1 for each cell (default 3)")
    parser.add_argument("--hidden", type=int, help="hidden units of every cell (default: the task's)")
    parser.add_argument("--parameters", type=int, metavar="N", help="instead: for each cell the size that comes nearest to N parameters")
    parser.add_argument("--epochs", type=float, help="how long each run trains (default: as the task has it)")
    parser.add_argument("--steps", type=int, help="the same in steps")
    parser.add_argument("--seconds", type=float, help="or how long by the clock; results then depend on the machine")
    parser.add_argument("--learning-rate", type=float, help="at the beginning of each run (default: the task's)")
    parser.add_argument("--backend", choices=BACKENDS, help="where the runs go (default: processes, if there is more than one job)")
    parser.add_argument("--jobs", type=int, metavar="N", help="runs at a time (default: one for each core, where joblib is installed)")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster, tcp://host:8786 (default: a local one)")
    parser.add_argument("--out", metavar="FOLDER", help="where the files go (default minigrad-output/compare-TASK)")
    options = parser.parse_args(argv)
    for name in ("seeds", "hidden", "parameters", "epochs", "steps", "seconds", "learning_rate", "jobs"):
        value = getattr(options, name)
        if value is not None and not 0 < value < math.inf:
            parser.error(f"--{name.replace('_', '-')} is {value}, and must be positive")
    for one, other in (("hidden", "parameters"), ("epochs", "steps")):
        if getattr(options, one) and getattr(options, other):
            parser.error(f"--{one} and --{other} exclude each other")
    if options.scheduler and options.backend != "dask":
        parser.error("--scheduler is for --backend dask")
    options.cells = [cell for cell in options.cells.split(",") if cell]
    twice = {cell for cell in options.cells if options.cells.count(cell) > 1}
    if not options.cells or twice:
        parser.error(f"--cells names {min(twice)} twice" if twice else "--cells names no cell")
    return options


def processes(options: argparse.Namespace) -> tuple[str, int]:
    """(backend, jobs) where the options leave them open: all cores if joblib is there, else one run after the other."""
    jobs = options.jobs or os.cpu_count() or 1
    if options.backend:
        return options.backend, jobs
    if options.jobs is None and importlib.util.find_spec("joblib") is None:
        return "sequential", 1
    return ("processes" if jobs > 1 else "sequential"), jobs


def main(argv: Sequence[str] | None = None) -> int:
    """0: compared, 1: a run diverged, 2: unusable."""
    options = arguments(argv)
    try:
        return run(options)
    except Unusable as error:
        print(f"python -m models compare: {error}", file=sys.stderr)
        return 2


def run(options: argparse.Namespace) -> int:
    task = find_task(options.task)
    for cell in options.cells:
        find_cell(cell)                                             # before the data is read
    epochs = options.steps / task.loaded.steps if options.steps else options.epochs
    budget = Budget(epochs or (None if options.seconds else task.epochs), options.seconds)
    backend, jobs = processes(options)
    print(f"{task.name}: {task.about}\n", flush=True)

    def tell(done: int, every: int, row: Row) -> None:
        value = f"{row['measure']} {row['value']:.4g}   {row['seconds']:.1f} s" if row["value"] is not None else row["error"]
        print(f"[{done}/{every}] {short(row['cell'])}, seed {row['seed']}: {value}", flush=True)

    rows = compare(options.task, options.cells, options.seeds, budget, hidden=options.hidden, parameters=options.parameters,
                   learning_rate=options.learning_rate, backend=backend, jobs=jobs, scheduler=options.scheduler, tell=tell)
    steps = f"{math.ceil(budget.epochs * task.loaded.steps)} steps ({budget.epochs:.4g} epochs)" if budget.epochs else ""
    length = " or ".join(filter(None, (steps, f"{budget.seconds:g} s" if budget.seconds else "")))
    seeds = f"Seeds 0 … {options.seeds - 1}" if options.seeds > 1 else "Seed 0"
    print(f"\n{seeds}, {length} a run; ± is the standard deviation over seeds\n")
    print(table(rows))
    paths = write(rows, options.out or f"minigrad-output/compare-{task.name}", "epoch" if budget.seconds is None else "seconds")
    print(f"\nThe runs are in {paths[0]} (with curves) and {paths[1]}, the picture in {paths[2]}")
    return 1 if any(row["error"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(importlib.import_module("models.compare").main())      # by that name other processes find it too
