"""What a reconcile does when the API server says no: the cache follows, the status is still written."""

import asyncio

import pytest
from unit.operator.builders import MINIMAL

from tidemill_operator.cache import Key, WatchCache, Watched
from tidemill_operator.cluster import Cluster
from tidemill_operator.config import Settings
from tidemill_operator.errors import ConflictError, ObjectMissingError
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


def reconcile(cluster, cache):
    settings = Settings.from_environment({})
    return asyncio.run(Reconciler(cluster, RayApi(1), cache, settings).reconcile(KEY))


@pytest.mark.parametrize("newest", [job("8"), None])
def test_a_status_that_somebody_wrote_first_is_read_again_before_the_next_try(newest):
    cache = WatchCache()
    cache.put(Watched.JOBS, job("7"))
    with pytest.raises(ConflictError):
        reconcile(WrittenMeanwhile(newest), cache)
    assert cache.job(KEY) == newest
