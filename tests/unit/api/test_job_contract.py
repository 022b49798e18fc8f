"""What operator and driver tell each other survives the way through a log and an environment variable."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tidemill_api.conditions import AWAITED, Reason
from tidemill_api.job_contract import ENTRYPOINT, OUTCOME_PREFIX, JobConfig, Outcome, OutputURIs, RowCounts, TokenCounts
from tidemill_api.v1alpha1.common import EngineArgs, ModelSpec

if TYPE_CHECKING:
    from pathlib import Path

counts = st.integers(0, 10**9)
outcomes = st.builds(
    Outcome,
    reason=st.sampled_from(Reason),
    message=st.text(),
    rows=st.builds(RowCounts, total=counts, completed=counts, failed=counts),
    tokens=st.builds(TokenCounts, prompt=counts, completion=counts),
    output=st.builds(OutputURIs, results=st.text()),
)


@given(outcomes, st.text(st.characters(exclude_categories=["Cs"])))
def test_an_outcome_is_found_again_in_any_log(outcome: Outcome, noise: str) -> None:
    line = outcome.to_log_line()
    assert "\n" not in line, "a message with line breaks must not tear the line"
    assert Outcome.from_log(f"{noise}\n{line}\n") == outcome


@given(outcomes, outcomes)
def test_the_last_outcome_of_a_log_counts(first: Outcome, last: Outcome) -> None:
    assert Outcome.from_log(f"{first.to_log_line()}\n{last.to_log_line()}\nbye\n") == last


def test_a_log_without_an_outcome_has_none() -> None:
    assert Outcome.from_log("") is None
    assert Outcome.from_log("Traceback (most recent call last):\n") is None


def test_a_torn_outcome_is_loud() -> None:
    with pytest.raises(ValidationError):
        Outcome.from_log(OUTCOME_PREFIX + '{"reason": "AllRows')


def test_only_what_the_user_can_mend_is_awaited() -> None:
    assert {reason for reason in Reason if Outcome(reason=reason, message="").awaited} == AWAITED
    assert not Outcome(reason=Reason.VALIDATION_FAILED, message="").awaited


def test_a_job_config_survives_its_environment_variable() -> None:
    config = JobConfig(
        namespace="default",
        name="tickets",
        attempt=1,
        model=ModelSpec(name="m", source="/m", engine_args=EngineArgs(max_model_len=2048, dtype="float32")),
        input_uri="/data/in/rows.jsonl",
        output_uri="/data/out/",
        workers_max=4,
        gpus_per_worker=0,
        mounts=("/data/in", "/data/out"),
    )
    assert JobConfig.model_validate_json(config.model_dump_json()) == config


def test_no_shell_stands_between_ray_and_the_driver(tmp_path: Path) -> None:
    """Ray waits, before it calls a job stopped, for each process below the one that it started."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho $$ "$@"\n')
    python.chmod(0o755)
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    started = subprocess.Popen(ENTRYPOINT, shell=True, text=True, stdout=subprocess.PIPE, env=path)
    said, _ = started.communicate(timeout=10)
    assert said.split() == [str(started.pid), "-m", "tidemill_workloads"]
