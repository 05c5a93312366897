"""What diagnose tries on two networks and how far-fetched each is, as a list to be read; and on odd graphs, how many of each kind,
how far-fetched they are together, and by how much they change the gradients. After a change, read the difference:

    python tests/check/test_hypotheses.py
"""
import sys
from pathlib import Path

LIST = Path(__file__).with_name("hypotheses.txt")
SUMS = Path(__file__).with_name("effects.txt")
if __name__ == "__main__":
    sys.path[:0] = [str(LIST.parent), str(LIST.parent.parent.parent)]

import numpy as np                              # noqa: E402
import pytest                                   # noqa: E402

from minigrad.check.explain import short        # noqa: E402
from minigrad.check.explain.context import Context      # noqa: E402
from minigrad.check.perturb import Reverse      # noqa: E402
from minigrad.check.slips import Slips          # noqa: E402

from graphs import GRAPHS, fancy, two_packed    # noqa: E402
from networks import T, elman, gated, layered   # noqa: E402


def brief(wheres):
    text = ", ".join(where or "always" for where in wheres)
    for said in ("at t=", "except at t="):
        text = text.replace(", ".join(f"{said}{t}" for t in range(1, T + 1)), f"{said}1…{T}")
    return text


def listed(slips):
    """Line by line what could be wrong with it; then mistakes of the whole."""
    entries = {}
    for s in slips:
        line = "the whole" if s.edge is None else slips.say.line(s.edge)
        texts = " | ".join(dict.fromkeys((s.wrote, s.says)))
        entries.setdefault(line, {}).setdefault(texts, {}).setdefault(round(s.cost, 3), []).append(s.where)
    for line, its in entries.items():
        yield line
        for texts, costs in its.items():
            yield f"    {texts} | " + "; ".join(f"{cost:g} {brief(wheres)}" for cost, wheres in costs.items())


def text():
    def of(network):
        return list(listed(Slips(Reverse(network()[0]))))
    gates, products = of(gated), of(layered)
    return "\n".join(["==== elman", *of(elman), "==== gated: what is said of one gate, and of what has two terms",
                      *(line for line in gates if "for z" in line or line.startswith(("d", "    dz"))),
                      "==== layered: of what has two factors", *(line for line in products if line.startswith("    dr"))]) + "\n"


def test_the_hypotheses_are_those_of_the_list():
    assert text() == LIST.read_text(encoding="utf-8")


def summed(context):
    """Kind by kind: how many are tried, in how many different words, in how many groups of the same mistake, how many change something;
    what these cost together; and what all of them change, log(1 + relative)."""
    entries, size = {}, np.linalg.norm(context.right)
    for s, v, cost in zip(context.list, context.vectors, context.cost):
        change = np.linalg.norm(v - (0 if s.direction else context.right)) / size
        entries.setdefault(s.kind.partition(":")[0], []).append((s, cost if np.isfinite(cost) else 0, np.isfinite(cost), np.log1p(change)))
    for kind, its in entries.items():
        slips, *numbers = zip(*its)
        cost, some, change = map(sum, numbers)
        texts, groups = len({(s.where, s.wrote, s.says) for s in slips}), len({s.group for s in slips} - {None})
        yield f"    {kind}: {len(slips)}, {texts}, {groups}, {some}; {cost:.6g}; {change:.6g}"


def sums(graph):
    return "\n".join([f"==== {graph.__name__}", *summed(Context(graph()))]) + "\n"


@pytest.mark.parametrize("graph", [fancy, two_packed])
def test_where_a_mistake_is_is_said_once(graph):
    for slip in Slips(Reverse(graph())):
        assert short(slip) == slip.says if slip.where in slip.says else short(slip) == f"{slip.says}, {slip.where}"


@pytest.mark.parametrize("graph", GRAPHS)
def test_on_any_graph_they_are_as_many_and_change_as_much(graph):
    assert sums(graph) in SUMS.read_text(encoding="utf-8")


if __name__ == "__main__":
    LIST.write_text(text(), encoding="utf-8")
    SUMS.write_text("".join(map(sums, GRAPHS)), encoding="utf-8")
