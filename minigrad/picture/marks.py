"""From recorded nodes to marks: what one box or circle stands for and what is written on it.

A mark may stand for several nodes: a parameter is written into the operation that uses it (`@ W_h`), a sum of sums is
one box, a slice of a stack is the stacked value itself.  Marks know no coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Iterable

from . import text
from .text import Label

SYMBOLS = {"matmul": "@", "add": "+", "subtract": "−", "multiply": "⊙", "divide": "÷", "power": "^"}
SHORT = {"sigmoid": "σ", "sum": "Σ", "negative": "−( )", "concatenate": "concat", "square": "( )²", "sqrt": "√",
         "absolute": "| |", "transpose": ".T", "log_softmax": "log softmax", "softmax_cross_entropy": "cross-entropy",
         "binary_cross_entropy": "cross-entropy"}


@dataclass
class Mark:
    """One thing to be drawn.  `key` is the same in every step that does the same operation."""
    key: int
    role: str
    words: Label                                  # what the box says
    name: str | None
    nodes: tuple[int, ...]                        # the last one is the value
    sources: list[tuple[str, int]] = field(default_factory=list)  # ("mark", index) | ("past", slot) | ("rail"|..., n)
    circle: bool = False                          # the value is shown as a circle of its own
    boxed: bool = True                            # the operation is shown as a box
    op: str = ""
    sums: list[Label] = field(default_factory=list)  # what a sum adds besides its arrows


def is_loss(name: str) -> bool:
    """Whether an operation of this name is a loss."""
    return name.endswith("cross_entropy") or name.endswith("squared_error")


def op_name(node: Any) -> str:
    """The name of the node's operation, `leaf` for none."""
    return str(getattr(node.op, "name", node.op)) if node.op is not None else "leaf"


def number(value: Any) -> str:
    """A number in at most four digits."""
    digits = f"{value:.4g}" if not isinstance(value, complex) else f"{value:.3g}"
    return digits.replace("-", "−")


def is_constant(node: Any) -> bool:
    """A number or an array in a formula, as opposed to a Tensor that is shown as an input."""
    return node.kind == "constant" and (node.tensor is None or node.value.size == 1)


def constant_label(node: Any) -> Label:
    """A constant in a formula: the number, the author's name, or the array's shape."""
    if getattr(node.value, "size", 0) == 1:
        return text.label(number(node.value.reshape(-1)[0].item()) if node.value.dtype.kind in "fiubc" else "constant")
    if node.name:
        return text.name_label(node.name)
    return text.label("(" + shape_text(getattr(node.value, "shape", ())) + ")")


def shape_text(shape: Iterable[int]) -> str:
    """(3, 4) as 3×4."""
    return "×".join(str(int(n)) for n in shape) or "scalar"


def index_text(index: Any) -> str:
    """An index as it was written: `[..., 0:3]`."""
    parts = []
    for item in index if isinstance(index, tuple) else (index,):
        if isinstance(item, slice):
            step = f":{item.step}" if item.step is not None else ""
            parts.append(f"{'' if item.start is None else item.start}:{'' if item.stop is None else item.stop}{step}")
        elif item is Ellipsis:
            parts.append("…")
        elif item is None:
            parts.append("new")
        elif isinstance(item, int) or getattr(item, "shape", None) == ():
            parts.append(str(int(item)))
        else:
            parts.append("·")
    while len(parts) > 1 and parts[-1] == ":":
        parts = parts[:-1]
    if len(parts) > 1 and parts[0] == "…":
        parts = parts[1:]
    return "[" + ", ".join(parts) + "]"


def index_of(node: Any) -> Any:
    """The static index of a getitem, None if it has none."""
    attributes = node.attributes or {}
    return attributes.get("index", attributes.get("key"))


def slices_only(node: Any) -> bool:
    """Whether a getitem only cuts (no looking up of rows)."""
    index = index_of(node)
    items = index if isinstance(index, tuple) else (index,)
    return all(isinstance(i, slice) or i is Ellipsis or i is None for i in items)


def operation_label(node: Any, inlined: list[Label | None]) -> Label:
    """What the box says: `@ W_h`, `+ b`, `tanh`; `inlined[i]` is operand i as text, None for an arrow."""
    name = op_name(node)
    arrows = sum(1 for words in inlined if words is None)
    if name in ("getitem", "take"):
        index = index_of(node)
        cut = index_text(index) if index is not None else "[·]"
        return text.join(inlined[0], text.shorten(cut, 14)) if inlined and inlined[0] else text.label(
            text.shorten(cut, 14))
    if is_loss(name):
        return text.label(SHORT.get(name, text.shorten(name.replace("_", " "))))
    if name in SYMBOLS and len(inlined) == 2:
        symbol, (left, right) = SYMBOLS[name], inlined
        if arrows == 2 or (left is None and right is None):
            return text.label(symbol)
        if left is None and right is not None:
            return text.join(symbol + " ", _held(right, symbol))
        if right is None and left is not None:
            return text.join(_held(left, symbol), " " + symbol)
        return text.join(_held(left or "", symbol), f" {symbol} ", _held(right or "", symbol))
    short = SHORT.get(name, text.shorten(name))
    rest = [words for words in inlined if words is not None]
    if not rest:
        return text.label(short)
    parts: list[Label | str] = [short + "("]
    for i, words in enumerate(inlined):
        parts += [", " if i else "", words if words is not None else "·"]
    return text.join(*parts, ")")


