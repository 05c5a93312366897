"""compare: what a report says about right and wrong gradients. The checker itself is tested with wrong ones."""
import json

import numpy as np
import pytest

import minigrad as mg
from minigrad.check import Report, compare

rng = np.random.default_rng(0)
REFERENCE = {"W_h": rng.standard_normal((4, 4)), "W_x": rng.standard_normal((3, 4)), "b": rng.standard_normal(4)}


def changed(**arrays):
    return {**REFERENCE, **arrays}


def row(report, name):
    return next(r for r in report.rows if r.name == name)


def test_equal_gradients_agree():
    report = compare(REFERENCE, {k: v * (1 + 1e-15) for k, v in REFERENCE.items()})
    assert report.ok and bool(report) and [r.name for r in report.rows] == ["W_h", "W_x", "b"]
    assert all(r.error < 1e-14 and r.cosine > 1 - 1e-12 for r in report.rows)
    assert "AGREES" in str(report)


def test_error_cosine_and_worst_entry():
    wrong = REFERENCE["W_x"].copy()
    wrong[1, 2] += 1e-3
    report = compare(changed(W_x=wrong), REFERENCE)
    r = row(report, "W_x")
    assert not report.ok and not report and not r.ok and row(report, "b").ok
    assert r.index == (1, 2) and r.yours == wrong[1, 2] and r.reference == REFERENCE["W_x"][1, 2]
    np.testing.assert_allclose(r.error, 1e-3 / np.abs(REFERENCE["W_x"]).max())
    assert 0.99 < r.cosine < 1
    assert "DIFFERENT: 1 of 3" in str(report) and "[1,2]" in str(report)


def test_a_sign_shows_in_the_cosine():
    assert row(compare(changed(b=-REFERENCE["b"]), REFERENCE), "b").cosine == pytest.approx(-1)


def test_missing_and_unknown_names_suggest_each_other():
    derived = changed()
    derived["W_hh"] = derived.pop("W_h")
    report = compare(derived, REFERENCE)
    assert row(report, "W_h").note == "not derived; did you mean 'W_hh'?"
    assert row(report, "W_hh").note == "unknown name; these are the numbers of W_h: names={'W_hh': 'W_h'}"
    derived["W_hh"] = 2 * derived["W_hh"]
    assert row(compare(derived, REFERENCE), "W_hh").note == "unknown name; did you mean 'W_h'?"
    assert len(report.rows) == 4 and not report.ok
    assert row(compare({**REFERENCE, "zeta": 1.0}, REFERENCE), "zeta").note == "unknown name (there are: W_h, W_x, b)"
    assert row(compare({}, {"b": 1.0}), "b").note == "not derived"


@pytest.mark.parametrize("name, yours, note", [
    ("W_x", REFERENCE["W_x"].T, "shape (4, 3), expected (3, 4): transposed, and its transpose agrees"),
    ("W_x", np.ones((4, 3)), "shape (4, 3), expected (3, 4): transposed, and its transpose does not agree either"),
    ("W_h", REFERENCE["W_h"].T, "its transpose agrees"),
    ("b", REFERENCE["b"][:, None], "shape (4, 1), expected (4,): the same numbers, reshape them"),
    ("b", np.ones((1, 4)), "shape (1, 4), expected (4,): as many entries, but other numbers"),
    ("b", np.ones((7, 4)),
     "shape (7, 4), expected (4,): a sum over the leading axes (rows of the batch, or steps) is missing"),
    ("b", np.ones((7, 3)), "shape (7, 3), expected (4,)"),
    ("b", np.ones(3), "shape (3,), expected (4,)"),
    ("W_x", np.full((3, 4), np.nan), "yours has NaN or infinity in 12 of 12 entries"),
    ("b", np.array([1, 2, np.inf, 4]), "yours has NaN or infinity in 1 of 4 entries"),
    ("b", None, "yours is None"),
    ("b", "text", "yours is no array of numbers (dtype <U4)"),
    ("b", [[1, 2], [3]], "yours is no array of numbers (dtype object)"),
])
def test_one_clear_message_each(name, yours, note):
    report = compare(changed(**{name: yours}), REFERENCE)
    assert row(report, name).note == note and not report.ok
    assert note in str(report)


