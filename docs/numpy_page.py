"""Writes docs/numpy.md, the table of what NumPy's functions do with a Tensor: ``python docs/numpy_page.py``."""
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import numpy as np                                                              # noqa: E402

from minigrad.ops import FUNCTIONS, Op                                          # noqa: E402
from minigrad.protocol.refused import INSTEAD, KEYWORDS, METHODS, PLAIN             # noqa: E402

OPENING = """\
# NumPy's functions on Tensors

*Written by `python docs/numpy_page.py` from the op table; do not edit.*

A forward pass is written in NumPy. Every function of NumPy does one of three things with a Tensor:

* it **differentiates**: the answer is a Tensor, and gradients flow through it;
* it **passes through**: the answer is a plain array or number, since it has no gradient anywhere (a shape, a comparison, a position);
* it **raises** a `TypeError` that says what to write instead. Nothing is cut from the graph silently.

```python
import numpy as np
import minigrad as mg

x = mg.parameter([3.0, 1.0, 2.0], name="x")
print(np.sort(x).op, np.argsort(x), np.ones(3) * x > 1.5)
```
<!-- prints -->
```text
<op getitem> [1 2 0] [ True False  True]
```

<!-- raises: TypeError np.nanmax has no gradient rule in minigrad; write instead: np.max(np.where(np.isnan(x), -np.inf, x)) -->
```python
np.nanmax(x)
```

An array may stand on either side (`a + x`, `x + a`), and lists and numbers are arrays. `x += a` makes a new Tensor; `a += x`
raises, since it would write a Tensor into an array; so does assignment, `a[0] = x` and `x[0] = a`. A function that only turns its
arguments into arrays (`np.asarray`, `np.full`, `float`) raises for a Tensor that needs gradients, and says so.

**Where there is no slope.** A function with a corner takes the slope in the middle: `absolute` 0 at 0; equal candidates of
`maximum`, `minimum`, `max` and `min` share the gradient; `relu` takes 0 at 0. A length has a corner too, so `norm` and `std` take
0 where they are 0, and not the NaN that the chain rule's 0 · ∞ would give. `sqrt` itself has an infinite slope at 0, and gives
it.

**Nothing to take.** `softmax` and `log_softmax` along an empty axis are empty, `logsumexp` of nothing is -inf; `max` of nothing
raises, as NumPy's does, and `mean` of nothing is NumPy's NaN with its warning.
"""


def row(*cells):
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def code(names, room="np."):
    return ", ".join(f"`{room}{name}`" for name in names)


def named():
    """name -> function, of np and np.linalg, for every name that the table knows."""
    return {prefix + name: function for prefix, room in (("", np), ("linalg.", np.linalg)) for name in dir(room)
            if callable(function := getattr(room, name)) and function in FUNCTIONS and not name.startswith("_")}


def page():
    lines = [OPENING, "## Differentiates", "", "An op of the table, or a composition of ops.", "", row("function", "is"), "|---|---|"]
    together: dict = {}
    for name, function in sorted(named().items()):
        together.setdefault(FUNCTIONS[function], []).append(name)
    for record, names in together.items():
        how = f"op {record.name}" if isinstance(record, Op) else (record.__doc__ or "").splitlines()[0].rstrip(".")
        lines.append(row(code(names), how))
    lines += ["", "## Passes through", "", row("", "functions"), "|---|---|"]
    lines += [row(kind, code(names.split())) for kind, names in PLAIN.items()]
    lines += ["", "## Raises, and says what to write instead", "", row("function", "instead"), "|---|---|"]
    link = "(docs/write-an-op.md)", "([Write an op](write-an-op.md))"
    lines += [row(code(names.split()), text.replace(*link)) for names, text in INSTEAD.items()]
    lines += ["", "Any other function (of `np.fft`, of SciPy) raises too.", "", "## Methods and keywords of ufuncs", "",
              "`reduce` of `np.add`, `np.multiply`, `np.maximum`, `np.minimum` and `np.logaddexp`, `np.add.accumulate`, and `outer` "
              "of every ufunc above differentiate. The others raise:", "", row("method or keyword", "instead"), "|---|---|"]
    lines += [row(f"`.{name}`", text) for name, text in METHODS.items()] + [row(f"`{name}=`", text) for name, text in KEYWORDS.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (HERE / "numpy.md").write_text(page(), encoding="utf-8")
