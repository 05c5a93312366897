"""The tableau: its numbers are enough to do the backward pass by hand; blanks; text, HTML and LaTeX."""
import re
from xml.etree import ElementTree

import numpy as np
import pytest

import minigrad as mg
from minigrad.custom import custom_gradient
from minigrad.derivation.tableau import tableau
from tests.recurrent.test_every_cell import Probe, every_cell


def column_network(T=3, seed=0):
    """Source 004: h_t = tanh(U x_t + W h_{t-1}), ŷ_t = softmax(V h_t), column vectors; every node has a name."""
    rng = np.random.default_rng(seed)
    U, W, V = (mg.parameter(rng.standard_normal(s), name=n) for n, s in (("U", (2, 4)), ("W", (2, 2)), ("V", (3, 2))))
    h = mg.parameter(rng.standard_normal((2, 1)), name="h_0")
    ys = np.eye(3)[rng.integers(3, size=T)][:, :, None]
    total = 0.0
    for x, y in mg.steps(rng.standard_normal((T, 4, 1)), ys):
        U_frd = U @ x
        W_frd = W @ h
        h_un = U_frd + W_frd
        h = np.tanh(h_un)
        z = V @ h
        y_hat = mg.softmax(z, axis=0)
        L = -(y * np.log(y_hat)).sum()
        total = total + L
    return total, {"U": U, "W": W, "V": V}, ys


def row_network(T=3, B=2):
    """The network of the notes in rows: unroll, an output layer, the loss of each step outside the loop."""
    rng = np.random.default_rng(1)
    cell, W_y, h_0 = mg.RNNCell(3, 4, rng=rng), mg.parameter(rng.standard_normal((4, 3)), name="W_y"), mg.parameter(rng.standard_normal((B, 4)))
    classes = rng.integers(3, size=(T, B))
    xs = rng.standard_normal((T, B, 3))
    ys, _ = mg.unroll(cell, xs, h_0)
    losses = []
    for t in range(T):
        losses.append(mg.softmax_cross_entropy(ys[t] @ W_y, classes[t]))
    loss = losses[0]
    for part in losses[1:]:
        loss = loss + part
    return loss, cell, W_y, xs, h_0, ys, classes


# ---- numbers ---------------------------------------------------------------------------------------------------------------

def test_the_notes_by_hand():
    """Every cell of an Elman network's table against the recursion of source 002, in NumPy."""
    loss, cell, W_y, xs, h_0, ys, classes = row_network()
    table = tableau(loss)
    T, B = xs.shape[:2]
    W_h, hs = cell.W_h.data, [h_0.data, *ys.data]
    carry, totals = np.zeros((B, 4)), {name: 0.0 for name in ("W_x", "W_h", "b", "W_y")}
    for t in range(T, 0, -1):
        h, y_hat = hs[t], np.exp(hs[t] @ W_y.data)
        do = (y_hat / y_hat.sum(axis=1, keepdims=True) - np.eye(3)[classes[t - 1]]) / B
        dh = do @ W_y.data.T + carry
        da = dh * (1 - h * h)
        by_hand = {
            "x": (xs[t - 1], None), "h": (h, dh), "h @ W_y": (h @ W_y.data, do), "x @ W_x": (xs[t - 1] @ cell.W_x.data, da),
            "h[t-1] @ W_h": (hs[t - 1] @ W_h, da), "W_x": (None, xs[t - 1].T @ da), "W_h": (None, hs[t - 1].T @ da), "b": (None, da.sum(axis=0)),
            "W_y": (None, h.T @ do)}
        for name, (value, adjoint) in by_hand.items():
            found = table[name, t]
            for ours, theirs in ((found.value, value), (found.adjoint, adjoint)):
                assert (ours is None) == (theirs is None), (name, t)
                if theirs is not None:
                    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(table["h", t].local["x @ W_x + h[t-1] @ W_h + b"], 1 - h * h, rtol=1e-12)
        np.testing.assert_allclose(table["h @ W_y", t].local["h"], W_y.data.T)
        np.testing.assert_allclose(table["h @ W_y", t].local["W_y"], h.T)
        carry = da @ W_h.T
        for name in totals:
            totals[name] = totals[name] + by_hand[name][1]
    np.testing.assert_allclose(table["h", 0].value, h_0.data)
    np.testing.assert_allclose(table["h", 0].adjoint, carry, rtol=1e-12)
    for name, total in totals.items():
        np.testing.assert_allclose(table[name, None].adjoint, total, rtol=1e-12, atol=1e-15)


