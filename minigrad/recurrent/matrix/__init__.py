"""A memory that is a matrix (or is kept by exponential gates): xLSTM and the delta rule."""
__all__: list[str] = []
