"""What a scrape says: exact ages, unfinished objects only, a bound on names, and no object that hides another."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tidemill_operator import collector
from tidemill_operator.cache import WatchCache, Watched
from tidemill_operator.collector import QueueCollector

CREATED = datetime(2026, 1, 1, 12, tzinfo=UTC)
JOB, ENDPOINT = "BatchInferenceJob", "RealtimeEndpoint"


def job(name="tickets", status=None, **spec):
    """A job as the API server has it."""
    metadata = {"namespace": "team", "name": name, "uid": name, "creationTimestamp": "2026-01-01T12:00:00Z"}
    wanted = {"completionWindow": "3h", "workers": {"min": 0, "max": 4}, "resources": {"gpu": 2}}
    return {
        "metadata": metadata,
        "spec": wanted | spec,
        "status": {"rows": {"total": 10, "remaining": 7}} | (status or {}),
    }


def endpoint(**status):
    """An endpoint as the API server has it."""
    metadata = {"namespace": "team", "name": "chat", "uid": "chat", "creationTimestamp": "2026-01-01T12:00:00Z"}
    return {"metadata": metadata, "spec": {"replicas": {"max": 3}}, "status": status}


def cache_of(kind, *bodies):
    cache = WatchCache(kind)
    for body in bodies:
        cache.put(Watched.JOBS, body)
    return cache


def scrape(caches, after=0.0):
    """Name and labels (sorted values) -> value, as a Prometheus reads them so many seconds after the creation."""
    registry = CollectorRegistry()
    registry.register(QueueCollector(caches, now=lambda: CREATED + timedelta(seconds=after)))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(found, metric, /, **labels):
    """The one value of a metric with these labels among its own."""
    (only,) = [number for (of, has), number in found.items() if of == metric and labels.items() <= dict(has).items()]
    return only


def test_the_age_is_exact_at_the_scrape_whatever_the_status_says():
    caches = {JOB: cache_of(JOB, job(status={"queue": {"depth": 7, "oldestAgeSeconds": 10, "ageRatio": "0.00"}}))}
    found = scrape(caches, after=7201.5)
    assert value(found, "tidemill_queue_oldest_age_seconds", kind=JOB, namespace="team", name="tickets") == 7201.5
    assert value(found, "tidemill_queue_target_seconds") == 3600
    assert value(found, "tidemill_queue_age_ratio") == pytest.approx(7201.5 / 3600)
    assert value(found, "tidemill_job_window_remaining_seconds") == 3 * 3600 - 7201.5
    assert value(found, "tidemill_queue_depth") == 7


def test_an_operator_that_stands_by_has_no_figure_of_what_it_sees():
    registry = CollectorRegistry()
    registry.register(QueueCollector({JOB: cache_of(JOB, job())}, leads=lambda: False))
    assert [sample for family in registry.collect() for sample in family.samples] == []


def test_the_target_is_the_specs_own_where_it_sets_one():
    found = scrape({JOB: cache_of(JOB, job(targetCompletion="1m"))}, after=90)
    assert value(found, "tidemill_queue_age_ratio") == 1.5


def test_a_job_that_is_planned_for_later_ages_from_its_planned_start():
    planned = {"startTime": "2026-01-01T13:00:00Z", "finishTime": "2026-01-01T14:00:00Z"}
    caches = {JOB: cache_of(JOB, job(status={"planned": planned}))}
    assert value(scrape(caches, after=1800), "tidemill_queue_age_ratio") == 0
    assert value(scrape(caches, after=3600 + 1800), "tidemill_queue_age_ratio") == 0.5


@pytest.mark.parametrize(("own", "hours"), [({}, 3), ({"targetCompletion": "2h"}, 2)])
def test_a_job_that_is_to_start_late_and_has_no_plan_yet_has_its_own_target_or_the_whole_window(own, hours):
    found = scrape({JOB: cache_of(JOB, job(schedule="LatestSafe", **own))}, after=3600)
    assert value(found, "tidemill_queue_target_seconds") == hours * 3600
    assert value(found, "tidemill_queue_age_ratio") == pytest.approx(1 / hours)


def test_a_job_whose_rows_all_have_a_line_has_no_age():
    found = scrape({JOB: cache_of(JOB, job(status={"rows": {"total": 10, "remaining": 0}}))}, after=9999)
    assert value(found, "tidemill_queue_oldest_age_seconds") == 0


def test_forecast_chance_and_risk_are_those_of_the_status():
    status = {
        "forecast": {
            "finishTime": "2026-01-01T12:10:00Z",
            "meetsWindow": True,
            "chancePercent": 87,
            "workersNeeded": 6,
        },
        "conditions": [{"type": "WindowAtRisk", "status": "True", "reason": "TooFewWorkers"}],
        "queue": {"depth": 7, "health": "Warning", "reason": "TwiceTarget", "completedPerSecond": "2.5"},
        "workers": {"desired": 3, "ready": 2},
    }
    found = scrape({JOB: cache_of(JOB, job(status=status))}, after=60)
    assert value(found, "tidemill_job_forecast_seconds") == 540
    assert value(found, "tidemill_job_forecast_chance") == 0.87
    assert value(found, "tidemill_job_workers_needed") == 6
    assert value(found, "tidemill_job_window_at_risk", reason="TooFewWorkers") == 1
    assert value(found, "tidemill_queue_completed_per_second") == 2.5
    assert value(found, "tidemill_queue_health", health="Warning", reason="TwiceTarget") == 1
    assert (value(found, "tidemill_workers_desired"), value(found, "tidemill_workers_ready")) == (3, 2)
    assert value(found, "tidemill_gpus_ready") == 4


def test_a_job_on_track_is_not_at_risk_and_one_without_a_forecast_has_none():
    status = {"conditions": [{"type": "WindowAtRisk", "status": "False", "reason": "OnTrack"}]}
    found = scrape({JOB: cache_of(JOB, job(status=status))})
    assert value(found, "tidemill_job_window_at_risk", reason="") == 0
    assert not [name for name, _ in found if name == "tidemill_job_forecast_seconds"]


@pytest.mark.parametrize("absent", [{}, {"finishTime": None, "workersNeeded": None}])
def test_a_job_that_gets_no_worker_has_no_finish_and_every_other_figure(absent):
    status = {
        "forecast": {"meetsWindow": False, "chancePercent": 0} | absent,
        "conditions": [{"type": "WindowAtRisk", "status": "True", "reason": "QuotaReached"}],
    }
    found = scrape({JOB: cache_of(JOB, job(status=status))}, after=7200)
    assert value(found, "tidemill_queue_age_ratio") == 2
    assert value(found, "tidemill_job_forecast_chance") == 0
    assert value(found, "tidemill_job_window_at_risk", reason="QuotaReached") == 1
    assert not {"tidemill_job_forecast_seconds", "tidemill_job_workers_needed"} & {name for name, _ in found}


def test_a_forecast_that_says_nothing_hides_nothing():
    found = scrape({JOB: cache_of(JOB, job(status={"forecast": {"meetsWindow": False}}))}, after=7200)
    assert value(found, "tidemill_queue_age_ratio") == 2


@pytest.mark.parametrize(
    ("status", "missing"),
    [
        ({"queue": {"health": "Warning", "reason": "TwiceTarget"}}, 0),
        ({"queue": {"health": "Healthy", "reason": "SourceMissing"}}, 1),
        ({"conditions": [{"type": "Progressing", "status": "Unknown", "reason": "RayUnreachable"}]}, 1),
        ({"conditions": [{"type": "Progressing", "status": "True", "reason": "FiguresMissing"}]}, 1),
        ({"conditions": [{"type": "Progressing", "status": "True", "reason": "Processing"}]}, 0),
    ],
)
def test_a_missing_source_is_said_and_is_no_empty_queue(status, missing):
    found = scrape({JOB: cache_of(JOB, job(status=status))}, after=3600)
    assert value(found, "tidemill_source_missing") == missing
    assert value(found, "tidemill_queue_age_ratio") == 1


@pytest.mark.parametrize(("counted", "missing"), [("2026-01-01T12:00:05Z", 0), ("2026-01-01T12:00:00Z", 1), (None, 1)])
def test_a_late_endpoint_whose_look_missed_replicas_is_late_and_misses_them(counted, missing):
    queue = {"depth": 5, "ageRatio": "2.10", "health": "Warning", "reason": "TwiceTarget"}
    queue |= {"observedTime": "2026-01-01T12:00:05Z"} | ({"countedTime": counted} if counted else {})
    found = scrape({ENDPOINT: cache_of(ENDPOINT, endpoint(queue=queue))})
    assert value(found, "tidemill_source_missing") == missing
    assert value(found, "tidemill_queue_age_ratio") == 2.1


def test_an_endpoint_has_the_same_figures_under_its_own_kind():
    queue = {"depth": 5, "oldestAgeSeconds": 4, "ageRatio": "2.10", "health": "Warning", "reason": "TwiceTarget"}
    queue |= {"arrivedPerSecond": "3.5", "completedPerSecond": "1.25"}
    found = scrape({ENDPOINT: cache_of(ENDPOINT, endpoint(queue=queue, replicas=2, readyReplicas=1))})
    assert value(found, "tidemill_queue_age_ratio", kind=ENDPOINT, name="chat") == 2.1
    assert value(found, "tidemill_queue_target_seconds", kind=ENDPOINT) == 2
    assert value(found, "tidemill_queue_arrived_per_second", kind=ENDPOINT) == 3.5
    assert value(found, "tidemill_queue_completed_per_second", kind=ENDPOINT) == 1.25
    assert (value(found, "tidemill_workers_desired"), value(found, "tidemill_workers_ready")) == (2, 1)


def test_a_boost_is_what_it_is_worth_at_this_moment():
    body = job()
    boost = '{"factor": 2, "until": "2026-01-01T12:15:00Z", "alert": "Old"}'
    body["metadata"]["annotations"] = {"tidemill.dev/scaling-boost": boost}
    caches = {JOB: cache_of(JOB, body)}
    assert value(scrape(caches), "tidemill_scaling_boost_factor") == 2
    assert value(scrape(caches, after=900), "tidemill_scaling_boost_factor") == 1


def test_what_has_ended_is_counted_and_not_named():
    ended = job("old", status={"completionTime": "2026-01-01T12:01:00Z"})
    found = scrape({JOB: cache_of(JOB, job(), ended)})
    assert {dict(labels)["name"] for _, labels in found if "name" in dict(labels)} == {"tickets"}
    assert value(found, "tidemill_objects", kind=JOB, state="finished") == 1
    assert value(found, "tidemill_objects", kind=JOB, state="unfinished") == 1


def test_above_the_bound_the_most_urgent_are_named_and_the_rest_is_counted(monkeypatch):
    monkeypatch.setattr(collector, "MOST_NAMED", 2)
    jobs = [job(f"job-{hours}", completionWindow=f"{hours}h") for hours in (9, 3, 5, 7)]
    found = scrape({JOB: cache_of(JOB, *jobs)})
    assert {dict(labels)["name"] for _, labels in found if "name" in dict(labels)} == {"job-3", "job-5"}
    assert value(found, "tidemill_objects_unnamed", kind=JOB) == 2


@pytest.mark.parametrize("spec", [{"completionWindow": "soon"}, {"workers": {"max": "many"}}, {"workers": 3}])
def test_an_object_that_cannot_be_read_hides_no_other(spec):
    found = scrape({JOB: cache_of(JOB, job("wrong", **spec), job())})
    assert value(found, "tidemill_queue_age_ratio", name="tickets") == 0
    assert value(found, "tidemill_objects", state="unfinished") == 2


def cluster(name, owner):
    owners = [{"kind": JOB, "apiVersion": "tidemill.dev/v1alpha1", "name": owner}]
    return {"metadata": {"namespace": "team", "name": name, "uid": name, "ownerReferences": owners}}


def pod(name, of, role, restarts):
    labels = {"ray.io/cluster": of, "tidemill.dev/role": role}
    status = {"containerStatuses": [{"restartCount": restarts}]}
    return {"metadata": {"namespace": "team", "name": name, "uid": name, "labels": labels}, "status": status}


def test_restarts_are_those_of_the_worker_pods_of_the_owner():
    cache = cache_of(JOB, job(), job("calm"))
    cache.put(Watched.CLUSTERS, cluster("tickets-1", "tickets"))
    for body in (
        pod("a", "tickets-1", "worker", 2),
        pod("b", "tickets-1", "worker", 1),
        pod("h", "tickets-1", "head", 9),
    ):
        cache.put(Watched.PODS, body)
    found = scrape({JOB: cache})
    assert value(found, "tidemill_worker_container_restarts", name="tickets") == 3
    assert value(found, "tidemill_worker_container_restarts", name="calm") == 0


def test_a_scrape_may_come_while_the_watches_go_on():
    cache = cache_of(JOB, *(job(f"job-{number}") for number in range(50)))
    stop = threading.Event()

    def watch():
        number = 0
        while not stop.is_set():
            number += 1
            cache.put(Watched.JOBS, job(f"more-{number}"))
            cache.drop(Watched.JOBS, collector.key_of(job(f"more-{number}")))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        for _ in range(5):
            assert value(scrape({JOB: cache}), "tidemill_objects", state="unfinished") >= 50
    finally:
        stop.set()
        thread.join()
