"""The frame of the tasks: the model against plain NumPy, measures against counting, runs, the command and what it refuses."""
import pickle
import sys
import xml.etree.ElementTree as xml
from dataclasses import replace

import numpy as np
import pytest

import minigrad as mg
from models import __main__ as command
from models import digits
from models.task import (ACCURACY, BITS, RMSE, Batch, Budget, Data, Network, Reference, Task, Unusable, binary_cross_entropy,
                         cross_entropy, extra, find_cell, minibatches, squared_error, tasks)


def more_positive():
    """Are there more positive numbers than negative ones? A toy for the frame."""
    rng = np.random.default_rng(0)
    xs = rng.choice([-1.0, 1.0], (5, 300, 1))
    targets = (xs.sum(axis=(0, 2)) > 0).astype(int)
    return minibatches((xs[:, :200], targets[:200], None), (xs[:, 200:], targets[200:], None), size=20)


TOY = Task("toy", "more positive than negative", inputs=1, outputs=2, data=more_positive, hidden=6, epochs=5,
           learning_rate=3e-2, references=(Reference("easy", 80.0, "by eye"),))


# ---- the model -------------------------------------------------------------------------------------------------------

def by_hand(network, xs, lengths):
    """The outputs (T, B, H) of the network's RNNCell, row by row."""
    cell, ys = network.cell, np.zeros((*xs.shape[:2], 4))
    for b, length in enumerate(lengths):
        h = np.zeros(4)
        for t in range(length):
            h = ys[t, b] = np.tanh(xs[t, b] @ cell.W_x.data + h @ cell.W_h.data + cell.b.data)
    return ys


@pytest.mark.parametrize("lengths", [None, [6, 1, 4]])
def test_what_the_network_reads(lengths):
    rng = np.random.default_rng(0)
    xs = rng.standard_normal((6, 3, 2))
    batch = Batch(xs, None, None if lengths is None else np.array(lengths))
    ends = np.array(lengths or [6, 6, 6])
    for read in ("last", "mean", "every"):
        network = Network(mg.RNNCell, 2, 5, 4, read=read, rng=np.random.default_rng(1), dtype=float)
        network.b_y.data = rng.standard_normal(5)
        ys = by_hand(network, xs, ends)
        answer = {"last": ys[ends - 1, np.arange(3)], "mean": ys.sum(axis=0) / ends[:, None], "every": ys}[read]
        assert network(batch).data == pytest.approx(answer @ network.W_y.data + network.b_y.data, rel=1e-12)


def test_integers_are_read_one_hot():
    network = Network(mg.GRUCell, 3, 2, 4, rng=np.random.default_rng(0))
    ids = np.array([[0, 2], [1, 1]])
    outputs = network(Batch(ids, None)).data
    assert outputs.dtype == np.float32 and np.array_equal(outputs, network(Batch(np.eye(3)[ids], None)).data)


class Wide(mg.RNNCell):
    """Shows its state twice: an output wider than the state."""

    def __call__(self, x, h):
        y, h = super().__call__(x, h)
        return np.concatenate([y, y], axis=-1), h


def test_the_head_fits_the_output_of_the_cell():
    network = Network(Wide, 3, 2, 4, rng=np.random.default_rng(0))
    assert network.W_y.shape == (8, 2) and network(Batch(np.ones((5, 7, 3)), None)).shape == (7, 2)


# ---- losses and measures ---------------------------------------------------------------------------------------------

def test_losses_and_measures_count_what_counts():
    rng = np.random.default_rng(0)
    o, y, answers = rng.standard_normal((3, 2, 4)), rng.integers(4, size=(3, 2)), rng.standard_normal((3, 2, 4))
    lengths = np.array([3, 1])
    counts = [(0, 0), (1, 0), (2, 0), (0, 1)]                        # (t, b) before the end of row b
    nats = [np.log(np.exp(o[i]).sum()) - o[i][y[i]] for i in counts]
    whole, masked = Batch(None, y, lengths), Batch(None, y, None, np.arange(3)[:, None] < lengths)
    for batch in (whole, masked):
        assert cross_entropy(mg.Tensor(o), batch).item() == pytest.approx(np.mean(nats), rel=1e-12)
        assert BITS.of([o], [batch]) == pytest.approx(np.mean(nats) / np.log(2), rel=1e-12)
        assert ACCURACY.of([o], [batch]) == 100 * np.mean([o[i].argmax() == y[i] for i in counts])
        real, yes = batch._replace(targets=answers), batch._replace(targets=(answers > 0).astype(int))
        squares = np.mean([(o[i] - answers[i]) ** 2 for i in counts])
        assert squared_error(mg.Tensor(o), real).item() == pytest.approx(squares, rel=1e-12)
        assert RMSE.of([o], [real]) == pytest.approx(np.sqrt(squares), rel=1e-12)
        p = 1 / (1 + np.exp(-o))
        surprise = [-np.log(np.where(answers[i] > 0, p[i], 1 - p[i])).mean() for i in counts]
        assert binary_cross_entropy(mg.Tensor(o), yes).item() == pytest.approx(np.mean(surprise), rel=1e-12)


