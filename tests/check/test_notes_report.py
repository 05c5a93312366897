"""What the report on a file of notes prints: the numbers where all is right, the diagnosis where it is not, and on which probes."""
from minigrad.check.notes import TEMPLATE, check_notes


def report(tmp_path, text, **more):
    path = tmp_path / "notes.py"
    path.write_text(text, encoding="utf-8")
    return check_notes(str(path), **more)


def test_what_is_wrong_is_diagnosed_in_the_report(tmp_path):
    found = report(tmp_path, TEMPLATE.replace("* (1 - h[t] ** 2)", ""))
    assert found.diagnosis is not None and str(found.diagnosis) in str(found)
    assert "FIX" in str(found) and "is missing" in str(found) and "the same on" not in str(found)


def test_one_probe_is_not_several(tmp_path):
    assert "the same on 3 probes" in str(report(tmp_path, TEMPLATE))
    alone = report(tmp_path, TEMPLATE, seed=2)
    assert alone.ok and "seed 2" in str(alone) and "the same on" not in str(alone) and str(alone.report) in str(alone)
