"""What the demo shows of a job while it runs."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from demo import watching
from demo.watching import Observation, Rate, observe


def job(reason: str, completed: int = 0, failed: int = 0, finished: str = "False") -> dict[str, Any]:
    return {
        "status": {
            "conditions": [
                {"type": "Progressing", "reason": reason, "message": "words"},
                {"type": "Finished", "status": finished},
            ],
            "rows": {"total": 10, "completed": completed, "failed": failed},
            "workers": {"desired": 2, "ready": 1},
        }
    }


def test_a_job_without_status_is_pending() -> None:
    assert observe({}) == Observation("Pending", "", 0, 0, 0, "0/0", finished=False)


def test_rows_of_both_kinds_count_as_done() -> None:
    assert observe(job("Processing", completed=3, failed=1)).done == 4


def test_the_rate_counts_from_the_first_rows_seen() -> None:
    rate = Rate()
    seen = [observe(job("Processing", completed=completed)) for completed in (0, 2, 6)]
    assert [rate.describe(one, now) for one, now in zip(seen, (0.0, 100.0, 102.0), strict=True)] == [
        "",
        "",
        "2.0 rows/s, 00:02 left",
    ]


def test_a_log_gets_a_line_for_each_new_activity() -> None:
    def versions() -> Iterator[dict[str, Any]]:
        yield from (job("Validating"), job("Processing"), job("Processing", 5), job("JobFinished", 10, finished="True"))

    output = io.StringIO()
    last = watching._lines(versions(), Console(file=output, width=200))
    assert [line.split()[0] for line in output.getvalue().splitlines()] == ["Validating", "Processing", "JobFinished"]
    assert observe(last).finished


@pytest.mark.parametrize("indent", [None, 4])
def test_objects_are_read_from_kubectls_output_in_one_line_and_indented(indent: int | None) -> None:
    events = [{"type": "ADDED", "object": {"a": {"b": 1}}}, {"type": "MODIFIED", "object": {}}]
    lines = "".join(json.dumps(event, indent=indent) + "\n" for event in events).splitlines(keepends=True)
    assert list(watching._objects(lines)) == events
