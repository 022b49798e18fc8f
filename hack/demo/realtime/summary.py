"""What was measured, and whether the endpoint kept its promises. Composes only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from demo.realtime.figures import Stretch
    from demo.realtime.traffic import Ledger


@dataclass
class Told:
    """The figures of one run, all in seconds but `refused`, the HTTP status that a wrong key got (0: none was tried).

    The acts fill it as they come about: what is 0 was not shown, since the spec does not promise it.
    """

    up_seconds: float = 0.0
    refused: int = 0
    decided_seconds: float = 0.0
    grown_seconds: float = 0.0
    calm_seconds: float = 0.0
    asleep_seconds: float = 0.0
    held_seconds: float = 0.0
    stretches: list[Stretch] = field(default_factory=list)


def table(told: Told) -> Table:
    """The burst by how many replicas answered when a wave of it came."""
    made = Table(title="the burst, without its pauses", title_justify="left")
    for heading in ("replicas", "waves", "requests", "wave p50", "TTFT p50", "TTFT p99", "tokens/s"):
        made.add_column(heading, justify="right")
    for part in told.stretches:
        made.add_row(
            str(part.replicas),
            str(part.waves),
            str(part.requests),
            f"{part.wave_seconds:.1f} s",
            f"{part.first_token_p50:.2f} s",
            f"{part.first_token_p99:.2f} s",
            f"{part.tokens_per_second:.0f}",
        )
    return made


def verdict(told: Told, ledger: Ledger) -> tuple[int, str]:
    """The exit code, and one sentence."""
    requests, faults = len(ledger.answers), ledger.faults
    words = f"{requests - len(faults)} of {requests} requests answered"
    if faults:
        return 1, f"{words}; the first fault: {faults[0].fault}"
    if told.decided_seconds:
        words += f"; burst to decision {told.decided_seconds:.1f} s, to all replicas {told.grown_seconds:.0f} s"
    if told.held_seconds:
        words += f"; from zero to an answer {told.held_seconds:.1f} s"
    return 0, words
