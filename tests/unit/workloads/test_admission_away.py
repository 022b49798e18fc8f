"""The door of an ingress while the ledger does not answer: it waits for that once, and not once a request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tidemill_workloads.serving import admission
from tidemill_workloads.serving.admission import Admission, LedgerUnreachable
from tidemill_workloads.serving.desk import Desk
from tidemill_workloads.serving.ledger import Share

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.timeout(30)

BOUND = 100


class SlowLedger:
    """Stands for the ledger of two ingress replicas; while it is away it answers when it is told that it failed."""

    def __init__(self) -> None:
        self.away = False
        self.fails = asyncio.Event()
        self.asked: list[int] = []

    async def exchange(self, waiting: int, asked: int, bound: int) -> Share:
        self.asked.append(asked)
        if self.away:
            await self.fails.wait()
            raise LedgerUnreachable("made to be away")
        return Share(asked, 2)


@pytest.fixture
async def ledger() -> SlowLedger:
    return SlowLedger()


@pytest.fixture
async def door(ledger: SlowLedger, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Admission]:
    monkeypatch.setattr(admission, "AWAY_SECONDS", 0.01)
    made = Admission(ledger, Desk())
    made.bound = BOUND
    running = asyncio.create_task(made.run())
    async with asyncio.timeout(5):
        while not ledger.asked:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)
    yield made
    running.cancel()


def ask(door: Admission) -> asyncio.Task[bool]:
    return asyncio.create_task(door.admit(door._desk.arrive(0.0)))


async def test_only_those_that_ask_while_it_falls_silent_wait_for_it(door: Admission, ledger: SlowLedger) -> None:
    ledger.away = True
    first = [ask(door) for _ in range(20)]  # a few are its own, for the others it asks
    await asyncio.sleep(0.1)
    meanwhile = ask(door)
    await asyncio.sleep(0.1)
    assert not meanwhile.done()
    ledger.fails.set()
    assert await asyncio.wait_for(asyncio.gather(*first, meanwhile), 1) == [True] * 21
    ledger.fails.clear()
    told = len(ledger.asked)
    for number in range(22, BOUND):
        later = ask(door)
        await asyncio.sleep(0)
        assert later.done(), "decided at once"
        assert later.result() is (number <= BOUND // 2), "and by the fair share of two"
    assert set(ledger.asked[told:]) <= {0}


async def test_it_is_asked_on_in_the_background_and_counts_again_once_it_answers(
    door: Admission, ledger: SlowLedger
) -> None:
    ledger.away = True
    ledger.fails.set()
    refused = [ask(door) for _ in range(BOUND)]
    await asyncio.wait_for(asyncio.gather(*refused), 5)
    assert door._desk.waiting == BOUND // 2
    ledger.away = False
    async with asyncio.timeout(5):
        while not await ask(door):  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)
    assert door._desk.waiting == BOUND // 2 + 1
