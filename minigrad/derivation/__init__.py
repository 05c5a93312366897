"""The derivation workbench's writers: ``derive`` writes equations and a NumPy program, ``tableau`` the numbers of a backward pass."""
from .derive import Derivation, derive
from .lines import Line
from .tableau import Tableau, tableau

__all__ = ["Derivation", "Line", "Tableau", "derive", "tableau"]
