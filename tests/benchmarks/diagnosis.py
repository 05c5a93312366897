"""How often does ``mg.check.diagnose`` name what is wrong? A corpus of wrong derivations, written without it.

    python tests/benchmarks/diagnosis.py            the table of docs/diagnosis.md
    python tests/benchmarks/diagnosis.py --quick    two cells, one probe
    python tests/benchmarks/diagnosis.py --missed   and what was not named

Each cell's back-propagation stands in derivation_lines.py as lines of NumPy, written by hand. The mistakes, in derivation_mistakes.py, are
edits of these lines' *source text* (a factor dropped, a transpose forgotten, h for h_prev, …) and of the loop around them; they know
nothing of recorded graphs.

A mistake counts as *named* only if what diagnose says first, carried out on two other probes, gives the wrong derivation's numbers
there too, to 1e-8: the same mistake, not one that happens to have the same numbers.
"""

import argparse
import ast
import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np  # noqa: E402

import minigrad as mg  # noqa: E402
from minigrad.check.diagnose import diagnose  # noqa: E402
from tests.benchmarks.derivation_lines import CELLS, FUNCTIONS, B, Problem, source_lines  # noqa: E402
from tests.benchmarks.derivation_mistakes import carried_out, catalogue_edits, later_edits, wrong_derivations  # noqa: E402


def apart(a, b):
    """Largest difference of two dicts of gradients, each relative to its own largest entry."""
    top = max(np.max(np.abs(v)) for v in b.values())
    return max(np.max(np.abs(a[n] - b[n])) / max(np.max(np.abs(b[n])), 1e-3 * top) for n in b)


def from_gradients(name, seeds, later, missed, limit):
    """Counts of (named, all) over every wrong derivation of a cell, from gradients alone."""
    named, total, by_label = 0, 0, defaultdict(lambda: [0, 0])
    for seed in seeds:
        problems = [Problem(name, 10 * seed + i) for i in range(3)]
        contexts = [diagnose.context(p.loss()) for p in problems]
        losses = [p.loss() for p in problems[:1]]
        right = [p.backward(source_lines(name)) for p in problems]
        leaves = list(contexts[0].reverse.leaves)
        assert diagnose(problems[0].packed(right[0]), losses[0], context=contexts[0]).ok, f"the lines of {name} are wrong"
        for label, lines, slip, after in wrong_derivations(problems[0], later)[:limit]:
            try:
                wrong = [carried_out(p, lines, slip, after) for p in problems]
            except (ValueError, NameError, TypeError):  # does not conform: it raises, and nobody gets numbers
                continue
            if any(not all(np.isfinite(v).all() and v.shape == p.p[n].shape for n, v in w.items()) for w, p in zip(wrong, problems)):
                continue
            if apart(wrong[0], right[0]) < 1e-6:
                continue
            found = diagnose(problems[0].packed(wrong[0]), losses[0], context=contexts[0])
            good = found.exact
            for p, w, c in list(zip(problems, wrong, contexts))[1:]:
                packed = p.packed(w)
                again = found.elsewhere(c)
                good = good and apart({n: again[n] for n in leaves}, {n: packed[n] for n in leaves}) < 1e-8
            named, total = named + good, total + 1
            by_label[label][0] += good
            by_label[label][1] += 1
            if missed and not good:
                edit = next((n for n, o in zip(lines, source_lines(name)) if n != o), "")
                print(
                    f"  missed: {name} seed {seed} {label}: {edit} {slip or ''} -> {'exact ' if found.exact else ''}{found.residual:.0e} "
                    + " && ".join(f"{e.says} ({e.where})" for e in found.explanations)
                )
    return named, total, by_label


def as_function(line):
    """``da = dh * (1 - h**2)`` -> ("da", a function of dh and h)."""
    target, _, right = line.partition("=")
    names = sorted({n.id for n in ast.walk(ast.parse(right.strip())) if isinstance(n, ast.Name)} - set(FUNCTIONS))
    scope = dict(FUNCTIONS)
    exec(compile(f"def line({', '.join(names)}):\n    return {right.strip()}", "<line>", "exec"), scope)
    return target.strip(" +"), scope["line"]


