"""The page: what it holds, that names stay text, and, where a browser is at hand, that it works."""
import json
import re
import shutil

import numpy as np
import pytest

import minigrad as mg
from minigrad.picture.explorer import content

HOSTILE = ["</script><script>document.title='run'</script>", "<b>", "\"'`", r"\N\n{{}}", "a:b", "two\nlines", "\u202eabc", "x" * 10_000,
           "<!--", "--></script>"]


def elman(T=4, hostile=False):
    rng = np.random.default_rng(0)
    names = HOSTILE if hostile else ["W_x", "W_h", "b"]
    W_x, W_h, b, *more = [mg.parameter(0.5 * rng.standard_normal(s), name=n) for n, s in zip(names, [(3, 4), (4, 4), (4,)] + [(1, 4)] * 9)]
    h, loss = mg.Tensor(np.zeros((1, 4))), 0.0
    for x in mg.steps(rng.standard_normal((T, 1, 3))):
        h = np.tanh(x @ W_x + h @ W_h + b)
        for m in more:
            h = h * m
        loss = loss + (h * h).sum()
    return loss


def page_of(path):
    page = path.read_text(encoding="utf-8")
    return page, json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_the_page_holds_the_graph_and_its_numbers(tmp_path):
    loss = elman()
    assert mg.explore(loss, tmp_path / "g.html", title="Elman <4>") == tmp_path / "g.html"
    page, data = page_of(tmp_path / "g.html")
    assert "<title>Elman &lt;4&gt;</title>" in page and list(data["scenes"]) == ["ops", "cells", "folded"]
    graph, g = mg.graph.Graph.of(loss), mg.grad(loss, [n.tensor for n in mg.graph.Graph.of(loss).nodes if n.name == "W_h"])[0]
    assert len(data["nodes"]) == len(graph.nodes)
    W_h = next(i for i, n in enumerate(data["nodes"]) if n["name"] == "W_h")
    assert data["nodes"][W_h]["gradient"]["norm"] == pytest.approx(np.linalg.norm(g.data), rel=1e-3)
    for node, card in zip(graph.nodes, data["nodes"]):
        assert card["value"]["norm"] == pytest.approx(np.linalg.norm(node.value), rel=1e-3, abs=1e-12) and card["in"] == list(node.inputs)
    h = next(n for n in data["nodes"] if n["name"] == "h" and n.get("step") == 3)
    first, second = (next(n for n in data["nodes"] if n["name"] == "h[t-1] @ W_h" and n.get("step") == t) for t in (1, 2))
    assert first["rules"] == [None, "dW_h += h[t-1].T @ d(h[t-1] @ W_h)"] and second["rules"][0] == "dh[t-1] += d(h[t-1] @ W_h) @ W_h.T"     # h_0 is a constant
    assert h["formula"] == "tanh(x @ W_x + h[t-1] @ W_h + b)" and h["rules"] == ["d(x @ W_x + h[t-1] @ W_h + b) += dh * (1 - h**2)"]


def test_what_an_op_gives_back_adds_up_to_the_gradients():
    data = content(mg.graph.Graph.of(elman()), "", 99)
    arriving = {}
    for node in data["nodes"]:
        for i, part in zip(node["in"], node.get("parts", ())):
            if part:
                arriving.setdefault(i, []).append(part)
    small = {i: parts for i, parts in arriving.items() if all("all" in p for p in parts) and "all" in data["nodes"][i].get("gradient", {})}
    assert len(small) > 10
    for i, parts in small.items():
        assert np.allclose(np.sum([p["all"] for p in parts], axis=0), data["nodes"][i]["gradient"]["all"], rtol=2e-3, atol=2e-3)


def test_every_zoom_shows_nodes_of_the_same_graph():
    data = content(mg.graph.Graph.of(elman()), "", 99)
    shown = {name: {n for s in scene["shapes"] for n in s[7]} for name, scene in data["scenes"].items()}
    assert shown["cells"] < shown["ops"] and shown["folded"] < shown["ops"] and max(shown["ops"]) < len(data["nodes"])


@pytest.mark.parametrize("root", [lambda: mg.parameter([1.0, 2.0]) * 3, lambda: mg.Tensor([1.0]) + 1,
                                  lambda: mg.softmax_cross_entropy(mg.parameter(np.eye(3)), mg.Tensor([1, 2, 0])),
                                  lambda: mg.unroll(mg.LSTMCell(2, 3), np.ones((3, 2, 2)))[0],
                                  lambda: (mg.parameter(np.array([0.0])) / 0.0 * np.inf).sum()])
def test_without_gradients_or_time_and_with_nan_it_is_written_too(root, tmp_path):
    with np.errstate(all="ignore"):
        mg.explore(root(), tmp_path / "g.html")
    page, data = page_of(tmp_path / "g.html")
    assert data["scenes"]["ops"]["shapes"] and "NaN" not in page.partition('id="data"')[2].partition("</script>")[0]


