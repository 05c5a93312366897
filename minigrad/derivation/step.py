"""One time step of a cell as definitions: what it computes, and what its gradients are, each a Reference with an expression.

How the step is run is ``trace.py``'s business; here its graph is read, names included. Its adjoint is written by the ops' own rules, run on
Symbols. Then every value is either inlined or keeps a line of its own: the author's variables do, and what is used more than once.
"""
import numpy as np

from ..ops import TABLE, Later
from ..recurrent.state import called
from .expression import Reference, Static, build, is_gradient, number, references, shifted, size, substitute
from .symbol import _WRITTEN, Symbol, as_expression

SHORT, LONG = 4, 80     # an unnamed value of up to so many signs is written out wherever it is used; of more, it gets a name in any case
HELPERS = "δεζη"    # gradients that have no name of their own: δ_t, or δⁿ_t, the one in front of n
FORWARD = "swuvpq"


class Step:
    """What was found out about one step; ``read_step`` fills it in.

    once        lines of what depends on parameters alone: references, in order
    forward     lines of the step; backward: the gradients of the step, last first; after: gradients of what is the same in every step
    x, target   references, or None
    y, loss     of the output and of the step's loss (None without a head); output: the gradient that arrives at y (None with a head)
    states      for each part of the state: (old, new, what step t+1 sends back, what arrives at the last state); None without gradients
    parameters  {reference: Tensor}; constants: {reference: array}
    rows        the length of the sample's batch, or None; width: H
    notes       what a reader should know
    """


# ---- from the graph to references --------------------------------------------------------------------------------------------