def _held(words: Label | str, symbol: str = "") -> Label | str:
    """A part of a formula, in parentheses if a sign of its own stands between its parts: `@ (W − W.T)`."""
    depth = 0
    for ch in "" if symbol == "+" or isinstance(words, str) else "".join(part for part, _ in words):
        depth += (ch in "([") - (ch in ")]")
        if ch == " " and not depth:
            return text.join("(", words, ")")
    return words


def sum_label(inlined: list[Label]) -> Label:
    """A sum of all arrows and of these: `+ b`."""
    parts: list[Label | str] = []
    for words in inlined:
        parts += [" + " if parts else "+ ", words]
    return text.join(*parts) if parts else text.label("+")


def formula(graph: Any, node: Any, depth: int = 0) -> Label:
    """A value made of parameters alone, as one would write it: `W_h.T`, `exp(A − A.T)`."""
    if node.name and depth:
        return text.name_label(node.name)
    if node.kind == "constant":
        return constant_label(node)
    if node.op is None:
        return text.name_label(node.name) if node.name else text.label(shape_text(node.value.shape))
    if node.name:
        return text.name_label(node.name)
    if depth > 3:
        return text.label("…")
    name = op_name(node)
    inner = [formula(graph, graph.nodes[i], depth + 1) for i in node.inputs]
    if name in ("transpose", "swapaxes", "matrix_transpose", "moveaxis", "permute_dims"):
        return text.join(_held(inner[0]), ".T")
    if name in ("reshape", "broadcast_to"):
        return inner[0]
    if name == "getitem":
        return text.join(_held(inner[0]), text.shorten(index_text(index_of(node)), 12))
    if name in SYMBOLS and len(inner) == 2:
        return text.join(_held(inner[0], SYMBOLS[name]), f" {SYMBOLS[name]} ", _held(inner[1], SYMBOLS[name]))
    parts: list[Label | str] = [SHORT.get(name, name) + "("]
    for i, words in enumerate(inner):
        parts += [", " if i else "", words]
    return text.join(*parts, ")")


class Keys:
    """Numbers for equal things: a mark's operation and where its operands come from, the n-th of its kind."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}

    def of(self, signature: Any, seen: dict[Any, int]) -> int:
        """The number of this signature; `seen` counts repetitions inside one step."""
        repeat = seen[signature] = seen.get(signature, -1) + 1
        return self._numbers.setdefault((signature, repeat), len(self._numbers))


Resolver = Callable[[int], "tuple[str, int] | Label"]


def build(graph: Any, ids: Iterable[int], refer: Callable[[int, int, int], Any], uses: list[int],
          keys: Keys, keep: frozenset[int] = frozenset()) -> tuple[list[Mark], dict[int, int]]:
    """Marks for the nodes `ids` (in creation order), and node id -> mark index.

    `refer(node, position, id)` says what operand `id` is: ("mark", its node id) for one of these nodes, another
    ("kind", number) for something outside, or a Label to write into the box.  Nodes in `keep` are never merged away.
    """
    marks: list[Mark | None] = []
    where: dict[int, int] = {}
    seen: dict[Any, int] = {}
    for number_ in ids:
        node = graph.nodes[number_]
        if node.op is None:
            role = "parameter" if node.kind == "parameter" else "constant" if is_constant(node) else "input"
            where[number_] = len(marks)
            words = text.name_label(node.name) if node.name else (
                constant_label(node) if role == "constant" else text.label("x" if role == "input" else "θ"))
            marks.append(Mark(keys.of((role, node.name), seen), role, words, node.name, (number_,), circle=True,
                              boxed=False))
            continue
        name = op_name(node)
        sources: list[tuple[str, int]] = []
        inlined: list[Label | None] = []
        merged: tuple[int, ...] = ()
        sums: list[Label] = []
        for position, operand in enumerate(node.inputs):
            if is_loss(name) and position and graph.nodes[operand].kind == "constant":
                continue  # targets and masks are no part of the picture
            reference = refer(number_, position, operand)
            if not reference or isinstance(reference[0], tuple):
                inlined.append(reference)
                sums.append(reference)
                continue
            inlined.append(None)
            if reference[0] == "mark":
                index = where[reference[1]]
                inner = marks[index]
                if (name == "add" and inner is not None and inner.op == "add" and not inner.name
                        and uses[reference[1]] == 1 and reference[1] not in keep):
                    sources += inner.sources
                    sums = inner.sums + sums
                    merged += inner.nodes
                    marks[index] = None
                    continue
                reference = ("mark", index)
            sources.append(reference)
        words = sum_label(sums) if name == "add" and sources else operation_label(node, inlined)
        written = tuple(text.flat(w) if w and graph.nodes[i].kind != "constant" else "" for w, i in
                        zip(inlined, node.inputs))
        origin = tuple((kind, marks[n].key if kind == "mark" else n) for kind, n in sources)  # type: ignore[union-attr]
        mark = Mark(keys.of((name, written, origin), seen), "loss" if is_loss(name) else "op", words, node.name,
                    merged + (number_,), sources, op=name, sums=sums if name == "add" else [])
        where[number_] = len(marks)
        marks.append(mark)
    return _compact(marks, where)


def _compact(marks: list[Mark | None], where: dict[int, int]) -> tuple[list[Mark], dict[int, int]]:
    """Without the marks that were merged into others."""
    new: dict[int, int] = {}
    kept: list[Mark] = []
    for index, mark in enumerate(marks):
        if mark is not None:
            new[index] = len(kept)
            kept.append(mark)
    for mark in kept:
        mark.sources = [("mark", new[n]) if kind == "mark" else (kind, n) for kind, n in mark.sources]
    places = {node: new[index] for node, index in where.items() if index in new}
    for index, mark in enumerate(kept):
        places.update((node, index) for node in mark.nodes)
    return kept, places
