"""Jobs that take long enough to be broken in the middle, and what must hold for them in the end."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from chaos_notes import Loss, Notes, begun_although_kept, may_run_again, unexplained

from tidemill_workloads.parts import decode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ROWS = 2000
IN_FLIGHT = 32
"""Rows of one worker: twice maxNumSeqs."""

Json = dict[str, Any]


def manifest(
    jobs: Any,
    *,
    workers: int = 2,
    least: int | None = None,
    seconds: float = 0.8,
    engine: str = "chaos_engines:noting",
    in_flight: int = IN_FLIGHT,
    **spec: Any,
) -> Json:
    """A job whose rows take so many seconds; by default 40 rows a second on each worker, 2,000 rows in 25 s.

    It has all its workers from the start, or `least` and as many more as the law says.
    """
    engine_args = {"maxNumSeqs": in_flight // 2}
    model = {"name": "smollm2", "source": "/models/smollm2", "engineArgs": engine_args}
    environment = {"TIDEMILL_TEST_SECONDS": str(seconds)} | spec.pop("environment", {})
    spec = {"workers": {"min": workers if least is None else least, "max": workers}, "model": model} | spec
    made: Json = jobs.manifest(engine=engine, environment=environment, **spec)
    return made


def start(jobs: Any, *, rows: int = ROWS, slow_every: int = 0, **options: Any) -> list[str]:
    """Such a job, running; the custom_ids of its rows. Every `slow_every`-th row is one that takes 20 s."""
    slow = set(range(slow_every, rows + 1, slow_every)) if slow_every else set()
    ids = [f"slow-{number}" if number in slow else f"row-{number}" for number in range(1, rows + 1)]
    jobs.write_ids(ids)
    jobs.apply(manifest(jobs, **options))
    return ids


def chunks_of(jobs: Any, ids: Sequence[str]) -> dict[str, int]:
    """Which chunk each row stands in, as the running job's index says; row `n` of `ids` is on line `n`."""
    _, *chunks = jobs.lines("index/chunks.jsonl")
    return {
        ids[line - 1]: number
        for number, _offset, _length, first_line, lines, _rows in chunks
        for line in range(first_line, first_line + lines)
    }


def all_answered(jobs: Any, ids: Sequence[str], seconds: int = 300) -> None:
    """The job ends with a result for each row, each once, in input order."""
    succeeded = jobs.wait_finished(seconds=seconds)
    assert succeeded["reason"] == "AllRowsAnswered", succeeded
    once_each(jobs, ids)
    assert jobs.answered_ids() == list(ids)


def once_each(jobs: Any, ids: Sequence[str]) -> None:
    """Each custom_id stands in exactly one line of results and errors together."""
    assert Counter(jobs.answered_ids()) == Counter(ids)


def durable_rows(output: Path) -> frozenset[str]:
    """custom_ids of the rows that have a line in the parts; of a part that is folded or joined meanwhile maybe none."""
    found = set()
    for part in output.glob("parts/*/*.jsonl"):
        try:
            lines = decode(part.read_bytes())
        except FileNotFoundError:
            continue
        found.update(json.loads(line.payload)["custom_id"] for line in lines)
    return frozenset(found)


def only_what_was_lost_ran_again(notes: Notes, losses: Sequence[Loss], spare: int = 0) -> None:
    """Run again: rows in flight at a loss, or answered in the last flush period before it; `spare` rows more.

    Whatever had a durable line at a loss is begun by no engine that started after it.
    """
    kept = begun_although_kept(notes, losses)
    assert kept == [], f"{len(kept)} rows ran again although they had their line"
    for_nothing = unexplained(notes, losses)
    assert for_nothing == [], f"{len(for_nothing)} rows ran again although nothing of them was lost"
    again = sum(notes.run_again().values())
    assert again <= may_run_again(notes, losses) + spare, f"{again} rows ran again"
