"""A job's lanes without Ray: the real coordinator, lanes and files in one process, engines that tests make up."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from engines import NoOpEngine
from workload_builders import claim_at, request, write_lines

from tidemill_workloads.chunk_run import Desk
from tidemill_workloads.coordinator import Coordinator, Message, Orders, Writer
from tidemill_workloads.errors import EngineDead
from tidemill_workloads.index import Chunk
from tidemill_workloads.lane import Lane
from tidemill_workloads.ledger import Ledger, Piece
from tidemill_workloads.parts import ChunkParts
from tidemill_workloads.pump import Pump
from tidemill_workloads.retries import RetryPolicy
from tidemill_workloads.suspects import unanswered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tidemill_workloads.engine.interface import Answer, Engine
    from tidemill_workloads.identity import Claim
    from tidemill_workloads.ledger import Suspect
    from tidemill_workloads.parts import PartLine
    from tidemill_workloads.rows import Row
    from tidemill_workloads.storage import Input


class RecordingEngine(NoOpEngine):
    """Notes which rows it is asked, and how many at once."""

    def __init__(self, seconds: float = 0.001) -> None:
        super().__init__(seconds)
        self.asked: list[int] = []
        self.at_once = self.most_at_once = 0
        self.busy = asyncio.Event()
        self._marks: dict[int, asyncio.Event] = {}

    async def has_asked(self, rows: int) -> None:
        """Waits until it was asked for so many rows."""
        await self._marks.setdefault(rows, asyncio.Event()).wait()

    async def answer(self, row: Row) -> Answer:
        """As its parent, with `busy` set by the tenth row."""
        self.asked.append(row.line)
        if mark := self._marks.get(len(self.asked)):
            mark.set()
        if len(self.asked) == 10:
            self.busy.set()
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await super().answer(row)
        finally:
            self.at_once -= 1


class LongRows(RecordingEngine):
    """One row of five takes longer than a stop waits, the others most of that time."""

    async def answer(self, row: Row) -> Answer:
        """As its parent."""
        self.seconds = 30.0 if row.line % 5 == 0 else 0.8
        return await super().answer(row)


@dataclass
class PoisonedEngine(NoOpEngine):
    """Dies of the rows on certain lines, after the others in flight were begun."""

    seconds: float = 0.001
    poison: frozenset[int] = frozenset()

    async def answer(self, row: Row) -> Answer:
        """Raises EngineDead for a poisonous row."""
        if row.line in self.poison:
            await asyncio.sleep(0)
            raise EngineDead("made to die")
        return await super().answer(row)


@dataclass
class LocalHead:
    """The coordinator without Ray between."""

    coordinator: Coordinator
    dies_too: bool = False

    async def exchange(self, message: Message) -> Orders:
        """See Coordinator.exchange."""
        await asyncio.sleep(0)
        return self.coordinator.exchange(message, time.monotonic())

    async def died(self, writer: str, in_flight: Mapping[int, Sequence[Suspect]]) -> None:
        """See Coordinator.died."""
        if not self.dies_too:
            self.coordinator.died(writer, in_flight, time.monotonic())


@dataclass
class LaneWorld:
    """Rows on files in chunks of `rows_each`, their ledger, and lanes on demand."""

    root: Path
    names: Sequence[str]
    rows_each: int = 0
    slots: int = 8
    retry: RetryPolicy = field(default_factory=lambda: RetryPolicy(backoff_seconds=0))
    coordinator: Coordinator = field(default_factory=Coordinator)
    head_dies_too: bool = False
    starts: int = 0
    source: Input = field(init=False)
    claim: Claim = field(init=False)
    chunks: list[Chunk] = field(init=False)

    def __post_init__(self) -> None:
        self.claim = claim_at(self.root / "out")
        self.lines([request(name) for name in self.names])

    def lines(self, lines: Sequence[dict[str, Any] | bytes]) -> None:
        """Replaces the input and the ledger."""
        self.source = write_lines(self.root / "in.jsonl", lines)
        data = (self.root / "in.jsonl").read_bytes().splitlines(keepends=True)
        size = self.rows_each or max(1, len(data))
        self.chunks = []
        offset = 0
        for start in range(0, len(data), size):
            length = sum(map(len, data[start : start + size]))
            rows = len(data[start : start + size])
            self.chunks.append(Chunk(len(self.chunks), offset, length, start + 1, rows, rows))
            offset += length
        ledger = Ledger()
        for chunk in self.chunks:
            ledger.add((Piece(chunk),))
        self.coordinator.load(ledger, time.monotonic())

    def lane(self, engine: Engine, node: str = "node-1", actor: str = "") -> Lane:
        """A new engine process on a node: whoever was there before is gone."""
        desk = Desk(self.source, self.claim)
        self.starts += 1
        self.coordinator.hello(Writer(desk.writer, actor or f"actor-{node}", node), time.monotonic())
        return Lane(desk, Pump(engine, self.slots, self.retry), LocalHead(self.coordinator, self.head_dies_too), node)

    async def work_through(self, engine: PoisonedEngine, node: str = "node-1") -> None:
        """As Ray does: a worker whose engine died is started again, and the driver looks into what was lost."""
        while True:
            try:
                await self.lane(engine, node).run()
            except EngineDead:
                continue
            return

    def resolve(self) -> None:
        """What the driver does about losses once a second."""
        view = self.coordinator.look(frozenset(), frozenset(), time.monotonic())
        for loss, works in view.losses.items():
            rows = {
                work.number: [row for piece in work.pieces for row in unanswered(self.claim.folder, self.source, piece)]
                for work in works
            }
            self.coordinator.ledger.resolve(loss, rows)

    def parts(self, chunk: int = 0) -> ChunkParts:
        """The parts of a chunk."""
        return ChunkParts(self.claim.folder, chunk)

    def answers(self) -> dict[int, PartLine]:
        """The durable line of every row that has one."""
        found: dict[int, PartLine] = {}
        for chunk in self.chunks:
            lines = range(chunk.first_line, chunk.first_line + chunk.rows)
            found |= self.parts(chunk.number).answered(lines)
        return found

    def written(self) -> Counter[int]:
        """How often each row was made durable."""
        return Counter(line.line for chunk in self.chunks for line in self.parts(chunk.number).lines())
