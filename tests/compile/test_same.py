"""A cell whose code tells that it does the same again is not run again; and whatever changes is seen."""
import collections
import dis
import types
import typing
import warnings

import numpy as np
import pytest

import minigrad as mg
from minigrad.compile import call, scan, trace
from minigrad.compile.held import Held
from minigrad.compile.same import _steps, told


@pytest.fixture(autouse=True, params=["this Python", "a newer one"])
def alone(request, monkeypatch):
    """Without what other tests left; and once with the names that newer Pythons have for what code does."""
    monkeypatch.setattr(call, "_told", collections.OrderedDict())
    monkeypatch.setattr(call, "_programs", collections.OrderedDict())
    _steps.cache_clear()
    if request.param == "a newer one":
        read = dis.get_instructions
        monkeypatch.setattr(dis, "get_instructions", lambda code: newer(read(code)))
        yield
        _steps.cache_clear()
    else:
        yield


def newer(instructions):
    """Two variables are loaded, or one is stored and one loaded, by one instruction; and methods are loaded as attributes."""
    before = None
    for i in instructions:
        i = i._replace(opname=i.opname.replace("_FORWARD_IF", "_IF").replace("LOAD_METHOD", "LOAD_ATTR"))
        if before is not None and i.opname == "LOAD_FAST" and before.opname in ("LOAD_FAST", "STORE_FAST") and not i.is_jump_target:
            i, before = before._replace(opname=f"{before.opname}_LOAD_FAST", argval=(before.argval, i.argval)), None
        if before is not None:
            yield before
        before = i
    yield before


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def parameter(*shape, seed=0):
    return mg.parameter(0.4 * numbers(*shape, seed=seed))


xs = mg.Tensor(numbers(5, 2, 3))
factor, act = 0.5, np.tanh


def spared(cell):
    """Whether some program is found for the cell without running it."""
    return id(cell) in call._told and bool(call._told[id(cell)].bound)


class Base:
    scale = 1.0

    def activation(self, a):
        return np.tanh(a)

    def scaled(self):
        return self.scale


class Cell(Base):
    def __init__(self):
        self.W, self.U, self.V, self.on, self.name = parameter(3, 4), parameter(4, 4, seed=1), Box(), True, "sin"
        self.a, self.b, self.c, self.d, self.e = 0.9, 0.8, 0.7, 0.6, 1.1

    def __call__(self, x, h):
        a = x @ self.W
        if self.on:
            a = a + h @ self.U
        if self.name == "cos":
            a = np.cos(a)
        a = a * (np.exp(self.U[0]) if self.V is None else self.a)
        a = a * (self.d if self.V is not None else np.exp(self.U[0]))
        a = a * (np.exp(self.U[0]) if self.name == "cos" else self.b)
        a = a * (self.c if self.on else np.exp(self.U[0]))
        a = a * (self.e if self.name != "cos" else np.exp(self.U[0]))
        h = self.activation(a) * self.scaled()
        return h, h


class Other(Cell):
    def __call__(self, x, h):
        h = np.tanh(x @ self.W)
        return h, h


class Box:
    def __init__(self, **inside):
        vars(self).update(inside)


class Scale:
    by = 0.5

    def times(self, a):
        return a * self.by


class Layer:
    """Its attribute is called as one of a Tensor."""
    size = 0.75

    def __call__(self, a):
        return np.sin(a)


def method():
    """Its cell is an object; what can change about it, and a way to change it."""
    cell = Cell()
    return cell, cell


