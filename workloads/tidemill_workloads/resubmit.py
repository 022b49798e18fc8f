"""Taking over the answers of an earlier job: only the rows that it has no 2xx line for are run.

Runs after validation and before the chunk index is written, so that a kill repeats it from the start. Streams the
earlier job's `results.jsonl` once, finds each line's row by custom_id, and writes the lines, byte for byte, as parts of
their chunks; join, counting and resume need nothing new. Memory is bounded but for the sorted digests, 24 bytes a row.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from tidemill_api.conditions import Reason
from tidemill_workloads.errors import JobRefused
from tidemill_workloads.join import RESULTS_FILE
from tidemill_workloads.locations import open_existing
from tidemill_workloads.manifest import MANIFEST_FILE
from tidemill_workloads.parts import PARTS, RESULT, ChunkParts, PartLine
from tidemill_workloads.row_finder import RowFinder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tidemill_api.job_contract import JobConfig
    from tidemill_workloads.duplicates import CustomIds
    from tidemill_workloads.index import Index
    from tidemill_workloads.storage import Folder

log = logging.getLogger(__name__)

BEFORE_ATTEMPTS = "000000"
"""Parts of no attempt begin so: lines that rows have before the first one is run."""

TAKEN_OVER = f"{BEFORE_ATTEMPTS}.verbatim"
"""Sorts after validation's error lines, so that a bad line stays one, and before every attempt's own lines."""

BATCH_LINES = 5000
BATCH_BYTES = 8 << 20
MAX_BUFFER_BYTES = 32 << 20
LATEST_UNIX = 1 << 33
"""Seconds since 1970 (the year 2242): a later time is no time."""

WRITERS = 8
"""Parts written at once: most of the time goes to waiting for the storage."""


class _Response(msgspec.Struct):
    status_code: int
    body: msgspec.Raw = msgspec.Raw()


class _ResultLine(msgspec.Struct):
    custom_id: str
    response: _Response


class _Body(msgspec.Struct):
    created: float = 0.0


_DECODER = msgspec.json.Decoder(_ResultLine)
_BODY_DECODER = msgspec.json.Decoder(_Body)


def open_earlier(config: JobConfig, folder: Folder) -> Folder | None:
    """The output folder of the job to resubmit, proven finished, or None where there is none to resubmit.

    Raises JobRefused: InvalidSpec, or ResubmitSourceNotReady, which is waited for.
    """
    uri = config.resubmit_of_uri
    if not uri:
        return None
    if uri.rstrip("/") == config.output_uri.rstrip("/"):
        message = f"spec.output.uri: {folder.uri('')} is the output of the job in spec.resubmitOf; name another folder"
        raise JobRefused(Reason.INVALID_SPEC, message)
    earlier = open_existing(uri, config.mounts, "spec.resubmitOf")
    try:
        manifest = earlier.read(MANIFEST_FILE)
        next(earlier.lines(RESULTS_FILE), b"")
    except OSError as error:
        raise _not_ready(f"the files in {uri} cannot be read ({error.strerror})") from error
    if manifest is None:
        raise _not_ready(f"there is no {MANIFEST_FILE} in {uri}, so that job has not written its results")
    try:
        completed = json.loads(manifest)["rows"]["completed"]
    except (ValueError, KeyError, TypeError):
        raise _not_ready(f"{earlier.uri(MANIFEST_FILE)} is not a file of Tidemill") from None
    if completed and not earlier.exists(RESULTS_FILE):
        raise _not_ready(f"{earlier.uri(RESULTS_FILE)} is gone")
    return earlier


def _not_ready(what: str) -> JobRefused:
    message = f"spec.resubmitOf: {what}; the job waits for it (a job without resubmitOf runs every row)"
    return JobRefused(Reason.RESUBMIT_SOURCE_NOT_READY, message)


def forget_preparations(folder: Folder) -> None:
    """Removes the parts that a killed validation left: the input may have been mended since. Before the index only."""
    for chunk in folder.names(PARTS):
        for name in folder.names(f"{PARTS}/{chunk}"):
            if name.startswith(BEFORE_ATTEMPTS):
                folder.delete(f"{PARTS}/{chunk}/{name}")


def take_over(earlier: Folder, folder: Folder, index: Index, custom_ids: CustomIds) -> int:
    """Writes the lines of rows that the earlier job answered; the number of rows that need not be run now."""
    taking = _Taking(folder, index, RowFinder(custom_ids))
    for batch in _batched(earlier.lines(RESULTS_FILE)):
        taking.add(batch)
    taking.flush()
    if taking.unreadable:
        log.warning("%s: %d lines are no results and are not taken over", earlier.uri(RESULTS_FILE), taking.unreadable)
    log.info("%d of %d rows are taken over from %s", taking.taken, index.rows, earlier.uri(RESULTS_FILE))
    return taking.taken


def _batched(lines: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Lines in batches that are small in number and in bytes."""
    batch: list[bytes] = []
    size = 0
    for line in lines:
        batch.append(line)
        size += len(line)
        if len(batch) == BATCH_LINES or size > BATCH_BYTES:
            yield batch
            batch, size = [], 0
    yield batch


