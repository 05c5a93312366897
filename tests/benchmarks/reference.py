"""The opponents of the speed benchmarks: hand-written BPTT in NumPy, one training step each (loss, all gradients).

``plain`` is what a careful person writes: one loop forward, one loop back. ``expert`` hoists every product that does
not depend on the state out of the loops, gathers weight gradients into one product, and preallocates. They define the
words "plain" and "expert" wherever a time is compared with one of them; change nothing here.

Elman: h_t = tanh(x_t Wx + h_{t-1} Wh + bh), o_t = h_t Wy + by, L = sum over t and rows of softmax cross-entropy.
LSTM (gates i, f, g, o packed): L = sum of G * h, G a given cotangent.
Shapes: X (T, B, D) dense (one-hot for Elman, D = V), Y (T, B) integers, Wx (D, H) or (D, 4H), Wh (H, H) or (H, 4H).
"""
import numpy as np


def elman_inputs(V, H, T, B, dtype, seed=0):
    """One-hot inputs, next-character targets and parameters."""
    rng, f = np.random.default_rng(seed), np.dtype(dtype)
    ids = rng.integers(0, V, (T + 1, B))
    P = dict(Wx=(rng.standard_normal((V, H)) / np.sqrt(V)).astype(f),
             Wh=(rng.standard_normal((H, H)) / np.sqrt(H)).astype(f), bh=np.zeros(H, f),
             Wy=(rng.standard_normal((H, V)) / np.sqrt(H)).astype(f), by=np.zeros(V, f))
    return np.eye(V, dtype=f)[ids[:-1]], ids[1:], P


def elman_plain(X, Y, P):
    T, B, _ = X.shape
    Wx, Wh, bh, Wy, by = (P[k] for k in ("Wx", "Wh", "bh", "Wy", "by"))
    h0 = np.zeros((B, Wh.shape[0]), Wh.dtype)
    rows = np.arange(B)

    def step():
        hs, ps, loss = [h0], [], 0.0
        for t in range(T):
            h = np.tanh(X[t] @ Wx + hs[-1] @ Wh + bh)
            hs.append(h)
            o = h @ Wy + by
            o = o - o.max(1, keepdims=True)
            e = np.exp(o)
            s = e.sum(1, keepdims=True)
            loss -= (o[rows, Y[t]] - np.log(s[:, 0])).sum()
            ps.append(e / s)
        g = {k: np.zeros_like(v) for k, v in P.items()}
        carry = np.zeros_like(h0)
        for t in range(T - 1, -1, -1):
            do = ps[t].copy()
            do[rows, Y[t]] -= 1
            g["Wy"] += hs[t + 1].T @ do
            g["by"] += do.sum(0)
            dh = do @ Wy.T + carry
            da = (1 - hs[t + 1] ** 2) * dh
            g["bh"] += da.sum(0)
            g["Wx"] += X[t].T @ da
            g["Wh"] += hs[t].T @ da
            carry = da @ Wh.T
        return loss, g
    return step


def elman_expert(X, Y, P):
    T, B, V = X.shape
    Wx, Wh, bh, Wy, by = (P[k] for k in ("Wx", "Wh", "bh", "Wy", "by"))
    H, f = Wh.shape[0], Wh.dtype
    N = T * B
    ids, targets, rows = X.argmax(2).reshape(-1), Y.reshape(-1), np.arange(N)
    A, hs, u = np.empty((T, B, H), f), np.zeros((T + 1, B, H), f), np.empty((B, H), f)
    D, dH, Z = np.empty((T, B, H), f), np.empty((T, B, H), f), np.empty((N, V), f)
    g = {k: np.empty_like(v) for k, v in P.items()}

    def step():
        np.take(Wx, ids, axis=0, out=A.reshape(N, H), mode="clip")
        np.add(A, bh, out=A)
        for t in range(T):
            np.matmul(hs[t], Wh, out=u)
            np.add(u, A[t], out=u)
            np.tanh(u, out=hs[t + 1])
        np.matmul(hs[1:].reshape(N, H), Wy, out=Z)
        np.add(Z, by, out=Z)
        np.subtract(Z, Z.max(1, keepdims=True), out=Z)
        picked = Z[rows, targets].sum()
        np.exp(Z, out=Z)
        s = Z.sum(1, keepdims=True)
        loss = np.log(s).sum() - picked
        np.divide(Z, s, out=Z)
        Z[rows, targets] -= 1
        np.matmul(hs[1:].reshape(N, H).T, Z, out=g["Wy"])
        Z.sum(0, out=g["by"])
        np.matmul(Z, Wy.T, out=dH.reshape(N, H))
        np.multiply(hs[1:], hs[1:], out=A)
        np.subtract(1, A, out=A)
        WhT = Wh.T
        np.multiply(dH[T - 1], A[T - 1], out=D[T - 1])
        for t in range(T - 2, -1, -1):
            np.matmul(D[t + 1], WhT, out=u)
            np.add(u, dH[t], out=u)
            np.multiply(u, A[t], out=D[t])
        rowsD = D.reshape(N, H)
        np.matmul(hs[:-1].reshape(N, H).T, rowsD, out=g["Wh"])
        rowsD.sum(0, out=g["bh"])
        np.matmul(X.reshape(N, V).T, rowsD, out=g["Wx"])
        return loss, g
    return step