def test_nan_in_the_reference_is_its_own_message():
    report = compare(REFERENCE, changed(b=np.full(4, np.nan)))
    assert row(report, "b").note == "the reference has NaN or infinity in 4 of 4 entries" and not report.ok


def test_zeros():
    zero = {"W": np.zeros((2, 2)), "big": np.full(3, 2.0)}
    assert compare(zero, zero).ok
    assert compare({**zero, "W": np.full((2, 2), 1e-17)}, zero).ok             # rounding where the truth is 0
    report = compare({**zero, "W": np.full((2, 2), 1e-6)}, zero)
    assert not report.ok and row(report, "W").error == np.inf and row(report, "W").cosine == 0
    assert not compare({"W": np.zeros(2)}, {"W": np.full(2, 1e-9)}).ok        # a gradient that is there but tiny
    assert compare({"W": np.zeros((0, 3))}, {"W": np.zeros((0, 3))}).ok


def test_tolerance_by_dtype_or_by_argument():
    off = {k: v * (1 + 1e-7) for k, v in REFERENCE.items()}
    assert not compare(off, REFERENCE).ok
    assert compare({k: v.astype(np.float32) for k, v in REFERENCE.items()}, REFERENCE).ok
    assert not compare({k: (v * 1.001).astype(np.float32) for k, v in REFERENCE.items()}, REFERENCE).ok
    assert compare(off, REFERENCE, tolerance=1e-6).ok


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool])
def test_integers_and_bools_are_numbers_too(dtype):
    a, b = np.array([1, 0], dtype), np.array([0, 1], dtype)
    assert compare({"b": a}, {"b": a}).ok
    report = compare({"b": a}, {"b": b})
    assert not report.ok and report.rows[0].error == 1 and "[0]" in str(report)


def test_complex_arrays_are_compared():
    z = np.array([1 + 2j, 3 - 1j])
    assert compare({"z": z}, {"z": z}).ok and not compare({"z": z.conj()}, {"z": z}).ok
    assert "1-2j" in str(compare({"z": z.conj()}, {"z": z}))


def network():
    W, b = mg.parameter(rng.standard_normal((3, 4)), name="W"), mg.parameter(np.ones(4), name="b")
    x = rng.standard_normal((5, 3))
    loss = (mg.tanh(x @ W + b) ** 2).sum()
    y = np.tanh(x @ W.data + b.data)
    da = 2 * y * (1 - y * y)
    return loss, {"W": x.T @ da, "b": da.sum(0)}


def test_a_loss_is_a_reference_by_the_names_in_its_graph():
    loss, by_hand = network()
    assert compare(by_hand, loss).ok
    assert not compare({**by_hand, "b": by_hand["b"] / 5}, loss).ok
    loss.backward()                                              # the order does not matter, and .grad is left alone
    assert compare(by_hand, loss).ok


def test_tensors_are_taken_for_arrays():
    _, by_hand = network()
    assert compare({k: mg.Tensor(v) for k, v in by_hand.items()}, by_hand).ok


def test_a_graph_without_usable_names_is_refused():
    losses = [(mg.Tensor(1.0, requires_grad=True) * mg.Tensor(2.0)).sum()]
    with pytest.raises(ValueError, match="no named parameter"):
        compare({"x": 1}, losses[0])


def test_parameters_of_one_name_are_told_apart_by_a_number():
    same = mg.parameter(3.0, name="w") * mg.parameter(2.0, name="w")
    assert compare({"1.w": 2.0, "2.w": 3.0}, same).ok
    report = compare({"w": 2.0}, same)
    assert not report.ok and "1.w" in str(report) and "2.w" in str(report)


def test_arguments_of_the_wrong_kind():
    with pytest.raises(TypeError, match="derived is a list, expected a dict"):
        compare([1], {"a": 1})
    with pytest.raises(TypeError, match="reference is a float, expected a dict name -> array or a loss Tensor"):
        compare({"a": 1}, 1.0)


def test_an_empty_report_is_ok():
    assert Report().ok and str(Report()).startswith("AGREES")


