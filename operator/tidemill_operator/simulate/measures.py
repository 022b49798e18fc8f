"""What all jobs of a model have measured, as the operator reads it back from their statuses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidemill_operator.core.deadline.estimates import rate_estimate, rate_prior, startup_estimate, startup_prior

if TYPE_CHECKING:
    from tidemill_operator.core.deadline.estimates import Estimate, Measure
    from tidemill_operator.simulate.policy import JobView

KEPT_SECONDS = 86400.0
"""A job that has ended stays so long (ttlSecondsAfterFinished), and so does what it measured."""

MANY = 12
"""From so many measures on, what they say together is worked out each FRESH_SECONDS, with the asking job's among them:
one of many moves a median by little, and ten thousand jobs are to be simulated in a minute."""

FRESH_SECONDS = 300.0

_Key = tuple[str, int]
"""Model and GPUs of a worker: what makes measures comparable."""


@dataclass(slots=True)
class _Known:
    rate: Measure | None
    startup: Measure | None
    ended: float | None = None


class Measures:
    """The measures of all jobs there are, by model and resources."""

    def __init__(self) -> None:
        self._known: dict[_Key, dict[str, _Known]] = {}
        self._keys: dict[str, _Key] = {}
        self._together: dict[_Key, tuple[float, Estimate, Estimate]] = {}
        self._now = 0.0

    def tell(self, view: JobView, rate: Measure | None, startup: Measure | None) -> None:
        """What a job's status says now."""
        key = self._keys.setdefault(view.name, (view.model, view.gpus))
        known = self._known.setdefault(key, {})
        if (entry := known.get(view.name)) is None:
            known[view.name] = _Known(rate, startup)
        else:
            entry.rate, entry.startup = rate, startup

    def ended(self, job: str, rate: Measure | None, startup: Measure | None) -> None:
        """A job's status as it stays."""
        key = self._keys.pop(job)
        self._known[key][job] = _Known(rate, startup, ended=self._now)

    def estimates(
        self, view: JobView, rate: Measure | None, startup: Measure | None, now: float
    ) -> tuple[Estimate, Estimate]:
        """Rows a second of a worker of this job, and the seconds of its start-up, by all that is measured."""
        self._now = now
        key = (view.model, view.gpus)
        known = self._known[key]
        if len(known) < MANY:
            others = [entry for name, entry in known.items() if name != view.name]
            rates, startups = _of(others, view.gpus)
        else:
            rates, startups = self._of_many(key, now)
        return rate_estimate(rates, (), rate), startup_estimate(startups, (), startup)

    def _of_many(self, key: _Key, now: float) -> tuple[Estimate, Estimate]:
        found = self._together.get(key)
        if found is None or now - found[0] > FRESH_SECONDS:
            known = self._known[key]
            for name in [n for n, entry in known.items() if entry.ended and now - entry.ended > KEPT_SECONDS]:
                del known[name]
            found = (now, *_of(list(known.values()), key[1]))
            self._together[key] = found
        return found[1], found[2]


def _of(known: list[_Known], gpus: int) -> tuple[Estimate, Estimate]:
    rates = rate_estimate(rate_prior(gpus), [entry.rate for entry in known if entry.rate is not None])
    startups = startup_estimate(startup_prior(gpus), [entry.startup for entry in known if entry.startup is not None])
    return rates, startups
