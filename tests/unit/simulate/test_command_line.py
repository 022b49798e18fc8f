"""`tidemill simulate` as it is called: exit codes, tables, plots, files, and one message for a mistake."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tidemill_operator.simulate import suite
from tidemill_operator.simulate.command_line import main
from tidemill_operator.simulate.trace_reader import read_trace

CSV = """name,arrival,rows,window,rows_per_second,start_up,max_workers
invoices,0,20000,3h,12,90s,8
reviews,10m,4000,2h,4,150s,4
"""


@pytest.fixture
def day(tmp_path):
    path = tmp_path / "day.csv"
    path.write_text(CSV)
    return path


def run(capsys, *arguments):
    """Exit code, standard output, standard error."""
    try:
        code = main(["simulate", *map(str, arguments)])
    except SystemExit as end:
        code = end.code
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_a_trace_is_replayed_under_the_law_and_both_baselines(day, capsys):
    code, out, _ = run(capsys, day, "--format", "json")
    assert code == 0
    results = json.loads(out)
    assert [result["policy"] for result in results] == ["tidemill", "fixed", "depth"]
    assert all(result["met"] == result["jobs"] == 2 for result in results)
    assert results[0]["gpu_hours"] < results[1]["gpu_hours"]


def test_the_table_is_readable_without_a_terminal(day, capsys):
    _, out, _ = run(capsys, day)
    assert "day: 2 jobs, 64 GPUs" in out
    assert "windows met" in out
    assert "tidemill" in out
    assert "…" not in out


def test_a_plot_is_printed_or_written_as_text(day, capsys, tmp_path):
    _, out, _ = run(capsys, day, "--plot")
    assert "GPUs held by jobs" in out
    run(capsys, day, "--plot", tmp_path / "day.txt")
    drawn = (tmp_path / "day.txt").read_text()
    assert "GPUs held by jobs" in drawn
    assert "\x1b" not in drawn


def test_a_generated_trace_can_be_written_down_instead(capsys, tmp_path):
    path = tmp_path / "drip.jsonl"
    code, out, _ = run(capsys, "--generate", "steady-drip", "--seed", 5, "--write", path)
    assert (code, f"written to {path}" in out) == (0, True)
    assert read_trace(path).jobs


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["missing.csv"], "tidemill simulate: missing.csv: cannot be read"),
        ([], "one of the arguments TRACE --generate --suite is required"),
        (["--suite", "--plot"], "--suite: takes neither --plot nor --write"),
        (["--suite", "--seeds", "0"], "0 is less than 1"),
        (["--generate", "full-moon"], "invalid choice: 'full-moon'"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(arguments, told, capsys):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert told in err
    assert "Traceback" not in err


def test_the_suite_exits_1_where_a_bound_is_missed_and_0_where_none_is(capsys, monkeypatch):
    policies = suite.POLICIES
    monkeypatch.setattr(suite, "GENERATORS", {"steady-drip": suite.GENERATORS["steady-drip"]})
    code, out, err = run(capsys, "--suite", "--seeds", 1, "--processes", 1, "--format", "markdown")
    assert (code, err) == (0, "")
    assert "| steady-drip | tidemill |" in out
    monkeypatch.setattr(suite.run_suite, "__defaults__", (20, 1, {suite.LAW: policies["fixed"]}, None))
    code, _, err = run(capsys, "--suite", "--seeds", 1, "--processes", 1)
    assert code == 1
    assert "bound missed: steady-drip: 1." in err


def test_help_teaches_the_format_of_a_trace(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    for word in (
        "name,arrival,rows,window",
        "examples:",
        "capacity: The GPUs",
        "rows_per_second       required",
        "--suite",
    ):
        assert word in out


def test_nothing_of_the_operators_shell_is_needed():
    """Who installs the extra `simulate` alone has no Kopf and no Kubernetes client."""
    program = "import sys, tidemill_operator.simulate.command; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert {"kopf", "kubernetes", "aiohttp", "prometheus_client", "ray"} & set(done.stdout.split()) == set()


def test_the_example_of_the_readme_runs_and_its_plot_shows_when_nothing_is_held(capsys):
    example = Path(__file__).parents[3] / "hack" / "examples" / "jobs-trace.csv"
    code, out, _ = run(capsys, example, "--format", "json", "--plot")
    assert code == 0
    results, drawn = out.split("\n]\n", 1)
    ours, fixed, _ = json.loads(results + "]")
    assert (ours["met"], ours["missed"], ours["false_alerts"]) == (8, 0, 0)
    assert ours["cost"] < fixed["cost"]
    row = re.sub(r"\x1b\[[0-9;]*m", "", drawn).splitlines()[3:8]
    assert any(re.search(r"[│┤] {10,}█+ +█", line) for line in row), drawn