class _Reader:
    def __init__(self, cell, graph, roles):
        self.cell, self.graph, self.roles, self.rows = cell, graph, roles, roles["rows"]
        widths = [s.shape[-1] for s in roles["leaves"] if s.ndim in (1, 2) and s.shape[-1] > 1]
        hidden = getattr(cell, "hidden_size", None)
        widths = widths if widths or not isinstance(hidden, int) or hidden < 2 else [hidden]
        self.letters = {**{n: "H" for n in widths[:1]}, **({self.rows: "B"} if self.rows else {})}
        self.by_tensor = {id(n.tensor): n for n in graph.nodes if n.tensor is not None}
        self.step = Step()
        self.step.notes, self.step.rows, self.step.width = [], self.rows, widths[0] if widths else None
        self.of_node = {}           # node id -> Symbol of a Reference
        self.known = {}             # expression -> Reference that is defined as it
        self.read()

    def node(self, tensor):
        return self.by_tensor[id(tensor)]

    def read(self):
        graph, roles, step = self.graph, self.roles, self.step
        moving = {n.id for n in graph.nodes if n.tensor is not None and any(
            n.tensor is t for t in (roles["x"], roles["target"], *roles["leaves"]))}
        for n in graph.nodes:
            if any(i in moving for i in n.inputs):
                moving.add(n.id)
        self.moving = moving
        step.parameters, step.constants, step.states = {}, {}, []
        named = self._names()
        step.x = step.target = None
        for n in graph.nodes:
            if n.op is None:
                self._leaf(n, named)
        forward = []
        for n in graph.nodes:
            if n.op is not None:
                forward += self._op(n, named)
        step.forward = [r for r in forward if not r.once]
        step.once = [r for r in forward if r.once]
        step.y = self._reference(roles["y"])
        step.loss = self._reference(roles["loss"]) if roles["loss"] is not None else None
        self._states()

    def _names(self):
        """node id -> (name, named by the author?): equal names are told apart by layers or primes."""
        graph, roles = self.graph, self.roles
        names = {n.id: n.name for n in graph.nodes if n.name and n.kind in ("op", "input")}
        for leaf, new, label in zip(roles["leaves"], roles["new"], roles["labels"]):
            node = self.by_tensor.get(id(new))
            if node is not None and node.op is not None and node.id not in names:
                names[node.id] = label or (self.node(leaf).name or "h").split(".")[-1]
        if roles["y"].op is not None and self.node(roles["y"]).id not in names:
            names[self.node(roles["y"]).id] = "y"
        if roles["loss"] is not None:
            names[self.node(roles["loss"]).id] = "L"
        groups = {}
        for i, name in names.items():
            if graph.nodes[i].op is not None:
                groups.setdefault(name, []).append(i)
        leaves = {(n.name or "").split(".")[-1] for n in graph.nodes if n.kind == "parameter" and n.step != 0} | {
            self.node(roles["x"]).name or "x"}
        result, last = {}, {self.by_tensor[id(t)].id for t in roles["new"] if id(t) in self.by_tensor}
        for name, ids in groups.items():
            if len([i for i in ids if i in last]) > 1:          # layers
                for k, i in enumerate(sorted(ids), 1):
                    result[i] = f"{name}.{k}"
                continue
            main, taken = max(ids, key=lambda i: (i in last, i)), name in leaves            # x = x @ W is another x
            result[main] = name + "′" * taken
            for k, i in enumerate(sorted((i for i in ids if i != main), reverse=True), 1 + taken):
                result[i] = name + "′" * k
        return result

    def _leaf(self, n, named):
        roles, step = self.roles, self.step
        if n.tensor is roles["x"]:
            step.x = self._enter(n, Reference("value", n.name or "x", n.value.shape, named=True))
        elif n.tensor is not None and n.tensor is roles["target"]:
            step.target = self._enter(n, Reference("target", "y", n.value.shape, named=True))
        elif n.tensor is not None and any(n.tensor is s for s in roles["leaves"]):
            self._enter(n, Reference("value", (n.name or "h").split(".")[-1], n.value.shape, named=True))     # renamed in _states
        elif n.kind == "parameter":
            ref = self._enter(n, Reference("parameter", self._parameter_name(n), n.value.shape, once=True, named=True))
            step.parameters[ref] = n.tensor
        elif n.value.ndim == 0 and n.kind == "constant":
            self.of_node[n.id] = Symbol(self._number(n.value), n.value, self.letters)
        else:
            self.check_frozen(n.value, "met an array")
            name = n.name or self._attribute(n.value) or f"C{len(step.constants) + 1}"
            ref = self._enter(n, Reference("constant", name, n.value.shape, once=True, named=True))
            step.constants[ref] = n.value

    def check_frozen(self, array, what):
        if self.rows is not None and self.rows in np.shape(array):
            raise ValueError(f"derive(): one step of {called(self.cell)} {what} of shape {np.shape(array)} that was made from the batch. "
                             "Numbers read from x or the state (a condition of np.where, an index, stop_gradient, a random mask) have no "
                             "written form: use relu, maximum, abs, … of Tensors, one-hot rows times a matrix instead of an index, .eval()")

    def _parameter_name(self, n):
        """The author's name; parameters of several layers have the layer's number behind it: W_h.1."""
        if not n.name:
            return f"θ{len(self.step.parameters) + 1}"
        front, dot, last = n.name.rpartition(".")
        return f"{last}.{front}" if dot and front.isdigit() else last

    def _number(self, value):
        """A number; by the name of the cell's attribute if it is one, and not one of the numbers that stand in every equation."""
        if value.dtype.kind == "f" and float(value) not in (-2., -1., -0.5, 0., 0.5, 1., 2.):
            for sign in (1, -1):
                names = [k for k, v in vars(self.cell).items() if type(v) is float and v == sign * float(value)] \
                    if hasattr(self.cell, "__dict__") else []
                if len(names) == 1:
                    ref = next((r for r in self.step.constants if r.name == names[0]), None)
                    if ref is None:
                        ref = Reference("constant", names[0], (), once=True, named=True)
                        self.step.constants[ref] = np.asarray(sign * float(value))
                    return ref.e if sign > 0 else build("mul", (number(-1), ref.e), None, ())
        return number(value)

    def _attribute(self, value):
        for k, v in getattr(self.cell, "__dict__", {}).items():
            if isinstance(v, np.ndarray) and v.shape == value.shape and np.array_equal(v, value):
                return k
        return None

    def _enter(self, n, ref):
        ref.index = n.id
        self.of_node[n.id] = Symbol(ref.e, n.value, self.letters)
        return ref

    def _op(self, n, named):
        """References of one node: itself, and what is shown of a loss on the way to it (ŷ)."""
        made, name = [], n.op.name
        for i in n.attributes.get("index", ()):
            self.check_frozen(i, "indexed with an array") if isinstance(i, np.ndarray) else None
        arguments = [self.of_node[i] for i in n.inputs]
        if name in _SHOWN:
            shown = _SHOWN[name](arguments[0])
            if shown.e not in self.known:
                made.append(self._define("ŷ", shown.e, n.id not in self.moving, True, n.id))
        e, name = written(n, arguments), named.get(n.id)
        if e.op == "ref" and e.extra[0].kind == "value" and e.extra[0].definition is not None and (not name or not e.extra[0].named):
            ref = e.extra[0]                                # 1 x is x
            ref.name, ref.named = (name, True) if name else (ref.name, ref.named)
            self.of_node[n.id] = Symbol(e, n.value, self.letters)
            return made
        ref = self._define(name, e, n.id not in self.moving, n.id in named, n.id)
        self._enter(n, ref)
        return made + [ref]

    def _define(self, name, e, once, by_author, index):
        ref = Reference("value", name, e.shape, once=once, definition=e, named=by_author, index=index)
        self.known.setdefault(e, ref)
        return ref

    def _reference(self, tensor):
        return self.of_node[self.node(tensor).id].e.extra[0]

    def _states(self):
        """Pair old and new parts of the state; a part that is no value of its own (it is x, another part, …) gets a line: p_t = x_t."""
        step, taken, names = self.step, set(), {r.name for r in self.step.forward + self.step.once}
        for leaf, new, label in zip(self.roles["leaves"], self.roles["new"], self.roles["labels"]):
            before, after = self._reference(leaf), self._reference(new)
            if after.definition is None or after in taken or after.once:
                name = label or before.name
                while name in names:
                    name += "′"
                after = Reference("value", name, after.shape, definition=after.e, named=True, index=len(self.graph.nodes))
                step.forward.append(after)
            names.add(after.name)
            taken.add(after)
            after.named = True
            step.states.append((before, after, leaf if leaf.requires_grad else None))


