"""Module: parameters with names; weights as files."""
import pickle
import sys

import numpy as np
import pytest

import minigrad as mg


class Head(mg.Module):
    def __init__(self):
        self.W, self.scale, self.constant = mg.parameter(np.ones((2, 3))), mg.parameter(2.0), mg.Tensor([1.0])


class Net(mg.Module):
    def __init__(self):
        self.cells = [mg.RNNCell(2, 3), mg.GRUCell(3, 3)]
        self.heads = {"left": Head(), "right": (Head(), 7)}
        self.tied, self.rng, self.size = self.cells[0].W_h, np.random.default_rng(0), 3
        self.me = self
        self.hidden = np.tanh(self.tied)             # computed: no parameter


def test_parameters_by_dotted_name_each_once():
    net = Net()
    assert list(net.parameters()) == [
        "cells.0.W_x", "cells.0.W_h", "cells.0.b", "cells.1.W_x", "cells.1.W_h", "cells.1.b_x", "cells.1.b_h",
        "heads.left.W", "heads.left.scale", "heads.right.0.W", "heads.right.0.scale"]
    assert net.parameters()["cells.0.W_h"] is net.tied
    assert net.tied.name == "W_h" and net.heads["left"].W.name == "W" and net.heads["left"].constant.name is None


def test_a_name_that_was_given_stays():
    head = Head()
    head.other = mg.parameter(1.0, name="mine")
    assert head.other.name == "mine" and "other" in head.parameters()


def test_state_dict_is_a_copy_and_loads_back():
    one, two = Net(), Net()
    for p in one.parameters().values():
        p.data = p.data + 1
    state = one.state_dict()
    two.load_state_dict(state)
    assert all(np.array_equal(two.parameters()[n].data, a) for n, a in state.items())
    state["cells.0.b"][...] = 99
    assert one.cells[0].b.data.max() < 99 and two.cells[0].b.data.max() < 99


def test_loading_keeps_the_parameters_dtype_and_takes_tensors():
    cell = mg.RNNCell(2, 3, dtype=np.float32)
    cell.load_state_dict({n: mg.Tensor(np.ones(p.shape, int)) for n, p in cell.parameters().items()})
    assert cell.W_x.dtype == np.float32 and (cell.W_x.data == 1).all()


@pytest.mark.parametrize("change, kind, message", [
    (lambda s: s.pop("b"), ValueError, "load_state_dict of RNNCell: missing: b. Nothing was loaded"),
    (lambda s: s.update(c=1), ValueError, "unknown: c"),
    (lambda s: s.update(b=np.ones(4)), ValueError, r"b has shape \(3,\) and got \(4,\)"),
    (lambda s: s.update(b=np.array(["x"] * 3)), TypeError,
     "b is float64 and got <U1; weights are numbers. Nothing was loaded"),
    (lambda s: s.update(b=np.ones(3, complex)), TypeError, "b is float64 and got complex128"),
])
def test_loading_is_all_or_nothing(change, kind, message):
    cell = mg.RNNCell(2, 3)
    before = cell.state_dict()
    state = {n: a + 1 for n, a in before.items()}
    change(state)
    with pytest.raises(kind, match=message):
        cell.load_state_dict(state)
    assert all(np.array_equal(a, before[n]) for n, a in cell.state_dict().items())


def test_loading_something_else_says_what_is_expected():
    with pytest.raises(TypeError, match="load_state_dict of RNNCell got a RNNCell; expected a dict of name -> array"):
        mg.RNNCell(2, 3).load_state_dict(mg.RNNCell(2, 3))


def test_training_is_set_on_every_module_inside():
    net = Net()
    net.checkpointed = mg.checkpoint(mg.RNNCell(2, 3))
    modules = [net, *net.cells, net.heads["left"], net.heads["right"][0], net.checkpointed.__wrapped__]
    assert all(m.training for m in modules)
    names = list(net.parameters())
    assert net.eval() is net and not any(m.training for m in modules)
    assert net.train() is net and all(m.training for m in modules)
    net.train(False)
    assert not any(m.training for m in modules) and list(net.parameters()) == names and Head().training
    net.heads["left"].train()
    assert net.heads["left"].training and not net.training


