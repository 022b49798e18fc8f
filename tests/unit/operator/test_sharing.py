"""A namespace's GPUs are shared out from what the watches saw: quotas and limits, endpoints first, then deadlines."""

import asyncio
import math
from datetime import timedelta

import pytest
from api_specs import SPEC
from unit.operator.builders import (
    T0,
    condition,
    look,
    make_cluster,
    make_job,
    make_spec,
    make_workers,
    processing,
    running_status,
)

import tidemill_operator.cached_jobs as cached_jobs_module
import tidemill_operator.sharing as sharing_module
from tidemill_api.conditions import ConditionType
from tidemill_api.v1alpha1 import realtime_endpoint
from tidemill_api.v1alpha1.queue_status import MeasuredStatus
from tidemill_operator.budgets import Budgets, left_of
from tidemill_operator.cache import Key, WatchCache, Watched
from tidemill_operator.cached_jobs import CachedJobs, others, read_measures
from tidemill_operator.core.deadline.estimates import Measure
from tidemill_operator.core.deadline.turns import Turn
from tidemill_operator.core.snapshot import Tuning
from tidemill_operator.core.spec_checks import SpecPolicy
from tidemill_operator.errors import RejectedError
from tidemill_operator.manifests.ray_cluster import WORKER_GROUP
from tidemill_operator.sharing import Sharing, room_of_endpoint
from tidemill_operator.views import read_job

NOW = T0 + timedelta(minutes=5)
GPU = "nvidia.com/gpu"


def quota(hard, used="0", **spec):
    hard_and_used = {f"requests.{GPU}": hard}, {f"requests.{GPU}": used}
    return {"spec": {"hard": hard_and_used[0], **spec}, "status": {"used": hard_and_used[1]}}


def body(name, *, rows=10_000_000, minutes=240, gpu=1, workers=8, namespace="team", measured=None):
    """A validated job of so many rows and GPUs a worker, as the API server gives it."""
    seen = look(status=running_status(), cluster=make_cluster(), **processing(rows_total=rows, rows_completed=0))
    status = seen.status.model_copy(update={"planned": None}).model_dump(mode="json", by_alias=True, exclude_none=True)
    status["measured"] = measured or {}
    spec = SPEC | {
        "model": {"name": "m", "source": "/data/m"},
        "resources": {"gpu": gpu},
        "workers": {"max": workers},
        "completionWindow": f"{minutes}m",
    }
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "creationTimestamp": "2026-01-01T12:00:00Z"}
    return {"metadata": metadata, "spec": spec, "status": status}


class Quotas:
    """Stands for the API server: gives these ResourceQuotas, and counts how often it is asked."""

    def __init__(self, *quotas, refuses=False):
        self.quotas, self.refuses, self.asked = quotas, refuses, 0

    async def list_all(self, resource, namespace, selector=""):
        self.asked += 1
        if self.refuses:
            raise RejectedError("may not list")
        for one in self.quotas:
            yield one


def share_out(bodies, server, *, limit=0, endpoints=(), of="share_of"):
    """The share of each of these jobs, or its turn."""
    cache, others = WatchCache(), WatchCache(realtime_endpoint.KIND)
    for one in bodies:
        cache.put(Watched.JOBS, one)
    for one in endpoints:
        others.put(Watched.JOBS, one)
    sharing = Sharing(cache, others, CachedJobs(cache, Tuning()), SpecPolicy())
    budgets = Budgets(server, limit)

    async def all_of_them():
        jobs = [read_job(one, SpecPolicy()) for one in bodies]
        return {job.name: await getattr(sharing, of)(job, budgets, NOW) for job in jobs}

    return asyncio.run(all_of_them())


def test_without_a_quota_or_a_limit_nothing_bounds_a_job():
    assert share_out([body("a")], Quotas()) == {"a": None}


def test_a_job_without_gpus_has_no_share_in_them():
    server = Quotas(quota("1"))
    assert share_out([body("a", gpu=0)], server) == {"a": None}
    assert server.asked == 0


def test_jobs_share_the_quota_and_the_earlier_deadline_goes_first():
    given = share_out([body("late", minutes=480), body("soon", minutes=240)], Quotas(quota("9")))
    assert given["soon"] == 8
    assert given["late"] == 1


def test_the_limit_of_the_operator_holds_where_it_is_the_smaller_one():
    assert sum(share_out([body("a"), body("b")], Quotas(quota("9")), limit=3).values()) == 3


