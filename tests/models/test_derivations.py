"""The five derivations: by hand, corrected, against a complex step of the plain NumPy model and against the engine."""

import ast
import doctest
import sys
from pathlib import Path
import numpy as np
import pytest
import minigrad as mg
from models.derivations import (__main__ as all_five, _report as report, binary_classifier, complete_bptt,
                                explicit_implicit, hidden_layer, matrix_recursion)

AGREES = 1e-12
DIFFERENT = 1e-3
SOURCES = {"000": hidden_layer, "001": binary_classifier, "002": complete_bptt, "003": matrix_recursion,
           "004": explicit_implicit}
every_source = pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)


def loss_of(run):
    """The whole loss, whatever the notes call it."""
    return next(getattr(run, name) for name in ("L_T", "total", "L") if hasattr(run, name))


def complex_step(loss, arrays, step=1e-30):
    """{name: ∂loss/∂name}: the imaginary part of loss(… + i·step …) / step, entry by entry; no difference is taken."""
    gradients = {}
    for name, array in arrays.items():
        gradients[name] = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            moved = array.astype(complex)
            moved[index] += 1j * step
            gradients[name][index] = loss(arrays | {name: moved}).imag / step
    return gradients


def assert_agree(gradients, reference):
    for name, gradient in gradients.items():
        assert report.relative_error(gradient, reference[name]) <= AGREES, name


def errors(run, reference):
    return {name: report.relative_error(gradient, reference[name]) for name, gradient in run.items()}


# ---- all five -------------------------------------------------------------------------------------------------------

@every_source
@pytest.mark.parametrize("seed", range(3))
def test_corrected_equals_complex_step_and_engine(source, seed):
    p, *data = source.probe(seed)
    reference = complex_step(lambda p: loss_of(source.model(p, *data)), p)
    by_hand = source.hand_gradients(p, *data)
    run, leaves = source.engine(p, *data)
    assert_agree(by_hand, reference)
    assert_agree(report.engine_gradients(loss_of(run), leaves), reference)
    assert set(by_hand) == set(leaves)


@every_source
def test_engine_records_the_numbers_of_the_plain_model(source):
    p, *data = source.probe()
    assert loss_of(source.engine(p, *data)[0]).item() == pytest.approx(loss_of(source.model(p, *data)), rel=1e-14)


@every_source
def test_probe_can_show_mistakes(source):
    p, xs, _ = source.probe()
    sizes = {size for array in p.values() for size in array.shape} | {len(xs), xs.shape[1] * xs.shape[2]}
    assert 2 not in sizes and len(sizes - {1}) >= 3
    assert all(array.all() for array in p.values())


@pytest.mark.parametrize("source, wrong, exact, raising", [
    (hidden_layer, ["W_hh", "W_ih", "b_h"], [], []),
    (binary_classifier, ["W_i", "W_h"], [], ["W_o"]),
    (complete_bptt, ["W_h", "W_x", "b_h"], ["b_y"], ["W_y"]),
    (matrix_recursion, ["b"], ["c", "U", "V", "W", "h_0"], []),
    (explicit_implicit, ["U", "W"], ["V"], []),
], ids=SOURCES)
def test_as_written(source, wrong, exact, raising):
    p, *data = source.probe()
    written, reference = source.hand_gradients(p, *data, as_written=True), source.hand_gradients(p, *data)
    assert {name for name, entry in written.items() if isinstance(entry, ValueError)} == set(raising)
    assert all(report.relative_error(written[name], reference[name]) > DIFFERENT for name in wrong)
    assert_agree({name: written[name] for name in exact}, reference)


@every_source
def test_every_slip_is_what_it_says(source):
    p, *data = source.probe()
    reference = source.hand_gradients(p, *data)
    slips = source.slips(p, *data) + (source.exercises(p, *data) if source is matrix_recursion else [])
    for slip in slips:
        runs = [report.attempt(compute) for compute in slip.runs.values()]
        if slip.kind == "shape":
            assert all("intended: " in str(run) and "(" in str(run) for run in runs), slip.line
            assert all(isinstance(run, ValueError) for run in runs), slip.line
            continue
        if slip.kind == "reading":
            assert_agree(runs.pop(0), reference)
        assert runs, slip.line
        assert all(max(errors(run, reference).values()) > DIFFERENT for run in runs), slip.line


