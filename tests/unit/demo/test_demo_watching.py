"""What the demo shows of a job while it runs."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from demo import kubectl
from demo.batch import watching
from demo.batch.watching import Observation, Rate, observe
from demo.errors import DemoError
from demo.kubectl import Kubectl


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
    def versions() -> Iterator[dict[str, Any] | None]:
        yield from (job("Validating"), job("Processing"), job("Processing", 5), job("JobFinished", 10, finished="True"))

    output = io.StringIO()
    last = watching._lines(versions(), Console(file=output, width=200))
    assert [line.split()[0] for line in output.getvalue().splitlines()] == ["Validating", "Processing", "JobFinished"]
    assert observe(last).finished


def starting(detail: str) -> dict[str, Any]:
    version = job("ClusterStarting")
    version["status"]["conditions"][0]["message"] = detail
    return version


CRASH = "The head pod is starting: CrashLoopBackOff: back-off 10s; it ended with exit code 1: [no such file]"


@pytest.mark.parametrize("show", [watching._lines, watching._bar])
def test_a_cause_that_came_right_after_another_line_is_shown_whole_once_nothing_moves(show: Any) -> None:
    output = io.StringIO()
    versions = iter([starting("The head pod is starting."), starting(CRASH), None, None])
    console = Console(file=output, width=60, force_terminal=show is watching._bar, color_system=None)
    assert observe(show(versions, console)).detail == CRASH
    shown = [line for line in output.getvalue().splitlines() if CRASH in line]
    assert len(shown) == 1, output.getvalue()


def test_a_job_that_does_not_move_is_said_again_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    output, clock = io.StringIO(), iter(range(0, 1000, 10))
    monkeypatch.setattr(watching.time, "monotonic", lambda: float(next(clock)))
    watching._lines(iter([starting(CRASH), *[None] * 9]), Console(file=output, width=200))
    assert output.getvalue().count("CrashLoopBackOff") == 4  # at once, and after 30, 60 and 90 s


def test_silence_is_told_and_asks_whether_anything_can_still_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubectl, "SILENCE_SECONDS", 0.05)
    script = f"echo '{json.dumps({'type': 'ADDED', 'object': starting(CRASH)})}'; exec sleep 60"

    def gone() -> None:
        raise DemoError("the operator has ended")

    with pytest.raises(DemoError, match="operator has ended"):
        watching.follow(Kubectl(("bash", "-c", script)), ("default", "tickets"), Console(file=io.StringIO()), gone)


@pytest.mark.parametrize("indent", [None, 4])
def test_objects_are_read_from_kubectls_output_in_one_line_and_indented(indent: int | None) -> None:
    events = [{"type": "ADDED", "object": {"a": {"b": 1}}}, {"type": "MODIFIED", "object": {}}]
    lines = "".join(json.dumps(event, indent=indent) + "\n" for event in events).splitlines(keepends=True)
    assert list(kubectl._objects(lines)) == events
