"""What a slip says is what it computes: a derivation's text is run as a program, with the slip's line in place of the right one, and
gives the gradients that diagnose takes for those of that slip. The program (written.py) and its numbers know nothing of diagnose."""
import collections
import functools
import re

import numpy as np
import pytest

from minigrad.check.perturb import Reverse
from minigrad.check.slips import Slips

from networks import NETWORKS, T
from written import Written, softmax

STEPS = set(range(1, T + 1))


@functools.cache
def network(name):
    """(slips, the right derivation as a program, its lines' names in slips, columns of blocks)."""
    loss, values, blocks = NETWORKS[name]()
    slips = Slips(Reverse(loss))
    return slips, Written([slips.say.line(e) for e in slips.last.values()], values, T), list(slips.last), blocks


def close(slips, vector, gradients, slip):
    theirs = np.concatenate([np.ravel(gradients[name]) for name in slips.spans])
    np.testing.assert_allclose(vector, theirs, rtol=1e-9, atol=1e-11 * (1 + np.abs(theirs).max()),
                               err_msg=f"{slip.kind} {slip.where}: {slip.wrote}" if slip else "")


@pytest.mark.parametrize("name", NETWORKS)
def test_the_lines_are_the_derivation(name):
    slips, written, _, _ = network(name)
    close(slips, slips.right, written.run(), None)


# ---- a slip in one line ------------------------------------------------------------------------------------------------------------

