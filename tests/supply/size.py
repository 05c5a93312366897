"""How long the engine is: lines of code, which docstrings, comments and blank lines are not. ``python -m tests.supply.size`` prints it."""
import ast
import io
import tokenize
from pathlib import Path

import minigrad

HOUSE = Path(minigrad.__file__).parent
ENGINE = "ops", "tensor", "autodiff", "graph"
SILENT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def lines_of_code(source: str) -> int:
    """The lines of a module on which something stands that is neither comment nor docstring."""
    said: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            said.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    code = {line for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type not in SILENT
            for line in range(token.start[0], token.end[0] + 1)}
    return len(code - said)


def sizes(rooms: tuple[str, ...] = ENGINE) -> dict[str, dict[str, int]]:
    """room -> {file: lines of code}"""
    return {room: {path.name: lines_of_code(path.read_text(encoding="utf-8"))
                   for path in sorted([*HOUSE.glob(f"{room}.py"), *HOUSE.glob(f"{room}/*.py")])} for room in rooms}


if __name__ == "__main__":
    engine = sizes()
    for room, files in engine.items():
        print(f"{sum(files.values()):6,}  {room:10}", ", ".join(f"{name} {n}" for name, n in files.items()) if len(files) > 1 else "")
    print(f"{sum(sum(files.values()) for files in engine.values()):6,}  together")
