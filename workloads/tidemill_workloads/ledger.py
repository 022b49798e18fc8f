"""The ledger: which work is left, and who holds what. Pure: the driver's coordinator owns one and adds the clock.

Work is handed out just in time and in the order of the input; what a lost writer held comes first again, at once.
Nothing here is durable: an attempt makes its ledger from the output folder (`suspects.plan_work`). A piece of work ends
only by the word of the writer that holds it, after its lines are durable; the join has the last word on every row.

The same rule holds for every death: one that was witnessed (the engine died, its node lives) counts two strikes, a
writer that only fell silent or was lost with its node counts one, and with the second strike the rows that had no
line yet are suspects: a whole chunk's go into groups of ceil(sqrt(n)), a group's run alone, and a row whose engine
died while it ran alone is condemned to an error line. Suspects share their engine with nobody else.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from dataclasses import dataclass, field
from enum import IntEnum
from math import isqrt
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tidemill_workloads.index import Chunk

WITNESSED = 2
UNWITNESSED = 1
DEADLY_STRIKES = 2


class Level(IntEnum):
    """How closely the rows of a piece of work are watched."""

    WHOLE = 0
    GROUP = 1
    ALONE = 2
    CONDEMNED = 3
    """Not run any more: the row gets its error line."""


class Suspect(NamedTuple):
    """A row that may have killed its engine."""

    chunk: Chunk
    line: int


class Piece(msgspec.Struct, frozen=True):
    """Rows of one chunk: those on `lines`, or where that is None every row but those on the lines `without`."""

    chunk: Chunk
    lines: tuple[int, ...] | None = None
    without: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        """At most so many rows are to be run; those that have a line already are found out by the writer."""
        return self.chunk.rows - len(self.without) if self.lines is None else len(self.lines)

    def covers(self, line: int) -> bool:
        """Whether a line of the chunk belongs to the piece."""
        return line not in self.without if self.lines is None else line in self.lines

    def less(self, lines: Iterable[int]) -> Piece:
        """The piece without some lines."""
        gone = set(lines)
        if self.lines is None:
            return msgspec.structs.replace(self, without=tuple(sorted(gone.union(self.without))))
        return msgspec.structs.replace(self, lines=tuple(line for line in self.lines if line not in gone))


class Work(msgspec.Struct, frozen=True):
    """What a writer is handed at once. A number is used for one handing-out only."""

    number: int
    pieces: tuple[Piece, ...]
    level: Level = Level.WHOLE
    strikes: int = 0

    @property
    def rows(self) -> int:
        """See Piece.rows."""
        return sum(piece.rows for piece in self.pieces)

    @property
    def exclusive(self) -> bool:
        """Whether nothing else may be on the engine meanwhile: else innocent rows would be suspected too."""
        return self.level in (Level.GROUP, Level.ALONE)


def pieces_of(suspects: Iterable[Suspect]) -> tuple[Piece, ...]:
    """The same rows, gathered by chunk."""
    lines: dict[int, list[int]] = defaultdict(list)
    chunks: dict[int, Chunk] = {}
    for suspect in suspects:
        chunks[suspect.chunk.number] = suspect.chunk
        lines[suspect.chunk.number].append(suspect.line)
    return tuple(Piece(chunks[number], tuple(sorted(lines[number]))) for number in sorted(chunks))


def groups_of(suspects: Sequence[Suspect]) -> list[tuple[Piece, ...]]:
    """Groups of ceil(sqrt(n)) in the order of the input: with one bad row, about as few runs as two levels can take."""
    ordered = sorted(suspects, key=lambda suspect: suspect.line)
    size = isqrt(len(ordered) - 1) + 1 if ordered else 1
    return [pieces_of(ordered[start : start + size]) for start in range(0, len(ordered), size)]


@dataclass(slots=True)
class Ledger:
    """Work by where it is: waiting in order, returned and first again, held by a writer, or lost and not looked into.

    `losses` holds what died with its writer: whose rows are suspects is read from the parts, by the driver (`resolve`).
    """

    waiting: deque[Work] = field(default_factory=deque)
    returned: list[tuple[int, int, Work]] = field(default_factory=list)
    held: dict[str, dict[int, Work]] = field(default_factory=lambda: defaultdict(dict))
    losses: dict[int, tuple[Work, ...]] = field(default_factory=dict)
    _numbers: int = 0

    def add(self, pieces: tuple[Piece, ...], level: Level = Level.WHOLE, strikes: int = 0) -> None:
        """More work, after all that waits; suspects go before everything that waits."""
        work = self._numbered(pieces, level, strikes)
        if level == Level.WHOLE:
            self.waiting.append(work)
        else:
            self._first(work)

    @property
    def complete(self) -> bool:
        """Whether every piece of work has ended."""
        return not (self.waiting or self.returned or self.losses or any(self.held.values()))

    def take(self, writer: str, rows: int) -> list[Work]:
        """Work of about `rows` rows, now held by `writer`; empty where there is none for it now.

        A writer with exclusive work gets nothing beside it.
        """
        if rows <= 0 or any(work.exclusive for work in self.held[writer].values()):
            return []
        given: list[Work] = []
        while rows > 0 and (self.returned or self.waiting):
            work = heapq.heappop(self.returned)[2] if self.returned else self.waiting.popleft()
            self.held[writer][work.number] = work
            given.append(work)
            rows -= work.rows
            if work.exclusive:
                break
        return given

    def ended(self, writer: str, number: int) -> None:
        """Every row of the work has a durable line. Without effect where the writer does not hold it any more."""
        self.held[writer].pop(number, None)

    def give_back(self, writer: str, number: int) -> None:
        """The writer leaves the work as it is, in order: nobody is suspected."""
        work = self.held[writer].pop(number, None)
        if work is not None:
            self._first(self._numbered(work.pieces, work.level, work.strikes))

    def died(self, writer: str, in_flight: Mapping[int, Sequence[Suspect]]) -> None:
        """The writer's engine died; by the number of the work, the rows that it had at that moment."""
        held = self.held.pop(writer, {})
        fatal: dict[Level, list[Suspect]] = defaultdict(list)
        for number, work in held.items():
            suspects = () if work.level == Level.CONDEMNED else in_flight.get(number, ())
            fatal[work.level].extend(suspects)
            self._return_rest(work, suspects)
        self._escalate(fatal)

    def lose(self, writer: str, witnessed: bool) -> None:
        """The writer is gone without a word. What it held comes first again, or waits to be looked into."""
        deadly: list[Work] = []
        for work in self.held.pop(writer, {}).values():
            strikes = work.strikes + (WITNESSED if witnessed else UNWITNESSED)
            if work.level == Level.CONDEMNED:  # no engine sees its row, so its writer's death says nothing
                self._first(self._numbered(work.pieces, work.level, work.strikes))
            elif strikes < DEADLY_STRIKES:
                self._first(self._numbered(work.pieces, work.level, strikes))
            else:
                deadly.append(work)
        if deadly:
            self._numbers += 1
            self.losses[self._numbers] = tuple(deadly)

    def resolve(self, loss: int, unanswered: Mapping[int, Sequence[Suspect]]) -> None:
        """A loss was looked into: by the number of the work, its rows that have no line."""
        fatal: dict[Level, list[Suspect]] = defaultdict(list)
        for work in self.losses.pop(loss, ()):
            fatal[work.level].extend(unanswered.get(work.number, ()))
        self._escalate(fatal)

    def _escalate(self, fatal: Mapping[Level, Sequence[Suspect]]) -> None:
        for pieces in groups_of(fatal.get(Level.WHOLE, ())):
            alone = sum(piece.rows for piece in pieces) == 1
            self.add(pieces, Level.ALONE if alone else Level.GROUP)
        for suspect in fatal.get(Level.GROUP, ()):
            self.add(pieces_of([suspect]), Level.ALONE)
        for suspect in fatal.get(Level.ALONE, ()):
            self.add(pieces_of([suspect]), Level.CONDEMNED)

    def _return_rest(self, work: Work, suspects: Sequence[Suspect]) -> None:
        gone: dict[int, list[int]] = defaultdict(list)
        for suspect in suspects:
            gone[suspect.chunk.number].append(suspect.line)
        pieces = [piece.less(gone[piece.chunk.number]) for piece in work.pieces]
        if rest := tuple(piece for piece in pieces if piece.rows):
            self._first(self._numbered(rest, work.level, work.strikes))

    def _numbered(self, pieces: tuple[Piece, ...], level: Level, strikes: int) -> Work:
        self._numbers += 1
        return Work(self._numbers, pieces, level, strikes)

    def _first(self, work: Work) -> None:
        heapq.heappush(self.returned, (work.pieces[0].chunk.number, work.number, work))
