"""The demo's users against a small server that speaks OpenAI's protocol and stands for the endpoint."""

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from demo.realtime.crowds import AFTER_FAULT_SECONDS, Wave, users, waves
from demo.realtime.traffic import Asker, Ledger, Service


def event(piece: str = "", *, reason: str | None = None, tokens: int | None = None) -> bytes:
    choices = [{"index": 0, "delta": {"content": piece}, "finish_reason": reason}] if tokens is None else []
    usage = None if tokens is None else {"prompt_tokens": 5, "completion_tokens": tokens, "total_tokens": 5 + tokens}
    chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices}
    return b"data: " + json.dumps(chunk | {"usage": usage}).encode() + b"\n\n"


ENDED = (event("one "), event("two", reason="length"), event(tokens=2), b"data: [DONE]\n\n")
CUT = (event("one "),)


async def chat(request: web.Request) -> web.StreamResponse:
    question = (await request.json())["messages"][0]["content"]
    if question == "too many":
        error = {"message": "Too many requests wait.", "type": "rate_limit_error", "code": "queue_full"}
        return web.json_response({"error": error}, status=429, headers={"Retry-After": "1"})
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for piece in CUT if question == "cut" else ENDED:
        await response.write(piece)
        await asyncio.sleep(0.02)
    if question == "cut":
        request.transport.close() if request.transport else None
    return response


async def embed(request: web.Request) -> web.Response:
    assert (await request.json())["encoding_format"] == "float"
    vector = {"object": "embedding", "index": 0, "embedding": [0.0] * 384}
    usage = {"prompt_tokens": 4, "total_tokens": 4}
    return web.json_response({"object": "list", "data": [vector], "model": "m", "usage": usage})


@pytest_asyncio.fixture
async def asker() -> AsyncIterator[Asker]:
    application = web.Application()
    application.router.add_post("/v1/chat/completions", chat)
    application.router.add_post("/v1/embeddings", embed)
    async with TestServer(application) as server:
        service = Service(str(server.make_url("/v1")), "m", "key", timeout_seconds=10)
        async with service.client() as client:
            yield Asker(service, client)


async def test_a_streamed_answer_is_shown_as_it_comes_and_timed_by_its_first_token(asker: Asker) -> None:
    pieces: list[str] = []
    answer = await asker.ask("hello", pieces.append)
    assert pieces == ["one ", "two"]
    assert (answer.text, answer.tokens, answer.fault) == ("one two", 2, "")
    assert answer.sent < answer.first < answer.ended


async def test_a_refusal_is_a_fault_and_is_not_tried_again(asker: Asker) -> None:
    answer = await asker.ask("too many")
    assert answer.fault.startswith("RateLimitError")
    assert "Too many requests wait" in answer.fault


async def test_a_stream_that_is_cut_is_a_fault(asker: Asker) -> None:
    assert (await asker.ask("cut")).fault != ""


async def test_an_embedding_is_an_answer_too(asker: Asker) -> None:
    asker.embeds = True
    answer = await asker.ask("hello")
    assert (answer.text, answer.tokens, answer.fault) == ("384 dimensions", 4, "")


async def test_users_ask_until_they_are_told_to_go_and_their_last_answers_are_waited_for(asker: Asker) -> None:
    ledger = Ledger()
    async with users(3, asker, ["a", "b"], ledger):
        await asyncio.sleep(0.3)
        before = len(ledger.answers)
    assert 3 <= before <= len(ledger.answers) <= before + 3
    assert ledger.faults == []


async def waves_over(over: list[Wave], count: int) -> None:
    for _ in range(1000):
        if len(over) >= count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{len(over)} of {count} waves in ten seconds")


async def test_a_crowd_comes_in_waves_and_its_last_wave_is_waited_for(asker: Asker) -> None:
    ledger = Ledger()
    async with waves(4, asker, ["a", "b", "c"], ledger, 0.05) as over:
        await waves_over(over, 2)
    assert len(over) in (2, 3)
    assert len(ledger.answers) == 4 * len(over)
    assert all(len(wave.answers) == 4 and wave.seconds > 0 for wave in over)
    for wave, following in pairwise(over):
        assert following.began >= wave.began + wave.seconds + 0.05


async def test_a_crowd_leaves_while_it_pauses(asker: Asker) -> None:
    async with asyncio.timeout(20), waves(2, asker, ["a"], Ledger(), 60) as over:
        await waves_over(over, 1)
    assert len(over) == 1


async def test_a_crowd_that_is_refused_takes_a_breath(asker: Asker) -> None:
    ledger = Ledger()
    async with waves(2, asker, ["too many"], ledger, 0):
        await asyncio.sleep(AFTER_FAULT_SECONDS / 2)
    assert len(ledger.faults) == 2


async def test_a_crowd_goes_with_the_error_that_ends_it(asker: Asker) -> None:
    with pytest.raises(KeyError):
        async with waves(2, asker, ["a"], Ledger(), 60):
            raise KeyError
    assert len(asyncio.all_tasks()) == 1
