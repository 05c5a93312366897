"""A fuzzer of the public API: wrong types, shapes and values. Every outcome is a right answer, or an error of minigrad's that says of what.

    python -m tests.property.fuzz 20000 1           20,000 calls from seed 1: counts, and each kind of trouble once; status 1 if there is any
    python -m tests.property.fuzz 2000 1 unroll     calls of targets whose name contains "unroll"

An answer is right if it is NumPy's on the same arrays, where NumPy has the function, and if its gradients can be taken and have
the shapes of their leaves. An error is minigrad's if minigrad raised or worded it; it says of what if it names the function, an
argument, or what it got. Anything else is trouble: a bare NumPy or Python error, a wrong value, a call of more than ten seconds.
"""
import collections
import inspect
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad.ops import FUNCTIONS

LONG = 10.0


# ---- values ----------------------------------------------------------------------------------------------------------
shapes = st.lists(st.sampled_from([0, 1, 2, 2, 3, 3, 4]), max_size=3).map(tuple)
dtypes = st.sampled_from([float, float, float, np.float32, int, bool, complex])


@st.composite
def arrays(draw, shape=shapes):
    """Ordinary numbers; rarely zeros, NaN, infinity or very large ones."""
    shape = draw(shape) if hasattr(shape, "example") else shape
    a = np.random.default_rng(draw(st.integers(0, 99))).standard_normal(shape)
    odd = draw(st.sampled_from([None] * 9 + [0.0, np.nan, np.inf, 1e300]))
    if odd is not None and a.size:
        a.flat[0] = odd
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return a.astype(draw(dtypes))


@st.composite
def tensors(draw, shape=shapes):
    a = draw(arrays(shape))
    return mg.Tensor(a, requires_grad=a.dtype.kind == "f" and draw(st.booleans()), name=draw(st.sampled_from([None, "W"])))


junk = st.one_of(st.none(), st.booleans(), st.integers(-5, 7), st.sampled_from([0.5, -1.0, np.nan, np.inf]), st.sampled_from(["", "text", "ij,jk->ik"]),
                 st.sampled_from([[], (), [1, 2], (0, 1), [[1], [1, 2]], {}, {"a": 1}, {1, 2}, [None], ["a"], np.array("a"), np.array([None]), b"x",
                                  object(), len, np.float32, ..., slice(None), 1j, 10 ** 20]), arrays(), tensors())


def mostly(strategy):
    """What belongs there, and once in five times anything."""
    return st.integers(0, 4).flatmap(lambda n: strategy if n else junk)


T = mostly(tensors())
AXIS = mostly(st.one_of(st.none(), st.integers(-3, 2), st.tuples(st.integers(-2, 1), st.integers(-2, 1))))
INT = mostly(st.integers(-3, 4))
SHAPE = mostly(st.one_of(shapes, st.lists(st.integers(-1, 6), max_size=3)))
INDEX = mostly(st.one_of(st.integers(-4, 4), st.lists(st.integers(-3, 3), max_size=3), st.tuples(INT, INT),
                         st.sampled_from([..., slice(None, None, -1), slice(1, 0), np.array([True, False]), np.array(1), (None, ...), (slice(None), [0, 1])])))
LIST = mostly(st.lists(tensors(), max_size=3))
SAME = shapes.flatmap(lambda s: st.lists(tensors(s), min_size=1, max_size=3))
REDUCTION = mostly(st.sampled_from(["mean", "sum", "none"]))


