"""Networks for the tests of diagnose: each a recorded loss, and the same forward pass by hand."""
import numpy as np

import minigrad as mg

from written import sigmoid

T, B, D, H, C = 4, 3, 5, 6, 7


def drawn(seed, shapes):
    rng = np.random.default_rng(seed)
    return rng, {name: .7 * rng.standard_normal(shape) for name, shape in shapes.items()}


def named(values):
    return {name: mg.parameter(v, name=name) for name, v in values.items()}


def by_step(p, constants, **series):
    """name -> {step: array}: those of parameters under None; series begin at step 1, or with the initial state."""
    values = {name: {None: v} for name, v in {**p, **constants}.items()}
    for name, arrays in series.items():
        values[name] = dict(enumerate(arrays, 1 - (len(arrays) - T)))
    return values


def elman(seed=0):
    """tanh and softmax; the mean over the rows. Returns (loss, values, columns of blocks)."""
    rng, p = drawn(seed, dict(W_x=(D, H), W_h=(H, H), b_h=(H,), W_y=(H, C), b_y=(C,), h_0=(B, H)))
    xs, ys = rng.standard_normal((T, B, D)), rng.integers(0, C, (T, B))
    q = named(p)
    h, total = q["h_0"], 0.
    for x, y in mg.steps(xs, ys):
        a = x @ q["W_x"] + h @ q["W_h"] + q["b_h"]
        h = np.tanh(a)
        o = h @ q["W_y"] + q["b_y"]
        total = total + mg.softmax_cross_entropy(o, y.data)
    hs, as_, os = [p["h_0"]], [], []
    for x in xs:
        as_.append(x @ p["W_x"] + hs[-1] @ p["W_h"] + p["b_h"])
        hs.append(np.tanh(as_[-1]))
        os.append(hs[-1] @ p["W_y"] + p["b_y"])
    return total, by_step(p, {}, x=xs, y=np.eye(C)[ys], h=hs, a=as_, o=os), {}


def gated(seed=1):
    """Two gates from one matrix, squared error."""
    rng, p = drawn(seed, dict(W=(D, 2 * H), U=(H, 2 * H), b=(2 * H,), h_0=(B, H)))
    xs, ys = rng.standard_normal((T, B, D)), rng.standard_normal((T, B, H))
    q = named(p)
    h, total = q["h_0"], 0.
    for x, y in mg.steps(xs, ys):
        a = x @ q["W"] + h @ q["U"] + q["b"]
        z = mg.sigmoid(a[..., :H])
        n = np.tanh(a[..., H:])
        h = z * h + (1 - z) * n
        total = total + mg.squared_error(h, y.data, reduction="sum")
    hs, as_ = [p["h_0"]], []
    for x in xs:
        as_.append(x @ p["W"] + hs[-1] @ p["U"] + p["b"])
        z = sigmoid(as_[-1][:, :H])
        hs.append(z * hs[-1] + (1 - z) * np.tanh(as_[-1][:, H:]))
    as_ = np.array(as_)
    return total, by_step(p, {}, x=xs, y=ys, h=hs, a=as_, a_z=as_[..., :H], a_n=as_[..., H:], z=sigmoid(as_[..., :H]),
                          n=np.tanh(as_[..., H:])), {"z": slice(0, H), "n": slice(H, 2 * H)}


def columns():
    """W h for column vectors, one sequence; a layer on top with binary cross-entropy."""
    rng, p = drawn(2, dict(U=(H, D), W=(H, H), b=(H, 1), V=(C, H), c=(C, 1), h_0=(H, 1)))
    xs, ys = rng.standard_normal((T, D, 1)), rng.integers(0, 2, (T, C, 1)).astype(float)
    q = named(p)
    h, total = q["h_0"], 0.
    for x, y in mg.steps(xs, ys):
        a = q["U"] @ x + q["W"] @ h + q["b"]
        h = np.tanh(a)
        o = q["V"] @ h + q["c"]
        total = total + mg.binary_cross_entropy(o, y.data, reduction="sum")
    hs, as_ = [p["h_0"]], []
    for x in xs:
        as_.append(p["U"] @ x + p["W"] @ hs[-1] + p["b"])
        hs.append(np.tanh(as_[-1]))
    return total, by_step(p, {}, x=xs, y=ys, h=hs, a=as_, o=[p["V"] @ h + p["c"] for h in hs[1:]]), {}


def layered():
    """A sigmoid state, on it a layer of another width, and a product of three."""
    rng, p = drawn(3, dict(V=(D, H), U=(H, H), b=(H,), R=(H, C), c=(C,), h_0=(B, H)))
    xs, ys = rng.standard_normal((T, B, D)), rng.standard_normal((T, B, C))
    q = named(p)
    h, total = q["h_0"], 0.
    for x, y in mg.steps(xs, ys):
        a = x @ q["V"] + h @ q["U"] + q["b"]
        h = mg.sigmoid(a)
        u = h @ q["R"] + q["c"]
        r = np.tanh(u)
        o = r * u * 2
        total = total + mg.squared_error(o, y.data, reduction="sum")
    hs, as_, us = [p["h_0"]], [], []
    for x in xs:
        as_.append(x @ p["V"] + hs[-1] @ p["U"] + p["b"])
        hs.append(sigmoid(as_[-1]))
        us.append(hs[-1] @ p["R"] + p["c"])
    return total, by_step(p, {}, x=xs, y=ys, h=hs, a=as_, u=us, r=np.tanh(us), o=2 * np.tanh(us) * us), {}


NETWORKS = {f.__name__: f for f in (elman, gated, columns, layered)}