def lstm_inputs(D, H, T, B, dtype, seed=0):
    """Inputs X (T, B, D), cotangent G (T, B, H) and parameters."""
    rng, f = np.random.default_rng(seed), np.dtype(dtype)
    P = dict(Wx=(rng.standard_normal((D, 4 * H)) / np.sqrt(D)).astype(f),
             Wh=(rng.standard_normal((H, 4 * H)) / np.sqrt(H)).astype(f), b=np.zeros(4 * H, f))
    return rng.standard_normal((T, B, D)).astype(f), rng.standard_normal((T, B, H)).astype(f) / f.type(T * B), P


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_plain(X, G, P):
    T, B, _ = X.shape
    Wx, Wh, b = P["Wx"], P["Wh"], P["b"]
    H, f = Wh.shape[0], Wh.dtype

    def step():
        h = c = np.zeros((B, H), f)
        saved, loss = [], 0.0
        for t in range(T):
            z = X[t] @ Wx + h @ Wh + b
            i, fg, o = _sigmoid(z[:, :H]), _sigmoid(z[:, H:2 * H]), _sigmoid(z[:, 3 * H:])
            g = np.tanh(z[:, 2 * H:3 * H])
            c2 = fg * c + i * g
            tc = np.tanh(c2)
            saved.append((h, c, i, fg, g, o, tc))
            h, c = o * tc, c2
            loss += (G[t] * h).sum()
        dWx, dWh, db = np.zeros_like(Wx), np.zeros_like(Wh), np.zeros_like(b)
        dh = dc = np.zeros((B, H), f)
        for t in range(T - 1, -1, -1):
            h, c, i, fg, g, o, tc = saved[t]
            dh = dh + G[t]
            dc = dc + dh * o * (1 - tc * tc)
            dz = np.concatenate([dc * g * i * (1 - i), dc * c * fg * (1 - fg),
                                 dc * i * (1 - g * g), dh * tc * o * (1 - o)], 1)
            dWx += X[t].T @ dz
            dWh += h.T @ dz
            db += dz.sum(0)
            dh, dc = dz @ Wh.T, dc * fg
        return loss, dict(Wx=dWx, Wh=dWh, b=db)
    return step


def lstm_expert(X, G, P):
    T, B, D = X.shape
    Wx, Wh, b = P["Wx"], P["Wh"], P["b"]
    H, f = Wh.shape[0], Wh.dtype
    N, half = T * B, f.type(0.5)
    Z, L, DZ = (np.empty((T, B, 4 * H), f) for _ in range(3))
    hs, cs, tcs = np.zeros((T + 1, B, H), f), np.zeros((T + 1, B, H), f), np.empty((T, B, H), f)
    w, u, dh, dc = np.empty((B, 4 * H), f), np.empty((B, H), f), np.empty((B, H), f), np.empty((B, H), f)
    g_ = {k: np.empty_like(v) for k, v in P.items()}
    gate = [slice(k * H, (k + 1) * H) for k in range(4)]

    def step():
        np.matmul(X.reshape(N, D), Wx, out=Z.reshape(N, 4 * H))
        np.add(Z, b, out=Z)
        for t in range(T):
            z = Z[t]
            np.matmul(hs[t], Wh, out=w)
            np.add(z, w, out=z)
            a, o = z[:, :2 * H], z[:, 3 * H:]
            np.multiply(a, half, out=a)
            np.multiply(o, half, out=o)
            np.tanh(z, out=z)
            for s in (a, o):
                np.multiply(s, half, out=s)
                np.add(s, half, out=s)
            np.multiply(z[:, gate[1]], cs[t], out=cs[t + 1])
            np.multiply(z[:, gate[0]], z[:, gate[2]], out=u)
            np.add(cs[t + 1], u, out=cs[t + 1])
            np.tanh(cs[t + 1], out=tcs[t])
            np.multiply(o, tcs[t], out=hs[t + 1])
        loss = np.vdot(G, hs[1:])
        i, fg, g, o = (Z[:, :, s] for s in gate)
        Li, Lf, Lg, Lo = (L[:, :, s] for s in gate)
        np.subtract(1, i, out=Li), np.multiply(Li, i, out=Li), np.multiply(Li, g, out=Li)
        np.subtract(1, fg, out=Lf), np.multiply(Lf, fg, out=Lf), np.multiply(Lf, cs[:-1], out=Lf)
        np.multiply(g, g, out=Lg), np.subtract(1, Lg, out=Lg), np.multiply(Lg, i, out=Lg)
        np.subtract(1, o, out=Lo), np.multiply(Lo, o, out=Lo), np.multiply(Lo, tcs, out=Lo)
        np.multiply(tcs, tcs, out=tcs), np.subtract(1, tcs, out=tcs), np.multiply(tcs, o, out=tcs)
        dh[...] = 0
        dc[...] = 0
        WhT = np.ascontiguousarray(Wh.T)
        for t in range(T - 1, -1, -1):
            np.add(dh, G[t], out=dh)
            np.multiply(dh, tcs[t], out=u)
            np.add(dc, u, out=dc)
            dz = DZ[t]
            np.multiply(dc[:, None, :], L[t].reshape(B, 4, H)[:, :3], out=dz.reshape(B, 4, H)[:, :3])
            np.multiply(dh, Lo[t], out=dz[:, gate[3]])
            np.matmul(dz, WhT, out=dh)
            np.multiply(dc, fg[t], out=dc)
        rows = DZ.reshape(N, 4 * H)
        np.matmul(X.reshape(N, D).T, rows, out=g_["Wx"])
        np.matmul(hs[:-1].reshape(N, H).T, rows, out=g_["Wh"])
        rows.sum(0, out=g_["b"])
        return loss, g_
    return step
