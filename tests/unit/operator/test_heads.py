"""Tokens of heads: read once, read again when in doubt, and never kept longer than their job."""

import base64
from dataclasses import replace

import pytest
from unit.operator.builders import make_job

from tidemill_operator.cache import Key, WatchCache, Watched
from tidemill_operator.cluster import Cluster
from tidemill_operator.errors import ObjectMissingError, RayUnavailableError, RejectedError
from tidemill_operator.heads import Heads


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


def known(*jobs):
    cache = WatchCache()
    for job in jobs:
        cache.put(Watched.JOBS, {"metadata": {"namespace": job.namespace, "name": job.name, "uid": job.uid}})
    return cache


async def test_a_token_is_read_once_and_again_once_it_is_forgotten():
    job = make_job()
    heads = Heads(Secrets(), known(job))
    assert [(await heads.head(job, "10.0.0.1")).token for _ in range(2)] == ["token-1"] * 2
    heads.forget(job)
    assert (await heads.head(job, "10.0.0.1")).token == "token-2"


async def test_a_new_job_of_the_same_name_has_its_own_token():
    job = make_job()
    heads = Heads(Secrets(), known(job))
    await heads.head(job, "10.0.0.1")
    assert (await heads.head(replace(job, uid="uid-2"), "10.0.0.1")).token == "token-2"


async def test_the_tokens_of_jobs_that_are_gone_are_forgotten():
    gone, other = make_job(), replace(make_job(), name="other", uid="uid-2")
    cache = known(gone, other)
    heads = Heads(Secrets(), cache)
    await heads.head(gone, "10.0.0.1")
    cache.drop(Watched.JOBS, Key("team", "tickets"))
    await heads.head(other, "10.0.0.2")
    assert (await heads.head(gone, "10.0.0.1")).token == "token-3"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RejectedError('secrets is forbidden: User "op"'), "may not read .*: secrets is forbidden"),
        (ObjectMissingError("gone"), "cannot be read"),
    ],
)
async def test_a_token_that_cannot_be_read_is_a_passing_fault_that_says_why(error, said):
    with pytest.raises(RayUnavailableError, match=said):
        await Heads(Secrets(error), WatchCache()).head(make_job(), "10.0.0.1")
