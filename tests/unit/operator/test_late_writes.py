"""What was decided on an older state of an object is not carried out on a newer one, be it known by then or not."""

from unit.operator.builders import make_job
from unit.operator.test_views import cluster as ray_cluster
from unit.operator.test_views import pod as worker_pod

from tidemill_operator.apply import Executor
from tidemill_operator.cache import WatchCache, Watched
from tidemill_operator.cluster import Cluster
from tidemill_operator.config import Settings
from tidemill_operator.core.plan import DeleteJob, ScaleCluster
from tidemill_operator.core.spec_checks import SpecPolicy
from tidemill_operator.heads import Heads
from tidemill_operator.ray_api import RayApi
from tidemill_operator.views import read_cluster, read_job


class Api(Cluster):
    """Stands for an API server that takes every write; while it lists pods, somebody writes the RayCluster."""

    def __init__(self, cache, newer):
        self.cache, self.newer = cache, newer
        self.patched, self.deleted = [], []

    async def list_all(self, resource, namespace, selector=""):
        self.cache.put(Watched.CLUSTERS, self.newer)
        for pod in (worker_pod("a"), worker_pod("b")):
            yield pod

    async def patch(self, resource, namespace, name, operations):
        self.patched = operations
        return self.newer

    async def delete(self, resource, namespace, name, uid="", version=""):
        self.deleted.append((resource.plural, name, uid, version))


def of_generation(generation):
    body = ray_cluster(replicas=2)
    return body | {"metadata": body["metadata"] | {"generation": generation}}


def world():
    cache = WatchCache()
    cache.put(Watched.CLUSTERS, of_generation(3))
    for name in ("a", "b"):
        cache.put(Watched.PODS, worker_pod(name))
    api = Api(cache, of_generation(4))
    return api, Executor(api, RayApi(1), cache, Heads(api, cache), Settings())


async def test_a_scaling_is_guarded_by_the_generation_that_was_decided_on_not_by_the_newest_known():
    api, executor = world()
    seen = read_cluster(of_generation(3), ())
    await executor.execute(ScaleCluster(seen.name, 1, 4, ("b",), generation=seen.generation), make_job())
    assert {"op": "test", "path": "/metadata/generation", "value": 3} in api.patched


async def test_a_job_is_deleted_at_the_end_of_its_time_only_as_it_was_when_that_was_decided():
    """Its time may have been lengthened meanwhile."""
    api, executor = world()
    metadata = {"namespace": "team", "name": "tickets", "uid": "u", "creationTimestamp": "2026-01-01T12:00:00Z"}
    job = read_job({"metadata": metadata | {"resourceVersion": "41"}, "spec": {}}, SpecPolicy())
    await executor.execute(DeleteJob(), job)
    assert api.deleted == [("batchinferencejobs", "tickets", "u", "41")]
