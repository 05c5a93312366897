"""doctor: what it says is there is there, what it says is missing is missing, and it imports nothing to find out."""
import configparser
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minigrad import doctor
from minigrad.__main__ import main

SETUP = Path(__file__).parent.parent / "setup.cfg"


def row(name):
    return next(r for r in doctor.examine() if r.name == name)


def pretend(monkeypatch, **versions):
    monkeypatch.setattr(doctor, "version", lambda package: versions.get(package.replace("-", "_")))


@pytest.mark.skipif(not SETUP.exists(), reason="needs setup.cfg, which stands in the repository")
def test_every_extra_of_setup_cfg_is_there_with_its_packages():
    settings = configparser.ConfigParser()
    settings.read(SETUP)
    declared = {extra: tuple(re.match(r"[\w-]+", line)[0] for line in lines.split("\n") if line)
                for extra, lines in settings["options.extras_require"].items()}
    known = {extra: tuple(p for p in packages if p != "distributed") for extra, (packages, _) in doctor.EXTRAS.items()}
    assert known == declared                                             # dask[distributed] is one line and two packages


def test_the_versions_are_those_installed(monkeypatch):
    assert row("NumPy").found == np.__version__ and row("Python").found == sys.version.split()[0]
    assert row("graphviz").found == importlib.metadata.version("graphviz")
    assert row("test").found.startswith(f"pytest {importlib.metadata.version('pytest')}")
    assert doctor.version("no-such-package-as-this") is None


def test_what_is_missing_has_what_it_would_give_and_the_command(monkeypatch, capsys):
    pretend(monkeypatch, graphviz="0.20", joblib="1.4", dask="2024.1")
    monkeypatch.setattr(doctor.shutil, "which", lambda program: None)
    monkeypatch.setattr(doctor.sys, "platform", "darwin")
    assert row("parallel").there and not row("plots").there
    assert main(["doctor"]) == 0
    there, missing = capsys.readouterr().out.split("Missing")
    assert "joblib 1.4" in there and "heat map" not in there
    lines = {line.split()[0]: line for line in missing.splitlines()[1:]}
    assert lines["plots"].endswith("python -m pip install matplotlib") and "heat map" in lines["plots"]
    assert lines["cluster"].endswith("python -m pip install distributed") and "there: joblib 1.4, dask 2024.1; not distributed" in missing
    assert lines["dot"].endswith("brew install graphviz") and ".png" in lines["dot"]


def test_with_everything_there_nothing_is_missing(monkeypatch):
    monkeypatch.setattr(doctor, "version", lambda package: "1.0")
    monkeypatch.setattr(doctor.shutil, "which", lambda program: "/bin/dot")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    assert "Missing" not in doctor.table(doctor.examine())


def test_threads_are_what_the_environment_says(monkeypatch):
    for variable in doctor.THREADS:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(doctor, "cores", lambda: 8)

    def advice():
        return "export OPENBLAS_NUM_THREADS=1" in doctor.table(doctor.examine()).splitlines()[-1]

    assert "8 cores" in doctor.blas() and advice()
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert doctor.blas().endswith("OMP_NUM_THREADS=2") and not advice()
    monkeypatch.setattr(doctor, "cores", lambda: 1)
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert not advice()


def test_a_numpy_that_says_nothing_about_its_blas(monkeypatch):
    monkeypatch.setattr(np, "show_config", lambda mode: {})
    assert doctor.blas().startswith("unknown")


def test_it_imports_none_of_what_it_looks_for():
    code = "import sys\nfrom minigrad.__main__ import main\nmain(['doctor'])\nprint('MODULES', *sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=SETUP.parent)
    loaded = set(run.stdout.partition("MODULES")[2].split())
    assert "minigrad.doctor" in loaded
    assert not loaded & {"graphviz", "matplotlib", "tqdm", "safetensors", "onnx", "sklearn", "torch", "jax", "joblib", "dask", "pytest"}
