"""One call at a time in a thread of its own, for a loop that must go on: the driver's looks at the store.

A store that is down keeps a caller for minutes, and the driver has to see progress, losses and a stop meanwhile.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future


@dataclass(slots=True)
class Aside:
    """Busy from `start` until `settle` has seen the end of the call."""

    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "aside"))
    _call: Future[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a call was started whose end was not seen yet."""
        return self._call is not None

    def start(self, call: Callable[[], None]) -> None:
        """Starts `call`; only where not busy."""
        self._call = self._pool.submit(call)

    def settle(self) -> None:
        """Without effect where the call still runs. Raises what it raised."""
        if self._call is not None and self._call.done():
            ended, self._call = self._call, None
            ended.result()
