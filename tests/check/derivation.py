"""A network of networks.py with its derivation as a program, in which lines can be written otherwise."""
import functools

import numpy as np

from minigrad.check import diagnose
from minigrad.check.explain.context import Context

from networks import T
from written import Written


class Derivation:
    def __init__(self, network, *seed):
        self.network, self.seed = network, seed

    @functools.cached_property
    def parts(self):
        loss, values, _ = self.network(*self.seed)
        context = Context(loss)
        return loss, context, Written([context.reverse.phrases.line(e) for e in context.slips.last.values()], values, T)

    loss = property(lambda self: self.parts[0])
    context = property(lambda self: self.parts[1])
    program = property(lambda self: self.parts[2])

    def __call__(self, **lines):
        """The gradients where the lines of these targets have other texts (or functions of the step); ``dh_``: what is handed back to dh."""
        changed = {}
        for target, text in lines.items():
            at = target.removesuffix("_"), int(target.endswith("_"))
            k = next(k for k, line in enumerate(self.program.lines) if line[:2] == at and line[0] != line[2])
            changed[k] = lambda t, right, text=text: text(t) if callable(text) else self.program.rule(text, t)
        return self.program.run(changed)

    def adjoints(self, name, **lines):
        self(**lines)
        return [self.program.g[name, t] for t in range(1, T + 1)]

    def value(self, name, t=1):
        return self.program.value(name, t)

    def diagnose(self, derived, **options):
        return diagnose(derived, self.loss, context=self.context, **options)


def each(gradients, change):
    return {name: change(g) for name, g in gradients.items()}


def same(a, b, tolerance=1e-9):
    return all(np.max(np.abs(a[name] - b[name])) <= tolerance * np.max(np.abs(b[name])) for name in b)
