"""The stages of the compiled scan alone: tape, plan, demand, layout, statements, sharing. What they give together: test_scan.py."""
import inspect

import numpy as np
import pytest

import minigrad as mg
from minigrad.compile import scan, source
from minigrad.compile.demand import BACKWARD, FORWARD, Demand
from minigrad.compile.emit import Writer
from minigrad.compile.layout import Layout
from minigrad.compile.lines import WIDTH, Line, listed, page, parts
from minigrad.compile.plan import Plan
from minigrad.compile.statements import FORMS, statements
from minigrad.compile.steps import Site
from minigrad.compile.totals import total
from minigrad.compile.adjoint import adjoint
from minigrad.compile.trace import Tape
from minigrad.compile.value import ASSEMBLE, CARRY, GATES, STATE, X, Value
from minigrad.graph.normal import PRODUCT, SUM
from minigrad.ops import TABLE


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


W_x, W_h, b = mg.parameter(numbers(3, 4), name="W_x"), mg.parameter(numbers(4, 4), name="W_h"), mg.parameter(numbers(4), name="b")


def elman(x, h):
    a = x @ W_x + h @ W_h + b
    h = np.tanh(a)
    return h, h


def tape_of(cell=elman, state=None, x=None):
    state = cell.initial_state(2) if state is None and hasattr(cell, "initial_state") else state
    return Tape(cell, mg.Tensor(numbers(2, 3)) if x is None else x, mg.Tensor(np.zeros((2, 4))) if state is None else state, True)


def named(values):
    return {v.name: v for v in values if v.name}


# ---- tape -----------------------------------------------------------------------------------------------------------------
def test_a_tape_is_what_the_cell_does():
    tape = tape_of()
    assert [n.op.name for n in tape.nodes if n.op] == ["matmul", "matmul", "add", "add", "tanh"]
    assert [n.name for n in tape.invariants] == ["W_x", "W_h", "b"]
    assert tape.y == tape.new and tape.y[0].op.name == "tanh" and tape.y[0].value.shape == (2, 4)
    assert [x is y for x, y in zip(tape.follow(elman), (W_x, W_h, b))] == [True] * 3


def test_the_gradients_of_a_tape_are_written_behind_it():
    tape = tape_of()
    before = len(tape.nodes)
    cotangents, carries, of_x, of_state, of_invariants = adjoint(tape)
    assert all(n.id >= before for n in (*cotangents, *carries, *of_state, *of_invariants)) and of_x == [None]
    assert [n.value.shape for n in of_invariants] == [(3, 4), (4, 4), (4,)] and of_state[0].value.shape == (2, 4)


# ---- plan -----------------------------------------------------------------------------------------------------------------
def test_what_of_elman_is_computed_when():
    plan = Plan(tape_of())
    demand = Demand(plan)
    forward = [v.op for v in demand.of_loop(plan.loop)]
    assert [op.name for op in forward] == ["matmul", "sum_of", "tanh"]          # h W_h, + what is known before, tanh
    early, late = next(v for v in demand.live if v.op is SUM and v.id in plan.loop).inputs
    assert early.depends == X and early.op is SUM and demand.batched[early.id] == FORWARD       # x W_x + b
    assert late.depends == STATE and late.op.name == "matmul"
    back = demand.of_loop(plan.back)
    assert [v.op.name for v in back] == ["sum_of", "product_of", "matmul"]      # dh, da, da W_hᵀ
    derivative = next(i for i in back[1].inputs if not i.depends & CARRY)
    assert derivative.op is SUM and demand.batched[derivative.id] == BACKWARD   # 1 - h²: all steps at once, before the loop back
    assert back[1].id in demand.stored and back[0].id not in demand.stored      # da for the sums over time, dh for nobody


def test_products_are_split_before_the_loop_back():
    """do o (1 - o) tanh(c): what does not wait for the gradient is one product over all steps."""
    plan = Plan(tape_of(mg.LSTMCell(3, 4)))
    demand = Demand(plan)
    for v in demand.of_loop(plan.back):
        if v.op is PRODUCT:
            assert len([i for i in v.inputs if not i.depends & CARRY and i.kind != "number"]) <= 1


