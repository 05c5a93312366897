"""The extra ``speed``: loops for Numba. Most of it is looked at without Numba, which the loops do not need: they are Python."""
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import types
import warnings

import numpy as np
import pytest

import minigrad as mg
from minigrad.compile import NotCompiled, call, elements, fused, fused_forms, scan, source, speed
from tests.compile.test_scan import CELLS, assert_same, numbers

NO_FORM = {"LayerNormLSTMCell": "layer_norm", "SLSTMCell": "logsigmoid"}       # what their steps have that has no form for Numba
numba = pytest.mark.skipif(not importlib.util.find_spec("numba"), reason="needs numba (pip install minigrad[speed])")


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No programs from before, and a cache of the test's own; a scan that falls back fails the test."""
    monkeypatch.setattr(call, "_programs", call._programs.__class__())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", NotCompiled)
        yield


@pytest.fixture
def plain(monkeypatch):
    """Numba that compiles nothing."""
    stub = types.SimpleNamespace(njit=lambda **options: lambda f: f, float32=np.float32)
    monkeypatch.setitem(sys.modules, "numba", stub)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0")
    monkeypatch.setattr(speed, "asked", "numba")


def made():
    """The source of the one program that there is."""
    (programs, _), = call._programs.values()
    return programs[0].source


def lstm(dtype=float):
    return mg.LSTMCell(3, 4, rng=np.random.default_rng(0), dtype=dtype), numbers(5, 1, 3).astype(dtype)


# ---- the loops, run as Python -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape, options", [((5, 1), {}), ((4,), {"reverse": True}), ((5, 2), {"lengths": np.array([4, 1])})], ids=str)
@pytest.mark.parametrize("name", CELLS)
def test_every_cell_gives_the_same_numbers(plain, name, shape, options):
    assert_same(getattr(mg, name)(3, 4, rng=np.random.default_rng(1)), numbers(*shape, 3), options=options)
    assert made().startswith("# Numba's loops" if name not in NO_FORM else f"# NumPy's loops: Numba's have no form for {made().split('for ')[1]}")
    assert name not in NO_FORM or NO_FORM[name] in made().splitlines()[0]


@pytest.mark.parametrize("name", CELLS)
def test_float32_stays_float32(plain, name):
    cell, options = getattr(mg, name)(3, 4, rng=np.random.default_rng(1), dtype=np.float32), {"states": True, "reverse": True}
    assert_same(cell, numbers(4, 1, 3).astype(np.float32), options=options, tolerance=2e-4)


def test_a_step_of_many_forms(plain):
    """Reductions, choices, pieces, transposes, comparisons, more rows than are unrolled, a number that float32 rounds."""
    W, v = mg.parameter(numbers(27, 27) / 5, name="W"), mg.parameter(numbers(27, seed=1), name="v")

    def cell(x, state):
        h, s = state
        a = (h - h.mean(axis=-1, keepdims=True)) @ W.T + x
        a = np.where(h > 0.1, np.maximum(a, -0.5), np.exp(-a * a)) / (1 + np.abs(h).max(axis=-1, keepdims=True))
        h = np.concatenate([a[..., 5:], np.tanh(a[..., :5] * s)], axis=-1)
        return h @ v, (h, s / 2 + h[..., 1:4].sum())
    for batch in ((), (1,), (3,)):
        call._programs.clear()
        assert_same(cell, numbers(6, *batch, 27), (mg.Tensor(numbers(*batch, 27, seed=2)), mg.Tensor(0.5)), parameters=[W, v])
        assert made().startswith("# Numba's loops")


def test_heads_are_cut_and_put_together(plain):
    U, W = mg.parameter(numbers(3, 2, 3), name="U"), mg.parameter(numbers(6, 6), name="W")

    def cell(x, h):
        h = np.tanh(x + (h.reshape(3, 1, 2) @ U).reshape(9)[..., :6] + h.reshape(2, 3).T.reshape(6) @ W)
        return h, h
    assert_same(cell, numbers(4, 6), mg.Tensor(numbers(6, seed=2)), parameters=[U, W])
    assert made().startswith("# Numba's loops") and " // " in made()


def counting(x, state):
    h, n = state
    h = np.tanh(h + x)
    return h, (h, n + (h > n).sum())


