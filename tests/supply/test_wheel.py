"""What is built for others: the wheel and the sdist hold the package, all of it, and nothing else; installed alone, it works."""
import fnmatch
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import minigrad
from minigrad.doctor import version

HOUSE = Path(__file__).parent.parent.parent
SOURCES = {p.relative_to(HOUSE).as_posix() for p in (HOUSE / "minigrad").rglob("*") if p.is_file() and "__pycache__" not in p.parts}

pytestmark = [pytest.mark.skipif(version("build") is None, reason="the package build is not installed: pip install build"),
              pytest.mark.skipif(int((version("setuptools") or "0").partition(".")[0]) < 71,
                                 reason="needs setuptools 71 or newer, which makes wheels by itself: pip install -U setuptools")]


def run(*command, **more):
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, **more)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(wheel, sdist), built from a copy of the repository: nothing is written into the original."""
    source, target = tmp_path_factory.mktemp("source") / "minigrad", tmp_path_factory.mktemp("dist")
    shutil.copytree(HOUSE, source, ignore=shutil.ignore_patterns(".?*", "build", "dist", "*.egg-info", "__pycache__", "minigrad-*", "docs"))
    run("-m", "build", "--no-isolation", "--outdir", str(target), str(source))
    (wheel,), (sdist,) = target.glob("*.whl"), target.glob("*.tar.gz")
    return wheel, sdist


def test_the_wheel_holds_the_package_and_nothing_else(built):
    with zipfile.ZipFile(built[0]) as wheel:
        names = set(wheel.namelist())
    about = f"minigrad-{minigrad.__version__}.dist-info/"
    assert {n for n in names if not n.startswith(about)} == SOURCES
    assert f"{about}licenses/LICENSE" in names or f"{about}LICENSE" in names


def test_the_sdist_holds_what_builds_the_wheel_and_nothing_else(built):
    with tarfile.open(built[1]) as sdist:
        names = {m.name.partition("/")[2] for m in sdist.getmembers() if m.isfile()}
    more = {n for n in names - SOURCES if not n.startswith("minigrad.egg-info/")}
    more -= {n for n in more if fnmatch.fnmatch(n, "tests/test*.py")}              # setuptools takes these into every sdist
    assert SOURCES <= names and more == {"LICENSE", "PKG-INFO", "README.md", "pyproject.toml", "setup.cfg"}


def test_what_the_wheel_says_of_itself(built):
    with zipfile.ZipFile(built[0]) as wheel:
        about = wheel.read(f"minigrad-{minigrad.__version__}.dist-info/METADATA").decode()
    head = about.partition("\n\n")[0]
    assert "Requires-Python: >=3.11" in head and "License" in head
    needed = [line for line in head.splitlines() if line.startswith("Requires-Dist") and "extra ==" not in line]
    assert [n.split()[1].partition(">")[0] for n in needed] == ["numpy", "graphviz"]


def test_installed_alone_it_runs(built, tmp_path):
    if version("pip") is None:
        pytest.skip("pip is not installed")
    site = tmp_path / "site"
    run("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile", "--target", str(site), str(built[0]))
    assert sorted(p.name for p in site.iterdir()) == ["minigrad", f"minigrad-{minigrad.__version__}.dist-info"]
    code = ("import minigrad as mg, numpy as np\n"
            "loss = mg.unroll(mg.GRUCell(2, 3), np.ones((4, 2)))[0].sum()\n"
            "loss.backward()\n"
            "mg.explore(loss, 'graph.html')\n"       # reads files that are no Python
            "print(mg.__file__)")
    here = {**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    assert run("-c", code, cwd=tmp_path, env=here).strip() == str(site / "minigrad" / "__init__.py")
    assert (tmp_path / "graph.html").stat().st_size > 10_000
    assert "Installed" in run("-m", "minigrad", "doctor", cwd=tmp_path, env=here)
