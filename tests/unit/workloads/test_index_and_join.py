"""Chunks, parts and the join: each row exactly once, whatever was run twice, torn or folded on the way."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from workload_builders import answered, folder_at, request, write_lines

from tidemill_workloads import index as index_module
from tidemill_workloads.errors import RowsMissing
from tidemill_workloads.index import Chunk, ChunkMarks, Index, read_index, rows_per_chunk, write_index
from tidemill_workloads.join import Totals, join, survey
from tidemill_workloads.parts import ERROR, RESULT, ChunkParts, PartLine, decode

if TYPE_CHECKING:
    from pathlib import Path

    from tidemill_workloads.local_storage import LocalFolder, LocalInput


@pytest.mark.parametrize(
    ("rows", "workers", "expected"),
    [(1, 1, 1), (31, 1, 1), (64, 1, 2), (500, 1, 15), (500, 8, 1), (1_000_000, 1, 512), (1_000_000, 100, 312)],
)
def test_rows_of_a_chunk_are_a_32nd_of_a_workers_share(rows: int, workers: int, expected: int) -> None:
    assert rows_per_chunk(rows, workers) == expected


@pytest.mark.parametrize(("rows", "workers"), [(0, 1), (1, 1), (200, 1), (200, 50), (30_000, 1), (100_000, 3)])
def test_chunks_hold_every_row_once_within_their_bounds(rows: int, workers: int) -> None:
    marks = ChunkMarks(workers)
    for row in range(rows):
        marks.row(offset=row * 10, line=row + 1, row=row)
        assert len(marks.marks) <= 128 * workers + 1 + rows // 512
    chunks = marks.chunks(rows * 10, rows + 1, rows)
    assert sum(chunk.rows for chunk in chunks) == rows
    assert all(0 < chunk.rows <= rows_per_chunk(rows, workers) for chunk in chunks)
    assert all(chunk.rows > rows_per_chunk(rows, workers) // 2 for chunk in chunks[:-1])
    assert [chunk.offset for chunk in chunks] == [(chunk.first_line - 1) * 10 for chunk in chunks]
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))


def test_a_chunk_of_long_rows_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "MAX_BYTES_PER_CHUNK", 1000)
    marks = ChunkMarks(1)
    for row in range(5000):
        marks.row(offset=row * 400, line=row + 1, row=row)
    chunks = marks.chunks(5000 * 400, 5001, 5000)
    assert {chunk.rows for chunk in chunks} == {2}


def test_the_index_reads_back_as_it_was_written_and_the_first_one_stands(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    index = Index(10, 20, 3, (Chunk(0, 0, 5, 1, 2, 2), Chunk(1, 5, 5, 3, 1, 1)), invalid=1, taken_over=2)
    assert read_index(folder) is None
    write_index(folder, index)
    write_index(folder, Index(10, 20, 3, (Chunk(0, 0, 10, 1, 3, 3),)))
    assert read_index(folder) == index


def test_a_part_line_reads_back_and_is_json() -> None:
    line = PartLine(7, ERROR, 11, 13, 1_700_000_000_000, '{"custom_id":"ü]\\n","n":[1]}'.encode())
    assert decode(line.encode()) == [line]
    number, kind, prompt, completion, answered_ms, payload = json.loads(line.encode())
    assert (number, kind, prompt, completion, answered_ms) == (7, "error", 11, 13, 1_700_000_000_000)
    assert payload["custom_id"] == "ü]\n"


@given(st.integers(0, 200))
def test_no_torn_line_is_taken_for_a_whole_one(cut: int) -> None:
    whole = answered(3, note="]\\n} x").encode()
    assert decode(whole[:cut]) == ([answered(3, note="]\\n} x")] if cut >= len(whole) else [])
    assert decode(whole[:cut] + b"\n" + whole)[-1:] == [answered(3, note="]\\n} x")]


def _index(source: LocalInput, rows: int, per_chunk: int) -> Index:
    """Chunks of `per_chunk` rows over an input that has a blank line after every seventh row."""
    chunks, offset, line = [], 0, 1
    raw = source.path.read_bytes().splitlines(keepends=True)
    while line <= len(raw):
        taken, first, begin = 0, line, offset
        while line <= len(raw) and taken < per_chunk:
            taken += bool(raw[line - 1].strip())
            offset += len(raw[line - 1])
            line += 1
        if taken:
            chunks.append(Chunk(len(chunks), begin, offset - begin, first, line - first, taken))
    return Index(source.identity.size, source.identity.mtime_ns, rows, tuple(chunks))


class _Lines(list[bytes]):
    """A writing that keeps what it is given."""

    size = 0

    def write(self, data: bytes) -> None:
        self.append(data)

    def sha256(self) -> str:
        return ""


def _joined(folder: LocalFolder, index: Index) -> tuple[list[int], list[int], Totals]:
    results, errors = _Lines(), _Lines()
    totals = join(folder, index, results, errors)
    return numbers_of(results), numbers_of(errors), totals


def numbers_of(written: _Lines) -> list[int]:
    return [json.loads(line)["line"] for line in b"".join(written).splitlines()]


part_specs = st.lists(st.tuples(st.sets(st.integers(0, 40)), st.booleans(), st.integers(0, 60)), max_size=8)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None, max_examples=30
)
@given(rows=st.integers(1, 40), per_chunk=st.integers(1, 9), specs=part_specs)
def test_the_join_gives_each_row_exactly_once_or_names_what_is_missing(
    tmp_path_factory: pytest.TempPathFactory, rows: int, per_chunk: int, specs: list[tuple[set[int], bool, int]]
) -> None:
    root = tmp_path_factory.mktemp("join")
    folder = folder_at(root / "out")
    lines = [item for row in range(rows) for item in ([request(f"r-{row}")] + ([b""] if row % 7 == 6 else []))]
    source = write_lines(root / "in.jsonl", lines)
    index = _index(source, rows, per_chunk)
    numbers = [number for number, item in enumerate(lines, start=1) if item]
    chunk_of = {number: chunk for chunk in index.chunks for number in numbers_in(chunk)}
    have: set[int] = set()
    for turn, (wanted, torn, cut) in enumerate(specs):
        for chunk in index.chunks:
            mine = sorted(
                wanted & set(numbers_in(chunk)).intersection(numbers) | ({chunk.first_line + 1000} if torn else set())
            )
            data = b"".join(answered(n, ERROR if n % 5 == 0 else RESULT, note=f"turn {turn}").encode() for n in mine)
            data = data[: max(0, len(data) - cut)] if torn else data
            folder.create(f"parts/{chunk.number:08d}/w{turn}-0.jsonl", data)
            have |= {line.line for line in decode(data) if line.line in numbers and chunk_of[line.line] is chunk}
    found = survey(folder, index)
    assert found.totals.rows == len(have)
    assert sum(chunk.rows for chunk in index.chunks if chunk not in found.unfinished) <= len(have)
    if have != set(numbers):
        with pytest.raises(RowsMissing) as caught:
            _joined(folder, index)
        assert caught.value.rows == len(numbers) - len(have)
        assert caught.value.chunks == [chunk.number for chunk in found.unfinished]
        return
    results, errors, totals = _joined(folder, index)
    assert results == [number for number in numbers if number % 5]
    assert errors == [number for number in numbers if not number % 5]
    assert (totals.completed, totals.failed) == (len(results), len(errors))
    assert totals.prompt_tokens == 3 * rows


def numbers_in(chunk: Chunk) -> range:
    return range(chunk.first_line, chunk.first_line + chunk.lines)


def test_the_first_part_in_name_order_counts(tmp_path: Path) -> None:
    parts = ChunkParts(folder_at(tmp_path), 0)
    parts.write("000002.b-1.jsonl", [answered(1, note="late")])
    parts.write("000001.z-1.jsonl", [answered(1, note="early")])
    assert b"early" in parts.answered([1])[1].payload


def test_folding_leaves_one_part_with_every_line_in_order(tmp_path: Path) -> None:
    parts = ChunkParts(folder_at(tmp_path), 4)
    parts.write("1.a-1.jsonl", [answered(3), answered(1)])
    parts.write("1.a-2.jsonl", [answered(2)])
    names = parts.names()
    parts.fold("1.a-3.jsonl", parts.answered([1, 2, 3]), names)
    assert parts.names() == ["1.a-3.jsonl"]
    assert [line.line for line in parts.lines()] == [1, 2, 3]


def test_a_part_is_never_overwritten(tmp_path: Path) -> None:
    parts = ChunkParts(folder_at(tmp_path), 0)
    parts.write("1.a-1.jsonl", [answered(1)])
    with pytest.raises(FileExistsError):
        parts.write("1.a-1.jsonl", [answered(2)])
    assert list(parts.answered([1, 2])) == [1]
