"""What a reconcile does when the API server says no: the cache follows, the status is still written."""

import asyncio
import base64
from datetime import UTC, datetime

import pytest
from unit.operator.builders import MINIMAL, running_status
from unit.operator.test_views import HEAD_READY
from unit.operator.test_views import cluster as ray_cluster

from tidemill_operator.cache import Key, WatchCache, Watched
from tidemill_operator.cluster import Cluster
from tidemill_operator.config import Settings
from tidemill_operator.core.snapshot import DriverMetrics
from tidemill_operator.errors import ConflictError, ObjectMissingError, RejectedError
from tidemill_operator.manifests.names import cluster_name
from tidemill_operator.manifests.ray_cluster import TOKEN_KEY
from tidemill_operator.ray_api import RayApi
from tidemill_operator.reconciler import Reconciler

KEY = Key("team", "tickets")


def job(version):
    """A job whose spec is wrong: its reconcile is one status write and nothing else."""
    metadata = {"namespace": "team", "name": "tickets", "uid": "u", "creationTimestamp": "2026-01-01T12:00:00Z"}
    return {"metadata": {**metadata, "resourceVersion": version}, "spec": MINIMAL | {"workers": {"max": 0}}}


class WrittenMeanwhile(Cluster):
    """Stands for an API server in which somebody wrote the job, or deleted it, just before our status."""

    def __init__(self, newest):
        self.newest = newest

    async def patch_status(self, job, status):
        raise ConflictError("the object has been modified")

    async def get(self, resource, namespace, name):
        if self.newest is None:
            raise ObjectMissingError(name)
        return self.newest


class MayNotScale(Cluster):
    """Stands for an API server whose RBAC or quota forbids the operator's patches of RayClusters."""

    def __init__(self):
        self.statuses, self.created = [], []

    async def get(self, resource, namespace, name):
        return {"data": {TOKEN_KEY: base64.b64encode(b"token").decode()}}

    async def patch(self, resource, namespace, name, operations):
        raise RejectedError("rayclusters is forbidden")

    async def patch_status(self, job, status):
        self.statuses.append(status)
        return {**job, "status": status}

    async def create(self, resource, manifest):
        self.created.append(manifest)
        return manifest


class BusyRay(RayApi):
    """Stands for Ray: a driver that has nine rows to run."""

    async def metrics(self, head, job, attempt):
        return DriverMetrics(phase="processing", rows_total=9, rows_per_worker=5), ""


def reconcile(cluster, cache):
    settings = Settings.from_environment({})
    return asyncio.run(Reconciler(cluster, BusyRay(1), cache, settings).reconcile(KEY))


@pytest.mark.parametrize("newest", [job("8"), None])
def test_a_status_that_somebody_wrote_first_is_read_again_before_the_next_try(newest):
    cache = WatchCache()
    cache.put(Watched.JOBS, job("7"))
    with pytest.raises(ConflictError):
        reconcile(WrittenMeanwhile(newest), cache)
    assert cache.job(KEY) == newest


def test_a_refused_scaling_is_said_and_the_status_still_written():
    cache, cluster = WatchCache(), MayNotScale()
    body = job("7")
    body["metadata"]["creationTimestamp"] = datetime.now(UTC).isoformat()
    status = running_status().model_dump(mode="json", by_alias=True)
    cache.put(Watched.JOBS, {**body, "spec": MINIMAL, "status": status})
    standing = ray_cluster([HEAD_READY], replicas=0)
    standing["metadata"]["name"] = cluster_name("tickets", "u")
    cache.put(Watched.CLUSTERS, standing)
    again = reconcile(cluster, cache)
    assert again == Settings().start_poll_seconds
    assert [written["rows"]["total"] for written in cluster.statuses] == [9]
    told = {event["reason"]: event["message"] for event in cluster.created}
    assert told["ScaleRefused"].endswith("to 2 workers: rayclusters is forbidden")
    assert "Scaled" not in told
