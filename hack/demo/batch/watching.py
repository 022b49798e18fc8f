"""Follows a job with `kubectl get --watch` and shows its progress: a bar for a person, lines for a log."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, SpinnerColumn, TextColumn
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console
    from rich.progress import Task

    from demo.kubectl import Kubectl

LINE_SECONDS = 5.0
"""Without a terminal one line is printed at most so often, unless what the job does has changed."""

QUIET_LINE_SECONDS = 30.0
"""Without a terminal, what a job that does not move waits for is said again so often."""


@dataclass(frozen=True)
class Observation:
    """What one version of the job object says."""

    doing: str
    detail: str
    total: int
    completed: int
    failed: int
    workers: str
    finished: bool

    @property
    def done(self) -> int:
        """Rows that have a line."""
        return self.completed + self.failed


def observe(job: dict[str, Any]) -> Observation:
    """Reads a job object's status; everything may be missing yet."""
    status = job.get("status") or {}
    conditions = {condition["type"]: condition for condition in status.get("conditions", [])}
    progressing = conditions.get("Progressing", {})
    rows, workers = status.get("rows", {}), status.get("workers", {})
    return Observation(
        doing=progressing.get("reason", "Pending"),
        detail=progressing.get("message", ""),
        total=rows.get("total", 0),
        completed=rows.get("completed", 0),
        failed=rows.get("failed", 0),
        workers=f"{workers.get('ready', 0)}/{workers.get('desired', 0)}",
        finished=conditions.get("Finished", {}).get("status") == "True",
    )


def watch(kubectl: Kubectl, namespace: str, name: str) -> Iterator[dict[str, Any] | None]:
    """Each version of the job until it is finished or deleted, and None for each spell of silence."""
    for event in kubectl.watch("batchinferencejob", namespace, name):
        yield event and event["object"]
        if event and (event["type"] == "DELETED" or observe(event["object"]).finished):
            return


class RateColumn(ProgressColumn):
    """Rows per second and the time left at that rate, or nothing while no row is done."""

    def render(self, task: Task) -> Text:
        """The column's text for one bar."""
        return Text(task.fields.get("rate", ""))


class Rate:
    """Rows per second since the first row was seen: the measured rate, start-up not counted."""

    def __init__(self) -> None:
        self._since: tuple[float, int] | None = None

    def describe(self, seen: Observation, now: float) -> str:
        """`12.3 rows/s, 00:17 left`, or nothing until two different counts were seen."""
        if self._since is None:
            if seen.done:
                self._since = (now, seen.done)
            return ""
        seconds, rows = now - self._since[0], seen.done - self._since[1]
        if rows <= 0 or seconds <= 0:
            return ""
        rate = rows / seconds
        minutes, left = divmod(int((seen.total - seen.done) / rate), 60)
        return f"{rate:.1f} rows/s, {minutes:02d}:{left:02d} left"


def follow(kubectl: Kubectl, job: tuple[str, str], console: Console, check: Callable[[], None]) -> dict[str, Any]:
    """Shows a job, given by namespace and name, until it is finished and returns its last version.

    `check` is called in every spell of silence and raises where nothing can come any more.
    """
    show = _bar if console.is_terminal else _lines
    return show(_checked(watch(kubectl, *job), check), console)


def _checked(versions: Iterator[dict[str, Any] | None], check: Callable[[], None]) -> Iterator[dict[str, Any] | None]:
    for version in versions:
        if version is None:
            check()
        yield version


def _bar(versions: Iterator[dict[str, Any] | None], console: Console) -> dict[str, Any]:
    job: dict[str, Any] = {}
    rate, said = Rate(), ""
    columns = (SpinnerColumn(), TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn(), RateColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("Pending", total=None)
        for version in versions:
            if version is None:
                seen = observe(job)
                if seen.detail not in ("", said) and not seen.done:  # whole, above the bar: there it would be cut
                    console.print(f"{seen.doing}: {seen.detail}", highlight=False, markup=False, soft_wrap=True)
                    said = seen.detail
                continue
            job = version
            seen = observe(job)
            text = rate.describe(seen, time.monotonic())
            progress.update(
                task,
                description=seen.doing,
                total=seen.total or None,
                completed=seen.done,
                rate=text or seen.detail[:60],
            )
    return job


def _lines(versions: Iterator[dict[str, Any] | None], console: Console) -> dict[str, Any]:
    job: dict[str, Any] = {}
    rate, printed, shown = Rate(), 0.0, ("", "")
    for version in versions:
        job = version or job
        seen, now = observe(job), time.monotonic()
        text = rate.describe(seen, now) if version else ""
        if version:
            due = seen.doing != shown[0] or now - printed >= LINE_SECONDS
        else:
            due = (seen.doing, seen.detail) != shown or now - printed >= QUIET_LINE_SECONDS
        if not due:
            continue
        printed, shown = now, (seen.doing, seen.detail)
        counts = f"{seen.done}/{seen.total} rows, {seen.failed} failed, workers {seen.workers}" if seen.total else ""
        line = "  ".join(part for part in (f"{seen.doing:<16}", counts, text or seen.detail) if part)
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return job
