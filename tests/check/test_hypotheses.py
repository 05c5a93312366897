"""What diagnose tries on two networks and how far-fetched each is, as a list to be read. After a change, read the difference:

    python tests/check/test_hypotheses.py > tests/check/hypotheses.txt
"""
import sys
from pathlib import Path

LIST = Path(__file__).with_name("hypotheses.txt")
if __name__ == "__main__":
    sys.path[:0] = [str(LIST.parent), str(LIST.parent.parent.parent)]

from minigrad.check.perturb import Reverse      # noqa: E402
from minigrad.check.slips import Slips          # noqa: E402

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


if __name__ == "__main__":
    print(text(), end="")