def test_hostile_names_stay_text(tmp_path):
    mg.explore(elman(2, hostile=True), tmp_path / "g.html", title="</title><script>alert(1)</script>")
    page, data = page_of(tmp_path / "g.html")
    assert page.count("<script") == 2 and page.count("</script>") == 2 and "<b>" not in page
    assert "http:" not in page.replace("http://www.w3.org/2000/svg", "") and "https:" not in page and str(tmp_path) not in page
    assert "default-src 'none'" in page and "'unsafe-inline'; script-src 'sha256-" in page
    assert any("</script>" in n["name"] for n in data["nodes"])


def test_a_scan_is_unfolded_and_a_long_sequence_can_be_cut(tmp_path):
    ys, h = mg.scan(mg.RNNCell(2, 3), np.ones((30, 1, 2)))
    mg.explore((h * h).sum(), tmp_path / "g.html", steps=6)
    _, data = page_of(tmp_path / "g.html")
    assert {n.get("step") for n in data["nodes"]} >= set(range(1, 31)) and len(data["scenes"]["ops"]["panels"]) < 10


@pytest.mark.parametrize("arguments, error, message", [
    (lambda p: ([1.0], p / "g.html"), TypeError, r"explore\(root\): root\[0\] is a float"),
    (lambda p: (mg.parameter(1.0) * 2, p / "g.svg"), ValueError, "g.svg.*expected a name that ends in .html"),
    (lambda p: (mg.parameter(1.0) * 2, p / "none" / "g.html"), OSError, "cannot write the page"),
    (lambda p: (mg.parameter(1.0) * 2, p / "g.html", 0), ValueError, "at least 1")])
def test_one_clear_message_each(arguments, error, message, tmp_path):
    root, path, *steps = arguments(tmp_path)
    with pytest.raises(error, match=message):
        mg.explore(root, path, **({"steps": steps[0]} if steps else {}))
    assert not list(tmp_path.iterdir())


