"""The log of a run: a file with one JSON object in each line, one line for each step."""
from __future__ import annotations

import json
import os
from typing import Any

import numpy as np


def read_log(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The records of a log that ``fit(log=path)`` wrote, as a list of dicts; a last line that is half written is left out.

    >>> import minigrad as mg
    >>> w = mg.parameter(0.0, name="w")
    >>> _ = mg.train.fit(lambda: (w - 3) ** 2, [w], [()], optimizer=mg.train.SGD([w], 0.25), steps=3, log="run.jsonl", progress=False)
    >>> [record["loss"] for record in read_log("run.jsonl")]
    [9.0, 2.25, 0.5625]
    """
    path, records = os.fspath(path), []
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no log {path!r}")
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break
            try:
                record = json.loads(line)
                record["step"] + 0
            except (ValueError, TypeError, KeyError):
                raise ValueError(f"line {number} of {path!r} is no record of a run: expected a JSON object with a number "
                                 "\"step\", as fit(log=…) writes them; give another path, or delete the file") from None
            records.append(record)
    return records


class Log:
    """Appends records. Resuming at a step drops the lines after it, so that the file reads like one uninterrupted run."""

    def __init__(self, path: str | os.PathLike[str] | None, step: int) -> None:
        self.file, self.last = None, 0
        if path is None:
            return
        kept = [record for record in read_log(path) if record["step"] <= step] if step and os.path.exists(path) else []
        beside = f"{os.fspath(path)}.new"
        with open(beside, "wb") as file:
            file.writelines(map(_line, kept))
        os.replace(beside, path)
        self.file = open(path, "r+b", buffering=0)                  # a line at a time: the log can be followed live
        self.file.seek(0, os.SEEK_END)

    def write(self, record: dict[str, Any]) -> None:
        if self.file:
            self.last = self.file.tell()
            self.file.write(_line(record))

    def rewrite(self, record: dict[str, Any]) -> None:
        """The last line again, with more in it than before."""
        if self.file:
            self.file.seek(self.last)
            self.write(record)

    def close(self) -> None:
        if self.file:
            self.file.close()


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, default=_plain, ensure_ascii=False).encode() + b"\n"


def _plain(x: Any) -> Any:
    """NumPy's numbers and arrays as JSON has them."""
    if isinstance(x, (np.generic, np.ndarray)):
        return x.tolist()
    raise TypeError(f"the log cannot hold a {type(x).__name__}; put numbers, text, lists and dicts into the record")
