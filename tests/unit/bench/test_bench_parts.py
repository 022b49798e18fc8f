"""The benches' own arithmetic: whose memory counts when, and which of many latencies is told."""

import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

BENCH = Path(__file__).parents[3] / "hack" / "bench"


@pytest.fixture(autouse=True)
def bench_path(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))


@contextmanager
def sleeper():
    """A child that does nothing until this ends."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def eventually(check, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"not true within {seconds} s"
        time.sleep(0.01)


def test_a_process_counts_from_its_second_sample_on_for_between_fork_and_exec_it_is_a_copy():
    from memory import PeakMemory

    this, looks = psutil.Process(), 0
    with sleeper() as child:
        copy = psutil.Process(child.pid)

        def seen_by_every_other_look():
            nonlocal looks
            looks += 1
            return [this, copy] if looks % 2 else [this]

        def seen_by_every_look():
            return [this, copy]

        def groups(process):
            return ("this",) if process == this else ("copy",)

        with PeakMemory(seen_by_every_other_look, groups, 0.01) as memory:
            eventually(lambda: looks > 8)
        assert set(memory.mib) == {"this"}
        with PeakMemory(seen_by_every_look, groups, 0.01) as memory:
            eventually(lambda: "copy" in memory.mib)
        assert memory.mib["copy"] > 0


def test_a_process_counts_for_each_of_its_groups_and_one_without_for_none():
    from memory import PeakMemory

    this = psutil.Process()
    with PeakMemory(lambda: [this], lambda process: ("whole", "engine"), 0.01) as memory:
        time.sleep(0.1)
    assert memory.mib["whole"] == memory.mib["engine"] > 0
    with PeakMemory(lambda: [this], lambda process: (), 0.01) as nobody:
        time.sleep(0.05)
    assert not nobody.mib


def test_of_a_hundred_latencies_the_slowest_is_not_told_and_the_one_before_it_is():
    from control_plane_report import Latency

    told = Latency.of([number / 1000 for number in range(1, 101)])
    assert str(told) == "50 / 90 / 99 ms"
    with pytest.raises(SystemExit, match="nothing was measured"):
        Latency.of([])


def test_the_finished_side_breaks_a_bound_by_one_call_or_a_slow_reconcile():
    from control_plane_report import Latency, Side, Start, Work

    def side(p99, calls):
        quick = Latency(0.01, 0.02, 0.03)
        work = Work(60, 3000, Latency(0.01, 0.02, p99), quick, 250, 0.2, 240)
        return Side(10_000, 100, Start(9, 24), work, quick, calls, 0)

    assert side(0.9, 0).holds()
    assert not side(0.9, 1).holds()
    assert not side(1.1, 0).holds()
