"""Results as a table: for a terminal, as Markdown, or as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidemill_operator.simulate.suite import Result

HEADINGS = (
    "trace", "policy", "windows met", "on target", "GPU-hours", "x least", "worst", "cost", "x least",
    "starts", "flaps", "false alerts", "requests late", "forecast off",
)  # fmt: skip

LEGEND = """\
windows met: of those a clairvoyant scheduler meets. on target: jobs done by their target or planned finish, of all.
x least: against the clairvoyant minimum for the same deadlines; worst: the worst single trace.
flaps: workers ordered within 15 minutes of one sent away. false alerts: about jobs that ran as planned.
forecast off: mean error of the finish foretold, from a quarter of the rows on, as a share of the job's time."""


def cells(result: Result) -> tuple[str, ...]:
    """One row of the table, by HEADINGS."""
    error = result.mean_forecast_error
    return (
        result.trace,
        result.policy,
        f"{result.feasible - result.missed} of {result.feasible}",
        f"{result.on_target} of {result.jobs}",
        f"{result.gpu_hours:.0f}",
        f"{result.ratio:.2f}",
        f"{result.worst_ratio:.2f}",
        f"{result.cost:.0f}",
        f"{result.cost / result.least_cost if result.least_cost else 1:.2f}",
        str(result.starts),
        str(result.flaps),
        str(result.false_alerts) if error is not None else "-",
        f"{result.late_requests / result.requests:.1%}" if result.requests else "-",
        f"{error:.1%}" if error is not None else "-",
    )


def table(results: Sequence[Result], title: str) -> Table:
    """For a terminal."""
    drawn = Table(title=title, caption=LEGEND, caption_justify="left", title_justify="left")
    for index, heading in enumerate(HEADINGS):
        drawn.add_column(heading, justify="left" if index < 2 else "right", no_wrap=index < 2)
    for index, result in enumerate(results):
        last = index + 1 == len(results) or results[index + 1].trace != result.trace
        drawn.add_row(*cells(result), end_section=last)
    return drawn


def markdown(results: Sequence[Result]) -> str:
    """For a README."""
    rows = [HEADINGS, ("---",) * 2 + ("--:",) * (len(HEADINGS) - 2), *map(cells, results)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def as_json(results: Sequence[Result]) -> str:
    """For programs: every figure of `Result` and the ratio."""
    return json.dumps([asdict(result) | {"ratio": result.ratio} for result in results], indent=2)
