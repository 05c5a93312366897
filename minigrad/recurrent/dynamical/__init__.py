"""Differential equations, taken one step at a time."""
__all__: list[str] = []
