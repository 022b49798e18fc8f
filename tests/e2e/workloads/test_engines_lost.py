"""Rows that kill or stop engines, workers that come late or are lost: on a real Ray cluster, counted by the engines."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from driver_process import DriverProcess, durable_rows, finished_rows
from ray_cluster import RayCluster, environment
from workload_builders import MODEL, job, model_at, request, write_lines

from tidemill_api import job_contract as contract
from tidemill_api.conditions import Reason
from tidemill_api.v1alpha1.common import ModelSpec
from tidemill_workloads.chunk_run import DEADLY_CODE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class World:
    """A cluster whose engines write down what they answer, and one job on it."""

    def __init__(self, cluster: RayCluster, root: Path) -> None:
        self.cluster, self.root, self.output = cluster, root, root / "output"

    def start(self, wanted: list[str], max_num_seqs: int, **changes: Any) -> DriverProcess:
        write_lines(self.root / "input.jsonl", [request(name) for name in wanted])
        arguments = {"max_num_seqs": max_num_seqs}
        spec = ModelSpec(name=MODEL, source=str(model_at(self.root / "model")), engine_args=arguments)
        config = job(self.root, model=spec, **changes)
        return DriverProcess.start(config, self.cluster.address, self.cluster.environment, self.root / "driver.log")

    def errors(self) -> dict[str, dict[str, Any]]:
        lines = map(json.loads, (self.output / "errors.jsonl").read_text().splitlines())
        return {line["custom_id"]: line for line in lines}


class Notes:
    """What the engines wrote down since these notes were begun."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.before = len(self._starts())

    def _starts(self) -> list[str]:
        path = self.scratch / "starts"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def answers(self) -> list[list[str]]:
        """By engine process in the order of their starts, the rows that it answered."""
        files = [self.scratch / f"answers-{process}" for process in self._starts()[self.before :]]
        return [file.read_text().splitlines() if file.exists() else [] for file in files]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="module")
def shared_cluster(scratch: Path) -> Iterator[RayCluster]:
    settings = {"TIDEMILL_TEST_SECONDS": "0.1", "TIDEMILL_TEST_STALL_SECONDS": "3"}
    with RayCluster(environment("engines:counting", scratch) | settings) as cluster:
        cluster.add_worker()
        yield cluster


@pytest.fixture
def world(shared_cluster: RayCluster, tmp_path: Path) -> World:
    return World(shared_cluster, tmp_path)


def names(count: int) -> list[str]:
    return [f"r-{number:04d}" for number in range(count)]


@pytest.mark.parametrize("deed", ["kill", "hang"])
def test_one_deadly_row_among_64_in_flight_costs_three_engines_and_becomes_an_error_line(
    world: World, scratch: Path, deed: str
) -> None:
    wanted = names(64)
    wanted[29] = f"{deed}-0029"
    notes = Notes(scratch)
    code, outcome = world.start(wanted, max_num_seqs=32).end(timeout=150)
    assert code == contract.EXIT_OK
    assert outcome is not None
    assert (outcome.rows.completed, outcome.rows.failed) == (63, 1)
    assert finished_rows(world.output) == Counter(wanted)
    line = world.errors()[wanted[29]]
    assert (line["response"], line["error"]["code"]) == (None, DEADLY_CODE)
    assert len(notes.answers) <= 1 + 3


def test_too_many_failed_rows_end_a_job_with_complete_files(world: World) -> None:
    wanted = [name.replace("r-", "bad-") if number % 2 else name for number, name in enumerate(names(400))]
    code, outcome = world.start(wanted, max_num_seqs=4, max_failed_rows=10).end()
    assert code == contract.EXIT_OK
    assert outcome is not None
    assert outcome.reason == Reason.TOO_MANY_ROWS_FAILED
    assert 0 < outcome.rows.completed < 190
    assert outcome.rows.completed + outcome.rows.failed == 400
    assert finished_rows(world.output) == Counter(wanted)
    codes = Counter(line["error"] and line["error"]["code"] for line in world.errors().values())
    assert codes[None] > 10
    assert codes["batch_cancelled"] > 100


@pytest.mark.all
def test_a_late_worker_answers_its_share_and_the_rows_of_a_lost_one_run_first(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    wanted = names(2000)
    with RayCluster(environment("engines:counting", tmp_path) | {"TIDEMILL_TEST_SECONDS": "0.1"}) as cluster:
        world = World(cluster, tmp_path)
        cluster.add_worker()
        driver = world.start(wanted, max_num_seqs=3, workers_max=2)
        driver.wait_until(lambda: len(durable_rows(world.output)) > 60)
        cluster.add_worker()
        driver.wait_until(lambda: len(notes.answers) == 2)
        answered_before = sum(map(len, notes.answers))
        driver.wait_until(lambda: len(notes.answers[1]) > 150)
        assert len(notes.answers[1]) > (sum(map(len, notes.answers)) - answered_before) / 3
        cluster.remove_worker()
        first = set(notes.answers[0])
        code, outcome = driver.end(timeout=120)
    assert code == contract.EXIT_OK
    assert outcome is not None
    assert outcome.reason == Reason.ALL_ROWS_ANSWERED
    assert finished_rows(world.output) == Counter(wanted)
    second = notes.answers[1]
    again = [place for place, name in enumerate(second) if name in first]
    assert len(again) <= 100, "only rows answered since the last flush run again"
    assert max(again, default=0) < len(second) - 50, "not behind all later work"
