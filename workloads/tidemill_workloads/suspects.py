"""Suspects across attempts: the durable markers of work that was begun, and what they say when their writer is gone.

`started/<attempt>.<writer>-<n>.json`, create-only, stands from before the first row of a piece of work goes to an
engine until the work ended well or was handed back in order. A marker that outlived its attempt is one strike against
its rows, since nobody saw the death: the head or the driver may have been killed, and hundreds of innocent rows with
it. Two strikes count as a death (`ledger` has the levels), so an innocent row is never condemned for a killed driver,
while a row that takes the whole cluster down with it is found in the end.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from tidemill_workloads.ledger import DEADLY_STRIKES, Ledger, Level, Piece, Suspect, Work, groups_of, pieces_of
from tidemill_workloads.parts import STARTED, ChunkParts
from tidemill_workloads.rows import line_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tidemill_workloads.index import Chunk
    from tidemill_workloads.storage import Folder, Input

log = logging.getLogger(__name__)


class MarkedRows(msgspec.Struct, frozen=True, array_like=True):
    """Rows of one chunk that were begun: see `ledger.Piece`."""

    chunk: int
    lines: tuple[int, ...] | None
    without: tuple[int, ...]


class Marker(msgspec.Struct, frozen=True):
    """Work that a writer began."""

    level: int
    pieces: tuple[MarkedRows, ...]


def marker_of(work: Work) -> bytes:
    """The content of the marker of a piece of work."""
    pieces = tuple(MarkedRows(piece.chunk.number, piece.lines, piece.without) for piece in work.pieces)
    return msgspec.json.encode(Marker(int(work.level), pieces))


def stale_markers(folder: Folder, attempt: int) -> list[Marker]:
    """The markers that attempts before `attempt` left behind. One that cannot be read is no evidence."""
    found = []
    for name in folder.names(STARTED):
        number, _, _ = name.partition(".")
        data = folder.read(f"{STARTED}/{name}") if number.isdigit() and int(number) < attempt else None
        if data is None:
            continue
        try:
            found.append(msgspec.json.decode(data, type=Marker))
        except msgspec.MsgspecError as error:
            log.warning("%s is no marker of ours: %s", folder.uri(f"{STARTED}/{name}"), error)
    return found


def unanswered(folder: Folder, source: Input, piece: Piece) -> list[Suspect]:
    """The rows of a piece that have no durable line."""
    numbers = [line for line in line_numbers(source, piece.chunk) if piece.covers(line)]
    answered = ChunkParts(folder, piece.chunk.number).answered(numbers)
    return [Suspect(piece.chunk, line) for line in numbers if line not in answered]


@dataclass(slots=True)
class _Strikes:
    """Strikes against one chunk: against all of it, and by level and line."""

    whole: int = 0
    lines: dict[int, dict[int, int]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))


def plan_work(unfinished: Sequence[Chunk], markers: Iterable[Marker], folder: Folder, source: Input) -> Ledger:
    """The ledger of a new attempt: unfinished chunks in order, and before them the suspects of earlier attempts."""
    chunks = {chunk.number: chunk for chunk in unfinished}
    strikes = _count(markers, chunks)
    ledger = Ledger()
    pools: dict[tuple[Level, int], list[Suspect]] = defaultdict(list)
    for chunk in unfinished:
        against = strikes.get(chunk.number, _Strikes())
        watched: list[int] = []
        if against.lines or against.whole >= DEADLY_STRIKES:
            for suspect in unanswered(folder, source, Piece(chunk)):
                verdict = _verdict(suspect.line, against)
                if verdict[0] != Level.WHOLE:
                    pools[verdict].append(suspect)
                    watched.append(suspect.line)
        rest = Piece(chunk, without=tuple(watched))
        if rest.rows:
            ledger.add((rest,), strikes=min(against.whole, DEADLY_STRIKES - 1))
    for (level, strike), suspects in sorted(pools.items()):
        _watch(ledger, level, strike, suspects)
    return ledger


def _watch(ledger: Ledger, level: Level, strikes: int, suspects: list[Suspect]) -> None:
    log.warning("%d rows were in flight when engines died: they run at level %s", len(suspects), level.name)
    groups = groups_of(suspects) if level == Level.GROUP else [pieces_of([suspect]) for suspect in suspects]
    for pieces in groups:
        ledger.add(pieces, level, strikes)


def _count(markers: Iterable[Marker], chunks: Mapping[int, Chunk]) -> dict[int, _Strikes]:
    strikes: dict[int, _Strikes] = defaultdict(_Strikes)
    for marker in markers:
        for piece in marker.pieces:
            if piece.chunk not in chunks:
                continue
            if piece.lines is None:
                strikes[piece.chunk].whole += 1
            else:
                for line in piece.lines:
                    strikes[piece.chunk].lines[line][marker.level] += 1
    return strikes


def _verdict(line: int, against: _Strikes) -> tuple[Level, int]:
    """Level at which a row runs now, and the strikes that it brings along."""
    by_level = against.lines.get(line)
    if by_level:
        level = Level(min(max(by_level), Level.ALONE))
        strikes = by_level[max(by_level)]
    else:
        level, strikes = Level.WHOLE, against.whole
    return (Level(level + 1), 0) if strikes >= DEADLY_STRIKES else (level, strikes)