@every_source
def test_main_agrees_and_prints_its_report(source, tmp_path, capsys):
    arguments = ["--pictures", str(tmp_path / "pictures"), "--seed", "1"]
    assert source.main(arguments + (["--epochs", "1"] if source is explicit_implicit else [])) == 0
    printed = capsys.readouterr().out
    assert "corrected and engine agree" in printed and "DIFFER" not in printed
    assert "as written" in printed and "worst" in printed
    pictures = list((tmp_path / "pictures").iterdir())
    assert pictures and all(f"drawn in {path}" in printed for path in pictures)
    assert all("<svg" in path.read_text(encoding="utf-8") for path in pictures)


@every_source
def test_main_exits_1_if_the_hand_gradients_are_wrong(source, tmp_path, monkeypatch, capsys):
    right = source.hand_gradients

    def wrong(*args, as_written=False, **options):
        gradients = right(*args, as_written=as_written, **options)
        return gradients if as_written else {name: 1.001 * gradient for name, gradient in gradients.items()}

    monkeypatch.setattr(source, "hand_gradients", wrong)
    assert source.main(["--pictures", str(tmp_path)] + (["--epochs", "1"] if source is explicit_implicit else [])) == 1
    assert "corrected and engine DIFFER" in capsys.readouterr().out


def test_all_five_run_from_one_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(explicit_implicit, "train_by_rows", lambda *args, **options: None)
    assert all_five.main(["--pictures", str(tmp_path)]) == 0
    assert "5 of 5 derivations" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--seed", "-1"], ["--seed", "one"], ["--no-such-thing"]])
def test_unusable_arguments_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit:
        all_five.main(arguments)
    assert exit.value.code == 2
    assert arguments[-1] in capsys.readouterr().err


def test_pictures_folder_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SystemExit) as exit:
        hidden_layer.main(["--pictures", str(tmp_path / "file")])
    assert exit.value.code == 2
    assert "--pictures" in capsys.readouterr().err


