"""What explains numbers on one probe explains them on another, and where the lines are drawn between an explanation and none."""
import numpy as np
import pytest

from minigrad.check import diagnose
from minigrad.check.explain.cover import _merged
from minigrad.check.explain.gradients import Case
from minigrad.check.explain.lines import _Line, carried_out
from minigrad.check.lines import Values, arguments_of, evaluate

from derivation import Derivation, each, same
from networks import B, H, T, elman, gated

E, OTHER, G, OTHER_G = Derivation(elman), Derivation(elman, 7), Derivation(gated), Derivation(gated, 8)


def weights(n):
    """Each term by a weight of its own."""
    def derived(d):
        r, spans = d.context.reverse, d.context.slips.spans
        flat = r.outside + sum((1 + t * k / 4 if k else 1) * c for (t, k), c in r.terms().items())
        return {**d(), n: flat[spans[n]].reshape(d().get(n).shape)}
    return derived


MISTAKES = {  # derivation -> wrong gradients
    "not transposed": lambda d: d(dh_="da @ W_h"),
    "no derivative": lambda d: d(da="dh"),
    "in one step": lambda d: d(da=lambda t: d.program.rule("dh" if t == 2 else "dh * (1 - h**2)", t)),
    "two lines": lambda d: {**d(dh_="da @ W_h"), "W_y": d(dW_y="h[t-1].T @ do")["W_y"]},
    "three lines": lambda d: {**d(dh_="da @ W_h"), "W_y": d(dW_y="h[t-1].T @ do")["W_y"], "b_y": d()["b_y"] / B},
    "two in the recurrence": lambda d: d(dh_="da @ W_h", dW_h="h.T @ da"),
    "a transposed gradient in it": lambda d: d(da="dh * (1 - h)", dW_h="da.T @ h[t-1]"),
    "one in two lines": lambda d: d(dW_h="h[t-1].T @ dh", dW_x="x.T @ dh"),
    "everything by a factor": lambda d: each(d(), lambda g: 1.7 * g),
    "one by a factor": lambda d: {**d(), "W_y": .3 * d()["W_y"]},
    "two by factors": lambda d: {**d(), "W_y": .3 * d()["W_y"], "W_h": 1.4 * d()["W_h"]},
    "a line by a factor": lambda d: d(dh="0.9 * do @ W_y.T"),
    "decay": lambda d: {n: g + .01 * d.value(n) for n, g in d().items()},
    "a slip and a factor": lambda d: each(d(dh_="da @ W_h"), lambda g: 3 * g),
    "weights of terms": weights("W_h"),
    "no bias, transposed weights": lambda d: {**d(), "b_h": 0 * d()["b_h"], "W_h": d()["W_h"].T},
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_an_explanation_holds_on_another_probe(mistake):
    found = E.diagnose(MISTAKES[mistake](E))
    assert found.exact and found.residual <= 1e-9 < found.next_best[0], found
    assert same(found.elsewhere(E.context), MISTAKES[mistake](E)) and same(found.elsewhere(OTHER.context), MISTAKES[mistake](OTHER)), found


def test_of_gates_too():
    def early(d):
        g, x = d(), [0 * d.value("x"), *(d.value("x", t) for t in range(1, T))]
        return {**g, "W": np.concatenate([g["W"][:, :H], sum(x[t - 1].T @ d.program.g["da", t] for t in range(1, T + 1))[:, H:]], -1)}
    for mistake in (lambda d: d(dn="dh * z"), early, lambda d: d(dh_=lambda t: d.program.g["dh", t] * 0)):
        found = G.diagnose(mistake(G))
        assert found.exact and same(found.elsewhere(OTHER_G.context), mistake(OTHER_G)), found


def test_clipping_is_recognised_by_where_it_stops():
    found = E.diagnose(each(E(), lambda g: np.clip(g, -.2, .2)))
    assert found.exact and same(found.elsewhere(E.context), each(E(), lambda g: np.clip(g, -.2, .2)))


# ---- four are too many ------------------------------------------------------------------------------------------------------------------

PARTS = {"W_y": "h[t-1].T @ do", "W_x": "x.T @ dh", "W_h": "da.T @ h[t-1]"}


@pytest.mark.parametrize("n", [1, 2, 3])
def test_up_to_three_mistakes_are_told_apart(n):
    wrong = {**E(), **{name: E(**{f"d{name}": lambda t, text=text: E.program.rule(text, t)})[name] for name, text in list(PARTS.items())[:n]}}
    found = E.diagnose(wrong)
    assert found.exact and len(found.explanations) == n, found
    assert {e.line.partition(" ")[0] for e in found.explanations} == {f"d{name}" for name in list(PARTS)[:n]}


def test_a_second_slip_that_explains_nothing_more_is_left_out():
    case = Case({**E(), "W_y": E()["W_y"].T.reshape(H, -1)}, E.context, None)
    merged, _ = _merged(case, [(.1, 0, frozenset({2})), (.2, 1, frozenset({2}))], {2})
    assert merged.parts == [(case.slips[0], {case.at[2]})]


def test_four_are_not_explained():
    wrong = {**E(), **{name: E(**{f"d{name}": lambda t, text=text: E.program.rule(text, t)})[name] for name, text in PARTS.items()}}
    found = E.diagnose({**wrong, "b_y": E()["b_y"] / B})
    assert not found.exact and len(found.explanations) == 1, found


# ---- thresholds, from both sides ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype, tolerance, off, exact", [
    (float, None, .99e-9, True), (float, None, 1.5e-9, False), (np.float32, None, .5e-3, True), (np.float32, None, 2e-3, False),
    (float, 1e-6, .99e-4, True), (float, 1e-6, 1.005e-4, False), (float, 1e-4, 5e-4, False), (float, 2e-4, 1e-4, True), (float, 2e-4, 1e-3, False)])
