"""Who is doing what right now: the figures that engine actors report, on the board that the coordinator keeps.

Reports are cumulative for each writer, so that a lost one costs nothing. A writer that falls silent may be gone or
only too busy to report: it is no longer live, but its rows in flight stay counted until it reports again or another
writer reports from its node, so that a busy worker never looks idle. Holds no state that a restart would miss.
"""

from __future__ import annotations

from dataclasses import dataclass, field

REPORT_SECONDS = 1.0
"""How often a writer reports."""

SILENT_SECONDS = 10.0
"""A writer without a report for so long is silent: gone, or too busy."""


@dataclass(frozen=True, slots=True)
class Report:
    """One writer's counts since it started; rows and tokens are of durable lines."""

    writer: str
    node: str
    in_flight: int = 0
    completed: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    answered: int = 0
    """Rows that got their final answer, durable or not yet."""
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The sum of all writers' reports. `in_flight` by node address, of live writers and of silent ones not replaced."""

    completed: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    answered: int = 0
    in_flight: dict[str, int] = field(default_factory=dict)
    live: int = 0
    still_writing: int = 0


@dataclass(slots=True)
class Board:
    """All reports, the newest of each writer. `now` is monotonic seconds."""

    reports: dict[str, tuple[float, Report]] = field(default_factory=dict)

    def report(self, report: Report, now: float) -> None:
        """Takes a writer's newest report."""
        self.reports[report.writer] = (now, report)

    def silent(self, now: float, seconds: float) -> list[str]:
        """Writers whose last report is older than that."""
        return [writer for writer, (heard, _) in self.reports.items() if now - heard > seconds]

    def snapshot(self, now: float) -> Snapshot:
        """The state of all writers."""
        every = [report for _, report in self.reports.values()]
        live = [report for heard, report in self.reports.values() if now - heard < SILENT_SECONDS]
        in_flight: dict[str, int] = {}
        for report in (*live, *self._unaccounted(now)):
            in_flight[report.node] = in_flight.get(report.node, 0) + report.in_flight
        return Snapshot(
            completed=sum(report.completed for report in every),
            failed=sum(report.failed for report in every),
            prompt_tokens=sum(report.prompt_tokens for report in every),
            completion_tokens=sum(report.completion_tokens for report in every),
            answered=sum(report.answered for report in every),
            in_flight=in_flight,
            live=len(live),
            still_writing=sum(not report.stopped for report in live),
        )

    def _unaccounted(self, now: float) -> list[Report]:
        """The last reports of silent writers on whose node no other writer has reported since."""
        newest: dict[str, float] = {}
        for heard, report in self.reports.values():
            newest[report.node] = max(heard, newest.get(report.node, heard))
        return [
            report
            for heard, report in self.reports.values()
            if now - heard >= SILENT_SECONDS and heard == newest[report.node] and report.in_flight
        ]
