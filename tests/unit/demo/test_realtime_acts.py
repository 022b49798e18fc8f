"""The acts of the realtime demo, against a small endpoint that grows, shrinks, sleeps and wakes in no time.

`SmallEndpoint` stands for cluster, operator and model: an HTTP server on loopback, and the versions that kubectl would
show of its object. The real ones are in tests/demo/test_realtime_demo.py.
"""

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from rich.console import Console

from demo.errors import DemoError
from demo.manifests import load_manifest
from demo.realtime import acts, endpoint
from demo.realtime.acts import Acts
from demo.realtime.endpoint import KIND, DemoEndpoint, render
from demo.realtime.observing import Condition, Seen, Timeline
from demo.stage import EXAMPLES, MODELS, Stage

KEY = "the-key"
IDLE_LOOKS = 25
USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}


def chunk(**fields: Any) -> bytes:
    made = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": []} | fields
    return b"data: " + json.dumps(made).encode() + b"\n\n"


class SmallEndpoint:
    """Two replicas from 17 requests on, one once a user has asked a few times alone, none some looks after the last.

    It counts looks and requests, not seconds, so that a busy machine changes nothing.
    """

    most_answering = 2

    def __init__(self, *, keys: bool = True, fails_at: int = -1) -> None:
        self.timeline = Timeline()
        self.in_flight = self.asked = self.wanted = self.answering = 0
        self._keys, self._fails_at = keys, fails_at
        self._idle = self._alone_since = 0
        self._awake = asyncio.Event()

    async def models(self, request: web.Request) -> web.Response:
        if self._keys and request.headers["Authorization"] != f"Bearer {KEY}":
            error = {"message": "Incorrect API key provided.", "code": "invalid_api_key"}
            return web.json_response({"error": error}, status=401)
        return web.json_response({"object": "list", "data": []})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        self.in_flight, self.asked = self.in_flight + 1, self.asked + 1
        number = self.asked
        try:
            await self._awake.wait()
            if number == self._fails_at:
                return web.json_response({"error": {"message": "a bug"}}, status=500)
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            for piece, reason in (("well ", None), ("[/bold]", "stop")):
                await response.write(
                    chunk(choices=[{"index": 0, "delta": {"content": piece}, "finish_reason": reason}])
                )
                await asyncio.sleep(0.02)
            await response.write(chunk(usage=USAGE) + b"data: [DONE]\n\n")
            return response
        finally:
            self.in_flight -= 1

    def tell(self, ready: str = "True") -> None:
        conditions = (Condition("Progressing", "True", "Scripted", ""), Condition("Ready", ready, "Serving", ""))
        self.timeline.versions.append((time.monotonic(), Seen(self.wanted, self.answering, "Healthy", conditions)))

    async def live(self) -> None:
        self.wanted = 1
        self.tell(ready="False")
        while True:
            await asyncio.sleep(0.02)
            self.answering = min(self.wanted, self.most_answering)
            self._awake.set() if self.answering else self._awake.clear()
            self.tell()
            self._idle = 0 if self.in_flight else self._idle + 1
            self.wanted = self._next_size()
            self.tell()

    def _next_size(self) -> int:
        if self._idle > IDLE_LOOKS:
            return 0
        if self.in_flight > 1:
            self._alone_since = self.asked
            return 2 if self.in_flight > 16 else max(self.wanted, 1)
        return 1 if self.in_flight and self.asked > self._alone_since + 3 else max(self.wanted, self.in_flight)


class SmallStage:
    """A stage whose kubectl knows one Service, and whose operator always lives."""

    def __init__(self, port: int) -> None:
        self.console = Console(file=io.StringIO(), width=200)
        self.kubectl, self._port = self, port

    def run(self, *words: str) -> str:
        assert words[:3] == ("get", "service", "chat")
        return json.dumps({"spec": {"clusterIP": "127.0.0.1", "ports": [{"port": self._port}]}})

    def check(self) -> None:
        pass

    def say(self, text: str) -> None:
        self.console.print(text, markup=False)

    step = say

    @property
    def said(self) -> str:
        return cast("io.StringIO", self.console.file).getvalue()


@asynccontextmanager
async def acting(endpoint: SmallEndpoint, key: str = KEY) -> AsyncIterator[tuple[Acts, SmallStage]]:
    application = web.Application()
    application.router.add_get("/v1/models", endpoint.models)
    application.router.add_post("/v1/chat/completions", endpoint.chat)
    async with TestServer(application, host="127.0.0.1") as server:
        stage = SmallStage(server.port or 0)
        life = asyncio.create_task(endpoint.live())
        try:
            yield Acts(cast("Stage", stage), chat(), endpoint.timeline, key), stage
        finally:
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)


def chat() -> DemoEndpoint:
    return render(load_manifest(EXAMPLES / "chat-endpoint.yaml", KIND), MODELS)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, seconds in {"LOOK_SECONDS": 0.01, "STUCK_SECONDS": 0.2}.items():
        monkeypatch.setattr(acts, name, seconds)
    monkeypatch.setattr(endpoint, "MOST_PAUSE_SECONDS", 0.05)
    return


async def test_all_acts_come_about_and_are_measured() -> None:
    async with acting(SmallEndpoint()) as (play, stage):
        await play.play()
    told = play.told
    assert told.refused == 401
    assert [part.replicas for part in told.stretches] == [1, 2]
    assert all(part.requests and part.tokens_per_second > 0 for part in told.stretches)
    assert 0 < told.decided_seconds <= told.grown_seconds
    assert told.calm_seconds > 0
    assert told.asleep_seconds > 0
    assert told.held_seconds > 0
    assert play.ledger.faults == []
    for words in ("well [/bold]", "a wrong key: 401", "2 replicas answer", "no replica", "held request was answered"):
        assert words in stage.said


async def test_a_request_of_the_burst_that_fails_is_counted() -> None:
    async with acting(SmallEndpoint(fails_at=9)) as (play, _):
        await play.play()
    assert len(play.ledger.faults) == 1


async def test_a_replica_that_never_comes_ends_the_demo_with_what_the_conditions_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(acts, "REPLICA_SECONDS", 0.3)
    monkeypatch.setattr(SmallEndpoint, "_next_size", lambda self: 2 if self.in_flight > 16 else 1)
    monkeypatch.setattr(SmallEndpoint, "most_answering", 1)
    async with acting(SmallEndpoint()) as (play, _):
        with pytest.raises(DemoError, match="2 replicas did not come about: Scripted"):
            await play.play()


async def test_an_endpoint_that_lets_a_wrong_key_in_ends_the_demo() -> None:
    async with acting(SmallEndpoint(keys=False)) as (play, _):
        with pytest.raises(DemoError, match="wrong key was let in"):
            await play.play()


async def test_what_has_to_be_mended_ends_the_demo_soon() -> None:
    async with acting(SmallEndpoint()) as (play, _):
        missing = Condition("Progressing", "False", "ModelNotFound", "/models/x is not there.")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Timeline, "seen", Seen(1, 0, "Unknown", (missing,)))
            with pytest.raises(
                DemoError, match=r"a ready endpoint did not come about: ModelNotFound: /models/x is not"
            ):
                await play.play()
