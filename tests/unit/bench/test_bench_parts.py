"""The benches' own arithmetic: whose memory counts when, and which of many latencies is told."""

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

BENCH = Path(__file__).parents[3] / "hack" / "bench"
PIECE_MIB = 100


@pytest.fixture(autouse=True)
def bench_path(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))


def forks_for(seconds):
    """One child after another that ends at once, each a copy of this process for some milliseconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        child = os.fork()
        if child == 0:
            time.sleep(0.03)
            os._exit(0)
        os.waitpid(child, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_copy_between_fork_and_exec_does_not_count_the_memory_twice():
    from memory import PeakMemory, trees

    piece = bytearray(PIECE_MIB * 2**20)
    this = psutil.Process()
    samples = 0.5  # seconds, far more than the fork of a large process takes
    with PeakMemory(lambda: trees([this]), lambda process: ("all",), samples) as memory:
        forks_for(4 * samples)
    resident = this.memory_info().rss / 2**20
    assert len(piece) == PIECE_MIB * 2**20
    assert PIECE_MIB < memory.mib["all"] < resident + PIECE_MIB / 2


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
