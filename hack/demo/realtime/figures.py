"""The arithmetic of the demo's figures: percentiles, tokens in a stretch of time, and the waves of a burst. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from demo.realtime.crowds import Wave
    from demo.realtime.traffic import Answer


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed (nearest rank); NaN where there are none."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * share) - 1, 0)] if ordered else math.nan


def tokens_between(answers: Iterable[Answer], begin: float, end: float) -> float:
    """Tokens that came in this time, each answer's spread evenly from its first to its last."""
    total = 0.0
    for answer in answers:
        length = answer.ended - answer.first
        if length <= 0:
            total += answer.tokens if begin <= answer.ended < end else 0
        else:
            total += answer.tokens * max(min(answer.ended, end) - max(answer.first, begin), 0.0) / length
    return total


@dataclass(frozen=True)
class Stretch:
    """Waves of a burst that so many replicas answered: their number and median length, waits, tokens a second of them.

    The pauses between waves are in none of the figures.
    """

    replicas: int
    waves: int
    wave_seconds: float
    requests: int
    first_token_p50: float
    first_token_p99: float
    tokens_per_second: float


def stretch(waves: Sequence[Wave], replicas: int) -> Stretch:
    """The figures of these waves, without the requests that failed."""
    answers = [answer for wave in waves for answer in wave.answers if not answer.fault]
    waits = [answer.first_token_seconds for answer in answers]
    seconds = sum(wave.seconds for wave in waves)
    return Stretch(
        replicas=replicas,
        waves=len(waves),
        wave_seconds=percentile((wave.seconds for wave in waves), 0.50),
        requests=len(answers),
        first_token_p50=percentile(waits, 0.50),
        first_token_p99=percentile(waits, 0.99),
        tokens_per_second=sum(answer.tokens for answer in answers) / max(seconds, 1e-9),
    )
