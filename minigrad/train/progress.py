"""What a person sees while a run goes on: a bar (tqdm, the extra ``progress``) or one plain line, on stderr."""
from __future__ import annotations

import math
import shutil
import sys
import time
from typing import Any


def bar(step: int, total: int | None) -> Bar | Line:
    """What shows the run from ``step`` on; ``total`` is the last step, or None if nobody knows."""
    try:
        from tqdm import tqdm
    except ImportError:
        return Line(step, total)
    return Bar(tqdm, step, total)


class Bar:
    """A tqdm bar: how far, how long still, and the record's numbers."""

    def __init__(self, tqdm: Any, step: int, total: int | None) -> None:
        self.bar = tqdm(initial=step, total=total, mininterval=0.1 if sys.stderr.isatty() else 2.0,
                        bar_format="{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{remaining} left{postfix}]")
        self.latest: dict[str, Any] = {}                                    # of each number, so that a validation stays to be seen

    def show(self, record: dict[str, Any]) -> None:
        self.latest.update(record)
        self.bar.set_postfix_str(numbers(self.latest), refresh=False)
        self.bar.update()

    def close(self, remark: str | None = None) -> None:
        self.bar.close()
        if remark:
            sys.stderr.write(remark + "\n")


class Line:
    """One line, rewritten on a terminal; elsewhere a line at most every two seconds."""

    def __init__(self, step: int, total: int | None) -> None:
        self.live = sys.stderr.isatty()
        self.first, self.total, self.start = step, total, time.monotonic()
        self.due, self.shown = 0.0, True
        self.latest: dict[str, Any] = {}

    def show(self, record: dict[str, Any]) -> None:
        self.latest.update(record)
        self.shown = False
        if time.monotonic() >= self.due:
            self.print()

    def print(self) -> None:
        step = self.latest["step"]
        text = f"step {step}{f'/{self.total}' if self.total else ''}  {self.left(step)}"
        text += numbers(self.latest, shutil.get_terminal_size().columns - len(text) - 1 if self.live else math.inf)
        self.due, self.shown = time.monotonic() + (0.1 if self.live else 2.0), True
        sys.stderr.write(f"\r\x1b[K{text}" if self.live else text + "\n")
        sys.stderr.flush()

    def left(self, step: int) -> str:
        """At the pace so far: ``02:30 left``."""
        if not self.total or step >= self.total:
            return ""
        pace = (time.monotonic() - self.start) / (step - self.first)
        minutes, seconds = divmod(round(pace * (self.total - step)), 60)
        return f"{f'{minutes // 60}:' if minutes >= 60 else ''}{minutes % 60:02}:{seconds:02} left  "

    def close(self, remark: str | None = None) -> None:
        if not self.shown:
            self.print()
        sys.stderr.write(("\n" if self.live else "") + (remark + "\n" if remark else ""))


def numbers(record: dict[str, Any], width: float = math.inf) -> str:
    """``loss 0.1234  norm 1.5``: the record without what the bar shows anyway, and as many numbers as there is room for."""
    text = ""
    for key, value in record.items():
        if key not in ("step", "seconds", "learning_rate"):
            more = f"{text and text + '  '}{key} {f'{value:.4g}' if isinstance(value, float) else value}"
            if len(more) > width:
                break
            text = more
    return text
