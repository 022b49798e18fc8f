"""The log beside the output: there where an attempt failed, bounded, without secrets, never in another's folder."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from workload_builders import folder_at, job, request, write_lines

from tidemill_api.conditions import Reason
from tidemill_api.job_contract import CONFIG_VARIABLE, EXIT_BUG, EXIT_USER
from tidemill_workloads import __main__ as entrypoint
from tidemill_workloads.driver_log import LOG_FILE, LogTail
from tidemill_workloads.errors import JobRefused
from tidemill_workloads.identity import own_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def loggers_as_before() -> Iterator[None]:
    """The entry point sets up this process's loggers: undone for the tests after this one."""
    before = [(logging.getLogger(name), logging.getLogger(name).handlers[:]) for name in (None, "tidemill_workloads")]
    yield
    for logger, handlers in before:
        logger.handlers = handlers
    logging.getLogger("tidemill_workloads").propagate = True


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord("x", logging.INFO, "x.py", 1, message, (), None)


def test_only_the_last_records_are_kept_within_the_bound() -> None:
    tail = LogTail(limit=200)
    for number in range(50):
        tail.handle(record(f"record {number}"))
    text = tail.text().decode()
    assert len(text) <= 200
    assert text.endswith("record 49\n")
    assert text.startswith("20"), "records are whole"
    tail.handle(record("x" * 1000))
    assert len(tail.text()) == 200


def run(root: Path, monkeypatch: pytest.MonkeyPatch, **changes: object) -> int:
    monkeypatch.setenv(CONFIG_VARIABLE, job(root, **changes).model_dump_json())
    return entrypoint.main()


def test_a_refused_job_leaves_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lines(tmp_path / "input.jsonl", [b"{"])
    monkeypatch.setenv("MY_SECRET", "validating")
    assert run(tmp_path, monkeypatch, attempt=3) == EXIT_USER
    head, *rest = (tmp_path / "output" / LOG_FILE).read_text().splitlines()
    assert head.startswith("job shop/tickets, attempt 3, ended 2")
    assert "ValidationFailed: 1 line is not a valid request" in head
    assert any("*** " in line for line in rest)
    assert not any("validating" in line for line in rest)


def test_a_bug_leaves_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("of ours")

    write_lines(tmp_path / "input.jsonl", [request("a")])
    monkeypatch.setattr(entrypoint, "validate", broken)
    assert run(tmp_path, monkeypatch) == EXIT_BUG
    text = (tmp_path / "output" / LOG_FILE).read_text()
    assert "Traceback" in text
    assert "ZeroDivisionError: of ours" in text


def test_a_job_that_ends_well_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lines(tmp_path / "input.jsonl", [request("a")])
    monkeypatch.setattr(entrypoint, "become_driver", lambda _: None)
    assert run(tmp_path, monkeypatch) == 0
    assert run(tmp_path, monkeypatch, attempt=2, ending="Cancelled") == 0
    assert not (tmp_path / "output" / LOG_FILE).exists()


def test_a_folder_of_another_job_or_of_nobody_gets_no_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(tmp_path, monkeypatch) == EXIT_USER  # no input yet: nothing is owned
    assert list((tmp_path / "output").iterdir()) == []
    source = write_lines(tmp_path / "input.jsonl", [b"{"])
    own_folder(folder_at(tmp_path / "output"), job(tmp_path, name="other"), source.identity)
    assert run(tmp_path, monkeypatch) == EXIT_USER
    assert [path.name for path in (tmp_path / "output").iterdir()] == ["job.json"]


def test_a_log_that_cannot_be_written_does_not_change_the_end(tmp_path: Path) -> None:
    write_lines(tmp_path / "input.jsonl", [request("a")])
    (tmp_path / "output").write_text("a file")
    tail = LogTail()
    tail.keep(job(tmp_path))
    tail.keep(job(tmp_path), JobRefused(Reason.OUTPUT_NOT_WRITABLE, "full"))
    assert (tmp_path / "output").read_text() == "a file"
