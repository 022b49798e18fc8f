"""An engine that does not come up: its start ends in words all the same. The engines here stand for vLLM that hangs."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from serving_world import config, until

from tidemill_api import endpoint_contract as contract
from tidemill_workloads.serving import engine_replica, start_limit
from tidemill_workloads.serving.engine_replica import EngineReplica
from tidemill_workloads.serving.figures import Labels
from tidemill_workloads.serving.start_log import last_words
from tidemill_workloads.serving.start_problems import late_problem

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def ports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TIDEMILL_TEST_PORTS_FOLDER", str(tmp_path))


async def waits_for_ever(_: Any) -> None:
    """Hangs as a coroutine."""
    await asyncio.Event().wait()


async def waits_for_its_process(_: Any) -> None:
    """Hangs as vLLM does: its engine core is another process, and the event loop stands while that is waited for."""
    core = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,))
    core.start()
    core.join()
    raise RuntimeError(f"Engine core initialization failed. Failed core proc(s): {{'EngineCore': {core.exitcode}}}")


@pytest.mark.parametrize("start", [waits_for_ever, waits_for_its_process])
async def test_an_engine_that_hangs_at_its_start_is_given_up_and_told_of(
    monkeypatch: pytest.MonkeyPatch, start: Any
) -> None:
    async def close() -> None:
        pass

    engine = SimpleNamespace(start=start, close=close)
    monkeypatch.setattr(engine_replica, "create_engine", lambda _: engine)
    replica = EngineReplica(config(start_seconds=2), Labels("team/chat", "r1", "engine-1"))
    with pytest.raises(RuntimeError) as raised:
        await replica.start()
    problem = contract.EngineProblem.from_text(str(raised.value))
    assert problem is not None
    assert problem.reason == "ModelNotLoadable"
    assert "the engine has not started within 2 s (upgrade.progressDeadlineSeconds)" in problem.message
    assert multiprocessing.active_children() == []


async def test_where_nothing_else_helps_the_process_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *what: ended.append(what))
    monkeypatch.setattr(start_limit, "GRACE_SECONDS", 0.1)
    with start_limit.start_limit(0.1):
        await until(lambda: ended == [(os.getpid(), signal.SIGKILL)])


def test_a_start_in_time_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("killed"))
    monkeypatch.setattr(start_limit, "GRACE_SECONDS", 0.0)
    with start_limit.start_limit(0.2):
        pass
    time.sleep(0.4)


def test_the_last_that_an_engine_said_stands_in_the_message() -> None:
    log = "INFO: one\n(EngineCore pid=4711) INFO 11-22 13:00:00 [loader.py:5] Loading weights\n\n"
    assert last_words(log) == "Loading weights"
    assert "within 1800 s" in late_problem(1800, log).message
    assert "the last that it said is: Loading weights;" in late_problem(1800, log).message
    assert "it said nothing" in late_problem(1800, " \n").message
