"""How an answer ends that did not go as it should: by a server that raises, by time, by frames that come late."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpx
import openai
import pytest
from serving_world import Response, World, until

from tidemill_api import endpoint_contract as contract
from tidemill_workloads.serving import dispatch, openai_errors
from tidemill_workloads.serving.frames import Frame, Kind
from tidemill_workloads.serving.front import _Out
from tidemill_workloads.serving.leaving import Leaving
from tidemill_workloads.serving.replies import Reply

pytestmark = pytest.mark.timeout(60)

BODY = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
CHAT = "/v1/chat/completions"

EVENTS = [(b"content-type", b"text/event-stream")]
JSON = [(b"content-type", b"application/json")]
CHUNK = b'data: {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": []}\n\n'


class Server:
    """Stands for an engine's server that has a fault: says these things and then raises, or just ends."""

    def __init__(self, *said: dict[str, Any], raises: bool = True) -> None:
        self._said = said
        self._raises = raises
        self.asked = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        await receive()
        for message in self._said:
            await send(message)
        if self._raises:
            raise RuntimeError("made to fail")

    async def of(self, world: World, name: str = "engine-1") -> Server:
        """An engine of the world has this server."""
        replica: Any = await world.engine(name)
        replica._engine._serve = self
        return self


def start(status: int, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers}


def part(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


@pytest.mark.parametrize("raises", [True, False])
async def test_a_stream_whose_server_ends_in_the_middle_of_it_ends_with_an_error(world: World, raises: bool) -> None:
    server = await Server(start(200, EVENTS), part(CHUNK), raises=raises).of(world)
    ingress = await world.ingress()
    stream = await ingress.client.chat.completions.create(stream=True, **BODY)  # type: ignore[call-overload] # a dict
    with pytest.raises(openai.APIError, match="was lost"):
        async for _ in stream:
            pass
    assert server.asked == 1, "a part of the answer had gone out"


async def test_half_a_document_whose_server_raises_is_cut_off(world: World) -> None:
    await Server(start(200, JSON), part(b'{"id": ')).of(world)
    ingress = await world.ingress()
    async with httpx.AsyncClient(verify=False) as caller:
        with pytest.raises(httpx.RemoteProtocolError):
            await caller.post(ingress.url + CHAT, json=BODY)


async def test_a_server_that_raises_before_it_said_anything_is_tried_once_more(world: World) -> None:
    servers = [await Server().of(world, "engine-1"), await Server().of(world, "engine-2")]
    ingress = await world.ingress()
    with pytest.raises(openai.InternalServerError) as failed:
        await ingress.client.chat.completions.create(**BODY)  # type: ignore[call-overload] # a dict
    assert failed.value.code == "engine_lost"
    assert sum(server.asked for server in servers) == 2
    await until(lambda: ingress.figure(contract.METRIC_REQUESTS, code="503") == 1)


async def test_an_error_that_the_server_has_told_before_it_raised_reaches_the_client(world: World) -> None:
    """As vLLM's server does with what it did not foresee: 500, and the error raised again."""
    server = await Server(start(500, JSON), part(b'{"error": {"message": "as it is"}}', more=False)).of(world)
    ingress = await world.ingress()
    async with httpx.AsyncClient(verify=False) as caller:
        answer = await caller.post(ingress.url + CHAT, json=BODY)
    assert (answer.status_code, answer.json()["error"]["message"]) == (500, "as it is")
    assert server.asked == 1


async def test_a_timeout_beneath_is_a_fault_of_ours_and_not_the_requests_time(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def admit(_: Any) -> bool:
        raise TimeoutError("a socket's")

    ingress = await world.ingress(seconds=3600)
    monkeypatch.setattr(ingress.front.admission, "admit", admit)
    async with httpx.AsyncClient(verify=False) as caller:
        answer = await caller.post(ingress.url + CHAT, json=BODY)
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")
    assert [record.levelno for record in caplog.records if "failed on a request" in record.message] == [logging.ERROR]


async def test_after_a_whole_response_nothing_more_is_said() -> None:
    """The time runs out while the client has not read its end yet: the server before us refuses a second end."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    out = _Out(send, Leaving())
    await out.whole(200, b"{}")
    before = list(sent)
    await out.refuse(openai_errors.timed_out(5))
    assert (sent, out.status) == (before, 200)


async def followed(reply: Reply) -> None:
    """Serve says at once that the call is over."""

    async def over() -> None:
        return

    await dispatch._follow(Response(asyncio.create_task(over())), reply)


async def test_an_answer_that_comes_after_serves_word_is_waited_for_as_long_as_its_connection_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dispatch, "FIRST_FRAME_SECONDS", 0.1)
    reply = Reply(1)
    reply.put(Frame(Kind.TAKEN, 1))
    await followed(reply)
    await asyncio.sleep(0.2)
    reply.put(Frame(Kind.END, 1))
    assert [(await reply.get()).kind for _ in range(2)] == [Kind.TAKEN, Kind.END]


async def test_an_answer_of_which_nothing_ever_comes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "FIRST_FRAME_SECONDS", 0.1)
    reply = Reply(1)
    await followed(reply)
    assert (await reply.get()).kind is Kind.FAILED
