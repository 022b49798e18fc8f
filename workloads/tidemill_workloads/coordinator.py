"""The head's end of the talk with the engine actors: the ledger and the board behind one small Ray actor.

Every writer sends a `Message` when it wants work, has ended some, or a second has passed, and gets `Orders`. The driver
looks in once a second with what Ray knows of the nodes. A writer is lost when its actor or its node has a new process,
when its node is dead, or after 30 s of silence; should it speak again it is told to drop what it does not hold any
more, and the lines it wrote meanwhile are harmless: the join takes the first.

No file is read here and nothing is waited for, so that no store can make writers look silent.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tidemill_workloads.ledger import Ledger, Suspect, Work
from tidemill_workloads.progress import Board, Report, Snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LOST_SECONDS = 30.0
"""A writer that is silent for so long is taken for gone. It reports every second, on a loop of its own."""


@dataclass(frozen=True, slots=True)
class Writer:
    """One process of an engine actor. An actor keeps its id over restarts, a node runs one engine at a time."""

    name: str
    actor: str
    node: str


@dataclass(frozen=True, slots=True)
class Message:
    """What a writer says: works by number, `want` in rows."""

    report: Report
    ended: tuple[int, ...] = ()
    returned: tuple[int, ...] = ()
    holding: tuple[int, ...] = ()
    want: int = 0


@dataclass(frozen=True, slots=True)
class Orders:
    """What a writer is told. `dropped`: works that it does not hold any more."""

    works: tuple[Work, ...] = ()
    dropped: tuple[int, ...] = ()
    stop: bool = False
    leave: bool = False
    done: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """What the driver sees. `heard` changes with every word of any writer."""

    figures: Snapshot
    complete: bool
    losses: Mapping[int, tuple[Work, ...]]
    heard: float
    refusal: tuple[str, str] | None


@dataclass(slots=True)
class Coordinator:
    """Ledger and board as one. `now` is monotonic seconds."""

    ledger: Ledger = field(default_factory=Ledger)
    board: Board = field(default_factory=Board)
    writers: dict[str, Writer] = field(default_factory=dict)
    leaving: frozenset[str] = frozenset()
    loaded: bool = False
    stopping: bool = False
    refusal: tuple[str, str] | None = None
    heard: float = 0.0

    def load(self, ledger: Ledger, now: float) -> None:
        """The work of this attempt; nothing is done before it is there."""
        self.ledger, self.loaded, self.heard = ledger, True, now

    def hello(self, writer: Writer, now: float) -> None:
        """A new process, before its engine loads: whoever was in its place is gone."""
        self.heard = now
        for other in list(self.writers.values()):
            if other.name != writer.name and (other.actor == writer.actor or other.node == writer.node):
                self._lose(other, witnessed=other.node == writer.node)
        self.writers[writer.name] = writer

    def loading(self, now: float) -> None:
        """A writer whose engine loads still lives."""
        self.heard = now

    def exchange(self, message: Message, now: float) -> Orders:
        """A writer's word, and what it is told."""
        writer = message.report.writer
        self.heard = now
        self.board.report(message.report, now)
        for number in message.ended:
            self.ledger.ended(writer, number)
        for number in message.returned:
            self.ledger.give_back(writer, number)
        settled = {*message.ended, *message.returned}
        held = self.ledger.held[writer].keys()
        dropped = tuple(number for number in message.holding if number not in held and number not in settled)
        known = self.writers.get(writer)
        leave = known is not None and known.node in self.leaving
        struck_off = known is None and bool(self.writers)  # its node is dead or has another process: it cannot stay
        want = 0 if self.stopping or leave or struck_off else message.want
        return Orders(
            works=tuple(self.ledger.take(writer, want)),
            dropped=dropped,
            stop=self.stopping,
            leave=leave,
            done=self.loaded and self.ledger.complete,
        )

    def died(self, writer: str, in_flight: Mapping[int, Sequence[Suspect]], now: float) -> None:
        """The writer's engine is dead, and the writer will be: by the number of the work, the rows in flight."""
        self.heard = now
        self.ledger.died(writer, in_flight)

    def look(self, dead: frozenset[str], leaving: frozenset[str], now: float) -> View:
        """The state of all, after what is known of the nodes was taken in."""
        self.leaving = leaving
        for writer in list(self.writers.values()):
            if writer.node in dead:
                self._lose(writer, witnessed=False)
        for name in self.board.silent(now, LOST_SECONDS):
            self.ledger.lose(name, witnessed=False)  # struck off or not: whoever is silent holds nothing
        return View(
            figures=self.board.snapshot(now),
            complete=self.loaded and self.ledger.complete,
            losses=dict(self.ledger.losses),
            heard=self.heard,
            refusal=self.refusal,
        )

    def refuse(self, reason: str, message: str) -> None:
        """Notes why the job cannot go on; the first one stands."""
        self.refusal = self.refusal or (reason, message)

    def _lose(self, writer: Writer, witnessed: bool) -> None:
        self.ledger.lose(writer.name, witnessed)
        del self.writers[writer.name]


class CoordinatorActor:
    """The coordinator as a Ray actor: adds the clock and nothing else. Lives and dies with its driver."""

    def __init__(self) -> None:
        self._coordinator = Coordinator()

    def load(self, ledger: Ledger) -> None:
        """See Coordinator.load."""
        self._coordinator.load(ledger, time.monotonic())

    def hello(self, writer: Writer) -> None:
        """See Coordinator.hello."""
        self._coordinator.hello(writer, time.monotonic())

    def loading(self) -> None:
        """See Coordinator.loading."""
        self._coordinator.loading(time.monotonic())

    def exchange(self, message: Message) -> Orders:
        """See Coordinator.exchange."""
        return self._coordinator.exchange(message, time.monotonic())

    def died(self, writer: str, in_flight: Mapping[int, Sequence[Suspect]]) -> None:
        """See Coordinator.died."""
        self._coordinator.died(writer, in_flight, time.monotonic())

    def look(self, dead: frozenset[str], leaving: frozenset[str]) -> View:
        """See Coordinator.look."""
        return self._coordinator.look(dead, leaving, time.monotonic())

    def resolve(self, loss: int, unanswered: Mapping[int, Sequence[Suspect]]) -> None:
        """See Ledger.resolve."""
        self._coordinator.ledger.resolve(loss, unanswered)

    def stop(self) -> None:
        """Asks every writer, at its next message, to flush and stop."""
        self._coordinator.stopping = True

    def refuse(self, reason: str, message: str) -> None:
        """See Coordinator.refuse."""
        self._coordinator.refuse(reason, message)
