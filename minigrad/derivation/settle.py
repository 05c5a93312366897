"""Which values of a step keep a line of their own, and what these are called; the others are inlined."""
from __future__ import annotations

from collections.abc import Sequence

from .algebra import shifted, substitute
from .expression import Expression, Gradient, Helper, Reference, is_gradient, references, size
from .step import Step

SHORT, LONG = 4, 80     # an unnamed value of up to so many signs is written out wherever it is used; of more, it gets a name in any case
HELPERS = "δεζη"        # gradients that have no name of their own: δ_t, or δⁿ_t, the one in front of n
FORWARD = "swuvpq"


def settle(step: Step, gradients: dict[int, Gradient]) -> None:
    """Decide which references keep a line, and write the definitions in terms of those."""
    forward = sorted(step.once + step.forward, key=lambda r: r.index)
    backward = [*step.extra, *sorted(gradients.values(), key=lambda r: -r.index)]
    roots = [step.y, *(s.after for s in step.states), *([step.loss] if step.loss else [])]
    kept = [g for g in backward if g.of.kind in ("value", "parameter") and (g.named or not g.of.computed)]
    uses, live = _uses([*roots, *kept])
    backwards: dict[Reference, int] = {}                # how often a value of the step is used by gradients
    for g in backward:
        if g in live:
            for ref, _ in references(g.definition):
                backwards[ref] = backwards.get(ref, 0) + 1
    inlined: dict[Reference, Expression] = {}
    earlier = {s.before: s.after for s in step.states}

    def replaced(ref: Reference, lag: int) -> Expression | None:
        if ref in earlier:
            return earlier[ref].at(lag - 1)
        return shifted(inlined[ref], lag) if ref in inlined else None
    taken = {_plain_name(r.name) for r in [*forward, *step.parameters, *step.constants] if r.name} | {"x", "y", "h"}
    fresh = iter([c for c in FORWARD if c not in taken] + [f"s{k}" for k in range(1, 1000)])
    for r in forward:
        if r not in live:
            continue
        r.definition = substitute(r.definition, replaced)
        if r.named:
            continue
        length = size(r.definition)
        if not backwards.get(r) and uses[r] <= 1 and length <= LONG or length <= SHORT or r.definition.op in ("index", "reshape"):
            inlined[r] = r.definition
        else:
            r.name, r.named = next(fresh), True
    states = {s.after for s in step.states}
    order = [g for g in backward if g in live or g in kept]
    letters = [c for c in HELPERS if c not in {_GREEK_NAMES.get(n, n) for n in taken}]
    used: dict[Reference | None, int] = {}              # in front of what: how many letters
    for g in order:
        g.definition = substitute(g.definition, replaced)
        d = g.definition
        if not g.of.computed:
            continue
        alias = d.op == "number" or is_gradient(d) and d.shape == g.shape
        if g.of in states and not (alias and not _carried(d)):
            continue
        if alias and d.op != "sum_t":
            inlined[g] = d
        elif not g.named and (uses[g] <= 1 and size(d) <= LONG or size(d) < SHORT and d.op != "sum_t" or _trivial(d)):
            inlined[g] = d
        elif not g.named:
            near = None if g.once else _near(g, forward)
            near = None if near is step.loss else near
            k, alphabet = used.get(near, 0), "GKM" if g.once else letters
            used[near] = k + 1
            g.helper, g.named = Helper(alphabet[k % len(alphabet)] + "′" * (k // len(alphabet)), near), True
    step.forward = [r for r in step.forward if r in live and r not in inlined]
    step.once = [r for r in step.once if r in live and r not in inlined]
    step.backward = [g for g in order if not g.once and g not in inlined and g.of is not step.loss]
    step.after = [g for g in order if g.once and g not in inlined]
    _letters(step)


def _carried(d: Expression) -> bool:
    return d.op == "ref" and d.extra[0].kind == "carry"


def _trivial(d: Expression) -> bool:
    """A gradient or a piece of one: not worth a name."""
    while d.op in ("index", "reshape", "T", "broadcast"):
        d = d.args[0]
    c = d.args[1] if d.op == "mul" and len(d.args) == 2 and d.args[0].op == "number" else d
    return is_gradient(c)


def _near(g: Gradient, forward: list[Reference]) -> Reference:
    """The author's variable that this value goes into."""
    return next(r for r in forward if r.index >= g.of.index and r.named)


def _letters(step: Step) -> None:
    """One δ needs no index; several say which variable they stand in front of."""
    named = [(g, g.helper) for g in step.backward + step.after if g.helper is not None]
    places = {helper.near for g, helper in named if not g.once}
    if len(places) == 1 and None not in places:
        for g, helper in named:
            g.helper = Helper(helper.letter, None)


def _uses(roots: Sequence[Reference]) -> tuple[dict[Reference, int], set[Reference]]:
    """({reference: how often it is used by what the roots need}, what they need)."""
    live, stack = set(roots), list(dict.fromkeys(roots))
    uses: dict[Reference, int] = {}
    while stack:
        r = stack.pop()
        if not r.computed:
            continue
        for ref, _ in references(r.definition):
            uses[ref] = uses.get(ref, 0) + 1
            if ref not in live:
                live.add(ref)
                stack.append(ref)
    return uses, live


def _plain_name(name: str) -> str:
    return name.split(".")[0].rstrip("′")


_GREEK_NAMES = {"delta": "δ", "epsilon": "ε", "zeta": "ζ", "eta": "η"}
