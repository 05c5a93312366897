"""The documentation runs.

Every ```python block of README.md and docs/*.md is executed; the blocks of one page share a namespace, in order. A comment
in front of a block says more about it:

    <!-- raises: ValueError text -->   the ```python block raises ValueError with this text in its message
    <!-- prints -->                    the ```text block is what the ```python block before it printed
    <!-- needs package -->             the ```python block is run elsewhere, by a test that skips without the package
    <!-- from: package.module -->      the lines of the ```text block stand, in this order, in what its main() prints;
                                       numbers may differ in value, since the last digits are the machine's

The examples in docstrings run too, links lead somewhere, and the README's two commands stand where they are looked for.
"""
import contextlib
import doctest
import functools
import importlib
import io
import pkgutil
import re
from pathlib import Path

import pytest

import minigrad
from minigrad.ops import FUNCTIONS, TABLE

HOUSE = Path(__file__).parent.parent
PAGES = [HOUSE / "README.md", *sorted((HOUSE / "docs").glob("*.md"))]
BLOCK = re.compile(r"^(?:<!-- (?P<note>[^\n]*) -->\n+)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S)
LINK = re.compile(r"!?\[[^]]*\]\(([^)\s]+)\)")
NUMBER = re.compile(r"[-−+]?\d[\d.,]*(?:e[-+]\d+)?")


def name(page):
    return page.relative_to(HOUSE).as_posix()


def blocks(page):
    """(language, text, note, line number of the text) of every fenced block."""
    text = page.read_text(encoding="utf-8")
    return [(m["language"], m["text"], m["note"] or "", text[:m.start("text")].count("\n") + 1) for m in BLOCK.finditer(text)]


# ---- blocks ---------------------------------------------------------------------------------------------------------

@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """An empty working directory; and ops that a page enters into the table leave it again."""
    monkeypatch.chdir(tmp_path)
    table, functions = dict(TABLE), dict(FUNCTIONS)
    yield
    for registry, before in ((TABLE, table), (FUNCTIONS, functions)):
        registry.clear()
        registry.update(before)


def run(page, code, line, namespace):
    """What the block prints. Tracebacks point into the page."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile("\n" * (line - 1) + code, str(page), "exec"), namespace)
    return printed.getvalue()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_blocks_run(page, fresh):
    namespace, printed = {"__name__": "page"}, ""
    for language, text, note, line in blocks(page):
        where = f"{name(page)}:{line}"
        if language == "python" and note.startswith("raises: "):
            error, message = note.removeprefix("raises: ").split(" ", 1)
            with pytest.raises(Exception) as raised:
                run(page, text, line, namespace)
            assert raised.type.__name__ == error and message in str(raised.value), \
                f"{where} should raise {error} with {message!r}; it raised {raised.type.__name__}: {raised.value}"
        elif language == "python" and not note.startswith("needs "):
            printed = run(page, text, line, namespace)
        elif note == "prints":
            assert text.rstrip() == printed.rstrip(), f"{where} is not what the block before it prints"


@functools.cache
def output(module, folder):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert importlib.import_module(module).main(["--pictures", folder]) == 0
    return printed.getvalue()


def bare(line):
    """A line with its numbers and widths of columns taken out."""
    return " ".join(NUMBER.sub("#", line).split())


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_excerpts_are_what_the_models_print(page, tmp_path_factory):
    for _, text, note, line in blocks(page):
        if note.startswith("from: "):
            module = note.removeprefix("from: ")
            lines = iter(map(bare, output(module, str(tmp_path_factory.getbasetemp() / "pictures")).splitlines()))
            for excerpt in text.splitlines():
                assert excerpt.strip() in ("", "…") or bare(excerpt) in lines, \
                    f"{name(page)}:{line}: {module} does not print, or not in this order: {excerpt}"


def test_notes_are_understood():
    """A misspelt note would silently check nothing."""
    for page in PAGES:
        for language, _, note, line in blocks(page):
            known = {"python": ("", "raises: ", "needs "), "text": ("", "prints", "from: ")}.get(language, ("",))
            assert note == "" or any(k and note.startswith(k) for k in known), f"{name(page)}:{line}: {note!r}"


# ---- docstrings -----------------------------------------------------------------------------------------------------

def examples():
    """Every docstring with an example, in every module of minigrad."""
    modules = [minigrad] + [importlib.import_module(m.name) for m in pkgutil.walk_packages(minigrad.__path__, "minigrad.")
                            if not m.name.endswith("__main__")]
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [test for module in modules for test in finder.find(module) if test.examples]


@pytest.mark.parametrize("example", examples(), ids=lambda test: test.name.removeprefix("minigrad."))
def test_docstring_examples(example, fresh):
    report = io.StringIO()
    failed = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example, out=report.write).failed
    assert not failed, report.getvalue()


# ---- links and commands ---------------------------------------------------------------------------------------------

def anchors(page):
    """The headings of a page as links spell them."""
    titles = re.findall(r"^#+ +(.*)$", BLOCK.sub("", page.read_text(encoding="utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    for target in LINK.findall(BLOCK.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name(page)} links to {target}, which does not exist"
        assert not anchor or anchor in anchors(file), f"{name(page)} links to {target}, and there is no such heading"


def test_every_page_is_on_the_index():
    index = HOUSE / "docs" / "index.md"
    linked = {target.partition("#")[0] for target in LINK.findall(index.read_text(encoding="utf-8"))}
    assert {page.name for page in PAGES[1:] if page != index} <= linked


def test_pictures_of_the_pages_are_made_by_the_script(tmp_path):
    """docs/pictures/make.py writes every picture that docs/ shows."""
    namespace = {"__name__": "make"}
    exec(compile((HOUSE / "docs/pictures/make.py").read_text(encoding="utf-8"), "make.py", "exec"), namespace)
    made = {path.name for path in namespace["make"](tmp_path)}
    shown = {Path(target).name for page in PAGES[1:] for target in LINK.findall(page.read_text(encoding="utf-8"))
             if target.endswith(".svg")}
    assert shown <= made
    assert all((HOUSE / "docs/pictures" / file).exists() for file in made)


@pytest.mark.parametrize("heading, ending", [("## Run it", "-m models characters"), ("## Test it", "-m pytest -q")])
def test_the_two_commands_stand_under_their_headings(heading, ending):
    """The first fenced block under each heading is one line of sh that begins with an environment of its own."""
    section = (HOUSE / "README.md").read_text(encoding="utf-8").split(f"\n{heading}\n")
    assert len(section) == 2, f"README.md needs the heading {heading!r} once"
    first = BLOCK.search(section[1].split("\n## ")[0])
    assert first is not None and first["language"] == "sh", f"the first block under {heading!r} is no sh block"
    command, = first["text"].splitlines()
    assert command.startswith("python3 -m venv .venv && ") and command.endswith(ending)