def test_batches_add_up():
    o, y = np.eye(3)[[0, 1, 2, 2, 1]], np.array([0, 1, 2, 0, 0])
    assert ACCURACY.of([o[:1], o[1:]], [Batch(None, y[:1]), Batch(None, y[1:])]) == 60


# ---- data ------------------------------------------------------------------------------------------------------------

def test_minibatches_show_every_row_once_and_no_longer_than_needed():
    N, lengths = 23, np.random.default_rng(0).integers(1, 8, 23)
    xs = np.where(np.arange(7)[:, None] < lengths, np.arange(N), -1)
    data = minibatches((xs, np.arange(N), lengths), (xs, xs + 1, lengths), size=5)
    batches = list(data.train(np.random.default_rng(1)))
    assert len(batches) == data.steps == 5
    assert sorted(np.concatenate([batch.targets for batch in batches])) == list(range(N))
    for batch in batches:
        assert len(batch.xs) == batch.lengths.max() and (batch.xs[0] == batch.targets).all()
    again = list(data.train(np.random.default_rng(2)))
    assert not np.array_equal(batches[0].targets, again[0].targets)
    assert all((batch.targets == batch.xs + 1).all() for batch in data.test)       # targets of every step


def test_a_missing_package_is_named_with_its_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    monkeypatch.setattr(sys, "argv", ["python -m models", "digits"])
    monkeypatch.setattr(digits, "TASK", replace(digits.TASK))        # not yet loaded
    assert command.main() == 2
    error = capsys.readouterr().err
    assert "the digits come with the package sklearn, which cannot be imported" in error
    assert "pip install 'minigrad[data]'" in error and error.count("\n") == 1


def test_extra_returns_the_module():
    assert extra("json.decoder", "data", "it comes").JSONDecoder


# ---- runs ------------------------------------------------------------------------------------------------------------

def test_a_run_learns_and_can_be_repeated():
    records, result = TOY.train(seed=3)
    assert result.value == records[-1]["test"] > 90 and records[-1]["loss"] < records[0]["loss"]
    assert (result.task, result.cell, result.hidden, result.seed, result.steps) == ("toy", "GRUCell", 6, 3, 50)
    assert result.parameters == 3 * 6 * (1 + 6 + 2) + 6 * 2 + 2
    again, _ = TOY.train(mg.GRUCell, 3)
    assert [r["loss"] for r in records] == [r["loss"] for r in again]
    other, _ = TOY.train(seed=4)
    assert records[0]["loss"] != other[0]["loss"]


def test_the_budget_is_kept():
    records, result = TOY.train(budget=Budget(epochs=0.35))
    assert result.steps == 4 and records[-1]["epoch"] == 0.4                            # the first step at or past it
    assert TOY.train(budget=Budget(seconds=1e-9))[1].steps == 1
    assert Budget(10, 5).progress(2, 4) == 0.8 and Budget(10, None).progress(2, 400) == 0.2


def test_runs_travel_between_processes():
    assert pickle.loads(pickle.dumps(TOY)).inputs == 1
    _, result = TOY.train(Wide, budget=Budget(epochs=0.1))
    copy = pickle.loads(pickle.dumps(result))
    assert copy.value == result.value and copy.model is None and result.model is not None


class Watched(Network):
    """Notes whether its cell is called in training."""

    modes: list[bool] = []

    def __call__(self, batch):
        self.modes.append(self.cell.training)
        return super().__call__(batch)


def test_dropout_and_its_kin_rest_when_tested():
    network = Watched(mg.RNNCell, 1, 2, 3, rng=np.random.default_rng(0))
    TOY.evaluate(network)
    assert {*Watched.modes} == {False} and network.training and network.cell.training


def test_training_may_begin_with_easier_data():
    shares = []

    def data():
        def epoch(rng, progress):
            for batch in more_positive().train(rng):
                shares.append(progress())
                yield batch
        return Data(epoch, more_positive().test, 10, growing=True)

    replace(TOY, data=data).train(budget=Budget(epochs=1))
    assert shares == pytest.approx([k / 10 for k in range(10)])


# ---- cells by name ---------------------------------------------------------------------------------------------------

def test_cells_by_name_or_file(tmp_path):
    assert find_cell("LSTMCell") is mg.LSTMCell and find_cell(Wide) is Wide
    (tmp_path / "mine.py").write_text("import minigrad as mg\n\n\nclass Mine(mg.GRUCell):\n    pass\n")
    assert TOY.train(f"{tmp_path}/mine.py:Mine", budget=Budget(epochs=0.1))[1].cell == "Mine"
    for name, words in [("GRUCel", "no cell 'GRUCel'; did you mean GRUCell"), ("draw", "no such cell; there are .*LSTMCell"),
                        (f"{tmp_path}/no.py:Mine", "there is no Python file"), (f"{tmp_path}/mine.py:Yours", "has no Yours")]:
        with pytest.raises(Unusable, match=words):
            find_cell(name)