def closure():
    """Its cell is a function that reads all kinds of things."""
    W, U, k, more = parameter(3, 4), parameter(4, 4, seed=1), 0.5, 2.0
    held = Box(weights={"a": parameter(4, seed=3), "b": parameter(4, seed=4)}, acts=[np.sin, np.cos], module=types.ModuleType("own"))
    held.module.f = np.tanh

    def helper(a, b=0.25, *, c=0.75):
        return a * more + b * c

    scale, layers = Scale(), [Layer(), Layer()]
    times = scale.times

    def cell(x, h):
        a = times(helper(x @ W + h @ U))
        for f, name in zip(held.acts, ("a", "b")):
            a = a + f(a) * held.weights[name]
        for layer in layers:
            a = layer(a) * layer.size
        h = held.module.f(a) * k * factor + act(a)
        return h, h
    cells = dict(zip(cell.__code__.co_freevars, cell.__closure__))
    return cell, Box(held=held, helper=helper, scale=scale, layers=layers, W=W, U=U, cells=cells,
                     more=dict(zip(helper.__code__.co_freevars, helper.__closure__)))


def odd():
    """Its cell is a function that reads what few cells read."""
    W, U, half = parameter(3, 4), parameter(4, 4, seed=1), np.float64(0.5)

    class Tested(Box):
        amount, rate = 0.75, 0.5

        def __call__(self, a):
            return np.sin(a) * self.rate

        def tanh(self):
            return self.amount

        def plain(self, a):
            return np.tanh(a)
    layer = Tested()
    layer.__call__ = layer.plain                            # which Python does not call
    scope = {"W": W, "U": U, "np": np, "layer": layer, "half": half, "k": 0.5, "part": slice(0, 2), "__builtins__": {"len": len}}
    exec("""def cell(x, h):
    a = layer(x @ W + h @ U) * len((1, 2)) * np.tanh(layer)
    if layer:
        a = a * (k if half == 0.5 else 2.0)
    h = np.sin(a * a[..., part].mean())
    return h, h""", scope)
    return scope["cell"], Box(W=W, U=U, scope=scope, layer=layer, of_class=Tested)


class Never(Box):
    def __bool__(self):
        return False


def results(how, cell, wanted=()):
    ys, h = how(cell, xs, mg.Tensor(np.full((2, 4), 0.1)))
    return [ys.data, h.data, *(g.data for g in mg.grad((ys * ys).sum() + h.sum(), wanted))]


def same(ours, theirs):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        assert a.shape == b.shape and np.allclose(a, b, rtol=1e-11, atol=1e-13)


def put(owner, name, value):
    """A change that is undone after the test."""
    def change(_, monkeypatch):
        monkeypatch.setattr(owner, name, value)
    return change


def unused(self, a):
    return np.sin(a)


