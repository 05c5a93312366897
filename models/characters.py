"""A recurrent network learns to write, character by character, by back-propagation through time.

    python -m models characters                       the text of Python's own documentation topics
    python -m models characters book.txt              any UTF-8 text
    python -m models characters --cell LSTMCell --layers 2
    python -m models characters --help                how long, how many hidden units, which cell, where the files go

In order: the entropies to beat, the gradients against a derivation by hand, the unrolled graph as a picture, training
with bits per character on text that is never trained on, a sample, the figures, and what to do next.
"""
import time

START = time.perf_counter()                                       # the clock starts before NumPy is imported

import argparse  # noqa: E402
import inspect  # noqa: E402
import math  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

import minigrad as mg  # noqa: E402

from . import figures  # noqa: E402
from .cell_by_name import Maker  # noqa: E402
from .data import Sequences  # noqa: E402
from .task import BITS, Data, Reference, Task, Unusable, called, find_cell, minibatches, usable  # noqa: E402

STEPS, ROWS = 25, 32                    # T, steps unrolled at once; B, places in the text that are read side by side
LEARNING_RATE = 4e-3                    # falls to 0 as training ends

State = Any                             # a Tensor, or a tuple or dict of them, nested
History = dict[str, tuple[list[float], list[float]]]      # name of a curve -> (steps, bits per character)


# ---- the model -----------------------------------------------------------------------------------------------------

class CharacterModel(mg.Module):
    """h_t = cell(x_t, h_{t-1}),  o_t = h_t W_y + b_y: scores o_t for the character after x_t.

    xs (T, B, V) one-hot -> logits (T, B, V) and the state after the last step.
    """

    def __init__(self, characters: int, hidden: int, *, rng: np.random.Generator, cell: Maker = mg.RNNCell,
                 dtype: type = np.float32, through: Callable[..., Any] = mg.scan) -> None:
        self.through = through                                                  # time: mg.scan, compiled, or mg.unroll, step by step
        self.cell = cell(characters, hidden, rng=rng, dtype=dtype)              # <- your own cell goes here
        bound = 1 / np.sqrt(hidden)
        self.W_y = mg.parameter(rng.uniform(-bound, bound, (hidden, characters)).astype(dtype), name="W_y")
        self.b_y = mg.parameter(np.zeros(characters, dtype), name="b_y")

    def __call__(self, xs: np.ndarray, state: State = None) -> tuple[mg.Tensor, State]:
        hs, state = self.through(self.cell, xs, state)
        T, B, H = hs.shape
        logits = hs.reshape(T * B, H) @ self.W_y + self.b_y
        return logits.reshape(T, B, -1), state


def layered(cell: Maker, layers: int) -> Maker:
    """Makes ``layers`` cells on top of each other where ``cell`` makes one."""
    def make(inputs: int, hidden: int, **options: Any) -> Callable[..., Any]:
        return mg.stacked(*(cell(hidden if layer else inputs, hidden, **options) for layer in range(layers)))
    make.__name__ = f"{layers} layers of {called(cell)}"
    return make if layers > 1 else cell


def step_losses(model: CharacterModel, xs: np.ndarray, targets: np.ndarray, state: State) -> tuple[list[mg.Tensor], list[State]]:
    """The same network as a loop written by hand, with a loss at every step: what the pictures show.

    Returns the list of T losses L_t and the list of T + 1 states h_0 … h_T.
    """
    losses, states = [], [state]
    for x, y in mg.steps(xs, targets):
        h, state = model.cell(x, state)
        o = h @ model.W_y + model.b_y
        L = mg.softmax_cross_entropy(o, y)
        losses.append(L)
        states.append(state)
    return losses, states


# ---- the derivation by hand ----------------------------------------------------------------------------------------