class Line:
    """One line with a slip: called with a step and the right line, it gives what is written instead.

    ``again``: how many slips of the same words came before this one.
    """

    def __init__(self, written, k, slip, blocks, again=0):
        self.w, self.kind, self.where, self.says, self.again = written, slip.kind, slip.where, slip.says, again
        self.target, self.back, self.right = written.lines[k]
        self.text = re.split(r" \+?= ", slip.wrote, maxsplit=1)[-1]
        self.old = next((m[0] for m in written.words.finditer(self.right) if m[0] in written.adjoints), None)
        self.operand = next((m[0] for m in written.words.finditer(self.right) if m[0] not in written.adjoints), None)
        self.blocks, self.block = blocks, blocks.get(slip.where.removeprefix("for "))
        at = {"at every second step": {2, 4}, "and not in the initial state's": {2, 3, 4}}.get(slip.where)
        at = at or {int(t) for t in re.findall(r"t=(\d)", slip.where)}
        self.steps = STEPS - at if slip.where.startswith("except") else at or STEPS

    def __call__(self, t, right):
        self.zero = 0 * right()
        if t not in self.steps:
            return self.zero if self.where.startswith("only") else right()
        if self.block is not None:
            return self.for_a_block(t, right)
        found = self.value(t)
        return self.zero if found is None else found

    def value(self, t, g=None):
        """Of the text; None where it asks for what no step has."""
        w, text, like = self.w, self.text, self.zero
        if self.kind == "missing":
            return like
        if self.kind in ("twice", "sign") and self.right in text and text != self.right:
            return w.rule(self.right, t, g, like=like) * (2 if self.kind == "twice" else -1)
        if self.kind == "one row":
            return w.rule(self.right.removeprefix("sum over the batch of "), t, g)[..., :self.zero.shape[-1]][0]
        if self.kind == "softmax twice":
            p, y = softmax(w.value("o", t)), w.value("y", t)
            return np.stack([(np.diag(a) - np.outer(a, a)) @ (a - b) for a, b in zip(p, y)]) / len(y)
        if self.kind.startswith("targets"):                # at the ends the nearest, or the other end's
            at = t + int(re.search(r"y\[t([+-]\d)", text)[1])
            at = (at - 1) % T + 1 if self.again else min(max(at, 1), T)
            return w.rule(re.sub(r"y\[t[+-]\d\]", "y", text), t, g, {"y": at - t})
        if self.kind == "no derivative on one path":
            via = self.where.removeprefix("on the path ")
            handed = next(back for _, back, rule in w.lines if rule == via)
            part = w.rule(via, t + handed) if t + handed <= T else 0
            return w.rule(self.right, t, {self.old: w.g[self.old, t] - part}) + part
        if changed := re.search(r"\(1 - z with a (sign changed|term missing)\)", text):
            forms = ("-1 - z", "1 + z") if "sign" in changed[1] else ("-z", "1")
            return w.rule(text.replace(changed[0], f"({forms[self.again]})"), t, g)
        if " with a " in text:                             # in 1 - z, which this derivative has not in it
            return w.rule(self.right, t, g)
        if moved := re.fullmatch(r"(.*[^)]|.*\)\)?), with (\S+) of t([+-]\d)", text):
            return w.rule(moved[1], t, g, {moved[2]: int(moved[3])}, like)
        if said := re.search(r"(, with (?P<word>\S+) of| at) t([+-]\d)\)", text):        # of the factor in these parentheses
            start = said.start() - 1
            while text[start] != "(" or text.count("(", start, said.start()) <= text.count(")", start, said.start()):
                start -= 1
            inner, d = text[start + 1:said.start()], int(said[3])
            factor = w.rule(inner, t, None, {said["word"]: d}, empty=0.) if said["word"] else w.rule(inner, t + d)
            return None if factor is None else w.rule(f"{text[:start]}1{text[said.end():]}", t, g, like=like) * factor
        if self.kind == "wrong step":
            return self.in_another_step(t, g)
        return w.rule(text, t, g, like=like)

    def in_another_step(self, t, g):
        """An operand; where there is no such step it is nothing, the nearest, or the other end's."""
        d = -1 if "early" in self.says else 1
        moved, written = (self.w.rule(*a) for a in ((self.right, t, g, {self.operand: d}), (self.text, t, g)))
        assert (moved is None) == (written is None) and np.all(moved == written)
        if moved is not None or self.again == 0:
            return moved
        at = (1, T)[(d > 0) == (self.again == 1)]
        return self.w.rule(self.right, t, g, {self.operand: at - t})

    def for_a_block(self, t, right):
        """The slip in some columns of a packed adjoint, the line as it should be in the others."""
        b, whole = self.block, self.w.g[self.old, t]
        if self.kind == "transposed":
            part = right().copy()
            part[:, b] = part[:, b].T
            return part
        if self.kind in ("not transposed", "wrong value") and self.operand in self.w.leaves.values():
            W = self.w.value(self.operand, t).copy()
            other = re.search(r" of (\w)\)", self.text)
            W[:, b] = W[:, b].T if other is None else W[:, self.blocks[other[1]]]
            return whole @ W.T
        if self.kind == "wrong adjoint":
            mixed, name = whole.copy(), next(m[0] for m in self.w.words.finditer(self.text) if m[0] in self.w.adjoints)
            new = self.w.g[name, t]
            mixed[:, b] = new[:, b] if new.shape == whole.shape else new
            return right({self.old: mixed})
        inside, outside = np.zeros_like(whole), whole.copy()
        inside[:, b], outside[:, b] = whole[:, b], 0
        part = self.value(t, {self.old: inside})
        return right({self.old: outside}) + (0 if part is None else part)


def in_one_line(slip):
    of_the_sum = slip.wrote.startswith("dtotal") and slip.kind.startswith("wrong")       # of losses: a line that nobody writes
    return slip.changes and not slip.direction and len({e.line for e in slip.changes}) == 1 and not of_the_sum


@pytest.mark.parametrize("name", NETWORKS)
def test_a_slip_in_one_line_is_what_the_line_says(name):
    slips, written, names, blocks = network(name)
    seen = collections.Counter()
    for s in filter(in_one_line, slips):
        line = Line(written, names.index(s.edge.line), s, blocks, seen[s.kind, s.where, s.wrote, s.says[:20]])
        seen[s.kind, s.where, s.wrote, s.says[:20]] += 1
        close(slips, s.gradients(slips.r), written.run({names.index(s.edge.line): line}), s)
    assert seen.total() > 300