# ---- what is called: name -> (function, its arguments, its keywords, plain reference or None) ------------------------------
def _numpys():
    """NumPy's functions that answer Tensors, with arguments by the names in their signature."""
    by_name = {"axis": AXIS, "axes": AXIS, "shape": SHAPE, "newshape": SHAPE, "reps": SHAPE, "indices": INDEX, "arrays": mostly(st.one_of(LIST, SAME)), "tup": SAME,
               "indices_or_sections": INDEX, "repeats": INT, "shift": INT, "k": INT, "n": INT, "offset": INT, "source": AXIS, "destination": AXIS,
               "axis1": INT, "axis2": INT, "pad_width": INT, "ddof": INT, "subscripts": mostly(st.sampled_from(["ij,jk->ik", "i,i", "ii", "...i->...", "ij->ji", "a->b"])),
               "num": st.integers(1, 4), "keepdims": st.booleans(), "ord": mostly(st.sampled_from([None, 2, "fro", 1, np.inf])), "dtype": st.sampled_from([float, np.float32, int]),
               "parts": INDEX, "perm": AXIS, "weights": T, "conditions": LIST, "choices": LIST, "condlist": LIST, "choicelist": LIST}
    found = {}
    for function, record in FUNCTIONS.items():
        room = {"numpy": np, "numpy.linalg": np.linalg}.get(getattr(function, "__module__", None) or "numpy")
        name = getattr(function, "__name__", "")
        if room is None or getattr(room, name, None) is not function:
            continue
        if isinstance(function, np.ufunc):
            found[f"np.{name}"] = function, [T] * function.nin, {}, function
            continue
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except ValueError:          # a builtin of NumPy before 2.4 says nothing of its arguments
            continue
        needed = [by_name.get(p.name, T) for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        optional = {p.name: by_name[p.name] for p in parameters if p.default is not p.empty and p.name in by_name and p.kind != p.VAR_KEYWORD}
        if any(p.kind == p.VAR_POSITIONAL for p in parameters):
            needed = [by_name["subscripts"], T, T] if name == "einsum" else [T, T]
        found[f"np.{'linalg.' if room is np.linalg else ''}{name}"] = function, needed, optional, function
    return found


def _tensors_own():
    kept = {name: [T] for name in ("__add__", "__rsub__", "__mul__", "__truediv__", "__matmul__", "__rmatmul__", "__lt__", "__eq__", "__mod__", "__floordiv__", "dot")}
    kept |= {"__pow__": [T], "__getitem__": [INDEX], "__setitem__": [INDEX, T], "reshape": [SHAPE], "transpose": [AXIS], "swapaxes": [INT, INT], "squeeze": [AXIS],
             "astype": [mostly(st.sampled_from([float, np.float32, int, "f4"]))], "item": [], "detach": [], "copy": [], "ravel": [], "flatten": [], "__len__": [], "__iter__": [],
             "__float__": [], "__bool__": [], "__int__": [], "__index__": [], "argmax": [AXIS], "argmin": [AXIS], "cumsum": [AXIS], "backward": [T]}
    kept |= {name: [AXIS] for name in ("sum", "mean", "var", "std", "max", "min", "prod")}
    bare = {name: lambda t, *args, name=name: getattr(t, name)(*args) for name in kept}
    return {f"Tensor.{name}": (bare[name], [tensors(), *slots], {}, None) for name, slots in kept.items()}


def _ours():
    axis = {"axis": AXIS}
    targets = {f"mg.{name}": (getattr(mg, name), [T], {}, None)
               for name in ("sigmoid", "softplus", "logsigmoid", "relu", "silu", "gelu", "matrix_exp", "stop_gradient", "parameter")}
    targets |= {f"mg.{name}": (getattr(mg, name), [T], axis, None) for name in ("softmax", "log_softmax", "logsumexp")}
    targets |= {
        "mg.layer_norm": (mg.layer_norm, [T], {"eps": mostly(st.sampled_from([0.0, 1e-5, -1.0]))}, None),
        "mg.scatter_add": (mg.scatter_add, [T, INDEX, SHAPE], {}, None),
        "mg.softmax_cross_entropy": (mg.softmax_cross_entropy, [T, T], {"mask": T, "reduction": REDUCTION}, None),
        "mg.binary_cross_entropy": (mg.binary_cross_entropy, [T, T], {"reduction": REDUCTION}, None),
        "mg.squared_error": (mg.squared_error, [T, T], {"reduction": REDUCTION}, None),
        "mg.Tensor": (mg.Tensor, [junk], {"requires_grad": mostly(st.booleans()), "name": mostly(st.sampled_from([None, "x"]))}, None),
        "mg.grad": (mg.grad, [T, mostly(st.one_of(tensors(), LIST))], {"cotangent": T, "create_graph": mostly(st.booleans())}, None),
        "mg.jacobian": (mg.jacobian, [T, T], {"create_graph": mostly(st.booleans())}, None),
        "mg.grad of a result": (lambda x, c, **more: mg.grad(np.tanh(x) * 2, x, cotangent=c, **more), [tensors(), T], {"create_graph": st.booleans()}, None),
        "mg.checkpoint": (lambda f, x: mg.checkpoint(f)(x), [st.sampled_from([np.tanh, lambda x: x.sum(), lambda x: None]), tensors()], {}, None),
        "Tensor.data": (lambda t, value: setattr(t, "data", value), [tensors(), junk], {}, None),
    }
    return targets


class _Echo(mg.Module):
    def __init__(self):
        self.W = mg.parameter(np.ones((2, 3)))


def _rooms():
    """Cells, sequences, wrappers, training, storage."""
    cells = {name: getattr(mg, name) for name in mg.__all__ if name.endswith("Cell")}
    small = {name: made(2, 4) for name, made in cells.items()}
    good = st.sampled_from(list(small.values()))
    cell = mostly(good)
    x = mostly(st.one_of(tensors(st.just((3, 2))), tensors(st.just((2,)))))
    xs = mostly(st.one_of(tensors(st.just((4, 3, 2))), arrays(st.just((4, 3, 2))), tensors(st.just((4, 2)))))
    lengths = mostly(st.sampled_from([[4, 2, 0], [1, 1, 1], [5, 1, 1], [-1, 0, 0], [1.0, 2.0, 3.0], [2, 2]]))
    options = {"lengths": lengths, "reverse": mostly(st.booleans()), "states": mostly(st.booleans()), "checkpoint_every": mostly(st.sampled_from([None, 1, 2, "sqrt"]))}
    number = mostly(st.sampled_from([0.5, 0.0, 1.0, 1e-3]))
    parameters = mostly(st.sampled_from(["module", "list", "dict"])).map(
        lambda kind: {"module": _Echo(), "list": [mg.parameter([1.0])], "dict": {"w": mg.parameter([1.0])}}.get(kind, kind) if isinstance(kind, str) else kind)

    def called(cell, x):
        return cell(x, cell.initial_state(len(x.data) if x.ndim > 1 else None))[0]

    def unroll(cell, xs, state, **more):
        return mg.unroll(cell, xs, None if isinstance(state, str) and state == "start" else state, **more)[0]

    def stepped(make, parameters, rate):
        optimizer = make(parameters, rate)
        for p in (parameters.parameters().values() if isinstance(parameters, mg.Module) else parameters.values() if isinstance(parameters, dict) else parameters):
            p.grad = np.ones(p.shape)
        optimizer.step()
    start = mostly(st.just("start"))
    sizes = mostly(st.integers(1, 4))
    targets = {f"mg.{name}": (made, [sizes, sizes], {"rng": mostly(st.just(np.random.default_rng(0))), "dtype": mostly(st.sampled_from([float, np.float32, "f4"]))}, None)
               for name, made in cells.items()}
    targets |= {f"a {name}": (lambda x, c=c: called(c, x), [x.filter(lambda v: isinstance(v, mg.Tensor))], {}, None)
                for name, c in small.items()}
    targets |= {
        "mg.unroll": (unroll, [cell, xs, start], options, None), "mg.steps": (lambda xs: list(mg.steps(xs)), [xs], {}, None),
        "mg.stacked": (mg.stacked, [cell, cell], {}, None), "mg.bidirectional": (mg.bidirectional, [cell, cell], {}, None),
        "mg.dropout": (mg.dropout, [cell, number], {"on": mostly(st.just("output")), "per": mostly(st.just("sequence"))}, None), "mg.zoneout": (mg.zoneout, [cell, number], {}, None),
        "mg.residual": (mg.residual, [cell], {}, None), "mg.masked": (mg.masked, [cell], {}, None), "mg.learned_start": (mg.learned_start, [cell], {}, None),
        "mg.projected": (mg.projected, [cell, sizes, sizes], {}, None), "mg.normalized": (mg.normalized, [cell, sizes], {}, None), "mg.detach": (mg.detach, [T], {}, None),
        "mg.train.clip_by_global_norm": (mg.train.clip_by_global_norm, [parameters, number], {}, None),
        "Module.load_state_dict": (lambda state: _Echo().load_state_dict(state), [mostly(st.sampled_from([{"W": np.ones((2, 3))}, {"V": 1.0}, {"W": "a"}, {"W": np.ones(3)}]))], {}, None),
        "mg.check.gradcheck": (lambda f, x: mg.check.gradcheck(f, x) and None, [mostly(st.sampled_from([np.tanh, lambda x: x * x])), T], {}, None),
        "mg.check.compare": (lambda a, b: mg.check.compare(a, b) and None, [mostly(st.sampled_from([{"a": np.ones(2)}, {"b": 1.0}])), mostly(st.just({"a": np.ones(2)}))], {}, None),
    }
    count = mostly(st.integers(1, 5))
    targets |= {
        "mg.draw": (lambda root: mg.draw(root).dot and None, [T], {}, None), "mg.tableau": (lambda root: str(mg.tableau(root)) and None, [T], {}, None),
        "mg.derive": (lambda cell: mg.derive(cell).text and None, [mostly(st.sampled_from([small["RNNCell"], small["MinGRUCell"]]))], {}, None),
        "mg.load": (mg.load, [mostly(st.just("/nowhere/weights.npz"))], {}, None), "mg.save": (mg.save, [mostly(st.just("/nowhere/weights.npz")), junk], {}, None),
        "mg.train.warmup": (lambda n, step: mg.train.warmup(n)(step), [count, st.integers(1, 5)], {}, None),
        "mg.train.cosine": (lambda n, step, **more: mg.train.cosine(n, **more)(step), [count, st.integers(1, 5)], {"warmup": count, "floor": number}, None),
        "mg.train.step_decay": (lambda n, factor, step: mg.train.step_decay(n, factor)(step), [count, number, st.integers(1, 5)], {}, None),
        "mg.train.windows": (lambda x, steps, rows: list(mg.train.windows(x, steps=steps, rows=rows)) and None, [T, count, count], {}, None),
        "mg.train.pad_sequences": (lambda sequences, value: mg.train.pad_sequences(sequences, value) and None, [LIST, number], {}, None),
        "mg.check.bptt": (mg.check.bptt, [T, LIST, T], {}, None), "mg.custom_gradient": (mg.custom_gradient, [junk], {}, None),
    }
    for name in ("SGD", "Momentum", "Nesterov", "RMSprop", "Adagrad", "Adam", "AdamW"):
        targets[f"mg.train.{name}"] = (lambda p, rate, make=getattr(mg.train, name): stepped(make, p, rate), [parameters, number], {}, None)
    return targets


CORE = {**_numpys(), **_tensors_own(), **_ours()}
TARGETS = {**CORE, **_rooms()}


# ---- one call, and what came of it ------------------------------------------------------------------------------------
def named(error, target, function, args):
    """Does the message say of what: the function, one of its arguments, or what it got?"""
    text = str(error)
    words = [{"__mod__": "remainder", "__floordiv__": "floor_divide"}.get(target.split(".")[-1], target)]
    words += ["its state", " is ", "requires gradients", "fn gives", "learning_rate", "max_norm", "parameter ", "parameters", "derived", "to differentiate", "grad()"]       # arguments, of which some name nothing else
    words += [target.split(".")[-1].strip("_"), getattr(function, "__name__", "?"), *(a.name for a in args if isinstance(a, mg.Tensor) and a.name)]
    return any(word in text for word in words) or " got " in text or "tensor" in text.lower()


def ours(error):
    last = error.__traceback__
    while last.tb_next:
        last = last.tb_next
    return str(error).startswith("minigrad:") or "minigrad" in Path(last.tb_frame.f_code.co_filename).parts[:-1]


def everything(values):
    for v in values:
        yield v
        yield from everything(v) if isinstance(v, (list, tuple)) else ()


def has_tensor(values):
    return any(isinstance(v, mg.Tensor) for v in everything(values))


def plain(x):
    return x.data if isinstance(x, mg.Tensor) else type(x)(map(plain, x)) if type(x) in (list, tuple) else x


def outcome(target, args, kwargs):
    """("answer" | "error", None), or ("trouble", what it is)."""
    function, _, _, reference = TARGETS[target]
    if reference is not None and not has_tensor([*args, *kwargs.values()]):
        return "no Tensor", None
    start = time.perf_counter()
    leaves = [a for a in args if isinstance(a, mg.Tensor) and a.requires_grad]
    try:
        y = function(*args, **kwargs)
        for part in y if isinstance(y, (list, tuple)) else [y]:
            if isinstance(part, mg.Tensor) and part.requires_grad:
                part.backward(np.ones(part.shape))
    except Exception as error:
        if type(error) in (StopIteration, AttributeError, ZeroDivisionError, AssertionError, KeyError, UnboundLocalError, NameError):
            return "trouble", f"{type(error).__name__}: {error}"
        if ours(error):
            return ("error", None) if named(error, target, function, args) else ("trouble", f"says not of what: {type(error).__name__}: {error}")
        if reference is not None and not _asked(reference, args, kwargs):
            return "NumPy's own", None
        return "trouble", f"bare {type(error).__name__}: {error}"
    if time.perf_counter() - start > LONG:
        return "trouble", "took more than ten seconds"
    for leaf in leaves:
        if leaf.grad is not None and (leaf.grad.shape != leaf.shape or leaf.grad.dtype != leaf.dtype):
            return "trouble", f"a gradient of shape {leaf.grad.shape}, dtype {leaf.grad.dtype} for a leaf of {leaf.shape}, {leaf.dtype}"
    return ("trouble", wrong) if reference is not None and (wrong := _differs(reference, args, kwargs, y)) else ("answer", None)


def _asked(function, args, kwargs):
    """Did NumPy ask a Tensor at all, or refuse the call by its own signature?"""
    asked = []

    class Spy:
        shape, ndim, dtype = (2,), 1, np.dtype(float)

        def __array_function__(self, *args):
            asked.append(args)

        def __array_ufunc__(self, *args, **kwargs):
            asked.append(args)

    def spied(x):
        return Spy() if isinstance(x, mg.Tensor) else type(x)(map(spied, x)) if type(x) in (list, tuple) else x
    try:
        function(*map(spied, args), **{k: spied(v) for k, v in kwargs.items()})
    except Exception:
        pass
    return bool(asked)


def _differs(reference, args, kwargs, y):
    try:
        want = reference(*map(plain, args), **{k: plain(v) for k, v in kwargs.items()})
    except Exception as error:
        if isinstance(error, (AttributeError, OverflowError)) or "not supported" in str(error) or any(plain(v).dtype.kind in "bc" for v in everything([*args, *kwargs.values()]) if isinstance(v, (mg.Tensor, np.ndarray, np.generic))):
            return None             # complex numbers pass through for the complex step, where NumPy does not take them; bools are numbers
        if "One of max or min must be given" in str(error):
            return None             # NumPy 2.0; from 2.1 on it clips at nothing, as ours
        return f"answers {str(plain(y))[:60]}, where NumPy says {type(error).__name__}: {error}"
    if reference in (np.linspace, np.dot) and not all(np.isfinite(plain(v)).all() for v in args[:2]):
        return None             # ours is (1 - t) a + t b, infinite where NumPy's is NaN; and NumPy's dot of a number may say 0 · ∞ = 0
    got, want = ([np.asarray(plain(v)) for v in (x if isinstance(x, (list, tuple)) else [x])] for x in (y, want))
    if len(got) != len(want) or any(a.shape != b.shape for a, b in zip(got, want)):
        return f"shapes {[a.shape for a in got]}, NumPy's {[b.shape for b in want]}"
    for a, b in zip(got, want):
        tolerance = 0.01 if np.float16 in (a.dtype, b.dtype) else 1e-4 if np.float32 in [
            a.dtype, b.dtype, *(v.dtype for v in everything([*args, *kwargs.values()]) if isinstance(v, (mg.Tensor, np.ndarray, np.generic)))] else 1e-9
        if b.dtype.kind in "iu" and a.dtype.kind == "f":
            continue            # NumPy divides integers as integers (reciprocal)
        if a.dtype.kind in "iuf" and b.dtype.kind in "iuf" and not np.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True):
            return f"{a.ravel()[:4]}, NumPy's {b.ravel()[:4]}"
    return None


