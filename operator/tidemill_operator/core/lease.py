"""Who leads, by a Lease: what a candidate knows of it, and what it does next. Pure; every time is of one's own clock.

The protocol is that of Kubernetes' own components (https://pkg.go.dev/k8s.io/client-go/tools/leaderelection), with two
differences: a lease is over when it was not *seen* to change for its duration, whatever times stand in it, and a leader
knows by the same clock until when it may write. Clocks of two machines may show anything, if only they run equally fast
to within the margin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum, auto

LEASE_SECONDS = 10.0
"""For so long nobody else takes a lease that was renewed."""

RENEW_SECONDS = 2.0
"""Between two renewals."""

LOOK_SECONDS = 1.0
"""Between two looks of a candidate that waits, and between two tries of a renewal that fails."""

GIVE_UP_SECONDS = 7.0
"""After so long without a renewal a leader ends itself, while its lease still holds."""

MARGIN_SECONDS = 2.0
"""By so much a leader's own view of its lease ends before anybody else's: clocks drift, and a request takes time."""


@dataclass(frozen=True)
class Record:
    """What stands in a Lease. No holder means that it is free; `renewed` is its holder's, read as mere text."""

    holder: str = ""
    renewed: str = ""
    transitions: int = 0
    seconds: float = LEASE_SECONDS


@dataclass(frozen=True)
class Candidate:
    """What one candidate knows: the record it saw last, since when that stands, and its own last renewal.

    `identity` is never used twice. `renewed` is when the last write of ours that succeeded was *begun*: nobody saw it
    earlier. None: never, or given up.
    """

    identity: str
    record: Record | None = None
    since: float = 0.0
    renewed: float | None = None


class Step(StrEnum):
    """What to do next."""

    WAIT = auto()  # somebody else holds it
    ACQUIRE = auto()
    RENEW = auto()
    GIVE_UP = auto()  # we led, and cannot be sure that we still do: never again under this identity


def saw(candidate: Candidate, record: Record, now: float) -> Candidate:
    """The candidate after it read this record; `now` is when the answer was there, or what it says would look older."""
    if record == candidate.record:
        return candidate
    return replace(candidate, record=record, since=now)


def wrote(candidate: Candidate, record: Record, begun: float) -> Candidate:
    """The candidate after a write of its own that succeeded and was begun then."""
    return replace(candidate, record=record, since=begun, renewed=begun)


def may_write(candidate: Candidate, now: float) -> bool:
    """Whether nobody else can be leader yet."""
    return seconds_left(candidate, now) > 0


def seconds_left(candidate: Candidate, now: float) -> float:
    """For how long nobody else can be leader yet; nothing or less where somebody may be."""
    return candidate.renewed + LEASE_SECONDS - MARGIN_SECONDS - now if candidate.renewed is not None else 0.0


def next_step(candidate: Candidate, now: float) -> Step:
    """What this candidate does now, having read the Lease or tried to."""
    record = candidate.record
    if candidate.renewed is not None:
        ours = record is not None and record.holder == candidate.identity
        return Step.RENEW if ours and now < candidate.renewed + GIVE_UP_SECONDS else Step.GIVE_UP
    if record is None:
        return Step.WAIT
    if record.holder in ("", candidate.identity):  # ours where the answer to our write was lost
        return Step.ACQUIRE
    lasts = max(record.seconds, LEASE_SECONDS)  # the holder may be of another version
    return Step.ACQUIRE if now >= candidate.since + lasts else Step.WAIT


def held_by(candidate: Candidate, moment: str) -> Record:
    """The record to write for taking or renewing it; `moment` differs from that of the write before."""
    before = candidate.record or Record()
    taken = before.holder != candidate.identity
    return Record(candidate.identity, moment, before.transitions + taken)


def released(candidate: Candidate, moment: str) -> Record:
    """The record to write for giving it up: whoever looks next may take it."""
    before = candidate.record or Record()
    return Record("", moment, before.transitions)
