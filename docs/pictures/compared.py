"""The same five networks drawn by torchviz, torchview, TorchLens and minigrad: pictures side by side, and what can be counted on them.

    python docs/pictures/compared.py [FOLDER]         (needs torch, torchviz, torchview, torchlens, networkx, pillow, graphviz's dot)

All pictures are laid out by the tool, rendered by graphviz, and counted from graphviz's own JSON by the same code. Counted are

    crossings   points where two arrows cross that have no shape in common
    overlaps    shapes that lie on shapes, arrows that run through shapes, arrows shorter than 8 points
    sideways    of the pairs of tanh of which one is computed from the other, how many stand side by side rather than above each other
"""
import io
import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np

import minigrad as mg

T, D, H = 4, 3, 4
NETWORKS = ("RNN", "GRU", "LSTM", "stacked", "bidirectional")
TOOLS = ("torchviz", "torchview", "TorchLens", "minigrad")


# ---- the networks, as one would write them in either --------------------------------------------------------------------

def cells(kind):
    """What our picture is of."""
    rng = np.random.default_rng(0)
    cell = {"RNN": mg.RNNCell, "GRU": mg.GRUCell, "LSTM": mg.LSTMCell}.get(kind)
    if cell:
        return cell(D, H, rng=rng)
    pair = (mg.RNNCell(D, H, rng=rng), mg.RNNCell(H if kind == "stacked" else D, H, rng=rng))
    return mg.stacked(*pair) if kind == "stacked" else mg.bidirectional(*pair)


def ours(kind):
    """Graphviz's source of minigrad's picture."""
    xs = np.random.default_rng(1).standard_normal((T, 1, D))
    cell = cells(kind)
    ys = (cell(xs) if kind == "bidirectional" else mg.unroll(cell, xs))[0]
    loss = (ys * ys).sum()
    return mg.draw(loss).dot


def module(kind):
    """The same network as a torch module: the equations of the cell written out, a loop over the steps."""
    import torch
    from torch import nn

    class RNN(nn.Module):
        gates = 1

        def __init__(self, size=D):
            super().__init__()
            g = self.gates * H
            self.W_x, self.W_h = nn.Parameter(torch.randn(size, g)), nn.Parameter(torch.randn(H, g))
            self.b = nn.Parameter(torch.randn(g))

        def start(self):
            return torch.zeros(1, H)

        def forward(self, x, h):
            h = torch.tanh(x @ self.W_x + h @ self.W_h + self.b)
            return h, h

    class GRU(RNN):
        gates = 3

        def __init__(self):
            super().__init__()
            self.b_n = nn.Parameter(torch.randn(H))

        def forward(self, x, h):
            a, u = x @ self.W_x + self.b, h @ self.W_h
            r, z = torch.sigmoid(a[:, :H] + u[:, :H]), torch.sigmoid(a[:, H:2 * H] + u[:, H:2 * H])
            n = torch.tanh(a[:, 2 * H:] + r * (u[:, 2 * H:] + self.b_n))
            h = (1 - z) * n + z * h
            return h, h

    class LSTM(RNN):
        gates = 4

        def start(self):
            return torch.zeros(1, H), torch.zeros(1, H)

        def forward(self, x, state):
            h, c = state
            a = x @ self.W_x + h @ self.W_h + self.b
            i, f, o = (torch.sigmoid(a[:, s]) for s in (slice(0, H), slice(H, 2 * H), slice(3 * H, None)))
            c = f * c + i * torch.tanh(a[:, 2 * H:3 * H])
            h = o * torch.tanh(c)
            return h, (h, c)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            own = {"RNN": RNN, "GRU": GRU, "LSTM": LSTM}.get(kind)
            self.cells = nn.ModuleList([own()] if own else [RNN(), RNN(H if kind == "stacked" else D)])

        def forward(self, xs):
            if kind == "bidirectional":
                there, back = [], []
                h, g = (cell.start() for cell in self.cells)
                for t in range(T):
                    y, h = self.cells[0](xs[t], h)
                    there.append(y)
                for t in reversed(range(T)):
                    y, g = self.cells[1](xs[t], g)
                    back.append(y)
                ys = torch.cat([torch.stack(there), torch.stack(back[::-1])], -1)
            else:
                states, ys = [cell.start() for cell in self.cells], []
                for t in range(T):
                    y = xs[t]
                    for n, cell in enumerate(self.cells):
                        y, states[n] = cell(y, states[n])
                    ys.append(y)
                ys = torch.stack(ys)
            return (ys * ys).sum()

    return Network(), torch.randn(T, 1, D)