# ---- in a browser ------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def browser():
    """Headless Chromium by its driver (Debian: apt install chromium chromium-driver; pip install 'minigrad[browser]')."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="the explorer is clicked through with selenium: pip install 'minigrad[browser]'")
    program, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("no chromium with chromedriver on this machine (Debian: apt install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1300,800"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)) as found:
        yield found


@pytest.fixture
def page(browser, tmp_path):
    def show(root, **options):
        browser.get(mg.explore(root, tmp_path / "g.html", **options).as_uri())
        return lambda selector: browser.find_element("css selector", selector)
    yield show
    said = [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    assert [message for message in said if "getImageData" not in message] == []       # (that one is of the test's own doing)


def test_search_card_and_zooms(page, browser):
    find = page(elman())
    find("#search").send_keys("h_3")
    assert find("#hits").text.endswith("found")
    find("#search").send_keys("\ue007")                                       # Enter
    card = find("#card").text
    assert "h (t = 3)" in card and "dh * (1 - h**2)" in card and "over time" in card
    find("[data-level=cells]").click()
    assert "h (t = 3)" in find("#card").text and find("[data-level=cells]").get_attribute("aria-pressed") == "true"
    assert browser.execute_script("return nodes[scene.shapes[chosen][NODES].at(-1)].name") == "h"         # the same node in another zoom
    find("[data-level=folded]").click()
    assert browser.execute_script("return scene.shapes.length") < browser.execute_script("return data.scenes.ops.shapes.length")


def test_keys_walk_along_the_arrows(page, browser):
    find = page(elman())
    browser.execute_script("go(nodes.findIndex(n => n.name === 'h' && n.step === 2))")
    canvas = find("#canvas")
    canvas.send_keys("\ue014")                                                # right: the same thing one step on
    assert "h (t = 3)" in find("#card h2").text
    canvas.send_keys("\ue015")                                                # down: what it is computed from
    assert "h (t = 3)" not in find("#card h2").text or "tanh" in find("#card").text
    before = browser.execute_script("return view.s")
    canvas.send_keys("+")
    assert browser.execute_script("return view.s") > before
    canvas.send_keys("2")
    assert find("[data-level=cells]").get_attribute("aria-pressed") == "true"
    canvas.send_keys("\ue00c")                                                # Escape
    assert not find("#card").is_displayed()


def test_the_backward_pass_is_played_forwards_and_back(page, browser):
    find = page(elman())
    total = browser.execute_script("return order.length")
    for n in (1, 2, 3):
        find("#next").click()
        assert find("#count").text == f"{n} of {total}" and "what it gives" in find("#card").text
    third = find("#card").text
    find("#next").click()
    find("#back").click()
    assert find("#card").text == third
    find("#play").click()
    assert find("#play").text == "pause" and find("#play").get_attribute("aria-pressed") == "true"
    find("#first").click()
    assert find("#play").text == "play backward" and find("#count").text == "" and not find("#next").get_property("disabled")
    # the order is one in which every op comes after all that use it
    assert browser.execute_script("const at = new Map(order.map((n, k) => [n, k])); "
                                  "return order.every(n => users[n].every(u => !at.has(u) || at.get(u) < at.get(n)))")


def test_a_parameter_lights_its_uses_and_dark_is_dark(page, browser):
    find = page(elman())
    lit = browser.execute_script("over = scene.where.get(nodes.findIndex(n => n.name === 'W_h')); return lighted().size")
    assert lit == 5                                                           # itself, and one use in each of four steps
    ground = browser.execute_script("draw(); return [...pen.getImageData(2, 2, 1, 1).data]")
    find("#dark").click()
    assert sum(browser.execute_script("draw(); return [...pen.getImageData(2, 2, 1, 1).data]")[:3]) < sum(ground[:3]) / 2


def test_no_name_runs(page, browser):
    page(elman(2, hostile=True), title="plain")
    assert browser.title == "plain"
    for i in range(browser.execute_script("return nodes.length")):
        browser.execute_script(f"go({i})")
    assert browser.title == "plain" and browser.execute_script("return document.querySelectorAll('#card script, #card b').length") == 0


def test_the_card_shows_the_line_of_the_cell():
    ys, _ = mg.unroll(mg.LSTMCell(3, 4), np.ones((3, 1, 3)))
    data = content(mg.graph.Graph.of(ys.sum()), "", 99)
    found = {n["name"]: n["source"] for n in data["nodes"] if n.get("step") == 2 and "source" in n}
    assert found["c"].startswith("LSTMCell.__call__, line ") and found["c"].endswith(": c = f * c + i * g")
    assert "a = x @ self.W_x + h @ self.W_h + self.b" in found["x @ W_x"] and "/" not in found["h"]


def test_what_each_step_contributes_to_a_parameter(page, browser):
    loss = elman()
    states, W = [], next(n.tensor for n in mg.graph.Graph.of(loss).nodes if n.name == "W_h")
    data = content(mg.graph.Graph.of(loss), "", 99)
    terms = next(n["terms"] for n in data["nodes"] if n["name"] == "W_h")
    h = [n.tensor for n in mg.graph.Graph.of(loss).nodes if n.name == "h"]
    assert len(h) == 5
    sums = np.asarray(mg.check.bptt([loss], [*states, *h], W).terms).sum(axis=0)
    assert [t for t, _, loop in terms if loop == 0] == [1, 2, 3, 4] and np.allclose([n for _, n, _ in terms], [np.linalg.norm(s) for s in sums], rtol=1e-3)
    assert terms[0][1] == 0 < terms[3][1]                                       # h_0 is 0
    find = page(loss)
    browser.execute_script("go(nodes.findIndex(n => n.name === 'W_h')); fit(); draw()")
    assert "BPTT as a sum" in find("#card").text
    x, y = browser.execute_script("const [l, r] = scene.columns.get(4); return [((l + r) / 2) * view.s + view.x, (scene.bounds[3] + 90) * view.s + view.y]")
    hit = browser.execute_script(f"const p = window.devicePixelRatio; return [...pen.getImageData({x} * p, {y} * p, 1, 1).data]")
    assert hit[:3] == [0xF0, 0xB4, 0x00]


def test_two_loops_nan_and_names_that_no_file_can_hold(tmp_path):
    cell, xs = mg.RNNCell(3, 4), np.ones((3, 2, 3))
    bad = xs.copy()
    bad[0] = np.nan
    with np.errstate(all="ignore"):
        mg.explore(mg.unroll(cell, xs)[0].sum() + mg.unroll(cell, bad)[0].sum(), tmp_path / "g.html")
    terms = next(n["terms"] for n in page_of(tmp_path / "g.html")[1]["nodes"] if n["name"] == "W_x")
    assert [(t, loop) for t, _, loop in terms] == [(t, loop) for loop in (0, 1) for t in (1, 2, 3)] and terms[-1][1] == "nan"
    w = mg.parameter([1.0, 2.0], name="a\ud800\u202e")
    mg.explore((w * w).sum() * 1e-200, tmp_path / "g.html")
    data = page_of(tmp_path / "g.html")[1]
    assert "\u202e" not in json.dumps(data, ensure_ascii=False) and data["nodes"][0]["gradient"]["norm"] == pytest.approx(2e-200 * 5 ** 0.5, rel=1e-3)


def test_formulas_are_those_of_the_ops():
    h, w = mg.parameter([0.5, 2.0], name="h"), mg.parameter([1.0, 3.0], name="h")
    words = {n["op"]: n for n in content(mg.graph.Graph.of((mg.softmax(np.clip(h * w, -1, 1) ** 2.0)).sum(axis=0)), "", 9)["nodes"]}
    assert words["multiply"]["formula"] == "h * h" or "1.h * 2.h" in words["multiply"]["formula"]
    assert not any(" object at " in str(n) for n in words.values())
    assert words["sum"]["formula"].endswith(", axis=-1))") and words["softmax"]["formula"].endswith(", axis=-1)")        # the sum is over all there are
    assert any(n["formula"] == "sum(a, axis=-1)" for n in content(mg.graph.Graph.of(mg.parameter(np.ones((2, 3)), name="a").sum(axis=1)), "",
                                                                  9)["nodes"] if n["op"] == "sum")
    n = content(mg.graph.Graph.of(mg.Tensor(np.array([12345, 7])) * mg.parameter(1.0)), "", 9)["nodes"]
    assert any(node["value"].get("all") == [12345, 7] for node in n)
