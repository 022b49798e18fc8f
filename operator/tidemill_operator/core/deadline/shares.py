"""The share-out of a namespace's GPUs: realtime before batch, earliest deadline first, nobody starved.

Computed once per namespace and tick from all claims together. In words, each pass giving what the ones before left:
1. Endpoints what they want, those with fewer workers first where it does not reach for all.
2. Jobs that have been there too long one worker each, the longest first, up to a quarter of the budget.
3. Jobs what their window's end needs and cannot wait for, and what they have of what it needs: earliest window first.
   Only this takes running workers from other jobs. A need is rounded down to take and up to keep, so that a figure
   that sways around a whole number moves nobody. A job that has lost its window has no part in it: what it would take
   saves nothing, and costs the windows of others.
4. Jobs what they have: a worker that works is not stopped for another job's mere target.
5. Jobs their first worker, then what their target needs, earliest target first.

The order of the claims changes nothing, and the sum is never above the budget. Refuses to split a worker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

STARVED_SHARE = 0.25
"""At most this share of the budget (one worker at least) goes to starved jobs out of turn."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What one object asks for, in workers (replicas) of `cost` GPUs each; one of cost 0 gets what it wants.

    `key` is unique. `deadline` is the window's end and `target` the target of a job, in seconds since the epoch. It
    wants `want` workers, needs `must` of them for its window, `urgent` of these at once, and has `have`.
    `starved_seconds` is how long it has been there beyond its patience, 0 where it has not (`starved_for`). `lost` is
    a job that can no longer meet its window.
    """

    key: str
    want: int
    must: int = 0
    urgent: int = 0
    have: int = 0
    cost: float = 1.0
    endpoint: bool = False
    deadline: float = 0.0
    target: float = 0.0
    starved_seconds: float = 0.0
    lost: bool = False


def starved_for(age: float, window: float) -> float:
    """How long a job of that age has been there beyond its patience of a third of its window; 0 if it has not.

    Both in seconds, the age since it could have begun. It does not matter whether it has a worker: one that it got for
    its age is not taken again because it got it.
    """
    return max(age - window / 3, 0.0)


def shares(claims: Iterable[Claim], budget: float | None) -> dict[str, int]:
    """The workers that each claim may have, by its key; `budget` in GPUs, None for no bound."""
    told = sorted(claims, key=lambda claim: claim.key)
    if budget is None:
        return {claim.key: max(claim.want, claim.have) for claim in told}
    given = {claim.key: (max(claim.want, claim.have) if claim.cost <= 0 else 0) for claim in told}
    costly = [claim for claim in told if claim.cost > 0]
    jobs = [claim for claim in costly if not claim.endpoint]
    by_deadline = sorted(jobs, key=lambda job: (job.deadline, job.key))
    by_target = sorted(jobs, key=lambda job: (job.target, job.key))
    hungry = sorted((job for job in jobs if job.starved_seconds > 0), key=lambda job: (-job.starved_seconds, job.key))
    left = _Purse(budget, given)
    left.level([claim for claim in costly if claim.endpoint])
    reserve = max(STARVED_SHARE * left.gpus, max((job.cost for job in hungry), default=0.0))
    before = left.gpus
    for job in hungry:
        if before - left.gpus + job.cost <= reserve:
            left.give(job, min(job.want, 1))
    in_time = [job for job in by_deadline if not job.lost]
    left.pass_by(in_time, lambda job: max(min(job.urgent, job.want), min(job.must, job.have)))
    left.pass_by(by_target, lambda job: job.have)
    left.pass_by(by_target, lambda job: min(job.want, 1))
    left.pass_by(by_target, lambda job: job.want)
    return given


class _Purse:
    """What is left of the budget, and what was given of it."""

    def __init__(self, gpus: float, given: dict[str, int]) -> None:
        self.gpus = gpus
        self._given = given

    def give(self, claim: Claim, upto: int) -> None:
        """Raise what the claim has been given to `upto` workers, as far as the budget reaches."""
        more = max(upto - self._given[claim.key], 0)
        fits = min(more, int((self.gpus + 1e-9) // claim.cost))
        if fits > 0:
            self._given[claim.key] += fits
            self.gpus -= fits * claim.cost

    def pass_by(self, claims: Iterable[Claim], upto: Callable[[Claim], int]) -> None:
        """One pass over the claims in their order."""
        for claim in claims:
            self.give(claim, upto(claim))

    def level(self, claims: list[Claim]) -> None:
        """Give each what it wants; where it does not reach, one more to whoever has least, until none fits."""
        if sum(claim.want * claim.cost for claim in claims) <= self.gpus:
            self.pass_by(claims, lambda claim: claim.want)
            return
        open_claims = [claim for claim in claims if claim.want > 0]
        while open_claims:
            claim = min(open_claims, key=lambda one: (self._given[one.key], one.key))
            before = self._given[claim.key]
            self.give(claim, before + 1)
            if self._given[claim.key] in (before, claim.want):
                open_claims.remove(claim)