def written(n, arguments):
    """The expression of a node of the graph."""
    name, attributes, shape = n.op.name, n.attributes, n.value.shape
    es = [a.e for a in arguments]
    if TABLE.get(name) is not n.op:
        return build(name, es, Static(n.op), shape)
    if name == "getitem":
        return build("index", es, Static(attributes["index"]), shape)
    if name == "scatter_add":
        return build("scatter", es, Static((tuple(attributes["index"]), tuple(attributes["shape"]))), shape)
    if name in ("concatenate", "stack"):
        return build(name, es, attributes["axis"], shape)
    if name == "einsum":
        return build(name, es, ",".join("..." + t for t in attributes["terms"]) + "->..." + attributes["out"], shape)
    if name == "astype":
        return es[0]
    if name in _WRITTEN:
        op, operands, extra = _WRITTEN[name](shape, *arguments, **attributes)
        return build(op, tuple(as_expression(x) for x in operands), extra, shape)
    return build(name, es, Static(tuple(sorted(attributes.items()))) if attributes else None, shape)


_SHOWN = {"softmax_cross_entropy": lambda o: Symbol(build("softmax", (o.e,), -1, o.shape), o.value, o.letters),
          "binary_cross_entropy": lambda z: Symbol(build("sigmoid", (z.e,), None, z.shape), z.value, z.letters)}


# ---- the adjoint, by the ops' own rules --------------------------------------------------------------------------------------

def read_step(cell, graph, roles):
    """The Step: references, gradients, and what is inlined decided."""
    reader = _Reader(cell, graph, roles)
    step = reader.step
    gradients = _adjoint(reader)
    _settle(step, gradients)
    return step