def test_the_table_is_enough_to_go_backward_by_hand():
    """adjoint(operand) = Σ over its users of adjoint(user) · local derivative, from the table alone."""
    total, parameters, _ = column_network()
    table = tableau(total)
    users = [name for name in table.names if name not in (*parameters, "x", "y")]
    for name in users:
        for t in (1, 2, 3):
            arrived = 0.0
            for user in users:
                for later, called in ((t, name), (t + 1, f"{name}[t-1]")):
                    if later > 3 or called not in table[user, later].local:
                        continue
                    g, local = table[user, later].adjoint, table[user, later].local[called]
                    if user in ("U_frd", "W_frd", "z"):
                        arrived = arrived + local @ g                       # column vectors: Wᵀ from the left
                    elif local.shape == (3, 3):
                        arrived = arrived + (g.ravel() @ local).reshape(3, 1)
                    else:
                        arrived = arrived + g * local
            np.testing.assert_allclose(arrived if name != "total" or t < 3 else 1.0, table[name, t].adjoint, rtol=1e-12, atol=1e-14)
    for name, (user, shape) in {"U": ("U_frd", (2, 4)), "W": ("W_frd", (2, 2)), "V": ("z", (3, 2))}.items():
        for t in (1, 2, 3):
            by_hand = table[user, t].adjoint @ table[user, t].local[name]
            assert by_hand.shape == shape
            np.testing.assert_allclose(table[name, t].adjoint, by_hand, rtol=1e-12, atol=1e-15)


