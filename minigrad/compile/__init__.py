"""The compiled scan: one time step of a cell becomes a NumPy program that runs T of them, forward and back.

    trace.py    Tape: what a cell does in one step, run on values that are followed (traced.py); named.py: what they are
                called; adjoint.py: its gradient
    plan.py     Plan: what is computed when: once, for all steps at once, or step by step; of Values (value.py); sizes.py: what pays
    demand.py   Demand: which values must be there for all steps; totals.py: what the gradient of a parameter needs of them
    layout.py   Layout: in which array each value lives
    emit.py     Writer: the program from top to bottom, NumPy source that a person can read; made of
        words.py, arrays.py, formula.py    names and constants; expressions over all steps; the comments
        steps.py, loop.py                  the parts outside of loops; the loops
        fused.py, fused_forms.py, elements.py      the same loops for Numba, element by element; how one statement is written there
        statements.py, calls.py            how one op is written: a new op's form is one entry here; cross_entropy.py, lines.py
        room.py, share.py                  the buffers; which of them may be one
        sources.py                         what a program takes from ops/
    program.py  Program: the source made to run, with room for T steps that is used again
    held.py     Held: what a cell reaches and could change, to be seen and put back
    same.py     Same: whether a cell does what it did before, told by its code; then it is not run
    speed.py    chosen: whether Numba has the loops, where that was asked for; what is kept on disk
    check.py    a program is made, and compared with the unroll before it is trusted
    run.py      Run: one call of a program, as one node of the graph
    call.py     scan: finds or makes the program
"""
from .call import NotCompiled, scan, source

__all__ = ["NotCompiled", "scan", "source"]
