"""Traces as they come up in practice, drawn from a seed. Their figures are round and were set once, for no law.

A generator draws sizes over one or two orders of magnitude (log-uniform), because inputs differ that much. The budget
of GPUs is a round number by one rule for all: one and a half to two times what the work takes on average over the time
in which its windows are open, so that jobs do get into each other's way.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from tidemill_operator.simulate.trace import Capacity, Endpoint, Job, Limits, Load, Loss, Price, Trace

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidemill_operator.simulate.trace import AnyLine

HOUR = 3600.0
DAY = 24 * HOUR
NIGHT_FACTOR = 0.5
"""What a GPU-hour of the night costs beside one of the day."""

MODELS = {
    # name: (rows a second of a worker, shortest start-up in seconds)
    "small-8b": (12.0, 90.0),
    "medium-32b": (4.0, 150.0),
    "embedder": (60.0, 60.0),
}


def nightly_burst(seed: int) -> Trace:
    """Sixty exports land within the hour after midnight and are wanted in the morning: windows of 6 or 8 hours."""
    rng = _drawn("nightly-burst", seed)
    jobs = [_job(rng, i, rng.uniform(0, HOUR), rng.choice([6, 8]) * HOUR, 2_000, 200_000) for i in range(60)]
    return Trace.of("nightly-burst", [*jobs, Limits(gpu_limit=16)], seed)


def steady_drip(seed: int) -> Trace:
    """A day of unrelated jobs, one each ten minutes on average, windows of 2 to 6 hours."""
    rng = _drawn("steady-drip", seed)
    return Trace.of("steady-drip", [*_drip(rng, DAY), Limits(gpu_limit=8)], seed)


def month_end(seed: int) -> Trace:
    """The drip of a day and, at six in the evening, forty large jobs; half of these may wait for the cheaper night."""
    rng = _drawn("month-end", seed)
    lines: list[AnyLine] = [*_drip(rng, DAY), Limits(gpu_limit=40)]
    for number in range(40):
        late = number % 2 == 1
        job = _job(rng, 1000 + number, 18 * HOUR + rng.uniform(0, 2 * HOUR), 12 * HOUR, 50_000, 500_000)
        night = {"schedule": "LatestSafe"} if late else {}
        lines.append(job.model_copy(update=night))
    lines += [Price(start=day * DAY + 22 * HOUR, end=day * DAY + 30 * HOUR, factor=NIGHT_FACTOR) for day in range(2)]
    return Trace.of("month-end", lines, seed)


def flash_crowd(seed: int) -> Trace:
    """Jobs drip while an endpoint's requests multiply within a minute, twice a day, for ten to thirty minutes."""
    rng = _drawn("flash-crowd", seed)
    lines: list[AnyLine] = [*_drip(rng, 12 * HOUR), Limits(gpu_limit=16)]
    lines.append(Endpoint(name="chat", min_replicas=1, max_replicas=12))
    lines.append(Load(endpoint="chat", time=0, requests_per_second=2))
    for begin in (rng.uniform(2, 4) * HOUR, rng.uniform(6, 9) * HOUR):
        crowd = 2 * rng.uniform(6, 14)
        lines.append(Load(endpoint="chat", time=begin, requests_per_second=crowd / 2))
        lines.append(Load(endpoint="chat", time=begin + 60, requests_per_second=crowd))
        lines.append(Load(endpoint="chat", time=begin + rng.uniform(600, 1800), requests_per_second=2))
    return Trace.of("flash-crowd", lines, seed)


def spot_loss(seed: int) -> Trace:
    """The drip on spot GPUs: a worker is lost once in ten hours, and twice a day half of all at once, for a while."""
    rng = _drawn("spot-loss", seed)
    lines: list[AnyLine] = [job.model_copy(update={"losses_per_hour": 0.1}) for job in _drip(rng, DAY)]
    lines.append(Limits(gpu_limit=12))
    lines.append(Capacity(time=0, gpus=12))
    for half in (0, 1):
        wave = (half * 12 + rng.uniform(1, 10)) * HOUR
        lines.append(Loss(time=wave, share=0.5))
        lines.append(Capacity(time=wave, gpus=6))
        lines.append(Capacity(time=wave + rng.uniform(600, 2400), gpus=12))
    return Trace.of("spot-loss", lines, seed)


def crowd_of_jobs(seed: int, count: int = 10_000) -> Trace:
    """Many jobs over two weeks, to measure how fast the simulation itself is; not part of the suite."""
    rng = _drawn("crowd-of-jobs", seed)
    jobs = [_job(rng, i, rng.uniform(0, 14 * DAY), rng.choice([2, 4, 8]) * HOUR, 1_000, 50_000) for i in range(count)]
    return Trace.of("crowd-of-jobs", [*jobs, Limits(gpu_limit=256)], seed)


GENERATORS: dict[str, Callable[[int], Trace]] = {
    "nightly-burst": nightly_burst,
    "steady-drip": steady_drip,
    "month-end": month_end,
    "flash-crowd": flash_crowd,
    "spot-loss": spot_loss,
}
"""The trace suite."""


def _drawn(name: str, seed: int) -> random.Random:
    return random.Random(f"{name}-{seed}")  # noqa: S311 - a trace that can be drawn again, no secret


def _drip(rng: random.Random, length: float) -> list[Job]:
    jobs: list[Job] = []
    arrival = rng.expovariate(1 / 600)
    while arrival < length:
        jobs.append(_job(rng, len(jobs), arrival, rng.choice([2, 3, 4, 6]) * HOUR, 1_000, 100_000))
        arrival += rng.expovariate(1 / 600)
    return jobs


def _job(rng: random.Random, number: int, arrival: float, window: float, fewest: int, most: int) -> Job:
    """A job of one of the models, of `fewest` to `most` rows. Speed differs by what is asked of the model."""
    model = rng.choice(sorted(MODELS))
    rate, start_up = MODELS[model]
    return Job(
        name=f"job-{number:05d}",
        arrival=round(arrival, 1),
        rows=round(math.exp(rng.uniform(math.log(fewest), math.log(most)))),
        window=window,
        model=model,
        rows_per_second=round(rate * rng.uniform(0.7, 1.4), 2),
        start_up=start_up,
        max_workers=8,
    )
