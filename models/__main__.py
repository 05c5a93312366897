"""The models' command line: ``python -m models`` lists the systems, ``python -m models NAME …`` runs one.

A system is a module in this folder with a ``main()`` that reads ``sys.argv`` and returns the exit status:
0 all gradients agree, 1 some differ, 2 unusable input. Its docstring's first line is its line in the list.
"""
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")            # small matrices: a second BLAS thread is in the way

import ast  # noqa: E402
import difflib  # noqa: E402
import importlib  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

HERE = Path(__file__).parent


def systems() -> dict[str, tuple[str, str]]:
    """name -> (module, first line of its docstring) for everything here that has a main(); none is imported."""
    found = {}
    for path in sorted(HERE.rglob("*.py"), key=lambda path: (len(path.parts), path)):
        if path == HERE / "__main__.py" or path.name.startswith("_") and path.name != "__main__.py":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body):
            module = ".".join(path.relative_to(HERE).with_suffix("").parts)
            found[module.removesuffix(".__main__")] = module, (ast.get_docstring(tree) or "").partition("\n")[0]
    return found


def main() -> int:
    known = systems()
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        width = max(map(len, known), default=0)
        print("usage: python -m models NAME [arguments]      (NAME --help says which)\n")
        print("\n".join(f"  {name:<{width}}  {line}" for name, (_, line) in known.items()))
        return 0
    name, *arguments = sys.argv[1:]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
        print(f"python -m models: there is no system {name!r}; {hint}", file=sys.stderr)
        return 2
    sys.argv = [f"python -m models {name}", *arguments]
    return importlib.import_module(f"models.{known[name][0]}").main()


if __name__ == "__main__":
    sys.exit(main())
