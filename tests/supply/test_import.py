"""What ``import minigrad`` loads: NumPy, the core, a handful of small modules of Python's own, and no extra before it is used.

How long that takes is measured by ``python -m tests.supply.import_time``.
"""
import configparser
import subprocess
import sys
from pathlib import Path

import pytest

from minigrad.doctor import EXTRAS

HOUSE = Path(__file__).parent.parent.parent
ROOMS = "picture", "check", "train", "graph", "compile", "derivation", "lower", "report", "custom", "doctor", "queries", "formulas"
SMALL = "__future__, contextlib, functools, gc, heapq, importlib.util, inspect, itertools, operator, threading, weakref"      # most of it NumPy's too
NAMES = {"scikit-learn": "sklearn", "pytest-cov": "pytest_cov", "myst-parser": "myst_parser"}      # where import calls a package otherwise


def loaded(code):
    """The modules in a fresh interpreter after it ran the code."""
    code += "\nimport sys; print('MODULES', *sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=HOUSE)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.partition("MODULES")[2].split())


@pytest.fixture(scope="module")
def numpys():
    return loaded("import numpy")


def test_importing_minigrad_loads_the_core_and_little_else(numpys):
    more = loaded("import minigrad") - numpys
    ours = {m for m in more if m.partition(".")[0] == "minigrad"}
    assert not ours & {f"minigrad.{room}" for room in ROOMS}, "readers are imported when first used: see _LATER in minigrad/__init__.py"
    assert more - ours <= loaded(f"import {SMALL}"), "each of these costs every user time at import; import it where it is used"


def test_no_extra_is_imported_before_it_is_used(numpys):
    """Record, train, draw, check, derive, scan and lower: none of it needs a package beyond NumPy."""
    extras = {NAMES.get(package, package) for packages, _ in EXTRAS.values() for package in packages} - {"setuptools"} | {"graphviz"}
    program = """
import numpy as np, minigrad as mg
cell, xs = mg.GRUCell(2, 3), np.ones((4, 2, 2))
loss = (mg.unroll(cell, xs)[0] ** 2).sum()
loss.backward()
mg.draw(loss).svg(); mg.draw(loss).dot
mg.check.compare({"W_h": cell.W_h.grad}, {"W_h": cell.W_h.grad}); mg.check.gradcheck(lambda: (mg.unroll(cell, xs)[0] ** 2).sum(), cell)
mg.scan(cell, xs); mg.derive(cell).text; mg.lower.to_torch(cell, xs[0])
rule = mg.train.SGD(cell.parameters(), .1)
mg.train.fit(lambda: (mg.unroll(cell, xs)[0] ** 2).sum(), cell, [()], optimizer=rule, steps=2, progress=False)
"""
    assert not {m.partition(".")[0] for m in loaded(program) - numpys} & extras


@pytest.mark.skipif(not (HOUSE / "setup.cfg").exists(), reason="needs setup.cfg, which stands in the repository")
def test_the_lowest_versions_are_stated():
    settings = configparser.ConfigParser()
    settings.read(HOUSE / "setup.cfg")
    lists = settings["options"]["install_requires"], *settings["options.extras_require"].values()
    assert all(">=" in line for its in lists for line in its.split("\n") if line), "a dependency without its lowest version"
