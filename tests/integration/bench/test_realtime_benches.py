"""The realtime benchmarks run whole with numbers too small to mean anything: only that they work."""

import os

import pytest
from bench_process import bench

pytestmark = [
    pytest.mark.engine,
    pytest.mark.all,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="the dev cluster makes network namespaces, which needs root"),
]


def test_realtime_overhead_asks_both_sides_the_same_and_says_where_the_rest_goes():
    rows, text = bench("realtime_overhead.py", "--quick", "--where", seconds=880)
    loads = [row for row in rows if row.get("side") in ("bare", "endpoint")]
    assert [(row["load"], row["side"]) for row in loads] == [
        (load, side) for load in ("0.5", "2") for side in ("bare", "endpoint")
    ]
    bare, ours = loads[2:]
    assert bare["requests"] == ours["requests"]
    assert all(float(row["tokens/s"]) > 0 and float(row["CPU ms/token"]) > 0 for row in loads)
    ratio = next(row for row in rows if (row["load"], row["side"]) == ("2", "ratio"))
    assert float(ratio["tokens/s"].split()[0]) == pytest.approx(
        float(ours["tokens/s"]) / float(bare["tokens/s"]), rel=0.1
    )
    assert "times the bare server's (goal at most 1.10)" in text
    assert "endpoint, by its Service" in text


def test_continuous_batching_compares_with_one_at_a_time_and_with_static_batches(tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("What is a tide mill?\nWhen is high water?\n")
    rows, text = bench("continuous_batching.py", "--quick", "--prompts", prompts, seconds=880)
    assert [(row["concurrent"], row["batches"]) for row in rows] == [
        ("1", "one at a time"),
        ("4", "continuous"),
        ("4", "static"),
    ]
    assert rows[1]["requests"] == rows[2]["requests"] == "8"
    assert float(rows[1]["gain"]) > 1.0
    assert f"the endpoint makes {rows[1]['gain']} times the tokens of one at a time" in text
