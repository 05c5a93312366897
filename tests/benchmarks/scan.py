"""One training step (forward, BPTT, every parameter's gradient) of the compiled scan, beside its peers.

    python -m tests.benchmarks.scan              the whole table
    python -m tests.benchmarks.scan --quick      fewer and shorter rounds: a look, not a measurement

Opponents: *plain* and *expert* NumPy of reference.py, JAX (``jit`` of ``lax.scan`` and its gradient), torch (nn.RNN or
nn.LSTM; for other cells the same cell eager). Ours is the full path as a user calls it: ``mg.scan`` of a cell, then
``backward()``. The first call is first_call.py's. Before anything is timed all gradients are compared with those of *plain* (or of ``mg.unroll``).
"""
from tests.benchmarks.measure import difference, interleaved, torch_or_none, versions      # first: it sets the threads

import argparse
import collections
import importlib.util
import sys
from unittest import mock

import numpy as np

import minigrad as mg
from minigrad.compile import call, scan, speed
from tests.benchmarks import reference
from tests.benchmarks.eager import AGREES, ELMAN, LSTM, _gradients


def jax_or_none():
    """JAX on the CPU with one thread, or None where it is not installed."""
    import os
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    try:
        import jax
    except ImportError:
        return None
    jax.config.update("jax_enable_x64", True)
    return jax


# -- Elman with softmax cross-entropy at every step, inside the cell --------------------------------------------------
def elman_scan(X, Y, P, gradients=_gradients):
    p = {name: mg.parameter(array, name=name) for name, array in P.items()}
    Wx, Wh, bh, Wy, by = p.values()
    X, Y, h0 = mg.Tensor(X), mg.Tensor(Y), mg.Tensor(np.zeros((X.shape[1], Wh.shape[0]), X.dtype))      # once, as the peers have theirs

    def cell(xy, h):
        x, y = xy
        h = np.tanh(x @ Wx + h @ Wh + bh)
        return mg.softmax_cross_entropy(h @ Wy + by, y, reduction="sum"), h

    def step():
        losses, _ = scan(cell, (X, Y), h0)
        return gradients(losses.sum(), p)
    return step


def elman_jax(X, Y, P):
    jax = jax_or_none()
    jnp = jax.numpy
    X, Y = jnp.asarray(X), jnp.asarray(Y)
    h0 = jnp.zeros((X.shape[1], P["Wh"].shape[0]), X.dtype)

    def loss(p):
        def cell(h, xy):
            x, y = xy
            h = jnp.tanh(x @ p["Wx"] + h @ p["Wh"] + p["bh"])
            o = jax.nn.log_softmax(h @ p["Wy"] + p["by"])
            return h, -jnp.take_along_axis(o, y[:, None], 1).sum()
        return jax.lax.scan(cell, h0, (X, Y))[1].sum()
    run = jax.jit(jax.value_and_grad(loss))
    p = {k: jnp.asarray(v) for k, v in P.items()}

    def step():
        value, g = run(p)
        jax.block_until_ready(g)
        return value, g
    return step


def elman_nn(X, Y, P):
    torch = torch_or_none()
    T, B, V = X.shape
    H = P["Wh"].shape[0]
    rnn = torch.nn.RNN(V, H)
    X, Y = torch.tensor(X), torch.tensor(Y)
    rnn = rnn.to(X.dtype)
    Wy, by = (torch.tensor(P[k], requires_grad=True) for k in ("Wy", "by"))
    with torch.no_grad():
        for q, value in ((rnn.weight_ih_l0, P["Wx"].T), (rnn.weight_hh_l0, P["Wh"].T), (rnn.bias_ih_l0, P["bh"]), (rnn.bias_hh_l0, 0 * P["bh"])):
            q.copy_(torch.tensor(value))
    own = dict(Wx=rnn.weight_ih_l0, Wh=rnn.weight_hh_l0, bh=rnn.bias_ih_l0, Wy=Wy, by=by, b2=rnn.bias_hh_l0)

    def step():
        for q in own.values():
            q.grad = None
        h, _ = rnn(X)
        loss = torch.nn.functional.cross_entropy((h @ Wy + by).reshape(-1, V), Y.reshape(-1), reduction="sum")
        loss.backward()
        return loss, {k: own[k].grad.T if k in ("Wx", "Wh") else own[k].grad for k in P}
    return step