def test_how_well_numbers_must_be_explained(dtype, tolerance, off, exact):
    wrong = E(da="dh")
    noise = {n: off * np.max(np.abs(g)) * (np.arange(g.size).reshape(g.shape) == 0) for n, g in wrong.items()}
    found = E.diagnose({n: (g + noise[n]).astype(dtype) for n, g in wrong.items()}, tolerance=tolerance)
    assert found.exact == exact and found.explanations[0].kind == "no derivative"
    assert found.residual == pytest.approx(off, rel=.1, abs=1e-7 if dtype is np.float32 else 1e-15)


@pytest.mark.parametrize("c, says", [
    (2, "a factor 2"), (2 * (1 + .9e-4), "a factor 2"), (2 * (1 + 1.1e-4), None), (.5 * (1 + .9e-4), "a factor 1/2"), (.5 * (1 + 1.1e-4), None),
    (1 / T, "1/T, T = 4 steps"), (T, "T = 4: the mean over time is missing"), (1 / B, "1/B, B = 3 rows"), (B, "B = 3: the mean over the batch"),
    (-1, "the sign: the derivative of -L"), (-.999, "(an update -η·gradient in place of the gradient?)"), (-1.001, None), (1e-3, None)])
def test_what_a_factor_could_come_from(c, says):
    found = E.diagnose(each(E(), lambda g: c * g))
    text = found.explanations[0].says
    assert found.exact and text == f"everything is off by the factor {c:.6g}" + (text[text.index(says) - (says[0] != "(") * 2 - (says[0] == "("):] if says else ""), text


TINY = 2.0 ** -40
SCALED = {
    "a slip": lambda: E(da="dh"), "two": lambda: {**E(dh_="da @ W_h"), "W_y": E(dW_y="h[t-1].T @ do")["W_y"]}, "a factor": lambda: {**E(), "W_y": .3 * E()["W_y"]},
    "weights": lambda: weights("W_h")(E), "no slip": lambda: {n: g + .01 * np.cos(np.arange(g.size)).reshape(g.shape) for n, g in E(da="dh").items()},
    "almost nothing": lambda: {n: g * (1 + 1e-6 * np.cos(np.arange(g.size)).reshape(g.shape)) for n, g in E().items()},
    "adjoints": lambda: {"da": E.adjoints("da", da="dh")}, "adjoints that no slip explains": lambda: {"da": [g + .01 for g in E.adjoints("da", da="dh")]}}