CHANGES = {
    "a number": (closure, lambda it, _: setattr(it.cells["k"], "cell_contents", 0.25)),
    "a number of a function that it calls": (closure, lambda it, _: setattr(it.more["more"], "cell_contents", 3.0)),
    "a parameter": (closure, lambda it, _: setattr(it.cells["W"], "cell_contents", parameter(3, 4, seed=9))),
    "the numbers of a parameter": (closure, lambda it, _: setattr(it.W, "data", 2 * it.W.data)),
    "a parameter is frozen": (closure, lambda it, _: setattr(it.held.weights["a"], "requires_grad", False)),
    "a global number": (closure, put(__import__("sys").modules[__name__], "factor", 0.75)),
    "a global function": (closure, put(__import__("sys").modules[__name__], "act", np.sin)),
    "an element of a dict": (closure, lambda it, _: it.held.weights.update(a=parameter(4, seed=8))),
    "a key of a dict is gone": (closure, lambda it, _: it.held.weights.update(a=it.held.weights.pop("b"), b=it.held.weights["a"])),
    "an element of a list": (closure, lambda it, _: it.held.acts.__setitem__(0, np.tanh)),
    "a list is shorter": (closure, lambda it, _: it.held.acts.pop()),
    "a function of a module": (closure, lambda it, _: setattr(it.held.module, "f", np.sin)),
    "an attribute of an attribute": (closure, lambda it, _: setattr(it.held, "acts", [np.cos, np.cos])),
    "what a method of another object reads": (closure, lambda it, _: setattr(it.scale, "by", 2.0)),
    "what a layer calls its size": (closure, lambda it, _: setattr(it.layers[1], "size", 2.0)),
    "what layers of its class call their size": (closure, put(Layer, "size", 2.0)),
    "a function's code": (closure, lambda it, _: setattr(it.helper, "__code__", _others_code())),
    "a default": (closure, lambda it, _: setattr(it.helper, "__defaults__", (1.25,))),
    "a default of a keyword": (closure, lambda it, _: it.helper.__kwdefaults__.update(c=1.75)),
    "defaults of keywords": (closure, lambda it, _: setattr(it.helper, "__kwdefaults__", {"c": 1.5})),
    "a function": (closure, lambda it, _: setattr(it.cells["helper"], "cell_contents", np.sin)),
    "an attribute": (method, lambda cell, _: setattr(cell, "scale", 2.0)),
    "an attribute of the class": (method, put(Base, "scale", 3.0)),
    "a flag": (method, lambda cell, _: setattr(cell, "on", False)),
    "a choice": (method, lambda cell, _: setattr(cell, "name", "cos")),
    "what one branch reads": (method, lambda cell, _: setattr(cell, "a", 2.0)),
    "what another branch reads": (method, lambda cell, _: setattr(cell, "b", 2.0)),
    "what yet another branch reads": (method, lambda cell, _: setattr(cell, "d", 2.0)),
    "what a third branch reads": (method, lambda cell, _: setattr(cell, "c", 2.0)),
    "what a branch reads that asks for what is not": (method, lambda cell, _: setattr(cell, "e", 2.0)),
    "what was there": (method, lambda cell, _: setattr(cell, "V", None)),
    "a parameter of an object": (method, lambda cell, _: setattr(cell, "W", parameter(3, 4, seed=7))),
    "a method of the class": (method, put(Base, "activation", unused)),
    "a method of one object": (method, lambda cell, _: setattr(cell, "activation", np.sin)),
    "what a call is": (method, put(Cell, "__call__", Other.__call__)),
    "the class": (method, lambda cell, _: setattr(cell, "__class__", Other)),
    "all attributes": (method, lambda cell, _: setattr(cell, "__dict__", {**vars(cell), "activation": np.sin})),
    "how methods are found": (method, put(Cell, "__getattribute__",
                                          lambda self, name: np.sin if name == "activation" else object.__getattribute__(self, name))),
    "a number behind a comparison of NumPy's": (odd, lambda it, _: it.scope.update(k=0.25)),
    "a function of Python's": (odd, lambda it, _: it.scope["__builtins__"].update(len=lambda x: 3)),
    "a slice": (odd, lambda it, _: it.scope.update(part=slice(1, 3))),
    "what NumPy calls": (odd, lambda it, _: setattr(it.layer, "amount", 0.25)),
    "what a call reads, and not what seems to be one": (odd, lambda it, _: setattr(it.layer, "rate", 0.25)),
    "whether an object is true": (odd, lambda it, _: setattr(it.of_class, "__bool__", lambda self: False)),
    "whether an object has a length": (odd, lambda it, _: setattr(it.of_class, "__len__", lambda self: 0)),
    "whether an object is true, by another base": (odd, lambda it, _: setattr(it.of_class, "__bases__", (Never,))),
}


def _others_code():
    more = 1.0

    def helper(a, b=0.25, *, c=0.75):
        return a * more - b * c
    return helper.__code__


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_seen(what, monkeypatch):
    make, change = CHANGES[what]

    def world(how):
        cell, it = make()
        wanted = [it.W, it.U]
        with monkeypatch.context() as undone:
            found = [r for _ in range(4) for r in results(how, cell, wanted)]
            assert how is mg.unroll or spared(cell)           # it is not run again, unless something changes
            change(it, undone)
            for _ in range(3):
                it.W.requires_grad = True
                found += results(how, cell, [x for x in wanted if x.requires_grad])
        return found
    same(world(scan), world(mg.unroll))