# -- LSTM, gates packed, loss a given cotangent times the outputs -----------------------------------------------------
def lstm_scan(X, G, P):
    cell = mg.LSTMCell(X.shape[2], G.shape[2], rng=np.random.default_rng(0), dtype=X.dtype)
    cell.load_state_dict({"W_x": P["Wx"], "W_h": P["Wh"], "b": P["b"]})
    own = cell.parameters()
    p = dict(Wx=own["W_x"], Wh=own["W_h"], b=own["b"])
    X, G = mg.Tensor(X), mg.Tensor(G)               # once, as the peers have theirs

    def step():
        ys, _ = scan(cell, X)
        return _gradients((G * ys).sum(), p)
    return step


def lstm_jax(X, G, P):
    jax = jax_or_none()
    jnp = jax.numpy
    X, G = jnp.asarray(X), jnp.asarray(G)
    H = G.shape[2]
    zero = jnp.zeros((X.shape[1], H), X.dtype)

    def loss(p):
        def cell(state, x):
            h, c = state
            z = x @ p["Wx"] + h @ p["Wh"] + p["b"]
            i, f, o = (jax.nn.sigmoid(z[:, a:b]) for a, b in ((0, H), (H, 2 * H), (3 * H, 4 * H)))
            c = f * c + i * jnp.tanh(z[:, 2 * H:3 * H])
            h = o * jnp.tanh(c)
            return (h, c), h
        return (G * jax.lax.scan(cell, (zero, zero), X)[1]).sum()
    run = jax.jit(jax.value_and_grad(loss))
    p = {k: jnp.asarray(v) for k, v in P.items()}

    def step():
        value, g = run(p)
        jax.block_until_ready(g)
        return value, g
    return step


def lstm_nn(X, G, P):
    torch = torch_or_none()
    lstm = torch.nn.LSTM(X.shape[2], G.shape[2])
    X, G = torch.tensor(X), torch.tensor(G)
    lstm = lstm.to(X.dtype)
    with torch.no_grad():
        for q, value in ((lstm.weight_ih_l0, P["Wx"].T), (lstm.weight_hh_l0, P["Wh"].T), (lstm.bias_ih_l0, P["b"]), (lstm.bias_hh_l0, 0 * P["b"])):
            q.copy_(torch.tensor(value))
    own = dict(Wx=lstm.weight_ih_l0, Wh=lstm.weight_hh_l0, b=lstm.bias_ih_l0, b2=lstm.bias_hh_l0)

    def step():
        for q in own.values():
            q.grad = None
        h, _ = lstm(X)
        loss = (G * h).sum()
        loss.backward()
        return loss, {k: own[k].grad.T if k != "b" else own[k].grad for k in P}
    return step


# -- other cells: the same step in JAX, in torch and in ours ----------------------------------------------------------
def gru(xp, p, x, s):
    (h,), H = s, p["W_h"].shape[0]
    a, u = x @ p["W_x"] + p["b_x"], h @ p["W_h"] + p["b_h"]
    rz = xp.sigmoid(a[:, :2 * H] + u[:, :2 * H])
    n = xp.tanh(a[:, 2 * H:] + rz[:, :H] * u[:, 2 * H:])
    return (n + rz[:, H:] * (h - n),)


def mgu(xp, p, x, s):
    (h,), H = s, p["W_h"].shape[0]
    a = x @ p["W_x"] + p["b"]
    f = xp.sigmoid(a[:, :H] + h @ p["W_h"][:, :H])
    return (h + f * (xp.tanh(a[:, H:] + (f * h) @ p["W_h"][:, H:]) - h),)


def cornn(xp, p, x, s):
    h, z = s
    z = z + 0.042 * (xp.tanh(x @ p["W_x"] + z @ p["W_z"] + h @ p["W_h"] + p["b"]) - 2.7 * h - 4.7 * z)
    return h + 0.042 * z, z


