"""The training loop: what it computes, and that a run which was stopped ends bit for bit like one that was not."""
import json
from collections import namedtuple

import numpy as np
import pytest

import minigrad as mg
from minigrad.train import Adam, SGD, fit

State = namedtuple("State", "h c")


class Line(mg.Module):
    def __init__(self):
        self.w, self.b = mg.parameter([0.5, -0.5], name="w"), mg.parameter(0.1, name="b")

    def loss(self, x, y):
        return ((x @ self.w + self.b - y) ** 2).mean()


def data(n, seed=0):
    rng = np.random.default_rng(seed)
    xs = rng.standard_normal((n, 8, 2))
    return [(x, x @ [2.0, -1.0] + 0.3) for x in xs]


def recurrent(seed=0):
    """A cell, a loss that carries its state, and batches."""
    rng = np.random.default_rng(seed)
    cell = mg.RNNCell(3, 4, rng=rng)

    def loss(x, state):
        ys, state = mg.unroll(cell, x, state)
        return ((ys - 0.5) ** 2).mean(), state
    return cell, loss, list(rng.standard_normal((12, 5, 2, 3)))


def test_one_step_is_loss_backward_clip_step():
    model, by_hand = Line(), Line()
    records = fit(model.loss, model, data(1), optimizer=SGD(model, 0.1), clip=0.5, progress=False)
    loss = by_hand.loss(*data(1)[0])
    loss.backward()
    norm = mg.train.clip_by_global_norm(by_hand, 0.5)
    SGD(by_hand, 0.1).step()
    assert records[0]["loss"] == loss.item() and records[0]["norm"] == norm and records[0]["step"] == 1
    assert np.array_equal(model.w.data, by_hand.w.data) and np.array_equal(model.b.data, by_hand.b.data)


def test_it_learns():
    model = Line()
    fit(model.loss, model, data(5), optimizer=Adam(model, 0.05), steps=400, progress=False)
    np.testing.assert_allclose(model.w.data, [2, -1], atol=1e-2)


def test_batches_end_or_go_round():
    def count(batches, steps):
        model = Line()
        return len(fit(model.loss, model, batches, optimizer=SGD(model), steps=steps, progress=False))
    assert count(data(3), None) == 3
    assert count(data(3), 2) == 2
    assert count(data(3), 7) == 7
    assert count(iter(data(3)), 7) == 3                            # a generator cannot go round
    assert count([], 0) == 0


