"""Recurrences that are linear in the state, so that a whole sequence also has a closed form."""
__all__: list[str] = []