def test_a_tiny_gradient_held_to_the_scale_of_a_large_one_says_so():
    report = compare({"W": np.array([1e6]), "b": np.array([1e-10])}, {"W": np.array([1e6]), "b": np.array([9e-10])})
    assert report.ok and "held to its scale" in str(report)


# ---- names, conventions, lines, scripts ---------------------------------------------------------------------------------------------

def test_names_and_conventions_are_mapped():
    theirs = {"U": REFERENCE["W_h"].T, "W": REFERENCE["W_x"].T, "b": REFERENCE["b"][:, None]}
    assert compare(theirs, REFERENCE, names={"U": "W_h", "W": "W_x"}, convention="column").ok
    assert not compare(theirs, REFERENCE, names={"U": "W_h", "W": "W_x"}).ok
    assert compare({f"d{n}": g for n, g in REFERENCE.items()}, REFERENCE).ok                # dW for the gradient of W
    with pytest.raises(ValueError, match="convention is 'columns', expected 'row'"):
        compare(REFERENCE, REFERENCE, convention="columns")
    with pytest.raises(ValueError, match="names maps 'V', which is not among what was derived"):
        compare(REFERENCE, REFERENCE, names={"V": "b"})
    with pytest.raises(ValueError, match="'b' is derived twice"):
        compare(changed(c=REFERENCE["b"]), REFERENCE, names={"c": "b"})


class Foreign:
    """An array of somebody else's: all that torch and JAX have in common."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype)


def test_other_peoples_arrays_are_taken_as_they_are():
    assert compare({n: Foreign(g) for n, g in REFERENCE.items()}, REFERENCE).ok


def test_exit_status_data_and_html():
    right, wrong = compare(REFERENCE, REFERENCE), compare(changed(b=-REFERENCE["b"]), REFERENCE)
    assert (right.exit_status, wrong.exit_status) == (0, 1)
    data = json.loads(json.dumps(wrong.data()))
    assert not data["ok"] and [r["ok"] for r in data["rows"]] == [True, True, False]
    assert "DIFFERENT: 1 of 3" in wrong.html() and wrong.html().count("<tr>") == 4


def recurrent():
    W, h = mg.parameter(rng.standard_normal((4, 4)), name="W"), mg.parameter(rng.standard_normal((3, 4)), name="h_0")
    hs, total = [h.data], 0.0
    for x in mg.steps(rng.standard_normal((3, 3, 4))):
        a = x + h @ W
        h = np.tanh(a)
        total = total + (h * h).sum() / 2
        hs.append(h.data)
    return total, W.data, hs


def test_a_gradient_that_is_exactly_zero_needs_no_excuse():
    report = compare({"W": np.ones(2), "b": np.zeros(2)}, {"W": np.ones(2), "b": np.zeros(2)})
    assert report.ok and [row.note for row in report.rows] == ["", ""]


def test_a_gradient_may_be_called_by_its_d():
    A, B = (mg.parameter(np.random.default_rng(k).standard_normal((3, 3 + k)), name=n) for k, n in enumerate("AB"))
    loss = (np.tanh(A) @ B).sum()
    right = {f"d{n}": mg.grad(loss, [x])[0].data for n, x in zip("AB", (A, B))}
    assert compare(right, loss).ok and not compare({**right, "dA": -right["dA"]}, loss).ok
    assert compare({**right, "dB": right["dB"].T}, loss).rows[1].note == "shape (4, 3), expected (3, 4): transposed, and its transpose agrees"


def test_adjoints_of_every_step_and_lines():
    loss, W, hs = recurrent()
    da, dh, carry = [None] * 3, [None] * 3, 0
    for t in (3, 2, 1):
        dh[t - 1] = hs[t] + carry
        da[t - 1] = dh[t - 1] * (1 - hs[t] ** 2)
        carry = da[t - 1] @ W.T
    assert compare({"dh": dh, "da": np.array(da)}, loss).ok
    wrong = [d * (1 + (t == 1)) for t, d in enumerate(da)]
    report = compare({"dh": dh, "da": wrong}, loss)
    assert report.first == ("da", 2) and "First wrong: da, at t=2" in str(report) and row(report, "dh").ok
    assert row(report, "da").note == "differs at t=2" and report.steps["da"][3][1] and not report.steps["da"][2][1]
    lines = {"da": lambda dh, h: dh * (1 - h ** 2), "carry_h": lambda da, W: da @ W, "dW": lambda h_prev, da: h_prev.T @ da}
    report = compare(lines, loss)
    assert [r.ok for r in report.rows] == [True, False, True] and report.first == ("carry_h", 3)
    assert row(report, "carry_h").note == "wrong on reference inputs at every step" and "t=3" in report.html()
    assert compare({**lines, "carry_h": lambda da, W: da @ W.T}, loss).ok


class Theirs(Foreign):
    """torch's: it refuses NumPy while a graph hangs on it, or it is on another device, or in a dtype that NumPy does not have."""

    def __init__(self, array, dtype="torch.float64", on="the graph"):
        super().__init__(array)
        self.dtype, self.on = dtype, on

    def detach(self):
        return Theirs(self.array, self.dtype, "a GPU" if self.on else None)

    def cpu(self):
        return Theirs(self.array, self.dtype, None)

    def float(self):
        return Foreign(np.asarray(self.array, np.float32))

    def __array__(self, dtype=None, copy=None):
        assert self.on is None and self.dtype == "torch.float64"
        return super().__array__(dtype, copy)


