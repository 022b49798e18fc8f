"""An engine replica whose engine stands still: it ends itself, its requests are failed by frame, and others go on.

What would end this process is noted in its place, and Serve's stand-in leads nobody there any more.
"""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import openai
import pytest
from serving_world import World, config, until

from tidemill_api import endpoint_contract as contract
from tidemill_workloads.serving import engine_replica

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from serving_world import Ingress

    from tidemill_workloads.serving.engine_replica import EngineReplica

pytestmark = pytest.mark.timeout(60)

STALL_SECONDS = 1.5
"""Long enough that a busy machine is not taken for a hung engine."""


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ports").mkdir()
    monkeypatch.setenv("TIDEMILL_TEST_PORTS_FOLDER", str(tmp_path / "ports"))
    monkeypatch.setenv("TIDEMILL_ENGINE", "paced_server:create")
    monkeypatch.setenv("TIDEMILL_TEST_TOKEN_SECONDS", "0.03")
    monkeypatch.setenv("TIDEMILL_TEST_STALL_SECONDS", str(STALL_SECONDS))
    monkeypatch.setattr(engine_replica, "LOOK_SECONDS", 0.02)


@dataclass
class Deaths:
    """In the place of os.kill: the world has one process, so it is told which of its replicas hangs."""

    world: World
    hung: EngineReplica | None = None
    signals: list[int] = field(default_factory=list)

    def kill(self, pid: int, number: int) -> None:
        assert pid == os.getpid()
        self.signals.append(number)
        if self.hung in self.world.serve.replicas:
            self.world.serve.replicas.remove(self.hung)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World(config(max_sequences=32)) as made:
        yield made


@pytest.fixture
def deaths(world: World, monkeypatch: pytest.MonkeyPatch) -> Deaths:
    found = Deaths(world)
    monkeypatch.setattr(os, "kill", found.kill)
    return found


async def chat(ingress: Ingress, prompt: str = "hello", tokens: int = 4, **more: Any) -> Any:
    messages: Any = [{"role": "user", "content": prompt}]
    return await ingress.client.chat.completions.create(model="m", messages=messages, max_tokens=tokens, **more)


async def test_a_hung_engine_ends_itself_and_what_it_had_not_begun_to_answer_is_answered_by_another(
    world: World, deaths: Deaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaths.hung = await world.engine("engine-1")
    ingress = await world.ingress()
    stream = await chat(ingress, "hang", 10, stream=True)
    await anext(aiter(stream))
    whole = [asyncio.create_task(chat(ingress)) for _ in range(5)]
    await until(lambda: ingress.figure(contract.METRIC_WAITING) == 5)
    monkeypatch.setenv("TIDEMILL_TEST_STALL_SECONDS", "60")  # however busy this machine is, the other one lives
    await world.engine("engine-2")
    others = [asyncio.create_task(chat(ingress, tokens=60)) for _ in range(12)]
    with pytest.raises(openai.APIError, match="was lost"):
        async for _ in stream:
            pass
    answers = await asyncio.gather(*whole)
    assert [answer.choices[0].message.content for answer in answers] == ["0 1 2 3"] * 5
    assert [len(answer.choices[0].message.content.split()) for answer in await asyncio.gather(*others)] == [60] * 12
    assert set(deaths.signals) == {signal.SIGKILL}


async def test_an_engine_with_nothing_to_do_is_not_taken_for_hung(world: World, deaths: Deaths) -> None:
    await world.engine()
    ingress = await world.ingress()
    await chat(ingress)
    await asyncio.sleep(1.5 * STALL_SECONDS)
    await chat(ingress)
    assert deaths.signals == []


async def test_clients_that_give_up_do_not_excuse_a_hung_engine(world: World, deaths: Deaths) -> None:
    """Each of them is there for less than the limit: it is their times together that count."""
    deaths.hung = await world.engine()
    ingress = await world.ingress()
    stream = await chat(ingress, "hang", 10, stream=True)
    await anext(aiter(stream))
    await stream.close()
    impatient = ingress.client.with_options(timeout=STALL_SECONDS / 3)
    messages: Any = [{"role": "user", "content": "hello"}]
    for _ in range(8):
        if not deaths.signals:
            with pytest.raises(openai.APIError):
                await impatient.chat.completions.create(model="m", messages=messages)
    await until(lambda: bool(deaths.signals))
