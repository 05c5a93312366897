"""Files written whole or not at all, and Python files run as they are now. Nothing here knows what is in them."""
from __future__ import annotations

import contextlib
import os
from types import ModuleType
from typing import Any, Iterator


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[str]:
    """The name of a file beside ``path`` to write into; at the end it takes the place of ``path``, after an error it is gone.

    >>> from pathlib import Path
    >>> with replacing("note.txt") as beside:
    ...     length = Path(beside).write_text("whole")
    >>> Path("note.txt").read_text()
    'whole'
    """
    beside = f"{os.fspath(path)}.{os.getpid()}.part"
    try:
        yield beside
        os.replace(beside, path)
    finally:
        if os.path.exists(beside):
            os.unlink(beside)


def write(path: str | os.PathLike[str], text: str | bytes) -> None:
    """Write text (UTF-8) or bytes."""
    try:
        with replacing(path) as beside, open(beside, "wb") as file:
            file.write(text.encode("utf-8") if isinstance(text, str) else text)
    except OSError as error:                                    # of the file that was asked for, not of the one beside it
        raise type(error)(error.errno, error.strerror, os.fspath(path)) from None


def module_from(path: str | os.PathLike[str], name: str) -> ModuleType:
    """The module that the Python file makes as it is now. Python's compiled files are not asked: a file of the same length and second
    is the same to them. ValueError if the file's name does not end in .py."""
    import importlib.util
    path = os.fspath(path)
    spec: Any = importlib.util.spec_from_file_location(name, path)
    if spec is None or not hasattr(spec.loader, "source_to_code"):
        raise ValueError(f"{path} is no Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    exec(spec.loader.source_to_code(spec.loader.get_data(path), path), module.__dict__)
    return module