def test_arrays_on_a_graph_on_a_device_and_in_bfloat16():
    assert compare({n: Theirs(g) for n, g in REFERENCE.items()}, REFERENCE).ok
    assert compare({n: Theirs(np.float32(g), "torch.bfloat16") for n, g in REFERENCE.items()}, REFERENCE).ok


def test_a_name_nobody_knows_is_told_by_its_numbers():
    report = compare({"weight_hh_l0": REFERENCE["W_x"].T}, REFERENCE)
    assert row(report, "weight_hh_l0").note == "unknown name; these are the numbers of W_x, transposed: names={'weight_hh_l0': 'W_x'}"
    assert row(compare({1: REFERENCE["b"]}, REFERENCE), 1).note == "unknown name; these are the numbers of b: names={1: 'b'}"


def test_a_modules_own_names_are_known():
    cells = mg.stacked(mg.RNNCell(5, 6), mg.GRUCell(6, 6))
    ys, _ = mg.unroll(cells, rng.standard_normal((3, 4, 5)))
    loss = (ys * ys).sum()
    right = dict(zip(cells.parameters(), (g.data for g in mg.grad(loss, list(cells.parameters().values())))))
    assert "cells.0.W_x" in right and compare(right, loss).ok
    report = compare({**right, "cells.1.W_x": 2 * right["cells.1.W_x"]}, loss)
    assert [r.name for r in report.rows if not r.ok] == ["2.W_x"]


def test_columns_are_told_in_their_authors_shapes():
    theirs = {n: g.T for n, g in REFERENCE.items()}
    note = row(compare({**theirs, "W_x": REFERENCE["W_x"]}, REFERENCE, convention="column"), "W_x").note
    assert note.startswith("shape (3, 4), expected (4, 3): transposed, and its transpose agrees (convention='column' transposes all")
    wrong = theirs["W_x"].copy()
    wrong[3, 1] += 1
    r = row(compare({**theirs, "W_x": wrong}, REFERENCE, convention="column"), "W_x")
    assert r.index == (3, 1) and r.yours == wrong[3, 1]


def test_what_is_no_array_is_called_by_its_name():
    assert row(compare(changed(b=None), REFERENCE), "b").note == "yours is None"


def test_what_the_probe_cannot_show_is_said_although_all_agree():
    W = mg.parameter(rng.standard_normal((4, 4)), name="W")
    h, total = mg.Tensor(np.zeros((3, 4))), 0.0
    for x in mg.steps(rng.standard_normal((3, 3, 4))):
        h = np.tanh(x + h @ W)
        total = total + h.sum()
    report = compare({"W": mg.grad(total, [W])[0].data}, total)
    assert report.ok and "COULD NOT DECIDE  the initial state is 0" in str(report)
    assert "the initial state is 0" in report.html() and report.data()["remarks"] == report.remarks
    assert "COULD NOT DECIDE" not in str(compare(*reversed(network())))
