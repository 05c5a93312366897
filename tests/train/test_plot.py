"""Curves: what is drawn, read back from the figure, and the message where matplotlib is absent."""
import sys

import pytest

import minigrad as mg
from minigrad.train import plot

RECORDS = [{"step": n, "loss": 1000.0 / 4 ** n, "norm": 1.0 + n, "seconds": n, **({"validation": 0.5} if n % 2 == 0 else {})}
           for n in range(1, 9)]


@pytest.fixture
def axes(monkeypatch):
    """The axes of the figures that are saved."""
    figure = pytest.importorskip("matplotlib.figure", reason="matplotlib (extra 'plots') is not installed").Figure
    seen, savefig = [], figure.savefig
    monkeypatch.setattr(figure, "savefig", lambda self, *a, **k: (seen.extend(self.axes), savefig(self, *a, **k))[1])
    return seen


def test_curves_of_a_run(tmp_path, axes):
    plot(RECORDS, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG") and len(list(tmp_path.iterdir())) == 1
    assert [a.get_ylabel() for a in axes] == ["loss", "gradient norm"]
    assert axes[0].get_yscale() == "log" and axes[1].get_yscale() == "linear"
    loss, validation = axes[0].get_lines()
    assert loss.get_xdata().tolist() == [1, 2, 3, 4, 5, 6, 7, 8] and loss.get_ydata().tolist() == [r["loss"] for r in RECORDS]
    assert validation.get_xdata().tolist() == [2, 4, 6, 8]


def test_several_runs_from_their_logs(tmp_path, axes):
    w = mg.parameter(1.0, name="w")
    mg.train.fit(lambda: w * w, [w], [()], optimizer=mg.train.SGD([w], 0.1), steps=3, schedule=mg.train.cosine(3), progress=False,
                 log=tmp_path / "a.jsonl", watch=lambda record: record.update(bits=2 * record["loss"], note="text"))
    plot({"first": tmp_path / "a.jsonl", "second": RECORDS}, tmp_path / "a.svg", title="Two runs")
    assert [a.get_ylabel() for a in axes] == ["loss", "gradient norm", "learning rate", "bits"]
    assert [t.get_text() for t in axes[0].get_legend().get_texts()] == ["first", "second", "second validation"]
    assert "<svg" in (tmp_path / "a.svg").read_text(encoding="utf-8")


def test_one_curve_needs_no_legend(tmp_path, axes):
    plot([{"step": n, "loss": 1.0 / n} for n in range(1, 4)], tmp_path / "a.png")
    assert len(axes) == 1 and axes[0].get_legend() is None and len(axes[0].get_lines()) == 1


def test_no_records_and_no_matplotlib_are_said_clearly(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="got no records"):
        plot([], tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'minigrad\[plots\]'"):
        plot(RECORDS, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
