"""Serve is told to end where a revision is gone and its pods finish, and nowhere else."""

import pytest
from unit.operator.endpoint_builders import make_endpoint
from unit.operator.test_feed import Queue
from unit.operator.test_heads import Secrets

from tidemill_api import labels
from tidemill_api.v1alpha1.realtime_endpoint import KIND
from tidemill_operator.cache import Key, WatchCache, Watched
from tidemill_operator.errors import RayUnavailableError
from tidemill_operator.farewell import Farewell
from tidemill_operator.handlers import Feed
from tidemill_operator.heads import Heads
from tidemill_operator.ray_api import HeadAddress

ENDPOINT = make_endpoint()
KEY = Key(ENDPOINT.namespace, ENDPOINT.name)
CLUSTER = Key(KEY.namespace, "chat-r1")
LEAVING = {"deletionTimestamp": "2026-01-01T12:00:00Z"}


class Serve:
    """Stands for Serve on every head: notes who was told to end."""

    def __init__(self, error=None):
        self.told, self.error = [], error

    async def end(self, head):
        self.told.append(head)
        if self.error is not None:
            raise self.error


def pod(name="head", role="head", ip="10.0.0.1", **metadata):
    ours = {labels.ENDPOINT_NAME: KEY.name, labels.ROLE: role, "ray.io/cluster": CLUSTER.name}
    status = {"podIP": ip} if ip else {}
    return {
        "metadata": {"namespace": KEY.namespace, "name": name, "uid": name, "labels": ours, **metadata},
        "status": status,
    }


def cluster(**metadata):
    owner = {"apiVersion": "tidemill.dev/v1alpha1", "kind": KIND, "name": KEY.name, "uid": ENDPOINT.uid}
    return {
        "metadata": {"namespace": KEY.namespace, "name": CLUSTER.name, "uid": "c", "ownerReferences": [owner]}
        | metadata
    }


async def farewell(*pods, standing=None, serve=None, known=True):
    """Whom Serve is told to end, with these pods left."""
    cache, serve = WatchCache(KIND), serve or Serve()
    heads = Heads(Secrets(), cache)
    if known:
        await heads.head(CLUSTER, "10.0.0.1")
    if standing is not None:
        cache.put(Watched.CLUSTERS, standing)
    for left in pods:
        cache.put(Watched.PODS, left)
    assert await Farewell(serve, cache, heads).say(KEY) == bool(serve.told)
    return serve.told


@pytest.mark.parametrize("standing", [None, cluster(**LEAVING)], ids=["gone", "going"])
async def test_a_leaving_head_whose_cluster_is_gone_or_going_is_told_with_the_token_that_was_read_before(standing):
    assert await farewell(pod(**LEAVING), standing=standing) == [HeadAddress("10.0.0.1", "token-1")]


async def test_a_head_that_is_moved_to_another_node_keeps_its_serve():
    assert await farewell(pod(**LEAVING), standing=cluster()) == []


@pytest.mark.parametrize(
    "left",
    [pod(), pod("worker", "worker", **LEAVING), pod(ip="", **LEAVING)],
    ids=["not yet told to go", "a worker", "never had an address"],
)
async def test_only_a_head_that_is_told_to_go_is_told(left):
    assert await farewell(left) == []


async def test_pods_of_another_endpoint_are_not_this_ones():
    other = pod(**LEAVING)
    other["metadata"]["labels"][labels.ENDPOINT_NAME] = "other"
    assert await farewell(other) == []


async def test_a_head_whose_token_is_not_known_ends_by_its_drain():
    assert await farewell(pod(**LEAVING), known=False) == []


async def test_a_serve_that_does_not_answer_holds_nothing_up():
    silent = Serve(RayUnavailableError("10.0.0.1: Serve does not answer"))
    assert len(await farewell(pod(**LEAVING), serve=silent)) == 1


async def test_the_token_is_kept_while_a_pod_is_left():
    cache = WatchCache(KIND)
    heads = Heads(Secrets(), cache)
    await heads.head(CLUSTER, "10.0.0.1")
    cache.put(Watched.PODS, pod(**LEAVING))
    await heads.head(Key(KEY.namespace, "chat-r2"), "10.0.0.2")
    assert heads.known(CLUSTER, "10.0.0.1") is not None
    cache.drop(Watched.PODS, Key(KEY.namespace, "head"))
    await heads.head(Key(KEY.namespace, "chat-r3"), "10.0.0.3")
    assert heads.known(CLUSTER, "10.0.0.1") is None


def test_a_pod_whose_cluster_is_gone_wakes_its_endpoint():
    queue = Queue()
    Feed(WatchCache(KIND), queue).seen(Watched.PODS, pod(resourceVersion="2", **LEAVING))
    assert queue.added == [KEY]
