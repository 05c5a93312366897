"""From the plan to a program: NumPy source that a person can read, with one function forward and one back.

``Writer`` decides where every value lives (a row of an array over all T steps, or one buffer that each step overwrites) and
writes the statements; ``statements`` says how one op is written.
"""
import builtins
import keyword
import re

import numpy as np

from ..graph.normal import PRODUCT, SUM
from ..ops import TABLE, values
from .plan import ASSEMBLE, CARRY, GATES, STATE, Plan
from .sources import Sources
from .trace import RULE_OF

_REDUCTIONS = {"sum": "add", "max": "maximum", "min": "minimum"}
NUMPY_NAMES = {"absolute": "absolute", "maximum": "maximum", "minimum": "minimum"}
RESERVED = {"T", "t", "np", "forward", "backward", "bptt", "rows", "saved", "picked", "scatter", *keyword.kwlist, *dir(builtins), *TABLE,
            *vars(values), *vars(np)}


class Writer:
    """Writes the program of a plan."""

    def __init__(self, plan: Plan, title="step"):
        self.plan, self.title = plan, title
        self.imports, self.sources, self.saving = {"empty", "zeros"}, Sources(), set()
        self.room, self.room_rows, self.room_views, self.constants, self.arrays = [], [], [], {}, {}
        self.names, self.taken, self.out_of = {}, set(RESERVED), {}
        self.alias_of, self.slice_of = {}, {}
        self.uses = {}
        self._name_leaves()
        self._demand()
        self.source = self._write()

    # ---- names ----------------------------------------------------------------------------------------------------------
    def unique(self, base):
        base = re.sub(r"\W", "_", base).strip("_") or "v"
        if base[0].isdigit():
            base = "v" + base
        name, k = base, 1
        while name in self.taken:
            k += 1
            name = f"{base}_{k}"
        self.taken.add(name)
        return name

    def _name_leaves(self):
        defaults = {"x": "x", "state": "s", "invariant": "c", "cotangent": "dy", "carry": "d"}
        for v in self.plan.values:
            if v.op is None and v.kind != "number":
                base = v.name or defaults[v.kind]
                if v.kind == "carry":
                    continue
                if v.kind == "cotangent":
                    base = f"d{self.plan.y[v.position].name or 'y'}_all" if self.plan.y[v.position].name else "dy"
                self.names[v.id] = self.unique(base)

    def name(self, v):
        if v.id not in self.names:
            base = v.name or f"v{v.id}"
            if v.op is not None and v.op.name == "transpose" and not v.depends and not v.name:
                base = f"{self.name(v.inputs[0])}_T"
            self.names[v.id] = self.unique(base)
        return self.names[v.id]

    # ---- what must be there ----------------------------------------------------------------------------------------------
    def _demand(self):
        """Which values are needed over all steps, and where each is computed."""
        plan = self.plan
        self.batched, self.stored, self.once = {}, set(), {}        # id -> "forward" or "backward"
        self.folded, self.totals = {}, {}
        self.by_id = {v.id: v for v in plan.values}
        self._count()
        self.where = "forward"
        for v in self._in_loop(plan.loop):
            self._operands_ready(v, plan.loop)
        for v in plan.new:
            if v.id not in plan.loop:
                self._need(v)
        for v in plan.y:
            self._need(v)
        self.where = "backward"
        self.carry_stored = set()
        for v in self._in_loop(plan.back):
            self._operands_ready(v, plan.back)
        for v in plan.of_state:
            if v is not None and v.id not in plan.back:
                self._need(v)
        for v in plan.of_x:
            if v is not None:
                self._need(v)
        self.total_code = []
        for k, v in enumerate(plan.of_invariants):
            if v is not None:
                self._total_needs(v)

    def _count(self):
        plan, self.uses = self.plan, {}
        stack = [v for group in (plan.y, plan.new, plan.of_x, plan.of_state, plan.of_invariants) for v in group if v is not None]
        for v in stack:
            self.uses[v.id] = self.uses.get(v.id, 0) + 2
        seen = set()
        while stack:
            v = stack.pop()
            if v.id in seen:
                continue
            seen.add(v.id)
            for i in v.inputs:
                self.uses[i.id] = self.uses.get(i.id, 0) + 1
                stack.append(i)
        self.live = seen

    def _in_loop(self, ids):
        return [self.by_id[i] for i in sorted(ids) if i in self.live]

    def _operands_ready(self, v, loop):
        for i in v.inputs:
            if i.id not in loop and i.kind != "carry":
                self._need(i)

    def _need(self, root):
        """root must be there for all steps at once (or once, if it depends on parameters only)."""
        stack = [root]
        while stack:
            v = stack.pop()
            if v.op is None:
                if v.kind == "carry":
                    self.carry_stored.add(v.id)
                continue
            if v.depends == 0:
                if v.id not in self.once:
                    self.once[v.id] = {self.where}
                elif self.where in self.once[v.id]:
                    continue
                self.once[v.id].add(self.where)
                stack.extend(v.inputs)
                continue
            if v.id in self.plan.loop or v.id in self.plan.back:
                if v.is_view:
                    stack.append(v.inputs[0])
                self.stored.add(v.id)
                continue
            if v.id in self.batched:
                continue
            self.batched[v.id] = self.where
            stack.extend(v.inputs)

    def _total_needs(self, v):
        kind = self._total_kind(v)
        if kind == "sum":
            for i in v.inputs:
                self._total_needs(i)
        elif kind == "transpose":
            self._total_needs(v.inputs[0])
        elif kind == "reduce":
            self._need(v.inputs[0])
        elif kind == "product":
            self._need(v.inputs[0].inputs[0])
            self._need(v.inputs[1])
        else:
            self._need(v)

    def _total_kind(self, v):
        """How Σ over time of v is computed: pushed through sums and transposes, down to one product over stacked rows."""
        if v.op is SUM and all(i.shape == v.shape and i.depends for i in v.inputs):
            return "sum"
        if v.op is None:
            return "rows"
        if v.op.name == "transpose" and v.depends:
            return "transpose"
        if v.op.name == "sum" and not v.attributes["keepdims"] and v.attributes["axis"] == tuple(
                range(-len(v.inputs[0].shape), -len(v.shape))) and v.inputs[0].depends:
            return "reduce"
        if v.op.name == "matmul" and len(v.shape) == 2:
            a, b = v.inputs
            if a.op is not None and a.op.name == "transpose" and a.attributes["axes"] == (-1, -2) and a.depends and b.depends \
                    and len(b.shape) == 2:
                return "product"
        return "rows"

    # ---- expressions -----------------------------------------------------------------------------------------------------
    def constant(self, v, dtype):
        """A number as a 0-d array of the dtype it meets: half the cost of a Python number per call."""
        if v.number.ndim:
            key = (v.number.shape, v.number.dtype.str, v.number.tobytes())
            if key not in self.arrays:
                self.arrays[key] = self.unique("table"), self._array(v.number)
            return self.arrays[key][0]
        number = v.number.item()
        dtype = np.dtype(dtype)
        if dtype.kind != "f":
            return repr(number)
        key = (number, dtype.str)
        if key not in self.constants:
            text = {0.5: "half", 1.0: "one", 2.0: "two", -1.0: "minus_one", 0.0: "zero"}.get(number, "number")
            self.constants[key] = self.unique(text)
            self.imports.add("array")
        return self.constants[key]

    def _array(self, a):
        """An array of numbers as source."""
        kind = f'"{a.dtype.str[1:]}"'
        if a.ndim == 1 and np.array_equal(a, np.arange(len(a))):
            self.imports.add("arange")
            return f"arange({len(a)}, dtype={kind})"
        if a.size and (a == a.flat[0]).all():
            self.imports.add("full")
            return f"full({a.shape}, {a.flat[0].item()!r}, {kind})"
        self.imports.add("array")
        return f"array({a.tolist()!r}, {kind})"

    def stacked(self, v, rank=None, dtype=None):
        """The expression for v over all steps, padded to ``rank`` axes of one step."""
        if v.kind == "number":
            return self.constant(v, dtype or v.dtype)
        if not v.depends:
            return self.name(v)
        text = self.whole(v)
        if rank is not None and rank > len(v.shape):
            text += "[:, " + ", ".join(["None"] * (rank - len(v.shape))) + "]"
        return text

    def whole(self, v):
        """The array over all T steps in which v lives."""
        if v.kind == "state":
            return f"{self.name(v)}[:-1]"
        if v.kind == "carry":
            return self.all_of[v.id]
        if v.id in self.slot:
            return f"{self.name(self.slot[v.id])}[1:]"
        if v.is_view:
            return self.view(v, self.whole(v.inputs[0]) if v.inputs[0].depends else self.name(v.inputs[0]), lead=True)
        if v.id in self.piece:
            parent, s = self.piece[v.id]
            return f"{self.whole(parent)}[..., {_slice(s)}]"
        return self.name(v)

    def view(self, v, source, lead):
        name = v.op.name
        if name == "getitem":
            return f"{source}[{_index(v.attributes['index'])}]"
        if name == "transpose":
            axes = v.attributes["axes"]
            if axes == (-1, -2):
                self.uses_mt = True
                return f"{source}.mT"
            n = len(v.shape) + bool(lead)
            full = tuple(range(n - len(axes))) + tuple(a + n for a in axes)
            return f"{source}.transpose({full})"
        if name == "apart":
            n, rows, size = v.shape
            return f"{source}.reshape({'T, ' if lead else ''}{rows}, {n}, {size}).swapaxes(-2, -3)"
        if name == "broadcast_to":
            self.imports.add("broadcast_to")
            shape = f"(T, {', '.join(map(str, v.shape))})" if lead else repr(v.shape)
            return f"broadcast_to({source}, {shape})"
        return source

    # ---- the program ---------------------------------------------------------------------------------------------------------
    def _write(self):
        plan = self.plan
        self.slot, self.piece, self.all_of, self.uses_mt = {}, {}, {}, False
        states = {v.position: v for v in plan.values if v.kind == "state"}
        self.states = [states[k] for k in sorted(states)]
        copies = []                                             # new states that cannot be computed in their row
        for k, v in enumerate(plan.new):
            if v.id in plan.loop and not v.is_view and v.id not in self.slot and v.op is not ASSEMBLE \
                    and v.dtype == self.states[k].dtype and v.shape == self.states[k].shape:
                self.slot[v.id] = self.states[k]
                self.stored.add(v.id)
            else:
                copies.append((k, v))
        for v in self._live():
            if v.op is ASSEMBLE:
                for p, s in zip(v.inputs, v.attributes["slices"]):
                    same_place = (p.id in plan.loop) == (v.id in plan.loop) and (p.id in plan.back) == (v.id in plan.back)
                    if self.uses[p.id] == 1 and p.op is not None and not p.is_view and p.depends and same_place and p.id not in self.slot \
                            and p.shape[:-1] == v.shape[:-1]:
                        self.piece[p.id] = (v, s)
                        if v.id in self.stored:
                            self.stored.add(p.id)
        self._fold()
        forward = self._function("forward", copies)
        backward = self._function("backward", copies) if plan.wants_gradient else []
        return self._frame(forward, backward)

    def _fused(self, v):
        """Softmax cross-entropy with integer classes and its rule are written out: they share what they compute."""
        op = RULE_OF[v.op][0] if v.op in RULE_OF else v.op
        inputs = v.inputs[2:] if v.op in RULE_OF else v.inputs
        return (op.name == "softmax_cross_entropy" and len(inputs) == 2 and inputs[1].dtype.kind in "iu" and inputs[1].depends
                and v.attributes["rank"] == len(inputs[1].shape) and inputs[0].depends and v.id in self.batched)

    def _cross_entropy(self, v, out):
        """-log softmax(logits)[target], summed: the shifted logits are exponentiated in place and kept for the way back."""
        x, y = v.inputs
        K, name = x.shape[-1], self.name(v)
        z, s, index = (self.names.setdefault((part, v.id), self.unique(f"{part}_{name}")) for part in ("exp", "sum", "row"))
        n = int(np.prod(y.shape))
        self._room(z, x)
        self.room.append(f'{s} = empty((T, {"".join(f"{k}, " for k in y.shape)}1), "{x.dtype.str[1:]}")')
        self.imports |= {"arange", "maximum", "subtract", "exp", "log", "add"}
        self.room.append(f"{index} = arange(T * {n})")
        flat = f"{z}.reshape(-1, {K})[{index}, {self.stacked(y)}.reshape(-1)]"
        self.imports.add("minimum")
        lines = [f"if minimum.reduce({self.stacked(y)}, axis=None) < 0:", '    raise IndexError("a target is negative")',
                 f"maximum.reduce({self.stacked(x)}, axis=-1, keepdims=True, out={s})",
                 f"subtract({self.stacked(x)}, {s}, {z})",
                 f"picked = {flat}.reshape({s}.shape[:-1])",
                 f"exp({z}, {z})", f"add.reduce({z}, axis=-1, keepdims=True, out={s})"]
        value = f"log({s}[..., 0]) - picked"
        how, axes = v.attributes["reduction"], tuple(range(-len(y.shape), 0))
        if how == "none" or not axes:
            lines.append(f"{out}[...] = {value}")
        else:
            lines.append(f"add.reduce({value}, axis={axes}, out={out})")
            if how == "mean":
                self.imports.add("divide")
                lines.append(f"divide({out}, {n}, {out})")
        return lines

    def _cross_entropy_back(self, v, out):
        """ŷ - y, times the gradient of each loss."""
        g, loss, x, y = v.inputs
        z, s, index = (self.names[part, loss.id] for part in ("exp", "sum", "row"))
        K, n, how = x.shape[-1], int(np.prod(y.shape)), v.attributes["reduction"]
        self.imports |= {"divide", "multiply"}
        lines = [f"divide({z}, {s}, {z})", f"{z}.reshape(-1, {K})[{index}, {self.stacked(y)}.reshape(-1)] -= 1"]
        spread = self.stacked(g, len(x.shape)) if how != "none" else f"{self.stacked(g)}[..., None]"
        lines.append(f"multiply({z}, {spread}, {out})")
        if how == "mean" and y.shape:
            lines.append(f"divide({out}, {n}, {out})")
        return lines

    def _live(self):
        return [v for v in self.plan.values if v.id in self.live]

    def _fold(self):
        """In a sum, one product (or matrix product) is computed right where the sum goes; a sign goes into the sum."""
        self.inside = {}
        for v in self._live():
            if v.op is not SUM:
                continue
            taken = False
            for i in v.inputs:
                if self.uses[i.id] != 1 or i.op is None or i.id in self.piece or i.id in self.stored and i.id not in self.batched \
                        or i.shape != v.shape or i.dtype != v.dtype or self._place(i) != self._place(v):
                    continue
                factors = [f for f in i.inputs if f.kind != "number"]
                negative = i.op is PRODUCT and i.inputs[0].kind == "number" and i.inputs[0].number == -1
                if i.op is PRODUCT and negative and len(factors) == 1 and len(i.inputs) == 2:
                    self.inside[i.id] = "sign"
                elif not taken and (i.op is PRODUCT and len(i.inputs) - negative == len(factors) or i.op.name == "matmul"):
                    self.inside[i.id] = "first"
                    taken = True

    def _place(self, v):
        if v.id in self.plan.loop:
            return "loop"
        if v.id in self.plan.back:
            return "back"
        return self.batched.get(v.id, "once"), bool(v.depends & STATE), bool(v.depends & CARRY), bool(v.depends)

    def _function(self, where, copies):
        plan = self.plan
        ids, what = (plan.loop, STATE) if where == "forward" else (plan.back, CARRY)
        lines = []
        for v in self._live():                                  # once
            if where in self.once.get(v.id, ()):
                lines.append(f"{self.name(v)} = {self._once(v)}")
        before = [v for v in self._live() if self.batched.get(v.id) == where and not v.depends & what]
        after = [v for v in self._live() if self.batched.get(v.id) == where and v.depends & what]
        if where == "forward":
            for s in self.states:
                self._room(self.name(s), s, extra=1)
                lines.append(f"{self.name(s)}[0] = {self.name(s)}_0")
        lines += self._all_steps(before)
        lines += self._loop(where, copies)
        lines += self._all_steps(after)
        lines += self._results(where)
        return lines

    def _once(self, v):
        arguments = [self.stacked(i, dtype=v.dtype) for i in v.inputs]
        if v.is_view:
            text = self.view(v, arguments[0], lead=False)
            if v.op.name == "transpose" and len(v.shape) == 2:
                self.imports.add("ascontiguousarray")
                text = f"ascontiguousarray({arguments[0]}.T)"
            return text
        if v.op is SUM:
            return " + ".join(arguments)
        if v.op is PRODUCT:
            return " * ".join(arguments)
        text = self.call(v, arguments)
        return text + "[0]" if v.op.saves else text

    def _room(self, name, v, extra=0, steps=True, fill=False):
        """A buffer of the program: over all steps, or for one step."""
        shape = ", ".join([f"T + {extra}" if extra else "T"] * steps + [str(n) for n in v.shape])
        shape = f"({shape},)" if "," not in shape and shape else f"({shape})"
        self.room.append(f"{name} = {'zeros' if fill else 'empty'}({shape}, \"{v.dtype.str[1:]}\")")

    def _all_steps(self, values):
        """Statements over all steps at once."""
        lines = []
        for v in values:
            if v.is_view or v.id in self.inside:
                continue
            if v.id in self.piece:
                out = self.whole(v)
            else:
                out = self.name(v)
                if v.id in self.fresh:
                    self.imports.add("empty")
                    lines.append(f"{out} = empty((T, {', '.join(map(str, v.shape))}), \"{v.dtype.str[1:]}\")".replace("(T, )", "(T,)"))
                else:
                    self._room(out, v, fill=v.op is ASSEMBLE)
            lines += self._said(v, self.statements(v, out, lambda i, v=v: self.stacked(i, len(v.shape), v.dtype), lead=True))
        return lines

    @property
    def fresh(self):
        """What leaves the program and is not needed again: computed into an array of its own."""
        if not hasattr(self, "_fresh"):
            plan = self.plan
            used_later = set()
            for v in self._live():
                place = self.batched.get(v.id) or ("backward" if v.id in plan.back else "forward")
                for i in v.inputs:
                    if place == "backward" and self.batched.get(i.id) == "forward":
                        used_later.add(i.id)
            self._fresh = {v.id for v in plan.y if self.batched.get(v.id) == "forward" and v.id not in used_later and not v.is_view
                           and v.id not in self.piece and v.id not in self.inside} | {
                v.id for v in plan.of_x if v is not None and v.id in self.batched and not v.is_view and v.id not in self.piece
                and v.id not in self.inside}
            self._fresh -= {v.id for v in self._live() if v.op is ASSEMBLE}
        return self._fresh

    # ---- the loops -------------------------------------------------------------------------------------------------------------
    def _loop(self, where, copies):
        plan = self.plan
        ids = plan.loop if where == "forward" else plan.back
        values = [v for v in self._in_loop(ids)]
        self.header, self.rows_known = {}, {}
        self.current = where
        body = []
        carried = []
        if where == "backward":
            for k, leaf in enumerate(self._carries()):
                if plan.of_state[k] is None and leaf is None:
                    continue
                carried.append(k)
        direct = self._direct_carries(values, carried) if where == "backward" else {}
        self.out_of = {v: self._carry_name(k) for v, k in direct.items()}
        for k in carried:
            leaf = self._carries()[k]
            if leaf is not None and leaf.id in self.carry_stored:
                self.all_of[leaf.id] = every = self.unique(f"{self._carry_name(k)}_all")
                self._room(every, leaf)
                body.append(f"{self._row_of(every, self._carry_name(k) + '_t')}[...] = {self._carry_name(k)}")
        for v in values:
            if v.is_view or v.id in self.inside:
                continue
            out = self._out(v)
            body += self._said(v, self.statements(v, out, lambda i, v=v: self.row(i, v.dtype), lead=False))
        prologue, epilogue = [], []
        if where == "forward":
            for k, v in copies:
                s = self.states[k]
                row = self._row_of(f"{self.name(s)}[1:]", f"{self.name(s)}_t")
                body.append(f"{row}[...] = {self.row(v, s.dtype)}")
        else:
            late, zeros = [], []
            for k in carried:
                d, v = self._carry_name(k), plan.of_state[k]
                state = self.states[k]
                self._room(d, state, steps=False)
                prologue.append(f"{d}[...] = {self._last(k)}")
                if v is None:
                    zeros.append(f"{d}[...] = 0")
                elif v.id not in direct:
                    late.append((d, self.row(v, state.dtype), v))
            if len(late) > 1 and any(v.kind == "carry" or v.is_view for _, _, v in late):
                for d, expression, v in late:
                    epilogue.append(f"{d}_new = {expression}.copy()")
                epilogue += [f"{d}[...] = {d}_new" for d, _, _ in late]
            else:
                epilogue += [f"{d}[...] = {expression}" for d, expression, _ in late]
            epilogue += zeros
        body += epilogue
        if not body:
            return prologue
        names, sources = list(self.header), list(self.header.values())
        rows = []
        for n, s in zip(names, sources):
            rows.append(self._rows_expression(s, where))
        if not names:
            head = "for _ in range(T):"
        elif len(names) == 1:
            head = f"for {names[0]} in {rows[0]}:"
        else:
            head = f"for {', '.join(names)} in zip({', '.join(rows)}):"
        return prologue + [head] + ["    " + line for line in body]

    def _rows_expression(self, source, where):
        """The T rows of an array as a list; lists of the program's own buffers are made once."""
        back = where == "backward"
        text = source + ("[::-1]" if back else "")
        base = re.match(r"\w+", source).group()
        if any(line.startswith(base + " = ") for line in self.room):
            key = ("rows", text)
            if key not in self.names:
                kind = "before" if source == f"{base}[:-1]" else "after" if source == f"{base}[1:]" else ""
                part = re.sub(r"\W+", "_", source.removeprefix(base)).strip("_") if not kind else kind
                self.names[key] = self.unique("_".join(w for w in (base, part, "back" if back else "rows") if w))
                self.room_rows.append(f"{self.names[key]} = rows({text})")
            return self.names[key]
        return f"rows({text})"

    def _carries(self):
        leaves = {v.position: v for v in self.plan.values if v.kind == "carry" and v.id in self.live}
        return [leaves.get(k) for k in range(len(self.plan.new))]

    def _carry_name(self, k):
        if ("carry", k) not in self.names:
            self.names["carry", k] = self.unique(f"d{self.name(self.states[k])}_next")
        return self.names["carry", k]

    def _last(self, k):
        """The gradient of the last state, which comes from outside."""
        return f"d{self.name(self.states[k])}_last"

    def _direct_carries(self, values, carried):
        """New carries that may be written where the old one stands: all who read the old one have done so."""
        direct, taken = {}, set()
        order = {v.id: n for n, v in enumerate(values)}
        for k in carried:
            v, leaf = self.plan.of_state[k], self._carries()[k]
            if v is None or v.id not in order or v.is_view or v.id in self.stored or v.id in self.piece or v.id in taken \
                    or v.op is ASSEMBLE or v.dtype != self.states[k].dtype or v.shape != self.states[k].shape:
                continue
            if [w for w in self.plan.of_state if w is v] != [v]:
                continue
            readers = []
            if leaf is not None:
                stack = [w for w in values if leaf in w.inputs]
                while stack:
                    w = stack.pop()
                    if w.is_view or w.id in self.inside:
                        stack += [u for u in values if w in u.inputs]
                    readers.append(order[w.id])
                if any(w is leaf for w in self.plan.of_state):
                    continue
            if all(r < order[v.id] for r in readers):
                direct[v.id] = k
                taken.add(v.id)
        return direct

    def _row_of(self, source, name):
        """The name of the row of ``source`` in this loop."""
        if source not in self.rows_known:
            name = self.unique(name)
            self.rows_known[source] = name
            self.header[name] = source
        return self.rows_known[source]

    def row(self, v, dtype=None):
        """The expression for v in one step."""
        if v.kind == "number":
            return self.constant(v, dtype or v.dtype)
        if not v.depends:
            return self.name(v)
        if v.kind == "carry":
            return self._carry_name(v.position)
        loop = self.plan.loop if self.current == "forward" else self.plan.back
        if v.kind == "state":
            return self._row_of(f"{self.name(v)}[:-1]", f"{self.name(v)}_prev")
        if v.id in self.slot:
            return self._row_of(f"{self.name(self.slot[v.id])}[1:]", f"{self.name(self.slot[v.id])}_t")
        if v.id in loop and v.id not in self.stored and v.id not in self.piece:
            if v.is_view:
                source = v.inputs[0]
                if source.id in loop and (source.id in self.stored or source.id in self.slot):
                    return self._row_of(self.whole(v), f"{self.name(v)}_t")
                if source.depends and source.id not in loop and source.kind != "carry":
                    return self._row_of(self.whole(v), f"{self.name(v)}_t")
                return self._scratch_view(v)
            return self.out_of.get(v.id) or self.name(v)
        if v.id in self.piece and v.id in loop and self.piece[v.id][0].id not in self.stored:
            return self._scratch_piece(v)
        return self._row_of(self.whole(v), f"{self.name(v)}_t")

    def _scratch_view(self, v):
        """A view of a buffer that every step overwrites: made once."""
        key = ("view", v.id)
        if key not in self.names:
            source = self.row(v.inputs[0])
            if source in self.header or not re.fullmatch(r"\w+", source):
                return self.view(v, source, lead=False)
            self.names[key] = self.unique(self.name(v))
            self.room_views.append((source, f"{self.names[key]} = {self.view(v, source, lead=False)}"))
        return self.names[key]

    def _scratch_piece(self, v):
        key = ("piece", v.id)
        if key not in self.names:
            parent, s = self.piece[v.id]
            source = self._out(parent)
            self.names[key] = self.unique(self.name(v))
            self.room_views.append((source, f"{self.names[key]} = {source}[..., {_slice(s)}]"))
        return self.names[key]

    def _out(self, v):
        """Where a value of the loop is written."""
        if v.id in self.out_of:
            return self.out_of[v.id]
        if v.id in self.slot:
            return self.row(v)
        if v.id in self.piece:
            parent = self.piece[v.id][0]
            if parent.id in self.stored:
                self._declare(parent)
            return self.row(v)
        self._declare(v)
        return self.row(v) if v.id in self.stored else self.name(v)

    def _declare(self, v):
        name = self.name(v)
        if ("room", v.id) not in self.names:
            self.names["room", v.id] = name
            self._room(name, v, steps=v.id in self.stored, fill=v.op is ASSEMBLE)

    # ---- what the functions return ------------------------------------------------------------------------------------------------
    def _results(self, where):
        plan = self.plan
        lines = []
        if where == "forward":
            finals = ", ".join(f"{self.name(s)}[T]" for s in self.states)
            lines.append(f"return [{', '.join(self.stacked(v) for v in plan.y)}, {finals}]")
            return lines
        xs = []
        for v in plan.of_x:
            xs.append("None" if v is None else self.stacked(v) if v.id in self.fresh else f"{self.stacked(v)}.copy()")
        states = [f"{self._carry_name(k)}.copy()" if v is not None else "None" for k, v in enumerate(plan.of_state)]
        totals = []
        for n, v in zip(self.plan.tape.invariants, plan.of_invariants):
            if v is None:
                totals.append("None")
                continue
            leaf = next((w for w in self.plan.values if w.kind == "invariant" and w.position == n.position), None)
            name = self.unique("d" + (self.names.get(leaf.id, "c") if leaf is not None else "c"))
            lines.append(f"{name} = {self.total(v)}")
            totals.append(name)
        lines.append(f"return [{', '.join(xs + states + totals)}]")
        return lines

    def total(self, v):
        """The expression for Σ over time of v."""
        kind = self._total_kind(v)
        if not v.depends:
            return f"T * {self.name(v)}" if v.kind != "number" else f"T * {v.number.item()!r}"
        if kind == "sum":
            return " + ".join(self.total(i) for i in v.inputs)
        if kind == "transpose":
            inner = v.inputs[0]
            n = len(v.shape)
            return f"({self.total(inner)}).transpose({tuple(a + n for a in v.attributes['axes'])})"
        if kind == "reduce":
            x = v.inputs[0]
            self.imports.add("add")
            flat = ", ".join(["-1", *map(str, v.shape)])
            return f"add.reduce({self.stacked(x)}.reshape({flat}), axis=0)"
        if kind == "product":
            a, b = v.inputs[0].inputs[0], v.inputs[1]
            self.imports.add("dot")
            return f"dot({self.stacked(a)}.reshape(-1, {a.shape[-1]}).T, {self.stacked(b)}.reshape(-1, {b.shape[-1]}))"
        self.imports.add("add")
        return f"add.reduce({self.stacked(v)}, axis=0)"

    # ---- statements ------------------------------------------------------------------------------------------------------------
    def call(self, v, arguments, lead=False):
        """A call of the op's own value, as an expression."""
        name, more = v.op.name, v.attributes
        if name in ("concatenate", "stack"):
            if lead:
                self.imports.add("broadcast_to")
                arguments = [a if i.depends else f"broadcast_to({a}, (T, {', '.join(map(str, i.shape))}))" for a, i in zip(arguments, v.inputs)]
            self.imports.add(name)
            return f"{name}(({', '.join(arguments)}), {more['axis']})"
        if name == "blocks":
            self.imports.add("ascontiguousarray")
            n, rows, size = v.shape
            return f"ascontiguousarray({arguments[0]}.reshape({rows}, {n}, {size}).swapaxes(0, 1))"
        if name == "astype":
            return f"{arguments[0]}.astype({_literal(more['dtype'])})"
        if name == "getitem":
            return f"{arguments[0]}[{self._fancy(more['index'])}]"
        if name == "reshape":
            return f"{arguments[0]}.reshape({'(T, ' + ', '.join(map(str, v.shape)) + ')' if lead and v.depends else v.shape})"
        if name == "einsum":
            self.imports.add("einsum")
            text = ",".join("..." + t for t in more["terms"]) + "->..." + more["out"]
            return f"einsum({text!r}, {', '.join(arguments)})"
        if name == "scatter_add":
            return f"{self.sources.scatter()}({arguments[0]}, {self._fancy(more['index'], True)}, {more['shape']})"
        if v.op in RULE_OF:
            op, i = RULE_OF[v.op]
            y = v.inputs[1]
            self.saving.add(y.id)
            return (f"{self.sources.of(op.rules[0] if op.variadic else op.rules[i])}({', '.join(arguments)}, "
                    f"{''.join(f'{k}={_literal(a)}, ' for k, a in more.items())}saved=saved[{self.name(y)!r}])")
        return f"{self.sources.of(v.op.value)}({', '.join([*arguments, *(f'{k}={_literal(a)}' for k, a in more.items())])})"

    def _fancy(self, index, as_tuple=False):
        parts = []
        for i in index:
            if isinstance(i, np.ndarray):
                key = (i.shape, i.dtype.str, i.tobytes())
                if key not in self.arrays:
                    self.arrays[key] = self.unique("table"), self._array(i)
                parts.append(self.arrays[key][0])
            else:
                parts.append(repr(i) if as_tuple else _index((i,)))
        return f"({', '.join(parts)},)" if as_tuple else ", ".join(parts)

    def ufunc(self, name, *arguments):
        self.imports.add(name)
        if name in ("maximum", "minimum"):              # NumPy wants their third argument by name
            arguments = (*arguments[:2], f"out={arguments[2]}")
        return f"{name}({', '.join(arguments)})"

    def statements(self, v, out, get, lead):
        """How one value is computed into ``out``: the lines of code."""
        op, name = v.op, v.op.name
        if op is SUM:
            return self._sum(v, out, get, lead)
        if lead and self._fused(v):
            return self._cross_entropy(v, out) if op.saves else self._cross_entropy_back(v, out)
        if op is PRODUCT:
            return self._product([i for i in v.inputs], v, out, get)
        if name == "matmul":
            return [self._matmul(v, out, get, lead)]
        if op is ASSEMBLE:
            lines = []
            for p, s in zip(v.inputs, v.attributes["slices"]):
                if p.id not in self.piece:
                    lines.append(f"{out}[..., {_slice(s)}] = {get(p)}")
            return lines
        if op is GATES:
            x, scale, shift = (get(i) for i in v.inputs)
            return [self.ufunc("multiply", x, scale, out), self.ufunc("tanh", out, out), self.ufunc("multiply", out, scale, out),
                    self.ufunc("add", out, shift, out)]
        if name == "sigmoid":
            half = self.constant(_Half, v.dtype)
            x = get(v.inputs[0])
            return [self.ufunc("multiply", x, half, out), self.ufunc("tanh", out, out), self.ufunc("multiply", out, half, out),
                    self.ufunc("add", out, half, out)]
        if name == "relu":
            return [self.ufunc("maximum", get(v.inputs[0]), "0", out)]
        if name == "square":
            return [self.ufunc("multiply", get(v.inputs[0]), get(v.inputs[0]), out)]
        if name == "where":
            self.imports.add("copyto")
            c, a, b = (get(i) for i in v.inputs)
            return [f"copyto({out}, {b})", f"copyto({out}, {a}, where={c})"]
        if name in NUMPY_NAMES or isinstance(op.value, np.ufunc) and not v.attributes:
            return [self.ufunc(NUMPY_NAMES.get(name, op.value.__name__), *[get(i) for i in v.inputs], out)]
        if name in _REDUCTIONS:
            how = _REDUCTIONS[name]
            self.imports.add(how)
            return [f"{how}.reduce({self._plain(v.inputs[0], get, lead)}, axis={v.attributes['axis']}, "
                    f"keepdims={v.attributes['keepdims']}, out={out})"]
        call = self.call(v, [self._plain(i, get, lead) for i in v.inputs], lead)
        if op.saves:
            return [f"{out}[...], saved[{self.name(v)!r}] = {call}"]
        return [f"{out}[...] = {call}"]

    def _plain(self, i, get, lead):
        """An operand of an op that is not elementwise: as it is, never padded."""
        return self.stacked(i) if lead else get(i)

    def _sum(self, v, out, get, lead):
        terms, first = [], None
        for i in v.inputs:
            inside = self.inside.get(i.id)
            if inside == "sign":
                terms.append(("-", get(i.inputs[1])))
            elif inside == "first":
                first = i
            else:
                terms.append(("+", get(i)))
        lines = []
        if first is not None:
            if first.op is PRODUCT:
                factors = [f for f in first.inputs if f.kind != "number"]
                negative = len(factors) != len(first.inputs)
                lines += self._product(factors, v, out, get)
            else:
                negative = False
                lines.append(self._matmul(first, out, get, lead))
            for n, (sign, e) in enumerate(terms):
                if n == 0 and negative:
                    if sign == "+":
                        lines.append(self.ufunc("subtract", e, out, out))
                    else:
                        lines += [self.ufunc("add", out, e, out), self.ufunc("negative", out, out)]
                else:
                    lines.append(self.ufunc("add" if sign == "+" else "subtract", out, e, out))
            return lines
        terms.sort(key=lambda term: term[0] == "-")
        (sign, a), rest = terms[0], terms[1:]
        if sign == "-":
            lines.append(self.ufunc("negative", a, out))
        elif rest:
            sign, b = rest.pop(0)
            lines.append(self.ufunc("add" if sign == "+" else "subtract", a, b, out))
        else:
            return [f"{out}[...] = {a}"]
        for sign, e in rest:
            lines.append(self.ufunc("add" if sign == "+" else "subtract", out, e, out))
        return lines

    def _product(self, factors, v, out, get):
        numbers = [f for f in factors if f.kind == "number"]
        rest = [f for f in factors if f.kind != "number"]
        texts = [get(f) for f in rest]
        lines = []
        if len(texts) == 1:
            if len(numbers) == 1 and numbers[0].number == -1 and rest[0].dtype == v.dtype:
                return [self.ufunc("negative", texts[0], out)]
            if not numbers:
                return [f"{out}[...] = {texts[0]}"]
        current = texts[0]
        for t in texts[1:]:
            lines.append(self.ufunc("multiply", current, t, out))
            current = out
        for n in numbers:
            if n.number == -1 and current == out:
                lines.append(self.ufunc("negative", current, out))
            else:
                lines.append(self.ufunc("multiply", current, self.constant(n, v.dtype), out))
            current = out
        return lines

    def _matmul(self, v, out, get, lead):
        a, b = v.inputs
        if lead and len(a.shape) == 2 and a.depends and not b.depends and len(b.shape) == 2 and v.id not in self.piece \
                and v.id not in self.slot:
            self.imports.add("dot")
            return f"dot({self.stacked(a)}.reshape(-1, {a.shape[-1]}), {self.stacked(b)}, {out}.reshape(-1, {v.shape[-1]}))"
        if not lead and len(a.shape) == 2 and len(b.shape) == 2 and v.id not in self.piece:
            self.imports.add("dot")
            return f"dot({get(a)}, {get(b)}, {out})"
        self.imports.add("matmul")
        return f"matmul({self._plain(a, get, lead)}, {self._plain(b, get, lead)}, {out})"

    # ---- the frame --------------------------------------------------------------------------------------------------------------
    def formula(self, v, depth=0):
        """v as a person writes it, in the names of the program's rows."""
        if v.kind == "number":
            return f"{v.number.item():.6g}" if v.number.ndim == 0 else "…"
        if v.kind == "state":
            return f"{self.name(v)}[t-1]"
        if v.kind in ("x", "cotangent"):
            return f"{self.name(v)}[t]"
        if v.kind == "carry":
            return self._carry_name(v.position)
        if not v.depends and (v.op is None or v.id in self.names):
            return self.name(v)
        if depth and v.is_view and v.name and v.depends:
            return f"{v.name}[t]" if v.inputs[0].id in self.stored or v.inputs[0].id in self.batched else v.name
        if depth and v.id not in self.inside and not v.is_view and v.id not in self.piece:
            return f"{self._written(v)}[t]" if v.id in self.stored or v.id in self.batched else self._written(v)
        parts = [self.formula(i, depth + 1) for i in v.inputs]
        if v.op is SUM:
            return _plus(parts, depth)
        if v.op is PRODUCT:
            return "-" + " * ".join(parts[1:]) if parts[0] == "-1" else " * ".join(parts)
        if v.op.name == "matmul":
            return " @ ".join(parts)
        if v.op.name == "transpose":
            return f"{parts[0]}.T"
        if v.op.name == "getitem":
            return f"{parts[0]}[{_index(v.attributes['index'])}]"
        if v.op is ASSEMBLE:
            return "[" + ", ".join(parts) + "]"
        if v.op.name in ("apart", "blocks", "broadcast_to", "reshape"):
            return parts[0]
        if v.op is GATES:
            return f"σ or tanh of each part of {parts[0]}"
        if v.op in RULE_OF:
            return f"gradient of {RULE_OF[v.op][0].name}"
        return f"{'σ' if v.op.name == 'sigmoid' else v.op.name}({', '.join(parts)})"

    def _written(self, v):
        return self.name(self.slot[v.id]) if v.id in self.slot else self.out_of.get(v.id) or self.name(v)

    def _said(self, v, lines):
        """The lines of one value, the first with what it is."""
        if not lines:
            return lines
        name = self._written(v)
        stored = v.id in self.slot or v.id in self.stored or v.id in self.batched
        text = f"{name}{'[t]' if stored else ''} = {self.formula(v)}"
        return [f"{lines[0]:<48}# {text}" if len(text) < 90 else lines[0], *lines[1:]]

    def _frame(self, forward, backward):
        plan = self.plan
        xs = [self.names[v.id] for v in sorted((v for v in plan.values if v.kind == "x"), key=lambda v: v.position)]
        cs = [self.names.get(v.id, "_") for v in sorted((v for v in plan.values if v.kind == "invariant"), key=lambda v: v.position)]
        s0 = [f"{self.name(s)}_0" for s in self.states]
        dy = [self.names.get(v.id) for v in sorted((v for v in plan.values if v.kind == "cotangent"), key=lambda v: v.position)]
        dT = [self._last(k) for k in range(len(self.states))]
        body = [f"{name} = array({number!r}, \"{dtype[1:]}\")" for (number, dtype), name in self.constants.items()]
        body += [f"{name} = {text}" for name, text in self.arrays.values()]
        views = [line for _, line in self.room_views]
        self._share(forward, backward, views)
        body += self.room + views + self.room_rows
        inner = [f"def forward({', '.join(xs + s0 + cs)}):", *("    " + line for line in forward)]
        if backward:
            inner += ["", f"def backward({', '.join(xs + cs + dy + dT)}):", *("    " + line for line in backward)]
        inner += ["", "return forward, backward" if backward else "return forward, None"]
        if any("saved[" in line for line in forward + backward):
            body.append("saved = {}")
        helpers = self.sources.text()
        lines = [f'"""{self.title}, T steps at a time: written by minigrad from one step of the cell and the gradient rules of its ops.',
                 "",
                 "    forward, backward = bptt(T)",
                 "",
                 "An array has all T steps, [t] is one of them; d… is the gradient of the loss with respect to …",
                 '"""',
                 *(["import numpy as np"] if self.sources.parts else []), f"from numpy import {', '.join(sorted(self.imports))}", "", "",
                 *(helpers.splitlines() + ["", ""] if helpers else []), "def rows(a):", '    """The steps of an array, as views."""',
                 "    return [a[t, ...] for t in range(len(a))]", "", "",
                 "def bptt(T):", *("    " + line if line else "" for line in body + [""] + inner)]
        return "\n".join(lines) + "\n"


    def _share(self, forward, backward, views):
        """A buffer that only the way back uses is one that only the way forward used, where shapes allow."""
        owner = {}                                      # rows and views belong to their buffer
        for line in views + self.room_rows:
            name, _, text = line.partition(" = ")
            base = next(w for w in re.findall(r"\w+", text) if w != "rows")
            owner[name] = owner.get(base, base)

        def used(lines):
            return {owner.get(w, w) for line in lines for w in re.findall(r"\w+", line)}
        ahead, back, free = used(forward), used(backward), {}
        for n, line in enumerate(self.room):
            name, _, text = line.partition(" = ")
            if text.startswith("empty((T") and name in ahead and name not in back:
                free.setdefault(text, []).append(name)
        self._share_rows(backward, ahead, used)
        for n, line in enumerate(self.room):
            name, _, text = line.partition(" = ")
            if name in back and name not in ahead and text.startswith("empty") and free.get(text):
                self.room[n] = f"{name} = {free[text].pop()}"
        self.room.sort(key=lambda line: "(" not in line)        # other names of buffers after the buffers
        order = {line.partition(" = ")[0]: n for n, line in enumerate(self.room)}
        late = [line for line in self.room if "(" not in line]
        late.sort(key=lambda line: order[line.partition(" = ")[2]])
        self.room = [line for line in self.room if "(" in line] + late

    def _share_rows(self, lines, ahead, used):
        """In the loop back, a row that was read for the last time takes what the step makes of it."""
        head = next((n for n, line in enumerate(lines) if line.startswith("for ")), None)
        if head is None:
            return
        body = [line.strip() for line in lines[head + 1:] if line.startswith("    ")]
        names, _, sources = lines[head].partition(" in ")
        sources = sources.removeprefix("zip(").rstrip("):").split(", ")
        rows = dict(zip(names.removeprefix("for ").split(", "), sources))
        texts = dict(line.partition(" = ")[::2] for line in self.room)
        whole = {line.partition(" = ")[0]: line.partition(" = ")[2] for line in self.room_rows}
        base = {row: re.fullmatch(r"rows\((\w+)\[::-1\]\)", whole.get(source, "")) for row, source in rows.items()}
        base = {row: match[1] for row, match in base.items() if match}
        before, after = used(lines[:head]), used(line for line in lines[head + 1:] if not line.startswith("    "))
        taken = set()

        def at(row):
            return [n for n, line in enumerate(body) if row in re.findall(r"\w+", line)]
        for row, name in base.items():                  # what a step makes …
            text = texts.get(name, "")
            if not text.startswith("empty((T") or name in before or name in ahead or list(base.values()).count(name) > 1:
                continue
            for other, old in base.items():             # … and what was there before the loop and is not needed behind it
                if texts.get(old) != text or old not in before or old in after or old in ahead or old in taken or old == name \
                        or list(base.values()).count(old) > 1:
                    continue
                written, read = at(row), at(other)
                inside = read and written and read[-1] == written[0] and re.match(r"(add|subtract|multiply)\(", body[read[-1]])
                if read and written and (read[-1] < written[0] or inside):
                    index = next(n for n, line in enumerate(self.room) if line.startswith(f"{name} = "))
                    self.room[index] = f"{name} = {old}"
                    taken |= {old, name}
                    break


def _plus(parts, depth):
    text = parts[0]
    for p in parts[1:]:
        text += f" - {p[1:]}" if p.startswith("-") else f" + {p}"
    return f"({text})" if depth else text


class _HalfNumber:
    kind, number, dtype = "number", np.array(0.5), np.dtype(float)


_Half = _HalfNumber


def _slice(s):
    return f"{'' if s.start is None else s.start}:{'' if s.stop is None else s.stop}"


def _index(index):
    parts = []
    for i in index:
        parts.append("..." if i is Ellipsis else "None" if i is None else str(i) if isinstance(i, int) else
                     _slice(i) + (f":{i.step}" if i.step is not None else ""))
    return ", ".join(parts)


def _literal(a):
    if isinstance(a, np.dtype):
        return f'"{a.str[1:]}"'
    return repr(a)
