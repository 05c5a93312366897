"""The training loop: one function. What it keeps, shows and says when something fails stands in the files beside it."""
from __future__ import annotations

import math
import numbers
import os
import time
from itertools import islice
from typing import Any, Callable, Iterable, Sized

import numpy as np

from ..nested import Nested
from ..recurrent import detach
from ..tensor import Tensor
from .clip import clip_by_global_norm
from .failure import explain
from .log import Log
from .optimizers import Optimizer, Parameters, named
from .progress import bar
from .resume import Generators, Rounds, Run, remove_parts
from .validation import Validation

Path = str | os.PathLike[str]


def fit(loss_fn: Callable[..., Any], parameters: Parameters, batches: Iterable[Any], *, optimizer: Optimizer, steps: int | None = None,
        schedule: Callable[[int], float] | None = None, clip: float | None = None, state: Nested = None,
        validate: Callable[[], Any] | None = None, patience: float | None = None, every: int = 100, log: Path | None = None,
        checkpoint: Path | None = None, resume: bool = True, generators: Iterable[np.random.Generator] = (), progress: bool = True,
        watch: Callable[[dict[str, Any]], Any] | None = None) -> list[dict[str, Any]]:
    """Train: for each batch, loss, backward, clip, step. Returns the list of records, one dict per step taken.

    loss_fn     loss_fn(batch) -> scalar Tensor; a batch that is a tuple is spread: loss_fn(x, y).
    parameters  a Module, a dict name -> Tensor or a list: what the optimizer moves and the checkpoint keeps.
    batches     an iterable: a list, ``Minibatches``, ``windows``, a generator. With ``steps`` it goes round and round,
                unless it is a generator, which ends.
    steps       stop after so many steps, counted from the very first run; None: when the batches end.
    schedule    step -> factor of the optimizer's learning_rate, with step = 1, 2, … (``mg.train.cosine(1000, warmup=50)``).
    clip        a number: clip_by_global_norm to it before each step.
    state       truncated BPTT: a recurrent state (Tensor, tuple, NamedTuple or dict) that is handed from one batch to
                the next and detached in between. loss_fn gets it as its last argument and returns (loss, new state).
    validate    validate() -> a number, lower is better. Called every ``every`` steps and at the end, without recording
                and with the Module in eval mode, if ``parameters`` is one.
    patience    early stopping: stop after so many validations in a row without a new best. In the end the weights are
                the best ones; with ``patience=math.inf`` nothing is stopped.
    every       how many steps lie between two validations, and between two checkpoints.
    log         a path: one JSON line per step, {"step", "loss", "norm" (of the gradients, before clipping),
                "learning_rate" (with a schedule), "seconds", "validation" (where there was one)}.
    checkpoint  a path ending in .npz or .safetensors, written every ``every`` steps and at the end. If it exists and
                ``resume`` is true, training goes on from there, with the same numbers as a run that was never stopped.
                It holds parameters, optimizer, state, best weights, the place in the batches, and random generators.
    generators  numpy.random.Generators to keep there besides those that loss_fn, batches, validate, watch and the
                Module hold (in variables, attributes, or under a global name), which are found.
    progress    a bar (tqdm, if it is installed) or a plain line on stderr.
    watch       watch(record), called after each step; whatever it adds to the record is logged and shown.

    Raises FloatingPointError at a loss or gradient with NaN or infinity. The step is then run once more in mg.debug(), and the
    message names the op, the time step and the cell; parameters and generators are as before the step.

    >>> import minigrad as mg
    >>> w = mg.parameter(0.0, name="w")
    >>> records = mg.train.fit(lambda x: (w * x - 6) ** 2, [w], [2.0], optimizer=mg.train.SGD([w], 0.1),
    ...                        steps=50, progress=False)
    >>> round(w.item(), 3), len(records)
    (3.0, 50)
    """
    model, parameters = parameters, named(parameters)
    _check(parameters, optimizer, steps, schedule, validate, patience, every, log, checkpoint)
    held = Generators((loss_fn, batches, validate, watch, model), generators)
    validation = Validation(validate, patience, model, parameters)
    run = Run(parameters, optimizer, state, Rounds(batches, steps is not None, held), held, validation)
    if checkpoint:
        remove_parts(checkpoint)
        if resume and os.path.exists(checkpoint):
            run.load(checkpoint)
    last = len(batches) if steps is None and isinstance(batches, Sized) else steps        # None: nobody knows
    left = 0 if validation.over else None if steps is None else max(0, steps - run.step)
    lines, shown = Log(log, run.step), bar(run.step, last) if progress else None
    records, saved, start = [], run.step, time.perf_counter() - run.seconds
    remark = None
    try:
        for batch in islice(run.rounds, left):
            record = _step(loss_fn, batch, run, held, schedule, clip)
            run.step += 1
            run.seconds = time.perf_counter() - start
            record["seconds"] = round(run.seconds, 3)
            if validate and (run.step % every == 0 or run.step == last):
                record["validation"] = validation(run.step)
            if watch is not None:
                watch(record)
            records.append(record)
            lines.write(record)
            if shown:
                shown.show(record)
            if checkpoint and run.step % every == 0:
                run.save(checkpoint)
                saved = run.step
            if validation.over:
                break
        if run.step == 0 and left != 0:
            raise ValueError("batches is empty: there is nothing to train on; give at least one batch (a generator gives its batches once)")
        if validate and records and validation.seen != run.step:                 # the batches of a generator ended
            records[-1]["validation"] = validation(run.step)
            lines.rewrite(records[-1])
        if checkpoint and saved != run.step:
            run.save(checkpoint)
        if validation.weights:
            validation.restore_best()
            remark = f"the weights are those of step {validation.step}, where validation was best: {validation.best:.4g}"
    finally:
        lines.close()
        if shown:
            shown.close(remark)
    return records


