"""Odd graphs, small ones: what a diagnosis has to take apart although no textbook has it. Each returns its loss, always the same."""
import numpy as np

import minigrad as mg

from networks import drawn, named


def parameters(**shapes):
    rng, values = drawn(0, shapes)
    return rng, named(values)


def fancy():
    """Rows of an embedding by their numbers, in and out of time."""
    rng, p = parameters(E=(7, 4), W=(4, 4), h_0=(3, 4))
    h, total = p["h_0"], (p["E"][np.array([0, 0, 3])] ** 2).sum()
    for ids in mg.steps(rng.integers(0, 7, (4, 3))):
        h = np.tanh(p["E"][ids.data] + h @ p["W"])
        total = total + h.sum()
    return total


def outside():
    """What is computed after the loop, twice from the same step; a parameter that is only used there, and one before."""
    rng, p = parameters(W=(4, 4), V=(4, 4), U=(4, 4), h_0=(3, 4))
    a, h, hs, total = rng.standard_normal((4, 3, 4)) @ p["U"], p["h_0"], [], 0.0
    for x in mg.steps(a):
        h = np.tanh(x + h @ p["W"])
        hs.append(h)
    o = np.stack(hs) @ p["V"]
    for t in range(4):
        total = total + (o[t] * o[t]).sum() + (hs[t] * hs[t]).sum() + (hs[t] * hs[t]).sum()
    return total


def afterwards():
    """A layer and losses after the loop, step by step, with constants of each step; what is unnamed there, with one more use."""
    rng, p = parameters(W=(4, 4), V=(4, 5), c=(5,), h_0=(3, 4))
    hs, total = [p["h_0"]], 0.0
    for x in mg.steps(rng.standard_normal((4, 3, 4))):
        hs.append(np.tanh(x + hs[-1] @ p["W"]))
    for h, y in zip(hs[1:], rng.standard_normal((4, 3, 5))):
        total = total + ((mg.sigmoid(h @ p["V"] + p["c"]) - y) ** 2).sum() / 3 + (y[:, :4] * h * h).sum()
    return total


def sometimes():
    """A value that only every second step has, packed, its parts without a name; the state of the step before used twice."""
    rng, p = parameters(W=(4, 8), U=(4, 4), h_0=(3, 4), b=(8,))
    h, total = p["h_0"], 0.0
    for t, x in enumerate(mg.steps(rng.standard_normal((4, 3, 4)))):
        if t % 2 == 0:
            k = x @ p["W"] + p["b"]
            h = np.tanh(k[..., :4]) * h + mg.sigmoid(k[..., 4:]) * (h + (x - h) * (x + h))
        h = np.sin(h @ p["U"])
        total = total + (h * h).sum() / 2
    return total


def two_packed():
    """Gates taken from the sum of two packed values, one of which also goes elsewhere; a packed adjoint mistaken for the other."""
    rng, p = parameters(W=(5, 8), U=(4, 8), b=(8,), h_0=(3, 4))
    h, total = p["h_0"], 0.0
    for x in mg.steps(rng.standard_normal((4, 3, 5))):
        u = x @ p["W"] + p["b"]
        v = h @ p["U"]
        r = mg.sigmoid(u[:, :4] + v[:, :4])
        n = np.tanh(u[:, 4:] + r * v[:, 4:])
        h = h + r * n
        total = total + (h * h).sum() / 2
    return total


def five_gates():
    """More gates than there are orders to try; two are named only by what they go into."""
    rng, p = parameters(W=(4, 10), U=(2, 10), h_0=(3, 2))
    h, total = p["h_0"], 0.0
    for x in mg.steps(rng.standard_normal((3, 3, 4))):
        a = x @ p["W"] + h @ p["U"]
        i, f, o = (mg.sigmoid(a[:, k:k + 2]) for k in (0, 2, 4))
        c = f * h + i * np.tanh(a[:, 6:8])
        h = o * np.tanh(c) + a[:, 8:]
        total = total + (h * h).sum() / 2
    return total


def two_leading_axes():
    """Gates of one array for several sequences in each row of the batch."""
    rng, p = parameters(W=(5, 8), U=(4, 8), b=(8,), h_0=(3, 2, 4))
    h, total = p["h_0"], 0.0
    for x in mg.steps(rng.standard_normal((3, 3, 2, 5))):
        a = x @ p["W"] + h @ p["U"] + p["b"]
        z, n = mg.sigmoid(a[..., :4]), np.tanh(a[..., 4:])
        h = z * h + (1 - z) * n
        total = total + (h * h).sum() / 2
    return total


def one_loss():
    """All steps' logits in one loss."""
    return mg.check.probe(mg.RNNCell).loss


def without_recurrence():
    """Two parameters that are broadcast, one of them a number."""
    rng, p = parameters(W=(4, 5), b=(5,), s=())
    total = 0.0
    for x in mg.steps(rng.standard_normal((4, 3, 4))):
        total = total + (p["s"] * np.exp(x @ p["W"]) / (1 + p["b"] * p["b"])).sum()
    return total


def projected():
    """An activation on a layer of another width than the state's."""
    rng, p = parameters(W=(4, 4), R=(4, 6), h_0=(3, 4))
    h, total = p["h_0"], 0.0
    for x in mg.steps(rng.standard_normal((4, 3, 4))):
        h = np.tanh(x + h @ p["W"])
        total = total + np.tanh(h @ p["R"]).sum()
    return total


def same_in_every_step():
    """Nothing tells one step's term from another's: least squares cannot weigh them."""
    rng, p = parameters(W=(4, 5))
    x0, total = rng.standard_normal((3, 4)), 0.0
    for x in mg.steps(np.stack([x0] * 3)):
        total = total + (np.tanh(x @ p["W"]) ** 2).sum()
    return total


def drawn_anew(cell):
    rng = np.random.default_rng(0)
    for p in cell.parameters().values():
        p.data = .7 * rng.standard_normal(p.shape)
    return cell, rng.standard_normal((4, 3, 4))


def two_layers():
    ys, _ = mg.unroll(*drawn_anew(mg.stacked(mg.LSTMCell(4, 4), mg.GRUCell(4, 3))))
    return (ys * ys).sum() / 2


def both_ways():
    net, xs = drawn_anew(mg.bidirectional(mg.RNNCell(4, 4), mg.RNNCell(4, 3)))
    ys, _ = net(xs)
    return (ys * ys).mean()


def lengths():
    ys, _ = mg.unroll(*drawn_anew(mg.GRUCell(4, 3)), lengths=[4, 2, 3])
    return (ys * ys).sum()


GRAPHS = [fancy, outside, afterwards, projected, sometimes, two_packed, five_gates, two_leading_axes, one_loss, without_recurrence, same_in_every_step, two_layers, both_ways, lengths]
