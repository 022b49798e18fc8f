"""The controller's small parts: its memory of unseen writes, and its queue."""

import asyncio

from devcluster.kuberay.expectations import CREATION_TIMEOUT_SECONDS, Expectations
from devcluster.kuberay.work_queue import KeyedQueue

DEMO = ("team", "demo")
OTHER = ("team", "other")


def test_a_created_pod_is_waited_for_until_it_is_seen():
    memory = Expectations()
    memory.created(DEMO, "workers", "w0", now=10)
    assert memory.waiting(DEMO, "workers", set(), now=11)
    assert not memory.waiting(DEMO, "headgroup", set(), now=11)
    assert not memory.waiting(OTHER, "workers", set(), now=11)
    assert not memory.waiting(DEMO, "workers", {"w0"}, now=11)
    assert not memory.waiting(DEMO, "workers", set(), now=12)


def test_a_created_pod_that_never_shows_up_is_given_up():
    memory = Expectations()
    memory.created(DEMO, "workers", "w0", now=10)
    assert memory.waiting(DEMO, "workers", set(), now=10 + CREATION_TIMEOUT_SECONDS)
    assert not memory.waiting(DEMO, "workers", set(), now=10.1 + CREATION_TIMEOUT_SECONDS)


def test_a_deleted_pod_is_waited_for_as_long_as_it_takes():
    memory = Expectations()
    memory.deleted(DEMO, "workers", "w0")
    assert memory.waiting(DEMO, "workers", {"w0"}, now=1e6)
    assert not memory.waiting(DEMO, "workers", set(), now=1e6)


def test_a_cluster_that_is_gone_is_forgotten():
    memory = Expectations()
    memory.deleted(DEMO, "workers", "w0")
    memory.forget(DEMO)
    assert not memory.waiting(DEMO, "workers", {"w0"}, now=0)


async def test_a_key_waits_once_however_often_it_is_added():
    queue = KeyedQueue()
    for _ in range(3):
        queue.add(DEMO)
    queue.add(OTHER)
    assert [await queue.get(), await queue.get()] == [DEMO, OTHER]
    assert await nothing_waits(queue)


async def test_a_key_added_during_its_work_comes_again_after_it():
    queue = KeyedQueue()
    queue.add(DEMO)
    await queue.get()
    queue.add(DEMO)
    assert await nothing_waits(queue)
    queue.done(DEMO)
    assert await queue.get() == DEMO


async def test_an_appointment_is_dropped_when_the_key_comes_earlier():
    queue = KeyedQueue()
    queue.add_later(DEMO, 0.02)
    queue.add(DEMO)
    assert await queue.get() == DEMO
    queue.done(DEMO)
    await asyncio.sleep(0.04)
    assert await nothing_waits(queue)


async def test_an_appointment_is_kept():
    queue = KeyedQueue()
    queue.add_later(DEMO, 0.01)
    assert await asyncio.wait_for(queue.get(), 1) == DEMO


async def nothing_waits(queue):
    try:
        await asyncio.wait_for(queue.get(), 0.01)
    except TimeoutError:
        return True
    return False
