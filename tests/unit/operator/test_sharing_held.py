"""What is held counts: the pods that are there, a job that nobody can read, and the newest share-out of all."""

import asyncio
from datetime import timedelta

import pytest
from unit.operator.test_sharing import GPU, NOW, Quotas, body, quota

import tidemill_operator.sharing as sharing_module
from tidemill_api.v1alpha1 import realtime_endpoint
from tidemill_operator.budgets import Budgets
from tidemill_operator.cache import RAY_CLUSTER_LABEL, WatchCache, Watched
from tidemill_operator.cached_jobs import CachedJobs
from tidemill_operator.core.snapshot import Tuning
from tidemill_operator.core.spec_checks import SpecPolicy
from tidemill_operator.manifests.names import cluster_name
from tidemill_operator.manifests.ray_cluster import WORKER_GROUP
from tidemill_operator.sharing import Sharing
from tidemill_operator.views import NODE_TYPE_LABEL, read_job


class Shared:
    """A namespace's jobs and endpoints with their pods, and the API server with its quotas."""

    def __init__(self, *quotas, limit=0):
        self.jobs, self.endpoints = WatchCache(), WatchCache(realtime_endpoint.KIND)
        self.server = Quotas(*quotas)
        self.budgets = Budgets(self.server, limit)
        self.sharing = Sharing(self.jobs, self.endpoints, CachedJobs(self.jobs, Tuning()), SpecPolicy())

    def job(self, name, *, workers=0, **fields):
        one = body(name, **fields)
        self.jobs.put(Watched.JOBS, one)
        pods(self.jobs, cluster_name(name, f"uid-{name}"), workers)
        return one

    def endpoint(self, name, *, asked, workers):
        """An endpoint that asked for so many replicas of one GPU and has so many worker pods."""
        metadata = {"name": name, "namespace": "team", "uid": f"uid-{name}"}
        spec = {"resources": {"gpu": 1, "gpuResourceName": GPU}}
        self.endpoints.put(Watched.JOBS, {"metadata": metadata, "spec": spec})
        owner = {"apiVersion": "tidemill.dev/v1alpha1", "kind": realtime_endpoint.KIND, "name": name}
        child = {"name": f"{name}-r1", "namespace": "team", "uid": f"c-{name}", "ownerReferences": [owner]}
        group = {"groupName": WORKER_GROUP, "replicas": asked}
        self.endpoints.put(Watched.CLUSTERS, {"metadata": child, "spec": {"workerGroupSpecs": [group]}})
        pods(self.endpoints, f"{name}-r1", workers)

    def shares(self, *names, seconds=0.0):
        """The shares of these jobs, each asked for at that moment."""

        async def ask():
            for name in names:
                one = read_job(body(name), SpecPolicy())
                yield name, await self.sharing.share_of(one, self.budgets, NOW + timedelta(seconds=seconds))

        async def all_of_them():
            return {name: share async for name, share in ask()}

        return asyncio.run(all_of_them())


def pods(cache, cluster, count):
    labels = {RAY_CLUSTER_LABEL: cluster, NODE_TYPE_LABEL: "worker"}
    for number in range(count):
        name = f"{cluster}-{number}"
        cache.put(Watched.PODS, {"metadata": {"name": name, "namespace": "team", "uid": name, "labels": labels}})


@pytest.mark.parametrize(("workers", "left"), [(0, 0), (2, 2), (4, 4)])
def test_jobs_make_room_for_the_replicas_that_an_endpoint_lacks(workers, left):
    """A quota of eight, of which somebody else's pod has four less what the endpoint has: it wants four."""
    shared = Shared(quota("8", "8"))
    shared.endpoint("chat", asked=4, workers=workers)
    shared.job("a", workers=4)
    assert shared.shares("a")["a"] == left


def unreadable(shared, name, **fields):
    one = shared.job(name, **fields)
    one["status"]["rows"] = {"total": {"of": "a newer operator"}}
    return one


def test_a_job_that_cannot_be_read_keeps_its_gpus_and_stops_no_other(caplog):
    shared = Shared(quota("8", "3"))
    unreadable(shared, "newer", workers=3)
    shared.job("a")
    assert shared.shares("a") == {"a": 5}
    assert shared.shares("a", seconds=2) == {"a": 5}
    assert caplog.text.count("the status of team/newer cannot be read") == 1
    limited = Shared(limit=8)
    unreadable(limited, "newer", workers=3)
    limited.job("a")
    assert limited.shares("a") == {"a": 5}


def test_a_job_whose_spec_does_not_hold_counts_with_the_workers_that_it_still_has():
    shared = Shared(quota("8", "3"))
    shared.job("wrong", workers=3)["spec"]["workers"] = {"max": -1}
    shared.job("a")
    assert shared.shares("a") == {"a": 5}


def read_since(monkeypatch):
    read = []
    monkeypatch.setattr(
        sharing_module, "read_job", lambda of, policy: read.append(of["metadata"]["name"]) or read_job(of, policy)
    )
    return read


def test_no_job_is_read_where_nothing_bounds_the_namespace(monkeypatch):
    read = read_since(monkeypatch)
    shared = Shared({"spec": {"hard": {"pods": "9"}}})
    shared.job("a")
    assert (shared.shares("a"), read) == ({"a": None}, [])


def test_each_version_of_a_job_is_read_once(monkeypatch):
    read = read_since(monkeypatch)
    shared = Shared(limit=8)
    for name in ("a", "b"):
        shared.job(name)
    shared.shares("a", "b")
    shared.jobs.put(Watched.JOBS, body("b") | {"metadata": body("b")["metadata"] | {"uid": "again"}})
    shared.shares("a", "b", seconds=2)
    assert read == ["a", "b", "b"]


def test_a_look_that_began_earlier_takes_the_newer_share_out():
    shared = Shared(limit=8)
    shared.job("a")
    assert shared.shares("a", seconds=10) == {"a": 8}
    shared.job("b", minutes=200)
    assert shared.shares("a", seconds=4) == {"a": 8}
    assert shared.shares("a", seconds=12)["a"] < 8


def test_a_clock_that_was_set_back_by_an_hour_stops_no_share_out():
    shared = Shared(limit=8)
    shared.job("a")
    assert shared.shares("a", seconds=3600) == {"a": 8}
    shared.job("b", minutes=200)
    assert shared.shares("a")["a"] < 8
