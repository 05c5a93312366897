"""The README's first command, with a tiny budget: what it prints, writes and refuses."""
import json
import sys

import numpy as np
import pytest

import minigrad as mg
from models import __main__ as command
from models import characters

TEXT = "the quick brown fox jumps over the lazy dog. " * 40


def run(monkeypatch, tmp_path, *arguments):
    arguments = [*map(str, arguments), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["python -m models", "characters", *arguments])
    return command.main()


@pytest.fixture
def text_file(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_the_whole_run(monkeypatch, tmp_path, capsys, text_file):
    status = run(monkeypatch, tmp_path, text_file, "--seconds", 1.5, "--hidden", 32)
    shown = capsys.readouterr().out
    assert status == 0
    for words in ("1,800 characters", "AGREES", "W_h", "h_0", "held out", "A sample, going on",
                  "models/characters.py, line", "bits per character on the last tenth, ",
                  " -m models characters --cell GRUCell"):
        assert words in shown, words
    assert shown.index("AGREES") < shown.index("unrolled graph is drawn") < shown.index("held out")
    for name in ("unrolled.svg", "gradients.svg", "loss.svg", "reach.svg"):
        assert (tmp_path / "out" / name).read_text(encoding="utf-8").rstrip().endswith("</svg>") and name in shown
    records = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert records[0]["step"] == 1 and records[-1]["bits"] < records[0]["bits"]
    steps = len(records)

    assert run(monkeypatch, tmp_path, text_file, "--seconds", 0.5, "--hidden", 32, "--resume") == 0
    assert len((tmp_path / "out" / "log.jsonl").read_text().splitlines()) > steps

    capsys.readouterr()
    assert run(monkeypatch, tmp_path, text_file, "--hidden", 31, "--resume") == 2
    assert "--resume: checkpoint" in capsys.readouterr().err


def test_only_the_picture(monkeypatch, tmp_path, capsys, text_file):
    assert run(monkeypatch, tmp_path, text_file, "--draw", tmp_path / "only.svg") == 0
    assert "W_h" not in capsys.readouterr().out and not (tmp_path / "out").exists()
    assert (tmp_path / "only.svg").read_text(encoding="utf-8").startswith("<")


@pytest.mark.parametrize("cell", ["GRUCell", "LSTMCell"])
def test_other_cells(monkeypatch, tmp_path, capsys, text_file, cell):
    assert run(monkeypatch, tmp_path, text_file, "--seconds", 0.3, "--hidden", 8, "--cell", cell) == 0
    assert f"gradients of {cell}" in capsys.readouterr().out


def test_layers_temperature_and_perplexity(monkeypatch, tmp_path, capsys, text_file):
    options = "--cell", "LSTMCell", "--layers", 2, "--temperature", 0.01, "--seconds", 0.5, "--hidden", 8
    assert run(monkeypatch, tmp_path, text_file, *options) == 0
    shown = capsys.readouterr().out
    assert "gradients of LSTMCell under LSTMCell" in shown and "cell.cells.1.W_h" in shown
    bits = float(shown.partition(" bits per character on the last tenth")[0].rpartition("\n")[2])
    assert float(shown.partition("; perplexity ")[2].split()[0]) == pytest.approx(2 ** bits, rel=0.01)
    assert ">h′<" in (tmp_path / "out" / "unrolled.svg").read_text(encoding="utf-8")


def test_temperature_flattens_the_sample():
    model = characters.CharacterModel(4, 3, rng=np.random.default_rng(0))
    model.b_y.data = np.array([0, 0, 1, 2], np.float32)
    written = {t: characters.sample(model, "abcd", [0], 300, np.random.default_rng(0), t) for t in (0.01, 1.0, 100.0)}
    assert set(written[0.01]) == {"d"} and len(set(written[1.0])) == 4
    assert 55 < written[100.0].count("a") < 95 and written[1.0].count("a") < 50      # 300 / 4 when all are alike


def test_the_line_for_ones_own_cell_is_where_it_says():
    place, _, line = characters.own_cell_line().partition(": ")
    number = int(place.rpartition(" ")[2])
    with open(characters.__file__, encoding="utf-8") as file:
        assert line in file.readlines()[number - 1] and "cell(" in line


def test_hand_gradients_agree_and_a_wrong_one_does_not(monkeypatch):
    ids = np.random.default_rng(0).integers(0, 9, 100)
    report = characters.check_gradients(ids, 9, mg.RNNCell)
    assert report.ok and len(report.rows) == 6 and max(row.error for row in report.rows) <= 1e-12
    right = characters.hand_gradients
    monkeypatch.setattr(characters, "hand_gradients", lambda **k: {**right(**k), "W_h": right(**k)["W_h"].T})
    report = characters.check_gradients(ids, 9, mg.RNNCell)
    assert [row.note for row in report.rows if not row.ok] == ["its transpose agrees"]


class Slow(mg.Module):
    """A cell of one's own: a leaky state in a dict, and an output that is not the state."""

    def __init__(self, inputs, hidden, *, rng, dtype):
        self.U = mg.parameter(rng.standard_normal((inputs + hidden, hidden)).astype(dtype))

    def initial_state(self, batch_size):
        return {"s": mg.Tensor(np.zeros((batch_size, self.U.shape[1]), self.U.dtype))}

    def __call__(self, x, state):
        s = 0.9 * state["s"] + 0.1 * np.tanh(np.concatenate([x, state["s"]], axis=-1) @ self.U)
        return np.sin(s), {"s": s}


def test_a_cell_of_ones_own_is_checked_against_the_complex_step():
    report = characters.check_gradients(np.arange(40) % 9, 9, Slow)
    assert report.ok and "Slow" in report.title and [row.name for row in report.rows] == ["cell.U", "W_y", "b_y"]
    model = characters.CharacterModel(9, 4, rng=np.random.default_rng(0), cell=Slow)
    assert characters.reach(model, np.arange(40) % 9, 9, T=3)[2][0] > 0


def test_entropies_against_counting_by_hand():
    train, test, V = np.array([0, 1, 0, 1, 1, 2]), np.array([0, 1, 2, 0]), 3
    unigram, bigram = characters.entropies(train, test, V)
    p = {0: 3 / 9, 1: 4 / 9, 2: 2 / 9}
    assert unigram == pytest.approx(-np.mean([np.log2(p[c]) for c in (1, 2, 0)]))
    pair = {(0, 1): 3 / 5, (1, 2): 2 / 6, (2, 0): 1 / 3}                      # 2 is never followed by anything in train
    assert bigram == pytest.approx(-np.mean([np.log2(v) for v in pair.values()]))


def test_the_split_and_the_batches_cover_the_text_in_order():
    ids = np.arange(200)
    count = iter(range(100))
    xs, ys = next(characters.batches(ids, 200, lambda: next(count) / 100))
    T, B = ys.shape
    assert T == characters.STEPS and (xs.argmax(-1) + 1 == ys).all() and (ys[1:] - ys[:-1] == 1).all()
    assert list(xs.argmax(-1)[0]) == [b * (200 // B) for b in range(B)]


def test_the_clock_of_a_resumed_run_starts_after_what_is_skipped(monkeypatch, tmp_path, text_file, capsys):
    """However short the time, there is at least one step more than before."""
    options = text_file, "--hidden", "6", "--seconds"
    assert run(monkeypatch, tmp_path, *options, "0.3") == 0
    before = mg.train.read_log(tmp_path / "out" / "log.jsonl")[-1]["step"]
    assert before > 2 and run(monkeypatch, tmp_path, *options, "1e-9", "--resume") == 0
    assert mg.train.read_log(tmp_path / "out" / "log.jsonl")[-1]["step"] == before + 1


def test_every_text_that_is_long_enough_has_a_batch():
    """Also one whose places have no more than STEPS characters each."""
    for length in range(characters.STEPS + 1, 40 * characters.STEPS):
        ids = np.arange(length)
        xs, ys = next(characters.batches(ids, length, lambda: 0.0))
        assert ys.shape == (characters.STEPS, characters.side_by_side(ids))


def test_bits_of_a_model_that_knows_nothing():
    model = characters.CharacterModel(8, 4, rng=np.random.default_rng(0))
    for p in model.parameters().values():
        p.data = np.zeros(p.shape)
    assert characters.bits_per_character(model, np.arange(500) % 8, 8) == pytest.approx(3)


@pytest.mark.parametrize("cell", [mg.RNNCell, mg.LSTMCell])
def test_reach_is_lower_triangular_and_falls_off(cell):
    model = characters.CharacterModel(8, 4, rng=np.random.default_rng(0), cell=cell)
    matrix = characters.reach(model, np.arange(100) % 8, 8, T=6)
    assert all([v is None for v in row] == [k > t for k in range(6)] for t, row in enumerate(matrix))
    assert 0 < matrix[5][0] < matrix[5][5]


def test_the_parts_of_a_state():
    assert characters.parts({"a": 1, "b": (2, (3,))}) == [1, 2, 3]


@pytest.mark.parametrize("content, words", [
    (b"", "the text is empty; give a file"),
    (b"aaaaaaa" * 20, "one distinct character, 'a'"),
    (b"short text", "10 characters, and at least 52 are needed"),
    (b"caf\xe9 " * 100, "is not UTF-8: byte 0xe9 at position 3; convert it first, for example: iconv"),
])
def test_unusable_texts(monkeypatch, tmp_path, capsys, content, words):
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    assert run(monkeypatch, tmp_path, path) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_missing_file_and_a_folder(monkeypatch, tmp_path, capsys):
    assert run(monkeypatch, tmp_path, tmp_path / "nowhere.txt") == 2
    assert "nowhere.txt: No such file or directory; give the path" in capsys.readouterr().err
    assert run(monkeypatch, tmp_path, tmp_path) == 2
    assert "Is a directory" in capsys.readouterr().err


@pytest.mark.parametrize("arguments, words", [
    (["--cell", "NoCell"], "minigrad has no such cell; there are "),
    (["--cell", "draw"], "minigrad has no such cell"),
    (["--seconds", "0"], "must be positive"),
    (["--hidden", "-3"], "must be positive"),
    (["--layers", "0"], "must be positive"),
    (["--temperature", "0"], "must be positive"),
    (["--seed", "-1"], "must not be negative"),
])
def test_unusable_options(monkeypatch, tmp_path, capsys, arguments, words):
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, tmp_path, *arguments)
    assert stop.value.code == 2 and words in capsys.readouterr().err


@pytest.mark.parametrize("arguments, words", [
    (["--cell", "ClockworkRNNCell", "--hidden", "6"],
     "ClockworkRNNCell with 103 inputs and 6 hidden units: ClockworkRNNCell got hidden_size=6 for 4 periods"),
    (["--cell", "MLSTMCell", "--layers", "2", "--cell", f"{__file__}:needs_nothing"], "2 layers of needs_nothing with "),
    (["--draw", "picture.txt"], "--draw: save(path) got 'picture.txt'"),
])
def test_what_cannot_be_made_or_drawn(monkeypatch, tmp_path, capsys, arguments, words):
    assert run(monkeypatch, tmp_path, *arguments) == 2
    error = capsys.readouterr().err
    assert words.partition(" with 103")[0] in error and words.partition("103")[2] in error and error.count("\n") == 1


def needs_nothing():
    """No cell."""


def test_a_time_that_is_over_before_the_first_step_still_trains_one(monkeypatch, tmp_path, capsys):
    path = tmp_path / "text.txt"
    path.write_text("hello world " * 50)
    assert run(monkeypatch, tmp_path, path, "--seconds", "1e-9", "--hidden", "8", "--cell", "ClockworkRNNCell") == 0
    assert "perplexity" in capsys.readouterr().out


def test_the_command_lists_the_systems_and_suggests(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["models"])
    assert command.main() == 0
    assert "characters" in (shown := capsys.readouterr().out) and "learns to write" in shown and "figures" not in shown
    monkeypatch.setattr(sys, "argv", ["models", "charcters"])
    assert command.main() == 2
    assert "did you mean characters?" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["models", "zzz"])
    assert command.main() == 2
    assert "there are: " in capsys.readouterr().err
