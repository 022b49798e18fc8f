"""What is asked of an endpoint right now: samples of its ingress replicas become one load, or are left out.

A sample counts once, for its own replica, as long as it is fresh and younger than the last change of size: what was
measured before says nothing about the capacity there is now. Refuses to fill gaps: a load that is not complete is said
to be so, and is a lower bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

STALE_AFTER = timedelta(seconds=5)
"""Age from which a sample is none: several looks at the figures failed in a row."""


@dataclass(frozen=True)
class IngressSample:
    """The figures of one ingress replica, as `endpoint_contract` defines them; `time` is when they were asked for.

    `answered` requests ended well since it began, `unanswered` ones were turned away, timed out or were given up.
    """

    replica: str
    time: datetime
    waiting: int
    running: int
    oldest_waiting_seconds: float
    answered: int = 0
    unanswered: int = 0

    @property
    def oldest_arrival(self) -> datetime | None:
        """When the oldest waiting request came; None where none waits."""
        return self.time - timedelta(seconds=max(self.oldest_waiting_seconds, 0.0)) if self.waiting > 0 else None


@dataclass(frozen=True)
class Load:
    """The requests of an endpoint, those that leaving replicas hold too; `complete`: every one that runs is in it."""

    waiting: int = 0
    running: int = 0
    oldest_seconds: float = 0.0
    oldest_arrival: datetime | None = None
    complete: bool = False
    time: datetime | None = None  # of the oldest sample in it
    answered: int = 0  # by replicas that take requests, since they began
    unanswered: int = 0

    @property
    def depth(self) -> int:
        """Requests that are not answered yet."""
        return self.waiting + self.running


def load_of(
    samples: Iterable[IngressSample],
    replicas: Iterable[str],
    now: datetime,
    changed: datetime | None = None,
    leaving: Iterable[str] = (),
) -> Load:
    """The load by the newest sample of each replica that counts.

    `replicas` are those ingress replicas that run now, `leaving` those that are there and take no new requests: what
    they hold still has to be answered, and their silence is no gap, for they end at any moment; so what they have
    counted is left out, or it would come and go with each look that reaches them or does not. A sample of another
    one is of a replica that is gone, and with it its requests. `changed` is when the endpoint's size changed last.
    """
    expected = frozenset(replicas)
    there = expected | frozenset(leaving)
    newest: dict[str, IngressSample] = {}
    for sample in samples:
        before = newest.get(sample.replica)
        if before is None or sample.time > before.time:
            newest[sample.replica] = sample
    counted = [s for s in newest.values() if s.replica in there and _counts(s, now, changed)]
    arrivals = [arrival for sample in counted if (arrival := sample.oldest_arrival) is not None]
    return Load(
        waiting=sum(sample.waiting for sample in counted),
        running=sum(sample.running for sample in counted),
        oldest_seconds=max((s.oldest_waiting_seconds for s in counted if s.waiting > 0), default=0.0),
        oldest_arrival=min(arrivals, default=None),
        complete=bool(expected) and expected <= {sample.replica for sample in counted},
        time=min((sample.time for sample in counted), default=None),
        answered=sum(sample.answered for sample in counted if sample.replica in expected),
        unanswered=sum(sample.unanswered for sample in counted if sample.replica in expected),
    )


def _counts(sample: IngressSample, now: datetime, changed: datetime | None) -> bool:
    """A change that is still to come was written by a clock that has been set back since: it says nothing."""
    since = changed if changed is not None and changed <= now else None
    return now - sample.time <= STALE_AFTER and (since is None or sample.time > since)
