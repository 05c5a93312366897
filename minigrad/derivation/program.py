"""The derivation as a NumPy function that runs alone: forward through the equations, back through the recursion, line by line."""
from .code import Code
from .functions import HELPERS


def program(step, leaf_gradients, describe, **options):
    """The source of ``bptt``: see the docstring that it gets."""
    code = Code(step, **options)
    code.sums = {}
    names = code.identifiers
    arguments = ["xs"]
    arguments += [code.starts[after] for _, after, *_ in step.states]
    arguments += [names[r] for r in step.parameters] + [names[r] for r in step.constants if r.shape]
    arguments += ["ys"] if step.loss is not None else ["dys"]
    ends = [code.ends[s[3]] for s in step.states if s[2] is not None]
    arguments += [f"{end}=None" for end in ends]

    numbers = [f"{names[r]} = {v.item()!r}" for r, v in step.constants.items() if not r.shape]
    once = [f"{names[r]} = {code.write(r.definition)}" for r in step.once]
    forward = [f"{names[r]}[t] = {code.write(r.definition)}" for r in step.forward if r is not step.loss]
    if step.loss is not None:
        forward.append(f"L += {code.write(step.loss.definition)}")
    for r in step.parameters:                                       # sums that are a parameter's whole gradient are called after it
        g = next((g for g in step.after if g.of is r), None)
        if g is not None and g.definition.op == "sum_t":
            code.sums.setdefault(g.definition, names[g])
    for g in step.after:
        if g.definition.op == "sum_t" and g.of not in step.parameters:
            code.sums.setdefault(g.definition, names[g])
    after = [f"{names[g]} = {code.write(g.definition)}" for g in reversed_order(step.after) if code.sums.get(g.definition) != names[g]]
    backward = [f"{names[g]} = {code.write(g.definition)}" for g in step.backward if g.of.definition is not None]
    backward += [f"{name} += {code.write(e.args[0])}" for e, name in code.sums.items()]
    x_gradient = leaf_gradients.get(step.x)
    if x_gradient is not None:
        backward.append(f"dxs[t - 1] = {code.write(x_gradient)}")
    nexts = [(code.carries[s[2]], leaf_gradients.get(s[0])) for s in step.states if s[2] is not None]
    nexts = [(name, code.write(e) if e is not None else f"0 * {name}") for name, e in nexts]
    backward += [f"{name} = {text}" for name, text in nexts]

    lines = ["T = len(xs)"]
    first = step.states[0] if step.states else None
    if code.used.get("H"):
        measured = len(first[1].shape) in (1, 2) and first[1].shape[-1] == code.width
        lines.append(f"H = {code.starts[first[1]]}.shape[{-2 if code.flip else -1}]" if measured else f"H = {code.width}")
    if code.used.get("B"):
        lines.append(f"B = xs.shape[{-1 if code.flip else 1}]")
    classes = next((e for r in step.forward for e in [r.definition] if e.op == "softmax_cross_entropy"), None)
    if step.target is not None and classes is not None and len(step.target.shape) < len(classes.args[0].shape):
        width = classes.args[0].shape[-1]
        rows = next((names[r] for r in step.parameters if r.shape == (width,)), None)
        width = f"len({rows})" if rows else width
        lines.append("if ys.dtype.kind in 'iu':        # class numbers become one-hot " + ("columns" if code.flip else "rows"))
        lines.append(f"    ys = np.eye({width}, dtype={code.dtype()})[ys]" + (".mT" if code.flip else ""))
    lines += numbers
    lines += once
    dicts = [f"{names[r]}" for r in step.forward if r is not step.loss and r not in code.starts]
    lines += [f"{names[after]} = {{0: {code.starts[after]}}}" for _, after, *_ in step.states]
    if dicts:
        lines.append(f"{' = '.join(dicts)} = {{}}" if len(dicts) == 1 else f"{', '.join(dicts)} = {', '.join('{}' for _ in dicts)}")

    def given(body):
        """What the lines of a loop take from the arguments."""
        x = ["x = xs[t - 1]"] if any(_word("x", line) for line in body) else []
        return x + (["y = ys[t - 1]"] if step.target is not None and any(_word("y", line) for line in body) else [])
    lines += ["L = 0.0"] if step.loss is not None else []
    lines.append("for t in range(1, T + 1):")
    lines += ["    " + line for line in given(forward) + forward]
    lines.append("")
    for r in step.parameters:
        g = next((g for g in step.after if g.of is r), None)
        if g is None:
            lines.append(f"{code.free('d' + names[r])} = np.zeros_like({names[r]})")
    for e, name in code.sums.items():
        parameter = next((names[g.of] for g in step.after if names[g] == name and g.of in step.parameters), None)
        lines.append(f"{name} = np.zeros_like({parameter})" if parameter else f"{name} = 0.0")
    if x_gradient is not None:
        lines.append("dxs = np.zeros_like(xs)")
    for s in step.states:
        if s[2] is not None:
            end, start = code.ends[s[3]], code.starts[s[1]]
            lines.append(f"{code.carries[s[2]]} = np.zeros_like({start}) if {end} is None else {end}")
    lines.append("for t in range(T, 0, -1):")
    lines += ["    " + line for line in given(backward) + backward]
    lines += after
    results = {"L": "L"} if step.loss is not None else {}
    if x_gradient is not None:
        results["xs"] = "dxs"
    for s in step.states:
        if s[2] is not None:
            results[code.starts[s[1]]] = code.carries[s[2]]
    for r in step.parameters:
        g = next((g for g in step.after if g.of is r), None)
        results[names[r]] = names[g] if g is not None else f"d{names[r]}"
    lines.append("return {" + ", ".join(f'"{k}": {v}' for k, v in results.items()) + "}")
    head = [HELPERS[h] for h in HELPERS if code.used.get(h)] + list(code.stubs.values())
    doc = describe(code, arguments)
    source = ["import numpy as np"] + head
    body = "\n".join(wrapped("    " + line) if line else "" for line in lines)
    text = "\n\n\n".join(source) + f"\n\n\ndef bptt({', '.join(arguments)}):\n" + f'    """{doc}"""\n' + body + "\n"
    return text, code


def wrapped(line, width=110):
    """A long line of code goes on below, broken within brackets."""
    indent = " " * (len(line) - len(line.lstrip()) + 8)
    done, before = [], 0
    while len(line) > width:
        depth, at = before, None
        for i, ch in enumerate(line[:width]):
            depth += (ch in "([{") - (ch in ")]}")
            if ch == " " and depth and i > len(indent) and line[i - 1] in ",+-":
                at, inside = i, depth
        if at is None:
            break
        done.append(line[:at])
        line, before = indent + line[at + 1:], inside
    return "\n".join([*done, line])


def reversed_order(after):
    """Gradients of what is the same in every step: each after those it needs, which are of later values."""
    return sorted(after, key=lambda g: -g.of.index)


def _word(word, line):
    at = line.find(word)
    while at >= 0:
        before, behind = line[at - 1:at], line[at + len(word):at + len(word) + 1]
        if not (before.isalnum() or before in ("_", ".")) and not (behind.isalnum() or behind == "_"):
            return True
        at = line.find(word, at + 1)
    return False
