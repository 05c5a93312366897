"""Comparing cells: the same numbers wherever a run goes, fair sizes, the table, the files, and what is refused."""
import csv
import json
import math
import statistics
import sys
import xml.etree.ElementTree as xml

import numpy as np
import pytest

import minigrad as mg
from models import __main__ as command
from models import compare
from models.task import Budget, Unusable

TINY = Budget(epochs=0.12)                                          # three steps of reber


def without_time(rows):
    bare = [{key: value for key, value in row.items() if key not in ("seconds", "curve")} for row in rows]
    return bare, [[(record["loss"], record["test"]) for record in row["curve"]] for row in rows]


@pytest.fixture(scope="module")
def sequential():
    return compare.compare("reber", ["RNNCell", "GRUCell"], 2, TINY, hidden=4)


# ---- where runs go ---------------------------------------------------------------------------------------------------

def test_runs_come_by_cell_and_seed_with_what_they_cost(sequential):
    assert [(row["cell"], row["seed"]) for row in sequential] == [("RNNCell", 0), ("RNNCell", 1), ("GRUCell", 0), ("GRUCell", 1)]
    assert {row["steps"] for row in sequential} == {3} and {row["error"] for row in sequential} == {None}
    assert [row["parameters"] for row in sequential[::2]] == [28 + 16 + 4 + 35, 3 * (28 + 16 + 4 + 4) + 35]
    losses = [row["curve"][-1]["loss"] for row in sequential]
    assert len(set(losses)) == 4                                    # the seed and the cell matter
    assert not np.array_equal(losses, [row["curve"][-1]["loss"] for row in
                                       compare.compare("reber", ["RNNCell", "GRUCell"], 2, TINY, hidden=4, learning_rate=0.5)])


def test_processes_give_the_same_bits(sequential):
    pytest.importorskip("joblib", reason="the extra parallel is not installed")
    told = []
    rows = compare.compare("reber", ["RNNCell", "GRUCell"], 2, TINY, hidden=4, backend="processes", jobs=2,
                           tell=lambda done, every, row: told.append((done, every)))
    assert without_time(rows) == without_time(sequential) and told == [(n, 4) for n in (1, 2, 3, 4)]