@pytest.mark.parametrize("H, gathered", [(4, True), (128, False)])
def test_small_gates_are_one_tanh(H, gathered):
    cell = mg.LSTMCell(3, H)
    plan = Plan(tape_of(cell, cell.initial_state(32), mg.Tensor(numbers(32, 3))))
    live = Demand(plan).live
    assert [v.op is GATES for v in live].count(True) == gathered
    assert [v.is_op("sigmoid") for v in live].count(True) == (0 if gathered else 3)
    assert [v.is_op("blocks") for v in live].count(True) == (0 if gathered else 6)            # W_x, W_h, and its transpose for the way back, gate by gate


def test_gates_of_stacked_cells_are_gathered_once():
    """The second layer reads what the first one's gathered gates gave, not a copy of it without them."""
    cell = mg.stacked(mg.LSTMCell(3, 4), mg.LSTMCell(4, 5))
    live = Demand(Plan(tape_of(cell, cell.initial_state(2)))).live
    assert [v.op is GATES for v in live].count(True) == 2 and not any(v.is_op("sigmoid") for v in live)


def test_slices_of_a_gradient_are_put_together():
    cell = mg.LSTMCell(3, 4)
    plan = Plan(tape_of(cell))
    whole, = [v for v in Demand(plan).live if v.op is ASSEMBLE]
    assert whole.shape == (2, 16) and sorted(s.indices(16)[:2] for s in whole.attributes["slices"]) == [(0, 4), (4, 8), (8, 12), (12, 16)]


@pytest.mark.parametrize("dtype, blocks", [("float32", (2, 128, 64)), ("float64", (4, 128, 32))])
def test_large_products_are_cut_where_blas_is_fastest(dtype, blocks):
    cell = mg.RNNCell(3, 128, dtype=dtype)
    live = Demand(Plan(tape_of(cell, cell.initial_state(32), mg.Tensor(numbers(32, 3).astype(dtype))))).live
    assert [v.shape for v in live if v.is_op("blocks")] == [blocks] * 2         # W_h, and its transpose


def test_the_way_back_of_large_gates_needs_no_arrays_of_its_own():
    """The gradient of each gate has an array without gaps, and that is one of the way forward: of what has been read for the last time."""
    cell = mg.LSTMCell(3, 128, dtype="float32")
    writer = Writer(Plan(tape_of(cell, cell.initial_state(32), mg.Tensor(numbers(32, 3).astype("float32")))))
    room = writer.room.buffers
    assert not any(v.op is ASSEMBLE for v in writer.plan.values if v.id in writer.plan.back)
    assert [room[f"da_{k}"].other.used for k in (1, 2, 3, 4)] == [{"forward", "loop"}] * 4
    assert len({room[f"da_{k}"].other.name for k in (1, 2, 3, 4)}) == 4


def test_values_come_after_what_they_are_made_from():
    for cell in (elman, mg.LSTMCell(3, 4), mg.GRUCell(3, 4), mg.LayerNormLSTMCell(3, 4)):
        for v in Plan(tape_of(cell)).values:
            assert all(i.id < v.id for i in v.inputs)


# ---- demand and layout ----------------------------------------------------------------------------------------------------
def test_without_gradients_nothing_is_needed_backward():
    with mg.no_grad():
        plan = Plan(Tape(elman, mg.Tensor(numbers(2, 3)), mg.Tensor(np.zeros((2, 4))), False))
    demand = Demand(plan)
    assert not plan.wants_gradient and not plan.back and set(demand.batched.values()) == {FORWARD}


def test_where_the_values_of_elman_live():
    plan = Plan(tape_of())
    demand = Demand(plan)
    layout = Layout(plan, demand)
    h, = plan.new
    assert layout.slot[h.id].name == "h" and not layout.copies                  # tanh is computed into the next row of h
    dh, = plan.of_state
    assert dh.id in layout.in_place                                             # and da W_hᵀ where dh stood
    assert list(layout.inside.values()) == ["first"] * 3                        # x W_x in x W_x + b, h W_h in the sum, h h in 1 - h h


def test_a_state_handed_on_is_copied():
    def swap(x, state):
        a, c = state
        return a * x[..., :1], (c, a)
    plan = Plan(tape_of(swap, (mg.Tensor(np.zeros((2, 4))), mg.Tensor(np.ones((2, 4))))))
    layout = Layout(plan, Demand(plan))
    assert not layout.slot and [v.kind for _, v in layout.copies] == ["state", "state"]


def leaf(name, *shape, depends=X):
    v = Value("x", None, (), {}, shape, float, depends, 0, name=name)
    return v


