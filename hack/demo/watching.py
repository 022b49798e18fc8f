"""Follows a job with `kubectl get --watch` and shows its progress: a bar for a person, lines for a log."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, SpinnerColumn, TextColumn
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console
    from rich.progress import Task

LINE_SECONDS = 5.0
"""Without a terminal one line is printed at most so often, unless what the job does has changed."""


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


def watch(kubectl: list[str], namespace: str, name: str) -> Iterator[dict[str, Any]]:
    """Each version of the job until it is finished or deleted; starts again when the connection breaks."""
    command = [
        *kubectl,
        "get",
        "batchinferencejob",
        name,
        "-n",
        namespace,
        "--watch",
        "--output-watch-events",
        "-ojson",
    ]
    while True:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                for event in _objects(process.stdout or ()):
                    yield event["object"]
                    if event["type"] == "DELETED" or observe(event["object"]).finished:
                        return
            finally:
                process.terminate()
        time.sleep(1.0)


def _objects(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The JSON objects that kubectl prints one after another, each over many lines."""
    decoder, text = json.JSONDecoder(), ""
    for line in lines:
        text += line
        if not line.startswith(("{", "}")):
            continue  # an object is one line, or ends with a brace in the first column
        while text := text.lstrip():
            try:
                value, end = decoder.raw_decode(text)
            except json.JSONDecodeError:
                break
            yield value
            text = text[end:]


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


def follow(kubectl: list[str], namespace: str, name: str, console: Console) -> dict[str, Any]:
    """Shows a job until it is finished and returns its last version."""
    show = _bar if console.is_terminal else _lines
    return show(watch(kubectl, namespace, name), console)


def _bar(versions: Iterator[dict[str, Any]], console: Console) -> dict[str, Any]:
    job: dict[str, Any] = {}
    rate = Rate()
    columns = (SpinnerColumn(), TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn(), RateColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("Pending", total=None)
        for job in versions:
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


def _lines(versions: Iterator[dict[str, Any]], console: Console) -> dict[str, Any]:
    job: dict[str, Any] = {}
    rate, printed, doing = Rate(), 0.0, ""
    for job in versions:
        seen, now = observe(job), time.monotonic()
        text = rate.describe(seen, now)
        if seen.doing == doing and now - printed < LINE_SECONDS:
            continue
        printed, doing = now, seen.doing
        counts = f"{seen.done}/{seen.total} rows, {seen.failed} failed, workers {seen.workers}" if seen.total else ""
        console.print(
            "  ".join(part for part in (f"{seen.doing:<16}", counts, text or seen.detail) if part), soft_wrap=True
        )
    return job