# ---- a slip in several lines --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", NETWORKS)
def test_a_slip_in_all_that_arrives_is_what_it_says(name):
    """All of it, all that is carried, any two terms: missing, twice, of the other sign; with the initial state's or without."""
    slips, written, _, blocks = network(name)
    several, kinds = [s for s in slips if s.changes and len({e.line for e in s.changes}) > 1], set()
    for s in several:
        changed = {}
        named = [k for k, (target, back, rule) in enumerate(written.lines)
                 if (back if s.where.startswith("all that") else rule in s.says and s.wrote.startswith(f"{target} "))]
        carried = all(written.lines[k][1] for k in named)
        for k in named:
            _, back, rule = written.lines[k]
            columns = [blocks[m] for m in re.findall(re.escape(rule) + r" for (\w)", s.says)]
            steps = {int(s.where[-1])} if s.where.startswith("all that") else STEPS
            if back and (s.where.startswith("and not") or "all of" in s.says and not carried):
                steps = STEPS - {1}                        # what goes to the initial state stays

            def change(t, right, rule=rule, columns=columns, steps=steps):
                if t not in steps:
                    return right()
                if not columns:
                    return {"missing": 0, "twice": 2, "sign": -1}[s.kind] * right()
                old = next(m[0] for m in written.words.finditer(rule) if m[0] in written.adjoints)
                g = written.g[old, t].copy()
                for block in columns:
                    g[:, block] = 0
                return right({old: g})
            changed[k] = change
        kinds.add((s.kind, s.where[:3], len(named)))
        close(slips, s.gradients(slips.r), written.run(changed), s)
    assert {("twice", "", 2), ("sign", "", 2)} <= kinds and (name != "gated" or {("missing", "and", 2), ("missing", "", 3)} <= kinds), kinds


# ---- slips with an unknown factor, in a gradient as a whole, in time ------------------------------------------------------------------

@pytest.mark.parametrize("name", NETWORKS)
def test_a_slip_with_an_unknown_factor_is_right_plus_c_times_what_it_adds(name):
    """Of a line off by a factor: the line's share. Of weights that were updated too early: the line with dW for W."""
    slips, written, names, _ = network(name)
    kinds, right = collections.Counter(), written.run()
    for s in slips:
        if s.direction and s.edge is not None and not s.where:
            k, text = names.index(s.edge.line), re.sub(r"\(\w+ - η (\w+)\)", r"\1", s.wrote.partition("= ")[2])
            slopes = {f"d{n}": x for n, x in right.items()}
            without = written.run({k: lambda t, right: 0 * right()})
            other = written.run() if s.kind == "scaled" else written.run({k: lambda t, right: written.rule(text, t, slopes)})
            close(slips, s.gradients(slips.r), {n: other[n] - without[n] for n in other}, s)
            kinds[s.kind] += 1
    assert kinds["scaled"] == kinds["updated weights"] >= 1, kinds


@pytest.mark.parametrize("name", NETWORKS)
def test_a_slip_in_one_gradient_leaves_the_others_as_they_are(name):
    slips, written, _, blocks = network(name)
    right, seen = written.run(), collections.Counter()
    g, carried = dict(written.g), {}
    for target, back, rule in written.lines:
        if back:
            for t in STEPS:
                carried[t - 1] = carried.get(t - 1, 0) + written.rule(rule, t)
    for s in slips:
        if s.where.startswith("in d"):
            leaf = s.where.removeprefix("in d")
            x = right[leaf]
            seen[s.kind] += 1
            if s.kind == "order of gates":
                order, ours = (re.split(", ", part) for part in re.search("order (.*), which is (.*) here", s.says).groups())
                assert sorted(order) == sorted(ours) == sorted(blocks) and ours == list(blocks) != order
                new = np.concatenate([x[..., blocks[m]] for m in order], -1)
            elif s.kind == "wrong adjoint":
                what, t = re.search(r"is (?:the adjoint (.*) at t=|what is carried into step )(\d)", s.says).groups()
                new = carried[int(t)] if what is None else g[what, int(t)]
            else:
                new = {"zero": 0 * x, "scale": x, "decay": written.value(leaf, 1), "transposed": x.T}[s.kind]
            close(slips, s.gradients(slips.r), {n: new if n == leaf else (0 if s.direction else 1) * v for n, v in right.items()}, s)
    n = len(right)
    assert seen["zero"] == seen["scale"] == seen["decay"] == n
    assert (seen["transposed"], seen["order of gates"]) == ((0, 3) if name == "gated" else (1, 0))


