"""What a reconcile does when the API server says no: the cache follows, the status is still written."""

import asyncio
import base64
from datetime import UTC, datetime

import pytest
from unit.operator.builders import MINIMAL, T0, make_job, running_status
from unit.operator.test_views import HEAD_READY
from unit.operator.test_views import cluster as ray_cluster
from unit.operator.test_views import pod as worker_pod

from tidemill_operator.apply import Executor
from tidemill_operator.cache import Key, WatchCache, Watched
from tidemill_operator.cluster import Cluster
from tidemill_operator.config import Settings
from tidemill_operator.core.plan import DeleteCluster, ScaleCluster
from tidemill_operator.core.planner import plan
from tidemill_operator.core.snapshot import DriverMetrics, Snapshot
from tidemill_operator.core.spec_checks import SpecPolicy
from tidemill_operator.errors import ConflictError, ObjectMissingError, RayUnavailableError, RejectedError
from tidemill_operator.handlers import Feed
from tidemill_operator.heads import Heads
from tidemill_operator.manifests.names import cluster_name
from tidemill_operator.manifests.ray_cluster import TOKEN_KEY
from tidemill_operator.ray_api import RayApi
from tidemill_operator.ray_clusters import ScaleRefusedError
from tidemill_operator.reconciler import Reconciler
from tidemill_operator.views import read_job
from tidemill_operator.workqueue import Look, WorkQueue

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
        self.statuses, self.created, self.patches = [], [], 0

    async def get(self, resource, namespace, name):
        return {"data": {TOKEN_KEY: base64.b64encode(b"token").decode()}}

    async def patch(self, resource, namespace, name, operations):
        self.patches += 1
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
        return DriverMetrics(phase="processing", rows_total=9, rows_completed=0, rows_per_worker=5), ""


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
    assert again == Look(Settings().start_poll_seconds, wrote=True)
    assert [written["rows"]["total"] for written in cluster.statuses] == [9]
    told = {event["reason"]: event["message"] for event in cluster.created}
    assert told["ScaleRefused"].endswith(": rayclusters is forbidden")
    assert "Scaled" not in told


class MayNot(Cluster):
    """Stands for an API server in which one verb of the operator's is forbidden; events it may write."""

    def __init__(self, verb, message):
        self.verb, self.message, self.created, self.reads = verb, message, [], []

    async def create(self, resource, manifest):
        if manifest["metadata"]["name"] in [event["metadata"]["name"] for event in self.created]:
            raise ConflictError("it stands already")
        self.created.append(manifest)
        return manifest

    async def get(self, resource, namespace, name):
        self.reads.append(name)
        raise ObjectMissingError(name)

    async def patch_status(self, job, status):
        if self.verb == "patch_status":
            raise RejectedError(self.message)
        return {**job, "status": status}

    async def delete(self, resource, namespace, name, uid=""):
        if self.verb == "delete":
            raise RejectedError(self.message)


FORBIDDEN = 'rayclusters.ray.io "c" is forbidden: User "op" cannot delete resource "rayclusters" in API group "ray.io"'


def a_finished_job_with_its_cluster():
    cache = WatchCache()
    spec_problem = {**job("7"), "spec": MINIMAL | {"workers": {"max": 0}}}
    ended = plan(Snapshot(now=T0, job=read_job(spec_problem, SpecPolicy()))).status
    cache.put(Watched.JOBS, {**spec_problem, "status": ended.model_dump(mode="json", by_alias=True)})
    standing = ray_cluster([HEAD_READY], replicas=0)
    standing["metadata"]["name"] = cluster_name("tickets", "u")
    cache.put(Watched.CLUSTERS, standing)
    return cache