def hand_gradients(W_x: np.ndarray, W_h: np.ndarray, b_h: np.ndarray, W_y: np.ndarray, b_y: np.ndarray, xs: np.ndarray,
                   ys: np.ndarray, h_0: np.ndarray) -> dict[str, np.ndarray]:
    """Back-propagation through time for the Elman network, derived by hand (row vectors). Plain NumPy, no minigrad.

        h_t = tanh(x_t W_x + h_{t-1} W_h + b_h)      o_t = h_t W_y + b_y      ŷ_t = softmax(o_t)
        L   = −(1 / TB) Σ_t Σ_b log ŷ_t[y_t]

    Backwards, with ∂ for ∂L/∂ and the error of a step reaching h_t along two ways, its own loss and the next step:

        ∂o_t = (ŷ_t − y_t) / TB
        ∂h_t = ∂o_t W_yᵀ + ∂a_{t+1} W_hᵀ             a_t is the argument of tanh; ∂a_{T+1} = 0
        ∂a_t = ∂h_t ⊙ (1 − h_t²)
        ∂W_y = Σ_t h_tᵀ ∂o_t      ∂W_h = Σ_t h_{t-1}ᵀ ∂a_t      ∂W_x = Σ_t x_tᵀ ∂a_t
        ∂b_y = Σ_t Σ_b ∂o_t       ∂b_h = Σ_t Σ_b ∂a_t           ∂h_0 = ∂a_1 W_hᵀ

    xs (T, B, V), ys (T, B) integers, h_0 (B, H). Returns a dict with the names above.
    """
    T, B, V = xs.shape
    h = [h_0]
    for x in xs:
        h.append(np.tanh(x @ W_x + h[-1] @ W_h + b_h))
    dW_x, dW_h, db_h, dW_y, db_y = (np.zeros_like(p) for p in (W_x, W_h, b_h, W_y, b_y))
    from_next_step = np.zeros_like(h_0)
    for t in range(T, 0, -1):
        o = h[t] @ W_y + b_y
        e = np.exp(o - o.max(axis=1, keepdims=True))
        do = (e / e.sum(axis=1, keepdims=True) - np.eye(V)[ys[t - 1]]) / (T * B)
        dh = do @ W_y.T + from_next_step
        da = dh * (1 - h[t] ** 2)
        dW_y += h[t].T @ do
        db_y += do.sum(axis=0)
        dW_h += h[t - 1].T @ da
        dW_x += xs[t - 1].T @ da
        db_h += da.sum(axis=0)
        from_next_step = da @ W_h.T
    return {"W_x": dW_x, "W_h": dW_h, "b_h": db_h, "W_y": dW_y, "b_y": db_y, "h_0": from_next_step}


def check_gradients(ids: np.ndarray, V: int, cell: Maker, seed: int = 0, T: int = 5, B: int = 3, H: int = 8) -> mg.check.Report:
    """minigrad's gradients on the first B snippets of the text against hand_gradients, in float64. Returns a Report.

    A probe that hides nothing: weights of size 0.7, biases and h_0 not zero, all sizes different.
    A cell other than RNNCell has no derivation here, so the complex step stands in for the hand.
    """
    rng = np.random.default_rng(seed)
    model = CharacterModel(V, H, rng=rng, cell=cell, dtype=np.float64)
    for p in model.parameters().values():
        p.data = 0.7 * rng.standard_normal(p.shape)
    snippets = np.resize(ids, (B, T + 1)).T
    xs, ys = np.eye(V)[snippets[:-1]], snippets[1:]
    if type(model.cell) is not mg.RNNCell:
        report = mg.check.gradcheck(lambda: mg.softmax_cross_entropy(model(xs)[0], ys), model)
        name = " under ".join(type(layer).__name__ for layer in getattr(model.cell, "cells", [model.cell]))
        report.title = f"gradients of {name}: minigrad (yours) against the complex step (reference)"
        return report
    h_0 = mg.parameter(0.7 * rng.standard_normal((B, H)), name="h_0")
    parameters = {"W_x": model.cell.W_x, "W_h": model.cell.W_h, "b_h": model.cell.b,
                  "W_y": model.W_y, "b_y": model.b_y, "h_0": h_0}
    loss = mg.softmax_cross_entropy(model(xs, h_0)[0], ys)
    engine = dict(zip(parameters, mg.grad(loss, list(parameters.values()))))
    by_hand = hand_gradients(**{k: p.data for k, p in parameters.items() if k != "h_0"}, xs=xs, ys=ys, h_0=h_0.data)
    report = mg.check.compare(by_hand, engine)
    report.title = f"gradients by hand (yours) against minigrad (reference), float64, T={T} B={B} H={H} V={V}"
    return report


