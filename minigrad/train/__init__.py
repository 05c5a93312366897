"""Training: update rules, schedules, batches of sequences, and a loop with validation, log, checkpoints and resume.

    fit.py          fit: the training loop
    optimizers.py   SGD, Momentum, Nesterov, RMSprop, Adagrad, Adam, AdamW
    schedules.py    cosine, step_decay, warmup: factors of the learning rate
    clip.py         clip_by_global_norm
    data.py         windows of long sequences, pad_sequences, Minibatches
    validation.py   validation and early stopping
    resume.py       checkpoints: what is kept, and how a run is taken up again
    failure.py      where a NaN came from
    log.py          the log: a line of JSON for each step
    progress.py     the bar
    plot.py         plot: curves of runs
"""
from .clip import clip_by_global_norm
from .data import Minibatches, pad_sequences, windows
from .fit import fit
from .log import read_log
from .optimizers import SGD, Adagrad, Adam, AdamW, Momentum, Nesterov, Optimizer, RMSprop
from .plot import plot
from .schedules import cosine, step_decay, warmup

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Minibatches", "Momentum", "Nesterov", "Optimizer", "RMSprop", "clip_by_global_norm",
           "cosine", "fit", "pad_sequences", "plot", "read_log", "step_decay", "warmup", "windows"]
