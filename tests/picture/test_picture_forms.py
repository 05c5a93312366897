"""Other forms of a picture: TikZ, JSON, slides of the backward pass, the print style; names stay text in each of them."""
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from picture_overlaps import faults
from test_picture import by_hand, sequence
from test_picture_files import HOSTILE, hostile

import minigrad as mg
from minigrad.picture import printed, svg, text, theme, tikz
from minigrad.picture.scene import Arrow, Panel, Scene, Shape

pdflatex = pytest.mark.skipif(shutil.which("pdflatex") is None or not subprocess.run(["kpsewhich", "tikz.sty"], capture_output=True).stdout,
                              reason="pdflatex with TikZ is not installed (Debian: apt install texlive-latex-base texlive-pictures)")
MORE = ["²²′′", "中文", "שלום", "x\u0302y\u0302 $%#_^~{}&", "\\input{/etc/passwd}", "ñandú", "\U0001F600", "^^41", "a\\", "%", "x" * 10_000, "\\end{document}"]


def lstm(T=3, **options):
    return sequence(mg.LSTMCell(3, 4, rng=np.random.default_rng(0)), T, **options)


# ---- TikZ ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("label, tex", [
    ((("W", False), ("h", True)), "W_{h}"), ((("ŷ", False), ("3", True)), r"\hat{y}_{3}"), ((("@ W", False), ("hn", True)), r"\cdot\ W_{\textnormal{hn}}"),
    ((("tanh", False),), r"\tanh"), ((("loss = Σ", False),), r"\textnormal{loss}=\Sigma"), ((("α⊙β", False),), r"\alpha\odot\beta"),
    ((("a_b", False),), r"a\sign{95}b"), ((("100%", False),), r"100\sign{37}"), ((("中", False),), r"\uni{4E2D}{中}"), ((("1,000 × 0.5", False),), r"1{,}000\times0.5"),
    ((("σ x", False),), r"\sigma\ x"), ((("h′", False), ("4", True)), r"h{}^{\prime}_{4}")])
def test_names_are_mathematics(label, tex):
    assert tikz.mathematics(label) == tex


@pytest.mark.parametrize("name", HOSTILE + MORE)
def test_no_name_is_read_as_tex(name):
    """Apart from what stands in our own tables, a name gives letters, digits and characters by number."""
    written = tikz.mathematics(text.label(name))
    rest = re.sub(r"\\uni\{[0-9A-F]+\}\{.\}", "", written)
    rest = re.sub(r"\\sign\{\d+\}|\\textnormal\{[A-Za-z-]*\}|\\(hat|tilde|acute|bar)\{[A-Za-z]\}|\{\}\^\{(2|\\prime)\}|\{[<>,.:]\}|\{\\vert\}|\\ ?(?![A-Za-z])", "", rest)
    rest = re.sub(r"\\(ldots|max|min|ln)(?![A-Za-z])", "", rest)
    assert not set(rest) & set("\\{}$%#_^~&") and rest.isascii(), rest


def test_tikz_says_what_svg_says():
    drawing = lstm(heat=True)
    tex = tikz.write(drawing.scene)
    assert tex.count(r"\node[") == drawing.svg().count("<text") and tex.count("ellipse [") >= drawing.svg().count("<ellipse")
    assert tex.count(r"\draw[") == len(drawing.scene.arrows) and tex.count("pattern=north east lines") == sum(s.hatched for s in drawing.scene.shapes) > 0
    assert tex == tikz.write(lstm(heat=True).scene)


@pdflatex
def test_tikz_compiles(tmp_path):
    """With every hostile name on it, on one page, of the picture's size."""
    y = sum((mg.parameter(np.ones((2, 2)), name=name).sum() for name in HOSTILE + MORE), 0.0)
    for number, drawing in enumerate([mg.draw(y, title="\\undefined $ {"), lstm(2, heat=True, marks={("dh", 2): False})]):
        path = drawing.save(tmp_path / f"p{number}.tex")
        done = subprocess.run(["pdflatex", "-interaction=nonstopmode", "-halt-on-error", path.name], cwd=tmp_path, capture_output=True, timeout=120)
        log = done.stdout.decode("utf-8", "replace")
        assert done.returncode == 0, log[-2000:]
        assert "Output written" in log and "(1 page" in log and "Overfull" not in log and "Font Warning" not in log
        assert path.with_suffix(".pdf").read_bytes().startswith(b"%PDF")


