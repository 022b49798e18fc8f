"""What an ingress outlasts: an odd body, a large answer, a vanished node, a client that does not read."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any, cast

import pytest
from serving_world import Response, World, config, until

from tidemill_api import endpoint_contract as contract
from tidemill_workloads.serving import front, openai_errors
from tidemill_workloads.serving.frames import Frame, FrameError, FrameReader, Head, Kind, encode
from tidemill_workloads.serving.leaving import Leaving
from tidemill_workloads.serving.model_cards import ModelCards
from tidemill_workloads.serving.openai_errors import Refusal
from tidemill_workloads.serving.replies import keep_prompt_and_alive
from tidemill_workloads.serving.request_body import read_body
from tidemill_workloads.serving.turnstile import Turnstile

MODELS = ModelCards.of(config().model)
MIB = 2**20


def test_an_odd_body_is_not_built_in_memory_to_be_refused() -> None:
    body = b'{"model": "m", "priority": "x", "messages": [' + b"[]," * (4 * MIB) + b"[]]}"
    began = time.process_time()
    assert read_body(body, MODELS).model == "m", "the engine names the field of the wrong type"
    assert time.process_time() - began < 2.0, "12 MiB of lists, which take 6 s and 400 MiB as Python's lists"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"model": 7, "priority": 0}', "model must be a string"),
        (b'[{"model": "m"}]', "must be a JSON object"),
        (b"7", "must be a JSON object"),
        (b'{"model": "m", "priority": "x", "messages": [}', "not valid JSON"),
    ],
)
def test_a_body_that_no_engine_has_to_see_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(Refusal, match=message):
        read_body(body, MODELS)


def test_a_large_frame_is_put_together_once_and_not_at_each_read() -> None:
    sent = Frame(Kind.BODY, 7, bytes(24 * MIB))
    stream, reader, found = encode(sent) + encode(Frame(Kind.END, 7)), FrameReader(), []
    began = time.process_time()
    for start in range(0, len(stream), 16 * 1024):
        found += reader.feed(stream[start : start + 16 * 1024])
    assert [(frame.kind, len(frame.payload)) for frame in found] == [(Kind.BODY, 24 * MIB), (Kind.END, 0)]
    assert time.process_time() - began < 2.0, "1500 reads, which would copy 18 GiB"


def test_before_it_has_said_who_it_is_nobody_has_large_frames_kept() -> None:
    with pytest.raises(FrameError):
        list(FrameReader(most=256).feed(encode(Frame(Kind.HELLO, 0, bytes(257)))))


async def test_a_peer_that_vanished_is_noticed_by_the_kernel_in_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as opened:
        keep_prompt_and_alive(cast("asyncio.Transport", _TransportOf(opened)))
        seconds = [opened.getsockopt(socket.IPPROTO_TCP, o) for o in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL)]
        tries = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert seconds[0] + tries * seconds[1] <= 30
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 30_000


class _TransportOf:
    def __init__(self, opened: socket.socket) -> None:
        self._opened = opened

    def get_extra_info(self, _: str) -> socket.socket:
        return self._opened


def test_what_openais_clients_must_not_send_again_by_themselves_says_so() -> None:
    for refusal in (openai_errors.engine_lost(), openai_errors.timed_out(5)):
        assert (b"x-should-retry", b"false") in refusal.headers


async def test_those_that_left_before_their_turn_do_not_stay_in_the_queue() -> None:
    turnstile = Turnstile(width=1)

    async def wait(priority: int) -> None:
        async with turnstile.offered(priority, 0.0):
            await asyncio.sleep(0)

    async with turnstile.offered(0, 0.0):
        for _ in range(50):
            patient = [asyncio.create_task(wait(9)) for _ in range(10)]
            await asyncio.sleep(0)
            for task in patient:
                task.cancel()
            await asyncio.gather(*patient, return_exceptions=True)
        assert len(turnstile._queue) <= 10
        last = asyncio.create_task(wait(1))
        await asyncio.sleep(0)
    await asyncio.wait_for(last, 1)


async def test_a_client_that_reads_nothing_is_not_waited_for_with_the_last_word(monkeypatch: Any) -> None:
    monkeypatch.setattr(front, "LAST_WORD_SECONDS", 0.05)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()  # as uvicorn's, where the client's buffers are full

    out = front._Out(send, Leaving())
    await out.start(Head(200, [(b"content-type", b"text/event-stream")]))
    with pytest.raises(Refusal):
        await asyncio.wait_for(out.refuse(openai_errors.timed_out(5)), 5)
    assert out.status == 408


async def test_when_serve_starts_no_engine_any_more_a_request_is_not_called_lost() -> None:
    async with World(config()) as world:
        ingress = await world.ingress()

        class DeploymentUnavailableError(Exception):
            """As Serve's own is called."""

        async def given_up() -> None:
            raise DeploymentUnavailableError("no replica starts")

        def remote(_: Any) -> Response:
            return Response(asyncio.create_task(given_up()))

        world.serve.remote = remote  # type: ignore[method-assign] # Serve, as it is then
        answer = await ingress.client._client.post(
            f"{ingress.url}/v1/chat/completions",
            json={"model": "m", "messages": [{"role": "user", "content": "hello"}]},
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_engine")
        await until(lambda: ingress.figure(contract.METRIC_REQUESTS, code="503") == 1)
