"""The driver on a real Ray cluster with an engine that answers at once: every row exactly once, whatever is lost."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from pathlib import Path
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

    from tidemill_api.job_contract import JobConfig

ROWS = 320
"""At 0.2 s a row and 16 in flight: 4 s of work on one worker, in chunks of 10 rows."""


class World:
    """One cluster, and jobs on it."""

    def __init__(self, cluster: RayCluster, root: Path) -> None:
        self.cluster = cluster
        self.notes = Path(cluster.environment["TIDEMILL_TEST_FOLDER"])
        self.root = root
        self.output = root / "output"
        self._attempts = itertools.count(1)

    def config(self, **changes: Any) -> JobConfig:
        spec = ModelSpec(name=MODEL, source=str(model_at(self.root / "model")), engine_args={"max_num_seqs": 8})
        return job(self.root, model=spec, **changes)

    def start(self, **changes: Any) -> DriverProcess:
        attempt = next(self._attempts)
        config = self.config(attempt=attempt, **changes)
        log = self.root / f"driver-{attempt}.log"
        return DriverProcess.start(config, self.cluster.address, self.cluster.environment, log)

    def run(self) -> Counter[str]:
        """How often each row was run so far, by the engines' own word."""
        return Counter(name for path in self.notes.glob("answers-*") for name in path.read_text().split())

    def rows(self, names: list[str]) -> None:
        write_lines(self.root / "input.jsonl", [request(name) for name in names])


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    scratch = tmp_path_factory.mktemp("engines")
    with RayCluster(environment("engines:counting", scratch) | {"TIDEMILL_TEST_SECONDS": "0.2"}) as cluster:
        cluster.add_worker()
        yield cluster


@pytest.fixture
def world(shared_cluster: RayCluster, tmp_path: Path) -> World:
    return World(shared_cluster, tmp_path)


def names(count: int = ROWS) -> list[str]:
    return [f"r-{number:04d}" for number in range(count)]


def once_each(wanted: list[str]) -> Counter[str]:
    return Counter(wanted)


def test_a_job_answers_every_row_once_in_input_order_and_shows_its_progress(world: World) -> None:
    wanted = ["bad-0001", *names(), "bug-0002"]
    world.rows(wanted)
    driver = world.start()
    driver.wait_until(lambda: "chunks to run" in driver.log)
    driver.wait_until(lambda: sum(driver.metrics().get(contract.METRIC_ROWS_IN_FLIGHT, {}).values()) > 0)
    live = driver.metrics()
    assert live[contract.METRIC_ROWS_TOTAL][""] == len(wanted)
    assert live[contract.METRIC_ROWS_PER_WORKER][""] == 16
    assert live[contract.METRIC_PHASE]["processing"] == 1
    assert max(live[contract.METRIC_ROWS_IN_FLIGHT].values()) <= 16
    driver.wait_until(lambda: driver.metrics()[contract.METRIC_ROWS_COMPLETED][""] > 0)
    code, outcome = driver.end()
    assert code == contract.EXIT_OK
    assert outcome is not None
    assert outcome.reason == Reason.SOME_ROWS_FAILED
    assert (outcome.rows.total, outcome.rows.completed, outcome.rows.failed) == (len(wanted), ROWS, 2)
    assert outcome.tokens.completion == 2 * ROWS
    assert finished_rows(world.output) == once_each(wanted)
    results = (world.output / "results.jsonl").read_text().splitlines()
    assert [line.split('"custom_id":"')[1][:6] for line in results] == names()


