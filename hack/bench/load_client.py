"""The client process of the realtime benchmarks: sends streaming requests at a given pace and times what comes back.

A process of its own, so that its work is not mixed with what it measures. Reads one order as JSON from standard input
(`load.py` writes it) and prints one JSON line for each answer, as it ends. Times are CLOCK_MONOTONIC seconds, which all
processes of a machine share. Retries nothing: a failed request is told as one.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

FIRST_AFTER_SECONDS = 0.5
"""Before the first request: the session stands and the interpreter is warm."""

TEXTS = ("content", "reasoning", "reasoning_content", "tool_calls")
"""Parts of a chat's delta that hold tokens; the first delta has only a role."""


async def main() -> None:
    """Obeys the order on standard input."""
    order = json.loads(sys.stdin.readline())
    headers = {"Authorization": f"Bearer {order['key']}", "Content-Type": "application/json"}
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=order["timeout"])
    async with aiohttp.ClientSession(order["url"], connector=connector, timeout=timeout, headers=headers) as session:
        requests = order["requests"]
        bodies = [json.dumps(request["body"]).encode() for request in requests]

        async def send(number: int, due: float) -> None:
            more = {"traceparent": trace_of(number)} if order["traced"] else {}
            answer = await ask(session, requests[number]["path"], bodies[number], more)
            print(json.dumps({"number": number, "due": due, **answer}), flush=True)

        await asyncio.sleep(FIRST_AFTER_SECONDS)
        await PACES[order["pace"]](send, [request["at"] for request in requests], order["width"])


def trace_of(number: int) -> str:
    """A trace context (W3C) whose trace id is the number of the request, so that an engine can name it."""
    return f"00-{number + 1:032x}-{number + 1:016x}-00"


async def at_their_times(send: Callable[[int, float], Awaitable[None]], times: list[float], _: int) -> None:
    """Open loop: each at its time, however many are still unanswered."""
    began = time.monotonic()

    async def one(number: int) -> None:
        due = began + times[number]
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        await send(number, due)

    await asyncio.gather(*(one(number) for number in range(len(times))))


async def at_once(send: Callable[[int, float], Awaitable[None]], times: list[float], width: int) -> None:
    """Closed loop: `width` unanswered at a time, the next as soon as one ends."""
    numbers = iter(range(len(times)))

    async def one_after_another() -> None:
        for number in numbers:
            await send(number, time.monotonic())

    await asyncio.gather(*(one_after_another() for _ in range(width)))


async def in_batches(send: Callable[[int, float], Awaitable[None]], times: list[float], width: int) -> None:
    """Static batches: `width` together, the next ones only when all of them have ended."""
    for first in range(0, len(times), width):
        due = time.monotonic()
        await asyncio.gather(*(send(number, due) for number in range(first, min(first + width, len(times)))))


PACES = {"open": at_their_times, "closed": at_once, "static": in_batches}


async def ask(session: aiohttp.ClientSession, path: str, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
    """One streamed request: when it was sent, when its first and last text came, when it ended, tokens, any error."""
    found: dict[str, Any] = {"sent": time.monotonic(), "first": None, "last": None, "tokens": 0, "error": ""}
    try:
        async with session.post(path, data=body, headers=headers) as response:
            if response.status != 200:
                found["error"] = f"{response.status} {(await response.text())[:300]}"
            async for line in response.content:
                if line.startswith(b"data: {"):
                    take(found, json.loads(line[6:]), time.monotonic())
        if not found["error"] and not found["tokens"]:
            found["error"] = "the stream ended without usage"
    except (aiohttp.ClientError, TimeoutError) as error:
        found["error"] = f"{type(error).__name__}: {error}"
    return found | {"end": time.monotonic()}


def take(found: dict[str, Any], event: dict[str, Any], now: float) -> None:
    """Notes what one event of a stream says. A token that is no text yet (half a letter) is timed with the next one."""
    if "error" in event:
        found["error"] = json.dumps(event["error"])
    if any(says_something(choice) for choice in event.get("choices", ())):
        found["first"] = found["first"] or now
        found["last"] = now
    if event.get("usage"):
        found["tokens"] = event["usage"]["completion_tokens"]


def says_something(choice: dict[str, Any]) -> bool:
    """Whether a part of an answer holds text: an answer, a thought before it, or a call of a tool."""
    delta = choice.get("delta") or {}
    return bool(choice.get("text") or any(delta.get(key) for key in TEXTS))


if __name__ == "__main__":
    asyncio.run(main())
