"""What all benchmarks say to people: help that teaches, how far they are, and the Markdown table they end with.

The table goes to standard output alone, so that it can be kept; how far a benchmark is goes to standard error, as bars
on a terminal and as one line a step elsewhere.
"""

from __future__ import annotations

import argparse
import signal
import sys
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Sequence

READ_FIRST = """
Run it on an idle machine; ./hack/setup.sh makes the environment. The table goes to standard output, and how far it is
to standard error. The exit code is 0 where the goals are met, 1 where one is missed.
"""


def parser(about: str | None, more: str) -> argparse.ArgumentParser:
    """A command line whose help says what is measured (`about`), and gives examples and how to read them (`more`)."""
    return argparse.ArgumentParser(
        description=about, epilog=more + READ_FIRST, formatter_class=argparse.RawDescriptionHelpFormatter
    )


class Steps:
    """How far a benchmark is: one step at a time, each with a bar. A context manager: it draws inside.

    Inside, SIGTERM ends a benchmark as an error does: what it has started is stopped.
    """

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        self._bars = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._current: TaskID | None = None

    def __enter__(self) -> Self:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def begin(self, text: str, total: float | None = None) -> None:
        """The step before is done and this one begins; without a total nobody knows how much of it there is."""
        self._finish()
        self._current = self._bars.add_task(text, total=total)
        if not self._console.is_terminal:
            self._console.print(text, soft_wrap=True, highlight=False)

    def at(self, done: float) -> None:
        """So much of the current step's total is done."""
        if self._current is not None:
            self._bars.update(self._current, completed=done)

    def end(self, text: str) -> None:
        """The current step is done, and this came out."""
        self._finish()
        self._bars.console.print(text, soft_wrap=True, highlight=False)

    def _finish(self) -> None:
        if self._current is not None:
            self._bars.update(self._current, total=1, completed=1)
            self._bars.stop_task(self._current)
            self._current = None


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