@st.composite
def calls(draw, names=tuple(sorted(TARGETS))):
    name = draw(st.sampled_from(names))
    _, slots, optional, _ = TARGETS[name]
    return name, [draw(slot) for slot in slots], {k: draw(v) for k, v in optional.items() if draw(st.integers(0, 3)) == 0}


def shown(name, args, kwargs):
    def text(x):
        return f"{type(x).__name__}{x.shape}{x.dtype}" if hasattr(x, "dtype") and hasattr(x, "shape") else repr(x)
    return f"{name}({', '.join([text(a) for a in args] + [f'{k}={text(v)}' for k, v in kwargs.items()])})"


def fuzz(n, number, names=tuple(sorted(TARGETS))):
    """Counts of outcomes; the first call of each kind of trouble."""
    counts: collections.Counter = collections.Counter()
    troubles: dict = {}

    @seed(number)
    @settings(max_examples=n, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(calls(names))
    def each(call):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            kind, what = outcome(*call)
        counts[kind] += 1
        if what:
            troubles.setdefault((call[0], what[:45]), f"{shown(*call)}\n    {what[:300]}")
    each()
    return counts, troubles


def main(arguments):
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    n, number = int(arguments[0]), int(arguments[1])
    names = tuple(name for name in sorted(TARGETS) if not arguments[2:] or arguments[2] in name)
    start = time.time()
    counts, troubles = fuzz(n, number, names)
    for text in troubles.values():
        print(text)
    print(f"{sum(counts.values())} calls of {len(names)} functions, seed {number}, {time.time() - start:.0f} s: "
          + ", ".join(f"{count} {kind}" for kind, count in counts.most_common()))
    return int(bool(troubles))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
