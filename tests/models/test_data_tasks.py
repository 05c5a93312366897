"""Digits, Fashion-MNIST, JapaneseVowels, surnames, MNIST-1D, sunspots: what their data are, where the packages are installed."""
import gzip
import importlib
import sys
from dataclasses import replace

import numpy as np
import pytest

from models import __main__ as command
from models import characters, digits, fashion, forecast
from models.task import Batch, Budget, tasks

# task -> its package, rows of the training data and of the test data, steps, inputs
PACKAGES = {"digits": ("sklearn", 1437, 360, 8, 8), "japanese_vowels": ("sktime", 270, 370, 29, 12), "surnames": ("faker", 7502, 1876, 40, None),
            "mnist1d": ("mnist1d", 4000, 1000, 40, 1)}


@pytest.mark.parametrize("name", PACKAGES)
def test_classes_read_from_packages(name):
    package, trained, tested, steps, inputs = PACKAGES[name]
    pytest.importorskip(package, reason=f"the package {package} (an extra of minigrad) is not installed")
    task = tasks()[name]
    data = task.loaded
    train, test = list(data.train(np.random.default_rng(0))), data.test
    assert len(train) == data.steps and sum(len(b.targets) for b in train) == trained and sum(len(b.targets) for b in test) == tested
    assert max(len(batch.xs) for batch in train + test) == steps
    for batch in train + test:
        assert batch.xs.shape[2:] == (() if inputs is None else (inputs,)) and (batch.targets < task.outputs).all()
        assert inputs is not None or 0 <= batch.xs.min() and batch.xs.max() < task.inputs
    seen = {batch.xs[:, b].tobytes() for batch in train for b in range(len(batch.targets))}
    if name != "surnames":                                           # some names are in several lists
        assert not any(batch.xs[:, b].tobytes() in seen for batch in test for b in range(len(batch.targets)))
    assert {*np.concatenate([batch.targets for batch in test])} == {*range(task.outputs)}
    records, _ = task.train(hidden=8, budget=Budget(epochs=12 / data.steps))
    assert records[0]["loss"] == pytest.approx(np.log(task.outputs), rel=0.2) and np.isfinite(records[-1]["test"])


def test_rows_of_digits_are_the_rows_of_the_picture():
    sklearn = pytest.importorskip("sklearn.datasets", reason="scikit-learn (an extra of minigrad) is not installed").load_digits()
    first = digits.TASK.loaded.test[0]
    assert np.array_equal(first.xs[2, 5] * 16, sklearn.images[1437 + 5][2]) and first.targets[5] == sklearn.target[1437 + 5]


def test_surnames_letter_by_letter():
    pytest.importorskip("faker", reason="faker (an extra of minigrad) is not installed")
    surnames = importlib.import_module("models.surnames")
    xs, lengths = surnames.encoded(["abba", "b", "cab"])
    assert lengths.tolist() == [4, 1, 3] and (xs[1:, 1] == 0).all()
    a, b, c = xs[0, 0], xs[0, 1], xs[0, 2]
    assert xs.T.tolist() == [[a, b, b, a], [b, 0, 0, 0], [c, a, b, 0]] and len({0, 1, a, b, c}) == 5
    many = "".join(map(chr, range(1000, 1200)))
    assert surnames.encoded([many])[0].max() == surnames.LETTERS - 1     # the rarest share a number
    split, again = surnames.TASK.loaded.test, surnames.data().test  # the same every time
    assert all(np.array_equal(a.targets, b.targets) and np.array_equal(a.xs, b.xs) for a, b in zip(split, again))
    words, locales = surnames.names()
    assert len(words) == 9378 and locales[words.index("Hämäläinen")] == surnames.LOCALES.index("fi_FI")


# ---- Fashion-MNIST -----------------------------------------------------------------------------------------------------

@pytest.fixture
def wardrobe(tmp_path, monkeypatch):
    """Files as those of Fashion-MNIST, with 40 and 10 pictures."""
    monkeypatch.setattr(fashion, "FOLDERS", (tmp_path / "nowhere", tmp_path))
    rng, made = np.random.default_rng(0), {}
    for name, count in (("train", 40), ("t10k", 10)):
        pictures, labels = rng.integers(0, 256, (count, 28, 28), np.uint8), rng.integers(0, 10, count, np.uint8)
        with gzip.open(tmp_path / f"{name}-images-idx3-ubyte.gz", "wb") as file:
            file.write(np.array([2051, count, 28, 28], ">i4").tobytes() + pictures.tobytes())
        with gzip.open(tmp_path / f"{name}-labels-idx1-ubyte.gz", "wb") as file:
            file.write(np.array([2049, count], ">i4").tobytes() + labels.tobytes())
        made[name] = pictures, labels
    return made


