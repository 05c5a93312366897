"""What is written: SVG and DOT say the same, bytes are stable, names stay text, errors are clear."""

import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from test_picture import by_hand, embedding, sequence

import minigrad as mg
from minigrad.picture import drawing as drawings
from minigrad.picture import text

graphviz = pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz's dot is not installed")
HOSTILE = ["<script>alert(1)</script>", "</svg><script>", "<lambda>", "a:b", "\\N\\G\\n", '"quoted"', "&lt;b&gt;",
           "a\nb\x00c", "javascript:alert(1)", "\u202eabc", "{record|label}", "W_<SUB>", "]]>", "x" * 300, "", "%s",
           "\ud800"]


def hostile(name, **options):
    W, x = mg.parameter(np.ones((2, 2)), name=name), mg.Tensor(np.ones((1, 2)), name=name)
    return mg.draw((x @ W).sum(), title=name, **options)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_stay_text(name):
    drawing = hostile(name)
    tree = ElementTree.fromstring(drawing.svg())
    tags = {element.tag.rpartition("}")[2] for element in tree.iter()}
    assert tags <= {"svg", "rect", "g", "title", "text", "tspan", "path", "polygon", "ellipse"}
    shown = "".join("".join(e.itertext()) for e in tree.iter() if e.tag.endswith("text"))
    if 0 < len(name) < 22 and "_" not in name:
        assert text.plain(name) in shown
    assert "href" not in drawing.svg() and "URL" not in drawing.dot and "href" not in drawing.dot


@graphviz
@pytest.mark.parametrize("name", HOSTILE)
def test_graphviz_shows_names_as_they_are(name):
    svg = drawings.render(hostile(name).dot, "svg").decode()
    tree = ElementTree.fromstring(svg.replace("\xa0", " "))
    shown = ["".join(e.itertext()).replace("\xa0", " ") for e in tree.iter() if e.tag.endswith("}text")]
    if 0 < len(name) < 22 and "_" not in name:
        assert text.plain(name) in shown


@graphviz
@pytest.mark.parametrize("options", [{}, {"heat": True}, {"folded": True}, {"values": True}], ids=str)
def test_graphviz_puts_everything_where_svg_puts_it(options):
    if "values" not in options:
        options = {**options, "steps": 6}
    lstm = mg.LSTMCell(3, 4, rng=np.random.default_rng(0))
    for drawing in (by_hand(4, **options), by_hand(40, **options), mg.draw(embedding().sum(), **options),
                    sequence(lstm, 3, **options)):
        plain = subprocess.run(["dot", "-Kneato", "-n2", "-Tplain"], input=drawing.dot.encode(), capture_output=True,
                               check=True, timeout=60).stdout.decode()
        lines = re.finditer(r"^node (n\d+) (\S+) (\S+)", plain, re.M)
        found = {line[1]: (float(line[2]) * 72, float(line[3]) * 72) for line in lines}
        ours = [(s.x, s.y) for s in drawing.scene.shapes]
        theirs = [found[f"n{i}"] for i in range(len(ours))]
        svg = ElementTree.fromstring(drawing.svg())
        space = "{http://www.w3.org/2000/svg}"
        written = [centre(g.find(f"{space}ellipse"), g.find(f"{space}rect")) for g in svg.iter(f"{space}g")]
        assert len(written) == len(ours)
        shift = np.subtract(theirs[0], ours[0])
        np.testing.assert_allclose(np.array(theirs) - shift, ours, atol=0.1)
        np.testing.assert_allclose(np.array(written) * (1, -1), ours, atol=0.02)


def centre(ellipse, rect):
    if ellipse is not None:
        return float(ellipse.get("cx")), float(ellipse.get("cy"))
    return (float(rect.get("x")) + float(rect.get("width")) / 2, float(rect.get("y")) + float(rect.get("height")) / 2)


