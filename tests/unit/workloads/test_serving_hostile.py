"""Hostile and broken requests to the ingress: each has its error in OpenAI's shape, nothing stumbles, counts are exact.

What is no HTTP at all never reaches the ingress: the HTTP server before it answers with 400 or closes the connection.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving_world import World, until

from tidemill_api import endpoint_contract as contract
from tidemill_api.v1alpha1.common import ModelSpec
from tidemill_workloads.serving.http_door import middlewares
from tidemill_workloads.serving.model_cards import ModelCards
from tidemill_workloads.serving.openai_errors import Refusal
from tidemill_workloads.serving.request_body import read_body
from tidemill_workloads.serving.request_limits import LARGEST_BODY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from serving_world import Ingress

pytestmark = pytest.mark.timeout(120)

CHAT = "/v1/chat/completions"
DEEP = 100_000
GOOD = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}'


@pytest.fixture
async def ingress(world: World, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Ingress]:
    """An ingress with an engine; in the end everything is counted, and nothing was logged as a bug."""
    await world.engine()
    made = await world.ingress()
    yield made
    await until(lambda: made.front.desk.waiting == made.front.desk.running == 0)
    async with httpx.AsyncClient(verify=False) as caller:
        answer = await caller.post(made.url + CHAT, content=GOOD)
    assert answer.status_code == 200, answer.text
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


def error_of(answer: httpx.Response) -> dict[str, Any]:
    """The error of an answer, in OpenAI's shape or not at all."""
    assert answer.headers["content-type"] == "application/json"
    error: dict[str, Any] = answer.json()["error"]
    assert {"message", "type", "param", "code"} <= error.keys()
    assert error["message"]
    assert len(answer.content) < 2000, "no echo of what was sent"
    return error


BODIES = {
    "empty": b"",
    "blank": b" \n",
    "cut": GOOD[:-1],
    "two": GOOD + GOOD,
    "no utf-8": b'{"model": "\xff\xfe"}',
    "a lone surrogate": b'{"model": "\\ud800"}',
    "nul": b'{"model": "m\\u0000"}',
    "a byte order mark": b"\xef\xbb\xbf" + GOOD,
    "utf-16": GOOD.decode().encode("utf-16"),
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "a form": b"model=m&messages=hi",
    "a number": b"17",
    "null": b"null",
    "a deep list": b"[" * DEEP,
    "a deep list in messages": b'{"model": "m", "messages": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep objects": b'{"model": "m", "x": ' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
    "a model of a list": b'{"model": ["m"]}',
    "a model of many": b'{"model": "' + b"m" * 1_000_000 + b'"}',
    "not a number": b'{"model": "m", "priority": NaN}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_body_that_no_engine_could_read_is_refused_with_its_reason(ingress: Ingress, body: bytes) -> None:
    async with httpx.AsyncClient(verify=False) as caller:
        answer = await caller.post(ingress.url + CHAT, content=body)
    assert answer.status_code in (400, 404)
    assert error_of(answer)["code"] in ("invalid_body", "model_not_found")
    await until(lambda: ingress.figure(contract.METRIC_REQUESTS, code=str(answer.status_code)) == 1)


async def test_a_body_beyond_the_bound_is_refused_before_it_is_read(ingress: Ingress) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {LARGEST_BODY + 1}\r\n\r\n"
    said = await raw(ingress, head.encode())
    assert said.startswith(b"HTTP/1.1 413 ")
    assert b"request_too_large" in said


async def test_a_body_without_a_length_is_cut_off_at_the_bound(ingress: Ingress) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(LARGEST_BODY // 2**20 + 1):
            yield b" " * 2**20

    async with httpx.AsyncClient(verify=False, timeout=60) as caller:
        answer = await caller.post(ingress.url + CHAT, content=parts())
    assert answer.status_code == 413
    assert error_of(answer)["code"] == "request_too_large"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/", 404),
        ("POST", "/v1", 404),
        ("POST", "/v1/chat/completions/", 404),
        ("POST", "//v1/chat/completions", 404),
        ("POST", "/v1/../v1/chat/completions", 404),
        ("POST", "/v1/chat/completions%00", 404),
        ("POST", "/v1/chat/completions%ff", 404),
        ("POST", "/v1/responses", 404),
        ("POST", "/v1/" + "x" * 5000, 404),
        ("GET", "/metrics", 404),
        ("GET", "/docs", 404),
        ("POST", "/v1/load_lora_adapter", 404),
        ("GET", "/v1/models/" + "x" * 5000, 404),
        ("GET", "/v1/models/..%2f..%2fetc%2fpasswd", 404),
        ("DELETE", "/v1/models", 405),
        ("PUT", CHAT, 405),
        ("OPTIONS", CHAT, 405),
        ("TRACE", CHAT, 405),
    ],
)
async def test_what_is_not_served_is_refused_by_name(ingress: Ingress, method: str, path: str, status: int) -> None:
    said = await raw(ingress, f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert json.loads(body)["error"]["code"] in ("unknown_url", "method_not_supported", "model_not_found")
    assert len(body) < 2000, "no echo of what was sent"


HEADERS = {
    "a key of bytes": {"authorization": b"Bearer \xff\xfe"},
    "a traceparent of nonsense": {"traceparent": b"\xff" * 50},
    "a content type of nonsense": {"content-type": b"application/\xff; charset=\xff"},
    "a content type of a form": {"content-type": b"application/x-www-form-urlencoded"},
    "another request id": {"x-request-id": b"0" * 32},
    "another host": {"host": b"169.254.169.254"},
    "a forwarded address": {"x-forwarded-for": b"127.0.0.1", "x-real-ip": b"::1"},
}


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS)
async def test_odd_headers_change_nothing_of_an_answer(ingress: Ingress, headers: dict[str, bytes]) -> None:
    given: dict[str, Any] = headers
    async with httpx.AsyncClient(verify=False) as caller:
        answer = await caller.post(ingress.url + CHAT, content=GOOD, headers=given)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("header", "passes"),
    [
        ((b"authorization", b"Bearer \xff"), True),
        ((b"x-request-id", b"req_0.1-a"), True),
        ((b"x-request-id", b"\xff"), False),
        ((b"x-request-id", b"x" * 129), False),
        ((b"x-request-timeout-seconds", b"0.1"), False),
        ((b"X-Request-Disconnect-Disabled", b"?1"), False),
        ((b"serve_multiplexed_model_id", b"m"), False),
        ((b"x-session-id", b"m"), False),
    ],
)
async def test_no_header_gives_orders_to_serve(header: tuple[bytes, bytes], passes: bool) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(scope["headers"])

    (door,) = middlewares()
    nobody: Any = None
    await door.cls(app)({"type": "http", "headers": [header]}, nobody, nobody)
    assert seen == ([header] if passes else [])
    assert f"{middlewares.__module__}:{middlewares.__name__}" == contract.HTTP_DOOR