def from_lines(name, seeds, later, missed, limit, pairs=0):
    """Counts of (named, all) where every line is given as a function: one wrong line, or ``pairs`` times two of them."""
    from minigrad.check.explain.lines import carried_out as lines_carried_out
    from minigrad.check.lines import Values, evaluate

    named, total, located = 0, 0, 0
    for seed in seeds:
        problems = [Problem(name, 10 * seed + i) for i in range(2)]
        losses = [p.loss(own=True) for p in problems]
        contexts = [diagnose.context(loss) for loss in losses]
        given = [dict(problem.spec.get("constants", {}), y=problem.ys, B=B) for problem in problems]
        lines = source_lines(name)
        functions = dict(map(as_function, lines))
        first = diagnose(functions, losses[0], context=contexts[0], given=given[0])
        assert first.ok, f"the lines of {name} are wrong:\n{first}"
        values = [Values(c.reverse, given=g) for c, g in zip(contexts, given)]
        edits = []
        for i, line in enumerate(lines):
            for label, new in (
                later_edits(line, problems[0], np.random.default_rng([seed, i])) if later else catalogue_edits(line, problems[0])
            ):
                target, function = as_function(new)
                mine, right, _, trouble = evaluate(function, target, values[0])
                if not trouble and max(np.max(np.abs(a - b)) for a, b in zip(mine, right)) > 1e-6 * max(np.max(np.abs(b)) for b in right):
                    edits.append((label, target, function, new))
        chosen = [(e,) for e in edits[:limit]]
        if pairs:
            rng = np.random.default_rng(seed)
            chosen = []
            while len(chosen) < pairs:
                a, b = rng.choice(len(edits), 2, replace=False)
                if edits[a][1] != edits[b][1]:
                    chosen.append((edits[a], edits[b]))
        for case in chosen:
            found = diagnose({**functions, **{t: f for _, t, f, _ in case}}, losses[0], context=contexts[0], given=given[0])
            good = {e.yours for e in found.explanations} == {t for _, t, _, _ in case}
            located += good
            for e in found.explanations:
                function = next((f for _, t, f, _ in case if t == e.yours), None)
                if function is None:
                    continue
                mine, right, steps, _ = evaluate(function, e.yours, values[1])
                names = function.__code__.co_varnames[: function.__code__.co_argcount]
                again = (
                    [np.full_like(g, np.inf) for g in right]
                    if e.kind == "unknown"
                    else lines_carried_out(e.slip, e.yours, names, values[1], contexts[1], steps)
                )
                top = max(np.max(np.abs(b)) for b in right)
                ok = max(np.max(np.abs(a - b)) for a, b in zip(mine, again)) <= 1e-8 * top
                good = good and ok
                if missed and not ok:
                    print(f"  missed: {name} seed {seed} {[(c[0], c[3]) for c in case]} -> {e.residual:.0e} {e.says} ({e.where})")
            named, total = named + good, total + 1
    if located < total:
        print(f"  {name}: the wrong line itself was not found in {total - located} of {total}")
    return named, total


def correct_derivations(count):
    """Right derivations of all cells, float32 and float64, row and column convention: (false alarms, all)."""
    alarms, total = [], 0
    while total < count:
        for name in CELLS:
            for dtype in (np.float64, np.float32):
                problem = Problem(name, 1000 + total, dtype)
                loss = problem.loss()
                g = problem.packed({n: v.astype(dtype) for n, v in problem.backward(source_lines(name)).items()})
                for convention in ("row", "column"):
                    mine = g if convention == "row" else {n: v.T for n, v in g.items()}
                    found = (
                        diagnose(mine, loss, convention=convention)
                        if total % 50 == 0
                        else mg.check.compare(mine, loss, convention=convention)
                    )
                    total += 1
                    if not found.ok:
                        alarms.append((name, dtype.__name__, convention, str(found)))
    return alarms, total


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="two cells, one probe, a few mistakes each")
    parser.add_argument("--missed", action="store_true", help="print what was not named")
    parser.add_argument("--cells", default="", help="names, separated by commas")
    parser.add_argument("--probes", type=int, default=5)
    parser.add_argument("--only", default="gradients,lines,pairs,later,correct")
    o = parser.parse_args(arguments)
    cells = o.cells.split(",") if o.cells else list(CELLS)[:2] if o.quick else list(CELLS)
    seeds, limit = range(1 if o.quick else o.probes), 12 if o.quick else None
    rows, kinds = {}, defaultdict(lambda: [0, 0])
    for name in cells:
        rows[name] = {}
        if "gradients" in o.only:
            named, total, labels = from_gradients(name, seeds, False, o.missed, limit)
            rows[name]["gradients"] = named, total
            for k, (a, b) in labels.items():
                kinds[k[:1]][0] += a
                kinds[k[:1]][1] += b
        if "lines" in o.only:
            rows[name]["lines"] = from_lines(name, seeds, False, o.missed, limit)
        if "pairs" in o.only:
            rows[name]["two, lines"] = from_lines(name, seeds, False, o.missed, limit, pairs=4 if o.quick else 20)
        if "later" in o.only:
            rows[name]["later, gradients"] = from_gradients(name, seeds, True, o.missed, limit)[:2]
            rows[name]["later, lines"] = from_lines(name, seeds, True, o.missed, limit)
        print(f"{name:<12}" + "".join(f"  {k} {a}/{b} {100 * a / max(b, 1):.1f} %" for k, (a, b) in rows[name].items()), flush=True)
    totals = defaultdict(lambda: [0, 0])
    for row in rows.values():
        for k, (a, b) in row.items():
            totals[k][0] += a
            totals[k][1] += b
    print("\n" + "| cell | " + " | ".join(totals) + " |\n|---|" + "---|" * len(totals))
    for name, row in [*rows.items(), ("**all**", totals)]:
        print(
            f"| {name} | " + " | ".join(f"{row[k][0]} of {row[k][1]}, {100 * row[k][0] / max(row[k][1], 1):.1f} %" for k in totals) + " |"
        )
    if kinds:
        print("\nby kind, from gradients alone: " + ", ".join(f"{k} {a} of {b}" for k, (a, b) in sorted(kinds.items())))
    if "correct" in o.only:
        alarms, total = correct_derivations(64 if o.quick else 1000)
        print(f"\ncorrect derivations: {len(alarms)} false alarms in {total}")
        for alarm in alarms[:3]:
            print(*alarm)
    return totals


if __name__ == "__main__":
    main()
