"""The training loop: one function, with progress, a log, checkpoints and resume."""
import json
import math
import os
import sys
import time
from itertools import islice

import numpy as np

from ..module import load, save
from ..nested import flatten, rebuild
from ..recurrent import detach
from ..tensor import Tensor
from .clip import clip_by_global_norm
from .optimizers import named


def fit(loss_fn, parameters, batches, *, optimizer, clip=None, state=None, steps=None, log=None, checkpoint=None,
        every=100, resume=True, progress=True, watch=None):
    """Train: for each batch, loss, backward, clip, step. Returns the list of records, one dict per step taken.

    loss_fn     loss_fn(batch) -> scalar Tensor; a batch that is a tuple is spread: loss_fn(x, y).
    parameters  a Module, a dict name -> Tensor or a list: what the optimizer moves and the checkpoint keeps.
    batches     an iterable that gives the same batches in every run. With ``steps`` a list goes round and round.
    clip        a number: clip_by_global_norm to it before each step.
    state       truncated BPTT: a recurrent state (Tensor, tuple, NamedTuple or dict) that is handed from one batch to
                the next and detached in between. loss_fn gets it as its last argument and returns (loss, new state).
    steps       stop after so many steps, counted from the very first run; None: when the batches end.
    log         a path: one JSON line per step, {"step", "loss", "norm" (of the gradients, before clipping), "seconds"}.
    checkpoint  a path ending in .npz or .safetensors, written every ``every`` steps and at the end: parameters,
                optimizer, state, step. If it exists and ``resume`` is true, training goes on from there with the same
                numbers as a run that was never stopped (what loss_fn remembers, a dropout generator say, is not in it).
    progress    a bar (tqdm, if it is installed) or a plain line on stderr.
    watch       watch(record), called after each step; whatever it adds to the record is logged and shown.

    Raises FloatingPointError, naming the step, at a loss or gradient with NaN or infinity; parameters are as before it.

    >>> import minigrad as mg
    >>> w = mg.parameter(0.0, name="w")
    >>> records = mg.train.fit(lambda x: (w * x - 6) ** 2, [w], [2.0], optimizer=mg.train.SGD([w], 0.1),
    ...                        steps=50, progress=False)
    >>> round(w.item(), 3), len(records)
    (3.0, 50)
    """
    parameters = named(parameters)
    if {id(p) for p in parameters.values()} != {id(p) for p in optimizer.parameters.values()}:
        raise ValueError(f"the optimizer moves {list(optimizer.parameters)}, but parameters are {list(parameters)}: "
                         "make the optimizer on the same parameters")
    if checkpoint and not os.fspath(checkpoint).endswith((".npz", ".safetensors")):
        raise ValueError(f"checkpoint is {os.fspath(checkpoint)!r}, expected a path ending in .npz or .safetensors")
    for path in filter(None, (checkpoint, log)):                     # now, and not after an hour of training
        if not os.path.isdir(os.path.dirname(os.fspath(path)) or "."):
            raise FileNotFoundError(f"the folder of {os.fspath(path)!r} does not exist; make it first")
    step = 0
    if checkpoint and resume and os.path.exists(checkpoint):
        step, state = _restore(checkpoint, parameters, optimizer, state)
    lines = _Log(log, step)
    bar = _bar(step, steps) if progress else None
    records, start = [], time.perf_counter()
    try:
        for batch in islice(_rounds(batches, steps), step, steps):
            arguments = batch if isinstance(batch, tuple) else (batch,)
            result = loss_fn(*arguments) if state is None else loss_fn(*arguments, state)
            if state is not None:
                result, state = _pair(result)
                state = detach(state)
            value = _scalar(result, step + 1)
            optimizer.zero_grad()
            result.backward()
            try:
                norm = clip_by_global_norm(parameters, math.inf if clip is None else clip)
            except FloatingPointError as error:
                raise FloatingPointError(f"at step {step + 1}: {error}") from None
            optimizer.step()
            step += 1
            record = {"step": step, "loss": value, "norm": norm, "seconds": round(time.perf_counter() - start, 3)}
            if watch is not None:
                watch(record)
            records.append(record)
            lines.write(record)
            if bar:
                bar.show(record)
            if checkpoint and step % every == 0:
                _keep(checkpoint, step, parameters, optimizer, state)
        if checkpoint and step % every:
            _keep(checkpoint, step, parameters, optimizer, state)
    finally:
        lines.close()
        if bar:
            bar.close()
    return records


def _rounds(batches, steps):
    """The batches; those of a list again and again if a number of steps is asked for."""
    while True:
        empty = True
        for batch in batches:
            empty = False
            yield batch
        if empty or steps is None or iter(batches) is batches:
            return


