"""A derivation as text, run as it is written: its lines, step by step from the last to the first, in plain NumPy on values that were
computed by hand. Nothing of minigrad.check is used, so what a line says can be held against what it is taken for."""
import re

import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


FUNCTIONS = {"tanh": np.tanh, "sigmoid": sigmoid, "σ": sigmoid, "softmax": softmax, "log": np.log, "sign": np.sign, "roll": np.roll}


def split(line):
    """'dh[t-1] += da @ W.T' -> ('dh', 1, 'da @ W.T')."""
    target, _, text = re.split(r" (\+?=) ", line, maxsplit=1)
    return target.removesuffix("[t-1]"), int(target.endswith("[t-1]")), text


class Written:
    """``lines``: texts in the order of the walk; ``values``: name -> {step: array}, a parameter's {None: array}."""

    def __init__(self, lines, values, T):
        self.lines, self.values, self.T = [split(line) for line in lines], values, T
        self.leaves = {"d" + name: name for name, v in values.items() if None in v}
        self.adjoints = sorted({target for target, _, _ in self.lines}, key=len, reverse=True)
        self.words = re.compile("|".join([r"([^\W\d]\w*)\[t([+-]\d)\]", *(
            rf"(?<![\w.]){re.escape(word)}(?![\w\[(])" for word in sorted([*self.adjoints, *values], key=len, reverse=True))]))

    def value(self, name, t):
        its = self.values[name]
        return its[None] if None in its else its.get(t)

    def rule(self, text, t, g=None, shift=None, like=None, empty=None):
        """The value of a right-hand side at a step; None where it asks for what no step has.

        g      adjoints in place of those that were found      shift  a name or h[t-1] -> by how many steps it is moved
        like   the array that a part of it is a part of        empty  stands for what no step has
        """
        for way, reduce in (("sum over the batch of ", np.sum), ("mean over the batch of ", np.mean)):
            if text.startswith(way):
                inner = self.rule(text.removeprefix(way), t, g, shift)
                return None if inner is None else reduce(inner, axis=0)
        part, at, columns = text.partition(", at [..., ")
        if at:
            whole = np.zeros_like(like)
            whole[..., slice(*(int(n) if n else None for n in columns[:-1].split(":")))] = self.rule(part, t, g, shift)
            return whole
        g, shift, names, missing = g or {}, shift or {}, dict(FUNCTIONS), []

        def known(match):
            word, s = match[0], t + shift.get(match[0], 0)
            value = (self.value(match[1], s + int(match[2])) if match[1] else g[word] if word in g else
                     self.g.get((word, s)) if word in self.adjoints else self.value(word, s))
            if value is None:
                value = empty
                missing.extend([word][empty is not None:])
            names[f"_{len(names)}"] = value
            return f"_{len(names) - 1}"
        text = self.words.sub(known, text)
        return None if missing else eval(text, names)

    def run(self, changed=None, order=None, carry=None):
        """The gradients, dict name -> array; the adjoints stay in ``g``.

        changed  number of a line -> function(step, right) -> what it gives instead; right(g) is what it gives as it stands, with
                 other adjoints g on request
        order    of the steps, if not from the last to the first        carry  adjoint -> what it holds before the first of them
        """
        changed, order = changed or {}, list(order or range(self.T, 0, -1))
        self.g = {(name, order[0]): array for name, array in (carry or {}).items()}
        total = {name: np.zeros_like(v[None]) for name, v in self.values.items() if None in v}
        for late in (False, True):                      # a parameter's lines come last, and know all adjoints
            for t, before in zip(order, [*order[1:], 0]):
                for k, (target, back, text) in enumerate(self.lines):
                    if target == text or (target in self.leaves) != late:
                        continue
                    like = self.value(target[1:], t) if target[1:] in self.values else None

                    def right(g=None):
                        return self.rule(text, t, g, like=like)
                    part = changed[k](t, right) if k in changed else right()
                    if part is None:                    # of a step before the first, or after the last
                        continue
                    if re.search(r"\by\b", text):        # the loss's derivative: of a sum of losses
                        part = part * self.g.get(("dtotal", t), 1)
                    if late:
                        total[self.leaves[target]] = total[self.leaves[target]] + part
                    else:
                        at = target, before if back else t
                        self.g[at] = self.g.get(at, 0) + part
        for name in total:                              # what is handed to step 0 is an initial state's gradient
            if name.endswith("_0"):
                total[name] = total[name] + self.g["d" + name.removesuffix("_0"), 0]
        return total