@pytest.mark.parametrize("verb", ["delete", "patch_status"])
def test_a_right_that_is_missing_is_said_in_one_event_however_often_it_is_tried(verb):
    cluster = MayNot(verb, FORBIDDEN)
    cache = a_finished_job_with_its_cluster()
    if verb == "patch_status":
        cache.put(Watched.JOBS, job("8"))
    for _ in range(3):
        with pytest.raises(RejectedError):
            reconcile(cluster, cache)
    (event,) = cluster.created
    assert (event["type"], event["reason"], event["count"]) == ("Warning", "ApiRefused", 1)
    assert FORBIDDEN in event["message"]
    assert [name for name in cluster.reads if not name.endswith("-token")] == [], "no Event is read"


def executor(cluster, cache):
    return Executor(cluster, BusyRay(1), cache, Heads(cluster, cache), Settings())


async def test_a_refused_scaling_is_tried_again_later_and_not_at_every_look():
    cluster, cache = MayNotScale(), WatchCache()
    works = executor(cluster, cache)
    said = []
    for _ in range(5):
        with pytest.raises(ScaleRefusedError) as refused:
            await works.execute(ScaleCluster("c", 2, 4), make_job())
        said.append((refused.value.again, str(refused.value)))
    assert cluster.patches == 1
    message = "The API server refuses to scale RayCluster c: rayclusters is forbidden"
    assert said == [(False, message)] + [(True, message)] * 4


class OnePodMore(Cluster):
    """Stands for an API server in which KubeRay created a pod that no watch has shown yet."""

    def __init__(self, pods):
        self.pods, self.patched = pods, []

    async def list_all(self, resource, namespace, selector=""):
        for found in self.pods:
            yield found

    async def patch(self, resource, namespace, name, operations):
        self.patched.append(operations)
        return ray_cluster(replicas=1)


async def test_a_group_is_not_made_smaller_while_a_pod_of_it_is_not_known():
    cache = WatchCache()
    cache.put(Watched.CLUSTERS, ray_cluster(replicas=3))
    cache.put(Watched.PODS, worker_pod("a"))
    cluster = OnePodMore([worker_pod("a"), worker_pod("late")])
    works = executor(cluster, cache)
    with pytest.raises(ConflictError, match="1 pods that were not known yet"):
        await works.execute(ScaleCluster("c", 1, 4), make_job())
    assert cluster.patched == []
    await works.execute(ScaleCluster("c", 1, 4), make_job())  # now it is known, and was decided upon
    assert len(cluster.patched) == 1


async def test_a_group_that_grows_or_goes_asks_for_no_pods():
    cache = WatchCache()
    cache.put(Watched.CLUSTERS, ray_cluster(replicas=3))
    cluster = OnePodMore([worker_pod("late")])
    for replicas in (4, 0):
        await executor(cluster, cache).execute(ScaleCluster("c", replicas, 4), make_job())
    assert len(cluster.patched) == 2


class Keeps(Cluster):
    """Stands for an API server that keeps the statuses and takes every other write; its watch never comes."""

    def __init__(self):
        self.version, self.deleted, self.patched = 100, [], []

    async def patch_status(self, job, status):
        self.version += 1
        return {**job, "metadata": {**job["metadata"], "resourceVersion": str(self.version)}, "status": status}

    async def create(self, resource, manifest):
        return manifest

    async def get(self, resource, namespace, name):
        return {"data": {TOKEN_KEY: base64.b64encode(b"token").decode()}}

    async def patch(self, resource, namespace, name, operations):
        self.patched.append({operation["path"].rpartition("/")[2]: operation["value"] for operation in operations})
        return ray_cluster(replicas=0)

    async def delete(self, resource, namespace, name, uid=""):
        self.deleted.append((resource.plural, uid))


