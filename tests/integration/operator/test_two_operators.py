"""Two operators behind one Lease, on a real API server: one of them decides, whatever becomes of the other."""

import asyncio
import signal
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from api_proxy import ApiProxy
from integration.operator.conftest import JOBS, OperatorProcess, eventually, job
from integration.operator.test_jobs import answered, driver_up

from devcluster.client import Resource

LEASES = Resource("coordination.k8s.io", "v1", "leases")

TAKEOVER_SECONDS = 15.0
"""Within so long after a leader was lost another decides."""

EXIT_LOST = 3
MANY = 20


@dataclass
class Candidate:
    """One operator pod, on a node whose wire to the API server can be cut."""

    name: str
    process: OperatorProcess
    proxy: ApiProxy

    def told(self, words):
        return words in self.process.log.read_text()


@dataclass
class Electorate:
    """Both candidates and the Lease, as a Deployment of two replicas has them."""

    world: object
    candidates: dict[str, Candidate]
    moments: list[float] = field(default_factory=list)

    async def start(self, name):
        lease = {"TIDEMILL_LEASE_NAME": "tidemill", "TIDEMILL_OPERATOR_NAMESPACE": self.world.namespace}
        await self.candidates[name].process.start(**lease, TIDEMILL_POD_NAME=name)

    async def spec(self):
        return (await self.world.client.get(LEASES, self.world.namespace, "tidemill")).get("spec") or {}

    async def holder(self):
        """The name of the pod that holds the Lease; empty where none does."""
        return (await self.spec()).get("holderIdentity", "").rpartition("_")[0]

    async def holds_no_more(self, identity):
        return (await self.spec())["holderIdentity"] != identity

    async def leader(self, but=""):
        """The candidate that holds the Lease and is not this one, as soon as there is one."""

        async def held():
            found = await self.holder()
            return found if found not in ("", but) else ""

        return self.candidates[await eventually(held, seconds=60)]

    async def decides(self, candidate, seconds=60.0):
        """Waits until this candidate wrote an answer to an edit that was made just now: (when, after how long)."""
        loop = asyncio.get_running_loop()
        began = loop.time()

        async def answered_edit():
            return any("/status" in write.path for write in candidate.proxy.writes_since(began))

        await edit(self.world, "tickets", round(began * 1000) % 97 + 1)
        await eventually(answered_edit, seconds=seconds)
        return loop.time()


async def edit(world, name, most):
    """A person changes the bound of a job's workers: its status has to say that this was seen."""
    await world.client.patch(JOBS, world.namespace, name, {"spec": {"workers": {"max": most}}})


@pytest_asyncio.fixture
async def electorate(world, cluster, tmp_path):
    """Two operators, a first, instead of the world's lone one."""
    await world.operator.stop()
    candidates = {}
    for name in ("a", "b"):
        proxy = ApiProxy(cluster.kubeconfig, tmp_path, name)
        await proxy.start()
        process = OperatorProcess(proxy.kubeconfig, world.namespace, tmp_path / f"{name}.log")
        candidates[name] = Candidate(name, process, proxy)
    made = Electorate(world, candidates)
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "tidemill"}}
    await world.client.create(LEASES, world.namespace, lease)
    for name in candidates:
        await made.start(name)
    yield made
    for candidate in candidates.values():
        candidate.process.send(signal.SIGCONT)
        if candidate.process.running:
            await candidate.process.stop()
        await candidate.proxy.cut()


@pytest.fixture
def figure(record_property):
    """Tells a measured figure, as that of the end-to-end tests does."""

    def tell(what, value, unit="s"):
        record_property("figure", f"{what} {value:.2f} {unit}")

    return tell


@pytest_asyncio.fixture
async def load(electorate):
    """Many jobs at work, and people who edit one after another all the time: a leader always has something to write."""
    world = electorate.world
    world.head.one_token = False
    names = [f"tickets-{number}" for number in range(MANY)]
    for name in ("tickets", *names):
        await world.apply(job(name))

    async def all_submitted():
        return len(world.head.submissions) == MANY + 1

    await eventually(all_submitted, seconds=90)

    async def people():
        for most in range(1, 1_000_000):
            await edit(world, names[most % MANY], most % 90 + 1)
            await asyncio.sleep(0.03)

    editing = asyncio.create_task(people())
    yield names
    editing.cancel()
    with suppress(asyncio.CancelledError):
        await editing


async def nothing_is_lost_or_doubled(world, names, editing_over):
    """Each job has one cluster and one driver, and the newest edit of each is in its status."""
    await editing_over

    async def all_seen():
        found, _ = await world.client.list(JOBS, world.namespace)
        seen = [one["status"]["observedGeneration"] == one["metadata"]["generation"] for one in found]
        return len(seen) == MANY + 1 and all(seen)

    await eventually(all_seen)
    assert len(await world.clusters()) == MANY + 1
    assert len(await world.secrets()) == MANY + 1
    assert world.head.posts == MANY + 1
    assert world.head.stops == []


