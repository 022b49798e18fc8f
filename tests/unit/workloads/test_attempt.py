"""An attempt's watch over its workers, without Ray: the real attempt and coordinator, with played workers.

`Actor` stands for the coordinator behind Ray; `play` stands for the pipeline, and says to the coordinator what engine
actors would.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from workload_builders import answered, job, request, write_lines

from tidemill_api.conditions import Reason
from tidemill_workloads import __main__ as entrypoint
from tidemill_workloads import attempt as attempt_module
from tidemill_workloads.attempt import Attempt, Stalled, Stopped
from tidemill_workloads.coordinator import CoordinatorActor, Message, Orders, Writer
from tidemill_workloads.engine.interface import EngineSettings
from tidemill_workloads.errors import JobRefused
from tidemill_workloads.identity import ATTEMPTS, Claim
from tidemill_workloads.index import read_index
from tidemill_workloads.ledger import Level
from tidemill_workloads.local_storage import LocalFolder, LocalInput
from tidemill_workloads.manifest import MANIFEST_FILE
from tidemill_workloads.metrics import LiveMetrics
from tidemill_workloads.nodes import Nodes
from tidemill_workloads.parts import ERROR, PARTS, ChunkParts
from tidemill_workloads.progress import Report
from tidemill_workloads.retries import RetryPolicy
from tidemill_workloads.worker import WorkerSetup

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROWS = 6


class Actor:
    """A coordinator whose calls, like Ray's, come one at a time; their results need no `ray.get`."""

    def __init__(self) -> None:
        self.inner = CoordinatorActor()
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> Any:
            with self._lock:
                return getattr(self.inner, name)(*args)

        return SimpleNamespace(remote=call)

    def says(self, name: str, want: int = 0, **report: Any) -> Orders:
        """A worker's message."""
        orders: Orders = self.exchange.remote(Message(Report(name, "10.0.0.1", **report), want=want))
        return orders


@dataclass(frozen=True)
class WatchedFolder(LocalFolder):
    """A folder whose looks for a newer attempt and into the parts call a hook first, once there is one."""

    hooks: dict[str, Callable[[], None]] = field(default_factory=dict)

    def exists(self, name: str) -> bool:
        if name.startswith(ATTEMPTS) and "attempts" in self.hooks:
            self.hooks["attempts"]()
        return super().exists(name)

    def names(self, prefix: str) -> list[str]:
        if prefix.startswith(PARTS) and "parts" in self.hooks:
            self.hooks["parts"]()
        return super().names(prefix)


