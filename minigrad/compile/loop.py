"""The loops of a program: statements for one step, on rows of the arrays over all steps and on buffers that every step overwrites."""
from .demand import BACKWARD, FORWARD
from .lines import Line, assign
from .statements import statements
from .steps import Site
from .value import ASSEMBLE
from .words import sliced


class Loop(Site):
    """One loop, forward or back in time. ``rows`` are what it zips: name of the row -> (name of the array, expression)."""

    def __init__(self, writer, function):
        super().__init__(writer)
        self.plan, self.back = writer.plan, function == BACKWARD
        self.ids = {FORWARD: self.plan.loop, BACKWARD: self.plan.back}[function]
        self.rows, self._row_of, self._views = {}, {}, {}
        self.prologue, self.body = [], []
        if self.back:
            self._keep_carries()
        for v in self.demand.of_loop(self.ids):
            if self.layout.is_written(v):
                out = self.out(v)
                self.body += self.said(v, statements(self, v, out))
        if self.back:
            self._carry_on()
        else:
            for s, v in self.layout.copies:             # what a state becomes without being computed: another state, say
                row = self._row(self.words.of(s), f"{self.words.of(s)}[1:]", f"{self.words.of(s)}_t")
                self.body.append(assign(row, self.row(v, s.dtype)))

    def lines(self):
        return self.prologue + ([Line(self._head()), *(Line("    " + str(line)) for line in self.body)] if self.body else [])

    def _head(self):
        lists = [self.room.rows(array, expression, self.back) for array, expression in self.rows.values()]
        if not lists:
            return "for _ in range(T):"
        return f"for {', '.join(self.rows)} in {lists[0] if len(lists) == 1 else 'zip(' + ', '.join(lists) + ')'}:"

    # ---- what is carried back ---------------------------------------------------------------------------------------------
    def _keep_carries(self):
        for s, old in zip(self.layout.states, self.layout.carries):
            if old is not None and old.id in self.demand.carries:
                d = self.words.carry(s)
                self.arrays.carries[old.id] = every = self.words.unique(f"{d}_all")
                self.room.buffer(every, old)
                self.body.append(assign(self._row(every, every, f"{d}_t"), d))

    def _carry_on(self):
        """The carried gradients before the loop, and what they become at the end of each step."""
        late, zeros = [], []
        for s, v, old in zip(self.layout.states, self.plan.of_state, self.layout.carries):
            if v is None and old is None:               # no gradient comes by this state
                continue
            d = self.words.carry(s)
            self.room.buffer(d, s, steps=None)
            self.prologue.append(assign(d, self.words.last(s)))
            if v is None:
                zeros.append(assign(d, "0"))
            elif v.id not in self.layout.in_place:
                late.append((d, v, self.row(v, s.dtype)))
        if len(late) > 1 and any(v.kind == "carry" or v.is_view for _, v, _ in late):       # they may trade places
            self.body += [Line(f"{d}_new = {text}.copy()", (text,)) for d, _, text in late]
            self.body += [assign(d, f"{d}_new") for d, _, _ in late]
        else:
            self.body += [assign(d, text) for d, _, text in late]
        self.body += zeros

    # ---- operands and places --------------------------------------------------------------------------------------------------
    def operand(self, i, v):
        return self.row(i, v.dtype)

    def row(self, v, dtype=None):
        """The expression for v in one step; a number as an array of ``dtype``."""
        if v.kind == "number":
            return self.arrays.constant(v, dtype or v.dtype)
        if not v.depends:
            return self.words.of(v)
        if v.kind == "carry":
            return self.words.carry(self.layout.states[v.position])
        if v.kind == "state":
            return self._row_in(v, "prev")
        if v.id in self.ids and v.id not in self.demand.stored:
            if v.id in self.layout.piece:
                if self.layout.piece[v.id][0].id not in self.demand.stored:
                    return self._piece(v)
            elif not v.is_view:
                return self.words.of(v)
            elif not self._in_array(v.inputs[0]):
                return self._view(v)
        return self._row_in(v)

    def _in_array(self, v):
        """Whether all steps of v are there while the loop runs."""
        return v.id in self.demand.stored if v.id in self.ids else v.depends and v.kind != "carry"

    def _row_in(self, v, suffix="t"):
        return self._row(self.arrays.name(v), self.arrays.whole(v), f"{self.words.of(v)}_{suffix}")

    def _row(self, array, expression, name):
        """The name of this step's row of ``expression``, a part of ``array``."""
        if expression not in self._row_of:
            self._row_of[expression] = name = self.words.unique(name)
            self.rows[name] = array, expression
            self.room.use(array)
        return self._row_of[expression]

    def _view(self, v):
        """A view of a buffer that every step overwrites: made once."""
        if v.id not in self._views:
            source = self.row(v.inputs[0])
            if source in self.rows or not source.isidentifier():
                return self.arrays.view(v, source)
            self._views[v.id] = self.words.unique(self.words.of(v)), self.arrays.view(v, source)
            self.room.define(*self._views[v.id])
        return self._views[v.id][0]

    def _piece(self, v):
        if v.id not in self._views:
            whole, s = self.layout.piece[v.id]
            source = self.out(whole)
            self._views[v.id] = self.words.unique(self.words.of(v)), f"{source}[..., {sliced(s)}]"
            self.room.define(*self._views[v.id])
        return self._views[v.id][0]

    def out(self, v):
        """Where a value of the loop is written."""
        if v.id in self.layout.in_place or v.id in self.layout.slot:
            return self.words.of(v) if v.id in self.layout.in_place else self.row(v)
        if v.id in self.layout.piece:
            whole = self.layout.piece[v.id][0]
            if whole.id in self.demand.stored:
                self._declare(whole)
        else:
            self._declare(v)
        return self.row(v)

    def _declare(self, v):
        name = self.words.of(v)
        if name not in self.room.buffers:
            self.room.buffer(name, v, steps="T" if v.id in self.demand.stored else None, fill=v.op is ASSEMBLE)
