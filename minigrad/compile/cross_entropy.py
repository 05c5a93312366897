"""Softmax cross-entropy of classes and its rule, written out for all steps at once: the way back uses what the way forward computed."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .lines import Line
from .adjoint import RULE_OF
from .value import Value

if TYPE_CHECKING:
    from .steps import Site

FEW = 32        # classes


def applies(site: Site, v: Value) -> bool:
    """Whether v is such a loss, or its gradient, and the loss is computed for all steps at once."""
    loss = v.inputs[1] if v.op in RULE_OF else v
    if not loss.is_op("softmax_cross_entropy") or len(loss.inputs) != 2 or not site.over_time:
        return False
    x, y = loss.inputs
    classes = y.dtype.kind in "iu" and y.dtype.isnative and y.dtype != np.uint64 and v.attributes["rank"] == len(y.shape)
    return bool(classes and x.depends and y.depends and loss.id in site.demand.batched)


def lines(site: Site, v: Value, out: str) -> list[Line]:
    return [Line(text) for text in (_gradient(site, v, out) if v.op in RULE_OF else _loss(site, v, out))]


def _loss(site: Site, v: Value, out: str) -> list[str]:
    """-log softmax(logits)[target], summed: the exponentials and their sums are kept for the way back."""
    x, y = (site.plain(i, v) for i in v.inputs)
    logits, targets = v.inputs
    K, n, name = logits.shape[-1], int(np.prod(targets.shape)), site.words.of(v)
    exps, sums, rows, at = [site.words.unique(f"{part}_{name}") for part in ("exp", "sum", "row", "at")]
    site.room.kept[v.id] = [exps, sums, at]
    site.room.buffer(exps, logits)
    site.room.buffer(sums, logits, shape=(*targets.shape, 1))
    shape = f"({', '.join(['T', *map(str, targets.shape)])},)"
    site.room.add(rows, f"arange(0, T * {n * K}, {K}).reshape({shape})")
    site.room.add(at, f"aligned({shape}, int)")
    site.words.imports |= {"arange", "maximum", "subtract", "exp", "log", "add"}
    flat, alone = site.room.flat, n == 1 and v.attributes["reduction"] != "none"            # then there is nothing to add
    narrow = targets.dtype.kind == "i" and K > np.iinfo(targets.dtype).max         # then a large number may be a class
    whole, size = (f'{y}.astype("i8")', 8) if narrow else (y, targets.dtype.itemsize)
    text = [f'unsigned = {whole}.view("u{size}")                  # -1 is a large number there',
            f"if unsigned.item(unsigned.argmax()) >= {K}:",
            '    raise IndexError("a target is none of the classes")',
            f"add({rows}, {y}, {at})                  # where the targets' numbers are",
            _largest(site, x, K, sums),
            f"subtract({x}, {sums}, {exps})",
            f"picked = {exps}.take({flat(at) if alone else at})",
            f"exp({exps}, {exps})",
            f"{flat(exps, K)}.dot({site.room.ones((K, 1), logits.dtype)}, {flat(sums, 1)})"]
    if alone:
        return [*text, f"subtract(log({flat(sums)}), picked, {out})"]
    value, axes = f"log({sums}[..., 0]) - picked", tuple(range(-len(targets.shape), 0))
    if v.attributes["reduction"] == "none":
        return [*text, f"{out}[...] = {value}"]
    mean = [f"{site.words.numpy('divide')}({out}, {n}, {out})"] if v.attributes["reduction"] == "mean" else []
    return [*text, f"add.reduce({value}, axis={axes}, out={out})", *mean]


def _largest(site: Site, x: str, K: int, out: str) -> str:
    """The largest logit of each row; NumPy finds it fastest among few classes in the transposed array."""
    if K > FEW:
        return f"maximum.reduce({x}, axis=-1, keepdims=True, out={out})"
    columns = f"{site.words.numpy('ascontiguousarray')}({site.room.flat(x, K)}.T)"
    return f"maximum.reduce({columns}, axis=0, keepdims=True, out={site.room.flat(out, 1)}.T)"


def _gradient(site: Site, v: Value, out: str) -> list[str]:
    """(ŷ - y) times the gradient g of each loss: exp · (g / sum), less g at the target."""
    g, loss, logits, targets = v.inputs
    exps, sums, at = site.room.kept[loss.id]
    for name in (exps, sums, at):
        site.room.use(name)
    site.words.imports |= {"divide", "multiply"}
    reduction, n, each = v.attributes["reduction"], int(np.prod(targets.shape)), site.words.unique(f"each_{site.words.of(loss)}")
    whole = out if out in site.room.buffers else exps
    text = [f"{each} = " + (f"{site.plain(g, v)}[..., None]" if reduction == "none" else site.operand(g, v))
            + (f" / {n}" if reduction == "mean" and n > 1 else ""),
            f"divide({each}, {sums}, {sums})",
            f"multiply({exps}, {sums}, {whole})",
            f"{site.room.flat(whole)}[{at}] -= {each}[..., 0]"]
    return text if whole == out else [*text, f"{out}[...] = {exps}"]
