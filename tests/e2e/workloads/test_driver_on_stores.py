"""The driver on a real Ray cluster and a real S3 server: every row exactly once, whatever the store goes through."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import obstore
import pytest
from driver_process import DriverProcess
from object_stores import S3Server
from obstore.store import S3Store
from ray_cluster import RayCluster, environment
from store_proxies import FaultyProxy
from web_servers import PlainHandler, web_server
from workload_builders import MODEL, job, model_at, request

from tidemill_api import job_contract as contract
from tidemill_api.conditions import Reason
from tidemill_api.v1alpha1.common import ModelSpec
from tidemill_workloads.parts import decode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(240)

ROWS = 320
BUCKET = "jobs"


class Stage:
    """A Ray cluster whose only way to its store is a proxy that can fail."""

    def __init__(self, server: S3Server, proxy: FaultyProxy, cluster: RayCluster, notes: Path) -> None:
        self.proxy = proxy
        self.notes = notes
        self.cluster = cluster
        self.store = S3Store(
            BUCKET,
            endpoint=server.environment["AWS_ENDPOINT_URL"],
            access_key_id=server.environment["AWS_ACCESS_KEY_ID"],
            secret_access_key=server.environment["AWS_SECRET_ACCESS_KEY"],
            client_options={"allow_http": True},
        )

    def upload(self, name: str, rows: int = ROWS) -> list[str]:
        """An input of `rows` requests; their names."""
        names = [f"{name}-{number:04d}" for number in range(rows)]
        obstore.put(self.store, name, b"".join(json.dumps(request(row)).encode() + b"\n" for row in names))
        return names

    def heal(self) -> None:
        """The store is well again."""
        self.proxy.lasting = ""

    def start(self, root: Path, name: str, attempt: int = 1, **changes: Any) -> DriverProcess:
        """A driver of the job `name`, from and to the bucket where nothing else is said."""
        spec = ModelSpec(name=MODEL, source=str(model_at(root / "model")), engine_args={"max_num_seqs": 8})
        places = {"input_uri": f"s3://{BUCKET}/in/{name}.jsonl", "output_uri": f"s3://{BUCKET}/out/{name}/"}
        config = job(root, model=spec, attempt=attempt, **places | changes)
        return DriverProcess.start(
            config, self.cluster.address, self.cluster.environment, root / f"driver-{attempt}.log"
        )

    def run(self) -> Counter[str]:
        """How often each row was run so far, by the engines' own word."""
        return Counter(name for path in self.notes.glob("answers-*") for name in path.read_text().split())

    def names(self, name: str) -> set[str]:
        """The first part of every name below the job's folder."""
        found = obstore.list(self.store, f"out/{name}")
        return {item["path"].split("/")[2] for batch in found for item in batch}

    def durable(self, name: str) -> set[int]:
        """The lines of the input whose rows have a line in a part now."""
        paths = [item["path"] for batch in obstore.list(self.store, f"out/{name}/parts") for item in batch]
        return {
            line.line
            for path in paths
            if path.endswith(".jsonl")
            for line in decode(bytes(obstore.get(self.store, path).bytes()))
        }

    def finished(self, name: str) -> Counter[str]:
        """How often each row stands in the final files."""
        counted: Counter[str] = Counter()
        for file in ("results.jsonl", "errors.jsonl"):
            lines = bytes(obstore.get(self.store, f"out/{name}/{file}").bytes()).splitlines()
            counted.update(json.loads(line)["custom_id"] for line in lines)
        return counted


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    scratch = tmp_path_factory.mktemp("stores")
    server = S3Server(scratch / "seaweedfs")
    try:
        server.start()
        server.make_bucket(BUCKET)
        with FaultyProxy(server.s3_port) as proxy:
            variables = environment("engines:counting", scratch) | server.environment
            variables |= {"AWS_ENDPOINT_URL": proxy.url, "TIDEMILL_TEST_SECONDS": "0.2"}
            with RayCluster(variables) as cluster:
                cluster.add_worker()
                yield Stage(server, proxy, cluster, scratch)
    finally:
        server.kill()


def wait_for_rows(driver: DriverProcess, rows: int) -> None:
    """Waits until more rows than that have a line."""
    driver.wait_until(lambda: "chunks to run" in driver.log)
    driver.wait_until(lambda: driver.metrics().get(contract.METRIC_ROWS_COMPLETED, {}).get("", 0) > rows)


def test_a_job_runs_from_a_bucket_to_a_bucket_and_a_second_run_runs_nothing(stage: Stage, tmp_path: Path) -> None:
    wanted = stage.upload("in/plain.jsonl")
    code, outcome = stage.start(tmp_path, "plain").end()
    assert (code, outcome and outcome.reason) == (contract.EXIT_OK, Reason.ALL_ROWS_ANSWERED)
    assert outcome is not None
    assert outcome.output.results == f"s3://{BUCKET}/out/plain/results.jsonl"
    assert stage.finished("plain") == Counter(wanted)
    left = {"job.json", "attempts", "results.jsonl", "errors.jsonl", "validation.jsonl", "manifest.json"}
    assert stage.names("plain") == left
    again = stage.start(tmp_path, "plain", attempt=2)
    assert again.end() == (contract.EXIT_OK, outcome)
    assert "chunks to run" not in again.log


