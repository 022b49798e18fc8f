"""Traces in files: what is read, what is written, and what a wrong line is told."""

import pytest

from tidemill_operator.simulate.generators import GENERATORS
from tidemill_operator.simulate.trace import Job
from tidemill_operator.simulate.trace_reader import TraceError, read_trace, write_trace

HEADER = "name,arrival,rows,window,rows_per_second,start_up,schedule\n"


def read(tmp_path, text, name="trace.csv"):
    path = tmp_path / name
    path.write_text(text)
    return read_trace(path)


def test_a_csv_of_jobs_is_read_with_times_in_words_and_empty_cells_left_out(tmp_path):
    trace = read(tmp_path, HEADER + "late,30m,2000,8h,4,,LatestSafe\nfirst,0,10,90s,12.5,1m30s,\n")
    first, late = trace.jobs
    assert (first.name, first.window, first.start_up, first.rows_per_second) == ("first", 90.0, 90.0, 12.5)
    assert (late.arrival, late.window, late.schedule, late.start_up) == (1800.0, 28800.0, "LatestSafe", 120.0)


def test_a_jsonl_may_hold_every_kind_of_line(tmp_path):
    lines = """
{"name": "a", "arrival": 5, "rows": 10, "window": "1h", "rows_per_second": 1}
{"kind": "endpoint", "name": "chat"}
{"kind": "load", "endpoint": "chat", "time": "1m", "requests_per_second": 3}
{"kind": "capacity", "time": 0, "gpus": 4}
{"kind": "loss", "time": 60, "share": 0.5}
{"kind": "price", "start": "22h", "end": "30h", "factor": 0.5}
{"kind": "limits", "gpu_limit": 7}
"""
    trace = read(tmp_path, lines, "trace.jsonl")
    assert (len(trace.jobs), len(trace.endpoints), len(trace.loads)) == (1, 1, 1)
    assert (trace.capacities[0].gpus, trace.losses[0].share, trace.prices[0].end) == (4, 0.5, 108000.0)
    assert trace.limits.gpu_limit == 7


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generated_trace_is_written_and_read_back_the_same(name, tmp_path):
    trace = GENERATORS[name](3)
    path = tmp_path / f"{name}.jsonl"
    write_trace(trace, path)
    assert read_trace(path, seed=3) == trace


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: a header is missing; begin with name,arrival"),
        (HEADER + "a,0,many,1h,1,,\n", "line 2: 'rows' is 'many'; should be a valid integer"),
        (HEADER + "a,0,10,soon,1,,\n", "line 2: 'window' is 'soon'; should be a valid number"),
        (HEADER + "a,0,10,soon,1,,\n", "or a time such as 90s, 30m, 4h"),
        (HEADER + "a,0,10,,1,,\n", "line 2: 'window' is missing; give it"),
        (HEADER + "a,0,10,1h,1,,\nb,0,0,1h,1,,\n", "line 3: 'rows' is '0'; should be greater than or equal to 1"),
        (HEADER + "a,0,10,1h,1,,Sometime\n", "line 2: 'schedule' is 'Sometime'; should be 'Asap' or 'LatestSafe'"),
        (HEADER + "a,0,10,1h,1,,Asap,7\n", "line 2: 1 cells more than the header has"),
        (HEADER + "a,0,10,1h,1,,\na,0,10,1h,1,,\n", "the name 'a' stands twice"),
        (HEADER, "neither a job nor an endpoint"),
        ("name,priority\na,1\n", "line 2: 'priority' is no field of a job; it has arrival,"),
        ('name,arrival\n"a,1\n', "no CSV"),
        (HEADER + "a,0,10,nan,1,,\n", "line 2: 'window' is 'nan'"),
    ],
)
def test_a_wrong_csv_is_told_by_line_field_and_fix(text, told, tmp_path):
    with pytest.raises(TraceError) as error:
        read(tmp_path, text)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "line 1: no JSON"),
        ("\n[1]", "line 2: not an object but list; write one object a line"),
        ('{"kind": "cluster"}', "line 1: kind 'cluster' is none; use one of job, endpoint"),
        ('{"kind": "load", "endpoint": "x", "time": 0, "requests_per_second": 1}', "neither a job nor an endpoint"),
        (
            '{"name": "a", "arrival": 0, "rows": 1, "window": 60, "target": 61, "rows_per_second": 1}',
            "line 1: target is longer than window (61 s > 60 s): make it shorter",
        ),
        ('{"kind": "price", "start": 2, "end": 1, "factor": 1}', "end (1 s) is not after start (2 s)"),
        ('{"kind": "limits"}\n{"kind": "limits"}\n{"kind": "endpoint", "name": "e"}', "2 lines of the kind limits"),
    ],
)
def test_a_wrong_jsonl_is_told_by_line_field_and_fix(text, told, tmp_path):
    with pytest.raises(TraceError) as error:
        read(tmp_path, text, "trace.jsonl")
    assert told in str(error.value)


def test_of_many_faults_the_first_are_told_and_the_others_counted(tmp_path):
    with pytest.raises(TraceError) as error:
        read(tmp_path, HEADER + "".join(f"job-{i},0,none,1h,1,,\n" for i in range(25)))
    assert str(error.value).count("'rows'") == 10
    assert "and 15 more faults" in str(error.value)


def test_another_kind_of_file_is_refused(tmp_path):
    with pytest.raises(TraceError, match=r"a \.csv or a \.jsonl file"):
        read(tmp_path, "x", "trace.yaml")
    with pytest.raises(TraceError, match="cannot be read"):
        read_trace(tmp_path / "missing.csv")


def test_a_target_is_a_third_of_the_window_but_for_a_job_that_may_wait():
    fields = {"name": "a", "arrival": 60, "rows": 1, "window": "3h", "rows_per_second": 1}
    assert Job(**fields).target_time == 60 + 3600
    assert Job(**fields, schedule="LatestSafe").target_time == 60 + 3 * 3600
    assert Job(**fields, schedule="LatestSafe", target="2h").target_time == 60 + 2 * 3600


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_draws_another_trace_for_another_seed_and_the_same_for_the_same(name):
    assert GENERATORS[name](1) == GENERATORS[name](1)
    assert GENERATORS[name](1).jobs != GENERATORS[name](2).jobs
