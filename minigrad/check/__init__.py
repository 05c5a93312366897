"""Checks: is this gradient right, and if not, which one and where?

    gradcheck.py   gradcheck: the engine's gradients of any function against complex step or five-point differences
    compare.py     compare: gradients derived by hand against the engine's (or anybody's), and the Report both return
"""
from .compare import Report, Row, compare
from .gradcheck import gradcheck

__all__ = ["Report", "Row", "compare", "gradcheck"]