@pytest.mark.all
@pytest.mark.parametrize(("fault", "seconds"), [("503", 12), ("reset", 60)], ids=["throttled", "gone"])
def test_a_store_that_fails_in_the_middle_costs_time_only(
    stage: Stage, tmp_path: Path, fault: str, seconds: float
) -> None:
    wanted = stage.upload(f"in/{fault}.jsonl")
    before = stage.run()
    driver = stage.start(tmp_path, fault)
    wait_for_rows(driver, ROWS // 8)
    stage.proxy.lasting = fault
    heals = threading.Timer(seconds, stage.heal)
    heals.start()
    code, outcome = driver.end(timeout=180)
    heals.join()
    assert (code, outcome and outcome.reason) == (contract.EXIT_OK, Reason.ALL_ROWS_ANSWERED), driver.log
    assert stage.finished(fault) == Counter(wanted)
    assert stage.run() - before == Counter(wanted), "no row was run twice"
    assert any(seen.endswith(fault) for seen in stage.proxy.seen)


@pytest.mark.all
def test_a_store_that_takes_seconds_for_each_request_costs_time_only(stage: Stage, tmp_path: Path) -> None:
    wanted = stage.upload("in/slow.jsonl")
    before = stage.run()
    driver = stage.start(tmp_path, "slow")
    wait_for_rows(driver, ROWS // 8)
    asked, begun = len(stage.proxy.seen), time.monotonic()
    stage.proxy.silent_seconds, stage.proxy.lasting = 2.0, "silence"
    try:
        code, outcome = driver.end(timeout=220)
    finally:
        stage.heal()
    assert (code, outcome and outcome.reason) == (contract.EXIT_OK, Reason.ALL_ROWS_ANSWERED), driver.log
    assert stage.finished("slow") == Counter(wanted)
    assert stage.run() - before == Counter(wanted), "nobody was taken for lost, so no row was run twice"
    slow = len(stage.proxy.seen) - asked
    assert slow > 100, "the store was slow while the job had much to ask of it"
    assert time.monotonic() - begun < 2.0 * slow / 2, "requests are made at once, not one after another"


def test_a_driver_killed_midway_leaves_its_rows_in_the_bucket(stage: Stage, tmp_path: Path) -> None:
    wanted = stage.upload("in/killed.jsonl")
    before = stage.run()
    first = stage.start(tmp_path, "killed")
    wait_for_rows(first, ROWS // 4)
    first.kill()
    kept = {wanted[line - 1] for line in stage.durable("killed")}
    second = stage.start(tmp_path, "killed", attempt=2)
    code, outcome = second.end()
    assert (code, outcome and outcome.reason) == (contract.EXIT_OK, Reason.ALL_ROWS_ANSWERED), second.log
    assert stage.finished("killed") == Counter(wanted)
    run = stage.run() - before
    assert len(kept) > ROWS // 4
    assert {name: run[name] for name in kept} == dict.fromkeys(kept, 1), "no row that has a line is run again"


def test_an_input_that_changes_while_the_job_runs_ends_it(stage: Stage, tmp_path: Path) -> None:
    stage.upload("in/changed.jsonl")
    driver = stage.start(tmp_path, "changed")
    driver.wait_until(lambda: "chunks to run" in driver.log)
    stage.upload("in/changed.jsonl", rows=ROWS + 1)
    code, outcome = driver.end()
    assert code == contract.EXIT_USER, driver.log
    assert outcome is not None
    assert outcome.reason == Reason.INPUT_CHANGED


def test_a_file_of_a_server_without_ranges_is_copied_into_the_bucket_and_the_copy_goes(
    stage: Stage, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    names = [f"r-{number:04d}" for number in range(40)]
    (site / "in.jsonl").write_text("".join(json.dumps(request(name)) + "\n" for name in names))
    with web_server(site, PlainHandler) as server:
        driver = stage.start(tmp_path, "web", input_uri=f"{server.url}in.jsonl", allow_loopback_input=True)
        driver.wait_until(lambda: "input-copy" in stage.names("web"))
        code, outcome = driver.end()
    assert (code, outcome and outcome.reason) == (contract.EXIT_OK, Reason.ALL_ROWS_ANSWERED), driver.log
    assert stage.finished("web") == Counter(names)
    assert "input-copy" not in stage.names("web")
    assert len([seen for seen in server.seen if "bytes" not in seen]) == 1


def test_a_bucket_that_is_not_there_is_an_outcome_that_waits(stage: Stage, tmp_path: Path) -> None:
    begun = time.monotonic()
    code, outcome = stage.start(tmp_path, "none", input_uri="s3://no-such-bucket/in.jsonl").end()
    assert code == contract.EXIT_USER
    assert outcome is not None
    assert (outcome.reason, outcome.awaited) == (Reason.INPUT_NOT_FOUND, True)
    assert "there is no bucket no-such-bucket" in outcome.message
    assert time.monotonic() - begun < 30