def _step(loss_fn: Callable[..., Any], batch: Any, run: Run, held: Generators, schedule: Callable[[int], float] | None,
          clip: float | None) -> dict[str, Any]:
    """One step. Returns its record; ``run.state`` is the new state."""
    step, carried, optimizer = run.step + 1, run.state is not None, run.optimizer
    arguments = batch if isinstance(batch, tuple) else (batch,)
    arguments = (*arguments, run.state) if carried else arguments
    before = held.states
    try:
        result = loss_fn(*arguments)
        loss, state = _pair(result) if carried else (result, None)
        value = _scalar(loss, step)
        optimizer.zero_grad()
        loss.backward()
        norm = clip_by_global_norm(run.parameters, math.inf if clip is None else clip)
    except FloatingPointError as error:
        held.states = before
        failure = explain(error, step, loss_fn, arguments, run.parameters)
        held.states = before
        optimizer.zero_grad()
        raise failure from None
    record = {"step": step, "loss": value, "norm": norm}
    if schedule is None:
        optimizer.step()
    else:
        record["learning_rate"] = _scheduled_step(optimizer, schedule(step), step)
    run.state = detach(state)
    return record


def _scheduled_step(optimizer: Optimizer, factor: float, step: int) -> float:
    """A step with ``factor`` times the learning rate, which itself stays. Returns the product."""
    if not (isinstance(factor, numbers.Real) and 0 <= factor < math.inf):
        raise ValueError(f"the schedule returned {factor!r} for step {step}, expected a factor, finite and not negative")
    rate = optimizer.learning_rate
    optimizer.learning_rate = rate * float(factor)
    try:
        optimizer.step()
        return optimizer.learning_rate
    finally:
        optimizer.learning_rate = rate


def _pair(result: Any) -> tuple[Any, Nested]:
    if not (isinstance(result, tuple) and len(result) == 2):
        raise TypeError("with state=..., loss_fn must return (loss, new state), "
                        f"but it returned a {type(result).__name__}")
    return result


def _scalar(loss: Any, step: int) -> float:
    if not isinstance(loss, Tensor):
        carry = "; to carry a recurrent state, give its first value as state=..." if isinstance(loss, tuple) else ""
        raise TypeError(f"loss_fn returned a {type(loss).__name__} at step {step}, expected a scalar Tensor{carry}")
    if loss.size != 1:
        raise ValueError(f"loss_fn returned a Tensor of shape {loss.shape} at step {step}, expected one number: "
                         "take its sum() or mean()")
    value = loss.item()
    if not math.isfinite(value):
        raise FloatingPointError(f"the loss is {value}")
    return value


def _check(parameters: dict[str, Tensor], optimizer: Optimizer, steps: int | None, schedule: Any, validate: Any, patience: float | None,
           every: int, log: Path | None, checkpoint: Path | None) -> None:
    """What can be seen to be wrong before the first step, and not after an hour of training."""
    if not isinstance(optimizer, Optimizer):
        what = f"the class {optimizer.__name__}" if isinstance(optimizer, type) else f"a {type(optimizer).__name__}"
        raise TypeError(f"optimizer is {what}, expected an optimizer made on the parameters, such as mg.train.Adam(model)")
    if {id(p) for p in parameters.values()} != {id(p) for p in optimizer.parameters.values()}:
        others = ", other ones of the same names" if list(optimizer.parameters) == list(parameters) else ""
        raise ValueError(f"the optimizer moves {list(optimizer.parameters)}, but parameters are {list(parameters)}{others}: "
                         "make the optimizer on the same parameters")
    for name, function in (("schedule", schedule), ("validate", validate)):
        if function is not None and not callable(function):
            expected = "a function step -> factor, such as mg.train.cosine(1000)" if name == "schedule" else "a function () -> number"
            raise TypeError(f"{name} is a {type(function).__name__}, expected {expected}")
    for name, n, least in (("steps", steps, 0), ("every", every, 1), ("patience", patience, 1)):
        if n is not None and not (isinstance(n, numbers.Integral) and n >= least or name == "patience" and n == math.inf):
            raise ValueError(f"{name} is {n!r}, expected a whole number, at least {least}")
    if patience is not None and validate is None:
        raise ValueError("patience is given without validate; early stopping needs validate() -> a number, lower is better")
    if checkpoint and not os.fspath(checkpoint).endswith((".npz", ".safetensors")):
        raise ValueError(f"checkpoint is {os.fspath(checkpoint)!r}, expected a path ending in .npz or .safetensors")
    for path in (checkpoint, log):
        if path and not os.path.isdir(os.path.dirname(os.fspath(path)) or "."):
            raise FileNotFoundError(f"the folder of {os.fspath(path)!r} does not exist; make it first")