@pytest.mark.parametrize("wrong", SCALED)
def test_tiny_gradients_are_diagnosed_like_others(wrong):
    """Of a loss that is multiplied by a power of two, nothing changes but the exponents."""
    wrong = SCALED[wrong]()
    loss = E.loss * TINY
    found, tiny = E.diagnose(wrong), diagnose({n: TINY * np.array(g) for n, g in wrong.items()}, loss)
    assert (tiny.exact, [e.kind for e in tiny.explanations]) == (found.exact, [e.kind for e in found.explanations]) and set(tiny.time_map) == set(found.time_map)
    assert tiny.residual == pytest.approx(found.residual, rel=1e-6, abs=1e-12) and tiny.next_best[0] == pytest.approx(found.next_best[0], rel=1e-6)
    assert [row.error for row in tiny.report.rows] == pytest.approx([row.error for row in found.report.rows], rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("off, small", [(.95e-3, True), (1.2e-3, False)])
def test_what_is_off_by_little_is_no_slip(off, small):
    found = E.diagnose({n: g + off * np.max(np.abs(g)) * np.cos(np.arange(g.size).reshape(g.shape)) for n, g in E().items()})
    assert not found.exact and (found.explanations[0].kind == "small") == small, found


# ---- lines --------------------------------------------------------------------------------------------------------------------------------

LINES = {
    "no derivative": ("da", lambda dh, h: dh),
    "a wrong derivative": ("da", lambda dh, h: dh * (1 - h)),
    "two slips": ("dh", lambda do, W_y, carry_h: -do @ W_y.T + 2 * carry_h),
    "an argument counted twice": ("dh", lambda do, W_y, carry_h: do @ W_y.T + 2 * carry_h),
    "an argument left out": ("dh", lambda do, W_y, carry_h: do @ W_y.T + 0 * carry_h),
    "a factor": ("dW_x", lambda x, da: 1.3 * x.T @ da),
    "transposed": ("dW_h", lambda h_prev, da: da.T @ h_prev),
    "another step": ("dW_h", lambda h, da: h.T @ da),
    "not transposed": ("carry_h", lambda da, W_h: da @ W_h),
}


@pytest.mark.parametrize("slip", LINES)
def test_an_explanation_of_a_line_holds_on_another_probe(slip):
    name, line = LINES[slip]
    e, = E.diagnose({name: line}).explanations
    values = Values(OTHER.context.reverse)
    mine, _, steps, _ = evaluate(line, name, values)
    arguments = line.__code__.co_varnames[:line.__code__.co_argcount]
    for ours, theirs in zip(carried_out(e.slip, name, arguments, values, OTHER.context, steps), mine, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


ADJOINTS = {"dh": (lambda do, W_y, carry_h: do @ W_y.T + carry_h, ["do", "carry_h"]), "da": (lambda dh, h: dh * (1 - h ** 2), ["dh"]),
            "db_h": (lambda da: da.sum(0), ["da"]), "carry_h": (lambda da, W_h: da @ W_h.T, ["da"])}


@pytest.mark.parametrize("name", ADJOINTS)
def test_an_argument_left_out_turned_round_or_doubled_is_that(name):
    line, adjoints = ADJOINTS[name]
    values = Values(E.context.reverse)
    steps, names = evaluate(line, name, values)[2], arguments_of(line)
    found = [(s, v) for s, v in _Line(name, line, values, E.context, steps).hypotheses() if isinstance(s.factor, dict)]
    assert [(s.factor, s.cost, s.says) for s, _ in found] == [
        ({a: c}, .25 + .1 * abs(c), says) for a in adjoints
        for c, says in ((0, f"{a} is missing in {name}"), (-1, f"the sign of {a} is wrong in {name}"), (2, f"{a} is counted twice in {name}"))]
    for slip, v in found:
        given = [{n: values.argument(n, t) * slip.factor.get(n, 1) for n in names} for t in steps]
        np.testing.assert_allclose(v, [np.ravel(line(**one)) for one in given], rtol=1e-12, atol=1e-14, err_msg=slip.says)


@pytest.mark.parametrize("tolerance, off, exact", [(None, .99e-9, True), (None, 1.5e-9, False), (1e-5, .99e-3, True), (1e-5, 1.005e-3, False)])
def test_how_well_a_line_must_be_explained(tolerance, off, exact):
    found = E.diagnose({"da": lambda dh, h: dh + off * np.max(np.abs(dh)) * (np.arange(18).reshape(3, 6) == 0)}, tolerance=tolerance)
    assert found.exact == exact and "the factor 1 - h**2 is missing in da" in found.explanations[0].says
    assert found.explanations[0].says.startswith("no slip explains it; closest: ") != exact and found.residual <= off * 1.01


def test_only_what_is_square_is_told_to_be_transposed():
    """The same numbers in the same shape, read down the columns."""
    e, = E.diagnose({"da": lambda dh, h: (dh * (1 - h ** 2)).T.reshape(h.shape)}).explanations
    assert e.kind == "unknown" and not e.says.endswith("transposed")


@pytest.mark.parametrize("c", [1 / 3, -1, 2.5])
def test_lines_off_by_a_factor(c):
    e, = E.diagnose({"dW_x": lambda x, da: c * x.T @ da}).explanations
    assert (e.kind, e.says, e.line) == ("scale", f"dW_x is off by the factor {c:.6g}", f"{c:.6g} * (…)") and e.fix == "dW_x += x.T @ da"


# ---- adjoints -----------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("lines", [dict(da="dh"), dict(dh_="da @ W_h"), dict(do="2 * (softmax(o) - y) / 3"), dict(dh="-do @ W_y.T")])
def test_adjoints_are_explained_by_what_was_written(lines):
    (target, text), = lines.items()
    found = E.diagnose({name: E.adjoints(name, **lines) for name in ("dh", "da", "do")})
    line, = [e.line for e in found.explanations]
    assert found.exact and found.residual <= 1e-9 < found.next_best[0] and line.startswith(f"{target.removesuffix('_')}"), found


@pytest.mark.parametrize("tolerance, off, exact", [(None, .99e-9, True), (None, 1.5e-9, False), (1e-5, .99e-3, True), (1e-5, 1.005e-3, False)])
def test_how_well_adjoints_must_be_explained(tolerance, off, exact):
    largest = max(np.abs(g).max() for g in E.adjoints("da"))
    noise = off * largest * (np.arange(B * H).reshape(B, H) == 0)
    found = E.diagnose({"da": [g + noise for g in E.adjoints("da", da="dh")]}, tolerance=tolerance)
    assert found.exact == exact and found.explanations[0].kind == "no derivative"


def test_off_by_a_hair_is_explained_too():
    """10.5 % off is outside of 10 % of the reference, and inside of 10 % of yours."""
    found = E.diagnose(each(E(), lambda g: 1.105 * g), tolerance=.1)
    assert not found.ok and not bool(found) and "the factor 1.105" in found.explanations[0].says


def test_the_bookkeeping_may_be_wrong_in_one_line_only():
    found = E.diagnose({**E(), "W_h": E(dh_="0 * da @ W_h")["W_h"], "b_y": E()["b_y"] / B})
    assert found.exact and {e.kind for e in found.explanations} == {"terms: only k=t", "mean"}, found


def test_a_page_has_what_the_text_has():
    import re
    from html import unescape
    for wrong in (E(da="dh * (1 - h)"), each(E(), lambda g: -g), weights("W_h")(E), E(), {"W_h": E()["W_h"]}, {**E(), "W_y": 0 * E()["W_y"], "b_h": E()["W_x"]}):
        found = E.diagnose(wrong)
        page, text = unescape(found.html()), str(found)
        for e in found.explanations:
            pairs = dict(re.findall(r"<dt>(\w+)</dt><dd><code>(.*?)</code></dd>", page))
            assert e.says in page and pairs.get("right", "") == e.fix and pairs.get("why", "") == e.why and pairs.get("where", "") == e.where
            assert ("wrong" in pairs) == (e.line not in ("", e.says)) and page.count("<dt>or</dt>") == min(3, len(e.same))
        assert ("TIME MAP" in page) == ("TIME MAP" in text) == bool(found.time_map) and page.startswith('<div class="check">')
        last = [line.strip() for line in text.splitlines() if line.startswith("         ") and "t=" not in line][-1:] if not found.ok else []
        assert all(line in page for line in last) and found._repr_html_() == found.html()
        data = found.data()
        assert data["ok"] == found.ok and data["exact"] == found.exact and len(data["explanations"]) == len(found.explanations)
        assert [row is None for rows in data["time_map"].values() for m in rows for row in m].count(True) == (6 if found.time_map else 0)
        assert (data["residual"] is None) == np.isnan(found.residual) and (data["next_best"] is None) == np.isinf(found.next_best[0])