def test_the_end_of_a_job_wakes_the_one_that_continues_it_without_waiting_for_its_back_off(virtual_time):
    """Our own status write puts the newest version into the cache, so its watch event is no news."""
    cache, looked = WatchCache(), []
    now = datetime.now(UTC).isoformat()
    source = job("7") | {"spec": MINIMAL | {"cancel": True}}
    source["metadata"]["creationTimestamp"] = now
    metadata = {**source["metadata"], "name": "rest", "uid": "r"}
    rest = {"metadata": metadata, "spec": MINIMAL | {"resubmitOf": "tickets", "output": {"uri": "/data/rest/"}}}
    cache.put(Watched.JOBS, rest)
    cache.put(Watched.JOBS, {**source, "spec": MINIMAL | {"suspend": True}})

    async def play():
        reconciler = Reconciler(Keeps(), BusyRay(1), cache, Settings())

        async def work(key):
            looked.append((asyncio.get_running_loop().time(), key.name))
            return await reconciler.reconcile(key)

        queue = WorkQueue(work, 2)
        running = asyncio.create_task(queue.run())
        feed = Feed(cache, queue)
        queue.add(Key("team", "rest"))
        await asyncio.sleep(5)
        assert cache.job(Key("team", "rest"))["status"]["conditions"][1]["reason"] == "ResubmitSourceNotReady"
        looked.clear()
        feed.seen(Watched.JOBS, {**source, "metadata": {**source["metadata"], "resourceVersion": "8"}})
        await asyncio.sleep(5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    virtual_time(play())
    ended = cache.job(KEY)["status"]["completionTime"]
    assert ended is not None
    assert looked.count((5.0, "rest")) >= 1
    said = {of["type"]: of for of in cache.job(Key("team", "rest"))["status"]["conditions"]}
    assert said["Finished"]["status"] == "True"
    assert "ended as Cancelled without results" in said["Succeeded"]["message"]


class RefusingRay(RayApi):
    """Stands for a Ray whose job agent does not come up."""

    async def stop(self, head, submission):
        raise RayUnavailableError("HTTP 500")

    async def submit(self, head, submission, config):
        raise RayUnavailableError("HTTP 500")


def test_what_is_decided_about_a_refused_driver_is_carried_out():
    cache, cluster = WatchCache(), Keeps()
    body = job("7")
    body["metadata"]["creationTimestamp"] = datetime.now(UTC).isoformat()
    status = running_status(ended_attempt=1).model_dump(mode="json", by_alias=True)
    status["conditions"][0]["status"] = "True"
    cache.put(Watched.JOBS, {**body, "spec": MINIMAL | {"cancel": True}, "status": status})
    standing = ray_cluster([HEAD_READY], replicas=2)
    standing["metadata"]["name"] = cluster_name("tickets", "u")
    cache.put(Watched.CLUSTERS, standing)
    asyncio.run(Reconciler(cluster, RefusingRay(1), cache, Settings()).reconcile(KEY))
    assert [patch["replicas"] for patch in cluster.patched] == [0]
    assert cache.job(KEY)["status"]["driver"]["attempt"] == 1


class NoSecrets(Keeps):
    """Stands for an API server that does not let the operator read the token."""

    async def get(self, resource, namespace, name):
        raise RejectedError("secrets is forbidden")


def test_live_figures_are_read_without_the_token():
    cache = WatchCache()
    body = job("7")
    body["metadata"]["creationTimestamp"] = datetime.now(UTC).isoformat()
    status = running_status().model_dump(mode="json", by_alias=True)
    cache.put(Watched.JOBS, {**body, "spec": MINIMAL, "status": status})
    standing = ray_cluster([HEAD_READY], replicas=2)
    standing["metadata"]["name"] = cluster_name("tickets", "u")
    cache.put(Watched.CLUSTERS, standing)
    reconcile(NoSecrets(), cache)
    assert cache.job(KEY)["status"]["rows"]["total"] == 9


class AnotherStands(Keeps):
    """Stands for an API server in which the RayCluster was deleted and made again, as the cache does not know yet."""

    async def delete(self, resource, namespace, name, uid=""):
        if uid:
            raise ConflictError("the uid in the precondition does not match")
        await super().delete(resource, namespace, name, uid)


async def test_a_cluster_that_was_made_again_keeps_its_token():
    cache, cluster = WatchCache(), AnotherStands()
    cache.put(Watched.CLUSTERS, ray_cluster())
    await executor(cluster, cache).execute(DeleteCluster("c", "old"), make_job())
    assert cluster.deleted == []
    assert cache.cluster("team", "c") is None