def test_an_endpoint_has_its_gpus_before_any_job():
    spec = {"resources": {"gpu": 2, "gpuResourceName": GPU}}
    metadata = {"name": "chat", "namespace": "team", "uid": "uid-chat"}
    endpoint = {"metadata": metadata, "spec": spec, "status": {"replicas": 2}}
    assert share_out([body("a")], Quotas(quota("6")), endpoints=[endpoint]) == {"a": 2}


def test_the_limit_leaves_an_endpoint_what_the_other_endpoints_of_its_namespace_do_not_have():
    endpoints = WatchCache(realtime_endpoint.KIND)
    for name, namespace, gpus, replicas in (("chat", "team", 2, 1), ("code", "team", 1, 3), ("far", "other", 1, 9)):
        metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}"}
        spec = {"resources": {"gpu": gpus, "gpuResourceName": GPU}}
        endpoints.put(Watched.JOBS, {"metadata": metadata, "spec": spec})
        owner = {"apiVersion": "tidemill.dev/v1alpha1", "kind": realtime_endpoint.KIND, "name": name}
        child = {"name": f"{name}-r1", "namespace": namespace, "uid": f"c-{name}", "ownerReferences": [owner]}
        group = {"groupName": WORKER_GROUP, "replicas": replicas}
        endpoints.put(Watched.CLUSTERS, {"metadata": child, "spec": {"workerGroupSpecs": [group]}})
    chat, code = Key("team", "chat"), Key("team", "code")
    assert (room_of_endpoint(endpoints, chat, 8), room_of_endpoint(endpoints, code, 8)) == (2, 6)
    assert room_of_endpoint(endpoints, chat, 2) == 0
    assert room_of_endpoint(endpoints, chat, 0) is None


def test_a_namespace_knows_nothing_of_another():
    assert share_out([body("a"), body("b", namespace="other")], Quotas(quota("5")))["a"] == 5


def test_a_share_out_is_made_once_a_tick_and_not_for_each_job(monkeypatch):
    made = []
    monkeypatch.setattr(sharing_module, "shares", lambda claims, budget: made.append(budget) or {})
    share_out([body(f"job-{number}") for number in range(20)], Quotas(quota("9")))
    assert made == [9]


def test_quotas_are_asked_for_once_in_a_while_and_not_for_each_job():
    server = Quotas(quota("9"))
    share_out([body(f"job-{number}") for number in range(20)], server)
    assert server.asked == 1


def test_an_operator_that_may_not_read_quotas_goes_on_without(caplog):
    assert share_out([body("a")], Quotas(refuses=True)) == {"a": None}
    assert "may not list the ResourceQuotas of team" in caplog.text


@pytest.mark.parametrize(
    ("given", "ours", "left"),
    [
        (quota("8", "3"), 3.0, 8.0),  # all that is used is ours
        (quota("8", "5"), 3.0, 6.0),  # others use two
        (quota("2", "5"), 0.0, 0.0),
        (quota("8", scopes=["BestEffort"]), 0.0, None),
        ({"spec": {"hard": {"pods": "3"}}}, 0.0, None),
        ({"spec": {"hard": {f"requests.{GPU}": "many"}}}, 0.0, None),
        ({}, 0.0, None),
    ],
)
def test_a_quota_leaves_what_others_do_not_use(given, ours, left):
    assert left_of(given, GPU, ours) == left


def sized(share, replicas=0, busy=0):
    """What a job of many rows is told that may have so many workers."""
    job = make_job(spec=make_spec(workers={"max": 8}), status=running_status(pool_size=8))
    from_nodes = {f"10.0.1.{number}": 5 for number in range(1, busy + 1)}
    seen = processing(rows_total=100_000, in_flight=from_nodes)
    team = {"cluster": make_cluster(replicas=replicas, max_replicas=8), "workers": make_workers(replicas)}
    return look(job=job, share=share, **team, **seen)


def test_a_job_gets_no_more_than_its_share():
    assert sized(share=3).actions[0].replicas == 3
    assert sized(share=None).actions[0].replicas == 8


def test_a_share_that_shrinks_takes_busy_workers_too():
    (action,) = sized(share=1, replicas=3, busy=3).actions
    assert (action.replicas, len(action.workers_to_delete)) == (1, 2)


# What others measured


def measured(rate, rows=500, at="2026-01-01T12:00:00Z"):
    return {"rowsPerSecondPerWorker": str(rate), "rows": rows, "startupSeconds": 40, "startups": 2, "observedTime": at}