def test_a_picture_too_long_for_tex_says_so(tmp_path):
    scene = Scene([Shape(x, 0, 10, 10, "box") for x in (0.0, 20_000.0)])
    with pytest.raises(ValueError, match=r"20,038 points long, and TeX counts to 16,000: draw fewer steps"):
        tikz.write(scene)


# ---- JSON ------------------------------------------------------------------------------------------------------------

def test_json_holds_the_scene(tmp_path):
    drawing = lstm(heat=True)
    content = json.loads(drawing.save(tmp_path / "p.json").read_text(encoding="utf-8"))
    assert [len(content[k]) for k in ("shapes", "arrows", "panels", "texts")] == [len(getattr(drawing.scene, k)) for k in ("shapes", "arrows", "panels", "texts")]
    for shape, found in zip(drawing.scene.shapes, content["shapes"]):
        assert (found["x"], found["role"], found["nodes"]) == (pytest.approx(shape.x, abs=0.01), shape.role, list(shape.nodes))
        assert [line["text"] for line in found["lines"]] == [text.flat(words) for words, _ in shape.lines]
    state = next(i for i, s in enumerate(content["shapes"]) if s["lines"] and s["lines"][0]["text"] == "c_2")
    assert content["shapes"][state]["role"] == "state" and content["shapes"][state]["lines"][0]["runs"] == [["c", ""], ["2", "sub"]]
    assert any(a["from"] == state and a["backwards"] for a in content["arrows"])


@pytest.mark.parametrize("name", HOSTILE + MORE)
def test_names_stay_text_in_json(name, tmp_path):
    written = hostile(name).save(tmp_path / "p.json").read_text(encoding="utf-8")
    assert "<" not in written                                       # not even where a page takes it in
    content = json.loads(written)
    shown = {line["text"] for shape in content["shapes"] for line in shape["lines"]}
    if 0 < len(name) < 22 and "_" not in name:
        assert any(text.plain(name) in t for t in shown)


# ---- slides ----------------------------------------------------------------------------------------------------------

def diamond():
    x = mg.parameter(0.5, name="x")
    h = np.tanh(x)
    s = np.sin(h)
    return mg.draw(s * h)


def test_one_frame_for_every_op_backwards(tmp_path):
    paths = diamond().frames(tmp_path / "slides")
    assert [p.name for p in paths] == [f"frame-{k:03}.svg" for k in range(4)] == sorted(p.name for p in (tmp_path / "slides").iterdir())
    trees = [ElementTree.fromstring(p.read_text(encoding="utf-8")) for p in paths]
    assert len({tree.get("viewBox") for tree in trees}) == 1        # nothing moves from slide to slide
    says = [["".join(e.itertext()) for e in tree.iter() if e.tag.endswith("}text")][-1] for tree in trees]
    assert says[0] == "forwards; then 3 ops backwards"
    assert [s.split(":")[0] for s in says[1:]] == ["1 of 3", "2 of 3", "3 of 3"]
    assert "ds +=" in says[1] and "dh +=" in says[1] and "cos(h)" in says[2] and "dx +=" in says[3]


def test_a_frame_fills_what_is_complete_and_lights_what_flows(tmp_path):
    """h has two users: it has its gradient only when both are played."""
    scenes = list(diamond()._play())
    number = {"".join(r for r, _ in s.lines[0][0]): i for i, s in enumerate(scenes[0].shapes)}
    h, x = next(i for n, i in number.items() if n.startswith("h")), number["x"]
    filled = [[scene.shapes[i].fill != theme.WHITE for scene in scenes] for i in (h, x)]
    assert filled == [[False, False, True, True], [False, False, False, True]]
    red = [sum(a.colour == theme.RED for a in scene.arrows) for scene in scenes]
    assert red == [0, 2, 1, 1] and not any(a.backwards for a in scenes[0].arrows)
    assert [sum(a.backwards for a in scene.arrows) for scene in scenes] == [0, 2, 3, 4]