def value(op, inputs, shape, **attributes):
    depends = 0
    for i in inputs:
        depends |= i.depends
    return Value("op", op, inputs, attributes, shape, float, depends)


def test_a_sum_over_time_is_one_product_over_rows():
    a, g = leaf("a", 2, 3), leaf("g", 2, 4)
    at = value(TABLE["transpose"], [a], (3, 2), axes=(-1, -2))
    product = value(TABLE["matmul"], [at, g], (3, 4))
    names = []

    def every(v):
        names.append(v.name)
        return v.name
    assert total(product, every) == "a.reshape(-1, 3).T.dot(g.reshape(-1, 4))" and names == ["a", "g"]
    assert total(value(TABLE["sum"], [g], (4,), axis=(-2,), keepdims=False), every) == "ones(T * 2, \"f8\").dot(g.reshape(-1, 4))"
    both = value(SUM, [product, leaf("s", 3, 4)], (3, 4))
    assert total(both, every) == "a.reshape(-1, 3).T.dot(g.reshape(-1, 4)) + add.reduce(s, axis=0)"
    assert total(leaf("p", 4, depends=0), every) == "T * p"


# ---- statements -------------------------------------------------------------------------------------------------------------
class Named(Site):
    """A site where every operand is its name."""

    def operand(self, i, v):
        return repr(i.number.item()) if i.kind == "number" else i.name

    @classmethod
    def of(cls, inside=()):
        site = cls(Writer(Plan(tape_of())))
        site.layout.inside = dict(inside)
        return site


def text(v, site=None):
    return [line.text for line in statements(site or Named.of(), v, "out")]


def number(n):
    return Value("number", None, (), {}, (), float, 0, number=np.array(n))


def test_how_ops_are_written():
    x, y, c = leaf("x", 2, 3), leaf("y", 2, 3), leaf("c", 2, 3)
    assert text(value(TABLE["tanh"], [x], (2, 3))) == ["tanh(x, out)"]
    assert text(value(TABLE["relu"], [x], (2, 3))) == ["maximum(x, 0, out=out)"]
    assert text(value(TABLE["square"], [x], (2, 3))) == ["multiply(x, x, out)"]
    assert text(value(TABLE["sigmoid"], [x], (2, 3))) == [
        "multiply(x, half, out)", "tanh(out, out)", "multiply(out, half, out)", "add(out, half, out)"]
    assert text(value(TABLE["where"], [c, x, y], (2, 3))) == ["copyto(out, y)", "copyto(out, x, where=not_equal(c, 0))"]
    c.dtype = np.dtype(bool)
    assert text(value(TABLE["where"], [c, x, y], (2, 3))) == ["copyto(out, y)", "copyto(out, x, where=c)"]
    assert text(value(TABLE["sum"], [x], (2, 1), axis=(-1,), keepdims=True)) == ["add.reduce(x, axis=(-1,), keepdims=True, out=out)"]
    assert text(value(PRODUCT, [number(-1.0), x, y], (2, 3))) == ["multiply(x, y, out)", "negative(out, out)"]
    assert text(value(PRODUCT, [number(-1.0), x], (2, 3))) == ["negative(x, out)"]


def test_signs_and_one_product_go_into_a_sum():
    x, y, c = (leaf(n, 2, 3) for n in "xyc")
    x.id, y.id, c.id = 1000, 1001, 1002
    minus = value(PRODUCT, [number(-1.0), x], (2, 3))
    product = value(PRODUCT, [x, y], (2, 3))
    less = value(PRODUCT, [number(-1.0), x, y], (2, 3))
    minus.id, product.id, less.id = 2000, 2001, 2002
    site = Named.of({2000: "sign", 2001: "first", 2002: "first"})
    assert text(value(SUM, [minus, y], (2, 3)), site) == ["subtract(y, x, out)"]
    assert text(value(SUM, [product, c], (2, 3)), site) == ["multiply(x, y, out)", "add(out, c, out)"]
    assert text(value(SUM, [c, less], (2, 3)), site) == ["multiply(x, y, out)", "subtract(c, out, out)"]
    assert text(value(SUM, [less, minus], (2, 3)), site) == ["multiply(x, y, out)", "add(out, x, out)", "negative(out, out)"]


def test_forms_are_of_ops_that_there_are():
    assert FORMS.keys() <= TABLE.keys() | {SUM.name, PRODUCT.name, ASSEMBLE.name, GATES.name}