def test_source_004_line_by_line():
    total, p, ys = column_network()
    table = tableau(total)
    for t in (1, 2, 3):
        y_hat, z = table["y_hat", t], table["z", t]
        np.testing.assert_allclose(y_hat.local["z"], np.diag(y_hat.value.ravel()) - y_hat.value @ y_hat.value.T, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(z.adjoint, y_hat.value - ys[t - 1], rtol=1e-12)
        np.testing.assert_allclose(table["h", t].local["h_un"], 1 - np.tanh(table["h_un", t].value) ** 2, rtol=1e-12)
        assert np.array_equal(table["h_un", t].local["U_frd"], np.ones((2, 1)))            # "the ones are the add node"
    np.testing.assert_allclose(table["V", None].adjoint, sum((table["y_hat", t].value - ys[t - 1]) @ table["h", t].value.T for t in (1, 2, 3)))


@every_cell
def test_every_cell_has_a_table(cls, options):
    probe = Probe(cls, options)
    loss = probe.loss()
    table = tableau(loss)
    for name, p in probe.cell.parameters().items():
        g, = mg.grad(loss, p)
        label = name.split(".")[-1] if name.split(".")[-1] in table.names else name
        np.testing.assert_allclose(table[label, None].adjoint, g.data, rtol=1e-12, atol=1e-15)
        parts = [table[label, t].adjoint for t in (1, 2, 3)]
        np.testing.assert_allclose(sum(p for p in parts if p is not None), g.data, rtol=1e-11, atol=1e-13)
    for text in (table.text, table.html, table.latex):
        assert all(word in text for word in ("t=1", "t=2", "t=3")) and len(text) > 500
    assert max(map(len, table.text.splitlines())) < 220


def test_a_loop_and_unroll_give_the_same_rows():
    rng = np.random.default_rng(0)
    cell, xs, h = mg.RNNCell(2, 3, rng=rng), rng.standard_normal((3, 2)), mg.parameter(np.ones(3))
    W_x, W_h, b = cell.W_x, cell.W_h, cell.b
    one = tableau((mg.unroll(cell, xs, h)[1] ** 2).sum())
    for x in mg.steps(xs):
        h = np.tanh(x @ W_x + h @ W_h + b)
    other = tableau((h ** 2).sum())
    shared = [n for n in one.names if "reshape" not in n and "(" not in n]
    assert set(shared) <= set(other.names) and {"x", "h", "W_x", "W_h", "b"} <= set(shared)
    for name in shared:
        for t in one.steps:
            a, b = one[name, t], other[name, t]
            assert (a.value is None) == (b.value is None)
            np.testing.assert_allclose(a.value if a.value is not None else 0, b.value if b.value is not None else 0)
            np.testing.assert_allclose(a.adjoint if a.adjoint is not None else 0, b.adjoint if b.adjoint is not None else 0)


def test_a_function_with_a_rule_of_its_own_and_a_graph_without_time():
    @custom_gradient
    def cubed(x):
        return x ** 3, lambda g: (3 * x ** 2 * g,)
    w = mg.parameter([1.0, 2.0], name="w")
    y = cubed(w)
    loss = (y * y).sum()
    table = tableau(loss)
    assert table.steps == [None] and table.names == ["y", "y * y", "loss", "w"]
    np.testing.assert_allclose(table["y", None].local["w"], [3, 12])
    np.testing.assert_allclose(table["w", None].adjoint, 6 * w.data ** 5)
    assert "y = cubed(w)" in str(table) and "t=" not in str(table)


# ---- rows and columns ----------------------------------------------------------------------------------------------------------

def test_names_and_steps_choose_rows_and_columns():
    total, *_ = column_network()
    table = tableau(total, names=["h", "W"], steps=[2, 3])
    assert table.names == ["h", "W"] and table.steps == [2, 3, None]
    assert "t=1" not in str(table) and "y_hat" not in str(table) and "d total/d h" in str(table)
    np.testing.assert_allclose(table["h", 2].adjoint, tableau(total)["h", 2].adjoint)


def test_a_name_that_two_layers_have_gets_a_prime():
    net = mg.stacked(mg.RNNCell(2, 3), mg.RNNCell(3, 3))
    ys, _ = mg.unroll(net, np.ones((2, 1, 2)))
    loss = (ys[-1] ** 2).sum()
    table = tableau(loss)
    assert {"h", "h′", "1.W_h", "2.W_h"} <= set(table.names)
    np.testing.assert_allclose(table["h′", 2].value, ys.data[-1])
    np.testing.assert_allclose(table["1.W_h", None].adjoint, mg.grad(loss, list(net.parameters().values())[1])[0].data)


def test_nodes_without_a_name_are_called_by_their_formula_or_numbered():
    h = mg.parameter(1.0, name="h_0")
    w = mg.parameter(0.5, name="w")
    for x in mg.steps(np.array([1.0, 2.0])):
        h = np.tanh(np.exp(np.sin(w * h + x) * np.cos(w * x) + np.tanh(w * w)) * x)
    table = tableau(h)
    numbered = [n for n in table.names if re.fullmatch(r"v\d+", n)]
    assert numbered and "w * h[t-1]" in table.names and all(len(n) <= 30 for n in table.names)
    rows = dict(line.split(" │")[0].strip().split(" = ", 1) for line in str(table).splitlines() if " = " in line)
    assert set(numbered) < set(rows) and any(numbered[0] in formula for formula in rows.values())


def test_the_same_computation_twice_has_two_rows():
    ys, h = mg.unroll(mg.RNNCell(2, 3), np.ones((2, 1, 2)))
    loss = (ys[0] * ys[0]).sum() + 3 * (ys[0] * ys[0]).sum()
    table = tableau(loss)
    assert "v1 = h * h" in str(table) and len(set(table.names)) == len(table.names)
    assert (table["h * h", 1].adjoint.item(0), table["v1", 1].adjoint.item(0)) == (1, 3)
    assert list(table["h * h", 1].local) == ["h", "h′"]


@pytest.mark.parametrize("call, error, words", [
    (lambda total: tableau(total, names=["H"]), KeyError, "tableau has no row 'H'; it has x, y, U_frd"),
    (lambda total: tableau(total, steps=[7]), ValueError, r"tableau\(\) got steps \[7\]; there are 0 … 3"),
    (lambda total: tableau(total)["h", 9], KeyError, r"tableau has no step 9; it has \[0, 1, 2, 3, None\]"),
    (lambda total: tableau(total, blank="adjoints"), ValueError, "got blank='adjoints'; expected 'value', 'local', 'adjoint', a share"),
    (lambda total: tableau(total, blank=2.0), ValueError, "got blank=2.0; expected"),
    (lambda total: tableau(mg.parameter([1.0, 2.0]) * 2), ValueError, r"got a root of shape \(2,\); adjoints are derivatives of one number"),
    (lambda total: tableau(mg.Tensor(1.0)), ValueError, "was not computed from anything that requires gradients"),
    (lambda total: tableau(1.0), TypeError, "needs Tensors, got float"),
    (lambda total: tableau(total).save("table.pdf"), ValueError, r"'table.pdf'; expected one that ends in .txt, .html or .tex"),
])
def test_unusable(call, error, words):
    with pytest.raises(error, match=words):
        call(column_network()[0])


# ---- blanks ----------------------------------------------------------------------------------------------------------------------

def cells(table):
    """{(title, column): text} of the HTML table."""
    page = ElementTree.fromstring(table.html)
    heads = [th.text for th in page.find("table")[0]][1:]
    return {(row[0].text, head): "BLANK" if td.find("span") is not None else td.text or ""
            for row in list(page.iter("tr"))[1:] for head, td in zip(heads, row[1:])}


@pytest.mark.parametrize("blank, which", [
    ("adjoint", lambda title, t: title.startswith("d ")),
    ("local", lambda title, t: title.startswith("∂")),
    ("value", lambda title, t: t != "t=0" and not title.startswith(("d ", "∂")) and title not in ("x", "y", "U", "W", "V")),
    ("h", lambda title, t: (title, t) != ("h = tanh(h_un)", "t=0") and title in ("h = tanh(h_un)", "∂h/∂h_un", "d total/d h")),
    (["z", "local"], lambda title, t: title.startswith("∂") or title in ("z = V @ h", "d total/d z")),
    (lambda name, step, kind: name == "W" and step == 2, lambda title, t: title == "d total/d W" and t == "t=2"),
    (1.0, lambda title, t: t != "t=0" and title not in ("x", "y", "U", "W", "V") or title.startswith(("d ", "∂"))),
    (0, lambda title, t: False),
])
def test_blank_cells(blank, which):
    total, *_ = column_network()
    full, sheet = cells(tableau(total)), cells(tableau(total, blank=blank))
    assert full.keys() == sheet.keys()
    for (title, t), entry in full.items():
        assert sheet[title, t] == ("BLANK" if entry and which(title, t) else entry), (title, t)


def test_a_share_of_the_cells_is_drawn_by_the_seed():
    total, *_ = column_network()
    sheets = [tableau(total, blank=0.3, seed=s) for s in (0, 0, 1)]
    assert str(sheets[0]) == str(sheets[1]) != str(sheets[2])
    share = [list(cells(s).values()).count("BLANK") / sum(map(bool, cells(s).values())) for s in sheets]
    assert all(0.15 < s < 0.4 for s in share)
    assert str(sheets[0]).count("______") == sheets[0].html.count('class="blank"') == sheets[0].latex.count(r"\underline{")
    np.testing.assert_allclose(sheets[0]["h", 2].value, tableau(total)["h", 2].value)         # the numbers are still there


# ---- how it looks -------------------------------------------------------------------------------------------------------------------

def test_text():
    total, *_ = column_network(T=2)
    text = tableau(total, names=["h_un", "h"], digits=2).text
    assert text.splitlines()[0].split("│")[0].strip() == "" and "t=0" in text.splitlines()[0]
    blocks = text.split("\n\n")
    for block in blocks:
        bars = {tuple(m.start() for m in re.finditer("│", line.ljust(200)))[:1] for line in block.splitlines() if "─" not in line}
        assert len(bars) == 1                                       # columns stand below each other
    h = tableau(total)["h", 2].value
    assert f"[{h[0, 0]:.2f} {h[1, 0]:.2f}]ᵀ" in text
    long, *_ = column_network(T=12)
    wide = tableau(long).text
    assert max(map(len, wide.splitlines())) <= 130 and all(len(re.findall(rf"│ t={t}\b", wide)) == 1 for t in range(1, 13))


@pytest.mark.parametrize("x, text", [
    (np.array(0.12345), "0.123"), (np.array([1.0, -0.0]), "[1 0]"), (np.array([[1.5], [2.0]]), "[1.500 2]ᵀ"), (np.array(1e-7), "1.0e-07"),
    (np.array([[1.25, 2], [3, -4]]), "[1.250  2]\n[    3 -4]"), (np.ones((5, 9)), "(5, 9) norm 6.71"), (np.ones((2, 1, 3)), "(2, 1, 3) norm 2.45"),
    (np.array([np.nan, np.inf]), "[nan inf]"), (np.array([True, False]), "[1 0]"), (np.array([3, 4]), "[3 4]"), (None, ""), ("Wᵀ", "Wᵀ")])
def test_numbers(x, text):
    from minigrad.derivation.entries import as_text
    assert as_text(x, 3) == text


def test_html_is_well_formed_whatever_the_names_are():
    w = mg.parameter([1.0, 2.0], name='<b>&"w"')
    table = tableau((w * w).sum(), blank="adjoint")
    page = ElementTree.fromstring(table.html)
    assert any(w.name in (th.text or "") for th in page.iter("th")) and "<b>" not in table.html
    assert table._repr_html_() == table.html


def test_latex():
    total, *_ = column_network()
    text = tableau(total, blank="local").latex
    assert text.count("{") == text.count("}") and text.count(r"\begin{") == text.count(r"\end{") and text.count("$") % 2 == 0
    assert text.isascii() and r"$W_{\mathrm{frd}} = W \, h_{t-1}$" in text and r"\hat{y} = \mathrm{softmax}(z)" in text
    assert r"\mathrm{d}\mathit{total}/\mathrm{d}h$" in text and r"\underline{\hspace{4em}}" in text and r"^{\top}$" in text
    assert r"\partial W_{\mathrm{frd}}/\partial h_{t-1}$" in text
    w = mg.parameter(np.ones((6, 8)), name="a_b_c%$#")
    odd = tableau((w * 1e-9).sum()).latex
    assert odd.count("{") - odd.count(r"\{") == odd.count("}") - odd.count(r"\}") and r"\cdot 10^{-9}" in odd and r"\%" in odd


def test_save(tmp_path):
    total, *_ = column_network()
    table = tableau(total)
    for name in ("table.txt", "table.html", "table.tex"):
        table.save(tmp_path / name)
    assert (tmp_path / "table.txt").read_text(encoding="utf-8") == table.text + "\n"
    assert table.html in (tmp_path / "table.html").read_text(encoding="utf-8")
    assert (tmp_path / "table.tex").read_text(encoding="utf-8").startswith(r"\documentclass")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["table.html", "table.tex", "table.txt"]


def test_names_that_are_made_up_are_none_of_the_authors():
    W, h, total = mg.parameter(np.eye(3), name="W"), mg.parameter(np.full((2, 3), 0.5), name="h_0"), 0.0
    for x in mg.steps(np.ones((3, 2, 3))):
        v1 = x @ W
        h = np.tanh((v1 * 2 + h * 3 + v1 * v1 + h @ W) * (x + h)) * mg.sigmoid(v1 * h + h * h * h)
        total = total + (h * h).sum()
    table = tableau(total)
    assert {"v1", "v2", "v3"} <= set(table.names) and len(table.names) == len(set(table.names))
    np.testing.assert_allclose(table["v1", 1].value, np.ones((2, 3)))


def test_a_reshape_with_a_name_of_its_own_has_a_line():
    W, h, total = mg.parameter(np.arange(9.).reshape(3, 3), name="W"), mg.parameter(np.ones((2, 3)), name="h_0"), 0.0
    for x in mg.steps(np.ones((2, 2, 3))):
        a = x @ W
        flat = a.reshape(6)
        h = h + flat.reshape(2, 3) * a
        total = total + h.sum()
    table = tableau(total)
    assert table["flat", 2].value.shape == (6,) and table["a", 2].value.shape == (2, 3)
    np.testing.assert_allclose(table["flat", 2].adjoint, table["a", 2].value.ravel())


def test_a_slope_of_more_than_a_million_numbers_is_left_out():
    """Of softmax every output depends on every input: 120 · 120 numbers for each of the rows are shown, 1200 · 1200 are not."""
    for n, shown in ((60, True), (1200, False)):
        x = mg.parameter(np.linspace(0, 1, n), name="x")
        y = mg.softmax(x)
        cell = tableau((y * y).sum())["y", None]
        assert (cell.local["x"] is not None) is shown and cell.adjoint.shape == (n,)
        if shown:
            np.testing.assert_allclose(cell.local["x"], np.diag(y.data) - np.outer(y.data, y.data), atol=1e-15)


def test_every_formula_computes_its_row():
    """Read as Python, with the values of the rows for names: parentheses stand where they are needed, and new axes are seen."""
    rng = np.random.default_rng(0)
    K, W = (mg.parameter(rng.standard_normal(s), name=n) for n, s in (("K", (3, 3)), ("W", (2, 3))))
    h = mg.parameter(rng.standard_normal((2, 3)), name="h_0")
    for x in mg.steps(rng.standard_normal((3, 2, 2))):
        a = 0.1 * (x @ W + (K * np.sin(h[..., None, :] - h[..., :, None])).sum(axis=-1))
        gate = (a + 1) * (2 - h) + (a * h + x[..., :1])[..., None].sum(axis=-1)
        h = np.tanh(h - (gate - a))
    L = (h * h + h).sum()
    table = tableau(L)
    rows = dict.fromkeys(line.split("│")[0].strip() for line in str(table).splitlines())
    titles = [row.split(" = ") for row in rows if row and row[0] not in "─∂d"]
    known = {"before": table["h", 1].value, "sin": np.sin, "tanh": np.tanh, "total": lambda a: a.sum(-1), "K": K.data, "W": W.data}
    known.update({name: table[name, 2].value for name in table.names if name.isidentifier() and name not in known})
    checked = 0
    for name, formula in ((title[0], title[-1]) for title in titles):
        if table[name, 2].value is not None and not formula.isidentifier():
            text = re.sub(r"Σ (.+)", r"total(\1)", formula).replace("h[t-1]", "before")
            np.testing.assert_allclose(eval(text, known), table[name, 2].value, err_msg=formula)
            checked += 1
    assert checked >= 12 and ["L", "Σ (h * h + h)"] in titles


def test_what_is_there_in_every_step_has_its_name_first():
    """A delay line: three initial states of one name, and the h of the steps, which is called h."""
    rng = np.random.default_rng(0)
    w = mg.parameter(rng.standard_normal(2), name="w")

    def cell(x, past):
        total = 0
        for h in past:
            total = total + w * h
        h = np.tanh(x + total)
        return h, [h, *past[:-1]]
    ys, _ = mg.unroll(cell, rng.standard_normal((4, 2)), [mg.Tensor(rng.standard_normal(2)) for _ in range(3)])
    table = tableau((ys * ys).sum())
    np.testing.assert_array_equal(table["h", 4].value, ys.data[3])
