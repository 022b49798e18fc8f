"""Operators of endpoints that are killed in the middle of something, and two of them at once."""

import asyncio
import signal

import pytest_asyncio
from integration.operator.conftest import OperatorProcess, eventually
from integration.operator.test_endpoints import _replicas, _targets, applied, up, world

from tidemill_api import labels

__all__ = ["world"]  # a fixture

OTHER_MODEL = {"source": "HuggingFaceTB/SmolLM2-360M-Instruct"}


async def killed_and_back(world, seconds=1.0):
    """The operator dies at once; the cluster goes on for a while without one; another comes."""
    await world.operator.stop(by=signal.SIGKILL)
    await asyncio.sleep(seconds)
    await world.operator.start()


async def stands(world, count):
    return len(await world.clusters()) == count


@pytest_asyncio.fixture
async def second(world, account, tmp_path):
    """Another operator beside the world's own, as while a Deployment is rolled or where a lease is held by two."""
    operator = OperatorProcess(account.kubeconfig, world.namespace, tmp_path / "second.log")
    await operator.start()
    yield operator
    await operator.stop()


async def test_a_scale_up_is_finished_by_the_next_operator_and_not_begun_twice(world):
    await up(world)
    world.ray().waiting = 30
    await eventually(lambda: _replicas(world, [3]))
    await killed_and_back(world)
    await eventually(lambda: _targets(world, 3))
    await world.until("Progressing", ("False", "Settled"))
    assert await world.replicas() == [3]
    assert len(world.ray().workers) == 3


async def test_a_rollout_is_finished_by_the_next_operators_wherever_each_was_killed(world):
    await up(world)
    before = await world.serving()
    await world.edit(model=OTHER_MODEL)
    await eventually(lambda: stands(world, 2))
    await killed_and_back(world)

    async def moved():
        return await world.serving() not in ("", before)

    await eventually(moved)
    await killed_and_back(world)
    await eventually(lambda: stands(world, 1))
    await world.until("Progressing", ("False", "Settled"))
    (left,) = await world.clusters()
    assert left["metadata"]["labels"][labels.REVISION] == await world.serving() != before


async def test_two_operators_at_once_do_what_one_does(world, second):
    await applied(world)
    await world.until("Progressing", ("False", "Settled"), seconds=90)
    world.ray().waiting = 30
    await eventually(lambda: _targets(world, 3))
    assert await world.replicas() == [3]
    world.ray().waiting = 0
    await eventually(lambda: _targets(world, 1))
    assert len(world.ray().workers) >= 1, "they never name more pods than are to go"
    before = await world.serving()
    await world.edit(model=OTHER_MODEL)
    await eventually(lambda: stands(world, 2))
    await eventually(lambda: stands(world, 1))
    await world.until("Progressing", ("False", "Settled"))
    assert await world.serving() not in ("", before)
    assert await world.replicas() == [1]
    assert (await world.condition("Ready"))[0] == "True"
    for operator in (world.operator, second):
        assert operator.running
        assert "Traceback" not in operator.log.read_text()