def test_fashion_reads_the_files(wardrobe):
    pictures, labels = wardrobe["t10k"]
    xs, targets, lengths = fashion.part("t10k")
    assert xs.shape == (28, 10, 28) and xs.dtype == np.float32 and lengths is None
    assert np.array_equal((xs[3, 7] * 255).round(), pictures[7, 3]) and np.array_equal(targets, labels)
    task = replace(fashion.TASK)
    assert task.train(hidden=4, budget=Budget(epochs=1))[1].steps == task.loaded.steps == 1


def test_without_fashion_there_are_digits_and_it_is_said(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(fashion, "FOLDERS", (tmp_path,))
    monkeypatch.setattr(sys, "argv", ["python -m models", "fashion"])
    monkeypatch.setattr(digits, "main", lambda: 17)
    assert command.main() == 17
    error = capsys.readouterr().err
    assert "apt install dataset-fashion-mnist" in error and "reading scikit-learn's digits instead" in error
    with pytest.raises(Exception, match="Fashion-MNIST is not here: apt install"):
        fashion.part("train")


# ---- sunspots ----------------------------------------------------------------------------------------------------------

YEARS = 10.0 * np.arange(309)                                       # stands in for the series: the number tells the year


def test_what_is_forecast_and_what_counts(monkeypatch):
    monkeypatch.setattr(forecast, "series", lambda: YEARS)
    data = forecast.data()
    batch, = data.test
    years = 1700 + 10 * batch.targets[batch.mask].ravel()            # targets are hundreds of spots
    assert years.round().astype(int).tolist() == list(range(1921, 1956))
    assert np.allclose(batch.targets - batch.xs, 0.1)                # from each year the next one
    train = list(data.train(np.random.default_rng(0)))
    assert len(train) == data.steps and max(b.targets.max() for b in train) <= 22.0      # 1920 is the last one seen
    assert all(np.allclose(b.targets - b.xs, 0.1) and b.xs.shape == (60, 16, 1) for b in train)


def test_relative_variance():
    batch = Batch(None, np.zeros((4, 1, 1)), mask=np.array([[0], [1], [0], [1]], bool))
    outputs = np.array([9.0, 0.1, 9.0, 0.3]).reshape(4, 1, 1)        # wrong by 10 and by 30 spots
    assert forecast.ARV.of([outputs], [batch]) == pytest.approx((100 + 900) / 2 / 1495.6)


def test_sunspots_by_command(monkeypatch, tmp_path, capsys):
    statsmodels = "statsmodels (an extra of minigrad) is not installed"
    pytest.importorskip("statsmodels.datasets.sunspots", reason=statsmodels)
    assert forecast.series()[[0, 1957 - 1700]].tolist() == [5.0, 190.2] and len(forecast.series()) == 309
    known = forecast.series()[:280]
    assert np.var(known) == pytest.approx(forecast.VARIANCE, rel=1e-4)
    task = replace(forecast.TASK, hidden=4)
    assert task.main(["--seeds", "1", "--epochs", "0.3", "--out", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert "in the years 1956–1979" in shown and "MLP (Weigend et al. 1990)   NOT MET" in shown
    assert (tmp_path / "forecast.svg").read_text(encoding="utf-8").rstrip().endswith("</svg>")


# ---- characters --------------------------------------------------------------------------------------------------------

def test_characters_as_a_task(monkeypatch):
    text = "the quick brown fox jumps over the lazy dog. " * 200
    monkeypatch.setattr(characters, "read_text", lambda: text)
    ids, _ = characters.encode(text)
    data = characters.data()
    test, = data.test
    assert test.xs.shape[1] == 64 and np.array_equal(test.xs[1:], test.targets[:-1])
    assert np.array_equal(test.xs.T.ravel(), ids[8100:8100 + test.xs.size])
    for batch in data.train(np.random.default_rng(0)):
        assert len(batch.xs) == characters.SNIPPET and np.array_equal(batch.xs[1:], batch.targets[:-1])
    records, _ = replace(characters.TASK, hidden=16).train(budget=Budget(epochs=2))
    assert records[0]["loss"] > records[-1]["loss"] and records[-1]["test"] < records[0]["test"] < 7
