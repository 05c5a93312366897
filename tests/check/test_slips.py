"""The hypotheses of diagnose: the same list on every probe, for any shape of network, and what is said where they do not help."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.check.diagnose import diagnose
from minigrad.check.perturb import Reverse
from minigrad.check.slips import Slips

from wrong_bptt import bptt, probe

PARAMETERS, XS, YS = probe()


def elman(T=4, seed=0, batch=3):
    """A column-vector network whose bias (H, 1) serves every column of the batch: (loss, parameters, a hand-written derivation)."""
    rng = np.random.default_rng(seed)
    shapes = dict(U=(6, 5), W=(6, 6), b=(6, 1), h_0=(6, batch))
    p = {name: mg.parameter(0.7 * rng.standard_normal(shape), name=name) for name, shape in shapes.items()}
    xs, h, loss = rng.standard_normal((T, 5, batch)), p["h_0"], 0.0
    hs = [h.data]
    for x in mg.steps(xs):
        a = p["U"] @ x + p["W"] @ h + p["b"]
        h = np.tanh(a)
        loss = loss + (h * h).sum() / 2
        hs.append(h.data)

    def derived(bias=lambda da: da.sum(1, keepdims=True), W_back=p["W"].data.T):
        g, carry = {"U": 0, "W": 0, "b": 0}, 0
        for t in range(T, 0, -1):
            da = (hs[t] + carry) * (1 - hs[t] ** 2)
            g = {"U": g["U"] + da @ xs[t - 1].T, "W": g["W"] + da @ hs[t - 1].T, "b": g["b"] + bias(da)}
            carry = W_back @ da
        return {**g, "h_0": carry}

    return loss, p, derived


@pytest.mark.parametrize("slip, kind", [(dict(W_back=None), "not transposed"), (dict(bias=lambda da: da.mean(1, keepdims=True)), "mean"),
                                        (dict(bias=lambda da: da[:, :1]), "one row")])
def test_a_batch_of_columns(slip, kind):
    loss, p, derived = elman()
    slip = {"W_back": p["W"].data} if "W_back" in slip else slip
    assert diagnose(derived(), loss).ok
    found = diagnose(derived(**slip), loss)
    assert found.exact and found.explanations[0].kind == kind, found


def test_one_step_from_a_state_that_is_trained():
    loss, _, derived = elman(T=1)
    right = derived()
    assert diagnose(right, loss).ok
    found = diagnose({**right, "W": right["W"].T}, loss)
    assert found.exact and found.explanations[0].kind == "transposed" and "one time step" in str(found.undecided)


def test_slips_have_the_same_place_in_the_list_on_every_probe():
    """``elsewhere`` carries an explanation out on another probe by that place."""
    def names(p):
        return [(s.kind, s.where, s.wrote) for s in Slips(Reverse(p.loss))]
    first = names(mg.check.probe(mg.RNNCell))
    assert all(names(mg.check.probe(mg.RNNCell, seed=seed)) == first for seed in range(1, 9))


def recorded():
    p, h, total = {name: mg.parameter(array, name=name) for name, array in PARAMETERS.items()}, None, 0.0
    h = p["h_0"]
    for x, y in mg.steps(XS, YS):
        a = x @ p["W_x"] + h @ p["W_h"] + p["b_h"]
        h = np.tanh(a)
        o = h @ p["W_y"] + p["b_y"]
        total = total + mg.softmax_cross_entropy(o, y.data, reduction="sum") / 3
    return total


def test_some_gradients_only_and_elsewhere():
    """Pieces are counted among all gradients, also where only some were derived."""
    loss = recorded()
    context = diagnose.context(loss)
    right = bptt(PARAMETERS, XS, YS)
    wrong = {"W_h": right["W_h"].T, "b_h": right["b_h"], "W_y": bptt(PARAMETERS, XS, YS, "D4")["W_y"]}
    found = diagnose(wrong, loss, context=context)
    assert found.exact and {e.kind for e in found.explanations} == {"transposed", "wrong step"}
    again = found.elsewhere(context)
    for name in wrong:
        np.testing.assert_allclose(again[name], wrong[name], rtol=1e-9, atol=1e-12)


def test_a_difference_that_is_too_small_for_a_slip():
    loss, _, derived = elman()
    found = diagnose({name: g + 1e-7 for name, g in derived().items()}, loss)
    assert not found.ok and not found.exact and found.explanations[0].says.startswith("no slip is so small"), found


def test_gradients_are_explained_beside_lines_that_agree():
    loss, p, derived = elman()
    found = diagnose({"da": lambda dh, h: dh * (1 - h ** 2), **derived(W_back=p["W"].data)}, loss)
    assert found.exact and [e.kind for e in found.explanations] == ["not transposed"]


def test_adjoints_that_agree_are_not_explained_beside_a_line_that_does_not():
    loss, _, _ = elman()
    r = diagnose.context(loss).reverse
    dh = [r.g[r.by_step[t, r.keys[i]]] for (s, _), i in r.by_step.items() if s == 2 and r.phrases.name(i) == "h" for t in range(1, 5)]
    found = diagnose({"dh": dh, "da": lambda dh, h: dh * (1 - h)}, loss)
    assert found.exact and [e.yours for e in found.explanations] == ["da"]


def test_nothing_to_go_by():
    loss, p, _ = elman()
    with pytest.raises(ValueError, match="nothing was derived"):
        diagnose({}, loss)
    with pytest.raises(ValueError, match="nothing in this loss's graph requires gradients"):
        diagnose({"W": p["W"].data}, mg.Tensor(2.0) * 3.0)


@pytest.mark.parametrize("line, message", [
    (lambda dh, h: None, "returns a NoneType at t=4, expected an array of shape (6, 3)"),
    (lambda *values: 0, "takes *values: an argument's name says what it gets"),
    (lambda dhh: dhh, "takes 'dhh', which is no variable of the step: did you mean 'dh'? there are U, W, a, b, h, h_0, loss, x;"),
    (lambda dh, h: np.where(h == h[1, 2], np.nan, dh), "returns NaN or infinity at t=4, first at [1, 2]"),
])
def test_a_line_that_cannot_be_compared_is_no_slip(line, message):
    found = str(diagnose({"da": line}, elman()[0]))
    assert message in found and "no explanation before all of yours can be compared" in found, found


def test_arguments_by_position_only():
    assert diagnose({"da": lambda dh, h, /: dh * (1 - h ** 2)}, elman()[0]).ok


def gates_swapped(names):
    p = mg.check.probe(mg.GRUCell)
    context = diagnose.context(p.loss)
    right = context.reverse.run({}).gradients()
    order = np.r_[6:12, 0:6, 12:18]
    return p, context, {**right, **{name: right[name][..., order] for name in names}}


@pytest.mark.parametrize("names", [["W_h"], ["W_x", "W_h", "b_x", "b_h"]])
def test_gates_in_another_order(names):
    """The packed parameters of another library, or paper."""
    p, context, theirs = gates_swapped(names)
    found = diagnose(theirs, p.loss, context=context)
    assert found.exact and [e.kind for e in found.explanations] == ["order of gates"]
    assert "its gates in the order z, r, n, which is r, z, n here" in found.explanations[0].says
    again = found.elsewhere(context)
    assert all(np.allclose(again[name], theirs[name]) for name in theirs)


def test_only_what_is_wrong_has_a_time_map():
    p, context, theirs = gates_swapped(["W_h"])
    found = diagnose({**theirs, "W_h": theirs["W_h"] ** 2}, p.loss, context=context)
    assert not found.exact and not found.time_map, found


def test_what_is_missing_is_not_off_by_a_factor_of_nearly_nothing():
    loss, p, derived = elman()
    found = diagnose(derived(W_back=0 * p["W"].data), loss)
    assert found.exact and "nothing is carried back" in str(found) and "e-16: the same numbers" not in str(found), found


def test_a_factor_is_told_once():
    loss, _, derived = elman()
    right = derived()
    text = str(diagnose({**right, "W": 0.3 * right["W"]}, loss))
    assert "dW is off by the factor 0.3 " in text and "off by a factor" not in text, text


def test_no_line_shows_an_object_for_a_formula():
    context = diagnose.context(mg.check.probe(mg.MinGRUCell).loss)
    texts = [text for s in context.slips for text in (s.says, s.wrote)] + [context.reverse.phrases.why(e) for e in context.reverse.edges]
    assert not [text for text in texts if "object at" in text]


def column_lines():
    """An Elman network of row vectors, and its lines by someone who writes columns, biases (n, 1)."""
    p = mg.check.probe(mg.RNNCell)
    lines = {"da": lambda dh, h, b: dh * (1 - h * h) + 0 * b, "dW_h": lambda da, h_prev: da @ h_prev.T,
             "db": lambda da: da.sum(1, keepdims=True), "carry_h": lambda W_h, da: W_h.T @ da}
    return p.loss, lines


def test_lines_in_columns_have_biases_of_one_column():
    loss, lines = column_lines()
    assert diagnose(lines, loss, convention="column").ok


def test_explanations_are_in_their_authors_convention():
    loss, lines = column_lines()
    e, = diagnose({**lines, "carry_h": lambda W_h, da: W_h @ da}, loss, convention="column").explanations
    assert (e.line, e.fix) == ("dh[t-1] += W_h @ da", "dh[t-1] += W_h.T @ da") and e.why.startswith("W_h @ h[t-1]  ⇒")
    assert e.why.endswith("W_h.T from the left")
    e, = diagnose({**lines, "dW_h": lambda da, h: da @ h.T}, loss, convention="column").explanations
    assert (e.line, e.fix) == ("dW_h += da @ h.T", "dW_h += da @ h[t-1].T")