# ---- the text ------------------------------------------------------------------------------------------------------

def read_text(path: str | None = None) -> str:
    """The file's text, or the topics of Python's own documentation."""
    if path is None:
        from pydoc_data.topics import topics
        return "".join(topics.values())
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise Unusable(f"cannot read {path}: {error.strerror}; give the path of a UTF-8 text file") from None
    except UnicodeDecodeError as error:
        raise Unusable(f"{path} is not UTF-8: byte 0x{error.object[error.start]:02x} at position {error.start}; "
                       f"convert it first, for example: iconv -f latin1 -t utf-8 {path} > text.txt") from None


def encode(text: str) -> tuple[np.ndarray, str]:
    """The text as integers, and the characters they stand for."""
    if not text:
        raise Unusable("the text is empty; give a file with a few thousand characters or more")
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    characters, ids = np.unique(codes, return_inverse=True)
    if len(characters) < 2:
        raise Unusable(f"the text has one distinct character, {text[0]!r}, so there is nothing to predict; "
                       "give another file")
    if len(ids) < 2 * (STEPS + 1):
        raise Unusable(f"the text has {len(ids)} characters, and at least {2 * (STEPS + 1)} are needed; "
                       "give a longer file")
    return ids.ravel(), "".join(map(chr, characters))


def entropies(train: np.ndarray, test: np.ndarray, V: int) -> tuple[float, float]:
    """Bits per character of ``test`` after its first, by unigram and bigram counts of ``train``, one added to each."""
    before, after = test[:-1], test[1:]
    unigram = (np.bincount(train, minlength=V)[after] + 1) / (len(train) + V)
    pairs, counts = np.unique(train[:-1] * V + train[1:], return_counts=True)
    place = np.minimum(np.searchsorted(pairs, before * V + after), len(pairs) - 1)
    seen = np.where(pairs[place] == before * V + after, counts[place], 0)
    bigram = (seen + 1) / (np.bincount(train[:-1], minlength=V)[before] + V)
    return -np.mean(np.log2(unigram)), -np.mean(np.log2(bigram))


