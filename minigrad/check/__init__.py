"""Checks: is this gradient right, and if not, which line, at which step, and why?

    gradcheck.py   gradcheck: the gradients of any function against numbers that no rule had a hand in
    compare.py     compare: gradients, intermediates or lines derived by hand against the engine's; rows.py: the Report
    diagnose.py    diagnose: what explains the difference; exercise.py: a derivation with a slip in it, to be found
    bptt.py        bptt: the double sum over losses and steps, term by term
    notes.py       check_notes, new_notes: a file of notes, checked
    probe.py       probe: numbers on which mistakes show

Underneath: slopes.py, entries.py, checked.py, where.py (gradcheck); edges.py, perturb.py, slips/, lines.py, explain/, phrases.py
(diagnose); uses.py, terms.py, heat.py (bptt); page.py, how a report looks on a page.
"""
from .bptt import bptt
from .compare import compare
from .diagnose import diagnose
from .exercise import exercise
from .gradcheck import gradcheck
from .notes import check_notes, new_notes
from .probe import probe
from .rows import Report, Row

__all__ = ["Report", "Row", "bptt", "check_notes", "compare", "diagnose", "exercise", "gradcheck", "new_notes", "probe"]