def theirs(tool, kind):
    """Graphviz's source of another tool's picture, all operations shown."""
    network, xs = module(kind)
    if tool == "torchviz":
        import torchviz
        return torchviz.make_dot(network(xs), params=dict(network.named_parameters())).source
    if tool == "torchview":
        import torchview
        return torchview.draw_graph(network, input_data=xs, expand_nested=True, hide_module_functions=False).visual_graph.source
    import tempfile

    import torchlens
    with tempfile.TemporaryDirectory() as folder:
        drawn = torchlens.trace(network, xs).draw(vis_outpath=f"{folder}/picture", vis_fileformat="svg", vis_save_only=True)
        return drawn if isinstance(drawn, str) else drawn.source


# ---- counting -----------------------------------------------------------------------------------------------------------

def rendered(source, form, positions):
    """What graphviz makes of a source; `positions`: they are in it."""
    how = ["-Kneato", "-n2"] if positions else ["-Kdot"]
    return subprocess.run(["dot", *how, f"-T{form}"], input=source.encode(), capture_output=True, check=True, timeout=120).stdout


def placed(source, positions):
    """({name: (left, low, right, high, label)}, [(tail, head, polyline)]) as graphviz draws them."""
    content = json.loads(rendered(source, "json", positions))
    shapes, arrows = {}, []
    for thing in content.get("objects", []):
        if "pos" in thing and "nodes" not in thing and not (positions and thing["name"][0] in "tpe"):
            x, y = map(float, thing["pos"].split(","))
            w, h = (72 * float(thing[side]) / 2 for side in ("width", "height"))
            shapes[thing["_gvid"]] = (x - w, y - h, x + w, y + h, thing.get("label", "") + thing["name"])
    for edge in content.get("edges", []):
        if edge.get("style") == "invis":
            continue
        points, ends = [], {}
        for word in edge["pos"].split():
            if word[:2] in ("e,", "s,"):
                ends[word[0]] = tuple(map(float, word[2:].split(",")))
            else:
                points.append(tuple(map(float, word.split(","))))
        line = [points[0]]
        for a, b, c, d in zip(points[0::3], points[1::3], points[2::3], points[3::3]):
            for k in range(1, 13):
                t = k / 12
                w = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t ** 3)
                line.append(tuple(sum(f * p[n] for f, p in zip(w, (a, b, c, d))) for n in (0, 1)))
        line = ([ends["s"]] if "s" in ends else []) + line + ([ends["e"]] if "e" in ends else [])
        arrows.append((edge["tail"], edge["head"], np.array(line)))
    return shapes, arrows


def cross(p, q):
    """Whether two polylines cross."""
    if (p.max(0) < q.min(0)).any() or (q.max(0) < p.min(0)).any():
        return False
    a, b, c, d = p[:-1, None], p[1:, None], q[None, :-1], q[None, 1:]

    def side(u, v, w):
        return np.sign((v[..., 0] - u[..., 0]) * (w[..., 1] - u[..., 1]) - (v[..., 1] - u[..., 1]) * (w[..., 0] - u[..., 0]))

    return bool(((side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)).any())


def counted(source, positions):
    """{what: how many} of one picture."""
    shapes, arrows = placed(source, positions)
    crossings = sum(cross(p, q) for i, (a, b, p) in enumerate(arrows) for c, d, q in arrows[:i] if not {a, b} & {c, d})
    boxes = list(shapes.items())
    overlaps = sum(a[0] < b[2] - .5 and b[0] < a[2] - .5 and a[1] < b[3] - .5 and b[1] < a[3] - .5
                   for i, (_, a) in enumerate(boxes) for _, b in boxes[:i])
    for tail, head, line in arrows:
        overlaps += np.linalg.norm(np.diff(line, axis=0), axis=1).sum() < 8
        for name, (left, low, right, high, _) in boxes:
            inside = ((line > (left + 1, low + 1)) & (line < (right - 1, high - 1))).all(axis=1)
            overlaps += name not in (tail, head) and bool(inside.any())
    return {"shapes": len(shapes), "arrows": len(arrows), "crossings": crossings, "overlaps": int(overlaps),
            "sideways": sideways(shapes, arrows)}


def sideways(shapes, arrows):
    """Of the pairs of tanh that follow each other, how many stand side by side."""
    after = {}
    for tail, head, _ in arrows:
        after.setdefault(tail, set()).add(head)
    marks = {n for n, s in shapes.items() if "tanh" in s[4].lower()}
    pairs, good = 0, 0
    for start in marks:
        seen, open_ = set(), [start]
        while open_:
            for n in after.get(open_.pop(), ()):
                if n in marks and n != start and n not in seen:
                    pairs += 1
                    dx, dy = (sum(shapes[n][k::2][:2]) / 2 - sum(shapes[start][k::2][:2]) / 2 for k in (0, 1))
                    good += abs(dx) > abs(dy)
                if n not in seen and n not in marks:
                    open_.append(n)
                seen.add(n)
    return f"{good} of {pairs}"