def side_by_side(ids: np.ndarray) -> int:
    """In how many places the text is read: in each there is room for a batch."""
    return max(1, min(ROWS, len(ids) // (STEPS + 1)))


def batches(ids: np.ndarray, V: int, progress: Callable[[], float]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(xs, targets) of STEPS steps each. Row b reads its own stretch of the text, on and on, until progress() ≥ 1."""
    rows = side_by_side(ids)
    length = len(ids) // rows
    streams, one_hot = ids[:rows * length].reshape(rows, length).T, np.eye(V, dtype=np.float32)
    while True:
        for start in range(0, length - STEPS, STEPS):
            window = streams[start:start + STEPS + 1]
            yield one_hot[window[:-1]], window[1:]
            if progress() >= 1:
                return


def bits_per_character(model: CharacterModel, ids: np.ndarray, V: int, rows: int = 64, chunk: int = 50) -> float:
    """The model's bits per character of ``ids`` after the first of each row; the text is read in rows side by side."""
    rows = max(1, min(rows, len(ids) // 50))
    window, one_hot = ids[:len(ids) // rows * rows].reshape(rows, -1).T, np.eye(V, dtype=np.float32)
    total, state = 0.0, None
    with mg.no_grad():
        for start in range(0, len(window) - 1, chunk):
            part = window[start:start + chunk + 1]
            logits, state = model(one_hot[part[:-1]], state)
            total += mg.softmax_cross_entropy(logits, part[1:], reduction="sum").item()
    return total / (rows * (len(window) - 1)) / np.log(2)


def sample(model: CharacterModel, characters: str, prompt: np.ndarray, count: int, rng: np.random.Generator,
           temperature: float = 0.7) -> str:
    """``count`` characters that the model writes after ``prompt`` (integers), each fed back as the next input."""
    V = len(characters)
    one_hot, written = np.eye(V, dtype=np.float32), []
    with mg.no_grad():
        logits, state = model(one_hot[prompt][:, None])
        for _ in range(count):
            scores = logits.data[-1, 0].astype(float) / temperature
            weights = np.exp(scores - scores.max())
            drawn = int(rng.choice(V, p=weights / weights.sum()))
            written.append(characters[drawn])
            logits, state = model(one_hot[drawn].reshape(1, 1, V), state)
    return "".join(written)


# ---- a task to compare cells on ------------------------------------------------------------------------------------

ALPHABET, SNIPPET = 128, 50             # at least as many characters as the text has; the steps of a snippet


def data() -> Data:
    """Snippets, each read from a state of zeros, to train on; and the last tenth, read in 64 rows side by side."""
    ids, _ = encode(read_text())
    cut = len(ids) * 9 // 10

    def stretches(ids: np.ndarray, rows: int) -> Sequences:
        window, = mg.train.windows(ids[:-1], ids[1:], steps=(len(ids) - 1) // rows, rows=rows)
        return window[0], window[1], None

    return minibatches(stretches(ids[:cut], (cut - 1) // SNIPPET), stretches(ids[cut:], 64), ROWS)


TASK = Task("characters", "the next character of Python's documentation", inputs=ALPHABET, outputs=ALPHABET, data=data,
            read="every", measure=BITS, cell="RNNCell", hidden=96, epochs=8, learning_rate=8e-3,
            references=(Reference("RNN-96", 2.37, "in 24 s"), Reference("bigram", 3.35, "counts of the first nine tenths")))


# ---- the pictures --------------------------------------------------------------------------------------------------

def draw_unrolled(model: CharacterModel, ids: np.ndarray, V: int, path: str, T: int = 4, **options: Any) -> None:
    """The network unrolled over the first T characters, drawn with mg.draw."""
    xs = np.eye(V, dtype=np.float32)[ids[:T, None]]
    state = model.cell.initial_state(1)
    for number, layer in enumerate(state if hasattr(model.cell, "cells") else [state]):
        for name, part in zip("hc", parts(layer)):
            part.name = name + "′" * number
    losses, _ = step_losses(model, xs, ids[1:T + 1, None], state)
    loss = sum(losses[1:], losses[0])
    mg.draw(loss, **options).save(path)


def reach(model: CharacterModel, ids: np.ndarray, V: int, T: int = STEPS, rows: int = 16) -> list[list[float | None]]:
    """How far back each loss reaches: matrix[t-1][k-1] = ‖∂L_t/∂(state after step k)‖, None where k > t."""
    snippets = np.resize(ids, (rows, T + 1)).T
    xs = np.eye(V, dtype=np.float32)[snippets[:-1]]
    losses, states = step_losses(model, xs, snippets[1:], model.cell.initial_state(rows))
    states = [[part for part in parts(state) if part.requires_grad] for state in states[1:]]
    matrix = []
    for t, loss in enumerate(losses, 1):
        gradients = iter(mg.grad(loss, [part for state in states[:t] for part in state]))
        sizes = [np.sqrt(sum(np.sum(next(gradients).data ** 2) for _ in state)) for state in states[:t]]
        matrix.append([float(size) for size in sizes] + [None] * (T - t))
    return matrix


def parts(state: State) -> list[mg.Tensor]:
    """The Tensors in a state: a Tensor, or a tuple or dict of them, nested."""
    if isinstance(state, dict):
        state = tuple(state.values())
    return [part for inner in state for part in parts(inner)] if isinstance(state, tuple) else [state]


# ---- the run -------------------------------------------------------------------------------------------------------

def arguments() -> tuple[argparse.Namespace, Maker]:
    parser = argparse.ArgumentParser(prog="python -m models characters", description=__doc__.partition("\n")[0])
    parser.add_argument("file", nargs="?", help="a UTF-8 text; default: the text of pydoc_data.topics")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to train (default 30)")
    parser.add_argument("--hidden", type=int, default=96, help="hidden units (default 96)")
    parser.add_argument("--cell", default="RNNCell", help="RNNCell, GRUCell, LSTMCell, …, or path.py:Class (default RNNCell)")
    parser.add_argument("--layers", type=int, default=1, help="cells on top of each other (default 1)")
    parser.add_argument("--temperature", type=float, default=0.7,
                        help="of the sample: near 0 it repeats the likeliest, above 1 it is bold (default 0.7)")
    parser.add_argument("--out", metavar="FOLDER", default="minigrad-output/characters",
                        help="where the files go (default minigrad-output/characters)")
    parser.add_argument("--eager", action="store_true", help="unroll step by step instead of running the compiled scan")
    parser.add_argument("--seed", type=int, default=0, help="of the initial weights and the sample (default 0)")
    parser.add_argument("--draw", metavar="PATH", help="only draw the unrolled graph there and stop (.svg, …)")
    parser.add_argument("--resume", action="store_true", help="go on from the weights of the last run in that folder")
    options = parser.parse_args()
    try:
        cell = find_cell(options.cell)
    except Unusable as error:
        parser.error(str(error))
    if options.hidden < 1 or not 0 < options.seconds < float("inf"):
        parser.error("--hidden and --seconds must be positive")
    if options.seed < 0:
        parser.error("--seed must not be negative")
    if options.layers < 1 or not 0 < options.temperature < float("inf"):
        parser.error("--layers and --temperature must be positive")
    return options, layered(cell, options.layers)


def main() -> int:
    options, cell = arguments()
    try:
        return run(options, cell)
    except Unusable as error:
        print(f"python -m models characters: {error}", file=sys.stderr)
        return 2
    except FloatingPointError as error:
        print(f"python -m models characters: {error}", file=sys.stderr)
        return 1


def run(options: argparse.Namespace, cell: Maker) -> int:
    text = read_text(options.file)
    ids, characters = encode(text)
    V, cut = len(characters), len(ids) * 9 // 10
    train, test = ids[:cut], ids[cut:]
    rng = np.random.default_rng(options.seed)
    with usable(cell, V, options.hidden), mg.no_grad():
        model = CharacterModel(V, options.hidden, rng=rng, cell=cell, through=mg.unroll if options.eager else mg.scan)
        mg.unroll(model.cell, np.zeros((1, 1, V), np.float32))
    if options.draw:
        try:
            draw_unrolled(model, train, V, options.draw)
        except ValueError as error:
            raise Unusable(f"--draw: {error}") from None
        return 0
    unigram, bigram = entropies(train, test, V)
    print(f"{len(ids):,} characters of {options.file or 'pydoc_data.topics'}, {V} distinct. The last tenth is never\n"
          f"trained on; there, counts of the rest need {unigram:.2f} bits per character (unigram) and {bigram:.2f} "
          "(bigram).\n")

    report = check_gradients(train, V, cell, options.seed)
    print(f"{report}\n")

    os.makedirs(options.out, exist_ok=True)
    names = "unrolled.svg", "gradients.svg", "loss.svg", "reach.svg", "log.jsonl", "weights.npz"
    files = {name: os.path.join(options.out, name) for name in names}
    draw_unrolled(model, train, V, files["unrolled.svg"])
    elapsed = time.perf_counter() - START
    print(f"The unrolled graph is drawn in {files['unrolled.svg']} ({elapsed:.1f} s since the start).\n")

    history = train_model(model, train, test, V, options, files, unigram, bigram)

    prompt = test[:40]
    print("\nA sample, going on after the first 40 characters of the last tenth:\n")
    written = sample(model, characters, prompt, 400, rng, options.temperature)
    for line in f"{''.join(characters[i] for i in prompt)} … {written}".splitlines():
        print("\n".join(f"    {line[i:i + 100]}" for i in range(0, len(line) or 1, 100)))
    draw_results(model, train, V, files, history, unigram, bigram)
    final = history["held out"][1][-1]
    verdict = "better" if final < bigram else "not yet better"
    print(f"\n{final:.2f} bits per character on the last tenth, {verdict} than the bigram's {bigram:.2f}; "
          f"perplexity {2 ** final:.2f} ({time.perf_counter() - START:.0f} s since the start).\n")
    here = os.path.relpath(sys.executable)
    python = "python" if here.startswith(os.pardir) else here
    print(f"""Files
  {files['unrolled.svg']:<42} the network, unrolled over four characters
  {files['gradients.svg']:<42} the same after training, with the gradients as heat
  {files['reach.svg']:<42} how far back in time each loss's gradient reaches
  {files['loss.svg']:<42} the loss curve
  {files['log.jsonl']:<42} every step as a line of JSON
  {files['weights.npz']:<42} the weights

Next
  {python} -m models characters --cell GRUCell
        the same with another cell
  {python} -m models characters --resume
        train on for another {options.seconds:g} s
  {own_cell_line()}
        this line makes the cell; put your own there: y, state = cell(x, state)
  {python} -m models --help
        the other systems, the five derivations among them""")
    return 0 if report.ok else 1


def train_model(model: CharacterModel, train: np.ndarray, test: np.ndarray, V: int, options: argparse.Namespace,
                files: dict[str, str], unigram: float, bigram: float) -> History:
    """Truncated BPTT for ``options.seconds``, printing bits per character. Returns the curves: name -> (xs, ys)."""
    optimizer = mg.train.Adam(model, LEARNING_RATE)
    history: History = {"trained": ([], []), "held out": ([], [])}
    recent: list[float] = []
    interval = max(options.seconds / 12, 0.5)
    begin = due = math.inf                                          # the clock starts with the first step, after what --resume skips
    print(f"{'seconds':>8} {'step':>6} {'trained':>8} {'held out':>9} {'perplexity':>11}    "
          f"bits per character; bigram {bigram:.2f}, unigram {unigram:.2f}", flush=True)

    def progress() -> float:
        return max(0.0, time.perf_counter() - begin) / options.seconds

    def show(record: dict[str, Any]) -> None:
        step, trained, held_out = record["step"], float(np.mean(recent)), bits_per_character(model, test, V)
        for name, bits in (("trained", trained), ("held out", held_out)):
            history[name][0].append(step)
            history[name][1].append(bits)
        recent.clear()
        print(f"{time.perf_counter() - begin:8.1f} {step:6d} {trained:8.2f} {held_out:9.2f} {2 ** held_out:11.2f}", flush=True)

    def watch(record: dict[str, Any]) -> None:
        record["bits"] = record["loss"] / np.log(2)
        recent.append(record["bits"])
        optimizer.learning_rate = LEARNING_RATE * max(0.0, 1 - progress())
        nonlocal due
        if time.perf_counter() >= due:
            show(record)
            record["held_out_bits"] = history["held out"][1][-1]
            due = time.perf_counter() + interval

    def loss(xs: np.ndarray, targets: np.ndarray, state: State) -> tuple[mg.Tensor, State]:
        nonlocal begin, due
        if begin == math.inf:
            begin = time.perf_counter()
            due = begin + interval / 2
        logits, state = model(xs, state)
        return mg.softmax_cross_entropy(logits, targets), state

    stream = batches(train, V, progress)
    try:
        records = mg.train.fit(loss, model, stream, optimizer=optimizer, clip=1.0, state=model.cell.initial_state(side_by_side(train)),
                               log=files["log.jsonl"], checkpoint=files["weights.npz"], every=1000,
                               resume=options.resume, progress=False, watch=watch)
    except ValueError as error:
        if options.resume and "checkpoint" in str(error):
            raise Unusable(f"--resume: {error}") from None
        raise
    if recent:
        show(records[-1])
    return history


def draw_results(model: CharacterModel, train: np.ndarray, V: int, files: dict[str, str], history: History, unigram: float,
                 bigram: float) -> None:
    draw_unrolled(model, train, V, files["gradients.svg"], heat=True)
    with open(files["loss.svg"], "w", encoding="utf-8") as file:
        file.write(figures.curves(history, {"unigram": unigram, "bigram": bigram},
                                  "Learning text, character by character", "step", "bits per character"))
    with open(files["reach.svg"], "w", encoding="utf-8") as file:
        file.write(figures.heat(reach(model, train, V), "How far back each loss reaches: ‖∂L(t)/∂h(k)‖",
                                "k, the state after step k", "t, the loss at step t"))


def own_cell_line() -> str:
    """Where CharacterModel makes its cell, as file:line and the line itself."""
    lines, first = inspect.getsourcelines(CharacterModel)
    number, line = next((n, line) for n, line in enumerate(lines, first) if "your own cell" in line)
    return f"models/characters.py, line {number}: {line.partition('#')[0].strip()}"


if __name__ == "__main__":
    sys.exit(main())