def test_frozen_parameters_are_seen():
    W = parameter(3, 4)

    def cell(x, h):
        h = np.tanh(x @ W + h)
        return h, h
    for _ in range(3):
        ys, _ = scan(cell, xs, mg.Tensor(np.zeros((2, 4))))
    assert ys.requires_grad and spared(cell)
    W.requires_grad = False
    assert not scan(cell, xs, mg.Tensor(np.zeros((2, 4))))[0].requires_grad


def test_a_complex_step_is_seen():
    """As mg.check has it: the array of a parameter is replaced by one of another dtype."""
    cell, state = mg.RNNCell(3, 4), mg.Tensor(np.zeros((2, 4)))
    for _ in range(3):
        scan(cell, xs, state)
    assert spared(cell)
    cell.W_x.array = cell.W_x.array + 1e-30j
    assert scan(cell, xs, state)[0].dtype == complex


# ---- cells that are run at every call -----------------------------------------------------------------------------------------
def cells():
    """Cells that can tell nothing, each with a change that is seen in nothing that they read by name."""
    W, k, past = parameter(3, 4), mg.Tensor(np.array(0.5)), parameter(4) * 2
    array, index, integer = np.full(4, 0.5), np.array([0, 1, 2, 3]), mg.Tensor(np.array(1))
    some, b, inner, own = collections.deque([0.5]), parameter(4), lambda: None, types.ModuleType("own")
    own.mean, inner.rate = np.sin, 0.5
    forced, tuned = mg.Tensor(np.array([0, 1, 2, 3])), lambda a: np.tanh(a)
    forced.requires_grad, tuned.size = True, 0.5

    def add(t, amount):
        t.data = t.data + amount

    def fill(a, value):
        a[...] = value

    class Late:
        def __getattr__(self, name):
            if name != "rate":
                raise AttributeError(name)
            return some[0]

        def __call__(self, x, h):
            return (np.tanh(x @ W + h) * self.rate,) * 2

    class Handed:
        rate = 0.25

        def __init__(self):
            self.inner = inner

        def __call__(self, x, h):
            self = self.inner
            return (np.tanh(x @ W + h) * self.rate,) * 2

    def failing(x, h):
        h = np.tanh(x @ W + h)
        try:
            h = h * x.shape[7]
        except IndexError:
            h = h * some[0]
        return h, h

    def averaged(module, h):
        return module.mean(h)

    def sized(f, a):
        return f(a) * f.size

    class Sized(Layer):
        size = property(lambda self: some[0])

    class Replaced:
        size = 0.5

        def times(self, a):
            a = a * self.size
            self = None
            return a
    replaced = Replaced()

    class Mean:
        mean = np.sin

        def of(self, a):
            return averaged(self, a)
    meant, layer, three = Mean(), Sized(), types.MethodType(lambda *a: a[1] * (1.0 if a == 3 else some[0]), 3)

    class Computed:
        @property
        def rate(self):
            return some[0]

        def __call__(self, x, h):
            return (np.tanh(x @ W + h) * self.rate,) * 2

    class Items:
        """All that can be done with it is done by what it holds."""
        def __init__(self):
            self.held = [0.5]

        def __call__(self, a):
            return np.sin(a)

        def __getitem__(self, i):
            return self.held[i]

        def __len__(self):
            return len(self.held)

        def __mul__(self, a):
            return a * self.held[0]

        def __neg__(self):
            return -self.held[0]

        def __bool__(self):
            return self.held[0] == 0.5

        def __iter__(self):
            return iter(self.held)
    items, arrays, first = Items(), Layer(), Key("first")
    arrays.__array__, by_name = lambda dtype=None, copy=None: np.array(some[0]), {"first": 0.5, "second": 2.0}

    def looped(x, h):
        h = items(np.tanh(x @ W + h))
        for value in items:
            h = h * value
        return h, h

    def called(a):
        return np.tanh(a)
    called.exp = lambda: some[0]

    def an_array(a):
        return np.sin(a)
    an_array.__array__ = arrays.__array__

    def constant(x, h):
        held = "items"
        h = np.tanh(x @ W + h) * held[0]
        return h, h
    constant.__code__ = constant.__code__.replace(co_consts=tuple(items if c == "items" else c for c in constant.__code__.co_consts))

    class Scope(dict):
        def __getitem__(self, name):
            return some[0] if name == "rate" else dict.__getitem__(self, name)
    scope = Scope(W=W, np=np, rate=0.5)
    exec("def cell(x, h):\n    h = np.tanh(x @ W + h) * rate\n    return h, h", scope)
    over = Computed()
    vars(over)["rate"] = 0.5
    over.__class__ = type("Over", (Computed,), {"rate": property(lambda self: some[0], lambda self, value: None)})

    def pair(f):
        def cell(x, h):
            h = f(x, h)
            return h, h
        return cell
    return W, {
        "the number of a Tensor": (pair(lambda x, h: np.tanh(x @ W + h) * k.data.item()), lambda: add(k, 1)),
        "the number of a parameter": (pair(lambda x, h: np.tanh(x @ W + h) * W.data[0, 0]), lambda: add(W, 1)),
        "where a parameter is zero": (pair(lambda x, h: np.tanh(x @ W + h) * np.sum(np.compress(b, h, axis=-1), -1, keepdims=True)),
                                      lambda: fill(b.data[:2], 0)),
        "integers of a parameter, by a function": (pair(lambda x, h: np.tanh(x @ W + h) * h[..., np.astype(W, 'int64')[0]]),
                                                   lambda: add(W, 3 - W.data[0])),
        "float()": (pair(lambda x, h: np.tanh(x @ W + h) * float(k)), lambda: add(k, 1)),
        "a Tensor without gradients": (pair(lambda x, h: np.tanh(x @ W + h) * k), lambda: add(k, 1)),
        "a Tensor with a history": (pair(lambda x, h: np.tanh(x @ W + h) * past), lambda: None),
        "a Tensor made in the step": (pair(lambda x, h: np.tanh(x @ W[:, ::-1] + h)), lambda: add(W, 1)),
        "a comparison": (pair(lambda x, h: np.tanh(x @ W + h) * (W > 0.1)[0, 0]), lambda: add(W, -W.data[0, 0] + 1)),
        "a comparison, called": (pair(lambda x, h: np.tanh(x @ W + h) * np.greater(W, 0.1)[0, 0]), lambda: add(W, -W.data[0, 0] + 1)),
        "a whole quotient": (pair(lambda x, h: np.tanh(x @ W + h) * (W // 0.5)[0, 0]), lambda: add(W, 1)),
        "a sign": (pair(lambda x, h: np.tanh(x @ W + h) * np.sign(W)[0, 0]), lambda: add(W, -2 * W.data[0, 0])),
        "a plain function of a parameter": (pair(lambda x, h: np.tanh(x @ W + h) * np.argmax(W)), lambda: add(W, [[0.0], [0.0], [9.0]])),
        "a condition": (pair(lambda x, h: np.tanh(x @ W + h) * (2.0 if W.data[0, 0] > 1 else 1.0)), lambda: add(W, 5)),
        "an array": (pair(lambda x, h: np.tanh(x @ W + h) * array), lambda: fill(array, 2)),
        "the sum of an array": (pair(lambda x, h: np.tanh(x @ W + h) * np.sum(array)), lambda: fill(array, 2)),
        "an index": (pair(lambda x, h: np.tanh(x @ W + h)[..., index]), lambda: fill(index, [3, 2, 1, 0])),
        "an integer Tensor as index": (pair(lambda x, h: np.tanh(x @ W + h) * h[..., integer, None]), lambda: add(integer, 1)),
        "integers of a parameter": (pair(lambda x, h: np.tanh(x @ W + h) * h[..., W.astype(int)[0]]), lambda: add(W, 3 - W.data[0])),
        "an index of integers that are said to have gradients": (pair(lambda x, h: np.tanh(x @ W + h)[..., forced]),
                                                                 lambda: fill(forced.data, [3, 2, 1, 0])),
        "an attribute of a function": (pair(lambda x, h: sized(tuned, x @ W + h)), lambda: setattr(tuned, "size", 2.0)),
        "a property that is called as one of a Tensor": (pair(lambda x, h: sized(layer, x @ W + h)), lambda: some.__setitem__(0, 2.0)),
        "an object that its method replaces": (pair(lambda x, h: replaced.times(np.tanh(x @ W + h))), lambda: setattr(replaced, "size", 2.0)),
        "arguments that are one tuple": (pair(lambda x, h: three(np.tanh(x @ W + h))), lambda: some.__setitem__(0, 2.0)),
        "a deque": (pair(lambda x, h: np.tanh(x @ W + h) * some[0]), lambda: some.__setitem__(0, 1.0)),
        "an error that is caught": (failing, lambda: some.__setitem__(0, 1.0)),
        "an object that is handed on": (Handed(), lambda: setattr(inner, "rate", 1.0)),
        "a module that is handed on": (pair(lambda x, h: averaged(own, x @ W + h)), lambda: setattr(own, "mean", np.tanh)),
        "__getattr__": (Late(), lambda: some.__setitem__(0, 2.0)),
        "an object that its method hands on": (pair(lambda x, h: meant.of(x @ W + h)), lambda: setattr(meant, "mean", np.tanh)),
        "a property": (Computed(), lambda: some.__setitem__(0, 2.0)),
        "a property over an attribute": (over, lambda: some.__setitem__(0, 2.0)),
        "an element of an object": (pair(lambda x, h: items(x @ W + h) * items[0]), lambda: items.held.__setitem__(0, 2.0)),
        "the length of an object": (pair(lambda x, h: items(x @ W + h) * len(items)), lambda: items.held.append(2.0)),
        "the elements of an object": (looped, lambda: items.held.__setitem__(0, 2.0)),
        "a product with an object": (pair(lambda x, h: items * items(x @ W + h)), lambda: items.held.__setitem__(0, 2.0)),
        "the negative of an object": (pair(lambda x, h: items(x @ W + h) * -items), lambda: items.held.__setitem__(0, 2.0)),
        "whether an object is true": (pair(lambda x, h: items(x @ W + h) * (2.0 if items else 1.0)), lambda: items.held.__setitem__(0, 2.0)),
        "an object as an array": (pair(lambda x, h: arrays(x @ W + h) * np.exp(arrays)), lambda: some.__setitem__(0, 2.0)),
        "an object as a key": (pair(lambda x, h: np.tanh(x @ W + h) * by_name[first]), lambda: setattr(first, "name", "second")),
        "what NumPy calls of a function": (pair(lambda x, h: called(x @ W + h) * np.exp(called)), lambda: some.__setitem__(0, 2.0)),
        "a function as an array": (pair(lambda x, h: an_array(x @ W + h) * np.exp(an_array)), lambda: some.__setitem__(0, 2.0)),
        "a constant of the code": (constant, lambda: items.held.__setitem__(0, 2.0)),
        "globals that are looked up in another way": (dict.__getitem__(scope, "cell"), lambda: some.__setitem__(0, 2.0))}


class Key:
    """Stands for a name."""
    def __init__(self, name):
        self.name = name

    def __hash__(self):
        return hash(self.name)

    def __eq__(self, other):
        return self.name == other

    def __call__(self):
        pass


class Pair(typing.NamedTuple):
    """A state, or x, that computes."""
    value: typing.Any
    other: typing.Any

    @property
    def mean(self):
        return self.value * factor

    def __add__(self, a):
        return self.value * factor + a


class Keyed(dict):
    mean = property(lambda self: self["value"] * factor)


def of_tensors(make, seed):
    return make(value=mg.Tensor(numbers(2, 4, seed=seed)), other=mg.Tensor(numbers(2, 4, seed=seed + 1)))


@pytest.mark.parametrize("what", ["state", "part of the state", "x", "sum"])
def test_arguments_that_compute(what, monkeypatch):
    """A number in a property of a NamedTuple or dict, which no code of the cell's says."""
    def world(how):
        W, U = parameter(3, 4), parameter(4, 4, seed=1)
        sequence, state = xs, of_tensors(Pair, 0)
        if what == "x":
            sequence, state = Pair(xs, xs * 2), mg.Tensor(numbers(2, 4))
        elif what == "part of the state":
            state = (mg.Tensor(numbers(2, 4)), of_tensors(Keyed, 0))

        def cell(x, s):
            if what == "x":
                s = new = np.tanh(x.mean @ W + s @ U)
            elif what == "part of the state":
                new = np.tanh(x @ W + s[0] @ U + s[1].mean)
                s = new, s[1]
            else:
                new = np.tanh(s + x @ W) if what == "sum" else np.tanh(x @ W + s.mean)
            return new, s
        with monkeypatch.context() as undone:
            found = [how(cell, sequence, state)[0].data for _ in range(4)]
            undone.setitem(globals(), "factor", 0.9)
            return [*found, how(cell, sequence, state)[0].data]
    same(world(scan), world(mg.unroll))


def test_a_class_of_a_class_that_computes():
    """What it says of a method need not be what its objects have."""
    class Kind(type):
        activation = property(lambda cls: np.sin)

    class Made(Cell, metaclass=Kind):
        pass
    assert told(Cell()) is not None and told(Made()) is None


def test_a_cell_that_changes_while_it_is_told(monkeypatch):
    """By another thread, say, and back."""
    cell, state, other = Cell(), mg.Tensor(np.zeros((2, 4))), 2.0

    def change(cell, *arguments):
        before, cell.a = cell.a, other
        found = told(cell, *arguments)
        cell.a = before
        return found
    monkeypatch.setattr(call, "told", change)
    for _ in range(4):
        scan(cell, xs, state)
    cell.a = other
    same([scan(cell, xs, state)[0].data], [mg.unroll(cell, xs, state)[0].data])


@pytest.mark.parametrize("what", cells()[1])
def test_a_cell_that_cannot_be_told_is_run(what):
    def world(how):
        W, all_of_them = cells()
        cell, change = all_of_them[what]
        found = [r for _ in range(5) for r in results(how, cell, [W])]
        assert not spared(cell)
        change()
        return found + results(how, cell, [W])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mg.compile.NotCompiled)
        same(world(scan), world(mg.unroll))


def test_what_is_no_parameter_of_the_cell_is_not_remembered():
    cell = mg.RNNCell(3, 4)
    same = told(cell)
    same.remember("a program", [cell.b, cell.W_x])
    assert "a program" in same.bound
    same.remember("a program", [cell.b, np.ones(4)])
    assert not same.bound


def test_a_condition_that_needs_no_gradient():
    """Without recording, what is computed of parameters can be asked whether it is true."""
    def world(how):
        W = parameter(3, 4)

        def cell(x, h):
            h = np.tanh(x @ W + h)
            return (h * 2 if W[0, 0] else h), h
        found = [how(cell, xs, mg.Tensor(np.zeros((2, 4))))[0].data for _ in range(4)]
        W.data[0, 0] = 0
        return [*found, how(cell, xs, mg.Tensor(np.zeros((2, 4))))[0].data]
    with mg.no_grad():
        same(world(scan), world(mg.unroll))


def test_what_another_program_reads_is_seen():
    """A shape decides what is read; at first it is not even there."""
    def world(how):
        k, layer = mg.parameter(0.7), Box()
        layer.__class__ = type("Bare", (Box,), {"__call__": lambda self, a: np.sin(a)})

        def scaled(f, a):
            return f(a) * f.size if a.shape else f(a)

        def cell(x, h):
            h = scaled(layer, x * k + h)
            return h, h

        def calls(*shape):
            return [how(cell, mg.Tensor(numbers(5, *shape)), mg.Tensor(np.zeros(shape)))[0].data for _ in range(4)]
        found = calls()
        layer.size = 0.5
        found += calls(3) + calls()
        layer.size = 2.0
        return found + calls(3)
    same(world(scan), world(mg.unroll))


# ---- cells that are not -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell", "CoRNNCell", "LEMCell", "MGUCell", "LayerNormLSTMCell", "IRNNCell"])
def test_most_cells_are_told_by_their_code(name):
    assert told(getattr(mg, name)(3, 4)) is not None


def test_a_cell_that_is_told_is_not_run(monkeypatch):
    """Not even when other things about the call change: a program of its own is found by one run, and then none is needed."""
    cell, runs, follow = mg.LSTMCell(3, 4), [], trace.Tape.follow
    monkeypatch.setattr(trace.Tape, "follow", lambda self, cell: runs.append(1) or follow(self, cell))

    def calls(*shapes):
        before = len(runs)
        for shape in shapes:
            scan(cell, numbers(*shape))
        return len(runs) - before
    calls((5, 2, 3), (5, 2, 3), (5, 2, 3), (5, 7, 3), (5, 7, 3))
    assert calls((5, 2, 3), (5, 7, 3), (9, 7, 3)) == 0
    cell.W_x = parameter(3, 16)
    assert calls((5, 2, 3)) == 1
    del cell.__dict__["W_x"]
    with pytest.raises(AttributeError, match="W_x"):
        scan(cell, numbers(5, 2, 3))


def test_a_cell_whose_code_changes_nothing_is_not_looked_after(monkeypatch):
    """It is run, since it makes a Tensor on the way; but what it could change is not looked for at every call."""
    looked, W = [], parameter(4, 3)

    def cell(x, h):
        h = np.tanh(x @ W.T + h) * factor
        return h, h
    monkeypatch.setattr(call, "Held", lambda cell: looked.append(1) or Held(cell))
    for _ in range(5):
        scan(cell, xs, mg.Tensor(np.zeros((2, 4))))
    assert not spared(cell) and len(looked) == 2
    monkeypatch.setitem(globals(), "factor", 0.9)
    scan(cell, xs, mg.Tensor(np.zeros((2, 4))))
    assert len(looked) == 3


def test_a_cell_that_is_another_one_at_every_call_is_seldom_asked(monkeypatch):
    asked, W = [], parameter(3, 4)
    monkeypatch.setattr(call, "told", lambda cell: asked.append(1) or told(cell))
    state = mg.Tensor(np.zeros((2, 4)))
    for _ in range(40):
        def cell(x, h):
            h = np.tanh(x @ W + h)
            return h, h
        scan(cell, xs, state)
    assert not asked


def test_a_cell_is_counted_for_itself(monkeypatch):
    """Others that went along the same tape before it, however many, do not make it wait."""
    runs, follow = [], trace.Tape.follow
    monkeypatch.setattr(trace.Tape, "follow", lambda self, cell: runs.append(1) or follow(self, cell))
    cells = [mg.RNNCell(3, 4) for _ in range(trace.CELLS + 2)]
    for _ in range(37):
        scan(cells[0], xs, mg.Tensor(np.zeros((2, 4))))
    for cell in [*cells[1:], mg.RNNCell(3, 4), cells[5]]:
        runs.clear()
        for _ in range(6):
            scan(cell, xs, mg.Tensor(np.zeros((2, 4))))
        assert len(runs) <= 2


def test_few_cells_are_remembered():
    for _ in range(call.CELLS + 3):
        cell = mg.RNNCell(3, 4)
        call._remember(cell, told(cell))
    assert len(call._told) == call.CELLS and next(reversed(call._told)) == id(cell)
