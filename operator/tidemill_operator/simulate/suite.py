"""The trace suite: every generator with twenty seeds under the law and the baselines, and the bounds of the law.

The bounds: every feasible window is met, each trace's GPU-hours are at most 1.15 times the clairvoyant minimum, and
nothing alerts about a job that runs as planned. `clairvoyant` says what feasible and minimum mean.
"""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, fields
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING

from tidemill_operator.simulate.baselines import ByDepth, FixedSize
from tidemill_operator.simulate.clairvoyant import feasible, least
from tidemill_operator.simulate.deadline_policy import DeadlinePolicy
from tidemill_operator.simulate.generators import GENERATORS
from tidemill_operator.simulate.run import play

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tidemill_operator.simulate.policy import Policy
    from tidemill_operator.simulate.record import Record
    from tidemill_operator.simulate.trace import Trace

SEEDS = 20
MOST_GPU_HOURS = 1.15
"""Times the clairvoyant minimum."""

LAW = "tidemill"
POLICIES: dict[str, Callable[[], Policy]] = {LAW: DeadlinePolicy, "fixed": FixedSize, "depth": ByDepth}
"""By name: the law, (a) a fixed size, (b) depth-proportional."""


@dataclass(frozen=True)
class Result:
    """What one policy made of one trace, or of several. Hours are GPU-hours of jobs; `least_...` is the bound."""

    trace: str
    policy: str
    jobs: int
    feasible: int
    met: int
    missed: int
    on_target: int
    gpu_hours: float
    least_gpu_hours: float
    worst_ratio: float
    cost: float
    least_cost: float
    starts: int
    least_starts: int
    flaps: int
    false_alerts: int
    requests: float
    late_requests: float
    forecasts: int
    forecast_error: float
    seeds: int = 1

    @property
    def ratio(self) -> float:
        """GPU-hours against the least."""
        return self.gpu_hours / self.least_gpu_hours if self.least_gpu_hours else 1.0

    @property
    def mean_forecast_error(self) -> float | None:
        """How far forecasts were off, as a share of the job's time; None where none was made."""
        return self.forecast_error / self.forecasts if self.forecasts else None

    def faults(self) -> list[str]:
        """The bounds that are missed, each in words."""
        found = []
        if self.missed:
            found.append(f"{self.trace}: {self.missed} of {self.feasible} feasible windows missed")
        if self.worst_ratio > MOST_GPU_HOURS:
            found.append(f"{self.trace}: {self.worst_ratio:.3f}x the least GPU-hours, {MOST_GPU_HOURS}x allowed")
        if self.false_alerts:
            found.append(f"{self.trace}: {self.false_alerts} alerts about jobs that ran as planned")
        return found


def result_of(record: Record, policy: str, windows: frozenset[str] | None = None) -> Result:
    """The figures of one run. `windows` are the feasible ones, worked out here where they are not given.

    Where not all windows go together, which of them are missed is the policy's choice, so it is held to their number.
    """
    windows = feasible(record.trace) if windows is None else windows
    bound = least(record)
    errors = [error for job in record.jobs.values() for error in job.forecast_errors()]
    return Result(
        trace=record.trace.name,
        policy=policy,
        jobs=len(record.jobs),
        feasible=len(windows),
        met=record.met,
        missed=max(len(windows) - record.met, 0),
        on_target=record.on_target,
        gpu_hours=record.gpu_hours,
        least_gpu_hours=bound.gpu_hours,
        worst_ratio=record.gpu_hours / bound.gpu_hours if bound.gpu_hours else 1.0,
        cost=record.cost,
        least_cost=bound.cost,
        starts=record.starts,
        least_starts=bound.starts,
        flaps=record.flaps,
        false_alerts=record.false_alerts,
        requests=record.requests,
        late_requests=record.late_requests,
        forecasts=len(errors),
        forecast_error=sum(min(error, 1.0) for error in errors),
    )


def together(results: Sequence[Result]) -> Result:
    """The sum of several runs of one generator under one policy; the worst ratio stays the worst."""
    sums = {
        one.name: sum(getattr(result, one.name) for result in results)
        for one in fields(Result)
        if one.name not in {"trace", "policy", "worst_ratio"}
    }
    worst = max(result.worst_ratio for result in results)
    return Result(trace=results[0].trace, policy=results[0].policy, worst_ratio=worst, **sums)


def compared(trace: Trace, policies: Mapping[str, Callable[[], Policy]] = POLICIES) -> list[Result]:
    """One trace under every policy."""
    windows = feasible(trace)
    return [result_of(play(trace, make()), name, windows) for name, make in policies.items()]


def run_suite(
    seeds: int = SEEDS,
    processes: int = 1,
    policies: Mapping[str, Callable[[], Policy]] = POLICIES,
    told: Callable[[int, int], None] | None = None,
) -> list[Result]:
    """The whole suite: a result for each generator and policy, its seeds together. `told` hears runs done, of how many.

    With several processes the policies must be importable by name.
    """
    found: dict[tuple[str, str], list[Result]] = defaultdict(list)
    runs = [(name, seed) for seed in range(seeds) for name in GENERATORS]
    for done, results in enumerate(_played(runs, processes, policies), 1):
        for result in results:
            found[result.trace, result.policy].append(result)
        if told is not None:
            told(done, len(runs))
    return [together(found[name, policy]) for name in GENERATORS for policy in policies]


def faults(results: Iterable[Result]) -> list[str]:
    """The bounds that the law misses; none is what the suite asks for. The baselines are held to none."""
    return [fault for result in results if result.policy == LAW for fault in result.faults()]


def _played(
    runs: Sequence[tuple[str, int]], processes: int, policies: Mapping[str, Callable[[], Policy]]
) -> Iterator[list[Result]]:
    one = partial(_one, policies=dict(policies))
    if processes <= 1:
        yield from map(one, runs)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(one, run) for run in runs]):
            yield future.result()


def _one(run: tuple[str, int], policies: Mapping[str, Callable[[], Policy]]) -> list[Result]:
    name, seed = run
    return compared(GENERATORS[name](seed), policies)
