"""The site: these pages, and a reference read from the docstrings.

    pip install 'minigrad[docs]'
    python -m sphinx -W --keep-going -q docs build/site                 (a warning is an error)

Settings stand at the top. Below is what Sphinx does not know of itself: the index page is also the sidebar, a docstring is
plain text (``docstrings.py``), a link to a source file goes to the page of that source, a page that an example writes is shown,
and two tables are made by the code.
"""
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx import addnodes

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import minigrad                         # noqa: E402: found through the line above, in a checkout that is not installed too
from docstrings import as_rst           # noqa: E402
from minigrad.ops import FUNCTIONS, TABLE           # noqa: E402
from minigrad.ops.record import Op      # noqa: E402

project, author, release = "minigrad", "the minigrad authors", minigrad.__version__
project_copyright = "the minigrad authors, MIT licence"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["pictures"]

myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]

autodoc_preserve_defaults = True
autodoc_typehints = "none"          # the docstrings say it in words
autodoc_member_order = "bysource"
highlight_language = "text"
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = "minigrad"
html_static_path = ["_static"]
html_css_files = ["minigrad.css"]
html_favicon = "_static/favicon.svg"
html_copy_source = html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#00664B", "color-brand-content": "#0063A0"},
    "dark_css_variables": {"color-brand-primary": "#5CD6B0", "color-brand-content": "#6FB9F0"},
}
pygments_style, pygments_dark_style = "tango", "github-dark"

linkcheck_ignore = [r"(\.\./)*(index|_modules/.*)\.html"]              # made by the build; tests/test_site.py looks


# ---- the index page is also the sidebar -----------------------------------------------------------------------------

def sidebar(app, docname, source):
    """Below the index page a toctree for each of its headings: the pages that are linked under it, in that order."""
    if docname != "index":
        return
    caption, pages = None, {}
    for line in re.sub(r"^```.*?^```$", "", source[0], flags=re.M | re.S).splitlines():
        if line.startswith("## "):
            caption = line[3:]
        for page in re.findall(r"\]\(([\w/-]+)\.(?:md|rst)\)", line):
            if page not in sum(pages.values(), []):
                pages.setdefault(caption, []).append(page)
    for caption, names in pages.items():
        option = f":caption: {caption}\n" if caption else ""
        source[0] += f"\n\n```{{toctree}}\n:hidden:\n{option}\n" + "\n".join(names) + "\n```\n"


# ---- examples that write a page --------------------------------------------------------------------------------------

def live(app, docname, source):
    """``<!-- live: page.html -->`` stands below a block that writes page.html: it is run, and the site shows what it wrote."""
    folder = Path(app.outdir, "_static", "live")
    for mark in reversed(list(re.finditer(r"^<!-- live: (\S+) -->$", source[0], re.M))):
        folder.mkdir(parents=True, exist_ok=True)
        code = "\n".join(re.findall(r"^```python\n(.*?)^```$", source[0][:mark.start()], re.M | re.S))
        subprocess.run([sys.executable, "-c", code], cwd=folder, env=os.environ | {"PYTHONPATH": str(HERE.parent)}, check=True,
                       stdout=subprocess.DEVNULL)
        place = f"{'../' * docname.count('/')}_static/live/{mark[1]}"
        frame = (f'<iframe class="live" src="{place}" title="{mark[1]}, live" loading="lazy"></iframe>\n'
                 f'<p><a href="{place}">Full size</a></p>')
        source[0] = f"{source[0][:mark.start()]}```{{raw}} html\n{frame}\n```{source[0][mark.end():]}"


# ---- source files, and names as one writes them ---------------------------------------------------------------------

