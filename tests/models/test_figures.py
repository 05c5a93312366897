import xml.etree.ElementTree as xml

import numpy as np

from models import figures

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg):
    return [t.text for t in xml.fromstring(svg).iter(f"{SVG}text")]


def test_curves_stay_inside_and_say_their_values():
    lines = {"trained": ([1, 50, 100], [4.5, 3, 2.5]), "<held out>": ([50, 100], [3.2, 2.51])}
    svg = figures.curves(lines, {"bigram": 3.24}, "t & t", "step", "bits")
    assert {"t & t", "step", "bits", "bigram 3.24", "trained 2.50", "<held out> 2.51"} <= set(texts(svg))
    root = xml.fromstring(svg)
    for line in root.iter(f"{SVG}polyline"):
        points = np.array([p.split(",") for p in line.get("points").split()], float)
        assert (points >= 0).all() and (points <= [720, 420]).all()
    ys = [float(t.get("y")) for t in root.iter(f"{SVG}text") if t.text.startswith(("trained", "<held", "bigram"))]
    assert min(np.diff(sorted(ys))) >= 15                           # labels do not overlap


def test_curves_of_one_point_and_of_nothing():
    for lines in ({"a": ([1], [2.0])}, {"a": ([], [])}, {}):
        xml.fromstring(figures.curves(lines, {}, "t", "x", "y"))


def test_heat_leaves_out_what_is_not_there():
    svg = figures.heat([[1.0, None], [1e-3, 0.0]], "title", "k", "t")
    squares = [r for r in xml.fromstring(svg).iter(f"{SVG}rect") if len(r)]
    assert [r[0].text for r in squares] == ["t 1, k 1: 1.00e+00", "t 2, k 1: 1.00e-03", "t 2, k 2: 0.00e+00"]
    assert squares[0].get("fill") == "rgb(213,94,0)" and squares[2].get("fill") == "rgb(255,255,255)"
    assert {"1e+0", "1e-3"} <= set(texts(svg))


def test_heat_of_zeros():
    xml.fromstring(figures.heat([[0.0, 0.0]], "t", "k", "t"))


def test_ticks_are_round_and_inside():
    for low, high in ((0, 1), (1, 6053), (2, 5), (0, 0.03)):
        ticks = figures._ticks(low, high)
        assert 2 <= len(ticks) <= 7 and low <= ticks[0] and ticks[-1] <= high * (1 + 1e-9)


def test_a_logarithmic_axis_has_equal_steps_for_equal_factors():
    svg = figures.curves({"a": ([1, 2, 3, 4], [1e-3, 1e-2, 1e-1, 1.0])}, {}, "t", "x", "y", log=True)
    line, = xml.fromstring(svg).iter(f"{SVG}polyline")
    heights = np.array([p.split(",")[1] for p in line.get("points").split()], float)
    assert np.ptp(np.diff(heights)) < 0.2 and {"0.001", "0.01", "0.1", "1", "a 1"} <= set(texts(svg))
    assert figures.decades([0.01, 1]) and not figures.decades([0.1, 1]) and not figures.decades([0, 1])


def test_more_lines_than_hues_are_all_drawn_and_long_names_fit():
    lines = {f"a cell with a rather long name {i}": ([1, 2], [i, i]) for i in range(9)}
    svg = figures.curves(lines, {}, "t", "x", "y")
    drawn = [(line.get("stroke"), line.get("stroke-dasharray")) for line in xml.fromstring(svg).iter(f"{SVG}polyline")]
    assert len(drawn) == len(set(drawn)) == 9
    places = [(float(t.get("x")), float(t.get("y"))) for t in xml.fromstring(svg).iter(f"{SVG}text") if t.text.startswith("a cell")]
    width, height = (float(xml.fromstring(svg).get(side)) for side in ("width", "height"))
    assert all(x + 7 * 33 <= width and y < height for x, y in places)


def test_a_band_lies_around_its_line():
    svg = figures.curves({"a": ([1, 2], [2, 3])}, {}, "t", "x", "y", bands={"a": ([1, 2], [4, 5])})
    band, = xml.fromstring(svg).iter(f"{SVG}polygon")
    points = np.array([p.split(",") for p in band.get("points").split()], float)
    assert np.allclose(points[:2, 0], points[:1:-1, 0]) and (points[:2, 1] < points[:1:-1, 1]).all()


def test_labels_keep_apart_and_above_the_bottom():
    assert figures._apart([10, 12, 100], 15, 400) == [10, 25, 100]
    assert figures._apart([300, 399, 400, 401], 15, 400) == [300, 370, 385, 400]
    svg = figures.curves({f"run {k}": ([1, 2], [1.0, 0.001 * k]) for k in range(6)}, {}, "t", "x", "y")
    ys = sorted(float(t.get("y")) for t in xml.fromstring(svg).iter(f"{SVG}text") if t.text.startswith("run "))
    assert min(np.diff(ys)) >= 15 and ys[-1] < 420
    assert "run 5 0.0050" in texts(figures.curves({"run 5": ([1, 2], [0.02, 0.005])}, {}, "t", "x", "y"))
