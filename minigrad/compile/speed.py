"""The extra ``speed``: a program's loops as functions for Numba (fused.py), where that was asked for and is faster.

    MINIGRAD_SPEED=1        the faster of the two: both are measured once, and what was found is kept on disk with Numba's code
    MINIGRAD_SPEED=numba    Numba for every program that has such a form

Without it nothing here is looked at and Numba is not imported: it takes a second to load and one or two for each new program, and
its sums round otherwise than NumPy's. A program of Numba's is compared with the eager unroll as every program is. Whatever fails
(no Numba, no form, no room on disk) leaves NumPy's program, which says so in its first line.
"""
from __future__ import annotations

import hashlib
import os
import platform
import re
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Sequence

import numpy as np

from .elements import NoForm
from .run import Run

if TYPE_CHECKING:
    from .call import _Call
    from .program import Program

FOUND = "{who}'s loops: NumPy's take {ours} µs, Numba's {theirs}"
STEPS, ROUNDS, SECONDS = 256, 7, 0.3        # how many steps are measured at most, how often, how long

asked = os.environ.get("MINIGRAD_SPEED", "").removeprefix("0")


def chosen(program: Program, call: _Call, check: Callable[[Program], None]) -> Program:
    """The program, or the same with loops for Numba: what was asked for. ``check(program)`` raises where it is wrong."""
    if not asked:
        return program
    import importlib.metadata                           # twenty milliseconds
    try:
        version = importlib.metadata.version("numba")
    except importlib.metadata.PackageNotFoundError:
        warnings.warn("MINIGRAD_SPEED asks for Numba, which is not installed: pip install minigrad[speed]", stacklevel=5)
        return program
    try:
        source = program.fused_source()
    except NoForm as error:
        return program.noted(f"NumPy's loops: {error}")
    path = _path(source, version)
    found = _read(path.with_suffix(".txt")) if asked != "numba" else ""
    found = found if re.fullmatch(FOUND.format(who="Num(Py|ba)", ours=r"\d+", theirs=r"\d+"), found) else ""
    if found.startswith("NumPy"):
        return program.noted(found)
    for cached in (True, False):                        # what is on disk may be broken
        try:
            fused = program.with_source(*_placed(source, path, cached))
            check(fused)
            break
        except Exception as error:
            reason = " ".join([f"{type(error).__name__}:", *str(error).split()[:20]])
    else:
        return program.noted(f"NumPy's loops: Numba's failed ({reason})")
    if asked != "numba" and not found:
        ours, theirs = measured(call, (program, fused))
        found = FOUND.format(who="Numba" if theirs < ours else "NumPy", ours=round(ours * 1e6), theirs=round(theirs * 1e6))
        _write(path.with_suffix(".txt"), found)
    return program.noted(found) if found.startswith("NumPy") else fused.noted(found or "Numba's loops, as asked for")


def measured(call: _Call, programs: Sequence[Program]) -> list[float]:
    """Seconds that forward and back take with each, the shortest of some rounds; on the first steps of a call."""
    short = call.__class__.__new__(call.__class__)
    short.__dict__.update(call.__dict__, arrays=[a[:STEPS] for a in call.arrays], T=min(call.T, STEPS), every=None, states=False)
    least, end = [float("inf")] * len(programs), time.perf_counter() + SECONDS
    for n in range(ROUNDS):
        for k, program in enumerate(programs):
            run = Run(short, program, program.tape.follow(call.step))
            start = time.perf_counter()
            run.outputs()
            if program.wanted:
                run.backward({})
            least[k] = min(least[k], time.perf_counter() - start)
        if n and time.perf_counter() > end:
            break
    return least


# ---- on disk ------------------------------------------------------------------------------------------------------------------
def folder() -> Path:
    """Where sources, Numba's code and choices are kept."""
    own = os.environ.get("NUMBA_CACHE_DIR")
    if own:
        return Path(own) / "minigrad"
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "minigrad"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "minigrad" / "Cache"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "minigrad"


def _path(source: str, version: str) -> Path:
    """Where a program is kept: one file for each source, on each machine and with each version."""
    told = "\n".join([source, version, np.__version__, platform.python_version(), platform.machine(), platform.node()])
    return folder() / f"scan_{hashlib.sha256(told.encode()).hexdigest()[:24]}.py"


def _placed(source: str, path: Path, cached: bool) -> tuple[str, str]:
    """A source and its file; Numba keeps code beside a file alone."""
    if cached and (_read(path) == source or _write(path, source)):
        return source, str(path)
    return source.replace("cache=True", "cache=False"), "<scan>"


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _write(path: Path, text: str) -> bool:
    """Whether a file was written: whole, or not at all."""
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, "utf-8")
        part.replace(path)
    except OSError:
        return False
    return True