NO_FORMS = {"a number as a condition": (lambda x, h: 2 * (np.where(h, np.sin(h), x),), 0.0, "not_equal"), "a sum of whole numbers": (counting, (0.0, 0), "add.reduce"),
            "a product over nothing": (lambda x, h: 2 * (x + h[..., :0] @ np.zeros((0, 4)) + np.tanh(h[..., 1:1]).sum() * h,), 0.0, "dot"),
            "a scatter": (lambda x, h: 2 * (x + h[::2].sum() * h,), 0.0, "scatter"),
            "many axes": (lambda x, h: 2 * (x + np.tanh(h.reshape(2, 1, 2, 1, 1) * x.reshape(2, 1, 2, 1, 1)).reshape(4),), 0.0, "arrays of 5 axes")}


@pytest.mark.parametrize("name", NO_FORMS)
def test_without_a_form_numpy_has_the_loops(plain, name):
    cell, start, what = NO_FORMS[name]
    state = tuple(mg.Tensor(np.full(4, s)) for s in start) if isinstance(start, tuple) else mg.Tensor(np.full(4, start))
    assert_same(cell, numbers(3, 4), state, parameters=[])
    assert made().startswith("# NumPy's loops: Numba's have no form for") and what in made().splitlines()[0]


def test_states_trade_places_and_stay_where_they_are(plain):
    def cell(x, state):
        a, b, c = state
        return a + x, (b, np.tanh(a * c + x), np.stack([c, a], axis=-2).max(axis=-2))
    state = tuple(mg.Tensor(numbers(2, 3, seed=n)) for n in range(3))
    assert_same(cell, numbers(5, 2, 3), state, parameters=[])
    assert made().startswith("# Numba's loops")


def test_arrays_without_numbers(plain):
    def cell(x, state):
        h, nothing = state
        return h, (np.tanh(h + x + nothing.sum()), np.tanh(nothing * 2))
    assert_same(cell, numbers(3, 2, 4), (mg.Tensor(numbers(2, 4)), mg.Tensor(np.zeros((2, 0)))), parameters=[])
    assert made().startswith("# Numba's loops")


def test_large_batches_are_left_to_numpy():
    with pytest.raises(elements.NoForm, match="apart|matmul"):
        source(mg.LSTMCell(3, 64), numbers(3, 80, 3), numba=True)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_tanh_is_right_to_a_few_roundings_and_never_beyond_one(dtype):
    here = fused.Fused.__new__(fused.Fused)
    here.helpers, here.imports = {}, set()
    name, namespace = fused_forms._tanh(here, np.dtype(dtype)), {"fused": lambda f: f, "float32": np.float32}
    exec(next(iter(here.helpers.values())), namespace)
    x = np.concatenate([np.linspace(-25, 25, 2001), np.geomspace(1e-30, 1, 501), [np.nan, np.inf, -np.inf, 0.0]]).astype(dtype)
    y, expected = np.array([namespace[name](v) for v in x]), np.tanh(x)
    assert y.dtype == dtype and np.nanmax(np.abs(y)) == 1
    np.testing.assert_allclose(y, expected, rtol=5 * np.finfo(dtype).eps, atol=0)


# ---- which of the two, and what is kept ---------------------------------------------------------------------------------
def test_the_faster_one_is_chosen_once(plain, monkeypatch):
    monkeypatch.setattr(speed, "asked", "1")
    times = [(2e-6, 1e-6), (1e-6, 2e-6)]
    monkeypatch.setattr(speed, "measured", lambda call, programs: times.pop(0))
    for cell, first in ((lstm()[0], "# Numba's loops: NumPy's take 2 µs, Numba's 1"), (mg.GRUCell(3, 4), "# NumPy's loops: NumPy's take 1 µs, Numba's 2")):
        for _ in range(2):                              # the second time from disk: there is no third measurement
            call._programs.clear()
            scan(cell, lstm()[1])
            assert made().startswith(first) and made() == source(cell, lstm()[1])
    assert not times
    monkeypatch.setitem(sys.modules, "numba", None)     # for NumPy's it is not even imported
    call._programs.clear()
    scan(cell, lstm()[1])
    assert made().startswith(first)


def test_a_choice_that_cannot_be_read_is_made_again(plain, monkeypatch, tmp_path):
    monkeypatch.setattr(speed, "asked", "1")
    monkeypatch.setattr(speed, "measured", lambda call, programs: (4e-6, 3e-6))
    scan(*lstm())
    choice, = tmp_path.glob("minigrad/*.txt")
    for broken in (b"", b"\xff", b"Numba's loops\nraise SystemExit"):
        choice.write_bytes(broken)
        call._programs.clear()
        scan(*lstm())
        assert choice.read_text("utf-8") == made().splitlines()[0][2:] == "Numba's loops: NumPy's take 4 µs, Numba's 3"


