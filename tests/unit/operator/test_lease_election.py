"""A candidate that asks and writes a Lease, in virtual time."""

import asyncio
import copy
import logging
from contextlib import suppress

import pytest

from tidemill_operator.cluster import Cluster
from tidemill_operator.config import Settings
from tidemill_operator.core.lease import GIVE_UP_SECONDS, LEASE_SECONDS, LOOK_SECONDS, RENEW_SECONDS
from tidemill_operator.election import LeaseElection, Place, identity_of
from tidemill_operator.errors import (
    ApiUnavailableError,
    ConflictError,
    LeadershipLostError,
    ObjectMissingError,
    RejectedError,
)
from tidemill_operator.leadership import Leadership

PLACE = Place("tidemill", "operator")


class Api(Cluster):
    """Stands for the API server and the way to it: one Lease, with versions. `fault` says what comes of a request."""

    def __init__(self):
        self.lease = {
            "metadata": {"namespace": "tidemill", "name": "operator", "resourceVersion": "1", "labels": {"a": "b"}},
            "spec": {"strategy": "OldestEmulationVersion"},
        }
        self.fault = None
        self.takes = 0.01
        self.writes = []

    async def get(self, resource, namespace, name):
        assert (resource.plural, namespace, name) == ("leases", "tidemill", "operator")
        await self._way()
        if self.lease is None:
            raise ObjectMissingError("no lease")
        return copy.deepcopy(self.lease)

    async def replace(self, resource, body):
        lost = self.fault == "answers are lost"
        await self._way()
        if self.lease is None:
            raise ObjectMissingError("no lease")
        if body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise ConflictError("modified")
        self.lease = copy.deepcopy(body)
        self.touch()
        self.writes.append((asyncio.get_running_loop().time(), body["spec"]["holderIdentity"]))
        if lost:
            raise ApiUnavailableError("the answer was lost")
        return copy.deepcopy(self.lease)

    async def _way(self):
        await asyncio.sleep(self.takes)
        if self.fault == "hangs":
            await asyncio.sleep(1000)
        if isinstance(self.fault, Exception):
            raise self.fault

    def touch(self):
        self.lease["metadata"]["resourceVersion"] = str(int(self.lease["metadata"]["resourceVersion"]) + 1)

    @property
    def holder(self):
        return self.lease["spec"].get("holderIdentity")


def candidate(api, name="me"):
    leadership = Leadership(name, clock=lambda: asyncio.get_running_loop().time())
    return LeaseElection(api, PLACE, leadership), leadership


def now():
    return asyncio.get_running_loop().time()


async def elected(api, name="me"):
    election, leadership = candidate(api, name)
    await election.win()
    assert leadership.open
    return election, leadership, asyncio.create_task(election.keep())


async def ended(keeping, seconds=60):
    """When and why it was lost."""
    with pytest.raises(LeadershipLostError) as lost:
        await asyncio.wait_for(keeping, seconds)
    return now(), str(lost.value)


async def stopped(task):
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def test_one_of_two_leads_for_as_long_as_it_renews(virtual_time):
    async def story():
        api = Api()
        _, leadership, keeping = await elected(api)
        other, theirs = candidate(api, "you")
        waiting = asyncio.create_task(other.win())
        for _ in range(100):
            await asyncio.sleep(1)
            assert leadership.open
            assert not theirs.open
        assert {holder for _, holder in api.writes} == {"me"}
        assert api.lease["spec"]["leaseTransitions"] == 1
        assert api.lease["spec"]["strategy"] == "OldestEmulationVersion", "fields of others stay"
        assert api.lease["metadata"]["labels"] == {"a": "b"}
        pauses = [after - before for (before, _), (after, _) in zip(api.writes, api.writes[1:], strict=False)]
        assert max(pauses) == pytest.approx(RENEW_SECONDS, abs=0.1)
        await asyncio.gather(stopped(keeping), stopped(waiting))

    virtual_time(story())


def test_a_lease_that_is_given_up_is_taken_at_the_next_look(virtual_time):
    async def story():
        api = Api()
        election, leadership, keeping = await elected(api)
        other, theirs = candidate(api, "you")
        waiting = asyncio.create_task(other.win())
        await asyncio.sleep(5)
        await stopped(keeping)
        api.touch()  # a renewal that was broken off had come through
        await election.release()
        released = now()
        assert not leadership.open
        await waiting
        assert theirs.open
        assert now() - released <= LOOK_SECONDS + 0.1
        assert api.holder == "you"

    virtual_time(story())


