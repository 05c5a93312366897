"""Training: update rules, clipping and a loop with progress, log and resume.

    optimizers.py   SGD, Momentum, RMSprop, Adagrad, Adam
    clip.py         clip_by_global_norm
    fit.py          fit: the training loop
"""
from .clip import clip_by_global_norm
from .fit import fit
from .optimizers import SGD, Adagrad, Adam, Momentum, Optimizer, RMSprop

__all__ = ["SGD", "Adagrad", "Adam", "Momentum", "Optimizer", "RMSprop", "clip_by_global_norm", "fit"]
