"""Those who ask: users who never stop, and a crowd that comes in waves. What they are answered goes into one ledger."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from demo.realtime.traffic import Answer, Asker, Ledger

AFTER_FAULT_SECONDS = 0.5
"""Whoever's request failed takes a breath: a broken endpoint is not to be asked thousands of times."""


@dataclass(frozen=True)
class Wave:
    """Requests that came at once, all of them over; `began` in seconds of the answers' clock."""

    began: float
    answers: tuple[Answer, ...]

    @property
    def seconds(self) -> float:
        """From the first request to the last answer."""
        return max(answer.ended for answer in self.answers) - self.began


@asynccontextmanager
async def users(count: int, asker: Asker, questions: Iterable[str], ledger: Ledger) -> AsyncIterator[None]:
    """So many users who ask one question after the other while the context lasts; its end waits for their answers."""
    left, asked = asyncio.Event(), cycle(questions)

    async def user() -> None:
        while not left.is_set():
            answer = await asker.ask(next(asked))
            ledger.answers.append(answer)
            if answer.fault:
                await asyncio.sleep(AFTER_FAULT_SECONDS)

    async with _asking([asyncio.create_task(user()) for _ in range(count)], left):
        yield


@asynccontextmanager
async def waves(
    count: int, asker: Asker, questions: Iterable[str], ledger: Ledger, pause_seconds: float
) -> AsyncIterator[list[Wave]]:
    """So many users who ask at once, again and again, each wave a pause after the last answer of the one before.

    Yields the waves that are over, a list that grows while the context lasts; its end waits for the last wave.
    """
    left, asked, over = asyncio.Event(), cycle(questions), list[Wave]()

    async def one() -> Answer:
        answer = await asker.ask(next(asked))
        ledger.answers.append(answer)
        return answer

    async def crowd() -> None:
        while not left.is_set():
            began = time.monotonic()
            wave = Wave(began, tuple(await asyncio.gather(*(one() for _ in range(count)))))
            over.append(wave)
            breath = AFTER_FAULT_SECONDS if any(answer.fault for answer in wave.answers) else 0.0
            await _first_of(left, max(pause_seconds, breath))

    async with _asking([asyncio.create_task(crowd())], left):
        yield over


@asynccontextmanager
async def _asking(tasks: Sequence[asyncio.Task[None]], left: asyncio.Event) -> AsyncIterator[None]:
    """Tells these tasks at its end that it is over, and waits for them; where it ends by an error it cancels them."""
    try:
        yield
    except BaseException:
        for task in tasks:
            task.cancel()
        raise
    finally:
        left.set()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        task.result()  # a bug of ours is told


async def _first_of(happened: asyncio.Event, seconds: float) -> None:
    """Returns when it has happened, or after so many seconds."""
    try:
        await asyncio.wait_for(happened.wait(), seconds)
    except TimeoutError:
        return