@pytest.fixture(autouse=True)
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt_module, "ray", SimpleNamespace(get=lambda result: result))
    monkeypatch.setattr(attempt_module, "nodes_now", Nodes)
    monkeypatch.setattr(attempt_module, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(attempt_module, "CLAIM_CHECK_SECONDS", 0.05)


def attempt_of(root: Path, monkeypatch: pytest.MonkeyPatch, play: Callable[[Attempt], None], **changes: Any) -> Attempt:
    """An attempt over validated rows, whose pipeline is `play`."""
    config = job(root, **changes)
    if not (root / "input.jsonl").exists():
        write_lines(root / "input.jsonl", [request(f"r-{number}") for number in range(1, ROWS + 1)])
    claim = entrypoint.prepare(config)
    assert isinstance(claim, Claim)
    index = read_index(claim.folder)
    assert index is not None
    source = LocalInput.at(root / "input.jsonl", str(root / "input.jsonl"))
    watched = replace(claim, folder=WatchedFolder(root / "output", config.output_uri))
    setup = WorkerSetup(EngineSettings(config.model, 0), source, watched, RetryPolicy())
    attempt = Attempt(config, setup, index, LiveMetrics(config), Actor())
    monkeypatch.setattr(attempt_module, "run_lanes", lambda *_: play(attempt))
    return attempt


def hooks_of(attempt: Attempt) -> dict[str, Callable[[], None]]:
    folder = attempt.setup.claim.folder
    assert isinstance(folder, WatchedFolder)
    return folder.hooks


def test_a_stop_is_heard_while_the_store_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, back = threading.Event(), threading.Event()

    def down() -> None:
        asked.set()
        back.wait(5)

    def play(attempt: Attempt) -> None:
        asked.wait(5)
        attempt.stop_asked.set()
        back.wait(5)

    attempt = attempt_of(tmp_path, monkeypatch, play)
    hooks_of(attempt)["attempts"] = down
    begun = time.monotonic()
    try:
        with pytest.raises(Stopped):
            attempt.run()
        assert asked.is_set()
        assert time.monotonic() - begun < 4
    finally:
        back.set()


def test_progress_is_seen_while_a_loss_is_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store answers the look into the parts only after the attempt has shown what was done meanwhile."""
    seen = threading.Event()

    def play(attempt: Attempt) -> None:
        actor = attempt.coordinator
        actor.hello.remote(Writer("a", "x", "node"))
        assert actor.says("a", want=ROWS).works
        hooks_of(attempt)["parts"] = wait_until_seen
        actor.hello.remote(Writer("b", "y", "node"))  # in its place, so `a` died with its rows
        actor.says("b", in_flight=3)
        while attempt.metrics.registry.get_sample_value(*in_flight_at(attempt)) != 3:
            time.sleep(0.01)
        seen.set()
        while not (works := actor.says("b", want=ROWS).works):
            time.sleep(0.01)
        levels.append(works[0].level)
        attempt.stop_asked.set()
        actor.says("b", stopped=True)

    def wait_until_seen() -> None:
        in_time.append(seen.wait(5))

    in_time: list[bool] = []
    levels: list[Level] = []
    monkeypatch.setattr(attempt_module, "STOP_SECONDS", 0.1)  # nobody is left of `a` that could flush
    with pytest.raises(Stopped):
        attempt_of(tmp_path, monkeypatch, play).run()
    assert levels == [Level.GROUP]
    assert in_time
    assert all(in_time)


def test_no_figure_is_shown_before_the_survey_and_none_reads_as_zero_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second attempt over a job that is half done: until its survey it says nothing of rows."""
    seen: list[tuple[float | None, float | None]] = []

    def figures() -> tuple[float | None, float | None]:
        value = attempt.metrics.registry.get_sample_value
        labels = {"job": "shop/tickets", "attempt": "1"}
        return value("tidemill_batch_rows_total", labels), value("tidemill_batch_rows_completed", labels)

    def play(attempt: Attempt) -> None:
        seen.append(figures())
        attempt.stop_asked.set()

    attempt = attempt_of(tmp_path, monkeypatch, play)
    for chunk in attempt.index.chunks[:4]:
        ChunkParts(attempt.setup.claim.folder, chunk.number).write(
            "000001.a-000001.jsonl", [answered(chunk.first_line)]
        )
    hooks_of(attempt)["parts"] = lambda: seen.append(figures())
    known = attempt.metrics.known
    monkeypatch.setattr(attempt.metrics, "known", lambda *rows: (seen.append(figures()), known(*rows)))
    with pytest.raises(Stopped):
        attempt.run()
    assert seen[0] == (None, None)
    assert (None, 4) in seen, "what is done is said before the rows in all"
    assert seen[-1] == (ROWS, 4)
    assert all(completed == 4 for total, completed in seen if total is not None)


def in_flight_at(attempt: Attempt) -> tuple[str, dict[str, str]]:
    labels = {"job": "shop/tickets", "attempt": "1", "node": "10.0.0.1"}
    return "tidemill_batch_rows_in_flight", labels


def test_a_refusal_that_the_attempt_finds_itself_lets_the_workers_flush(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise JobRefused(Reason.STORAGE_UNREACHABLE, "spec.output.uri: away")

    flushed = threading.Event()

    def play(attempt: Attempt) -> None:
        while not attempt.coordinator.says("a", in_flight=1).stop:
            time.sleep(0.01)
        time.sleep(0.1)
        flushed.set()
        attempt.coordinator.says("a", stopped=True)

    attempt = attempt_of(tmp_path, monkeypatch, play)
    hooks_of(attempt)["attempts"] = refuse
    with pytest.raises(JobRefused, match="away"):
        attempt.run()
    assert flushed.is_set()


def two_failed_rows_told_by_two_workers(attempt: Attempt) -> None:
    """As where a silent worker's rows are given to another and both make their lines durable."""
    for name in ("a", "b"):
        for chunk in attempt.index.chunks[:2]:  # of one row each
            line = answered(chunk.first_line, ERROR)
            ChunkParts(attempt.setup.claim.folder, chunk.number).write(f"000001.{name}-000001.jsonl", [line])
    for name in ("a", "b"):
        attempt.coordinator.says(name, failed=2, stopped=True)


def test_a_row_that_failed_with_two_workers_counts_once_against_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = attempt_of(tmp_path, monkeypatch, two_failed_rows_told_by_two_workers, max_failed_rows=3)
    with pytest.raises(Stalled, match="fewer rows failed"):
        attempt.run()
    assert attempt.base.failed == 2
    assert not (tmp_path / "output" / MANIFEST_FILE).exists(), "the next attempt goes on"


def test_too_many_failed_rows_end_the_job_with_their_true_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = attempt_of(tmp_path, monkeypatch, two_failed_rows_told_by_two_workers, max_failed_rows=1).run()
    assert outcome.reason == Reason.TOO_MANY_ROWS_FAILED
    assert outcome.message.startswith("2 rows failed, more than spec.maxFailedRows (1) allows.")
    assert (outcome.rows.failed, outcome.rows.total) == (ROWS, ROWS)
