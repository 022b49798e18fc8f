"""Detached processes: recognised by their start time, stopped for good, never mistaken for another."""

import json
import os
import signal
import sys
import time

import pytest

from devcluster.processes import LARGEST_LOG_BYTES, Processes, Record, start_time

SLEEP = (sys.executable, "-c", "import time; print('here', flush=True); time.sleep(60)")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True); time.sleep(60)",
)


@pytest.fixture
def processes(tmp_path):
    made = Processes(tmp_path)
    yield made
    made.stop("one")


def wait_for_words(processes, words):
    deadline = time.monotonic() + 10
    while words not in processes.last_words("one"):
        assert time.monotonic() < deadline, processes.last_words("one")
        time.sleep(0.01)


def test_a_process_is_found_again_by_a_later_command(processes, tmp_path):
    record = processes.start("one", SLEEP, os.environ)
    assert Processes(tmp_path).running("one") == record
    assert record.age_seconds() < 10
    assert os.getsid(record.pid) == record.pid
    wait_for_words(processes, "here")


def test_a_stopped_process_is_gone_and_forgotten(processes):
    record = processes.start("one", SLEEP, os.environ)
    assert processes.stop("one")
    assert start_time(record.pid) is None
    assert processes.record("one") is None
    assert not processes.stop("one")


def test_a_process_that_ignores_the_request_is_killed(processes, monkeypatch):
    monkeypatch.setattr("devcluster.processes.STOP_SECONDS", 0.2)
    record = processes.start("one", STUBBORN, os.environ)
    wait_for_words(processes, "here")
    assert processes.stop("one")
    assert not record.alive()


def test_a_killed_process_is_seen_to_be_dead_though_its_record_stays(processes):
    record = processes.start("one", SLEEP, os.environ)
    os.kill(record.pid, signal.SIGKILL)
    while record.alive():
        time.sleep(0.01)
    assert processes.running("one") is None
    assert processes.record("one") == record


def test_a_pid_that_now_belongs_to_another_is_neither_ours_nor_stopped(processes, tmp_path):
    other = Record(os.getpid(), (start_time(os.getpid()) or 0) - 1, ("something",))
    folder = tmp_path / "processes"
    folder.mkdir()
    (folder / "one.json").write_text(json.dumps({"pid": other.pid, "started": other.started, "command": ["x"]}))
    assert processes.running("one") is None
    assert not processes.stop("one")


def test_a_torn_record_counts_as_none(processes, tmp_path):
    (tmp_path / "processes").mkdir()
    (tmp_path / "processes" / "one.json").write_text("{")
    assert processes.record("one") is None


def test_a_large_log_is_set_aside_at_the_next_start(processes):
    log = processes.log("one")
    log.parent.mkdir()
    with log.open("wb") as file:
        file.truncate(LARGEST_LOG_BYTES + 1)
    processes.start("one", SLEEP, os.environ)
    wait_for_words(processes, "here")
    assert log.stat().st_size < 100
    assert log.with_suffix(".log.1").exists()


def test_the_end_of_a_log_is_told(processes):
    log = processes.log("one")
    log.parent.mkdir()
    log.write_text("\n".join(str(number) for number in range(100)))
    assert processes.last_words("one", lines=2) == "98\n99"
    assert processes.last_words("another") == "(no log)"
