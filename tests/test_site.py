"""The site: every public name is in the reference once, docstrings become what they mean, and what Sphinx builds holds together."""
import importlib
import re
import runpy
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import pytest

import minigrad as mg

DOCS = Path(__file__).parent.parent / "docs"
sys.path.append(str(DOCS))
as_rst = importlib.import_module("docstrings").as_rst
sys.path.remove(str(DOCS))


# ---- the reference --------------------------------------------------------------------------------------------------

def referred():
    """The full names after ``.. autofunction::`` and the like, in all pages of the reference."""
    names = []
    for page in sorted((DOCS / "reference").glob("*.rst")):
        module = ""
        for directive, name in re.findall(r"^\.\. (currentmodule|autofunction|autoclass):: (\S+)$", page.read_text(encoding="utf-8"), re.M):
            if directive == "currentmodule":
                module = name
            else:
                names.append(name if "." in name else f"{module}.{name}")
    return names


@pytest.mark.parametrize("room", [mg, mg.check, mg.train, mg.graph], ids=lambda room: room.__name__)
def test_every_public_name_is_in_the_reference(room):
    found = {name.rpartition(".")[2] for name in referred()}
    missing = {name for name in room.__all__ if not isinstance(getattr(room, name), ModuleType)} - found
    assert not missing, f"add `.. autofunction:: {min(missing)}` (or autoclass) to a page in docs/reference/; missing: {sorted(missing)}"


def test_nothing_is_there_twice():
    names = referred()
    assert sorted(names) == sorted(set(names))


# ---- docstrings -----------------------------------------------------------------------------------------------------

def test_a_docstring_becomes_what_it_means():
    text = as_rst(None, """Sums |x| over ``axis``, see arXiv:1412.6980.

x, y  arrays x_t,
      of any shape
axis  `int`        n     how many
Returns a *new* array.

    s_t = s_{t-1} + |x_t|

>>> 1 + 1
2""".splitlines())
    assert text == [
        "", r"\ Sums \|x\| over \ ``axis``\ , see \ `arXiv:1412.6980 <https://arxiv.org/abs/1412.6980>`__\ .", "", "",
        "``x, y``", r"    \ arrays x\_t, of any shape", "``axis``", r"    \ \ ``int``\ ", "``n``", r"    \ how many", "", r"\ Returns a \*new\* array.", "", "",
        "::", "", "    s_t = s_{t-1} + |x_t|", "",
        ">>> 1 + 1", "2", ""]


def test_a_cell_comes_with_the_equations_of_its_file():
    text = as_rst(mg.MGUCell, mg.MGUCell.__doc__.splitlines())
    assert text.index("    h_t = (1 - f_t) ⊙ h_{t-1} + f_t ⊙ n_t") > 2 and "Minimal gated unit" in text[1]


def test_the_heat_maps_are_drawn_with_the_code_of_their_page(tmp_path):
    pytest.importorskip("matplotlib", reason="pip install 'minigrad[plots]'")
    runpy.run_path(str(DOCS / "_static" / "vanishing.py"))["draw"](tmp_path / "vanishing.png")
    assert (tmp_path / "vanishing.png").stat().st_size > 10_000


# ---- what is built --------------------------------------------------------------------------------------------------

class Page(HTMLParser):
    """The places of a page that one can link to, and where its own links lead."""

    def __init__(self, path):
        super().__init__()
        self.places, self.links = set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        for key, value in attributes:
            if key in ("id", "name"):
                self.places.add(value)
            elif key in ("href", "src"):
                self.links.append(value)


def test_built_without_warnings_and_its_links_lead_somewhere(tmp_path):
    for needed in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(needed, reason="pip install 'minigrad[docs]'")
    built = subprocess.run([sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(DOCS), str(tmp_path)], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    pages = {path: Page(path) for path in tmp_path.rglob("*.html")}
    assert len(pages) > 30
    assert [f"{path.relative_to(tmp_path)} -> {link}" for path, page in pages.items() for link in page.links
            if not leads_somewhere(path, link, pages)] == []


def leads_somewhere(path, link, pages):
    if re.match(r"\w+:", link):                                           # http:, mailto:, data:
        return True
    file, _, place = unquote(link).partition("#")
    target = (path.parent / file.partition("?")[0]).resolve() if file else path
    return target.exists() and (not place or target not in pages or place in pages[target].places)
