"""Requests that never stop coming, from a thread of their own, each with its times and its end: for tests under load.

It sends as OpenAI clients do, over connections that it keeps, streams and whole answers by turns, and never sends
anything twice: a request that failed is told. `Load.clients` may change while it runs.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DONE = b"data: [DONE]"
ENGINE = re.compile(rb'"system_fingerprint": ?"([^"]+)"')


@dataclass(frozen=True)
class Sent:
    """One request, in seconds of time.time(); `fault` is empty where the whole answer came.

    `engine` is the process that answered, `pod/pid` as the paced engine says it; empty where no byte of it came.
    """

    number: int
    stream: bool
    sent: float
    first_byte: float
    ended: float
    fault: str
    engine: str = ""

    @property
    def seconds(self) -> float:
        """From sending to the last byte."""
        return self.ended - self.sent


@dataclass
class Load:
    """`clients` who ask one request after the other, `tokens` an answer, while the context lasts.

    `streams`: all answers are streamed, or none; unsaid, every second one.
    """

    url: str
    key: str
    clients: int = 4
    tokens: int = 20
    pause_seconds: float = 0.0
    streams: bool | None = None
    requests: list[Sent] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _numbers: int = 0

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Waits for what is under way."""
        self._stop.set()
        self._thread.join()

    @property
    def faults(self) -> list[Sent]:
        """The requests that failed so far."""
        return [request for request in self.requests if request.fault]

    def since(self, moment: float) -> list[Sent]:
        """The requests sent since this time.time()."""
        return [request for request in self.requests if request.sent >= moment]

    async def _run(self) -> None:
        running: list[asyncio.Task[None]] = []
        connector = aiohttp.TCPConnector(limit=0)
        headers = {"Authorization": f"Bearer {self.key}"}
        timeout = aiohttp.ClientTimeout(total=300)
        async with aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout) as session:
            while not self._stop.is_set():
                while len(running) < self.clients:
                    running.append(asyncio.create_task(self._client(session, len(running))))
                await asyncio.sleep(0.05)
            await asyncio.gather(*running)

    async def _client(self, session: aiohttp.ClientSession, place: int) -> None:
        while not self._stop.is_set():
            if place >= self.clients:
                await asyncio.sleep(0.05)
                continue
            self._numbers += 1
            sent = await ask(session, self.url, self._numbers, self.tokens, streamed=self.streams)
            self.requests.append(sent)
            await asyncio.sleep(self.pause_seconds + (0.2 if sent.fault else 0.0))


async def ask(
    session: aiohttp.ClientSession, url: str, number: int, tokens: int, *, streamed: bool | None = None
) -> Sent:
    """One chat request to `url` (ending in /v1); every second one is a stream. Never raises for what went wrong."""
    stream, sent, first = number % 2 == 0 if streamed is None else streamed, time.time(), 0.0
    messages = [{"role": "user", "content": f"request {number}"}]
    body: dict[str, Any] = {"model": "smollm2", "messages": messages, "max_tokens": tokens, "stream": stream}
    last, fault = b"", ""
    try:
        async with session.post(f"{url}/chat/completions", json=body) as answer:
            async for piece in answer.content.iter_any():
                first = first or time.time()
                last = (last + piece)[-4096:]
            fault = _fault(answer.status, stream, last)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        fault = f"{type(error).__name__}: {error}"
    named = ENGINE.search(last)
    return Sent(number, stream, sent, first, time.time(), fault, named[1].decode() if named else "")


def _fault(status: int, stream: bool, last: bytes) -> str:
    if status != 200:
        return f"{status}: {last.decode(errors='replace')[:300]}"
    if stream and DONE not in last:
        return f"a stream without its end: {last.decode(errors='replace')[-300:]}"
    return ""


async def burst(url: str, key: str, count: int, tokens: int) -> list[Sent]:
    """So many requests at once."""
    timeout = aiohttp.ClientTimeout(total=300)
    headers = {"Authorization": f"Bearer {key}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout) as session:
        asked = (ask(session, url, number, tokens) for number in range(1, count + 1))
        return await asyncio.gather(*asked)


def waited_longer(requests: Iterable[Sent], seconds: float) -> float:
    """The first moment at which a stream had waited so long for its first token. Raises ValueError where none did."""
    return min(one.sent + seconds for one in requests if one.stream and one.first_byte - one.sent > seconds)


def more_at_once(requests: Sequence[Sent], count: int) -> float:
    """The first moment at which more than `count` requests were under way. Raises ValueError where there never were."""
    depth = 0
    for moment, step in sorted([(one.sent, 1) for one in requests] + [(one.ended, -1) for one in requests]):
        depth += step
        if depth > count:
            return moment
    raise ValueError(f"there were never more than {count} requests at once")


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that so large a share of them does not exceed; 0 where there are none."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0
