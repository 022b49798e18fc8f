"""The way to the ledger while Ray's head is away: nobody waits long for it, and it is found again."""

from __future__ import annotations

import asyncio
import threading
import time
import warnings

import pytest

from tidemill_workloads.serving.admission import LedgerUnreachable
from tidemill_workloads.serving.ledger import Ledger, Share

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # ray.serve's own, as it is imported
    from tidemill_workloads.serving import ledger_actor
    from tidemill_workloads.serving.ledger_actor import LedgerClient

pytestmark = pytest.mark.timeout(30)


class Actor:
    """Stands for Ray's handle of the ledger."""

    def __init__(self) -> None:
        self.exchange = self
        self.away = False

    async def remote(self, replica: str, waiting: int, asked: int, bound: int) -> Share:
        if self.away:
            await asyncio.sleep(3600)
        return Ledger().exchange(replica, waiting, asked, bound, time.monotonic())


async def test_a_search_that_stands_still_holds_nobody_up_and_its_result_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    head_is_back, searches = threading.Event(), []

    def search() -> Actor:
        searches.append(time.monotonic())
        head_is_back.wait()
        return Actor()

    monkeypatch.setattr(ledger_actor, "_get_or_make", search)
    monkeypatch.setattr(ledger_actor, "ANSWER_SECONDS", 0.1)
    client = LedgerClient("ingress-1")
    for _ in range(3):
        with pytest.raises(LedgerUnreachable, match="TimeoutError"):
            await client.exchange(0, 1, 10)
    head_is_back.set()
    await asyncio.sleep(0.2)
    assert (await client.exchange(0, 1, 10)).granted == 1
    assert len(searches) == 1


async def test_a_ledger_that_falls_silent_is_searched_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    actors = [Actor(), Actor()]
    monkeypatch.setattr(ledger_actor, "_get_or_make", iter(actors).__next__)
    monkeypatch.setattr(ledger_actor, "ANSWER_SECONDS", 0.1)
    client = LedgerClient("ingress-1")
    await client.exchange(0, 0, 10)
    actors[0].away = True
    with pytest.raises(LedgerUnreachable, match="TimeoutError"):
        await client.exchange(0, 1, 10)
    assert (await client.exchange(0, 1, 10)).granted == 1


async def test_a_search_that_fails_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    found = iter([ValueError("its name is just being freed"), Actor()])

    def search() -> Actor:
        made = next(found)
        if isinstance(made, ValueError):
            raise made
        return made

    monkeypatch.setattr(ledger_actor, "_get_or_make", search)
    client = LedgerClient("ingress-1")
    with pytest.raises(LedgerUnreachable, match="ValueError"):
        await client.exchange(0, 0, 10)
    assert (await client.exchange(0, 1, 10)).granted == 1