# ---- the command -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("value, status, words", [(80.0, 0, "easy (by eye)   met"), (101.0, 1, "NOT MET")])
def test_the_command(tmp_path, capsys, value, status, words):
    seen = []
    task = replace(TOY, references=(Reference("easy", value, "by eye"),), more=lambda runs, out: seen.append((runs, out)))
    assert task.main(["--seeds", "2", "--out", str(tmp_path / "out")]) == status
    shown = capsys.readouterr().out
    assert words in shown and " ± " in shown and "GRUCell-6, 176 parameters, 2 seeds" in shown
    (first, second), out = seen[0]
    assert first[1].seed == 0 and second[1].seed == 1 and out == str(tmp_path / "out")
    a, b = first[1].value, second[1].value
    assert f"accuracy {(a + b) / 2:.4g} ± {abs(a - b) / 2 ** 0.5:.3g} %" in shown
    curve = xml.parse(tmp_path / "out" / "curve.svg").getroot()
    texts = [text.text for text in curve.iter("{http://www.w3.org/2000/svg}text")]
    assert f"easy {value:.2f}" in texts and f"seed 1 {second[1].value:.2f}" in texts


def test_lower_is_better_where_it_is():
    task = replace(TOY, measure=RMSE, references=(Reference("published", 0.5), Reference("better", 0.1)))
    assert task.met(0.5) and task.met(0.2) and not task.met(0.6)
    of_its_kind = replace(task, references=(Reference("LSTM", 0.1), Reference("GRU", 0.5)))
    assert of_its_kind.met(0.4, "GRUCell") and not of_its_kind.met(0.4, "LSTMCell") and not of_its_kind.met(0.4, "MGUCell")
    assert replace(task, references=()).met(7.0)


@pytest.mark.parametrize("arguments, words", [(["--hidden", "0"], "--hidden is 0, and must be positive"),
                                              (["--seconds", "nan"], "--seconds is nan, and must be positive"),
                                              (["--epochs", "-1"], "--epochs is -1.0, and must be positive")])
def test_unusable_options(arguments, words, capsys):
    with pytest.raises(SystemExit) as stop:
        TOY.main(arguments)
    assert stop.value.code == 2 and words in capsys.readouterr().err


def test_an_unknown_cell_is_refused_before_the_data_is_read(capsys):
    def data():
        raise AssertionError("read")

    assert replace(TOY, data=data).main(["--cell", "NoCell"]) == 2
    assert "python -m models toy: cell NoCell: minigrad has no such cell; there are" in capsys.readouterr().err


class Explodes(mg.RNNCell):
    def __call__(self, x, h):
        return np.exp(h + 1e4), h


def test_a_run_that_explodes_has_not_met_the_reference(capsys):
    with np.errstate(all="ignore"):
        assert replace(TOY, cell=Explodes).main(["--seeds", "1"]) == 1
    assert "python -m models toy: " in (error := capsys.readouterr().err) and "nan" in error


class Three(mg.RNNCell):
    def __call__(self, x, h):
        return h, h, h


@pytest.mark.parametrize("cell, words", [
    (lambda inputs, hidden, rng, dtype: lambda x, h: (h, h), "<lambda> with 1 inputs and 6 hidden units: .*needs initial_state"),
    (lambda inputs, hidden: mg.RNNCell(inputs, hidden), "unexpected keyword argument 'rng'. Tasks make a cell as"),
    (mg.RNNCell(1, 4).__call__, r"__call__ with 1 inputs and 6 hidden units: .*Tasks make a cell as"),
    (lambda inputs, hidden, rng, dtype: 3, "expected a callable y, state = cell"),
    (Three, r"Three with 1 inputs and 6 hidden units: Three returned 3 things at t=1; expected a pair"),
    (mg.OrthogonalRNNCell(1, 4).initial_state, "Tasks make a cell as"),
    (lambda *sizes, **options: mg.MLSTMCell(*sizes, heads=5, **options), "got heads=5 for hidden_size=6; expected a .* hidden_size / heads rows$"),
])
def test_a_cell_that_cannot_be_made(cell, words):
    with pytest.raises(Unusable, match=words):
        TOY.train(cell)


def test_tasks_are_found_by_name():
    found = tasks()
    assert {"digits", "fashion", "japanese_vowels", "surnames", "mnist1d", "forecast", "characters"} <= found.keys()
    listed = command.systems()
    for name, task in found.items():
        assert task.name == name in listed and task.references and task.about