def test_the_same_graph_gives_the_same_bytes():
    assert by_hand(5, heat=True).svg() == by_hand(5, heat=True).svg()
    assert by_hand(5, heat=True).dot == by_hand(5, heat=True).dot


def test_nothing_is_clipped():
    svg = ElementTree.fromstring(by_hand(20, heat=True, title="a title").svg())
    left, top, width, height = map(float, svg.get("viewBox").split())
    for element in svg.iter():
        for x, y in (("x", "y"), ("cx", "cy")):
            if element.get(x):
                assert left <= float(element.get(x)) <= left + width and top <= float(element.get(y)) <= top + height


def test_files_are_written_whole(tmp_path):
    drawing = by_hand(3)
    for suffix in (".svg", ".dot", ".SVG"):
        path = drawing.save(tmp_path / f"picture{suffix}")
        assert path.read_text(encoding="utf-8") == (drawing.dot if suffix == ".dot" else drawing.svg())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["picture.SVG", "picture.dot", "picture.svg"]
    assert str(tmp_path) not in drawing.svg() + drawing.dot


@graphviz
def test_png_and_pdf(tmp_path):
    drawing = by_hand(3)
    assert drawing.save(tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert drawing.save(tmp_path / "p.pdf").read_bytes().startswith(b"%PDF")


def test_notebooks_get_svg():
    drawing = by_hand(2)
    assert drawing._repr_svg_() == drawing._repr_mimebundle_()["image/svg+xml"] == drawing.svg()
    assert "shapes" in repr(drawing) and "max-width:100%" in drawing.svg()


def test_unknown_suffixes_are_refused(tmp_path):
    for name in ("picture.jpg", "picture"):
        with pytest.raises(ValueError, match=r"\.svg, \.png, \.pdf or \.dot"):
            by_hand(2).save(tmp_path / name)


def test_unwritable_paths_are_reported(tmp_path):
    with pytest.raises(OSError, match="cannot write the picture to .*missing.*folder that exists"):
        by_hand(2).save(tmp_path / "missing" / "p.svg")
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(OSError, match="cannot write the picture"):
        by_hand(2).save(tmp_path / "folder.svg")
    assert [p.name for p in tmp_path.iterdir()] == ["folder.svg"]


def test_without_dot_png_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"needs graphviz's `dot`.*apt install graphviz.*\.svg"):
        by_hand(2).save(tmp_path / "p.png")
    assert by_hand(2).save(tmp_path / "p.svg").exists() and not (tmp_path / "p.png").exists()


def fake_dot(folder, script):
    path = folder / "dot"
    path.write_text(f"#!{sys.executable}\n{script}\n")
    path.chmod(0o755)


def test_a_failing_or_endless_dot_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    fake_dot(tmp_path, "import sys; sys.stderr.write('no fonts'); sys.exit(3)")
    with pytest.raises(RuntimeError, match=r"exit status 3\): no fonts"):
        by_hand(2).save(tmp_path / "p.pdf")
    fake_dot(tmp_path, "import time; time.sleep(60)")
    monkeypatch.setattr(drawings, "SECONDS", 0.5)
    with pytest.raises(RuntimeError, match="took more than 0.5 s"):
        by_hand(2).save(tmp_path / "p.png")


@pytest.mark.parametrize("root, message", [
    (np.ones(3), "root is a ndarray"),
    (None, "root is a NoneType"),
    ((), "empty tuple"),
    ((mg.parameter(1.), 3), r"root\[1\] is a int"),
])
def test_roots_must_be_tensors(root, message):
    with pytest.raises(TypeError, match=message):
        mg.draw(root)


@pytest.mark.parametrize("steps", [0, -1, 2.5, True, "3"])
def test_steps_must_be_a_positive_number(steps):
    with pytest.raises(ValueError, match="at least 1"):
        mg.draw(mg.parameter(1.) * 2, steps=steps)


def test_a_title_must_be_text():
    with pytest.raises(TypeError, match="expected a string"):
        mg.draw(mg.parameter(1.) * 2, title=3)
