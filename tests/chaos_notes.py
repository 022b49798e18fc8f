"""What the engines of a job wrote down, and what of it may have been run twice.

The rule under test: run again are only rows that were in flight when something was lost, or that were answered in the
last flush period before it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FLUSH_SECONDS = 10.0
"""Answers wait no longer than this to become durable."""

SLACK_SECONDS = 1.0
"""How long a flush may take until its lines are durable, on a machine that has more to do than it can."""


@dataclass(frozen=True)
class Run:
    """One try of one row. Times are seconds since 1970; `answered` is None where the engine was lost before."""

    custom_id: str
    engine: str
    began: float
    answered: float | None
    engine_started: float = -inf

    def lost_by(self, loss: Loss) -> bool:
        """Whether this try may have left no durable line because of the loss, which hit the engines of then alone."""
        durable_before = loss.since - FLUSH_SECONDS - SLACK_SECONDS
        held = self.answered is None or self.answered >= durable_before
        there = self.engine_started <= loss.over and self.engine.startswith(loss.engine)
        return held and there and self.began <= loss.until

    def in_flight_at(self, moment: float) -> bool:
        """Whether the engine had the row then."""
        return self.began <= moment and (self.answered is None or self.answered > moment)


@dataclass(frozen=True)
class Loss:
    """Something was killed at `since`; what it left behind worked on until `until` at the latest.

    `engine` names the engine that was lost, or its pod; empty where all of them were. An engine that started after
    `struck` (`since` where that is None) was not touched. `kept` are rows that had a durable line before.
    """

    since: float
    until: float
    engine: str = ""
    struck: float | None = None
    kept: frozenset[str] = frozenset()

    @property
    def over(self) -> float:
        """When the last of what was to be lost was lost."""
        return self.since if self.struck is None else self.struck


@dataclass(frozen=True)
class Notes:
    """The notes of all engines of a job. `folder` is what they had as TIDEMILL_TEST_FOLDER."""

    folder: Path

    def engines(self) -> list[str]:
        """Names of all engine processes that ever started, oldest first; each starts with its pod's name."""
        return sorted((path.name for path in self.folder.glob("*.notes")), key=lambda name: name.rpartition("-")[2])

    def starts(self) -> dict[str, float]:
        """When each engine process started."""
        found = {}
        for name in self.engines():
            words = (self.folder / name).read_text().split()
            if len(words) >= 3:
                found[name] = float(words[1])
        return found

    def runs(self) -> list[Run]:
        """Every try of every row, in the order in which they began."""
        found = [run for name in self.engines() for run in self._runs_of(name)]
        return sorted(found, key=lambda run: run.began)

    def _runs_of(self, engine: str) -> list[Run]:
        open_runs: dict[str, list[float]] = defaultdict(list)
        found = []
        started = -inf
        for line in (self.folder / engine).read_text().splitlines():
            words = line.split(maxsplit=2)
            if len(words) != 3:
                continue  # being written
            what, when, custom_id = words
            if what == "start":
                started = float(when)
            elif what == "begin":
                open_runs[custom_id].append(float(when))
            elif what == "answer":
                found.append(Run(custom_id, engine, open_runs[custom_id].pop(0), float(when), started))
        unanswered = [(custom_id, began) for custom_id, times in open_runs.items() for began in times]
        return found + [Run(custom_id, engine, began, None, started) for custom_id, began in unanswered]

    def answered(self) -> int:
        """How many different rows some engine has answered."""
        return len({run.custom_id for run in self.runs() if run.answered is not None})

    def in_flight(self, moment: float, pod: str = "") -> list[Run]:
        """The rows that the engines (of one pod) had then."""
        return [run for run in self.runs() if run.engine.startswith(pod) and run.in_flight_at(moment)]

    def run_again(self) -> dict[str, int]:
        """Rows that an engine was given more than once, and how often more."""
        begun = Counter(run.custom_id for run in self.runs())
        return {custom_id: times - 1 for custom_id, times in begun.items() if times > 1}


def unexplained(notes: Notes, losses: Sequence[Loss]) -> list[tuple[Run, Run]]:
    """Pairs of tries of one row where the second one was for nothing: no loss explains it."""
    tries: dict[str, list[Run]] = defaultdict(list)
    for run in notes.runs():
        tries[run.custom_id].append(run)
    return [
        (first, second)
        for of_one_row in tries.values()
        for first, second in pairwise(of_one_row)
        if not any(first.lost_by(loss) and second.began >= loss.since for loss in losses)
    ]


def begun_although_kept(notes: Notes, losses: Sequence[Loss]) -> list[Run]:
    """Tries of rows that had a durable line at a loss, by engines that started after it: no reason allows one."""
    return [
        run
        for run in notes.runs()
        if any(run.engine_started > loss.since and run.custom_id in loss.kept for loss in losses)
    ]


def may_run_again(notes: Notes, losses: Sequence[Loss]) -> int:
    """How many tries the losses may cost: in flight at one of them, or answered in the flush period before it."""
    runs = notes.runs()
    return sum(run.lost_by(replace(loss, until=loss.since)) for loss in losses for run in runs)