@dataclass(slots=True)
class _Taking:
    """The pass over the earlier results: finds rows, gathers their lines by chunk, writes them when they are many."""

    folder: Folder
    index: Index
    finder: RowFinder
    taken: int = 0
    unreadable: int = 0
    first_lines: np.ndarray[tuple[int], np.dtype[np.int64]] = field(init=False)
    by_chunk: defaultdict[int, list[PartLine]] = field(default_factory=lambda: defaultdict(list))
    buffered: int = 0
    flushes: int = 0

    def __post_init__(self) -> None:
        self.first_lines = np.array([chunk.first_line for chunk in self.index.chunks], np.int64)

    def add(self, batch: Iterable[bytes]) -> None:
        found = [(stripped, result) for raw in batch if (stripped := raw.strip()) for result in self._read(stripped)]
        lines = self.finder.take([result.custom_id for _, result in found])
        chunks = np.searchsorted(self.first_lines, lines, side="right") - 1
        for line, chunk, (raw, result) in zip(lines.tolist(), chunks.tolist(), found, strict=True):
            if line:
                self.by_chunk[chunk].append(PartLine(line, RESULT, 0, 0, _answered_ms(result), raw))
                self.buffered += len(raw)
        if self.buffered > MAX_BUFFER_BYTES:
            self.flush()

    def _read(self, stripped: bytes) -> Iterator[_ResultLine]:
        """The line if it is a whole 2xx line. It may have been touched: nothing about it is certain."""
        try:
            stripped.decode()
            result = _DECODER.decode(stripped)
        except (ValueError, RecursionError):
            self.unreadable += 1
            return
        if 200 <= result.response.status_code < 300:
            yield result

    def flush(self) -> None:
        """Writes what is gathered, one part for each chunk."""
        self.flushes += 1
        with ThreadPoolExecutor(WRITERS, "take-over") as pool:
            self.taken += sum(pool.map(self._write, self.by_chunk))
        self.by_chunk.clear()
        self.buffered = 0

    def _write(self, chunk: int) -> int:
        parts = ChunkParts(self.folder, chunk)
        others = [name for name in parts.names() if not name.startswith(TAKEN_OVER)]
        bad = {line.line for line in parts.lines(others)}
        lines = sorted(line for line in self.by_chunk[chunk] if line.line not in bad)
        if lines:  # where the name is taken, another attempt that reads the same files was quicker
            name = f"{parts.prefix}/{TAKEN_OVER}-{self.flushes:06d}.jsonl"
            self.folder.create(name, b"".join(line.encode() for line in lines))
        return len(lines)


def _answered_ms(result: _ResultLine) -> int:
    """When the row was answered, to the second, by the body's own word; 0 where it does not say."""
    try:
        created = _BODY_DECODER.decode(result.response.body).created
    except (ValueError, RecursionError):
        return 0
    return int(created * 1000) if 0 <= created < LATEST_UNIX else 0
