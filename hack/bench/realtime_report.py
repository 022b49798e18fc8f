"""What `realtime_overhead.py` measured, as values, and the tables that it makes of them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Self

from command_line import table
from load_figures import Figures
from process_cpu import GROUPS, added

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from load import Answer

TTFT_GOAL = 1.10
THROUGHPUT_GOAL = 0.95
BARE, ENDPOINT = "bare", "endpoint"


@dataclass(frozen=True)
class Run:
    """One load on one side, and the CPU seconds of the side's groups of processes meanwhile."""

    answers: Sequence[Answer]
    cpu: Mapping[str, float]


@dataclass(frozen=True)
class Measured:
    """A whole benchmark. `capacity` in requests a second; `rest` in cores; `runs` by share of capacity and side."""

    alone: Run
    capacity: float
    rest: Mapping[str, Mapping[str, float]]
    runs: Mapping[tuple[float, str], Sequence[Run]]

    @property
    def shares(self) -> list[float]:
        """The loads, lightest first."""
        return sorted({share for share, _ in self.runs})

    def figures(self, share: float, side: str) -> Figures:
        """Of all rounds of a load together."""
        return Figures.of(*(run.answers for run in self.runs[share, side]))

    def throughput_ratios(self, share: float) -> list[float]:
        """Endpoint by bare, of each round."""
        pairs = zip(self.runs[share, ENDPOINT], self.runs[share, BARE], strict=True)
        return [Figures.of(ours.answers).throughput / Figures.of(bare.answers).throughput for ours, bare in pairs]


@dataclass(frozen=True)
class Outcome:
    """The figures with goals: the worst TTFT p50 ratio below saturation, the throughput ratio at the heaviest load."""

    first_token_ratio: float
    throughput_ratio: float

    @classmethod
    def of(cls, measured: Measured) -> Self:
        """Of a whole benchmark; where no load is below saturation, of all."""
        below = [share for share in measured.shares if share < 1] or measured.shares
        ratios = [
            measured.figures(share, ENDPOINT).first_p50 / measured.figures(share, BARE).first_p50 for share in below
        ]
        return cls(max(ratios), median(measured.throughput_ratios(measured.shares[-1])))

    @property
    def holds(self) -> bool:
        """Whether both goals are met."""
        return self.first_token_ratio <= TTFT_GOAL and self.throughput_ratio >= THROUGHPUT_GOAL


def report(measured: Measured, sides: Sequence[str]) -> str:
    """The table of figures, that of CPU, and the outcome in one sentence."""
    outcome = Outcome.of(measured)
    alone, beside = Figures.of(measured.alone.answers), measured.rest
    sentence = (
        f"TTFT p50 {outcome.first_token_ratio:.2f} times the bare server's (goal at most {TTFT_GOAL:.2f}), throughput"
        f" at saturation {outcome.throughput_ratio:.2f} times (goal at least {THROUGHPUT_GOAL:.2f}). The bare server"
        f" with the machine to itself: {alone.throughput:.0f} tokens/s, {measured.capacity:.2f} requests/s; at rest"
        f" the endpoint's side takes {sum(beside[ENDPOINT].values()):.2f} cores beside both."
    )
    return "\n\n".join((figures_table(measured, sides), cpu_table(measured), sentence))


def figures_table(measured: Measured, sides: Sequence[str]) -> str:
    """A line for each side of each load, and one for their ratios."""
    header = ("load", "side", "requests", "TTFT p50", "TTFT p99", "ms/token", "tokens/s", "CPU ms/token")
    rows: list[tuple[str, ...]] = []
    for share in measured.shares:
        rows += [
            (f"{share:g}", side, *_cells(measured.figures(share, side), _cpu(measured, share, side))) for side in sides
        ]
        rows.append((f"{share:g}", "ratio", "", *_ratios(measured, share)))
    return table(header, rows)


def cpu_table(measured: Measured) -> str:
    """CPU of each group of processes: for a token at the heaviest load, and at rest."""
    header = ("processes", "endpoint, CPU ms/token", "bare", "endpoint at rest, cores", "bare")
    heaviest = measured.shares[-1]
    sides = (ENDPOINT, BARE)
    used = {side: added(run.cpu for run in measured.runs[heaviest, side]) for side in sides}
    tokens = {side: measured.figures(heaviest, side).tokens for side in sides}
    rows = [
        (
            group,
            *(f"{used[side].get(group, 0.0) / tokens[side] * 1000:.2f}" for side in sides),
            *(f"{measured.rest[side].get(group, 0.0):.3f}" for side in sides),
        )
        for group in GROUPS
    ]
    return table(header, rows)


def _cpu(measured: Measured, share: float, side: str) -> float:
    """CPU seconds for each token."""
    used = added(run.cpu for run in measured.runs[share, side])
    return sum(used.values()) / measured.figures(share, side).tokens


def _cells(figures: Figures, cpu: float) -> tuple[str, ...]:
    times = (figures.first_p50, figures.first_p99)
    return (
        str(figures.requests),
        *(f"{seconds * 1000:.0f} ms" for seconds in times),
        f"{figures.token_p50 * 1000:.1f}",
        f"{figures.throughput:.1f}",
        f"{cpu * 1000:.2f}",
    )


def _ratios(measured: Measured, share: float) -> tuple[str, ...]:
    ours, bare = measured.figures(share, ENDPOINT), measured.figures(share, BARE)
    rounds = measured.throughput_ratios(share)
    pairs = ((ours.first_p50, bare.first_p50), (ours.first_p99, bare.first_p99), (ours.token_p50, bare.token_p50))
    return (
        *(f"{mine / other:.2f}" if other else "" for mine, other in pairs),
        f"{median(rounds):.2f} ({min(rounds):.2f} to {max(rounds):.2f})",
        f"{_cpu(measured, share, ENDPOINT) / _cpu(measured, share, BARE):.2f}",
    )