def links_and_names(app, doctree):
    """A link to minigrad/… leads to the page with that source, one to README.md to the index; minigrad.x is written mg.x."""
    here = app.env.docname
    for link in list(doctree.findall(addnodes.download_reference)) + list(doctree.findall(addnodes.pending_xref)):
        target = re.fullmatch(r".*/(minigrad/[\w/]+)\.py|.*/README", link.get("reftarget", ""))
        if target:
            page = f"_modules/{target[1]}" if target[1] else "index"
            link.replace_self(nodes.reference("", "", *link.children, internal=True, refuri=f"{'../' * here.count('/')}{page}.html"))
    for name in doctree.findall(addnodes.desc_signature):
        module = name.get("module") or ""
        while "." in module:                            # source pages link back by one module name for all that stands in a file
            module = module.rpartition(".")[0]
            name["ids"].append(f"{module}.{name['fullname']}")
    for name in doctree.findall(addnodes.desc_addname):
        name[:] = [addnodes.desc_sig_name("", re.sub(r"^minigrad\.", "mg.", name.astext()))]


def docstring(app, what, name, thing, options, lines):
    lines[:] = as_rst(thing, lines)


def signature(app, what, name, thing, options, arguments, returned):
    """Functions of the op table take (*args, **kwargs); what they mean stands in their record."""
    record = FUNCTIONS.get(thing) if what == "function" else None
    if isinstance(record, Op):
        made = inspect.signature(record.call or record.value)
        bare = [p.replace(annotation=p.empty) for p in made.parameters.values()]
        return str(made.replace(parameters=bare, return_annotation=made.empty)), returned


# ---- tables that the code makes -------------------------------------------------------------------------------------

class OpTable(Directive):
    """``.. op-table::`` every op: how it reads, and the functions that record it when they meet a Tensor."""

    def run(self):
        rows = [".. list-table::", "   :header-rows: 1", "   :widths: 20 40 40", ""]
        rows += ["   * - op", "     - reads", "     - recorded by"]
        for name, op in sorted(TABLE.items()):
            names = sorted({public(f) for f, found in FUNCTIONS.items() if found is op})
            rows += [f"   * - ``{name}``", f"     - ``{op.reads}``", "     - " + ", ".join(f"``{n}``" for n in names)]
        return parsed(self, rows)


def public(function):
    """A function as one calls it: np.tanh, np.linalg.inv, mg.sigmoid."""
    import numpy as np
    for prefix, place in (("np.", np), ("np.linalg.", np.linalg), ("mg.", minigrad)):
        if getattr(place, function.__name__, None) is function:
            return prefix + function.__name__
    return function.__name__


class Usage(Directive):
    """``.. usage:: minigrad`` what ``python -m minigrad --help`` prints, and ``--help`` of each command."""
    required_arguments = 1

    def run(self):
        module, found = self.arguments[0], []
        text = printed(module)
        for command in [None, *re.findall(r"^    (\w+) ", text, re.M)]:
            title = " ".join(["python -m", module, *([command] if command else [])])
            section = nodes.section("", nodes.title("", title), ids=[nodes.make_id(title)])
            section += nodes.literal_block("", printed(module, command) if command else text, language="text")
            found.append(section)
        return found


def printed(module, *arguments):
    environment = os.environ | {"COLUMNS": "100", "NO_COLOR": "1", "PYTHON_COLORS": "0"}
    return subprocess.run([sys.executable, "-m", module, *arguments, "--help"], cwd=HERE.parent, env=environment,
                          check=True, capture_output=True, text=True).stdout


def parsed(directive, lines):
    """The nodes of lines of reStructuredText."""
    parent = nodes.Element()
    directive.state.nested_parse(StringList(lines, "table"), directive.content_offset, parent)
    return parent.children


def setup(app):
    app.connect("source-read", sidebar)
    app.connect("source-read", live)
    app.connect("doctree-read", links_and_names)
    app.connect("autodoc-process-docstring", docstring)
    app.connect("autodoc-process-signature", signature)
    app.add_directive("op-table", OpTable)
    app.add_directive("usage", Usage)
    return {"parallel_read_safe": True}