async def test_a_leader_that_is_told_to_end_hands_over_at_once(electorate, figure):
    world = electorate.world
    first = await electorate.leader()
    await world.apply(job())
    await driver_up(world)
    (second,) = (one for one in electorate.candidates.values() if one is not first)
    assert second.process.running
    assert [write for write in second.proxy.writes if "/leases/" not in write.path] == []

    before = asyncio.get_running_loop().time()
    first.process.send(signal.SIGTERM)
    assert await electorate.leader(but=first.name) is second
    decided = await electorate.decides(second)
    assert await first.process.stop() == 0
    figure("handed over and decided after", decided - before)
    assert decided - before < 5
    assert first.proxy.writes_since(before)[-1].path.endswith("/leases/tidemill"), "the last that it wrote"
    assert (await electorate.spec())["leaseTransitions"] == 2

    world.head.finish(answered(1))
    await world.until_condition("Finished", ("True", "AllRowsAnswered"))
    assert world.head.posts == 1


async def test_a_missing_lease_is_said_and_waited_for(electorate):
    world, first = electorate.world, await electorate.leader()
    await world.client.delete(LEASES, world.namespace, "tidemill")
    (other,) = (one for one in electorate.candidates.values() if one is not first)
    await eventually(lambda: true(not first.process.running), seconds=10)
    assert first.told("is gone: this operator decides and writes nothing more")
    await eventually(lambda: true(other.told("the chart makes it (helm upgrade)")))
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "tidemill"}}
    await world.client.create(LEASES, world.namespace, lease)
    assert await electorate.leader() is other
    await world.apply(job())
    await driver_up(world)


async def true(value):
    return value


@pytest.mark.all
async def test_a_leader_that_is_killed_under_load_is_replaced_and_nothing_is_lost(electorate, load, figure):
    first = await electorate.leader()
    before = asyncio.get_running_loop().time()
    await first.process.stop(by=signal.SIGKILL)
    second = await electorate.leader(but=first.name)
    decided = await electorate.decides(second)
    figure("killed: another decided after", decided - before)
    assert decided - before < TAKEOVER_SECONDS
    await nothing_is_lost_or_doubled(electorate.world, load, asyncio.sleep(0))


@pytest.mark.all
async def test_a_leader_that_was_stopped_past_its_lease_ends_and_writes_nothing(electorate, load, figure):
    first = await electorate.leader()
    before = asyncio.get_running_loop().time()
    first.process.send(signal.SIGSTOP)
    second = await electorate.leader(but=first.name)
    decided = await electorate.decides(second)
    figure("stopped: another decided after", decided - before)
    assert decided - before < TAKEOVER_SECONDS
    await asyncio.sleep(3)

    goes_on = asyncio.get_running_loop().time()
    first.process.send(signal.SIGCONT)
    assert await asyncio.wait_for(first.process.ended(), timeout=15) == EXIT_LOST
    ended = asyncio.get_running_loop().time()
    figure("went on: ended after", ended - goes_on)
    assert first.proxy.writes_since(goes_on) == []
    assert first.told("this operator decides and writes nothing more, and ends")
    await nothing_is_lost_or_doubled(electorate.world, load, asyncio.sleep(0))
    assert second.process.running


@pytest.mark.all
async def test_a_leader_without_an_api_server_ends_and_one_decides_when_it_is_back(electorate, load):
    first = await electorate.leader()
    (second,) = (one for one in electorate.candidates.values() if one is not first)
    held_before = (await electorate.spec())["holderIdentity"]
    await asyncio.gather(first.proxy.cut(), second.proxy.cut())
    away = asyncio.get_running_loop().time()
    assert await asyncio.wait_for(first.process.ended(), timeout=15) == EXIT_LOST
    assert first.told("could not be renewed for")
    await electorate.start(first.name)  # as a kubelet does
    await asyncio.sleep(max(30 - (asyncio.get_running_loop().time() - away), 0))
    assert second.process.running
    await asyncio.gather(first.proxy.start(), second.proxy.start())

    await eventually(lambda: electorate.holds_no_more(held_before))
    leads = await electorate.leader()
    await electorate.decides(leads)
    await nothing_is_lost_or_doubled(electorate.world, load, asyncio.sleep(0))
    (other,) = (one for one in electorate.candidates.values() if one is not leads)
    since = asyncio.get_running_loop().time()
    await asyncio.sleep(5)
    assert [write for write in other.proxy.writes_since(since) if "/leases/" not in write.path] == []