def test_frames_of_a_cell_cover_every_op_that_is_drawn():
    scenes = list(lstm()._play())
    drawn = {s.nodes for s in scenes[0].shapes if s.role in ("op", "state", "prediction", "loss", "total") and s.nodes}
    assert len(scenes) - 1 == len(drawn)
    assert all(any(s.rim == theme.RED for s in scene.shapes) for scene in scenes[1:])
    assert faults(scenes[5]) == []


def test_names_stay_text_on_slides_and_marks(tmp_path):
    """Captions are made of names too."""
    for name in HOSTILE + MORE:
        x = mg.parameter(np.ones((1, 2)), name=name)
        y = (x * x).sum()
        for scene in mg.draw(y, marks={name: False} if name else None)._play():
            tags = {e.tag.rpartition("}")[2] for e in ElementTree.fromstring(svg.write(scene)).iter()}
            assert tags <= {"svg", "rect", "g", "title", "text", "tspan", "path", "polygon", "ellipse"}
            assert max(map(len, (t for w in scene.texts for t, _ in w.words))) < 200
    h = mg.Tensor(np.zeros((1, 2)))
    for t in mg.steps(np.ones((2, 1, 2))):
        h = np.tanh(h @ mg.parameter(np.eye(2), name="<b>") + t)
    marked = mg.draw(h.sum(), marks={("d<b>", 2): False, ("dh", 1): True}).svg()
    assert "<b>" not in marked and "d&lt;b&gt; at t = 2" in marked


def test_frames_say_what_they_cannot_do(tmp_path):
    with pytest.raises(ValueError, match=r"frames\(\): the root has shape"):
        mg.draw(mg.parameter([1.0, 2.0]) * 2).frames(tmp_path / "slides")
    with pytest.raises(ValueError, match="knows no graph"):
        type(diamond())(Scene()).frames(tmp_path / "slides")
    with pytest.raises(OSError, match="cannot make the folder .*missing.*a folder that exists"):
        diamond().frames(tmp_path / "missing" / "slides")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot make the folder"):
        diamond().frames(tmp_path / "file")


# ---- print -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("options", [{}, {"heat": True}, {"marks": {"W_h": False, ("dh", 2): True}}, {"cells": True}], ids=str)
def test_print_has_no_colours_and_tells_roles_apart(options):
    drawing = by_hand(4, style="print", **options)
    colours = set(re.findall(r"#[0-9A-Fa-f]{6}", drawing.svg()))
    assert colours and all(c[1:3] == c[3:5] == c[5:7] for c in colours)
    if not options:
        looks = {s.role: (s.fill, s.rim_width, s.dash, s.form) for s in drawing.scene.shapes if s.role in printed.ROLES and s.form != "dot"}
        assert len(set(looks.values())) == len(looks) >= 7
    assert by_hand(4, **options).scene.bounds() == drawing.scene.bounds()


def test_heat_in_greys_keeps_the_order():
    greys = [int(printed.grey(theme.heat_colour(k / 20))[1:3], 16) for k in range(21)]
    assert greys == sorted(greys, reverse=True) and greys[0] - greys[-1] > 150


def test_unknown_styles_are_refused():
    with pytest.raises(ValueError, match="expected 'colour' or 'print'"):
        by_hand(2, style="sepia")


# ---- files -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("suffix", ["tex", "json", "svg", "dot"])
def test_every_form_says_when_it_cannot_be_written(suffix, tmp_path):
    with pytest.raises(OSError, match="cannot write the picture to .*missing.*folder that exists"):
        by_hand(2).save(tmp_path / "missing" / f"p.{suffix}")
    assert not list(tmp_path.iterdir())
    assert str(tmp_path) not in by_hand(2).save(tmp_path / f"p.{suffix}").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", MORE)
def test_more_names_stay_text_in_svg_and_dot(name):
    drawing = hostile(name, heat=False)
    shown = "".join(ElementTree.fromstring(drawing.svg()).itertext())
    if len(name) < 22 and "_" not in name:
        assert text.plain(name) in shown
    assert drawing.dot.count("digraph") == 1


def test_writers_take_what_has_no_words():
    empty = Scene([Shape(0, 0, 10, 10, "box", [(text.label(""), 11.0)])], [Arrow([(0, 0), (1, 0), (2, 0), (3, 0)], None)], [Panel(0, 0, 5, 5)])
    assert svg.write(empty).startswith("<svg") and tikz.write(empty).endswith("\\end{document}\n")