@pytest.mark.filterwarnings("ignore")                               # of Dask's own
def test_a_dask_scheduler_gives_the_same_bits(sequential):
    pytest.importorskip("joblib", reason="the extra parallel is not installed")
    distributed = pytest.importorskip("distributed", reason="the extra cluster is not installed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as workers:
        rows = compare.compare("reber", ["RNNCell", "GRUCell"], 2, TINY, hidden=4, backend="dask",
                               scheduler=workers.scheduler_address)
    assert without_time(rows) == without_time(sequential)


# ---- the same number of parameters -----------------------------------------------------------------------------------

@pytest.mark.parametrize("cell", ["RNNCell", "GRUCell", "LSTMCell"])
def test_the_nearest_size_is_taken(cell):
    task = compare.find_task("adding")
    for wanted in (100, 1000, 4500):
        sizes = {hidden: compare.size(task, cell, hidden) for hidden in range(1, 90)}
        assert compare.hidden_for(task, cell, wanted) == min(sizes, key=lambda hidden: abs(sizes[hidden] - wanted))


EVEN = """
import minigrad as mg

class Even(mg.RNNCell):
    def __init__(self, input_size, hidden_size, **options):
        if hidden_size % 2:
            raise ValueError(f"Even got hidden_size={hidden_size}; expected an even number")
        super().__init__(input_size, hidden_size, **options)
"""


def test_a_cell_of_ones_own_that_refuses_some_sizes(tmp_path):
    (tmp_path / "mine.py").write_text(EVEN)
    cell = f"{tmp_path}/mine.py:Even"
    task = compare.find_task("parity")
    assert [compare.hidden_for(task, cell, n) for n in (40, 60)] == [4, 6]
    rows = compare.compare("parity", [cell], 1, Budget(epochs=0.01), parameters=40)
    assert rows[0]["hidden"] == 4 and compare.short(rows[0]["cell"]) == "Even"
    with pytest.raises(Unusable, match="no hidden size that gives 1 parameters: Even got hidden_size=1"):
        compare.hidden_for(task, cell, 1)


@pytest.mark.parametrize("options", [{"hidden": 4}, {"parameters": 40}])
def test_a_cell_of_ones_own_that_is_no_cell_of_a_task(tmp_path, options):
    (tmp_path / "mine.py").write_text("import minigrad as mg\n\n\ndef make(input_size, hidden_size):\n"
                                      "    return mg.RNNCell(input_size, hidden_size)\n")
    with pytest.raises(Unusable, match="make with 1 inputs and [14] hidden units: .*'rng'. Tasks make a cell as cell\\(input_size, hidden_size"):
        compare.compare("parity", [f"{tmp_path}/mine.py:make"], 1, Budget(epochs=0.01), **options)


# ---- what a person sees ----------------------------------------------------------------------------------------------

def made_up(values, task="adding"):
    """Rows as ``train`` makes them, of cell -> values; None is a run that diverged."""
    return [{"task": task, "cell": cell, "hidden": 8, "parameters": 1234, "seed": seed, "steps": 2, "seconds": 1.5, "measure": "RMSE",
             "value": value, "error": None if value else "the loss is nan at step 2",
             "curve": [{"epoch": e, "seconds": e, "test": value * (3 - e)} for e in (1, 2)] if value else []}
            for cell, column in values.items() for seed, value in enumerate(column)]


VALUES = {"Worse": [0.3, 0.2, 0.4], "Better": [0.01, 0.03, 0.02], "Lost": [0.5, None, None], "None": [None, None, None]}


def test_the_table_is_ordered_and_right():
    lines = compare.table(made_up(VALUES)).splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["Better", "Worse", "Lost", "None"]
    mean, spread = statistics.mean(VALUES["Better"]), statistics.stdev(VALUES["Better"])
    assert lines[1].split() == ["Better", "8", "1,234", f"{mean:.4g}", "±", f"{spread:.2g}", "0.01", "0.03", "1.5"]
    assert lines[3].endswith("2 of 3 diverged") and lines[4].endswith("3 of 3 diverged") and "±" not in lines[3]
    assert any(line.split()[:2] == ["LSTM", "0.0105"] for line in lines[5:])
    top = compare.table(made_up({"Low": [20.0], "High": [90.0]}, task="parity")).splitlines()        # higher is better
    assert [line.split()[0] for line in top[1:3]] == ["High", "Low"]
    twins = compare.by_cell(made_up({"a.py:Mine": [1.0], "b.py:Mine": [2.0], "c.py:Other": [3.0]}))
    assert [*twins] == ["a.py:Mine", "b.py:Mine", "Other"]
    assert lines[0].index("RMSE") + 4 == lines[1].index("0.02 ") + 4                                  # numbers under their heading


def test_the_picture_has_a_line_in_a_band_for_each_cell():
    svg = xml.fromstring(compare.picture(made_up(VALUES)))
    space = "{http://www.w3.org/2000/svg}"

    def points(kind):
        return [np.array([p.split(",") for p in element.get("points").split()], float) for element in svg.iter(space + kind)]

    lines, bands = points("polyline"), points("polygon")
    assert len(lines) == len(bands) == 3                            # of the cell that always diverged there is none
    for (line, band), gap in zip(zip(lines, bands), (5, 5, 0)):     # the third cell has one run left, and no width
        upper, lower = band[:2], band[:1:-1]
        assert (upper[:, 1] + gap <= line[:, 1]).all() and (line[:, 1] + gap <= lower[:, 1]).all()
    words = [text.text for text in svg.iter(space + "text")]
    assert {"Better 0.02", "LSTM 0.0105", "adding: mean and range over 3 seeds", "test RMSE", "epoch"} <= set(words)
    assert {"0.1", "0.02"} <= set(words)                            # errors over decades: a logarithmic axis


def test_the_command_writes_its_files(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["python -m models", "compare", "--cells", "RNNCell,GRUCell", "--task", "reber", "--steps", "2",
                                      "--seeds", "2", "--hidden", "4", "--backend", "sequential", "--out", str(tmp_path / "out")])
    assert command.main() == 0
    shown = capsys.readouterr().out
    assert "[4/4] GRUCell, seed 1: strings all right" in shown and "Seeds 0 … 1, 2 steps (0.08 epochs) a run" in shown
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["curves.svg", "runs.csv", "runs.jsonl"]
    rows = [json.loads(line) for line in (tmp_path / "out" / "runs.jsonl").read_text().splitlines()]
    with open(tmp_path / "out" / "runs.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [(r["cell"], int(r["seed"]), float(r["value"])) for r in table] == [(r["cell"], r["seed"], r["value"]) for r in rows]
    assert [len(r["curve"]) for r in rows] == [2] * 4 and tuple(table[0]) == compare.COLUMNS


class Explodes(mg.RNNCell):
    def __call__(self, x, h):
        h = h * 1e30 + super().__call__(x, h)[0]
        return h, h


def test_a_run_that_diverges_is_a_result(tmp_path, capsys):
    with np.errstate(all="ignore"):
        status = compare.main(["--cells", f"{__name__}:Explodes,RNNCell", "--task", "parity", "--steps", "1", "--seeds", "1", "--hidden", "2",
                               "--backend", "sequential", "--out", str(tmp_path)])
    shown = capsys.readouterr().out
    assert status == 1 and "1 of 1 diverged" in shown and "Explodes, seed 0: " in shown and "at step 1" in shown
    row = json.loads((tmp_path / "runs.jsonl").read_text().splitlines()[0])
    assert row["value"] is None and row["cell"].endswith(":Explodes") and "NaN" not in (tmp_path / "runs.jsonl").read_text()
    assert not math.isnan(json.loads((tmp_path / "runs.jsonl").read_text().splitlines()[1])["value"])


# ---- what is refused -------------------------------------------------------------------------------------------------

REFUSED = [
    (["--cells", "GRUCel"], "minigrad has no cell 'GRUCel'; did you mean GRUCell?"),
    (["--cells", "no.py:Cell"], "there is no Python file 'no.py'; write path.py:Class"),
    (["--cells", ","], "--cells names no cell"),
    (["--cells", "RNNCell,RNNCell"], "--cells names RNNCell twice"),
    (["--task", "addding"], "there is no task 'addding'; did you mean adding?"),
    (["--task", "?"], "there is no task '?'; there are adding, "),
    (["--seeds", "0"], "--seeds is 0, and must be positive"),
    (["--hidden", "3", "--parameters", "9"], "--hidden and --parameters exclude each other"),
    (["--epochs", "1", "--steps", "9"], "--epochs and --steps exclude each other"),
    (["--backend", "spark"], "invalid choice: 'spark'"),
    (["--scheduler", "tcp://x:1"], "--scheduler is for --backend dask"),
]


@pytest.mark.parametrize("arguments, message", REFUSED, ids=[" ".join(arguments) for arguments, _ in REFUSED])
def test_refusals_say_what_there_is(arguments, message, capsys, tmp_path):
    try:
        status = compare.main([*arguments, "--out", str(tmp_path / "none")])
    except SystemExit as stopped:                                   # of the command line's own parser
        status = stopped.code
    assert status == 2 and message in capsys.readouterr().err and not (tmp_path / "none").exists()


def test_a_scheduler_that_does_not_answer(monkeypatch):
    pytest.importorskip("joblib", reason="the extra parallel is not installed")
    distributed = pytest.importorskip("distributed", reason="the extra cluster is not installed")

    def refuse(**options):
        assert options["address"] == "tcp://nowhere:8786"
        raise OSError("Timed out trying to connect")

    monkeypatch.setattr(distributed, "Client", refuse)
    with pytest.raises(Unusable, match="no Dask scheduler answers at 'tcp://nowhere:8786' .Timed out.*start one with `dask scheduler`"):
        compare.compare("parity", ["RNNCell"], 1, TINY, backend="dask", scheduler="tcp://nowhere:8786")


@pytest.mark.parametrize("package, backend, extra", [("joblib", "processes", "parallel"), ("distributed", "dask", "cluster")])
def test_a_missing_package_names_its_extra(package, backend, extra, monkeypatch):
    if backend == "dask":
        pytest.importorskip("joblib", reason="the extra parallel is not installed")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(Unusable, match=rf"pip install 'minigrad\[{extra}\]'"):
        compare.compare("parity", ["RNNCell"], 1, TINY, backend=backend)


def test_a_backend_that_is_none():
    with pytest.raises(Unusable, match="there is no backend 'spark'; there are sequential, processes, dask"):
        compare.compare("parity", ["RNNCell"], 1, TINY, backend="spark")


def test_a_scheduler_needs_no_models(monkeypatch):
    """What is sent can be unpacked where models is not importable; it is needed where it runs."""
    cloudpickle = pytest.importorskip("cloudpickle", reason="the extra cluster is not installed")
    sent = cloudpickle.dumps((compare.elsewhere(), tuple(compare.Run("reber", "RNNCell", 0, 4, *TINY))))
    with monkeypatch.context() as patch:
        for name in [name for name in sys.modules if name.partition(".")[0] == "models"]:
            patch.setitem(sys.modules, name, None)
        train, run = cloudpickle.loads(sent)
    assert train(*run)["steps"] == 3
