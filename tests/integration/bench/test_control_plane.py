"""The control plane's benchmark runs whole with numbers too small to mean anything: only that it works."""

import pytest
from bench_process import bench

pytestmark = [pytest.mark.all, pytest.mark.timeout(400)]


def test_a_few_jobs_are_measured_and_the_finished_ones_left_alone():
    rows, _ = bench("control_plane.py", "--finished", 30, "--running", 4, "--seconds", 5, seconds=380)
    found = {row["figure"]: row["beside finished jobs"] for row in rows}
    assert {row["without"] for row in rows if row["figure"] == "jobs finished / running"} == {"0 / 4"}
    assert found["jobs finished / running"] == "30 / 4"
    assert found["API calls that name a finished job"] == "0"
    assert float(found["statuses written a second"]) > 0
