"""The workflow of GitHub's: its schema, what a security linter says of it, and the rules of this house."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
FILE = ROOT / ".github" / "workflows" / "ci.yaml"
WORKFLOW: dict[Any, Any] = yaml.safe_load(FILE.read_text())
JOBS: dict[str, dict[str, Any]] = WORKFLOW["jobs"]


def tool(name: str, *words: str) -> None:
    program = str(Path(sys.executable).with_name(name))
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def steps(key: str) -> list[tuple[str, str]]:
    """Job and value of every step that has `key`."""
    return [(name, step[key]) for name, job in JOBS.items() for step in job["steps"] if key in step]


def test_it_fits_the_schema_of_workflows() -> None:
    tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(FILE))


def test_a_security_linter_has_nothing_to_say() -> None:
    tool("zizmor", "--offline", "--no-progress", "--persona=pedantic", str(FILE))


def test_actions_are_pinned_to_a_commit_and_say_which_release_that_is() -> None:
    lines = re.findall(r"uses: (.*)", FILE.read_text())
    assert len(lines) == len(steps("uses"))
    assert [line for line in lines if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}   # v\d+\.\d+\.\d+", line)] == []


def test_jobs_may_read_the_sources_and_nothing_else() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert [name for name, job in JOBS.items() if "permissions" in job] == []
    assert "secrets." not in FILE.read_text()


@pytest.mark.parametrize("job", JOBS)
def test_every_job_ends_in_time_on_one_known_system(job: str) -> None:
    assert 0 < JOBS[job]["timeout-minutes"] <= 120
    assert re.fullmatch(r"ubuntu-\d\d\.04", JOBS[job]["runs-on"])


def test_a_newer_push_ends_the_run_of_an_older_one() -> None:
    assert WORKFLOW["concurrency"]["cancel-in-progress"] is True


def test_it_runs_tests_chart_dependencies_images_and_kind() -> None:
    assert set(JOBS) == {"tests", "chart", "dependencies", "images", "kind"}


def test_no_text_of_others_gets_into_a_command() -> None:
    assert [run for _, run in steps("run") if "${{" in run] == []


def test_every_script_and_test_that_it_names_is_there() -> None:
    named = [
        word for _, run in steps("run") for word in shlex.split(run) if word.startswith(("./", "tests/", "charts/"))
    ]
    assert len(named) > 8
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_makers_of_the_cluster_agree() -> None:
    """kind's release makes node images of its own; the script asks for one of that release."""
    (kind,) = [step["with"]["version"] for step in JOBS["kind"]["steps"] if "kind-action" in step.get("uses", "")]
    script = (ROOT / "hack" / "kind.sh").read_text()
    assert f"kind {kind.removeprefix('v').rpartition('.')[0]}" in script
    assert re.search(r"node_image=kindest/node:v1\.\d+\.\d+@sha256:[0-9a-f]{64}\n", script)
