"""An event loop whose clock jumps to the next timer: what waits for minutes is tested in no time."""

import asyncio
import heapq

import pytest


class VirtualLoop(asyncio.SelectorEventLoop):
    """Only for code without I/O: where nothing is ready to run, the time of the next timer is now."""

    def __init__(self) -> None:
        super().__init__()
        self._virtual = 0.0

    def time(self) -> float:
        return self._virtual

    def _run_once(self) -> None:
        while self._scheduled and self._scheduled[0].cancelled():
            heapq.heappop(self._scheduled)._scheduled = False
        if not self._ready and self._scheduled:
            self._virtual = max(self._virtual, self._scheduled[0].when())
        super()._run_once()


@pytest.fixture
def virtual_time():
    """Runs a coroutine to its end in virtual time."""

    def run(coroutine):
        loop = VirtualLoop()
        try:
            return loop.run_until_complete(coroutine)
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    return run
