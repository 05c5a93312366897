"""What is installed, and what each thing that is missing would give: the table that ``python -m minigrad doctor`` prints.

Imports none of the packages it looks for.
"""
import importlib.metadata
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

import minigrad as mg

# extra -> its packages as the installer names them, and what they give. setup.cfg has the versions.
EXTRAS = {
    "weights": (("safetensors",), "mg.save and mg.load for .safetensors, which PyTorch and JAX read"),
    "plots": (("matplotlib",), "curves of a training run, the heat map of check.bptt"),
    "progress": (("tqdm",), "a progress bar in mg.train.fit"),
    "speed": (("numba",), "MINIGRAD_SPEED=1: loops of mg.scan compiled by Numba where that is faster (batch size 1)"),
    "onnx": (("onnx",), "mg.lower.to_onnx"),
    "data": (("scikit-learn", "faker", "mnist1d"), "the tasks in models/ on digits, names, MNIST-1D"),
    "series": (("sktime", "statsmodels"), "the tasks in models/ on speakers and sunspots"),
    "parallel": (("joblib",), "python -m models compare on several cores"),
    "cluster": (("joblib", "dask", "distributed"), "python -m models compare on several machines"),
    "peers": (("torch", "jax", "scipy", "onnx", "onnxruntime", "torchviz", "torchview", "torchlens", "networkx", "pillow"),
              "the tests and benchmarks beside PyTorch, JAX and ONNX Runtime"),
    "test": (("pytest", "pytest-cov", "hypothesis"), "the tests"),
    "browser": (("selenium",), "the tests of the pages in a browser"),
    "docs": (("sphinx", "myst-parser", "furo"), "these pages as a site"),
    "dev": (("flake8", "mypy", "build", "setuptools"), "style, types and the wheel, as .ci/run checks them"),
}
THREADS = "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"
DOT = {"linux": "apt install graphviz", "darwin": "brew install graphviz", "win32": "winget install graphviz"}


class Row(NamedTuple):
    """One thing: is it there, in which version or where, what it gives, and the command that brings it."""
    name: str
    there: bool
    found: str
    gives: str
    get: str = ""


def version(package: str) -> str | None:
    """The version of an installed package, or None; nothing is imported."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def blas() -> str:
    """``scipy-openblas 0.3.31, OPENBLAS_NUM_THREADS=1``: the BLAS that NumPy was built with, and what limits its threads."""
    library = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    name = " ".join(part for part in (library.get("name"), library.get("version")) if part) or "unknown"
    limits = [f"{variable}={os.environ[variable]}" for variable in THREADS if os.environ.get(variable)]
    free = f"no limit on threads, {cores()} core" + "s" * (cores() > 1)
    return f"{name}, {', '.join(limits) or free}"


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def examine() -> list[Row]:
    """The rows of the table: what minigrad runs on, ``dot``, and the extras."""
    rows = [Row("minigrad", True, mg.__version__, str(Path(mg.__file__).parent)),
            Row("Python", True, platform.python_version(), sys.executable),
            Row("NumPy", True, np.__version__, blas()),
            Row("graphviz", (drawn := version("graphviz")) is not None, drawn or "", "mg.draw(…).dot, .png and .pdf",
                "python -m pip install graphviz")]
    dot = shutil.which("dot")
    rows.append(Row("dot", dot is not None, dot or "", "pictures as .png and .pdf; .svg and .html need nothing",
                    DOT.get(sys.platform, "graphviz.org/download")))
    for extra, (packages, gives) in EXTRAS.items():
        versions = {package: version(package) for package in packages}
        missing = [package for package, its in versions.items() if its is None]
        found = ", ".join(f"{package} {its}" for package, its in versions.items() if its is not None)
        if missing and found:
            found += f"; not {', '.join(missing)}"
        rows.append(Row(extra, not missing, found, gives, f"python -m pip install {' '.join(missing)}"))
    return rows


def limited() -> bool:
    """Whether something keeps BLAS to a number of threads, or there is one core anyway."""
    return cores() == 1 or any(os.environ.get(variable) for variable in THREADS)


def table(rows: list[Row]) -> str:
    """What is there, then what is not, with what it would give and the command to get it; last, what would be faster."""
    there, missing = [r for r in rows if r.there], [r for r in rows if not r.there]
    name, found = max(len(r.name) for r in rows), max(len(r.found) for r in there)
    lines = ["Installed"]
    lines += [f"  {r.name:{name}}  {r.found:{found}}  {r.gives}" for r in there]
    if missing:
        lines += ["", "Missing, and not needed otherwise"]
        gives = max(len(r.gives) for r in missing)
        for r in missing:
            lines.append(f"  {r.name:{name}}  {r.gives:{gives}}  {r.get}")
            if r.found:
                lines.append(f"  {'':{name}}  (there: {r.found})")
    if not limited():
        lines += ["", "Faster with small matrices, where a second BLAS thread is in the way: export OPENBLAS_NUM_THREADS=1"]
    return "\n".join(lines)