def test_only_numpy_and_the_public_minigrad_are_imported():
    for path in Path(report.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                roots = {name.name.split(".")[0] for name in node.names}
                assert roots <= sys.stdlib_module_names | {"numpy", "minigrad"}
            if isinstance(node, ast.ImportFrom) and not node.level:
                assert node.module.split(".")[0] in sys.stdlib_module_names | {"sklearn"}
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "mg":
                assert not node.attr.startswith("_")


# ---- an untied copy of a parameter for every step: what C[t, k] means -----------------------------------------------

def untied_gradient(model, p, name, k, loss):
    """The gradient of `loss(run)` with respect to a copy of p[name] that is used at step k only."""

    class Copies:
        """Stands in for W in `x @ W`, `W @ x` and `… + W`; the k-th use in the run is that of step k."""
        __array_ufunc__ = None

        def __init__(self, copy):
            self.copy, self.uses = copy, 0

        def next(self):
            self.uses += 1
            return self.copy if self.uses == k else p[name]

        def __rmatmul__(self, x):
            return x @ self.next()

        def __matmul__(self, x):
            return self.next() @ x

        def __radd__(self, x):
            return x + self.next()

    return complex_step(lambda arrays: loss(model(p | {name: Copies(arrays[name])})), {name: p[name]})[name]


@pytest.mark.parametrize("name", complete_bptt.HIDDEN)
def test_002_terms_are_gradients_of_untied_copies(name):
    p, xs, ys = complete_bptt.probe()
    run = complete_bptt.model(p, xs, ys)
    for (t, k), term in complete_bptt.terms(run, p, name).items():
        untied = untied_gradient(lambda p: complete_bptt.model(p, xs, ys), p, name, k, lambda run: run.L[t])
        assert report.relative_error(term, untied) <= AGREES


@pytest.mark.parametrize("name", ["W_i", "W_h"])
def test_001_each_j_is_the_gradient_of_an_untied_copy(name):
    p, xs, y = binary_classifier.probe()
    run = binary_classifier.model(p, xs, y)
    for j, term in binary_classifier.written_out(run, p, y, name).items():
        untied = untied_gradient(lambda p: binary_classifier.model(p, xs, y), p, name, j, lambda run: run.L)
        assert report.relative_error(term, untied) <= AGREES


@pytest.mark.parametrize("name", ["U", "W"])
def test_004_products_are_gradients_of_untied_copies(name):
    p, xs, ys = explicit_implicit.probe()
    run = explicit_implicit.model(p, xs, ys)
    for k, term in explicit_implicit.products(run, p, 3, name).items():
        untied = untied_gradient(lambda p: explicit_implicit.model(p, xs, ys), p, name, k, lambda run: run.L[3])
        assert report.relative_error(term, untied) <= AGREES


# ---- 000 ------------------------------------------------------------------------------------------------------------

def other_losses():
    rng = np.random.default_rng(7)
    weights = rng.standard_normal((4, 1, 6))
    yield hidden_layer.read_out(rng.standard_normal((6, 3)), rng.standard_normal((4, 1, 3)))
    yield hidden_layer.StepLoss(value=lambda t, h: (weights[t - 1] * np.sin(h)).sum(),
                                slope=lambda t, h: weights[t - 1] * np.cos(h))
    yield hidden_layer.StepLoss(value=lambda t, h: (h * h).sum() if t == 4 else 0.0 * h.sum(),
                                slope=lambda t, h: 2.0 * h if t == 4 else 0.0 * h)


@pytest.mark.parametrize("loss", list(other_losses()), ids=["read-out", "sine", "last step only"])
@pytest.mark.parametrize("form", ["double sum", "forward", "reverse"])
def test_000_any_loss_per_step_in_every_form(loss, form):
    p, xs, _ = hidden_layer.probe()
    reference = complex_step(lambda p: hidden_layer.model(p, xs, loss).L_T, p)
    assert_agree(hidden_layer.hand_gradients(p, xs, loss, form=form), reference)


def test_000_reverse_form_takes_rows():
    p, xs, loss = hidden_layer.probe(B=3)
    reference = complex_step(lambda p: hidden_layer.model(p, xs, loss).L_T, p)
    assert_agree(hidden_layer.hand_gradients(p, xs, loss, form="reverse"), reference)


@pytest.mark.parametrize("name", ["W_hh", "W_ih", "b_h", "h_0"])
def test_000_expansion_is_the_forward_sensitivity(name):
    p, xs, loss = hidden_layer.probe()
    run = hidden_layer.model(p, xs, loss)
    S = hidden_layer.forward_sensitivity(run, p, name)
    for t in range(5):
        assert report.relative_error(sum(hidden_layer.expand(run, p, t, name).values()), S[t]) <= AGREES
    assert list(hidden_layer.expand(run, p, 2, name)) == [0, 1, 2]


def test_000_term_k_0_matters_to_h_0_alone():
    p, xs, loss = hidden_layer.probe()
    run = hidden_layer.model(p, xs, loss)
    for name in p:
        same = np.array_equal(hidden_layer.double_sum(run, p, loss, name, k_from=1),
                              hidden_layer.double_sum(run, p, loss, name))
        assert same == (name != "h_0")


# ---- 001 ------------------------------------------------------------------------------------------------------------

def test_001_sentences_become_one_hot_rows():
    assert binary_classifier.one_hot("cat mat rat")[:, 0].tolist() == np.eye(3).tolist()
    with pytest.raises(ValueError, match="unknown word 'dog' in 'cat dog rat': the vocabulary is cat, mat, rat"):
        binary_classifier.one_hot("cat dog rat")


@pytest.mark.parametrize("first_label", [0, 1])
def test_001_three_sentences(first_label):
    data, p = binary_classifier.sentences(first_label), binary_classifier.initial_weights()
    xs, y = binary_classifier.batch(data)
    weights = {name: p[name] for name in binary_classifier.WEIGHTS}
    reference = complex_step(lambda w: binary_classifier.model(p | w, xs, y).L, weights)
    run, leaves = binary_classifier.engine(p, xs, y, stable=True)
    assert_agree(binary_classifier.hand_gradients(p, xs, y), reference)
    assert_agree(binary_classifier.reverse_recursion(p, xs, y), reference)
    assert_agree(report.engine_gradients(run.L, leaves), reference)
    trained, losses = binary_classifier.train(data)
    assert losses[-1] < 0.1 * losses[0]
    assert (np.round(binary_classifier.model(trained, xs, y).y_hat) == y).all()


def test_001_a_word_that_does_not_occur_has_gradient_exactly_0():
    p = binary_classifier.initial_weights()
    xs, y = binary_classifier.batch({"rat rat mat": 1})
    run, leaves = binary_classifier.engine(p, xs, y)
    assert not binary_classifier.hand_gradients(p, xs, y)["W_i"][0].any()
    assert not report.engine_gradients(run.L, leaves)["W_i"][0].any()
    assert not binary_classifier.written_out(binary_classifier.model(p, xs, y), p, y, "W_h")[1].any()


def test_001_stable_loss():
    z, y = np.array([[-1e4], [-3.0], [0.0], [2.0], [1e4]]), np.array([[0.0], [1], [0], [1], [1]])
    assert binary_classifier.cross_entropy(z, y) == pytest.approx(
        mg.binary_cross_entropy(mg.Tensor(z), y, reduction="sum").item(), rel=1e-14)
    middle = slice(1, 4)
    assert binary_classifier.cross_entropy(z[middle], y[middle]) == pytest.approx(
        binary_classifier.cross_entropy_as_on_the_page(binary_classifier.sigmoid(z[middle]), y[middle]), rel=1e-14)
    assert binary_classifier.cross_entropy(z, 1 - y) > 2e4 - 1


def test_001_dependency_tree():
    tree = binary_classifier.dependency_tree(3)
    assert [tree.count(word) for word in ("W_i", "W_h", "W_o", "O_0", "x_3")] == [3, 3, 1, 1, 1]


def test_001_and_002_and_000_line_by_line():
    for source in (hidden_layer, binary_classifier, complete_bptt):
        for line, hand, engine in source.line_by_line(*source.probe()):
            assert report.relative_error(hand, engine) <= AGREES, line


# ---- 002 ------------------------------------------------------------------------------------------------------------

def test_002_reverse_form_takes_rows():
    p, xs, ys = complete_bptt.probe(B=3)
    five = {name: p[name] for name in complete_bptt.PARAMETERS}
    reference = complex_step(lambda w: complete_bptt.model(p | w, xs, ys).L_T, five)
    assert_agree(complete_bptt.hand_gradients(p, xs, ys, form="reverse"), reference)


@pytest.mark.parametrize("form", ["double sum", "reverse"])
def test_002_both_ways_to_count(form):
    p, xs, ys = complete_bptt.probe()
    assert_agree(complete_bptt.hand_gradients(p, xs, ys, first=0, form=form), complete_bptt.hand_gradients(p, xs, ys))
    assert list(complete_bptt.model(p, xs, ys, first=0).h) == [-1, 0, 1, 2, 3]


def test_002_dropped_first_step_is_invisible_in_W_h_if_the_initial_state_is_0():
    p, xs, ys = complete_bptt.probe()
    p["h_0"][:] = 0
    run, reference = complete_bptt.model(p, xs, ys, first=0), complete_bptt.hand_gradients(p, xs, ys)
    wrong = errors({name: complete_bptt.bptt_sum(run, p, name, k_from=1) for name in complete_bptt.HIDDEN}, reference)
    assert wrong["W_h"] <= AGREES
    assert wrong["W_x"] > DIFFERENT and wrong["b_h"] > DIFFERENT


@pytest.mark.parametrize("name", complete_bptt.HIDDEN)
@pytest.mark.parametrize("t", [1, 2, 3, 4])
def test_002_any_h_t_expanded_like_h_3(name, t):
    p, xs, ys = complete_bptt.probe()
    run = complete_bptt.model(p, xs, ys)
    assert report.relative_error(sum(complete_bptt.expand(run, p, t, name).values()),
                                 complete_bptt.total(run, p, name)[t]) <= AGREES
    assert complete_bptt.expansion(t, name).count("·") == t


def test_002_shape_errors_show_the_shapes_and_the_intended_product():
    p, xs, ys = complete_bptt.probe()
    run = complete_bptt.model(p, xs, ys)
    with pytest.raises(ValueError, match=r"\(1, 7\) × \(1, 6\); intended: h_tᵀ .* -> \(6, 7\)"):
        complete_bptt.equation_6_as_written(run)
    with pytest.raises(ValueError, match=r"\(1, 7\) × \(6, 7\); intended: .* -> \(1, 6\)"):
        complete_bptt.equation_8_as_written(run, p, 2, "W_h")


# ---- 003 ------------------------------------------------------------------------------------------------------------

def test_003_adjoints_of_every_step():
    p, xs, ys = matrix_recursion.probe()
    adjoint = matrix_recursion.adjoints(matrix_recursion.model(p, xs, ys), p)
    recorded, _ = matrix_recursion.engine(p, xs, ys)
    assert sorted(adjoint.h) == [0, 1, 2, 3, 4] and sorted(adjoint.o) == [1, 2, 3, 4]
    for by_hand, tensors in ((adjoint.h, recorded.h), (adjoint.o, recorded.o)):
        for t, gradient in by_hand.items():
            assert report.relative_error(gradient, report.engine_gradient(recorded.L, tensors[t])) <= AGREES


def test_003_H_is_the_derivative_of_h_by_a():
    p, xs, ys = matrix_recursion.probe()
    recorded, _ = matrix_recursion.engine(p, xs, ys)
    for t in recorded.a:
        by_engine = mg.jacobian(recorded.h[t], recorded.a[t]).data[:, 0, :, 0]
        assert report.relative_error(matrix_recursion.H(recorded.h[t].data), by_engine) <= AGREES


def test_003_untied_form():
    p, xs, ys = matrix_recursion.probe()
    run, reference = matrix_recursion.model(p, xs, ys), matrix_recursion.hand_gradients(p, xs, ys)
    assert_agree({name: matrix_recursion.untied_form(run, p, name) for name in ("W", "U", "b")}, reference)
    assert_agree({"c": matrix_recursion.gradient_of_c(run, p)}, reference)


def test_003_near_misses_leave_V_and_c_exact():
    p, xs, ys = matrix_recursion.probe()
    reference = matrix_recursion.hand_gradients(p, xs, ys)
    for exercise in matrix_recursion.exercises(p, xs, ys):
        wrong = errors(*[compute() for compute in exercise.runs.values()], reference)
        assert all((error <= AGREES) == (name in "Vc") for name, error in wrong.items())
        assert all(error > DIFFERENT for name, error in wrong.items() if name not in "Vc")


# ---- 004 ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("K", [2, 10])
@pytest.mark.parametrize("form", ["split", "nodes"])
def test_004_both_forms_for_both_numbers_of_classes(K, form):
    p, xs, ys = explicit_implicit.probe(K=K)
    reference = complex_step(lambda p: explicit_implicit.model(p, xs, ys).total, p)
    assert_agree(explicit_implicit.hand_gradients(p, xs, ys, form=form), reference)


def test_004_softmax_jacobian_in_full():
    rng = np.random.default_rng(0)
    z, y = rng.standard_normal((7, 1)), np.eye(7)[:, [2]]
    y_hat = explicit_implicit.softmax(z)
    leaf = mg.parameter(z)
    by_engine = mg.jacobian(mg.softmax(leaf, axis=0), leaf).data[:, 0, :, 0]
    assert report.relative_error(explicit_implicit.softmax_jacobian(y_hat), by_engine) <= AGREES
    assert report.relative_error(explicit_implicit.dL_dz(y_hat, y), y_hat - y) <= AGREES
    assert report.relative_error(explicit_implicit.dL_dz(y_hat, 3 * y), 3 * y_hat - 3 * y) <= AGREES   # Σ y = 3
    assert report.relative_error(explicit_implicit.dL_dz(y_hat, 3 * y), y_hat - 3 * y) > DIFFERENT


def test_004_every_loss_nested_and_multiplied_out():
    p, xs, ys = explicit_implicit.probe()
    run = explicit_implicit.model(p, xs, ys)
    for t in run.L:
        for name in ("U", "W"):
            reference = complex_step(lambda w: explicit_implicit.model(p | w, xs, ys).L[t], {name: p[name]})[name]
            parts = explicit_implicit.products(run, p, t, name)
            assert len(parts) == t
            assert report.relative_error(explicit_implicit.one_loss(run, p, t, name), reference) <= AGREES
            assert report.relative_error(sum(parts.values()), reference) <= AGREES


def test_004_node_lists_hold_value_local_derivative_and_adjoint():
    p, xs, ys = explicit_implicit.probe()
    lists, _ = explicit_implicit.backward(explicit_implicit.model(p, xs, ys), p)
    recorded, _ = explicit_implicit.engine(p, xs, ys)
    reads = {"h_unactivated": "W_frd", "h_activated": "h_unactivated", "y_unactivated": "h_activated",
             "y_activated": "y_unactivated", "W_frd": "h", "U_frd": "x"}
    for t, nodes in lists.items():
        assert tuple(node.name for node in nodes) == explicit_implicit.NODES
        inputs = recorded.nodes[t] | {"h": recorded.h[t - 1], "x": mg.parameter(xs[t - 1])}
        for node in nodes:
            tensor = recorded.nodes[t][node.name]
            assert report.relative_error(node.value, tensor.data) <= AGREES
            assert report.relative_error(node.adjoint, report.engine_gradient(recorded.total, tensor)) <= AGREES
            if node.name == "U_frd":
                tensor = mg.Tensor(p["U"]) @ inputs["x"]
            if t > 1 or node.name != "W_frd":               # h_0 is a constant here
                by_engine = mg.jacobian(tensor, inputs[reads[node.name]]).data[:, 0, :, 0]
                assert report.relative_error(node.local, by_engine) <= AGREES, node.name


def test_004_shape_slips_come_one_after_the_other():
    p, xs, ys = explicit_implicit.probe()
    run = explicit_implicit.model(p, xs, ys)
    with pytest.raises(ValueError, match=r"× Vᵀ does not conform: \(10, 1\) × \(6, 10\); intended: Vᵀ × "):
        explicit_implicit.equation_B_as_written(run, p, 2)
    no_transpose = r"\[h_\{t-1\}\] does not conform: \(6, 1\) × \(6, 1\); intended: .* -> \(6, 6\)"
    with pytest.raises(ValueError, match=no_transpose):
        explicit_implicit.equation_B_as_written(run, p, 2, V_from_the_left=True)


def test_004_two_layer_network():
    theta, x, y = explicit_implicit.two_layer_probe()
    reference = complex_step(lambda theta: explicit_implicit.two_layer(theta, x, y).L, theta)
    layers, leaves = explicit_implicit.two_layer_engine(theta, x, y)
    assert_agree(explicit_implicit.two_layer_hand_gradients(theta, x, y), reference)
    assert_agree(report.engine_gradients(layers.L, leaves), reference)
    trained, losses = explicit_implicit.train_two_layer()
    assert losses[-1] < 0.1 * losses[0]
    guesses = np.argmax(explicit_implicit.two_layer(trained, *explicit_implicit.EXCLUSIVE_OR).y_hat, axis=0)
    assert guesses.tolist() == [0, 1, 1, 0]


def test_004_learns_two_classes_without_an_extra():
    told = []
    explicit_implicit.train_by_rows(*explicit_implicit.slashes(), 2, epochs=6, tell=lambda *course: told.append(course))
    assert [epoch for epoch, _, _ in told] == [1, 2, 3, 4, 5, 6]
    assert told[-1][2] > 0.9


def test_004_learns_digits_by_rows():
    pytest.importorskip("sklearn", reason="scikit-learn (the data extra) is not installed")
    told = []
    explicit_implicit.train_by_rows(*explicit_implicit.digits(), 10, epochs=4,
                                    tell=lambda *course: told.append(course))
    assert told[-1][2] > 0.8 and told[-1][1] < told[0][1]


@pytest.mark.parametrize("arguments, status", [([], 0), (["--classes", "10"], 2)])
def test_004_says_which_extra_the_digits_need(arguments, status, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert explicit_implicit.main(["--pictures", str(tmp_path), "--epochs", "1", *arguments]) == status
    assert "pip install 'minigrad[data]'" in capsys.readouterr().out


# ---- what they share ------------------------------------------------------------------------------------------------

def test_report():
    assert doctest.testmod(report, globs={"np": np, "multiply": report.multiply}).failed == 0
    assert report.relative_error([1.0, 2.0], [1.0, 4.0]) == 0.5
    assert report.relative_error([0.0, 3.0], [0.0, 0.0]) == 3.0
    with pytest.raises(ValueError, match=r"cannot compare shape \(2,\) with shape \(1, 2\)"):
        report.relative_error(np.zeros(2), np.zeros((1, 2)))
    h = np.ones((6, 6))
    assert report.multiply("h h", h, h, intended=("hᵀ h", h.T, h)).shape == (6, 6)      # square: nobody warns you
    assert report.describe({"W": np.ones(2)}, {"W": np.ones(2)}) == "W exact"
    assert report.describe(ValueError("no"), {}) == "raises: no"


def test_a_line_that_differs_is_marked(capsys):
    assert not report.print_lines([("right", np.ones(2), np.ones(2)), ("wrong", np.ones(2), 2 * np.ones(2))])
    right, wrong = capsys.readouterr().out.splitlines()
    assert "DIFFERS" not in right and "DIFFERS" in wrong
