"""The batch benchmarks run whole with numbers too small to mean anything: only that they work."""

import pytest
from bench_process import bench

pytestmark = [pytest.mark.engine, pytest.mark.all, pytest.mark.timeout(600)]


def test_batch_throughput_answers_the_same_rows_on_both_sides():
    rows, text = bench("batch_throughput.py", "--rounds", 1, "--rows", 6, "--tokens", 4, seconds=580)
    assert [row["side"] for row in rows] == ["job", "run_batch"]
    assert [row["answer tokens"] for row in rows] == ["24", "24"]
    assert all(float(row["rows/s"]) > 0 and float(row["peak MiB"]) > float(row["of it engine"]) > 0 for row in rows)
    ratio = float(rows[0]["rows/s"]) / float(rows[1]["rows/s"])
    assert float(rows[0]["ratio"]) == pytest.approx(ratio, rel=0.05)
    assert f"median ratio {rows[0]['ratio']}" in text


def test_batching_gain_tells_the_cost_of_a_row_in_the_batch_and_alone():
    rows, text = bench("batching_gain.py", "--rows", 6, "--alone", 2, "--tokens", 4, seconds=580)
    assert [(row["rows"], row["measured"]) for row in rows] == [("in a batch", "6"), ("one at a time", "2")]
    batch, alone = (float(row["engine seconds a row"]) for row in rows)
    assert float(rows[0]["cost"]) == pytest.approx(batch / alone, rel=0.05)
    assert f"costs {rows[0]['cost']} of a row alone" in text