MASKS = {  # what is said of the terms of loss t through step k -> how often they are there
    "nothing is carried back in time: only the terms k = t are there": lambda t, k: k == t,
    "truncated: losses reach back 1 step and no further": lambda t, k: k >= t - 1,
    "truncated: losses reach back 2 steps and no further": lambda t, k: k >= t - 2,
    "only the last step's loss is differentiated": lambda t, k: t == 4,
    "the last step's loss is missing": lambda t, k: t < 4,
    "the first step's loss is missing": lambda t, k: t > 1,
    "the first step k = 1 is missing in the sum over k": lambda t, k: k in (0, 2, 3, 4),
    "the last step k = T is missing in the sum over k": lambda t, k: k < 4,
    "only the longest path (k = 1) is there: the explicit terms are missing": lambda t, k: k == 1,
    "the explicit terms k = t are missing: only what is carried is there": lambda t, k: k < t,
    "each term is there t-k+1 times: the total derivative inside the sum over k, where the immediate one is meant": lambda t, k: t - k + 1,
    "the explicit terms k = t are there twice": lambda t, k: 2 if k == t else 1,
    "only the terms t - k = 1 are there": lambda t, k: k == t - 1,
    "the loss of step t is there T-t+1 times": lambda t, k: 5 - t,
    "the loss of step t is there t times": lambda t, k: t,
    "the loss of step t is divided by t": lambda t, k: 1 / t,
    "step k is counted k times": lambda t, k: k,
    "only the last step is differentiated, with no way back": lambda t, k: (t, k) == (4, 4),
    "only the one path from the last loss to the first step": lambda t, k: (t, k) == (4, 1)}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_slip_in_the_double_sum_has_the_terms_that_it_says(name):
    slips, written, _, _ = network(name)
    loss = next(k for k, (_, _, rule) in enumerate(written.lines) if re.search(r"\by\b", rule))
    leaves = [k for k, (target, _, _) in enumerate(written.lines) if target in written.leaves]
    back = [k for k, (_, back, _) in enumerate(written.lines) if back]

    def term(t, k):
        """The gradients of loss t through the parameters' use at step k; k = 0: of the initial state."""
        changed = {loss: lambda s, right: right() * (s == t)}
        changed.update({line: lambda s, right: right() * (s == k) for line in leaves})
        if k:
            changed.update({line: lambda s, right: right() * (s > 1) for line in back})
        return written.run(changed)
    C = {(t, k): term(t, k) for t in STEPS for k in range(t + 1)}
    said = {s.says: s for s in slips if s.kind.startswith("terms: ")}
    assert said.keys() == MASKS.keys()
    for says, s in said.items():
        close(slips, s.gradients(slips.r), {n: sum(MASKS[says](*at) * c[n] for at, c in C.items()) for n in slips.spans}, s)


def test_a_slip_in_the_backward_loop_is_what_it_says():
    slips, written, _, _ = network("elman")
    right, g, lines = written.run(), dict(written.g), [target + "[t-1]" * back for target, back, _ in written.lines]
    W, h = written.value("W_h", 1), [written.value("h", t) for t in range(T + 1)]

    def back(dh, t):
        """What a step hands back of an adjoint that arrives at its state."""
        return dh * (1 - h[t] ** 2) @ W.T

    def check(words, *gradients):
        found = [s for s in slips if s.says.startswith(words)]
        for s, theirs in zip(found, gradients, strict=True):
            close(slips, s.gradients(slips.r), theirs, s)
    check("the backward loop runs forward in time", written.run(order=[1, 2, 3, 4]))
    check("the carry is not reset to 0", written.run(carry={"dh": g["dh", 0]}))
    more = {k: lambda t, right: right({"da": back(g["dh", t], t) * (1 - h[t] ** 2)})
            for k, line in enumerate(lines) if line in ("dW_h", "dW_x", "db_h")}
    check("the product of Jacobians has one factor too many at its low end", {**written.run(more), "h_0": right["h_0"]})
    own = {t: g["do", t] @ written.value("W_y", t).T for t in STEPS}        # of a loss, at its own step: goes back from the next,
    check("the product of Jacobians has one factor too many at its high end", *(
        written.run({lines.index("dh"): lambda t, right: back(own[t], t + 1) if t < T else last})
        for last in (np.zeros_like(own[T]), back(own[T], T))))              # and from the last is lost, or goes through that again
