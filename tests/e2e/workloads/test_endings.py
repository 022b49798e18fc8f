"""Cut short and run to its end by another job: real drivers on a real Ray cluster, an engine that counts its rows."""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from driver_process import DriverProcess, durable_rows, finished_rows
from ray_cluster import RayCluster, environment
from workload_builders import MODEL, job, model_at, request, write_lines

from tidemill_api import job_contract as contract
from tidemill_api.conditions import Reason
from tidemill_api.v1alpha1.common import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tidemill_api.job_contract import Outcome

IDS = [f"r-{number:03d}" for number in range(160)]
"""At 0.2 s a row and 16 in flight: 2 s of work."""


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the engines write down what they answered."""
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="module")
def cluster(notes: Path) -> Iterator[RayCluster]:
    with RayCluster(environment("engines:counting", notes) | {"TIDEMILL_TEST_SECONDS": "0.2"}) as cluster:
        cluster.add_worker()
        yield cluster


def answered(notes: Path) -> Counter[str]:
    """How often each row was answered so far."""
    return Counter(name for path in notes.glob("answers-*") for name in path.read_text().split())


def start(cluster: RayCluster, root: Path, attempt: int, **changes: Any) -> DriverProcess:
    spec = ModelSpec(name=MODEL, source=str(model_at(root / "model")), engine_args={"max_num_seqs": 8})
    config = job(root, model=spec, attempt=attempt, **changes)
    log = root / f"driver-{changes.get('name', '')}-{attempt}.log"
    return DriverProcess.start(config, cluster.address, cluster.environment, log)


def ended(driver: DriverProcess) -> Outcome:
    code, outcome = driver.end()
    assert code == contract.EXIT_OK
    assert outcome is not None
    return outcome


def test_a_lost_job_is_cancelled_with_complete_files_and_another_job_runs_its_rest(
    cluster: RayCluster, notes: Path, tmp_path: Path
) -> None:
    write_lines(tmp_path / "input.jsonl", [request(name) for name in IDS])
    output, rest = tmp_path / "output", tmp_path / "rest"
    lost = start(cluster, tmp_path, 1)
    lost.wait_until(lambda: len(durable_rows(output)) > len(IDS) // 4)
    lost.kill()

    outcome = ended(start(cluster, tmp_path, 2, ending="Cancelled"))
    assert outcome.reason == Reason.CANCELLED
    assert finished_rows(output) == Counter(IDS)
    results = (output / "results.jsonl").read_bytes().splitlines()
    kept = {json.loads(line)["custom_id"] for line in results}
    assert len(IDS) // 4 < len(kept) < len(IDS)
    assert (outcome.rows.completed, outcome.rows.failed) == (len(kept), len(IDS) - len(kept))

    before = answered(notes)
    merged = ended(start(cluster, tmp_path, 1, name="rest", output_uri=f"{rest}/", resubmit_of_uri=f"{output}/"))
    assert merged.reason == Reason.ALL_ROWS_ANSWERED
    assert answered(notes) - before == Counter(set(IDS) - kept), "only rows without an answer are run, each once"
    assert finished_rows(rest) == Counter(IDS)
    assert set(results) <= set((rest / "results.jsonl").read_bytes().splitlines())
    assert json.loads((rest / "manifest.json").read_text())["rows"]["takenOver"] == len(kept)


def test_a_lost_job_whose_input_went_expires_with_a_line_for_each_row_and_its_rest_runs_once_it_is_back(
    cluster: RayCluster, notes: Path, tmp_path: Path
) -> None:
    write_lines(tmp_path / "input.jsonl", [request(name) for name in IDS])
    output, rest = tmp_path / "output", tmp_path / "rest"
    lost = start(cluster, tmp_path, 1, name="gone")
    lost.wait_until(lambda: len(durable_rows(output)) > len(IDS) // 4)
    lost.kill()
    (tmp_path / "input.jsonl").rename(tmp_path / "away.jsonl")

    outcome = ended(start(cluster, tmp_path, 2, name="gone", ending="Expired"))
    assert outcome.reason == Reason.EXPIRED
    assert "there is no file" in outcome.message
    kept, nameless = (
        [json.loads(line)["custom_id"] for line in (output / name).read_text().splitlines()]
        for name in ("results.jsonl", "errors.jsonl")
    )
    assert len(IDS) // 4 < len(set(kept)) == len(kept) < len(IDS)
    assert nameless == [None] * (len(IDS) - len(kept))

    (tmp_path / "away.jsonl").rename(tmp_path / "input.jsonl")
    before = answered(notes)
    merged = ended(start(cluster, tmp_path, 1, name="again", output_uri=f"{rest}/", resubmit_of_uri=f"{output}/"))
    assert merged.reason == Reason.ALL_ROWS_ANSWERED
    assert finished_rows(rest) == Counter(IDS)
    assert answered(notes) - before == Counter(set(IDS) - set(kept))


def test_too_many_failed_rows_end_a_job_early_with_complete_files(cluster: RayCluster, tmp_path: Path) -> None:
    ids = [f"bad-{number}" for number in range(20)] + IDS
    write_lines(tmp_path / "input.jsonl", [request(name) for name in ids])
    outcome = ended(start(cluster, tmp_path, 1, name="hopeless", max_failed_rows=5))
    assert outcome.reason == Reason.TOO_MANY_ROWS_FAILED
    assert finished_rows(tmp_path / "output") == Counter(ids)
    assert outcome.rows.completed < len(IDS), "the rest is not run"
    manifest = json.loads((tmp_path / "output" / "manifest.json").read_text())
    assert manifest["rows"]["unanswered"] > 0
    assert not list(tmp_path.glob("output/parts*"))


def test_a_driver_that_is_refused_midway_leaves_its_log_beside_the_output(cluster: RayCluster, tmp_path: Path) -> None:
    write_lines(tmp_path / "input.jsonl", [request(name) for name in IDS])
    driver = start(cluster, tmp_path, 1, name="changed")
    driver.wait_until(lambda: len(durable_rows(tmp_path / "output")) > 0)
    os.utime(tmp_path / "input.jsonl", ns=(1, 1))
    code, outcome = driver.end()
    assert code == contract.EXIT_USER
    assert outcome is not None
    head, *rest = (tmp_path / "output" / "driver.log").read_text().splitlines()
    assert head.startswith("job shop/changed, attempt 1, ended ")
    assert head.endswith(outcome.message)
    assert any("rows have a line" in line for line in rest)