def test_a_job_plans_with_what_jobs_of_the_same_model_and_resources_measured():
    cache = WatchCache()
    for one in (
        body("own"),
        body("alike", measured=measured(7.5)),
        body("larger", gpu=2, measured=measured(99)),
        body("elsewhere", namespace="other", measured=measured(99)),
        body("new"),
    ):
        cache.put(Watched.JOBS, one)
    job = read_job(cache.job(Key("team", "own")), SpecPolicy())
    seen = CachedJobs(cache, Tuning()).snapshot(job, NOW)
    assert seen.elsewhere.rates == (Measure(7.5, 500.0),)
    assert seen.elsewhere.startups == (Measure(40.0, 2.0),)
    cache.drop(Watched.JOBS, Key("team", "alike"))
    assert CachedJobs(cache, Tuning()).snapshot(job, NOW).elsewhere.rates == ()


def test_the_newest_measures_count_and_not_thousands_of_old_ones():
    bodies = tuple(body(f"j{n}", measured=measured(n + 1, at=f"2026-01-01T12:{n:02d}:00Z")) for n in range(60))
    rates = [rate.value for rate in others(read_measures(bodies), Key("team", "own")).rates]
    assert rates == [float(n) for n in range(60, 10, -1)]
    of_one_of_them = [rate.value for rate in others(read_measures(bodies), Key("team", "j59")).rates]
    assert of_one_of_them == [float(n) for n in range(59, 9, -1)]


def test_measures_are_read_once_for_all_jobs_alike_and_again_where_one_changes(monkeypatch):
    cache, read = WatchCache(), []
    for name in ("a", "b", "c"):
        cache.put(Watched.JOBS, body(name, measured=measured(5)))
    monkeypatch.setattr(cached_jobs_module, "read_measures", lambda bodies: read.append(len(bodies)) or ())
    seen = CachedJobs(cache, Tuning())

    def look_at_all():
        for key in cache.keys(Watched.JOBS):
            seen.snapshot(read_job(cache.job(key), SpecPolicy()), NOW)
        return read

    assert look_at_all() == [3]
    cache.put(Watched.JOBS, body("c", measured=measured(6)) | {"metadata": body("c")["metadata"] | {"uid": "again"}})
    assert look_at_all() == [3, 3]
    cache.drop(Watched.JOBS, Key("team", "c"))
    assert look_at_all() == [3, 3, 2]


MEASURED = {"rowsPerSecondPerWorker": "1", "rows": 100_000, "startups": 5, "startupSeconds": 60}


def test_who_has_no_worker_now_is_told_when_its_turn_comes():
    """Eight GPUs: an hour of the first, and half an hour of the second, which may have four."""
    first = body("soon", rows=8 * 3600, minutes=120, measured=MEASURED)
    second = body("late", rows=4 * 1800, minutes=480, workers=4, measured=MEASURED)
    coming = share_out([first, second], Quotas(quota("8")), of="turn_of")
    assert coming["soon"].waits == 0.0
    assert (coming["late"].workers, coming["late"].waits) == (
        4,
        pytest.approx(2700, rel=0.1),
    )  # 1.25 h less half an hour
    assert share_out([first, second], Quotas(), of="turn_of") == {"soon": None, "late": None}


def at_risk(turn):
    """Whether the window of a job without a worker is at risk, and why: 8 h for two hours of work."""
    measured = MeasuredStatus.model_validate(MEASURED)
    status = running_status(pool_size=8).model_copy(update={"measured": measured})
    status = look(status=status, cluster=make_cluster(), **processing(rows_total=7200, rows_completed=0)).status
    spec = make_spec(workers={"max": 8}, completionWindow="8h")
    seen = processing(rows_total=7200, rows_completed=0)
    told = look(job=make_job(spec=spec, status=status), cluster=make_cluster(), share=0, turn=turn, **seen)
    return condition(told, ConditionType.WINDOW_AT_RISK)


def test_a_job_that_waits_for_its_turn_in_good_time_is_not_at_risk():
    assert at_risk(Turn(2, 4 * 3600.0)) == ("False", "OnTrack")


def test_a_job_whose_turn_comes_too_late_is_at_risk_by_the_quota():
    assert at_risk(Turn(2, 7.8 * 3600.0)) == ("True", "QuotaReached")
    assert at_risk(Turn(0, math.inf)) == ("True", "QuotaReached")
