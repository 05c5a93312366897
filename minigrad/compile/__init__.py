"""The compiled scan: one time step of a cell becomes a NumPy program that runs T of them, forward and back.

    trace.py    Tape: what a cell does in one step, and its gradients by the ops' own rules
    plan.py     Plan: what is computed when: once, for all steps at once, or step by step
    emit.py     Writer: the plan as NumPy source that a person can read; sources.py: what it takes from ops/
    program.py  Program: the source made to run, with room for T steps that is used again
    call.py     scan: finds or makes the program, checks it against the unroll, and is one node of the graph
"""
from .call import NotCompiled, scan, source

__all__ = ["NotCompiled", "scan", "source"]