# ---- what no drawing could do without -------------------------------------------------------------------------------------

def forced(kind, most=3):
    """(crossings inside our panel of step 2, the fewest that any drawing of that step in a panel needs).

    The panel's border is a cycle, what enters and leaves is tied to it in the order in which we draw it, and one point outside keeps all
    of it inside. If no replacing of k pairs of arrows by crossings makes that planar, no drawing has k.
    """
    from itertools import combinations

    import networkx
    rng = np.random.default_rng(0)
    ys, _ = mg.unroll(cells(kind), rng.standard_normal((3, 1, D)))
    scene = mg.draw((ys * ys).sum()).scene
    panel = next(p for p in scene.panels if p.step == 2)
    inside = {i for i, s in enumerate(scene.shapes) if panel.left < s.x < panel.right and panel.low < s.y < panel.high}
    edges, border, lines = [], {}, []
    for arrow in scene.arrows:
        points, (a, b) = np.array(arrow.points), arrow.ends
        if a in inside and b in inside:
            edges.append((a, b))
            lines.append((a, b, points))
        elif a in inside or b in inside:                        # around the border: left side upwards, top, right side downwards
            x, y = points[-1] if b in inside else points[0]
            top = (scene.shapes[b if a in inside else a].y > panel.high)
            border[(2, x, a) if top else (1, y, b) if b in inside else (3, -y, a)] = b if b in inside else a
    tied = [border[key] for key in sorted(border)]
    edges = list(dict.fromkeys(edges))

    def planar(edges):
        graph = networkx.Graph(edges)
        for i, shape in enumerate(tied):
            graph.add_edges_from([(("border", i), ("border", (i + 1) % len(tied))), (("border", i), shape), (("border", i), "outside")])
        return networkx.check_planarity(graph)[0]

    def with_crossings(edges, k):
        if k == 0:
            return planar(edges)
        return any(with_crossings([g for g in edges if g not in (e, f)] + [(end, ("crossing", k)) for end in (*e, *f)], k - 1)
                   for e, f in combinations(edges, 2) if not set(e) & set(f))

    def sampled(points):
        t = np.linspace(0, 1, 13)[:, None]
        return np.concatenate([(1 - t) ** 3 * p[0] + 3 * t * (1 - t) ** 2 * p[1] + 3 * t * t * (1 - t) * p[2] + t ** 3 * p[3]
                               for p in (points[i:i + 4] for i in range(0, len(points) - 3, 3))])

    lines = [(a, b, sampled(points)) for a, b, points in lines]
    drawn = sum(cross(p, q) for i, (a, b, p) in enumerate(lines) for c, d, q in lines[:i] if not {a, b} & {c, d})
    return drawn, next((k for k in range(most) if with_crossings(edges, k)), f"{most} or more")


# ---- the page's pictures and its table ------------------------------------------------------------------------------------

def board(pictures, width=880, height=560):
    """Four pictures with their names on one sheet."""
    from PIL import Image, ImageDraw, ImageFont
    sheet = Image.new("RGB", (2 * width, 2 * height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(20)
    for n, (name, png) in enumerate(pictures.items()):
        x, y = n % 2 * width, n // 2 * height
        picture = Image.open(io.BytesIO(png)).convert("RGB")
        scale = min((width - 40) / picture.width, (height - 60) / picture.height)
        picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), Image.LANCZOS)
        sheet.paste(picture, (x + (width - picture.width) // 2, y + 45 + (height - 60 - picture.height) // 2))
        pen.text((x + 16, y + 12), name, fill="black", font=font)
        pen.rectangle((x, y, x + width - 1, y + height - 1), outline="#C9CED6")
    return sheet.quantize(128, dither=Image.Dither.NONE)


def main(folder):
    import torch
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    print("| network | tool | shapes | arrows | crossings | overlaps | tanh side by side |\n|---|---|---:|---:|---:|---:|---:|")
    for kind in NETWORKS:
        pictures = {}
        for tool in TOOLS:
            positions = tool == "minigrad"
            source = ours(kind) if positions else theirs(tool, kind)
            found = counted(source, positions)
            print(f"| {kind} | {tool} | " + " | ".join(str(v) for v in found.values()) + " |", flush=True)
            pictures[tool] = rendered(source, "png", positions)
        if kind != "bidirectional":                             # two RNNs
            print(f"| {kind} | one step | | | {' drawn, '.join(map(str, forced(kind)))} needed | | |", flush=True)
        board(pictures).save(Path(folder) / f"compared-{kind.lower()}.png", optimize=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
