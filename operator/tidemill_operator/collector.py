"""Reads the watch caches at each scrape and says what stands in them: queues, workers, forecasts, restarts.

Nothing is kept between two scrapes, so nothing is ever stale or left over from an object that is gone. What has ended
is counted and not named; of the others at most `MOST_NAMED` of each kind have figures of their own, and the rest is
counted too, so a scrape stays small however many there are. Runs in the thread of a scrape: it only ever takes copies.
"""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prometheus_client.core import REGISTRY, GaugeMetricFamily
from prometheus_client.registry import Collector

from tidemill_api.labels import ROLE
from tidemill_api.v1alpha1.batch_inference_job import KIND as JOB_KIND
from tidemill_operator.cache import Key, WatchCache, Watched, cluster_key, key_of
from tidemill_operator.queue_metrics import FIGURES_OF, OBJECT, OBJECT_GAUGES, Gauge, deadline_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Json = dict[str, Any]

log = logging.getLogger(__name__)

MOST_NAMED = 1000
"""Objects of a kind with figures of their own. A figure is about 100 bytes of text, an object has some twenty."""

RESTARTS = Gauge(
    "tidemill_worker_container_restarts", "Times that containers of the worker pods which are there began anew."
)
OBJECTS = Gauge("tidemill_objects", "Objects in the watch cache, by whether they have ended.")
UNNAMED = Gauge("tidemill_objects_unnamed", f"Unfinished objects without figures of their own: above {MOST_NAMED}.")

COUNTS = ((OBJECTS, ("kind", "state")), (UNNAMED, ("kind",)))

FAR = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class _Seen:
    """A kind's objects at the scrape."""

    named: list[Json]
    unnamed: int
    finished: int


@contextmanager
def collected(caches: Mapping[str, WatchCache], leads: Callable[[], bool]) -> Iterator[None]:
    """The figures of these caches, by the kind of their owners, are among those served while the context lasts.

    Only as long as this operator leads: of two that see the same, each figure would be there twice.
    """
    collector = QueueCollector(caches, leads=leads)
    REGISTRY.register(collector)
    try:
        yield
    finally:
        REGISTRY.unregister(collector)


class QueueCollector(Collector):
    """A collector for prometheus_client over the caches of both kinds."""

    def __init__(
        self,
        caches: Mapping[str, WatchCache],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self._caches = caches
        self._now = now
        self._leads = leads

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Every family, each with the objects that have a value; none of them has any on an operator that stands by."""
        now = self._now()
        if not self._leads():
            yield from self.describe()
            return
        families = {gauge: _family(gauge, OBJECT) for gauge in (*OBJECT_GAUGES, RESTARTS)}
        counts = {gauge: GaugeMetricFamily(gauge.name, gauge.text, labels=labels) for gauge, labels in COUNTS}
        for kind, cache in self._caches.items():
            seen = _look(kind, cache)
            counts[OBJECTS].add_metric((kind, "unfinished"), len(seen.named) + seen.unnamed)
            counts[OBJECTS].add_metric((kind, "finished"), seen.finished)
            counts[UNNAMED].add_metric((kind,), seen.unnamed)
            restarts = _restarts(cache)
            for body in seen.named:
                key = key_of(body)
                who = (kind, key.namespace, key.name)
                _add(families, kind, body, now)
                families[RESTARTS].add_metric(who, restarts[key])
        yield from (*families.values(), *counts.values())

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The families without values: prometheus_client would scrape to learn their names."""
        yield from (_family(gauge, OBJECT) for gauge in (*OBJECT_GAUGES, RESTARTS))
        yield from (GaugeMetricFamily(gauge.name, gauge.text, labels=labels) for gauge, labels in COUNTS)


def _family(gauge: Gauge, first: tuple[str, ...]) -> GaugeMetricFamily:
    return GaugeMetricFamily(gauge.name, gauge.text, labels=(*first, *gauge.labels))


def _add(families: Mapping[Gauge, GaugeMetricFamily], kind: str, body: Json, now: datetime) -> None:
    """The figures of one object. One that cannot be read has none and is logged: it must not hide the others."""
    key = key_of(body)
    try:
        figures = list(FIGURES_OF[kind](body, now))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        log.warning("the figures of an object cannot be read: %r", error, extra={"key": str(key)})
        return
    for figure in figures:
        families[figure.gauge].add_metric((kind, key.namespace, key.name, *figure.labels), figure.value)


def _look(kind: str, cache: WatchCache) -> _Seen:
    """The named are those with the earliest deadlines, so that what is urgent is among them; endpoints go by name."""
    bodies = cache.bodies(Watched.JOBS)
    unfinished = [body for body in bodies if not (body.get("status") or {}).get("completionTime")]
    unfinished.sort(key=_urgency if kind == JOB_KIND else key_of)
    named = unfinished[:MOST_NAMED]
    return _Seen(named, len(unfinished) - len(named), len(bodies) - len(unfinished))


def _urgency(body: Json) -> tuple[datetime, Key]:
    try:
        return deadline_of(body), key_of(body)
    except ValueError:
        return FAR, key_of(body)


def _restarts(cache: WatchCache) -> Counter[Key]:
    """Container restarts of the worker pods of each owner, as far as their RayClusters are known."""
    clusters = cache.bodies(Watched.CLUSTERS)
    owners = {key_of(body): tuple(cache.owners(Watched.CLUSTERS, body)) for body in clusters}
    restarts: Counter[Key] = Counter()
    for pod in cache.bodies(Watched.PODS):
        if (pod["metadata"].get("labels") or {}).get(ROLE) != "worker":
            continue
        containers = (pod.get("status") or {}).get("containerStatuses") or ()
        count = sum(container.get("restartCount", 0) for container in containers)
        for owner in owners.get(cluster_key(pod), ()):
            restarts[owner] += count
    return restarts