def test_a_driver_killed_midway_runs_no_row_again_that_has_a_line(world: World) -> None:
    world.rows(names())
    before = world.run()
    first = world.start()
    first.wait_until(lambda: len(durable_rows(world.output)) > ROWS // 4)
    first.kill()
    kept = durable_rows(world.output)
    second = world.start()
    code, outcome = second.end()
    assert code == contract.EXIT_OK
    assert outcome is not None
    assert outcome.reason == Reason.ALL_ROWS_ANSWERED
    assert finished_rows(world.output) == once_each(names())
    run = world.run() - before
    assert len(kept) > ROWS // 4
    assert {name: run[name] for name in kept} == dict.fromkeys(kept, 1)
    assert set(run) == set(names())
    assert max(run.values()) <= 2


def test_of_two_drivers_at_once_the_newer_one_finishes_the_job(world: World) -> None:
    world.rows(names())
    first = world.start()
    first.wait_until(lambda: len(durable_rows(world.output)) > 0)
    second = world.start()
    code, outcome = first.end()
    assert (code, outcome) == (contract.EXIT_BUG, None)
    assert "attempt 2 has taken over" in first.log
    assert "Traceback" not in first.log
    code, outcome = second.end()
    assert code == contract.EXIT_OK
    assert finished_rows(world.output) == once_each(names())


def test_a_stop_keeps_every_answer(world: World) -> None:
    world.rows(names())
    first = world.start()
    first.wait_until(lambda: len(durable_rows(world.output)) > ROWS // 4)
    first.terminate()
    code, outcome = first.end(timeout=30)
    assert (code, outcome) == (contract.EXIT_BUG, None)
    assert "stopped by SIGTERM" in first.log
    assert "Traceback" not in first.log
    kept = len(durable_rows(world.output))
    second = world.start()
    assert second.end()[0] == contract.EXIT_OK
    assert f"{kept} of {ROWS} rows have a line" in second.log
    assert finished_rows(world.output) == once_each(names())


def test_an_engine_that_dies_is_replaced_and_its_rows_run_again(world: World) -> None:
    wanted = names()
    wanted[ROWS // 2] = f"die-{world.root.name}"
    world.rows(wanted)
    driver = world.start()
    code, outcome = driver.end()
    assert code == contract.EXIT_OK
    assert outcome is not None
    assert outcome.reason == Reason.ALL_ROWS_ANSWERED
    assert finished_rows(world.output) == once_each(wanted)


def test_an_input_changed_midway_ends_the_job_with_a_clear_word(world: World) -> None:
    world.rows(names())
    driver = world.start()
    driver.wait_until(lambda: len(durable_rows(world.output)) > 0)
    os.utime(world.root / "input.jsonl", ns=(1, 1))
    code, outcome = driver.end()
    assert code == contract.EXIT_USER
    assert outcome is not None
    assert outcome.reason == Reason.INPUT_CHANGED
    assert "Traceback" not in driver.log


def test_engine_arguments_that_cannot_be_met_end_the_job_with_a_clear_word(tmp_path: Path) -> None:
    with RayCluster(environment("engines:refusing", tmp_path)) as cluster:
        cluster.add_worker()
        world = World(cluster, tmp_path)
        world.rows(names(5))
        code, outcome = world.start().end()
    assert code == contract.EXIT_USER
    assert outcome is not None
    assert outcome.reason == Reason.INVALID_SPEC
    assert outcome.message == "spec.model.engineArgs: made to be refused"


@pytest.mark.all
def test_workers_may_be_none_at_first_join_late_vanish_and_come_back(tmp_path: Path) -> None:
    with RayCluster(environment("engines:slow", tmp_path) | {"TIDEMILL_TEST_SECONDS": "0.3"}) as cluster:
        world = World(cluster, tmp_path)
        world.rows(names())
        driver = world.start(workers_max=3)
        driver.wait_until(lambda: "chunks to run" in driver.log)
        cluster.add_worker()
        driver.wait_until(lambda: len(durable_rows(world.output)) > 0)
        cluster.add_worker()
        driver.wait_until(lambda: len(durable_rows(world.output)) > ROWS // 3)
        cluster.remove_worker()
        driver.wait_until(lambda: len(durable_rows(world.output)) > ROWS // 2)
        cluster.add_worker()
        code, outcome = driver.end()
    assert code == contract.EXIT_OK
    assert outcome is not None
    assert outcome.reason == Reason.ALL_ROWS_ANSWERED
    assert finished_rows(world.output) == once_each(names())