@pytest.mark.parametrize("stop", [1, 5, 8])
def test_resume_equals_uninterrupted_bit_for_bit(tmp_path, stop):
    def run(name, *steps):
        cell, loss, batches = recurrent()
        for n in steps:
            if n is not steps[0]:
                cell, loss, batches = recurrent()              # a new process: only the files are remembered
            fit(loss, cell, batches, optimizer=Adam(cell, 0.01), clip=0.05, state=cell.initial_state(2), steps=n,
                every=3, log=tmp_path / f"{name}.jsonl", checkpoint=tmp_path / f"{name}.npz", progress=False)
        lines = [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        return cell.state_dict(), [(line["step"], line["loss"], line["norm"]) for line in lines]
    whole, whole_log = run("whole", 11)
    parts, parts_log = run("parts", stop, 11)
    assert whole.keys() == parts.keys() and all(np.array_equal(whole[k], parts[k]) for k in whole)
    assert whole_log == parts_log and [step for step, *_ in whole_log] == list(range(1, 12))


def test_resume_after_a_crash_drops_the_log_after_the_checkpoint(tmp_path):
    def run(explode):
        cell, loss, batches = recurrent()

        def watch(record):
            if explode and record["step"] == 5:
                raise KeyboardInterrupt
        fit(loss, cell, batches, optimizer=Adam(cell, 0.01), state=cell.initial_state(2), every=2, watch=watch,
            log=tmp_path / "log.jsonl", checkpoint=tmp_path / "run.npz", progress=False)
        return cell.state_dict()
    with pytest.raises(KeyboardInterrupt):
        run(explode=True)
    resumed = run(explode=False)
    steps = [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 13))
    (tmp_path / "run.npz").unlink()
    whole = run(explode=False)
    assert all(np.array_equal(whole[k], resumed[k]) for k in whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", "run.npz"]     # nothing half-written


def test_resume_false_starts_over(tmp_path):
    for resume, expected in ((True, 3), (True, 0), (False, 3)):
        model = Line()
        records = fit(model.loss, model, data(3), optimizer=SGD(model), checkpoint=tmp_path / "a.npz", resume=resume,
                      progress=False)
        assert len(records) == expected


@pytest.mark.parametrize("wrap", [lambda h: (h, h + 1), lambda h: State(h, h + 1), lambda h: {"h": h, "c": (h + 1,)}])
def test_nested_states_are_carried_detached_and_resumed(tmp_path, wrap):
    w = mg.parameter(np.array([0.5, 0.25]), name="w")
    seen = []

    def loss(x, state):
        h, c = state.values() if isinstance(state, dict) else state
        c = c[0] if isinstance(c, tuple) else c
        assert type(state) is type(wrap(h)) and not h.requires_grad and not c.requires_grad
        seen.append(h.data.copy())
        h = h * w + x
        return (h * c).sum(), wrap(h)
    start = wrap(mg.Tensor(np.ones(2)))
    for steps in (2, 4):
        fit(loss, [w], [1.0, 2.0, 3.0, 4.0], optimizer=SGD([w], 0.0), state=start, steps=steps,
            checkpoint=tmp_path / "s.npz", progress=False)
    np.testing.assert_allclose(seen, [[1, 1], [1.5, 1.25], [2.75, 2.3125], [4.375, 3.578125]])


def test_watch_adds_to_the_record(tmp_path):
    model = Line()
    records = fit(model.loss, model, data(2), optimizer=SGD(model), log=tmp_path / "log.jsonl", progress=False,
                  watch=lambda record: record.update(double=2 * record["loss"]))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines == records and lines[1]["double"] == 2 * lines[1]["loss"]


@pytest.mark.parametrize("bad, word", [(np.nan, "nan"), (np.inf, "inf")])
def test_a_loss_that_is_not_finite_stops_and_names_the_step(tmp_path, bad, word):
    model = Line()
    batches = data(3)
    batches[1] = (batches[1][0], batches[1][1] + bad)
    with pytest.raises(FloatingPointError, match=f"at step 2: the loss is {word}.*smaller learning_rate"):
        fit(model.loss, model, batches, optimizer=SGD(model), log=tmp_path / "log.jsonl", progress=False)
    assert np.isfinite(model.w.data).all() and len((tmp_path / "log.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_gradient_that_is_not_finite_names_the_step_and_the_parameter(clip):
    w = mg.parameter([0.0, 1.0], name="w")
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="at step 1: the gradient of 'w'"):
        fit(lambda x: mg.sqrt(w * x).sum(), [w], [1.0], optimizer=SGD([w]), clip=clip, progress=False)
    assert w.data.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("loss, options, error, words", [
    (lambda w, x: 1.0, {}, TypeError, "returned a float at step 1, expected a scalar Tensor"),
    (lambda w, x: w * x, {}, ValueError, r"shape \(2,\) at step 1.*sum\(\) or mean\(\)"),
    (lambda w, x: ((w * x).sum(), w), {}, TypeError, "give its first value as state="),
    (lambda w, x, s: (w * x).sum(), {"state": mg.Tensor(1.0)}, TypeError, r"must return \(loss, new state\)"),
])
def test_a_wrong_loss_says_what_was_expected(loss, options, error, words):
    w = mg.parameter([1.0, 2.0])
    with pytest.raises(error, match=words):
        fit(lambda *arguments: loss(w, *arguments), [w], [1.0], optimizer=SGD([w]), progress=False, **options)


def test_an_optimizer_of_other_parameters_is_refused():
    with pytest.raises(ValueError, match=r"the optimizer moves \['a'\], but parameters are \['b'\]"):
        fit(None, [mg.parameter(1.0, name="b")], [], optimizer=SGD([mg.parameter(1.0, name="a")]))


def test_paths_are_looked_at_before_training(tmp_path):
    model = Line()
    for options, error, words in (({"checkpoint": tmp_path / "a.pickle"}, ValueError, "ending in .npz or .safetensors"),
                                  ({"checkpoint": tmp_path / "no" / "a.npz"}, FileNotFoundError, "make it first"),
                                  ({"log": tmp_path / "no" / "a.jsonl"}, FileNotFoundError, "make it first")):
        with pytest.raises(error, match=words):
            fit(model.loss, model, data(1), optimizer=SGD(model), progress=False, **options)
    assert model.w.data.tolist() == [0.5, -0.5]


@pytest.mark.parametrize("installed", [True, False])
def test_progress_is_shown_with_and_without_tqdm(capsys, monkeypatch, installed):
    if installed:
        pytest.importorskip("tqdm", reason="tqdm (extra 'progress') is not installed")
    else:
        monkeypatch.setitem(__import__("sys").modules, "tqdm", None)
    model = Line()
    fit(model.loss, model, data(3), optimizer=SGD(model))
    shown = capsys.readouterr().err
    assert "loss" in shown and "norm" in shown and "3/3" in shown


def test_the_plain_line_is_rewritten_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tqdm", None)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    model = Line()
    fit(model.loss, model, data(3), optimizer=SGD(model))
    assert capsys.readouterr().err.startswith("\r")


def test_the_plain_line_says_how_long_still(monkeypatch):
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    line = mg.train.progress.Line(step=5, total=25)
    now = 10.0
    assert line.left(10) == "00:30 left  "                          # 5 steps in 10 s, 15 still to take
    assert line.left(6) == "03:10 left  "
    now = 1234.0
    assert line.left(6) == "6:30:46 left  "
    assert line.left(25) == mg.train.progress.Line(0, None).left(7) == ""


def test_no_number_is_cut_in_the_middle():
    record = {"step": 3, "loss": 0.123456, "norm": 10.0, "validation": 2, "learning_rate": 0.1, "seconds": 1.0}
    numbers = mg.train.progress.numbers
    assert numbers(record) == "loss 0.1235  norm 10  validation 2"
    assert numbers(record, 33) == numbers(record, 20) == "loss 0.1235  norm 10" and numbers(record, 19) == "loss 0.1235"


@pytest.mark.parametrize("log", [True, False])
def test_the_last_step_of_a_generator_is_validated_too(log, tmp_path):
    model, path = Line(), tmp_path / "log.jsonl"
    options = {"log": path} if log else {}
    records = fit(model.loss, model, iter(data(3)), optimizer=SGD(model), validate=lambda: 0.5, every=2, progress=False, **options)
    assert [record.get("validation") for record in records] == [None, 0.5, 0.5]
    assert not log or mg.train.read_log(path) == records


def test_no_step_is_shown_twice(capsys, monkeypatch):
    """Where there is time for a line after each step, the end of the run adds none."""
    monkeypatch.setitem(__import__("sys").modules, "tqdm", None)
    now = iter(range(0, 1000, 10))
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    model = Line()
    fit(model.loss, model, data(3), optimizer=SGD(model))
    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()] == ["1/3", "2/3", "3/3"]


def test_the_last_word_stands_below_the_bar(capsys):
    pytest.importorskip("tqdm", reason="tqdm (extra 'progress') is not installed")
    model = Line()
    records = fit(model.loss, model, data(3), optimizer=SGD(model), validate=lambda: 0.125, patience=1, every=2)
    assert capsys.readouterr().err.splitlines()[-1] == "the weights are those of step 2, where validation was best: 0.125"
    assert [record.get("validation") for record in records] == [None, 0.125, 0.125]


def test_a_validation_stays_to_be_seen(capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tqdm", None)
    model = Line()
    fit(model.loss, model, data(3), optimizer=SGD(model), validate=lambda: 0.125, patience=1, every=2)
    last = capsys.readouterr().err.splitlines()
    assert last[-2].startswith("step 3/3") and "validation 0.125" in last[-2]
    assert last[-1] == "the weights are those of step 2, where validation was best: 0.125"


@pytest.mark.parametrize("options, error, words", [
    ({"steps": -1}, ValueError, "steps is -1, expected a whole number, at least 0"),
    ({"every": 0}, ValueError, "every is 0, expected a whole number, at least 1"),
    ({"every": 2.5}, ValueError, "every is 2.5"),
    ({"schedule": 0.5}, TypeError, "schedule is a float, expected a function step -> factor"),
    ({"validate": 0.5}, TypeError, r"validate is a float, expected a function \(\) -> number"),
    ({"patience": 3}, ValueError, "patience is given without validate"),
    ({"patience": 0, "validate": float}, ValueError, "patience is 0, expected a whole number, at least 1"),
    ({"generators": [3]}, TypeError, "generators holds a int, expected numpy.random.Generator"),
])
def test_unusable_arguments_are_refused_before_the_first_step(options, error, words):
    model = Line()
    with pytest.raises(error, match=words):
        fit(model.loss, model, data(1), optimizer=SGD(model), progress=False, **options)
    assert model.w.data.tolist() == [0.5, -0.5]


@pytest.mark.parametrize("optimizer, error, words", [
    (None, TypeError, r"optimizer is a NoneType, expected an optimizer made on the parameters, such as mg.train.Adam\(model\)"),
    (SGD, TypeError, "optimizer is the class SGD, expected an optimizer made on the parameters"),
    (SGD(Line()), ValueError, r"moves \['w', 'b'\], but parameters are \['w', 'b'\], other ones of the same names: make the optimizer on the same"),
])
def test_an_optimizer_of_something_else(optimizer, error, words):
    model = Line()
    with pytest.raises(error, match=words):
        fit(model.loss, model, data(1), optimizer=optimizer, progress=False)


@pytest.mark.parametrize("batches", [list, lambda: iter([]), lambda: (batch for batch in data(0))], ids=["list", "iterator", "generator"])
@pytest.mark.parametrize("steps", [None, 3])
def test_nothing_to_train_on(batches, steps):
    model = Line()
    with pytest.raises(ValueError, match="batches is empty: there is nothing to train on; give at least one batch"):
        fit(model.loss, model, batches(), optimizer=SGD(model), steps=steps, progress=False)


# ---- schedules ------------------------------------------------------------------------------------------------------

def test_a_schedule_scales_the_learning_rate_and_leaves_it(tmp_path):
    model, by_hand = Line(), Line()
    schedule = mg.train.cosine(5, warmup=2)
    optimizer, plain = SGD(model, 0.1), SGD(by_hand, 0.1)
    records = fit(model.loss, model, data(5), optimizer=optimizer, schedule=schedule, progress=False)
    for step, batch in enumerate(data(5), 1):
        plain.learning_rate = 0.1 * schedule(step)
        plain.zero_grad()
        by_hand.loss(*batch).backward()
        plain.step()
    assert np.array_equal(model.w.data, by_hand.w.data) and optimizer.learning_rate == 0.1
    assert [r["learning_rate"] for r in records] == [0.1 * schedule(n) for n in range(1, 6)]


@pytest.mark.parametrize("bad", [float("nan"), -0.5, None, "half"])
def test_a_schedule_that_returns_nonsense_is_named_with_its_step(bad):
    model = Line()
    with pytest.raises(ValueError, match=f"the schedule returned {bad!r} for step 2"):
        fit(model.loss, model, data(3), optimizer=SGD(model), schedule=lambda step: 1 if step == 1 else bad, progress=False)


# ---- validation and early stopping ----------------------------------------------------------------------------------

def validated(values, *, steps=12, every=2, patience=None, path=None, watch=None, batches=None, resume=True):
    """Train w, which grows by 1 in each step, with these values of validation. Returns w and the records."""
    w = mg.parameter(0.0, name="w")

    def validate():
        return values[int(w.item()) // every - 1]
    records = fit(lambda: -w, [w], [()] if batches is None else batches, optimizer=SGD([w], 1.0), steps=steps, every=every,
                  validate=validate, patience=patience, checkpoint=path, watch=watch, progress=False, resume=resume)
    return w.item(), records


def test_validation_is_recorded_every_so_many_steps_and_at_the_end():
    w, records = validated([5, 4, 3, 2], steps=7, every=2)
    assert w == 7.0                                                 # without patience the weights are the last ones
    assert {r["step"]: r["validation"] for r in records if "validation" in r} == {2: 5.0, 4: 4.0, 6: 3.0, 7: 3.0}


def test_early_stopping_restores_the_best_weights():
    w, records = validated([5, 3, 4, 3, 1, 0], patience=2)
    assert w == 4.0 and len(records) == 8                           # best at step 4; 6 and 8 are no better, equal is not better
    w, records = validated([5, 3, 4, 2, 3, 2], patience=2)
    assert w == 8.0 and len(records) == 12
    w, records = validated([5, 3, 4, 3, 4, 5], patience=np.inf)
    assert w == 4.0 and len(records) == 12                          # never stopped, best all the same


@pytest.mark.parametrize("crash", range(1, 9))
def test_early_stopping_is_resumed(tmp_path, crash):
    """Stopped at any step, the run ends where it would have ended; taken up after its end, it stays there."""
    def watch(record):
        if record["step"] == crash:
            raise KeyboardInterrupt
    values = [5, 3, 4, 3, 1, 0]
    with pytest.raises(KeyboardInterrupt):
        validated(values, patience=2, path=tmp_path / "a.npz", watch=watch)
    w, records = validated(values, patience=2, path=tmp_path / "a.npz")
    assert w == 4.0 and records[-1]["step"] == 8
    w, records = validated(values, patience=2, path=tmp_path / "a.npz")
    assert w == 4.0 and records == []
    w, records = validated(values, patience=4, path=tmp_path / "a.npz")
    assert w == 12.0 and len(records) == 4                          # with more patience it goes on


def test_validation_at_the_end_of_a_generator_is_logged(tmp_path):
    model = Line()
    records = fit(model.loss, model, iter(data(3)), optimizer=SGD(model), validate=lambda: 0.25, every=2, progress=False,
                  log=tmp_path / "log.jsonl")
    assert [r.get("validation") for r in records] == [None, 0.25, 0.25]
    assert mg.train.read_log(tmp_path / "log.jsonl") == records


def test_validation_runs_in_eval_mode_without_recording():
    model = Line()
    model.inner, model.frozen = mg.Module(), mg.Module().eval()
    modes = []

    def look():
        modes.append((model.training, model.inner.training, model.frozen.training))

    def validate():
        look()
        loss = model.loss(*data(1)[0])
        assert not loss.requires_grad
        return loss
    records = fit(model.loss, model, data(2), optimizer=SGD(model), validate=validate, every=1, progress=False, watch=lambda _: look())
    assert modes == 2 * [(False, False, False), (True, True, False)]        # afterwards each is as it was
    assert records[1]["validation"] == model.loss(*data(1)[0]).item()

    def failing():
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        fit(model.loss, model, data(1), optimizer=SGD(model), validate=failing, progress=False)
    assert model.training


@pytest.mark.parametrize("value, error, words", [
    ("good", TypeError, "returned a str at step 1, expected one number"),
    (np.zeros(3), TypeError, "returned a ndarray at step 1"),
    (np.nan, FloatingPointError, "returned nan at step 1"),
])
def test_validation_must_be_a_finite_number(value, error, words):
    model = Line()
    with pytest.raises(error, match=words):
        fit(model.loss, model, data(1), optimizer=SGD(model), validate=lambda: value, progress=False)
