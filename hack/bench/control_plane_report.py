"""What `control_plane.py` measured, as values, and the table that both sides make."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from command_line import table

BOUND_SECONDS = 1.0
SHARES = (0.5, 0.9, 0.99)
"""The shares of all looks, edits and writes whose slowest is told."""


@dataclass(frozen=True)
class Latency:
    """Seconds that half, nine of ten and 99 of 100 did not exceed."""

    p50: float
    p90: float
    p99: float

    @classmethod
    def of(cls, seconds: list[float]) -> Latency:
        """Of what was measured one by one. Raises SystemExit where that is nothing."""
        if not seconds:
            raise SystemExit("nothing was measured: give it more --seconds")
        ordered = sorted(seconds)
        return cls(*(ordered[ceil(len(ordered) * share) - 1] for share in SHARES))

    def __str__(self) -> str:
        return " / ".join(f"{seconds * 1000:.0f}" for seconds in (self.p50, self.p90, self.p99)) + " ms"


@dataclass(frozen=True)
class Start:
    """Seconds from the operator's start until its cache was full, and until it had looked at every job."""

    cache_seconds: float
    seen_seconds: float


@dataclass(frozen=True)
class Work:
    """The operator at work for so many seconds. Memory in MiB, CPU as a share of one core."""

    seconds: float
    written: int
    looks: Latency
    edits: Latency
    edits_made: int
    cpu_share: float
    memory_mib: float


@dataclass(frozen=True)
class Side:
    """One side: all that was measured among so many finished and running jobs."""

    finished: int
    running: int
    start: Start
    work: Work
    writes: Latency
    api_calls: int
    ray_calls: int

    def holds(self) -> bool:
        """Whether every bound holds."""
        quick = max(self.work.looks.p99, self.work.edits.p99) < BOUND_SECONDS
        return quick and not self.api_calls and not self.ray_calls

    def cells(self) -> tuple[str, ...]:
        """Its column of the table."""
        work = self.work
        return (
            f"{self.finished} / {self.running}",
            str(self.api_calls),
            str(self.ray_calls),
            str(work.looks),
            str(work.edits),
            str(self.writes),
            f"{work.written / work.seconds:.0f}",
            f"{work.edits_made}",
            f"{work.cpu_share:.0%} of a core",
            f"{work.memory_mib:.0f} MiB",
            f"{self.start.cache_seconds:.1f} s",
            f"{self.start.seen_seconds:.1f} s",
        )


FIGURES = (
    ("jobs finished / running", ""),
    ("API calls that name a finished job", "0"),
    ("Ray calls for a finished job", "0"),
    ("look due to status written, p50 / p90 / p99", "p99 < 1000 ms"),
    ("edit to status, p50 / p90 / p99", "p99 < 1000 ms"),
    ("of it the API server for a write, p50 / p90 / p99", ""),
    ("statuses written a second", ""),
    ("edits", ""),
    ("operator's CPU", ""),
    ("operator's resident memory", ""),
    ("operator's start to cache full", ""),
    ("start until every job was looked at", ""),
)
"""What a side's cells are, and their bounds."""


def report(alone: Side, among: Side) -> str:
    """The table, and in one sentence what the finished jobs cost."""
    header = ("figure", "beside finished jobs", "without", "bound")
    rows = [
        (figure, full, empty, bound)
        for (figure, bound), full, empty in zip(FIGURES, among.cells(), alone.cells(), strict=True)
    ]
    sentence = (
        f"{among.running} running jobs beside {among.finished:,} finished ones (without these): look due to status"
        f" written, p50 / p90 / p99, {among.work.looks} ({alone.work.looks}); {among.api_calls + among.ray_calls} calls"
        f" for finished jobs; operator {among.work.memory_mib:.0f} MiB ({alone.work.memory_mib:.0f})"
    )
    return f"{table(header, rows)}\n\n{sentence}"
