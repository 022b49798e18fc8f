"""Shows an endpoint while the demo goes on: a live table for a person, lines for a log."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from demo.realtime.figures import tokens_between

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rich.console import Console, RenderableType

    from demo.realtime.observing import Seen, Timeline
    from demo.realtime.traffic import Ledger

FRAMES_PER_SECOND = 4
LINE_SECONDS = 5.0
"""Without a terminal one line is printed so often, and at once when the replicas or what is being done change."""

RATE_SECONDS = 10.0
"""Tokens a second are shown over so long a time."""

HEALTH_STYLES = {"Healthy": "green", "Warning": "yellow", "Critical": "red"}
STATUS_STYLES = {"True": "green", "False": "yellow"}


@dataclass
class Board:
    """What is shown: the endpoint's newest state beside the traffic's."""

    timeline: Timeline
    ledger: Ledger
    target_age_seconds: float
    began: float = field(default_factory=time.monotonic)
    doing: str = ""

    def __rich__(self) -> RenderableType:
        """The table, as rich asks for it with every frame."""
        title = Text(f"{clock(time.monotonic() - self.began)}  {self.doing}", style="bold")
        return Group(title, self._figures(), self._conditions())

    def line(self) -> str:
        """The same in one line."""
        seen, gauges = self.timeline.seen, self.timeline.gauges
        return (
            f"{clock(time.monotonic() - self.began)}  {seen.condition('Progressing').reason:<16} "
            f"replicas {seen.answering}/{seen.wanted}  depth {gauges.depth} ({gauges.waiting} waiting)  "
            f"oldest {gauges.oldest_seconds:.1f} s  {seen.health}  answered {len(self.ledger.answers)}"
        )

    def _figures(self) -> Table:
        seen, gauges = self.timeline.seen, self.timeline.gauges
        now = time.monotonic()
        old = gauges.oldest_seconds > self.target_age_seconds
        rate = tokens_between(self.ledger.answers, now - RATE_SECONDS, now) / RATE_SECONDS
        cells: dict[str, str | Text] = {
            "replicas wanted": str(seen.wanted),
            "answering": str(seen.answering),
            "waiting": str(gauges.waiting),
            "running": str(gauges.running),
            "oldest waits": Text(f"{gauges.oldest_seconds:.1f} s", style="red" if old else ""),
            "target": f"{self.target_age_seconds:g} s",
            "health": Text(seen.health, style=HEALTH_STYLES.get(seen.health, "")),
            "answered": str(len(self.ledger.answers)),
            "failed": str(len(self.ledger.faults)),
            "tokens/s": f"{rate:.0f}",
        }
        table = Table(*cells, box=None, header_style="dim", padding=(0, 2, 0, 0))
        table.add_row(*cells.values())
        return table

    def _conditions(self) -> Table:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for condition in self.timeline.seen.conditions:
            status = Text(condition.status, style=STATUS_STYLES.get(condition.status, ""))
            table.add_row(condition.type, status, condition.reason, Text(condition.message))
        return table

    @asynccontextmanager
    async def shown(self, console: Console, doing: str) -> AsyncIterator[None]:
        """Shows the board as long as the context lasts; what is printed meanwhile stands above it."""
        self.doing = doing
        if console.is_terminal:
            with Live(self, console=console, refresh_per_second=FRAMES_PER_SECOND, transient=True):
                yield
            return
        printing = asyncio.create_task(self._print_lines(console))
        try:
            yield
        finally:
            printing.cancel()
            await asyncio.gather(printing, return_exceptions=True)

    async def _print_lines(self, console: Console) -> None:
        printed, shown = 0.0, None
        said = {""}
        while True:
            now, moves = time.monotonic(), _moves(self.timeline.seen)
            if moves != shown or now - printed >= LINE_SECONDS:
                console.print(self.line(), highlight=False, markup=False, soft_wrap=True)
                printed, shown = now, moves
            message = self.timeline.seen.condition("Progressing").message
            if message not in said:
                console.print(f"      {message}", highlight=False, markup=False, soft_wrap=True)
                said.add(message)
            await asyncio.sleep(1 / FRAMES_PER_SECOND)


def _moves(seen: Seen) -> tuple[int, int, str]:
    """What a line is printed for at once."""
    return seen.wanted, seen.answering, seen.condition("Progressing").reason


def clock(seconds: float) -> str:
    """Seconds as `1:05`."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"