def test_a_leader_that_is_gone_without_a_word_is_replaced_after_its_lease(virtual_time):
    async def story():
        api = Api()
        _, _, keeping = await elected(api)
        other, _ = candidate(api, "you")
        waiting = asyncio.create_task(other.win())
        await asyncio.sleep(5)
        await stopped(keeping)
        last = api.writes[-1][0]
        await waiting
        assert LEASE_SECONDS <= now() - last < LEASE_SECONDS + 2 * LOOK_SECONDS + 0.2

    virtual_time(story())


@pytest.mark.parametrize("fault", ["hangs", ApiUnavailableError("away"), RejectedError("forbidden")], ids=repr)
def test_a_leader_that_cannot_renew_ends_before_its_lease_does(fault, virtual_time, caplog):
    async def story():
        api = Api()
        election, leadership, keeping = await elected(api)
        await asyncio.sleep(5)
        api.fault, last = fault, api.writes[-1][0]
        at, why = await ended(keeping)
        assert GIVE_UP_SECONDS - 0.1 <= at - last < GIVE_UP_SECONDS + LOOK_SECONDS + 0.1
        assert "could not be renewed for" in why
        api.fault, before = None, len(api.writes)
        await asyncio.sleep(2)
        assert not leadership.open
        await election.release()
        assert len(api.writes) == before, "another may hold it by now"

    with caplog.at_level(logging.WARNING):
        virtual_time(story())
    assert len({record.message for record in caplog.records}) <= 4, "each fault is said once"


def test_an_api_server_that_takes_seconds_keeps_its_leader(virtual_time):
    async def story():
        api = Api()
        _, leadership, keeping = await elected(api)
        api.takes = 3.0
        for _ in range(100):
            await asyncio.sleep(1)
            assert leadership.open
        await stopped(keeping)

    virtual_time(story())


def test_faults_that_pass_cost_nothing(virtual_time):
    async def story():
        api = Api()
        _, leadership, keeping = await elected(api)
        for fault in (ApiUnavailableError("a bad moment"), None, "answers are lost", None) * 10:
            api.fault = fault
            await asyncio.sleep(2.5)
            assert leadership.open
            api.touch()  # somebody labels it
        assert not keeping.done()
        assert api.lease["spec"]["leaseTransitions"] == 1
        await stopped(keeping)

    virtual_time(story())


def test_a_win_whose_answer_was_lost_is_a_win(virtual_time):
    async def story():
        api = Api()
        api.fault = "answers are lost"
        election, leadership = candidate(api)
        winning = asyncio.create_task(election.win())
        await asyncio.sleep(0.5)
        assert api.holder == "me"
        assert not leadership.open
        api.fault = None
        await asyncio.wait_for(winning, 2)
        assert leadership.open
        assert api.lease["spec"]["leaseTransitions"] == 1

    virtual_time(story())


def test_a_leader_that_finds_another_in_the_lease_ends_at_once_and_leaves_it(virtual_time):
    async def story():
        api = Api()
        election, _, keeping = await elected(api)
        api.lease["spec"]["holderIdentity"] = "you"
        api.touch()
        at, why = await ended(keeping)
        assert at < RENEW_SECONDS + 0.5
        assert "is held by you" in why
        await election.release()
        assert api.holder == "you"

    virtual_time(story())


def test_a_write_that_was_not_let_through_ends_the_leader_at_once(virtual_time):
    async def story():
        api = Api()
        _, leadership, keeping = await elected(api)
        leadership.clock = lambda: 1000.0  # it was stopped for so long
        with pytest.raises(LeadershipLostError, match="nothing was written"):
            leadership.check()
        before = now()
        assert (await ended(keeping))[0] - before < 0.1
        assert len(api.writes) <= 2

    virtual_time(story())


def test_a_lease_that_is_missing_is_said_once_and_taken_when_it_comes(virtual_time, caplog):
    async def story():
        api = Api()
        lease, api.lease = api.lease, None
        election, leadership = candidate(api)
        winning = asyncio.create_task(election.win())
        await asyncio.sleep(60)
        assert not leadership.open
        api.lease = lease
        await asyncio.wait_for(winning, 2)

    with caplog.at_level(logging.WARNING):
        virtual_time(story())
    (said,) = (record.message for record in caplog.records)
    assert "there is no Lease tidemill/operator" in said
    assert "helm upgrade" in said


def test_one_that_never_led_gives_nothing_up(virtual_time):
    async def story():
        api = Api()
        election, _ = candidate(api)
        await election.release()
        assert api.writes == []

    virtual_time(story())


def test_no_two_processes_have_the_same_identity():
    settings = Settings(pod_name="tidemill-0")
    assert len({identity_of(settings) for _ in range(100)}) == 100
    assert identity_of(settings).startswith("tidemill-0_")
