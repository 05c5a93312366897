"""The compiled scan: one step of a cell becomes a NumPy program for T of them."""
from .call import NotCompiled, scan, source

__all__ = ["NotCompiled", "scan", "source"]