def _adjoint(reader):
    """{node id: Reference of its gradient}; definitions as the rules write them."""
    graph, step = reader.graph, reader.step
    wanted = {n.id for n in graph.nodes if n.requires_grad}
    parts, gradients = {i: [] for i in wanted}, {}
    if step.loss is not None:
        parts[step.loss.index].append(number(1))
        step.output = None
    else:
        step.output = Reference("given", step.y, step.y.shape, named=True)
        if step.y.index in parts:
            parts[step.y.index].append(step.output.e)
    carries, extra = {}, []
    for k, (before, after, leaf) in enumerate(step.states):
        carry = Reference("carry", before, before.shape, named=True) if leaf is not None else None
        carries[k] = carry
        if carry is not None:
            if after.index < len(graph.nodes):
                if after.index in parts:
                    parts[after.index].append(carry.e)
            else:                                           # p_t = x_t: what it is gets the gradient
                source = after.definition.extra[0]
                g = Reference("gradient", after, after.shape, of=after, definition=carry.e, named=True, index=after.index)
                extra.append(g)
                if source.index in parts:
                    parts[source.index].append(g.e)
    for n in reversed(graph.nodes):
        if n.id not in wanted or not parts[n.id]:
            continue
        ref = reader.of_node[n.id].e.extra[0]
        definition = build("add", tuple(parts[n.id]), None, n.value.shape)
        g = Reference("gradient", ref, n.value.shape, once=ref.once, of=ref, definition=definition, named=ref.named, index=n.id)
        gradients[n.id] = g
        if n.op is None:
            continue
        one = definition.op == "number" and not n.value.shape
        symbol = Symbol(number(1) if one else g.e, np.ones(n.value.shape, n.value.dtype), reader.letters)
        arguments = [reader.of_node[i] for i in n.inputs]
        for i, j in enumerate(n.inputs):
            if j not in wanted or (not n.op.variadic and n.op.rules[i] is None):
                continue
            part = _ruled(n, i, symbol, reader.of_node[n.id], arguments, reader)
            if ref.once is False and reader.of_node[j].e.extra[0].once:
                part = build("sum_t", (part,), None, part.shape)
            parts[j].append(part)
    step.states = [(before, after, carries[k], Reference("given", after, after.shape, named=True) if carries[k] is not None else None)
                   for k, (before, after, _) in enumerate(step.states)]
    step.extra = extra
    return gradients


def _ruled(n, i, g, y, arguments, reader):
    """What the op's rule for argument i writes, broadcasting undone; ∂f/∂x where it has no written form."""
    shape = arguments[i].value.shape
    constants = [np.asarray(a.e.extra) if a.e.op == "number" and a.value.ndim == 0 else a for a in arguments]
    constants = [a.item() if isinstance(a, np.ndarray) else a for a in constants]
    more = {**n.attributes, **({"saved": None} if n.op.saves else {})}
    try:
        with np.errstate(all="ignore"):
            part = n.op.rule(i)(g, y, *constants, **more)
            part = part.dense() if isinstance(part, Later) else part
            if not isinstance(part, Symbol):
                part = Symbol(as_expression(part), part, reader.letters)
            part = _unbroadcast(part, shape)
    except Exception:
        part = None
    if part is None or part.value.shape != shape:
        reader.step.notes.append(f"the gradient of {n.op.name} has no written form, ∂{n.op.name}(…)/∂… stands for it; fill in "
                                 f"{n.op.name}_pullback_… of the NumPy function")
        return build("pullback", (g.e, *(a.e for a in arguments)), Static((n.op, i)), shape)
    return substitute_known(part.e, reader.known)


def substitute_known(e, known):
    """Values that have a name already are called by it: softmax(o_t) is ŷ_t."""
    if e.op == "greater" and e.args[1].op == "number" and e.args[1].extra == 0:
        above = known.get(build("relu", e.args[:1], None, e.args[0].shape))         # x > 0 where relu(x) > 0
        if above is not None and above.named:
            return build("greater", (above.e, e.args[1]), None, e.shape)
    if e.op == "equal" and e.args[1].op == "array" and e.args[0].op == "reshape" and e.args[0].args[0].op == "ref" \
            and e.args[0].args[0].extra[0].kind == "target":
        return build("onehot", (e.args[0].args[0],), None, e.shape)
    found = known.get(e)
    if found is not None and e.op not in ("ref", "number"):
        return found.e
    if not e.args:
        return e
    args = tuple(substitute_known(a, known) for a in e.args)
    return e if args == e.args else build(e.op, args, e.extra, e.shape)


def _unbroadcast(g, shape):
    extra = g.ndim - len(shape)
    axes = tuple(range(-g.ndim, -g.ndim + extra)) + tuple(
        i - len(shape) for i, n in enumerate(shape) if n == 1 and g.value.shape[i + extra] != 1)
    g = np.sum(g, axis=axes) if axes else g
    return g if g.value.shape == tuple(shape) else g.reshape(tuple(shape))


# ---- what is inlined ----------------------------------------------------------------------------------------------------------

