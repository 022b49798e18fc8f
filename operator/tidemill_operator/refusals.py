"""When a change that the API server refused is worth another try: per object, waiting longer each time.

Used for changes that must not hold the rest of a reconcile up. Holds times and the last words only; losing them at a
restart costs one early try.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidemill_operator.cache import Key

FIRST_WAIT_SECONDS = 2.0
LAST_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class _Wait:
    seconds: float
    until: float
    message: str


class Refusals:
    """The refused changes, by the object they were to be made to. `clock` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waits: dict[Key, _Wait] = {}

    def waiting(self, key: Key) -> bool:
        """Whether the object's change was refused and its next try is not due yet."""
        wait = self._waits.get(key)
        return wait is not None and self._clock() < wait.until

    def message(self, key: Key) -> str:
        """What was said when the change was refused last; empty where it was not."""
        wait = self._waits.get(key)
        return wait.message if wait is not None else ""

    def refused(self, key: Key, message: str = "") -> None:
        """The change was refused (again): the wait doubles, from 2 s to 60 s."""
        before = self._waits.get(key)
        seconds = FIRST_WAIT_SECONDS if before is None else min(before.seconds * 2, LAST_WAIT_SECONDS)
        self._waits[key] = _Wait(seconds, self._clock() + seconds, message)

    def forget(self, key: Key) -> None:
        """The change was taken, or its object is gone."""
        self._waits.pop(key, None)