def test_loops_that_run_as_python_are_slower(plain, monkeypatch):
    monkeypatch.setattr(speed, "asked", "1")
    assert_same(mg.LSTMCell(3, 32), numbers(30, 1, 3))
    assert made().startswith("# NumPy's loops: NumPy's take")


def test_a_wrong_program_is_not_taken(plain, monkeypatch):
    monkeypatch.setitem(fused_forms.SYMBOLS, "add", "{} - {}")
    assert_same(*lstm())
    assert made().startswith("# NumPy's loops: Numba's failed (CannotTrace: its program and the unroll differ")


def test_a_folder_that_cannot_be_written_is_no_error(plain, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(speed, "asked", "1")
    monkeypatch.setattr(speed, "measured", lambda call, programs: (4e-6, 3e-6))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert_same(*lstm())
    assert made().startswith("# Numba's loops") and "cache=False" in made()


@pytest.mark.parametrize("platform, environment, where", [
    ("linux", {}, "/home/me/.cache/minigrad"), ("linux", {"XDG_CACHE_HOME": "/fast"}, "/fast/minigrad"), ("darwin", {}, "/home/me/Library/Caches/minigrad"),
    ("win32", {"LOCALAPPDATA": "/local"}, "/local/minigrad/Cache"), ("win32", {"NUMBA_CACHE_DIR": "/numba"}, "/numba/minigrad")])
def test_the_folder_is_where_the_platform_has_its_caches(monkeypatch, platform, environment, where):
    monkeypatch.setattr(speed.sys, "platform", platform)
    monkeypatch.setattr(speed.Path, "home", lambda: speed.Path("/home/me"))
    monkeypatch.setattr(speed.os, "environ", environment)
    assert speed.folder() == speed.Path(where)


def test_not_asked_for_it_is_not_looked_at(monkeypatch, tmp_path):
    monkeypatch.setattr(speed, "asked", "")
    monkeypatch.setattr(importlib.metadata, "version", None)
    assert_same(*lstm())
    assert made().startswith('"""LSTMCell') and not any(tmp_path.iterdir())


def test_without_numba_it_says_so_and_runs(monkeypatch):
    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)
    monkeypatch.setattr(speed, "asked", "1")
    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.warns(UserWarning, match=r"pip install minigrad\[speed\]"):
        assert_same(*lstm())
    assert made().startswith('"""LSTMCell')


# ---- Numba itself -------------------------------------------------------------------------------------------------------
SCRIPT = """
import sys
import numpy as np
import minigrad as mg
from minigrad.compile import call

cell, xs = mg.LSTMCell(3, 4, rng=np.random.default_rng(0)), np.random.default_rng(0).standard_normal((5, 1, 3))
ys, _ = mg.scan(cell, xs)
ys.sum().backward()
program = next(iter(call._programs.values()))[0][0]
functions = [program.make.__globals__[name] for name in ("forward_in_time", "backward_in_time") if name in program.make.__globals__]
print("numba" in sys.modules, [sum(f.stats.cache_hits.values()) for f in functions], repr(cell.W_h.grad.sum()))
"""


def run(**environment):
    own = {k: v for k, v in os.environ.items() if k != "MINIGRAD_SPEED"}
    return subprocess.run([sys.executable, "-c", SCRIPT], env={**own, **environment}, capture_output=True, text=True, check=True).stdout.split(" ", 1)


def test_the_core_does_not_import_numba():
    assert run()[0] == "False"


@numba
def test_a_second_process_finds_the_code_of_the_first(tmp_path):
    first, second = run(MINIGRAD_SPEED="numba"), run(MINIGRAD_SPEED="numba")
    assert first[0] == second[0] == "True"
    assert first[1].startswith("[0, 0]") and second[1].startswith("[1, 1]")
    assert first[1].split("]")[1] == second[1].split("]")[1]
    for kept in tmp_path.glob("minigrad/__pycache__/*.nb?"):
        kept.write_bytes(b"broken")
    assert run(MINIGRAD_SPEED="numba")[1].split("]")[1] == first[1].split("]")[1]


@numba
@pytest.mark.parametrize("dtype, tolerance", [(float, 1e-12), (np.float32, 2e-4)], ids=["float64", "float32"])
def test_compiled_it_gives_the_same_numbers(monkeypatch, dtype, tolerance):
    monkeypatch.setattr(speed, "asked", "numba")
    assert_same(*lstm(dtype), tolerance=tolerance)
    (programs, _), = call._programs.values()
    assert made().startswith("# Numba's loops") and hasattr(programs[0].make.__globals__["backward_in_time"], "stats")
