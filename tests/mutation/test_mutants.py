"""Mutants are what they say, and a trial tells a mutant that tests notice from one that they do not."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation.mutants import mutants, sample
from tests.mutation.trial import covering

SOURCE = '''"""A docstring stays."""
LIMIT = 3


def positive(x: int = 2, *, flag=True):
    text = f"{x + 1} is not changed"
    total: "1 + 1" = x * 2.5
    for k in range(x):
        if k >= LIMIT and not flag:
            continue
        print(text)
    return -total if total < 0 else total
'''


def changes():
    source = SOURCE.encode()
    return [(source[m.start:m.stop].decode(), m.replacement) for m in mutants("pkg/module.py", source)]


def test_what_is_changed_and_what_is_not():
    assert changes() == [
        ("3", "4"), ("2", "3"), ("True", "False"), ("x * 2.5", "(x / 2.5)"), ("2.5", "5.0"),
        ("k >= LIMIT and not flag", "(k >= LIMIT or not flag)"),
        ("k >= LIMIT", "(k > LIMIT)"), ("not flag", "(flag)"), ("continue", "break"), ("print(text)", "pass"),
        ("return -total if total < 0 else total", "return None"), ("-total if total < 0 else total", "(total if total < 0 else -total)"),
        ("total < 0", "(total <= 0)"), ("0", "1"), ("-total", "(total)")]


def test_what_runs_at_import_is_known():
    assert [m.replacement for m in mutants("pkg/module.py", SOURCE.encode()) if m.at_import] == ["4", "3", "False"]


def test_a_sample_is_the_same_for_the_same_seed(tmp_path):
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "module.py").write_text(SOURCE + "\n\ndef é(a):\n    return 'é', a % 2\n", encoding="utf-8")
    first, among = sample(tmp_path, ["pkg"], 5, 1)
    assert first == sample(tmp_path, ["pkg/module.py"], 5, 1)[0] != sample(tmp_path, ["pkg"], 5, 2)[0]
    assert among == len(sample(tmp_path, ["pkg"], 1000, 1)[0]) == 18 and len(set(first)) == 5
    for mutant in sample(tmp_path, ["pkg"], 1000, 1)[0]:
        assert "'é'" in mutant.apply((tmp_path / "pkg" / "module.py").read_bytes()).decode() or mutant.replacement == "return None"


def test_what_runs_at_import_is_tried_against_the_tests_of_its_room():
    """A test may read a default from the signature, and run no line of the file."""
    names = ["tests/pkg/test_other.py::test_default", "tests/elsewhere/test_x.py::test_y", "tests/pkg/test_module.py::test_call"]
    known = {"seconds": dict.fromkeys(names, .1), "lines": {"minigrad/pkg/module.py": {"6": [2], "7": [2]}}}
    early, late = (next(m for m in mutants("minigrad/pkg/module.py", SOURCE.encode()) if m.replacement == new) for new in ("3", "5.0"))
    assert covering(early, known) == [names[2], names[0]] and covering(late, known) == [names[2]]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="mutants are tried in forked processes, which this system has not")
def test_a_trial(tmp_path):
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "module.py").write_text("def double(x):\n    y = x * 2\n    while y > 100:\n        y -= 1\n    return y\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_module.py").write_text(
        "from pkg.module import double\n\ndef test_two():\n    assert double(2) == 4\n\ndef test_large():\n    assert double(200) > 99\n")
    names = [f"tests/test_module.py::test_{what}" for what in ("two", "large")]
    known = {"seconds": dict.fromkeys(names, .01), "lines": {"pkg/module.py": {"2": [0, 1], "3": [0, 1], "4": [1], "5": [0, 1]}}}
    program = f"""
import json, pytest
from pathlib import Path
from tests.mutation import mutants, trial
trial.PATIENCE = .3
root, known = {str(tmp_path)!r}, json.loads({json.dumps(known)!r})
source = Path(root, "pkg/module.py").read_bytes()
for m in mutants.mutants("pkg/module.py", source):
    print(m.replacement, "|", trial.trial(root, m, known, 60)[0], flush=True)
assert Path(root, "pkg/module.py").read_bytes() == source
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parent.parent.parent)
    assert run.returncode == 0, run.stderr
    assert dict(line.split(" | ") for line in run.stdout.splitlines()) == {
        "(x / 2)": "killed", "3": "killed", "(y >= 100)": "killed", "101": "survived", "y += 1": "killed (too slow)", "2": "survived",
        "return None": "killed"}