async def test_headers_beyond_any_use_are_refused(ingress: Ingress) -> None:
    async with httpx.AsyncClient(verify=False) as caller:
        answer = await caller.post(ingress.url + CHAT, content=GOOD, headers={"x-large": "x" * 70_000})
    assert answer.status_code == 431
    assert error_of(answer)["code"] == "headers_too_large"


SMUGGLED = b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nxxxxx"
NO_HTTP = {
    "two lengths": b"content-length: 5\r\ncontent-length: 6",
    "a length and chunks": b"content-length: 5\r\ntransfer-encoding: chunked",
    "odd chunks": b"transfer-encoding: chunked, identity",
    "a negative length": b"content-length: -1",
    "a length in words": b"content-length: five",
    "a folded header": b"x-a: 1\r\n content-length: 5",
    "a header without a name": b": x",
    "a nul in a header": b"x-a: \x00",
}


@pytest.mark.parametrize("headers", NO_HTTP.values(), ids=NO_HTTP)
async def test_a_request_that_means_two_things_is_answered_once_at_most(ingress: Ingress, headers: bytes) -> None:
    """Whatever hides behind it (request smuggling) is never taken for a second request."""
    sent = b"POST " + CHAT.encode() + b" HTTP/1.1\r\nhost: x\r\n" + headers + b"\r\n\r\n" + SMUGGLED
    said = await raw(ingress, sent)
    assert said.count(b"HTTP/1.1 ") <= 1
    assert b" 200 " not in said
    counted = sum(ingress.figure(contract.METRIC_REQUESTS, code=code) for code in ("200", "400", "404", "499"))
    assert counted <= 1


async def test_a_websocket_is_refused(ingress: Ingress) -> None:
    upgrade = (
        b"GET /v1/realtime HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    said = await raw(ingress, upgrade)
    assert said[:12] in (b"HTTP/1.1 403", b"HTTP/1.1 404")


async def test_a_client_that_leaves_in_the_middle_of_its_request_is_forgotten(ingress: Ingress) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", int(ingress.url.rpartition(":")[2]))
    writer.write(f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{{".encode())
    await writer.drain()
    await asyncio.sleep(0.1)
    writer.close()
    await until(lambda: ingress.figure(contract.METRIC_REQUESTS, code="499") == 1)


async def raw(ingress: Ingress, sent: bytes) -> bytes:
    """What comes back for these bytes until the server has nothing more to say."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(ingress.url.rpartition(":")[2]))
    said = b""
    try:
        writer.write(sent)
        await writer.drain()
        async with asyncio.timeout(1):
            while part := await reader.read(65536):
                said += part
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return said


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
FIELDS = st.dictionaries(st.sampled_from(["model", "stream", "priority", "messages", "prompt", "n"]), JSON)
MODELS = ModelCards.of(ModelSpec(name="m", source="/models/m"))


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=60) | (FIELDS | JSON).map(lambda value: json.dumps(value).encode()))
def test_every_body_is_read_or_refused_in_words(body: bytes) -> None:
    refusal = refusal_of(body)
    if refusal is not None:
        assert refusal.status in (400, 404)
        assert json.loads(refusal.body)["error"]["message"]


def refusal_of(body: bytes) -> Refusal | None:
    """Why a body is refused; None where it is read."""
    try:
        found = read_body(body, MODELS)
    except Refusal as refusal:
        return refusal
    assert found.model in (None, "m")
    assert isinstance(found.priority, int)
    return None