def lem(xp, p, x, s):
    (y, z), H = s, p["W_z"].shape[0]
    a, u = x @ p["W_x"] + p["b"], y @ p["W_y"]
    steps = xp.sigmoid(a[:, :2 * H] + u[:, :2 * H])
    delta, gamma = steps[:, :H], steps[:, H:]
    z = (1 - delta) * z + delta * xp.tanh(a[:, 2 * H:3 * H] + u[:, 2 * H:])
    return (1 - gamma) * y + gamma * xp.tanh(a[:, 3 * H:] + z @ p["W_z"]), z


CELLS = {"GRU": (gru, "GRUCell"), "MGU": (mgu, "MGUCell"), "coRNN": (cornn, "CoRNNCell"), "LEM": (lem, "LEMCell")}


def cell_steps(name, D, H, T, B):
    """name -> step function for one of CELLS, float32, loss a given cotangent times the outputs."""
    step_of, ours = CELLS[name]
    rng = np.random.default_rng(0)
    cell = getattr(mg, ours)(D, H, rng=rng, dtype=np.float32)
    X, G = (rng.standard_normal((T, B, n)).astype(np.float32) for n in (D, H))
    G /= np.float32(T * B)
    p = cell.parameters()
    states = len(cell.initial_state(B)) if isinstance(cell.initial_state(B), tuple) else 1
    Xm, Gm = mg.Tensor(X), mg.Tensor(G)             # once, as the peers have theirs
    steps = {"unroll": lambda: _gradients((mg.unroll(cell, Xm)[0] * Gm).sum(), p),
             "scan": lambda: _gradients((scan(cell, Xm)[0] * Gm).sum(), p)}
    if jax := jax_or_none():
        jnp = jax.numpy

        class xp:
            tanh, sigmoid = jnp.tanh, jax.nn.sigmoid

        def loss(q):
            def body(s, x):
                s = step_of(xp, q, x, s)
                return s, s[0]
            start = tuple(jnp.zeros((B, H), X.dtype) for _ in range(states))
            return (jnp.asarray(G) * jax.lax.scan(body, start, jnp.asarray(X))[1]).sum()
        run, arrays = jax.jit(jax.value_and_grad(loss)), {k: jnp.asarray(v.data) for k, v in p.items()}
        steps["jax"] = lambda: jax.block_until_ready(run(arrays))
    if torch := torch_or_none():
        q = {k: torch.tensor(v.data, requires_grad=True) for k, v in p.items()}
        Xt, Gt = torch.tensor(X), torch.tensor(G)

        def eager():
            s, total = tuple(torch.zeros((B, H)) for _ in range(states)), 0.0
            for x, g in zip(Xt, Gt):
                s = step_of(torch, q, x, s)
                total = total + (g * s[0]).sum()
            return _gradients(total, q)
        steps["torch"] = eager
    return steps


def with_numba(row):
    """A row whose ``scan`` has loops of Numba's (the extra ``speed``), if it is installed."""
    label, T, dtype, steps = row
    ours = steps["scan"]
    own = collections.OrderedDict(), collections.OrderedDict()

    def step():                                         # with programs of its own
        others = call._programs, call._told
        (call._programs, call._told), asked, speed.asked = own, speed.asked, "numba"
        try:
            return ours()
        finally:
            (call._programs, call._told), speed.asked = others, asked
    if importlib.util.find_spec("numba"):
        yield f"{label} Numba", T, dtype, {**steps, "scan": step}


def cases():
    """Yield (label, T, dtype, opponents) for every row of the table."""
    peers = {"jax": jax_or_none() is not None, "torch": torch_or_none() is not None}
    for model, rows, inputs in (("elman", ELMAN, reference.elman_inputs), ("lstm", LSTM, reference.lstm_inputs)):
        for a, b, T, B, dtype in rows:
            arrays = inputs(a, b, T, B, dtype)
            makers = {"plain": getattr(reference, f"{model}_plain"), "expert": getattr(reference, f"{model}_expert"),
                      "jax": globals()[f"{model}_jax"], "torch": globals()[f"{model}_nn"], "scan": globals()[f"{model}_scan"]}
            row = (f"{model} {a},{b},{T},{B} {dtype}", T, dtype,
                   {name: make(*arrays) for name, make in makers.items() if peers.get(name, True)})
            yield row
            if B == 1:
                yield from with_numba(row)
    for name in CELLS:
        for B in (32, 1):
            row = f"{name} 64,128,50,{B} float32", 50, "float32", cell_steps(name, 64, 128, 50, B)
            yield row
            if B == 1:
                yield from with_numba(row)