# ---- sharing, and the page ----------------------------------------------------------------------------------------------------
def test_the_way_back_uses_the_room_of_the_way_forward():
    writer = Writer(Plan(tape_of()))
    shared = {b: b.other for b in writer.room.buffers.values() if b.other}
    assert shared
    for b, other in shared.items():
        assert b.definition == other.definition and "forward" not in b.used
        assert other.used == {"forward"} or other.used == {"before", "loop"} and b.used <= {"loop", "after"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_begin_where_lines_of_the_cache_do(dtype):
    """A vector of numbers is in one line then, and is fetched once: a tenth of a program's time."""
    namespace: dict = {}
    text = source(mg.LSTMCell(3, 5, dtype=dtype), numbers(7, 2, 3).astype(dtype))
    exec(text, namespace)
    inside = inspect.getclosurevars(namespace["bptt"](7)[0]).nonlocals
    arrays = [array for name, array in inside.items() if f"    {name} = aligned(" in text]
    assert len(arrays) > 4 and all(a.dtype == dtype and a.flags.c_contiguous for a in arrays)
    assert not any(a.__array_interface__["data"][0] % 64 for a in arrays)


@pytest.mark.parametrize("cell", [mg.RNNCell(3, 4), mg.LSTMCell(3, 4), mg.GRUCell(3, 4), mg.LayerNormLSTMCell(3, 4)],
                         ids=lambda cell: type(cell).__name__)
def test_programs_are_set_out_to_be_read(cell):
    lines = source(cell, np.zeros((5, 2, 3))).splitlines()
    titles = [line.strip() for line in lines if line.strip().startswith("#")]
    for title in ("# constants", "# before the loop: all steps at once", "# forward in time", "# backward in time",
                  "# gradients of the parameters: one sum over time each"):
        assert title in titles
    assert not any("_2_2" in line or line != line.rstrip() for line in lines) and max(map(len, lines)) < 200


def test_lines_on_the_page():
    assert page([Line("add(a, b, c)", comment="c = a + b"), Line("x")]) == ["add(a, b, c)" + 36 * " " + "# c = a + b", "x"]
    assert parts(("one", ["a"]), ("none", []), ("", ["b"])) == ["# one", "a", "", "b"]
    long = listed("f(", [f"name_{k}" for k in range(40)], "):")
    assert len(long) > 1 and max(map(len, long)) <= WIDTH and eval("".join(long)[:-1], {"f": lambda *a: len(a), **{
        f"name_{k}": k for k in range(40)}}) == 40
    assert listed("f(", [], ")") == ["f()"]


# ---- cells that were not compiled once ------------------------------------------------------------------------------------------
A, V = mg.parameter(numbers(3, 4, seed=1), name="A"), mg.parameter(numbers(4, 4, seed=2), name="V")
ids = np.random.default_rng(0).integers(0, 4, (5, 2))


def output_read_by_a_sum_over_time(x, h):
    z = x @ A
    return z, z @ V


def loss_in_the_state(reduction):
    def cell(xy, state):
        (x, y), (h, so_far) = xy, state
        h = np.tanh(x @ A + h @ W_h)
        L = mg.softmax_cross_entropy(h @ V, y, reduction=reduction)
        return L, (h, so_far + L)
    return cell


@pytest.mark.parametrize("cell, xs, state", [
    (output_read_by_a_sum_over_time, numbers(5, 2, 3), lambda: mg.Tensor(np.zeros((2, 4)))),
    (loss_in_the_state("sum"), (numbers(5, 2, 3), ids), lambda: (mg.Tensor(np.zeros((2, 4))), mg.Tensor(np.zeros(())))),
    (loss_in_the_state("none"), (numbers(5, 2, 3), ids), lambda: (mg.Tensor(np.zeros((2, 4))), mg.Tensor(np.zeros(2))))],
    ids=["an output that dV reads", "a summed loss in the state", "losses in the state"])
@pytest.mark.filterwarnings("error")
def test_cells_that_reuse_what_the_way_forward_computed(cell, xs, state):
    found = []
    for how in (scan, mg.unroll):
        ys, last = how(cell, xs, state())
        loss = (ys * ys).sum() + sum((s * s).sum() for s in (last if isinstance(last, tuple) else (last,)))
        found.append([g.data for g in mg.grad(loss, [A, V, W_h])])
    for ours, theirs in zip(*found):
        assert np.abs(ours - theirs).max() <= 1e-12 * max(np.abs(theirs).max(), 1)
