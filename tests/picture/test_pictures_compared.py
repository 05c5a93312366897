"""What docs/pictures/compared.py counts on our pictures, and that it counts right."""
import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

SPEC = importlib.util.spec_from_file_location("compared", Path(__file__).parents[2] / "docs/pictures/compared.py")
assert SPEC is not None and SPEC.loader is not None
compared = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(compared)
graphviz = pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz's dot is not installed")


def test_lines_that_cross():
    flat, steep, far = np.array([(0.0, 0.0), (9.0, 1.0)]), np.array([(4.0, -5.0), (5.0, 5.0)]), np.array([(4.0, 2.0), (5.0, 5.0)])
    assert compared.cross(flat, steep) and compared.cross(steep, flat) and not compared.cross(flat, far)


@graphviz
def test_a_bad_picture_is_counted_as_bad():
    source = ('digraph { node [shape=box, width=1, height=1, fixedsize=true]; a [pos="0,0!"]; b [pos="300,300!"]; c [pos="0,300!"]; d [pos="300,0!"]; '
              'e [pos="40,300!"]; f [pos="150,0!"]; a -> b; c -> d; a -> d; }')
    found = compared.counted(source, False)
    assert found["shapes"] == 6 and found["arrows"] == 3
    placed = compared.placed
    try:                                                        # the same with graphviz laying nothing out
        compared.placed = lambda source, positions: (
            {n: (x - 36, y - 36, x + 36, y + 36, label) for n, (x, y, label) in enumerate(
                [(0, 0, "tanh"), (300, 300, "tanh"), (0, 300, ""), (300, 0, "tanh"), (40, 300, ""), (150, 0, "")])},
            [(0, 1, np.array([(0.0, 0), (300, 300)])), (2, 3, np.array([(0.0, 300), (300, 0)])), (0, 3, np.array([[x, 0.0] for x in range(301)])),
             (2, 4, np.array([(0.0, 300), (4, 300)]))])
        found = compared.counted(source, False)
    finally:
        compared.placed = placed
    # c and e lie on each other, an arrow runs through f, another is 4 points long; a -> d runs to the right, a -> b as far up
    assert (found["crossings"], found["overlaps"], found["sideways"]) == (1, 3, "1 of 2")


@graphviz
@pytest.mark.parametrize("kind, crossings, sideways", [("RNN", 0, "3 of 3"), ("GRU", 8, "6 of 6"), ("LSTM", 8, "18 of 22"), ("stacked", 0, "6 of 10"),
                                                       ("bidirectional", 0, "6 of 6")])
def test_our_pictures_have_no_overlaps_and_no_needless_crossings(kind, crossings, sideways):
    found = compared.counted(compared.ours(kind), True)
    assert (found["overlaps"], found["sideways"]) == (0, sideways) and found["crossings"] <= crossings


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "stacked"])
def test_no_drawing_of_a_step_has_fewer_crossings(kind):
    pytest.importorskip("networkx", reason="planarity is tested with networkx: pip install networkx")
    drawn, needed = compared.forced(kind)
    assert drawn == needed
