"""Small changes to a source file, one at a time: + for -, < for <=, a condition turned round, a statement left out.

A mutant is plain data. What is changed is code that computes: no text, no annotation, nothing inside an f-string.
"""
import ast
import itertools
import random
from dataclasses import dataclass
from pathlib import Path

OPERATORS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Mod: ast.Mult,
             ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE,
             ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn,
             ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And}


@dataclass(frozen=True)
class Mutant:
    """``path`` with the bytes ``start:stop`` replaced; ``first:last`` are its lines, ``at_import`` if no call is needed to run them."""
    path: str
    start: int
    stop: int
    replacement: str
    first: int
    last: int
    at_import: bool

    def apply(self, source):
        return source[:self.start] + self.replacement.encode() + source[self.stop:]

    def describe(self, source):
        old = " ".join(source[self.start:self.stop].decode().split())
        return f"{self.path}:{self.first}  {old[:70]}  ->  {self.replacement[:70]}"


def mutants(path, source):
    """All mutants of a file's bytes, in the order of the text."""
    lines = source.splitlines(keepends=True)
    begins = [0]
    for line in lines:
        begins.append(begins[-1] + len(line))
    found = []

    def at(line, column):
        return begins[line - 1] + column

    def walk(node, at_import):
        for replacement in _changes(node):
            found.append(Mutant(path, at(node.lineno, node.col_offset), at(node.end_lineno, node.end_col_offset), replacement,
                                node.lineno, node.end_lineno, at_import))
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            for early in (*node.args.defaults, *filter(None, node.args.kw_defaults), *getattr(node, "decorator_list", ())):
                walk(early, at_import)
            for statement in node.body if isinstance(node.body, list) else [node.body]:
                walk(statement, False)
        elif isinstance(node, ast.AnnAssign):
            if node.value is not None:
                walk(node.value, at_import)
        elif not isinstance(node, ast.JoinedStr):
            for child in ast.iter_child_nodes(node):
                walk(child, at_import)

    walk(ast.parse(source), True)
    return found


def _changes(node):
    """The texts that may stand for a node."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield str(not node.value)
        elif isinstance(node.value, int):
            yield str(node.value + 1)
        elif isinstance(node.value, float):
            yield repr(node.value * 2 if node.value else 1.)
    elif isinstance(node, (ast.BinOp, ast.BoolOp)) and type(node.op) in OPERATORS:
        yield _text(node, op=OPERATORS[type(node.op)]())
    elif isinstance(node, ast.AugAssign) and type(node.op) in OPERATORS:
        yield ast.unparse(_copy(node, op=OPERATORS[type(node.op)]()))
    elif isinstance(node, ast.Compare):
        for k, operator in enumerate(node.ops):
            if type(operator) in OPERATORS:
                yield _text(node, ops=[*node.ops[:k], OPERATORS[type(operator)](), *node.ops[k + 1:]])
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield f"({ast.unparse(node.operand)})"
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield "return None"
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield "pass"
    elif isinstance(node, ast.Continue):
        yield "break"
    elif isinstance(node, ast.IfExp):
        yield _text(node, body=node.orelse, orelse=node.body)


def _copy(node, **changed):
    return type(node)(**{**{field: getattr(node, field) for field in node._fields}, **changed})


def _text(node, **changed):
    return f"({ast.unparse(_copy(node, **changed))})"


def _is_none(node):
    return isinstance(node, ast.Constant) and node.value is None


def compiles(source):
    try:
        compile(source, "mutant", "exec", dont_inherit=True)
        return True
    except (SyntaxError, ValueError):
        return False


def sample(root, places, count, seed):
    """``count`` mutants of the files under places (files or folders, relative to root), drawn without replacement."""
    found = []
    for place in places:
        where = Path(root, place)
        for path in sorted(where.rglob("*.py")) if where.is_dir() else [where]:
            found += mutants(path.relative_to(root).as_posix(), path.read_bytes())
    random.Random(seed).shuffle(found)
    usable = (m for m in found if compiles(m.apply(Path(root, m.path).read_bytes())))
    return list(itertools.islice(usable, count)), len(found)
