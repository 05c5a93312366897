"""What pays at which size: rewritings of a plan that change no number's meaning, only how fast it is there.

Small steps are paid by the call, large ones by the memory: small gates are gathered into one tanh, large ones get blocks of their
own, large values that only a loop reads are computed in it while what they read is in the cache, and the loop back is put in order.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..graph.normal import SUM
from ..ops import TABLE
from .totals import is_product_of_rows, sums_rows
from .value import APART, ASSEMBLE, BLOCKS, CARRY, GATES, STATE, X, Value, slices_last

if TYPE_CHECKING:
    from .plan import Plan

Readers = dict[int, list[Any]]           # id -> who reads a value; None: somebody outside
New = dict[int, Value]              # id -> what stands in its place

GATES_BYTES = 16_384        # up to this size of one step, calls cost more than the numbers: gates are gathered
SMALL_PRODUCT = 1_000_000   # up to so many multiplications BLAS takes matrices as they are, and copies nothing: a third less time
CUT_FROM = 400_000          # and two products of half the width are faster than one of so many
BLOCK_BYTES = 256           # this wide, blocks of columns are fastest: one stays in the cache nearest to the processor
ROWS = 16                   # from so many on, one product of each step is as fast as one of all steps
FETCH_BYTES = 4_096         # from this size of one step on, memory costs more than calls: no pass over all steps


def fold_biases(plan: Plan) -> None:
    """x W + b is [x, 1] [W; b]: the numbers of x are copied, the far more of the product are not fetched once again to add b."""
    def folded(v: Value, inputs: Sequence[Value]) -> Value | None:
        if v.op is not SUM or v.nbytes < FETCH_BYTES:
            return None
        product = next((i for i in inputs if i.is_op("matmul") and i.inputs[0].kind == "x" and i.shape == v.shape), None)
        b = next((i for i in inputs if not i.depends and i.shape == v.shape[-1:] and i.kind != "number"), None)
        if product is None or b is None:
            return None
        x, W = product.inputs
        B, D = x.shape if len(x.shape) == 2 else (0, 0)
        if len(readers[product.id]) > 1 or W.depends or len(W.shape) != 2 or not 0 < D <= W.shape[1] or {
                x.dtype, W.dtype, b.dtype} != {v.dtype}:
            return None
        one = plan.make(ASSEMBLE, [x, plan.number(1)], {"slices": (slice(0, D), slice(D, D + 1)), "shape": (B, D + 1)}, (B, D + 1), v.dtype,
                        f"{x.name or 'x'}_and_1")
        row = plan.make(TABLE["getitem"], [b], {"index": (None, Ellipsis)}, (1, *b.shape), v.dtype)
        both = plan.make(TABLE["concatenate"], [W, row], {"axis": -2}, (D + 1, W.shape[1]), v.dtype,
                         W.name and b.name and f"{W.name}_and_{b.name}")
        rest = [i for i in inputs if i is not product and i is not b]
        whole = plan.make(TABLE["matmul"], [one, both], {}, v.shape, v.dtype, None if rest else v.name)
        return plan.make(SUM, [whole, *rest], {}, v.shape, v.dtype, v.name) if rest else whole
    readers = plan.readers()
    new = {v.id: f for v in list(plan.values) if (f := folded(v, v.inputs))}
    if new:
        plan.replace(new)
        plan.renumber()


def gather_gates(plan: Plan) -> None:
    """Small gates that are cut from one product are computed together: σ(x) = ½ tanh(½x) + ½ makes all of them one tanh."""
    _replace_one_by_one(plan, _gathered)


def block_gates(plan: Plan) -> None:
    """Large gates of equal size that are cut from one product each get a block of their own: BLAS and the cache like that better."""
    _replace_one_by_one(plan, _blocked)


def _replace_one_by_one(plan: Plan, find: Callable[[Plan, Value, Readers], New | None]) -> None:
    """Replace what ``find`` says of a value of the loop (id -> value); what is found next may be made from it."""
    while True:
        readers = plan.readers()
        found = (find(plan, v, readers) for v in list(plan.values) if v.id in plan.loop)
        new = next(filter(None, found), None)
        if new is None:
            return
        plan.replace(new)
        plan.renumber()


def _gathered(plan: Plan, v: Value, readers: Readers) -> New | None:
    if v.is_view or v.nbytes > GATES_BYTES or not v.shape:
        return None
    cuts = _cuts(v, readers)
    gates = [readers.get(c.id, []) for c in cuts]
    if len(cuts) < 2 or any(len(g) != 1 or g[0] is None or not g[0].is_op("sigmoid", "tanh") for g in gates):
        return None
    spans = sorted((_span(c), gate.op.name) for c, (gate,) in zip(cuts, gates))
    ends = [0, *(stop for (_, stop), _ in spans)]
    if ends[-1] != v.shape[-1] or any(start != end for ((start, _), _), end in zip(spans, ends)):
        return None                                     # a gap, or two that overlap
    scale = np.concatenate([np.full(b - a, 0.5 if kind == "sigmoid" else 1.0, v.dtype) for (a, b), kind in spans])
    shift = np.where(scale == 0.5, scale, 0).astype(v.dtype)
    both = plan.make(GATES, [v, plan.number(scale), plan.number(shift)], {}, v.shape, v.dtype)
    return {gate.id: plan.make(TABLE["getitem"], [both], c.attributes, gate.shape, gate.dtype, gate.name)
            for c, (gate,) in zip(cuts, gates)}


def _blocked(plan: Plan, v: Value, readers: Readers) -> New | None:
    if v.op is not SUM or len(v.inputs) != 2 or len(v.shape) != 2 or v.nbytes <= GATES_BYTES:
        return None
    product = next((i for i in v.inputs if i.is_op("matmul") and i.id in plan.loop), None)
    other = next((i for i in v.inputs if i is not product), None)
    if product is None or other is None or other.shape != v.shape or other.depends != X or len(readers[product.id]) > 1:
        return None
    (h, W), cuts = product.inputs, _cuts(v, readers)
    spans = [_span(c) for c in cuts]
    if W.depends or len(W.shape) != 2 or len(set(spans)) < 2:
        return None
    size = spans[0][1] - spans[0][0]
    if not size or any(b - a != size or a % size for a, b in spans) or v.shape[-1] % size:
        return None
    n, B = v.shape[-1] // size, v.shape[0]
    blocks = plan.make(BLOCKS, [W], {"size": size}, (n, W.shape[0], size), W.dtype)
    each = plan.make(TABLE["matmul"], [h, blocks], {}, (n, B, size), v.dtype)
    if _is_small_product(other) and len(readers[other.id]) == 1:
        x, W = other.inputs
        blocks = plan.make(BLOCKS, [W], {"size": size}, (n, W.shape[0], size), W.dtype)
        apart = plan.make(TABLE["matmul"], [x, blocks], {}, each.shape, v.dtype)
    else:
        apart = plan.make(APART, [other], {"size": size}, each.shape, v.dtype)
    total = plan.make(SUM, [apart, each], {}, each.shape, v.dtype, v.name)
    return {c.id: plan.make(TABLE["getitem"], [total], {"index": (Ellipsis, a // size, slice(None), slice(None))}, c.shape, c.dtype, c.name)
            for c, (a, _) in zip(cuts, spans)}


def cut_products(plan: Plan) -> None:
    """Products in loops with a large matrix are cut into blocks of columns, small enough for BLAS to be fast."""
    def cut(v: Value, inputs: Sequence[Value]) -> Sequence[Value]:
        if not v.is_op("matmul") or inputs[1].depends or not inputs[0].depends:
            return inputs
        h, W = inputs
        gates = W.shape[0] if W.is_op("blocks") else 0
        if len(h.shape) != 2 or len(W.shape) != 2 and not gates or h.shape[0] < ROWS and v.id not in loops:
            return inputs
        K, N = W.shape[-2:]
        width = _width_of_blocks(h.shape[0], K, N, W.dtype.itemsize)
        if not width:
            return inputs
        of = W.inputs[0] if gates or W.is_op("transpose") else W
        attributes = {"size": width, "transposed": W.is_op("transpose"), "gates": gates}
        return [h, plan.make(BLOCKS, [of], attributes, (*W.shape[:-2], N // width, K, width), W.dtype)]
    loops, before = plan.loop | plan.back, len(plan.values)
    plan.replace({}, cut)
    if len(plan.values) > before:
        plan.renumber()


def _is_small_product(v: Value) -> bool:
    return v.is_op("matmul") and len(v.inputs[0].shape) == 2 and v.shape[-2] >= ROWS and v.nbytes > GATES_BYTES and not v.inputs[1].depends


def take_apart(plan: Plan) -> None:
    """In the loop back, [p, q] @ [P Q]ᵀ is p @ Pᵀ + q @ Qᵀ, where these are large: p and q are arrays of their own then, without gaps."""
    readers, new = plan.readers(), {}
    for v in [v for v in plan.values if v.is_op("matmul") and v.id in plan.back]:
        whole, W = v.inputs
        pieces = _pieces(whole) if whole.op is ASSEMBLE else []
        if not pieces or not W.is_op("transpose") or W.depends or len(whole.shape) != 2 or len(W.shape) != 2 or any(
                r is None or r is not v and r.id in plan.back for r in readers[whole.id]) or any(
                v.shape[0] * (b - a) * v.shape[1] < CUT_FROM for (a, b), _ in pieces):
            continue
        of, terms = W.inputs[0], []
        for k, ((a, b), p) in enumerate(pieces, 1):
            part = plan.make(TABLE["getitem"], [of], {"index": (Ellipsis, slice(a, b))}, (of.shape[0], b - a), of.dtype,
                             of.name and f"{of.name}_{k}")
            part = plan.make(W.op, [part], W.attributes, part.shape[::-1], W.dtype)
            terms.append(plan.make(v.op, [p, part], {}, v.shape, v.dtype))
            p.name = p.name or whole.name and f"{whole.name}_{k}"
        new[v.id] = plan.make(SUM, terms, {}, v.shape, v.dtype, v.name)
    if new:
        sums = {id(s) for s in new.values()}
        plan.replace(new, lambda v, inputs: [term for i in inputs for term in (i.inputs if v.op is SUM and id(i) in sums else [i])])
        plan.renumber()


def _pieces(whole: Value) -> list[tuple[tuple[int, int], Value]]:
    """The pieces of what is put together, ((start, stop), value) in order; none if there is a gap between them."""
    pieces = sorted(zip([s.indices(whole.shape[-1])[:2] for s in whole.attributes["slices"]], whole.inputs), key=lambda piece: piece[0])
    bounds = [0, *(n for span, _ in pieces for n in span), whole.shape[-1]]
    return pieces if bounds[::2] == bounds[1::2] else []


def sum_pieces(plan: Plan) -> None:
    """Σ aᵀ [p, q] is [Σ aᵀ p, Σ aᵀ q]: what only gradients of parameters read need not be put together at every step."""
    readers, new = plan.readers(), {}
    for whole in plan.values:
        sums = readers.get(whole.id, [])
        if whole.op is not ASSEMBLE or whole.id in plan.loop | plan.back or any(
                s is None or any(readers[s.id]) or not (sums_rows(s) or is_product_of_rows(s) and s.inputs[1] is whole) for s in sums):
            continue
        pieces = _pieces(whole)
        if not pieces:
            continue
        for s in sums:
            each = [plan.make(s.op, [*s.inputs[:-1], p], s.attributes, (*s.shape[:-1], p.shape[-1]), s.dtype) for _, p in pieces]
            new[s.id] = plan.make(TABLE["concatenate"], each, {"axis": -1}, s.shape, s.dtype)
    if new:
        plan.replace(new)
        plan.renumber()


def _width_of_blocks(rows: int, K: int, N: int, itemsize: int) -> int:
    """How wide the blocks of columns are in which a product is computed; 0: it is computed as it is."""
    if rows * K * N < CUT_FROM:
        return 0
    widest = BLOCK_BYTES // itemsize
    widths = [widest] if rows * K * N <= SMALL_PRODUCT else [widest, widest // 2, widest // 4]
    return next((w for w in widths if 0 < w < N and N % w == 0 and rows * K * w <= SMALL_PRODUCT), 0)


def _cuts(v: Value, readers: Readers) -> list[Value]:
    """The slices along the last axis that v is cut into; none if somebody reads it whole."""
    cuts = readers.get(v.id, [])
    return [] if any(c is None or not c.is_op("getitem") or not slices_last(c.attributes["index"]) for c in cuts) else cuts


def _span(cut: Value) -> tuple[int, int]:
    return cut.attributes["index"][-1].indices(cut.inputs[0].shape[-1])[:2]


def compute_in_loops(plan: Plan, smallest: int = FETCH_BYTES) -> None:
    """Large elementwise values that only a loop reads are computed in it, while what they read is in the cache."""
    readers = plan.readers()
    for loop, late in ((plan.loop, STATE | CARRY), (plan.back, CARRY)):
        for v in reversed(plan.values):
            if v.op is None or v.id in plan.loop or v.id in plan.back or not v.depends or v.depends & late or v.nbytes < smallest \
                    or not (v.is_view or v.is_elementwise or _is_small_product(v)):
                continue
            if all(r is not None and r.id in loop for r in readers.get(v.id, [None])):
                loop.add(v.id)
    _order_back(plan)


def _order_back(plan: Plan) -> None:
    """The loop back in an order in which what reads the same arrays stands together: while they are in the cache, and so that their
    rows are free early for what is computed next (share.py)."""
    def touches(v: Value) -> Iterator[int]:
        for i in v.inputs:
            while i.is_view:
                i = i.inputs[0]
            if i.depends:
                yield i.id

    def warmth(v: Value) -> tuple[int, int, int]:
        times = [touched.get(i, -1) for i in touches(v)]
        return min(times, default=-1), max(times, default=-1), -v.id
    body, order = [v for v in plan.values if v.id in plan.back], list[Value]()
    touched: dict[int, int] = {}
    done = {v.id for v in plan.values} - plan.back
    while body:
        v = max((v for v in body if all(i.id in done for i in v.inputs)), key=warmth)
        touched.update(dict.fromkeys([v.id, *touches(v)], len(order)))
        done.add(v.id)
        order.append(v)
        body.remove(v)
    before, behind, late = list[Value](), list[Value](), set(plan.back)
    for v in plan.values:
        if v.id not in plan.back:
            if any(i.id in late for i in v.inputs):
                late.add(v.id)
            (behind if v.id in late else before).append(v)
    plan.values = [*before, *order, *behind]
