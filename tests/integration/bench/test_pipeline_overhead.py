"""The pipeline's benchmark runs whole with fewer rows than mean anything: only that it works."""

import pytest
from bench_process import bench

pytestmark = [pytest.mark.all, pytest.mark.timeout(400)]

ROWS = 100_000
"""Enough that the driver can be killed in the middle."""


def test_each_phase_is_measured_and_a_killed_driver_goes_on():
    rows, text = bench("pipeline_overhead.py", "--rows", ROWS, seconds=380)
    assert [row["rows"] for row in rows] == ["10,000", "100,000"]
    for row in rows:
        phases = [float(row[f"{phase} s"]) for phase in ("validate", "process", "finalise")]
        assert min(phases) > 0
        assert sum(phases) <= float(row["all s"]) + 0.2
        assert all(float(row[f"peak MiB {whose}"]) > 0 for whose in ("driver", "coordinator", "worker"))
    assert "driver killed at 90%" in text