# ---- files -----------------------------------------------------------------------------------------------------------
@pytest.fixture(params=[".npz", ".safetensors"])
def path(request, tmp_path):
    if request.param == ".safetensors":
        pytest.importorskip("safetensors", reason="the extra 'weights' is not installed")
    return tmp_path / f"weights{request.param}"


def test_saving_and_loading(path):
    net, other = Net(), Net()
    for p in net.parameters().values():
        p.data = p.data * 2
    mg.save(path, net)
    other.load_state_dict(mg.load(path))
    assert all(np.array_equal(a, net.state_dict()[n]) for n, a in other.state_dict().items())


def test_arrays_come_back_as_they_were(path):
    arrays = {"zero-d": np.array(1.5), "file": np.ones(2, np.float32), "transposed": np.arange(6.0).reshape(2, 3).T,
              "empty": np.ones((0, 2)),
              "integers": np.arange(3), "Tensor": mg.parameter([1.0]), "bools": np.array([True])}
    mg.save(str(path), arrays)
    back = mg.load(path)
    assert set(back) == set(arrays)
    for name, a in arrays.items():
        a = a.data if isinstance(a, mg.Tensor) else a
        assert back[name].shape == a.shape and back[name].dtype == a.dtype and np.array_equal(back[name], a)


def test_npz_files_are_numpys(tmp_path):
    mg.save(tmp_path / "a.npz", {"W": np.ones(2)})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert file.files == ["W"] and file["W"].tolist() == [1, 1]


def test_a_damaged_file_says_so(path):
    mg.save(path, Net())
    content = path.read_bytes()
    for damaged in (content[:len(content) // 2], b"", b"not weights at all"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"load\(\): .*{path.name}' is damaged or no weights file"):
            mg.load(path)


def test_pickles_are_refused(tmp_path):
    np.savez(tmp_path / "objects.npz", a=np.array([print], object))
    (tmp_path / "plain.npz").write_bytes(pickle.dumps(print))
    for name in ("objects.npz", "plain.npz"):
        with pytest.raises(ValueError, match="is damaged or no weights file"):
            mg.load(tmp_path / name)


@pytest.mark.parametrize("source, name, kind, message", [
    ([1], "a.npz", TypeError, r"save\(\) got a list; expected a Module or a dict.*order: path, what"),
    ({"a": ["x"]}, "a.npz", TypeError, "a has dtype <U1; weights are numbers"),
    ({"a": 1.0}, "a.txt", ValueError, "writes .npz and .safetensors, got"),
    ({"a": 1.0}, "nowhere/a.npz", FileNotFoundError, "the folder of .* does not exist; make it first"),
])
def test_what_cannot_be_saved_leaves_no_file(tmp_path, source, name, kind, message):
    with pytest.raises(kind, match=message):
        mg.save(tmp_path / name, source)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call, name", [(lambda path: mg.save(path, {"a": 1.0}), "save"), (mg.load, "load")])
def test_a_path_is_a_path(call, name):
    with pytest.raises(TypeError, match=name + r"\(\) got a bool as path; expected a str or a Path"):
        call(True)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"load\(\): there is no file '.*none.npz'"):
        mg.load(tmp_path / "none.npz")


def test_an_interrupted_write_leaves_the_old_file_and_no_rest(path, monkeypatch):
    mg.save(path, {"a": np.ones(2)})
    before = path.read_bytes()

    def interrupted(descriptor):
        raise KeyboardInterrupt
    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        mg.save(path, {"a": np.zeros(100)})
    assert path.read_bytes() == before and [p.name for p in path.parent.iterdir()] == [path.name]


def test_without_the_extra_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    (tmp_path / "a.safetensors").write_bytes(b"")
    for run in (lambda: mg.save(tmp_path / "a.safetensors", {"a": 1.0}), lambda: mg.load(tmp_path / "a.safetensors")):
        with pytest.raises(ImportError, match=r"pip install 'minigrad\[weights\]'; or use .npz"):
            run()
