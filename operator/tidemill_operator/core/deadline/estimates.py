"""What is known of a worker's speed and of its start-up time: a value, how sure it is, and what it rests on.

Three sources, each weighed by how sure it is: a prior before anything was measured, what other jobs of the same model
and resources measured, and what this job measures itself, which takes over as its own rows count. All in logarithms:
a rate is wrong by a factor, not by rows. Refuses to trust one number: outliers move a measure by a bounded share, and
the other jobs speak through their median.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROW_SPREAD = 1.0
"""Rows differ in length: one row's time has about this spread (standard deviation of the logarithm)."""

MINUTE_SPREAD = 0.15
"""The rate of one minute of one worker differs by this much from the next minute's, however many rows that is: batches
fill up, and long and short rows come in runs."""

RATE_DRIFT = 0.05
"""However many rows were measured, the next ones may differ by this much: no rate is surer."""

START_SPREAD = 0.3
"""Starts differ: pulling an image or loading weights takes this much more or less from one to the next."""

START_DRIFT = 0.1
"""However many starts were measured, no start-up time is surer than this."""

BETWEEN_JOBS = 0.3
"""What jobs of one model and resources are taken to differ by before there are enough of them to measure it."""

BETWEEN_JOBS_WEIGHT = 2.0
"""The jobs that `BETWEEN_JOBS` counts for beside those that were measured."""

ROWS_REMEMBERED = 1000.0
SECONDS_REMEMBERED = 4 * 3600.0
"""A rate rests on the last so many rows or worker-seconds, whichever is more: input drifts, and old rows fade.

Hours, because eight workers pass half an hour of it in four minutes: a part of the input with long rows is then taken
for what all other rows will be like."""

STARTS_REMEMBERED = 20.0
CLIP = 3.0
"""A sample counts as at most so many times, and at least the same share of, what was measured before it."""

TRUSTED_ROWS = 50.0
"""Rows from which on a measure is good enough to call a sample an outlier."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure that is not known exactly: `value` is its median, `spread` the standard deviation of its logarithm.

    A spread of 0.1 means about 10 % more or less. `weight` is what it rests on, in rows or starts; 0 is a prior alone.
    """

    value: float
    spread: float
    weight: float = 0.0

    def low(self, deviations: float) -> float:
        """The value that it is below only in so many deviations' share of cases."""
        return self.value * math.exp(-deviations * self.spread)

    def high(self, deviations: float) -> float:
        """The value that it is above only in so many deviations' share of cases."""
        return self.value * math.exp(deviations * self.spread)


@dataclass(frozen=True, slots=True)
class Measure:
    """What one job measured: rows a second of a worker and the rows behind it, or seconds and the starts behind it."""

    value: float
    weight: float


@dataclass(frozen=True, slots=True)
class _Noise:
    """How unsure a measure is: `sample` for a weight of 1, and of a rate `minute` for one worker's minute."""

    sample: float
    drift: float
    minute: float = 0.0

    def variance(self, measure: Measure) -> float:
        """Of the measure's logarithm, without the drift that no measure is free of."""
        return (self.sample**2 + self.minute**2 * 60.0 * measure.value) / measure.weight


_RATE = _Noise(ROW_SPREAD, RATE_DRIFT, MINUTE_SPREAD)
_START = _Noise(START_SPREAD, START_DRIFT)


def rate_prior(gpu: int) -> Estimate:
    """Rows a second of one worker before any was measured: 5 with GPUs, 2 without, either within a factor of three.

    A 7 to 8 billion parameter model answers 1000 to 3000 tokens a second on one current GPU, and rows of batches have
    some hundred tokens; a model that is run on a CPU is small.
    """
    return Estimate(5.0 if gpu else 2.0, spread=1.0)


def startup_prior(gpu: int) -> Estimate:
    """Seconds from a worker pod's creation to its first row before any was measured: 180 with GPUs, 60 without."""
    return Estimate(180.0 if gpu else 60.0, spread=0.5)


