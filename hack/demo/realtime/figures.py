"""The arithmetic of the demo's figures: percentiles, tokens in a stretch of time, and the table of a burst. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
    """A stretch of a burst in which so many replicas answered: requests sent in it, their waits, tokens a second."""

    replicas: int
    seconds: float
    requests: int
    first_token_p50: float
    first_token_p99: float
    tokens_per_second: float


def stretch(answers: Sequence[Answer], replicas: int, begin: float, end: float) -> Stretch:
    """The figures of the requests sent from `begin` to before `end`, in seconds of the answers' clock."""
    sent = [answer for answer in answers if begin <= answer.sent < end and not answer.fault]
    waits = [answer.first_token_seconds for answer in sent]
    seconds = max(end - begin, 1e-9)
    return Stretch(
        replicas=replicas,
        seconds=seconds,
        requests=len(sent),
        first_token_p50=percentile(waits, 0.50),
        first_token_p99=percentile(waits, 0.99),
        tokens_per_second=tokens_between(answers, begin, end) / seconds,
    )
