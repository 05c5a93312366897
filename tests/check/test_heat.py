"""The heat map of bptt's norms, read back: as SVG, and as what matplotlib is told to draw."""
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import minigrad as mg
from minigrad.check.bptt import bptt
from minigrad.check.heat import as_svg

NAMES = {"s": "http://www.w3.org/2000/svg"}
NORMS = np.array([[1e-4, 0, 0], [1e-2, 1, 0], [np.nan, 1e-1, np.inf]])


def read(norms, labels=None):
    svg = ET.fromstring(as_svg(norms, "norms <&>", labels or [f"L_{i + 1}" for i in range(len(norms))]))
    rects = [{k: r.get(k) if k == "fill" else float(r.get(k)) for k in ("x", "y", "width", "height", "fill")} | {
        "title": r.findtext("s:title", None, NAMES)} for r in svg.findall("s:rect", NAMES)]
    texts = [(t.text, float(t.get("x")), float(t.get("y")), t.get("text-anchor")) for t in svg.findall("s:text", NAMES)]
    return svg, rects, texts


def test_squares_lie_where_their_loss_and_step_are():
    svg, (ground, *squares), texts = read(NORMS)
    assert svg.findtext("s:title", None, NAMES) == "norms <&>"
    assert [s["title"] for s in squares] == ["L_1, use at step 1: 0.0001", "L_2, use at step 1: 0.01", "L_2, use at step 2: 1", "L_3, use at step 2: 0.1"]
    side, left, top = ground["width"] / 3, ground["x"], ground["y"]
    assert (ground["height"], svg.get("width"), svg.get("height")) == (3 * side, str(int(left + 3 * side)), str(int(top + 3 * side)))
    assert svg.get("viewBox") == f"0 0 {svg.get('width')} {svg.get('height')}" and side == 30
    assert [((s["y"] - top) / side, (s["x"] - left) / side) for s in squares] == [(0, 0), (1, 0), (1, 1), (2, 1)]
    assert all(s["width"] == s["height"] == side for s in squares)
    columns, rows = [t for t in texts if t[3] == "middle"], [t for t in texts if t[3] == "end"]
    assert [(text, (x - left) / side) for text, x, *_ in columns] == [("k=1", .5), ("2", 1.5), ("3", 2.5)]
    assert [text for text, *_ in rows] == ["L_1", "L_2", "L_3"]
    assert all(0 < y < top for _, _, y, _ in columns) and all(0 < x < left for _, x, *_ in rows)
    assert all(abs((y - top) / side - (i + .5)) < .2 for i, (_, _, y, _) in enumerate(rows))


def test_a_small_one_whole():
    assert as_svg(np.array([[1e-2, 0], [1, .1]]), "norms", ["L_1", "L_2"]).replace("><", ">\n<").splitlines() == [
        '<svg xmlns="http://www.w3.org/2000/svg" width="104" height="82" viewBox="0 0 104 82" role="img" font-family="sans-serif" font-size="12" fill="currentColor">',
        '<title>norms</title>', '<rect x="44" y="22" width="60" height="60" fill="#EEE"/>',
        '<rect x="44" y="22" width="30" height="30" fill="#ffffcc">', '<title>L_1, use at step 1: 0.01</title>', '</rect>',
        '<rect x="44" y="52" width="30" height="30" fill="#bd0026">', '<title>L_2, use at step 1: 1</title>', '</rect>',
        '<rect x="74" y="52" width="30" height="30" fill="#feb24c">', '<title>L_2, use at step 2: 0.1</title>', '</rect>',
        '<text x="59.0" y="15" text-anchor="middle">k=1</text>', '<text x="89.0" y="15" text-anchor="middle">2</text>',
        '<text x="38" y="41.0" text-anchor="end">L_1</text>', '<text x="38" y="71.0" text-anchor="end">L_2</text>', '</svg>']


def test_colours_go_by_the_logarithm_from_pale_to_red():
    _, (ground, *squares), _ = read(np.array([[1e-4, 1e-3, 1e-2, 1e-1, 1.]]))
    assert [s["fill"] for s in squares] == ["#ffffcc", "#fed88c", "#feb24c", "#de5939", "#bd0026"] and ground["fill"] == "#EEE"      # grey: 0
    assert {s["fill"] for s in read(np.array([[2., 2], [2, 0]]))[1][1:]} == {"#ffffcc"}
    assert len(read(np.zeros((2, 2)))[1]) == 1