def _settle(step, gradients):
    """Decide which references keep a line, and write the definitions in terms of those."""
    forward = sorted(step.once + step.forward, key=lambda r: r.index)
    backward = [*step.extra, *sorted(gradients.values(), key=lambda r: -r.index)]
    roots = [step.y, *(s[1] for s in step.states), *([step.loss] if step.loss else [])]
    kept = [g for g in backward if g.of.kind in ("value", "parameter") and (g.of.definition is None or g.named)]
    uses, live = _uses([*roots, *kept])
    backwards: dict = {}                # how often a value of the step is used by gradients
    for g in backward:
        if g in live:
            for ref, _ in references(g.definition):
                backwards[ref] = backwards.get(ref, 0) + 1
    inlined = {}
    earlier = {before: after for before, after, _, _ in step.states}

    def replaced(ref, lag):
        if ref in earlier:
            return earlier[ref].at(lag - 1)
        return shifted(inlined[ref], lag) if ref in inlined else None
    taken = {_plain_name(r.name) for r in [*forward, *step.parameters, *step.constants] if r.name} | {"x", "y", "h"}
    fresh = iter([c for c in FORWARD if c not in taken] + [f"s{k}" for k in range(1, 1000)])
    for r in forward:
        if r not in live:
            continue
        r.definition = substitute(r.definition, replaced)
        if r.named:
            continue
        length = size(r.definition)
        if not backwards.get(r) and uses[r] <= 1 and length <= LONG or length <= SHORT or r.definition.op in ("index", "reshape"):
            inlined[r] = r.definition
        else:
            r.name, r.named = next(fresh), True
    state_gradients = {id(s[1]) for s in step.states}
    order = [g for g in backward if g in live or g in kept]
    letters = [c for c in HELPERS if c not in {_GREEK_NAMES.get(n, n) for n in taken}]
    used = {}
    for g in order:
        g.definition = substitute(g.definition, replaced)
        d = g.definition
        if g.of.definition is None:
            continue
        alias = d.op == "number" or is_gradient(d) and d.shape == g.shape
        if id(g.of) in state_gradients and not (alias and not _carried(d)):
            continue
        if alias and d.op != "sum_t":
            inlined[g] = d
        elif not g.named and (uses[g] <= 1 and size(d) <= LONG or size(d) < SHORT and d.op != "sum_t" or _trivial(d)):
            inlined[g] = d
        elif not g.named:
            near = None if g.once else _near(g, forward)
            near = None if near is step.loss else near
            k, alphabet = used.get(near, 0), "GKM" if g.once else letters
            used[near] = k + 1
            g.name, g.named = (alphabet[k % len(alphabet)] + "′" * (k // len(alphabet)), near), True
    step.forward = [r for r in step.forward if r in live and r not in inlined]
    step.once = [r for r in step.once if r in live and r not in inlined]
    step.backward = [g for g in order if not g.once and g not in inlined and g.of is not step.loss]
    step.after = [g for g in order if g.once and g not in inlined]
    _letters(step)


def _carried(d):
    return d.op == "ref" and d.extra[0].kind == "carry"


def _trivial(d):
    """A gradient or a piece of one: not worth a name."""
    while d.op in ("index", "reshape", "T", "broadcast"):
        d = d.args[0]
    c = d.args[1] if d.op == "mul" and len(d.args) == 2 and d.args[0].op == "number" else d
    return is_gradient(c)


def _near(g, forward):
    """The author's variable that this value goes into."""
    for r in forward:
        if r.index >= g.of.index and r.named and r.definition is not None:
            return r
    return g.of


def _letters(step):
    """One δ needs no index; several say which variable they stand in front of."""
    helpers = [g for g in step.backward + step.after if isinstance(g.name, tuple)]
    alone = len({g.name[1] for g in helpers if not g.once and g.name[1] is not None}) == 1 and not any(
        g.name[1] is None for g in helpers if not g.once)
    for g in helpers:
        g.name = g.name[0], None if alone else g.name[1]


def _uses(roots):
    """({reference: how often it is used by what the roots need}, what they need)."""
    roots = list(dict.fromkeys(roots))
    uses, live, stack = {}, set(roots), list(roots)
    while stack:
        r = stack.pop()
        if r.definition is None:
            continue
        for ref, _ in references(r.definition):
            uses[ref] = uses.get(ref, 0) + 1
            if ref not in live:
                live.add(ref)
                stack.append(ref)
    return uses, live


def _plain_name(name):
    return name.split(".")[0].rstrip("′")


_GREEK_NAMES = {"delta": "δ", "epsilon": "ε", "zeta": "ζ", "eta": "η"}