def tracing():
    """How long it takes until the program of a call is found: arguments in form, the cell told by its code or run along its tape."""
    V, H, T, B, dtype = ELMAN[0]
    X, Y, P = reference.elman_inputs(V, H, T, B, dtype)
    result, micro = (mg.Tensor(np.zeros(T)), None), []
    for told in (call.told, lambda *cell: None):
        step = elman_scan(X, Y, P, gradients=lambda loss, p: None)
        with mock.patch.object(call, "told", told):
            step()
            with mock.patch.object(call._Call, "run", lambda self, program, bound: result):
                micro.append(interleaved({"scan": step}, rounds=5, seconds=0.05)["scan"] * 1e6)
    print(f"\nof each call, until its program is found (Elman with cross-entropy): {micro[0]:.1f} µs, the cell told by its code; "
          f"{micro[1]:.1f} µs, run along its tape")


def products():
    """The least that an LSTM's step costs in NumPy: its five matrix products, each as fast as BLAS has it, whole or in blocks."""
    D, H, T, B, dtype = LSTM[0]
    rng = np.random.default_rng(0)
    x, h, da = (rng.standard_normal((T * B, n)).astype(dtype) for n in (D, H, 4 * H))
    W, U = (rng.standard_normal((n, 4 * H)).astype(dtype) for n in (D, H))

    def fastest(a, W):
        """a @ W for each of the T steps, in the fastest of four ways."""
        steps, n = a.reshape(T, B, -1), W.shape[1]
        ways = {}
        for k in (1, 2, 4, 8):
            blocks, out = np.ascontiguousarray(W.reshape(len(W), k, n // k).swapaxes(0, 1)), np.empty((k, B, n // k), dtype)
            ways[k] = lambda blocks=blocks, out=out: [np.matmul(step, blocks, out) for step in steps]
        return min(interleaved(ways, rounds=5, seconds=0.02).values())
    over_time = {"xᵀ da": lambda: x.T.dot(da), "hᵀ da": lambda: h.T.dot(da)}
    seconds = fastest(x, W) + fastest(h, U) + fastest(da, np.ascontiguousarray(U.T)) + sum(
        interleaved(over_time, rounds=5, seconds=0.02).values())
    print(f"the matrix products of lstm {D},{H},{T},{B} alone: {seconds * 1e6:.0f} µs")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: a look, not a measurement")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the rows whose label contains TEXT")
    options = parser.parse_args()
    effort = dict(rounds=5, seconds=0.03) if options.quick else dict(rounds=11, seconds=0.1)
    print(versions())
    names = ("plain", "expert", "jax", "torch", "unroll")
    tracing()
    products()
    print(f"\n{'µs per call':34s}" + "".join(f"{n:>9s}" for n in (*names, "scan")) + "  | scan against" + "".join(f"{n:>8s}" for n in names))
    for label, T, dtype, steps in cases():
        if options.only not in label:
            continue
        expected = {name: np.array(array) for name, array in steps.get("plain", steps.get("unroll"))()[1].items()}
        errors = {name: difference(step()[1], expected) for name, step in steps.items()}
        worst = max(errors, key=errors.get)
        if not errors[worst] <= AGREES[dtype]:
            sys.exit(f"{label}: the gradients of {worst} differ from plain's by {errors[worst]:.1e}; nothing was timed")
        micro = {name: value * 1e6 for name, value in interleaved(steps, **effort).items()}
        print(f"{label:34s}" + "".join(f"{micro[n]:9.1f}" if n in micro else f"{'–':>9s}" for n in (*names, "scan")) + "  |             "
              + "".join(f"{micro['scan'] / micro[n]:8.2f}" if n in micro else f"{'–':>8s}" for n in names), flush=True)


if __name__ == "__main__":
    main()