def _pair(result):
    if not (isinstance(result, tuple) and len(result) == 2):
        raise TypeError("with state=..., loss_fn must return (loss, new state), "
                        f"but it returned a {type(result).__name__}")
    return result


def _scalar(loss, step):
    if not isinstance(loss, Tensor):
        carry = "; to carry a recurrent state, give its first value as state=..." if isinstance(loss, tuple) else ""
        raise TypeError(f"loss_fn returned a {type(loss).__name__} at step {step}, expected a scalar Tensor{carry}")
    if loss.size != 1:
        raise ValueError(f"loss_fn returned a Tensor of shape {loss.shape} at step {step}, expected one number: "
                         "take its sum() or mean()")
    value = loss.item()
    if not math.isfinite(value):
        raise FloatingPointError(f"the loss is {value} at step {step}; training stops with the parameters as before "
                                 "this step. A smaller learning_rate or clip=1.0 often helps; `with mg.debug():` "
                                 "shows the op and the time step")
    return value


# ---- the checkpoint: one flat dict of arrays in one file ------------------------------------------------------------

def _keep(path, step, parameters, optimizer, state):
    arrays = {f"parameters.{name}": p.data for name, p in parameters.items()}
    arrays.update({f"optimizer.{key}": array for key, array in optimizer.state_dict().items()})
    arrays.update({f"state.{i}": leaf for i, leaf in enumerate(flatten(state))})
    save(path, {**arrays, "step": np.array(step)})                    # written beside and renamed


def _restore(path, parameters, optimizer, state):
    """Put a checkpoint's values in place. Returns its step and state."""
    arrays = load(path)

    def part(prefix):
        return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}

    kept, states = part("parameters."), part("state.")
    shapes, expected = {n: a.shape for n, a in kept.items()}, {n: p.shape for n, p in parameters.items()}
    leaves = flatten(state)
    if "step" not in arrays or shapes != expected or len(states) != len(leaves):
        raise ValueError(f"checkpoint {os.fspath(path)!r} is of another run: it holds parameters {shapes} and "
                         f"{len(states)} state arrays, expected {expected} and {len(leaves)}; give another path, "
                         "or resume=False to overwrite it")
    optimizer.load_state_dict(part("optimizer."))
    for name, p in parameters.items():
        p.data = kept[name]
    return int(arrays["step"]), rebuild(state, [Tensor(states[str(i)]) for i in range(len(leaves))])


# ---- the log and the progress line ----------------------------------------------------------------------------------

class _Log:
    """JSON lines. Resuming at a step drops the lines after it, so that the file reads like one uninterrupted run."""

    def __init__(self, path, step):
        self.file = None
        if path is None:
            return
        kept = []
        if step and os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                kept = [line for line in file if line.endswith("\n") and json.loads(line)["step"] <= step]
        beside = f"{os.fspath(path)}.new"
        with open(beside, "w", encoding="utf-8") as file:
            file.writelines(kept)
        os.replace(beside, path)
        self.file = open(path, "a", encoding="utf-8", buffering=1)    # a line at a time: the log can be followed live

    def write(self, record):
        if self.file:
            self.file.write(json.dumps(record) + "\n")

    def close(self):
        if self.file:
            self.file.close()


def _text(record):
    return "  ".join(f"{key} {value:{'.4g' if isinstance(value, float) else ''}}" for key, value in record.items())


class _Line:
    """One line on stderr, rewritten on a terminal, and at most every two seconds elsewhere."""

    def __init__(self):
        self.live = sys.stderr.isatty()
        self.due, self.last = 0.0, None

    def show(self, record):
        self.last = record
        if time.monotonic() >= self.due:
            self._print(record)

    def _print(self, record):
        self.due, self.last = time.monotonic() + (0.1 if self.live else 2.0), None
        sys.stderr.write(f"\r\x1b[K{_text(record)}" if self.live else _text(record) + "\n")
        sys.stderr.flush()

    def close(self):
        if self.last:
            self._print(self.last)
        if self.live:
            sys.stderr.write("\n")


class _Tqdm:
    def __init__(self, tqdm, step, steps):
        self.bar = tqdm(initial=step, total=steps, unit="step")

    def show(self, record):
        text = _text({key: value for key, value in record.items() if key not in ("step", "seconds")})
        self.bar.set_postfix_str(text, refresh=False)
        self.bar.update()

    def close(self):
        self.bar.close()


def _bar(step, steps):
    try:
        from tqdm import tqdm
    except ImportError:
        return _Line()
    return _Tqdm(tqdm, step, steps)
