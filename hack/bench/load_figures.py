"""Figures of answered loads: percentiles, time per token, throughput, the gain of one pace over another. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    from load import Answer


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all do not exceed (nearest rank). Raises ValueError where there is none."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(ceil(len(values) * share), 1) - 1]


@dataclass(frozen=True)
class Figures:
    """What one load, or several of one kind together, came to. Seconds; throughput in tokens a second."""

    requests: int
    tokens: int
    seconds: float
    first_p50: float
    first_p99: float
    token_p50: float
    whole_p50: float
    whole_p99: float

    @property
    def throughput(self) -> float:
        """Tokens a second, from the first request to the last answer."""
        return self.tokens / self.seconds

    @classmethod
    def of(cls, *loads: Sequence[Answer]) -> Self:
        """Of loads that ran one after the other: percentiles of all answers, tokens by the sum of their times."""
        answers = [answer for load in loads for answer in load]
        first = [answer.first_token_seconds for answer in answers]
        whole = [answer.end - answer.due for answer in answers]
        each = [seconds for answer in answers if (seconds := answer.token_seconds) is not None]
        return cls(
            requests=len(answers),
            tokens=sum(answer.tokens for answer in answers),
            seconds=sum(duration(load) for load in loads),
            first_p50=percentile(first, 0.5),
            first_p99=percentile(first, 0.99),
            token_p50=percentile(each or [0.0], 0.5),
            whole_p50=percentile(whole, 0.5),
            whole_p99=percentile(whole, 0.99),
        )


def duration(load: Sequence[Answer]) -> float:
    """Seconds from the first request to the last answer."""
    return max(answer.end for answer in load) - min(answer.due for answer in load)


def released_by_batch(load: Sequence[Answer], width: int) -> list[Answer]:
    """The answers as a server of static batches gives them out: each when the whole batch of it is done."""
    ends: dict[int, float] = {}
    for answer in load:
        batch = answer.number // width
        ends[batch] = max(ends.get(batch, 0.0), answer.end)
    return [replace(answer, end=ends[answer.number // width]) for answer in load]
