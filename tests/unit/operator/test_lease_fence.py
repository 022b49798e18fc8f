"""The fence before every write, and that decisions are made behind it only."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import Configuration

from tidemill_operator.cluster import EVENTS, JOBS, LEASES, REQUEST_SECONDS, Cluster
from tidemill_operator.core.lease import Candidate, Record
from tidemill_operator.errors import ApiUnavailableError, LeadershipLostError
from tidemill_operator.governing import Government
from tidemill_operator.leadership import Leadership
from tidemill_operator.ray_api import HeadAddress, RayApi
from tidemill_operator.serve_api import ServeApi

HEAD = HeadAddress("127.0.0.1", "token", dashboard_port=9)


def fence(leads=True):
    """A leadership whose clock the test sets."""
    leadership = Leadership("me", clock=lambda: leadership.now)
    leadership.now = 0.0
    if leads:
        leadership.candidate = Candidate("me", Record("me", "t"), 0.0, renewed=0.0)
    return leadership


def test_it_is_open_while_the_lease_surely_is_ours_and_never_again():
    leadership = fence()
    assert leadership.open
    assert leadership.check() == 8.0
    leadership.now = 7.5
    assert leadership.check() == 0.5
    leadership.now = 8.0
    assert not leadership.open
    with pytest.raises(LeadershipLostError):
        leadership.check()
    assert leadership.broken.is_set()


def test_its_clock_goes_on_and_is_never_set():
    leadership = Leadership("me")
    assert leadership.clock() <= leadership.clock()


WRITES = {
    "create": lambda api: api.create(EVENTS, {"metadata": {"namespace": "team", "name": "a"}}),
    "delete": lambda api: api.delete(JOBS, "team", "a", "uid"),
    "status": lambda api: api.patch_status({"metadata": {"namespace": "t", "name": "a", "resourceVersion": "1"}}, {}),
    "merge": lambda api: api.merge(JOBS, "team", "a", {}),
    "patch": lambda api: api.patch(JOBS, "team", "a", []),
    "replace": lambda api: api.replace(LEASES, {"metadata": {"namespace": "team", "name": "a"}}),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_nothing_is_written_to_the_api_server_through_a_closed_fence(write):
    cluster = Cluster(Configuration(host="http://127.0.0.1:9"), fence(leads=False))
    try:
        with pytest.raises(LeadershipLostError):
            await write(cluster)
    finally:
        await cluster.close()


async def silent(_):
    await asyncio.sleep(60)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_a_write_is_not_waited_for_beyond_the_fence(write):
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", silent)
    leadership = fence()
    leadership.now = 7.9
    async with TestServer(app, host="127.0.0.1") as server:
        cluster = Cluster(Configuration(host=str(server.make_url(""))), leadership)
        try:
            with pytest.raises(ApiUnavailableError, match="Timeout"):
                await asyncio.wait_for(write(cluster), REQUEST_SECONDS / 2)
        finally:
            await cluster.close()


async def test_nothing_is_told_to_ray_through_a_closed_fence():
    async with RayApi(1.0, fence(leads=False)) as ray:
        with pytest.raises(LeadershipLostError):
            await ray.stop(HEAD, "submission")


TOLD = {
    "deploy": lambda serve: serve.deploy(HEAD, {}),
    "scale": lambda serve: serve.scale(HEAD, "engine", 1),
    "end": lambda serve: serve.end(HEAD),
}


@pytest.mark.parametrize("tell", TOLD.values(), ids=TOLD)
async def test_nothing_is_told_to_serve_through_a_closed_fence(tell):
    async with ServeApi(1.0, lambda: None, fence(leads=False)) as serve:
        with pytest.raises(LeadershipLostError):
            await tell(serve)


class Elector:
    """An election that is won and lost when the test says so."""

    def __init__(self, story):
        self.story = story
        self.won, self.lost = asyncio.Event(), asyncio.Event()

    async def win(self):
        await self.won.wait()
        self.story.append("won")

    async def keep(self):
        await self.lost.wait()
        raise LeadershipLostError("lost")

    async def release(self):
        self.story.append("released")


class Follower:
    """Says what is asked of it; its last decision takes a moment to end."""

    def __init__(self, story, name, fills=True):
        self.story, self.name, self.fills = story, name, fills

    async def fill(self):
        await asyncio.sleep(0 if self.fills else 10_000)
        self.story.append(f"{self.name} full")

    async def follow(self):
        await asyncio.Event().wait()

    async def serve(self):
        self.story.append(f"{self.name} served")
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1)
            self.story.append(f"{self.name} ended")


def governed(virtual_time, scene, **fills):
    """The story of a government in which this scene is played, and what came of it."""
    story = []

    async def play():
        elector = Elector(story)
        followers = tuple(Follower(story, name, full) for name, full in fills.items())
        government = Government(elector, followers, asyncio.Event())
        running = asyncio.create_task(government.run())
        await asyncio.sleep(1)
        await scene(elector, government)
        (outcome,) = await asyncio.gather(running, return_exceptions=True)
        assert government.released.is_set()
        return outcome

    return story, virtual_time(play())


def test_a_standby_fills_its_caches_and_decides_nothing(virtual_time):
    async def scene(_, government):
        await asyncio.sleep(100)
        government.stop.set()

    story, outcome = governed(virtual_time, scene, jobs=True, endpoints=True)
    assert story == ["jobs full", "endpoints full", "released"]
    assert outcome is None


def test_who_is_told_to_end_stops_deciding_before_another_may(virtual_time):
    async def scene(elector, government):
        elector.won.set()
        await asyncio.sleep(5)
        government.stop.set()

    story, outcome = governed(virtual_time, scene, jobs=True)
    assert story == ["jobs full", "won", "jobs served", "jobs ended", "released"]
    assert outcome is None


def test_who_lost_the_lease_ends_with_that(virtual_time):
    async def scene(elector, _):
        elector.won.set()
        await asyncio.sleep(5)
        elector.lost.set()

    story, outcome = governed(virtual_time, scene, jobs=True)
    assert story[-2:] == ["jobs ended", "released"]
    assert isinstance(outcome, LeadershipLostError)


def test_a_kind_that_cannot_be_seen_keeps_nobody_from_serving_the_other(virtual_time):
    async def scene(elector, government):
        elector.won.set()
        await asyncio.sleep(5)
        government.stop.set()

    story, _ = governed(virtual_time, scene, jobs=True, endpoints=False)
    assert story == ["jobs full", "won", "jobs served", "jobs ended", "released"]


def test_nobody_stands_for_election_who_sees_nothing_yet(virtual_time):
    async def scene(elector, government):
        elector.won.set()
        await asyncio.sleep(100)
        government.stop.set()

    story, _ = governed(virtual_time, scene, jobs=False)
    assert story == ["released"]
