"""The derivation as a NumPy function that runs alone: forward through the equations, back through the recursion, line by line."""
from __future__ import annotations

from collections.abc import Callable, Iterable

from .code import Code
from .expression import Gradient
from .functions import HELPERS
from .lines import LeafGradients
from .step import Step


def program(step: Step, leaf_gradients: LeafGradients, describe: Callable[[Code], str], flip: bool) -> tuple[str, Code]:
    """The source of ``bptt``: see the docstring that it gets."""
    code = Code(step, flip)
    names, starts = code.names, code.names.starts
    whole = {g.of: g for g in step.after}                           # gradients of what is the same in every step
    arguments = ["xs"]
    arguments += [starts[s.after] for s in step.states]
    arguments += [names[r] for r in step.parameters] + [names[r] for r in step.constants if r.shape]
    arguments += ["ys"] if step.loss is not None else ["dys"]
    arguments += [f"{names.ends[s.end]}=None" for s in step.carried]

    numbers = [f"{names[r]} = {v.item()!r}" for r, v in step.constants.items() if not r.shape]
    once = [f"{names[r]} = {code.write(r.definition)}" for r in step.once]
    forward = [f"{names[r]}[t] = {code.write(r.definition)}" for r in step.forward if r is not step.loss]
    if step.loss is not None:
        forward.append(f"L += {code.write(step.loss.definition)}")
    for r in step.parameters:                                       # sums that are a parameter's whole gradient are called after it
        g = whole.get(r)
        if g is not None and g.definition.op == "sum_t":
            code.sums.setdefault(g.definition, names[g])
    for g in step.after:
        if g.definition.op == "sum_t" and g.of not in step.parameters:
            code.sums.setdefault(g.definition, names[g])
    after = [f"{names[g]} = {code.write(g.definition)}" for g in reversed_order(step.after) if code.sums.get(g.definition) != names[g]]
    backward = [f"{names[g]} = {code.write(g.definition)}" for g in step.backward if g.of.computed]
    backward += [f"{name} += {code.write(e.args[0])}" for e, name in code.sums.items()]
    x_gradient = leaf_gradients[step.x]
    if x_gradient is not None:
        backward.append(f"dxs[t - 1] = {code.write(x_gradient)}")
    for s in step.carried:
        name, e = names.carries[s.carry], leaf_gradients[s.before]
        backward.append(f"{name} = {code.write(e) if e is not None else f'0 * {name}'}")

    lines = ["T = len(xs)"]
    if code.used.get("H"):
        first = next((s.after for s in step.states[:1] if len(s.after.shape) in (1, 2) and s.after.shape[-1] == code.width), None)
        lines.append(f"H = {starts[first]}.shape[{-2 if code.flip else -1}]" if first is not None else f"H = {code.width}")
    if code.used.get("B"):
        lines.append(f"B = xs.shape[{-1 if code.flip else 1}]")
    classes = next((e for r in step.forward for e in [r.definition] if e.op == "softmax_cross_entropy"), None)
    if step.target is not None and classes is not None and len(step.target.shape) < len(classes.args[0].shape):
        width = classes.args[0].shape[-1]
        rows = next((names[r] for r in step.parameters if r.shape == (width,)), None)
        length = f"len({rows})" if rows else str(width)
        lines.append("if ys.dtype.kind in 'iu':        # class numbers become one-hot " + ("columns" if code.flip else "rows"))
        lines.append(f"    ys = np.eye({length}, dtype={code.dtype()})[ys]" + (".mT" if code.flip else ""))
    lines += numbers
    lines += once
    dicts = [names[r] for r in step.forward if r is not step.loss and r not in starts]
    lines += [f"{names[s.after]} = {{0: {starts[s.after]}}}" for s in step.states]
    if dicts:
        lines.append(f"{' = '.join(dicts)} = {{}}" if len(dicts) == 1 else f"{', '.join(dicts)} = {', '.join('{}' for _ in dicts)}")

    def given(body: list[str]) -> list[str]:
        """What the lines of a loop take from the arguments."""
        x = ["x = xs[t - 1]"] if any(_word("x", line) for line in body) else []
        return x + (["y = ys[t - 1]"] if step.target is not None and any(_word("y", line) for line in body) else [])
    lines += ["L = 0.0"] if step.loss is not None else []
    lines.append("for t in range(1, T + 1):")
    lines += ["    " + line for line in given(forward) + forward]
    lines.append("")
    gradients = {r: names[whole[r]] if r in whole else names.free(f"d{names[r]}") for r in step.parameters}
    lines += [f"{gradients[r]} = np.zeros_like({names[r]})" for r in step.parameters if r not in whole]
    for e, name in code.sums.items():
        parameter = next((names[g.of] for g in step.after if names[g] == name and g.of in step.parameters), None)
        lines.append(f"{name} = np.zeros_like({parameter})" if parameter else f"{name} = 0.0")
    if x_gradient is not None:
        lines.append("dxs = np.zeros_like(xs)")
    for s in step.carried:
        end = names.ends[s.end]
        lines.append(f"{names.carries[s.carry]} = np.zeros_like({starts[s.after]}) if {end} is None else {end}")
    lines.append("for t in range(T, 0, -1):")
    lines += ["    " + line for line in given(backward) + backward]
    lines += after
    results = {"L": "L"} if step.loss is not None else {}
    if x_gradient is not None:
        results["xs"] = "dxs"
    for s in step.carried:
        results[starts[s.after]] = names.carries[s.carry]
    results.update((names[r], gradient) for r, gradient in gradients.items())
    lines.append("return {" + ", ".join(f'"{k}": {v}' for k, v in results.items()) + "}")
    head = [HELPERS[h] for h in HELPERS if code.used.get(h)] + list(code.stubs.values())
    doc = describe(code)
    source = ["import numpy as np"] + head
    body = "\n".join(wrapped("    " + line) if line else "" for line in lines)
    text = "\n\n\n".join(source) + f"\n\n\ndef bptt({', '.join(arguments)}):\n" + f'    """{doc}"""\n' + body + "\n"
    return text, code


def wrapped(line: str, width: int = 110) -> str:
    """A long line of code goes on below, broken within brackets."""
    indent = " " * (len(line) - len(line.lstrip()) + 8)
    done: list[str] = []
    before = inside = 0
    while len(line) > width:
        depth, at = before, 0
        for i, ch in enumerate(line[:width]):
            depth += (ch in "([{") - (ch in ")]}")
            if ch == " " and depth and i > len(indent) and line[i - 1] in ",+-":
                at, inside = i, depth
        if not at:
            break
        done.append(line[:at])
        line, before = indent + line[at + 1:], inside
    return "\n".join([*done, line])


def reversed_order(after: Iterable[Gradient]) -> list[Gradient]:
    """Gradients of what is the same in every step: each after those it needs, which are of later values."""
    return sorted(after, key=lambda g: -g.of.index)


def _word(word: str, line: str) -> bool:
    at = line.find(word)
    while at >= 0:
        before, behind = line[at - 1:at], line[at + len(word):at + len(word) + 1]
        if not (before.isalnum() or before in ("_", ".")) and not (behind.isalnum() or behind == "_"):
            return True
        at = line.find(word, at + 1)
    return False
