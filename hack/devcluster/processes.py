"""Detached processes that outlive the command which started them: start, recognise, stop.

Each has a record in the state folder: its pid, the kernel's start time of that pid (a reused pid is thus
never taken for ours, let alone killed) and its command. It runs in a session of its own and logs to a file.
"""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

STOP_SECONDS = 10.0
"""How long a process may take after SIGTERM before it is killed."""

LARGEST_LOG_BYTES = 20 * 2**20
"""A log above this is set aside at the next start; one older log is kept."""


@dataclass(frozen=True)
class Record:
    """A process that was started. `started` is in clock ticks since boot, field 22 of /proc/PID/stat."""

    pid: int
    started: int
    command: tuple[str, ...]

    def alive(self) -> bool:
        """Whether this very process still runs."""
        return start_time(self.pid) == self.started

    def age_seconds(self) -> float:
        """Seconds since it was started."""
        with Path("/proc/uptime").open() as uptime:
            return float(uptime.read().split()[0]) - self.started / os.sysconf("SC_CLK_TCK")


def start_time(pid: int) -> int | None:
    """Start time of a running process in clock ticks since boot; None if there is none or only its remains."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in {"Z", "X"} else int(fields[19])


@dataclass(frozen=True)
class Processes:
    """The processes of one dev cluster; `state` is its folder."""

    state: Path

    def log(self, name: str) -> Path:
        """Where a process writes what it has to say."""
        return self.state / "logs" / f"{name}.log"

    def record(self, name: str) -> Record | None:
        """What was started last under this name, alive or not."""
        try:
            found = json.loads(self._record_file(name).read_text())
        except (FileNotFoundError, ValueError):
            return None
        return Record(found["pid"], found["started"], tuple(found["command"]))

    def running(self, name: str) -> Record | None:
        """The process of this name if it is alive."""
        record = self.record(name)
        return record if record is not None and record.alive() else None

    def start(self, name: str, command: tuple[str, ...], environment: Mapping[str, str]) -> Record:
        """Start a process and remember it. The caller has made sure that none of the name runs."""
        log = self.log(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > LARGEST_LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        # Not `subprocess`: it warns of children that outlive it, and these are meant to.
        pid = os.posix_spawn(
            command[0],
            command,
            environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        record = Record(pid, start_time(pid) or 0, command)
        path = self._record_file(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(".new")
        scratch.write_text(json.dumps(asdict(record)))
        scratch.replace(path)
        return record

    def stop(self, name: str) -> bool:
        """Stop a process: SIGTERM, then SIGKILL for its whole session. Whether there was one to stop."""
        record = self.running(name)
        if record is not None:
            _signal(record.pid, signal.SIGTERM)
            if not _ended(record, STOP_SECONDS):
                _signal(-record.pid, signal.SIGKILL)
                _ended(record, STOP_SECONDS)
        self._record_file(name).unlink(missing_ok=True)
        return record is not None

    def last_words(self, name: str, lines: int = 15) -> str:
        """The end of a process's log, for the message that it died."""
        try:
            return "\n".join(self.log(name).read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return "(no log)"

    def _record_file(self, name: str) -> Path:
        return self.state / "processes" / f"{name}.json"


def _signal(pid: int, number: signal.Signals) -> None:
    """Signal a process, or the whole process group of a negative pid."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _ended(record: Record, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while record.alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    with suppress(ChildProcessError):
        os.waitpid(record.pid, os.WNOHANG)  # it is our own child if this very process started it
    return True
