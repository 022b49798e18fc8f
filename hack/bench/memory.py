"""Peak resident memory of processes, sampled in a thread while a benchmark's side runs.

Counts resident sets as the kernel tells them, so pages that processes share (Ray's object store) count once for each.
A peak between two samples is missed, and a process counts from its second sample on: between fork and exec a child
has its parent's name and memory, and would count them twice.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MIB = 2**20


@dataclass(slots=True)
class PeakMemory:
    """The highest sum of resident MiB that each group of processes had at one moment. It samples inside its context.

    `processes` lists whom to look at, anew for each sample; `groups` names the groups that a process counts for. One
    that ends meanwhile, or may not be looked at, counts for none.
    """

    processes: Callable[[], Iterable[psutil.Process]]
    groups: Callable[[psutil.Process], Iterable[str]]
    every_seconds: float
    mib: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _end: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread = field(init=False)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _sample(self) -> None:
        known: set[psutil.Process] = set()
        while not self._end.wait(self.every_seconds):
            present, now = set(self.processes()), defaultdict[str, float](float)
            for process in present & known:
                try:
                    names, mib = tuple(self.groups(process)), process.memory_info().rss / MIB
                except (psutil.NoSuchProcess, psutil.AccessDenied):
                    continue
                for name in names:
                    now[name] += mib
            for name, mib in now.items():
                self.mib[name] = max(self.mib[name], mib)
            known = present


def trees(roots: Iterable[psutil.Process]) -> set[psutil.Process]:
    """These processes and all that descend from them; those that are gone are left out."""
    found: set[psutil.Process] = set()
    for root in roots:
        try:
            found |= {root, *root.children(recursive=True)}
        except psutil.NoSuchProcess:
            continue
    return found