@pytest.mark.parametrize("shape, side, shown", [((2, 20), 30, 20), ((2, 40), 15, 20), ((1, 100), 6, 20), ((1, 1000), 3, 100), ((250, 1), 3, 1)])
def test_names_are_shown_as_far_as_there_is_room(shape, side, shown):
    _, (ground, *squares), texts = read(np.ones(shape), ["L"] * shape[0])
    columns = [t for t in texts if t[3] == "middle"]
    assert ground["width"] == side * shape[1] and len(columns) == shown
    gaps = np.diff([x for _, x, *_ in columns])
    assert np.all(gaps >= 30) and np.all(gaps < 60)
    numbers = [int(re.sub("k=", "", text)) for text, *_ in columns]
    assert numbers == list(range(1, shape[1] + 1, numbers[1] - 1 if len(numbers) > 1 else 1))


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draws a double sum; gives back the figure that would have been saved, and how."""
    pytest.importorskip("matplotlib", reason="the heat map needs matplotlib (the extra plots)")
    from matplotlib.figure import Figure
    kept = []
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **how: (kept.append((self, how)), open(file, "w").close()))

    def draw(double, name="heat.png", **options):
        double.plot(tmp_path / name, **options)
        return kept[-1]
    return draw


def network(T=5, scale=.9):
    rng = np.random.default_rng(0)
    W, h = mg.parameter(scale * np.linalg.qr(rng.standard_normal((4, 4)))[0], name="W"), mg.parameter(rng.standard_normal((2, 4)))
    states, losses = [h], []
    for x in mg.steps(rng.standard_normal((T, 2, 4))):
        h = np.tanh(x + h @ W)
        states.append(h)
        losses.append((h * h).sum())
    return bptt(losses, states, W), bptt(losses[-1:], states, W), bptt([losses[0] * 0], states, W)


def test_what_is_drawn_are_the_norms(drawn):
    double, last, none = network()
    figure, how = drawn(double)
    left, right = figure.axes[:2]
    image, = left.images
    shown = image.get_array()
    assert np.array_equal(shown.mask, double.norms == 0) and np.array_equal(shown.filled(0), double.norms)
    assert (image.norm.vmin, image.norm.vmax) == (double.norms[double.norms > 0].min(), double.norms.max())
    assert (left.get_xlabel(), left.get_ylabel()) == ("k: the step that uses W", "t: the loss")
    assert [t.get_text() for t in left.get_xticklabels()] == [t.get_text() for t in left.get_yticklabels()] == list("12345")
    assert list(left.get_xticks()) == [0, 1, 2, 3, 4] and figure.get_suptitle() == "∂L/∂W, term by term"
    assert how["format"] == "png" and figure.axes[2].get_ylabel() == "norm of the term (grey: exactly 0)"
    line, = right.lines
    by_distance = [np.diag(double.norms, -d) for d in range(5)]
    assert list(line.get_xdata()) == [0, 1, 2, 3, 4] and np.allclose(line.get_ydata(), [np.median(d) for d in by_distance])
    band = right.collections[0].get_paths()[0].vertices
    for d, norms in enumerate(by_distance):
        heights = band[np.isclose(band[:, 0], d), 1]
        assert np.isclose(heights.min(), norms.min()) and np.isclose(heights.max(), norms.max())
    assert right.get_yscale() == "log" and [t.get_text() for t in right.get_legend().get_texts()] == ["median over the losses", "from smallest to largest"]
    assert (right.get_xlabel(), right.get_ylabel()) == ("how many steps back", "norm of the term")
    assert all(tick == int(tick) for tick in right.get_xticks())
    assert tuple(figure.get_size_inches()) == (11, 4.8) and how["dpi"] == 150 and not right.get_legend().get_frame_on()
    assert right.collections[0].get_alpha() == .15 and right.xaxis.get_gridlines()[0].get_alpha() == .3       # faint beside the line
    assert right.spines["left"].get_visible() and not right.spines["top"].get_visible() and line.get_marker() == "."
    figure, how = drawn(last, "last.svg", title="the last loss")
    assert how["format"] == "svg" and figure.get_suptitle() == "the last loss" and not figure.axes[1].collections     # one loss: no band
    assert figure.axes[1].get_legend() is None
    figure, how = drawn(none, "nothing")
    assert how["format"] == "png" and not figure.axes[0].images and figure.axes[1].get_yscale() == "linear"


@pytest.mark.parametrize("T, ticks", [(12, range(1, 13)), (13, [1, 2, 4, 6, 8, 10, 12]), (30, [1, 5, 10, 15, 20, 25, 30]), (70, [1, *range(10, 71, 10)]),
                                      (130, [1, *range(20, 131, 20)]), (250, [1, *range(50, 251, 50)])])
def test_long_sequences_have_few_ticks(drawn, T, ticks):
    double = network(T)[0]
    figure, _ = drawn(double)
    for axis in (figure.axes[0].xaxis, figure.axes[0].yaxis):
        assert [t.get_text() for t in axis.get_ticklabels()] == [str(t) for t in ticks] and list(axis.get_ticklocs()) == [t - 1 for t in ticks]
    assert figure.axes[1].lines[0].get_marker() == ("." if T < 60 else "")


def test_distances_are_whole_numbers(drawn):
    figure, _ = drawn(network(2)[0])
    figure.draw_without_rendering()
    assert all(tick == int(tick) for tick in figure.axes[1].get_xticks())


def test_norms_that_are_all_equal_can_be_drawn(drawn):
    W, states, losses = mg.parameter(np.ones(3), name="W"), [], []
    for x in mg.steps(np.ones((3, 3))):
        states.append(x * W)
        losses.append(states[-1].sum())
    figure, _ = drawn(bptt(losses, states, W))
    image, = figure.axes[0].images
    assert image.norm.vmin < image.norm.vmax