def observed_rate(before: Measure | None, rows: float, worker_seconds: float) -> Measure | None:
    """The measure of a job's speed after `rows` more were answered in so many seconds of workers at work.

    Only workers that hold rows count, each with its own seconds. A stall (no rows) slows the measure down. None until
    a first row was answered.
    """
    if worker_seconds <= 0 or rows < 0:
        return before
    if before is None:
        return Measure(rows / worker_seconds, rows) if rows > 0 else None
    seconds = before.weight / before.value
    if before.weight >= TRUSTED_ROWS:
        rows = min(rows, CLIP * before.value * worker_seconds)
        worker_seconds = min(worker_seconds, max(CLIP * rows / before.value, seconds / 2))
    fade = min(1.0, max(ROWS_REMEMBERED / before.weight, SECONDS_REMEMBERED / seconds))
    weight = before.weight * fade + rows
    return Measure(weight / (seconds * fade + worker_seconds), weight)


def observed_startup(before: Measure | None, seconds: float) -> Measure:
    """The measure of a job's start-up time after one more worker took so many seconds to its first row."""
    seconds = max(seconds, 1.0)
    if before is None:
        return Measure(seconds, 1.0)
    seconds = min(max(seconds, before.value / CLIP), before.value * CLIP)
    weight = min(before.weight, STARTS_REMEMBERED)
    return Measure((before.value * weight + seconds) / (weight + 1), weight + 1)


def rate_estimate(prior: Estimate, others: Iterable[Measure] = (), own: Measure | None = None) -> Estimate:
    """Rows a second of one worker of this job: the prior, what other jobs measured, and what this one measures."""
    return _estimate(prior, others, own, _RATE)


def startup_estimate(prior: Estimate, others: Iterable[Measure] = (), own: Measure | None = None) -> Estimate:
    """Seconds from a pod's creation to its first row: the prior, what other jobs measured, and this one's own."""
    return _estimate(prior, others, own, _START)


def remaining_start(elapsed: float, startup: Estimate) -> float:
    """Seconds until a worker that has been starting for `elapsed` seconds is expected to work.

    One that is overdue is not expected at any moment: the longer it took already, the longer it may still take, up to
    a whole start.
    """
    overdue = max(elapsed, startup.value) * 0.2
    return min(max(startup.value - elapsed, overdue), startup.value)


def _estimate(prior: Estimate, others: Iterable[Measure], own: Measure | None, noise: _Noise) -> Estimate:
    known = [other for other in others if other.value > 0 and other.weight > 0]
    expected = _of_jobs(prior, known, noise) if known else prior
    if own is None or own.value <= 0 or own.weight <= 0:
        return expected
    before, measured = expected.spread**2, noise.variance(own)
    share = before / (before + measured)
    mean = math.log(expected.value) * (1 - share) + math.log(own.value) * share
    spread = min(math.hypot(math.sqrt(measured * share), noise.drift), expected.spread)
    return Estimate(math.exp(mean), spread, expected.weight + own.weight)


def _of_jobs(prior: Estimate, known: Sequence[Measure], noise: _Noise) -> Estimate:
    """What a further job of the model is expected to measure: between the prior and the median of the others."""
    each = BETWEEN_JOBS**2
    trusted = sorted((math.log(one.value), each / (each + noise.drift**2 + noise.variance(one))) for one in known)
    median = _median(trusted)
    away = sorted((abs(value - median), trust) for value, trust in trusted)
    count = sum(trust for _, trust in trusted)
    measured = (1.4826 * _median(away)) ** 2
    between = max((BETWEEN_JOBS_WEIGHT * each + count * measured) / (BETWEEN_JOBS_WEIGHT + count), noise.drift**2)
    precision = 1 / prior.spread**2 + count / between
    mean = (math.log(prior.value) / prior.spread**2 + median * count / between) / precision
    spread = min(math.sqrt(1 / precision + between), prior.spread)
    return Estimate(math.exp(mean), spread, prior.weight + sum(one.weight for one in known))


def _median(weighted: Sequence[tuple[float, float]]) -> float:
    """The weighted median of sorted (value, weight) pairs."""
    half = sum(weight for _, weight in weighted) / 2
    reached = 0.0
    for value, weight in weighted:
        reached += weight
        if reached >= half:
            return value
    return weighted[-1][0]
