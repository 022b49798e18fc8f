"""Tokens of heads: read once, read again when in doubt, and never kept longer than their cluster."""

import base64
from dataclasses import replace

import pytest
from unit.operator.builders import make_job

from tidemill_operator.cache import WatchCache, Watched
from tidemill_operator.cluster import Cluster
from tidemill_operator.errors import ObjectMissingError, RayUnavailableError, RejectedError
from tidemill_operator.heads import Heads, cluster_of

JOB = make_job()
CLUSTER = cluster_of(JOB)


class Secrets(Cluster):
    """Stands for the API server: each read of a Secret gives another token, or the error it was told to raise."""

    def __init__(self, error=None):
        self.reads = 0
        self.error = error

    async def get(self, resource, namespace, name):
        if self.error:
            raise self.error
        self.reads += 1
        return {"data": {"auth_token": base64.b64encode(f"token-{self.reads}".encode()).decode()}}


def standing(*clusters):
    cache = WatchCache()
    for key in clusters:
        cache.put(Watched.CLUSTERS, {"metadata": {"namespace": key.namespace, "name": key.name, "uid": key.name}})
    return cache


async def test_a_token_is_read_once_and_again_once_it_is_forgotten():
    heads = Heads(Secrets(), standing(CLUSTER))
    assert [(await heads.head(CLUSTER, "10.0.0.1")).token for _ in range(2)] == ["token-1"] * 2
    heads.forget(CLUSTER)
    assert (await heads.head(CLUSTER, "10.0.0.1")).token == "token-2"


def test_a_new_job_of_the_same_name_has_a_cluster_and_so_a_token_of_its_own():
    assert cluster_of(replace(JOB, uid="uid-2")) != cluster_of(JOB)


async def test_the_tokens_of_clusters_that_are_gone_are_forgotten():
    other = replace(CLUSTER, name="other")
    cache = standing(CLUSTER, other)
    heads = Heads(Secrets(), cache)
    await heads.head(CLUSTER, "10.0.0.1")
    cache.drop(Watched.CLUSTERS, CLUSTER)
    await heads.head(other, "10.0.0.2")
    assert heads.known(CLUSTER, "10.0.0.1") is None
    assert (await heads.head(CLUSTER, "10.0.0.1")).token == "token-3"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RejectedError('secrets is forbidden: User "op"'), "may not read .*: secrets is forbidden"),
        (ObjectMissingError("gone"), "cannot be read"),
    ],
)
async def test_a_token_that_cannot_be_read_is_a_passing_fault_that_says_why(error, said):
    with pytest.raises(RayUnavailableError, match=said):
        await Heads(Secrets(error), WatchCache()).head(CLUSTER, "10.0.0.1")
